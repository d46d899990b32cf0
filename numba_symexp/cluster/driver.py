"""The driver's part: cut the sources into ranges, hand them out, and see that each is done."""

import contextlib
import dataclasses
import functools
import os
import queue
import time
from collections.abc import Iterator
from typing import Any

from numba_symexp import interrupts
from numba_symexp.annotations import Progress
from numba_symexp.cluster.connection import (
    JOIN_S,
    Cluster,
    connected,
    joined_workers,
    threads_by_worker,
    threads_per_local_worker,
)
from numba_symexp.cluster.work import Machine, StoredWork, Work, state_of
from numba_symexp.cluster.worker import Report, Task, forget, make_rows
from numba_symexp.errors import ClusterError
from numba_symexp.expansion.job import ExpandJob, Summary
from numba_symexp.expansion.plan import Plan
from numba_symexp.expansion.run import check
from numba_symexp.expansion.run import run as run_here
from numba_symexp.expansion.stream import Target
from numba_symexp.interrupts import POLL_S, call_and_forget
from numba_symexp.particles.fingerprint import PAGE
from numba_symexp.particles.table import ParticleTable

MOST_ROWS = 20_000_000
"""Rows of one task: some hundred MB, a second or a few."""

LEAST_ROWS = 1_000_000
"""Smaller tasks would cost more to hand out than to do."""

_TASKS_PER_WORKER = 4
"""At least so many where there are rows enough, so that workers end at about the same time."""

_HANDED_OUT = 2
"""Tasks per thread of the workers that the scheduler knows of; the others wait here."""

_RETRIES = 2
"""How often a task is tried again that fails in a way which nobody foresaw."""

_FETCH_S = 60.0

_LET_GO_S = 5.0


def run(job: ExpandJob, cluster: Cluster | None, progress: Progress | None = None) -> Summary:
    """Check a job, then have its rows made by the workers of a cluster.

    Parameters
    ----------
    job : ExpandJob
    cluster : Cluster or None
        Who makes the rows; None for this process. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Raises
    ------
    SymexpError
        What is wrong, where, and what to do. Nothing was written then. As `ClusterError`: Dask is
        not installed, no scheduler answers, or a worker cannot do its part.
    """
    if cluster is None or job.dry_run:
        return run_here(job, progress)
    check(job)
    with connected(cluster) as client:
        return run_here(job, progress, functools.partial(_make_rows, client, cluster))


def ranges(sources: int, order: int, workers: int) -> Iterator[tuple[int, int]]:
    """Cut sources into ranges of whole pages: a few for each worker, none too small or large.

    Parameters
    ----------
    sources, order : int
        Numbers of sources and of operators.
    workers : int
        Number of workers.
    """
    share = sources * order // (workers * _TASKS_PER_WORKER)
    rows = min(max(share, LEAST_ROWS), MOST_ROWS)
    step = max(1, rows // order // PAGE) * PAGE
    for start in range(0, sources, step):
        yield start, min(start + step, sources)


def _make_rows(
    client: Any,
    cluster: Cluster,
    job: ExpandJob,
    table: ParticleTable,
    plan: Plan,
    target: Target,
    progress: Progress | None,
) -> None:
    """Have all rows made by workers.

    Raises
    ------
    ClusterError
        The cluster is lost, or a worker cannot do its part.
    """
    threads = joined_workers(client, str(cluster))
    if cluster.is_local and job.threads is None:
        job = dataclasses.replace(job, threads=threads_per_local_worker(len(threads)))
    source = plan.source.absolute_path
    size = os.fstat(target.descriptor).st_size
    work = Work(job, plan, source, state_of(source), dict(target.offsets))
    stored = StoredWork.write(target.descriptor, work)
    machine = Machine.this()
    tasks = (
        Task(target.path, stored, machine, cluster.mixed_cpus, start, stop)
        for start, stop in ranges(table.n_rows, len(plan.operators), len(threads))
    )
    done = 0
    for report in _reports(client, tasks, _HANDED_OUT * sum(threads.values())):
        done += report.stop - report.start
        if progress:
            progress(done * len(plan.operators), plan.rows)
    if done != table.n_rows:
        raise ClusterError(f"{job.output}: {done:,} of {table.n_rows:,} sources were reported done")
    os.ftruncate(target.descriptor, size)


def _reports(client: Any, tasks: Iterator[Task], most: int) -> Iterator[Report]:
    """Hand out tasks, at most so many at a time, and give the report of each.

    Raises
    ------
    ClusterError
        A task was refused, or is never going to end.
    """
    ended: queue.SimpleQueue[tuple[Any, Report | BaseException]] = queue.SimpleQueue()
    handed_out: dict[Any, Task] = {}
    try:
        while True:
            while len(handed_out) < most and (task := next(tasks, None)) is not None:
                future = client.submit(make_rows, task, pure=False, retries=_RETRIES)
                handed_out[future] = task
                future.add_done_callback(lambda each: ended.put((each, _outcome(each))))
            if not handed_out:
                break
            future, outcome = _next(client, ended)
            yield _report(client, handed_out.pop(future), outcome)
    finally:
        _let_go(client, list(handed_out))


def _outcome(future: Any) -> Report | BaseException:
    """What became of a task; runs in Dask's thread for callbacks."""
    try:
        return future.result(timeout=_FETCH_S)
    except BaseException as error:  # judged in the driver's thread
        return error


def _next(
    client: Any, ended: queue.SimpleQueue[tuple[Any, Report | BaseException]]
) -> tuple[Any, Report | BaseException]:
    """Wait for the next task to end, while there is anybody to do it."""
    seen = time.monotonic()
    looked = seen
    while True:
        interrupts.check()
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=POLL_S)
        _check_running(client)
        now = time.monotonic()
        if now - looked > JOIN_S / 10:
            looked = now
            if threads_by_worker(client):
                seen = now
            elif now - seen > JOIN_S:
                raise ClusterError(
                    f"{client.scheduler.address}: all workers have gone, and none has joined in "
                    f"{JOIN_S:g} s: see their logs (is numba_symexp installed there?), then start "
                    "some and expand again"
                )


def _check_running(client: Any) -> None:
    """Refuse to go on without the scheduler, which has forgotten all tasks when it comes back."""
    if client.status != "running":
        raise ClusterError(
            "the Dask scheduler was lost in the middle of the run: see its log, then expand again"
        )


def _report(client: Any, task: Task, outcome: Report | BaseException) -> Report:
    """Give the report of a task that was done, or say why it was not."""
    if isinstance(outcome, Report):
        if outcome.refusal:
            raise ClusterError(f"worker {outcome.worker} on {outcome.host}: {outcome.refusal}")
        return outcome
    _check_running(client)
    sources = f"sources {task.start:,} to {task.stop - 1:,}"
    if type(outcome).__name__ == "KilledWorker":
        raise ClusterError(
            f"{sources}: several workers died while they expanded these: see their logs; they may "
            "need more memory"
        ) from outcome
    reason = (str(outcome).strip().splitlines() or [""])[0][:200]
    raise ClusterError(
        f"{sources}: Dask failed ({type(outcome).__name__}: {reason}): see that scheduler and "
        "workers run where the same numba_symexp is installed"
    ) from outcome


def _let_go(client: Any, futures: list[Any]) -> None:
    """Cancel what is still handed out, and have workers close what they hold open."""
    if client.status != "running":
        return
    if futures:
        call_and_forget(lambda: client.cancel(futures), _LET_GO_S)
    call_and_forget(lambda: client.run(forget, on_error="ignore"), _LET_GO_S)
