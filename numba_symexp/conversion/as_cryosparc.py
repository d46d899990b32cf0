"""RELION's particles under CryoSPARC's field names, as far as RELION's columns go."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.conversion.correspondence import (
    CORRESPONDENCES,
    FROM_ROWS,
    IMAGE_PATH,
    IMAGE_PSIZE,
    IMAGE_SHAPE,
    MICROGRAPH_PATH,
    OPTICS,
    STRUCTURE,
    UNMATCHED,
    Correspondence,
    is_neutral,
    not_converted,
)
from numba_symexp.errors import SourceError
from numba_symexp.formats.micrographs import FRACTIONS, MICROGRAPH_PSIZE, RelionMicrographs
from numba_symexp.formats.micrographs import PSIZE as PSIZE_OF_MICROGRAPHS
from numba_symexp.formats.micrographs import SHAPE as MICROGRAPH_SHAPE
from numba_symexp.formats.relion.labels import COORDINATES_PX, IMAGE, MICROGRAPH, LabelReader
from numba_symexp.formats.relion.text import OPTICS_GROUP
from numba_symexp.particles.coordinate_choice import KEPT, CoordinateChoice
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import LABELS, POSE, PSIZE, SHIFT, SPLIT, TUBE, UID
from numba_symexp.particles.table import CRYOSPARC, Column, Header, ParticleTable, TableView
from numba_symexp.particles.words import numbers, without_quotes

_F4, _U4 = np.dtype("<f4"), np.dtype("<u4")

_CONSTANT: dict[str, tuple[Any, tuple[int, ...], Any]] = {
    "blob/sign": (_F4, (), 1.0),
    "ctf/type": (np.dtype("S8"), (), b"imported"),
    "ctf/scale": (_F4, (), 1.0),
    "ctf/scale_const": (_F4, (), 1.0),
    "ctf/shift_A": (_F4, (2,), 0.0),
    "ctf/tilt_A": (_F4, (2,), 0.0),
    "ctf/trefoil_A": (_F4, (2,), 0.0),
    "ctf/tetra_A": (_F4, (4,), 0.0),
    "ctf/anisomag": (_F4, (4,), 0.0),
    **{
        f"alignments3D/{name}": (_F4, (), value)
        for name, value in (
            *((each, 0.0) for each in ("error", "error_min", "resid_pow", "slice_pow")),
            *((each, 0.0) for each in ("image_pow", "cross_cor", "alpha_min", "weight")),
            *((each, 0.0) for each in ("pose_ess", "shift_ess")),
            *((each, 1.0) for each in ("alpha", "class_posterior", "class_ess")),
        )
    },
}
"""Fields that CryoSPARC's jobs expect and RELION does not have: what a fresh import would say.

RELION's particles are white on black, which is sign 1.
"""

_OF_MICROGRAPHS = (MICROGRAPH, *COORDINATES_PX[:2], MICROGRAPH_PSIZE)
"""Labels that make fields only where the size of micrographs is known."""

_FLIPPED = (
    "center_y_frac is 1 - rlnCoordinateY / height (coordinates_y=flipped): give coordinates_y=same "
    "for the very .mrc files that RELION read"
)
_SAME = (
    "center_y_frac is rlnCoordinateY / height (coordinates_y=same): give coordinates_y=flipped for "
    "a .star that was made of a .cs with a flipped y"
)


class AsCryosparc(TableView):
    """A table that came from a .star, with CryoSPARC's fields; see `correspondence`.

    Parameters
    ----------
    source : ParticleTable
        With a header, and every label as text.
    choice : CoordinateChoice
        Says how large micrographs are, without which there are no fractions of them, and whether
        y turns round.

    Attributes
    ----------
    dropped : list of str
        Labels that have no field, of the particles and of the optics.
    warning : str
        About aberrations that are not converted; empty where there are none.
    """

    vocabulary = CRYOSPARC

    def __init__(self, source: ParticleTable, choice: CoordinateChoice = KEPT) -> None:
        super().__init__(source)
        header = source.header
        if header is None:
            raise SourceError(f"{source.path}: has no labels of RELION")
        self._reader = LabelReader.of(header)
        self._flips, self._constant = choice.flips, dict(_CONSTANT)
        self._micrographs: RelionMicrographs | None = None
        if choice.micrograph_px is not None:
            asked = "recenter= and micrograph_px=" if choice.recenter else "micrograph_px="
            self._micrographs = RelionMicrographs(source, choice, f"leave out {asked}")
            self._sides_px = dict(zip(FRACTIONS, choice.micrograph_px, strict=True))
            self._constant[MICROGRAPH_SHAPE] = (_U4, (2,), choice.micrograph_px[::-1])
        self._made_of = _rows_by_field(self._reader, self._micrographs is not None)
        self.columns = {
            name: Column(_F4 if column.dtype.kind == "f" else column.dtype, column.shape)
            for name, column in source.columns.items()
            if name in (POSE, SHIFT, PSIZE, SPLIT, UID, TUBE)
        }
        if self._reader.has_pixel_size:
            self.columns.setdefault(PSIZE, Column(_F4))
        for name, each in self._made_of.items():
            if name in (IMAGE_PATH, MICROGRAPH_PATH, LABELS):
                self.columns[name] = source.columns[each.label]
            elif name != TUBE:
                self.columns[name] = Column(each.dtype, each.shape)
        if self._micrographs and self._micrographs.psize_is_known:
            self.columns[PSIZE_OF_MICROGRAPHS] = Column(_F4)
        slots = {name.partition("/")[0] for name in self.columns}
        for name, (dtype, shape, _) in self._constant.items():
            if name not in self.columns and name.partition("/")[0] in slots:
                self.columns[name] = Column(dtype, shape)
        lost = self._find_lost()
        self.warning = not_converted(self.path, lost, "CryoSPARC")
        dropped = [each for each in self._find_dropped(header) if each not in lost]
        both = {*COORDINATES_PX[:2]} <= {*dropped}
        self._unplaced = [each for each in dropped if both and each in _OF_MICROGRAPHS]
        self.dropped = [each for each in dropped if each not in self._unplaced]

    @property
    def notes(self) -> list[str]:
        """Which way y goes; or what goes without the size of micrographs, and why."""
        if self._micrographs:
            return [_FLIPPED if self._flips else _SAME]
        if not self._unplaced:
            return []
        gone = ", ".join(self._unplaced)
        return [
            f"dropped, because a .star does not say how large micrographs are: {gone}; export and "
            "expand keep them by micrograph_px=W,H"
        ]

    def _find_lost(self) -> list[str]:
        """Labels of aberrations, of optics or particles, that say that there are some."""
        labels = [label for each in UNMATCHED.values() for label in each]
        optics = self._reader.optics
        stated = {label: optics.words(label) for label in labels if label in optics}
        lost = {label for label, words in stated.items() if not is_neutral(label, words)}
        there = [label for label in labels if label in self._source.columns]
        for start, stop in blocks(self._source, there) if there else ():
            for label, words in self._source.read(there, start, stop).items():
                if label not in lost and not is_neutral(label, words):
                    lost.add(label)
        return [label for label in labels if label in lost]

    def _find_dropped(self, header: Header) -> list[str]:
        """Labels of which nothing was made."""
        used = {*STRUCTURE, OPTICS_GROUP}
        for each in (*self._made_of.values(), *_FROM_ROWS):
            used.update(each.labels)
        used.update(self._reader.pixel_size_labels)
        if self._micrographs:
            used.add(MICROGRAPH_PSIZE)
        labels = (*header.labels, *self._reader.optics.labels)
        return list(dict.fromkeys(label for label in labels if label not in used))

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        labels = {self._made_of[name].label for name in names if name in self._made_of}
        if {PSIZE, IMAGE_PSIZE} & set(names):
            labels |= {PSIZE, *self._reader.needs(PSIZE)}
        wanted = {*labels, OPTICS_GROUP, *names} & self._source.columns.keys()
        found = self._source.read(sorted(wanted), start, stop)
        return {name: self._made(name, found, start, stop) for name in names}

    def _made(self, name: str, found: Mapping[str, Array], start: int, stop: int) -> Array:
        """One field."""
        if name in found:
            return found[name]
        if name in (PSIZE, IMAGE_PSIZE):
            if PSIZE in found:
                return found[PSIZE]
            return self._reader.make(PSIZE, found, start, stop, self.path)
        if name == PSIZE_OF_MICROGRAPHS and self._micrographs:
            return self._micrographs.psizes_A(np.arange(start, stop))
        if name not in self._made_of:
            dtype, shape, value = self._constant[name]
            return np.full((stop - start, *shape), value, dtype)
        each = self._made_of[name]
        if name == LABELS:
            return found[each.label]
        if name == MICROGRAPH_PATH:
            return without_quotes(found[each.label])
        if each.label == IMAGE:
            number, _, path = np.char.partition(without_quotes(found[IMAGE]), b"@").T
            has_number = path != b""
            if name == IMAGE_PATH:
                return np.where(has_number, path, number)
            number = np.where(has_number, number, b"1")
            values = numbers(number, self._in_message(IMAGE), start, self.row_number) - 1
            return self._as_uint32(values, IMAGE, start)
        values = self._numbers(each, found, start, stop)
        if each.dtype.kind == "u":
            values = self._as_uint32(values, each.label, start)
        if name == IMAGE_SHAPE:
            return np.stack([values, values], axis=1)
        if name in FRACTIONS:
            part = values / self._sides_px[name]
            return 1 - part if self._flips and name == FRACTIONS[1] else part
        values = each.to_cryosparc(values)
        return np.maximum(values, 0) if each.dtype.kind == "u" else values

    def _numbers(
        self, each: Correspondence, found: Mapping[str, Array], start: int, stop: int
    ) -> Array:
        """Numbers of a label, of the particles or of their optics group."""
        if each.label in found:
            return numbers(found[each.label], self._in_message(each.label), start, self.row_number)
        return self._reader.optics.of_rows(
            found.get(OPTICS_GROUP), each.label, stop - start, self.path, start, self.row_number
        )

    def _as_uint32(self, values: Array, label: str, start: int) -> Array:
        """Numbers that fit an unsigned 32-bit field."""
        bad = ~((values >= 0) & (values < 2**32) & (values == np.floor(values)))
        if bad.any():
            row = int(np.argmax(bad))
            raise SourceError(
                f"{self._in_message(label)} of row {self.row_number(start + row)} makes no whole "
                "number from 0 up: repair it"
            )
        return values

    def _in_message(self, label: str) -> str:
        """A label for a message."""
        return f"{self.path}: _{label}"


def _rows_by_field(reader: LabelReader, size_is_known: bool) -> dict[str, Correspondence]:
    """Row of the correspondence that each field is made by, as far as the labels go."""
    return {
        each.field: each
        for each in CORRESPONDENCES
        if each.field not in FROM_ROWS
        and (size_is_known or not each.needs_size)
        and (
            each.label in reader.labels
            or (each.block == OPTICS and each.label in reader.optics)
            or (each.field == IMAGE_PSIZE and reader.has_pixel_size)
        )
    }


_FROM_ROWS = [each for each in CORRESPONDENCES if each.field in FROM_ROWS]
