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
from numba_symexp.files import check_readable, first_bytes, read_range, read_small
from numba_symexp.formats.cryosparc.csdat import as_numpy
from numba_symexp.formats.cryosparc.passthrough import JoinedTable
from numba_symexp.kinds import CSDAT_MAGIC, NUMPY_MAGIC
from numba_symexp.particles.convention import doubt_of, other_programs_paths
from numba_symexp.particles.schema import (
    CONVENTION,
    CONVENTION_DOUBT,
    CONVENTION_FIELD,
    TABLE,
)
from numba_symexp.particles.table import RELION, Column, ParticleTable, refuse_odd_names
from numba_symexp.symmetry.point_groups import HOUSE

_MOST_HEADER_BYTES = 256 << 10
"""Thousands of fields; Python takes 480 bytes for each byte of a literal that it parses."""

_ROWS_BEYOND_ALL = 1 << 63

_READ_BYTES = 4 << 20

_RESULT = re.compile(r"^ *metafile: *([^\n]{1,400}?) *\n +num_items: *(\d{1,18}) *$", re.MULTILINE)

_POSES = re.compile(r"^ *'?alignments3D'?: *\n *metafile: *([^\n]{1,400}?) *$", re.MULTILINE)
"""Names the dataset with the poses, whose rows come first and whose columns stand above others'."""

_END_BYTES = 400

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
    text = read_small(path, "the result group", _MOST_HEADER_BYTES).decode(errors="replace")
    items = {name.strip("'\" >"): int(rows) for name, rows in _RESULT.findall(text)}
    if not items:
        raise SourceError(f"{path}: names no dataset of particles: give the .cs itself")
    of_poses = _POSES.search(text)
    main = of_poses[1].strip("'\" >") if of_poses else None
    tables: list[CsTable] = []
    try:
        for name, rows in sorted(items.items(), key=lambda item: item[0] != main):
            if os.path.basename(name) != name:
                raise SourceError(
                    f"{path}: {name[:80]!r} is in another folder: give the .cs itself"
                )
            beside = os.path.join(os.path.dirname(path), name)
            if not os.path.exists(beside):
                raise SourceError(
                    f"{path}: names {name}, which is not beside it: copy the .cs there too, or "
                    "name the job's folder"
                )
            tables.append(open_cs(beside))
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
    joined.path, joined.passthrough, joined.layout = path, (), "a CryoSPARC result group"
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
        """Read the header, and compare it with the size of the file."""
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
        place = self._first + start * width
        data = read_range(self._file, self.path, place, (stop - start) * width)
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
