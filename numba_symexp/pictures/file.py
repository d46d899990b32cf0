"""The file of a picture: its name is checked first, and equal pictures have equal bytes."""

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from numba_symexp.annotations import AnyPath
from numba_symexp.errors import OutputError, UsageError, install
from numba_symexp.kinds import kind_of_suffix
from numba_symexp.output import Draft, Input, OutputFile

SUFFIXES = (".png", ".svg", ".pdf")

_DPI = 150

_NO_DATE: dict[str, dict[str, Any]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


class PictureFile:
    """A picture that will be written: .png, .svg or .pdf, as its name says.

    Parameters
    ----------
    name : str or path
    inputs : iterable of str, path or None
        All files that are read; None stands for one that was not given.
    overwrite : bool
        Replace an existing picture of the same kind.
    parameter : str
        What names the picture, for messages.

    Attributes
    ----------
    name : str

    Raises
    ------
    UsageError
        The suffix is another.
    OutputError
        It is an input, exists without ``overwrite``, or there is no Matplotlib.
    """

    def __init__(
        self,
        name: AnyPath,
        inputs: Iterable[AnyPath | None],
        overwrite: bool,
        parameter: str = "",
    ) -> None:
        self.name = os.fspath(name)
        self._suffix = os.path.splitext(self.name)[1].lower()
        if self._suffix not in SUFFIXES:
            given = f"give {parameter}= a name" if parameter else "give a name"
            endings = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
            raise UsageError(f"{self.name}: is no picture: {given} that ends in {endings}")
        _require_matplotlib(self.name)
        self._file = OutputFile(self.name, kind_of_suffix(self._suffix), inputs, overwrite)

    def refuse_input(self, source: AnyPath) -> None:
        """Refuse a file that is read, as the picture.

        Raises
        ------
        OutputError
            Both paths lead to one file.
        """
        self._file.refuse_input(source)

    @contextlib.contextmanager
    def drawing(self, draw: Callable[[], Any], inputs: Sequence[Input]) -> Iterator[Draft]:
        """Draw into a hidden file, which gets its name when the block ends well.

        Parameters
        ----------
        draw : callable
            Makes the figure, of Matplotlib.
        inputs : sequence of Input
            Open tables, which must not have changed when the block ends.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        with self._file.writing(inputs) as draft:
            _save(draw, draft.path, self._suffix)
            yield draft


def _save(draw: Callable[[], Any], path: str, suffix: str) -> None:
    """Draw and write: the same figure gives the same bytes, whatever the user's settings are."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that its fonts lack
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "numba_symexp", "font.size": 9})
        matplotlib.rcParams.update({"text.parse_math": False, "axes.unicode_minus": False})
        draw().savefig(path, format=suffix[1:], dpi=_DPI, metadata=_NO_DATE[suffix])


def _require_matplotlib(output: str) -> None:
    """Refuse before anything is read, where pictures cannot be drawn."""
    # It speaks of its font cache, and of settings in a matplotlibrc, which do not count here.
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
    try:
        import matplotlib  # noqa: F401 - only pictures need it
    except ImportError:
        raise OutputError(f"{output}: pictures need matplotlib: {install('plot')}") from None
    except (ValueError, OSError) as error:  # it reads its settings when it is imported
        backend = os.environ.get("MPLBACKEND")
        if backend is None:
            raise UsageError(
                f"matplotlib cannot read its settings ({error}): mend or remove the matplotlibrc "
                "of this folder, or your own"
            ) from None
        raise UsageError(f"MPLBACKEND={backend} is unknown to matplotlib: unset it") from None
