"""Poses and places of subtomograms in their tomograms, from the columns of any program."""

import abc

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.dynamo.table import ANGLES as DYNAMO_ANGLES
from numba_symexp.formats.dynamo.table import APIX, OFFSETS
from numba_symexp.formats.relion.labels import (
    ANGLES,
    COORDINATES_A,
    COORDINATES_PX,
    M_SOURCES,
    PARTICLE_NAME,
    SUBSET,
    SUBTOMOGRAM_ANGLES,
    TILT_SERIES_PX,
    TOMO_NAME,
    LabelReader,
)
from numba_symexp.formats.relion.m_labels import MReader
from numba_symexp.formats.relion.optics import Optics
from numba_symexp.formats.relion.text import OPTICS_GROUP
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.schema import DYNAMO_TAG, POSE, PSIZE, SHIFT
from numba_symexp.particles.table import DYNAMO, RELION, ParticleTable
from numba_symexp.particles.words import numbers
from numba_symexp.symmetry.quaternions import multiply

M = "m"
"""Vocabulary of M, as a target: its files are .star, as RELION's."""

COORDINATES, UNBINNED = COORDINATES_PX, TILT_SERIES_PX
CLASS = "rlnClassNumber"
M_PLACES = MReader((), Optics()).origins_of(3)
DYNAMO_PLACES = ("dynamo/x", "dynamo/y", "dynamo/z")


class Placed(abc.ABC):
    """Reader of whole poses and places of the subtomograms of a table.

    Attributes
    ----------
    used : set of str
        Columns that something is made of.
    names : str
        Column of the tomogram.
    class_name : str or None
        Column of the class.
    has_psize : bool
        Whether the table's A per pixel is that of images or coordinates, where it has one.
    """

    names: str
    class_name: str | None
    has_psize: bool = True

    def __init__(self, source: ParticleTable, psize_A: float | None = None) -> None:
        self.source, self._psize_A = source, psize_A
        self.used: set[str] = set()

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> tuple[Array, Array]:
        """Quaternions of exp(v), tomogram to map, (n, 4), and places (n, 3) in A."""

    def _pose(self, start: int, stop: int) -> dict[str, Array]:
        """Pose as quaternion, shift, and A per pixel, of some rows."""
        size = [PSIZE] if self._psize_A is None else []
        rows = self.source.read([POSE, SHIFT, *size], start, stop)
        rows.setdefault(PSIZE, np.full(stop - start, self._psize_A))
        rows[POSE] = convert(rows[POSE], "rotvec", "quaternion")
        return rows


class OfRelion(Placed):
    """Of RELION: two sets of angles, an origin, and a coordinate of the unbinned tilt series."""

    def __init__(self, source: ParticleTable, psize_A: float | None = None) -> None:
        super().__init__(source, psize_A)
        header = source.header
        assert header is not None  # which the vocabulary says
        self._reader = LabelReader.of(header)
        self.names = TOMO_NAME if TOMO_NAME in source.columns else "rlnMicrographName"
        self.class_name = CLASS if CLASS in source.columns else None
        missing = [label for label in (*COORDINATES, self.names) if label not in source.columns]
        if missing or UNBINNED not in self._reader.optics:
            lacks = missing or [UNBINNED]
            why = ""
            if lacks[0] in COORDINATES and COORDINATES_A[0] in source.columns:
                why = (
                    f" (_{COORDINATES_A[0]} counts from the middle of the tomogram, whose size "
                    "the file does not have)"
                )
            raise SourceError(
                f"{source.path}: has no _{lacks[0]}, of which another program's coordinates are "
                f"made{why}: add it"
            )
        self.has_psize = self._reader.has_pixel_size
        self._turned = SUBTOMOGRAM_ANGLES[0] in source.columns
        self.used = {*COORDINATES, *SUBTOMOGRAM_ANGLES, *ANGLES, *self._reader.origins}
        self.used |= {self.names, CLASS, SUBSET, OPTICS_GROUP, PARTICLE_NAME}

    def read(self, start: int, stop: int) -> tuple[Array, Array]:
        """exp_full = exp(v) exp_sub, and coordinate - A_sub o with A_sub = exp_sub^T."""
        source, count = self.source, stop - start
        rows = self._pose(start, stop)
        labels = [*COORDINATES, *(SUBTOMOGRAM_ANGLES if self._turned else ())]
        groups = [OPTICS_GROUP] if OPTICS_GROUP in source.columns else []
        words = source.read([*labels, *groups], start, stop)
        told = {
            each: numbers(words[each], f"{source.path}: _{each}", start, source.row_number)
            for each in labels
        }
        unbinned_A = self._reader.optics.of_rows(
            words.get(OPTICS_GROUP), UNBINNED, count, source.path, start, source.row_number
        )
        place_A = np.stack([told[each] for each in COORDINATES], axis=1) * unbinned_A[:, None]
        origin_A = rows[SHIFT] * rows[PSIZE][:, None]
        pose = rows[POSE]
        if self._turned:
            angles = np.stack([told[each] for each in SUBTOMOGRAM_ANGLES], axis=1)
            cut = convert(angles, "euler_zyz", "quaternion")
            pose = multiply(pose, cut)
            turned = convert(cut, "quaternion", "matrix")
            origin_A = np.einsum("nji,nj->ni", turned, origin_A)
        return pose, place_A - origin_A


class OfDynamo(Placed):
    """Of Dynamo: one pose, and a coordinate with an offset, in pixels."""

    names, class_name = "dynamo/tomo", "dynamo/class"

    def __init__(self, source: ParticleTable, psize_A: float | None = None) -> None:
        super().__init__(source, psize_A)
        self.used = {*DYNAMO_PLACES, *OFFSETS, *DYNAMO_ANGLES, APIX}
        self.used |= {self.names, self.class_name, DYNAMO_TAG}

    def read(self, start: int, stop: int) -> tuple[Array, Array]:
        """The pose, and (x + dx) times A per pixel."""
        rows = self._pose(start, stop)
        words = self.source.read(DYNAMO_PLACES, start, stop)
        place = [
            numbers(each, f"{self.source.path}: {name}", start, self.source.row_number)
            for name, each in words.items()
        ]
        return rows[POSE], (np.stack(place, axis=1) - rows[SHIFT]) * rows[PSIZE][:, None]


class OfM(Placed):
    """Of M: the first pose and place."""

    class_name = None
    has_psize = False

    def __init__(self, source: ParticleTable, psize_A: float | None = None) -> None:
        super().__init__(source, psize_A)
        self.names = next((label for label in M_SOURCES if label in source.columns), "")
        if not self.names:
            raise SourceError(f"{source.path}: has no _wrpSourceName: add it")
        self.used = {*M_SOURCES, MReader.subset, *MReader.angles, *M_PLACES}

    def read(self, start: int, stop: int) -> tuple[Array, Array]:
        """The pose and the place."""
        rows = self._pose(start, stop)
        return rows[POSE], -rows[SHIFT]


def program_of(table: ParticleTable) -> str:
    """Whose subtomograms a table has: relion, dynamo or m."""
    if table.vocabulary == DYNAMO:
        return DYNAMO
    return M if MReader.angles[0] in table.columns else RELION


def placed_of(source: ParticleTable, psize_A: float | None = None) -> Placed:
    """Return the reader of poses and places of a table; ``psize_A`` counts before its own."""
    program = program_of(source)
    if program == DYNAMO:
        return OfDynamo(source, psize_A)
    return OfM(source, psize_A) if program == M else OfRelion(source, psize_A)
