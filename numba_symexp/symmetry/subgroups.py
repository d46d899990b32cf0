"""Products of operators, and from them closure, generators, subgroups and their left cosets."""

import re
from collections.abc import Sequence

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SymmetryError
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.point_groups import HOUSE
from numba_symexp.symmetry.quaternions import unit, upward
from numba_symexp.symmetry.spec import point_group

_ON_AXIS_DEG = 1.0

_SAME_HEIGHT, _ACROSS = 1e-6, 1e-3
"""How far the heights of axes on one level may differ, and the cosine of axes across each other."""

_POLYHEDRAL = {"T": (2, 3, 12), "O": (4, 3, 24), "I": (5, 2, 60)}
"""Folds of two generators, the first of which tells the place, and the order."""

_BY_ORDER = {order: symbol for symbol, (_, _, order) in _POLYHEDRAL.items()}


_WEIGHTS = np.sqrt(np.array([2.0, 3, 5, 7, 11, 13, 17, 19, 23, 0.2, 0.3, 0.7]))
"""Without any simple relation between them."""


class Motions:
    """The motions of a set of operators, by which an operator's number is found again.

    Parameters
    ----------
    operators : Operators
    """

    def __init__(self, operators: Operators) -> None:
        self._rotation, self._translation_A = operators.matrix, operators.translation_A
        precision = operators.symmetry.precision
        self._tolerance = precision.matrix, precision.shift_A
        keys = self._keys(self._rotation, self._translation_A)
        self._order = np.argsort(keys)
        self._keys_sorted = keys[self._order]

    def find(self, rotation: Array, translation_A: Array) -> Array:
        """Numbers of the operators nearest to n motions, (n,) int64; -1 where none is equal.

        Parameters
        ----------
        rotation : (n, 3, 3) float64
        translation_A : (n, 3) float64
        """
        keys = self._keys(rotation, translation_A)
        reach = self._tolerance[0] * _WEIGHTS[:9].sum() + self._tolerance[1] * _WEIGHTS[9:].sum()
        first = np.searchsorted(self._keys_sorted, keys - reach)
        last = np.searchsorted(self._keys_sorted, keys + reach)
        found, least = np.full(len(keys), -1, np.int64), np.full(len(keys), np.inf)
        for step in range(int((last - first).max(initial=0))):
            candidate = self._order[np.minimum(first + step, len(self._order) - 1)]
            turned = np.abs(self._rotation[candidate] - rotation).max(axis=(1, 2))
            moved_A = np.abs(self._translation_A[candidate] - translation_A).max(axis=1)
            off = np.maximum(turned / self._tolerance[0], moved_A / self._tolerance[1])
            better = (first + step < last) & (off <= 1) & (off < least)
            found[better], least[better] = candidate[better], off[better]
        return found

    def times(self, left: Array, right: Array) -> Array:
        """Numbers of the products g_left g_right (arrays of numbers, broadcast); -1 outside."""
        left, right = np.broadcast_arrays(left, right)
        one, other = left.ravel(), right.ravel()
        rotation = self._rotation[one] @ self._rotation[other]
        moved_A = np.einsum("nij,nj->ni", self._rotation[one], self._translation_A[other])
        return self.find(rotation, moved_A + self._translation_A[one]).reshape(left.shape)

    def identity(self) -> int:
        """Number of the identity; -1 where it is missing."""
        return int(self.find(np.eye(3)[None], np.zeros((1, 3)))[0])

    def closure(self, generators: Sequence[int], most: int) -> Array | None:
        """Numbers of all products of some operators, ascending.

        None where a product is no operator of the set, or there are more than ``most`` of them.
        """
        identity = self.identity()
        if identity < 0:
            return None
        found = np.array([identity])
        steps = np.asarray(generators, np.int64)
        farthest = steps[-1:]  # as in squaring: a large Cn is reached in a few steps
        while True:
            products = np.unique(self.times(found[:, None], np.append(steps, farthest)[None, :]))
            if len(products) and products[0] < 0:
                return None
            latest = np.setdiff1d(products, found)
            found = np.union1d(found, latest)
            if len(found) > most:
                return None
            if not len(latest):
                return found
            farthest = latest[-1:]

    def generators(self, numbers: Sequence[int]) -> list[int] | None:
        """A few of some operators, of which all of them are products; None if they are no group."""
        chosen: list[int] = []
        reached = np.array([self.identity()])
        for number in numbers:
            if number not in reached:
                chosen.append(number)
                closed = self.closure(chosen, len(numbers))
                if closed is None:
                    return None
                reached = closed
        return chosen if len(reached) == len(numbers) else None

    def is_group(self) -> bool:
        """Whether the whole set is closed."""
        return self.generators(range(len(self._rotation))) is not None

    @staticmethod
    def _keys(rotation: Array, translation_A: Array) -> Array:
        """One number of each motion; equal motions have nearly equal numbers."""
        return rotation.reshape(-1, 9) @ _WEIGHTS[:9] + translation_A @ _WEIGHTS[9:]


def generators(operators: Operators) -> list[int]:
    """Numbers of a few operators, of which all others of a group or helix are products.

    Of a helix these are unit +1 and the generators of its point group; of operators that make no
    group, all of them.
    """
    base = np.flatnonzero(operators.rise_index == 0).tolist()
    chosen = Motions(operators).generators(base)
    if chosen is None:
        return list(range(len(operators)))
    return chosen + np.flatnonzero(operators.rise_index == 1)[:1].tolist()


def subgroup(
    operators: Operators, symbol: str, axis: tuple[float, float, float] | None = None
) -> Array:
    """Numbers of the operators of a subgroup, at its place in the set.

    Parameters
    ----------
    operators : Operators
        A group, a helix, or any set that holds the subgroup.
    symbol : str
        ``Cn``, ``Dn``, ``T``, ``O`` or ``I``. It means the group that the convention itself calls
        so, where that lies in the set (D1 has its 2-fold on y for CryoSPARC, on x for RELION).
        Else the one whose axis is nearest to +z is taken, then the one that begins with the lowest
        operator. The axis of Dn is its n-fold; T is told by a 2-fold, O by a 4-fold, I by a 5-fold.
    axis : tuple of float, optional
        Its axis (x, y, z), of any length and to a degree, where another one is meant.

    Raises
    ------
    SymmetryError
        The symbol is unknown, or the set has no such subgroup, or none on that axis; or operators
        from a file have it both as CryoSPARC and as RELION puts it.
    """
    fold, other, order = _generators_of(symbol)
    motions = Motions(operators)
    if order == 1:
        identity = motions.identity()
        if identity < 0:
            raise SymmetryError(f"{operators.symmetry} has no identity, and so no subgroups")
        return np.array([identity])
    standard = standard_subgroups(operators, symbol)
    standard = [each for each in standard if _is_on(principal_axis(operators, each), axis)]
    if len(standard) > 1 and axis is None:
        raise SymmetryError(
            f"{operators.symmetry} has {symbol} as CryoSPARC puts it and as RELION does: give "
            "axis=, or choose with operators="
        )
    if standard:
        return standard[0]
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


def standard_subgroups(operators: Operators, symbol: str) -> list[Array]:
    """Numbers, ascending, of the group that the convention itself calls so, if the set has it.

    Operators from a file have no convention: CryoSPARC's and RELION's groups both count, and are
    two where they differ.
    """
    motions = Motions(operators)
    found: list[Array] = []
    for convention in HOUSE if operators.symmetry.from_file else (operators.convention,):
        try:
            group = point_group(symbol, convention)
        except SymmetryError:  # other programs have no group of that name
            continue
        numbers = np.sort(motions.find(group.matrix, group.translation_A))
        if numbers[0] >= 0 and not any(np.array_equal(numbers, each) for each in found):
            found.append(numbers)
    return found


def group_symbol(order: int, fold: int) -> str:
    """Symbol of the group with so many rotations, and this highest fold; ``?`` of none."""
    if fold == order:
        return f"C{order}"
    return f"D{fold}" if 2 * fold == order else _BY_ORDER.get(order, "?")


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
                "which is not made of whole cosets: choose with operators="
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


def second_axis(operators: Operators, numbers: Array) -> Array | None:
    """Axis (3,) of the lowest 2-fold across the main axis of Dn, n > 1; None of other groups."""
    about = principal_axis(operators, numbers)
    count = len(numbers)
    if about is None or count < 4 or 2 * int(operators.fold[numbers].max()) != count:
        return None
    axes = operators.axis[numbers]
    across = (operators.fold[numbers] == 2) & (np.abs(axes @ about) < _ACROSS)
    return upward(axes[across][:1])[0]


def _is_on(direction: Array | None, axis: tuple[float, float, float] | None) -> bool:
    """Whether a subgroup's axis is the one that is wanted, to a degree; any is where none is."""
    if axis is None or direction is None:
        return axis is None
    return abs(float(direction @ unit(np.array(axis, np.float64)))) > np.cos(
        np.deg2rad(_ON_AXIS_DEG)
    )


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
        height = np.abs(directions @ unit(np.array(axis, np.float64)))
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
