"""The slow, obvious twin: matrices, float64 and loops, written from the conventions alone.

A pose is a rotation vector v with exp(v) mapping image to map; A = exp(v)^T maps map to image:
x_image = (A x_map)_xy - s. An operator g: x -> R x + t leaves the density as it is. The mate of
(A, s) is A_g = A R, s_g = s - (A t)_xy / psize. Nothing of the package is used here.
"""

import math

import numpy as np

PHI = (1 + math.sqrt(5)) / 2
NO_GROUP = (np.eye(3),)
Z = (0, 0, 1)

GENERATORS = {
    "T": [(3, Z), (2, (0, math.sqrt(2), 1))],
    "O": [(4, Z), (3, (1, 1, 1))],
    "I1": [(2, Z), (5, (0, 1, PHI))],
    "I2": [(2, Z), (5, (1, 0, PHI))],
    "I3": [(5, Z), (5, (-2, 0, 1))],
    "I4": [(5, Z), (5, (2, 0, 1))],
}


def turn(axis, angle_deg):
    """Matrix of a rotation about an axis, anticlockwise seen from its tip (Rodrigues)."""
    x, y, z = np.array(axis, float) / np.linalg.norm(axis)
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + s * cross + (1 - c) * cross @ cross


def exp(v):
    """Matrix of a rotation vector in radians."""
    angle = math.sqrt(sum(float(part) ** 2 for part in v))
    if angle == 0:
        return np.eye(3)
    return turn([float(part) for part in v], math.degrees(angle))


def euler_zyz(rot_deg, tilt_deg, psi_deg):
    """Matrix Rz(rot) Ry(tilt) Rz(psi)."""
    return turn(Z, rot_deg) @ turn((0, 1, 0), tilt_deg) @ turn(Z, psi_deg)


def from_quaternion(q):
    """Matrix of a quaternion, scalar first: x -> q x conj(q), written out."""
    w, x, y, z = (float(part) for part in q)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    vector = np.array([[x], [y], [z]])
    return (w * w - x * x - y * y - z * z) * np.eye(3) + 2 * vector @ vector.T + 2 * w * cross


def angle_rad(a, b):
    """Angle between two rotation matrices; exact for small angles too."""
    return 2 * math.asin(min(1.0, np.linalg.norm(a - b) / (2 * math.sqrt(2))))


def group(symbol, convention="cryosparc"):
    """Matrices of a point group, the identity first, by closing over its generators."""
    if symbol[0] in "CD":
        n = int(symbol[1:])
        generators = [turn(Z, 360 / n)]
        if symbol[0] == "D":
            dyad = {"cryosparc": (0, 1, 0), "relion": (1, 0, 0)}[convention]
            generators.append(turn(dyad, 180))
    else:
        generators = [turn(axis, 360 / fold) for fold, axis in GENERATORS[symbol]]
    return closure(generators)


def closure(generators):
    """All products of some matrices, the identity first."""
    elements = [np.eye(3)]
    for element in elements:  # grows while it is walked
        for generator in generators:
            product = element @ generator
            if not any(np.allclose(product, known, atol=1e-6) for known in elements):
                elements.append(product)
    return elements


def helix_units(order):
    """0, +1, -1, +2, -2, ... cut after ``order``."""
    units = [0]
    k = 1
    while len(units) < order:
        units += [k, -k]
        k += 1
    return units[:order]


def helix(twist_deg, rise_A, order, elements=NO_GROUP):
    """(R, t) of h_k g: R = Rz(k twist) R_g, t = (0, 0, k rise)."""
    return [
        (turn(Z, k * twist_deg) @ element, np.array([0, 0, k * rise_A]))
        for k in helix_units(order)
        for element in elements
    ]


def mates(exp_v, shift_px, motions, psize_A):
    """(exp(v_g), s_g) of one pose under every (R, t)."""
    found = []
    for rotation, translation in motions:
        a = exp_v.T
        a_g = a @ rotation
        s_g = np.array(shift_px, float) - (a @ translation)[:2] / psize_A
        found.append((a_g.T, s_g))
    return found


def project(exp_v, shift_px, points_A, psize_A):
    """Where the points of a map fall in the image, in pixels."""
    a = exp_v.T
    return np.array([(a @ point)[:2] / psize_A - shift_px for point in points_A])


def in_tomogram(coordinate_A, a_sub, exp_v, origin_A, points_A):
    """Where the points of a map stand in a tomogram, in A.

    The particle's center is at coordinate - A_sub o, and A_full = A_sub A maps the map's frame to
    the tomogram's, with A = exp(v)^T; the subtomogram was cut out turned by A_sub.
    """
    center = np.array(coordinate_A, float) - a_sub @ np.array(origin_A, float)
    return np.array([center + a_sub @ exp_v.T @ point for point in points_A])
