"""Particle tables to measure with: random particles, as HDF5, RELION's .star, CryoSPARC's .cs."""

import os
from collections.abc import Iterable, Iterator

import h5py
import numpy as np

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
SPLIT, UID = "alignments3D/split", "uid"

_SEED = 7
_PIXEL_SIZE_A = 1.06
_BLOCK = 250_000
_IMAGES_PER_STACK = 300
_STACK = (
    "J29/extract/{:020d}_FoilHole_17377413_Data_17378058_17378060_20191017_1038_Fractions_"
    "patch_aligned_doseweighted_particles.mrcs"
)
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
_WIDE_STAR_COLUMNS = (
    *_STAR_COLUMNS[:6],
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnPhaseShift",
    "rlnCtfBfactor",
    "rlnOpticsGroup",
    "rlnRandomSubset",
    "rlnClassNumber",
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

_CS_FLOATS = {
    "blob": "psize_A sign",
    "ctf": "accel_kv cs_mm amp_contrast df1_A df2_A df_angle_rad phase_shift_rad scale scale_const "
    "bfactor",
    "alignments3D": "psize_A error error_min resid_pow slice_pow image_pow cross_cor alpha "
    "alpha_min weight pose_ess shift_ess class_posterior class_ess",
}
_CS_FIELDS = (
    *((UID, "<u8"), ("blob/path", "S140"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,))),
    *(("ctf/type", "S7"), ("ctf/exp_group_id", "<u4"), ("ctf/shift_A", "<f4", (2,))),
    *(("ctf/tilt_A", "<f4", (2,)), ("ctf/trefoil_A", "<f4", (2,)), ("ctf/tetra_A", "<f4", (4,))),
    *(("ctf/anisomag", "<f4", (4,)), (SPLIT, "<u4"), (SHIFT, "<f4", (2,)), (POSE, "<f4", (3,))),
    ("alignments3D/class", "<u4"),
    *((f"{slot}/{name}", "<f4") for slot, names in _CS_FLOATS.items() for name in names.split()),
)
"""Fields of the particles of a refinement."""
_CS_OPTICS = {"ctf/accel_kv": 300, "ctf/cs_mm": 2.7, "ctf/amp_contrast": 0.1, "blob/shape": 256}

Array = np.ndarray


def table(
    folder: str, particles: int, dtype: str = "f4", pose_format: str = "rotvec", components: int = 2
) -> str:
    """Write a particle table, unless the folder has it; return its path.

    Columns: pose, shift, psize_A, uid, split. Poses are uniform over all rotations; shifts have two
    components, or three as those of subtomograms.
    """
    path = os.path.join(folder, f"particles_{particles}_{dtype}_{pose_format}_{components}.h5")
    if os.path.exists(path):
        return path
    random = np.random.default_rng(_SEED)
    width = {"quaternion": (4,), "matrix": (3, 3)}.get(pose_format, (3,))
    with h5py.File(path, "w") as file:
        group = file.create_group("particles")
        group.attrs["convention"] = "cryosparc"
        pose = group.create_dataset(POSE, (particles, *width), dtype)
        shift = group.create_dataset(SHIFT, (particles, components), dtype)
        for first in range(0, particles, _BLOCK):
            last = min(first + _BLOCK, particles)
            quaternion = _quaternions(random, last - first)
            pose[first:last] = _as_format(quaternion, pose_format)
            shift[first:last] = random.normal(0, 2, (last - first, components))
        group[PSIZE] = np.full(particles, _PIXEL_SIZE_A, "f4")
        group[UID] = random.integers(1, 2**63, particles, dtype=np.uint64)
        group[SPLIT] = (np.arange(particles) % 2).astype(np.uint32)
    return path


def star(folder: str, particles: int) -> str:
    """Write the same particles (poses and shifts) as a star file; return its path."""
    path = os.path.join(folder, f"particles_{particles}.star")
    _write_star(
        path,
        _STAR_COLUMNS,
        (
            f"{i % 100 + 1:06d}@images.mrcs {pose} {i % 2 + 1} 1\n"
            for i, pose in enumerate(_star_poses(folder, particles))
        ),
    )
    return path


def wide_star(folder: str, particles: int) -> str:
    """Write the same as a star file with the columns and long image names of a real one."""
    path = os.path.join(folder, f"wide_{particles}.star")
    defocus = _defocus(particles).tolist()
    _write_star(
        path,
        _WIDE_STAR_COLUMNS,
        (
            f"{i % _IMAGES_PER_STACK + 1:06d}@{_stack(i)} {pose} {u:.6f} {v:.6f} {angle:.6f} "
            f"0.000000 0.000000 1 {i % 2 + 1} 1\n"
            for i, (pose, (u, v, angle)) in enumerate(
                zip(_star_poses(folder, particles), defocus, strict=True)
            )
        ),
    )
    return path


def cs(folder: str, particles: int) -> str:
    """Write the same as a CryoSPARC dataset with the fields of a refinement; return its path."""
    path = os.path.join(folder, f"particles_{particles}.cs")
    rows = np.zeros(particles, np.dtype(list(_CS_FIELDS)))
    with h5py.File(table(folder, particles)) as file:
        for name in (UID, SPLIT, SHIFT, POSE, PSIZE):
            rows[name] = file["particles"][name][:]
    rows["blob/path"] = [_stack(i).encode() for i in range(particles)]
    rows["blob/idx"] = np.arange(particles) % _IMAGES_PER_STACK
    rows["blob/psize_A"] = _PIXEL_SIZE_A
    rows["ctf/df1_A"], rows["ctf/df2_A"], angle = _defocus(particles).T
    rows["ctf/df_angle_rad"] = np.radians(angle)
    for name, value in _CS_OPTICS.items():
        rows[name] = value
    with open(path, "wb") as file:
        np.save(file, rows)
    return path


def _write_star(path: str, columns: Iterable[str], lines: Iterable[str]) -> None:
    """Write a star file of RELION 3.1."""
    with open(path, "w", encoding="ascii") as file:
        file.write(_OPTICS + "data_particles\n\nloop_\n")
        file.writelines(f"_{name}\n" for name in columns)
        file.writelines(lines)


def _star_poses(folder: str, particles: int) -> Iterator[str]:
    """Angles and origins of each particle, as words."""
    with h5py.File(table(folder, particles, "f8", "euler_zyz")) as file:
        angle = file["particles"][POSE][:]
        origin = file["particles"][SHIFT][:] * _PIXEL_SIZE_A
    for numbers in np.hstack((angle, origin)).tolist():
        yield " ".join(f"{number:.6f}" for number in numbers)


def _stack(particle: int) -> str:
    """Path of the stack that a particle's image is in."""
    return _STACK.format(10**19 + particle // _IMAGES_PER_STACK * 7919)


def _defocus(particles: int) -> Array:
    """Defocus u and v, A, and angle, degrees, (particles, 3)."""
    random = np.random.default_rng(_SEED)
    u = random.uniform(8000, 25_000, particles)
    return np.stack((u, u - 400, random.uniform(-90, 90, particles)), axis=1)


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
