"""Where the sites of a particle are drawn on the sphere."""

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.arrangements.sites import Sites
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.subgroups import principal_axis

_GRID = 400
"""Directions that are tried, even over the sphere."""

_RING = np.array([np.sqrt(3) / 2, 0.0, 0.5])
"""Of turns about z alone: sites lie in a ring, of tilt 60."""

_APART = 1e-3
"""Sites that are nearer, in radians, would be one dot."""


def places_of_sites(sites: Sites) -> tuple[Array, str]:
    """Directions in which the sites are drawn.

    Those of their centers, or of the axes that they stand for; else one direction of the map,
    turned by each operator: of a ring, or one that puts the sites well apart.

    Parameters
    ----------
    sites : Sites

    Returns
    -------
    (S, 3) float64
        Unit vectors.
    str
        What they are, in words.
    """
    operators = sites.operators
    if operators.center_A.any():
        length = np.linalg.norm(operators.motion_A, axis=1, keepdims=True)
        found = operators.motion_A / np.where(length > 0, length, 1)
        if _nearest(found) > _APART:
            return found, "in the direction of their centers from the box center"
    if sites.by_subgroup:
        axis = principal_axis(sites.full, operators.subgroup.astype(np.int64))
        if axis is not None and _nearest(operators.matrix @ axis) > _APART:
            return operators.matrix @ axis, "on the axes that they stand for"
    chosen = _well_apart(operators)
    told = ", ".join(f"{part:.2f}" for part in np.round(chosen, 2) + 0.0)
    return (
        operators.matrix @ chosen,
        f"where the operators turn the direction ({told}), which stands for the subunit",
    )


def _well_apart(operators: Operators) -> Array:
    """The direction whose turned copies are farthest from each other; the same every time."""
    if np.allclose(operators.matrix[:, 2, 2], 1):
        return _RING
    tried = _even_directions(_GRID)
    # to six digits, so that rounding does not choose
    apart = np.round([_nearest(operators.matrix @ each) for each in tried], 6)
    return np.asarray(tried[int(np.argmax(apart))])


def _even_directions(count: int) -> Array:
    """Directions (count, 3) along a spiral from +z to -z (Fibonacci's)."""
    step = np.arange(count) + 0.5
    z, turn = 1 - 2 * step / count, np.pi * (3 - np.sqrt(5)) * step
    across = np.sqrt(1 - z * z)
    return np.stack([across * np.cos(turn), across * np.sin(turn), z], axis=1)


def _nearest(places: Array) -> float:
    """Smallest distance between two of several unit vectors; 2 of one alone."""
    cosine = places @ places.T
    np.fill_diagonal(cosine, -1.0)
    return float(np.sqrt(max(0.0, 2 - 2 * float(cosine.max()))))
