"""Objects in an HDF5 file: groups, datasets and their fields, none of which leads to another file.

Links other than hard ones are not followed.
"""

import errno
import itertools
import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.files import check_readable, first_bytes
from numba_symexp.formats.interface import describe_other
from numba_symexp.kinds import HDF5

_MOST_GROUPS = 10_000
"""Hard links can make more paths than anyone can walk."""

_MOST_SMALL_BYTES = 256 << 20
"""Most bytes of what is read as a whole, such as a header; rows are read in blocks."""

_CACHE_SLOTS = 521

_MOST_COMPRESSED = 1_000_000
"""No filter makes data of particles smaller by this factor; a damaged header may say so."""


def open_file(path: str, locking: bool, wanted: str) -> h5py.File:
    """Open an HDF5 file read-only, or say what is in the way."""
    check_readable(path, "the HDF5 file")
    try:
        return h5py.File(path, "r", locking="best-effort" if locking else False)
    except (OSError, RuntimeError) as error:
        if locking and _has_no_locks(error):
            return open_file(path, False, wanted)
        if not HDF5.is_this(first_bytes(path)):
            raise SourceError(
                f"{path}: not an HDF5 file: {describe_other(path, wanted)}"
            ) from error
        raise SourceError(
            f"{path}: cannot be opened ({first_line(error)}): it is cut short, damaged, or being "
            "written; copy it again"
        ) from error


def _has_no_locks(error: BaseException) -> bool:
    """Whether the file system refused to lock a file, rather than another program that holds it."""
    answer = re.search(r"unable to lock file, errno = (\d+)", str(error))
    return answer is not None and int(answer[1]) not in (errno.EAGAIN, errno.EACCES)


def first_line(error: BaseException) -> str:
    """First line of an error's text, bounded."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]


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


def with_cache(root: h5py.Group, place: str, size: int) -> h5py.Dataset:
    """Open a dataset, which nobody else has open, with a cache for its chunks."""
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(_CACHE_SLOTS, size, 0.0)
    name = place.encode(errors="surrogateescape")
    return h5py.Dataset(h5py.h5d.open(root.id, name, access))


def in_utf8(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes whose names and texts can be written again: bytes that are no UTF-8 become marks.

    HDF5 says that such texts are UTF-8, and h5py gives the odd bytes as halves of characters.
    """

    def text(value: str) -> str:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    return {
        text(name): text(value) if isinstance(value, str) else value
        for name, value in attributes.items()
    }


def links(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """Names and links directly under a group."""
    for name in group:
        yield name, group.get(name, getlink=True)


def datasets_below(
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
    for name, link in links(group):
        if not isinstance(link, h5py.HardLink):
            continue
        node = group[name]
        if isinstance(node, h5py.Dataset):
            yield prefix + name, node
        elif isinstance(node, h5py.Group):
            yield from datasets_below(node, f"{prefix}{name}/", (*above, mark), entered)


def flat_fields(
    dtype: np.dtype[Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, np.dtype[Any], tuple[str, ...]]]:
    """Fields of a compound dtype; nested compounds are joined with slashes, as groups are."""
    for name in dtype.names or ():
        field = dtype[name]
        if field.names is not None:
            yield from flat_fields(field, (*path, name))
        else:
            yield "/".join((*path, name)), field, (*path, name)


def nested(rows: Array, path: tuple[str, ...]) -> Array:
    """One field of structured rows."""
    for name in path:
        rows = rows[name]
    return rows
