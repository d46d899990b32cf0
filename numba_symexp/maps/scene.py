"""A map made ready to be compared with its rotated copies: mask, noise, and the comparison."""

from dataclasses import dataclass

import numpy as np

from numba_symexp.errors import SourceError, UsageError
from numba_symexp.maps.correlation import moments
from numba_symexp.maps.invariant import CYLINDERS, without_means
from numba_symexp.maps.read import Grid
from numba_symexp.maps.report import OperatorFit
from numba_symexp.types import Array

LEAST_CEILING = 0.1
"""Where noise leaves less to be reached, it hides the answer, unless it has the symmetry too."""

_LEAST_OVERLAP = 0.1
"""Of the mask's voxels; fewer say nothing about an operator."""

_LEAST_VOXELS = 50

_BOX_CENTRE = np.zeros(3)


@dataclass(frozen=True)
class Scene:
    """A map, where it is compared, and about which point.

    Attributes
    ----------
    density : (nz, ny, nx) float32
        Without the part that no orientation changes.
    mask : (nz, ny, nx) bool
    centre : (3,) float64
        x, y, z in voxels.
    voxel_A : float
    variance, noise : float
        Variance of the density in the mask, and of the noise.
    """

    density: Array
    mask: Array
    centre: Array
    voxel_A: float
    variance: float
    noise: float


def make_scene(
    grid: Grid,
    over: str,
    mask: Array | None = None,
    radius_A: float | None = None,
    about_A: Array = _BOX_CENTRE,
) -> Scene:
    """Take out of a map what tells nothing, find the voxels to compare, and estimate the noise.

    The noise is the variance outside of the largest sphere in the box (of a helix: the largest
    cylinder), where no particle should be. In a map that was masked this is 0, and whatever noise
    there is counts against the symmetry.

    Parameters
    ----------
    grid : Grid
    over : str
        What is taken out; see `invariant.kept_by`.
    mask : (nz, ny, nx) bool, optional
        Where to compare; by default in the largest sphere.
    radius_A : float, optional
        Radius of the sphere; with a mask, both must hold.
    about_A : (3,) float64, optional
        Centre of symmetry and sphere, from the box centre.

    Raises
    ------
    UsageError
        The sphere holds too few voxels.
    SourceError
        The density does not vary in the mask.
    """
    centre = grid.centre + about_A / grid.voxel_A
    density = without_means(grid.density, centre, over)
    largest = min(grid.density.shape) / 2 - 1
    if mask is None or radius_A is not None:
        radius = largest if radius_A is None else radius_A / grid.voxel_A
        sphere = _within(radius, density.shape, centre)
        mask = sphere if mask is None else mask & sphere
    if np.count_nonzero(mask) < _LEAST_VOXELS:
        raise UsageError(
            f"mask and radius leave {np.count_nonzero(mask)} voxels to compare: use a larger mask, "
            "or a larger --radius (A)"
        )
    outside = ~_within(largest, density.shape, grid.centre, flat=over == CYLINDERS)
    variance = float(np.var(density[mask], dtype=np.float64))
    if not variance:
        raise SourceError("the map has no density that varies in the mask: use another mask")
    noise = float(np.var(grid.density[outside], dtype=np.float64)) if outside.any() else 0.0
    return Scene(density, mask, centre, grid.voxel_A, variance, noise)


def fit_operator(scene: Scene, rotation: Array, translation_A: Array, label: str) -> OperatorFit:
    """Compare a map with its copy by x -> R x + t.

    With noise of variance N, and V and V' the variances of map and copy, a perfect symmetry reaches
    (V - N) / sqrt(V V'): 1 - N / V where interpolation leaves the noise as it is, more where it
    smooths the copy's noise.

    Parameters
    ----------
    scene : Scene
    rotation : (3, 3) float64
    translation_A : (3,) float64
    label : str
    """
    offset = scene.centre - rotation @ scene.centre + translation_A / scene.voxel_A
    count, of_map, of_copy, covariance = moments(scene.density, scene.mask, rotation, offset)
    overlap = count / int(np.count_nonzero(scene.mask))
    if overlap < _LEAST_OVERLAP:
        return OperatorFit(label, None, None, overlap)
    if not (of_map > 0 and of_copy > 0):
        return OperatorFit(label, 0.0, 0.0, overlap)
    ceiling = (of_map - scene.noise) / np.sqrt(of_map * min(of_map, of_copy))
    correlation = covariance / np.sqrt(of_map * of_copy)
    return OperatorFit(label, float(correlation), float(np.clip(ceiling, 0, 1)), overlap)


def _within(radius: float, shape: tuple[int, ...], centre: Array, flat: bool = False) -> Array:
    """Voxels of a sphere about a point; when flat, of a cylinder about its z axis."""
    nz, ny, nx = shape
    x, y, z = (
        (np.arange(size) - middle) ** 2 for size, middle in zip((nx, ny, nz), centre, strict=True)
    )
    if flat:
        z = np.zeros_like(z)
    return np.asarray(z[:, None, None] + (y[:, None] + x) <= radius**2)
