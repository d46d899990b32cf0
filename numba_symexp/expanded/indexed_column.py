"""One column of an expanded table, read as NumPy would index it."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.particles.table import Column

_ROWS_AT_ONCE = 4096
"""Reading on over a gap of so many rows takes no longer than a read of its own."""


class Rows(Protocol):
    """A table that gives rows of its columns; see `ExpandedTable`."""

    def __len__(self) -> int:
        """Number of rows."""

    def read(self, name: str, start: int, stop: int) -> Array:
        """Rows ``start`` to ``stop`` of a column."""


class ExpandedColumn:
    """One column of an expanded table; indexing reads just the rows that are asked for.

    Attributes
    ----------
    name : str
    dtype : numpy.dtype
    """

    def __init__(self, table: Rows, name: str, column: Column) -> None:
        self._table = table
        self.name = name
        self.dtype = column.dtype
        self._row_shape = column.shape

    def __len__(self) -> int:
        return len(self._table)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows."""
        return (len(self), *self._row_shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<column {self.name}: {self.shape} {self.dtype}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype=dtype)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _ROWS_AT_ONCE):
            yield from self[start : start + _ROWS_AT_ONCE]

    def __getitem__(self, key: Any) -> Any:
        """Rows as NumPy would give them: by number, slice, list or mask, and further axes."""
        keys = key if isinstance(key, tuple) else (key,)
        if not keys or keys[0] is Ellipsis:
            return self[:][key]
        rows, *further = keys
        if isinstance(rows, slice):
            wanted = range(len(self))[rows]
            found = self._range(wanted)
            return found[(slice(None), *further)] if further else found
        places = np.arange(len(self))[rows]  # NumPy's rules, and its IndexError
        if not places.ndim:
            found = self._table.read(self.name, int(places), int(places) + 1)[0]
            return found[tuple(further)] if further else found
        unique, index = np.unique(places.reshape(-1), return_inverse=True)
        found = self._rows(unique)[index.reshape(-1)].reshape(*places.shape, *self._row_shape)
        return found[(slice(None), *further)] if further else found

    def _range(self, wanted: range) -> Array:
        """Rows of a slice."""
        if not wanted:
            return self._table.read(self.name, 0, 0)
        first, last = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
        found = self._table.read(self.name, first, last + 1)
        return found if wanted.step == 1 else found[np.array(wanted) - first]

    def _rows(self, places: Array) -> Array:
        """Rows of ascending numbers, in as few reads as are reasonable."""
        if not len(places):
            return self._table.read(self.name, 0, 0)
        cuts = np.flatnonzero(np.diff(places) > _ROWS_AT_ONCE) + 1
        parts = []
        for run in np.split(places, cuts):
            found = self._table.read(self.name, int(run[0]), int(run[-1]) + 1)
            parts.append(found[run - run[0]])
        return np.concatenate(parts)
