"""Which kernels read and write each pose format, and poses from one format to another."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.kernels import poses
from numba_symexp.kernels.blocks import padded
from numba_symexp.kernels.polynomials import HALF_ANGLE_OVER_SINE_F4, HALF_ANGLE_OVER_SINE_F8

ONE_AT_A_TIME = threading.Lock()
"""Numba's workqueue layer ends the process when two threads call parallel kernels at once."""


class Codec(NamedTuple):
    """Kernels of a pose format, and the shape of one pose."""

    decode: Callable[..., None]
    expand: Callable[..., None]
    shape: tuple[int, ...]


CODECS = {
    "rotvec": Codec(poses.decode_rotvec, poses.expand_rotvec, (3,)),
    "quaternion": Codec(poses.decode_quaternion, poses.expand_quaternion, (4,)),
    "matrix": Codec(poses.decode_matrix, poses.expand_matrix, (3, 3)),
    "euler_zyz": Codec(poses.decode_euler_zyz, poses.expand_euler_zyz, (3,)),
}

_IDENTITY = np.array([[1.0], [0.0], [0.0], [0.0]])


def coefficients(dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Polynomial of the inverse cosine that is exact to a dtype's rounding."""
    return HALF_ANGLE_OVER_SINE_F4 if dtype.itemsize == 4 else HALF_ANGLE_OVER_SINE_F8


def convert(pose: Array, given: str, wanted: str) -> Array:
    """Poses (n, ...) of one format in another, float64; each stands for the same exp(v)."""
    count = len(pose)
    flat = np.ascontiguousarray(pose, np.float64).reshape(-1)
    planes = np.zeros((4, padded(count)))
    out = np.empty((count, *CODECS[wanted].shape))
    if count:
        with ONE_AT_A_TIME:
            CODECS[given].decode(flat, count, planes)
            CODECS[wanted].expand(
                planes, _IDENTITY, coefficients(out.dtype), count, out.reshape(-1)
            )
    return out
