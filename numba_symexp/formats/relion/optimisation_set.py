"""RELION's optimisation sets, which name the files of a tomography project."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.files import check_readable, is_data_file, read_small, state_of
from numba_symexp.formats.lines import word_places
from numba_symexp.formats.relion.motion import Motion
from numba_symexp.formats.relion.text import first_block, loops_in, with_lf
from numba_symexp.kinds import STAR
from numba_symexp.particles.table import RELION, ParticleTable

if TYPE_CHECKING:
    from numba_symexp.poses import Poses

PARTICLES, TRAJECTORIES = "rlnTomoParticlesFile", "rlnTomoTrajectoriesFile"
_KINDS = {PARTICLES: "particle file", TRAJECTORIES: "trajectories file"}

_IS_SET = re.compile(rb"^[ \t]*_rlnTomo(?:Particles|Tomograms|Trajectories|Manifolds)File\s", re.M)
_MOST_SET_BYTES = 256 << 10

_LINE = re.compile(rb"^[^\n]*", re.MULTILINE)


class Beside(Protocol):
    """What is written beside particles: an open input of which a new file is made."""

    @property
    def size(self) -> int:
        """Bytes of the new file, about."""

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read."""

    def check_unchanged(self) -> None:
        """Raise `SourceError` where the file was written to since it was opened."""

    def write(self, file: BinaryIO) -> None:
        """Write the new file."""

    def close(self) -> None:
        """Close the input."""


def is_optimisation_set(path: str) -> bool:
    """Whether a file is an optimisation set; nothing is said of one that cannot be read."""
    try:
        if not is_data_file(path):
            return False
        with open(path, "rb") as file:
            return _IS_SET.search(first_block(file.read(_MOST_SET_BYTES))) is not None
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class OptimisationSet:
    """Paths of the files that belong together in a tomography project.

    Attributes
    ----------
    path : str
    text : bytes
        Of the file; lines end in LF.
    """

    path: str
    text: bytes
    _places: Mapping[str, tuple[int, int]]
    _state: tuple[int, int] = field(compare=False)

    @classmethod
    def read(cls, path: str) -> Self:
        """Read a set.

        Raises
        ------
        SourceError
            It is missing, is none, or has several rows.
        """
        check_readable(path, "an optimisation set of RELION")
        state = state_of(path)
        text = read_small(path, "an optimisation set of RELION", _MOST_SET_BYTES + 1)
        if len(text) > _MOST_SET_BYTES or not _IS_SET.search(first_block(text)):
            raise SourceError(
                f"{path}: is no optimisation set of RELION: name one with _{PARTICLES}"
            )
        text = with_lf(text)
        places = _places_of(text, path)
        if PARTICLES not in places:
            raise SourceError(f"{path}: names no {_KINDS[PARTICLES]} (_{PARTICLES}): add it")
        return cls(path, text, places, state)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.text)

    @property
    def files(self) -> tuple[str, ...]:
        """The set itself."""
        return (self.path,)

    def check_unchanged(self) -> None:
        """Refuse a set that was written to since it was read."""
        try:
            changed = state_of(self.path) != self._state
        except OSError:
            changed = True
        if changed:
            raise SourceError(f"{self.path}: changed while it was read: try again")

    def write(self, file: BinaryIO) -> None:
        """Write the set as it is."""
        file.write(self.text)

    def close(self) -> None:
        """Nothing is open."""

    def name(self, label: str) -> str:
        """Path of a file as the set has it; empty where it names none."""
        first, last = self._places.get(label, (0, 0))
        word = self.text[first:last]
        quoted = len(word) > 1 and word[:1] in (b"'", b'"') and word[-1:] == word[:1]
        return os.fsdecode(word[1:-1] if quoted else word)

    def find(self, label: str) -> str | None:
        """Path of a file that is named; None where nothing is there.

        It counts from the project's folder, which is the current one, else from that of the set.
        """
        name = self.name(label)
        beside = os.path.join(os.path.dirname(self.path), name)
        return next((each for each in (name, beside) if name and os.path.exists(each)), None)

    def file(self, label: str) -> str:
        """Path of a file that is named.

        Raises
        ------
        SourceError
            It is not there, or is no regular file.
        """
        found = self.find(label)
        if found is not None and is_data_file(found):
            return found
        told = "is no regular file that may be read: name another one"
        if found is None:
            told = (
                "is neither in the current folder nor beside the set: run from the project's folder"
            )
        raise SourceError(f"{self.path}: its {_KINDS[label]}, {self.name(label)[:200]!a}, {told}")

    def naming(self, files: Mapping[str, str]) -> "OptimisationSet":
        """Return the set with other files; all other words and lines stay."""
        text = self.text
        for label in sorted(files, key=lambda each: self._places[each], reverse=True):
            first, last = self._places[label]
            text = text[:first] + _word_of(files[label]) + text[last:]
        return OptimisationSet(self.path, text, _places_of(text, self.path), self._state)


def _places_of(text: bytes, path: str) -> dict[str, tuple[int, int]]:
    """Where in a set the words of its labels are: pairs, or the row of a loop."""
    block = first_block(text)
    start, found, loops = text.find(block), [], loops_in(block)
    first, end, labels = loops[0] if loops else (0, len(block), ())
    lines = [words for line in _LINE.finditer(block, first, end) if (words := _words(line))]
    if loops:
        if len(lines) != 1 or len(lines[0]) != len(labels):
            raise SourceError(
                f"{path}: an optimisation set has one row, of {len(labels)} words, and this one "
                f"has another number of them ({len(lines)} rows): repair it"
            )
        names = [label.decode(errors="replace") for label in labels]
        found = list(zip(names, lines[0], strict=True))
    else:
        for label, *words in lines:
            name = block[slice(*label)].decode(errors="replace")
            if name.startswith("_") and len(words) != 1:
                raise SourceError(f"{path}: {name[:80]} must have one word: repair it")
            found += [(name[1:], word) for word in words if name.startswith("_")]
    places = {label: (first + start, end + start) for label, (first, end) in found}
    if len(places) < len(found):
        raise SourceError(f"{path}: names files twice under one label: remove one")
    return places


def _words(line: re.Match[bytes]) -> list[tuple[int, int]]:
    """Where in its block the words of a line are."""
    return [(line.start() + first, line.start() + end) for first, end in word_places(line[0])]


def _word_of(path: str) -> bytes:
    """A path as a word of a .star: below the current folder it counts from there, as RELION's."""
    here = os.path.join(os.getcwd(), "")
    word = os.fsencode(path[len(here) :] if path.startswith(here) else path)
    if not re.search(rb"\s", word) and word[:1] not in (b"'", b'"', b"#", b"_"):
        return word
    quote = next((each for each in (b'"', b"'") if each not in word), None)
    if quote is None or b"\n" in word:
        raise UsageError(f"{path!r} is no name that a .star can hold: choose another output")
    return quote + word + quote


class SetOutputs:
    """What is written beside particles: a new optimisation set and, where one is named, motion.

    Parameters
    ----------
    old : OptimisationSet
    output : str
        The particles that are written.

    Attributes
    ----------
    names : list of str
        Files that will be written.
    inputs : list of str
        Files that are read.

    Raises
    ------
    SourceError
        A file that is needed is not there.
    """

    def __init__(self, old: OptimisationSet, output: str) -> None:
        stem = os.path.splitext(output)[0]
        self._old, self._motion = old, ""
        files, self.inputs = {PARTICLES: output}, [old.path]
        self.names = [f"{stem}_optimisation_set.star"]
        if old.name(TRAJECTORIES):
            self._motion = old.file(TRAJECTORIES)
            files[TRAJECTORIES] = f"{stem}_motion.star"
            self.inputs.append(self._motion)
            self.names.append(files[TRAJECTORIES])
        self._new = old.naming(files)

    @classmethod
    def of(
        cls, source: str, given: str | None, output: str, program: str | None = None
    ) -> "SetOutputs | None":
        """Outputs beside the particles of a job; None where there is no optimisation set.

        Parameters
        ----------
        source : str
            Source of the job, which may be an optimisation set.
        given : str or None
            Optimisation set beside a source that is none.
        output : str
        program : str, optional
            Whose .star is written.

        Raises
        ------
        UsageError
            There are two sets, or the output is no .star of RELION.
        SourceError
            The set cannot be read.
        """
        is_set = is_optimisation_set(source)
        if not is_set and given is None:
            return None
        if is_set and given is not None:
            raise UsageError(
                f"{source}: is an optimisation set itself: leave out optimisation_set="
            )
        if program not in (None, RELION):
            raise UsageError(
                f"program={program} goes with particles alone, as an optimisation set is RELION's: "
                "expand the particle file without it"
            )
        if not output.lower().endswith(STAR.suffixes):
            raise UsageError(
                f"{output}: ends in no .star, and with an optimisation set a .star is written: "
                "name it so, or expand the particle file without the set"
            )
        return cls(OptimisationSet.read(source if given is None else given), output)

    def _check(self, source: ParticleTable, components: int) -> None:
        """Refuse particles that are images; warn where the set names other particles."""
        if components != 3:
            raise SourceError(
                f"{source.path}: its particles are images, and an optimisation set is of "
                "subtomograms: leave it out"
            )
        named = self._old.find(PARTICLES)
        try:
            same = named is not None and os.path.samefile(named, source.path)
        except OSError:
            same = False
        if not same:
            warn(
                f"{self._old.path}: names other particles than {source.path}: the new set names "
                "the expanded ones of the latter"
            )

    def prepared(self, rows: "Poses") -> list[Beside]:
        """Return what writes each of the files, open.

        Raises
        ------
        SourceError
            Particles are images; one has no name, or no trajectory.
        """
        from numba_symexp.formats.relion.copy_labels import SubtomogramNames  # needs the compiler

        self._check(rows.source, rows.components)
        if not self._motion:
            return [self._new]
        found = SubtomogramNames.of(rows, rows.source)
        if found is None or rows.operators is None:
            raise SourceError(
                f"{rows.source.path}: has no _rlnTomoParticleName, by which {self._motion} names "
                "trajectories: add it"
            )
        copies = found.endings if len(rows.operators) > 1 else None
        return [self._new, Motion(self._motion, found.names, copies)]
