"""Which field of CryoSPARC is which label of RELION: one table, read both ways.

    label = sign * factor * field + offset

Whatever has no row here has no place on the other side, and is named when it is dropped. A sign
that is not known for certain has no row: so beam tilts, aberrations and anisotropic magnification
(`UNMATCHED`) are named, never guessed.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.formats.micrographs import FRACTIONS
from numba_symexp.formats.micrographs import SHAPE as MICROGRAPH_SHAPE
from numba_symexp.formats.relion.labels import (
    ANGLES,
    COORDINATES_PX,
    IMAGE,
    MICROGRAPH,
    ORIGINS_A,
    ORIGINS_PX,
    PIXEL_SIZE,
    SUBSET,
    TUBE_ID,
)
from numba_symexp.formats.relion.text import OPTICS_GROUP
from numba_symexp.particles.schema import (
    ARRANGEMENT,
    ARRANGEMENT_LABEL,
    LABELS,
    LABELS_LABEL,
    OPERATOR_INDEX,
    OPERATOR_INDEX_DTYPE,
    POSE,
    PSIZE,
    SHIFT,
    SPLIT,
    TUBE,
    TURNED_BY_LABEL,
)

PARTICLES, OPTICS = "particles", "optics"

_TEXT, _F4, _U4, _U8 = np.dtype("S"), np.dtype("<f4"), np.dtype("<u4"), np.dtype("<u8")
_DEG = 180.0 / np.pi


@dataclass(frozen=True)
class Correspondence:
    """One row of the table.

    Attributes
    ----------
    fields : tuple of str
        CryoSPARC's; the first is what the row is about.
    labels : tuple of str
        RELION's; the first is the one that is written.
    block : str
        Where the label stands since RELION 3.1; before, all labels are the particles'.
    factor, offset : float
    sign : int
        See the module.
    decimals : int
        Of the label.
    dtype : dtype
        Of the field.
    shape : tuple of int
        Of the field.
    needs_size : bool
        Whether it goes into a field only where the size of micrographs is known, which RELION's
        particles lack.
    is_number : bool
        Whether the formula is all; else the code that reads the row knows the rule.
    """

    fields: tuple[str, ...]
    labels: tuple[str, ...]
    block: str = PARTICLES
    factor: float = 1.0
    offset: float = 0.0
    sign: int = 1
    decimals: int = 6
    dtype: np.dtype[np.generic] = _F4
    shape: tuple[int, ...] = ()
    needs_size: bool = False
    is_number: bool = True

    @property
    def field(self) -> str:
        """Field that the row is about."""
        return self.fields[0]

    @property
    def label(self) -> str:
        """Label that the row is about."""
        return self.labels[0]

    def to_relion(self, values: Array) -> Array:
        """Numbers of the label, float64."""
        return self.sign * self.factor * values.astype(np.float64) + self.offset

    def to_cryosparc(self, values: Array) -> Array:
        """Numbers of the field, float64."""
        return (values - self.offset) * (self.sign / self.factor)


def _special(
    fields: tuple[str, ...],
    labels: tuple[str, ...],
    dtype: np.dtype[np.generic] = _F4,
    shape: tuple[int, ...] = (),
    needs_size: bool = False,
    block: str = PARTICLES,
) -> Correspondence:
    """Return a row whose rule is more than the formula."""
    return Correspondence(
        fields, labels, block, dtype=dtype, shape=shape, needs_size=needs_size, is_number=False
    )


IMAGE_PATH, IMAGE_INDEX = "blob/path", "blob/idx"
IMAGE_SHAPE, IMAGE_PSIZE = "blob/shape", "blob/psize_A"
MICROGRAPH_PATH = "location/micrograph_path"
GROUP, CLASS = "ctf/exp_group_id", "alignments3D/class"

CORRESPONDENCES = (
    _special((IMAGE_PATH,), (IMAGE,), _TEXT),
    _special((IMAGE_INDEX,), (IMAGE,), _U4),
    _special((MICROGRAPH_PATH,), (MICROGRAPH,), _TEXT, needs_size=True),
    _special((FRACTIONS[0], MICROGRAPH_SHAPE), COORDINATES_PX[:1], needs_size=True),
    _special((FRACTIONS[1], MICROGRAPH_SHAPE), COORDINATES_PX[1:2], needs_size=True),
    Correspondence(("ctf/df1_A",), ("rlnDefocusU",)),
    Correspondence(("ctf/df2_A",), ("rlnDefocusV",)),
    Correspondence(("ctf/df_angle_rad",), ("rlnDefocusAngle",), factor=_DEG),
    Correspondence(("ctf/phase_shift_rad",), ("rlnPhaseShift",), factor=_DEG),
    Correspondence(("ctf/bfactor",), ("rlnCtfBfactor",)),
    Correspondence(("ctf/scale",), ("rlnCtfScalefactor",)),
    _special((IMAGE_PSIZE,), (PIXEL_SIZE,), block=OPTICS),
    Correspondence(("ctf/accel_kv",), ("rlnVoltage",), OPTICS),
    Correspondence(("ctf/cs_mm",), ("rlnSphericalAberration",), OPTICS),
    Correspondence(("ctf/amp_contrast",), ("rlnAmplitudeContrast",), OPTICS),
    _special((IMAGE_SHAPE,), ("rlnImageSize",), _U4, (2,), block=OPTICS),
    _special((GROUP,), (OPTICS_GROUP,), _U4),
    Correspondence((CLASS,), ("rlnClassNumber",), offset=1, decimals=0, dtype=_U4),
    _special((TUBE, MICROGRAPH_PATH), (TUBE_ID,), _U8),
    Correspondence((ARRANGEMENT,), (ARRANGEMENT_LABEL,), decimals=0, dtype=_U4),
    Correspondence((OPERATOR_INDEX,), (TURNED_BY_LABEL,), decimals=0, dtype=OPERATOR_INDEX_DTYPE),
    _special((LABELS,), (LABELS_LABEL,), _TEXT),
    # the rows' own: the writers of poses and half-sets take these from the rows, not from here
    _special((POSE,), ANGLES, shape=(3,)),
    _special((SHIFT, PSIZE), (*ORIGINS_A, *ORIGINS_PX), shape=(2,)),
    Correspondence((SPLIT,), (SUBSET,), offset=1, decimals=0, dtype=_U4),
)
"""All that is known for certain, in the order in which fields are written."""

TAGS = (ARRANGEMENT, OPERATOR_INDEX, LABELS)
"""Fields of `arrange`, which go together: alone, one of these names may mean anything."""

FROM_ROWS = (POSE, SHIFT, SPLIT)
"""Fields of the rows themselves."""

UNMATCHED: dict[str, tuple[str, ...]] = {
    "ctf/tilt_A": ("rlnBeamTiltX", "rlnBeamTiltY"),
    "ctf/trefoil_A": ("rlnOddZernike",),
    "ctf/tetra_A": ("rlnEvenZernike",),
    "ctf/anisomag": ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11"),
    "ctf/shift_A": (),
    "": ("rlnCtfDataAreCtfPremultiplied", "rlnCtfDataArePhaseFlipped"),
}
"""Field -> labels of what changes an image, and whose rule or sign is not known for certain.

pyem has ``tilt_A = 1e7 cs_mm sin(tilt)``, with a sign that nobody compared, and the elements of the
magnification matrix as they are, untried; nothing is known of the others. They are not converted.
Where they are not what an image without them has, a warning names them.
"""

_ONES = ("rlnMagMat00", "rlnMagMat11")


def is_neutral(label: str, words: Array) -> bool:
    """Whether all words (n,) of a label say what an image without aberrations has."""
    wanted = 1.0 if label in _ONES else 0.0
    for word in np.unique(words).tolist():
        parts = word.strip(b"\0 \"'[]()").replace(b",", b" ").split()
        try:
            if any(float(part) != wanted for part in parts):
                return False
        except ValueError:
            return False
    return True


def not_converted(path: str, names: Collection[str], program: str) -> str:
    """Sentence about aberrations that a file for a program will lack; empty without any."""
    if not names:
        return ""
    return (
        f"{path}: left out, because no rule for them is known for certain: {', '.join(names)}; "
        f"{program} will take the images to be without them: estimate aberrations again there"
    )


STRUCTURE = ("rlnOpticsGroupName", "rlnImageDimensionality")
"""Labels that say how a .star is built, and nothing of a particle."""


def rows_of(block: str) -> tuple[Correspondence, ...]:
    """Rows of a block, without those that the writers take from the rows themselves."""
    return tuple(
        each for each in CORRESPONDENCES if each.block == block and each.field not in FROM_ROWS
    )
