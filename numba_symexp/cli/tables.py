"""The verbs about particle tables: `inspect`, `verify`, `example`, `import`, `export`.

They are written as the verbs of `expansion` are.
"""

import os
import re
import sys
from dataclasses import asdict
from typing import Any

from numba_symexp.cli.argv import Request
from numba_symexp.cli.flag_values import integer, is_on, number, pair
from numba_symexp.cli.terminal import ProgressBar, histogram_text, readable_size
from numba_symexp.errors import UsageError

_NOT_GIVEN: tuple[Any, ...] = (None, False, [], ())


def inspect(
    file: str,
    *,
    passthrough: str | None = None,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    source: str | None = None,
    json: bool = False,
) -> Request:
    """Show what a particle table holds, and whether it can be expanded.

    Example: numba-symexp inspect particles.h5

    On a terminal it also shows the distribution of tilts and of lengths of shifts.

    Parameters
    ----------
    file
        HDF5 file, expanded or not; .star of RELION or M; CryoSPARC .cs, .csg or job folder; Dynamo
        .tbl.
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
    source
        The table that an expanded one was expanded from, if the file has moved.
    json
        Print one JSON object.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.files import path_list
    from numba_symexp.inspection import inspect as look

    views = sys.stdout is not None and sys.stdout.isatty() and not is_on(json)

    def act() -> dict[str, Any]:
        probe(file, source, sources=False)
        found = look(file, table, pose, pose_format, shift, views, source, path_list(passthrough))
        return found.as_dict()

    return Request(act, inspection_text, is_on(json))


def inspection_text(report: dict[str, Any]) -> str:
    """Lines about a table."""
    lines = [
        f"{report['file']}: {report['table']}, {report['layout']}, {report['particles']:,} rows",
        *(f"  {name}  {_column(column)}" for name, column in report["columns"].items()),
    ]
    lines.append(f"convention: {report['convention']} ({report['convention_reason']})")
    if "expansion" in report:
        made = report["expansion"]
        lines.append(f"expanded: {made['symmetry']}")
        lines.append(
            f"  from {made['particles']:,} particles of {made['source']}, {made['created']}, "
            f"{made['generated_by']}"
        )
        lines.append(f"  {_provenance(made['provenance'])}")
    if "views" in report:
        lines += histogram_text(report["views"])
    lines += [f"note: {note}" for note in report["notes"]]
    lines.append(
        "can be expanded" if report["expandable"] else f"cannot be expanded: {report['reason']}"
    )
    return "\n".join(lines)


def _column(shape_and_type: str) -> str:
    """Shape and type of a column, in words that say what NumPy's name of a type of text means."""
    return re.sub(r"\|S\d+$", "text", shape_and_type)


def _provenance(record: dict[str, Any]) -> str:
    """How a table was made, in a line: the parameters that were given, and the resources."""
    given = [
        f"{name}={value}" for name, value in record["parameters"].items() if value not in _NOT_GIVEN
    ]
    spent = record.get("resources")
    ending = ""
    if isinstance(spent, dict) and {"elapsed_s", "max_memory_B"} <= spent.keys():
        ending = (
            f"; {float(spent['elapsed_s']):.2f} s, {readable_size(float(spent['max_memory_B']))}"
        )
    return f"with {', '.join(given)}{ending}"


def verify(
    file: str, *, source: str | None = None, json: bool = False, quiet: bool = False
) -> Request:
    """Check an expanded table: its format, operators and source, and every row by another method.

    Example: numba-symexp verify expanded.h5

    The exit code is 0 when every check passed, and 1 when one failed.

    Parameters
    ----------
    file
        Expanded table.
    source
        The table that it was expanded from, if the file has moved.
    json
        Print one JSON object.
    quiet
        No progress bar, no report.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.verification.verify import verify as prove

    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        probe(file, source)
        with ProgressBar(silent) as bar:
            return prove(file, source, bar.show).as_dict()

    return Request(
        act, verification_text, is_on(json), silent, lambda report: 0 if report["passed"] else 1
    )


def verification_text(report: dict[str, Any]) -> str:
    """Lines about a verification: the `VerificationReport`, as a dict."""
    lines = [
        f"{check['number']:>2} {'ok  ' if check['passed'] else 'FAIL'} {check['name']}: "
        f"{check['detail']}"
        for check in report["checks"]
    ]
    verdict = "verified" if report["passed"] else "does not pass every check"
    return "\n".join([*lines, f"{report['file']}: {verdict}"])


def example(output: str, *, overwrite: bool = False, json: bool = False) -> Request:
    """Write a small particle table for trying the program.

    Example: numba-symexp example example.h5

    Parameters
    ----------
    output
        HDF5 file to write.
    overwrite
        Replace an existing file.
    json
        Print one JSON object.
    """
    from numba_symexp.example import write_example

    return Request(
        lambda: asdict(write_example(output, is_on(overwrite))),
        example_text,
        is_on(json),
    )


def example_text(made: dict[str, Any]) -> str:
    """Line about an example that was written."""
    notes = "".join(f"note: {note}\n" for note in made["notes"])
    return f"{notes}wrote {made['output']}: {made['particles']:,} particles"


def import_particles(
    *files: str,
    output: str,
    passthrough: str | None = None,
    convention: str | None = None,
    assign_halves: str | None = None,
    overwrite: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Write the particles of CryoSPARC, RELION, Dynamo or M as an HDF5 table.

    Example: numba-symexp import particles.cs passthrough_particles.cs particles.h5

    Parameters
    ----------
    files
        One .star or .tbl; or a .cs and its passthrough files, a .csg or a job folder of CryoSPARC;
        of an expanded .cs also the .cs of its particles, whose images are taken.
    output
        HDF5 file to write; it is the last word of the command.
    passthrough
        Passthrough file of a .cs, or several with commas, as words before the output are.
    convention
        cryosparc or relion: in whose convention of Dn the particles were refined; else what the
        files say.
    assign_halves
        Seed of half-sets to be drawn per particle, in place of those of the files: all copies of
        a particle get the same.
    overwrite
        Replace an existing file.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.conversion.import_table import import_particles as write
    from numba_symexp.files import first_bytes, path_list
    from numba_symexp.kinds import is_particle_text_or_dataset

    if not files:
        raise UsageError(
            "import needs particles and, as its last word, an OUTPUT, such as particles.h5: see "
            "numba-symexp import --help"
        )
    if os.path.isfile(output) and is_particle_text_or_dataset(output, first_bytes(output)):
        raise UsageError(
            f"import writes to its last word, the OUTPUT, which is missing: {output} is a file to "
            "import; name a new .h5 file after it"
        )
    silent, seed = is_on(quiet), integer("assign_halves", assign_halves)
    files = (*files, *path_list(passthrough))

    def act() -> dict[str, Any]:
        probe(*files)
        with ProgressBar(silent) as bar:
            return asdict(write(files, output, is_on(overwrite), bar.show, convention, seed))

    return Request(act, import_text, is_on(json), silent)


def import_text(made: dict[str, Any]) -> str:
    """Lines about particles that were imported."""
    return "\n".join(
        [
            *(f"note: {note}" for note in made["notes"]),
            f"wrote {made['output']}: {made['particles']:,} particles, {made['columns']} columns "
            f"({made['convention']})",
        ]
    )


def export_particles(
    file: str,
    output: str,
    *,
    passthrough: str | None = None,
    source: str | None = None,
    keep_track_length: bool = False,
    program: str | None = None,
    psize: str | None = None,
    convention: str | None = None,
    recenter: str | None = None,
    coordinates_y: str | None = None,
    micrographs: str | None = None,
    micrograph_psize: str | None = None,
    micrograph_px: str | None = None,
    edge_px: str | None = None,
    overwrite: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Write a table, expanded or not, as CryoSPARC's .cs, RELION's .star or Dynamo's .tbl.

    Example: numba-symexp export expanded.h5 expanded.star

    Parameters
    ----------
    file
        Expanded table, whose source must still exist; or any particle table.
    output
        File that ends in .cs (a result group, .csg, is written beside it), .star or .tbl.
    passthrough
        Passthrough file of a .cs, or several with commas.
    source
        The table that an expanded one was expanded from, if the file has moved.
    keep_track_length
        Leave rlnHelicalTrackLengthAngst the same for all copies of a box.
    program
        relion or m: whose .star is written of subtomograms; else the source's.
    psize
        A per pixel, where the table says none.
    convention
        cryosparc or relion: in whose convention of Dn the particles were refined; else what the
        table says. A file for the other program is marked with it.
    recenter
        coordinates: move coordinates by the shifts, for a new extraction: on micrographs by whole
        pixels, in tomograms wholly.
    coordinates_y
        flipped or same: y of a .star is (1 - center_y_frac) or center_y_frac times the height; else
        flipped where a .cs becomes a .star, same for particles of a .star.
    micrographs
        RELION's .star of the micrographs, whose optics say A per pixel; goes with --recenter, or
        with --micrograph_px.
    micrograph_psize
        A per pixel of all micrographs, instead of --micrographs.
    micrograph_px
        Width and height W,H of micrographs, by which coordinates of a .star go into a .cs; rows of
        a .star that are off them are named.
    edge_px
        Rows that are nearer to the edge of their micrograph are named too.
    overwrite
        Replace existing files.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.conversion.export_table import export_particles as write
    from numba_symexp.files import path_list

    asked: dict[str, Any] = {
        "keep_track_length": is_on(keep_track_length),
        "overwrite": is_on(overwrite),
        "source": source,
        "convention": convention,
        "passthrough": path_list(passthrough),
        "program": program,
        "psize": number("psize", psize),
        "recenter": recenter,
        "coordinates_y": coordinates_y,
        "micrographs": micrographs,
        "micrograph_psize": number("micrograph_psize", micrograph_psize),
        "micrograph_px": pair("micrograph_px", micrograph_px),
        "edge_px": number("edge_px", edge_px),
    }
    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        probe(file, source)
        with ProgressBar(silent) as bar:
            made = write(file, output, progress=bar.show, **asked)
        return asdict(made)

    return Request(act, export_text, is_on(json), silent)


def export_text(made: dict[str, Any]) -> str:
    """Lines about rows that were exported."""
    return "\n".join(
        [
            *(f"note: {note}" for note in made["notes"]),
            f"wrote {' and '.join(made['files'])}: {made['rows']:,} rows",
            *([made["next_steps"]] if made["expanded"] else []),
        ]
    )
