"""The verb that names the copies of an expanded table; as those of `commands`."""

from typing import Any

from numba_symexp.cli.request import Request, integer, is_on, number
from numba_symexp.errors import UsageError


def match(
    file: str,
    *,
    symmetry: str | None = None,
    convention: str | None = None,
    twist: str | None = None,
    rise: str | None = None,
    order: str | None = None,
    psize: str | None = None,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Recover the operators of an expansion that any program wrote, and name them in our tables.

    Example: numba-symexp match J42_particles_expanded.cs

    Exits with 0 when the copies are a known symmetry or part of one, with 1 when they are not, or
    not the one that was given.

    Parameters
    ----------
    file
        Expanded .cs, .star or HDF5 table.
    symmetry
        What the copies should be: C1, Cn, Dn, T, O, I (= I2), I1, I2, I3 or I4; else all are tried.
    convention
        Of --symmetry: cryosparc (2-fold of Dn on y, the default), relion (on x), chimerax, eman2,
        scipy or cistem.
    twist
        Helix that the copies should be: degrees per unit; goes with --rise and --order.
    rise
        Helix: A per unit.
    order
        Helix: number of units.
    psize
        A per pixel of the shifts; else the column alignments3D/psize_A.
    json
        Print one JSON object, with quaternions and matrices.
    quiet
        No progress bar, no report.
    """
    from numba_symexp.cli.match_report import match_text
    from numba_symexp.cli.probe import probe
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.copies.match import match as recover_and_name
    from numba_symexp.symmetry.request import SymmetryRequest

    silent = is_on(quiet)
    given = None
    if any(each is not None for each in (symmetry, twist, rise, order)):
        given = SymmetryRequest(
            symmetry=symmetry,
            convention=convention,
            twist=number("twist", twist),
            rise=number("rise", rise),
            order=integer("order", order),
        ).full()
    elif convention is not None:
        raise UsageError("--convention says whose --symmetry is meant: give --symmetry too")
    psize_A = number("psize", psize)

    def act() -> dict[str, Any]:
        probe(file)
        with ProgressBar(silent) as bar:
            return recover_and_name(file, given, psize_A, bar.show).as_dict()

    return Request(
        act, match_text, is_on(json), silent, lambda report: 0 if report["matched"] else 1
    )
