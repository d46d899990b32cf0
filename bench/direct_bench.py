"""Expansion by one command, .star to .star and .cs to .cs: whole processes, fsync included."""

import os
import shutil

from interop_bench import Conversion
from peers_bench import relion_case, time_a_row
from pipeline_bench import I_ORDER, million
from rows import Bar, Row
from sources import cs, wide_star
from timing import interleaved

_FULL = 100_000
_SMALL, _SMALL_ORDER = 9_053, 6
_REAL_DATA = os.path.join(os.path.dirname(__file__), "..", "..", "shared", "data")
_REAL_FILE = os.path.join("cryocat", "R5_tutorial_run_data.star")
"""A refinement of as many subtomograms, for those who have it."""

_MEMORY = Bar(300, "<= 300 MB")


def direct_rows(folder: str, particles: int, relion_particles: int, runs: int) -> list[Row]:
    """Large files against plain writes of their bytes and RELION's tool; and a small one."""
    return [
        *_star_rows(folder, particles, relion_particles, runs),
        *_cs_rows(folder, particles, runs),
        *_small_rows(folder, runs),
    ]


def _star_rows(folder: str, particles: int, relion_particles: int, runs: int) -> list[Row]:
    """A .star of 14 columns by the icosahedral group."""
    made = _expansion(wide_star(folder, particles), "I")
    relion = relion_case(wide_star(folder, relion_particles), relion_particles, "I", I_ORDER)
    cases = {"ours": made.seconds, "write": made.plain_write, **relion}
    taken = interleaved(cases, runs, watch=False, warm=True)
    what, full = f"{million(particles)}, .star to .star", particles >= _FULL
    speed = Bar(8, ">= 8 x (aim 12 x)", at_least=True, applies=full)
    rows = [
        _against_write(what, taken, Bar(3, "<= 3 x (aim 2.5 x)", applies=full)),
        time_a_row(what, taken, particles * I_ORDER, relion_particles * I_ORDER, speed),
        made.peak_row(what, _MEMORY),
    ]
    made.remove()
    return rows


def _cs_rows(folder: str, particles: int, runs: int) -> list[Row]:
    """A .cs of 359 bytes a row by the icosahedral group."""
    made = _expansion(cs(folder, particles), "I")
    cases = {"ours": made.seconds, "write": made.plain_write}
    taken = interleaved(cases, runs, watch=False, warm=True)
    what, full = f"{million(particles)}, .cs to .cs", particles >= _FULL
    rows = [
        _against_write(what, taken, Bar(2.5, "<= 2.5 x (aim 1.5 x)", applies=full)),
        made.peak_row(what, _MEMORY),
    ]
    made.remove()
    return rows


def _small_rows(folder: str, runs: int) -> list[Row]:
    """Small .star files, where starting is most of the work: a made one, and a real one."""
    bar = Bar(0.8, ">= 0.8 x (aim 1 x)", at_least=True)
    rows = [_small_row(wide_star(folder, _SMALL), "", runs, None)]
    real = os.path.join(os.environ.get("NUMBA_SYMEXP_REAL_DATA", _REAL_DATA), _REAL_FILE)
    if os.path.exists(real):
        rows.append(_small_row(shutil.copy(real, folder), " of a real file", runs, bar))
    return rows


def _small_row(source: str, of_what: str, runs: int, bar: Bar | None) -> Row:
    """A small .star, against RELION's tool."""
    symmetry, rows = f"C{_SMALL_ORDER}", _SMALL * _SMALL_ORDER
    made = _expansion(source, symmetry)
    relion = relion_case(source, _SMALL, symmetry, _SMALL_ORDER)
    taken = interleaved({"ours": made.seconds, **relion}, runs, watch=False, warm=True)
    made.remove()
    return time_a_row(f"{rows:,} rows{of_what}, .star to .star", taken, rows, rows, bar)


def _expansion(source: str, symmetry: str) -> Conversion:
    """The command, which writes what it reads."""
    stem, suffix = os.path.splitext(source)
    return Conversion("expand", source, f"{stem}_direct{suffix}", f"--symmetry={symmetry}")


def _against_write(what: str, taken: dict[str, list[float]], bar: Bar) -> Row:
    """Row of a run against a plain write of its bytes."""
    return Row(what, taken["ours"], against="os.write + fsync", peers=taken["write"], bar=bar)
