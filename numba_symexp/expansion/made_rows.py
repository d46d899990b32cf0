"""Expanded rows that are in no file: made from the plan and the source when they are read."""

from collections.abc import Sequence

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.expanded.column_kinds import DefocusColumn, PoseColumn, ShiftColumn, of_kind
from numba_symexp.expanded.output_column import Chunk
from numba_symexp.expansion.job import ExpandJob
from numba_symexp.expansion.plan import Plan
from numba_symexp.expansion.stream import RowFiller, chunk_sources, read_sources
from numba_symexp.particles.fingerprint import Fingerprint
from numba_symexp.particles.table import Column, ParticleTable


class PlannedExpansion:
    """What a planned expansion would say once it is written; see `ExpandedRows`.

    Parameters
    ----------
    job : ExpandJob
    table : ParticleTable
        The open source, which stays open when this is closed.
    plan : Plan

    Attributes
    ----------
    path : str
        The source, for messages.
    table : MadeRows
        The expanded rows.
    source : ParticleTable
    operators : Operators
        Those that are used.
    pose_columns : tuple of str
        Names of the pose and shift columns, and the pose format.
    psize_given_A : float or None
    defocus : dict of str to float
    made_of_words : bool
        Whether operators turn and move what the words of the source say, and nothing else.
    """

    def __init__(self, job: ExpandJob, table: ParticleTable, plan: Plan) -> None:
        self.path, self.source = table.path, table
        self.made_of_words = table.is_text
        self.table = MadeRows(job, table, plan)
        self.operators = plan.operators
        (pose,) = of_kind(plan.written, PoseColumn)
        (shift,) = of_kind(plan.written, ShiftColumn)
        self.pose_columns = pose.name, shift.name, pose.pose_format.name
        self.psize_given_A = None if job.psize is None else float(job.psize)
        self.defocus = {column.name: column.sign for column in of_kind(plan.written, DefocusColumn)}

    def checked_sources(self, index: Array, start: int) -> Array:
        """Rows of the source, int64; these cannot point beyond it."""
        return index.astype(np.int64)

    def close(self) -> None:
        """Nothing of its own is open."""


class MadeRows(ParticleTable):
    """The rows of a planned expansion, as a table.

    Rows are made in chunks of whole sources. The last chunk is kept, so that reading all rows in
    order makes each once.

    Parameters
    ----------
    job : ExpandJob
    table : ParticleTable
        The open source.
    plan : Plan
    """

    def __init__(self, job: ExpandJob, table: ParticleTable, plan: Plan) -> None:
        # Only now, because the compiler takes a while to load, and bad input needs none.
        from numba_symexp.expansion.expander import Expander

        self._table, self._plan, self._psize = table, plan, job.psize
        self.path, self.location, self.layout = table.path, table.location, table.layout
        self.attributes = {}
        self.columns = {each.name: Column(each.dtype, each.shape) for each in plan.written}
        self._order = len(plan.operators)
        self._sources = max(1, min(chunk_sources(self._order, job.chunk_rows), table.n_rows))
        self._expander = Expander(plan.operators, plan.columns.pose_format)
        self._names: frozenset[str] = frozenset()
        self._buffer: dict[str, Array] = {}
        self._first = self._last = 0  # rows of the chunk that is kept
        self._fingerprint, self._seen = Fingerprint(), 0

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._plan.rows

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name; they stay until the next read."""
        self._prepare(names)
        if start < stop and not self._first <= start < self._last:
            self._make(start // self._order)
        if start < stop <= self._last:
            part = slice(start - self._first, stop - self._first)
            return {name: self._buffer[name][part] for name in names}
        found = {
            name: np.empty((stop - start, *self.columns[name].shape), self.columns[name].dtype)
            for name in names
        }
        at = start
        while at < stop:
            if not self._first <= at < self._last:
                self._make(at // self._order)
            end = min(stop, self._last)
            for name in names:
                made = self._buffer[name][at - self._first : end - self._first]
                found[name][at - start : end - start] = made
            at = end
        return found

    def close(self) -> None:
        """Nothing of its own is open."""

    def check_unchanged(self) -> None:
        """Refuse a source that was written to, or did not give the same poses again.

        Raises
        ------
        SourceError
            It changed.
        """
        self._table.check_unchanged()
        whole = self._seen == self._table.n_rows
        if whole and self._fingerprint.text() != self._plan.fingerprint:
            raise SourceError(
                f"{self.path}: changed while it was read: wait until it is whole, then expand again"
            )

    def _prepare(self, names: Sequence[str]) -> None:
        """Make ready for chunks of some columns; shifts and depths need the pose of their row."""
        wanted = self._names | {*names, self._plan.columns.pose}
        if wanted == self._names:
            return
        columns = [each for each in self._plan.written if each.name in wanted]
        rows = self._sources * self._order
        self._buffer = {each.name: np.zeros((rows, *each.shape), each.dtype) for each in columns}
        plan = self._plan
        self._filler = RowFiller(columns, plan.operators, plan.first_id, self._sources)
        self._names, self._first, self._last = frozenset(wanted), 0, 0

    def _make(self, first: int) -> None:
        """Make the rows of a chunk of sources."""
        table, columns = self._table, self._plan.columns
        last = min(first + self._sources, table.n_rows)
        names = list(dict.fromkeys([*columns.names(), *self._filler.reads]))
        rows, psize_A = read_sources(table, columns, names, first, last, self._psize)
        if not first:
            self._fingerprint, self._seen = Fingerprint(), 0
        if first == self._seen:
            self._fingerprint.update(rows[columns.pose], rows[columns.shift])
            self._seen = last
        count = self._filler.fill(
            self._buffer, Chunk(table.path, first, rows, psize_A, self._expander)
        )
        self._first, self._last = first * self._order, first * self._order + count
