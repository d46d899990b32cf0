"""What the copies of an expanded set are: their motions recovered, and named in our tables."""

from numba_symexp.matching.match import match
from numba_symexp.matching.report import CopyReport, MatchReport

__all__ = ["CopyReport", "MatchReport", "match"]
