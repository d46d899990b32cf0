"""How far the images of one set were moved against those of the other, where that is known."""

from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.micrographs import (
    FRACTIONS,
    MICROGRAPH_PSIZE,
    PSIZE,
    SHAPE,
    stated_psizes_A,
)
from numba_symexp.formats.relion.labels import COORDINATES_PX
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import native
from numba_symexp.particles.findings import refuse_no_length
from numba_symexp.particles.schema import BLOB_PSIZE
from numba_symexp.particles.table import ParticleTable
from numba_symexp.particles.words import numbers
from numba_symexp.symmetry.centers import Point
from numba_symexp.transfers.join import ORIGINAL_IMAGE, Joined
from numba_symexp.transfers.sets import PoseSet

_SAME_PX = 0.01
"""Coordinates are stored as float32 or with six decimals."""

_HALF_PX = 0.5 + 1e-3
_SOME_ROWS = 4096
_ROUNDING_PX = 2.0
"""Pixels by which boxes of one size in A differ when images were made smaller."""

_SAME_PSIZE = 1e-3


def subtracted_move_A(target: PoseSet, rows: Array, center: Point) -> Array:  # noqa: N802
    """Whole pixels by which RELION's Subtract moved images about a new center, in A, (n, 2).

    A point x of the map is at A x - s in the full image. Subtract moves the image by
    m = round(s - A c), in px, so that c comes to the center; A and s are those of then, and those
    that the target has. The new image has the map about c: its own shift s' obeys
    A (x - c) - s' = A x - s + m, so that in the full image that map has the shift s' + m.

    Parameters
    ----------
    target : PoseSet
        With the poses that Subtract was given.
    rows : (n,) int64
    center : tuple of float
        c, in A from the box center of the old map.
    """
    pose_name, shift_name, form = target.pose_columns()
    found = target.table.read_at([pose_name, shift_name], rows)
    to_map = convert(native(found[pose_name]), form, "matrix").astype(np.float64)
    # A = exp(v)^T, so that (A c)_k is the sum over j of exp(v)_jk c_j
    projected_A = np.einsum("njk,j->nk", to_map, np.array(center, np.float64))[:, :2]
    shift_A = native(found[shift_name]).astype(np.float64) * target.sizes_A(rows)[:, None]
    image_A = image_sizes_A(target, rows)[:, None]
    return _rounded((shift_A - projected_A) / image_A) * image_A


def image_sizes_A(given: PoseSet, rows: Array) -> Array:  # noqa: N802
    """A per pixel of the images themselves, (n,) float64."""
    if not given.is_text and BLOB_PSIZE in given.table.columns:
        found = native(given.table.read_at([BLOB_PSIZE], rows)[BLOB_PSIZE])
        refuse_no_length(found, BLOB_PSIZE, rows, given.table)
        return found.astype(np.float64)
    return given.sizes_A(rows)


def _rounded(values: Array) -> Array:
    """Nearest whole numbers, halves away from 0, as RELION rounds."""
    return np.trunc(values + np.copysign(0.5, values))


def doubt_of_subtraction(source: PoseSet, target: PoseSet, joined: Joined) -> tuple[bool, str]:
    """Whether images of the source were moved, as far as its file tells.

    Returns
    -------
    moved : bool
        They were.
    told : str
        What speaks for it, or that it is not known; empty where they were not.
    """
    table = source.table
    if ORIGINAL_IMAGE not in table.columns or not source.is_text:
        return False, ""
    some = np.unique(np.linspace(0, len(joined.rows) - 1, _SOME_ROWS).astype(np.int64))
    rows, partners = joined.rows[some], joined.partners[some]
    if ORIGINAL_IMAGE in target.table.columns:
        one, other = (
            table_of.table.read_at([ORIGINAL_IMAGE], each)[ORIGINAL_IMAGE]
            for table_of, each in ((source, partners), (target, rows))
        )
        if (one == other).all():
            return False, ""
    size, full = image_sizes_A(source, partners), image_sizes_A(target, rows)
    box, full_box = table.box_px(), target.table.box_px()
    if box is not None and full_box is not None:
        small, large = box * float(size.max()), full_box * float(full.max())
        if small < large - _ROUNDING_PX * max(float(size.max()), float(full.max())):
            return True, f"its images have {small:.0f} A instead of {large:.0f} A"
    if target.columns is None:
        return False, "whether they were moved cannot be told"
    shift, old = _in_pixels(source, partners, size), _in_pixels(target, rows, full)
    if (np.abs(shift) <= _HALF_PX).all() and (np.abs(old) > _HALF_PX).any():
        return True, "all its origins are below half a pixel"
    near = np.abs(shift * size[:, None] - old * full[:, None]) < _SAME_PX * full[:, None]
    if np.mean(near.all(axis=1)) > 0.5:
        return False, ""
    return False, "whether they were moved cannot be told"


def _in_pixels(given: PoseSet, rows: Array, image_A: Array) -> Array:
    """Shifts of some rows, in pixels of their images."""
    name = given.pose_columns()[1]
    shift = native(given.table.read_at([name], rows)[name]).astype(np.float64)
    return shift * (given.sizes_A(rows) / image_A)[:, None]


def refuse_other_pixels(source: PoseSet, target: PoseSet, joined: Joined) -> None:
    """Refuse a target whose pixels are not those of the images that were subtracted.

    Raises
    ------
    SourceError
        The whole pixels of the move are not known then.
    """
    for start in range(0, len(joined.rows), _SOME_ROWS):
        part = slice(start, start + _SOME_ROWS)
        size = image_sizes_A(source, joined.partners[part])
        full = image_sizes_A(target, joined.rows[part])
        off = np.abs(size - full) > _SAME_PSIZE * full
        if off.any():
            row = int(np.argmax(off))
            raise SourceError(
                f"{source.path}: has images of {size[row]:.6g} A per pixel, and {target.path} of "
                f"{full[row]:.6g}, so in which pixels the images were moved is not known: "
                "transfer onto the images that were subtracted, and from these onto others"
            )


@dataclass(frozen=True)
class Boxes:
    """Places of boxes on micrographs, in both sets.

    The particle is at coordinate - shift, in both sets: so shift' = shift + coordinate' -
    coordinate.
    """

    source: ParticleTable
    target: ParticleTable
    names: tuple[str, str]

    @classmethod
    def of(cls, source: ParticleTable, target: ParticleTable) -> "Boxes | None":
        """Coordinates in the names that both sets have; None where they have none."""
        for names in (FRACTIONS, COORDINATES_PX[:2]):
            kind = "f" if names == FRACTIONS else "S"
            columns = [each.columns.get(name) for name in names for each in (source, target)]
            if all(each and not each.shape and each.dtype.kind == kind for each in columns):
                shape = target.columns.get(SHAPE)
                if kind == "S" or (shape and shape.shape == (2,) and shape.dtype.kind in "ui"):
                    return cls(source, target, (names[0], names[1]))
        return None

    def moves_A(self, rows: Array, partners: Array) -> Array:  # noqa: N802
        """By how much boxes of the target lie further than those of the source, (n, 2) A.

        Raises
        ------
        SourceError
            Boxes were moved, and nothing says how large a pixel of the micrograph is.
        """
        further = self._places(self.target, rows) - self._places(self.source, partners)
        if self.names == FRACTIONS:  # fractions of (ny, nx) pixels
            further *= self.target.read_at([SHAPE], rows)[SHAPE][:, ::-1]
        moved = np.abs(further).max(axis=1, initial=0) > _SAME_PX
        found = np.zeros(further.shape)
        if moved.any():
            found[moved] = further[moved] * self._micrograph_sizes_A(rows[moved])[:, None]
        return found

    def _places(self, table: ParticleTable, rows: Array) -> Array:
        """Coordinates as they stand in the table, (n, 2) float64."""
        found = table.read_at(self.names, rows)
        columns = [
            numbers(words, f"{table.path}: _{name}", 0, table.numbering(rows))
            if words.dtype.kind == "S"
            else words
            for name, words in found.items()
        ]
        return np.stack(columns, axis=1).astype(np.float64)

    def _micrograph_sizes_A(self, rows: Array) -> Array:  # noqa: N802
        """A per pixel of the micrographs of some rows of the target."""
        table = self.target
        found = stated_psizes_A(table, rows)
        if found is not None:
            return found
        raise SourceError(
            f"{table.path}: boxes are at other places of the micrographs than in "
            f"{self.source.path} ({' and '.join(self.names)}; row {int(rows[0])} first), so "
            "shifts differ, and nothing says how many A a pixel of the micrograph has: add "
            f"{MICROGRAPH_PSIZE if table.header is not None else PSIZE}"
        )
