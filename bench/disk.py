"""The disk as the limit: plain writes of the same bytes, with and without fsync."""

import contextlib
import os
import time
from collections.abc import Iterator

from numba_symexp.expansion import writer

_BLOCK = os.urandom(4 << 20)


def plain_write(path: str, size: int, sync: bool) -> float:
    """Seconds that os.write takes for that many bytes in 4 MiB blocks, fsync included or not."""
    started = time.perf_counter()
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    _fill(descriptor, size)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)
    return time.perf_counter() - started


def settle(folder: str, size: int) -> None:
    """Free as much page cache as the next run will fill, right before it.

    Else some runs, and not others, would pay for memory that the machine must first be given: a
    virtual one hands free memory back to its host after a while, and gets it again at a fraction
    of the speed. What is freed is the last run's output, which `keep` has kept; it is made larger
    where it is too small.
    """
    path = _kept(folder)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    _fill(descriptor, size - os.fstat(descriptor).st_size)
    os.close(descriptor)
    os.unlink(path)


def keep(path: str) -> None:
    """Keep an output until the next run, under one name for all."""
    os.replace(path, _kept(os.path.dirname(path)))


def _kept(folder: str) -> str:
    """Path of the last run's output."""
    return os.path.join(folder, "last_output")


@contextlib.contextmanager
def no_fsync() -> Iterator[None]:
    """Turn fsync off within, and early writeback with it; make sure that fsync was asked for."""
    asked: list[int] = []
    originals = os.fsync, writer.start_writeback
    os.fsync = asked.append  # type: ignore[assignment]
    writer.start_writeback = lambda *_: None
    try:
        yield
    finally:
        os.fsync, writer.start_writeback = originals
    if not asked:
        raise RuntimeError("the package did not ask for os.fsync: this measures something else")


def _fill(descriptor: int, size: int) -> None:
    """Write that many bytes."""
    block = memoryview(_BLOCK)
    while size > 0:
        size -= os.write(descriptor, block[:size])
