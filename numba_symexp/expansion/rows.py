"""Fill buffers with expanded rows: poses, shifts, ids, indices, half-sets and carried columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from numba_symexp.expansion.half_sets import HalfSets
from numba_symexp.expansion.writer import Buffer
from numba_symexp.particles.columns import PoseColumns
from numba_symexp.particles.schema import (
    OPERATOR_INDEX,
    OPERATOR_INDEX_DTYPE,
    SOURCE_INDEX,
    SPLIT,
    UID,
)
from numba_symexp.symmetry.operators import Operators
from numba_symexp.types import Array

if TYPE_CHECKING:
    from numba_symexp.expansion.expander import Expander


class RowFiller:
    """Turns chunks of source rows into expanded rows, in buffers that it is given.

    Parameters
    ----------
    expander : Expander
        Makes poses and shifts.
    operators : Operators
        The set being written.
    columns : PoseColumns
        Of the source.
    carried : sequence of str
        Further columns to copy to every row.
    first_id : int
        First of the mates' consecutive ids.
    defocus : sequence of str
        Columns of the defocus, which move by the depth of the centre.
    defocus_sign : float
        -1 or 1: by how many depths.
    halves : HalfSets or None
        Draws half-sets, where the source has none.
    chunk_sources : int
        Most sources in one chunk.
    """

    def __init__(
        self,
        expander: "Expander",
        operators: Operators,
        columns: PoseColumns,
        carried: Sequence[str],
        first_id: int,
        defocus: Sequence[str],
        defocus_sign: float,
        halves: HalfSets | None,
        chunk_sources: int,
    ) -> None:
        self._expander = expander
        self._columns = columns
        self._carried = carried
        self._defocus, self._defocus_sign = defocus, defocus_sign
        self._halves = halves
        self._order = len(operators)
        self._first_id = first_id
        self._ids_per_source = operators.full_order - 1
        self._operator = np.tile(np.arange(self._order, dtype=OPERATOR_INDEX_DTYPE), chunk_sources)
        self._source = np.repeat(np.arange(chunk_sources, dtype=np.uint64), self._order)
        mate = operators.full_index.astype(np.uint64) - np.uint64(1)
        self._id = self._source * np.uint64(self._ids_per_source) + np.tile(mate, chunk_sources)
        self._kept = np.flatnonzero(operators.full_index == 0)

    def fill(
        self, buffer: Buffer, first_source: int, rows: dict[str, Array], psize_A: Array
    ) -> int:
        """Fill a buffer with all mates of some source rows; return how many rows these are."""
        names = self._columns
        pose, shift = rows[names.pose], rows[names.shift]
        sources = len(pose)
        count = sources * self._order
        self._expander.fill(
            pose, shift, psize_A, buffer[names.pose][:count], buffer[names.shift][:count]
        )
        np.add(
            self._source[:count],
            np.uint64(first_source),
            out=buffer[SOURCE_INDEX][:count],
            casting="unsafe",
        )
        buffer[OPERATOR_INDEX][:count] = self._operator[:count]
        if names.uid:
            first_id = np.uint64(self._first_id + first_source * self._ids_per_source)
            ids = np.add(self._id[:count], first_id, out=buffer[UID][:count])
            for operator in self._kept:
                ids[operator :: self._order] = rows[names.uid]
        if self._halves:
            tube = rows[names.tube] if names.tube else None
            halves = self._halves.of(first_source, first_source + sources, tube)
            self._repeat(halves, buffer[SPLIT][:count])
        elif names.split:
            self._repeat(rows[names.split], buffer[SPLIT][:count])
        if self._defocus:
            moved = self._defocus_sign * self._expander.depths_A(sources)
            for name in self._defocus:
                out = buffer[name][:count]
                self._repeat(rows[name], out)
                out += moved
        for name in self._carried:
            self._repeat(rows[name], buffer[name][:count])
        return count

    def _repeat(self, column: Array, out: Array) -> None:
        """Copy each source's value to all its mates."""
        out.reshape(len(column), self._order, *column.shape[1:])[:] = column[:, None]
