"""Safe files: nothing stands under the output's name until it is whole and on disk."""

import contextlib
import ctypes
import errno
import functools
import os
import shutil
import stat
from collections.abc import Iterator

from numba_symexp.errors import OutputError, SourceError
from numba_symexp.leftovers import hidden_name

_FIRST_BYTES = 4096

_SYNC_FILE_RANGE_WRITE = 2
"""From <fcntl.h>: start to write dirty pages, wait for none."""


def check_readable(path: str, wanted: str) -> None:
    """Refuse an input that is not a file which may be read; ``wanted`` says what to name instead.

    Raises
    ------
    SourceError
        What is in the way.
    """
    if not os.path.exists(path):
        raise SourceError(f"{path}: no such file: check the path")
    if os.path.isdir(path):
        raise SourceError(f"{path}: is a folder: name {wanted}")
    if not os.path.isfile(path):
        raise SourceError(f"{path}: is not a regular file: name {wanted}")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{path}: permission denied: ask its owner for read access")


def first_bytes(path: str) -> bytes:
    """First bytes of a file, by which its kind is known; nothing where it cannot be read."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(_FIRST_BYTES)
    return b""


def check_target(output: str, source: str | None, overwrite: bool) -> str:
    """Find the real path of an output, and refuse it where it must not be written.

    Raises
    ------
    OutputError
        It is the source (also through a link), exists without ``overwrite``, is no regular file,
        or its folder is missing.
    """
    target = os.path.realpath(output)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise OutputError(f"{output}: its folder {folder} does not exist: make it first")
    with refusing(output):
        try:
            mode = os.stat(target).st_mode
        except FileNotFoundError:
            return target
    if source is not None and os.path.exists(source) and os.path.samefile(source, target):
        raise OutputError(f"{output}: is the source itself: choose another output")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{output}: exists and is not a regular file: choose another output")
    if not overwrite:
        raise OutputError(f"{output}: exists: choose another output, or add overwrite=True")
    return target


def check_space(output: str, target: str, needed: int) -> None:
    """Refuse an output for which the file system has no room.

    Raises
    ------
    OutputError
        Says how much is needed and how much there is.
    """
    free = shutil.disk_usage(os.path.dirname(target)).free
    if needed > free:
        raise OutputError(
            f"{output}: needs {needed:,} bytes, and its file system has {free:,} free: "
            "free some space or choose another place"
        )


@contextlib.contextmanager
def temporary(output: str, target: str) -> Iterator[str]:
    """Hold a hidden file in the target's folder; it is gone afterwards unless it was published.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = os.path.join(os.path.dirname(target), hidden_name())
    with refusing(output):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666))
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def publish(output: str, temporary_path: str, target: str, overwrite: bool) -> None:
    """Give a whole file its name, in one step, and make the name last.

    Without ``overwrite`` the name is taken only if it is still free.

    Raises
    ------
    OutputError
        Another run took the name meanwhile, or the folder cannot be written.
    """
    with refusing(output):
        if overwrite:
            os.replace(temporary_path, target)
        else:
            _take_free_name(output, temporary_path, target)
        sync_folder(os.path.dirname(target))


def _take_free_name(output: str, temporary_path: str, target: str) -> None:
    """Name a file so that an existing one is never replaced."""
    try:
        os.link(temporary_path, target)
    except FileExistsError as error:
        raise OutputError(
            f"{output}: appeared while this run was writing: it was left as it is; compare, or "
            "add overwrite=True"
        ) from error
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        if os.path.lexists(target):  # no hard links here: as close as this file system allows
            raise OutputError(f"{output}: appeared while this run was writing") from error
        os.rename(temporary_path, target)


def sync_file(path: str) -> None:
    """Bring a file to disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: str) -> None:
    """Bring a folder's entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve(descriptor: int, size: int) -> None:
    """Reserve the blocks of a file, so that a full disk shows before the work is done.

    The system call, not glibc's function: where the file system cannot reserve, that one touches
    every block instead. There, the file only gets its length.
    """
    number = _system_call("fallocate", descriptor, 0, 0, size) if size else errno.ENOSYS
    if number in (errno.EOPNOTSUPP, errno.ENOSYS):
        os.ftruncate(descriptor, size)
    elif number:
        raise OSError(number, os.strerror(number))


def start_writeback(descriptor: int, offset: int, size: int) -> None:
    """Have the system begin to bring a range to disk, so that the fsync at the end has less to do.

    It promises nothing, and nothing is lost where the file system cannot.
    """
    _system_call("sync_file_range", descriptor, offset, size, _SYNC_FILE_RANGE_WRITE)


def _system_call(name: str, descriptor: int, *numbers: int) -> int:
    """Call what Python's os module does not offer; return the error number, 0 when it went well."""
    call = getattr(_library(), name, None)
    if call is None:
        return errno.ENOSYS
    failed = call(ctypes.c_int(descriptor), *map(ctypes.c_int64, numbers))
    return ctypes.get_errno() if failed else 0


@functools.cache
def _library() -> ctypes.CDLL:
    """Return the C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def refusing(output: str) -> Iterator[None]:
    """Turn an OSError of the file system into an OutputError that says what to do."""
    try:
        yield
    except OSError as error:
        hint = {
            errno.ENOSPC: "free some space or choose another place",
            errno.EDQUOT: "your quota is used up: free some space or choose another place",
            errno.EFBIG: "a limit on file sizes is in the way (ulimit -f): raise it",
            errno.EACCES: "choose a folder that you may write to",
            errno.EPERM: "choose a folder that you may write to",
            errno.EROFS: "choose a folder that can be written",
        }.get(error.errno or 0, "check the folder and the file system")
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        raise OutputError(f"{output}: cannot be written ({reason}): {hint}") from error
