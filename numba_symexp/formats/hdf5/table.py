"""Particle tables in HDF5: a group of columns, or one compound dataset.

A table never leads to another file or place: links other than hard ones are not followed.
"""

import contextlib
import errno
import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, SymexpError
from numba_symexp.files import check_readable, first_bytes
from numba_symexp.formats.interface import PARTICLES_WANTED, describe_other
from numba_symexp.kinds import HDF5
from numba_symexp.particles.schema import TABLE
from numba_symexp.particles.table import Column, Header, ParticleTable

HEADER, HEAD, LABELS, TAIL = "/star", "head", "labels", "tail"
"""Where the header of the text file is kept that a table came from."""

_NAMED_AT_MOST = 12

_MOST_GROUPS = 10_000
"""Hard links can make more paths than anyone can walk."""

_MOST_SMALL_BYTES = 256 << 20
"""Most bytes of what is read as a whole, such as a header; rows are read in blocks."""

_MOST_CACHE_BYTES = 1 << 30
"""Most bytes of chunks, too large for HDF5's own cache, that are kept unpacked for a table."""

_CACHE_SLOTS = 521

_MOST_COMPRESSED = 1_000_000
"""No filter makes data of particles smaller by this factor; a damaged header may say so."""


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
        self.file = _open(path, locking, wanted)
        self._cache_left = _MOST_CACHE_BYTES
        self._cached: set[str] = set()
        self.watch(self.file.id.get_vfd_handle())
        try:
            with self.reading("its structure"):
                self._node, self.location = self._find(location)
                self._compound = isinstance(self._node, h5py.Dataset)
                self.layout = "a compound dataset" if self._compound else "a group of columns"
                self.attributes = _in_utf8({**self.file.attrs, **self._node.attrs})
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
            outer = list(dict.fromkeys(self._fields[name][0] for name in names))
            rows = self._node.fields(outer)[start:stop] if outer else np.empty(stop - start)
            return {name: _nested(rows, self._fields[name]) for name in names}

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
                    self._node = _with_cache(self.file, place, cache)
            return
        for name in names:
            if name in self._cached:
                continue
            self._cached.add(name)
            place, cache = self._datasets[name].name, self._cache_for(self._datasets[name])
            if cache is not None:
                del self._datasets[name]
                self._datasets[name] = _with_cache(self.file, place, cache)

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
            return _in_utf8(dict(self._datasets[name].attrs))

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
                f"{self.path}: cannot read {what}{rows} ({_first_line(error)}): the file is "
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
        for name, link in _links(self.file):
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
            self._datasets = dict(_datasets(self._node))
            for name, dataset in self._datasets.items():
                refuse_elsewhere(name, dataset)
            return {name: Column(d.dtype, d.shape[1:]) for name, d in self._datasets.items()}
        refuse_elsewhere(self.location, self._node)
        if self._node.dtype.names is None or self._node.ndim != 1:
            raise SourceError(
                f"{self.path}: {self.location} is a dataset of shape {self._node.shape} and "
                f"type {self._node.dtype}, not a 1-D table: name the table with table="
            )
        self._fields = {name: path for name, _, path in _flat_fields(self._node.dtype)}
        return {
            name: Column(dtype.base, dtype.shape)
            for name, dtype, _ in _flat_fields(self._node.dtype)
        }


def _in_utf8(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes whose names and texts can be written again: bytes that are no UTF-8 become marks.

    HDF5 says that such texts are UTF-8, and h5py gives the odd bytes as halves of characters.
    """

    def text(value: str) -> str:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    return {
        text(name): text(value) if isinstance(value, str) else value
        for name, value in attributes.items()
    }


def object_at(root: h5py.Group, path: str) -> Any:
    """Find an object in an HDF5 file: the one way to any of them, whatever it is for.

    Hard links alone are followed, and the data of a dataset must be in this file: a file must not
    lead the program to others.

    Returns
    -------
    h5py.Group, h5py.Dataset or None
        None where nothing has that name.

    Raises
    ------
    SourceError
        The path goes over another kind of link, or data are kept elsewhere.
    """
    node: Any = root
    walked = ""
    for part in filter(None, path.split("/")):
        walked += f"/{part}"
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise SourceError(
                f"{root.file.filename}: {walked} is a link to another place, and links are not "
                "followed: name the table itself with table=, or copy it into one file (h5repack)"
            )
        node = node[part]
    if isinstance(node, h5py.Dataset):
        refuse_elsewhere(path, node)
    elif not isinstance(node, h5py.Group):
        raise SourceError(f"{root.file.filename}: {path} is neither a group nor a dataset")
    return node


def _with_cache(root: h5py.Group, place: str, size: int) -> h5py.Dataset:
    """Open a dataset, which nobody else has open, with a cache for its chunks."""
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(_CACHE_SLOTS, size, 0.0)
    name = place.encode(errors="surrogateescape")
    return h5py.Dataset(h5py.h5d.open(root.id, name, access))


def small_array(root: h5py.Group, path: str) -> Array:
    """Read a dataset as a whole; it must be there, and of bounded size.

    Raises
    ------
    KeyError
        It is missing.
    SourceError
        It is kept elsewhere, or too large.
    """
    dataset = object_at(root, path)
    if not isinstance(dataset, h5py.Dataset):
        raise KeyError(f"{path} is missing")
    if dataset.nbytes > _MOST_SMALL_BYTES:
        raise SourceError(
            f"{root.file.filename}: {path} has {dataset.nbytes:,} bytes, which cannot be right: "
            "the file is damaged"
        )
    return np.asarray(dataset[()])


def refuse_elsewhere(name: str, dataset: h5py.Dataset) -> None:
    """Refuse a dataset whose rows are in other files, or nowhere.

    Raises
    ------
    SourceError
        Says where they are.
    """
    path = dataset.file.filename
    if dataset.is_virtual or dataset.external:
        raise SourceError(
            f"{path}: {name} keeps its rows in other files, which are not followed: copy "
            "the table into one file (h5repack)"
        )
    if dataset.shape is None:
        raise SourceError(f"{path}: {name} is empty: move it out of the table")
    stored = dataset.id.get_storage_size()
    if dataset.size and not stored:
        raise SourceError(f"{path}: {name} was never written: make the table again")
    if dataset.nbytes > stored * _MOST_COMPRESSED:
        raise SourceError(
            f"{path}: {name} claims {dataset.size:,} numbers and keeps {stored:,} bytes: "
            "the file is damaged; copy it again"
        )


def _open(path: str, locking: bool, wanted: str) -> h5py.File:
    """Open an HDF5 file read-only, or say what is in the way."""
    check_readable(path, "the HDF5 file")
    try:
        return h5py.File(path, "r", locking="best-effort" if locking else False)
    except (OSError, RuntimeError) as error:
        if locking and _has_no_locks(error):
            return _open(path, False, wanted)
        if not HDF5.is_this(first_bytes(path)):
            raise SourceError(
                f"{path}: not an HDF5 file: {describe_other(path, wanted)}"
            ) from error
        raise SourceError(
            f"{path}: cannot be opened ({_first_line(error)}): it is cut short, damaged, or being "
            "written; copy it again"
        ) from error


def _has_no_locks(error: BaseException) -> bool:
    """Whether the file system refused to lock a file, rather than another program that holds it."""
    answer = re.search(r"unable to lock file, errno = (\d+)", str(error))
    return answer is not None and int(answer[1]) not in (errno.EAGAIN, errno.EACCES)


def _first_line(error: BaseException) -> str:
    """First line of an error's text, bounded."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]


def _links(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """Names and links directly under a group."""
    for name in group:
        yield name, group.get(name, getlink=True)


def _datasets(
    group: h5py.Group,
    prefix: str = "",
    above: tuple[Any, ...] = (),
    entered: Iterator[int] | None = None,
) -> Iterator[tuple[str, h5py.Dataset]]:
    """Datasets below a group by path; hard links only, and no cycle is entered twice."""
    here = h5py.h5o.get_info(group.id)
    mark = (here.fileno, here.addr)
    if mark in above:
        return
    entered = entered or itertools.count()
    if next(entered) >= _MOST_GROUPS:
        raise ValueError(f"over {_MOST_GROUPS:,} groups")
    for name, link in _links(group):
        if not isinstance(link, h5py.HardLink):
            continue
        node = group[name]
        if isinstance(node, h5py.Dataset):
            yield prefix + name, node
        elif isinstance(node, h5py.Group):
            yield from _datasets(node, f"{prefix}{name}/", (*above, mark), entered)


def _flat_fields(
    dtype: np.dtype[Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, np.dtype[Any], tuple[str, ...]]]:
    """Fields of a compound dtype; nested compounds are joined with slashes, as groups are."""
    for name in dtype.names or ():
        field = dtype[name]
        if field.names is not None:
            yield from _flat_fields(field, (*path, name))
        else:
            yield "/".join((*path, name)), field, (*path, name)


def _nested(rows: Array, path: tuple[str, ...]) -> Array:
    """One field of structured rows."""
    for name in path:
        rows = rows[name]
    return rows
