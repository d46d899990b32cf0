"""Open what came back of an expanded set, whoever expanded it."""

import os

from numba_symexp.copies.foreign import ForeignExpansion
from numba_symexp.copies.foreign_copies import ForeignCopies
from numba_symexp.copies.found_again import ReturnedCopies
from numba_symexp.copies.returned import Copies, ExpandedCopies
from numba_symexp.errors import UsageError
from numba_symexp.expanded.table import open_expanded
from numba_symexp.formats import open_table
from numba_symexp.particles.schema import FORMAT


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
        if source is not None and os.path.exists(source) and os.path.samefile(path, source):
            raise UsageError(
                f"{path}: is not an expanded table, and source= names the same file: name the "
                "particles that its rows are copies of"
            )
        if source is not None:
            return ForeignCopies(table, ForeignExpansion(source), with_poses)
        raise UsageError(
            f"{path}: is no expanded table: name the one that its rows come from with expanded= "
            "or, where another program made it, the particles with source="
        )
    except BaseException:
        table.close()
        raise
