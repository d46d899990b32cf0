"""How a picture of arrangements is drawn.

The frequent arrangements come first, each on the sites of the particle, then their counts beside
the expected ones, and the scores of the pairs. Sites are dots on the two halves of the sphere, in
the projection of `pictures.picture`, which keeps areas. Places are in inches.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from numba_symexp.annotations import Array
from numba_symexp.arrangements.labels import GAP
from numba_symexp.arrangements.report import (
    Arrangement,
    ArrangeReport,
    Incomplete,
    PairOfLabels,
)
from numba_symexp.pictures.page import LETTER, LINE, Page, axis_mark
from numba_symexp.pictures.picture import on_disc

_WIDTH, _EDGE = 12.0, 0.35
"""Of the page, and of its margin."""

_COLUMNS, _MOST_PANELS = 4, 8
_DISC, _BETWEEN, _ALONE = 1.28, 0.07, 1.55
"""Side of a disc of two, what parts them, and side of a disc that is alone."""

_ABOVE, _BELOW = 0.5, 0.78
"""Text above and below the discs of a panel."""

_MOST_COUNTS, _MOST_BARS = 20, 30
_BAR, _LEAST_HEIGHT = 0.2, 2.3
"""Height of a bar of a score, and of the panels below at the least."""

_NAMES = 3.1
"""Width for the names of relations."""

_SMALL = 7.5
_SMALL_LETTER = 0.061
"""Font size of small text, and width of its letters."""

_COLORS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#56B4E9", "#D55E00", "#F0E442", "#000000"),
)
"""Told apart by everyone (Okabe and Ito)."""

_HIGH, _LOW, _WITHIN = "#B2182B", "#2166AC", "0.75"
"""Scores above the limit, below it, and within."""

_SEEN, _EXPECTED = "0.25", "0.75"
_RIM = 1e-6
_STEEP = 30.0
"""From such a ratio of counts on, their axis is logarithmic."""

_MOST_NAMES, _LONGEST_NAME = 16, 24
_SMALLEST_PT, _LARGEST_PT, _COVER = 1.2, 10.0, 0.6
"""Smallest and largest dots, and their width beside the distance of even ones."""

_POINTS = 72.0


def draw(
    title: str,
    report: ArrangeReport,
    places: Array,
    words: str,
    marks: Sequence[tuple[int, Array]],
) -> Any:
    """Lay a picture out.

    Parameters
    ----------
    title : str
    report : ArrangeReport
    places : (S, 3) float64
        Directions of the sites.
    words : str
        What they are.
    marks : sequence of (int, (3,) float64)
        Axes of the group.

    Returns
    -------
    Figure
    """
    shown: list[Arrangement | Incomplete] = [*report.arrangements, *report.incomplete]
    shown = shown[:_MOST_PANELS]
    sphere = _Sphere(places, marks, _colors(report.labels))
    pairs = _shown_pairs(report)
    head = _head(report, words, sphere)
    rows = -(-len(shown) // _COLUMNS)
    high = sphere.side + _ABOVE + _BELOW
    low = max(_LEAST_HEIGHT, _BAR * len(pairs))
    top = 0.65 + LINE * len(head) + 0.38
    height = top + rows * high + 0.45 + low + 0.75
    page = Page(_WIDTH, height)
    page.text(_EDGE, height - 0.4, _plain(title, 100), fontsize=12, va="center")
    for number, line in enumerate(head):
        page.text(_EDGE, height - 0.72 - LINE * number, line, va="center")
    _legend(page, height - top + 0.1, report, sphere.colors)
    step = (_WIDTH - 2 * _EDGE) / _COLUMNS
    for number, each in enumerate(shown):
        row, column = divmod(number, _COLUMNS)
        place = (_EDGE + step * column, height - top - high * (row + 1))
        _panel(page, place, step, sphere, each)
    _counts(page, (_EDGE + 0.65, 0.75, 4.3, low), report.arrangements[:_MOST_COUNTS])
    left = _EDGE + 0.65 + 4.3 + 0.35 + _NAMES
    _scores(page, (left, 0.75, _WIDTH - _EDGE - left, low), report, pairs)
    return page.figure


def _head(report: ArrangeReport, words: str, sphere: "_Sphere") -> list[str]:
    """Lines below the title."""
    lines = textwrap.wrap(_plain(report.symmetry, 600), int((_WIDTH - 2 * _EDGE) / LETTER))
    found = len(report.arrangements) + report.further[0]
    possible = report.possible
    many = f"{possible:,}" if possible < 10**9 else f"{possible:.3g}"
    told = [
        f"{report.particles:,} particles of {report.sites:,} sites",
        f"{report.complete:,} with all labels: {found:,} of {many} possible arrangements",
    ]
    gaps = sum(each.particles for each in report.incomplete) + report.further_incomplete[1]
    if gaps:
        told.append(f"{gaps:,} with gaps")
    halves = "; left z \N{GREATER-THAN OR EQUAL TO} 0, right z < 0, both seen from +z"
    return [
        *lines[:4],
        "; ".join(told),
        f"sites are drawn {words}{halves if len(sphere.halves) > 1 else ''}",
    ]


def _legend(page: Page, bottom: float, report: ArrangeReport, colors: dict[str, Any]) -> None:
    """Dots of all labels, with their copies."""
    marks = [
        (_dot(colors[name], 7), f"{_plain(name, _LONGEST_NAME)} ({copies:,})")
        for name, copies in list(report.labels.items())[:_MOST_NAMES]
    ]
    if len(report.labels) > _MOST_NAMES:
        marks.append((_dot("white", 0), f"and {len(report.labels) - _MOST_NAMES} more"))
    if report.incomplete:
        marks.append((_dot(None, 7), "did not come back"))
    left = _EDGE
    for mark, words in marks:
        wide = 0.3 + LETTER * len(words)
        if left + wide > _WIDTH - _EDGE:
            break
        x, y = page.place(left + 0.07, bottom + 0.12)
        page.figure.add_artist(Line2D([x], [y], **mark))
        page.text(left + 0.2, bottom + 0.12, words, va="center_baseline")
        left += wide + 0.12


def _panel(
    page: Page,
    place: tuple[float, float],
    width: float,
    sphere: "_Sphere",
    shown: Arrangement | Incomplete,
) -> None:
    """One arrangement on the sites, and what is said of it."""
    left, bottom = place
    middle = left + width / 2
    top = bottom + _BELOW + sphere.side
    page.text(
        middle, top + 0.2, f"{shown.id}: {shown.particles:,} particles", ha="center", weight="bold"
    )
    sphere.draw(page, middle, bottom + _BELOW, shown.pattern)
    for number, line in enumerate(_said(shown)):
        height = bottom + _BELOW - 0.2 - 0.155 * number
        page.text(middle, height, line, ha="center", fontsize=_SMALL)


def _said(shown: Arrangement | Incomplete) -> list[str]:
    """Lines below an arrangement."""
    if isinstance(shown, Incomplete):
        return ["some copies did not come back"]
    if shown.score is None:
        expected = "the only one of these counts"
    else:
        expected = f"expected {shown.expected_given_counts:,.1f}, score {shown.score:+.1f}"
    return [expected, _plain(f"symmetry {shown.symmetry}", 44)]


class _Sphere:
    """The sites on one or two discs.

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
        self._places, self._marks, self.colors = on_disc(places), marks, colors
        self.halves = [half for half in (0, 1) if len(self._sites[half])]
        self.side = _DISC if len(self.halves) == 2 else _ALONE
        area = len(self.halves) * np.pi * (self.side * _POINTS / 2) ** 2
        even = _COVER * np.sqrt(area / len(places))
        self._dot_pt = float(np.clip(even, _SMALLEST_PT, _LARGEST_PT))

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
            style = _dot(self.colors.get(name), self._dot_pt)
            disc.plot(*self._places[those].T, **style, clip_on=False, zorder=2)


def _dot(color: Any, size_pt: float) -> dict[str, Any]:
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


def _counts(
    page: Page, place: tuple[float, float, float, float], shown: Sequence[Arrangement]
) -> None:
    """Particles of each arrangement beside the expected ones."""
    panel = page.axes(*place)
    panel.set_title("particles of each arrangement", fontsize=9)
    panel.spines[["top", "right"]].set_visible(False)
    if not shown:
        _nothing(panel, "no particle has all labels")
        return
    x = np.arange(len(shown))
    seen = np.array([each.particles for each in shown], float)
    expected = np.array([each.expected_given_counts for each in shown])
    panel.bar(x - 0.2, seen, 0.38, color=_SEEN, label="counted")
    panel.bar(x + 0.2, expected, 0.38, color=_EXPECTED, label="expected, given the counts")
    panel.set_xticks(x, [str(each.id) for each in shown])
    panel.set_xlabel("arrangement")
    panel.set_xlim(-0.8, max(len(shown), 6) - 0.2)
    smallest = min(seen.min(), expected.min())
    if seen.max() > _STEEP * smallest:
        panel.set_yscale("log")
        panel.set_ylim(max(0.5 * smallest, 1e-3 * seen.max()), 3 * max(seen.max(), expected.max()))
        panel.yaxis.set_major_locator(LogLocator(10, numticks=6))
        panel.yaxis.set_minor_formatter(NullFormatter())
    else:
        panel.set_ylim(0, 1.22 * max(seen.max(), expected.max()))
        panel.yaxis.set_major_locator(MaxNLocator(5))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    panel.tick_params(labelsize=_SMALL)
    panel.legend(loc="upper right", fontsize=_SMALL, frameon=False, ncols=2)


def _shown_pairs(report: ArrangeReport) -> list[PairOfLabels]:
    """Pairs that have a score: of two labels those of the last, else the largest scores first."""
    scored = [each for each in report.pairs if each.score is not None]
    names = list(report.labels)
    if len(names) <= 2:
        scored = [each for each in scored if each.labels == (names[-1], names[-1])]
    if len(names) > 2 or len(scored) > _MOST_BARS:
        scored.sort(key=lambda each: -abs(each.score or 0.0))
        scored = sorted(scored[:_MOST_BARS], key=lambda each: -(each.score or 0.0))
    return scored


def _scores(
    page: Page,
    place: tuple[float, float, float, float],
    report: ArrangeReport,
    shown: Sequence[PairOfLabels],
) -> None:
    """Scores of pairs, and the limit."""
    panel = page.axes(*place)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.set_title(_title_of(report, shown), fontsize=9)
    if not shown or report.limit is None:
        _nothing(panel, "no pair can be tested: a permutation changes nothing")
        return
    score, limit = np.array([each.score for each in shown], float), report.limit
    y = np.arange(len(shown))[::-1]
    colors = [_HIGH if s > limit else _LOW if s < -limit else _WITHIN for s in score]
    panel.barh(y, score, 0.7, color=colors)
    ends = max(limit, float(np.abs(score).max()))
    for one, height in zip(score, y, strict=True):
        side = 1 if one >= 0 else -1
        panel.text(
            one + side * 0.02 * ends,
            height,
            f"{one:+.1f}",
            ha="left" if side > 0 else "right",
            va="center_baseline",
            fontsize=6.5,
        )
    panel.axvline(0, color="0.3", lw=0.8)
    for line in (-limit, limit):
        panel.axvline(line, color="0.3", lw=0.8, ls=(0, (4, 3)), zorder=0)
    low, high = min(-limit, score.min()), max(limit, score.max())
    panel.set_xlim(low - 0.16 * ends, high + 0.16 * ends)
    panel.set_ylim(-0.6, max(len(shown), 3) - 0.4)
    few = len(set(report.labels)) <= 2
    panel.set_yticks(y, [_name_of(each, few) for each in shown], fontsize=_SMALL)
    panel.tick_params(axis="y", length=0)
    panel.tick_params(axis="x", labelsize=_SMALL)
    panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.set_xlabel(f"score; dashed: limit {limit:.2f}, which chance passes in 1 of 20 sets")


def _title_of(report: ArrangeReport, shown: Sequence[PairOfLabels]) -> str:
    """What the pairs are."""
    names = list(report.labels)
    if len(names) <= 2:
        last = _plain(names[-1], _LONGEST_NAME)
        text, all_of = f"pairs of {last} and {last}", len(report.pairs) // (2 * len(names) - 1)
    else:
        text, all_of = "pairs of labels", len(report.pairs)
    if shown and len(shown) < all_of:
        text += f": the {len(shown)} largest scores of {all_of:,}"
    return text


def _name_of(pair: PairOfLabels, few: bool) -> str:
    """Relation of a pair, with its labels where there are more than two."""
    text = pair.relation if pair.distance_A is None else f"{pair.relation}, {pair.distance_A:.0f} A"
    if not few:
        one, other = (_plain(name, 10) for name in pair.labels)
        text = f"{one} {other}, {text}"
    return _plain(text, int(_NAMES / _SMALL_LETTER))


def _nothing(panel: Any, words: str) -> None:
    """Say in an empty panel why it is empty."""
    panel.set_axis_off()
    panel.text(0.5, 0.5, words, ha="center", va="center", color="0.4", transform=panel.transAxes)


def _colors(labels: dict[str, int]) -> dict[str, Any]:
    """Color of each label; copies that did not come back have none."""
    names = [name for name in labels if name != GAP]
    if len(names) <= len(_COLORS):
        return dict(zip(names, _COLORS, strict=False))
    scale = matplotlib.colormaps["turbo"]
    return {name: scale((number + 0.5) / len(names)) for number, name in enumerate(names)}


def _plain(text: str, most: int) -> str:
    """Text that can be drawn, cut in the middle where it is too long."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if len(text) <= most:
        return text
    last = most // 3
    return f"{text[: most - last - 3]}...{text[len(text) - last :]}"
