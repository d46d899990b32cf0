"""Copies that another program made, of particles that are not at hand: one of them stands for each.

The labels of a particle are known up to a turn of it, and so any of its copies will do.
"""

from collections.abc import Sequence

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.conversion.no_copies import NoCopies
from numba_symexp.copies.copies import Copies, Expansion
from numba_symexp.copies.foreign_expansion import limit_deg, nearest
from numba_symexp.copies.match import recognize
from numba_symexp.copies.recover import recover
from numba_symexp.errors import SourceError
from numba_symexp.kernels.codecs import convert
from numba_symexp.kernels.motions import relative_rotations
from numba_symexp.particles.columns import find_columns
from numba_symexp.particles.schema import (
    CRYOSPARC_EXPANDED,
    UID,
)
from numba_symexp.particles.table import ParticleTable, SomeRows
from numba_symexp.pose_block import Block
from numba_symexp.poses import KEY, Poses
from numba_symexp.symmetry.descriptions import describe
from numba_symexp.symmetry.operators import Operators

_SOURCE_UID = f"{CRYOSPARC_EXPANDED}src_uid"

_ADVICE = (
    "name the expanded table that the rows come from with expanded=, or the particles that another "
    "program expanded with source="
)


class ReferenceRows(NoCopies):
    """One row for each particle of an expanded table, as if it had not been expanded.

    Parameters
    ----------
    table : ParticleTable
    rows : (N,) int64
        Which ones.
    """

    def __init__(self, table: ParticleTable, rows: Array) -> None:
        super().__init__(SomeRows(table, rows))
        self._has_ids = {UID, _SOURCE_UID} <= table.columns.keys()

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns; the id is that of the particle."""
        own = {name: _SOURCE_UID if name == UID and self._has_ids else name for name in names}
        rows = super().read(list(dict.fromkeys(own.values())), start, stop)
        return {name: rows[own[name]] for name in names}


class ReferencedCopies(Copies):
    """Copies whose operators are counted from one of them: copy 0, or else the first.

    Parameters
    ----------
    table : ParticleTable
        Rows that `match` can tell the operators of.

    Raises
    ------
    SourceError
        The copies are no known operators.
    """

    def __init__(self, table: ParticleTable) -> None:
        rows = Poses(table, find_columns(table))
        operators = _operators(rows)
        self._find_references(rows)
        columns = rows.columns
        names = columns.pose, columns.shift, columns.pose_format.name
        source = ReferenceRows(table, self._row)
        super().__init__(table, Expansion(table.path, source, operators, names))
        self._rows = rows
        self._block: Block | None = None

    @property
    def notes(self) -> list[str]:
        """Which operators were found."""
        return [f"operators told by the poses: {describe(self.expanded.operators)}"]

    def sources(self, start: int, stop: int) -> Array:
        """Particles, in the order of the rows that stand for them."""
        return np.asarray(self._rank[np.searchsorted(self._key, self._read(start, stop).key)])

    def operators(self, start: int, stop: int, sources: Array) -> Array:
        """Operators whose rotation is nearest to that from the particle's reference."""
        quaternion = np.ascontiguousarray(self._read(start, stop).quaternion)
        reference, turned = np.empty((2, stop - start, 4))
        relative_rotations(self._quaternion, sources, quaternion, reference, turned)
        between = convert(turned, "quaternion", "matrix")
        operator, angle_deg, closest_deg = nearest(between, self.expanded.operators)
        far = angle_deg > limit_deg(closest_deg)
        if far.any():
            row = self.table.row_in_words(start + int(np.argmax(far)))
            raise SourceError(
                f"{row}: which operator made it cannot be told from its pose: {_ADVICE}"
            )
        return operator

    def count(self, start: int, stop: int, sources: Array) -> None:
        """Nothing is counted: nobody collapses copies to one of themselves."""

    def counts(self) -> Array:
        """None at all."""
        return np.zeros(len(self._key), np.uint32)

    def poses(self, rows: Array, sources: Array) -> tuple[Array, Array, Array]:
        """Refuse: the poses of the particles are those of copies."""
        raise NotImplementedError

    def _read(self, start: int, stop: int) -> Block:
        """Rows with their keys; the last ones are kept, because they are asked for twice."""
        if self._block is None or (self._block.start, self._block.stop) != (start, stop):
            self._block = self._rows.block(start, stop, (KEY,))
        return self._block

    def _find_references(self, rows: Poses) -> None:
        """Find the row that stands for each particle, and its rotation."""
        key, row = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        is_other, quaternion = np.zeros(0, np.bool_), np.zeros((0, 4), np.float32)
        for block in rows.blocks((KEY,)):
            other = np.zeros(len(block), np.bool_) if block.copy is None else block.copy != 0
            keys = np.concatenate([key, block.key])
            numbers = np.concatenate([row, np.arange(block.start, block.stop)])
            others = np.concatenate([is_other, other])
            order = np.lexsort((numbers, others, keys))
            first = order[np.append(True, keys[order][1:] != keys[order][:-1])]
            turns = np.concatenate([quaternion, block.quaternion.astype(np.float32)])
            key, row, is_other, quaternion = (
                keys[first],
                numbers[first],
                others[first],
                turns[first],
            )
        order = np.argsort(row)
        self._key, self._row, self._quaternion = key, row[order], quaternion[order]
        self._rank = np.empty(len(order), np.int64)
        self._rank[order] = np.arange(len(order))


def _operators(rows: Poses) -> Operators:
    """Operators that the copies are of.

    Raises
    ------
    SourceError
        They are no known ones.
    """
    motions, known, _ = recognize(rows, recover(rows))
    if known.operators is None or known.numbers is None:
        raise SourceError(
            f"{rows.table.path}: its copies are the operators of no known symmetry: {_ADVICE}"
        )
    numbers = np.unique(known.numbers).tolist()
    is_part = rows.keys[1] is not None and len(numbers) < len(known.operators)
    if is_part and motions.outside() is not None:
        return known.operators.choose(numbers, "subset", "operators of which there are copies")
    return known.operators
