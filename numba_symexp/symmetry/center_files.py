"""Points that a text names: numbers, ChimeraX's marker files, and masks by their center of mass."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.files import read_small
from numba_symexp.symmetry.centers import MOST_CENTERS, SAME_A, Point
from numba_symexp.symmetry.operators import FARTHEST_A

MASK = "mask:"
"""How the name of a mask begins, whose center of mass is the point."""

MARKERS = ".cmm"
"""Suffix of ChimeraX's marker files."""

_MOST_BYTES = 16 << 20
"""Larger than any marker file."""

_SECTIONS = 16
"""Sections of a mask that are read at a time."""

_BELOW_0 = -1e-3
"""A mask's soft edge is at most that share of its largest value below 0, by interpolation."""

_OTHERWISE = "give the center as x,y,z"
"""What else can be done where a mask does not say its size."""


def read_centers(
    text: str, name: str = "center", origin_A: Array | Sequence[float] | None = None
) -> tuple[Point, ...]:
    """Points of a text: ``x,y,z``, marker files, and masks, with semicolons between.

    Parameters
    ----------
    text : str
        Such as ``0,0,120;vertex.cmm;mask:lobe.mrc``; points in A from the box center.
    name : str
        Of the parameter, for messages.
    origin_A : (3,) float, optional
        Point, in A from the box center, from which markers count: then each marker is a center.
        By default the first marker of a file is the particle's center, as in localized
        reconstruction, and the others are centers.

    Returns
    -------
    tuple of tuple of float
        A from the box center.

    Raises
    ------
    UsageError
        The text is not understood.
    SourceError
        A file cannot be read, or has no points.
    """
    found: list[Point] = []
    for word in parts_of(text, name):
        if word.startswith(MASK):
            if not masks_of(word)[0]:
                raise UsageError(f"{name}={word} names no mask: give {MASK}FILE.mrc")
            found.append(center_of_mass(masks_of(word)[0]))
        elif word.lower().endswith(MARKERS):
            found += markers(word, origin_A)
        else:
            try:
                numbers = [float(each) for each in word.split(",")]
            except ValueError:
                numbers = []
            if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
                raise UsageError(
                    f"{name}={word} is not a point: give three numbers x,y,z, a marker file "
                    f"({MARKERS}), or {MASK}FILE.mrc; several with ; between them"
                )
            found.append((numbers[0], numbers[1], numbers[2]))
    return tuple(found)


def parts_of(text: str, name: str) -> list[str]:
    """Words of a text of points, none of which may be empty.

    Raises
    ------
    UsageError
        One is; the error names the parameter.
    """
    words = [part.strip() for part in text.split(";")]
    if not all(words):
        raise UsageError(f"{name}={text} has an empty point: give x,y,z, with ; between points")
    return words


def files_of(text: str) -> list[str]:
    """Files that a text of points names."""
    return masks_of(text) + markers_of(text)


def masks_of(text: str) -> list[str]:
    """Masks that a text of points names."""
    words = [part.strip() for part in text.split(";")]
    return [word.removeprefix(MASK).strip() for word in words if word.startswith(MASK)]


def markers_of(text: str) -> list[str]:
    """Marker files that a text of points names."""
    words = [part.strip() for part in text.split(";")]
    return [word for word in words if word.lower().endswith(MARKERS) and not word.startswith(MASK)]


def markers(path: str, origin_A: Array | Sequence[float] | None = None) -> list[Point]:
    """Points of a marker file of ChimeraX; see `read_centers`.

    Raises
    ------
    SourceError
        The file cannot be read, is none of markers, or has too few of them.
    """
    data = read_small(path, "a marker file (.cmm)", _MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise SourceError(f"{path}: is too large for a marker file: check the path")
    found, sets = _marker_places(path, data)
    if origin_A is not None:
        return [_point(path, each + np.asarray(origin_A)) for each in found]
    taken = "the first is taken as the center of the particle"
    otherwise = "give origin=corner and box_px= where markers count from the corner of the map"
    if len(found) == 1:
        raise SourceError(
            f"{path}: has one marker, and {taken}: put a marker there first, or {otherwise}"
        )
    if sets > 1:
        raise SourceError(
            f"{path}: has markers of {sets} sets, and {taken}: save one set, or {otherwise}"
        )
    for number, each in enumerate(found[1:], start=2):
        if np.abs(each - found[0]).max() < SAME_A:
            raise SourceError(
                f"{path}: marker {number} is where the first one is, and {taken}: remove it"
            )
    return [_point(path, each - found[0]) for each in found[1:]]


def _marker_places(path: str, data: bytes) -> tuple[list[Array], int]:
    """Places (x, y, z) of the markers in a file, and how many sets have some."""
    from xml.parsers import expat  # only marker files need it

    found: list[Array] = []
    begun: list[int] = []  # how many markers there were before each set

    def begin(tag: str, attributes: dict[str, str]) -> None:
        if tag == "marker_set":
            begun.append(len(found))
        if tag != "marker":
            return
        if len(found) > MOST_CENTERS:
            raise SourceError(
                f"{path}: has more than {MOST_CENTERS + 1:,} markers, and there are "
                f"{MOST_CENTERS:,} centers at most: save fewer"
            )
        try:
            place = [float(attributes[name]) for name in "xyz"]
        except (KeyError, ValueError):
            place = [math.nan]
        if not all(abs(part) < FARTHEST_A for part in place):
            raise SourceError(
                f"{path}: marker {len(found) + 1} has no place x, y, z: save the markers again"
            )
        found.append(np.array(place))

    def refuse(*_: Any) -> None:
        raise SourceError(f"{path}: defines entities, which marker files have no use for")

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # or an unknown encoding
        raise SourceError(
            f"{path}: is no marker file of ChimeraX ({error}): save the markers as .cmm"
        ) from None
    if not found:
        raise SourceError(f"{path}: has no markers: place them in ChimeraX and save them as .cmm")
    return found, len({each for each in begun if each < len(found)})


def center_of_mass(path: str) -> Point:
    """Center of mass of a mask, in A from its box center, voxel N // 2.

    Raises
    ------
    SourceError
        The file is no map, has no voxel size, or values that no mask has.
    """
    from numba_symexp.mrc import opened, refuse_not_finite, sections_of, voxel_size_A

    with opened(path) as file:
        sections, order = sections_of(path, file)
        voxel_A = voxel_size_A(path, file.header, _OTHERWISE)
        mass, moment = 0.0, np.zeros(3)  # along the axes of the file
        least, most = 0.0, 0.0
        for first in range(0, len(sections), _SECTIONS):
            some = np.asarray(sections[first : first + _SECTIONS])
            refuse_not_finite(path, some, first)
            least, most = min(least, float(some.min())), max(most, float(some.max()))
            weights = np.maximum(some, 0).astype(np.float64)
            mass += float(weights.sum())
            for axis in range(3):
                rest = tuple(each for each in range(3) if each != axis)
                place = np.arange(weights.shape[axis]) + (first if axis == 0 else 0)
                moment[axis] += float(weights.sum(axis=rest) @ place)
        middle = np.array(sections.shape) // 2
    if least < _BELOW_0 * most:
        raise SourceError(
            f"{path}: has values below 0, which no mask has: name a mask, which is 1 inside and 0 "
            "outside"
        )
    if not 0 < mass < math.inf:
        raise SourceError(f"{path}: is 0 everywhere: name a mask that is 1 inside")
    z, y, x = ((moment / mass - middle) * voxel_A)[list(order)]
    return _point(path, np.array([x, y, z]))


def box_of_mask_A(path: str) -> float:  # noqa: N802 - the unit is A
    """Longest side of a mask that was read before."""
    from numba_symexp.mrc import opened, sections_of, voxel_size_A

    with opened(path) as file:
        return max(sections_of(path, file)[0].shape) * voxel_size_A(path, file.header, _OTHERWISE)


def _point(path: str, place: Array) -> Point:
    """A point of a file, to what is worth telling apart."""
    if not (np.abs(place) < FARTHEST_A).all():
        raise SourceError(f"{path}: has a point that is too far for any map: check the file")
    x, y, z = (np.round(place, 6) + 0.0).tolist()
    return x, y, z
