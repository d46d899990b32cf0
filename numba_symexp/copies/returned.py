"""Rows that came back from an expanded set, and what is asked of them."""

import abc
from typing import Self

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.copies.foreign import ForeignExpansion
from numba_symexp.errors import FileFormatError
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.particles.schema import OPERATOR_INDEX
from numba_symexp.particles.table import ParticleTable


class Copies(abc.ABC):
    """Copies of particles, open for reading.

    Attributes
    ----------
    table : ParticleTable
        The rows that came back.
    expanded : ExpandedTable or ForeignExpansion
        Knows the operators and the source.
    """

    def __init__(self, table: ParticleTable, expanded: "ExpandedTable | ForeignExpansion") -> None:
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
    """Rows of an expanded table, all or some."""

    def __init__(self, expanded: ExpandedTable) -> None:
        super().__init__(expanded.table, expanded)
        self._expanded = expanded
        self._seen = np.zeros((expanded.n_sources, len(expanded.operators)), np.bool_)

    def sources(self, start: int, stop: int) -> Array:
        """Rows of the source, as the table says."""
        return self._expanded.source_rows(start, stop)

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

    def count(self, start: int, stop: int, sources: Array) -> None:
        """Mark pairs of particle and operator."""
        self._seen[sources, self.operators(start, stop, sources)] = True

    def counts(self) -> Array:
        """Pairs of each particle, (N,) uint32."""
        return np.asarray(self._seen.sum(axis=1, dtype=np.uint32))

    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Operators, poses and shifts, as the table says."""
        pose, shift, _ = self.expanded.pose_columns
        found = self.table.read_at([OPERATOR_INDEX, pose, shift], rows)
        return found[OPERATOR_INDEX], found[pose], found[shift]
