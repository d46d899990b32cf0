"""Help, and completion of words in a shell: both from the signatures and docstrings of the verbs.

Help is printed, never paged. Its lines are as long as the terminal is wide.
"""

import inspect
import os
import re
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numba_symexp.cli.argv import is_switch
from numba_symexp.errors import UsageError

_WIDEST_NAME = 24
"""What is explained beside a longer name begins on the next line."""

_NARROWEST = 40

Verbs = Mapping[str, Callable[..., Any]]

_GUIDE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "GUIDE.md")

_MANY = 24
"""So many flags are listed by what they are about."""

_VALUES = {
    value: names.split()
    for value, names in {
        "X,Y,Z": "axis align_axis center_px origin subtracted_center",
        "POINT": "center",
        "A": "rise length radius min_distance_A min_projected_A",
        "A/PX": "psize micrograph_psize source_psize target_psize",
        "DEG": "twist",
        "A,DEG": "same_pose",
        "FROM-TO": "view",
        "N": "order box_px chunk_rows threads edge_px workers half most bin",
        "W,H": "micrograph_px",
        "SEED": "assign_halves random",
        "FILE": "operators_file micrographs optimisation_set expanded source output mask picture",
        "FILE,...": "passthrough source_passthrough",
        "COLUMN": "pose shift by score",
        "COLUMN,...": "carry",
        "CONDITION,...": "where",
        "NUMBERS": "operators centers",
        "minus|plus": "defocus",
        "coordinates": "recenter",
        "flipped|same": "coordinates_y",
        "relion|m": "program",
        "particle|micrograph": "within",
        "NAME,...": "label",
        "GROUP": "modulo from_group to_group",
        "DIRECTION": "to",
        "ADDRESS": "dask url",
    }.items()
}
"""What stands for the value of a flag, where that says more than the flag's own name."""

_ABOUT = {
    "Which operators": "symmetry convention twist rise order operators_file origin operators "
    "modulo axis",
    "About a point of the map (subparticles)": "center center_px box_px length "
    "align align_axis unique defocus",
    "New coordinates, for another extraction": "recenter coordinates_y micrographs "
    "micrograph_psize micrograph_px edge_px",
    "What the source holds": "passthrough table pose pose_format shift psize assign_halves again "
    "optimisation_set",
    "What is written": "carry keep_track_length program overwrite dry_run json quiet",
    "The job in CryoSPARC": "title url email",
    "How it runs": "threads chunk_rows dask workers mixed_cpus",
}
"""Flags of a verb that has many, by what they are about; the others come last."""


def program_help(program: str, about: str, verbs: Verbs) -> str:
    """Help on the program: what it is for, and its commands."""
    last = (
        f"{program} COMMAND --help lists the flags of a command; {program} --version prints the "
        f"version; {program} --completion=bash (or zsh, or fish) prints a script that completes "
        "commands and flags."
    )
    entries = {name: _summary(call) for name, call in verbs.items()}
    return "\n".join(
        [
            *_wrapped(about),
            *("", f"usage: {program} COMMAND ...", ""),
            *(*_entry_lines(entries), "", *_wrapped(last), "", f"Guide: {_GUIDE}"),
        ]
    )


def command_help(program: str, name: str, verb: Callable[..., Any]) -> str:
    """Help on one command: usage, arguments and flags."""
    parameters = inspect.signature(verb).parameters.values()
    about, meaning = _documentation(verb)
    arguments = [_form(each) for each in parameters if not _is_flag(each)]
    usage = " ".join(["usage:", program, name, *arguments, "[flags]"])
    entries = {each.name: (_form(each), meaning.get(each.name, "")) for each in parameters}
    beside = _beside([form for form, _ in entries.values()])
    lines = [*_wrapped(about), "", usage]
    for heading, names in _parts(verb).items():
        told = dict(entries[name] for name in names)
        lines += ["", *([f"{heading}:"] if heading else []), *_entry_lines(told, beside)]
    return "\n".join(lines)


def _parts(verb: Callable[..., Any]) -> dict[str, list[str]]:
    """Parameters below their headings; an empty heading where there are few."""
    names = list(inspect.signature(verb).parameters)
    flags = [each.name for each in _flags(verb)]
    if len(flags) <= _MANY:
        return {"": names}
    parts = {"": [name for name in names if name not in flags]}
    parts |= {
        heading: [name for name in listed.split() if name in flags]
        for heading, listed in _ABOUT.items()
    }
    listed = {name for part in parts.values() for name in part}
    parts["Others"] = [name for name in names if name not in listed]
    return {heading: part for heading, part in parts.items() if part}


def completion(shell: str, program: str, verbs: Verbs) -> str:
    """Script that completes the program's commands and flags in a shell.

    Raises
    ------
    UsageError
        There is no script for that shell.
    """
    scripts = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if shell not in scripts:
        raise UsageError(f"--completion={shell} is unknown: use one of {', '.join(scripts)}")
    return scripts[shell](program, verbs)


def _bash(program: str, verbs: Verbs) -> str:
    """Script for bash; a flag that takes a value ends in ``=``, and no blank follows it."""
    cases = [
        f"        {name}) words='{' '.join(_flag(each) for each in _flags(call))} --help' ;;"
        for name, call in verbs.items()
    ]
    function = f"_{program.replace('-', '_')}"
    return "\n".join(
        [
            f'# {program}: put this line into ~/.bashrc: eval "$({program} --completion=bash)"',
            f"{function}() {{",
            '    local word="${COMP_WORDS[COMP_CWORD]}" words=""',
            "    COMPREPLY=()",
            "    if [[ $COMP_CWORD -eq 1 ]]; then",
            f"        words='{' '.join(verbs)} --help --version --completion='",
            '    elif [[ $word == -* ]]; then case "${COMP_WORDS[1]}" in',
            *cases,
            "    esac; fi",
            '    [[ -z $words ]] || COMPREPLY=($(compgen -W "$words" -- "$word"))',
            "    [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace",
            "}",
            f"complete -o default -F {function} {program}",
        ]
    )


def _zsh(program: str, verbs: Verbs) -> str:
    """Script for zsh."""
    described = " ".join(_quoted(f"{name}:{_summary(call)}") for name, call in verbs.items())
    cases = []
    for name, call in verbs.items():
        meaning = _documentation(call)[1]
        words = []
        for each in _flags(call):
            told = re.sub(r"([][:])", r"\\\1", meaning.get(each.name, ""))
            value = "" if is_switch(each) else f":{each.name}:_files"
            words.append(_quoted(f"{_flag(each)}[{told}]{value}"))
        cases.append(f"        {name}) _arguments '*:file:_files' {' '.join(words)} ;;")
    function = f"_{program.replace('-', '_')}"
    return "\n".join(
        [
            f"#compdef {program}",
            f'# {program}: put this line into ~/.zshrc: eval "$({program} --completion=zsh)"',
            f"{function}() {{",
            f"    local -a verbs=({described})",
            "    if (( CURRENT == 2 )); then _describe command verbs; return; fi",
            "    case $words[2] in",
            *cases,
            "    esac",
            "}",
            f"compdef {function} {program}",
        ]
    )


def _fish(program: str, verbs: Verbs) -> str:
    """Script for fish."""
    lines = [f"# {program}: put this line into config.fish: {program} --completion=fish | source"]
    for name, call in verbs.items():
        lines.append(
            f"complete -c {program} -n __fish_use_subcommand -f -a {name} "
            f"-d {_quoted(_summary(call))}"
        )
        meaning = _documentation(call)[1]
        lines += [
            f"complete -c {program} -n '__fish_seen_subcommand_from {name}' -l {each.name}"
            f"{'' if is_switch(each) else ' -r'} -d {_quoted(meaning.get(each.name, ''))}"
            for each in _flags(call)
        ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Text in single quotes, for a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _flags(verb: Callable[..., Any]) -> list[inspect.Parameter]:
    """Flags of a verb."""
    return [each for each in inspect.signature(verb).parameters.values() if _is_flag(each)]


def _flag(parameter: inspect.Parameter) -> str:
    """A flag as a shell begins it."""
    return f"--{parameter.name}{'' if is_switch(parameter) else '='}"


def _form(parameter: inspect.Parameter) -> str:
    """How a parameter is written on the command line."""
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"{parameter.name.upper()}..."
    if not _is_flag(parameter):
        return parameter.name.upper()
    name = parameter.name
    if is_switch(parameter):
        return _flag(parameter)
    value = next((value for value, names in _VALUES.items() if name in names), name.upper())
    return _flag(parameter) + value


def _is_flag(parameter: inspect.Parameter) -> bool:
    """Whether a parameter may be left out."""
    variable = parameter.kind is parameter.VAR_POSITIONAL
    return not variable and parameter.default is not inspect.Parameter.empty


def _documentation(verb: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """What a verb is for, and the meaning of each of its parameters."""
    about, _, listed = _docstring(verb).partition("Parameters\n----------\n")
    entries = re.findall(r"^(\w+)\n((?:    .+\n?)+)", listed, re.MULTILINE)
    return about.strip(), {entry: " ".join(words.split()) for entry, words in entries}


def _docstring(verb: Callable[..., Any]) -> str:
    """Docstring of a verb; ``python -OO`` drops it, and the source still has it."""
    text = inspect.getdoc(verb)
    if text is not None:
        return text
    import ast

    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(verb))).body[0]
    except (OSError, SyntaxError):
        return ""
    return (isinstance(definition, ast.FunctionDef) and ast.get_docstring(definition)) or ""


def _summary(verb: Callable[..., Any]) -> str:
    """First line of a docstring."""
    return _docstring(verb).partition("\n")[0]


def _width() -> int:
    """Columns of the terminal, or 80."""
    return max(_NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of paragraphs; no word and no flag is broken, and an example stays one line."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        if lines:
            lines.append("")
        if paragraph.startswith("Example: "):
            lines.append(paragraph)
            continue
        lines += textwrap.wrap(
            " ".join(paragraph.split()),
            _width(),
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def _beside(names: Sequence[str]) -> int:
    """How wide the column of names is."""
    return min(_WIDEST_NAME, max(map(len, names)))


def _entry_lines(entries: Mapping[str, str], beside: int | None = None) -> list[str]:
    """Names, and beside or below each what it is."""
    beside = _beside([*entries]) if beside is None else beside
    lines: list[str] = []
    for name, meaning in entries.items():
        told = _wrapped(meaning, " " * (beside + 4))
        if len(name) <= beside and told:
            told[0] = f"  {name:<{beside}}  {told[0].lstrip()}"
            lines += told
        else:
            lines += [f"  {name}", *told]
    return lines
