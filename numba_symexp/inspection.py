"""What a particle table holds, and whether it can be expanded."""

from typing import Any

from numba_symexp.errors import SymexpError
from numba_symexp.expanded.table import open_expanded
from numba_symexp.formats import open_table
from numba_symexp.particles.columns import expanded_by, find_columns
from numba_symexp.particles.scan import scan
from numba_symexp.particles.schema import FORMAT
from numba_symexp.symmetry.descriptions import describe


def inspect(
    path: str,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    views: bool = False,
) -> dict[str, Any]:
    """Look at a particle table, expanded or not, and check every row.

    Parameters
    ----------
    path : str
        HDF5 file.
    table, pose, pose_format, shift
        As in `ExpandJob`.
    views : bool
        Count tilts and lengths of shifts too; see `view_statistics`.

    Returns
    -------
    dict
        ``file``, ``table``, ``layout``, ``particles``, ``columns``, ``expandable``, ``reason`` (why
        not), ``notes``; for an expanded table also ``expansion``; ``views`` where asked for.

    Raises
    ------
    SymexpError
        The file cannot be read, or holds no table.
    """
    with open_table(path, table) as source:
        report: dict[str, Any] = {
            "file": path,
            "table": source.location,
            "layout": source.layout,
            "particles": source.n_rows,
            "columns": {name: str(column) for name, column in sorted(source.columns.items())},
            "expandable": True,
            "reason": None,
            "notes": [],
        }
        if source.says("format", FORMAT):
            report["expansion"] = _expansion(path)
        try:
            columns = find_columns(source, pose, pose_format, shift)
            found = scan(source, columns)
            report["notes"] = found.odd
            report["fingerprint"] = found.fingerprint
            if views and source.n_rows:
                from numba_symexp.pictures.tally import view_statistics  # loads the compiler

                report["views"] = view_statistics(source, columns)
        except SymexpError as error:
            report.update(expandable=False, reason=str(error))
            return report
        program = expanded_by(source)
        if program:
            report.update(
                expandable=False, reason=f"already expanded by {program} (see again=True)"
            )
        for name, meaning in (
            (columns.psize, "no pixel size column: helices and centers need psize="),
            (columns.uid, "no ids: the expanded rows get none"),
            (columns.split, "no half-sets: consider assign_halves=SEED"),
        ):
            if name is None:
                report["notes"].append(meaning)
    return report


def _expansion(path: str) -> dict[str, Any]:
    """What the attributes of an expanded table say."""
    with open_expanded(path) as table:
        return {
            "symmetry": describe(table.operators),
            "operators": len(table.operators),
            "rows": len(table),
            "particles": table.n_sources,
            "provenance": table.provenance,
            "created": table.attributes.get("created"),
            "generated_by": table.attributes.get("generated_by"),
            "source": table.source_path,
        }
