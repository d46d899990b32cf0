"""A table that is text, one row a line: every column as words, read when they are asked for."""

import abc
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.background import worked_on
from numba_symexp.errors import SourceError
from numba_symexp.files import read_range
from numba_symexp.formats.lines import without_comment, words_of
from numba_symexp.kernels.text import MORE, QUOTE, WIDTH, cut_lines, take_words
from numba_symexp.particles.schema import TABLE, UID
from numba_symexp.particles.table import Column, ParticleTable
from numba_symexp.particles.words import as_bytes, mix_bits, words_at

COMMENT = "comment"
"""Column of the comments that follow rows, where there are any."""

_PIECE_BYTES = 4 << 20

_LONGEST_ROW_BYTES = 16 << 20

_LONGEST_WORD = 4096
"""No path is longer, and every row of a column takes as many bytes as its longest word."""

_STRIPE_ROWS, _STRIPE_WORDS = 4096, 1 << 18


class RowReader(Protocol):
    """Makes the columns of a particle table from the words of rows."""

    @property
    def columns(self) -> dict[str, Column]:
        """Columns that can be made of the text."""

    @property
    def id_labels(self) -> tuple[str, ...]:
        """Labels that tell one particle from another."""

    def needs(self, name: str) -> tuple[str, ...]:
        """Labels that a column is made of; those of ids are `id_labels`."""

    def ids(self, words: Mapping[str, Array], path: str, start: int) -> Array:
        """64-bit ids of some rows, never 0, of the words of `id_labels`."""

    def make(self, name: str, text: Mapping[str, Array], start: int, stop: int, path: str) -> Array:
        """Make a column from the words of the labels that it needs."""


class WordsTable(ParticleTable):
    """Particles of a text: poses, shifts and the like as numbers, and every label as words.

    A class of one format calls `survey` when it knows where the rows begin and what they are
    called, and `finish` when it knows what is made of them.

    Parameters
    ----------
    path : str
    layout : str
        What it is, in words.
    """

    is_text: ClassVar[bool] = True

    def __init__(self, path: str, layout: str) -> None:
        self.path, self.location, self.layout = path, TABLE, layout
        self._file = open(path, "rb")  # noqa: SIM115 - closed with the table
        self.watch(self._file.fileno())
        self._labels: tuple[str, ...] = ()
        self._text: dict[str, Column] = {}
        self._held: tuple[int, Array] | None = None  # stripe that was cut last, and its bytes

    @property
    @abc.abstractmethod
    def reader(self) -> RowReader:
        """What makes columns from the words."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._stripe_rows[-1]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        made = [name for name in names if name not in self._text and name != UID]
        labels = {label: None for name in made for label in self.reader.needs(name)}
        labels.update((name, None) for name in names if name in self._text)
        text = self._read_words(list(labels), start, stop)
        rows = {name: text[name] for name in names if name in self._text}
        for name in made:
            rows[name] = self.reader.make(name, text, start, stop, self.path)
        if UID in names:
            rows[UID] = self._ids[start:stop]
        return rows

    def survey(self, labels: tuple[str, ...], first: int, reader: RowReader) -> None:
        """Go once through the rows: how many, where, how wide, and which particles.

        Parameters
        ----------
        labels : tuple of str
            Of all words of a row.
        first : int
            Where in the file the rows begin.
        reader : RowReader
            Knows ids; the other columns may need what follows the rows.

        Raises
        ------
        SourceError
            A line has another number of words, or is too long; or there are no rows.
        """
        self._labels = labels
        places = len(labels) + 1
        self._starts, self._lengths = np.empty((2, stripe_rows(places), places), np.int64)
        self._widths = np.zeros(len(self._labels) + 1, np.int64)
        self._stripe_rows, self._stripe_places = [0], [first]
        self._skipped = 0
        self._lacks_newline = False

        def ids_of(part: tuple[Array, int, Array, Array]) -> Array:
            data, row, starts, lengths = part
            words = map(words_at, itertools.repeat(data), starts, lengths)
            return reader.ids(dict(zip(reader.id_labels, words, strict=True)), self.path, row)

        named = [labels.index(label) for label in reader.id_labels]
        ids = list(worked_on(self._surveyed(first, named), ids_of, 1))
        if self.n_rows == 0:
            raise SourceError(f"{self.path}: has no particles: give a file with rows")
        rows = np.arange(1, self.n_rows + 1, dtype=np.uint64)
        self._ids = np.concatenate(ids) if named else mix_bits([rows])

    def _surveyed(
        self, position: int, named: Sequence[int]
    ) -> Iterator[tuple[Array, int, Array, Array]]:
        """Go once through the rows, and note how many, where and how wide they are.

        Yields bytes, the first row in them, and starts and lengths of some words of each row.
        """
        for data, starts, lengths, end in self._stripes(position):
            self._widths = np.maximum(self._widths, lengths.max(axis=0))
            if int(self._widths.max()) > _LONGEST_WORD:
                self._refuse_long_word(lengths)
            if named:
                yield data, self.n_rows, starts[:, named].T.copy(), lengths[:, named].T.copy()
            self._stripe_rows.append(self._stripe_rows[-1] + len(starts))
            self._stripe_places.append(end)

    def finish(self) -> None:
        """Name all columns."""
        self._text = {
            label: Column(np.dtype(f"S{max(1, width)}"))
            for label, width in zip((*self._labels, COMMENT), self._widths, strict=True)
            if label != COMMENT or width
        }
        self._place = {label: place for place, label in enumerate((*self._labels, COMMENT))}
        self.columns = {**self.reader.columns, **self._text}

    @property
    def notes(self) -> list[str]:
        """What was left out."""
        notes = []
        if self._skipped:
            notes.append(
                f"{self.path}: {self._skipped:,} line(s) of comment among the rows left out"
            )
        if self._lacks_newline:
            notes.append(
                f"{self.path}: its last row has no newline: copy it again if it was cut short"
            )
        return notes

    def _stripes(self, position: int) -> Iterator[tuple[Array, Array, Array, int]]:
        """Cut the file into lines, from a position to the end of the particles.

        Yields bytes, where in them the words of some rows are, and where in the file these rows
        end.
        """
        rest, status, piece = b"", MORE, b"-"
        while status == MORE and piece:
            interrupts.check()
            piece = self._bytes(position + len(rest), _PIECE_BYTES)
            text = rest + piece
            if not piece and text.strip():  # the last line of the file
                text += b"\n"
                self._lacks_newline = True
            data = np.frombuffer(text, np.uint8)
            at, lines = 0, len(self._starts)
            while lines == len(self._starts):
                lines, at, status, comments = self._cut(data, at)
                self._skipped += comments
                if lines:
                    end = position + at - (self._lacks_newline and at == len(data))
                    yield data, self._starts[:lines], self._lengths[:lines], end
            rest = data[at:].tobytes()
            position += at
            if len(rest) > _LONGEST_ROW_BYTES:
                raise SourceError(
                    f"{self.path}: row {self.n_rows} is over {_LONGEST_ROW_BYTES >> 20} MB long: "
                    "this is no table of particles"
                )
        self._refuse_line(status, rest, position)

    def _refuse_line(self, status: int, rest: bytes, position: int) -> None:
        """Refuse the line at which the rows ended, unless it may end them."""
        if status not in (WIDTH, QUOTE):
            return
        line = rest.partition(b"\n")[0].strip()
        where = (
            f"{self.path}: line {self._line_at(position)}, row {self.n_rows} "
            f"({line[:40].decode(errors='replace')!r})"
        )
        raise SourceError(wrong_line(where, status, line, len(self._labels)))

    def _refuse_long_word(self, lengths: Array) -> None:
        """Refuse a word that would make a column take memory out of proportion."""
        row, place = divmod(int(lengths.argmax()), lengths.shape[1])
        label = (*self._labels, COMMENT)[place]
        raise SourceError(
            f"{self.path}: row {self.n_rows + row} has {int(lengths.max()):,} bytes of {label}, "
            f"and {_LONGEST_WORD:,} are the most: repair it"
        )

    def _line_at(self, position: int) -> int:
        """Number of the line, counted from 1, that begins at a place in the file."""
        line = 1
        for start in range(0, position, _PIECE_BYTES):
            line += self._bytes(start, min(_PIECE_BYTES, position - start)).count(b"\n")
        return line

    def _read_words(self, labels: list[str], start: int, stop: int) -> dict[str, Array]:
        """Words of some labels in a range of rows."""
        columns = {label: self._place[label] for label in labels}
        out = {label: np.zeros(stop - start, self._text[label].dtype) for label in labels}
        stripe = int(np.searchsorted(self._stripe_rows, start, side="right")) - 1
        row = start
        while row < stop and labels:
            first, last = self._stripe_rows[stripe : stripe + 2]
            data = self._cut_stripe(stripe)
            until = min(stop, last)
            some = slice(row - first, until - first)
            for label, column in columns.items():
                words = as_bytes(out[label][row - start : until - start])
                take_words(data, self._starts[some, column], self._lengths[some, column], words)
            row, stripe = until, stripe + 1
        return out

    def _cut_stripe(self, stripe: int) -> Array:
        """Bytes of a stripe, whose words are found then; those of the last stripe are kept."""
        self.check_unchanged()
        if self._held is None or self._held[0] != stripe:
            self._held = None
            place, end = self._stripe_places[stripe : stripe + 2]
            text = self._bytes(place, end - place)
            data = np.frombuffer(text if text.endswith(b"\n") else text + b"\n", np.uint8)
            if self._cut(data, 0)[0] != self._stripe_rows[stripe + 1] - self._stripe_rows[stripe]:
                raise SourceError(
                    f"{self.path}: changed while it was read: wait until it is whole, then try "
                    "again"
                )
            self._held = stripe, data
        return self._held[1]

    def _cut(self, data: Array, first: int) -> tuple[int, int, int, int]:
        """Find the words of the next rows in some bytes."""
        return cut_lines(data, first, len(self._labels), self._starts, self._lengths)

    def _bytes(self, position: int, size: int) -> bytes:
        """Bytes of the file."""
        return read_range(self._file, self.path, position, size)


def cut_rows(text: bytes, columns: int) -> Iterator[tuple[Array, Array, Array, int, int]]:
    """Cut the rows of a loop into words.

    Yields bytes, starts and lengths of the words of some rows, where in the text they end, and
    how the cutting ended (see `kernels.text`).
    """
    data = np.frombuffer(text if text.endswith(b"\n") else text + b"\n", np.uint8)
    starts, lengths = np.empty((2, stripe_rows(columns + 1), columns + 1), np.int64)
    at, status, lines = 0, MORE, len(starts)
    while lines == len(starts):
        lines, at, status, _ = cut_lines(data, at, columns, starts, lengths)
        yield data, starts[:lines], lengths[:lines], at, status


def stripe_rows(words: int) -> int:
    """Rows whose words are cut at once: so many that their places take a few MB."""
    return max(1, min(_STRIPE_ROWS, _STRIPE_WORDS // words))


def wrong_line(where: str, status: int, line: bytes, columns: int) -> str:
    """Message about a line that is no row of its table."""
    if status == QUOTE:
        return f"{where} has a quote that is not closed: repair it"
    words = len(words_of(without_comment(line)))
    return (
        f"{where} has {words} words for {columns} columns: the file is damaged or cut short; copy "
        "it again, or repair it"
    )
