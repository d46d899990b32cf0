"""Pairs of labels along helical tubes, by the number of units between them.

Boxes overlap, so that a subunit is seen several times, and a window of a helix is no group: only
pairs by j' - j are counted, with j = round(track length / rise) + k, and one label for each j.
"""

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.arrangements.labels import Labels
from numba_symexp.arrangements.pairs import PairCounts, moments
from numba_symexp.arrangements.patterns import MISSING
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.formats.relion.labels import MICROGRAPH, TRACKS, TUBE_ID
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import TUBE
from numba_symexp.particles.table import ParticleTable
from numba_symexp.particles.words import mix_bits, numbers, word_hash
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import Helix

_CS_TRACK = "filament/position_A"

_LEAST_REACH = 10
"""So many units apart pairs are counted at least."""

_MOST_UNITS = 10_000_000
"""A tube of so many units is none."""


def pairs_along_tubes(
    source: ParticleTable, operators: Operators, labels: Labels
) -> tuple[PairCounts, list[str]]:
    """Count pairs of labels of subunits that lie 1, 2, ... units apart in one tube.

    Parameters
    ----------
    source : ParticleTable
        The boxes, with their tubes and their places on these.
    operators : Operators
        Of a helix.
    labels : Labels

    Returns
    -------
    PairCounts
        Relation 0 is j' - j = 1.
    list of str
        What a user should know.

    Raises
    ------
    UsageError
        The helix comes with a point group, or has no rise.
    SourceError
        Tubes or places are missing.
    """
    symmetry = operators.symmetry
    if not isinstance(symmetry, Helix) or symmetry.group.symbol != "C1" or not symmetry.rise_A:
        raise UsageError(
            f"{symmetry}: pairs along a tube are counted for a helix alone, with a rise: instead "
            "of a helix times a point group, expand by one of them"
        )
    tube, track_A = _places(source)
    order = np.lexsort((track_A, tube))
    starts = np.flatnonzero(np.append(True, np.diff(tube[order]) != 0))
    first = np.rint(track_A / symmetry.rise_A).astype(np.int64)
    step = operators.rise_index.astype(np.int64)
    reach = max(_LEAST_REACH, symmetry.order - 1)
    tally = _Tally(reach, len(labels.names))
    for boxes in np.split(order, starts[1:]):
        interrupts.check()
        tally.add(*_one_label_each(first[boxes], step, labels.codes[boxes], len(labels.names)))
    notes = [
        "a helix: pairs along each tube alone are counted, and no arrangements",
    ]
    if tally.several:
        notes.append(
            f"{tally.several:,} subunits were seen in several boxes, {tally.torn:,} of them with "
            "different labels: each counts once, with the label of most of its copies"
        )
    return tally.counts(), notes


class _Tally:
    """Adds up the pairs of tubes."""

    def __init__(self, reach: int, labels: int) -> None:
        self._reach, self._labels = reach, labels
        self._seen = np.zeros((reach, labels, labels), np.int64)
        self._moments = np.zeros((2, reach, labels, labels))
        self.several = self.torn = 0

    def add(self, codes: Array, several: int, torn: int) -> None:
        """Add a tube: the code of the label of each unit from 0 on, -1 where there is none."""
        self.several += several
        self.torn += torn
        told = codes >= 0
        edges, stars = np.zeros((2, 1, self._reach), np.int64)
        for apart in range(1, min(self._reach, len(codes) - 1) + 1):
            both = told[:-apart] & told[apart:]
            one, other = codes[:-apart][both], codes[apart:][both]
            low, high = np.minimum(one, other), np.maximum(one, other)
            count = np.bincount(low * self._labels + high, minlength=self._labels**2)
            self._seen[apart - 1] += count.reshape(self._labels, self._labels)
            edges[0, apart - 1] = both.sum()
            # a unit with mates on both sides is shared by two pairs
            stars[0, apart - 1] = (both[:-apart] & both[apart:]).sum()
        counts = np.bincount(codes[told], minlength=self._labels)[None]
        for a, b, mean, variance in moments(counts, edges, stars):
            self._moments[0, :, a, b] += mean[0]
            self._moments[1, :, a, b] += variance[0]

    def counts(self) -> PairCounts:
        """All that was added."""
        return PairCounts(self._seen, *self._moments)


def _one_label_each(first: Array, step: Array, codes: Array, labels: int) -> tuple[Array, int, int]:
    """One label of each unit of a tube: of its copies, the one that most have.

    Of labels with as many copies, the one that was seen nearest to the middle of its box.

    Returns
    -------
    label : (units,) int64
        From 0 on; -1 where no copy has one.
    several, torn : int
        Units with several copies, and those of them whose copies differ.
    """
    unit = first[:, None] + step
    told = codes != MISSING
    if not told.any():
        return np.zeros(0, np.int64), 0, 0
    unit -= unit[told].min()
    count = int(unit[told].max()) + 1
    far = int(np.abs(step).max()) + 1
    place = unit[told] * labels + codes[told].astype(np.int64) - 1
    votes = np.bincount(place, minlength=count * labels)
    nearest = np.full(count * labels, far)
    np.minimum.at(nearest, place, np.broadcast_to(np.abs(step), unit.shape)[told])
    weight = (votes * (far + 1) - nearest).reshape(count, labels)
    votes = votes.reshape(count, labels)
    seen = votes.sum(axis=1)
    label = np.where(seen > 0, weight.argmax(axis=1), -1)
    several = seen > 1
    return label, int(several.sum()), int((several & (votes.max(axis=1) < seen)).sum())


def _places(source: ParticleTable) -> tuple[Array, Array]:
    """Tube of each box, as a number, and its place on it in A."""
    columns = source.columns
    track = next((name for name in (TRACKS[0], _CS_TRACK) if name in columns), None)
    in_text = source.header is not None
    names = [TUBE_ID, MICROGRAPH] if in_text else [TUBE]
    missing = [name for name in names if name not in columns]
    if track is None or missing:
        lacks = f"{TRACKS[0]} or {_CS_TRACK}" if track is None else missing[0]
        raise SourceError(
            f"{source.path}: has no {lacks}, which tells where on its tube a box lies: give "
            "particles that were picked along tubes"
        )
    tube, track_A = np.empty(source.n_rows, np.uint64), np.empty(source.n_rows)
    for start, stop in blocks(source, [*names, track]):
        rows = source.read([*names, track], start, stop)
        value = rows[track]
        if value.dtype.kind == "S":
            value = numbers(value, f"{source.path}: _{track}", start)
        track_A[start:stop] = value
        parts = [
            word_hash(rows[name]) if rows[name].dtype.kind == "S" else rows[name].astype(np.uint64)
            for name in names
        ]
        tube[start:stop] = mix_bits(parts)
    if not (np.abs(track_A) < _MOST_UNITS).all():
        row = int(np.argmax(~(np.abs(track_A) < _MOST_UNITS)))
        raise SourceError(f"{source.path}: {track} of row {row} is no place on a tube: repair it")
    return tube, track_A
