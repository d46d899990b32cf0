"""Put poses that were refined with other images of the same particles on the full-size ones."""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_symexp.annotations import AnyPath, Array, Progress
from numba_symexp.conversion.particle_output import ParticleOutput
from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.files import path_list
from numba_symexp.formats import format_of_output
from numba_symexp.particles.columns import half_set_column, unknown_pixel_size
from numba_symexp.particles.convention import check_convention, settle
from numba_symexp.particles.halves import torn_particles
from numba_symexp.particles.schema import CONVENTION
from numba_symexp.symmetry.centers import Point, check_point
from numba_symexp.symmetry.spec import choose_convention
from numba_symexp.transfers.beside_pose import ColumnsBesidePose
from numba_symexp.transfers.image_moves import (
    Boxes,
    doubt_of_subtraction,
    refuse_other_pixels,
    subtracted_move_A,
)
from numba_symexp.transfers.join import ORIGINAL_IMAGE, Joined, join
from numba_symexp.transfers.rows import Moves, TransferredTable
from numba_symexp.transfers.sets import PoseSet, check_poses, open_set

_STEP = 1 << 16
"""Rows that are looked at together."""


@dataclass(frozen=True)
class TransferReport:
    """What `transfer` wrote.

    Attributes
    ----------
    source, target, output : str
        Where poses came from, whose rows got them, and what was written.
    rows, of : int
        Rows that were written, and rows of the target: the others have no partner.
    unused : int
        Rows of the source that have no partner.
    joined_on : str
        Columns by which rows were found.
    recentered : int
        Rows whose shift changed in A, since their images were moved.
    dropped : tuple of str
        Columns of the target that belonged to its old poses.
    notes : tuple of str
        What the user should know.
    files : tuple of str
        All files that were written.
    """

    source: str
    target: str
    output: str
    rows: int
    of: int
    unused: int
    joined_on: str
    recentered: int
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    files: tuple[str, ...]


def transfer(
    source: AnyPath,
    target: AnyPath,
    output: AnyPath,
    *,
    subtracted_center: Point | None = None,
    same_center: bool = False,
    convention: str | None = None,
    source_psize: float | None = None,
    target_psize: float | None = None,
    source_passthrough: AnyPath | Sequence[AnyPath] = (),
    passthrough: AnyPath | Sequence[AnyPath] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TransferReport:
    """Put the poses of one set on the rows of another with other images of the same particles.

    The output has the rows of the target that have a partner, in its order, with all its columns.
    Pose, shift and half-set are the source's; a shift in A stays what it is. Poses of other classes
    and priors of the target would belong to its old poses: the source's take their place, else
    they are left out and named.

    Parameters
    ----------
    source : str or path
        What was refined: a set of down-sampled, subtracted or newly extracted images.
    target : str or path
        The set that gets the poses.
    output : str or path
        Particle table to write, in the format of its suffix.
    subtracted_center : tuple of float, optional
        Point (x, y, z) of the map before RELION's Subtract, in A from the box center, about which
        Subtract centered the source's images. The target has the poses of then.
    same_center : bool
        The source's images have new names, but were not moved.
    convention : {"cryosparc", "relion"}, optional
        In whose convention the source was refined; by default what it says.
    source_psize, target_psize : float, optional
        A per pixel of shifts, where a set does not say.
    source_passthrough, passthrough : sequence of str or path
        Further .cs files of the source, and of the target.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Returns
    -------
    TransferReport

    Raises
    ------
    UsageError
        Options that contradict each other.
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.
    """
    source, target, output = os.fspath(source), os.fspath(target), os.fspath(output)
    further_source, further = path_list(source_passthrough), path_list(passthrough)
    check_point("subtracted_center", subtracted_center)
    check_convention(convention)
    if subtracted_center is not None and same_center:
        raise UsageError("subtracted_center= and same_center=True contradict each other: give one")
    written = ParticleOutput(output, [source, target, *further_source, *further], overwrite)
    with (
        closing(open_set(source, "source", source_psize, further_source)) as given,
        closing(open_set(target, "target", target_psize, further)) as getting,
    ):
        for each in (given, getting):
            written.refuse_inputs([each.table, *([each.expanded] if each.expanded else [])])
        _refuse_unfit(given, getting, output, subtracted_center)
        joined = join(given, getting)
        notes = _notes_of_join(given, getting, joined)
        moves, told = _moves(given, getting, joined, subtracted_center, same_center)
        notes += told
        recentered = _count(joined, moves)
        beside = ColumnsBesidePose.of(given, getting, recentered > 0)
        attributes = _attributes(given, getting, convention)
        table = TransferredTable(given, getting, joined, beside, moves, attributes)
        names, psize_A = getting.pose_columns(), getting.psize_given_A
        record = {"poses_from": os.path.basename(source)}
        notes += _note_of_halves(given, getting, joined)
        notes += written.write(table, names, psize_A, record, progress)
        return TransferReport(
            source=source,
            target=target,
            output=output,
            rows=table.n_rows,
            of=getting.table.n_rows,
            unused=given.table.n_rows - len(joined.partners),
            joined_on=joined.in_words(),
            recentered=recentered,
            dropped=beside.dropped,
            notes=tuple(notes),
            files=written.names,
        )


def _refuse_unfit(given: PoseSet, getting: PoseSet, output: str, center: Point | None) -> None:
    """Refuse sets between which no poses can go.

    Raises
    ------
    SourceError
        Says which, and what to do.
    """
    if given.columns is None:
        raise SourceError(
            f"{given.path}: has no 3D poses (columns: {given.table.columns_in_words()}): give the "
            "set that was refined as source="
        )
    check_poses(given, given.columns)
    if center is not None and getting.columns is None:
        raise SourceError(
            f"{getting.path}: has no poses, and subtracted_center= needs those that Subtract was "
            "given: give the set that was subtracted as target="
        )
    shift = given.columns.shift
    if not given.knows_psize:
        advice = "give source_psize=A_PER_PIXEL"
        raise unknown_pixel_size(given.table, shift, "shifts are scaled between two sets", advice)
    if not getting.knows_psize and (getting.columns is not None or getting.is_text):
        advice = "give target_psize=A_PER_PIXEL"
        raise unknown_pixel_size(getting.table, shift, "shifts are scaled between two sets", advice)
    if getting.expanded is not None and not format_of_output(output).is_own:
        raise UsageError(
            f"{output}: {getting.path} is an expanded table: export it first, and transfer onto "
            "that file; or write HDF5"
        )
    one, other = given.expanded, getting.expanded
    if one is None or other is None:
        return
    for name in ("quaternion", "translation_A", "center_A", "turn"):
        if not np.array_equal(getattr(one.operators, name), getattr(other.operators, name)):
            raise SourceError(
                f"{getting.path}: is not expanded by the operators of {given.path}, about the same "
                "centers: expand both sets alike"
            )


def _notes_of_join(given: PoseSet, getting: PoseSet, joined: Joined) -> list[str]:
    """What a user should know of rows without a partner, and of numbers that are taken on trust."""
    notes = []
    unused = given.table.n_rows - len(joined.partners)
    if unused:
        notes.append(f"{unused:,} row(s) of {given.path} have no partner in {getting.path}")
    if joined.by_row:
        notes.append(
            f"joined on {joined.in_words()}: the particles behind both sets must be the same, in "
            "the same order"
        )
    return notes


def _moves(
    given: PoseSet,
    getting: PoseSet,
    joined: Joined,
    center: Point | None,
    same_center: bool,
) -> tuple[list[Moves], list[str]]:
    """What is added to shifts because images were moved, and what a user should know of it.

    Raises
    ------
    SourceError
        Images were moved, and nobody says about which point.
    """
    moves: list[Moves] = []
    notes: list[str] = []
    boxes = Boxes.of(given.table, getting.table)
    if boxes is not None and _moves_any(joined, boxes.moves_A):
        moves.append(boxes.moves_A)
        notes.append(
            "boxes of the two sets are at different places on the micrographs "
            f"({' and '.join(boxes.names)}): shifts count from the new ones"
        )
    if center is not None:
        refuse_other_pixels(given, getting, joined)
        moves.append(lambda rows, partners: subtracted_move_A(getting, rows, center))
        named = ", ".join(f"{part:g}" for part in center)
        notes.append(
            f"the rounded move of Subtract about ({named}) A was added to shifts, by the poses of "
            f"{getting.path}: the rows reconstruct the map about that point"
        )
    elif not same_center:
        _settle_subtraction(given, getting, joined)
    return moves, notes


def _settle_subtraction(given: PoseSet, getting: PoseSet, joined: Joined) -> None:
    """Refuse images that Subtract moved; warn where it is not known."""
    moved, told = doubt_of_subtraction(given, getting, joined)
    options = (
        "subtracted_center=X,Y,Z (A) adds the rounded move of RELION's Subtract, and "
        "same_center=True says that nothing was moved"
    )
    if moved:
        raise SourceError(
            f"{given.path}: its images were cut out of others (_{ORIGINAL_IMAGE}) and seem to be "
            f"moved: {told}: {options}"
        )
    if told:
        warn(f"{given.path}: its images are made of others (_{ORIGINAL_IMAGE}); {told}: {options}")


def _moves_any(joined: Joined, move: Moves) -> bool:
    """Whether a move is not 0 in some row."""
    return _count(joined, [move]) > 0


def _count(joined: Joined, moves: Sequence[Moves]) -> int:
    """Rows that are moved."""
    count = 0
    for start in range(0, len(joined.rows) if moves else 0, _STEP):
        rows, partners = (each[start : start + _STEP] for each in (joined.rows, joined.partners))
        total: Array = sum((move(rows, partners) for move in moves), np.zeros((len(rows), 2)))
        count += int(np.count_nonzero(total.any(axis=1)))
    return count


def _attributes(given: PoseSet, getting: PoseSet, convention: str | None) -> dict[str, Any]:
    """What the new table says of itself: poses keep the convention that they were refined in."""
    attributes = dict(getting.table.attributes)
    told = given.table.attributes.get(CONVENTION)
    used = choose_convention(convention, told)
    own = choose_convention(None, attributes.get(CONVENTION))
    if used != own:
        settle(attributes, used)
        warn(
            f"{given.path} was refined in the convention {used}, and {getting.path} says {own}: "
            f"the output is marked {used}, as its poses are; convention={own} settles it otherwise"
        )
    elif convention is not None:
        settle(attributes, used)
    return attributes


def _note_of_halves(given: PoseSet, getting: PoseSet, joined: Joined) -> list[str]:
    """What a user should know of half-sets."""
    if given.columns is None or given.columns.split is None:
        return []
    warn(torn_particles(given.table, given.columns))
    own = half_set_column(getting.table.columns, getting.pose_columns()[0])
    if own is None:
        return []
    differing, new = 0, given.columns.split
    for start in range(0, len(joined.rows), _STEP):
        rows, partners = (each[start : start + _STEP] for each in (joined.rows, joined.partners))
        before = getting.table.read_at([own], rows)[own]
        differing += int(np.count_nonzero(before != given.table.read_at([new], partners)[new]))
    if not differing:
        return []
    return [f"{differing:,} row(s) are in the half-set of {given.path}, and were in the other"]
