"""The optics groups of a RELION particle file, and what they say of each particle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.text import OPTICS_GROUP, block_text, loops_in, pairs_in
from numba_symexp.formats.words_table import cut_rows
from numba_symexp.particles.table import Header
from numba_symexp.particles.words import numbers, words_at

_LONGEST_OPTICS_WORD = 4096


@dataclass(frozen=True)
class Optics:
    """Rows of the optics block; none in files of RELION 3.0.

    Attributes
    ----------
    labels : tuple of str
    n_rows : int
    """

    labels: tuple[str, ...] = ()
    n_rows: int = 0
    _words: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, header: Header) -> "Optics":
        """Optics that a file's header describes."""
        block = block_text(header.head, "optics")
        loops = loops_in(block)
        if not loops:
            pairs = pairs_in(block)
            words = {label: np.array([word]) for label, word in pairs.items()}
            return cls(tuple(pairs), 1 if pairs else 0, words)
        first, end, names = loops[0]
        labels = tuple(name.decode(errors="replace") for name in names)
        parts: dict[str, list[Array]] = {label: [np.zeros(0, "S1")] for label in labels}
        for data, starts, lengths, _, _ in cut_rows(block[first:end], len(labels)):
            for place, label in enumerate(labels):
                if int(lengths[:, place].max(initial=0)) > _LONGEST_OPTICS_WORD:
                    raise SourceError(f"a word of _{label} in data_optics is too long: repair it")
                parts[label].append(words_at(data, starts[:, place], lengths[:, place]))
        rows = {label: np.concatenate(each) for label, each in parts.items()}
        return cls(labels, len(next(iter(rows.values()), ())), rows)

    def __contains__(self, label: str) -> bool:
        return label in self.labels

    def words(self, label: str) -> Array:
        """Words of a label, (n_rows,) bytes, without their quotes."""
        return np.char.strip(self._words[label], b"\"'")

    def groups(self) -> Array:
        """Number of each row's group as a word; files with one group may leave it out."""
        if OPTICS_GROUP in self.labels:
            return self.words(OPTICS_GROUP)
        return np.array([b"%d" % number for number in range(1, self.n_rows + 1)] or [b"1"])

    def of_rows(
        self,
        group: Array | None,
        label: str,
        rows: int,
        path: str,
        start: int,
        row_number: Callable[[int], int] = int,
    ) -> Array:
        """Value of a label in the optics group of each particle, (rows,) float64.

        Parameters
        ----------
        group : (rows,) bytes or None
            Words of the particles' groups; None where particles name no group.
        label : str
        rows : int
        path : str
            Of the file, for messages.
        start : int
            First row, for messages.
        row_number : callable, optional
            As of `numbers`.

        Raises
        ------
        SourceError
            A group is not described, or a word is no number.
        """
        values = numbers(self.words(label), f"{path}: data_optics: _{label}", 0)
        if group is None:
            if len(values) != 1:
                raise SourceError(
                    f"{path}: particles have no _{OPTICS_GROUP}, and data_optics has "
                    f"{len(values)} groups: add it"
                )
            return np.full(rows, values[0])
        known = numbers(self.groups(), f"{path}: data_optics: _{OPTICS_GROUP}", 0)
        wanted = numbers(group, f"{path}: _{OPTICS_GROUP}", start, row_number)
        if not len(known):
            raise SourceError(f"{path}: data_optics has no rows: add those of the groups")
        order = np.argsort(known, kind="stable")
        place = np.searchsorted(known[order], wanted, side="right") - 1
        missing = (place < 0) | (known[order][place] != wanted)
        if missing.any():
            row = int(np.argmax(missing))
            raise SourceError(
                f"{path}: row {row_number(start + row)} is of optics group {wanted[row]:g}, for "
                f"which data_optics has no _{label}: add it"
            )
        return values[order][place]
