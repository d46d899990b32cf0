"""Compare a map with its copies by every operator, and decide."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import AnyPath, Array, Progress
from numba_symexp.errors import UsageError
from numba_symexp.maps.center import fit_about_another_point
from numba_symexp.maps.comparison import Scene, least_noise, make_scene, means_over
from numba_symexp.maps.grid import Grid, read_map, read_mask
from numba_symexp.maps.orientations import (
    all_but_identity,
    compare_orientation,
    fold_of,
    moving_generators,
    orientation_fit,
    other_orientations,
    parameters_of,
)
from numba_symexp.maps.other_axes import fit_other_axes
from numba_symexp.maps.other_helix import fit_another_helix
from numba_symexp.maps.report import (
    THRESHOLD,
    MapReport,
    OrientationFit,
    best_ceiling,
    is_best,
    verdict_about_box_center,
    verdict_of_no_fit,
    warnings_of,
)
from numba_symexp.symmetry.centers import corner_of
from numba_symexp.symmetry.interface import Symmetry
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import as_operators

_GOOD = 0.05
"""Part of the ceiling: a fit that lacks more may be better about another point, by as much."""

_VISIBLE = 0.25
"""Voxels; a turn that moves the edge of the box by less cannot be seen."""


def mapcheck(
    path: AnyPath,
    operators: Operators | Symmetry | str,
    mask: AnyPath | None = None,
    radius_A: float | None = None,
    psize_A: float | None = None,
    bin_factor: int | None = None,
    threshold: float = THRESHOLD,
    progress: Progress | None = None,
    from_corner: bool = False,
) -> MapReport:
    """Tell whether a map has a symmetry, in the orientation that is named and about the box center.

    The map is correlated with its copy by each operator, without the part of the density that no
    orientation of the symmetry changes (see `comparison`), and by the generators of every other
    orientation.

    Parameters
    ----------
    path : str or path
        Map, MRC2014; its box center is voxel N // 2, whatever its header says of an origin.
    operators : Operators, Symmetry or str
        The symmetry, as `point_group`, `helix` or `read_operators` give it, or the symbol of a
        point group.
    mask : str or path, optional
        Map of the same box, above 0.5 where to compare; by default the largest sphere in the box.
    radius_A : float, optional
        Radius of the sphere.
    psize_A : float, optional
        A per voxel, in place of the header's.
    bin_factor : int, optional
        Voxels along the side of a block that is averaged; by default as many as leave 128 voxels
        along a side, of at most 3.5 A.
    threshold : float, optional
        Share of the best correlation that the noise allows; a symmetry whose worst operator
        reaches it counts as a match.
    progress : callable, optional
        Called as ``progress(done, all)`` after each comparison.
    from_corner : bool
        Whether the translations of the operators count from the map's corner, voxel 0.

    Returns
    -------
    MapReport
        ``fits`` says whether the worst operator reaches the threshold, and no other orientation
        is better by more than 0.02 of the ceiling.

    Raises
    ------
    UsageError
        A symmetry of the identity alone, or a number that cannot be.
    SourceError
        The map or the mask cannot be read, or holds nothing that could be compared.
    """
    started = time.perf_counter()
    operators = as_operators(operators)
    if not all_but_identity(operators):
        raise UsageError(f"{operators.symmetry} moves nothing: name a symmetry above C1 to check")
    if not 0 < threshold <= 1:
        raise UsageError(f"threshold {threshold:g} must be above 0, and at most 1")
    if radius_A is not None and not 0 < radius_A < math.inf:
        raise UsageError(f"radius {radius_A:g} must be a number of A above 0")
    path = os.fspath(path)
    grid = read_map(path, psize_A, bin_factor)
    _refuse_high_fold(path, operators, grid)
    if from_corner:
        operators = operators.counted_from(corner_of(grid.box, grid.voxel_A / grid.factor))
    numbers = all_but_identity(operators)
    masked = None if mask is None else read_mask(os.fspath(mask), grid)
    scene = make_scene(grid, means_over(operators), masked, radius_A)
    others = other_orientations(operators)
    steps = _Steps(len(numbers) + sum(len(moving_generators(other)) for other in others), progress)
    compared = compare_orientation(scene, operators, numbers, steps.next)
    others_compared = [
        compare_orientation(scene, other, moving_generators(other), steps.next) for other in others
    ]
    noise = least_noise(
        scene, [each for some in (compared, *others_compared) for each in some.values()]
    )
    named = orientation_fit(operators, compared, noise)
    fits = tuple(
        orientation_fit(other, some, noise, parameters_of(other, operators))
        for other, some in zip(others, others_compared, strict=True)
    )
    found = _decide(grid, scene, [operators, *others], [named, *fits], masked, radius_A, threshold)
    return MapReport(
        file=path,
        fits=found.fits,
        verdict=found.verdict,
        notes=warnings_of(named, fits, threshold) if found.fits else (),
        named=named,
        others=fits,
        without=means_over(operators),
        ceiling=best_ceiling(named),
        noise=min(1.0, noise / scene.variance),
        threshold=threshold,
        center_A=found.center_A,
        rotation=found.rotation,
        twist_deg=found.twist_deg,
        rise_A=found.rise_A,
        box=grid.box,
        psize_A=grid.voxel_A / grid.factor,
        compared_A=grid.voxel_A,
        mask_voxels=int(np.count_nonzero(scene.mask)),
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True)
class _Finding:
    """What is said of a map; attributes as of `MapReport`."""

    fits: bool
    verdict: str
    center_A: tuple[float, float, float] | None = None
    rotation: tuple[tuple[float, ...], ...] | None = None
    twist_deg: float | None = None
    rise_A: float | None = None


def _decide(
    grid: Grid,
    scene: Scene,
    orientations: Sequence[Operators],
    fits: Sequence[OrientationFit],
    mask: Array | None,
    radius_A: float | None,
    threshold: float,
) -> _Finding:
    """Find a better helix, orientation, center or axis, in this order; the named one comes first.

    What fits as it is named is taken, unless a better helix or center is found.
    """
    named, others = fits[0], fits[1:]
    fitting = is_best(named, others, threshold)
    helix = fit_another_helix(grid, scene, orientations, fits, threshold)
    if helix is not None:
        return _Finding(False, helix[0], twist_deg=helix[1], rise_A=helix[2])
    verdict = verdict_about_box_center(named, others, threshold)
    if fitting and (named.share or 0.0) > 1 - _GOOD:
        return _Finding(True, verdict or "")
    if verdict is not None and not fitting:
        return _Finding(False, verdict)
    wanted = (named.share or 0.0) + _GOOD if fitting else 0.0
    of_those = orientations[:1] if fitting else orientations
    moved = fit_about_another_point(grid, of_those, mask, radius_A, threshold, wanted)
    if moved is not None:
        return _Finding(False, moved[1], moved[0])
    if verdict is not None:
        return _Finding(True, verdict)
    axes = fit_other_axes(grid, orientations[0], mask, radius_A, threshold)
    if axes is not None:
        return _Finding(False, axes[0], axes[2], axes[1])
    return _Finding(False, verdict_of_no_fit(named, threshold))


def _refuse_high_fold(path: str, operators: Operators, grid: Grid) -> None:
    """Refuse a Cn or Dn whose turn moves nothing in the box by a visible part of a voxel."""
    highest = int(np.pi * min(grid.box[:2]) / _VISIBLE)
    if fold_of(operators) > highest:
        raise UsageError(
            f"{path}: {operators.symmetry} cannot be told from a full rotation: in a box of "
            f"{min(grid.box[:2])} voxels a map can show folds up to {highest}"
        )


class _Steps:
    """Counts comparisons; between two of them a run may be stopped."""

    def __init__(self, count: int, progress: Progress | None) -> None:
        self._done, self._count, self._progress = 0, count, progress

    def next(self) -> None:
        """Note one more comparison."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._count)
        interrupts.check()
