"""CryoSPARC's particles under RELION's labels, as far as RELION has a place for them."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.conversion.correspondence import (
    CORRESPONDENCES,
    FROM_ROWS,
    GROUP,
    IMAGE_INDEX,
    IMAGE_PATH,
    IMAGE_PSIZE,
    IMAGE_SHAPE,
    MICROGRAPH_PATH,
    OPTICS,
    PARTICLES,
    TAGS,
    UNMATCHED,
    Correspondence,
    not_converted,
    rows_of,
)
from numba_symexp.errors import SourceError
from numba_symexp.formats.micrographs import FRACTIONS
from numba_symexp.formats.micrographs import SHAPE as MICROGRAPH_SHAPE
from numba_symexp.formats.relion.labels import (
    ANGLES,
    IMAGE,
    MICROGRAPH,
    ORIGINS_A,
    PIXEL_SIZE,
    SUBSET,
    TUBE_ID,
)
from numba_symexp.formats.relion.text import OPTICS_GROUP
from numba_symexp.kernels.text import LARGEST, number_width, write_numbers
from numba_symexp.particles.findings import refuse_no_length
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import LABELS, LABELS_LABEL, PSIZE, TUBE, UID
from numba_symexp.particles.table import Column, Header, ParticleTable, TableView
from numba_symexp.particles.words import as_bytes, mix_bits, texts_as_bytes, word_hash

_OPTICS = sorted(rows_of(OPTICS), key=lambda each: each.field.startswith("blob/"))
"""Of the optics, the CTF's before the images': RELION's order."""

_FIELD_OF_OPTICS = {each.label: each.field for each in _OPTICS}
_NUMBERS = {each.label: each for each in rows_of(PARTICLES) if each.is_number}

_NEEDED_BY_RELION = ("rlnVoltage", "rlnSphericalAberration", PIXEL_SIZE, "rlnImageSize")
"""Without one of the first three RELION 3.1 reads no particle and does not complain; without the
last its reconstruction stops."""

_TEXT = np.dtype("S")
"""Text as wide as the rows that are read need it."""

_NAME_DIGITS = 6

_FLIPPED = (
    "rlnCoordinateY is (1 - center_y_frac) x height (coordinates_y=flipped): give "
    "coordinates_y=same for the very .mrc files that CryoSPARC read"
)
_SAME = (
    "rlnCoordinateY is center_y_frac x height (coordinates_y=same): give coordinates_y=flipped for "
    "micrographs that another program wrote, whose rows count from the other edge"
)


class AsRelion(TableView):
    """A table with CryoSPARC's fields, with RELION's labels as text.

    A leading ``>`` of a path goes, ``.mrc`` stacks become ``.mrcs``, images count from 1, and the
    y of micrograph coordinates, which CryoSPARC counts from the lower edge, is turned round,
    unless it is to stay.

    Parameters
    ----------
    source : ParticleTable
        With CryoSPARC's names.
    split : bool
        Whether rows have half-sets.
    replaced : collection of str
        Columns that the rows bring themselves; None counts for nothing.
    components : int
        Of a shift: 3 of subtomograms.
    is_flipped : bool
        Turn y of micrograph coordinates round.

    Attributes
    ----------
    dropped : list of str
        Fields that have no label.
    warning : str
        About aberrations that are not converted; empty where there are none.
    """

    def __init__(
        self,
        source: ParticleTable,
        split: bool,
        replaced: Collection[str | None],
        components: int = 2,
        is_flipped: bool = True,
    ) -> None:
        super().__init__(source)
        fields = source.columns
        self._is_flipped = is_flipped
        _refuse_odd(source)
        in_groups = (GROUP, *_FIELD_OF_OPTICS.values())
        self._group_fields = [each for each in in_groups if each in fields]
        self._needs = {**_fields_by_label(fields), OPTICS_GROUP: tuple(self._group_fields)}
        self._groups = self._find_groups()
        origins = ORIGINS_A[:components]
        labels = (*self._needs, *ANGLES, *origins, *((SUBSET,) if split else ()))
        self._header = Header(self._head(labels), labels, b"\n")
        self.columns = {label: Column(_TEXT) for label in self._needs}
        if TUBE_ID in self._needs:
            self._tubes, self._tube_numbers = self._number_tubes()
        used = {*replaced, PSIZE, *FROM_ROWS, UID, *self._group_fields}
        used.update(field for needed in self._needs.values() for field in needed)
        lost = self._find_lost()
        self.warning = not_converted(self.path, lost, "RELION")
        self.dropped = [field for field in fields if field not in used and field not in lost]
        self._notes = self._find_notes()

    @property
    def header(self) -> Header:
        """Blocks and labels of RELION 3.1."""
        return self._header

    @property
    def notes(self) -> list[str]:
        """What RELION will miss, and which files it will look for under another name."""
        return self._notes

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        wanted = {field for name in names for field in self._needs[name]}
        found = self._source.read(sorted(wanted), start, stop)
        return {name: self._made(name, found, stop - start) for name in names}

    def _find_lost(self) -> list[str]:
        """Fields of aberrations that say that there are some."""
        columns = self._source.columns
        there = [field for field in UNMATCHED if field in columns]
        there = [field for field in there if columns[field].dtype.kind in "fiu"]
        lost: set[str] = set()
        for start, stop in blocks(self._source, there) if there else ():
            found = self._source.read(there, start, stop)
            lost.update(field for field, values in found.items() if values.any())
        return [field for field in there if field in lost]

    def _find_notes(self) -> list[str]:
        """What RELION will miss, and which files it will look for under another name."""
        notes = []
        fields = self._source.columns
        lacking = [label for label in _NEEDED_BY_RELION if _FIELD_OF_OPTICS[label] not in fields]
        if IMAGE not in self._needs:
            lacking.insert(0, IMAGE)
        if lacking:
            notes.append(
                f"{self.path}: nothing to make {', '.join(lacking)} of, which RELION needs: "
                "import the passthrough files too"
            )
        if IMAGE_PATH in fields:
            first = self._path(self._source.read([IMAGE_PATH], 0, 1)[IMAGE_PATH])[0]
            if first.endswith(b".mrc"):
                notes.append(
                    "stacks are named .mrcs, as RELION wants them: link or rename "
                    f"{first.decode(errors='replace')} and the like"
                )
        if "rlnCoordinateY" in self._needs:
            notes.append(_FLIPPED if self._is_flipped else _SAME)
        return notes

    def _made(self, name: str, found: Mapping[str, Array], rows: int) -> Array:
        """One column."""
        if name == IMAGE:
            path = self._path(found[IMAGE_PATH])
            stack = np.where(np.char.endswith(path, b".mrc"), np.char.add(path, b"s"), path)
            if IMAGE_INDEX not in found:
                return stack
            number = self._text(IMAGE_INDEX, found[IMAGE_INDEX] + 1.0, 0, _NAME_DIGITS)
            return np.char.add(np.char.add(number, b"@"), stack)
        if name == MICROGRAPH:
            return self._path(found[MICROGRAPH_PATH])
        if name == LABELS_LABEL:
            return found[LABELS]
        if name == OPTICS_GROUP:
            return self._text(GROUP, self._groups_of(found, rows), 0)
        if name == TUBE_ID:
            place = np.searchsorted(self._tubes, self._tubes_of(found)[1])
            return self._text(TUBE, self._tube_numbers[place], 0)
        if name in _NUMBERS:
            known = _NUMBERS[name]
            return self._text(known.field, known.to_relion(found[known.field]), known.decimals)
        x, y = FRACTIONS
        if name == "rlnCoordinateX":
            return self._text(x, found[x] * found[MICROGRAPH_SHAPE][:, 1], 6)
        part = 1 - found[y] if self._is_flipped else found[y]
        return self._text(y, part * found[MICROGRAPH_SHAPE][:, 0], 6)

    def _tubes_of(self, found: Mapping[str, Array]) -> tuple[Array, Array]:
        """Micrograph and tube of each row, as 64-bit numbers."""
        tube = found[TUBE].astype(np.uint64)
        micrograph = np.zeros(len(tube), np.uint64)
        if MICROGRAPH_PATH in found:
            micrograph = word_hash(self._path(found[MICROGRAPH_PATH]))
        return micrograph, mix_bits([micrograph, tube])

    def _number_tubes(self) -> tuple[Array, Array]:
        """All tubes, ascending, and the number of each on its micrograph, from 1."""
        names = list(self._needs[TUBE_ID])
        micrographs, tubes = [], []
        for start, stop in blocks(self._source, names):
            micrograph, tube = self._tubes_of(self._source.read(names, start, stop))
            first = np.sort(np.unique(tube, return_index=True)[1])
            micrographs.append(micrograph[first])
            tubes.append(tube[first])
        micrograph, tube = np.concatenate(micrographs), np.concatenate(tubes)
        known, first = np.unique(tube, return_index=True)
        order = np.lexsort((first, micrograph[first]))
        home = micrograph[first][order]
        starts = np.searchsorted(home, home, side="left")
        number = np.empty(len(known), np.int64)
        number[order] = np.arange(len(known)) - starts + 1
        return known, number

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
        path = np.char.lstrip(texts_as_bytes(words), b">")
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

    def _find_groups(self) -> "_Groups":
        """All optics groups."""
        kinds = [] if self._group_fields else [np.zeros((1, 1))]
        for start, stop in blocks(self._source, self._group_fields) if self._group_fields else ():
            found = self._source.read(self._group_fields, start, stop)
            if IMAGE_PSIZE in found:
                rows = np.arange(start, stop)
                refuse_no_length(found[IMAGE_PSIZE], IMAGE_PSIZE, rows, self._source)
            kinds.append(_different(self._optics_rows(found, stop - start)))
        return _Groups(np.concatenate(kinds))

    def _groups_of(self, found: Mapping[str, Array], rows: int) -> Array:
        """Optics group of each row."""
        return self._groups.numbers(self._optics_rows(found, rows))

    def _head(self, labels: Sequence[str]) -> bytes:
        """Blocks of RELION 3.1, up to the last label of the particles."""
        fields = {
            label: self._group_fields.index(field)
            for label, field in _FIELD_OF_OPTICS.items()
            if field in self._group_fields
        }
        optics = (OPTICS_GROUP, "rlnOpticsGroupName", *fields, "rlnImageDimensionality")
        form = " ".join(
            f"{{{place}:.{0 if _FIELD_OF_OPTICS[label] == IMAGE_SHAPE else 6}f}}"
            for label, place in fields.items()
        )
        lines = (
            " ".join(filter(None, (f"{number} opticsGroup{number}", form.format(*group), "2\n")))
            for number, group in enumerate(self._groups.kinds, start=1)
        )
        return "".join([_loop("optics", optics), *lines, "\n", _loop("particles", labels)]).encode()


def _different(rows: Array) -> Array:
    """Rows (n, fields) that differ, in ascending order."""
    rows = rows[np.lexsort(rows.T[::-1])]
    is_new = np.ones(len(rows), np.bool_)
    is_new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return rows[is_new]


class _Groups:
    """Kinds of rows, numbered from 1 in ascending order.

    Parameters
    ----------
    rows : (n, fields) float64

    Attributes
    ----------
    kinds : (groups, fields) float64
    """

    def __init__(self, rows: Array) -> None:
        self.kinds = _different(rows)
        self._steps: list[tuple[Array, Array]] = []
        rank = np.zeros(len(self.kinds), np.int64)
        for column in self.kinds.T:
            values = np.unique(column)
            pairs = rank * len(values) + np.searchsorted(values, column)
            known, rank = np.unique(pairs, return_inverse=True)
            self._steps.append((values, known))

    def numbers(self, rows: Array) -> Array:
        """Number of the kind of each row, (n,) int64; every row is of one of them."""
        rank = np.zeros(len(rows), np.int64)
        for column, (values, known) in zip(rows.T, self._steps, strict=True):
            rank = np.searchsorted(known, rank * len(values) + np.searchsorted(values, column))
        return rank + 1


def _loop(name: str, labels: Sequence[str]) -> str:
    """Head of a block."""
    named = "".join(f"_{label} #{place}\n" for place, label in enumerate(labels, start=1))
    return f"\n# version 30001\n\ndata_{name}\n\nloop_\n{named}"


def _fields_by_label(fields: Mapping[str, Column]) -> dict[str, tuple[str, ...]]:
    """Fields that each label of the particles is made of, in the order of the labels."""
    needs: dict[str, tuple[str, ...]] = {}
    has_tags = all(name in fields and not fields[name].shape for name in TAGS)
    has_tags = has_tags and [fields[name].dtype.kind for name in TAGS] == ["u", "u", "S"]
    for each in rows_of(PARTICLES):
        if each.field in TAGS and not has_tags:
            continue
        if each.field == IMAGE_INDEX:
            if IMAGE in needs and IMAGE_INDEX in fields:
                needs[IMAGE] = (IMAGE_PATH, IMAGE_INDEX)
        elif each.field == TUBE and TUBE in fields:
            needs[TUBE_ID] = tuple(field for field in each.fields if field in fields)
        elif each.field != GROUP and all(field in fields for field in each.fields):
            needs[each.label] = each.fields
    x, y = "rlnCoordinateX", "rlnCoordinateY"
    if (x in needs) != (y in needs):
        needs = {label: made for label, made in needs.items() if label not in (x, y)}
    return needs


def _refuse_odd(table: ParticleTable) -> None:
    """Refuse fields that are not what CryoSPARC has under their names."""
    for name, (kinds, shape) in _kinds().items():
        column = table.columns.get(name)
        if column and (column.dtype.kind not in kinds or column.shape != shape):
            raise SourceError(
                f"{table.path}: {name} is {column}, which is not what CryoSPARC has under that "
                "name: convert it, or leave it out"
            )


def _kinds() -> dict[str, tuple[str, tuple[int, ...]]]:
    """Kinds of type, and shape, that each field may have."""

    def kinds_of(each: Correspondence) -> str:
        if each.dtype.kind == "S":
            return "SO"
        return "fui" if each.dtype.kind == "f" or each.is_number else "ui"

    known = {
        each.field: (kinds_of(each), each.shape)
        for each in CORRESPONDENCES
        if each.field not in (*FROM_ROWS, *TAGS)
    }
    return {**known, MICROGRAPH_SHAPE: ("ui", (2,))}
