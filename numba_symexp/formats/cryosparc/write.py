"""Write rows as a CryoSPARC dataset."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from numba_symexp.conversion.export_rows import Block, ExportRows
from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.words import mixed
from numba_symexp.particles.schema import (
    CRYOSPARC_EXPANDED,
    HALF_SET_DTYPE,
    POSE,
    PSIZE,
    SHIFT,
    SPLIT,
    UID,
    UID_DTYPE,
)
from numba_symexp.particles.table import Column, ParticleTable
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import Helix
from numba_symexp.types import Array

_SOURCE_UID, _OPERATOR = "sym_expand/src_uid", "sym_expand/idx"

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
    rows : ExportRows
    source : ParticleTable
        The rest of the fields, in CryoSPARC's names.

    Attributes
    ----------
    dtype : dtype
        Of a row.
    dropped : list of str
        Columns that a dataset cannot hold.
    """

    def __init__(self, rows: ExportRows, source: ParticleTable) -> None:
        self._rows, self._source = rows, source
        self.dropped = [name for name, each in source.columns.items() if each.dtype.hasobject]
        columns = {UID: _OWN[UID], **source.columns}
        for name in self.dropped:
            del columns[name]
        for name in rows.replaced - {POSE, SHIFT}:  # poses of another form, or under another name
            columns.pop(name, None)
        for name, each in _OWN.items():
            if name not in columns or columns[name].shape != each.shape:
                columns[name] = each
        self._constants: dict[str, Any] = {}
        if PSIZE not in columns and rows.psize_given_A:
            columns[PSIZE] = Column(np.dtype("<f4"))
            self._constants[PSIZE] = rows.psize_given_A
        if rows.has_split and SPLIT not in columns:
            columns[SPLIT] = Column(HALF_SET_DTYPE)
        if rows.operators:
            columns = {n: c for n, c in columns.items() if not n.startswith(CRYOSPARC_EXPANDED)}
            constants = _expansion_of(rows.operators)
            columns[_SOURCE_UID] = Column(UID_DTYPE)
            columns[_OPERATOR] = Column(np.dtype("<u4"))
            columns.update({name: Column(value.dtype) for name, value in constants.items()})
            self._constants.update(constants)
        self.dtype = np.dtype([(n, c.dtype.str, c.shape) for n, c in columns.items()])
        made = {UID, POSE, SHIFT, _SOURCE_UID, _OPERATOR, *self._constants, *rows.defocus}
        if rows.has_split:
            made.add(SPLIT)
        self._copied = [name for name in columns if name not in made]

    def write(self, file: BinaryIO) -> Iterator[int]:
        """Write the whole dataset as NumPy writes it; yields how many rows are done."""
        descr = np.lib.format.dtype_to_descr(self.dtype)
        _write_header(file, {"descr": descr, "fortran_order": False, "shape": (len(self._rows),)})
        done = 0
        for block in self._rows.blocks():
            file.write(self._filled(block).tobytes())
            done += len(block.index)
            yield done

    def _filled(self, block: Block) -> Array:
        """Rows of a block."""
        out = np.zeros(len(block.index), self.dtype)
        known = [UID] if UID in self._source.columns else []
        source = self._source.read_at([*self._copied, *known], block.sources)
        for name in self._copied:
            self._fill(out, name, source[name][block.index])
        for name, value in self._constants.items():
            out[name] = value
        for name, values in {POSE: block.pose, SHIFT: block.shift, **block.defocus}.items():
            self._fill(out, name, values)
        if block.split is not None:
            out[SPLIT] = block.split
        operators = self._rows.operators
        order = np.uint64(operators.full_order if operators else 1)
        first = block.sources[block.index].astype(np.uint64) * order
        own = source[UID][block.index] if known else mixed([first])
        if block.uid is not None:
            out[UID] = block.uid
        else:  # a table without ids: those of its rows are a mix of their number, all different
            copy = operators.full_index[block.operator] if operators else block.operator
            out[UID] = mixed([first + copy])
        if operators:
            out[_SOURCE_UID], out[_OPERATOR] = own, block.operator
        return out

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


def _write_header(file: BinaryIO, header: dict[str, Any]) -> None:
    """Write the header of a NumPy file in the oldest version that holds it."""
    try:
        np.lib.format.write_array_header_1_0(file, header)
    except ValueError:  # more than 64 KiB of field names
        np.lib.format.write_array_header_2_0(file, header)
