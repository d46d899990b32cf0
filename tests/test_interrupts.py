"""Signals are noted and taken at safe places; the second is taken at once."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from inside import Terminated, call_and_forget, interrupts, run, waited

from numba_symexp import ExpandJob

STOPS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


@pytest.mark.parametrize(("number", "stop"), STOPS)
def test_the_first_signal_waits_for_a_safe_place(number, stop):
    before = signal.getsignal(number)
    with interrupts.deferred():
        interrupts.check()
        os.kill(os.getpid(), number)
        with pytest.raises(stop):
            interrupts.check()
    assert signal.getsignal(number) is before
    interrupts.check()


@pytest.mark.parametrize(("number", "stop"), STOPS)
def test_the_second_signal_does_not_wait(number, stop):
    with interrupts.deferred():
        os.kill(os.getpid(), number)
        with pytest.raises(stop):
            os.kill(os.getpid(), number)


def test_a_signal_stops_a_run_between_two_chunks(source, tmp_path):
    done = []

    def progress(rows_done, rows):
        done.append(rows_done)
        os.kill(os.getpid(), signal.SIGTERM)

    job = ExpandJob(source, str(tmp_path / "out.h5"), symmetry="C5", chunk_rows=25)
    with pytest.raises(Terminated), interrupts.deferred():
        run(job, progress)
    assert done == [25]
    assert os.listdir(tmp_path) == ["source.h5"]


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            interrupts.check()
    finally:
        signal.signal(signal.SIGINT, before)


LOADING = """
import builtins, os, runpy, signal, sys
signal.signal(signal.SIGINT, {handler})
really = builtins.__import__
def load(name, *words, **named):
    if name.startswith("numba_symexp.cli.main"):
        os.kill(os.getpid(), signal.SIGINT)
    return really(name, *words, **named)
builtins.__import__ = load
sys.argv = ["numba-symexp", "--version"]
runpy.run_module("numba_symexp", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "code"),
    [("signal.default_int_handler", -signal.SIGINT), ("signal.SIG_IGN", 0)],
    ids=["heard", "ignored"],
)
def test_an_interrupt_while_the_program_is_loaded(handler, code):
    done = subprocess.run(
        [sys.executable, "-c", LOADING.format(handler=handler)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert (done.stdout == "") == (code != 0)


AGAIN = """
import os, signal
from numba_symexp.cli import main as program
def act(words):
    raise KeyboardInterrupt
def tell(*words):
    os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
program._answer, program.print_line = act, tell
program.program()
"""


@pytest.mark.slow
def test_an_impatient_user_sees_no_traceback():
    """The second interrupt comes while the first is told."""
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_other_threads_leave_signals_alone():
    handlers = []

    def work():
        with interrupts.deferred():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


def test_what_is_waited_for_is_undone_when_a_signal_comes_first(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    assert waited(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        waited(lambda: 1 / 0)
    monkeypatch.setattr(interrupts, "check", interrupted)
    undone = []
    with pytest.raises(KeyboardInterrupt):
        waited(lambda: time.sleep(0.3) or "made", undone.append)
    assert undone == ["made"]
    started_at = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        waited(lambda: time.sleep(3))
    call_and_forget(lambda: time.sleep(3), 0.05)
    call_and_forget(lambda: 1 / 0, 1)
    assert time.monotonic() - started_at < 2
