"""From .cs and .star to a particle table in HDF5."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from numba_symexp.annotations import AnyPath, Progress
from numba_symexp.errors import UsageError, warn
from numba_symexp.formats import format_of, open_table, source_files
from numba_symexp.formats.cryosparc.job_folder import left_aside
from numba_symexp.formats.hdf5.table import Hdf5Table
from numba_symexp.formats.hdf5.write import size_of, write_table
from numba_symexp.kinds import HDF5
from numba_symexp.output import OutputFile
from numba_symexp.particles.columns import find_columns, half_set_column, half_set_warning
from numba_symexp.particles.convention import check_convention, doubtful, settle
from numba_symexp.particles.halves import WithHalves, torn_particles
from numba_symexp.particles.scan import scan
from numba_symexp.particles.schema import CONVENTION, SPLIT
from numba_symexp.particles.table import ParticleTable


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
    convention: str | None = None,
    assign_halves: int | None = None,
) -> ImportReport:
    """Write the particles of CryoSPARC or RELION as an HDF5 table.

    Every field of a .cs comes along in its own type, those of passthrough files joined on uid.
    Every label of a .star comes along as text, its angles and origins as poses and shifts too, and
    what stands around its rows, so that `export_particles` can write it again.

    Parameters
    ----------
    files : sequence of str or path
        One .star; one .cs and its passthrough files; one .csg; or one job folder of CryoSPARC, of
        which the newest particles are taken.
    output : str or path
        HDF5 file to write.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.
    convention : {"cryosparc", "relion"}, optional
        In whose convention the particles were refined; by default what the files say.
    assign_halves : int, optional
        Seed of half-sets to be drawn per particle, in place of those that the files have: all
        copies of a particle get the same.

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
    sources = tuple(path for each in files for path in source_files(os.fspath(each)))
    check_convention(convention)
    if assign_halves is not None and not 0 <= assign_halves < 2**63:
        raise UsageError(f"assign_halves {assign_halves} must be 0 or more")
    target = OutputFile(output, HDF5, sources, overwrite)
    with _open_all(sources) as table:
        columns = find_columns(table)
        warn(left_aside(table), doubtful(table, convention))
        if assign_halves is not None:
            name = half_set_column(table.columns, columns.pose) or SPLIT
            table = WithHalves(table, columns, assign_halves, name)
        else:
            if half_set_column(table.columns, columns.pose):
                warn(half_set_warning(table, columns))
            warn(torn_particles(table, columns))
        if convention is not None:
            settle(table.attributes, convention)
        with target.writing([table], size_of(table)) as draft:
            attributes = {"imported_from": os.path.basename(table.path)}
            write_table(draft.path, table, attributes, progress)
            odd = _scan_written(draft.path, table)
        return ImportReport(
            output=target.name,
            source=sources,
            particles=table.n_rows,
            columns=len(table.columns),
            convention=table.attributes[CONVENTION],
            notes=(*table.notes, *odd, *draft.notes),
        )


@contextlib.contextmanager
def _open_all(files: Sequence[str]) -> Iterator[ParticleTable]:
    """Open one or several files of the same particles as one table."""
    formats = [format_of(path) for path in files]
    for path, each in zip(files, formats, strict=True):
        if each.is_own:
            raise UsageError(f"{path}: is {each.kind.name} already: expand it as it is")
        if len(files) > 1 and not each.joins:
            raise UsageError(
                f"{path}: {each.kind.name} cannot be joined with other files: import it alone"
            )
    with open_table(files[0], passthrough=files[1:]) as table:
        table.attributes.setdefault(CONVENTION, formats[0].vocabulary)
        yield table


def _scan_written(path: str, table: ParticleTable) -> list[str]:
    """Check every row of the output: it is quicker to read than text, and so it is read back."""
    with Hdf5Table(path, locking=False) as written:  # this run holds a lock on it
        written.path = table.path  # messages name the file that a user knows
        return scan(written, find_columns(written), others=False).odd
