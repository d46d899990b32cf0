"""From recovered motions to the operators of our tables."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.copies.candidates import larger_groups, whole_groups
from numba_symexp.copies.helix_fit import fitted_helices
from numba_symexp.copies.motion_set import MotionSet
from numba_symexp.copies.stated_symmetry import longer_helix
from numba_symexp.symmetry.operators import Operators

WHOLE, PART, OTHER, UNNAMED, NONE = "whole", "part", "other", "unnamed group", "no group"
"""Verdicts: a known set, part of one, another one than was given, a group without name, neither."""


@dataclass(frozen=True)
class Name:
    """What a set of motions is.

    Attributes
    ----------
    verdict : str
        ``whole``, ``part``, ``other``, ``unnamed group`` or ``no group``.
    motions : MotionSet
        The motions, about their own center where they have one.
    operators : Operators or None
        The known set.
    numbers : (K,) int64 or None
        Number there of each motion.
    """

    verdict: str
    motions: MotionSet
    operators: Operators | None = None
    numbers: Array | None = None


def name(
    motions: MotionSet, given: Operators | None, guesses: list[Operators], convention: str
) -> Name:
    """Find the known set that motions are, or are part of, about the box center or another point.

    Parameters
    ----------
    motions : MotionSet
    given : Operators, optional
        What they should be; anything else is then ``other``.
    guesses : list of Operators
        Looked at first.
    convention : str
        Whose names come first.
    """
    centered = motions.about_fixed_point()
    sets = [motions] if centered is None else [motions, centered]
    if given is not None:
        for each in sets:
            found = _first_that_fits(each, [given, *longer_helix(given)])
            if found:
                return found
    for each in sets:
        found = _whole_set(each, guesses, convention) or _part_of_set(each, guesses, convention)
        if found:
            return replace(found, verdict=OTHER) if given is not None else found
    is_group = motions.same() is None and motions.outside() is None
    return Name(UNNAMED if is_group else NONE, sets[-1] if is_group else motions)


def middle_of_helix(known: Name) -> int | None:
    """Place of the motion from which part of a helix counts as a whole one; None without such.

    RELION writes helical units in ascending order, the original in the middle of them.
    """
    if known.operators is None or known.numbers is None or known.operators.kind != "helix":
        return None
    unit = known.operators.rise_index[known.numbers]
    lowest, units = int(unit.min()), len(np.unique(unit))
    operators_per_unit = np.count_nonzero(known.operators.rise_index == 0)
    pure = known.numbers % operators_per_unit == 0
    place = np.flatnonzero(pure & (unit == lowest + (units - 1) // 2))
    return int(place[0]) if len(place) else None


def _whole_set(motions: MotionSet, guesses: list[Operators], convention: str) -> Name | None:
    """The first known set whose operators are the motions, all of them."""
    candidates = chain(
        guesses, whole_groups(len(motions), convention), fitted_helices(motions, convention)
    )
    return _first_that_fits(motions, (each for each in candidates if len(each) == len(motions)))


def _part_of_set(motions: MotionSet, guesses: list[Operators], convention: str) -> Name | None:
    """The first known set that has all the motions."""
    candidates = chain(
        guesses,
        chain.from_iterable(map(longer_helix, guesses)),
        fitted_helices(motions, convention),
        larger_groups(motions, convention),
    )
    return _first_that_fits(motions, candidates)


def _first_that_fits(motions: MotionSet, candidates: Iterable[Operators]) -> Name | None:
    """The first candidate that fits."""
    for operators in candidates:
        numbers = motions.numbers_in(operators)
        if numbers is not None:
            verdict = WHOLE if len(numbers) == len(operators) else PART
            return Name(verdict, motions, operators, numbers)
    return None


def why_no_group(motions: MotionSet, copies: Array) -> str:
    """Say what keeps motions from being a group: two are the same, or a product leaves the set."""
    same = motions.same()
    if same is not None:
        one, other = (int(copies[place]) for place in same)
        return f"copies {one} and {other} are the same motion"
    outside = motions.outside()
    if outside is None:
        return ""
    one, other = (int(copies[place]) for place in outside)
    first = np.rad2deg(2 * np.arccos(np.minimum(np.abs(motions.quaternion[list(outside), 0]), 1)))
    return (
        f"copy {one} ({first[0]:.2f} deg) after copy {other} ({first[1]:.2f} deg) makes a motion "
        "that is no copy"
    )
