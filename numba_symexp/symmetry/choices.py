"""Some operators of a full set: by number, one of each coset, or one for each place of a center."""

from collections.abc import Sequence

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import UsageError
from numba_symexp.symmetry.centers import ASLANT
from numba_symexp.symmetry.descriptions import direction, number_ranges
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.subgroups import (
    Motions,
    left_cosets,
    principal_axis,
    second_axis,
    standard_subgroups,
    subgroup,
)

SAME_PLACE_A = 0.1
"""Subunits whose centers are so close are one and the same."""

_NEAR_AXIS_A = 5.0
"""Closer than copies of a subunit are."""

_MOST_PLACES = 1_000

_LARGEST_STEP = 4
"""About an axis some turns move a point farther than others."""


def choose(
    full: Operators,
    numbers: tuple[int, ...] = (),
    modulo: str | None = None,
    axis: tuple[float, float, float] | None = None,
    unique: bool = False,
    which: str = "the center",
) -> Operators:
    """Choose operators of a full set, in one way at most.

    Parameters
    ----------
    full : Operators
        With the center, if there is one.
    numbers : tuple of int, optional
        Numbers of the operators to be kept; each once.
    modulo : str, optional
        A subgroup: one operator of each of its left cosets is kept, the lowest.
    axis : tuple of float, optional
        Axis of the subgroup; see `subgroup`.
    unique : bool
        Of operators that put the center at the same place, keep the lowest.
    which : str
        What the center is called in messages.

    Returns
    -------
    Operators
        Of kind ``subset`` or ``transversal``; the full set where nothing is chosen.

    Raises
    ------
    UsageError
        A number is beyond the set or comes twice, the set has no such subgroup, or operators that
        put the center at one place are none.
    """
    if len(full.centers_A) > 1:
        parts = [
            choose(each, numbers, modulo, axis, unique, f"the center {number}")
            for number, each in enumerate(full.of_each_center())
        ]
        return _choice_about_all(full, parts)
    if numbers:
        return _by_number(full, numbers)
    if modulo is not None:
        return _modulo(full, modulo, axis)
    return _one_for_each_place(full, which) if unique else full


def stabilizer(full: Operators) -> Array:
    """Numbers of the operators that leave the center where it is, (H,) int64, ascending.

    With a center on a symmetry axis these are the turns about it; else the identity alone, if the
    set has it.
    """
    moved_A = np.linalg.norm(full.motion_A - full.center_A, axis=1)
    motions = Motions(full)
    near = np.flatnonzero(moved_A <= SAME_PLACE_A).tolist()
    found = motions.closure(near, len(full)) if near else None
    if found is None or (moved_A[found] > _LARGEST_STEP * SAME_PLACE_A).any():
        return np.array([motions.identity()] if motions.identity() >= 0 else [], np.int64)
    return found


def at_one_place(operators: Operators) -> list[int]:
    """Numbers in the full set of the most operators that put the center at one place, ascending.

    None of more operators than anybody puts about a point.
    """
    if len(operators) > _MOST_PLACES:
        return []
    apart_A = np.linalg.norm(operators.motion_A[:, None] - operators.motion_A[None], axis=2)
    together = apart_A <= SAME_PLACE_A
    return operators.full_index[together[together.sum(axis=1).argmax()]].tolist()


def nearly_on_axis(full: Operators) -> tuple[int, float] | None:
    """Operator of the point group that moves the center by a little, and how far in A, or None.

    Then the center was probably meant to lie on an axis.
    """
    moved_A = np.linalg.norm(full.motion_A - full.center_A, axis=1)
    moved_A[(full.rise_index != 0) | (moved_A <= SAME_PLACE_A)] = np.inf
    moved_A[stabilizer(full)] = np.inf
    nearest = int(np.argmin(moved_A))
    return (nearest, float(moved_A[nearest])) if moved_A[nearest] < _NEAR_AXIS_A else None


def on_the_axis(full: Operators, number: int) -> Array:
    """Point (3,) that an operator leaves in place, and that is the nearest one to the center.

    R x + t = x with x = c + d, so that (1 - R) d = R c + t - c, of which d is the shortest.
    """
    moved_A = full.motion_A[number] - full.center_A
    return np.asarray(full.center_A + np.linalg.pinv(np.eye(3) - full.matrix[number]) @ moved_A)


def meetings(operators: Operators) -> list[tuple[int, int, float]]:
    """Pairs of centers that operators put at one place, or nearly, and how far apart in A."""
    places_A, center = operators.motion_A, operators.center_index
    along_A = places_A @ ASLANT  # places that are near are neighbors, or nearly so
    order = np.argsort(along_A, kind="stable")
    pairs, apart_A = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for further in range(1, len(places_A)):
        one, other = order[:-further], order[further:]
        near = along_A[other] - along_A[one] < _NEAR_AXIS_A
        if not near.any():
            break
        near &= center[one] != center[other]
        one, other = one[near], other[near]
        far_A = np.linalg.norm(places_A[one] - places_A[other], axis=1)
        meet = far_A < _NEAR_AXIS_A
        pairs.append(np.sort(np.stack([center[one], center[other]], axis=1)[meet], axis=1))
        apart_A.append(far_A[meet])
    both, least_A = np.concatenate(pairs), np.concatenate(apart_A)
    places = np.lexsort((least_A, *both.T[::-1]))
    found, first = np.unique(both[places], axis=0, return_index=True)
    nearest = zip(found.tolist(), least_A[places][first].tolist(), strict=True)
    return [(one, other, far_A) for (one, other), far_A in nearest]


def _choice_about_all(full: Operators, parts: Sequence[Operators]) -> Operators:
    """What was chosen for each of several centers, as a choice of the full set about all."""
    ways = [each.chosen for each in parts]
    if not any(ways):
        return full
    order = full.full_order // len(parts)
    numbers: list[int] = []
    subgroups: list[int] = []
    for center, part in enumerate(parts):
        own = part.subgroup if len(part.subgroup) else [Motions(part).identity()]
        numbers += (part.full_index.astype(np.int64) + center * order).tolist()
        subgroups += (np.asarray(own, np.int64) + center * order).tolist()
    chosen = ways[0]
    if len({*ways}) > 1:
        chosen = "; ".join(f"{_named(ways, way)}: {way or 'all'}" for way in dict.fromkeys(ways))
    if any(each.kind == "subset" for each in parts):
        return full.choose(numbers, "subset", chosen)
    return full.choose(numbers, "transversal", chosen, subgroups)


def _named(ways: Sequence[str], way: str) -> str:
    """The centers at which operators were chosen in one way, by their numbers."""
    numbers = [number for number, each in enumerate(ways) if each == way]
    return f"center{'s' if len(numbers) > 1 else ''} {number_ranges(numbers)}"


def _by_number(full: Operators, numbers: tuple[int, ...]) -> Operators:
    """Operators of these numbers, in ascending order."""
    beyond = [number for number in numbers if not 0 <= number < len(full)]
    if beyond:
        raise UsageError(
            f"operators={beyond[0]}: {full.symmetry} has operators 0 to {len(full) - 1:,}"
        )
    kept = sorted(set(numbers))
    if len(kept) < len(numbers):
        double = next(number for number in numbers if numbers.count(number) > 1)
        raise UsageError(f"operators={double} is given twice: give it once")
    return full.choose(kept, "subset", f"operator(s) {number_ranges(kept)}")


def _modulo(full: Operators, symbol: str, axis: tuple[float, float, float] | None) -> Operators:
    """One operator of each left coset of a subgroup."""
    numbers = subgroup(full, symbol, axis)
    cosets = left_cosets(full, numbers)
    about = principal_axis(full, numbers)
    place = "" if about is None else f" on {direction(about)}"
    across = second_axis(full, numbers)
    if across is not None and not any(
        np.array_equal(numbers, each) for each in standard_subgroups(full, symbol)
    ):  # the name and its first axis do not tell which Dn it is
        place += f", 2-fold on {direction(across)}"
    chosen = f"one of each left coset of {symbol.strip().upper()}{place}"
    return full.choose(cosets[:, 0], "transversal", chosen, numbers.tolist())


def _one_for_each_place(full: Operators, which: str) -> Operators:
    """One operator of each left coset of the stabilizer of the center."""
    numbers = stabilizer(full)
    if len(numbers) <= 1:
        together = at_one_place(full)
        if len(together) > 1:
            raise UsageError(
                f"unique=True: operators {number_ranges(together)} put {which} at one place and "
                "are not a subgroup: choose with operators="
            )
        return full
    # a file stores this text, so its spelling is part of the format
    chosen = f"one of the {len(numbers)} that put the centre at each place"
    cosets = left_cosets(full, numbers)
    return full.choose(cosets[:, 0], "transversal", chosen, numbers.tolist())
