"""A CryoSPARC dataset file as a particle table: NumPy's row format, or the CSDAT stream."""

import ast
import hashlib
import os
import re
import struct
import warnings
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.files import check_readable, first_bytes
from numba_symexp.formats.cryosparc.csdat import as_numpy
from numba_symexp.kinds import CSDAT_MAGIC, NUMPY_MAGIC
from numba_symexp.particles.columns import pixel_size_column
from numba_symexp.particles.convention import doubt_of, other_programs_paths
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    BLOB_PSIZE,
    CONVENTION,
    CONVENTION_DOUBT,
    CONVENTION_FIELD,
    CRYOSPARC_EXPANDED,
    TABLE,
    UID,
)
from numba_symexp.particles.table import RELION, Column, ParticleTable, refuse_odd_names
from numba_symexp.symmetry.point_groups import HOUSE

_MOST_HEADER_BYTES = 256 << 10
"""Thousands of fields; Python takes 480 bytes for each byte of a literal that it parses."""

_ROWS_BEYOND_ALL = 1 << 63

_READ_BYTES = 4 << 20

_RESULT = re.compile(r"^ *metafile: *([^\n]{1,400}?) *\n +num_items: *(\d{1,18}) *$", re.MULTILINE)

_END_BYTES = 400

_PARENT, _IMAGES = f"{CRYOSPARC_EXPANDED}src_uid", "blob/"

BELONGS_TO = "# belongs to the dataset with SHA-256 "
"""Begins the last line, a comment to CryoSPARC: two files are never renamed in one step."""


def open_cs(path: str) -> "CsTable":
    """Open a .cs file of either kind.

    Raises
    ------
    SourceError
        It is neither, damaged, or cut short; or a CSDAT file, and cryosparc-tools is missing.
    """
    check_readable(path, "the .cs file")
    start = first_bytes(path)
    if start.startswith(NUMPY_MAGIC):
        return CsTable(path)
    if start.startswith(CSDAT_MAGIC):
        return _open_csdat(path)
    raise SourceError(f"{path}: neither kind of CryoSPARC dataset (NumPy, CSDAT): copy it again")


def open_csg(path: str) -> ParticleTable:
    """Open the datasets that a result group names, joined.

    Raises
    ------
    SourceError
        It names none, one in another folder, one that is not there, or one that has another
        number of rows than the group says: then the two are of different exports.
    """
    check_readable(path, "the result group")
    with open(path, "rb") as file:
        text = file.read(_MOST_HEADER_BYTES).decode(errors="replace")
    items = {name.strip("'\" >"): int(rows) for name, rows in _RESULT.findall(text)}
    if not items:
        raise SourceError(f"{path}: names no dataset of particles: give the .cs itself")
    tables: list[CsTable] = []
    try:
        for name, rows in items.items():
            if os.path.basename(name) != name:
                raise SourceError(
                    f"{path}: {name[:80]!r} is in another folder: give the .cs itself"
                )
            tables.append(open_cs(os.path.join(os.path.dirname(path), name)))
            if tables[-1].n_rows != rows:
                raise SourceError(
                    f"{path}: says {rows:,} rows of {name}, which has {tables[-1].n_rows:,}: the "
                    "two are not of one export; give the .cs itself"
                )
            if is_mixed_pair(tables[-1].path, path):
                raise SourceError(
                    f"{path}: belongs to another {name} than the one beside it: export again, or "
                    "give the .cs itself"
                )
        joined = JoinedTable(tables)
    except BaseException:
        for table in tables:
            table.close()
        raise
    joined.path, joined.layout = path, "a CryoSPARC result group"
    return joined


def is_mixed_pair(cs_path: str, group_path: str) -> bool:
    """Whether a result group says that it belongs to another dataset than the one beside it.

    One that does not say, as CryoSPARC's own, belongs to any.

    Parameters
    ----------
    cs_path, group_path : str
        The .cs and the .csg.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    with open(group_path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _END_BYTES))
        end = file.read(_END_BYTES).decode(errors="replace")
    _, found, stated = end.rpartition(BELONGS_TO)
    return bool(found) and stated.partition(",")[0] != digest(cs_path)


def digest(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class CsTable(ParticleTable):
    """Particles of a .cs file that is a NumPy array of rows; read where they lie.

    Parameters
    ----------
    path : str
    stored : file, optional
        Open file with the rows, where it is another one than messages name; closed with the table.

    Raises
    ------
    SourceError
        The file is damaged or cut short, has no particles, or holds Python objects.
    """

    def __init__(self, path: str, stored: IO[bytes] | None = None) -> None:
        self.path, self.location, self.layout = path, TABLE, "a CryoSPARC dataset"
        self.attributes: dict[str, Any] = {}
        self._file = stored or open(path, "rb")  # noqa: SIM115 - closed with the table
        try:
            self.watch(self._file.fileno())
            self._read_structure()
        except BaseException:
            self.close()
            raise

    def _read_structure(self) -> None:
        """Read the header, and hold it against the file's size."""
        path = self.path
        self._dtype, self._n_rows, self._first = _read_header(self._file, path)
        size = os.fstat(self._file.fileno()).st_size
        self.columns = _columns_of(self._dtype, path)
        self._mark = self.columns.pop(CONVENTION_FIELD, None)
        whole = self._first + self._n_rows * self._dtype.itemsize
        if size != whole:
            raise SourceError(
                f"{path}: has {size:,} bytes where its header says {whole:,}: it is "
                f"{'cut short' if size < whole else 'damaged'}; copy it again"
            )
        if not self._n_rows:
            raise SourceError(f"{path}: has no particles: give a dataset with rows")
        self.attributes = self._find_convention()

    def _find_convention(self) -> dict[str, Any]:
        """Convention by a mark of ours, or what speaks against CryoSPARC's; mostly nothing."""
        if self._mark is not None and self._mark.dtype.kind == "S" and not self._mark.shape:
            marked = self._rows(0, 1)[CONVENTION_FIELD][0].decode(errors="replace")
            if marked in HOUSE:
                return {CONVENTION: marked}
        path = other_programs_paths(self, RELION)
        return {} if path is None else {CONVENTION_DOUBT: doubt_of(RELION, path)}

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._n_rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        kinds = {name: self._dtype[name] for name in names}
        out = {name: np.empty(stop - start, kind) for name, kind in kinds.items()}
        step = max(1, _READ_BYTES // self._dtype.itemsize)
        for first in range(start, stop, step):
            rows = self._rows(first, min(first + step, stop))
            for name in names:
                out[name][first - start : first - start + len(rows)] = rows[name]
        return out

    def bytes_read_per_row(self, names: Sequence[str]) -> int:
        """Bytes of a whole row: its fields lie side by side."""
        return int(self._dtype.itemsize)

    def _rows(self, start: int, stop: int) -> Array:
        """Whole rows."""
        width = self._dtype.itemsize
        try:
            data = os.pread(
                self._file.fileno(), (stop - start) * width, self._first + start * width
            )
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read ({error.strerror}): copy it") from error
        if len(data) < (stop - start) * width:
            raise SourceError(
                f"{self.path}: was cut short while it was read: wait until it is whole, then try "
                "again"
            )
        return np.frombuffer(data, self._dtype)


def _open_csdat(path: str) -> CsTable:
    """Open a CSDAT stream, as NumPy's rows."""
    table = CsTable(path, as_numpy(path))
    table.layout = "a CryoSPARC dataset (CSDAT)"
    return table


def _read_header(file: Any, path: str) -> tuple[np.dtype[Any], int, int]:
    """Row type, number of rows and place of the first row of a NumPy file.

    The header is text of plain Python literals (NEP 1); no pickle is ever loaded.
    """
    try:
        file.seek(len(NUMPY_MAGIC))
        major, _ = file.read(2)
        length = struct.unpack("<H" if major == 1 else "<I", file.read(2 if major == 1 else 4))[0]
        if length > _MOST_HEADER_BYTES:
            raise ValueError(f"its header of {length:,} bytes is too long")
        text = file.read(length).decode("utf-8" if major == 3 else "latin-1")
        with warnings.catch_warnings(action="ignore"):  # of what a damaged literal looks like
            header = ast.literal_eval(text)
        dtype = np.lib.format.descr_to_dtype(header["descr"])
        (rows,) = header["shape"]
        rows = int(rows)
        if abs(rows) >= _ROWS_BEYOND_ALL:
            raise ValueError("its number of rows has too many digits")
        return dtype, rows, file.tell()
    except Exception as error:  # a damaged literal can raise almost anything
        is_syntax = isinstance(error, SyntaxError) or "<ast." in str(error)
        reason = "no literal" if is_syntax else str(error).partition("\n")[0]
        raise SourceError(
            f"{path}: its header cannot be read ({reason[:100]}): it is cut short or damaged; copy "
            "it again"
        ) from error


def _columns_of(dtype: np.dtype[Any], path: str) -> dict[str, Column]:
    """Columns of rows of some type."""
    if not dtype.names:
        raise SourceError(f"{path}: holds {dtype}, not rows of fields: give a CryoSPARC dataset")
    for name in dtype.names:
        kind = dtype[name].base
        if kind.kind not in "biufcS" or not kind.itemsize or 0 in dtype[name].shape:
            raise SourceError(
                f"{path}: {name} is {kind}, not numbers or fixed-length text: load and save it "
                "with cryosparc-tools"
            )
    refuse_odd_names(dtype.names, path)
    return {name: Column(dtype[name].base, dtype[name].shape) for name in dtype.names}


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
