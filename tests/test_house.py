"""Rules of the sources themselves."""

import ast
import inspect
import re

import inside
import pytest
from conftest import HERE
from inside import COMMANDS, in_flags

PACKAGE = HERE.parent / "numba_symexp"


def test_every_private_name_that_tests_use_is_where_the_table_says():
    for name in [*inside.NAMES, *inside.MODULES]:
        getattr(inside, name)
    assert not inside.NAMES.keys() & inside.MODULES.keys()


def strings(path):
    """Give the texts of a source, docstrings and parts of f-strings too, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


LIBRARY = [path for path in sorted(PACKAGE.rglob("*.py")) if PACKAGE / "cli" not in path.parents]


def test_only_the_command_line_names_flags():
    flag = re.compile(r"(?<![-\w])--([A-Za-z]|$)")
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text.strip()}"
        for path in LIBRARY
        for line, text in strings(path)
        if flag.search(text)
    ]
    assert not found, "\n".join(found)
    assert len(LIBRARY) > 50
    assert any("--" in text for _, text in strings(PACKAGE / "cli" / "argv.py"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x.h5: exists: add overwrite=True", "x.h5: exists: add --overwrite"),
        ("give psize=A_PER_PIXEL", "give --psize=A_PER_PIXEL"),
        (
            "convention= says whose symmetry= is meant",
            "--convention says whose --symmetry is meant",
        ),
        ("a helix needs twist=, rise= and order=", "a helix needs --twist, --rise and --order"),
        ("expanded already (see again=True)", "expanded already (see --again)"),
        ("psize=-1 is not a length", "--psize=-1 is not a length"),
        ("dask=tcp://h:1 does not answer", "--dask=tcp://h:1 does not answer"),
        ("expand without psize=.", "expand without --psize."),
        ("overwrite=False: x", "--overwrite=False: x"),
        ("unique=True: operators 0,2 are", "--unique: operators 0,2 are"),
        ("operators=9: C3 has operators 0 to 2", "--operators=9: C3 has operators 0 to 2"),
        ("runs/psize=1.2/x.h5: not there", "runs/psize=1.2/x.h5: not there"),
        ("psize=3.h5: not there: add overwrite=True", "psize=3.h5: not there: add --overwrite"),
        ("source=x and keep=max", "source=x and keep=max"),
    ],
)
def test_parameters_become_flags_of_the_command(text, told):
    assert in_flags(text, inspect.signature(COMMANDS["expand"]).parameters) == told


ROOMS = [
    re.findall(r"`([\w/.]+)`", line.split("|")[1])
    for line in (PACKAGE / "README.md").read_text().splitlines()
    if line.startswith("| `")
]
"""Names of each line of the map: folders end in a slash."""

FLOOR = {name: floor for floor, names in enumerate(ROOMS) for name in names}

ABOVE = ("__init__.py", "__main__.py", "version.py")
"""What stands beside the rooms."""


def room_of(path):
    """Give the room that a module is in, as the map calls it."""
    first, *rest = path.relative_to(PACKAGE).parts
    return f"{first}/" if rest else first


def imported(path):
    """Give the package's modules that a module imports when it runs, with their lines."""
    waiting = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba_symexp"):
            for name in [node.module, *(f"{node.module}.{each.name}" for each in node.names)]:
                module = PACKAGE.parent.joinpath(*name.split("."))
                if module.with_suffix(".py").is_file():
                    yield node.lineno, module.with_suffix(".py")
                elif (module / "__init__.py").is_file() and module != PACKAGE:
                    yield node.lineno, module / "__init__.py"


def test_the_map_names_every_room():
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")}
    assert rooms - FLOOR.keys() == {*ABOVE}
    assert FLOOR.keys() <= rooms


def test_imports_run_down_the_map():
    checked, up = 0, []
    for path in sorted(PACKAGE.rglob("*.py")):
        here = FLOOR.get(room_of(path))
        for line, other in imported(path) if here is not None else ():
            there = FLOOR.get(room_of(other))
            checked += 1
            if there is not None and there < here:
                up.append(f"{path.relative_to(PACKAGE)}:{line}: {other.relative_to(PACKAGE)}")
    assert not up, "\n".join(up)
    assert checked > 500
