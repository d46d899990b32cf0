"""A source that moved is named with --source, by every verb that needs it."""

import pytest
from conftest import write_table

from numba_symexp import collapse, export_particles, inspect, match


@pytest.fixture
def moved(columns, tmp_path, go):
    """Expand a table with a helix, then move the table."""
    write_table(tmp_path / "p.h5", columns)
    go("expand", "p.h5", "e.h5", "--twist=30", "--rise=5", "--order=3")
    (tmp_path / "far").mkdir()
    (tmp_path / "p.h5").rename(tmp_path / "far" / "q.h5")
    return tmp_path


VERBS = [
    ("export", "e.h5", "e.cs"), ("export", "e.h5", "e.star"), ("collapse", "e.h5", "c.h5"),
    ("match", "e.h5"), ("plot", "e.h5", "e.png"), ("verify", "e.h5"), ("inspect", "e.h5"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("words", VERBS, ids=[f"{each[0]}-{each[-1]}" for each in VERBS])
def test_every_verb_takes_a_source_that_moved(words, moved, command):
    if words[0] != "inspect":
        done = command(*words)
        assert done.returncode == 1
        assert "name it with --source" in done.stdout + done.stderr
    done = command(*words, "--source=far/q.h5")
    assert done.returncode == 0, done.stderr + done.stdout
    done = command(*words, "--source=far/none.h5")
    assert done.returncode == 1
    for output in words[2:]:
        (moved / output).unlink()
        (moved / output).with_suffix(".csg").unlink(missing_ok=True)
    done = command(words[0], "far/q.h5", *words[2:], "--source=far/q.h5")
    if words[0] == "verify":
        assert (done.returncode, "FAIL format" in done.stdout) == (1, True)
    else:
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "expanded table" in done.stderr


def test_the_library_takes_it_too(moved):
    where = moved / "far" / "q.h5"
    e = str(moved / "e.h5")
    assert export_particles(e, moved / "e.cs", source=where).rows == 150
    assert collapse(e, moved / "c.h5", source=where).particles == 50
    assert match(e, source=str(where)).matched
    assert inspect(e, source=where).expansion.source == str(where)
