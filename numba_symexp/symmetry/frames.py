"""Rotations Q of the map from one frame to another: x' = Q x, and a pose A becomes A Q^T."""

from collections.abc import Sequence

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SymmetryError, UsageError
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import choose_convention, point_group
from numba_symexp.symmetry.subgroups import Motions

_SAME = 1e-6

_OPPOSITE = -1 + 1e-12
"""Cosine of directions that are opposite to each other."""

_NAMED_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def group_named(text: str, convention: str) -> Operators:
    """Operators of ``I1``, or of ``chimerax:n25`` where another program's name is meant.

    Raises
    ------
    SymmetryError
        The name is unknown.
    """
    program, colon, symbol = text.rpartition(":")
    return point_group(symbol, choose_convention(program if colon else None, convention))


def axis_named(name: str, text: str) -> tuple[float, float, float]:
    """Direction of a text: ``x``, ``y``, ``z``, or three numbers ``x,y,z``.

    Raises
    ------
    UsageError
        It is none; the error names the parameter.
    """
    if text.lower() in _NAMED_AXES:
        return _NAMED_AXES[text.lower()]
    try:
        found = np.array([float(part) for part in text.split(",")])
    except ValueError:
        found = np.zeros(0)
    length = np.linalg.norm(found)
    if found.shape != (3,) or not 0 < length < np.inf:
        raise UsageError(f"{name}={text} is no direction: give x, y, z, or three numbers x,y,z")
    x, y, z = (found / length).tolist()
    return x, y, z


def rotation_to(axis: Array, target: Array) -> Array:
    """Smallest rotation (3, 3) of one direction to another; of opposite ones half a turn about x.

    Rodrigues: Q = 1 + [v] + [v]^2 / (1 + c), with v = a x b and c = a . b. Where the directions
    are opposite and lie along x, the half turn is about y.
    """
    one, other = (np.asarray(each, np.float64) / np.linalg.norm(each) for each in (axis, target))
    cosine = float(one @ other)
    if cosine > _OPPOSITE:
        x, y, z = np.cross(one, other)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.asarray(np.eye(3) + cross + cross @ cross / (1 + cosine))
    across = np.array([1.0, 0.0, 0.0]) - one[0] * one
    if np.linalg.norm(across) < _SAME:
        across = np.array([0.0, 1.0, 0.0]) - one[1] * one
    across /= np.linalg.norm(across)
    return np.asarray(2 * np.outer(across, across) - np.eye(3))


def rotation_between(old: Operators, new: Operators) -> Array:
    """Rotation Q (3, 3) that makes one group another: Q g Q^T of all g are the new operators.

    There are several, which differ by the group itself: about a coordinate axis, if there is such
    a one, and then the smallest. The way back is the inverse of the way there.

    Raises
    ------
    SymmetryError
        The groups are of different kinds.
    """
    if _name_of(new) < _name_of(old):
        return rotation_between(new, old).T
    if len(old) == len(new) and sorted(old.fold.tolist()) == sorted(new.fold.tolist()):
        motions, still = Motions(new), np.zeros((len(old), 3))
        found = [
            candidate
            for candidate in _candidates(old, new)
            if (motions.find(candidate @ old.matrix @ candidate.T, still) >= 0).all()
        ]
        if found:
            return min(found, key=_sort_key)
    raise SymmetryError(
        f"{old.symmetry} ({old.convention}) cannot be turned into {new.symmetry} "
        f"({new.convention}): they are groups of different kinds"
    )


def _name_of(operators: Operators) -> tuple[str, str]:
    """What puts groups in an order."""
    return str(operators.symmetry), operators.convention


def _candidates(old: Operators, new: Operators) -> list[Array]:
    """Rotations that take two axes of a group to axes of the same folds, as far apart."""
    if len(old) == 1:
        return [np.eye(3)]
    first = int(np.argmax(old.fold))
    a = old.axis[first]
    across = np.flatnonzero((np.abs(old.axis @ a) < 1 - _SAME) & (old.fold > 1))
    ends = _axes_of(new, int(old.fold[first]))
    if not len(across):
        return [rotation_to(a, end) for end in ends]
    second = int(across[0])
    b = old.axis[second]
    others = _axes_of(new, int(old.fold[second]))
    pairs = [
        (one, other) for one in ends for other in others if _cosine(one, other) == _cosine(a, b)
    ]
    return [_frame(*pair) @ _frame(a, b).T for pair in pairs]


def _cosine(one: Array, other: Array) -> float:
    """Cosine of the angle between two axes, to some decimals."""
    return round(float(one @ other), 5)


def _axes_of(operators: Operators, fold: int) -> Array:
    """Both ends of all axes of a fold, (n, 3)."""
    axes = operators.axis[operators.fold == fold]
    ends = np.concatenate([axes, -axes])
    return np.asarray(ends[np.unique(np.round(ends, 6) + 0.0, axis=0, return_index=True)[1]])


def _frame(one: Array, other: Array) -> Array:
    """Right-handed frame (3, 3) whose first axis is one direction, and the third across both."""
    across = np.cross(one, other)
    across /= np.linalg.norm(across)
    return np.stack([one, np.cross(across, one), across], axis=1)


def _sort_key(rotation: Array) -> tuple[float, ...]:
    """Orders rotations: those about z, y or x before others, small before large."""
    angle_deg, axis = angle_and_axis(rotation)
    along = np.abs(axis) > 1 - _SAME
    rank = float(np.argmax(along[::-1])) if along.any() else 3.0
    return (
        float(angle_deg > _SAME and not along.any()),
        round(angle_deg, 6),
        rank,
        *(-np.round(axis, 6)).tolist(),
    )


def angle_and_axis(rotation: Array) -> tuple[float, Array]:
    """Angle in degrees, 0 to 180, and unit axis of a rotation (3, 3); z where nothing turns."""
    values, vectors = np.linalg.eigh((rotation + rotation.T) / 2)
    axis = vectors[:, int(np.argmax(values))]
    skew = np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    sine, cosine = float(skew @ axis) / 2, (np.trace(rotation) - 1) / 2
    angle_deg = float(np.degrees(np.arctan2(sine, cosine)))
    if abs(angle_deg) < _SAME:
        return 0.0, np.array([0.0, 0.0, 1.0])
    if angle_deg < 0:
        return -angle_deg, -axis
    if angle_deg > 180 - _SAME:  # either end does
        axis = axis * np.sign(axis[np.abs(axis) > _SAME][-1])
    return angle_deg, axis


def chimerax_turn(rotation: Array, center_A: Array, box: Sequence[int] | None) -> str:
    """Commands of ChimeraX that turn a map, model 1, about a point: x' = Q (x - c).

    Parameters
    ----------
    rotation : (3, 3) float64
    center_A : (3,) float64
        From the box center.
    box : sequence of int, optional
        Voxels along x, y and z; N where they are not known.
    """
    moved = np.column_stack([rotation, -rotation @ center_A])
    place = ",".join(f"{part:.6f}" for part in np.round(moved.ravel(), 6) + 0.0)
    index = ",".join(["N/2"] * 3 if box is None else [str(side // 2) for side in box])
    return (
        f"volume #1,2 originIndex {index}; view matrix models #1,{place}; "
        "volume resample #1 onGrid #2; save turned.mrc models #3"
    )
