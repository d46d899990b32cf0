"""The two sets of a transfer: which columns hold poses, shifts, pixel sizes and half-sets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.expanded.table import ExpandedTable, open_expanded
from numba_symexp.formats import open_table
from numba_symexp.formats.relion.labels import LabelReader
from numba_symexp.particles.columns import (
    PoseColumns,
    columns_of_copies,
    find_columns,
    native,
    pixel_size_column,
)
from numba_symexp.particles.convention import kept_convention
from numba_symexp.particles.findings import Findings, check_pose, check_shift, refuse_no_length
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import FORMAT, POSE, SHIFT, SOURCE_INDEX
from numba_symexp.particles.table import DYNAMO, Header, ParticleTable


@dataclass(frozen=True)
class PoseSet:
    """A set of particles that gives poses, or that gets them.

    Attributes
    ----------
    table : ParticleTable
    columns : PoseColumns or None
        None where the set has no poses.
    psize : str or None
        Column with the A per pixel of the shifts.
    psize_given_A : float or None
        The same, where no column says it.
    expanded : ExpandedTable or None
        The file, where it is an expanded table of this package.
    """

    table: ParticleTable
    columns: PoseColumns | None
    psize: str | None
    psize_given_A: float | None
    expanded: ExpandedTable | None

    @property
    def path(self) -> str:
        """The file."""
        return self.table.path

    @property
    def is_text(self) -> bool:
        """Whether the set has RELION's labels."""
        return self.table.header is not None

    @property
    def knows_psize(self) -> bool:
        """Whether the A per pixel of the shifts is known."""
        return self.psize is not None or self.psize_given_A is not None

    def pose_columns(self) -> tuple[str, str, str]:
        """Names of the pose and shift columns, and the pose format."""
        if self.columns is None:
            return POSE, SHIFT, "rotvec"
        return self.columns.pose, self.columns.shift, self.columns.pose_format.name

    def sizes_A(self, rows: Array) -> Array:  # noqa: N802 - the unit is A
        """A per pixel of the shifts of some rows, (n,) float64."""
        if self.psize is None:
            return np.full(len(rows), self.psize_given_A or np.nan)
        found = native(self.table.read_at([self.psize], rows)[self.psize])
        refuse_no_length(found, self.psize, rows, self.table)
        return found.astype(np.float64)

    def close(self) -> None:
        """Close the files."""
        (self.expanded or self.table).close()


def open_set(
    path: str, name: str, psize_A: float | None = None, passthrough: Sequence[str] = ()
) -> PoseSet:
    """Open one set of a transfer.

    Parameters
    ----------
    path : str
        Particle table of any format, expanded or not.
    name : {"source", "target"}
        What the parameter is called.
    psize_A : float, optional
        A per pixel of the shifts, where the table does not say.
    passthrough : sequence of str
        Further .cs files of the same particles.

    Raises
    ------
    SymexpError
        The set cannot be read, or has subtomograms.
    """
    if psize_A is not None and not 0 < psize_A < math.inf:
        raise UsageError(f"{name}_psize={psize_A:g} is not a length above 0, in A per pixel")
    table = open_table(path, None, passthrough)
    try:
        if table.says("format", FORMAT):
            table.close()
            table = WithSource(open_expanded(path))
        _refuse_subtomograms(table)
        found = _set_of_columns(table, name, psize_A)
        if not table.n_rows:
            raise SourceError(f"{path}: has no rows: give a table with particles")
    except BaseException:
        table.close()
        raise
    return found


def check_poses(given: PoseSet, columns: PoseColumns) -> None:
    """Check every pose and shift.

    Raises
    ------
    SourceError
        Says what is wrong, and in which row.
    """
    bad = Findings()
    names = [columns.pose, columns.shift]
    for start, stop in blocks(given.table, names):
        rows = given.table.read(names, start, stop)
        check_pose(native(rows[columns.pose]), columns.pose_format, columns.pose, start, bad)
        check_shift(native(rows[columns.shift]), columns.shift, start, bad)
    if bad:
        raise SourceError(f"{given.path}: {bad.lines()[0]}: remove these particles or repair them")


def _set_of_columns(table: ParticleTable, name: str, psize_A: float | None) -> PoseSet:
    """Columns of a set."""
    if isinstance(table, WithSource):
        expanded = table.expanded
        columns: PoseColumns | None = columns_of_copies(table, *_pose_columns(expanded))
        given, shift = expanded.psize_given_A, expanded.pose_columns[1]
    else:
        expanded, given, shift = None, None, SHIFT
        columns = find_columns(table, into_A=True) if POSE in table.columns else None
    own = None if given is not None else pixel_size_column(table.columns, shift)
    size = table.columns.get(own or "")
    if size is not None and (size.shape or size.dtype.kind != "f"):
        raise SourceError(f"{table.path}: {own} is {size}, which is no pixel size: repair it")
    if psize_A is not None and (own is not None or given is not None):
        says = own or f"psize={given:g} of its expansion"
        raise UsageError(
            f"{name}_psize={psize_A:g} goes with a table that does not say A per pixel, and "
            f"{table.path} does ({says}): leave it out"
        )
    return PoseSet(table, columns, own, given if given is not None else psize_A, expanded)


def _pose_columns(expanded: ExpandedTable) -> tuple[str, str, str]:
    """Names of pose, pose format and shift, in the order of `columns_of_copies`."""
    pose, shift, pose_format = expanded.pose_columns
    return pose, pose_format, shift


def _refuse_subtomograms(table: ParticleTable) -> None:
    """Refuse a set whose shifts have three components, or may get them."""
    header, column = table.header, table.columns.get(SHIFT)
    three = column is not None and column.shape == (3,)
    if header is not None:
        reader = LabelReader.of(header)
        three = three or reader.is_of_subtomograms or bool(reader.further)
    if three or table.vocabulary == DYNAMO:
        raise SourceError(
            f"{table.path}: has subtomograms, and transfer is for images: RELION's and M's "
            "subtomograms of any size share their poses and origins in A"
        )


class WithSource(ParticleTable):
    """Rows of an expanded table of this package, with the columns of the particles behind them.

    Parameters
    ----------
    expanded : ExpandedTable
        Closed with this table.
    """

    def __init__(self, expanded: ExpandedTable) -> None:
        self.expanded, self._rows = expanded, expanded.table
        self.path, self.location = expanded.path, self._rows.location
        self.layout = "an expanded table"
        source = expanded.source
        self.attributes: dict[str, Any] = kept_convention(
            source.attributes, expanded.operators.convention
        )
        self.columns = {**self._rows.columns}
        for name, column in source.columns.items():
            self.columns.setdefault(name, column)

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read."""
        return (self.path, *self.expanded.source.files)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._rows.n_rows

    @property
    def header(self) -> Header | None:
        """What stands around the rows of the particles."""
        return self.expanded.source.header

    def column_attributes(self, name: str) -> Mapping[str, Any]:
        """What the files say of a column."""
        own = self._rows if name in self._rows.columns else self.expanded.source
        return own.column_attributes(name)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        own = [name for name in names if name in self._rows.columns]
        joined = [name for name in names if name not in self._rows.columns]
        rows = self._rows.read(own, start, stop)
        if joined:
            index = self._rows.read([SOURCE_INDEX], start, stop)[SOURCE_INDEX]
            sources = self.expanded.checked_sources(index, start)
            rows.update(self.expanded.source.read_at(joined, sources))
        return rows

    def check_unchanged(self) -> None:
        """Refuse files that were written to since they were opened."""
        self._rows.check_unchanged()
        self.expanded.source.check_unchanged()

    def box_px(self) -> int | None:
        """Side of the images in pixels."""
        return self.expanded.source.box_px()

    def close(self) -> None:
        """Close the files."""
        self.expanded.close()
