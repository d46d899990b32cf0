"""The particles of arrangements, turned so that all of one coincide."""

import os
from collections.abc import Sequence

import numpy as np

from numba_symexp.annotations import Array, Progress
from numba_symexp.arrangements.labels import GAP
from numba_symexp.arrangements.patterns import MISSING, Patterns, PatternText, find_patterns
from numba_symexp.arrangements.report import letters
from numba_symexp.arrangements.sites import Sites
from numba_symexp.conversion.particle_output import ParticleOutput
from numba_symexp.conversion.turned_table import Tag, TurnedTable
from numba_symexp.copies.copies import Copies
from numba_symexp.errors import UsageError
from numba_symexp.formats.cryosparc.slots import why_left_out
from numba_symexp.particles.schema import (
    ARRANGEMENT,
    ARRANGEMENT_LABEL,
    LABELS,
    LABELS_LABEL,
    OPERATOR_INDEX,
    OPERATOR_INDEX_DTYPE,
    TURNED_BY_LABEL,
)
from numba_symexp.particles.table import Column

_MOST_DIGITS = 9
"""More than an id has."""


class TurnedParticles:
    """Particles with labels, each to be turned to its pattern: A_i h, and s - (A_i t_h)_xy.

    Parameters
    ----------
    copies : Copies
    sites : Sites
    patterns : Patterns
    names : tuple of str
        Of the labels.
    """

    def __init__(
        self, copies: Copies, sites: Sites, patterns: Patterns, names: tuple[str, ...]
    ) -> None:
        self._copies, self._sites = copies, sites
        self._patterns, self._names = patterns, names

    def write(
        self, target: ParticleOutput, keep: Sequence[str], progress: Progress | None
    ) -> tuple[int, list[str]]:
        """Write the particles of some arrangements; return how many, and what a user should know.

        Parameters
        ----------
        target : ParticleOutput
        keep : sequence of str
            Patterns or ids; where there are none, all particles with a label are written.
        progress : callable, optional

        Raises
        ------
        UsageError
            No particle has an arrangement.
        """
        copies, patterns, sites = self._copies, self._patterns, self._sites
        wanted = np.zeros(len(patterns.first), np.bool_)
        wanted[self._pattern_numbers(keep) if keep else slice(patterns.told)] = True
        rows = np.flatnonzero(wanted[patterns.number])
        known = copies.expanded
        operator = sites.turns[patterns.turn[rows]]
        table = TurnedTable(
            copies.source,
            known.pose_columns,
            rows,
            sites.full,
            operator,
            known.psize_given_A,
            self._tags(rows, operator),
        )
        attributes = {"arranged_from": os.path.basename(copies.table.path)}
        notes = target.write(table, known.pose_columns, known.psize_given_A, attributes, progress)
        return len(rows), [*why_left_out(table.left_out, copies.source.columns), *notes]

    def _tags(self, rows: Array, operator: Array) -> dict[str, Tag]:
        """New columns of the particles."""
        number, patterns = self._patterns.number[rows], self._patterns
        text = PatternText(self._names, GAP)
        width = text.width(len(self._sites))
        return {
            ARRANGEMENT: Tag(
                Column(np.dtype("<u4")),
                ARRANGEMENT_LABEL,
                "arrangement of the labels of its copies; 1 is the most frequent",
                lambda part: (number[part] + 1).astype(np.uint32),
            ),
            OPERATOR_INDEX: Tag(
                Column(OPERATOR_INDEX_DTYPE),
                TURNED_BY_LABEL,
                "operator of the full set by which the pose was turned",
                lambda part: operator[part].astype(OPERATOR_INDEX_DTYPE),
            ),
            LABELS: Tag(
                Column(np.dtype(f"S{width}")),
                LABELS_LABEL,
                "labels of the copies of the turned particle",
                lambda part: text.words(patterns.labels(number[part])).astype(f"S{width}"),
            ),
        }

    def _pattern_numbers(self, keep: Sequence[str]) -> list[int]:
        """Numbers of the patterns that somebody names."""
        patterns, found = self._patterns, []
        for word in keep:
            codes = self._codes(word)
            if codes is not None:
                number = self._number_of(codes)
            else:
                number = int(word) - 1 if word.isdecimal() and len(word) <= _MOST_DIGITS else -1
            if not 0 <= number < patterns.told:
                raise UsageError(
                    f"keep={word}: no particle has this arrangement: give a pattern of "
                    f"{len(self._sites)} labels as the table shows it, or an id from 1 to "
                    f"{patterns.told:,}"
                )
            found.append(number)
        return found

    def _number_of(self, codes: Array) -> int:
        """Number of the pattern of a labeling; -1 where no particle has it."""
        turned = find_patterns(codes[None].copy(), self._sites).turned[0]
        alike = (self._patterns.turned == turned).all(axis=1)
        return int(self._patterns.number[int(np.argmax(alike))]) if alike.any() else -1

    def _codes(self, word: str) -> Array | None:
        """Codes of a pattern that somebody typed; None where it is none."""
        by_name = ":" in word or len(self._sites) == 1
        names = self._names if by_name else letters(self._names)
        codes = {name: code for code, name in enumerate(names, start=1)} | {GAP: MISSING}
        parts = word.split(":") if by_name else list(word)
        if len(parts) != len(self._sites) or any(part not in codes for part in parts):
            return None
        return np.array([codes[part] for part in parts], np.uint8)
