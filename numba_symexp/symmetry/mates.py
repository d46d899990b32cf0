"""Mates of single poses: each pose turned and moved by one operator.

For further poses that a row holds, such as those of other classes, and for RELION's priors. All
mates of a table are made by `expand_poses`.
"""

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.kernels.codecs import CODECS, convert
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.quaternions import multiply


def mates(
    pose: Array,
    form: str,
    operators: Operators,
    operator: Array,
    shift: Array | None = None,
    psize_A: Array | float | None = None,
) -> tuple[Array, Array]:
    """Turn and move n poses, each by one operator: further poses that go with a copy.

    exp(v_g) = Q R^T exp(v), that is q_g = conj(q_R conj(q_Q)) q, with the turn Q of the map, and
    s_g = s - (A m)_xy / psize with A = exp(v)^T and m = t + R c; shifts of three components move by
    all of A m. What an operator leaves in place stays bit for bit.

    Parameters
    ----------
    pose : (n, ..., 3) float
        One or several poses a row; of quaternions (n, ..., 4), of matrices (n, ..., 3, 3).
    form : {"rotvec", "euler_zyz", "quaternion", "matrix"}
        What they hold.
    operators : Operators
    operator : (n,) int
        Number of the operator of each row.
    shift : (n, ..., 2) or (n, ..., 3) float, optional
        Shifts, px.
    psize_A : float or (n,) float, optional
        A per pixel of the shifts; needed where operators move.

    Returns
    -------
    pose : as it came, float64
    shift : (n, ..., 2) or (n, ..., 3) float64
        Zeros where no shifts are given.
    """
    one = CODECS[form].shape
    several = pose.shape[: pose.ndim - len(one)]  # rows, and poses of a row
    number = np.repeat(operator.astype(np.int64), int(np.prod(several[1:])))
    quaternion = convert(pose.reshape(-1, *one), form, "quaternion")
    turned = multiply(operators.pose_quaternion[number] * (1.0, -1.0, -1.0, -1.0), quaternion)
    turned_pose = convert(turned, "quaternion", form).reshape(pose.shape)
    moved = np.zeros((*several, 2)) if shift is None else shift.astype(np.float64)
    if shift is not None and operators.moves:
        # A = exp(v)^T, so that (A m)_x is the first column of exp(v) times m
        motion_A = np.einsum(
            "nij,ni->nj",
            convert(quaternion, "quaternion", "matrix")[:, :, : shift.shape[-1]],
            operators.motion_A[number],
        ).reshape(moved.shape)
        size = np.broadcast_to(1.0 if psize_A is None else psize_A, len(pose)).astype(np.float64)
        moved = moved - motion_A / size.reshape(-1, *(1,) * (moved.ndim - 1))
    still = np.isin(operator, operators.fixed)
    turned_pose[still] = pose[still]
    if shift is not None:
        moved[still] = shift[still]
    return turned_pose, moved
