"""The verbs that read, write and prove files; as those of `commands`."""

import os
from dataclasses import asdict
from typing import Any

from numba_symexp.cli.request import Request, is_on
from numba_symexp.errors import UsageError
from numba_symexp.files import first_bytes
from numba_symexp.kinds import is_particle_text_or_dataset


def verify(
    file: str, *, source: str | None = None, json: bool = False, quiet: bool = False
) -> Request:
    """Prove an expanded table: its format, operators and source, and every row by another road.

    Example: numba-symexp verify expanded.h5

    Exits with 0 when every check passed, with 1 when one failed.

    Parameters
    ----------
    file
        Expanded table.
    source
        The table that it was expanded from, where it is no longer found.
    json
        Print one JSON object.
    quiet
        No progress bar, no report.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import verification_text
    from numba_symexp.verification.verify import verify as prove

    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        probe(file, source)
        with ProgressBar(silent) as bar:
            return prove(file, source, bar.show).as_dict()

    return Request(
        act, verification_text, is_on(json), silent, lambda report: 0 if report["passed"] else 1
    )


def collapse(
    file: str,
    output: str,
    *,
    by: str | None = None,
    keep: str = "max",
    count: bool = False,
    expanded: str | None = None,
    overwrite: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Write one row per particle of which copies are left.

    Example: numba-symexp collapse expanded_class3.h5 particles_class3.h5

    Parameters
    ----------
    file
        Expanded table, all its rows or some; or a .cs or .star that came back of it.
    output
        HDF5 particle table to write: the source's columns, and how many copies there were.
    by
        Column by which the best copy of each particle is told; its pose is written then.
    keep
        max or min: which value of that column is best.
    count
        Print how many particles have how many copies.
    expanded
        The expanded table that a .cs or .star came from.
    overwrite
        Replace an existing file.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import collapse_text, counts_text
    from numba_symexp.copies.collapse import collapse as undo

    silent, with_counts = is_on(quiet), is_on(count)

    def act() -> dict[str, Any]:
        probe(file, expanded)
        with ProgressBar(silent) as bar:
            return asdict(undo(file, output, by, keep, expanded, is_on(overwrite), bar.show))

    def text(result: dict[str, Any]) -> str:
        return (counts_text(result) if with_counts else "") + collapse_text(result)

    return Request(act, text, is_on(json), silent)


def import_particles(
    *files: str, output: str, overwrite: bool = False, json: bool = False, quiet: bool = False
) -> Request:
    """Write the particles of CryoSPARC (.cs) or RELION (.star) as an HDF5 table.

    Example: numba-symexp import particles.cs passthrough_particles.cs particles.h5

    Parameters
    ----------
    files
        One .star, or a .cs and its passthrough files.
    output
        HDF5 file to write: the last word.
    overwrite
        Replace an existing file.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import import_text
    from numba_symexp.conversion.import_table import import_particles as write

    if not files:
        raise UsageError("import needs a .cs or .star file and an OUTPUT: see import --help")
    if os.path.isfile(output) and is_particle_text_or_dataset(output, first_bytes(output)):
        raise UsageError(
            f"import writes to its last word, the OUTPUT, which is missing: {output} is a file to "
            "import; name a new .h5 file after it"
        )
    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        probe(*files)
        with ProgressBar(silent) as bar:
            return asdict(write(files, output, is_on(overwrite), bar.show))

    return Request(act, import_text, is_on(json), silent)


def export_particles(
    file: str,
    output: str,
    *,
    keep_track_length: bool = False,
    overwrite: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Write a table, expanded or not, as CryoSPARC's .cs or RELION's .star.

    Example: numba-symexp export expanded.h5 expanded.star

    Parameters
    ----------
    file
        Expanded table, whose source must be there; or any particle table.
    output
        File that ends in .cs (a result group, .csg, is written beside it) or .star.
    keep_track_length
        Leave rlnHelicalTrackLengthAngst of all copies of a box equal.
    overwrite
        Replace existing files.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import export_text
    from numba_symexp.conversion.export_table import export_particles as write

    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        probe(file)
        with ProgressBar(silent) as bar:
            made = write(file, output, is_on(keep_track_length), is_on(overwrite), bar.show)
        return asdict(made)

    return Request(act, export_text, is_on(json), silent)
