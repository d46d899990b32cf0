"""From .cs and .star to a particle table in HDF5."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numba_symexp.errors import UsageError
from numba_symexp.formats.cryosparc.joined import JoinedTable
from numba_symexp.formats.hdf5.table import Hdf5Table
from numba_symexp.formats.hdf5.write import size_of, write_table
from numba_symexp.formats.registry import open_table
from numba_symexp.formats.relion.kept_text import star_text
from numba_symexp.kinds import HDF5
from numba_symexp.output import OutputFile
from numba_symexp.particles.columns import find_columns
from numba_symexp.particles.scan import scan
from numba_symexp.particles.schema import CONVENTION, REPEATED_IMAGES
from numba_symexp.particles.table import ParticleTable
from numba_symexp.types import AnyPath, Progress


@dataclass(frozen=True)
class ImportReport:
    """What `import_particles` wrote.

    Attributes
    ----------
    output : str
    source : tuple of str
        The files that were read.
    particles, columns : int
    convention : str
        Of the poses.
    notes : tuple of str
        What the user should know.
    """

    output: str
    source: tuple[str, ...]
    particles: int
    columns: int
    convention: str
    notes: tuple[str, ...]


def import_particles(
    files: Sequence[AnyPath],
    output: AnyPath,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Write the particles of CryoSPARC or RELION as an HDF5 table.

    Every field of a .cs comes along in its own type, those of passthrough files joined on uid.
    Every label of a .star comes along as text, its angles and origins as poses and shifts too, and
    what stands around its rows, so that `export_particles` can write it again.

    Parameters
    ----------
    files : sequence of str or path
        One .star; or one .cs and its passthrough files.
    output : str or path
        HDF5 file to write.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Returns
    -------
    ImportReport

    Raises
    ------
    UsageError
        No files, or files that do not go together.
    SourceError
        A file is damaged, or its particles have no poses.
    OutputError
        The output exists, or cannot be written.
    """
    if not files:
        raise UsageError("nothing to import: name a .cs or .star file")
    sources = tuple(os.fspath(each) for each in files)
    target = OutputFile(output, HDF5, sources, overwrite)
    with _open_all(sources) as table:
        find_columns(table)
        with target.writing([table], size_of(table)) as draft:
            attributes = {"imported_from": os.path.basename(table.path)}
            write_table(draft.path, table, star_text(table), attributes, progress)
            odd = _scan_written(draft.path, table)
        return ImportReport(
            output=target.name,
            source=sources,
            particles=table.n_rows,
            columns=len(table.columns),
            convention=table.attributes[CONVENTION],
            notes=(*_notes(table), *odd, *draft.notes),
        )


@contextlib.contextmanager
def _open_all(files: Sequence[str]) -> Any:
    """Open one .star, or .cs files as one table."""
    with contextlib.ExitStack() as stack:
        tables = [stack.enter_context(open_table(path)) for path in files]
        for table in tables:
            if isinstance(table, Hdf5Table):
                raise UsageError(f"{table.path}: is HDF5 already: expand it as it is")
            if len(tables) > 1 and star_text(table) is not None:
                raise UsageError(
                    f"{table.path}: a .star cannot be joined with other files: import it alone"
                )
        if len(tables) == 1 and star_text(tables[0]) is not None:
            yield tables[0]
            return
        joined = JoinedTable(tables)
        joined.attributes.setdefault(CONVENTION, "cryosparc")
        yield joined


def _scan_written(path: str, table: ParticleTable) -> list[str]:
    """Check every row of what was written: quicker to read than text, and read back at that."""
    with Hdf5Table(path, locking=False) as written:  # this run holds a lock on it
        written.path = table.path  # messages name the file that a user knows
        return scan(written, find_columns(written)).odd


def _notes(table: ParticleTable) -> list[str]:
    """What a user should know of what was imported."""
    notes = list(getattr(table, "notes", ()))
    skipped = getattr(table, "skipped", 0)
    if skipped:
        notes.append(f"{table.path}: {skipped:,} line(s) of comment among the rows left out")
    repeated = table.attributes.get(REPEATED_IMAGES)
    if repeated:
        notes.append(
            f"{table.path}: {repeated:,} row(s) show an image again, so the set is expanded "
            "already; to expand it needs again=True"
        )
    return notes
