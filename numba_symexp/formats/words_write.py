"""Write rows as text: the words of their sources, with new numbers and endings among them."""

import abc
import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.background import WriteBehind, worked_on
from numba_symexp.errors import SourceError
from numba_symexp.formats.words_table import COMMENT
from numba_symexp.kernels.text import LARGEST, LONGEST_NUMBER, write_lines
from numba_symexp.particles.table import ParticleTable
from numba_symexp.particles.words import as_bytes, numbers

if TYPE_CHECKING:
    from numba_symexp.pose_block import Block
    from numba_symexp.poses import Poses

_NO_ENDINGS = np.zeros((1, 0), np.uint8)


@dataclass(frozen=True)
class Numbers:
    """New numbers of one label, and the rows that keep their old word.

    Where decimals are `kernels.text.ENDING`, the numbers are those of endings behind old words.
    """

    values: Array
    decimals: int
    kept: Array


class WordRows(abc.ABC):
    """Rows as text: a class of one format says which words are new.

    Parameters
    ----------
    rows : Poses
    source : ParticleTable
        Has every label as text.

    Attributes
    ----------
    notes : list of str
        What a user should know.
    dropped : list of str
        Columns that have no place in the format.
    size : int
        Bytes that are known before the rows are written.
    """

    def __init__(self, rows: "Poses", source: ParticleTable) -> None:
        self._rows, self._source = rows, source
        self.notes: list[str] = []
        self.dropped: list[str] = []
        self._labels: tuple[str, ...] = ()
        self._head = self._tail = b""
        self.size = 0
        self._endings = _NO_ENDINGS

    @abc.abstractmethod
    def _new_numbers(self, block: "Block", source: dict[str, Array]) -> dict[str, Numbers]:
        """Words of some rows that are not those of their sources."""

    def _new_words(self, block: "Block") -> dict[str, Array]:
        """Words of the sources of some rows that their table does not have."""
        return {}

    def companion(self, name: str) -> bytes:
        """Nothing belongs beside a text."""
        return b""

    def write(self, file: BinaryIO) -> Generator[int, None, None]:
        """Write the whole file; yields how many rows are done."""
        file.write(self._head)
        done = 0
        with WriteBehind(file) as behind:
            lines = map(self._lines, self._rows.exported())
            with contextlib.closing(worked_on(lines, lambda each: each.put(behind), 1)) as written:
                for buffer, ends in written:
                    behind.submit(buffer, int(ends[-1]))
                    done += len(ends)
                    yield done
        file.write(self._tail)

    def _lines(self, block: "Block") -> "_Lines":
        """Make all that the text of some rows consists of."""
        labels = [*self._labels, COMMENT] if COMMENT in self._source.columns else self._labels
        present = [label for label in labels if label in self._source.columns]
        source = self._source.read_at(present, block.sources)
        old = {label: as_bytes(source[label]) for label in present}
        old.update({label: as_bytes(words) for label, words in self._new_words(block).items()})
        new = self._new_numbers(block, source)
        values = [new[label] for label in labels if label in new]
        return _Lines(
            *_lines_of(labels, old, new),
            block.index,
            np.array([each.values for each in values], np.float64).reshape(-1, len(block)),
            np.array([each.decimals for each in values], np.int64),
            np.array([each.kept for each in values], np.bool_).reshape(-1, len(block)),
            self._endings,
        )

    def _numbers_of(self, label: str, block: "Block", source: dict[str, Array]) -> Array:
        """What the text of each row's source says of a label, as a number."""
        told = numbers(
            source[label],
            f"{self._source.path}: _{label}",
            0,
            self._source.numbering(block.sources),
        )
        return told[block.index]

    def _refuse_large(self, values: Array, what: str) -> None:
        """Refuse numbers that the text cannot hold, and NaN."""
        if not (np.abs(values) < LARGEST).all():
            raise SourceError(f"{self._source.path}: {what} is over {LARGEST:g}: repair it")


@dataclass(frozen=True)
class _Lines:
    """Lines that are about to be written; see `write_lines`."""

    text: Array
    places: Array
    index: Array
    values: Array
    decimals: Array
    kept: Array
    endings: Array

    def put(self, behind: WriteBehind) -> tuple[Array, Array]:
        """Write the lines into a buffer that is lent; return it, and where in it lines end."""
        longest = int((self.places[:, -1] - self.places[:, 0]).max()) + self.endings.shape[1]
        longest += LONGEST_NUMBER * len(self.values)
        count = len(self.index)
        out, ends = behind.free(count * longest), np.empty(count, np.int64)
        write_lines(
            self.text,
            self.places,
            self.index,
            self.values,
            self.decimals,
            self.kept,
            self.endings,
            ends,
            out,
        )
        return out, ends


def _lines_of(
    labels: Sequence[str], old: Mapping[str, Array], new: Mapping[str, Numbers]
) -> tuple[Array, Array]:
    """Lines of the sources, of old words with one blank between them, and their parts.

    Parameters
    ----------
    labels : sequence of str
        In the order of writing; each is in ``old`` or ``new`` or both.
    old : mapping of str to (m, width) uint8
        Words; NUL is no part of them.
    new : mapping of str to Numbers

    Returns
    -------
    text : (B,) uint8
    places : (m, 2 * len(new) + 2) int64
        As `write_lines` wants them.
    """
    count = len(next(iter(old.values())))
    columns, starts = [], []
    for place, label in enumerate(labels):
        if place:
            columns.append(np.full((count, 1), ord(" "), np.uint8))
        if label in new:
            starts.append(sum(each.shape[1] for each in columns))
            columns.append(old.get(label, np.empty((count, 0), np.uint8)))
            starts.append(sum(each.shape[1] for each in columns))
        else:
            columns.append(old[label])
    lines = np.hstack([*columns, np.full((count, 1), ord("\n"), np.uint8)])
    written = lines != 0
    before = np.zeros(lines.size + 1, np.int64)
    np.cumsum(written, out=before[1:])
    first = np.arange(count)[:, None] * lines.shape[1]
    return lines[written], before[first + np.array([0, *starts, lines.shape[1]])]
