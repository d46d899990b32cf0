"""A set of recovered motions: which operators they are, whether they are a group, and which one."""

from dataclasses import dataclass, field, replace

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.copies.recover import Recovered
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.quaternions import multiply, upward
from numba_symexp.symmetry.subgroups import group_symbol

_LEAST_DEG, _LEAST_A = 0.05, 0.05
_ERRORS = 4.0
"""A mean may be off by this many of its standard errors."""

_AT_ONCE = 1 << 22
_ALL_PRODUCTS = 1 << 28
_SAME_AXIS_DEG = 1.0
_PARALLEL = 1e-3
"""A point may lie anywhere along axes that are as parallel as this (rad): the nearest is taken."""


@dataclass(frozen=True)
class MotionSet:
    """Motions g: x -> R x + t, each known to a tolerance.

    Attributes
    ----------
    quaternion : (K, 4) float64
    translation_A : (K, 3) float64
    tolerance_deg, tolerance_A : (K,) float64
        How far each may be from what it stands for.
    center_A : (3,) float64
        Point of the map from which ``translation_A`` counts; 0 is the box center.
    """

    quaternion: Array
    translation_A: Array
    tolerance_deg: Array
    tolerance_A: Array
    center_A: Array = field(default_factory=lambda: np.zeros(3))

    def __len__(self) -> int:
        return len(self.quaternion)

    @classmethod
    def of(cls, found: Recovered) -> "MotionSet":
        """Motions of copies, to four standard errors and at least 0.05 deg and 0.05 A."""
        means = found.means
        return cls(
            means.quaternion,
            means.translation_A if found.has_translation else np.zeros((len(found.copies), 3)),
            np.maximum(_LEAST_DEG, _ERRORS * means.error_deg),
            np.maximum(_LEAST_A, _ERRORS * means.error_A),
        )

    def numbers_in(self, operators: Operators) -> Array | None:
        """Number of the operator that each motion is, (K,) int64.

        None where a motion is none of them, or two are the same. A motion must also be at least
        twice as far from every other operator: where operators lie close, tolerances shrink.
        """
        if len(operators) < len(self):
            return None
        near, off, other = self._nearest(operators.quaternion, operators.translation_A)
        fits = (off <= 1) & (2 * off <= other)
        return near if fits.all() and len(np.unique(near)) == len(self) else None

    def same(self) -> tuple[int, int] | None:
        """Places of two motions that are one and the same, or None."""
        for place in range(1, len(self)):
            which = slice(place, place + 1)
            first = MotionSet(
                self.quaternion[which],
                self.translation_A[which],
                self.tolerance_deg[which],
                self.tolerance_A[which],
            )
            near, off, _ = first._nearest(self.quaternion[:place], self.translation_A[:place])
            if off[0] <= 1:
                return int(near[0]), place
        return None

    def outside(self) -> tuple[int, int] | None:
        """Places (i, j) of the first product g_i g_j that is no motion of the set, or None.

        Of more than 645 motions, some are multiplied with all.
        """
        count = len(self)
        some = max(1, min(count, _ALL_PRODUCTS // count**2))
        for i in range(0, count, -(-count // some)):
            w, x, y, z = self.quaternion[i]
            turned = _rotated(np.array([w, x, y, z]), self.translation_A)
            products = replace(
                self,
                quaternion=multiply(self.quaternion[i], self.quaternion),
                translation_A=turned + self.translation_A[i],
                # errors of both factors and of what the product should be
                tolerance_deg=self.tolerance_deg + self.tolerance_deg[i] + self.tolerance_deg.max(),
                tolerance_A=self.tolerance_A + self.tolerance_A[i] + self.tolerance_A.max(),
            )
            _, off, _ = products._nearest(self.quaternion, self.translation_A)
            if (off > 1).any():
                return i, int(np.argmax(off > 1))
        return None

    def relative_to(self, place: int) -> "MotionSet":
        """The motions from one of them: h^-1 g, with h at ``place``."""
        inverse = self.quaternion[place] * (1.0, -1.0, -1.0, -1.0)
        return replace(
            self,
            quaternion=multiply(inverse, self.quaternion),
            translation_A=_rotated(inverse, self.translation_A - self.translation_A[place]),
        )

    def about_fixed_point(self) -> "MotionSet | None":
        """Rotations about one point, which is the new center; None where they are not that.

        Nor are rotations about the box center.
        """
        if not (np.linalg.norm(self.translation_A, axis=1) > self.tolerance_A).any():
            return None
        moved = np.stack([_rotated(q, np.eye(3)).T for q in self.quaternion])
        push = np.eye(3) - moved  # t = c - R c
        center_A = np.linalg.lstsq(
            push.reshape(-1, 3), self.translation_A.reshape(-1), rcond=_PARALLEL
        )[0]
        left_A = self.translation_A - push @ center_A
        if (np.linalg.norm(left_A, axis=1) > 2 * self.tolerance_A).any():
            return None
        return replace(self, translation_A=left_A, center_A=center_A)

    def axes(self) -> list[tuple[int, Array]]:
        """Rotation axes as (fold, unit vector): the highest fold first, then the nearest +z."""
        vectors = self.quaternion[:, 1:]
        sine = np.linalg.norm(vectors, axis=1)
        turned = np.rad2deg(2 * sine) > self.tolerance_deg
        vectors = vectors[turned] / sine[turned, None]
        vectors = vectors[np.argsort(-sine[turned], kind="stable")]  # large turns tell it best
        found: list[tuple[int, Array]] = []
        while len(vectors):
            same = np.abs(vectors @ vectors[0]) > np.cos(np.deg2rad(_SAME_AXIS_DEG))
            found.append((int(np.count_nonzero(same)) + 1, upward(vectors[:1], 2)[0]))
            vectors = vectors[~same]
        return sorted(found, key=lambda axis: (-axis[0], -round(float(axis[1][2]), 2)))

    def group_name(self) -> str:
        """Symbol of the group that a closed set is, whatever its orientation."""
        axes = self.axes()
        return group_symbol(len(self), axes[0][0] if axes else 1)

    def _nearest(self, quaternion: Array, translation_A: Array) -> tuple[Array, Array, Array]:
        """Nearest of G motions to each of these.

        Returns
        -------
        near : (K,) int64
            Its number.
        off, other : (K,) float64
            How far it and the next one are, in tolerances.
        """
        count = len(quaternion)
        near, off, other = np.zeros(len(self), np.int64), *np.full((2, len(self)), np.inf)
        squares = (translation_A**2).sum(axis=1)
        step = max(1, _AT_ONCE // count)
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            cosine = np.abs(self.quaternion[part] @ quaternion.T)
            turned = np.rad2deg(2 * np.arccos(np.minimum(cosine, 1)))
            here = self.translation_A[part]
            square = (here**2).sum(axis=1)[:, None] + squares - 2 * here @ translation_A.T
            moved_A = np.sqrt(np.maximum(square, 0))
            far = np.maximum(
                turned / self.tolerance_deg[part, None], moved_A / self.tolerance_A[part, None]
            )
            near[part] = far.argmin(axis=1)
            off[part] = far.min(axis=1)
            if count > 1:
                other[part] = np.partition(far, 1, axis=1)[:, 1]
        return near, off, other


def _rotated(quaternion: Array, points: Array) -> Array:
    """Points (n, 3) turned by a quaternion."""
    w, vector = quaternion[0], quaternion[1:]
    across = np.cross(vector, points)
    return np.asarray(points + 2 * (w * across + np.cross(vector, across)))
