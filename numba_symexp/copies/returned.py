"""Rows that came back from an expanded set, and whose copies they are."""

import abc
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.conversion.as_relion import AsRelion
from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.expanded.table import ExpandedTable, open_expanded
from numba_symexp.formats import open_table
from numba_symexp.formats.relion.labels import IMAGE, MICROGRAPH, mix_bits, numbers, word_hash
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import find_columns, pixel_size_column
from numba_symexp.particles.halves import torn_particles
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    FORMAT,
    OPERATOR_INDEX,
    POSE,
    SHIFT,
    UID,
)
from numba_symexp.particles.table import ParticleTable

_CS_SOURCE = "sym_expand/src_uid"
_ORIGINAL, _TOMOGRAM = "rlnImageOriginalName", "rlnTomoName"
_COORDINATES = ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
_STEPS = np.array(sorted(itertools.product((0, -1, 1), repeat=3), key=np.count_nonzero))
"""Whole pixels by which coordinates may differ."""

_SAME_ENTRY, _SAME_PX = 1e-6, 1e-5
_FAR_DEG, _TOO_CLOSE_DEG = 20.0, 0.1
"""A local refinement turns a pose by less than the first, and by more than the second."""


def open_copies(path: str, expanded: str | None = None, source: str | None = None) -> "Copies":
    """Open what came back of an expanded set.

    Parameters
    ----------
    path : str
        Expanded table, or rows of it in the same form; or a .cs or .star with some of its rows.
    expanded : str, optional
        The expanded table that a .cs or .star comes from.
    source : str, optional
        The table that the expanded one was expanded from, if the file has moved.

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
        if expanded is None:
            raise UsageError(
                f"{path}: is no expanded table: name the one that its rows come from with expanded="
            )
        return ReturnedCopies(table, open_expanded(expanded, source))
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
        self._seen = np.zeros((expanded.n_sources, len(expanded.operators)), np.bool_)

    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source, as the table says."""
        return self.expanded.source_rows(start, stop)

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


@dataclass(frozen=True)
class Link:
    """Columns by which rows that came back are found again in the source.

    Attributes
    ----------
    labels : tuple of str
        Columns of the rows.
    source : ParticleTable
        With the columns ``of_source``.
    of_source : tuple of str
    whole_px : bool
        Coordinates may differ by a pixel.
    """

    labels: tuple[str, ...]
    source: ParticleTable
    of_source: tuple[str, ...]
    whole_px: bool = False

    def keys(
        self, table: ParticleTable, names: Sequence[str], start: int, stop: int, step: Array
    ) -> Array:
        """One number of each row: a hash of names and numbers, or the id that it is."""
        found = table.read(names, start, stop)
        if len(names) == 1 and found[names[0]].dtype.kind in "ui":
            return found[names[0]].astype(np.uint64)
        parts = [word_hash(found[names[0]])]
        for place, name in enumerate(names[1:]):
            value = numbers(found[name], f"{table.path}: _{name}", start)
            whole = np.rint(value).astype(np.int64) + int(step[place])
            parts.append((whole if self.whole_px else value).view(np.uint64))
        return mix_bits(parts) if len(parts) > 1 else parts[0]


class ReturnedCopies(Copies):
    """Rows of a .cs or .star, found again in the source.

    By the first of these that fits: ``sym_expand/src_uid`` or ``uid`` of a .cs; in a .star the
    original image (RELION's Subtract names it), the image, the micrograph or tomogram with the
    coordinates, and these to a pixel.
    """

    def __init__(self, table: ParticleTable, expanded: ExpandedTable) -> None:
        super().__init__(table, expanded)
        self._columns = find_columns(table)
        warn(torn_particles(table, self._columns))
        self._rows: list[Array] = []
        self._particles: list[Array] = []
        self._first_id, self._id_stride = 0, 0
        self._find_ids()
        links = self._links()
        for place, link in enumerate(links):
            self._link = link
            keys = self._source_keys()
            self._order = np.argsort(keys, kind="stable")
            self._keys = keys[self._order]
            unique = not (self._keys[1:] == self._keys[:-1]).any()
            if place == len(links) - 1 or (unique and self._fits()):
                return

    def _links(self) -> list[Link]:
        """Ways to find rows again, the surest first."""
        own, source = self.table.columns, self.source
        if self.table.header is None:
            name = _CS_SOURCE if _CS_SOURCE in own else UID
            if UID not in source.columns:
                raise SourceError(
                    f"{source.path}: has no {UID}, by which rows could be found again"
                )
            return [Link((name,), source, (UID,))]
        if source.header is None:
            source = AsRelion(source, False, ())
        names = [each for each in (_ORIGINAL, IMAGE) if each in own and IMAGE in source.columns]
        links = [Link((name,), source, (IMAGE,)) for name in names]
        both = own.keys() & source.columns.keys()
        where = next((each for each in (_TOMOGRAM, MICROGRAPH) if each in both), None)
        place = tuple(each for each in _COORDINATES if each in both)
        if where is not None and place:
            links += [
                Link((where, *place), source, (where, *place), whole) for whole in (False, True)
            ]
        if not links:
            raise SourceError(
                f"{self.table.path}: nothing tells whose copies its rows are: neither image names "
                f"(_{IMAGE}, _{_ORIGINAL}) nor micrographs with coordinates, in it and in "
                f"{source.path}"
            )
        return links

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
                "with expanded="
            )
        return found

    def count(self, start: int, stop: int, sources: Array) -> None:
        """Keep the id of each row or, in a .star, a hash of its pose and shift."""
        in_text = self.table.header is not None or UID not in self.table.columns
        names = [POSE, SHIFT] if in_text else [UID]
        found = self.table.read(names, start, stop)
        parts = [sources.astype(np.uint64)]
        for name in names:
            values = found[name].reshape(stop - start, -1).T
            parts += [each.astype(np.float64).view(np.uint64) for each in values]
        if not in_text:
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
        for step in _STEPS if link.whole_px else _STEPS[:1]:
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
        mates = np.flatnonzero(self.expanded.operators.full_index)
        if UID in self.source.columns and len(mates) and len(self.expanded):
            self._id_stride = self.expanded.operators.full_order - 1
            operator = int(self.expanded.operators.full_index[mates[0]])
            row = int(mates[0])
            self._first_id = int(self.expanded[UID][row]) - (operator - 1)

    def _is_mate(self, ids: Array) -> Array:
        """Whether ids are of the range that the expansion gave to mates."""
        count = np.uint64(self.source.n_rows * self._id_stride)
        return ids - np.uint64(self._first_id) < count if self._id_stride else ids != ids

    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators by number or by pose; poses and shifts turned into the source's form."""
        size = self._columns.psize  # of the rows, which a job may have made of smaller images
        names = [name for name in (UID, size) if name in self.table.columns]
        found = self.table.read_at([POSE, SHIFT, *names], rows)
        pose_name, shift_name, pose_format = self.expanded.pose_columns
        own = pixel_size_column(self.source.columns, shift_name, into_A=False)
        needed = [name for name in (pose_name, shift_name, own) if name]
        of_source = self.source.read_at(needed, sources)
        operator = self._operators_by_id(found.get(UID), sources)
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
        if ids is None or not self._id_stride or self.table.header is not None:
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

    def _source_keys(self) -> Array:
        """Keys of all particles."""
        link = self._link
        keys = np.empty(self.source.n_rows, np.uint64)
        for start, stop in blocks(self.source, [self.expanded.pose_columns[0]]):
            keys[start:stop] = link.keys(link.source, link.of_source, start, stop, _STEPS[0])
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


def _same(one: Array, other: Array) -> Array:
    """Whether rotation vectors are the same rotation, to what text and float32 keep."""
    matrices = [convert(each, "rotvec", "matrix") for each in (one, other)]
    return (np.abs(matrices[0] - matrices[1]) < _SAME_ENTRY).all(axis=(1, 2))
