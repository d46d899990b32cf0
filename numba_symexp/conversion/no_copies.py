"""Rows of an expanded set as particles of their own: nothing says any more that they are copies."""

from collections.abc import Sequence

from numba_symexp.annotations import Array
from numba_symexp.formats.relion.text import without_label
from numba_symexp.particles.schema import (
    CRYOSPARC_EXPANDED,
    OPERATOR_INDEX,
    OPERATOR_LABEL,
    SOURCE_INDEX,
    SOURCE_LABEL,
)
from numba_symexp.particles.table import Header, ParticleTable, SameNamesView

_LABELS, _INDICES = {SOURCE_LABEL, OPERATOR_LABEL}, {SOURCE_INDEX, OPERATOR_INDEX}
"""The indices say so together: alone, the operator is the one by which a particle was turned."""


class NoCopies(SameNamesView):
    """The rows of a table, without what says whose copies they are.

    Parameters
    ----------
    table : ParticleTable
    """

    def __init__(self, table: ParticleTable) -> None:
        super().__init__(table)
        gone = _LABELS | (_INDICES if table.columns.keys() >= _INDICES else set())
        self.columns = {
            name: column
            for name, column in table.columns.items()
            if name not in gone and not name.startswith(CRYOSPARC_EXPANDED)
        }

    @property
    def header(self) -> Header | None:
        """What stands around the rows."""
        header = self._source.header
        if header is None:
            return None
        return without_label(without_label(header, SOURCE_LABEL), OPERATOR_LABEL)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        return self._source.read(names, start, stop)
