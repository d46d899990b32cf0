"""Words of text, many at a time: to numbers, and to ids."""

import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.kernels.text import read_numbers
from numba_symexp.types import Array

_FNV_START, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


def as_bytes(words: Array) -> Array:
    """Words (n,) of fixed length as (n, width) uint8; shares memory."""
    words = np.ascontiguousarray(words)
    return words.view(np.uint8).reshape(len(words), words.dtype.itemsize)


def numbers(words: Array, what: str, first_row: int) -> Array:
    """Words (n,) as float64, exactly rounded.

    Raises
    ------
    SourceError
        A word is no finite number; ``what`` says of what it is the value.
    """
    values, done = np.empty(len(words)), np.empty(len(words), np.bool_)
    read_numbers(as_bytes(words), values, done)
    for row in np.flatnonzero(~done):
        try:  # Python takes 1_000 for a number; no other program does
            values[row] = np.nan if b"_" in words[row] else float(words[row])
        except ValueError:
            values[row] = np.nan
        if not np.isfinite(values[row]):
            shown = words[row][:40].decode(errors="replace")
            raise SourceError(
                f"{what} is {shown!r} in row {first_row + row}, not a number: remove this particle "
                "or repair it"
            )
    return values


def word_hash(words: Array) -> Array:
    """64-bit hash of each word (n,): FNV-1a over its bytes, then a mix of the bits."""
    value = np.full(len(words), _FNV_START)
    for byte in as_bytes(words).T:
        value = np.where(byte == 0, value, (value ^ byte) * _FNV_PRIME)
    return mixed([value])


def mixed(parts: list[Array]) -> Array:
    """One 64-bit number of several, whose every bit depends on all (the mix of SplitMix64)."""
    value = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        value = value * _FNV_PRIME + part
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        value = value ^ (value >> np.uint64(31))
    return value
