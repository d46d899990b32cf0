"""Kernels for tables of text: cut lines into words, words into numbers, numbers into words.

A word is left-aligned in a row of bytes and filled up with NUL. Quotes belong to their word, so
that a word can be written as it was read. Nothing is raised: statuses say what was met.
"""

import math

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.kernels.jit import algebra, kernel, prange, serial_kernel

MORE, END, WIDTH, QUOTE = 0, 1, 2, 3
"""How `cut_lines` ended: out of lines, at the end of the table, at a line with another number of
words, at a quote that is not closed."""

_NEWLINE, _QUOTES, _COMMENT, _LAST_BLANK = 10, (34, 39), 35, 32
_MINUS, _PLUS, _POINT, _ZERO, _NINE = 45, 43, 46, 48, 57
_EXPONENTS = (69, 101)
_EXACT_MANTISSA = 2**53
_EXACT_POWER = 22
_POWERS = np.array([10.0**k for k in range(_EXACT_POWER + 1)])
_MOST_DIGITS = 18
_WHOLE_POWERS = np.array([10**k for k in range(_MOST_DIGITS + 1)], np.int64)

_FNV_START, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)

LARGEST = 1e9
"""Numbers of particle files stay below; those beyond would leave the digits of `write_numbers`."""

ENDING = -1
"""In the place of decimals: not a number but an ending of a word."""

LONGEST_NUMBER = 20
"""Most bytes of a number that `write_lines` writes."""


@algebra
def _is_space(byte: int) -> bool:
    return byte == 32 or byte == 9 or byte == 13


@algebra
def _ends_word(byte: int) -> bool:
    return byte <= _LAST_BLANK and (byte == _NEWLINE or _is_space(byte))


@serial_kernel
def cut_lines(
    data: Array, first: int, columns: int, starts: Array, lengths: Array
) -> tuple[int, int, int, int]:
    """Find the words of each line of a table, as RELION does.

    Words are parted by blanks; one that begins with a quote goes on to the same quote before a
    blank or the line's end. A ``#`` that begins a word begins a comment. Lines of comment are
    skipped; an empty line, or a lone ``data_...`` or ``loop_``, ends the table.

    Parameters
    ----------
    data : (B,) uint8
        Text; only lines that are whole, with their newline, are read.
    first : int
        Where to begin.
    columns : int
        Words in a line.
    starts, lengths : (L, columns + 1) int64
        Filled: where each word is; the last column is the comment, of length 0 where there is
        none. L is the most lines to take.

    Returns
    -------
    lines, position, status, comments : int
        Lines taken, where the next begins, `MORE`, `END`, `WIDTH` or `QUOTE`, and how many lines
        of comment were skipped.
    """
    position, row, skipped = first, 0, 0
    size = len(data)
    while row < len(starts):
        words, at = 0, position
        lengths[row, columns] = 0
        while True:
            while at < size and _is_space(data[at]):
                at += 1
            if at == size:
                return row, position, MORE, skipped
            start, byte = at, data[at]
            if byte == _NEWLINE:
                break
            if byte == _COMMENT:
                while at < size and data[at] != _NEWLINE:
                    at += 1
                end = at
                while _is_space(data[end - 1]):
                    end -= 1
                starts[row, columns] = start
                lengths[row, columns] = end - start
                continue
            if byte == _QUOTES[0] or byte == _QUOTES[1]:
                at += 1
                while at < size and data[at] != _NEWLINE:
                    at += 1
                    if data[at - 1] == byte and (at == size or _ends_word(data[at])):
                        break
                else:
                    return row, position, MORE if at == size else QUOTE, skipped
            else:
                while at < size and not _ends_word(data[at]):
                    at += 1
            if words < columns:
                starts[row, words] = start
                lengths[row, words] = at - start
            words += 1
        if lengths[row, columns] == 0:
            starts[row, columns] = at
        if words == columns:
            row += 1
        elif words == 0 and lengths[row, columns] > 0:
            skipped += 1
        elif words == 0 or (words == 1 and _is_keyword(data, starts[row, 0], lengths[row, 0])):
            return row, position, END, skipped
        else:
            return row, position, WIDTH, skipped
        position = at + 1
    return row, position, MORE, skipped


@algebra
def _is_keyword(data: Array, start: int, length: int) -> bool:
    """Whether a word begins with ``data_`` or is ``loop_``."""
    if length < 5 or data[start + 4] != 95:
        return False
    a, b, c, d = data[start], data[start + 1], data[start + 2], data[start + 3]
    is_data = a == 100 and b == 97 and c == 116 and d == 97
    is_loop = a == 108 and b == 111 and c == 111 and d == 112
    return is_data or (is_loop and length == 5)


@serial_kernel
def take_words(data: Array, starts: Array, lengths: Array, out: Array) -> None:
    """Copy words into rows (n, width) of zeros; no word is longer than a row."""
    for row in range(len(starts)):
        start = starts[row]
        for k in range(lengths[row]):
            out[row, k] = data[start + k]


@serial_kernel
def hash_words(words: Array, values: Array) -> None:
    """Words (n, width) -> their 64-bit hashes by FNV-1a; the NUL that fills a word does not count.

    The product wraps, modulo 2**64.
    """
    for row in range(len(words)):
        value = _FNV_START
        for k in range(words.shape[1]):
            if words[row, k] != 0:
                value = (value ^ np.uint64(words[row, k])) * FNV_PRIME
        values[row] = value


@serial_kernel
def read_numbers(words: Array, out: Array, done: Array) -> None:
    """Words (n, width) -> float64, exactly rounded; ``done`` is False where it takes more.

    A decimal whose digits make an integer below 2**53, times or over a power of ten up to 10**22,
    is one IEEE operation on two exact numbers (W. D. Clinger, PLDI 1990).
    """
    width = words.shape[1]
    for row in range(len(words)):
        done[row] = False
        at, digits, power = 0, 0, np.int64(0)
        mantissa = np.int64(0)
        negative = width > 0 and words[row, 0] == _MINUS
        if negative or (width > 0 and words[row, 0] == _PLUS):
            at = 1
        seen_point = False
        while at < width:
            byte = np.int64(words[row, at])
            if _ZERO <= byte <= _NINE:
                mantissa = mantissa * 10 + (byte - _ZERO)
                digits += 1
                if seen_point:
                    power -= 1
                if digits > _MOST_DIGITS:
                    break
            elif byte == _POINT and not seen_point:
                seen_point = True
            else:
                break
            at += 1
        if digits == 0 or digits > _MOST_DIGITS or mantissa >= _EXACT_MANTISSA:
            continue
        if at < width and (words[row, at] == _EXPONENTS[0] or words[row, at] == _EXPONENTS[1]):
            at += 1
            down = at < width and words[row, at] == _MINUS
            if down or (at < width and words[row, at] == _PLUS):
                at += 1
            exponent, figures = np.int64(0), 0
            while at < width and _ZERO <= words[row, at] <= _NINE and figures < 4:
                exponent = exponent * 10 + (np.int64(words[row, at]) - _ZERO)
                figures += 1
                at += 1
            if figures == 0:
                continue
            power += -exponent if down else exponent
        if (at < width and words[row, at] != 0) or abs(power) > _EXACT_POWER:
            continue
        value = np.float64(mantissa)
        value = value / _POWERS[-power] if power < 0 else value * _POWERS[power]
        out[row] = -value if negative else value
        done[row] = True


@serial_kernel
def write_numbers(values: Array, decimals: int, digits: int, first: int, out: Array) -> None:
    """Write numbers with fixed decimals at the right end of ``out[:, first:]``.

    Parameters
    ----------
    values : (n,) float64
        Finite; |value| * 10**decimals below 2**62.
    decimals : int
        Figures behind the point; without any there is no point.
    digits : int
        Least figures before the point, filled up with zeros.
    first : int
        First column of the field; it ends where ``out`` ends, and is wide enough.
    out : (n, width) uint8
        Filled with NUL and the number.
    """
    scale = _POWERS[decimals]
    for row in range(len(values)):
        scaled = np.int64(np.rint(abs(values[row]) * scale))
        negative = values[row] < 0.0 and scaled > 0
        at = out.shape[1] - 1
        for _ in range(decimals):
            out[row, at] = _ZERO + scaled % 10
            scaled //= 10
            at -= 1
        if decimals > 0:
            out[row, at] = _POINT
            at -= 1
        written = 0
        while scaled > 0 or written < digits:
            out[row, at] = _ZERO + scaled % 10
            scaled //= 10
            at -= 1
            written += 1
        if negative:
            out[row, at] = _MINUS
            at -= 1
        while at >= first:
            out[row, at] = 0
            at -= 1


@kernel
def write_lines(
    text: Array,
    places: Array,
    index: Array,
    values: Array,
    decimals: Array,
    kept: Array,
    endings: Array,
    ends: Array,
    out: Array,
) -> None:
    """Write lines that are those of a source, but that some words are new numbers or endings.

    A first pass finds how long each line is, a second one writes each line in its place.

    Parameters
    ----------
    text : (B,) uint8
        Lines of the sources.
    places : (m, 2 * W + 2) int64
        Where in ``text`` the parts of each line begin, and where it ends: what stands before the
        first of W words, this word, what stands before the second, and so on.
    index : (n,) int64
        Source of each line.
    values : (W, n) float64
        The numbers; |value| * 10**decimals below 2**62.
    decimals : (W,) int64
        Figures behind the point of each; without any there is no point. Where it is `ENDING`, the
        number is a row of ``endings``, which is written behind the source's word.
    kept : (W, n) bool
        Where the source's word stays.
    endings : (K, L) uint8
        Words, filled up with NUL.
    ends : (n,) int64
        Filled: where in ``out`` each line ends.
    out : (C,) uint8
        Filled; with `LONGEST_NUMBER` bytes for each number, and L for each ending, it is long
        enough.
    """
    lines, words = len(index), len(decimals)
    for line in prange(lines):
        place = places[index[line]]
        size = place[2 * words + 1] - place[0]
        for word in range(words):
            if decimals[word] == ENDING:
                size += _word_length(endings[np.int64(values[word, line])])
            elif not kept[word, line]:
                scaled = _scaled(values[word, line], decimals[word])
                size += _length(scaled, decimals[word]) - (
                    place[2 * word + 2] - place[2 * word + 1]
                )
        ends[line] = size
    for line in range(1, lines):
        ends[line] += ends[line - 1]
    for line in prange(lines):
        place = places[index[line]]
        at = np.int64(0) if line == 0 else ends[line - 1]
        first = place[0]
        for word in range(words):
            if decimals[word] == ENDING:
                last = place[2 * word + 2]
                _copy(text[first:last], out[at : at + last - first])
                at += last - first
                ending = endings[np.int64(values[word, line])]
                size = _word_length(ending)
                _copy(ending[:size], out[at : at + size])
                at += size
                first = last
            elif not kept[word, line]:
                last = place[2 * word + 1]
                _copy(text[first:last], out[at : at + last - first])
                at += last - first
                scaled = _scaled(values[word, line], decimals[word])
                size = _length(scaled, decimals[word])
                _put(scaled, decimals[word], out[at : at + size])
                at += size
                first = place[2 * word + 2]
        last = place[2 * words + 1]
        _copy(text[first:last], out[at : at + last - first])


@algebra
def _word_length(word: Array) -> int:
    """Bytes of a word."""
    size = 0
    while size < len(word) and word[size] != 0:
        size += 1
    return size


@algebra
def _scaled(value: float, decimals: int) -> int:
    """A number in units of its last figure."""
    return np.int64(np.rint(value * _POWERS[decimals]))  # type: ignore[return-value]


@algebra
def _length(scaled: int, decimals: int) -> int:
    """Bytes of a number."""
    figures, size = decimals + 1, abs(scaled)
    while figures < len(_WHOLE_POWERS) and size >= _WHOLE_POWERS[figures]:
        figures += 1
    return figures + (decimals > 0) + (scaled < 0)


@algebra
def _put(scaled: int, decimals: int, out: Array) -> None:
    """Write a number into the bytes that it takes."""
    rest, at = abs(scaled), len(out) - 1
    for _ in range(decimals):
        out[at] = _ZERO + rest % 10
        rest //= 10
        at -= 1
    if decimals > 0:
        out[at] = _POINT
        at -= 1
    while at > 0:
        out[at] = _ZERO + rest % 10
        rest //= 10
        at -= 1
    out[0] = _MINUS if scaled < 0 else _ZERO + rest % 10


@algebra
def _copy(text: Array, out: Array) -> None:
    """Copy bytes."""
    for k in range(len(text)):
        out[k] = text[k]


def number_width(values: Array, decimals: int, digits: int) -> int:
    """Columns that `write_numbers` needs for some numbers."""
    most = float(np.abs(values).max(initial=0.0)) + 1.0
    return 1 + max(digits, math.floor(math.log10(most)) + 1) + (decimals + 1 if decimals else 0)
