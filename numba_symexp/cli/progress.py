"""A progress bar in rows on standard error, where a person sees it."""

import sys
from typing import Any, Self


class ProgressBar:
    """Shows nothing when it is told to be silent, or when standard error is no terminal."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent or sys.stderr is None or not sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, rows_done: int, rows: int) -> None:
        """Show that so many rows of all are done."""
        if self._silent:
            return
        if self._bar is None:
            from tqdm import tqdm  # not needed by pipelines

            self._bar = tqdm(total=rows, unit="row", unit_scale=True, file=sys.stderr)
        self._bar.update(rows_done - self._bar.n)
