"""Read maps section by section, and average blocks of voxels on the way."""

import math
from dataclasses import dataclass, replace

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.mrc import (
    LEAST_BOX,
    box_in_words,
    opened,
    refuse_not_finite,
    sections_of,
    voxel_size_A,
)

_WANTED_A = 3.5
"""Coarser voxels would hide what tells orientations apart."""

_WANTED_BOX = 128
"""As many voxels along a side are plenty."""


@dataclass(frozen=True)
class Grid:
    """A map on its voxels, or on blocks of them.

    Attributes
    ----------
    density : (nz, ny, nx) float32
    voxel_A : float
        Side of a voxel here.
    center : (3,) float64
        Box center x, y, z in voxels here; it is voxel N // 2 of the file.
    box : tuple of int
        Voxels of the file along x, y and z.
    factor : int
        Voxels of the file along the side of a voxel here.
    """

    density: Array
    voxel_A: float
    center: Array
    box: tuple[int, int, int]
    factor: int

    def coarser(self, most: int) -> "Grid":
        """Average blocks of voxels: no side has more than ``most``, if none gets too short."""
        shape = self.density.shape
        factor = min(math.ceil(max(shape) / most), min(shape) // LEAST_BOX)
        return replace(
            self,
            density=np.stack(
                [
                    _blocks(self.density[k : k + factor], factor)
                    for k in range(0, len(self.density) // factor * factor, factor)
                ]
            ),
            voxel_A=self.voxel_A * factor,
            center=_in_blocks(self.center, factor),
            factor=self.factor * factor,
        )


def read_map(path: str, psize_A: float | None = None, factor: int | None = None) -> Grid:
    """Read a map; its origin and start in the header are ignored.

    What counts is the box center, voxel N // 2, as it does for particles.

    Parameters
    ----------
    path : str
        MRC file of any mode of real numbers, with its axes in any order; packed by gzip or bzip2
        as well.
    psize_A : float, optional
        A per voxel, where the header is not to be believed.
    factor : int, optional
        Voxels along the side of a block that is averaged; by default as many as leave 128 voxels
        along a side, of at most 3.5 A.

    Raises
    ------
    UsageError
        The voxel size or the factor cannot be.
    SourceError
        The file is no map, has no voxel size, or its density is not finite or does not vary.
    """
    if psize_A is not None and not 0 < psize_A < math.inf:
        raise UsageError(f"psize {psize_A:g} must be a number of A above 0")
    with opened(path) as file:
        sections, order = sections_of(path, file)
        voxel_A = voxel_size_A(path, file.header) if psize_A is None else psize_A
        side = min(sections.shape)
        if factor is None:
            factor = max(1, min(side // _WANTED_BOX, int(_WANTED_A / voxel_A)))
        if factor < 1 or side // factor < LEAST_BOX:
            raise UsageError(
                f"bin {factor} must be 1 to {side // LEAST_BOX} for a box of {side} voxels"
            )
        density = np.ascontiguousarray(_binned(path, sections, factor).transpose(order))
        nz, ny, nx = (sections.shape[axis] for axis in order)
    low, high = density.min(), density.max()
    if low == high:
        raise SourceError(f"{path}: has no density that varies: all voxels are {low:g}")
    density -= density.mean(dtype=np.float64).astype(np.float32)
    density /= max(abs(density.min()), density.max())  # squares of huge or tiny numbers are safe
    middle = np.array([nx // 2, ny // 2, nz // 2], np.float64)
    return Grid(density, voxel_A * factor, _in_blocks(middle, factor), (nx, ny, nz), factor)


def read_mask(path: str, grid: Grid) -> Array:
    """Where a mask of the same box is above 0.5 on a grid's voxels, (nz, ny, nx) bool.

    Raises
    ------
    SourceError
        The file is no map, has another box, or no voxel above 0.5.
    """
    with opened(path) as file:
        sections, order = sections_of(path, file)
        nz, ny, nx = (sections.shape[axis] for axis in order)
        if (nx, ny, nz) != grid.box:
            raise SourceError(
                f"{path}: has {box_in_words(nx, ny, nz)} voxels, the map "
                f"{box_in_words(*grid.box)}: give a mask of the map's box"
            )
        inside = _binned(path, sections, grid.factor).transpose(order) > 0.5
    if not inside.any():
        raise SourceError(f"{path}: has no voxel above 0.5: give a mask that is 1 on the particle")
    return np.ascontiguousarray(inside)


def _binned(path: str, sections: Array, factor: int) -> Array:
    """Means of blocks, float32, in the order of the file; what fills no block is left out."""
    count = len(sections) // factor
    _, rows, columns = sections.shape
    out = np.empty((count, rows // factor, columns // factor), np.float32)
    for k in range(count):
        some = sections[k * factor : (k + 1) * factor]
        refuse_not_finite(path, some, k * factor)
        out[k] = _blocks(some, factor)
    return out


def _blocks(sections: Array, factor: int) -> Array:
    """Means of blocks of as many sections as a block has, (rows, columns) float32."""
    rows, columns = (size // factor for size in sections.shape[1:])
    whole = sections[:, : rows * factor, : columns * factor]
    if factor == 1:
        return whole[0].astype(np.float32)
    summed = whole.sum(axis=0, dtype=np.float64).reshape(rows, factor, columns, factor)
    return np.asarray(summed.sum(axis=(1, 3)) / factor**3, np.float32)


def _in_blocks(place: Array, factor: int) -> Array:
    """A place in voxels, in blocks of them; block 0 is centerd on voxel (factor - 1) / 2."""
    return (place - (factor - 1) / 2) / factor
