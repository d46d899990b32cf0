"""Match the copies of an expanded table with the operators that made them."""

import time

import numpy as np

from numba_symexp.annotations import Array, Progress
from numba_symexp.copies.match_report import CopyReport, MatchReport
from numba_symexp.copies.motion_set import MotionSet
from numba_symexp.copies.names import (
    NONE,
    UNNAMED,
    WHOLE,
    Name,
    middle_of_helix,
    name,
    why_no_group,
)
from numba_symexp.copies.recover import Recovered, recover
from numba_symexp.copies.stated_symmetry import convention_of, stated_symmetries
from numba_symexp.errors import warn
from numba_symexp.particles.halves import torn_particles
from numba_symexp.poses import Poses, open_poses
from numba_symexp.symmetry.descriptions import describe, number_ranges
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import Own


def match(
    path: str,
    operators: Operators | None = None,
    psize_A: float | None = None,
    progress: Progress | None = None,
    source: str | None = None,
) -> MatchReport:
    """Recover the operators of an expansion, by whatever program, and name them in our tables.

    Parameters
    ----------
    path : str
        Expanded table: a .cs with ``sym_expand/src_uid`` and ``sym_expand/idx``; a .star, in which
        the rows of an image are its copies in file order; or one of this package.
    operators : Operators, optional
        What the copies should be; else every known symmetry is tried.
    psize_A : float, optional
        A per pixel of the shifts, in place of what the table says.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.
    source : str, optional
        The table that one of this package was expanded from, if the file has moved.

    Returns
    -------
    MatchReport
        ``matched`` says whether the copies are known operators; ``copies`` which ones.

    Raises
    ------
    UsageError
        The pixel size is no length.
    SourceError
        The file cannot be read; its rows do not say whose copies they are, or have nothing to
        compare them to; shifts differ, and there is no pixel size.
    """
    started = time.perf_counter()
    with open_poses(path, psize_A, source) as rows:
        if rows.operators is not None and not rows.operators.moves:
            rows.leave_px()  # copies have their particle's shift, and the source may be gone
        if rows.expanded is None:
            warn(torn_particles(rows.table, rows.columns))
        found = recover(rows, progress)
        motions, known, reference = recognize(rows, found, operators)
        counted_from = int(found.copies[reference])
        return MatchReport(
            file=path,
            verdict=known.verdict,
            rows=rows.table.n_rows,
            particles=found.n_particles,
            symmetry=str(known.operators.symmetry) if known.operators else None,
            convention=known.operators.convention if known.operators else None,
            order=len(known.operators) if known.operators else None,
            description=_description(known, found.copies),
            given=describe(operators) if operators is not None else None,
            operators_flag=_flag(known),
            is_group=known.verdict == UNNAMED
            or (known.verdict != NONE and motions.outside() is None),
            reference=counted_from,
            center_A=tuple(known.motions.center_A.tolist()),
            tolerance_deg=float(motions.tolerance_deg.max()),
            tolerance_A=float(motions.tolerance_A.max()),
            notes=tuple(_notes(rows, found, counted_from)),
            copies=_copies(found, motions, known),
            seconds=time.perf_counter() - started,
        )


def recognize(
    rows: Poses, found: Recovered, operators: Operators | None = None
) -> tuple[MotionSet, Name, int]:
    """Name recovered motions; also gives the motions, and the copy that they are counted from.

    Parameters
    ----------
    rows : Poses
        The copies.
    found : Recovered
        Their motions.
    operators : Operators, optional
        What they should be.
    """
    convention = convention_of(rows)
    guesses = stated_symmetries(rows, convention)
    motions = MotionSet.of(found)
    known = name(motions, operators, guesses, convention)
    middle = None if rows.keys[1] else middle_of_helix(known)
    if middle is not None:  # which row of an image is the original is not written
        other = name(motions.relative_to(middle), operators, guesses, convention)
        if other.verdict == WHOLE:
            return motions.relative_to(middle), other, middle
    return motions, known, 0


def _description(known: Name, copies: Array) -> str:
    """The symmetry and its axes, or why there is none."""
    if known.verdict == NONE:
        return why_no_group(known.motions, copies)
    where = ""
    if known.motions.center_A.any():
        where = f", about the point {_vector(known.motions.center_A, 2)} A from the box center"
    if known.operators is not None:
        return describe(known.operators) + where
    by_fold: dict[int, Array] = {}
    for fold, axis in known.motions.axes():
        by_fold.setdefault(fold, axis)
    words = [f"{fold}-fold on {_vector(axis, 3)}" for fold, axis in by_fold.items()]
    return f"{known.motions.group_name()}, {len(copies):,} operator(s): {', '.join(words)}{where}"


def _vector(vector: Array, decimals: int) -> str:
    """Vector for a line of text."""
    return "(" + ", ".join(f"{part + 0.0:.{decimals}f}" for part in vector.round(decimals)) + ")"


def _flag(known: Name) -> str | None:
    """Numbers of the operators of a part."""
    if (
        known.operators is None
        or known.numbers is None
        or len(known.numbers) == len(known.operators)
    ):
        return None
    return number_ranges(np.sort(known.numbers).tolist())


def _notes(rows: Poses, found: Recovered, reference: int) -> list[str]:
    """What was left out, what could not be seen, and a reference that is not copy 0."""
    notes = list(found.notes)
    if len(found.copies) == 1:
        notes.append("every particle has one row only: nothing is expanded")
    if rows.operators is not None and len(rows.operators.turn):
        notes.append("the map of the copies is turned: axes are those of the turned map")
    moved = found.means.translation_A.any(axis=1)
    if found.has_translation and (moved & ~found.means.seen).any():
        notes.append(
            "all particles are seen from one direction: translations along it are not known"
        )
    if reference:
        why = "the first about its center"
        if rows.operators is None:
            why = "the middle of the helix, which RELION makes the original"
        notes.append(f"motions are counted from copy {reference}, {why}")
    return notes


def _copies(found: Recovered, motions: MotionSet, known: Name) -> tuple[CopyReport, ...]:
    """Everything about each copy."""
    quaternion, off_deg, off_A = motions.quaternion, None, None
    if known.operators is not None and known.numbers is not None:
        exact = known.operators.quaternion[known.numbers]
        # of q and -q the one that turns about the operator's own axis
        quaternion = quaternion * np.where((quaternion * exact).sum(axis=1) < 0, -1.0, 1.0)[:, None]
        off_deg = np.rad2deg(4 * np.arcsin(np.linalg.norm(quaternion - exact, axis=1) / 2))
        off_A = np.linalg.norm(
            known.motions.translation_A - known.operators.translation_A[known.numbers], axis=1
        )
    else:
        quaternion = quaternion * np.where(quaternion[:, :1] < 0, -1.0, 1.0)
    recovered = Operators(
        quaternion, motions.translation_A, ("",) * len(motions), Own("copies"), "own"
    )
    sine = np.linalg.norm(quaternion[:, 1:], axis=1)
    angle_deg = np.rad2deg(2 * np.arctan2(sine, quaternion[:, 0]))
    still = angle_deg <= motions.tolerance_deg
    axis = np.where(
        still[:, None], (0, 0, 1), quaternion[:, 1:] / np.where(still, 1, sine)[:, None]
    )
    means, has_A = found.means, found.has_translation
    return tuple(
        CopyReport(
            copy=int(found.copies[k]),
            operator=None if known.numbers is None else int(known.numbers[k]),
            label=None
            if known.operators is None or known.numbers is None
            else known.operators.label[known.numbers[k]],
            angle_deg=float(angle_deg[k]),
            axis=tuple(axis[k].tolist()),
            matrix=tuple(map(tuple, recovered.matrix[k].tolist())),
            quaternion=tuple(quaternion[k].tolist()),
            translation_A=tuple(motions.translation_A[k].tolist()) if has_A else None,
            off_deg=None if off_deg is None else float(off_deg[k]),
            off_A=None if off_A is None or not has_A else float(off_A[k]),
            particles=int(found.particles[k]),
            outliers=int(found.outliers[k]),
            spread_deg=float(means.rms_deg[k]),
            largest_deg=float(found.largest_deg[k]),
            spread_A=float(means.rms_A[k]) if has_A else None,
            largest_A=float(found.largest_A[k]) if has_A else None,
        )
        for k in range(len(motions))
    )
