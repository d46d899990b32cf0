"""The verb that chooses rows of an expanded set: `select`."""

from dataclasses import asdict
from typing import Any

from numba_symexp.cli.argv import Request
from numba_symexp.cli.flag_values import integer, is_on, number, numbers, pair
from numba_symexp.cli.terminal import ProgressBar
from numba_symexp.errors import UsageError


def select(
    file: str,
    output: str,
    *,
    operators: str | None = None,
    centers: str | None = None,
    half: str | None = None,
    where: str | None = None,
    view: str | None = None,
    inside: bool = False,
    edge_px: str | None = None,
    one_per_particle: bool = False,
    same_pose: str | None = None,
    min_distance_A: str | None = None,
    within: str = "particle",
    score: str | None = None,
    lowest: bool = False,
    random: str | None = None,
    micrographs: str | None = None,
    micrograph_psize: str | None = None,
    micrograph_px: str | None = None,
    coordinates_y: str | None = None,
    psize: str | None = None,
    source: str | None = None,
    overwrite: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Write some rows of an expanded set, which still know their source and their operator.

    Example: numba-symexp select expanded.h5 apart.h5 --min_distance_A=80 --within=micrograph

    The criteria are looked at in this order, each among the rows that are left.

    Parameters
    ----------
    file
        Expanded HDF5 table, or an expanded .cs or .star.
    output
        What to write: .star, .cs (and a .csg beside it), else HDF5: an expanded table where FILE
        is one.
    operators
        Keep rows of these operators, such as 0,2,5-7, by their numbers in the full set.
    centers
        Keep rows about these centers, such as 0,2, in the order in which they were given.
    half
        Keep rows of half-set 1 or 2.
    where
        Keep rows by columns: COLUMN=VALUE or COLUMN=LOW..HIGH, several with commas.
    view
        Keep rows whose center is seen at these angles, such as 0-30 (degrees, 0 to 180).
    inside
        Keep rows whose center lies on the micrograph.
    edge_px
        Margin of the micrograph for --inside, in its pixels; else 0.
    one_per_particle
        Keep one copy of each particle.
    same_pose
        Of copies of a particle that are within A,DEG of each other, keep one.
    min_distance_A
        Keep rows so that no two are nearer to each other than this, in projection.
    within
        particle or micrograph: rows of which one keep that distance.
    score
        Column that tells which one stays: the largest value; else the first in the file.
    lowest
        The smallest value of --score stays, as of an error.
    random
        Seed: draw which one stays.
    micrographs
        RELION's .star of the micrographs, whose optics say A per pixel.
    micrograph_psize
        A per pixel of the micrographs, where the table does not say.
    micrograph_px
        Width and height of the micrographs, W,H, where the table does not say.
    coordinates_y
        flipped or same: whether y of a .star counts from the other edge than that of the images, as
        in a .star that was made of a .cs with flipped y; else same.
    psize
        A per pixel of the shifts, in place of what the table says.
    source
        The table that was expanded, if the file has moved.
    overwrite
        Replace an existing file.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.selection.select import select as choose

    silent = is_on(quiet)
    chosen, points = numbers("operators", operators), numbers("centers", centers)
    half_set, seed = integer("half", half), random
    margin_px, least_A = number("edge_px", edge_px), number("min_distance_A", min_distance_A)
    micrograph_A, psize_A = number("micrograph_psize", micrograph_psize), number("psize", psize)
    alike, seen = _pair("same_pose", same_pose, ","), _pair("view", view, "-")
    shape = pair("micrograph_px", micrograph_px)
    columns, drawn = _columns(where), integer("random", seed)

    def act() -> dict[str, Any]:
        probe(file, source)
        with ProgressBar(silent) as bar:
            made = choose(
                file,
                output,
                operators=chosen,
                centers=points,
                half=half_set,
                where=columns,
                view=seen,
                inside=is_on(inside),
                edge_px=margin_px,
                one_per_particle=is_on(one_per_particle),
                same_pose=alike,
                min_distance_A=least_A,
                within=within,
                score=score,
                lowest=is_on(lowest),
                random=drawn,
                micrographs=micrographs,
                micrograph_psize=micrograph_A,
                micrograph_px=shape,
                coordinates_y=coordinates_y,
                psize=psize_A,
                source=source,
                overwrite=is_on(overwrite),
                progress=bar.show,
            )
        return asdict(made)

    return Request(act, selection_text, is_on(json), silent)


def _pair(name: str, text: str | None, between: str) -> tuple[float, float] | None:
    """Two numbers of a flag's text."""
    if text is None:
        return None
    parts = [number(name, part) for part in text.split(between)]
    if len(parts) != 2 or parts[0] is None or parts[1] is None:
        raise UsageError(f"--{name}={text} is not understood: give two numbers, A{between}B")
    return parts[0], parts[1]


def _columns(text: str | None) -> dict[str, str]:
    """Columns and their values, of a flag's text."""
    found: dict[str, str] = {}
    for part in text.split(",") if text else ():
        name, equals, value = part.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"--where={part} is not understood: give COLUMN=VALUE")
        found[name] = value
    return found


def selection_text(made: dict[str, Any]) -> str:
    """Lines about rows that were chosen."""
    lines = [f"note: {note}" for note in made["notes"]]
    lines += [f"left out: {count:,} {why}" for why, count in made["dropped"].items()]
    files = " and ".join(made["files"])
    lines.append(f"wrote {files}: {made['rows']:,} of {made['of']:,} rows")
    return "\n".join([*lines, *([made["next_steps"]] if made["next_steps"] else [])])
