"""The verbs of the command line. A verb takes text and returns a request; it runs nothing.

Their signatures are the flags, and their docstrings the help: `argv` and `helptext` read both.
Annotated ``bool``, a flag is a switch; without default, an argument must be given.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from numba_symexp.errors import UsageError


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    Attributes
    ----------
    act : callable
        Does it and returns the result, as a dict for ``--json``.
    text : callable
        Result -> lines for a person.
    json, quiet : bool
        How the result is shown.
    exit_code : callable
        Result -> exit code.
    """

    act: Callable[[], dict[str, Any]]
    text: Callable[[dict[str, Any]], str]
    json: bool
    quiet: bool = False
    exit_code: Callable[[dict[str, Any]], int] = lambda result: 0


def expand(
    source: str,
    output: str,
    *,
    symmetry: str | None = None,
    convention: str | None = None,
    twist: str | None = None,
    rise: str | None = None,
    order: str | None = None,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    psize: str | None = None,
    carry: str | None = None,
    chunk_rows: str | None = None,
    threads: str | None = None,
    assign_halves: str | None = None,
    again: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Write one row for each particle and symmetry operator.

    Example: numba-symexp expand particles.h5 expanded.h5 --symmetry=D7

    Parameters
    ----------
    source
        Particle table: HDF5, CryoSPARC .cs or RELION .star.
    output
        Expanded table to write.
    symmetry
        C1, Cn, Dn, T, O, I (= I2), I1, I2, I3 or I4.
    convention
        cryosparc (2-fold of Dn on y) or relion (on x); else the table's, else cryosparc.
    twist
        Helix: degrees per unit, positive is right-handed; goes with --rise and --order.
    rise
        Helix: A per unit.
    order
        Helix: number of units, 0, +1, -1, +2, ... cut after this many.
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
    carry
        Further columns to copy to every row, such as 'ctf/*,blob/*'.
    chunk_rows
        Rows made at a time; the result is the same.
    threads
        Threads of the job, one of which writes; the result is the same.
    assign_halves
        Seed: draw half-sets per particle (or tube) where the source has none.
    again
        Expand a table that is already expanded.
    overwrite
        Replace an existing output.
    dry_run
        Check everything, write nothing.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import summary_text
    from numba_symexp.expansion.job import ExpandJob
    from numba_symexp.expansion.run import run

    job = ExpandJob(
        source=source,
        output=output,
        symmetry=symmetry,
        convention=convention,
        twist=_number("twist", twist),
        rise=_number("rise", rise),
        order=_integer("order", order),
        table=table,
        pose=pose,
        pose_format=pose_format,
        shift=shift,
        psize=_number("psize", psize),
        carry=tuple(carry.split(",")) if carry else (),
        chunk_rows=_integer("chunk_rows", chunk_rows),
        threads=_integer("threads", threads),
        assign_halves=_integer("assign_halves", assign_halves),
        again=_is_on(again),
        overwrite=_is_on(overwrite),
        dry_run=_is_on(dry_run),
    )
    silent = _is_on(quiet)

    def act() -> dict[str, Any]:
        # Idle OpenMP threads spin by default: on a busy machine a run then takes 20 times as long.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        with ProgressBar(silent) as bar:
            summary = run(job, bar.show)
        for text in summary.warnings:
            print(f"warning: {text}", file=sys.stderr)
        return asdict(summary)

    return Request(act, summary_text, _is_on(json), silent)


def operators(
    *,
    symmetry: str | None = None,
    convention: str = "cryosparc",
    twist: str | None = None,
    rise: str | None = None,
    order: str | None = None,
    json: bool = False,
) -> Request:
    """Print the operators of a symmetry, and where its axes lie.

    Example: numba-symexp operators --symmetry=I2

    Parameters
    ----------
    symmetry
        C1, Cn, Dn, T, O, I (= I2), I1, I2, I3 or I4.
    convention
        cryosparc (2-fold of Dn on y) or relion (on x).
    twist
        Helix: degrees per unit, positive is right-handed; goes with --rise and --order.
    rise
        Helix: A per unit.
    order
        Helix: number of units, 0, +1, -1, +2, ... cut after this many.
    json
        Print one JSON object, with quaternions and matrices.
    """
    from numba_symexp.cli.report import operators_record, operators_text
    from numba_symexp.symmetry.resolve import resolve

    helix = _number("twist", twist), _number("rise", rise), _integer("order", order)
    return Request(
        lambda: operators_record(resolve(symmetry, convention, *helix)),
        operators_text,
        _is_on(json),
    )


def inspect(
    file: str,
    *,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    json: bool = False,
) -> Request:
    """Say what a particle table holds, and whether it can be expanded.

    Example: numba-symexp inspect particles.h5

    Parameters
    ----------
    file
        HDF5 file, expanded or not; CryoSPARC .cs or RELION .star.
    table
        Place of the table in the file; else /particles, else the root.
    pose
        Column of the poses; else alignments3D/pose.
    pose_format
        rotvec, quaternion, matrix or euler_zyz (rot, tilt, psi in degrees).
    shift
        Column of the shifts; else alignments3D/shift.
    json
        Print one JSON object.
    """
    from numba_symexp.cli.report import inspection_text
    from numba_symexp.inspection import inspect as look

    return Request(
        lambda: look(file, table, pose, pose_format, shift), inspection_text, _is_on(json)
    )


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
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import verification_text
    from numba_symexp.verification.verify import verify as prove

    silent = _is_on(quiet)

    def act() -> dict[str, Any]:
        with ProgressBar(silent) as bar:
            return prove(file, source, bar.show).as_dict()

    return Request(
        act, verification_text, _is_on(json), silent, lambda report: 0 if report["passed"] else 1
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
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import collapse_text, counts_text
    from numba_symexp.collapsing.collapse import collapse as undo

    silent, with_counts = _is_on(quiet), _is_on(count)

    def act() -> dict[str, Any]:
        with ProgressBar(silent) as bar:
            return undo(file, output, by, keep, expanded, _is_on(overwrite), bar.show)

    def text(result: dict[str, Any]) -> str:
        return (counts_text(result) if with_counts else "") + collapse_text(result)

    return Request(act, text, _is_on(json), silent)


def import_particles(
    *files: str, overwrite: bool = False, json: bool = False, quiet: bool = False
) -> Request:
    """Write the particles of CryoSPARC (.cs) or RELION (.star) as an HDF5 table.

    Example: numba-symexp import particles.cs passthrough_particles.cs particles.h5

    Parameters
    ----------
    files
        One .star, or a .cs and its passthrough files, then the HDF5 file to write.
    overwrite
        Replace an existing file.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import import_text
    from numba_symexp.interop.importing import import_particles as write

    if len(files) < 2:
        raise UsageError("import needs a .cs or .star file and an OUTPUT: see import --help")
    silent = _is_on(quiet)

    def act() -> dict[str, Any]:
        with ProgressBar(silent) as bar:
            return write(files[:-1], files[-1], _is_on(overwrite), bar.show)

    return Request(act, import_text, _is_on(json), silent)


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
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import export_text
    from numba_symexp.interop.exporting import export_particles as write

    silent = _is_on(quiet)

    def act() -> dict[str, Any]:
        with ProgressBar(silent) as bar:
            return write(file, output, _is_on(keep_track_length), _is_on(overwrite), bar.show)

    return Request(act, export_text, _is_on(json), silent)


def example(output: str, *, overwrite: bool = False, json: bool = False) -> Request:
    """Write a small particle table to try things on.

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
    from numba_symexp.cli.report import example_text
    from numba_symexp.example import write_example

    return Request(
        lambda: {"output": output, "particles": write_example(output, _is_on(overwrite))},
        example_text,
        _is_on(json),
    )


COMMANDS: dict[str, Callable[..., Request]] = {
    "expand": expand,
    "operators": operators,
    "inspect": inspect,
    "verify": verify,
    "collapse": collapse,
    "import": import_particles,
    "export": export_particles,
    "example": example,
}


def _is_on(switch: bool | str) -> bool:
    """Switches come as the text that `argv` writes, or as their default."""
    return switch in (True, "True")


def _number(name: str, text: str | None) -> float | None:
    """Float of a flag's text."""
    try:
        return None if text is None else float(text)
    except ValueError:
        raise UsageError(f"--{name}={text} is not a number") from None


def _integer(name: str, text: str | None) -> int | None:
    """Integer of a flag's text."""
    try:
        return None if text is None else int(text)
    except ValueError:
        raise UsageError(f"--{name}={text} is not a whole number") from None
