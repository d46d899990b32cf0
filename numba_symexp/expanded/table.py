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
    only,
    stored_columns,
)
from numba_symexp.expanded.format import SourceRecord, check_format, read_operators
from numba_symexp.expanded.indexed_column import ExpandedColumn
from numba_symexp.expanded.provenance import read_provenance
from numba_symexp.files import first_bytes, is_data_file
from numba_symexp.formats import open_table
from numba_symexp.formats.hdf5.table import Hdf5Table
from numba_symexp.kinds import CSG
from numba_symexp.particles.columns import native
from numba_symexp.particles.fingerprint import (
    RULE_2,
    ColumnDigests,
    Fingerprint,
    changes,
    full_fingerprint,
)
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import SELECTION, SOURCE_INDEX
from numba_symexp.particles.table import Column, ParticleTable

if TYPE_CHECKING:
    from pandas import DataFrame

_CHANGES_NAMED = 4


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
    return ExpandedTable(os.fspath(path), None if source is None else os.fspath(source))


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
        self._given_source = source
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
            (pose,) = only(self.output_columns, PoseColumn)
            (shift,) = only(self.output_columns, ShiftColumn)
            self._pose, self._shift, self._pose_format = pose.name, shift.name, pose.pose_format
            moved = only(self.output_columns, DefocusColumn)
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
            self._source = self._find_source()
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
        named = dict.fromkeys(self._candidates())
        return (
            self.path,
            *named,
            *(each for path in named for each in self._record.passthrough_of(path)),
        )

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

    def _find_source(self) -> ParticleTable:
        """Open the first candidate that exists and has the fingerprint."""
        changed, what = None, ""
        for path in self._candidates():
            further = self._record.passthrough_of(path)
            if path == self._given_source and (
                os.path.isdir(path) or CSG.is_this(first_bytes(path))
            ):
                further = []  # it names them itself
            elif not all(map(is_data_file, (path, *further))):
                continue
            table = open_table(path, self._record.table, further)
            try:
                found = self._changes(table)
                if not found:
                    return table
            except BaseException:
                table.close()
                raise
            table.close()
            what = what or ", ".join(found[:_CHANGES_NAMED]) + (
                " ..." * (len(found) > _CHANGES_NAMED)
            )
            changed = changed or path
        if changed:
            raise SourceChangedError(
                f"{self.path}: its source {changed} is not what it was when it was expanded "
                f"({what}): name the original with source=, or expand again"
            )
        if self._given_source is not None:
            raise SourceChangedError(
                f"{self.path}: its source, {self._given_source}, is no file that may be read: "
                "check the path"
            )
        raise SourceChangedError(
            f"{self.path}: its source {self.source_path} is gone: name it with source="
        )

    def _candidates(self) -> list[str]:
        """Where the source may be, the likeliest first."""
        if self._given_source is not None:
            return [self._given_source]
        folder = os.path.dirname(os.path.realpath(self.path))
        relative = os.path.normpath(os.path.join(folder, self._record.relative_path))
        return [relative, self._record.absolute_path, self.source_path]

    def _changes(self, table: ParticleTable) -> list[str]:
        """In what a table differs from the one that was expanded."""
        for name in (self._pose, self._shift):
            if name not in table.columns:
                return [f"{name} is missing"]
        if table.n_rows != self.n_sources:
            return [f"{table.n_rows:,} rows, not {self.n_sources:,}"]
        before = self._record
        by_column = before.fingerprint.startswith(RULE_2)
        names = [self._pose, self._shift]
        read = list(table.columns) if by_column else names
        fingerprint, digests = (
            Fingerprint(),
            ColumnDigests({name: table.columns[name] for name in read}),
        )
        for start, stop in blocks(table, read):
            rows = table.read(read, start, stop)
            fingerprint.update(*(native(rows[name]) for name in names))
            if by_column:
                digests.update(rows)
        if not by_column:
            own = self._table.columns
            alike = all(_alike(table.columns[name], own[name]) for name in names)
            same = alike and fingerprint.text() == before.fingerprint
            return [] if same else ["poses or shifts differ"]
        lines = digests.lines()
        if full_fingerprint(fingerprint.text(), lines) == before.fingerprint:
            return [] if lines == before.columns else ["its record here is damaged"]
        return changes(before.columns, lines) or ["its record here is damaged"]


def _alike(one: Column, other: Column) -> bool:
    """Whether two columns have one shape and type, whatever their byte orders."""
    types = (each.dtype.newbyteorder("=") for each in (one, other))
    return one.shape == other.shape and len(set(types)) == 1
