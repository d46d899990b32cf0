"""Break the code in many small ways, and see that each time a test turns red.

    python tests/break_the_code.py map map.json
    python tests/break_the_code.py run map.json --breaks=150 --seed=1
    python tests/break_the_code.py run map.json --only=numba_symexp/poses.py:120

``map`` runs the fast loop as plain Python and keeps which tests run which line. ``run`` draws
breaks from all folders of the package: a comparison, sign, number, condition or argument is
changed, or a statement removed. Each is made in a copy of the checkout, where the tests that run
the line are run, the cheapest of every file first. A break that no test notices asks for a test, or
shows code that is not needed.
"""

import argparse
import ast
import contextlib
import hashlib
import itertools
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import coverage

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = "numba_symexp"
LEAST_ROOM = 9
"""Slices up to a greater number give room: that there is a bound matters, not which."""
SHORT_FILE = 60
"""Files of no more lines are broken when all others are."""
MOST_BYTES = 8 << 30
"""Of memory or of one file: a break may ask for any amount."""
OPERATORS = "Lt LtE Gt GtE Eq NotEq In NotIn Is IsNot And Or Add Sub Mult Div FloorDiv Mod"
FUNCTIONS = "min max any all cos sin floor ceil argmin argmax minimum maximum"
"""Pairs: each stands in the place of the other."""
UNORDERED = ("min", "max", "minimum", "maximum", "array_equal", "gcd", "hypot")
"""Functions whose arguments may be swapped."""
LEFT_ALONE = ("kill", "killpg", "rmtree")
"""Functions that would harm other processes and files when called with other arguments."""
RETURNED = {
    r"bool": lambda value: ast.UnaryOp(ast.Not(), value),
    r"int|float": lambda value: ast.BinOp(value, ast.Add(), ast.Constant(1)),
    r"str": lambda value: ast.Constant(""),
    r"list.*": lambda value: ast.List([], ast.Load()),
    r"dict.*": lambda value: ast.Dict([], []),
    r"Array": lambda value: ast.Subscript(value, ast.Slice(step=ast.Constant(-1)), ast.Load()),
    r".*\| None": lambda value: ast.Constant(None),
}
"""What is returned instead, by the type that a function says it returns."""


@dataclass(frozen=True)
class Break:
    """One change of a source: bytes that are replaced, and what is around them."""

    path: str
    lines: range
    kind: str
    start: int
    end: int
    old: str
    new: str
    name: str
    """Of the function around it, or that it helps to define."""
    is_called: bool
    """Whether it is in a function: other lines are run by an import, not by a test."""

    def __str__(self):
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.path}:{self.lines[0]} [{self.kind}] {old} -> {new}"


# What can be broken


def parts(node, name, is_called):
    """Give the parts of a node that may be broken, each with the name around it."""
    match node:
        case ast.FunctionDef() if node.name != "__repr__":
            name = name if node.name.startswith("__") else node.name
            defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            yield from ((each, name, is_called) for each in defaults)
            yield from ((each, name, True) for each in node.body)
        case ast.FunctionDef() | ast.Raise() | ast.JoinedStr() | ast.Assign([ast.Name("__all__")]):
            pass  # messages, and names that others import
        case ast.Call(ast.Name(called) | ast.Attribute(attr=called)) if called in LEFT_ALONE:
            pass
        case ast.If(ast.Name("TYPE_CHECKING") | ast.Compare(ast.Name("__name__"))):
            pass
        case ast.ClassDef():
            yield from ((each, node.name, is_called) for each in node.body)
        case ast.Lambda():
            yield node.body, name, True
        case ast.Slice(None, ast.Constant(int(most)), None) if most > LEAST_ROOM:
            pass
        case ast.Assign([ast.Name(own)]) | ast.AnnAssign(ast.Name(own)) if not is_called:
            yield node.value, own, is_called
        case ast.AnnAssign():
            yield node.value, name, is_called
        case _:
            yield from ((each, name, is_called) for each in ast.iter_child_nodes(node))


def walk(node, name="", is_called=False):
    """Give a node and all its parts that may be broken."""
    yield node, name, is_called
    for part, *around in parts(node, name, is_called):
        yield from walk(part, *around) if part else ()


def changed(node, **fields):
    """Copy a node with other values of some fields."""
    return type(node)(**{**dict(ast.iter_fields(node)), **fields})


def other(name):
    """Give what stands in the place of an operator or function; None where nothing does."""
    names = (OPERATORS if isinstance(name, ast.AST) else FUNCTIONS).split()
    asked = type(name).__name__ if isinstance(name, ast.AST) else name
    if asked not in names:
        return None
    found = names[names.index(asked) ^ 1]
    return getattr(ast, found)() if isinstance(name, ast.AST) else found


def off(value):
    """Give another number: bounds, which are powers of ten, by far; others by little."""
    if isinstance(value, int):
        return not value if isinstance(value, bool) else 0 if value == 1 else value + 1
    is_bound = value not in (0, 1) and math.log10(abs(value)).is_integer()
    return value * 1000 if is_bound else value * 1.01 or 1.0


def variants(node):
    """Give the kind, the replaced node and the new node of every break of one node."""
    match node:
        case ast.Compare(ops=ops):
            for at, op in enumerate(ops):
                new = changed(node, ops=[*ops[:at], other(op), *ops[at + 1 :]])
                yield "comparison", node, new
        case ast.BinOp(ast.JoinedStr()) | ast.BinOp(right=ast.JoinedStr()):
            pass
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if other(op):
            yield "operator", node, changed(node, op=other(op))
        case ast.BoolOp(op):
            yield "and/or", node, changed(node, op=other(op))
        case ast.UnaryOp(ast.Not(), operand):
            yield "not", node, operand
        case ast.UnaryOp(ast.USub(), operand) if not isinstance(operand, ast.Constant):
            yield "sign", node, operand
        case ast.Constant(int() | float()):
            yield "constant", node, ast.Constant(off(node.value))
        case ast.Subscript(slice=ast.Name(name) as place, ctx=ast.Load()) if len(name) == 1:
            yield "index", place, ast.BinOp(place, ast.Sub(), ast.Constant(1))
        case ast.Slice(upper=ast.Constant(int(most)) as end) if most > LEAST_ROOM:
            yield "bound", end, ast.Constant(None)
        case ast.Slice(ast.expr() as end) | ast.Slice(upper=ast.expr() as end):
            yield "index", end, ast.BinOp(end, ast.Sub(), ast.Constant(1))
        case ast.Call(ast.Name(name) as func) if other(name):
            yield "function", func, ast.Name(other(name))
        case ast.Call(ast.Attribute(attr=name) as func) if other(name):
            yield "function", func, changed(func, attr=other(name))
        case ast.Call(ast.Name(name) | ast.Attribute(attr=name), [one, two, *rest]):
            if type(one) is type(two) is not ast.Starred and name not in UNORDERED:
                yield "arguments", node, changed(node, args=[two, one, *rest])
        case ast.If(test) | ast.IfExp(test):
            yield from (("condition", test, ast.Constant(value)) for value in (True, False))
        case ast.While(test):
            yield "condition", test, ast.Constant(False)
        case ast.comprehension(ifs=tests):
            yield from (("condition", test, ast.Constant(True)) for test in tests)
        case ast.Return(ast.Tuple(elements)) if len(elements) > 1:
            yield "return", node.value, ast.Tuple(elements[::-1], ast.Load())
        case ast.Return(ast.expr() as value) if not isinstance(value, ast.Constant):
            for hint, make in RETURNED.items():
                if re.fullmatch(hint, node.hint):
                    yield "return", value, make(value)
    match node:
        case ast.Raise(ast.Name("NotImplementedError")):
            pass
        case ast.Raise() | ast.Expr(ast.Call()) | ast.AugAssign() | ast.Continue():
            yield "statement", node, ast.Pass()
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield "statement", node, ast.Pass()


def breaks_of(path):
    """List all breaks of a source."""
    source = (CHECKOUT / path).read_bytes()
    starts = [0, *itertools.accumulate(map(len, source.splitlines(keepends=True)))]
    tree, found = ast.parse(source), []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            node.hint = ast.unparse(function.returns) if function.returns else ""
    for node, name, is_called in walk(tree):
        for kind, old, new in variants(node):
            start = starts[old.lineno - 1] + old.col_offset
            end = starts[old.end_lineno - 1] + old.end_col_offset
            text = f"({ast.unparse(new)})" if isinstance(new, ast.expr) else ast.unparse(new)
            lines, was = range(old.lineno, old.end_lineno + 1), source[start:end].decode()
            if ast.unparse(old) != ast.unparse(new):
                found.append(Break(path, lines, kind, start, end, was, text, name, is_called))
    return found


def draw(only, count, seed):
    """Draw breaks from all folders by their lines, and from all files of each in turn."""
    wanted, _, line = (only or PACKAGE).partition(":")
    paths = [str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / PACKAGE).rglob("*.py")]
    found = {path: breaks_of(path) for path in paths if path.startswith(wanted)}
    if line:
        return [each for each in found[wanted] if each.lines[0] == int(line)]
    lines = {path: len((CHECKOUT / path).read_text().splitlines()) for path in found}
    order = {path: random.Random(f"{seed} {path}").random() for path in found}
    folders = {os.path.dirname(path): Counter() for path in found}
    for path in filter(found.get, found):
        folders[os.path.dirname(path)][path] = lines[path]
    drawn, taken = [], Counter()
    while len(drawn) < count and any(found.values()):
        folder = max(folders, key=lambda f: (not taken[f], folders[f].total() / (taken[f] + 1)))
        path = min(folders[folder], key=lambda f: (taken[f], lines[f] <= SHORT_FILE, order[f]))
        chance = random.Random(f"{seed} {path} {taken[path]}")
        kind = chance.choice(sorted({each.kind for each in found[path]}))
        drawn.append(chance.choice([each for each in found[path] if each.kind == kind]))
        found[path] = [each for each in found[path] if each.lines[0] != drawn[-1].lines[0]]
        taken.update((folder, path))
        if not found[path]:
            del folders[folder][path]
        folders = {name: files for name, files in folders.items() if files}
    return drawn


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
        env |= {"NUMBA_DISABLE_JIT": str(int(not compiled))}

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

    def tests_of(self, made):
        """Give the tests to run for a break, and whether one of them runs its line."""
        if made.path in self.files and self.files[made.path]["digest"] != digest(made.path):
            sys.exit(f"{made.path}: has changed since the map was made: make it again")
        own = self.running(made.path, made.lines)
        around = self.naming(made.name) if made.name else set()
        return self.in_turn(own) + self.in_turn(around - own), bool(own) or not made.is_called


# The campaign


def outcome(made, copy, run, tests, seconds):
    """Make a break in the copy, run tests there, and say what came of it."""
    source = (CHECKOUT / made.path).read_bytes()
    (copy / made.path).write_bytes(source[: made.start] + made.new.encode() + source[made.end :])
    began = time.monotonic()
    try:
        shown, code = run("-x", "-rfE", *tests, seconds=seconds)
    except subprocess.TimeoutExpired:
        return f"killed: timed out ({seconds:.0f} s)"
    finally:
        shutil.copy2(CHECKOUT / made.path, copy / made.path)
    if code == 0:
        return f"SURVIVED {len(tests)} tests"
    red = re.findall(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", shown, re.MULTILINE)
    return f"killed: {(red or shown.splitlines() or ['?'])[-1]} ({time.monotonic() - began:.0f} s)"


def campaign(given):
    """Make the breaks one by one; gives 1 when one survived."""
    known, counts = Map(given.map), defaultdict(Counter)
    with copy_of_the_checkout(given.compiled) as (copy, run):
        for number, made in enumerate(draw(given.only, given.breaks, given.seed)):
            if number < given.skip:
                continue
            tests, is_run = (given.tests, True) if given.tests else known.tests_of(made)
            tests = tests[: given.most_tests]
            seconds = 60 + 4 * sum(known.seconds.get(test, 60) for test in tests)
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
