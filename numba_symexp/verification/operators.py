"""Whether stored operators are what their file says: rotations, a group, a helix."""

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SymmetryError
from numba_symexp.symmetry.operators import Operators

_SAME = 1e-9
_ALL_PRODUCTS = 512
"""Up to so many operators every product is formed; of more, those with a few of them."""

_FEW = 32


def not_rotations(operators: Operators) -> str | None:
    """Say which operator is no rigid motion, or None."""
    turned = np.abs(np.linalg.norm(operators.turn, axis=1) - 1) < _SAME
    if not turned.all():
        return f"the turn about center {int(np.argmin(turned))} is no rotation"
    length = np.linalg.norm(operators.quaternion, axis=1)
    finite = np.isfinite(operators.translation_A).all(axis=1)
    bad = ~((np.abs(length - 1) < _SAME) & finite)
    if not bad.any():
        return None
    first = int(np.argmax(bad))
    return f"operator {first} has a quaternion of length {length[first]:g}"


def not_as_stated(operators: Operators) -> str | None:
    """Say how operators differ from a set of the kind that the file states, or None."""
    if (np.abs(operators.turn[:, 3:]) > _SAME).any():
        return "a turn is not the smallest that takes a direction to z"
    for center, part in enumerate(operators.of_each_center()):
        found = _coincide(part)
        if found is None and part.kind == "group":
            found = _not_a_group(part.matrix, part.translation_A)
        if found is None and part.kind == "helix":
            found = _not_a_helix(part)
        if found is None and not part.symmetry.from_file:
            found = _not_of_its_set(part)
        if found is not None:
            return found if len(operators.centers_A) == 1 else f"center {center}: {found}"
    return None


def _coincide(operators: Operators) -> str | None:
    """Two operators are the same motion."""
    keys = _keys(operators.matrix) + operators.translation_A @ _weights(3, 1)
    order = np.argsort(keys)
    for place in np.flatnonzero(np.diff(keys[order]) < _SAME):
        one, other = sorted(order[place : place + 2].tolist())
        apart = operators.matrix[one] - operators.matrix[other]
        if np.abs(apart).max() < _SAME * 100:
            return f"operators {one} and {other} are the same"
    return None


def _not_a_group(matrices: Array, translations_A: Array) -> str | None:
    """Say which product leaves the set, or None."""
    if np.any(translations_A):
        return f"operator {int(np.argmax(np.any(translations_A, axis=1)))} moves the box center"
    if not len(matrices) or np.abs(matrices[0] - np.eye(3)).max() > _SAME:
        return "operator 0 is not the identity"
    count = len(matrices)
    some = range(count) if count <= _ALL_PRODUCTS else range(0, count, count // _FEW)
    known = np.sort(_keys(matrices))
    for g in some:
        products = np.sort(_keys(matrices[g] @ matrices))
        if np.abs(products - known).max() > _SAME * 10:
            return f"products with operator {g} ({count} in all) leave the set: it is no group"
    return None


def _not_a_helix(operators: Operators) -> str | None:
    """Say what is off the ladder h_k g, or None."""
    matrices, units = operators.matrix, operators.rise_index
    base = units == 0
    order = int(np.count_nonzero(base))
    found = _not_a_group(matrices[base], operators.translation_A[base])
    if found:
        return found
    steps = np.unique(units)
    if len(steps) * order != len(units) or (np.diff(steps) != 1).any():
        return "its units are not 0, +1, -1, +2, ... each with the whole point group"
    if len(steps) == 1:
        return None
    unit = matrices[units == 1][0] @ matrices[base][0].T
    rise_A = operators.translation_A[units == 1][0]
    twist = np.arctan2(unit[1, 0], unit[0, 0])
    for k in steps:
        c, s = np.cos(k * twist), np.sin(k * twist)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        here = units == k
        off = np.abs(matrices[here] - turn @ matrices[base]).max()
        apart = np.abs(operators.translation_A[here] - k * rise_A * (0, 0, 1)).max()
        tolerance = _SAME * 100 * (1 + abs(int(k)))
        if off > tolerance or apart > tolerance * (1 + abs(rise_A[2])):
            return f"unit {int(k):+d} is not {int(k):+d} times unit +1"
    return None


def _not_of_its_set(operators: Operators) -> str | None:
    """Say which operator is not the one of its number in the full set, or None.

    And one of each left coset m H: all products m h, h in H, are the full set, each once.
    """
    try:
        full = operators.symmetry.operators()
    except SymmetryError as error:
        return str(error)
    if len(full) != operators.full_order:
        return f"{operators.symmetry} has {len(full)} operators, not {operators.full_order}"
    index = operators.full_index.astype(np.int64)
    off = np.abs(full.matrix[index] - operators.matrix).max(axis=(1, 2))
    off += np.abs(full.translation_A[index] - operators.translation_A).max(axis=1)
    if (off > _SAME * 100).any():
        first = int(np.argmax(off > _SAME * 100))
        return f"operator {first} is not operator {index[first]} of {operators.symmetry}"
    if operators.kind != "transversal":
        return None
    part = operators.subgroup.astype(np.int64)
    if not len(part) or part.max() >= len(full):
        return "its subgroup is missing"
    found = _not_a_group(full.matrix[np.sort(part)], full.translation_A[np.sort(part)])
    if found:
        return f"subgroup: {found}"
    rotation = operators.matrix[:, None] @ full.matrix[part][None]
    moved_A = np.broadcast_to(operators.translation_A[:, None], rotation.shape[:3])
    reached = _keys(rotation.reshape(-1, 3, 3)) + moved_A.reshape(-1, 3) @ _weights(3, 1)
    wanted = _keys(full.matrix) + full.translation_A @ _weights(3, 1)
    if len(reached) != len(wanted) or np.abs(np.sort(reached) - np.sort(wanted)).max() > 1e-6:
        return "times its subgroup it is not the full set: poses would be missing"
    return None


def _keys(matrices: Array) -> Array:
    """One number of each matrix; equal sets of matrices have equal sets of numbers."""
    return matrices.reshape(len(matrices), 9) @ _weights(9, 0)


def _weights(count: int, seed: int) -> Array:
    """Weights without any simple relation between them."""
    return np.sqrt(np.array([2.0, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37])[3 * seed :][:count])
