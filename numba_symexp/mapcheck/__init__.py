"""Tell whether a map has the symmetry that is named, and in which orientation."""

from numba_symexp.mapcheck.check import mapcheck
from numba_symexp.mapcheck.report import MapReport, OperatorFit, OrientationFit

__all__ = ["MapReport", "OperatorFit", "OrientationFit", "mapcheck"]
