"""What rows are chosen by: each criterion looks at the rows that are left."""

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.kernels.apart import keep_apart, keep_unlike
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import native
from numba_symexp.particles.words import numbers, texts_as_bytes
from numba_symexp.pose_block import Block
from numba_symexp.poses import HALF_SET, INDEX, KEY, PSIZE_A, Poses
from numba_symexp.symmetry.descriptions import number_ranges
from numba_symexp.symmetry.operators import Operators

_EXACT = 2.0**53
"""Whole numbers beyond it are not all different in float64."""


@dataclass(frozen=True)
class Rows:
    """Rows that are left of a set, with what criteria need of them.

    Attributes
    ----------
    poses : Poses
    row : (n,) int64
        Which ones, ascending.
    """

    poses: Poses
    row: Array

    def column(self, name: str, parameter: str) -> Array:
        """Values of a column of the rows, or of their particles: numbers, or words as bytes, (n,).

        Raises
        ------
        SourceError
            There is no such column, or it is not one value per row.
        """
        poses = self.poses
        own = name in poses.table.columns
        table = poses.table if own else poses.source
        column = table.columns.get(name)
        if column is None or column.shape or column.dtype.kind not in "iufbSO":
            what = "has no column" if column is None else f"{name} is {column}, and there is no"
            raise SourceError(
                f"{poses.table.path}: {what} {name} with one value per row (columns: "
                f"{table.columns_in_words()}): check {parameter}="
            )
        at = self.row if own else self.particles()
        return native(texts_as_bytes(table.read_at([name], at)[name]))

    def numbers(self, name: str, parameter: str) -> Array:
        """The same as numbers, (n,), whole ones as they are."""
        values = self.column(name, parameter)
        if values.dtype.kind == "S":
            return numbers(values, f"{self.poses.table.path}: {name}", 0)
        return values

    def particles(self) -> Array:
        """Particle of each row: its row in the source, or a key that its copies share, (n,)."""
        parts = (INDEX,) if self.poses.expanded is not None else (KEY,)
        found = np.empty(len(self.poses), np.uint64)
        for block in self.poses.blocks(parts, pose=False):
            keys = block.source_rows if self.poses.expanded is not None else block.key
            found[block.start : block.stop] = keys
        return found[self.row].astype(np.int64 if self.poses.expanded is not None else np.uint64)


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


class Criterion(abc.ABC):
    """A rule by which rows stay."""

    @property
    @abc.abstractmethod
    def why(self) -> str:
        """Why rows are left out, in words."""

    @abc.abstractmethod
    def keep(self, rows: Rows) -> Array:
        """Which of the rows stay, (n,) bool."""


@dataclass(frozen=True)
class ByOperator(Criterion):
    """Rows of some operators, by their numbers in the full set."""

    numbers: tuple[int, ...]

    @property
    def why(self) -> str:
        return f"of other operators than {number_ranges(sorted(self.numbers))}"

    def keep(self, rows: Rows) -> Array:
        known = _operators_needed(rows.poses, "operators=").full_index.tolist()
        missing = [number for number in self.numbers if number not in known]
        if missing:
            raise UsageError(
                f"operators={missing[0]}: {rows.poses.table.path} has operators "
                f"{number_ranges(sorted(known))} of the full set"
            )
        here = [known.index(number) for number in self.numbers]
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
        center_A = _operators_needed(rows.poses, "view=").center_A
        if not center_A.any():
            raise UsageError(
                "view= is about the direction to the center, and the set has none: expand it about "
                "a point"
            )
        direction = center_A / np.linalg.norm(center_A)

        def seen(block: Block) -> Array:
            matrix = convert(block.quaternion, "quaternion", "matrix")
            cosine = np.clip(matrix[:, :, 2] @ direction, -1, 1)  # (A c)_z with A = exp(v)^T
            angle_deg = np.degrees(np.arccos(cosine))
            return (angle_deg >= self.least_deg) & (angle_deg <= self.most_deg)

        return _by_block(rows, (), seen, True)


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


@dataclass(frozen=True)
class Best:
    """What comes first where one of several rows stays.

    Attributes
    ----------
    score : str or None
        Column; the largest value comes first, NaN last, and equals in the order of the file.
    seed : int or None
        Rows in an order that is drawn.
    """

    score: str | None = None
    seed: int | None = None

    @property
    def words(self) -> str:
        """How it is told, in words."""
        if self.seed is not None:
            return f"one drawn (seed {self.seed})"
        return "the first" if self.score is None else f"the one with the largest {self.score}"

    def order(self, rows: Rows, group: Array) -> Array:
        """Places of rows, group by group and the best first, (n,) int64."""
        if self.seed is not None:
            drawn = np.random.Generator(np.random.PCG64(self.seed)).permutation(len(group))
            return np.lexsort((drawn, group))
        if self.score is None:
            return np.argsort(group, kind="stable")
        score = rows.numbers(self.score, "score")
        if score.dtype.kind == "f":
            return np.lexsort((np.where(np.isnan(score), np.inf, -score), group))
        return np.lexsort((-np.unique(score, return_inverse=True)[1], group))


@dataclass(frozen=True)
class OnePerParticle(Criterion):
    """One copy of each particle."""

    best: Best

    @property
    def why(self) -> str:
        return f"beside another copy of their particle ({self.best.words} stays)"

    def keep(self, rows: Rows) -> Array:
        particle = rows.particles()
        order = self.best.order(rows, particle)
        kept = np.zeros(len(order), np.bool_)
        kept[order[_starts(particle[order])[:-1]]] = True
        return kept


@dataclass(frozen=True)
class Unlike(Criterion):
    """Copies of a particle that did not converge to one place and orientation."""

    least_A: float
    least_deg: float
    best: Best

    @property
    def why(self) -> str:
        return (
            f"that are within {self.least_A:g} A and {self.least_deg:g} deg of another copy of "
            f"their particle ({self.best.words} stays)"
        )

    def keep(self, rows: Rows) -> Array:
        group = rows.particles()
        order = self.best.order(rows, group)
        place_A, quaternion = _places(rows)
        kept = np.zeros(len(order), np.bool_)
        cosine = math.cos(math.radians(min(self.least_deg, 180.0) / 2)) - 1e-12
        keep_unlike(
            _starts(group[order]), place_A[order], quaternion[order], self.least_A, cosine, kept
        )
        return _back(kept, order)


@dataclass(frozen=True)
class Apart(Criterion):
    """Rows whose centers are not too near to another one that stays, in projection.

    Attributes
    ----------
    least_A : float
    within : {"particle", "micrograph"}
    best : Best
    micrographs : Places or None
        Of rows within one micrograph.
    """

    least_A: float
    within: str
    best: Best
    micrographs: "Places | None" = None

    @property
    def why(self) -> str:
        return (
            f"nearer than {self.least_A:g} A in projection to another row of their {self.within} "
            f"({self.best.words} stays)"
        )

    def keep(self, rows: Rows) -> Array:
        if rows.poses.components == 3:
            return self._keep_in_space(rows)
        if self.micrographs is None:
            group, place_A = rows.particles(), _places(rows)[0]
        else:
            group, place_A = self.micrographs.places(rows)
        order = self.best.order(rows, group)
        starts = _starts(group[order])
        kept = np.zeros(len(order), np.bool_)
        most = int(np.diff(starts).max(initial=0))
        head, following = np.empty(3 * most + 1, np.int64), np.empty(len(order), np.int64)
        sorted_A = np.ascontiguousarray(place_A[order])
        keep_apart(starts, sorted_A, self.least_A, head, following, kept)
        return _back(kept, order)

    def _keep_in_space(self, rows: Rows) -> Array:
        """Rows of subtomograms, whose places have a depth."""
        if self.micrographs is not None:
            raise UsageError(
                f"within=micrograph is for images, and {rows.poses.table.path} has subtomograms: "
                "distances are told within a particle"
            )
        least_A = float(np.nextafter(self.least_A, 0))  # as far apart as asked is far enough
        return Unlike(least_A, 180.0, self.best).keep(rows)


class Places(Protocol):
    """Tells where rows stand on their micrographs."""

    def places(self, rows: Rows) -> tuple[Array, Array]:
        """Micrograph of each row, (n,), and place of its center, (n, 2) in A."""


def apply(criteria: Sequence[Criterion], poses: Poses) -> tuple[Array, dict[str, int]]:
    """Rows that stay, ascending, and how many were left out for which reason."""
    rows = Rows(poses, np.arange(len(poses)))
    dropped: dict[str, int] = {}
    for criterion in criteria:
        kept = criterion.keep(rows) if len(rows.row) else np.zeros(0, np.bool_)
        dropped[criterion.why] = int(len(kept) - np.count_nonzero(kept))
        rows = Rows(poses, rows.row[kept])
    return rows.row, dropped


def _places(rows: Rows) -> tuple[Array, Array]:
    """Place of the center of each row beside its particle's, in A, and its rotation.

    x_image = (A x)_xy - s, so that the center stands at -s in the image's frame.
    """
    poses = rows.poses
    poses.require_psize("distances are in A")
    place_A = np.empty((len(poses), poses.components))
    quaternion = np.empty((len(poses), 4), np.float64)
    for block in poses.blocks((INDEX, PSIZE_A)):
        place_A[block.start : block.stop] = -block.shift_A
        quaternion[block.start : block.stop] = block.quaternion
    return place_A[rows.row], quaternion[rows.row]


def _starts(group: Array) -> Array:
    """Where each group begins among sorted rows, and the end, (G + 1,) int64."""
    if not len(group):
        return np.zeros(1, np.int64)
    new = np.flatnonzero(group[1:] != group[:-1]) + 1
    return np.concatenate([[0], new, [len(group)]]).astype(np.int64)


def _back(kept: Array, order: Array) -> Array:
    """What was said of sorted rows, in the order of the file."""
    found = np.empty(len(kept), np.bool_)
    found[order] = kept
    return found


def _by_block(
    rows: Rows, parts: Sequence[str], test: Callable[[Block], Array], pose: bool
) -> Array:
    """Test all rows, block by block."""
    found = np.empty(len(rows.poses), np.bool_)
    for block in rows.poses.blocks(parts, pose=pose):
        interrupts.check()
        found[block.start : block.stop] = test(block)
    return np.asarray(found[rows.row])
