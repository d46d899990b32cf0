"""Poses of a table, read in blocks, with their shifts in one unit."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.kernels.blocks import padded
from numba_symexp.kernels.codecs import CODECS, ONE_AT_A_TIME
from numba_symexp.particles.columns import native
from numba_symexp.particles.findings import Findings, check_pose, check_psize, check_shift
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import POSE_FORMATS, PSIZE, SOURCE_INDEX
from numba_symexp.particles.table import ParticleTable
from numba_symexp.types import Array


class Block(NamedTuple):
    """Some rows.

    Attributes
    ----------
    start, stop : int
        Which.
    planes : (4, P) float64
        Quaternions of exp(v), padded for the kernels.
    shift : (n, 2) float64
        In the unit of `PoseRows`.
    sources : (n,) int64 or None
        Rows of the source, in an expanded table.
    """

    start: int
    stop: int
    planes: Array
    shift: Array
    sources: Array | None


class PoseRows:
    """Poses and shifts of a table, to be read in blocks.

    Parameters
    ----------
    table : ParticleTable
        An open table.
    pose, pose_format, shift : str
        Its columns.
    psize : float or str or None
        A per pixel: one for all rows, or the column of the particles that has it.
    expanded : ExpandedTable, optional
        Knows the particles, where ``table`` is expanded.

    Raises
    ------
    SourceError
        The table has no rows.
    """

    def __init__(
        self,
        table: ParticleTable,
        pose: str,
        pose_format: str,
        shift: str,
        psize: float | str | None = None,
        expanded: ExpandedTable | None = None,
    ) -> None:
        if not table.n_rows:
            raise SourceError(f"{table.path}: has no rows: give a table with particles")
        self.table = table
        self._pose, self._format, self._shift = pose, POSE_FORMATS[pose_format], shift
        self._psize, self._expanded = psize, expanded
        self._names = [self._pose, self._shift]
        if expanded is not None:
            self._names.append(SOURCE_INDEX)
        elif isinstance(psize, str):
            self._names.append(psize)

    @property
    def unit(self) -> str:
        """Unit of the shifts: A where pixel sizes are known, else px."""
        return "px" if self._psize is None else "A"

    def shifts(self) -> Iterator[Array]:
        """Shifts of all rows, (n, 2) float64 at a time.

        Raises
        ------
        SourceError
            A shift or a pixel size is none.
        """
        names = [name for name in self._names if name != self._pose]
        for start, stop in blocks(self.table, names):
            bad = Findings()
            shift = self._scaled(self.table.read(names, start, stop), start, stop, bad)[0]
            self._refuse(bad)
            yield shift

    def blocks(self) -> Iterator[Block]:
        """All rows, a few MB at a time.

        Raises
        ------
        SourceError
            A pose, shift or pixel size is none.
        """
        for start, stop in blocks(self.table, self._names):
            rows, bad = self.table.read(self._names, start, stop), Findings()
            pose = native(rows[self._pose])
            check_pose(pose, self._format, self._pose, start, bad)
            shift, sources = self._scaled(rows, start, stop, bad)
            self._refuse(bad)
            planes = np.zeros((4, padded(len(pose))))
            with ONE_AT_A_TIME:
                CODECS[self._format.name].decode(pose.reshape(-1), len(pose), planes)
            yield Block(start, stop, planes, shift, sources)

    def _scaled(
        self, rows: dict[str, Array], start: int, stop: int, bad: Findings
    ) -> tuple[Array, Array | None]:
        """Shifts in the unit, and the rows of the source."""
        shift, sources = rows[self._shift].astype(np.float64), None
        check_shift(shift, self._shift, start, bad)
        if self._expanded is not None:
            sources = self._expanded.source_rows(start, stop)
        if isinstance(self._psize, str):
            psize_A = native(self._psizes(rows, sources)).astype(np.float64)
            check_psize(psize_A, self._psize, start, bad)
            shift *= psize_A[:, None]
        elif self._psize is not None:
            shift *= self._psize
        return shift, sources

    def _psizes(self, rows: dict[str, Array], sources: Array | None) -> Array:
        """Pixel sizes of some rows, from the range of particles that they are copies of."""
        if sources is None or self._expanded is None:
            return rows[str(self._psize)]
        first, last = int(sources.min()), int(sources.max())
        column = self._expanded.source.read([PSIZE], first, last + 1)[PSIZE]
        return column[sources - first]

    def _refuse(self, bad: Findings) -> None:
        """Refuse a block in which something was found."""
        if bad:
            raise SourceError(
                f"{self.table.path}: {bad.lines()[0]}: remove these rows or repair them"
            )
