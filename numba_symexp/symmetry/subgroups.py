"""Subgroups of a set of operators, and one operator of each of their left cosets."""

import re

import numpy as np

from numba_symexp.errors import SymmetryError
from numba_symexp.symmetry.motions import Motions
from numba_symexp.symmetry.operators import Operators, upward
from numba_symexp.types import Array

_ON_AXIS_DEG = 1.0

_SAME_HEIGHT, _ACROSS = 1e-6, 1e-3
"""How far the heights of axes on one level may differ, and the cosine of axes across each other."""

_POLYHEDRAL = {"T": (2, 3, 12), "O": (4, 3, 24), "I": (5, 2, 60)}
"""Folds of two generators, the first of which tells the place, and the order."""


def subgroup(
    operators: Operators, symbol: str, axis: tuple[float, float, float] | None = None
) -> Array:
    """Numbers of the operators of a subgroup, at its place in the set.

    Parameters
    ----------
    operators : Operators
        A group, a helix, or any set that holds the subgroup.
    symbol : str
        ``Cn``, ``Dn``, ``T``, ``O`` or ``I``. Where there are several, the one whose axis is
        nearest to +z is taken, then the one that begins with the lowest operator. The axis of Dn
        is its n-fold; T is told by a 2-fold, O by a 4-fold, I by a 5-fold.
    axis : tuple of float, optional
        Its axis (x, y, z), of any length and to a degree, where another one is meant.

    Raises
    ------
    SymmetryError
        The symbol is unknown, or the set has no such subgroup, or none on that axis.
    """
    fold, other, order = _generators_of(symbol)
    motions = Motions(operators)
    if order == 1:
        identity = motions.identity()
        if identity < 0:
            raise SymmetryError(f"{operators.symmetry} has no identity, and so no subgroups")
        return np.array([identity])
    for main in _about(operators, fold, axis):
        for further in _further(operators, main, other, symbol):
            found = motions.closure([main, *further], order)
            if found is not None and len(found) == order:
                return found
    where = "" if axis is None else f" about ({', '.join(f'{part:g}' for part in axis)})"
    folds = ", ".join(f"{n}-fold" for n in sorted(set(operators.fold.tolist()) - {0, 1}))
    raise SymmetryError(
        f"{operators.symmetry} has no subgroup {symbol}{where}: its rotations are "
        f"{folds or 'none'}; `operators` lists their axes"
    )


def left_cosets(operators: Operators, numbers: Array) -> Array:
    """One row for each left coset m H of a subgroup H, (cosets, H) int64; m H is m with any mate.

    Rows begin with their lowest operator, and are in the order of these.

    Raises
    ------
    SymmetryError
        The set does not consist of whole cosets.
    """
    motions = Motions(operators)
    rows: list[Array] = []
    seen = np.zeros(len(operators), np.bool_)
    for number in range(len(operators)):
        if seen[number]:
            continue
        row = motions.times(np.array([number]), numbers)
        if (row < 0).any() or seen[row].any():
            raise SymmetryError(
                f"operator {number} of {operators.symmetry} times the subgroup leaves the set, "
                "which is not made of whole cosets: choose with --operators"
            )
        seen[row] = True
        rows.append(np.concatenate([[number], row[row != number]]))
    return np.array(rows)


def principal_axis(operators: Operators, numbers: Array) -> Array | None:
    """Axis (3,) of the highest fold of some operators, nearest to +z; None of the identity."""
    folds = operators.fold[numbers]
    if folds.max() < 2:
        return None
    about = _about(operators, int(folds.max()), None)
    main = next(number for number in about if number in numbers)
    return upward(operators.axis[[main]])[0]


def _generators_of(symbol: str) -> tuple[int, int, int]:
    """Fold of the main axis, of the other generator (0: none), and the order of a group."""
    name = symbol.strip().upper()
    found = re.fullmatch(r"([CD])([1-9][0-9]{0,4})", name, re.ASCII)
    if found:
        n = int(found[2])
        if found[1] == "C":
            return n, 0, n
        return (2, 0, 2) if n == 1 else (n, 2, 2 * n)
    if name not in _POLYHEDRAL:
        raise SymmetryError(f"subgroup {symbol!r} is unknown: use Cn, Dn, T, O or I")
    return _POLYHEDRAL[name]


def _about(operators: Operators, fold: int, axis: tuple[float, float, float] | None) -> list[int]:
    """Operators of a fold, those about axes nearest to +z (or to an axis) first."""
    wanted = np.flatnonzero(operators.fold == fold)
    directions = upward(operators.axis[wanted])
    if axis is None:
        height = directions[:, 2]
    else:
        target = np.asarray(axis, np.float64)
        height = np.abs(directions @ (target / np.linalg.norm(target)))
        near = height > np.cos(np.deg2rad(_ON_AXIS_DEG))
        wanted, height = wanted[near], height[near]
    order = np.lexsort((wanted, -np.round(height / _SAME_HEIGHT)))
    return wanted[order].tolist()


def _further(operators: Operators, main: int, fold: int, symbol: str) -> list[tuple[int, ...]]:
    """Second generators that may go with the main one; of Dn only those across its axis."""
    if not fold:
        return [()]
    candidates = _about(operators, fold, None)
    if symbol.strip()[0] in "Dd":
        across = np.abs(operators.axis[candidates] @ operators.axis[main]) < _ACROSS
        candidates = np.array(candidates)[across].tolist()
    return [(each,) for each in sorted(candidates)]
