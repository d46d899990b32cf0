"""The words of a command line: checks before Fire sees them, and hints where one is not understood.

Fire runs the function first and complains afterwards. It takes single letters for flags, lets the
last of two equal flags win, swallows the word after a switch, and ignores what follows a lone
``--``. Here each word must be understood, or nothing runs.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numba_symexp.errors import UsageError

HELP_FLAGS = ("--help", "-h")

_ELSEWHERE = {
    "sym": ("symmetry",),
    "angpix": ("psize",),
    "apix": ("psize",),
    "i": ("file", "source", "files"),
    "o": ("output",),
}
"""Flags of other programs, such as RELION's, and our names for them."""

_SYMMETRY = re.compile(r"[CD]\d+|T|O|I[1-4]?", re.IGNORECASE)

_SWITCH_WORDS = {"true": "True", "yes": "True", "false": "False", "no": "False"}


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    Attributes
    ----------
    act : callable
        Does it and returns the result, as a dict for ``--json``.
    text : callable
        Result -> lines for a person.
    json, quiet : bool
        How the result is shown.
    exit_code : callable
        Result -> exit code.
    """

    act: Callable[[], dict[str, Any]]
    text: Callable[[dict[str, Any]], str]
    json: bool
    quiet: bool = False
    exit_code: Callable[[dict[str, Any]], int] = lambda result: 0


def help_asked_for(words: Sequence[str]) -> str | None:
    """Command that help is asked for, empty for the program; None where none is asked for."""
    if words[:1] == ["help"]:
        return "".join(words[1:2])
    return words[0] if any(word in HELP_FLAGS for word in words) else None


def canonical(words: Sequence[str], commands: Mapping[str, Callable[..., Any]]) -> list[str]:
    """Rewrite a command line as ``command --name=value ...``, every value in place.

    Parameters
    ----------
    words : sequence of str
        What follows the program's name.
    commands : mapping of str to function
        Their parameters are the flags: those annotated ``bool`` are switches, those without
        default must be given, by place or by name; ``*files`` takes all further words, but for the
        last ones, which are what must be given after it.

    Raises
    ------
    UsageError
        A word is not understood, comes twice, or is missing.
    """
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):  # bytes that are no UTF-8
            raise UsageError(f"{word!a} is not UTF-8 text: rename the file")
    if not words:
        raise UsageError(f"no command: use one of {', '.join(commands)} (--help says more)")
    command, *rest = words
    if command not in commands:
        raise UsageError(
            f"unknown command {command!r}{_nearest(command, commands)}: use one of "
            f"{', '.join(commands)} (--help says more)"
        )
    parameters = inspect.signature(commands[command]).parameters
    required = required_of(parameters)
    given, further = _given(command, rest, parameters, required)
    missing = [name for name in required if name not in given]
    if missing:
        raise UsageError(
            f"{command} needs {' and '.join(m.upper() for m in missing)}: {_see(command)}"
        )
    return [command, *(f"--{name}={value}" for name, value in given.items()), *further]


def required_of(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """Names of the arguments that must be given."""
    return [
        name
        for name, each in parameters.items()
        if each.default is inspect.Parameter.empty and each.kind is not each.VAR_POSITIONAL
    ]


def _given(
    command: str,
    words: Sequence[str],
    parameters: Mapping[str, inspect.Parameter],
    required: Sequence[str],
) -> tuple[dict[str, str], list[str]]:
    """Values by parameter, and the words for a parameter that takes many."""
    given: dict[str, str] = {}
    further: list[str] = []
    flag = ""
    takes_many = any(each.kind is each.VAR_POSITIONAL for each in parameters.values())
    last = [each for each in required if parameters[each].kind is inspect.Parameter.KEYWORD_ONLY]
    first = [each for each in required if each not in last]
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word in ("-", "--"):
            raise UsageError(f"a lone {word} is not understood: {_see(command)}")
        if _is_flag(word):
            name, value = _flag(command, word, waiting, parameters)
            flag = name
        else:
            free = [each for each in first if each not in given]
            if not free and takes_many:
                further.append(word)
                continue
            if not free:
                hint = _place_of(word, flag, given, parameters)
                raise UsageError(f"{command} does not take {word!r}{hint}: {_see(command)}")
            name, value = free[0], word
            flag = ""
        if name in given:
            raise UsageError(f"--{name} is given twice: give it once")
        given[name] = value
    for name in reversed([each for each in last if each not in given]):
        if further:
            given[name] = further.pop()
    return given, further


def _flag(
    command: str, word: str, waiting: list[str], parameters: Mapping[str, inspect.Parameter]
) -> tuple[str, str]:
    """One flag's parameter and value; takes the value from the waiting words where it must."""
    flag, equals, value = word.partition("=")
    name = flag.removeprefix("--").replace("-", "_")
    known = [each.name for each in parameters.values() if each.kind is not each.VAR_POSITIONAL]
    if not flag.startswith("--") or name not in known:
        ours = next(
            (each for each in _ELSEWHERE.get(name.lstrip("-_"), ()) if each in parameters), ""
        )
        is_word = ours in (*required_of(parameters), "files")
        near = _nearest(name, known, "--")
        hint = f" (write {ours.upper()} without a flag)" if is_word else near
        raise UsageError(f"{command} has no flag {flag}{hint}: {_see(command)}")
    if is_switch(parameters[name]):
        return name, _switch(name, value) if equals else "True"
    if not equals:
        if not waiting or _is_flag(waiting[0]) or waiting[0] == "--":
            raise UsageError(f"--{name} needs a value: --{name}=VALUE")
        value = waiting.pop(0)
    if not value:
        raise UsageError(f"--{name} needs a value, not '': --{name}=VALUE")
    return name, value


def in_flags(text: str, parameters: Mapping[str, inspect.Parameter]) -> str:
    """Write the parameters that a text of the library names as flags of the command that runs.

    ``psize=1.2`` becomes ``--psize=1.2``, ``symmetry=`` becomes ``--symmetry`` and
    ``overwrite=True`` becomes ``--overwrite``. A word counts only where it begins the text or
    follows a blank or an opening bracket. A first word that ends in a colon and has a suffix or a
    slash is the name of a file.
    """

    def flag(found: re.Match[str]) -> str:
        before, name, value = found.groups()
        parameter = parameters.get(name)
        is_file = not found.start() and re.search(r"(/|\.[A-Za-z])\S*:$", value) is not None
        if parameter is None or parameter.default is parameter.empty or is_file:
            return found[0]
        kept = re.sub("^True", "", value) if is_switch(parameter) else value
        ends = re.match(r"[,;:.)\]]*$", kept) is not None
        return f"{before}--{name}{'' if ends else '='}{kept}"

    return re.sub(r"(^|[\s(\[])([a-z]\w*)=(\S*)", flag, text)


def is_switch(parameter: inspect.Parameter) -> bool:
    """Whether a flag is switched on by its name alone."""
    return parameter.annotation in (bool, "bool")


def _is_flag(word: str) -> bool:
    """Whether a word is a flag; ``-27.3`` is a number."""
    return re.match(r"--.|-[A-Za-z]", word) is not None


def _switch(name: str, value: str) -> str:
    """``True`` or ``False`` for what may follow a switch's equals sign."""
    if value.lower() not in _SWITCH_WORDS:
        raise UsageError(f"--{name}={value} is not understood: use --{name} or --{name}=false")
    return _SWITCH_WORDS[value.lower()]


def _place_of(
    word: str, flag: str, given: Mapping[str, str], parameters: Mapping[str, inspect.Parameter]
) -> str:
    """Suggest where a word belongs that no argument takes; ``flag`` stands before it, if any."""
    if flag and not is_switch(parameters[flag]) and _is_number(word.strip(",")):
        return f" (write all values of --{flag} as one word, with commas and no blanks)"
    if "symmetry" in parameters and "symmetry" not in given and _SYMMETRY.fullmatch(word):
        return f" (write --symmetry={word})"
    return ""


def _is_number(word: str) -> bool:
    """Whether a word is a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def _nearest(word: str, known: Iterable[str], before: str = "") -> str:
    """Suggest what a mistyped word may have meant, with what is written before it."""
    near = [name for name in _ELSEWHERE.get(word.lstrip("-_"), ()) if name in known]
    if not near:
        import difflib  # mistakes alone need it

        near = [name for name in known if len(word) > 2 and name.startswith(word)][:1]
        near = near or difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {before}{near[0]}?)" if near else ""


def _see(command: str) -> str:
    """Where to look."""
    return f"see numba-symexp {command} --help"
