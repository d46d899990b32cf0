"""What the reader of poses needs of an expansion, whether there is a file of it or not."""

from typing import Protocol

from numba_symexp.annotations import Array
from numba_symexp.particles.table import ParticleTable
from numba_symexp.symmetry.operators import Operators


class ExpandedRows(Protocol):
    """Rows that were expanded.

    They are all rows of a file (`ExpandedTable`), some of them (`SelectedExpansion`), or rows that
    are made when they are read (`PlannedExpansion`).

    Attributes
    ----------
    path : str
    operators : Operators
    defocus : dict of str to float
        Columns whose defocus moved with the depth of the center, and by how many depths (1, -1).
    made_of_words : bool
        Whether operators turn and move what the words of the source say, and nothing else; False
        of a file, which may say anything.
    """

    path: str
    operators: Operators
    defocus: dict[str, float]
    made_of_words: bool

    @property
    def table(self) -> ParticleTable:
        """The rows."""

    @property
    def source(self) -> ParticleTable:
        """The table that was expanded."""

    @property
    def pose_columns(self) -> tuple[str, str, str]:
        """Names of the pose and shift columns, and the pose format."""

    @property
    def psize_given_A(self) -> float | None:  # noqa: N802 - the unit is A
        """A per pixel that was given for the expansion."""

    def checked_sources(self, index: Array, start: int) -> Array:
        """Rows of the source that an index names."""

    def close(self) -> None:
        """Close the files."""
