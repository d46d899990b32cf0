"""How a picture of a table is drawn: places in inches, text as it stands.

A picture has hemispheres of viewing directions, maps of shifts, copies, color bars, marks of axes.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from numba_symexp.annotations import Array
from numba_symexp.pictures.page import LETTER, LINE, Page, axis_mark
from numba_symexp.pictures.picture import SIDE, Picture, Shown, corners, merged, on_disc

_DISC, _SQUARE = 2.3, 2.3
"""Sides of a hemisphere and of a map of shifts, inches."""

_STRIP, _GAP = 0.2, 0.12
"""Width of a strip of depths, and what parts a map of shifts from what stands beside it."""

_APART, _PAIR = 2.8, 5.75
"""From one hemisphere to the next, and from one set to the next."""

_HEAD, _SPHERES, _FOOT = 0.6, 3.5, 3.4
"""Heights: title, spheres, shifts."""

_STRONG = 10.0
"""From such a density on colors follow the root of it, else little but the peak would show."""

_COLORS = "viridis"
_RIM = 1e-6
"""Axes whose z is less than this lie on the rim of both hemispheres."""

_BEYOND = 1.12
"""Where directions of rot are named above and below, clear of marks on the rim."""

_MOST_BARS = 40
_ENOUGH = 5
_PLACES = (64, 32, 16)

_Axes = Sequence[tuple[int, Array]]


def draw(picture: Picture) -> Any:
    """Lay a picture out: spheres above, shifts below, side by side for each set."""
    beside = len(picture.sets) > 1
    width = len(picture.sets) * _PAIR + 1.0 + (0.0 if beside else 4.2)
    if picture.sets[0].depths is not None:
        width += _STRIP + _GAP
    words = textwrap.wrap(picture.symmetry or "", int((width - 0.6) / LETTER))
    head = _HEAD + LINE * len(words)
    height = head + _SPHERES + (_FOOT if beside else 0.0)
    page = Page(width, height)
    page.text(0.3, height - 0.3, picture.title, fontsize=12, va="center")
    for number, line in enumerate(words):
        page.text(0.3, height - 0.6 - LINE * number, line)
    floor = _FOOT if beside else 0.0
    norm = _norm(picture)
    for number, shown in enumerate(picture.sets):
        left = 0.5 + number * _PAIR
        discs = [page.axes(left + half * _APART, floor + 0.55, _DISC, _DISC) for half in (0, 1)]
        colors = hemispheres(discs, shown, norm)
        page.text(0.3 + number * _PAIR, floor + _SPHERES - 0.2, shown.heading, weight="bold")
    bar = page.axes(len(picture.sets) * _PAIR + 0.12, floor + 0.75, 0.13, _DISC - 0.4)
    color_bar(bar, colors, "views per solid angle (1 = even)")
    legend(page.figure, picture.axes, (0.2 / width, (floor + 0.02) / height))
    _shifts(page, picture, beside)
    return page.figure


def _shifts(page: Page, picture: Picture, beside: bool) -> None:
    """Maps of shifts, and the copies of the particles if they differ."""
    lefts = [1.9, 1.9 + _PAIR] if beside else [_PAIR + 1.85]
    if picture.copies:
        lefts = [0.9, 4.2]
    for left, shown in zip(lefts, picture.sets, strict=True):
        colors = shift_panel(page.axes(left, 0.6, _SQUARE, _SQUARE), shown, picture)
        end = left + _SQUARE + _GAP
        if shown.depths is not None:
            depth_panel(page.axes(end, 0.6, _STRIP, _SQUARE), shown, picture)
            end += _STRIP + _GAP
    bar = page.axes(end, 0.7, 0.13, _SQUARE - 0.2)
    color_bar(bar, colors, "rows, relative to the fullest cell")
    if picture.copies:
        copies_panel(page.axes(8.8, 0.6, 3.2, _SQUARE), picture.copies)


def _norm(picture: Picture) -> Any:
    """One scale for all sets, from no view on; strong peaks get a scale of roots."""
    from matplotlib.colors import Normalize, PowerNorm

    most = max(2.0, *(float(shown.density.max()) for shown in picture.sets))
    return Normalize(0, most) if most <= _STRONG else PowerNorm(0.5, 0, most)


def hemispheres(discs: Sequence[Any], shown: Shown, norm: Any) -> Any:
    """Draw the directions of a set on two discs; gives what a color bar needs."""
    x, y = corners(SIDE)
    times = SIDE // shown.density.shape[-1]
    for half, disc in enumerate(discs):
        fine = shown.density[half].repeat(times, 0).repeat(times, 1)
        colors = disc.pcolormesh(x, y, fine, cmap=_COLORS, norm=norm, rasterized=True)
        _rim(disc, half)
        for fold, places in marks_on(shown.axes, half).items():
            disc.plot(*places.T, **axis_mark(fold), clip_on=False)
    return colors


def legend(figure: Any, axes: _Axes, place: tuple[float, float]) -> None:
    """Say which mark is which fold."""
    folds = sorted({fold for fold, _ in axes}, reverse=True)
    marks = [Line2D([], [], label=f"{fold}-fold axis", **axis_mark(fold)) for fold in folds]
    if marks:
        figure.legend(
            handles=marks, loc="lower left", bbox_to_anchor=place, ncols=len(marks), frameon=False
        )


def shift_panel(panel: Any, shown: Shown, picture: Picture) -> Any:
    """Draw a map of shifts; gives what a color bar needs."""
    counts = merged(shown.shifts, _places(picture))
    share = counts / max(1, counts.max())
    ends = (-shown.limit, shown.limit) * 2
    colors = panel.imshow(
        share, _COLORS, vmin=0, vmax=1, origin="lower", extent=ends, interpolation="nearest"
    )
    beyond = f"\n{shown.outside:,} more outside of the frame" if shown.outside else ""
    panel.set_title(f"shifts of {shown.name}{beyond}", fontsize=9)
    panel.set_xlabel(f"shift in x ({picture.unit})")
    panel.set_ylabel(f"shift in y ({picture.unit})")
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.yaxis.set_major_locator(MaxNLocator(5))
    return colors


def _places(picture: Picture) -> int:
    """Places along a side of the maps of shifts: fewer where there are few rows."""
    rows = picture.sets[0].shifts.sum()
    return next((side for side in _PLACES if rows >= _ENOUGH * side * side), _PLACES[-1])


def depth_panel(panel: Any, shown: Shown, picture: Picture) -> None:
    """Draw a strip of the shifts in z, upwards on the scale of y."""
    counts = np.asarray(shown.depths).reshape(_places(picture), -1).sum(axis=1)
    share = (counts / max(1, counts.max()))[:, None]
    ends = (0, 1, -shown.limit, shown.limit)
    panel.imshow(
        share,
        _COLORS,
        vmin=0,
        vmax=1,
        origin="lower",
        extent=ends,
        interpolation="nearest",
        aspect="auto",
    )
    panel.set_title("z", fontsize=9)
    panel.set_xticks([])
    panel.yaxis.set_major_locator(MaxNLocator(5))
    panel.set_yticklabels([])


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


def color_bar(panel: Any, colors: Any, label: str) -> None:
    """Draw a color bar in axes of its own."""
    panel.figure.colorbar(colors, cax=panel, label=label)


def _rim(disc: Any, half: int) -> None:
    """Draw the rim of a hemisphere, circles of tilt, and the directions of rot."""
    turn = np.linspace(0, 2 * np.pi, 361)
    disc.plot(np.cos(turn), np.sin(turn), color="black", lw=0.8, clip_on=False)
    for tilt, labeled_at in _TILTS.items():
        radius = np.sqrt(1 - np.cos(np.deg2rad(tilt)))
        disc.plot(radius * np.cos(turn), radius * np.sin(turn), color="white", lw=0.5, alpha=0.7)
        disc.text(
            *(radius * np.array([np.cos(labeled_at), np.sin(labeled_at)])),
            f"{tilt if half == 0 else 180 - tilt}\N{DEGREE SIGN}",
            **_ON_COLOR,
        )
    for rot, sideways, upright in (
        (0, "left", "center"),
        (90, "center", "bottom"),
        (-90, "center", "top"),
    ):
        named = "rot " if rot == 90 else ""
        away = 1.08 if rot == 0 else _BEYOND
        x, y = away * np.cos(np.deg2rad(rot)), away * np.sin(np.deg2rad(rot))
        disc.text(x, y, f"{named}{rot}\N{DEGREE SIGN}", ha=sideways, va=upright, fontsize=7)
    disc.set_title(("tilt 0 to 90", "tilt 90 to 180")[half] + "\N{DEGREE SIGN}", fontsize=9, pad=18)
    disc.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
    disc.set_axis_off()


_TILTS = {30: np.deg2rad(22.5), 60: np.deg2rad(31)}
"""Circles of tilt, and the rot at which their labels are clear of the axes of I, O and T."""

_STROKE = [withStroke(linewidth=1.5, foreground="black")]
_ON_COLOR: dict[str, Any] = {
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
