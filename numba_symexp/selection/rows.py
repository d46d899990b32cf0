"""Some rows of an expanded set, as a table, and written as an expanded table."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace

from numba_symexp import interrupts
from numba_symexp.annotations import Array, Progress
from numba_symexp.errors import SourceError
from numba_symexp.expanded.format import create, finish, size_of
from numba_symexp.expanded.provenance import read_selection
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.expansion.writer import Hdf5Sink
from numba_symexp.files import reserve
from numba_symexp.output import OutputFile
from numba_symexp.particles.findings import Findings, check_pose, check_shift
from numba_symexp.particles.schema import POSE_FORMATS, SELECTION, SELECTION_VERSION
from numba_symexp.particles.table import ParticleTable, SomeRows

_ROWS = 1 << 16
"""Rows that are copied at a time."""

_OWN = {"format", "format_version", "complete", SELECTION}
"""Attributes that a selected table has anew."""


class SelectedExpansion:
    """An expanded table of which some rows are left; see `ExpandedRows`.

    Parameters
    ----------
    expanded : ExpandedTable
        Stays open when this is closed.
    rows : (n,) int64
        Ascending.
    """

    made_of_words = False

    def __init__(self, expanded: ExpandedTable, rows: Array) -> None:
        self.path, self._expanded = expanded.path, expanded
        self.table: ParticleTable = SomeRows(expanded.table, rows)
        self.operators, self.pose_columns = expanded.operators, expanded.pose_columns
        self.psize_given_A, self.defocus = expanded.psize_given_A, expanded.defocus

    @property
    def source(self) -> ParticleTable:
        """The table that was expanded."""
        return self._expanded.source

    def checked_sources(self, index: Array, start: int) -> Array:
        """Rows of the source, int64, that ``source_index`` of rows from ``start`` on names."""
        return self._expanded.checked_sources(index, start, self.table.row_number)

    def close(self) -> None:
        """Nothing of its own is open."""


def write_selected(
    target: OutputFile,
    expanded: ExpandedTable,
    rows: Array,
    dropped: Mapping[str, int],
    progress: Progress | None,
) -> list[str]:
    """Write rows of an expanded table as one of format version 2; return what to know.

    Parameters
    ----------
    target : OutputFile
    expanded : ExpandedTable
    rows : (n,) int64
        Ascending.
    dropped : mapping of str to int
        Why how many rows were left out, for the record.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Raises
    ------
    SourceError
        A pose or shift is none.
    """
    pose, shift, pose_format = expanded.pose_columns
    bad = Findings(expanded.table.numbering(rows))
    columns = [each for each in expanded.output_columns if not each.dtype.hasobject]
    left = [each.name for each in expanded.output_columns if each.dtype.hasobject]
    operators = expanded.operators
    record = expanded.source_record
    before = os.path.join(os.path.dirname(os.path.realpath(expanded.path)), record.relative_path)
    source = replace(record, relative_path=os.path.relpath(before, target.folder))
    size = size_of(columns, len(rows), operators, source)
    kept = {name: value for name, value in expanded.attributes.items() if name not in _OWN}
    earlier = read_selection(expanded.table)
    kept[SELECTION] = json.dumps([*earlier, {"rows": len(rows), "dropped": dict(dropped)}])
    with target.writing([expanded.table], size) as draft:
        offsets = create(draft.path, columns, len(rows), operators, source, kept, SELECTION_VERSION)
        reserve(draft.descriptor, os.fstat(draft.descriptor).st_size)
        if len(rows):
            names = [column.name for column in columns]
            with Hdf5Sink(draft.descriptor, columns, offsets, _ROWS) as sink:
                for start in range(0, len(rows), _ROWS):
                    interrupts.check()
                    part = rows[start : start + _ROWS]
                    found, buffer = expanded.table.read_at(names, part), sink.free()
                    check_pose(found[pose], POSE_FORMATS[pose_format], pose, start, bad)
                    check_shift(found[shift], shift, start, bad)
                    for name in names:
                        buffer[name][: len(part)] = found[name]
                    sink.submit(buffer, start, len(part))
                    if progress:
                        progress(start + len(part), len(rows))
        if bad:
            raise SourceError(
                f"{expanded.path}: {bad.lines()[0]}: remove these rows or repair them"
            )
        finish(draft.path, {})
    if not left:
        return draft.notes
    return [*draft.notes, f"left out, as texts of varying length: {', '.join(left)}"]
