"""Other programs that do the same, where they are installed."""

import os
import shutil
import sys
from collections.abc import Mapping

import numpy as np
from pipeline_bench import I_ORDER, million
from processes import finish, program
from rows import Bar, Row
from sources import star, table
from timing import Measure, interleaved

from numba_symexp import point_group

RELION = "relion_particle_symmetry_expand"
_SCIPY_THAT_BROADCASTS = (1, 17)
_HERE = os.path.dirname(os.path.abspath(__file__))


_LEAST_WORDS = 3
"""Lines that are no rows of particles have fewer."""


def relion_case(source: str, particles: int, symmetry: str, order: int) -> dict[str, Measure]:
    """What measures RELION's tool on a .star, by its name; nothing where it is not installed.

    It does not bring its output to disk.
    """
    if shutil.which(RELION) is None:
        return {}
    expanded = f"{source}.relion.star"
    command = [RELION, "--i", source, "--o", expanded, "--sym", symmetry]

    def seconds() -> float:
        taken = finish(command).seconds
        os.unlink(expanded)
        return taken

    finish(command)
    with open(expanded, encoding="ascii") as file:
        particles_alone = file.read().partition("data_particles")[2].splitlines()
    written = sum(len(line.split()) > _LEAST_WORDS for line in particles_alone)
    if written != particles * order:
        raise RuntimeError(f"{RELION} wrote {written} rows of {particles * order}")
    return {RELION: seconds}


def time_a_row(
    what: str,
    taken: Mapping[str, list[float]],
    rows: int,
    relion_rows: int,
    bar: Bar | None,
) -> Row:
    """Row of the time that a row takes: of what is called ``ours``, and with RELION's tool."""
    what, against = f"{what}: time a row", f"RELION, {relion_rows / 1e6:.3g}M rows"
    if RELION not in taken:
        return Row(what, against=against, bar=bar, note="absent")
    ours, theirs = ([t / n for t in taken[k]] for k, n in (("ours", rows), (RELION, relion_rows)))
    return Row(what, ours, against=against, peers=theirs, faster=True, bar=bar)


def relion_rows(folder: str, particles: int, relion_particles: int, runs: int) -> list[Row]:
    """Rows a second of whole processes, against RELION's tool (which does not fsync)."""
    output = os.path.join(folder, "peer.h5")
    ours = program(
        "expand", table(folder, particles), output, "--symmetry=I", "--quiet", "--overwrite"
    )
    theirs = relion_case(star(folder, relion_particles), relion_particles, "I", I_ORDER)
    cases = {"ours": lambda: finish(ours).seconds, **theirs}
    taken = interleaved(cases, runs, watch=False)
    os.unlink(output)
    what, bar = f"{million(particles)}, whole process", Bar(20, ">= 20 x", at_least=True)
    return [time_a_row(what, taken, particles * I_ORDER, relion_particles * I_ORDER, bar)]


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
