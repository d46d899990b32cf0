"""Extras: each brings what its own part of the library imports, and nothing else."""

import re
import tomllib

import pytest
from conftest import HERE

PACKAGE = HERE.parent / "numba_symexp"
EXTRAS = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
IMPORTED_AS = {"cryosparc-tools": "cryosparc"}
BY_OTHERS = {"cryptography"}
"""Not imported here: Dask needs it for its keys."""


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - {"test", "lint"}))
def test_an_extra_brings_what_is_imported_where_it_is_asked_for(extra):
    asking = [each for each in PACKAGE.rglob("*.py") if f"install('{extra}')" in each.read_text()]
    assert asking
    rooms = {each if each.parent == PACKAGE else each.parent for each in asking}
    sources = "\n".join(
        path.read_text()
        for room in rooms
        for path in ([room] if room.is_file() else room.rglob("*.py"))
    )
    for needed in EXTRAS[extra]:
        name = re.match(r"[\w-]+", needed)[0]
        if name not in BY_OTHERS:
            module = IMPORTED_AS.get(name, name)
            assert re.search(rf"^\s*(import|from) {module}\b", sources, re.MULTILINE), needed
