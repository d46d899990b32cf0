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
    star_to_cs = (rows.source.vocabulary, known.vocabulary) == (RELION, CRYOSPARC)
    sized = choice.micrograph_px is not None
    kinds = {RELION: ".star"} if rows.components == 3 else {RELION: ".star", CRYOSPARC: ".cs"}
    if choice.recenter and known.vocabulary not in kinds:
        raise UsageError(
            f"recenter= goes with a {' or '.join(kinds.values())} output of {path}, not with "
            f"{suffix}"
        )
    if rows.components == 3 and choice.of_images:
        raise UsageError(
            f"{choice.of_images[0]}= is for images, and {path} has subtomograms: leave it out"
        )
    if choice.recenter and star_to_cs and not sized:
        raise UsageError(
            f"recenter= of {path} into a {suffix} needs to know how large micrographs are: give "
            "micrograph_px=W,H"
        )
    if sized and not choice.recenter and not star_to_cs:
        raise UsageError(
            "micrograph_px= goes with recenter=coordinates, or with particles of RELION that "
            "become a .cs: leave it out"
        )
    used = known.vocabulary == RELION and (choice.recenter or rows.source.vocabulary != RELION)
    used = sized if star_to_cs else used
    if choice.coordinates_y is not None and not used:
        raise UsageError(
            "coordinates_y= goes with particles of CryoSPARC that become a .star, with "
            "recenter=coordinates into a .star, or with micrograph_px= of a .star that becomes a "
            ".cs: leave it out"
        )


def off_micrographs(rows: Poses, known: Format, choice: CoordinateChoice) -> list[str]:
    """A sentence about rows that are off their micrographs; none where all are on them.

    It is about their centers, or about their coordinates where these go over as they are. All rows
    are read for it. Nothing is said where nothing tells how large micrographs are.
    """
    asked = choice.recenter or choice.micrograph_px
    if not asked or rows.components == 3:
        return []
    choice = choice.settled(rows.source.vocabulary, known.vocabulary)
    micrographs = Micrographs.of(rows, choice)
    edge_px = choice.edge_px or 0.0
    count, first = 0, -1
    for block in rows.blocks((INDEX,)) if micrographs.size_is_known else ():
        if choice.recenter:
            place_px = micrographs.centers_px(block)
        else:
            place_px = micrographs.places_px(block.sources)[block.index]
        off = micrographs.is_off(place_px, block, edge_px)
        if off.any() and not count:
            first = rows.table.row_number(block.start + int(np.argmax(off)))
        count += int(np.count_nonzero(off))
    if not count:
        return []
    what = "centers" if choice.recenter else "coordinates"
    margin = f"less than {edge_px:g} px from the edge of their micrographs, or " if edge_px else ""
    return [
        f"{rows.source.path}: the {what} of {count:,} of {len(rows):,} rows are {margin}off their "
        f"micrographs, the first in row {first}: they are written all the same"
    ]
