"""Which column of a table plays which part: pose, shift, pixel size, id, half-set."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.kinds import CS
from numba_symexp.particles.schema import (
    BLOB_PSIZE,
    CRYOSPARC_EXPANDED,
    DYNAMO_TAG,
    FORMAT,
    OPERATOR_INDEX,
    POSE,
    POSE_FORMATS,
    PSIZE,
    REPEATED_IMAGES,
    SHIFT,
    SHIFT_SHAPES,
    SOURCE_INDEX,
    SOURCE_LABEL,
    SPLIT,
    TUBE,
    UID,
    PoseFormat,
)
from numba_symexp.particles.table import DYNAMO, RELION, Column, ParticleTable

_SUBSET = "rlnRandomSubset"

_HALF_SETS = (0, 1, 2)
"""Numbers that half-sets have, CryoSPARC's and RELION's."""

_FIRST_ROWS = 64
"""Two half-sets are almost always seen in so many."""

_FLAT = ("alignments2D/", "rlnAnglePsi")
"""Columns of particles that were aligned in 2D start with one of these."""


@dataclass(frozen=True)
class PoseColumns:
    """Names of the columns that an expansion reads; None where the table has none.

    ``psize`` is None too where one pixel size was given for all rows, and ``split`` where all rows
    are in one half-set.
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
    into_A: bool = False,
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
    into_A : bool
        Shifts must be turned into A, so that the images' pixel size does where there is no other.

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
    _require(table, pose_name, (known.shape,), "f", f"a pose as {known.name}")
    _require(table, shift_name, SHIFT_SHAPES, "f", "a shift")
    psize = None if psize_given else pixel_size_column(table.columns, shift_name, into_A)
    split = half_set_column(table.columns, pose_name)
    uid, tube = (name if name in table.columns else None for name in (UID, TUBE))
    _require_parts(table, psize, uid, split, tube)
    _ = table.n_rows
    if split is not None and only_half_set(table, split) is not None:
        split = None
    return PoseColumns(pose_name, known, shift_name, psize, uid, split, tube)


def columns_of_copies(table: ParticleTable, pose: str, pose_format: str, shift: str) -> PoseColumns:
    """Columns of the rows of an expanded table, whose pose and shift are known.

    Raises
    ------
    SourceError
        One has the wrong shape or dtype.
    """
    uid, split, tube = (name if name in table.columns else None for name in (UID, SPLIT, TUBE))
    _require_parts(table, None, uid, split, tube)
    return PoseColumns(pose, POSE_FORMATS[pose_format], shift, None, uid, split, tube)


def _require_parts(
    table: ParticleTable, psize: str | None, uid: str | None, split: str | None, tube: str | None
) -> None:
    """Refuse columns that are there and are no numbers of their kind."""
    for column, kinds, meaning in (
        (psize, "f", "a pixel size"),
        (uid, "ui", "an id"),
        (split, "ui", "a half-set"),
        (tube, "ui", "a tube's id"),
    ):
        if column is not None:
            _require(table, column, ((),), kinds, meaning)


def pixel_size_column(
    columns: Mapping[str, Column],
    shift: str,
    into_A: bool = True,
) -> str | None:
    """Name of the column with the A per pixel of a shift: the one rule for it.

    In this order:

    1. The pixel size that was given (``psize=``) stands above every column; then this function is
       not asked.
    2. ``psize_A`` in the shift's own slot: ``alignments_class_1/shift`` goes with
       ``alignments_class_1/psize_A``.
    3. ``alignments3D/psize_A``, where the shift is that slot's or no slot of alignments has it.
    4. ``blob/psize_A``, the images' own, where shifts must be turned into A and no alignment has a
       pixel size: after a change of box the two differ.
    5. Else it is unknown, for which `unknown_pixel_size` is the error.

    Parameters
    ----------
    columns : mapping of str to Column
        Of the particles.
    shift : str
        Column of the shifts.
    into_A : bool
        Whether shifts must be turned into A.
    """
    slot = shift.rpartition("/")[0]
    own = f"{slot}/psize_A"
    if slot and own in columns:
        return own
    if not slot.startswith("alignments") and PSIZE in columns:
        return PSIZE
    images = columns.get(BLOB_PSIZE)
    lone = images is not None and not images.shape and images.dtype.kind == "f"
    return BLOB_PSIZE if into_A and lone and PSIZE not in columns else None


def without_given_psize(table: ParticleTable, psize_A: float | None) -> float | None:
    """A per pixel that was given, unless the table's own stands above it, as in Dynamo's.

    A warning says so then.
    """
    own = table.columns.keys() >= {DYNAMO_TAG, PSIZE}
    if psize_A is not None and own:
        warn(f"psize={psize_A:g} is left aside: {table.path} says A per pixel itself (apix)")
        return None
    return psize_A


def unknown_pixel_size(
    table: ParticleTable, shift: str, why: str, advice: str = "give psize=A_PER_PIXEL"
) -> SourceError:
    """Error for shifts whose A per pixel is unknown; ``why`` says what needs it."""
    slot = shift.rpartition("/")[0]
    wanted = f"{slot}/psize_A" if slot.startswith("alignments") else PSIZE
    return SourceError(
        f"{table.path}: no pixel size column {wanted} in {table.location} (columns: "
        f"{table.columns_in_words()}), and {why}: {advice}"
    )


def half_set_column(columns: Mapping[str, Column], pose: str) -> str | None:
    """Name of the column with the half-sets of a pose: its own slot's, else ``alignments3D``'s."""
    own = f"{pose.rpartition('/')[0]}/split"
    return next((name for name in (own, SPLIT) if name in columns), None)


def only_half_set(table: ParticleTable, name: str) -> int | None:
    """Half-set that all rows are in; None if there are two, one row, or no such half-set."""
    first, start, step = None, 0, _FIRST_ROWS
    while start < table.n_rows > 1:
        values = table.read([name], start, min(start + step, table.n_rows))[name]
        first = values[0] if first is None else first
        if (values != first).any():
            return None
        start, step = start + len(values), _STRIPE_ROWS
    return int(first) if first is not None and first in _HALF_SETS else None


def half_set_warning(table: ParticleTable, columns: PoseColumns) -> str:
    """Sentence about particles without two half-sets; empty where there are two."""
    if columns.split is not None:
        return ""
    name = half_set_column(table.columns, columns.pose)
    in_relion = table.vocabulary == RELION
    what = f"no half-sets ({_SUBSET if in_relion else SPLIT})"
    if table.vocabulary == DYNAMO:
        what = "no half-sets"
    if name is not None:
        only = only_half_set(table, name)
        if only is not None and in_relion:
            name, only = f"_{_SUBSET}", only + 1
        what = f"all rows are in one half-set, {only} of {name}"
    elif _SUBSET in table.columns:
        what = f"all rows have _{_SUBSET} 0, which is no half-set"
    return (
        f"{table.path}: {what}: programs that draw halves per row put copies of one particle into "
        "both; assign_halves=SEED draws them per particle"
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
    """Name the program that expanded this table already, or None.

    Several rows of one particle are an expansion: rows that share a particle's id
    (``sym_expand/src_uid``, ``symexpSource``), an image, an original image (RELION's Subtract
    names it) or, in a .star, a place in a micrograph or tomogram. One row a particle is none,
    whatever else it says.
    """
    ours = table.says("format", FORMAT)
    if ours or {SOURCE_INDEX, OPERATOR_INDEX} <= table.columns.keys():
        return "numba_symexp"
    if any(name.startswith(CRYOSPARC_EXPANDED) for name in table.columns):
        source_id = f"{CRYOSPARC_EXPANDED}src_uid"
        if source_id not in table.columns or _repeats(table, (source_id,)):
            return "CryoSPARC"
    if SOURCE_LABEL in table.columns and _repeats(table, (SOURCE_LABEL,)):
        return "numba_symexp"
    repeated = table.attributes.get(REPEATED_IMAGES, 0)
    if not isinstance(repeated, int | np.integer) or repeated:  # where it is damaged, it was there
        return "some program (its images repeat)"
    for what, names in _IMAGES.items():
        if all(name in table.columns for name in names) and _repeats(table, names):
            return f"some program (its {what} repeat)"
    where = next((name for name in _WHERE if name in table.columns), None)
    place = tuple(name for name in _COORDINATES if name in table.columns)
    if where and place and _repeats(table, (where, *place)):
        return f"some program (its places, _{where} and coordinates, repeat)"
    return None


_IMAGES = {"images": ("blob/path", "blob/idx"), "original images": ("rlnImageOriginalName",)}
_WHERE = ("rlnTomoName", "rlnMicrographName", "wrpSourceName", "dynamo/tomo")
_COORDINATES = (
    *("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ"),
    *("wrpCoordinateX1", "wrpCoordinateY1", "wrpCoordinateZ1"),
    *("dynamo/x", "dynamo/y", "dynamo/z"),
)
_ALL_ROWS, _STRIPES, _STRIPE_ROWS = 1 << 18, 16, 1 << 12
"""Larger tables are searched in stripes: copies stand side by side, or are found by chance."""


def _repeats(table: ParticleTable, names: tuple[str, ...]) -> bool:
    """Whether rows are equal in some columns; not where all rows are, as in a column of blanks."""
    if any(table.columns[name].dtype.kind not in "Suif" for name in names):
        return False
    n_rows, keys, last = table.n_rows, [], []
    starts = np.arange(0, n_rows, _STRIPE_ROWS)
    if n_rows > _ALL_ROWS:
        starts = np.linspace(0, n_rows - _STRIPE_ROWS, _STRIPES).astype(np.int64)
    for start in starts.tolist():
        rows = table.read(names, start, min(start + _STRIPE_ROWS, n_rows))
        keys.append(row_hashes([rows[name] for name in names]))
        last.append(row_hashes([rows[name] for name in names[1:] or names]))
    if not n_rows or len(np.unique(np.concatenate(last))) == 1:
        return False
    every = np.concatenate(keys)
    return len(np.unique(every)) < len(every)


def row_hashes(columns: list[Array]) -> Array:
    """64-bit number of each row of some columns: its bytes, eight at a time, times odd numbers."""
    value = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        width = -(-column.dtype.itemsize // 8) * 8
        padded = np.zeros((len(column), width), np.uint8)
        padded[:, : column.dtype.itemsize] = (
            np.ascontiguousarray(column).view(np.uint8).reshape(len(column), -1)
        )
        for word in padded.view(np.uint64).T:
            value = (value + word) * _ODD
            value ^= value >> np.uint64(29)
    return value


_ODD = np.uint64(0xBF58476D1CE4E5B9)


def native(column: Array) -> Array:
    """Rows in this processor's byte order, one after the other in memory."""
    return np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("="))


def _is_pose_of_slot(name: str) -> bool:
    """Whether a column has the poses of one class, such as ``alignments_class_1/pose``."""
    return re.fullmatch(r"alignments_class_\d+/pose", name) is not None


def _named(table: ParticleTable, given: str | None, default: str, meaning: str) -> str:
    """Name of a column that must be there."""
    inside = table.location.strip("/") + "/"
    name = default if given is None else given.strip("/").removeprefix(inside)
    if name not in table.columns:
        missing = f"{table.path}: no {meaning} column {name} in {table.location}"
        slots = [each.removesuffix("/pose") for each in table.columns if _is_pose_of_slot(each)]
        if given is None and name == POSE and slots:
            raise SourceError(
                f"{missing}: it has the poses of {' and '.join(slots)}: name one of them, such as "
                f"pose={slots[0]}/pose with shift={slots[0]}/shift"
            )
        if given is None and "passthrough" in os.path.basename(table.path):
            raise SourceError(
                f"{missing}: it is a passthrough file: give the particles of its job, and this one "
                "with passthrough="
            )
        if given is None and any(each.startswith(_FLAT) for each in table.columns):
            raise SourceError(
                f"{missing}: it has 2D alignments only: give the particles of a 3D refinement"
            )
        if given is None and table.path.lower().endswith(CS.suffixes):
            raise SourceError(
                f"{table.path}: no {meaning} column {name} (columns: {table.columns_in_words()}): "
                "give the particles of a 3D refinement; where another .cs of these particles has "
                "it, add that with passthrough="
            )
        hint = f"name it with {meaning}=" if given is None else "check the name"
        raise SourceError(
            f"{missing} (columns: {table.columns_in_words()}): {hint}, or the table with table="
        )
    return name


def _require(
    table: ParticleTable, name: str, shapes: Sequence[tuple[int, ...]], kinds: str, meaning: str
) -> None:
    """Refuse a column that cannot be what it should be."""
    column = table.columns[name]
    fits = column.is_single_or_double if kinds == "f" else column.dtype.kind in kinds
    if column.shape in shapes and fits:
        return
    rows = " or ".join(map(shape_in_words, shapes))
    wanted = "float32 or float64" if "f" in kinds else "integer"
    raise SourceError(
        f"{table.path}: {name} is {column}, but {meaning} is {rows} {wanted}: "
        "name the right column, or convert it"
    )


def shape_in_words(shape: tuple[int, ...]) -> str:
    """Shape of N rows of a shape, such as ``(N, 3)``."""
    return f"({', '.join(['N', *map(str, shape)])}{'' if shape else ','})"
