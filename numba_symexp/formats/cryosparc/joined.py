"""Several CryoSPARC datasets of the same particles as one table, joined on uid."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.particles.schema import UID
from numba_symexp.particles.table import ParticleTable
from numba_symexp.types import Array


class JoinedTable(ParticleTable):
    """Particles of the first table, with the columns that only the others have.

    Parameters
    ----------
    tables : sequence of ParticleTable
        Each has a column ``uid``; rows may be in any order. They are closed with this one.

    Attributes
    ----------
    notes : list of str
        What was left out.

    Raises
    ------
    SourceError
        An id is missing, or stands twice in one table.
    """

    def __init__(self, tables: Sequence[ParticleTable]) -> None:
        self._tables = list(tables)
        first = self._tables[0]
        self.path, self.location, self.layout = first.path, first.location, first.layout
        self.attributes: dict[str, Any] = dict(first.attributes)
        self.columns = dict(first.columns)
        self.notes: list[str] = []
        self._home = dict.fromkeys(first.columns, 0)
        self._index: list[Array | None] = [None]
        if len(self._tables) == 1:
            return
        uids = _uids(first)
        for place, table in enumerate(self._tables[1:], start=1):
            self._index.append(self._rows_of(table, uids))
            for name, column in table.columns.items():
                if name not in self.columns:
                    self.columns[name], self._home[name] = column, place

    def check_unchanged(self) -> None:
        """Refuse files that were written to since they were opened."""
        for table in self._tables:
            table.check_unchanged()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._tables[0].n_rows

    def close(self) -> None:
        """Close all files."""
        for table in self._tables:
            table.close()

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        rows: dict[str, Array] = {}
        for place, (table, index) in enumerate(zip(self._tables, self._index, strict=True)):
            own = [name for name in names if self._home[name] == place]
            if own and index is None:
                rows.update(table.read(own, start, stop))
            elif own and index is not None:
                rows.update(table.read_at(own, index[start:stop]))
        return rows

    def _rows_of(self, table: ParticleTable, uids: Array) -> Array:
        """Rows of a further table that belong to the ids of the first."""
        own = _uids(table)
        order = np.argsort(own, kind="stable")
        place = np.minimum(np.searchsorted(own[order], uids), len(own) - 1)
        missing = own[order][place] != uids
        if missing.any():
            row = int(np.argmax(missing))
            raise SourceError(
                f"{table.path}: uid {uids[row]} of {self.path}, row {row}, is missing "
                f"({np.count_nonzero(missing):,} id(s) in all): give the passthrough file of the "
                "same job"
            )
        if len(own) > len(uids):
            self.notes.append(
                f"{table.path}: {len(own) - len(uids):,} row(s) left out, whose particles are not "
                f"in {self.path}"
            )
        return order[place]


def _uids(table: ParticleTable) -> Array:
    """Ids of a table, all different."""
    if UID not in table.columns:
        raise SourceError(f"{table.path}: has no column {UID}, so it cannot be joined")
    uids = table.read([UID], 0, table.n_rows)[UID].astype(np.uint64)
    kept, first = np.unique(uids, return_index=True)
    if len(kept) < len(uids):
        row = int(np.setdiff1d(np.arange(len(uids)), first)[0])
        raise SourceError(
            f"{table.path}: {UID} {uids[row]} stands twice, again in row {row} "
            f"({len(uids) - len(kept):,} double id(s) in all): remove the duplicates"
        )
    return uids
