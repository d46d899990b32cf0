"""What every particle table offers, whichever kind of file it is in."""

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.files import reading, state_of
from numba_symexp.particles.schema import DYNAMO_TAG

CRYOSPARC, RELION, DYNAMO = "cryosparc", "relion", "dynamo"
"""Vocabularies: whose names the columns of a table have."""

_NAMED_AT_MOST = 12

_IMAGE_SHAPE = "blob/shape"

_GAP_BYTES = 64 << 10
"""Reading on over a gap of so many bytes takes no longer than a read of its own."""

_RANGE_BYTES = 16 << 20
"""Most bytes of a range that is read for some of its rows."""


@dataclass(frozen=True)
class Column:
    """One column: the dtype of an element, and the shape of one row."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_single_or_double(self) -> bool:
        """Whether the elements are float32 or float64, which kernels take."""
        return self.dtype.kind == "f" and self.dtype.itemsize in (4, 8)

    def __str__(self) -> str:
        rows = ", ".join(["N", *map(str, self.shape)])
        return f"({rows}{',' if not self.shape else ''}) {self.dtype.newbyteorder('=')}"


@dataclass(frozen=True)
class Header:
    """What stands around the rows of a text file, and goes out again with them.

    Attributes
    ----------
    head : bytes
        From the first line to the last label of the particles; lines end in LF.
    labels : tuple of str
        Of the particles, in the order of the file; each is a column of text.
    tail : bytes
        What follows the rows.
    """

    head: bytes
    labels: tuple[str, ...]
    tail: bytes


class ParticleTable(abc.ABC):
    """A particle table, open for reading; rows are read in ranges, columns by name.

    All that users of a table need is here; no user asks for the class of a table.

    Attributes
    ----------
    path : str
        The file.
    passthrough : tuple of str
        Further files whose columns are joined, to be named when the table is opened again.
    location : str
        Where in the file the table is.
    layout : str
        How the table is kept, in words.
    columns : dict of str to Column
    attributes : dict
        What the file says of the table as a whole, such as its ``convention``.
    """

    path: str
    passthrough: tuple[str, ...] = ()
    location: str
    layout: str
    columns: dict[str, Column]
    attributes: dict[str, Any]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    is_text: ClassVar[bool] = False
    """Whether poses and shifts are made of words, which are columns too."""

    _watched: tuple[int, tuple[int, int]] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read."""
        return (self.path, *self.passthrough)

    def watch(self, descriptor: int) -> None:
        """Remember what an open file is like, for `check_unchanged`."""
        self._watched = descriptor, state_of(descriptor)

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened.

        HDF5 gives zeros for rows that were cut off meanwhile, and no error.

        Raises
        ------
        SourceError
            It changed.
        """
        if self._watched is None:
            return
        with reading(self.path):
            state = state_of(self._watched[0])
        if state != self._watched[1]:
            raise SourceError(
                f"{self.path}: changed while it was read: wait until it is whole, then try again"
            )

    @property
    @abc.abstractmethod
    def n_rows(self) -> int:
        """Number of rows."""

    @property
    def header(self) -> Header | None:
        """What stood around the rows in the text file that they came from, if they did."""
        return None

    @property
    def vocabulary(self) -> str:
        """Whose names the columns have: ``relion`` where there is a header, or ``dynamo``."""
        if self.header is not None:
            return RELION
        return DYNAMO if DYNAMO_TAG in self.columns else CRYOSPARC

    @property
    def notes(self) -> list[str]:
        """Sentences for the user about what was read, left out or repaired."""
        return []

    @abc.abstractmethod
    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""

    def read_at(self, names: Sequence[str], index: Array) -> dict[str, Array]:
        """Rows of some columns by row number, in as few reads as are reasonable."""
        wanted, place = np.unique(index, return_inverse=True)
        if not len(wanted):
            return self.read(names, 0, 0)
        wanted = wanted.astype(np.int64)
        row_bytes = self.bytes_read_per_row(names)
        part = wanted // max(1, _RANGE_BYTES // row_bytes)
        ends = (np.diff(wanted) * row_bytes > _GAP_BYTES) | (np.diff(part) > 0)
        parts: dict[str, list[Array]] = {name: [] for name in names}
        for run in np.split(wanted, np.flatnonzero(ends) + 1):
            rows = self.read(names, int(run[0]), int(run[-1]) + 1)
            for name, column in rows.items():
                parts[name].append(column[run - run[0]])
        return {name: np.concatenate(parts[name])[place] for name in names}

    def bytes_read_per_row(self, names: Sequence[str]) -> int:
        """Bytes that are read for a row of some columns."""
        return max(1, sum(self.columns[name].row_bytes for name in names))

    @abc.abstractmethod
    def close(self) -> None:
        """Close the file."""

    def column_attributes(self, name: str) -> Mapping[str, Any]:
        """What the file says of a column, such as its ``units``; often nothing."""
        return {}

    def says(self, name: str, wanted: str | int) -> bool:
        """Whether an attribute, which may be of any type, is one value."""
        value = self.attributes.get(name)
        return isinstance(value, str | int | np.integer) and bool(value == wanted)

    def box_px(self) -> int | None:
        """Side of the images in pixels, by the first row; None where the table does not say."""
        column = self.columns.get(_IMAGE_SHAPE)
        if column is None or column.dtype.kind not in "iu" or not column.shape or not self.n_rows:
            return None
        return int(self.read([_IMAGE_SHAPE], 0, 1)[_IMAGE_SHAPE].max())

    def row_number(self, row: int) -> int:
        """Number of a row in the file, for a message."""
        return row

    def numbering(self, rows: Array) -> Callable[[int], int]:
        """What gives the number in the file of the k-th of some rows, for a message."""
        return lambda k: self.row_number(int(rows[k]))

    def row_in_words(self, row: int) -> str:
        """File and number of a row, for a message."""
        return f"{self.path}: row {self.row_number(row)}"

    def columns_in_words(self) -> str:
        """Names of the columns, for a message."""
        names = sorted(self.columns)
        rest = len(names) - _NAMED_AT_MOST
        shown = ", ".join(names[:_NAMED_AT_MOST]) or "none"
        return f"{shown} and {rest} more" if rest > 0 else shown


def in_short(names: Sequence[str], columns: Iterable[str]) -> str:
    """Names of some columns for a message, with one word for a slot of which none stays."""
    kept = {name.partition("/")[0] for name in columns if name not in names}
    words = [
        f"{slot}/*" if slash and slot not in kept else name
        for name in names
        for slot, slash, _ in [name.partition("/")]
    ]
    return ", ".join(dict.fromkeys(words))


def refuse_odd_names(names: Sequence[str], path: str) -> None:
    """Refuse names of columns that are no paths in HDF5, or that stand in each other's way.

    Raises
    ------
    SourceError
        Says which.
    """
    folders = {name[:place] for name in names for place, c in enumerate(name) if c == "/"}
    for name in names:
        is_text = name.isprintable() and all(not 0xD800 <= ord(c) < 0xE000 for c in name)
        if not is_text or any(part in ("", ".", "..") for part in name.split("/")):
            raise SourceError(
                f"{path}: a column is called {name[:40]!a}, which is no name: rename it"
            )
        if name in folders:
            raise SourceError(
                f"{path}: columns are called {name} and {name}/...: HDF5 has no place for both; "
                "rename one"
            )


class TableView(ParticleTable):
    """The rows of another table, in the same order, with other columns.

    Parameters
    ----------
    source : ParticleTable
        Closed with the view.
    """

    def __init__(self, source: ParticleTable) -> None:
        self._source = source
        self.path, self.location, self.layout = source.path, source.location, source.layout
        self.passthrough, self.attributes = source.passthrough, source.attributes

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read."""
        return self._source.files

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._source.n_rows

    def row_number(self, row: int) -> int:
        """Number of a row in the file, for a message."""
        return self._source.row_number(row)

    def box_px(self) -> int | None:
        """Side of the images in pixels."""
        return self._source.box_px()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def check_unchanged(self) -> None:
        """Refuse a source that was written to since it was opened."""
        self._source.check_unchanged()


class SameNamesView(TableView):
    """A view of which columns are called as in the source, and mean the same."""

    @property
    def header(self) -> Header | None:
        """What stands around the rows of the source."""
        return self._source.header

    @property
    def vocabulary(self) -> str:
        """Whose names the columns have."""
        return self._source.vocabulary

    def column_attributes(self, name: str) -> Mapping[str, Any]:
        """What the source says of a column."""
        return self._source.column_attributes(name)


class SomeRows(SameNamesView):
    """Some rows of a table.

    Parameters
    ----------
    table : ParticleTable
    rows : (n,) int64
        Which ones, in this order.
    """

    def __init__(self, table: ParticleTable, rows: Array) -> None:
        super().__init__(table)
        self._rows, self.columns = rows, table.columns
        self.is_text = table.is_text  # type: ignore[misc]  # of the rows, not of the class

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def row_number(self, row: int) -> int:
        """Number of a row in the file, for a message."""
        return self._source.row_number(int(self._rows[row]))

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        return self._source.read_at(names, self._rows[start:stop])
