"""Another twist and rise that a map has, near those that were asked for."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SymmetryError
from numba_symexp.maps.comparison import CYLINDERS, Z_AXIS, Samples, Scene
from numba_symexp.maps.grid import Grid
from numba_symexp.maps.orientations import all_but_identity, fit_orientation, parameters_of
from numba_symexp.maps.report import LEAST_CEILING, OrientationFit, best_ceiling, meets_threshold
from numba_symexp.maps.search import climb, scenes_to_search, turn_about
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import Helix

_TWIST_RANGE_DEG, _RISE_RANGE = 6.0, 0.2
"""How far a twist (degrees) and a rise (as a share of it) may be from the ones asked for."""

_BETTER = 0.005
"""By how much of the ceiling another twist and rise must be better."""


def fit_another_helix(
    grid: Grid,
    scene: Scene,
    orientations: Sequence[Operators],
    fits: Sequence[OrientationFit],
    threshold: float,
) -> tuple[str, float, float] | None:
    """Verdict, twist (deg) and rise (A) where a map has a clearly better helix near the named one.

    Parameters
    ----------
    grid : Grid
    scene : Scene
        The map as it was compared.
    orientations : sequence of Operators
        The named one first.
    fits : sequence of OrientationFit
        How well each of them fits.
    threshold : float
    """
    named = orientations[0].symmetry
    if not isinstance(named, Helix) or named.order == 1:
        return None
    coarse, fine = scenes_to_search(grid, CYLINDERS, None)
    best = max((fit.share for fit in fits if fit.share is not None), default=0.0)
    for orientation in orientations:
        helix = orientation.symmetry
        if not isinstance(helix, Helix):
            continue
        found = fit_helix(coarse, fine, helix)
        operators = found.operators()
        fit = fit_orientation(scene, operators, all_but_identity(operators))
        share = fit.share or 0.0
        if not meets_threshold(fit, threshold) or share <= best + _BETTER + _chance(fit, scene):
            continue
        given = [f"twist={found.twist_deg:.12g}", f"rise={found.rise_A:.12g}"]
        given += [
            word
            for word in parameters_of(operators, orientations[0]).split()
            if not word.startswith("twist=")
        ]
        return (
            f"does not have {fits[0].name}, but has {fit.name}, of which the worst operator "
            f"reaches {100 * share:.1f} % of the best correlation that can be expected instead of "
            f"{100 * (fits[0].share or 0.0):.1f} %: use {' '.join(given)}",
            found.twist_deg,
            found.rise_A,
        )
    return None


def _chance(fit: OrientationFit, scene: Scene) -> float:
    """How far the share of the ceiling may change by chance, where noise allows less than 1."""
    ceiling = best_ceiling(fit) or 0.0
    voxels = int(np.count_nonzero(scene.mask))
    return float((1 - ceiling**2) / max(ceiling, LEAST_CEILING) / np.sqrt(voxels))


def fit_helix(coarse: Scene, fine: Scene, helix: Helix) -> Helix:
    """Twist and rise near the ones asked for, with which one unit fits best.

    Parameters
    ----------
    coarse, fine : Scene
        The same map, of at most `COARSE_BOX` and `FINE_BOX` voxels along a side.
    helix : Helix
    """
    samples = Samples(coarse)
    asked = np.array([helix.twist_deg, helix.rise_A])
    span = np.array([_TWIST_RANGE_DEG, max(_RISE_RANGE * abs(helix.rise_A), 1e-3)])
    count = int(np.clip(np.ceil(2 * span[1] / coarse.voxel_A), 4, 12))
    twists_deg = asked[0] + np.arange(-span[0], span[0] + 0.5)
    rises_A = asked[1] + np.linspace(-span[1], span[1], 2 * count + 1)
    scores = np.array([[_unit(samples, turn, rise) for rise in rises_A] for turn in twists_deg])
    inner = scores[1:-1, 1:-1]  # a maximum on the border leads elsewhere, as to no motion at all
    around = [
        scores[1 + i : len(scores) - 1 + i, 1 + j : scores.shape[1] - 1 + j]
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
    ]
    peaks = np.where(inner >= np.max(around, axis=0), inner, -np.inf)
    row, column = np.unravel_index(np.argmax(peaks), peaks.shape)
    if not np.isfinite(peaks[row, column]):
        return helix
    fine_samples = Samples(fine)

    def score(at: Array) -> float:
        return _unit(fine_samples, *at) if np.all(np.abs(at - asked) < span) else -1.0

    start = np.array([twists_deg[row + 1], rises_A[column + 1]])
    _, (twist_deg, rise_A) = climb(score, start, np.array([1.0, span[1] / count]))
    try:
        return replace(helix, twist_deg=float(round(twist_deg, 3)), rise_A=float(round(rise_A, 3)))
    except SymmetryError:  # units of that helix coincide
        return helix


def _unit(samples: Samples, twist_deg: float, rise_A: float) -> float:
    """How well one helical unit fits."""
    return samples.correlation(turn_about(Z_AXIS, np.deg2rad(twist_deg)), rise_A)
