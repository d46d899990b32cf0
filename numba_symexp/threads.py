"""How many threads the kernels use."""

import contextlib
import os
from collections.abc import Iterator

import numba

from numba_symexp.errors import UsageError


def most_threads() -> int:
    """As many as Numba was started with; it cannot start more later."""
    return int(getattr(numba.config, "NUMBA_NUM_THREADS", 1))


def default_threads() -> int:
    """As many as the process has processors (or NUMBA_NUM_THREADS), within a SLURM task's share."""
    most = most_threads()
    share = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(most, int(share)) if share.isdecimal() and int(share) > 0 else most


@contextlib.contextmanager
def kernel_threads(threads: int | None) -> Iterator[None]:
    """Use that many threads within, and as many as before afterwards.

    Raises
    ------
    UsageError
        More threads than Numba was started with.
    """
    most = most_threads()
    wanted = default_threads() if threads is None else threads
    if wanted > most:
        raise UsageError(
            f"threads {wanted} is more than the {most} that this process may use: use {most} or "
            "fewer, or set NUMBA_NUM_THREADS"
        )
    before = numba.get_num_threads()
    numba.set_num_threads(wanted)
    try:
        yield
    finally:
        numba.set_num_threads(before)
