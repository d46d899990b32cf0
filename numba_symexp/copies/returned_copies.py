"""Rows of a .cs or .star that came back of an expanded table, found again among its particles."""

import functools
from collections.abc import Callable

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.copies.copies import Copies, Expansion, refuse_no_poses
from numba_symexp.copies.foreign_expansion import (
    FAR_DEG,
    limit_deg,
    nearest,
    turn_deg,
    turned_between,
)
from numba_symexp.copies.link import STEPS, links_between
from numba_symexp.errors import SourceError, warn
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import find_columns, pixel_size_column
from numba_symexp.particles.halves import torn_particles
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    OPERATOR_INDEX,
    OPERATOR_LABEL,
    POSE,
    SHIFT,
    SOURCE_INDEX,
    SOURCE_LABEL,
    UID,
)
from numba_symexp.particles.table import DYNAMO, ParticleTable
from numba_symexp.particles.words import mix_bits
from numba_symexp.symmetry.quaternions import matrices

_SAME_ENTRY, _SAME_PX = 1e-6, 1e-5
_TOO_CLOSE_DEG = 0.1
"""A local refinement turns a pose by more."""

_NAMES = POSE, SHIFT, "rotvec"

_DIGITS = 6
"""More than the number of an operator has."""


class ReturnedCopies(Copies):
    """Rows of a .cs or .star, found again in the source.

    By the first of these that fits: ``sym_expand/src_uid`` or ``uid`` of a .cs; in a .star our
    own label, the original image (RELION's Subtract names it), the image, the micrograph or
    tomogram with the coordinates, and these to a pixel; in a .tbl the parent's tag.
    """

    _advice = "name the expanded table that it comes from, or bring the rows back as .cs or HDF5"

    def __init__(self, table: ParticleTable, expanded: ExpandedTable | Expansion) -> None:
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
        return not bool(self._sources_of(start, stop)[1].any())

    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source with the same key."""
        found, missing = self._sources_of(start, stop)
        if missing.any():
            row = start + int(np.argmax(missing))
            raise SourceError(
                f"{self.table.row_in_words(row)} is no copy of a particle of {self.source.path} "
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

    def _sources_of(self, start: int, stop: int) -> tuple[Array, Array]:
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
        """Find the range of ids that the expansion gave to mates, by the first row of a mate."""
        expanded = self.expanded
        if not isinstance(expanded, ExpandedTable) or UID not in self.source.columns:
            return
        full = expanded.operators.full_index.astype(np.int64)
        for start, stop in blocks(expanded.table, [OPERATOR_INDEX, SOURCE_INDEX]):
            operator = expanded.table.read([OPERATOR_INDEX], start, stop)[OPERATOR_INDEX]
            mate = full[np.minimum(operator, len(full) - 1)]
            if not mate.any():
                continue
            row = start + int(np.argmax(mate != 0))
            self._id_stride = expanded.operators.full_order - 1
            before = int(expanded.source_rows(row, row + 1)[0]) * self._id_stride
            before += int(mate[row - start]) - 1
            self._first_id = (int(expanded[UID][row]) - before) % 2**64
            return

    def _is_mate(self, ids: Array) -> Array:
        """Whether ids are of the range that the expansion gave to mates."""
        count = np.uint64(self.source.n_rows * self._id_stride)
        return ids - np.uint64(self._first_id) < count if self._id_stride else ids != ids

    def operators(self, start: int, stop: int, sources: Array) -> Array:
        """Operators by id, by label, or by pose."""
        rows = np.arange(start, stop)
        return self._operators(rows, sources, lambda names: self.table.read(names, start, stop))

    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators as above; poses and shifts turned into the source's form."""
        size = self._columns.psize  # of the rows, which a job may have made of smaller images
        names = [name for name in (UID, size, OPERATOR_LABEL) if name in self.table.columns]
        found = self.table.read_at([POSE, SHIFT, *names], rows)
        refuse_no_poses(self.table, rows, _NAMES, found)
        pose_name, shift_name, pose_format = self.expanded.pose_columns
        own = pixel_size_column(self.source.columns, shift_name, into_A=False)
        needed = [name for name in (pose_name, shift_name, own) if name]
        of_source = self.source.read_at(needed, sources)
        operator = self._operators(rows, sources, lambda names: {n: found[n] for n in names})
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

    def _operators(
        self, rows: Array, sources: Array, read: Callable[[list[str]], dict[str, Array]]
    ) -> Array:
        """Operators of some rows, whose columns ``read`` gives, (n,) int64."""
        ids = read([UID])[UID] if self._has_ids else None
        operator = self._operators_by_id(ids, sources)
        if not self._says_operators and (operator >= 0).all():
            return operator
        pose_name, _, pose_format = self.expanded.pose_columns
        of_source = self.source.read_at([pose_name], sources)[pose_name]
        found = read([POSE, *([OPERATOR_LABEL] if self._says_operators else [])])
        refuse_no_poses(self.table, rows, _NAMES, found)
        between = turned_between(convert(of_source, pose_format, "matrix"), found[POSE])
        if self._says_operators:
            operator = self._operators_by_label(found[OPERATOR_LABEL], between)
        elif ids is not None:
            self._find_first_operator(operator, ids, sources, between)
        unknown = operator < 0
        if unknown.any():
            operator[unknown] = self._nearest(rows[unknown], between[unknown])
        return operator

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

    def _find_first_operator(
        self, operator: Array, ids: Array, sources: Array, between: Array
    ) -> None:
        """Set the operator of rows with the id of their particle: it is the first of the full set.

        Unless their pose is another's.
        """
        first = np.flatnonzero(self.expanded.operators.full_index == 0)
        if not isinstance(self.expanded, ExpandedTable) or not len(first):
            return
        own = self.source.read_at([UID], sources)[UID].astype(np.uint64)
        here = np.flatnonzero((operator < 0) & (ids.astype(np.uint64) == own))
        rotation = matrices(self.expanded.operators.pose_quaternion[first])
        off_deg = turn_deg(between[here], np.repeat(rotation, len(here), axis=0))
        operator[here[off_deg <= FAR_DEG]] = first[0]

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
        off_deg = turn_deg(between[here], matrices(operators.pose_quaternion)[told[here]])
        operator[here] = np.where(off_deg <= FAR_DEG, told[here], -1)
        return operator

    def _source_keys(self) -> Array:
        """Keys of all particles."""
        link = self._link
        keys = np.empty(self.source.n_rows, np.uint64)
        for start, stop in blocks(self.source, [self.expanded.pose_columns[0]]):
            keys[start:stop] = link.keys(link.source, link.of_source, start, stop, STEPS[0])
        return keys

    @functools.cached_property
    def _operators_used(self) -> Array:
        """Operators that made the rows of the expanded table, of which some may be left out."""
        expanded = self.expanded
        used = np.ones(len(expanded.operators), np.bool_)
        if isinstance(expanded, ExpandedTable) and expanded.is_selected:
            used[:] = False
            for start, stop in blocks(expanded.table, [OPERATOR_INDEX]):
                number = expanded.table.read([OPERATOR_INDEX], start, stop)[OPERATOR_INDEX]
                used[number[number < len(used)]] = True
        return np.flatnonzero(used)

    def _nearest(self, rows: Array, between: Array) -> Array:
        """Operators whose rotation is nearest to what turned the source into each row."""
        operators = self.expanded.operators
        used = operators.choose(self._operators_used, operators.kind, operators.chosen)
        operator, angle_deg, closest_deg = nearest(between, used)
        far = angle_deg > limit_deg(closest_deg)
        alike = len(used) > 1 and closest_deg < _TOO_CLOSE_DEG
        if far.any() or alike:
            place = self.table.row_in_words(int(rows[int(np.argmax(far))]))
            advice = self._advice
            if alike and len(operators.centers_A) > 1:
                advice = (
                    "operators about several centers turn it alike: select the rows of one center "
                    "from the expanded table (select, centers=0), and name what is written"
                )
            raise SourceError(
                f"{place}: which operator made it cannot be told from its pose: {advice}"
            )
        return np.asarray(self._operators_used[operator])


def _same(one: Array, other: Array) -> Array:
    """Whether rotation vectors are the same rotation, to what text and float32 keep."""
    matrices = [convert(each, "rotvec", "matrix") for each in (one, other)]
    return (np.abs(matrices[0] - matrices[1]) < _SAME_ENTRY).all(axis=(1, 2))
