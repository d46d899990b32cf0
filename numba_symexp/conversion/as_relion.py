"""CryoSPARC's particles under RELION's labels, as far as RELION has a place for them."""

from collections.abc import Callable, Collection, Container, Mapping, Sequence

import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.labels import (
    ANGLES,
    IMAGE,
    MICROGRAPH,
    ORIGINS_A,
    PIXEL_SIZE,
    SUBSET,
)
from numba_symexp.formats.relion.text import OPTICS_GROUP, StarText
from numba_symexp.formats.relion.words import as_bytes
from numba_symexp.kernels.text import LARGEST, number_width, write_numbers
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import PSIZE, SPLIT, UID
from numba_symexp.particles.table import Column, ParticleTable, TableView
from numba_symexp.types import Array

_PATH, _INDEX, _SHAPE, _BLOB_PSIZE = "blob/path", "blob/idx", "blob/shape", "blob/psize_A"
_MICROGRAPH_PATH = "location/micrograph_path"
_CENTER = ("location/center_x_frac", "location/center_y_frac", "location/micrograph_shape")

_NUMBERS: dict[str, tuple[str, Callable[[Array], Array], int]] = {
    "rlnDefocusU": ("ctf/df1_A", np.asarray, 6),
    "rlnDefocusV": ("ctf/df2_A", np.asarray, 6),
    "rlnDefocusAngle": ("ctf/df_angle_rad", np.rad2deg, 6),
    "rlnPhaseShift": ("ctf/phase_shift_rad", np.rad2deg, 6),
    "rlnCtfBfactor": ("ctf/bfactor", np.asarray, 6),
    "rlnClassNumber": ("alignments3D/class", lambda number: number + 1, 0),
}
"""Label: field, what is done to it, decimals."""

_OPTICS = {
    "rlnVoltage": "ctf/accel_kv",
    "rlnSphericalAberration": "ctf/cs_mm",
    "rlnAmplitudeContrast": "ctf/amp_contrast",
    PIXEL_SIZE: _BLOB_PSIZE,
    "rlnImageSize": _SHAPE,
}
"""Label of the optics: field."""

_NEEDED_BY_RELION = ("rlnVoltage", "rlnSphericalAberration", PIXEL_SIZE, "rlnImageSize")
"""Without one of the first three RELION 3.1 reads no particle and does not complain; without the
last its reconstruction stops."""

_TEXT = np.dtype("S")
"""Text as wide as the rows that are read need it."""

_GROUP_FIELD = "ctf/exp_group_id"
_NAME_DIGITS = 6


class AsRelion(TableView):
    """A table with CryoSPARC's fields, with RELION's labels as text.

    A leading ``>`` of a path goes, ``.mrc`` stacks become ``.mrcs``, images count from 1, and the
    y of micrograph coordinates, which CryoSPARC counts from the lower edge, is turned round.

    Parameters
    ----------
    source : ParticleTable
        With CryoSPARC's names.
    split : bool
        Whether rows have half-sets.
    replaced : collection of str
        Columns that the rows bring themselves; None counts for nothing.

    Attributes
    ----------
    text : StarText
        Blocks and labels of RELION 3.1.
    dropped : list of str
        Fields that have no label.
    notes : list of str
        What a user should know.
    """

    def __init__(
        self, source: ParticleTable, split: bool, replaced: Collection[str | None]
    ) -> None:
        super().__init__(source)
        fields = source.columns
        _refuse_odd(source)
        self._group_fields = [each for each in (_GROUP_FIELD, *_OPTICS.values()) if each in fields]
        self._needs = {**_fields_by_label(fields), OPTICS_GROUP: tuple(self._group_fields)}
        self._numbers = self._number_groups()
        labels = (*self._needs, *ANGLES, *ORIGINS_A, *((SUBSET,) if split else ()))
        self.text = StarText(self._head(labels), labels, b"\n")
        self.columns = {label: Column(_TEXT) for label in self._needs}
        used = {*replaced, PSIZE, SPLIT, UID, *self._group_fields}
        used.update(field for needed in self._needs.values() for field in needed)
        self.dropped = [field for field in fields if field not in used]
        self.notes = self._find_notes()

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        wanted = {field for name in names for field in self._needs[name]}
        found = self._source.read(sorted(wanted), start, stop)
        return {name: self._made(name, found, stop - start) for name in names}

    def _find_notes(self) -> list[str]:
        """What RELION will miss, and which files it will look for under another name."""
        notes = []
        fields = self._source.columns
        lacking = [label for label in _NEEDED_BY_RELION if _OPTICS[label] not in fields]
        if IMAGE not in self._needs:
            lacking.insert(0, IMAGE)
        if lacking:
            notes.append(
                f"{self.path}: nothing to make {', '.join(lacking)} of, which RELION needs: "
                "import the passthrough files too"
            )
        if _PATH in fields:
            first = self._path(self._source.read([_PATH], 0, 1)[_PATH])[0]
            if first.endswith(b".mrc"):
                notes.append(
                    "stacks are named .mrcs, as RELION wants them: link or rename "
                    f"{first.decode(errors='replace')} and the like"
                )
        return notes

    def _made(self, name: str, found: Mapping[str, Array], rows: int) -> Array:
        """One column."""
        if name == IMAGE:
            path = self._path(found[_PATH])
            stack = np.where(np.char.endswith(path, b".mrc"), np.char.add(path, b"s"), path)
            if _INDEX not in found:
                return stack
            number = self._text(_INDEX, found[_INDEX] + 1.0, 0, _NAME_DIGITS)
            return np.char.add(np.char.add(number, b"@"), stack)
        if name == MICROGRAPH:
            return self._path(found[_MICROGRAPH_PATH])
        if name == "rlnCoordinateX":
            return self._text(_CENTER[0], found[_CENTER[0]] * found[_CENTER[2]][:, 1], 6)
        if name == "rlnCoordinateY":
            return self._text(_CENTER[1], (1 - found[_CENTER[1]]) * found[_CENTER[2]][:, 0], 6)
        if name == OPTICS_GROUP:
            return self._text(_GROUP_FIELD, self._groups_of(found, rows), 0)
        field, change, decimals = _NUMBERS[name]
        return self._text(field, change(found[field].astype(np.float64)), decimals)

    def _text(self, field: str, values: Array, decimals: int, digits: int = 1) -> Array:
        """Numbers as words; NUL before them is no part of the word."""
        values = values.astype(np.float64)
        if not (np.abs(values) < LARGEST).all():  # NaN is not either
            raise SourceError(
                f"{self.path}: {field} is not a number everywhere, or over {LARGEST:g}, which "
                "a .star cannot hold: repair it"
            )
        out = np.zeros(len(values), f"S{number_width(values, decimals, digits)}")
        write_numbers(values, decimals, digits, 0, as_bytes(out))
        return out

    def _path(self, words: Array) -> Array:
        """Paths without CryoSPARC's mark of a relative one."""
        if words.dtype.hasobject:
            words = np.array([w if isinstance(w, bytes) else str(w).encode() for w in words])
        path = np.char.lstrip(words, b">")
        blank = np.char.find(path, b" ") >= 0
        if blank.any():
            shown = path[int(np.argmax(blank))].decode(errors="replace")
            raise SourceError(
                f"{self.path}: the path {shown!r} has a blank, which a .star cannot hold: rename it"
            )
        return path

    def _optics_rows(self, found: Mapping[str, Array], rows: int) -> Array:
        """What the optics of each row are told by, (rows, fields) float64."""
        columns = [found[name].reshape(rows, -1)[:, 0] for name in self._group_fields]
        values = np.stack([*columns, np.zeros(rows)], axis=1).astype(np.float64)
        if not np.isfinite(values).all():
            named = ", ".join(self._group_fields)
            raise SourceError(f"{self.path}: one of {named} is NaN or Inf: repair it")
        return values

    def _number_groups(self) -> dict[tuple[float, ...], int]:
        """Number the optics groups from 1 in ascending order."""
        groups: set[tuple[float, ...]] = set() if self._group_fields else {(0.0,)}
        for start, stop in blocks(self._source, self._group_fields) if self._group_fields else ():
            found = self._source.read(self._group_fields, start, stop)
            rows = np.unique(self._optics_rows(found, stop - start), axis=0)
            groups.update(map(tuple, rows.tolist()))
        return {group: number for number, group in enumerate(sorted(groups), start=1)}

    def _groups_of(self, found: Mapping[str, Array], rows: int) -> Array:
        """Optics group of each row."""
        kinds, place = np.unique(self._optics_rows(found, rows), axis=0, return_inverse=True)
        return np.array([self._numbers[tuple(kind)] for kind in kinds.tolist()])[place.reshape(-1)]

    def _head(self, labels: Sequence[str]) -> bytes:
        """Blocks of RELION 3.1, up to the last label of the particles."""
        optics: list[dict[str, str]] = []
        for group, number in self._numbers.items():
            known = dict(zip(self._group_fields, group, strict=False))
            row = {OPTICS_GROUP: str(number), "rlnOpticsGroupName": f"opticsGroup{number}"}
            for label, field in _OPTICS.items():
                if field in known:
                    value = known[field]
                    row[label] = f"{value:.0f}" if field == _SHAPE else f"{value:.6f}"
            optics.append({**row, "rlnImageDimensionality": "2"})
        lines = [_loop("optics", list(optics[0])), *(" ".join(r.values()) + "\n" for r in optics)]
        return "".join([*lines, "\n", _loop("particles", labels)]).encode()


def _loop(name: str, labels: Sequence[str]) -> str:
    """Head of a block."""
    named = "".join(f"_{label} #{place}\n" for place, label in enumerate(labels, start=1))
    return f"\n# version 30001\n\ndata_{name}\n\nloop_\n{named}"


def _fields_by_label(fields: Container[str]) -> dict[str, tuple[str, ...]]:
    """Fields that each label is made of, in the order of the labels."""
    needs: dict[str, tuple[str, ...]] = {}
    if _PATH in fields:
        needs[IMAGE] = (_PATH, _INDEX) if _INDEX in fields else (_PATH,)
    if _MICROGRAPH_PATH in fields:
        needs[MICROGRAPH] = (_MICROGRAPH_PATH,)
    if all(field in fields for field in _CENTER):
        needs["rlnCoordinateX"] = (_CENTER[0], _CENTER[2])
        needs["rlnCoordinateY"] = (_CENTER[1], _CENTER[2])
    needs.update({label: (field,) for label, (field, *_) in _NUMBERS.items() if field in fields})
    return needs


def _refuse_odd(table: ParticleTable) -> None:
    """Refuse fields that are not what CryoSPARC has under their names."""
    numbers = [*_CENTER[:2], *(field for field, _, _ in _NUMBERS.values()), *_OPTICS.values()]
    for name, kinds, shape in (
        (_PATH, "SO", ()),
        (_MICROGRAPH_PATH, "SO", ()),
        (_INDEX, "ui", ()),
        (_GROUP_FIELD, "ui", ()),
        (_CENTER[2], "ui", (2,)),
        (_SHAPE, "ui", (2,)),
        *((name, "fui", ()) for name in numbers if name != _SHAPE),
    ):
        column = table.columns.get(name)
        if column and (column.dtype.kind not in kinds or column.shape != shape):
            raise SourceError(
                f"{table.path}: {name} is {column}, which is not what CryoSPARC has under that "
                "name: convert it, or leave it out"
            )
