"""Particles of M (Warp): places in A and poses, each of them at one or several times.

M writes them as a .star. A place is that of the particle's center, where RELION has an origin that
is taken from a coordinate: the shift is the place, with the other sign.
"""

import itertools
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.formats.relion.labels import (
    ANGLES,
    M_SOURCES,
    SUBTOMOGRAM_ANGLES,
    LabelReader,
)
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.schema import HALF_SET_DTYPE, POSE, PSIZE, SHIFT, SPLIT, UID, UID_DTYPE
from numba_symexp.particles.table import Column
from numba_symexp.symmetry.mates import mates
from numba_symexp.symmetry.operators import Operators

_F8 = np.dtype("<f8")


def _angles(time: int) -> tuple[str, ...]:
    """Labels of the pose at a time, counted from 1."""
    return tuple(f"wrpAngle{name}{time}" for name in ("Rot", "Tilt", "Psi"))


def _place(time: int) -> tuple[str, ...]:
    """Labels of the place at a time, counted from 1."""
    return tuple(f"wrpCoordinate{axis}{time}" for axis in "XYZ")


class MReader(LabelReader):
    """Makes the columns of a particle table from the words of M; see `LabelReader`.

    Poses and places may be at different numbers of times, which are spread evenly over the same
    exposure: a place moves with the pose at its own time, between two poses with what lies between.
    """

    angles: ClassVar[tuple[str, ...]] = _angles(1)
    subset: ClassVar[str] = "wrpRandomSubset"
    sign: ClassVar[float] = -1.0

    @property
    def in_angstrom(self) -> bool:
        """Whether places are in A: always."""
        return True

    @property
    def is_of_subtomograms(self) -> bool:
        """Whether places have three components: always."""
        return True

    def origins_of(self, components: int) -> tuple[str, ...]:
        """Labels of the first place."""
        return _place(1)[:components]

    def torn_angles(self) -> str:
        """What is wrong with labels of which some are missing; empty where nothing is."""
        others = [each for each in (*ANGLES, *SUBTOMOGRAM_ANGLES) if each in self.labels]
        if others:
            return f"has poses of two programs (_{self.angles[0]} and _{others[0]})"
        for labels_of in (_angles, _place):
            for time in itertools.count(1):
                found = [label for label in labels_of(time) if label in self.labels]
                missing = [label for label in labels_of(time) if label not in self.labels]
                if missing and (found or time == 1):
                    return f"has no _{' and no _'.join(missing)}"
                if not found:
                    break
        return ""

    @property
    def columns(self) -> dict[str, Column]:
        """Columns that can be made of the text."""
        found = {POSE: Column(_F8, (3,)), SHIFT: Column(_F8, (3,)), PSIZE: Column(_F8)}
        if self.subset in self.labels:
            found[SPLIT] = Column(HALF_SET_DTYPE)
        return {**found, UID: Column(UID_DTYPE)}

    @property
    def id_labels(self) -> tuple[str, ...]:
        """Labels that tell one particle from another: its tomogram and its place."""
        sources = tuple(label for label in M_SOURCES if label in self.labels)[:1]
        return (*sources, *(label for label in _place(1) if label in self.labels))

    @property
    def ids_tell_images(self) -> bool:
        """Whether rows with the same id show the same image: those of copies show others."""
        return False

    def _times(self) -> tuple[int, int]:
        """Number of poses and of places."""

        def count(first: str) -> int:
            label = first[:-1]
            return next(n for n in itertools.count(1) if f"{label}{n + 1}" not in self.labels)

        return count(_angles(1)[0]), count(_place(1)[0])

    @property
    def further(self) -> tuple[str, ...]:
        """Labels of poses and places at other times than the first."""
        poses, places = self._times()
        later = [label for time in range(2, poses + 1) for label in _angles(time)]
        return (*later, *(label for time in range(2, places + 1) for label in _place(time)))

    @property
    def further_needs(self) -> tuple[str, ...]:
        """All labels of poses and places."""
        return (*self.angles, *self.origins_of(3), *self.further)

    def move_further(
        self, told: Mapping[str, Array], operators: Operators, operator: Array
    ) -> dict[str, Array]:
        """Poses and places at other times, each moved by one operator.

        A pose becomes that of A R, and a place p + A (t + R c), with A of the pose at its time.
        """
        poses, places = self._times()
        angles = [np.stack([told[each] for each in _angles(1 + k)], axis=1) for k in range(poses)]
        moved: dict[str, Array] = {}
        for time in range(1, poses):
            turned, _ = mates(angles[time], "euler_zyz", operators, operator)
            moved.update(zip(_angles(1 + time), turned.T, strict=True))
        for time in range(1, places):
            own = _between(angles, time / (places - 1))
            place_A = np.stack([told[each] for each in _place(1 + time)], axis=1)
            _, shift_A = mates(own, "euler_zyz", operators, operator, -place_A, 1.0)
            moved.update(zip(_place(1 + time), -shift_A.T, strict=True))
        return moved


def _between(angles: list[Array], share: float) -> Array:
    """Poses at a share of the exposure, of poses (n, 3) that are spread evenly over it."""
    at = share * (len(angles) - 1)
    before = min(int(at), max(len(angles) - 2, 0))
    part = at - before
    if part == 0 or len(angles) == 1:
        return angles[before]
    if part == 1:
        return angles[before + 1]
    first, last = (convert(angles[k], "euler_zyz", "quaternion") for k in (before, before + 1))
    cosine = (first * last).sum(axis=1, keepdims=True)
    last = np.where(cosine < 0, -last, last)
    angle = np.arccos(np.minimum(np.abs(cosine), 1))
    sine = np.sin(angle)
    near = sine < 1e-9  # where the straight line is as good
    safe = np.where(near, 1, sine)
    one = np.where(near, 1 - part, np.sin((1 - part) * angle) / safe)
    other = np.where(near, part, np.sin(part * angle) / safe)
    return convert(one * first + other * last, "quaternion", "euler_zyz")
