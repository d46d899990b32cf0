"""Expanded poses and shifts against the naive twin: every format, angle and precision."""

import naive
import numpy as np
import pytest
from inside import BLOCK, HALF_ANGLE_OVER_SINE_F8, Own, SourceError, UsageError, kernels

from numba_symexp import Operators, expand_poses, helix, point_group

F4_RAD, F8_RAD = 2e-7, 1e-12
"""Largest rotation error: the rounding of float32 output alone is 1.7e-7 rad."""

ANGLES = {
    "zero": 0.0,
    "tiny": 1e-9,
    "small": 1e-3,
    "ordinary": 1.2345,
    "below pi": np.pi - 1e-6,
    "pi": np.pi,
    "beyond pi": 3.8,
    "whole turn": 2 * np.pi,
    "twenty": 20.0,
    "hundreds": 700.0,
}

AXES = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1), (0.48, -0.6, 0.64), (-0.36, 0.48, 0.8)]


def vectors_of(angle, dtype):
    return np.array([[angle * part for part in axis] for axis in AXES], dtype)


def written(exp_v, pose_format):
    """Rotation matrices as a column of some format, computed without the package."""
    if pose_format == "matrix":
        return exp_v
    quaternions, eulers = [], []
    for m in exp_v:
        values, vectors = np.linalg.eigh(_quaternion_form(m))
        quaternions.append(vectors[:, np.argmax(values)])
        tilt = np.degrees(np.arctan2(np.hypot(m[2, 0], m[2, 1]), m[2, 2]))
        if np.hypot(m[2, 0], m[2, 1]) > 1e-12:
            rot = np.degrees(np.arctan2(m[1, 2], m[0, 2]))
            psi = np.degrees(np.arctan2(m[2, 1], -m[2, 0]))
        else:
            rot, psi = 0.0, np.degrees(np.arctan2(m[1, 0], m[1, 1]))
        eulers.append((rot, tilt, psi))
    return np.array(quaternions if pose_format == "quaternion" else eulers)


def _quaternion_form(m):
    """Symmetric 4x4 matrix whose leading eigenvector is the quaternion of m (Bar-Itzhack)."""
    k = np.empty((4, 4))
    k[0] = [np.trace(m), m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]]
    k[1:, 0] = k[0, 1:]
    k[1:, 1:] = m + m.T - np.trace(m) * np.eye(3)
    return k


READ = {
    "rotvec": naive.exp,
    "quaternion": naive.from_quaternion,
    "matrix": lambda m: np.array(m, float),
    "euler_zyz": lambda angles: naive.euler_zyz(*(float(a) for a in angles)),
}


def check(pose, shift, operators, psize, tolerance_rad, tolerance_px, pose_format="rotvec"):
    """Expand, and hold every row against the naive twin, which reads the same numbers."""
    pose_out, shift_out = expand_poses(pose, shift, operators, psize, pose_format)
    assert pose_out.dtype == pose.dtype
    assert shift_out.dtype == shift.dtype
    motions = list(zip(operators.matrix, operators.translation_A, strict=True))
    sizes = np.broadcast_to(1.0 if psize is None else psize, len(pose))
    for i in range(len(pose)):
        expected = naive.mates(READ[pose_format](pose[i]), shift[i], motions, float(sizes[i]))
        for g, (rotation, moved) in enumerate(expected):
            row = i * len(operators) + g
            error = naive.angle_rad(READ[pose_format](pose_out[row]), rotation)
            assert error <= tolerance_rad, (i, g, error)
            assert np.allclose(shift_out[row], moved, rtol=0, atol=tolerance_px), (i, g)
    return pose_out, shift_out


@pytest.mark.slow
@pytest.mark.parametrize("angle", ANGLES.values(), ids=ANGLES.keys())
@pytest.mark.parametrize("symbol", ["C1", "C4", "D7", "T", "O", "I1"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, F4_RAD), (np.float64, F8_RAD)])
def test_rotation_vectors_of_any_length(symbol, angle, dtype, tolerance, rng):
    pose = vectors_of(angle, dtype)
    shift = rng.normal(0, 3, (len(pose), 2)).astype(dtype)
    pose_out, shift_out = check(pose, shift, point_group(symbol), None, tolerance, 0)
    others = np.arange(len(pose_out)) % len(point_group(symbol)) != 0
    lengths = np.linalg.norm(pose_out[others].astype(float), axis=1)
    assert not len(lengths) or lengths.max() <= np.pi * (1 + 1e-6)
    assert np.array_equal(np.repeat(shift, len(point_group(symbol)), axis=0), shift_out)


@pytest.mark.slow
@pytest.mark.parametrize("pose_format", ["rotvec", "quaternion", "matrix", "euler_zyz"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("symbol", ["D3", "O"])
def test_every_format_with_random_poses(pose_format, dtype, symbol, rng):
    vectors = rng.normal(0, 2, (30, 3))
    matrices = np.array([naive.exp(v) for v in vectors])
    pose = (vectors if pose_format == "rotvec" else written(matrices, pose_format)).astype(dtype)
    shift = rng.normal(0, 3, (30, 2)).astype(dtype)
    # An angle of 180 degrees in float32 is off by 1.3e-7 rad; three of them add up.
    scale = {"euler_zyz": 3, "matrix": 3}.get(pose_format, 1)
    tolerance = F4_RAD * scale if dtype == np.float32 else F8_RAD
    check(pose, shift, point_group(symbol), None, tolerance, 0, pose_format)


@pytest.mark.parametrize("pose_format", ["quaternion", "matrix", "euler_zyz"])
def test_formats_at_their_hard_places(pose_format):
    """Half turns about every axis, no turn, tilt 0, 90 and 180."""
    eulers = [(r, t, p) for r in (0, 30, 180, -180) for t in (0, 90, 180) for p in (0, -75, 180)]
    matrices = [naive.euler_zyz(*angles) for angles in eulers]
    matrices += [naive.turn(axis, angle) for axis in np.eye(3) for angle in (180, 179.999999, 1e-7)]
    pose = written(np.array(matrices), pose_format)
    check(pose, np.zeros((len(pose), 2)), point_group("O"), None, F8_RAD, 0, pose_format)


def test_euler_angles_stay_in_their_ranges(rng):
    pose = rng.uniform(-360, 360, (40, 3))
    pose_out, _ = expand_poses(pose, np.zeros((40, 2)), point_group("I2"), None, "euler_zyz")
    others = pose_out[np.arange(len(pose_out)) % 60 != 0]
    assert np.abs(others[:, [0, 2]]).max() <= 180
    assert others[:, 1].min() >= 0
    assert others[:, 1].max() <= 180


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("group", ["C1", "C3", "D3"])
@pytest.mark.parametrize(("twist", "rise"), [(27.3, 4.75), (-166.7, -27.3)])
def test_helical_shifts(group, twist, rise, dtype, rng):
    pose = rng.normal(0, 1.5, (20, 3)).astype(dtype)
    shift = rng.normal(0, 3, (20, 2)).astype(dtype)
    psize = rng.uniform(0.7, 1.5, 20).astype(dtype)
    tolerance = (F4_RAD, 1e-5) if dtype == np.float32 else (F8_RAD, 1e-11)
    _, shift_out = check(pose, shift, helix(twist, rise, 5, group), psize, *tolerance)
    assert np.ptp(shift_out - np.repeat(shift, len(shift_out) // 20, axis=0)) > 10


def test_translations_in_any_direction(rng):
    """An operator may move the map along x and y as well."""
    operators = Operators(
        quaternion=point_group("C3").quaternion,
        translation_A=rng.normal(0, 20, (3, 3)),
        label=("a", "b", "c"),
        symmetry=Own("own"),
    )
    check(rng.normal(0, 1, (9, 3)), rng.normal(0, 3, (9, 2)), operators, 1.3, F8_RAD, 1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pose_format", ["rotvec", "quaternion", "matrix", "euler_zyz"])
def test_rows_that_nothing_moves_are_equal_bit_for_bit(pose_format, dtype, rng):
    shapes = {"rotvec": (3,), "quaternion": (4,), "matrix": (3, 3), "euler_zyz": (3,)}
    pose = np.zeros((9, *shapes[pose_format]))
    if pose_format == "matrix":
        pose[:] = [naive.turn(rng.normal(size=3), 200) for _ in range(9)]
    elif pose_format == "quaternion":
        pose[:] = -np.abs(rng.normal(size=(9, 4)))
        pose /= np.linalg.norm(pose, axis=1, keepdims=True)
    else:
        pose[:] = rng.normal(0, 5, (9, 3))
        pose[0] = -0.0
    pose, shift = pose.astype(dtype), np.full((9, 2), -0.0, dtype)
    operators = helix(20.0, 3.0, 3, "D2")
    pose_out, shift_out = expand_poses(pose, shift, operators, 1.1, pose_format)
    assert pose_out[:: len(operators)].tobytes() == pose.tobytes()
    assert shift_out[:: len(operators)].tobytes() == shift.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "operators",
    [point_group(s) for s in ("C5", "D3", "D7", "T", "O", "I1", "I2", "I3", "I4")],
    ids=lambda operators: str(operators.symmetry),
)
def test_mates_of_a_symmetric_point_set_project_alike(operators, rng):
    """Points with the symmetry of a group fall on the same places under every mate."""
    motifs = rng.normal(0, 40, (3, 3))
    points = np.array([r @ p for r in naive.group(str(operators.symmetry)) for p in motifs])
    pose, shift, psize = rng.normal(0, 1.5, (4, 3)), rng.normal(0, 3, (4, 2)), 1.2
    pose_out, shift_out = expand_poses(pose, shift, operators, psize)
    for i in range(len(pose)):
        image = naive.project(naive.exp(pose[i]), shift[i], points, psize)
        for row in range(i * len(operators), (i + 1) * len(operators)):
            mate = naive.project(naive.exp(pose_out[row]), shift_out[row], points, psize)
            assert _same_points(image, mate)


@pytest.mark.slow
@pytest.mark.parametrize("twist", [27.3, -27.3, -166.7, 179.4])
@pytest.mark.parametrize("tilt", [0, 77, 90, 103])
@pytest.mark.parametrize("group", ["C1", "C2", "D2"])
def test_mates_of_a_helix_project_alike(twist, tilt, group, rng):
    """The middle of a long helix falls on points of the helix under every mate."""
    rise, order, psize = 6.3, 5, 1.1
    motif = rng.normal(0, 15, (2, 3))
    elements = naive.group(group)
    whole = naive.helix(twist, rise, 81, elements)
    points = np.array([r @ p + t for r, t in whole for p in motif])
    middle = np.array([r @ p + t for r, t in naive.helix(twist, rise, 9, elements) for p in motif])
    pose = written(np.array([naive.euler_zyz(33, tilt, -71)]), "quaternion")
    shift = np.array([[3.25, -1.5]])
    operators = helix(twist, rise, order, group)
    pose_out, shift_out = expand_poses(pose, shift, operators, psize, "quaternion")
    image = naive.project(naive.euler_zyz(33, tilt, -71), shift[0], points, psize)
    for q, s in zip(pose_out, shift_out, strict=True):
        mate = naive.project(naive.from_quaternion(q), s, middle, psize)
        assert _each_has_a_partner(mate, image)


def _same_points(a, b):
    return _each_has_a_partner(a, b) and _each_has_a_partner(b, a)


def _each_has_a_partner(points, others, tolerance_px=1e-8):
    distances = np.linalg.norm(points[:, None] - others[None], axis=2)
    return bool(np.all(distances.min(axis=1) < tolerance_px))


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 200])
def test_bytes_do_not_depend_on_how_many_rows_go_together(count, rng):
    pose = rng.normal(0, 2, (200, 3)).astype(np.float32)
    shift = rng.normal(0, 2, (200, 2)).astype(np.float32)
    operators = helix(20.0, 3.0, 2, "C3")
    whole = expand_poses(pose, shift, operators, 1.1)
    parts = [
        expand_poses(pose[i : i + count], shift[i : i + count], operators, 1.1)
        for i in range(0, 200, count)
    ]
    for k in (0, 1):
        assert np.concatenate([part[k] for part in parts]).tobytes() == whole[k].tobytes()


def test_vector_code_and_scalar_code_give_the_same_bits(rng):
    """No processor's fused or reordered arithmetic: kernels run as plain Python agree exactly."""
    interpreted = getattr(kernels.expand_rotvec, "py_func", kernels.expand_rotvec)
    planes = rng.normal(size=(4, BLOCK))
    operators = np.ascontiguousarray(point_group("D3").quaternion.T)
    compiled_out, interpreted_out = np.zeros((2, 6 * 60 * 3))
    for kernel, out in ((kernels.expand_rotvec, compiled_out), (interpreted, interpreted_out)):
        kernel(planes, operators, HALF_ANGLE_OVER_SINE_F8, 60, out)
    assert compiled_out.tobytes() == interpreted_out.tobytes()


def test_empty_arrays_give_empty_arrays():
    pose, shift = expand_poses(np.zeros((0, 3)), np.zeros((0, 2)), point_group("O"))
    assert pose.shape == (0, 3)
    assert shift.shape == (0, 2)


def test_other_byte_orders_and_strides_are_read(rng):
    pose, shift = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    expected = expand_poses(pose, shift, point_group("D3"))
    wide = np.zeros((7, 6), ">f8")
    wide[:, ::2] = pose
    for variant in (pose.astype(">f8"), wide[:, ::2], np.asfortranarray(pose)):
        found = expand_poses(variant, shift, point_group("D3"))
        assert np.array_equal(found[0], expected[0])
    pose.setflags(write=False)
    assert np.array_equal(expand_poses(pose, shift, point_group("D3"))[0], expected[0])


GOOD_POSE, GOOD_SHIFT = np.zeros((4, 3)), np.zeros((4, 2))


@pytest.mark.parametrize(
    ("pose", "shift", "options", "words"),
    [
        (np.zeros((4, 4)), GOOD_SHIFT, {}, r"pose has shape \(4, 4\), not \(N, 3\)"),
        (GOOD_POSE, np.zeros((4, 4)), {}, r"shift has shape \(4, 4\), not \(N, 2\) or \(N, 3\)"),
        (GOOD_POSE.astype(int), GOOD_SHIFT, {}, "pose is int64"),
        (GOOD_POSE.astype(np.float16), GOOD_SHIFT, {}, "pose is float16"),
        (GOOD_POSE, np.zeros((3, 2)), {}, "pose has 4 rows, shift has 3"),
        (np.full((4, 3), np.nan), GOOD_SHIFT, {}, "NaN or Inf: first in row 0, 4 row"),
        (GOOD_POSE, np.array([[0, 0], [0, np.inf], [0, 0], [1, 1]]), {}, "first in row 1, 1 row"),
        (GOOD_POSE + 2e6, GOOD_SHIFT, {}, "no angle"),
        (GOOD_POSE, GOOD_SHIFT, {"psize": 0.0}, "psize is not above 0"),
        (GOOD_POSE, GOOD_SHIFT, {"psize": [1, 1, -1, 1]}, "first in row 2"),
        (np.ones((4, 4)), GOOD_SHIFT, {"pose_format": "quaternion"}, "length 1"),
        (np.ones((4, 3, 3)), GOOD_SHIFT, {"pose_format": "matrix"}, "orthonormal"),
        (-np.array([np.eye(3)] * 4), GOOD_SHIFT, {"pose_format": "matrix"}, "mirror image"),
        (GOOD_POSE + 1e9, GOOD_SHIFT, {"pose_format": "euler_zyz"}, "no angle"),
    ],
)
def test_arrays_that_are_no_poses_are_refused(pose, shift, options, words):
    with pytest.raises(SourceError, match=words):
        expand_poses(pose, shift, point_group("C2"), **options)


def test_wrong_requests_are_refused():
    with pytest.raises(UsageError, match="rotvec, quaternion, matrix, euler_zyz"):
        expand_poses(GOOD_POSE, GOOD_SHIFT, point_group("C2"), pose_format="euler")
    with pytest.raises(UsageError, match="psize is missing"):
        expand_poses(GOOD_POSE, GOOD_SHIFT, helix(10, 2, 3))
