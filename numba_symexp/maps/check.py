"""Compare a map with its copies by every operator, and decide."""

import math
import os
import time

import numpy as np

from numba_symexp import interrupts
from numba_symexp.errors import UsageError
from numba_symexp.maps.center import fit_about_another_point
from numba_symexp.maps.comparison import make_scene, means_over
from numba_symexp.maps.grid import read_map, read_mask
from numba_symexp.maps.orientations import (
    all_but_identity,
    fit_orientation,
    moving_generators,
    other_orientations,
    parameters_of,
)
from numba_symexp.maps.report import (
    THRESHOLD,
    MapReport,
    is_best,
    mean_ceiling,
    other_fits,
    verdict_about_box_center,
    verdict_of_no_fit,
)
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.request import corner_of
from numba_symexp.types import AnyPath, Progress


def mapcheck(
    path: AnyPath,
    operators: Operators,
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
    orientation of the symmetry changes (see `invariant`), and by the generators of every other
    orientation.

    Parameters
    ----------
    path : str or path
        Map, MRC2014; its box center is voxel N // 2, whatever its header says of an origin.
    operators : Operators
        The symmetry, as `point_group`, `helix` or `read_operators` give it.
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
    if not all_but_identity(operators):
        raise UsageError(f"{operators.symmetry} moves nothing: name a symmetry above C1 to check")
    if not 0 < threshold <= 1:
        raise UsageError(f"threshold {threshold:g} must be above 0, and at most 1")
    if radius_A is not None and not 0 < radius_A < math.inf:
        raise UsageError(f"radius {radius_A:g} must be a number of A above 0")
    path = os.fspath(path)
    grid = read_map(path, psize_A, bin_factor)
    if from_corner:
        operators = operators.counted_from(corner_of(grid.box, grid.voxel_A / grid.factor))
    numbers = all_but_identity(operators)
    masked = None if mask is None else read_mask(os.fspath(mask), grid)
    over = means_over(operators)
    scene = make_scene(grid, over, masked, radius_A)
    others = other_orientations(operators)
    steps = _Steps(len(numbers) + sum(len(moving_generators(other)) for other in others), progress)
    named = fit_orientation(scene, operators, numbers, step=steps.next)
    fits = tuple(
        fit_orientation(
            scene, other, moving_generators(other), parameters_of(other, operators), steps.next
        )
        for other in others
    )
    center_A, verdict = None, verdict_about_box_center(named, fits, threshold)
    if verdict is None:
        center_A, verdict = fit_about_another_point(
            grid, [operators, *others], masked, radius_A, threshold
        ) or (None, verdict_of_no_fit(named, threshold))
    return MapReport(
        file=path,
        fits=is_best(named, fits, threshold),
        verdict=verdict,
        notes=other_fits(named, fits, threshold),
        named=named,
        others=fits,
        without=over,
        ceiling=mean_ceiling(named),
        noise=min(1.0, scene.noise / scene.variance),
        threshold=threshold,
        center_A=center_A,
        box=grid.box,
        psize_A=grid.voxel_A / grid.factor,
        compared_A=grid.voxel_A,
        mask_voxels=int(np.count_nonzero(scene.mask)),
        seconds=time.perf_counter() - started,
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
