"""What the text of a flag means: the value of a switch, a number, a point, or several of them.

`option_forms` and `symmetry.forms` do the same for values of Python; messages here name flags.
"""

from numba_symexp.errors import UsageError

Point = tuple[float, float, float]


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


def pair(name: str, text: str | None) -> tuple[int, int] | None:
    """Width and height of a flag's text, as ``W,H``."""
    if text is None:
        return None
    parts = [integer(name, part) for part in text.split(",")]
    if len(parts) != 2:
        raise UsageError(f"--{name}={text} is not W,H: give two whole numbers")
    return tuple(part for part in parts if part is not None)  # type: ignore[return-value]


def numbers(name: str, text: str | None) -> tuple[int, ...]:
    """Whole numbers of a flag's text, as ``0,2,5-7``."""
    from numba_symexp.symmetry.descriptions import read_number_ranges  # loads NumPy

    return read_number_ranges(name, text) if text else ()


def lengths(name: str, text: str | None) -> tuple[float, ...]:
    """Numbers of a flag's text, with commas."""
    parts = [number(name, part) for part in text.split(",")] if text else []
    return tuple(part for part in parts if part is not None)


def point(name: str, text: str | None) -> Point | None:
    """Point of a flag's text, as ``x,y,z``."""
    if text is None:
        return None
    parts = [number(name, part) for part in text.split(",")]
    if len(parts) != 3:
        raise UsageError(f"--{name}={text} is not a point: give three numbers x,y,z")
    return tuple(part for part in parts if part is not None)  # type: ignore[return-value]


def point_or_corner(name: str, text: str | None) -> Point | str | None:
    """Point of a flag's text, as ``x,y,z``, or ``corner``."""
    return text if text == "corner" else point(name, text)


def points(name: str, text: str | None) -> Point | tuple[Point, ...] | None:
    """Point of a flag's text, or several with semicolons."""
    from numba_symexp.symmetry.center_files import parts_of  # loads NumPy

    if text is None:
        return None
    words = parts_of(text, f"--{name}")
    found = [each for each in (point(name, word) for word in words) if each is not None]
    return found[0] if len(found) == 1 else tuple(found)


def points_or_files(name: str, text: str | None) -> Point | tuple[Point, ...] | str | None:
    """Points as above; a text that names files of points stays as it is."""
    from numba_symexp.symmetry.center_files import files_of  # loads NumPy

    return text if text and files_of(text) else points(name, text)
