"""Tell whether a symmetry fits about another point than the box centre."""

from collections.abc import Sequence

import numpy as np

from numba_symexp import interrupts
from numba_symexp.maps.center import find_centre, refine_centre
from numba_symexp.maps.invariant import kept_by
from numba_symexp.maps.orientations import fit_orientation, moving_generators, name_of
from numba_symexp.maps.read import Grid
from numba_symexp.maps.scene import make_scene
from numba_symexp.maps.verdict import reaches
from numba_symexp.symmetry.operators import Operators
from numba_symexp.types import Array

_FARTHEST = 0.25
"""Of the box; a particle whose centre is farther off does not lie in the box."""

_NEAREST = 0.25
"""Voxels; less is no other point than the box centre."""

_SEARCH_BOX, _WIDE = 64, 4
_ENOUGH = 0.7
"""Few voxels: so many along a side, in a sphere of at least that radius. They must show this share
of the threshold before all are compared."""


def fit_elsewhere(
    grid: Grid,
    orientations: Sequence[Operators],
    mask: Array | None,
    radius_A: float | None,
    threshold: float,
) -> tuple[tuple[float, float, float], str] | None:
    """Point about which one of some orientations fits (A from the box centre), and a verdict.

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
    """
    coarse, over = grid.coarser(_SEARCH_BOX), kept_by(orientations[0])
    farthest_A = _FARTHEST * min(grid.density.shape) * grid.voxel_A
    wide_A = None if radius_A is None else max(radius_A, _WIDE * coarse.voxel_A)
    for operators in orientations:
        interrupts.check()
        numbers = moving_generators(operators)
        about_A = find_centre(grid, operators, numbers)
        if np.linalg.norm(about_A) > farthest_A:
            continue
        seen = make_scene(coarse, over, radius_A=wide_A, about_A=about_A)
        if not reaches(fit_orientation(seen, operators, numbers), _ENOUGH * threshold):
            continue
        about_A = refine_centre(grid, operators, numbers, about_A)
        scene = make_scene(grid, over, mask, radius_A if mask is None else None, about_A)
        moved = np.linalg.norm(about_A) > _NEAREST * grid.voxel_A
        if moved and reaches(fit_orientation(scene, operators, numbers), threshold):
            x, y, z = (about_A.round(1) + 0.0).tolist()
            return (x, y, z), (
                f"has {name_of(operators)}, but about ({x:.1f}, {y:.1f}, {z:.1f}) A from the box "
                "centre: recentre the map"
            )
    return None
