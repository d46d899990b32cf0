"""Other axes about which a map has a Cn or Dn: in another direction, or off the box center."""

from dataclasses import replace

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array
from numba_symexp.maps.center import FARTHEST, refine_center
from numba_symexp.maps.comparison import (
    BOX_CENTER,
    SPHERES,
    Z_AXIS,
    Samples,
    Scene,
    make_scene,
    means_over,
)
from numba_symexp.maps.grid import Grid
from numba_symexp.maps.orientations import fit_orientation, fold_of, moving_generators, name_of
from numba_symexp.maps.report import meets_threshold
from numba_symexp.maps.search import COARSE_BOX, climb, scenes_to_search, turn_about
from numba_symexp.symmetry.frames import chimerax_turn
from numba_symexp.symmetry.operator_files import quaternions
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.quaternions import canonical, multiply

_SPACING_DEG = 5.0
"""Angle between directions that are tried; a coarse map shows nothing finer."""

_CANDIDATES = 4
"""Directions that are refined."""

_LEAST_SCORE = 0.4
"""Correlation in the search below which axes are not compared on the whole map."""

_MOST_COMPARED = 2
"""So many candidates are compared on the whole map."""


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
        scenes = scenes_to_search(grid, SPHERES, radius_A, start_A)
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
    return float(np.mean([samples.correlation(turn_about(axis, angle)) for angle in angles]))


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
        axis = across.T @ turn_about(Z_AXIS, -at[0]) @ dyad
        return samples.correlation(turn_about(axis, np.pi))

    span = np.pi / fold
    count = max(8, int(np.ceil(span / np.deg2rad(_SPACING_DEG / 2))))
    angles = np.arange(count) * span / count
    start = angles[int(np.argmax([score(np.array([angle])) for angle in angles]))]
    best, at = climb(score, np.array([start]), np.array([span / count / 2]))
    return best, turn_about(Z_AXIS, at[0]) @ across


def _hemisphere(spacing: float) -> Array:
    """Directions with z >= 0, evenly spaced, (n, 3), by a Fibonacci spiral."""
    count = int(np.ceil(2 * np.pi / spacing**2))
    z = (np.arange(count) + 0.5) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(angle), across * np.sin(angle), z], axis=1)


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
    return turn_about(normal / sine, float(np.arctan2(sine, axis @ target)))
