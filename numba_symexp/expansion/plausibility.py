"""What a job and its source say that cannot be right, or that deserves a look before the run."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from numba_symexp.errors import SymexpError, UsageError
from numba_symexp.expanded.column_kinds import CarriedColumn, of_kind
from numba_symexp.expanded.output_column import OutputColumn
from numba_symexp.expansion.job import ExpandJob
from numba_symexp.kernels.codecs import convert
from numba_symexp.particles.columns import PoseColumns, expanded_by, pixel_size_column
from numba_symexp.particles.halves import refuse_more_half_sets, torn_particles
from numba_symexp.particles.scan import Scan, blocks
from numba_symexp.particles.schema import (
    BLOB_PSIZE,
    CONVENTION,
    ORIGIN_Z,
    SHIFT,
    TURNED_WHEN_CUT,
)
from numba_symexp.particles.table import CRYOSPARC, RELION, ParticleTable, in_short
from numba_symexp.symmetry.center_files import box_of_mask_A, masks_of
from numba_symexp.symmetry.centers import several_points
from numba_symexp.symmetry.operators import Operators

_PSI, _OF_M = "rlnAnglePsi", "wrpAngleRot1"
_ORIGINS = (("rlnOriginXAngst", "rlnOriginYAngst"), ("rlnOriginX", "rlnOriginY"))
_SHAPE = "location/micrograph_shape"
_FRACTIONS = ("location/center_x_frac", "location/center_y_frac")
_MICROGRAPH_PSIZE = "location/micrograph_psize_A"
_PLACES_AT_ONCE = 1 << 20
_TURNING = re.compile(
    r"alignments(3D|3D_multi|_class_\d+)/(pose|shift)"
    r"|rln(Angle(Rot|Tilt|Psi)|Origin[XYZ])(Prior)?(Angst)?"
    r"|wrp(Angle(Rot|Tilt|Psi)|Coordinate[XYZ])\d+|dynamo/(d[xyz]|tdrot|tilt|narot)"
)
"""Columns that say a pose or a place of the particle, in any program's words."""

_HALF_SETS = ({0, 1}, {1, 2})
"""Numbers of half-sets, in CryoSPARC and in RELION."""

_SAME_BOX = 0.02
"""Boxes of one map at other pixel sizes differ by less, by rounding to whole pixels."""

_SAME_PSIZE = 0.01
"""Calibrated pixel sizes differ by less from those that a microscope states."""


def refuse_implausible(
    job: ExpandJob, table: ParticleTable, columns: PoseColumns, found: Scan
) -> None:
    """Refuse voxels outside of their box, and half-sets that are not two.

    Raises
    ------
    UsageError, SourceError
        Says which, and what to do.
    """
    if job.center_px is not None and job.box_px is not None:
        for x, y, z in several_points(job.center_px):
            if min(x, y, z) < 0 or max(x, y, z) > job.box_px - 1:
                raise UsageError(
                    f"center_px={x:g},{y:g},{z:g} is outside of a map with voxels 0 to "
                    f"{job.box_px - 1}: check box_px=, or give center= in A from the box center"
                )
    refuse_more_half_sets(table, columns, found.half_sets, "; assign_halves=SEED draws half-sets")


def plausibility_warnings(
    job: ExpandJob,
    table: ParticleTable,
    columns: PoseColumns,
    full: Operators,
    operators: Operators,
    found: Scan,
) -> Iterator[str]:
    """Sentences about what may be meant but is rarely right."""
    yield from _of_half_sets(job, table, columns, found)
    yield from _of_parameters(job, table, columns, full)
    yield from _of_box(job, table, full, found)
    yield from _of_labels(table)
    yield from _of_places(table)
    if operators.moves and job.recenter is None:  # else rows are looked at one by one
        yield from _of_moved_places(job, table, columns, operators)
    if found.all_in_plane:
        yield (
            f"{table.path}: {columns.pose} turns no particle out of the image plane, as in a 2D "
            "classification: give the particles of a 3D refinement"
        )


def carried_warnings(table: ParticleTable, written: Sequence[OutputColumn]) -> list[str]:
    """Name carried columns that would have to turn with the copies."""
    carried = [column.name for column in of_kind(written, CarriedColumn)]
    still = [name for name in carried if _TURNING.fullmatch(name)]
    if not still:
        return []
    return [
        f"{table.path}: carried columns that do not turn with the copies, and stay the "
        f"particle's: {in_short(still, table.columns)}; export has them turned"
    ]


def _of_half_sets(
    job: ExpandJob, table: ParticleTable, columns: PoseColumns, found: Scan
) -> Iterator[str]:
    """Half-sets with unusual numbers, or in which copies of one particle are torn apart."""
    if job.again and job.assign_halves is not None and expanded_by(table):
        yield (
            f"{table.path}: assign_halves={job.assign_halves} draws a half-set for each row, and "
            "its rows are copies, which must share one: import the .cs or .star with "
            "assign_halves=SEED first"
        )
    elif job.again:
        torn = torn_particles(table, columns)
        yield from [torn] if torn else []
    values = set(found.half_sets)
    if values and not any(values <= usual for usual in _HALF_SETS):
        some = " and ".join(map(str, sorted(values)))
        yield f"{table.path}: {columns.split} has the value(s) {some}; half-sets are 0 and 1"


def _of_parameters(
    job: ExpandJob, table: ParticleTable, columns: PoseColumns, full: Operators
) -> Iterator[str]:
    """Parameters that contradict the table."""
    own = pixel_size_column(table.columns, columns.shift)
    if job.psize is not None and own is not None:
        least, most = _range(table, own)
        if max(most - job.psize, job.psize - least) > _SAME_PSIZE * job.psize:
            said = f"{least:g}" if least == most else f"{least:g} to {most:g}"
            yield f"psize={job.psize:g} is used, though {own} of {table.path} says {said} A"
    if full.convention == CRYOSPARC and str(job.symmetry).upper() == "I":
        yield (
            "I is taken as I2; whether CryoSPARC's own I is I1 or I2 is not known: mapcheck tells "
            "which of them the map has, and symmetry=I1 or symmetry=I2 says it"
        )
    stated = table.attributes.get(CONVENTION)
    convention = stated.decode(errors="replace") if isinstance(stated, bytes) else stated
    if not isinstance(convention, str) or job.convention in (None, convention):
        return
    try:
        other = replace(
            job,
            convention=convention,
            origin=job.origin if job.operators_file else None,
            center=None,
            length=(),
            align=False,
            align_axis=None,
            center_px=None,
            box_px=None,
            operators=(),
            modulo=None,
            axis=None,
            unique=False,
            defocus=None,
        ).full()
    except SymexpError:
        other = None
    if other is None or not np.array_equal(other.quaternion, full.about_box_center().quaternion):
        yield (
            f"convention={job.convention} is used, though {table.path} says {convention}, where "
            "the axes are others"
        )


def _of_box(job: ExpandJob, table: ParticleTable, full: Operators, found: Scan) -> Iterator[str]:
    """A center or a rise that does not fit the box."""
    box_px, sizes_A = table.box_px(), (found.psize_least_A, found.psize_most_A)
    sizes_A = sizes_A if job.psize is None else (job.psize, job.psize)
    if BLOB_PSIZE in table.columns:
        sizes_A = _range(table, BLOB_PSIZE)
    size_A = sizes_A[1]
    if box_px is None or not 0 < box_px * size_A < np.inf:
        return
    box_A = box_px * size_A
    farthest_A = float(np.linalg.norm(full.centers_A, axis=1).max())
    if farthest_A > box_A / 2:
        name = "center" if job.center_px is None else "center_px"
        yield (
            f"{name}= is {farthest_A:.4g} A from the box center, in a box of {box_A:.4g} A: in "
            "some views it is outside of the images"
        )
    for path in masks_of(job.center) if isinstance(job.center, str) else []:
        mask_A = box_of_mask_A(path)
        if not box_px * sizes_A[0] * (1 - _SAME_BOX) < mask_A < box_A * (1 + _SAME_BOX):
            yield (
                f"{path}: has a box of {mask_A:.4g} A, and the images have one of {box_A:.4g} A: "
                "its center of mass counts from the middle of its own box"
            )
    if job.rise is not None and abs(job.rise) > box_A:
        yield f"rise={job.rise:g} A is longer than the box of {box_A:.4g} A"


def _of_labels(table: ParticleTable) -> Iterator[str]:
    """Columns that a .star lacks, for which zeros are taken."""
    if table.vocabulary != RELION or _OF_M in table.columns:
        return
    if _PSI not in table.columns and TURNED_WHEN_CUT not in table.columns:
        yield f"{table.path}: has no _{_PSI}: 0 is taken for all particles"
    if not any(set(pair) <= table.columns.keys() for pair in _ORIGINS):
        yield f"{table.path}: has no {' and '.join('_' + each for each in _ORIGINS[0])}: 0 is taken"
    elif table.columns[SHIFT].shape == (3,) and not any(each in table.columns for each in ORIGIN_Z):
        yield f"{table.path}: has no _{ORIGIN_Z[0]}: 0 is taken"


def _of_moved_places(
    job: ExpandJob, table: ParticleTable, columns: PoseColumns, operators: Operators
) -> Iterator[str]:
    """Copies whose centers are off their micrographs: at place - s_g, both in A.

    s_g = s - (A m)_xy, with A = exp(v)^T and m = t + R c. Only particles that are as near to an
    edge as the farthest operator moves them are looked at one by one.
    """
    size = columns.psize
    names = [_SHAPE, *_FRACTIONS, _MICROGRAPH_PSIZE]
    if not set(names) <= table.columns.keys() or (size is None and job.psize is None):
        return
    kinds = {name: table.columns[name].dtype.kind for name in names}
    if kinds[_SHAPE] not in "iuf" or any(kinds[name] != "f" for name in names[1:]):
        return
    names += [name for name in (columns.pose, columns.shift, size) if name]
    farthest_A = float(np.linalg.norm(operators.motion_A, axis=1).max())
    step = max(1, _PLACES_AT_ONCE // len(operators))
    count = particles = 0
    for start, stop in blocks(table, names):
        rows = table.read(names, start, stop)
        pixel_A = rows[_MICROGRAPH_PSIZE].reshape(stop - start, -1)[:, :1].astype(np.float64)
        size_A = rows[_SHAPE].reshape(stop - start, -1)[:, 1::-1] * pixel_A  # (ny, nx) to x, y
        if size_A.shape[1] != 2:
            return
        place_A = size_A * np.stack(
            [rows[name].reshape(stop - start, -1)[:, 0] for name in _FRACTIONS], axis=1
        )
        sizes = rows[size].astype(np.float64)[:, None] if size else float(job.psize or 1.0)
        own_A = place_A - rows[columns.shift].astype(np.float64) * sizes
        near = (np.minimum(own_A, size_A - own_A) < farthest_A).any(axis=1) & (pixel_A[:, 0] > 0)
        near = np.flatnonzero(near)
        for first in range(0, len(near), step):
            some = near[first : first + step]
            exp_v = convert(rows[columns.pose][some], columns.pose_format.name, "matrix")
            motion_A = np.einsum("nij,gi->ngj", exp_v[:, :, :2], operators.motion_A)
            moved_A = own_A[some][:, None] + motion_A
            off = ((moved_A < 0) | (moved_A > size_A[some][:, None])).any(axis=2)
            count += int(np.count_nonzero(off))
            particles += int(np.count_nonzero(off.any(axis=1)))
    if count:
        yield (
            f"{table.path}: the centers of {count:,} copies, of {particles:,} particle(s), are off "
            "their micrographs"
        )


def _of_places(table: ParticleTable) -> Iterator[str]:
    """Particles that are off their micrographs."""
    if not {_SHAPE, *_FRACTIONS} <= table.columns.keys():
        return
    if any(table.columns[name].dtype.kind != "f" for name in _FRACTIONS):
        return
    count = 0
    for start, stop in blocks(table, [_SHAPE, *_FRACTIONS]):
        rows = table.read(_FRACTIONS, start, stop)
        x, y = (rows[name].reshape(stop - start, -1)[:, 0] for name in _FRACTIONS)
        count += int(np.count_nonzero((x < 0) | (x > 1) | (y < 0) | (y > 1)))
    if count:
        names = " and ".join(_FRACTIONS)
        yield f"{table.path}: {names} put {count:,} particle(s) off the micrograph"


def _range(table: ParticleTable, name: str) -> tuple[float, float]:
    """Least and largest value of a column of numbers; 0 and 0 of other columns."""
    column = table.columns[name]
    if column.shape or column.dtype.kind not in "fiu":
        return 0.0, 0.0
    least, most = np.inf, -np.inf
    for start, stop in blocks(table, [name]):
        values = table.read([name], start, stop)[name]
        least, most = min(least, float(values.min())), max(most, float(values.max()))
    return least, most
