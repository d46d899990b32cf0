"""Words of columns that hold text: cut out, as bytes, as numbers, hashed."""

from collections.abc import Callable

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.kernels.text import FNV_PRIME, hash_words, read_numbers, take_words


def words_at(data: Array, starts: Array, lengths: Array) -> Array:
    """Words of one column, left-aligned."""
    words = np.zeros(len(starts), f"S{max(1, int(lengths.max(initial=1)))}")
    take_words(data, starts, lengths, as_bytes(words))
    return words


def as_bytes(words: Array) -> Array:
    """Words (n,) of fixed length as (n, width) uint8; shares memory."""
    words = np.ascontiguousarray(words)
    return words.view(np.uint8).reshape(len(words), words.dtype.itemsize)


def numbers(
    words: Array, what: str, first_row: int, row_number: Callable[[int], int] = int
) -> Array:
    """Words (n,) as float64, exactly rounded; quotes about a number do not change it.

    Parameters
    ----------
    words : (n,) bytes
    what : str
        Of what they are the values, for messages.
    first_row : int
        Row of the table that they begin with.
    row_number : callable, optional
        Gives the number of a row in its file, where the table holds some rows of it.

    Raises
    ------
    SourceError
        A word is no finite number.
    """
    values, done = np.empty(len(words)), np.empty(len(words), np.bool_)
    words = _without_nul(words)
    read_numbers(as_bytes(words), values, done)
    for row in np.flatnonzero(~done):
        word = without_quotes(words[row : row + 1])[0]
        try:  # Python takes 1_000 for a number; no other program does
            values[row] = np.nan if b"_" in word else float(word)
        except ValueError:
            values[row] = np.nan
        if not np.isfinite(values[row]):
            shown = words[row][:40].decode(errors="replace")
            raise SourceError(
                f"{what} is {shown!r} in row {row_number(first_row + int(row))}, not a number: "
                "remove this particle or repair it"
            )
    return values


def _without_nul(words: Array) -> Array:
    """Words (n,) without the NUL that stand before some, which are no part of them."""
    text = as_bytes(words)
    if not len(words) or text[:, 0].all():
        return words
    first = (text != 0).argmax(axis=1)
    place = np.arange(text.shape[1]) + first[:, None]
    inside = place < text.shape[1]
    moved = np.where(inside, np.take_along_axis(text, np.where(inside, place, 0), axis=1), 0)
    return np.ascontiguousarray(moved).view(words.dtype).reshape(len(words))


def without_quotes(words: Array) -> Array:
    """Words (n,) of which those that are quoted as a whole lose their quotes."""
    text = as_bytes(words)
    quoted = (text[:, 0] == ord("'")) | (text[:, 0] == ord('"'))
    if not quoted.any():
        return words
    bare = words.copy()
    bare[quoted] = [
        word[1:-1] if len(word) > 1 and word[-1] == word[0] else word for word in words[quoted]
    ]
    return bare


def texts_as_bytes(values: Array) -> Array:
    """Texts (n,) of varying length as bytes of a fixed one; other values as they are."""
    if not values.dtype.hasobject:
        return values
    return np.array(
        [each if isinstance(each, bytes) else str(each).encode() for each in values], "S"
    )


def word_hash(words: Array) -> Array:
    """64-bit hash of each word (n,): FNV-1a over its bytes, then a mix of the bits."""
    value = np.empty(len(words), np.uint64)
    with np.errstate(over="ignore"):  # where kernels run as plain Python
        hash_words(as_bytes(words), value)
    return mix_bits([value])


def mix_bits(parts: list[Array]) -> Array:
    """One 64-bit number of several, whose every bit depends on all (the mix of SplitMix64)."""
    value = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        value = value * FNV_PRIME + part
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        value = value ^ (value >> np.uint64(31))
    return value
