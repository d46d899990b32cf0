"""The part of a map that no orientation of a symmetry changes, and which tells nothing of it.

A particle is denser than its solvent, whatever its symmetry: rotated in any way about its centre, a
globular one correlates with itself by much. So the mean over every rotation that the symmetry
might have is taken out first: over spheres about the centre for T, O and I, over rings about the
axis for Cn, over pairs of rings above and below the centre for Dn (its 2-folds may lie anywhere
across the axis), over cylinders for a helix.
"""

import numpy as np

from numba_symexp.symmetry.operators import Operators
from numba_symexp.types import Array

SPHERES, RINGS, PAIRS, CYLINDERS, NOTHING = "spheres", "rings", "pairs", "cylinders", "nothing"


def kept_by(operators: Operators) -> str:
    """Over what the mean is that no orientation of a symmetry changes."""
    if operators.symmetry.is_helix:
        return CYLINDERS
    if np.any(operators.translation_A):
        return NOTHING
    return {"C": RINGS, "D": PAIRS}.get(operators.symmetry.family, SPHERES)


def without_means(density: Array, centre: Array, over: str) -> Array:
    """A map without its means over spheres, rings, pairs of rings or cylinders.

    Parameters
    ----------
    density : (nz, ny, nx) float32
    centre : (3,) float64
        x, y, z in voxels; the axis is z.
    over : str
        As `kept_by` gives.
    """
    if over == NOTHING:
        return density
    nz, ny, nx = density.shape
    x, y, z = (np.arange(size) - middle for size, middle in zip((nx, ny, nz), centre, strict=True))
    across = np.hypot(y[:, None], x)
    if over == SPHERES:
        return _without_spheres(density, across, z)
    return _without_rings(density, across, centre[2], over)


def _without_spheres(density: Array, across: Array, z: Array) -> Array:
    """Without the mean at each distance from the centre."""
    size = int(np.hypot(across.max(), np.abs(z).max())) + 2
    count, radius, total = np.zeros((3, size))
    for height, section in zip(z, density, strict=True):
        distance = np.hypot(across, height).ravel()
        shell = np.rint(distance).astype(np.intp)
        count += np.bincount(shell, minlength=size)
        radius += np.bincount(shell, distance, size)
        total += np.bincount(shell, section.ravel(), size)
    there = count > 0
    radius, mean = radius[there] / count[there], total[there] / count[there]
    out = np.empty_like(density)
    for k, height in enumerate(z):
        out[k] = density[k] - np.interp(np.hypot(across, height), radius, mean)
    return out


def _without_rings(density: Array, across: Array, middle: float, over: str) -> Array:
    """Without the mean at each distance from the axis, at each height, both heights, or all."""
    distance = across.ravel()
    ring = np.rint(distance).astype(np.intp)
    count = np.bincount(ring)
    there = count > 0
    radius = np.bincount(ring, distance)[there] / count[there]
    totals = [np.bincount(ring, section.ravel())[there] for section in density]
    means: Array = np.stack(totals) / count[there]
    if over == CYLINDERS:
        means[:] = means.mean(axis=0)
    if over == PAIRS:
        means = (means + _upside_down(means, middle)) / 2
    out = np.empty_like(density)
    for k, section in enumerate(density):
        out[k] = section - np.interp(across, radius, means[k])
    return out


def _upside_down(means: Array, middle: float) -> Array:
    """Rows of a table (nz, n) as they are at the other side of the middle, linear between rows."""
    last = len(means) - 1
    place = np.clip(2 * middle - np.arange(len(means)), 0, last)
    low = np.minimum(place.astype(np.intp), last - 1)
    part = (place - low)[:, None]
    return np.asarray((1 - part) * means[low] + part * means[low + 1])
