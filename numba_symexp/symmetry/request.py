"""What is asked of a symmetry: which one, which of its operators, and about which points."""

from dataclasses import dataclass

from numba_symexp.annotations import Array
from numba_symexp.errors import UsageError
from numba_symexp.symmetry.center_files import files_of, markers_of, read_centers
from numba_symexp.symmetry.centers import (
    CORNER,
    Point,
    about_centers,
    check_point,
    check_points,
    several_points,
)
from numba_symexp.symmetry.choices import choose
from numba_symexp.symmetry.operator_files import read_operators
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.point_groups import HOUSE, names
from numba_symexp.symmetry.spec import choose_convention, helix, point_group


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
        if not self.marker_files:
            self.needs("origin", "operators_file")
        is_tuple = isinstance(self.length, tuple)
        if not is_tuple or not all(isinstance(each, int | float) for each in self.length):
            raise UsageError(f"length={self.length} is not made of numbers: give lengths in A")
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

    @property
    def marker_files(self) -> list[str]:
        """Those of them whose points count from some origin."""
        return markers_of(self.center) if isinstance(self.center, str) else []

    def needs(self, name: str, other: str) -> None:
        """Refuse an option that says nothing without another."""
        if getattr(self, name) is not None and getattr(self, other) is None:
            raise UsageError(f"{name}= goes with {other}=, which is missing: add it")

    def full(self, convention_of_table: object = None) -> Operators:
        """All operators, about the centers: without those that count from the corner of the map.

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
        if self.center is None or (self.origin == CORNER and self.marker_files):
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
            What `center_files.read_centers` refuses.
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
        turned = self.align or self.align_axis is not None
        return about_centers(operators, centers, self.length, turned, self.align_axis)

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
            if self.symmetry.center_A.any() or len(self.symmetry.turn):
                raise UsageError(
                    "symmetry= has centers of its own: give the set without them, and the points "
                    "as center="
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
