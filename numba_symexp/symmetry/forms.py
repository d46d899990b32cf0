"""The options of a symmetry, made of any form in which people write them in Python."""

import math
import operator
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from numba_symexp.option_forms import (
    Form,
    boolean,
    integer,
    number,
    optional_path,
    path,
    text,
    wrong,
)
from numba_symexp.symmetry.center_files import files_of, parts_of
from numba_symexp.symmetry.centers import CORNER, Point
from numba_symexp.symmetry.descriptions import read_number_ranges
from numba_symexp.symmetry.operators import Operators


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


def point_or_corner(name: str, value: Any) -> Point | str | None:
    """Point, or the word for the corner of a map."""
    return value if isinstance(value, str) and value == CORNER else point(name, value)


def points_or_files(name: str, value: Any) -> Point | tuple[Point, ...] | str | None:
    """Point or several, as `points`; a text that names files, or the path of markers, stays."""
    if isinstance(value, os.PathLike):
        value = path(name, value)
    return value if isinstance(value, str) and files_of(value) else points(name, value)


def points(name: str, value: Any) -> Point | tuple[Point, ...] | None:
    """Point or several, of sequences or of ``x,y,z;x,y,z``."""
    if value is None:
        return None
    words = parts_of(value, name) if isinstance(value, str) else value
    try:
        if isinstance(words, Mapping | set):
            raise TypeError
        if not len(words) or not hasattr(words[0], "__len__"):
            return point(name, value)
    except TypeError:
        raise wrong(name, value, "three numbers x,y,z, or several such points") from None
    found = [each for each in (point(name, word) for word in words) if each is not None]
    return found[0] if len(found) == 1 else tuple(found)


def lengths(name: str, value: Any) -> tuple[float, ...]:
    """Numbers, one, several, or of a text with commas."""
    if value is None:
        return ()
    try:
        parts = value.split(",") if isinstance(value, str) else np.atleast_1d(value).tolist()
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        raise wrong(name, value, "a length in A, or several") from None


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


def symmetry_or_operators(name: str, value: Any) -> str | Operators | None:
    """Name of a symmetry, or its operators."""
    return value if isinstance(value, Operators) else text(name, value)


SYMMETRY_FORMS: dict[str, Form] = {
    "symmetry": symmetry_or_operators,
    "convention": text,
    "twist": number,
    "rise": number,
    "order": integer,
    "operators_file": optional_path,
    "origin": point_or_corner,
    "operators": numbers,
    "modulo": text,
    "axis": point,
    "center": points_or_files,
    "length": lengths,
    "align": boolean,
    "align_axis": point,
    "unique": boolean,
}
"""Forms of the options of `SymmetryRequest`, by name."""
