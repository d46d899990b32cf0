"""CryoSPARC's datasets (.cs) and result groups (.csg): read and write them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numba_symexp.formats.interface import Format, RowWriter
from numba_symexp.kinds import CS, CSG
from numba_symexp.particles.coordinate_choice import KEPT, CoordinateChoice
from numba_symexp.particles.table import ParticleTable

if TYPE_CHECKING:
    from numba_symexp.poses import Poses


class CryosparcDataset(Format):
    """Datasets: rows of fields; those of one job may be spread over several files."""

    kind = CS
    joins = True
    written = True
    companion_suffix = CSG.suffixes[0]

    def open(self, path: str, location: str | None = None) -> ParticleTable:
        """Open a dataset."""
        from numba_symexp.formats.cryosparc.table import open_cs

        return open_cs(path)

    def join(self, tables: Sequence[ParticleTable]) -> ParticleTable:
        """Join datasets of the same particles on their ids."""
        from numba_symexp.formats.cryosparc.passthrough import JoinedTable

        return JoinedTable(tables)

    def writer(
        self,
        rows: "Poses",
        source: ParticleTable,
        keep_track_length: bool,
        choice: CoordinateChoice = KEPT,
    ) -> RowWriter:
        """Return what writes rows as a dataset."""
        from numba_symexp.formats.cryosparc.write import CsRows  # needs the compiler

        return CsRows(rows, source, choice)


class CryosparcResultGroup(CryosparcDataset):
    """Result groups: text that names the datasets beside it."""

    kind = CSG
    written = False

    def open(self, path: str, location: str | None = None) -> ParticleTable:
        """Open the datasets that a result group names, joined."""
        from numba_symexp.formats.cryosparc.table import open_csg

        return open_csg(path)
