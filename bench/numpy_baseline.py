"""The same expansion in pure NumPy, as a fair baseline: chunked, vectorized, fsynced.

Usage: ``python bench/numpy_baseline.py SOURCE OUTPUT SYMMETRY``. It writes the columns of an
expanded table, with the same dtypes, and no more: no checks, no fingerprint, no attributes.
"""

import os
import sys

import h5py
import numpy as np

from numba_symexp import point_group

_CHUNK_ROWS = 131_072
"""The fastest of 8,192 to 2,097,152: less pays for Python calls, more leaves the cache."""
_POSE, _SHIFT = "alignments3D/pose", "alignments3D/shift"
_SPLIT, _UID = "alignments3D/split", "uid"

Array = np.ndarray


def main(source: str, output: str, symmetry: str) -> None:
    """Expand a particle table by a point group."""
    operators = point_group(symmetry).quaternion.T  # (4, G), scalar first
    order = operators.shape[1]
    with h5py.File(source, "r") as file, h5py.File(output, "w") as expanded:
        table = file["particles"]
        count = len(table[_UID])
        out = _create(expanded, count * order)
        chunk = max(1, _CHUNK_ROWS // order)
        operator_index = np.tile(np.arange(order, dtype=np.uint16), chunk)
        for first in range(0, count, chunk):
            last = min(first + chunk, count)
            rows = slice(first * order, last * order)
            pose = table[_POSE][first:last].astype(np.float64)
            uid = table[_UID][first:last]
            mates = uid[:, None] + np.arange(order, dtype=np.uint64)
            out[_POSE][rows] = mate_vectors(pose, operators)
            out[_SHIFT][rows] = np.repeat(table[_SHIFT][first:last], order, axis=0)
            out[_SPLIT][rows] = np.repeat(table[_SPLIT][first:last], order)
            out[_UID][rows] = mates.reshape(-1)
            out["source_index"][rows] = np.repeat(np.arange(first, last, dtype=np.uint32), order)
            out["operator_index"][rows] = operator_index[: (last - first) * order]
        expanded.flush()
    descriptor = os.open(output, os.O_RDWR)
    os.fsync(descriptor)
    os.close(descriptor)


def mate_vectors(pose: Array, operators: Array) -> Array:
    """Rotation vectors of all mates, (n * G, 3) float32, by quaternions in float64."""
    half = 0.5 * np.sqrt(np.einsum("ij,ij->i", pose, pose))
    bw = np.cos(half)[:, None]
    bx, by, bz = (0.5 * np.sinc(half / np.pi) * pose.T)[:, :, None]
    aw, ax, ay, az = operators[:, None, :]
    w = aw * bw + ax * bx + ay * by + az * bz
    x = aw * bx - ax * bw - ay * bz + az * by
    y = aw * by + ax * bz - ay * bw - az * bx
    z = aw * bz - ax * by + ay * bx - az * bw
    sine = np.sqrt(x * x + y * y + z * z)
    angle = 2 * np.arctan2(sine, np.abs(w))
    scale = np.divide(angle, sine, out=np.full_like(sine, 2.0), where=sine > 0)
    scale = np.copysign(scale, w)
    vectors = np.empty((*w.shape, 3), np.float32)
    for axis, component in enumerate((x, y, z)):
        np.multiply(scale, component, out=vectors[..., axis], casting="same_kind")
    return vectors.reshape(-1, 3)


def _create(file: h5py.File, rows: int) -> dict[str, h5py.Dataset]:
    """Create the columns of an expanded table."""
    group = file.create_group("particles")
    columns = {
        "source_index": ((rows,), "u4"),
        "operator_index": ((rows,), "u2"),
        _POSE: ((rows, 3), "f4"),
        _SHIFT: ((rows, 2), "f4"),
        _SPLIT: ((rows,), "u4"),
        _UID: ((rows,), "u8"),
    }
    return {name: group.create_dataset(name, *layout) for name, layout in columns.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
