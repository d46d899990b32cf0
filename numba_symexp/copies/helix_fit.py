"""Twist, rise, order and point group of a helix, from its motions."""

from collections.abc import Iterator

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.copies.candidates import conventions, turns_about_z
from numba_symexp.copies.motion_set import MotionSet
from numba_symexp.errors import SymmetryError
from numba_symexp.symmetry.interface import MAX_OPERATORS
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import helix, point_group

_DECIMALS = 4

_LESS_CERTAIN = (0.7, 0.25)
"""Shares of eight standard errors that a step between two heights may have, the surer first.

At 0.7 two heights differ by four standard errors of their difference. A false step makes a helix
that the motions are then found not to be.
"""


def fitted_helices(motions: MotionSet, convention: str) -> Iterator[Operators]:
    """Helices about z, alone or times Cn or Dn, that motions may be; often none.

    The rise is the least step between two heights, and the twist the turn between these; both are
    then fitted to all heights, outward from 0. Of the angles that Cn makes equal, the twist is the
    one nearest to 0.
    """
    turns = turns_about_z(motions)
    x_A, y_A, z_A = motions.translation_A.T
    if turns is None or (np.hypot(x_A, y_A) > motions.tolerance_A).any():
        return
    angle, across = turns
    height_A, wide_A = np.sort(z_A[~across]), 2 * float(motions.tolerance_A.max())
    gaps = np.diff(height_A)
    steps = [gaps[gaps > wide_A]]
    if len(gaps) and height_A[-1] - height_A[0] > 2 * wide_A:  # no ring with errors of height
        steps += [gaps[gaps > share * wide_A] for share in _LESS_CERTAIN]
    tried: set[float] = set()
    for found in steps:
        if len(found) and float(found.min()) not in tried:
            tried.add(float(found.min()))
            yield from _fitted(z_A, angle, across, float(found.min()), convention)


def _fitted(
    z_A: Array, angle: Array, across: Array, step_A: float, convention: str
) -> Iterator[Operators]:
    """Helices whose rise is about a step."""
    rise_A = _fitted_rise(z_A, step_A)
    if np.abs(z_A).max() > rise_A * MAX_OPERATORS:
        return
    unit = np.rint(z_A / rise_A)
    fold = int(np.count_nonzero((unit == 0) & ~across))
    if not fold or not (np.diff(np.sort(unit[~across])) == 1).any():
        return
    twist_deg = _fitted_twist(unit[~across], angle[~across], 360 / fold)
    order = int(max(1, (2 * unit).max(), (1 - 2 * unit).max()))
    decimals = _DECIMALS + len(str(order))
    for each in conventions(convention) if across.any() else (convention,):
        try:
            group = point_group(f"{'D' if across.any() else 'C'}{fold}", each)
            yield helix(round(twist_deg, decimals), round(rise_A, decimals), order, group)
        except SymmetryError:
            return


def _fitted_rise(z_A: Array, step_A: float) -> float:
    """Rise that heights are multiples of, from a first value."""
    reach = 1
    while True:
        near = z_A[np.abs(z_A) < (reach + 0.5) * step_A]
        unit = np.rint(near / step_A)
        if unit.any():
            step_A = float((unit * near).sum() / (unit**2).sum())
        if len(near) == len(z_A) or reach > MAX_OPERATORS:
            return step_A
        reach *= 2


def _fitted_twist(unit: Array, angle: Array, period: float) -> float:
    """Turn per unit, in (-period / 2, period / 2], where angles count up to a period."""
    order = np.argsort(unit, kind="stable")
    unit, angle = unit[order], angle[order]
    one = int(np.argmax(np.diff(unit) == 1))
    twist, reach = float(angle[one + 1] - angle[one]), 1
    while True:
        near = np.abs(unit) <= reach
        rest = angle[near] - unit[near] * twist
        rest -= period * np.round(rest / period)
        if unit[near].any():
            twist += float((unit[near] * rest).sum() / (unit[near] ** 2).sum())
        if near.all():
            return twist - period * float(np.ceil(twist / period - 0.5))
        reach *= 2
