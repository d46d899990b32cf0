"""Ctrl-C and SIGTERM, taken where it is safe.

An exception raised by a signal lands wherever Python happens to be, also inside callbacks of the
compiler, which swallow it or are left broken. So the program notes the first signal, and long work
asks for it between two blocks of rows. A second signal is raised at once.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from types import FrameType
from typing import TypeVar

from numba_symexp.errors import Terminated

POLL_S = 0.1
"""How long to wait between two looks at the signals."""

UNDO_S = 10.0
"""How long to wait for something that is to be undone at once."""

Result = TypeVar("Result")

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


def waited(
    call: Callable[[], Result],
    undo: Callable[[Result], object] | None = None,
    seconds: float = math.inf,
) -> Result:
    """Make a call in a thread of its own, and wait for it.

    Parameters
    ----------
    call : callable
    undo : callable, optional
        Called with the result where a signal came first, and the result after all.
    seconds : float
        How long to wait at most.

    Raises
    ------
    KeyboardInterrupt, Terminated
        A signal came first.
    TimeoutError
        The call is not done in time; its thread is left to itself.
    """
    result = _begun(call)
    deadline = time.monotonic() + seconds
    try:
        while not wait([result], POLL_S).done:
            check()
            if time.monotonic() > deadline:
                raise TimeoutError("something listens there, and says nothing")
    except BaseException:
        if undo is not None and wait([result], UNDO_S).done and not result.exception():
            undo(result.result())
        raise
    return result.result()


def call_and_forget(call: Callable[[], object], seconds: float) -> None:
    """Make a call whose failure has no consequence any more; wait for it, but no longer."""
    wait([_begun(call)], seconds)


def _begun(call: Callable[[], Result]) -> Future[Result]:
    """Begin a call in a thread of its own."""
    result: Future[Result] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # raised again where it is waited for
            result.set_exception(error)

    threading.Thread(target=run, name="waited", daemon=True).start()
    return result


def _note(number: int, frame: FrameType | None) -> None:
    """Remember the first signal; be stopped by the second."""
    _pending.append(number)
    if len(_pending) > 1:
        _stop(number)


def _stop(number: int) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
