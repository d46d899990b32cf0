"""What is kept of rows of one group: one copy of a particle, or those that are apart."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import UsageError, warn
from numba_symexp.kernels.apart import keep_apart, keep_unlike
from numba_symexp.particles.findings import without_score
from numba_symexp.poses import INDEX, PSIZE_A
from numba_symexp.selection.criterion import Criterion, Rows


@dataclass(frozen=True)
class Best:
    """What comes first where one of several rows stays.

    Attributes
    ----------
    score : str or None
        Column; the largest value comes first, NaN last, and equals in the order of the file.
    seed : int or None
        Rows in an order that is drawn.
    lowest : bool
        The smallest value of the score comes first.
    """

    score: str | None = None
    seed: int | None = None
    lowest: bool = False

    @property
    def words(self) -> str:
        """How it is told, in words."""
        if self.seed is not None:
            return f"one drawn (seed {self.seed})"
        most = "smallest" if self.lowest else "largest"
        return "the first" if self.score is None else f"the one with the {most} {self.score}"

    def order(self, rows: Rows, group: Array) -> Array:
        """Places of rows, group by group and the best first, (n,) int64."""
        if self.seed is not None:
            drawn = np.random.Generator(np.random.PCG64(self.seed)).permutation(len(group))
            return np.lexsort((drawn, group))
        if self.score is None:
            return np.argsort(group, kind="stable")
        score = rows.numbers(self.score, "score")
        if score.dtype.kind == "f":
            missing = int(np.count_nonzero(np.isnan(score)))
            warn(without_score(rows.poses.table.path, self.score, missing, len(score)))
            signed = score if self.lowest else -score
            return np.lexsort((np.where(np.isnan(score), np.inf, signed), group))
        rank = np.unique(score, return_inverse=True)[1]
        return np.lexsort((rank if self.lowest else -rank, group))


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
        kept[order[_group_starts(particle[order])[:-1]]] = True
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
            _group_starts(group[order]),
            place_A[order],
            quaternion[order],
            self.least_A,
            cosine,
            kept,
        )
        return _in_file_order(kept, order)


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
        starts = _group_starts(group[order])
        kept = np.zeros(len(order), np.bool_)
        most = int(np.diff(starts).max(initial=0))
        head, following = np.empty(3 * most + 1, np.int64), np.empty(len(order), np.int64)
        sorted_A = np.ascontiguousarray(place_A[order])
        keep_apart(starts, sorted_A, self.least_A, head, following, kept)
        return _in_file_order(kept, order)

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


def _group_starts(group: Array) -> Array:
    """Where each group begins among sorted rows, and the end, (G + 1,) int64."""
    if not len(group):
        return np.zeros(1, np.int64)
    new = np.flatnonzero(group[1:] != group[:-1]) + 1
    return np.concatenate([[0], new, [len(group)]]).astype(np.int64)


def _in_file_order(kept: Array, order: Array) -> Array:
    """What was said of sorted rows, in the order of the file."""
    found = np.empty(len(kept), np.bool_)
    found[order] = kept
    return found
