"""Particle tables in HDF5: read them, and write them safely."""

from numba_symexp.formats.interface import Format
from numba_symexp.kinds import HDF5
from numba_symexp.particles.table import ParticleTable


class Hdf5(Format):
    """HDF5 files: the package's own format, expanded as they are."""

    kind = HDF5
    is_own = True

    def open(self, path: str, location: str | None = None) -> ParticleTable:
        """Open a table in an HDF5 file."""
        from numba_symexp.formats.hdf5.table import Hdf5Table  # needs h5py

        return Hdf5Table(path, location)
