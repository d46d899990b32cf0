"""Bad input, through the command line: one line, the right exit code, nothing lost."""

import bz2
import errno
import gzip
import hashlib
import lzma
import os
import pickle
import resource
import shutil
import subprocess
import sys

import h5py
import inside
import numpy as np
import pytest
from conftest import compiled_only, random_columns, write_table
from inside import HDF5_SIGNATURE, Own, SourceError, first_new_id, main

from numba_symexp import Operators, point_group

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
HELIX = ("--twist=20", "--rise=5", "--order=3")


def listing(folder):
    """Digest of every file of a folder by name."""
    found = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()
        else:
            found[name] = "-"
    return found


@pytest.fixture
def refuse(command, tmp_path):
    """Expand, and expect one line with these words, this code, and an untouched folder."""

    def check(*say, source="in.h5", output="out.h5", flags=("--symmetry=C3",), code=1):
        (tmp_path / "kept.h5").write_bytes(HDF5_SIGNATURE + b"an existing output")
        before = listing(tmp_path)
        for target in (output, "kept.h5") if output == "out.h5" else (output,):
            extra = ("--overwrite",) if target == "kept.h5" else ()
            result = command("expand", source, target, *flags, *extra)
            assert result.returncode == code, result.stderr
            assert result.stdout == ""
            assert result.stderr.startswith("error: ")
            assert result.stderr.count("\n") == 1, result.stderr
            for word in say:
                assert word in result.stderr, result.stderr
        assert listing(tmp_path) == before

    return check


# The file


def test_source_is_missing(refuse):
    refuse("in.h5: no such file")


def test_source_is_a_folder(refuse, tmp_path):
    (tmp_path / "in.h5").mkdir()
    refuse("in.h5: is a folder")


def test_source_is_a_pipe(refuse, tmp_path):
    os.mkfifo(tmp_path / "in.h5")
    refuse("in.h5: is not a regular file")


@pytest.mark.usefixtures("probed")
@pytest.mark.parametrize("content", [b"", b"particles\n", b"\x89HDF" + b"\0" * 5000])
def test_source_is_no_hdf5(content, refuse, tmp_path):
    (tmp_path / "in.h5").write_bytes(content)
    refuse("in.h5: not an HDF5 file")


OTHERS = {
    "gzip": (gzip.compress(b"data_"), "it is compressed (gzip): unpack it"),
    "bzip2": (bz2.compress(b"data_"), "it is compressed (bzip2): unpack it"),
    "xz": (lzma.compress(b"data_"), "it is compressed (xz): unpack it"),
    "zstd": (bytes.fromhex("28b52ffd") + b"data_", "it is compressed (zstd): unpack it"),
    "zip": (b"PK\3\4data_", "it is a zip archive: unpack it"),
    "little-endian text": ("data_".encode("utf-16"), "it is a text in UTF-16: save it in UTF-8"),
    "big-endian text": (b"\xfe\xff\0d\0a", "it is a text in UTF-16: save it in UTF-8"),
    "pickle": (pickle.dumps({"data_": 1}), "it may be a pickle, which is never loaded"),
    "stack": (bytes(208) + b"MAP " + bytes(812), "it is a map or a stack of images (MRC)"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("source", ["p.h5", "p.star", "p.cs", "p.csg", "p.tbl"])
def test_source_is_of_another_kind(source, name, refuse, tmp_path):
    content, what = OTHERS[name]
    (tmp_path / source).write_bytes(content)
    refuse(f"{source}: ", what, source=source)


@pytest.mark.usefixtures("probed")
@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_source_is_cut_short(part, refuse, tmp_path, rng):
    whole = write_table(tmp_path / "in.h5", random_columns(rng, 3000))
    os.truncate(whole, int(os.path.getsize(whole) * part))
    refuse("in.h5: cannot be opened", "cut short, damaged")


@pytest.mark.usefixtures("probed")
def test_source_is_damaged_inside(refuse, tmp_path, columns):
    """A compressed column whose bytes were overwritten is noticed when it is read."""
    source = tmp_path / "in.h5"
    with h5py.File(source, "w") as file:
        for name, column in columns.items():
            file.create_dataset(f"particles/{name}", data=column, chunks=True, compression="gzip")
        place = file[f"particles/{POSE}"].id.get_chunk_info(0)
    with open(source, "r+b") as file:
        file.seek(place.byte_offset)
        file.write(b"\xff" * place.size)
    refuse("in.h5: cannot read", POSE, "rows 0 to 49", "damaged")


# The table and its columns


@pytest.mark.parametrize(
    ("gone", "flags", "say"),
    [
        (POSE, ("--symmetry=C3",), "no pose column alignments3D/pose"),
        (SHIFT, ("--symmetry=C3",), "no shift column alignments3D/shift"),
        (PSIZE, HELIX, "no pixel size column alignments3D/psize_A"),
    ],
)
@pytest.mark.parametrize("compound", [False, True])
def test_a_column_is_missing(gone, flags, say, compound, refuse, tmp_path, columns):
    del columns[gone]
    write_table(tmp_path / "in.h5", columns, compound=compound)
    refuse(say, "columns: ", "ctf/df1_A, uid", flags=flags)


def test_the_named_column_or_table_is_missing(refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    refuse("no pose column my/pose", "check the name", flags=("--symmetry=C3", "--pose=my/pose"))
    refuse("no table at /other", "/particles", flags=("--symmetry=C3", "--table=/other"))
    refuse("no table at particles/uid/deep", flags=("--symmetry=C3", "--table=particles/uid/deep"))
    refuse("not a 1-D table", flags=("--symmetry=C3", "--table=/particles/uid"))


def test_there_is_no_table_at_all(refuse, tmp_path):
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file.create_group("empty")
    refuse("no pose column", "columns: none")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "column", "say"),
    [
        (POSE, np.zeros((50, 4), np.float32), "(N, 4) float32, but a pose as rotvec is (N, 3)"),
        (POSE, np.zeros(50, np.float32), "(N,) float32"),
        (POSE, np.zeros((50, 3), np.int32), "int32"),
        (POSE, np.zeros((50, 3), np.float16), "float16"),
        (POSE, np.zeros((50, 3), "S4"), "|S4"),
        (SHIFT, np.zeros((50, 4), np.float32), "a shift is (N, 2) or (N, 3)"),
        (SHIFT, np.zeros((50, 2), np.complex64), "complex64"),
        (PSIZE, np.ones((50, 2), np.float32), "a pixel size is (N,)"),
        (PSIZE, np.ones(50, np.int32), "int32"),
        ("uid", np.zeros(50, np.float64), "an id is (N,) integer"),
        ("alignments3D/split", np.zeros((50, 2), np.uint32), "a half-set is (N,)"),
    ],
)
def test_a_column_has_the_wrong_shape_or_type(name, column, say, refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", {**columns, name: column})
    refuse("in.h5: " + name, say)


def test_the_shape_is_not_that_of_the_named_format(refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    flags = ("--symmetry=C3", "--pose_format=quaternion")
    refuse("a pose as quaternion is (N, 4)", flags=flags)


@pytest.mark.parametrize("name", [POSE, SHIFT, PSIZE, "uid", "ctf/df1_A"])
def test_lengths_differ(name, refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", {**columns, name: columns[name][:-1]})
    refuse("differ in length", f"{name} has 49 rows", "50 rows")


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize("value", [np.arange(3), np.array(["relion"] * 2, "S6"), 5, "", b"\xff"])
@pytest.mark.parametrize("name", ["convention", "convention_doubt", "repeated_images", "format"])
def test_what_a_table_says_may_be_anything(name, value, command, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns, **{name: value})
    done = command("inspect", "in.h5")
    assert done.returncode in (0, 1)
    assert all(line.startswith(("warning: ", "error: ")) for line in done.stderr.splitlines())
    assert "unexpected" not in done.stderr
    for words in (("expand", "in.h5", "o.h5", "--symmetry=D3"), ("import", "in.h5", "i.h5"),
                  ("export", "in.h5", "o.star"), ("export", "in.h5", "o.cs")):  # fmt: skip
        done = command(*words)
        assert "unexpected" not in done.stderr
        assert done.returncode in (0, 1, 2)


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize("name", ["created", "generated_by", "symmetry", "provenance", "complete"])
def test_what_an_expanded_table_says_may_be_anything(name, go, command, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    go("expand", "in.h5", "e.h5", "--symmetry=C3")
    for value in (h5py.Empty("f8"), h5py.Reference(), np.arange(3), np.void(b"x"), 1.5, np.nan):
        with h5py.File(tmp_path / "e.h5", "r+") as file:
            file.attrs[name] = file.ref if isinstance(value, h5py.Reference) else value
        for words in (("inspect", "e.h5"), ("inspect", "e.h5", "--json"), ("verify", "e.h5"),
                      ("verify", "e.h5", "--json"), ("match", "e.h5", "--json")):  # fmt: skip
            done = command(*words)
            assert "unexpected" not in done.stderr, (words, value)
            assert done.returncode in (0, 1)


def test_texts_that_are_no_utf8(command, go, tmp_path, columns):
    """They can be copied from table to table, as what they are not."""
    write_table(tmp_path / "in.h5", columns, **{"convention_doubt": b"\xff", "note": b"\xf4 text"})
    with h5py.File(tmp_path / "in.h5", "r+") as file:
        for name in (POSE, "ctf/df1_A"):
            for attribute in ("units", "description"):
                file[f"particles/{name}"].attrs[attribute] = b"\xf4 text"
    go("expand", "in.h5", "e.h5", "--symmetry=C3", "--carry=ctf/*")
    go("verify", "e.h5")
    go("collapse", "e.h5", "c.h5")
    with h5py.File(tmp_path / "c.h5") as file:
        assert file[f"particles/{POSE}"].attrs["units"] == "\ufffd text"


def test_a_single_value_is_no_column(refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", {**columns, "scale": np.float64(1)})
    refuse("scale has a single value")


# The rows


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [POSE, SHIFT, PSIZE])
def test_not_a_number(name, value, refuse, tmp_path, columns):
    columns[name][[7, 20, 33], ...] = value
    write_table(tmp_path / "in.h5", columns)
    refuse(f"{name} is NaN or Inf: first in row 7, 3 row(s) in all", flags=HELIX)


@pytest.mark.parametrize("value", [0.0, -1.1])
@pytest.mark.parametrize("flags", [HELIX, ("--symmetry=C3",)])
def test_pixel_size_is_no_length(value, flags, refuse, tmp_path, columns):
    columns[PSIZE][[12, 49]] = value
    write_table(tmp_path / "in.h5", columns)
    refuse(f"{PSIZE} is not above 0: first in row 12, 2 row(s) in all", flags=flags)


def test_a_pixel_size_given_replaces_a_bad_one(command, tmp_path, columns):
    columns[PSIZE][:] = 0
    write_table(tmp_path / "in.h5", columns)
    assert command("expand", "in.h5", "out.h5", *HELIX, "--psize=1.2").returncode == 0


def test_pixel_sizes_so_small_that_shifts_overflow(refuse, tmp_path, columns):
    columns[PSIZE][3] = 1e-38
    write_table(tmp_path / "in.h5", columns)
    refuse("shifts would overflow", flags=("--twist=20", "--rise=50", "--order=3"))


@pytest.mark.parametrize(
    ("pose_format", "column", "say"),
    [
        ("quaternion", np.full((50, 4), 0.9), "not a quaternion of length 1"),
        ("quaternion", np.zeros((50, 4)), "not a quaternion of length 1"),
        ("matrix", np.full((50, 3, 3), 0.3), "not an orthonormal matrix"),
        ("matrix", np.tile(np.diag([1.0, 1.0, -1.0]), (50, 1, 1)), "mirror image"),
        ("rotvec", np.full((50, 3), 1e7), "no angle"),
    ],
)
def test_rows_are_no_rotations(pose_format, column, say, refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", {**columns, POSE: column})
    flags = ("--symmetry=C3", f"--pose_format={pose_format}")
    refuse(say, "first in row 0, 50 row(s)", flags=flags)


def test_double_ids(refuse, tmp_path, columns):
    columns["uid"][[4, 31]] = columns["uid"][17]
    write_table(tmp_path / "in.h5", columns)
    refuse(f"uid {columns['uid'][17]} stands in rows 4, 17, 31 (2 double id(s) in all)")


def test_negative_ids(refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", {**columns, "uid": np.arange(-2, 48)})
    refuse("uid is negative: first in row 0, 2 row(s)")


def test_more_ids_than_there_are(tmp_path):
    whole = point_group("C1")
    huge = Operators(
        np.broadcast_to(whole.quaternion, (60_000, 4)), np.zeros((60_000, 3)), ("E",), Own("x")
    )
    uids = np.broadcast_to(np.uint64(0), 2**48)
    with pytest.raises(SourceError, match="do not fit 64 bits"):
        first_new_id("sha256:0", huge, uids)


def test_more_rows_than_a_file_holds(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inside.expansion_plan, "_MOST_BYTES", 1000)
    assert main(["expand", source, str(tmp_path / "out.h5"), "--symmetry=C3"]) == 1
    assert "150 rows do not fit one file" in capsys.readouterr().err


# Already expanded


def test_already_expanded(refuse, command, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    assert command("expand", "in.h5", "ours.h5", "--symmetry=C3").returncode == 0
    refuse("already expanded by numba_symexp", "--again", source="ours.h5")
    with h5py.File(tmp_path / "ours.h5", "a") as file:
        del file.attrs["format"]
    refuse("already expanded by numba_symexp", source="ours.h5")
    twice = {name: np.repeat(column, 2, axis=0) for name, column in columns.items()}
    theirs = {**twice, "uid": np.arange(100), "sym_expand/src_uid": twice["uid"]}
    write_table(tmp_path / "theirs.h5", theirs, compound=True)
    refuse("already expanded by CryoSPARC", source="theirs.h5")


def test_links_lead_nowhere(refuse, tmp_path, columns):
    write_table(tmp_path / "other.h5", columns)
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["particles"] = h5py.ExternalLink("other.h5", "/particles")
    refuse("/particles is a link to another place")
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file[f"particles/{SHIFT}"] = columns[SHIFT]
        file[f"particles/{POSE}"] = h5py.ExternalLink("other.h5", f"/particles/{POSE}")
    refuse("no pose column")
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file[f"particles/{SHIFT}"] = columns[SHIFT]
        file["particles/loop"] = file["particles"]
    refuse("no pose column", f"columns: {SHIFT})")


@pytest.mark.parametrize("kept", ["virtual", "external"])
def test_rows_of_a_column_are_in_another_file(kept, refuse, tmp_path, columns):
    pose = columns.pop(POSE)
    write_table(tmp_path / "in.h5", columns)
    with h5py.File(tmp_path / "twin.h5", "w") as file:
        file["pose"] = pose
    (tmp_path / "numbers.bin").write_bytes(pose.tobytes())
    with h5py.File(tmp_path / "in.h5", "r+") as file:
        if kept == "virtual":
            layout = h5py.VirtualLayout(pose.shape, pose.dtype)
            layout[...] = h5py.VirtualSource("twin.h5", "pose", pose.shape)
            file.create_virtual_dataset(f"particles/{POSE}", layout)
        else:
            numbers = [(str(tmp_path / "numbers.bin"), 0, pose.nbytes)]
            file.create_dataset(f"particles/{POSE}", pose.shape, pose.dtype, external=numbers)
    refuse(f"in.h5: {POSE} keeps its rows in other files, which are not followed")


# The output


def test_output_exists(refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    (tmp_path / "there.h5").write_bytes(HDF5_SIGNATURE + b"precious")
    refuse("there.h5: exists", "--overwrite", output="there.h5")


def test_output_is_no_regular_file(refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    (tmp_path / "folder").mkdir()
    refuse("not a regular file", output="folder")
    refuse("not a regular file", output="/dev/null", flags=("--symmetry=C3", "--overwrite"))


@pytest.mark.parametrize("link", ["itself", "symbolic", "hard", "folder"])
def test_output_is_the_source(link, refuse, tmp_path, columns):
    source = write_table(tmp_path / "in.h5", columns)
    output = {"itself": "in.h5", "folder": "beside/in.h5"}.get(link, "link.h5")
    if link == "symbolic":
        (tmp_path / "link.h5").symlink_to(source)
    elif link == "hard":
        os.link(source, tmp_path / "link.h5")
    elif link == "folder":
        (tmp_path / "beside").symlink_to(tmp_path, target_is_directory=True)
    refuse("is the source itself", output=output, flags=("--symmetry=C3", "--overwrite"))


def test_output_through_a_link_replaces_what_it_points_to(command, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    (tmp_path / "real.h5").write_bytes(HDF5_SIGNATURE + b"old")
    (tmp_path / "link.h5").symlink_to("real.h5")
    assert command("expand", "in.h5", "link.h5", "--symmetry=C3", "--overwrite").returncode == 0
    assert (tmp_path / "link.h5").is_symlink()
    assert h5py.is_hdf5(tmp_path / "real.h5")


def test_output_has_an_impossible_name(refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    refuse("File name too long", output="x" * 300)
    refuse("is not UTF-8 text", output=os.fsdecode(b"\xff.h5"), code=2)


def test_output_folder_is_missing(refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    refuse("does not exist", output="nowhere/out.h5")
    refuse("does not exist", output="in.h5/out.h5")


def test_output_folder_cannot_be_written(tmp_path, source, monkeypatch, capsys):
    """Root may write anywhere, so the refusal of the file system is played."""

    def no_new_files(path, flags, mode=0o777):
        if flags & os.O_CREAT:
            raise OSError(errno.EACCES, "Permission denied", path)
        return really_open(path, flags, mode)

    really_open = os.open
    monkeypatch.setattr(os, "open", no_new_files)
    assert main(["expand", source, str(tmp_path / "out.h5"), "--symmetry=C3"]) == 1
    shown = capsys.readouterr().err
    assert "Permission denied" in shown
    assert "choose a folder that you may write to" in shown
    assert os.listdir(tmp_path) == ["source.h5"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any folder")
def test_output_folder_is_read_only(refuse, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    (tmp_path / "locked").mkdir(0o555)
    refuse("choose a folder that you may write to", output="locked/out.h5")


def test_not_enough_space(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 1234))
    assert main(["expand", source, str(tmp_path / "out.h5"), "--symmetry=C3"]) == 1
    shown = capsys.readouterr().err
    assert "needs" in shown
    assert "1,234 free" in shown
    assert os.listdir(tmp_path) == ["source.h5"]


@pytest.mark.parametrize(("name", "after"), [("pwrite", 3), ("fsync", 0)])
def test_the_disk_fills_up_in_the_middle(name, after, source, tmp_path, monkeypatch, capsys):
    calls = []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(*arguments)

    really = getattr(os, name)
    monkeypatch.setattr(os, name, full)
    out = tmp_path / "out.h5"
    out.write_bytes(HDF5_SIGNATURE + b"the old file")
    words = ["expand", source, str(out), "--symmetry=C60", "--chunk_rows=60", "--overwrite"]
    assert main(words) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["out.h5", "source.h5"]
    assert out.read_bytes() == HDF5_SIGNATURE + b"the old file"


@pytest.mark.slow
def test_a_limit_on_file_sizes(tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    command = [sys.executable, "-m", "numba_symexp", "expand", "in.h5", "out.h5", "--symmetry=C900"]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: out.h5: cannot be written (File too large)")
    assert result.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["in.h5"]


def test_hdf5_cannot_flush(source, tmp_path, monkeypatch, capsys):
    def no_flush(file):
        raise RuntimeError("Unable to flush file")

    monkeypatch.setattr(h5py.File, "flush", no_flush)
    assert main(["expand", source, str(tmp_path / "out.h5"), "--symmetry=C3"]) == 1
    assert "cannot be written (Input/output error)" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["source.h5"]


def test_a_file_system_without_hard_links(source, tmp_path, monkeypatch):
    def no_links(a, b):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    out = str(tmp_path / "out.h5")
    assert main(["expand", source, out, "--symmetry=C3", "--quiet"]) == 0
    assert h5py.is_hdf5(out)


def test_a_file_system_that_cannot_reserve(source, tmp_path, monkeypatch):
    monkeypatch.setattr(inside.files, "_library", lambda: object())
    out = str(tmp_path / "out.h5")
    assert main(["expand", source, out, "--symmetry=C3", "--quiet"]) == 0
    assert h5py.is_hdf5(out)


def test_a_file_that_cannot_be_read(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(["expand", source, str(tmp_path / "out.h5"), "--symmetry=C3"]) == 1
    assert "permission denied" in capsys.readouterr().err
