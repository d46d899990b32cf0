"""Processes that are started here: they import nothing of the current folder, and end in time."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import compiled_only, random_columns, write_table
from inside import Cluster, connected, csdat, safe_environment, safe_spawning
from test_cs import needs_cryosparc_tools, save, some, structured

import numba_symexp

pytestmark = [pytest.mark.slow, pytest.mark.plain]

POSE, SHIFT = "alignments3D/pose", "alignments3D/shift"
PLANTED = ("numpy", "h5py", "cryosparc", "pickle", "struct", "distributed", "multiprocessing")
CSDAT = b"\x95CSDAT\r\n\x1a\n12345678901234567890"
LONGEST_S = 30
EXPAND = ("expand", "in.h5", "out.h5", "--symmetry=C2", "--quiet")
SLOW = """
import os, time
open({mark!r}, "w").write(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path, rng):
    """A folder of planted modules, which would leave a file, beside it the program as a script."""
    folder = tmp_path / "here"
    (folder / "cryosparc").mkdir(parents=True)
    for name in PLANTED:
        place = f"{name}/__init__.py" if name == "cryosparc" else f"{name}.py"
        (folder / place).write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    write_table(folder / "in.h5", random_columns(rng, 40))
    (folder / "x.cs").write_bytes(CSDAT)
    (tmp_path / "script.py").write_text(
        "from numba_symexp.cli.main import program\nif __name__ == '__main__':\n    program()\n"
    )
    return folder


@pytest.fixture(params=["module", "script"])
def run(request, folder):
    """Run the program, which itself is started apart from the folder."""
    package = os.path.dirname(os.path.abspath(numba_symexp.__file__))
    start = ["-P", "-m", "numba_symexp"] if request.param == "module" else ["../script.py"]

    def run(*words, **environment):
        variables = {**os.environ, "PYTHONPATH": os.path.dirname(package), **environment}
        return subprocess.run(
            [sys.executable, *start, *words],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@needs_cryosparc_tools
def test_a_stream_beside_planted_modules(run, folder):
    done = run("inspect", "x.cs")
    assert done.returncode == 1
    assert "it is cut short or damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder.parent / "ran").exists()


@compiled_only  # interpreted and with coverage, its processes take ten seconds
def test_local_workers_beside_planted_modules(run, folder):
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    done = run(*EXPAND, "--dask=local", "--workers=2")
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "out.h5").exists()
    assert not (folder.parent / "ran").exists()


def imported_by_spawned(tmp_path, monkeypatch):
    """Start a process by multiprocessing in a folder of planted modules."""
    import multiprocessing

    folder = tmp_path / "planted"
    folder.mkdir()
    for name in ("planted_here", "pickle", "struct"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a')\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", str(folder), *sys.path])
    with safe_spawning(), multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(importlib.util.find_spec, ("planted_here",))


def test_a_spawned_process_does_not_look_here(tmp_path, monkeypatch):
    before = dict(os.environ)
    assert imported_by_spawned(tmp_path, monkeypatch) is None
    assert not (tmp_path / "ran").exists()
    assert dict(os.environ) == before
    assert sys.path[0] == ""


def test_the_folder_stays_where_somebody_asked_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    with safe_spawning():
        assert sys.path[0] == str(tmp_path)
        assert os.environ["PYTHONSAFEPATH"] == "1"
    assert os.environ["PYTHONSAFEPATH"] == ""
    monkeypatch.setenv("PYTHONPATH", "")
    with safe_spawning():
        assert str(tmp_path) not in sys.path
    for file, spec in ((tmp_path / "own.py", None), (tmp_path / "a" / "b.py", "a.b")):
        monkeypatch.setattr(sys.modules["__main__"], "__file__", str(file), raising=False)
        found = None if spec is None else importlib.util.spec_from_loader(spec, None)
        monkeypatch.setattr(sys.modules["__main__"], "__spec__", found)
        with safe_spawning():
            assert sys.path[0] == str(tmp_path)


def test_empty_parts_of_the_path_are_left_out(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":/a::b:")
    assert safe_environment() == {"PYTHONSAFEPATH": "1", "PYTHONPATH": "/a:b"}
    monkeypatch.delenv("PYTHONPATH")
    assert safe_environment() == {"PYTHONSAFEPATH": "1"}


def test_local_workers_take_nothing_from_others(folder, monkeypatch):
    distributed = pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    with connected(Cluster("local", 1)) as client:
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        workers = list(client.nthreads())
        assert all(worker.startswith("tls://127.0.0.1:") for worker in workers)
        plain = address.replace("tls://", "tcp://")
        with pytest.raises(OSError):
            distributed.Client(plain, timeout=1, set_as_default=False)
        strange = distributed.security.Security.temporary()
        with pytest.raises(OSError):
            distributed.Client(address, timeout=1, set_as_default=False, security=strange)
        assert client.submit(os.getenv, "PYTHONSAFEPATH").result(timeout=60) == "1"
        client.restart()
        assert client.submit(os.getenv, "PYTHONSAFEPATH").result(timeout=60) == "1"
    assert "PYTHONSAFEPATH" not in os.environ


def test_cryptography_is_not_installed(folder, command, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setitem(sys.modules, "cryptography", None)
    source = str(folder / "in.h5")
    done = command("expand", source, "out.h5", "--symmetry=C2", "--dask=local")
    assert done.returncode == 1
    told = f"install it with {sys.executable} -m pip install 'numba_symexp[dask]'"
    assert done.stderr == f"error: --dask=local needs cryptography: {told}\n"


# The process that reads CSDAT


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A cryosparc-tools that stands still; gives the file that then holds its process's number."""
    mark = tmp_path / "mark"
    tools = tmp_path / "tools" / "cryosparc"
    tools.mkdir(parents=True)
    (tools / "__init__.py").write_text("")
    (tools / "dataset.py").write_text(SLOW.format(mark=str(mark)))
    package = os.path.dirname(os.path.dirname(os.path.abspath(numba_symexp.__file__)))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'tools'}:{package}")
    monkeypatch.syspath_prepend(str(tmp_path / "tools"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "space"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "space").mkdir()
    (tmp_path / "x.cs").write_bytes(CSDAT)
    return mark


def assert_gone(mark):
    """The process that wrote its number there ends soon."""
    deadline = time.monotonic() + LONGEST_S
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        while " Z " not in Path(f"/proc/{mark.read_text()}/stat").read_text():
            assert time.monotonic() < deadline, "the process lives on"
            time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_with_the_program(number, slow, tmp_path):
    program = subprocess.Popen(
        [sys.executable, "-m", "numba_symexp", "inspect", "x.cs"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + LONGEST_S
    try:
        while not (slow.exists() and slow.read_text()):
            assert time.monotonic() < deadline
            assert program.poll() is None, program.stderr.read()
            time.sleep(0.02)
        program.send_signal(number)
        program.communicate(timeout=LONGEST_S)
    finally:
        program.kill()  # does nothing to a process that has ended
    codes = {signal.SIGTERM: 143, signal.SIGINT: 130}
    assert program.returncode == codes.get(number, -number)
    assert_gone(slow)
    assert os.listdir(tmp_path / "space") == []


def test_the_process_is_bounded_in_time(slow, tmp_path, command, monkeypatch):
    monkeypatch.setattr(csdat, "PATIENCE_S", 1.5)
    done = command("inspect", "x.cs")
    assert done.returncode == 1
    assert "cryosparc-tools has not read it in 1.5 s" in done.stderr
    assert done.stderr.count("\n") == 1
    assert_gone(slow)
    assert os.listdir(tmp_path / "space") == []


def test_the_process_is_bounded_in_memory(slow, tmp_path, command):
    (tmp_path / "tools" / "cryosparc" / "dataset.py").write_text("bytearray(3 << 30)\n")
    done = command("inspect", "x.cs")
    assert done.returncode == 1
    assert "cannot be read in 2,147,483,648 bytes of memory" in done.stderr
    assert done.stderr.count("\n") == 1


def test_tools_that_only_the_program_finds(slow, tmp_path, command, monkeypatch):
    (tmp_path / "tools" / "cryosparc" / "dataset.py").write_text("import not_there\n")
    assert "-m pip install 'numba_symexp[cryosparc]'" in command("inspect", "x.cs").stderr


@needs_cryosparc_tools
def test_a_table_leaves_no_file_behind(tmp_path, rng, monkeypatch, go):
    from cryosparc.dataset import CSDAT_FORMAT, Dataset

    save(tmp_path / "p.cs", some(structured(random_columns(rng, 30)), "uid", POSE, SHIFT))
    Dataset.load(tmp_path / "p.cs").save(tmp_path / "c.cs", format=CSDAT_FORMAT)
    (tmp_path / "space").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "space"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with csdat.as_numpy(str(tmp_path / "c.cs")) as file:
        assert os.listdir(tmp_path / "space") == []
        file.seek(0)
        assert len(np.load(file)) == 30
    go("expand", "c.cs", "o.h5", "--symmetry=C2", "--psize=1")
    assert os.listdir(tmp_path / "space") == []
