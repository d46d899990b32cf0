"""RELION's particle files (.star): read and write them."""

from typing import TYPE_CHECKING

from numba_symexp.formats.interface import Format, RowWriter
from numba_symexp.kinds import STAR
from numba_symexp.particles.coordinate_choice import KEPT, CoordinateChoice
from numba_symexp.particles.table import RELION, ParticleTable

if TYPE_CHECKING:
    from numba_symexp.poses import Poses


class RelionStar(Format):
    """Particle files of RELION 3.0 and later."""

    kind = STAR
    vocabulary = RELION
    written = True

    def open(self, path: str, location: str | None = None) -> ParticleTable:
        """Open a particle file, or the one that an optimisation set names."""
        from numba_symexp.formats.relion.optimisation_set import (
            PARTICLES,
            OptimisationSet,
            is_optimisation_set,
        )

        named_by = path if is_optimisation_set(path) else None
        if named_by is not None:
            path = OptimisationSet.read(path).file(PARTICLES)
        from numba_symexp.formats.relion.table import StarTable  # needs the compiler

        return StarTable(path, named_by)

    def writer(
        self,
        rows: "Poses",
        source: ParticleTable,
        keep_track_length: bool,
        choice: CoordinateChoice = KEPT,
    ) -> RowWriter:
        """Return what writes rows as a particle file."""
        from numba_symexp.formats.relion.write import StarRows

        return StarRows(rows, source, keep_track_length, choice)
