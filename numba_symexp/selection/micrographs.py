"""Where the centers of rows stand on their micrographs."""

import math
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.labels import MICROGRAPH, LabelReader
from numba_symexp.formats.relion.text import OPTICS_GROUP
from numba_symexp.particles.words import numbers, word_hash
from numba_symexp.poses import INDEX, PSIZE_A
from numba_symexp.selection.criteria import Criterion, Micrographs, Rows

_PATH, _SHAPE = "location/micrograph_path", "location/micrograph_shape"
_FRACTIONS = ("location/center_x_frac", "location/center_y_frac")
_CS_PSIZE = "location/micrograph_psize_A"
_COORDINATES = ("rlnCoordinateX", "rlnCoordinateY")
_PSIZE = "rlnMicrographPixelSize"


class Located(Micrographs):
    """Particles that say where on which micrograph they stand.

    A particle's center stands at coordinate - origin / (A per pixel of the micrograph); here all
    is in A. Both axes of CryoSPARC's fractions have the shift's own sign.

    Parameters
    ----------
    psize_A : float, optional
        A per pixel of the micrographs, where the table does not say.
    shape_px : tuple of int, optional
        Width and height of the micrographs, where the table does not say.
    """

    def __init__(
        self, psize_A: float | None = None, shape_px: tuple[int, int] | None = None
    ) -> None:
        self._psize_A, self._shape_px = psize_A, shape_px

    def places(self, rows: Rows) -> tuple[Array, Array]:
        """Micrograph of each row, (n,) uint64, and place of its center, (n, 2) in A."""
        micrograph, place_A, _ = self.located(rows)
        return micrograph, place_A

    def located(self, rows: Rows) -> tuple[Array, Array, Array]:
        """Micrograph, place in A, and size of the micrograph in A (NaN where it is not known)."""
        poses = rows.poses
        poses.require_psize("places on micrographs are in A")
        count = len(poses)
        micrograph = np.empty(count, np.uint64)
        place_A, size_A = np.empty((2, count, 2))
        for block in poses.blocks((INDEX, PSIZE_A), pose=False):
            part = slice(block.start, block.stop)
            found, coordinate_A, whole_A = self._of_sources(rows, block.sources)
            micrograph[part] = found[block.index]
            place_A[part] = coordinate_A[block.index] - block.shift_A[:, :2]
            size_A[part] = whole_A[block.index]
        return micrograph[rows.row], place_A[rows.row], size_A[rows.row]

    def _of_sources(self, rows: Rows, sources: Array) -> tuple[Array, Array, Array]:
        """Micrographs, coordinates and sizes in A of some particles."""
        source = rows.poses.source
        if source.header is not None:
            return self._of_text(rows, sources)
        names = [_PATH, _SHAPE, *_FRACTIONS]
        missing = [name for name in names if name not in source.columns]
        own = _CS_PSIZE in source.columns and self._psize_A is None
        if missing or not (own or self._psize_A):
            raise _unknown(source.path, (missing or [_CS_PSIZE])[0])
        found = source.read_at([*names, *([_CS_PSIZE] if own else [])], sources)
        psize_A = found[_CS_PSIZE].astype(np.float64) if own else np.full(1, self._psize_A)
        whole_A = found[_SHAPE][:, ::-1].astype(np.float64) * psize_A[:, None]
        fraction = np.stack([found[name] for name in _FRACTIONS], axis=1)
        path = found[_PATH]
        return (
            word_hash(path if path.dtype.kind == "S" else path.astype("S")),
            (fraction * whole_A),
            whole_A,
        )

    def _of_text(self, rows: Rows, sources: Array) -> tuple[Array, Array, Array]:
        """The same of RELION's particles."""
        source = rows.poses.source
        header = source.header
        assert header is not None  # who asks has seen it
        names = [MICROGRAPH, *_COORDINATES]
        missing = [name for name in names if name not in source.columns]
        optics = LabelReader.of(header).optics
        own, group = _PSIZE in source.columns, OPTICS_GROUP in source.columns
        if missing or not (self._psize_A or own or _PSIZE in optics):
            raise _unknown(source.path, (missing or [_PSIZE])[0])
        further = [*([_PSIZE] if own else []), *([OPTICS_GROUP] if group else [])]
        words = source.read_at([*names, *further], sources)
        first = int(sources[0]) if len(sources) else 0

        def told(label: str) -> Array:
            return numbers(words[label], f"{source.path}: _{label}", first)

        if self._psize_A is not None:
            psize_A = np.full(len(sources), self._psize_A)
        elif own:
            psize_A = told(_PSIZE)
        else:
            groups = words.get(OPTICS_GROUP)
            psize_A = optics.of_rows(groups, _PSIZE, len(sources), source.path, first)
        place_A = np.stack([told(label) for label in _COORDINATES], axis=1) * psize_A[:, None]
        shape = np.array(self._shape_px or (math.nan, math.nan), np.float64)
        return word_hash(words[MICROGRAPH]), place_A, shape * psize_A[:, None]


def _unknown(path: str, name: str) -> SourceError:
    """Error for particles whose places on micrographs are not known."""
    advice = "micrograph_psize=A_PER_PIXEL" if "psize" in name.lower() or name == _PSIZE else "it"
    return SourceError(
        f"{path}: has no {name}, so that places on micrographs are unknown: give {advice}"
    )


@dataclass(frozen=True)
class Inside(Criterion):
    """Rows whose center lies on the micrograph, with a margin."""

    located: Located
    edge_A: float

    @property
    def why(self) -> str:
        margin = f", or within {self.edge_A:g} A of its edge" if self.edge_A else ""
        return f"whose center lies off the micrograph{margin}"

    def keep(self, rows: Rows) -> Array:
        _, place_A, size_A = self.located.located(rows)
        if np.isnan(size_A).any():
            raise SourceError(
                f"{rows.poses.source.path}: does not say how large micrographs are: give "
                "micrograph_px=W,H"
            )
        inside = (place_A >= self.edge_A) & (place_A <= size_A - self.edge_A)
        return np.asarray(inside.all(axis=1))
