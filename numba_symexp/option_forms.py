"""What an option's value is made of: any form in which people write it in Python."""

import math
import operator
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from numba_symexp.errors import UsageError
from numba_symexp.expansion.job import ExpandJob
from numba_symexp.files import path_list
from numba_symexp.symmetry.centers import CORNER, Point, files_of
from numba_symexp.symmetry.descriptions import read_number_ranges
from numba_symexp.symmetry.operators import Operators


def job_of(**options: Any) -> ExpandJob:
    """Job of options in any form that people write them; those of `expand`, by name.

    Raises
    ------
    UsageError
        An option is of a wrong type, out of its range, or contradicts another.
    """
    return ExpandJob(**{name: FORMS[name](name, value) for name, value in options.items()})


def path(name: str, value: Any) -> str:
    """Text of a path."""
    try:
        found = os.fspath(value)
    except TypeError:
        raise wrong(name, value, "a path") from None
    if not isinstance(found, str):
        raise wrong(name, value, "a path as text")
    return found


def paths(name: str, value: Any) -> tuple[str, ...]:
    """Texts of paths, of one or a sequence of them or of a text with commas."""
    try:
        found = path_list(value)
    except TypeError:
        raise wrong(name, value, "paths") from None
    return tuple(path(name, each) for each in found)


def text(name: str, value: Any) -> str | None:
    """Text, or None."""
    if value is not None and not isinstance(value, str):
        raise wrong(name, value, "text")
    return value


def number(name: str, value: Any) -> float | None:
    """Float of a number of any type, or None."""
    if value is None:
        return None
    if isinstance(value, str | bytes | bool):
        raise wrong(name, value, "a number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise wrong(name, value, "a number") from None


def integer(name: str, value: Any) -> int | None:
    """Int of a whole number of any type, or None."""
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise wrong(name, value, "a whole number") from None


def boolean(name: str, value: Any) -> bool:
    """Truth value, which is never a text."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise wrong(name, value, "True or False")
    return bool(value)


def point(name: str, value: Any) -> Point | None:
    """Three numbers, of a sequence or of ``x,y,z``."""
    if value is None:
        return None
    try:
        parts = value.split(",") if isinstance(value, str) else list(value)
        found = [float(part) for part in parts]
    except (TypeError, ValueError):
        raise wrong(name, value, "three numbers x,y,z") from None
    if len(found) != 3 or not all(map(math.isfinite, found)):
        raise wrong(name, value, "three numbers x,y,z")
    return found[0], found[1], found[2]


def numbers(name: str, value: Any) -> tuple[int, ...]:
    """Whole numbers, of a sequence or of a text such as ``0,2,5-7``."""
    if value is None:
        return ()
    if not isinstance(value, str):
        try:
            return tuple(operator.index(part) for part in value)
        except TypeError:
            raise wrong(name, value, "numbers such as 0,2,5-7") from None
    return read_number_ranges(name, value)


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


def wrong(name: str, value: Any, wanted: str) -> UsageError:
    """What to say of a value of another type."""
    return UsageError(f"{name}={str(value)[:60]} is a {type(value).__name__}: give {wanted}")


def _symmetry(name: str, value: Any) -> str | Operators | None:
    """Name of a symmetry, or its operators."""
    return value if isinstance(value, Operators) else text(name, value)


def _optional_path(name: str, value: Any) -> str | None:
    """Text of a path, or None."""
    return None if value is None else path(name, value)


def _point_or_corner(name: str, value: Any) -> Point | str | None:
    """Point, or the word for the corner of a map."""
    return value if isinstance(value, str) and value == CORNER else point(name, value)


def _points(name: str, value: Any) -> Point | tuple[Point, ...] | str | None:
    """Point or several, of sequences or of ``x,y,z;x,y,z``; a text that names files stays."""
    if isinstance(value, str):
        words = value.split(";")
        if files_of(value):
            return value
    elif value is None or len(value) == 0 or not hasattr(value[0], "__len__"):
        return point(name, value)
    else:
        words = value
    found = [each for each in (point(name, word) for word in words) if each is not None]
    return found[0] if len(found) == 1 else tuple(found)


def _lengths(name: str, value: Any) -> tuple[float, ...]:
    """Numbers, one, several, or of a text with commas."""
    if value is None:
        return ()
    try:
        parts = value.split(",") if isinstance(value, str) else np.atleast_1d(value).tolist()
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        raise wrong(name, value, "a length in A, or several") from None


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
    "source": path,
    "output": path,
    "passthrough": paths,
    "symmetry": _symmetry,
    "convention": text,
    "twist": number,
    "rise": number,
    "order": integer,
    "operators_file": _optional_path,
    "origin": _point_or_corner,
    "operators": numbers,
    "modulo": text,
    "axis": point,
    "center": _points,
    "length": _lengths,
    "align": boolean,
    "align_axis": point,
    "center_px": _points,
    "box_px": integer,
    "unique": boolean,
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
    "micrographs": _optional_path,
    "micrograph_psize": number,
    "micrograph_px": _pair,
    "edge_px": number,
    "optimisation_set": _optional_path,
    "overwrite": boolean,
    "dry_run": boolean,
}
"""What makes an option's value of what was given, by the option's name."""
