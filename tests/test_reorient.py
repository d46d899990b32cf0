"""Particles in another frame of the map: points fall where they fell, and nothing else changes."""

import json

import h5py
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from star_files import floats, particles, read_star, star_text

import numba_symexp

TIGHT = 1e-9


def read(path):
    """All columns of an HDF5 table."""
    found = {}
    with h5py.File(path) as file:
        file["particles"].visititems(
            lambda name, each: found.update({name: each[:]}) if hasattr(each, "dtype") else None
        )
    return found


def images(columns, points_A):
    """Where points of the map fall in each image, px."""
    rows = zip(
        *(columns[f"alignments3D/{name}"] for name in ("pose", "shift", "psize_A")), strict=True
    )
    return np.array([naive.project(naive.exp(v), s, points_A, psize) for v, s, psize in rows])


@pytest.fixture
def double(rng, tmp_path):
    """A table of 20 particles in float64."""
    return write_table(tmp_path / "p.h5", random_columns(rng, 20, np.float64))


@pytest.mark.parametrize(
    "flags",
    [
        ["--from_group=I1", "--to_group=I3"],
        ["--axis=1,2,3", "--to=z"],
        ["--axis=0,0,-1", "--to=z"],
        ["--flip"],
        ["--matrix=0,-1,0,1,0,0,0,0,1"],
        ["--center=12,-7.5,30"],
        ["--from_group=D7", "--to_group=relion:D7", "--center=4,5,6"],
    ],
    ids=lambda flags: flags[0],
)
def test_points_of_the_turned_map_fall_where_they_fell(go, rng, double, flags):
    made = json.loads(go("reorient", double, "turned.h5", *flags, "--json"))
    q, center = np.array(made["matrix"]), np.array(made["center_A"])
    assert np.allclose(q @ q.T, np.eye(3), atol=1e-12)
    points = rng.normal(0, 40, (5, 3))
    before, after = read("p.h5"), read("turned.h5")
    assert np.abs(images(after, (points - center) @ q.T) - images(before, points)).max() < TIGHT
    for name, values in before.items():
        if name not in ("alignments3D/pose", "alignments3D/shift"):
            assert np.array_equal(after[name], values), name
    assert not any(name.startswith("sym_expand") for name in after)


def test_the_turn_and_the_point_are_told(go, double):
    turned = go("reorient", double, "a.h5", "--axis=1,0,0", "--to=z").splitlines()
    assert turned[0] == "the map is turned by 90.0000 deg about (0.0000, -1.0000, 0.0000)"
    moved = go("reorient", double, "b.h5", "--center=12,-7.5,30").splitlines()
    assert moved[0].endswith(", about the point (12, -7.5, 30) A")


@pytest.mark.parametrize(
    ("old", "new", "from_elements", "to_elements"),
    [
        ("I1", "I2", naive.group("I1"), naive.group("I2")),
        ("I2", "I3", naive.group("I2"), naive.group("I3")),
        ("I2", "I4", naive.group("I2"), naive.group("I4")),
        ("I3", "I4", naive.group("I3"), naive.group("I4")),
        ("chimerax:I,n25r", "I1", naive.group("I4"), naive.group("I1")),
        ("cryosparc:D7", "relion:D7", naive.group("D7"), naive.group("D7", "relion")),
        ("D7", "D7", naive.group("D7"), naive.group("D7")),
        ("eman2:icos2", "cistem:I2", naive.group("I1"), naive.group("I2")),
    ],
)
def test_a_rotation_between_groups_takes_every_operator_along(
    go, double, old, new, from_elements, to_elements
):
    flags = (f"--from_group={old}", f"--to_group={new}")
    made = json.loads(go("reorient", double, "turned.h5", *flags, "--json"))
    q = np.array(made["matrix"])
    for element in from_elements:
        turned = q @ element @ q.T
        assert min(np.abs(turned - each).max() for each in to_elements) < TIGHT
    if old == new:
        assert made["angle_deg"] == 0
    if (old, new) == ("I1", "I2"):
        assert np.allclose(np.abs(made["axis"]), (0, 0, 1))
        assert abs(made["angle_deg"] - 90) < TIGHT


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (["--from_group=I2", "--to_group=I4"], ["--from_group=I4", "--to_group=I2"]),
        (["--from_group=I1", "--to_group=I2"], ["--from_group=I2", "--to_group=I1"]),
        (["--from_group=T", "--to_group=scipy:T"], ["--from_group=scipy:T", "--to_group=T"]),
        (
            ["--matrix=0.36,0.48,-0.8,-0.8,0.6,0,0.48,0.64,0.6"],
            ["--matrix=0.36,-0.8,0.48,0.48,0.6,0.64,-0.8,0,0.6"],
        ),
        (["--flip"], ["--flip"]),
    ],
    ids=["I2 I4", "I1 I2", "T", "matrix", "flip"],
)
def test_there_and_back_is_where_it_was(go, double, there, back):
    go("reorient", double, "there.h5", *there)
    go("reorient", "there.h5", "back.h5", *back)
    before, after = read("p.h5"), read("back.h5")
    for one, other in zip(before["alignments3D/pose"], after["alignments3D/pose"], strict=True):
        assert np.abs(naive.exp(one) - naive.exp(other)).max() < 1e-12
    assert np.abs(before["alignments3D/shift"] - after["alignments3D/shift"]).max() < 1e-12


def test_the_smallest_rotation_is_taken_and_opposite_ends_turn_about_x(go, double):
    made = json.loads(go("reorient", double, "a.h5", "--axis=3,0,4", "--to=z", "--json"))
    assert abs(made["angle_deg"] - np.degrees(np.arctan2(3, 4))) < TIGHT
    assert np.allclose(np.array(made["matrix"]) @ (0.6, 0, 0.8), (0, 0, 1), atol=TIGHT)
    made = json.loads(go("reorient", double, "b.h5", "--axis=0,0,-2", "--to=z", "--json"))
    assert np.allclose(made["matrix"], np.diag([1, -1, -1]), atol=TIGHT)
    made = json.loads(go("reorient", double, "c.h5", "--axis=x", "--to=-1,0,0", "--json"))
    assert np.allclose(np.array(made["matrix"]) @ (1, 0, 0), (-1, 0, 0), atol=TIGHT)


def test_a_filament_that_is_turned_round_takes_its_priors_and_its_track_along(go, rng, tmp_path):
    columns = particles(rng, 6)
    columns |= {
        "rlnAngleTiltPrior": ["80.000000"] * 6,
        "rlnAnglePsiPrior": ["45.000000"] * 6,
        "rlnHelicalTrackLengthAngst": [f"{50.5 * k:.6f}" for k in range(6)],
        "rlnHelicalTubeID": ["1"] * 6,
    }
    (tmp_path / "h.star").write_text(star_text(columns))
    go("reorient", "h.star", "f.star", "--flip")
    after = read_star((tmp_path / "f.star").read_text())
    for k in range(6):
        old = naive.euler_zyz(*floats(columns, "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")[k])
        new = naive.euler_zyz(*floats(after, "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")[k])
        # A' = A Q^T, so that exp(v') = Q exp(v)
        assert naive.angle_rad(new, np.diag([1, -1, -1]) @ old) < 1e-7
    assert [float(word) for word in after["rlnAngleTiltPrior"]] == [100.0] * 6
    assert [float(word) for word in after["rlnAnglePsiPrior"]] == [-135.0] * 6
    assert [float(word) for word in after["rlnHelicalTrackLengthAngst"]] == [
        -50.5 * k for k in range(6)
    ]
    same = (
        columns.keys()
        - {"rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnAngleTiltPrior"}
        - {"rlnAnglePsiPrior", "rlnHelicalTrackLengthAngst"}
    )
    for label in same:
        words = [word.strip() for word in columns[label]]
        assert after[label] == words, label
    go("reorient", "h.star", "a.star", "--axis=0,0,-1", "--to=z")  # the same half turn
    assert (tmp_path / "a.star").read_text() == (tmp_path / "f.star").read_text()
    go("reorient", "f.star", "g.star", "--flip")
    twice = read_star((tmp_path / "g.star").read_text())
    assert floats(twice, "rlnHelicalTrackLengthAngst").tolist() == (
        floats(columns, "rlnHelicalTrackLengthAngst").tolist()
    )


def test_poses_of_other_classes_turn_too(go, rng, tmp_path):
    columns = random_columns(rng, 8, np.float64)
    columns["alignments_class_1/pose"] = rng.normal(size=(8, 3))
    columns["alignments_class_1/shift"] = rng.normal(size=(8, 2))
    columns["alignments_class_1/psize_A"] = np.full(8, 2.0)
    write_table(tmp_path / "p.h5", columns)
    made = json.loads(
        go("reorient", "p.h5", "t.h5", "--axis=x", "--to=z", "--center=1,2,3", "--json")
    )
    q, after = np.array(made["matrix"]), read("t.h5")
    points = rng.normal(0, 30, (4, 3))
    names = [f"alignments_class_1/{name}" for name in ("pose", "shift", "psize_A")]
    for k in range(8):
        (v, s, psize), (w, t, _) = ([each[name][k] for name in names] for each in (columns, after))
        one = naive.project(naive.exp(v), s, points, psize)
        other = naive.project(naive.exp(w), t, (points - (1, 2, 3)) @ q.T, psize)
        assert np.abs(one - other).max() < TIGHT


def test_the_convention_follows_the_name_of_the_group(go, double):
    go("reorient", double, "r.h5", "--from_group=cryosparc:D7", "--to_group=relion:D7")
    shown = json.loads(go("inspect", "r.h5", "--json"))
    assert shown["convention"] == "relion"


@pytest.mark.parametrize("form", ["quaternion", "matrix", "euler_zyz"])
def test_other_forms_of_poses_come_out_in_their_form(go, rng, tmp_path, form):
    columns = random_columns(rng, 5, np.float64)
    matrices = np.array([naive.exp(v) for v in columns.pop("alignments3D/pose")])
    if form == "matrix":
        columns["own/pose"] = matrices
    elif form == "quaternion":
        q = rng.normal(size=(5, 4))
        columns["own/pose"] = q / np.linalg.norm(q, axis=1, keepdims=True)
        matrices = np.array([naive.from_quaternion(each) for each in columns["own/pose"]])
    else:
        columns["own/pose"] = rng.uniform((-180, 1, -180), (180, 179, 180), (5, 3))
        matrices = np.array([naive.euler_zyz(*each) for each in columns["own/pose"]])
    write_table(tmp_path / "p.h5", columns)
    flags = ("--pose=own/pose", f"--pose_format={form}", "--axis=1,1,0", "--to=z", "--json")
    q = np.array(json.loads(go("reorient", "p.h5", "t.h5", *flags))["matrix"])
    back = {
        "matrix": lambda pose: pose,
        "quaternion": naive.from_quaternion,
        "euler_zyz": lambda pose: naive.euler_zyz(*pose),
    }[form]
    for old, new in zip(matrices, read("t.h5")["own/pose"], strict=True):
        assert naive.angle_rad(back(new), q @ old) < 1e-7


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "one rotation is needed"),
        (["--flip", "--axis=x", "--to=y"], "one rotation is needed"),
        (["--axis=x"], "--axis goes with --to"),
        (["--to_group=I1"], "--to_group goes with --from_group"),
        (["--from_group=T", "--to_group=D6"], "groups of different kinds"),
        (["--from_group=X", "--to_group=I1"], "is not a point group"),
        (["--axis=0,0,0", "--to=z"], "is no direction"),
        (["--matrix=1,0,0,0,1,0,0,0,-1"], "is a mirror image"),
        (["--matrix=1,0,0,0,1,0,0,0,2"], "is no rotation"),
        (["--matrix=none.txt"], "no such file"),
        (["--matrix=1,0,0"], "has 3 number(s)"),
        (["--matrix=1,0,0,0,1,0,0,0,nan"], "has a NaN"),
        (["--center=1e300,0,0"], "farther than any map"),
        (["--flip", "--psize=2"], "has alignments3D/psize_A"),
        (["--center=1,2"], "is not a point"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(command, tmp_path, double, flags, told):
    done = command("reorient", double, "t.h5", *flags)
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "t.h5").exists()


def test_an_expanded_set_is_refused(go, command, double):
    go("expand", double, "e.h5", "--symmetry=C2")
    done = command("reorient", "e.h5", "t.h5", "--flip")
    assert done.returncode == 1
    assert "reorient the particles" in done.stderr


def test_the_function_says_what_it_did(double, tmp_path):
    made = numba_symexp.reorient(double, tmp_path / "t.cs", axis="y", to="z")
    assert made.particles == 20
    assert len(made.files) == 2
    assert abs(made.angle_deg - 90) < TIGHT


def test_copies_that_are_left_alone_say_no_more_of_the_old_frame(go, rng, tmp_path):
    write_table(tmp_path / "p.h5", random_columns(rng, 6))
    go("expand", "p.h5", "e.cs", "--symmetry=C3")
    go("select", "e.cs", "s.cs", "--one_per_particle")
    go("reorient", "s.cs", "t.cs", "--flip")
    names = np.load(tmp_path / "t.cs").dtype.names
    assert "uid" in names
    assert not any(name.startswith("sym_expand") for name in names)


def test_a_pixel_size_is_given_where_the_table_has_none(go, rng, tmp_path):
    columns = random_columns(rng, 5, np.float64)
    del columns["alignments3D/psize_A"]
    write_table(tmp_path / "p.h5", columns)
    flags = ("--axis=1,2,3", "--to=z", "--center=3,4,5", "--psize=1.7", "--json")
    q = np.array(json.loads(go("reorient", "p.h5", "t.h5", *flags))["matrix"])
    points, after = rng.normal(0, 40, (3, 3)), read("t.h5")
    for table in (columns, after):
        table["alignments3D/psize_A"] = np.full(5, 1.7)
    assert np.abs(images(after, (points - (3, 4, 5)) @ q.T) - images(columns, points)).max() < TIGHT
