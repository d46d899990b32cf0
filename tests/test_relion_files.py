"""Particle files that RELION's own programs read, and rows that they write the same.

The .star of RELION 3.1 goes through import, expand and export, and through RELION's own expansion.
"""

from collections import defaultdict

import numpy as np
import pytest
from naive import angle_rad, euler_zyz
from particle_files import (
    expand_to_star,
    needs,
    read_rows,
    run,
    with_columns,
    write_cs,
)
from relion_peer import CASES, COLUMNS, PROGRAM, TEXT_A, TEXT_DEG, make_particles, star_text

CASE = {str(case): case for case in CASES}
STAR_HANDLER = "relion_star_handler"
TEXT_RELATIVE = 1e-6
"""Of other numbers RELION keeps 7 digits or more."""


def flags_of(case):
    """A case on our command line; the convention is the table's."""
    if case.symmetry:
        return [f"--symmetry={case.symmetry}"]
    return [f"--twist={case.twist}", f"--rise={case.rise}", f"--order={case.order}"]


def other_columns(count):
    """Columns that no expansion changes, in RELION's own writing, different for each particle."""
    numbers = range(1, count + 1)
    return {
        "rlnMicrographName": [f"MotionCorr/job002/mic_{n % 3}.mrc" for n in numbers],
        "rlnCoordinateX": [f"{100.5 + n:.6f}" for n in numbers],
        "rlnDefocusU": [f"{15000 + 37.123456 * n:.6f}" for n in numbers],
        "rlnDefocusAngle": [f"{-3.75 * n:.5f}" for n in numbers],
        "rlnRandomSubset": [1 + n % 2 for n in numbers],
        "rlnHelicalTubeID": [1 + n // 4 for n in numbers],
        "rlnHelicalTrackLengthAngst": [f"{27.3 * n:.6f}" for n in numbers],
        "ofNoProgram": [f"word_{n}" for n in numbers],
    }


def write_star(path, particles):
    """A particle file with more columns than poses and images."""
    columns = other_columns(len(particles))
    path.write_text(with_columns(star_text(particles), "particles", columns))


def expand_both(case, program, folder, *flags):
    """Rows by us and by RELION, from one file."""
    write_star(folder / "particles.star", make_particles(case.particles))
    expand_to_star(program, "particles.star", "ours.star", *flags_of(case), *flags)
    run(folder, PROGRAM, "--i", "particles.star", "--o", "theirs.star", *case.arguments)
    return read_rows(folder / "ours.star"), read_rows(folder / "theirs.star")


def by_image(rows):
    """Rows of each particle."""
    found = defaultdict(list)
    for row in rows:
        found[row["rlnImageName"]].append(row)
    return found


def pose_of(row):
    """A, map -> image, and origin in A."""
    *angles, x, y = (float(row[label]) for label in COLUMNS)
    return euler_zyz(*angles).T, np.array([x, y])


def others_of(row):
    """All words but those of the pose."""
    return {label: word for label, word in row.items() if label not in COLUMNS}


def assert_same_mates(ours, theirs, tolerance_deg):
    """Nearest to each row of one particle is another one of RELION's, equal in all columns."""
    assert len(ours) == len(theirs)
    pairs = [[(pose_of(one), pose_of(other)) for other in theirs] for one in ours]
    angle = np.array([[np.rad2deg(angle_rad(a[0], b[0])) for a, b in line] for line in pairs])
    distance = np.array([[np.linalg.norm(a[1] - b[1]) for a, b in line] for line in pairs])
    nearest = np.argmin(angle / tolerance_deg + distance / TEXT_A, axis=1)
    assert sorted(nearest) == list(range(len(theirs)))
    assert np.take_along_axis(angle, nearest[:, None], axis=1).max() <= tolerance_deg
    assert np.take_along_axis(distance, nearest[:, None], axis=1).max() <= TEXT_A
    for row, place in zip(ours, nearest, strict=True):
        assert others_of(row) == others_of(theirs[place])


def assert_same_rows(ours, theirs, particles, tolerance_deg):
    """The same particles, with the same mates each."""
    ours, theirs = by_image(ours), by_image(theirs)
    assert len(theirs) == particles
    assert list(ours) == list(theirs)
    for image, mates in theirs.items():
        assert_same_mates(ours[image], mates, tolerance_deg)


@needs(PROGRAM)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_rows_as_relion(case, program, tmp_path):
    ours, theirs = expand_both(case, program, tmp_path)
    assert_same_rows(ours, theirs, case.particles, case.tolerance_deg)


@needs(PROGRAM)
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("D7", ["--convention=cryosparc"]),
        ("I2", ["--symmetry=I1"]),
        ("helix+27.3", ["--twist=-27.3"]),
        ("helix+27.3", ["--rise=-4.75"]),
    ],
)
def test_another_symmetry_gives_other_rows(name, flags, program, tmp_path):
    case = CASE[name]
    replaced = [flag.partition("=")[0] for flag in flags]
    ours, theirs = None, None
    write_star(tmp_path / "particles.star", make_particles(4))
    right = [flag for flag in flags_of(case) if flag.partition("=")[0] not in replaced]
    expand_to_star(program, "particles.star", "ours.star", *right, *flags)
    run(tmp_path, PROGRAM, "--i", "particles.star", "--o", "theirs.star", *case.arguments)
    ours, theirs = read_rows(tmp_path / "ours.star"), read_rows(tmp_path / "theirs.star")
    with pytest.raises(AssertionError):
        assert_same_rows(ours, theirs, 4, case.tolerance_deg)
