"""The kernels: N poses x G operators -> N*G rows. Arrays in, arrays filled, nothing raised.

Sources are taken in blocks of ``BLOCK``. A block is decoded into planes (one array per quaternion
component), each operator turns the whole block, and the rows go out one by one. The inner loops
have a constant length, so that every row, in whatever block, chunk or thread, meets the same
vector code: the bytes do not depend on how the work was cut.

Shapes: ``planes`` (4, P) float64 with P = ``padded(n)``; ``operators`` (4, G) float64; ``pose``,
``shift`` and the outputs flat, C order; ``count`` is the number n of sources.
"""

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.kernels.blocks import BLOCK
from numba_symexp.kernels.jit import algebra, kernel, prange
from numba_symexp.kernels.quaternion import (
    Scalars,
    conjugate_product,
    from_euler_zyz,
    from_matrix,
    from_rotation_vector,
    normalized,
    to_euler_zyz,
    to_matrix,
    to_quaternion,
    to_rotation_vector,
)


@kernel
def decode_rotvec(pose: Array, count: int, planes: Array) -> None:
    """Rotation vectors (rad) -> quaternion planes."""
    for block in prange((count + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        vector = np.zeros((3, BLOCK))
        for k in range(min(BLOCK, count - first)):
            for axis in range(3):
                vector[axis, k] = pose[3 * (first + k) + axis]
        x, y, z = vector[0], vector[1], vector[2]
        w_out, x_out, y_out, z_out = _block_of(planes, first)
        for k in range(BLOCK):
            w_out[k], x_out[k], y_out[k], z_out[k] = from_rotation_vector(x[k], y[k], z[k])


@kernel
def decode_quaternion(pose: Array, count: int, planes: Array) -> None:
    """Quaternions, scalar first and of about length 1 -> quaternion planes."""
    for k in prange(count):
        planes[0, k], planes[1, k], planes[2, k], planes[3, k] = normalized(
            np.float64(pose[4 * k]),
            np.float64(pose[4 * k + 1]),
            np.float64(pose[4 * k + 2]),
            np.float64(pose[4 * k + 3]),
        )


@kernel
def decode_matrix(pose: Array, count: int, planes: Array) -> None:
    """Rotation matrices, row by row -> quaternion planes."""
    for k in prange(count):
        w, x, y, z = from_matrix(
            np.float64(pose[9 * k]),
            np.float64(pose[9 * k + 1]),
            np.float64(pose[9 * k + 2]),
            np.float64(pose[9 * k + 3]),
            np.float64(pose[9 * k + 4]),
            np.float64(pose[9 * k + 5]),
            np.float64(pose[9 * k + 6]),
            np.float64(pose[9 * k + 7]),
            np.float64(pose[9 * k + 8]),
        )
        planes[0, k], planes[1, k], planes[2, k], planes[3, k] = normalized(w, x, y, z)


@kernel
def decode_euler_zyz(pose: Array, count: int, planes: Array) -> None:
    """(rot, tilt, psi) in degrees -> quaternion planes."""
    for k in prange(count):
        planes[0, k], planes[1, k], planes[2, k], planes[3, k] = from_euler_zyz(
            np.float64(pose[3 * k]), np.float64(pose[3 * k + 1]), np.float64(pose[3 * k + 2])
        )


@kernel
def expand_rotvec(
    planes: Array, operators: Array, coefficients: Scalars, count: int, out: Array
) -> None:
    """Rotation vectors (rad) of all mates, (count * G * 3)."""
    order = operators.shape[1]
    for block in prange((count + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        w, x, y, z = _block_of(planes, first)
        rows = np.empty((3, BLOCK))
        x_out, y_out, z_out = rows[0], rows[1], rows[2]
        for g in range(order):
            a, b, c, d = operators[0, g], operators[1, g], operators[2, g], operators[3, g]
            for k in range(BLOCK):
                qw, qx, qy, qz = conjugate_product(a, b, c, d, w[k], x[k], y[k], z[k])
                x_out[k], y_out[k], z_out[k] = to_rotation_vector(qw, qx, qy, qz, coefficients)
            for k in range(min(BLOCK, count - first)):
                row = 3 * ((first + k) * order + g)
                out[row] = x_out[k]
                out[row + 1] = y_out[k]
                out[row + 2] = z_out[k]


@kernel
def expand_quaternion(
    planes: Array, operators: Array, coefficients: Scalars, count: int, out: Array
) -> None:
    """Quaternions of all mates, scalar first with w >= 0, (count * G * 4)."""
    order = operators.shape[1]
    for block in prange((count + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        w, x, y, z = _block_of(planes, first)
        rows = np.empty((4, BLOCK))
        w_out, x_out, y_out, z_out = rows[0], rows[1], rows[2], rows[3]
        for g in range(order):
            a, b, c, d = operators[0, g], operators[1, g], operators[2, g], operators[3, g]
            for k in range(BLOCK):
                qw, qx, qy, qz = conjugate_product(a, b, c, d, w[k], x[k], y[k], z[k])
                w_out[k], x_out[k], y_out[k], z_out[k] = to_quaternion(qw, qx, qy, qz)
            _interleave(rows, first, count, order, g, out)


@kernel
def expand_matrix(
    planes: Array, operators: Array, coefficients: Scalars, count: int, out: Array
) -> None:
    """Rotation matrices of all mates, row by row, (count * G * 9)."""
    order = operators.shape[1]
    for block in prange((count + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        w, x, y, z = _block_of(planes, first)
        rows = np.empty((9, BLOCK))
        for g in range(order):
            a, b, c, d = operators[0, g], operators[1, g], operators[2, g], operators[3, g]
            for k in range(BLOCK):
                qw, qx, qy, qz = conjugate_product(a, b, c, d, w[k], x[k], y[k], z[k])
                entries = to_matrix(qw, qx, qy, qz)
                for entry in range(9):
                    rows[entry, k] = entries[entry]
            _interleave(rows, first, count, order, g, out)


@kernel
def expand_euler_zyz(
    planes: Array, operators: Array, coefficients: Scalars, count: int, out: Array
) -> None:
    """(rot, tilt, psi) in degrees of all mates, (count * G * 3)."""
    order = operators.shape[1]
    for block in prange((count + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        w, x, y, z = _block_of(planes, first)
        rows = np.empty((3, BLOCK))
        rot, tilt, psi = rows[0], rows[1], rows[2]
        for g in range(order):
            a, b, c, d = operators[0, g], operators[1, g], operators[2, g], operators[3, g]
            for k in range(BLOCK):
                qw, qx, qy, qz = conjugate_product(a, b, c, d, w[k], x[k], y[k], z[k])
                rot[k], tilt[k], psi[k] = to_euler_zyz(qw, qx, qy, qz, coefficients)
            _interleave(rows, first, count, order, g, out)


@kernel
def expand_shift(
    planes: Array, translations: Array, shift: Array, psize: Array, count: int, out: Array
) -> None:
    """Shifts (pixels) of all mates, (count * G * 2): s_g = s - (A t)_xy / psize.

    ``translations`` (3, G) and ``psize`` (count,) in A. A = exp(v)^T, so the first two rows of A
    are the first two columns of the matrix of the pose's quaternion.
    """
    order = translations.shape[1]
    tx, ty, tz = translations[0], translations[1], translations[2]
    for source in prange(count):
        matrix = to_matrix(
            planes[0, source], planes[1, source], planes[2, source], planes[3, source]
        )
        per_A = 1.0 / np.float64(psize[source])
        x, y = np.float64(shift[2 * source]), np.float64(shift[2 * source + 1])
        ax, ay, az = per_A * matrix[0], per_A * matrix[3], per_A * matrix[6]
        bx, by, bz = per_A * matrix[1], per_A * matrix[4], per_A * matrix[7]
        first = 2 * source * order
        for g in range(order):
            out[first + 2 * g] = x - (ax * tx[g] + ay * ty[g] + az * tz[g])
            out[first + 2 * g + 1] = y - (bx * tx[g] + by * ty[g] + bz * tz[g])


@kernel
def expand_shift_xyz(
    planes: Array, translations: Array, shift: Array, psize: Array, count: int, out: Array
) -> None:
    """Shifts of subtomograms (pixels) of all mates, (count * G * 3): s_g = s - A t / psize.

    As `expand_shift`, with all three rows of A.
    """
    order = translations.shape[1]
    tx, ty, tz = translations[0], translations[1], translations[2]
    for source in prange(count):
        matrix = to_matrix(
            planes[0, source], planes[1, source], planes[2, source], planes[3, source]
        )
        per_A = 1.0 / np.float64(psize[source])
        x, y = np.float64(shift[3 * source]), np.float64(shift[3 * source + 1])
        z = np.float64(shift[3 * source + 2])
        ax, ay, az = per_A * matrix[0], per_A * matrix[3], per_A * matrix[6]
        bx, by, bz = per_A * matrix[1], per_A * matrix[4], per_A * matrix[7]
        cx, cy, cz = per_A * matrix[2], per_A * matrix[5], per_A * matrix[8]
        first = 3 * source * order
        for g in range(order):
            out[first + 3 * g] = x - (ax * tx[g] + ay * ty[g] + az * tz[g])
            out[first + 3 * g + 1] = y - (bx * tx[g] + by * ty[g] + bz * tz[g])
            out[first + 3 * g + 2] = z - (cx * tx[g] + cy * ty[g] + cz * tz[g])


@kernel
def expand_depth(planes: Array, points: Array, count: int, out: Array) -> None:
    """Depths (A) of one point of each operator in all mates, (count * G): (A x_g)_z.

    ``points`` (3, G) are x_g = R_g c + t_g, in A. The third row of A is the third column of the
    matrix of the pose's quaternion.
    """
    order = points.shape[1]
    for source in prange(count):
        matrix = to_matrix(
            planes[0, source], planes[1, source], planes[2, source], planes[3, source]
        )
        first = source * order
        for g in range(order):
            out[first + g] = (
                matrix[2] * points[0, g] + matrix[5] * points[1, g] + matrix[8] * points[2, g]
            )


@kernel
def repeat_shift(shift: Array, order: int, count: int, out: Array) -> None:
    """Shifts of all mates where no operator has a translation, (count * G * 2)."""
    for source in prange(count):
        x, y = shift[2 * source], shift[2 * source + 1]
        first = 2 * source * order
        for g in range(order):
            out[first + 2 * g] = x
            out[first + 2 * g + 1] = y


@kernel
def repeat_shift_xyz(shift: Array, order: int, count: int, out: Array) -> None:
    """Shifts of subtomograms where no operator has a translation, (count * G * 3)."""
    for source in prange(count):
        x, y, z = shift[3 * source], shift[3 * source + 1], shift[3 * source + 2]
        first = 3 * source * order
        for g in range(order):
            out[first + 3 * g] = x
            out[first + 3 * g + 1] = y
            out[first + 3 * g + 2] = z


@algebra
def _block_of(planes: Array, first: int) -> tuple[Array, Array, Array, Array]:
    """One block of each quaternion component."""
    last = first + BLOCK
    return (
        planes[0, first:last],
        planes[1, first:last],
        planes[2, first:last],
        planes[3, first:last],
    )


@algebra
def _interleave(rows: Array, first: int, count: int, order: int, operator: int, out: Array) -> None:
    """Write one operator's rows of a block from planes (W, BLOCK) to the flat table."""
    width = rows.shape[0]
    last = min(BLOCK, count - first)
    for entry in range(width):
        plane = rows[entry]
        row = width * (first * order + operator) + entry
        for k in range(last):
            out[row + width * order * k] = plane[k]
