"""What a column of an expanded table can do, and what it is given to do it.

A class of columns says how they are planned (from a job and its source), filled (into a buffer,
chunk by chunk), recognized in a file, and checked. Planning, filling, reading and verifying follow
from the list of kinds; see `numba_symexp.expanded.column_kinds`.
"""

import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.particles.columns import PoseColumns
from numba_symexp.particles.schema import FORMAT_VERSION
from numba_symexp.particles.table import Column, ParticleTable
from numba_symexp.symmetry.operators import Operators


class Choices(Protocol):
    """What a job says of the columns."""

    @property
    def assign_halves(self) -> int | None:
        """Seed of half-sets to be drawn."""

    @property
    def defocus(self) -> str | None:
        """Sign of the depth that the defocus moves by."""

    @property
    def carry(self) -> tuple[str, ...]:
        """Names or patterns of further columns."""


class Mates(Protocol):
    """Poses, shifts and depths of the mates of some sources; see `Expander`."""

    def fill_pose(self, pose: Array, out: Array) -> None:
        """Fill in the poses of all mates; comes before the two others."""

    def fill_shift(self, shift: Array, psize: Array, out: Array) -> None:
        """Fill in the shifts of all mates."""

    def depths_A(self, count: int) -> Array:  # noqa: N802 - the unit is A
        """Depth of the point at the image center, in each row."""


@dataclass
class Chunk:
    """Consecutive sources, of which all mates are made at once.

    Attributes
    ----------
    path : str
        The source, for messages.
    first : int
        First source.
    rows : mapping of str to array
        Columns of the sources, as they were read; pose and shift contiguous and native.
    psize_A : (n,) float64
        A per pixel.
    mates : Mates
    """

    path: str
    first: int
    rows: Mapping[str, Array]
    psize_A: Array
    mates: Mates

    @cached_property
    def depths_A(self) -> Array:  # noqa: N802 - the unit is A
        """Depth of the point at the image center, in each row."""
        return self.mates.depths_A(len(self.psize_A))


@dataclass(frozen=True)
class RowsBesideSources:
    """Rows of an expanded table, and what they were made of.

    Attributes
    ----------
    rows : mapping of str to array
        Columns of the n rows.
    sources : mapping of str to array
        Columns of the m sources that the rows came from.
    index : (n,) int
        Which of these sources each row came from.
    source, operator : (n,) int64
        Source row and operator of each row, as the file has them.
    """

    rows: Mapping[str, Array]
    sources: Mapping[str, Array]
    index: Array
    source: Array
    operator: Array


@dataclass(frozen=True)
class CheckedRows(RowsBesideSources):
    """Rows that are checked, and what that needs.

    Attributes
    ----------
    operators : Operators
    first_id : int
        First of the mates' consecutive ids.
    path : str
        The source, for messages.
    depth_A, depth_slack_A : (n,) float64, float
        Depth of the point at the image center, and how exactly it is known.
    """

    operators: Operators
    first_id: int
    path: str
    depth_A: Array
    depth_slack_A: float


Fill = Callable[[Chunk, Array], None]
"""Fills a buffer with the rows of a chunk."""

Offenders = Iterator[tuple[Array, str]]
"""Masks of rows, and what is wrong with them."""


@dataclass(frozen=True)
class OutputColumn(abc.ABC):
    """A column of the output.

    Attributes
    ----------
    name : str
        Path below /particles.
    dtype, shape
        Of one row.
    units, description : str
    attributes : mapping
        Further HDF5 attributes.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    units: str
    description: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    needed: ClassVar[bool] = False
    """Whether every expanded table has such a column."""

    check_name: ClassVar[str] = ""
    """The check of `verify` that the column belongs to."""

    @property
    def format_version(self) -> int:
        """First version of the format that can say what the column holds."""
        return FORMAT_VERSION

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the source that it is made from."""
        return (self.name,)

    @classmethod
    @abc.abstractmethod
    def planned(cls, job: Choices, table: ParticleTable, columns: PoseColumns) -> list[Self]:
        """Columns of this kind that a job asks for.

        Raises
        ------
        UsageError, SourceError
            The source does not have what they need.
        """

    @classmethod
    @abc.abstractmethod
    def stored(cls, name: str, column: Column, attributes: Mapping[str, Any]) -> Self | None:
        """Recognize a column of a file; None where it is of another kind.

        Raises
        ------
        ValueError
            It says that it is of this kind, and is not.
        """

    @abc.abstractmethod
    def filler(self, operators: Operators, first_id: int, most_sources: int) -> Fill:
        """Prepare to fill buffers with the mates of up to so many sources at a time."""

    def offenders(self, block: CheckedRows) -> Offenders:
        """Find rows that are not what source and operator make of them."""
        return iter(())


def repeat(column: Array, out: Array) -> None:
    """Copy each source's value to all its mates."""
    order = len(out) // max(1, len(column))
    out.reshape(len(column), order, *column.shape[1:])[:] = column[:, None]


def differ(one: Array, other: Array) -> Array:
    """Rows that are not equal, bit for bit, whatever the byte order of either."""
    one, other = (each.astype(each.dtype.newbyteorder("="), copy=False) for each in (one, other))
    if one.dtype != other.dtype or one.shape != other.shape:
        return np.ones(len(one), np.bool_)
    unequal = _bits(one) != _bits(other)
    return unequal.any(axis=1) if unequal.any() else np.zeros(len(one), np.bool_)


def _bits(values: Array) -> Array:
    """Bits of each row, (n, width), in words as wide as an element is."""
    rows = np.ascontiguousarray(values)
    word = f"u{rows.dtype.itemsize}" if rows.dtype.itemsize in (1, 2, 4, 8) else "u1"
    return rows.view(word).reshape(len(rows), -1) if len(rows) else np.empty((0, 1), np.uint8)


def little(table: ParticleTable, name: str) -> np.dtype[Any]:
    """Dtype of a column of the source, little-endian."""
    return table.columns[name].dtype.newbyteorder("<")


def texts_of(attributes: Mapping[str, Any]) -> tuple[str, str]:
    """Units and description of a column in a file."""
    return str(attributes.get("units", "")), str(attributes.get("description", ""))


def is_part(attributes: Mapping[str, Any], part: str) -> bool:
    """Whether a column of a file says that it plays a part."""
    found = attributes.get("part")
    return isinstance(found, str) and found == part
