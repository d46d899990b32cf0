"""What rows are chosen by, each for itself."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.kernels.codecs import convert
from numba_symexp.pose_block import Block
from numba_symexp.poses import HALF_SET, INDEX, Poses
from numba_symexp.selection.criterion import Criterion, Rows, values_in_words
from numba_symexp.symmetry.descriptions import number_ranges
from numba_symexp.symmetry.operators import Operators

_EXACT = 2.0**53
"""Whole numbers beyond it are not all different in float64."""


@dataclass(frozen=True)
class ByOperator(Criterion):
    """Rows of some operators, by their numbers in the full set."""

    numbers: tuple[int, ...]

    @property
    def why(self) -> str:
        return f"of other operators than {number_ranges(sorted(self.numbers))}"

    def keep(self, rows: Rows) -> Array:
        known = _operators_needed(rows.poses, "operators=").group_index
        missing = [number for number in self.numbers if number not in known]
        if missing:
            raise UsageError(
                f"operators={missing[0]}: {rows.poses.table.path} has operators "
                f"{number_ranges(np.unique(known).tolist())} of the full set"
            )
        here = np.flatnonzero(np.isin(known, self.numbers))
        return _by_block(rows, (INDEX,), lambda block: np.isin(block.operator, here), False)


@dataclass(frozen=True)
class ByCenter(Criterion):
    """Rows about some of the centers, by their numbers."""

    numbers: tuple[int, ...]

    @property
    def why(self) -> str:
        return f"about other centers than {number_ranges(sorted(self.numbers))}"

    def keep(self, rows: Rows) -> Array:
        operators = _operators_needed(rows.poses, "centers=")
        beyond = [each for each in self.numbers if each >= len(operators.centers_A)]
        if beyond:
            raise UsageError(
                f"centers={beyond[0]}: {rows.poses.table.path} has centers 0 to "
                f"{len(operators.centers_A) - 1}"
            )
        here = np.flatnonzero(np.isin(operators.center_index, self.numbers))
        return _by_block(rows, (INDEX,), lambda block: np.isin(block.operator, here), False)


@dataclass(frozen=True)
class ByView(Criterion):
    """Rows whose point is seen at some angle from the beam: acos((A_g c)_z / |c|), 0 to 180 deg."""

    least_deg: float
    most_deg: float

    @property
    def why(self) -> str:
        return f"seen at less than {self.least_deg:g} or more than {self.most_deg:g} deg"

    def keep(self, rows: Rows) -> Array:
        angle_deg = self._angle_deg(rows)

        def is_seen(block: Block) -> Array:
            found_deg = angle_deg(block)
            return (found_deg >= self.least_deg) & (found_deg <= self.most_deg)

        return _by_block(rows, (INDEX,), is_seen, True)

    def what_rows_have(self, rows: Rows) -> str:
        seen_deg = _by_block(rows, (INDEX,), self._angle_deg(rows), True, np.float32)
        return f"{values_in_words(seen_deg)} deg"

    def _angle_deg(self, rows: Rows) -> Callable[[Block], Array]:
        """What gives the angles of a block, (n,)."""
        center_A = _operators_needed(rows.poses, "view=").seen_center_A
        if not center_A.any(axis=1).all():
            raise UsageError(
                "view= is about the direction to the center, and the set has none: expand it about "
                "a point"
            )
        direction = center_A / np.linalg.norm(center_A, axis=1, keepdims=True)

        def angle_deg(block: Block) -> Array:
            matrix = convert(block.quaternion, "quaternion", "matrix")
            # (A c)_z with A = exp(v)^T
            cosine = np.einsum("ni,ni->n", matrix[:, :, 2], direction[block.operator])
            return np.degrees(np.arccos(np.clip(cosine, -1, 1)))

        return angle_deg


@dataclass(frozen=True)
class ByValue(Criterion):
    """Rows whose column has a value, or one in a range."""

    column: str
    text: str

    @property
    def why(self) -> str:
        return f"whose {self.column} is not {self.text}"

    def keep(self, rows: Rows) -> Array:
        low, dots, high = self.text.partition("..")
        if dots and _is_bound(low) and _is_bound(high):
            values = rows.numbers(self.column, "where")
            least, most = _number(low or "-inf"), _number(high or "inf")
            if least > most:
                raise UsageError(
                    f"where={self.column}={self.text}: the range ends before it begins"
                )
            return np.asarray((values >= least) & (values <= most))
        values = rows.column(self.column, "where")
        if values.dtype.kind == "S":
            same = values == self.text.encode()
            return np.asarray(same | _same_numbers(values, self.text))
        if not _is_bound(self.text):
            raise UsageError(
                f"where={self.column}={self.text}: {self.text!r} is no number: give a value, or a "
                "range such as 0.5..2"
            )
        return np.asarray(values == _number(self.text))

    def what_rows_have(self, rows: Rows) -> str:
        read = rows.numbers if ".." in self.text else rows.column
        return values_in_words(read(self.column, "where"))


@dataclass(frozen=True)
class ByHalf(Criterion):
    """Rows of one half-set, 1 or 2 as RELION counts."""

    half: int

    @property
    def why(self) -> str:
        return f"of the other half-set than {self.half}"

    def keep(self, rows: Rows) -> Array:
        if not rows.poses.has_split:
            raise SourceError(f"{rows.poses.table.path}: has no half-sets: leave out half=")

        def of_half(block: Block) -> Array:
            assert block.split is not None  # which was just seen
            return block.split.astype(np.int64) + 1 == self.half

        return _by_block(rows, (HALF_SET,), of_half, False)


def _operators_needed(poses: Poses, parameter: str) -> Operators:
    """The operators; refuses rows that do not say which is theirs.

    Raises
    ------
    UsageError
        They are no expanded table of ours.
    """
    if poses.operators is None:
        raise UsageError(
            f"{parameter} needs the operators, which {poses.table.path} does not hold: select from "
            "the expanded HDF5 table"
        )
    return poses.operators


def _number(text: str) -> int | float:
    """Number of a text; a whole one is exact."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _is_bound(text: str) -> bool:
    """Whether a text may end a range: an end that is missing is open."""
    try:
        return not text or not math.isnan(float(text))
    except ValueError:
        return False


def _same_numbers(words: Array, text: str) -> Array:
    """Which words (n,) are the same number as a text, though written otherwise."""
    none = np.zeros(len(words), np.bool_)
    if not text or not _is_bound(text) or abs(float(text)) >= _EXACT:
        return none
    try:
        return np.asarray(words.astype(np.float64) == float(text))
    except ValueError:
        return none


def _by_block(
    rows: Rows,
    parts: Sequence[str],
    value: Callable[[Block], Array],
    pose: bool,
    dtype: type[np.generic] = np.bool_,
) -> Array:
    """A value of each row, (n,), block by block; by default whether something is so."""
    found = np.empty(len(rows.poses), dtype)
    for block in rows.poses.blocks(parts, pose=pose):
        found[block.start : block.stop] = value(block)
    return np.asarray(found[rows.row])
