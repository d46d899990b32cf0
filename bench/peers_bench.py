"""Other programs that do the same, where they are installed."""

import os
import shutil
import sys

import numpy as np
from pipeline_bench import I_ORDER, million
from processes import finish, program
from rows import Bar, Row
from sources import star, table
from timing import interleaved

from numba_symexp import point_group

RELION = "relion_particle_symmetry_expand"
_SCIPY_THAT_BROADCASTS = (1, 17)
_HERE = os.path.dirname(os.path.abspath(__file__))


def relion_rows(folder: str, particles: int, relion_particles: int, runs: int) -> list[Row]:
    """Rows a second of whole processes, against RELION's tool (which does not fsync)."""
    what, against = f"{million(particles)}, whole process: time a row", f"RELION's {RELION}"
    bar = Bar(20, ">= 20 x", at_least=True)
    if shutil.which(RELION) is None:
        return [Row(what, against=against, bar=bar, note="absent")]
    output, expanded = os.path.join(folder, "peer.h5"), os.path.join(folder, "peer.star")
    ours = program(
        "expand", table(folder, particles), output, "--symmetry=I", "--quiet", "--overwrite"
    )
    theirs = [RELION, "--i", star(folder, relion_particles), "--o", expanded, "--sym", "I"]
    taken = interleaved(
        {"ours": lambda: finish(ours).seconds, "relion": lambda: finish(theirs).seconds},
        runs,
        watch=False,
    )
    with open(expanded, encoding="ascii") as file:
        written = sum(line.count("@") for line in file)
    os.unlink(output)
    os.unlink(expanded)
    if written != relion_particles * I_ORDER:
        raise RuntimeError(f"{RELION} wrote {written} rows of {relion_particles * I_ORDER}")
    return [
        Row(
            what,
            [t / (particles * I_ORDER) for t in taken["ours"]],
            against=f"RELION, {million(relion_particles)}",
            peers=[t / written for t in taken["relion"]],
            faster=True,
            bar=bar,
        )
    ]


def scipy_rows(folder: str, python: str | None, particles: int, runs: int) -> list[Row]:
    """Whole processes, against the poses alone with SciPy's Rotation, in memory."""
    what, against = f"{million(particles)}, whole process: time a row", "SciPy, poses only"
    python = python or sys.executable
    version = _scipy_version(python)
    if version < _SCIPY_THAT_BROADCASTS:
        found = (
            f"absent: SciPy {version[0]}.{version[1]} does not broadcast" if version else "absent"
        )
        return [Row(what, against=against, note=found)]
    source, output = table(folder, particles), os.path.join(folder, "peer.h5")
    operators = os.path.join(folder, "operators.npy")
    np.save(operators, point_group("I").quaternion)
    theirs = [python, os.path.join(_HERE, "scipy_baseline.py"), source, operators]
    ours = program("expand", source, output, "--symmetry=I", "--quiet", "--overwrite")
    taken = interleaved(
        {
            "ours": lambda: finish(ours).seconds,
            "scipy": lambda: float(finish(theirs).output.split()[-1]),
        },
        runs,
        watch=False,
    )
    os.unlink(output)
    rows = particles * I_ORDER
    return [
        Row(
            what,
            [t / rows for t in taken["ours"]],
            against=against,
            peers=[t / rows for t in taken["scipy"]],
            faster=True,
        )
    ]


def _scipy_version(python: str) -> tuple[int, ...]:
    """Version of an interpreter's SciPy, (1, 17); empty where there is none."""
    try:
        text = finish([python, "-c", "import scipy; print(scipy.__version__)"]).output
    except (OSError, RuntimeError):
        return ()
    return tuple(int(part) for part in text.split(".")[:2])
