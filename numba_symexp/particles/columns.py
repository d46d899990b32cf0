"""Which column of a table plays which part: pose, shift, pixel size, id, half-set."""

from dataclasses import dataclass

import numpy as np

from numba_symexp.errors import SourceError, UsageError
from numba_symexp.particles.schema import (
    CRYOSPARC_EXPANDED,
    FORMAT,
    OPERATOR_INDEX,
    POSE,
    POSE_FORMATS,
    PSIZE,
    REPEATED_IMAGES,
    SHIFT,
    SOURCE_INDEX,
    SPLIT,
    TUBE,
    UID,
    PoseFormat,
)
from numba_symexp.particles.table import ParticleTable
from numba_symexp.types import Array

_FLAT = ("alignments2D/", "rlnAnglePsi")
"""Columns of particles that were aligned in 2D start with one of these."""


@dataclass(frozen=True)
class PoseColumns:
    """Names of the columns that an expansion reads; None where the table has none.

    ``psize`` is None too where one pixel size was given for all rows.
    """

    pose: str
    pose_format: PoseFormat
    shift: str
    psize: str | None
    uid: str | None
    split: str | None
    tube: str | None

    def names(self) -> list[str]:
        """Names of the columns that are there."""
        parts = (self.pose, self.shift, self.psize, self.uid, self.split, self.tube)
        return [name for name in parts if name is not None]


def find_columns(
    table: ParticleTable,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    psize_given: bool = False,
) -> PoseColumns:
    """Find the columns of a table and check their shapes and dtypes.

    Parameters
    ----------
    table : ParticleTable
        An open table.
    pose, shift : str, optional
        Columns by name, where they are not CryoSPARC's.
    pose_format : str
        One of ``POSE_FORMATS``.
    psize_given : bool
        The pixel size comes from elsewhere: a column of it is not looked at.

    Raises
    ------
    UsageError
        The pose format is unknown.
    SourceError
        A column is missing, or of the wrong shape or dtype, or the columns differ in length.
    """
    known = format_named(pose_format)
    pose_name = _named(table, pose, POSE, "pose")
    shift_name = _named(table, shift, SHIFT, "shift")
    _require(table, pose_name, known.shape, "f", f"a pose as {known.name}")
    _require(table, shift_name, (2,), "f", "a shift")
    optional: dict[str, str | None] = {}
    for name, kinds, meaning in (
        (PSIZE, "f", "a pixel size"),
        (UID, "ui", "an id"),
        (SPLIT, "ui", "a half-set"),
        (TUBE, "ui", "a tube's id"),
    ):
        optional[name] = name if name in table.columns else None
        if name in table.columns and not (name == PSIZE and psize_given):
            _require(table, name, (), kinds, meaning)
    if psize_given:
        optional[PSIZE] = None
    _ = table.n_rows
    return PoseColumns(
        pose_name,
        known,
        shift_name,
        optional[PSIZE],
        optional[UID],
        optional[SPLIT],
        optional[TUBE],
    )


def format_named(name: str) -> PoseFormat:
    """Pose format of that name.

    Raises
    ------
    UsageError
        There is none.
    """
    if name not in POSE_FORMATS:
        raise UsageError(
            f"pose format {name!r} is unknown: choose one of {', '.join(POSE_FORMATS)}"
        )
    return POSE_FORMATS[name]


def expanded_by(table: ParticleTable) -> str | None:
    """Name the program that expanded this table already, or None."""
    ours = table.says("format", FORMAT)
    if ours or {SOURCE_INDEX, OPERATOR_INDEX} <= table.columns.keys():
        return "numba_symexp"
    if any(name.startswith(CRYOSPARC_EXPANDED) for name in table.columns):
        return "CryoSPARC"
    if table.attributes.get(REPEATED_IMAGES):
        return "some program (its images repeat)"
    return None


def native(column: Array) -> Array:
    """Rows in this processor's byte order, one after the other in memory."""
    return np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("="))


def _named(table: ParticleTable, given: str | None, default: str, meaning: str) -> str:
    """Name of a column that must be there."""
    inside = table.location.strip("/") + "/"
    name = default if given is None else given.strip("/").removeprefix(inside)
    if name not in table.columns:
        missing = f"{table.path}: no {meaning} column {name} in {table.location}"
        if given is None and any(each.startswith(_FLAT) for each in table.columns):
            raise SourceError(
                f"{missing}: it has 2D alignments only: give the particles of a 3D refinement"
            )
        hint = f"name it with --{meaning}" if given is None else "check the name"
        raise SourceError(
            f"{missing} (columns: {table.listed()}): {hint}, or the table with --table"
        )
    return name


def _require(
    table: ParticleTable, name: str, shape: tuple[int, ...], kinds: str, meaning: str
) -> None:
    """Refuse a column that cannot be what it should be."""
    column = table.columns[name]
    wide = "f" in kinds and column.dtype.itemsize not in (4, 8)
    if column.shape == shape and column.dtype.kind in kinds and not wide:
        return
    rows = ", ".join(["N", *map(str, shape)]) + ("," if not shape else "")
    wanted = "float32 or float64" if "f" in kinds else "integer"
    raise SourceError(
        f"{table.path}: {name} is {column}, but {meaning} is ({rows}) {wanted}: "
        "name the right column, or convert it"
    )
