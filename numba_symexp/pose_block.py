"""One block of rows of the reader of poses."""

import functools
from typing import TYPE_CHECKING

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import FileFormatError, SourceError
from numba_symexp.kernels.blocks import padded
from numba_symexp.kernels.codecs import CODECS, ONE_AT_A_TIME, convert
from numba_symexp.particles.columns import native
from numba_symexp.particles.findings import Findings, check_pose, check_psize, check_shift
from numba_symexp.particles.schema import OPERATOR_INDEX, SOURCE_INDEX
from numba_symexp.particles.words import word_hash

if TYPE_CHECKING:
    from numba_symexp.poses import Poses

_DENSE = 4
"""A range of the source that is so many times longer than the block is still read in one go."""


class Block:
    """Some rows of `Poses`; everything is made from what was read, when it is asked for.

    Attributes
    ----------
    start, stop : int
        Which rows.
    """

    def __init__(self, poses: "Poses", start: int, stop: int, rows: dict[str, Array]) -> None:
        self.start, self.stop = start, stop
        self._poses, self._rows, self._columns = poses, rows, poses.columns

    def __len__(self) -> int:
        return self.stop - self.start

    @functools.cached_property
    def pose(self) -> Array:
        """Poses in their own form and precision, native byte order."""
        return native(self._rows[self._columns.pose])

    @functools.cached_property
    def shift(self) -> Array:
        """Shifts (n, 2) or (n, 3) in px, in their own precision, native byte order."""
        return native(self._rows[self._columns.shift])

    @property
    def rotvec(self) -> Array:
        """Rotation vectors (n, 3), rad, in their own precision where they are stored so."""
        form = self._columns.pose_format.name
        return self.pose if form == "rotvec" else convert(self.pose, form, "rotvec")

    @property
    def quaternion(self) -> Array:
        """Quaternions (n, 4) of exp(v), image to map, float64, scalar first."""
        return convert(self.pose, self._columns.pose_format.name, "quaternion")

    @property
    def planes(self) -> Array:
        """Quaternions of exp(v) as (4, P) float64, padded for the kernels."""
        planes = np.zeros((4, padded(len(self))))
        with ONE_AT_A_TIME:
            CODECS[self._columns.pose_format.name].decode(self.pose.reshape(-1), len(self), planes)
        return planes

    @functools.cached_property
    def source_rows(self) -> Array:
        """Row of the source of each row, (n,) int64."""
        if self._poses.expanded is None:
            return np.arange(self.start, self.stop)
        return self._poses.expanded.checked_sources(self._rows[SOURCE_INDEX], self.start)

    @property
    def sources(self) -> Array:
        """Rows of the source, (m,) int64, each once, ascending."""
        return self._unique_sources[0]

    @property
    def index(self) -> Array:
        """Which of `sources` each row belongs to, (n,) int."""
        return self._unique_sources[1]

    @property
    def operator(self) -> Array:
        """Operator of each row, (n,) uint16; all 0 where nothing was expanded."""
        operators = self._poses.operators
        if operators is None:
            return np.zeros(len(self), np.uint16)
        found = self._rows[OPERATOR_INDEX]
        beyond = found >= len(operators)
        if beyond.any():
            row = self._poses.table.row_number(self.start + int(np.argmax(beyond)))
            raise FileFormatError(
                f"{self._poses.table.path}: {OPERATOR_INDEX} of row {row} is no operator: verify it"
            )
        return found

    @functools.cached_property
    def psize_A(self) -> Array | None:  # noqa: N802 - the unit is A
        """A per pixel of the shift of each row, (n,) float64; None where it is unknown."""
        poses, name = self._poses, self._poses.psize_column
        if poses.psize_given_A is not None:
            return np.full(len(self), poses.psize_given_A)
        if name is None:
            return None
        if poses.expanded is None:
            if name not in self._rows:
                self._rows[name] = poses.table.read([name], self.start, self.stop)[name]
            return native(self._rows[name]).astype(np.float64)
        wanted = self.source_rows
        first, last = int(wanted.min()), int(wanted.max())
        if last - first < _DENSE * len(wanted):
            column = poses.source.read([name], first, last + 1)[name][wanted - first]
        else:
            column = poses.source.read_at([name], wanted)[name]
        return native(column).astype(np.float64)

    @functools.cached_property
    def shift_A(self) -> Array:  # noqa: N802 - the unit is A
        """Shifts (n, 2) or (n, 3) float64 in A; in px where the A per pixel is unknown."""
        shift = self.shift.astype(np.float64)
        return shift if self.psize_A is None else shift * self.psize_A[:, None]

    @property
    def split(self) -> Array | None:
        """Half-set of each row."""
        name = self._columns.split
        return None if name is None else self._rows[name]

    @property
    def uid(self) -> Array | None:
        """Id of each row."""
        return None if self._columns.uid is None else self._rows[self._columns.uid]

    @property
    def defocus(self) -> dict[str, Array]:
        """Columns of the defocus that moved, by CryoSPARC's names, A."""
        moved = {name: self._poses.moved_column(name) for name in self._poses.defocus}
        return {name: self._rows[column] for name, column in moved.items() if column}

    @functools.cached_property
    def key(self) -> Array:
        """Equal for all copies of a particle, (n,) uint64."""
        key = self._rows[self._poses.keys[0]]
        return word_hash(key) if key.dtype.kind == "S" else key.astype(np.uint64)

    @functools.cached_property
    def copy(self) -> Array | None:
        """Number of each copy, (n,) int64; None where only the order of the rows tells."""
        name = self._poses.keys[1]
        return None if name is None else self._rows[name].astype(np.int64)

    def check(self, psize: bool) -> None:
        """Refuse rows that are no pose, shift or (where it is read) pixel size.

        Raises
        ------
        SourceError
            Names the first such row, and says how many there are.
        """
        columns, bad = self._columns, Findings(self._poses.table.row_number)
        if columns.pose in self._rows:
            check_pose(self.pose, columns.pose_format, columns.pose, self.start, bad)
        check_shift(self.shift, columns.shift, self.start, bad)
        if psize and self.psize_A is not None and self._poses.psize_column:
            check_psize(self.psize_A, self._poses.psize_column, self.start, bad)
        if bad:
            raise SourceError(
                f"{self._poses.table.path}: {bad.lines()[0]}: remove these rows or repair them"
            )

    @functools.cached_property
    def _unique_sources(self) -> tuple[Array, Array]:
        """Rows of the source, each once, and which of them each row belongs to."""
        wanted = self.source_rows
        if self._poses.expanded is None:
            return wanted, np.arange(len(self))
        step = np.diff(wanted)
        if (step < 0).any():
            sources, index = np.unique(wanted, return_inverse=True)
            return sources, index
        new = np.append(True, step > 0)
        return wanted[new], np.cumsum(new) - 1
