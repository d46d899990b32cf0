"""What is known of the micrograph of each particle: A per pixel, size, and the place on it."""

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.files import read_small
from numba_symexp.formats.relion.labels import COORDINATES_PX
from numba_symexp.formats.relion.optics import Optics
from numba_symexp.formats.relion.text import OPTICS_GROUP, with_lf
from numba_symexp.particles.coordinate_choice import CoordinateChoice
from numba_symexp.particles.findings import refuse_no_length
from numba_symexp.particles.table import CRYOSPARC, Header, ParticleTable
from numba_symexp.particles.words import numbers

if TYPE_CHECKING:
    from numba_symexp.pose_block import Block
    from numba_symexp.poses import Poses

SHAPE = "location/micrograph_shape"
"""(ny, nx)."""

FRACTIONS = ("location/center_x_frac", "location/center_y_frac")
PSIZE = "location/micrograph_psize_A"

MICROGRAPH_PSIZE = "rlnMicrographPixelSize"
"""The one label that says it: neither the image's nor the original pixel size may stand for it."""

_GROUP_NAME = "rlnOpticsGroupName"
_MOST_BYTES = 64 << 20


class Micrographs(abc.ABC):
    """The micrographs of particles; rows are asked for by the rows of the particles.

    Attributes
    ----------
    signs : (2,) float64
        A particle's center stands at place - signs * shift, all in pixels of the micrograph.
    size_is_known, psize_is_known : bool
        Whether `sizes_px` and `psizes_A` can be asked for.
    """

    signs = np.ones(2)
    size_is_known = False
    psize_is_known = True

    @staticmethod
    def of(
        rows: "Poses",
        choice: CoordinateChoice,
        otherwise: str = "leave out recenter=",
        table: ParticleTable | None = None,
    ) -> "Micrographs":
        """Micrographs of the particles of some rows.

        Parameters
        ----------
        rows : Poses
        choice : CoordinateChoice
        otherwise : str
            What to do where particles have no coordinates.
        table : ParticleTable, optional
            The particles, where their names are those of another program now.

        Raises
        ------
        SymexpError
            The particles have no coordinates, or nothing says the A per pixel of micrographs.
        """
        if choice.recenter:
            rows.require_psize("shifts count in coordinates by their size in A")
        table = rows.source if table is None else table
        known = _CryosparcMicrographs if table.vocabulary == CRYOSPARC else RelionMicrographs
        return known(table, choice, otherwise)

    def taken(self, block: "Block") -> tuple[Array, Array]:
        """Whole pixels of micrographs that are in the shifts of rows.

        Returns
        -------
        whole_px : (n, 2) float64
        taken_A : (n, 2) float64
            The same in A. At most half a pixel of each shift is left without it.
        """
        psize_A = self.psizes_A(block.sources)[block.index, None]
        whole_px = np.rint(block.shift_A / psize_A) + 0.0
        return whole_px, whole_px * psize_A

    def centers_px(self, block: "Block") -> Array:
        """Where the centers of rows stand on their micrographs, (n, 2) float64."""
        psize_A = self.psizes_A(block.sources)[block.index, None]
        return self.places_px(block.sources)[block.index] - self.signs * block.shift_A / psize_A

    def is_off(self, place_px: Array, block: "Block", edge_px: float) -> Array:
        """Whether places of rows are off their micrographs, or nearer to the edge, (n,) bool."""
        far_px = self.sizes_px(block.sources)[block.index] - edge_px
        is_on = (place_px >= edge_px) & (place_px <= far_px)
        return np.asarray(~is_on.all(axis=1))

    @abc.abstractmethod
    def psizes_A(self, sources: Array) -> Array:  # noqa: N802 - the unit is A
        """A per pixel of the micrographs of particles, (m,) float64."""

    @abc.abstractmethod
    def places_px(self, sources: Array) -> Array:
        """Coordinates of particles, (m, 2) float64."""

    @abc.abstractmethod
    def sizes_px(self, sources: Array) -> Array:
        """Width and height of the micrographs of particles, (m, 2) float64."""


class _CryosparcMicrographs(Micrographs):
    """Fields of CryoSPARC, in a .cs or in HDF5."""

    size_is_known = True

    def __init__(self, table: ParticleTable, choice: CoordinateChoice, otherwise: str) -> None:
        self._table, self._given_A = table, choice.micrograph_psize
        self._otherwise = otherwise
        for name in ("micrographs", "micrograph_px"):
            if getattr(choice, name) is not None:
                raise UsageError(
                    f"{name}= is for particles of RELION, and {table.path} has the fields of "
                    "CryoSPARC: leave it out"
                )
        for name, kinds, shape in ((SHAPE, "iuf", (2,)), *((name, "f", ()) for name in FRACTIONS)):
            self._require(name, kinds, shape)
        if PSIZE in table.columns:
            self._require(PSIZE, "f", ())
            if self._given_A is not None:
                warn(f"micrograph_psize= is left aside: {table.path} says {PSIZE} itself")
        elif self._given_A is None:
            raise SourceError(
                f"{table.path}: has no {PSIZE}, the A per pixel of micrographs: give "
                "micrograph_psize=A_PER_PIXEL"
            )

    def _require(self, name: str, kinds: str, shape: tuple[int, ...]) -> None:
        """Refuse a field that is missing, or is not what CryoSPARC has under its name."""
        column = self._table.columns.get(name)
        if column is None:
            raise SourceError(
                f"{self._table.path}: has no {name}, where particles stand on micrographs: add the "
                f"passthrough files, or {self._otherwise}"
            )
        if column.dtype.kind not in kinds or column.shape != shape:
            raise SourceError(
                f"{self._table.path}: {name} is {column}, which is not what CryoSPARC has under "
                "that name: repair it"
            )

    def psizes_A(self, sources: Array) -> Array:  # noqa: N802 - the unit is A
        """A per pixel of the micrographs of particles, (m,) float64."""
        if PSIZE not in self._table.columns:
            return np.full(len(sources), self._given_A, np.float64)
        return self._lengths(PSIZE, sources)

    def places_px(self, sources: Array) -> Array:
        """Coordinates of particles, (m, 2) float64."""
        found = self._table.read_at(FRACTIONS, sources)
        part = np.stack([found[name].astype(np.float64) for name in FRACTIONS], axis=1)
        for k, name in enumerate(FRACTIONS):
            bad = ~np.isfinite(part[:, k])
            if bad.any():
                row = self._table.row_number(int(sources[np.argmax(bad)]))
                raise SourceError(
                    f"{self._table.path}: {name} is not a number in row {row}: remove this "
                    "particle or repair it"
                )
        return part * self.sizes_px(sources)

    def sizes_px(self, sources: Array) -> Array:
        """Width and height of the micrographs of particles, (m, 2) float64."""
        return self._lengths(SHAPE, sources)[:, ::-1]  # (ny, nx)

    def _lengths(self, name: str, sources: Array) -> Array:
        """Numbers above 0."""
        found = self._table.read_at([name], sources)[name].astype(np.float64)
        refuse_no_length(found, name, sources, self._table)
        return found


class RelionMicrographs(Micrographs):
    """Labels of RELION, in a .star or in what was imported from one.

    Their A per pixel must be known only where shifts are baked into coordinates.
    """

    def __init__(self, table: ParticleTable, choice: CoordinateChoice, otherwise: str) -> None:
        self._table, self._size_px, self._given_A = table, choice.micrograph_px, None
        self.size_is_known = choice.micrograph_px is not None
        self.signs = np.array([1.0, -1.0 if choice.flips else 1.0])
        self._labels = [label for label in COORDINATES_PX[:2] if label in table.columns]
        if table.header is None or len(self._labels) < 2:
            wanted = " and ".join(f"_{label}" for label in COORDINATES_PX[:2])
            raise SourceError(
                f"{table.path}: has no {wanted}, where particles stand on micrographs: {otherwise}"
            )
        if choice.edge_px is not None and not self.size_is_known:
            raise UsageError("edge_px= goes with micrograph_px=W,H, which is missing: add it")
        self._optics, self._what = Optics.of(table.header), table.path
        in_rows = MICROGRAPH_PSIZE in table.columns
        if in_rows or MICROGRAPH_PSIZE in self._optics:
            for name in ("micrographs", "micrograph_psize"):
                if getattr(choice, name) is not None:
                    warn(f"{name}= is left aside: {table.path} says _{MICROGRAPH_PSIZE} itself")
        elif choice.micrographs is not None:
            self._what = f"{table.path}: by {choice.micrographs}"
            self._optics = _optics_by_name(choice.micrographs, self._optics, table.path)
        elif choice.micrograph_psize is not None:
            self._given_A = choice.micrograph_psize
        elif choice.recenter is None:
            self.psize_is_known = False
        else:
            raise SourceError(
                f"{table.path}: has no _{MICROGRAPH_PSIZE}, in which coordinates count: give "
                "micrographs=FILE.star or micrograph_psize=A_PER_PIXEL"
            )

    def psizes_A(self, sources: Array) -> Array:  # noqa: N802 - the unit is A
        """A per pixel of the micrographs of particles, (m,) float64."""
        if self._given_A is not None:
            return np.full(len(sources), self._given_A)
        return _in_words(self._table, self._optics, self._what, sources)

    def places_px(self, sources: Array) -> Array:
        """Coordinates of particles, (m, 2) float64."""
        return _numbers(self._table, self._labels, sources)

    def sizes_px(self, sources: Array) -> Array:
        """Width and height of the micrographs of particles, (m, 2) float64."""
        if self._size_px is None:
            raise SourceError(f"{self._table.path}: nothing says the size of micrographs")
        return np.tile(np.array(self._size_px, np.float64), (len(sources), 1))


def stated_psizes_A(table: ParticleTable, sources: Array) -> Array | None:  # noqa: N802
    """A per pixel of the micrographs of particles, as a table states it; None where it does not."""
    column = table.columns.get(PSIZE)
    if column and not column.shape and column.dtype.kind == "f":
        found = table.read_at([PSIZE], sources)[PSIZE].astype(np.float64)
        refuse_no_length(found, PSIZE, sources, table)
        return found
    if table.header is None:
        return None
    optics = Optics.of(table.header)
    if MICROGRAPH_PSIZE not in table.columns and MICROGRAPH_PSIZE not in optics:
        return None
    return _in_words(table, optics, table.path, sources)


def _in_words(table: ParticleTable, optics: Optics, what: str, sources: Array) -> Array:
    """A per pixel of micrographs that words say, of the particles or of their optics groups."""
    if MICROGRAPH_PSIZE in table.columns:
        found = _numbers(table, (MICROGRAPH_PSIZE,), sources)[:, 0]
    else:
        group = None
        if OPTICS_GROUP in table.columns:
            group = table.read_at([OPTICS_GROUP], sources)[OPTICS_GROUP]
        found = optics.of_rows(
            group, MICROGRAPH_PSIZE, len(sources), what, 0, table.numbering(sources)
        )
    refuse_no_length(found, f"_{MICROGRAPH_PSIZE}", sources, table)
    return found


def _numbers(table: ParticleTable, labels: Sequence[str], sources: Array) -> Array:
    """Numbers that the words of m particles say of some labels, (m, labels) float64."""
    words = table.read_at(labels, sources)
    row_number = table.numbering(sources)
    told = [numbers(words[each], f"{table.path}: _{each}", 0, row_number) for each in labels]
    return np.stack(told, axis=1)


def _optics_by_name(path: str, own: Optics, particles: str) -> Optics:
    """Groups of particles, with the A per pixel that micrographs have in the group of that name.

    Raises
    ------
    SourceError
        Groups have no names, or one name has two sizes.
    """
    text = with_lf(read_small(path, "the micrographs' .star file", _MOST_BYTES))
    found = Optics.of(Header(text, (), b""))
    for label in (_GROUP_NAME, MICROGRAPH_PSIZE):
        if label not in found:
            raise SourceError(
                f"{path}: its data_optics has no _{label}: give RELION's file of the micrographs, "
                "or micrograph_psize=A_PER_PIXEL"
            )
    if _GROUP_NAME not in own:
        raise SourceError(
            f"{particles}: its optics groups have no _{_GROUP_NAME}, by which those of {path} are "
            "found: give micrograph_psize=A_PER_PIXEL"
        )
    size_of: dict[bytes, bytes] = {}
    told = (found.words(label).tolist() for label in (_GROUP_NAME, MICROGRAPH_PSIZE))
    for name, size in zip(*told, strict=True):
        if size_of.setdefault(name, size) != size:
            shown = name[:40].decode(errors="replace")
            raise SourceError(f"{path}: two optics groups are called {shown!r}: repair it")
    names = own.words(_GROUP_NAME).tolist()
    known = [k for k, name in enumerate(names) if name in size_of]
    sizes = np.array([size_of[names[k]] for k in known], "S")
    words = {OPTICS_GROUP: own.groups()[known], MICROGRAPH_PSIZE: sizes}
    return Optics(tuple(words), len(known), words)
