"""The symmetry that a table itself states, as a first guess of what its copies are."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from numba_symexp.errors import SymmetryError
from numba_symexp.particles.schema import CONVENTION, CRYOSPARC_EXPANDED
from numba_symexp.poses import Poses
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.point_groups import CONVENTIONS
from numba_symexp.symmetry.spec import Helix, choose_convention, helix, point_group

_TWIST_DECIMALS, _RISE_DECIMALS = 4, 4
"""What float32 keeps of a twist in radians and of a rise in A."""


def convention_of(rows: Poses) -> str:
    """Convention whose names of groups come first for a table."""
    if rows.expanded is not None:
        return rows.expanded.operators.convention
    known = choose_convention(None, rows.table.attributes.get(CONVENTION))
    return known if known in CONVENTIONS else choose_convention(None)


def stated_symmetries(rows: Poses, convention: str) -> list[Operators]:
    """Symmetries that a table names, in all their orientations; often none."""
    if rows.expanded is not None:
        own = rows.expanded.operators
        try:
            full = own.symmetry.operators().variants()
            return full if own.chosen else [*full, own]
        except SymmetryError:
            return [own]
    return list(_by_cryosparc(rows, convention))


def longer_helix(operators: Operators) -> list[Operators]:
    """A helix long enough to hold any range of as many units; nothing for other symmetries.

    Programs choose the range of units themselves: what one calls n units may be 0 to n - 1.
    """
    symmetry = operators.symmetry
    if not isinstance(symmetry, Helix):
        return []
    try:
        return [replace(symmetry, order=2 * symmetry.order).operators()]
    except SymmetryError:
        return []


def _by_cryosparc(rows: Poses, convention: str) -> Iterator[Operators]:
    """Symmetries by the fields of CryoSPARC's Symmetry Expansion."""
    names = ("symmetry", "is_helix", "helix_twist_rad", "helix_rise_A", "helix_num_rises")
    fields = [f"{CRYOSPARC_EXPANDED}{name}" for name in names]
    there = [name for name in fields if name in rows.table.columns]
    first = rows.table.read(there, 0, 1)
    values: list[Any] = [first[name][0] if name in there else None for name in fields]
    symbol, is_helix, twist, rise_A, order = values
    try:
        group = point_group(symbol.decode() if symbol else "C1", convention)
        if is_helix:
            twist_deg = round(float(np.rad2deg(twist)), _TWIST_DECIMALS)
            group = helix(twist_deg, round(float(rise_A), _RISE_DECIMALS), int(order), group)
        elif not symbol:
            return
        yield from group.variants()
    except (SymmetryError, ValueError, TypeError, AttributeError):
        return  # a name of another program's own, or fields of another type: no guess
