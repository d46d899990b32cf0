"""Write a particle table to an HDF5 file, a column a dataset."""

import contextlib
import errno
import io
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from numba_symexp.annotations import Array, Progress
from numba_symexp.background import worked_on
from numba_symexp.formats.hdf5.table import HEAD, HEADER, LABELS, TAIL
from numba_symexp.output import timestamp
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import POSE, POSE_FORMATS, SHIFT, SHIFT_TEXTS, TABLE, units_of
from numba_symexp.particles.table import Column, Header, ParticleTable
from numba_symexp.version import __version__

_METADATA_BYTES = 65_536
_BYTES_PER_COLUMN = 1024


def size_of(table: ParticleTable) -> int:
    """Bytes that a table takes on disk, a little rounded up."""
    rows = table.n_rows * sum(column.row_bytes for column in table.columns.values())
    return rows + _BYTES_PER_COLUMN * len(table.columns) + _METADATA_BYTES


def in_order_of_file(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Columns in the order in which they are read back once `write_table` has written them.

    A group has the place of its first column, and keeps its columns together.
    """
    ordered: dict[str, Column] = {}
    groups: dict[str, dict[str, Column]] = {}
    for name, column in columns.items():
        group, slash, rest = name.partition("/")
        groups.setdefault(group, {})[rest if slash else ""] = column
    for group, inside in groups.items():
        if "" in inside:
            ordered[group] = inside[""]
        else:
            further = in_order_of_file(inside)
            ordered.update({f"{group}/{rest}": each for rest, each in further.items()})
    return ordered


def write_table(
    path: str,
    table: ParticleTable,
    attributes: Mapping[str, Any],
    progress: Progress | None,
) -> None:
    """Write a table in the order of its columns.

    Parameters
    ----------
    path : str
        File that may be overwritten.
    table : ParticleTable
    attributes : mapping
        Of the file, beside when and by what it was written.
    progress : callable or None
        Called as ``progress(rows_done, rows)`` now and then.
    """
    with writing(path, "w") as file:
        file.attrs.update(
            {"generated_by": f"numba_symexp {__version__}", "created": timestamp(), **attributes}
        )
        if table.header is not None:
            _write_header(file, table.header)
        group = new_group(file, TABLE, ordered=True)
        group.attrs.update(table.attributes)
        datasets = {
            name: _create(group, table, name, column) for name, column in table.columns.items()
        }
        names = list(table.columns)

        def put(part: tuple[int, int, dict[str, Array]]) -> int:
            start, stop, columns = part
            for name, rows in columns.items():
                datasets[name][start:stop] = rows
            return stop

        parts = ((at, end, table.read(names, at, end)) for at, end in blocks(table, names))
        for stop in worked_on(parts, put, 1):  # the next rows are read while some are written
            if progress:
                progress(stop, table.n_rows)


def _write_header(file: h5py.File, header: Header) -> None:
    """Keep what stood around the rows of a text file."""
    group = new_group(file, HEADER)
    for name, text in ((HEAD, header.head), (TAIL, header.tail)):
        group[name] = np.frombuffer(text, np.uint8)
    group[LABELS] = np.array([label.encode() for label in header.labels])


def _create(group: h5py.Group, table: ParticleTable, name: str, column: Column) -> h5py.Dataset:
    """Create a column; its groups keep the order in which columns come."""
    *folders, _ = name.split("/")
    for depth in range(1, len(folders) + 1):
        parent = "/".join(folders[:depth])
        if parent not in group:
            new_group(group, parent, ordered=True)
    shape = (table.n_rows, *column.shape)
    dataset = group.create_dataset(name, shape, column.dtype, track_times=False)
    dataset.attrs.update(table.column_attributes(name) or _described(name, column))
    return dataset


def _described(name: str, column: Column) -> dict[str, str]:
    """Units and description of a column."""
    if name == POSE:
        known = POSE_FORMATS["rotvec"]
        return {"units": known.units, "description": known.description}
    if name == SHIFT and column.shape in SHIFT_TEXTS:
        return dict(zip(("units", "description"), SHIFT_TEXTS[column.shape], strict=True))
    return {"units": "text" if column.dtype.kind == "S" else units_of(name)}


def new_group(parent: h5py.Group, name: str, ordered: bool = False) -> h5py.Group:
    """Create a group that keeps no times, so that equal runs give equal bytes.

    ``h5py.Group.create_group`` of older versions cannot be told to leave the times of ordered
    groups out.

    Parameters
    ----------
    parent : h5py.Group
    name : str
    ordered : bool
        Whether the group keeps the order in which its parts are created.
    """
    creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    creation.set_obj_track_times(False)
    if ordered:
        order = h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED
        creation.set_link_creation_order(order)
        creation.set_attr_creation_order(order)
    group = h5py.Group(h5py.h5g.create(parent.id, None, gcpl=creation))
    parent[name] = group
    return group


@contextlib.contextmanager
def writing(path: str, mode: str) -> Iterator[h5py.File]:
    """Open an HDF5 file to be written: ``"w"`` a new one, ``"r+"`` one that is there.

    Parameters
    ----------
    path : str
    mode : {"w", "r+"}

    Raises
    ------
    OSError
        What the file system said.
    """
    with _Output(path, "w+b" if mode == "w" else "r+b") as output:
        try:
            with h5py.File(output, mode) as file:
                yield file
        except RuntimeError as error:
            output.check()
            raise OSError(errno.EIO, str(error)) from error
        output.check()


class _Output(io.FileIO):
    """A file for HDF5 to write, which never tells it of an error, but remembers the first.

    After a write that failed, HDF5 keeps objects that it cannot close, and takes the process down.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        with self._remember_error():
            done = 0
            while done < len(view):
                done += super().write(view[done:])
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        with self._remember_error():
            return super().truncate(size)
        return size or 0

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))
        with self._remember_error():
            super().readinto(view)
        return len(view)

    def check(self) -> None:
        """Raise the first error that there was."""
        if self.error is not None:
            raise self.error

    @contextlib.contextmanager
    def _remember_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error
