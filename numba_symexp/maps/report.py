"""What the comparison of a map with its rotated copies found, and what that says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LEAST_CEILING = 0.1
"""Below this ceiling the noise hides the answer, unless the noise has the symmetry too."""


@dataclass(frozen=True)
class OperatorFit:
    """The map and its copy by one operator.

    Attributes
    ----------
    label : str
        Name of the operator.
    correlation : float or None
        Pearson correlation in the mask; None where too little of the mask stays inside the box.
    ceiling : float or None
        The best correlation that the noise allows, 0 to 1.
    overlap : float
        Share of the mask's voxels that were compared.
    uncertainty : float or None
        How far correlation / ceiling may be below 1 by interpolation and chance alone.
    """

    label: str
    correlation: float | None
    ceiling: float | None
    overlap: float
    uncertainty: float | None

    @property
    def share(self) -> float | None:
        """Correlation / ceiling; a ceiling below 0.1 counts as 1."""
        if self.correlation is None or self.ceiling is None:
            return None
        return self.correlation / (self.ceiling if self.ceiling >= LEAST_CEILING else 1.0)


@dataclass(frozen=True)
class OrientationFit:
    """The map and one orientation of the symmetry.

    Attributes
    ----------
    name : str
        Symmetry and convention.
    description : str
        Name, order and axes of the orientation.
    flags : str
        What to give in order to name it (``convention=relion``), as far as it differs from the
        orientation that was asked for.
    operators : tuple of OperatorFit
        All but the identity of the named orientation; of another one its generators, of which all
        others are products.
    worst, mean : float or None
        Correlation over these operators; None where a generator could not be compared.
    share : float or None
        The least ratio of correlation and ceiling; a ceiling below 0.1 counts as 1.
    """

    name: str
    description: str
    flags: str
    operators: tuple[OperatorFit, ...]
    worst: float | None
    mean: float | None
    share: float | None


@dataclass(frozen=True)
class MapReport:
    """Everything about one map.

    Attributes
    ----------
    file : str
    fits : bool
        Whether the map has the symmetry in the orientation that was named.
    verdict : str
        What was found and, where it does not fit, what to do.
    notes : tuple of str
        What else deserves a look.
    named : OrientationFit
    others : tuple of OrientationFit
        The other orientations of the symmetry.
    without : str
        Over what the means were taken out of the density first: spheres, rings, pairs (of rings),
        cylinders or nothing.
    ceiling : float or None
        The best correlation that the noise allows, of all named operators; never below what one of
        them reaches.
    noise : float
        Variance of the noise, as a share of all variance in the mask.
    threshold : float
        Share of the ceiling that the worst operator must reach.
    center_A : tuple of float or None
        Where another point than the box center was found about which the symmetry fits: x, y, z
        from the box center.
    rotation : tuple of tuple of float or None
        Matrix of the rotation about ``center_A``, or the box center, that brings the axes to where
        they were asked for, where they were found elsewhere.
    twist_deg, rise_A : float or None
        Of a helix: the twist and rise that were found instead of the ones asked for.
    box : tuple of int
        Voxels of the file along x, y and z.
    psize_A, compared_A : float
        Voxel of the file, and the one at which was compared.
    mask_voxels : int
        Voxels in the mask, at which was compared.
    seconds : float
        Wall time.
    """

    file: str
    fits: bool
    verdict: str
    notes: tuple[str, ...]
    named: OrientationFit
    others: tuple[OrientationFit, ...]
    without: str
    ceiling: float | None
    noise: float
    threshold: float
    center_A: tuple[float, float, float] | None
    rotation: tuple[tuple[float, ...], ...] | None
    twist_deg: float | None
    rise_A: float | None
    box: tuple[int, int, int]
    psize_A: float
    compared_A: float
    mask_voxels: int
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)


THRESHOLD = 0.8
"""Share of the ceiling that counts as a match, unless another one is given."""

MARGIN = 0.02
"""By how much of the ceiling another orientation may be better than the one that is named."""


CLEARLY_BELOW = 0.02
"""By how much of the ceiling an operator must be below the best one to be warned of."""


def meets_threshold(fit: OrientationFit, threshold: float) -> bool:
    """Whether the worst operator reaches its share of the ceiling, and is like the others.

    Of a symmetry that a map has, all operators fit nearly as well as the best one.
    """
    return (
        fit.share is not None
        and fit.share >= threshold
        and outlier(fit, (1 - threshold) / 2) is None
    )


def outlier(fit: OrientationFit, gap: float) -> tuple[OperatorFit, OperatorFit] | None:
    """The worst operator and the best, if they are apart by more than a gap and their uncertainty.

    Parameters
    ----------
    fit : OrientationFit
    gap : float
        Share of the ceiling.
    """
    known = [each for each in fit.operators if each.uncertainty is not None]
    if not known:
        return None
    best = max(known, key=lambda each: each.share or 0.0)
    worst = min(known, key=lambda each: (each.share or 0.0) + (each.uncertainty or 0.0))
    doubt = (best.uncertainty or 0.0) + (worst.uncertainty or 0.0)
    apart = (best.share or 0.0) - (worst.share or 0.0) > gap + doubt
    return (worst, best) if apart else None


def is_best(named: OrientationFit, others: Sequence[OrientationFit], threshold: float) -> bool:
    """Whether the named orientation fits, and no other one is clearly better."""
    shares = [other.share for other in others if other.share is not None]
    return (
        named.share is not None
        and meets_threshold(named, threshold)
        and max(shares, default=-np.inf) <= named.share + MARGIN
    )


def best_ceiling(fit: OrientationFit) -> float | None:
    """The best correlation that the noise allows; None where nothing was compared."""
    return max((each.ceiling for each in fit.operators if each.ceiling is not None), default=None)


def verdict_about_box_center(
    named: OrientationFit, others: Sequence[OrientationFit], threshold: float
) -> str | None:
    """Say whether a map has the named orientation, and what to do if not.

    None where neither the named nor another one fits about the box center, and noise is not what
    hides it.
    """
    if is_best(named, others, threshold):
        return f"has {named.name}"
    fitting = [other for other in others if meets_threshold(other, threshold)]
    if fitting:
        best = max(fitting, key=lambda fit: fit.share or 0.0)
        return f"does not have {named.name}, but has {best.name}: use {best.flags}"
    if named.worst is None:
        return (
            "cannot be compared: too little of the mask stays inside the box: use a smaller mask, "
            "or a map in a larger box"
        )
    ceiling = best_ceiling(named)
    if ceiling is not None and ceiling < LEAST_CEILING:
        return (
            f"noise hides the answer: the best correlation that can be expected is {ceiling:.2f}: "
            "give a low-passed map, or mask=PARTICLE_MASK"
        )
    return None


def verdict_of_no_fit(named: OrientationFit, threshold: float) -> str:
    """Say that no orientation fits, neither about the box center nor about another point."""
    text = (
        f"does not have {named.name} in any known orientation, nor about another point: its worst "
        f"operator reaches {_percent(named.share)} of the best correlation that can be expected, "
    )
    apart = outlier(named, (1 - threshold) / 2)
    if apart is not None and (named.share or 0.0) >= threshold:
        worst, best = apart
        return text + (
            f"while {best.label} reaches {_percent(best.share)}: the map has less symmetry, "
            f"without {worst.label}"
        )
    return f"{text}and {100 * threshold:g} % counts as a match"


def warnings_of(
    named: OrientationFit, others: Sequence[OrientationFit], threshold: float
) -> tuple[str, ...]:
    """Name the other orientations that fit too, and an operator that fits less than the others."""
    if not is_best(named, others, threshold):
        return ()
    notes = [
        f"{other.name} fits too: the map has more symmetry than it should, as a map that was "
        "expanded or averaged in the wrong orientation (D7 then shows D14), or it has too little "
        "detail to tell"
        for other in others
        if meets_threshold(other, threshold)
    ]
    apart = outlier(named, CLEARLY_BELOW)
    if apart is not None:
        worst, best = apart
        notes.append(
            f"{worst.label} fits clearly less than the others: it reaches "
            f"{_percent(worst.share)} of the best correlation that can be expected, {best.label} "
            f"{_percent(best.share)}: the map may have less symmetry than {named.name}"
        )
    return tuple(notes)


def _percent(share: float | None) -> str:
    """A share of the ceiling."""
    return f"{100 * (share or 0.0):.1f} %"
