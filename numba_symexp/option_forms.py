"""What an option's value is made of: any form in which people write it in Python."""

import operator
from collections.abc import Callable
from typing import Any

from numba_symexp.expansion.job import ExpandJob
from numba_symexp.files import path_list
from numba_symexp.symmetry.forms import (
    SYMMETRY_FORMS,
    boolean,
    integer,
    number,
    optional_path,
    path,
    text,
    voxels,
    wrong,
)


def job_of(**options: Any) -> ExpandJob:
    """Job of options in any form that people write them; those of `expand`, by name.

    Raises
    ------
    UsageError
        An option is of a wrong type, out of its range, or contradicts another.
    """
    return ExpandJob(**{name: FORMS[name](name, value) for name, value in options.items()})


def paths(name: str, value: Any) -> tuple[str, ...]:
    """Texts of paths, of one or a sequence of them or of a text with commas."""
    try:
        found = path_list(value)
    except TypeError:
        raise wrong(name, value, "paths") from None
    return tuple(path(name, each) for each in found)


def names(name: str, value: Any) -> tuple[str, ...]:
    """Names, of a sequence or of a text with commas."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    try:
        found = tuple(value)
    except TypeError:
        found = (None,)
    if not all(isinstance(each, str) for each in found):
        raise wrong(name, value, "names such as 'ctf/*,blob/*'")
    return found


def _pair(name: str, value: Any) -> tuple[int, ...] | None:
    """Two whole numbers, of a sequence or of ``W,H``."""
    if value is None:
        return None
    try:
        parts = [int(part) for part in value.split(",")] if isinstance(value, str) else list(value)
        found = tuple(operator.index(part) for part in parts)
    except (TypeError, ValueError):
        raise wrong(name, value, "two whole numbers W,H") from None
    if len(found) != 2:
        raise wrong(name, value, "two whole numbers W,H")
    return found


def _pose_format(name: str, value: Any) -> str:
    """Name of a form of poses; an empty one is the default."""
    return text(name, value) or ExpandJob.pose_format


FORMS: dict[str, Callable[[str, Any], Any]] = {
    **SYMMETRY_FORMS,
    "source": path,
    "output": path,
    "passthrough": paths,
    "center_px": voxels,
    "box_px": integer,
    "defocus": text,
    "table": text,
    "pose": text,
    "pose_format": _pose_format,
    "shift": text,
    "psize": number,
    "carry": names,
    "chunk_rows": integer,
    "threads": integer,
    "assign_halves": integer,
    "again": boolean,
    "keep_track_length": boolean,
    "program": text,
    "recenter": text,
    "coordinates_y": text,
    "micrographs": optional_path,
    "micrograph_psize": number,
    "micrograph_px": _pair,
    "edge_px": number,
    "optimisation_set": optional_path,
    "overwrite": boolean,
    "dry_run": boolean,
}
"""What makes an option's value of what was given, by the option's name."""
