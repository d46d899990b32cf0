"""Kernels to compare with: the textbook formulas with atan2, and stores without arithmetic.

They go over the rows as the package's kernels do, block by block and operator by operator, with
the same compiler options, so that the arithmetic is the only difference.
"""

import math

import numpy as np
from numba import njit, prange

Array = np.ndarray

_BLOCK = 64
_compile = njit(parallel=True, nogil=True, error_model="numpy")


@_compile
def expand_textbook(
    pose: Array,
    shift: Array,
    psize: Array,
    quaternions: Array,
    translations: Array,
    moves: bool,
    pose_out: Array,
    shift_out: Array,
) -> None:
    """Poses and shifts of all mates, with sin, cos, sqrt and atan2 of the mathematical library.

    ``quaternions`` (4, G) and ``translations`` (3, G) are the operators'; everything else is flat.
    Where nothing ``moves``, shifts are only repeated, as the package does.
    """
    count, order = len(pose) // 3, quaternions.shape[1]
    for block in prange((count + _BLOCK - 1) // _BLOCK):
        first = block * _BLOCK
        last = min(first + _BLOCK, count)
        planes = np.empty((4, _BLOCK))
        for k in range(first, last):
            x, y, z = pose[3 * k], pose[3 * k + 1], pose[3 * k + 2]
            angle = math.sqrt(x * x + y * y + z * z)
            scale = math.sin(0.5 * angle) / angle if angle > 0.0 else 0.5
            planes[0, k - first] = math.cos(0.5 * angle)
            planes[1, k - first] = scale * x
            planes[2, k - first] = scale * y
            planes[3, k - first] = scale * z
        for g in range(order):
            aw, ax, ay, az = (
                quaternions[0, g],
                quaternions[1, g],
                quaternions[2, g],
                quaternions[3, g],
            )
            for k in range(first, last):
                j = k - first
                bw, bx, by, bz = planes[0, j], planes[1, j], planes[2, j], planes[3, j]
                w = aw * bw + ax * bx + ay * by + az * bz
                x = aw * bx - ax * bw - ay * bz + az * by
                y = aw * by + ax * bz - ay * bw - az * bx
                z = aw * bz - ax * by + ay * bx - az * bw
                if w < 0.0:
                    w, x, y, z = -w, -x, -y, -z
                sine = math.sqrt(x * x + y * y + z * z)
                scale = 2.0 * math.atan2(sine, w) / sine if sine > 0.0 else 2.0
                row = 3 * (k * order + g)
                pose_out[row] = scale * x
                pose_out[row + 1] = scale * y
                pose_out[row + 2] = scale * z
        for k in range(first, last):
            j = k - first
            w, x, y, z = planes[0, j], planes[1, j], planes[2, j], planes[3, j]
            if not moves:
                for g in range(order):
                    row = 2 * (k * order + g)
                    shift_out[row] = shift[2 * k]
                    shift_out[row + 1] = shift[2 * k + 1]
                continue
            for g in range(order):
                tx, ty, tz = translations[0, g], translations[1, g], translations[2, g]
                along_x = (
                    (1.0 - 2.0 * (y * y + z * z)) * tx
                    + 2.0 * (x * y + w * z) * ty
                    + 2.0 * (x * z - w * y) * tz
                )
                along_y = (
                    2.0 * (x * y - w * z) * tx
                    + (1.0 - 2.0 * (x * x + z * z)) * ty
                    + 2.0 * (y * z + w * x) * tz
                )
                row = 2 * (k * order + g)
                shift_out[row] = shift[2 * k] - along_x / psize[k]
                shift_out[row + 1] = shift[2 * k + 1] - along_y / psize[k]


@_compile
def store_rows(shift: Array, order: int, pose_out: Array, shift_out: Array) -> None:
    """The same outputs in the same order, without arithmetic."""
    count = len(shift) // 2
    for block in prange((count + _BLOCK - 1) // _BLOCK):
        first = block * _BLOCK
        last = min(first + _BLOCK, count)
        for g in range(order):
            for k in range(first, last):
                row = 3 * (k * order + g)
                pose_out[row] = shift[2 * k]
                pose_out[row + 1] = shift[2 * k + 1]
                pose_out[row + 2] = shift[2 * k]
        for k in range(first, last):
            for g in range(order):
                row = 2 * (k * order + g)
                shift_out[row] = shift[2 * k]
                shift_out[row + 1] = shift[2 * k + 1]
