"""The disk as the limit: plain writes of the same bytes, with and without fsync."""

import contextlib
import os
import time
from collections.abc import Iterator

from inside import writer

_BLOCK = os.urandom(4 << 20)


def plain_write(path: str, size: int, sync: bool) -> float:
    """Seconds that os.write takes for that many bytes in 4 MiB blocks, fsync included or not."""
    started = time.perf_counter()
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    _fill(descriptor, size)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)
    seconds = time.perf_counter() - started
    os.unlink(path)
    return seconds


def settle(folder: str, size: int) -> None:
    """Bring a disk and the memory of the page cache into the same state before each run.

    What others wrote is brought to disk. A file of the same size is written and removed: its pages
    are the ones used next, so no run pays for memory that the machine must first be given (a
    virtual one gets it from its host, at a fraction of the speed).
    """
    path = os.path.join(folder, "settle.bin")
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    os.posix_fallocate(descriptor, 0, size)
    _fill(descriptor, size)
    os.close(descriptor)
    os.unlink(path)
    os.sync()


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
