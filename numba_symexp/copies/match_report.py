"""What the copies of a table are, copy by copy."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CopyReport:
    """One copy: its mean motion relative to the reference, and its operator.

    Attributes
    ----------
    copy : int
        Its number in the table.
    operator, label : int and str, or None
        Number and name of its operator in the table of the symmetry that was found.
    angle_deg : float
        Angle of the recovered rotation.
    axis : tuple of float
        Unit axis of the recovered rotation; z where it does not turn.
    matrix, quaternion : tuple
        Recovered rotation R, 3 x 3, and as a quaternion, scalar first.
    translation_A : tuple of float or None
        Recovered translation t, A; None where no pixel size is known.
    off_deg, off_A : float or None
        How far the recovered motion is from the operator's.
    particles, outliers : int
        Particles with this copy, and how many of them were too far off to count.
    spread_deg, spread_A : float, or None without pixel size
        Root mean square of the deviations of single particles from the mean, without outliers.
    largest_deg, largest_A : float, or None without pixel size
        Largest deviations, with outliers.
    """

    copy: int
    operator: int | None
    label: str | None
    angle_deg: float
    axis: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    quaternion: tuple[float, ...]
    translation_A: tuple[float, ...] | None
    off_deg: float | None
    off_A: float | None
    particles: int
    outliers: int
    spread_deg: float
    largest_deg: float
    spread_A: float | None
    largest_A: float | None


@dataclass(frozen=True)
class MatchReport:
    """What the copies of one table are.

    Attributes
    ----------
    file : str
    verdict : str
        ``whole``: all operators of a known symmetry; ``part``: some of them; ``other``: of another
        symmetry than was given; ``unnamed group``; ``no group``.
    rows, particles : int
        Rows of the table, and particles with copy 0.
    symmetry, convention : str or None
        The symmetry that was found, and whose name this is.
    order : int or None
        Number of its operators.
    description : str
        The symmetry and its axes, or why there is none.
    given : str or None
        The symmetry that was given, and its axes.
    operators_flag : str or None
        Of a part: numbers of its operators, with commas, as the parameter ``operators`` takes them.
    is_group : bool
        Whether the copies themselves are a group.
    reference : int
        Copy from which the motions are counted: 0, but in a .star of a helix the middle one, and
        of a set about several centers the first one about its center.
    center_A : tuple of float
        Point of the map about which the copies are these operators, A from the box center.
    tolerance_deg, tolerance_A : float
        How far, at most, a motion was allowed to be from its operator.
    notes : tuple of str
        What was left out, and what could not be seen.
    copies : tuple of CopyReport
    seconds : float
        Wall time.
    """

    file: str
    verdict: str
    rows: int
    particles: int
    symmetry: str | None
    convention: str | None
    order: int | None
    description: str
    given: str | None
    operators_flag: str | None
    is_group: bool
    reference: int
    center_A: tuple[float, ...]
    tolerance_deg: float
    tolerance_A: float
    notes: tuple[str, ...]
    copies: tuple[CopyReport, ...]
    seconds: float

    @property
    def matched(self) -> bool:
        """Whether the copies are a known symmetry, or part of one, and the given one if any."""
        return self.verdict in ("whole", "part")

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            **asdict(self),
            "centre_A": self.center_A,  # its name up to version 0.1
            "matched": self.matched,
            "is_part": self.operators_flag is not None,
        }
