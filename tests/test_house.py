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
