"""Coordinates of particles in tomograms and micrographs, into which origins can be baked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.micrographs import Micrographs
from numba_symexp.formats.relion.labels import (
    COORDINATES_A,
    COORDINATES_PX,
    SUBTOMOGRAM_ANGLES,
    TILT_SERIES_PX,
    LabelReader,
)
from numba_symexp.formats.relion.text import OPTICS_GROUP
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.table import ParticleTable
from numba_symexp.particles.words import numbers

if TYPE_CHECKING:
    from numba_symexp.pose_block import Block


@dataclass(frozen=True)
class Baked:
    """Rows whose origins went into their coordinates, as far as they can.

    Attributes
    ----------
    taken_A : (n, 2 or 3) float64
        What was taken of their origins.
    coordinates : list of tuple
        Label, new numbers (n,), and rows (n,) that keep their words.
    """

    taken_A: Array
    coordinates: list[tuple[str, Array, Array]]


class Baking(Protocol):
    """Coordinates of a particle file that take up origins."""

    def baked(self, block: "Block", words: Mapping[str, Array]) -> Baked:
        """Bake the origins of rows; the words are those of the sources of the block."""


@dataclass(frozen=True)
class MicrographCoordinates:
    """Coordinates of images, which take up whole pixels of their micrographs.

    RELION cuts at the truncated coordinate. So a coordinate keeps its own fraction, and the rest
    of the shift stays as the origin.

    Attributes
    ----------
    micrographs : Micrographs
    is_flipped : bool
        Whether y of the coordinates counts from the other edge than y of the images.
    table : ParticleTable
        The particles.
    """

    micrographs: Micrographs
    is_flipped: bool
    table: ParticleTable

    def baked(self, block: "Block", words: Mapping[str, Array]) -> Baked:
        """Coordinate - whole pixels of the shift; in a flipped y, coordinate + whole pixels."""
        whole_px, taken_A = self.micrographs.taken(block)
        signs, new = (1, -1 if self.is_flipped else 1), []
        row_number = self.table.numbering(block.sources)
        for k, label in enumerate(COORDINATES_PX[:2]):
            told = numbers(words[label], f"{self.table.path}: _{label}", 0, row_number)[block.index]
            new.append((label, told - signs[k] * whole_px[:, k], whole_px[:, k] == 0))
        return Baked(taken_A, new)


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of subtomograms that a particle file has.

    Attributes
    ----------
    labels : tuple of tuple of str
        Of the centered ones, of the others, or of both.
    """

    labels: tuple[tuple[str, ...], ...]
    _reader: LabelReader
    _table: ParticleTable

    @classmethod
    def of(cls, reader: LabelReader, table: ParticleTable) -> "Coordinates":
        """Coordinates of the particles of a file.

        Raises
        ------
        SourceError
            There are none, not all three, or the pixel size that they count in is missing.
        """
        path, found = table.path, []
        for labels in (COORDINATES_A, COORDINATES_PX):
            missing = [label for label in labels if label not in reader.labels]
            if 0 < len(missing) < len(labels):
                raise SourceError(
                    f"{path}: has no _{missing[0]}, and origins go into three coordinates: add it"
                )
            if not missing:
                found.append(labels)
        if not found:
            raise SourceError(
                f"{path}: has no coordinates that origins could go into (_{COORDINATES_A[0]} or "
                f"_{COORDINATES_PX[0]}): leave out recenter="
            )
        if COORDINATES_PX in found and TILT_SERIES_PX not in reader.optics:
            raise SourceError(
                f"{path}: _{COORDINATES_PX[0]} counts in pixels of the tilt series, and "
                f"data_optics has no _{TILT_SERIES_PX}: add it"
            )
        return cls(tuple(found), reader, table)

    def baked(self, block: "Block", words: Mapping[str, Array]) -> Baked:
        """Bake whole origins; a row without any keeps its words."""
        origin_A = block.shift_A
        still = np.all(origin_A == 0, axis=1)
        new = [
            (label, places[:, k], still)
            for labels, places in self.moved(origin_A, words, block.index, block.sources)
            for k, label in enumerate(labels)
        ]
        return Baked(origin_A, new)

    def moved(
        self, origin_A: Array, words: Mapping[str, Array], index: Array, sources: Array
    ) -> Iterator[tuple[tuple[str, ...], Array]]:
        """New coordinates of rows: coordinate - A_sub o, in the coordinate's unit.

        Parameters
        ----------
        origin_A : (n, 3) float64
            Origins o of the rows.
        words : mapping of str to (m,) bytes
            What the file says of their particles.
        index : (n,) int
            Which of the m particles each row is of.
        sources : (m,) int64
            Rows of these particles in their table, for messages.

        Yields
        ------
        labels : tuple of str
        coordinates : (n, 3) float64
        """
        path, count = self._table.path, len(sources)
        row_number = self._table.numbering(sources)

        def told_by(labels: Sequence[str]) -> Array:
            return np.stack(
                [numbers(words[each], f"{path}: _{each}", 0, row_number) for each in labels], axis=1
            )

        move_A = origin_A
        if SUBTOMOGRAM_ANGLES[0] in words:
            # A_sub = exp(v)^T, so that (A_sub o)_j is column j of exp(v) times o
            turn = convert(told_by(SUBTOMOGRAM_ANGLES), "euler_zyz", "matrix")
            move_A = np.einsum("nij,ni->nj", turn[index], origin_A)
        for labels in self.labels:
            told = told_by(labels)
            size_A = np.ones(count)
            if labels == COORDINATES_PX:
                group = words.get(OPTICS_GROUP)
                size_A = self._reader.optics.of_rows(
                    group, TILT_SERIES_PX, count, path, 0, row_number
                )
                if not (np.isfinite(size_A) & (size_A > 0)).all():
                    raise SourceError(f"{path}: a _{TILT_SERIES_PX} is not above 0: repair it")
            yield labels, told[index] - move_A / size_A[index, None]
