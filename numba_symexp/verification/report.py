"""What a verification found: numbered checks, each passed or failed."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name : str
        What was checked, in a word or two.
    passed : bool
    detail : str
        What was found; of a failure, its first offender and how many there are.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class VerificationReport:
    """All checks of one file, in order; those after a failure that hides them are missing.

    Attributes
    ----------
    file : str
    checks : tuple of Check
    rows : int
        Rows that were recomputed.
    largest_angle_deg, largest_shift_px : float or None
        Largest errors of pose and shift over all rows; None where none was recomputed.
    seconds : float
        Wall time.
    """

    file: str
    checks: tuple[Check, ...]
    rows: int = 0
    largest_angle_deg: float | None = None
    largest_shift_px: float | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        numbered = [{"number": k, **asdict(c)} for k, c in enumerate(self.checks, start=1)]
        return {**asdict(self), "checks": numbered, "passed": self.passed}
