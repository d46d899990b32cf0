"""Hidden files of runs that are under way, or that were killed: who wrote them, and which may go.

A name says host, boot, process namespace, process and start time, so that a run on the same host
can tell whether its writer still lives, even when the number of a dead process is used again. The
writer holds a lock on its file. A file is removed only when its lock can be taken and its writer is
surely dead: network file systems lose locks, and the system may hide a process.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import socket
import struct
from dataclasses import dataclass

from numba_symexp.files import file_system

PREFIX, SUFFIX = ".numba_symexp-", ".tmp"

_UNKNOWN = "0"
_START_TIME = 19
"""Place of the start time in /proc/PID/stat, counted from the word after the program's name."""

_LOCKED_BYTE = 1 << 61
"""Far behind all rows: where locks keep others from writing, nobody writes there."""

_LOCAL = {
    *(0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E),
    *(0x01021994, 0x794C7630, 0x3153464A, 0x52654973),
}
"""Types of file systems that one running system has for itself, by their numbers in statfs: ext,
XFS, Btrfs, F2FS, ZFS, bcachefs; tmpfs, overlay, JFS, ReiserFS."""


@dataclass(frozen=True)
class RunMark:
    """One process, so that no other ever has the same mark.

    Attributes
    ----------
    host, boot : str
    namespaces : str
        Those in which process numbers and times since the boot mean something.
    pid, started : str
        Number, and start time in ticks since the boot.
    """

    host: str
    boot: str
    namespaces: str
    pid: str
    started: str

    @classmethod
    def of_this_process(cls) -> "RunMark":
        """Mark of this process; what the system does not tell is unknown."""
        host = re.sub(r"[^\w.]", "_", socket.gethostname())
        pid = os.getpid()
        return cls(host, _boot_id(), _namespaces(), str(pid), _start_time(pid) or _UNKNOWN)

    def is_dead(self, on_local_disk: bool) -> bool:
        """Whether the process is surely gone; False where nobody here can tell.

        Parameters
        ----------
        on_local_disk : bool
            Whether the file is on a file system that no other host can write to. Only there a
            boot of another time is over; else another host may have the same name.
        """
        here = RunMark.of_this_process()
        known = (self.boot, self.namespaces, self.started)
        if self.host != here.host or _UNKNOWN in (*known, here.boot, here.namespaces, here.started):
            return False
        if self.boot != here.boot:
            return on_local_disk
        if self.namespaces != here.namespaces:
            return False
        started = _start_time(int(self.pid))
        return _is_free(int(self.pid)) if started is None else started != self.started

    def is_running(self) -> bool:
        """Whether the process is surely there."""
        here = RunMark.of_this_process()
        where = (self.host, self.boot, self.namespaces)
        return (
            _UNKNOWN not in (*where, self.started)
            and where == (here.host, here.boot, here.namespaces)
            and _start_time(int(self.pid)) == self.started
        )


def hidden_name() -> str:
    """Name for a file of this process that nobody else uses."""
    words = vars(RunMark.of_this_process()).values()
    return PREFIX + "-".join([*words, secrets.token_hex(4)]) + SUFFIX


def hold(descriptor: int) -> None:
    """Lock a hidden file for as long as it is open, where its file system has locks."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock(fcntl.F_WRLCK))


def sweep(folder: str) -> list[str]:
    """Remove what dead runs on this host left in a folder; tell of what may be left over.

    Returns
    -------
    list of str
        Sentences about files whose writer may be dead, as far as can be told here.
    """
    notes = []
    own = RunMark.of_this_process()
    with contextlib.suppress(OSError):
        on_local_disk = file_system(folder) in _LOCAL
        for name in sorted(os.listdir(folder)):
            writer = _writer_of(name)
            path = os.path.join(folder, name)
            if writer is None or writer == own:
                continue
            held = _is_held(path)
            if held:
                continue
            if held is False and writer.is_dead(on_local_disk):
                with contextlib.suppress(OSError):
                    os.unlink(path)
            elif not writer.is_running():
                notes.append(
                    f"{path}: a run on {writer.host} (process {writer.pid}) writes this, or was "
                    "killed: remove it if no such run is under way"
                )
    return notes


def _writer_of(name: str) -> RunMark | None:
    """Who wrote a hidden file, or None when it is not ours."""
    form = r"([\w.]+)-(\w+)-(\w+)-(\d{1,9})-(\d+)-[0-9a-f]{8}"
    match = re.fullmatch(re.escape(PREFIX) + form + re.escape(SUFFIX), name, re.ASCII)
    return RunMark(*match.groups()) if match else None


def _is_held(path: str) -> bool | None:
    """Whether a run holds the lock of a hidden file; None where that cannot be told."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock(fcntl.F_RDLCK))
    except OSError as error:
        return True if error.errno in (errno.EAGAIN, errno.EACCES) else None
    finally:
        os.close(descriptor)
    return False


def _lock(kind: int) -> bytes:
    """The lock on one byte of an open file, as ``struct flock``."""
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, _LOCKED_BYTE, 1, 0)


def _boot_id() -> str:
    """First part of this boot's id."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read(8)
    return _UNKNOWN


def _namespaces() -> str:
    """Numbers of the namespaces of processes and of time: a container has its own."""
    numbers = []
    for name in ("pid", "time"):
        try:
            numbers.append(re.sub(r"\D", "", os.readlink(f"/proc/self/ns/{name}")))
        except FileNotFoundError:
            numbers.append(_UNKNOWN)
        except OSError:
            return _UNKNOWN
    return "_".join(numbers) if numbers[0] != _UNKNOWN else _UNKNOWN


def _start_time(pid: int) -> str | None:
    """When a process started; None where the system does not tell."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[_START_TIME].decode()
    return None


def _is_free(pid: int) -> bool:
    """Whether no process has a number: the system says so even of processes that it hides."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
