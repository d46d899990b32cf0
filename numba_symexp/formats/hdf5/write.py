"""Write a particle table to an HDF5 file, a column a dataset."""

from collections.abc import Mapping
from typing import Any

import h5py

from numba_symexp.formats.hdf5.safe_output import writing
from numba_symexp.formats.relion.kept_text import write_star_text
from numba_symexp.formats.relion.text import StarText
from numba_symexp.output import timestamp
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import POSE, POSE_FORMATS, SHIFT, SHIFT_TEXTS, TABLE, units_of
from numba_symexp.particles.table import Column, ParticleTable
from numba_symexp.types import Progress
from numba_symexp.version import __version__

_METADATA_BYTES = 65_536
_BYTES_PER_COLUMN = 1024


def size_of(table: ParticleTable) -> int:
    """Bytes that a table takes on disk, a little rounded up."""
    rows = table.n_rows * sum(column.row_bytes for column in table.columns.values())
    return rows + _BYTES_PER_COLUMN * len(table.columns) + _METADATA_BYTES


def write_table(
    path: str,
    table: ParticleTable,
    text: StarText | None,
    attributes: Mapping[str, Any],
    progress: Progress | None,
) -> None:
    """Write a table in the order of its columns.

    Parameters
    ----------
    path : str
        File that may be overwritten.
    table : ParticleTable
    text : StarText or None
        Of the .star file that the table came from.
    attributes : mapping
        Of the file, beside when and by what it was written.
    progress : callable or None
        Called as ``progress(rows_done, rows)`` now and then.
    """
    with writing(path, "w", track_order=True) as file:
        file.attrs.update(
            {"generated_by": f"numba_symexp {__version__}", "created": timestamp(), **attributes}
        )
        if text is not None:
            write_star_text(file, text)
        group = file.create_group(TABLE, track_order=True)
        group.attrs.update(table.attributes)
        datasets = {
            name: _create(group, table, name, column) for name, column in table.columns.items()
        }
        for start, stop in blocks(table, list(table.columns)):
            for name, rows in table.read(list(table.columns), start, stop).items():
                datasets[name][start:stop] = rows
            if progress:
                progress(stop, table.n_rows)


def _create(group: h5py.Group, table: ParticleTable, name: str, column: Column) -> h5py.Dataset:
    """Create a column; its groups keep the order in which columns come."""
    *folders, _ = name.split("/")
    for depth in range(1, len(folders) + 1):
        parent = "/".join(folders[:depth])
        if parent not in group:
            group.create_group(parent, track_order=True)
    shape = (table.n_rows, *column.shape)
    dataset = group.create_dataset(name, shape, column.dtype, track_times=False)
    dataset.attrs.update(table.column_attributes(name) or _described(name, column))
    return dataset


def _described(name: str, column: Column) -> dict[str, str]:
    """Units and description of a column."""
    if name == POSE:
        known = POSE_FORMATS["rotvec"]
        return {"units": known.units, "description": known.description}
    if name == SHIFT:
        return dict(zip(("units", "description"), SHIFT_TEXTS, strict=True))
    return {"units": "text" if column.dtype.kind == "S" else units_of(name)}
