"""Particle tables in HDF5: a group of columns, or one compound dataset."""

import contextlib
import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, SymexpError
from numba_symexp.formats.hdf5.objects import (
    datasets_below,
    first_line,
    flat_fields,
    in_utf8,
    links,
    nested,
    object_at,
    open_file,
    refuse_elsewhere,
    small_array,
    with_cache,
)
from numba_symexp.formats.interface import PARTICLES_WANTED
from numba_symexp.particles.schema import TABLE
from numba_symexp.particles.table import Column, Header, ParticleTable

HEADER, HEAD, LABELS, TAIL = "/star", "head", "labels", "tail"
"""Where the header of the text file is kept that a table came from."""

_NAMED_AT_MOST = 12

_MOST_CACHE_BYTES = 1 << 30
"""Most bytes of chunks, too large for HDF5's own cache, that are kept unpacked for a table."""


class Hdf5Table(ParticleTable):
    """A particle table in an HDF5 file.

    Parameters
    ----------
    path : str
        HDF5 file.
    location : str, optional
        The table inside the file; by default ``/particles``, else the root.
    locking : bool
        Lock the file against programs that write it, where its file system has locks.
    wanted : str
        What to give instead of a file of another kind.

    Attributes
    ----------
    file : h5py.File

    Raises
    ------
    SourceError
        The file is missing, no HDF5 file, damaged, or has no such table.
    """

    def __init__(
        self,
        path: str,
        location: str | None = None,
        locking: bool = True,
        wanted: str = PARTICLES_WANTED,
    ) -> None:
        self.path = path
        self.file = open_file(path, locking, wanted)
        self._cache_left = _MOST_CACHE_BYTES
        self._cached: set[str] = set()
        self.watch(self.file.id.get_vfd_handle())
        try:
            with self.reading("its structure"):
                self._node, self.location = self._find(location)
                self._compound = isinstance(self._node, h5py.Dataset)
                self.layout = "a compound dataset" if self._compound else "a group of columns"
                self.attributes = in_utf8({**self.file.attrs, **self._node.attrs})
                self._fields: dict[str, tuple[str, ...]] = {}
                self._datasets: dict[str, h5py.Dataset] = {}
                self.columns = self._columns()
        except BaseException:
            self.file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        with self.reading(", ".join(names), start, stop):
            self._keep_chunks(names)
            if not self._compound:
                return {name: self._datasets[name][start:stop] for name in names}
            if not names:
                return {}
            outer = list(dict.fromkeys(self._fields[name][0] for name in names))
            rows = self._node.fields(outer)[start:stop]
            return {name: nested(rows, self._fields[name]) for name in names}

    def _keep_chunks(self, names: Sequence[str]) -> None:
        """Open datasets of large chunks anew, with a cache that holds a chunk of each.

        Rows are read block by block: HDF5 would unpack such a chunk for every block.
        """
        if self._compound:
            if not self._cached:
                self._cached.add(self.location)
                place, cache = self._node.name, self._cache_for(self._node)
                if cache is not None:
                    self._node = None
                    self._node = with_cache(self.file, place, cache)
            return
        for name in names:
            if name in self._cached:
                continue
            self._cached.add(name)
            place, cache = self._datasets[name].name, self._cache_for(self._datasets[name])
            if cache is not None:
                del self._datasets[name]
                self._datasets[name] = with_cache(self.file, place, cache)

    def _cache_for(self, dataset: h5py.Dataset) -> int | None:
        """Bytes that the cache of a dataset needs, where HDF5's own holds none of its chunks."""
        if dataset.chunks is None:
            return None
        size = int(np.prod(dataset.chunks, dtype=np.float64) * dataset.dtype.itemsize)
        _, kept_anyway, _ = dataset.id.get_access_plist().get_chunk_cache()
        if not kept_anyway < size <= self._cache_left:
            return None
        self._cache_left -= size
        return size

    def bytes_read_per_row(self, names: Sequence[str]) -> int:
        """Bytes of the columns; of a compound dataset, of the whole row."""
        return (
            int(self._node.dtype.itemsize) if self._compound else super().bytes_read_per_row(names)
        )

    def column_attributes(self, name: str) -> Mapping[str, Any]:
        """HDF5 attributes of a column; a field of a compound dataset has none."""
        if self._compound:
            return {}
        with self.reading(f"what it says of {name}"):
            return in_utf8(dict(self._datasets[name].attrs))

    @contextlib.contextmanager
    def reading(self, what: str, start: int = 0, stop: int = 0) -> Iterator[None]:
        """Turn whatever HDF5 raises into a SourceError that names the place."""
        try:
            yield
        except SymexpError:
            raise
        except Exception as error:  # HDF5 and h5py raise almost anything over a damaged file
            rows = f" rows {start} to {stop - 1}" if stop > start else ""
            raise SourceError(
                f"{self.path}: cannot read {what}{rows} ({first_line(error)}): the file is "
                "damaged; copy it again or repair it"
            ) from error

    @functools.cached_property
    def header(self) -> Header | None:
        """What stood around the rows of the .star file that the table came from, if it did.

        Raises
        ------
        SourceError
            What was kept is damaged.
        """
        with self.reading("its .star text"):
            if object_at(self.file, HEADER) is None:
                return None
            head, tail = (
                small_array(self.file, f"{HEADER}/{name}").tobytes().replace(b"\r\n", b"\n")
                for name in (HEAD, TAIL)
            )
            words = small_array(self.file, f"{HEADER}/{LABELS}")
            labels = tuple(label.decode() for label in words)
        for label in labels:
            column = self.columns.get(label)
            if column is None or column.shape or column.dtype.kind != "S":
                raise SourceError(
                    f"{self.path}: column {label[:40]} of its .star file is missing, or no text: "
                    "import it again"
                )
        return Header(head, labels, tail)

    def _find(self, location: str | None) -> tuple[Any, str]:
        """Find the table's group or dataset."""
        if location is None:
            has_default = self.file.get(TABLE, getlink=True) is not None
            location = TABLE if has_default else "/"
        node = object_at(self.file, location)
        if node is None:
            raise SourceError(
                f"{self.path}: no table at {location}: table= must name one of {self._candidates()}"
            )
        return node, "/" + location.strip("/")

    def _candidates(self) -> str:
        """Places in the file that could be a table, for a message."""
        found = ["/"]
        for name, link in links(self.file):
            if isinstance(link, h5py.HardLink):
                found.append(f"/{name}")
        return ", ".join(found[:_NAMED_AT_MOST])

    @functools.cached_property
    def n_rows(self) -> int:
        """Number of rows, which every dataset of the table must have.

        Raises
        ------
        SourceError
            The columns differ in length.
        """
        if self._compound:
            return len(self._node)
        lengths = {name: d.shape[0] if d.shape else None for name, d in self._datasets.items()}
        counts = Counter(lengths.values())
        usual = max(counts, key=lambda n: (n is not None, counts[n]), default=0)
        for name, length in lengths.items():
            if length != usual:
                like = next(other for other, n in lengths.items() if n == usual)
                rows = "a single value" if length is None else f"{length} rows"
                raise SourceError(
                    f"{self.path}: columns of {self.location} differ in length: {name} has {rows}, "
                    f"{like} has {usual} rows: repair it, move it out of the table, or name the "
                    "table with table="
                )
        return int(usual or 0)

    def _columns(self) -> dict[str, Column]:
        """Columns by name."""
        if not self._compound:
            self._datasets = dict(datasets_below(self._node))
            for name, dataset in self._datasets.items():
                refuse_elsewhere(name, dataset)
            return {name: Column(d.dtype, d.shape[1:]) for name, d in self._datasets.items()}
        refuse_elsewhere(self.location, self._node)
        if self._node.dtype.names is None or self._node.ndim != 1:
            raise SourceError(
                f"{self.path}: {self.location} is a dataset of shape {self._node.shape} and "
                f"type {self._node.dtype}, not a 1-D table: name the table with table="
            )
        self._fields = {name: path for name, _, path in flat_fields(self._node.dtype)}
        return {
            name: Column(dtype.base, dtype.shape)
            for name, dtype, _ in flat_fields(self._node.dtype)
        }
