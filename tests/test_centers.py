"""Several points of the map, each at the image center of rows of its own; and turned to z."""

import json
import pathlib
import shutil
import warnings

import h5py
import naive
import numpy as np
import pytest
from conftest import compiled_only, random_columns, write_table
from inside import center_files, centers, open_subject, refuse_double
from phantom import write_mrc
from star_files import OPTICS, particles, read_star, star_text

import numba_symexp
from numba_symexp import expand, expand_poses, list_operators, open_expanded, point_group

POSE, SHIFT, PSIZE = (f"alignments3D/{name}" for name in ("pose", "shift", "psize_A"))
CENTERS_A = np.array([(11.5, -20.25, 60.0), (0.0, 33.0, -8.5), (-41.0, 2.0, 0.25)])
CENTERS = "--center=" + ";".join(",".join(map(str, each)) for each in CENTERS_A)

SETS = [
    (("--symmetry=D7",), [(g, np.zeros(3)) for g in naive.group("D7")]),
    (("--symmetry=T",), [(g, np.zeros(3)) for g in naive.group("T")]),
    (("--twist=27.3", "--rise=4.75", "--order=4"), naive.helix(27.3, 4.75, 4)),
]
POINTS_A = np.array([(0, 0, 0), (5, 0, 0), (0, 7, -3), (1, 2, 30.0)])
ATTACK = '<!DOCTYPE m [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.fixture
def columns(rng):
    return random_columns(rng, 12)


@pytest.fixture(autouse=True)
def source(columns, tmp_path):
    return write_table(tmp_path / "p.h5", columns)


def rows_of(path):
    """Columns of an expanded file."""
    with h5py.File(path) as file:
        names = (POSE, SHIFT, "source_index", "operator_index", "uid")
        return [file[f"particles/{name}"][()] for name in names]


def smallest_turn_to_z(direction):
    """Rotation about the axis across a direction and z, by the angle between them."""
    d = np.array(direction, float) / np.linalg.norm(direction)
    across = np.cross(d, (0, 0, 1.0))
    if np.linalg.norm(across) < 1e-12:
        return np.eye(3) if d[2] > 0 else naive.turn((1.0, 0, 0), 180)
    angle_deg = np.degrees(np.arctan2(np.linalg.norm(across), d[2]))
    return naive.turn(across, angle_deg)


def match_of(motions, rotation, moved_A):
    """Number of the motion of the twin that a stored operator is."""
    same = [
        np.allclose(R, rotation, atol=1e-6) and np.allclose(t, moved_A, atol=1e-6)
        for R, t in motions
    ]
    assert sum(same) == 1
    return same.index(True)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("flags", "motions"), SETS)
def test_each_center_is_shown_by_every_operator(flags, motions, align, columns, tmp_path, go):
    """Row (i, c, g) shows at Q x of the map what particle i shows at g(c + x)."""
    go("expand", "p.h5", "e.h5", *flags, CENTERS, *(["--align"] if align else []))
    pose, shift, index, number, _ = rows_of("e.h5")
    count = len(motions) * len(CENTERS_A)
    assert np.array_equal(index, np.repeat(np.arange(12), count))
    assert np.array_equal(number, np.tile(np.arange(count), 12))
    with h5py.File("e.h5") as file:
        group = file["operators"]
        assert file.attrs["format_version"] == 2
        assert np.array_equal(group["center_A"][()], np.repeat(CENTERS_A, len(motions), axis=0))
        assert np.array_equal(group["center_index"][()], np.repeat(np.arange(3), len(motions)))
        stored = [
            (naive.from_quaternion(q), t)
            for q, t in zip(group["quaternion"][()], group["translation_A"][()], strict=True)
        ]
    for center in range(3):  # each has the whole set
        part = stored[center * len(motions) : (center + 1) * len(motions)]
        assert {match_of(motions, *each) for each in part} == {*range(len(motions))}
    for row in range(len(pose)):
        i, (rotation, moved_A) = index[row], stored[number[row]]
        c = CENTERS_A[number[row] // len(motions)]
        turn = smallest_turn_to_z(c) if align else np.eye(3)
        size = float(columns[PSIZE][i])
        mine = naive.project(naive.exp(pose[row]), shift[row], [turn @ x for x in POINTS_A], size)
        there = [rotation @ (c + x) + moved_A for x in POINTS_A]
        theirs = naive.project(naive.exp(columns[POSE][i]), columns[SHIFT][i], there, size)
        assert np.allclose(mine, theirs, atol=2e-4), (row, mine - theirs)
    report = json.loads(go("verify", "e.h5", "--json"))
    assert report["passed"]


def test_one_center_is_a_file_of_version_1_as_ever(tmp_path, go):
    go("expand", "p.h5", "e.h5", "--symmetry=D3", "--center=1,2,3")
    go("expand", "p.h5", "f.h5", "--symmetry=D3", "--center= 1,2,3", "--overwrite")
    with h5py.File("e.h5") as file:
        assert file.attrs["format_version"] == 1
        assert np.array_equal(file["operators"].attrs["center_A"], (1, 2, 3))
        assert "length" not in json.loads(file.attrs["provenance"])["parameters"]
    go("expand", "p.h5", "a.h5", "--symmetry=D3", "--center=1,2,3", "--align")
    with h5py.File("a.h5") as file:
        assert file.attrs["format_version"] == 2
    go("verify", "a.h5")


def test_one_point_of_a_file_is_recorded_as_one_point(tmp_path, go):
    """As readers of version 1 know it."""
    markers(tmp_path / "m.cmm", [(0, 0, 0), (1, 2, 30)])
    go("expand", "p.h5", "e.h5", "--symmetry=D3", "--center=m.cmm")
    with h5py.File("e.h5") as file:
        assert file.attrs["format_version"] == 1
        assert json.loads(file.attrs["provenance"])["parameters"]["center"] == [1, 2, 30]
    go("verify", "e.h5")


def test_an_axis_is_turned_to_z(columns, tmp_path, go):
    for axis in ("1,2,-3", "0,0,-2", "0,0,5", "-1,0,0"):
        flags = ("--symmetry=D3", "--center=1,2,3;0,0,0", f"--align_axis={axis}", "--overwrite")
        go("expand", "p.h5", "e.h5", *flags)
        go("expand", "p.h5", "f.h5", "--symmetry=D3", "--center=1,2,3;0,0,0", "--overwrite")
        turned, plain = rows_of("e.h5"), rows_of("f.h5")
        turn = smallest_turn_to_z([float(each) for each in axis.split(",")])
        assert np.array_equal(turned[1], plain[1])
        for one, other in zip(turned[0][:24], plain[0][:24], strict=True):
            # A Q^T, so that exp(v') = Q exp(v)
            assert naive.angle_rad(naive.exp(one), turn @ naive.exp(other)) < 1e-5
        go("verify", "e.h5")


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e170, 1e300])
@pytest.mark.parametrize("axis", [(1, 2, -3), (0, 0, -1)])
def test_an_axis_of_any_length_is_turned_to_z(axis, size, tmp_path, go):
    named = ",".join(repr(part * size) for part in axis)
    go("expand", "p.h5", "e.h5", "--symmetry=C2", "--center=1,2,3", f"--align_axis={named}")
    with h5py.File("e.h5") as file:
        turn = naive.from_quaternion(file["operators/turn"][0])
    assert naive.angle_rad(turn, smallest_turn_to_z(axis)) < 1e-12
    go("verify", "e.h5")


@pytest.mark.parametrize("flags", [("--align",), ("--length=50",)])
@pytest.mark.parametrize("center", ["1e-200,0,0", "0.0004,0,-0.0005", "1e-320,0,0"])
def test_a_center_at_the_box_center_has_no_direction(center, flags, tmp_path, command):
    done = command("expand", "p.h5", "e.h5", "--symmetry=C2", f"--center=0,9,9;{center}", *flags)
    assert done.returncode == 2
    assert "direction to the center" in done.stderr
    assert "center 1 is at the box center" in done.stderr
    assert not (tmp_path / "e.h5").exists()


@pytest.mark.parametrize("flags", [("--align",), ("--align_axis=1,2,3",)])
def test_verify_sees_whether_the_direction_comes_to_z(flags, tmp_path, go, monkeypatch):
    """Whatever made the turn: half a turn about any axis across z has no third component."""
    monkeypatch.setattr(centers, "turns_to_z", lambda d: np.tile([0.0, 0.6, 0.8, 0.0], (len(d), 1)))
    go("expand", "p.h5", "e.h5", "--symmetry=C2", CENTERS, *flags)
    report = numba_symexp.verify("e.h5")
    (wrong,) = [each for each in report.checks if not each.passed]
    assert "does not take its direction to z" in wrong.detail


def test_the_direction_of_a_vertex_is_the_axis_of_its_own_symmetry(tmp_path, go):
    """About a vertex of I1 turned to z, copies of one vertex differ by turns about z of 72 deg."""
    vertex = "0,52.5731,85.0651"
    go("expand", "p.h5", "e.h5", "--symmetry=I1", f"--center={vertex}", "--align")
    pose, _, index, number, _ = rows_of("e.h5")
    with h5py.File("e.h5") as file:
        rotations = [naive.from_quaternion(q) for q in file["operators/quaternion"][()]]
    places = np.array([R @ np.array([0, 52.5731, 85.0651]) for R in rotations])
    same = np.linalg.norm(places - places[0], axis=1) < 0.1
    assert same.sum() == 5
    for i in range(3):
        mates = [naive.exp(v) for v in pose[(index == i) & same[number]]]
        turns = [each @ mates[0].T for each in mates]  # A' = A Q R Q^T
        assert all(np.allclose(turn[2], (0, 0, 1), atol=1e-4) for turn in turns)


def test_unique_counts_the_places_of_each_center(tmp_path, go):
    """Of D3: a point on the 3-fold has 2 places, one on a 2-fold 3, any other 6."""
    go("expand", "p.h5", "e.h5", "--symmetry=D3", "--center=0,0,40;1,2,3;0,25,0", "--unique")
    go("verify", "e.h5")
    with h5py.File("e.h5") as file:
        assert np.bincount(file["operators/center_index"][()]).tolist() == [2, 6, 3]
        centers = file["operators/center_A"][()]
        rotations = [naive.from_quaternion(q) for q in file["operators/quaternion"][()]]
    places = np.array([R @ c for R, c in zip(rotations, centers, strict=True)])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(11)
    assert apart.min() > 0.9
    for flags, count in ((("--modulo=C3",), 6), (("--operators=0,4",), 6)):
        go("expand", "p.h5", "f.h5", "--symmetry=D3", CENTERS, *flags, "--overwrite")
        go("verify", "f.h5")
        assert len(rows_of("f.h5")[0]) == 12 * count


def test_ids_are_all_different_and_those_of_the_whole(tmp_path, go):
    go("expand", "p.h5", "all.h5", "--symmetry=D3", CENTERS)
    go("expand", "p.h5", "some.h5", "--symmetry=D3", CENTERS, "--operators=0,3")
    *_, index, number, uid = rows_of("all.h5")
    assert len(np.unique(uid)) == len(uid)
    with h5py.File("some.h5") as file:
        full = file["operators/full_index"][()]
        assert full.tolist() == [0, 3, 6, 9, 12, 15]
    *_, i, k, ids = rows_of("some.h5")
    whole = {(a, b): c for a, b, c in zip(index, number, uid, strict=True)}
    wanted = [whole[a, full[b]] for a, b in zip(i, k, strict=True)]
    assert ids.tolist() == wanted


# Markers and masks


def markers(path, places, head=""):
    text = "".join(
        f'<marker id="{k}" x="{x}" y="{y}" z="{z}" r="1" g="1" b="0" radius="5"/>\n'
        for k, (x, y, z) in enumerate(places, start=1)
    )
    path.write_text(f'{head}<marker_set name="m">\n{text}</marker_set>\n')


def centers_of(path):
    with open_expanded(path) as expanded:
        return expanded.operators.centers_A


def test_markers_count_from_the_first_one(tmp_path, go):
    markers(tmp_path / "spike.cmm", [(100, 100, 100), (205.2, 100, 270.1), (90, 101, 99.5)])
    shown = go("expand", "p.h5", "e.h5", "--symmetry=D3", "--center=spike.cmm;1,2,3")
    assert "spike.cmm: the first marker is taken as the center of the particle" in shown
    wanted = [(105.2, 0, 170.1), (-10, 1, -0.5), (1, 2, 3)]
    assert np.allclose(centers_of("e.h5"), wanted, atol=1e-9)
    (tmp_path / "spike.cmm").unlink()  # the file says the points itself
    go("verify", "e.h5")


def test_markers_of_several_sets_and_links(tmp_path, go):
    """Of several sets it is not said which marker is the particle's center; of points it is."""
    one, other = ((tmp_path / name).with_suffix(".cmm") for name in "ab")
    markers(one, [(1, 2, 3), (4, 5, 66)])
    markers(other, [(7, 8, 99)])
    link = '<link id1="1" id2="2" x="3" y="4" z="5"/>'
    sets = one.read_text().replace("</m", f"{link}</m"), other.read_text()
    (tmp_path / "sets.cmm").write_text(f"<marker_sets>{''.join(sets)}</marker_sets>")
    go("expand", "p.h5", "e.h5", "--symmetry=D3", "--center=sets.cmm", "--origin=0,0,0")
    assert np.allclose(centers_of("e.h5"), [(1, 2, 3), (4, 5, 66), (7, 8, 99)])
    links = one.read_text().replace("<marker id", "<link><marker id").replace("/>", "/></link>")
    (tmp_path / "links.cmm").write_text(links)
    go("expand", "p.h5", "e.h5", "--symmetry=D3", "--center=links.cmm", "--overwrite")
    assert np.allclose(centers_of("e.h5"), [(3, 3, 63)])


def test_points_that_are_one_are_found_among_many(rng):
    places = rng.normal(0, 100, (20_000, 3))
    places[:, 1] = 5.0
    refuse_double(places.tolist())
    places[17_171] = places[33] + (3e-4, -4e-4, 2e-4)
    with pytest.raises(numba_symexp.SymexpError, match="points 33 and 17171"):
        refuse_double(places.tolist())


@pytest.mark.parametrize(("box", "corner"), [(256, 128), (255, 127)])
def test_markers_count_from_the_corner_of_the_map(box, corner, columns, tmp_path, go):
    columns[PSIZE][:] = 1.25
    write_table(tmp_path / "p.h5", columns)
    markers(tmp_path / "m.cmm", [(170, 160, 150), (10, 20, 30)])
    flags = ("--symmetry=D3", "--center=m.cmm", "--origin=corner", f"--box_px={box}")
    go("expand", "p.h5", "e.h5", *flags)
    wanted = np.array([(170, 160, 150), (10, 20, 30)]) - corner * 1.25
    assert np.allclose(centers_of("e.h5"), wanted, atol=1e-5)
    go("verify", "e.h5")
    go("expand", "p.h5", "e.h5", "--symmetry=D3", "--center=m.cmm", "--origin=1,2,3", "--overwrite")
    assert np.allclose(centers_of("e.h5"), np.array([(171, 162, 153), (11, 22, 33)]), atol=1e-9)
    go("verify", "e.h5")


@pytest.mark.parametrize("box", [20, 21])
def test_a_mask_says_its_center_of_mass(box, tmp_path, go):
    density = np.zeros((box, box, box), np.float32)
    density[12:15, 3:6, 10:12] = 1.0  # z, y, x
    density[12, 3, 12] = 0.5
    write_mrc(tmp_path / "lobe.mrc", density, 2.0)
    total, moment = 0.0, np.zeros(3)
    for z, y, x in np.argwhere(density > 0):
        total += density[z, y, x]
        moment += density[z, y, x] * (np.array([x, y, z]) - box // 2) * 2.0
    go("expand", "p.h5", "e.h5", "--symmetry=C2", "--center=mask:lobe.mrc")
    assert np.allclose(centers_of("e.h5"), [moment / total], atol=1e-5)
    go("verify", "e.h5")


def test_a_mask_in_another_box_than_the_images_is_told(tmp_path, go, command, rng):
    """Its center of mass counts from the middle of its own box."""
    optics = OPTICS.replace("_rlnVoltage #3", "_rlnImageSize #3").replace("1.250000 200", "1.5 40")
    (tmp_path / "p.star").write_text(star_text(particles(rng, 12), optics.replace(" 300 ", " 40 ")))
    density = np.zeros((40, 40, 40), np.float32)
    density[12:15, 3:6, 10:12] = 1.0
    for psize_A, told in ((1.5, False), (1.49, False), (1.2, True), (3.0, True)):
        write_mrc(tmp_path / "lobe.mrc", density, psize_A)
        words = ("expand", "p.star", "e.h5", "--symmetry=C1", "--center=mask:lobe.mrc")
        done = command(*words, "--overwrite")
        assert done.returncode == 0
        text = f"lobe.mrc: has a box of {40 * psize_A:.4g} A, and the images have one of 60 A"
        assert (text in done.stderr) == told, (psize_A, done.stderr)


def test_length_is_along_the_direction(tmp_path, go):
    go("expand", "p.h5", "e.h5", "--symmetry=D3", "--center=3,0,4;0,-2,0", "--length=100")
    assert np.allclose(centers_of("e.h5"), [(60, 0, 80), (0, -100, 0)])
    go("verify", "e.h5")
    go(
        "expand",
        "p.h5",
        "e.h5",
        "--symmetry=D3",
        "--center=3,0,4;0,-2,0",
        "--length=100,7",
        "--overwrite",
    )
    assert np.allclose(centers_of("e.h5"), [(60, 0, 80), (0, -7, 0)])
    go("verify", "e.h5")


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--center=1,2;3,4,5"], 2, "three numbers"),
        (["--center=1,2,3;"], 2, "--center=1,2,3; has an empty point: give x,y,z, with ; between"),
        (["--center=;1,2,3"], 2, "--center=;1,2,3 has an empty point"),
        (["--center=one.cmm;;1,2,3"], 2, "--center=one.cmm;;1,2,3 has an empty point"),
        (["--center_px=1,2,3; ", "--box_px=9"], 2, "--center_px=1,2,3; has an empty point"),
        (["--center=1,2,3;1,2,3"], 2, "points 0 and 1"),
        (["--center=" + ";".join(f"{k},1,2" for k in range(1001))], 2, "has 1,001 points"),
        (["--center=0,0,0", "--align"], 2, "is at the box center"),
        (["--center=1,2,3", "--align_axis=0,0,0"], 2, "no direction"),
        (["--align"], 2, "--align goes with --center"),
        (["--align_axis=1,2,3"], 2, "--align_axis goes with --center"),
        (["--length=5"], 2, "--length goes with --center"),
        (["--center=0,0,0", "--length=5"], 2, "is at the box center"),
        (["--center=1,2,3", "--length=-5"], 2, "is not a length"),
        (["--center=1,2,3", "--length=nan"], 2, "is not a length"),
        (["--center=1,2,3", "--length=5,6"], 2, "2 numbers, and there are 1 centers"),
        (["--center=none.cmm"], 1, "none.cmm: no such file"),
        (["--center=mask:none.mrc"], 1, "none.mrc: no such file"),
        (["--center=one.cmm"], 1, "one.cmm: has one marker"),
        (["--center=attack.cmm"], 1, "attack.cmm: defines entities"),
        (["--center=text.cmm"], 1, "text.cmm: is no marker file"),
        (["--center=nan.cmm"], 1, "nan.cmm: marker 2 has no place"),
        (["--center=empty.cmm"], 1, "empty.cmm: has no markers"),
        (["--center=shift_jis.cmm"], 1, "shift_jis.cmm: is no marker file of ChimeraX"),
        (["--center=unknown.cmm"], 1, "unknown.cmm: is no marker file of ChimeraX"),
        (["--center=idna.cmm"], 1, "idna.cmm: is no marker file of ChimeraX"),
        (["--center=utf-7.cmm"], 1, "utf-7.cmm: is no marker file of ChimeraX"),
        (["--center=undefined.cmm"], 1, "undefined.cmm: is no marker file of ChimeraX"),
        (["--center=many.cmm"], 1, "many.cmm: has more than 1,001 markers"),
        (["--center=twice.cmm"], 1, "twice.cmm: marker 3 is where the first one is"),
        (["--center=sets.cmm"], 1, "sets.cmm: has markers of 2 sets"),
        (["--center=mask:below.mrc"], 1, "below.mrc: has values below 0"),
        (["--center=mask:zero.mrc"], 1, "zero.mrc: is 0 everywhere"),
        (["--center=mask:nan.mrc"], 1, "nan.mrc: section 3 has values that are not finite"),
        (["--center=mask:p.h5"], 1, "p.h5: is an HDF5 file"),
        (["--center=mask:"], 2, "--center=mask: names no mask: give mask:FILE.mrc"),
        (["--center=1,2,3;mask: "], 2, "--center=mask: names no mask: give mask:FILE.mrc"),
        (["--center=mask:map.mrc"], 1, "map.mrc: has values below 0"),
        (["--center=mask:no_size.mrc"], 1, "voxel size: write it into the header, or give the"),
        (["--center=mask:flat.mrc"], 1, "are no cubes: resample the map, or give the center as"),
        (["--center=mask:lobe.mrc", "--origin=1,2,3"], 2, "--origin goes with --operators_file"),
        (
            ["--center=mask:lobe.mrc", "--origin=corner", "--box_px=9"],
            2,
            "--origin goes with --operators_file",
        ),
        (["--center=1,2,3", "--origin=1,2,3"], 2, "--origin goes with --operators_file"),
        (["--center_px=spike.cmm", "--box_px=64"], 2, "--center_px"),
        (["--center_px=1,2,3;99,2,3", "--box_px=64"], 2, "--center_px=99,2,3 is outside"),
    ],
)
def test_what_is_no_center_is_refused_in_one_line(flags, code, words, tmp_path, command):
    markers(tmp_path / "one.cmm", [(1, 2, 3)])
    markers(tmp_path / "attack.cmm", [(0, 0, 0), (1, 2, 3)], ATTACK)
    markers(tmp_path / "nan.cmm", [(0, 0, 0), (1, "nan", 3)])
    markers(tmp_path / "empty.cmm", [])
    (tmp_path / "text.cmm").write_text("1 2 3\n")
    for name in ("shift_jis", "unknown", "idna", "utf-7", "undefined"):
        head = f'<?xml version="1.0" encoding="{name}"?>'
        markers(tmp_path / f"{name}.cmm", [(0, 0, 0), (1, 2, 3)], head)
    if "many" in flags[0]:
        markers(tmp_path / "many.cmm", [(k, 0, 0) for k in range(70_000)])
    markers(tmp_path / "twice.cmm", [(1, 2, 3), (4, 5, 6), (1, 2, 3)])
    one = (tmp_path / "one.cmm").read_text()
    (tmp_path / "sets.cmm").write_text(f"<marker_sets>{one * 2}</marker_sets>")
    density = np.zeros((16, 16, 16), np.float32)
    write_mrc(tmp_path / "zero.mrc", density, 1.0)
    density[3, 4, 5] = 1e-4
    write_mrc(tmp_path / "lobe.mrc", density, 1.0)
    write_mrc(tmp_path / "no_size.mrc", density, 0.0)
    write_mrc(tmp_path / "flat.mrc", density, np.array([1.0, 1.0, 1.5]))
    density[7, 7, 7] = -1e-5  # 10 %: noise of a map with small numbers
    write_mrc(tmp_path / "map.mrc", density, 1.0)
    density[3, 4, 5] = -1
    write_mrc(tmp_path / "below.mrc", density, 1.0)
    density[3, 4, 5] = np.nan
    write_mrc(tmp_path / "nan.mrc", density, 1.0)
    before = sorted(each.name for each in tmp_path.iterdir())
    done = command("expand", "p.h5", "e.h5", "--symmetry=D3", *flags)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == before


def test_a_file_of_centers_is_no_output(tmp_path, command):
    markers(tmp_path / "m.cmm", [(0, 0, 0), (1, 2, 3)])
    shutil.copy(tmp_path / "m.cmm", tmp_path / "kept")
    for output in ("m.cmm", "link.star"):
        if output == "link.star":
            (tmp_path / output).symlink_to("m.cmm")
        flags = ("--symmetry=D3", "--center=m.cmm", "--overwrite")
        assert command("expand", "p.h5", output, *flags).returncode in (1, 2)
        assert (tmp_path / "m.cmm").read_bytes() == (tmp_path / "kept").read_bytes()


def test_centers_that_are_mates_are_told_before_the_work(tmp_path, command):
    done = command("expand", "p.h5", "e.h5", "--symmetry=C4", "--center=10,0,5;3,3,3;0,10,5")
    assert done.returncode == 0
    assert "centers 0 and 2 are symmetry mates" in done.stderr
    done = command("expand", "p.h5", "f.h5", "--symmetry=C4", "--center=1,0,5;30,3,3")
    assert "moves the center 0 by only" in done.stderr
    assert "give 0.000,0.000,5.000 in its place, and --unique" in done.stderr


@pytest.mark.parametrize(
    ("centers_of_job", "told"),
    [
        ("10,0,5;3,3,3;0.5,10.2,5", "an operator puts center 0 within 0.539 A of center 2"),
        ("10,0,5;30,3,3;11,2,6", "an operator puts center 0 within 2.45 A of center 2"),
        ("10,0,5;30,3,3;0,10,10.5", ""),
    ],
)
def test_centers_that_are_nearly_mates_are_told(centers_of_job, told, command):
    """Markers that were placed by hand are never exact."""
    done = command("expand", "p.h5", "e.h5", "--symmetry=C4", f"--center={centers_of_job}")
    assert done.returncode == 0
    assert ("of center 2" in done.stderr) == bool(told)
    assert told in done.stderr


def test_mates_of_which_no_subunit_comes_twice_are_not_told(command):
    words = ("expand", "p.h5", "e.h5", "--symmetry=C4", "--center=10,0,5;0,10,5")
    assert "symmetry mates" in command(*words, "--operators=0,1").stderr
    assert "symmetry mates" not in command(*words, "--operators=0,2", "--overwrite").stderr


def test_the_center_is_named_that_has_no_unique_operators(tmp_path, command):
    """Of D3 without its identity: operators about an axis are no subgroup."""
    rows = [(*R[k], 0.0) for R in naive.group("D3", "relion")[1:] for k in range(3)]
    np.savetxt(tmp_path / "ops.txt", rows, fmt="%.12f")
    flags = ("--operators_file=ops.txt", "--center=11,-20,60;0,0,44", "--unique")
    done = command("expand", "p.h5", "e.h5", *flags)
    assert done.returncode == 2
    assert "put the center 1 at one place and are not a subgroup" in done.stderr


def test_warnings_of_many_centers_are_a_few(tmp_path, command, rng):
    places = np.concatenate([np.zeros((40, 2)), 30.0 + 10 * np.arange(40)[:, None]], axis=1)
    near = np.concatenate([np.full((40, 2), 1.2), -30.0 - 10 * np.arange(40)[:, None]], axis=1)
    far = rng.uniform(50, 60, (40, 3)) + 100 * np.arange(1, 41)[:, None]
    markers(tmp_path / "m.cmm", [(0, 0, 0), *places.tolist(), *near.tolist(), *far.tolist()])
    done = command("expand", "p.h5", "e.h5", "--symmetry=C4", "--center=m.cmm")
    lines = [line for line in done.stderr.splitlines() if "center" in line and "images" not in line]
    assert len(lines) == 8
    assert "4 operators (0-3) put the center 0 at one place" in lines[0]
    assert "37 more centers lie on axes" in lines[3]
    assert "moves the center 40 by only 2.4 A" in lines[4]
    assert "37 more centers lie nearly on axes" in lines[7]
    go_on = command("expand", "p.h5", "u.h5", "--symmetry=C4", "--center=m.cmm", "--unique")
    assert max(map(len, go_on.stdout.splitlines())) < 400
    assert command("verify", "u.h5").returncode == 0


@pytest.mark.parametrize(
    ("flags", "turned_by"),
    [
        (("--center=11,-20,60",), np.eye(3)),
        ((CENTERS,), np.eye(3)),
        (("--center=11,-20,60", "--align"), smallest_turn_to_z((11, -20, 60))),
        ((CENTERS, "--align_axis=1,2,3"), smallest_turn_to_z((1, 2, 3))),
        ((CENTERS, "--align"), None),
    ],
)
def test_marks_of_axes_are_those_of_the_map_of_the_rows(flags, turned_by, tmp_path, go):
    """Rows show the turned map; about several centers there is no one map."""
    go("expand", "p.h5", "e.h5", "--symmetry=D3", *flags)
    with open_subject("e.h5", table=None, passthrough=()) as subject:
        marked = subject.axes_of_sets
    assert [len(each) for each in marked] == [4, 4 if turned_by is not None else 0]
    for (fold, axis), (same, turned) in zip(*marked, strict=False):
        assert fold == same
        assert min(np.abs(turned_by @ axis - s * turned).max() for s in (1, -1)) < 1e-12
    if turned_by is None:
        go("plot", "e.h5", "e.png")


@pytest.mark.parametrize("several", [False, True])
def test_the_point_on_the_axis_is_on_the_axis_of_that_operator(several, tmp_path, command):
    """Axes of own operators go through other points than the box center."""
    middle = np.array([10.0, 20.0, -5.0])
    rows = [
        (*R[k], (middle - R @ middle)[k]) for R in naive.group("D3", "relion") for k in range(3)
    ]
    np.savetxt(tmp_path / "ops.txt", rows, fmt="%.12f")
    center = "--center=10.9,20.8,44" + (";60,3,4" if several else "")
    done = command("expand", "p.h5", "e.h5", "--operators_file=ops.txt", center)
    assert done.returncode == 0
    assert "10.000,20.000,44.000" in done.stderr
    assert ("give --center=" in done.stderr) != several


# The rest of a set's life


def test_select_export_collapse_and_back(columns, tmp_path, go):
    go("expand", "p.h5", "e.h5", "--symmetry=D3", CENTERS, "--align")
    go("select", "e.h5", "one.h5", "--centers=1")
    go("verify", "one.h5")
    *_, number, _ = rows_of("one.h5")
    assert set(number.tolist()) == {6, 7, 8, 9, 10, 11}
    go("select", "e.h5", "two.h5", "--operators=3")
    assert set(rows_of("two.h5")[3].tolist()) == {3, 9, 15}
    for suffix in ("star", "cs"):
        go("export", "e.h5", f"a.{suffix}")
        go("expand", "p.h5", f"b.{suffix}", "--symmetry=D3", CENTERS, "--align")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
        go("collapse", f"a.{suffix}", f"c{suffix}.h5", "--expanded=e.h5")
        with h5py.File(f"c{suffix}.h5") as file:
            assert np.array_equal(file["particles"][POSE][()], columns[POSE])
            assert np.array_equal(file["particles"][SHIFT][()], columns[SHIFT])
            assert file["particles/copies"][()].tolist() == [18] * 12


OTHER = "--center=11.5,-20.25,60;0,33,-8.5;40,2,0.25"


@pytest.mark.parametrize(
    "flags", [("--center=1,2,3",), (OTHER,), (CENTERS,), (CENTERS, "--align_axis=1,2,3")]
)
def test_poses_go_between_sets_about_the_same_centers_alone(flags, tmp_path, go, command):
    go("expand", "p.h5", "a.h5", "--symmetry=D3", CENTERS, "--align")
    go("expand", "p.h5", "b.h5", "--symmetry=D3", *flags)
    done = command("transfer", "a.h5", "b.h5", "x.h5")
    assert done.returncode == 1
    assert "is not expanded by the operators of a.h5, about the same centers" in done.stderr
    assert not (tmp_path / "x.h5").exists()
    go("expand", "p.h5", "b.h5", "--symmetry=D3", CENTERS, "--align", "--overwrite")
    go("transfer", "a.h5", "b.h5", "x.h5")


def best_of(path):
    """Operators of best copies, and their shifts."""
    with h5py.File(path) as file:
        return file["particles/operator_index"][()], file["particles"][SHIFT][()]


@pytest.mark.parametrize("align", [[], ["--align"], ["--align_axis=1,2,3"]])
def test_the_best_copy_of_a_dataset_is_told_also_where_turns_are_alike(align, tmp_path, rng, go):
    """Operator 0 keeps the particle's id, and mates at other centers have the same rotation."""
    go("expand", "p.h5", "e.h5", "--symmetry=D3", CENTERS, *align)
    go("export", "e.h5", "e.cs")
    rows = np.load("e.cs")
    best = np.array([0, 6, 12, 1, 7, 17, 0, 0, 3, 11, 5, 8])
    rows["ctf/df1_A"] = rng.uniform(0, 1, len(rows))
    rows["ctf/df1_A"][np.arange(12) * 18 + best] = 2
    rows["alignments3D/pose"] += rng.normal(0, 0.02, (len(rows), 3))  # as a refinement does
    np.save("r.npy", rows)
    shutil.move("r.npy", "r.cs")
    go("collapse", "r.cs", "best.h5", "--expanded=e.h5", "--by=ctf/df1_A")
    operator, shift = best_of("best.h5")
    assert operator.tolist() == best.tolist()
    assert np.array_equal(shift, rows["alignments3D/shift"][np.arange(12) * 18 + best])


def test_best_copies_that_stand_elsewhere_are_told(tmp_path, go, command, rng):
    """Rows of another expansion by the same operators, or of images that were cut anew."""
    columns = particles(rng, 12)
    columns["rlnMaxValueProbDistribution"] = [f"{each:.4f}" for each in rng.uniform(size=12)]
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", "--symmetry=D3", CENTERS)
    go("expand", "p.star", "o.h5", "--symmetry=D3", CENTERS.replace("60.0", "35.0"))
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())
    by = ("--by=rlnMaxValueProbDistribution", "--overwrite")
    told = "from where {}.h5 puts them"
    done = command("collapse", "e.star", "best.h5", "--expanded=e.h5", *by)
    assert (done.returncode, "puts them" in done.stderr) == (0, False)
    done = command("collapse", "e.star", "best.h5", "--expanded=o.h5", *by)
    assert (done.returncode, told.format("o") in done.stderr) == (0, True)
    for label in ("rlnOriginXAngst", "rlnOriginYAngst"):
        words = found[label]  # moved as by a local refinement
        found[label] = [
            f"{float(word) + by_A:.6f}"
            for word, by_A in zip(words, rng.normal(0, 2, len(words)), strict=True)
        ]
    (tmp_path / "r.star").write_text(star_text(found))
    done = command("collapse", "r.star", "best.h5", "--expanded=e.h5", *by)
    assert (done.returncode, "puts them" in done.stderr) == (0, False)
    for label in ("rlnOriginXAngst", "rlnOriginYAngst"):
        found[label] = ["0.2"] * len(found[label])
    (tmp_path / "r.star").write_text(star_text(found))
    done = command("collapse", "r.star", "best.h5", "--expanded=e.h5", *by)
    assert (done.returncode, told.format("e") in done.stderr) == (0, True)
    done = command("collapse", "r.star", "count.h5", "--expanded=e.h5")
    assert (done.returncode, "puts them" in done.stderr) == (0, False)


def test_selected_rows_are_told_among_their_own_operators(tmp_path, rng, go, command):
    """Of a .star without our labels the poses tell, which are alike at all centers."""
    (tmp_path / "p.star").write_text(star_text(particles(rng, 12)))
    go("expand", "p.star", "e.h5", "--symmetry=D3", CENTERS)
    for center in (0, 2):
        go("select", "e.h5", "one.h5", f"--centers={center}", "--overwrite")
        go("export", "one.h5", "one.star", "--overwrite")
        found = read_star((tmp_path / "one.star").read_text())
        del found["symexpSource"], found["symexpOperator"]
        score = rng.permutation(len(found["rlnImageName"]))
        found["rlnMaxValueProbDistribution"] = [str(each) for each in score]
        (tmp_path / "back.star").write_text(star_text(found))
        words = ("collapse", "back.star", "best.h5", "--by=rlnMaxValueProbDistribution")
        go(*words, "--expanded=one.h5", "--overwrite")
        best = score.reshape(12, 6).argmax(axis=1)
        assert best_of("best.h5")[0].tolist() == (best + 6 * center).tolist()
        done = command(*words, "--expanded=e.h5", "--overwrite")
        assert done.returncode == 1
        assert "turn it alike" in done.stderr
        assert "select the rows of one center" in done.stderr


def test_the_view_is_that_of_the_own_center(columns, tmp_path, go):
    for align in ([], ["--align"]):
        go("expand", "p.h5", "e.h5", "--symmetry=D3", CENTERS, *align, "--overwrite")
        go("select", "e.h5", "v.h5", "--view=20-70", "--overwrite")
        with h5py.File("e.h5") as file:
            rotations = [naive.from_quaternion(q) for q in file["operators/quaternion"][()]]
        *_, index, number, _ = rows_of("e.h5")
        wanted = []
        for i, k in zip(index, number, strict=True):
            c = CENTERS_A[k // 6]
            seen = naive.exp(columns[POSE][i]).T @ rotations[k] @ c
            angle_deg = np.degrees(np.arccos(seen[2] / np.linalg.norm(c)))
            if 20 <= angle_deg <= 70:
                wanted.append((i, k))
        *_, i, k, _ = rows_of("v.h5")
        assert wanted
        assert list(zip(i.tolist(), k.tolist(), strict=True)) == wanted


def test_motions_and_arrangements_are_of_one_center(tmp_path, go, command):
    go("expand", "p.h5", "e.h5", "--symmetry=D3", CENTERS)
    done = command("match", "e.h5")
    assert done.returncode == 1
    assert "has copies about 3 centers" in done.stderr
    with h5py.File("e.h5", "r+") as file:
        number = file["particles/operator_index"][()]
        file["particles/class"] = (number % 3 == 0).astype(np.uint32)
    done = command("arrange", "e.h5", "--by=class")
    assert done.returncode == 2
    assert "has labels about 3 centers" in done.stderr
    go("select", "e.h5", "one.h5", "--centers=2")
    shown = go("match", "one.h5")
    assert "D3" in shown
    assert "note: motions are counted from copy 12, the first about its center\n" in shown
    assert "helix" not in shown
    found = json.loads(go("arrange", "one.h5", "--by=class", "--json"))
    assert found["sites"] == 6
    assert [(each["pattern"], each["particles"]) for each in found["arrangements"]] == [
        (found["arrangements"][0]["pattern"], 12)
    ]


def exchange(group, name, one, other):
    """Exchange what six operators say with what six others say."""
    first, second = group[name][one : one + 6], group[name][other : other + 6]
    group[name][one : one + 6], group[name][other : other + 6] = second, first


@pytest.mark.parametrize(
    "damage",
    [
        lambda ops: ops["center_A"].__setitem__((2, 1), 5.0),
        lambda ops: ops["turn"].__setitem__((2, 1), 0.5),
        lambda ops: ops["turn"].__setitem__(slice(0, 6), (1.0, 0, 0, 0)),
        lambda ops: ops["turn"].__setitem__(slice(0, 6), (0.6, 0, 0, 0.8)),
        lambda ops: ops["turn"].__setitem__(slice(0, 6), (2.0, 0, 0, 0)),
        lambda ops: ops["center_index"].__setitem__(0, 1),
        lambda ops: ops.attrs.__setitem__("n_centers", 2),
        lambda ops: ops.attrs.__setitem__("n_centers", 0),
        lambda ops: ops.attrs.__delitem__("n_centers"),
        lambda ops: ops.__delitem__("turn"),
        lambda ops: ops["center_A"].__setitem__(slice(6, 12), (1.0, 2.0, 3.0)),
        lambda ops: ops["center_A"].attrs.__setitem__("units", "px"),
        lambda ops: ops.file.attrs.__setitem__("format_version", 1),
        lambda ops: ops.attrs.__setitem__("n_centers", 3.7),
        lambda ops: ops.attrs.__setitem__("n_centers", "3"),
        lambda ops: ops.attrs.__setitem__("n_centers", [3]),
        lambda ops: ops.attrs.__setitem__("center_A", (1.0, 2.0, 3.0)),
        lambda ops: ops["label"].__setitem__(0, b"E"),
        lambda ops: ops["full_index"].__setitem__(slice(0, 2), (1, 0)),
        lambda ops: ops["quaternion"].__setitem__(1, ops["quaternion"][0]),
        lambda ops: ops["translation_A"].__setitem__((1, 0), 1e-3),
        lambda ops: ops.attrs.__setitem__("full_order", 36),
        lambda ops: ops.create_dataset("subgroup", data=np.array([0, 6, 12], np.uint16)),
        lambda ops: exchange(ops, "center_A", 0, 6),
        lambda ops: exchange(ops, "turn", 0, 6),
    ],
)
def test_verify_finds_what_was_changed(damage, tmp_path, go, command):
    go("expand", "p.h5", "e.h5", "--symmetry=D3", CENTERS, "--align")
    with h5py.File("e.h5", "r+") as file:
        damage(file["operators"])
    assert command("verify", "e.h5").returncode == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("center", "mask:secret.mrc"),
        ("center", "secret.cmm"),
        ("center", [[[1, 2, 3]]]),
        ("center", {"a": 1}),
        ("center", [[1e308] * 3] * 3),
        ("center", None),
        ("length", 5),
        ("length", ["a"]),
        ("length", [5.0]),
        ("length", {"a": 1}),
        ("align", False),
        ("align", "yes"),
        ("align_axis", "z"),
        ("align_axis", [1, 2, 3]),
        ("unique", "yes"),
        ("operators", [0]),
        ("origin", [1, 2, 3]),
    ],
)
def test_a_changed_job_is_found_and_leads_to_no_other_file(name, value, tmp_path, go, monkeypatch):
    go("expand", "p.h5", "e.h5", "--symmetry=D3", CENTERS, "--align")
    with h5py.File("e.h5", "r+") as file:
        record = json.loads(file.attrs["provenance"])
        record["parameters"][name] = value
        file.attrs["provenance"] = json.dumps(record)
    for reader in ("markers", "center_of_mass"):  # which read files
        monkeypatch.setattr(center_files, reader, None)
    assert not numba_symexp.verify("e.h5").passed


def test_python_takes_centers_in_any_form(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    markers(tmp_path / "m.cmm", [(0, 0, 0), *CENTERS_A.tolist()])
    forms = [CENTERS_A, CENTERS_A.tolist(), CENTERS.removeprefix("--center="), "m.cmm"]
    shifts = []
    for k, center in enumerate(forms):
        expand("p.h5", f"{k}.h5", symmetry="D3", center=center, length=[50, 60, 70])
        shifts.append(rows_of(f"{k}.h5")[1])
    assert all(np.array_equal(shifts[0], each) for each in shifts[1:])
    voxels = CENTERS_A / 1.25 + 64
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expand("p.h5", "a.h5", symmetry="D3", center=CENTERS_A, psize=1.25)
        expand("p.h5", "b.h5", symmetry="D3", center_px=voxels, box_px=128, psize=1.25)
    assert np.allclose(rows_of("a.h5")[1], rows_of("b.h5")[1], atol=1e-5)
    with pytest.raises(numba_symexp.SymexpError, match="length"):
        expand("p.h5", "c.h5", symmetry="D3", center=CENTERS_A, length="long")
    listed = list_operators("D3", center=tuple(map(tuple, CENTERS_A.tolist())))
    assert [each.label for each in listed.operators[:7:6]] == ["E @0", "E @1"]
    assert np.allclose(listed.operators[6].center_A, CENTERS_A[1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"center": 5}, "center=5 is a int"),
        ({"center": True}, "center=True is a bool"),
        ({"center": np.array(5.0)}, "center=5.0 is a ndarray"),
        ({"center": {"x": 1}}, "center={'x': 1} is a dict"),
        ({"center": (part for part in (1, 2, 3))}, "is a generator"),
        ({"center_px": 5, "box_px": 64}, "center_px=5 is a int"),
        ({"center_px": "m.cmm", "box_px": 64}, "center_px=m.cmm is a str"),
        ({"center_px": pathlib.Path("m.cmm"), "box_px": 64}, "center_px=m.cmm is a PosixPath"),
        ({"center": "1,2,3;4,5,6;"}, "center=1,2,3;4,5,6; has an empty point"),
        ({"center": "m.cmm;"}, "center=m.cmm; has an empty point"),
        ({"symmetry": point_group("D3").about(CENTERS_A[0])}, "has centers of its own"),
        (
            {"symmetry": point_group("D3").about(CENTERS_A), "center": (1, 2, 3)},
            "has centers of its own",
        ),
    ],
)
def test_other_things_than_points_are_refused(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    markers(tmp_path / "m.cmm", [(0, 0, 0), (1, 2, 3)])
    with pytest.raises(numba_symexp.SymexpError) as error:
        expand("p.h5", "c.h5", **{"symmetry": "D3", **options})
    assert words in str(error.value)
    assert not (tmp_path / "c.h5").exists()


def test_a_path_names_markers_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    markers(tmp_path / "m.cmm", [(0, 0, 0), (1, 2, 30)])
    expand("p.h5", "e.h5", symmetry="D3", center=tmp_path / "m.cmm")
    assert centers_of("e.h5").tolist() == [[1, 2, 30]]
    listed = list_operators("D3", center=tmp_path / "m.cmm")
    assert listed.operators[0].center_A == (1, 2, 30)
    assert point_group("D3").about([1, 2, 30]).centers_A.tolist() == [[1, 2, 30]]


@pytest.mark.parametrize(
    "options",
    [
        {"length": "100"},
        {"length": np.float32(100)},
        {"length": [100]},
        {"length": 100, "operators": "0-2"},
        {"length": 100, "convention": None, "origin": None},
    ],
)
def test_operators_are_listed_by_options_in_any_form(options):
    listed = list_operators("D3", center="0,3,4", **options)
    assert np.allclose(listed.operators[0].center_A, (0, 60, 80))
    assert len(listed.operators) == (3 if "operators" in options else 6)
    assert list_operators("D3", center="0,3,4", length=None).operators[0].center_A == (0, 3, 4)


def test_what_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    """The corner of a map is no point without the map, and products are about one center."""
    monkeypatch.chdir(tmp_path)
    markers(tmp_path / "m.cmm", [(0, 0, 0), (1, 2, 30)])
    with pytest.raises(numba_symexp.SymexpError, match="origin=corner"):
        list_operators("D3", center="m.cmm", origin="corner")
    for further in ({}, {"unique": True}, {"modulo": "C3"}):
        with pytest.raises(numba_symexp.SymexpError, match="tables=True is about one center"):
            list_operators("D3", center="1,2,3;0,0,30", tables=True, **further)


def test_arrays_are_expanded_about_several_centers(columns, tmp_path, go):
    go("expand", "p.h5", "e.h5", "--symmetry=D3", CENTERS)
    operators = point_group("D3").about(CENTERS_A)
    pose, shift = expand_poses(columns[POSE], columns[SHIFT], operators, columns[PSIZE])
    found = rows_of("e.h5")
    assert np.array_equal(pose, found[0])
    assert np.array_equal(shift, found[1])


@pytest.mark.slow
@compiled_only
def test_workers_make_the_same_bytes(tmp_path, program):
    markers(tmp_path / "m.cmm", [(0, 0, 0), *CENTERS_A.tolist()])
    flags = ("--symmetry=D3", "--center=m.cmm", "--align")
    assert program("expand", "p.h5", "a.h5", *flags).returncode == 0
    done = program("expand", "p.h5", "b.h5", *flags, "--dask=local", "--workers=1")
    assert done.returncode == 0, done.stderr
    for one, other in zip(rows_of(tmp_path / "a.h5"), rows_of(tmp_path / "b.h5"), strict=True):
        assert np.array_equal(one, other)
