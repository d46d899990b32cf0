"""The verb that turns particles to another frame: `reorient`."""

from dataclasses import asdict
from typing import Any

from numba_symexp.cli.argv import Request
from numba_symexp.cli.flag_values import is_on, number, point
from numba_symexp.cli.terminal import ProgressBar


def reorient(
    source: str,
    output: str,
    *,
    from_group: str | None = None,
    to_group: str | None = None,
    axis: str | None = None,
    to: str | None = None,
    matrix: str | None = None,
    flip: bool = False,
    center: str | None = None,
    convention: str | None = None,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    psize: str | None = None,
    passthrough: str | None = None,
    overwrite: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Turn a set of particles to another frame of the map, one row each.

    Example: numba-symexp reorient particles.star turned.star --from_group=I1 --to_group=I2

    Parameters
    ----------
    source
        HDF5 file; .star of RELION or M; CryoSPARC .cs, .csg or job folder; Dynamo .tbl.
    output
        Particle table to write (.star, .cs, .tbl, else HDF5). Ids, half-sets and other columns
        stay.
    from_group
        The group as the map has it, such as I1, D7 or chimerax:I,n25; goes with --to_group.
    to_group
        The group as it shall be.
    axis
        Direction of the map (x, y, z, or three numbers) that shall point --to another one.
    to
        Where it shall point: x, y, z, or three numbers.
    matrix
        Rotation matrix Q, x' = Q x: a file with 3 x 3 numbers, or the numbers with commas.
    flip
        Half a turn about x, for filaments that run the other way.
    center
        Point x,y,z of the map as it is, in A from the box center: the new box center.
    convention
        Whose group names are meant: cryosparc or relion; else what the table says.
    table
        Place of the table in the file; else /particles, else the root.
    pose
        Column of the poses; else alignments3D/pose.
    pose_format
        rotvec, quaternion, matrix or euler_zyz (rot, tilt, psi in degrees).
    shift
        Column of the shifts; else alignments3D/shift.
    psize
        A per pixel of the shifts; else the column alignments3D/psize_A.
    passthrough
        Passthrough file of a .cs, or several with commas.
    overwrite
        Replace an existing file.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.conversion.reorient import reorient as turn
    from numba_symexp.files import path_list

    silent = is_on(quiet)
    psize_A, center_A = number("psize", psize), point("center", center)

    def act() -> dict[str, Any]:
        probe(source, sources=False)
        with ProgressBar(silent) as bar:
            made = turn(
                source,
                output,
                from_group=from_group,
                to_group=to_group,
                axis=axis,
                to=to,
                matrix=matrix,
                flip=is_on(flip),
                center=center_A,
                convention=convention,
                table=table,
                pose=pose,
                pose_format=pose_format,
                shift=shift,
                psize=psize_A,
                passthrough=path_list(passthrough),
                overwrite=is_on(overwrite),
                progress=bar.show,
            )
        return asdict(made)

    return Request(act, reorientation_text, is_on(json), silent)


def reorientation_text(made: dict[str, Any]) -> str:
    """Lines about particles that were turned."""
    axis = ", ".join(f"{round(part, 4) + 0.0:.4f}" for part in made["axis"])
    center = ", ".join(f"{part:g}" for part in made["center_A"])
    turned = f"turned by {made['angle_deg']:.4f} deg about ({axis})"
    moved = f", about the point ({center}) A" if any(made["center_A"]) else ""
    return "\n".join(
        [
            *(f"note: {note}" for note in made["notes"]),
            f"the map is {turned}{moved}",
            "the turned particles reconstruct the turned map; to turn the old map itself, open it "
            f"in ChimeraX twice and type: {made['chimerax']}",
            f"wrote {' and '.join(made['files'])}: {made['particles']:,} particles",
        ]
    )
