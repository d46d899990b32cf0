"""Mean motions of many copies, of which single ones that are far off do not count.

A mean is found as a correction of a first estimate: pass by pass, sums over the copies' deviations
from it are all that is kept.
"""

from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.copies.references import Pairs
from numba_symexp.kernels.motions import add_deviations, deviations
from numba_symexp.symmetry.quaternions import multiply

_ROUNDS = 5
_FAR = 6.0
"""Copies this many times farther off than half of them are no longer counted (9 sigma)."""

_FLOOR_DEG, _FLOOR_A = 1e-3, 1e-3
"""What float32 and text may add to a deviation."""

_SEEN = 1e-3
"""A translation along the view of all particles moves no image; views must differ by 2 degrees."""


@dataclass(frozen=True)
class Centers:
    """A motion of each of K copies, and how far from it a copy may be.

    Attributes
    ----------
    quaternion : (K, 4) float64
    translation_A : (K, 3) float64
    limit_deg, limit_A : (K,) float64
    """

    quaternion: Array
    translation_A: Array
    limit_deg: Array
    limit_A: Array

    def deviations(self, pairs: Pairs) -> tuple[Array, Array]:
        """How far n copies are off.

        Returns
        -------
        turn : (n, 3) float64
            Twice the vector part of the quaternion that is left; about a rotation vector, rad.
        shift_A : (n, 2) or (n, 3) float64
            Shift that is left.
        """
        turn, shift_A = np.empty((len(pairs.copy), 3)), np.empty(pairs.moved_A.shape)
        deviations(*pairs, self.quaternion, self.translation_A, turn, shift_A)
        return turn, shift_A


class Totals:
    """Sums over the copies that count, from which their means follow.

    Parameters
    ----------
    centers : Centers
        First estimates.
    """

    def __init__(self, centers: Centers) -> None:
        self._centers = centers
        count = len(centers.quaternion)
        self.particles, self.kept = np.zeros((2, count), np.int64)
        self.largest_deg, self.largest_A = np.zeros((2, count))
        self._square_rad, self._square_A = np.zeros((2, count))
        self._sums = np.zeros((count, 15))

    def add(self, pairs: Pairs) -> None:
        """Add some copies."""
        copy, count = pairs.copy, len(self.kept)
        turn, shift_A = self._centers.deviations(pairs)
        angle, distance_A = angle_of(turn), np.linalg.norm(shift_A, axis=1)
        self.particles += np.bincount(copy, minlength=count)
        np.maximum.at(self.largest_deg, copy, np.rad2deg(angle))
        np.maximum.at(self.largest_A, copy, distance_A)
        near = np.rad2deg(angle) <= self._centers.limit_deg[copy]
        near &= distance_A <= self._centers.limit_A[copy]
        counted = copy[near]
        self.kept += np.bincount(counted, minlength=count)
        self._square_rad += np.bincount(counted, angle[near] ** 2, count)
        self._square_A += np.bincount(counted, distance_A[near] ** 2, count)
        add_deviations(copy, near, turn, shift_A, pairs.reference, self._sums)

    def means(self) -> "Means":
        """Mean motions of the copies that count."""
        kept = np.maximum(self.kept, 1)
        turn, push_A, views = np.split(self._sums, (3, 6), axis=1)
        turn = turn / kept[:, None]
        rest = np.sqrt(np.maximum(1 - (turn**2).sum(axis=1) / 4, 0))
        quaternion = multiply(
            self._centers.quaternion, np.concatenate([rest[:, None], turn / 2], axis=1)
        )
        sight = kept[:, None, None] * np.eye(3) - views.reshape(-1, 3, 3)
        seen, direction = np.linalg.eigh(sight)
        is_seen = seen > _SEEN * kept[:, None]
        inverse = np.where(is_seen, 1 / np.where(is_seen, seen, 1), 0)
        push = np.einsum("kji,kj->ki", direction, push_A)
        step_A = np.einsum("kij,kj->ki", direction, push * inverse)
        left_rad = self._square_rad / kept - angle_of(turn) ** 2
        left_A = (self._square_A - (step_A * push_A).sum(axis=1)) / kept
        rms_deg, rms_A = (
            np.rad2deg(np.sqrt(np.maximum(left_rad, 0))),
            np.sqrt(np.maximum(left_A, 0)),
        )
        return Means(
            quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True),
            self._centers.translation_A + step_A,
            rms_deg,
            rms_A,
            rms_deg / np.sqrt(np.maximum(kept - 1, 1)),
            rms_A * np.sqrt(inverse.max(axis=1)),
            np.asarray(is_seen.all(axis=1)),
        )


@dataclass(frozen=True)
class Means:
    """Mean motions of K copies.

    Attributes
    ----------
    quaternion : (K, 4) float64
    translation_A : (K, 3) float64
    rms_deg, rms_A : (K,) float64
        Of the deviations of single particles.
    error_deg, error_A : (K,) float64
        Standard errors of the means.
    seen : (K,) bool
        Whether the views show every direction; else a translation has no part in one of them.
    """

    quaternion: Array
    translation_A: Array
    rms_deg: Array
    rms_A: Array
    error_deg: Array
    error_A: Array
    seen: Array


def robust_centers(sample: Pairs, count: int) -> Centers:
    """Motions of most of a sample, with limits of how far off a copy may be to count.

    Parameters
    ----------
    sample : Pairs
        Some copies of each kind.
    count : int
        Number K of copies.
    """
    outer = sample.quaternion[:, :, None] * sample.quaternion[:, None]
    _, vectors = np.linalg.eigh(_sums(sample.copy, outer.reshape(-1, 16), count).reshape(-1, 4, 4))
    anything = np.full(count, np.inf)
    centers = Centers(
        np.ascontiguousarray(vectors[:, :, -1]), np.zeros((count, 3)), anything, anything
    )
    for _ in range(_ROUNDS):
        totals = Totals(centers)
        totals.add(sample)
        means = totals.means()
        centers = Centers(means.quaternion, means.translation_A, anything, anything)
        turn, shift_A = centers.deviations(sample)
        off_deg, off_A = np.rad2deg(angle_of(turn)), np.linalg.norm(shift_A, axis=1)
        centers = Centers(
            means.quaternion,
            means.translation_A,
            _FLOOR_DEG + _FAR * _medians(sample.copy, off_deg, count),
            _FLOOR_A + _FAR * _medians(sample.copy, off_A, count),
        )
    return centers


def angle_of(turn: Array) -> Array:
    """Angles (n,), rad, of deviations (n, 3)."""
    return np.asarray(2 * np.arcsin(np.minimum(np.linalg.norm(turn, axis=1) / 2, 1)))


def _sums(copy: Array, values: Array, count: int) -> Array:
    """Sums (count, m) of values (n, m) over the rows of each copy."""
    columns = [np.bincount(copy, weights=column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1)


def _medians(copy: Array, values: Array, count: int) -> Array:
    """Lower medians (count,) of values (n,) of each copy; 0 where it has none."""
    order = np.lexsort((values, copy))
    rows = np.bincount(copy, minlength=count)
    middle = np.cumsum(rows) - rows + np.maximum(rows - 1, 0) // 2
    sorted_values = np.append(values[order], 0.0)
    return np.where(rows > 0, sorted_values[np.minimum(middle, len(values))], 0.0)
