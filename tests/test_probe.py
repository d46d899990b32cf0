"""Files on which HDF5 itself crashes or hangs are refused in a line."""

import os
import signal
import time
from pathlib import Path

import pytest
from inside import probe

pytestmark = pytest.mark.usefixtures("probed")


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
@pytest.mark.parametrize(
    ("reader", "patience_s", "say"), [(crash, 60.0, "crashes"), (hang, 0.2, "did not read")]
)
def test_what_takes_hdf5_down_is_refused(
    reader, patience_s, say, words, source, command, monkeypatch
):
    monkeypatch.setattr(probe, "read_structure", reader)
    monkeypatch.setattr(probe, "PATIENCE_S", patience_s)
    started = time.monotonic()
    done = command(*words)
    assert done.returncode == 1
    assert say in done.stderr
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - started < 30


def test_what_is_merely_wrong_is_left_to_those_who_read_it(source, command, monkeypatch):
    monkeypatch.setattr(probe, "read_structure", fail)
    assert command("inspect", "source.h5").returncode == 0


READING_THE_SOURCE = (
    ("verify", "e.h5"),
    ("match", "e.h5"),
    ("export", "e.h5", "out.cs"),
    ("collapse", "e.h5", "out.h5"),
    ("select", "e.h5", "out.h5", "--half=1"),
    ("arrange", "e.h5", "--by=operator_index"),
    ("arrange", "rows.star", "--expanded=e.h5"),
    ("transfer", "e.h5", "source.h5", "out.h5"),
    ("plot", "e.h5", "out.png"),
)


@pytest.mark.slow
@pytest.mark.parametrize("words", READING_THE_SOURCE, ids=" ".join)
def test_the_source_of_an_expanded_table_is_a_file_that_is_read(
    words, source, go, command, monkeypatch, tmp_path
):
    """Nobody names it on the command line, and HDF5 crashes on it all the same."""
    go("expand", "source.h5", "e.h5", "--symmetry=C2")
    (tmp_path / "rows.star").write_text("data_\n\nloop_\n_rlnImageName #1\n1@a\n")
    really = probe.read_structure

    def read(path):
        if os.path.basename(path) == "source.h5":
            crash(path)
        really(path)

    monkeypatch.setattr(probe, "read_structure", read)
    before = set(os.listdir(tmp_path))
    done = command(*words)
    assert done.returncode == 1
    assert "source.h5: HDF5 crashes when it reads it" in done.stderr
    assert done.stderr.count("\n") == 1
    assert set(os.listdir(tmp_path)) == before


def test_a_verb_that_leaves_the_source_alone_does_not_care(source, go, command, monkeypatch):
    go("expand", "source.h5", "e.h5", "--symmetry=C2")
    really = probe.read_structure
    monkeypatch.setattr(
        probe, "read_structure", lambda path: (crash if "source" in path else really)(path)
    )
    assert command("inspect", "e.h5").returncode == 0
    assert command("expand", "e.h5", "f.h5", "--symmetry=C2", "--again").returncode == 0


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
