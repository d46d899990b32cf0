"""Choose rows of an expanded set."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numba_symexp.annotations import AnyPath, Progress
from numba_symexp.conversion.export_table import OutputPair, check_rows, export_rows, steps_after
from numba_symexp.conversion.particle_output import ParticleOutput
from numba_symexp.errors import SourceError, UsageError
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.files import path_or_none
from numba_symexp.formats import format_of_output
from numba_symexp.kinds import HDF5
from numba_symexp.output import OutputFile
from numba_symexp.particles.columns import expanded_by
from numba_symexp.particles.coordinate_choice import COORDINATES, CoordinateChoice
from numba_symexp.particles.schema import CRYOSPARC_EXPANDED, SOURCE_LABEL
from numba_symexp.particles.table import ParticleTable, SomeRows
from numba_symexp.poses import Poses, open_poses
from numba_symexp.selection.criteria import ByCenter, ByHalf, ByOperator, ByValue, ByView
from numba_symexp.selection.criterion import Criterion, apply
from numba_symexp.selection.micrographs import Inside, Located
from numba_symexp.selection.one_of_several import Apart, Best, OnePerParticle, Unlike
from numba_symexp.selection.rows import SelectedExpansion, write_selected

PARTICLE, MICROGRAPH = "particle", "micrograph"

_COPY_FIELDS = {f"{CRYOSPARC_EXPANDED}src_uid", f"{CRYOSPARC_EXPANDED}idx"}


@dataclass(frozen=True)
class SelectReport:
    """What `select` wrote.

    Attributes
    ----------
    source, output : str
    rows, of : int
        Rows that were written, and rows of the source.
    dropped : dict of str to int
        How many rows were left out for which reason, in the order in which they were looked at.
    notes : tuple of str
        What the user should know.
    files : tuple of str
        All files that were written.
    next_steps : str
        What may be done with the copies, and what must not; empty where one of each particle stays.
    """

    source: str
    output: str
    rows: int
    of: int
    dropped: dict[str, int]
    notes: tuple[str, ...]
    files: tuple[str, ...]
    next_steps: str = ""


def select(
    file: AnyPath,
    output: AnyPath,
    *,
    operators: Sequence[int] = (),
    centers: Sequence[int] = (),
    half: int | None = None,
    where: Mapping[str, str | float] | None = None,
    view: tuple[float, float] | None = None,
    inside: bool = False,
    edge_px: float | None = None,
    one_per_particle: bool = False,
    same_pose: tuple[float, float] | None = None,
    min_distance_A: float | None = None,
    within: str = PARTICLE,
    score: str | None = None,
    lowest: bool = False,
    random: int | None = None,
    micrographs: AnyPath | None = None,
    micrograph_psize: float | None = None,
    micrograph_px: tuple[int, ...] | None = None,
    coordinates_y: str | None = None,
    psize: float | None = None,
    source: AnyPath | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SelectReport:
    """Write some rows of an expanded set, which still know their source and their operator.

    Criteria are looked at in the order of these parameters, each among the rows that are left.

    Parameters
    ----------
    file : str or path
        Expanded table; or an expanded .cs or .star.
    output : str or path
        What to write, in the format that its suffix names: an expanded table of format version 2
        in HDF5, or RELION's or CryoSPARC's particles.
    operators : sequence of int
        Keep rows of these operators, by their numbers in the full set.
    centers : sequence of int
        Keep rows about these centers, by their numbers from 0.
    half : {1, 2}, optional
        Keep rows of a half-set, as RELION counts.
    where : mapping, optional
        Keep rows whose columns have these values, or values in a range such as ``"0.5..2"``.
    view : tuple of float, optional
        Keep rows whose center is seen at these angles, from 0 (towards the viewer) to 180 deg.
    inside : bool
        Keep rows whose center lies on the micrograph.
    edge_px : float, optional
        How far from its edge at least, in its pixels.
    one_per_particle : bool
        Keep one copy of each particle.
    same_pose : tuple of float, optional
        Of copies of a particle that are within so many A and degrees of each other, keep one.
    min_distance_A : float, optional
        Keep rows so that no two are nearer to each other than this, in projection.
    within : {"particle", "micrograph"}
        Among which rows distances are looked at.
    score : str, optional
        Column that tells which one stays: the largest value; else the first in the file.
    lowest : bool
        The smallest value of the score stays, as of an error.
    random : int, optional
        Seed: draw which one stays.
    micrographs, micrograph_psize, micrograph_px : optional
        RELION's .star of the micrographs, or their A per pixel, and their width and height, where
        the table does not say.
    coordinates_y : {"flipped", "same"}, optional
        Of a .star, whether y of its coordinates counts from the other edge than that of the images;
        by default it does not.
    psize : float, optional
        A per pixel of the shifts, in place of what the table says.
    source : str or path, optional
        The table that was expanded, if the file has moved.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Returns
    -------
    SelectReport

    Raises
    ------
    UsageError
        No criterion, or one that cannot be.
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.
    """
    if within not in (PARTICLE, MICROGRAPH):
        raise UsageError(f"within={within} is neither {PARTICLE} nor {MICROGRAPH}")
    chooses = one_per_particle or same_pose is not None or min_distance_A is not None
    unused: dict[str, Any] = {} if chooses else {"score": score, "random": random}
    on_micrographs = inside or (min_distance_A is not None and within == MICROGRAPH)
    if not on_micrographs:
        unused["micrographs"] = path_or_none(micrographs)
        unused["micrograph_psize"], unused["micrograph_px"] = micrograph_psize, micrograph_px
    for name, value in unused.items():
        if value is not None:
            other = "inside=True or within=micrograph"
            if name in ("score", "random"):
                other = "one_per_particle=True, same_pose= or min_distance_A="
            raise UsageError(f"{name}= goes with {other}, which is missing: add it")
    if random is not None and random < 0:
        raise UsageError(f"random={random} is below 0: give a seed from 0 up")
    if score is not None and random is not None:
        raise UsageError("score= and random= both say which row stays: give one of them")
    located = Located(
        CoordinateChoice(
            recenter=COORDINATES,  # which the others go with
            micrographs=path_or_none(micrographs),
            micrograph_psize=micrograph_psize,
            micrograph_px=micrograph_px,
            edge_px=edge_px,
            coordinates_y=coordinates_y,
        )
    )
    if edge_px is not None and not inside:
        raise UsageError("edge_px= goes with inside=, which is missing: add it")
    if lowest and score is None:
        raise UsageError("lowest= goes with score=, which is missing: add it")
    best = Best(score, random, lowest)
    criteria: list[Criterion] = []
    if operators:
        criteria.append(ByOperator(tuple(operators)))
    if centers:
        criteria.append(ByCenter(tuple(centers)))
    if half is not None:
        if half not in (1, 2):
            raise UsageError(f"half={half} is neither 1 nor 2")
        criteria.append(ByHalf(half))
    criteria += [ByValue(name, str(value)) for name, value in (where or {}).items()]
    if view is not None:
        criteria.append(ByView(*_range("view", view, 180)))
    if inside:
        criteria.append(Inside(located))
    if one_per_particle:
        criteria.append(OnePerParticle(best))
    if same_pose is not None:
        far_A, turned_deg = same_pose
        if not (0 <= far_A < math.inf and 0 <= turned_deg <= 180):
            raise UsageError(f"same_pose={far_A:g},{turned_deg:g}: give A and degrees, not below 0")
        criteria.append(Unlike(far_A, turned_deg, best))
    if min_distance_A is not None:
        if not 0 < min_distance_A < math.inf:
            raise UsageError(f"min_distance_A={min_distance_A:g} is not a length above 0")
        of_micrographs = located if within == MICROGRAPH else None
        criteria.append(Apart(min_distance_A, within, best, of_micrographs))
    if not criteria:
        raise UsageError(
            "nothing to select by: give operators=, centers=, half=, where=, view=, inside=, "
            "one_per_particle=, same_pose= or min_distance_A="
        )
    return _select(
        os.fspath(file),
        os.fspath(output),
        criteria,
        psize,
        [*map(path_or_none, (source, micrographs))],
        overwrite,
        progress,
    )


def _range(name: str, ends: tuple[float, float], most: float) -> tuple[float, float]:
    """Two ends of a range of angles."""
    low, high = ends
    if not 0 <= low <= high <= most:
        raise UsageError(f"{name}={low:g}-{high:g}: give a range of degrees from 0 to {most:g}")
    return low, high


def _select(
    file: str,
    output: str,
    criteria: Sequence[Criterion],
    psize: float | None,
    further: Sequence[str | None],
    overwrite: bool,
    progress: Progress | None,
) -> SelectReport:
    """Choose rows and write them; further inputs are the source and the micrographs."""
    inputs = [file, *further]
    is_own = format_of_output(output).is_own
    target = OutputFile(output, HDF5, inputs, overwrite) if is_own else None
    pair = None if is_own else OutputPair(output, inputs, overwrite)
    with open_poses(file, psize, further[0]) as poses:
        expanded = poses.expanded
        if isinstance(expanded, ExpandedTable):
            for each in (target,) if target else pair.files if pair else ():
                for path in expanded.files:
                    each.refuse_input(path)
        if expanded is None and not _are_copies(poses.table):
            raise SourceError(
                f"{file}: is not expanded: select chooses among the copies of an expanded set"
            )
        rows, dropped = apply(criteria, poses)
        if not isinstance(expanded, ExpandedTable):
            plain = ParticleOutput(output, inputs, overwrite)
            columns = poses.columns
            names = columns.pose, columns.shift, columns.pose_format.name
            table = SomeRows(poses.table, rows)
            attributes = {"selected_from": os.path.basename(file)}
            notes = plain.write(table, names, poses.psize_given_A, attributes, progress)
            files = plain.names
        elif target is not None:
            notes = write_selected(target, expanded, rows, dropped, progress)
            files = (target.name,)
        else:
            assert pair is not None  # one of both is
            some = Poses.of_expanded(SelectedExpansion(expanded, rows), psize)
            check_rows(some)
            notes = export_rows(pair, some, progress=progress)
            files = tuple(pair.names)
        alone = any(isinstance(each, OnePerParticle) for each in criteria)
        steps = "" if alone else steps_after(poses, files)
        return SelectReport(
            file, output, len(rows), len(poses), dropped, tuple(notes), tuple(files), steps
        )


def _are_copies(table: ParticleTable) -> bool:
    """Whether rows are copies, also where one of each particle is left and says so itself."""
    says = SOURCE_LABEL in table.columns or table.columns.keys() >= _COPY_FIELDS
    return says or expanded_by(table) is not None
