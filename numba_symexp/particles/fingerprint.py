"""The fingerprint of a source: a digest of its poses and shifts, row after row."""

import hashlib

import numpy as np

from numba_symexp.arrays import Array


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
            little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
            digest.update(little.reshape(-1).view(np.uint8).data)

    def text(self) -> str:
        """``sha256:`` and 64 hexadecimal digits."""
        both = self._pose.digest() + self._shift.digest()
        return "sha256:" + hashlib.sha256(both).hexdigest()
