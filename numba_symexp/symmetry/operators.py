"""Symmetry operators: rigid motions g: x -> R x + t of the map, with density(g x) = density(x).

One type serves point groups (t = 0), helices (t along z), operators from files (any t) and choices
of them; putting a point of the map at the image center is one more translation, and turning the map
about it one more rotation. Pure NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SymmetryError
from numba_symexp.symmetry.interface import MAX_OPERATORS, Symmetry
from numba_symexp.symmetry.quaternions import matrices, multiply

_ROUNDING_A = 1e-3
"""What rounding leaves where two translations cancel, with a pixel size in float32."""

FARTHEST_A = 1e9
"""No map is that large."""


@dataclass(frozen=True)
class Operators:
    """A list of symmetry operators; in a group or a helix the identity comes first.

    Attributes
    ----------
    quaternion : (G, 4) float64
        Rotation R of each operator, scalar first, length 1.
    translation_A : (G, 3) float64
        Translation t of each operator, in A from the box center.
    label : tuple of str
        Name of each operator: ``E`` the identity, ``C5.2^3`` three fifths of a turn about the
        second 5-fold axis, ``h-1`` one helical unit down.
    symmetry : Symmetry
        What the full set was made from.
    kind : str
        ``group``, ``helix`` or ``own`` (from a file); or what was chosen of one of these: a
        ``subset``, or a ``transversal``, one operator of each left coset of a subgroup.
    rise_index : (G,) int32
        Number of helical units in each operator; 0 in a point group.
    full_index : (G,) uint16
        Number of each operator in the full set.
    full_order : int
        Number of operators in the full set.
    chosen : str
        How a choice was made, such as ``one of each left coset of C5 on z``; else empty.
    subgroup : (H,) uint16
        Of a transversal: numbers of the subgroup's operators in the full set.
    center_A : (3,) or (C, 3) float64
        Point of the map, in A from the box center, that is put at the image center; or several
        points, each with operators of its own. Then ``full_index`` and ``full_order`` count the
        full set once for each point: number c F + f is operator f of F at point c.
    turn : (C, 4) float64
        Rotation Q of the map about each point, as a quaternion, scalar first: poses are A R Q^T.
        None, (0, 4), where the map is not turned.
    """

    quaternion: Array
    translation_A: Array
    label: tuple[str, ...]
    symmetry: Symmetry
    kind: str = "group"
    rise_index: Array = field(default_factory=lambda: np.zeros(0, np.int32))
    full_index: Array = field(default_factory=lambda: np.zeros(0, np.uint16))
    full_order: int = 0
    chosen: str = ""
    subgroup: Array = field(default_factory=lambda: np.zeros(0, np.uint16))
    center_A: Array = field(default_factory=lambda: np.zeros(3))
    turn: Array = field(default_factory=lambda: np.zeros((0, 4)))

    def __post_init__(self) -> None:
        order = len(self.quaternion)
        if order > MAX_OPERATORS:
            raise SymmetryError(
                f"{self.symmetry} has {order:,} operators; at most {MAX_OPERATORS:,} fit "
                "operator_index: use a lower order"
            )
        if self.center_A.shape == (1, 3):
            object.__setattr__(self, "center_A", self.center_A[0])
        if not len(self.rise_index):
            object.__setattr__(self, "rise_index", np.zeros(order, np.int32))
        if not len(self.full_index):
            object.__setattr__(self, "full_index", np.arange(order, dtype=np.uint16))
        if not self.full_order:
            object.__setattr__(self, "full_order", order)

    def __len__(self) -> int:
        return len(self.quaternion)

    def __repr__(self) -> str:
        count = f"{len(self):,}" if not self.chosen else f"{len(self):,} of {self.full_order:,}"
        facts = [f"{self.symmetry} ({self.convention})", f"{count} operator(s)", self.kind]
        facts += [self.chosen] if self.chosen else []
        if np.any(self.translation_A):
            facts.append(f"moving the box center by up to {self.largest_move_A:.4g} A")
        points = [f"({x:g}, {y:g}, {z:g})" for x, y, z in self.centers_A.tolist()]
        if len(points) > 1:
            facts.append(f"centers {', '.join(points)} A")
        elif np.any(self.center_A):
            facts.append(f"center {points[0]} A")
        facts += ["turned"] if len(self.turn) else []
        return f"<Operators {', '.join(facts)}>"

    @property
    def convention(self) -> str:
        """Convention of the symmetry."""
        return self.symmetry.convention

    @property
    def matrix(self) -> Array:
        """Rotation matrices R, (G, 3, 3) float64."""
        return matrices(self.quaternion)

    @property
    def angle_deg(self) -> Array:
        """Angle of rotation of each operator, (G,) float64 in [0, 180] degrees."""
        sine = np.linalg.norm(self.quaternion[:, 1:], axis=1)
        return np.rad2deg(2 * np.arctan2(sine, np.abs(self.quaternion[:, 0])))

    @property
    def axis(self) -> Array:
        """Unit axis of each rotation, (G, 3) float64; z for operators that do not turn."""
        vector = self.quaternion[:, 1:] * np.where(self.quaternion[:, :1] < 0, -1.0, 1.0)
        sine = np.linalg.norm(vector, axis=1, keepdims=True)
        return np.where(sine > 0, vector / np.where(sine > 0, sine, 1.0), (0.0, 0.0, 1.0))

    @property
    def fold(self) -> Array:
        """How often each operator must be repeated to close, (G,) int64; 0 where it never does."""
        turns = self.angle_deg / 360
        precision = self.symmetry.precision
        highest = precision.highest_fold
        folds = [Fraction(turn).limit_denominator(highest) for turn in turns.tolist()]
        closes = np.abs(turns - np.array([float(each) for each in folds])) < precision.turn
        closes &= self.rise_index == 0
        return np.where(closes, [each.denominator for each in folds], 0)

    @property
    def centers_A(self) -> Array:  # noqa: N802 - the unit is A
        """The points that are put at the image center, (C, 3) float64."""
        return self.center_A.reshape(-1, 3)

    @property
    def center_index(self) -> Array:
        """Number of the center of each operator, (G,) int64."""
        return self.full_index.astype(np.int64) // (self.full_order // len(self.centers_A))

    @property
    def group_index(self) -> Array:
        """Number of each operator in the full set about one center, (G,) int64."""
        return self.full_index.astype(np.int64) % (self.full_order // len(self.centers_A))

    @property
    def motion_A(self) -> Array:  # noqa: N802 - the unit is A
        """What moves the image, (G, 3) float64: t + R c, with the center c."""
        if not np.any(self.center_A):
            return self.translation_A
        if self.center_A.ndim == 1:
            return np.asarray(self.translation_A + self.matrix @ self.center_A)
        own_A = self.center_A[self.center_index]
        return np.asarray(self.translation_A + (self.matrix @ own_A[:, :, None])[:, :, 0])

    @property
    def pose_quaternion(self) -> Array:
        """What turns the poses, (G, 4) float64: R Q^T, with the turn Q of the map."""
        if not len(self.turn):
            return self.quaternion
        return multiply(self.quaternion, self.turn[self.center_index] * (1.0, -1.0, -1.0, -1.0))

    @property
    def seen_center_A(self) -> Array:  # noqa: N802 - the unit is A
        """Center of each operator in the frame of its rows, (G, 3) float64: Q c."""
        own_A = self.centers_A[self.center_index]
        if not len(self.turn):
            return own_A
        return np.asarray((matrices(self.turn)[self.center_index] @ own_A[:, :, None])[:, :, 0])

    @property
    def moves(self) -> bool:
        """Whether any row's shift differs from its source's, so that pixel sizes are needed."""
        return bool(np.any(self.motion_A))

    @property
    def fixed(self) -> Array:
        """Indices of the operators that change nothing (R = I, t + R c = 0)."""
        still = ~np.any(self.pose_quaternion[:, 1:], axis=1) & ~np.any(self.motion_A, axis=1)
        return np.flatnonzero(still)

    @property
    def largest_move_A(self) -> float:  # noqa: N802 - the unit is A
        """How far an operator moves the box center at most, in A."""
        with np.errstate(over="ignore"):
            return float(np.linalg.norm(self.translation_A, axis=1).max(initial=0.0))

    def counted_from(self, origin_A: Array | Sequence[float]) -> "Operators":
        """Operators about the box center, of which these are the same about another point.

        Parameters
        ----------
        origin_A : (3,) float
            The point, in A from the box center, from which these translations count.

        Notes
        -----
        g(x) = R (x - o) + t + o, so that t' = t + o - R o.
        """
        origin = np.asarray(origin_A, np.float64)
        moved_A = self.translation_A + origin - self.matrix @ origin
        moved_A[np.abs(moved_A) < _ROUNDING_A] = 0.0
        return replace(self, translation_A=moved_A + 0.0)

    def about_box_center(self) -> "Operators":
        """A full set, without points that are put at the image center."""
        return replace(self.of_each_center()[0], center_A=np.zeros(3), turn=np.zeros((0, 4)))

    def about(self, center_A: Array | Sequence[float], turn: Array | None = None) -> "Operators":
        """A full set about one or several points, in place of those that it has.

        Parameters
        ----------
        center_A : (3,) or (C, 3) float
            Points of the map, in A from the box center, that are put at the image center.
        turn : (C, 4) float64, optional
            Quaternion of the rotation of the map about each point.

        Raises
        ------
        SymmetryError
            There are more operators, with all points, than one set can have.
        """
        if len(self.centers_A) > 1:
            return self.about_box_center().about(center_A, turn)
        center_A = np.asarray(center_A, np.float64)
        turn = np.zeros((0, 4)) if turn is None else turn
        count = 1 if center_A.ndim == 1 else len(center_A)
        if count == 1:
            return replace(self, center_A=center_A, turn=turn)
        order = count * len(self)
        if order > MAX_OPERATORS:
            raise SymmetryError(
                f"{self.symmetry} about {count:,} centers has {order:,} operators; at most "
                f"{MAX_OPERATORS:,} fit operator_index: use fewer centers"
            )
        return replace(
            self,
            quaternion=np.tile(self.quaternion, (count, 1)),
            translation_A=np.tile(self.translation_A, (count, 1)),
            label=tuple(f"{each} @{center}" for center in range(count) for each in self.label),
            rise_index=np.tile(self.rise_index, count),
            full_index=np.arange(order, dtype=np.uint16),
            full_order=order,
            center_A=center_A,
            turn=turn,
        )

    def of_each_center(self) -> "list[Operators]":
        """The operators of each center, as if it were the only one."""
        count, order = len(self.centers_A), self.full_order // len(self.centers_A)
        if count == 1:
            return [self]
        return [self._of_center(center, order) for center in range(count)]

    def _of_center(self, center: int, order: int) -> "Operators":
        """The operators of one of several centers, of which a full set has ``order``."""
        here = np.flatnonzero(self.center_index == center)
        is_whole = len(here) == order
        subgroup = self.subgroup[self.subgroup // order == center] % order
        return replace(
            self,
            quaternion=self.quaternion[here],
            translation_A=self.translation_A[here],
            label=tuple(self.label[k].rpartition(" @")[0] for k in here),
            kind=self.symmetry.kind if is_whole else self.kind,
            rise_index=self.rise_index[here],
            full_index=(self.full_index[here] % order).astype(np.uint16),
            full_order=order,
            chosen="" if is_whole else self.chosen,
            subgroup=np.zeros(0, np.uint16) if is_whole else subgroup,
            center_A=self.center_A[center],
            turn=self.turn[center : center + 1],
        )

    def variants(self) -> "list[Operators]":
        """List these operators, and then the symmetry in its other orientations and hands."""
        return [self, *(each.operators() for each in self.symmetry.variants()[1:])]

    def choose(
        self, index: Array | Sequence[int], kind: str, chosen: str, subgroup: Sequence[int] = ()
    ) -> "Operators":
        """Some of the operators, by their numbers here; see the attributes of the same names."""
        index = np.asarray(index, dtype=np.int64)
        return replace(
            self,
            quaternion=self.quaternion[index],
            translation_A=self.translation_A[index],
            label=tuple(self.label[k] for k in index),
            kind=kind,
            rise_index=self.rise_index[index],
            full_index=self.full_index[index],
            chosen=chosen,
            subgroup=np.asarray(subgroup, np.uint16),
        )
