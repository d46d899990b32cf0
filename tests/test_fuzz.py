"""A small part of the campaign of `fuzz`, always the same; and the campaign sees what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FUZZ = Path(__file__).parent / "fuzz.py"
KINDS = ("sources", "expanded", "worlds", "tomograms", "returned", "beside")


def untraced():
    """Environment without coverage, which makes forked processes many times slower."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE_", "COV_CORE_"))}


def fuzz(*words):
    """Run the campaign in a process of its own, from which it can fork."""
    return subprocess.run(
        [sys.executable, FUZZ, *words],
        env=untraced(),
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


def test_damaged_files_end_in_one_line_or_an_output():
    """All kinds in one campaign: its base, whole files of every kind, costs more than the cases."""
    counts = zip(KINDS, (15, 4, 4, 12, 6, 15), strict=True)
    done = fuzz(*(f"--{kind}={count}" for kind, count in counts), "--seed=1")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert ", 0 that broke a promise" in done.stdout


BROKEN_VERBS = """
import os, signal, sys, tempfile, time
from pathlib import Path
import fuzz

def act(what):
    def words(file, flags):
        what(file)
        return 0
    return words

def complain(file):
    print("oh", file=sys.stderr)

def fail(file):
    raise KeyError(file)

def spin(file):
    while True:
        pass

fuzz.MOST_CPU_SECONDS = 1
fuzz.MOST_WALL_SECONDS = 30 if sys.argv[1] == "spin" else 1
verbs = {
    "fine": act(lambda file: None),
    "litter": act(lambda file: open("litter", "x").close()),
    "change": act(lambda file: os.unlink(file)),
    "mutter": act(complain),
    "fail": act(fail),
    sys.argv[1]: act({
        "crash": lambda file: os.kill(os.getpid(), signal.SIGSEGV),
        "hang": lambda file: time.sleep(60),
        "spin": spin,
    }[sys.argv[1]]),
}
with tempfile.TemporaryDirectory() as base:
    fuzz.make_sources(Path(base))
    for run in fuzz.run_case(fuzz.Case("source", 0, 1), Path(base), verbs=verbs):
        print(run.verb, *run.faults, sep="|")
"""


@pytest.mark.parametrize(
    ("end", "seen"), [("crash", "crash"), ("hang", "hang"), ("spin", "hang (of computing)")]
)
def test_the_campaign_sees_what_is_wrong(end, seen):
    done = subprocess.run(
        [sys.executable, "-c", BROKEN_VERBS, end],
        env={**untraced(), "PYTHONPATH": str(FUZZ.parent)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    fine, litter, change, mutter, fail, last = done.stdout.splitlines()
    assert fine == "fine"
    assert litter == "litter|files ['litter']"
    assert "an input was changed" in change
    assert "odd lines on standard error" in mutter
    assert "traceback" in fail
    assert last.startswith(f"{end}|{seen}")
