"""Calls that block, made so that Ctrl-C and SIGTERM are noticed meanwhile."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from numba_symexp import interrupts

POLL_S = 0.1
"""How long to wait between two looks at the signals."""

Result = TypeVar("Result")


def waited(call: Callable[[], Result], undo: Callable[[Result], object] | None = None) -> Result:
    """Make a call in a thread of its own, and wait for it.

    Parameters
    ----------
    call : callable
    undo : callable, optional
        Called with the result when nobody waits for it any more.

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
        if undo is not None:
            result.add_done_callback(lambda done: done.exception() or undo(done.result()))
        raise
    return result.result()


def attempted(call: Callable[[], object], seconds: float) -> None:
    """Make a call that may hang or fail when neither matters any more, signal or not."""
    wait([_begun(call)], seconds)


def _begun(call: Callable[[], Result]) -> Future[Result]:
    """Begin a call in a thread of its own.

    Processes that it starts do not get Ctrl-C, which a terminal sends to all of them: the driver
    ends them.
    """
    result: Future[Result] = Future()

    def run() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # threads and processes inherit
        try:
            result.set_result(call())
        except BaseException as error:  # raised again where it is waited for
            result.set_exception(error)

    threading.Thread(target=run, name="waited", daemon=True).start()
    return result
