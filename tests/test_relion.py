"""Our mates are those of RELION's own program, as sets of (rotation A, origin in A).

``live`` runs the program where it is installed; ``recorded`` takes the answers on record.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from inside import SymmetryRequest
from naive import euler_zyz, exp
from relion_peer import CASES, PROGRAM, PSIZE_A, TEXT_A, expand_with_relion, make_particles

import numba_symexp

pytestmark = pytest.mark.slow

RECORD = json.loads(Path(__file__).with_name("relion_recorded.json").read_text())
CASE = {str(case): case for case in CASES}


def rotation_vector(rotation):
    """Axis (the symmetric part's eigenvector to 1) times angle; half turns are no exception."""
    axis = np.linalg.eigh(rotation + rotation.T)[1][:, -1]
    twice_sine = axis @ (rotation.T - rotation)[[1, 2, 0], [2, 0, 1]]
    return axis * np.arctan2(twice_sine, np.trace(rotation) - 1)


def rotations(poses, matrix_of):
    """A of each pose, map -> image."""
    return np.array([matrix_of(pose).T for pose in poses])


def by_arrays(case, particles, folder):
    """A and origin of each mate, by `expand_poses` from rotation vectors."""
    operators = SymmetryRequest(
        symmetry=case.symmetry,
        convention=case.convention,
        twist=case.twist,
        rise=case.rise,
        order=case.order,
    ).full()
    poses = np.array([rotation_vector(euler_zyz(*row[:3])) for row in particles])
    poses, shifts = numba_symexp.expand_poses(
        poses, particles[:, 3:] / PSIZE_A, operators, psize=PSIZE_A
    )
    return rotations(poses, exp), shifts * PSIZE_A


def by_file(case, particles, folder):
    """A and origin of each mate, by `expand` from a table of Euler angles."""
    source, output = str(folder / "particles.h5"), str(folder / "expanded.h5")
    with h5py.File(source, "w") as file:
        table = file.create_group("particles/alignments3D")
        table["pose"], table["shift"] = particles[:, :3], particles[:, 3:] / PSIZE_A
        table["psize_A"] = np.full(len(particles), PSIZE_A)
        table["split"] = np.arange(len(particles), dtype=np.uint32) % 2
    numba_symexp.expand(
        source,
        output,
        symmetry=case.symmetry,
        convention=case.convention,
        twist=case.twist,
        rise=case.rise,
        order=case.order,
        pose_format="euler_zyz",
    )
    with numba_symexp.open_expanded(output) as expanded:
        poses, shifts = expanded["alignments3D/pose"][:], expanded["alignments3D/shift"][:]
    return rotations(poses, lambda pose: euler_zyz(*pose)), shifts * PSIZE_A


def assert_same_mates(case, route, particles, mates, folder):
    """Nearest to each of RELION's mates is another one of ours, within RELION's precision."""
    found = route(case, np.array(particles), folder)
    sets = (part.reshape(len(mates), -1, *part.shape[1:]) for part in found)
    for rows, rotation, origin in zip(np.array(mates), *sets, strict=True):
        expected = rotations(rows[:, :3], lambda pose: euler_zyz(*pose))
        chord = np.linalg.norm(expected[:, None] - rotation, axis=(2, 3))
        angle = np.rad2deg(2 * np.arcsin(np.minimum(chord / np.sqrt(8), 1)))
        distance = np.linalg.norm(rows[:, None, 3:] - origin, axis=2)
        nearest = np.argmin(angle / case.tolerance_deg + distance / TEXT_A, axis=1)
        assert sorted(nearest) == list(range(len(rotation)))
        assert np.take_along_axis(angle, nearest[:, None], axis=1).max() <= case.tolerance_deg
        assert np.take_along_axis(distance, nearest[:, None], axis=1).max() <= TEXT_A


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM} is not installed")
@pytest.mark.parametrize("route", [by_arrays, by_file])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_live(case, route, tmp_path):
    particles = make_particles(case.particles)
    empty = tmp_path / "relion"
    empty.mkdir()
    mates = expand_with_relion(case, particles, empty)
    assert_same_mates(case, route, particles, mates, tmp_path)


@pytest.mark.parametrize("route", [by_arrays, by_file])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_recorded(case, route, tmp_path):
    record = RECORD[str(case)]
    assert record["arguments"] == case.arguments
    assert_same_mates(case, route, record["particles"], record["mates"], tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("D7", {"convention": "cryosparc"}),
        ("I1", {"symmetry": "I2"}),
        ("I2", {"symmetry": "I1"}),
        ("helix+27.3", {"twist": -27.3}),
        ("helix+27.3", {"rise": -4.75}),
        ("helix-166.7", {"order": 3}),
    ],
)
def test_other_symmetries_have_other_mates(name, change, tmp_path):
    record, other = RECORD[name], replace(CASE[name], **change)
    with pytest.raises(AssertionError):
        assert_same_mates(other, by_arrays, record["particles"], record["mates"], tmp_path)
