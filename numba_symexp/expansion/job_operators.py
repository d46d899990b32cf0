"""Which operators a job asks for: the full set, its center, and what is chosen of it."""

from collections.abc import Iterator

import numpy as np

from numba_symexp.errors import SourceError, UsageError
from numba_symexp.expansion.job import ExpandJob
from numba_symexp.particles.columns import PoseColumns, unknown_pixel_size
from numba_symexp.particles.scan import Scan
from numba_symexp.particles.schema import ORIGIN_Z
from numba_symexp.particles.table import ParticleTable
from numba_symexp.symmetry.centers import CORNER, corner_of
from numba_symexp.symmetry.choices import (
    SAME_PLACE_A,
    at_one_place,
    meetings,
    nearly_on_axis,
    on_the_axis,
    stabilizer,
)
from numba_symexp.symmetry.descriptions import number_ranges
from numba_symexp.symmetry.operators import Operators

_MOST_NAMED = 3
"""So many centers are named that lie on axes; of more it is said how many."""

_SAME_PSIZE = 1e-6

_FAR = 0.25
"""Share of the box that an operator about the box center rarely moves it by."""


def check_movable(
    job: ExpandJob, table: ParticleTable, columns: PoseColumns, full: Operators
) -> None:
    """Refuse to move what cannot be moved: no pixel size, or an origin with a depth.

    Raises
    ------
    SourceError
        Says which, and what to do.
    """
    if not (full.moves or job.has_center):
        return
    reason = "a center was given" if job.has_center else f"{full.symmetry} has translations"
    if job.psize is None and columns.psize is None:
        raise unknown_pixel_size(table, columns.shift, reason)
    found = [name for name in ORIGIN_Z if name in table.columns]
    if found and table.columns[columns.shift].shape == (2,):
        raise SourceError(
            f"{table.path}: {found[0]} says that these are subtomograms, and {columns.shift} has "
            f"no third component, which would have to move too, for {reason}: import them again"
        )
    if job.defocus is not None and table.columns[columns.shift].shape == (3,):
        raise UsageError(
            "defocus= is for images: the defocus of subtomograms follows their place; leave it out"
        )


def chosen_operators(
    job: ExpandJob, table: ParticleTable, columns: PoseColumns, full: Operators, found: Scan
) -> tuple[Operators, Operators]:
    """Full set with the job's center, and what the job chooses of it.

    Raises
    ------
    UsageError, SourceError
        The choice cannot be made; see `choose`.
    """
    if job.origin == CORNER and job.box_px is not None:
        psize_A = _one_psize(job, table, columns, found, "origin")
        corner_A = corner_of(job.box_px, psize_A)
        if job.operators_file:
            full = full.counted_from(corner_A)
        if job.marker_files:
            full = job.about(full, job.read_centers(corner_A))
    if job.center_px is not None:
        psize_A = _one_psize(job, table, columns, found, "center_px")
        full = job.about(full, job.centers_of_px(psize_A))
    return full, job.chosen(full)


def center_warnings(full: Operators, operators: Operators) -> Iterator[str]:
    """Sentences about a center on a symmetry axis, or almost on one; and about centers alike."""
    if not np.any(full.center_A):
        return
    several = len(full.centers_A) > 1
    each = list(zip(full.of_each_center(), operators.of_each_center(), strict=True))
    names = [f"the center {k}" if several else "the center" for k in range(len(each))]
    together = [_sentence_on_axis(name, *both) for name, both in zip(names, each, strict=True)]
    yield from _first_sentences([text for text in together if text], "lie on axes")
    nearly = [
        _sentence_near_axis(k if several else None, whole) for k, (whole, _) in enumerate(each)
    ]
    yield from _first_sentences([text for text in nearly if text], "lie nearly on axes")
    alike = [_sentence_of_alike(*meeting) for meeting in meetings(operators)] if several else []
    yield from _first_sentences(alike, "are alike", "pairs of centers")


def _first_sentences(texts: list[str], rest: str, what: str = "centers") -> Iterator[str]:
    """The first of several sentences, and how many more there would be."""
    yield from texts[:_MOST_NAMED]
    if len(texts) > _MOST_NAMED:
        yield f"{len(texts) - _MOST_NAMED:,} more {what} {rest}"


def _sentence_on_axis(which: str, full: Operators, operators: Operators) -> str:
    """A sentence about one center on a symmetry axis; empty where it is on none."""
    together = at_one_place(operators) if np.any(full.center_A) else []
    if together and len(operators) == len(full):  # those that unique=True would take for one
        together = max(together, stabilizer(full).tolist(), key=len)
    if len(together) < 2:
        return ""
    return (
        f"{len(together)} operators ({number_ranges(together)}) put {which} at one place, so that "
        f"each subunit comes {len(together)} times: unique=True keeps one for each place"
    )


def _sentence_near_axis(center: int | None, full: Operators) -> str:
    """A sentence about one center almost on a symmetry axis; empty where it is on none."""
    nearly = nearly_on_axis(full) if np.any(full.center_A) else None
    if nearly is None:
        return ""
    number, moved_A = nearly
    point = ",".join(f"{part:.3f}" for part in np.round(on_the_axis(full, number), 3) + 0.0)
    which = "the center" if center is None else f"the center {center}"
    advice = f"center={point} and" if center is None else f"{point} in its place, and"
    return (
        f"operator {number} ({full.label[number]}) moves {which} by only {moved_A:.3g} A: if it "
        f"should lie on that axis, give {advice} unique=True"
    )


def _sentence_of_alike(one: int, other: int, apart_A: float) -> str:
    """A sentence about two centers that operators put at one place, or nearly."""
    if apart_A < SAME_PLACE_A:
        return (
            f"centers {one} and {other} are symmetry mates of each other: each of their subunits "
            "comes twice; leave one out"
        )
    return (
        f"an operator puts center {one} within {apart_A:.3g} A of center {other}: if they are one "
        "subunit, it comes twice; leave one out"
    )


def move_warnings(
    job: ExpandJob, table: ParticleTable, operators: Operators, found: Scan
) -> Iterator[str]:
    """A sentence about operators of a file that move the box center far."""
    box_px = job.box_px or table.box_px()
    if not operators.symmetry.from_file or box_px is None:
        return
    box_A = box_px * (found.psize_most_A if job.psize is None else job.psize)
    moved_A = np.linalg.norm(operators.translation_A, axis=1)
    number = int(np.argmax(moved_A))
    if moved_A[number] > _FAR * box_A > 0:
        yield (
            f"operator {number} moves the box center by {moved_A[number]:.4g} A in a box of "
            f"{box_A:.4g} A: where translations count from the map's corner, as in ChimeraX and "
            f"PDB files, give origin=corner and box_px={box_px}"
        )


def _one_psize(
    job: ExpandJob, table: ParticleTable, columns: PoseColumns, found: Scan, parameter: str
) -> float:
    """A per pixel, which must be one for all particles."""
    if job.psize is not None:
        return job.psize
    if found.psize_most_A - found.psize_least_A > _SAME_PSIZE * found.psize_least_A:
        raise SourceError(
            f"{table.path}: {columns.psize} differs between particles ({found.psize_least_A:g} to "
            f"{found.psize_most_A:g} A), so that {parameter}= is not one point: give it "
            "in A from the box center"
        )
    return found.psize_least_A
