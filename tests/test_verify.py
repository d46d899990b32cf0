"""verify passes what expand wrote, and finds whatever was changed afterwards."""

import dataclasses
import hashlib
import json

import h5py
import naive
import numpy as np
import pytest
from conftest import compiled_only, random_columns, write_table
from inside import not_as_stated, not_rotations, rotation_matrices

from numba_symexp import Operators, helix, point_group, verify

ROWS = "particles/"
POSE, SHIFT, SPLIT = (f"{ROWS}alignments3D/{name}" for name in ("pose", "shift", "split"))
CHECKS = [
    "format", "complete", "structure", "operators", "symmetry", "source", "pairs", "poses",
    "shifts", "unmoved rows", "half-sets", "ids", "carried columns",
]  # fmt: skip


@pytest.fixture
def expanded(tmp_path, source, command):
    """A helix x D2 of 50 particles; gives its path."""
    done = command("expand", source, "e.h5", "--twist=30", "--rise=5", "--order=3", "--symmetry=D2")
    assert done.returncode == 0, done.stderr
    return str(tmp_path / "e.h5")


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("ids", [False, True])
def test_what_the_checks_say_of_ids_and_half_sets(ids, halves, tmp_path, rng, command):
    columns = random_columns(rng, 5)
    for name, there in (("uid", ids), ("alignments3D/split", halves)):
        if not there:
            del columns[name]
    write_table(tmp_path / "p.h5", columns)
    assert command("expand", "p.h5", "e.h5", "--symmetry=C3").returncode == 0
    checks = json.loads(command("verify", "e.h5", "--json").stdout)["checks"]
    said = {check["name"]: check["detail"] for check in checks}
    assert said["ids"] == ("all different" if ids else "none")
    assert said["half-sets"] == ("inherited by all copies" if halves else "none")


def test_a_center_in_voxels_is_checked_of_one_particle_too(tmp_path, rng, command):
    write_table(tmp_path / "p.h5", random_columns(rng, 1))
    words = ("--symmetry=C3", "--center_px=40,30,20", "--box_px=64")
    assert command("expand", "p.h5", "e.h5", *words).returncode == 0
    assert command("verify", "e.h5").returncode == 0
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        known = json.loads(file.attrs["provenance"])
        known["parameters"]["center_px"] = [40, 30, 21]
        file.attrs["provenance"] = json.dumps(known)
    assert command("verify", "e.h5").returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ("--symmetry=C1",), ("--symmetry=C7",), ("--symmetry=D3",), ("--symmetry=T",),
        ("--symmetry=O",), ("--symmetry=I2",), ("--symmetry=C600",),
        ("--twist=-166.7", "--rise=27.3", "--order=6"),
        ("--twist=0", "--rise=-4", "--order=5", "--symmetry=D3"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_expand_writes_is_verified(flags, dtype, tmp_path, rng, command):
    write_table(tmp_path / "p.h5", random_columns(rng, 70, dtype))
    words = (*flags, "--carry=ctf/*,blob/*,alignments3D/psize_A")
    assert command("expand", "p.h5", "e.h5", *words).returncode == 0
    done = command("verify", "e.h5", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert [check["name"] for check in report["checks"]] == CHECKS
    assert [check["number"] for check in report["checks"]] == list(range(1, 14))
    assert report["passed"]
    assert report["largest_angle_deg"] < (2e-5 if dtype == np.float32 else 1e-10)


@pytest.mark.parametrize("pose_format", ["quaternion", "matrix", "euler_zyz"])
def test_other_forms_of_poses_are_verified(pose_format, tmp_path, rng, command):
    vectors = rng.normal(0, 1.5, (40, 3))
    matrices = np.array([naive.exp(v) for v in vectors])
    angle = np.linalg.norm(vectors, axis=1, keepdims=True)
    poses = {
        "matrix": matrices,
        "quaternion": np.hstack([np.cos(angle / 2), np.sin(angle / 2) * vectors / angle]),
        "euler_zyz": rng.uniform((-180, 0, -180), 180, (40, 3)),
    }
    pose = poses[pose_format].astype(np.float32)
    write_table(tmp_path / "p.h5", {"p": pose, "s": np.ones((40, 2), np.float32)})
    words = ("--pose=p", "--shift=s", f"--pose_format={pose_format}", "--psize=1.3")
    helix_flags = ("--twist=33", "--rise=4", "--order=4")
    assert command("expand", "p.h5", "e.h5", *helix_flags, *words).returncode == 0
    assert verify(str(tmp_path / "e.h5")).passed
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file["particles/p"][7] = file["particles/p"][8]
    assert failed(tmp_path / "e.h5") == ["poses"]


@pytest.mark.parametrize("pose_format", ["rotvec", "quaternion", "matrix", "euler_zyz"])
def test_matrices_are_those_of_the_twin(pose_format, rng):
    if pose_format == "rotvec":
        poses = np.vstack([rng.normal(0, 2, (50, 3)), np.zeros((1, 3)), [[1e-12, 0, 0]]])
        twins = [naive.exp(v) for v in poses]
    elif pose_format == "euler_zyz":
        poses = rng.uniform(-180, 180, (50, 3))
        twins = [naive.euler_zyz(*angles) for angles in poses]
    else:
        quaternion = rng.normal(size=(50, 4))
        quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
        twins = [naive.from_quaternion(q) for q in quaternion]
        poses = quaternion if pose_format == "quaternion" else np.array(twins)
    found = rotation_matrices(poses, pose_format)
    np.testing.assert_allclose(found, twins, atol=1e-13)


def failed(path):
    """Names of the checks that fail."""
    return [check.name for check in verify(str(path)).checks if not check.passed]


def change(name, rows, value):
    """Change values of a dataset."""

    def apply(file):
        column = file[name]
        column[rows] = value(column[rows]) if callable(value) else value

    return apply


def next_above(x):
    """The next number of the same type; NumPy 1 takes two scalars to the wider type of both."""
    return np.nextafter(x, x.dtype.type(9))


def forget_columns(ours, source):
    """Give an expanded file the fingerprint of the first rule, which leaves ids out."""
    digests = [hashlib.sha256(source[name][()].tobytes()).digest() for name in (POSE, SHIFT)]
    if "columns" in ours["source"]:
        del ours["source/columns"]
    text = hashlib.sha256(b"".join(digests)).hexdigest()
    ours["source"].attrs["fingerprint"] = f"sha256:{text}"
    record = json.loads(ours.attrs["provenance"])
    record["source"]["fingerprint"] = f"sha256:{text}"
    ours.attrs["provenance"] = json.dumps(record)


def attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "names", "say"),
    [
        (attribute("format", "other"), ["format"], "other"),
        (attribute("format_version", 7), ["format"], "version 7"),
        (lambda file: file.attrs.__delitem__("complete"), ["complete"], "not marked"),
        (attribute("provenance", "{"), ["structure"], "provenance is damaged"),
        (lambda file: file.__delitem__("particles/operator_index"), ["structure"], "missing"),
        (lambda file: file.__delitem__("operators/label"), ["structure"], "operators"),
        (change("operators/quaternion", 3, lambda q: q * 1.1), ["operators"], "operator 3"),
        (change("operators/quaternion", 3, [0.6, 0.8, 0, 0]), ["symmetry"], "no group"),
        (change("operators/quaternion", 5, lambda q: -q[::-1]), ["symmetry"], "unit"),
        (change("operators/translation_A", (5, 2), 5.01), ["symmetry"], "unit"),
        (change("operators/rise_index", 5, 2), ["symmetry"], "units"),
        (change(f"{ROWS}source_index", 30, 3), ["pairs", "ids", "poses", "shifts"], "row 30"),
        (change(f"{ROWS}operator_index", 30, 7), ["pairs", "ids", "poses"], "row 30"),
        (change(f"{ROWS}operator_index", 30, 60000), ["pairs"], "row 30"),
        (change(POSE, 100, lambda v: v + 1e-4), ["poses"], "row 100 is 0.0"),
        (change(POSE, (100, 2), np.nan), ["poses"], "row 100 is nan deg"),
        (change(SHIFT, (101, 1), lambda s: s + 1e-3), ["shifts"], "row 101 is 0.001 px"),
        (change(SHIFT, (101, 1), np.inf), ["shifts"], "row 101 is inf px"),
        (change(SHIFT, (101, 1), np.nan), ["shifts"], "row 101 is nan px"),
        (change(POSE, (24, 0), next_above), ["unmoved rows"], "row 24"),
        (change(SHIFT, (24, 0), next_above), ["unmoved rows"], "row 24"),
        (change(SPLIT, 13, lambda s: 1 - s), ["half-sets"], "row 13"),
        (change(f"{ROWS}uid", 24, 5), ["ids"], "row 24 does not have its particle's id"),
        (change(f"{ROWS}uid", 25, 5), ["ids"], "row 25 has an id out of turn"),
    ],
)
def test_each_change_is_found(damage, names, say, expanded, command):
    with h5py.File(expanded, "r+") as file:
        damage(file)
    done = command("verify", "e.h5")
    assert done.returncode == 1
    assert done.stderr == ""
    assert set(names) >= set(failed(expanded)) >= {names[0]}
    assert any(" FAIL " in line and say in line for line in done.stdout.splitlines()), done.stdout


def test_all_offenders_are_counted(expanded, command):
    with h5py.File(expanded, "r+") as file:
        file[POSE][100:107] = 0.5
    assert "row 100 is" in command("verify", "e.h5").stdout
    assert "7 row(s) in all" in command("verify", "e.h5").stdout


def test_a_row_keeps_its_number_beside_rows_that_have_no_source(expanded, command):
    with h5py.File(expanded, "r+") as file:
        file[f"{ROWS}operator_index"][30:33] = 60_000
        file[POSE][100] += 0.5
    text = command("verify", "e.h5").stdout
    assert "row 30 is not (source row // G, operator row % G); 3 row(s)" in text
    assert "row 100 is" in text


@compiled_only
def test_the_first_offender_is_named_whichever_block_is_done_first(tmp_path, command, rng):
    write_table(tmp_path / "p.h5", random_columns(rng, 2500))
    assert command("expand", "p.h5", "e.h5", "--symmetry=I").returncode == 0
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file[POSE][33_001] += 0.5
        file[POSE][140_001] += 1.5
        file[SHIFT][70_003, 1] = np.nan
    text = command("verify", "e.h5").stdout
    assert "row 33001 is" in text
    assert "2 row(s) in all" in text
    report = verify(str(tmp_path / "e.h5"))
    assert report.largest_angle_deg > np.degrees(1.0)
    assert np.isnan(report.largest_shift_px)


def test_the_largest_error_is_told(expanded, tmp_path):
    with h5py.File(expanded, "r+") as file:
        vector = file[POSE][100].astype(float)
        file[POSE][100] = vector * (1 + np.radians(2.0) / np.linalg.norm(vector))
        file[SHIFT][7] += [0.5, -0.25]
    report = verify(expanded)
    assert report.largest_angle_deg == pytest.approx(2.0, rel=1e-4)
    assert report.largest_shift_px == pytest.approx(0.5, rel=1e-4)


def test_a_changed_source_is_found(expanded, source):
    with h5py.File(source, "r+") as file:
        file[POSE][0] = 0.25
    assert failed(expanded) == ["source"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "say"),
    [
        ("alignments3D/psize_A", 2.0, "alignments3D/psize_A has other values"),
        ("uid", 12345, "uid has other values"),
        ("alignments3D/split", 7, "alignments3D/split has other values"),
        ("ctf/df1_A", 1.0, "ctf/df1_A has other values"),
        ("blob/path", b"x", "blob/path has other values"),
        ("blob/path", None, "blob/path is gone"),
        ("ctf/new", 1.0, "ctf/new is new"),
        ("ctf/df1_A", "retyped", "ctf/df1_A was <f4 and is <f8"),
    ],
)
def test_every_column_of_the_source_is_recognized(
    name, value, say, expanded, source, tmp_path, command
):
    with h5py.File(source, "r+") as file:
        if value is None:
            del file[ROWS + name]
        elif value == "retyped":
            rows = file[ROWS + name][()].astype("f8")
            del file[ROWS + name]
            file[ROWS + name] = rows
        elif name not in file["particles"]:
            file[ROWS + name] = np.full(50, value)
        else:
            file[ROWS + name][3] = value
    assert failed(expanded) == ["source"]
    assert f"({say})" in command("verify", "e.h5").stdout
    for words in (
        ("export", "e.h5", "e.star"),
        ("export", "e.h5", "e.cs"),
        ("collapse", "e.h5", "c.h5"),
        ("collapse", "e.h5", "c.star"),
        ("match", "e.h5"),
        ("plot", "e.h5", "e.png"),
    ):
        done = command(*words)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), words
        assert f"({say}): name the original" in done.stderr
        assert not any((tmp_path / name).exists() for name in words[2:])


def test_texts_of_any_length_are_recognized(source, tmp_path, go):
    """Also where the same letters, one after the other, are cut into other words."""
    with h5py.File(source, "r+") as file:
        words = [["ab", "c"][k % 2] for k in range(50)]
        file["particles"].create_dataset("note", data=words, dtype=h5py.string_dtype())
    go("expand", source, "e.h5", "--symmetry=C2")
    assert failed(tmp_path / "e.h5") == []
    with h5py.File(source, "r+") as file:
        file["particles/note"][:2] = ["a", "bc"]
    assert failed(tmp_path / "e.h5") == ["source"]


def test_files_with_the_first_rule_are_still_read(expanded, source, command):
    """Their fingerprint is of poses and shifts alone."""
    with h5py.File(source) as file, h5py.File(expanded, "r+") as ours:
        forget_columns(ours, file)
    assert failed(expanded) == []
    with h5py.File(source, "r+") as file:
        file[SHIFT][0] += 1
    assert failed(expanded) == ["source"]


@pytest.mark.parametrize(("symmetry", "order"), [("C1", 1), ("C3", 3)])
def test_both_rows_that_share_an_id_are_named(symmetry, order, source, tmp_path, command):
    assert command("expand", source, "e.h5", f"--symmetry={symmetry}").returncode == 0
    with h5py.File(source, "r+") as file, h5py.File(tmp_path / "e.h5", "r+") as ours:
        for each, rows in ((file, 1), (ours, order)):
            each[f"{ROWS}uid"][31 * rows] = each[f"{ROWS}uid"][17 * rows]
        forget_columns(ours, file)
    say = f"row {17 * order} and row {31 * order} share an id"
    assert say in command("verify", "e.h5").stdout


def test_a_source_elsewhere_is_named(expanded, source, tmp_path, command):
    (tmp_path / "far").mkdir()
    (tmp_path / "source.h5").rename(tmp_path / "far" / "s.h5")
    assert failed(expanded) == ["source"]
    assert command("verify", "e.h5", "--source=far/s.h5").returncode == 0


def test_a_pixel_size_that_was_given_goes_before_one_that_is_carried(source, tmp_path, command):
    helix_flags = ("--twist=30", "--rise=5", "--order=3", "--psize=2")
    words = (*helix_flags, "--carry=alignments3D/psize_A")
    assert command("expand", source, "e.h5", *words).returncode == 0
    assert failed(tmp_path / "e.h5") == []


def test_a_carried_column_that_differs_is_found(tmp_path, source, command):
    assert command("expand", source, "e.h5", "--symmetry=C3", "--carry=blob/*").returncode == 0
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file[f"{ROWS}blob/path"][8] = b"other.mrc"
    done = command("verify", "e.h5")
    assert failed(tmp_path / "e.h5") == ["carried columns"]
    assert "row 8 does not have its particle's blob/path; 1 row(s)" in done.stdout


def with_id(expanded, source, particle, uid):
    """Give a particle an id, in the source and in its first row, which is the particle itself."""
    with h5py.File(source, "r+") as file, h5py.File(expanded, "r+") as ours:
        file[f"{ROWS}uid"][particle] = ours[f"{ROWS}uid"][12 * particle] = uid
        forget_columns(ours, file)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("particle", "row"), [(0, 13), (0, 599), (24, 1), (24, 299), (49, 1), (49, 599)]
)
def test_an_id_of_a_mate_is_found(particle, row, expanded, source):
    with h5py.File(expanded) as file:
        mate = file[f"{ROWS}uid"][row]
    with_id(expanded, source, particle, mate)
    found = {check.name: check for check in verify(expanded).checks}
    assert [name for name, check in found.items() if not check.passed] == ["ids"]
    assert f"row {12 * particle} has the id of another particle's mate" in found["ids"].detail


@pytest.mark.slow
@pytest.mark.parametrize(
    ("particle", "other"), [(0, 1), (1, 0), (0, 49), (49, 0), (17, 31), (48, 49)]
)
def test_an_id_of_two_particles_is_found(particle, other, expanded, source):
    with h5py.File(source) as file:
        double = file[f"{ROWS}uid"][other]
    with_id(expanded, source, particle, double)
    found = {check.name: check for check in verify(expanded).checks}
    assert [name for name, check in found.items() if not check.passed] == ["ids"]
    first, second = sorted((12 * particle, 12 * other))
    assert f"row {first} and row {second} share an id" in found["ids"].detail


@pytest.mark.parametrize(("left", "said"), [(True, "inherited by all copies"), (False, "none")])
def test_half_sets_that_are_not_there_are_not_called_inherited(left, said, tmp_path, rng, go):
    columns = random_columns(rng, 30)
    if not left:
        del columns["alignments3D/split"]
    write_table(tmp_path / "p.h5", columns)
    go("expand", "p.h5", "e.h5", "--symmetry=C3")
    checks = {check.name: check.detail for check in verify(str(tmp_path / "e.h5")).checks}
    assert checks["half-sets"] == said


def test_halves_that_were_drawn_are_shared(tmp_path, rng, command):
    columns = random_columns(rng, 30)
    del columns["alignments3D/split"], columns["uid"]
    write_table(tmp_path / "p.h5", columns)
    assert command("expand", "p.h5", "e.h5", "--symmetry=C3", "--assign_halves=1").returncode == 0
    assert verify(str(tmp_path / "e.h5")).passed
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file[SPLIT][4] = 1 - file[SPLIT][4]
    assert failed(tmp_path / "e.h5") == ["half-sets"]


def test_a_few_rows_are_no_whole_expansion(expanded):
    with h5py.File(expanded, "r+") as file:
        for name in ("source_index", "operator_index", "uid"):
            rows = file[ROWS + name][:-3]
            del file[ROWS + name]
            file[ROWS + name] = rows
        for name in (POSE, SHIFT, SPLIT):
            rows, attributes = file[name][:-3], dict(file[name].attrs)
            del file[name]
            file[name] = rows
            file[name].attrs.update(attributes)
    assert failed(expanded) == ["structure"]


def test_what_is_no_hdf5_is_an_error(tmp_path, command):
    (tmp_path / "e.h5").write_text("text")
    done = command("verify", "e.h5")
    assert done.returncode == 1
    assert done.stderr.startswith("error: e.h5: not an HDF5 file")


@pytest.mark.parametrize("symbol", ["C1", "C2", "C13", "D2", "D7", "T", "O", "I1", "I4", "D700"])
def test_groups_are_groups(symbol):
    operators = point_group(symbol)
    assert not_rotations(operators) is None
    assert not_as_stated(operators) is None


def without(operators, *dropped):
    kept = np.delete(np.arange(len(operators)), dropped)
    return Operators(
        operators.quaternion[kept],
        operators.translation_A[kept],
        tuple(operators.label[k] for k in kept),
        operators.symmetry,
        operators.kind,
        operators.rise_index[kept],
    )


@pytest.mark.parametrize("symbol", ["C5", "D3", "T", "I2", "D300"])
def test_a_group_without_one_element_is_none(symbol):
    assert "no group" in not_as_stated(without(point_group(symbol), 3))
    assert "not the identity" in not_as_stated(without(point_group(symbol), 0))


@pytest.mark.parametrize("kind", ["group", "helix", "own"])
def test_an_operator_that_is_there_twice_is_named(kind):
    twice = point_group("D3")
    place = [0, 1, 2, 3, 1, 5]
    twice = dataclasses.replace(
        twice, kind=kind, quaternion=twice.quaternion[place] * [[1], [1], [1], [1], [-1], [1]]
    )
    assert not_as_stated(twice) == "operators 1 and 4 are the same"


def test_a_helix_without_its_first_unit_is_none():
    whole = helix(30.0, 4.0, 3)
    broken = dataclasses.replace(whole, rise_index=np.ones(3, whole.rise_index.dtype))
    assert "not the identity" in not_as_stated(broken)


def test_a_helix_without_one_unit_is_none():
    assert not_as_stated(helix(twist=30, rise=5, order=5, group="D2")) is None
    assert not_as_stated(helix(twist=30, rise=5, order=1, group="D2")) is None
    assert "units" in not_as_stated(without(helix(twist=30, rise=5, order=5), 1))
    assert "units" in not_as_stated(without(helix(twist=30, rise=5, order=5, group="C2"), 3))


CHOICES = [
    ("--symmetry=O", "--modulo=C4"), ("--symmetry=I2", "--operators=3,7-9"),
    ("--symmetry=D7", "--modulo=C7"), ("--symmetry=O", "--center=0,0,40", "--unique"),
    ("--symmetry=I,n25r", "--convention=chimerax", "--modulo=D5"),
    ("--twist=27", "--rise=4.75", "--order=5", "--symmetry=D2", "--modulo=D2"),
    ("--twist=27", "--rise=4.75", "--order=5", "--operators=0,4"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("flags", CHOICES)
def test_choices_are_verified(flags, source, tmp_path, go):
    go("expand", source, "e.h5", *flags)
    assert failed(tmp_path / "e.h5") == []


def another_subgroup(file):
    del file["operators/subgroup"]
    file["operators/subgroup"] = np.array([0, 7, 8, 9], np.uint16)  # C4 about another axis


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "say"),
    [
        (change("operators/full_index", 2, 20), "operator 2 is not operator 20 of O"),
        (change("operators/translation_A", (2, 0), 3.0), "operator 2 is not operator 5 of O"),
        (another_subgroup, "it is not the full set: poses would be missing"),
        (change("operators/subgroup", 1, 7), "subgroup: products with operator"),
        (change("operators/subgroup", 1, 700), "its subgroup is missing"),
        (lambda file: file.__delitem__("operators/subgroup"), "its subgroup is missing"),
        (attribute("symmetry", "D12"), "is not operator"),
        (attribute("symmetry", "T"), "T has 12 operators, not 24"),
        (attribute("symmetry", "Q8"), "'Q8' (cryosparc) is no symmetry"),
        (attribute("convention", "none"), "'O' (none) is no symmetry"),
    ],
)
def test_each_change_of_a_choice_is_found(damage, say, source, tmp_path, go, command):
    """Of O modulo C4: operators 0, 4, 5, 6, 7, 9 and the subgroup 0, 1, 2, 3."""
    go("expand", source, "e.h5", "--symmetry=O", "--modulo=C4")
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        damage(file)
    done = command("verify", "e.h5")
    assert done.returncode == 1
    assert failed(tmp_path / "e.h5")[0] == "symmetry"
    assert any(" FAIL symmetry" in line and say in line for line in done.stdout.splitlines())


def test_a_full_set_is_the_one_that_it_is_called(source, tmp_path, go):
    """D7 of RELION and of CryoSPARC are both groups, and not the same."""
    go("expand", source, "e.h5", "--symmetry=D7")
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file.attrs["convention"] = "relion"
    assert failed(tmp_path / "e.h5") == ["symmetry"]


@pytest.mark.parametrize("full_order", [5, 70_000, -1])
def test_a_full_order_that_cannot_be_is_refused(full_order, source, tmp_path, go, command):
    go("expand", source, "e.h5", "--symmetry=O", "--modulo=C4")
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file["operators"].attrs["full_order"] = full_order
    done = command("verify", "e.h5")
    assert done.returncode == 1
    assert "FAIL structure" in done.stdout
