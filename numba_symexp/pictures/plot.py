"""A picture of a particle table: viewing directions on the sphere, and shifts."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import AnyPath, Array, Progress
from numba_symexp.files import path_list, path_or_none
from numba_symexp.pictures.file import PictureFile
from numba_symexp.pictures.picture import Picture, Shown, relative_density
from numba_symexp.pictures.subject import Subject, open_subject
from numba_symexp.pictures.tally import Tally, tally


@dataclass(frozen=True)
class PlottedSet:
    """A set of poses in a picture.

    Attributes
    ----------
    heading : str
        What it is.
    largest_density : float
        Largest density of viewing directions, relative to an even one.
    empty_share : float
        Share of the sphere without any.
    shift_limit : float
        Where the map of shifts ends.
    beyond_limit : int
        How many rows lie beyond.
    """

    heading: str
    largest_density: float
    empty_share: float
    shift_limit: float
    beyond_limit: int


@dataclass(frozen=True)
class PlotReport:
    """What `plot` drew.

    Attributes
    ----------
    output, source : str
        The picture, and the table that was drawn.
    particles, rows : int
    symmetry : str or None
        The symmetry whose axes are marked, in words.
    unit : str
        Of the shifts.
    sets : tuple of PlottedSet
        The particles, and the expanded rows if there are any.
    copies : dict of int to int, or None
        How many particles have how many copies, where they differ.
    notes : tuple of str
        What the user should know.
    """

    output: str
    source: str
    particles: int
    rows: int
    symmetry: str | None
    unit: str
    sets: tuple[PlottedSet, ...]
    copies: dict[int, int] | None
    notes: tuple[str, ...]


def plot(
    file: AnyPath,
    output: AnyPath,
    symmetry: str | None = None,
    convention: str | None = None,
    source: AnyPath | None = None,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    passthrough: AnyPath | Sequence[AnyPath] = (),
) -> PlotReport:
    """Draw the viewing directions and shifts of a table; of an expanded one its source's too.

    Parameters
    ----------
    file : str or path
        Particle table (HDF5, .cs, .star), expanded or not.
    output : str or path
        Picture to write: .png, .svg or .pdf.
    symmetry, convention : str, optional
        Of a table that is not expanded: mark the axes of this symmetry; see `point_group`. The
        convention is by default the table's, else cryosparc.
    source : str or path, optional
        The table that an expanded one was expanded from, where it is no longer found.
    table, pose, pose_format, shift
        As in `ExpandJob`, of a table that is not expanded.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.
    passthrough : sequence of str or path
        Further .cs files of the same particles, joined on their ids.

    Returns
    -------
    PlotReport

    Raises
    ------
    UsageError
        The suffix is another, or a parameter does not fit the file.
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.

    Notes
    -----
    A pose v is seen along the third row of A = exp(v)^T: the third column of exp(v), in the map's
    frame, which is (cos rot sin tilt, sin rot sin tilt, cos tilt). That is the direction from the
    particle to the viewer, whatever psi is. The axes of a symmetry are directions in the same
    frame. The same file gives the same bytes.
    """
    file, output = os.fspath(file), os.fspath(output)
    source = path_or_none(source)
    further = path_list(passthrough)
    target = PictureFile(output, [file, source, *further], overwrite)
    from numba_symexp.pictures.drawing import draw  # needs Matplotlib

    columns = {"table": table, "pose": pose, "pose_format": pose_format, "shift": shift}
    with open_subject(
        file, symmetry, convention, source, passthrough=further, **columns
    ) as subject:
        tables = [each.table for each in subject.sets]
        for each in tables:
            target.refuse_input(each.path)
        tallies = tally(subject.sets, subject.particles, progress)
        picture = _picture(os.path.basename(file), subject, tallies)
        with target.drawing(lambda: draw(picture), tables) as draft:
            pass
    return PlotReport(
        output=output,
        source=file,
        particles=subject.particles,
        rows=tallies[-1].rows,
        symmetry=subject.symmetry,
        unit=picture.unit,
        sets=tuple(_plotted(each) for each in picture.sets),
        copies=picture.copies,
        notes=tuple(draft.notes),
    )


def _picture(name: str, subject: Subject, tallies: list[Tally]) -> Picture:
    """What is drawn of a subject."""
    named = [("the particles", f"{subject.particles:,} particles")]
    if subject.are_copies:
        named = [("the rows", f"{subject.particles:,} rows of an expanded set")]
    if len(tallies) > 1:
        named = [
            ("the source", f"source: {subject.particles:,} particles"),
            ("the expanded rows", f"expanded: {tallies[1].rows:,} rows"),
        ]
    return Picture(
        title=name,
        symmetry=subject.symmetry,
        axes=subject.axes,
        unit=subject.sets[0].unit,
        sets=[
            Shown(
                *names,
                relative_density(each.cells),
                each.limit,
                each.shifts,
                each.outside,
                axes,
                each.depths,
            )
            for names, each, axes in zip(named, tallies, subject.axes_of_sets, strict=True)
        ],
        copies=_copies(tallies[-1].copies),
    )


def _copies(copies: Array | None) -> dict[int, int] | None:
    """How many particles have how many copies; None where all have equally many."""
    if copies is None or copies.min() == copies.max():
        return None
    numbers, particles = np.unique(copies, return_counts=True)
    return dict(zip(numbers.tolist(), particles.tolist(), strict=True))


def _plotted(shown: Shown) -> PlottedSet:
    """A set of poses, for the report."""
    return PlottedSet(
        heading=shown.heading,
        largest_density=float(shown.density.max()),
        empty_share=float(np.mean(shown.density == 0)),
        shift_limit=shown.limit,
        beyond_limit=shown.outside,
    )
