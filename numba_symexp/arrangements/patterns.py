"""Arrangements, labelings that differ by a turn of the particle: how often each occurs, and chance.

A pattern is the smallest labeling of its arrangement, in the order of the labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.arrangements.sites import Sites
from numba_symexp.errors import SymexpError
from numba_symexp.kernels.arrangements import turn_to_smallest
from numba_symexp.particles.words import word_hash

MISSING = 255
"""Code of a copy that did not come back; labels have the codes 1, 2, ... in their order."""

MOST_LABELS = 64
"""Pairs of labels are as many as the square."""

_AT_ONCE = 1 << 20
"""Labels of so many copies are turned at a time."""

_NUMBERED_AT_ONCE = 1 << 24
"""Labels of so many copies are told from those before at a time."""


@dataclass(frozen=True)
class Patterns:
    """The P patterns that occur, the most frequent first.

    Those without gaps come before the others, and the one of gaps alone comes last.

    Attributes
    ----------
    turned : (N, S) uint8
        Codes of the labels of each particle, turned to its pattern.
    first : (P,) int64
        A particle with each pattern.
    particles : (P,) int64
        How many particles have each.
    fixed : (P,) int64
        Order of the group that each has itself: of the turns that leave it as it is.
    complete, told : int
        How many of the patterns have no gap, and how many have a label.
    number : (N,) uint32
        Pattern of each particle.
    turn : (N,) uint16
        Place, among the turns of the sites, of the h that makes a particle's labels the pattern.
    """

    turned: Array
    first: Array
    particles: Array
    fixed: Array
    complete: int
    told: int
    number: Array
    turn: Array

    def labels(self, which: Array | slice) -> Array:
        """Codes of the labels of some patterns, (n, S) uint8."""
        return np.asarray(self.turned[self.first[which]])

    def counts(self, labels: int) -> Array:
        """How often each of L labels stands in each complete pattern, (P, L) int64."""
        step = max(1, _AT_ONCE // self.turned.shape[1])
        parts = [np.zeros((0, labels), np.int64)]
        for start in range(0, self.complete, step):
            part = slice(start, min(start + step, self.complete))
            parts.append(counts_of_labels(self.labels(part), labels))
        return np.concatenate(parts)


@dataclass(frozen=True)
class Chance:
    """What chance makes of the complete patterns.

    Attributes
    ----------
    orbit : (P,) int64
        How many labelings a turn makes this pattern.
    independent : (P,) float64
        Particles expected if all copies had their labels independently, N |orbit| prod p_c^n_c.
    given_counts : (P,) float64
        Particles expected among those with as many copies of each label, N_n q with
        q = |orbit| prod n_c! / S!.
    score : (P,) float64
        (particles - N_n q) / sqrt(N_n q (1 - q)); NaN where the counts allow one pattern only.
    """

    orbit: Array
    independent: Array
    given_counts: Array
    score: Array


def find_patterns(labels: Array, sites: Sites, score: Array | None = None) -> Patterns:
    """Turn all particles to their patterns, and number these.

    Parameters
    ----------
    labels : (N, S) uint8
        Codes; all are overwritten with those of the turned particles.
    sites : Sites
    score : (N, S) float32, optional
        Of equal turns, the one with the best score at its first site is taken.

    Returns
    -------
    Patterns
    """
    count, width = labels.shape
    turn, fixed = np.empty(count, np.uint16), np.empty(count, np.uint16)
    number = np.empty(count, np.uint32)
    known = _Known(labels)
    step = max(1, _AT_ONCE // width)
    buffer = np.empty((min(step, count), width), np.uint8)
    for start in range(0, count, step):
        interrupts.check()
        part = slice(start, min(start + step, count))
        turned = buffer[: part.stop - start]
        scores = np.empty((len(turned), 0), np.float32) if score is None else score[part]
        turn_to_smallest(labels[part], sites.mates, scores, turned, turn[part], fixed[part])
        labels[part] = turned
    step = max(1, _NUMBERED_AT_ONCE // width)
    for start in range(0, count, step):
        interrupts.check()
        part = slice(start, min(start + step, count))
        number[part] = known.numbers_of(part)
    first = known.first
    particles = np.bincount(number, minlength=len(first))
    patterns = labels[first]
    gaps = np.zeros(len(patterns), np.int64)
    for site in patterns.T:
        gaps += site == MISSING
    order = np.argsort(patterns.view(f"S{width}").ravel(), kind="stable")
    del patterns
    kind = (gaps > 0).astype(np.int8) + (gaps == width)
    order = order[np.lexsort((-particles[order], kind[order]))]
    place = np.empty(len(order), np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    first = first[order]
    return Patterns(
        labels,
        first,
        particles[order],
        fixed[first].astype(np.int64),
        int(np.count_nonzero(kind == 0)),
        int(np.count_nonzero(kind < 2)),
        place[number],
        turn,
    )


class _Known:
    """Patterns that were seen among turned labels (N, S), in the order of their hashes."""

    def __init__(self, labels: Array) -> None:
        self._labels = labels
        self.first = np.empty(0, np.int64)
        self._hash = np.empty(0, np.uint64)
        self._given = np.empty(0, np.uint32)

    def numbers_of(self, part: slice) -> Array:
        """Numbers of the patterns of some particles, in the order in which they were first seen.

        Raises
        ------
        SymexpError
            Two patterns have one hash.
        """
        labels = self._labels[part]
        hashes = word_hash(labels.view(f"S{labels.shape[1]}").ravel())
        unique, first, place = np.unique(hashes, return_index=True, return_inverse=True)
        near = np.searchsorted(self._hash, unique)
        new = np.append(self._hash, np.uint64(0))[near] != unique
        new |= near == len(self._hash)
        given = np.arange(len(self.first), len(self.first) + np.count_nonzero(new), dtype=np.uint32)
        self.first = np.concatenate([self.first, part.start + first[new]])
        everything = np.concatenate([self._hash, unique[new]])
        order = np.argsort(everything, kind="stable")
        self._hash = everything[order]
        self._given = np.concatenate([self._given, given])[order]
        number = self._given[np.searchsorted(self._hash, unique)][place]
        if (self._labels[self.first[number]] != labels).any():
            raise SymexpError("two patterns of labels have one hash: report it")
        return number


def counts_of_labels(labels: Array, count: int) -> Array:
    """How often each of L labels stands in each row, (P, L) int64."""
    return np.stack([(labels == code).sum(axis=1) for code in range(1, count + 1)], axis=1)


def kinds_of_rows(counts: Array) -> Array:
    """Number the different rows of counts (P, L), from 0 on in ascending order, (P,) int64."""
    kind = np.zeros(len(counts), np.int64)
    for column in counts.T:
        pairs = kind * (int(column.max(initial=0)) + 1) + column
        kind = np.unique(pairs, return_inverse=True)[1].reshape(-1)
    return kind


def chance(patterns: Patterns, sites: Sites, copies: Array) -> Chance:
    """What chance makes of the complete patterns.

    Parameters
    ----------
    patterns : Patterns
    sites : Sites
    copies : (L,) int64
        Copies with each label, those of incomplete particles too.
    """
    whole = slice(patterns.complete)
    particles = patterns.particles[whole]
    orbit = len(sites.turns) // patterns.fixed[whole]
    counts = patterns.counts(len(copies))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(sites) + 1)))])
    log_labelings = log_factorial[-1] - log_factorial[counts].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        frequency = np.log(copies / copies.sum())
        log_chance = np.where(counts > 0, counts * frequency, 0.0).sum(axis=1)
        independent = particles.sum() * orbit * np.exp(log_chance)
        share = np.minimum(orbit * np.exp(-log_labelings), 1.0)
        alone = orbit == np.rint(np.exp(log_labelings))
        alike = kinds_of_rows(counts)
        total = np.bincount(alike, weights=particles)[alike] if len(particles) else particles
        given = np.where(alone, total, total * share)
        spread = np.sqrt(total * share * (1 - share))
        score = np.where(alone, np.nan, (particles - given) / spread)
    return Chance(orbit, independent, given, score)


def possible_arrangements(sites: Sites, labels: int) -> int:
    """How many arrangements of so many labels there are, by Burnside's lemma.

    The mean, over the turns, of L^c with the number c of cycles of the sites.
    """
    total = 0
    for mates in sites.mates:
        cycles, seen = 0, np.zeros(len(mates), np.bool_)
        for site in range(len(mates)):
            cycles += not seen[site]
            while not seen[site]:
                seen[site] = True
                site = int(mates[site])
        total += labels**cycles
    return total // len(sites.mates)


class PatternText:
    """Patterns as text: names without anything between them where all are one character.

    Parameters
    ----------
    names : sequence of str
        Of the labels.
    gap : str
        Of a copy that did not come back.
    """

    def __init__(self, names: Sequence[str], gap: str) -> None:
        self._names = [gap] * 256
        self._names[1 : len(names) + 1] = names
        self._between = "" if all(len(name) == 1 for name in names) else ":"

    def __call__(self, labels: Array) -> str:
        """Text of one pattern (S,)."""
        return self._between.join(self._names[code] for code in labels.tolist())

    def width(self, sites: int) -> int:
        """Most bytes of a text."""
        longest = max(len(name.encode()) for name in self._names)
        return sites * (longest + len(self._between))

    def words(self, labels: Array) -> Array:
        """Texts (n,) of patterns (n, S), as bytes."""
        codes = [name.encode() for name in self._names]
        if not self._between and all(len(code) == 1 for code in codes):
            letters = np.frombuffer(b"".join(codes), np.uint8)[labels]
            return np.ascontiguousarray(letters).view(f"S{labels.shape[1]}").ravel()
        unique, place = np.unique(labels, axis=0, return_inverse=True)
        texts = np.array([self(each).encode() for each in unique])
        return texts[place.reshape(-1)]
