"""What the correlations of a map with its copies say."""

from collections.abc import Sequence

import numpy as np

from numba_symexp.maps.report import OrientationFit
from numba_symexp.maps.scene import LEAST_CEILING

THRESHOLD = 0.8
"""Share of the ceiling that makes a fit, unless another one is given."""

MARGIN = 0.02
"""By how much of the ceiling another orientation may be better than the one that is named."""


def reaches(fit: OrientationFit, threshold: float) -> bool:
    """Whether the worst operator of an orientation reaches its share of the ceiling."""
    return fit.share is not None and fit.share >= threshold


def is_best(named: OrientationFit, others: Sequence[OrientationFit], threshold: float) -> bool:
    """Whether the named orientation fits, and no other one is clearly better."""
    shares = [other.share for other in others if other.share is not None]
    return (
        named.share is not None
        and reaches(named, threshold)
        and max(shares, default=-np.inf) <= named.share + MARGIN
    )


def mean_ceiling(fit: OrientationFit) -> float | None:
    """Mean correlation that noise leaves to be reached; None where nothing was compared."""
    ceilings = [each.ceiling for each in fit.operators if each.ceiling is not None]
    return float(np.mean(ceilings)) if ceilings else None


def judge(named: OrientationFit, others: Sequence[OrientationFit], threshold: float) -> str | None:
    """Say whether a map has the named orientation, and what to do if not.

    None where neither the named nor another one fits about the box centre, and noise is not what
    hides it.
    """
    if is_best(named, others, threshold):
        return f"has {named.name}"
    fitting = [other for other in others if reaches(other, threshold)]
    if fitting:
        best = max(fitting, key=lambda fit: fit.share or 0.0)
        return f"has not {named.name}, but {best.name}: use {best.flags}"
    if named.worst is None:
        return (
            "cannot be compared: too little of the mask stays inside the box: use a smaller mask, "
            "or a map in a larger box"
        )
    ceiling = mean_ceiling(named)
    if ceiling is not None and ceiling < LEAST_CEILING:
        return (
            f"noise hides the answer (it leaves a correlation of {ceiling:.2f} to be reached): "
            "give a low-passed map, or a --mask of the particle"
        )
    return None


def neither(named: OrientationFit, threshold: float) -> str:
    """Say that neither the orientation that is named fits, nor another one, nor another point."""
    return (
        f"has not {named.name}, nor another orientation of it, nor about another point: its worst "
        f"operator reaches {named.share or 0.0:.2f} of what noise leaves, and {threshold:g} is "
        "a fit"
    )


def doubts(
    named: OrientationFit, others: Sequence[OrientationFit], threshold: float
) -> tuple[str, ...]:
    """Name the other orientations that fit too, where the named one does."""
    if not is_best(named, others, threshold):
        return ()
    return tuple(
        f"also fits {other.name}: the map has more symmetry than it should, as one that was "
        "expanded or averaged in the wrong orientation (D7 then shows D14), or too little detail "
        "to tell"
        for other in others
        if reaches(other, threshold)
    )
