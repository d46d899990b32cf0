"""How a picture is drawn and written: places in inches, text as it stands, nothing of the clock."""

import logging
import textwrap
import warnings
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from numba_symexp.pictures.panels import colour_bar, copies_panel, hemispheres, legend, shift_panel
from numba_symexp.pictures.picture import Picture

_DPI = 150
_DISC, _SQUARE = 2.3, 2.3
"""Sides of a hemisphere and of a map of shifts, inches."""

_APART, _PAIR = 2.8, 5.75
"""From one hemisphere to the next, and from one set to the next."""

_HEAD, _SPHERES, _FOOT = 0.6, 3.5, 3.4
"""Heights: title, spheres, shifts."""

_LINE, _LETTER = 0.2, 0.073
"""Height of a line of text, and width of a letter."""

_STRONG = 10.0
"""From such a density on colours follow the root of it, else little but the peak would show."""

_NO_DATE: dict[str, dict[str, Any]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def save(picture: Picture, path: str, suffix: str) -> None:
    """Draw a picture and write it.

    Parameters
    ----------
    picture : Picture
    path : str
        File to write, whatever its name ends in.
    suffix : {"png", "svg", "pdf"}
        What to write.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it speaks of its font cache
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that its fonts lack
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "numba_symexp", "font.size": 9})
        matplotlib.rcParams.update({"text.parse_math": False, "axes.unicode_minus": False})
        draw(picture).savefig(path, format=suffix, dpi=_DPI, metadata=_NO_DATE[suffix])


def draw(picture: Picture) -> Any:
    """Lay a picture out: spheres above, shifts below, side by side for each set."""
    beside = len(picture.sets) > 1
    width = len(picture.sets) * _PAIR + 1.0 + (0.0 if beside else 4.2)
    words = textwrap.wrap(picture.symmetry or "", int((width - 0.6) / _LETTER))
    head = _HEAD + _LINE * len(words)
    height = head + _SPHERES + (_FOOT if beside else 0.0)
    figure = Figure(figsize=(width, height))
    page = _Page(figure, width, height)
    figure.text(0.3 / width, 1 - 0.3 / height, picture.title, fontsize=12, va="center")
    for number, line in enumerate(words):
        page.text(0.3, height - 0.6 - _LINE * number, line)
    floor = _FOOT if beside else 0.0
    norm = _norm(picture)
    for number, shown in enumerate(picture.sets):
        left = 0.5 + number * _PAIR
        discs = [page.axes(left + half * _APART, floor + 0.55, _DISC, _DISC) for half in (0, 1)]
        colours = hemispheres(discs, shown, picture.axes, norm)
        page.text(0.3 + number * _PAIR, floor + _SPHERES - 0.2, shown.heading, weight="bold")
    bar = page.axes(len(picture.sets) * _PAIR + 0.12, floor + 0.75, 0.13, _DISC - 0.4)
    colour_bar(bar, colours, "views per solid angle (1 = even)")
    legend(figure, picture.axes, (0.2 / width, (floor + 0.02) / height))
    _shifts(page, picture, beside)
    return figure


def _shifts(page: "_Page", picture: Picture, beside: bool) -> None:
    """Maps of shifts, and the copies of the particles if they differ."""
    lefts = [1.9, 1.9 + _PAIR] if beside else [_PAIR + 1.85]
    if picture.copies:
        lefts = [0.9, 4.2]
    for left, shown in zip(lefts, picture.sets, strict=True):
        colours = shift_panel(page.axes(left, 0.6, _SQUARE, _SQUARE), shown, picture)
    bar = page.axes(lefts[-1] + _SQUARE + 0.12, 0.7, 0.13, _SQUARE - 0.2)
    colour_bar(bar, colours, "rows, relative to the fullest place")
    if picture.copies:
        copies_panel(page.axes(8.8, 0.6, 3.2, _SQUARE), picture.copies)


def _norm(picture: Picture) -> Any:
    """One scale for all sets, from no view on; strong peaks get a scale of roots."""
    from matplotlib.colors import Normalize, PowerNorm

    most = max(2.0, *(float(shown.density.max()) for shown in picture.sets))
    return Normalize(0, most) if most <= _STRONG else PowerNorm(0.5, 0, most)


class _Page:
    """A figure on which places are in inches from below and from the left."""

    def __init__(self, figure: Any, width: float, height: float) -> None:
        self._figure, self._size = figure, np.array([width, height, width, height])

    def axes(self, left: float, bottom: float, width: float, height: float) -> Any:
        """Empty axes."""
        return self._figure.add_axes((left, bottom, width, height) / self._size)

    def text(self, left: float, bottom: float, text: str, **options: Any) -> None:
        """One line of text."""
        self._figure.text(left / self._size[0], bottom / self._size[1], text, **options)
