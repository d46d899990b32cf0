"""Verify an expanded table: its format, its operators, its source, and every row."""

import os
import time

import numpy as np

from numba_symexp.annotations import Progress
from numba_symexp.errors import FileFormatError, SymexpError
from numba_symexp.expanded.column_kinds import planned_columns
from numba_symexp.expanded.format import version_of
from numba_symexp.expanded.output_column import OutputColumn
from numba_symexp.expanded.table import EXPANDED_WANTED, ExpandedTable, open_expanded
from numba_symexp.formats.hdf5.table import Hdf5Table
from numba_symexp.particles.columns import find_columns
from numba_symexp.particles.schema import (
    FORMAT,
    NEWEST_VERSION,
    OPERATOR_INDEX,
    SELECTION_VERSION,
    SOURCE_INDEX,
    SPLIT,
    UID,
)
from numba_symexp.symmetry.descriptions import describe
from numba_symexp.verification.facts import (
    job_of,
    not_of_its_job,
    not_stated,
    records_disagree,
    selection_disagrees,
    source_disagrees,
)
from numba_symexp.verification.operators import not_as_stated, not_rotations
from numba_symexp.verification.report import Check, VerificationReport
from numba_symexp.verification.rows import Offenders, check_rows


def verify(
    path: str, source: str | None = None, progress: Progress | None = None
) -> VerificationReport:
    """Prove that an expanded table is what its source and its operators make of each other.

    Poses and shifts of every row are recomputed with matrices, by code that shares nothing with
    what made them; the job in the provenance says which operators and columns there must be. Memory
    does not grow with the table, but for 8 bytes per particle for ids, and for half-sets.

    Parameters
    ----------
    path : str
        A file that `expand` wrote.
    source : str, optional
        The table that it was expanded from, where it is no longer found.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Returns
    -------
    VerificationReport
        Check after check; ``passed`` says whether all did. A check that cannot be made, since one
        before it failed, is missing.

    Raises
    ------
    SourceError
        The file is no HDF5 file, or cannot be read.
    """
    started = time.perf_counter()
    with Hdf5Table(path, wanted=EXPANDED_WANTED) as table:
        checks = _check_format(table)
    if not all(check.passed for check in checks):
        return VerificationReport(path, tuple(checks))
    try:
        expanded = open_expanded(path, source)
    except SymexpError as error:
        return VerificationReport(path, (*checks, Check("structure", False, str(error))))
    with expanded:
        checks += [_check_structure(expanded), *_check_operators(expanded)]
        checks.append(_check_source(expanded))
        if not all(check.passed for check in checks):
            return VerificationReport(path, tuple(checks))
        try:
            wanted = _implied_columns(expanded)
        except SymexpError as error:
            return VerificationReport(path, (*checks, Check("carried columns", False, str(error))))
        found = check_rows(expanded, wanted, progress)
        count, has, selected = len(expanded), expanded.table.columns, expanded.is_selected
        moved = ", ".join(expanded.defocus)
    largest_deg = float(np.degrees(found.largest_angle_rad))
    rows = f"{count:,} rows"
    once = "twice" if selected else "exactly once"
    details = {
        "pairs": f"{'no' if selected else 'every'} (source, operator) {once}, in order",
        "poses": f"{rows} recomputed, largest error {largest_deg:.2g} deg",
        "shifts": f"{rows} recomputed, largest error {found.largest_shift_px:.2g} px",
        "unmoved rows": "equal to their sources, bit for bit",
        "half-sets": "inherited by all copies" if SPLIT in has else "none",
        "ids": "all different" if UID in has else "none",
        **({"defocus": moved} if moved else {}),
        "carried columns": "as in the source",
    }
    for name in found.offenders:
        details.setdefault(name, "as the job says")
    checks += [_about(name, found.of(name), detail) for name, detail in details.items()]
    return VerificationReport(
        path,
        tuple(checks),
        rows=count,
        largest_angle_deg=largest_deg,
        largest_shift_px=found.largest_shift_px,
        seconds=time.perf_counter() - started,
    )


def _check_format(table: Hdf5Table) -> list[Check]:
    """Whether the file says that it is a whole expanded table."""
    name, version = table.attributes.get("format"), table.attributes.get("format_version")
    known = table.says("format", FORMAT) and any(
        table.says("format_version", each) for each in range(1, NEWEST_VERSION + 1)
    )
    whole = table.says("complete", 1)
    return [
        Check("format", known, f"{_shown(name)}, version {_shown(version)}"),
        Check("complete", whole, "marked as complete" if whole else "not marked as complete"),
    ]


def _check_structure(expanded: ExpandedTable) -> Check:
    """Whether the table has as many rows as it must, and its index columns are integers."""
    try:
        wrong = records_disagree(expanded)
    except SymexpError as error:
        wrong = str(error)
    if wrong:
        return Check("structure", False, wrong)
    wanted = expanded.n_sources * len(expanded.operators)
    if len(expanded) > wanted or (len(expanded) < wanted and not expanded.is_selected):
        return Check(
            "structure",
            False,
            f"{len(expanded):,} rows, not {expanded.n_sources:,} x {len(expanded.operators):,}",
        )
    version = max(
        version_of(expanded.operators),
        *(column.format_version for column in expanded.output_columns),
    )
    if expanded.is_selected:
        version = max(version, SELECTION_VERSION)
        wrong = selection_disagrees(expanded)
        if wrong:
            return Check("structure", False, wrong)
    if not expanded.table.says("format_version", version):
        return Check(
            "structure", False, f"its operators and columns are those of format version {version}"
        )
    for name in (SOURCE_INDEX, OPERATOR_INDEX):
        column = expanded.table.columns.get(name)
        if column is None or column.shape or column.dtype.kind != "u":
            return Check("structure", False, f"{name} is {column or 'missing'}, not indices")
    rows = f"{expanded.n_sources:,} x {len(expanded.operators):,} = {len(expanded):,} rows"
    if expanded.is_selected:
        rows = f"{len(expanded):,} selected of {wanted:,} rows"
    missing = not_stated(expanded)
    silent = f" ({', '.join(missing)}: not stated)" if missing else ""
    return Check("structure", True, rows + silent)


def _check_operators(expanded: ExpandedTable) -> list[Check]:
    """Whether the operators are rotations, of the kind that the file states, and the job's."""
    operators = expanded.operators
    bad = not_rotations(operators)
    checks = [Check("operators", not bad, bad or f"{len(operators):,} rigid motions")]
    if not bad:
        bad = not_as_stated(operators) or not_of_its_job(expanded)
        checks.append(Check("symmetry", not bad, bad or f"{describe(operators)}: {operators.kind}"))
    return checks


def _implied_columns(expanded: ExpandedTable) -> tuple[OutputColumn, ...]:
    """Columns that the job in the provenance makes of the source."""
    job = job_of(expanded)
    source, psize_given = expanded.source, job.psize is not None
    into_A = expanded.operators.moves or job.has_center
    columns = find_columns(source, job.pose, job.pose_format, job.shift, psize_given, into_A)
    implied = columns.pose, columns.shift
    for name, other in zip(expanded.pose_columns, implied, strict=False):
        if name != other:
            raise FileFormatError(f"{other} was expanded by the provenance, and {name} is here")
    return planned_columns(job, source, columns)


def _check_source(expanded: ExpandedTable) -> Check:
    """Whether the source is there and is what it was."""
    try:
        where, wrong = expanded.source.path, source_disagrees(expanded)
    except SymexpError as error:
        return Check("source", False, str(error))
    if wrong:
        return Check("source", False, wrong)
    given = expanded.source_path
    same = os.path.exists(given) and os.path.samefile(given, where)
    partly = "" if expanded.source_record.columns else " (further columns: not stated)"
    return Check("source", True, f"{given if same else where}: unchanged{partly}")


def _about(name: str, offenders: Offenders, detail: str) -> Check:
    """Check of rows: what was found, or the first offender."""
    return Check(name, not offenders, str(offenders) if offenders else detail)


def _shown(value: object) -> str:
    """An attribute for a message, bounded."""
    return str(value)[:60] if value is not None else "none"
