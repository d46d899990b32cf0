"""Expansion into whichever format the output's suffix names, without a file in between."""

import contextlib
import io
import time
from dataclasses import replace

from numba_symexp.annotations import Progress
from numba_symexp.expansion.job import ExpandJob, Summary
from numba_symexp.formats import format_of_output
from numba_symexp.formats.interface import RowWriter


def run(job: ExpandJob, progress: Progress | None = None) -> Summary:
    """Check a job, then carry it out in this process.

    A .star or .cs has the same bytes as the export of the expanded table would have.

    Parameters
    ----------
    job : ExpandJob
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Returns
    -------
    Summary

    Raises
    ------
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.
    """
    if format_of_output(job.output).is_own:
        from numba_symexp.expansion.run import run as run_into_hdf5

        return run_into_hdf5(job, progress)
    return _run(job, progress)


def _run(job: ExpandJob, progress: Progress | None) -> Summary:
    """Expand into a .star, or into a .cs and its result group."""
    from numba_symexp.conversion.coordinates import off_micrographs
    from numba_symexp.conversion.export_table import OutputPair, check_rows
    from numba_symexp.conversion.subtomograms import as_wanted
    from numba_symexp.expansion.made_rows import PlannedExpansion
    from numba_symexp.expansion.plan import make_plan
    from numba_symexp.expansion.run import summary, warn_all
    from numba_symexp.formats import open_table
    from numba_symexp.formats.cryosparc.job_folder import left_aside
    from numba_symexp.formats.relion.optimisation_set import Beside, SetOutputs
    from numba_symexp.kernels.threads import kernel_threads
    from numba_symexp.particles.columns import without_given_psize
    from numba_symexp.particles.schema import SHIFT, SHIFT_SHAPES
    from numba_symexp.poses import Poses

    started = time.perf_counter()
    job.refuse_for_output()
    job.full()
    inputs = [job.source, *job.passthrough, job.operators_file, job.micrographs, *job.center_files]
    beside = SetOutputs.of(job.source, job.optimisation_set, job.output, job.program)
    if beside is None:
        pair = OutputPair(job.output, inputs, job.overwrite)
    else:
        pair = OutputPair(job.output, [*inputs, *beside.inputs], job.overwrite, beside.names)
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(open_table(job.source, job.table, job.passthrough))
        aside = [text for text in [left_aside(table)] if text]
        warn_all(aside)
        job = replace(job, psize=without_given_psize(table, job.psize))
        shift = table.columns.get(job.shift or SHIFT)
        if shift is not None and shift.shape in SHIFT_SHAPES:
            pair.refuse_images(shift.shape[0], table)
        known = format_of_output(job.output)
        table, psize_A, converted = as_wanted(table, known, job.program, job.psize)
        job = replace(job, psize=psize_A)
        plan = make_plan(job, table, pair.files[0].path)
        warn_all(plan.warnings)
        stack.enter_context(kernel_threads(job.threads))
        rows = Poses.of_expanded(PlannedExpansion(job, table, plan))
        check_rows(rows)
        writer, notes = pair.writer(rows, job.keep_track_length, job.coordinates)
        notes = [*converted, *notes]
        found = off_micrographs(rows, known, job.coordinates)
        warn_all(found)
        found = [*aside, *found]
        further: list[Beside] = [] if beside is None else beside.prepared(rows)
        for each in further:
            stack.callback(each.close)
        if job.dry_run:
            size = _size(writer, len(rows)) + sum(each.size for each in further)
            pair.files[0].check_space(size)
        else:
            drafts = pair.write(rows, writer, progress, further)
            size = sum(draft.size for draft in drafts)
            warn_all(drafts[0].notes)
            found += drafts[0].notes
    return summary(job, plan, pair.names, size, started, found, notes)


def _size(writer: RowWriter, rows: int) -> int:
    """Bytes of an output, about: text is as long as its first rows say."""
    start = io.BytesIO()
    with contextlib.closing(writer.write(start)) as written:  # the file is whole when it is closed
        done = next(written, 0)
    return max(writer.size, len(start.getvalue()) * rows // max(1, done))
