"""Choose some operators of a set: by number, one of each coset, or one for each place."""

import numpy as np

from numba_symexp.errors import UsageError
from numba_symexp.symmetry.motions import Motions
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.resolve import direction
from numba_symexp.symmetry.subgroups import left_cosets, principal_axis, subgroup
from numba_symexp.types import Array

_SAME_PLACE_A = 0.1
"""Subunits whose centres are so close are one and the same."""

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
) -> Operators:
    """Choose operators of a full set, in one way at most.

    Parameters
    ----------
    full : Operators
        With the centre, if there is one.
    numbers : tuple of int, optional
        Numbers of the operators to be kept; each once.
    modulo : str, optional
        A subgroup: one operator of each of its left cosets is kept, the lowest.
    axis : tuple of float, optional
        Axis of the subgroup; see `subgroup`.
    unique : bool
        Of operators that put the centre at the same place, keep the lowest.

    Returns
    -------
    Operators
        Of kind ``subset`` or ``transversal``; the full set where nothing is chosen.

    Raises
    ------
    UsageError
        A number is beyond the set or comes twice, the set has no such subgroup, or operators that
        put the centre at one place are none.
    """
    if numbers:
        return _by_number(full, numbers)
    if modulo is not None:
        return _modulo(full, modulo, axis)
    return _one_for_each_place(full) if unique else full


def stabiliser(full: Operators) -> Array:
    """Numbers of the operators that leave the centre where it is, (H,) int64, ascending.

    With a centre on a symmetry axis these are the turns about it; else the identity alone, if the
    set has it.
    """
    moved_A = np.linalg.norm(full.motion_A - full.center_A, axis=1)
    motions = Motions(full)
    near = np.flatnonzero(moved_A <= _SAME_PLACE_A).tolist()
    found = motions.closure(near, len(full)) if near else None
    if found is None or (moved_A[found] > _LARGEST_STEP * _SAME_PLACE_A).any():
        return np.array([motions.identity()] if motions.identity() >= 0 else [], np.int64)
    return found


def at_one_place(operators: Operators) -> list[int]:
    """Numbers in the full set of the most operators that put the centre at one place, ascending.

    None of more operators than anybody puts about a point.
    """
    if len(operators) > _MOST_PLACES:
        return []
    apart_A = np.linalg.norm(operators.motion_A[:, None] - operators.motion_A[None], axis=2)
    together = apart_A <= _SAME_PLACE_A
    return operators.full_index[together[together.sum(axis=1).argmax()]].tolist()


def nearly_on_axis(full: Operators) -> tuple[int, float] | None:
    """Operator of the point group that moves the centre by a little, and how far in A, or None.

    Then the centre was probably meant to lie on an axis.
    """
    moved_A = np.linalg.norm(full.motion_A - full.center_A, axis=1)
    moved_A[(full.rise_index != 0) | (moved_A <= _SAME_PLACE_A)] = np.inf
    moved_A[stabiliser(full)] = np.inf
    nearest = int(np.argmin(moved_A))
    return (nearest, float(moved_A[nearest])) if moved_A[nearest] < _NEAR_AXIS_A else None


def _by_number(full: Operators, numbers: tuple[int, ...]) -> Operators:
    """Operators of these numbers, in ascending order."""
    beyond = [number for number in numbers if not 0 <= number < len(full)]
    if beyond:
        raise UsageError(
            f"--operators: {full.symmetry} has operators 0 to {len(full) - 1:,}, not {beyond[0]}"
        )
    kept = sorted(set(numbers))
    if len(kept) < len(numbers):
        double = next(number for number in numbers if numbers.count(number) > 1)
        raise UsageError(f"--operators: {double} is given twice: give it once")
    return full.choose(kept, "subset", f"operator(s) {listed(kept)}")


def _modulo(full: Operators, symbol: str, axis: tuple[float, float, float] | None) -> Operators:
    """One operator of each left coset of a subgroup."""
    numbers = subgroup(full, symbol, axis)
    cosets = left_cosets(full, numbers)
    about = principal_axis(full, numbers)
    place = "" if about is None else f" on {direction(about)}"
    chosen = f"one of each left coset of {symbol.strip().upper()}{place}"
    return full.choose(cosets[:, 0], "transversal", chosen, numbers.tolist())


def _one_for_each_place(full: Operators) -> Operators:
    """One operator of each left coset of the stabiliser of the centre."""
    numbers = stabiliser(full)
    if len(numbers) <= 1:
        together = at_one_place(full)
        if len(together) > 1:
            raise UsageError(
                f"--unique: operators {listed(together)} put the centre at one place and are no "
                "subgroup: choose with --operators"
            )
        return full
    chosen = f"one of the {len(numbers)} that put the centre at each place"
    cosets = left_cosets(full, numbers)
    return full.choose(cosets[:, 0], "transversal", chosen, numbers.tolist())


def listed(numbers: list[int]) -> str:
    """Numbers in ascending order as ``0,2,5-7``."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    runs = [run.tolist() for run in np.split(np.array(numbers), breaks)]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
