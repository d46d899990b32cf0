"""Which row of one set belongs to which row of another: keys, and how they meet."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.conversion.as_relion import AsRelion
from numba_symexp.errors import SourceError
from numba_symexp.formats.relion.labels import (
    COORDINATES_PX,
    IMAGE,
    MICROGRAPH,
)
from numba_symexp.particles.columns import expanded_by
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    OPERATOR_INDEX,
    OPERATOR_LABEL,
    SOURCE_INDEX,
    SOURCE_LABEL,
    UID,
)
from numba_symexp.particles.table import ParticleTable
from numba_symexp.particles.words import (
    mix_bits,
    numbers,
    texts_as_bytes,
    without_quotes,
    word_hash,
)
from numba_symexp.transfers.sets import PoseSet, WithSource

ORIGINAL_IMAGE = "rlnImageOriginalName"

_CS_COPY = ("sym_expand/src_uid", "sym_expand/idx")
_STAR_COPY = (SOURCE_LABEL, OPERATOR_LABEL)
_H5_COPY = (SOURCE_INDEX, OPERATOR_INDEX)
_COPIES = (_CS_COPY, _STAR_COPY, _H5_COPY)
_CS_IMAGE = ("blob/path", "blob/idx")
_CS_PLACE = ("location/micrograph_path", "location/center_x_frac", "location/center_y_frac")
_STAR_PLACE = (MICROGRAPH, *COORDINATES_PX[:2])

_ROWS_NAMED = 3


@dataclass(frozen=True)
class Key:
    """What names a row of a table.

    Attributes
    ----------
    table : ParticleTable
    columns : tuple of str
    make : callable
        Values of the columns, what they are called and the first row -> one number a row.
    by_row : bool
        Particles are told by their rows, which another set may have in another order.
    """

    table: ParticleTable
    columns: tuple[str, ...]
    make: Callable[[list[Array], str, int], Array]
    by_row: bool = False

    def __str__(self) -> str:
        return " and ".join(self.columns)

    def values(self) -> Array:
        """One number for each row, (N,) uint64."""
        found = np.empty(self.table.n_rows, np.uint64)
        names = list(self.columns)
        for start, stop in blocks(self.table, names):
            rows = self.table.read(names, start, stop)
            what = f"{self.table.path}: {' or '.join(names[1:] or names)}"
            found[start:stop] = self.make([rows[name] for name in names], what, start)
        return found


@dataclass(frozen=True)
class Joined:
    """Rows of two sets that belong together.

    Attributes
    ----------
    source, target : Key
        Columns that they are joined on.
    rows : (M,) int64
        Of the target, ascending.
    partners : (M,) int64
        Their rows of the source.
    """

    source: Key
    target: Key
    rows: Array
    partners: Array

    @property
    def names_copies(self) -> bool:
        """Whether the key has the number of the copy."""
        return self.source.columns in _COPIES

    @property
    def by_row(self) -> bool:
        """Whether particles are told by their rows."""
        return self.source.by_row or self.target.by_row

    def in_words(self) -> str:
        """Columns of both sets."""
        one, other = str(self.source), str(self.target)
        return one if one == other else f"{one} = {other}"


def join(source: PoseSet, target: PoseSet) -> Joined:
    """Find the row of the source for each row of the target.

    By the first of these that both sets have, and that joins at least one row: the particle's id
    and the number of the copy, in CryoSPARC's columns or this package's; ids, also of a .star that
    became a .cs; the particle's row and the operator; the original image of the source; the image;
    and, where no two rows share it, the place on the micrograph.

    Raises
    ------
    SourceError
        Nothing joins the sets; or a row of one belongs to several of the other.
    """
    tried: list[str] = []
    for one, other, must_be_unique in _ways(source.table, target.table):
        keys, wanted = one.values(), other.values()
        order = np.argsort(keys, kind="stable")
        known = keys[order]
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        rows = np.flatnonzero(known[place] == wanted)
        told = Joined(one, other, rows, order[place[rows]])
        if must_be_unique and (_has_double(known) or _has_double(np.sort(wanted))):
            tried.append(f"{told.in_words()} (several rows are at one place)")
            continue
        if not len(rows):
            tried.append(told.in_words())
            continue
        if _of_first_copies(told, len(keys), len(wanted)):
            tried.append(f"{told.in_words()} ({len(rows):,} rows have it)")
            continue
        _refuse_double(one, keys, wanted)
        _refuse_double(other, wanted, keys)
        _refuse_particle_for_copies(source, target, told)
        return told
    raise SourceError(_nothing_joins(source, target, tried))


def _ways(source: ParticleTable, target: ParticleTable) -> Iterator[tuple[Key, Key, bool]]:
    """Keys of both tables, and whether they must be unique in each, the surest first."""
    for one, other in itertools.product(_exported_copies(source), _exported_copies(target)):
        yield one, other, False
    if (source.header is None or target.header is None) and _both(source, target, (UID,)):
        yield Key(source, (UID,), _number_key), Key(target, (UID,), _number_key), False
    if _both(source, target, _H5_COPY):
        one, other = (Key(each, _H5_COPY, _copy_key, by_row=True) for each in (source, target))
        yield one, other, False
    image = _image_of(target)
    if image is not None and ORIGINAL_IMAGE in source.columns:
        yield Key(source, (ORIGINAL_IMAGE,), _image_key), image, False
    own = _image_of(source)
    if own is not None and image is not None:
        yield own, image, False
    yield from _places(source, target)


def _exported_copies(table: ParticleTable) -> Iterator[Key]:
    """Names of copies as they stand in a .cs or a .star, also of the table that these came from."""
    for names in (_CS_COPY, _STAR_COPY):
        if _has(table, names):
            yield Key(table, names, _copy_key)
    if not isinstance(table, WithSource):
        return
    particles = table.expanded.source
    has_ids = UID in particles.columns

    def make(columns: list[Array], what: str, start: int) -> Array:
        index = table.expanded.checked_sources(columns[0], start)
        if has_ids:
            index = particles.read_at([UID], index)[UID]
        return _copy_key([index, columns[1]], what, start)

    yield Key(table, _H5_COPY, make, by_row=not has_ids)


def _places(source: ParticleTable, target: ParticleTable) -> Iterator[tuple[Key, Key, bool]]:
    """Micrograph and coordinates, in the names of one program."""
    if source.header is None and target.header is None:
        if _both(source, target, _CS_PLACE):
            yield Key(source, _CS_PLACE, _place_key), Key(target, _CS_PLACE, _place_key), True
        return
    one, other = (each if each.header else AsRelion(each, False, ()) for each in (source, target))
    if _both(one, other, _STAR_PLACE):
        yield Key(one, _STAR_PLACE, _place_key), Key(other, _STAR_PLACE, _place_key), True


def _of_first_copies(told: Joined, *counts: int) -> bool:
    """Whether ids join a part of two sets whose copies have names that say more.

    The first copy has the id of its particle in every expansion, and the others have not.
    """
    if told.source.columns != (UID,) or len(told.rows) == min(counts):
        return False
    return _both(told.source.table, told.target.table, _H5_COPY)


def _has(table: ParticleTable, names: tuple[str, ...]) -> bool:
    """Whether a table has some columns, with one value a row that can be a name."""
    there = [table.columns[name] for name in names if name in table.columns]
    return len(there) == len(names) and all(
        not column.shape and column.dtype.kind in _kinds_of(name)
        for name, column in zip(names, there, strict=True)
    )


def _kinds_of(name: str) -> str:
    """Kinds of type that a column of names may have."""
    if name.startswith(("rln", "symexp")):
        return "S"
    if name.endswith("_path") or name.endswith("/path"):
        return "SO"
    return "f" if name.endswith("_frac") else "ui"


def _both(source: ParticleTable, target: ParticleTable, names: tuple[str, ...]) -> bool:
    """Whether both tables have some columns."""
    return _has(source, names) and _has(target, names)


def _image_of(table: ParticleTable) -> Key | None:
    """Image of a row: its number in a stack."""
    if _has(table, (IMAGE,)):
        return Key(table, (IMAGE,), _image_key)
    return Key(table, _CS_IMAGE, _stack_key) if _has(table, _CS_IMAGE) else None


def _copy_key(columns: list[Array], what: str, start: int) -> Array:
    """Particle, as a word, and number of the copy."""
    particle, copy = columns
    words = particle if particle.dtype.kind == "S" else particle.astype("S")
    return mix_bits([word_hash(without_quotes(words)), _as_number(copy, what, start)])


def _number_key(columns: list[Array], what: str, start: int) -> Array:
    """The number itself."""
    return columns[0].astype(np.uint64)


def _image_key(columns: list[Array], what: str, start: int) -> Array:
    """Number and stack of RELION's name of an image: ``000012@stack.mrcs``."""
    number, at, path = np.char.partition(without_quotes(columns[0]), b"@").T
    lone = at == b""
    path = np.where(lone, number, path)
    return mix_bits(
        [_path_hash(path), _as_number(np.where(lone, b"1", number).astype("S"), what, start)]
    )


def _stack_key(columns: list[Array], what: str, start: int) -> Array:
    """Stack and number of CryoSPARC's image, which counts from 0."""
    path, number = columns
    if path.dtype.hasobject:
        path = np.array([w if isinstance(w, bytes) else str(w).encode() for w in path])
    return mix_bits([_path_hash(path), _as_number(number, what, start) + np.uint64(1)])


def _place_key(columns: list[Array], what: str, start: int) -> Array:
    """Micrograph and coordinates; 1.0 and 1.00 are one number."""
    micrograph, *place = columns
    parts = [_path_hash(without_quotes(texts_as_bytes(micrograph)))]
    for each in place:
        value = numbers(each, what, start) if each.dtype.kind == "S" else each.astype(np.float64)
        parts.append((value + 0.0).view(np.uint64))
    return mix_bits(parts)


def _as_number(values: Array, what: str, start: int) -> Array:
    """Whole numbers of words or numbers."""
    if values.dtype.kind == "S":
        values = numbers(values, what, start)
    return values.astype(np.int64).view(np.uint64)


def _path_hash(path: Array) -> Array:
    """Hash of a path, without CryoSPARC's mark; stacks are .mrc or .mrcs."""
    path = np.char.lstrip(path, b">")
    stack = np.char.endswith(path, b".mrc")
    return word_hash(np.ascontiguousarray(np.where(stack, np.char.add(path, b"s"), path)))


def _has_double(ascending: Array) -> bool:
    """Whether a value stands twice."""
    return bool((ascending[1:] == ascending[:-1]).any())


def _refuse_double(key: Key, keys: Array, others: Array) -> None:
    """Refuse rows of one table that share a key which the other has too."""
    shared = np.flatnonzero(np.isin(keys, others))
    values, count = np.unique(keys[shared], return_counts=True)
    double = values[count > 1]
    if not len(double):
        return
    rows = np.flatnonzero(keys == keys[shared[np.argmax(np.isin(keys[shared], double))]])
    named = ", ".join(map(str, rows[:_ROWS_NAMED])) + (" ..." if len(rows) > _ROWS_NAMED else "")
    raise SourceError(
        f"{key.table.path}: rows {named} have the same {key} ({len(double):,} such value(s)), so "
        "which row belongs to which cannot be told: expand both sets with this program, whose "
        "copies have names of their own, or remove the duplicates"
    )


def _refuse_particle_for_copies(source: PoseSet, target: PoseSet, told: Joined) -> None:
    """Refuse copies that would go onto particles: only the first copy has its particle's id."""
    if told.names_copies or told.source.columns != (UID,):
        return
    if expanded_by(source.table) and not expanded_by(target.table):
        raise SourceError(
            f"{source.path}: is expanded, and {target.path} is not: expand that first, or take "
            "the copies back to their particles with collapse"
        )


def _nothing_joins(source: PoseSet, target: PoseSet, tried: list[str]) -> str:
    """Message about two sets that have nothing in common."""
    what = f"no row of it is one of {source.path}"
    why = f"looked for the same {'; '.join(tried)}" if tried else "they share no column of names"
    advice = "give sets of the same particles"
    if source.is_text != target.is_text:
        advice = "convert one of them first, with import or export, so that both have the same ids"
    return f"{target.path}: {what} ({why}): {advice}"
