"""The verb that prints operators; as those of `commands`."""

from numba_symexp.cli.request import Request, integer, is_on, number, numbers, point


def operators(
    *,
    symmetry: str | None = None,
    convention: str = "cryosparc",
    twist: str | None = None,
    rise: str | None = None,
    order: str | None = None,
    operators_file: str | None = None,
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
        operators=numbers("operators", operators),
        modulo=modulo,
        axis=point("axis", axis),
        center=point("center", center),
        unique=is_on(unique),
    )
    with_tables = is_on(tables)
    return Request(lambda: operators_record(request, with_tables), operators_text, is_on(json))
