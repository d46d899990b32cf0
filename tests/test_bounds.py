"""Files that ask for more time or memory than their bytes are worth: linear time, or a refusal."""

import os
import resource
import subprocess
import sys
import time
from types import SimpleNamespace

import h5py
import inside
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import open_table
from particle_files import write_cs
from star_files import OPTICS, VERSION, loop, particles, read_star, star_text

pytestmark = pytest.mark.slow

LONGEST_S = 240
"""Far more than any of these takes when its time is linear, also on a busy machine."""
MOST_RESIDENT = 1 << 30
MOST_ADDRESSES = 12 << 30
POSE, SHIFT = "alignments3D/pose", "alignments3D/shift"


@pytest.fixture
def bounded(tmp_path):
    """Run the program with bounded memory; gives how it ended."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))

    def run(*words):
        shown = tmp_path / "shown"
        with open(shown, "wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "numba_symexp", *map(str, words)],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=file,
                preexec_fn=limit,
            )
            try:
                usage = wait(process)
            finally:
                process.kill()  # does nothing to a process that has ended
                process.wait()
        assert usage.ru_maxrss << 10 < MOST_RESIDENT
        return SimpleNamespace(returncode=process.returncode, stderr=shown.read_text())

    return run


def wait(process):
    """Wait for a process; gives what it used."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage
        time.sleep(0.01)
    raise TimeoutError(f"not done in {LONGEST_S} s")


def assert_refused(done, say):
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr[:2000]
    assert say in done.stderr
    assert len(done.stderr) < 2000


VERBS = [("inspect",), ("expand", "o.h5", "--symmetry=C2")]


def each_verb(bounded, file):
    """How a verb that reads the structure ends on a file, and one that reads the rows."""
    for verb, *rest in VERBS:
        yield bounded(verb, file, *rest)


def test_very_many_labels(bounded, tmp_path):
    columns = {f"rlnOwn{k}": ["1"] for k in range(100_000)}
    (tmp_path / "p.star").write_text(loop("particles", {"rlnImageName": ["1@s"], **columns}))
    for done in each_verb(bounded, "p.star"):
        assert_refused(done, "over 4,096 labels")


def test_labels_up_to_the_bound_are_read(bounded, tmp_path, rng):
    columns = particles(rng, 40)
    columns |= {f"rlnOwn{k}": ["1"] * 40 for k in range(4096 - len(columns))}
    (tmp_path / "p.star").write_text(star_text(columns))
    assert bounded("expand", "p.star", "o.h5", "--symmetry=C2").returncode == 0
    assert bounded("export", "o.h5", "o.star").returncode == 0
    assert len(read_star((tmp_path / "o.star").read_text())["rlnOwn4000"]) == 80


@pytest.mark.parametrize("quotes", ["'a" * 300_000, '"' * 600_000, "' " * 300_000, "'\"" * 300_000])
def test_a_line_of_quotes_in_the_optics(quotes, bounded, tmp_path, rng):
    optics = OPTICS.replace("2 1.25", f"{quotes} 1.25")
    (tmp_path / "p.star").write_text(star_text(particles(rng, 9), optics))
    for done in each_verb(bounded, "p.star"):
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr[:2000]


@pytest.mark.parametrize("quotes", ["'a" * 300_000, '"' * 600_000, "' " * 300_000])
def test_a_line_of_quotes_among_pairs(quotes, bounded, tmp_path, rng):
    optics = f"data_general\n\n_rlnNote {quotes}\n{OPTICS}"
    (tmp_path / "p.star").write_text(star_text(particles(rng, 9), optics))
    assert bounded("inspect", "p.star").returncode in (0, 1)


@pytest.mark.parametrize(
    ("place", "blank"),
    [
        *(("labels", blank) for blank in ("\n", " \n", "# c\n", "\r\n", "\t")),
        *(("before", "\n"), ("before", "# c\n"), ("behind", "\n"), ("behind", "\t")),
    ],
)
def test_very_many_blank_lines(place, blank, bounded, tmp_path, rng):
    text = star_text(particles(rng, 9)).rstrip("\n") + "\n"
    gap = blank * (5_000_000 // len(blank))
    mark = {"before": "\ndata_particles", "labels": "\n_rlnAnglePsi", "behind": ""}[place]
    before, _, after = text.partition(mark) if mark else (text, "", "")
    (tmp_path / "p.star").write_text(before + "\n" + gap + mark + after)
    done = bounded("import", "p.star", "o.h5")
    assert done.returncode in (0, 1)
    assert done.returncode == 0 or done.stderr.startswith("error: ")


@pytest.mark.parametrize("text", [b"\n", b"data_more\n_x 1\n", b"# comment\n", b"\0"])
def test_very_much_text_behind_the_rows(text, bounded, tmp_path, rng):
    with open(tmp_path / "p.star", "wb") as file:
        file.write(star_text(particles(rng, 9)).encode())
        piece = text * ((4 << 20) // len(text))
        for _ in range(75):
            file.write(piece)
    for done in each_verb(bounded, "p.star"):
        assert_refused(done, "64 MB follow the rows" if text != b"\0" else "p.star: ")


def test_very_much_text_before_the_rows(bounded, tmp_path, rng):
    with open(tmp_path / "p.star", "w") as file:
        for _ in range(75):
            file.write("# comment\n" * 420_000)
        file.write(star_text(particles(rng, 9)))
    for done in each_verb(bounded, "p.star"):
        assert_refused(done, "no loop of particles")


@pytest.mark.parametrize("label", ["rlnImageName", "rlnDefocusU", "rlnOpticsGroup", "rlnOwn"])
def test_a_word_of_a_million_bytes(label, bounded, tmp_path, rng):
    columns = particles(rng, 3000)
    columns["rlnOwn"] = ["1"] * 3000
    columns[label][1700] = "7" * 1_000_000
    (tmp_path / "p.star").write_text(star_text(columns))
    for done in each_verb(bounded, "p.star"):
        assert_refused(done, f"row 1700 has 1,000,000 bytes of {label}")


def test_a_word_of_a_million_bytes_in_the_optics(bounded, tmp_path, rng):
    rows = {
        "rlnOpticsGroup": [str(k + 1) for k in range(3000)],
        "rlnImagePixelSize": ["1.5"] * 3000,
    }
    rows["rlnMtfFileName"] = ["x"] * 2999 + ["x" * 1_000_000]
    (tmp_path / "p.star").write_text(star_text(particles(rng, 9), loop("optics", rows)))
    for done in each_verb(bounded, "p.star"):
        assert_refused(done, "rlnMtfFileName")


@pytest.mark.parametrize(
    "text", ["{" + "'a': 1, " * 1_200_000 + "}", "(" * 10_000_000, " " * 10**7]
)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_cs_header_of_ten_million_bytes(version, text, bounded, tmp_path):
    text = text[:65_535] if version == 1 else text
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    (tmp_path / "p.cs").write_bytes(b"\x93NUMPY" + bytes([version, 0]) + length + text.encode())
    assert_refused(bounded("import", "p.cs", "o.h5"), "its header")


def test_very_many_optics_groups(bounded, tmp_path, rng):
    """As many as particles, numbered as their values ascend; and back."""
    n = 300_000
    write_cs(tmp_path / "few.cs", rng.uniform(-170, 170, (8, 5)), np.arange(8), 64, 1.1, "s.mrc")
    rows = np.resize(np.load(tmp_path / "few.cs"), n)
    rows["uid"], rows["blob/idx"] = np.arange(n) + 10**12, np.arange(n)
    group = rng.permutation(n).astype(np.uint32) + 5
    rows["ctf/exp_group_id"] = group
    with open(tmp_path / "p.cs", "wb") as file:
        np.save(file, rows)
    assert bounded("export", "p.cs", "o.star").returncode == 0
    lines = (tmp_path / "o.star").read_text().splitlines()
    start = lines.index("data_particles")
    labels = [line for line in lines[start:] if line.startswith("_")]
    place = next(k for k, label in enumerate(labels) if label.startswith("_rlnOpticsGroup "))
    last = [line for line in lines[-n - 2 :] if "@" in line]
    assert [int(line.split()[place]) for line in last] == (group - 4).tolist()
    assert bounded("export", "o.star", "again.cs").returncode == 0
    assert np.load(tmp_path / "again.cs")["ctf/exp_group_id"].tolist() == (group - 4).tolist()


@pytest.mark.parametrize("compound", [False, True])
def test_a_chunk_of_many_rows_is_unpacked_once(compound, tmp_path, rng):
    """Blocks of rows come of the chunk as it was unpacked first, not of its bytes in the file."""
    columns = random_columns(rng, 700_000, np.float64)
    whole = write_table(tmp_path / "whole.h5", columns, compound=compound)
    path = tmp_path / "p.h5"
    names = ["particles"] if compound else [f"particles/{name}" for name in columns]
    with h5py.File(whole) as source, h5py.File(path, "w") as file:
        for name in names:
            data = source[name][()]
            file.create_dataset(name, data=data, chunks=data.shape, compression=1)
        read = names if compound else [f"particles/{POSE}", f"particles/{SHIFT}"]
        chunks = [file[name].id.get_chunk_info(0) for name in read]
    with open_table(str(path)) as table:
        first = table.read([POSE, SHIFT], 0, 1000)
        with open(path, "r+b") as file:
            for chunk in chunks:
                file.seek(chunk.byte_offset)
                file.write(bytes(chunk.size))
        rest = table.read([POSE, SHIFT], 1000, 700_000)
    for name in (POSE, SHIFT):
        assert np.array_equal(np.concatenate([first[name], rest[name]]), columns[name])


def test_chunks_larger_than_what_is_kept(tmp_path, rng, monkeypatch, go):
    """They are read all the same."""
    columns = random_columns(rng, 300_000)
    with h5py.File(tmp_path / "p.h5", "w") as file:
        for name, data in columns.items():
            file.create_dataset(f"particles/{name}", data=data, chunks=data.shape, compression=1)
    monkeypatch.setattr(inside.hdf5_table, "_MOST_CACHE_BYTES", 4 << 20)
    go("expand", "p.h5", "o.h5", "--symmetry=C2", "--quiet")
    go("verify", "o.h5", "--quiet")


def test_text_of_relion_that_was_kept_is_bounded(bounded, tmp_path, rng):
    (tmp_path / "p.star").write_text(star_text(particles(rng, 9)) + VERSION)
    assert bounded("import", "p.star", "p.h5").returncode == 0
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        del file["star/head"]
        file.create_dataset(
            "star/head", (1 << 32,), "u1", chunks=(1 << 22,), compression=9, fillvalue=35
        )[: 1 << 20] = 35
    for done in (
        bounded("export", "p.h5", "o.star"),
        bounded("expand", "p.h5", "o.h5", "--symmetry=C2"),
    ):
        assert done.returncode in (0, 1)
        assert done.stderr.count("\n") == 1
