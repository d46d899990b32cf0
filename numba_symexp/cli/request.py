"""What a command line asks for, and what the text of a flag means."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba_symexp.errors import UsageError

_MOST_NUMBERS = 65_536


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


def point(name: str, text: str | None) -> tuple[float, float, float] | None:
    """Point of a flag's text, as ``x,y,z``."""
    if text is None:
        return None
    parts = [number(name, part) for part in text.split(",")]
    if len(parts) != 3:
        raise UsageError(f"--{name}={text} is no point: give three numbers x,y,z")
    return tuple(part for part in parts if part is not None)  # type: ignore[return-value]


def point_or_corner(name: str, text: str | None) -> tuple[float, float, float] | str | None:
    """Point of a flag's text, as ``x,y,z``, or ``corner``."""
    return text if text == "corner" else point(name, text)


def numbers(name: str, text: str | None) -> tuple[int, ...]:
    """Whole numbers of a flag's text, as ``0,2,5-7``."""
    found: list[int] = []
    for part in (text or "").split(",") if text else []:
        run = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part.strip(), re.ASCII)
        first, last = (int(run[1]), int(run[2] or run[1])) if run else (1, 0)
        if last < first or last - first > _MOST_NUMBERS:
            raise UsageError(f"--{name}={text} is not understood: give numbers such as 0,2,5-7")
        found += range(first, last + 1)
    return tuple(found)


def integer(name: str, text: str | None) -> int | None:
    """Integer of a flag's text."""
    try:
        return None if text is None else int(text)
    except ValueError:
        raise UsageError(f"--{name}={text} is not a whole number") from None
