"""A Dask cluster for one run: one that is there, or one that is started on this machine."""

import contextlib
import logging
import signal
import time
import warnings
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

from numba_symexp.cluster.waiting import POLL_S, attempted, waited
from numba_symexp.errors import ClusterError
from numba_symexp.expansion.job import LOCAL, ExpandJob

CONNECT_S = 10.0
"""How long a scheduler is given to answer."""

JOIN_S = 30.0
"""How long to wait for a worker, where there is none."""

_CLOSE_S = 10.0

_ANY_PORT = "127.0.0.1:0"
"""For Dask's web pages, which can be moved but not left out: not seen from other machines."""

_LOUD = ("distributed", "tornado", "asyncio")
"""Families of loggers that write to standard error."""


@contextlib.contextmanager
def connected(job: ExpandJob) -> Iterator[Any]:
    """Connect to the cluster of a job; yields Dask's client.

    Raises
    ------
    ClusterError
        Dask is not installed, or the scheduler does not answer.
    """
    try:
        import distributed  # an extra
    except ImportError as error:
        raise ClusterError("--dask needs Dask: install numba_symexp[dask]") from error
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        address = job.dask
        if job.dask == LOCAL:
            cluster = _local_cluster(job.workers)
            stack.callback(_close, cluster)
            address = cluster.scheduler_address
        try:
            client = waited(
                lambda: distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ClusterError(
                f"--dask={job.dask}: no scheduler answers there in {CONNECT_S:g} s "
                f"({reason[:120]}): check that it runs, and its address"
            ) from error
        stack.callback(_close, client)
        yield client


def threads_per_local_worker(workers: int) -> int:
    """Threads of each of so many workers that share this machine."""
    from numba_symexp.kernels.threads import default_threads

    return max(1, default_threads() // workers)


def threads_by_worker(client: Any) -> dict[str, int]:
    """Threads of each worker by its address; none where the scheduler does not answer."""
    with contextlib.suppress(OSError, RuntimeError):
        return waited(lambda: dict(client.nthreads()))
    return {}


def joined_workers(client: Any, address: str) -> dict[str, int]:
    """Threads of each worker, as soon as there is one.

    Raises
    ------
    ClusterError
        None has come.
    """
    deadline = time.monotonic() + JOIN_S
    while not (found := threads_by_worker(client)):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"--dask={address}: the scheduler has no worker, and none has joined in "
                f"{JOIN_S:g} s: start some"
            )
        waited(lambda: time.sleep(POLL_S))
    return found


def _local_cluster(workers: int | None) -> Any:
    """Start a scheduler in this process, and workers in processes of one thread each.

    Raises
    ------
    ClusterError
        They do not start.
    """
    try:
        return waited(lambda: _started_cluster(workers), _close)
    except (OSError, RuntimeError) as error:
        raise ClusterError(
            f"--dask={LOCAL}: no workers can be started ({error}): use fewer; in a script, expand "
            'under if __name__ == "__main__"'
        ) from error


def _started_cluster(workers: int | None) -> Any:
    """Start the cluster, in a thread of its own.

    The worker processes inherit that they do not get Ctrl-C, which a terminal sends to all: the
    driver ends them. Python's resource tracker, as it starts, would let it through again.
    """
    from distributed import LocalCluster

    from numba_symexp.kernels.threads import default_threads

    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return LocalCluster(
        n_workers=workers or max(1, default_threads() // 2),
        threads_per_worker=1,
        processes=True,
        dashboard_address=_ANY_PORT,
        worker_dashboard_address=_ANY_PORT,
        scheduler_kwargs={"dashboard": False},
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )


def _close(owner: Any) -> None:
    """Close a client or a cluster; what goes wrong then has no consequence."""
    attempted(lambda: owner.close(timeout=_CLOSE_S), 2 * _CLOSE_S)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own messages from standard error: a run says what went wrong in one line."""
    known = dict(logging.root.manager.loggerDict)
    loud = [
        logger
        for name, logger in known.items()
        if name.partition(".")[0] in _LOUD and isinstance(logger, logging.Logger)
    ]
    loud = [logger for logger in loud if not logger.disabled]
    for logger in loud:
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"distributed(\.|$)")
            yield
    finally:
        for logger in loud:
            logger.disabled = False
