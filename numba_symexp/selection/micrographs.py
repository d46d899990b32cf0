"""Where the centers of rows stand on their micrographs."""

from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.micrographs import Micrographs
from numba_symexp.formats.relion.labels import MICROGRAPH
from numba_symexp.particles.coordinate_choice import CoordinateChoice
from numba_symexp.particles.words import word_hash
from numba_symexp.poses import INDEX, PSIZE_A
from numba_symexp.selection.criterion import Criterion, Rows

_NAMES = ("location/micrograph_uid", "location/micrograph_path", MICROGRAPH)

_OTHERWISE = "leave out inside= and within=micrograph"


@dataclass(frozen=True)
class Located:
    """Particles that say where on which micrograph they stand.

    Attributes
    ----------
    choice : CoordinateChoice
        What is known of the micrographs, where the table does not say.
    """

    choice: CoordinateChoice

    def places(self, rows: Rows) -> tuple[Array, Array]:
        """Micrograph of each row, (n,) uint64, and place of its center, (n, 2) in A."""
        source, micrographs = rows.poses.source, self._micrographs(rows)
        name = next((each for each in _NAMES if each in source.columns), None)
        if name is None:
            raise SourceError(f"{source.path}: does not name the micrographs: {_OTHERWISE}")
        key, place_A = np.empty(len(rows.poses), np.uint64), np.empty((len(rows.poses), 2))
        for block in rows.poses.blocks((INDEX, PSIZE_A), pose=False):
            part = slice(block.start, block.stop)
            words = source.read_at([name], block.sources)[name]
            key[part] = word_hash(words if words.dtype.kind == "S" else words.astype("S"))[
                block.index
            ]
            psize_A = micrographs.psizes_A(block.sources)[block.index, None]
            place_A[part] = micrographs.centers_px(block) * psize_A
        return key[rows.row], place_A[rows.row]

    def is_inside(self, rows: Rows) -> Array:
        """Whether the center of each row lies on its micrograph, with the margin, (n,) bool."""
        micrographs, edge_px = self._micrographs(rows), self.choice.edge_px or 0.0
        if not micrographs.size_is_known:
            raise SourceError(
                f"{rows.poses.source.path}: does not say how large micrographs are: give "
                "micrograph_px=W,H"
            )
        inside = np.empty(len(rows.poses), np.bool_)
        for block in rows.poses.blocks((INDEX, PSIZE_A), pose=False):
            off = micrographs.is_off(micrographs.centers_px(block), block, edge_px)
            inside[block.start : block.stop] = ~off
        return np.asarray(inside[rows.row])

    def _micrographs(self, rows: Rows) -> Micrographs:
        """The micrographs of the particles of the rows."""
        return Micrographs.of(rows.poses, self.choice, _OTHERWISE)


@dataclass(frozen=True)
class Inside(Criterion):
    """Rows whose center lies on the micrograph, with a margin."""

    located: Located

    @property
    def why(self) -> str:
        edge_px = self.located.choice.edge_px
        margin = f", or within {edge_px:g} px of its edge" if edge_px else ""
        return f"whose center lies off the micrograph{margin}"

    def keep(self, rows: Rows) -> Array:
        return self.located.is_inside(rows)
