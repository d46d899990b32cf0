"""The parts of a picture: hemispheres, maps of shifts, copies, colour bars, marks of axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from numba_symexp.pictures.picture import Picture, Shown
from numba_symexp.pictures.sphere import SIDE, corners, merged, on_disc
from numba_symexp.types import Array

_COLOURS = "viridis"
_RIM = 1e-6
"""Axes whose z is less than this lie on the rim of both hemispheres."""

_MOST_SIDES = 8
_MOST_BARS = 40
_ENOUGH = 5
_PLACES = (64, 32, 16)

_Axes = Sequence[tuple[int, Array]]


def hemispheres(discs: Sequence[Any], shown: Shown, axes: _Axes, norm: Any) -> Any:
    """Draw the directions of a set on two discs; gives what a colour bar needs."""
    x, y = corners(SIDE)
    times = SIDE // shown.density.shape[-1]
    for half, disc in enumerate(discs):
        fine = shown.density[half].repeat(times, 0).repeat(times, 1)
        colours = disc.pcolormesh(x, y, fine, cmap=_COLOURS, norm=norm, rasterized=True)
        _rim(disc, half)
        for fold, places in marks_on(axes, half).items():
            disc.plot(*places.T, **_style(fold), clip_on=False)
    return colours


def legend(figure: Any, axes: _Axes, place: tuple[float, float]) -> None:
    """Say which mark is which fold."""
    folds = sorted({fold for fold, _ in axes}, reverse=True)
    marks = [Line2D([], [], label=f"{fold}-fold axis", **_style(fold)) for fold in folds]
    if marks:
        figure.legend(
            handles=marks, loc="lower left", bbox_to_anchor=place, ncols=len(marks), frameon=False
        )


def shift_panel(panel: Any, shown: Shown, picture: Picture) -> Any:
    """Draw a map of shifts; gives what a colour bar needs."""
    rows = picture.sets[0].shifts.sum()
    side = next((side for side in _PLACES if rows >= _ENOUGH * side * side), _PLACES[-1])
    counts = merged(shown.shifts, side)
    share = counts / max(1, counts.max())
    ends = (-shown.limit, shown.limit) * 2
    colours = panel.imshow(
        share, _COLOURS, vmin=0, vmax=1, origin="lower", extent=ends, interpolation="nearest"
    )
    beyond = f", {shown.outside:,} more beyond" if shown.outside else ""
    panel.set_title(f"shifts of {shown.name}{beyond}", fontsize=9)
    panel.set_xlabel(f"shift in x ({picture.unit})")
    panel.set_ylabel(f"shift in y ({picture.unit})")
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.yaxis.set_major_locator(MaxNLocator(5))
    return colours


def copies_panel(panel: Any, copies: dict[int, int]) -> None:
    """Draw how many particles have how many copies."""
    numbers, particles = np.array(list(copies)), np.array(list(copies.values()))
    width = -(-int(numbers.max() + 1) // _MOST_BARS)
    bars = np.bincount(numbers // width, particles)
    panel.bar(np.arange(len(bars)) * width + (width - 1) / 2, bars, 0.8 * width, color="0.4")
    panel.set_title("copies of each particle", fontsize=9)
    panel.set_xlabel("copies")
    panel.set_ylabel("particles")
    panel.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.spines[["top", "right"]].set_visible(False)


def colour_bar(panel: Any, colours: Any, label: str) -> None:
    """Draw a colour bar in axes of its own."""
    panel.figure.colorbar(colours, cax=panel, label=label)


def _rim(disc: Any, half: int) -> None:
    """Draw the rim of a hemisphere, circles of tilt, and the directions of rot."""
    turn = np.linspace(0, 2 * np.pi, 361)
    disc.plot(np.cos(turn), np.sin(turn), color="black", lw=0.8, clip_on=False)
    for tilt, labelled_at in _TILTS.items():
        radius = np.sqrt(1 - np.cos(np.deg2rad(tilt)))
        disc.plot(radius * np.cos(turn), radius * np.sin(turn), color="white", lw=0.5, alpha=0.7)
        disc.text(
            *(radius * np.array([np.cos(labelled_at), np.sin(labelled_at)])),
            f"{tilt if half == 0 else 180 - tilt}\N{DEGREE SIGN}",
            **_ON_COLOUR,
        )
    for rot, sideways, upright in (
        (0, "left", "center"),
        (90, "center", "bottom"),
        (-90, "center", "top"),
    ):
        named = "rot " if rot == 90 else ""
        x, y = 1.08 * np.cos(np.deg2rad(rot)), 1.08 * np.sin(np.deg2rad(rot))
        disc.text(x, y, f"{named}{rot}\N{DEGREE SIGN}", ha=sideways, va=upright, fontsize=7)
    disc.set_title(("tilt 0 to 90", "tilt 90 to 180")[half] + "\N{DEGREE SIGN}", fontsize=9, pad=16)
    disc.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
    disc.set_axis_off()


_TILTS = {30: np.deg2rad(22.5), 60: np.deg2rad(31)}
"""Circles of tilt, and the rot at which their labels are clear of the axes of I, O and T."""

_STROKE = [withStroke(linewidth=1.5, foreground="black")]
_ON_COLOUR: dict[str, Any] = {
    "color": "white",
    "fontsize": 6.5,
    "ha": "center",
    "va": "center",
    "path_effects": _STROKE,
}


def marks_on(axes: _Axes, half: int) -> dict[int, Array]:
    """Places of both ends of the axes on one disc, by fold."""
    found: dict[int, Array] = {}
    for fold in {fold for fold, _ in axes}:
        ends = np.array([sign * axis for each, axis in axes for sign in (1, -1) if each == fold])
        here = ends[:, 2] > -_RIM if half == 0 else ends[:, 2] < _RIM
        found[fold] = on_disc(ends[here])
    return found


def _style(fold: int) -> dict[str, Any]:
    """Marks of an axis: as many corners as it has turns, a lens for two, a ring for many."""
    shape: Any = (fold, 0, 45 * (fold == 4)) if fold > 2 else "d"
    return {
        "marker": shape if fold <= _MOST_SIDES else "o",
        "linestyle": "none",
        "markersize": 6.5 if fold > 2 else 6,
        "markerfacecolor": "none",
        "markeredgecolor": "white",
        "markeredgewidth": 1.0,
        "path_effects": [withStroke(linewidth=2.4, foreground="black")],
    }
