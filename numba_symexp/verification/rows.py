"""Every row of an expanded table against its source, block by block.

Poses and shifts are recomputed here, with matrices; the other columns say themselves what they
must be.
"""

from dataclasses import dataclass, field

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array, Progress
from numba_symexp.background import worked_on
from numba_symexp.expanded.column_kinds import CarriedColumn, DefocusColumn, HalfSetColumn, of_kind
from numba_symexp.expanded.output_column import CheckedRows, OutputColumn, RowsBesideSources, differ
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.kernels.jit import use_numba
from numba_symexp.kernels.threads import default_threads
from numba_symexp.particles.columns import pixel_size_column
from numba_symexp.particles.schema import OPERATOR_INDEX, SOURCE_INDEX, SPLIT, UID
from numba_symexp.symmetry.quaternions import matrices
from numba_symexp.verification.facts import drawn_halves
from numba_symexp.verification.matrices import rotation_matrices, row_errors

_BLOCK_ROWS = 131_072

_MOST_THREADS = 4
"""Reading is one thread's work, and few others keep up with it."""

_ANGLE_PER_EPS, _LEAST_ANGLE_RAD = 16, 1e-9
_SHIFT_PER_EPS, _LEAST_SHIFT = 16, 1e-11
"""Rounding of a stored number, a few times over; no less than what float64 itself leaves."""


@dataclass
class Offenders:
    """What failed a check: a fact of the file, or rows: the first, what is wrong, how many."""

    first: int | None = None
    what: str = ""
    count: int = 0
    fact: str = ""

    def add(self, bad: Array, place: Array, what: str) -> None:
        """Count the rows of a mask; ``place`` says which row of the table each is."""
        found = int(np.count_nonzero(bad))
        if found:
            self.add_rows(int(place[np.argmax(bad)]), what, found)

    def add_rows(self, row: int, what: str, count: int) -> None:
        """Count rows that were found in another way, of which one is named."""
        if self.first is None:
            self.first, self.what = row, what
        self.count += count

    def __bool__(self) -> bool:
        return bool(self.count or self.fact)

    def __str__(self) -> str:
        if self.fact:
            return self.fact
        return f"row {self.first} {self.what}; {self.count:,} row(s) in all"


@dataclass
class RowFindings:
    """What all rows together showed.

    Attributes
    ----------
    offenders : dict of str to Offenders
        By the name of the check: rows whose (source, operator) is not the one of their place
        (pairs), whose pose or shift is off, that should not have moved (unmoved rows), and rows in
        which a column is not what it must be.
    largest_angle_rad, largest_shift_px : float
    """

    offenders: dict[str, Offenders] = field(default_factory=dict)
    largest_angle_rad: float = 0.0
    largest_shift_px: float = 0.0

    def of(self, name: str) -> Offenders:
        """Offenders of a check."""
        return self.offenders.setdefault(name, Offenders())

    def add(self, later: "RowFindings") -> None:
        """Take in what rows further down showed."""
        for name, each in later.offenders.items():
            if each.first is not None:
                self.of(name).add_rows(each.first, each.what, each.count)
        self.largest_angle_rad = max(self.largest_angle_rad, later.largest_angle_rad, key=_size)
        self.largest_shift_px = max(self.largest_shift_px, later.largest_shift_px, key=_size)


@dataclass(frozen=True)
class _Read(RowsBesideSources):
    """Rows as they were read; those whose source or operator cannot be used are left out.

    Attributes
    ----------
    place : (n,) int64
        Which rows of the table.
    astray : (k,) int64
        Rows of the table that have another source or operator than their place says.
    """

    place: Array
    astray: Array


def check_rows(
    expanded: ExpandedTable, columns: tuple[OutputColumn, ...], progress: Progress | None = None
) -> RowFindings:
    """Recompute every row of an expanded table whose source is at hand.

    Parameters
    ----------
    expanded : ExpandedTable
    columns : tuple of OutputColumn
        What its job asks for; columns that the file lacks are found.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Raises
    ------
    SourceError
        A file cannot be read.
    """
    use_numba()  # sines of the verifier's own matrices are not stored
    checker = _RowChecker(expanded, columns)
    rows, order = len(expanded), len(expanded.operators)
    step = max(1, _BLOCK_ROWS // order) * order
    blocks = (checker.read(start, min(start + step, rows)) for start in range(0, rows, step))
    threads = min(default_threads(), _MOST_THREADS)
    for number, found in enumerate(worked_on(blocks, checker.check, threads), start=1):
        interrupts.check()
        checker.found.add(found)
        if progress:
            progress(min(number * step, rows), rows)
    checker.check_ids_apart()
    return checker.found


class _RowChecker:
    """Reads blocks of rows, and checks them, in any thread.

    Attributes
    ----------
    found : RowFindings
        What is wrong with the table as a whole; `check` gives what is wrong with rows.
    """

    def __init__(self, expanded: ExpandedTable, columns: tuple[OutputColumn, ...]) -> None:
        self.found = RowFindings()
        self._table, self._source = expanded.table, expanded.source
        self._pose, self._shift, self._format = expanded.pose_columns
        self._operators = operators = expanded.operators
        centers_A = operators.centers_A[operators.center_index]
        moves = zip(operators.matrix, operators.translation_A, centers_A, strict=True)
        self._translations_A = np.array([t + R @ c for R, t, c in moves])
        self._rotations = rotations = operators.matrix
        if len(operators.turn):  # poses are A R Q^T
            turns = matrices(operators.turn)[operators.center_index]
            self._rotations = np.array([R @ Q.T for R, Q in zip(rotations, turns, strict=True)])
        self._points_A = np.einsum("gji,gj->gi", self._rotations, self._translations_A)
        self._is_fixed = np.isin(np.arange(len(operators)), operators.fixed)
        self._psize_A = expanded.psize_given_A
        self._columns = self._compared(expanded, columns)
        self._names = [column.name for column in self._columns]
        read = [name for column in self._columns for name in column.reads]
        self._psize = None
        if operators.moves and self._psize_A is None:
            self._psize = pixel_size_column(self._source.columns, self._shift)
            read += [self._psize] if self._psize else []
        self._source_names = list(dict.fromkeys(read))
        self._depths = bool(of_kind(self._columns, DefocusColumn))
        self._drawn: Array | None = None
        for column in of_kind(self._columns, HalfSetColumn):
            if column.halves is not None:
                seed = column.halves.seed
                self._drawn = drawn_halves(seed, self._source, column.made_from)
        self._is_selected, self._last_pair = expanded.is_selected, -1
        self._first_id = self._find_first_id()
        self._id_stride = operators.full_order - 1
        eps = float(np.finfo(self._table.columns[self._pose].dtype).eps)
        self._angle_tolerance = max(_LEAST_ANGLE_RAD, _ANGLE_PER_EPS * eps)
        self._shift_eps = float(np.finfo(self._table.columns[self._shift].dtype).eps)

    def _compared(
        self, expanded: ExpandedTable, columns: tuple[OutputColumn, ...]
    ) -> list[OutputColumn]:
        """Columns of the job that the file has, and what is carried beyond it.

        What the file says of a column must be what the job implies.
        """
        stored = {column.name: column for column in expanded.output_columns}
        for wanted in columns:
            found = stored.get(wanted.name)
            if found is None:
                self.found.of(wanted.check_name).fact = f"{wanted.name} is missing"
            elif (said := _facts(found)) != (implied := _facts(wanted)):
                name = next(each for each in implied if said[each] != implied[each])
                self.found.of(
                    wanted.check_name
                ).fact = f"{wanted.name} has the {name} {said[name]}, not {implied[name]}"
        names = {column.name for column in columns}
        for column in expanded.output_columns:  # others may have added columns of their own
            own = isinstance(column, CarriedColumn) and column.name not in self._source.columns
            if column.name not in names and not own:
                fact = f"{column.name} is not a column that the job asks for"
                self.found.of(column.check_name).fact = fact
        return [column for column in columns if column.name in stored]

    def _find_first_id(self) -> int:
        """First of the mates' ids, as the first row of a mate has it."""
        full = self._operators.full_index.astype(np.int64)
        column = self._table.columns.get(UID)
        if not full.any() or column is None or column.dtype.kind != "u":
            return 0
        for start in range(0, self._table.n_rows, _BLOCK_ROWS):
            names, stop = [SOURCE_INDEX, OPERATOR_INDEX, UID], start + _BLOCK_ROWS
            rows = self._table.read(names, start, min(stop, self._table.n_rows))
            number = full[np.minimum(rows[OPERATOR_INDEX], len(full) - 1)]
            if number.any():
                row = int(np.argmax(number != 0))
                particle = int(rows[SOURCE_INDEX][row]) if self._is_selected else start // len(full)
                steps = particle * (self._operators.full_order - 1) + int(number[row]) - 1
                return (int(rows[UID][row]) - steps) % 2**64
        return 0

    def read(self, start: int, stop: int) -> _Read:
        """Read rows ``start`` to ``stop`` and their sources."""
        rows = self._table.read(self._names, start, stop)
        order, count = len(self._operators), self._source.n_rows
        place = np.arange(start, stop, dtype=np.int64)
        source = rows[SOURCE_INDEX].astype(np.int64)
        operator = rows[OPERATOR_INDEX].astype(np.int64)
        if self._is_selected:  # rows must follow each other, with others left out
            pair = source * order + operator
            off = np.append(pair[:1] <= self._last_pair, pair[1:] <= pair[:-1])
            off |= (source < 0) | (source >= count) | (operator >= order)
            self._last_pair = int(pair[-1]) if len(pair) else self._last_pair
        else:
            off = (source != place // order) | (operator != place % order)
        astray = place[off]
        if len(astray) or self._is_selected:
            known = (source >= 0) & (source < count) & (operator < order)
            rows = {name: column[known] for name, column in rows.items()}
            source, operator, place = source[known], operator[known], place[known]
            sources, index = np.unique(source, return_inverse=True)
        else:
            sources = np.arange(source[0], source[-1] + 1)
            index = source - source[0]
        from_source = self._source.read_at(self._source_names, sources) if len(sources) else {}
        return _Read(rows, from_source, index, source, operator, place, astray)

    def check(self, read: _Read) -> RowFindings:
        """Check rows."""
        found, astray = RowFindings(), read.astray
        text = "is not (source row // G, operator row % G)"
        if self._is_selected:
            text = "does not follow the row before it, or is no (source, operator)"
        found.of("pairs").add(np.ones(len(astray), np.bool_), astray, text)
        if not len(read.place):
            return found
        matrices = rotation_matrices(read.rows[self._pose], self._format)
        self._check_motion(read, matrices, found)
        depth_A = np.zeros(len(read.place))
        if self._depths:
            depth_A = self._depth_in_own_pose(matrices, read.operator)
        block = CheckedRows(
            read.rows,
            read.sources,
            read.index,
            read.source,
            read.operator,
            self._operators,
            self._first_id,
            self._source.path,
            depth_A,
            float(np.abs(self._points_A).sum(axis=1).max()) * self._angle_tolerance,
        )
        if self._drawn is not None:
            other = read.rows[SPLIT] != self._drawn[read.source]
            text = "has another half-set than was drawn"
            found.of("half-sets").add(other, read.place, text)
        for column in self._columns:
            for bad, what in column.offenders(block):
                found.of(column.check_name).add(bad, read.place, what)
        return found

    def _depth_in_own_pose(self, matrices: Array, operator: Array) -> Array:
        """Depth of the point at the image center, from the row's own pose.

        From the particle's box center to that point it is R c + t in the particle's frame, and
        c + R^T t in the frame of the row: what the row's shift says in the image plane,
        (A_g (c + R^T t))_xy = (s - s_g) psize, its third component says along the beam.
        """
        return np.einsum("ni,ni->n", matrices[:, :, 2], self._points_A[operator])

    def _check_motion(self, read: _Read, row_matrices: Array, found: RowFindings) -> None:
        """Check poses and shifts."""
        pose, shift, sources = read.rows[self._pose], read.rows[self._shift], read.sources
        angle, distance, scale = np.empty((3, len(pose)))
        size = np.full(len(sources[self._pose]), self._psize_A or 1.0)
        if self._psize_A is None and self._psize is not None:
            size = sources[self._psize]
        row_errors(
            rotation_matrices(sources[self._pose], self._format),
            read.index,
            read.operator,
            self._rotations,
            self._translations_A,
            row_matrices,
            sources[self._shift].astype(np.float64),
            1.0 / size.astype(np.float64),
            shift.astype(np.float64),
            angle,
            distance,
            scale,
        )
        tolerance = self._angle_tolerance + _deformation(sources[self._pose], self._format)
        bad = ~(angle <= tolerance)
        worst = angle[int(np.argmax(bad))]
        found.of("poses").add(bad, read.place, f"is {np.degrees(worst):.3g} deg off")
        bad = ~(distance <= _LEAST_SHIFT + _SHIFT_PER_EPS * self._shift_eps * scale)
        worst = distance[int(np.argmax(bad))]
        found.of("shifts").add(bad, read.place, f"is {worst:.3g} px off")
        found.largest_angle_rad = float(angle.max())
        found.largest_shift_px = float(distance.max())
        still = np.flatnonzero(self._is_fixed[read.operator])
        for name in (self._pose, self._shift):
            wanted = sources[name][read.index[still]]
            bad = differ(read.rows[name][still], wanted)
            text = f"should keep {name} of its source"
            found.of("unmoved rows").add(bad, read.place[still], text)

    def check_ids_apart(self) -> None:
        """See that ids of particles are all different, and that none is a mate's."""
        if UID not in self._source_names:
            return
        count, order = self._source.n_rows, len(self._operators)
        ids = self._source.read([UID], 0, count)[UID].astype(np.uint64)
        places = np.argsort(ids, kind="stable")
        own = ids[places]
        found = self.found.of("ids")
        double = np.flatnonzero(own[1:] == own[:-1])
        if len(double):
            pairs = np.sort(np.stack([places[double], places[double + 1]], axis=1), axis=1)
            one, other = (pairs[np.argmin(pairs[:, 0])] * order).tolist()
            found.add_rows(one, f"and row {other} share an id", len(double))
        if not count * self._id_stride:
            return
        last = self._first_id + count * self._id_stride
        inside = int(np.searchsorted(own, np.uint64(self._first_id)))
        if inside < count and int(own[inside]) < last:
            row = int(places[inside]) * order
            found.add_rows(row, "has the id of another particle's mate", 1)
        elif last > 2**64:
            found.add_rows(0, "and others have new ids that do not fit 64 bits", 1)


def _facts(column: OutputColumn) -> dict[str, object]:
    """What a file says of a column, but for the prose."""
    return {
        "kind": type(column).__name__,
        "type": column.dtype,
        "shape": column.shape,
        "units": column.units,
        **column.attributes,
    }


def _deformation(pose: Array, pose_format: str) -> float:
    """How far stored matrices are from orthonormal: so far two ways to repair them may differ."""
    if pose_format != "matrix" or not len(pose):
        return 0.0
    matrices = pose.astype(np.float64)
    return 4.0 * float(np.abs(matrices @ matrices.swapaxes(1, 2) - np.eye(3)).max())


def _size(error: float) -> float:
    """Size of an error, by which the largest is found; NaN is larger than any."""
    return np.inf if np.isnan(error) else error
