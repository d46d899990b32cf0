"""RELION's particles under CryoSPARC's field names, as far as RELION's columns go."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.labels import (
    ANGLES,
    IMAGE,
    IMAGE_SIZE,
    ORIGINS_A,
    ORIGINS_PX,
    PIXEL_SIZE,
    SUBSET,
)
from numba_symexp.formats.relion.text import OPTICS_GROUP, StarText
from numba_symexp.formats.relion.words import numbers
from numba_symexp.particles.schema import POSE, PSIZE, SHIFT, SPLIT, UID
from numba_symexp.particles.table import Column, ParticleTable, TableView
from numba_symexp.types import Array

_F4, _U4 = np.dtype("<f4"), np.dtype("<u4")

_PLAIN = {
    "ctf/df1_A": ("rlnDefocusU", 1.0),
    "ctf/df2_A": ("rlnDefocusV", 1.0),
    "ctf/df_angle_rad": ("rlnDefocusAngle", np.pi / 180),
    "ctf/phase_shift_rad": ("rlnPhaseShift", np.pi / 180),
    "ctf/bfactor": ("rlnCtfBfactor", 1.0),
}
"""Field: label of the particles, and factor."""

_OPTICS = {
    "blob/psize_A": PIXEL_SIZE,
    "ctf/accel_kv": "rlnVoltage",
    "ctf/cs_mm": "rlnSphericalAberration",
    "ctf/amp_contrast": "rlnAmplitudeContrast",
}
"""Field: label of the optics, or of the particles before RELION 3.1."""

_CLASS = "rlnClassNumber"

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

_PATH, _INDEX, _SHAPE = "blob/path", "blob/idx", "blob/shape"
_GROUP, _CLASS_FIELD = "ctf/exp_group_id", "alignments3D/class"

_REAL = Column(_F4)
_TYPES = {
    _INDEX: Column(_U4),
    _SHAPE: Column(_U4, (2,)),
    _GROUP: Column(_U4),
    _CLASS_FIELD: Column(_U4),
}
"""Types of the fields that are made of labels, where they are not `_REAL`."""

_USED = {*ANGLES, *ORIGINS_A, *ORIGINS_PX, SUBSET, OPTICS_GROUP, "rlnOpticsGroupName"}


class AsCryosparc(TableView):
    """A table that came from a .star, with CryoSPARC's fields; see `_PLAIN` and the like.

    Parameters
    ----------
    source : ParticleTable
        With every label as text.
    text : StarText

    Attributes
    ----------
    dropped : list of str
        Labels that have no field.
    """

    def __init__(self, source: ParticleTable, text: StarText) -> None:
        super().__init__(source)
        self._groups = {row.get(OPTICS_GROUP, "1"): row for row in text.optics}
        self._needs = _labels_by_field(text)
        self.columns = {
            name: Column(_F4 if column.dtype.kind == "f" else column.dtype, column.shape)
            for name, column in source.columns.items()
            if name in (POSE, SHIFT, PSIZE, SPLIT, UID)
        }
        for name in self._needs:
            self.columns[name] = source.columns[IMAGE] if name == _PATH else _TYPES.get(name, _REAL)
        slots = {name.partition("/")[0] for name in self.columns}
        for name, (dtype, shape, _) in _CONSTANT.items():
            if name not in self.columns and name.partition("/")[0] in slots:
                self.columns[name] = Column(dtype, shape)
        used = {*_USED, *self._needs.values()}
        self.dropped = [label for label in text.labels if label not in used]

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        labels = {self._needs[name] for name in names if name in self._needs}
        wanted = {*labels, OPTICS_GROUP, *names} & self._source.columns.keys()
        found = self._source.read(sorted(wanted), start, stop)
        return {name: self._made(name, found, start, stop) for name in names}

    def _made(self, name: str, found: Mapping[str, Array], start: int, stop: int) -> Array:
        """One field."""
        if name in found:
            return found[name]
        if name not in self._needs:
            dtype, shape, value = _CONSTANT[name]
            return np.full((stop - start, *shape), value, dtype)
        label = self._needs[name]
        if label == IMAGE:
            number, _, path = np.char.partition(found[IMAGE], b"@").T
            has_number = path != b""
            if name == _PATH:
                return np.where(has_number, path, number)
            values = numbers(np.where(has_number, number, b"1"), self._what(label), start) - 1
            return self._whole(values, label, start)
        values = self._numbers(label, found, start, stop)
        if self.columns[name].dtype.kind == "u":
            values = self._whole(values, label, start)
        if name == _SHAPE:
            return np.stack([values, values], axis=1)
        if name == _CLASS_FIELD:
            return np.maximum(values - 1, 0)
        return values * _PLAIN[name][1] if name in _PLAIN else values

    def _numbers(self, label: str, found: Mapping[str, Array], start: int, stop: int) -> Array:
        """Numbers of a label, of the particles or of their optics group."""
        if label in found:
            return numbers(found[label], self._what(label), start)
        group = found.get(OPTICS_GROUP, np.full(stop - start, next(iter(self._groups)).encode()))
        names, place = np.unique(group, return_inverse=True)
        words = []
        for name in names:
            row = self._groups.get(name.decode(), {})
            if label not in row:
                raise SourceError(
                    f"{self.path}: optics group {name.decode()} has no _{label} in data_optics: "
                    "add it"
                )
            words.append(row[label].encode())
        return numbers(np.array(words), self._what(label), start)[place]

    def _whole(self, values: Array, label: str, start: int) -> Array:
        """Numbers that fit an unsigned 32-bit field."""
        bad = ~((values >= 0) & (values < 2**32) & (values == np.floor(values)))
        if bad.any():
            row = int(np.argmax(bad))
            raise SourceError(
                f"{self._what(label)} of row {start + row} makes no whole number from 0 up: "
                "repair it"
            )
        return values

    def _what(self, label: str) -> str:
        """A label for a message."""
        return f"{self.path}: _{label}"


def _labels_by_field(text: StarText) -> dict[str, str]:
    """Label that each field is made of, as far as the labels go."""
    in_optics = {label for row in text.optics for label in row}
    of_particles = {name: label for name, (label, _) in _PLAIN.items()}
    wanted = {
        _PATH: IMAGE,
        _INDEX: IMAGE,
        **of_particles,
        **_OPTICS,
        _SHAPE: IMAGE_SIZE,
        _GROUP: OPTICS_GROUP,
        _CLASS_FIELD: _CLASS,
    }
    return {
        name: label
        for name, label in wanted.items()
        if label in text.labels or (label in in_optics and name in (*_OPTICS, _SHAPE))
    }
