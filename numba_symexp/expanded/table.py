"""Read expanded tables; columns of the source are joined when they are asked for."""

import os
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from numba_symexp.annotations import AnyPath, Array
from numba_symexp.errors import (
    FileFormatError,
    MissingColumnError,
    SourceChangedError,
    UsageError,
    install,
)
from numba_symexp.expanded.column_kinds import (
    DefocusColumn,
    PoseColumn,
    ShiftColumn,
    of_kind,
    stored_columns,
)
from numba_symexp.expanded.format import SourceRecord, check_format, read_operators
from numba_symexp.expanded.indexed_column import ExpandedColumn
from numba_symexp.expanded.provenance import read_provenance
from numba_symexp.expanded.source_search import SourceSearch
from numba_symexp.files import path_or_none
from numba_symexp.formats.hdf5.table import Hdf5Table
from numba_symexp.particles.schema import SELECTION, SOURCE_INDEX
from numba_symexp.particles.table import Column, ParticleTable

if TYPE_CHECKING:
    from pandas import DataFrame

EXPANDED_WANTED = (
    "give the expanded table in HDF5; where there is none, expand the same particles with the same "
    "options into a .h5: its copies have the same ids"
)


def open_expanded(path: AnyPath, source: AnyPath | None = None) -> "ExpandedTable":
    """Open an expanded table for reading.

    Parameters
    ----------
    path : str or path
        A file that `expand` wrote.
    source : str or path, optional
        The table that it was expanded from, where it is no longer found: looked for relative to
        the expanded file, then where it was.

    Returns
    -------
    ExpandedTable
        A mapping of columns: ``table["ctf/df1_A"][a:b]`` gives rows of one, expanded or joined
        from the source.

    Raises
    ------
    FileFormatError
        Not an expanded table, not a whole one, or of a version that is not known.
    SourceError
        The file cannot be read.

    Examples
    --------
    >>> with open_expanded("expanded.h5") as table:  # doctest: +SKIP
    ...     defocus = table["ctf/df1_A"][:1000]
    """
    return ExpandedTable(os.fspath(path), path_or_none(source))


class ExpandedTable(Mapping[str, ExpandedColumn]):
    """An expanded table, open for reading; see `open_expanded`.

    A mapping of the columns of the file and, behind them, those that are joined from the source.
    As of a data frame, the length is the number of rows.

    Attributes
    ----------
    attributes : dict
        Of the root: symmetry, convention, created, provenance, ...
    operators : Operators
    output_columns : tuple of OutputColumn
    n_sources : int
        Rows of the source.
    made_of_words : bool
        False: a file may say anything.
    defocus : dict of str to float
        Columns whose defocus moved with the depth of the center, and by how many depths (1, -1).
    """

    made_of_words = False

    def __init__(self, path: str, source: str | None = None) -> None:
        self.path = path
        self._closed = False
        self._source: ParticleTable | None = None
        self._table = Hdf5Table(path, wanted=EXPANDED_WANTED)
        try:
            self.attributes = self._table.attributes
            check_format(self._table)
            with self._table.reading("its operators and source"):
                file = self._table.file
                self.operators = read_operators(file, self.attributes)
                self._record = SourceRecord.read(file)
            self.output_columns = stored_columns(self._table)
            (pose,) = of_kind(self.output_columns, PoseColumn)
            (shift,) = of_kind(self.output_columns, ShiftColumn)
            self._pose, self._shift, self._pose_format = pose.name, shift.name, pose.pose_format
            pose_and_shift = {name: self._table.columns[name] for name in (pose.name, shift.name)}
            self._search = SourceSearch(path, self._record, source, pose_and_shift)
            moved = of_kind(self.output_columns, DefocusColumn)
            self.defocus = {column.name: column.sign for column in moved}
        except BaseException:
            self._table.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._table.n_rows

    def __getitem__(self, name: str) -> ExpandedColumn:
        self._refuse_closed()
        return ExpandedColumn(self, name, self._column(name))

    def __contains__(self, name: object) -> bool:
        self._refuse_closed()
        return name in self._table.columns or name in self._joined()

    def __iter__(self) -> Iterator[str]:
        self._refuse_closed()
        own = self.columns
        yield from own
        yield from (name for name in sorted(self._joined()) if name not in self._table.columns)

    def keys(self) -> KeysView[str]:
        """Names of all columns."""
        return dict.fromkeys(self).keys()

    def values(self) -> ValuesView[ExpandedColumn]:
        """All columns."""
        return {name: self[name] for name in self}.values()

    def items(self) -> ItemsView[str, ExpandedColumn]:
        """Names and columns."""
        return {name: self[name] for name in self}.items()

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        if self._closed:
            return f"<ExpandedTable {self.path}: closed>"
        joined = len(self.keys()) - len(self.columns)
        return (
            f"<ExpandedTable {self.path}: {len(self):,} rows {'of' if self.is_selected else '='} "
            f"{self.n_sources:,} particles x {len(self.operators):,} operators of "
            f"{self.operators.symmetry}, "
            f"{len(self.columns)} columns and {joined} joined from {self.source_path}>"
        )

    def to_pandas(self, columns: Sequence[str] | None = None) -> "DataFrame":
        """Give a data frame with a column for each component.

        Parameters
        ----------
        columns : sequence of str, optional
            Names; by default those of the file itself. ``alignments3D/pose`` becomes
            ``alignments3D/pose_0`` to ``alignments3D/pose_2``; text is decoded.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        UsageError
            pandas is not installed.
        """
        try:
            import pandas  # an extra
        except ImportError as error:
            raise UsageError(f"to_pandas needs pandas: {install('pandas')}") from error
        parts: dict[str, Array] = {}
        for name in self.columns if columns is None else columns:
            rows = self[name][:]
            if rows.dtype.kind == "S":
                rows = np.char.decode(rows, "utf-8", "replace")
            rows = rows.astype(rows.dtype.newbyteorder("="), copy=False)
            if rows.ndim == 1:
                parts[name] = rows
                continue
            for place in np.ndindex(rows.shape[1:]):
                parts["_".join((name, *map(str, place)))] = rows[(slice(None), *place)]
        return pandas.DataFrame(parts)

    @property
    def n_sources(self) -> int:
        """Number of rows of the source."""
        return self._record.n_rows

    @property
    def columns(self) -> list[str]:
        """Names of the columns in the file itself."""
        return sorted(self._table.columns)

    @property
    def source_record(self) -> SourceRecord:
        """What the file says of the source."""
        return self._record

    @property
    def source_path(self) -> str:
        """Path of the source as it was given."""
        return self._record.path

    @property
    def source(self) -> ParticleTable:
        """The table that this one was expanded from, found and checked when first asked for.

        Raises
        ------
        SourceChangedError
            It is nowhere, or its poses and shifts are not what they were.
        """
        if self._source is None:
            self._source = self._search.open()
        return self._source

    @property
    def table(self) -> Hdf5Table:
        """The expanded rows themselves."""
        return self._table

    @property
    def pose_columns(self) -> tuple[str, str, str]:
        """Names of the pose and shift columns, and the pose format."""
        return self._pose, self._shift, self._pose_format.name

    @property
    def psize_given_A(self) -> float | None:  # noqa: N802 - the unit is A
        """A per pixel that was given for the expansion in place of the source's."""
        given = self.provenance["parameters"].get("psize")
        if given is not None and not isinstance(given, int | float):
            raise FileFormatError(f"{self.path}: its provenance is damaged: expand again")
        return None if given is None else float(given)

    @property
    def provenance(self) -> dict[str, Any]:
        """How the table was made: software, parameters, environment, resources.

        Raises
        ------
        FileFormatError
            The record is missing or damaged.
        """
        return read_provenance(self._table)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self)

    @property
    def files(self) -> tuple[str, ...]:
        """The file, and those that may be its source: no output may take the place of one."""
        return (self.path, *self._search.files)

    @property
    def is_selected(self) -> bool:
        """Whether rows were left out; see `select`."""
        return SELECTION in self.attributes

    def _refuse_closed(self) -> None:
        """Refuse to go on with a table that was closed."""
        if self._closed:
            raise UsageError(f"{self.path}: the table is closed: read within its with statement")

    def _joined(self) -> Mapping[str, Column]:
        """Columns of the source; none where it is gone or changed."""
        try:
            return self.source.columns
        except SourceChangedError:
            return {}

    def _column(self, name: str) -> Column:
        """Type and shape of a column.

        Raises
        ------
        MissingColumnError
            There is none of that name; it is a KeyError too.
        """
        if name in self._table.columns:
            return self._table.columns[name]
        if name not in self.source.columns:
            raise MissingColumnError(
                f"{self.path}: no column {name}, neither expanded "
                f"({self._table.columns_in_words()}) nor in the source "
                f"({self.source.columns_in_words()})"
            )
        return self.source.columns[name]

    def close(self) -> None:
        """Close the files."""
        self._closed = True
        self._table.close()
        if self._source is not None:
            self._source.close()

    def read(self, name: str, start: int, stop: int) -> Array:
        """Rows ``start`` to ``stop`` of a column, the expanded one before the source's."""
        self._refuse_closed()
        self._column(name)
        if name in self._table.columns:
            return self._table.read([name], start, stop)[name]
        return self.source.read_at([name], self.source_rows(start, stop))[name]

    def source_rows(self, start: int, stop: int) -> Array:
        """Rows of the source that rows ``start`` to ``stop`` were expanded from.

        Raises
        ------
        FileFormatError
            An index points beyond the source.
        """
        return self.checked_sources(
            self._table.read([SOURCE_INDEX], start, stop)[SOURCE_INDEX], start
        )

    def checked_sources(
        self, index: Array, start: int, row_number: Callable[[int], int] = int
    ) -> Array:
        """Rows of the source, int64, that ``source_index`` of rows from ``start`` on names.

        A message has their ``row_number``, where they are some rows of the file.

        Raises
        ------
        FileFormatError
            An index points beyond the source.
        """
        index = index.astype(np.int64)
        beyond = (index < 0) | (index >= self.n_sources)
        if beyond.any():
            row = row_number(start + int(np.argmax(beyond)))
            raise FileFormatError(
                f"{self.path}: {SOURCE_INDEX} of row {row} points beyond the source: verify it"
            )
        return index
