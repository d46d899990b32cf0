"""File formats of particle tables, and the one place that knows all of them."""

import os

from numba_symexp.errors import SourceError, UsageError
from numba_symexp.files import check_readable, first_bytes
from numba_symexp.formats.cryosparc import CryosparcDataset, CryosparcResultGroup
from numba_symexp.formats.hdf5 import Hdf5
from numba_symexp.formats.interface import Format, describe_other
from numba_symexp.formats.relion import RelionStar
from numba_symexp.kinds import HDF5, other_suffix
from numba_symexp.particles.table import ParticleTable

FORMATS: tuple[Format, ...] = (Hdf5(), CryosparcDataset(), RelionStar(), CryosparcResultGroup())
"""The first one that recognizes a file opens it."""


def format_of(path: str) -> Format:
    """Find the format of a file: by its first bytes, else by its suffix.

    Raises
    ------
    SourceError
        The file is missing, or of no known format.
    """
    check_readable(path, "the particle table")
    start = first_bytes(path)
    known = next((each for each in FORMATS if each.kind.is_this(start)), None)
    if known is None and not start[208:].startswith(b"MAP "):
        known = format_of_suffix(path)
    if known is None:
        raise SourceError(f"{path}: not a particle table: {describe_other(path)}")
    return known


def format_of_suffix(path: str) -> Format | None:
    """Find the format that files with this suffix have, or None."""
    suffix = os.path.splitext(path)[1].lower()
    return next((each for each in FORMATS if suffix in each.kind.suffixes), None)


def format_of_output(output: str) -> Format:
    """Find the format that an output is written in: its suffix decides, and any other is HDF5.

    Raises
    ------
    UsageError
        The suffix is that of a kind of file in which no particles are written.
    """
    known = format_of_suffix(output)
    if known is not None and known.written:
        return known
    suffix = other_suffix(output, HDF5)
    if suffix is not None:
        raise UsageError(
            f"{output}: ends in {suffix}, which is not written here: name it .star (RELION), .cs "
            "(CryoSPARC) or .h5"
        )
    return Hdf5()


def open_table(path: str, location: str | None = None) -> ParticleTable:
    """Open a particle table, whichever format it has.

    Parameters
    ----------
    path : str
        HDF5 file, CryoSPARC dataset or result group, or RELION particle file.
    location : str, optional
        The table inside an HDF5 file; by default ``/particles``, else the root.

    Raises
    ------
    SourceError
        The file is missing, damaged, or of no known format.
    """
    table = format_of(path).open(path, location)
    if location is not None and location.strip("/") != table.location.strip("/"):
        table.close()
        raise SourceError(f"{path}: has one table, and no {location}: leave out table=")
    return table
