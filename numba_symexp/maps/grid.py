"""Read maps (MRC2014) section by section, and average blocks of voxels on the way."""

import bz2
import contextlib
import gzip
import math
import os
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, UsageError, install
from numba_symexp.files import check_readable, first_bytes

LEAST_BOX = 8
"""Fewer voxels along a side show no symmetry."""

_WANTED_A = 3.5
"""Coarser voxels would hide what tells orientations apart."""

_WANTED_BOX = 128
"""As many voxels along a side are plenty."""

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


@dataclass(frozen=True)
class Grid:
    """A map on its voxels, or on blocks of them.

    Attributes
    ----------
    density : (nz, ny, nx) float32
    voxel_A : float
        Side of a voxel here.
    center : (3,) float64
        Box center x, y, z in voxels here; it is voxel N // 2 of the file.
    box : tuple of int
        Voxels of the file along x, y and z.
    factor : int
        Voxels of the file along the side of a voxel here.
    """

    density: Array
    voxel_A: float
    center: Array
    box: tuple[int, int, int]
    factor: int

    def coarser(self, most: int) -> "Grid":
        """Average blocks of voxels: no side has more than ``most``, if none gets too short."""
        shape = self.density.shape
        factor = min(math.ceil(max(shape) / most), min(shape) // LEAST_BOX)
        return replace(
            self,
            density=np.stack(
                [
                    _blocks(self.density[k : k + factor], factor)
                    for k in range(0, len(self.density) // factor * factor, factor)
                ]
            ),
            voxel_A=self.voxel_A * factor,
            center=_in_blocks(self.center, factor),
            factor=self.factor * factor,
        )


def read_map(path: str, psize_A: float | None = None, factor: int | None = None) -> Grid:
    """Read a map; its origin and start in the header are ignored.

    What counts is the box center, voxel N // 2, as it does for particles.

    Parameters
    ----------
    path : str
        MRC file of any mode of real numbers, with its axes in any order; packed by gzip or bzip2
        as well.
    psize_A : float, optional
        A per voxel, where the header is not to be believed.
    factor : int, optional
        Voxels along the side of a block that is averaged; by default as many as leave 128 voxels
        along a side, of at most 3.5 A.

    Raises
    ------
    UsageError
        The voxel size or the factor cannot be.
    SourceError
        The file is no map, has no voxel size, or its density is not finite or does not vary.
    """
    if psize_A is not None and not 0 < psize_A < math.inf:
        raise UsageError(f"psize {psize_A:g} must be a number of A above 0")
    with _opened(path) as file:
        sections, order = _sections(path, file)
        voxel_A = _voxel_A(path, file.header) if psize_A is None else psize_A
        side = min(sections.shape)
        if factor is None:
            factor = max(1, min(side // _WANTED_BOX, int(_WANTED_A / voxel_A)))
        if factor < 1 or side // factor < LEAST_BOX:
            raise UsageError(
                f"bin {factor} must be 1 to {side // LEAST_BOX} for a box of {side} voxels"
            )
        density = np.ascontiguousarray(_binned(path, sections, factor).transpose(order))
        nz, ny, nx = (sections.shape[axis] for axis in order)
    low, high = density.min(), density.max()
    if low == high:
        raise SourceError(f"{path}: has no density that varies: all voxels are {low:g}")
    density -= density.mean(dtype=np.float64).astype(np.float32)
    density /= max(abs(density.min()), density.max())  # squares of huge or tiny numbers are safe
    middle = np.array([nx // 2, ny // 2, nz // 2], np.float64)
    return Grid(density, voxel_A * factor, _in_blocks(middle, factor), (nx, ny, nz), factor)


def read_mask(path: str, grid: Grid) -> Array:
    """Where a mask of the same box is above 0.5 on a grid's voxels, (nz, ny, nx) bool.

    Raises
    ------
    SourceError
        The file is no map, has another box, or no voxel above 0.5.
    """
    with _opened(path) as file:
        sections, order = _sections(path, file)
        nz, ny, nx = (sections.shape[axis] for axis in order)
        if (nx, ny, nz) != grid.box:
            raise SourceError(
                f"{path}: has {_size(nx, ny, nz)} voxels, the map {_size(*grid.box)}: give a mask "
                "of the map's box"
            )
        inside = _binned(path, sections, grid.factor).transpose(order) > 0.5
    if not inside.any():
        raise SourceError(f"{path}: has no voxel above 0.5: give a mask that is 1 on the particle")
    return np.ascontiguousarray(inside)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
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


def _sections(path: str, file: Any) -> tuple[Array, tuple[int, ...]]:
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
            f"{path}: is {_size(*data.shape[::-1])} voxels: a map has at least {LEAST_BOX} along "
            "each side"
        )
    axes = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if sorted(axes) != [1, 2, 3]:  # old programs leave them 0
        axes = [3, 2, 1]
    return data, tuple(axes.index(axis) for axis in (3, 2, 1))


def _voxel_A(path: str, header: Any) -> float:  # noqa: N802 - the unit is A
    """Voxel size from a header."""
    samples = [int(header[name]) for name in ("mx", "my", "mz")]
    edges = [float(header.cella[name]) for name in ("x", "y", "z")]
    sizes = [edge / max(count, 1) for edge, count in zip(edges, samples, strict=True)]
    if not all(0 < size < math.inf for size in sizes):
        raise SourceError(f"{path}: tells no voxel size: add psize=A_PER_VOXEL")
    if max(sizes) - min(sizes) > _ANISOTROPY * max(sizes):
        x, y, z = sizes
        raise SourceError(
            f"{path}: voxels of {x:.4g} x {y:.4g} x {z:.4g} A are no cubes: resample the map, or "
            "add psize=A_PER_VOXEL"
        )
    return sum(sizes) / len(sizes)


def _binned(path: str, sections: Array, factor: int) -> Array:
    """Means of blocks, float32, in the order of the file; what fills no block is left out."""
    count = len(sections) // factor
    _, rows, columns = sections.shape
    out = np.empty((count, rows // factor, columns // factor), np.float32)
    for k in range(count):
        some = sections[k * factor : (k + 1) * factor]
        finite = np.isfinite(some).all(axis=(1, 2))
        if not finite.all():
            first = k * factor + int(np.argmin(finite))
            raise SourceError(
                f"{path}: section {first} has values that are not finite: mend the map"
            )
        out[k] = _blocks(some, factor)
    return out


def _blocks(sections: Array, factor: int) -> Array:
    """Means of blocks of as many sections as a block has, (rows, columns) float32."""
    rows, columns = (size // factor for size in sections.shape[1:])
    whole = sections[:, : rows * factor, : columns * factor]
    if factor == 1:
        return whole[0].astype(np.float32)
    summed = whole.sum(axis=0, dtype=np.float64).reshape(rows, factor, columns, factor)
    return np.asarray(summed.sum(axis=(1, 3)) / factor**3, np.float32)


def _in_blocks(place: Array, factor: int) -> Array:
    """A place in voxels, in blocks of them; block 0 is centerd on voxel (factor - 1) / 2."""
    return (place - (factor - 1) / 2) / factor


def _size(nx: int, ny: int, nz: int) -> str:
    """A box for a message."""
    return f"{nx} x {ny} x {nz}"
