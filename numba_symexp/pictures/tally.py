"""What a picture shows of a set of poses, gathered in two passes over it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp.pictures.counting import count_copies, count_directions, count_shifts
from numba_symexp.pictures.lengths import LengthCounts
from numba_symexp.pictures.rows import PoseRows
from numba_symexp.pictures.sphere import SIDE
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


def tally(
    sets: Sequence[PoseRows], particles: int, progress: Progress | None = None
) -> list[Tally]:
    """Count sets of poses.

    Parameters
    ----------
    sets : sequence of PoseRows
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
        for block in each.blocks():
            count_directions(block.planes, block.stop - block.start, cells)
            outside += count_shifts(block.shift, limit, shifts)
            if block.sources is not None:
                copies = np.zeros(particles, np.uint32) if copies is None else copies
                count_copies(block.sources, copies)
            if progress:
                progress(done + block.stop, rows)
        done += each.table.n_rows
        tallies.append(Tally(each.table.n_rows, cells, limit, shifts, outside, copies))
    return tallies


def reach(poses: PoseRows) -> float:
    """Half the side of a square about 0 that holds almost all shifts; 1 where all are 0."""
    lengths = LengthCounts()
    for shift in poses.shifts():
        lengths.add(np.abs(shift).max(axis=1))
    found = lengths.quantile(_SHOWN)
    return min(found, _FARTHEST) if found > 1 / _FARTHEST else 1.0
