"""The one reader of poses: any particle table, expanded or not, as blocks of rows."""

import functools
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Self

from numba_symexp import interrupts
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.expanded.interface import ExpandedRows
from numba_symexp.expanded.table import ExpandedTable, open_expanded
from numba_symexp.formats import open_table
from numba_symexp.formats.relion.labels import IMAGE
from numba_symexp.particles.columns import (
    PoseColumns,
    columns_of_copies,
    find_columns,
    pixel_size_column,
    unknown_pixel_size,
    without_given_psize,
)
from numba_symexp.particles.convention import is_clear, other_programs_paths
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    CONVENTION,
    DEFOCUS,
    DYNAMO_PARENT,
    FORMAT,
    OPERATOR_INDEX,
    SOURCE_INDEX,
    SOURCE_LABEL,
)
from numba_symexp.particles.table import DYNAMO, ParticleTable
from numba_symexp.particles.words import numbers
from numba_symexp.pose_block import Block
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.point_groups import HOUSE
from numba_symexp.symmetry.spec import choose_convention

INDEX, PSIZE_A, HALF_SET, ID, MOVED_DEFOCUS, KEY = (
    "index",
    "psize",
    "split",
    "uid",
    "defocus",
    "key",
)
"""Parts of a row that a reader may ask for, beside its pose and shift."""

EXPORTED = (INDEX, HALF_SET, ID, MOVED_DEFOCUS)
"""Parts that every output for other programs needs."""

_EXPORT_ROWS = 16_384
"""Rows of text that are made at a time."""

_CRYOSPARC = ("sym_expand/src_uid", "sym_expand/idx")
_OURS = (SOURCE_INDEX, OPERATOR_INDEX)


def open_poses(
    path: str,
    psize_A: float | None = None,
    source: str | None = None,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    passthrough: Sequence[str] = (),
) -> "Poses":
    """Open the poses of a particle table, expanded or not.

    Parameters
    ----------
    path : str
        HDF5, .cs or .star file.
    psize_A : float, optional
        A per pixel of the shifts, in place of what the table says.
    source : str, optional
        The table that an expanded one was expanded from, where it is no longer found.
    table, pose, pose_format, shift, passthrough
        As in `ExpandJob`, of a table that is not expanded.

    Raises
    ------
    SymexpError
        The file cannot be read, lacks a column, or has no rows; or the pixel size is no length.
    """
    if psize_A is not None and not 0 < psize_A < math.inf:
        raise UsageError(f"psize={psize_A:g} is not a length above 0, in A per pixel")
    rows = open_table(path, table, passthrough)
    expanded: ExpandedTable | None = None
    try:
        if not rows.says("format", FORMAT):
            if source is not None:
                raise UsageError(f"{path}: is not an expanded table: leave out source=")
            psize_A = without_given_psize(rows, psize_A)
            given = psize_A is not None
            return Poses(rows, find_columns(rows, pose, pose_format, shift, given), psize_A)
        rows.close()
        expanded = open_expanded(path, source)
        return Poses.of_expanded(expanded, psize_A)
    except BaseException:
        rows.close()
        if expanded is not None:
            expanded.close()
        raise


class Poses:
    """Poses and shifts of a table, and what belongs to them, to be read in blocks.

    Parameters
    ----------
    table : ParticleTable
        The rows.
    columns : PoseColumns
        Of these rows.
    psize_A : float, optional
        A per pixel of the shifts, in place of what the table says.
    expanded : ExpandedRows, optional
        Knows operators and particles, where the table is expanded.
    into_A : bool
        Whether shifts must be turned into A; see `pixel_size_column`.

    Attributes
    ----------
    table : ParticleTable
        The rows; of an expanded table the expanded ones.
    expanded : ExpandedRows or None
    operators : Operators or None
        None where nothing was expanded.
    defocus : tuple of str
        Columns of the defocus that the expansion moved, by CryoSPARC's names.
    psize_given_A : float or None
        A per pixel that was given, now or for the expansion.
    convention_given : str or None
        Whose Dn the particles mean, in place of what the table says.

    Raises
    ------
    SourceError
        The table has no rows.
    """

    def __init__(
        self,
        table: ParticleTable,
        columns: PoseColumns,
        psize_A: float | None = None,
        expanded: ExpandedRows | None = None,
        into_A: bool = True,
    ) -> None:
        if not table.n_rows:
            raise SourceError(f"{table.path}: has no rows: give a table with particles")
        self.table, self.columns, self.expanded = table, columns, expanded
        self._into_A = into_A
        self.operators: Operators | None = None
        self.psize_given_A = psize_A
        self.convention_given: str | None = None
        self.defocus: tuple[str, ...] = ()
        if expanded is not None:
            self.operators = expanded.operators
            self.psize_given_A = psize_A or expanded.psize_given_A
            self.defocus = tuple(name for name in DEFOCUS if self.moved_column(name))

    @classmethod
    def of_expanded(
        cls,
        expanded: ExpandedRows,
        psize_A: float | None = None,
        into_A: bool = True,
    ) -> "Poses":
        """Poses of the rows of an expanded table, which is closed with them."""
        pose, shift, pose_format = expanded.pose_columns
        columns = columns_of_copies(expanded.table, pose, pose_format, shift)
        return cls(expanded.table, columns, psize_A, expanded, into_A)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.table.n_rows

    @property
    def source(self) -> ParticleTable:
        """The particles: where all columns are that the rows do not have themselves."""
        return self.table if self.expanded is None else self.expanded.source

    def particles(self) -> "Poses":
        """Poses of the particles that an expanded table was expanded from."""
        if self.expanded is None:
            return self
        pose, shift, pose_format = self.expanded.pose_columns
        given = self.psize_given_A
        columns = find_columns(self.source, pose, pose_format, shift, given is not None)
        return Poses(self.source, columns, given, into_A=self._into_A)

    def close(self) -> None:
        """Close the files."""
        (self.expanded or self.table).close()

    def check_unchanged(self) -> None:
        """Refuse files that were written to since they were opened."""
        for table in {id(each): each for each in (self.table, self.source)}.values():
            table.check_unchanged()

    @property
    def convention(self) -> str:
        """Whose Dn the particles mean: of an expanded table what it was expanded by."""
        known = self.operators.convention if self.operators is not None else None
        if self.convention_given is None and known in HOUSE:
            return known
        return choose_convention(self.convention_given, self.source.attributes.get(CONVENTION))

    def needs_mark(self, program: str, written: ParticleTable) -> bool:
        """Whether a file for a program must say whose Dn its particles mean.

        So it must where that is not the program's own, and where paths would raise a doubt of
        which there is none.

        Parameters
        ----------
        program : {"cryosparc", "relion"}
        written : ParticleTable
            The columns that are written, in the names of that program.

        Raises
        ------
        SourceError
            The table says a convention that no particle file can have.
        """
        if self.convention not in HOUSE:
            raise SourceError(
                f"{self.source.path}: has the convention {self.convention[:40]!a}, which no "
                f"particles are refined in: give convention={' or convention='.join(HOUSE)}"
            )
        if self.convention != program:
            return True
        other = next(each for each in HOUSE if each != program)
        settled = self.convention_given is not None or is_clear(self.source)
        return settled and other_programs_paths(written, other) is not None

    @property
    def replaced(self) -> set[str]:
        """Columns of the source that the rows replace."""
        return {self.columns.pose, self.columns.shift}

    @property
    def components(self) -> int:
        """Components of a shift: 2 of images, 3 of subtomograms."""
        return self.table.columns[self.columns.shift].shape[0]

    @property
    def has_split(self) -> bool:
        """Whether rows have half-sets."""
        return self.columns.split is not None

    @property
    def has_uid(self) -> bool:
        """Whether rows have ids."""
        return self.columns.uid is not None

    @functools.cached_property
    def psize_column(self) -> str | None:
        """Column of the particles with the A per pixel of the shifts; see `pixel_size_column`.

        None where one was given, and where there is none.
        """
        if self.psize_given_A is not None:
            return None
        return pixel_size_column(self.source.columns, self.columns.shift, self._into_A)

    @property
    def has_psize(self) -> bool:
        """Whether shifts can be had in A."""
        return self.psize_given_A is not None or self.psize_column is not None

    @property
    def unit(self) -> str:
        """Unit of `Block.shift_A`: A where the A per pixel is known, else px."""
        return "A" if self.has_psize else "px"

    def leave_px(self) -> None:
        """Leave shifts in px where no A per pixel was given: the particles are not looked at."""
        self.psize_column = None

    def require_psize(self, why: str) -> None:
        """Refuse rows whose A per pixel is unknown; ``why`` says what needs it.

        Raises
        ------
        SourceError
            It is unknown.
        """
        if not self.has_psize:
            advice = "add it, import the particles again, or expand with psize=A_PER_PIXEL"
            raise unknown_pixel_size(self.source, self.columns.shift, why, advice)

    @functools.cached_property
    def keys(self) -> tuple[str, str | None]:
        """Columns that name the particle and the copy of a row.

        The second is None where copies are numbered in the order of the file.

        Raises
        ------
        SourceError
            Nothing tells whose copies the rows are.
        """
        table = self.table
        for key, copy in (_CRYOSPARC, _OURS):
            found = [table.columns.get(name) for name in (key, copy)]
            if all(each and not each.shape and each.dtype.kind in "ui" for each in found):
                return key, copy
        if self._names_parents():
            return DYNAMO_PARENT, None
        for key in (SOURCE_LABEL, IMAGE):  # operator 0 may be gone: motions tell the copies
            if table.header is not None and key in table.columns:
                return key, None
        raise SourceError(
            f"{table.path}: is not expanded, or nothing tells whose copies its rows are: give a "
            f"table with {' and '.join(_CRYOSPARC)}, or {' and '.join(_OURS)}, a .star with "
            f"_{IMAGE}, or a .tbl with the parents' tags (otag)"
        )

    def _names_parents(self) -> bool:
        """Whether rows are those of Dynamo and say whose copies they are; 0 says nothing."""
        if self.table.vocabulary != DYNAMO or DYNAMO_PARENT not in self.table.columns:
            return False
        some = min(len(self), _EXPORT_ROWS)
        words = self.table.read([DYNAMO_PARENT], 0, some)[DYNAMO_PARENT]
        return bool((numbers(words, f"{self.table.path}: {DYNAMO_PARENT}", 0) != 0).all())

    def blocks(
        self, parts: Collection[str] = (), rows: int | None = None, pose: bool = True
    ) -> Iterator[Block]:
        """All rows, a few MB at a time.

        Parameters
        ----------
        parts : collection of str
            What is read beside poses and shifts: ``INDEX`` and the like.
        rows : int, optional
            Rows of a block; by default so many that a block takes a few MB.
        pose : bool
            Read poses; without them, a block has shifts only.

        Raises
        ------
        SourceError
            A pose, shift or pixel size is none.
        """
        names = [self.columns.pose] if pose else []
        names += [self.columns.shift, *self._names(parts)]
        ranges = (
            blocks(self.table, names)
            if rows is None
            else ((at, min(at + rows, len(self))) for at in range(0, len(self), rows))
        )
        for start, stop in ranges:
            interrupts.check()
            yield self._block(names, start, stop, PSIZE_A in parts)

    def block(self, start: int, stop: int, parts: Collection[str] = ()) -> Block:
        """Rows ``start`` to ``stop``; see `blocks`."""
        names = [self.columns.pose, self.columns.shift, *self._names(parts)]
        return self._block(names, start, stop, PSIZE_A in parts)

    def _block(self, names: list[str], start: int, stop: int, psize: bool) -> Block:
        """Rows that were read and checked."""
        block = Block(self, start, stop, self.table.read(names, start, stop))
        block.check(psize)
        return block

    def exported(self) -> Iterator[Block]:
        """All rows, with the parts that outputs for other programs need."""
        return self.blocks(EXPORTED, _EXPORT_ROWS)

    def _names(self, parts: Collection[str]) -> list[str]:
        """Columns of the rows that parts are read from."""
        columns, names = self.columns, []
        if self.expanded is not None:
            if INDEX in parts:
                names += [SOURCE_INDEX, OPERATOR_INDEX]
            elif PSIZE_A in parts and self.psize_column is not None:
                names.append(SOURCE_INDEX)
            if MOVED_DEFOCUS in parts:
                names += self.expanded.defocus
        elif PSIZE_A in parts and self.psize_column is not None:
            names.append(self.psize_column)
        if KEY in parts:
            names += [name for name in self.keys if name is not None]
        if HALF_SET in parts and columns.split is not None:
            names.append(columns.split)
        if ID in parts and columns.uid is not None:
            names.append(columns.uid)
        return list(dict.fromkeys(names))

    def moved_column(self, name: str) -> str | None:
        """What a column of the defocus is called in the rows, if it moved."""
        moved = self.expanded.defocus if self.expanded is not None else {}
        return next((each for each in (name, DEFOCUS[name]) if each in moved), None)
