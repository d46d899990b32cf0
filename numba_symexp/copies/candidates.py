"""Known symmetries that a set of motions may be, or be part of."""

from collections.abc import Iterator

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.copies.motion_set import MotionSet
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.point_groups import HOUSE, other_dyad
from numba_symexp.symmetry.spec import point_group

_POLYHEDRAL = {"T": 12, "O": 24, "I2": 60}
_LEAST_PART = 4
"""Of Cn and Dn, a set must be at least a quarter: some angle is a multiple of 360/n for some n."""

_MOST_PARTS = 256
"""Of larger sets no part is looked for among Cn and Dn."""


def whole_groups(order: int, convention: str) -> Iterator[Operators]:
    """Point groups of an order, in every orientation that has a name."""
    first, second = conventions(convention)
    yield point_group(f"C{order}", first)
    if order % 2 == 0:
        yield point_group(f"D{order // 2}", first)
        yield point_group(f"D{order // 2}", second)
    for symbol, size in _POLYHEDRAL.items():
        if size == order:
            yield from point_group(symbol, _convention_of_names(convention)).variants()


def larger_groups(motions: MotionSet, convention: str) -> Iterator[Operators]:
    """Point groups of which a set may be a part, the smallest first."""
    found = [
        group
        for symbol, size in _POLYHEDRAL.items()
        if size > len(motions)
        for group in point_group(symbol, _convention_of_names(convention)).variants()
    ]
    found += _axial(motions, convention)
    yield from sorted(found, key=len)


def conventions(convention: str) -> tuple[str, str]:
    """A convention, and one whose Dn have their first 2-fold on the other axis."""
    return convention, other_dyad(convention)


def turns_about_z(motions: MotionSet) -> tuple[Array, Array] | None:
    """Angles (deg) by which motions turn about z, and which of them are 2-folds across it.

    A turn about z is Rz(angle); a 2-fold is Rz(angle) times the 2-fold on x. None where a motion is
    neither.
    """
    w, x, y, z = motions.quaternion.T
    tilt, half = (np.rad2deg(2 * np.arcsin(np.minimum(np.hypot(*p), 1))) for p in ((x, y), (w, z)))
    about = tilt <= motions.tolerance_deg
    across = half <= motions.tolerance_deg
    if not (about | across).all():
        return None
    return np.rad2deg(np.where(about, 2 * np.arctan2(z, w), 2 * np.arctan2(y, x))), ~about


def _axial(motions: MotionSet, convention: str) -> list[Operators]:
    """Cn and Dn that have all the turns of a set."""
    turns = turns_about_z(motions)
    if turns is None or len(motions) > _MOST_PARTS:
        return []
    angle, across = turns
    first, second = conventions(convention)
    dyads = angle[across]
    rest = np.concatenate([angle[~across], dyads - dyads[:1]])
    found = []
    for n in range(2, _LEAST_PART * len(motions) + 1):
        step = 360 / n
        if (np.abs(rest - step * np.round(rest / step)) > 2 * motions.tolerance_deg).any():
            continue
        if n > len(motions) and not across.any():
            found.append(point_group(f"C{n}", first))
        if len(motions) < 2 * n <= _LEAST_PART * len(motions):
            found += [point_group(f"D{n}", each) for each in (first, second)]
    return found


def _convention_of_names(convention: str) -> str:
    """Convention in which T, O and I2 have these names."""
    return convention if convention in HOUSE else HOUSE[0]
