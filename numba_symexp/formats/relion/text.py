"""The structure of a .star file: its blocks, its optics, and where its particles are."""

import re
from dataclasses import dataclass
from typing import BinaryIO

from numba_symexp.errors import SourceError

OPTICS_GROUP = "rlnOpticsGroup"

_MOST_HEAD_BYTES = 64 << 20
_PARTICLE_LABELS = {"rlnImageName", "rlnAngleRot", "rlnTomoParticleName"}
_WORD = re.compile(rb"""(["']).*?\1(?=\s|$)|\S+""")


@dataclass(frozen=True)
class StarText:
    """All of a .star file but the rows of its particles, in the order of writing.

    Attributes
    ----------
    head : bytes
        From the first line to the last label of the particles; the optics are in it.
    labels : tuple of str
        Of the particles, without the leading underscore.
    tail : bytes
        What follows the rows.
    """

    head: bytes
    labels: tuple[str, ...]
    tail: bytes

    @property
    def optics(self) -> list[dict[str, str]]:
        """Rows of the optics block: label -> word; none in files of RELION 3.0."""
        for name, text in _split_blocks(self.head):
            if name == "optics":
                return _rows_of(text)
        return []


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
    """Find the loop of particles in a .star file.

    Raises
    ------
    SourceError
        There is none, or its labels are no labels.
    """
    lines: list[bytes] = []
    size = block_start = since_last_block = 0
    name = ""
    while line := file.readline(_MOST_HEAD_BYTES):
        word = line.strip()
        if word.startswith(b"data_"):
            name, block_start = word[5:].decode(errors="replace"), since_last_block
        lines.append(line)
        size += len(line)
        if size > _MOST_HEAD_BYTES:
            break
        if word == b"loop_":
            labels = _read_labels(file, path, lines)
            size = sum(map(len, lines))
            if name != "optics" and (name == "particles" or _PARTICLE_LABELS & set(labels)):
                return ParticleRows(b"".join(lines), block_start, labels)
        if word and not word.startswith(b"#"):
            since_last_block = size
    raise SourceError(
        f"{path}: no loop of particles (a block data_particles, or a loop with rlnImageName): give "
        "a particle file of RELION"
    )


def _read_labels(file: BinaryIO, path: str, lines: list[bytes]) -> tuple[str, ...]:
    """Read the labels of a loop, up to its first row, onto the lines."""
    labels: list[str] = []
    while True:
        before = file.tell()
        line = file.readline(_MOST_HEAD_BYTES)
        word = line.strip()
        if not line or (word and not word.startswith((b"_", b"#"))):
            file.seek(before)
            break
        lines.append(line)
        if word.startswith(b"_"):
            name = word.split()[0][1:]
            if not re.fullmatch(rb"\w[!-.0-~]*", name):  # HDF5 takes a slash for a folder
                raise SourceError(f"{path}: {word[:40]!r} is no label: repair the file")
            labels.append(name.decode())
    for label in labels:
        if labels.count(label) > 1:
            raise SourceError(f"{path}: two columns are called _{label}: remove one")
    return tuple(labels)


def finish_text(rows: ParticleRows, tail: bytes, path: str) -> StarText:
    """Put head and tail in the order of writing: the optics before the particles.

    Raises
    ------
    SourceError
        Rows follow an empty line; RELION would not read them.
    """
    for line in tail.splitlines():
        word = line.strip()
        if word and not word.startswith(b"#"):
            if not word.startswith(b"data_"):
                raise SourceError(
                    f"{path}: an empty line stands among the particles, before {_shown(word)}: "
                    "RELION would stop there; remove the empty line"
                )
            break
    head = rows.head
    blocks = _split_blocks(tail)
    moved = b"".join(text for name, text in blocks if name == "optics")
    if moved:
        moved = moved.rstrip() + b"\n\n\n"
        tail = b"".join(text for name, text in blocks if name != "optics")
        head = head[: rows.block_start] + moved + head[rows.block_start :]
    return StarText(head, rows.labels, tail)


def words_of(line: bytes) -> list[bytes]:
    """Words of a line, quotes kept."""
    return [match[0] for match in _WORD.finditer(line)]


def _split_blocks(text: bytes) -> list[tuple[str, bytes]]:
    """Cut text into blocks; comments and empty lines before ``data_`` belong to the block."""
    blocks: list[tuple[str, list[bytes]]] = [("", [])]
    waiting: list[bytes] = []
    for line in text.splitlines(keepends=True):
        word = line.strip()
        if word.startswith(b"data_"):
            blocks.append((word[5:].decode(errors="replace"), waiting))
            waiting = []
        if word and not word.startswith(b"#"):
            blocks[-1][1].extend([*waiting, line])
            waiting = []
        else:
            waiting.append(line)
    blocks[-1][1].extend(waiting)
    return [(name, b"".join(lines)) for name, lines in blocks]


def _rows_of(block: bytes) -> list[dict[str, str]]:
    """Rows of a small block, be it a loop or one row of pairs."""
    labels: list[str] = []
    rows: list[dict[str, str]] = []
    pairs: dict[str, str] = {}
    for line in block.splitlines():
        words = [unquoted(word) for word in words_of(line.partition(b" #")[0])]
        if not words or words[0].startswith(("#", "data_", "loop_")):
            continue
        if not words[0].startswith("_"):
            rows.append(dict(zip(labels, words, strict=False)))
        elif len(words) > 1:
            pairs[words[0][1:]] = words[1]
        else:
            labels.append(words[0][1:])
    return [pairs] if pairs else rows


def unquoted(word: bytes) -> str:
    """Text of a word, without its quotes."""
    text = word.decode(errors="replace")
    return text[1:-1] if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0] else text


def _shown(word: bytes) -> str:
    """A word for a message, bounded."""
    return repr(word[:40].decode(errors="replace"))
