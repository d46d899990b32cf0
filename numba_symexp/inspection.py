"""What a particle table holds, and whether it can be expanded."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numba_symexp.annotations import AnyPath
from numba_symexp.errors import SymexpError, UsageError, warn
from numba_symexp.expanded.table import open_expanded
from numba_symexp.files import path_list, path_or_none
from numba_symexp.formats import open_table
from numba_symexp.particles.columns import (
    expanded_by,
    find_columns,
    half_set_column,
    half_set_warning,
)
from numba_symexp.particles.convention import convention_and_reason, doubtful
from numba_symexp.particles.halves import torn_particles
from numba_symexp.particles.scan import scan
from numba_symexp.particles.schema import FORMAT
from numba_symexp.symmetry.descriptions import describe


@dataclass(frozen=True)
class ExpansionOrigin:
    """How an expanded table was made, as the table tells.

    Attributes
    ----------
    symmetry : str
        The symmetry and its axes, in words.
    operators, rows, particles : int
        Numbers of operators, of rows, and of particles of the source.
    provenance : mapping
        Parameters, programs and resources.
    created, generated_by : str or None
        When and by which program.
    source : str or None
        The table that it was expanded from.
    """

    symmetry: str
    operators: int
    rows: int
    particles: int
    provenance: Mapping[str, Any]
    created: Any
    generated_by: Any
    source: str | None


@dataclass(frozen=True)
class InspectionReport:
    """What `inspect` found.

    Attributes
    ----------
    file : str
    table : str
        Place of the table in the file.
    layout : str
        How the file holds the table.
    particles : int
        Number of rows.
    columns : dict of str to str
        Type and shape of each column.
    expandable : bool
        Whether `expand` takes the table as it is.
    reason : str or None
        Why not.
    notes : tuple of str
        What deserves a look.
    convention, convention_reason : str
        Whose Dn the table means where no convention is given, and why.
    expansion : ExpansionOrigin or None
        How the table was made, where it is an expanded one.
    fingerprint : str or None
        Of the rows; None where they cannot be read.
    views : dict or None
        How tilts and lengths of shifts are distributed, where this was asked for.
    """

    file: str
    table: str
    layout: str
    particles: int
    columns: dict[str, str]
    expandable: bool
    reason: str | None
    notes: tuple[str, ...]
    convention: str
    convention_reason: str
    expansion: ExpansionOrigin | None = None
    fingerprint: str | None = None
    views: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON; the last three only where they are known."""
        record = asdict(self)
        for name in ("expansion", "fingerprint", "views"):
            if record[name] is None:
                del record[name]
        return record


def inspect(
    path: AnyPath,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    views: bool = False,
    source: AnyPath | None = None,
    passthrough: AnyPath | Sequence[AnyPath] = (),
) -> InspectionReport:
    """Look at a particle table, expanded or not, and check every row.

    Parameters
    ----------
    path : str or path
        HDF5 file, expanded or not; CryoSPARC .cs, .csg or job folder; or RELION .star.
    table, pose, pose_format, shift
        As in `expand`.
    views : bool
        Count tilts and lengths of shifts too.
    source : str or path, optional
        The table that an expanded one was expanded from, if the file has moved. It is compared
        with the one that was expanded, and named in its place.
    passthrough : sequence of str or path
        Further .cs files of the same particles, joined on their ids.

    Returns
    -------
    InspectionReport

    Raises
    ------
    SymexpError
        The file cannot be read, or holds no table.
    """
    path = os.fspath(path)
    moved = path_or_none(source)
    with open_table(path, table, path_list(passthrough)) as rows:
        is_expanded = rows.says("format", FORMAT)
        if moved is not None and not is_expanded:
            raise UsageError(f"{path}: is not an expanded table: leave out source=")
        expansion = _expansion(path, moved) if is_expanded else None
        convention, convention_reason = convention_and_reason(rows)
        warn(doubtful(rows, None))
        notes: list[str] = []
        fingerprint, counted, reason = None, None, None
        try:
            columns = find_columns(rows, pose, pose_format, shift)
            found = scan(rows, columns)
            notes += found.odd
            fingerprint = found.fingerprint
            if views and rows.n_rows:
                from numba_symexp.pictures.tally import view_statistics  # loads the compiler

                counted = view_statistics(rows, columns)
        except SymexpError as error:
            reason = str(error)
        else:
            program = expanded_by(rows)
            if program:
                reason = f"already expanded by {program} (see again=True)"
            warn(torn_particles(rows, columns))
            if half_set_column(rows.columns, columns.pose):
                warn(half_set_warning(rows, columns))
            for name, meaning in (
                (columns.psize, "no pixel size column: helices and centers need psize="),
                (columns.uid, "no ids: the expanded rows get none"),
                (columns.split, "no half-sets: consider assign_halves=SEED"),
            ):
                if name is None:
                    notes.append(meaning)
        return InspectionReport(
            file=path,
            table=rows.location,
            layout=rows.layout,
            particles=rows.n_rows,
            columns={name: str(column) for name, column in sorted(rows.columns.items())},
            expandable=reason is None,
            reason=reason,
            notes=tuple(notes),
            convention=convention,
            convention_reason=convention_reason,
            expansion=expansion,
            fingerprint=fingerprint,
            views=counted,
        )


def _expansion(path: str, source: str | None) -> ExpansionOrigin:
    """What the attributes of an expanded table say."""
    with open_expanded(path, source) as table:
        return ExpansionOrigin(
            symmetry=describe(table.operators),
            operators=len(table.operators),
            rows=len(table),
            particles=table.n_sources,
            provenance=table.provenance,
            created=_text(table.attributes.get("created")),
            generated_by=_text(table.attributes.get("generated_by")),
            source=table.source_path if source is None else table.source.path,
        )


def _text(value: object) -> str | None:
    """What an attribute says, where it is text."""
    return value if isinstance(value, str) else None
