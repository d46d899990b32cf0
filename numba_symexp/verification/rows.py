"""Every row of an expanded table against its source, block by block."""

from dataclasses import dataclass, field

import numpy as np

from numba_symexp import interrupts
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.formats.relion.words import numbers
from numba_symexp.particles.columns import half_set_column, pixel_size_column
from numba_symexp.particles.schema import (
    OPERATOR_INDEX,
    SOURCE_INDEX,
    SPLIT,
    UID,
)
from numba_symexp.types import Array, Progress
from numba_symexp.verification.matrices import rotation_matrices, row_errors

_BLOCK_ROWS = 65_536

_ANGLE_PER_EPS, _LEAST_ANGLE_RAD = 16, 1e-9
_SHIFT_PER_EPS, _LEAST_SHIFT = 16, 1e-11
"""Rounding of a stored number, a few times over; no less than what float64 itself leaves."""


@dataclass
class Offenders:
    """Rows that failed a check: the first, what is wrong with it, and how many there are."""

    first: int | None = None
    what: str = ""
    count: int = 0

    def add(self, bad: Array, start: int, what: str) -> None:
        """Count the rows of a mask that starts with row ``start``."""
        found = int(np.count_nonzero(bad))
        if found and self.first is None:
            self.first, self.what = start + int(np.argmax(bad)), what
        self.count += found

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        return f"row {self.first} {self.what}; {self.count:,} row(s) in all"


@dataclass
class RowFindings:
    """What all rows together showed.

    Attributes
    ----------
    pairs, poses, shifts, still, halves, ids, defocus, carried : Offenders
        Rows whose (source, operator) is not the one of their place, whose pose or shift is off,
        that should not have moved, whose half-set, id or defocus is wrong, or a column of the
        source is.
    largest_angle_rad, largest_shift_px : float
    """

    pairs: Offenders = field(default_factory=Offenders)
    poses: Offenders = field(default_factory=Offenders)
    shifts: Offenders = field(default_factory=Offenders)
    still: Offenders = field(default_factory=Offenders)
    halves: Offenders = field(default_factory=Offenders)
    ids: Offenders = field(default_factory=Offenders)
    defocus: Offenders = field(default_factory=Offenders)
    carried: Offenders = field(default_factory=Offenders)
    largest_angle_rad: float = 0.0
    largest_shift_px: float = 0.0


def check_rows(expanded: ExpandedTable, progress: Progress | None = None) -> RowFindings:
    """Recompute every row of an expanded table whose source is at hand.

    Parameters
    ----------
    expanded : ExpandedTable
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Raises
    ------
    SourceError
        A file cannot be read.
    """
    checker = _RowChecker(expanded)
    rows, order = len(expanded), len(expanded.operators)
    step = max(1, _BLOCK_ROWS // order) * order
    for start in range(0, rows, step):
        interrupts.check()
        stop = min(start + step, rows)
        checker.check(start, stop)
        if progress:
            progress(stop, rows)
    checker.check_ids_apart()
    return checker.found


class _RowChecker:
    """Checks blocks of rows and keeps what it found."""

    def __init__(self, expanded: ExpandedTable) -> None:
        self.found = RowFindings()
        self._table, self._source = expanded.table, expanded.source
        self._pose, self._shift, self._format = expanded.pose_columns
        operators = expanded.operators
        self._operators = operators
        self._rotations = operators.matrix
        centre_A = operators.center_A
        self._translations_A = np.array(
            [
                t + R @ centre_A
                for R, t in zip(self._rotations, operators.translation_A, strict=True)
            ]
        )
        self._psize_A = expanded.psize_given_A
        names = [self._pose, self._shift]
        columns = self._source.columns
        self._split = half_set_column(columns, self._pose)
        self._psize = pixel_size_column(columns, self._shift) if operators.moves else None
        self._names = names + [n for n in (SPLIT, UID) if n in self._table.columns]
        self._defocus = expanded.defocus
        self._names += self._defocus
        self._carried = [n for n in self._table.columns if n in columns and n not in self._names]
        self._names += self._carried
        self._source_names = [n for n in self._names if n in columns and n != SPLIT]
        joined = [self._split] if SPLIT in self._names else []
        joined += [self._psize] if self._psize_A is None else []
        self._source_names += [n for n in joined if n and n not in self._source_names]
        self._first_id: int | None = None
        self._id_stride = operators.full_order - 1
        eps = float(np.finfo(self._table.columns[self._pose].dtype).eps)
        self._angle_tolerance = max(_LEAST_ANGLE_RAD, _ANGLE_PER_EPS * eps)
        self._shift_eps = float(np.finfo(self._table.columns[self._shift].dtype).eps)

    def check(self, start: int, stop: int) -> None:
        """Check rows ``start`` to ``stop``."""
        rows = self._table.read([*self._names, SOURCE_INDEX, OPERATOR_INDEX], start, stop)
        order, count = len(self._operators), self._source.n_rows
        place = np.arange(start, stop, dtype=np.int64)
        source = rows[SOURCE_INDEX].astype(np.int64)
        operator = rows[OPERATOR_INDEX].astype(np.int64)
        astray = (source != place // order) | (operator != place % order)
        self.found.pairs.add(astray, start, "is not (source row // G, operator row % G)")
        if astray.any():
            known = (source >= 0) & (source < count) & (operator < order)
            rows = {name: column[known] for name, column in rows.items()}
            place, source, operator = place[known], source[known], operator[known]
            if not len(place):
                return
        sources, index = np.unique(source, return_inverse=True)
        from_source = self._source.read_at(self._source_names, sources)
        self._check_motion(start, rows, from_source, index, operator)
        if SPLIT in rows and self._split is not None:
            bad = _differ(rows[SPLIT], from_source[self._split][index])
            self.found.halves.add(bad, start, "has another half-set than its particle")
        elif SPLIT in rows:
            first = np.searchsorted(index, np.arange(len(sources)))
            bad = _differ(rows[SPLIT], rows[SPLIT][first][index])
            self.found.halves.add(bad, start, "has another half-set than its mates")
        for name in self._carried:
            bad = _differ(rows[name], from_source[name][index])
            self.found.carried.add(bad, start, f"has not its particle's {name}")
        self._check_defocus(start, rows, from_source, index)
        if UID in self._source_names:
            self._check_ids(start, rows[UID], from_source[UID], index, source, operator)

    def _check_motion(
        self,
        start: int,
        rows: dict[str, Array],
        from_source: dict[str, Array],
        index: Array,
        operator: Array,
    ) -> None:
        """Check poses and shifts."""
        pose, shift = rows[self._pose], rows[self._shift]
        source_pose, source_shift = from_source[self._pose], from_source[self._shift]
        matrices = rotation_matrices(source_pose, self._format)
        angle, distance, scale = np.empty((3, len(pose)))
        size = np.full(len(source_pose), self._psize_A or 1.0)
        if self._psize_A is None and self._psize is not None:
            size = from_source[self._psize]
        row_errors(
            matrices,
            index,
            operator,
            self._rotations,
            self._translations_A,
            rotation_matrices(pose, self._format),
            source_shift.astype(np.float64),
            1.0 / size.astype(np.float64),
            shift.astype(np.float64),
            angle,
            distance,
            scale,
        )
        tolerance = self._angle_tolerance + _deformation(source_pose, self._format)
        bad = ~(angle <= tolerance)
        worst = angle[int(np.argmax(bad))]
        self.found.poses.add(bad, start, f"is {np.degrees(worst):.3g} deg off")
        bad = ~(distance <= _LEAST_SHIFT + _SHIFT_PER_EPS * self._shift_eps * scale)
        worst = distance[int(np.argmax(bad))]
        self.found.shifts.add(bad, start, f"is {worst:.3g} px off")
        self.found.largest_angle_rad = _larger(self.found.largest_angle_rad, angle)
        self.found.largest_shift_px = _larger(self.found.largest_shift_px, distance)
        still = np.isin(operator, self._operators.fixed)
        for name in (self._pose, self._shift):
            changed = np.zeros(len(pose), np.bool_)
            changed[still] = _differ(rows[name][still], from_source[name][index[still]])
            self.found.still.add(changed, start, f"should keep {name} of its source")

    def _check_defocus(
        self, start: int, rows: dict[str, Array], from_source: dict[str, Array], index: Array
    ) -> None:
        """Defocus of the particle, and the depth of the centre in the row's own pose."""
        if not self._defocus:
            return
        centre_A = self._operators.center_A
        depth_A = rotation_matrices(rows[self._pose], self._format)[:, :, 2] @ centre_A
        slack_A = np.linalg.norm(centre_A) * self._angle_tolerance
        for name, sign in self._defocus.items():
            own = from_source[name]
            if own.dtype.kind == "S":
                own = numbers(own, f"{self._source.path}: {name}", 0)
            wanted = own.astype(np.float64)[index] + sign * depth_A
            off = np.abs(rows[name] - wanted)
            eps = float(np.finfo(rows[name].dtype).eps)
            bad = ~((off <= slack_A + eps * np.abs(wanted)) | np.isnan(wanted))
            worst = off[int(np.argmax(bad))]
            self.found.defocus.add(bad, start, f"has a {name} that is {worst:.3g} A off")

    def _check_ids(
        self, start: int, ids: Array, own: Array, index: Array, source: Array, operator: Array
    ) -> None:
        """Operator 0 keeps the particle's id; the others count on from one first id."""
        if ids.dtype.kind != "u":
            self.found.ids.add(np.ones(len(ids), np.bool_), start, "has an id that is no number")
            return
        full = self._operators.full_index[operator].astype(np.uint64)
        keeps = full == 0
        bad = keeps & (ids != own[index].astype(np.uint64))
        self.found.ids.add(bad, start, "has not its particle's id")
        if keeps.all():
            return
        steps = source.astype(np.uint64) * np.uint64(self._id_stride) + full - np.uint64(1)
        if self._first_id is None:
            first = int(np.argmax(~keeps))
            self._first_id = (int(ids[first]) - int(steps[first])) % 2**64
        bad = ~keeps & (ids != steps + np.uint64(self._first_id))
        self.found.ids.add(bad, start, "has an id out of turn")

    def check_ids_apart(self) -> None:
        """See that ids of particles are all different, and that none is a mate's."""
        if UID not in self._source_names:
            return
        count = self._source.n_rows
        own = np.sort(self._source.read([UID], 0, count)[UID].astype(np.uint64))
        double = np.flatnonzero(own[1:] == own[:-1])
        order = len(self._operators)
        if len(double):
            self.found.ids.add(np.ones(len(double), np.bool_), 0, "shares an id with another")
        if self._first_id is not None:
            last = self._first_id + count * self._id_stride
            inside = np.searchsorted(own, np.uint64(self._first_id))
            if (inside < count and int(own[inside]) < last) or last > 2**64:
                taken = np.ones(1, np.bool_)
                self.found.ids.add(taken, order, "and others have ids that particles have")


def _deformation(pose: Array, pose_format: str) -> float:
    """How far stored matrices are from orthonormal: so far two ways to repair them may differ."""
    if pose_format != "matrix" or not len(pose):
        return 0.0
    matrices = pose.astype(np.float64)
    return 4.0 * float(np.abs(matrices @ matrices.swapaxes(1, 2) - np.eye(3)).max())


def _larger(before: float, values: Array) -> float:
    """Largest value so far; NaN stays."""
    return float(np.maximum(before, values.max(initial=0.0)))


def _differ(one: Array, other: Array) -> Array:
    """Rows that are not equal, bit for bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return np.ones(len(one), np.bool_)
    return (_bits(one) != _bits(other)).any(axis=1)


def _bits(values: Array) -> Array:
    """Bytes of each row, (n, width)."""
    rows = np.ascontiguousarray(values)
    return rows.view(np.uint8).reshape(len(rows), -1) if len(rows) else np.empty((0, 1), np.uint8)
