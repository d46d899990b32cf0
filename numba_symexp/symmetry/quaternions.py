"""Quaternions of rotations, scalar first, and directions of axes. Pure NumPy."""

import numpy as np

from numba_symexp.annotations import Array


def matrices(quaternion: Array) -> Array:
    """Rotation matrices (G, 3, 3) of unit quaternions (G, 4), scalar first."""
    w, x, y, z = quaternion.T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.moveaxis(np.array(rows), -1, 0)


def multiply(a: Array, b: Array) -> Array:
    """Quaternion products ``a b`` over the last axis, scalar first."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    product = (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )
    return np.stack(product, axis=-1)


def upward(axes: Array, decimals: int = 6) -> Array:
    """Axes (n, 3) turned over where, to some decimals, they point to -z, else -x, else -y."""
    keys = np.round(axes[:, [2, 0, 1]], decimals) + 0.0
    first = np.take_along_axis(keys, np.argmax(keys != 0, axis=1)[:, None], axis=1)
    return np.asarray(axes * np.sign(first) + 0.0)


def unit(vectors: Array) -> Array:
    """Vectors (..., 3) made of length 1, whatever their length is."""
    scaled = vectors / np.abs(vectors).max(axis=-1, keepdims=True)
    return np.asarray(scaled / np.linalg.norm(scaled, axis=-1, keepdims=True))


def canonical(quaternion: Array) -> Array:
    """Length 1, exact zeros, and of q and -q the one whose first non-zero part is positive.

    Takes extended precision, gives float64.
    """
    exact = quaternion / np.sqrt(np.sum(quaternion * quaternion, axis=-1, keepdims=True))
    rounded = np.where(np.abs(exact) < 1e-15, 0, exact).astype(np.float64)
    first = np.take_along_axis(rounded, np.argmax(rounded != 0, axis=-1)[..., None], axis=-1)
    return np.asarray(rounded * np.sign(first) + 0.0)
