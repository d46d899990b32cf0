"""Hidden files of runs that are under way, or that were killed: who wrote them, and which may go.

A name says host, boot, process namespace, process and start time, so that a run on the same host
can tell whether its writer still lives, even when the number of a dead process is used again.
"""

import contextlib
import os
import re
import secrets
import socket
from dataclasses import dataclass

PREFIX, SUFFIX = ".numba_symexp-", ".tmp"

_UNKNOWN = "0"
_START_TIME = 19
"""Place of the start time in /proc/PID/stat, counted from the word after the program's name."""


@dataclass(frozen=True)
class Writer:
    """One process, so that no other ever has the same mark.

    Attributes
    ----------
    host, boot, namespace : str
        Where process numbers mean something.
    pid, started : str
        Number, and start time in ticks since the boot.
    """

    host: str
    boot: str
    namespace: str
    pid: str
    started: str

    @classmethod
    def this(cls) -> "Writer":
        """Mark of this process."""
        host = re.sub(r"[^\w.]", "_", socket.gethostname())[:64]
        pid = os.getpid()
        return cls(host, _boot(), _namespace(), str(pid), _start_time(pid))

    def is_dead(self) -> bool:
        """Whether the process is surely gone; False where nobody here can tell."""
        here = Writer.this()
        if self.host != here.host or _UNKNOWN in (self.boot, self.namespace, self.started):
            return False
        if self.boot != here.boot:
            return True
        if self.namespace != here.namespace:
            return False
        return _start_time(int(self.pid)) != self.started


def hidden_name() -> str:
    """Name for a file of this process that nobody else uses."""
    words = vars(Writer.this()).values()
    return PREFIX + "-".join([*words, secrets.token_hex(4)]) + SUFFIX


def sweep(folder: str) -> list[str]:
    """Remove what dead runs on this host left in a folder; tell of what others left.

    Returns
    -------
    list of str
        Sentences about files that may be left over, but whose writer is on another host.
    """
    notes = []
    own = Writer.this()
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            writer = _writer_of(name)
            path = os.path.join(folder, name)
            if writer is None or writer == own:
                continue
            if writer.is_dead():
                with contextlib.suppress(OSError):
                    os.unlink(path)
            elif writer.host != own.host:
                notes.append(
                    f"{path}: a run on {writer.host} (process {writer.pid}) writes this, or was "
                    "killed: remove it if no such run is under way"
                )
    return notes


def _writer_of(name: str) -> Writer | None:
    """Who wrote a hidden file, or None when it is not ours."""
    form = r"([\w.]+)-(\w+)-(\w+)-(\d+)-(\d+)-[0-9a-f]{8}"
    match = re.fullmatch(re.escape(PREFIX) + form + re.escape(SUFFIX), name)
    return Writer(*match.groups()) if match else None


def _boot() -> str:
    """First part of this boot's id."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read(8)
    return _UNKNOWN


def _namespace() -> str:
    """Number of the namespace that process numbers belong to: a container has its own."""
    with contextlib.suppress(OSError):
        return re.sub(r"\D", "", os.readlink("/proc/self/ns/pid")) or _UNKNOWN
    return _UNKNOWN


def _start_time(pid: int) -> str:
    """When a process started; `_UNKNOWN` when there is none."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[_START_TIME].decode()
    return _UNKNOWN
