"""From what a user says (symbol, convention, twist, rise, order) to operators, and back."""

import numpy as np

from numba_symexp.errors import UsageError
from numba_symexp.symmetry.helices import helix
from numba_symexp.symmetry.motions import Motions
from numba_symexp.symmetry.operator_files import read_operators
from numba_symexp.symmetry.operators import Operators, upward
from numba_symexp.symmetry.orientations import HOUSE, names
from numba_symexp.symmetry.point_groups import point_group
from numba_symexp.types import Array


def resolve(
    symmetry: str | None,
    convention: str,
    twist: float | None = None,
    rise: float | None = None,
    order: int | None = None,
    operators_file: str | None = None,
) -> Operators:
    """Operators of a point group, a helix, a helix times a point group, or a file.

    Parameters
    ----------
    symmetry : str or None
        Symbol of the point group.
    convention : str
        See `point_group`.
    twist, rise, order : float, float, int, optional
        Helix: degrees, A, number of units; all three or none.
    operators_file : str, optional
        See `read_operators`; instead of all others.

    Raises
    ------
    UsageError
        No symmetry at all, part of a helix, or what `point_group` and `helix` refuse.
    SourceError
        What `read_operators` refuses.
    """
    given = {"twist": twist, "rise": rise, "order": order}
    missing = [name for name, value in given.items() if value is None]
    if operators_file is not None:
        if symmetry is not None or len(missing) < len(given):
            raise UsageError("--operators_file brings its own symmetry: give no other")
        return read_operators(operators_file)
    if symmetry is None and len(missing) == len(given):
        raise UsageError(
            f"no symmetry: give --symmetry (one of {names(HOUSE[0])}), --twist, --rise and "
            "--order, or --operators_file"
        )
    group = point_group("C1" if symmetry is None else symmetry, convention)
    if twist is None or rise is None or order is None:
        if len(missing) < len(given):
            raise UsageError(
                "a helix needs --twist, --rise and --order together: "
                f"add {' and '.join('--' + name for name in missing)}"
            )
        return group
    return helix(twist, rise, order, group)


def axes(operators: Operators) -> list[tuple[int, Array]]:
    """Rotation axes of the point group in a set, as (fold, unit vector).

    Highest fold first, then nearest +z, then those in a coordinate plane. An axis points up (+z,
    else +x, else +y). The turns of a helix need not close and count for nothing here.
    """
    vectors = operators.quaternion[operators.rise_index == 0, 1:]
    vectors = vectors[np.any(vectors != 0, axis=1)]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.where(length > 0, length, 1)
    decimals = 3 if operators.typed else 6
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
    text = f"{operators.symmetry} ({operators.convention}), {count} operator(s)"
    if operators.chosen:
        return f"{text}: {operators.chosen}{_centre(operators)}"
    if operators.kind == "own" and not is_group(operators):
        return f"{text}, no group{_centre(operators)}"
    by_fold: dict[int, list[Array]] = {}
    for fold, axis in axes(operators):
        by_fold.setdefault(fold, []).append(axis)
    words: list[str] = []
    for fold, directions in by_fold.items():
        nearest = direction(directions[0])
        named = directions[: 2 if nearest == "z" and not words else 1]
        words.append(f"{fold}-fold on {' and '.join(map(direction, named))}")
    return f"{text}{': ' if words else ''}{', '.join(words)}{_centre(operators)}"


def is_group(operators: Operators) -> bool:
    """Whether operators are closed under products."""
    return Motions(operators).is_group()


def _centre(operators: Operators) -> str:
    """The point that is put at the image centre, if it is not the box centre."""
    if not np.any(operators.center_A):
        return ""
    return f"; centre ({', '.join(f'{part:.6g}' for part in operators.center_A)}) A"


def direction(axis: Array) -> str:
    """``x``, ``y``, ``z``, or the vector with three decimals."""
    for name, unit in zip("xyz", np.eye(3), strict=True):
        if np.allclose(axis, unit, atol=1e-6):
            return name
    return "(" + ", ".join(f"{part + 0.0:.3f}" for part in np.round(axis, 3)) + ")"
