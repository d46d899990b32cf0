"""Ctrl-C and SIGTERM, taken where it is safe.

An exception raised by a signal lands wherever Python happens to be, also inside callbacks of the
compiler, which swallow it or are left broken. So the program notes the first signal, and long work
asks for it between two blocks of rows. A second signal is raised at once.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from numba_symexp.errors import Terminated

_pending: list[int] = []


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Note signals within, instead of being stopped anywhere; elsewhere nothing changes.

    Signals that the caller ignores (as nohup does) stay ignored.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _pending.clear()


def check() -> None:
    """Stop here when a signal was noted.

    Raises
    ------
    KeyboardInterrupt, Terminated
        On SIGINT and SIGTERM.
    """
    if _pending:
        _stop(_pending[0])


def _note(number: int, frame: FrameType | None) -> None:
    """Remember the first signal; be stopped by the second."""
    _pending.append(number)
    if len(_pending) > 1:
        _stop(number)


def _stop(number: int) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
