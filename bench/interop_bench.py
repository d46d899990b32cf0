"""Import and export of RELION's .star and CryoSPARC's .cs: whole processes, fsync included."""

import os
import statistics
import sys

from disk import plain_write, settle
from peers_bench import relion_case, time_a_row
from processes import finish, peak_bytes, program
from rows import Bar, Row
from sources import cs, wide_star
from timing import Measure, interleaved, stopwatch

_ORDER = 6
_SYMMETRY = f"C{_ORDER}"
_MILLION = 1_000_000
_MB = 1e6
_STEPS = ("import", "expand", "export")
_READERS = {
    "pandas": "pandas.read_csv(path, sep=r'\\s+', header=None, skiprows=head, dtype=str, "
    "na_filter=False, engine='c')",
    "starfile": "starfile.read(path)['particles']",
}
"""Modules, and how each reads the particles of a .star."""
_READ = """
import sys, time
import {module}
path, head = sys.argv[1], int(sys.argv[2])
started = time.perf_counter()
table = {call}
print(time.perf_counter() - started, len(table))
"""


class Conversion:
    """One command of the program, run again and again; its output stays until the next run.

    Parameters
    ----------
    verb, source, output : str
        What is done, with which file, and the file that it makes.
    flags : str
        Further words of the command.

    Attributes
    ----------
    output : str
    bytes : int
        Size of the output.
    """

    def __init__(self, verb: str, source: str, output: str, *flags: str) -> None:
        self._command = program(verb, source, output, "--quiet", *flags)
        self.output = output
        finish(self._command)
        self.bytes = os.path.getsize(output)

    def seconds(self) -> float:
        """Seconds of the program, from its start to its end."""
        self._prepare()
        return finish(self._command).seconds

    def plain_write(self) -> float:
        """Seconds of a plain write of as many bytes, brought to disk."""
        settle(os.path.dirname(self.output), self.bytes)
        return plain_write(f"{self.output}.plain", self.bytes, sync=True)

    def peak_row(self, what: str, bar: Bar) -> Row:
        """Row of the program's peak memory."""
        self._prepare()
        return Row(f"{what}: peak memory", [peak_bytes(self._command) / _MB], unit="MB", bar=bar)

    def remove(self) -> None:
        """Remove the output, and what was written beside it."""
        stem = os.path.splitext(self.output)[0]
        for path in (self.output, f"{stem}.csg"):
            if os.path.exists(path):
                os.unlink(path)

    def _prepare(self) -> None:
        self.remove()
        settle(os.path.dirname(self.output), self.bytes)


class Chain:
    """A file of another program imported, expanded, and exported as what it was.

    Parameters
    ----------
    source : str
    particles : int
        In the source.

    Attributes
    ----------
    imported, expanded, exported : Conversion
    rows : int
        Of the expansion.
    """

    def __init__(self, source: str, particles: int) -> None:
        stem, suffix = os.path.splitext(source)
        self.particles, self.rows = particles, particles * _ORDER
        self.imported = Conversion("import", source, f"{stem}_imported.h5")
        self.expanded = Conversion(
            "expand", self.imported.output, f"{stem}_expanded.h5", f"--symmetry={_SYMMETRY}"
        )
        self.exported = Conversion("export", self.expanded.output, f"{stem}_expanded{suffix}")
        self.import_text = f"{_million(particles)} from {suffix}"
        self.export_text = f"{_million(self.rows)} to {suffix}"

    @property
    def cases(self) -> dict[str, Measure]:
        """What is measured of it."""
        return {
            "import": self.imported.seconds,
            "expand": self.expanded.seconds,
            "export": self.exported.seconds,
            "plain export": self.exported.plain_write,
        }

    def bar(self, bound: float, text: str, rows: int, at_least: bool = False) -> Bar:
        """Bar for a full size of so many rows."""
        full = self.particles >= _MILLION
        return Bar(bound, f"{_million(rows)}: {text}", at_least, applies=full)

    def peak_rows(self) -> list[Row]:
        """Rows of peak memory; the outputs are removed then."""
        imported = self.imported.peak_row(self.import_text, self.bar(1000, "< 1 GB", _MILLION))
        exported = self.exported.peak_row(
            self.export_text, self.bar(1000, "< 1 GB", _ORDER * _MILLION)
        )
        for each in (self.imported, self.expanded, self.exported):
            each.remove()
        return [imported, exported]


def star_rows(
    folder: str, python: str | None, particles: int, relion_particles: int, runs: int
) -> list[Row]:
    """A .star of 14 columns there and back, against its bytes, other readers and RELION."""
    source = wide_star(folder, particles)
    chain = Chain(source, particles)
    readers = _readers(python or sys.executable, source, particles)
    relion_source = wide_star(folder, relion_particles)
    relion = relion_case(relion_source, relion_particles, _SYMMETRY, _ORDER)
    cases = {**chain.cases, "read": lambda: stopwatch(lambda: read_whole(source))}
    taken = interleaved({**cases, **readers, **relion}, runs, watch=False, warm=True)
    return [
        *_import_rows(chain, taken, list(readers)),
        _export_row(chain, taken, chain.bar(60, "<= 60 s", _ORDER * _MILLION)),
        *_rows_against_relion(chain, taken, relion_particles * _ORDER),
        *chain.peak_rows(),
    ]


def cs_rows(folder: str, particles: int, runs: int) -> list[Row]:
    """A .cs of 359 bytes a row there and back, against plain writes."""
    chain = Chain(cs(folder, particles), particles)
    cases = {**chain.cases, "plain import": chain.imported.plain_write}
    del cases["expand"]
    taken = interleaved(cases, runs, watch=False, warm=True)
    imported = Row(
        chain.import_text,
        taken["import"],
        against="os.write + fsync",
        peers=taken["plain import"],
    )
    return [imported, _export_row(chain, taken), *chain.peak_rows()]


def _import_rows(chain: Chain, taken: dict[str, list[float]], readers: list[str]) -> list[Row]:
    """Rows of the import of a .star, against the bytes and against readers that only read."""
    first = Row(
        chain.import_text,
        taken["import"],
        against="reading the bytes",
        peers=taken["read"],
        bar=chain.bar(4, "<= 4 s", _MILLION),
        value=statistics.median(taken["import"]),
    )
    others = [
        Row(chain.import_text, taken["import"], against=name, peers=taken[name], faster=True)
        for name in readers
    ]
    return [first, *others]


def _export_row(chain: Chain, taken: dict[str, list[float]], bar: Bar | None = None) -> Row:
    """Row of an export, whose bar is about its seconds, against a plain write."""
    return Row(
        chain.export_text,
        taken["export"],
        against="os.write + fsync",
        peers=taken["plain export"],
        bar=bar,
        value=statistics.median(taken["export"]),
    )


def _rows_against_relion(chain: Chain, taken: dict[str, list[float]], written: int) -> list[Row]:
    """Rows of time a row: the export alone, and all that RELION's tool does (without fsync)."""
    bar = chain.bar(1, ">= 1 x", _ORDER * _MILLION, at_least=True)
    whole = [sum(parts) for parts in zip(*(taken[step] for step in _STEPS), strict=True)]
    return [
        time_a_row(text, {**taken, "ours": seconds}, chain.rows, written, bar)
        for text, seconds in (
            (chain.export_text, taken["export"]),
            (f"{chain.export_text}, with import and expansion", whole),
        )
    ]


def _readers(python: str, path: str, particles: int) -> dict[str, Measure]:
    """Other readers of a .star, where they are installed; their start does not count."""
    with open(path, encoding="ascii") as file:
        head = next(number for number, line in enumerate(file) if "@" in line)

    def read(module: str) -> float:
        script = _READ.format(module=module, call=_READERS[module])
        seconds, rows = finish([python, "-c", script, path, str(head)]).output.split()[-2:]
        if int(rows) != particles:
            raise RuntimeError(f"{module} read {rows} rows of {particles}")
        return float(seconds)

    return {
        f"{_READERS[module].partition('(')[0]} alone": lambda module=module: read(module)
        for module in _READERS
        if _has(python, module)
    }


def _has(python: str, module: str) -> bool:
    """Whether an interpreter has a module."""
    try:
        finish([python, "-c", f"import {module}"])
    except (OSError, RuntimeError):
        return False
    return True


def read_whole(path: str) -> int:
    """Read all bytes of a file into fresh memory; return their number."""
    with open(path, "rb") as file:
        return len(file.read())


def _million(rows: int) -> str:
    """Rows, for a table."""
    return f"{rows / 1e6:.3g}M rows"
