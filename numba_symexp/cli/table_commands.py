"""The verbs that look at a particle table, and write one to try; as those of `commands`."""

import sys
from dataclasses import asdict
from typing import Any

from numba_symexp.cli.request import Request, is_on


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

    On a terminal it also shows how tilts and lengths of shifts are distributed.

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

    views = sys.stdout.isatty() and not is_on(json)

    def act() -> dict[str, Any]:
        probe(file)
        return look(file, table, pose, pose_format, shift, views)

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
        lambda: asdict(write_example(output, is_on(overwrite))),
        example_text,
        is_on(json),
    )
