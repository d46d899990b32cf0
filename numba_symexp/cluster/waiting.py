"""Calls that block, made so that Ctrl-C and SIGTERM are noticed meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from numba_symexp import interrupts

POLL_S = 0.1
"""How long to wait between two looks at the signals."""

UNDO_S = 10.0
"""How long to wait for something that is to be undone at once."""

Result = TypeVar("Result")


def waited(call: Callable[[], Result], undo: Callable[[Result], object] | None = None) -> Result:
    """Make a call in a thread of its own, and wait for it.

    Parameters
    ----------
    call : callable
    undo : callable, optional
        Called with the result where a signal came first, and the result after all.

    Raises
    ------
    KeyboardInterrupt, Terminated
        A signal came first.
    """
    result = _begun(call)
    try:
        while not wait([result], POLL_S).done:
            interrupts.check()
    except BaseException:
        if undo is not None and wait([result], UNDO_S).done and not result.exception():
            undo(result.result())
        raise
    return result.result()


def attempted(call: Callable[[], object], seconds: float) -> None:
    """Make a call that may hang or fail when neither matters any more, signal or not."""
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
