"""Find operators by what they do: products, closure, generators."""

from collections.abc import Sequence

import numpy as np

from numba_symexp.symmetry.operators import Operators
from numba_symexp.types import Array

_EXACT, _TYPED = (1e-9, 1e-6), (2e-3, 0.2)
"""How far equal motions may differ (entries of R, t in A): computed ones, ones from files."""


class Motions:
    """The motions of a set of operators, by which an operator's number is found again.

    Parameters
    ----------
    operators : Operators
    """

    def __init__(self, operators: Operators) -> None:
        self._rotation, self._translation_A = operators.matrix, operators.translation_A
        self._tolerance = _TYPED if operators.typed else _EXACT
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


_WEIGHTS = np.sqrt(np.array([2.0, 3, 5, 7, 11, 13, 17, 19, 23, 0.2, 0.3, 0.7]))
"""Without any simple relation between them."""


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
