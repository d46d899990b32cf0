"""What a picture is of: the poses of a table, or those of an expanded one and of its source."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import FileFormatError, SymmetryError, UsageError
from numba_symexp.expanded.table import ExpandedTable, open_expanded
from numba_symexp.formats import open_table
from numba_symexp.particles.columns import expanded_by, find_columns
from numba_symexp.particles.schema import CONVENTION, FORMAT
from numba_symexp.particles.table import ParticleTable
from numba_symexp.poses import Poses
from numba_symexp.symmetry.descriptions import axes, describe, is_group
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.quaternions import matrices
from numba_symexp.symmetry.request import SymmetryRequest

_SAME = 1e-9
"""Turns that differ by less are one."""


@dataclass(frozen=True)
class Subject:
    """Poses that are open for reading, and the symmetry that goes with them.

    Attributes
    ----------
    sets : tuple of Poses
        The particles; of an expanded table also the expanded rows.
    particles : int
    symmetry : str or None
        The symmetry and its axes, in words.
    axes : list of (int, (3,) float64)
        Folds and directions.
    are_copies : bool
        Whether the rows of a table of particles are copies of fewer particles.
    turned_axes : list of (int, (3,) float64)
        The same in the map that the expanded rows show; none where they show several.
    """

    sets: tuple[Poses, ...]
    particles: int
    symmetry: str | None
    axes: list[tuple[int, Array]]
    are_copies: bool = False
    turned_axes: list[tuple[int, Array]] = field(default_factory=list)

    @property
    def axes_of_sets(self) -> list[list[tuple[int, Array]]]:
        """Axes that are marked on each set."""
        return [self.axes, self.turned_axes][: len(self.sets)]


@contextlib.contextmanager
def open_subject(
    file: str,
    symmetry: str | None = None,
    convention: str | None = None,
    source: str | None = None,
    **columns: Any,
) -> Iterator[Subject]:
    """Open what a picture is of; the parameters are those of `plot`.

    Raises
    ------
    SymexpError
        The file cannot be read, or a parameter does not fit it.
    """
    place, further = columns.pop("table"), columns.pop("passthrough")
    with contextlib.ExitStack() as files:
        table = files.enter_context(open_table(file, place, further))
        if not table.says("format", FORMAT):
            if source is not None:
                raise UsageError(f"{file}: is no expanded table: leave out source=")
            yield _of_particles(table, symmetry, convention, columns)
            return
        given = {"symmetry": symmetry, "convention": convention, "table": place, **columns}
        for name, value in given.items():
            if value not in (None, "rotvec"):
                raise UsageError(
                    f"{file}: is an expanded table, which names its own symmetry and columns: "
                    f"leave out {name}="
                )
        table.close()
        yield _of_copies(files.enter_context(open_expanded(file, source)))


def _of_particles(
    table: ParticleTable, symmetry: str | None, convention: str | None, columns: dict[str, Any]
) -> Subject:
    """Particles, and the axes of the symmetry that they might be expanded by."""
    found = find_columns(table, **columns)
    poses, copies = Poses(table, found, into_A=False), expanded_by(table) is not None
    if symmetry is None:
        if convention is not None:
            raise UsageError("convention= says whose symmetry= is meant: give symmetry= too")
        return Subject((poses,), table.n_rows, None, [], copies)
    request = SymmetryRequest(symmetry=symmetry, convention=convention)
    operators = request.full(table.attributes.get(CONVENTION))
    return Subject((poses,), table.n_rows, describe(operators), axes(operators), copies)


def _of_copies(expanded: ExpandedTable) -> Subject:
    """Particles and their copies."""
    copies = Poses.of_expanded(expanded, into_A=False)
    sets = (copies.particles(), copies)
    operators = expanded.operators
    try:
        marked = _axes_of(operators)
    except SymmetryError as error:
        raise FileFormatError(f"{expanded.path}: {error}: verify it") from None
    turned = _turned(marked, operators)
    return Subject(sets, expanded.n_sources, describe(operators), marked, turned_axes=turned)


def _turned(marked: list[tuple[int, Array]], operators: Operators) -> list[tuple[int, Array]]:
    """Axes in the map that rows show: Q a, with its turn Q; none where turns differ."""
    if not len(operators.turn):
        return marked
    turn = matrices(operators.turn)
    return [(fold, turn[0] @ axis) for fold, axis in marked if np.ptp(turn, axis=0).max() < _SAME]


def _axes_of(operators: Operators) -> list[tuple[int, Array]]:
    """Axes of the full set that operators are, or were chosen from, where that is known."""
    if not operators.symmetry.from_file:
        return axes(operators.symmetry.operators())
    group = operators.of_each_center()[0]
    return axes(group) if not operators.chosen and is_group(group) else []
