"""Rows recomputed with matrices, float64: A_g = A R, s_g = s - A t / psize, of images its x and y.

Written from the definitions (Rodrigues' formula, products of matrices, library sine and cosine),
and from nothing that made the rows: no quaternion, no polynomial.
"""

import math

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.kernels.jit import serial_kernel


def rotation_matrices(pose: Array, pose_format: str) -> Array:
    """Matrices exp(v), (n, 3, 3) float64, of poses in any format."""
    values = pose.astype(np.float64)
    if pose_format == "rotvec":
        return _of_vectors(values)
    if pose_format == "quaternion":
        w, v = values[:, :1], values[:, 1:]
        length = np.sqrt(w * w + np.sum(v * v, axis=1, keepdims=True))
        sine = np.linalg.norm(v, axis=1, keepdims=True)
        angle = 2 * np.arctan2(sine, w) / np.where(sine > 0, sine, 1) * (length > 0)
        return _of_vectors(angle * v)
    if pose_format == "euler_zyz":
        rot, tilt, psi = np.radians(values).T
        zero = np.zeros_like(rot)
        z1, y, z2 = (
            _of_vectors(np.stack(vector, axis=1))
            for vector in ((zero, zero, rot), (zero, tilt, zero), (zero, zero, psi))
        )
        return np.asarray(z1 @ y @ z2)
    left, _, right = np.linalg.svd(values)  # the nearest rotation to what rounding left
    return np.asarray(left @ right)


def _of_vectors(vectors: Array) -> Array:
    """Matrices of rotation vectors."""
    out = np.empty((len(vectors), 3, 3))
    fill_matrices(np.ascontiguousarray(vectors), out)
    return out


@serial_kernel
def fill_matrices(vectors: Array, out: Array) -> None:
    """Rodrigues' formula: I + sin(a)/a K + (1 - cos(a))/a^2 K^2, with K x = v x x and a = |v|."""
    for row in range(len(vectors)):
        x, y, z = vectors[row, 0], vectors[row, 1], vectors[row, 2]
        angle = math.sqrt(x * x + y * y + z * z)
        first, second = 1.0, 0.5
        if angle > 1e-9:
            half = math.sin(0.5 * angle) / angle
            first, second = math.sin(angle) / angle, 2.0 * half * half
        out[row, 0, 0] = 1.0 - second * (y * y + z * z)
        out[row, 1, 1] = 1.0 - second * (x * x + z * z)
        out[row, 2, 2] = 1.0 - second * (x * x + y * y)
        out[row, 0, 1] = second * x * y - first * z
        out[row, 1, 0] = second * x * y + first * z
        out[row, 0, 2] = second * x * z + first * y
        out[row, 2, 0] = second * x * z - first * y
        out[row, 1, 2] = second * y * z - first * x
        out[row, 2, 1] = second * y * z + first * x


@serial_kernel
def row_errors(
    sources: Array,
    index: Array,
    operator: Array,
    rotations: Array,
    translations_A: Array,
    poses: Array,
    source_shifts: Array,
    per_A: Array,
    shifts: Array,
    angle: Array,
    distance: Array,
    scale: Array,
) -> None:
    """How far rows are from what their source and operator make of them.

    Parameters
    ----------
    sources : (m, 3, 3) float64
        exp(v) of the source rows.
    index, operator : (n,) int
        Source row and operator of each row.
    rotations : (G, 3, 3) float64
        R of each operator.
    translations_A : (G, 3) float64
    poses : (n, 3, 3) float64
        exp(v) of the rows.
    source_shifts : (m, 2) or (m, 3) float64
        Pixels.
    per_A : (m,) float64
        Pixels per A of the source rows.
    shifts : (n, 2) or (n, 3) float64
        Of the rows.
    angle, distance, scale : (n,) float64
        Filled: the angle between both rotations (rad), the largest difference of a shift's
        component (pixels), and the size of the terms that it is the difference of.
    """
    for row in range(len(index)):
        i, g = index[row], operator[row]
        square = 0.0
        for a in range(3):
            for b in range(3):
                wanted = 0.0
                for c in range(3):  # exp(v_g) = R^T exp(v)
                    wanted += rotations[g, c, a] * sources[i, c, b]
                off = wanted - poses[row, a, b]
                square += off * off
        chord = math.sqrt(square / 8.0)
        angle[row] = 2.0 * math.asin(1.0 if chord > 1.0 else chord)  # NaN stays NaN
        worst, most = 0.0, 0.0
        for a in range(shifts.shape[1]):
            moved = 0.0
            for c in range(3):  # A = exp(v)^T
                moved += sources[i, c, a] * translations_A[g, c]
            moved *= per_A[i]
            off = abs(source_shifts[i, a] - moved - shifts[row, a])
            worst = off if not off <= worst else worst
            most = max(most, abs(source_shifts[i, a]), abs(moved))
        distance[row] = worst
        scale[row] = most
