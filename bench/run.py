"""Measure the package and print tables: ``python bench/run.py``.

Every ratio is the median over the rounds (A B, B A, A B ...) of one interleaved run, page cache and
output on one file system; the first round does not count. Times themselves change from machine to
machine and hour to hour: trust the ratios.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from rows import Row, markdown

TABLES = {
    "kernels": "Kernels, one thread unless said",
    "startup": "Start-up",
    "pipeline": "Pipeline",
    "scaling": "Scaling",
    "formats": "Formats, calls without fsync",
    "memory": "Memory",
    "peers": "Peers",
    "direct": "One command in the user's own format",
    "interop": "Import and export",
    "trust": "Verify and collapse",
    "subunits": "Match, arrange, mapcheck and centers",
    "dask": "Dask",
}
_PACKAGES = ("numba_symexp", "numpy", "numba", "llvmlite", "h5py")


@dataclass(frozen=True)
class Sizes:
    """Numbers of particles (60 rows each) and of runs.

    Attributes
    ----------
    whole : int
        Whole processes and calls against plain writes and NumPy.
    small, grown : int
        The two sizes for the cost in N.
    formats : int
        Float64, pose formats, threads, SciPy, and ours against RELION.
    relion : int
        RELION's own; its time a row does not depend on it.
    interop, interop_relion : int
        Import, export of 6 rows each, verify and collapse of 60 each; RELION's own.
    map_side : int
        Voxels along a side of the map that is checked.
    memory : tuple of int
    runs, first_runs : int
        Rounds that count; first runs ever.
    """

    whole: int = 400_000
    small: int = 50_000
    grown: int = 200_000
    formats: int = 100_000
    relion: int = 2_000
    interop: int = 50_000
    interop_relion: int = 10_000
    map_side: int = 128
    memory: tuple[int, ...] = (100_000, 400_000, 1_000_000)
    runs: int = 5
    first_runs: int = 2

    def scaled(self, scale: float) -> "Sizes":
        """The same with more or fewer particles."""

        def times(number: int) -> int:
            return max(1, round(number * scale))

        memory = tuple(times(number) for number in self.memory)
        numbers = (
            *(self.whole, self.small, self.grown, self.formats, self.relion),
            *(self.interop, self.interop_relion),
        )
        return Sizes(*map(times, numbers), self.map_side, memory, self.runs, self.first_runs)


FULL = Sizes(
    whole=1_000_000,
    small=1_000_000,
    grown=4_000_000,
    relion=100_000,
    interop=1_000_000,
    interop_relion=100_000,
    map_side=256,
    memory=(100_000, 1_000_000, 4_000_000),
    first_runs=5,
)


def main() -> None:
    """Run the suite as the command line says."""
    options = _options()
    sizes = (FULL if options.full else Sizes()).scaled(options.scale)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="symexp-bench-", dir=options.folder) as folder:
        os.environ["NUMBA_CACHE_DIR"] = os.path.join(folder, "cache")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the program does
        machine = _machine()
        print(", ".join(f"{name} {value}" for name, value in machine.items()), end="\n\n")
        tables: dict[str, list[Row]] = {}
        for name in options.only or TABLES:
            title = TABLES[name]
            tables[name] = _measures(folder, sizes, options)[name]()
            print(f"**{title}**\n\n{markdown(tables[name])}\n", flush=True)
    seconds = time.perf_counter() - started
    print(f"{seconds:.0f} s in all.")
    if options.json:
        _write_json(options.json, machine, sizes, tables, seconds)


def _measures(
    folder: str, sizes: Sizes, options: argparse.Namespace
) -> dict[str, Callable[[], list[Row]]]:
    """What measures the rows of each table; loaded after Numba's cache has its place."""
    from dask_bench import dask_rows
    from direct_bench import direct_rows
    from interop_bench import cs_rows, star_rows
    from kernels_bench import kernel_rows
    from memory_bench import memory_rows
    from peers_bench import relion_rows, scipy_rows
    from pipeline_bench import call_rows, format_rows, growth_rows, process_rows, thread_rows
    from startup_bench import startup_rows
    from subunits_bench import subunit_rows
    from trust_bench import trust_rows

    runs = sizes.runs
    return {
        "kernels": lambda: kernel_rows(runs),
        "startup": lambda: startup_rows(folder, runs, sizes.first_runs),
        "pipeline": lambda: (
            process_rows(folder, sizes.whole, runs) + call_rows(folder, sizes.whole, runs)
        ),
        "scaling": lambda: (
            growth_rows(folder, sizes.small, sizes.grown, runs)
            + thread_rows(folder, sizes.formats, runs)
        ),
        "formats": lambda: format_rows(folder, sizes.formats, runs),
        "memory": lambda: memory_rows(folder, sizes.memory),
        "peers": lambda: (
            relion_rows(folder, sizes.formats, sizes.relion, runs)
            + scipy_rows(folder, options.scipy, sizes.formats, runs)
        ),
        "direct": lambda: direct_rows(folder, sizes.formats, sizes.interop_relion, runs),
        "interop": lambda: (
            star_rows(folder, options.pandas, sizes.interop, sizes.interop_relion, runs)
            + cs_rows(folder, sizes.interop, runs)
        ),
        "trust": lambda: trust_rows(folder, sizes.interop, runs),
        "subunits": lambda: subunit_rows(folder, sizes.formats, sizes.map_side, runs),
        "dask": lambda: dask_rows(folder, sizes.whole, runs),
    }


def _only(text: str) -> list[str]:
    """Names of tables, from the command line."""
    names = text.split(",")
    if set(names) - TABLES.keys():
        raise argparse.ArgumentTypeError(f"choose from {','.join(TABLES)}")
    return names


def _options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure numba_symexp. At scale 1: up to 24M rows (60M for memory), 1 GB of "
        "output at a time, some minutes. With --full: 60M and 240M rows, 10 GB, much longer."
    )
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies all table sizes")
    parser.add_argument("--full", action="store_true", help="the sizes that the bars are for")
    parser.add_argument("--only", type=_only, metavar="TABLES", help=f"some of {','.join(TABLES)}")
    parser.add_argument("--json", metavar="FILE", help="write all samples as JSON")
    parser.add_argument(
        "--folder",
        default=tempfile.gettempdir(),
        help="where tables are written, and removed in the end; choose a real disk (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--scipy",
        metavar="PYTHON",
        help="interpreter that has SciPy, if this one has not: SciPy slows Numba's start",
    )
    parser.add_argument(
        "--pandas",
        metavar="PYTHON",
        help="interpreter that has pandas, starfile or both, if this one has not",
    )
    options = parser.parse_args()
    if options.scale <= 0:
        parser.error("--scale must be above 0")
    return options


def _machine() -> dict[str, str]:
    """What the numbers were measured with."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = "unknown"
    return {
        "processors": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **packages,
    }


def _processor() -> str:
    """Name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def _write_json(
    path: str, machine: dict[str, str], sizes: Sizes, tables: dict[str, list[Row]], seconds: float
) -> None:
    """Write everything that was measured."""
    result: dict[str, Any] = {
        "machine": machine,
        "sizes": vars(sizes),
        "seconds": seconds,
        "tables": {name: [_record(row) for row in rows] for name, rows in tables.items()},
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


def _record(row: Row) -> dict[str, Any]:
    """A row with its samples and their median and spread."""
    record = row.record()
    if row.samples:
        record["median"] = statistics.median(row.samples)
        record["least"], record["most"] = min(row.samples), max(row.samples)
    return record


if __name__ == "__main__":
    sys.exit(main())
