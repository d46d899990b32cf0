"""Point groups by symbol: C1, Cn, Dn, T, O, I and I1 to I4, closed from their generators.

Axes: CONVENTIONS of RELION and CryoSPARC, which differ only in the 2-folds of Dn (y for CryoSPARC,
x for RELION). Only rotations: an improper operation would turn a protein into its mirror image.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_symexp.arrays import Array
from numba_symexp.errors import SymmetryError
from numba_symexp.symmetry.operators import MAX_OPERATORS, Operators, canonical, multiply

CONVENTIONS = ("cryosparc", "relion")
KNOWN = "C1, Cn, Dn (n >= 1), T, O, I (= I2), I1, I2, I3, I4"

_PHI = (1 + np.sqrt(np.longdouble(5))) / 2
_Z = (0, 0, 1)
_GENERATORS: dict[str, tuple[tuple[int, tuple[Any, Any, Any]], ...]] = {
    "T": ((3, _Z), (2, (0, np.sqrt(np.longdouble(2)), 1))),
    "O": ((4, _Z), (3, (1, 1, 1))),
    "I1": ((2, _Z), (5, (0, 1, _PHI))),
    "I2": ((2, _Z), (5, (1, 0, _PHI))),
    "I3": ((5, _Z), (5, (-2, 0, 1))),
    "I4": ((5, _Z), (5, (2, 0, 1))),
}


def point_group(symbol: str, convention: str = "cryosparc") -> Operators:
    """Operators of a point group, the identity first, ordered by axis.

    Parameters
    ----------
    symbol : str
        ``C1``, ``Cn``, ``Dn`` with any n, ``T``, ``O``, ``I`` (which means I2), ``I1`` to ``I4``;
        upper or lower case.
    convention : {"cryosparc", "relion"}
        Where the 2-folds of Dn lie: the first on y (CryoSPARC) or on x (RELION).

    Returns
    -------
    Operators
        n, 2n, 12, 24 or 60 of them, without translation.

    Raises
    ------
    SymmetryError
        The symbol or the convention is unknown, or the group has over 65,536 operators.
    """
    if convention.lower() not in CONVENTIONS:
        raise SymmetryError(
            f"convention {convention!r} is unknown: choose one of {', '.join(CONVENTIONS)}"
        )
    name = symbol.strip().upper()
    cyclic = re.fullmatch(r"([CD])([1-9][0-9]*)", name, re.ASCII)
    if cyclic:
        return _axial(cyclic[1], int(cyclic[2]), convention.lower())
    polyhedral = "I2" if name == "I" else name
    if polyhedral not in _GENERATORS:
        raise SymmetryError(f"symmetry {symbol!r} is not a point group of rotations: use {KNOWN}")
    labels, quaternions = _by_axis(_closure(_GENERATORS[polyhedral]))
    return Operators(
        quaternions, np.zeros((len(labels), 3)), labels, polyhedral, convention.lower()
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
        start = _pi() / 2 if convention == "cryosparc" else 0
        dyads = np.stack([zero, np.cos(start + half), np.sin(start + half), zero], axis=1)
        quaternions = np.concatenate([quaternions, dyads])
        labels += [f"U{k}" for k in range(1, n + 1)]
    return Operators(
        canonical(quaternions), np.zeros((order, 3)), tuple(labels), symbol, convention
    )


def _pi() -> Any:
    """Pi in extended precision, where the platform has it."""
    return 4 * np.arctan(np.longdouble(1))


def _closure(generators: Sequence[tuple[int, tuple[Any, Any, Any]]]) -> Array:
    """All products of the generators (fold, axis), in extended precision, the identity first."""
    steps = [_rotation(fold, axis) for fold, axis in generators]
    elements = np.array([(1, 0, 0, 0)], dtype=np.longdouble)
    seen = 0
    while seen < len(elements):
        for step in steps:
            product = multiply(elements[seen], step)
            if np.max(np.abs(elements @ product)) < 1 - 1e-9:
                elements = np.vstack([elements, product])
        seen += 1
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
