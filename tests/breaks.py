"""Small changes of the package's sources, each of which some test should notice.

A break is one place of one source: a comparison, sign, number, condition or argument that is
another, or a statement that is gone. Messages, annotations and names that others import are left
alone. `break_the_code.py` makes breaks and runs tests.
"""

import ast
import itertools
import math
import os
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = "numba_symexp"
LEAST_ROOM = 9
"""Slices up to a greater number give room: that there is a bound matters, not which."""
SHORT_FILE = 60
"""Files of no more lines are broken when all others are."""
OPERATORS = "Lt LtE Gt GtE Eq NotEq In NotIn Is IsNot And Or Add Sub Mult Div FloorDiv Mod"
FUNCTIONS = "min max any all cos sin floor ceil argmin argmax minimum maximum"
"""Pairs: each stands in the place of the other."""
UNORDERED = ("probe", "min", "max", "minimum", "maximum", "array_equal", "gcd", "hypot")
"""Functions whose arguments may be swapped."""
LEFT_ALONE = ("kill", "killpg", "rmtree")
"""Functions that would harm other processes and files when called with other arguments."""
WITHOUT_EFFECT = (
    "others=False)",  # digests that nobody asks for
    "farthest = ",  # of a closure: which products come first
    "order = -1 if here < there",  # they are not equal there
    "if found.uids is not None else 0",  # ids of a table without ids
)
"""Parts of lines that are left alone: nothing but speed depends on them, or nothing at all."""
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


def is_left_alone(node):
    """Whether nothing in a node is broken: what no test can or should notice."""
    match node:
        case ast.FunctionDef("__repr__") | ast.Assign([ast.Name("__all__")]):
            return True
        case ast.If(ast.Name("TYPE_CHECKING") | ast.Compare(ast.Name("__name__"))):
            return True
        case ast.Raise(ast.Name("NotImplementedError")) | ast.JoinedStr():
            return True
        case ast.Call(ast.Name(called) | ast.Attribute(attr=called)):
            return called in LEFT_ALONE
    return False


def parts(node, name, is_called):
    """Give the parts of a node that may be broken, each with the name around it."""
    match node:
        case ast.FunctionDef():
            name = name if node.name.startswith("__") else node.name
            defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            yield from ((each, name, is_called) for each in defaults)
            yield from ((each, name, True) for each in node.body)
        case ast.ClassDef():
            yield from ((each, node.name, is_called) for each in node.body)
        case ast.Lambda():
            yield node.body, name, True
        case ast.Assign([ast.Name(own)]) | ast.AnnAssign(ast.Name(own)) if not is_called:
            yield node.value, own, is_called
        case ast.AnnAssign():
            yield node.value, name, is_called
        case ast.Raise():
            pass  # its message
        case ast.Slice(None, ast.Constant(int(most))) if most > LEAST_ROOM:
            pass
        case _:
            yield from ((each, name, is_called) for each in ast.iter_child_nodes(node))


def walk(node, name="", is_called=False):
    """Give a node and all its parts that may be broken."""
    if node is None or is_left_alone(node):
        return
    yield node, name, is_called
    for part in parts(node, name, is_called):
        yield from walk(*part)


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
        case ast.Raise() | ast.Expr(ast.Call()) | ast.AugAssign() | ast.Continue():
            yield "statement", node, ast.Pass()
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield "statement", node, ast.Pass()


def breaks_of(path):
    """List all breaks of a source."""
    source = (CHECKOUT / path).read_bytes()
    text = source.splitlines(keepends=True)
    starts = [0, *itertools.accumulate(map(len, text))]
    tree, found = ast.parse(source), []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            node.hint = ast.unparse(function.returns) if function.returns else ""
    for node, name, is_called in walk(tree):
        for kind, old, new in variants(node):
            start = starts[old.lineno - 1] + old.col_offset
            end = starts[old.end_lineno - 1] + old.end_col_offset
            put = f"({ast.unparse(new)})" if isinstance(new, ast.expr) else ast.unparse(new)
            lines, was = range(old.lineno, old.end_lineno + 1), source[start:end].decode()
            is_known = any(each in text[old.lineno - 1].decode() for each in WITHOUT_EFFECT)
            if ast.unparse(old) != ast.unparse(new) and not is_known:
                found.append(Break(path, lines, kind, start, end, was, put, name, is_called))
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
