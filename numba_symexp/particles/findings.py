"""What is wrong or odd in rows of poses, shifts and pixel sizes: reason, first row, how many."""

from collections.abc import Callable
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.particles.schema import PoseFormat
from numba_symexp.particles.table import ParticleTable

LONGEST_RAD = 1e6
"""A float32 vector of this length no longer tells one rotation from another."""

SUSPECT_RAD = 20.0
"""Refinement programs stay below; degrees taken for radians do not."""

_UNIT_TOLERANCE = 1e-3
"""How far from length 1, or from orthonormal, a stored rotation may be: text with 4 digits is."""

_FLAT = 1e-6
"""Less than any refinement tilts a particle by."""


class Findings:
    """Count the rows to which something applies, over all blocks of a table.

    Parameters
    ----------
    row_number : callable, optional
        Gives the number of a row in its file, where the table holds some rows of it.
    """

    def __init__(self, row_number: Callable[[int], int] = int) -> None:
        self._row_number = row_number
        self._first: dict[str, int] = {}
        self._count: dict[str, int] = {}

    def add(self, reason: str, rows: Any, first_row: int) -> None:
        """Count the rows of a mask, whose first row is ``first_row`` of the table."""
        count = int(np.count_nonzero(rows))
        if count:
            self._first.setdefault(reason, first_row + int(np.argmax(rows)))
            self._count[reason] = self._count.get(reason, 0) + count

    def __bool__(self) -> bool:
        return bool(self._count)

    def first(self) -> tuple[str, int]:
        """The first reason that was found, and the first row to which it applies."""
        return next(iter(self._first.items()))

    def lines(self) -> list[str]:
        """One sentence for each reason."""
        number = self._row_number
        return [
            f"{reason}: first in row {number(first)}, {self._count[reason]:,} row(s) in all"
            for reason, first in self._first.items()
        ]


def check_pose(pose: Array, known: PoseFormat, name: str, row: int, bad: Findings) -> None:
    """Find poses that are no rotation.

    Parameters
    ----------
    pose : (n, ...) float array
        In the shape of the format.
    known : PoseFormat
        What the numbers mean.
    name : str
        Of the column, for messages.
    row : int
        Row of the table that the array starts with.
    bad : Findings
        Takes what is found.
    """
    if not _finite(pose, name, row, bad):
        return
    if known.name == "quaternion":
        length = np.sqrt(np.sum(np.square(pose, dtype=np.float64), axis=1))
        bad.add(f"{name} is not a quaternion of length 1", _off(length, 1.0), row)
    elif known.name == "matrix":
        matrix = pose.astype(np.float64)
        gram = matrix @ matrix.swapaxes(1, 2)
        skewed = _off(gram, np.eye(3)).reshape(len(pose), -1).any(axis=1)
        bad.add(f"{name} is not an orthonormal matrix", skewed, row)
        mirror = ~skewed & (np.linalg.det(matrix) < 0)
        bad.add(f"{name} is a mirror image (determinant -1)", mirror, row)
    else:
        limit = LONGEST_RAD if known.name == "rotvec" else np.rad2deg(LONGEST_RAD)
        if pose.size and np.abs(pose).max() > limit:
            long = (np.abs(pose) > limit).any(axis=1)
            bad.add(f"{name} is over {limit:.0e} {known.units}, no angle", long, row)


def check_shift(shift: Array, name: str, row: int, bad: Findings) -> None:
    """Find shifts that are no numbers."""
    _finite(shift, name, row, bad)


def check_psize(psize_A: Array, name: str, row: int, bad: Findings) -> None:
    """Find pixel sizes that are no lengths."""
    if _finite(psize_A, name, row, bad):
        bad.add(f"{name} is not above 0", psize_A <= 0, row)


def refuse_no_length(values: Array, name: str, rows: Array, table: ParticleTable) -> None:
    """Refuse pixel sizes that are no lengths, of a column which is used or written besides.

    Parameters
    ----------
    values : (n, ...) float array
        A per pixel; other columns than of numbers are left alone.
    name : str
        Of the column.
    rows : (n,) int
        Row of the table for each.
    table : ParticleTable

    Raises
    ------
    SourceError
        Names the first such row.
    """
    if values.dtype.kind not in "fiu" or not values.size:
        return
    good = np.isfinite(values) & (values > 0)
    bad = np.asarray(~good.reshape(len(values), -1).all(axis=1))
    if bad.any():
        raise SourceError(
            f"{table.path}: {name} is not above 0 in row "
            f"{table.row_number(int(rows[np.argmax(bad)]))} "
            f"({np.count_nonzero(bad):,} of {len(bad):,} rows that were looked at): repair it"
        )


def without_score(path: str, name: str, missing: int, rows: int) -> str:
    """Sentence about rows whose score is no number; empty where there are none."""
    if not missing:
        return ""
    return f"{path}: {name} is NaN in {missing:,} of {rows:,} rows: these copies come last"


def odd_poses(pose: Array, known: PoseFormat, name: str, row: int, odd: Findings) -> None:
    """Find poses that can be expanded but may not be what they seem."""
    if known.name in ("rotvec", "euler_zyz"):
        unturned = ~pose.any(axis=1)
    else:
        identity = np.eye(3) if known.name == "matrix" else np.array([1.0, 0.0, 0.0, 0.0])
        unturned = (pose == identity).reshape(len(pose), -1).all(axis=1)
    odd.add(f"{name} is the zero rotation, which may mean never aligned", unturned, row)
    if known.name == "rotvec" and pose.size and np.abs(pose).max() > SUSPECT_RAD:
        long = np.linalg.norm(pose, axis=1) > SUSPECT_RAD
        odd.add(f"{name} is longer than {SUSPECT_RAD:g} rad, which may mean degrees", long, row)


def in_plane(pose: Array, known: PoseFormat) -> Array:
    """Whether each pose is a turn about the beam alone, (n,) bool."""
    if known.name == "rotvec":
        return np.asarray((np.abs(pose[:, :2]) < _FLAT).all(axis=1))
    if known.name == "quaternion":
        return np.asarray((np.abs(pose[:, 1:3]) < _FLAT).all(axis=1))
    if known.name == "matrix":
        return np.asarray((np.abs(pose[:, 2, :2]) < _FLAT).all(axis=1) & (pose[:, 2, 2] > 0))
    return np.asarray(np.abs(pose[:, 1]) < _FLAT)


def _finite(values: Array, name: str, row: int, bad: Findings) -> bool:
    """Whether all numbers are finite; finds the rows where they are not."""
    finite = np.isfinite(values)
    if finite.all():
        return True
    bad.add(f"{name} is NaN or Inf", ~finite.reshape(len(values), -1).all(axis=1), row)
    return False


def _off(values: Array, exact: Array | float) -> Array:
    """Where values are further from what they should be than rounding explains."""
    return np.abs(values - exact) > _UNIT_TOLERANCE
