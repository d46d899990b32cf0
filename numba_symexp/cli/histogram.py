"""Histograms of tilts and shifts in text, for a terminal."""

import itertools
from collections.abc import Sequence
from typing import Any

_BAR = 40


def histogram_text(statistics: dict[str, Any]) -> list[str]:
    """Lines of what `view_statistics` gives: at most 11 for each histogram, of 80 characters."""
    return [*_tilt_lines(statistics["tilt"]), *_shift_lines(statistics["shift"])]


def _tilt_lines(tilt: dict[str, Any]) -> list[str]:
    """Rows by tilt; the bars are densities per solid angle, 1 where views are even."""
    labels = _intervals(tilt["edges_deg"])
    bars = _bars(tilt["density"])
    return ["tilt, deg: rows per solid angle (1 = even), rows"] + [
        f"  {label}  {bar:<{_BAR}}  {density:6.2f}  {count:>13,}"
        for label, bar, density, count in zip(
            labels, bars, tilt["density"], tilt["counts"], strict=True
        )
    ]


def _shift_lines(shift: dict[str, Any]) -> list[str]:
    """Rows by length of shift."""
    edges, counts = shift["edges"], shift["counts"]
    labels = _intervals(edges)
    if shift["beyond"]:
        labels = [*labels, f"{edges[-1]:g} -"]
        counts = [*counts, shift["beyond"]]
    width = max(map(len, labels))
    return [f"length of shift, {shift['unit']}: rows"] + [
        f"  {label:<{width}}  {bar:<{_BAR}}  {count:>13,}"
        for label, bar, count in zip(labels, _bars(counts), counts, strict=True)
    ]


def _intervals(edges: Sequence[float]) -> list[str]:
    """Texts of the intervals between edges."""
    words = [f"{edge:g}" for edge in edges]
    width = max(map(len, words))
    return [f"{one:>{width}} - {other:>{width}}" for one, other in itertools.pairwise(words)]


def _bars(values: Sequence[float]) -> list[str]:
    """Bars of which the longest belongs to the largest value; no value but 0 has none."""
    most = max(values) or 1
    return ["#" * (max(1, round(_BAR * value / most)) if value else 0) for value in values]
