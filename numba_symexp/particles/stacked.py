"""Tables of the same kind of rows, one after the other."""

from collections.abc import Sequence

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.particles.table import Column, Header, ParticleTable


class StackedTable(ParticleTable):
    """The rows of several tables, with the columns that all of them have.

    Parameters
    ----------
    tables : sequence of ParticleTable
        Closed with this one.

    Attributes
    ----------
    starts : (F,) int64
        Row at which each table begins.

    Raises
    ------
    SourceError
        A column holds other things in one table than in another, or they are not of one program.
    """

    def __init__(self, tables: Sequence[ParticleTable]) -> None:
        self._tables, first = tables, tables[0]
        self.path, self.location, self.layout = first.path, first.location, first.layout
        self.attributes = first.attributes
        self.is_text = first.is_text  # type: ignore[misc]  # of the rows, not of the class
        self.passthrough = tuple(name for each in tables for name in each.files)[1:]
        self.starts = np.cumsum([0, *(each.n_rows for each in tables[:-1])])
        self.columns = {}
        for each in tables[1:]:
            if each.vocabulary != first.vocabulary or each.is_text != first.is_text:
                raise SourceError(
                    f"{each.path}: is a file of another kind than {first.path}: give files of one"
                )
        for name in first.columns:
            if all(name in each.columns for each in tables):
                self.columns[name] = _joined([each.columns[name] for each in tables], name, tables)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.starts[-1]) + self._tables[-1].n_rows

    @property
    def header(self) -> Header | None:
        """What stood around the rows of the first file."""
        return self._tables[0].header

    @property
    def notes(self) -> list[str]:
        """Sentences about all files."""
        return [note for each in self._tables for note in each.notes]

    def row_in_words(self, row: int) -> str:
        """File of a row, and its number there."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self._tables[number].row_in_words(row - int(self.starts[number]))

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        parts: list[dict[str, Array]] = []
        for table, first in zip(self._tables, self.starts.tolist(), strict=True):
            low, high = max(start - first, 0), min(stop - first, table.n_rows)
            if low < high:
                parts.append(table.read(names, low, high))
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return self._tables[0].read(names, 0, 0)
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def close(self) -> None:
        """Close the files."""
        for each in self._tables:
            each.close()

    def check_unchanged(self) -> None:
        """Refuse files that were written to since they were opened."""
        for each in self._tables:
            each.check_unchanged()


def _joined(columns: Sequence[Column], name: str, tables: Sequence[ParticleTable]) -> Column:
    """A column that holds the values of several."""
    first = columns[0]
    for column, table in zip(columns, tables, strict=True):
        if column.shape != first.shape or column.dtype.kind != first.dtype.kind:
            raise SourceError(
                f"{table.path}: its column {name} is {column}, and that of {tables[0].path} is "
                f"{first}: give files of one kind"
            )
    return Column(np.result_type(*(each.dtype for each in columns)), first.shape)
