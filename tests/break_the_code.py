"""Break the code in many small ways, and see that each time a test turns red.

    python tests/break_the_code.py map map.json
    python tests/break_the_code.py run map.json --breaks=150 --seed=1
    python tests/break_the_code.py run map.json --only=numba_symexp/poses.py:120

``map`` runs the fast loop as plain Python and keeps which tests run which line. ``run`` draws
breaks from all folders of the package: a comparison, sign, number, condition or argument is
changed, or a statement removed. Each is made in a copy of the checkout, where the tests that run
the line are run: in turns the cheapest of every file, and those that run what few others run. A
break that no test notices asks for a test, or shows code that is not needed.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import coverage
from breaks import CHECKOUT, draw

MOST_BYTES = 8 << 30
"""Of memory or of one file: a break may ask for any amount."""


# Which tests run a line


@contextlib.contextmanager
def copy_of_the_checkout(compiled=False):
    """Give a copy, and what runs pytest in it, as plain Python or compiled."""
    with tempfile.TemporaryDirectory(prefix="breaks-") as folder:
        copy = Path(folder, "copy")
        shutil.copytree(CHECKOUT, copy, ignore=shutil.ignore_patterns(".*", "*.h5", "__pycache__"))
        subprocess.run([sys.executable, "-m", "compileall", "-q", copy], check=True)
        os.mkdir(f"{folder}/tmp")
        env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        env |= {"TMPDIR": f"{folder}/tmp", "COVERAGE_FILE": f"{folder}/coverage"}
        env |= {"NUMBA_DISABLE_JIT": "1"}
        if compiled:  # with any setting of Numba, kernels are not run without it
            del env["NUMBA_DISABLE_JIT"]

        def run(*words, seconds=None):
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no"]
            process = subprocess.Popen(
                [*command, *words],
                cwd=copy,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                preexec_fn=bounded,
            )
            try:
                return process.communicate(timeout=seconds)[0], process.returncode
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

        yield copy, run


def bounded():
    """Bound what a process may take."""
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE):
        resource.setrlimit(kind, (MOST_BYTES, resource.getrlimit(kind)[1]))


def digest(path):
    return hashlib.sha256((CHECKOUT / path).read_bytes()).hexdigest()


def make_map(out, processes):
    """Run the fast loop, and keep for every line the tests that ran it and passed."""
    with copy_of_the_checkout() as (copy, run):
        words = ("-m", "not slow or plain", "--cov", "--cov-context=test", "--cov-report=")
        shown, _ = run(*words, "-n", str(processes), "-rp", "-vv", "--durations=0")
        passed = sorted(re.findall(r"^PASSED (.*)$", shown, re.MULTILINE))
        seconds = dict.fromkeys(passed, 0.0)
        for taken, test in re.findall(r"^([\d.]+)s (?:call|setup) +(.*)$", shown, re.MULTILINE):
            if test in seconds:
                seconds[test] += float(taken)
        numbers = {test: number for number, test in enumerate(passed)}
        data = coverage.CoverageData(str(copy.parent / "coverage"))
        data.read()
        files = {}
        for measured in data.measured_files():
            lines = {
                line: sorted({numbers.get(each.rpartition("|")[0], -1) for each in contexts} - {-1})
                for line, contexts in data.contexts_by_lineno(measured).items()
            }
            path = str(Path(measured).relative_to(copy))
            files[path] = {"digest": digest(path), "lines": lines}
    Path(out).write_text(json.dumps({"tests": seconds, "files": files}))
    print(f"{len(passed)} tests run lines of {len(files)} files")
    return int(not files)


class Map:
    """Which tests run which line, as ``make_map`` found it."""

    def __init__(self, path):
        data = json.loads(Path(path).read_text())
        self.seconds, self.files = data["tests"], data["files"]
        self.tests = list(self.seconds)

    def running(self, path, lines):
        """Give the numbers of the tests that run one of the lines."""
        by_line = self.files[path]["lines"] if path in self.files else {}
        return {test for line in lines for test in by_line.get(str(line), ())}

    def naming(self, name):
        """Give those that run a line with that name: a function may run once and keep its value."""
        tests, word = set(), re.compile(rf"\b{name}\b")
        for path in self.files:
            text = (CHECKOUT / path).read_text().splitlines()
            tests |= self.running(path, (n for n, line in enumerate(text, 1) if word.search(line)))
        return tests

    def in_turn(self, numbers):
        """Order tests: the cheapest of every file, then the next ones."""
        files, turns = defaultdict(itertools.count), []
        for seconds, test in sorted((self.seconds[self.tests[n]], self.tests[n]) for n in numbers):
            turns.append((next(files[test.partition("::")[0]]), seconds, test))
        return [test for *_, test in sorted(turns)]

    def aimed(self, path, numbers):
        """Order tests: first those that run what few others run of a source."""
        count = {}
        for tests in self.files[path]["lines"].values() if path in self.files else ():
            count.update((test, min(count.get(test, len(tests)), len(tests))) for test in tests)
        named = ((count.get(n, math.inf), self.seconds[self.tests[n]], n) for n in numbers)
        return [self.tests[number] for *_, number in sorted(named)]

    def tests_of(self, made):
        """Give the tests to run for a break, and whether one of them runs its line."""
        if made.path in self.files and self.files[made.path]["digest"] != digest(made.path):
            sys.exit(f"{made.path}: has changed since the map was made: make it again")
        own = self.running(made.path, made.lines)
        around = self.naming(made.name) if made.name else set()
        order = itertools.chain.from_iterable(
            pair
            for some in (own, around - own)
            for pair in zip(self.in_turn(some), self.aimed(made.path, some), strict=True)
        )
        return list(dict.fromkeys(order)), bool(own) or not made.is_called


# The campaign


def outcome(made, copy, run, tests, seconds):
    """Make a break in the copy, run tests there, and say what came of it.

    Tests take ``seconds``, one by one; a break may make one of them run for ever.
    """
    longest = ("-o", f"faulthandler_timeout={60 + 4 * max(seconds)}")
    longest += ("-o", "faulthandler_exit_on_timeout=true")
    source = (CHECKOUT / made.path).read_bytes()
    (copy / made.path).write_bytes(source[: made.start] + made.new.encode() + source[made.end :])
    began = time.monotonic()
    try:
        shown, code = run("-x", "-rfE", *longest, *tests, seconds=60 + 4 * sum(seconds))
    except subprocess.TimeoutExpired:
        shown, code = "Timeout (", 1
    finally:
        shutil.copy2(CHECKOUT / made.path, copy / made.path)
    if code == 0:
        return f"SURVIVED {len(tests)} tests"
    red = re.findall(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", shown, re.MULTILINE)
    red = ["timed out"] if "Timeout (" in shown and not red else red or shown.splitlines() or ["?"]
    return f"killed: {red[-1]} ({time.monotonic() - began:.0f} s)"


def campaign(given):
    """Make the breaks one by one; gives 1 when one survived."""
    known, counts = Map(given.map), defaultdict(Counter)
    with copy_of_the_checkout(given.compiled) as (copy, run):
        for number, made in enumerate(draw(given.only, given.breaks, given.seed)):
            if number < given.skip:
                continue
            tests, is_run = (given.tests, True) if given.tests else known.tests_of(made)
            tests = tests[: given.most_tests]
            seconds = [known.seconds.get(test, 60) for test in tests]
            came = outcome(made, copy, run, tests, seconds) if tests else "SURVIVED 0 tests"
            came += "" if is_run else ", none of which runs it"
            print(f"{number}: {made}: {came}", flush=True)
            counts[os.path.dirname(made.path)][came[:8]] += 1
    for folder, count in sorted(counts.items()):
        print(f"{folder:32} {count.total():4} breaks, {count['SURVIVED']:4} survived")
    return int(any(count["SURVIVED"] for count in counts.values()))


def run_program(words=None):
    """Do what the words ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("verb", choices=("map", "run"))
    parser.add_argument("map", help="file of the map")
    parser.add_argument("--breaks", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="how many breaks were made before")
    parser.add_argument("--only", help="a folder or file, or all breaks of one line: PATH:LINE")
    parser.add_argument("--most_tests", type=int, default=60, help="how many tests for each break")
    parser.add_argument("--tests", nargs="+", help="these tests instead of those of the map")
    parser.add_argument("--compiled", action="store_true", help="not as plain Python")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="of the map's run")
    given = parser.parse_args(words)
    return make_map(given.map, given.processes) if given.verb == "map" else campaign(given)


if __name__ == "__main__":
    sys.exit(run_program())
