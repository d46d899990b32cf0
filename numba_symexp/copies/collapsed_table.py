"""The table that `collapse` writes: particles of which there are copies, and their best copies."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.conversion.turned_table import WORD, as_words
from numba_symexp.copies.copies import Copies
from numba_symexp.formats.cryosparc.slots import Slot, slots_beside, turned_slots
from numba_symexp.formats.relion.labels import LabelReader
from numba_symexp.particles.convention import kept_convention
from numba_symexp.particles.schema import OPERATOR_INDEX, OPERATOR_INDEX_DTYPE
from numba_symexp.particles.table import Column, Header, ParticleTable
from numba_symexp.particles.words import numbers

COPIES, LABEL = "copies", "operator_label"

_TURNING = re.compile(r"rln(Angle(Rot|Tilt|Psi)|Origin[XYZ])Prior(Angst)?")
"""Labels beside pose and shift that turn with a particle."""

_DESCRIPTIONS = {
    COPIES: "copies of the particle that there were",
    OPERATOR_INDEX: "operator of the copy that was kept",
    LABEL: "name of the operator of the copy that was kept",
}


class CollapsedTable(ParticleTable):
    """Particles of which there are copies, in the order of the source.

    Parameters
    ----------
    copies : Copies
    count : (N,) int
        Copies of each particle of the source.
    best : (N,) int64 or None
        Row of the best copy of each particle; its pose and shift are the particle's then.

    Attributes
    ----------
    not_turned : list of str
        Columns that should turn with a particle, and stay as they are in the source: the copies do
        not have them.
    left_out : list of str
        Columns of which nothing says how they turn.
    """

    def __init__(self, copies: Copies, count: Array, best: Array | None) -> None:
        source = copies.source
        self._copies, self._count, self._best = copies, count, best
        self._kept = np.flatnonzero(count)
        self.path, self.location, self.layout = source.path, source.location, source.layout
        self.attributes = kept_convention(source.attributes, copies.expanded.operators.convention)
        self.columns = {**source.columns, COPIES: Column(np.dtype("<u4"))}
        self.not_turned: list[str] = []
        self._from_best: list[str] = []
        self._moving: LabelReader | None = None
        self._slots: list[Slot] = []
        self.left_out: list[str] = []
        if best is not None:
            self._find_turning()
            self._labels = np.array([each.encode() for each in copies.expanded.operators.label])
            self.columns[OPERATOR_INDEX] = Column(OPERATOR_INDEX_DTYPE)
            self.columns[LABEL] = Column(self._labels.dtype)

    def _find_turning(self) -> None:
        """Find the columns that turn with a particle, and where each of them comes from.

        Those that the copies have are taken from the best one; poses of M at several times, and
        those of CryoSPARC's other slots, are moved by its operator; the rest stays.
        """
        source, copies = self._copies.source, self._copies.table
        reader = None if source.header is None else LabelReader.of(source.header)
        further = () if reader is None else reader.further
        own = self._copies.expanded.pose_columns
        turning = [
            name
            for name in source.columns
            if name in further or (_TURNING.fullmatch(name) and name not in own)
        ]
        in_text = copies.header is not None
        self._from_best = [name for name in turning if in_text and name in copies.columns]
        for name in self._from_best:
            both = np.result_type(source.columns[name].dtype, copies.columns[name].dtype)
            self.columns[name] = Column(both)
        if further and not set(further) <= {*self._from_best}:
            self._from_best, self._moving = [], reader
            self.columns.update(dict.fromkeys(further, Column(WORD)))
        known = self._copies.expanded
        self._slots, self.left_out = slots_beside(known.pose_columns, source, known.operators)
        for name in self.left_out:
            del self.columns[name]
        slots = [name for slot in self._slots for name in slot.columns]
        done = {*self._from_best, *(further if self._moving else ()), *slots, *self.left_out}
        self.not_turned = [name for name in turning if name not in done]

    @property
    def n_rows(self) -> int:
        """Number of particles with copies."""
        return len(self._kept)

    def row_number(self, row: int) -> int:
        """Number of a row in the file, for a message."""
        return self._copies.source.row_number(int(self._kept[row]))

    @property
    def header(self) -> Header | None:
        """What stood around the rows of the source."""
        return self._copies.source.header

    def close(self) -> None:
        """Nothing of its own is open."""

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read."""
        return (*self._copies.table.files, *self._copies.source.files)

    def check_unchanged(self) -> None:
        """Refuse copies or particles that were written to since they were opened."""
        for table in (self._copies.table, self._copies.source):
            table.check_unchanged()

    def column_attributes(self, name: str) -> Any:
        """What the source says of a column."""
        if name in (COPIES, OPERATOR_INDEX, LABEL):
            return {"units": "1", "description": _DESCRIPTIONS[name]}
        return self._copies.source.column_attributes(name)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        kept = self._kept[start:stop]
        own = (COPIES, OPERATOR_INDEX, LABEL) if self._best is not None else (COPIES,)
        rows = self._copies.source.read_at([name for name in names if name not in own], kept)
        if COPIES in names:
            rows[COPIES] = self._count[kept]
        pose_name, shift_name, _ = self._copies.expanded.pose_columns
        if self._best is not None and {pose_name, shift_name, OPERATOR_INDEX, LABEL} & {*names}:
            operator, pose, shift = self._copies.poses(self._best[kept], kept)
            made = {
                pose_name: pose,
                shift_name: shift,
                OPERATOR_INDEX: operator,
                LABEL: self._labels[operator.astype(np.int64)],
            }
            rows.update({name: values for name, values in made.items() if name in names})
        if self._best is not None:
            rows.update(
                self._words_of_best([name for name in names if name in self._from_best], kept)
            )
            rows.update(self._at_other_times(names, kept, start))
            rows.update(self._turned_slots(names, kept))
        return {name: rows[name] for name in names}

    def _words_of_best(self, names: Sequence[str], kept: Array) -> dict[str, Array]:
        """Words of the best copies."""
        assert self._best is not None  # who asks has seen it
        return self._copies.table.read_at(names, self._best[kept]) if names else {}

    def _turned_slots(self, names: Sequence[str], kept: Array) -> dict[str, Array]:
        """Poses of other classes, turned by the operator of the best copy."""
        assert self._best is not None  # who asks has seen it
        if not {name for slot in self._slots for name in slot.columns} & {*names}:
            return {}
        copies = self._copies
        operator = copies.poses(self._best[kept], kept)[0].astype(np.int64)
        operators = copies.expanded.operators
        return turned_slots(self._slots, names, copies.source, kept, operators, operator)

    def _at_other_times(self, names: Sequence[str], kept: Array, start: int) -> dict[str, Array]:
        """Poses and places at other times, moved by the operator of the best copy."""
        reader, copies = self._moving, self._copies
        if reader is None or self._best is None or not {*reader.further} & {*names}:
            return {}
        operator, _, _ = copies.poses(self._best[kept], kept)
        words = copies.source.read_at(list(reader.further_needs), kept)
        told = {
            label: numbers(each, f"{copies.source.path}: _{label}", start, self.row_number)
            for label, each in words.items()
        }
        moved = reader.move_further(told, copies.expanded.operators, operator.astype(np.int64))
        return {
            name: np.where(moved[name] == told[name], words[name], as_words(moved[name]))
            for name in names
            if name in moved
        }
