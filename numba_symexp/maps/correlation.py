"""The kernel that compares a map with its copy by one operator."""

from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.kernels.codecs import ONE_AT_A_TIME
from numba_symexp.kernels.jit import algebra, kernel, prange
from numba_symexp.kernels.threads import default_threads, limited_threads

_ONE, _HALF, _THREE_HALVES = np.float32(1.0), np.float32(0.5), np.float32(1.5)


@algebra
def _weights(t: Any) -> Any:
    """Weights of four neighbors at t in [0, 1] between the inner two (Catmull and Rom)."""
    u = _ONE - t
    return (
        -_HALF * t * u * u,
        u * (_ONE + t * (_ONE - _THREE_HALVES * t)),
        t * (_ONE + u * (_ONE - _THREE_HALVES * u)),
        -_HALF * u * t * t,
    )


@kernel
def add_products(density: Array, mask: Array, matrix: Array, offset: Array, sums: Array) -> None:
    """Sums over the mask of a = density(x) and b = density(M x + offset), section by section.

    b is interpolated tricubically. Voxels whose neighbors there are not all in the box count for
    nothing.

    Parameters
    ----------
    density : (nz, ny, nx) float32
    mask : (nz, ny, nx) bool
    matrix : (3, 3) float64
        M, for x = (x, y, z) in voxels.
    offset : (3,) float64
        Voxels.
    sums : (nz, 6) float64
        Filled: how many voxels, and the sums of a, b, a a, b b and a b.
    """
    nz, ny, nx = density.shape
    for z in prange(nz):
        count = 0
        sum_a, sum_b, sum_aa, sum_bb, sum_ab = 0.0, 0.0, 0.0, 0.0, 0.0
        for y in range(ny):
            row_x = matrix[0, 1] * y + matrix[0, 2] * z + offset[0]
            row_y = matrix[1, 1] * y + matrix[1, 2] * z + offset[1]
            row_z = matrix[2, 1] * y + matrix[2, 2] * z + offset[2]
            for x in range(nx):
                if not mask[z, y, x]:
                    continue
                at_x = matrix[0, 0] * x + row_x
                at_y = matrix[1, 0] * x + row_y
                at_z = matrix[2, 0] * x + row_z
                if not (1 <= at_x < nx - 2 and 1 <= at_y < ny - 2 and 1 <= at_z < nz - 2):
                    continue
                i, j, k = int(at_x), int(at_y), int(at_z)
                w0, w1, w2, w3 = _weights(np.float32(at_x - i))
                weights_y = _weights(np.float32(at_y - j))
                weights_z = _weights(np.float32(at_z - k))
                value = np.float32(0.0)
                for c in range(4):
                    plane = np.float32(0.0)
                    for r in range(4):
                        row = density[k - 1 + c, j - 1 + r]
                        plane += weights_y[r] * (
                            w0 * row[i - 1] + w1 * row[i] + w2 * row[i + 1] + w3 * row[i + 2]
                        )
                    value += weights_z[c] * plane
                a, b = np.float64(density[z, y, x]), np.float64(value)
                count += 1
                sum_a += a
                sum_b += b
                sum_aa += a * a
                sum_bb += b * b
                sum_ab += a * b
        sums[z, 0] = count
        sums[z, 1] = sum_a
        sums[z, 2] = sum_b
        sums[z, 3] = sum_aa
        sums[z, 4] = sum_bb
        sums[z, 5] = sum_ab


def moments(
    density: Array, mask: Array, matrix: Array, offset: Array
) -> tuple[int, float, float, float]:
    """How many voxels of a map and its copy can be compared, both variances and the covariance.

    The same whatever the number of threads. Parameters are those of `add_products`.
    """
    sums = np.zeros((len(density), 6))
    with ONE_AT_A_TIME, limited_threads(default_threads()):
        add_products(density, mask, matrix, offset, sums)
    count = int(sums[:, 0].sum())
    if not count:
        return 0, 0.0, 0.0, 0.0
    a, b, aa, bb, ab = (sums[:, 1:].sum(axis=0) / count).tolist()
    return count, max(0.0, aa - a * a), max(0.0, bb - b * b), ab - a * b
