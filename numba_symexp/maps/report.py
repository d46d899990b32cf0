"""What the comparison of a map with its rotated copies found."""

from dataclasses import asdict, dataclass
from typing import Any


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
        Correlation that noise leaves to be reached, 0 to 1.
    overlap : float
        Share of the mask's voxels that were compared.
    """

    label: str
    correlation: float | None
    ceiling: float | None
    overlap: float


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
        Flags that name it, where they differ from the ones of the orientation that was named.
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
        Correlation that noise leaves to be reached, a mean over the named operators.
    noise : float
        Variance of the noise, as a share of all variance in the mask.
    threshold : float
        Share of the ceiling that the worst operator must reach.
    center_A : tuple of float or None
        Where another point than the box centre was found about which the symmetry fits: x, y, z
        from the box centre.
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
    box: tuple[int, int, int]
    psize_A: float
    compared_A: float
    mask_voxels: int
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)
