"""What the driver leaves for its workers behind the end of the output, while it is written.

Who can read it there sees the driver's file: its first bytes are random. Behind them lies all that
is needed to make any row, so that tasks stay small and a new worker needs nobody else.
"""

import hashlib
import os
import pickle
import secrets
from dataclasses import dataclass
from typing import Self

from numba_symexp.cluster.checks import FileState
from numba_symexp.errors import ClusterError
from numba_symexp.expansion.job import ExpandJob
from numba_symexp.expansion.plan import Plan

_TOKEN_BYTES = 32

_ALIGNMENT = 1 << 20
"""No block of the file holds both rows and the letter: a cached copy of one spoils no other."""


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
class Letter:
    """Where a letter lies, and how it is known.

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
        """Leave a letter, and bring it and all that was written before to disk.

        Raises
        ------
        OSError
            The disk is full, or fails.
        """
        token = secrets.token_bytes(_TOKEN_BYTES)
        data = token + pickle.dumps(work)
        offset = (os.fstat(descriptor).st_size // _ALIGNMENT + 1) * _ALIGNMENT
        letter = cls(offset, len(data), token, hashlib.sha256(data).digest())
        rest = memoryview(data)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            rest, offset = rest[written:], offset + written
        os.fsync(descriptor)
        return letter

    def check(self, descriptor: int, path: str) -> None:
        """See that an open file is the one that the letter is in.

        Raises
        ------
        ClusterError
            It is another one.
        """
        if os.pread(descriptor, _TOKEN_BYTES, self.offset) != self.token:
            raise self._not_here(path)

    def read(self, descriptor: int, path: str) -> Work:
        """Read the letter; nothing is loaded that the driver did not write.

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
