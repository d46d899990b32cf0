"""Places of boxes on helical tracks, told apart where a particle has become many rows.

RELION's helical refinement stops when two rows of one tube have the same place (to 1e-5). A mate's
place is its box's, since RELION's priors turn rot along the track: so it is moved by far less than
a box, and only to be told apart.
"""

import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.labels import MICROGRAPH, TRACKS, TUBE_ID
from numba_symexp.formats.relion.words import mixed, numbers, word_hash
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.table import ParticleTable
from numba_symexp.types import Array

STEP = 0.001
"""How far the mates of a box lie apart, in the column's unit."""

DECIMALS = 6

_SAME = 1e-5


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
        Number of operators; mate g lies ``g * STEP`` further.

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
        tube[start:stop] = mixed(parts) if parts else 0
    rows = np.lexsort((place, tube))
    span = (order - 1) * STEP + _SAME
    for further in range(1, table.n_rows):
        one, other = rows[:-further], rows[further:]
        apart = place[other] - place[one]
        near = (tube[one] == tube[other]) & (apart < span)
        if not near.any():
            return
        steps = apart / STEP
        same = near & (np.abs(steps - np.rint(steps)) * STEP < 2 * _SAME)
        if same.any():
            found = int(np.argmax(same))
            raise SourceError(
                f"{table.path}: rows {one[found]} and {other[found]} of one tube have places on "
                f"their track (_{label}) so close that copies of them could not be told apart, "
                "and RELION's helical refinement would stop: repair them, or add "
                "keep_track_length=True"
            )


def told_apart(place: Array, operator: Array) -> Array:
    """Places of rows by their operator."""
    return place + STEP * operator
