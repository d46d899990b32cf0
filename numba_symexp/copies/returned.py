"""Rows that came back from an expanded set, and whose copies they are."""

import abc
import os
from typing import Self

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.copies.foreign import (
    FAR_DEG,
    ForeignExpansion,
    Turns,
    limit_deg,
    nearest,
    told_by_poses,
    turn_deg,
)
from numba_symexp.copies.link import STEPS, links_between
from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.expanded.table import ExpandedTable, open_expanded
from numba_symexp.formats import open_table
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import find_columns, pixel_size_column
from numba_symexp.particles.halves import torn_particles
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    FORMAT,
    OPERATOR_INDEX,
    OPERATOR_LABEL,
    POSE,
    SHIFT,
    SOURCE_LABEL,
    UID,
)
from numba_symexp.particles.table import DYNAMO, ParticleTable
from numba_symexp.particles.words import mix_bits
from numba_symexp.poses import Poses
from numba_symexp.symmetry.descriptions import describe

_SAME_ENTRY, _SAME_PX = 1e-6, 1e-5
_TOO_CLOSE_DEG = 0.1
"""A local refinement turns a pose by more."""

_DIGITS = 6
"""More than the number of an operator has."""

_SAMPLE_STRIPES, _STRIPE_ROWS = 16, 256


def open_copies(
    path: str, expanded: str | None = None, source: str | None = None, with_poses: bool = True
) -> "Copies":
    """Open what came back of an expanded set.

    Parameters
    ----------
    path : str
        Expanded table, or rows of it in the same form; or a .cs or .star with some of its rows.
    expanded : str, optional
        The expanded table that a .cs or .star comes from.
    source : str, optional
        The table that the expanded one was expanded from, if the file has moved; without an
        expanded table, the particles that another program expanded.
    with_poses : bool
        Whether poses and operators of the copies will be asked for.

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
            return ExpandedCopies(open_expanded(path, source))
        if expanded is not None:
            return ReturnedCopies(table, open_expanded(expanded, source))
        if source is not None and os.path.exists(source) and os.path.samefile(path, source):
            raise UsageError(
                f"{path}: is not an expanded table, and source= names the same file: name the "
                "particles that its rows are copies of"
            )
        if source is not None:
            return ForeignCopies(table, ForeignExpansion(source), with_poses)
        raise UsageError(
            f"{path}: is no expanded table: name the one that its rows come from with expanded= "
            "or, where another program made it, the particles with source="
        )
    except BaseException:
        table.close()
        raise


class Copies(abc.ABC):
    """Copies of particles, open for reading.

    Attributes
    ----------
    table : ParticleTable
        The rows that came back.
    expanded : ExpandedTable or ForeignExpansion
        Knows the operators and the source.
    """

    def __init__(self, table: ParticleTable, expanded: "ExpandedTable | ForeignExpansion") -> None:
        self.table, self.expanded = table, expanded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.table.close()
        self.expanded.close()

    @property
    def notes(self) -> list[str]:
        """What a user should know."""
        return []

    @property
    def source(self) -> ParticleTable:
        """The particles that the rows are copies of."""
        return self.expanded.source

    @abc.abstractmethod
    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source that rows ``start`` to ``stop`` are copies of, int64."""

    @abc.abstractmethod
    def count(self, start: int, stop: int, sources: Array) -> None:
        """Count rows ``start`` to ``stop``, copies of these particles."""

    @abc.abstractmethod
    def counts(self) -> Array:
        """Copies of each particle among the rows counted; a row that stands twice counts once."""

    @abc.abstractmethod
    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators, poses and shifts of some rows, in the form of the source's columns."""


class ExpandedCopies(Copies):
    """Rows of an expanded table, all or some."""

    def __init__(self, expanded: ExpandedTable) -> None:
        super().__init__(expanded.table, expanded)
        self._expanded = expanded
        self._seen = np.zeros((expanded.n_sources, len(expanded.operators)), np.bool_)

    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source, as the table says."""
        return self._expanded.source_rows(start, stop)

    def count(self, start: int, stop: int, sources: Array) -> None:
        """Mark pairs of particle and operator."""
        operator = self.table.read([OPERATOR_INDEX], start, stop)[OPERATOR_INDEX]
        self._seen[sources, np.minimum(operator, self._seen.shape[1] - 1)] = True

    def counts(self) -> Array:
        """Pairs of each particle, (N,) uint32."""
        return np.asarray(self._seen.sum(axis=1, dtype=np.uint32))

    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators, poses and shifts, as the table says."""
        pose, shift, _ = self.expanded.pose_columns
        found = self.table.read_at([OPERATOR_INDEX, pose, shift], rows)
        return found[OPERATOR_INDEX], found[pose], found[shift]


class ReturnedCopies(Copies):
    """Rows of a .cs or .star, found again in the source.

    By the first of these that fits: ``sym_expand/src_uid`` or ``uid`` of a .cs; in a .star our
    own label, the original image (RELION's Subtract names it), the image, the micrograph or
    tomogram with the coordinates, and these to a pixel; in a .tbl the parent's tag.
    """

    _advice = "bring the rows back as .cs or HDF5"

    def __init__(self, table: ParticleTable, expanded: ExpandedTable | ForeignExpansion) -> None:
        super().__init__(table, expanded)
        self._columns = find_columns(table)
        warn(torn_particles(table, self._columns))
        self._rows: list[Array] = []
        self._particles: list[Array] = []
        self._first_id, self._id_stride = 0, 0
        self._find_ids()
        links = links_between(table, self.source)
        for place, link in enumerate(links):
            self._link = link
            keys = self._source_keys()
            self._order = np.argsort(keys, kind="stable")
            self._keys = keys[self._order]
            unique = not (self._keys[1:] == self._keys[:-1]).any()
            if place == len(links) - 1 or (unique and self._fits()):
                return

    def _fits(self) -> bool:
        """Whether the first rows are all found again."""
        start, stop = next(blocks(self.table, list(self._link.labels)))
        return not bool(self._found(start, stop)[1].any())

    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source with the same key."""
        found, missing = self._found(start, stop)
        if missing.any():
            row = start + int(np.argmax(missing))
            raise SourceError(
                f"{self.table.path}: row {row} is no copy of a particle of {self.source.path} "
                f"({', '.join(self._link.labels)}): name the expanded table that it comes from "
                "with expanded=, or the particles that another program expanded with source="
            )
        return found

    def count(self, start: int, stop: int, sources: Array) -> None:
        """Keep the id of each row or, of text, a hash of its pose and shift."""
        names = [UID] if self._has_ids else [POSE, SHIFT]
        found = self.table.read(names, start, stop)
        parts = [sources.astype(np.uint64)]
        for name in names:
            values = found[name].reshape(stop - start, -1).T
            parts += [each.astype(np.float64).view(np.uint64) for each in values]
        if self._has_ids:
            parts[1] = found[UID].astype(np.uint64)
        self._rows.append(mix_bits(parts))
        self._particles.append(sources)

    def counts(self) -> Array:
        """Rows of each particle that differ, (N,) uint32."""
        _, first = np.unique(np.concatenate(self._rows), return_index=True)
        particles = np.concatenate(self._particles)[first]
        return np.bincount(particles, minlength=self.source.n_rows).astype(np.uint32)

    def _found(self, start: int, stop: int) -> tuple[Array, Array]:
        """Rows of the source that rows are copies of, and which of them are none."""
        link = self._link
        found, missing = np.zeros(stop - start, np.int64), np.ones(stop - start, np.bool_)
        for step in STEPS if link.whole_px else STEPS[:1]:
            keys = link.keys(self.table, link.labels, start, stop, step)
            place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            here = missing & (self._keys[place] == keys)
            found[here] = self._order[place[here]]
            missing &= ~here
            if not missing.any():
                break
        if missing.any() and self._id_stride and link.labels == (UID,):
            mate = missing & self._is_mate(keys)
            found[mate] = (keys[mate] - np.uint64(self._first_id)) // np.uint64(self._id_stride)
            missing &= ~mate
        return found, missing

    def _find_ids(self) -> None:
        """Find the range of ids that the expansion gave to mates."""
        expanded = self.expanded
        if not isinstance(expanded, ExpandedTable):
            return
        mates = np.flatnonzero(expanded.operators.full_index)
        if UID in self.source.columns and len(mates) and len(expanded):
            self._id_stride = expanded.operators.full_order - 1
            operator = int(expanded.operators.full_index[mates[0]])
            row = int(mates[0])
            self._first_id = int(expanded[UID][row]) - (operator - 1)

    def _is_mate(self, ids: Array) -> Array:
        """Whether ids are of the range that the expansion gave to mates."""
        count = np.uint64(self.source.n_rows * self._id_stride)
        return ids - np.uint64(self._first_id) < count if self._id_stride else ids != ids

    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators by number or by pose; poses and shifts turned into the source's form."""
        size = self._columns.psize  # of the rows, which a job may have made of smaller images
        names = [name for name in (UID, size, OPERATOR_LABEL) if name in self.table.columns]
        found = self.table.read_at([POSE, SHIFT, *names], rows)
        pose_name, shift_name, pose_format = self.expanded.pose_columns
        own = pixel_size_column(self.source.columns, shift_name, into_A=False)
        needed = [name for name in (pose_name, shift_name, own) if name]
        of_source = self.source.read_at(needed, sources)
        operator = self._operators_by_id(found.get(UID) if self._has_ids else None, sources)
        if self._says_operators:
            between = _between(convert(of_source[pose_name], pose_format, "matrix"), found[POSE])
            operator = self._operators_by_label(found[OPERATOR_LABEL], between)
        unknown = operator < 0
        if unknown.any():
            operator[unknown] = self._nearest(
                rows[unknown], found[POSE][unknown], of_source[pose_name][unknown], pose_format
            )
        shift = found[SHIFT].astype(np.float64)
        given = self.expanded.psize_given_A
        if size and (given or own):
            wanted = of_source[own] if own and not given else np.array(given)
            shift *= (found[size].astype(np.float64) / wanted)[:, None]
        pose = convert(found[POSE], "rotvec", pose_format)
        pose_dtype, shift_dtype = (
            self.source.columns[name].dtype for name in (pose_name, shift_name)
        )
        pose, shift = pose.astype(pose_dtype), shift.astype(shift_dtype)
        still = np.isin(operator, self.expanded.operators.fixed)
        still &= _same(found[POSE], convert(of_source[pose_name], pose_format, "rotvec"))
        still &= (np.abs(shift - of_source[shift_name]) < _SAME_PX).all(axis=1)
        pose[still], shift[still] = of_source[pose_name][still], of_source[shift_name][still]
        return operator, pose, shift

    def _operators_by_id(self, ids: Array | None, sources: Array) -> Array:
        """Operators of rows whose id the expansion gave, (n,) int64; -1 where another program did.

        Numbers of copies by another program (``sym_expand/idx``) are not looked at: they count in
        its own order.
        """
        operator = np.full(len(sources), -1, np.int64)
        if ids is None or not self._id_stride:
            return operator
        mate = self._is_mate(ids.astype(np.uint64))
        steps = ids.astype(np.uint64) - np.uint64(self._first_id)
        stride = np.uint64(self._id_stride)
        mate &= steps // stride == sources.astype(np.uint64)
        by_number = np.full(self.expanded.operators.full_order, -1, np.int64)
        full = self.expanded.operators.full_index
        by_number[full] = np.arange(len(full))
        operator[mate] = by_number[(steps[mate] % stride).astype(np.int64) + 1]
        return operator

    @property
    def _has_ids(self) -> bool:
        """Whether rows have ids that the expansion gave; those of text are made, or are tags."""
        table = self.table
        return table.header is None and table.vocabulary != DYNAMO and UID in table.columns

    @property
    def _says_operators(self) -> bool:
        """Whether rows have labels of ours, for operators that are known by number."""
        labels = {SOURCE_LABEL, OPERATOR_LABEL} <= self.table.columns.keys()
        return labels and isinstance(self.expanded, ExpandedTable)

    def _operators_by_label(self, words: Array, between: Array) -> Array:
        """Operators that rows say, (n,) int64; -1 where they do not, or the pose is another's."""
        operators, operator = self.expanded.operators, np.full(len(words), -1, np.int64)
        number, place = np.unique(words, return_inverse=True)
        known = [int(each) if each.isdigit() and len(each) < _DIGITS else -1 for each in number]
        told = np.where(np.array(known) < len(operators), known, -1)[place]
        here = told >= 0
        off_deg = turn_deg(between[here], operators.matrix[told[here]])
        operator[here] = np.where(off_deg <= FAR_DEG, told[here], -1)
        return operator

    def _source_keys(self) -> Array:
        """Keys of all particles."""
        link = self._link
        keys = np.empty(self.source.n_rows, np.uint64)
        for start, stop in blocks(self.source, [self.expanded.pose_columns[0]]):
            keys[start:stop] = link.keys(link.source, link.of_source, start, stop, STEPS[0])
        return keys

    def _nearest(self, rows: Array, pose: Array, source_pose: Array, pose_format: str) -> Array:
        """Operators whose rotation is nearest to what turned the source into each row."""
        operators = self.expanded.operators
        between = _between(convert(source_pose, pose_format, "matrix"), pose)
        operator, angle_deg, closest_deg = nearest(between, operators)
        far = angle_deg > limit_deg(closest_deg)
        if far.any() or (len(operators) > 1 and closest_deg < _TOO_CLOSE_DEG):
            row = int(rows[int(np.argmax(far))])
            raise SourceError(
                f"{self.table.path}: which operator made row {row} cannot be told from its pose: "
                f"{self._advice}, or leave out by="
            )
        return operator


class ForeignCopies(ReturnedCopies):
    """Rows that another program made of particles; no table of ours knows them.

    Parameters
    ----------
    table : ParticleTable
    expanded : ForeignExpansion
    with_poses : bool
        Find the operators of the rows, of which every row must then be one.

    Raises
    ------
    SourceError
        A row is no copy of a particle, or the operators cannot be told.
    """

    _advice = "give the particles that the rows were made of"

    def __init__(self, table: ParticleTable, expanded: ForeignExpansion, with_poses: bool) -> None:
        self._with_poses = with_poses
        try:
            super().__init__(table, expanded)
            if with_poses:
                rows = Poses(table, self._columns)
                expanded.operators = told_by_poses(rows, self._sample(rows.has_psize))
        except BaseException:
            expanded.close()
            raise

    @property
    def notes(self) -> list[str]:
        """Which operators were found."""
        if not self._with_poses:
            return []
        return [f"operators told by the poses: {describe(self.expanded.operators)}"]

    def count(self, start: int, stop: int, sources: Array) -> None:
        """Count rows; where operators are wanted, each must be a copy by one of them."""
        super().count(start, stop, sources)
        if self._with_poses:
            pose_name, _, pose_format = self.expanded.pose_columns
            pose = self.table.read([POSE], start, stop)[POSE]
            of_source = self.source.read_at([pose_name], sources)[pose_name]
            self._nearest(np.arange(start, stop), pose, of_source, pose_format)

    def _sample(self, in_A: bool) -> Turns:
        """Some copies, of all parts of the table."""
        pose_name, shift_name, pose_format = self.expanded.pose_columns
        own = pixel_size_column(self.source.columns, shift_name)
        names = [pose_name, shift_name, *([own] if own else [])]
        count, parts = self.table.n_rows, []
        step = max(1, count // _SAMPLE_STRIPES)
        with_A = in_A and own is not None
        for start in range(0, count, step):
            stop = min(start + min(step, _STRIPE_ROWS), count)
            size = self._columns.psize
            rows = self.table.read([POSE, SHIFT, *([size] if size else [])], start, stop)
            source = self.source.read_at(names, self.sources(start, stop))
            first = convert(source[pose_name], pose_format, "matrix")
            moved_A = np.zeros((stop - start, 2))
            if with_A and own and size:
                moved_A = source[shift_name] * source[own][:, None].astype(np.float64)
                moved_A = moved_A - rows[SHIFT] * rows[size][:, None].astype(np.float64)
            parts.append((first, _between(first, rows[POSE]), moved_A))
        first, between, moved_A = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Turns(first, between, moved_A if with_A and self._columns.psize else None)


def _between(source: Array, pose: Array) -> Array:
    """What turned particles (n, 3, 3) into copies (n, 3): R = exp(v) exp(v_g)^T."""
    return np.asarray(source @ convert(pose, "rotvec", "matrix").swapaxes(1, 2))


def _same(one: Array, other: Array) -> Array:
    """Whether rotation vectors are the same rotation, to what text and float32 keep."""
    matrices = [convert(each, "rotvec", "matrix") for each in (one, other)]
    return (np.abs(matrices[0] - matrices[1]) < _SAME_ENTRY).all(axis=(1, 2))
