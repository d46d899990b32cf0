"""Dynamo's tables (.tbl): read and write them."""

from typing import TYPE_CHECKING

from numba_symexp.formats.interface import Format, RowWriter
from numba_symexp.kinds import TBL
from numba_symexp.particles.coordinate_choice import KEPT, CoordinateChoice
from numba_symexp.particles.table import DYNAMO, ParticleTable

if TYPE_CHECKING:
    from numba_symexp.poses import Poses


class DynamoTbl(Format):
    """Tables of subtomograms, numbers alone."""

    kind = TBL
    vocabulary = DYNAMO
    written = True

    def open(self, path: str, location: str | None = None) -> ParticleTable:
        """Open a table."""
        from numba_symexp.formats.dynamo.table import DynamoTable  # needs the compiler

        return DynamoTable(path)

    def writer(
        self,
        rows: "Poses",
        source: ParticleTable,
        keep_track_length: bool,
        choice: CoordinateChoice = KEPT,
    ) -> RowWriter:
        """Return what writes rows as a table."""
        from numba_symexp.formats.dynamo.write import DynamoRows

        return DynamoRows(rows, source)
