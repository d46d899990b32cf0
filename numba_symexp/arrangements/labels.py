"""The label of every copy: read from a column, or told by the file that a row is in."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp import interrupts
from numba_symexp.annotations import Array, Progress
from numba_symexp.arrangements.patterns import MISSING, MOST_LABELS
from numba_symexp.copies.copies import Copies
from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.particles.findings import without_score
from numba_symexp.particles.stacked import StackedTable
from numba_symexp.particles.table import ParticleTable
from numba_symexp.particles.words import texts_as_bytes

_POSTERIOR = "alignments3D_multi/class_posterior"
_BY_DEFAULT = ("rlnClassNumber", "alignments3D/class", _POSTERIOR)

_UNSEEN = 0

_ROWS = 1 << 18
"""Rows that are worked on at a time."""

GAP = "-"
"""How a copy that did not come back is shown."""

Value = int | float | str


@dataclass(frozen=True)
class Labels:
    """Labels of the copies of N particles.

    Attributes
    ----------
    names : tuple of str
        Of the labels, in their order.
    codes : (N, S) uint8
        1, 2, ... in the order of the names; ``MISSING`` where a copy did not come back.
    copies : (L,) int64
        Copies with each label.
    score : (N, S) float32 or None
        Score of each copy; -inf where there is none.
    column : str
        What the labels were read from.
    """

    names: tuple[str, ...]
    codes: Array
    copies: Array
    score: Array | None
    column: str


class LabelColumn:
    """What tells the label of a row.

    Parameters
    ----------
    table : ParticleTable
        The rows.
    by : str, optional
        Column; by default that of the class, or, of several files, which file it is.
    files : sequence of str
        Files that the rows are in.

    Raises
    ------
    SourceError
        There is no such column, or it cannot hold labels.
    """

    def __init__(self, table: ParticleTable, by: str | None, files: Sequence[str]) -> None:
        self._table, self._values = table, dict[Value, int]()
        self._files: tuple[str, ...] = ()
        self.reads: tuple[str, ...] = ()
        if by is None and isinstance(table, StackedTable):
            self._files, self.name = _names_of_files(files), "the file"
            self._starts = table.starts
            return
        self.name = by if by is not None else self._by_default()
        column = table.columns.get(self.name)
        if column is None:
            raise SourceError(
                f"{table.path}: no column {self.name} (columns: {table.columns_in_words()}): check "
                "by="
            )
        is_share = self.name.endswith("class_posterior") and len(column.shape) == 1
        if (column.shape and not is_share) or column.dtype.kind not in "iufbSO":
            raise SourceError(
                f"{table.path}: {self.name} is {column}, not one label per row: check by="
            )
        self.reads = (self.name,)

    def _by_default(self) -> str:
        """The column of the class."""
        found = next((name for name in _BY_DEFAULT if name in self._table.columns), None)
        if found is None:
            raise SourceError(
                f"{self._table.path}: has no class ({', '.join(_BY_DEFAULT)}; columns: "
                f"{self._table.columns_in_words()}): name the column of the labels with by="
            )
        return found

    def codes(self, rows: dict[str, Array], start: int, stop: int) -> Array:
        """Codes of rows in the order in which labels are first seen, (n,) uint8; 0 for none."""
        if self._files:
            place = np.searchsorted(self._starts, np.arange(start, stop), side="right")
            for number, name in enumerate(self._files):
                self._values.setdefault(name, number + 1)
            return place.astype(np.uint8)
        values = texts_as_bytes(rows[self.name])
        if values.ndim == 2:
            none = np.logical_not(np.isfinite(values).all(axis=1))
            return self._codes_of(values.argmax(axis=1), none)
        is_float = values.dtype.kind == "f"
        return self._codes_of(
            values, np.isnan(values) if is_float else np.zeros(len(values), np.bool_)
        )

    def _codes_of(self, values: Array, none: Array) -> Array:
        """Codes of values, of which those that are new get the next ones."""
        codes = np.full(len(values), _UNSEEN, np.uint8)
        waiting = ~none
        while waiting.any():
            raw = values[int(np.argmax(waiting))]
            alike = waiting & (values == raw)
            value = _value(raw)
            if value != GAP:
                codes[alike] = self._values.setdefault(value, len(self._values) + 1)
            waiting &= ~alike
            if len(self._values) > MOST_LABELS:
                raise SourceError(
                    f"{self._table.path}: {self.name} has over {MOST_LABELS} different values, "
                    "which are no labels: check by="
                )
        return codes

    def in_order(self, label: Sequence[str]) -> tuple[tuple[str, ...], Array]:
        """Names of the labels in their order, and the final code of each provisional one.

        Numbers are sorted as numbers, and come before words.

        Parameters
        ----------
        label : sequence of str
            New names; two labels of one name become one.

        Raises
        ------
        SourceError, UsageError
            There are no labels at all, or more or fewer than names.
        """
        if not self._values:
            raise SourceError(f"{self._table.path}: no row has a label ({self.name}): check by=")
        values: list[Value] = list(self._files)
        if not values:
            words = sorted(each for each in self._values if isinstance(each, str))
            values = [*sorted(each for each in self._values if not isinstance(each, str)), *words]
        names = tuple(str(each) for each in values)
        if label:
            if len(label) != len(names):
                raise UsageError(
                    f"label={','.join(label)}: gives {len(label)} name(s), and there are "
                    f"{len(names)} labels ({', '.join(names)}): give one for each, in this order"
                )
            names = tuple(label)
        odd = next((name for name in names if odd_name(name)), None)
        if odd is not None:
            raise SourceError(
                f"{self._table.path}: the label {odd!r} ({self.name}) has a blank, a quote, or one "
                "of the marks : , #, and cannot stand in a pattern: name the labels with label="
            )
        final = {name: code for code, name in enumerate(dict.fromkeys(names), start=1)}
        lookup = np.full(256, MISSING, np.uint8)
        for value, name in zip(values, names, strict=True):
            lookup[self._values[value]] = final[name]
        return tuple(final), lookup


def read_labels(
    copies: Copies,
    column: LabelColumn,
    label: Sequence[str] = (),
    score: str | None = None,
    progress: Progress | None = None,
) -> Labels:
    """Labels of all copies, a row for each particle.

    Raises
    ------
    SourceError
        A copy has two labels, or a row is no copy of a particle.
    """
    table, width = copies.table, len(copies.expanded.operators)
    codes = np.zeros((copies.n_particles, width), np.uint8)
    flat = codes.reshape(-1)
    scores = None if score is None else _Scores(table, score, codes.shape)
    names = [*column.reads, *([score] if score else [])]
    for start in range(0, table.n_rows, _ROWS):
        interrupts.check()
        stop = min(start + _ROWS, table.n_rows)
        sources = copies.sources(start, stop)
        place = sources * width + copies.operators(start, stop, sources)
        rows = table.read(names, start, stop) if names else {}
        found = column.codes(rows, start, stop)
        before = flat[place]
        told = found != _UNSEEN
        clash = told & (before != _UNSEEN) & (before != found)
        flat[place[told]] = found[told]
        clash |= told & (flat[place] != found)
        if clash.any():
            row = table.row_in_words(start + int(np.argmax(clash)))
            raise SourceError(
                f"{row} is a copy that has another label ({column.name}) in another row: give each "
                "copy once"
            )
        if scores is not None:
            scores.add(rows, start, place)
        if progress:
            progress(stop, table.n_rows)
    known, lookup = column.in_order(label)
    counts = np.zeros(256, np.int64)
    for first in range(0, len(flat), _ROWS):
        part = flat[first : first + _ROWS]
        part[:] = lookup[part]
        counts += np.bincount(part, minlength=256)
    found_scores = None if scores is None else scores.found()
    return Labels(known, codes, counts[1 : len(known) + 1], found_scores, column.name)


class _Scores:
    """Score of each copy; of a row that stands twice the best one."""

    def __init__(self, table: ParticleTable, name: str, shape: tuple[int, ...]) -> None:
        column = table.columns.get(name)
        if column is None or column.shape or column.dtype.kind not in "iufbS":
            raise SourceError(
                f"{table.path}: no column {name} with one number per row (columns: "
                f"{table.columns_in_words()}): check score="
            )
        self._table, self._name = table, name
        self.best = np.full(shape, -np.inf, np.float32)
        self._missing = 0

    def add(self, rows: dict[str, Array], start: int, place: Array) -> None:
        """Take the scores of some rows."""
        values = rows[self._name]
        if values.dtype.kind == "S":
            from numba_symexp.particles.words import numbers

            values = numbers(values, f"{self._table.path}: {self._name}", start)
        values = values.astype(np.float32)
        self._missing += int(np.count_nonzero(np.isnan(values)))
        np.fmax.at(self.best.reshape(-1), place, np.where(np.isnan(values), -np.inf, values))

    def found(self) -> Array:
        """The scores; a warning says of how many rows they are no numbers."""
        warn(without_score(self._table.path, self._name, self._missing, self._table.n_rows))
        return self.best


def _names_of_files(files: Sequence[str]) -> tuple[str, ...]:
    """What classes are called that are a file each: the stems, or numbers where two are equal."""
    stems = [os.path.splitext(os.path.basename(each))[0] for each in files]
    if len(set(stems)) < len(stems):
        return tuple(str(number) for number in range(1, len(files) + 1))
    return tuple(stems)


def _value(raw: object) -> Value:
    """Value of a label: a whole number where it is one, to the last figure."""
    if isinstance(raw, int | np.integer):
        return int(raw)
    text = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
    text = text.strip().strip("'\"")
    if not text:
        return GAP
    if re.fullmatch(r"[+-]?\d{1,30}", text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return text
    if not np.isfinite(number):
        return GAP
    return int(number) if number == int(number) else number


def odd_name(name: str) -> bool:
    """Whether a label's name cannot stand in a pattern, or in a .star."""
    return name == GAP or not name.isprintable() or any(c in " :,#'\"" for c in name)
