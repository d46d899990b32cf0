"""Lengths of any size counted in one pass, in bins that are decided on afterwards."""

import numpy as np

from numba_symexp.types import Array

_SHIFT = 48
_BINS = 1 << (63 - _SHIFT)
"""The leading bits of a float64 are its exponent and four more: 16 even bins per octave."""

_WIDTHS = 2.0 ** np.arange(-6, 40)


class LengthCounts:
    """Counts of lengths, 16 bins per octave."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, length: Array) -> None:
        """Count lengths, (n,) float64, finite and not negative."""
        bits = np.ascontiguousarray(length + 0.0).view(np.int64) >> _SHIFT
        low, high = int(bits.min(initial=_BINS - 1)), int(bits.max(initial=0))
        if len(bits):
            self._counts[low : high + 1] += np.bincount(bits - low)

    def quantile(self, share: float) -> float:
        """Upper end of the bin that holds the length which a share of all do not exceed."""
        total = np.cumsum(self._counts)
        place = int(np.searchsorted(total, share * total[-1]))
        return float(_edges()[place + 1])

    def histogram(self, bins: int, share: float) -> tuple[Array, Array]:
        """Counts in even bins from 0 that hold at least a share, and the rest as one more.

        The width is a power of two, which makes every edge one of the fine bins' too: the counts
        are exact.

        Parameters
        ----------
        bins : int
            At most 16.
        share : float
            Of all lengths.

        Returns
        -------
        edges : (bins + 1,) float64
        counts : (bins + 1,) int64
            The last one is of lengths beyond the last edge.
        """
        width = next((w for w in _WIDTHS if w * bins >= self.quantile(share)), _WIDTHS[-1])
        edges = width * np.arange(bins + 1)
        fine = np.searchsorted(edges, _edges(), side="right") - 1
        return edges, np.bincount(fine, self._counts, minlength=bins + 1).astype(np.int64)


def _edges() -> Array:
    """Lower ends of the fine bins; those of the last few are no numbers."""
    return (np.arange(_BINS, dtype=np.int64) << _SHIFT).view(np.float64)
