"""The structure of a .star file: its blocks, and where the rows of its particles are."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from numba_symexp.errors import SourceError
from numba_symexp.formats.lines import without_comment, words_of
from numba_symexp.particles.table import Header

OPTICS_GROUP = "rlnOpticsGroup"

MOST_LABELS = 4096
"""RELION knows a few hundred."""

_MOST_TEXT_BYTES = 64 << 20
"""Most bytes before the rows, and after them."""

_FIRST_BYTES = 64 << 10
_PARTICLE_LABELS = {"rlnImageName", "rlnAngleRot", "rlnTomoParticleName", "wrpCoordinateX1"}

_BLOCK = re.compile(rb"^[ \t]*data_([^\s]*)", re.MULTILINE)
_LOOP_OR_BLOCK = re.compile(rb"^[ \t]*(?:data_([^\s]*)|loop_(?=[ \t\r]*$))", re.MULTILINE)
_LABEL_LINES = re.compile(rb"[ \t\r]*+\n(?:[ \t\r]*+(?:[_#][^\n]*+)?\n)*+")
"""What follows ``loop_``: labels, comments and empty lines."""

_LOOP = re.compile(rb"^[ \t]*loop_[ \t\r]*$", re.MULTILINE)
_CONTENT = re.compile(rb"^[ \t\r]*[^\s#][^\n]*", re.MULTILINE)
_IS_LABEL = re.compile(rb"\w[!-.0-~]*")  # HDF5 takes a slash for a folder
_LABEL = re.compile(rb"^[ \t\r]*_([^\s]*)[^\n]*", re.MULTILINE)


@dataclass(frozen=True)
class ParticleRows:
    """Where the rows of the particles begin.

    Attributes
    ----------
    head : bytes
        Everything before.
    block_start : int
        Where in the head the particles' own block begins.
    labels : tuple of str
    """

    head: bytes
    block_start: int
    labels: tuple[str, ...]


def find_rows(file: BinaryIO, path: str) -> ParticleRows:
    """Find the loop of particles in a .star file, and go to its first row.

    Raises
    ------
    SourceError
        There is none, or its labels are no labels.
    """
    for size in (_FIRST_BYTES, _MOST_TEXT_BYTES):
        file.seek(0)
        text = file.read(size)
        is_whole = len(text) < size or size == _MOST_TEXT_BYTES
        found = _find_particles(text, is_whole, path)
        if found is not None:
            file.seek(len(found.head))
            return found
    raise SourceError(
        f"{path}: no loop of particles (a block data_particles, or a loop with "
        "rlnImageName): give a particle file of RELION"
    )


def _find_particles(text: bytes, is_whole: bool, path: str) -> ParticleRows | None:
    """Find the loop of particles in the beginning of a file, or None."""
    name, block_start = "", 0
    for match in _LOOP_OR_BLOCK.finditer(text):
        if match[1] is not None:
            name = match[1].decode(errors="replace")
            block_start = back_over_comments(text, match.start())
            continue
        lines = _LABEL_LINES.match(text, match.end())
        goes_on = lines is None or b"\n" not in text[lines.end() :]
        if lines is None or (goes_on and not is_whole):
            return None
        labels = _labels_in(lines[0], path)
        if name != "optics" and (name == "particles" or _PARTICLE_LABELS & set(labels)):
            return ParticleRows(text[: lines.end()], block_start, labels)
    return None


def _labels_in(lines: bytes, path: str) -> tuple[str, ...]:
    """Labels of a loop."""
    labels: list[str] = []
    for match in _LABEL.finditer(lines):
        if not _IS_LABEL.fullmatch(match[1]):
            raise SourceError(f"{path}: {match[0].strip()[:40]!r} is no label: repair the file")
        labels.append(match[1].decode())
        if len(labels) > MOST_LABELS:
            raise SourceError(
                f"{path}: a loop has over {MOST_LABELS:,} labels: this is no particle file"
            )
    label, count = Counter(labels).most_common(1)[0] if labels else ("", 0)
    if count > 1:
        raise SourceError(f"{path}: two columns are called _{label}: remove one")
    return tuple(labels)


def finish_header(rows: ParticleRows, file: BinaryIO, path: str) -> Header:
    """Read what follows the rows, and put head and tail in the order of writing.

    The optics go before the particles, and lines end in LF, as RELION wants both.

    Parameters
    ----------
    rows : ParticleRows
    file : binary file
        At the end of the rows.
    path : str
        Of the file, for messages.

    Raises
    ------
    SourceError
        Rows follow an empty line, where RELION would not read them; two blocks have one name, of
        which RELION reads the first; or no .star has so much text behind its rows.
    """
    tail = file.read(_MOST_TEXT_BYTES + 1)
    if len(tail) > _MOST_TEXT_BYTES:
        raise SourceError(
            f"{path}: over {_MOST_TEXT_BYTES >> 20} MB follow the rows of the particles: remove "
            "what is no part of a particle file"
        )
    first = re.search(rb"^[ \t\r]*([^\s#][^\n]*)", tail, re.MULTILINE)
    if first and not first[1].startswith(b"data_"):
        raise SourceError(
            f"{path}: an empty line stands among the particles, before {_shown(first[1])}: "
            "RELION would stop there; remove the empty line"
        )
    head, blocks = rows.head, _split_blocks(tail)
    names = Counter([*_BLOCK.findall(head), *_BLOCK.findall(tail)])
    called, count = names.most_common(1)[0] if names else (b"", 0)
    if count > 1:
        raise SourceError(
            f"{path}: {count} blocks are called {_shown(b'data_' + called)}, and RELION reads only "
            "the first: keep one in a file"
        )
    moved = b"".join(text for name, text in blocks if name == "optics")
    if moved:
        moved = moved.rstrip() + b"\n\n\n"
        tail = b"".join(text for name, text in blocks if name != "optics")
        head = head[: rows.block_start] + moved + head[rows.block_start :]
    return Header(with_lf(head), rows.labels, with_lf(tail))


def convention_in(head: bytes) -> str | None:
    """Convention that the head of a file is marked with, or None."""
    found = _MARK.search(head)
    return found[1].decode() if found else None


def with_convention(head: bytes, convention: str | None) -> bytes:
    """Head of a file with a mark of the convention, or without any.

    RELION skips comments, and leaves them out of what it writes itself: a label would stay in the
    file when the poses are refined anew.
    """
    head = _MARK.sub(b"", head)
    return head if convention is None else _MARK_TEXT % convention.encode() + head


_MARK_TEXT = b"# numba_symexp convention %s\n"
_MARK = re.compile(rb"^# numba_symexp convention (cryosparc|relion)[ \t\r]*\n", re.MULTILINE)


def with_lf(text: bytes) -> bytes:
    """Text whose lines end in LF: RELION 4 and 5 read no particle from others."""
    return text.replace(b"\r\n", b"\n")


def first_block(text: bytes) -> bytes:
    """Text of the first block, from its ``data_`` to that of the next; often there is none."""
    found = _BLOCK.search(text)
    following = _BLOCK.search(text, found.end()) if found else None
    return text[found.start() : following.start() if following else None] if found else b""


def block_text(text: bytes, wanted: str) -> bytes:
    """Text of the first block with some name; empty where there is none."""
    return next((block for name, block in _split_blocks(text) if name == wanted), b"")


def loops_in(text: bytes) -> list[tuple[int, int, tuple[bytes, ...]]]:
    """Loops in some text: the first row's place, the end of what may be its rows, and labels."""
    found = []
    marks = list(_LOOP_OR_BLOCK.finditer(text))
    for number, match in enumerate(marks):
        lines = _LABEL_LINES.match(text, match.end()) if match[1] is None else None
        if lines is not None:
            labels = tuple(label[1] for label in _LABEL.finditer(lines[0]))
            end = marks[number + 1].start() if number + 1 < len(marks) else len(text)
            found.append((lines.end(), end, labels))
    return found


def pairs_in(block: bytes) -> dict[str, bytes]:
    """Labels and words of a block without a loop: one row, written downwards."""
    pairs: dict[str, bytes] = {}
    for match in _LABEL.finditer(block):
        words = words_of(without_comment(match[0]))
        if len(words) > 1:
            pairs[words[0][1:].decode(errors="replace")] = words[1]
    return pairs


def misshapen_pair(text: bytes) -> int | None:
    """Where a line of a block without loops is that is not a label and one word, or None."""
    place = 0
    for name, block in _split_blocks(text):
        if name and not _LOOP.search(block):
            for match in _CONTENT.finditer(block):
                line = match[0].strip()
                is_pair = line.startswith(b"_") and len(words_of(without_comment(line))) == 2
                if not line.startswith(b"data_") and not is_pair:
                    return place + match.start()
        place += len(block)
    return None


def _split_blocks(text: bytes) -> list[tuple[str, bytes]]:
    """Cut text into blocks; comments and empty lines before ``data_`` belong to the block."""
    marks = list(_BLOCK.finditer(text))
    starts = [back_over_comments(text, match.start()) for match in marks]
    ends = [*starts[1:], len(text)][: len(marks)]
    blocks = [
        (match[1].decode(errors="replace"), text[start:end])
        for match, start, end in zip(marks, starts, ends, strict=True)
    ]
    return [("", text[: starts[0] if starts else len(text)]), *blocks]


def back_over_comments(text: bytes, position: int) -> int:
    """Where the comments and empty lines before a line begin."""
    while position:
        start = text.rfind(b"\n", 0, max(0, position - _FIRST_BYTES)) + 1
        ends = [match.end() for match in _CONTENT.finditer(text, start, position)]
        if ends:
            return min(text.find(b"\n", ends[-1]) + 1 or position, position)
        position = start
    return 0


def unquoted(word: bytes) -> str:
    """Text of a word, without its quotes."""
    text = word.decode(errors="replace")
    return text[1:-1] if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0] else text


def _shown(word: bytes) -> str:
    """A word for a message, bounded."""
    return repr(word.strip()[:40].decode(errors="replace"))


def with_labels(header: Header, added: Sequence[str]) -> Header:
    """A header with further labels of the particles, after its own."""
    head = header.head.rstrip() + b"\n" if added else header.head
    for place, label in enumerate(added, start=len(header.labels) + 1):
        head += f"_{label} #{place}\n".encode()
    return Header(head, (*header.labels, *added), header.tail)


def without_label(header: Header, label: str) -> Header:
    """A header whose particles lack a label; those behind it move up."""
    if label not in header.labels:
        return header
    before, loop, after = header.head.rpartition(b"loop_")
    lines, place = [], 0
    for line in after.splitlines(keepends=True):
        name = line.split()[0][1:] if line.strip().startswith(b"_") else None
        if name == label.encode():
            continue
        if name is not None:
            place += 1
            line = re.sub(rb"#\s*\d+", b"#%d" % place, line, count=1)
        lines.append(line)
    labels = tuple(each for each in header.labels if each != label)
    return Header(before + loop + b"".join(lines), labels, header.tail)
