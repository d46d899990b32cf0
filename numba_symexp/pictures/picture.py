"""What a picture shows, without how it is drawn."""

from dataclasses import dataclass

from numba_symexp.types import Array


@dataclass(frozen=True)
class Shown:
    """One set of poses.

    Attributes
    ----------
    name, heading : str
        What the poses are; and how many.
    density : (2, S, S) float64
        Of directions, relative to an even one; see `sphere`.
    limit : float
        Where the map of shifts ends, in both directions.
    shifts : (P, P) int64
        Rows by place, y upwards.
    outside : int
        Rows beyond these places.
    """

    name: str
    heading: str
    density: Array
    limit: float
    shifts: Array
    outside: int


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes
    ----------
    title : str
    symmetry : str or None
        The symmetry and its axes, in words.
    axes : list of (int, (3,) float64)
        Folds and directions.
    unit : str
        Of the shifts.
    sets : list of Shown
        Particles and, where they were expanded, rows.
    copies : dict of int to int, or None
        How many particles have how many copies, where that differs.
    """

    title: str
    symmetry: str | None
    axes: list[tuple[int, Array]]
    unit: str
    sets: list[Shown]
    copies: dict[int, int] | None
