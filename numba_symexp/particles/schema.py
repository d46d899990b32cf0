"""Names, types and units of the columns, and of the format of the expanded table."""

from dataclasses import dataclass

import numpy as np

FORMAT = "numba_symexp/expanded-particles"
FORMAT_VERSION, NEWEST_VERSION = 1, 2
"""Version 2 is that of tables which version 1 cannot say: shifts have a z, or rows are left out."""

SELECTION, SELECTION_VERSION = "selection", 2
"""Attribute of a table of which rows were left out, and its version: JSON, a list of steps."""

TABLE = "/particles"
OPERATORS = "/operators"
SOURCE = "/source"

POSE = "alignments3D/pose"
SHIFT = "alignments3D/shift"
PSIZE = "alignments3D/psize_A"
BLOB_PSIZE = "blob/psize_A"
SPLIT = "alignments3D/split"
UID = "uid"
TUBE = "filament/filament_uid"
SOURCE_INDEX = "source_index"
OPERATOR_INDEX = "operator_index"
DEFOCUS = {"ctf/df1_A": "rlnDefocusU", "ctf/df2_A": "rlnDefocusV"}
"""Columns of the defocus, in A: CryoSPARC's names and RELION's."""

DEFOCUS_SIGNS = {"minus": -1.0, "plus": 1.0}
"""How many depths of the center the defocus moves by."""

CRYOSPARC_EXPANDED = "sym_expand/"
"""Columns of CryoSPARC's own Symmetry Expansion start with this."""

SOURCE_LABEL, OPERATOR_LABEL = "symexpSource", "symexpOperator"
"""Labels of an expanded .star: the id of the particle, and the number of the operator.

Where particles have no ids, it is their row. RELION keeps labels that it does not know.
"""

ARRANGEMENT, LABELS = "arrangement", "labels"
ARRANGEMENT_LABEL, TURNED_BY_LABEL, LABELS_LABEL = (
    "symexpArrangement",
    "symexpTurnedBy",
    "symexpLabels",
)
"""What `arrange` says of particles: columns, beside ``operator_index``, and labels of a .star."""

DYNAMO_TAG, DYNAMO_PARENT = "dynamo/tag", "dynamo/otag"
"""Columns of every table that came from Dynamo; a copy's parent is the tag of its particle."""

TURNED_WHEN_CUT = "rlnTomoSubtomogramRot"
"""Says that subtomograms were turned when they were cut out: their poses may all be zero then."""

ORIGIN_Z = ("rlnOriginZAngst", "rlnOriginZ")
"""Third origins of subtomograms, as RELION calls them."""

CONVENTION = "convention"
REPEATED_IMAGES = "repeated_images"
"""Attributes of a table: where the dyads of Dn lie, and how many rows show an image again."""

CONVENTION_DOUBT = "convention_doubt"
"""Attribute of a table whose convention is assumed: what speaks against it."""

CONVENTION_FIELD = "numba_symexp/convention"
"""Field of a .cs, the same in all rows, that says so where it is not CryoSPARC's.

It has a slot of its own, which the result group does not name: CryoSPARC does not take it along,
so that it goes when the poses are refined anew. A header of NumPy has no place for more keys.
"""

HALF_SET_DTYPE = np.dtype("<u4")
UID_DTYPE = np.dtype("<u8")
OPERATOR_INDEX_DTYPE = np.dtype("<u2")


def source_index_dtype(n_sources: int) -> np.dtype[np.unsignedinteger]:
    """Smallest of uint32 and uint64 that holds every source row."""
    return np.dtype("<u4") if n_sources <= 2**32 else np.dtype("<u8")


@dataclass(frozen=True)
class PoseFormat:
    """One way to write the rotation exp(v), image frame -> map frame.

    Attributes
    ----------
    name : str
        As the parameter ``pose_format`` takes it.
    shape : tuple of int
        Shape of one pose.
    units, description : str
        Attributes of the written column.
    """

    name: str
    shape: tuple[int, ...]
    units: str
    description: str


POSE_FORMATS = {
    known.name: known
    for known in (
        PoseFormat("rotvec", (3,), "rad", "rotation vector v; exp(v) maps image to map"),
        PoseFormat("quaternion", (4,), "1", "quaternion of exp(v), image to map; scalar first"),
        PoseFormat("matrix", (3, 3), "1", "rotation matrix exp(v), image to map"),
        PoseFormat("euler_zyz", (3,), "deg", "rot, tilt, psi: Rz(rot) Ry(tilt) Rz(psi) = exp(v)"),
    )
}

SHIFT_SHAPES: tuple[tuple[int, ...], ...] = ((2,), (3,))
"""Shapes of a shift: in the plane of the image, or in the frame of a subtomogram."""

SHIFT_TEXTS: dict[tuple[int, ...], tuple[str, str]] = {
    (2,): ("px", "in-plane shift s: x_image = (A x_map)_xy - s, A = exp(v)^T"),
    (3,): ("px", "shift s of a subtomogram: x_subtomogram = A x_map - s, A = exp(v)^T"),
}
"""Units and description of a column of shifts."""


def units_of(column: str) -> str:
    """Units that a CryoSPARC column name ends in: ``ctf/df1_A`` is in A; else dimensionless."""
    suffix = column.rpartition("_")[2]
    return suffix if suffix in {"A", "A2", "rad", "deg", "px", "kv", "mm"} else "1"
