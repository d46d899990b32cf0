"""What a picture shows of a set of poses, gathered in two passes over it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp.pictures.counting import count_copies, count_directions, count_shifts
from numba_symexp.pictures.lengths import LengthCounts
from numba_symexp.pictures.sphere import SIDE
from numba_symexp.poses import INDEX, PSIZE_A, Poses
from numba_symexp.types import Array, Progress

PLACES = 64
"""Places along a side of the map of shifts."""

_SHOWN = 0.999
"""Share of the shifts that the map of them holds; a few far ones would shrink all others."""

_FARTHEST = 1e9


@dataclass(frozen=True)
class Tally:
    """A set of poses, counted.

    Attributes
    ----------
    rows : int
    cells : (2, SIDE, SIDE) int64
        Viewing directions, as `sphere` cuts it up.
    limit : float
        How far the map of shifts reaches in both directions, in the unit of the set.
    shifts : (PLACES, PLACES) int64
        Shifts by place, rows are y.
    outside : int
        Shifts beyond the map.
    copies : (N,) uint32 or None
        Rows of each particle, in an expanded table.
    """

    rows: int
    cells: Array
    limit: float
    shifts: Array
    outside: int
    copies: Array | None


def tally(sets: Sequence[Poses], particles: int, progress: Progress | None = None) -> list[Tally]:
    """Count sets of poses.

    Parameters
    ----------
    sets : sequence of Poses
    particles : int
        Rows of the source of those that are expanded.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Raises
    ------
    SourceError
        A pose, shift or pixel size is none.
    """
    rows, done, tallies = sum(each.table.n_rows for each in sets), 0, []
    for each in sets:
        cells = np.zeros((2, SIDE, SIDE), np.int64)
        shifts = np.zeros((PLACES, PLACES), np.int64)
        limit, outside, copies = reach(each), 0, None
        if each.expanded is not None:
            copies = np.zeros(particles, np.uint32)
        for block in each.blocks((INDEX, PSIZE_A)):
            count_directions(block.planes, len(block), cells)
            outside += count_shifts(block.shift_A, limit, shifts)
            if copies is not None:
                count_copies(block.source_rows, copies)
            if progress:
                progress(done + block.stop, rows)
        done += each.table.n_rows
        tallies.append(Tally(each.table.n_rows, cells, limit, shifts, outside, copies))
    return tallies


def reach(poses: Poses) -> float:
    """Half the side of a square about 0 that holds almost all shifts; 1 where all are 0."""
    lengths = LengthCounts()
    for block in poses.blocks((PSIZE_A,), pose=False):
        lengths.add(np.abs(block.shift_A).max(axis=1))
    found = lengths.quantile(_SHOWN)
    return min(found, _FARTHEST) if found > 1 / _FARTHEST else 1.0
