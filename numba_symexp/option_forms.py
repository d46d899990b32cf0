"""The value of an option, made of any form in which people write it in Python.

A form takes the option's name, for messages, and what was given; it returns the one value that the
option has inside, or refuses what was given.
"""

import operator
import os
from collections.abc import Callable, Mapping
from typing import Any

from numba_symexp.errors import UsageError
from numba_symexp.files import path_list

Form = Callable[[str, Any], Any]


def values_of(options: Mapping[str, Any], forms: Mapping[str, Form]) -> dict[str, Any]:
    """Values of some options, by name, each made by the form of that name.

    Raises
    ------
    UsageError
        An option is of a wrong type.
    """
    return {name: forms[name](name, given) for name, given in options.items()}


def path(name: str, value: Any) -> str:
    """Text of a path."""
    try:
        found = os.fspath(value)
    except TypeError:
        raise wrong(name, value, "a path") from None
    if not isinstance(found, str):
        raise wrong(name, value, "a path as text")
    return found


def optional_path(name: str, value: Any) -> str | None:
    """Text of a path, or None."""
    return None if value is None else path(name, value)


def paths(name: str, value: Any) -> tuple[str, ...]:
    """Texts of paths, of one or a sequence of them or of a text with commas."""
    try:
        found = path_list(value)
    except TypeError:
        raise wrong(name, value, "paths") from None
    return tuple(path(name, each) for each in found)


def text(name: str, value: Any) -> str | None:
    """Text, or None."""
    if value is not None and not isinstance(value, str):
        raise wrong(name, value, "text")
    return value


def names(name: str, value: Any) -> tuple[str, ...]:
    """Names, of a sequence or of a text with commas."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    try:
        found = tuple(value)
    except TypeError:
        found = (None,)
    if not all(isinstance(each, str) for each in found):
        raise wrong(name, value, "names such as 'ctf/*,blob/*'")
    return found


def number(name: str, value: Any) -> float | None:
    """Float of a number of any type, or None."""
    if value is None:
        return None
    if isinstance(value, str | bytes | bool):
        raise wrong(name, value, "a number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise wrong(name, value, "a number") from None


def integer(name: str, value: Any) -> int | None:
    """Int of a whole number of any type, or None."""
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise wrong(name, value, "a whole number") from None


def pair(name: str, value: Any) -> tuple[int, ...] | None:
    """Two whole numbers, of a sequence or of ``W,H``."""
    if value is None:
        return None
    try:
        parts = [int(part) for part in value.split(",")] if isinstance(value, str) else list(value)
        found = tuple(operator.index(part) for part in parts)
    except (TypeError, ValueError):
        raise wrong(name, value, "two whole numbers W,H") from None
    if len(found) != 2:
        raise wrong(name, value, "two whole numbers W,H")
    return found


def boolean(name: str, value: Any) -> bool:
    """Truth value, which is never a text."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise wrong(name, value, "True or False")
    return bool(value)


def wrong(name: str, value: Any, wanted: str) -> UsageError:
    """What to say of a value of another type."""
    return UsageError(f"{name}={str(value)[:60]} is a {type(value).__name__}: give {wanted}")
