"""Columns made of the words of a RELION particle file: poses, shifts, pixel sizes, ids."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.optics import Optics
from numba_symexp.formats.relion.text import OPTICS_GROUP
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.schema import (
    HALF_SET_DTYPE,
    ORIGIN_Z,
    POSE,
    PSIZE,
    SHIFT,
    SPLIT,
    TUBE,
    TURNED_WHEN_CUT,
    UID,
    UID_DTYPE,
)
from numba_symexp.particles.table import Column, Header
from numba_symexp.particles.words import mix_bits, numbers, word_hash
from numba_symexp.symmetry.operators import Operators

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS_A = ("rlnOriginXAngst", "rlnOriginYAngst", ORIGIN_Z[0])
ORIGINS_PX = ("rlnOriginX", "rlnOriginY", ORIGIN_Z[1])
"""Of images the first two, of subtomograms all three."""

SUBTOMOGRAM_ANGLES = (TURNED_WHEN_CUT, "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")
"""How a subtomogram was turned when it was cut out: A_full = A_sub A, with A of `ANGLES`."""

TOMO_NAME, PARTICLE_NAME = "rlnTomoName", "rlnTomoParticleName"
SUBSET = "rlnRandomSubset"
IMAGE = "rlnImageName"
MICROGRAPH = "rlnMicrographName"
TUBE_ID = "rlnHelicalTubeID"
TRACKS = ("rlnHelicalTrackLengthAngst", "rlnHelicalTrackLength")
"""Place of a box on its track: in A since RELION 3.1, in pixels before."""

PREMULTIPLIED = "rlnCtfDataAreCtfPremultiplied"
PIXEL_SIZE = "rlnImagePixelSize"
IMAGE_SIZE = "rlnImageSize"

_DETECTOR, _MAGNIFICATION = "rlnDetectorPixelSize", "rlnMagnification"
_UM_PER_A = 1e4

PIXEL_SIZES = ((PIXEL_SIZE,), ("rlnPixelSize",), (_DETECTOR, _MAGNIFICATION))
"""Labels that A per pixel is made of. The first entry counts of which the particles, or else the
optics, have all labels."""

_NAMES = (IMAGE, PARTICLE_NAME)
"""A particle is named by the first of these labels that the file has."""

M_SOURCES = ("wrpSourceName", "wrpSourceHash")
"""What M calls the tomogram."""

_AREAS = (MICROGRAPH, TOMO_NAME, *M_SOURCES)
COORDINATES_A = tuple(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ")
COORDINATES_PX = tuple(f"rlnCoordinate{axis}" for axis in "XYZ")
"""Where a subtomogram is in its tomogram: in A from the center, and in px of the tilt series.

Where a file has both, those in A count.
"""

TILT_SERIES_PX = "rlnTomoTiltSeriesPixelSize"

_COORDINATES = (COORDINATES_PX[:2], COORDINATES_A[:2])
_DEPTHS = (COORDINATES_PX[2], COORDINATES_A[2])

_F8 = np.dtype("<f8")


@dataclass(frozen=True)
class LabelReader:
    """Makes the columns of a particle table from the words of a particle file.

    Attributes
    ----------
    labels : tuple of str
        Of the particles.
    optics : Optics
    """

    labels: tuple[str, ...]
    optics: Optics

    angles: ClassVar[tuple[str, ...]] = ANGLES
    subset: ClassVar[str] = SUBSET
    sign: ClassVar[float] = 1.0
    """An origin times this sign is a shift."""

    @classmethod
    def of(cls, header: Header) -> "LabelReader":
        """Return the reader of a file's columns."""
        return cls.of_labels(header.labels, Optics.of(header))

    @staticmethod
    def of_labels(labels: tuple[str, ...], optics: Optics) -> "LabelReader":
        """Return the reader of labels of RELION's, or of M's."""
        from numba_symexp.formats.relion.m_labels import MReader  # which is made of this one

        return (MReader if MReader.angles[0] in labels else LabelReader)(labels, optics)

    @property
    def in_angstrom(self) -> bool:
        """Whether origins are in A, as since RELION 3.1; else they are in pixels."""
        return any(label in self.labels for label in ORIGINS_A) or (
            self.optics.n_rows > 0 and not any(label in self.labels for label in ORIGINS_PX)
        )

    @property
    def is_of_subtomograms(self) -> bool:
        """Whether particles are subtomograms, whose origins have three components."""
        telling = (TOMO_NAME, PARTICLE_NAME, ORIGINS_A[2], ORIGINS_PX[2], *SUBTOMOGRAM_ANGLES)
        return any(label in self.labels for label in (*telling, *_DEPTHS))

    @property
    def origins(self) -> tuple[str, ...]:
        """Labels of the origins."""
        return self.origins_of(3 if self.is_of_subtomograms else 2)

    def origins_of(self, components: int) -> tuple[str, ...]:
        """Labels of so many origins."""
        return (ORIGINS_A if self.in_angstrom else ORIGINS_PX)[:components]

    @property
    def further(self) -> tuple[str, ...]:
        """Labels of further poses and places, which turn and move with the first."""
        return ()

    @property
    def further_needs(self) -> tuple[str, ...]:
        """Labels that these are made of."""
        return ()

    def move_further(
        self, told: Mapping[str, Array], operators: Operators, operator: Array
    ) -> dict[str, Array]:
        """Numbers of these labels in rows that are moved, each by one operator."""
        return {}

    def torn_angles(self) -> str:
        """What is wrong with angles of which some are missing; empty where nothing is."""
        for labels in (ANGLES, SUBTOMOGRAM_ANGLES) if self.is_of_subtomograms else ():
            found = [label for label in labels if label in self.labels]
            missing = [label for label in labels if label not in self.labels]
            if found and missing:
                return f"has _{found[0]} and no _{' and no _'.join(missing)}"
        return ""

    @property
    def columns(self) -> dict[str, Column]:
        """Columns that can be made of the text."""
        found = {}
        turned_when_cut = SUBTOMOGRAM_ANGLES[0] in self.labels
        if (ANGLES[0] in self.labels and ANGLES[1] in self.labels) or turned_when_cut:
            found[POSE] = Column(_F8, (3,))
            found[SHIFT] = Column(_F8, (len(self.origins),))
        if self.in_angstrom or self.has_pixel_size:
            found[PSIZE] = Column(_F8)
        if self.subset in self.labels:
            found[SPLIT] = Column(HALF_SET_DTYPE)
        if TUBE_ID in self.labels:
            found[TUBE] = Column(UID_DTYPE)
        found[UID] = Column(UID_DTYPE)
        return found

    def needs(self, name: str) -> tuple[str, ...]:
        """Labels that a column is made of; those of ids are `id_labels`."""
        wanted = {
            POSE: self.angles,
            SHIFT: (*self.origins, *(self._psize_labels if self.in_angstrom else ())),
            PSIZE: self._psize_labels,
            SPLIT: (self.subset,),
            TUBE: (MICROGRAPH, TUBE_ID),
        }[name]
        return tuple(label for label in wanted if label in self.labels)

    @property
    def id_labels(self) -> tuple[str, ...]:
        """Labels that tell one particle from another.

        The name of the image; else where the particle is: micrograph or tomogram, coordinates;
        else its pose; none where there are not even angles.
        """
        names = tuple(label for label in _NAMES if label in self.labels)[:1]
        areas = tuple(label for label in _AREAS if label in self.labels)[:1]
        if names or not areas:
            return names or tuple(
                label for label in (*ANGLES, *self.origins) if label in self.labels
            )
        for pair in _COORDINATES:
            if set(pair) <= set(self.labels):
                depth = tuple(label for label in _DEPTHS if label in self.labels)[:1]
                return (*areas, *pair, *depth)
        return (*areas, *(label for label in (*ANGLES, *self.origins) if label in self.labels))

    @property
    def ids_tell_images(self) -> bool:
        """Whether rows with the same id show the same image; else they only share a pose."""
        return any(
            label in (*_NAMES, *_COORDINATES[0], *_COORDINATES[1]) for label in self.id_labels
        )

    def ids(self, words: Mapping[str, Array], path: str, start: int) -> Array:
        """64-bit ids of some rows, never 0, of the words of `id_labels`."""
        parts = []
        for label, text in words.items():
            if label in (*_NAMES, *_AREAS):
                parts.append(word_hash(text))
            else:  # 1.0 and 1.00 are one number; so are 0 and -0
                parts.append((numbers(text, f"{path}: _{label}", start) + 0.0).view(np.uint64))
        value = parts[0] if len(parts) == 1 else mix_bits(parts)
        return np.where(value == 0, np.uint64(1), value)

    def make(self, name: str, text: Mapping[str, Array], start: int, stop: int, path: str) -> Array:
        """Make a column from the words of the labels that it needs.

        Parameters
        ----------
        name : str
            One of `columns`.
        text : mapping of str to (n,) bytes
            Words by label.
        start, stop : int
            Rows of the table that the words are of.
        path : str
            Of the file, for messages.

        Raises
        ------
        SourceError
            A word is no number, or no half-set; an optics group is not described.
        """

        def number(label: str) -> Array:
            if label not in text:
                return np.zeros(stop - start)
            return numbers(text[label], f"{path}: _{label}", start)

        if name == POSE:
            return rotation_vectors(np.stack([number(label) for label in self.angles], axis=1))
        if name == SHIFT:
            origin = self.sign * np.stack([number(label) for label in self.origins], axis=1)
            return (
                origin / self._psize(text, start, stop, path)[:, None]
                if self.in_angstrom
                else origin
            )
        if name == PSIZE:
            return self._psize(text, start, stop, path)
        if name == SPLIT:
            return _half_sets(number(self.subset), f"{path}: _{self.subset}", start)
        return mix_bits([word_hash(text[label]) for label in self.needs(TUBE)])

    @property
    def has_pixel_size(self) -> bool:
        """Whether the file says how many A a pixel has."""
        return bool(self._psize_place[0])

    @property
    def pixel_size_labels(self) -> tuple[str, ...]:
        """Labels that the pixel size is made of, wherever they stand."""
        return self._psize_place[0]

    @property
    def _psize_place(self) -> tuple[tuple[str, ...], bool]:
        """Labels that the pixel size is made of, and whether they are in the optics."""
        for labels in PIXEL_SIZES:
            for is_optics, place in ((False, self.labels), (True, self.optics.labels)):
                if all(label in place for label in labels):
                    return labels, is_optics
        return (), False

    @property
    def _psize_labels(self) -> tuple[str, ...]:
        """Labels of the particles that a pixel size is made of."""
        labels, is_optics = self._psize_place
        return (OPTICS_GROUP,) if is_optics else labels

    def _psize(self, text: Mapping[str, Array], start: int, stop: int, path: str) -> Array:
        """A per pixel of each row; 1, so that pixels are A, where no size is given."""
        labels, is_optics = self._psize_place
        if not labels:
            return np.ones(stop - start)
        if is_optics:
            group = text.get(OPTICS_GROUP)
            values = [
                self.optics.of_rows(group, label, stop - start, path, start) for label in labels
            ]
        else:
            values = [numbers(text[label], f"{path}: _{label}", start) for label in labels]
        size = values[0]
        if len(labels) > 1:
            with np.errstate(divide="ignore", invalid="ignore"):
                size = values[0] * _UM_PER_A / values[1]
        bad = ~(np.isfinite(size) & (size > 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise SourceError(
                f"{path}: pixel size {size[row]:g} A in row {start + row}: repair the file"
            )
        return size


def rotation_vectors(angles_deg: Array) -> Array:
    """Rotation vectors v (N, 3), rad, with exp(v) = Rz(rot) Ry(tilt) Rz(psi), of (N, 3) angles."""
    return convert(angles_deg, "euler_zyz", "rotvec")


def _half_sets(subset: Array, what: str, first_row: int) -> Array:
    """Half-sets 0 and 1 of RELION's 1 and 2; other whole numbers above 0 as they come."""
    bad = ~((subset >= 1) & (subset == np.floor(subset)) & (subset < 2**31))
    if bad.any():
        row = int(np.argmax(bad))
        raise SourceError(
            f"{what} is {subset[row]:g} in row {first_row + row}, not 1 or 2: repair it"
        )
    return (subset - 1).astype(HALF_SET_DTYPE)
