"""The picture of arrangements: its file, and what is shown in it."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from numba_symexp.annotations import AnyPath, Array
from numba_symexp.arrangements.places import places_of_sites
from numba_symexp.arrangements.report import ArrangeReport
from numba_symexp.arrangements.sites import Sites
from numba_symexp.output import Draft, Input
from numba_symexp.pictures.file import PictureFile
from numba_symexp.symmetry.descriptions import axes, is_group
from numba_symexp.symmetry.operators import Operators


class ArrangementPicture:
    """A picture that will be drawn of a report.

    Parameters
    ----------
    name : str or path
        .png, .svg or .pdf.
    inputs : iterable of str, path or None
        Files that are read.
    overwrite : bool
        Replace an existing picture.

    Raises
    ------
    UsageError, OutputError
        As of `PictureFile`.
    """

    def __init__(
        self, name: AnyPath, inputs: Iterable[AnyPath | None], overwrite: bool = False
    ) -> None:
        self._file = PictureFile(name, inputs, overwrite, parameter="picture")
        self.name = self._file.name

    def refuse_inputs(self, inputs: Sequence[Input]) -> None:
        """Refuse to replace what is read.

        Raises
        ------
        OutputError
            The picture is one of the files.
        """
        for path in [path for each in inputs for path in each.files]:
            self._file.refuse_input(path)

    @contextlib.contextmanager
    def drawing(
        self, report: ArrangeReport, sites: Sites, inputs: Sequence[Input]
    ) -> Iterator[Draft]:
        """Draw into a hidden file, which gets its name when the block ends well.

        Parameters
        ----------
        report : ArrangeReport
        sites : Sites
        inputs : sequence of Input
            Open tables.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        from numba_symexp.arrangements.drawing import draw  # needs Matplotlib

        title = os.path.basename(report.files[0])
        if len(report.files) > 1:
            title += f" and {len(report.files) - 1} more"
        places, words = places_of_sites(sites)
        marks = axes_of(sites.full)
        with self._file.drawing(lambda: draw(title, report, places, words, marks), inputs) as draft:
            yield draft


def axes_of(operators: Operators) -> list[tuple[int, Array]]:
    """Axes of a group, through the middle of the box."""
    if np.any(operators.translation_A) or not is_group(operators):
        return []
    return axes(operators)
