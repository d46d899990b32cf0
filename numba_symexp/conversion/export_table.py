"""From particle tables, expanded or not, to .cs and .star."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import AnyPath, Progress
from numba_symexp.conversion.as_cryosparc import AsCryosparc
from numba_symexp.conversion.as_relion import AsRelion
from numba_symexp.conversion.coordinates import off_micrographs, refuse_choice
from numba_symexp.conversion.subtomograms import as_wanted
from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.expansion.job import next_steps
from numba_symexp.files import path_list, path_or_none
from numba_symexp.formats import FORMATS, format_of_suffix
from numba_symexp.formats.cryosparc.job_folder import left_aside
from numba_symexp.formats.interface import Format, RowWriter
from numba_symexp.formats.relion.optimisation_set import Beside
from numba_symexp.kinds import kind_of_suffix
from numba_symexp.output import Draft, Input, OutputFile, as_output_error, writing_together
from numba_symexp.particles.columns import find_columns, pixel_size_column
from numba_symexp.particles.convention import check_convention, doubtful
from numba_symexp.particles.coordinate_choice import KEPT, CoordinateChoice
from numba_symexp.particles.halves import refuse_more_half_sets
from numba_symexp.particles.scan import blocks, scan
from numba_symexp.particles.table import CRYOSPARC, DYNAMO, RELION, ParticleTable, in_short
from numba_symexp.poses import Poses, open_poses

_SAME_PSIZE = 1e-6


@dataclass(frozen=True)
class ExportReport:
    """What `export_particles` wrote.

    Attributes
    ----------
    output : str
    expanded : bool
        Whether the rows are those of an expanded table.
    files : tuple of str
        All files that were written.
    source : str
        The table that was read.
    rows : int
    notes : tuple of str
        What the user should know.
    next_steps : str
        What may be done with copies, and what must not; empty where the rows are no copies.
    """

    output: str
    expanded: bool
    files: tuple[str, ...]
    source: str
    rows: int
    notes: tuple[str, ...]
    next_steps: str = ""


def export_particles(
    file: AnyPath,
    output: AnyPath,
    keep_track_length: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    source: AnyPath | None = None,
    convention: str | None = None,
    passthrough: AnyPath | Sequence[AnyPath] = (),
    program: str | None = None,
    psize: float | None = None,
    recenter: str | None = None,
    coordinates_y: str | None = None,
    micrographs: AnyPath | None = None,
    micrograph_psize: float | None = None,
    micrograph_px: Sequence[int] | None = None,
    edge_px: float | None = None,
) -> ExportReport:
    """Write a particle table, expanded or not, as CryoSPARC's .cs, RELION's .star or Dynamo's .tbl.

    Parameters
    ----------
    file : str or path
        Expanded table, whose source must be there; or any particle table.
    output : str or path
        File to write; its suffix tells the kind. Beside a .cs comes a result group, .csg.
    keep_track_length : bool
        Leave ``rlnHelicalTrackLengthAngst`` of all copies as it is.
    overwrite : bool
        Replace existing files.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.
    source : str or path, optional
        The table that an expanded one was expanded from, if the file has moved.
    convention : {"cryosparc", "relion"}, optional
        In whose convention the particles were refined; by default what the table says. A file for
        the other program is marked with it.
    passthrough : sequence of str or path
        Further .cs files of the same particles, joined on their ids.
    program : {"relion", "m"}, optional
        Whose .star is written of subtomograms; by default the source's, and RELION's of a .tbl.
    psize : float, optional
        A per pixel, where the table says none.
    recenter, coordinates_y, micrographs, micrograph_psize, micrograph_px, edge_px
        Bake shifts into coordinates, and what is known of micrographs: see `expand`.

    Returns
    -------
    ExportReport

    Raises
    ------
    UsageError
        The suffix is none of these.
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.
    """
    file, output = os.fspath(file), os.fspath(output)
    check_convention(convention)
    choice = CoordinateChoice(
        recenter,
        coordinates_y,
        path_or_none(micrographs),
        micrograph_psize,
        None if micrograph_px is None else tuple(micrograph_px),
        edge_px,
    )
    further = path_list(passthrough)
    pair = OutputPair(output, [file, *further, choice.micrographs], overwrite)
    source = path_or_none(source)
    with open_poses(file, psize, source, passthrough=further) as opened:
        rows, converted = _as_wanted(opened, pair.format, program)
        check_rows(rows)
        if rows.expanded is None:
            warn(left_aside(rows.table), doubtful(rows.table, convention))
        rows.convention_given = convention
        notes = export_rows(pair, rows, keep_track_length, progress, choice)
        return ExportReport(
            output=output,
            expanded=rows.expanded is not None,
            files=tuple(pair.names),
            source=file,
            rows=len(rows),
            notes=(*converted, *notes),
            next_steps="" if rows.expanded is None else steps_after(rows, pair.names),
        )


def steps_after(rows: Poses, files: Sequence[str]) -> str:
    """Say what may be done with copies that were written."""
    known = rows.expanded
    return next_steps(files, known is not None and bool(known.operators.center_A.any()))


def _as_wanted(rows: Poses, known: Format, program: str | None) -> tuple[Poses, list[str]]:
    """Particles as an output wants them, and what a user should know of that.

    Raises
    ------
    UsageError
        Rows are expanded, and would have to be those of another program.
    """
    given_A = rows.psize_given_A
    if rows.expanded is not None:
        if program is not None:
            raise UsageError(
                f"program= is for particles, and {rows.table.path} is expanded: leave it out, or "
                "expand the particles straight into the output"
            )
        return rows, []
    table, psize_A, notes = as_wanted(rows.table, known, program, given_A)
    if table is rows.table:
        return rows, notes
    return Poses(table, find_columns(table, psize_given=psize_A is not None), psize_A), notes


def export_rows(
    pair: "OutputPair",
    rows: Poses,
    keep_track_length: bool = False,
    progress: Progress | None = None,
    choice: CoordinateChoice = KEPT,
) -> list[str]:
    """Write rows that were checked; return what the user should know.

    Raises
    ------
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.
    """
    writer, notes = pair.writer(rows, keep_track_length, choice)
    warn(*off_micrographs(rows, pair.format, choice))
    drafts = pair.write(rows, writer, progress)
    return [*notes, *drafts[0].notes]


class OutputPair:
    """A .star, and what belongs to it; or a .cs and the result group beside it.

    Parameters
    ----------
    output : str
        Its suffix tells which.
    inputs : iterable of str or None
        Files that are read.
    overwrite : bool
        Replace existing files.
    further : sequence of str
        Names of .star files that are written beside a .star.

    Attributes
    ----------
    format : Format
    names : list of str
        All files that will be written.
    files : list of OutputFile

    Raises
    ------
    UsageError, OutputError
        They cannot be written under these names.
    """

    def __init__(
        self,
        output: str,
        inputs: Sequence[str | None],
        overwrite: bool,
        further: Sequence[str] = (),
    ) -> None:
        self.format = _format_of_output(output)
        self.names = [*_outputs(output, self.format), *further]
        kinds = [kind_of_suffix(os.path.splitext(name)[1]) for name in self.names]
        self.files = [
            OutputFile(name, kind, inputs, overwrite)
            for name, kind in zip(self.names, kinds, strict=True)
        ]

    def writer(
        self, rows: Poses, keep_track_length: bool, choice: CoordinateChoice = KEPT
    ) -> tuple[RowWriter, list[str]]:
        """Who writes the rows, and what a user should know of it.

        Raises
        ------
        SymexpError
            The rows cannot be written in this format, or the output is their source.
        """
        for each in self.files:
            for path in rows.source.files:
                each.refuse_input(path)
        self.refuse_images(rows.components, rows.source)
        return _writer(rows, self.format, keep_track_length, choice)

    def refuse_images(self, components: int, source: ParticleTable) -> None:
        """Refuse to write images, whose shifts have two components, where subtomograms belong.

        Raises
        ------
        UsageError
            The output is a table of Dynamo.
        """
        if self.format.vocabulary == DYNAMO and components != 3:
            raise UsageError(
                f"{self.names[0]}: ends in {self.format.kind.suffixes[0]}, which is for "
                f"subtomograms, and {source.path} has images: name it .star (RELION), "
                ".cs (CryoSPARC) or .h5"
            )

    def write(
        self,
        rows: Poses,
        writer: RowWriter,
        progress: Progress | None,
        further: Sequence[Beside] = (),
    ) -> list[Draft]:
        """Write all rows, and what belongs beside them; return the published drafts."""
        inputs: list[Input] = [rows.table, rows.source, *further]
        size = writer.size + sum(each.size for each in further)
        with writing_together(self.files, inputs, size) as drafts:
            _write_rows(drafts[0].path, writer, len(rows), progress)
            last = len(drafts) - len(further)
            for draft in drafts[1:last]:
                with as_output_error(draft.output.name), open(draft.path, "wb") as beside:
                    beside.write(writer.companion(self.names[0]))
            for draft, each in zip(drafts[last:], further, strict=True):
                with as_output_error(draft.output.name), open(draft.path, "wb") as beside:
                    each.write(beside)
        return drafts


def _format_of_output(output: str) -> Format:
    """Format that the suffix of an output names."""
    written = [each for each in FORMATS if each.written]
    known = format_of_suffix(output)
    if known not in written:
        suffixes = " nor ".join(suffix for each in written for suffix in each.kind.suffixes)
        raise UsageError(f"{output}: ends in neither {suffixes}: name it so")
    return known


def _outputs(output: str, known: Format) -> list[str]:
    """Files to be written: beside a .cs, a result group."""
    beside = [os.path.splitext(output)[0] + known.companion_suffix]
    return [output, *(beside if known.companion_suffix else ())]


def check_rows(rows: Poses) -> None:
    """Check all rows of a table that is not expanded, or the pixel size of one that is.

    Raises
    ------
    SourceError
        A row is no pose or shift, there are more half-sets than two, or the pixel size that was
        given is not the source's.
    """
    if rows.expanded is None:
        found = scan(rows.table, rows.columns)
        refuse_more_half_sets(rows.table, rows.columns, found.half_sets)
        return
    source, given = rows.source, rows.psize_given_A
    own = pixel_size_column(source.columns, rows.columns.shift)
    in_text = source.header is not None  # where origins in A say what a pixel is
    if given is None or own is None or not (in_text or rows.expanded.operators.moves):
        return
    for start, stop in blocks(source, [own]):
        psize_A = source.read([own], start, stop)[own].astype(np.float64)
        if (np.abs(psize_A - given) > _SAME_PSIZE * given).any():
            raise SourceError(
                f"{rows.expanded.path}: psize={given:g} was given for the expansion, and its "
                f"source has another pixel size ({own}): expand again without psize="
            )


def _writer(
    rows: Poses, known: Format, keep_track_length: bool, choice: CoordinateChoice
) -> tuple[RowWriter, list[str]]:
    """Return what writes the rows, and what a user should know of it."""
    source: ParticleTable = rows.source
    notes: list[str] = []
    dropped: list[str] = []
    refuse_choice(rows, known, choice)
    choice = choice.settled(source.vocabulary, known.vocabulary)
    if rows.components == 3 and known.vocabulary == CRYOSPARC:
        raise SourceError(
            f"{source.path}: its shifts have a third component, as those of subtomograms, for "
            f"which {known.kind.suffixes[0]} has no place: write a .star"
        )
    if source.vocabulary != known.vocabulary:
        converted: AsRelion | AsCryosparc
        if DYNAMO in (source.vocabulary, known.vocabulary):
            advice = "expand the particles straight into it"
            if rows.expanded is None:
                advice = f"write them as they are, then export that as {known.kind.suffixes[0]}"
            raise SourceError(
                f"{source.path}: its rows cannot be turned into {known.kind.name} now: {advice}"
            )
        if known.vocabulary == RELION:
            particles = rows.particles()
            used = {*rows.replaced, rows.psize_column, particles.columns.split}
            converted = AsRelion(source, rows.has_split, used, rows.components, choice.flips)
        else:
            converted = AsCryosparc(source, choice)
            choice = CoordinateChoice(choice.recenter)  # the rest is in its fields
        warn(converted.warning)
        source, notes, dropped = converted, [*converted.notes], [*converted.dropped]
    writer = known.writer(rows, source, keep_track_length, choice)
    notes += writer.notes
    dropped += writer.dropped
    if dropped:
        listed = in_short(dropped, rows.source.columns)
        notes.append(f"dropped, because the output has no place for them: {listed}")
    return writer, notes


def _write_rows(path: str, writer: RowWriter, rows: int, progress: Progress | None) -> None:
    """Write all rows to a file."""
    with open(path, "wb") as file:
        for done in writer.write(file):
            if progress:
                progress(done, rows)
