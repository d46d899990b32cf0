"""Point groups by symbol: C1, Cn, Dn, T, O, I and I1 to I4, closed from their generators.

Only rotations: an improper operation would turn a protein into its mirror image.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_symexp.errors import SymmetryError
from numba_symexp.symmetry.operators import MAX_OPERATORS, Operators, canonical, multiply
from numba_symexp.symmetry.orientations import (
    CONVENTIONS,
    GENERATORS,
    HOUSE,
    known_elsewhere,
    names,
)
from numba_symexp.types import Array

_MOST_CLOSED = 4_096
"""More than any group has that is not simply about one axis."""


def point_group(symbol: str, convention: str = "cryosparc") -> Operators:
    """Operators of a point group, the identity first, ordered by axis.

    Parameters
    ----------
    symbol : str
        ``C1``, ``Cn``, ``Dn`` with any n, ``T``, ``O``, ``I`` (which means I2), ``I1`` to ``I4``;
        upper or lower case. Conventions of other programs have their own names of T, O and I.
    convention : {"cryosparc", "relion", "chimerax", "eman2", "scipy", "cistem"}
        Whose axes: the first 2-fold of Dn lies on y (CryoSPARC) or on x (all others).

    Returns
    -------
    Operators
        n, 2n, 12, 24 or 60 of them, without translation.

    Raises
    ------
    SymmetryError
        The symbol or the convention is unknown, or the group has over 65,536 operators.
    """
    package = convention.lower()
    if package not in CONVENTIONS:
        raise SymmetryError(
            f"convention {convention!r} is unknown: choose one of {', '.join(CONVENTIONS)}"
        )
    given = symbol.strip()
    cyclic = re.fullmatch(r"([CD])([1-9][0-9]*)", given.upper(), re.ASCII)
    if cyclic:
        return _axial(cyclic[1], int(cyclic[2]), package)
    for name, orientation in CONVENTIONS[package].names.items():
        if name.lower() == given.lower():
            labels, quaternions = _by_axis(closure(GENERATORS[orientation]))
            # the house's I is I2, and says so; other programs keep their own name
            stored = orientation if package in HOUSE else name
            return Operators(quaternions, np.zeros((len(labels), 3)), labels, stored, package)
    elsewhere = known_elsewhere(given)
    hint = f", or --convention={elsewhere[0]}, which has it" if elsewhere else ""
    raise SymmetryError(
        f"symmetry {symbol!r} is not a point group of rotations: use {names(package)}{hint}"
    )


def _axial(family: str, n: int, convention: str) -> Operators:
    """Cn about z, or Dn with its first 2-fold on y or x."""
    symbol = f"{family}{n}"
    order = n if family == "C" else 2 * n
    if order > MAX_OPERATORS:
        raise SymmetryError(
            f"{symbol} has {order:,} operators; at most {MAX_OPERATORS:,} fit operator_index"
        )
    half = _pi() * np.arange(n) / n
    zero = np.zeros_like(half)
    quaternions = np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)
    labels = ["E", *(f"C{n}^{k}" for k in range(1, n))]
    if family == "D":
        start = _pi() / 2 if CONVENTIONS[convention].dyad == "y" else 0
        dyads = np.stack([zero, np.cos(start + half), np.sin(start + half), zero], axis=1)
        quaternions = np.concatenate([quaternions, dyads])
        labels += [f"U{k}" for k in range(1, n + 1)]
    return Operators(
        canonical(quaternions), np.zeros((order, 3)), tuple(labels), symbol, convention
    )


def _pi() -> Any:
    """Pi in extended precision, where the platform has it."""
    return 4 * np.arctan(np.longdouble(1))


def closure(generators: Sequence[tuple[int, tuple[Any, Any, Any]]]) -> Array:
    """All products of generators (fold, axis), as quaternions, the identity first.

    In extended precision, where the platform has it.

    Raises
    ------
    SymmetryError
        They do not close: such axes are in no finite group.
    """
    steps = [_rotation(fold, axis) for fold, axis in generators]
    elements = np.array([(1, 0, 0, 0)], dtype=np.longdouble)
    seen = 0
    while seen < len(elements):
        for step in steps:
            product = multiply(elements[seen], step)
            if np.max(np.abs(elements @ product)) < 1 - 1e-9:
                elements = np.vstack([elements, product])
        seen += 1
        if len(elements) > _MOST_CLOSED:
            raise SymmetryError(f"the axes make no group of up to {_MOST_CLOSED:,} rotations")
    return elements


def _rotation(fold: int, axis: tuple[Any, Any, Any]) -> Array:
    """Quaternion of one fold-th of a turn about an axis of any length, in extended precision."""
    direction = np.array(axis, dtype=np.longdouble)
    direction /= np.sqrt(np.sum(direction**2))
    half = _pi() / fold
    return np.concatenate([[np.cos(half)], np.sin(half) * direction])


def _by_axis(elements: Array) -> tuple[tuple[str, ...], Array]:
    """Order a polyhedral group by fold, axis (nearest +z first, then +x, +y) and angle; name each.

    An axis is named by its fold and its rank: ``C5.2^3`` is 3/5 of a turn about the second
    5-fold. Every axis points up (+z, then +x, then +y), and turns anticlockwise about it.
    """
    quaternions = canonical(elements)
    turns: dict[tuple[float, ...], list[tuple[float, int]]] = {}
    for index, (w, *vector) in enumerate(quaternions[1:], start=1):
        axis = np.array(vector) / np.linalg.norm(vector)
        key = tuple(np.round(axis[[2, 0, 1]], 6) + 0.0)
        up = next(part for part in key if part != 0) > 0
        angle = 2 * np.arccos(w)
        turned = (key, angle) if up else (tuple(-part + 0.0 for part in key), 2 * np.pi - angle)
        turns.setdefault(turned[0], []).append((turned[1], index))
    labels, order, rank = ["E"], [0], dict.fromkeys(range(2, 6), 0)
    for key in sorted(turns, key=lambda k: (-len(turns[k]), *(-part for part in k))):
        fold = len(turns[key]) + 1
        rank[fold] += 1
        for power, (_, index) in enumerate(sorted(turns[key]), start=1):
            labels.append(f"C{fold}.{rank[fold]}^{power}")
            order.append(index)
    return tuple(labels), quaternions[order]
