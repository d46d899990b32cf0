"""Rows that stay, best first, when none may be too near to one that stays."""

import math

from numba_symexp.annotations import Array
from numba_symexp.kernels.jit import serial_kernel


@serial_kernel
def keep_apart(
    starts: Array, place_A: Array, least_A: float, head: Array, following: Array, kept: Array
) -> None:
    """Mark rows that are no nearer than a distance to a row of their group that was marked before.

    Rows are looked up in a grid, whose cells are at least as wide as the distance.

    Parameters
    ----------
    starts : (G + 1,) int64
        Where each group begins; its rows are in the order in which they are asked.
    place_A : (n, 2) float64
    least_A : float
    head : (3 * m + 1,) int64
        To work with, for groups of up to m rows.
    following : (n,) int64
        To work with.
    kept : (n,) bool
        Filled.
    """
    for group in range(len(starts) - 1):
        first, last = starts[group], starts[group + 1]
        low_x = high_x = place_A[first, 0]
        low_y = high_y = place_A[first, 1]
        for row in range(first, last):
            low_x, high_x = min(low_x, place_A[row, 0]), max(high_x, place_A[row, 0])
            low_y, high_y = min(low_y, place_A[row, 1]), max(high_y, place_A[row, 1])
        wide, high, count = high_x - low_x, high_y - low_y, last - first
        # so wide that there are at most 3 n + 1 cells
        cell = max(least_A, math.sqrt(wide * high / count), wide / count, high / count)
        across, up = int(wide / cell) + 1, int(high / cell) + 1
        for each in range(across * up):
            head[each] = -1
        for row in range(first, last):
            i = int((place_A[row, 0] - low_x) / cell)
            j = int((place_A[row, 1] - low_y) / cell)
            free = True
            for k in range(max(i - 1, 0), min(i + 2, across)):
                for m in range(max(j - 1, 0), min(j + 2, up)):
                    other = head[m * across + k]
                    while other >= 0 and free:
                        x = place_A[row, 0] - place_A[other, 0]
                        y = place_A[row, 1] - place_A[other, 1]
                        free = x * x + y * y >= least_A * least_A
                        other = following[other]
            kept[row] = free
            if free:
                following[row] = head[j * across + i]
                head[j * across + i] = row


@serial_kernel
def keep_unlike(
    starts: Array, place_A: Array, quaternion: Array, least_A: float, cosine: float, kept: Array
) -> None:
    """Mark rows that differ in place or orientation from all rows of their group marked before.

    Parameters
    ----------
    starts, place_A, kept
        As above; places have two or three components.
    quaternion : (n, 4) float64
    least_A : float
        Rows that are farther apart are not alike.
    cosine : float
        Cosine of half of the angle beyond which rows are not alike.
    """
    for group in range(len(starts) - 1):
        first = starts[group]
        for row in range(first, starts[group + 1]):
            kept[row] = True
            for other in range(first, row):
                if not kept[other]:
                    continue
                square = 0.0
                for k in range(place_A.shape[1]):
                    apart = place_A[row, k] - place_A[other, k]
                    square += apart * apart
                if square > least_A * least_A:
                    continue
                dot = 0.0
                for k in range(4):
                    dot += quaternion[row, k] * quaternion[other, k]
                if abs(dot) >= cosine:
                    kept[row] = False
                    break
