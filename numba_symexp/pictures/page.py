"""A page of a picture, on which places are in inches; and the marks of axes."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

LINE, LETTER = 0.2, 0.073
"""Height of a line of text, and width of a letter, inches."""

_MOST_SIDES = 8


class Page:
    """A figure on which places are in inches from below and from the left.

    Attributes
    ----------
    figure : Figure
    """

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height))
        self._size = np.array([width, height, width, height])

    def axes(self, left: float, bottom: float, width: float, height: float) -> Any:
        """Empty axes."""
        return self.figure.add_axes(tuple(np.array([left, bottom, width, height]) / self._size))

    def text(self, left: float, bottom: float, text: str, **options: Any) -> None:
        """One line of text."""
        self.figure.text(*self.place(left, bottom), text, **options)

    def place(self, left: float, bottom: float) -> tuple[float, float]:
        """A place as parts of the width and of the height."""
        return float(left / self._size[0]), float(bottom / self._size[1])


def axis_mark(fold: int) -> dict[str, Any]:
    """Mark of an axis: as many corners as it has turns, a lens for two, a ring for many."""
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
