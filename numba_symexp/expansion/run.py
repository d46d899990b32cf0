"""Run an expansion: plan it, have its rows made, and publish the whole file."""

import os
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

from numba_symexp.annotations import Progress
from numba_symexp.errors import ExpansionWarning, SourceError
from numba_symexp.expanded.format import create, finish
from numba_symexp.expanded.provenance import first_attributes, last_attributes
from numba_symexp.expansion.job import ExpandJob, Summary, next_steps
from numba_symexp.expansion.plan import Plan, make_plan
from numba_symexp.expansion.plausibility import carried_warnings
from numba_symexp.expansion.stream import MakeRows, Target, stream
from numba_symexp.files import reserve
from numba_symexp.formats import open_table
from numba_symexp.formats.cryosparc.job_folder import left_aside
from numba_symexp.formats.relion.optimisation_set import SetOutputs
from numba_symexp.kinds import HDF5
from numba_symexp.output import OutputFile
from numba_symexp.particles.columns import without_given_psize
from numba_symexp.particles.fingerprint import Fingerprint
from numba_symexp.particles.table import ParticleTable
from numba_symexp.symmetry.descriptions import describe


def run(
    job: ExpandJob, progress: Progress | None = None, make_rows: MakeRows | None = None
) -> Summary:
    """Check a job, then carry it out.

    Parameters
    ----------
    job : ExpandJob
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.
    make_rows : callable, optional
        Makes all rows; by default this process does.

    Returns
    -------
    Summary

    Raises
    ------
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.
    """
    started = time.perf_counter()
    output = _output(job)
    with open_table(job.source, job.table, job.passthrough) as table:
        aside = [text for text in [left_aside(table)] if text]
        warn_all(aside)
        job = replace(job, psize=without_given_psize(table, job.psize))
        plan = make_plan(job, table, output.path, paged=make_rows is not None)
        still = carried_warnings(table, plan.written)
        warn_all([*still, *plan.warnings])
        if job.dry_run:
            output.check_space(plan.bytes)
            size, notes = plan.bytes, list[str]()
        else:
            make = make_rows or _stream
            size, notes = _write(job, table, plan, output, started, make, progress)
            warn_all(notes)
    return summary(job, plan, [job.output], size, started, [*aside, *still, *notes])


def summary(
    job: ExpandJob,
    plan: Plan,
    files: Sequence[str],
    size: int,
    started: float,
    found: Sequence[str],
    notes: Sequence[str] = (),
) -> Summary:
    """Sum up an expansion; ``found`` are warnings that came with the work."""
    return Summary(
        source=job.source,
        output=job.output,
        symmetry=str(plan.operators.symmetry),
        convention=plan.operators.convention,
        description=_description(plan),
        operators=len(plan.operators),
        particles=plan.source.n_rows,
        rows=plan.rows,
        bytes=size,
        warnings=(*plan.warnings, *found),
        seconds=0.0 if job.dry_run else time.perf_counter() - started,
        dry_run=job.dry_run,
        files=tuple(files),
        notes=(*center_notes(job), *notes),
        next_steps=next_steps(files, job.has_center),
    )


def center_notes(job: ExpandJob) -> list[str]:
    """What a user should know of markers that say centers."""
    if not job.marker_files or job.origin is not None:
        return []
    named = " and ".join(job.marker_files)
    return [f"{named}: the first marker is taken as the center of the particle"]


def warn_all(texts: Iterable[str]) -> None:
    """Issue warnings: those of a plan come before the work."""
    for text in texts:
        warnings.warn(text, ExpansionWarning, stacklevel=3)


def check(job: ExpandJob) -> None:
    """Refuse a job whose symmetry, output or source cannot be, before anything else is started.

    Raises
    ------
    SymexpError
        What is wrong, where, and what to do.
    """
    _output(job)
    open_table(job.source, job.table, job.passthrough).close()


def _output(job: ExpandJob) -> OutputFile:
    """Check the output, which must not be an input, and the symmetry."""
    job.refuse_for_output()
    SetOutputs.of(job.source, None, job.output)
    job.full()
    inputs = [job.source, *job.passthrough, job.operators_file, *job.center_files]
    return OutputFile(job.output, HDF5, inputs, job.overwrite)


def _description(plan: Plan) -> str:
    """Where the axes lie and, where not all operators are used, which are."""
    chosen = plan.operators.chosen
    text = describe(plan.full) + (f"; {len(plan.operators):,} used: {chosen}" if chosen else "")
    if plan.full.symmetry.from_file:
        text += f"; the box center moves by up to {plan.full.largest_move_A:.4g} A"
    return text


def _write(
    job: ExpandJob,
    table: ParticleTable,
    plan: Plan,
    output: OutputFile,
    started: float,
    make_rows: MakeRows,
    progress: Progress | None,
) -> tuple[int, list[str]]:
    """Write the output; return its bytes, and what a user should know of its folder."""
    with output.writing([table], plan.bytes) as draft:
        offsets = create(
            draft.path,
            plan.written,
            plan.rows,
            plan.operators,
            plan.source,
            first_attributes(plan.operators),
        )
        reserve(draft.descriptor, os.fstat(draft.descriptor).st_size)
        if plan.rows:
            target = Target(draft.path, draft.descriptor, offsets)
            make_rows(job, table, plan, target, progress)
        seconds = time.perf_counter() - started
        finish(draft.path, last_attributes(job.recorded(plan.operators), plan.source, seconds))
    return draft.size, draft.notes


def _stream(
    job: ExpandJob, table: ParticleTable, plan: Plan, target: Target, progress: Progress | None
) -> None:
    """Make all rows in this process, one chunk after the other."""
    fingerprint = Fingerprint()
    stream(
        job,
        table,
        plan,
        target,
        lambda first, pose, shift: fingerprint.update(pose, shift),
        lambda done: progress(done, plan.rows) if progress else None,
    )
    if fingerprint.text() != plan.fingerprint:
        raise SourceError(
            f"{table.path}: changed while it was read: wait until it is whole, then expand again"
        )
