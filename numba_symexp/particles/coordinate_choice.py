"""What is asked of the coordinates of particles in their micrographs."""

import math
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Self

from numba_symexp.errors import UsageError
from numba_symexp.particles.table import CRYOSPARC

COORDINATES = "coordinates"
"""What origins are baked into."""

FLIPPED, SAME = "flipped", "same"

FOR_MICROGRAPHS = ("micrographs", "micrograph_psize", "micrograph_px", "edge_px")
"""Options that say what is known of micrographs."""

_FAR = 1 << 32
"""CryoSPARC keeps sides of micrographs in 32 bits."""


@dataclass(frozen=True)
class CoordinateChoice:
    """What is asked of coordinates; by default they stay.

    Attributes
    ----------
    recenter : {"coordinates"}, optional
        Bake shifts into coordinates.
    coordinates_y : {"flipped", "same"}, optional
        Whether y of a .star counts from the other edge than the y of the images; by default it
        does where particles of CryoSPARC become a .star.
    micrographs : str, optional
        A .star whose optics table says the A per pixel of micrographs.
    micrograph_psize : float, optional
        A per pixel of all micrographs.
    micrograph_px : tuple of int, optional
        Width and height of all micrographs, by which coordinates of a .star go into a .cs too.
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
        if self.recenter is None:
            self._refuse_without_recenter()
        if self.micrographs is not None and self.micrograph_psize is not None:
            raise UsageError("micrographs= and micrograph_psize= say the same: give one of them")
        self._check_numbers()

    def _refuse_without_recenter(self) -> None:
        """Refuse what says nothing where coordinates stay, or go into a .cs as they are."""
        if self.edge_px is not None:
            raise UsageError(f"edge_px= goes with recenter={COORDINATES}, which is missing")
        for name in ("micrographs", "micrograph_psize"):
            if getattr(self, name) is not None and self.micrograph_px is None:
                raise UsageError(
                    f"{name}= goes with recenter={COORDINATES}, or with micrograph_px=W,H of a "
                    ".star that becomes a .cs: both are missing"
                )

    def _check_numbers(self) -> None:
        """Refuse numbers out of their range."""
        psize, size, edge = self.micrograph_psize, self.micrograph_px, self.edge_px
        if psize is not None and not 0 < psize < math.inf:
            raise UsageError(f"micrograph_psize {psize:g} must be above 0 A per pixel")
        if size is not None:
            right = all(isinstance(side, Integral) and 0 < side < _FAR for side in size)
            if not right or len(size) != 2:
                shown = ",".join(map(str, size))
                raise UsageError(
                    f"micrograph_px {shown} is no width and height W,H above 0 and below {_FAR:,}"
                )
        if edge is not None and not 0 <= edge < math.inf:
            raise UsageError(f"edge_px {edge:g} must be 0 or more")

    def settled(self, source: str, output: str) -> Self:
        """Return the same choice, with the way of y that holds where none is given.

        Parameters
        ----------
        source, output : str
            Vocabularies of the particles, and of the file that is written.
        """
        default = FLIPPED if source == CRYOSPARC != output else SAME
        return replace(self, coordinates_y=self.coordinates_y or default)

    @property
    def flips(self) -> bool:
        """Whether y of the .star counts from the other edge than that of the images."""
        return self.coordinates_y == FLIPPED

    @property
    def of_images(self) -> tuple[str, ...]:
        """Names of options that are given and mean nothing for subtomograms."""
        return tuple(n for n in ("coordinates_y", *FOR_MICROGRAPHS) if getattr(self, n) is not None)


KEPT = CoordinateChoice()
"""Coordinates stay as they are."""
