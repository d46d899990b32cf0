"""Particles turned to equivalent poses, one row each, with all that turns with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.cryosparc.slots import slots_beside, turned_slots
from numba_symexp.formats.relion.labels import LabelReader
from numba_symexp.formats.relion.priors import Priors
from numba_symexp.formats.relion.text import with_labels
from numba_symexp.particles.columns import native, pixel_size_column
from numba_symexp.particles.convention import kept_convention
from numba_symexp.particles.table import Column, Header, ParticleTable
from numba_symexp.particles.words import numbers
from numba_symexp.symmetry.mates import mates
from numba_symexp.symmetry.operators import Operators

WORD = np.dtype("S32")
"""Numbers that became words."""


@dataclass(frozen=True)
class Tag:
    """A new column of particles.

    Attributes
    ----------
    column : Column
    label : str
        What it is called in a .star.
    description : str
    values : callable
        Numbers of particles, among those that are kept -> their values.
    """

    column: Column
    label: str
    description: str
    values: Callable[[slice], Array]


class TurnedTable(ParticleTable):
    """Some particles of a table, each turned by an operator h: A_i h, and s - (A_i t_h)_xy.

    Of a .star the priors turn too, of M the poses at other times, of CryoSPARC the poses of other
    classes; what is not known to turn is left out.

    Parameters
    ----------
    source : ParticleTable
        With one row for each particle.
    pose_columns : tuple of str
        Names of its pose and shift columns, and the pose format.
    rows : (M,) int64
        Particles that are kept, by their rows.
    operators : Operators
    operator : (M,) int
        By which of them each is turned.
    psize_given_A : float, optional
        A per pixel, in place of what the table says.
    tags : mapping of str to Tag
        New columns by name.

    Attributes
    ----------
    left_out : list of str
        Columns that are not known to turn.
    """

    def __init__(
        self,
        source: ParticleTable,
        pose_columns: tuple[str, str, str],
        rows: Array,
        operators: Operators,
        operator: Array,
        psize_given_A: float | None,
        tags: Mapping[str, Tag],
    ) -> None:
        self._source, self._rows, self._tags = source, rows, tags
        self._pose, self._shift, self._form = pose_columns
        self._operators, self._operator = operators, operator
        self._psize_given_A = psize_given_A
        self._psize = self._column_of_psize()
        self.path, self.location, self.layout = source.path, source.location, source.layout
        self.attributes = kept_convention(source.attributes, operators.convention)
        self._slots, self.left_out = slots_beside(pose_columns, source, operators)
        self.columns = {n: c for n, c in source.columns.items() if n not in self.left_out}
        self.columns.update({name: tag.column for name, tag in tags.items()})
        self._words: dict[str, str] = {}
        self._header = source.header
        if self._header is not None:
            self._reader = LabelReader.of(self._header)
            self._priors = Priors.of(self._header.labels, source.columns[self._shift].shape[0])
            self._words = {tag.label: name for name, tag in tags.items()}
            new = [label for label in self._words if label not in self._header.labels]
            self._header = with_labels(self._header, new)
            turning = (*self._priors.labels, *self._reader.further)
            self.columns.update(dict.fromkeys(turning, Column(WORD)))
            text = {tag.label: max(32, tag.column.dtype.itemsize) for tag in tags.values()}
            self.columns.update({label: Column(np.dtype(f"S{n}")) for label, n in text.items()})

    def _column_of_psize(self) -> str | None:
        """Column of the A per pixel, where shifts move."""
        if not self._operators.moves or self._psize_given_A is not None:
            return None
        found = pixel_size_column(self._source.columns, self._shift)
        if found is None:
            raise SourceError(
                f"{self._source.path}: {self._operators.symmetry} has translations, and no column "
                "says how large a pixel is: add it"
            )
        return found

    @property
    def n_rows(self) -> int:
        """Number of particles that are kept."""
        return len(self._rows)

    def row_number(self, row: int) -> int:
        """Number of a row in the file, for a message."""
        return self._source.row_number(int(self._rows[row]))

    @property
    def header(self) -> Header | None:
        """What stood around the rows of the source, with labels of the new columns."""
        return self._header

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read."""
        return self._source.files

    def close(self) -> None:
        """Nothing of its own is open."""

    def check_unchanged(self) -> None:
        """Refuse particles that were written to since they were opened."""
        self._source.check_unchanged()

    def box_px(self) -> int | None:
        """Side of the images in pixels."""
        return self._source.box_px()

    def column_attributes(self, name: str) -> Mapping[str, Any]:
        """What the source says of a column."""
        if name in self._tags:
            is_text = self._tags[name].column.dtype.kind == "S"
            units = "text" if is_text else "1"
            return {"units": units, "description": self._tags[name].description}
        return self._source.column_attributes(name) if name in self._source.columns else {}

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        part = slice(start, stop)
        made = {*self._tags, *self._words}
        own = [name for name in names if name not in made]
        rows = self._source.read_at(own, self._rows[part])
        rows.update({name: self._tags[name].values(part) for name in names if name in self._tags})
        for label in self._words.keys() & {*names}:
            values = self._tags[self._words[label]].values(part)
            rows[label] = values if values.dtype.kind == "S" else values.astype("S")
        if {self._pose, self._shift} & {*names}:
            rows.update(self._turned_pose(names, part))
        rows.update(self._turned_slots(names, part))
        if self._header is not None:
            rows.update(self._turned_words(names, part))
        return {name: rows[name] for name in names}

    def _turned_pose(self, names: Sequence[str], part: slice) -> dict[str, Array]:
        """Poses and shifts, in the types of the source."""
        size = [] if self._psize is None else [self._psize]
        rows = self._source.read_at([self._pose, self._shift, *size], self._rows[part])
        psize_A = native(rows[self._psize]) if self._psize else self._psize_given_A
        turned = mates(
            native(rows[self._pose]),
            self._form,
            self._operators,
            self._operator[part],
            native(rows[self._shift]),
            psize_A,
        )
        found = zip((self._pose, self._shift), turned, strict=True)
        return {name: each.astype(rows[name].dtype) for name, each in found if name in names}

    def _turned_slots(self, names: Sequence[str], part: slice) -> dict[str, Array]:
        """Further poses and shifts of CryoSPARC's slots."""
        rows, operator = self._rows[part], self._operator[part]
        return turned_slots(self._slots, names, self._source, rows, self._operators, operator)

    def _turned_words(self, names: Sequence[str], part: slice) -> dict[str, Array]:
        """Priors, and poses and places at other times, as words."""
        wanted = {*self._priors.labels, *self._reader.further} & {*names}
        if not wanted:
            return {}
        labels = {*self._priors.needs, *self._reader.further_needs} & self._source.columns.keys()
        words = self._source.read_at(sorted(labels), self._rows[part])
        told = {
            label: numbers(each, f"{self.path}: _{label}", part.start, self.row_number)
            for label, each in words.items()
        }
        operators, operator = self._operators, self._operator[part].astype(np.int64)
        psize_A = self._sizes(part)
        new = self._priors.turned(told, operators, operator, psize_A)
        if self._reader.further:
            moved = self._reader.move_further(told, operators, operator)
            new.update({label: (each, each == told[label]) for label, each in moved.items()})
        return {
            label: np.where(new[label][1], words[label], as_words(new[label][0]))
            if label in new
            else words[label]
            for label in wanted
        }

    def _sizes(self, part: slice) -> Array | None:
        """A per pixel of each particle; None where nothing moves."""
        if self._psize is not None:
            return native(self._source.read_at([self._psize], self._rows[part])[self._psize])
        given = self._psize_given_A
        return None if given is None else np.full(part.stop - part.start, given)


def as_words(values: Array) -> Array:
    """Numbers as words, with six decimals; 0 has no sign."""
    return np.array([b"%.6f" % value for value in np.round(values, 6) + 0.0], WORD)
