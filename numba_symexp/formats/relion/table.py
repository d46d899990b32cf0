"""A RELION particle file as a particle table; its rows are read from the text when asked for."""

import itertools
import re
from typing import Any

import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.files import check_readable
from numba_symexp.formats.relion.labels import IMAGE_SIZE, LabelReader
from numba_symexp.formats.relion.optics import Optics
from numba_symexp.formats.relion.text import (
    ParticleRows,
    convention_in,
    find_rows,
    finish_header,
    loops_in,
    misshapen_pair,
)
from numba_symexp.formats.words_table import WordsTable, cut_rows, wrong_line
from numba_symexp.kernels.text import MORE, QUOTE, WIDTH
from numba_symexp.particles.convention import doubt_of, other_programs_paths
from numba_symexp.particles.schema import (
    CONVENTION,
    CONVENTION_DOUBT,
    REPEATED_IMAGES,
    SPLIT,
)
from numba_symexp.particles.table import CRYOSPARC, RELION, Header
from numba_symexp.particles.words import mix_bits


class StarTable(WordsTable):
    """Particles of a .star file: poses, shifts and the like as numbers, and every label as text.

    Parameters
    ----------
    path : str
        Particle file of RELION 3.0, 3.1, 4 or 5.
    named_by : str, optional
        Optimisation set that names it.

    Raises
    ------
    SourceError
        The file is missing, damaged, or has no particles.
    """

    def __init__(self, path: str, named_by: str | None = None) -> None:
        check_readable(path, "the .star file")
        super().__init__(path, "a .star file")
        self._named_by = () if named_by is None else (named_by,)
        try:
            rows = find_rows(self._file, path)
            reader = LabelReader.of_labels(rows.labels, Optics())
            self._ids_tell_images = reader.ids_tell_images
            self.survey(rows.labels, self._file.tell(), reader)
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
        self.finish()
        if self._reader.subset in self._text and self._all_unassigned():
            del self.columns[SPLIT]
        self.attributes = self._find_convention()
        self._name_rows()

    @property
    def reader(self) -> LabelReader:
        """What makes columns from the words."""
        return self._reader

    @property
    def files(self) -> tuple[str, ...]:
        """The file, and the optimisation set that names it."""
        return (self.path, *self._named_by)

    @property
    def header(self) -> Header:
        """All of the file but its rows."""
        return self._header

    @property
    def notes(self) -> list[str]:
        """What was left out, and whether particles stand in several rows."""
        notes = super().notes
        repeated = self.attributes.get(REPEATED_IMAGES)
        if repeated:
            notes.append(
                f"{self.path}: {repeated:,} row(s) show an image again, so the set is expanded "
                "already; to expand it needs again=True"
            )
        return notes

    def box_px(self) -> int | None:
        """Side of the images in pixels, the largest of the optics groups."""
        optics = self._reader.optics
        words = optics.words(IMAGE_SIZE) if IMAGE_SIZE in optics else ()
        whole = [int(size) for size in words if re.fullmatch(rb"[0-9]{1,9}", size)]
        return max(whole, default=None)

    def _all_unassigned(self) -> bool:
        """Whether all rows have subset 0: RELION has not divided them."""
        label = self._reader.subset
        for first, end in itertools.pairwise(self._stripe_rows):
            if (self._read_words([label], first, end)[label] != b"0").any():
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
                    raise SourceError(wrong_line(where, status, line, len(labels)))
            place = misshapen_pair(text)
            if place is not None:
                raise SourceError(
                    f"{self.path}: line {self._line_at(position + place)} must have a label and "
                    "one word: repair it"
                )

    def _name_rows(self) -> None:
        """See that no two rows share an id; where images repeat, the row number is part of it."""
        ids = np.sort(self._ids)
        repeated = int(np.count_nonzero(ids[1:] == ids[:-1]))
        if repeated:
            if self._ids_tell_images:
                self.attributes[REPEATED_IMAGES] = repeated
            self._ids = mix_bits([self._ids, np.arange(self.n_rows, dtype=np.uint64)])
