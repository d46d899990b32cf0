"""Open a particle table, whichever kind of file it is in: HDF5, CryoSPARC .cs, RELION .star."""

import os

from numba_symexp.errors import SourceError
from numba_symexp.files import check_readable, first_bytes
from numba_symexp.formats.cryosparc.table import open_cs
from numba_symexp.formats.hdf5.table import Hdf5Table
from numba_symexp.kinds import CS, HDF5
from numba_symexp.particles.table import ParticleTable


def open_table(path: str, location: str | None = None) -> ParticleTable:
    """Open a particle table; the first bytes, then the suffix, tell the kind of file.

    Parameters
    ----------
    path : str
        HDF5 file, CryoSPARC dataset or RELION particle file.
    location : str, optional
        The table inside an HDF5 file; by default ``/particles``, else the root.

    Raises
    ------
    SourceError
        The file is missing, damaged, or none of these.
    """
    check_readable(path, "the particle table")
    start, suffix = first_bytes(path), os.path.splitext(path)[1].lower()
    if HDF5.is_this(start):
        return Hdf5Table(path, location)
    table: ParticleTable
    if CS.is_this(start) or suffix == ".cs":
        table = open_cs(path)
    elif suffix == ".star" or (b"data_" in start and b"\0" not in start):
        from numba_symexp.formats.relion.table import StarTable  # needs the compiler

        table = StarTable(path)
    else:
        return Hdf5Table(path, location)
    if location is not None and location.strip("/") != table.location.strip("/"):
        table.close()
        raise SourceError(f"{path}: has one table, and no {location}: leave out table=")
    return table
