"""One pass over a source before anything is written: whether every row is fit."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.particles.columns import PoseColumns, native
from numba_symexp.particles.findings import (
    Findings,
    check_pose,
    check_psize,
    check_shift,
    in_plane,
    odd_poses,
)
from numba_symexp.particles.fingerprint import (
    PAGE,
    ColumnDigests,
    Fingerprint,
    PageDigests,
    page_digests,
)
from numba_symexp.particles.schema import POSE_FORMATS, TURNED_WHEN_CUT, UID_DTYPE
from numba_symexp.particles.table import ParticleTable

_BLOCK_BYTES = 8 << 20
_ROWS_NAMED = 5
_VALUES_NAMED = 5
_SORTED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Scan:
    """What one pass over a source found.

    Attributes
    ----------
    fingerprint : str
        Of all poses and shifts.
    uids : (N,) uint64 or None
        All ids, sorted; this is the one thing that grows with the source.
    psize_least_A, psize_most_A : float
        Smallest and largest pixel size, A; infinite and 0 where none was read.
    shift_most_px : float
        Largest shift component, pixels.
    odd : list of str
        Sentences about rows that can be expanded but deserve a look.
    pages : bytes
        Digests of the poses and shifts of each page, where they are asked for.
    columns : tuple of str
        Name, type and digest of each column; see `ColumnDigests`.
    half_sets : tuple of int
        Values of the half-set column, the least ones where they are many.
    all_in_plane : bool
        Whether all poses are turns about the beam, and not all are zero.
    """

    fingerprint: str
    uids: Array | None
    psize_least_A: float
    psize_most_A: float
    shift_most_px: float
    odd: list[str]
    pages: PageDigests = b""
    columns: tuple[str, ...] = ()
    half_sets: tuple[int, ...] = ()
    all_in_plane: bool = False


def scan(
    table: ParticleTable, columns: PoseColumns, paged: bool = False, others: bool = True
) -> Scan:
    """Read poses, shifts, pixel sizes and ids once, and check every row.

    Parameters
    ----------
    table, columns
        The source.
    paged : bool
        Make the digests of pages too.
    others : bool
        Read all other columns too, and make the digests of all.

    Raises
    ------
    SourceError
        A row cannot be expanded, or two rows share an id.
    """
    digests = ColumnDigests(table.columns if others else {})
    names = list(dict.fromkeys([*columns.names(), *(table.columns if others else ())]))
    bad, odd = Findings(table.row_number), Findings(table.row_number)
    fingerprint = Fingerprint()
    uids = np.empty(table.n_rows, UID_DTYPE) if columns.uid else None
    psize_least, psize_most, shift_most = np.inf, 0.0, 0.0
    half_sets, tilted, turned = np.empty(0, np.int64), False, False
    pages: list[bytes] = []
    behind = ThreadPoolExecutor(1)
    digested: Future[None] | None = None
    for start, stop in blocks(table, names, PAGE if paged else 1):
        rows = table.read(names, start, stop)
        pose, shift = native(rows[columns.pose]), native(rows[columns.shift])
        fingerprint.update(pose, shift)
        if digested is not None:
            digested.result()
        digested = behind.submit(digests.update, rows)
        if paged:
            pages.append(page_digests(pose, shift))
        check_pose(pose, columns.pose_format, columns.pose, start, bad)
        check_shift(shift, columns.shift, start, bad)
        if columns.psize:
            psize = native(rows[columns.psize])
            check_psize(psize, columns.psize, start, bad)
            psize_least = min(psize_least, float(psize.min()))
            psize_most = max(psize_most, float(psize.max()))
        if columns.split:
            values = np.union1d(half_sets, rows[columns.split].astype(np.int64))
            half_sets = values[:_VALUES_NAMED]
        if uids is not None and columns.uid:
            negative = rows[columns.uid] < 0
            bad.add(f"{columns.uid} is negative", negative, start)
            uids[start:stop] = rows[columns.uid]
        if not bad and TURNED_WHEN_CUT not in table.columns:
            odd_poses(pose, columns.pose_format, columns.pose, start, odd)
            tilted = tilted or not in_plane(pose, columns.pose_format).all()
            turned = turned or bool((pose != pose[:1]).any())
        if not bad:
            shift_most = max(shift_most, float(np.abs(shift).max()))
    behind.shutdown()
    if digested is not None:
        digested.result()
    _refuse(table, bad)
    if uids is not None:
        uids.sort()
        _refuse_double_ids(table, columns, uids)
    return Scan(
        fingerprint.text(),
        uids,
        psize_least,
        psize_most,
        shift_most,
        odd.lines(),
        b"".join(pages),
        digests.lines(),
        tuple(half_sets.tolist()),
        turned and not tilted,
    )


def check_poses(table: ParticleTable, pose_columns: tuple[str, str, str]) -> None:
    """Read poses and shifts once, and check every row.

    Parameters
    ----------
    table : ParticleTable
    pose_columns : tuple of str
        Names of the pose and shift columns, and the pose format.

    Raises
    ------
    SourceError
        A row has no pose, or no shift.
    """
    pose, shift, pose_format = pose_columns
    bad = Findings(table.row_number)
    for start, stop in blocks(table, [pose, shift]):
        rows = table.read([pose, shift], start, stop)
        check_pose(native(rows[pose]), POSE_FORMATS[pose_format], pose, start, bad)
        check_shift(native(rows[shift]), shift, start, bad)
    _refuse(table, bad)


def blocks(
    table: ParticleTable,
    names: list[str],
    multiple: int = 1,
    first: int = 0,
    end: int | None = None,
) -> Iterator[tuple[int, int]]:
    """Row ranges that cover a table, or a part of it, each a few MB of the named columns."""
    end = table.n_rows if end is None else end
    row_bytes = sum(table.columns[name].row_bytes for name in names)
    rows = max(1, _BLOCK_BYTES // max(row_bytes, 1) // multiple) * multiple
    for start in range(first, end, rows):
        interrupts.check()
        yield start, min(start + rows, end)


def _refuse(table: ParticleTable, bad: Findings) -> None:
    """Refuse rows that are none, and say the first reason.

    Raises
    ------
    SourceError
        There is one.
    """
    if bad:
        raise SourceError(f"{table.path}: {bad.lines()[0]}: remove these particles or repair them")


def _refuse_double_ids(table: ParticleTable, columns: PoseColumns, uids: Array) -> None:
    """Refuse a table in which two rows share an id, and say which rows."""
    count, value = 0, None
    for start in range(0, len(uids), _SORTED_AT_ONCE):
        part = uids[start : start + _SORTED_AT_ONCE + 1]
        double = np.flatnonzero(part[1:] == part[:-1])
        count += len(double)
        if value is None and len(double):
            value = part[double[0]]
    if value is None or columns.uid is None:
        return
    rows: list[int] = []
    for start, stop in blocks(table, [columns.uid]):
        if len(rows) <= _ROWS_NAMED:
            block = table.read([columns.uid], start, stop)[columns.uid]
            rows += (np.flatnonzero(block == value)[: _ROWS_NAMED + 1] + start).tolist()
    numbers = [table.row_number(row) for row in rows[:_ROWS_NAMED]]
    named = ", ".join(map(str, numbers)) + (" ..." if len(rows) > _ROWS_NAMED else "")
    raise SourceError(
        f"{table.path}: {columns.uid} {value} stands in rows {named} ({count:,} double "
        "id(s) in all): remove the duplicates; a table that is already expanded needs new ids"
    )
