"""Pairs of labels in each relation, against labels that are permuted within each particle."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.arrangements.patterns import MISSING, counts_of_labels, kinds_of_rows
from numba_symexp.kernels.arrangements import count_pairs, count_pairs_with_gaps

_AT_ONCE = 1 << 22
"""Numbers that are worked on at a time."""

_PARTS = 8
"""Independent parts of the work for the kernel's threads."""

_ERROR_RATE = 0.05
"""Probability that chance alone passes the limit anywhere."""


@dataclass(frozen=True)
class PairCounts:
    """Pairs of labels in R relations, seen and expected; of two labels the lower comes first.

    Attributes
    ----------
    seen : (R, L, L) int64
    expected, variance : (R, L, L) float64
        Under permutation of the labels within each particle, over the sites that came back.
    """

    seen: Array
    expected: Array
    variance: Array

    @property
    def score(self) -> Array:
        """(seen - expected) / sqrt(variance), (R, L, L); NaN where chance has no choice."""
        with np.errstate(divide="ignore", invalid="ignore"):
            free = self.variance > 1e-9 * np.maximum(self.expected, 1)
            return np.where(free, (self.seen - self.expected) / np.sqrt(self.variance), np.nan)

    @property
    def limit(self) -> float | None:
        """Score that chance passes anywhere in one of 20 data sets (Bonferroni, two-sided)."""
        tests = int(np.isfinite(self.score).sum())
        return NormalDist().inv_cdf(1 - _ERROR_RATE / 2 / tests) if tests else None


class PairTally:
    """Adds up pairs of many particles.

    Parameters
    ----------
    relation : (S, S) int32
        Relation of two sites.
    relations, labels : int
        How many there are.
    """

    def __init__(self, relation: Array, relations: int, labels: int) -> None:
        self._relation, self._labels, self._relations = relation, labels, relations
        self._seen = np.zeros((_PARTS, relations, labels, labels), np.int64)
        self._moments = np.zeros((2, relations, labels, labels))
        self._degree = np.zeros((_PARTS, len(relation), relations), np.int32)

    def add(
        self, labels: Array, weight: Array, place_A: Array | None = None, least_A: float = 0.0
    ) -> None:
        """Add particles, each as often as its weight says.

        Parameters
        ----------
        labels : (P, S) uint8
            Codes from 1 on, or ``MISSING``.
        weight : (P,) int64
        place_A : (P, S, 2) float64, optional
            Places of the sites in the image.
        least_A : float
            Pairs of sites that are nearer in the image are left out.
        """
        if not self._relations:
            return  # of one site
        step = max(1, _AT_ONCE // (self._relations * self._labels**2 + len(self._relation)))
        for start in range(0, len(labels), step):
            interrupts.check()
            part = slice(start, start + step)
            if place_A is not None:
                self._add_with_gaps(labels[part], weight[part], place_A[part], least_A)
                continue
            whole = (labels[part] != MISSING).all(axis=1)
            self._add_whole(labels[part][whole], weight[part][whole])
            if not whole.all():
                nowhere = np.empty((0, labels.shape[1], 2))
                self._add_with_gaps(labels[part][~whole], weight[part][~whole], nowhere, 0.0)

    def _add_whole(self, labels: Array, weight: Array) -> None:
        """Add particles that have all labels: those with as many of each share their moments."""
        count_pairs(labels - np.uint8(1), weight, self._relation, self._seen)
        counts = counts_of_labels(labels, self._labels)
        _, first, place = np.unique(kinds_of_rows(counts), return_index=True, return_inverse=True)
        counts, times = counts[first], np.bincount(place, weights=weight, minlength=len(first))
        degree = np.stack([(self._relation == which).sum(axis=1) for which in self._numbers])
        edges = np.broadcast_to(degree.sum(axis=1) // 2, (len(counts), self._relations))
        stars = (degree * (degree - 1) // 2).sum(axis=1)
        self._add_moments(counts, edges, np.broadcast_to(stars, edges.shape), times)

    def _add_with_gaps(self, labels: Array, weight: Array, place_A: Array, least_A: float) -> None:
        """Add particles of which some sites have no label, or lie too close to others."""
        edges, stars = np.empty((2, len(labels), self._relations), np.int64)
        codes = np.where(labels == MISSING, np.uint8(MISSING), labels - np.uint8(1))
        work = (self._degree, self._seen, edges, stars)
        count_pairs_with_gaps(codes, weight, self._relation, place_A, least_A, MISSING, *work)
        self._add_moments(counts_of_labels(labels, self._labels), edges, stars, weight)

    @property
    def _numbers(self) -> range:
        """Numbers of the relations."""
        return range(self._relations)

    def _add_moments(self, counts: Array, edges: Array, stars: Array, weight: Array) -> None:
        """Add what permutations make of particles; see `moments`."""
        for a, b, mean, variance in moments(counts, edges, stars):
            self._moments[0, :, a, b] += weight @ mean
            self._moments[1, :, a, b] += weight @ variance

    def counts(self) -> PairCounts:
        """All that was added."""
        seen = self._seen.sum(axis=0)
        both = seen + seen.transpose(0, 2, 1)
        one = np.arange(self._labels)
        both[:, one, one] = seen[:, one, one]
        return PairCounts(np.triu(both), *self._moments)


def moments(counts: Array, edges: Array, stars: Array) -> Iterator[tuple[int, int, Array, Array]]:
    """Mean and variance of the number X of pairs, when labels are permuted over the sites.

    Of a graph with P edges on m sites, S pairs of edges that share a site, and D = C(P, 2) - S
    that do not, with falling factorials (n)_k::

        aa: E = P (n)_2/(m)_2,      E[X^2] = E + 2 [S (n)_3/(m)_3 + D (n)_4/(m)_4]
        ab: E = 2 P n_a n_b/(m)_2,  E[X^2] = E + 2 [S (n_a (n_b)_2 + n_b (n_a)_2)/(m)_3
                                                    + 4 D (n_a)_2 (n_b)_2/(m)_4]

    Parameters
    ----------
    counts : (P, L) int64
        Sites with each label.
    edges, stars : (P, R) int64
        P and S of each relation.

    Yields
    ------
    a, b : int
        Labels, the lower one first.
    mean, variance : (P, R) float64
    """
    size = counts.sum(axis=1)[:, None].astype(np.float64)
    apart = edges * (edges - 1) / 2 - stars
    falling = {k: _falling(counts.astype(np.float64), k) for k in (1, 2, 3, 4)}
    over = {k: np.maximum(_falling(size, k), 1.0) for k in (2, 3, 4)}  # 0 only where no edges are
    for a in range(counts.shape[1]):
        for b in range(a, counts.shape[1]):
            one, other = ({k: falling[k][:, c, None] for k in falling} for c in (a, b))
            if a == b:
                mean = edges * one[2] / over[2]
                square = stars * one[3] / over[3] + apart * one[4] / over[4]
            else:
                mean = 2 * edges * one[1] * other[1] / over[2]
                square = stars * (one[1] * other[2] + other[1] * one[2]) / over[3]
                square = square + 4 * apart * one[2] * other[2] / over[4]
            yield a, b, mean, mean + 2 * square - mean**2


def _falling(values: Array, k: int) -> Array:
    """Falling factorials n (n - 1) ... (n - k + 1)."""
    product = np.ones(values.shape)
    for step in range(k):
        product = product * (values - step)
    return product
