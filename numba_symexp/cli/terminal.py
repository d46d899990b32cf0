"""What a terminal is shown: lines on both streams, a progress bar, sizes; and exit codes."""

import contextlib
import itertools
import re
import sys
from collections.abc import Sequence
from typing import Any, Self

from numba_symexp.errors import OutputError

DONE, REFUSED, MISUSED, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
"""Exit codes: done; the data or the file system refused; the command line is wrong; Ctrl-C;
SIGTERM."""

_BAR = 40
"""Characters of the longest bar of a histogram."""


def print_result(text: str) -> None:
    """Print a result; a reader that has gone is left to `main`."""
    try:
        print(_printable(text, sys.stdout), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"standard output cannot be written ({error.strerror}): check where it goes"
        ) from error


def print_line(line: str) -> None:
    """Print a line on standard error, which may be closed or full: that changes no result."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(_printable(line, sys.stderr), file=sys.stderr, flush=True)


def _printable(text: str, stream: Any) -> str:
    """Escape control characters, and letters that a stream does not know."""
    shown = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def readable_size(count: float) -> str:
    """Bytes in the unit that a person reads."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} GB"


class ProgressBar:
    """Shows nothing when it is told to be silent, or when standard error is no terminal."""

    def __init__(self, silent: bool, unit: str = "row") -> None:
        self._unit = unit
        self._silent = silent or sys.stderr is None or not sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, done: int, count: int) -> None:
        """Show how many of all rows, or of whatever is counted, are done."""
        if self._silent:
            return
        if self._bar is None:
            from tqdm import tqdm  # not needed by pipelines

            self._bar = tqdm(total=count, unit=self._unit, unit_scale=True, file=sys.stderr)
        self._bar.update(done - self._bar.n)


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
