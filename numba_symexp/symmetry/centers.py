"""Points of the map that are put at the image center: their checks, lengths, and turns to z."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import UsageError
from numba_symexp.symmetry.operators import FARTHEST_A, Operators
from numba_symexp.symmetry.quaternions import unit

Point = tuple[float, float, float]

CORNER = "corner"
"""Name of the map's corner as a point."""

MOST_CENTERS = 1_000
"""Nobody looks at as many kinds of subunit."""

SAME_A = 1e-3
"""Points that are nearer are one, and from the box center they have no direction."""

ASLANT = np.sqrt(np.array([2.0, 3.0, 5.0]) / 10)
"""A direction in which few points lie side by side."""

_OPPOSITE = 1e-12
"""Sine of the angle to z below which a direction lies on it."""


def at_length(centers: Sequence[Point], lengths_A: Sequence[float]) -> tuple[Point, ...]:
    """Points in the same directions, at other distances from the box center.

    Parameters
    ----------
    centers : sequence of (3,) float
        A from the box center.
    lengths_A : sequence of float
        One for all, or one for each.

    Raises
    ------
    UsageError
        There are other numbers of them, one is no length, or a point has no direction.
    """
    if len(lengths_A) not in (1, len(centers)):
        raise UsageError(
            f"length= has {len(lengths_A)} numbers, and there are {len(centers)} centers: give one "
            "for all or one for each"
        )
    _refuse_without_direction(centers, "length= goes along the direction to the center")
    found: list[Point] = []
    lengths = [*lengths_A] * (len(centers) // len(lengths_A))
    for center, length_A in zip(centers, lengths, strict=True):
        distance_A = math.hypot(*center)
        if not 0 < length_A < FARTHEST_A:
            raise UsageError(f"length={length_A:g} is not a length above 0, in A")
        x, y, z = (part / distance_A * length_A for part in center)
        found.append((x, y, z))
    return tuple(found)


def _refuse_without_direction(centers: Sequence[Point], what: str, further: str = "") -> None:
    """Refuse points from which no direction goes out.

    Raises
    ------
    UsageError
        Names the first.
    """
    for number, center in enumerate(centers):
        if math.hypot(*center) < SAME_A:
            raise UsageError(
                f"{what}, and center {number} is at the box center: give another{further}"
            )


def refuse_double(centers: Sequence[Point], name: str = "center") -> None:
    """Refuse points that are one and the same.

    Raises
    ------
    UsageError
        Names two of them.
    """
    places = np.array(centers)
    along_A = places @ ASLANT  # points that are one are neighbors, or nearly so
    order = np.argsort(along_A, kind="stable")
    for further in range(1, len(places)):
        one, other = order[:-further], order[further:]
        near = along_A[other] - along_A[one] < SAME_A
        if not near.any():
            return
        one, other = one[near], other[near]
        same = np.linalg.norm(places[one] - places[other], axis=1) < SAME_A
        if same.any():
            pairs = np.sort(np.stack([other[same], one[same]], axis=1), axis=1)
            first, second = pairs[np.lexsort(pairs.T)[0]].tolist()
            raise UsageError(
                f"{name}=: points {first} and {second} (counted from 0) are the same: leave one out"
            )


def turns_to_z(directions: Array) -> Array:
    """Quaternions (C, 4) of the smallest rotations that take directions (C, 3) to +z.

    For a unit vector d: q is (1 + d_z, d x z), made of length 1, with d x z = (d_y, -d_x, 0). For
    d = -z it is half a turn about x.
    """
    x, y, z = unit(directions).T
    found = np.stack([1 + z, y, -x, np.zeros(len(z))], axis=1)
    found[np.hypot(x, y) < _OPPOSITE] = 0.0, 1.0, 0.0, 0.0
    found[(np.hypot(x, y) < _OPPOSITE) & (z > 0)] = 1.0, 0.0, 0.0, 0.0
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def about_centers(
    operators: Operators,
    centers: tuple[Point, ...],
    lengths_A: Sequence[float] = (),
    align: bool = False,
    axis: Point | None = None,
) -> Operators:
    """A full set about some points.

    Parameters
    ----------
    operators : Operators
    centers : tuple of (3,) float
        A from the box center.
    lengths_A : sequence of float
        Distances at which they are put along their directions; see `at_length`.
    align : bool
        Turn the map about each point so that the direction to it lies on +z.
    axis : (3,) float, optional
        What is turned to +z instead.

    Raises
    ------
    UsageError
        Two points are one, a direction is missing, or there are too many.
    """
    if len(centers) > MOST_CENTERS:
        raise UsageError(f"center= has {len(centers):,} points: give at most {MOST_CENTERS:,}")
    if lengths_A:
        centers = at_length(centers, lengths_A)
    refuse_double(centers)
    points_A, turn = np.array(centers, np.float64), None
    if align:
        if axis is None:
            what = "align=True turns the direction to the center to z"
            _refuse_without_direction(centers, what, ", or give align_axis=x,y,z")
        turn = turns_to_z(points_A if axis is None else np.tile(axis, (len(centers), 1)))
    return operators.about(points_A if len(centers) > 1 else points_A[0], turn)


def corner_of(box: int | Sequence[int], voxel_A: float) -> Array:
    """Corner of a map, the center of voxel 0, in A from its box center, voxel N // 2.

    Parameters
    ----------
    box : int or sequence of int
        Voxels along a side, or along x, y and z.
    voxel_A : float
    """
    return -(np.broadcast_to(np.asarray(box, np.int64), 3) // 2) * voxel_A


def check_point(name: str, point: Any) -> None:
    """Refuse what is no point (x, y, z)."""
    try:
        if point is None or (len(point) == 3 and all(math.isfinite(part) for part in point)):
            return
    except TypeError:
        pass
    raise UsageError(f"{name}={point} is not a point: give three numbers x,y,z")


def several_points(points: Any) -> tuple[Point, ...]:
    """Points, of one or of several."""
    found = np.array(points, np.float64).reshape(-1, 3)
    return tuple((x, y, z) for x, y, z in found.tolist())


def check_points(name: str, points: Any) -> None:
    """Refuse what is neither a point (x, y, z), nor several, nor a text."""
    if points is None or isinstance(points, str):
        return
    try:
        several = len(points) > 0 and not isinstance(points[0], float | int | np.number)
    except (TypeError, IndexError, KeyError):
        several = False
    for point in points if several else [points]:
        check_point(name, point)
