"""Run an expansion: plan it, stream it chunk by chunk, and publish the whole file."""

import os
import time
import warnings
from typing import Any

import numpy as np

from numba_symexp import interrupts
from numba_symexp.arrays import Array
from numba_symexp.errors import ExpansionWarning, SourceError
from numba_symexp.expansion.job import ExpandJob, Summary
from numba_symexp.expansion.layout import create, finish
from numba_symexp.expansion.plan import Plan, make_plan
from numba_symexp.expansion.provenance import first_attributes, last_attributes
from numba_symexp.expansion.rows import RowFiller
from numba_symexp.expansion.writer import RowWriter
from numba_symexp.files import (
    check_space,
    check_target,
    publish,
    refusing,
    reserve,
    temporary,
)
from numba_symexp.formats.opening import open_table
from numba_symexp.kernels.blocks import BLOCK
from numba_symexp.leftovers import sweep
from numba_symexp.particles.columns import native
from numba_symexp.particles.fingerprint import Fingerprint
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import DEFOCUS_SIGNS
from numba_symexp.particles.table import ParticleTable
from numba_symexp.progress import Progress
from numba_symexp.symmetry.resolve import describe

CHUNK_ROWS = 65_536
"""Rows made at a time: a few MB, so that they are still in the cache when they are written."""

MOST_CHUNK_ROWS = 8 * CHUNK_ROWS
"""The same for symmetries so high that even one block of sources makes more."""


def expand(source: str, output: str, **options: Any) -> Summary:
    """Expand a particle table (HDF5, .cs or .star) by a symmetry, into an HDF5 file.

    Parameters
    ----------
    source, output : str
        Table to read, expanded table to write.
    **options
        The attributes of `ExpandJob`: ``symmetry="D7"``, ``twist=``, ``rise=``, ``order=``, ...

    Returns
    -------
    Summary
        Its warnings are issued as `ExpansionWarning` too.

    Raises
    ------
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.

    Notes
    -----
    The result is for local refinement, 3D classification and variability in C1. Never refine it
    globally: copies of one particle in both half-sets spoil the FSC.

    Examples
    --------
    >>> expand("particles.h5", "expanded.h5", symmetry="D7")  # doctest: +SKIP
    """
    summary = run(ExpandJob(source, output, **options))
    for text in summary.warnings:
        warnings.warn(text, ExpansionWarning, stacklevel=2)
    return summary


def run(job: ExpandJob, progress: Progress | None = None) -> Summary:
    """Check a job, then carry it out.

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
    started = time.perf_counter()
    job.full()
    target = check_target(job.output, job.source, job.overwrite)
    if job.operators_file is not None:
        check_target(job.output, job.operators_file, job.overwrite)
    with open_table(job.source, job.table) as table:
        plan = make_plan(job, table, target)
        notes = [] if job.dry_run else sweep(os.path.dirname(target))
        check_space(job.output, target, plan.bytes)
        if not job.dry_run:
            _write(job, table, plan, target, started, progress)
    return Summary(
        source=job.source,
        output=job.output,
        symmetry=plan.operators.symmetry,
        convention=plan.operators.convention,
        description=_description(plan),
        operators=len(plan.operators),
        particles=plan.source.n_rows,
        rows=plan.rows,
        bytes=plan.bytes if job.dry_run else os.path.getsize(target),
        warnings=(*plan.warnings, *notes),
        seconds=0.0 if job.dry_run else time.perf_counter() - started,
        dry_run=job.dry_run,
    )


def _description(plan: Plan) -> str:
    """Where the axes lie and, where not all operators are used, which are."""
    chosen = plan.operators.chosen
    return describe(plan.full) + (f"; {len(plan.operators):,} used: {chosen}" if chosen else "")


def _write(
    job: ExpandJob,
    table: ParticleTable,
    plan: Plan,
    target: str,
    started: float,
    progress: Progress | None,
) -> None:
    """Write the output under a hidden name, and name it when it is whole and on disk."""
    with temporary(job.output, target) as path:
        with refusing(job.output):
            offsets = create(
                path,
                plan.written,
                plan.rows,
                plan.operators,
                plan.source,
                first_attributes(plan.operators),
            )
            descriptor = os.open(path, os.O_RDWR)
            try:
                reserve(descriptor, os.fstat(descriptor).st_size)
                if plan.rows:
                    _stream(job, table, plan, descriptor, offsets, progress)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            seconds = time.perf_counter() - started
            finish(path, last_attributes(job, plan.operators, plan.source, seconds))
        interrupts.check()
        table.check_unchanged()
        publish(job.output, path, target, job.overwrite)


def _stream(
    job: ExpandJob,
    table: ParticleTable,
    plan: Plan,
    descriptor: int,
    offsets: dict[str, int],
    progress: Progress | None,
) -> None:
    """Read, expand and write, chunk by chunk."""
    # Only now, because the compiler takes a while to load, and bad input needs none.
    from numba_symexp.expansion.expander import Expander
    from numba_symexp.kernels.threads import kernel_threads

    columns, order = plan.columns, len(plan.operators)
    chunk = max(1, min(chunk_sources(order, job.chunk_rows), table.n_rows))
    filler = RowFiller(
        Expander(plan.operators, columns.pose_format),
        plan.operators,
        columns,
        plan.carried,
        plan.first_id,
        plan.defocus,
        DEFOCUS_SIGNS.get(str(job.defocus), 0.0),
        plan.halves,
        chunk,
    )
    names = list(dict.fromkeys([*columns.names(), *plan.defocus, *plan.carried]))
    fingerprint = Fingerprint()
    done = 0
    with (
        kernel_threads(job.threads),
        RowWriter(descriptor, plan.written, offsets, chunk * order) as writer,
    ):
        for start, stop in blocks(table, names, multiple=chunk):
            rows, psize_A = _read(table, plan, names, start, stop, job.psize)
            fingerprint.update(rows[columns.pose], rows[columns.shift])
            for first in range(0, stop - start, chunk):
                interrupts.check()
                buffer = writer.free()
                some = slice(first, first + chunk)
                part = {name: column[some] for name, column in rows.items()}
                count = filler.fill(buffer, start + first, part, psize_A[some])
                writer.submit(buffer, done, count)
                done += count
                if progress:
                    progress(done, plan.rows)
    if fingerprint.text() != plan.source.fingerprint:
        raise SourceError(
            f"{table.path}: changed while it was read: wait until it is whole, then expand again"
        )


def chunk_sources(order: int, chunk_rows: int | None = None) -> int:
    """Sources to expand at a time: whole blocks of the kernels, where nobody says otherwise.

    Parameters
    ----------
    order : int
        Number of operators.
    chunk_rows : int, optional
        About how many rows to make at a time.
    """
    if chunk_rows is not None:
        return max(1, chunk_rows // order)
    whole_blocks = max(1, CHUNK_ROWS // order // BLOCK) * BLOCK
    return min(whole_blocks, max(1, MOST_CHUNK_ROWS // order))


def _read(
    table: ParticleTable, plan: Plan, names: list[str], start: int, stop: int, psize: float | None
) -> tuple[dict[str, Array], Array]:
    """Read rows of the source, and the A per pixel of each in float64."""
    columns = plan.columns
    rows = table.read(names, start, stop)
    sizes: Any = rows[columns.psize] if columns.psize else (psize or 1.0)
    for name in (columns.pose, columns.shift):
        rows[name] = native(rows[name])
    for name in plan.defocus:
        if rows[name].dtype.kind == "S":
            from numba_symexp.formats.words import numbers  # needs the compiler

            rows[name] = numbers(rows[name], f"{table.path}: {name}", start)
    return rows, np.array(np.broadcast_to(sizes, stop - start), np.float64)
