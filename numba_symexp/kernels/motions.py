"""Motions between the copies of a particle, and sums over how far they are from a mean."""

import math

from numba_symexp.annotations import Array
from numba_symexp.kernels.jit import serial_kernel
from numba_symexp.kernels.quaternion import conjugate_product


@serial_kernel
def relative_rotations(
    known: Array, place: Array, quaternion: Array, reference: Array, turned: Array
) -> None:
    """Fill the rotations from copies to the copy 0 of their particle: R = q_0 conj(q).

    Parameters
    ----------
    known : (P, 4) float32
        q_0 of all particles, of any length above 0.
    place : (n,) int64
        Particle of each copy.
    quaternion : (n, 4) float64
        q of each copy.
    reference, turned : (n, 4) float64
        Filled: q_0 of length 1, and R.
    """
    for row in range(len(place)):
        w, x, y, z = known[place[row]]
        length = math.sqrt(
            float(w) * float(w) + float(x) * float(x) + float(y) * float(y) + float(z) * float(z)
        )
        w, x, y, z = w / length, x / length, y / length, z / length
        reference[row, 0], reference[row, 1] = w, x
        reference[row, 2], reference[row, 3] = y, z
        a, b, c, d = quaternion[row]
        # conj(conj(q_0)) conj(q)
        a, b, c, d = conjugate_product(w, -x, -y, -z, a, -b, -c, -d)
        turned[row, 0], turned[row, 1], turned[row, 2], turned[row, 3] = a, b, c, d


@serial_kernel
def deviations(
    copy: Array,
    turned: Array,
    reference: Array,
    moved_A: Array,
    quaternion: Array,
    translation_A: Array,
    turn: Array,
    shift_A: Array,
) -> None:
    """Fill how far copies are off a motion of their kind.

    Parameters
    ----------
    copy : (n,) int64
        Kind of each, below K.
    turned, reference : (n, 4) float64
        See `relative_rotations`.
    moved_A : (n, 2) or (n, 3) float64
        Shift of copy 0, less that of the copy; of images two components, of subtomograms three.
    quaternion, translation_A : (K, 4) and (K, 3) float64
        The motions.
    turn : (n, 3) float64
        Filled: twice the vector part of the quaternion that is left, rad.
    shift_A : (n, 2) or (n, 3) float64
        Filled: shift that is left, moved - A_0 t.
    """
    for row in range(len(copy)):
        k = copy[row]
        a, b, c, d = quaternion[k]
        w, x, y, z = turned[row]
        w, x, y, z = conjugate_product(a, b, c, d, w, x, y, z)
        twice = -2.0 if w < 0.0 else 2.0
        turn[row, 0], turn[row, 1], turn[row, 2] = twice * x, twice * y, twice * z
        w, x, y, z = reference[row]
        a, b, c = translation_A[k]
        seen = (1 - 2 * (y * y + z * z)) * a + 2 * (x * y + w * z) * b + 2 * (x * z - w * y) * c
        shift_A[row, 0] = moved_A[row, 0] - seen
        seen = 2 * (x * y - w * z) * a + (1 - 2 * (x * x + z * z)) * b + 2 * (y * z + w * x) * c
        shift_A[row, 1] = moved_A[row, 1] - seen
        if shift_A.shape[1] == 3:
            seen = 2 * (x * z + w * y) * a + 2 * (y * z - w * x) * b
            seen += (1 - 2 * (x * x + y * y)) * c
            shift_A[row, 2] = moved_A[row, 2] - seen


@serial_kernel
def add_deviations(
    copy: Array, near: Array, turn: Array, shift_A: Array, reference: Array, sums: Array
) -> None:
    """Add up deviations, and the views along which nothing was seen of them.

    Parameters
    ----------
    copy : (n,) int64
        Kind of each, below K.
    near : (n,) bool
        Which of them count.
    turn, shift_A, reference : (n, 3), (n, 2 or 3) and (n, 4) float64
        See `deviations`.
    sums : (K, 15) float64
        Added to: the turn (3); the shift in the map, A_0^T shift (3); of images z z^T (9), with
        the view z, the third row of A_0.
    """
    for row in range(len(copy)):
        if not near[row]:
            continue
        total = sums[copy[row]]
        w, x, y, z = reference[row]
        p, q = shift_A[row, 0], shift_A[row, 1]
        for k in range(3):
            total[k] += turn[row, k]
        total[3] += (1 - 2 * (y * y + z * z)) * p + 2 * (x * y - w * z) * q
        total[4] += 2 * (x * y + w * z) * p + (1 - 2 * (x * x + z * z)) * q
        total[5] += 2 * (x * z - w * y) * p + 2 * (y * z + w * x) * q
        view = 2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)
        if shift_A.shape[1] == 3:
            for i in range(3):
                total[3 + i] += view[i] * shift_A[row, 2]
            continue
        for i in range(3):
            for j in range(3):
                total[6 + 3 * i + j] += view[i] * view[j]
