"""Read, expand and write a range of sources, chunk by chunk."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array, Progress
from numba_symexp.expanded.output_column import Chunk, OutputColumn
from numba_symexp.expansion.job import ExpandJob
from numba_symexp.expansion.plan import Plan
from numba_symexp.expansion.writer import Buffer, Hdf5Sink, RowSink
from numba_symexp.kernels.blocks import BLOCK
from numba_symexp.particles.columns import PoseColumns, native
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.table import ParticleTable
from numba_symexp.symmetry.operators import Operators

CHUNK_ROWS = 65_536
"""Rows made at a time: a few MB, so that they are still in the cache when they are written."""

MOST_CHUNK_ROWS = 8 * CHUNK_ROWS
"""The same for symmetries so high that even one block of sources makes more."""


class Target(NamedTuple):
    """A file that has its place for every row: its path, open, and where each column begins."""

    path: str
    descriptor: int
    offsets: Mapping[str, int]

    def sink(self, columns: Sequence[OutputColumn], buffer_rows: int, first_row: int) -> RowSink:
        """Take rows from ``first_row`` on, in buffers of so many."""
        return Hdf5Sink(self.descriptor, columns, self.offsets, buffer_rows, first_row)


MakeRows = Callable[[ExpandJob, ParticleTable, Plan, Target, Progress | None], None]
"""Makes all rows of a plan."""


def stream(
    job: ExpandJob,
    table: ParticleTable,
    plan: Plan,
    target: Target,
    seen: Callable[[int, Array, Array], None],
    progress: Callable[[int], None],
    start: int = 0,
    stop: int | None = None,
    multiple: int | None = None,
) -> None:
    """Write all mates of a range of sources at their places.

    Parameters
    ----------
    job, table, plan, target
        What is asked for, the open source, and the file.
    seen : callable
        Called as ``seen(first_source, pose, shift)`` with sources as they were read, before any
        of their rows is written.
    progress : callable
        Called as ``progress(rows_done)`` now and then.
    start, stop : int
        The range; by default all sources.
    multiple : int, optional
        Sources are read in multiples of so many; by default, of as many as are made at a time.

    Raises
    ------
    SourceError
        A row cannot be read.
    OSError
        A row cannot be written.
    """
    # Only now, because the compiler takes a while to load, and bad input needs none.
    from numba_symexp.expansion.expander import Expander
    from numba_symexp.kernels.threads import kernel_threads

    columns, order = plan.columns, len(plan.operators)
    stop = table.n_rows if stop is None else stop
    chunk = max(1, min(chunk_sources(order, job.chunk_rows), stop - start))
    filler = RowFiller(plan.written, plan.operators, plan.first_id, chunk)
    expander = Expander(plan.operators, columns.pose_format)
    names = list(dict.fromkeys([*columns.names(), *filler.reads]))
    first_row = done = start * order
    with (
        kernel_threads(job.threads),
        target.sink(plan.written, chunk * order, first_row) as sink,
    ):
        for begin, end in blocks(table, names, multiple or chunk, start, stop):
            rows, psize_A = read_sources(table, columns, names, begin, end, job.psize)
            seen(begin, rows[columns.pose], rows[columns.shift])
            for first in range(0, end - begin, chunk):
                interrupts.check()
                buffer = sink.free()
                some = slice(first, first + chunk)
                part = {name: column[some] for name, column in rows.items()}
                count = filler.fill(
                    buffer, Chunk(table.path, begin + first, part, psize_A[some], expander)
                )
                sink.submit(buffer, done, count)
                done += count
                progress(done - first_row)


class RowFiller:
    """Turns chunks of source rows into expanded rows, in buffers that it is given.

    Parameters
    ----------
    columns : sequence of OutputColumn
        What is written; the pose comes before what needs its rotations.
    operators : Operators
        The set being written.
    first_id : int
        First of the mates' consecutive ids.
    most_sources : int
        Most sources in one chunk.
    """

    def __init__(
        self,
        columns: Sequence[OutputColumn],
        operators: Operators,
        first_id: int,
        most_sources: int,
    ) -> None:
        self._order = len(operators)
        self._fills = [
            (column.name, column.filler(operators, first_id, most_sources)) for column in columns
        ]
        self.reads = tuple(name for column in columns for name in column.reads)

    def fill(self, buffer: Buffer, chunk: Chunk) -> int:
        """Fill a buffer with all mates of a chunk; return how many rows these are."""
        count = len(chunk.psize_A) * self._order
        for name, fill in self._fills:
            fill(chunk, buffer[name][:count])
        return count


def chunk_sources(order: int, chunk_rows: int | None = None) -> int:
    """Sources to expand at a time: whole blocks of the kernels, where nobody says otherwise.

    Parameters
    ----------
    order : int
        Number of operators.
    chunk_rows : int, optional
        About how many rows to make at a time.
    """
    if chunk_rows is not None:
        return max(1, chunk_rows // order)
    whole_blocks = max(1, CHUNK_ROWS // order // BLOCK) * BLOCK
    return min(whole_blocks, max(1, MOST_CHUNK_ROWS // order))


def read_sources(
    table: ParticleTable,
    columns: PoseColumns,
    names: list[str],
    start: int,
    stop: int,
    psize: float | None,
) -> tuple[dict[str, Array], Array]:
    """Read rows of the source, and the A per pixel of each in float64."""
    rows = table.read(names, start, stop)
    sizes: Any = rows[columns.psize] if columns.psize else (psize or 1.0)
    for name in (columns.pose, columns.shift):
        rows[name] = native(rows[name])
    return rows, np.array(np.broadcast_to(sizes, stop - start), np.float64)
