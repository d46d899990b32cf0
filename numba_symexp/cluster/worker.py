"""A worker's part: make the rows of a range of sources, at their places in the driver's file."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from numba_symexp.annotations import Array
from numba_symexp.cluster.work import Machine, StoredWork, Work, check_pages, check_state
from numba_symexp.errors import ClusterError, SymexpError
from numba_symexp.expansion.stream import Target, stream
from numba_symexp.formats import open_table
from numba_symexp.output import as_output_error
from numba_symexp.particles.fingerprint import PAGE
from numba_symexp.particles.table import ParticleTable

_ONE_TASK = threading.Lock()
"""Tasks of one process run one after the other: each uses all of its threads, and its tables are
for one reader."""


@dataclass(frozen=True)
class Task:
    """A range of sources to expand; small, whatever the source.

    Attributes
    ----------
    path : str
        The file that is written.
    stored : StoredWork
        Where in it the work is described.
    machine : Machine
        The driver's.
    mixed_cpus : bool
        Whether other processors will do.
    start, stop : int
        The sources.
    """

    path: str
    stored: StoredWork
    machine: Machine
    mixed_cpus: bool
    start: int
    stop: int


@dataclass(frozen=True)
class Report:
    """How a task ended.

    Attributes
    ----------
    worker, host : str
        Who did it.
    start, stop : int
        The sources, whose rows are all on disk.
    refusal : str
        Why they are not; else empty.
    """

    worker: str
    host: str
    start: int
    stop: int
    refusal: str = ""


_kept: dict[bytes, tuple[Work, ParticleTable]] = {}
"""Work and open source of the last task, for the next one; by the digest of the stored work."""


def make_rows(task: Task) -> Report:
    """Make the rows of a task, bring them to disk, and say so.

    What this worker cannot do on purpose is told, not raised: Dask would only try it again.
    """
    refusal = ""
    with _ONE_TASK:
        try:
            _make_rows(task)
        except SymexpError as error:
            refusal = str(error)
            _close()
    return Report(_address(), socket.gethostname(), task.start, task.stop, refusal)


def forget() -> None:
    """Close what the last task left open; called in the worker's event loop, which never waits."""
    if _ONE_TASK.acquire(blocking=False):
        try:
            _close()
        finally:
            _ONE_TASK.release()


def _make_rows(task: Task) -> None:
    """Make the rows of a task.

    Raises
    ------
    SymexpError
        This worker is unlike the driver, or sees other files.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the program does
    Machine.this().check(task.machine, task.mixed_cpus)
    work, table = _opened(task)

    def seen(first: int, pose: Array, shift: Array) -> None:
        if not os.path.exists(task.path):
            raise ClusterError(f"{task.path}: is gone: the run was stopped")
        check_pages(work.source, work.plan.pages, first, pose, shift)

    with _open(task.path, os.O_WRONLY) as descriptor:  # a file to be read too is read first on NFS
        target = Target(task.path, descriptor, work.offsets)
        with as_output_error(work.job.output):
            stream(
                work.job,
                table,
                work.plan,
                target,
                seen,
                lambda done: None,
                task.start,
                task.stop,
                PAGE,
            )
            os.fsync(descriptor)
    check_state(work.source, work.source_state)


def _opened(task: Task) -> tuple[Work, ParticleTable]:
    """What to do, and the open source, both from the task before where it was of the same run."""
    with _open(task.path, os.O_RDONLY) as descriptor:
        task.stored.check(descriptor, task.path)
        if task.stored.digest not in _kept:
            _close()
            work = task.stored.read(descriptor, task.path)
            check_state(work.source, work.source_state)
            further = work.plan.source.passthrough_of(work.source)
            table = open_table(work.source, work.job.table, further)
            _kept[task.stored.digest] = work, table
    return _kept[task.stored.digest]


def _close() -> None:
    """Close the source that the last task left open."""
    while _kept:
        _kept.popitem()[1][1].close()


@contextlib.contextmanager
def _open(path: str, flags: int) -> Iterator[int]:
    """Open the driver's file, or say that it is not to be had here."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise ClusterError(
            f"{path}: cannot be opened there ({error.strerror}): write the output into a folder "
            "that all workers share under one path"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _address() -> str:
    """Address of this worker."""
    from distributed import get_worker

    return str(get_worker().address)
