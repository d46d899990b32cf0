"""From arrays to arrays: run the kernels over poses and shifts, with every operator."""

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.kernels import poses as kernels
from numba_symexp.kernels.blocks import padded
from numba_symexp.kernels.codecs import CODECS, ONE_AT_A_TIME, coefficients
from numba_symexp.particles.columns import format_named, native, shape_in_words
from numba_symexp.particles.findings import Findings, check_pose, check_psize, check_shift
from numba_symexp.particles.schema import SHIFT_SHAPES, PoseFormat
from numba_symexp.symmetry.interface import Symmetry
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import as_operators

_SHIFT_KERNELS = {
    2: (kernels.expand_shift, kernels.repeat_shift),
    3: (kernels.expand_shift_xyz, kernels.repeat_shift_xyz),
}
"""What moves and what repeats shifts, by their number of components."""


class Expander:
    """Applies one set of operators to chunks of poses and shifts.

    Parameters
    ----------
    operators : Operators
        The set.
    pose_format : PoseFormat
        What the pose column holds, in and out.
    """

    def __init__(self, operators: Operators, pose_format: PoseFormat) -> None:
        self._decode, self._expand, _ = CODECS[pose_format.name]
        self._quaternions = np.ascontiguousarray(operators.pose_quaternion.T)
        self._translations = np.ascontiguousarray(operators.motion_A.T)
        self._moves = operators.moves
        self._fixed = operators.fixed
        self._order = len(operators)
        self._planes = np.zeros((4, 0))

    def fill(
        self, pose: Array, shift: Array, psize: Array, pose_out: Array, shift_out: Array
    ) -> None:
        """Fill the rows of n sources, particle-major.

        Parameters
        ----------
        pose : (n, ...) float32 or float64
            Contiguous, in the pose format.
        shift : (n, 2) or (n, 3) float32 or float64
            Pixels; three components of subtomograms.
        psize : (n,) float
            A per pixel; any positive number where no operator has a translation.
        pose_out : (n * G, ...)
            Same dtype as ``pose``; filled.
        shift_out : (n * G, 2) or (n * G, 3)
            Same dtype as ``shift``; filled.
        """
        count = len(pose)
        if not count:
            return
        self.fill_pose(pose, pose_out)
        self.fill_shift(shift, psize, shift_out)

    def fill_pose(self, pose: Array, out: Array) -> None:
        """Fill the poses of n sources; their rotations are kept for shifts and depths."""
        count = len(pose)
        if self._planes.shape[1] < count:
            self._planes = np.zeros((4, padded(count)))
        with ONE_AT_A_TIME:
            self._decode(pose.reshape(-1), count, self._planes)
            self._expand(
                self._planes,
                self._quaternions,
                coefficients(pose.dtype),
                count,
                out.reshape(-1),
            )
        for operator in self._fixed:
            out[operator :: self._order] = pose

    def fill_shift(self, shift: Array, psize: Array, out: Array) -> None:
        """Fill the shifts of the n sources whose poses were filled last."""
        count = len(shift)
        move, repeat = _SHIFT_KERNELS[shift.shape[1]]
        with ONE_AT_A_TIME:
            if self._moves:
                move(
                    self._planes,
                    self._translations,
                    shift.reshape(-1),
                    psize,
                    count,
                    out.reshape(-1),
                )
            else:
                repeat(shift.reshape(-1), self._order, count, out.reshape(-1))
        for operator in self._fixed:
            out[operator :: self._order] = shift

    def depths_A(self, count: int) -> Array:  # noqa: N802 - the unit is A
        """Depth of the point at the image center in each row of the n sources filled last.

        The mate g shows the point g(c) = R c + t of the particle, at the depth (A (R c + t))_z.

        Parameters
        ----------
        count : int
            Number n of these sources.

        Returns
        -------
        (n * G,) float64
            A, along the beam as RELION and CryoSPARC have z; 0 where nothing moves.
        """
        depths = np.empty(count * self._order)
        with ONE_AT_A_TIME:
            kernels.expand_depth(self._planes, self._translations, count, depths)
        return depths


def expand_poses(
    pose: Array,
    shift: Array,
    operators: Operators | Symmetry | str,
    psize: Array | float | None = None,
    pose_format: str = "rotvec",
    convention: str | None = None,
) -> tuple[Array, Array]:
    """Expand arrays of poses and shifts.

    For particle i and operator g: exp(v_g) = R^T exp(v) and s_g = s - (A t)_xy / psize, with
    A = exp(v)^T (CONVENTIONS of CryoSPARC and RELION); of subtomograms, whose shifts have three
    components, s_g = s - A t / psize.

    Parameters
    ----------
    pose : (N, 3) float32 or float64
        Rotation vectors, rad, image -> map; or as ``pose_format`` says. Lists become float64.
    shift : (N, 2) or (N, 3) float32 or float64
        Shifts, pixels: in the plane of the image, or in the frame of the subtomogram.
    operators : Operators, Symmetry or str
        From `point_group`, `helix` or `read_operators`, or the symbol of a point group such as
        ``"D7"``; with a ``center_A``, that point is put at the image center.
    psize : float or (N,) float, optional
        A per pixel; needed when an operator has a translation.
    pose_format : {"rotvec", "quaternion", "matrix", "euler_zyz"}
        What ``pose`` holds.
    convention : str, optional
        Whose axes a symbol means, as `point_group` takes it; by default CryoSPARC's.

    Returns
    -------
    pose : (N * G, ...)
        Row ``i * G + g``; same format and dtype. Of operators that move nothing, bit for bit.
    shift : (N * G, 2) or (N * G, 3)

    Raises
    ------
    UsageError
        The format or the symmetry is unknown, something is not made of numbers, psize is neither
        one number nor one a pose, or it is missing though an operator has a translation.
    SourceError
        Wrong shape or dtype, different lengths, or rows that are no pose.
    """
    known = format_named(pose_format)
    operators = _operators_of(operators, convention)
    if psize is None and operators.moves:
        raise UsageError(
            f"psize is missing: {operators.symmetry} has translations; give A per pixel"
        )
    pose = _checked_array(pose, "pose", known.shape)
    shift = _checked_array(shift, "shift", *SHIFT_SHAPES)
    try:
        given = np.asarray(1.0 if psize is None else psize, np.float64)
        sizes = np.array(np.broadcast_to(given, len(pose)))
    except (TypeError, ValueError):
        raise UsageError(
            f"psize={str(psize)[:60]} is neither a number nor {len(pose)} numbers, one a pose: "
            "give A per pixel"
        ) from None
    if len(shift) != len(pose):
        raise SourceError(
            f"pose has {len(pose)} rows, shift has {len(shift)}: give one shift a pose"
        )
    bad = Findings()
    check_pose(pose, known, "pose", 0, bad)
    check_shift(shift, "shift", 0, bad)
    check_psize(sizes, "psize", 0, bad)
    if bad:
        raise SourceError(f"{bad.lines()[0]}: remove these particles or repair them")
    rows = len(pose) * len(operators)
    pose_out = np.empty((rows, *known.shape), pose.dtype)
    shift_out = np.empty((rows, shift.shape[1]), shift.dtype)
    Expander(operators, known).fill(pose, shift, sizes, pose_out, shift_out)
    return pose_out, shift_out


def _operators_of(symmetry: object, convention: str | None) -> Operators:
    """Operators that somebody names, or what is wrong with them."""
    if not isinstance(symmetry, Operators | Symmetry | str):
        raise UsageError(
            f"operators={str(symmetry)[:60]} is a {type(symmetry).__name__}: give a symbol such as "
            "'D7', or operators from point_group, helix or read_operators"
        )
    if convention is not None and not isinstance(symmetry, str):
        raise UsageError("convention= goes with a symbol, and operators= is not one: leave it out")
    return as_operators(symmetry, convention)


def _checked_array(values: Array, name: str, *shapes: tuple[int, ...]) -> Array:
    """Contiguous native float array of one of some shapes, or what is wrong with it."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise UsageError(f"{name} has rows of different lengths: give one array") from None
    if not isinstance(values, np.ndarray) and array.dtype.kind in "iu":
        array = array.astype(np.float64)  # a list of whole numbers
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{name} is not made of numbers but of {array.dtype}: give an array")
    if not array.ndim or array.shape[1:] not in shapes:
        wanted = " or ".join(shape_in_words(shape) for shape in shapes)
        raise SourceError(f"{name} has shape {array.shape}, not {wanted}")
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise SourceError(f"{name} is {array.dtype}, not float32 or float64: convert it")
    return native(array)
