"""The verb that looks at maps; as those of `commands`."""

from typing import Any

from numba_symexp.cli.request import Request, integer, is_on, number, point_or_corner


def mapcheck(
    file: str,
    *,
    symmetry: str | None = None,
    convention: str = "cryosparc",
    twist: str | None = None,
    rise: str | None = None,
    order: str | None = None,
    operators_file: str | None = None,
    origin: str | None = None,
    mask: str | None = None,
    radius: str | None = None,
    psize: str | None = None,
    bin: str | None = None,  # noqa: A002 - the name of the flag
    threshold: str | None = None,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Tell whether a map has a symmetry, in which orientation, and about the box centre.

    Example: numba-symexp mapcheck map.mrc --symmetry=D7

    Exits with 0 when the map has the symmetry as it is named, with 1 when it does not.

    Parameters
    ----------
    file
        Map (.mrc).
    symmetry
        Cn, Dn, T, O, I (= I2), I1, I2, I3 or I4; or a name of the convention's own.
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
        corner, that of the map, as in ChimeraX and in PDB files.
    mask
        Map of the same box, above 0.5 where to compare; else the largest sphere in the box.
    radius
        Radius of the sphere, A.
    psize
        A per voxel; else the header's.
    bin
        Average blocks of so many voxels along each side; 1 compares every voxel.
    threshold
        Share of the best correlation that the noise allows, which counts as a match; else 0.8.
    json
        Print one JSON object.
    quiet
        No progress bar, no report.
    """
    from numba_symexp.cli.mapcheck_report import map_text
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.maps.check import mapcheck as check
    from numba_symexp.maps.report import THRESHOLD
    from numba_symexp.symmetry.request import CORNER, SymmetryRequest

    request = SymmetryRequest(
        symmetry=symmetry,
        convention=convention,
        twist=number("twist", twist),
        rise=number("rise", rise),
        order=integer("order", order),
        operators_file=operators_file,
        origin=point_or_corner("origin", origin),
    )
    radius_A, psize_A = number("radius", radius), number("psize", psize)
    factor, share = integer("bin", bin), number("threshold", threshold)
    least = THRESHOLD if share is None else share
    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        with ProgressBar(silent, " comparisons") as bar:
            found = check(
                file,
                request.full(),
                mask,
                radius_A,
                psize_A,
                factor,
                least,
                bar.show,
                origin == CORNER,
            )
        return found.as_dict()

    return Request(act, map_text, is_on(json), silent, lambda report: 0 if report["fits"] else 1)
