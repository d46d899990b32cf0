"""Find the point about which a map has a symmetry, where that is not the box center.

Where density(x) = density(R (x - c) + c + t), the copy of the map by x -> R x + t about the box
center is the map moved by (R^T - I) c. The peak of their cross-correlation tells how far, and
least squares over the operators give c; along an axis that all operators share nothing tells it,
and nothing needs to.
"""

from collections.abc import Sequence

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.maps.comparison import NOTHING, make_scene, means_over
from numba_symexp.maps.correlation import moments
from numba_symexp.maps.grid import Grid
from numba_symexp.maps.orientations import fit_orientation, moving_generators, name_of
from numba_symexp.maps.report import meets_threshold
from numba_symexp.symmetry.operators import Operators

FARTHEST = 0.25
"""Of the box; a particle whose center is farther off does not lie in the box."""

_NEAREST = 0.25
"""Voxels; less is no other point than the box center."""

_SEARCH_BOX, _WIDE = 64, 4
_ENOUGH = 0.7
"""Few voxels: so many along a side, in a sphere of at least that radius. They must show this share
of the threshold before all are compared."""


def fit_about_another_point(
    grid: Grid,
    orientations: Sequence[Operators],
    mask: Array | None,
    radius_A: float | None,
    threshold: float,
    better_than: float = 0.0,
) -> tuple[tuple[float, float, float], str] | None:
    """Point about which one of some orientations fits (A from the box center), and a verdict.

    None where there is no such point. Each orientation is tried on few voxels first; what is told
    was compared on all of them.

    Parameters
    ----------
    grid : Grid
    orientations : sequence of Operators
        The named one first.
    mask : (nz, ny, nx) bool, optional
    radius_A : float, optional
    threshold : float
    better_than : float, optional
        Share of the ceiling that the worst operator must exceed, too.
    """
    coarse, over = grid.coarser(_SEARCH_BOX), means_over(orientations[0])
    farthest_A = FARTHEST * min(grid.density.shape) * grid.voxel_A
    wide_A = None if radius_A is None else max(radius_A, _WIDE * coarse.voxel_A)
    for operators in orientations:
        interrupts.check()
        numbers = moving_generators(operators)
        about_A = find_center(grid, operators, numbers)
        if np.linalg.norm(about_A) > farthest_A:
            continue
        seen = make_scene(coarse, over, radius_A=wide_A, about_A=about_A)
        if not meets_threshold(fit_orientation(seen, operators, numbers), _ENOUGH * threshold):
            continue
        about_A = refine_center(grid, operators, numbers, about_A)
        scene = make_scene(grid, over, mask, radius_A if mask is None else None, about_A)
        moved = np.linalg.norm(about_A) > _NEAREST * grid.voxel_A
        fit = fit_orientation(scene, operators, numbers)
        if moved and meets_threshold(fit, threshold) and (fit.share or 0.0) > better_than:
            x, y, z = (about_A.round(1) + 0.0).tolist()
            return (x, y, z), (
                f"has {name_of(operators)}, but about ({x:.1f}, {y:.1f}, {z:.1f}) A from the box "
                "center: recenter the map"
            )
    return None


_SEARCH_BOX, _REFINE_BOX = 64, 128
"""Voxels along a side that are enough to find a center, and to tell its place."""

_STEPS = (1.0, 0.3)
"""Voxels between the three places that a parabola is laid through."""

_TINY = 1e-6
"""Directions that the operators change by less are free."""


def find_center(grid: Grid, operators: Operators, numbers: Sequence[int]) -> Array:
    """Place of the center of symmetry if there is one, (3,) float64 in A from the box center.

    Parameters
    ----------
    grid : Grid
    operators : Operators
    numbers : sequence of int
        Numbers of generators.
    """
    grid = grid.coarser(_SEARCH_BOX)
    density = grid.density - grid.density.mean()
    spectrum = np.fft.rfftn(density)
    left, right = [], []
    for number in numbers:
        rotation = operators.matrix[number]
        moved = operators.translation_A[number] / grid.voxel_A
        copy = _copy(density, rotation, grid.center - rotation @ grid.center + moved)
        product = np.conj(spectrum) * np.fft.rfftn(copy)
        left.append(rotation.T - np.eye(3))
        right.append(_peak(np.fft.irfftn(product, density.shape, axes=(0, 1, 2))))
    found = np.linalg.lstsq(np.concatenate(left), np.concatenate(right), rcond=_TINY)[0]
    return np.asarray(found * grid.voxel_A)


def refine_center(
    grid: Grid, operators: Operators, numbers: Sequence[int], about_A: Array
) -> Array:
    """Move a center to where the correlations are best, to a fraction of a voxel.

    Not along what the operators leave free. Parameters are those of `find_center`.
    """
    grid = grid.coarser(_REFINE_BOX)
    scene = make_scene(grid, NOTHING, about_A=about_A)

    def score(center: Array) -> float:
        total = 0.0
        for number in numbers:
            rotation = operators.matrix[number]
            offset = center - rotation @ center + operators.translation_A[number] / grid.voxel_A
            _, a, b, ab = moments(scene.density, scene.mask, rotation, offset)
            total += ab / np.sqrt(a * b) if a > 0 and b > 0 else 0.0
        return total

    turns = np.concatenate([operators.matrix[number] - np.eye(3) for number in numbers])
    _, sizes, directions = np.linalg.svd(turns)
    center = scene.center
    for step in _STEPS:
        for direction in directions[sizes > _TINY]:
            line = [score(center + k * step * direction) for k in (-1, 0, 1)]
            center = center + np.clip(_summit(*line), -1, 1) * step * direction
    return np.asarray((center - grid.center) * grid.voxel_A)


def _copy(density: Array, rotation: Array, offset: Array) -> Array:
    """density(R x + offset) at every voxel x, trilinear; 0 outside of the box."""
    nz, ny, nx = density.shape
    z, y, x = np.indices(density.shape, np.float64).reshape(3, -1)
    place = rotation @ np.stack([x, y, z]) + offset[:, None]
    low = np.floor(place).astype(np.intp)
    part = place - low
    out = np.zeros(density.size)
    for corner in np.ndindex(2, 2, 2):
        step = np.array(corner)[:, None]
        i, j, k = low + step
        weight = np.prod(np.where(step == 1, part, 1 - part), axis=0)
        inside = (i >= 0) & (i < nx) & (j >= 0) & (j < ny) & (k >= 0) & (k < nz)
        out[inside] += weight[inside] * density[k[inside], j[inside], i[inside]]
    return out.reshape(density.shape)


def _peak(correlation: Array) -> Array:
    """Where a periodic function on a grid is highest, as x, y, z, to a fraction of a voxel."""
    peak = np.unravel_index(np.argmax(correlation), correlation.shape)
    place = []
    for axis, size in enumerate(correlation.shape):
        line = np.moveaxis(correlation, axis, 0)[:, *np.delete(peak, axis)]
        at = int(peak[axis])
        shift = _summit(line[at - 1], line[at], line[(at + 1) % size])
        place.append((at - size if at > size // 2 else at) + shift)
    return np.array(place[::-1])


def _summit(below: float, middle: float, above: float) -> float:
    """Top of the parabola through values at -1, 0 and 1; 0 where it has none."""
    bend = below - 2 * middle + above
    return 0.5 * (below - above) / bend if bend < 0 else 0.0
