"""Half-sets that are none, and half-sets that tear the copies of a particle apart."""

import json

import h5py
import numpy as np
import pytest
from conftest import random_columns
from particle_files import structured
from star_files import particles, read_star, star_text
from test_cs import save

SPLIT, SUBSET = "alignments3D/split", "rlnRandomSubset"


@pytest.mark.slow
@pytest.mark.parametrize("word", ["1", "2", "0"])
def test_one_half_set_in_a_star_is_none(word, rng, command, go, tmp_path):
    columns = particles(rng, 12)
    columns[SUBSET] = [word] * 12
    columns["rlnLogLikeliContribution"] = [str(k) for k in range(12)]
    (tmp_path / "p.star").write_text(star_text(columns))
    done = command("expand", "p.star", "e.h5", "--symmetry=C2")
    assert done.returncode == 0
    assert "--assign_halves=SEED" in done.stderr
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())
    own = ["symexpSource", "symexpOperator"]
    assert list(found) == [*(name for name in columns if name != SUBSET), *own]
    assert found["rlnLogLikeliContribution"] == [str(k // 2) for k in range(24)]
    go("export", "p.star", "same.star")
    assert read_star((tmp_path / "same.star").read_text()) == read_star(star_text(columns))

    done = command("expand", "p.star", "f.h5", "--symmetry=C2", "--assign_halves=3")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(go("verify", "f.h5", "--json"))["passed"]
    go("export", "f.h5", "f.star")
    halves = read_star((tmp_path / "f.star").read_text())[SUBSET]
    assert sorted(halves) == ["1"] * 12 + ["2"] * 12
    assert halves[::2] == halves[1::2]


@pytest.mark.parametrize("verb", ["expand", "import", "inspect"])
def test_one_half_set_in_a_cs_is_warned_of(verb, rng, command, tmp_path):
    columns = random_columns(rng, 12)
    columns[SPLIT][:] = 1
    save(tmp_path / "p.cs", structured(columns))
    words = {"expand": ("o.h5", "--symmetry=C2"), "import": ("o.h5",), "inspect": ()}[verb]
    done = command(verb, "p.cs", *words)
    assert done.returncode == 0
    assert "all rows are in one half-set, 1 of alignments3D/split" in done.stderr


def test_subsets_that_are_partly_0_are_refused(rng, command, tmp_path):
    columns = particles(rng, 12)
    columns[SUBSET] = ["0"] * 11 + ["2"]
    (tmp_path / "p.star").write_text(star_text(columns))
    done = command("expand", "p.star", "e.h5", "--symmetry=C2")
    assert done.returncode == 1
    assert "not 1 or 2" in done.stderr


@pytest.fixture
def torn(rng, command, go, tmp_path):
    """An expanded .cs whose half-sets another program drew per row: 5 of 6 particles are torn."""
    columns = random_columns(rng, 6)
    save(tmp_path / "p.cs", structured(columns))
    go("expand", "p.cs", "e.h5", "--symmetry=D3")
    go("export", "e.h5", "torn.cs")
    rows = np.load(tmp_path / "torn.cs")
    rows[SPLIT] = np.arange(36) % 2
    rows[SPLIT][:6] = 1
    save(tmp_path / "torn.cs", rows)
    return rows


def test_torn_particles_are_counted_by_every_verb_that_reads_them(torn, command):
    assert_torn_everywhere("torn.cs", command)


def assert_torn_everywhere(name, command):
    """See that every verb tells of 5 of 6 particles, once, of a file and of its import."""
    for words in (
        ("inspect", name),
        ("import", name, "a.h5"),
        ("match", name),
        ("collapse", name, "b.h5", "--expanded=e.h5"),
        ("collapse", name, "d.h5", "--source=p.cs"),
        ("expand", name, "f.h5", "--symmetry=C2", "--again"),
        ("inspect", "a.h5"),
        ("match", "a.h5"),
        ("collapse", "a.h5", "c.h5", "--expanded=e.h5"),
    ):
        done = command(*words)
        told = done.stderr.count("copies of 5 of 6 particles lie in both half-sets")
        assert (done.returncode, told) == (0, 1), (words, done.stderr)
        assert "assign_halves=SEED" in done.stderr


@pytest.mark.parametrize("labels", ["ours", "images"])
def test_torn_particles_of_a_star_are_counted_and_mended(labels, torn, command, go, tmp_path):
    go("export", "torn.cs", "t.star")
    go("export", "e.h5", "e.star")
    columns = read_star((tmp_path / "e.star").read_text())
    columns[SUBSET] = [str(1 + half) for half in torn[SPLIT]]
    columns["rlnOpticsGroup"] = ["1"] * 36
    if labels == "images":
        columns = {name: words for name, words in columns.items() if name[:6] != "symexp"}
        columns["rlnImageName"] = [f"{1 + k // 6:06d}@s.mrcs" for k in range(36)]
    (tmp_path / "torn.star").write_text(star_text(columns))
    done = command("match", "torn.star")
    assert done.stderr.count("copies of 5 of 6 particles lie in both half-sets") == 1
    if labels == "ours":
        assert_torn_everywhere("torn.star", command)
    go("import", "torn.star", "m.h5", "--assign_halves=5", "--overwrite")
    go("export", "m.h5", "mended.star")
    mended = read_star((tmp_path / "mended.star").read_text())
    halves = np.array(mended[SUBSET], int).reshape(6, 6)
    assert (halves == halves[:, :1]).all()
    assert sorted(halves[:, 0]) == [1, 1, 1, 2, 2, 2]
    assert {**mended, SUBSET: []} == {**columns, SUBSET: []}
    assert not command("match", "mended.star").stderr


def test_half_sets_are_not_drawn_for_each_copy_without_a_word(torn, command, tmp_path):
    names = [name for name in torn.dtype.names if name != SPLIT]
    save(tmp_path / "none.cs", torn[names].astype([(n, torn.dtype[n]) for n in names]))
    done = command("expand", "none.cs", "f.h5", "--symmetry=C2", "--again", "--assign_halves=1")
    assert (done.returncode, "its rows are copies" in done.stderr) == (0, True)
    assert len(done.stderr.splitlines()) == 1


def test_half_sets_drawn_at_import_keep_copies_together(torn, command, go, tmp_path):
    drawn = []
    for seed in ("1", "1", "2", "3", "4"):
        done = command("import", "torn.cs", "a.h5", f"--assign_halves={seed}", "--overwrite")
        assert (done.returncode, done.stderr) == (0, "")
        with h5py.File(tmp_path / "a.h5") as file:
            drawn.append(file["particles"][SPLIT][()].reshape(6, 6))
        assert (drawn[-1] == drawn[-1][:, :1]).all()
        assert drawn[-1][:, 0].sum() == 3
    assert (drawn[0] == drawn[1]).all()
    assert any((drawn[0] != other).any() for other in drawn[2:])
    assert not command("match", "a.h5").stderr
    go("export", "a.h5", "mended.cs")
    assert (np.load(tmp_path / "mended.cs")[SPLIT].reshape(6, 6) == drawn[-1]).all()


def test_whole_particles_are_not_called_torn(rng, go, command, tmp_path):
    save(tmp_path / "p.cs", structured(random_columns(rng, 6)))
    go("expand", "p.cs", "e.h5", "--symmetry=D3")
    go("export", "e.h5", "x.cs")
    assert not command("inspect", "x.cs").stderr
    assert not command("match", "x.cs").stderr
