"""What the breaks campaign changes, and what it leaves alone."""

import ast

from breaks import CHECKOUT, breaks_of, draw

BROKEN = """
LIMIT = 3

def first(values: list[int], most=2.0) -> int:
    if LIMIT < len(values) and not values[0]:
        raise ValueError(f"more than {LIMIT + 1}")
    return min(values) * 2
"""
CHANGES = {
    (2, "3 -> (4)"),
    (4, "2.0 -> (2.02)"),
    (5, "LIMIT < len(values) and not values[0] -> (True)"),
    (5, "LIMIT < len(values) and not values[0] -> (False)"),
    (5, "LIMIT < len(values) and not values[0] -> (LIMIT < len(values) or not values[0])"),
    (5, "LIMIT < len(values) -> (LIMIT <= len(values))"),
    (5, "not values[0] -> (values[0])"),
    (5, "0 -> (1)"),
    (6, 'raise ValueError(f"more than {LIMIT + 1}") -> pass'),
    (7, "min -> (max)"),
    (7, "min(values) * 2 -> (min(values) / 2)"),
    (7, "min(values) * 2 -> (min(values) * 2 + 1)"),
    (7, "2 -> (3)"),
}
WHOLE = '''
"""Not 1 < 2."""
from typing import TYPE_CHECKING
__all__ = ["a" + "b"]
if TYPE_CHECKING:
    COUNT = 1

class Base:
    def of(self, x: "int | None") -> "list[1]":
        raise NotImplementedError
    def __repr__(self) -> str:
        return f"{1 + 2}" if self else ""
'''


def test_what_is_changed(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    found = {(each.lines[0], str(each).partition("] ")[2]) for each in breaks_of(str(path))}
    assert found == CHANGES
    path.write_text(WHOLE)
    assert breaks_of(str(path)) == []


def test_breaks_are_drawn_everywhere_and_are_code():
    drawn = draw("numba_symexp/formats", 40, seed=1)
    assert len({(each.path, each.lines[0]) for each in drawn}) == len(drawn) == 40
    folders = {path.parent for path in (CHECKOUT / "numba_symexp/formats").rglob("*.py")}
    assert {(CHECKOUT / each.path).parent for each in drawn} == folders
    for each in drawn:
        source = (CHECKOUT / each.path).read_bytes()
        broken = source[: each.start] + each.new.encode() + source[each.end :]
        assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(source))
    assert draw("numba_symexp/formats", 10, seed=1) == drawn[:10]
