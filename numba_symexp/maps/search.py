"""What the searches for other axes and for another helix share: coarse maps, and steps uphill.

A search looks at some voxels of a coarse map. What it finds is compared on the whole map before it
is reported.
"""

from collections.abc import Callable

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.maps.comparison import BOX_CENTER, Scene, make_scene
from numba_symexp.maps.grid import Grid

COARSE_BOX, FINE_BOX = 32, 96
"""Voxels along a side in which to search, and in which to refine."""

_HALVINGS = 7
"""How often a refinement halves its steps."""

_WIDE = 4
"""Radius in coarse voxels; in a smaller sphere nothing can be searched."""


def scenes_to_search(
    grid: Grid, over: str, radius_A: float | None, about_A: Array = BOX_CENTER
) -> tuple[Scene, Scene]:
    """A map to search in, and one to refine in."""
    coarse, fine = grid.coarser(COARSE_BOX), grid.coarser(FINE_BOX)
    wide_A = None if radius_A is None else max(radius_A, _WIDE * coarse.voxel_A)
    return (
        make_scene(coarse, over, radius_A=wide_A, about_A=about_A),
        make_scene(fine, over, radius_A=wide_A, about_A=about_A),
    )


def climb(score: Callable[[Array], float], start: Array, steps: Array) -> tuple[float, Array]:
    """Highest score near a start, by steps along each coordinate that are halved again and again.

    Parameters
    ----------
    score : callable
    start, steps : (n,) float64
    """
    best, place, steps = score(start), start, np.array(steps, np.float64)
    for _ in range(_HALVINGS):
        better = True
        while better:
            better = False
            for axis in range(len(place)):
                for sign in (-1, 1):
                    further = place.copy()
                    further[axis] += sign * steps[axis]
                    value = score(further)
                    if value > best + 1e-9:
                        best, place, better = value, further, True
        steps /= 2
        interrupts.check()
    return best, place


def turn_about(axis: Array, angle: float) -> Array:
    """Rotation about a unit axis, by Rodrigues: I + sin(a) K + (1 - cos(a)) K^2, K x = axis x x."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
