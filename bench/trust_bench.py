"""Verify and collapse: whole processes over an icosahedral expansion."""

import os
import statistics

from interop_bench import Conversion, read_whole
from pipeline_bench import million
from processes import finish, peak_bytes, program
from rows import Bar, Row
from sources import table
from timing import interleaved, stopwatch

_FULL = 1_000_000
_MB = 1e6


def trust_rows(folder: str, particles: int, runs: int) -> list[Row]:
    """Seconds and peak memory of verify and collapse, against reading the bytes."""
    source = table(folder, particles)
    expanded = Conversion("expand", source, os.path.join(folder, "trust.h5"), "--symmetry=I")
    collapse = Conversion("collapse", expanded.output, os.path.join(folder, "collapsed.h5"))
    verify = program("verify", expanded.output, "--quiet")
    taken = interleaved(
        {
            "verify": lambda: finish(verify).seconds,
            "collapse": collapse.seconds,
            "read": lambda: stopwatch(lambda: read_whole(expanded.output)),
        },
        runs,
        watch=False,
        warm=True,
    )
    bar = Bar(30, "60M rows: <= 30 s", applies=particles >= _FULL)
    rows = [
        Row(
            f"{million(particles)}: {name}",
            taken[name],
            against="reading the bytes",
            peers=taken["read"],
            bar=bar if name == "verify" else None,
            value=statistics.median(taken[name]),
        )
        for name in ("verify", "collapse")
    ]
    peak = Row(f"{million(particles)}: verify, peak memory", [peak_bytes(verify) / _MB], unit="MB")
    collapse.remove()
    expanded.remove()
    return [*rows, peak]
