"""What `arrange` found."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_LARGE, _LARGE_SCORE = 10**15, 1e6

_NEARLY = 0.9

_FEW = 5
"""With fewer particles, seen and expected, a normal deviate is none."""


@dataclass(frozen=True)
class Arrangement:
    """Labelings that differ by a turn of the particle alone, where all copies have labels.

    Attributes
    ----------
    id : int
        From 1 on, the most frequent first.
    pattern : tuple of str
        Label of each operator; the smallest of the orbit, in the order of the labels.
    particles : int
    expected : float
        Under independence, N |orbit| prod p_c^n_c: a comparison, no test.
    expected_given_counts : float
        Among the particles with as many copies of each label.
    score : float or None
        (particles - expected_given_counts) / standard deviation; None where the counts allow this
        arrangement only.
    orbit : int
        How many labelings it has.
    symmetry : str
        Its own symmetry, and the axis.
    """

    id: int
    pattern: tuple[str, ...]
    particles: int
    expected: float
    expected_given_counts: float
    score: float | None
    orbit: int
    symmetry: str


@dataclass(frozen=True)
class Incomplete:
    """Labelings with copies that did not come back, shown as ``-``.

    Attributes
    ----------
    id : int
        Counts on behind the arrangements.
    pattern : tuple of str
    particles : int
    """

    id: int
    pattern: tuple[str, ...]
    particles: int


@dataclass(frozen=True)
class PairOfLabels:
    """How often two labels stand in one relation.

    Attributes
    ----------
    relation : str
    site_pairs : int
        Pairs of sites of a particle that lie so; 0 along a helix.
    labels : tuple of str
    pairs : int
        How often the labels stand so.
    expected : float
        When labels are permuted within each particle.
    score : float or None
        (pairs - expected) / standard deviation; None where a permutation changes nothing.
    sites : tuple of int
        Operators of one such pair.
    angle_deg : float or None
    distance_A : float or None
        Between the centers, where there is a center.
    """

    relation: str
    site_pairs: int
    labels: tuple[str, str]
    pairs: int
    expected: float
    score: float | None
    sites: tuple[int, int] | None = None
    angle_deg: float | None = None
    distance_A: float | None = None


@dataclass(frozen=True)
class ArrangeReport:
    """What `arrange` found, and what it wrote.

    Attributes
    ----------
    files : tuple of str
        The labeled copies.
    column : str
        What tells the labels.
    symmetry : str
        The operators, in words.
    particles : int
        Those that the rows may be copies of.
    labels : dict of str to int
        Copies with each label, in the order of the labels.
    sites, group_order : int
        Sites of a particle, and turns that make it an equivalent one.
    complete : int
        Particles of which every copy has a label.
    possible : int
        How many arrangements there are of so many labels.
    arrangements : tuple of Arrangement
        The most frequent ones.
    further : tuple of int
        How many arrangements there are beyond these, and particles in them.
    incomplete : tuple of Incomplete
        The most frequent ones.
    further_incomplete : tuple of int
        Likewise.
    unlabeled : int
        Particles without any labeled copy.
    pairs : tuple of PairOfLabels
    limit : float or None
        Score that chance alone passes, anywhere among the pairs, in one of 20 sets.
    notes : tuple of str
        What the user should know.
    outputs : tuple of str
        Files that were written.
    written : int
        Particles in them.
    """

    files: tuple[str, ...]
    column: str
    symmetry: str
    particles: int
    labels: dict[str, int]
    sites: int
    group_order: int
    complete: int
    possible: int
    arrangements: tuple[Arrangement, ...]
    further: tuple[int, int]
    incomplete: tuple[Incomplete, ...]
    further_incomplete: tuple[int, int]
    unlabeled: int
    pairs: tuple[PairOfLabels, ...]
    limit: float | None
    notes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    written: int = 0

    @property
    def strongest(self) -> PairOfLabels | None:
        """The pair with the largest score, of either sign; None where there are no scores.

        Of pairs that are about as strong, such as both sides of one finding about two labels, the
        one of the rarest labels.
        """
        scores = {pair: abs(pair.score) for pair in self.pairs if pair.score is not None}
        near = [each for each in scores if scores[each] >= _NEARLY * max(scores.values())]
        return min(
            near, key=lambda pair: sum(map(self.labels.__getitem__, pair.labels)), default=None
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        record = dict(vars(self))
        for name in ("arrangements", "incomplete", "pairs"):
            record[name] = [dict(vars(each)) for each in record[name]]
        strongest = self.strongest
        record["strongest"] = None if strongest is None else dict(vars(strongest))
        return record


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+="


def letters(names: Sequence[str]) -> tuple[str, ...]:
    """One character for each label: its name where all are one character, else A, B, ..."""
    if all(len(name) == 1 for name in names):
        return tuple(names)
    return tuple(_LETTERS[: len(names)])


def are_few(particles: int, expected: float) -> bool:
    """Whether a score says nothing: among many rare arrangements some are seen once by chance."""
    return max(particles, expected) < _FEW


def in_short(number: int) -> str:
    """A whole number, of so many digits as it may have: the first three of a large one."""
    return f"{number:,}" if number < _LARGE else f"{Decimal(number):.2e}"


def signed(score: float) -> str:
    """A score with its sign; one that rounds to zero has +."""
    return f"{round(score, 1) + 0.0:+.1f}" if abs(score) < _LARGE_SCORE else f"{score:+.0e}"
