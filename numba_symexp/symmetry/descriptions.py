"""Operators in words: the symmetry, where its axes lie, numbers as ranges."""

import re

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import UsageError
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.quaternions import upward
from numba_symexp.symmetry.subgroups import Motions

_MOST_NUMBERS = 65_536

_MOST_CENTERS = 6
"""So many are named in one line."""


def axes(operators: Operators) -> list[tuple[int, Array]]:
    """Rotation axes of the point group in a set, as (fold, unit vector).

    Highest fold first, then nearest +z, then those in a coordinate plane. An axis points up (+z,
    else +x, else +y). The turns of a helix need not close and count for nothing here.
    """
    vectors = operators.quaternion[operators.rise_index == 0, 1:]
    vectors = vectors[np.any(vectors != 0, axis=1)]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.where(length > 0, length, 1)
    decimals = operators.symmetry.precision.decimals
    vectors = upward(vectors, decimals)
    keys = np.round(vectors[:, [2, 0, 1]], decimals) + 0.0
    keys, index, count = np.unique(keys, axis=0, return_index=True, return_counts=True)
    z, x, y = keys.T
    order = np.lexsort((-y, -x, -np.sum(keys == 0, axis=1), -z, -count))
    directions = vectors[index]
    return [(int(count[k]) + 1, directions[k]) for k in order]


def describe(operators: Operators) -> str:
    """One line: the symmetry, its number of operators, and where its axes lie.

    Of each fold the axis nearest +z is named, and of the highest the next one too where that is z
    itself: this tells I1 from I2, I3 from I4, and a D7 with a 2-fold on y from one on x. Of
    operators that were chosen, how; of operators from a file, whether they are a group.
    """
    count = f"{len(operators):,}"
    if operators.chosen:
        count += f" of {operators.full_order:,}"
    group = operators.of_each_center()[0]
    text = f"{operators.symmetry} ({operators.convention}), {count} operator(s)"
    if operators.chosen:
        return f"{text}: {operators.chosen}{_remarks(operators)}"
    if operators.kind == "own" and not is_group(group):
        return f"{text}, no group{_remarks(operators)}"
    by_fold: dict[int, list[Array]] = {}
    for fold, axis in axes(group):
        by_fold.setdefault(fold, []).append(axis)
    words: list[str] = []
    for fold, directions in by_fold.items():
        nearest = direction(directions[0])
        named = directions[: 2 if nearest == "z" and not words else 1]
        words.append(f"{fold}-fold on {' and '.join(map(direction, named))}")
    return f"{text}{': ' if words else ''}{', '.join(words)}{_remarks(operators)}"


def is_group(operators: Operators) -> bool:
    """Whether operators are closed under products."""
    return Motions(operators).is_group()


def _remarks(operators: Operators) -> str:
    """The assembly, and the points that are put at the image center, if not the box center."""
    words = f"; {operators.symmetry.assembly}" if operators.symmetry.assembly else ""
    centers = operators.centers_A.tolist()
    points = [f"({', '.join(f'{part:.6g}' for part in center)})" for center in centers]
    if len(points) > _MOST_CENTERS:
        points = [*points[:_MOST_CENTERS], f"and {len(points) - _MOST_CENTERS:,} more"]
    if np.any(operators.center_A):
        words += f"; {'centers' if len(centers) > 1 else 'center'} {', '.join(points)} A"
    return f"{words}, turned to z" if len(operators.turn) else words


def direction(axis: Array) -> str:
    """``x``, ``y``, ``z``, or the vector with three decimals."""
    for name, unit in zip("xyz", np.eye(3), strict=True):
        if np.allclose(axis, unit, atol=1e-6):
            return name
    return "(" + ", ".join(f"{part + 0.0:.3f}" for part in np.round(axis, 3)) + ")"


def motion_in_words(angle_deg: float, axis: Array, fold: int, translation_A: Array) -> str:
    """One motion in words; turns are counterclockwise, seen from the tip of the axis."""
    words = []
    up = upward(axis[None])[0]
    turned_deg = angle_deg if up @ axis > 0 else 360 - angle_deg
    if angle_deg > 0:
        part = f"{round(turned_deg * fold / 360)}/{fold} turn" if fold else f"{turned_deg:.3f} deg"
        words.append(f"{part} about {direction(up)}")
    if np.any(translation_A[:2]):
        words.append(f"then moved by ({', '.join(f'{p:.3f}' for p in translation_A)}) A")
    elif translation_A[2]:
        words.append(f"{abs(translation_A[2]):.3f} A {'up' if translation_A[2] > 0 else 'down'}")
    return ", ".join(words) or "stays"


def number_ranges(numbers: list[int]) -> str:
    """Numbers in ascending order as ``0,2,5-7``."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    runs = [run.tolist() for run in np.split(np.array(numbers), breaks)]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def read_number_ranges(name: str, text: str) -> tuple[int, ...]:
    """Read numbers from a text such as ``0,2,5-7``.

    Raises
    ------
    UsageError
        The text is something else; the error names the parameter.
    """
    found: list[int] = []
    for part in text.split(",") if text else []:
        run = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part.strip(), re.ASCII)
        first, last = (int(run[1]), int(run[2] or run[1])) if run else (1, 0)
        if last < first or last - first > _MOST_NUMBERS:
            raise UsageError(f"{name}={text} is not understood: give numbers such as 0,2,5-7")
        found += range(first, last + 1)
    return tuple(found)
