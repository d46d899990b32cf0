"""Priors of a pose, which turn and move with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.formats.relion.labels import ANGLES
from numba_symexp.symmetry.mates import mates
from numba_symexp.symmetry.operators import Operators

_PRIORS = ("rlnAngleRotPrior", "rlnAngleTiltPrior", "rlnAnglePsiPrior")
_ORIGIN_PRIORS = (
    ("rlnOriginXPriorAngst", "rlnOriginYPriorAngst", "rlnOriginZPriorAngst"),
    ("rlnOriginXPrior", "rlnOriginYPrior", "rlnOriginZPrior"),
)
"""Priors of origins: in A since RELION 3.1, in pixels before."""

_ON_AXIS = 1e-9


@dataclass(frozen=True)
class Priors:
    """The priors that a file has.

    Attributes
    ----------
    labels : tuple of str
    components : int
        Of an origin: 2 of images, 3 of subtomograms.
    """

    labels: tuple[str, ...]
    components: int

    @classmethod
    def of(cls, labels: Sequence[str], components: int) -> "Priors":
        """Priors among the labels of a file."""
        of_origins = [label for names in _ORIGIN_PRIORS for label in names[:components]]
        return cls(tuple(each for each in (*_PRIORS, *of_origins) if each in labels), components)

    @property
    def needs(self) -> tuple[str, ...]:
        """Labels of which new priors are made."""
        return (*self.labels, *(each for each in ANGLES if self.labels))

    def turned(
        self,
        told: Mapping[str, Array],
        operators: Operators,
        operator: Array,
        psize_A: Array | None,
        place: tuple[Array, Array] | None = None,
    ) -> dict[str, tuple[Array, Array]]:
        """Priors of mates; where one of the angles is missing, the particle has its own angle.

        Parameters
        ----------
        told : mapping of str to (n,) float64
            What the words of the rows say, of the labels in `needs` that there are.
        operators : Operators
        operator : (n,) int
            Number of the operator of each row.
        psize_A : (n,) float64, optional
            A per pixel.
        place : tuple of (n, 2 or 3) float64, optional
            Where a box was moved to, in A and in px: the priors count from there then.

        Returns
        -------
        dict of str to tuple
            Values (n,) of each label, and which rows keep their words.
        """
        count = len(operator)
        zero = np.zeros(count)
        angles = np.stack(
            [
                told.get(prior, told.get(own, zero))
                for prior, own in zip(_PRIORS, ANGLES, strict=True)
            ],
            axis=1,
        )
        still = np.isin(operator, operators.fixed)
        new: dict[str, tuple[Array, Array]] = {}
        turned = turned_angles(angles, operators, operator)
        for k, label in enumerate(_PRIORS):
            new[label] = turned[:, k], still | (turned[:, k] == angles[:, k])
        for unit, (labels, size) in enumerate(zip(_ORIGIN_PRIORS, (1.0, psize_A), strict=True)):
            some = labels[: self.components]
            if not any(label in self.labels for label in some):
                continue
            if not operators.moves and place is None:
                continue
            origins = np.stack([told.get(label, zero) for label in some], axis=1)
            _, moved = mates(angles, "euler_zyz", operators, operator, origins, size)
            if place is not None:
                moved = moved - place[unit]
            same = np.equal(moved, origins) & still[:, None]
            new.update({each: (moved[:, k], same[:, k]) for k, each in enumerate(some)})
        return {label: new[label] for label in self.labels if label in new}

    def moved(
        self, told: Mapping[str, Array], place: tuple[Array, Array]
    ) -> dict[str, tuple[Array, Array]]:
        """Priors of origins of rows that were not turned, and whose boxes moved; see `turned`."""
        new: dict[str, tuple[Array, Array]] = {}
        for labels, taken in zip(_ORIGIN_PRIORS, place, strict=True):
            for k, label in enumerate(labels[: self.components]):
                if label in self.labels:
                    new[label] = told[label] - taken[:, k], taken[:, k] == 0
        return new


def turned_angles(angles: Array, operators: Operators, operator: Array) -> Array:
    """Angles (n, 3) of the mates of poses, each by one operator, in degrees.

    A turn about z by a keeps tilt and psi, and rot becomes rot - a; a 2-fold across z, about
    (cos a, sin a, 0), makes (2 a - rot, 180 - tilt, psi + 180). Where one of the three is not
    known, these forms keep the others right, and so they do where tilt is 0. For other operators
    the angles are those of R^T exp(v).

    Parameters
    ----------
    angles : (n, 3) float64
        rot, tilt, psi.
    operators : Operators
    operator : (n,) int
        Number of the operator of each row.
    """
    w, x, y, z = operators.pose_quaternion[operator.astype(np.int64)].T
    rot, tilt, psi = angles.T
    about, across = np.hypot(x, y) < _ON_AXIS, np.hypot(w, z) < _ON_AXIS
    turned, _ = mates(angles, "euler_zyz", operators, operator)
    by_z = np.stack([rot - np.rad2deg(2 * np.arctan2(z, w)), tilt, psi], axis=1)
    flipped = np.stack([np.rad2deg(2 * np.arctan2(y, x)) - rot, 180 - tilt, psi + 180], axis=1)
    turned = np.where(across[:, None], flipped, np.where(about[:, None], by_z, turned))
    return np.where(np.abs(turned) > 180, 180 - np.remainder(180 - turned, 360), turned)
