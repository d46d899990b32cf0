"""Damage particle tables in thousands of ways, and see that every run ends as it promises.

    python tests/fuzz.py --sources=2000 --expanded=500 --worlds=300 --tomograms=500 \
        --returned=500 --beside=500 --seed=1

Each case is one file in a folder of its own, damaged or made by a grammar, in a forked process with
bounded memory and time, which runs all verbs on it. A run must end with its output, or with one
line of error and nothing written; never with a traceback, a crash or a hang. A world is a whole
table in odd surroundings: environment variables, standard streams, caches of kernels, folders; a
process of its own must write the bytes of an undisturbed run, or end in one line. A case depends on
the seed and on its number alone: ``--only=source:17 --keep=FOLDER`` makes one again and leaves its
files.
"""

import argparse
import contextlib
import gc
import hashlib
import json
import multiprocessing
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

os.environ["NUMBA_NUM_THREADS"] = "1"
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"  # the layer that survives a fork

import h5py
import numpy as np
from conftest import random_columns, write_table
from fuzz_sets import (
    BESIDE_VERBS,
    MAY_BE_LEFT_OUT,
    MORE_OUTPUTS,
    RETURNED_VERBS,
    damage_map,
    damage_words,
    make_beside,
    make_returned,
    mildly,
    odd_json,
    prepare_beside,
    prepare_returned,
    wrong_rows,
)
from grammars import Star, cs
from inside import COMMANDS, main, probe
from particle_files import write_cs
from star_files import loop, particles, read_star, star_text
from test_dynamo_and_m import dynamo_rows, m_columns, write_tbl
from test_subtomograms import UNBINNED, subtomograms, tomo_text
from worlds import make_world_base, run_world

from numba_symexp import SymexpError, open_expanded

MOST_MEMORY = 4 << 30
MOST_CPU_SECONDS = 20
MOST_WALL_SECONDS = 120  # machines of a CI have other work too: this is for runs that only wait
LONGEST_LINE = 2000
ROWS = 8

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
HELIX = ("--twist=20", "--rise=5", "--order=3")

SOURCE_VERBS = {
    "expand": lambda file, flags: ["expand", file, "out.h5", *flags],
    "expand_star": lambda file, flags: ["expand", file, "expanded.star", *flags],
    "expand_cs": lambda file, flags: ["expand", file, "expanded.cs", *flags],
    "inspect": lambda file, flags: ["inspect", file],
    "import": lambda file, flags: ["import", file, "imported.h5"],
    "export_star": lambda file, flags: ["export", file, "out.star"],
    "export_cs": lambda file, flags: ["export", file, "out.cs"],
    "words": lambda file, flags: words_that_changed(file),
}
"""What is run on a damaged source: name -> words of the command line."""

TOMOGRAM_VERBS = {
    "expand": lambda file, flags: ["expand", file, "out.h5", *flags],
    "expand_tbl": lambda file, flags: ["expand", file, "expanded.tbl", *flags],
    "expand_star": lambda file, flags: ["expand", file, "expanded.star", *flags],
    "expand_m": lambda file, flags: ["expand", file, "m.star", *flags, "--program=m"],
    "inspect": lambda file, flags: ["inspect", file],
    "import": lambda file, flags: ["import", file, "imported.h5"],
    "export_tbl": lambda file, flags: ["export", file, "out.tbl", "--psize=2"],
    "export_star": lambda file, flags: ["export", file, "out.star"],
    "export_m": lambda file, flags: ["export", file, "m.star", "--program=m"],
    "match": lambda file, flags: ["match", file],
    "collapse_star": lambda file, flags: ["collapse", file, "collapsed.star", "--source=m32.star"],
    "collapse_tbl": lambda file, flags: ["collapse", file, "collapsed.tbl", "--source=whole.tbl"],
    "plot": lambda file, flags: ["plot", file, "plot.png"],
}
"""The same for damaged subtomograms, of RELION, Dynamo and M."""

EXPANDED_VERBS = {
    "inspect": lambda file, flags: ["inspect", file],
    "export_star": lambda file, flags: ["export", file, "out.star"],
    "export_cs": lambda file, flags: ["export", file, "out.cs"],
    "again": lambda file, flags: ["expand", file, "again.h5", "--symmetry=C2", "--again"],
    "verify": lambda file, flags: ["verify", file],
    "match": lambda file, flags: ["match", file],
    "collapse": lambda file, flags: ["collapse", file, "collapsed.h5"],
    "collapse_star": lambda file, flags: ["collapse", file, "collapsed.star"],
    "collapse_cs": lambda file, flags: ["collapse", file, "collapsed.cs"],
    "plot": lambda file, flags: ["plot", file, "plot.png"],
    "read": lambda file, flags: read_column(file),
}
"""The same for damaged expanded files; a function's own words are None when it did all itself."""

VERBS_OF = {
    "source": SOURCE_VERBS,
    "tomogram": TOMOGRAM_VERBS,
    "expanded": EXPANDED_VERBS,
    "returned": RETURNED_VERBS,
    "beside": BESIDE_VERBS,
}

OUTPUTS = {
    "expand": {"out.h5"},
    "expand_star": {"expanded.star"},
    "expand_cs": {"expanded.cs", "expanded.csg"},
    "import": {"imported.h5"},
    "export_star": {"out.star"},
    "export_cs": {"out.cs", "out.csg"},
    "again": {"again.h5"},
    "collapse": {"collapsed.h5"},
    "collapse_star": {"collapsed.star"},
    "collapse_cs": {"collapsed.cs", "collapsed.csg"},
    "expand_tbl": {"expanded.tbl"},
    "expand_m": {"m.star"},
    "export_tbl": {"out.tbl"},
    "export_m": {"m.star"},
    "collapse_tbl": {"collapsed.tbl"},
    "plot": {"plot.png"},
    **MORE_OUTPUTS,
}
"""Files that a verb leaves when it is done."""

REPORTING = {"verify", "match", "mapcheck", "mapcheck_operators", "mask"}
"""Verbs whose report, on standard output, may itself be that a file is bad: exit code 1."""

FLAGS = (
    ("--symmetry=D3",),
    HELIX,
    ("--symmetry=C2", "--carry=*"),
    ("--symmetry=C2", "--psize=1.1"),
    ("--symmetry=O", "--assign_halves=1"),
    ("--symmetry=C2", "--table=/particles"),
    ("--symmetry=C2", "--pose_format=euler_zyz", "--chunk_rows=3"),
    ("--symmetry=O", "--modulo=C4", "--carry=ctf/*"),
    ("--symmetry=D3", "--center=9,8,7", "--defocus=minus"),
    ("--symmetry=T", "--center_px=9,8,7", "--box_px=64", "--unique"),
)


TOMOGRAM_FLAGS = (
    ("--symmetry=D3",),
    HELIX,
    ("--symmetry=C2", "--carry=*", "--chunk_rows=3"),
    ("--symmetry=C2", "--psize=1.1", "--center=9,8,7"),
    ("--symmetry=O", "--modulo=C4", "--assign_halves=1"),
    ("--symmetry=T", "--center_px=9,8,7", "--box_px=64", "--unique"),
)

KINDS = ("expanded", "source", "world", "tomogram", "returned", "beside")
SECRET = b"SECRETSECRETSECRETSECRETSECRETSECRET"
"""What stands in files beside the table, to which a table may try to lead."""


@dataclass(frozen=True)
class Case:
    """One damaged file: which kind, and the numbers that it follows from."""

    kind: str
    number: int
    seed: int

    @property
    def name(self):
        """How ``--only`` names it."""
        return f"{self.kind}:{self.number}"

    @property
    def rng(self):
        """Random numbers of its own."""
        return np.random.default_rng([self.seed, KINDS.index(self.kind), self.number])


@dataclass(frozen=True)
class Run:
    """How one verb ended: exit code or what became of the process, and what it showed."""

    case: str
    verb: str
    damage: str
    outcome: str
    shown: str
    faults: list[str]


def read_column(file):
    """Read joined columns in Python; an error counts as the program's would."""
    try:
        probe.probe(file)  # on some damaged heaps HDF5 itself crashes or hangs
        with open_expanded(file) as table:
            in_star = "rlnDefocusU" in table.source.columns
            table["rlnDefocusU" if in_star else "ctf/df1_A"][:]
            table[POSE][:]
            table.operators.matrix.sum()
    except SymexpError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 1
    return 0


def words_that_changed(file):
    """Import and export again what a grammar made: legal words come back as they were."""
    if not os.path.exists("legal.json"):
        return 0
    block, wanted = json.loads(Path("legal.json").read_text())
    for words in (["import", file, "legal.h5"], ["export", "legal.h5", "legal.star"]):
        if main([*words, "--quiet"]):
            return 1
    found = read_star(Path("legal.star").read_text(), block)
    os.unlink("legal.h5")
    os.unlink("legal.star")
    odd = [label for label, column in wanted.items() if found.get(label) != column]
    for label in odd:
        print(f"changed: {label}: {wanted[label]} is now {found.get(label)}", file=sys.stderr)
    return 0


# What files look like before they are damaged


def make_sources(folder):
    """Whole sources of every kind."""
    rng = np.random.default_rng(7)
    columns = random_columns(rng, ROWS)
    columns["ctf/df2_A"] = columns["ctf/df1_A"] - 50
    write_table(folder / "group.h5", columns)
    write_table(folder / "compound.h5", columns, compound=True)
    with h5py.File(folder / "chunked.h5", "w", libver="latest") as file:
        for name, column in columns.items():
            file.create_dataset(f"particles/{name}", data=column, chunks=True, compression="gzip")
    write_cs(folder / "rows.cs", rng.uniform(-170, 170, (ROWS, 5)), np.arange(ROWS), 64, 1.1, "s")
    (folder / "rows.star").write_text(star_text(particles(rng, ROWS)))
    secret = np.frombuffer(SECRET * 8, "<f4")[: ROWS * 3].reshape(ROWS, 3)
    words = np.array([SECRET] * ROWS)
    write_table(folder / "outside.h5", {**columns, POSE: secret, "blob/path": words})
    (folder / "secret.bin").write_bytes(SECRET * 100)
    finished("import", folder / "rows.star", folder / "imported.h5")


def make_subtomograms(folder):
    """Subtomograms of three programs, and copies of some."""
    rng = np.random.default_rng(7)
    write_tbl(folder / "whole.tbl", dynamo_rows(rng, ROWS))
    bare = dynamo_rows(rng, ROWS, apix=0)
    write_tbl(folder / "bare.tbl", bare)
    for name, times in (("m11.star", (1, 1)), ("m32.star", (3, 2)), ("m23.star", (2, 3))):
        (folder / name).write_text(loop("", m_columns(rng, ROWS, *times), comment=""))
    (folder / "tomo.star").write_text(tomo_text(subtomograms(rng, ROWS, coordinates=UNBINNED)))
    finished("expand", folder / "whole.tbl", folder / "copies.tbl", "--symmetry=C3")
    finished("expand", folder / "m32.star", folder / "copies.star", "--symmetry=C3")
    finished("import", folder / "whole.tbl", folder / "tbl.h5")
    finished("import", folder / "m32.star", folder / "m.h5")
    finished("plot", folder / "copies.tbl", folder / "warm.png")
    (folder / "warm.png").unlink()


def make_expanded(folder):
    """Whole expanded files, and what they were made of."""
    for source, flags in (
        ("group.h5", ("--symmetry=D3", "--carry=blob/*")),
        ("rows.cs", HELIX),
        ("rows.star", HELIX),
        ("imported.h5", ("--symmetry=C3", "--center=9,8,7", "--defocus=plus")),
    ):
        finished("expand", folder / source, folder / f"of_{source}.h5", *flags)


def finished(*words):
    """Run a command that must succeed; it also loads the kernels for the forked processes."""
    with contextlib.redirect_stdout(None):
        assert main([*map(str, words)]) == 0, words


# Damage: bytes


def flip_bytes(path, rng):
    data = bytearray(path.read_bytes())
    for place in rng.integers(0, len(data), rng.integers(1, 12)):
        data[place] = rng.integers(256)
    path.write_bytes(data)


def flip_early_bytes(path, rng):
    """Headers, where damage hurts most."""
    data = bytearray(path.read_bytes())
    for place in rng.integers(0, min(len(data), 3000), rng.integers(1, 6)):
        data[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def cut(path, rng):
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])


def overwrite_piece(path, rng):
    data = bytearray(path.read_bytes())
    start, size = int(rng.integers(len(data))), int(rng.integers(1, 200))
    filling = (b"\0" * size, b"\xff" * size, rng.bytes(size))[rng.integers(3)]
    data[start : start + size] = filling[: len(data) - start]
    path.write_bytes(data)


def swap_pieces(path, rng):
    data = path.read_bytes()
    a, b, c = sorted(rng.integers(0, len(data) + 1, 3).tolist())
    path.write_bytes(data[:a] + data[b:c] + data[a:b] + data[c:])


BYTES = (flip_bytes, flip_early_bytes, cut, overwrite_piece, swap_pieces)


# Damage: HDF5


def pick(rng, choices):
    return choices[int(rng.integers(len(choices)))]


def some_dataset(file, rng, of=None):
    """A dataset that a hard link leads to, or None."""
    found = []

    def visit(name, node):
        if isinstance(node, h5py.Dataset) and (of is None or name.endswith(of)):
            found.append(node)

    file.visititems(visit)
    return found[rng.integers(len(found))] if found else None


def table_of(file):
    """The table's group, where it is one; else a new group beside it."""
    node = file.get("particles")
    return node if isinstance(node, h5py.Group) else file.require_group("beside")


def replace(file, rng, make):
    """Put something else in the place of a column, most often of one that is needed."""
    wanted = (None, "pose", "shift", "psize_A", "uid", "split", "source_index")[rng.integers(7)]
    old = some_dataset(file, rng, wanted)
    if old is None:
        return
    parent, name = old.parent, old.name.rpartition("/")[2]
    rows, dtype, shape = (old.shape[0] if old.shape else ROWS), old.dtype, old.shape[1:]
    del parent[name]
    make(parent, name, rows, dtype, shape)


def wrong_shape(file, rng):
    shapes = [(), (0,), (ROWS,), (ROWS, 1), (ROWS, 3), (0, 3), (ROWS, 0), (ROWS + 1, 3), (1,) * 32]
    shape = shapes[rng.integers(len(shapes))]
    replace(file, rng, lambda g, n, r, d, s: g.create_dataset(n, shape, "<f4", data=np.ones(shape)))


def wrong_dtype(file, rng):
    kinds = ["?", "<i1", "<i8", "<u2", "<f2", "<f8", ">f4", ">f8", ">u8", "<c8", "S4", "S0", "V8"]
    kinds += ["longdouble", h5py.string_dtype(), h5py.string_dtype("ascii", 5), h5py.ref_dtype]
    kinds += [h5py.regionref_dtype, h5py.vlen_dtype("<f4"), h5py.enum_dtype({"A": 0, "B": 1})]
    kinds += [[("a", "<f4")], ("<f4", (3,)), h5py.opaque_dtype("M8[s]"), h5py.enum_dtype({}, "u1")]
    kind = kinds[rng.integers(len(kinds))]
    replace(file, rng, lambda g, n, r, d, s: g.create_dataset(n, (r, *s), kind, chunks=(1, *s)))
    replace(file, rng, lambda g, n, r, d, s: g.create_dataset(n, data=np.zeros((r, *s), kind)))


def huge_unwritten(file, rng):
    rows = int((2**31, 2**40, 2**50, 2**62)[rng.integers(4)])
    replace(file, rng, lambda g, n, r, d, s: g.create_dataset(n, (rows, *s), d, chunks=(64, *s)))


def huge_table(file, rng):
    """All columns as long as can be, one chunk of each written."""
    rows = int((2**26, 2**33, 2**40, 2**50)[rng.integers(4)])
    for name in ("uid",) * int(rng.integers(2)):
        with contextlib.suppress(KeyError):
            del file[f"particles/{name}"]
    while (old := some_dataset(file, rng)) is not None and old.shape and old.shape[0] != rows:
        parent, name, dtype, shape = old.parent, old.name, old.dtype, old.shape[1:]
        for each in list(parent):
            if isinstance(parent[each], h5py.Dataset):
                dtype, shape = parent[each].dtype, parent[each].shape[1:]
                del parent[each]
                new = parent.create_dataset(each, (rows, *shape), dtype, chunks=(64, *shape))
                new[:1] = np.ones((1, *shape), dtype)
        if name in file and file[name].shape[0] != rows:
            break


def compressed_zeros(file, rng):
    replace(
        file,
        rng,
        lambda g, n, r, d, s: g.create_dataset(
            n, data=np.zeros((2**20, *s), d), chunks=(2**16, *s), compression="gzip"
        ),
    )


def null_space(file, rng):
    replace(file, rng, lambda g, n, r, d, s: g.create_dataset(n, data=h5py.Empty(d)))


def never_written(file, rng):
    replace(file, rng, lambda g, n, r, d, s: g.create_dataset(n, (r, *s), d))


def zero_rows(file, rng):
    for _ in range(12):
        replace(file, rng, lambda g, n, r, d, s: g.create_dataset(n, (0, *s), d))


def remove_column(file, rng):
    replace(file, rng, lambda g, n, r, d, s: None)


def virtual(file, rng):
    def make(group, name, rows, dtype, shape):
        layout = h5py.VirtualLayout((rows, *shape), dtype)
        layout[:] = h5py.VirtualSource("outside.h5", f"particles/{name}", (rows, *shape))
        group.create_virtual_dataset(name, layout)

    replace(file, rng, make)


def external_storage(file, rng):
    where = pick(rng, ("secret.bin", "outside.h5", "/dev/zero", "/proc/self/mem", "new.bin", ""))

    def make(group, name, rows, dtype, shape):
        with contextlib.suppress(ValueError, OSError, RuntimeError):
            group.create_dataset(name, (rows, *shape), dtype, external=[(where, 0, 10**6)])

    replace(file, rng, make)


def linked(file, rng):
    links = (
        h5py.SoftLink("/particles"),
        h5py.SoftLink("/nowhere"),
        h5py.SoftLink("."),
        h5py.ExternalLink("outside.h5", "/particles/alignments3D/pose"),
        h5py.ExternalLink("outside.h5", "/particles"),
        h5py.ExternalLink("/dev/zero", "/"),
        h5py.ExternalLink("in.h5", "/"),
    )
    link = links[rng.integers(len(links))]
    if rng.integers(2):
        replace(file, rng, lambda g, n, r, d, s: g.__setitem__(n, link))
    else:
        for name in rng.permutation(["particles", "operators", "source", "star"])[:2]:
            if name in file:
                del file[name]
                file[name] = link


def any_object(file, rng):
    """The parent and name of a group or dataset anywhere below the root."""
    found = []
    file.visit(found.append)
    place = pick(rng, found)
    return file[place].parent, place.rpartition("/")[2]


def another_kind_of_object(file, rng):
    """A group, a dataset or a type in the place of anything, also of what is no column."""
    parent, name = any_object(file, rng)
    old = parent[name]
    rows = old.shape[0] if isinstance(old, h5py.Dataset) and old.shape else ROWS
    del parent[name]
    text = h5py.string_dtype()
    made = (
        lambda: parent.create_group(name),
        lambda: parent.create_group(name).create_group(name),
        lambda: parent.__setitem__(name, np.dtype("<f8")),
        lambda: parent.create_dataset(name, (rows,), h5py.ref_dtype),
        lambda: parent.create_dataset(name, (rows,), h5py.regionref_dtype),
        lambda: parent.create_dataset(name, data=["_rlnX"] * rows, dtype=text),
        lambda: parent.create_dataset(name, data="x" * 100_000, dtype=text),
        lambda: parent.create_dataset(name, data=h5py.Empty("f4")),
        lambda: parent.create_dataset(name, (2**40,), "S1", chunks=(2**20,)),
        lambda: parent.create_dataset(name, (2**40,), text, chunks=(2**10,)),
        lambda: parent.create_dataset(name, data=np.void(b"\0" * 40)),
    )
    pick(rng, made)()


def linked_anywhere(file, rng):
    """A link in the place of anything: soft, external, to itself, or hard to something else."""
    parent, name = any_object(file, rng)
    here = f"{parent.name}/{name}"
    other = file[here]
    if rng.integers(3):
        other_parent, other_name = any_object(file, rng)
        other = other_parent[other_name]
    inside = file[here].name
    del parent[name]
    made = (
        h5py.SoftLink(here), h5py.SoftLink(other.name), h5py.SoftLink("/"),
        h5py.ExternalLink("outside.h5", inside), h5py.ExternalLink("outside.h5", "/"),
        h5py.ExternalLink("in.h5", inside), h5py.ExternalLink("/proc/kmsg", "/"),
        h5py.ExternalLink("", inside), other, file["/"],
    )  # fmt: skip
    parent[name] = pick(rng, made)


def stored_elsewhere(file, rng):
    """The bytes of any dataset come of another file: external storage, or a virtual dataset."""
    old = some_dataset(file, rng)
    parent, name = old.parent, old.name.rpartition("/")[2]
    shape, dtype, place = old.shape, old.dtype, old.name
    del parent[name]
    if rng.integers(2):
        kind = dtype if dtype.kind != "O" else "S30"
        where = pick(rng, ("secret.bin", "/etc/passwd", "/proc/self/environ", "/dev/zero"))
        parent.create_dataset(name, shape, kind, external=[(where, 0, h5py.h5f.UNLIMITED)])
        return
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource(pick(rng, ("outside.h5", ".")), place, shape, dtype)
    parent.create_virtual_dataset(name, layout)


def odd_storage(file, rng):
    """The same values, stored in another way: chunks, filters, byte order, fill values."""
    old = some_dataset(file, rng)
    parent, name, data = old.parent, old.name.rpartition("/")[2], old[()]
    attributes = dict(old.attrs)
    del parent[name]
    ways = (
        {"chunks": True, "compression": "gzip"}, {"chunks": True, "compression": "lzf"},
        {"chunks": True, "fletcher32": True}, {"chunks": True, "shuffle": True},
        {"chunks": True, "maxshape": (None,) * np.ndim(data)}, {"fillvalue": 3}, {"chunks": (1,)},
        {"dtype": np.asarray(data).dtype.newbyteorder(">")},
        {"chunks": True, "scaleoffset": 2}, {"chunks": (10_000_000,), "maxshape": (None,)},
    )  # fmt: skip
    new = parent.create_dataset(name, data=data, **pick(rng, ways))
    new.attrs.update(attributes)


def cycle(file, rng):
    group = table_of(file)
    group["loop"] = group
    group["up"] = file["/"]
    group.require_group("deep/down")["again"] = group


def many_paths(file, rng):
    """A few groups with two links each to the next: paths double at every step."""
    group = table_of(file)
    for _ in range(int(rng.integers(5, 40))):
        below = group.create_group("a")
        group["b"] = below
        group = below
    group["value"] = np.ones(ROWS)


def deep(file, rng):
    group = table_of(file)
    for _ in range(int((20, 400, 1500)[rng.integers(3)])):
        group = group.create_group("d")
    group["value"] = np.ones(ROWS)


def many_columns(file, rng):
    group = table_of(file)
    for number in range(500):
        group[f"more/c{number}"] = np.ones(ROWS, "<f4")


def references(file, rng):
    group = table_of(file)
    refs = group.create_dataset("refs", (ROWS,), h5py.ref_dtype)
    refs[:] = [file.ref] * ROWS
    group.attrs["ref"] = file.ref


def weird_names(file, rng):
    names = ["a b", "new\nline", "\x1b[31mred", "x" * 3000, "µ", ".hidden", "sym_expand", "rlnFoo"]
    names += [b"\xff\xfe", "convention", "star", "%s%n", "{0}", "source_index", "a:b", "\u202e"]
    name = names[rng.integers(len(names))]
    table_of(file)[name] = np.ones(ROWS, ("<f4", "S4")[rng.integers(2)])


def named_type(file, rng):
    table_of(file)["kind"] = np.dtype("<f8")


def table_is_something_else(file, rng):
    if "particles" in file:
        del file["particles"]
    made = (np.float64(1), np.ones((3, 3)), np.dtype("<f8"), "text", np.zeros(3, [("a", "O")]))
    with contextlib.suppress(TypeError):
        file["particles"] = made[rng.integers(len(made))]


ATTRIBUTES = (
    "convention", "convention_doubt", "format", "format_version", "complete", "repeated_images",
    "part", "units",
    "pose_format", "description", "symmetry", "provenance", "created", "generated_by", "kind",
    "path", "absolute_path", "relative_path", "table", "n_rows", "fingerprint", "center_A",
    "chosen", "full_order", "sign",
)  # fmt: skip


def odd_value(file, rng):
    """Something that an attribute should not be."""
    values = [
        np.arange(3), np.array(["relion", "x"], h5py.string_dtype()), "x" * 40_000, "", "relion",
        h5py.Empty("f8"), h5py.Empty("S1"), file.ref, b"\xff\xfe", np.nan, np.inf, True, 1, -1, 0,
        2**63, 1.5, "1", np.zeros((2, 2)), np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        np.float16(1), "/dev/zero", "../outside.h5", "outside.h5", "in.h5", "\x1b[31m", "a\nb",
        "{", "[1, 2]", "[" * 30_000, '{"parameters": []}', '{"parameters": {"psize": "x"}}',
        '{"parameters": {"psize": NaN}}', "numba_symexp/expanded-particles", "rotvec", "matrix",
        np.array([], "S3"), np.array([1]), "nul\0inside", "sha256:0",
    ]  # fmt: skip
    return values[rng.integers(len(values))]


def odd_attribute(file, rng):
    owners = [file["/"], some_dataset(file, rng), table_of(file)]
    owners += [file[name] for name in ("source", "operators") if name in file]
    owner = owners[rng.integers(len(owners))]
    known = sorted(owner.attrs) if owner is not None and rng.integers(3) else ATTRIBUTES
    if owner is not None and known:
        with contextlib.suppress(OSError, ValueError, TypeError, RuntimeError):
            owner.attrs[known[rng.integers(len(known))]] = odd_value(file, rng)


def remove_attribute(file, rng):
    owners = [file[name] for name in ("/", "source", "operators") if name in file]
    owners += [each for each in (some_dataset(file, rng),) if each is not None]
    owner = owners[rng.integers(len(owners))]
    if len(owner.attrs):
        del owner.attrs[sorted(owner.attrs)[rng.integers(len(owner.attrs))]]


def odd_numbers(file, rng):
    """Values that are no poses, pixel sizes, ids or row numbers."""
    old = some_dataset(file, rng)
    if old is None or not old.size or old.dtype.kind not in "fiu":
        return
    values = [0, 1, 2**31, 2**63 - 1, 2**64 - 1]
    if old.dtype.kind == "f":
        values = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-40, 1e38, 1e30, 1e300, 1e7]
    elif old.dtype.kind == "i":
        values = [-1, -(2**31), 2**31 - 1]
    data = old[()]
    value = np.array([values[rng.integers(len(values))]])
    with np.errstate(all="ignore"):
        data.reshape(-1)[rng.integers(data.size)] = value.astype(data.dtype)[0]
        if not rng.integers(3):
            data[...] = value.astype(data.dtype)[0]
    old[...] = data


HDF5 = (
    wrong_shape, wrong_dtype, huge_unwritten, huge_table, compressed_zeros, null_space,
    never_written, zero_rows, remove_column, virtual, external_storage, linked, cycle, many_paths,
    deep, many_columns, references, weird_names, named_type, table_is_something_else,
    odd_attribute, odd_attribute, odd_attribute, remove_attribute, odd_numbers, odd_numbers,
    another_kind_of_object, linked_anywhere, stored_elsewhere, odd_storage,
)  # fmt: skip

EXPANDED = (
    odd_attribute, odd_attribute, odd_attribute, remove_attribute, remove_attribute, odd_numbers,
    odd_numbers, wrong_shape, wrong_dtype, remove_column, zero_rows, linked, null_space,
    huge_unwritten, weird_names, virtual, cycle, references, external_storage, many_paths, deep,
    another_kind_of_object, another_kind_of_object, linked_anywhere, linked_anywhere,
    stored_elsewhere, stored_elsewhere, odd_storage,
)  # fmt: skip


_NOTHING_LEFT = (
    KeyError,
    ValueError,
    TypeError,
    OSError,
    RuntimeError,
    MemoryError,
    AttributeError,
)


def damage_hdf5(path, rng, kinds):
    """Damage the structure of an HDF5 file in one to three ways; returns what was done."""
    done = []
    with h5py.File(path, "r+") as file:
        for _ in range(rng.integers(1, 4) if rng.integers(2) else 1):
            kind = kinds[rng.integers(len(kinds))]
            # A second damage may find nothing left of what it wants to damage.
            with contextlib.suppress(*_NOTHING_LEFT):
                kind(file, rng)
            done.append(kind.__name__)
    return done


# Damage: .cs


def odd_rows(path, rng):
    """Rows of types and values that no job writes."""
    rows = np.load(path)
    fields = [list(field) for field in rows.dtype.descr]
    which = int(rng.integers(len(fields)))
    kinds = ["<f8", ">f4", "<f2", "?", "S0", "S1", "<U4", "V3", "<M8[s]", "<c16", "<i8", "|u1"]
    fields[which][1] = kinds[rng.integers(len(kinds))]
    if not rng.integers(3):
        fields[which][0] = ("weird name", "x" * 500, "new\nline", "", "µ", "uid2")[rng.integers(6)]
    if not rng.integers(3):
        fields[which][2:] = [((2, 2), (0,), (1,), (3,), (100_000,))[rng.integers(5)]]
    new = np.zeros(len(rows) * int(rng.integers(2)), [tuple(field) for field in fields])
    for name in set(new.dtype.names) & set(rows.dtype.names):
        with contextlib.suppress(ValueError, TypeError):
            if new[name].shape == rows[name].shape:
                new[name] = rows[name]
    save(path, new)


def odd_cs_numbers(path, rng):
    rows = np.load(path)
    for _ in range(rng.integers(1, 5)):
        name = rows.dtype.names[rng.integers(len(rows.dtype.names))]
        if rows[name].dtype.kind == "f":
            rows[name][rng.integers(ROWS)] = (np.nan, np.inf, 1e38, -1, 0, 1e-42)[rng.integers(6)]
        elif rows[name].dtype.kind in "iu":
            rows[name][rng.integers(ROWS)] = (0, 1, 2**31 - 1)[rng.integers(3)]
        else:
            rows[name] = (b"", b"\xff", b"a b", b">", b"'", b"\n")[rng.integers(6)]
    save(path, rows)


def odd_header(path, rng):
    """Headers of odd literals, which are text and could be anything."""
    rows = np.load(path)
    descr = repr(rows.dtype.descr)
    headers = [
        "{}", "[]", "1", "", "{", "None", "(" * 5000, "-" * 3000 + "1", "{'descr': " + descr + "}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (8,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (8,)}",
        "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (8,)}",
        "{'descr': [('a', '<f4', (-1,))], 'fortran_order': False, 'shape': (8,)}",
        "{'descr': [('a', '<f4', (2**70,))], 'fortran_order': False, 'shape': (8,)}",
        "{'descr': [('a', '<f4'), ('a', '<f4')], 'fortran_order': False, 'shape': (8,)}",
        "{'descr': [(1, '<f4')], 'fortran_order': False, 'shape': (8,)}",
        "{'descr': [['a', '<f4']], 'fortran_order': False, 'shape': (8,)}",
        "{'descr': [('a', [('b', '<f4')])], 'fortran_order': False, 'shape': (8,)}",
        "{'descr': [('a', '<f4', (999999999, 999999999, 9))], 'shape': (8,)}",
        "{'descr': [('a', 'nonsense')], 'fortran_order': False, 'shape': (8,)}",
        "{'descr': [('a', 'V99999999999')], 'fortran_order': False, 'shape': (8,)}",
        "{'descr': [], 'fortran_order': False, 'shape': (8,)}",
        "{'descr': b'abc', 'fortran_order': False, 'shape': (8,)}",
        "{'descr': {1: 2}, 'fortran_order': False, 'shape': (8,)}",
        "__import__('os').system('touch pwned')",
    ]  # fmt: skip
    shapes = ["(-1,)", "(1.5,)", "True", "8", "(True,)", "(8, 1)", "()", "('8',)", "(2**62,)",
              "(99999999999999999999999,)", "(0,)", "(None,)", "'8'", "[8]", "{8}", "(1e3,)",
              "(9223372036854775807,)", "(1j,)", "(4611686018427387904,)"]  # fmt: skip
    headers += [f"{{'descr': {descr}, 'fortran_order': 0, 'shape': {shape}}}" for shape in shapes]
    text = headers[rng.integers(len(headers))].encode()
    version, wide = ((1, 2), (2, 4), (3, 4), (9, 4))[rng.integers(4)]
    length = len(text) if rng.integers(4) else int(rng.integers(2 ** (8 * wide)))
    head = b"\x93NUMPY" + bytes([version, 0]) + length.to_bytes(wide, "little")
    path.write_bytes(head + text + rows.tobytes())


def stream(path, rng):
    """The compressed kind, most often damaged; a file that cannot be read stays as it is."""
    dataset = __import__("cryosparc.dataset", fromlist=["Dataset"])
    errors = __import__("cryosparc.errors", fromlist=["DatasetLoadError"])
    with contextlib.suppress(errors.DatasetLoadError):
        dataset.Dataset.load(str(path)).save(str(path), format=dataset.CSDAT_FORMAT)
    if rng.integers(4):
        BYTES[rng.integers(len(BYTES))](path, rng)


def pretend_stream(path, rng):
    path.write_bytes(b"\x95CSDAT" + rng.bytes(int(rng.integers(3000))))


def save(path, rows):
    """Save rows under a name that NumPy would add a suffix to."""
    with open(path, "wb") as file:
        np.save(file, rows, allow_pickle=True)


CS = (odd_rows, odd_rows, odd_cs_numbers, odd_header, odd_header, odd_header, stream,
      pretend_stream)  # fmt: skip


# Damage: .star

WORDS = (
    "nan", "inf", "-inf", "1e400", "-", "", '"', "'", '"a b"', "\0", "x" * 100_000, "1_000", "٣",
    "0x10", "1e-400", "1e308", "-0", "+1", "1.2.3", "#", "data_", "loop_", "_rln", "@", "1@", "@a",
    "99999999999999999999@a", "-5@a", "1e9", "\xff", "\x1b[31m", "1" * 400, ".", "e5", "None",
)  # fmt: skip


def edit_lines(path, rng):
    lines = path.read_bytes().split(b"\n")
    for _ in range(rng.integers(1, 4)):
        place, other = rng.integers(0, len(lines), 2)
        what = rng.integers(5)
        if what == 0:
            del lines[place]
        elif what == 1:
            lines.insert(place, lines[other])
        elif what == 2:
            lines[place], lines[other] = lines[other], lines[place]
        elif what == 3:
            odd = (b"", b"# comment", b"data_", b"loop_", b"_", b"_rlnImageName #1", b"data_a b")
            lines.insert(place, odd[rng.integers(len(odd))])
        else:
            lines[place] = lines[place][: int(rng.integers(len(lines[place]) + 1))]
        lines = lines or [b""]
    path.write_bytes(b"\n".join(lines))


def edit_words(path, rng):
    lines = path.read_bytes().split(b"\n")
    for _ in range(rng.integers(1, 4)):
        place = rng.integers(len(lines))
        words = lines[place].split(b" ")
        words[rng.integers(len(words))] = WORDS[rng.integers(len(WORDS))].encode()
        lines[place] = b" ".join(words)
    path.write_bytes(b"\n".join(lines))


def edit_column(path, rng):
    """One word in every row: columns as narrow or as odd as can be."""
    head, mark, tail = path.read_bytes().rpartition(b" #10\n")
    word, column = WORDS[rng.integers(len(WORDS))].encode(), rng.integers(10)
    rows = [line.split() for line in tail.splitlines() if line]
    for row in filter(None, rows):
        row[min(column, len(row) - 1)] = word
    path.write_bytes(head + mark + b"\n".join(map(b" ".join, rows)) + b"\n")


def rename_label(path, rng):
    text = path.read_text()
    labels = [word for word in text.split() if word.startswith(("_rln", "_wrp"))]
    odd = ("_rlnOriginZAngst", "_rlnHelicalTubeID", "_rlnImageName", "_", "_x" * 2000, "_uid",
           "_rlnHelicalTrackLengthAngst", "_comment", "_rlnOriginX", "_alignments3D/pose", "_a/b",
           "_rlnAngleRotPrior", "_.", "_/", "_a//b", "_rlnMagnification",
           "_source_index", "_wrpAngleRot1", "_wrpCoordinateX3", "_rlnTomoName",
           "_rlnTomoSubtomogramRot", "_rlnCoordinateZ")  # fmt: skip
    new = odd[rng.integers(len(odd))]
    path.write_text(text.replace(labels[rng.integers(len(labels))] + " ", new + " "))


def other_newlines(path, rng):
    odd = (b"\r\n", b"\r", b"\n\n", b" \n", b"\0\n", b"\x0b", b"")[rng.integers(7)]
    data = path.read_bytes().replace(b"\n", odd)
    path.write_bytes((b"\xef\xbb\xbf" if rng.integers(2) else b"") + data)


def one_long_line(path, rng):
    path.write_bytes(path.read_bytes() + b"x" * int((10**5, 17 << 20)[rng.integers(2)]))


STAR = (edit_lines, edit_lines, edit_words, edit_words, edit_words, edit_column, rename_label,
        other_newlines, one_long_line)  # fmt: skip


# Cases

TOMOGRAMS = ("whole.tbl", "whole.tbl", "bare.tbl", "copies.tbl", "m11.star", "m32.star", "m23.star",
             "tomo.star", "tomo.star", "copies.star", "tbl.h5", "m.h5")  # fmt: skip


def prepare(case, base, folder):
    """Make the files of a case; returns the damaged one, the flags, and what was done to it."""
    rng = case.rng
    if case.kind == "tomogram":
        name = pick(rng, TOMOGRAMS)
        file = folder / ("in" + os.path.splitext(name)[1])
        shutil.copy(base / name, file)
        for beside in ("whole.tbl", "m32.star"):
            shutil.copy(base / beside, folder / beside)
        put_secrets(base, folder)
        done = [name, *damage(case, rng, file, folder)]
        return file.name, pick(rng, TOMOGRAM_FLAGS), " ".join(done)
    if case.kind == "returned":
        file, flags, victims, name = prepare_returned(rng, base, folder)
        put_secrets(base, folder)
        return file.name, flags, " ".join([name, *damage(case, rng, file, folder, victims)])
    if case.kind == "beside":
        file, verbs, _, name = prepare_beside(rng, base, folder)
        put_secrets(base, folder)
        return file.name, verbs, " ".join([name, *damage_beside(rng, file)])
    if case.kind == "source" and rng.random() < 0.4:
        return by_grammar(rng, base, folder)
    if case.kind == "source":
        names = ("group.h5", "group.h5", "compound.h5", "chunked.h5", "imported.h5", "rows.cs",
                 "rows.cs", "rows.star", "rows.star")  # fmt: skip
        name = names[rng.integers(len(names))]
    else:
        source = ("group.h5", "rows.cs", "rows.star", "imported.h5")[rng.integers(4)]
        shutil.copy(base / source, folder / source)
        name = f"of_{source}.h5"
    file = folder / ("in" + (".h5" if case.kind == "expanded" else os.path.splitext(name)[1]))
    shutil.copy(base / name, file)
    put_secrets(base, folder)
    done = [name, *damage(case, rng, file, folder)]
    return file.name, FLAGS[rng.integers(len(FLAGS))], " ".join(done)


def put_secrets(base, folder):
    """Put files beside a table, to which it may try to lead."""
    for beside in ("outside.h5", "secret.bin"):
        shutil.copy(base / beside, folder / beside)


def by_grammar(rng, base, folder):
    """Make a .star or .cs file; beside a legal .star lie its words."""
    if rng.integers(2):
        file, made = folder / "in.star", Star(rng)
        file.write_bytes(made.data)
        if made.legal:
            (folder / "legal.json").write_text(json.dumps([made.block, made.columns]))
        done = "legal .star" if made.legal else ".star"
    else:
        file, done = folder / "in.cs", ".cs"
        file.write_bytes(cs(rng))
    shutil.copy(base / "outside.h5", folder / "outside.h5")
    return file.name, FLAGS[rng.integers(len(FLAGS))], f"grammar of {done}"


def damage_beside(rng, file):
    """Damage a file that goes with a table."""
    kinds = {
        ".mrc": (damage_map,), ".star": (*STAR, damage_words), ".cs": CS, ".json": (odd_json,)
    }.get(file.suffix, (damage_words, edit_lines))  # fmt: skip
    done = []
    if rng.random() < 0.7:
        done.append(pick(rng, kinds))
    if not done or rng.random() < 0.2:
        done.append(pick(rng, BYTES))
    for kind in done:
        with contextlib.suppress(*_NOTHING_LEFT):
            kind(file, rng)
    return [kind.__name__ for kind in done]


def damage(case, rng, file, folder, others=()):
    """Damage a file by its kind, by its bytes, or both; now and then one of the others."""
    done = []
    if case.kind == "returned" and rng.random() < 0.6:
        return mildly(file if rng.integers(5) else pick(rng, (file, *others)), rng)
    if rng.random() < 0.7:
        if case.kind == "expanded" or (case.kind == "returned" and file.suffix == ".h5"):
            done += damage_hdf5(file, rng, EXPANDED)
        elif file.suffix == ".h5":
            done += damage_hdf5(file, rng, HDF5)
        else:
            kinds = CS if file.suffix == ".cs" else STAR
            kind = kinds[rng.integers(len(kinds))]
            with contextlib.suppress(*_NOTHING_LEFT):
                kind(file, rng)
            done.append(kind.__name__)
    if not done or rng.random() < 0.15:
        kind = BYTES[rng.integers(len(BYTES))]
        victims = [file, *others]
        if case.kind == "expanded":  # now and then it is the source that was damaged
            beside = (file.name, "outside.h5", "secret.bin")
            victims += [folder / name for name in os.listdir(folder) if name not in beside]
        victim = victims[int(rng.random() < 0.2) % len(victims)]
        if victim.stat().st_size:
            kind(victim, rng)
        done.append(f"{kind.__name__}({victim.name})")
    return done


def digests(folder):
    """Digest of every file of a folder by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


def in_child(case, base, folder, reports, verbs):
    """In a forked process: make the case, run the verbs, report each before the next one."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(folder)
    shown = [
        os.open(base / f"shown{os.getpid()}.{number}", os.O_RDWR | os.O_CREAT) for number in (1, 2)
    ]
    os.dup2(shown[0], 1)
    os.dup2(shown[1], 2)
    file, flags, done = prepare(case, base, folder)
    before = digests(folder)
    if case.kind == "beside":
        verbs = {verb: BESIDE_VERBS[verb] for verb in flags}
    send(reports, damage=done, verbs=list(verbs))
    for verb, words in verbs.items():
        limit_cpu_time()
        for descriptor in shown:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            made = words(file, flags)
            code = main(made) if isinstance(made, list) else made
        except BaseException as error:  # what a traceback would have come of
            traceback.print_exception(error)
            code = -1
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = (
            os.pread(descriptor, 1 << 20, 0).decode(errors="replace") for descriptor in shown
        )
        send(reports, verb=verb, code=code, out=out[:4000], err=err[-4000:])
        faults = faults_of(verb, code, out, err, before, digests(folder))
        if code == 0:
            faults += wrong_rows(verb, made)
        if leaks(folder, before, out + err):
            faults.append("bytes of another file")
        send(reports, faults=faults)
        for name in digests(folder).keys() - before.keys():
            os.unlink(name)


def limit_cpu_time():
    """Have this process ended by SIGXCPU when it computes too long from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + MOST_CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def leaks(folder, before, shown):
    """Whether what another file holds has come out."""
    new = (Path(folder, name).read_bytes() for name in digests(folder).keys() - before.keys())
    return SECRET[:18].decode() in shown or any(SECRET[:18] in data for data in new)


def send(reports, **values):
    """Report to the process that waits."""
    os.write(reports, json.dumps(values).encode() + b"\n")


def faults_of(verb, code, out, err, before, after):
    """Promises that a run broke."""
    faults = []
    lines = [line for line in err.splitlines() if not (code and line.startswith("warning: "))]
    if "Traceback" in err or "error: unexpected " in err:
        faults.append("traceback")
    if code not in (0, 1, 2):
        faults.append(f"exit code {code}")
    if code == 1 and verb in REPORTING and out and not lines:
        out, lines = "", ["error: is in the report"]
    if code and (len(lines) != 1 or not lines[0].startswith("error: ")):
        faults.append("not one line of error")
    if code == 0 and not all(line.startswith("warning: ") for line in lines):
        faults.append("odd lines on standard error")
    if code and out:
        faults.append("standard output of a failure")
    if any(len(line) > LONGEST_LINE for line in lines):
        faults.append("endless line")
    wanted = before.keys() | (OUTPUTS.get(verb, set()) if code == 0 else set())
    if after.keys() | MAY_BE_LEFT_OUT & wanted != wanted:
        faults.append(f"files {sorted(after.keys() ^ wanted)}")
    if any(after.get(name) != digest for name, digest in before.items()):
        faults.append("an input was changed")
    return faults


def run_case(case, base, keep=None, verbs=None):
    """Run one case in a forked process; returns how each verb ended."""
    if case.kind == "world":
        ended = run_world(case.rng, base, keep)
        return [Run(case.name, *ended)]
    known = VERBS_OF[case.kind]
    wanted = (*COMMANDS, "again", "read", "words", "mask", "matrix")
    verbs = verbs or {n: w for n, w in known.items() if n.partition("_")[0] in wanted}
    folder = Path(tempfile.mkdtemp(prefix="case-", dir=base) if keep is None else keep)
    folder.mkdir(exist_ok=True)
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ours)
            in_child(case, base, folder, theirs, verbs)
        except BaseException:
            send(theirs, damage="", broken=traceback.format_exc()[-3000:])
        finally:
            os._exit(0)
    os.close(theirs)
    try:
        return list(listen(case, child, ours, list(verbs)))
    finally:
        os.close(ours)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)
        for number in (1, 2):
            (base / f"shown{child}.{number}").unlink(missing_ok=True)
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def listen(case, child, reports, waiting):
    """Take a child's reports; yields a run for each verb, also for one that ended the child."""
    buffer, done, last = b"", "", None
    deadline = time.monotonic() + MOST_WALL_SECONDS
    while True:
        ready, _, _ = select.select([reports], [], [], max(0, deadline - time.monotonic()))
        piece = os.read(reports, 1 << 16) if ready else b""
        if not piece:
            break
        *lines, buffer = (buffer + piece).split(b"\n")
        for report in map(json.loads, lines):
            deadline = time.monotonic() + MOST_WALL_SECONDS
            done, waiting = report.get("damage", done), report.get("verbs", waiting)
            if "broken" in report:
                yield Run(case.name, "prepare", done, "broken", report["broken"], ["broken case"])
                return
            last = report if "verb" in report else last
            if "faults" in report:
                waiting.remove(last["verb"])
                outcome = f"exit {last['code']}"
                yield Run(case.name, last["verb"], done, outcome, last["err"], report["faults"])
    if not waiting:
        return
    if not ready:
        yield Run(case.name, waiting[0], done, "hang", "", ["hang"])
        return
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        yield Run(case.name, waiting[0], done, "hang", "", ["hang (of computing)"])
        return
    how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "left"
    yield Run(case.name, waiting[0], done, how, "", [f"crash ({how})"])


# The campaign


def make_base(folder):
    """Whole files of every kind in a folder; loads all kernels on the way."""
    make_sources(folder)
    make_subtomograms(folder)
    make_expanded(folder)
    make_returned(folder, finished)
    make_beside(folder, finished)
    make_world_base(folder)
    for name in ("of_group.h5.h5", "of_rows.star.h5", "of_rows.cs.h5"):
        for verb in ("export", "collapse"):
            finished(verb, folder / name, folder / "warm.star", "--overwrite")
            finished(verb, folder / name, folder / "warm.cs", "--overwrite")
    for name in ("group.h5", "rows.star", "rows.cs"):
        finished("expand", folder / name, folder / "warm.star", *HELIX, "--overwrite")
        finished("expand", folder / name, folder / "warm.cs", *HELIX, "--overwrite")
    finished("plot", folder / "of_rows.star.h5", folder / "warm.png")
    for suffix in ("star", "cs", "csg", "png"):
        (folder / f"warm.{suffix}").unlink()


def campaign(cases, jobs):
    """Run cases on some processes; yields runs as they end."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        base = Path(name)
        make_base(base)
        global _base
        _base = base
        gc.freeze()  # a child that looks through all of it copies all of it
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            for runs in pool.imap_unordered(run_in_base, cases, chunksize=4):
                yield from runs


def run_in_base(case):
    """Run a case in the folder that the campaign made; workers know it from their fork."""
    return run_case(case, _base)


def summarize(runs):
    """Print what was run; returns how many runs broke a promise."""
    print("outcomes:")
    for (verb, outcome), count in sorted(Counter((r.verb, r.outcome) for r in runs).items()):
        print(f"  {verb:12} {outcome:10} {count:6}")
    broken = sum(bool(run.faults) for run in runs)
    cases = len({run.case for run in runs})
    print(f"{cases} cases, {len(runs)} runs, {broken} that broke a promise")
    return broken


def told(runs):
    """Take runs, and print at once where a promise was broken."""
    kept = []
    for run in runs:
        kept.append(run)
        if run.faults:
            print(f"{run.case} {run.verb} [{run.damage}] {run.outcome}: {'; '.join(run.faults)}")
            for line in run.shown.splitlines()[-3:]:
                print(f"    {line[:300]}", flush=True)
    return kept


def arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sources", type=int, default=100)
    parser.add_argument("--expanded", type=int, default=30)
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--tomograms", type=int, default=30)
    parser.add_argument("--returned", type=int, default=30)
    parser.add_argument("--beside", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", help="one case, such as source:17")
    parser.add_argument("--keep", help="new folder for the files of that case")
    return parser.parse_args(words)


def run_program(words=None):
    """Run the campaign that the words ask for; exit code 1 when a promise was broken."""
    given = arguments(words)
    cases = [Case("source", number, given.seed) for number in range(given.sources)]
    cases += [Case("expanded", number, given.seed) for number in range(given.expanded)]
    cases += [Case("world", number, given.seed) for number in range(given.worlds)]
    cases += [Case("tomogram", number, given.seed) for number in range(given.tomograms)]
    cases += [Case("returned", number, given.seed) for number in range(given.returned)]
    cases += [Case("beside", number, given.seed) for number in range(given.beside)]
    if given.only is None:
        return int(summarize(told(campaign(cases, given.jobs))) > 0)
    kind, _, number = given.only.partition(":")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as base:
        make_base(Path(base))
        runs = run_case(Case(kind, int(number), given.seed), Path(base), given.keep)
        return int(summarize(told(runs)) > 0)


if __name__ == "__main__":
    sys.exit(run_program())
