"""How long work tells how far it is."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called as ``progress(rows_done, rows)`` now and then."""
