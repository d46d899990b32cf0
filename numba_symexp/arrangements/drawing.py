"""How a picture of arrangements is drawn.

The frequent arrangements come first, each on the sites of the particle, then their counts beside
the expected ones, and the scores of the pairs. Places are in inches.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from numba_symexp.annotations import Array
from numba_symexp.arrangements.labels import GAP
from numba_symexp.arrangements.report import (
    Arrangement,
    ArrangeReport,
    Incomplete,
    PairOfLabels,
    are_few,
    in_short,
    signed,
)
from numba_symexp.arrangements.sphere import DrawnSites, dot
from numba_symexp.pictures.page import LETTER, LINE, Page

_WIDTH, _EDGE = 12.0, 0.35
"""Of the page, and of its margin."""

_COLUMNS, _MOST_PANELS = 4, 8
_ABOVE, _BELOW = 0.3, 0.62
"""Text above and below the discs of a panel."""

_MOST_COUNTS, _MOST_BARS = 20, 30
_BAR, _NAMES = 0.21, 3.6
"""Height of a bar of a score, and width for the names of relations."""

_COUNTS_WIDE, _COUNTS_HIGH, _FOOT = 4.3, 2.4, 0.7
"""Sides of the panel of counts, and what is left below."""

_SMALL = 7.5
_SMALL_LETTER = 0.057
"""Font size of small text, and width of its letters."""

_COLORS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#56B4E9", "#D55E00", "#F0E442", "#000000"),
)
"""Told apart by everyone (Okabe and Ito)."""

_HIGH, _LOW, _WITHIN = "#B2182B", "#2166AC", "0.75"
"""Scores above the limit, below it, and within."""

_SEEN, _EXPECTED = "0.25", "0.75"
_HALO = [withStroke(linewidth=2, foreground="white")]
_STEEP = 30.0
"""From such a ratio of counts on, their axis is logarithmic."""

_MARK, _LONGEST_NAME, _NO_COLOR = 0.42, 24, "none"


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
    sphere = DrawnSites(places, marks, _colors(report.labels))
    pairs = _shown_pairs(report)
    head = _head(report, words, sphere)
    rows = -(-len(shown) // _COLUMNS)
    high = sphere.side + _ABOVE + _BELOW
    low = max(_COUNTS_HIGH, _BAR * len(pairs))
    top = 0.65 + LINE * len(head) + 0.38
    height = top + rows * high + 0.4 + low + _FOOT
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
    top = _FOOT + low
    box = (_EDGE + 0.65, top - _COUNTS_HIGH, _COUNTS_WIDE, _COUNTS_HIGH)
    _counts(page, box, report.arrangements[:_MOST_COUNTS])
    relations = _relations(report)
    names = [_name_of(each, relations[each.relation], _is_of_one_pair(report)) for each in pairs]
    left = _EDGE + 0.65 + _COUNTS_WIDE + 0.5
    page.text(left, top + 0.08, _title_of(report, len(pairs)), weight="bold")
    left += _SMALL_LETTER * max(map(len, names), default=0) + 0.1
    tall = _BAR * len(pairs) if pairs else low
    _scores(page, (left, top - tall, _WIDTH - _EDGE - left, tall), report, names, pairs)
    return page.figure


def _head(report: ArrangeReport, words: str, sphere: DrawnSites) -> list[str]:
    """Lines below the title."""
    lines = textwrap.wrap(_plain(report.symmetry, 600), int((_WIDTH - 2 * _EDGE) / LETTER))
    found = len(report.arrangements) + report.further[0]
    told = [
        f"{report.particles:,} particles of {report.sites:,} sites",
        f"{report.complete:,} with all labels: {found:,} of {in_short(report.possible)} possible "
        "arrangements",
    ]
    gaps = sum(each.particles for each in report.incomplete) + report.further_incomplete[1]
    if gaps:
        told.append(f"{gaps:,} with gaps")
    halves = "; left z \N{GREATER-THAN OR EQUAL TO} 0, right z < 0, both looked at from +z"
    return [
        *lines,
        "; ".join(told),
        f"sites are drawn {words}{halves if len(sphere.halves) > 1 else ''}",
    ]


def _legend(page: Page, bottom: float, report: ArrangeReport, colors: dict[str, Any]) -> None:
    """Dots of the labels, with their copies, as many as there is room for."""
    labels = [
        (dot(colors[name], 7), f"{_plain(name, _LONGEST_NAME)} ({copies:,})")
        for name, copies in report.labels.items()
    ]
    with_gaps = report.incomplete and len(report.arrangements) < _MOST_PANELS
    gap = [(dot(None, 7), "did not come back")] if with_gaps else []
    marks = [*labels, *gap]
    while sum(_MARK + LETTER * len(words) for _, words in marks) > _WIDTH - 2 * _EDGE:
        labels.pop()
        more = f"and {len(report.labels) - len(labels):,} more"
        marks = [*labels, (dot(_NO_COLOR, 0), more), *gap]
    left = _EDGE
    for mark, words in marks:
        x, y = page.place(left + 0.07, bottom + 0.12)
        page.figure.add_artist(Line2D([x], [y], **mark))
        page.text(left + 0.2, bottom + 0.12, words, va="center_baseline")
        left += _MARK + LETTER * len(words)


def _panel(
    page: Page,
    place: tuple[float, float],
    width: float,
    sphere: DrawnSites,
    shown: Arrangement | Incomplete,
) -> None:
    """One arrangement on the sites, and what is said of it."""
    left, bottom = place
    middle = left + width / 2
    top = bottom + _BELOW + sphere.side
    count = f"{shown.particles:,} particle{'s' if shown.particles > 1 else ''}"
    page.text(middle, top + 0.06, f"{shown.id}: {count}", ha="center", weight="bold")
    sphere.draw(page, middle, bottom + _BELOW, shown.pattern)
    for number, line in enumerate(_lines_below(shown)):
        height = bottom + _BELOW - 0.14 - 0.155 * number
        page.text(middle, height, line, ha="center", fontsize=_SMALL)


def _lines_below(shown: Arrangement | Incomplete) -> list[str]:
    """Lines below an arrangement."""
    if isinstance(shown, Incomplete):
        return ["some copies did not come back"]
    if shown.score is None:
        expected = "the only one with these counts"
    else:
        score = f"score {signed(shown.score)}"
        if are_few(shown.particles, shown.expected_given_counts):
            score = "too few for a score"
        expected = f"expected {shown.expected_given_counts:,.1f}, {score}"
    return [expected, _plain(f"symmetry {shown.symmetry}", 44)]


def _counts(
    page: Page, place: tuple[float, float, float, float], shown: Sequence[Arrangement]
) -> None:
    """Particles of each arrangement beside the expected ones."""
    panel = page.axes(*place)
    panel.set_title("particles of each arrangement", fontsize=9, weight="bold", loc="left")
    panel.spines[["top", "right"]].set_visible(False)
    if not shown:
        _say_why_empty(panel, "no particle has all labels")
        return
    x = np.arange(len(shown))
    seen = np.array([each.particles for each in shown], float)
    expected = np.array([each.expected_given_counts for each in shown])
    panel.bar(x - 0.2, seen, 0.38, color=_SEEN, label="counted")
    panel.bar(x + 0.2, expected, 0.38, color=_EXPECTED, label="expected, given the counts")
    panel.set_xticks(x, [str(each.id) for each in shown])
    panel.set_xlabel("arrangement")
    panel.set_xlim(-0.8, max(len(shown), 6) - 0.2)
    least = max(0.1 * seen.min(), min(seen.min(), expected.min()))
    most = max(seen.max(), expected.max())
    if most > _STEEP * least:
        panel.set_yscale("log")
        panel.set_ylim(0.6 * least, 3 * most)
        panel.yaxis.set_major_locator(LogLocator(10, numticks=6))
        panel.yaxis.set_minor_formatter(NullFormatter())
    else:
        panel.set_ylim(0, 1.22 * most)
        panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    panel.tick_params(labelsize=_SMALL)
    panel.legend(loc="upper right", fontsize=_SMALL, frameon=False, ncols=2)


def _shown_pairs(report: ArrangeReport) -> list[PairOfLabels]:
    """Pairs that have a score: of two labels those of the rarer one, else the largest scores."""
    scored = [each for each in report.pairs if each.score is not None]
    few, rare = _is_of_one_pair(report), _rarest(report)
    if few:
        scored = [each for each in scored if each.labels == (rare, rare)]
    if not few or len(scored) > _MOST_BARS:
        scored.sort(key=lambda each: -abs(each.score or 0.0))
        scored = sorted(scored[:_MOST_BARS], key=lambda each: -(each.score or 0.0))
    return scored


def _is_of_one_pair(report: ArrangeReport) -> bool:
    """Whether one pair of labels says all, since counts are fixed."""
    return len(report.labels) <= 2


def _rarest(report: ArrangeReport) -> str:
    """The label of the fewest copies."""
    return min(report.labels, key=report.labels.__getitem__)


def _scores(
    page: Page,
    place: tuple[float, float, float, float],
    report: ArrangeReport,
    names: Sequence[str],
    shown: Sequence[PairOfLabels],
) -> None:
    """Scores of pairs, and the limit."""
    panel = page.axes(*place)
    panel.spines[["top", "right", "left"]].set_visible(False)
    if not shown or report.limit is None:
        _say_why_empty(panel, "no pair can be tested: a permutation changes nothing")
        return
    score, limit = np.array([each.score for each in shown], float), report.limit
    y = np.arange(len(shown))[::-1]
    colors = [_HIGH if s > limit else _LOW if s < -limit else _WITHIN for s in score]
    panel.barh(y, score, 0.7, color=colors)
    largest = max(limit, float(np.abs(score).max()))
    for one, height in zip(score.tolist(), y.tolist(), strict=True):
        _beside(panel, one, height, 0.02 * largest)
    panel.axvline(0, color="0.3", lw=0.8)
    for line in (-limit, limit):
        panel.axvline(line, color="0.3", lw=0.8, ls=(0, (4, 3)), zorder=0)
    margin = 0.17 * largest
    panel.set_xlim(min(-limit, score.min()) - margin, max(limit, score.max()) + margin)
    panel.set_ylim(-0.6, len(shown) - 0.4)
    panel.set_yticks(y, names, fontsize=_SMALL)
    panel.tick_params(axis="y", length=0)
    panel.tick_params(axis="x", labelsize=_SMALL)
    panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.set_xlabel(f"score (dashed: limit {limit:.2f})")


def _beside(panel: Any, score: float, height: float, gap: float) -> None:
    """Write a score beside its bar."""
    panel.text(
        score + (gap if score >= 0 else -gap),
        height,
        signed(score),
        ha="left" if score >= 0 else "right",
        va="center_baseline",
        fontsize=6.5,
        path_effects=_HALO,
    )


def _title_of(report: ArrangeReport, shown: int) -> str:
    """What the pairs are."""
    of_all = len(report.pairs)
    text = "pairs of labels"
    if _is_of_one_pair(report):
        rare = _plain(_rarest(report), 12)
        text, of_all = f"pairs of {rare} and {rare}", of_all // (2 * len(report.labels) - 1)
    text += ", against labels permuted in each particle"
    return f"{text}: {shown} of {of_all:,}" if 0 < shown < of_all else text


def _relations(report: ArrangeReport) -> dict[str, str]:
    """Relations by their names, without the turns of sites on axes where the angle says it all."""
    names = list(dict.fromkeys(each.relation for each in report.pairs))
    short = [name.partition(", ")[0] if name.startswith("axes ") else name for name in names]
    return dict(zip(names, short if len(set(short)) == len(names) else names, strict=True))


def _name_of(pair: PairOfLabels, relation: str, few: bool) -> str:
    """Relation of a pair, with its labels where there are more than two."""
    most = int(_NAMES / _SMALL_LETTER)
    text = relation if pair.distance_A is None else f"{relation}, {pair.distance_A:.0f} A"
    if not few:
        room = max(10, (most - len(text) - 3) // 2)
        one, other = (_plain(name, room) for name in pair.labels)
        text = f"{one} {other}, {text}"
    return _plain(text, most)


def _say_why_empty(panel: Any, words: str) -> None:
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
