"""How many threads the kernels use."""

import contextlib
import os
from collections.abc import Iterator

import numba

from numba_symexp.errors import UsageError

_USEFUL_KERNEL_THREADS = 4
"""One kernel thread makes rows faster than page cache or disk takes them; a few are plenty."""


def most_threads() -> int:
    """As many as Numba was started with: the process's processors, or NUMBA_NUM_THREADS."""
    return int(getattr(numba.config, "NUMBA_NUM_THREADS", 1))


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
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, kernels))
    try:
        yield max(1, kernels)
    finally:
        numba.set_num_threads(before)
