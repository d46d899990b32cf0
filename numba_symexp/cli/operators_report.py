"""A set of operators in words: what each is, where it puts its subunit, products and cosets."""

from typing import Any

import numpy as np

from numba_symexp.errors import UsageError
from numba_symexp.symmetry.descriptions import describe, direction
from numba_symexp.symmetry.operators import Operators, upward
from numba_symexp.symmetry.request import SymmetryRequest
from numba_symexp.symmetry.subgroups import Motions, left_cosets
from numba_symexp.types import Array

_MOST_PRODUCTS = 1_000
"""So many operators have a million products."""


def operators_record(request: SymmetryRequest, tables: bool) -> dict[str, Any]:
    """Everything about the operators that are asked for, for JSON.

    Raises
    ------
    UsageError, SourceError
        There are no such operators, or too many for a table of their products.
    """
    full = request.full()
    operators = request.chosen(full)
    columns = {
        "index": list(range(len(operators))),
        "full_index": operators.full_index.tolist(),
        "label": list(operators.label),
        "fold": operators.fold.tolist(),
        "angle_deg": operators.angle_deg.tolist(),
        "axis": operators.axis.tolist(),
        "rise_index": operators.rise_index.tolist(),
        "translation_A": operators.translation_A.tolist(),
        "center_A": operators.motion_A.tolist(),
        "place": _places(operators),
        "quaternion": operators.quaternion.tolist(),
        "matrix": operators.matrix.tolist(),
    }
    if not request.has_center:
        del columns["center_A"]
    rows = zip(*columns.values(), strict=True)
    record: dict[str, Any] = {
        "symmetry": str(operators.symmetry),
        "convention": operators.convention,
        "description": describe(full),
        "chosen": operators.chosen or None,
        "kind": operators.kind,
        "operators": [dict(zip(columns, row, strict=True)) for row in rows],
    }
    if tables:
        record["products"] = _products(full).tolist()
        if len(operators.subgroup):
            record["subgroup"] = operators.subgroup.tolist()
            record["left_cosets"] = left_cosets(full, operators.subgroup).tolist()
    return record


def operators_text(record: dict[str, Any]) -> str:
    """Return the table of a set of operators."""
    rows = record["operators"]
    width = max(5, *(len(each["label"]) for each in rows))
    chosen = record["chosen"]
    lines = [record["description"]]
    if chosen:
        lines.append(f"{len(rows):,} of them: {chosen}")
    full = f"{'full':>5}  " if chosen else ""
    head = f"{'label':<{width}}  {'fold':>4}  {'angle_deg':>9}  {'axis':<24}"
    lines.append(f"{'index':>5}  {full}{head}  its subunit")
    for each in rows:
        full = f"{each['full_index']:>5}  " if chosen else ""
        axis = "  ".join(f"{part + 0.0:7.4f}" for part in each["axis"])
        lines.append(
            f"{each['index']:>5}  {full}{each['label']:<{width}}  {each['fold'] or '-':>4}  "
            f"{each['angle_deg']:9.4f}  {axis}  {each['place']}"
        )
    if "products" in record:
        lines += ["", "products: row times column; a . leaves the set", *_grid(record["products"])]
    if "left_cosets" in record:
        lines += ["", f"left cosets of {{{_joined(record['subgroup'])}}}, the first is used:"]
        lines += [_joined(row) for row in record["left_cosets"]]
    return "\n".join(lines)


def _places(operators: Operators) -> list[str]:
    """Where each operator puts what operator 0 of the full set leaves in place.

    With a centre: where that point goes, in A, and how far from where it was. Else the turn and
    the rise that lead there.
    """
    if np.any(operators.center_A):
        moved_A = np.linalg.norm(operators.motion_A - operators.center_A, axis=1)
        return [
            f"at ({', '.join(f'{part:.2f}' for part in place + 0.0)}) A, {far:.2f} A away"
            for place, far in zip(np.round(operators.motion_A, 2), moved_A, strict=True)
        ]
    turns = zip(
        operators.angle_deg.tolist(),
        operators.axis,
        operators.fold.tolist(),
        operators.translation_A,
        strict=True,
    )
    return [_place(*turn) for turn in turns]


def _place(angle_deg: float, axis: Array, fold: int, translation_A: Array) -> str:
    """One motion in words; turns are anticlockwise, seen from the tip of the axis."""
    words = []
    up = upward(axis[None])[0]
    turned_deg = angle_deg if up @ axis > 0 else 360 - angle_deg
    if angle_deg > 0:
        part = f"{round(turned_deg * fold / 360)}/{fold} turn" if fold else f"{turned_deg:.3f} deg"
        words.append(f"{part} about {direction(up)}")
    if np.any(translation_A[:2]):
        words.append(f"then moved by ({', '.join(f'{p:.3f}' for p in translation_A)}) A")
    elif translation_A[2]:
        words.append(f"{abs(translation_A[2]):.3f} A {'up' if translation_A[2] > 0 else 'down'}")
    return ", ".join(words) or "stays"


def _products(full: Operators) -> Array:
    """Numbers of all products, (G, G) int64; -1 where one leaves the set."""
    count = len(full)
    if count > _MOST_PRODUCTS:
        raise UsageError(
            f"--tables: {full.symmetry} has {count:,} operators, and a table of products holds "
            f"{_MOST_PRODUCTS:,} at most: leave it out"
        )
    numbers = np.arange(count)
    return Motions(full).times(numbers[:, None], numbers[None])


def _grid(table: list[list[int]]) -> list[str]:
    """Numbers in columns."""
    width = len(str(len(table) - 1))
    return [" ".join(f"{'.' if n < 0 else n:>{width}}" for n in row) for row in table]


def _joined(numbers: list[int]) -> str:
    """Numbers with blanks between."""
    return " ".join(map(str, numbers))
