"""Whose Dn a table means, through every conversion: the same particles give the same D7."""

import itertools
import json

import h5py
import naive
import numpy as np
import pytest
from conftest import random_columns
from particle_files import structured
from star_files import particles, read_star, star_text
from test_cs import save

POSE = "alignments3D/pose"
MARK = "# numba_symexp convention cryosparc\n"


def refined_in_cryosparc(rng, n=12):
    """Fields of particles as a refinement of CryoSPARC leaves them."""
    columns = random_columns(rng, n)
    columns["blob/path"] = np.array([b"J12/extract/m0_particles.mrc"] * n)
    columns["blob/idx"] = np.arange(n, dtype="<u4")
    return structured(columns)


@pytest.fixture
def cs(tmp_path, rng):
    rows = refined_in_cryosparc(rng)
    save(tmp_path / "p.cs", rows)
    return rows


@pytest.fixture
def star(tmp_path, rng):
    columns = particles(rng, 12)
    (tmp_path / "r.star").write_text(star_text(columns))
    return columns


def copies(path):
    with h5py.File(path) as file:
        return file["particles"][POSE][:14]


def is_d7(rotvec, convention):
    """Whether the copies of the first particle are its mates in one program's D7."""
    rotations = [naive.exp(v) for v in rotvec.astype(np.float64)]
    mates = [element.T @ rotations[0] for element in naive.group("D7", convention)]
    return all(min(naive.angle_rad(r, m) for m in mates) < 1e-5 for r in rotations)


@pytest.mark.parametrize(
    "road",
    [
        ("p.cs",),
        ("p.cs", "p.star"),
        ("p.cs", "p.h5", "p.star"),
        ("p.cs", "p.star", "p.h5", "q.star", "q.h5"),
        ("p.cs", "p.star", "q.cs", "q.h5"),
    ],
    ids=" ".join,
)
def test_cryosparcs_d7_stays_cryosparcs(road, cs, command, tmp_path):
    walk(road, command)
    done = command("expand", road[-1], "e.h5", "--symmetry=D7")
    assert "D7 (cryosparc)" in done.stdout
    assert not done.stderr
    assert is_d7(copies(tmp_path / "e.h5"), "cryosparc")
    assert not is_d7(copies(tmp_path / "e.h5"), "relion")


@pytest.mark.parametrize(
    "road",
    [
        ("r.star",),
        ("r.star", "r.cs"),
        ("r.star", "r.h5", "r.cs", "q.h5"),
        ("r.star", "r.cs", "q.star"),
        ("r.star", "r.cs", "r.csg"),
    ],
    ids=" ".join,
)
def test_relions_d7_stays_relions(road, star, command, tmp_path):
    walk(road, command)
    done = command("expand", road[-1], "e.h5", "--symmetry=D7")
    assert "D7 (relion)" in done.stdout
    assert not done.stderr
    assert is_d7(copies(tmp_path / "e.h5"), "relion")


def walk(road, command):
    for one, other in itertools.pairwise(road):
        if not other.endswith(".csg"):
            done = command("import" if other.endswith("h5") else "export", one, other)
            assert (done.returncode, done.stderr) == (0, "")


def test_an_expansion_carries_the_convention_that_it_was_made_by(cs, star, go, tmp_path):
    go("expand", "p.cs", "e.h5", "--symmetry=C2")
    go("export", "e.h5", "e.star")
    assert (tmp_path / "e.star").read_text().startswith(MARK)
    go("expand", "r.star", "f.h5", "--symmetry=D3", "--convention=cryosparc")
    go("export", "f.h5", "f.star")
    assert (tmp_path / "f.star").read_text().count(MARK) == 1
    go("collapse", "f.h5", "back.h5")
    assert "D7 (cryosparc)" in go("expand", "back.h5", "g.h5", "--symmetry=D7")


def test_files_for_the_own_program_have_no_mark(cs, star, go, tmp_path):
    go("export", "p.cs", "q.cs")
    assert "numba_symexp" not in str(np.load(tmp_path / "q.cs").dtype)
    go("export", "r.star", "q.star")
    assert "numba_symexp" not in (tmp_path / "q.star").read_text()


def test_the_result_group_does_not_name_the_mark(star, go, tmp_path):
    go("export", "r.star", "r.cs")
    assert (np.load(tmp_path / "r.cs")["numba_symexp/convention"] == b"relion").all()
    assert "numba_symexp:" not in (tmp_path / "r.csg").read_text()


FROM_CRYOSPARC = {
    "rlnImageName": "000001@J744/extract/m_particles.mrcs",
    "rlnMicrographName": "003456789012345678901_FoilHole_17_fractions.mrc",
}


@pytest.mark.slow
@pytest.mark.parametrize("label", FROM_CRYOSPARC)
def test_an_unmarked_star_with_cryosparcs_paths_is_doubted(label, star, command, tmp_path):
    star[label] = [FROM_CRYOSPARC[label].replace("1@", f"{k}@") for k in range(1, 10)] * 2
    star[label] = star[label][:12]
    (tmp_path / "r.star").write_text(star_text(star))
    settling = "convention=cryosparc, or "
    for words in (
        ("expand", "r.star", "a.h5", "--symmetry=D7", "--again"),
        ("expand", "r.star", "b.h5", "--symmetry=D1", "--again"),
        ("import", "r.star", "i.h5"),
        ("expand", "i.h5", "c.h5", "--symmetry=D7", "--again"),
        ("export", "r.star", "s.star"),
        ("inspect", "r.star"),
    ):
        done = command(*words)
        assert done.returncode == 0
        assert done.stderr.count("warning: ") == 1, words
        assert settling in done.stderr, words
    quiet = [
        ("expand", "r.star", "d.h5", "--symmetry=D4", "--again"),
        ("expand", "r.star", "f.h5", "--symmetry=I", "--again"),
        ("expand", "r.star", "g.h5", "--symmetry=D7", "--again", "--convention=relion"),
        ("import", "r.star", "j.h5", "--convention=cryosparc"),
        ("expand", "j.h5", "h.h5", "--symmetry=D7", "--again"),
        ("export", "r.star", "t.star", "--convention=relion"),
        ("expand", "t.star", "k.h5", "--symmetry=D7", "--again"),
    ]
    for words in quiet:
        done = command(*words)
        assert (done.returncode, done.stderr) == (0, ""), words
    assert is_d7(copies(tmp_path / "h.h5"), "cryosparc")
    assert is_d7(copies(tmp_path / "k.h5"), "relion")
    assert read_star((tmp_path / "t.star").read_text())[label] == star[label]


def test_a_cs_with_relions_paths_is_doubted(cs, command, tmp_path):
    cs["blob/path"] = b"Extract/job012/m0.mrcs"
    save(tmp_path / "p.cs", cs)
    done = command("expand", "p.cs", "e.h5", "--symmetry=D7")
    assert "--convention=relion, or --convention=cryosparc" in done.stderr


def test_a_plain_star_is_not_doubted(star, command):
    assert not command("expand", "r.star", "e.h5", "--symmetry=D7").stderr
    assert not command("inspect", "r.star").stderr


def test_inspect_says_which_convention_and_why(cs, star, go):
    go("example", "x.h5")
    for file, convention, why in (
        ("x.h5", "cryosparc", "the table says so"),
        ("p.cs", "cryosparc", "the default"),
        ("r.star", "relion", "without a mark"),
    ):
        report = json.loads(go("inspect", file, "--json"))
        assert report["convention"] == convention
        assert why in report["convention_reason"]
        assert f"convention: {convention} (" in go("inspect", file)


def test_another_convention_is_refused_at_import_and_export(cs, command):
    for words in (("import", "p.cs", "p.h5"), ("export", "p.cs", "q.star")):
        done = command(*words, "--convention=eman2")
        assert done.returncode == 2
        assert "neither cryosparc nor relion" in done.stderr
