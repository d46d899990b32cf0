"""The rows of the benchmark's tables: what was measured, against what, and which bar it has."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from timing import ratio_of

_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
HEADER = ("case", "runs", "median (min-max)", "against", "ratio", "bar", "met")


@dataclass(frozen=True)
class Bar:
    """A bound on a row's ratio, or on its own value where there is no peer.

    Attributes
    ----------
    bound : float
    at_least : bool
        Whether the value must reach the bound rather than stay below it.
    text : str
        What stands in the table.
    applies : bool
        Whether it is a bar for a row of this size; else it stands there, and nothing is judged.
    """

    bound: float
    text: str
    at_least: bool = False
    applies: bool = True

    def met_by(self, value: float) -> bool:
        """Whether a value keeps the bar."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes
    ----------
    what : str
    samples : list of float
        One number a run.
    unit : str
        "s" (shown as s, ms, us or ns), or any other unit, shown as it is.
    against : str
        The peer or limit; empty where the value stands alone.
    peers : list of float
        The peer's numbers, round by round.
    faster : bool
        Show how many times as fast as the peer, not how many times as long.
    bar : Bar, optional
    value : float, optional
        What the bar is about, where that is neither the ratio nor the median.
    note : str
        Stands in place of numbers: why there are none.
    """

    what: str
    samples: list[float] = field(default_factory=list)
    unit: str = "s"
    against: str = ""
    peers: list[float] = field(default_factory=list)
    faster: bool = False
    bar: Bar | None = None
    value: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ratio to the peer, or None."""
        if not self.peers or not self.samples:
            return None
        pair = (self.peers, self.samples) if self.faster else (self.samples, self.peers)
        return ratio_of(*pair)

    @property
    def met(self) -> bool | None:
        """Whether the bar is kept, or None."""
        if self.bar is None or not self.bar.applies or not self.samples:
            return None
        judged = self.value if self.value is not None else self.ratio
        return self.bar.met_by(statistics.median(self.samples) if judged is None else judged)

    def cells(self) -> tuple[str, ...]:
        """Texts of the row, as `HEADER` names them."""
        if self.note:
            return (self.what, "0", self.note, self.against, "", self._bar_text(), "")
        low, middle, high = (f(self.samples) for f in (min, statistics.median, max))
        scale, unit = _scale(middle, self.unit)
        span = f"{middle / scale:.3g} {unit} ({low / scale:.3g}-{high / scale:.3g})"
        against = self.against
        if self.peers:
            peer = statistics.median(self.peers)
            scale, unit = _scale(peer, self.unit)
            against = f"{against}: {peer / scale:.3g} {unit}"
        ratio = "" if self.ratio is None else f"{self.ratio:.3g} x"
        met = {True: "yes", False: "no", None: ""}[self.met]
        if self.faster and ratio:
            ratio += " as fast"
        return (self.what, str(len(self.samples)), span, against, ratio, self._bar_text(), met)

    def record(self) -> dict[str, Any]:
        """The row for JSON."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}

    def _bar_text(self) -> str:
        return "" if self.bar is None else self.bar.text


def markdown(rows: Iterable[Row]) -> str:
    """Table of rows, with columns of even width."""
    cells = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    lines = [
        "| "
        + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _scale(value: float, unit: str) -> tuple[float, str]:
    """Unit in which a number of seconds reads well."""
    if unit != "s":
        return 1.0, unit
    for name, size in _UNITS:
        if value >= size:
            return size, name
    return _UNITS[-1][1], _UNITS[-1][0]
