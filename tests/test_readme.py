"""The README shows what the program prints, and its Python does what it says."""

import re

import pytest
from conftest import HERE

import numba_symexp

README = HERE.parent / "README.md"
SPENT = r"\d+\.\d\d s, [\d.]+ MB"
ERROR = r"largest error \S+ deg"
CHANGING = (r"\d+\.\d\d s \([\d,]+ rows/s\)", r"\d{4}-\d\d-\d\dT[\d:]+Z", SPENT, ERROR)
"""Times and memory differ from run to run, and the last digits with the processor."""


def without_times(text):
    for pattern in CHANGING:
        text = re.sub(pattern, "...", text)
    return text


def transcript():
    """(command, output) of the console block."""
    block = re.search(r"```console\n(.*?)```", README.read_text(), re.DOTALL)[1]
    for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = entry.partition("\n")
        yield command.split()[1:], output.strip("\n")


def test_the_console_block_is_real_output(program):
    for words, output in transcript():
        result = program(*words)
        assert result.stderr == ""
        assert without_times(result.stdout.strip("\n")) == without_times(output)


def test_public_names_exist():
    named = re.search(r"from numba_symexp import (.*)", README.read_text())[1].split(", ")
    assert set(named) <= set(numba_symexp.__all__)
    for name in numba_symexp.__all__:
        assert getattr(numba_symexp, name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = numba_symexp.nothing


def test_every_flag_of_the_readme_exists():
    from numba_symexp.cli.commands import COMMANDS

    known = {name for call in COMMANDS.values() for name in call.__annotations__}
    flags = set(re.findall(r"--([a-z]\w*)", README.read_text()))
    elsewhere = {"help", "version", "cov", "fail", "full"}
    assert flags - known - elsewhere == set()
