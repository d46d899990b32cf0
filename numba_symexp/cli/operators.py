"""The verb `operators`, which lists the operators that `expand` would use.

It is written as the verbs of `expansion` are.
"""

import math
from typing import Any

from numba_symexp.cli.argv import Request
from numba_symexp.cli.flag_values import (
    integer,
    is_on,
    lengths,
    number,
    numbers,
    point,
    point_or_corner,
    points_or_files,
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
    length: str | None = None,
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
        Helix: number of units; they are counted 0, +1, -1, +2, ...
    operators_file
        Your own operators: 3 x 3 or 3 x 4 matrices, or RELION's symmetry file.
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
        Points as in expand: show where each operator puts them.
    length
        Distance of the centers from the box center, along their directions (A).
    unique
        Show one of the operators that put the center at the same place.
    tables
        Print the multiplication table too, and the left cosets of --modulo or --unique.
    json
        Print one JSON object, with quaternions and matrices.
    """
    from numba_symexp.symmetry.listing import list_operators

    asked: dict[str, Any] = {
        "symmetry": symmetry,
        "convention": convention,
        "twist": number("twist", twist),
        "rise": number("rise", rise),
        "order": integer("order", order),
        "operators_file": operators_file,
        "origin": _origin(origin, integer("box_px", box_px), number("psize", psize)),
        "operators": numbers("operators", operators),
        "modulo": modulo,
        "axis": point("axis", axis),
        "center": points_or_files("center", center),
        "length": lengths("length", length),
        "unique": is_on(unique),
        "tables": is_on(tables),
    }
    return Request(lambda: list_operators(**asked).as_dict(), operators_text, is_on(json))


def operators_text(record: dict[str, Any]) -> str:
    """Return the table of a set of operators."""
    rows = record["operators"]
    width = max(5, *(len(each["label"]) for each in rows))
    chosen = record["chosen"]
    lines = [record["description"]]
    if chosen:
        lines.append(f"{len(rows):,} of them: {chosen}")
    full = f"{'full':>5}  " if chosen else ""
    head = f"{'label':<{width}}  {'fold':>4}  {'angle_deg':>9}  {'axis':<24}"
    lines.append(f"{'index':>5}  {full}{head}  its subunit")
    for each in rows:
        full = f"{each['full_index']:>5}  " if chosen else ""
        axis = "  ".join(f"{part + 0.0:7.4f}" for part in each["axis"])
        lines.append(
            f"{each['index']:>5}  {full}{each['label']:<{width}}  {each['fold'] or '-':>4}  "
            f"{each['angle_deg']:9.4f}  {axis}  {each['place']}"
        )
    if "products" in record:
        lines += ["", "products: row times column; a . leaves the set", *_grid(record["products"])]
    if "left_cosets" in record:
        lines += ["", f"left cosets of {{{_joined(record['subgroup'])}}}, the first is used:"]
        lines += [_joined(row) for row in record["left_cosets"]]
    return "\n".join(lines)


def _origin(text: str | None, box_px: int | None, psize_A: float | None) -> Any:
    """Point from which translations count; the corner needs the map's box and voxel size."""
    from numba_symexp.symmetry.centers import CORNER, corner_of

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


def _grid(table: list[list[int]]) -> list[str]:
    """Numbers in columns."""
    width = len(str(len(table) - 1))
    return [" ".join(f"{'.' if n < 0 else n:>{width}}" for n in row) for row in table]


def _joined(numbers: list[int]) -> str:
    """Numbers with blanks between."""
    return " ".join(map(str, numbers))
