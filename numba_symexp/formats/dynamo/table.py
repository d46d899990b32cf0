"""A table of Dynamo as a particle table: subtomograms, one row of numbers each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.files import check_readable
from numba_symexp.formats.words_table import WordsTable
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    CONVENTION,
    DYNAMO_PARENT,
    DYNAMO_TAG,
    POSE,
    PSIZE,
    SHIFT,
    UID,
    UID_DTYPE,
)
from numba_symexp.particles.table import RELION, Column
from numba_symexp.particles.words import numbers

_SLOT = "dynamo/"

TAG, PARENT = DYNAMO_TAG, DYNAMO_PARENT
OFFSETS = tuple(f"{_SLOT}{name}" for name in ("dx", "dy", "dz"))
ANGLES = tuple(f"{_SLOT}{name}" for name in ("tdrot", "tilt", "narot"))
APIX = f"{_SLOT}apix"

_NAMES = (
    *("tag", "aligned", "averaged", "dx", "dy", "dz", "tdrot", "tilt", "narot"),
    *("cc", "cc2", "cpu", "ftype", "ymintilt", "ymaxtilt", "xmintilt", "xmaxtilt", "fs1", "fs2"),
    *("tomo", "reg", "class", "annotation", "x", "y", "z", "dshift", "daxis", "dnarot", "dcc"),
    *("otag", "npar", "col33", "ref", "sref", "apix", "def"),
)
"""What Dynamo calls its columns, from the first on; those behind have numbers."""

LEAST_COLUMNS = 32
"""Up to the parent's tag; Dynamo writes 35 and more."""

_MOST_COLUMNS = 256

_FIRST_BYTES = 64 << 10

_F8 = np.dtype("<f8")

MOST_TAG = 2.0**53
"""From here on, not every whole number is one of float64."""


def labels_of(count: int) -> tuple[str, ...]:
    """Names of so many columns, such as ``dynamo/tag``."""
    further = (f"col{number}" for number in range(len(_NAMES) + 1, count + 1))
    return tuple(f"{_SLOT}{name}" for name in (*_NAMES[:count], *further))


@dataclass(frozen=True)
class DynamoReader:
    """Makes the columns of a particle table from the words of Dynamo.

    A maps the map to the tomogram: A = Rz(-tdrot) Rx(-tilt) Rz(-narot), which is RELION's of
    (rot, tilt, psi) = (narot - 90, tilt, tdrot + 90). The particle is at (x + dx, y + dy, z + dz),
    so that the shift is -(dx, dy, dz), in pixels.

    Attributes
    ----------
    has_apix : bool
        Whether the table says A per pixel.
    """

    has_apix: bool = False

    @property
    def columns(self) -> dict[str, Column]:
        """Columns that the text gives."""
        found = {POSE: Column(_F8, (3,)), SHIFT: Column(_F8, (3,))}
        size = {PSIZE: Column(_F8)} if self.has_apix else {}
        return {**found, **size, UID: Column(UID_DTYPE)}

    @property
    def id_labels(self) -> tuple[str, ...]:
        """The tag."""
        return (TAG,)

    def needs(self, name: str) -> tuple[str, ...]:
        """Labels that a column is made of."""
        return {POSE: ANGLES, SHIFT: OFFSETS, PSIZE: (APIX,)}[name]

    def ids(self, words: Mapping[str, Array], path: str, start: int) -> Array:
        """Tags as ids."""
        tags = numbers(words[TAG], f"{path}: column 1 (tag)", start)
        bad = ~((tags >= 1) & (tags < MOST_TAG) & (tags == np.floor(tags)))
        if bad.any():
            row = int(np.argmax(bad))
            raise SourceError(
                f"{path}: column 1 (tag) is {tags[row]:g} in row {start + row}, and tags are whole "
                "numbers from 1: repair it"
            )
        return tags.astype(UID_DTYPE)

    def make(self, name: str, text: Mapping[str, Array], start: int, stop: int, path: str) -> Array:
        """Make a column from the words of the labels that it needs."""
        values = [numbers(text[label], f"{path}: {label}", start) for label in self.needs(name)]
        if name == PSIZE:
            return values[0]
        if name == SHIFT:
            return -np.stack(values, axis=1)
        tdrot, tilt, narot = values
        angles = np.stack([narot - 90, tilt, tdrot + 90], axis=1)
        return convert(angles, "euler_zyz", "rotvec")


class DynamoTable(WordsTable):
    """Subtomograms of a .tbl file: poses, shifts and the like as numbers, and every column as text.

    Parameters
    ----------
    path : str

    Raises
    ------
    SourceError
        The file is missing, damaged, or has no particles.
    """

    def __init__(self, path: str) -> None:
        check_readable(path, "the .tbl file")
        super().__init__(path, "a table of Dynamo")
        self._reader = DynamoReader()
        try:
            count = self._count_columns()
            self.survey(labels_of(count), self._blank, self._reader)
            self._refuse_rest()
            self.finish()
            self._reader = DynamoReader(count > LEAST_COLUMNS + 3 and self._has_apix())
            self.finish()
        except BaseException:
            self.close()
            raise
        self.attributes: dict[str, Any] = {CONVENTION: RELION}

    @property
    def reader(self) -> DynamoReader:
        """What makes columns from the words."""
        return self._reader

    def _count_columns(self) -> int:
        """Number of words in the first row, which may stand behind empty lines."""
        text = self._bytes(0, _FIRST_BYTES)
        self._blank = len(text) - len(text.lstrip())
        count = len(text[self._blank :].partition(b"\n")[0].split())
        if not LEAST_COLUMNS <= count <= _MOST_COLUMNS:
            raise SourceError(
                f"{self.path}: its first row has {count} numbers, and tables of Dynamo have 35 to "
                f"{_MOST_COLUMNS}: give a .tbl of Dynamo"
            )
        return count

    def _refuse_rest(self) -> None:
        """Refuse rows behind an empty line."""
        end = self._stripe_places[-1]
        self._file.seek(end)
        while piece := self._file.read(_FIRST_BYTES):
            if piece.strip():
                raise SourceError(
                    f"{self.path}: line {self._line_at(end) + 1}: more stands behind an empty "
                    "line: remove the empty line"
                )

    def _has_apix(self) -> bool:
        """Whether A per pixel stands in the rows; 0 everywhere means that it does not."""
        for start, stop in blocks(self, [APIX]):
            words = self._read_words([APIX], start, stop)[APIX]
            if numbers(words, f"{self.path}: {APIX}", start).any():
                return True
        return False
