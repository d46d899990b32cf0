"""What every criterion is, and the rows that it looks at."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.particles.columns import native
from numba_symexp.particles.table import ParticleTable
from numba_symexp.particles.words import numbers, texts_as_bytes
from numba_symexp.poses import INDEX, KEY, Poses


@dataclass(frozen=True)
class Rows:
    """Rows that are left of a set, with what criteria need of them.

    Attributes
    ----------
    poses : Poses
    row : (n,) int64
        Which ones, ascending.
    """

    poses: Poses
    row: Array

    def column(self, name: str, parameter: str) -> Array:
        """Values of a column of the rows, or of their particles: numbers, or words as bytes, (n,).

        Raises
        ------
        SourceError
            There is no such column, or it is not one value per row.
        """
        table = self._table_of(name)
        column = table.columns.get(name)
        if column is None or column.shape or column.dtype.kind not in "iufbSO":
            what = "has no column" if column is None else f"{name} is {column}, and there is no"
            raise SourceError(
                f"{self.poses.table.path}: {what} {name} with one value per row (columns: "
                f"{table.columns_in_words()}): check {parameter}="
            )
        return native(texts_as_bytes(table.read_at([name], self._rows_in(table))[name]))

    def numbers(self, name: str, parameter: str) -> Array:
        """The same as numbers, (n,), whole ones as they are."""
        values = self.column(name, parameter)
        if values.dtype.kind == "S":
            table = self._table_of(name)

            def row_number(k: int) -> int:
                return table.row_number(int(self._rows_in(table)[k]))

            return numbers(values, f"{table.path}: {name}", 0, row_number)
        return values

    def _table_of(self, name: str) -> ParticleTable:
        """Table that a column is read from: that of the rows, or that of their particles."""
        return self.poses.table if name in self.poses.table.columns else self.poses.source

    def _rows_in(self, table: ParticleTable) -> Array:
        """Row of such a table for each of the rows."""
        return self.row if table is self.poses.table else self.particles()

    def particles(self) -> Array:
        """Particle of each row: its row in the source, or a key that its copies share, (n,)."""
        parts = (INDEX,) if self.poses.expanded is not None else (KEY,)
        found = np.empty(len(self.poses), np.uint64)
        for block in self.poses.blocks(parts, pose=False):
            keys = block.source_rows if self.poses.expanded is not None else block.key
            found[block.start : block.stop] = keys
        return found[self.row].astype(np.int64 if self.poses.expanded is not None else np.uint64)


class Criterion(abc.ABC):
    """A rule by which rows stay."""

    @property
    @abc.abstractmethod
    def why(self) -> str:
        """Why rows are left out, in words."""

    @abc.abstractmethod
    def keep(self, rows: Rows) -> Array:
        """Which of the rows stay, (n,) bool."""

    def what_rows_have(self, rows: Rows) -> str:
        """In words, for a message where none of them stays; or nothing."""
        return ""


def apply(criteria: Sequence[Criterion], poses: Poses) -> tuple[Array, dict[str, int]]:
    """Rows that stay, ascending, and how many were left out for which reason.

    Raises
    ------
    SourceError
        There is none, or none stays.
    """
    path = poses.table.path
    if not len(poses):
        raise SourceError(f"{path}: has no rows: there is nothing to select from")
    rows = Rows(poses, np.arange(len(poses)))
    dropped: dict[str, int] = {}
    for criterion in criteria:
        kept = criterion.keep(rows)
        dropped[criterion.why] = int(len(kept) - np.count_nonzero(kept))
        if not kept.any():
            told = "; ".join(f"{count:,} {why}" for why, count in dropped.items() if count)
            found = criterion.what_rows_have(rows)
            told += f" (they have {found})" if found else ""
            raise SourceError(f"{path}: no row is left: {told}: choose by something else")
        rows = Rows(poses, rows.row[kept])
    return rows.row, dropped


def values_in_words(values: Array) -> str:
    """The range of some numbers (n,), or the first of some words, for a message."""
    known = values[values == values]  # without NaN
    if not len(known):
        return "NaN"
    if known.dtype.kind == "S":
        words = [word.decode(errors="replace")[:40] for word in np.unique(known).tolist()]
        return ", ".join([*words[:3], *["..."] * (len(words) > 3)])
    shown = "{:.7g} to {:.7g}" if known.dtype.kind == "f" else "{} to {}"
    return shown.format(known.min(), known.max())
