"""Counts of viewing directions, shifts and copies: what a picture or a histogram shows of poses.

The kernels raise nothing, and the arrays that count grow by what they are called with. One thread
counts, so that the sums need no order.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_symexp.annotations import Array, Progress
from numba_symexp.kernels.jit import algebra, serial_kernel
from numba_symexp.kernels.quaternion import Scalars, to_matrix
from numba_symexp.particles.columns import PoseColumns
from numba_symexp.particles.table import ParticleTable
from numba_symexp.pictures.picture import SIDE
from numba_symexp.poses import INDEX, PSIZE_A, Poses

_PER_OCTANT = 4.0 / math.pi

_SHIFT = 48
_BINS = 1 << (63 - _SHIFT)
"""The leading bits of a float64 are its exponent and four more: 16 even bins per octave."""

_WIDTHS = 2.0 ** np.arange(-6, 40)

PLACES = 64
"""Places along a side of the map of shifts."""

_SHOWN = 0.999
"""Share of the shifts that the map of them holds; a few far ones would shrink all others."""

_FARTHEST = 1e9

_TILT_DEG = np.arange(0, 181, 20)
_LENGTHS, _LENGTHS_SHOWN = 8, 0.99


@dataclass(frozen=True)
class Tally:
    """A set of poses, counted.

    Attributes
    ----------
    rows : int
    cells : (2, SIDE, SIDE) int64
        Viewing directions, as `picture` cuts the sphere up.
    limit : float
        How far the map of shifts reaches in both directions, in the unit of the set.
    shifts : (PLACES, PLACES) int64
        Shifts by place, rows are y.
    outside : int
        Shifts beyond the map.
    depths : (PLACES,) int64 or None
        Shifts of subtomograms by their z.
    copies : (N,) uint32 or None
        Rows of each particle, in an expanded table.
    """

    rows: int
    cells: Array
    limit: float
    shifts: Array
    outside: int
    depths: Array | None
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
        depths = np.zeros(PLACES, np.int64) if each.components == 3 else None
        if each.expanded is not None:
            copies = np.zeros(particles, np.uint32)
        for block in each.blocks((INDEX, PSIZE_A)):
            count_directions(block.planes, len(block), cells)
            outside += count_shifts(block.shift_A, limit, shifts)
            if depths is not None:
                ends = (-limit, limit)
                depths += np.histogram(block.shift_A[:, 2], PLACES, ends)[0]
            if copies is not None:
                count_copies(block.source_rows, copies)
            if progress:
                progress(done + block.stop, rows)
        done += each.table.n_rows
        tallies.append(Tally(each.table.n_rows, cells, limit, shifts, outside, depths, copies))
    return tallies


def reach(poses: Poses) -> float:
    """Half the side of a square about 0 that holds almost all shifts; 1 where all are 0."""
    lengths = LengthCounts()
    for block in poses.blocks((PSIZE_A,), pose=False):
        lengths.add(np.abs(block.shift_A).max(axis=1))
    found = lengths.quantile(_SHOWN)
    return min(found, _FARTHEST) if found > 1 / _FARTHEST else 1.0


def view_statistics(table: ParticleTable, columns: PoseColumns) -> dict[str, Any]:
    """Count the tilts and the lengths of the shifts of a table, in one pass.

    Parameters
    ----------
    table : ParticleTable
        An open table.
    columns : PoseColumns
        As `find_columns` finds them.

    Returns
    -------
    dict
        ``tilt``: ``edges_deg``, ``counts``, and ``density``, that per solid angle relative to an
        even distribution. ``shift``: ``unit`` (px), ``edges``, ``counts``, and ``beyond``, how
        many are longer than the last edge.

    Raises
    ------
    SourceError
        The table has no rows, or a pose or shift is none.

    Notes
    -----
    The tilt of a pose is the angle of its viewing direction with z; see `plot`.
    """
    poses = Poses(table, columns)
    heights = np.cos(np.deg2rad(_TILT_DEG))
    lengths, below = LengthCounts(), np.zeros(len(heights), np.int64)
    for block in poses.blocks():
        _, x, y, _ = block.planes[:, : len(block)]
        z = 1 - 2 * (x * x + y * y)
        below += [np.count_nonzero(z > height) for height in heights]
        lengths.add(functools.reduce(np.hypot, block.shift.astype(np.float64).T))
    below[0], below[-1] = 0, table.n_rows
    counts = np.diff(below)
    edges, shifts = lengths.histogram(_LENGTHS, _LENGTHS_SHOWN)
    return {
        "tilt": {
            "edges_deg": _TILT_DEG.tolist(),
            "counts": counts.tolist(),
            "density": (counts / table.n_rows / (-np.diff(heights) / 2)).tolist(),
        },
        "shift": {
            "unit": "px",
            "edges": edges.tolist(),
            "counts": shifts[:-1].tolist(),
            "beyond": int(shifts[-1]),
        },
    }


class LengthCounts:
    """Counts of lengths, 16 bins per octave."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, length: Array) -> None:
        """Count lengths, (n,) float64, finite and not negative."""
        bits = np.ascontiguousarray(length + 0.0).view(np.int64) >> _SHIFT
        low, high = int(bits.min(initial=_BINS - 1)), int(bits.max(initial=0))
        if len(bits):
            self._counts[low : high + 1] += np.bincount(bits - low)

    def quantile(self, share: float) -> float:
        """Upper end of the bin that holds the length which a share of all do not exceed."""
        total = np.cumsum(self._counts)
        place = int(np.searchsorted(total, share * total[-1]))
        return float(_edges()[place + 1])

    def histogram(self, bins: int, share: float) -> tuple[Array, Array]:
        """Counts in even bins from 0 that hold at least a share, and the rest as one more.

        The width is a power of two, which makes every edge one of the fine bins' too: the counts
        are exact.

        Parameters
        ----------
        bins : int
            At most 16.
        share : float
            Of all lengths.

        Returns
        -------
        edges : (bins + 1,) float64
        counts : (bins + 1,) int64
            The last one is of lengths beyond the last edge.
        """
        width = next((w for w in _WIDTHS if w * bins >= self.quantile(share)), _WIDTHS[-1])
        edges = width * np.arange(bins + 1)
        fine = np.searchsorted(edges, _edges(), side="right") - 1
        return edges, np.bincount(fine, self._counts, minlength=bins + 1).astype(np.int64)


def _edges() -> Array:
    """Lower ends of the fine bins; those of the last few are no numbers."""
    return (np.arange(_BINS, dtype=np.int64) << _SHIFT).view(np.float64)


@serial_kernel
def count_directions(planes: Array, count: int, cells: Array) -> None:
    """Count viewing directions in cells of equal solid angle.

    Parameters
    ----------
    planes : (4, P) float64
        Quaternions of exp(v), of which ``count`` count.
    cells : (2, S, S) int64
        The half with z >= 0, then the other; see `picture`.
    """
    side = cells.shape[1]
    for k in range(count):
        matrix = to_matrix(planes[0, k], planes[1, k], planes[2, k], planes[3, k])
        a, b = _on_square(matrix[2], matrix[5], matrix[8])
        row = min(max(int((b + 1.0) * 0.5 * side), 0), side - 1)
        column = min(max(int((a + 1.0) * 0.5 * side), 0), side - 1)
        cells[0 if matrix[8] >= 0.0 else 1, row, column] += 1


@serial_kernel
def count_shifts(shift: Array, limit: float, places: Array) -> int:
    """Count shifts by place, and return how many lie outside.

    Parameters
    ----------
    shift : (n, 2) or (n, 3) float64
        Of which x and y are used.
    limit : float
        The places reach from -limit to limit, the upper end not included, in both directions.
    places : (S, S) int64
        Rows are y, columns x.
    """
    side = places.shape[0]
    scale = side / (2.0 * limit)
    outside = 0
    for k in range(shift.shape[0]):
        x = np.floor((shift[k, 0] + limit) * scale)
        y = np.floor((shift[k, 1] + limit) * scale)
        if 0.0 <= x < side and 0.0 <= y < side:
            places[int(y), int(x)] += 1
        else:
            outside += 1
    return outside


@serial_kernel
def count_copies(sources: Array, copies: Array) -> None:
    """Count the rows of each source, into (N,) uint32."""
    for k in range(sources.shape[0]):
        copies[sources[k]] += np.uint32(1)


@algebra
def _on_square(x: float, y: float, z: float) -> Scalars:
    """Place of a direction in the square of its half of the sphere, both coordinates in [-1, 1].

    Lambert's disc, then Shirley and Chiu's map of disc and square (J. Graphics Tools 2, 45, 1997):
    both keep areas.
    """
    scale = 1.0 / math.sqrt(1.0 + abs(z))
    u, v = x * scale, y * scale
    radius = math.sqrt(u * u + v * v)
    if abs(u) >= abs(v):
        a = math.copysign(radius, u)
        return a, a * _PER_OCTANT * math.atan(v / u) if u != 0.0 else 0.0
    b = math.copysign(radius, v)
    return b * _PER_OCTANT * math.atan(u / v), b
