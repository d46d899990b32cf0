"""verify finds whatever is changed in a good file, and names the check that found it."""

import json

import h5py
import numpy as np
import pytest
from conftest import write_table

from numba_symexp import verify

pytestmark = [pytest.mark.slow, pytest.mark.plain]

ROWS, SPLIT, UID = "particles/", "particles/alignments3D/split", "particles/uid"
POSE, SHIFT = "particles/alignments3D/pose", "particles/alignments3D/shift"


def columns(halves):
    rng = np.random.default_rng(5)
    n = 24
    made = {
        "uid": rng.permutation(np.arange(n, dtype=np.uint64) * 7919 + 10**12),
        "alignments3D/pose": rng.normal(0, 1.5, (n, 3)).astype("f4"),
        "alignments3D/shift": rng.normal(0, 3, (n, 2)).astype("f4"),
        "alignments3D/psize_A": np.full(n, 1.25, "f4"),
        "alignments_class_1/pose": rng.normal(0, 1.5, (n, 3)).astype("f4"),
        "alignments_class_1/shift": rng.normal(0, 3, (n, 2)).astype("f4"),
        "ctf/df1_A": rng.normal(15000, 2000, n).astype("f4"),
        "ctf/df2_A": rng.normal(15000, 2000, n).astype("f4"),
        "filament/filament_uid": np.repeat(np.arange(6, dtype=np.uint64) + 70, 4),
        "blob/path": np.array([f"stack_{i % 7}.mrc" for i in range(n)], dtype="S12"),
        "blob/idx": np.arange(n, dtype=np.uint32),
    }
    if halves:
        made["alignments3D/split"] = rng.integers(0, 2, n).astype("u4")
    return made


JOBS = {
    "helix": (
        False,
        "--twist=27.4 --rise=4.75 --order=5 --symmetry=C2 --modulo=C2 --center_px=70,66,60 "
        "--box_px=128 --defocus=minus --carry=blob/* --assign_halves=7",
    ),
    "group": (True, "--symmetry=D3 --operators=0-4 --center=30,5,2 --psize=1.3 --carry=ctf/*"),
    "plain": (True, "--symmetry=D2 --convention=relion"),
    "file": (True, "--operators_file=ops.txt"),
}
MATRICES = "1 0 0 0 1 0 0 0 1\n-1 0 0 0 -1 0 0 0 1\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make every good file once; gives the bytes by name."""
    from inside import main

    found = {}
    for name, (halves, words) in JOBS.items():
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            write_table(folder / "p.h5", columns(halves))
            (folder / "ops.txt").write_text(MATRICES)
            assert main(["expand", "p.h5", "e.h5", "--quiet", *words.split()]) == 0
        found[name] = folder
    return found


def drop(path):
    """Delete a dataset."""
    return lambda file: file.__delitem__(path)


def put(path, rows, value):
    """Change values."""

    def apply(file):
        data = file[path]
        data[rows] = value(data[rows]) if callable(value) else value

    return apply


def other(path, values):
    """Replace a dataset, keeping what is said of it."""

    def apply(file):
        attributes = dict(file[path].attrs)
        before = file[path][()]
        del file[path]
        file[path] = values(before)
        file[path].attrs.update(attributes)

    return apply


def say(path, name, value):
    """Set an attribute."""
    return lambda file: file[path].attrs.__setitem__(name, value)


def unsay(path, name):
    """Delete an attribute."""
    return lambda file: file[path].attrs.__delitem__(name)


def record(part, name, value):
    """Change the provenance."""

    def apply(file):
        known = json.loads(file.attrs["provenance"])
        assert known[part][name] != value
        known[part][name] = value
        file.attrs["provenance"] = json.dumps(known)

    return apply


def job(name, value):
    return record("parameters", name, value)


def both_copies(file):
    """Change the half-set of a particle, in all of its rows."""
    file[SPLIT][:5] = 1 - file[SPLIT][:5]


def whole_tube(file):
    """Change the half-set of a tube of four particles."""
    file[SPLIT][:20] = 1 - file[SPLIT][:20]


def further(name):
    """Add a column of the source that nobody asked for."""

    def apply(file):
        file[ROWS + name] = np.zeros(len(file[UID]), "f4")

    return apply


OPS = "operators"
HELIX = {
    "half-sets": [
        drop(SPLIT), both_copies, whole_tube, put(SPLIT, 3, 7), say(SPLIT, "units", "px"),
        other(SPLIT, lambda x: x.astype("u8")), job("assign_halves", 8), job("assign_halves", None),
    ],
    "ids": [
        drop(UID), put(UID, 0, 1), put(UID, 1, 1), other(UID, lambda x: x.astype("f8")),
        put(UID, slice(None), lambda x: x + np.uint64(1)),
    ],
    "carried columns": [
        drop(f"{ROWS}blob/path"), put(f"{ROWS}blob/idx", 2, 99), put(f"{ROWS}blob/path", 2, b"x"),
        other(f"{ROWS}blob/idx", lambda x: x.astype("u8")), further("alignments3D/psize_A"),
        job("carry", []), job("carry", ["blob/idx"]), job("carry", ["blob/*", "nothing/*"]),
        job("pose", "alignments3D/shift"), say(f"{ROWS}blob/idx", "units", "A"),
    ],
    "defocus": [
        drop(f"{ROWS}ctf/df1_A"), put(f"{ROWS}ctf/df2_A", 4, lambda x: x + 3),
        say(f"{ROWS}ctf/df1_A", "sign", "plus"), say(f"{ROWS}ctf/df1_A", "part", "none"),
        job("defocus", "plus"), job("defocus", None),
    ],
    "structure": [
        unsay("/", "created"), unsay("/", "generated_by"), unsay("/", "provenance"),
        say("/", "created", "once"), say("/", "generated_by", "numba_symexp 9.9"),
        record("software", "version", "9.9"), record("source", "n_rows", 25),
        record("source", "fingerprint", "sha256-2:00"), say("source", "n_rows", 25),
        say("source", "fingerprint", "sha256-2:00"), drop(f"{ROWS}source_index"),
        drop(f"{OPS}/label"), drop(POSE), say(POSE, "part", "other"),
        say(POSE, "pose_format", "matrix"), unsay("/", "symmetry"),
    ],
    "poses": [
        put(POSE, (7, 1), lambda x: x + 1e-3), say(POSE, "pose_format", "euler_zyz"),
        say(POSE, "units", "deg"), other(POSE, lambda x: x.astype("f8")),
        job("pose_format", "euler_zyz"),
    ],
    "shifts": [put(SHIFT, (7, 1), lambda x: x + 1e-2), say(SHIFT, "units", "A")],
    "pairs": [put(f"{ROWS}operator_index", 7, 0), put(f"{ROWS}source_index", 7, 0)],
    "symmetry": [
        put(f"{OPS}/label", 1, b"h+9"), put(f"{OPS}/rise_index", 1, 3),
        put(f"{OPS}/full_index", 1, 7), put(f"{OPS}/subgroup", 1, 5), drop(f"{OPS}/subgroup"),
        put(f"{OPS}/quaternion", 1, lambda q: -q), put(f"{OPS}/translation_A", (1, 2), 4.7),
        say(f"{OPS}/quaternion", "units", "A"), say(f"{OPS}/translation_A", "units", "px"),
        say(OPS, "kind", "group"), say(OPS, "kind", "subset"), say(OPS, "chosen", "all"),
        unsay(OPS, "chosen"), say(OPS, "typed", 1), say(OPS, "full_order", 11),
        say(OPS, "center_A", (1.0, 2.0, 3.0)), unsay(OPS, "center_A"),
        say("/", "symmetry", "C2"), say("/", "convention", "relion"),
        job("symmetry", "C1"), job("symmetry", None), job("twist", 27.5), job("rise", 4.8),
        job("order", 6), job("convention", "relion"), job("operators", [0, 1]), job("modulo", None),
        job("modulo", "C1"), job("center_px", [70, 66, 61]), job("center_px", None),
        job("box_px", 130), job("psize", 1.5), job("twist", None), job("table", "/other"),
    ],
    "source": [
        say("source", "table", "/other"), say("source", "path", "q.h5"),
        drop("source/columns"), other("source/columns", lambda x: x[1:]),
        put("source/columns", 0, b"uid"),
    ],
}  # fmt: skip
GROUP = {
    "half-sets": [drop(SPLIT), both_copies],
    "symmetry": [
        job("operators", [0, 1, 2, 3, 5]), job("operators", []), job("symmetry", "D4"),
        job("center", None), job("center", [30, 5, 3]), say("/", "symmetry", "C6"),
        say(OPS, "kind", "transversal"), unsay(OPS, "full_order"), put(f"{OPS}/label", 2, b"C3^1"),
    ],
    "shifts": [job("psize", None), job("psize", 1.25)],
    "carried columns": [
        drop(f"{ROWS}ctf/df1_A"), job("assign_halves", 3), job("pose", "alignments_class_1/pose"),
        job("shift", "alignments_class_1/shift"),
    ],
}  # fmt: skip
PLAIN = {
    "symmetry": [
        say("/", "convention", "cryosparc"), job("convention", "cryosparc"), job("symmetry", "C4"),
        say(OPS, "center_A", (0.0, 0.0, 5.0)), say(OPS, "kind", "helix"), say(OPS, "kind", "own"),
        job("operators_file", "ops.txt"),
    ],
}  # fmt: skip
FILE = {
    "symmetry": [
        unsay(OPS, "typed"), put(f"{OPS}/label", 1, b"C3"), say(OPS, "kind", "group"),
        say("/", "symmetry", "operators of other.txt"), say("/", "symmetry", "C2"),
        say("/", "convention", "relion"), job("modulo", "C2"), job("operators", [0]),
    ],
}  # fmt: skip
ALL = [
    (name, check, number)
    for name, mutations in (("helix", HELIX), ("group", GROUP), ("plain", PLAIN), ("file", FILE))
    for check, listed in mutations.items()
    for number in range(len(listed))
]
BY_NAME = {"helix": HELIX, "group": GROUP, "plain": PLAIN, "file": FILE}


@pytest.fixture
def good(made, tmp_path, monkeypatch):
    """Copy one of the good files, its source and its operators."""

    def copy(name):
        for each in ("p.h5", "e.h5", "ops.txt"):
            (tmp_path / each).write_bytes((made[name] / each).read_bytes())
        monkeypatch.chdir(tmp_path)
        return tmp_path / "e.h5"

    return copy


def test_there_are_enough_mutations():
    assert len(ALL) >= 110


@pytest.mark.parametrize("name", list(JOBS))
def test_the_good_files_pass(name, good):
    report = verify(str(good(name)))
    assert report.passed, [each for each in report.checks if not each.passed]


@pytest.mark.parametrize(("name", "check", "number"), ALL)
def test_each_mutation_is_found(name, check, number, good, command):
    path = good(name)
    with h5py.File(path, "r+") as file:
        BY_NAME[name][check][number](file)
    done = command("verify", "e.h5", "--json")
    assert done.returncode == 1, done.stdout
    failed = [each for each in json.loads(done.stdout)["checks"] if not each["passed"]]
    assert check in [each["name"] for each in failed], failed


def forget(file):
    """Leave out what files of older programs do not state."""
    known = json.loads(file.attrs["provenance"])
    for name in ("defocus", "unique", "center_px", "box_px", "axis", "assign_halves"):
        known["parameters"].pop(name, None)
    known.pop("software")
    known.pop("source")
    file.attrs["provenance"] = json.dumps(known)


def test_what_older_files_do_not_state_is_not_missed(good):
    path = good("plain")
    with h5py.File(path, "r+") as file:
        forget(file)
    report = verify(str(path))
    assert report.passed
    assert "software, source, assign_halves, axis" in report.checks[2].detail
    assert report.checks[2].detail.endswith(": not stated)")


def test_what_newer_files_state_is_no_fault(good):
    path = good("plain")
    with h5py.File(path, "r+") as file:
        known = json.loads(file.attrs["provenance"])
        known["parameters"]["of_a_later_version"] = True
        file.attrs["provenance"] = json.dumps(known)
    assert verify(str(path)).passed


def test_operators_of_a_file_that_is_gone_or_changed_are_believed(good, tmp_path):
    path = good("file")
    (tmp_path / "ops.txt").write_text("1 0 0 0 1 0 0 0 1\n1 0 0 0 -1 0 0 0 -1\n")
    assert verify(str(path)).passed
    (tmp_path / "ops.txt").unlink()
    assert verify(str(path)).passed


def test_a_column_of_the_users_own_is_no_fault(good):
    path = good("plain")
    with h5py.File(path, "r+") as file:
        file[f"{ROWS}mine/class"] = np.zeros(len(file[UID]), "f4")
    assert verify(str(path)).passed
