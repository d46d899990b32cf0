"""The verb that puts the poses of one set on the rows of another: `transfer`."""

from dataclasses import asdict
from typing import Any

from numba_symexp.cli.argv import Request
from numba_symexp.cli.flag_values import is_on, number, point
from numba_symexp.cli.terminal import ProgressBar


def transfer(
    source: str,
    target: str,
    output: str,
    *,
    subtracted_center: str | None = None,
    same_center: bool = False,
    convention: str | None = None,
    source_psize: str | None = None,
    target_psize: str | None = None,
    source_passthrough: str | None = None,
    passthrough: str | None = None,
    overwrite: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Put poses and shifts of down-sampled or subtracted images on the full-size ones.

    Example: numba-symexp transfer small.cs full.cs refined_full.cs

    Parameters
    ----------
    source
        What was refined: HDF5 file, RELION .star, CryoSPARC .cs, .csg or job folder.
    target
        The set that gets pose, shift and half-set; all its other columns stay.
    output
        Particle table to write (.star, .cs, else HDF5): rows of the target that have a partner.
    subtracted_center
        Point x,y,z about which RELION's Subtract centered the images, in A of the map before.
    same_center
        The images of the source have new names, but were not moved.
    convention
        In whose convention the source was refined: cryosparc or relion; else what it says.
    source_psize
        A per pixel of the source's shifts, where it does not say.
    target_psize
        A per pixel of the target's shifts, where it does not say.
    source_passthrough
        Passthrough file of a .cs source, or several with commas.
    passthrough
        Passthrough file of a .cs target, or several with commas.
    overwrite
        Replace an existing file.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.files import path_list
    from numba_symexp.transfers.transfer import transfer as move_poses

    silent = is_on(quiet)
    center_A = point("subtracted_center", subtracted_center)
    source_A, target_A = number("source_psize", source_psize), number("target_psize", target_psize)

    def act() -> dict[str, Any]:
        probe(source, target)
        with ProgressBar(silent) as bar:
            made = move_poses(
                source,
                target,
                output,
                subtracted_center=center_A,
                same_center=is_on(same_center),
                convention=convention,
                source_psize=source_A,
                target_psize=target_A,
                source_passthrough=path_list(source_passthrough),
                passthrough=path_list(passthrough),
                overwrite=is_on(overwrite),
                progress=bar.show,
            )
        return asdict(made)

    return Request(act, transfer_text, is_on(json), silent)


def transfer_text(made: dict[str, Any]) -> str:
    """Lines about poses that were put on other rows."""
    lines = [f"note: {note}" for note in made["notes"]]
    left = made["of"] - made["rows"]
    if left:
        lines.append(f"left out: {left:,} rows of {made['target']}, which have no partner")
    if made["dropped"]:
        named = ", ".join(made["dropped"])
        lines.append(f"dropped, since they belong to the old poses: {named}")
    files = " and ".join(made["files"])
    return "\n".join(
        [
            *lines,
            f"joined on {made['joined_on']}",
            f"wrote {files}: {made['rows']:,} of {made['of']:,} rows",
        ]
    )
