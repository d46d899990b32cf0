"""Where the program begins, before anything large is loaded: Ctrl-C never shows a traceback."""

import signal
from typing import NoReturn


def program() -> NoReturn:
    """Run the command line that this process was started with, and leave."""
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:  # there is nothing to be put in order yet
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from numba_symexp.cli.main import program as run

    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
