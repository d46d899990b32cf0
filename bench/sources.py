"""Particle tables to measure with: random particles, as HDF5 and as a RELION star file."""

import os

import h5py
import numpy as np

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
SPLIT, UID = "alignments3D/split", "uid"

_SEED = 7
_PIXEL_SIZE_A = 1.06
_BLOCK = 250_000
_STAR_COLUMNS = (
    "rlnImageName",
    "rlnAngleRot",
    "rlnAngleTilt",
    "rlnAnglePsi",
    "rlnOriginXAngst",
    "rlnOriginYAngst",
    "rlnRandomSubset",
    "rlnOpticsGroup",
)
_OPTICS = """\
# version 30001

data_optics

loop_
_rlnOpticsGroup
_rlnOpticsGroupName
_rlnImagePixelSize
_rlnVoltage
_rlnSphericalAberration
1 opticsGroup1 1.06 300 2.7

# version 30001

"""
"""RELION 3.1 expands nothing, and does not complain, without voltage and aberration."""

Array = np.ndarray


def table(folder: str, particles: int, dtype: str = "f4", pose_format: str = "rotvec") -> str:
    """Write a particle table, unless the folder has it; return its path.

    Columns: pose, shift, psize_A, uid, split. Poses are uniform over all rotations.
    """
    path = os.path.join(folder, f"particles_{particles}_{dtype}_{pose_format}.h5")
    if os.path.exists(path):
        return path
    random = np.random.default_rng(_SEED)
    width = {"quaternion": (4,), "matrix": (3, 3)}.get(pose_format, (3,))
    with h5py.File(path, "w") as file:
        group = file.create_group("particles")
        group.attrs["convention"] = "cryosparc"
        pose = group.create_dataset(POSE, (particles, *width), dtype)
        shift = group.create_dataset(SHIFT, (particles, 2), dtype)
        for first in range(0, particles, _BLOCK):
            last = min(first + _BLOCK, particles)
            quaternion = _quaternions(random, last - first)
            pose[first:last] = _as_format(quaternion, pose_format)
            shift[first:last] = random.normal(0, 2, (last - first, 2))
        group[PSIZE] = np.full(particles, _PIXEL_SIZE_A, "f4")
        group[UID] = random.integers(1, 2**63, particles, dtype=np.uint64)
        group[SPLIT] = (np.arange(particles) % 2).astype(np.uint32)
    return path


def star(folder: str, particles: int) -> str:
    """Write the same particles (poses and shifts) as a star file; return its path."""
    path = os.path.join(folder, f"particles_{particles}.star")
    with h5py.File(table(folder, particles, "f8", "euler_zyz")) as file:
        angle = file["particles"][POSE][:]
        origin = file["particles"][SHIFT][:] * _PIXEL_SIZE_A
    with open(path, "w", encoding="ascii") as file:
        file.write(_OPTICS + "data_particles\n\nloop_\n")
        file.writelines(f"_{name}\n" for name in _STAR_COLUMNS)
        for i, (a, s) in enumerate(zip(angle.tolist(), origin.tolist(), strict=True)):
            file.write(
                f"{i % 100 + 1:06d}@images.mrcs {a[0]:.6f} {a[1]:.6f} {a[2]:.6f} "
                f"{s[0]:.6f} {s[1]:.6f} {i % 2 + 1} 1\n"
            )
    return path


def _quaternions(random: np.random.Generator, count: int) -> Array:
    """Uniform rotations, (count, 4), scalar first."""
    quaternion = random.normal(size=(count, 4))
    return quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)


def _as_format(quaternion: Array, pose_format: str) -> Array:
    """Poses of quaternions in one of the package's formats."""
    w, x, y, z = quaternion.T
    if pose_format == "quaternion":
        return quaternion
    if pose_format == "rotvec":
        half_angle = np.arccos(quaternion[:, :1])
        return 2 * half_angle / np.sin(half_angle) * quaternion[:, 1:]
    if pose_format == "euler_zyz":
        half_sum, half_difference = np.arctan2(z, w), np.arctan2(-x, y)
        tilt = 2 * np.arctan2(np.hypot(x, y), np.hypot(w, z))
        return np.degrees(
            np.stack((half_sum + half_difference, tilt, half_sum - half_difference), 1)
        )
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, 1) for row in rows], 1)
