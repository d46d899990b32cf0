"""The kinds of symmetry as values: point group, helix, operators from a file.

A new kind is a subclass of `Symmetry` here, with a name that `parse` reads.
"""

import math
import re
from dataclasses import dataclass, field, replace

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SymmetryError
from numba_symexp.symmetry.interface import MAX_OPERATORS, Symmetry
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.point_groups import (
    CONVENTIONS,
    fold_of,
    other_settings,
    rotations,
    stored_symbol,
)
from numba_symexp.symmetry.quaternions import canonical, multiply

DEFAULT_CONVENTION = "cryosparc"

_FROM_FILE = "operators of "
"""How the stored name of operators from a file begins."""

_HELIX = re.compile(r"helix\(twist_deg=(.+),rise_A=(.+),order=(\d{1,9})\)(?: x (\w+))?")

_COINCIDENT_DEG, _COINCIDENT_A = 1e-6, 1e-6
"""Helical operators that are nearer to each other are the same."""


@dataclass(frozen=True)
class PointGroup(Symmetry):
    """A point group of rotations.

    Attributes
    ----------
    symbol : str
        As `point_group` takes it; stored in its own spelling, ``I2`` for ``i``.
    convention : str
        Whose names and axes.

    Raises
    ------
    SymmetryError
        The symbol or the convention is unknown, or the group has over 65,536 operators.
    """

    symbol: str
    convention: str = DEFAULT_CONVENTION

    def __post_init__(self) -> None:
        symbol, convention = stored_symbol(self.symbol, self.convention)
        object.__setattr__(self, "symbol", symbol)
        object.__setattr__(self, "convention", convention)

    def __str__(self) -> str:
        return self.symbol

    @property
    def order(self) -> int:
        """Number of operators."""
        if self.fold:
            return self.fold * (2 if self.family == "D" else 1)
        return {"T": 12, "O": 24, "I": 60}[self.family]

    @property
    def group(self) -> "PointGroup":
        """The group itself."""
        return self

    @property
    def family(self) -> str:
        """``C``, ``D``, ``T``, ``O`` or ``I``."""
        if self.fold:
            return self.symbol[0]
        return CONVENTIONS[self.convention].names[self.symbol][0]

    @property
    def fold(self) -> int:
        """The n of Cn and Dn; 0 of T, O and I."""
        axial = fold_of(self.symbol)
        return axial[1] if axial else 0

    def operators(self) -> Operators:
        """Rotations, the identity first, ordered by axis."""
        labels, quaternions = rotations(self.symbol, self.convention)
        return Operators(quaternions, np.zeros((len(labels), 3)), labels, self)

    def variants(self) -> list[Symmetry]:
        """The group in all orientations that a program gives it, this one first."""
        others = other_settings(self.symbol, self.convention)
        return [self, *(PointGroup(*other) for other in others)]


@dataclass(frozen=True)
class Helix(Symmetry):
    """A helix about z, alone or times Cn or Dn on the same axis.

    Attributes
    ----------
    twist_deg, rise_A : float
        Rotation and translation of one helical unit.
    order : int
        Number of helical units: 0, +1, -1, +2, -2, ... cut after as many.
    group : PointGroup
        C1 for a helix alone.

    Raises
    ------
    SymmetryError
        Not a number, order < 1, a cubic group, operators that coincide, or over 65,536 of them.
    """

    twist_deg: float
    rise_A: float
    order: int
    group: PointGroup = PointGroup("C1")

    def __post_init__(self) -> None:
        twist, rise, order, group = self.twist_deg, self.rise_A, self.order, self.group
        if not group.fold:
            raise SymmetryError(
                f"a helix and {group} do not share an axis: only Cn and Dn go with a helix"
            )
        if order < 1:
            raise SymmetryError(f"helical order {order} must be 1 or more (1 copies the set)")
        if order * group.order > MAX_OPERATORS:
            raise SymmetryError(
                f"order {order:,} times {group.order} operators of {group} is over "
                f"{MAX_OPERATORS:,}, the most that fit operator_index: use a lower order"
            )
        if not (math.isfinite(twist * order) and math.isfinite(rise * order)):
            raise SymmetryError(
                f"twist {twist} and rise {rise} must be numbers, and not that large"
            )
        object.__setattr__(self, "twist_deg", float(twist))
        object.__setattr__(self, "rise_A", float(rise))
        self._refuse_coincident()

    def __str__(self) -> str:
        helix = f"helix(twist_deg={self.twist_deg!r},rise_A={self.rise_A!r},order={self.order})"
        return helix if self.group.symbol == "C1" else f"{helix} x {self.group}"

    @property
    def convention(self) -> str:
        """Convention of the point group."""
        return self.group.convention

    @property
    def is_helix(self) -> bool:
        """True."""
        return True

    def operators(self) -> Operators:
        """All products h_k g: R = Rz(k twist) R_g and t = (0, 0, k rise), k as in `units`.

        With 2-folds, g h_k would be another set.
        """
        base = self.group.operators()
        ranks = units(self.order)
        # fmod keeps the precision of a large angle; the quaternion of Rz(a) is (cos a/2, 0, 0, sin)
        half = np.deg2rad(np.fmod(ranks * self.twist_deg, 360.0)).astype(np.longdouble) / 2
        zero = np.zeros_like(half)
        turns = np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)
        translations = np.zeros((self.order, 3))
        translations[:, 2] = ranks * self.rise_A + 0.0
        return Operators(
            quaternion=canonical(multiply(turns[:, None], base.quaternion[None])).reshape(-1, 4),
            translation_A=np.repeat(translations, len(base), axis=0),
            label=tuple(_label(int(k), g) for k in ranks for g in base.label),
            symmetry=self,
            kind="helix",
            rise_index=np.repeat(ranks, len(base)).astype(np.int32),
        )

    def variants(self) -> list[Symmetry]:
        """The helix with either hand and the group in either orientation, this one first."""
        twist = self.twist_deg
        hands = [twist] if twist % 180 == 0 else [twist, -twist]
        groups = [each for each in self.group.variants() if isinstance(each, PointGroup)]
        return [replace(self, twist_deg=turn, group=group) for turn in hands for group in groups]

    def _refuse_coincident(self) -> None:
        """Operators h_j g and h_k g' coincide when h_(j-k) turns by a power of the n-fold."""
        fold_deg = 360.0 / self.group.fold
        steps = np.arange(1, self.order)
        turned_deg = steps * self.twist_deg + fold_deg / 2
        excess = np.abs(np.remainder(turned_deg, fold_deg) - fold_deg / 2)
        same = (excess < _COINCIDENT_DEG) & (np.abs(steps * self.rise_A) < _COINCIDENT_A)
        if same.any():
            apart = int(steps[same][0])
            raise SymmetryError(
                f"helical operators {apart} unit(s) apart coincide (twist {self.twist_deg:g} deg, "
                f"rise {self.rise_A:g} A, {self.group}): use order <= {apart}, or a rise that is "
                "not 0"
            )


@dataclass(frozen=True)
class Own(Symmetry):
    """Operators from a file: the name tells where they come from, not what they are.

    Attributes
    ----------
    name : str
        Name of the file.
    typed : bool
        Whether they are only as exact as somebody wrote them down.
    assembly : str
        Which assembly of the file they are, where it has several; no file keeps it.
    """

    name: str
    typed: bool = False
    assembly: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{_FROM_FILE}{self.name}"

    @property
    def convention(self) -> str:
        """``own``: no program's."""
        return "own"

    @property
    def from_file(self) -> bool:
        """True."""
        return True

    def operators(self) -> Operators:
        """Raise: only the file has them."""
        raise SymmetryError(f"{self} cannot be made from their name")


@dataclass(frozen=True)
class Unknown(Symmetry):
    """A name that a file stores and that means nothing; the file is damaged.

    Attributes
    ----------
    name, convention : str
    """

    name: str
    convention: str = ""

    def __str__(self) -> str:
        return self.name

    def operators(self) -> Operators:
        """Raise: nobody knows them."""
        raise SymmetryError(f"{self.name[:60]!r} ({self.convention[:60]}) is no symmetry")


def parse(name: str, convention: str, typed: bool = False) -> Symmetry:
    """Symmetry of the name and the convention that a file stores.

    Parameters
    ----------
    name, convention : str
    typed : bool
        What the file says of operators that came from another file.

    Raises
    ------
    SymmetryError
        There is no such symmetry.
    """
    if name.startswith(_FROM_FILE):
        return Own(name.removeprefix(_FROM_FILE), typed)
    found = _HELIX.fullmatch(name)
    if found is None:
        return PointGroup(name, convention)
    twist, rise, order, symbol = found.groups()
    try:
        twist_deg, rise_A = float(twist), float(rise)
    except ValueError:
        raise SymmetryError(f"{name[:60]!r} is not a helix: its numbers cannot be read") from None
    return Helix(twist_deg, rise_A, int(order), PointGroup(symbol or "C1", convention))


def choose_convention(given: str | None, of_table: object = None) -> str:
    """Convention that is meant: the given one, else the table's, else CryoSPARC's.

    Parameters
    ----------
    given : str or None
        What somebody asks for.
    of_table : str or bytes, optional
        What the table says.
    """
    if given is not None:
        return given
    if isinstance(of_table, bytes):
        return of_table.decode(errors="replace")
    return DEFAULT_CONVENTION if of_table is None else str(of_table)


def point_group(symbol: str, convention: str = DEFAULT_CONVENTION) -> Operators:
    """Operators of a point group, the identity first, ordered by axis.

    Parameters
    ----------
    symbol : str
        ``C1``, ``Cn``, ``Dn`` with any n, ``T``, ``O``, ``I`` (which means I2), ``I1`` to ``I4``;
        upper or lower case. Conventions of other programs have their own names of T, O and I.
    convention : {"cryosparc", "relion", "chimerax", "eman2", "scipy", "cistem"}
        Whose axes: the first 2-fold of Dn lies on y (CryoSPARC) or on x (all others).

    Returns
    -------
    Operators
        n, 2n, 12, 24 or 60 of them, without translation.

    Raises
    ------
    SymmetryError
        The symbol or the convention is unknown, or the group has over 65,536 operators.
    """
    return PointGroup(symbol, convention).operators()


def helix(
    twist: float, rise: float, order: int, group: Operators | PointGroup | str = "C1"
) -> Operators:
    """Operators of a helix about z, times Cn or Dn: all products h_k g, with h_0 the identity.

    Parameters
    ----------
    twist : float
        Rotation of one helical unit, degrees; positive is right-handed.
    rise : float
        Translation of one helical unit along z, A; any sign.
    order : int
        Number of helical units: k = 0, +1, -1, +2, -2, ... cut after ``order``.
    group : Operators, PointGroup or str, optional
        A point group Cn or Dn on the same axis; a symbol is of the default convention.

    Returns
    -------
    Operators
        ``order * len(group)`` of them; index = rank of k * len(group) + index of g. The product
        h_k g has R = Rz(k twist) R_g and t = (0, 0, k rise): with 2-folds, g h_k would be
        another set.

    Raises
    ------
    SymmetryError
        Not a number, order < 1, a cubic group, operators that coincide, or over 65,536 of them.
    """
    base = PointGroup(group) if isinstance(group, str) else group
    if isinstance(base, Operators):
        if base.kind != "group" or not isinstance(base.symmetry, PointGroup):
            raise SymmetryError(
                f"a helix and {base.symmetry} do not share an axis: only Cn and Dn go with a helix"
            )
        base = base.symmetry
    return Helix(twist, rise, order, base).operators()


def as_operators(symmetry: Operators | Symmetry | str, convention: str | None = None) -> Operators:
    """Operators of whatever names them: ready ones, a symmetry, or the symbol of a point group.

    Parameters
    ----------
    symmetry : Operators, Symmetry or str
    convention : str, optional
        Of a symbol.

    Raises
    ------
    SymmetryError
        The symbol or its convention is unknown.
    """
    if isinstance(symmetry, Operators):
        return symmetry
    if isinstance(symmetry, Symmetry):
        return symmetry.operators()
    return point_group(symmetry, choose_convention(convention))


def units(order: int) -> Array:
    """Helical units in the order of the operators: 0, +1, -1, +2, -2, ..., ``order`` of them."""
    rank = np.arange(order)
    return np.where(rank % 2 == 1, (rank + 1) // 2, -(rank // 2))


def _label(k: int, group_label: str) -> str:
    """Name of h_k g."""
    if k == 0:
        return group_label
    return f"h{k:+d}" if group_label == "E" else f"h{k:+d} {group_label}"
