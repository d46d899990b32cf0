"""How many threads the kernels use."""

import contextlib
import os
import threading
from collections.abc import Iterator

from numba_symexp.errors import UsageError
from numba_symexp.kernels.plain_numba import numba_threads

_USEFUL_KERNEL_THREADS = 4
"""One kernel thread makes rows faster than page cache or disk takes them; a few are plenty."""

_shares = threading.local()
"""Of each thread that calls kernels: how many threads they may use there, if that is limited."""


def most_threads() -> int:
    """As many as Numba was started with: the process's processors, or NUMBA_NUM_THREADS."""
    return numba_threads()


def default_threads() -> int:
    """As many as Numba was started with, within a SLURM task's share."""
    share = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(most_threads(), int(share)) if share.isdecimal() and int(share) else most_threads()


@contextlib.contextmanager
def kernel_threads(threads: int | None) -> Iterator[int]:
    """Run kernels with a share of the job's threads within, and as before afterwards.

    Parameters
    ----------
    threads : int or None
        Threads of the whole job: one writes, and the others, at least one, run the kernels. By
        default those of the machine, but no more than are of use.

    Yields
    ------
    int
        Threads of the kernels.

    Raises
    ------
    UsageError
        More threads than Numba was started with.
    """
    most = most_threads()
    if threads is None:
        kernels = min(default_threads() - 1, _USEFUL_KERNEL_THREADS)
    elif threads > most:
        raise UsageError(
            f"threads {threads} is more than the {most} that this process may use: use {most} or "
            "fewer, or set NUMBA_NUM_THREADS"
        )
    else:
        kernels = threads - 1
    with limited_threads(max(1, kernels)):
        yield max(1, kernels)


@contextlib.contextmanager
def limited_threads(kernels: int) -> Iterator[None]:
    """Let kernels that this thread calls within use so many threads, and as before afterwards."""
    before = getattr(_shares, "kernels", None)
    _shares.kernels = kernels
    try:
        yield
    finally:
        _shares.kernels = before


@contextlib.contextmanager
def share_of_threads() -> Iterator[None]:
    """Give Numba's kernels within as many threads as `limited_threads` says."""
    import numba

    share = getattr(_shares, "kernels", None)
    if share is None:
        yield
        return
    before = numba.get_num_threads()
    numba.set_num_threads(min(share, most_threads()))
    try:
        yield
    finally:
        numba.set_num_threads(before)
