"""Rows that came back from an expanded set, and whose copies they are."""

import abc
from typing import Self

import numpy as np

from numba_symexp.conversion.as_relion import AsRelion
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.expanded.table import ExpandedTable, open_expanded
from numba_symexp.formats import open_table
from numba_symexp.formats.relion.labels import IMAGE, word_hash
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import find_columns, pixel_size_column
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    FORMAT,
    OPERATOR_INDEX,
    POSE,
    SHIFT,
    UID,
)
from numba_symexp.particles.table import ParticleTable
from numba_symexp.types import Array

_CS_SOURCE, _CS_OPERATOR = "sym_expand/src_uid", "sym_expand/idx"
_FAR_DEG, _TOO_CLOSE_DEG = 20.0, 0.1
"""A local refinement turns a pose by less than the first, and by more than the second."""


def open_copies(path: str, expanded: str | None = None) -> "Copies":
    """Open what came back of an expanded set.

    Parameters
    ----------
    path : str
        Expanded table, or rows of it in the same form; or a .cs or .star with some of its rows.
    expanded : str, optional
        The expanded table that a .cs or .star comes from.

    Raises
    ------
    SymexpError
        A file cannot be read, or does not belong to the other.
    """
    table = open_table(path)
    try:
        if table.says("format", FORMAT):
            if expanded is not None:
                raise UsageError(f"{path}: is an expanded table itself: leave out expanded=")
            table.close()
            return ExpandedCopies(open_expanded(path))
        if expanded is None:
            raise UsageError(
                f"{path}: is no expanded table: name the one that its rows come from with expanded="
            )
        return ReturnedCopies(table, open_expanded(expanded))
    except BaseException:
        table.close()
        raise


class Copies(abc.ABC):
    """Copies of particles, open for reading.

    Attributes
    ----------
    table : ParticleTable
        The rows that came back.
    expanded : ExpandedTable
        Knows the operators and the source.
    """

    def __init__(self, table: ParticleTable, expanded: ExpandedTable) -> None:
        self.table, self.expanded = table, expanded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.table.close()
        self.expanded.close()

    @property
    def source(self) -> ParticleTable:
        """The particles that the rows are copies of."""
        return self.expanded.source

    @abc.abstractmethod
    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source that rows ``start`` to ``stop`` are copies of, int64."""

    @abc.abstractmethod
    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators, poses and shifts of some rows, in the form of the source's columns."""


class ExpandedCopies(Copies):
    """Rows of an expanded table, all or some."""

    def __init__(self, expanded: ExpandedTable) -> None:
        super().__init__(expanded.table, expanded)

    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source, as the table says."""
        return self.expanded.source_rows(start, stop)

    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators, poses and shifts, as the table says."""
        pose, shift, _ = self.expanded.pose_columns
        found = self.table.read_at([OPERATOR_INDEX, pose, shift], rows)
        return found[OPERATOR_INDEX], found[pose], found[shift]


class ReturnedCopies(Copies):
    """Rows of a .cs or .star, found again in the source.

    By ``sym_expand/src_uid`` where there is one, else by the image in a .star, else by ``uid``.
    """

    def __init__(self, table: ParticleTable, expanded: ExpandedTable) -> None:
        super().__init__(table, expanded)
        self._columns = find_columns(table)
        self._first_id, self._id_stride = 0, 0
        keys = self._source_keys()
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source with the same key."""
        keys = self._row_keys(start, stop)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        found = self._order[place].astype(np.int64)
        missing = self._keys[place] != keys
        if missing.any() and self._id_stride:
            steps = keys - np.uint64(self._first_id)
            mate = missing & (steps < np.uint64(len(self._keys) * self._id_stride))
            found[mate] = (steps // np.uint64(self._id_stride))[mate]
            missing &= ~mate
        if missing.any():
            row = start + int(np.argmax(missing))
            raise SourceError(
                f"{self.table.path}: row {row} is no copy of a particle of {self.source.path} "
                f"({self._key}): name the expanded table that it comes from with expanded="
            )
        return found

    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators by number or by pose; poses and shifts turned into the source's form."""
        size = self._columns.psize  # of the rows, which a job may have made of smaller images
        names = [name for name in (_CS_OPERATOR, size) if name in self.table.columns]
        found = self.table.read_at([POSE, SHIFT, *names], rows)
        pose_name, shift_name, pose_format = self.expanded.pose_columns
        own = pixel_size_column(self.source.columns, shift_name, into_A=False)
        of_source = self.source.read_at([pose_name, *([own] if own else [])], sources)
        operator = found.get(_CS_OPERATOR)
        if operator is None:
            operator = self._nearest(rows, found[POSE], of_source[pose_name], pose_format)
        shift = found[SHIFT].astype(np.float64)
        given = self.expanded.psize_given_A
        if size and (given or own):
            wanted = of_source[own] if own and not given else np.array(given)
            shift *= (found[size].astype(np.float64) / wanted)[:, None]
        pose = convert(found[POSE], "rotvec", pose_format)
        pose_dtype, shift_dtype = (
            self.source.columns[name].dtype for name in (pose_name, shift_name)
        )
        return operator, pose.astype(pose_dtype), shift.astype(shift_dtype)

    @property
    def _key(self) -> str:
        """What rows are found by."""
        if _CS_SOURCE in self.table.columns:
            return _CS_SOURCE
        return IMAGE if self.table.header is not None else UID

    def _row_keys(self, start: int, stop: int) -> Array:
        """Keys of rows that came back."""
        values = self.table.read([self._key], start, stop)[self._key]
        return word_hash(values) if self._key == IMAGE else values.astype(np.uint64)

    def _source_keys(self) -> Array:
        """Keys of all particles."""
        source = self.source
        keys = np.empty(source.n_rows, np.uint64)
        if self._key == IMAGE:
            if IMAGE not in source.columns:
                source = AsRelion(source, False, ())
            for start, stop in blocks(self.source, [self.expanded.pose_columns[0]]):
                keys[start:stop] = word_hash(source.read([IMAGE], start, stop)[IMAGE])
            return keys
        if UID not in source.columns:
            raise SourceError(f"{source.path}: has no {UID}, by which rows could be found again")
        keys[:] = source.read([UID], 0, source.n_rows)[UID]
        mates = np.flatnonzero(self.expanded.operators.full_index)
        if self._key == UID and len(mates) and len(self.expanded):
            self._id_stride = self.expanded.operators.full_order - 1
            self._first_id = int(self.expanded[UID][int(mates[0])])
        return keys

    def _nearest(self, rows: Array, pose: Array, source_pose: Array, pose_format: str) -> Array:
        """Operators whose rotation is nearest to what turned the source into each row."""
        turned = convert(pose, "rotvec", "matrix")
        source = convert(source_pose, pose_format, "matrix")
        between = source @ turned.swapaxes(1, 2)  # R = exp(v) exp(v_g)^T
        rotations = self.expanded.operators.matrix
        trace = between.reshape(len(rows), 9) @ rotations.reshape(len(rotations), 9).T
        operator = trace.argmax(axis=1)
        apart = rotations.reshape(-1, 9) @ rotations.reshape(-1, 9).T
        np.fill_diagonal(apart, -1)
        closest_deg = np.degrees(np.arccos(np.clip((apart.max() - 1) / 2, -1, 1)))
        angle = np.degrees(np.arccos(np.clip((trace.max(axis=1) - 1) / 2, -1, 1)))
        far = angle > min(_FAR_DEG, closest_deg / 2)
        if far.any() or (len(rotations) > 1 and closest_deg < _TOO_CLOSE_DEG):
            row = int(rows[int(np.argmax(far))])
            raise SourceError(
                f"{self.table.path}: which operator made row {row} cannot be told from its pose: "
                "bring the rows back as .cs or HDF5, or leave out by="
            )
        return operator
