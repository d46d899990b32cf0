"""What is asked of coordinates: where it cannot be, and which rows are off their micrographs."""

import numpy as np

from numba_symexp.errors import UsageError
from numba_symexp.formats.interface import Format
from numba_symexp.formats.micrographs import Micrographs
from numba_symexp.particles.coordinate_choice import CoordinateChoice
from numba_symexp.particles.table import CRYOSPARC, RELION
from numba_symexp.poses import INDEX, Poses


def refuse_choice(rows: Poses, known: Format, choice: CoordinateChoice) -> None:
    """Refuse what is asked of coordinates where the output, or the particles, have none such.

    Raises
    ------
    UsageError
        Names the option.
    """
    path, suffix = rows.source.path, known.kind.suffixes[0]
    if choice.recenter and known.vocabulary != RELION and rows.source.vocabulary != CRYOSPARC:
        raise UsageError(
            f"recenter= goes with coordinates, which a {suffix} made of {path} has not: write a "
            ".star"
        )
    if choice.recenter and known.vocabulary not in (CRYOSPARC, RELION):
        raise UsageError(f"recenter= goes with a .star or .cs output, not with {suffix}")
    if rows.components == 3 and choice.of_images:
        raise UsageError(
            f"{choice.of_images[0]}= is for images, and {path} has subtomograms: leave it out"
        )
    used = known.vocabulary == RELION and (choice.recenter or rows.source.vocabulary != RELION)
    if choice.coordinates_y is not None and not used:
        raise UsageError(
            "coordinates_y= goes with particles of CryoSPARC that become a .star, or with "
            "recenter=coordinates into a .star: leave it out"
        )


def off_micrographs(rows: Poses, choice: CoordinateChoice) -> list[str]:
    """A sentence about rows whose centers are off their micrographs; none where all are on them.

    All rows are read for it. Nothing is said where nothing tells how large micrographs are.
    """
    if choice.recenter is None or rows.components == 3:
        return []
    micrographs = Micrographs.of(rows, choice)
    edge_px = choice.edge_px or 0.0
    count, first = 0, -1
    for block in rows.blocks((INDEX,)) if micrographs.size_is_known else ():
        off = micrographs.is_off(block, edge_px)
        if off.any() and not count:
            first = block.start + int(np.argmax(off))
        count += int(np.count_nonzero(off))
    if not count:
        return []
    margin = f"less than {edge_px:g} px from the edge of their micrographs, or " if edge_px else ""
    return [
        f"{rows.source.path}: the centers of {count:,} of {len(rows):,} rows are {margin}off their "
        f"micrographs, the first in row {first}: they are written all the same"
    ]
