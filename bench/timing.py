"""Fair timing on a machine with neighbors: interleaved rounds, medians, undisturbed rounds."""

import os
import statistics
import time
from collections.abc import Callable, Mapping

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_DISTURBED_SHARE = 0.1
"""Share of one processor that other programs may use in a round that counts."""
_TICK_NOISE_S = 0.03

Measure = Callable[[], float]
"""Runs something once and returns what it took, in seconds; what it prepares does not count."""


def stopwatch(action: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def interleaved(
    cases: Mapping[str, Measure], runs: int, watch: bool = True, warm: bool = False
) -> dict[str, list[float]]:
    """Measure cases in turn (A B C, C B A, A B C ...), after a first round that does not count.

    Parameters
    ----------
    cases : mapping of str to Measure
        By name.
    runs : int
        Number of rounds that count.
    watch : bool
        Repeat rounds in which other programs used the processors, at most as many as ``runs``;
        the least disturbed ones count. Which round counts never depends on what it measured.
        Not for cases that wait for the disk: the kernel's own threads would count as others.
    warm : bool
        The cases are warm already: every round counts.

    Returns
    -------
    dict of str to list of float
        Seconds of each run, by name; the k-th ones belong to the same round.
    """
    for measure in () if warm else cases.values():
        measure()
    rounds: list[tuple[float, dict[str, float]]] = []
    quiet = 0
    while quiet < runs and len(rounds) < (2 * runs if watch else runs):
        started, elsewhere = time.perf_counter(), _seconds_elsewhere()
        turn = list(cases)[:: -1 if len(rounds) % 2 else 1]
        taken = {name: cases[name]() for name in turn}
        spent = _seconds_elsewhere() - elsewhere if watch else 0.0
        share = max(0.0, spent - _TICK_NOISE_S) / (time.perf_counter() - started)
        rounds.append((max(share, _DISTURBED_SHARE), taken))
        quiet += share <= _DISTURBED_SHARE
    counted = sorted(rounds, key=lambda item: item[0])[:runs]
    return {name: [taken[name] for _, taken in counted] for name in cases}


def repeated(action: Callable[[], object], least_s: float = 0.02) -> Measure:
    """Measure of one call of something short, from as many calls as ``least_s`` holds."""
    action()
    calls = max(1, round(least_s / max(stopwatch(action), 1e-9)))

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(calls):
            action()
        return (time.perf_counter() - started) / calls

    return measure


def ratio_of(samples: list[float], peers: list[float]) -> float:
    """Median of the ratios of runs that belong to the same round."""
    return statistics.median(a / b for a, b in zip(samples, peers, strict=True))


def _seconds_elsewhere() -> float:
    """Processor seconds used so far by everything but this process and its children."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, irq, softirq = map(int, file.readline().split()[1:8])
    except (OSError, ValueError):
        return 0.0
    own = sum(os.times()[:4])
    return (user + nice + system + irq + softirq) / _TICKS_PER_S - own
