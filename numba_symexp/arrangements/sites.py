"""The sites of a particle: which motions turn them into each other, and how two of them lie.

Copies (i, g) with pose A_i g carry labels f(g). Had particle i been refined to the equivalent pose
A_i h, its copy g would be today's copy h g. So a labeling is known only up to f(g) -> f(h g).
"""

from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SymmetryError, UsageError
from numba_symexp.symmetry.descriptions import direction, motion_in_words
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.quaternions import multiply, upward
from numba_symexp.symmetry.subgroups import Motions, group_symbol, left_cosets, principal_axis

MOST_SITES = 1_000
"""So many sites have half a million pairs."""

_CONJUGATE = np.array([1.0, -1.0, -1.0, -1.0])

_HALF_DEG = 180.0 + 1e-6


@dataclass(frozen=True)
class Relation:
    """How two sites lie to each other; all pairs of sites that lie so are alike.

    Attributes
    ----------
    name : str
        The turn from one to the other, such as ``1/7 turn about z``.
    pairs : int
        How many pairs of sites lie so; each counts once.
    sites : tuple of int
        One of these pairs.
    angle_deg : float
        Angle of the turn; of sites on axes of a subgroup, between these axes.
    distance_A : float or None
        Between the centers; None where there is no center.
    """

    name: str
    pairs: int
    sites: tuple[int, int]
    angle_deg: float
    distance_A: float | None


@dataclass(frozen=True)
class Sites:
    """The S sites that copies stand for, in the order of their operators.

    Attributes
    ----------
    operators : Operators
        Those of the copies, one for each site.
    full : Operators
        The full set, about the box center.
    turns : (K,) int64
        Numbers, in the full set, of the operators h that turn the sites into each other.
    mates : (K, S) int32
        Site h g of each h and each site g.
    relation : (S, S) int32
        Number of the relation of two sites; -1 on the diagonal.
    relations : tuple of Relation
    """

    operators: Operators
    full: Operators
    turns: Array
    mates: Array
    relation: Array
    relations: tuple[Relation, ...]

    def __len__(self) -> int:
        return len(self.operators)

    @property
    def by_subgroup(self) -> bool:
        """Whether a site stands for all operators of a coset."""
        return len(self.operators.subgroup) > 1

    @classmethod
    def of(cls, operators: Operators) -> "Sites":
        """Sites of the copies that these operators made.

        Raises
        ------
        UsageError
            There are too many, or the full set is not known.
        """
        if len(operators) > MOST_SITES:
            raise UsageError(
                f"{operators.symmetry} has {len(operators):,} operators, and arrangements are of "
                f"{MOST_SITES:,} sites at most"
            )
        full = _full_set(operators)
        motions = Motions(full)
        if motions.identity() < 0:
            raise UsageError(
                f"{full.symmetry} has no identity, so that no copy is the particle itself: give "
                "operators with it"
            )
        cosets, coset_of = _cosets(full, operators)
        products = motions.times(np.arange(len(full))[:, None], cosets[:, 0][None])
        turned = np.where(products < 0, -1, coset_of[products])
        used = coset_of[operators.full_index.astype(np.int64)]
        site_of = np.full(len(cosets) + 1, -1, np.int32)  # the last one is what leaves the set
        site_of[used] = np.arange(len(used))
        mates = site_of[turned[:, used]]
        turns = np.flatnonzero((mates >= 0).all(axis=1))
        whole = turned[(turned >= 0).all(axis=1)]
        relation, pairs = _relations(whole, used)
        relations = tuple(
            _described(operators, full, pair, count) for pair, count in zip(*pairs, strict=True)
        )
        return cls(
            operators,
            full,
            turns,
            np.ascontiguousarray(mates[turns]),
            relation,
            _with_distinct_names(relations),
        )

    def symmetry_of(self, turns: Array) -> str:
        """Group of some of the turns, and where its axis lies, in words."""
        numbers = self.turns[turns]
        name = group_symbol(len(numbers), int(self.full.fold[numbers].max(initial=1)))
        axis = principal_axis(self.full, numbers)
        return name if axis is None else f"{name} on {direction(axis)}"


def _full_set(operators: Operators) -> Operators:
    """The full set that operators were chosen of, about the box center."""
    if len(operators) == operators.full_order:
        return operators.about_box_center()
    try:
        return operators.symmetry.operators()
    except SymmetryError as error:
        raise UsageError(
            f"{operators.symmetry}: its operators were chosen of a set that the file does not "
            "hold, and which of them turn sites into each other is not known: expand by all"
        ) from error


def _cosets(full: Operators, operators: Operators) -> tuple[Array, Array]:
    """Left cosets of the subgroup by which operators were chosen, and the coset of each number."""
    identity = np.array([Motions(full).identity()])
    subgroup = operators.subgroup.astype(np.int64)
    cosets = left_cosets(full, subgroup if len(subgroup) else identity)
    coset_of = np.empty(len(full), np.int64)
    coset_of[cosets.ravel()] = np.repeat(np.arange(len(cosets)), cosets.shape[1])
    return cosets, coset_of


def _relations(turned: Array, used: Array) -> tuple[Array, tuple[list[tuple[int, int]], list[int]]]:
    """Number the orbits of pairs of cosets, and give a pair of each, and how many there are.

    Pairs (g, g') and (h g, h g') are alike: both have g^-1 g' in one double coset H d H. A pair
    has no order, so that d and d^-1 are one.
    """
    count = turned.shape[1]
    number = np.full((count, count), -1, np.int32)
    pairs: list[tuple[int, int]] = []
    for i in range(len(used)):
        for j in range(i + 1, len(used)):
            if number[used[i], used[j]] < 0:
                one, other = turned[:, used[i]], turned[:, used[j]]
                number[one, other] = number[other, one] = len(pairs)
                pairs.append((i, j))
    relation = number[np.ix_(used, used)]
    np.fill_diagonal(relation, -1)
    sizes = np.bincount(relation[np.triu_indices(len(used), 1)], minlength=len(pairs))
    return np.ascontiguousarray(relation), (pairs, sizes.tolist())


def _described(
    operators: Operators, full: Operators, pair: tuple[int, int], count: int
) -> Relation:
    """A relation, by one pair of sites: the smallest turn d = g^-1 g' of those in H d H."""
    distance_A = None
    if operators.center_A.any():
        one, other = operators.motion_A[list(pair)]
        distance_A = float(np.linalg.norm(one - other))
    subgroup = operators.subgroup.astype(np.int64)
    between = _smallest(_between(operators, pair), full.quaternion[subgroup], full)
    axis = principal_axis(full, subgroup) if len(subgroup) > 1 else None
    angle_deg = float(between.angle_deg[0])
    name = motion_in_words(
        angle_deg, between.axis[0], int(between.fold[0]), between.translation_A[0]
    )
    if between.fold[0] == 2 and not between.translation_A.any():
        name = f"across the dyad on {direction(upward(between.axis)[0])}"
    if axis is not None:
        first, second = operators.matrix[list(pair)] @ axis
        angle_deg = float(np.degrees(np.arccos(np.clip(first @ second, -1, 1))))
        name = f"axes {angle_deg:.1f} deg apart, {name}"
    return Relation(name, count, pair, angle_deg, distance_A)


def _between(operators: Operators, pair: tuple[int, int]) -> Operators:
    """The motion g^-1 g' between two sites: R^T R', and R^T (t' - t)."""
    first, second = operators.quaternion[list(pair)]
    moved_A = operators.translation_A[pair[1]] - operators.translation_A[pair[0]]
    rotation = operators.matrix[pair[0]]
    return Operators(
        multiply(first * _CONJUGATE, second)[None],
        (rotation.T @ moved_A)[None],
        ("",),
        operators.symmetry,
    )


def _smallest(between: Operators, subgroup: Array, full: Operators) -> Operators:
    """Of the motions h d h' with h and h' of a subgroup, and their inverses, the smallest turn."""
    if not len(subgroup):
        subgroup = np.array([[1.0, 0.0, 0.0, 0.0]])
    turns = multiply(multiply(subgroup[:, None], between.quaternion[None]), subgroup[None])
    turns = np.concatenate([turns.reshape(-1, 4) * _CONJUGATE, turns.reshape(-1, 4)])[::-1]
    moved_A = np.zeros((len(turns), 3))
    if len(turns) == 2:  # d and d^-1 = (R^T, -R^T t)
        back = -(between.matrix[0].T @ between.translation_A[0])
        moved_A = np.stack([between.translation_A[0], back])
    several = Operators(turns, moved_A, ("",) * len(turns), full.symmetry)
    counterclockwise = (upward(several.axis) * several.axis).sum(axis=1) > 0
    turned_deg = np.where(counterclockwise, several.angle_deg, 360 - several.angle_deg)
    turned_deg = np.where(turned_deg > _HALF_DEG, turned_deg + 360, turned_deg)
    best = int(np.lexsort((np.round(turned_deg, 6), np.round(several.angle_deg, 6)))[0])
    return several.choose([best], "", "")


def _with_distinct_names(relations: tuple[Relation, ...]) -> tuple[Relation, ...]:
    """Relations whose names differ: those of one name say which sites they are between."""
    names = [each.name for each in relations]
    return tuple(
        each
        if names.count(each.name) == 1
        else Relation(
            f"{each.name} (such as operators {each.sites[0]} and {each.sites[1]})",
            each.pairs,
            each.sites,
            each.angle_deg,
            each.distance_A,
        )
        for each in relations
    )
