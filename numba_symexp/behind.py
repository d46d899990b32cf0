"""A file that is written in a thread of its own, while the next rows are made."""

import queue
import threading
from typing import BinaryIO, Self

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.files import start_writeback

_WRITEBACK_BYTES = 32 << 20
"""How much is written between two requests to begin with bringing it to disk."""

_BUFFERS = 3
"""One being filled, one waiting, one being written."""


class WriteBehind:
    """Writes buffers to the end of a file, in order; used in a ``with`` statement.

    Parameters
    ----------
    file : binary file
        Nobody else writes to it meanwhile.

    Raises
    ------
    OSError
        On leaving, and from `free`: what the file system said.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._stopped = file, False
        self._error: BaseException | None = None
        self._free: queue.SimpleQueue[Array] = queue.SimpleQueue()
        self._filled: queue.SimpleQueue[tuple[Array, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="writer", daemon=True)
        for _ in range(_BUFFERS):
            self._free.put(np.empty(0, np.uint8))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stopped = error is not None
        self._filled.put(None)
        self._thread.join()
        if error is None:
            self._raise_error()

    def free(self, size: int) -> Array:
        """Wait for a buffer of at least so many bytes that may be filled."""
        buffer = self._free.get()
        self._raise_error()
        return buffer if len(buffer) >= size else np.empty(size + size // 8, np.uint8)

    def submit(self, buffer: Array, size: int) -> None:
        """Have the first bytes of a buffer written; the buffer is lent no longer."""
        self._filled.put((buffer, size))

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _write_all(self) -> None:
        behind = 0
        while (item := self._filled.get()) is not None:
            buffer, size = item
            if self._error is None and not self._stopped:
                try:
                    self._file.write(buffer.data[:size])
                    end = self._file.tell()
                    if end - behind >= _WRITEBACK_BYTES:
                        start_writeback(self._file.fileno(), behind, end - behind)
                        behind = end
                except BaseException as error:  # handed to the thread that fills
                    self._error = error
            self._free.put(buffer)
