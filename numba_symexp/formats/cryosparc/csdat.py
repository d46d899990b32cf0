"""CryoSPARC's CSDAT stream, turned into NumPy's rows in a process of its own.

A damaged stream can take the process that reads it down, and one of good size its memory.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from typing import IO

from numba_symexp import interrupts
from numba_symexp.children import safe_environment
from numba_symexp.errors import SourceError, install

PATIENCE_S = 600.0
_WAIT_S = 0.01

_LEAST_BYTES = 2 << 30
_BYTES_PER_BYTE = 20
"""Memory that reading may take, by the size of the file."""

_CONVERT = """
import os, resource, sys, threading

def leave_with_the_parent():
    os.read(0, 1)
    os._exit(1)

threading.Thread(target=leave_with_the_parent, daemon=True).start()
for limit, most in zip((resource.RLIMIT_AS, resource.RLIMIT_CPU), map(int, sys.argv[2:])):
    hard = resource.getrlimit(limit)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(limit, (most, hard))
rows = os.dup(1)
os.dup2(2, 1)
from cryosparc.dataset import NUMPY_FORMAT, Dataset
with open(rows, "wb") as file:
    Dataset.load(sys.argv[1]).save(file, format=NUMPY_FORMAT)
"""
"""Standard input ends when the parent is gone, standard output is the file of rows."""

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Threads reserve memory, on a large machine more than the limit."""


def as_numpy(path: str) -> IO[bytes]:
    """Turn a stream into a NumPy file, which has no name and is gone when it is closed.

    Raises
    ------
    SourceError
        cryosparc-tools is missing, or the stream is damaged, or takes too long or too much memory.
    """
    missing = SourceError(
        f"{path}: a CSDAT file needs cryosparc-tools: {install('cryosparc')}, or save it as NumPy "
        "with Dataset.save"
    )
    if importlib.util.find_spec("cryosparc") is None:
        raise missing
    rows = tempfile.TemporaryFile(prefix="numba_symexp-")  # noqa: SIM115 - the caller closes it
    try:
        most = max(_LEAST_BYTES, _BYTES_PER_BYTE * os.path.getsize(path))
        code, reason = _converted(path, rows, most)
        if reason.startswith("ModuleNotFoundError"):
            raise missing
        if code and "MemoryError" in reason:
            raise SourceError(
                f"{path}: cannot be read in {most:,} bytes of memory: it is damaged; copy it "
                "again, or save it as NumPy with Dataset.save"
            )
        if code:
            raise SourceError(
                f"{path}: cannot be read ({reason[:120]}): it is cut short or damaged; copy it "
                "again"
            )
    except BaseException:
        rows.close()
        raise
    return rows


def _converted(path: str, rows: IO[bytes], most_bytes: int) -> tuple[int, str]:
    """Run the process to its end; gives its exit code, and the last line that it wrote.

    Raises
    ------
    SourceError
        It takes too long.
    """
    limits = [str(most_bytes), str(int(PATIENCE_S) + 1)]
    with tempfile.TemporaryFile(prefix="numba_symexp-") as shown:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _CONVERT, os.path.abspath(path), *limits],
            stdin=subprocess.PIPE,
            stdout=rows,
            stderr=shown,
            env={**os.environ, **safe_environment(), **_ONE_THREAD},
        )
        deadline = time.monotonic() + PATIENCE_S
        try:
            while child.poll() is None:
                if time.monotonic() > deadline:
                    raise SourceError(
                        f"{path}: cryosparc-tools has not read it in {PATIENCE_S:g} s: it is "
                        "damaged, or its file system hangs; copy it again"
                    )
                interrupts.check()
                time.sleep(_WAIT_S)
        finally:
            child.kill()  # does nothing to a process that has ended
            child.wait()
            if child.stdin is not None:
                child.stdin.close()
        shown.seek(0)
        lines = shown.read().decode("utf-8", "replace").strip().splitlines()
    code = child.returncode
    return code, lines[-1] if lines and code > 0 else "its reader came down" if code else ""
