"""The verb that works inside CryoSPARC; it is written as the verbs of `expansion` are."""

from dataclasses import asdict
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
    points,
    points_or_files,
)
from numba_symexp.cli.terminal import ProgressBar, readable_size


def cryosparc(
    particles: str,
    workspace: str,
    *,
    symmetry: str | None = None,
    convention: str | None = None,
    twist: str | None = None,
    rise: str | None = None,
    order: str | None = None,
    operators_file: str | None = None,
    origin: str | None = None,
    operators: str | None = None,
    modulo: str | None = None,
    axis: str | None = None,
    center: str | None = None,
    length: str | None = None,
    align: bool = False,
    align_axis: str | None = None,
    center_px: str | None = None,
    box_px: str | None = None,
    unique: bool = False,
    defocus: str | None = None,
    assign_halves: str | None = None,
    again: bool = False,
    title: str | None = None,
    url: str | None = None,
    email: str | None = None,
    dry_run: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Expand the particles of a job inside CryoSPARC, and save them as an External job.

    Example: numba-symexp cryosparc P3/J42 W1 --symmetry=D7

    It needs CryoSPARC 5 and its client: numba_symexp[cryosparc]. Log in once with
    python -m cryosparc.tools login, or set CRYOSPARC_EMAIL and CRYOSPARC_PASSWORD. The rows are
    verified before they are saved; they are whole in memory. Without CryoSPARC's server, expand a
    job folder or a .csg into a .cs, and use Import Result Group.

    Parameters
    ----------
    particles
        Project and job, such as P3/J42; of several outputs also which:
        P3/J42/particles_class_0.
    workspace
        Where the External job is created, such as W1.
    symmetry
        C1, Cn, Dn, T, O, I (= I2), I1, I2, I3 or I4; or a name of the convention's own.
    convention
        cryosparc (2-fold of Dn on y), relion (on x), chimerax, eman2, scipy or cistem; else
        cryosparc.
    twist
        Helix: degrees per unit, positive is right-handed; goes with --rise and --order.
    rise
        Helix: A per unit.
    order
        Helix: number of units; they are counted 0, +1, -1, +2, ...
    operators_file
        Your own operators: 3 x 3 or 3 x 4 matrices (text, .npy, PDB, mmCIF) or RELION's
        symmetry file; translations in A about the box center.
    origin
        Point x,y,z (A from the box center) from which the translations of that file count; or
        corner, that of the map, as in ChimeraX and in PDB files: goes with --box_px.
    operators
        Use these operators only, such as 0,2,5-7.
    modulo
        Use one operator of each left coset of this subgroup, such as C5.
    axis
        Axis x,y,z of that subgroup; else the one nearest to +z.
    center
        Move this point x,y,z of the map (A from the box center) to the image center; a marker file
        (.cmm), whose first marker is the particle's center; or mask:FILE.mrc, its center of mass.
        Several with semicolons: each gets operators of its own.
    length
        Move each center along its direction to this distance from the box center (A); one for all,
        or one for each with commas.
    align
        Turn the map about each center so that the direction to it lies on +z.
    align_axis
        Turn this axis x,y,z to +z instead.
    center_px
        The same point in voxels, counted from 0; goes with --box_px.
    box_px
        Side of the map in voxels; voxel box_px // 2 is the box center.
    unique
        Use one of the operators that put the center at the same place.
    defocus
        minus or plus: subtract or add the depth of the center from or to the defocus; else the
        defocus stays.
    assign_halves
        Seed of a random number generator: assign particles to half-sets where the source has none.
    again
        Expand particles that are already expanded.
    title
        Of the External job; else it names the symmetry.
    url
        Address of CryoSPARC, such as http://localhost:39000; else CRYOSPARC_BASE_URL.
    email
        Of the user; else CRYOSPARC_EMAIL. The password is never a flag.
    dry_run
        Read and check everything, save nothing.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    asked: dict[str, Any] = {
        "symmetry": symmetry,
        "convention": convention,
        "twist": number("twist", twist),
        "rise": number("rise", rise),
        "order": integer("order", order),
        "operators_file": operators_file,
        "origin": point_or_corner("origin", origin),
        "operators": numbers("operators", operators),
        "modulo": modulo,
        "axis": point("axis", axis),
        "center": points_or_files("center", center),
        "length": lengths("length", length),
        "align": is_on(align),
        "align_axis": point("align_axis", align_axis),
        "center_px": points("center_px", center_px),
        "box_px": integer("box_px", box_px),
        "unique": is_on(unique),
        "defocus": defocus,
        "assign_halves": integer("assign_halves", assign_halves),
        "again": is_on(again),
        "title": title,
        "url": url,
        "email": email,
        "dry_run": is_on(dry_run),
    }
    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        from numba_symexp.cryosparc_job import expand_in_cryosparc

        with ProgressBar(silent) as bar:
            return asdict(expand_in_cryosparc(particles, workspace, progress=bar.show, **asked))

    return Request(act, cryosparc_text, is_on(json), silent)


def cryosparc_text(report: dict[str, Any]) -> str:
    """Lines about an External job that was made, or would be."""
    made = "would save" if report["dry_run"] else f"saved {report['job']}/{report['output']}:"
    ending = "; nothing was saved" if report["dry_run"] else f", {report['seconds']:.2f} s"
    return "\n".join(
        [
            *(f"note: {note}" for note in report["notes"]),
            report["description"],
            f"{made} {report['sources']:,} particles of {report['particles']} x "
            f"{report['operators']:,} = {report['rows']:,} rows, "
            f"{readable_size(report['bytes'])}{ending}",
            report["next_steps"],
        ]
    )
