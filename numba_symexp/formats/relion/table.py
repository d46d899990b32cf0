"""A RELION particle file as a particle table; its rows are read from the text when asked for."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.files import check_readable
from numba_symexp.formats.relion.labels import (
    IMAGE_SIZE,
    SUBSET,
    LabelReader,
    Optics,
    cut_rows,
    stripe_rows,
)
from numba_symexp.formats.relion.text import (
    ParticleRows,
    convention_in,
    find_rows,
    finish_header,
    loops_in,
    misshapen_pair,
    without_comment,
    words_of,
)
from numba_symexp.kernels.text import MORE, QUOTE, WIDTH, cut_lines, take_words
from numba_symexp.particles.convention import doubt_of, other_programs_paths
from numba_symexp.particles.schema import (
    CONVENTION,
    CONVENTION_DOUBT,
    REPEATED_IMAGES,
    SPLIT,
    TABLE,
    UID,
)
from numba_symexp.particles.table import CRYOSPARC, RELION, Column, Header, ParticleTable
from numba_symexp.particles.words import as_bytes, mix_bits, words_at

COMMENT = "comment"
"""Column of the comments that follow rows, where there are any."""

_PIECE_BYTES = 4 << 20

_LONGEST_ROW_BYTES = 16 << 20

_LONGEST_WORD = 4096
"""No path is longer, and every row of a column takes as many bytes as its longest word."""


class StarTable(ParticleTable):
    """Particles of a .star file: the field's columns, and every label as text.

    Parameters
    ----------
    path : str
        Particle file of RELION 3.0, 3.1, 4 or 5.

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
            self._starts, self._lengths = np.empty((2, stripe_rows(words), words), np.int64)
            self._survey(self._file.tell())
            self._held: tuple[int, Array] | None = None  # stripe that was cut last, and its bytes
            self._file.seek(self._stripe_places[-1])
            self._header = finish_header(rows, self._file, path)
            self._check_other_blocks(rows)
            self._reader = LabelReader.of(self._header)
            torn = self._reader.torn_angles()
            if torn:
                raise SourceError(f"{path}: {torn}: give all three of a set, or none")
        except BaseException:
            self.close()
            raise
        self._text = {
            label: Column(np.dtype(f"S{max(1, width)}"))
            for label, width in zip((*self._labels, COMMENT), self._widths, strict=True)
            if label != COMMENT or width
        }
        self._place = {label: place for place, label in enumerate((*self._labels, COMMENT))}
        self.columns = {**self._reader.columns, **self._text}
        if SUBSET in self._text and self._all_unassigned():
            del self.columns[SPLIT]
        self.attributes = self._find_convention()
        self._name_rows()

    @property
    def header(self) -> Header:
        """All of the file but its rows."""
        return self._header

    @property
    def notes(self) -> list[str]:
        """What was left out, and whether particles stand in several rows."""
        notes = []
        if self._skipped:
            notes.append(
                f"{self.path}: {self._skipped:,} line(s) of comment among the rows left out"
            )
        if self._lacks_newline:
            notes.append(
                f"{self.path}: its last row has no newline: copy it again if it was cut short"
            )
        repeated = self.attributes.get(REPEATED_IMAGES)
        if repeated:
            notes.append(
                f"{self.path}: {repeated:,} row(s) show an image again, so the set is expanded "
                "already; to expand it needs again=True"
            )
        return notes

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._stripe_rows[-1]

    def box_px(self) -> int | None:
        """Side of the images in pixels, the largest of the optics groups."""
        optics = self._reader.optics
        words = optics.words(IMAGE_SIZE) if IMAGE_SIZE in optics else ()
        whole = [int(size) for size in words if re.fullmatch(rb"[0-9]{1,9}", size)]
        return max(whole, default=None)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        made = [name for name in names if name not in self._text and name != UID]
        labels = {label: None for name in made for label in self._reader.needs(name)}
        labels.update((name, None) for name in names if name in self._text)
        text = self._read_words(list(labels), start, stop)
        rows = {name: text[name] for name in names if name in self._text}
        for name in made:
            rows[name] = self._reader.make(name, text, start, stop, self.path)
        if UID in names:
            rows[UID] = self._ids[start:stop]
        return rows

    def _all_unassigned(self) -> bool:
        """Whether all rows have subset 0: RELION has not divided them."""
        for first, end in itertools.pairwise(self._stripe_rows):
            if (self._read_words([SUBSET], first, end)[SUBSET] != b"0").any():
                return False
        return True

    def _find_convention(self) -> dict[str, Any]:
        """RELION's convention, unless a mark says otherwise; and what speaks against it."""
        marked = convention_in(self._header.head)
        if marked is not None:
            return {CONVENTION: marked}
        path = other_programs_paths(self, CRYOSPARC)
        doubt = {} if path is None else {CONVENTION_DOUBT: doubt_of(CRYOSPARC, path)}
        return {CONVENTION: RELION, **doubt}

    def _survey(self, first: int) -> None:
        """Go once through the rows: how many, where, how wide, and which particles."""
        reader = LabelReader(self._labels, Optics())
        named = {label: self._labels.index(label) for label in reader.id_labels}
        self._ids_tell_images = reader.ids_tell_images
        self._widths = np.zeros(len(self._labels) + 1, np.int64)
        self._stripe_rows, self._stripe_places = [0], [first]
        self._skipped = 0
        self._lacks_newline = False
        ids = []
        for data, starts, lengths, end in self._stripes(first):
            self._widths = np.maximum(self._widths, lengths.max(axis=0))
            if int(self._widths.max()) > _LONGEST_WORD:
                self._refuse_long_word(lengths)
            words = {
                label: words_at(data, starts[:, place], lengths[:, place])
                for label, place in named.items()
            }
            if named:
                ids.append(reader.ids(words, self.path, self.n_rows))
            self._stripe_rows.append(self._stripe_rows[-1] + len(starts))
            self._stripe_places.append(end)
        if self.n_rows == 0:
            raise SourceError(f"{self.path}: has no particles: give a file with rows")
        rows = np.arange(1, self.n_rows + 1, dtype=np.uint64)
        self._ids = np.concatenate(ids) if ids else mix_bits([rows])

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
                    "this is no .star file"
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
        raise SourceError(_wrong_line(where, status, line, len(self._labels)))

    def _refuse_long_word(self, lengths: Array) -> None:
        """Refuse a word that would make a column take memory out of proportion."""
        row, place = divmod(int(lengths.argmax()), lengths.shape[1])
        label = (*self._labels, COMMENT)[place]
        raise SourceError(
            f"{self.path}: row {self.n_rows + row} has {int(lengths.max()):,} bytes of {label}, "
            f"and {_LONGEST_WORD:,} are the most: repair it"
        )

    def _check_other_blocks(self, rows: ParticleRows) -> None:
        """Refuse rows of other blocks that have another number of words than their loop."""
        self._file.seek(self._stripe_places[-1])
        for text, position in ((rows.head, 0), (self._file.read(), self._stripe_places[-1])):
            for first, end, labels in loops_in(text):
                if not labels or first == len(rows.head):
                    continue
                at, status = first, MORE
                for _, _, _, cut, ended in cut_rows(text[first:end], len(labels)):
                    at, status = first + cut, ended
                if status in (WIDTH, QUOTE):
                    line = text[at:end].partition(b"\n")[0].strip()
                    where = (
                        f"{self.path}: line {self._line_at(position + at)} "
                        f"({line[:40].decode(errors='replace')!r})"
                    )
                    raise SourceError(_wrong_line(where, status, line, len(labels)))
            place = misshapen_pair(text)
            if place is not None:
                raise SourceError(
                    f"{self.path}: line {self._line_at(position + place)} must have a label and "
                    "one word: repair it"
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

    def _name_rows(self) -> None:
        """See that no two rows share an id; where images repeat, the row number is part of it."""
        ids = np.sort(self._ids)
        repeated = int(np.count_nonzero(ids[1:] == ids[:-1]))
        if repeated:
            if self._ids_tell_images:
                self.attributes[REPEATED_IMAGES] = repeated
            self._ids = mix_bits([self._ids, np.arange(self.n_rows, dtype=np.uint64)])

    def _cut(self, data: Array, first: int) -> tuple[int, int, int, int]:
        """Find the words of the next rows in some bytes."""
        return cut_lines(data, first, len(self._labels), self._starts, self._lengths)

    def _bytes(self, position: int, size: int) -> bytes:
        """Bytes of the file."""
        try:
            return os.pread(self._file.fileno(), size, position)
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read ({error.strerror}): copy it") from error


def _wrong_line(where: str, status: int, line: bytes, columns: int) -> str:
    """Message about a line that is no row of its loop."""
    if status == QUOTE:
        return f"{where} has a quote that is not closed: repair it"
    words = len(words_of(without_comment(line)))
    return (
        f"{where} has {words} words for {columns} columns: the file is damaged or cut short; copy "
        "it again, or repair it"
    )
