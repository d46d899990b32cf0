"""Columns by which rows that came back are found again in the particles."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.conversion.as_relion import AsRelion
from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.labels import IMAGE, MICROGRAPH
from numba_symexp.particles.schema import DYNAMO_PARENT, DYNAMO_TAG, SOURCE_LABEL, UID
from numba_symexp.particles.table import DYNAMO, ParticleTable
from numba_symexp.particles.words import mix_bits, numbers, word_hash

_CS_SOURCE = "sym_expand/src_uid"
_ORIGINAL, _TOMOGRAM = "rlnImageOriginalName", "rlnTomoName"
_COORDINATES = ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
STEPS = np.array(sorted(itertools.product((0, -1, 1), repeat=3), key=np.count_nonzero))
"""Whole pixels by which coordinates may differ."""


@dataclass(frozen=True)
class Link:
    """Columns by which rows that came back are found again in the source.

    Attributes
    ----------
    labels : tuple of str
        Columns of the rows.
    source : ParticleTable
        With the columns ``of_source``.
    of_source : tuple of str
    whole_px : bool
        Coordinates may differ by a pixel.
    as_words : bool
        Rows have the id of their particle as a word, or its row where ``of_source`` is empty.
    as_numbers : bool
        Rows have a number of their particle as a word.
    """

    labels: tuple[str, ...]
    source: ParticleTable
    of_source: tuple[str, ...]
    whole_px: bool = False
    as_words: bool = False
    as_numbers: bool = False

    def keys(
        self, table: ParticleTable, names: Sequence[str], start: int, stop: int, step: Array
    ) -> Array:
        """One number of each row: a hash of names and numbers, or the id that it is."""
        found = table.read(names, start, stop)
        if self.as_words:
            words = found[names[0]] if names else np.arange(start, stop)
            return word_hash(words if words.dtype.kind == "S" else words.astype("S"))
        if self.as_numbers:
            return (numbers(found[names[0]], f"{table.path}: {names[0]}", start) + 0.0).view(
                np.uint64
            )
        if len(names) == 1 and found[names[0]].dtype.kind in "ui":
            return found[names[0]].astype(np.uint64)
        parts = [word_hash(found[names[0]])]
        for place, name in enumerate(names[1:]):
            value = numbers(found[name], f"{table.path}: _{name}", start)
            whole = np.rint(value).astype(np.int64) + int(step[place])
            parts.append((whole if self.whole_px else value).view(np.uint64))
        return mix_bits(parts) if len(parts) > 1 else parts[0]


def links_between(table: ParticleTable, source: ParticleTable) -> list[Link]:
    """Ways to find rows again in the particles, the surest first.

    Raises
    ------
    SourceError
        There is none.
    """
    if table.vocabulary == DYNAMO:
        return [_link_of_dynamo(table, source)]
    if table.header is None:
        name = _CS_SOURCE if _CS_SOURCE in table.columns else UID
        if UID not in source.columns:
            raise SourceError(f"{source.path}: has no {UID}, by which rows could be found again")
        return [Link((name,), source, (UID,))]
    own, particles, ids = table.columns, source, ((UID,) if UID in source.columns else ())
    if source.header is None:
        source = AsRelion(source, False, ())
    links = []
    if SOURCE_LABEL in own:
        links.append(Link((SOURCE_LABEL,), particles, ids, as_words=True))
    names = [each for each in (_ORIGINAL, IMAGE) if each in own and IMAGE in source.columns]
    links += [Link((name,), source, (IMAGE,)) for name in names]
    both = own.keys() & source.columns.keys()
    where = next((each for each in (_TOMOGRAM, MICROGRAPH) if each in both), None)
    place = tuple(each for each in _COORDINATES if each in both)
    if where is not None and place:
        links += [Link((where, *place), source, (where, *place), whole) for whole in (False, True)]
    if not links:
        raise SourceError(
            f"{table.path}: nothing tells whose copies its rows are: neither image names "
            f"(_{IMAGE}, _{_ORIGINAL}) nor micrographs with coordinates, in it and in "
            f"{source.path}"
        )
    return links


def _link_of_dynamo(table: ParticleTable, source: ParticleTable) -> Link:
    """Link the parent's tag, which copies have, to the tag."""
    if source.vocabulary != DYNAMO:
        raise SourceError(
            f"{source.path}: is no table of Dynamo, and {table.path} is one: "
            "bring the copies back in the format of the particles"
        )
    return Link((DYNAMO_PARENT,), source, (DYNAMO_TAG,), as_numbers=True)
