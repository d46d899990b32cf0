"""What somebody says of a symmetry: which operators, which of them, and about which point."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import UsageError
from numba_symexp.symmetry.centers import (
    Point,
    at_length,
    files_of,
    read_centers,
    refuse_double,
    turns_to_z,
)
from numba_symexp.symmetry.descriptions import direction, number_ranges
from numba_symexp.symmetry.operator_files import read_operators
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.point_groups import HOUSE, names
from numba_symexp.symmetry.spec import choose_convention, helix, point_group
from numba_symexp.symmetry.subgroups import (
    Motions,
    left_cosets,
    principal_axis,
    second_axis,
    standard_subgroups,
    subgroup,
)

CORNER = "corner"
"""Name of the map's corner as a point."""

SAME_PLACE_A = 0.1
"""Subunits whose centers are so close are one and the same."""

_NEAR_AXIS_A = 5.0
"""Closer than copies of a subunit are."""

_MOST_PLACES = 1_000

_LARGEST_STEP = 4
"""About an axis some turns move a point farther than others."""


@dataclass(frozen=True, kw_only=True)
class SymmetryRequest:
    """A symmetry, and what is to be used of it.

    Attributes
    ----------
    symmetry : str or Operators, optional
        Point group: C1, Cn, Dn, T, O, I (= I2), I1, I2, I3, I4; or a name of the convention's own;
        or a full set of operators.
    convention : str, optional
        Whose axes and names: cryosparc, relion, chimerax, eman2, scipy or cistem; by default what
        the table says, else cryosparc.
    twist, rise, order : float, float, int, optional
        Helix: degrees and A per unit, number of units. All three or none.
    operators_file : str, optional
        File of operators, instead of a symmetry; see `read_operators`.
    origin : tuple of float or "corner", optional
        Point (x, y, z) of the map, in A from the box center, from which the translations of that
        file count; by default the box center. ``corner`` is that of the map, voxel 0, as in
        ChimeraX and in PDB files.
    operators : tuple of int
        Numbers of the operators to be used; by default all.
    modulo : str, optional
        Subgroup (Cn, Dn, T, O, I): one operator of each of its left cosets is used.
    axis : tuple of float, optional
        Axis (x, y, z) of that subgroup; by default the one nearest to +z.
    center : tuple of float, tuple of points, or str, optional
        Point (x, y, z) of the map, in A from the box center, to be put at the image center; or
        several, each with operators of its own; or a text that `read_centers` reads.
    length : tuple of float
        Distances from the box center, in A, at which the centers are put along their directions:
        one for all, or one for each.
    align : bool
        Turn the map about each center so that the direction to it lies on +z.
    align_axis : tuple of float, optional
        Axis (x, y, z) that is turned to +z instead; it says align, too.
    unique : bool
        Of operators that put the center at the same place, use one.

    Raises
    ------
    UsageError
        An option is out of its range, or does not go with another.
    """

    symmetry: str | Operators | None = None
    convention: str | None = None
    twist: float | None = None
    rise: float | None = None
    order: int | None = None
    operators_file: str | None = None
    origin: Point | str | None = None
    operators: tuple[int, ...] = ()
    modulo: str | None = None
    axis: Point | None = None
    center: Point | tuple[Point, ...] | str | None = None
    length: tuple[float, ...] = ()
    align: bool = False
    align_axis: Point | None = None
    unique: bool = False

    def __post_init__(self) -> None:
        check_point("axis", self.axis)
        check_points("center", self.center)
        check_point("align_axis", self.align_axis)
        if self.origin != CORNER:
            check_point("origin", self.origin)
        if not self.center_files:
            self.needs("origin", "operators_file")
        for name in ("axis", "align_axis"):
            axis = getattr(self, name)
            if axis is not None and not any(axis):
                raise UsageError(f"{name}=0,0,0 has no direction: give x,y,z")
        ways = [name for name in ("operators", "modulo", "unique") if getattr(self, name)]
        if len(ways) > 1:
            both = " and ".join(f"{name}=" for name in ways)
            raise UsageError(f"{both} choose operators each: give one of them")
        self.needs("axis", "modulo")
        for name, given in (
            ("unique=True", self.unique),
            ("length=", self.length),
            ("align=True", self.align),
            ("align_axis=", self.align_axis),
        ):
            if given and not self.has_center:
                raise UsageError(f"{name} goes with center=, which is missing: add it")

    @property
    def has_center(self) -> bool:
        """Whether a point is to be put at the image center."""
        return self.center is not None

    @property
    def center_files(self) -> list[str]:
        """Files that the centers are read from."""
        return files_of(self.center) if isinstance(self.center, str) else []

    def needs(self, name: str, other: str) -> None:
        """Refuse an option that says nothing without another."""
        if getattr(self, name) is not None and getattr(self, other) is None:
            raise UsageError(f"{name}= goes with {other}=, which is missing: add it")

    def full(self, convention_of_table: object = None) -> Operators:
        """All operators, with the center; about the corner where that is the origin.

        Parameters
        ----------
        convention_of_table : str or bytes, optional
            What the table says; it counts where no convention is given.

        Raises
        ------
        UsageError
            No symmetry at all, part of a helix, or what `point_group` and `helix` refuse.
        SourceError
            What `read_operators` refuses.
        """
        operators = self._symmetric(convention_of_table)
        if self.center is None or (self.origin == CORNER and self.center_files):
            return operators  # what the corner is from the box center depends on the table
        origin = None if isinstance(self.origin, str) else self.origin
        return self.about(operators, self.read_centers(origin))

    def read_centers(self, origin_A: Array | Point | None = None) -> tuple[Point, ...]:
        """The centers as they are given, from files too: before ``length`` counts.

        Parameters
        ----------
        origin_A : (3,) float, optional
            Point from which the markers of a file count.

        Raises
        ------
        UsageError, SourceError
            What `symmetry.centers.read_centers` refuses.
        """
        if isinstance(self.center, str):
            return read_centers(self.center, "center", origin_A)
        return several_points(self.center)

    def about(self, operators: Operators, centers: tuple[Point, ...]) -> Operators:
        """A full set about the centers, at their lengths, with their turns.

        Raises
        ------
        UsageError
            Two centers are one, or a direction is missing.
        """
        if self.length:
            centers = at_length(centers, self.length)
        refuse_double(centers)
        turn = None
        if self.align or self.align_axis is not None:
            directions = np.array(centers if self.align_axis is None else [self.align_axis])
            directions = np.broadcast_to(directions, (len(centers), 3))
            if not directions.any(axis=1).all():
                raise UsageError(
                    "align=True turns the direction to the center to z, and 0,0,0 has none: give "
                    "align_axis=x,y,z"
                )
            turn = turns_to_z(directions)
        points_A = np.array(centers, np.float64)
        return operators.about(points_A if len(centers) > 1 else points_A[0], turn)

    def _symmetric(self, convention_of_table: object) -> Operators:
        """Operators of a point group, a helix, a helix times a point group, or a file."""
        helical = {"twist": self.twist, "rise": self.rise, "order": self.order}
        missing = [name for name, value in helical.items() if value is None]
        if self.operators_file is not None:
            if self.symmetry is not None or len(missing) < len(helical):
                raise UsageError("operators_file= brings its own symmetry: give no other")
            operators = read_operators(self.operators_file)
            if self.origin is None or isinstance(self.origin, str):
                return operators
            return operators.counted_from(self.origin)
        if self.symmetry is None and len(missing) == len(helical):
            raise UsageError(
                f"no symmetry: give symmetry= (one of {names(HOUSE[0])}), twist=, rise= and "
                "order=, or operators_file="
            )
        if isinstance(self.symmetry, Operators):
            if len(missing) < len(helical) or self.convention is not None:
                raise UsageError("symmetry= is a set of operators: give no other symmetry with it")
            if self.symmetry.chosen:
                raise UsageError(
                    "symmetry= is a choice of operators: give the full set, and its numbers as "
                    "operators="
                )
            return self.symmetry
        convention = choose_convention(self.convention, convention_of_table)
        group = point_group("C1" if self.symmetry is None else self.symmetry, convention)
        if self.twist is None or self.rise is None or self.order is None:
            if len(missing) < len(helical):
                raise UsageError(
                    "a helix needs twist=, rise= and order= together: "
                    f"add {' and '.join(name + '=' for name in missing)}"
                )
            return group
        return helix(self.twist, self.rise, self.order, group)

    def chosen(self, full: Operators) -> Operators:
        """Those of all operators that are to be used.

        Raises
        ------
        UsageError
            What `choose` refuses.
        """
        return choose(full, self.operators, self.modulo, self.axis, self.unique)


def corner_of(box: int | Sequence[int], voxel_A: float) -> Array:
    """Corner of a map, the center of voxel 0, in A from its box center, voxel N // 2.

    Parameters
    ----------
    box : int or sequence of int
        Voxels along a side, or along x, y and z.
    voxel_A : float
    """
    return -(np.broadcast_to(np.asarray(box, np.int64), 3) // 2) * voxel_A


def check_point(name: str, point: Any) -> None:
    """Refuse what is no point (x, y, z)."""
    try:
        if point is None or (len(point) == 3 and all(math.isfinite(part) for part in point)):
            return
    except TypeError:
        pass
    raise UsageError(f"{name}={point} is not a point: give three numbers x,y,z")


def several_points(points: Any) -> tuple[Point, ...]:
    """Points, of one or of several."""
    found = np.array(points, np.float64).reshape(-1, 3)
    return tuple((x, y, z) for x, y, z in found.tolist())


def check_points(name: str, points: Any) -> None:
    """Refuse what is neither a point (x, y, z), nor several, nor a text."""
    if points is None or isinstance(points, str):
        return
    try:
        several = len(points) > 0 and not isinstance(points[0], float | int | np.number)
    except (TypeError, IndexError, KeyError):
        several = False
    for point in points if several else [points]:
        check_point(name, point)


def choose(
    full: Operators,
    numbers: tuple[int, ...] = (),
    modulo: str | None = None,
    axis: tuple[float, float, float] | None = None,
    unique: bool = False,
) -> Operators:
    """Choose operators of a full set, in one way at most.

    Parameters
    ----------
    full : Operators
        With the center, if there is one.
    numbers : tuple of int, optional
        Numbers of the operators to be kept; each once.
    modulo : str, optional
        A subgroup: one operator of each of its left cosets is kept, the lowest.
    axis : tuple of float, optional
        Axis of the subgroup; see `subgroup`.
    unique : bool
        Of operators that put the center at the same place, keep the lowest.

    Returns
    -------
    Operators
        Of kind ``subset`` or ``transversal``; the full set where nothing is chosen.

    Raises
    ------
    UsageError
        A number is beyond the set or comes twice, the set has no such subgroup, or operators that
        put the center at one place are none.
    """
    if len(full.centers_A) > 1:
        parts = full.of_each_center()
        return _together(full, [choose(each, numbers, modulo, axis, unique) for each in parts])
    if numbers:
        return _by_number(full, numbers)
    if modulo is not None:
        return _modulo(full, modulo, axis)
    return _one_for_each_place(full) if unique else full


def stabilizer(full: Operators) -> Array:
    """Numbers of the operators that leave the center where it is, (H,) int64, ascending.

    With a center on a symmetry axis these are the turns about it; else the identity alone, if the
    set has it.
    """
    moved_A = np.linalg.norm(full.motion_A - full.center_A, axis=1)
    motions = Motions(full)
    near = np.flatnonzero(moved_A <= SAME_PLACE_A).tolist()
    found = motions.closure(near, len(full)) if near else None
    if found is None or (moved_A[found] > _LARGEST_STEP * SAME_PLACE_A).any():
        return np.array([motions.identity()] if motions.identity() >= 0 else [], np.int64)
    return found


def at_one_place(operators: Operators) -> list[int]:
    """Numbers in the full set of the most operators that put the center at one place, ascending.

    None of more operators than anybody puts about a point.
    """
    if len(operators) > _MOST_PLACES:
        return []
    apart_A = np.linalg.norm(operators.motion_A[:, None] - operators.motion_A[None], axis=2)
    together = apart_A <= SAME_PLACE_A
    return operators.full_index[together[together.sum(axis=1).argmax()]].tolist()


def nearly_on_axis(full: Operators) -> tuple[int, float] | None:
    """Operator of the point group that moves the center by a little, and how far in A, or None.

    Then the center was probably meant to lie on an axis.
    """
    moved_A = np.linalg.norm(full.motion_A - full.center_A, axis=1)
    moved_A[(full.rise_index != 0) | (moved_A <= SAME_PLACE_A)] = np.inf
    moved_A[stabilizer(full)] = np.inf
    nearest = int(np.argmin(moved_A))
    return (nearest, float(moved_A[nearest])) if moved_A[nearest] < _NEAR_AXIS_A else None


def _together(full: Operators, parts: Sequence[Operators]) -> Operators:
    """What was chosen for each of several centers, as a choice of the full set about all."""
    ways = [each.chosen for each in parts]
    if not any(ways):
        return full
    order = full.full_order // len(parts)
    numbers: list[int] = []
    subgroups: list[int] = []
    for center, part in enumerate(parts):
        own = part.subgroup if len(part.subgroup) else [Motions(part).identity()]
        numbers += (part.full_index.astype(np.int64) + center * order).tolist()
        subgroups += (np.asarray(own, np.int64) + center * order).tolist()
    chosen = ways[0]
    if len({*ways}) > 1:
        chosen = "; ".join(f"center {k}: {way or 'all'}" for k, way in enumerate(ways))
    if any(each.kind == "subset" for each in parts):
        return full.choose(numbers, "subset", chosen)
    return full.choose(numbers, "transversal", chosen, subgroups)


def _by_number(full: Operators, numbers: tuple[int, ...]) -> Operators:
    """Operators of these numbers, in ascending order."""
    beyond = [number for number in numbers if not 0 <= number < len(full)]
    if beyond:
        raise UsageError(
            f"operators={beyond[0]}: {full.symmetry} has operators 0 to {len(full) - 1:,}"
        )
    kept = sorted(set(numbers))
    if len(kept) < len(numbers):
        double = next(number for number in numbers if numbers.count(number) > 1)
        raise UsageError(f"operators={double} is given twice: give it once")
    return full.choose(kept, "subset", f"operator(s) {number_ranges(kept)}")


def _modulo(full: Operators, symbol: str, axis: tuple[float, float, float] | None) -> Operators:
    """One operator of each left coset of a subgroup."""
    numbers = subgroup(full, symbol, axis)
    cosets = left_cosets(full, numbers)
    about = principal_axis(full, numbers)
    place = "" if about is None else f" on {direction(about)}"
    across = second_axis(full, numbers)
    if across is not None and not any(
        np.array_equal(numbers, each) for each in standard_subgroups(full, symbol)
    ):  # the name and its first axis do not tell which Dn it is
        place += f", 2-fold on {direction(across)}"
    chosen = f"one of each left coset of {symbol.strip().upper()}{place}"
    return full.choose(cosets[:, 0], "transversal", chosen, numbers.tolist())


def _one_for_each_place(full: Operators) -> Operators:
    """One operator of each left coset of the stabilizer of the center."""
    numbers = stabilizer(full)
    if len(numbers) <= 1:
        together = at_one_place(full)
        if len(together) > 1:
            raise UsageError(
                f"unique=True: operators {number_ranges(together)} put the center at one place and "
                "are not a subgroup: choose with operators="
            )
        return full
    # a file stores this text, so its spelling is part of the format
    chosen = f"one of the {len(numbers)} that put the centre at each place"
    cosets = left_cosets(full, numbers)
    return full.choose(cosets[:, 0], "transversal", chosen, numbers.tolist())
