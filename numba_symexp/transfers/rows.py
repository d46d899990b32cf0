"""The rows of one set with the poses, shifts and half-sets of another."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.formats.relion.text import without_label
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import native
from numba_symexp.particles.schema import HALF_SET_DTYPE, PSIZE, SPLIT
from numba_symexp.particles.table import Column, Header, ParticleTable
from numba_symexp.transfers.beside_pose import ColumnsBesidePose
from numba_symexp.transfers.join import Joined
from numba_symexp.transfers.sets import PoseSet

Moves = Callable[[Array, Array], Array]
"""Rows of the target and their partners -> what is added to a shift, (n, 2) A."""

_F4, _F8 = np.dtype("<f4"), np.dtype("<f8")


class TransferredTable(ParticleTable):
    """Rows of the target that have a partner in the source, with its pose, shift and half-set.

    A shift in A stays what it is, and is stored in the pixels of the target:
    shift' = (shift * psize + moved) / psize'.

    Parameters
    ----------
    source, target : PoseSet
    joined : Joined
    beside : ColumnsBesidePose
        Further columns that the source gives.
    moves : sequence of callable
        What is added to shifts.
    attributes : mapping
        Of the table.
    """

    def __init__(
        self,
        source: PoseSet,
        target: PoseSet,
        joined: Joined,
        beside: ColumnsBesidePose,
        moves: Sequence[Moves],
        attributes: Mapping[str, Any],
    ) -> None:
        self._source, self._target, self._joined = source, target, joined
        self._moves, self._beside = moves, beside.columns
        table = target.table
        self.path, self.location, self.layout = table.path, table.location, table.layout
        self.attributes = dict(attributes)
        self._pose, self._shift, self._form = target.pose_columns()
        dropped = {*beside.dropped}
        self.columns = {n: each for n, each in table.columns.items() if n not in dropped}
        self.columns.update(beside.columns)
        self._add_pose_columns()
        header = table.header
        if header is not None:
            for label in beside.dropped:
                header = without_label(header, label)
        self._header = header

    def _add_pose_columns(self) -> None:
        """Add columns of poses that the target does not have."""
        real = _F8 if self._target.is_text else _F4
        self.columns.setdefault(self._pose, Column(real, (3,)))
        self.columns.setdefault(self._shift, Column(real, (2,)))
        self._makes_psize = (
            self._target.columns is None
            and not self._target.is_text
            and PSIZE not in self._target.table.columns
        )
        if self._makes_psize:
            self.columns[PSIZE] = Column(_F4)
        self._split = self._source.columns.split if self._source.columns else None
        if self._split is not None:
            self.columns.setdefault(SPLIT, Column(HALF_SET_DTYPE))

    @property
    def n_rows(self) -> int:
        """Number of rows that have a partner."""
        return len(self._joined.rows)

    def row_number(self, row: int) -> int:
        """Number of a row in the file, for a message."""
        return self._target.table.row_number(int(self._joined.rows[row]))

    @property
    def header(self) -> Header | None:
        """What stands around the rows of the target."""
        return self._header

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read."""
        return (*self._target.table.files, *self._source.table.files)

    def close(self) -> None:
        """Nothing of its own is open."""

    def check_unchanged(self) -> None:
        """Refuse sets that were written to since they were opened."""
        for each in (self._target, self._source):
            each.table.check_unchanged()

    def box_px(self) -> int | None:
        """Side of the images in pixels."""
        return self._target.table.box_px()

    def column_attributes(self, name: str) -> Mapping[str, Any]:
        """What the sets say of a column."""
        for each in (self._target.table, self._source.table):
            if name in each.columns:
                return each.column_attributes(name)
        return {}

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        part = slice(start, stop)
        rows, partners = self._joined.rows[part], self._joined.partners[part]
        made = {self._pose, self._shift, *({SPLIT} if self._split else ())}
        made |= {PSIZE} if self._makes_psize else set()
        given = [name for name in names if name in self._beside and name not in made]
        kept = [name for name in names if name not in made and name not in self._beside]
        found = self._target.table.read_at(kept, rows)
        found.update(self._source.table.read_at(given, partners) if given else {})
        found.update(self._made(made & {*names}, rows, partners))
        return {name: found[name] for name in names}

    def _made(self, wanted: set[str], rows: Array, partners: Array) -> dict[str, Array]:
        """Poses, shifts, pixel sizes and half-sets."""
        pose, shift, form = self._source.pose_columns()
        found: dict[str, Array] = {}
        if self._pose in wanted:
            values = native(self._source.table.read_at([pose], partners)[pose])
            same = form == self._form
            found[self._pose] = values if same else convert(values, form, self._form)
        if self._shift in wanted:
            values = native(self._source.table.read_at([shift], partners)[shift])
            found[self._shift] = self._scaled(values, rows, partners)
        if SPLIT in wanted and self._split is not None:
            found[SPLIT] = self._source.table.read_at([self._split], partners)[self._split]
        if PSIZE in wanted:
            found[PSIZE] = self._sizes_A(rows, partners)
        return {n: each.astype(self.columns[n].dtype) for n, each in found.items()}

    def _scaled(self, shift: Array, rows: Array, partners: Array) -> Array:
        """Shifts in the pixels of the target."""
        old_A, new_A = self._source.sizes_A(partners), self._sizes_A(rows, partners)
        scaled = shift.astype(np.float64) * (old_A / new_A)[:, None]
        for each in self._moves:
            scaled += each(rows, partners) / new_A[:, None]
        return scaled

    def _sizes_A(self, rows: Array, partners: Array) -> Array:  # noqa: N802
        """A per pixel of the shifts that are made.

        Of the target; where it does not say, the source's pixels are kept.
        """
        if self._target.knows_psize:
            sizes = self._target.sizes_A(rows)
        else:
            sizes = self._source.sizes_A(partners)
        # Stored as float32, so that a shift belongs to the very number that stands beside it.
        return sizes.astype(np.float32).astype(np.float64) if self._makes_psize else sizes
