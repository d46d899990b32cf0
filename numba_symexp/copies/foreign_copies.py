"""Copies that another program made of particles that are at hand."""

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.copies.copies import refuse_no_poses
from numba_symexp.copies.foreign_expansion import (
    ForeignExpansion,
    Turns,
    told_by_poses,
    turned_between,
)
from numba_symexp.copies.returned_copies import ReturnedCopies
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import pixel_size_column
from numba_symexp.particles.schema import POSE, SHIFT
from numba_symexp.particles.table import ParticleTable
from numba_symexp.poses import Poses
from numba_symexp.symmetry.descriptions import describe

_SAMPLE_STRIPES, _STRIPE_ROWS = 16, 256


class ForeignCopies(ReturnedCopies):
    """Rows that another program made of particles; there is no expanded table of them.

    Parameters
    ----------
    table : ParticleTable
    expanded : ForeignExpansion
    with_poses : bool
        Find the operators of the rows, of which every row must then be one.

    Raises
    ------
    SourceError
        A row is no copy of a particle, or the operators cannot be told.
    """

    _advice = "give the particles that the rows were made of"

    def __init__(self, table: ParticleTable, expanded: ForeignExpansion, with_poses: bool) -> None:
        self._with_poses = with_poses
        try:
            super().__init__(table, expanded)
            if with_poses:
                rows = Poses(table, self._columns)
                expanded.operators = told_by_poses(rows, self._sample(rows.has_psize))
        except BaseException:
            expanded.close()
            raise

    @property
    def notes(self) -> list[str]:
        """Which operators were found."""
        if not self._with_poses:
            return []
        return [f"operators told by the poses: {describe(self.expanded.operators)}"]

    def count(self, start: int, stop: int, sources: Array) -> None:
        """Count rows; where operators are wanted, each must be a copy by one of them."""
        super().count(start, stop, sources)
        if self._with_poses:
            self.operators(start, stop, sources)

    def _sample(self, in_A: bool) -> Turns:
        """Some copies, of all parts of the table."""
        pose_name, shift_name, pose_format = self.expanded.pose_columns
        own = pixel_size_column(self.source.columns, shift_name)
        names = [pose_name, shift_name, *([own] if own else [])]
        count, parts = self.table.n_rows, []
        step = max(1, count // _SAMPLE_STRIPES)
        with_A = in_A and own is not None
        for start in range(0, count, step):
            stop = min(start + min(step, _STRIPE_ROWS), count)
            size = self._columns.psize
            rows = self.table.read([POSE, SHIFT, *([size] if size else [])], start, stop)
            refuse_no_poses(self.table, np.arange(start, stop), (POSE, SHIFT, "rotvec"), rows)
            source = self.source.read_at(names, self.sources(start, stop))
            first = convert(source[pose_name], pose_format, "matrix")
            moved_A = np.zeros((stop - start, 2))
            if with_A and own and size:
                moved_A = source[shift_name] * source[own][:, None].astype(np.float64)
                moved_A = moved_A - rows[SHIFT] * rows[size][:, None].astype(np.float64)
            parts.append((first, turned_between(first, rows[POSE]), moved_A))
        first, between, moved_A = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Turns(first, between, moved_A if with_A and self._columns.psize else None)
