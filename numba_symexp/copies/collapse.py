"""From copies to particles: one row each, with the number of its copies."""

import os
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import AnyPath, Array, Progress
from numba_symexp.conversion.particle_output import ParticleOutput
from numba_symexp.conversion.placed_subtomograms import program_of
from numba_symexp.copies.collapsed_table import CollapsedTable
from numba_symexp.copies.copies import Copies, ExpandedCopies
from numba_symexp.copies.opening import open_copies
from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.files import path_or_none
from numba_symexp.formats.cryosparc.slots import why_left_out
from numba_symexp.particles.columns import native, pixel_size_column
from numba_symexp.particles.findings import without_score
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import OPERATOR_INDEX, SHIFT
from numba_symexp.particles.table import ParticleTable
from numba_symexp.particles.words import numbers
from numba_symexp.symmetry.mates import mates

_KEEP = ("max", "min")

_FAR_A = 10.0
"""A local refinement moves most particles by less."""

_SOME = 4096
"""So many particles are looked at, or up to twice as many."""


@dataclass(frozen=True)
class CollapseReport:
    """What `collapse` wrote.

    Attributes
    ----------
    output, source : str
        The table that was written, and the one that was read.
    rows, particles, of : int
        Copies that were read, particles that were written, and particles of the source.
    by, keep : str or None
        How the best copy was chosen.
    notes : tuple of str
        What the user should know.
    counts : dict of int to int
        How many particles have how many copies.
    files : tuple of str
        All files that were written.
    """

    output: str
    source: str
    rows: int
    particles: int
    of: int
    by: str | None
    keep: str | None
    notes: tuple[str, ...]
    counts: dict[int, int]
    files: tuple[str, ...] = ()


def collapse(
    file: AnyPath,
    output: AnyPath,
    by: str | None = None,
    keep: str = "max",
    expanded: AnyPath | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    source: AnyPath | None = None,
) -> CollapseReport:
    """Write one row per particle of which there are copies, with all columns of the source.

    Parameters
    ----------
    file : str or path
        Expanded table, all of its rows or some; or a .cs or .star that came back of it.
    output : str or path
        Particle table to write: the suffix .star makes a particle file of RELION, .cs a dataset and
        a result group of CryoSPARC, any other an HDF5 table. The first two have the bytes of the
        export of the HDF5 table.
    by : str, optional
        Column of the copies that tells the best of each particle: its pose and shift are written,
        and ``operator_index`` and ``operator_label`` name its operator. Without it the particle's
        own pose and shift are. NaN is worst; of equals the first is taken.
    keep : {"max", "min"}
        Which value is best.
    expanded : str or path, optional
        The expanded table that a .cs or .star came from.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.
    source : str or path, optional
        The table that the expanded one was expanded from, if the file has moved. Without an
        expanded table: the particles of which another program made the copies, whose operators
        are then told by their poses.

    Returns
    -------
    CollapseReport

    Raises
    ------
    UsageError
        ``keep`` is unknown, or both ``expanded`` and ``source`` are missing.
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.
    """
    if keep not in _KEEP:
        raise UsageError(f"keep={keep} is neither {' nor '.join(_KEEP)}")
    file = os.fspath(file)
    expanded = path_or_none(expanded)
    source = path_or_none(source)
    output, inputs = os.fspath(output), [file, expanded, source]
    target = ParticleOutput(output, inputs, overwrite)
    with open_copies(file, expanded, source, by is not None) as copies:
        target.refuse_inputs([copies.source, copies.table])
        if by is not None:
            _refuse_other_poses(copies)
        count, best = _gather(copies, by, keep == "max", progress)
        if best is not None:
            warn(_far_away(copies, np.flatnonzero(count), best))
        table = CollapsedTable(copies, count, best)
        attributes = {"collapsed_from": os.path.basename(file)}
        known = copies.expanded
        found = target.write(table, known.pose_columns, known.psize_given_A, attributes)
        numbers, particles = np.unique(count, return_counts=True)
        found = [*why_left_out(table.left_out, copies.source.columns), *found]
        if by is not None and table.not_turned:
            named = ", ".join(table.not_turned)
            found = [*found, f"not of the best copies, but of their particles: {named}"]
        return CollapseReport(
            output=output,
            source=file,
            rows=copies.table.n_rows,
            particles=table.n_rows,
            of=copies.source.n_rows,
            by=by,
            keep=keep if by else None,
            notes=(*_notes(copies, by, int(count.sum())), *found),
            counts=dict(zip(numbers.tolist(), particles.tolist(), strict=True)),
            files=target.names,
        )


def _far_away(copies: Copies, particles: Array, best: Array) -> str:
    """Say that best copies are far from where the expanded table puts them; else empty."""
    known = copies.expanded
    if isinstance(copies, ExpandedCopies) or not isinstance(known, ExpandedTable):
        return ""
    source, (pose_name, shift_name, form) = copies.source, known.pose_columns
    size = pixel_size_column(source.columns, shift_name)
    if (size is None and known.psize_given_A is None) or not len(particles):
        return ""
    some = particles[:: max(1, len(particles) // _SOME)]
    operator, _, shift = copies.poses(best[some], some)
    names = [pose_name, shift_name, *([size] if size else [])]
    own = {name: native(each) for name, each in source.read_at(names, some).items()}
    size_A = known.psize_given_A or own[size or ""].astype(np.float64)
    _, wanted = mates(own[pose_name], form, known.operators, operator, own[shift_name], size_A)
    far_A = np.linalg.norm(shift - wanted, axis=1) * size_A
    median_A = float(np.median(far_A))
    if not median_A > _FAR_A:
        return ""
    return (
        f"{copies.table.path}: most rows are {median_A:.0f} A or more from where {known.path} puts "
        "them: where they come from another expansion, name that; where images were cut anew, "
        "their shifts count from the new places, and do not go with the particles' coordinates"
    )


def _notes(copies: Copies, by: str | None, counted: int) -> list[str]:
    """What a user should know of the poses that are written."""
    operators, notes = copies.expanded.operators, list(copies.notes)
    double = copies.table.n_rows - counted
    if double:
        notes.append(f"{double:,} row(s) stand twice in {copies.table.path} and count once")
    points = [f"({x:g}, {y:g}, {z:g})" for x, y, z in operators.centers_A.tolist()]
    if by is not None and len(points) > 1:
        notes.append(
            f"shifts are those of the best copies, each about its own of {len(points)} centers; "
            f"{OPERATOR_INDEX} says which"
        )
    elif by is not None and operators.center_A.any():
        notes.append(
            f"shifts are those of the best copies, about the point {points[0]} A of the map"
        )
    if by is not None and len(operators.turn):
        notes.append("poses are those of the best copies, in the frame that align turned to z")
    return notes


def _gather(
    copies: Copies, by: str | None, largest: bool, progress: Progress | None
) -> tuple[Array, Array | None]:
    """Count the copies of each particle, and find the best of them."""
    table, particles = copies.table, copies.source.n_rows
    best = np.full(particles, -1, np.int64) if by else None
    score, missing = np.full(particles, -np.inf), 0
    if by:
        _refuse_column(table, by)
    for start, stop in blocks(table, [by] if by else [next(iter(table.columns))]):
        sources = copies.sources(start, stop)
        copies.count(start, stop, sources)
        if best is not None and by:
            value = _numbers(table, by, start, stop)
            missing += int(np.count_nonzero(np.isnan(value)))
            value = np.where(np.isnan(value), -np.inf, value if largest else -value)
            order = np.lexsort((-np.arange(start, stop), value, sources))
            last = np.append(sources[order][1:] != sources[order][:-1], True)
            chosen = order[last]
            here = sources[chosen]
            better = (best[here] < 0) | (value[chosen] > score[here])
            best[here[better]] = start + chosen[better]
            score[here[better]] = value[chosen][better]
        if progress:
            progress(stop, table.n_rows)
    if by:
        warn(without_score(table.path, by, missing, table.n_rows))
    return copies.counts(), best


def _refuse_other_poses(copies: Copies) -> None:
    """Refuse copies whose poses are of another kind than those of the particles.

    Raises
    ------
    SourceError
        The best copy's pose and shift would be wrong among the columns of its particle.
    """
    table, source = copies.table, copies.source
    _, shift, _ = copies.expanded.pose_columns
    if isinstance(copies, ExpandedCopies):
        return
    own = table.columns.get(SHIFT)
    same = own is None or own.shape == source.columns[shift].shape
    if not same or program_of(table) != program_of(source):
        raise SourceError(
            f"{table.path}: its poses are of another kind than those of {source.path}: bring the "
            "copies back in the format of the particles, or leave out by="
        )


def _numbers(table: ParticleTable, by: str, start: int, stop: int) -> Array:
    """Values of a column; the words of a .star are numbers where they can be."""
    values = table.read([by], start, stop)[by]
    if values.dtype.kind == "S":
        return numbers(values, f"{table.path}: {by}", start)
    return values.astype(np.float64)


def _refuse_column(table: ParticleTable, by: str) -> None:
    """Refuse a column by which nothing can be best."""
    column = table.columns.get(by)
    if column is None:
        raise SourceError(
            f"{table.path}: no column {by} (columns: {table.columns_in_words()}): check by="
        )
    if column.shape or column.dtype.kind not in "iufbS":
        raise SourceError(f"{table.path}: {by} is {column}, not one number per row: check by=")
