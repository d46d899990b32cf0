"""Peak memory of whole processes."""

import os
from collections.abc import Sequence

from pipeline_bench import million
from processes import peak_bytes, program
from rows import Bar, Row
from sources import table

_MB = 1e6


def memory_rows(folder: str, sizes: Sequence[int]) -> list[Row]:
    """Peak resident memory of icosahedral expansions, by number of particles."""
    output = os.path.join(folder, "memory.h5")
    rows: list[Row] = []
    for particles in sizes:
        source = table(folder, particles)
        peak = peak_bytes(program("expand", source, output, "--symmetry=I", "--quiet"))
        os.unlink(output)
        bar = Bar(300, "<= 300 MB")
        rows.append(Row(f"{million(particles)}: peak memory", [peak / _MB], unit="MB", bar=bar))
    return rows
