"""Search for what a map has instead of what was asked: another axis, another twist and rise.

The search looks at some voxels of a coarse map. What it finds is compared on the whole map before
anybody hears of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.errors import SymmetryError
from numba_symexp.maps.center import FARTHEST, refine_center
from numba_symexp.maps.comparison import (
    BOX_CENTER,
    CYLINDERS,
    SPHERES,
    Z_AXIS,
    Samples,
    Scene,
    make_scene,
    means_over,
)
from numba_symexp.maps.grid import Grid
from numba_symexp.maps.orientations import (
    all_but_identity,
    fit_orientation,
    fold_of,
    moving_generators,
    name_of,
    parameters_of,
)
from numba_symexp.maps.report import LEAST_CEILING, OrientationFit, best_ceiling, meets_threshold
from numba_symexp.symmetry.frames import chimerax_turn
from numba_symexp.symmetry.operator_files import quaternions
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.quaternions import canonical, multiply
from numba_symexp.symmetry.spec import Helix

COARSE_BOX, FINE_BOX = 32, 96
"""Voxels along a side in which to search, and in which to refine."""

_SPACING_DEG = 5.0
"""Angle between directions that are tried; a coarse map shows nothing finer."""

_CANDIDATES = 4
"""Directions that are refined."""

_HALVINGS = 7
"""How often a refinement halves its steps."""

_TWIST_RANGE_DEG, _RISE_RANGE = 6.0, 0.2
"""How far a twist (degrees) and a rise (as a share of it) may be from the ones asked for."""


_BETTER = 0.005
"""By how much of the ceiling another twist and rise must be better."""

_LEAST_SCORE = 0.4
"""Correlation in the search below which axes are not compared on the whole map."""

_MOST_COMPARED = 2
"""So many candidates are compared on the whole map."""

_WIDE = 4
"""Radius in coarse voxels; in a smaller sphere nothing can be searched."""


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
    coarse, fine = _scenes(grid, CYLINDERS, None)
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


def fit_other_axes(
    grid: Grid,
    operators: Operators,
    mask: Array | None,
    radius_A: float | None,
    threshold: float,
) -> tuple[str, tuple[tuple[float, ...], ...], tuple[float, float, float] | None] | None:
    """Verdict, rotation and center where a map has Cn or Dn about axes in other directions.

    The axes go through the box center, or through the center of mass.

    Parameters
    ----------
    grid : Grid
    operators : Operators
        The symmetry that was asked for.
    mask : (nz, ny, nx) bool, optional
    radius_A : float, optional
    threshold : float
    """
    if not fold_of(operators):
        return None
    numbers = moving_generators(operators)
    for start_A in _centers(grid):
        scenes = _scenes(grid, SPHERES, radius_A, start_A)
        for score, rotation in find_turns(*scenes, operators)[:_MOST_COMPARED]:
            if score < _LEAST_SCORE:
                break
            there = turned(operators, rotation)
            axis = rotation.T @ Z_AXIS
            about_A = start_A
            if np.any(start_A):
                about_A = refine_center(grid, there, numbers, start_A)
            inside = radius_A if mask is None else None
            scene = make_scene(grid, means_over(operators), mask, inside, about_A, axis)
            if meets_threshold(fit_orientation(scene, there, numbers), threshold):
                return (
                    _axes_verdict(grid, operators, rotation, about_A),
                    tuple(tuple(row) for row in rotation.tolist()),
                    _rounded(about_A) if np.any(about_A) else None,
                )
    return None


def _chance(fit: OrientationFit, scene: Scene) -> float:
    """How far the share of the ceiling may change by chance, where noise allows less than 1."""
    ceiling = best_ceiling(fit) or 0.0
    voxels = int(np.count_nonzero(scene.mask))
    return float((1 - ceiling**2) / max(ceiling, LEAST_CEILING) / np.sqrt(voxels))


def _scenes(
    grid: Grid, over: str, radius_A: float | None, about_A: Array = BOX_CENTER
) -> tuple[Scene, Scene]:
    """A map to search in, and one to refine in."""
    coarse, fine = grid.coarser(COARSE_BOX), grid.coarser(FINE_BOX)
    wide_A = None if radius_A is None else max(radius_A, _WIDE * coarse.voxel_A)
    return (
        make_scene(coarse, over, radius_A=wide_A, about_A=about_A),
        make_scene(fine, over, radius_A=wide_A, about_A=about_A),
    )


def _centers(grid: Grid) -> list[Array]:
    """Box center and center of mass (A from the box center), if that is another place.

    Mass is what stands out: above the mean, or, where nothing does, below it, as in a map of dark
    particles.
    """
    coarse = grid.coarser(COARSE_BOX)
    deviation, spread = coarse.density - coarse.density.mean(), coarse.density.std()
    weight = np.clip(deviation - spread, 0, None)
    if not weight.any():
        weight = np.clip(-deviation - spread, 0, None)
    if not weight.any():
        return [BOX_CENTER]
    place = np.array(
        [
            np.average(np.arange(size), weights=weight.sum(axis=tuple({0, 1, 2} - {axis})))
            for axis, size in ((2, weight.shape[2]), (1, weight.shape[1]), (0, weight.shape[0]))
        ]
    )
    away = place - coarse.center
    if not 0.5 < np.linalg.norm(away) < FARTHEST * min(coarse.density.shape):
        return [BOX_CENTER]
    return [BOX_CENTER, np.asarray(away * coarse.voxel_A)]


def _rounded(place_A: Array) -> tuple[float, float, float]:
    """A place to 0.1 A."""
    x, y, z = (place_A.round(1) + 0.0).tolist()
    return x, y, z


def _axes_verdict(grid: Grid, operators: Operators, rotation: Array, about_A: Array) -> str:
    """Say where the axes are, and how to bring them to where they were asked for."""
    x, y, z = np.round(rotation.T @ Z_AXIS, 4) + 0.0
    one = replace(operators, quaternion=canonical(quaternions(rotation[None])))
    angle, (u, v, w) = one.angle_deg[0], np.round(one.axis[0], 4) + 0.0
    rows = ", ".join("(" + ", ".join(f"{part:.6f}" for part in row) + ")" for row in rotation)
    where = "the box center"
    if np.any(about_A):
        where = "({:.1f}, {:.1f}, {:.1f}) A from the box center".format(*_rounded(about_A))
    return (
        f"does not have {name_of(operators)} about z, but has it with that axis along "
        f"({x:.4f}, {y:.4f}, {z:.4f}) through {where}: turn the map by {angle:.2f} deg about "
        f"({u:.4f}, {v:.4f}, {w:.4f}), that is by the matrix ({rows}); in ChimeraX open the map "
        f"twice and type: {chimerax_turn(rotation, about_A, grid.box)}"
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
    return samples.correlation(_turn(Z_AXIS, np.deg2rad(twist_deg)), rise_A)


def find_turns(coarse: Scene, fine: Scene, operators: Operators) -> list[tuple[float, Array]]:
    """Rotations that may bring the axes of a Cn or Dn to where they are asked for, with scores.

    The best comes first.

    Parameters
    ----------
    coarse, fine : Scene
        The map without its means over spheres, of at most `COARSE_BOX` and `FINE_BOX` voxels.
    operators : Operators
    """
    family, fold = operators.symmetry.family, fold_of(operators)
    level = operators.axis[np.abs(operators.axis[:, 2]) < 1e-6]
    dyad = level[0] if len(level) else Z_AXIS
    main = dyad if family == "D" and fold == 1 else Z_AXIS
    samples, fine_samples = Samples(coarse), Samples(fine)
    turns = max(2, fold)
    angles = 2 * np.pi * np.unique(np.linspace(1, turns // 2, 3).astype(int)) / turns
    directions = _hemisphere(np.deg2rad(_SPACING_DEG))
    scores = []
    for direction in directions:
        interrupts.check()
        scores.append(_about(samples, direction, angles))
    found: list[tuple[float, Array]] = []
    apart = np.cos(np.deg2rad(3 * _SPACING_DEG))
    for k in np.argsort(scores)[::-1]:
        if len(found) == _CANDIDATES:
            break
        if all(abs(directions[k] @ each) < apart for _, each in found):
            found.append((scores[k], directions[k]))
    refined = []
    for _, direction in found:
        score, axis = _refined_axis(fine_samples, direction, angles)
        across = _to(axis, main)
        if family == "D" and fold > 1:
            score_2, across = _with_dyad(fine_samples, across, dyad, fold)
            score = min(score, score_2)
        refined.append((score, across))
    refined.sort(key=lambda each: -each[0])
    return refined


def turned(operators: Operators, rotation: Array) -> Operators:
    """Operators Q^T g Q of a map whose axes a rotation Q brings to where they are asked for."""
    q = quaternions(rotation[None])[0]
    back = q * np.array([1, -1, -1, -1])
    product = multiply(back[None], multiply(operators.quaternion, q[None]))
    return replace(operators, quaternion=canonical(product))


def _about(samples: Samples, axis: Array, angles: Array) -> float:
    """How well the turns about an axis fit."""
    return float(np.mean([samples.correlation(_turn(axis, angle)) for angle in angles]))


def _refined_axis(samples: Samples, axis: Array, angles: Array) -> tuple[float, Array]:
    """The best axis near another one, with its score."""
    plane = np.linalg.svd(axis[None])[2][1:]  # two directions across the axis

    def near(offset: Array) -> Array:
        moved = axis + offset @ plane
        return np.asarray(moved / np.linalg.norm(moved))

    step = np.deg2rad(_SPACING_DEG) / 2
    score, offset = climb(
        lambda at: _about(samples, near(at), angles), np.zeros(2), np.array([step, step])
    )
    return score, near(offset)


def _with_dyad(samples: Samples, across: Array, dyad: Array, fold: int) -> tuple[float, Array]:
    """Turn a map, whose main axis lies on z already, about z until a 2-fold lies where asked."""

    def score(at: Array) -> float:
        # the 2-fold Rz(-a) d of the map that a turn by a about z brings to d
        axis = across.T @ _turn(Z_AXIS, -at[0]) @ dyad
        return samples.correlation(_turn(axis, np.pi))

    span = np.pi / fold
    count = max(8, int(np.ceil(span / np.deg2rad(_SPACING_DEG / 2))))
    angles = np.arange(count) * span / count
    start = angles[int(np.argmax([score(np.array([angle])) for angle in angles]))]
    best, at = climb(score, np.array([start]), np.array([span / count / 2]))
    return best, _turn(Z_AXIS, at[0]) @ across


def _hemisphere(spacing: float) -> Array:
    """Directions with z >= 0, evenly spaced, (n, 3), by a Fibonacci spiral."""
    count = int(np.ceil(2 * np.pi / spacing**2))
    z = (np.arange(count) + 0.5) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(angle), across * np.sin(angle), z], axis=1)


def _turn(axis: Array, angle: float) -> Array:
    """Rotation about a unit axis, by Rodrigues: I + sin(a) K + (1 - cos(a)) K^2, K x = axis x x."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def _to(axis: Array, target: Array) -> Array:
    """The smallest rotation that brings an axis, or its opposite, to a target."""
    along = float(axis @ target)
    if abs(along) < 1e-3:  # as good as across: the direction whose largest component is positive
        along = float(axis[np.argmax(np.abs(axis))])
    axis = axis if along >= 0 else -axis
    normal = np.cross(axis, target)
    sine = float(np.linalg.norm(normal))
    if sine < 1e-12:
        return np.eye(3)
    return _turn(normal / sine, float(np.arctan2(sine, axis @ target)))
