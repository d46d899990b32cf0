"""The sites of a particle as dots on the two halves of the sphere."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.pictures.page import Page, axis_mark
from numba_symexp.pictures.picture import on_disc

_DISC, _BETWEEN, _ALONE = 1.34, 0.0, 1.5
"""Side of a disc of two, what parts them, and side of a disc that is alone, inches."""

_RIM = 1e-6
"""Sites whose z is less than this lie on the rim of the first half."""

_SMALLEST_PT, _LARGEST_PT, _COVER = 1.2, 10.0, 0.6
"""Smallest and largest dots, and their width beside the distance of even ones."""

_MOST_MARKS = 31
"""Of more axes of one fold none is marked."""

_POINTS = 72.0
"""In an inch."""


class DrawnSites:
    """The sites on one or two discs, by the projection of `on_disc`, which keeps areas.

    Parameters
    ----------
    places : (S, 3) float64
        Directions of the sites.
    marks : sequence of (int, (3,) float64)
        Axes that are marked.
    colors : dict
        Of the labels.

    Attributes
    ----------
    halves : list of int
        The halves with sites: 0 has z >= 0.
    side : float
        Of a disc.
    colors : dict
        Of the labels.
    """

    def __init__(
        self, places: Array, marks: Sequence[tuple[int, Array]], colors: dict[str, Any]
    ) -> None:
        far = places[:, 2] < -_RIM
        self._sites = [np.flatnonzero(~far), np.flatnonzero(far)]
        self._places, self.colors = on_disc(places), colors
        folds = [fold for fold, _ in marks]
        self._marks = [each for each in marks if folds.count(each[0]) <= _MOST_MARKS]
        self.halves = [half for half in (0, 1) if len(self._sites[half])]
        self.side = _DISC if len(self.halves) == 2 else _ALONE
        area = len(self.halves) * np.pi * (self.side * _POINTS / 2) ** 2
        even = _COVER * np.sqrt(area / len(places))
        near = 0.9 * self._nearest() * self.side * _POINTS / 2
        dot_pt = min(even, max(near, 0.5 * even))
        self._dot_pt = float(np.clip(dot_pt, _SMALLEST_PT, _LARGEST_PT))

    def _nearest(self) -> float:
        """Smallest distance between two sites on a disc of radius 1."""
        nearest = 2.0
        for sites in self._sites:
            apart = self._places[sites, None] - self._places[sites]
            length = np.linalg.norm(apart, axis=-1)
            np.fill_diagonal(length, 2.0)
            nearest = min(nearest, float(length.min(initial=2.0)))
        return nearest

    def draw(self, page: Page, middle: float, bottom: float, pattern: tuple[str, ...]) -> None:
        """Draw a pattern about a place in the middle."""
        wide = len(self.halves) * self.side + (len(self.halves) - 1) * _BETWEEN
        for number, half in enumerate(self.halves):
            left = middle - wide / 2 + number * (self.side + _BETWEEN)
            disc = page.axes(left, bottom, self.side, self.side)
            self._empty(disc, half)
            self._dots(disc, self._sites[half], pattern)
            reach = 1 + self._dot_pt / (self.side * _POINTS)
            disc.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            disc.set_axis_off()

    def _empty(self, disc: Any, half: int) -> None:
        """Rim of a half, and faint marks of the axes."""
        turn = np.linspace(0, 2 * np.pi, 181)
        disc.fill(np.cos(turn), np.sin(turn), fc="0.97", ec="0.45", lw=0.8, zorder=0)
        for fold, axis in self._marks:
            ends = np.stack([axis, -axis])
            here = ends[:, 2] > -_RIM if half == 0 else ends[:, 2] < _RIM
            style = axis_mark(fold) | {"markeredgecolor": "0.72", "path_effects": None}
            style |= {"markersize": 4.5, "markeredgewidth": 0.6}
            disc.plot(*on_disc(ends[here]).T, **style, clip_on=False, zorder=1)

    def _dots(self, disc: Any, sites: Array, pattern: tuple[str, ...]) -> None:
        """Dots of the sites of a half, label by label."""
        for name in dict.fromkeys(pattern):
            those = [site for site in sites.tolist() if pattern[site] == name]
            style = dot(self.colors.get(name), self._dot_pt)
            disc.plot(*self._places[those].T, **style, clip_on=False, zorder=2)


def dot(color: Any, size_pt: float) -> dict[str, Any]:
    """Style of a site; without a color, of one whose copy did not come back."""
    thin = 0.25 if size_pt < 4 else 0.6
    return {
        "linestyle": "none",
        "marker": "o",
        "markersize": size_pt if color is not None else 0.8 * size_pt,
        "markerfacecolor": "white" if color is None else color,
        "markeredgecolor": "0.55" if color is None else "white",
        "markeredgewidth": 1.5 * thin if color is None else thin,
    }
