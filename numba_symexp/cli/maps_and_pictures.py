"""The verbs about maps and pictures: `mapcheck` and `plot`.

They are written as the verbs of `expansion` are.
"""

from dataclasses import asdict
from typing import Any

from numba_symexp.cli.argv import Request
from numba_symexp.cli.flag_values import integer, is_on, number, point_or_corner
from numba_symexp.cli.terminal import ProgressBar


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
    """Check whether a map has a symmetry, in which orientation, and about the box center.

    Example: numba-symexp mapcheck map.mrc --symmetry=D7

    The exit code is 0 when the map has this symmetry in this orientation, and 1 when it does not.

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
        Helix: number of units; they are counted 0, +1, -1, +2, ...
    operators_file
        Your own operators: 3 x 3 or 3 x 4 matrices, or RELION's symmetry file.
    origin
        Point x,y,z (A from the box center) from which the translations of that file count; or
        corner, that of the map, as in ChimeraX and in PDB files.
    mask
        Mask of the same box: voxels above 0.5 are compared; else the largest sphere in the box.
    radius
        Radius of the sphere, A.
    psize
        A per voxel; else the value of the header.
    bin
        Average blocks of this many voxels along each side; 1 compares every voxel.
    threshold
        Share of the best correlation that the noise allows; more counts as a match; else 0.8.
    json
        Print one JSON object.
    quiet
        No progress bar, no report.
    """
    from numba_symexp.maps.check import mapcheck as check
    from numba_symexp.maps.report import THRESHOLD
    from numba_symexp.symmetry.centers import CORNER
    from numba_symexp.symmetry.request import SymmetryRequest

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


def map_text(report: dict[str, Any]) -> str:
    """Lines about a map: the `MapReport`, as a dict."""
    named = report["named"]
    width = max(len(each["label"]) for each in named["operators"])
    x, y, z = report["box"]
    lines = [
        f"{report['file']}: {x} x {y} x {z} voxels of {report['psize_A']:.4g} A, compared at "
        f"{report['compared_A']:.4g} A per voxel, {report['mask_voxels']:,} voxels in the mask",
        *_without(report["without"]),
        *(f"  {each['label']:<{width}}  {_operator(each)}" for each in named["operators"]),
        f"{named['description']}: worst {_number(named['worst'])}, mean {_number(named['mean'])}",
        *(f"{each['description']}: worst {_number(each['worst'])}" for each in report["others"]),
    ]
    if report["ceiling"] is not None:
        lines.append(
            f"noise is {100 * report['noise']:.0f} % of the variance: the best correlation that "
            f"can be expected is {report['ceiling']:.2f}, and {100 * report['threshold']:g} % of "
            "it counts as a match"
        )
    lines += [f"warning: {note}" for note in report["notes"]]
    return "\n".join([*lines, f"{report['file']}: {report['verdict']}", *_reorient(report)])


def _reorient(report: dict[str, Any]) -> list[str]:
    """The command that turns and moves the particles instead of the map."""
    flags = []
    if report["rotation"] is not None:
        rows = ",".join(f"{part:.9f}" for row in report["rotation"] for part in row)
        flags.append(f"--matrix={rows}")
    if report["center_A"] is not None and any(report["center_A"]):
        flags.append("--center=" + ",".join(f"{part:g}" for part in report["center_A"]))
    if not flags:
        return []
    command = f"numba-symexp reorient PARTICLES OUTPUT {' '.join(flags)}"
    return [f"or turn the particles, which then reconstruct the turned map: {command}"]


def _without(over: str) -> list[str]:
    """Line about what was taken out of the density."""
    if over not in _WHERE:
        return []
    return [
        f"the means over {_WHERE[over]} were removed before density was correlated: no orientation "
        "changes them"
    ]


_WHERE = {
    "spheres": "spheres about the center",
    "rings": "rings about z",
    "pairs": "rings about z, those above and below the center together,",
    "cylinders": "cylinders about z",
}


def _operator(fit: dict[str, Any]) -> str:
    """Correlation of one operator."""
    return "outside the box" if fit["correlation"] is None else f"{fit['correlation']:6.3f}"


def _number(value: float | None) -> str:
    """Correlation of an orientation."""
    return "not compared" if value is None else f"{value:.3f}"


def plot(
    file: str,
    output: str,
    *,
    symmetry: str | None = None,
    convention: str | None = None,
    source: str | None = None,
    passthrough: str | None = None,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    overwrite: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Draw the viewing directions and shifts of a table, before and after its expansion.

    Example: numba-symexp plot expanded.h5 expanded.png

    Parameters
    ----------
    file
        Particle table, expanded or not: HDF5; .star of RELION or M; CryoSPARC .cs, .csg or job
        folder; Dynamo .tbl.
    output
        Picture to write: .png, .svg or .pdf.
    symmetry
        Mark the axes of C1, Cn, Dn, T, O, I (= I2), I1, I2, I3 or I4, or of a name of the
        convention's own; the axes of an expanded table are always marked.
    convention
        cryosparc (2-fold of Dn on y), relion (on x), chimerax, eman2, scipy or cistem; else the
        table's, else cryosparc.
    source
        The table that an expanded one was expanded from, if the file has moved.
    passthrough
        Passthrough file of a .cs, or several with commas.
    table
        Place of the table in the file; else /particles, else the root.
    pose
        Column of the poses; else alignments3D/pose.
    pose_format
        rotvec, quaternion, matrix or euler_zyz (rot, tilt, psi in degrees).
    shift
        Column of the shifts; else alignments3D/shift.
    overwrite
        Replace an existing file.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.files import path_list
    from numba_symexp.pictures.plot import plot as draw

    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        probe(file, source)
        with ProgressBar(silent) as bar:
            made = draw(
                file,
                output,
                symmetry=symmetry,
                convention=convention,
                source=source,
                table=table,
                pose=pose,
                pose_format=pose_format,
                shift=shift,
                overwrite=is_on(overwrite),
                progress=bar.show,
                passthrough=path_list(passthrough),
            )
        return asdict(made)

    return Request(act, plot_text, is_on(json), silent)


def plot_text(made: dict[str, Any]) -> str:
    """Lines about a picture that was drawn."""
    lines = [
        f"{each['heading']}: densest views {each['largest_density']:.3g} x even, "
        f"{100 * each['empty_share']:.3g} % of the sphere is empty"
        for each in made["sets"]
    ]
    notes = [f"note: {note}" for note in made["notes"]]
    return "\n".join([*notes, *lines, f"wrote {made['output']}"])
