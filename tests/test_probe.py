"""Files on which HDF5 itself crashes or hangs are refused in a line."""

import os
import signal
import time
from pathlib import Path

import pytest
from inside import probe


def crash(path):
    os.kill(os.getpid(), signal.SIGKILL)


def hang(path):
    time.sleep(60)


def fail(path):
    raise RuntimeError("what only the child meets")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "source.h5"),
        ("expand", "source.h5", "out.h5", "--symmetry=C2"),
        ("export", "source.h5", "out.cs"),
        ("verify", "source.h5"),
        ("collapse", "source.h5", "out.h5"),
    ],
)
@pytest.mark.parametrize(("reader", "say"), [(crash, "crashes"), (hang, "did not read")])
def test_what_takes_hdf5_down_is_refused(reader, say, words, source, command, monkeypatch):
    monkeypatch.setattr(probe, "read_structure", reader)
    monkeypatch.setattr(probe, "PATIENCE_S", 0.2)
    started = time.monotonic()
    done = command(*words)
    assert done.returncode == 1
    assert say in done.stderr
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - started < 30


def test_what_is_merely_wrong_is_left_to_those_who_read_it(source, command, monkeypatch):
    monkeypatch.setattr(probe, "read_structure", fail)
    assert command("inspect", "source.h5").returncode == 0


def children():
    """Processes of this one; other tests may have left some that end with it."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_the_child_is_gone_when_the_wait_is_interrupted(source, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(probe, "read_structure", hang)
    monkeypatch.setattr(probe.interrupts, "check", interrupted)
    before = children()
    with pytest.raises(KeyboardInterrupt):
        probe.probe(source)
    assert children() == before
