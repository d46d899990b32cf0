"""Work in background threads while the next rows are made or read."""

import collections
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, Generic, Protocol, Self, TypeVar

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.files import start_writeback

WRITEBACK_BYTES = 32 << 20
"""How much is written between two requests to begin with bringing it to disk."""

BUFFERS = 3
"""One being filled, one waiting, one being written."""

Buffer = TypeVar("Buffer")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Digest(Protocol):
    """What takes in the bytes of a file, such as a hash of `hashlib`."""

    def update(self, data: memoryview, /) -> None:
        """Take in the next bytes."""


class WriterThread(Generic[Buffer]):
    """Lends buffers, and writes them in order when they come back filled; for a ``with`` statement.

    Parameters
    ----------
    buffers : iterable
        They are used again and again.
    write : callable
        Writes a buffer; called in the thread, with what was given to `submit`.

    Raises
    ------
    OSError
        On leaving, and from `free`: what the file system said.
    """

    def __init__(self, buffers: Iterable[Buffer], write: Callable[..., None]) -> None:
        self._write, self._stopped = write, False
        self._error: BaseException | None = None
        self._free: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
        self._filled: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="writer", daemon=True)
        for buffer in buffers:
            self._free.put(buffer)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        # Whoever makes rows in a generator may be asked for the first ones only.
        self._stopped = error is not None and not isinstance(error, GeneratorExit)
        self._filled.put(None)
        self._thread.join()
        if error is None:
            self._raise_error()

    def free(self) -> Buffer:
        """Wait for a buffer that may be filled."""
        buffer = self._free.get()
        self._raise_error()
        return buffer

    def submit(self, buffer: Buffer, *what: object) -> None:
        """Have a buffer written; it is lent no longer."""
        self._filled.put((buffer, *what))

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _write_all(self) -> None:
        while (item := self._filled.get()) is not None:
            if self._error is None and not self._stopped:
                try:
                    self._write(*item)
                except BaseException as error:  # handed to the thread that fills
                    self._error = error
            self._free.put(item[0])


class WriteBehind:
    """Writes bytes to the end of a file, in order; for a ``with`` statement.

    Parameters
    ----------
    file : binary file
        Nobody else writes to it meanwhile.
    digest : hash, optional
        Takes in the bytes while they are written.

    Raises
    ------
    OSError
        On leaving, and from `free`: what the file system said.
    """

    def __init__(self, file: BinaryIO, digest: Digest | None = None) -> None:
        self._file, self._digest, self._behind = file, digest, file.tell()
        empty = [np.empty(0, np.uint8) for _ in range(BUFFERS)]
        self._writer = WriterThread(empty, self._write)
        self._helper = ThreadPoolExecutor(1, "digest")

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._helper:
            self._writer.__exit__(kind, error, trace)

    def free(self, size: int) -> Array:
        """Wait for a buffer (n,) uint8 of at least so many bytes that may be filled."""
        buffer = self._writer.free()
        return buffer if len(buffer) >= size else np.empty(size + size // 8, np.uint8)

    def submit(self, buffer: Array, size: int) -> None:
        """Have the first bytes of a buffer written; it is lent no longer."""
        data = buffer.data[:size]
        taken = self._digest and self._helper.submit(self._digest.update, data)
        self._writer.submit(buffer, data, taken)

    def _write(self, buffer: Array, data: memoryview, taken: Future[None] | None) -> None:
        self._file.write(data)
        end = self._file.tell()
        if end - self._behind >= WRITEBACK_BYTES:
            start_writeback(self._file.fileno(), self._behind, end - self._behind)
            self._behind = end
        if taken:
            taken.result()


def worked_on(
    items: Iterable[Item], work: Callable[[Item], Result], threads: int
) -> Generator[Result, None, None]:
    """Do the same with each item, in threads of its own; results come in order.

    Items are taken in this thread, a few ahead of the results. The work must be of a kind that
    lets other threads run, as NumPy and kernels of one thread do.

    Parameters
    ----------
    items : iterable
    work : callable
    threads : int
    """
    begun: collections.deque[Future[Result]] = collections.deque()
    with ThreadPoolExecutor(threads, "worker") as pool:
        try:
            for item in items:
                begun.append(pool.submit(work, item))
                if len(begun) > threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for each in begun:
                each.cancel()
