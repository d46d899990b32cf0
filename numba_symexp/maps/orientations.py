"""How well a map has each orientation of a symmetry."""

from collections.abc import Callable, Sequence

import numpy as np

from numba_symexp.maps.comparison import Comparison, Scene, compare, least_noise
from numba_symexp.maps.report import OrientationFit
from numba_symexp.symmetry.descriptions import describe
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import Helix, PointGroup
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


def compare_orientation(
    scene: Scene,
    operators: Operators,
    numbers: Sequence[int],
    step: Callable[[], None] = lambda: None,
) -> dict[int, Comparison]:
    """Compare a map with its copies by some operators of an orientation.

    Parameters
    ----------
    scene : Scene
    operators : Operators
    numbers : sequence of int
        Numbers of the operators to compare; the generators must be among them.
    step : callable, optional
        Called after each comparison.
    """
    found = {}
    rotations = operators.matrix
    for number in numbers:
        found[number] = compare(
            scene, rotations[number], operators.translation_A[number], operators.label[number]
        )
        step()
    return found


def orientation_fit(
    operators: Operators, comparisons: dict[int, Comparison], noise: float, parameters: str = ""
) -> OrientationFit:
    """How well the copies fit, with noise of a variance.

    Parameters
    ----------
    operators : Operators
    comparisons : dict
        As `compare_orientation` gives.
    noise : float
        As `least_noise` gives.
    parameters : str, optional
        What to give in order to name the orientation.
    """
    fits = {number: each.fit(noise) for number, each in comparisons.items()}
    worst = mean = share = None
    if all(fits[number].correlation is not None for number in moving_generators(operators)):
        reached = [fit.correlation for fit in fits.values() if fit.correlation is not None]
        worst, mean = min(reached), float(np.mean(reached))
        share = min(fit.share for fit in fits.values() if fit.share is not None)
    return OrientationFit(
        name_of(operators),
        describe(operators),
        parameters,
        tuple(fits.values()),
        worst,
        mean,
        share,
    )


def fit_orientation(scene: Scene, operators: Operators, numbers: Sequence[int]) -> OrientationFit:
    """Compare a map with its copies by some operators; parameters as of `compare_orientation`."""
    comparisons = compare_orientation(scene, operators, numbers)
    return orientation_fit(operators, comparisons, least_noise(scene, comparisons.values()))


def fold_of(operators: Operators) -> int:
    """The n of Cn and Dn; 0 of all other symmetries."""
    symmetry = operators.symmetry
    return symmetry.fold if isinstance(symmetry, PointGroup) else 0


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
