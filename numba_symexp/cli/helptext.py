"""Help, from the signatures and docstrings of the commands; printed, never paged."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from numba_symexp.cli.argv import is_switch


def program_help(program: str, about: str, commands: Mapping[str, Callable[..., Any]]) -> str:
    """Help on the program: what it is for, and its commands."""
    width = max(map(len, commands))
    lines = [about, "", f"usage: {program} COMMAND ...", ""]
    lines += [f"  {name:<{width}}  {_summary(call)}" for name, call in commands.items()]
    lines += [
        "",
        f"{program} COMMAND --help lists its flags; {program} --version tells the version.",
    ]
    return "\n".join(lines)


def command_help(program: str, name: str, command: Callable[..., Any]) -> str:
    """Help on one command: usage, arguments and flags."""
    signature = inspect.signature(command).parameters
    parameters = signature.values()
    arguments = [_form(signature[each]) for each in signature if not _is_flag(signature[each])]
    text = inspect.getdoc(command) or ""
    about, _, listed = text.partition("Parameters\n----------\n")
    entries = re.findall(r"^(\w+)\n((?:    .+\n?)+)", listed, re.MULTILINE)
    meaning = {entry: " ".join(words.split()) for entry, words in entries}
    forms = {p.name: _form(p) for p in parameters}
    width = max(map(len, forms.values()))
    usage = " ".join(["usage:", program, name, *arguments, "[flags]"])
    lines = [about.strip(), "", usage, ""]
    lines += [f"  {form:<{width}}  {meaning[each]}" for each, form in forms.items()]
    return "\n".join(lines)


def _form(parameter: inspect.Parameter) -> str:
    """How a parameter is written on the command line."""
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"{parameter.name.upper()}..."
    if not _is_flag(parameter):
        return parameter.name.upper()
    flag = f"--{parameter.name}"
    return flag if is_switch(parameter) else f"{flag}={parameter.name.upper()}"


def _is_flag(parameter: inspect.Parameter) -> bool:
    """Whether a parameter may be left out."""
    return parameter.default is not inspect.Parameter.empty


def _summary(command: Callable[..., Any]) -> str:
    """First line of a docstring."""
    return (inspect.getdoc(command) or "").partition("\n")[0]
