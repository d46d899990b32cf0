"""What a file format offers: how its files are recognized, opened, joined and written."""

import abc
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Protocol

from numba_symexp.files import first_bytes
from numba_symexp.kinds import Kind, compression
from numba_symexp.particles.coordinate_choice import KEPT, CoordinateChoice
from numba_symexp.particles.table import CRYOSPARC, ParticleTable

if TYPE_CHECKING:
    from numba_symexp.poses import Poses


PARTICLES_WANTED = (
    "give a particle table in HDF5, .cs, .csg, .star or .tbl (numba-symexp example writes one)"
)

_KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "it is a zip archive: unpack it, and {wanted}"),
    (0, b"\x89HDF\r\n\x1a\n", "it is an HDF5 file: {wanted}"),
    (0, b"\x93NUMPY", "it is a dataset of CryoSPARC, or another array of NumPy: {wanted}"),
    (0, b"\x95CSDAT", "it is a dataset of CryoSPARC: {wanted}"),
    (0, b"\xff\xfe", "it is a text in UTF-16: save it in UTF-8, and {wanted}"),
    (0, b"\xfe\xff", "it is a text in UTF-16: save it in UTF-8, and {wanted}"),
    (0, b"\x80", "it may be a pickle, which is never loaded: {wanted}"),
    (208, b"MAP ", "it is a map or a stack of images (MRC): {wanted}"),
)
"""Place and bytes by which a file is known that does not belong here, and what to say of it."""


def other_kind(start: bytes, wanted: str = PARTICLES_WANTED) -> str | None:
    """Say which kind of file begins so, whatever its name is; None where that does not tell."""
    packed = compression(start)
    if packed is not None:
        return f"it is compressed ({packed}): unpack it, and {wanted}"
    for place, mark, text in _KINDS:
        if start[place : place + len(mark)] == mark:
            return text.format(wanted=wanted)
    return None


def describe_other(path: str, wanted: str = PARTICLES_WANTED) -> str:
    """Say what a file is that cannot be used, and what to give instead."""
    start = first_bytes(path)
    other = other_kind(start, wanted)
    if other is not None:
        return other
    if b"\nresults:" in start and b"metafile:" in start:
        return f"it is a result group of CryoSPARC: {wanted}"
    if b"data_" in start and b"\0" not in start:
        return f"it is a .star file: {wanted}"
    return wanted


class RowWriter(Protocol):
    """Writes rows in one format.

    Attributes
    ----------
    notes : list of str
        What a user should know.
    dropped : list of str
        Columns that the format cannot hold.
    size : int
        Bytes of the output that are known before it is written.
    """

    notes: list[str]
    dropped: list[str]
    size: int

    def write(self, file: BinaryIO) -> Generator[int, None, None]:
        """Write the whole file; yields how many rows are done.

        Rows that are done may be on their way to the file until the generator ends or is closed.
        """

    def companion(self, name: str) -> bytes:
        """Content of the file that belongs beside the output called ``name``; often empty.

        The output is whole.
        """


class Format(abc.ABC):
    """A kind of file that holds particle tables.

    Attributes
    ----------
    kind : Kind
        Name, suffixes and first bytes of its files.
    vocabulary : str
        Whose names the columns have when it is written: ``cryosparc`` or ``relion``.
    is_own : bool
        Whether tables are expanded as they are, so that nothing has to be imported.
    joins : bool
        Whether the columns of a table may be spread over several files.
    written : bool
        Whether `writer` can be used.
    companion_suffix : str
        Of a file that belongs beside each one that is written; empty where there is none.
    """

    kind: ClassVar[Kind]
    vocabulary: ClassVar[str] = CRYOSPARC
    is_own: ClassVar[bool] = False
    joins: ClassVar[bool] = False
    written: ClassVar[bool] = False
    companion_suffix: ClassVar[str] = ""

    @abc.abstractmethod
    def open(self, path: str, location: str | None = None) -> ParticleTable:
        """Open a table of this format."""

    def join(self, tables: Sequence[ParticleTable]) -> ParticleTable:
        """Make one table of several files of the same particles, where `joins` says so."""
        return tables[0]

    def writer(
        self,
        rows: "Poses",
        source: ParticleTable,
        keep_track_length: bool,
        choice: CoordinateChoice = KEPT,
    ) -> RowWriter:
        """Return what writes rows in this format.

        Parameters
        ----------
        rows : Poses
        source : ParticleTable
            The rest of the columns, in the names of `vocabulary`.
        keep_track_length : bool
            Leave places on helical tracks as they are.
        choice : CoordinateChoice
            Whether shifts are baked into coordinates, where the format has such.
        """
        raise NotImplementedError
