"""What a command line asks for, and what the text of a flag means."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba_symexp.errors import UsageError


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


def is_on(switch: bool | str) -> bool:
    """Switches come as the text that `argv` writes, or as their default."""
    return switch in (True, "True")


def number(name: str, text: str | None) -> float | None:
    """Float of a flag's text."""
    try:
        return None if text is None else float(text)
    except ValueError:
        raise UsageError(f"--{name}={text} is not a number") from None


def integer(name: str, text: str | None) -> int | None:
    """Integer of a flag's text."""
    try:
        return None if text is None else int(text)
    except ValueError:
        raise UsageError(f"--{name}={text} is not a whole number") from None
