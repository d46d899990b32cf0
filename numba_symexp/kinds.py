"""Kinds of files: the suffixes they go by, and the first bytes by which they are known."""

import re
from collections.abc import Callable
from dataclasses import dataclass

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
NUMPY_MAGIC = b"\x93NUMPY"
CSDAT_MAGIC = b"\x95CSDAT"

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


@dataclass(frozen=True)
class Kind:
    """A kind of file that is written here.

    Attributes
    ----------
    name : str
        In words.
    suffixes : tuple of str
        That it goes by, in lower case; the first is suggested.
    is_this : callable
        First bytes of a file -> whether the file is of this kind.
    """

    name: str
    suffixes: tuple[str, ...]
    is_this: Callable[[bytes], bool]


def _begins(*magic: bytes) -> Callable[[bytes], bool]:
    """Whether first bytes are one of these."""
    return lambda start: start.startswith(magic)


def _is_text_with(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether first bytes are those of a text in which a line matches."""
    line = re.compile(pattern, re.MULTILINE)
    return lambda start: b"\0" not in start and line.search(start) is not None


def _is_yaml(start: bytes) -> bool:
    """Whether first bytes are those of a YAML mapping, whose first line is a key."""
    text = start.removeprefix(b"\xef\xbb\xbf")
    head = re.match(rb"(?:[ \t]*(?:#[^\n]*|---[ \t]*)?\r?\n)*\w+:[ \t\r\n]", text)
    return b"\0" not in start and head is not None


def _is_table_of_numbers(start: bytes) -> bool:
    """Whether first bytes are those of a text whose first row has over thirty numbers."""
    return _NUMBERS.match(start) is not None


_NUMBERS = re.compile(rb"\s*(?:[-+]?\d[-+.\deE]*[ \t]+){30}[-+]?\d[-+.\deE]*[ \t\r\n]")

HDF5 = Kind("HDF5", (".h5", ".hdf5", ".hdf"), _begins(HDF5_SIGNATURE))
CS = Kind("a CryoSPARC dataset", (".cs",), _begins(NUMPY_MAGIC, CSDAT_MAGIC))
CSG = Kind("a CryoSPARC result group", (".csg",), _is_yaml)
STAR = Kind("a STAR file", (".star",), _is_text_with(rb"^[ \t]*data_"))
TBL = Kind("a table of Dynamo", (".tbl",), _is_table_of_numbers)
PNG = Kind("a PNG picture", (".png",), _begins(b"\x89PNG\r\n\x1a\n"))
SVG = Kind("an SVG picture", (".svg",), _is_text_with(rb"<svg[\s>]"))
PDF = Kind("a PDF picture", (".pdf",), _begins(b"%PDF-"))

_WRITTEN = (HDF5, CS, CSG, STAR, TBL, PNG, SVG, PDF)

_ELSEWHERE = (
    *(".mrc", ".mrcs", ".map", ".txt", ".json", ".csv", ".npy", ".npz", ".pdb", ".cif"),
    ".gz",
)
"""Suffixes of kinds that are not written here."""

_SUFFIXES = (*(suffix for kind in _WRITTEN for suffix in kind.suffixes), *_ELSEWHERE)


def compression(start: bytes) -> str | None:
    """Name of what a file with these first bytes was compressed by; None where it was not."""
    return next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), None)


def other_suffix(path: str, kind: Kind) -> str | None:
    """Suffix of another known kind that a path ends in, whatever its case."""
    name = path.lower()
    found = [suffix for suffix in _SUFFIXES if name.endswith(suffix)]
    return found[0] if found and found[0] not in kind.suffixes else None


def kind_of_suffix(suffix: str) -> Kind:
    """Kind that is written under a suffix.

    Raises
    ------
    KeyError
        There is none.
    """
    return {each: kind for kind in _WRITTEN for each in kind.suffixes}[suffix.lower()]


def is_particle_text_or_dataset(path: str, start: bytes) -> bool:
    """Whether a file is a .cs, .star or .tbl, by its suffix or its first bytes."""
    named = path.lower().endswith((*CS.suffixes, *STAR.suffixes, *TBL.suffixes))
    is_text = STAR.is_this(start) and not HDF5.is_this(start)
    return named or CS.is_this(start) or is_text or TBL.is_this(start)
