"""What copies of one particle must not share in a .star: places on tracks, names of files."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.labels import MICROGRAPH, PARTICLE_NAME, TRACKS, TUBE_ID
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.table import ParticleTable
from numba_symexp.particles.words import as_bytes, mix_bits, numbers, word_hash

if TYPE_CHECKING:
    from numba_symexp.poses import Poses

_STEP = 0.001
"""How far on its track the mates of a box are set apart, in the column's unit.

RELION's helical refinement stops when two rows of one tube have the same place (to 1e-5). A mate's
place is its box's, since RELION's priors turn rot along the track: so it is moved by far less than
a box.
"""

_SAME = 1e-5


@dataclass(frozen=True)
class SubtomogramNames:
    """Names of the copies of subtomograms: RELION extracts each into a file of its name.

    Operator 0 keeps the particle's name, and operator 3 adds an ending: ``TS_01/12_g03``.

    Attributes
    ----------
    names : (n,) bytes
        Of the particles, each once.
    endings : (G, L) uint8
        Of each operator, filled up with NUL.
    """

    names: Array
    endings: Array

    @classmethod
    def of(cls, rows: "Poses", source: ParticleTable) -> "SubtomogramNames | None":
        """Endings for the particles of a table; None where they have no such names.

        Raises
        ------
        SourceError
            Two particles have one name, or a name stands in quotes.
        """
        operators = rows.operators
        if operators is None or PARTICLE_NAME not in source.columns:
            return None
        names = source.read([PARTICLE_NAME], 0, source.n_rows)[PARTICLE_NAME]
        _refuse_names(names, source.path)
        letters = "_g"
        while any(re.search(rb"[^g]%s\d+$" % letters.encode(), name) for name in names):
            letters += "g"  # they were expanded before
        digits = max(2, len(str(operators.full_order - 1)))
        endings = [
            f"{letters}{number:0{digits}}".encode() if number else b""
            for number in operators.full_index.tolist()
        ]
        return cls(names, as_bytes(np.array(endings)))


def _refuse_names(names: Array, path: str) -> None:
    """Refuse names of subtomograms that stand twice, or in quotes."""
    known, first = np.unique(names, return_index=True)
    if len(known) < len(names):
        again = int(np.setdiff1d(np.arange(len(names)), first)[0])
        name = names[again].decode(errors="replace")
        raise SourceError(
            f"{path}: _{PARTICLE_NAME} {name[:80]} stands in row {again} again: RELION would write "
            "both into one file; give each particle its own"
        )
    quoted = np.char.startswith(names, b'"') | np.char.startswith(names, b"'")
    if quoted.any():
        row = int(np.argmax(quoted))
        raise SourceError(
            f"{path}: _{PARTICLE_NAME} of row {row} has a quote, and is the name of a file: "
            "rename it"
        )


def track_label(labels: tuple[str, ...]) -> str | None:
    """Label of the places on tracks, if there is one."""
    return next((label for label in TRACKS if label in labels), None)


def refuse_same_places(table: ParticleTable, label: str, order: int) -> None:
    """Refuse a source whose mates would share a place with others of their tube.

    Parameters
    ----------
    table : ParticleTable
        With every label as text.
    label : str
        Of the places.
    order : int
        Number of operators; mate g lies ``g * _STEP`` further.

    Raises
    ------
    SourceError
        Names two such rows.
    """
    place, tube = np.empty(table.n_rows), np.empty(table.n_rows, np.uint64)
    names = [label, *(each for each in (MICROGRAPH, TUBE_ID) if each in table.columns)]
    for start, stop in blocks(table, names):
        words = table.read(names, start, stop)
        place[start:stop] = numbers(words[label], f"{table.path}: _{label}", start)
        parts = [word_hash(words[each]) for each in names[1:]]
        tube[start:stop] = mix_bits(parts) if parts else 0
    rows = np.lexsort((place, tube))
    span = (order - 1) * _STEP + _SAME
    for further in range(1, table.n_rows):
        one, other = rows[:-further], rows[further:]
        apart = place[other] - place[one]
        near = (tube[one] == tube[other]) & (apart < span)
        if not near.any():
            return
        steps = apart / _STEP
        same = near & (np.abs(steps - np.rint(steps)) * _STEP < 2 * _SAME)
        if same.any():
            found = int(np.argmax(same))
            raise SourceError(
                f"{table.path}: rows {one[found]} and {other[found]} of one tube have places on "
                f"their track (_{label}) so close that copies of them could not be told apart, "
                "and RELION's helical refinement would stop: repair them, or add "
                "keep_track_length=True"
            )


def set_apart(place: Array, operator: Array) -> Array:
    """Places of rows by their operator."""
    return place + _STEP * operator
