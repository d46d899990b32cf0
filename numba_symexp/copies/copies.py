"""Copies of particles, open for reading: what is asked of them, whoever made them."""

import abc
import functools
from collections.abc import Mapping
from typing import Self

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import FileFormatError, SourceError
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.particles.columns import native
from numba_symexp.particles.findings import Findings, check_pose, check_shift
from numba_symexp.particles.schema import OPERATOR_INDEX, POSE_FORMATS, SOURCE_INDEX
from numba_symexp.particles.table import ParticleTable
from numba_symexp.symmetry.operators import Operators


class Expansion:
    """What is known of an expansion of which there is no file; see `ExpandedTable`.

    Attributes
    ----------
    path : str
        For messages.
    source : ParticleTable
        The particles; closed with this.
    operators : Operators
    pose_columns : tuple of str
        Names of the pose and shift columns, and the pose format.
    psize_given_A : None
    """

    psize_given_A: float | None = None

    def __init__(
        self,
        path: str,
        source: ParticleTable,
        operators: Operators,
        pose_columns: tuple[str, str, str],
    ) -> None:
        self.path, self.source = path, source
        self.operators, self.pose_columns = operators, pose_columns

    def close(self) -> None:
        """Close the particles."""
        self.source.close()


class Copies(abc.ABC):
    """Copies of particles, open for reading.

    Attributes
    ----------
    table : ParticleTable
        The rows that came back.
    expanded : ExpandedTable or Expansion
        Knows the operators and the source.
    """

    def __init__(self, table: ParticleTable, expanded: ExpandedTable | Expansion) -> None:
        self.table, self.expanded = table, expanded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.table.close()
        self.expanded.close()

    @property
    def notes(self) -> list[str]:
        """What a user should know."""
        return []

    @property
    def source(self) -> ParticleTable:
        """The particles that the rows are copies of."""
        return self.expanded.source

    @property
    def n_particles(self) -> int:
        """Number of particles that the rows may be copies of."""
        return self.source.n_rows

    @abc.abstractmethod
    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source that rows ``start`` to ``stop`` are copies of, int64."""

    @abc.abstractmethod
    def operators(self, start: int, stop: int, sources: Array) -> Array:
        """Operators of rows ``start`` to ``stop``, copies of these particles, int64."""

    @abc.abstractmethod
    def count(self, start: int, stop: int, sources: Array) -> None:
        """Count rows ``start`` to ``stop``, copies of these particles."""

    @abc.abstractmethod
    def counts(self) -> Array:
        """Copies of each particle among the rows counted; a row that stands twice counts once."""

    @abc.abstractmethod
    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators, poses and shifts of some rows, in the form of the source's columns."""


class ExpandedCopies(Copies):
    """Rows of an expanded table, all or some.

    Parameters
    ----------
    expanded : ExpandedTable
    table : ParticleTable, optional
        Rows that say the same of themselves as those of the expanded table, which they are else.
    """

    def __init__(self, expanded: ExpandedTable, table: ParticleTable | None = None) -> None:
        super().__init__(expanded.table if table is None else table, expanded)
        self._expanded = expanded

    @property
    def n_particles(self) -> int:
        """Number of particles, for which the source need not be there."""
        return self._expanded.n_sources

    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source, as the table says."""
        index = self.table.read([SOURCE_INDEX], start, stop)[SOURCE_INDEX]
        return self._expanded.checked_sources(index, start)

    def operators(self, start: int, stop: int, sources: Array) -> Array:
        """Operators, as the table says."""
        operator = self.table.read([OPERATOR_INDEX], start, stop)[OPERATOR_INDEX].astype(np.int64)
        beyond = operator >= len(self.expanded.operators)
        if beyond.any():
            row = start + int(np.argmax(beyond))
            raise FileFormatError(
                f"{self.table.path}: {OPERATOR_INDEX} of row {row} is no operator: verify it"
            )
        return operator

    @functools.cached_property
    def _pairs_seen(self) -> Array:
        """Pairs of particle and operator, (N, G) bool."""
        return np.zeros((self._expanded.n_sources, len(self.expanded.operators)), np.bool_)

    def count(self, start: int, stop: int, sources: Array) -> None:
        """Mark pairs of particle and operator."""
        self._pairs_seen[sources, self.operators(start, stop, sources)] = True

    def counts(self) -> Array:
        """Pairs of each particle, (N,) uint32."""
        return np.asarray(self._pairs_seen.sum(axis=1, dtype=np.uint32))

    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators, poses and shifts, as the table says."""
        pose, shift, _ = self.expanded.pose_columns
        found = self.table.read_at([OPERATOR_INDEX, pose, shift], rows)
        refuse_no_poses(self.table, rows, self.expanded.pose_columns, found)
        return found[OPERATOR_INDEX], found[pose], found[shift]


def refuse_no_poses(
    table: ParticleTable, rows: Array, names: tuple[str, str, str], found: Mapping[str, Array]
) -> None:
    """Refuse poses, or shifts, that are none.

    Parameters
    ----------
    table : ParticleTable
    rows : (n,) int64
        Rows that were read.
    names : tuple of str
        Names of their pose and shift columns, and the pose format.
    found : mapping of str to (n, ...) array
        The columns of these that were read.

    Raises
    ------
    SourceError
        Names the first such row.
    """
    pose, shift, pose_format = names
    bad = Findings()
    if pose in found:
        check_pose(native(found[pose]), POSE_FORMATS[pose_format], pose, 0, bad)
    if shift in found:
        check_shift(native(found[shift]), shift, 0, bad)
    if bad:
        reason, row = bad.first()
        raise SourceError(
            f"{table.row_in_words(int(rows[row]))}: {reason}: remove the row or repair it"
        )
