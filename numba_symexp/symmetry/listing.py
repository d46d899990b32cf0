"""The operators of a symmetry as a list: what each is, where it puts its subunit, and products."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_symexp.annotations import AnyPath, Array
from numba_symexp.errors import UsageError
from numba_symexp.option_forms import values_of
from numba_symexp.symmetry.descriptions import describe, motion_in_words
from numba_symexp.symmetry.forms import SYMMETRY_FORMS, point
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.request import SymmetryRequest
from numba_symexp.symmetry.subgroups import Motions, left_cosets

_MOST_PRODUCTS = 1_000
"""So many operators have a million products."""


@dataclass(frozen=True)
class ListedOperator:
    """One operator.

    Attributes
    ----------
    index : int
        Its number among the operators that are listed.
    full_index : int
        Its number in the full set.
    label : str
    fold : int
        Of its axis; 0 where the turns never close.
    angle_deg : float
        Angle of its rotation.
    axis : tuple of float
        Unit vector of its axis.
    rise_index : int
        Number of helical units by which it moves.
    translation_A : tuple of float
        Its translation about the box center.
    center_A : tuple of float or None
        Where it puts the center, in A from the box center; None where no center was given.
    place : str
        The same, or its motion, in words.
    quaternion : tuple of float
        (w, x, y, z) of the rotation.
    matrix : tuple of tuple of float
        Rotation matrix, 3 x 3.
    """

    index: int
    full_index: int
    label: str
    fold: int
    angle_deg: float
    axis: tuple[float, ...]
    rise_index: int
    translation_A: tuple[float, ...]
    center_A: tuple[float, ...] | None
    place: str
    quaternion: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON; ``center_A`` only where there is a center."""
        record = dict(vars(self))
        if self.center_A is None:
            del record["center_A"]
        return record


@dataclass(frozen=True)
class OperatorList:
    """The operators of a symmetry, or those that were chosen of it.

    Attributes
    ----------
    symmetry, convention : str
        The symmetry, and whose name and axes this is.
    description : str
        The full set and its axes, in words.
    chosen : str or None
        How operators were chosen.
    kind : str
        What the operators are, such as ``point_group``, ``helix``, ``own`` or ``subset``.
    operators : tuple of ListedOperator
    products : (G, G) int64, or None
        Where tables were asked for: number of the product of row times column in the full set; -1
        where it leaves the set.
    subgroup : (H,) int64, or None
        Numbers of the subgroup by which operators were chosen.
    left_cosets : (G / H, H) int64, or None
        Its left cosets, one a row; the first number of each is used.
    """

    symmetry: str
    convention: str
    description: str
    chosen: str | None
    kind: str
    operators: tuple[ListedOperator, ...]
    products: Array | None = None
    subgroup: Array | None = None
    left_cosets: Array | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON; tables only where they were asked for."""
        record = {**vars(self), "operators": [each.as_dict() for each in self.operators]}
        for name in ("products", "subgroup", "left_cosets"):
            table = record.pop(name)
            if table is not None:
                record[name] = table.tolist()
        return record


def list_operators(
    symmetry: str | Operators | None = None,
    *,
    convention: str | None = None,
    twist: float | None = None,
    rise: float | None = None,
    order: int | None = None,
    operators_file: AnyPath | None = None,
    origin: str | Sequence[float] | None = None,
    operators: str | Sequence[int] = (),
    modulo: str | None = None,
    axis: str | Sequence[float] | None = None,
    center: AnyPath | Sequence[float] | Sequence[Sequence[float]] | None = None,
    length: float | str | Sequence[float] | None = (),
    unique: bool = False,
    tables: bool = False,
) -> OperatorList:
    """List the operators of a symmetry: axis and angle of each, and where it puts its subunit.

    Parameters
    ----------
    symmetry, convention, twist, rise, order, operators_file
        The symmetry; as in `expand`.
    origin : sequence of float or str, optional
        Point ``x,y,z``, in A from the box center, about which the file states its operators, and
        marker files their markers.
    operators, modulo, axis, unique
        Which operators of the symmetry; as in `expand`.
    center, length : optional
        Points as in `expand`: say where each operator puts them.
    tables : bool
        Compute all products too, and the left cosets where operators are chosen by a subgroup.

    Returns
    -------
    OperatorList

    Raises
    ------
    UsageError, SourceError
        There are no such operators, or too many for a table of their products.
    """
    options = {
        "symmetry": symmetry,
        "convention": convention,
        "twist": twist,
        "rise": rise,
        "order": order,
        "operators_file": operators_file,
        "origin": origin,
        "operators": operators,
        "modulo": modulo,
        "axis": axis,
        "center": center,
        "length": length,
        "unique": unique,
    }
    forms = {**SYMMETRY_FORMS, "origin": point}  # a corner would need the map's box
    request = SymmetryRequest(**values_of(options, forms))
    full = request.full()
    used = request.chosen(full)
    if tables and len(full.centers_A) > 1:
        raise UsageError("tables=True is about one center: give one")
    with_cosets = tables and len(used.subgroup) > 0
    return OperatorList(
        symmetry=str(used.symmetry),
        convention=used.convention,
        description=describe(full),
        chosen=used.chosen or None,
        kind=used.kind,
        operators=tuple(_listed(used, request.has_center)),
        products=_products(full) if tables else None,
        subgroup=used.subgroup if with_cosets else None,
        left_cosets=left_cosets(full, used.subgroup) if with_cosets else None,
    )


def _listed(operators: Operators, has_center: bool) -> list[ListedOperator]:
    """Operators one by one."""
    count = len(operators)
    centers = map(tuple, operators.motion_A.tolist()) if has_center else [None] * count
    return [
        ListedOperator(*values)
        for values in zip(
            range(count),
            operators.full_index.tolist(),
            operators.label,
            operators.fold.tolist(),
            operators.angle_deg.tolist(),
            map(tuple, operators.axis.tolist()),
            operators.rise_index.tolist(),
            map(tuple, operators.translation_A.tolist()),
            centers,
            _places(operators),
            map(tuple, operators.quaternion.tolist()),
            (tuple(map(tuple, matrix)) for matrix in operators.matrix.tolist()),
            strict=True,
        )
    ]


def _places(operators: Operators) -> list[str]:
    """Where each operator puts what operator 0 of the full set leaves in place.

    With a center: where that point goes, in A, and how far from where it was. Else the turn and
    the rise that lead there.
    """
    if np.any(operators.center_A):
        own_A = operators.centers_A[operators.center_index]
        moved_A = np.linalg.norm(operators.motion_A - own_A, axis=1)
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
    return [motion_in_words(*turn) for turn in turns]


def _products(full: Operators) -> Array:
    """Numbers of all products, (G, G) int64; -1 where one leaves the set."""
    count = len(full)
    if count > _MOST_PRODUCTS:
        raise UsageError(
            f"tables=True: {full.symmetry} has {count:,} operators, and a table of products holds "
            f"{_MOST_PRODUCTS:,} at most: leave it out"
        )
    numbers = np.arange(count)
    return Motions(full).times(numbers[:, None], numbers[None])
