"""Open what came back of an expanded set, whoever expanded it."""

import contextlib
import os
from collections.abc import Sequence

import numpy as np

from numba_symexp.copies.copies import Copies, ExpandedCopies
from numba_symexp.copies.foreign_copies import ForeignCopies
from numba_symexp.copies.foreign_expansion import ForeignExpansion
from numba_symexp.copies.referenced_copies import ReferencedCopies
from numba_symexp.copies.returned_copies import ReturnedCopies
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.expanded.table import ExpandedTable, open_expanded
from numba_symexp.formats import open_table
from numba_symexp.particles.schema import FORMAT, OPERATOR_INDEX, SOURCE_INDEX
from numba_symexp.particles.stacked import StackedTable
from numba_symexp.particles.table import ParticleTable


def open_copies(
    path: str, expanded: str | None = None, source: str | None = None, with_poses: bool = True
) -> Copies:
    """Open what came back of an expanded set.

    Parameters
    ----------
    path : str
        Expanded table, or rows of it in the same form; or a .cs or .star with some of its rows.
    expanded : str, optional
        The expanded table that a .cs or .star comes from.
    source : str, optional
        The table that the expanded one was expanded from, if the file has moved; without an
        expanded table, the particles that another program expanded.
    with_poses : bool
        Whether poses and operators of the copies will be asked for.

    Raises
    ------
    SymexpError
        A file cannot be read, or does not belong to the other.
    """
    table = open_table(path)
    try:
        if table.says("format", FORMAT):
            if expanded is not None:
                raise UsageError(f"{path}: is an expanded table itself: leave out expanded=")
            table.close()
            return ExpandedCopies(open_expanded(path, source))
        if expanded is not None:
            return ReturnedCopies(table, open_expanded(expanded, source))
        if source is not None:
            return _of_particles(table, source, with_poses)
        raise UsageError(
            f"{path}: does not hold what its rows are copies of: name the particles that were "
            "expanded with source=, or the expanded HDF5 table with expanded="
        )
    except BaseException:
        table.close()
        raise


def open_labeled(
    paths: Sequence[str], expanded: str | None = None, source: str | None = None
) -> Copies:
    """Open copies for what they say of themselves: one file or several, one after the other.

    Parameters
    ----------
    paths : sequence of str
        As in `open_copies`; or HDF5 tables with the columns ``source_index`` and
        ``operator_index`` of the expanded one.
    expanded, source : str, optional
        As in `open_copies`. Without both, the operators of another program's expansion are told by
        the motions between the copies.

    Raises
    ------
    SymexpError
        A file cannot be read, or does not belong to the others.
    """
    with contextlib.ExitStack() as opened:
        tables = []
        for path in paths:
            tables.append(open_table(path))
            opened.callback(tables[-1].close)
        table = tables[0] if len(tables) == 1 else StackedTable(tables)
        ours = [path for path, each in zip(paths, tables, strict=True) if _is_ours(each)]
        if ours:
            of = open_expanded(expanded or ours[0], source)
            opened.callback(of.close)
            for path in ours:
                _refuse_other_expansion(of, path)
            if len(ours) < len(paths):
                other = next(path for path in paths if path not in ours)
                raise UsageError(f"{other}: is no expanded table, and {ours[0]} is: give one kind")
            copies: Copies = ExpandedCopies(of, table)
        elif expanded is not None:
            of = open_expanded(expanded, source)
            opened.callback(of.close)
            says_all = {SOURCE_INDEX, OPERATOR_INDEX} <= table.columns.keys()
            copies = ExpandedCopies(of, table) if says_all else ReturnedCopies(table, of)
        elif source is not None:
            copies = _of_particles(table, source, with_poses=True)
        else:
            copies = ReferencedCopies(table)
        opened.pop_all()
        return copies


def _of_particles(table: ParticleTable, source: str, with_poses: bool) -> ForeignCopies:
    """Copies that another program made of the particles in a file."""
    if os.path.exists(source) and os.path.samefile(table.path, source):
        raise UsageError(
            f"{table.path}: is not an expanded table, and source= names the same file: name the "
            "particles that its rows are copies of"
        )
    return ForeignCopies(table, ForeignExpansion(source), with_poses)


def _is_ours(table: ParticleTable) -> bool:
    """Whether a table is an expanded one of this package."""
    return table.says("format", FORMAT)


def _refuse_other_expansion(of: ExpandedTable, path: str) -> None:
    """Refuse an expanded table that is not of the same particles, by the same operators.

    Raises
    ------
    SourceError
        It is not.
    """
    with open_expanded(path) as other:
        same = other.source_record.fingerprint == of.source_record.fingerprint
        same &= np.array_equal(other.operators.quaternion, of.operators.quaternion)
        same &= np.array_equal(other.operators.translation_A, of.operators.translation_A)
        same &= np.array_equal(other.operators.center_A, of.operators.center_A)
        same &= np.array_equal(other.operators.turn, of.operators.turn)
        if not same:
            raise SourceError(
                f"{path}: is not of the expansion {of.path}: give tables of one expansion"
            )
