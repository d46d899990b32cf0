"""The file format of the expanded table: what is written, and how it is read back.

/particles has the columns, /operators the operators, /source the table that was expanded; the
attributes of the root say what the file is, and that it is complete.
"""

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import h5py
import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import (
    FileFormatError,
    OutputError,
    SymmetryError,
    VersionTooNewError,
    VersionTooOldError,
)
from numba_symexp.expanded.output_column import OutputColumn
from numba_symexp.files import sync_file
from numba_symexp.formats.hdf5.objects import object_at, small_array
from numba_symexp.formats.hdf5.table import Hdf5Table
from numba_symexp.formats.hdf5.write import new_group, writing
from numba_symexp.particles.schema import (
    FORMAT,
    FORMAT_VERSION,
    NEWEST_VERSION,
    OPERATORS,
    SOURCE,
    TABLE,
)
from numba_symexp.symmetry.interface import MAX_OPERATORS, Symmetry
from numba_symexp.symmetry.operators import FARTHEST_A, Operators
from numba_symexp.symmetry.spec import Unknown, parse

_METADATA_BYTES = 16_384
"""More than the groups, attributes and headers of an expanded table take, without columns."""

_OPERATOR_SHAPES = {"quaternion": (4,), "translation_A": (3,), "rise_index": (), "full_index": ()}


@dataclass(frozen=True)
class SourceRecord:
    """What /source says of the table that was expanded."""

    path: str
    absolute_path: str
    relative_path: str
    table: str
    n_rows: int
    fingerprint: str
    columns: tuple[str, ...] = ()
    """Name, type and digest of each column; none in files of older versions."""
    passthrough: tuple[str, ...] = ()
    """Files whose columns were joined, as paths from the folder of the source."""

    def passthrough_of(self, path: str) -> list[str]:
        """Files whose columns are to be joined with the source, where that is at some path."""
        folder = os.path.dirname(os.path.realpath(path))
        return [os.path.normpath(os.path.join(folder, each)) for each in self.passthrough]

    def write(self, file: h5py.File) -> None:
        """Write /source."""
        attributes = asdict(self)
        del attributes["columns"], attributes["passthrough"]
        if self.passthrough:
            attributes["passthrough"] = json.dumps(self.passthrough)
        group = new_group(file, SOURCE)
        group.attrs.update(attributes)
        text = np.array([line.encode("utf-8", "surrogateescape") for line in self.columns])
        dataset = group.create_dataset("columns", data=text)
        about = "name, type and SHA-256 of each column, by tabs; the fingerprint is made of them"
        dataset.attrs.update({"units": "text", "description": about})

    @classmethod
    def read(cls, file: h5py.File) -> Self:
        """Read /source.

        Raises
        ------
        ValueError, KeyError
            It is not what it must be.
        """
        attributes = _group_at(file, SOURCE).attrs
        rows = attributes["n_rows"]
        if not isinstance(rows, int | np.integer) or rows < 0:
            raise ValueError(f"n_rows is {str(rows)[:40]}")
        names = ("path", "absolute_path", "relative_path", "table", "fingerprint")
        texts = {name: attributes[name] for name in names}
        if not all(isinstance(text, str) for text in texts.values()):
            raise ValueError("/source has other things than text")
        passthrough = json.loads(str(attributes.get("passthrough", "[]")))
        if not all(isinstance(each, str) for each in passthrough):
            raise ValueError("/source has other files than names")
        columns: tuple[str, ...] = ()
        if object_at(file, f"{SOURCE}/columns") is not None:
            lines = small_array(file, f"{SOURCE}/columns")
            columns = tuple(line.decode("utf-8", "surrogateescape") for line in lines)
        return cls(n_rows=int(rows), columns=columns, passthrough=tuple(passthrough), **texts)


def path_from_source(path: str, source: str) -> str:
    """Path of a file, counted from the folder of the source."""
    return os.path.relpath(os.path.realpath(path), os.path.dirname(os.path.realpath(source)))


def size_of(
    columns: Sequence[OutputColumn], n_rows: int, operators: Operators, source: SourceRecord
) -> int:
    """Bytes that an expanded table takes on disk, a little rounded up."""
    data = n_rows * sum(column.row_bytes for column in columns)
    labels = max(len(label) for label in operators.label)
    own = len(operators) * (8 * 14 + 4 + 2 + 2 + labels) + 2 * len(operators.subgroup)
    own += len(source.columns) * max(map(len, source.columns), default=0)
    return data + own + _METADATA_BYTES + 1024 * len(columns)


def create(
    path: str,
    columns: Sequence[OutputColumn],
    n_rows: int,
    operators: Operators,
    source: SourceRecord,
    attributes: Mapping[str, Any],
    least_version: int = FORMAT_VERSION,
) -> dict[str, int]:
    """Write everything but the rows; return the file offset of each column's first byte.

    The columns are contiguous and allocated, so that rows can be written at their offsets by
    anyone who knows the row size, in any order, without HDF5.
    """
    with writing(path, "w") as file:
        version = max(
            least_version,
            version_of(operators),
            *(column.format_version for column in columns),
        )
        file.attrs.update({"format": FORMAT, "format_version": version, **attributes})
        write_operators(new_group(file, OPERATORS), operators)
        source.write(file)
        particles = new_group(file, TABLE)
        for column in columns:
            _create_column(particles, column, n_rows)
    return _offsets(path, columns, n_rows)


def finish(path: str, attributes: Mapping[str, Any]) -> None:
    """Add the last attributes, and ``complete`` when all else is on disk."""
    with writing(path, "r+") as file:
        file.attrs.update(attributes)
        file.flush()
        sync_file(path)
        file.attrs["complete"] = 1


def check_format(table: Hdf5Table) -> None:
    """Refuse what is not a whole expanded table of a version that is known."""
    path = table.path
    if not table.says("format", FORMAT):
        raise FileFormatError(
            f"{path}: not an expanded table: expand it first, or open it with h5py"
        )
    version = table.attributes.get("format_version")
    if not isinstance(version, int | np.integer):
        raise FileFormatError(f"{path}: has no format version: expand again")
    if version > NEWEST_VERSION:
        raise VersionTooNewError(
            f"{path}: has format version {version}, and {NEWEST_VERSION} is the newest that this "
            "numba_symexp knows: install a newer one"
        )
    if version < 1:
        raise VersionTooOldError(f"{path}: has format version {version}: expand again")
    if not table.says("complete", 1):
        raise FileFormatError(f"{path}: an expansion that was not finished: expand again")


def write_operators(group: h5py.Group, operators: Operators) -> None:
    """Write /operators."""
    group.attrs["kind"] = operators.kind
    if version_of(operators) == FORMAT_VERSION:
        group.attrs["center_A"] = operators.center_A
    if operators.chosen:
        group.attrs.update({"chosen": operators.chosen, "full_order": operators.full_order})
    if operators.symmetry.typed:
        group.attrs["typed"] = np.uint8(1)
    label = np.array([label.encode("ascii") for label in operators.label])
    columns = [
        ("quaternion", operators.quaternion, "1", "rotation R of g: x -> R x + t; scalar first"),
        ("translation_A", operators.translation_A, "A", "translation t of g: x -> R x + t"),
        ("label", label, "1", "name of the operator"),
        ("rise_index", operators.rise_index, "1", "number of helical units"),
        ("full_index", operators.full_index, "1", "number of the operator in the full set"),
    ]
    if version_of(operators) > FORMAT_VERSION:
        group.attrs["n_centers"] = len(operators.centers_A)
        index = operators.center_index
        center = operators.centers_A[index]
        number = index.astype(np.uint16)
        columns.append(("center_A", center, "A", "point c of the map at the image center"))
        columns.append(("center_index", number, "1", "number of that center"))
        if len(operators.turn):
            meaning = "rotation Q of the map about the center: poses are A R Q^T; scalar first"
            columns.append(("turn", operators.turn[index], "1", meaning))
    if len(operators.subgroup):
        meaning = "full numbers of the subgroup whose left cosets have one operator here each"
        columns.append(("subgroup", operators.subgroup, "1", meaning))
    for name, values, units, description in columns:
        little = values.dtype.newbyteorder("<")
        dataset = group.create_dataset(name, data=values.astype(little, copy=False))
        dataset.attrs.update({"units": units, "description": description})


def read_operators(file: h5py.File, attributes: dict[str, Any]) -> Operators:
    """Operators of an expanded table."""
    group = _group_at(file, OPERATORS)
    names = ("label", *_OPERATOR_SHAPES, *(("subgroup",) if "subgroup" in group else ()))
    found = {name: small_array(file, f"{OPERATORS}/{name}") for name in names}
    order = len(found["label"])
    for name, shape in _OPERATOR_SHAPES.items():
        values = found[name]
        if values.shape != (order, *shape) or not np.all(np.abs(values) < FARTHEST_A):
            raise ValueError(f"{OPERATORS}/{name} is no such column of {order} operators")
    full_order = int(group.attrs.get("full_order", order))
    most = int(found["full_index"].max(initial=0))
    if not max(order, most + 1) <= full_order <= MAX_OPERATORS:
        raise ValueError(f"{OPERATORS} has {order} operators of {full_order}")
    center_A, turn = _read_centers(file, group, found["full_index"], full_order)
    typed = bool(group.attrs.get("typed", 0))
    return Operators(
        quaternion=found["quaternion"],
        translation_A=found["translation_A"],
        label=tuple(label.decode() for label in found["label"]),
        symmetry=_symmetry(str(attributes["symmetry"]), str(attributes["convention"]), typed),
        kind=str(group.attrs["kind"]),
        rise_index=found["rise_index"],
        full_index=found["full_index"],
        full_order=full_order,
        chosen=str(group.attrs.get("chosen", "")),
        subgroup=found.get("subgroup", np.zeros(0, np.uint16)),
        center_A=center_A,
        turn=turn,
    )


def version_of(operators: Operators) -> int:
    """Version that /operators needs: the second where there are several centers, or turns."""
    own = len(operators.centers_A) > 1 or len(operators.turn) > 0
    return NEWEST_VERSION if own else FORMAT_VERSION


def _read_centers(
    file: h5py.File, group: h5py.Group, full_index: Array, full_order: int
) -> tuple[Array, Array]:
    """Centers (3,) or (C, 3) of /operators, and turns about them, (C, 4) or (0, 4)."""
    if "n_centers" not in group.attrs:
        center_A = np.array(group.attrs.get("center_A", np.zeros(3)), np.float64)
        if center_A.shape != (3,) or not np.all(np.abs(center_A) < FARTHEST_A):
            raise ValueError(f"{OPERATORS} has a center that is no point")
        return center_A, np.zeros((0, 4))
    count = group.attrs["n_centers"]
    if not isinstance(count, int | np.integer):
        raise ValueError(f"{OPERATORS} has {str(count)[:40]!r} centers")
    count = int(count)
    if not 0 < count <= full_order or full_order % count:
        raise ValueError(f"{OPERATORS} has {count} centers of {full_order} operators")
    index = small_array(file, f"{OPERATORS}/center_index")
    if not np.array_equal(index, full_index.astype(np.int64) // (full_order // count)):
        raise ValueError(f"{OPERATORS}/center_index does not agree with full_index")
    numbers, first = np.unique(index, return_index=True)
    if len(numbers) != count:
        raise ValueError(f"{OPERATORS} has centers without operators")
    found = []
    for name, width in (("center_A", 3), ("turn", 4)):
        if name == "turn" and "turn" not in group:
            found.append(np.zeros((0, 4)))
            continue
        values = small_array(file, f"{OPERATORS}/{name}").astype(np.float64)
        if values.shape != (len(index), width) or not np.all(np.abs(values) < FARTHEST_A):
            raise ValueError(f"{OPERATORS}/{name} is no such column of {len(index)} operators")
        if not np.array_equal(values, values[first][index]):
            raise ValueError(f"{OPERATORS}/{name} differs between operators of one center")
        found.append(values[first])
    return found[0], found[1]


def _group_at(file: h5py.File, path: str) -> h5py.Group:
    """Return a group that must be there."""
    group = object_at(file, path)
    if not isinstance(group, h5py.Group):
        raise ValueError(f"{path} is missing")
    return group


def _symmetry(name: str, convention: str, typed: bool) -> Symmetry:
    """Symmetry of a stored name; `verify` says of an unknown one that it is none."""
    try:
        return parse(name, convention, typed)
    except SymmetryError:
        return Unknown(name, convention)


def _create_column(particles: h5py.Group, column: OutputColumn, n_rows: int) -> None:
    """Create one contiguous, allocated, unfilled dataset."""
    *folders, _ = column.name.split("/")
    for depth in range(1, len(folders) + 1):
        parent = "/".join(folders[:depth])
        if parent not in particles:
            new_group(particles, parent)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.CONTIGUOUS)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plist.set_obj_track_times(False)
    space = h5py.h5s.create_simple((n_rows, *column.shape))
    kind = h5py.h5t.py_create(column.dtype, logical=True)
    identifier = h5py.h5d.create(particles.id, column.name.encode(), kind, space, dcpl=plist)
    own = {"units": column.units, "description": column.description}
    h5py.Dataset(identifier).attrs.update({**own, **column.attributes})


def _offsets(path: str, columns: Sequence[OutputColumn], n_rows: int) -> dict[str, int]:
    """Offset of each column, after a check that the layout is what writing by offset assumes."""
    found: dict[str, int] = {}
    if not n_rows:
        return found  # HDF5 gives a dataset without elements no place
    size = os.path.getsize(path)
    try:
        with h5py.File(path, "r", locking=False) as file:  # this run holds a lock on it
            for column in columns:
                identifier = file[f"{TABLE}/{column.name}"].id
                offset, taken = identifier.get_offset(), identifier.get_storage_size()
                expected = n_rows * column.row_bytes
                if offset is None or taken != expected or offset + taken > size:
                    raise OutputError(
                        f"{path}: HDF5 placed {column.name} at {offset} with {taken} bytes, not "
                        f"{expected} contiguous ones: this build of HDF5 cannot be used; report it"
                    )
                found[column.name] = int(offset)
    except RuntimeError as error:  # as HDF5 calls a file system that fails
        raise OSError(errno.EIO, str(error)) from error
    return found
