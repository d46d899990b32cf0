"""A Dask cluster for one run: one that is there, or one that is started on this machine.

Calls of Dask may block: signals are noticed meanwhile (`interrupts.waited`).
"""

import contextlib
import logging
import re
import signal
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, Self

from numba_symexp.children import safe_spawning
from numba_symexp.errors import ClusterError, SymexpError, UsageError, install
from numba_symexp.interrupts import POLL_S, call_and_forget, waited

LOCAL = "local"
"""Dask's workers are to be started on this machine."""

CONNECT_S = 10.0
"""How long a scheduler is given to answer."""

_CONNECT_MORE_S = 1.0
"""Dask ends most attempts itself, but waits for ever for a port that takes a call and is silent."""

JOIN_S = 30.0
"""How long to wait for a worker, where there is none."""

_CLOSE_S = 10.0

_ANY_PORT = "127.0.0.1:0"
"""For Dask's web pages, which can be moved but not left out: not seen from other machines."""

_ADDRESS = re.compile(
    r"(?:(?:tcp|tls|ws|wss|ucx)://)?(?:[^\s/:\[\]]+|\[[\da-f:.]+\]):\d{1,5}", re.IGNORECASE
)

_LOUD = ("distributed", "tornado", "asyncio")
"""Families of loggers that write to standard error."""


@dataclass(frozen=True)
class Cluster:
    """The Dask cluster whose workers make the rows.

    Attributes
    ----------
    address : str or distributed.Client
        Address of the scheduler; ``local`` for workers on this machine that end with the run; or
        a client that is connected.
    workers : int, optional
        Number of local workers; by default one for every two processors.
    mixed_cpus : bool
        Take workers whose processors are of other kinds too, which may round in another way.

    Raises
    ------
    UsageError
        The address is none, or there can be no such number of workers.
    """

    address: Any
    workers: int | None = None
    mixed_cpus: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers {self.workers} must be 1 or more")
        if isinstance(self.address, str):
            if self.address != LOCAL and not _ADDRESS.fullmatch(self.address):
                raise UsageError(
                    f"dask {self.address!r} is no address: give one such as "
                    f"tcp://10.0.0.1:8786, or {LOCAL}"
                )
        elif not (hasattr(self.address, "submit") and hasattr(self.address, "scheduler")):
            raise UsageError(
                f"dask is a {type(self.address).__name__}: give the address of a scheduler, "
                f"{LOCAL!r}, or a distributed.Client"
            )
        if self.workers is not None and not self.is_local:
            raise UsageError(f"workers= goes with dask={LOCAL}, which is missing: add it")

    @classmethod
    def asked_for(cls, address: Any, workers: int | None, mixed_cpus: bool) -> Self | None:
        """Cluster of these options, or None where no address is given.

        Raises
        ------
        UsageError
            An option is out of its range, or goes with an address that is missing.
        """
        if address is not None:
            return cls(address, workers, mixed_cpus)
        if workers is not None:
            raise UsageError(f"workers= goes with dask={LOCAL}, which is missing: add it")
        if mixed_cpus:
            raise UsageError("mixed_cpus=True goes with dask=, which is missing: add it")
        return None

    @property
    def is_local(self) -> bool:
        """Whether the workers are started on this machine."""
        return isinstance(self.address, str) and self.address == LOCAL

    def __str__(self) -> str:
        if isinstance(self.address, str):
            return self.address
        return str(self.address.scheduler.address)


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Connect to a cluster; yields Dask's client.

    Raises
    ------
    ClusterError
        Dask is not installed, or the scheduler does not answer.
    """
    try:
        import distributed  # an extra
    except ImportError as error:
        raise ClusterError(f"dask= needs Dask: {install('dask')}") from error
    with contextlib.ExitStack() as stack:
        stack.enter_context(_without_messages())
        if not isinstance(cluster.address, str):
            yield cluster.address
            return
        address, security = cluster.address, None
        if cluster.is_local:
            security = _security()
            stack.enter_context(safe_spawning())
            started = _local_cluster(cluster.workers, security)
            stack.callback(_close, started)
            address = started.scheduler_address
        try:
            client = waited(
                lambda: distributed.Client(
                    address, timeout=CONNECT_S, set_as_default=False, security=security
                ),
                seconds=CONNECT_S + _CONNECT_MORE_S,
            )
        except Exception as error:  # of Dask, its configuration, or a library for a protocol
            if isinstance(error, SymexpError):
                raise
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ClusterError(
                f"no scheduler answers at dask={cluster} in {CONNECT_S:g} s "
                f"({reason[:120]}): check that it runs, and its address"
            ) from error
        stack.callback(_close, client)
        yield client


def threads_per_local_worker(workers: int) -> int:
    """Threads of each of so many workers that share this machine."""
    from numba_symexp.kernels.threads import default_threads

    return max(1, default_threads() // workers)


def threads_by_worker(client: Any) -> dict[str, int]:
    """Threads of each worker by its address; none where the scheduler is gone."""
    with contextlib.suppress(OSError, RuntimeError):
        return waited(lambda: dict(client.nthreads()))
    return {}


def joined_workers(client: Any, address: str) -> dict[str, int]:
    """Threads of each worker, as soon as there is one.

    Raises
    ------
    ClusterError
        None has come, or the scheduler does not say.
    """
    deadline = time.monotonic() + JOIN_S
    try:
        while not (found := waited(lambda: threads_by_worker(client), seconds=JOIN_S)):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the scheduler at dask={address} has no worker, and none has joined in "
                    f"{JOIN_S:g} s: start some"
                )
            waited(lambda: time.sleep(POLL_S))
    except TimeoutError as error:
        raise ClusterError(
            f"the scheduler at dask={address} has taken the call, and has said nothing more in "
            f"{JOIN_S:g} s: check that it still runs"
        ) from error
    return found


def _security() -> Any:
    """Keys for one run: nobody else on this machine can give its workers anything to do.

    Raises
    ------
    ClusterError
        The library that makes them is missing.
    """
    from distributed.security import Security

    try:
        return Security.temporary()
    except ImportError as error:
        raise ClusterError(f"dask={LOCAL} needs cryptography: {install('dask')}") from error


def _local_cluster(workers: int | None, security: Any) -> Any:
    """Start a scheduler in this process, and workers in processes of one thread each.

    Raises
    ------
    ClusterError
        They do not start.
    """
    try:
        return waited(lambda: _started_cluster(workers, security), _close)
    except (OSError, RuntimeError) as error:
        raise ClusterError(
            f"no workers can be started for dask={LOCAL} ({error}): use fewer; in a script, expand "
            'under if __name__ == "__main__"'
        ) from error


def _started_cluster(workers: int | None, security: Any) -> Any:
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
        security=security,
        protocol="tls://",
        host="127.0.0.1",
        dashboard_address=_ANY_PORT,
        worker_dashboard_address=_ANY_PORT,
        scheduler_kwargs={"dashboard": False},
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )


def _close(owner: Any) -> None:
    """Close a client or a cluster; what goes wrong then has no consequence."""
    call_and_forget(lambda: owner.close(timeout=_CLOSE_S), 2 * _CLOSE_S)


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
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
