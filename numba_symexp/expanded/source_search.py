"""The source of an expanded table, found again: where it may be, and whether it is what it was."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from numba_symexp.errors import SourceChangedError
from numba_symexp.expanded.format import SourceRecord
from numba_symexp.files import first_bytes, is_data_file
from numba_symexp.formats import open_table
from numba_symexp.kinds import CSG
from numba_symexp.particles.columns import native
from numba_symexp.particles.fingerprint import (
    RULE_2,
    ColumnDigests,
    Fingerprint,
    changes,
    full_fingerprint,
)
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.table import Column, ParticleTable

_CHANGES_NAMED = 4


@dataclass(frozen=True)
class SourceSearch:
    """The search for the source of an expanded table.

    Attributes
    ----------
    path : str
        The expanded table.
    record : SourceRecord
        What it says of the source.
    given : str or None
        Where somebody says that the source is now.
    pose_and_shift : mapping of str to Column
        The pose and shift columns of the expanded table, by name, in this order.
    """

    path: str
    record: SourceRecord
    given: str | None
    pose_and_shift: Mapping[str, Column]

    @property
    def files(self) -> tuple[str, ...]:
        """All files that may be the source, and those that are joined with it."""
        named = tuple(dict.fromkeys(self._candidates()))
        return (*named, *(each for path in named for each in self.record.passthrough_of(path)))

    def open(self) -> ParticleTable:
        """Open the first candidate that exists and has the fingerprint.

        Raises
        ------
        SourceChangedError
            There is none.
        """
        changed, what = None, ""
        for path in self._candidates():
            further = self.record.passthrough_of(path)
            if path == self.given and (os.path.isdir(path) or CSG.is_this(first_bytes(path))):
                further = []  # it names them itself
            elif not all(map(is_data_file, (path, *further))):
                continue
            table = open_table(path, self.record.table, further)
            try:
                found = self._changes(table)
                if not found:
                    return table
            except BaseException:
                table.close()
                raise
            table.close()
            what = what or ", ".join(found[:_CHANGES_NAMED]) + (
                " ..." * (len(found) > _CHANGES_NAMED)
            )
            changed = changed or path
        if changed:
            raise SourceChangedError(
                f"{self.path}: its source {changed} is not what it was when it was expanded "
                f"({what}): name the original with source=, or expand again"
            )
        if self.given is not None:
            raise SourceChangedError(
                f"{self.path}: its source, {self.given}, is no file that may be read: "
                "check the path"
            )
        raise SourceChangedError(
            f"{self.path}: its source {self.record.path} is gone: name it with source="
        )

    def _candidates(self) -> list[str]:
        """Where the source may be, the likeliest first."""
        if self.given is not None:
            return [self.given]
        folder = os.path.dirname(os.path.realpath(self.path))
        relative = os.path.normpath(os.path.join(folder, self.record.relative_path))
        return [relative, self.record.absolute_path, self.record.path]

    def _changes(self, table: ParticleTable) -> list[str]:
        """In what a table differs from the one that was expanded."""
        names = list(self.pose_and_shift)
        for name in names:
            if name not in table.columns:
                return [f"{name} is missing"]
        before = self.record
        if table.n_rows != before.n_rows:
            return [f"{table.n_rows:,} rows, not {before.n_rows:,}"]
        by_column = before.fingerprint.startswith(RULE_2)
        read = list(table.columns) if by_column else names
        fingerprint = Fingerprint()
        digests = ColumnDigests({name: table.columns[name] for name in read})
        for start, stop in blocks(table, read):
            rows = table.read(read, start, stop)
            fingerprint.update(*(native(rows[name]) for name in names))
            if by_column:
                digests.update(rows)
        if not by_column:
            alike = all(
                _alike(table.columns[name], own) for name, own in self.pose_and_shift.items()
            )
            same = alike and fingerprint.text() == before.fingerprint
            return [] if same else ["poses or shifts differ"]
        lines = digests.lines()
        if full_fingerprint(fingerprint.text(), lines) == before.fingerprint:
            return [] if lines == before.columns else ["its record here is damaged"]
        return changes(before.columns, lines) or ["its record here is damaged"]


def _alike(one: Column, other: Column) -> bool:
    """Whether two columns have one shape and type, whatever their byte orders."""
    types = (each.dtype.newbyteorder("=") for each in (one, other))
    return one.shape == other.shape and len(set(types)) == 1
