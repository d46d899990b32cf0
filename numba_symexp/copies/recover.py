"""From rows to the mean motion of each copy."""

from dataclasses import dataclass, fields

import numpy as np

from numba_symexp.annotations import Array, Progress
from numba_symexp.background import worked_on
from numba_symexp.copies.means import Means, Totals, robust_centers
from numba_symexp.copies.references import Pairs, References, ranks
from numba_symexp.poses import Poses
from numba_symexp.symmetry.descriptions import number_ranges

_IN_ORDER_DEG = 10.0
"""Copies that stand in one order are turned by less from each other, also after a refinement."""

_SAMPLE_ROWS = 262_144
_SAMPLE_OF_EACH = (16, 256)
"""Least and most rows of each copy from which its motion is first estimated."""

_KEYS_NAMED = 3


@dataclass(frozen=True)
class Recovered:
    """The motions of K copies.

    Attributes
    ----------
    copies : (K,) int64
        Their numbers in the table.
    means : Means
    particles, outliers : (K,) int64
        Particles with this copy, and how many of these were too far off to count.
    largest_deg, largest_A : (K,) float64
        Largest deviations of single particles, outliers included.
    has_translation : bool
        Whether the table has a pixel size, so that translations are known.
    n_particles : int
        Particles with copy 0.
    notes : tuple of str
        Which rows were left out.
    """

    copies: Array
    means: Means
    particles: Array
    outliers: Array
    largest_deg: Array
    largest_A: Array
    has_translation: bool
    n_particles: int
    notes: tuple[str, ...]


def recover(rows: Poses, progress: Progress | None = None) -> Recovered:
    """Mean motion of each copy, relative to copy 0 of the same particles.

    Memory does not grow with the rows, but for 36 bytes per particle, and more than twice that
    while they are sorted. The motion is first estimated from some rows of each copy, so that those
    which are far off can be told and left out of the means over all others. Where only the order of
    the rows tells copies, and those of one place are turned in many ways, the order says nothing:
    then the motions between the rows of a particle tell them.

    Parameters
    ----------
    rows : Poses
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Raises
    ------
    SourceError
        Rows cannot be told apart or compared.
    """
    references = References(rows, progress)
    found = _recovered(rows, references, progress)
    if references.by_order and found.means.rms_deg.max() > _IN_ORDER_DEG:
        return _recovered(rows, References(rows, progress, by_motion=True), progress)
    return found


def _recovered(rows: Poses, references: References, progress: Progress | None) -> Recovered:
    """Mean motion of each copy that references tell."""
    count, n_rows = len(references.copies), rows.table.n_rows
    totals = Totals(robust_centers(_sample(references), count))

    def add(found: tuple[int, Pairs]) -> int:
        totals.add(found[1])
        return found[0]

    for done in worked_on(references.pairs(), add, 1):  # one thread: sums have an order
        if progress:
            progress(n_rows + done, 2 * n_rows)
    rows.table.check_unchanged()
    seen = totals.particles > 0  # of a copy that never stands beside copy 0 nothing is known
    means = totals.means()
    return Recovered(
        references.copies[seen],
        Means(*(getattr(means, each.name)[seen] for each in fields(means))),
        totals.particles[seen],
        (totals.particles - totals.kept)[seen],
        totals.largest_deg[seen],
        totals.largest_A[seen],
        rows.has_psize,
        references.particles,
        tuple(_notes(rows, references, totals)),
    )


def _sample(references: References) -> Pairs:
    """The first rows of each copy."""
    count = len(references.copies)
    enough = int(np.clip(_SAMPLE_ROWS // count, *_SAMPLE_OF_EACH))
    taken, parts = np.zeros(count, np.uint32), []
    for _, pairs in references.pairs():
        wanted = ranks(pairs.copy, taken) < enough
        parts.append(Pairs(*(column[wanted] for column in pairs)))
        if taken.min() >= enough:
            break
    return Pairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _notes(rows: Poses, references: References, totals: Totals) -> list[str]:
    """What was left out."""
    notes = []
    orphans = references.orphans
    if len(orphans):
        named = ", ".join(map(str, orphans[:_KEYS_NAMED])) + (
            ", ..." if len(orphans) > _KEYS_NAMED else ""
        )
        notes.append(
            f"{len(orphans):,} particle(s) without copy 0 were left out ({rows.keys[0]} {named})"
        )
    lost = references.copies[totals.particles == 0]
    if len(lost):
        notes.append(
            f"no particle has both copy 0 and copy {number_ranges(lost.tolist())}: what moves "
            f"{'it is' if len(lost) == 1 else 'these is'} not known"
        )
    if references.motions is not None:
        each = ", ".join(
            f"{images:,} with {rows}" for rows, images in references.rows_of_images.items()
        )
        notes.append(
            f"copies are missing, or in no order (images and their rows: {each}): the motions are "
            "those between rows of one image"
        )
    if references.uneven:
        notes.append(
            f"{references.uneven:,} image(s) were left out: they have not {len(references.copies)} "
            "rows, as most"
        )
    far = int((totals.particles - totals.kept).sum())
    if far:
        notes.append(
            f"{far:,} row(s) are far from the mean motion of their copy and do not count in it"
        )
    return notes
