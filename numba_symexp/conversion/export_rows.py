"""Rows to be written for other programs: of an expanded table, or of a table as it is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from numba_symexp import interrupts
from numba_symexp.errors import SourceError
from numba_symexp.expanded.table import ExpandedTable, open_expanded
from numba_symexp.formats.registry import open_table
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import find_columns
from numba_symexp.particles.scan import scan
from numba_symexp.particles.schema import (
    DEFOCUS,
    FORMAT,
    OPERATOR_INDEX,
    PSIZE,
    SPLIT,
    UID,
)
from numba_symexp.symmetry.operators import Operators
from numba_symexp.types import Array

_BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class Block:
    """Some rows, and the rows of the source that they belong to.

    Attributes
    ----------
    sources : (m,) int64
        Rows of the source, each once, ascending.
    index : (n,) int
        Which of them each row belongs to.
    operator : (n,) uint16
        Operator of each row; all 0 where nothing was expanded.
    pose : (n, 3) float
        Rotation vectors, rad, in their own precision.
    shift : (n, 2) float
        Pixels.
    split, uid : (n,) or None
    defocus : dict of str to (n,) float
        Columns of the defocus that moved, by CryoSPARC's names, A.
    """

    sources: Array
    index: Array
    operator: Array
    pose: Array
    shift: Array
    split: Array | None
    uid: Array | None
    defocus: dict[str, Array]


class ExportRows:
    """All rows of a file, block by block.

    Parameters
    ----------
    path : str
        Expanded table, or any particle table.

    Attributes
    ----------
    source : ParticleTable
        Where all other columns are.
    operators : Operators or None
        None where nothing was expanded.
    replaced : set of str
        Columns of the source that the rows replace.
    defocus : tuple of str
        Columns of the defocus that moved, by CryoSPARC's names.
    psize_given_A : float or None
        Pixel size that was given for the expansion instead of the source's.

    Raises
    ------
    SymexpError
        The file, or its source, cannot be read.
    """

    def __init__(self, path: str) -> None:
        table = open_table(path)
        self._expanded: ExpandedTable | None = None
        self.operators: Operators | None = None
        self.defocus: tuple[str, ...] = ()
        self.psize_given_A: float | None = None
        if table.says("format", FORMAT):
            table.close()
            self._expanded = open_expanded(path)
            self._open_expanded(self._expanded)
            return
        self._rows = self.source = table
        try:
            columns = find_columns(table)
            scan(table, columns)
            if not table.n_rows:
                raise SourceError(f"{path}: has no particles: there is nothing to export")
        except BaseException:
            table.close()
            raise
        self._pose, self._shift, self._pose_format = columns.pose, columns.shift, "rotvec"
        self.replaced = {columns.pose, columns.shift}

    def __enter__(self) -> "ExportRows":
        return self

    def __exit__(self, *error: object) -> None:
        (self._expanded or self._rows).close()

    def check_unchanged(self) -> None:
        """Refuse files that were written to since they were opened."""
        for table in (self._rows, self.source):
            table.check_unchanged()

    def __len__(self) -> int:
        return self._rows.n_rows

    @property
    def has_split(self) -> bool:
        """Whether rows have half-sets."""
        return SPLIT in self._rows.columns

    @property
    def has_uid(self) -> bool:
        """Whether rows have ids."""
        return UID in self._rows.columns

    def blocks(self, rows: int = _BLOCK_ROWS) -> Iterator[Block]:
        """All rows, so many at a time."""
        names = [self._pose, self._shift]
        names += [name for name in (SPLIT, UID) if name in self._rows.columns]
        if self._expanded:
            names += [OPERATOR_INDEX, *self._expanded.defocus]
        for start in range(0, len(self), rows):
            interrupts.check()
            stop = min(start + rows, len(self))
            some = self._rows.read(names, start, stop)
            sources, index = np.arange(start, stop), np.arange(stop - start)
            if self._expanded:
                wanted = self._expanded.source_rows(start, stop)
                sources, index = np.unique(wanted, return_inverse=True)
            pose = some[self._pose]
            if self._pose_format != "rotvec":
                pose = convert(pose, self._pose_format, "rotvec")
            yield Block(
                sources,
                index,
                some.get(OPERATOR_INDEX, np.zeros(stop - start, np.uint16)),
                pose,
                some[self._shift],
                some.get(SPLIT),
                some.get(UID),
                {name: some[self._defocus_names(name)[0]] for name in self.defocus},
            )

    def _defocus_names(self, name: str) -> list[str]:
        """What a column of the defocus is called in the rows, if it moved."""
        moved = self._expanded.defocus if self._expanded else {}
        return [each for each in (name, DEFOCUS[name]) if each in moved]

    def _open_expanded(self, expanded: ExpandedTable) -> None:
        """Take rows from an expanded table, the rest from its source."""
        try:
            self._rows, self.source, self.operators = (
                expanded.table,
                expanded.source,
                expanded.operators,
            )
            self._pose, self._shift, self._pose_format = expanded.pose_columns
            self.replaced = {self._pose, self._shift}
            self.defocus = tuple(name for name in DEFOCUS if self._defocus_names(name))
            self.psize_given_A = expanded.psize_given_A
            if self.psize_given_A and PSIZE in self.source.columns and expanded.operators.moves:
                raise SourceError(
                    f"{expanded.path}: was expanded with --psize={self.psize_given_A:g}, which is "
                    f"not its source's own pixel size ({PSIZE}): expand again without --psize"
                )
        except BaseException:
            expanded.close()
            raise
