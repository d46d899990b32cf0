"""Files that lead elsewhere, or that say the same in other bytes: links, devices, byte orders."""

import hashlib
import os
import shutil

import h5py
import inside
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import open_table
from particle_files import structured
from star_files import particles, star_text

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
OUTPUTS = {"e2.h5", "o.star", "o.cs", "o.csg", "c.h5", "i.h5"}


@pytest.fixture(autouse=True)
def _equal_runs_give_equal_bytes(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


VERBS = (
    ("inspect", "e.h5"),
    ("verify", "e.h5"),
    ("export", "e.h5", "o.star"),
    ("export", "e.h5", "o.cs"),
    ("collapse", "e.h5", "c.h5"),
    ("match", "e.h5"),
    ("expand", "e.h5", "e2.h5", "--symmetry=C2", "--again"),
)


def save(path, rows):
    with open(path, "wb") as file:
        np.save(file, rows)


def ends_of(verbs, command, folder):
    """How each verb ends: exit code, and digests of what it wrote."""
    ends = []
    for words in verbs:
        done = command(*words)
        assert "unexpected" not in done.stderr
        new = sorted(OUTPUTS & set(os.listdir(folder)))
        assert not new or done.returncode == 0
        written = {name: hashlib.sha256((folder / name).read_bytes()).digest() for name in new}
        for name in new:
            (folder / name).unlink()
        ends.append((done.returncode, written))
    return ends


@pytest.fixture
def expanded(tmp_path, rng, go):
    """An expansion of an imported .star, whole; and a twin whose numbers are others."""
    (tmp_path / "p.star").write_text(star_text(particles(rng, 12)))
    go("import", "p.star", "p.h5")
    go("expand", "p.h5", "whole.h5", "--symmetry=D2", "--center=1,2,3", "--carry=rlnDefocusU")
    shutil.copy(tmp_path / "whole.h5", tmp_path / "twin.h5")
    with h5py.File(tmp_path / "twin.h5", "r+") as file:

        def change(name, node):
            if isinstance(node, h5py.Dataset) and node.dtype.kind in "fiu" and node.size:
                node[...] = node[()][::-1]

        file.visititems(change)
    return tmp_path


def objects_of(path):
    """Every group and dataset of a file."""
    with h5py.File(path) as file:
        found = []
        file.visit(found.append)
        return {name: isinstance(file[name], h5py.Dataset) for name in found}


def put_link(file, name, way):
    """Put another way to an equal object, in this file or another, in the place of an object."""
    old = file[name]
    shape, dtype, kept = getattr(old, "shape", None), getattr(old, "dtype", None), dict(old.attrs)
    if way == "soft":
        file.move(name, "moved")
        file[name] = h5py.SoftLink("/moved")
        return
    del file[name]
    if way == "external":
        file[name] = h5py.ExternalLink("twin.h5", f"/{name}")
    elif way == "storage":
        with open("numbers.bin", "wb") as numbers:
            numbers.write(b"\1" * 100_000)
        size = int(np.prod(shape, dtype=int)) * dtype.itemsize
        new = file.create_dataset(name, shape, dtype, external=[("numbers.bin", 0, size)])
        new.attrs.update(kept)
    elif way == "virtual":
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource("twin.h5", name, shape, dtype)
        file.create_virtual_dataset(name, layout).attrs.update(kept)


@pytest.mark.slow
def test_an_object_behind_a_link_is_as_good_as_none(expanded, command):
    """Whatever a verb opens, it is refused, or what the verb does is as if it were not there.

    Objects meet the two sorts of links in turns, and datasets the two places of foreign rows.
    """

    def ends_with(change):
        shutil.copy(expanded / "whole.h5", expanded / "e.h5")
        with h5py.File(expanded / "e.h5", "r+") as file:
            change(file)
        return ends_of(VERBS, command, expanded)

    followed = []
    for number, (name, is_dataset) in enumerate(objects_of(expanded / "whole.h5").items()):
        with h5py.File(expanded / "whole.h5") as file:
            has_text = is_dataset and file[name].dtype.hasobject
        ways = [("soft", "external")[number % 2]]
        if is_dataset:
            ways.append("virtual" if has_text or number // 2 % 2 else "storage")
        absent = ends_with(lambda file, name=name: file.__delitem__(name))
        for way in ways:
            linked = ends_with(lambda file, name=name, way=way: put_link(file, name, way))
            assert all(code in (0, 1) for code, *_ in linked)
            for words, without, behind in zip(VERBS, absent, linked, strict=True):
                if behind[0] == 0 and behind[1] and behind != without:
                    followed.append((way, name, *words))
    print(*followed, sep="\n")
    assert followed == []


@pytest.mark.slow
@pytest.mark.parametrize("way", ["soft", "external", "storage", "virtual"])
@pytest.mark.parametrize(
    "name", [POSE, SHIFT, PSIZE, "uid", "alignments3D/split", "ctf/df1_A", "alignments3D", ""]
)
def test_a_source_behind_a_link_is_as_good_as_none(way, name, tmp_path, rng, go, command):
    columns = random_columns(rng, 12)
    verbs = (("inspect", "p.h5"), ("import", "p.h5", "i.h5"), ("export", "p.h5", "o.star"),
             ("expand", "p.h5", "e2.h5", "--symmetry=C3", "--carry=*"))  # fmt: skip
    place = f"particles/{name}".rstrip("/")
    if way in ("storage", "virtual") and name in ("", "alignments3D"):
        pytest.skip("a group has no rows")
    write_table(tmp_path / "twin.h5", {n: c[::-1] for n, c in columns.items()})
    ends = []
    for linked in (False, True):
        write_table(tmp_path / "p.h5", columns)
        with h5py.File(tmp_path / "p.h5", "r+") as file:
            if linked:
                put_link(file, place, way)
            else:
                del file[place]
        ends.append(ends_of(verbs, command, tmp_path))
    for absent, behind in zip(*ends, strict=True):
        assert behind[0] == 1 or behind[1] == absent[1]


def test_an_id_of_text_is_none(expanded, command):
    """Of copies as of particles."""
    shutil.copy(expanded / "whole.h5", expanded / "e.h5")
    with h5py.File(expanded / "e.h5", "r+") as file:
        del file["particles/uid"]
        file["particles/uid"] = np.array(["x"] * 48, h5py.string_dtype())
    done = command("export", "e.h5", "o.cs")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "uid is (N,) object, but an id is" in done.stderr


PLACES = ("/proc/kmsg", "/proc/self/environ", "/dev/zero", "/sys/kernel/notes", "pipe", "folder")


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_path_in_a_file_that_is_no_table(place, tmp_path, rng, program):
    """It is not opened, or nothing of it waits: the source counts as missing."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    write_table(tmp_path / "p.h5", random_columns(rng, 12))
    assert program("expand", "p.h5", "e.h5", "--symmetry=C2").returncode == 0
    (tmp_path / "p.h5").unlink()
    where = place if place.startswith("/") else str(tmp_path / place)
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        for name in ("path", "absolute_path", "relative_path"):
            file["source"].attrs[name] = where
    for words in (("verify", "e.h5"), ("export", "e.h5", "o.cs"), ("collapse", "e.h5", "c.h5")):
        done = program(*words)
        assert done.returncode == 1
        assert (done.stdout + done.stderr).count("error: ") == 1 or words[0] == "verify"
        assert "Traceback" not in done.stderr
        assert "unexpected" not in done.stderr
        assert not OUTPUTS & set(os.listdir(tmp_path))
    assert program("inspect", "e.h5").returncode == 0


MANY = "9" * 4400
SHAPES = (f"({MANY},)", f"(-{MANY},)", f"(1{'0' * 400}.0,)", "(1e400,)", "(-1e400,)", "(1e400j,)",
          "(0x" + "f" * 5000 + ",)", "(2**70,)", "(True,)", "(None,)", "(8, 8)", "8")  # fmt: skip


@pytest.mark.parametrize("where", ["rows", "field", "itemsize"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_any_number_of_digits(shape, where, tmp_path, command):
    shapes = {"rows": ("(8,)", "(3,)", "f4"), "field": ("(8,)", "(3,)", "f4")}.get(where)
    rows, field, kind = shapes or ("(8,)", "(3,)", f"V{shape.strip('(),-')}")
    rows, field = (shape if where == "rows" else rows), (shape if where == "field" else field)
    text = f"{{'descr': [('uid', '<u8'), ('alignments3D/pose', '<{kind}', {field})], "
    text += f"'fortran_order': False, 'shape': {rows}}}\n"
    head = b"\x93NUMPY\2\0" + len(text).to_bytes(4, "little") + text.encode()
    (tmp_path / "p.cs").write_bytes(head + bytes(160))
    for words in (("inspect", "p.cs"), ("import", "p.cs", "i.h5"), ("export", "p.cs", "o.star"),
                  ("expand", "p.cs", "e2.h5", "--symmetry=C2")):  # fmt: skip
        done = command(*words)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith("error: p.cs: ")
        assert len(done.stderr) < 400
    assert os.listdir(tmp_path) == ["p.cs"]


POSES = {"rotvec": (3,), "quaternion": (4,), "matrix": (3, 3), "euler_zyz": (3,)}
SORTS = {
    "few": {},
    "wide": {"uid": "i8", POSE: "f8", SHIFT: "f8", PSIZE: "f8", "alignments3D/split": "u8",
             "ctf/df1_A": "f8", "ctf/df2_A": "f8"},
    "narrow": {"uid": "u4", "alignments3D/split": "u2", "ctf/df1_A": "f4", "ctf/df2_A": "f2",
               "blob/shape": "u2"},
}  # fmt: skip


def values_of(path):
    """Every number and word that a file holds, without the byte order that it is stored in."""
    if path.suffix == ".star":
        return path.read_bytes()
    if path.suffix == ".cs":
        rows = np.load(path)
        return {name: rows[name].tolist() for name in rows.dtype.names}
    found = {}

    def take(name, node):
        if isinstance(node, h5py.Dataset):
            found[name] = node[()].tolist()

    with h5py.File(path) as file:
        file["particles"].visititems(take)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "sort", "pose_format"),
    [
        *((".h5", sort, "rotvec") for sort in SORTS),
        (".h5", "few", "quaternion"),
        (".h5", "wide", "matrix"),
        (".h5", "narrow", "euler_zyz"),
        (".cs", "few", "euler_zyz"),
        (".cs", "wide", "rotvec"),
        (".cs", "narrow", "quaternion"),
    ],
)
def test_a_big_endian_twin_gives_the_same(suffix, sort, pose_format, tmp_path, rng, command):
    columns = random_columns(rng, 20)
    columns["ctf/df2_A"] = columns["ctf/df1_A"] - 100
    columns["blob/shape"] = np.full((20, 2), 128, "u4")
    columns["blob/psize_A"] = np.full(20, 1.25, "f4")
    columns["blob/idx"] = np.arange(20, dtype="u4")
    columns["own/many"] = rng.integers(-9, 9, (20, 2, 2)).astype("i2")
    columns["own/half"] = rng.normal(size=20).astype("f2")
    columns["own/complex"] = (rng.normal(size=20) + 2j).astype("c8")
    if sort == "narrow":
        columns["uid"] = rng.permutation(np.arange(20)) + 7
        columns["ctf/df2_A"] = rng.uniform(5000, 20000, 20)
    for name, kind in SORTS[sort].items():
        columns[name] = columns[name].astype(kind)
    with_pose(columns, pose_format, rng)
    shown = {}
    for order in "<>":
        folder = tmp_path / {"<": "little", ">": "big"}[order]
        folder.mkdir()
        os.chdir(folder)
        stored = {n: c.astype(c.dtype.newbyteorder(order)) for n, c in columns.items()}
        if suffix == ".h5":
            write_table(folder / "p.h5", stored)
        else:
            save(folder / "p.cs", structured(stored))
        shown[order] = run_all(f"p{suffix}", pose_format, folder, command)
    for little, big in zip(shown["<"][0], shown[">"][0], strict=True):
        assert little == big
    for name, values in shown["<"][1].items():
        assert values == shown[">"][1][name], name


def with_pose(columns, pose_format, rng):
    """Give poses another form, in the dtype that they have."""
    kind = columns[POSE].dtype
    if pose_format == "quaternion":
        q = rng.normal(size=(20, 4))
        columns[POSE] = (q / np.linalg.norm(q, axis=1)[:, None]).astype(kind)
    elif pose_format == "matrix":
        columns[POSE] = np.linalg.qr(rng.normal(size=(20, 3, 3)))[0].astype("f8")
        columns[POSE] *= np.linalg.det(columns[POSE])[:, None, None]
        columns[POSE] = columns[POSE].astype(kind)
    elif pose_format == "euler_zyz":
        columns[POSE] = rng.uniform(0, 170, (20, 3)).astype(kind)


def run_all(source, pose_format, folder, command):
    """Run every verb on a table and on its expansions; gives exit codes, text and values."""
    shown = []
    flags = (f"--pose_format={pose_format}",)
    runs = [
        ("inspect", source),
        ("import", source, "i.h5"),
        ("expand", source, "e.h5", "--twist=30", "--rise=5", "--order=3", "--carry=*", *flags),
        ("expand", source, "d.h5", "--symmetry=D2", "--center=1,2,3", "--defocus=plus", *flags),
        ("verify", "e.h5"),
        ("verify", "d.h5"),
        ("export", "e.h5", "e.star"),
        ("export", "e.h5", "e.cs"),
        ("export", "d.h5", "d.star"),
        ("collapse", "e.h5", "c.h5"),
        ("match", "e.h5"),
        ("match", "d.h5"),
    ]
    if pose_format == "rotvec":
        runs += [("export", source, "p.star"), ("export", source, "again.cs")]
    for words in runs:
        done = command(*words)
        lines = [line for line in done.stdout.splitlines() if "digest" not in line]
        shown.append((words, done.returncode, done.stderr, lines if words[0] == "match" else None))
        if words[0] in ("expand", "verify", "export", "collapse", "match"):
            assert done.returncode == 0, (words, done.stderr, done.stdout)
    files = sorted(set(os.listdir(folder)) - {source})
    return shown, {n: values_of(folder / n) for n in files if not n.endswith(".csg")}


NAMINGS = {
    "image": {},
    "micrograph": {"rlnMicrographName": "m{0}.mrc", "rlnCoordinateX": "{1}.5"},
    "tomogram": {"rlnTomoName": "TS_{0}", "rlnCoordinateX": "{1}.5", "rlnCoordinateZ": "{1}"},
    "pose": {},
}


@pytest.mark.parametrize("naming", list(NAMINGS))
def test_ids_of_a_star_follow_the_particle(naming, rng, tmp_path):
    """Not the row nor what else is said of it; other particles have others; none is 0."""
    columns = particles(rng, 30)
    if naming != "image":
        del columns["rlnImageName"]
        for label, form in NAMINGS[naming].items():
            columns[label] = [form.format(k // 5, k * 7) for k in range(30)]
        if NAMINGS[naming]:
            columns["rlnCoordinateY"] = [f"{k * 3}" for k in range(30)]

    def ids(columns):
        (tmp_path / "p.star").write_text(star_text(columns))
        with open_table(str(tmp_path / "p.star")) as table:
            return table.read(["uid"], 0, table.n_rows)["uid"]

    first = ids(columns)
    assert len(set(first.tolist())) == 30
    assert 0 not in first
    order = rng.permutation(30)
    moved = {label: [words[k] for k in order] for label, words in columns.items()}
    moved["rlnDefocusU"] = ["1.00"] * 30
    moved["rlnClassNumber"] = ["3"] * 30
    if naming != "pose":
        moved["rlnAnglePsi"] = ["12.000000"] * 30
    assert np.array_equal(ids(moved), first[order])
    other = particles(np.random.default_rng(99), 30)
    named = {label: columns[label] for label in NAMINGS[naming]}
    if naming == "image":
        other["rlnImageName"] = [
            word.replace("Extract", "Extract2") for word in other["rlnImageName"]
        ]
    else:
        del other["rlnImageName"]
        other |= {label: [w.replace(".", "1.") for w in words] for label, words in named.items()}
        other |= {"rlnCoordinateY": [f"{k * 3}" for k in range(30)]} if named else {}
    assert not set(ids(other).tolist()) & set(first.tolist())


def test_a_hash_of_0_is_no_id(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(
        inside.relion_labels, "word_hash", lambda words: np.zeros(len(words), np.uint64)
    )
    (tmp_path / "p.star").write_text(star_text(particles(rng, 1)))
    with open_table(str(tmp_path / "p.star")) as table:
        assert table.read(["uid"], 0, 1)["uid"].tolist() == [1]
