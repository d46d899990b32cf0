"""Open maps (MRC2014), packed or not, and say what is wrong with them."""

import bz2
import contextlib
import gzip
import math
import os
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, install
from numba_symexp.files import check_readable, first_bytes

LEAST_BOX = 8
"""Fewer voxels along a side show no symmetry."""

_ANISOTROPY = 1e-3
"""Headers keep cell edges as float32 that some programs round."""


_HEADER_BYTES, _EXTENDED_AT = 1024, 92
"""Length of the header, and where it tells the length of what follows it before the density."""

_BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")


_Unpack = type[gzip.GzipFile] | type[bz2.BZ2File]

_PACKED: tuple[tuple[bytes, _Unpack], ...] = ((b"\x1f\x8b", gzip.GzipFile), (b"BZh", bz2.BZ2File))
"""First bytes of packed files, and what unpacks them."""

_DAMAGED = (OSError, EOFError, zlib.error)
"""What damaged packed files raise."""

_MOST_PACKED = 100_000
"""No file is packed to less than this part."""

_OTHER_KINDS = (
    (b"\x93NUMPY", "a CryoSPARC table (.cs)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"data_", "a .star file"),
    (b"# version", "a .star file"),
    (b"PK\x03\x04", "a zip archive"),
)
"""First bytes of files that people give in place of a map."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open an MRC file, packed or not, whatever harmless is wrong with its header."""
    check_readable(path, "a map (.mrc)")
    _refuse_other_kinds(path)
    start = first_bytes(path)
    unpack = next((each for first, each in _PACKED if start.startswith(first)), None)
    _check_header(path, unpack)
    try:
        import mrcfile  # only maps need it
    except ImportError:
        raise SourceError(f"{path}: maps need mrcfile: {install('map')}") from None
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            if unpack is None:
                file = mrcfile.mmap(path, permissive=True)
            else:
                file = mrcfile.open(path, permissive=True, header_only=True)
        except (*_DAMAGED, ValueError):
            raise SourceError(f"{path}: is not an MRC file: name a map (.mrc)") from None
        stack.enter_context(file)
        if unpack is None:
            yield file
        else:
            stream = unpack(path)
            stack.callback(stream.close)
            yield _Packed(path, file.header, stream)


class _Packed:
    """A packed map, whose sections are unpacked one after the other and never all at once.

    Parameters
    ----------
    path : str
    header : record
    stream : file
        Gives the unpacked bytes.
    """

    def __init__(self, path: str, header: Any, stream: gzip.GzipFile | bz2.BZ2File) -> None:
        from mrcfile import utils

        self.header, self.data = header, self
        self._path, self._stream = path, stream
        try:
            self.dtype = np.dtype(utils.data_dtype_from_header(header))
            self.shape = tuple(int(side) for side in utils.data_shape_from_header(header))
        except ValueError:
            raise SourceError(f"{path}: is not an MRC file: name a map (.mrc)") from None
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        if self.size * self.dtype.itemsize > os.path.getsize(path) * _MOST_PACKED:
            raise SourceError(f"{path}: is cut short, or no MRC file: copy it again")
        self._read(_HEADER_BYTES + int(header.nsymbt))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, wanted: slice) -> Array:
        """The next sections; they must be asked for in their order."""
        count = len(range(*wanted.indices(len(self))))
        rows, columns = self.shape[1:]
        data = self._read(count * rows * columns * self.dtype.itemsize)
        return np.frombuffer(data, self.dtype).reshape(count, rows, columns)

    def _read(self, count: int) -> bytes:
        """So many of the next bytes."""
        try:
            data = self._stream.read(count)
        except _DAMAGED:
            data = b""
        if len(data) < count:
            raise SourceError(f"{self._path}: is cut short, or no MRC file: copy it again")
        return data


def _refuse_other_kinds(path: str) -> None:
    """Say what a file is that people give in place of a map."""
    start = first_bytes(path)
    for first, what in _OTHER_KINDS:
        if start.startswith(first) or (what.startswith("a .star") and b"\ndata_" in start):
            raise SourceError(f"{path}: is {what}, not a map: give the map of its particles (.mrc)")
    if path.lower().endswith(".csg"):
        raise SourceError(
            f"{path}: is a CryoSPARC results group (.csg), not a map: give the map of its "
            "particles (.mrc)"
        )


def _check_header(path: str, unpack: _Unpack | None) -> None:
    """Refuse a file shorter than its header says: of any text mrcfile would read gigabytes."""
    if unpack is None:
        start, size = first_bytes(path), os.path.getsize(path)
    else:
        try:
            with unpack(path) as stream:
                start = stream.read(_HEADER_BYTES)
        except _DAMAGED:
            start = b""
        size = os.path.getsize(path) * _MOST_PACKED if len(start) == _HEADER_BYTES else 0
    word = start[_EXTENDED_AT : _EXTENDED_AT + 4]
    lengths = [int.from_bytes(word, order, signed=True) for order in _BYTE_ORDERS]
    if not any(0 <= length <= max(0, size - _HEADER_BYTES) for length in lengths) or not size:
        raise SourceError(f"{path}: is cut short, or no MRC file: copy it again")


def sections_of(path: str, file: Any) -> tuple[Array, tuple[int, ...]]:
    """Sections of a file as they lie in it, and the transposition that makes them (z, y, x)."""
    data, header = file.data, file.header
    if data is None or not data.size:
        raise SourceError(f"{path}: is cut short, or no MRC file: copy it again")
    stack = (int(header.ispg) == 0 and int(header.mz) == 1) or path.lower().removesuffix(
        ".gz"
    ).endswith(".mrcs")
    if data.ndim != 3 or len(data) == 1 or stack:
        raise SourceError(f"{path}: holds images or several maps: name one map (.mrc)")
    if data.dtype.kind not in "iuf":
        raise SourceError(f"{path}: holds {data.dtype} numbers: name a map of real numbers")
    if min(data.shape) < LEAST_BOX:
        raise SourceError(
            f"{path}: is {box_in_words(*data.shape[::-1])} voxels: a map has at least {LEAST_BOX} "
            "along each side"
        )
    axes = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if sorted(axes) != [1, 2, 3]:  # old programs leave them 0
        axes = [3, 2, 1]
    return data, tuple(axes.index(axis) for axis in (3, 2, 1))


def voxel_size_A(  # noqa: N802 - the unit is A
    path: str, header: Any, otherwise: str = "add psize=A_PER_VOXEL"
) -> float:
    """Voxel size from a header; ``otherwise`` says what else can be done where there is none."""
    samples = [int(header[name]) for name in ("mx", "my", "mz")]
    edges = [float(header.cella[name]) for name in ("x", "y", "z")]
    sizes = [edge / max(count, 1) for edge, count in zip(edges, samples, strict=True)]
    if not all(0 < size < math.inf for size in sizes):
        raise SourceError(f"{path}: tells no voxel size: write it into the header, or {otherwise}")
    if max(sizes) - min(sizes) > _ANISOTROPY * max(sizes):
        x, y, z = sizes
        raise SourceError(
            f"{path}: voxels of {x:.4g} x {y:.4g} x {z:.4g} A are no cubes: resample the map, or "
            f"{otherwise}"
        )
    return sum(sizes) / len(sizes)


def refuse_not_finite(path: str, sections: Array, first: int) -> None:
    """Refuse sections of a map, counted from ``first``, with values that are not finite.

    Raises
    ------
    SourceError
        Names the first of them.
    """
    finite = np.isfinite(sections).all(axis=(1, 2))
    if not finite.all():
        raise SourceError(
            f"{path}: section {first + int(np.argmin(finite))} has values that are not finite: "
            "mend the map"
        )


def box_in_words(nx: int, ny: int, nz: int) -> str:
    """A box for a message."""
    return f"{nx} x {ny} x {nz}"
