"""What a picture shows, without how it is drawn; and the sphere of viewing directions.

A half of the sphere is a disc (Lambert's azimuthal projection), and the disc is a square (Shirley
and Chiu's concentric map, J. Graphics Tools 2, 45, 1997). Both keep areas, so that S x S cells of
the square share the half evenly, and blocks of cells are cells again. Of both halves the first has
z >= 0; both are drawn with x to the right and y up, so that rot runs anticlockwise in both.
"""

from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array

SIDE = 48
"""Cells along a side of the finest square: 9 square degrees each."""

_SIDES = (48, 24, 16, 12, 8, 6)
_LEAST = 5
"""Directions per cell, on average, below which cells are put together."""


@dataclass(frozen=True)
class Shown:
    """One set of poses.

    Attributes
    ----------
    name, heading : str
        What the poses are; and how many.
    density : (2, S, S) float64
        Of directions, relative to an even one; see `relative_density`.
    limit : float
        Where the map of shifts ends, in both directions.
    shifts : (P, P) int64
        Rows by place, y upwards.
    outside : int
        Rows beyond these places.
    axes : list of (int, (3,) float64)
        Folds and directions of the axes that are marked.
    depths : (P,) int64 or None
        Of subtomograms: rows by the z of their shift.
    """

    name: str
    heading: str
    density: Array
    limit: float
    shifts: Array
    outside: int
    axes: list[tuple[int, Array]]
    depths: Array | None = None


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes
    ----------
    title : str
    symmetry : str or None
        The symmetry and its axes, in words.
    axes : list of (int, (3,) float64)
        Folds and directions.
    unit : str
        Of the shifts.
    sets : list of Shown
        Particles and, where they were expanded, rows.
    copies : dict of int to int, or None
        How many particles have how many copies, where that differs.
    """

    title: str
    symmetry: str | None
    axes: list[tuple[int, Array]]
    unit: str
    sets: list[Shown]
    copies: dict[int, int] | None


def relative_density(cells: Array) -> Array:
    """Density of directions per solid angle, relative to an even one.

    Parameters
    ----------
    cells : (2, SIDE, SIDE) int64
        Number of directions; not all 0.

    Returns
    -------
    (2, S, S) float64
        With S so large that a cell has 5 directions on average, where there are enough.
    """
    rows = int(cells.sum())
    side = next((side for side in _SIDES if rows >= _LEAST * 2 * side * side), _SIDES[-1])
    counts = merged(cells, side)
    return counts * (counts.size / rows)


def merged(cells: Array, side: int) -> Array:
    """Sums over blocks of cells, (..., side, side)."""
    block = cells.shape[-1] // side
    return cells.reshape(*cells.shape[:-2], side, block, side, block).sum(axis=(-3, -1))


def corners(side: int) -> tuple[Array, Array]:
    """Corners x, y of the cells on the disc of radius 1, (side + 1, side + 1) each."""
    line = np.linspace(-1, 1, side + 1)
    a, b = np.meshgrid(line, line)
    wide = np.abs(a) >= np.abs(b)
    radius = np.where(wide, a, b)
    ratio = np.where(wide, b, a) / np.where(radius == 0, 1, radius)
    along, across = radius * np.cos(np.pi / 4 * ratio), radius * np.sin(np.pi / 4 * ratio)
    return np.where(wide, along, across), np.where(wide, across, along)


def on_disc(direction: Array) -> Array:
    """Places of unit vectors (n, 3) on the disc of their half, (n, 2)."""
    return np.asarray(direction[:, :2] / np.sqrt(1 + np.abs(direction[:, 2:])))
