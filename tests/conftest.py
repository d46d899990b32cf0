"""Tables to expand, the program as a user runs it, and where the real files are."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numba
import numpy as np
import pytest
from inside import main, probe, stored

HERE = Path(__file__).parent

compiled_only = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="compilation is switched off"
)
"""For tests that are about compiled code, or would take too long without it."""

stored_only = pytest.mark.skipif(
    not stored.is_tried(), reason="stored kernels were not tried with these versions"
)
"""For tests of kernels that run without Numba."""


def pytest_collection_modifyitems(items):
    """Mark every test slow that starts the program as a process: each start costs a second."""
    for item in items:
        if "program" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard():
    """Children inherit which signals are ignored; a run in the background ignores some."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: lambda *_: None}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def random_columns(rng, n, dtype=np.float32):
    """Columns of a table as CryoSPARC names them."""
    return {
        "uid": rng.permutation(np.arange(n, dtype=np.uint64) * 7919 + 10**12),
        "alignments3D/pose": rng.normal(0, 1.5, (n, 3)).astype(dtype),
        "alignments3D/shift": rng.normal(0, 3, (n, 2)).astype(dtype),
        "alignments3D/psize_A": rng.uniform(0.8, 1.4, n).astype(dtype),
        "alignments3D/split": rng.integers(0, 2, n).astype(np.uint32),
        "ctf/df1_A": rng.normal(15000, 2000, n).astype(np.float32),
        "blob/path": np.array([f"stack_{i % 7}.mrc" for i in range(n)], dtype="S12"),
    }


def write_table(path, columns, place="/particles", compound=False, **attributes):
    """Write columns as a group, or as one compound dataset; return the path as text."""
    with h5py.File(path, "w") as file:
        if compound:
            fields = [(name, c.dtype, c.shape[1:]) for name, c in columns.items()]
            rows = np.zeros(len(next(iter(columns.values()))), fields)
            for name, column in columns.items():
                rows[name] = column
            file[place] = rows
        else:
            group = file.require_group(place)
            for name, column in columns.items():
                group[name] = column
        file[place].attrs.update(attributes)
    return str(path)


@pytest.fixture
def columns(rng):
    return random_columns(rng, 50)


@pytest.fixture
def source(tmp_path, columns):
    """A table of 50 particles."""
    return write_table(tmp_path / "source.h5", columns)


@pytest.fixture
def program(tmp_path):
    """Run the program in a folder of its own; gives the finished process."""

    def run(*words, cwd=tmp_path, **environment):
        command = [sys.executable, "-m", "numba_symexp", *map(str, words)]
        return subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def probed():
    """Have `command` look at HDF5 files in a fork first, as `program` does: for damaged files.

    To fork a process as large as this one takes half of the time of a short test.
    """


@pytest.fixture
def command(tmp_path, monkeypatch, capsys, request):
    """Run a command line in this process, in a folder of its own: as `program`, but at once."""
    monkeypatch.chdir(tmp_path)
    if "probed" not in request.fixturenames:
        monkeypatch.setattr(probe, "probe", lambda *paths, sources=True: None)

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        shown = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=shown.out, stderr=shown.err)

    return run


@pytest.fixture
def go(command):
    """Run a command line in this process, which must do it; gives what it printed."""

    def run(*words):
        done = command(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def real_data():
    """The folder of real files, or a skip that says what is missing."""
    named = os.environ.get("NUMBA_SYMEXP_REAL_DATA")
    folder = Path(named) if named else HERE.parent.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real files in {folder}: name their folder with NUMBA_SYMEXP_REAL_DATA")
    return folder
