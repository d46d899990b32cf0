"""Half-sets of the copies of particles: whether they are torn apart, and half-sets drawn anew."""

import hashlib
from collections.abc import Sequence

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.particles.columns import PoseColumns, expanded_by, row_hashes
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    CRYOSPARC_EXPANDED,
    HALF_SET_DTYPE,
    SOURCE_INDEX,
    SOURCE_LABEL,
)
from numba_symexp.particles.table import Column, ParticleTable, SameNamesView

_KEYS: tuple[tuple[str, ...], ...] = (
    (f"{CRYOSPARC_EXPANDED}src_uid",),
    (SOURCE_INDEX,),
    (SOURCE_LABEL,),
    ("blob/path", "blob/idx"),
    ("rlnImageOriginalName",),
    ("rlnImageName",),
)
"""Columns that copies of a particle share, the surest first."""


def torn_particles(table: ParticleTable, columns: PoseColumns) -> str:
    """Sentence about particles whose copies lie in both half-sets; empty where there are none.

    Parameters
    ----------
    table : ParticleTable
        Expanded by any program, or not.
    columns : PoseColumns
    """
    if columns.split is None or not table.n_rows or not expanded_by(table):
        return ""
    key = _particles_of(table)
    if key is None:
        return ""
    split = np.concatenate(
        [
            table.read([columns.split], start, stop)[columns.split]
            for start, stop in blocks(table, [columns.split])
        ]
    )
    count = int(key.max()) + 1
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, key, split)
    np.maximum.at(high, key, split)
    torn = int(np.count_nonzero(low < high))
    if not torn:
        return ""
    return (
        f"{table.path}: copies of {torn:,} of {count:,} particles lie in both half-sets, which "
        "spoils every FSC: import the .cs or .star with assign_halves=SEED, which draws half-sets "
        "per particle"
    )


def refuse_more_half_sets(
    table: ParticleTable, columns: PoseColumns, values: Sequence[int], further: str = ""
) -> None:
    """Refuse a column of half-sets that has more values than two, or negative ones.

    Parameters
    ----------
    table : ParticleTable
    columns : PoseColumns
        Of the table.
    values : sequence of int
        That the column has.
    further : str
        What else can be done, for the message.

    Raises
    ------
    SourceError
        Names the values.
    """
    if len(values) > 2 or min(values, default=0) < 0:
        some = ", ".join(map(str, values))
        raise SourceError(
            f"{table.path}: {columns.split} has the values {some}, and half-sets are two: repair "
            f"or remove this column{further}"
        )


class WithHalves(SameNamesView):
    """A table whose half-sets are drawn per particle: copies of one share a half-set.

    The particles, in an order that the seed draws, alternate between the half-sets; of filaments
    the tubes do. The result depends on the seed and on the order of the rows alone.

    Parameters
    ----------
    source : ParticleTable
    columns : PoseColumns
        Of the source.
    seed : int
    name : str
        Column of the half-sets.
    """

    def __init__(self, source: ParticleTable, columns: PoseColumns, seed: int, name: str) -> None:
        super().__init__(source)
        self._name = name
        self.columns = {**source.columns, name: Column(HALF_SET_DTYPE)}
        unit = _numbered(source, (columns.tube,)) if columns.tube else _particles_of(source)
        if unit is None:
            unit = np.arange(source.n_rows)
        key = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:16], "little")
        words = np.random.Philox(key=key).random_raw(int(unit.max()) + 1)
        half = np.empty(len(words), HALF_SET_DTYPE)
        half[np.argsort(words, kind="stable")] = np.arange(len(words)) % 2
        self._half = half[unit]

    @property
    def notes(self) -> list[str]:
        """What the source says."""
        return self._source.notes

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        rows = self._source.read([name for name in names if name != self._name], start, stop)
        if self._name in names:
            rows[self._name] = self._half[start:stop]
        return {name: rows[name] for name in names}


def _particles_of(table: ParticleTable) -> Array | None:
    """Number of the particle of each row, from 0 in the order of the rows; None if unknown."""
    names = next((each for each in _KEYS if all(name in table.columns for name in each)), None)
    return None if names is None else _numbered(table, names)


def _numbered(table: ParticleTable, names: Sequence[str]) -> Array:
    """Rows that are equal in some columns, numbered from 0 in the order of the rows."""
    keys = []
    for start, stop in blocks(table, list(names)):
        rows = table.read(names, start, stop)
        keys.append(row_hashes([rows[name] for name in names]))
    _, first, place = np.unique(np.concatenate(keys), return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[place]
