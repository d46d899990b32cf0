"""Where expanded rows go: a sink gives buffers, and takes them back when they are filled."""

import abc
import os
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.background import BUFFERS, WRITEBACK_BYTES, WriterThread
from numba_symexp.expanded.output_column import OutputColumn
from numba_symexp.files import start_writeback

Buffer = dict[str, Array]


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


class Hdf5Sink(RowSink):
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
        self._behind = first_row  # first row that the disk has not been asked to take yet
        buffers = (
            {c.name: np.zeros((buffer_rows, *c.shape), c.dtype) for c in columns}
            for _ in range(BUFFERS)
        )
        self._writer = WriterThread(buffers, self._write)

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._writer.__exit__(kind, error, trace)

    def free(self) -> Buffer:
        """Wait for a buffer that may be filled."""
        return self._writer.free()

    def submit(self, buffer: Buffer, first_row: int, rows: int) -> None:
        """Have the first rows of a buffer written; see `RowSink`."""
        self._writer.submit(buffer, first_row, rows)

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
        if rows * sum(row_bytes for _, row_bytes in self._places.values()) < WRITEBACK_BYTES:
            return
        for offset, row_bytes in self._places.values():
            start_writeback(self._descriptor, offset + self._behind * row_bytes, rows * row_bytes)
        self._behind = end
