"""Files of other programs to particle tables, and expanded tables back to such files."""

from numba_symexp.interop.exporting import export_particles
from numba_symexp.interop.importing import import_particles

__all__ = ["export_particles", "import_particles"]
