"""What is asked of the coordinates of particles in their micrographs."""

import math
from dataclasses import dataclass
from numbers import Integral

from numba_symexp.errors import UsageError
from numba_symexp.particles.table import CRYOSPARC

COORDINATES = "coordinates"
"""What origins are baked into."""

FLIPPED, SAME = "flipped", "same"

FOR_MICROGRAPHS = ("micrographs", "micrograph_psize", "micrograph_px", "edge_px")
"""Options that say what is known of micrographs."""


@dataclass(frozen=True)
class CoordinateChoice:
    """What is asked of coordinates; by default they stay.

    Attributes
    ----------
    recenter : {"coordinates"}, optional
        Bake shifts into coordinates.
    coordinates_y : {"flipped", "same"}, optional
        Whether y of a .star counts from the other edge than the y of the images; by default it
        does where CryoSPARC's particles become a .star.
    micrographs : str, optional
        A .star whose optics table says the A per pixel of micrographs.
    micrograph_psize : float, optional
        A per pixel of all micrographs.
    micrograph_px : tuple of int, optional
        Width and height of all micrographs.
    edge_px : float, optional
        Centers that are nearer to an edge of the micrograph are named.

    Raises
    ------
    UsageError
        An option is out of its range, or does not go with another.
    """

    recenter: str | None = None
    coordinates_y: str | None = None
    micrographs: str | None = None
    micrograph_psize: float | None = None
    micrograph_px: tuple[int, ...] | None = None
    edge_px: float | None = None

    def __post_init__(self) -> None:
        if self.recenter not in (None, COORDINATES):
            raise UsageError(f"recenter {self.recenter!r} is not {COORDINATES}")
        if self.coordinates_y not in (None, FLIPPED, SAME):
            raise UsageError(
                f"coordinates_y {self.coordinates_y!r} is neither {FLIPPED} nor {SAME}"
            )
        for name in FOR_MICROGRAPHS:
            if getattr(self, name) is not None and self.recenter is None:
                raise UsageError(f"{name}= goes with recenter={COORDINATES}, which is missing")
        if self.micrographs is not None and self.micrograph_psize is not None:
            raise UsageError("micrographs= and micrograph_psize= say the same: give one of them")
        self._check_numbers()

    def _check_numbers(self) -> None:
        """Refuse numbers out of their range."""
        psize, size, edge = self.micrograph_psize, self.micrograph_px, self.edge_px
        if psize is not None and not 0 < psize < math.inf:
            raise UsageError(f"micrograph_psize {psize:g} must be above 0 A per pixel")
        whole = size is None or all(isinstance(side, Integral) for side in size)
        if size is not None and not (whole and len(size) == 2 and min(size) > 0):
            shown = ",".join(map(str, size))
            raise UsageError(f"micrograph_px {shown} is no width and height W,H above 0")
        if edge is not None and not 0 <= edge < math.inf:
            raise UsageError(f"edge_px {edge:g} must be 0 or more")

    def flips(self, vocabulary: str) -> bool:
        """Whether y of a .star counts from the other edge than that of the images.

        Parameters
        ----------
        vocabulary : str
            Of the particles that the .star is made of.
        """
        return (self.coordinates_y or (FLIPPED if vocabulary == CRYOSPARC else SAME)) == FLIPPED

    @property
    def of_images(self) -> tuple[str, ...]:
        """Names of options that are given and mean nothing for subtomograms."""
        return tuple(n for n in ("coordinates_y", *FOR_MICROGRAPHS) if getattr(self, n) is not None)


KEPT = CoordinateChoice()
"""Coordinates stay as they are."""
