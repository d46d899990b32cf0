"""Files: whether one may be read, what it begins with, and what Python's os module lacks."""

import contextlib
import ctypes
import errno
import functools
import os
import stat
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

from numba_symexp.errors import SourceError
from numba_symexp.kinds import compression

if TYPE_CHECKING:
    from numba_symexp.annotations import AnyPath  # loads NumPy

_FIRST_BYTES = 4096

_MADE_UP_FILE_SYSTEMS = {
    0x9FA0,  # proc
    0x62656572,  # sysfs
    0x27E0EB,  # cgroup
    0x63677270,  # cgroup2
    0x64626720,  # debugfs
    0x74726163,  # tracefs
}

_SYNC_FILE_RANGE_WRITE = 2
"""From <fcntl.h>: start to write dirty pages, wait for none."""

_STATFS_BYTES = 512
"""More than ``struct statfs`` has; the type is its first word."""


def path_or_none(given: "AnyPath | None") -> str | None:
    """Path as text, where there is one."""
    return None if given is None else os.fspath(given)


def path_list(given: "AnyPath | Sequence[AnyPath] | None") -> list[str]:
    """Paths as text: of one path, of several, or of a text with commas between them."""
    if given is None:
        return []
    if isinstance(given, str):
        return [each for each in given.split(",") if each]
    several = [given] if isinstance(given, os.PathLike) else given
    return [os.fspath(each) for each in several]


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
    if not is_data_file(path):
        raise SourceError(f"{path}: is made up by the system: name {wanted}")


def read_small(path: str, wanted: str, most_bytes: int) -> bytes:
    """Bytes of an input that is read at once, up to so many; ``wanted`` as in `check_readable`.

    Raises
    ------
    SourceError
        What is in the way.
    """
    check_readable(path, wanted)
    with reading(path), open(path, "rb") as file:
        data = file.read(most_bytes)
    packed = compression(data)
    if packed is not None:
        raise SourceError(f"{path}: is compressed ({packed}): unpack it, and name {wanted}")
    return data


def read_range(file: IO[bytes], path: str, position: int, size: int) -> bytes:
    """Bytes of an open input, fewer at its end only; ``path`` is for messages.

    Raises
    ------
    SourceError
        The file system fails.
    """
    with reading(path):
        data = os.pread(file.fileno(), size, position)
        more = data
        while more and len(data) < size:
            more = os.pread(file.fileno(), size - len(data), position + len(data))
            data += more
    return data


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn an OSError of the file system into a SourceError that names the file."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error).partition("\n")[0][:100]
        raise SourceError(f"{path}: cannot be read ({why}): copy it") from error


def first_bytes(path: str) -> bytes:
    """First bytes of a file, by which its kind is known; nothing where it cannot be read."""
    if is_data_file(path):  # a pipe would be waited for
        with contextlib.suppress(OSError), open(path, "rb") as file:
            return file.read(_FIRST_BYTES)
    return b""


def state_of(file: int | str) -> tuple[int, int]:
    """Size of a file, open or by its path, and when it was last written to."""
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns


def sync(descriptor: int) -> None:
    """Bring a file or a folder to disk; some file systems cannot, which is no error.

    Some say at a close only that a disk is full, so that one is made here.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    os.close(os.dup(descriptor))


def sync_file(path: str) -> None:
    """Bring a file to disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def reserve(descriptor: int, size: int) -> None:
    """Reserve the blocks of a file, so that a full disk shows before the work is done.

    The system call, not glibc's function: where the file system cannot reserve, that one touches
    every block instead. There, the file only gets its length.
    """
    number = errno.EINTR if size else errno.ENOSYS
    while number == errno.EINTR:
        number = _system_call("fallocate", descriptor, 0, 0, size)
    if number in (errno.EOPNOTSUPP, errno.ENOSYS):
        os.ftruncate(descriptor, size)
    elif number:
        raise OSError(number, os.strerror(number))


def file_system(folder: str) -> int | None:
    """Number of the type of file system that a folder is on, as statfs gives it; None: unknown."""
    call = getattr(_library(), "statfs", None)
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if call is None or call(os.fsencode(folder), buffer):
        return None
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF


def start_writeback(descriptor: int, offset: int, size: int) -> None:
    """Have the system begin to bring a range to disk, so that the fsync at the end has less to do.

    It promises nothing, and nothing is lost where the file system cannot.
    """
    _system_call("sync_file_range", descriptor, offset, size, _SYNC_FILE_RANGE_WRITE)


def is_data_file(path: str) -> bool:
    """Whether a path leads to a regular file, which may be read, on a file system with data.

    It is opened without waiting; what the kernel makes up (proc, sysfs, cgroup, debugfs) could
    block a reader for ever, and is no source of particles.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    try:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return is_regular and _file_system_of(descriptor) not in _MADE_UP_FILE_SYSTEMS
    finally:
        os.close(descriptor)


def _file_system_of(descriptor: int) -> int:
    """Type of the file system of an open file, from <linux/magic.h>; 0 where it cannot be asked."""
    call = getattr(_library(), "fstatfs", None)
    found = (ctypes.c_long * 64)()  # f_type is the first member, and a long
    if call is None or call(ctypes.c_int(descriptor), found):
        return 0
    return int(found[0]) & 0xFFFFFFFF


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
