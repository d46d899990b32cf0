"""The fingerprint of a source, by which it is recognized later.

Two rules: ``sha256:`` is of poses and shifts alone (files of older versions, and what the ids of
mates are made from); ``sha256-2:`` is of these and of every column: name, type and values.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.particles.table import Column

RULE_2 = "sha256-2:"
"""How a fingerprint of all columns begins."""

PAGE = 1024
"""Rows that share a digest, where parts of a source are to be recognized."""

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


class ColumnDigests:
    """SHA-256 of each column of a table, of the values in little-endian bytes.

    Parameters
    ----------
    columns : mapping of str to Column
        Of the table.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self._digests = {name: hashlib.sha256() for name in columns}

    def update(self, rows: Mapping[str, Array]) -> None:
        """Add the next rows of all columns."""
        for name, digest in self._digests.items():
            digest.update(_bytes_of_any(rows[name]))

    def lines(self) -> tuple[str, ...]:
        """``name, type, digest`` of each column, joined by tabs, in the order of names."""
        return tuple(
            "\t".join((name, _type_text(self._columns[name]), digest.hexdigest()))
            for name, digest in sorted(self._digests.items())
        )


def full_fingerprint(poses_and_shifts: str, lines: Sequence[str]) -> str:
    """``sha256-2:`` and 64 hexadecimal digits, of a fingerprint by the first rule and of lines."""
    text = "\n".join((poses_and_shifts, *lines))
    return RULE_2 + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def changes(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """What differs between the lines of two tables, a few words for each column."""
    old = {line.partition("\t")[0]: line for line in before}
    new = {line.partition("\t")[0]: line for line in now}
    found = [f"{name} is gone" for name in old if name not in new]
    for name, line in new.items():
        if name not in old:
            found.append(f"{name} is new")
        elif line != old[name]:
            one, other = old[name].split("\t")[1], line.split("\t")[1]
            values = f"{name} has other values"
            found.append(values if one == other else f"{name} was {one} and is {other}")
    return found


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


def _type_text(column: Column) -> str:
    """Type of a column, whatever its byte order."""
    return f"{column.dtype.newbyteorder('<').str}{list(column.shape) or ''}"


def _bytes_of_any(rows: Array) -> Any:
    """Bytes of rows of any type; of text of varying length, each with its own length."""
    if not rows.dtype.itemsize:
        return b""
    if not rows.dtype.hasobject:
        return _bytes(np.ascontiguousarray(rows))
    parts = []
    for value in rows.reshape(-1):
        part = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
        parts += [len(part).to_bytes(8, "little"), part]
    return b"".join(parts)


def _bytes(rows: Array) -> memoryview:
    """Little-endian bytes of contiguous rows."""
    little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
    return little.reshape(-1).view(np.uint8).data
