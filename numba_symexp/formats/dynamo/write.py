"""Write rows as a table of Dynamo."""

from typing import TYPE_CHECKING

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.dynamo.table import (
    ANGLES,
    LEAST_COLUMNS,
    MOST_TAG,
    OFFSETS,
    PARENT,
    TAG,
    DynamoReader,
    labels_of,
)
from numba_symexp.formats.words_write import Numbers, WordRows
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import POSE, SHIFT, SPLIT
from numba_symexp.particles.table import ParticleTable
from numba_symexp.particles.words import numbers

if TYPE_CHECKING:
    from numba_symexp.pose_block import Block
    from numba_symexp.poses import Poses

_DECIMALS = 6

_NEW_CROP = (
    "copies have tags of their own, and Dynamo reads the file that a tag names: crop them anew; "
    "otag is the particle's tag"
)


class DynamoRows(WordRows):
    """Rows as Dynamo has them: the words of the source, new angles, offsets and tags.

    Operator 0 keeps its particle's tag; the mates have new ones, behind the largest that there is.

    Parameters
    ----------
    rows : Poses
    source : ParticleTable
        With every column of Dynamo as text.

    Raises
    ------
    SourceError
        The particles came from no table of Dynamo.
    """

    def __init__(self, rows: "Poses", source: ParticleTable) -> None:
        super().__init__(rows, source)
        count = sum(label in source.columns for label in labels_of(len(source.columns)))
        self._labels = labels_of(count)
        missing = [label for label in self._labels if label not in source.columns]
        if count < LEAST_COLUMNS or missing or rows.components != 3:
            raise SourceError(
                f"{source.path}: has not the columns of a table of Dynamo: write a .star"
            )
        self._reader = DynamoReader()
        if rows.has_split:
            self.dropped.append(SPLIT)
        self._operators = rows.operators
        if self._operators is not None and len(self._operators) > 1:
            self.notes.append(_NEW_CROP)
        self._largest_tag = 0.0
        for start, stop in blocks(source, [TAG]):
            tags = numbers(source.read([TAG], start, stop)[TAG], f"{source.path}: {TAG}", start)
            self._largest_tag = max(self._largest_tag, float(tags.max()))
        mates = source.n_rows * (0 if self._operators is None else self._operators.full_order - 1)
        if self._largest_tag + mates >= MOST_TAG:
            raise SourceError(
                f"{source.path}: column 1 (tag) goes to {self._largest_tag:.0f}, and new tags "
                f"would be over {MOST_TAG:.0f}: number the particles from 1"
            )

    def _new_numbers(self, block: "Block", source: dict[str, Array]) -> dict[str, Numbers]:
        """Angles, offsets and tags of rows."""
        rot, tilt, psi = convert(block.rotvec, "rotvec", "euler_zyz").T
        new: dict[str, Numbers] = {}
        for labels, values in (
            (ANGLES, (psi - 90, tilt, rot + 90)),
            (OFFSETS, -block.shift.astype(np.float64).T),
        ):
            kept = self._unchanged(POSE if labels is ANGLES else SHIFT, block, source)
            for label, each in zip(labels, values, strict=True):
                self._refuse_large(each, f"a number of {label}")
                new[label] = Numbers(each, _DECIMALS, kept)
        if self._operators is not None:
            own = self._numbers_of(TAG, block, source)
            copy = self._operators.full_index.astype(np.float64)[block.operator]
            steps = block.source_rows.astype(np.float64) * (self._operators.full_order - 1)
            tag = np.where(copy == 0, own, self._largest_tag + steps + copy)
            new[TAG] = Numbers(tag, 0, copy == 0)
            new[PARENT] = Numbers(own, 0, np.zeros(len(block), np.bool_))
        return new

    def _unchanged(self, name: str, block: "Block", source: dict[str, Array]) -> Array:
        """Rows whose pose, or whose shift, is what the words of their source say."""
        values = block.rotvec if name == POSE else block.shift
        first, count = int(block.sources[0]), len(block.sources)
        told = self._reader.make(name, source, first, first + count, self._source.path)
        return np.asarray((told[block.index] == values).all(axis=1))
