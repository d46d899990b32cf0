"""What can go wrong, in words: every message says what, where, and what to do.

One base class; the leaf decides the exit code of the command line: 2 when the request itself is
wrong, 1 when the data or the file system refuses.
"""

import shlex
import sys
import warnings

_LONGEST_TEXT = 1000


class SymexpError(Exception):
    """Base of every error that this package raises on purpose.

    A text that a damaged file made endless is cut.
    """

    exit_code = 1

    def __init__(self, text: str = "") -> None:
        super().__init__(text[:_LONGEST_TEXT])


class UsageError(SymexpError, ValueError):
    """The request is wrong: an option that cannot be, or options that contradict each other."""

    exit_code = 2


class SymmetryError(UsageError):
    """The symmetry is unknown, improper, or its operators coincide."""


class SourceError(SymexpError):
    """The particle table cannot be read, or what it holds cannot be expanded."""


class OutputError(SymexpError):
    """The output cannot be written, or must not be replaced."""


class ClusterError(SymexpError):
    """Dask's scheduler or workers cannot be reached, or one of them cannot do its part."""


class ServerError(SymexpError):
    """CryoSPARC's server does not answer, or refuses what it is asked for."""


class FileFormatError(SymexpError):
    """The file is not an expanded table of this package, or not a whole one."""


class VersionTooOldError(FileFormatError):
    """The expanded table has a format version that this package no longer reads."""


class VersionTooNewError(FileFormatError):
    """The expanded table was written by a newer format version than this package knows."""


class SourceChangedError(SourceError):
    """The source of an expanded table is gone, or is not what it was."""


class MissingColumnError(SourceError, KeyError):
    """A table has no column of that name."""

    __str__ = Exception.__str__


class Terminated(BaseException):
    """SIGTERM arrived: unwind, remove what is half-written, and leave."""


def install(extra: str) -> str:
    """Command that installs an extra of this package, for the Python that runs."""
    python = shlex.quote(sys.executable or "python")
    return f"install it with {python} -m pip install 'numba_symexp[{extra}]'"


class ExpansionWarning(UserWarning):
    """Something in the source deserves a look, but does not stop the expansion."""


def warn(*texts: str) -> None:
    """Issue warnings to whoever called the package; an empty text is none."""
    for text in texts:
        if text:
            warnings.warn(text, ExpansionWarning, stacklevel=3)
