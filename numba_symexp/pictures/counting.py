"""The kernels that count: poses by viewing direction, shifts by place, copies by particle.

Nothing is raised; the arrays that count grow by what they are called with. One thread counts, so
that the sums need no order.
"""

import math

import numpy as np

from numba_symexp.kernels.jit import algebra, serial_kernel
from numba_symexp.kernels.quaternion import Scalars, to_matrix
from numba_symexp.types import Array

_PER_OCTANT = 4.0 / math.pi


@serial_kernel
def count_directions(planes: Array, count: int, cells: Array) -> None:
    """Count viewing directions in cells of equal solid angle.

    Parameters
    ----------
    planes : (4, P) float64
        Quaternions of exp(v), of which ``count`` count.
    cells : (2, S, S) int64
        The half with z >= 0, then the other; see `sphere`.
    """
    side = cells.shape[1]
    for k in range(count):
        matrix = to_matrix(planes[0, k], planes[1, k], planes[2, k], planes[3, k])
        a, b = _on_square(matrix[2], matrix[5], matrix[8])
        row = min(max(int((b + 1.0) * 0.5 * side), 0), side - 1)
        column = min(max(int((a + 1.0) * 0.5 * side), 0), side - 1)
        cells[0 if matrix[8] >= 0.0 else 1, row, column] += 1


@serial_kernel
def count_shifts(shift: Array, limit: float, places: Array) -> int:
    """Count shifts by place, and return how many lie outside.

    Parameters
    ----------
    shift : (n, 2) float64
    limit : float
        The places reach from -limit to limit, the upper end not included, in both directions.
    places : (S, S) int64
        Rows are y, columns x.
    """
    side = places.shape[0]
    scale = side / (2.0 * limit)
    outside = 0
    for k in range(shift.shape[0]):
        x = np.floor((shift[k, 0] + limit) * scale)
        y = np.floor((shift[k, 1] + limit) * scale)
        if 0.0 <= x < side and 0.0 <= y < side:
            places[int(y), int(x)] += 1
        else:
            outside += 1
    return outside


@serial_kernel
def count_copies(sources: Array, copies: Array) -> None:
    """Count the rows of each source, into (N,) uint32."""
    for k in range(sources.shape[0]):
        copies[sources[k]] += np.uint32(1)


@algebra
def _on_square(x: float, y: float, z: float) -> Scalars:
    """Place of a direction in the square of its half of the sphere, both coordinates in [-1, 1].

    Lambert's disc, then Shirley and Chiu's map of disc and square (J. Graphics Tools 2, 45, 1997):
    both keep areas.
    """
    scale = 1.0 / math.sqrt(1.0 + abs(z))
    u, v = x * scale, y * scale
    radius = math.sqrt(u * u + v * v)
    if abs(u) >= abs(v):
        a = math.copysign(radius, u)
        return a, a * _PER_OCTANT * math.atan(v / u) if u != 0.0 else 0.0
    b = math.copysign(radius, v)
    return b * _PER_OCTANT * math.atan(u / v), b
