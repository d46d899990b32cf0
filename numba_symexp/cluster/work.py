"""What driver and workers share: program, processor, source, output, and the work to be done.

The driver stores the work behind the end of the output while it is written. Whoever can read it
there sees the driver's file: its first bytes are random. It holds all that is needed to make any
row, so that tasks stay small and a new worker needs nobody else.
"""

import functools
import hashlib
import os
import pickle
import secrets
from dataclasses import dataclass
from typing import Self

from numba_symexp.annotations import Array
from numba_symexp.errors import ClusterError, SourceError
from numba_symexp.expansion.job import ExpandJob
from numba_symexp.expansion.plan import Plan
from numba_symexp.particles.fingerprint import PAGE, PAGE_DIGEST_BYTES, PageDigests, page_digests
from numba_symexp.version import __version__

FileState = tuple[int, int]
"""Size of a file, and when it was last written to."""

_TOKEN_BYTES = 32

_ALIGNMENT = 1 << 20
"""No block of the file holds both rows and the work: a cached copy of one spoils no other."""


@dataclass(frozen=True)
class Machine:
    """What the bytes that a process makes depend on.

    Attributes
    ----------
    program : str
        Versions of the package and of its compiler, and a digest of the kernels.
    processor : str
        What Numba compiles for: equal texts mean equal machine code.
    """

    program: str
    processor: str

    @classmethod
    @functools.cache
    def this(cls) -> Self:
        """Where this process runs."""
        import numba
        from numba.core.registry import cpu_target

        from numba_symexp.kernels.jit import source_digest

        digest = source_digest()[:12]
        program = f"numba_symexp {__version__} (kernels {digest}), numba {numba.__version__}"
        _, name, features = cpu_target.target_context.codegen().magic_tuple()
        return cls(program, f"{name} {features}")

    def check(self, driver: "Machine", mixed_cpus: bool) -> None:
        """Refuse to work for a driver whose bytes may be others.

        Raises
        ------
        ClusterError
            Says in what they differ.
        """
        if self.program != driver.program:
            raise ClusterError(
                f"has {self.program}, and the driver {driver.program}: install the same versions"
            )
        if self.processor != driver.processor and not mixed_cpus:
            raise ClusterError(
                f"has another processor ({self._difference(driver)}), which may round in another "
                "way: use like machines, or give mixed_cpus=True"
            )

    def _difference(self, driver: "Machine") -> str:
        """In what two processors differ, not too long."""
        own, other = self.processor.split()[0], driver.processor.split()[0]
        if own != other:
            return f"{own}, the driver's is {other}"
        mine, theirs = ({*m.processor.split(" ", 1)[-1].split(",")} for m in (self, driver))
        return ", ".join(sorted(mine - theirs)[:3]) or "other features"


def state_of(path: str) -> FileState:
    """State of a file by its path.

    Raises
    ------
    SourceError
        It is not there.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be seen there ({error.strerror}): put the source into a folder that "
            "all workers share under one path"
        ) from error
    return status.st_size, status.st_mtime_ns


def check_state(path: str, expected: FileState) -> None:
    """Refuse a source that is not the file that the driver sees under that path.

    Raises
    ------
    SourceError
        Size or time differ.
    """
    found = state_of(path)
    if found != expected:
        what = f"{found[0]:,} bytes, not {expected[0]:,}" if found[0] != expected[0] else "its time"
        raise SourceError(
            f"{path}: is there another file than the driver's ({what}), or has changed: put the "
            "source into a folder that all workers share under one path"
        )


def check_pages(path: str, pages: PageDigests, first: int, pose: Array, shift: Array) -> None:
    """Refuse sources that are not those which the driver has read.

    Parameters
    ----------
    path : str
        For the message.
    pages : bytes
        Digests of all pages of the source.
    first : int
        First row, which begins a page.
    pose, shift : (n, ...)
        Rows, up to the end of a page or of the table.

    Raises
    ------
    SourceError
        A digest differs.
    """
    found = page_digests(pose, shift)
    begin = first // PAGE * PAGE_DIGEST_BYTES
    if found != pages[begin : begin + len(found)]:
        raise SourceError(
            f"{path}: poses or shifts of rows {first:,} to {first + len(pose) - 1:,} are not "
            "those that the driver has read: it is another file there, or it has changed"
        )


@dataclass(frozen=True)
class Work:
    """All that is needed to make any rows of an output.

    Attributes
    ----------
    job, plan
        What is asked for, and what was found.
    source : str
        Absolute path of the source.
    source_state : tuple of int
        What the driver sees there.
    offsets : dict of str to int
        Where each column begins.
    """

    job: ExpandJob
    plan: Plan
    source: str
    source_state: FileState
    offsets: dict[str, int]


@dataclass(frozen=True)
class StoredWork:
    """Where the work of a run lies in the output, and how it is recognized.

    Attributes
    ----------
    offset, size : int
        Its place in the file.
    token : bytes
        Its first bytes, random.
    digest : bytes
        SHA-256 of all of it.
    """

    offset: int
    size: int
    token: bytes
    digest: bytes

    @classmethod
    def write(cls, descriptor: int, work: Work) -> Self:
        """Store the work, and bring it and all that was written before to disk.

        Raises
        ------
        OSError
            The disk is full, or fails.
        """
        token = secrets.token_bytes(_TOKEN_BYTES)
        data = token + pickle.dumps(work)
        offset = (os.fstat(descriptor).st_size // _ALIGNMENT + 1) * _ALIGNMENT
        stored = cls(offset, len(data), token, hashlib.sha256(data).digest())
        rest = memoryview(data)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            rest, offset = rest[written:], offset + written
        os.fsync(descriptor)
        return stored

    def check(self, descriptor: int, path: str) -> None:
        """See that an open file is the one that the work was stored in.

        Raises
        ------
        ClusterError
            It is another one.
        """
        if os.pread(descriptor, _TOKEN_BYTES, self.offset) != self.token:
            raise self._not_here(path)

    def read(self, descriptor: int, path: str) -> Work:
        """Read the work; nothing is loaded that the driver did not write.

        Raises
        ------
        ClusterError
            It is not there.
        """
        data = bytearray()
        while piece := os.pread(descriptor, self.size - len(data), self.offset + len(data)):
            data += piece
        if hashlib.sha256(data).digest() != self.digest:
            raise self._not_here(path)
        work: Work = pickle.loads(memoryview(data)[_TOKEN_BYTES:])
        return work

    def _not_here(self, path: str) -> ClusterError:
        return ClusterError(
            f"{path}: is there another file than the driver's: write the output into a folder that "
            "all workers share under one path"
        )
