"""A progress bar on standard error, where a person sees it."""

import sys
from typing import Any, Self


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
        """Show that so many rows, or whatever is counted, of all are done."""
        if self._silent:
            return
        if self._bar is None:
            from tqdm import tqdm  # not needed by pipelines

            self._bar = tqdm(total=count, unit=self._unit, unit_scale=True, file=sys.stderr)
        self._bar.update(done - self._bar.n)
