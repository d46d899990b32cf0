"""The text kernels against Python's own str, float and format."""

import re

import numpy as np
import pytest
from inside import (
    END,
    MORE,
    QUOTE,
    WIDTH,
    SourceError,
    as_bytes,
    cut_lines,
    mix_bits,
    number_width,
    numbers,
    take_words,
    word_hash,
    write_lines,
    write_numbers,
)


def cut(text, columns, most=100):
    """Words of each line, the comments, and how it ended."""
    data = np.frombuffer(text.encode(), np.uint8)
    starts, lengths = np.zeros((2, most, columns + 1), np.int64)
    lines, position, status, skipped = cut_lines(data, 0, columns, starts, lengths)
    words = [
        [text[s : s + n] for s, n in zip(starts[k], lengths[k], strict=True)] for k in range(lines)
    ]
    return [row[:-1] for row in words], [row[-1] for row in words], status, position, skipped


@pytest.mark.parametrize(
    ("text", "rows", "comments", "status"),
    [
        ("a b\nc d\n", [["a", "b"], ["c", "d"]], ["", ""], MORE),
        ("  a\t b \r\n\n", [["a", "b"]], [""], END),
        ("a b # why \nc d#e\n", [["a", "b"], ["c", "d#e"]], ["# why", ""], MORE),
        ("'x y' \"\"\n", [["'x y'", '""']], [""], MORE),
        ("it's d'or\n", [["it's", "d'or"]], [""], MORE),
        ("'it's so' b\n", [["'it's so'", "b"]], [""], MORE),
        ("a b\ndata_optics\n", [["a", "b"]], [""], END),
        ("a b\nloop_\n", [["a", "b"]], [""], END),
        ("data_1.mrc b\nc d\n", [["data_1.mrc", "b"], ["c", "d"]], ["", ""], MORE),
        ("a b\nc\n", [["a", "b"]], [""], WIDTH),
        ("a b c\n", [], [], WIDTH),
        ("'a b\n", [], [], QUOTE),
        ("a b\nc d", [["a", "b"]], [""], MORE),
        ("# one\na b\n  # two\nc d\n", [["a", "b"], ["c", "d"]], ["", ""], MORE),
    ],
)
def test_lines_are_cut_into_words(text, rows, comments, status):
    found = cut(text, 2)
    assert found[:3] == (rows, comments, status)
    assert found[4] == len(re.findall(r"^\s*#", text, re.MULTILINE))


def cut_by_hand(text, columns):
    """The same, line by line, with regular expressions."""
    rows, comments = [], []
    for line in text.split("\n")[:-1]:
        words, comment, rest = [], "", line.lstrip(" \t\r")
        while rest and not comment:
            quoted = rest[0] in "'\""
            end = r"(?=[ \t\r]|\Z)"
            found = re.match(rf"{rest[0]}.*?{rest[0]}{end}" if quoted else r"[^ \t\r]+", rest)
            if rest[0] == "#":
                comment = rest.rstrip(" \t\r")
            elif found is None:
                return rows, comments, QUOTE
            else:
                words.append(found[0])
                rest = rest[len(found[0]) :].lstrip(" \t\r")
        if len(words) == columns:
            rows.append(words)
            comments.append(comment)
        elif words:
            return rows, comments, WIDTH
        elif not comment:
            return rows, comments, END
    return rows, comments, MORE


def test_any_text_is_cut_as_by_hand(rng):
    seen = set()
    for _ in range(3000):
        text = "".join(rng.choice(list("aab'\"#  \t\r\n\n\x0b"), rng.integers(0, 25)))
        found = cut(text, 2)[:3]
        assert found == cut_by_hand(text, 2), repr(text)
        seen.add((found[2], len(found[0]) > 0))
    assert len(seen) == 8  # every ending, after rows and at once


def test_cutting_goes_on_where_it_stopped():
    text = "".join(f"{k} x{k}\n" for k in range(10))
    rows, _, status, position, _ = cut(text, 2, most=4)
    assert (len(rows), status) == (4, MORE)
    assert text[position:].startswith("4 x4")


def test_a_lone_keyword_is_a_word_where_one_word_is_a_row():
    rows, _, status, *_ = cut("data_1\nloop_\nx\n", 1)
    assert (rows, status) == ([["data_1"], ["loop_"], ["x"]], MORE)


def test_words_are_taken(rng):
    words = [("w" * k + str(k)).encode() for k in rng.integers(0, 9, 50)]
    text = b" ".join(words)
    starts = np.cumsum([0, *(len(word) + 1 for word in words)])[:-1]
    out = np.zeros(len(words), "S10")
    lengths = np.array([len(word) for word in words])
    take_words(np.frombuffer(text, np.uint8), starts, lengths, as_bytes(out))
    assert out.tolist() == words


NUMBERS = (
    "0 -0 1 -1 +2.5 000.250 12593.368164 -0.000001 1e-7 1.746160e+06 -1E+2 .5 5. 1e22 1e23 1e-22 "
    "1e-30 123456789012345678 0.1234567890123456789 9007199254740993 1.7976931348623157e308"
)


def test_numbers_are_read_exactly(rng):
    words = NUMBERS.split() + [
        repr(float(x)) for x in rng.normal(0, 1, 300) * 10.0 ** rng.integers(-1, 9, 300)
    ]
    words += [f"{x:12.6f}".strip() for x in rng.uniform(-180, 180, 300)]
    read = numbers(np.array(words, "S"), "x", 0)
    assert read.tolist() == [float(word) for word in words]


@pytest.mark.parametrize(
    "word", ["nan", "inf", "-Infinity", "<NA>", "", "1,5", "1.2.3", "1e", "--1", "1_0", "0x1", "."]
)
def test_what_is_no_number_is_refused(word):
    with pytest.raises(SourceError, match=re.escape(f"x is {word!r} in row 12, not a number")):
        numbers(np.array(["1", "2", word], "S"), "x", 10)


@pytest.mark.parametrize(("decimals", "digits"), [(6, 1), (0, 6), (0, 1), (3, 4)])
def test_numbers_are_written_as_format_writes_them(decimals, digits, rng):
    values = np.concatenate([[0, -0.0, -1e-9, 0.5, -0.5, 9.9999999, 360], rng.normal(0, 500, 300)])
    width = number_width(values, decimals, digits)
    out = np.full((len(values), width + 2), ord("x"), np.uint8)
    write_numbers(values, decimals, digits, 2, out)
    words = [row.tobytes().replace(b"\0", b"").decode() for row in out]
    form = rf"xx-?\d{{{digits},}}" + rf"\.\d{{{decimals}}}" * (decimals > 0)
    for word, value in zip(words, values, strict=True):
        assert re.fullmatch(form, word)
        assert abs(float(word[2:]) - value) <= 0.5001 * 10.0**-decimals
        assert float(word[2:]) != 0 or "-" not in word


NO_ENDINGS = np.zeros((1, 0), np.uint8)


def test_lines_are_written_with_words_kept_and_numbers_put_in(rng):
    parts = [["", "1.5", " a ", "-2", "\n"], ["", "xyz", " path/of.mrcs 7 ", "", " # why\n"]]
    text = "".join("".join(line) for line in parts).encode()
    places = np.cumsum([0, *(len(part) for line in parts for part in line)])
    places = np.stack([places[:6], places[5:11]])
    index = np.array([0, 1, 1, 0, 1] * 40)
    values = rng.normal(0, 1, (2, 200)) * 10.0 ** rng.integers(-7, 9, (2, 200))
    values[:, :6] = [0, -0.0, -1e-9, 9.9999999, 999.9999996, -99_999.9999999]
    kept = rng.random((2, 200)) < 0.4
    ends, out = np.empty(200, np.int64), np.empty(200 * 80, np.uint8)
    decimals = np.array([6, 0])
    write_lines(
        np.frombuffer(text, np.uint8), places, index, values, decimals, kept, NO_ENDINGS, ends, out
    )
    lines = [
        "".join(
            [
                parts[source][0],
                parts[source][1] if kept[0, k] else f"{values[0, k]:z.6f}",
                parts[source][2],
                parts[source][3] if kept[1, k] else f"{values[1, k]:z.0f}",
                parts[source][4],
            ]
        )
        for k, source in enumerate(index)
    ]
    written = out[: ends[-1]].tobytes().decode()
    assert written.splitlines() == "".join(lines).splitlines()
    assert ends.tolist() == np.cumsum([len(line) for line in lines]).tolist()


def test_hashes_depend_on_the_word_and_not_on_its_padding():
    narrow, wide = np.array([b"abc", b"abd", b""]), np.array([b"abc", b"abd", b""], "S20")
    assert (word_hash(narrow) == word_hash(wide)).all()
    assert len(set(word_hash(narrow).tolist())) == 3
    assert word_hash(np.array([b"ab"]))[0] != word_hash(np.array([b"ba"]))[0]


def test_hashes_are_those_of_the_definition():
    """FNV-1a, and the mix of SplitMix64, of other arithmetic: ids in files depend on it."""
    words = [b"", b"a", b"000001@Extract/job012/stack.mrcs", bytes(range(1, 256))]
    for word, found in zip(words, word_hash(np.array(words)).tolist(), strict=True):
        value = 0xCBF29CE484222325
        for byte in word:
            value = (value ^ byte) * 0x100000001B3 % 2**64
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
        assert found == value ^ (value >> 31)


def test_hashes_of_names_that_differ_little_are_all_different():
    names = np.array([f"{k:06d}@stack_{s}.mrcs" for k in range(500) for s in range(20)], "S")
    assert len(np.unique(word_hash(names))) == len(names)
    rows = np.arange(10_000, dtype=np.uint64)
    assert len(np.unique(mix_bits([rows]))) == len(rows)
    assert len(np.unique(mix_bits([rows // 100, rows % 100]))) == len(rows)
