"""The other orientations that a symmetry may have, and symmetries by the name that a file keeps."""

from numba_symexp.symmetry.helices import helix, parts
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.orientations import CONVENTIONS, GENERATORS, HOUSE
from numba_symexp.symmetry.point_groups import point_group

_FOREIGN = "chimerax"
"""It has a name for every orientation that RELION and CryoSPARC lack."""


def named(symmetry: str, convention: str) -> Operators:
    """Operators of a full set by the name that it has in ``Operators.symmetry``.

    Raises
    ------
    SymmetryError
        The name is no point group's and no helix's.
    """
    found = parts(symmetry)
    if found is None:
        return point_group(symmetry, convention)
    twist_deg, rise_A, order, group = found
    return helix(twist_deg, rise_A, order, point_group(group, convention))


def variants(operators: Operators) -> list[Operators]:
    """A symmetry in every orientation that it has, as given first.

    Dn with the first 2-fold on y or on x (one and the same for even n), T and I in the
    orientations of all programs, helices of either hand. Operators from files have no other.

    Parameters
    ----------
    operators : Operators
        A full set.
    """
    if operators.kind == "own":
        return [operators]
    found = parts(operators.symmetry)
    if found is None:
        return [operators, *_other_groups(operators.symmetry, operators.convention)]
    twist_deg, rise_A, order, symbol = found
    group = point_group(symbol, operators.convention)
    groups = [group, *_other_groups(symbol, operators.convention)]
    hands = [twist_deg] if twist_deg % 180 == 0 else [twist_deg, -twist_deg]
    return [helix(turn, rise_A, order, each) for turn in hands for each in groups]


def _other_groups(symbol: str, convention: str) -> list[Operators]:
    """The other orientations of a point group."""
    if symbol[0] in "CD" and symbol[1:].isdigit():
        if symbol[0] == "C" or int(symbol[1:]) % 2 == 0:
            return []
        other = "relion" if CONVENTIONS[convention].dyad == "y" else "cryosparc"
        return [point_group(symbol, other)]
    orientation = CONVENTIONS[convention].names[symbol]
    house = convention if convention in HOUSE else HOUSE[0]
    return [
        point_group(name, house if name in CONVENTIONS[house].names else _FOREIGN)
        for name in GENERATORS
        if name[0] == orientation[0] and name != orientation
    ]
