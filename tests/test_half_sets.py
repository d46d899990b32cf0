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
    assert "all rows are in half-set 1 of" in done.stderr


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
    for words in (
        ("inspect", "torn.cs"),
        ("import", "torn.cs", "a.h5"),
        ("match", "torn.cs"),
        ("collapse", "torn.cs", "b.h5", "--expanded=e.h5"),
    ):
        done = command(*words)
        assert "copies of 5 of 6 particles lie in both half-sets" in done.stderr, words
        assert "assign_halves=SEED" in done.stderr


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
