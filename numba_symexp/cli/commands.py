"""The verbs of the command line. A verb takes text and returns a request; it runs nothing.

Their signatures are the flags, and their docstrings the help: `argv` and `helptext` read both.
Annotated ``bool``, a flag is a switch; without default, an argument must be given.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from numba_symexp.cli.file_commands import collapse, export_particles, import_particles, verify
from numba_symexp.cli.request import Request, integer, is_on, number


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
    from numba_symexp.cli.probe import probe
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import summary_text
    from numba_symexp.expansion.job import ExpandJob
    from numba_symexp.expansion.run import run

    job = ExpandJob(
        source=source,
        output=output,
        symmetry=symmetry,
        convention=convention,
        twist=number("twist", twist),
        rise=number("rise", rise),
        order=integer("order", order),
        table=table,
        pose=pose,
        pose_format=pose_format,
        shift=shift,
        psize=number("psize", psize),
        carry=tuple(carry.split(",")) if carry else (),
        chunk_rows=integer("chunk_rows", chunk_rows),
        threads=integer("threads", threads),
        assign_halves=integer("assign_halves", assign_halves),
        again=is_on(again),
        overwrite=is_on(overwrite),
        dry_run=is_on(dry_run),
    )
    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        # Idle OpenMP threads spin by default: on a busy machine a run then takes 20 times as long.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        probe(source)
        with ProgressBar(silent) as bar:
            summary = run(job, bar.show)
        for text in summary.warnings:
            print(f"warning: {text}", file=sys.stderr)
        return asdict(summary)

    return Request(act, summary_text, is_on(json), silent)


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

    helix = number("twist", twist), number("rise", rise), integer("order", order)
    return Request(
        lambda: operators_record(resolve(symmetry, convention, *helix)),
        operators_text,
        is_on(json),
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
    from numba_symexp.cli.probe import probe
    from numba_symexp.cli.report import inspection_text
    from numba_symexp.inspection import inspect as look

    def act() -> dict[str, Any]:
        probe(file)
        return look(file, table, pose, pose_format, shift)

    return Request(act, inspection_text, is_on(json))


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
        lambda: {"output": output, "particles": write_example(output, is_on(overwrite))},
        example_text,
        is_on(json),
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
