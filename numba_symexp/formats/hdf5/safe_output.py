"""Write HDF5 where a write may fail: HDF5 itself would leave the process unable to go on."""

import contextlib
import errno
import io
from collections.abc import Iterator
from typing import Any

import h5py


@contextlib.contextmanager
def writing(path: str, mode: str, **options: Any) -> Iterator[h5py.File]:
    """Open an HDF5 file to be written: ``"w"`` a new one, ``"r+"`` one that is there.

    Parameters
    ----------
    path : str
    mode : {"w", "r+"}
    **options
        Of ``h5py.File``.

    Raises
    ------
    OSError
        What the file system said.
    """
    with _Output(path, "w+b" if mode == "w" else "r+b") as output:
        try:
            with h5py.File(output, mode, **options) as file:
                yield file
        except RuntimeError as error:
            output.check()
            raise OSError(errno.EIO, str(error)) from error
        output.check()


class _Output(io.FileIO):
    """A file for HDF5 to write, which never tells it of an error, but remembers the first.

    After a write that failed, HDF5 keeps objects that it cannot close, and takes the process down.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        with self._noted():
            done = 0
            while done < len(view):
                done += super().write(view[done:])
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        with self._noted():
            return super().truncate(size)
        return size or 0

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))
        with self._noted():
            super().readinto(view)
        return len(view)

    def check(self) -> None:
        """Raise the first error that there was."""
        if self.error is not None:
            raise self.error

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error
