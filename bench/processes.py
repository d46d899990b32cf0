"""Run programs: how long they took, and the most memory that they held."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

_PEAK = """
import os, sys
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""The peak of a process counts what its parent held when it started it: this parent is small."""
_BYTES_PER_RSS = 1 if sys.platform == "darwin" else 1024


class Finished(NamedTuple):
    """A program that has ended well: its seconds, from start to end, and what it printed."""

    seconds: float
    output: str


def finish(command: Sequence[str], **variables: str) -> Finished:
    """Run a command with some more environment variables; RuntimeError unless it ends well."""
    started = time.perf_counter()
    ended = subprocess.run(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if ended.returncode:
        text = f"{' '.join(command)} ended with {ended.returncode}: {ended.stdout[-500:]}"
        raise RuntimeError(text)
    return Finished(seconds, ended.stdout)


def peak_bytes(command: Sequence[str]) -> int:
    """Most memory that a command, which prints nothing, holds at a time."""
    output = finish([sys.executable, "-S", "-c", _PEAK, *command]).output
    return int(output.split()[-1]) * _BYTES_PER_RSS


def program(*words: str) -> list[str]:
    """Command line of the package's program."""
    return [sys.executable, "-m", "numba_symexp", *words]
