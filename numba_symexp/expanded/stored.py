"""What must stand in an expanded table of format version 1, and what it says of itself."""

import json
from typing import Any

import h5py
import numpy as np

from numba_symexp.errors import (
    FileFormatError,
    SymmetryError,
    VersionTooNewError,
    VersionTooOldError,
)
from numba_symexp.formats.hdf5.table import Hdf5Table
from numba_symexp.particles.schema import (
    DEFOCUS,
    DEFOCUS_SIGNS,
    FORMAT,
    FORMAT_VERSION,
    OPERATOR_INDEX,
    OPERATORS,
    POSE_FORMATS,
    SOURCE,
    SOURCE_INDEX,
    PoseFormat,
)
from numba_symexp.symmetry.operators import FARTHEST_A, MAX_OPERATORS, Operators, Symmetry
from numba_symexp.symmetry.spec import Unknown, parse

_SOURCE_TEXTS = ("path", "absolute_path", "relative_path", "table", "fingerprint")
_OPERATOR_SHAPES = {"quaternion": (4,), "translation_A": (3,), "rise_index": (), "full_index": ()}


def check_format(table: Hdf5Table) -> None:
    """Refuse what is not a whole expanded table of a version that is known."""
    path = table.path
    if not table.says("format", FORMAT):
        raise FileFormatError(
            f"{path}: not an expanded table: expand it first, or open it with h5py"
        )
    version = table.attributes.get("format_version")
    if not isinstance(version, int | np.integer):
        raise FileFormatError(f"{path}: has no format version: expand again")
    if version > FORMAT_VERSION:
        raise VersionTooNewError(
            f"{path}: has format version {version}, and {FORMAT_VERSION} is the newest that this "
            "numba_symexp knows: install a newer one"
        )
    if version < FORMAT_VERSION:
        raise VersionTooOldError(f"{path}: has format version {version}: expand again")
    if not table.says("complete", 1):
        raise FileFormatError(f"{path}: an expansion that was not finished: expand again")


def read_source(file: h5py.File) -> dict[str, Any]:
    """What /source says; ValueError or KeyError where that is not what it must be."""
    attributes = file[SOURCE].attrs
    record: dict[str, Any] = {name: attributes[name] for name in _SOURCE_TEXTS}
    if not all(isinstance(text, str) for text in record.values()):
        raise ValueError("/source has other things than text")
    rows = attributes["n_rows"]
    if not isinstance(rows, int | np.integer) or rows < 0:
        raise ValueError(f"n_rows is {str(rows)[:40]}")
    return {**record, "n_rows": int(rows)}


def read_operators(file: h5py.File, attributes: dict[str, Any]) -> Operators:
    """Operators of an expanded table."""
    group = file[OPERATORS]
    order = len(group["label"])
    for name, shape in _OPERATOR_SHAPES.items():
        values = group[name]
        if values.shape != (order, *shape) or not np.all(np.abs(values[()]) < FARTHEST_A):
            raise ValueError(f"{OPERATORS}/{name} is no such column of {order} operators")
    center_A = np.array(group.attrs.get("center_A", np.zeros(3)), np.float64)
    full_order = int(group.attrs.get("full_order", order))
    if center_A.shape != (3,) or not np.all(np.abs(center_A) < FARTHEST_A):
        raise ValueError(f"{OPERATORS} has a centre that is no point")
    most = int(group["full_index"][()].max(initial=0))
    if not max(order, most + 1) <= full_order <= MAX_OPERATORS:
        raise ValueError(f"{OPERATORS} has {order} operators of {full_order}")
    typed = bool(group.attrs.get("typed", 0))
    return Operators(
        quaternion=group["quaternion"][()],
        translation_A=group["translation_A"][()],
        label=tuple(label.decode() for label in group["label"][()]),
        symmetry=_symmetry(str(attributes["symmetry"]), str(attributes["convention"]), typed),
        kind=str(group.attrs["kind"]),
        rise_index=group["rise_index"][()],
        full_index=group["full_index"][()],
        full_order=full_order,
        chosen=str(group.attrs.get("chosen", "")),
        subgroup=group["subgroup"][()] if "subgroup" in group else np.zeros(0, np.uint16),
        center_A=center_A,
    )


def _symmetry(name: str, convention: str, typed: bool) -> Symmetry:
    """Symmetry of a stored name; `verify` says of an unknown one that it is none."""
    try:
        return parse(name, convention, typed)
    except SymmetryError:
        return Unknown(name, convention)


def pose_columns(table: Hdf5Table) -> tuple[str, str, PoseFormat]:
    """Names of the pose and shift columns, which the fingerprint is made of, and the format.

    Raises
    ------
    FileFormatError
        One of the columns that every expanded table has is missing, or of another kind.
    """
    parts = {SOURCE_INDEX: SOURCE_INDEX, OPERATOR_INDEX: OPERATOR_INDEX}
    pose_format = ""
    for name in table.columns:
        attributes = table.column_attributes(name)
        parts[str(attributes.get("part"))] = name
        if attributes.get("part") == "pose":
            pose_format = str(attributes.get("pose_format"))
    known = POSE_FORMATS.get(pose_format, POSE_FORMATS["rotvec"])
    for part, shape, kind in (
        ("pose", known.shape, "f"),
        ("shift", (2,), "f"),
        (SOURCE_INDEX, (), "u"),
        (OPERATOR_INDEX, (), "u"),
    ):
        column = table.columns.get(parts.get(part, ""))
        if column is None or column.shape != shape or column.dtype.kind != kind:
            raise FileFormatError(f"{table.path}: {part} is {column or 'missing'}: expand again")
    if known.name != pose_format:
        raise FileFormatError(f"{table.path}: pose format {pose_format[:40]!r} is unknown")
    return parts["pose"], parts["shift"], known


def defocus_columns(table: Hdf5Table) -> dict[str, float]:
    """Columns whose defocus moved with the depth of the centre, and by how many depths.

    Raises
    ------
    FileFormatError
        Such a column is no defocus.
    """
    found: dict[str, float] = {}
    for name, column in table.columns.items():
        attributes = table.column_attributes(name)
        if attributes.get("part") == "defocus":
            sign = DEFOCUS_SIGNS.get(str(attributes.get("sign")))
            known = name in (*DEFOCUS, *DEFOCUS.values())
            if sign is None or not known or column.shape or column.dtype.kind != "f":
                raise FileFormatError(f"{table.path}: {name} is no defocus: expand again")
            found[name] = sign
    return found


def read_provenance(table: Hdf5Table) -> dict[str, Any]:
    """How a table was made.

    Raises
    ------
    FileFormatError
        The record is missing or damaged.
    """
    try:
        record = json.loads(str(table.attributes["provenance"]))
        if isinstance(record["parameters"], dict):
            return dict(record)
    except (KeyError, TypeError, ValueError):
        pass
    raise FileFormatError(f"{table.path}: its provenance is damaged: expand again")
