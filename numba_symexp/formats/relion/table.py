"""A RELION particle file as a particle table; its rows are read from the text when asked for."""

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np

from numba_symexp import interrupts
from numba_symexp.errors import SourceError
from numba_symexp.files import check_readable
from numba_symexp.formats.relion.labels import IMAGE_SIZE, Meaning
from numba_symexp.formats.relion.text import find_rows, finish_text, words_of
from numba_symexp.formats.relion.words import as_bytes, mixed, word_hash
from numba_symexp.kernels.text import MORE, QUOTE, WIDTH, cut_lines, take_words
from numba_symexp.particles.schema import CONVENTION, REPEATED_IMAGES, TABLE, UID
from numba_symexp.particles.table import Column, ParticleTable
from numba_symexp.types import Array

COMMENT = "comment"
"""Column of the comments that follow rows, where there are any."""

_STRIPE_ROWS = 4096
"""Most rows between two places in the file that are remembered."""

_PIECE_BYTES = 4 << 20

_LONGEST_ROW_BYTES = 16 << 20


class StarTable(ParticleTable):
    """Particles of a .star file: the field's columns, and every label as text.

    Parameters
    ----------
    path : str
        Particle file of RELION 3.0, 3.1, 4 or 5.

    Attributes
    ----------
    text : StarText
        All of the file but its rows.
    skipped : int
        Lines of comment among the rows, which belong to no row.

    Raises
    ------
    SourceError
        The file is missing, damaged, or has no particles.
    """

    def __init__(self, path: str) -> None:
        check_readable(path, "the .star file")
        self.path, self.location, self.layout = path, TABLE, "a .star file"
        self._file = open(path, "rb")  # noqa: SIM115 - closed with the table
        self.watch(self._file.fileno())
        try:
            rows = find_rows(self._file, path)
            self._labels = rows.labels
            words = len(rows.labels) + 1
            self._starts, self._lengths = np.empty((2, _STRIPE_ROWS, words), np.int64)
            self._survey(self._file.tell())
            self._file.seek(self._stripe_places[-1])
            self.text = finish_text(rows, self._file.read(), path)
        except BaseException:
            self.close()
            raise
        self._meaning = Meaning.of(self.text)
        self._text = {
            label: Column(np.dtype(f"S{max(1, width)}"))
            for label, width in zip((*self._labels, COMMENT), self._widths, strict=True)
            if label != COMMENT or width
        }
        self.columns = {**self._meaning.columns, **self._text}
        self.attributes = {CONVENTION: "relion"}
        self._name_rows()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._stripe_rows[-1]

    def box_px(self) -> int | None:
        """Side of the images in pixels, the largest of the optics groups."""
        sizes = [row[IMAGE_SIZE] for row in self.text.optics if IMAGE_SIZE in row]
        whole = [int(size) for size in sizes if re.fullmatch(r"[0-9]{1,9}", size)]
        return max(whole, default=None)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        made = [name for name in names if name not in self._text and name != UID]
        labels = {label: None for name in made for label in self._meaning.needs(name)}
        labels.update((name, None) for name in names if name in self._text)
        text = self._read_words(list(labels), start, stop)
        rows = {name: text[name] for name in names if name in self._text}
        for name in made:
            rows[name] = self._meaning.make(name, text, start, stop, self.path)
        if UID in names:
            rows[UID] = self._ids[start:stop]
        return rows

    def _survey(self, first: int) -> None:
        """Go once through the rows: how many, where, how wide, and which particles."""
        named = Meaning(self._labels, []).id_labels
        self._widths = np.zeros(len(self._labels) + 1, np.int64)
        self._stripe_rows, self._stripe_places = [0], [first]
        self.skipped = 0
        ids = []
        for data, starts, lengths, end in self._stripes(first):
            self._widths = np.maximum(self._widths, lengths.max(axis=0))
            for label in named:
                column = self._labels.index(label)
                ids.append(word_hash(_words(data, starts[:, column], lengths[:, column])))
            self._stripe_rows.append(self._stripe_rows[-1] + len(starts))
            self._stripe_places.append(end)
        if self.n_rows == 0:
            raise SourceError(f"{self.path}: has no particles: give a file with rows")
        self._ids = np.concatenate(ids) if ids else mixed([np.arange(self.n_rows, dtype=np.uint64)])

    def _stripes(self, position: int) -> Iterator[tuple[Array, Array, Array, int]]:
        """Cut the file into lines, from a position to the end of the particles.

        Yields bytes, where in them the words of some rows are, and where in the file these rows
        end.
        """
        rest, status, piece = b"", MORE, b"-"
        while status == MORE and piece:
            interrupts.check()
            piece = self._bytes(position + len(rest), _PIECE_BYTES)
            data = np.frombuffer(rest + piece, np.uint8)
            at, lines = 0, _STRIPE_ROWS
            while lines == _STRIPE_ROWS:
                lines, at, status, comments = self._cut(data, at)
                self.skipped += comments
                if lines:
                    yield data, self._starts[:lines], self._lengths[:lines], position + at
            rest = data[at:].tobytes()
            position += at
            if len(rest) > _LONGEST_ROW_BYTES:
                raise SourceError(
                    f"{self.path}: row {self.n_rows} is over {_LONGEST_ROW_BYTES >> 20} MB long: "
                    "this is no .star file"
                )
        self._refuse_line(status, rest)

    def _refuse_line(self, status: int, rest: bytes) -> None:
        """Refuse the line at which the rows ended, unless it may end them."""
        line = rest.partition(b"\n")[0].strip()
        where = f"{self.path}: row {self.n_rows} ({line[:40].decode(errors='replace')!r})"
        if status == MORE and line:
            raise SourceError(
                f"{where} has no newline: the file is cut short; copy it again, or end its line"
            )
        if status == WIDTH:
            words = len(words_of(line.partition(b" #")[0]))
            raise SourceError(
                f"{where} has {words} words for {len(self._labels)} columns: the file is damaged "
                "or cut short; copy it again, or repair it"
            )
        if status == QUOTE:
            raise SourceError(f"{where} has a quote that is not closed: repair it")

    def _read_words(self, labels: list[str], start: int, stop: int) -> dict[str, Array]:
        """Words of some labels in a range of rows."""
        columns = {label: (*self._labels, COMMENT).index(label) for label in labels}
        out = {label: np.zeros(stop - start, self._text[label].dtype) for label in labels}
        stripe = int(np.searchsorted(self._stripe_rows, start, side="right")) - 1
        row = start
        while row < stop and labels:
            first, last = self._stripe_rows[stripe : stripe + 2]
            place, end = self._stripe_places[stripe : stripe + 2]
            data = np.frombuffer(self._bytes(place, end - place), np.uint8)
            if self._cut(data, 0)[0] != last - first:
                raise SourceError(
                    f"{self.path}: changed while it was read: wait until it is whole, then try "
                    "again"
                )
            until = min(stop, last)
            some = slice(row - first, until - first)
            for label, column in columns.items():
                words = as_bytes(out[label][row - start : until - start])
                take_words(data, self._starts[some, column], self._lengths[some, column], words)
            row, stripe = until, stripe + 1
        return out

    def _name_rows(self) -> None:
        """See that no two rows share an id; where images repeat, the row number is part of it."""
        ids = np.sort(self._ids)
        repeated = int(np.count_nonzero(ids[1:] == ids[:-1]))
        if repeated:
            self.attributes[REPEATED_IMAGES] = repeated
            self._ids = mixed([self._ids, np.arange(self.n_rows, dtype=np.uint64)])

    def _cut(self, data: Array, first: int) -> tuple[int, int, int, int]:
        """Find the words of the next rows in some bytes."""
        return cut_lines(data, first, len(self._labels), self._starts, self._lengths)

    def _bytes(self, position: int, size: int) -> bytes:
        """Bytes of the file."""
        try:
            return os.pread(self._file.fileno(), size, position)
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read ({error.strerror}): copy it") from error


def _words(data: Array, starts: Array, lengths: Array) -> Array:
    """Words of one column, left-aligned."""
    words = np.zeros(len(starts), f"S{max(1, int(lengths.max(initial=1)))}")
    take_words(data, starts, lengths, as_bytes(words))
    return words
