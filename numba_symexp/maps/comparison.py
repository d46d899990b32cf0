"""A map made ready to be compared with its rotated copies, and the comparison.

A particle is denser than its solvent, whatever its symmetry: rotated in any way about its center, a
globular one correlates with itself by much. So the mean over every rotation that the symmetry
might have is taken out first: over spheres about the center for T, O and I, over rings about the
axis for Cn, over pairs of rings above and below the center for Dn (its 2-folds may lie anywhere
across the axis), over cylinders for a helix.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.maps.correlation import moments
from numba_symexp.maps.grid import Grid
from numba_symexp.maps.report import LEAST_CEILING, OperatorFit
from numba_symexp.symmetry.operators import Operators

SPHERES, RINGS, PAIRS, CYLINDERS, NOTHING = "spheres", "rings", "pairs", "cylinders", "nothing"

Z_AXIS = np.array([0.0, 0.0, 1.0])


def means_over(operators: Operators) -> str:
    """Over what the mean is that no orientation of a symmetry changes."""
    if operators.symmetry.is_helix:
        return CYLINDERS
    if np.any(operators.translation_A):
        return NOTHING
    return {"C": RINGS, "D": PAIRS}.get(operators.symmetry.family, SPHERES)


def without_means(density: Array, center: Array, over: str, axis: Array = Z_AXIS) -> Array:
    """A map without its means over spheres, rings, pairs of rings or cylinders.

    Parameters
    ----------
    density : (nz, ny, nx) float32
    center : (3,) float64
        x, y, z in voxels.
    over : str
        As `means_over` gives.
    axis : (3,) float64, optional
        Unit vector of the axis of rings, or pairs of rings.
    """
    if over == NOTHING:
        return density
    nz, ny, nx = density.shape
    x, y, z = (np.arange(size) - middle for size, middle in zip((nx, ny, nz), center, strict=True))
    across = np.hypot(y[:, None], x)
    if over == SPHERES:
        return _without_spheres(density, across, z)
    if not np.array_equal(axis, Z_AXIS):
        return _without_tilted_rings(density, (x, y, z), axis, over)
    return _without_rings(density, across, center[2], over)


def _without_spheres(density: Array, across: Array, z: Array) -> Array:
    """Without the mean at each distance from the center."""
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


def _without_tilted_rings(
    density: Array, places: tuple[Array, Array, Array], axis: Array, over: str
) -> Array:
    """Without the mean over rings about any axis, at each height or at both heights."""
    x, y, z = places
    most = int(np.sqrt(sum(np.abs(each).max() ** 2 for each in places))) + 2
    shape = 2 * most + 1, most + 1  # height along the axis from -most to most; distance from it
    count, total = np.zeros((2, shape[0] * shape[1]))
    squared = y[:, None] ** 2 + x**2

    def place(k: int) -> tuple[Array, Array]:
        height = axis[0] * x + axis[1] * y[:, None] + axis[2] * z[k]
        return height + most, np.sqrt(np.maximum(0, squared + z[k] ** 2 - height**2))

    for k, section in enumerate(density):
        height, distance = place(k)
        cell = (np.rint(height) * shape[1] + np.rint(distance)).astype(np.intp).ravel()
        count += np.bincount(cell, minlength=len(count))
        total += np.bincount(cell, section.ravel(), len(count))
    count, total = count.reshape(shape), total.reshape(shape)
    if over == PAIRS:
        count, total = count + count[::-1], total + total[::-1]
    mean = total / np.maximum(count, 1)
    out = np.empty_like(density)
    for k, section in enumerate(density):
        height, distance = place(k)
        i, j = height.astype(np.intp), distance.astype(np.intp)
        u, v = height - i, distance - j
        below = (1 - v) * mean[i, j] + v * mean[i, j + 1]
        above = (1 - v) * mean[i + 1, j] + v * mean[i + 1, j + 1]
        out[k] = section - ((1 - u) * below + u * above)
    return out


def _upside_down(means: Array, middle: float) -> Array:
    """Rows of a table (nz, n) as they are at the other side of the middle, linear between rows."""
    last = len(means) - 1
    place = np.clip(2 * middle - np.arange(len(means)), 0, last)
    low = np.minimum(place.astype(np.intp), last - 1)
    part = (place - low)[:, None]
    return np.asarray((1 - part) * means[low] + part * means[low + 1])


_LEAST_OVERLAP = 0.1
"""Of the mask's voxels; fewer say nothing about an operator."""

_LEAST_VOXELS = 50

_MOST_POINTS = 2500
"""Voxels that are compared in a search."""

_SIGMAS = 5.0
"""Standard deviations of independent noise; voxels of a map are far from independent."""

BOX_CENTER = np.zeros(3)


@dataclass(frozen=True)
class Scene:
    """A map, where it is compared, and about which point.

    Attributes
    ----------
    density : (nz, ny, nx) float32
        Without the part that no orientation changes.
    mask : (nz, ny, nx) bool
    center : (3,) float64
        x, y, z in voxels.
    voxel_A : float
    variance, noise : float
        Variance of the density in the mask, and of the noise.
    """

    density: Array
    mask: Array
    center: Array
    voxel_A: float
    variance: float
    noise: float


def make_scene(
    grid: Grid,
    over: str,
    mask: Array | None = None,
    radius_A: float | None = None,
    about_A: Array = BOX_CENTER,
    axis: Array = Z_AXIS,
) -> Scene:
    """Take out of a map what tells nothing, find the voxels to compare, and estimate the noise.

    The noise is the variance outside of the largest sphere in the box (of a helix: the largest
    cylinder), where no particle should be. In a map that was masked this is 0, and whatever noise
    there is counts against the symmetry.

    Parameters
    ----------
    grid : Grid
    over : str
        What is taken out; see `means_over`.
    mask : (nz, ny, nx) bool, optional
        Where to compare; by default in the largest sphere.
    radius_A : float, optional
        Radius of the sphere; with a mask, both must hold.
    about_A : (3,) float64, optional
        Center of symmetry and sphere, from the box center.

    Raises
    ------
    UsageError
        The sphere holds too few voxels.
    SourceError
        The density does not vary in the mask.
    """
    center = grid.center + about_A / grid.voxel_A
    density = without_means(grid.density, center, over, axis)
    largest = min(grid.density.shape) / 2 - 1
    if mask is None or radius_A is not None:
        radius = largest if radius_A is None else radius_A / grid.voxel_A
        sphere = _within(radius, density.shape, center)
        mask = sphere if mask is None else mask & sphere
    if np.count_nonzero(mask) < _LEAST_VOXELS:
        raise UsageError(
            f"mask and radius leave {np.count_nonzero(mask)} voxels to compare: use a larger mask, "
            "or a larger radius=A"
        )
    outside = ~_within(largest, density.shape, grid.center, flat=over == CYLINDERS)
    variance = float(np.var(density[mask], dtype=np.float64))
    if not variance:
        raise SourceError("the map has no density that varies in the mask: use another mask")
    noise = float(np.var(grid.density[outside], dtype=np.float64)) if outside.any() else 0.0
    return Scene(density, mask, center, grid.voxel_A, variance, noise)


@dataclass(frozen=True)
class Comparison:
    """The numbers that come out of comparing a map with its copy by one operator.

    Attributes
    ----------
    label : str
        Name of the operator.
    overlap : float
        Share of the mask's voxels that were compared.
    count : int
        How many voxels that is.
    of_map, of_copy, covariance : float
        Variances of the map and of its copy at these voxels, and their covariance.
    """

    label: str
    overlap: float
    count: int
    of_map: float
    of_copy: float
    covariance: float

    @property
    def is_enough(self) -> bool:
        """Whether enough of the mask stays inside the box."""
        return self.overlap >= _LEAST_OVERLAP

    @property
    def correlation(self) -> float:
        """Pearson correlation; 0 where the map or its copy does not vary."""
        if not (self.of_map > 0 and self.of_copy > 0):
            return 0.0
        return float(self.covariance / np.sqrt(self.of_map * self.of_copy))

    def fit(self, noise: float) -> OperatorFit:
        """Correlation, and the best one that noise of a variance allows.

        With noise of variance N, and V and V' the variances of map and copy, a perfect symmetry
        reaches (V - N) / sqrt(V V'): 1 - N / V where interpolation leaves the noise as it is, more
        where it smooths the copy's noise.
        """
        if not self.is_enough:
            return OperatorFit(self.label, None, None, self.overlap, None)
        if not (self.of_map > 0 and self.of_copy > 0):
            return OperatorFit(self.label, 0.0, 0.0, self.overlap, None)
        ceiling = float(np.clip((self.of_map - noise) / self._scale, 0, 1))
        return OperatorFit(
            self.label, self.correlation, ceiling, self.overlap, self._uncertainty(ceiling)
        )

    @property
    def most_noise(self) -> float:
        """Largest variance of noise that allows the correlation: V - r sqrt(V V')."""
        if not (self.is_enough and self.of_map > 0 and self.of_copy > 0):
            return np.inf
        return max(0.0, self.of_map - self.correlation * self._scale)

    @property
    def _scale(self) -> float:
        """sqrt(V V'), with V in place of V' where the copy happens to vary more."""
        return float(np.sqrt(self.of_map * min(self.of_map, self.of_copy)))

    def _uncertainty(self, ceiling: float) -> float:
        """How far correlation / ceiling may be below 1 by interpolation and chance alone.

        Interpolation takes 1 - V' / V of the variance. Of n voxels with independent noise a
        correlation r is known to (1 - r^2) / sqrt(n); noise is smooth, so n counts less.
        """
        smoothed = max(0.0, 1 - self.of_copy / self.of_map)
        chance = _SIGMAS * (1 - ceiling**2) / np.sqrt(self.count) / max(ceiling, LEAST_CEILING)
        return float(smoothed + chance)


def compare(scene: Scene, rotation: Array, translation_A: Array, label: str) -> Comparison:
    """Compare a map with its copy by x -> R x + t.

    Parameters
    ----------
    scene : Scene
    rotation : (3, 3) float64
    translation_A : (3,) float64
    label : str
    """
    if abs(translation_A[2]) / scene.voxel_A > 2 * len(scene.density):
        return Comparison(label, 0.0, 0, 0.0, 0.0, 0.0)  # far outside: nothing to look at
    offset = scene.center - rotation @ scene.center + translation_A / scene.voxel_A
    count, *variances = moments(scene.density, scene.mask, rotation, offset)
    return Comparison(label, count / int(np.count_nonzero(scene.mask)), count, *variances)


def least_noise(scene: Scene, comparisons: Iterable[Comparison]) -> float:
    """Variance of the noise: what is outside of the sphere, but never more than the copies allow.

    Density outside that is not noise, as that of neighbors, would otherwise excuse everything.
    """
    return min([scene.noise, *(each.most_noise for each in comparisons)])


def _within(radius: float, shape: tuple[int, ...], center: Array, flat: bool = False) -> Array:
    """Voxels of a sphere about a point; when flat, of a cylinder about its z axis."""
    nz, ny, nx = shape
    x, y, z = (
        (np.arange(size) - middle) ** 2 for size, middle in zip((nx, ny, nz), center, strict=True)
    )
    if flat:
        z = np.zeros_like(z)
    return np.asarray(z[:, None, None] + (y[:, None] + x) <= radius**2)


class Samples:
    """Some voxels of a map, at which the map and its copies are compared by trilinear values.

    Parameters
    ----------
    scene : Scene
    """

    def __init__(self, scene: Scene) -> None:
        voxels = np.argwhere(scene.mask)[:, ::-1]
        if len(voxels) > _MOST_POINTS:
            chosen = np.random.default_rng(0).choice(len(voxels), _MOST_POINTS, replace=False)
            voxels = voxels[np.sort(chosen)]
        self._density, self._voxel_A = scene.density, scene.voxel_A
        self._center = scene.center
        self._place = (voxels - scene.center).T
        self._value = scene.density[voxels[:, 2], voxels[:, 1], voxels[:, 0]].astype(np.float64)

    def correlation(self, rotation: Array, translation_A: float = 0.0) -> float:
        """Correlation of the map with its copy by x -> R x + (0, 0, t), where both are known."""
        place = rotation @ self._place + self._center[:, None]
        place[2] += translation_A / self._voxel_A
        copy, inside = _interpolated(self._density, place)
        if np.count_nonzero(inside) < max(8, len(inside) // 10):
            return -1.0
        a, b = self._value[inside], copy
        a, b = a - a.mean(), b - b.mean()
        scale = np.sqrt((a @ a) * (b @ b))
        return float(a @ b / scale) if scale > 0 else -1.0


def _interpolated(density: Array, place: Array) -> tuple[Array, Array]:
    """Trilinear values at the places (3, n) that lie in the box, and which these are."""
    size = np.array(density.shape[::-1])[:, None]
    inside = np.all((place >= 0) & (place < size - 1), axis=0)
    place = place[:, inside]
    low = place.astype(np.intp)
    u, v, w = place - low
    i, j, k = low
    value = np.zeros(len(u))
    for c, at_z in ((0, 1 - w), (1, w)):
        for r, at_y in ((0, 1 - v), (1, v)):
            left, right = density[k + c, j + r, i], density[k + c, j + r, i + 1]
            value += at_z * at_y * ((1 - u) * left + u * right)
    return value, inside
