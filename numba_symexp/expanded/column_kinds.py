"""The kinds of columns of an expanded table, and which of them a job or a file has.

A new column is a new class in the list `KINDS`.
"""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import FileFormatError, SourceError, UsageError
from numba_symexp.expanded.ids import HalfSets
from numba_symexp.expanded.output_column import (
    CheckedRows,
    Choices,
    Chunk,
    Fill,
    Offenders,
    OutputColumn,
    differ,
    is_part,
    little,
    repeat,
    texts_of,
)
from numba_symexp.particles.columns import PoseColumns
from numba_symexp.particles.schema import (
    DEFOCUS,
    DEFOCUS_SIGNS,
    FORMAT_VERSION,
    HALF_SET_DTYPE,
    NEWEST_VERSION,
    OPERATOR_INDEX,
    OPERATOR_INDEX_DTYPE,
    POSE_FORMATS,
    SHIFT_SHAPES,
    SHIFT_TEXTS,
    SOURCE_INDEX,
    SPLIT,
    UID,
    UID_DTYPE,
    PoseFormat,
    source_index_dtype,
    units_of,
)
from numba_symexp.particles.table import Column, ParticleTable
from numba_symexp.symmetry.operators import Operators


class _IndexColumn(OutputColumn):
    """One of the two columns that say where a row came from; `verify` checks them as pairs."""

    needed = True
    check_name = "pairs"
    NAME: ClassVar[str]

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    @classmethod
    def stored(cls, name: str, column: Column, attributes: Mapping[str, Any]) -> Self | None:
        if name != cls.NAME:
            return None
        if column.shape or column.dtype.kind != "u":
            raise ValueError(f"{name} is {column}")
        return cls(name, column.dtype, (), *texts_of(attributes))


class SourceIndexColumn(_IndexColumn):
    """Row of the source."""

    NAME = SOURCE_INDEX

    @classmethod
    def planned(cls, job: Choices, table: ParticleTable, columns: PoseColumns) -> list[Self]:
        text = "row of the source table that this row was expanded from"
        return [cls(SOURCE_INDEX, source_index_dtype(table.n_rows), (), "row", text)]

    def filler(self, operators: Operators, first_id: int, most_sources: int) -> Fill:
        rows = np.repeat(np.arange(most_sources, dtype=np.uint64), len(operators))

        def fill(chunk: Chunk, out: Array) -> None:
            np.add(rows[: len(out)], np.uint64(chunk.first), out=out, casting="unsafe")

        return fill


class OperatorIndexColumn(_IndexColumn):
    """Row of /operators."""

    NAME = OPERATOR_INDEX

    @classmethod
    def planned(cls, job: Choices, table: ParticleTable, columns: PoseColumns) -> list[Self]:
        text = "row of /operators that made this row; 0 is the identity"
        return [cls(OPERATOR_INDEX, OPERATOR_INDEX_DTYPE, (), "row", text)]

    def filler(self, operators: Operators, first_id: int, most_sources: int) -> Fill:
        rows = np.tile(np.arange(len(operators), dtype=OPERATOR_INDEX_DTYPE), most_sources)

        def fill(chunk: Chunk, out: Array) -> None:
            out[:] = rows[: len(out)]

        return fill


class PoseColumn(OutputColumn):
    """Rotation of each row, in the format of the source; `verify` recomputes it on its own."""

    needed = True
    check_name = "poses"

    @property
    def pose_format(self) -> PoseFormat:
        """What the column holds."""
        return POSE_FORMATS[str(self.attributes["pose_format"])]

    @classmethod
    def planned(cls, job: Choices, table: ParticleTable, columns: PoseColumns) -> list[Self]:
        known = columns.pose_format
        own = {"part": "pose", "pose_format": known.name}
        dtype = little(table, columns.pose)
        return [cls(columns.pose, dtype, known.shape, known.units, known.description, own)]

    @classmethod
    def stored(cls, name: str, column: Column, attributes: Mapping[str, Any]) -> Self | None:
        if not is_part(attributes, "pose"):
            return None
        pose_format = str(attributes.get("pose_format"))
        if column.shape != POSE_FORMATS.get(pose_format, POSE_FORMATS["rotvec"]).shape:
            raise ValueError(f"pose is {column}")
        if not column.is_single_or_double:
            raise ValueError(f"pose is {column}")
        if pose_format not in POSE_FORMATS:
            raise ValueError(f"pose format {pose_format[:40]!r} is unknown")
        own = {"part": "pose", "pose_format": pose_format}
        return cls(name, column.dtype, column.shape, *texts_of(attributes), own)

    def filler(self, operators: Operators, first_id: int, most_sources: int) -> Fill:
        return lambda chunk, out: chunk.mates.fill_pose(chunk.rows[self.name], out)


class ShiftColumn(OutputColumn):
    """Shift of each row, in the plane or in space; `verify` recomputes it on its own."""

    needed = True
    check_name = "shifts"

    @property
    def format_version(self) -> int:
        return NEWEST_VERSION if self.shape == (3,) else FORMAT_VERSION

    @classmethod
    def planned(cls, job: Choices, table: ParticleTable, columns: PoseColumns) -> list[Self]:
        dtype, shape = little(table, columns.shift), table.columns[columns.shift].shape
        return [cls(columns.shift, dtype, shape, *SHIFT_TEXTS[shape], {"part": "shift"})]

    @classmethod
    def stored(cls, name: str, column: Column, attributes: Mapping[str, Any]) -> Self | None:
        if not is_part(attributes, "shift"):
            return None
        if column.shape not in SHIFT_SHAPES or not column.is_single_or_double:
            raise ValueError(f"shift is {column}")
        return cls(name, column.dtype, column.shape, *texts_of(attributes), {"part": "shift"})

    def filler(self, operators: Operators, first_id: int, most_sources: int) -> Fill:
        return lambda chunk, out: chunk.mates.fill_shift(chunk.rows[self.name], chunk.psize_A, out)


@dataclass(frozen=True)
class HalfSetColumn(OutputColumn):
    """Half-set of the particle: its own, or drawn."""

    check_name = "half-sets"
    halves: HalfSets | None = field(default=None, compare=False)
    made_from: str | None = field(default=None, compare=False)
    """Column of the source: its half-sets, or the tubes by which they are drawn."""

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.made_from is None else (self.made_from,)

    @classmethod
    def planned(cls, job: Choices, table: ParticleTable, columns: PoseColumns) -> list[Self]:
        text = "half-set of the particle; all its copies share it"
        seed = job.assign_halves
        if columns.split and seed is not None:
            raise UsageError(
                f"{table.path}: has half-sets already ({columns.split}): leave out assign_halves="
            )
        if columns.split:
            dtype = little(table, columns.split)
            return [cls(SPLIT, dtype, (), "1", text, made_from=columns.split)]
        if seed is None:
            return []
        halves = HalfSets(seed, table, columns)
        return [cls(SPLIT, HALF_SET_DTYPE, (), "1", text, halves=halves, made_from=columns.tube)]

    @classmethod
    def stored(cls, name: str, column: Column, attributes: Mapping[str, Any]) -> Self | None:
        return (
            cls(name, column.dtype, column.shape, *texts_of(attributes)) if name == SPLIT else None
        )

    def filler(self, operators: Operators, first_id: int, most_sources: int) -> Fill:
        def fill(chunk: Chunk, out: Array) -> None:
            repeat(self._of(chunk.rows, chunk.first, len(chunk.psize_A)), out)

        return fill

    def offenders(self, block: CheckedRows) -> Offenders:
        """Those that the particles have; `verify` draws others on its own."""
        if self.halves is None:
            wanted = self._of(block.sources, 0, 0)[block.index]
            yield differ(block.rows[SPLIT], wanted), "has another half-set than its particle"

    def _of(self, rows: Mapping[str, Array], first: int, count: int) -> Array:
        """Half-sets of consecutive sources."""
        own = None if self.made_from is None else rows[self.made_from]
        if self.halves is not None:
            return self.halves.of(first, first + count, own)
        return np.zeros(count, HALF_SET_DTYPE) if own is None else own


class IdColumn(OutputColumn):
    """Id of each row; see `first_new_id`."""

    check_name = "ids"

    @classmethod
    def planned(cls, job: Choices, table: ParticleTable, columns: PoseColumns) -> list[Self]:
        text = "id of the row; operator 0 keeps the particle's"
        return [cls(UID, UID_DTYPE, (), "1", text)] if columns.uid else []

    @classmethod
    def stored(cls, name: str, column: Column, attributes: Mapping[str, Any]) -> Self | None:
        return cls(name, column.dtype, column.shape, *texts_of(attributes)) if name == UID else None

    def filler(self, operators: Operators, first_id: int, most_sources: int) -> Fill:
        order, stride = len(operators), operators.full_order - 1
        mate = operators.full_index.astype(np.uint64) - np.uint64(1)
        steps = np.repeat(np.arange(most_sources, dtype=np.uint64) * np.uint64(stride), order)
        steps += np.tile(mate, most_sources)
        kept = np.flatnonzero(operators.full_index == 0)

        def fill(chunk: Chunk, out: Array) -> None:
            np.add(steps[: len(out)], np.uint64(first_id + chunk.first * stride), out=out)
            for operator in kept:
                out[operator::order] = chunk.rows[UID]

        return fill

    def offenders(self, block: CheckedRows) -> Offenders:
        """Operator 0 keeps the particle's id; the others count on from the first new one."""
        ids, operators = block.rows[UID], block.operators
        if ids.dtype.kind != "u":
            yield np.ones(len(ids), np.bool_), "has an id that is no number"
            return
        full = operators.full_index[block.operator].astype(np.uint64)
        keeps = full == 0
        own = block.sources[UID].astype(np.uint64)[block.index]
        yield keeps & (ids != own), "does not have its particle's id"
        steps = block.source.astype(np.uint64) * np.uint64(operators.full_order - 1)
        wanted = steps + full - np.uint64(1) + np.uint64(block.first_id)
        yield ~keeps & (ids != wanted), "has an id out of turn"


class DefocusColumn(OutputColumn):
    """Defocus that follows the depth of the point at the image center."""

    check_name = "defocus"

    @property
    def sign(self) -> float:
        """By how many depths it moves."""
        return DEFOCUS_SIGNS[str(self.attributes["sign"])]

    @classmethod
    def planned(cls, job: Choices, table: ParticleTable, columns: PoseColumns) -> list[Self]:
        if job.defocus is None:
            return []
        text = f"defocus of the centre: the particle's {job.defocus} the centre's depth"
        own = {"part": "defocus", "sign": job.defocus}
        for names in (tuple(DEFOCUS), tuple(DEFOCUS.values())):
            found = [table.columns[name] for name in names if name in table.columns]
            fit = [column for column in found if column.dtype.kind in "fS" and not column.shape]
            if len(fit) == len(names):
                dtypes = [little(table, name) for name in names]
                dtypes = [each if each.kind == "f" else np.dtype("<f8") for each in dtypes]
                made = zip(names, dtypes, strict=True)
                return [cls(name, dtype, (), "A", text, own) for name, dtype in made]
        raise SourceError(
            f"{table.path}: no defocus columns {' and '.join(DEFOCUS)} (columns: "
            f"{table.columns_in_words()}): leave out defocus="
        )

    @classmethod
    def stored(cls, name: str, column: Column, attributes: Mapping[str, Any]) -> Self | None:
        if not is_part(attributes, "defocus"):
            return None
        sign = str(attributes.get("sign"))
        known = sign in DEFOCUS_SIGNS and name in (*DEFOCUS, *DEFOCUS.values())
        if not known or column.shape or column.dtype.kind != "f":
            raise ValueError(f"{name} is no defocus")
        own = {"part": "defocus", "sign": sign}
        return cls(name, column.dtype, (), *texts_of(attributes), own)

    def filler(self, operators: Operators, first_id: int, most_sources: int) -> Fill:
        def fill(chunk: Chunk, out: Array) -> None:
            repeat(self._numbers(chunk.rows, chunk.path, chunk.first), out)
            out += self.sign * chunk.depths_A

        return fill

    def offenders(self, block: CheckedRows) -> Offenders:
        """Defocus of the particle, and the depth as the verifier finds it."""
        own = self._numbers(block.sources, block.path, 0).astype(np.float64)
        wanted = own[block.index] + self.sign * block.depth_A
        off = np.abs(block.rows[self.name] - wanted)
        eps = float(np.finfo(block.rows[self.name].dtype).eps)
        bad = ~((off <= block.depth_slack_A + eps * np.abs(wanted)) | np.isnan(wanted))
        worst = off[int(np.argmax(bad))] if len(off) else 0.0
        yield bad, f"has a {self.name} that is {worst:.3g} A off"

    def _numbers(self, rows: Mapping[str, Array], path: str, first: int) -> Array:
        """Values of the source, which may be text."""
        if rows[self.name].dtype.kind != "S":
            return rows[self.name]
        from numba_symexp.particles.words import numbers  # needs the compiler

        return numbers(rows[self.name], f"{path}: {self.name}", first)


class CarriedColumn(OutputColumn):
    """Further column of the source, copied to every row."""

    check_name = "carried columns"

    @classmethod
    def planned(cls, job: Choices, table: ParticleTable, columns: PoseColumns) -> list[Self]:
        made = {columns.pose, columns.shift, SOURCE_INDEX, OPERATOR_INDEX, SPLIT, UID}
        moved = {column.name for column in DefocusColumn.planned(job, table, columns)}
        names: dict[str, None] = {}
        for pattern in job.carry:
            found = [n for n in table.columns if fnmatch.fnmatchcase(n, pattern) and n not in made]
            if not found:
                raise SourceError(
                    f"{table.path}: no further column matches carry={pattern} (columns: "
                    f"{table.columns_in_words()})"
                )
            names.update(dict.fromkeys(name for name in found if name not in moved))
        for name in names:
            if table.columns[name].dtype.hasobject:
                raise SourceError(
                    f"{table.path}: {name} holds text of varying length, which cannot be carried: "
                    "reach it through open_expanded, or store it as fixed-length text"
                )
        return [cls._of_source(table, name) for name in names]

    @classmethod
    def _of_source(cls, table: ParticleTable, name: str) -> Self:
        """The column as it is in the source."""
        column, own = table.columns[name], table.column_attributes(name)
        units = str(own.get("units", units_of(name)))
        text = str(own.get("description", "carried over from the source"))
        return cls(name, column.dtype, column.shape, units, text)

    @classmethod
    def stored(cls, name: str, column: Column, attributes: Mapping[str, Any]) -> Self | None:
        return cls(name, column.dtype, column.shape, *texts_of(attributes))

    def filler(self, operators: Operators, first_id: int, most_sources: int) -> Fill:
        return lambda chunk, out: repeat(chunk.rows[self.name], out)

    def offenders(self, block: CheckedRows) -> Offenders:
        wanted = block.sources[self.name][block.index]
        text = f"does not have its particle's {self.name}"
        yield differ(block.rows[self.name], wanted), text


_Kind = TypeVar("_Kind", bound=OutputColumn)

KINDS: tuple[type[OutputColumn], ...] = (
    SourceIndexColumn,
    OperatorIndexColumn,
    PoseColumn,
    ShiftColumn,
    HalfSetColumn,
    IdColumn,
    DefocusColumn,
    CarriedColumn,
)
"""All kinds of columns, in the order of the file; the last takes whatever is of no other kind."""


def planned_columns(
    job: Choices, table: ParticleTable, columns: PoseColumns
) -> tuple[OutputColumn, ...]:
    """Columns of the output, in the order of the file.

    Raises
    ------
    UsageError, SourceError
        The source does not have what the job asks for.
    """
    return tuple(column for kind in KINDS for column in kind.planned(job, table, columns))


def stored_columns(table: ParticleTable) -> tuple[OutputColumn, ...]:
    """Columns that an expanded table has.

    Raises
    ------
    FileFormatError
        One of the columns that every expanded table has is missing, or a column is not what it
        says.
    """
    found: list[OutputColumn] = []
    for name, column in table.columns.items():
        attributes = table.column_attributes(name)
        try:
            kinds = (kind.stored(name, column, attributes) for kind in KINDS)
            found += [next(each for each in kinds if each is not None)]
        except ValueError as error:
            raise FileFormatError(f"{table.path}: {error}: expand again") from error
    for kind in KINDS:
        if kind.needed and len(of_kind(found, kind)) != 1:
            what = "missing" if not of_kind(found, kind) else "not one column"
            raise FileFormatError(f"{table.path}: {_word(kind)} is {what}: expand again")
    return tuple(found)


def of_kind(columns: Iterable[OutputColumn], kind: type[_Kind]) -> list[_Kind]:
    """The columns of one kind."""
    return [column for column in columns if isinstance(column, kind)]


def _word(kind: type[OutputColumn]) -> str:
    """What a kind of column is called in messages."""
    return {PoseColumn: "pose", ShiftColumn: "shift"}.get(kind, getattr(kind, "NAME", ""))
