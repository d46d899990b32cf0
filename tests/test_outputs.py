"""What is never replaced, by no verb: an input, or a file of another kind; and how outputs end."""

import os

import h5py
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import (
    CS,
    CSG,
    HDF5,
    PDF,
    PNG,
    STAR,
    SVG,
    OutputError,
    OutputFile,
    UsageError,
    is_mixed_pair,
    path_of,
)
from star_files import particles, star_text
from test_cs import save, some, structured

POSE, SHIFT = "alignments3D/pose", "alignments3D/shift"
OTHER_SUFFIXES = (
    *(".cs", ".star", ".csg", ".mrc", ".mrcs", ".map", ".tbl", ".txt", ".json", ".csv", ".npy"),
    *(".npz", ".pdb", ".cif", ".gz", ".png", ".svg", ".pdf", ".CS", ".Star", ".cs.gz"),
)
CONTENTS = {
    HDF5: b"\x89HDF\r\n\x1a\n\0\0",
    CS: b"\x93NUMPY\x01\0",
    CSG: b"# a comment\n---\ncreated: 2024-01-01\ngroup:\n  name: particles\n",
    STAR: b"# version 30001\n\ndata_particles\n",
    PNG: b"\x89PNG\r\n\x1a\n\0",
    SVG: b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">',
    PDF: b"%PDF-1.4\n",
}
FOREIGN = {
    "map": bytes(208) + b"MAP DA" + bytes(900),
    "text": b"notes of three years\n",
    "nearly": b"\x89HDF",
    "binary": b"data_\0svg>\0created:\0",
}
KINDS = pytest.mark.parametrize("kind", list(CONTENTS), ids=lambda kind: kind.suffixes[0])


@pytest.fixture
def folder(tmp_path, rng, go):
    """Inputs of every verb."""
    rows = structured(random_columns(rng, 30))
    write_table(tmp_path / "in.h5", random_columns(rng, 30))
    save(tmp_path / "main.cs", some(rows, "uid", POSE, SHIFT))
    save(tmp_path / "pass.cs", some(rows, "uid", "alignments3D/psize_A", "alignments3D/split"))
    (tmp_path / "in.star").write_text(star_text(particles(rng, 12)))
    (tmp_path / "ops").write_text("1 0 0\n0 1 0\n0 0 1\n\n-1 0 0\n0 -1 0\n0 0 1\n")
    go("expand", "in.h5", "e.h5", "--symmetry=C2")
    go("expand", "in.star", "s.h5", "--symmetry=C2")
    go("export", "s.h5", "back.star")
    (tmp_path / "linked").symlink_to("in.h5")
    os.link(tmp_path / "in.h5", tmp_path / "hard.h5")
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(done, code, *say):
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for words in say:
        assert words in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("expand", "in.h5", "in.h5", "--symmetry=C2"),
        ("expand", "in.h5", "linked", "--symmetry=C2"),
        ("expand", "linked", "in.h5", "--symmetry=C2"),
        ("expand", "in.h5", "hard.h5", "--symmetry=C2"),
        ("expand", "in.h5", "ops", "--operators_file=ops"),
        ("collapse", "e.h5", "e.h5"),
        ("collapse", "e.h5", "in.h5"),
        ("collapse", "e.h5", "hard.h5"),
        ("collapse", "back.star", "s.h5", "--expanded=s.h5"),
        ("export", "s.h5", "in.star"),
        ("export", "in.star", "in.star"),
        ("export", "main.cs", "main.cs"),
    ],
)
def test_an_input_is_never_replaced(words, folder, command):
    before = contents(folder)
    refused(command(*words, "--overwrite"), 1, "is the source itself: choose another output")
    assert contents(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize(
    "words",
    [
        ("main.cs", "pass.cs"),
        ("main.cs", "main.cs"),
        ("main.cs", "no_suffix"),
        ("in.star", "back.star"),
    ],
)
def test_an_import_without_its_output(words, overwrite, folder, command):
    (folder / "no_suffix").write_bytes((folder / "pass.cs").read_bytes())
    before = contents(folder)
    done = command("import", *words, *overwrite)
    refused(done, 2, "its last word, the OUTPUT, which is missing", f": {words[-1]} is a file to")
    assert "--overwrite" not in done.stderr
    assert contents(folder) == before


def test_help_shows_the_output_of_an_import(go):
    assert "usage: numba-symexp import FILES... OUTPUT [flags]\n" in go("import", "--help")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", OTHER_SUFFIXES)
def test_hdf5_is_never_written_under_another_suffix(suffix, folder, command):
    before = contents(folder)
    hdf5_only = "name it .h5; `export` writes .cs and .star"
    any_format = "name it .star (RELION), .cs (CryoSPARC) or .h5"
    if suffix.lower() == ".csg":
        any_format = "name the output new.cs\n"
    tried = {
        ("import", "main.cs", "pass.cs", f"new{suffix}"): hdf5_only,
        ("example", f"new{suffix}"): hdf5_only,
    }
    if suffix.lower() not in (".cs", ".star"):  # which `expand` and `collapse` write
        tried["expand", "main.cs", f"new{suffix}", "--symmetry=C2"] = any_format
        tried["collapse", "e.h5", f"new{suffix}"] = any_format
    for words, advice in tried.items():
        for overwrite in ((), ("--overwrite",)):
            refused(command(*words, *overwrite), 2, advice)
    assert contents(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new", "new.h5", "new.HDF5", "new.hdf", "cs", "new.particles"])
def test_other_names_are_for_hdf5(name, folder, go):
    go("import", "main.cs", "pass.cs", name)
    assert h5py.is_hdf5(folder / name)


def test_the_name_behind_a_link_counts(folder, command):
    (folder / "link.h5").symlink_to("new.cs")
    refused(command("example", "link.h5"), 2, "ends in .cs, and what is written is HDF5")
    (folder / "link.star").symlink_to("new.h5")
    refused(command("export", "s.h5", "link.star"), 2, "ends in .h5", "name it .star")
    assert not (folder / "new.cs").exists()
    assert not (folder / "new.h5").exists()


@KINDS
@pytest.mark.parametrize("content", [*(kind.suffixes[0] for kind in CONTENTS), *FOREIGN])
def test_only_the_same_kind_is_replaced(kind, content, tmp_path):
    known = {each.suffixes[0]: data for each, data in CONTENTS.items()}
    path = tmp_path / f"there{kind.suffixes[0]}"
    path.write_bytes({**known, **FOREIGN}[content])
    if content == kind.suffixes[0]:
        assert OutputFile(path, kind, [], True).path == str(path)
        with pytest.raises(OutputError, match="exists: choose another output, or add overwr"):
            OutputFile(path, kind, [], False)
        return
    for overwrite in (True, False):
        with pytest.raises(OutputError, match=f"exists, and is not {kind.name}: choose another"):
            OutputFile(path, kind, [], overwrite)


@KINDS
def test_an_empty_file_may_be_replaced(kind, tmp_path):
    path = tmp_path / f"there{kind.suffixes[0]}"
    path.touch()
    assert OutputFile(path, kind, [], True).path == str(path)


def test_what_cannot_be_read_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "there.h5"
    path.write_bytes(CONTENTS[HDF5])
    monkeypatch.setattr(f"{path_of('output')}.first_bytes", lambda path: b"")
    with pytest.raises(OutputError, match="is not HDF5"):
        OutputFile(path, HDF5, [], True)


def test_inputs_that_are_missing_are_no_obstacle(tmp_path):
    path = str(tmp_path / "new.h5")
    assert OutputFile(path, HDF5, [None, tmp_path / "none", path], False).path == path
    with pytest.raises(UsageError):
        OutputFile(tmp_path / "new.png", HDF5, [], False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "there"),
    [
        (("expand", "in.h5", "there", "--symmetry=C2"), "there"),
        (("collapse", "e.h5", "there"), "there"),
        (("import", "main.cs", "there"), "there"),
        (("example", "there"), "there"),
        (("export", "s.h5", "there.star"), "there.star"),
        (("export", "s.h5", "there.cs"), "there.cs"),
        (("export", "s.h5", "there.cs"), "there.csg"),
        (("plot", "in.h5", "there.png"), "there.png"),
        (("plot", "in.h5", "there.svg"), "there.svg"),
        (("plot", "in.h5", "there.pdf"), "there.pdf"),
    ],
)
def test_no_verb_replaces_a_map(words, there, folder, command):
    if words[0] == "plot":
        pytest.importorskip("matplotlib")
    (folder / there).write_bytes(FOREIGN["map"])
    before = contents(folder)
    refused(command(*words, "--overwrite"), 1, f"{there}: exists, and is not ")
    assert contents(folder) == before


@pytest.mark.slow
def test_what_the_verbs_wrote_they_replace(folder, go):
    pytest.importorskip("matplotlib")
    for _ in range(2):
        go("expand", "in.h5", "e.h5", "--symmetry=C2", "--overwrite")
        go("collapse", "e.h5", "c", "--overwrite")
        go("import", "main.cs", "pass.cs", "i.h5", "--overwrite")
        go("example", "x.h5", "--overwrite")
        go("export", "s.h5", "o.star", "--overwrite")
        go("export", "s.h5", "o.cs", "--overwrite")
        for suffix in (".png", ".svg", ".pdf"):
            go("plot", "in.h5", f"p{suffix}", "--overwrite")
    assert len(np.load(folder / "o.cs")) == 24


def test_a_dataset_beside_the_result_group_of_another_is_told(folder, go):
    go("export", "in.h5", "a.cs")
    go("export", "in.h5", "b.cs")
    assert not is_mixed_pair("a.cs", "a.csg")
    assert not is_mixed_pair("a.cs", "b.csg")
    rows = np.load("b.cs")
    rows["alignments3D/pose"][-1] += 1
    save("b.cs", rows)
    assert is_mixed_pair("b.cs", "a.csg")
    (folder / "own.csg").write_text("created: now\ngroup:\nversion: v4.0.0\n")
    assert not is_mixed_pair("b.cs", "own.csg")
