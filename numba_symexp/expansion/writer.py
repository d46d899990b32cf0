"""Where expanded rows go: a sink gives buffers, and takes them back when they are filled."""

import abc
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.expanded.columns import OutputColumn
from numba_symexp.files import start_writeback

Buffer = dict[str, Array]

_WRITEBACK_BYTES = 32 << 20
"""How much is written between two requests to begin with bringing it to disk."""

_BUFFERS = 3
"""One being filled, one waiting, one being written."""


class RowSink(abc.ABC):
    """Takes expanded rows, block by block and in order; used in a ``with`` statement.

    Whoever makes rows asks for a buffer (an array for each column), fills it and submits it.
    """

    @abc.abstractmethod
    def __enter__(self) -> Self:
        """Begin."""

    @abc.abstractmethod
    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Take what was submitted, unless there was an error, and end."""

    @abc.abstractmethod
    def free(self) -> Buffer:
        """Wait for a buffer that may be filled."""

    @abc.abstractmethod
    def submit(self, buffer: Buffer, first_row: int, rows: int) -> None:
        """Take the first ``rows`` rows of a buffer as the table's rows from ``first_row`` on.

        Rows come in order, each once. The buffer belongs to the sink until `free` gives it again.
        """


class RowWriter(RowSink):
    """Writes rows into an HDF5 file, in a thread of its own, at the offsets of their columns.

    Its buffers are used again and again.

    Parameters
    ----------
    descriptor : int
        Open file.
    columns : sequence of OutputColumn
        What a row consists of.
    offsets : mapping of str to int
        Where the first byte of each column lies in the file.
    buffer_rows : int
        Most rows in one buffer.
    first_row : int
        First row that will be written.

    Raises
    ------
    OSError
        On leaving, and from `free`: what the file system said when rows were written.
    """

    def __init__(
        self,
        descriptor: int,
        columns: Sequence[OutputColumn],
        offsets: Mapping[str, int],
        buffer_rows: int,
        first_row: int = 0,
    ) -> None:
        self._descriptor = descriptor
        self._places = {c.name: (offsets[c.name], c.row_bytes) for c in columns}
        self._free: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
        self._filled: queue.SimpleQueue[tuple[Buffer, int, int] | None] = queue.SimpleQueue()
        self._behind = first_row  # first row that the disk has not been asked to take yet
        self._error: BaseException | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._write_all, name="writer", daemon=True)
        for _ in range(_BUFFERS):
            self._free.put({c.name: np.zeros((buffer_rows, *c.shape), c.dtype) for c in columns})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stopped = error is not None
        self._filled.put(None)
        self._thread.join()
        if error is None:
            self._raise_error()

    def free(self) -> Buffer:
        """Wait for a buffer that may be filled."""
        buffer = self._free.get()
        self._raise_error()
        return buffer

    def submit(self, buffer: Buffer, first_row: int, rows: int) -> None:
        """Have the first rows of a buffer written; see `RowSink`."""
        self._filled.put((buffer, first_row, rows))

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _write_all(self) -> None:
        while (item := self._filled.get()) is not None:
            buffer, first_row, rows = item
            if self._error is None and not self._stopped:
                try:
                    self._write(buffer, first_row, rows)
                except BaseException as error:  # handed to the thread that fills
                    self._error = error
            self._free.put(buffer)

    def _write(self, buffer: Buffer, first_row: int, rows: int) -> None:
        for name, (offset, row_bytes) in self._places.items():
            data = buffer[name].view(np.uint8).reshape(-1).data[: rows * row_bytes]
            position = offset + first_row * row_bytes
            while data:
                written = os.pwrite(self._descriptor, data, position)
                data, position = data[written:], position + written
        self._push_to_disk(first_row + rows)

    def _push_to_disk(self, end: int) -> None:
        rows = end - self._behind
        if rows * sum(row_bytes for _, row_bytes in self._places.values()) < _WRITEBACK_BYTES:
            return
        for offset, row_bytes in self._places.values():
            start_writeback(self._descriptor, offset + self._behind * row_bytes, rows * row_bytes)
        self._behind = end
