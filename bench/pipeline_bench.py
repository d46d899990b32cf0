"""The pipeline: whole processes and calls, against plain writes of the same bytes and NumPy."""

import functools
import os
import sys
import time

from disk import no_fsync, plain_write, settle
from processes import finish, program
from rows import Bar, Row
from sources import table
from timing import Measure, interleaved

from numba_symexp import expand

I_ORDER = 60
_FEW = 1000
_MILLION = 1_000_000
_HERE = os.path.dirname(os.path.abspath(__file__))
_USUAL = "float32 rotation vectors"
_FORMATS = (
    ("f8", "rotvec", "float64 rotation vectors"),
    ("f4", "quaternion", "float32 quaternions"),
    ("f4", "matrix", "float32 matrices"),
    ("f4", "euler_zyz", "float32 Euler angles"),
)


class Place:
    """A folder in which runs are timed; nothing stays in it but the sources.

    Parameters
    ----------
    folder : str
    source : str
        Particle table.
    pose_format : str
        What its poses are.
    """

    def __init__(self, folder: str, source: str, pose_format: str = "rotvec") -> None:
        self._source = source
        self._options = {"symmetry": "I", "pose_format": pose_format}
        self._folder = folder
        self._output = os.path.join(folder, "expanded.h5")
        self._bytes = expand(source, self._output, dry_run=True, **self._options).bytes

    def process(self) -> float:
        """Seconds of the program, from its start to its end."""
        flags = [f"--{name}={value}" for name, value in self._options.items()]
        return self._settled(program("expand", self._source, self._output, "--quiet", *flags))

    def numpy(self) -> float:
        """Seconds of the NumPy script, from its start to its end."""
        script = os.path.join(_HERE, "numpy_baseline.py")
        return self._settled([sys.executable, script, self._source, self._output, "I"])

    def synced_call(self) -> float:
        """Seconds of a call of `expand` in this process."""
        settle(self._folder, self._bytes)
        return self._call()

    def call(self, threads: int | None = None) -> float:
        """Seconds of a call of `expand` in this process whose fsyncs do nothing."""
        settle(self._folder, self._bytes)
        with no_fsync():
            return self._call(threads)

    def plain_write(self, sync: bool = False) -> float:
        """Seconds of a plain write of as many bytes as the expansion has."""
        settle(self._folder, self._bytes)
        return plain_write(os.path.join(self._folder, "plain.bin"), self._bytes, sync)

    def synced_plain_write(self) -> float:
        """The same, brought to disk."""
        return self.plain_write(sync=True)

    def _settled(self, command: list[str]) -> float:
        settle(self._folder, self._bytes)
        seconds = finish(command).seconds
        os.unlink(self._output)
        return seconds

    def _call(self, threads: int | None = None) -> float:
        started = time.perf_counter()
        expand(self._source, self._output, threads=threads, **self._options)
        seconds = time.perf_counter() - started
        os.unlink(self._output)
        return seconds


def million(particles: int) -> str:
    """Rows of an icosahedral expansion, for a table."""
    return f"{particles * I_ORDER / 1e6:.3g}M rows"


def process_rows(folder: str, particles: int, runs: int) -> list[Row]:
    """Whole processes, fsync included, against a plain write and against NumPy."""
    Place(folder, table(folder, _FEW)).process()
    place = Place(folder, table(folder, particles))
    cases = {"ours": place.process, "plain": place.synced_plain_write, "numpy": place.numpy}
    taken = interleaved(cases, runs, watch=False, warm=True)
    what = f"{million(particles)}, whole process, fsynced"
    return [
        Row(
            what,
            taken["ours"],
            against="os.write + fsync",
            peers=taken["plain"],
            bar=Bar(1.8, "60M rows: <= 1.8 x (aim 1.3 x)", applies=particles >= _MILLION),
        ),
        Row(
            what,
            taken["ours"],
            against="pure NumPy script",
            peers=taken["numpy"],
            faster=True,
            bar=Bar(3, "60M rows: >= 3 x", at_least=True, applies=particles >= _MILLION),
        ),
    ]


def call_rows(folder: str, particles: int, runs: int) -> list[Row]:
    """Calls in a warm process without fsync, against a plain write without fsync."""
    place = Place(folder, table(folder, particles))
    taken = interleaved({"ours": place.call, "plain": place.plain_write}, runs)
    return [
        Row(
            f"{million(particles)}, call, no fsync",
            taken["ours"],
            against="os.write",
            peers=taken["plain"],
            bar=Bar(1.3, "60M rows: <= 1.3 x (aim 1.05 x)", applies=particles >= _MILLION),
        )
    ]


def growth_rows(folder: str, particles: int, grown: int, runs: int) -> list[Row]:
    """Cost in N: calls, fsync included, against plain writes, for two sizes."""
    cases: dict[str, Measure] = {}
    for number in (particles, grown):
        place = Place(folder, table(folder, number))
        cases[f"ours {number}"] = place.synced_call
        cases[f"plain {number}"] = place.synced_plain_write
    taken = interleaved(cases, runs, watch=False)
    few, many = (_ratios(taken[f"ours {n}"], taken[f"plain {n}"]) for n in (particles, grown))
    return [
        Row(
            f"{million(grown)}, call, fsynced: ratio to os.write + fsync",
            many,
            unit="x",
            against=million(particles),
            peers=few,
            bar=Bar(1.2, "240M to 60M: <= 1.2 x", applies=grown >= 4 * _MILLION),
        )
    ]


def format_rows(folder: str, particles: int, runs: int) -> list[Row]:
    """Float64 and the other pose formats, each against a plain write of its own bytes."""
    cases: dict[str, Measure] = {}
    for dtype, pose_format, name in (("f4", "rotvec", _USUAL), *_FORMATS):
        place = Place(folder, table(folder, particles, dtype, pose_format), pose_format)
        cases[name] = place.call
        cases[f"plain {name}"] = place.plain_write
    taken = interleaved(cases, runs)
    usual = _ratios(taken[_USUAL], taken[f"plain {_USUAL}"])
    return [
        Row(
            f"{million(particles)}, {name}: ratio to os.write",
            _ratios(taken[name], taken[f"plain {name}"]),
            unit="x",
            against=_USUAL,
            peers=usual,
            bar=Bar(1.5, "<= 1.5 x"),
        )
        for _, _, name in _FORMATS
    ]


def thread_rows(folder: str, particles: int, runs: int) -> list[Row]:
    """Calls with 1, 2, 4 ... threads, one of which writes."""
    from inside import most_threads

    place, most = Place(folder, table(folder, particles)), most_threads()
    threads = sorted({2**k for k in range(most.bit_length())} | {most})
    cases = {str(n): functools.partial(place.call, n) for n in threads}
    taken = interleaved(cases, runs)
    return [
        Row(
            f"{million(particles)}, call, no fsync, --threads={n}",
            taken[str(n)],
            against="--threads=1",
            peers=taken["1"],
            faster=True,
        )
        for n in threads[1:]
    ]


def _ratios(samples: list[float], peers: list[float]) -> list[float]:
    """Ratios of runs that belong to the same round."""
    return [a / b for a, b in zip(samples, peers, strict=True)]
