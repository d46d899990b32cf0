"""The fingerprint of a source: a digest of its poses and shifts, of all rows or page by page."""

import hashlib

import numpy as np

from numba_symexp.types import Array

PAGE = 1024
"""Rows that share a digest, where parts of a source are to be recognised."""

PAGE_DIGEST_BYTES = 32

PageDigests = bytes
"""Digests of the pages of a source, one after the other."""


class Fingerprint:
    """SHA-256 over the SHA-256 of all poses and the SHA-256 of all shifts.

    Bytes are little-endian, C order, in the column's own precision; how the rows were cut into
    blocks does not matter.
    """

    def __init__(self) -> None:
        self._pose = hashlib.sha256()
        self._shift = hashlib.sha256()

    def update(self, pose: Array, shift: Array) -> None:
        """Add the next rows (contiguous, native byte order)."""
        for digest, rows in ((self._pose, pose), (self._shift, shift)):
            digest.update(_bytes(rows))

    def text(self) -> str:
        """``sha256:`` and 64 hexadecimal digits."""
        both = self._pose.digest() + self._shift.digest()
        return "sha256:" + hashlib.sha256(both).hexdigest()


def page_digests(pose: Array, shift: Array) -> PageDigests:
    """SHA-256 of the poses and shifts of each page, one digest after the other.

    The first row begins a page; the last page may be shorter.
    """
    digests = []
    for first in range(0, len(pose), PAGE):
        digest = hashlib.sha256(_bytes(pose[first : first + PAGE]))
        digest.update(_bytes(shift[first : first + PAGE]))
        digests.append(digest.digest())
    return b"".join(digests)


def _bytes(rows: Array) -> memoryview:
    """Little-endian bytes of contiguous rows."""
    little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
    return little.reshape(-1).view(np.uint8).data
