"""Pictures and counts of where particles are seen from, and how far they are shifted."""

from numba_symexp.plotting.plot import plot
from numba_symexp.plotting.statistics import view_statistics

__all__ = ["plot", "view_statistics"]
