"""RELION's motion files: the trajectory of each particle of a tomogram, a block under its name."""

import functools
import re
from typing import BinaryIO

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.files import read_range, state_of
from numba_symexp.formats.lines import word_places
from numba_symexp.formats.relion.text import back_over_comments, with_lf

_NUMBER = b"_rlnParticleNumber"
_ORIGINS = frozenset((b"rlnOriginXAngst", b"rlnOriginYAngst", b"rlnOriginZAngst"))
_DATA = re.compile(rb"^[ \t]*data_(\S*)", re.MULTILINE)
_LOOP = re.compile(
    rb"(?:[ \t]*+(?:#[^\n]*+)?\n)++[ \t]*+loop_[ \t]*+\n((?:[ \t]*+_[!-~][^\n]*+\n)++)"
)
_LABEL = re.compile(rb"^[ \t]*_(\S+)", re.MULTILINE)
_REST = re.compile(rb"(?:[ \t]*+(?:#[^\n]*+)?(?:\n|\Z))*+\Z")
_VERSION = re.compile(rb"^# version [0-9]{1,9}[ \t]*$", re.MULTILINE)

_PIECE_BYTES = 1 << 20
_LONGEST_LINE = 1 << 20
_MOST_HEAD_BYTES = 64 << 10
_MOST_BLOCK_BYTES = 16 << 20
_MOST_LABELS = 64


class Motion:
    """Trajectories of particles, of which a new motion file is made, with one for every copy.

    The file is read twice and never held: once to find the blocks, once to copy them.

    Parameters
    ----------
    path : str
        Motion file.
    names : (n,) bytes
        Of the particles, each once.
    endings : (G, L) uint8 or None
        What each copy adds to the name of its particle.

    Raises
    ------
    SourceError
        It is no motion file, or a particle has no trajectory or two.
    """

    def __init__(self, path: str, names: Array, endings: Array | None) -> None:
        self._path, self._names = path, names
        self._endings = [b""]
        if endings is not None:
            self._endings = [each.tobytes().rstrip(b"\0") for each in endings]
        self._file = open(path, "rb")  # noqa: SIM115 - closed with the object
        try:
            self._opened = state_of(self._file.fileno())
            head, (first, last), after = self._read_head()
            self._version = _VERSION.search(head)
            copies = len(names) * len(self._endings)
            self._head = head[:first] + b"%d" % copies + head[last:]
            self._start, self._end = self._find_blocks(after)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Bytes of the new file, about."""
        longest = self._names.dtype.itemsize + max(map(len, self._endings)) + 32
        whole = int((self._end - self._start).sum()) + len(self._names) * longest
        return len(self._head) + len(self._endings) * whole

    @property
    def files(self) -> tuple[str, ...]:
        """The motion file."""
        return (self._path,)

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""
        if state_of(self._file.fileno()) != self._opened:
            raise SourceError(
                f"{self._path}: changed while it was read: wait until it is whole, then try again"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def write(self, file: BinaryIO) -> None:
        """Write the parent's block under the name of every copy, in the order of the particles."""
        version = b"" if self._version is None else self._version[0] + b"\n\n"
        file.write(self._head.rstrip() + b"\n \n")
        for row, name in enumerate(self._names.tolist()):
            interrupts.check()
            body = self._body(row, name)
            for ending in self._endings:
                file.write(b"\n%sdata_%s%s%s \n" % (version, name, ending, body))

    def _read_head(self) -> tuple[bytes, tuple[int, int], int]:
        """Text of data_general, where in it the number of particles is, and what follows it."""
        start = self._bytes(0, _MOST_HEAD_BYTES)
        general = _DATA.search(start)
        text = with_lf(start)
        marks = [match for match, _ in zip(_DATA.finditer(text), range(2), strict=False)]
        head = text[: back_over_comments(text, marks[1].start())] if len(marks) > 1 else b""
        for line in head.splitlines() if head and marks[0][1] == b"general" else ():
            words = word_places(line)
            if len(words) == 2 and line[slice(*words[0])] == _NUMBER and general:
                at = head.index(line)
                return head, (at + words[1][0], at + words[1][1]), general.end()
        raise SourceError(
            f"{self._path}: is no motion file of RELION: its first block must be data_general "
            f"with {_NUMBER.decode()}, and a block for each particle must follow"
        )

    def _find_blocks(self, position: int) -> tuple[Array, Array]:
        """Where the block of each particle begins, behind its name, and where it ends."""
        order = np.argsort(self._names, kind="stable")
        ordered = self._names[order]
        width = self._names.dtype.itemsize + 1
        start = np.full(len(order), -1, np.int64)
        end = np.full(len(order), self._opened[0], np.int64)
        goes_on, number, rest = -1, 0, b""
        while piece := self._bytes(position + len(rest), _PIECE_BYTES):
            interrupts.check()
            text = rest + piece
            whole = text.rfind(b"\n") + 1
            found = list(_DATA.finditer(text, 0, whole))
            if found:
                if number == 0 and found[0][1] == b"0":
                    raise SourceError(
                        f"{self._path}: its trajectories have no names, so that nothing tells "
                        "whose they are: write it anew with RELION 4 or 5"
                    )
                number += len(found)
                told = np.array([match[1] for match in found], f"S{width}")
                place = np.minimum(np.searchsorted(ordered, told), len(order) - 1)
                known = ordered[place] == told
                rows = np.where(known, order[place], -1)
                self._refuse_twice(rows[known], start)
                lines = np.array([match.start() for match in found]) + position
                if goes_on >= 0:
                    end[goes_on] = lines[0]
                start[rows[known]] = (np.array([m.end() for m in found]) + position)[known]
                ended = known[:-1]
                end[rows[:-1][ended]] = lines[1:][ended]
                goes_on = int(rows[-1])
            rest = text[whole:]
            position += whole
            if len(rest) > _LONGEST_LINE:
                raise SourceError(f"{self._path}: a line is over 1 MB long: this is no .star file")
        missing = np.flatnonzero(start < 0)
        if len(missing):
            raise SourceError(
                f"{self._path}: has no trajectory of {_shown(self._names[missing[0]])}"
                f"{_and_others(len(missing))}: give the motion file of these particles"
            )
        return start, end

    def _refuse_twice(self, rows: Array, start: Array) -> None:
        """Refuse a name that stands twice."""
        rows, count = np.unique(rows, return_counts=True)
        again = rows[(count > 1) | (start[rows] >= 0)]
        if len(again):
            raise SourceError(
                f"{self._path}: has two trajectories of {_shown(self._names[again[0]])}: remove one"
            )

    def _body(self, row: int, name: bytes) -> bytes:
        """Block of a particle from behind its name to its last row, word for word."""
        first, last = int(self._start[row]), int(self._end[row])
        if last - first <= _MOST_BLOCK_BYTES:
            text = with_lf(self._bytes(first, last - first))
            text = text if text.endswith(b"\n") else text + b"\n"
            loop = _LOOP.match(text)
            labels = [] if loop is None else _LABEL.findall(loop[1])
            if loop is not None and set(labels) >= _ORIGINS and len(labels) <= _MOST_LABELS:
                rows = _rows_of(len(labels)).match(text, loop.end())
                if rows is not None and _REST.match(text, rows.end()):
                    return text[: rows.end()]
        raise SourceError(
            f"{self._path}: the trajectory of {_shown(name)} is no loop of numbers with "
            "_rlnOriginXAngst, _rlnOriginYAngst and _rlnOriginZAngst: repair it"
        )

    def _bytes(self, position: int, size: int) -> bytes:
        """Bytes of the file."""
        return read_range(self._file, self._path, position, size)


@functools.cache
def _rows_of(words: int) -> re.Pattern[bytes]:
    """Rows of so many numbers."""
    number = rb"[-+]?[0-9.]++(?:[eE][-+]?[0-9]++)?(?=[ \t\n])"
    return re.compile(rb"(?:(?:[ \t]*+%s){%d}[ \t]*+\n)++" % (number, words))


def _shown(name: bytes) -> str:
    """Name of a particle for a message."""
    return name[:80].decode(errors="replace")


def _and_others(count: int) -> str:
    """How many more there are."""
    return f" and {count - 1:,} others" if count > 1 else ""
