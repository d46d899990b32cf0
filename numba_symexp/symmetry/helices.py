"""Helices by twist, rise and order, alone or times a point group that shares the axis."""

import math
import re
from dataclasses import replace

import numpy as np

from numba_symexp.errors import SymmetryError
from numba_symexp.symmetry.operators import MAX_OPERATORS, Operators, canonical, multiply
from numba_symexp.symmetry.point_groups import point_group

COINCIDENT_DEG = 1e-6
COINCIDENT_A = 1e-6


def helix(twist: float, rise: float, order: int, group: Operators | str = "C1") -> Operators:
    """Operators of a helix about z, times Cn or Dn: all products h_k g, with h_0 the identity.

    Parameters
    ----------
    twist : float
        Rotation of one helical unit, degrees; positive is right-handed.
    rise : float
        Translation of one helical unit along z, A; any sign.
    order : int
        Number of helical units: k = 0, +1, -1, +2, -2, ... cut after ``order``.
    group : Operators or str, optional
        A point group Cn or Dn on the same axis, as a symbol of the default convention or as
        `point_group` returns it.

    Returns
    -------
    Operators
        ``order * len(group)`` of them; index = rank of k * len(group) + index of g. The product
        h_k g has R = Rz(k twist) R_g and t = (0, 0, k rise): with 2-folds, g h_k would be
        another set.

    Raises
    ------
    SymmetryError
        Not a number, order < 1, a cubic group, operators that coincide, or over 65,536 of them.
    """
    base = point_group(group) if isinstance(group, str) else group
    if not (math.isfinite(twist * order) and math.isfinite(rise * order)):
        raise SymmetryError(f"twist {twist} and rise {rise} must be numbers, and not that large")
    if order < 1:
        raise SymmetryError(f"helical order {order} must be 1 or more (1 copies the set)")
    if base.symmetry[0] not in "CD" or base.kind != "group":
        raise SymmetryError(
            f"a helix and {base.symmetry} do not share an axis: only Cn and Dn go with a helix"
        )
    if order * len(base) > MAX_OPERATORS:
        raise SymmetryError(
            f"order {order:,} times {len(base)} operators of {base.symmetry} is over "
            f"{MAX_OPERATORS:,}, the most that fit operator_index: use a lower order"
        )
    _refuse_coincident(twist, rise, order, base)
    name = f"helix(twist_deg={float(twist)!r},rise_A={float(rise)!r},order={order})"
    ranks = units(order)
    half = np.deg2rad(np.fmod(ranks * twist, 360.0)).astype(np.longdouble) / 2
    zero = np.zeros_like(half)
    turns = np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)
    translations = np.zeros((order, 3))
    translations[:, 2] = ranks * rise + 0.0
    return replace(
        base,
        quaternion=canonical(multiply(turns[:, None], base.quaternion[None])).reshape(-1, 4),
        translation_A=np.repeat(translations, len(base), axis=0),
        label=tuple(_label(int(k), g) for k in ranks for g in base.label),
        symmetry=name if base.symmetry == "C1" else f"{name} x {base.symmetry}",
        kind="helix",
        rise_index=np.repeat(ranks, len(base)).astype(np.int32),
        full_index=np.arange(order * len(base), dtype=np.uint16),
        full_order=order * len(base),
    )


def units(order: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Helical units in the order of the operators: 0, +1, -1, +2, -2, ..., ``order`` of them."""
    rank = np.arange(order)
    return np.where(rank % 2 == 1, (rank + 1) // 2, -(rank // 2))


def parts(symmetry: str) -> tuple[float, float, int, str] | None:
    """Twist (deg), rise (A), order and point group of a helix, from its name; None of others."""
    found = re.fullmatch(r"helix\(twist_deg=(.+),rise_A=(.+),order=(\d+)\)(?: x (\w+))?", symmetry)
    try:
        return found and (float(found[1]), float(found[2]), int(found[3]), found[4] or "C1")
    except ValueError:
        return None


def _label(k: int, group_label: str) -> str:
    """Name of h_k g."""
    if k == 0:
        return group_label
    return f"h{k:+d}" if group_label == "E" else f"h{k:+d} {group_label}"


def _refuse_coincident(twist: float, rise: float, order: int, base: Operators) -> None:
    """Two operators h_j g and h_k g' coincide when h_(j-k) turns by a power of the n-fold."""
    fold_deg = 360.0 / int(base.symmetry[1:])
    steps = np.arange(1, order)
    excess = np.abs(np.remainder(steps * twist + fold_deg / 2, fold_deg) - fold_deg / 2)
    same = (excess < COINCIDENT_DEG) & (np.abs(steps * rise) < COINCIDENT_A)
    if same.any():
        apart = int(steps[same][0])
        raise SymmetryError(
            f"helical operators {apart} unit(s) apart coincide (twist {twist:g} deg, rise "
            f"{rise:g} A, {base.symmetry}): use order <= {apart}, or a rise that is not 0"
        )
