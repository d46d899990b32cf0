"""From .cs and .star to a particle table in HDF5."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import h5py

from numba_symexp import interrupts
from numba_symexp.clock import timestamp
from numba_symexp.errors import UsageError
from numba_symexp.files import check_space, check_target, publish, refusing, sync_file, temporary
from numba_symexp.formats.opening import open_table
from numba_symexp.formats.star_group import star_text, write_star_text
from numba_symexp.interop.joined_table import JoinedTable
from numba_symexp.leftovers import sweep
from numba_symexp.particles.columns import find_columns
from numba_symexp.particles.hdf5 import Hdf5Table, system_errors
from numba_symexp.particles.scan import blocks, scan
from numba_symexp.particles.schema import (
    CONVENTION,
    DESCRIPTIONS,
    POSE,
    POSE_FORMATS,
    REPEATED_IMAGES,
    SHIFT,
    TABLE,
    units_of,
)
from numba_symexp.particles.table import Column, ParticleTable
from numba_symexp.progress import Progress
from numba_symexp.version import __version__

_METADATA_BYTES = 65_536


def import_particles(
    files: Sequence[str],
    output: str,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the particles of CryoSPARC or RELION as an HDF5 table.

    Every field of a .cs comes along in its own type, those of passthrough files joined on uid.
    Every label of a .star comes along as text, its angles and origins as poses and shifts too, and
    what stands around its rows, so that `export_particles` can write it again.

    Parameters
    ----------
    files : sequence of str
        One .star; or one .cs and its passthrough files.
    output : str
        HDF5 file to write.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Returns
    -------
    dict
        ``output``, ``source``, ``particles``, ``columns``, ``convention``, ``notes``.

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
    for source in files:
        target = check_target(output, source, overwrite)
    with _open_all(files) as table:
        notes = [*scan(table, find_columns(table)).odd, *sweep(os.path.dirname(target))]
        size = sum(column.row_bytes for column in table.columns.values()) * table.n_rows
        check_space(output, target, size + 1024 * len(table.columns) + _METADATA_BYTES)
        with temporary(output, target) as path:
            with refusing(output):
                _write(path, table, progress)
                sync_file(path)
            interrupts.check()
            publish(output, path, target, overwrite)
        return {
            "output": output,
            "source": list(files),
            "particles": table.n_rows,
            "columns": len(table.columns),
            "convention": table.attributes[CONVENTION],
            "notes": [*_notes(table), *notes],
        }


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


def _write(path: str, table: ParticleTable, progress: Progress | None) -> None:
    """Write a table, a column a dataset, in the order of its columns."""
    with system_errors(), h5py.File(path, "w", locking="best-effort", track_order=True) as file:
        file.attrs.update(
            {
                "generated_by": f"numba_symexp {__version__}",
                "created": timestamp(),
                "imported_from": os.path.basename(table.path),
            }
        )
        text = star_text(table)
        if text is not None:
            write_star_text(file, text)
        group = file.create_group(TABLE, track_order=True)
        group.attrs.update(table.attributes)
        datasets = {}
        for name, column in table.columns.items():
            *folders, _ = name.split("/")
            for depth in range(1, len(folders) + 1):
                parent = "/".join(folders[:depth])
                if parent not in group:
                    group.create_group(parent, track_order=True)
            datasets[name] = group.create_dataset(
                name, (table.n_rows, *column.shape), column.dtype, track_times=False
            )
            datasets[name].attrs.update(_described(name, column))
        names = list(table.columns)
        for start, stop in blocks(table, names):
            for name, rows in table.read(names, start, stop).items():
                datasets[name][start:stop] = rows
            if progress:
                progress(stop, table.n_rows)


def _described(name: str, column: Column) -> dict[str, str]:
    """Units and description of a column."""
    if name == POSE:
        known = POSE_FORMATS["rotvec"]
        return {"units": known.units, "description": known.description}
    if name == SHIFT:
        return dict(zip(("units", "description"), DESCRIPTIONS[SHIFT], strict=True))
    return {"units": "text" if column.dtype.kind == "S" else units_of(name)}


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
            "already; to expand it needs --again"
        )
    return notes
