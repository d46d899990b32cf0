"""The plan of an expansion: all that is known, or refused, before the first byte is written."""

import os
from dataclasses import dataclass

import numpy as np

from numba_symexp.errors import FileFormatError, SourceError, UsageError
from numba_symexp.expanded.column_kinds import planned_columns
from numba_symexp.expanded.format import SourceRecord, path_from_source, size_of
from numba_symexp.expanded.ids import first_new_id
from numba_symexp.expanded.output_column import OutputColumn
from numba_symexp.expansion.job import ExpandJob
from numba_symexp.expansion.job_operators import (
    center_warnings,
    check_movable,
    chosen_operators,
    move_warnings,
)
from numba_symexp.expansion.plausibility import plausibility_warnings, refuse_implausible
from numba_symexp.particles.columns import (
    PoseColumns,
    expanded_by,
    find_columns,
    half_set_warning,
)
from numba_symexp.particles.convention import doubtful
from numba_symexp.particles.fingerprint import PageDigests, full_fingerprint
from numba_symexp.particles.scan import Scan, scan
from numba_symexp.particles.schema import CONVENTION, FORMAT
from numba_symexp.particles.table import ParticleTable
from numba_symexp.symmetry.operators import FARTHEST_A, Operators

_MOST_BYTES = 2**62


@dataclass(frozen=True)
class Plan:
    """A job whose source has been checked.

    Attributes
    ----------
    full, operators : Operators
        All operators of the symmetry, and those that are used.
    columns : PoseColumns
        What is read.
    written : tuple of OutputColumn
        What is written.
    source : SourceRecord
    rows, bytes : int
        Size of the output.
    first_id : int
        First of the consecutive new ids; 0 where there are none.
    warnings : tuple of str
    fingerprint : str
        Of the source's poses and shifts, which are read again while rows are made.
    pages : bytes
        Digests of the source's pages, where other processes are to recognize them.
    """

    full: Operators
    operators: Operators
    columns: PoseColumns
    written: tuple[OutputColumn, ...]
    source: SourceRecord
    rows: int
    bytes: int
    first_id: int
    warnings: tuple[str, ...]
    fingerprint: str
    pages: PageDigests = b""


def make_plan(job: ExpandJob, table: ParticleTable, target: str, paged: bool = False) -> Plan:
    """Check a source against a job.

    Parameters
    ----------
    job, table
        What is asked for, and the open source.
    target : str
        The output.
    paged : bool
        Make the digests of the source's pages, by which other processes recognize it.

    Raises
    ------
    UsageError, SourceError
        What is wrong, where, and what to do.
    """
    full = job.full(table.attributes.get(CONVENTION))
    _refuse_expanded(job, table)
    into_A = full.moves or job.has_center
    given = job.psize is not None
    columns = find_columns(table, job.pose, job.pose_format, job.shift, given, into_A)
    check_movable(job, table, columns, full)
    written = planned_columns(job, table, columns)
    found = scan(table, columns, paged=paged)
    refuse_implausible(job, table, columns, found)
    full, operators = chosen_operators(job, table, columns, full, found)
    _refuse_overflow(job, table, columns, operators, found)
    rows = table.n_rows * len(operators)
    first_id = first_new_id(found.fingerprint, full, found.uids) if found.uids is not None else 0
    record = SourceRecord(
        path=table.path,
        absolute_path=os.path.abspath(table.path),
        relative_path=os.path.relpath(os.path.realpath(table.path), os.path.dirname(target)),
        passthrough=tuple(path_from_source(each, table.path) for each in table.passthrough),
        table=table.location,
        n_rows=table.n_rows,
        fingerprint=full_fingerprint(found.fingerprint, found.columns),
        columns=found.columns,
    )
    size = size_of(written, rows, operators, record)
    if size > _MOST_BYTES:
        raise SourceError(f"{rows:,} rows do not fit one file: use fewer particles or operators")
    return Plan(
        full=full,
        operators=operators,
        columns=columns,
        written=written,
        source=record,
        rows=rows,
        bytes=size,
        first_id=first_id,
        warnings=tuple(_warnings(job, table, columns, full, operators, found)),
        fingerprint=found.fingerprint,
        pages=found.pages,
    )


def _refuse_expanded(job: ExpandJob, table: ParticleTable) -> None:
    """Refuse a table that is expanded already, and a broken one of ours always."""
    if table.says("format", FORMAT) and "complete" not in table.attributes:
        raise FileFormatError(f"{table.path}: an expansion that was not finished: expand again")
    program = expanded_by(table)
    if program and not job.again:
        raise SourceError(
            f"{table.path}: already expanded by {program}; every copy would be copied again: "
            "expand the original table, or add again=True"
        )


def _refuse_overflow(
    job: ExpandJob, table: ParticleTable, columns: PoseColumns, operators: Operators, found: Scan
) -> None:
    """Refuse pixel sizes so small that a shift leaves the numbers of its dtype."""
    if not operators.moves:
        return
    psize = found.psize_least_A if job.psize is None else job.psize
    with np.errstate(over="ignore", invalid="ignore"):
        farthest = float(np.linalg.norm(operators.motion_A, axis=1).max())
    if not farthest < FARTHEST_A:
        raise UsageError(
            f"operators move the map by up to {farthest:g} A, and no map is that large: check the "
            "rise or the center"
        )
    with np.errstate(over="ignore"):
        largest = found.shift_most_px + np.float64(farthest) / psize
    if not largest < np.finfo(table.columns[columns.shift].dtype).max:
        raise SourceError(
            f"{table.path}: shifts would overflow (moved by up to {farthest:g} A at {psize:g} A "
            "per pixel): check the rise or center, and the pixel size"
        )


def _warnings(
    job: ExpandJob,
    table: ParticleTable,
    columns: PoseColumns,
    full: Operators,
    operators: Operators,
    found: Scan,
) -> list[str]:
    """Sentences about what can be done but deserves a look."""
    texts = [f"{table.path}: {sentence}" for sentence in found.odd]
    unclear = doubtful(table, job.convention, full)
    texts += [unclear] if unclear else []
    texts += center_warnings(full, operators)
    texts += move_warnings(job, table, full, found)
    texts += plausibility_warnings(job, table, columns, full, operators, found)
    if len(operators) == 1 and len(operators.fixed):
        texts.append(f"{operators.symmetry} has one operator: the set is copied, not expanded")
    if job.assign_halves is None:
        undivided = half_set_warning(table, columns)
        texts += [undivided] if undivided else []
    return texts
