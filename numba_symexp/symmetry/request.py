"""What somebody says of a symmetry: which operators, which of them, and about which point."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from numba_symexp.errors import UsageError
from numba_symexp.symmetry.choosing import choose
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.resolve import resolve

Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class SymmetryRequest:
    """A symmetry, and what is to be used of it.

    Attributes
    ----------
    symmetry : str, optional
        Point group: C1, Cn, Dn, T, O, I (= I2), I1, I2, I3, I4; or a name of the convention's own.
    convention : str, optional
        Whose axes and names: cryosparc, relion, chimerax, eman2, scipy or cistem; by default what
        the table says, else cryosparc.
    twist, rise, order : float, float, int, optional
        Helix: degrees and A per unit, number of units. All three or none.
    operators_file : str, optional
        File of operators, instead of a symmetry; see `read_operators`.
    operators : tuple of int
        Numbers of the operators to be used; by default all.
    modulo : str, optional
        Subgroup (Cn, Dn, T, O, I): one operator of each of its left cosets is used.
    axis : tuple of float, optional
        Axis (x, y, z) of that subgroup; by default the one nearest to +z.
    center : tuple of float, optional
        Point (x, y, z) of the map, in A from the box centre, to be put at the image centre.
    unique : bool
        Of operators that put the centre at the same place, use one.

    Raises
    ------
    UsageError
        An option is out of its range, or does not go with another.
    """

    symmetry: str | None = None
    convention: str | None = None
    twist: float | None = None
    rise: float | None = None
    order: int | None = None
    operators_file: str | None = None
    operators: tuple[int, ...] = ()
    modulo: str | None = None
    axis: Point | None = None
    center: Point | None = None
    unique: bool = False

    def __post_init__(self) -> None:
        check_point("axis", self.axis)
        check_point("center", self.center)
        if self.axis is not None and not any(self.axis):
            raise UsageError("axis 0,0,0 has no direction: give x,y,z")
        ways = [name for name in ("operators", "modulo", "unique") if getattr(self, name)]
        if len(ways) > 1:
            raise UsageError(f"--{' and --'.join(ways)} choose operators each: give one of them")
        self.needs("axis", "modulo")
        if self.unique and not self.centred:
            raise UsageError("--unique goes with --center, which is missing: add it")

    @property
    def centred(self) -> bool:
        """Whether a point is to be put at the image centre."""
        return self.center is not None

    def needs(self, name: str, other: str) -> None:
        """Refuse an option that says nothing without another."""
        if getattr(self, name) is not None and getattr(self, other) is None:
            raise UsageError(f"--{name} goes with --{other}, which is missing: add it")

    def full(self, convention: str = "cryosparc") -> Operators:
        """All operators, with the centre; in this convention where none is given.

        Raises
        ------
        UsageError, SourceError
            What `resolve` refuses.
        """
        operators = resolve(
            self.symmetry,
            self.convention or convention,
            self.twist,
            self.rise,
            self.order,
            self.operators_file,
        )
        if self.center is None:
            return operators
        return replace(operators, center_A=np.array(self.center, np.float64))

    def chosen(self, full: Operators) -> Operators:
        """Those of all operators that are to be used.

        Raises
        ------
        UsageError
            What `choose` refuses.
        """
        return choose(full, self.operators, self.modulo, self.axis, self.unique)


def check_point(name: str, point: Any) -> None:
    """Refuse what is no point (x, y, z)."""
    try:
        if point is None or (len(point) == 3 and all(math.isfinite(part) for part in point)):
            return
    except TypeError:
        pass
    raise UsageError(f"{name} {point} is no point: give three numbers x,y,z")
