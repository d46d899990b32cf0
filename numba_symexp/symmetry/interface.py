"""What every symmetry offers, and how exact its operators are; `spec` has the kinds of symmetry."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numba_symexp.symmetry.operators import Operators


MAX_OPERATORS = 65_536
"""As many as operator_index, a uint16, can tell apart."""


class Precision(NamedTuple):
    """How exact the numbers of a set of operators are.

    Attributes
    ----------
    matrix, shift_A : float
        How far equal motions may differ, in an entry of R and in a component of t.
    highest_fold : int
        Highest fold that a turn is tested for.
    turn : float
        How far a turn may be from a multiple of 1/fold; far less than folds differ.
    decimals : int
        Decimals to which an axis is known.
    """

    matrix: float
    shift_A: float
    highest_fold: int
    turn: float
    decimals: int


EXACT = Precision(1e-9, 1e-6, MAX_OPERATORS, 1e-11, 6)

TYPED = Precision(2e-3, 0.2, 60, 1e-5, 3)


class Symmetry(ABC):
    """What a set of operators was made from.

    A value: equal symmetries compare equal. ``str()`` gives the name that a file stores beside the
    convention, and `spec.parse` turns both back into the value. The kinds are in `spec`.
    """

    @property
    @abstractmethod
    def convention(self) -> str:
        """Program whose names and axes are meant; ``own`` for operators from a file."""

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def operators(self) -> "Operators":
        """All operators, the identity first.

        Raises
        ------
        SymmetryError
            They do not follow from the name.
        """

    def variants(self) -> "list[Symmetry]":
        """List the symmetry and then its other orientations and hands."""
        return [self]

    @property
    def group(self) -> "Symmetry | None":
        """The point group itself, or the one of a helix; None where there is no name for it."""
        return None

    @property
    def family(self) -> str:
        """``C``, ``D``, ``T``, ``O`` or ``I`` of a point group; else empty."""
        return ""

    @property
    def is_helix(self) -> bool:
        """Whether there is a helical twist and rise."""
        return False

    @property
    def from_file(self) -> bool:
        """Whether the operators come from a file, so that the name does not tell them."""
        return False

    @property
    def typed(self) -> bool:
        """Whether the operators are only as exact as somebody wrote them down."""
        return False

    @property
    def kind(self) -> str:
        """What its full set is: ``group``, ``helix`` or ``own``."""
        if self.from_file:
            return "own"
        return "helix" if self.is_helix else "group"

    @property
    def assembly(self) -> str:
        """Which one the operators are of, where they come from a file of several assemblies."""
        return ""

    @property
    def precision(self) -> Precision:
        """How exact the numbers of the operators are."""
        return TYPED if self.typed else EXACT
