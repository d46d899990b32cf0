"""Where the axes of point groups lie, what programs call them, and their rotations.

Only rotations: an improper operation would turn a protein into its mirror image.

From the sources of the programs: ChimeraX's and EMAN2's symmetry modules, SciPy's
``Rotation.create_group``, cisTEM, RELION.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SymmetryError
from numba_symexp.symmetry.interface import MAX_OPERATORS
from numba_symexp.symmetry.quaternions import canonical, multiply

_MOST_CLOSED = 4_096
"""More than any group has that is not simply about one axis."""

_PHI = (1 + np.sqrt(np.longdouble(5))) / 2
_Z = (0, 0, 1)
_SQRT2 = np.sqrt(np.longdouble(2))

Generators = tuple[tuple[int, tuple[Any, Any, Any]], ...]

GENERATORS: dict[str, Generators] = {
    "T": ((3, _Z), (2, (0, _SQRT2, 1))),
    "T,z3": ((3, _Z), (2, (0, -_SQRT2, 1))),
    "T,222": ((2, _Z), (3, (1, 1, 1))),
    "O": ((4, _Z), (3, (1, 1, 1))),
    "I1": ((2, _Z), (5, (0, 1, _PHI))),
    "I2": ((2, _Z), (5, (1, 0, _PHI))),
    "I3": ((5, _Z), (5, (-2, 0, 1))),
    "I4": ((5, _Z), (5, (2, 0, 1))),
    "I,2n5": ((5, _Z), (5, (0, 2, 1))),
    "I,2n5r": ((5, _Z), (5, (0, -2, 1))),
    "I,2n3": ((3, _Z), (5, (0, 2, _PHI * _PHI))),
    "I,2n3r": ((3, _Z), (5, (0, -2, _PHI * _PHI))),
}
"""Generators (fold, axis) of each orientation of a polyhedral group."""


class Convention(NamedTuple):
    """How one program names its groups.

    ``dyad`` is the axis of the first 2-fold of Dn; ``names`` are its polyhedral groups, each with
    the orientation that it stands for.
    """

    dyad: str
    names: dict[str, str]


_HOUSE = {"T": "T", "O": "O", "I": "I2", "I1": "I1", "I2": "I2", "I3": "I3", "I4": "I4"}

CONVENTIONS = {
    "cryosparc": Convention("y", _HOUSE),
    "relion": Convention("x", _HOUSE),
    "chimerax": Convention(
        "x",
        {
            "T": "T,222",
            "T,222": "T,222",
            "T,z3": "T,z3",
            "O": "O",
            "I": "I1",
            "I,222": "I1",
            "I,222r": "I2",
            "I,n25": "I3",
            "I,n25r": "I4",
            **{name: name for name in ("I,2n5", "I,2n5r", "I,2n3", "I,2n3r")},
        },
    ),
    "eman2": Convention("x", {"tet": "T,z3", "oct": "O", "icos": "I4", "icos2": "I1"}),
    "scipy": Convention("x", {"T": "T,222", "O": "O", "I": "I1"}),
    "cistem": Convention("x", {"T2": "T", "O": "O", "I": "I1", "I2": "I2"}),
}

HOUSE = ("cryosparc", "relion")
"""Conventions of which ``I`` is I2 and is called so."""

_FOREIGN = "chimerax"
"""It has a name for every orientation that RELION and CryoSPARC lack."""


def names(convention: str) -> str:
    """List the symbols of a convention, for a message."""
    if convention in HOUSE:
        return "C1, Cn, Dn (n >= 1), T, O, I (= I2), I1, I2, I3, I4"
    return f"C1; Cn; Dn (n >= 1); {'; '.join(CONVENTIONS[convention].names)}"


def known_elsewhere(symbol: str) -> list[str]:
    """Conventions of other programs that know a symbol."""
    return [
        convention
        for convention, known in CONVENTIONS.items()
        if symbol.lower() in map(str.lower, known.names)
    ]


def stored_symbol(symbol: str, convention: str) -> tuple[str, str]:
    """Symbol and convention of a point group as they are stored.

    Raises
    ------
    SymmetryError
        One of them is unknown, or the group has over 65,536 operators.
    """
    package = convention.lower()
    if package not in CONVENTIONS:
        raise SymmetryError(
            f"convention {convention!r} is unknown: choose one of {', '.join(CONVENTIONS)}"
        )
    given = symbol.strip()
    axial = fold_of(given)
    if axial is not None:
        family, n = axial
        order = n if family == "C" else 2 * n
        if order > MAX_OPERATORS:
            raise SymmetryError(
                f"{family}{n} has {order:,} operators; at most {MAX_OPERATORS:,} fit operator_index"
            )
        return f"{family}{n}", package
    for name, orientation in CONVENTIONS[package].names.items():
        if name.lower() == given.lower():
            # I of these two is I2, and is stored so; other programs keep their own name
            return (orientation if package in HOUSE else name), package
    elsewhere = known_elsewhere(given)
    hint = f", or convention={elsewhere[0]}, which has it" if elsewhere else ""
    raise SymmetryError(
        f"symmetry {symbol!r} is not a point group of rotations: use {names(package)}{hint}"
    )


def fold_of(symbol: str) -> tuple[str, int] | None:
    """Family and fold of Cn or Dn; None of other symbols."""
    found = re.fullmatch(r"([CD])([1-9][0-9]{0,99})", symbol.upper(), re.ASCII)
    return (found[1], int(found[2])) if found else None


def rotations(symbol: str, convention: str) -> tuple[tuple[str, ...], Array]:
    """Labels and quaternions (G, 4) of a stored symbol, the identity first, ordered by axis."""
    axial = fold_of(symbol)
    if axial is not None:
        return _axial(*axial, convention)
    return _by_axis(closure(GENERATORS[CONVENTIONS[convention].names[symbol]]))


def other_settings(symbol: str, convention: str) -> list[tuple[str, str]]:
    """Symbol and convention of the other orientations of a point group.

    Dn has its first 2-fold on y or on x, which is one and the same for even n; T and I stand as
    some program puts them.
    """
    axial = fold_of(symbol)
    if axial is not None:
        family, n = axial
        return [(symbol, other_dyad(convention))] if family == "D" and n % 2 else []
    orientation = CONVENTIONS[convention].names[symbol]
    house = convention if convention in HOUSE else HOUSE[0]
    return [
        (name, house if name in CONVENTIONS[house].names else _FOREIGN)
        for name in GENERATORS
        if name[0] == orientation[0] and name != orientation
    ]


def other_dyad(convention: str) -> str:
    """A convention whose Dn have their first 2-fold on the other axis."""
    return "relion" if CONVENTIONS[convention].dyad == "y" else "cryosparc"


def _axial(family: str, n: int, convention: str) -> tuple[tuple[str, ...], Array]:
    """Cn about z, or Dn with its first 2-fold on y or x."""
    half = _pi() * np.arange(n) / n
    zero = np.zeros_like(half)
    quaternions = np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)
    labels = ["E", *(f"C{n}^{k}" for k in range(1, n))]
    if family == "D":
        start = _pi() / 2 if CONVENTIONS[convention].dyad == "y" else 0
        dyads = np.stack([zero, np.cos(start + half), np.sin(start + half), zero], axis=1)
        quaternions = np.concatenate([quaternions, dyads])
        labels += [f"U{k}" for k in range(1, n + 1)]
    return tuple(labels), canonical(quaternions)


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
