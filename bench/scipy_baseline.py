"""The poses of all mates with SciPy's Rotation, chunked; nothing else, and nothing is written.

Usage: ``python bench/scipy_baseline.py SOURCE OPERATORS.npy``. Prints the seconds that the poses
took. Needs NumPy, h5py and SciPy 1.17 or later, whose rotations broadcast.
"""

import sys
import time

import h5py
import numpy as np
from scipy.spatial.transform import Rotation

_CHUNK = 1024


def main(source: str, operators: str) -> None:
    """Turn every pose by every operator: exp(v_g) = R^T exp(v)."""
    quaternion = np.load(operators)
    inverses = Rotation.from_quat(np.roll(quaternion, -1, axis=1)).inv()[None]
    with h5py.File(source, "r") as file:
        pose = file["particles/alignments3D/pose"][:]
    out = np.zeros((len(pose), len(quaternion), 3), np.float32)
    started = time.perf_counter()
    for first in range(0, len(pose), _CHUNK):
        poses = Rotation.from_rotvec(pose[first : first + _CHUNK, None])
        out[first : first + _CHUNK] = (inverses * poses).as_rotvec()
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
