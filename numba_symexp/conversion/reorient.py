"""Particles in another frame of the map, one row each."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_symexp.annotations import AnyPath, Array, Progress
from numba_symexp.conversion.no_copies import NoCopies
from numba_symexp.conversion.particle_output import ParticleOutput
from numba_symexp.conversion.turned_table import WORD, TurnedTable, as_words
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.files import path_list, path_or_none, read_small
from numba_symexp.formats import open_table
from numba_symexp.formats.cryosparc.slots import why_left_out
from numba_symexp.formats.relion.labels import TRACKS
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import (
    expanded_by,
    find_columns,
    pixel_size_column,
    without_given_psize,
)
from numba_symexp.particles.convention import settle
from numba_symexp.particles.scan import scan
from numba_symexp.particles.schema import (
    CONVENTION,
)
from numba_symexp.particles.table import Column, ParticleTable
from numba_symexp.particles.words import numbers
from numba_symexp.symmetry.centers import Point, check_point
from numba_symexp.symmetry.frames import (
    angle_and_axis,
    axis_named,
    chimerax_turn,
    group_named,
    rotation_between,
    rotation_to,
)
from numba_symexp.symmetry.operators import FARTHEST_A, Operators
from numba_symexp.symmetry.point_groups import HOUSE
from numba_symexp.symmetry.spec import Own, choose_convention

_FLIP = np.diag([1.0, -1.0, -1.0])
"""Half a turn about x."""

_MOST_TEXT = 65_536

_REVERSED = -1 + 1e-9
"""Cosine of the angle of an axis that points the other way."""

_ORTHOGONAL = 1e-4
"""How far typed matrices are from rotations."""


@dataclass(frozen=True)
class ReorientReport:
    """What `reorient` wrote.

    Attributes
    ----------
    source, output : str
    particles : int
    angle_deg : float
    axis : tuple of float
        Rotation of the map.
    matrix : tuple of tuple of float
        The same, (3, 3): x' = Q (x - center).
    center_A : tuple of float
        Point of the old map that is the new box center, A from the old one.
    chimerax : str
        Commands that do the same to the map.
    notes : tuple of str
        What the user should know.
    files : tuple of str
        All files that were written.
    """

    source: str
    output: str
    particles: int
    angle_deg: float
    axis: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    center_A: tuple[float, ...]
    chimerax: str
    notes: tuple[str, ...]
    files: tuple[str, ...]


def reorient(
    source: AnyPath,
    output: AnyPath,
    *,
    from_group: str | None = None,
    to_group: str | None = None,
    axis: str | None = None,
    to: str | None = None,
    matrix: AnyPath | None = None,
    flip: bool = False,
    center: Point | None = None,
    convention: str | None = None,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    psize: float | None = None,
    passthrough: AnyPath | Sequence[AnyPath] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ReorientReport:
    """Turn a set of particles to another frame of the map: A becomes A Q^T, where x' = Q (x - c).

    Parameters
    ----------
    source, output : str or path
        Particle table, and the one that is written in the format of its suffix. Ids, half-sets and
        all other columns stay; priors, and poses of other classes, turn too.
    from_group, to_group : str, optional
        The group as the map has it, and as it shall be: ``I1``, or ``chimerax:I,n25`` by the name
        of another program.
    axis, to : str, optional
        A direction of the map, and where it shall point: x, y, z, or three numbers. The smallest
        rotation is taken; of opposite directions half a turn about x.
    matrix : str or path, optional
        Rotation matrix Q, row by row: a file of 3 x 3 numbers, or the numbers with commas.
    flip : bool
        Half a turn about x, as for a filament that runs the other way.
    center : tuple of float, optional
        Point (x, y, z) of the map as it is, in A from the box center: the new box center.
    convention : str, optional
        Whose names the groups have; by default what the table says, else cryosparc.
    table, pose, pose_format, shift, psize
        As in `expand`.
    passthrough : sequence of str or path
        Further .cs files of the same particles.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Returns
    -------
    ReorientReport

    Raises
    ------
    UsageError
        Not exactly one rotation is named, or the groups are of different kinds.
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.
    """
    source, output = os.fspath(source), os.fspath(output)
    matrix = path_or_none(matrix)
    further = path_list(passthrough)
    check_point("center", center)
    if center is not None and max(map(abs, center)) >= FARTHEST_A:
        raise UsageError(f"center={center} is farther than any map is large: give A")
    target = ParticleOutput(output, [source, *further, matrix], overwrite)
    with open_table(source, table, further) as particles:
        target.refuse_inputs([particles])
        program = expanded_by(particles)
        if program:
            raise SourceError(
                f"{source}: is expanded, by {program}, and its operators belong to the old frame: "
                "reorient the particles, and expand them again"
            )
        whose = choose_convention(convention, particles.attributes.get(CONVENTION))
        groups = _pair("from_group", from_group, "to_group", to_group)
        directions = _pair("axis", axis, "to", to)
        rotation = _rotation(groups, directions, matrix, flip, center, whose)
        psize = without_given_psize(particles, psize)
        columns = find_columns(particles, pose, pose_format, shift, psize is not None)
        _refuse_psize(particles, columns.shift, psize)
        scan(particles, columns)
        move = _as_operator(rotation, center)
        names = columns.pose, columns.shift, columns.pose_format.name
        rows = np.arange(particles.n_rows)
        seen = _Particles(particles, rotation[2, 2] < _REVERSED)
        turned = TurnedTable(seen, names, rows, move, np.zeros(len(rows), np.int64), psize, {})
        turned.attributes = _attributes(particles, groups, whose)
        notes = target.write(
            turned, names, psize, {"reoriented_from": os.path.basename(source)}, progress
        )
        notes = [*why_left_out(turned.left_out, particles.columns), *notes]
        angle_deg, about = angle_and_axis(rotation)
        side = particles.box_px()
        box = None if side is None else (side,) * 3
        return ReorientReport(
            source=source,
            output=output,
            particles=particles.n_rows,
            angle_deg=angle_deg,
            axis=tuple((about + 0.0).tolist()),
            matrix=tuple(map(tuple, (rotation + 0.0).tolist())),
            center_A=tuple(map(float, center or (0, 0, 0))),
            chimerax=chimerax_turn(rotation, np.array(center or (0.0, 0.0, 0.0)), box),
            notes=tuple(notes),
            files=target.names,
        )


class _Particles(NoCopies):
    """Particles without the columns that say whose copies they are: those are of the old frame.

    Of filaments that run the other way, places on the track are negated, as RELION does.
    """

    def __init__(self, source: ParticleTable, is_reversed: bool) -> None:
        super().__init__(source)
        self._track = TRACKS[0] if is_reversed and TRACKS[0] in source.columns else None
        if self._track:
            self.columns[self._track] = Column(WORD)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        rows = super().read(names, start, stop)
        if self._track in rows:
            words = rows[self._track]
            place = numbers(words, f"{self.path}: _{self._track}", start)
            rows[self._track] = np.where(place == 0, words, as_words(-place))
        return rows


def _refuse_psize(particles: ParticleTable, shift: str, psize: float | None) -> None:
    """Refuse a pixel size where the table has its own, in which the shifts count.

    Raises
    ------
    UsageError
        The table says one, or it is no length.
    """
    if psize is None:
        return
    if not 0 < psize < math.inf:
        raise UsageError(f"psize={psize:g} is not a length above 0, in A per pixel")
    own = pixel_size_column(particles.columns, shift)
    if own is not None:
        raise UsageError(
            f"psize= is for tables that do not say it, and {particles.path} has {own}: leave it out"
        )


def _attributes(
    particles: ParticleTable, groups: tuple[str, str] | None, convention: str
) -> dict[str, Any]:
    """What the new table says of itself: whose Dn it means, also where groups change programs."""
    attributes = dict(particles.attributes)
    if groups is not None:
        old, new = (group_named(each, convention).convention for each in groups)
        if new != old and new in HOUSE:
            settle(attributes, new)
    return attributes


def _pair(
    name: str, value: str | None, other: str, other_value: str | None
) -> tuple[str, str] | None:
    """Two options that go together."""
    if value is None and other_value is None:
        return None
    if value is None or other_value is None:
        given, missing = (name, other) if other_value is None else (other, name)
        raise UsageError(f"{given}= goes with {missing}=, which is missing: add it")
    return value, other_value


def _rotation(
    groups: tuple[str, str] | None,
    directions: tuple[str, str] | None,
    matrix: str | None,
    flip: bool,
    center: Point | None,
    convention: str,
) -> Array:
    """The rotation Q that is asked for."""
    ways = [groups is not None, directions is not None, matrix is not None, flip]
    if sum(ways) > 1 or (not any(ways) and center is None):
        raise UsageError(
            "one rotation is needed: give from_group= and to_group=, axis= and to=, matrix=, or "
            "flip=True; center= may stand alone"
        )
    if groups is not None:
        return rotation_between(*(group_named(each, convention) for each in groups))
    if directions is not None:
        one, other = (
            axis_named(n, each) for n, each in zip(("axis", "to"), directions, strict=True)
        )
        return rotation_to(np.array(one), np.array(other))
    if matrix is not None:
        return _read_matrix(matrix)
    return _FLIP if flip else np.eye(3)


def _read_matrix(given: str) -> Array:
    """Rotation matrix of a text with commas, or of a file.

    Raises
    ------
    SourceError
        It does not have nine numbers, or they are no rotation.
    """
    text, what = given, "matrix="
    try:
        if "," not in given or os.path.exists(given):
            what = given
            text = read_small(given, "a file with 3 x 3 numbers", _MOST_TEXT).decode()
        found = np.array([float(word) for word in text.replace(",", " ").split()])
    except ValueError as error:
        raise SourceError(f"{what}: is no matrix ({error}): give 3 x 3 numbers") from error
    if found.shape != (9,):
        raise SourceError(f"{what}: has {len(found)} number(s): give the 3 x 3 of a matrix")
    if not np.isfinite(found).all():
        raise SourceError(f"{what}: has a NaN or Inf: give 3 x 3 numbers")
    rotation = found.reshape(3, 3)
    off, volume = np.abs(rotation @ rotation.T - np.eye(3)).max(), np.linalg.det(rotation)
    if off <= _ORTHOGONAL and volume < 0:
        raise SourceError(f"{what}: is a mirror image (determinant -1): give a rotation")
    if off > _ORTHOGONAL:
        raise SourceError(
            f"{what}: is no rotation (rows off by {off:.2g}, determinant {volume:.3g}): give one"
        )
    left, _, right = np.linalg.svd(rotation)
    return np.asarray(left @ right)


def _as_operator(rotation: Array, center: Point | None) -> Operators:
    """The motion x = Q^T x' + c, which turns poses as an operator does: A' = A Q^T."""
    return Operators(
        convert(rotation.T[None], "matrix", "quaternion"),
        np.array([center or (0, 0, 0)], np.float64),
        ("",),
        Own("the old frame"),
        kind="own",
    )
