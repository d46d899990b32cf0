"""Where the axes of point groups lie, and what the programs of the field call each orientation.

From the sources of the programs: ChimeraX's and EMAN2's symmetry modules, SciPy's
``Rotation.create_group``, cisTEM, RELION.
"""

from typing import Any, NamedTuple

import numpy as np

PHI = (1 + np.sqrt(np.longdouble(5))) / 2
_Z = (0, 0, 1)
_SQRT2 = np.sqrt(np.longdouble(2))

Generators = tuple[tuple[int, tuple[Any, Any, Any]], ...]

GENERATORS: dict[str, Generators] = {
    "T": ((3, _Z), (2, (0, _SQRT2, 1))),
    "T,z3": ((3, _Z), (2, (0, -_SQRT2, 1))),
    "T,222": ((2, _Z), (3, (1, 1, 1))),
    "O": ((4, _Z), (3, (1, 1, 1))),
    "I1": ((2, _Z), (5, (0, 1, PHI))),
    "I2": ((2, _Z), (5, (1, 0, PHI))),
    "I3": ((5, _Z), (5, (-2, 0, 1))),
    "I4": ((5, _Z), (5, (2, 0, 1))),
    "I,2n5": ((5, _Z), (5, (0, 2, 1))),
    "I,2n5r": ((5, _Z), (5, (0, -2, 1))),
    "I,2n3": ((3, _Z), (5, (0, 2, PHI * PHI))),
    "I,2n3r": ((3, _Z), (5, (0, -2, PHI * PHI))),
}
"""Generators (fold, axis) of each orientation of a polyhedral group."""


class Convention(NamedTuple):
    """How one program names its groups.

    ``dyad`` is the axis of the first 2-fold of Dn; ``names`` are its polyhedral groups, each with
    the orientation that it stands for.
    """

    dyad: str
    names: dict[str, str]


_HOUSE = {"T": "T", "O": "O", "I": "I2", "I1": "I1", "I2": "I2", "I3": "I3", "I4": "I4"}

CONVENTIONS = {
    "cryosparc": Convention("y", _HOUSE),
    "relion": Convention("x", _HOUSE),
    "chimerax": Convention(
        "x",
        {
            "T": "T,222",
            "T,222": "T,222",
            "T,z3": "T,z3",
            "O": "O",
            "I": "I1",
            "I,222": "I1",
            "I,222r": "I2",
            "I,n25": "I3",
            "I,n25r": "I4",
            **{name: name for name in ("I,2n5", "I,2n5r", "I,2n3", "I,2n3r")},
        },
    ),
    "eman2": Convention("x", {"tet": "T,z3", "oct": "O", "icos": "I4", "icos2": "I1"}),
    "scipy": Convention("x", {"T": "T,222", "O": "O", "I": "I1"}),
    "cistem": Convention("x", {"T2": "T", "O": "O", "I": "I1", "I2": "I2"}),
}

HOUSE = ("cryosparc", "relion")
"""Conventions of which ``I`` is I2 and is called so."""


def names(convention: str) -> str:
    """List the symbols of a convention, for a message."""
    if convention in HOUSE:
        return "C1, Cn, Dn (n >= 1), T, O, I (= I2), I1, I2, I3, I4"
    return f"C1; Cn; Dn (n >= 1); {'; '.join(CONVENTIONS[convention].names)}"


def known_elsewhere(symbol: str) -> list[str]:
    """Conventions of other programs that know a symbol."""
    return [
        convention
        for convention, known in CONVENTIONS.items()
        if symbol.lower() in map(str.lower, known.names)
    ]
