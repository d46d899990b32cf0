"""Words of a line of text, in plain Python: a short text needs no compiled kernels."""

import re

_WORD = re.compile(rb"\S+")
_ENDS = {quote: re.compile(quote + rb"(?=\s|$)") for quote in (b'"', b"'")}


def without_comment(line: bytes) -> bytes:
    """A line without the comment at its end."""
    return re.split(rb"\s#", line, maxsplit=1)[0]


def words_of(line: bytes) -> list[bytes]:
    """Words of a line, quotes kept; time is linear in its length."""
    words = []
    at = 0
    no_end = set()
    while match := _WORD.search(line, at):
        start, at = match.span()
        quote = line[start : start + 1]
        if quote in _ENDS and quote not in no_end:
            end = _ENDS[quote].search(line, start + 1)
            if end:
                at = end.end()
            else:
                no_end.add(quote)
        words.append(line[start:at])
    return words


def word_places(line: bytes) -> list[tuple[int, int]]:
    """Where the words of a line begin and end, quotes included; a comment is none."""
    places, at = [], 0
    for word in words_of(line):
        if word.startswith(b"#"):
            break
        at = line.index(word, at)
        places.append((at, at + len(word)))
        at += len(word)
    return places
