"""Scalar quaternion algebra for the kernels: scalar first, length 1, float64.

A pose is the rotation vector ``v`` whose ``exp(v)`` maps the image frame to the map frame. All
formats of a pose (rotation vector, quaternion, matrix, Euler angles) stand for that ``exp(v)``.
Nothing here branches where a loop over it has to become vector code.
"""

import math

import numpy as np

from numba_symexp.kernels.jit import algebra
from numba_symexp.kernels.polynomials import COSINE, PI_PARTS, SINC

Scalars = tuple[float, ...]

_PER_PI = 1.0 / math.pi
_DEG_PER_RAD = 180.0 / math.pi
_HALF_RAD_PER_DEG = math.pi / 360.0
_SMALLEST_LENGTH = 1e-150
"""Below it a square is no longer a normal number; a quaternion has no such parts but zeros."""


@algebra
def polynomial(x: float, coefficients: Scalars) -> float:
    """Polynomial with an even number of coefficients: even and odd powers as two short chains."""
    square = x * x
    last = len(coefficients) - 1
    odd = coefficients[last]
    even = coefficients[last - 1]
    for k in range(2, last, 2):
        odd = odd * square + coefficients[last - k]
        even = even * square + coefficients[last - k - 1]
    return odd * x + even


@algebra
def conjugate_product(
    aw: float, ax: float, ay: float, az: float, bw: float, bx: float, by: float, bz: float
) -> Scalars:
    """``conj(a) b``: the mate of pose ``b`` under operator ``a``, exp(v_g) = R^T exp(v)."""
    return (
        aw * bw + ax * bx + ay * by + az * bz,
        aw * bx - ax * bw - ay * bz + az * by,
        aw * by + ax * bz - ay * bw - az * bx,
        aw * bz - ax * by + ay * bx - az * bw,
    )


@algebra
def cosine_and_sine(angle: float) -> Scalars:
    """Cosine and sine of an angle (rad, |angle| < 3e6), up to a sign common to both.

    The angle is reduced by multiples of pi; a quaternion does not see the sign that this leaves.
    """
    turns = np.floor(angle * _PER_PI + 0.5)
    rest = ((angle - turns * PI_PARTS[0]) - turns * PI_PARTS[1]) - turns * PI_PARTS[2]
    square = rest * rest
    return polynomial(square, COSINE), polynomial(square, SINC) * rest


@algebra
def from_rotation_vector(x: float, y: float, z: float) -> Scalars:
    """Quaternion of a rotation vector (rad) of any length."""
    half = 0.5 * math.sqrt(x * x + y * y + z * z)
    cosine, sine = cosine_and_sine(half)
    scale = 0.5 * (sine / half) if half > 0.0 else 0.5
    return cosine, scale * x, scale * y, scale * z


@algebra
def from_euler_zyz(rot_deg: float, tilt_deg: float, psi_deg: float) -> Scalars:
    """Quaternion of Rz(rot) Ry(tilt) Rz(psi), RELION's angles."""
    cr, sr = cosine_and_sine(rot_deg * _HALF_RAD_PER_DEG)
    ct, st = cosine_and_sine(tilt_deg * _HALF_RAD_PER_DEG)
    cp, sp = cosine_and_sine(psi_deg * _HALF_RAD_PER_DEG)
    return (
        ct * (cr * cp - sr * sp),
        st * (cr * sp - sr * cp),
        st * (cr * cp + sr * sp),
        ct * (sr * cp + cr * sp),
    )


@algebra
def from_matrix(
    xx: float,
    xy: float,
    xz: float,
    yx: float,
    yy: float,
    yz: float,
    zx: float,
    zy: float,
    zz: float,
) -> Scalars:
    """Quaternion (not yet of length 1) of a rotation matrix, by its largest component.

    S. W. Shepperd, J. Guidance and Control 1, 223 (1978): no cancellation for any rotation.
    """
    trace = xx + yy + zz
    if trace >= xx and trace >= yy and trace >= zz:
        return 1.0 + trace, zy - yz, xz - zx, yx - xy
    if xx >= yy and xx >= zz:
        return zy - yz, 1.0 + xx - yy - zz, xy + yx, xz + zx
    if yy >= zz:
        return xz - zx, xy + yx, 1.0 + yy - xx - zz, yz + zy
    return yx - xy, xz + zx, yz + zy, 1.0 + zz - xx - yy


@algebra
def normalized(w: float, x: float, y: float, z: float) -> Scalars:
    """Quaternion of length 1 in the same direction."""
    scale = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
    return scale * w, scale * x, scale * y, scale * z


@algebra
def to_rotation_vector(
    w: float, x: float, y: float, z: float, half_angle_over_sine: Scalars
) -> Scalars:
    """Rotation vector (rad) of length <= pi: 2 acos(w)/sqrt(1-w^2) (x, y, z), with w >= 0."""
    scale = math.copysign(2.0 * polynomial(abs(w), half_angle_over_sine), w)
    return scale * x, scale * y, scale * z


@algebra
def to_quaternion(w: float, x: float, y: float, z: float) -> Scalars:
    """Of q and -q the one with w >= 0."""
    sign = math.copysign(1.0, w)
    return sign * w, sign * x, sign * y, sign * z


@algebra
def to_matrix(w: float, x: float, y: float, z: float) -> Scalars:
    """Rotation matrix, row by row."""
    return (
        1.0 - 2.0 * (y * y + z * z),
        2.0 * (x * y - w * z),
        2.0 * (x * z + w * y),
        2.0 * (x * y + w * z),
        1.0 - 2.0 * (x * x + z * z),
        2.0 * (y * z - w * x),
        2.0 * (x * z - w * y),
        2.0 * (y * z + w * x),
        1.0 - 2.0 * (x * x + y * y),
    )


@algebra
def polar_angle(x: float, y: float, half_angle_over_sine: Scalars) -> float:
    """Angle (rad, in [-pi, pi]) of the point (x, y); 0 at the origin."""
    scale = 1.0 / max(math.sqrt(x * x + y * y), _SMALLEST_LENGTH)
    cosine = scale * x
    acute = polynomial(abs(cosine), half_angle_over_sine) * (scale * y)
    return acute if cosine >= 0.0 else math.copysign(math.pi, y) - acute


@algebra
def to_euler_zyz(w: float, x: float, y: float, z: float, half_angle_over_sine: Scalars) -> Scalars:
    """(rot, tilt, psi) in degrees: rot and psi in [-180, 180], tilt in [0, 180].

    The half sum of rot and psi is the polar angle of (w, z), their half difference that of
    (y, -x): accurate at every tilt, also where rot and psi alone are not defined.
    """
    half_sum = polar_angle(w, z, half_angle_over_sine)
    half_difference = polar_angle(y, -x, half_angle_over_sine)
    half_tilt = polar_angle(
        math.sqrt(w * w + z * z), math.sqrt(x * x + y * y), half_angle_over_sine
    )
    return (
        within_half_turn(_DEG_PER_RAD * (half_sum + half_difference)),
        2.0 * _DEG_PER_RAD * half_tilt,
        within_half_turn(_DEG_PER_RAD * (half_sum - half_difference)),
    )


@algebra
def within_half_turn(angle_deg: float) -> float:
    """Bring an angle of [-360, 360] into [-180, 180]."""
    return angle_deg - 360.0 * np.rint(angle_deg / 360.0)
