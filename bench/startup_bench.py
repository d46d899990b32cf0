"""Start-up: what a run costs before there are many rows."""

import os
import shutil
import sys

from processes import finish, program
from rows import Bar, Row
from sources import table
from timing import Measure, interleaved

_PARTICLES = 1000


def startup_rows(folder: str, runs: int, first_runs: int) -> list[Row]:
    """Small runs, help, and the first run ever, which compiles the kernels."""
    output = os.path.join(folder, "small.h5")
    cache = os.path.join(folder, "first_cache")
    small = program(
        "expand", table(folder, _PARTICLES), output, "--symmetry=I", "--quiet", "--overwrite"
    )
    imports = [sys.executable, "-c", "import numpy, h5py, numba"]

    def first_run() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return finish(small, NUMBA_CACHE_DIR=cache).seconds

    def seconds(command: list[str]) -> Measure:
        return lambda: finish(command).seconds

    taken = interleaved(
        {
            "small": seconds(small),
            "help": seconds(program("--help")),
            "python": seconds([sys.executable, "-c", "pass"]),
            "imports": seconds(imports),
        },
        runs,
    )
    first = [first_run() for _ in range(first_runs)]
    os.unlink(output)
    return [
        Row(
            f"{_PARTICLES:,} particles, I, whole process",
            taken["small"],
            against="import numpy, h5py, numba",
            peers=taken["imports"],
            bar=Bar(1.5, "best <= 1.5 s (aim 0.6 s)"),
            value=min(taken["small"]),
        ),
        Row(
            "--help",
            taken["help"],
            against="python -c pass",
            peers=taken["python"],
            bar=Bar(0.3, "best <= 0.3 s"),
            value=min(taken["help"]),
        ),
        Row(
            "first run ever, kernels compiled",
            first,
            bar=Bar(8, "best <= 8 s"),
            value=min(first),
        ),
    ]
