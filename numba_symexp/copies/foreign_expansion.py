"""An expansion by another program: its operators, told by the poses of particles and copies."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.copies.copies import Expansion
from numba_symexp.copies.match import recognize
from numba_symexp.copies.means import Totals, robust_centers
from numba_symexp.copies.motion_set import MotionSet
from numba_symexp.copies.names import NONE, UNNAMED, name
from numba_symexp.copies.recover import Recovered, recover
from numba_symexp.copies.references import Pairs
from numba_symexp.copies.stated_symmetry import convention_of, longer_helix, stated_symmetries
from numba_symexp.errors import SourceError, SymexpError, UsageError
from numba_symexp.formats import open_table
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import expanded_by, find_columns
from numba_symexp.particles.schema import CONVENTION, FORMAT
from numba_symexp.poses import Poses
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.quaternions import matrices
from numba_symexp.symmetry.spec import choose_convention, point_group

FAR_DEG = 20.0
"""A local refinement turns a pose by less."""

_MOST_KINDS = 4096
_SAME_MOTION = float(np.cos(np.deg2rad(1.5)))
"""Cosine of half of 3 degrees."""

_SAME_FIT_DEG = 0.05

_MOST = 0.5
"""Share of the copies that must fit operators for these to be theirs."""


class ForeignExpansion(Expansion):
    """An expansion by another program, of which the particles are at hand.

    The operators are the identity alone, until somebody sets what the poses tell.

    Parameters
    ----------
    path : str
        The particles that were expanded.

    Raises
    ------
    SymexpError
        The file cannot be read, has no poses, or is expanded itself.
    """

    def __init__(self, path: str) -> None:
        source = open_table(path)
        try:
            if source.says("format", FORMAT):
                raise UsageError(
                    f"{path}: is an expanded table: name it with expanded= in place of source="
                )
            columns = find_columns(source)
            program = expanded_by(source)
            if program:
                raise SourceError(
                    f"{path}: is expanded itself, by {program}: give the particles that it was "
                    "made of"
                )
        except BaseException:
            source.close()
            raise
        convention = choose_convention(None, source.attributes.get(CONVENTION))
        names = columns.pose, columns.shift, columns.pose_format.name
        super().__init__(path, source, point_group("C1", convention), names)


@dataclass(frozen=True)
class Turns:
    """Some copies, with the particles that they were made of.

    Attributes
    ----------
    first : (n, 3, 3) float64
        exp(v) of the particles.
    between : (n, 3, 3) float64
        R = exp(v) exp(v_g)^T, what turned the particle into its copy.
    moved_A : (n, 2) or (n, 3) float64, or None
        s - s_g; None where the A per pixel is not known.
    """

    first: Array
    between: Array
    moved_A: Array | None


def nearest(between: Array, operators: Operators) -> tuple[Array, Array, float]:
    """Operators whose rotations are nearest to some.

    Parameters
    ----------
    between : (n, 3, 3) float64
    operators : Operators

    Returns
    -------
    operator : (n,) int64
    angle_deg : (n,) float64
        How far each is off.
    closest_deg : float
        Angle between the two operators that are closest; 180 where there is one only.
    """
    rotations = matrices(operators.pose_quaternion).reshape(len(operators), 9)
    trace = between.reshape(len(between), 9) @ rotations.T
    apart = rotations @ rotations.T
    np.fill_diagonal(apart, -1)
    return trace.argmax(axis=1), _angle_deg(trace.max(axis=1)), float(_angle_deg(apart.max()))


def turn_deg(one: Array, other: Array) -> Array:
    """Angles (n,) between rotations (n, 3, 3), in degrees."""
    return _angle_deg(np.einsum("nij,nij->n", one, other))


def turned_between(source: Array, pose: Array) -> Array:
    """What turned particles (n, 3, 3) into copies (n, 3): R = exp(v) exp(v_g)^T."""
    return np.asarray(source @ convert(pose, "rotvec", "matrix").swapaxes(1, 2))


def limit_deg(closest_deg: float) -> float:
    """How far from an operator a copy may be turned."""
    return min(FAR_DEG, closest_deg / 2)


def _angle_deg(trace: Array) -> Array:
    """Angles of rotation matrices by their traces: cos = (trace - 1) / 2."""
    return np.asarray(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))))


def told_by_poses(rows: Poses, some: Turns) -> Operators:
    """Operators by which another program made copies.

    Those that the table states or that `match` finds, whichever the poses fit; else those that fit
    the motions from the particles themselves, where no number of a copy says anything.

    Parameters
    ----------
    rows : Poses
        The copies.
    some : Turns
        Some of them.

    Raises
    ------
    SourceError
        None of these fit most of the copies.
    """
    for candidates in _candidates(rows, some):
        fitting = [each for each in candidates if _share_that_fits(some, each) > _MOST]
        if fitting:
            return min(fitting, key=lambda each: _off_steps(some, each))
    raise SourceError(
        f"{rows.table.path}: the motions from the particles to its rows are the operators of no "
        "known symmetry: give the particles that they were made of with source="
    )


def _candidates(rows: Poses, some: Turns) -> Iterator[list[Operators]]:
    """Operators that copies may be of, the surest first."""
    stated = stated_symmetries(rows, convention_of(rows))
    yield [each for each in stated if not each.moves]
    yield _matched(rows)
    yield stated
    yield [longer for each in stated for longer in longer_helix(each)]
    yield _from_particles(rows, some, stated)


def _matched(rows: Poses) -> list[Operators]:
    """What `match` finds."""
    try:
        _, known, _ = recognize(rows, recover(rows))
    except SymexpError:
        return []
    return [known.operators] if known.operators is not None else []


def _from_particles(rows: Poses, some: Turns, stated: list[Operators]) -> list[Operators]:
    """What the motions from the particles to their copies are."""
    turned = convert(some.between, "matrix", "quaternion")
    kinds = _kinds(turned)
    if kinds is None:
        return []
    copy = np.abs(turned @ kinds.T).argmax(axis=1)
    has_A = some.moved_A is not None
    moved_A = some.moved_A if some.moved_A is not None else np.zeros((len(copy), 2))
    pairs = Pairs(copy, turned, convert(some.first, "matrix", "quaternion"), moved_A)
    totals = Totals(robust_centers(pairs, len(kinds)))
    totals.add(pairs)
    motions = MotionSet.of(
        Recovered(
            np.arange(len(kinds)),
            totals.means(),
            totals.particles,
            totals.particles - totals.kept,
            totals.largest_deg,
            totals.largest_A,
            has_A,
            len(copy),
            (),
        )
    )
    still = int(np.abs(motions.quaternion[:, 0]).argmax())
    if np.degrees(2 * np.arccos(min(1.0, abs(motions.quaternion[still, 0])))) < 1:
        motions = motions.relative_to(still)  # copies may be about another point
    known = name(motions, None, stated, convention_of(rows))
    if known.verdict in (NONE, UNNAMED) or known.operators is None:
        return []
    return [known.operators]


def _kinds(turned: Array) -> Array | None:
    """Rotations (K, 4) that differ by over 3 degrees; None where there are more than copies."""
    found: list[Array] = []
    while len(turned):
        if len(found) == _MOST_KINDS:
            return None
        found.append(turned[0])
        turned = turned[np.abs(turned @ turned[0]) < _SAME_MOTION]
    return np.array(found)


def _off_steps(some: Turns, operators: Operators) -> int:
    """How far copies are from the nearest operators on average, in steps of 0.05 deg."""
    _, angle_deg, _ = nearest(some.between, operators)
    return round(float(np.minimum(angle_deg, FAR_DEG).mean()) / _SAME_FIT_DEG)


def _share_that_fits(some: Turns, operators: Operators) -> float:
    """Share of copies that are near enough to an operator."""
    _, angle_deg, closest_deg = nearest(some.between, operators)
    return float((angle_deg <= limit_deg(closest_deg)).mean())
