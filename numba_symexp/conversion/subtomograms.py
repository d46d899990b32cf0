"""Subtomograms of one program for another: RELION, Dynamo, M.

Each particle comes with its whole pose, and with its place in the tomogram: A_full = A_sub A, and
coordinate - A_sub o in RELION. The other program gets that place as its coordinate, and no offset.
Symmetry moves it as it would have moved the particle: A_sub (o - A t) = A_sub o - A_full t.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.conversion.placed_subtomograms import (
    CLASS,
    COORDINATES,
    DYNAMO_PLACES,
    M_PLACES,
    UNBINNED,
    M,
    placed_of,
    program_of,
)
from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.formats.dynamo.table import ANGLES as DYNAMO_ANGLES
from numba_symexp.formats.dynamo.table import APIX, labels_of
from numba_symexp.formats.interface import Format
from numba_symexp.formats.relion.labels import ANGLES as RELION_ANGLES
from numba_symexp.formats.relion.labels import (
    M_SOURCES,
    PARTICLE_NAME,
    PIXEL_SIZE,
    SUBSET,
    TOMO_NAME,
)
from numba_symexp.formats.relion.labels import ORIGINS_A as RELION_ORIGINS
from numba_symexp.formats.relion.m_labels import MReader
from numba_symexp.formats.relion.text import OPTICS_GROUP
from numba_symexp.kernels.codecs import convert
from numba_symexp.kernels.text import LARGEST, number_width, write_numbers
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import (
    DYNAMO_TAG,
    HALF_SET_DTYPE,
    POSE,
    PSIZE,
    SHIFT,
    SPLIT,
    UID,
    UID_DTYPE,
)
from numba_symexp.particles.table import (
    DYNAMO,
    RELION,
    Column,
    Header,
    ParticleTable,
    TableView,
    in_short,
)
from numba_symexp.particles.words import as_bytes, numbers, without_quotes

_F8 = np.dtype("<f8")
_TEXT = np.dtype("S")


_MOST_TOMOGRAMS = 1 << 20

_SAME_PSIZE = 1e-6

_NOT_IN_NAMES = (b" ", b"\t", b"'", b'"', b"#")


class SubtomogramsAs(TableView):
    """Subtomograms of one program under another program's names.

    Parameters
    ----------
    source : ParticleTable
        Of RELION, Dynamo or M, with every label as text.
    target : {"relion", "dynamo", "m"}
    psize_A : float, optional
        A per pixel, where the source says none.

    Attributes
    ----------
    dropped : list of str
        Columns that the other program has no place for.

    Raises
    ------
    SourceError
        The source lacks what the other program needs.
    """

    def __init__(self, source: ParticleTable, target: str, psize_A: float | None = None) -> None:
        super().__init__(source)
        if not source.n_rows:
            raise SourceError(f"{source.path}: has no rows: give a table with particles")
        self._target = target
        in_A = PSIZE in source.columns  # or in pixels whose size is known
        self._placed = placed_of(source, None if in_A else psize_A)
        own = in_A and self._placed.has_psize
        self._psize_A = psize_A
        if psize_A is None and not (own or (in_A and target == M)):
            raise SourceError(
                f"{source.path}: says no A per pixel, in which coordinates are converted: give "
                "psize=A_PER_PIXEL"
            )
        if psize_A is not None and own:
            warn(f"psize={psize_A:g} is left aside: {source.path} says A per pixel itself")
        self._has_own_psize = own
        if own and target == RELION:
            self._refuse_several_sizes()
        self._has_split = SPLIT in source.columns
        self._tomograms = self._number_tomograms() if target == DYNAMO else {}
        self._labels = self._find_labels()
        self.columns = {
            POSE: Column(_F8, (3,)),
            SHIFT: Column(_F8, (3,)),
            PSIZE: Column(_F8),
            UID: Column(UID_DTYPE),
            **({SPLIT: Column(HALF_SET_DTYPE)} if self._has_split else {}),
            **{label: Column(_TEXT) for label in self._labels},
        }
        self._header = None if target == DYNAMO else self._make_header()
        kept = {*self._placed.used, POSE, SHIFT, PSIZE, UID, SPLIT}
        self.dropped = [name for name in source.columns if name not in kept]

    @property
    def header(self) -> Header | None:
        """Blocks and labels of RELION 5, or of M."""
        return self._header

    @property
    def notes(self) -> list[str]:
        """What was made of the particles, and what has no place."""
        made = {RELION: "RELION", DYNAMO: "Dynamo", M: "M"}[self._target]
        found = [
            f"poses and places are {made}'s now, and offsets are 0: extract the subtomograms there"
        ]
        if self._tomograms:
            first = list(self._tomograms.items())[:4]
            named = ", ".join(f"{n} for {word.decode(errors='replace')}" for word, n in first)
            more = ", ..." * (len(self._tomograms) > len(first))
            found.append(f"tomograms have numbers: {named}{more}; the missing wedge is not stated")
        if self.dropped:
            found.append(
                "dropped, because the output has no place for them: "
                + in_short(self.dropped, self._source.columns)
            )
        return found

    def _refuse_several_sizes(self) -> None:
        """Refuse subtomograms of different pixel sizes: one group is written."""
        first = float(self._psize_A_of(0, 1)[0])
        for start, stop in blocks(self._source, [PSIZE]):
            off = np.abs(self._psize_A_of(start, stop) - first) > _SAME_PSIZE * first
            if off.any():
                row, first_row = map(self.row_number, (start + int(np.argmax(off)), 0))
                raise SourceError(
                    f"{self.path}: A per pixel of row {row} is not that of row {first_row}: "
                    "convert particles of one size at a time"
                )

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Rows ``start`` to ``stop`` of some columns, by name."""
        quaternion, place_A = self._placed.read(start, stop)
        size_A = self._psize_A_of(start, stop)
        made: dict[str, Array] = {
            POSE: convert(quaternion, "quaternion", "rotvec"),
            SHIFT: np.zeros((stop - start, 3)) if self._target != M else -place_A,
            PSIZE: size_A if self._target != M else np.ones(stop - start),
        }
        stored = [name for name in names if name in (UID, SPLIT)]
        made.update(self._source.read(stored, start, stop) if stored else {})
        wanted = [name for name in names if name in self._labels]
        if wanted:
            words = self._words(quaternion, place_A, size_A, start, stop)
            made.update({name: words[name] for name in wanted})
        return {name: made[name] for name in names}

    def _psize_A_of(self, start: int, stop: int) -> Array:  # noqa: N802 - the unit is A
        """A per pixel of each row."""
        if self._has_own_psize:
            return self._source.read([PSIZE], start, stop)[PSIZE].astype(np.float64)
        return np.full(stop - start, self._psize_A or 1.0)

    def _find_labels(self) -> tuple[str, ...]:
        """Labels of the particles."""
        if self._target == DYNAMO:
            return labels_of(len(_DYNAMO_FIXED))
        if self._target == M:
            half = (MReader.subset,) if self._has_split else ()
            return (*M_PLACES, *MReader.angles, *half, *M_SOURCES)
        half = (SUBSET,) if self._has_split else ()
        kind = (CLASS,) if self._placed.class_name else ()
        return (
            *(TOMO_NAME, PARTICLE_NAME, OPTICS_GROUP, *COORDINATES),
            *(*RELION_ANGLES, *RELION_ORIGINS, *half, *kind),
        )

    def _words(
        self, quaternion: Array, place_A: Array, size_A: Array, start: int, stop: int
    ) -> dict[str, Array]:
        """Words of all labels."""
        placed = self._placed
        names = [placed.names, *([placed.class_name] if placed.class_name else [])]
        names += [DYNAMO_TAG] if DYNAMO_TAG in placed.used else []
        names += [SPLIT] if self._has_split else []
        told = self._source.read(names, start, stop)
        angles = convert(quaternion, "quaternion", "euler_zyz")
        if self._target == DYNAMO:
            return self._words_of_dynamo(angles, place_A / size_A[:, None], size_A, told, start)
        if self._target == M:
            words = self._numbers(M_PLACES, place_A.T)
            words.update(self._numbers(MReader.angles, angles.T))
            words.update(dict.fromkeys(M_SOURCES, told[placed.names]))
            return words | self._half_sets(MReader.subset, told)
        return self._words_of_relion(angles, place_A / size_A[:, None], told, start)

    def _words_of_dynamo(
        self, angles: Array, place: Array, size_A: Array, told: Mapping[str, Array], start: int
    ) -> dict[str, Array]:
        """Words of Dynamo; its angles are those of another order of axes, see `DynamoReader`."""
        count = len(place)
        words = {
            label: np.full(count, word.encode())
            for label, word in zip(self._labels, _DYNAMO_FIXED, strict=True)
        }
        rot, tilt, psi = angles.T
        words.update(self._numbers(DYNAMO_ANGLES, (psi - 90, tilt, rot + 90)))
        words.update(self._numbers(DYNAMO_PLACES, place.T))
        words.update(self._numbers((APIX,), (size_A,)))
        names = without_quotes(told[self._placed.names])
        tomograms = [self._tomograms[word] for word in names.tolist()]
        words["dynamo/tomo"] = _whole(np.array(tomograms))
        words[DYNAMO_TAG] = _whole(np.arange(start + 1, start + count + 1))
        if self._placed.class_name:
            words["dynamo/class"] = self._classes(told, start)
        return words

    def _words_of_relion(
        self, angles: Array, place: Array, told: Mapping[str, Array], start: int
    ) -> dict[str, Array]:
        """Words of RELION; a particle's name is made of its tomogram, and its tag or row."""
        count, tomogram = len(place), without_quotes(told[self._placed.names])
        bad = [
            not word or any(each in word for each in _NOT_IN_NAMES) for word in tomogram.tolist()
        ]
        if any(bad):
            row = self.row_number(start + bad.index(True))
            raise SourceError(
                f"{self.path}: {self._placed.names} of row {row} is empty or "
                "has a blank, a quote or a #, and names of files are made of it: rename it"
            )
        number = told.get(DYNAMO_TAG, _whole(np.arange(start + 1, start + count + 1)))
        words = {
            TOMO_NAME: tomogram,
            PARTICLE_NAME: np.char.add(np.char.add(tomogram, b"/"), number),
            OPTICS_GROUP: np.full(count, b"1"),
            **self._numbers(COORDINATES, place.T),
            **self._numbers(RELION_ANGLES, angles.T),
            **dict.fromkeys(RELION_ORIGINS, np.full(count, b"0.000000")),
            **self._half_sets(SUBSET, told),
        }
        if self._placed.class_name:
            words[CLASS] = self._classes(told, start)
        return words

    def _classes(self, told: Mapping[str, Array], start: int) -> Array:
        """Words of the classes, which are numbers in every program."""
        name = self._placed.class_name
        assert name is not None  # who asks has seen it
        numbers(told[name], f"{self.path}: {name}", start, self.row_number)
        return without_quotes(told[name])

    def _half_sets(self, label: str, told: Mapping[str, Array]) -> dict[str, Array]:
        """Words of the half-sets, counted from 1, where there are some."""
        return {label: _whole(told[SPLIT].astype(np.int64) + 1)} if self._has_split else {}

    def _numbers(self, labels: Sequence[str], columns: Iterable[Array]) -> dict[str, Array]:
        """Words of numbers, with six decimals."""
        return {label: self._text(label, each) for label, each in zip(labels, columns, strict=True)}

    def _text(self, label: str, values: Array) -> Array:
        """Numbers as words, with six decimals."""
        if not (np.abs(values) < LARGEST).all():
            raise SourceError(
                f"{self.path}: a number of {label} would be over {LARGEST:g}: repair it"
            )
        out = np.zeros(len(values), f"S{number_width(values, 6, 1)}")
        write_numbers(np.ascontiguousarray(values), 6, 1, 0, as_bytes(out))
        return out

    def _number_tomograms(self) -> dict[bytes, int]:
        """Number of each tomogram: its own where all are numbers, else in the order of the rows."""
        found: dict[bytes, int] = {}
        name = self._placed.names
        for start, stop in blocks(self._source, [name]):
            words = without_quotes(self._source.read([name], start, stop)[name])
            _, first = np.unique(words, return_index=True)
            for word in words[np.sort(first)].tolist():
                found.setdefault(word, len(found) + 1)
            if len(found) > _MOST_TOMOGRAMS:
                raise SourceError(f"{self.path}: has over {_MOST_TOMOGRAMS:,} tomograms: check it")
        if all(re.fullmatch(rb"[1-9]\d{0,8}", word) for word in found):
            return {word: int(word) for word in found}
        return found

    def _make_header(self) -> Header:
        """Head of a file of RELION 5, or of M."""
        named = "".join(f"_{label} #{place}\n" for place, label in enumerate(self._labels, 1))
        if self._target == M:
            return Header(f"\ndata_\n\nloop_\n{named}".encode(), self._labels, b"\n")
        size_A = float(self._psize_A_of(0, 1)[0])
        head = (
            "\n# version 50001\n\ndata_optics\n\nloop_\n"
            f"_{OPTICS_GROUP} #1\n_rlnOpticsGroupName #2\n_{UNBINNED} #3\n_{PIXEL_SIZE} #4\n"
            f"1 opticsGroup1 {size_A:.6f} {size_A:.6f}\n\n\n"
            f"# version 50001\n\ndata_particles\n\nloop_\n{named}"
        )
        return Header(head.encode(), self._labels, b"\n")


def _whole(values: Array) -> Array:
    """Words of whole numbers."""
    return np.asarray(np.char.mod(b"%d", values))


_DYNAMO_FIXED = ("0", "1", "1", *("0",) * 34)
"""What stands in columns of Dynamo of which nothing is known, but that particles are used."""


def as_wanted(
    table: ParticleTable, known: Format, program: str | None, psize_A: float | None
) -> tuple[ParticleTable, float | None, list[str]]:
    """Subtomograms as an output wants them: as they are, or as another program's.

    Parameters
    ----------
    table : ParticleTable
        Particles, not expanded.
    known : Format
        Of the output.
    program : {"relion", "m"}, optional
        Whose .star is wanted; by default the source's.
    psize_A : float, optional
        A per pixel that was given.

    Returns
    -------
    table : ParticleTable
    psize_A : float or None
        What is still to be used of it.
    notes : list of str
        What a user should know.

    Raises
    ------
    UsageError, SourceError
        They cannot be had so.
    """
    if program is not None and program not in (RELION, M):
        raise UsageError(f"program={program} is neither relion nor m")
    if program is not None and known.vocabulary != RELION:
        raise UsageError("program= goes with a .star output: leave it out")
    shift = table.columns.get(SHIFT)
    if known.vocabulary not in (RELION, DYNAMO) or shift is None or shift.shape != (3,):
        if program == M:
            raise UsageError(f"program=m is for subtomograms, which {table.path} has not")
        return table, psize_A, []
    own = program_of(table)
    target = DYNAMO if known.vocabulary == DYNAMO else program
    if target is None:
        target = RELION if own == DYNAMO else own
    if target == own:
        return table, psize_A, []
    if own == RELION and table.header is None:
        raise SourceError(
            f"{table.path}: did not come from a .star, so that nothing says where its particles "
            "are: give one"
        )
    converted = SubtomogramsAs(table, target, psize_A)
    return converted, None, converted.notes
