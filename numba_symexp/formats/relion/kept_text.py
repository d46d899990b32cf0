"""What a table of RELION's particles keeps of its .star file, in the HDF5 group /star."""

import h5py
import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.formats.hdf5.table import Hdf5Table
from numba_symexp.formats.relion.text import StarText
from numba_symexp.particles.table import ParticleTable

_GROUP = "star"
_HEAD, _LABELS, _TAIL = "head", "labels", "tail"


def write_star_text(file: h5py.File, text: StarText) -> None:
    """Keep the text of a .star file."""
    group = file.create_group(_GROUP)
    for name, words in ((_HEAD, text.head), (_TAIL, text.tail)):
        group[name] = np.frombuffer(words, np.uint8)
    group[_LABELS] = np.array([label.encode() for label in text.labels])


def star_text(table: ParticleTable) -> StarText | None:
    """Text of the .star file that a table came from, or None when it came from none.

    Raises
    ------
    SourceError
        What was kept is damaged.
    """
    from numba_symexp.formats.relion.table import StarTable  # needs the compiler

    if isinstance(table, StarTable):
        return table.text
    if not isinstance(table, Hdf5Table):
        return None
    with table.reading("its .star text"):
        if not isinstance(table.file.get(_GROUP, getlink=True), h5py.HardLink):
            return None
        group = table.file[_GROUP]
        head, tail = (group[name][()].tobytes() for name in (_HEAD, _TAIL))
        labels = tuple(label.decode() for label in group[_LABELS][()])
    for label in labels:
        column = table.columns.get(label)
        if column is None or column.shape or column.dtype.kind != "S":
            raise SourceError(
                f"{table.path}: column {label[:40]} of its .star file is missing, or no text: "
                "import it again"
            )
    return StarText(head, labels, tail)
