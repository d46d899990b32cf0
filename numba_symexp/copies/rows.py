"""Rows of an expanded table: whose copies they are, and their poses and shifts."""

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.expanded.table import ExpandedTable, open_expanded
from numba_symexp.formats.registry import open_table
from numba_symexp.formats.relion.kept_text import star_text
from numba_symexp.formats.relion.labels import IMAGE
from numba_symexp.formats.relion.words import word_hash
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import find_columns, native
from numba_symexp.particles.findings import Findings, check_pose, check_psize, check_shift
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    FORMAT,
    OPERATOR_INDEX,
    POSE_FORMATS,
    PSIZE,
    SOURCE_INDEX,
)
from numba_symexp.particles.table import ParticleTable
from numba_symexp.types import Array

_CRYOSPARC = ("sym_expand/src_uid", "sym_expand/idx")
_OURS = (SOURCE_INDEX, OPERATOR_INDEX)


class Block(NamedTuple):
    """Some rows.

    Attributes
    ----------
    key : (n,) uint64
        Equal for all copies of a particle.
    copy : (n,) int64 or None
        Which copy each row is; None where only the order of the rows tells.
    quaternion : (n, 4) float64
        exp(v), image to map.
    shift_A : (n, 2) float64
        In pixels where `CopyRows.has_psize` is False.
    """

    key: Array
    copy: Array | None
    quaternion: Array
    shift_A: Array


class CopyRows:
    """Rows of an expanded table, open for reading in blocks.

    Parameters
    ----------
    path : str
        .cs, .star or HDF5 file.
    psize_A : float, optional
        A per pixel of the shifts, in place of what the table says.

    Attributes
    ----------
    table : ParticleTable
    expanded : ExpandedTable or None
        The table as this package knows it, where this package wrote it.
    key_column : str
        Column that names the particle.
    copy_column : str or None
        Column that numbers the copies; None where they are numbered in file order.
    has_psize : bool
        Whether shifts can be had in A.

    Raises
    ------
    SourceError
        The file cannot be read, or lacks a column.
    """

    def __init__(self, path: str, psize_A: float | None = None) -> None:
        self.table: ParticleTable = open_table(path)
        self.expanded: ExpandedTable | None = None
        try:
            if self.table.says("format", FORMAT):
                self.table.close()
                self.expanded = open_expanded(path)
                self.table = self.expanded.table
            self._find_columns(psize_A)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        (self.expanded or self.table).close()

    def blocks(self) -> Iterator[tuple[int, Block]]:
        """All rows, a few MB at a time, each block with the number of rows up to its end.

        Raises
        ------
        SourceError
            A pose, shift or pixel size is none.
        """
        for start, stop in blocks(self.table, self._names):
            yield stop, self._read(start, stop)

    def _find_columns(self, psize_A: float | None) -> None:
        """Find out which columns there are, and what they mean."""
        table = self.table
        self.key_column, self.copy_column = _keys_of(table)
        if self.expanded is not None:
            self._pose, self._shift, pose_format = self.expanded.pose_columns
            self._format = POSE_FORMATS[pose_format]
        else:
            found = find_columns(table, psize_given=psize_A is not None)
            self._pose, self._shift, self._format = found.pose, found.shift, found.pose_format
        self._names = [self._pose, self._shift, self.key_column]
        self._names += [self.copy_column] if self.copy_column else []
        self._psize_A = psize_A
        self._joined = False
        if psize_A is None and self.expanded is not None and self.expanded.operators.moves:
            self._psize_A = self.expanded.psize_given_A
            self._joined = self._psize_A is None and PSIZE in self.expanded.source.columns
        own = psize_A is None and self.expanded is None and PSIZE in table.columns
        self._names += [PSIZE] if own else []
        self.has_psize = own or self._joined or self._psize_A is not None
        if not table.n_rows:
            raise SourceError(f"{table.path}: has no rows: give a table with copies")

    def _read(self, start: int, stop: int) -> Block:
        """Rows ``start`` to ``stop``."""
        rows = self.table.read(self._names, start, stop)
        if self._joined and self.expanded is not None:
            rows[PSIZE] = self.expanded.read(PSIZE, start, stop)
        pose, shift = native(rows[self._pose]), native(rows[self._shift])
        bad = Findings()
        check_pose(pose, self._format, self._pose, start, bad)
        check_shift(shift, self._shift, start, bad)
        scale = np.array([1.0 if self._psize_A is None else self._psize_A])
        if PSIZE in rows:
            scale = native(rows[PSIZE]).astype(np.float64)
            check_psize(scale, PSIZE, start, bad)
        if bad:
            raise SourceError(
                f"{self.table.path}: {bad.lines()[0]}: remove these rows or repair them"
            )
        key = rows[self.key_column]
        return Block(
            word_hash(key) if key.dtype.kind == "S" else key.astype(np.uint64),
            rows[self.copy_column].astype(np.int64) if self.copy_column else None,
            convert(pose, self._format.name, "quaternion"),
            shift.astype(np.float64) * scale[:, None],
        )


def _keys_of(table: ParticleTable) -> tuple[str, str | None]:
    """Columns that tell the particle and the copy of a row."""
    for key, copy in (_CRYOSPARC, _OURS):
        found = [table.columns.get(name) for name in (key, copy)]
        if all(each and not each.shape and each.dtype.kind in "ui" for each in found):
            return key, copy
    if star_text(table) is not None and IMAGE in table.columns:
        return IMAGE, None
    raise SourceError(
        f"{table.path}: nothing tells whose copies its rows are (columns: {table.listed()}): give "
        f"one with {' and '.join(_CRYOSPARC)}, or {' and '.join(_OURS)}, or a .star with _{IMAGE}"
    )
