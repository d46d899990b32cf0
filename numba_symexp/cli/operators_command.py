"""The verb that prints operators; as those of `commands`."""

import math
from typing import Any

from numba_symexp.cli.request import (
    Request,
    integer,
    is_on,
    number,
    numbers,
    point,
    point_or_corner,
)
from numba_symexp.errors import UsageError


def operators(
    *,
    symmetry: str | None = None,
    convention: str = "cryosparc",
    twist: str | None = None,
    rise: str | None = None,
    order: str | None = None,
    operators_file: str | None = None,
    origin: str | None = None,
    box_px: str | None = None,
    psize: str | None = None,
    operators: str | None = None,
    modulo: str | None = None,
    axis: str | None = None,
    center: str | None = None,
    unique: bool = False,
    tables: bool = False,
    json: bool = False,
) -> Request:
    """Print the operators of a symmetry, where its axes lie, and where each puts its subunit.

    Example: numba-symexp operators --symmetry=I2

    Parameters
    ----------
    symmetry
        C1, Cn, Dn, T, O, I (= I2), I1, I2, I3 or I4; or a name of the convention's own.
    convention
        cryosparc (2-fold of Dn on y), relion (on x), chimerax, eman2, scipy or cistem.
    twist
        Helix: degrees per unit, positive is right-handed; goes with --rise and --order.
    rise
        Helix: A per unit.
    order
        Helix: number of units, 0, +1, -1, +2, ... cut after this many.
    operators_file
        Operators of your own: 3 x 3 or 3 x 4 matrices, or RELION's symmetry file.
    origin
        Point x,y,z (A from the box center) from which the translations of that file count; or
        corner, that of the map, as in ChimeraX and in PDB files: goes with --box_px and --psize.
    box_px
        Side of the map in voxels.
    psize
        A per voxel of the map.
    operators
        Show these operators only, such as 0,2,5-7.
    modulo
        Show one operator of each left coset of this subgroup, such as C5.
    axis
        Axis x,y,z of that subgroup; else the one nearest to +z.
    center
        Point x,y,z (A from the box centre): show where each operator puts it.
    unique
        Of operators that put the centre at the same place, show one.
    tables
        Print the multiplication table too, and the left cosets of --modulo or --unique.
    json
        Print one JSON object, with quaternions and matrices.
    """
    from numba_symexp.cli.operators_report import operators_record, operators_text
    from numba_symexp.symmetry.request import SymmetryRequest

    request = SymmetryRequest(
        symmetry=symmetry,
        convention=convention,
        twist=number("twist", twist),
        rise=number("rise", rise),
        order=integer("order", order),
        operators_file=operators_file,
        origin=_origin(origin, integer("box_px", box_px), number("psize", psize)),
        operators=numbers("operators", operators),
        modulo=modulo,
        axis=point("axis", axis),
        center=point("center", center),
        unique=is_on(unique),
    )
    with_tables = is_on(tables)
    return Request(lambda: operators_record(request, with_tables), operators_text, is_on(json))


def _origin(text: str | None, box_px: int | None, psize_A: float | None) -> Any:
    """Point from which translations count; the corner needs the map's box and voxel size."""
    from numba_symexp.symmetry.request import CORNER, corner_of

    given = point_or_corner("origin", text)
    if given != CORNER:
        if box_px is not None or psize_A is not None:
            raise UsageError(
                "--box_px and --psize go with --origin=corner, which is missing: add it"
            )
        return given
    if box_px is None or psize_A is None or not (box_px > 0 and 0 < psize_A < math.inf):
        raise UsageError("--origin=corner needs --box_px and --psize, both above 0")
    return tuple(corner_of(box_px, psize_A).tolist())
