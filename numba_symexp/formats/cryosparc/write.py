"""Write rows as a CryoSPARC dataset."""

import functools
import hashlib
import io
import os
import re
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.background import WriteBehind
from numba_symexp.errors import SourceError
from numba_symexp.formats.cryosparc.slots import (
    SLOT,
    Slot,
    further_slots,
    slots_in_place,
    why_left_out,
)
from numba_symexp.formats.cryosparc.table import BELONGS_TO
from numba_symexp.formats.micrographs import FRACTIONS, Micrographs
from numba_symexp.output import timestamp
from numba_symexp.particles.coordinate_choice import KEPT, CoordinateChoice
from numba_symexp.particles.findings import refuse_no_length
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    BLOB_PSIZE,
    CONVENTION_FIELD,
    CRYOSPARC_EXPANDED,
    HALF_SET_DTYPE,
    POSE,
    PSIZE,
    SHIFT,
    SPLIT,
    UID,
    UID_DTYPE,
)
from numba_symexp.particles.table import CRYOSPARC, Column, ParticleTable, in_short
from numba_symexp.particles.words import mix_bits, word_hash
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import Helix

if TYPE_CHECKING:
    from numba_symexp.pose_block import Block
    from numba_symexp.poses import Poses

_VERSION = "v2.15.0"
"""Oldest version of CryoSPARC whose result groups look like this."""

_TELLING: tuple[tuple[str, ...], ...] = (
    ("blob/path", "blob/idx"),
    ("location/micrograph_path", "location/center_x_frac", "location/center_y_frac"),
)
"""Fields that tell one particle from another."""

_SOURCE_UID, _OPERATOR = "sym_expand/src_uid", "sym_expand/idx"

_PIXEL_SIZE = "/psize_A"
"""Ends the names of columns with the pixel size of images or of their shifts."""

_OWN = {
    UID: Column(UID_DTYPE),
    POSE: Column(np.dtype("<f4"), (3,)),
    SHIFT: Column(np.dtype("<f4"), (2,)),
}
"""Columns that every dataset of aligned particles has."""


class CsRows:
    """Rows as CryoSPARC has them: all fields of the source, and those of its own expansion.

    Parameters
    ----------
    rows : Poses
    source : ParticleTable
        The rest of the fields, in CryoSPARC's names.
    choice : CoordinateChoice
        Whether shifts are baked into places on micrographs.

    Attributes
    ----------
    dtype : dtype
        Of a row.
    dropped : list of str
        Columns that a dataset cannot hold.
    notes : list of str
        What a user should know.
    size : int
        Bytes of all rows.
    """

    def __init__(
        self,
        rows: "Poses",
        source: ParticleTable,
        choice: CoordinateChoice = KEPT,
    ) -> None:
        self._rows, self._source = rows, source
        self._micrographs = Micrographs.of(rows, choice, table=source) if choice.recenter else None
        self.dropped = [name for name, each in source.columns.items() if each.dtype.hasobject]
        columns = {UID: _OWN[UID], **source.columns}
        for name in self.dropped:
            del columns[name]
        for name in rows.replaced - {POSE, SHIFT}:  # poses of another form, or under another name
            if not (rows.operators and name.startswith(SLOT)):
                columns.pop(name, None)
        for name, each in _OWN.items():
            if name not in columns or columns[name].shape != each.shape:
                columns[name] = each
        self.notes: list[str] = []
        self._slots = self._further_poses(columns)
        self._moving = self._further_shifts(columns)
        self._constants: dict[str, Any] = {}
        self._made_psize = rows.psize_given_A is not None or self._psize_of_a_slot()
        if self._made_psize and PSIZE not in columns:
            columns[PSIZE] = Column(np.dtype("<f4"))
        if rows.has_split and SPLIT not in columns:
            columns[SPLIT] = Column(HALF_SET_DTYPE)
        self._tells_copies = rows.operators is not None and len(rows.operators) > 1
        if rows.operators and self._tells_copies:
            columns = {n: c for n, c in columns.items() if not n.startswith(CRYOSPARC_EXPANDED)}
            constants = _expansion_of(rows.operators)
            columns[_SOURCE_UID] = Column(UID_DTYPE)
            columns[_OPERATOR] = Column(np.dtype("<u4"))
            columns.update({name: Column(value.dtype) for name, value in constants.items()})
            self._constants.update(constants)
        if rows.needs_mark(CRYOSPARC, source):
            self._constants[CONVENTION_FIELD] = np.array(rows.convention.encode())
            columns[CONVENTION_FIELD] = Column(self._constants[CONVENTION_FIELD].dtype)
        self.dtype = np.dtype([(n, c.dtype.str, c.shape) for n, c in columns.items()])
        self.size = len(rows) * self.dtype.itemsize
        made = {UID, POSE, SHIFT, *self._constants, *rows.defocus}
        if self._tells_copies:
            made |= {_SOURCE_UID, _OPERATOR}
        made.update(name for slot in self._slots for name in slot.columns)
        if rows.has_split:
            made.add(SPLIT)
        if self._made_psize:
            made.add(PSIZE)
        self._copied = [name for name in columns if name not in made]
        self._digest = hashlib.sha256()

    def _psize_of_a_slot(self) -> bool:
        """Whether the pixels of the shifts are those of another column than CryoSPARC's."""
        name, operators = self._rows.psize_column, self._rows.operators
        moved = operators is not None and operators.moves
        return name not in (None, PSIZE) and (name != BLOB_PSIZE or moved)

    def _further_poses(self, columns: dict[str, Column]) -> list[Slot]:
        """Slots with further 3D poses, which turn with the copies; others are dropped."""
        operators = self._rows.operators
        if operators is None:
            return []
        slots, gone = further_slots(columns, operators)
        self.notes += why_left_out(gone, columns)
        for name in gone:
            del columns[name]
        return slots

    def _further_shifts(self, columns: dict[str, Column]) -> dict[str, str]:
        """Shifts that move with boxes that are cut anew; those that cannot are dropped."""
        if self._micrographs is None:
            return {}
        moving, gone = slots_in_place(columns)
        if gone:
            told = in_short(gone, columns)
            self.notes.append(f"left out, since the boxes move: {told}")
        for name in gone:
            del columns[name]
        self._slots = [slot for slot in self._slots if slot.pose not in gone]
        self.notes.append(
            "location/ has the new places on the micrographs, in whole pixels (the rest is in the "
            "shifts): extract the particles again"
        )
        return moving

    @functools.cached_property
    def _ids(self) -> Array:
        """Ids of all particles of a table that has none, never 0 and all different.

        Of the image's name and number; else of the micrograph and the place on it; else of the
        pose and the shift: the same particle keeps its id when other columns change.
        """
        columns = self._source.columns
        pose = (self._rows.columns.pose, self._rows.columns.shift)
        telling = (each for each in _TELLING if all(name in columns for name in each))
        chosen: tuple[str, ...] = next(telling, pose)
        names = [name for name in chosen if name in columns and not columns[name].dtype.hasobject]
        ids = np.zeros(self._source.n_rows, np.uint64)
        for start, stop in blocks(self._source, names) if names else ():
            parts = []
            for name, values in self._source.read(names, start, stop).items():
                if columns[name].dtype.kind == "S":
                    parts.append(word_hash(values))
                else:  # 0 and -0 are one number
                    numbers = values.reshape(len(values), -1).astype(np.float64) + 0.0
                    parts += list(np.ascontiguousarray(numbers.T).view(np.uint64))
            ids[start:stop] = mix_bits(parts)
        if len(np.unique(ids)) < len(ids):
            ids = mix_bits([ids, np.arange(1, len(ids) + 1, dtype=np.uint64)])
        return np.where(ids == 0, np.uint64(1), ids)

    def companion(self, name: str) -> bytes:
        """Text of the result group that belongs beside the dataset."""
        fields = self.dtype.names or ()
        return _result_group(name, self._digest.hexdigest(), fields, len(self._rows)).encode()

    def write(self, file: BinaryIO) -> Generator[int, None, None]:
        """Write the whole dataset as NumPy writes it; yields how many rows are done."""
        header = self._header()
        self._digest = hashlib.sha256(header)
        file.write(header)
        done = 0
        with WriteBehind(file, self._digest) as behind:
            for block in self._rows.exported():
                size = len(block) * self.dtype.itemsize
                buffer = behind.free(size)
                self._fill_rows(buffer[:size].view(self.dtype), block)
                behind.submit(buffer, size)
                done += len(block)
                yield done

    def _header(self) -> bytes:
        """Header of a NumPy file, in the oldest version that holds it."""
        descr = np.lib.format.dtype_to_descr(self.dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (len(self._rows),)}
        text = io.BytesIO()
        try:
            np.lib.format.write_array_header_1_0(text, header)
        except UnicodeEncodeError:  # names with letters beyond Latin 1
            return _header_3_0(header)
        except ValueError:  # more than 64 KiB of field names
            np.lib.format.write_array_header_2_0(text, header)
        return text.getvalue()

    def _fill_rows(self, out: Array, block: "Block") -> None:
        """Fill the rows of a block: with those of their sources, and then what is their own."""
        sources, ids = self._of_sources(block)
        sources.take(block.index, out=out, mode="clip")  # the one mode that makes no copy
        for name, values in {POSE: block.rotvec, SHIFT: block.shift, **block.defocus}.items():
            self._fill(out, name, values)
        if self._made_psize:
            self._fill(out, PSIZE, np.asarray(block.psize_A))
        if self._slots:
            self._turn_slots(out, block)
        if self._micrographs:
            self._bake(self._micrographs, out, block)
        if block.split is not None:
            out[SPLIT] = block.split
        operators, own = self._rows.operators, ids[block.index]
        if block.uid is not None:
            out[UID] = block.uid
        else:  # a table without ids: operator 0 has its particle's, the mates have mixes of it
            copy = (operators.full_index if operators else np.zeros(1))[block.operator]
            copy = copy.astype(np.uint64)
            out[UID] = np.where(copy == 0, own, mix_bits([own.astype(np.uint64), copy]))
        if self._tells_copies:
            out[_SOURCE_UID], out[_OPERATOR] = own, block.operator

    def _of_sources(self, block: "Block") -> tuple[Array, Array]:
        """What the copies of each source have in common, as rows; and the ids of the sources."""
        out = np.zeros(len(block.sources), self.dtype)
        known = [UID] if UID in self._source.columns else []
        source = self._source.read_at([*self._copied, *known], block.sources)
        for name in self._copied:
            if name.endswith(_PIXEL_SIZE):
                refuse_no_length(source[name], name, block.sources, self._source)
            self._fill(out, name, source[name])
        for name, value in self._constants.items():
            out[name] = value
        return out, source[UID] if known else self._ids[block.sources]

    def _turn_slots(self, out: Array, block: "Block") -> None:
        """Fill further poses and shifts, each turned and moved by the operator of its row."""
        operators = self._rows.operators
        if operators is None:
            return
        names = [name for slot in self._slots for name in slot.needed]
        source = self._source.read_at(names, block.sources)
        for slot in self._slots:
            rows = {name: source[name][block.index] for name in slot.needed}
            for name, values in slot.turned(rows, operators, block.operator).items():
                self._fill(out, name, values)

    def _bake(self, micrographs: Micrographs, out: Array, block: "Block") -> None:
        """Take whole pixels of micrographs out of all shifts, and move the places by them."""
        whole_px, taken_A = micrographs.taken(block)
        place = micrographs.places_px(block.sources)[block.index] - whole_px
        size = micrographs.sizes_px(block.sources)[block.index]
        for k, name in enumerate(FRACTIONS):
            self._fill(
                out, name, np.where(whole_px[:, k] == 0, out[name], place[:, k] / size[:, k])
            )
        left = block.shift_A - taken_A
        psize_A = np.ones(1) if block.psize_A is None else block.psize_A
        still = taken_A == 0
        self._fill(out, SHIFT, np.where(still, block.shift, left / psize_A[:, None]))
        for name, psize in self._moving.items():
            size_A = out[psize].astype(np.float64)
            move = (taken_A / size_A[:, None]).reshape(len(block), *(1,) * (out[name].ndim - 2), 2)
            self._fill(out, name, out[name] - move)

    def _fill(self, out: Array, name: str, values: Array) -> None:
        """Fill one field, in whose type the values must fit."""
        with np.errstate(over="ignore"):
            out[name] = values
        if values.dtype.kind != "f":
            return
        lost = ~np.isfinite(out[name])
        if name not in (POSE, SHIFT):  # where NaN may have a meaning
            lost &= np.isfinite(values)
        if lost.any():
            raise SourceError(
                f"{self._source.path}: a number of {name} is NaN, or too large for "
                f"{out.dtype[name].base}: repair it"
            )


def _expansion_of(operators: Operators) -> dict[str, Any]:
    """Fields of CryoSPARC's Symmetry Expansion that are the same for all rows."""
    symmetry = operators.symmetry
    twist_deg = rise_A = 0.0
    if isinstance(symmetry, Helix):
        twist_deg, rise_A = symmetry.twist_deg, symmetry.rise_A
    rises = len(np.unique(operators.rise_index)) if symmetry.is_helix else 0
    return {
        "sym_expand/symmetry": np.array(str(symmetry.group or symmetry).encode()),
        "sym_expand/is_helix": np.uint32(symmetry.is_helix),
        "sym_expand/helix_twist_rad": np.float32(np.deg2rad(twist_deg)),
        "sym_expand/helix_rise_A": np.float32(rise_A),
        "sym_expand/helix_num_rises": np.uint32(rises),
    }


def _header_3_0(header: dict[str, Any]) -> bytes:
    """Header in UTF-8 (NEP 1, version 3.0), for which NumPy has no public function."""
    text = repr(header).encode()
    begin = np.lib.format.magic(3, 0)
    padding = -(len(begin) + 4 + len(text) + 1) % np.lib.format.ARRAY_ALIGN
    text += b" " * padding + b"\n"
    return begin + len(text).to_bytes(4, "little") + text


def _result_group(name: str, digest: str, fields: Sequence[str], rows: int) -> str:
    """Text of a result group of particles, for CryoSPARC's Import Result Group.

    Parameters
    ----------
    name : str
        Path of the dataset; only its last part is written, since both files stand in one folder.
    digest : str
        SHA-256 of the dataset, in hexadecimal figures.
    fields : sequence of str
        Of the dataset.
    rows : int
        Of the dataset.
    """
    created = timestamp().rstrip("Z").replace("T", " ")
    lines = [
        f"created: {created}.000000",
        "group:",
        "  description: All particles that were expanded, including alignments",
        "  name: particles",
        "  title: All particles",
        "  type: particle",
        "results:",
    ]
    metafile = ">" + os.path.basename(name)
    named = [field for field in fields if "/" in field and field != CONVENTION_FIELD]
    for slot in sorted({field.partition("/")[0] for field in named}):
        lines += [
            f"  {_quoted(slot)}:",
            f"    metafile: {_quoted(metafile)}",
            f"    num_items: {rows}",
            f"    type: particle.{slot_type(slot)}",
        ]
    lines += [f"version: {_VERSION}", f"{BELONGS_TO}{digest}, {rows} rows", ""]
    return "\n".join(lines)


def slot_type(slot: str) -> str:
    """Type of a slot: slots of several classes share one."""
    return re.sub(r"^alignments_class_\d+$", "alignments3D", slot)


def _quoted(text: str) -> str:
    """Text in YAML: plain where it is a name, else in single quotes."""
    return text if re.fullmatch(r"[A-Za-z_]\w*", text) else "'" + text.replace("'", "''") + "'"
