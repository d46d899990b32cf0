"""What the columns of a RELION particle file mean: poses, shifts, pixel sizes, half-sets, ids."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.text import OPTICS_GROUP, StarText
from numba_symexp.formats.relion.words import mixed, numbers, word_hash
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.schema import (
    HALF_SET_DTYPE,
    POSE,
    PSIZE,
    SHIFT,
    SPLIT,
    TUBE,
    UID,
    UID_DTYPE,
)
from numba_symexp.particles.table import Column
from numba_symexp.types import Array

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS_A = ("rlnOriginXAngst", "rlnOriginYAngst")
ORIGINS_PX = ("rlnOriginX", "rlnOriginY")
SUBSET = "rlnRandomSubset"
IMAGE = "rlnImageName"
MICROGRAPH = "rlnMicrographName"
TUBE_ID = "rlnHelicalTubeID"
TRACKS = ("rlnHelicalTrackLengthAngst", "rlnHelicalTrackLength")
"""Place of a box on its track: in A since RELION 3.1, in pixels before."""

PIXEL_SIZE = "rlnImagePixelSize"
IMAGE_SIZE = "rlnImageSize"

_IDS = (IMAGE, "rlnTomoParticleName")
"""The first of these that is there names a particle."""

_DETECTOR, _MAGNIFICATION = "rlnDetectorPixelSize", "rlnMagnification"
_UM_PER_A = 1e4

_F8 = np.dtype("<f8")


@dataclass(frozen=True)
class Meaning:
    """How the particles of one file are to be read.

    Attributes
    ----------
    labels : tuple of str
        Of the particles.
    optics : list of dict
        Rows of the optics block.
    """

    labels: tuple[str, ...]
    optics: list[dict[str, str]]

    @classmethod
    def of(cls, text: StarText) -> "Meaning":
        """Meaning of a file's columns."""
        return cls(text.labels, text.optics)

    @property
    def in_angstrom(self) -> bool:
        """Whether origins are in A, as since RELION 3.1; else they are in pixels."""
        return any(label in self.labels for label in ORIGINS_A) or (
            bool(self.optics) and not any(label in self.labels for label in ORIGINS_PX)
        )

    @property
    def origins(self) -> tuple[str, str]:
        """Labels of the origins."""
        return ORIGINS_A if self.in_angstrom else ORIGINS_PX

    @property
    def columns(self) -> dict[str, Column]:
        """Columns of the field that the text gives."""
        found = {}
        if ANGLES[0] in self.labels and ANGLES[1] in self.labels:
            found[POSE] = Column(_F8, (3,))
            found[SHIFT] = Column(_F8, (2,))
        if self.in_angstrom or self._has_detector:
            found[PSIZE] = Column(_F8)
        if SUBSET in self.labels:
            found[SPLIT] = Column(HALF_SET_DTYPE)
        if TUBE_ID in self.labels:
            found[TUBE] = Column(UID_DTYPE)
        found[UID] = Column(UID_DTYPE)
        return found

    def needs(self, name: str) -> tuple[str, ...]:
        """Labels that a column is made of; those of ids are `id_labels`."""
        wanted = {
            POSE: ANGLES,
            SHIFT: (*self.origins, *self._psize_labels),
            PSIZE: self._psize_labels,
            SPLIT: (SUBSET,),
            TUBE: (MICROGRAPH, TUBE_ID),
        }[name]
        return tuple(label for label in wanted if label in self.labels)

    @property
    def id_labels(self) -> tuple[str, ...]:
        """Label that names a particle, if there is one."""
        return tuple(label for label in _IDS if label in self.labels)[:1]

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
            return rotation_vectors(np.stack([number(label) for label in ANGLES], axis=1))
        if name == SHIFT:
            origin = np.stack([number(label) for label in self.origins], axis=1)
            return (
                origin / self._psize(text, start, stop, path)[:, None]
                if self.in_angstrom
                else origin
            )
        if name == PSIZE:
            return self._psize(text, start, stop, path)
        if name == SPLIT:
            return _half_sets(number(SUBSET), start, path)
        return mixed([word_hash(text[label]) for label in self.needs(TUBE)])

    @property
    def _has_detector(self) -> bool:
        return _DETECTOR in self.labels and _MAGNIFICATION in self.labels

    @property
    def _psize_labels(self) -> tuple[str, ...]:
        """Labels that a pixel size is made of."""
        if not self.in_angstrom:
            return (_DETECTOR, _MAGNIFICATION) if self._has_detector else ()
        if PIXEL_SIZE in self.labels:
            return (PIXEL_SIZE,)
        return (OPTICS_GROUP,) if OPTICS_GROUP in self.labels else ()

    def _psize(self, text: Mapping[str, Array], start: int, stop: int, path: str) -> Array:
        """A per pixel of each row; 1, so that pixels are A, where no size is given."""
        labels = [label for label in self._psize_labels if label in text]
        values = [numbers(text[label], f"{path}: _{label}", start) for label in labels]
        if labels == [_DETECTOR, _MAGNIFICATION]:
            with np.errstate(divide="ignore", invalid="ignore"):
                size = values[0] * _UM_PER_A / values[1]
        elif labels == [PIXEL_SIZE]:
            size = values[0]
        else:
            groups = values[0] if values else np.full(stop - start, np.nan)
            size = self._size_of_group(groups, start, path)
        bad = ~(np.isfinite(size) & (size > 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise SourceError(
                f"{path}: pixel size {size[row]:g} A in row {start + row}: repair the file"
            )
        return size

    def _size_of_group(self, groups: Array, first_row: int, path: str) -> Array:
        """Pixel size of each row's optics group."""
        known = {}
        for place, group in enumerate(self.optics):
            if PIXEL_SIZE in group:
                words = [group.get(OPTICS_GROUP, "1").encode(), group[PIXEL_SIZE].encode()]
                number, size = numbers(np.array(words), f"{path}: data_optics", place)
                known[number] = size
        if not known:
            return np.ones(len(groups))
        if np.isnan(groups).all() and len(known) == 1:
            return np.full(len(groups), next(iter(known.values())))
        sizes = np.full(len(groups), np.nan)
        for number, size in known.items():
            sizes[groups == number] = size
        missing = np.isnan(sizes)
        if missing.any():
            row = int(np.argmax(missing))
            raise SourceError(
                f"{path}: row {first_row + row} is of optics group {groups[row]:g}, for which "
                f"data_optics has no _{PIXEL_SIZE}: add it"
            )
        return sizes


def rotation_vectors(angles_deg: Array) -> Array:
    """Rotation vectors v (N, 3), rad, with exp(v) = Rz(rot) Ry(tilt) Rz(psi), of (N, 3) angles."""
    return convert(angles_deg, "euler_zyz", "rotvec")


def _half_sets(subset: Array, first_row: int, path: str) -> Array:
    """Half-sets 0 and 1 of RELION's 1 and 2; other whole numbers above 0 as they come."""
    bad = ~((subset >= 1) & (subset == np.floor(subset)) & (subset < 2**31))
    if bad.any():
        row = int(np.argmax(bad))
        raise SourceError(
            f"{path}: _{SUBSET} is {subset[row]:g} in row {first_row + row}, not 1 or 2: repair it"
        )
    return (subset - 1).astype(HALF_SET_DTYPE)
