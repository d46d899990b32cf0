"""What is said to those who gave another file than was meant, in the words of their program."""

import h5py
import numpy as np
import pytest
from conftest import random_columns, write_table
from star_files import particles, star_text
from test_cs import save, structured

HDF5_WANTED = "expand the same particles with the same options into a .h5: its copies have the same"


def refused(done, *told, code=1):
    """One line says so, and nothing was printed."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.count("\n") == 1
    for each in told:
        assert each in done.stderr


@pytest.fixture
def sets(go, rng, tmp_path):
    """Particles and copies: p.cs, e.cs and e.h5; s.star and e.star."""
    save(tmp_path / "p.cs", structured(random_columns(rng, 12)))
    (tmp_path / "s.star").write_text(star_text(particles(rng, 12)))
    for source, output in (("p.cs", "e.cs"), ("p.cs", "e.h5"), ("s.star", "e.star")):
        go("expand", source, output, "--symmetry=D3")


def test_an_expanded_table_in_hdf5_is_asked_for(sets, command):
    for name, kind in (("e.star", "a .star file"), ("e.cs", "a dataset of CryoSPARC")):
        for words in (
            ("verify", name),
            ("collapse", "e.cs", "x.h5", f"--expanded={name}"),
            ("arrange", "e.cs", f"--expanded={name}"),
        ):
            refused(command(*words), f"{name}: not an HDF5 file: it is {kind}", HDF5_WANTED)


def test_copies_in_hdf5_have_the_ids_of_those_in_a_cs(sets, tmp_path):
    with h5py.File(tmp_path / "e.h5") as file:
        assert file["particles/uid"][()].tolist() == np.load(tmp_path / "e.cs")["uid"].tolist()


@pytest.mark.parametrize("name", ["e.cs", "e.star"])
def test_the_way_back_asks_for_the_particles(name, sets, command, go):
    done = command("collapse", name, "x.h5")
    told = "name the particles that were expanded with --source, or the expanded HDF5 table with"
    refused(done, told, code=2)
    source = {"e.cs": "p.cs", "e.star": "s.star"}[name]
    assert "12 of 12 particles" in go("collapse", name, "x.h5", f"--source={source}")


def test_particles_are_no_copies(sets, command):
    refused(command("match", "p.cs"), "p.cs: is not expanded, or nothing tells whose copies")


def test_poses_of_classes_are_named(rng, command, go, tmp_path):
    columns = random_columns(rng, 12)
    for old in ("pose", "shift", "psize_A", "split"):
        each = columns.pop(f"alignments3D/{old}")
        columns |= {f"alignments_class_{number}/{old}": each for number in (0, 1)}
    save(tmp_path / "h.cs", structured(columns))
    flags = ["--pose=alignments_class_0/pose", "--shift=alignments_class_0/shift"]
    done = command("expand", "h.cs", "x.cs", "--symmetry=C2")
    refused(done, "the poses of alignments_class_0 and alignments_class_1:", " with ".join(flags))
    go("expand", "h.cs", "x.cs", "--symmetry=C2", *flags)


def test_half_sets_have_the_name_that_the_users_program_gives_them(rng, command, tmp_path):
    columns = random_columns(rng, 12)
    del columns["alignments3D/split"]
    write_table(tmp_path / "p.h5", columns)
    labels = particles(rng, 12)
    labels["rlnRandomSubset"] = ["2"] * 12
    (tmp_path / "one.star").write_text(star_text(labels))
    del labels["rlnRandomSubset"]
    (tmp_path / "none.star").write_text(star_text(labels))
    for name, told in (
        ("p.h5", "no half-sets (alignments3D/split)"),
        ("none.star", "no half-sets (rlnRandomSubset)"),
        ("one.star", "all rows are in one half-set, 2 of _rlnRandomSubset"),
    ):
        done = command("expand", name, "x.h5", "--symmetry=C2", "--overwrite")
        assert f"warning: {name}: {told}: programs that draw halves" in done.stderr


def test_slots_that_are_left_out_are_one_word(rng, go, tmp_path):
    columns = random_columns(rng, 12)
    flat = ("alignments2D/pose", "alignments2D/class", "alignments2D/error")
    columns |= {name: np.zeros(12, np.float32) for name in flat}
    save(tmp_path / "p.cs", structured(columns))
    shown = go("expand", "p.cs", "x.cs", "--symmetry=C2", "--center=30,0,0")
    assert "note: left out, since the images move: alignments2D/*\n" in shown


def test_columns_of_text_are_called_so(sets, go):
    shown = go("inspect", "s.star")
    assert "  rlnImageName  (N,) text\n" in shown
    assert "  alignments3D/shift  (N, 2) float64\n" in shown


def test_import_without_an_output(sets, command):
    refused(command("import", "p.cs"), "its last word, an OUTPUT, such as particles.h5", code=2)
