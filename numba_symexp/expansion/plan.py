"""Everything that is known before the first byte is written, or refused."""

import fnmatch
import os
from dataclasses import dataclass

import numpy as np

from numba_symexp.errors import FileFormatError, SourceError, UsageError
from numba_symexp.expanded.layout import OutputColumn, SourceRecord, size_of
from numba_symexp.expansion.choice import (
    centre_warnings,
    check_movable,
    chosen_operators,
)
from numba_symexp.expansion.half_sets import HalfSets
from numba_symexp.expansion.ids import first_new_id
from numba_symexp.expansion.job import ExpandJob
from numba_symexp.particles.columns import PoseColumns, expanded_by, find_columns
from numba_symexp.particles.fingerprint import PageDigests
from numba_symexp.particles.scan import Scan, scan
from numba_symexp.particles.schema import (
    CONVENTION,
    DEFOCUS,
    DESCRIPTIONS,
    FORMAT,
    HALF_SET_DTYPE,
    OPERATOR_INDEX,
    OPERATOR_INDEX_DTYPE,
    SHIFT,
    SOURCE_INDEX,
    SPLIT,
    UID,
    UID_DTYPE,
    source_index_dtype,
    units_of,
)
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
    carried : tuple of str
        Further columns that are copied.
    written : tuple of OutputColumn
        What is written.
    source : SourceRecord
    rows, bytes : int
        Size of the output.
    first_id : int
        First of the consecutive new ids; 0 where there are none.
    defocus : tuple of str
        Columns of the defocus that move.
    halves : HalfSets or None
        Draws half-sets, when asked to.
    warnings : tuple of str
    pages : bytes
        Digests of the source's pages, where other processes are to recognise them.
    """

    full: Operators
    operators: Operators
    columns: PoseColumns
    defocus: tuple[str, ...]
    carried: tuple[str, ...]
    written: tuple[OutputColumn, ...]
    source: SourceRecord
    rows: int
    bytes: int
    first_id: int
    halves: HalfSets | None
    warnings: tuple[str, ...]
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
    if columns.split and job.assign_halves is not None:
        raise UsageError(
            f"{table.path}: has half-sets already ({columns.split}): leave out --assign_halves"
        )
    defocus = _defocus(job, table)
    carried = _carried(job, table, columns, defocus)
    found = scan(table, columns, paged=paged)
    full, operators = chosen_operators(job, table, columns, full, found)
    _refuse_overflow(job, table, columns, operators, found)
    written = _written(job, table, columns, defocus, carried)
    rows = table.n_rows * len(operators)
    size = size_of(written, rows, operators)
    if size > _MOST_BYTES:
        raise SourceError(f"{rows:,} rows do not fit one file: use fewer particles or operators")
    first_id = first_new_id(found.fingerprint, full, found.uids) if found.uids is not None else 0
    halves = HalfSets(job.assign_halves, table, columns) if job.assign_halves is not None else None
    record = SourceRecord(
        path=job.source,
        absolute_path=os.path.abspath(job.source),
        relative_path=os.path.relpath(os.path.realpath(job.source), os.path.dirname(target)),
        table=table.location,
        n_rows=table.n_rows,
        fingerprint=found.fingerprint,
    )
    return Plan(
        full=full,
        operators=operators,
        columns=columns,
        defocus=defocus,
        carried=carried,
        written=written,
        source=record,
        rows=rows,
        bytes=size,
        first_id=first_id,
        halves=halves,
        warnings=tuple(_warnings(job, table, columns, full, operators, found)),
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
            "expand the original table, or add --again"
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
            "rise or the centre"
        )
    with np.errstate(over="ignore"):
        largest = found.shift_most_px + np.float64(farthest) / psize
    if not largest < np.finfo(table.columns[columns.shift].dtype).max:
        raise SourceError(
            f"{table.path}: shifts would overflow (moved by up to {farthest:g} A at {psize:g} A "
            "per pixel): check the rise or centre, and the pixel size"
        )


def _defocus(job: ExpandJob, table: ParticleTable) -> tuple[str, ...]:
    """Names of the columns of the defocus, where the job moves it."""
    if job.defocus is None:
        return ()
    for names in (tuple(DEFOCUS), tuple(DEFOCUS.values())):
        found = [table.columns[name] for name in names if name in table.columns]
        if len(found) == len(names) and all(c.dtype.kind in "fS" and not c.shape for c in found):
            return names
    raise SourceError(
        f"{table.path}: no defocus columns {' and '.join(DEFOCUS)} (columns: {table.listed()}): "
        "leave out --defocus"
    )


def _carried(
    job: ExpandJob, table: ParticleTable, columns: PoseColumns, defocus: tuple[str, ...]
) -> tuple[str, ...]:
    """Names of the further columns that the job's patterns match."""
    made = {columns.pose, columns.shift, SOURCE_INDEX, OPERATOR_INDEX, SPLIT, UID}
    names: dict[str, None] = {}
    for pattern in job.carry:
        matches = [n for n in table.columns if fnmatch.fnmatchcase(n, pattern) and n not in made]
        if not matches:
            raise SourceError(
                f"{table.path}: no further column matches --carry={pattern} (columns: "
                f"{table.listed()})"
            )
        names.update(dict.fromkeys(name for name in matches if name not in defocus))
    for name in names:
        if table.columns[name].dtype.hasobject:
            raise SourceError(
                f"{table.path}: {name} holds text of varying length, which cannot be carried: "
                "reach it through open_expanded, or store it as fixed-length text"
            )
    return tuple(names)


def _written(
    job: ExpandJob,
    table: ParticleTable,
    columns: PoseColumns,
    defocus: tuple[str, ...],
    carried: tuple[str, ...],
) -> tuple[OutputColumn, ...]:
    """List the columns of the output in the order of the format."""
    little = {name: column.dtype.newbyteorder("<") for name, column in table.columns.items()}
    known = columns.pose_format

    def described(name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> OutputColumn:
        return OutputColumn(name, dtype, shape, *DESCRIPTIONS[name])

    written = [
        described(SOURCE_INDEX, source_index_dtype(table.n_rows), ()),
        described(OPERATOR_INDEX, OPERATOR_INDEX_DTYPE, ()),
        OutputColumn(
            columns.pose,
            little[columns.pose],
            known.shape,
            known.units,
            known.description,
            {"part": "pose", "pose_format": known.name},
        ),
        OutputColumn(
            columns.shift, little[columns.shift], (2,), *DESCRIPTIONS[SHIFT], {"part": "shift"}
        ),
    ]
    if columns.split or job.assign_halves is not None:
        written.append(described(SPLIT, little.get(columns.split or "", HALF_SET_DTYPE), ()))
    if columns.uid:
        written.append(described(UID, UID_DTYPE, ()))
    for name in defocus:
        dtype = little[name] if little[name].kind == "f" else np.dtype("<f8")
        meaning = f"defocus of the centre: the particle's {job.defocus} the centre's depth"
        sign = {"part": "defocus", "sign": job.defocus}
        written.append(OutputColumn(name, dtype, (), "A", meaning, sign))
    for name in carried:
        own = table.column_attributes(name)
        written.append(
            OutputColumn(
                name,
                table.columns[name].dtype,
                table.columns[name].shape,
                str(own.get("units", units_of(name))),
                str(own.get("description", "carried over from the source")),
            )
        )
    return tuple(written)


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
    texts += centre_warnings(full, operators)
    if len(operators) == 1 and len(operators.fixed):
        texts.append(f"{operators.symmetry} has one operator: the set is copied, not expanded")
    if not columns.split and job.assign_halves is None:
        texts.append(
            f"{table.path}: no half-set column {SPLIT}: programs that draw halves per row put "
            "copies of one particle into both; --assign_halves=SEED draws them per particle"
        )
    return texts
