"""How well a map has each orientation of a symmetry."""

from collections.abc import Callable, Sequence

import numpy as np

from numba_symexp.maps.comparison import Scene, fit_operator
from numba_symexp.maps.report import LEAST_CEILING, OrientationFit
from numba_symexp.symmetry.descriptions import describe
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import Helix
from numba_symexp.symmetry.subgroups import Motions, generators


def all_but_identity(operators: Operators) -> list[int]:
    """Numbers of the operators that move anything."""
    identity = Motions(operators).identity()
    return [number for number in range(len(operators)) if number != identity]


def moving_generators(operators: Operators) -> list[int]:
    """Numbers of the generators; the identity, which a set from a file may list, is none."""
    identity = Motions(operators).identity()
    return [number for number in generators(operators) if number != identity]


def other_orientations(operators: Operators) -> list[Operators]:
    """Orientations that are really different: both hands of some helices are one set."""
    motions = Motions(operators)
    found = []
    for other in operators.variants()[1:]:
        chosen = generators(other)
        known = motions.find(other.matrix[chosen], other.translation_A[chosen])
        if np.any(known < 0):
            found.append(other)
    return found


def fit_orientation(
    scene: Scene,
    operators: Operators,
    numbers: Sequence[int],
    flags: str = "",
    step: Callable[[], None] = lambda: None,
) -> OrientationFit:
    """Compare a map with its copies by some operators of an orientation.

    Parameters
    ----------
    scene : Scene
    operators : Operators
    numbers : sequence of int
        Numbers of the operators to compare; the generators must be among them.
    flags : str, optional
        What to give in order to name the orientation.
    step : callable, optional
        Called after each comparison.
    """
    fits = {}
    rotations = operators.matrix
    for number in numbers:
        fits[number] = fit_operator(
            scene, rotations[number], operators.translation_A[number], operators.label[number]
        )
        step()
    worst = mean = share = None
    if all(fits[number].correlation is not None for number in moving_generators(operators)):
        pairs = [
            (fit.correlation, fit.ceiling)
            for fit in fits.values()
            if fit.correlation is not None and fit.ceiling is not None
        ]
        reached = [correlation for correlation, _ in pairs]
        worst, mean = min(reached), float(np.mean(reached))
        share = min(
            correlation / (ceiling if ceiling >= LEAST_CEILING else 1.0)
            for correlation, ceiling in pairs
        )
    return OrientationFit(
        name_of(operators),
        describe(operators),
        flags,
        tuple(fits.values()),
        worst,
        mean,
        share,
    )


def name_of(operators: Operators) -> str:
    """Symmetry and convention, for a message."""
    return f"{operators.symmetry} ({operators.convention})"


def parameters_of(other: Operators, named: Operators) -> str:
    """What to give in order to name another orientation, as far as it differs."""
    given = []
    one, known = other.symmetry, named.symmetry
    if isinstance(one, Helix) and isinstance(known, Helix) and one.twist_deg != known.twist_deg:
        given.append(f"twist={one.twist_deg:.12g}")
    if str(one.group) != str(known.group):
        given.append(f"symmetry={one.group}")
    if other.convention != named.convention:
        given.append(f"convention={other.convention}")
    return " ".join(given)
