"""The verb that draws pictures; as those of `commands`."""

from dataclasses import asdict
from typing import Any

from numba_symexp.cli.request import Request, is_on


def plot(
    file: str,
    output: str,
    *,
    symmetry: str | None = None,
    convention: str | None = None,
    source: str | None = None,
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
        Particle table, expanded or not: HDF5, CryoSPARC .cs or RELION .star.
    output
        Picture to write: .png, .svg or .pdf.
    symmetry
        Mark the axes of C1, Cn, Dn, T, O, I (= I2), I1, I2, I3 or I4, or of a name of the
        convention's own; those of an expanded table are marked anyway.
    convention
        cryosparc (2-fold of Dn on y), relion (on x), chimerax, eman2, scipy or cistem; else the
        table's, else cryosparc.
    source
        The table that an expanded one was expanded from, where it is no longer found.
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
    from numba_symexp.cli.progress import ProgressBar
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
            )
        return asdict(made)

    return Request(act, plot_text, is_on(json), silent)


def plot_text(made: dict[str, Any]) -> str:
    """Lines about a picture that was drawn."""
    lines = [
        f"{each['heading']}: densest views {each['largest_density']:.3g} x even, "
        f"{100 * each['empty_share']:.3g} % of the sphere without"
        for each in made["sets"]
    ]
    notes = [f"note: {note}" for note in made["notes"]]
    return "\n".join([*notes, *lines, f"wrote {made['output']}"])
