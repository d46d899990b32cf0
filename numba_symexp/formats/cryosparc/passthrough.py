"""Particles with the columns of their passthrough files: datasets joined on their ids."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.particles.columns import pixel_size_column
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import BLOB_PSIZE, CRYOSPARC_EXPANDED, UID
from numba_symexp.particles.table import ParticleTable

_PARENT, _IMAGES = f"{CRYOSPARC_EXPANDED}src_uid", "blob/"


class JoinedTable(ParticleTable):
    """Particles of the first table, with the columns that only the others have.

    A further table without the ids of an expanded first one is joined on ``sym_expand/src_uid``:
    it has the particles that the copies were made of. Then the images (``blob/*``) are its own, as
    a job may have made smaller ones of them, and shifts of the copies are turned into pixels of
    these images. A shift in A, ``shift * psize_A``, stays as it is.

    Parameters
    ----------
    tables : sequence of ParticleTable
        Each has a column ``uid``; rows may be in any order. They are closed with this one.

    Raises
    ------
    SourceError
        An id is missing, or stands twice in one table; or a pixel size is none.
    """

    def __init__(self, tables: Sequence[ParticleTable]) -> None:
        self._tables = list(tables)
        first = self._tables[0]
        self.path, self.location, self.layout = first.path, first.location, first.layout
        self.attributes: dict[str, Any] = dict(first.attributes)
        self.columns = dict(first.columns)
        self._notes: list[str] = []
        self._home = dict.fromkeys(first.columns, 0)
        self._index: list[Array | None] = [None]
        self._images = 0
        self._rescaled: dict[str, str] = {}
        self.passthrough = tuple(each.path for each in self._tables[1:])
        if len(self._tables) == 1:
            return
        uids = _uids(first)
        parents = _parents(first)
        for place, table in enumerate(self._tables[1:], start=1):
            index, of_parents = self._rows_of(table, uids, parents)
            self._index.append(index)
            if of_parents and not self._images:
                self._take_images(table, place)
            for name, column in table.columns.items():
                if name not in self.columns:
                    self.columns[name], self._home[name] = column, place

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read."""
        own = [path for table in self._tables for path in table.files]
        return tuple(dict.fromkeys([self.path, *own]))

    @property
    def notes(self) -> list[str]:
        """What was left out."""
        return [*self._notes, *(note for table in self._tables for note in table.notes)]

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
        rows = self._stored([name for name in names if name not in self._rescaled], start, stop)
        for name in names:
            if name in self._rescaled:
                rows[name] = self._in_pixels_of_images(name, start, stop)
        return rows

    def _take_images(self, table: ParticleTable, place: int) -> None:
        """Take the images of a table of parents, and turn shifts into their pixels."""
        images = [name for name in table.columns if name.startswith(_IMAGES)]
        if not images:
            return
        self._images, first = place, self._tables[0]
        for name in [each for each in self.columns if each.startswith(_IMAGES)]:
            del self.columns[name], self._home[name]
        self._notes.append(f"images (blob/*) are those of {table.path}")
        shifts = [
            name
            for name, column in first.columns.items()
            if name.endswith("/shift") and column.dtype.kind == "f"
        ]
        for shift in shifts:
            size = pixel_size_column(first.columns, shift)
            if size is None or BLOB_PSIZE not in table.columns:
                continue
            old = self._psize_range(first, size)
            new = self._psize_range(table, BLOB_PSIZE)
            if old == new and old[0] == old[1]:
                continue
            self._rescaled[shift] = size
            if size != BLOB_PSIZE:
                self._rescaled[size] = size
            self._notes.append(
                f"{shift} turned from pixels of {_in_words(old)} A ({size}) into those of "
                f"{_in_words(new)} A of these images: the same shifts in A"
            )

    @staticmethod
    def _psize_range(table: ParticleTable, name: str) -> tuple[float, float]:
        """Smallest and largest pixel size of a column."""
        low, high = np.inf, 0.0
        for start, stop in blocks(table, [name]):
            psize_A = table.read([name], start, stop)[name]
            if psize_A.ndim != 1 or not (np.isfinite(psize_A) & (psize_A > 0)).all():
                raise SourceError(
                    f"{table.path}: {name} is not a length above 0 in each row: repair it"
                )
            low, high = min(low, float(psize_A.min())), max(high, float(psize_A.max()))
        return low, high

    def _in_pixels_of_images(self, name: str, start: int, stop: int) -> Array:
        """Shifts or pixel sizes of the first table, in pixels of the images that were joined.

        shift' = shift * psize / psize', so that shift' * psize' = shift * psize.
        """
        index = self._index[self._images]
        assert index is not None  # further tables have one
        table, kind = self._tables[self._images], self.columns[name].dtype
        images_A = table.read_at([BLOB_PSIZE], index[start:stop])[BLOB_PSIZE].astype(np.float64)
        size = self._rescaled[name]
        if name == size:
            return images_A.astype(kind)
        found = self._tables[0].read([name, size], start, stop)
        ratio = found[size].astype(np.float64) / images_A
        shift = found[name].astype(np.float64)
        return (shift * ratio.reshape(-1, *[1] * (shift.ndim - 1))).astype(kind)

    def _stored(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows of columns as the files have them."""
        rows: dict[str, Array] = {}
        for place, (table, index) in enumerate(zip(self._tables, self._index, strict=True)):
            own = [name for name in names if self._home[name] == place]
            if own and index is None:
                rows.update(table.read(own, start, stop))
            elif own and index is not None:
                rows.update(table.read_at(own, index[start:stop]))
        return rows

    def _rows_of(
        self, table: ParticleTable, uids: Array, parents: Array | None
    ) -> tuple[Array, bool]:
        """Rows of a further table that belong to those of the first, and whether as parents."""
        own = _uids(table)
        order = np.argsort(own, kind="stable")
        for wanted in (uids, parents):
            if wanted is None:
                continue
            place = np.minimum(np.searchsorted(own[order], wanted), len(own) - 1)
            if (own[order][place] == wanted).all():
                of_parents = wanted is parents
                if of_parents:
                    self._notes.append(f"{table.path}: joined on {_PARENT}, the particles' ids")
                spare = len(own) - len(np.unique(place))
                if spare:
                    self._notes.append(
                        f"{table.path}: {spare:,} row(s) left out, whose particles are not in "
                        f"{self.path}"
                    )
                return order[place], of_parents
        missing = ~np.isin(uids if parents is None else parents, own)
        row = int(np.argmax(missing))
        name, key = (UID, uids) if parents is None else (_PARENT, parents)
        raise SourceError(
            f"{table.path}: {name} {key[row]} of {self.path}, row {row}, is missing "
            f"({np.count_nonzero(missing):,} id(s) in all): give the passthrough file of the "
            f"same job{'' if parents is None else ', or the particles that it was expanded from'}"
        )


def _in_words(size_A: tuple[float, float]) -> str:
    """A pixel size, or the range of several."""
    low, high = size_A
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _parents(table: ParticleTable) -> Array | None:
    """Ids of the particles that copies were made of, where a table has them."""
    column = table.columns.get(_PARENT)
    if column is None or column.shape or column.dtype.kind not in "ui":
        return None
    return table.read([_PARENT], 0, table.n_rows)[_PARENT].astype(np.uint64)


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
