"""Our .star against RELION's own programs: one expands the same file, another reads ours.

Ours is made on the command line: import, expand, export.
"""

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from naive import angle_rad, euler_zyz
from particle_files import expand_to_star, needs, read_rows, run, with_columns, write_cs
from relion_peer import (
    CASES,
    COLUMNS,
    PROGRAM,
    TEXT_A,
    make_particles,
    relion_version,
    star_text,
)

CASE = {str(case): case for case in CASES}
READER = "relion_star_handler"

FLOAT32_DEG, FLOAT32_A = 1e-4, 1e-4
"""What CryoSPARC's poses and shifts, in float32, add to RELION's text."""

OWN = ("symexpSource", "symexpOperator")
"""Labels that say whose copy a row is, and by which operator."""


def flags_of(case):
    """A case on our command line; that it is RELION's convention, the table says itself."""
    flags = [] if case.convention == "relion" else [f"--convention={case.convention}"]
    if case.symmetry:
        return [f"--symmetry={case.symmetry}", *flags]
    return [f"--twist={case.twist}", f"--rise={case.rise}", f"--order={case.order}"]


def write_star(path, particles):
    """Write a file of RELION 3.1 whose other columns differ from particle to particle.

    Their words are as RELION writes them.
    """
    numbers = range(1, len(particles) + 1)
    columns = {
        "rlnMicrographName": [f"MotionCorr/job002/mic_{n % 3}.mrc" for n in numbers],
        "rlnCoordinateX": [f"{100.5 + n:.6f}" for n in numbers],
        "rlnDefocusU": [f"{15000 + 37.123456 * n:.6f}" for n in numbers],
        "rlnDefocusAngle": [f"{-3.75 * n:.5f}" for n in numbers],
        "rlnRandomSubset": [1 + n % 2 for n in numbers],
        "rlnHelicalTubeID": [1 + n // 4 for n in numbers],
        "rlnHelicalTrackLengthAngst": [f"{27.3 * n:.6f}" for n in numbers],
        "unknownToRelion": [f"word_{n}" for n in numbers],
    }
    path.write_text(with_columns(star_text(particles), "particles", columns))


def write_old_star(path, particles):
    """Write a file of RELION 3.0: no optics, origins in pixels, of 1.25 and of 1.5 A."""
    labels = (
        *("rlnVoltage", "rlnSphericalAberration", "rlnDetectorPixelSize", "rlnMagnification"),
        *("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginX", "rlnOriginY"),
        *("rlnImageName", "rlnMicrographName"),
    )
    lines = [f"_{label} #{place}" for place, label in enumerate(labels, start=1)]
    for number, row in enumerate(particles, start=1):
        magnification = 40_000 if number % 2 else 33_333.333333
        pose = " ".join(f"{value:.6f}" for value in row)
        lines.append(f"300 2.7 5 {magnification} {pose} {number:06d}@particles.mrcs mic.mrc")
    path.write_text("\n".join(["", "data_", "", "loop_", *lines, ""]))


def expand_with_relion(folder, case):
    """RELION's own rows."""
    run(folder, PROGRAM, "--i", "particles.star", "--o", "theirs.star", *case.arguments)
    return read_rows(folder / "theirs.star")


def read_by_relion(folder, name):
    """Rows of a .star as RELION reads them, and writes them again."""
    run(folder, READER, "--i", name, "--o", f"read_{name}", "--select", "rlnOpticsGroup")
    return read_rows(folder / f"read_{name}")


def by_image(rows):
    """Rows of each particle."""
    found = defaultdict(list)
    for row in rows:
        found[row["rlnImageName"]].append(row)
    return found


def poses_of(rows):
    """A, map -> image, and origin in A."""
    numbers = [[float(row[label]) for label in COLUMNS] for row in rows]
    return [euler_zyz(*row[:3]).T for row in numbers], np.array(numbers)[:, 3:]


def others_of(row):
    """All words but those of the pose, and those that RELION's program does not write."""
    return {label: word for label, word in row.items() if label not in (*COLUMNS, *OWN)}


def is_same(word, other):
    """Whether two words are equal, or one number to what RELION writes of it."""
    return word == other or math.isclose(float(word), float(other), rel_tol=1e-6, abs_tol=TEXT_A)


def nearest_mates(ours, theirs, tolerance_deg, tolerance_A):
    """For each row of one particle by RELION, the nearest of ours: another one, and near enough."""
    (our_rotations, our_origins), (rotations, origins) = poses_of(ours), poses_of(theirs)
    angle = np.rad2deg([[angle_rad(a, b) for a in our_rotations] for b in rotations])
    distance = np.linalg.norm(origins[:, None] - our_origins, axis=2)
    nearest = np.argmin(angle / tolerance_deg + distance / tolerance_A, axis=1)
    assert sorted(nearest) == list(range(len(ours)))
    assert np.take_along_axis(angle, nearest[:, None], axis=1).max() <= tolerance_deg
    assert np.take_along_axis(distance, nearest[:, None], axis=1).max() <= tolerance_A
    return [ours[place] for place in nearest]


def in_pairs(ours, theirs, case, tolerance_A=TEXT_A):
    """Pairs of the same mate of the same particle: our row and RELION's."""
    ours, theirs = by_image(ours), by_image(theirs)
    assert len(theirs) == case.particles
    assert list(ours) == list(theirs)
    return [
        pair
        for image, mates in theirs.items()
        for pair in zip(
            nearest_mates(ours[image], mates, case.tolerance_deg, tolerance_A), mates, strict=True
        )
    ]


def assert_same_rows(*sets):
    """The same particles in the same order, with the same mates and the same other columns."""
    for row, other in in_pairs(*sets):
        assert others_of(row) == others_of(other)


@needs(PROGRAM)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_rows_as_relion(case, program, tmp_path):
    write_star(tmp_path / "particles.star", make_particles(case.particles))
    expand_to_star(program, "particles.star", "ours.star", *flags_of(case))
    theirs = expand_with_relion(tmp_path, case)
    assert_same_rows(read_rows(tmp_path / "ours.star"), theirs, case)


@needs(PROGRAM, READER)
@pytest.mark.parametrize("name", ["D7", "helix+27.3"])
def test_same_rows_as_relion_from_a_file_of_relion_3_0(name, program, tmp_path):
    case = CASE[name]
    write_old_star(tmp_path / "particles.star", make_particles(case.particles))
    expand_to_star(program, "particles.star", "ours.star", *flags_of(case))
    theirs = expand_with_relion(tmp_path, case)
    ours = read_by_relion(tmp_path, "ours.star")
    twice_rounded = replace(case, tolerance_deg=2 * case.tolerance_deg)
    assert_same_rows(ours, theirs, twice_rounded, 2 * TEXT_A)


@needs(PROGRAM, READER)
@pytest.mark.parametrize("name", ["D7", "helix+27.3"])
def test_same_poses_as_relion_from_a_file_of_cryosparc(name, program, tmp_path):
    case = CASE[name]
    particles = make_particles(case.particles)
    write_star(tmp_path / "particles.star", particles)
    write_cs(tmp_path / "particles.cs", particles, range(20), 48, 1.5, "particles.mrc")
    flags = [*flags_of(case), *(["--convention=relion"] if case.symmetry else [])]
    expand_to_star(program, "particles.cs", "ours.star", *flags)
    theirs = expand_with_relion(tmp_path, case)
    ours = read_by_relion(tmp_path, "ours.star")
    in_float32 = replace(case, tolerance_deg=FLOAT32_DEG)
    assert in_pairs(ours, theirs, in_float32, FLOAT32_A)


@needs(PROGRAM)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("D7", {"convention": "cryosparc"}),
        ("I2", {"symmetry": "I1"}),
        ("helix+27.3", {"rise": -4.75}),
    ],
)
def test_other_symmetries_give_other_rows(name, change, program, tmp_path):
    case = replace(CASE[name], particles=4)
    write_star(tmp_path / "particles.star", make_particles(case.particles))
    expand_to_star(program, "particles.star", "ours.star", *flags_of(replace(case, **change)))
    theirs = expand_with_relion(tmp_path, case)
    with pytest.raises(AssertionError):
        assert_same_rows(read_rows(tmp_path / "ours.star"), theirs, case)


@needs(READER)
@pytest.mark.parametrize("source", ["particles.star", "particles.cs"])
def test_relion_reads_every_row(source, program, tmp_path):
    particles = make_particles(20)
    write_star(tmp_path / "particles.star", particles)
    write_cs(tmp_path / "particles.cs", particles, range(20), 48, 1.5, "J1/particles.mrc")
    expand_to_star(program, source, "ours.star", "--symmetry=D7", "--convention=relion")
    written, read = read_rows(tmp_path / "ours.star"), read_by_relion(tmp_path, "ours.star")
    assert len(written) == 20 * 14
    for row, other in zip(written, read, strict=True):
        assert row.keys() == other.keys()
        assert all(is_same(word, other[label]) for label, word in row.items())


@needs(READER)
def test_relion_reads_what_cryosparc_says_of_each_image(program, tmp_path):
    write_cs(tmp_path / "particles.cs", make_particles(20), range(20), 48, 1.5, "particles.mrc")
    expand_to_star(program, "particles.cs", "ours.star", "--symmetry=C2")
    for number, rows in enumerate(by_image(read_by_relion(tmp_path, "ours.star")).values()):
        assert [row["rlnImageName"] for row in rows] == 2 * [f"{number + 1:06d}@particles.mrcs"]
        assert {int(row["rlnRandomSubset"]) for row in rows} == {1 + number % 2}
        assert {int(row["rlnOpticsGroup"]) for row in rows} == {1 + number % 2}
        for row in rows:
            defocus = [float(row[f"rlnDefocus{name}"]) for name in ("U", "V", "Angle")]
            angle_deg = np.rad2deg(0.1 * number - 1.5)
            assert defocus == pytest.approx([15000 + 10.5 * number, 14000, angle_deg], abs=1e-4)


@needs(PROGRAM, READER)
@pytest.mark.parametrize("label", ["rlnImagePixelSize", "rlnVoltage", "rlnSphericalAberration"])
def test_relion_refuses_incomplete_optics(label, tmp_path):
    if "3.1" not in relion_version():
        pytest.skip("known of RELION 3.1 only")
    write_star(tmp_path / "particles.star", make_particles(4))
    assert len(read_by_relion(tmp_path, "particles.star")) == 4
    whole = (tmp_path / "particles.star").read_text()
    (tmp_path / "lacking.star").write_text(whole.replace(label, "unknownToRelion"))
    with pytest.raises(AssertionError):
        read_by_relion(tmp_path, "lacking.star")
