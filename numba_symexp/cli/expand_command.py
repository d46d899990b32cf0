"""The verb that expands; as those of `commands`."""

from dataclasses import asdict
from typing import Any

from numba_symexp.cli.request import (
    Request,
    integer,
    is_on,
    number,
    numbers,
    point,
    point_or_corner,
)


def expand(
    source: str,
    output: str,
    *,
    symmetry: str | None = None,
    convention: str | None = None,
    twist: str | None = None,
    rise: str | None = None,
    order: str | None = None,
    operators_file: str | None = None,
    origin: str | None = None,
    operators: str | None = None,
    modulo: str | None = None,
    axis: str | None = None,
    center: str | None = None,
    center_px: str | None = None,
    box_px: str | None = None,
    unique: bool = False,
    defocus: str | None = None,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    psize: str | None = None,
    carry: str | None = None,
    chunk_rows: str | None = None,
    threads: str | None = None,
    assign_halves: str | None = None,
    again: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    dask: str | None = None,
    workers: str | None = None,
    mixed_cpus: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Write one row for each particle and symmetry operator.

    Example: numba-symexp expand particles.h5 expanded.h5 --symmetry=D7

    Parameters
    ----------
    source
        Particle table: HDF5, CryoSPARC .cs or RELION .star.
    output
        Expanded table to write.
    symmetry
        C1, Cn, Dn, T, O, I (= I2), I1, I2, I3 or I4; or a name of the convention's own.
    convention
        cryosparc (2-fold of Dn on y), relion (on x), chimerax, eman2, scipy or cistem; else the
        table's, else cryosparc.
    twist
        Helix: degrees per unit, positive is right-handed; goes with --rise and --order.
    rise
        Helix: A per unit.
    order
        Helix: number of units, 0, +1, -1, +2, ... cut after this many.
    operators_file
        Operators of your own: 3 x 3 or 3 x 4 matrices (text, .npy, PDB, mmCIF) or RELION's
        symmetry file; translations in A about the box center.
    origin
        Point x,y,z (A from the box center) from which the translations of that file count; or
        corner, that of the map, as in ChimeraX and in PDB files: goes with --box_px.
    operators
        Use these operators only, such as 0,2,5-7.
    modulo
        Use one operator of each left coset of this subgroup, such as C5.
    axis
        Axis x,y,z of that subgroup; else the one nearest to +z.
    center
        Put this point x,y,z (A from the box centre) of the map at the image centre.
    center_px
        The same as voxel numbers, counted from 0; goes with --box_px.
    box_px
        Side of the map in voxels; voxel box_px // 2 is the box centre.
    unique
        Of operators that put the centre at the same place, use one.
    defocus
        minus or plus: move the defocus by the depth of the centre; else it stays.
    table
        Place of the table in the file; else /particles, else the root.
    pose
        Column of the poses; else alignments3D/pose.
    pose_format
        rotvec, quaternion, matrix or euler_zyz (rot, tilt, psi in degrees).
    shift
        Column of the shifts; else alignments3D/shift.
    psize
        A per pixel of the shifts; else the column alignments3D/psize_A.
    carry
        Further columns to copy to every row, such as 'ctf/*,blob/*'.
    chunk_rows
        Rows made at a time; the result is the same.
    threads
        Threads of the job, one of which writes; the result is the same.
    assign_halves
        Seed: draw half-sets per particle (or tube) where the source has none.
    again
        Expand a table that is already expanded.
    overwrite
        Replace an existing output.
    dry_run
        Check everything, write nothing.
    dask
        Address of a Dask scheduler whose workers share the files, such as tcp://10.0.0.1:8786;
        or local: workers on this machine. The result is the same.
    workers
        Number of workers of --dask=local; else one for every two processors.
    mixed_cpus
        Take workers with other kinds of processor; equal bytes are not promised then.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.cli.progress import ProgressBar
    from numba_symexp.cli.report import summary_text
    from numba_symexp.cluster.connection import Cluster
    from numba_symexp.cluster.driver import run
    from numba_symexp.expansion.job import ExpandJob

    job = ExpandJob(
        source=source,
        output=output,
        symmetry=symmetry,
        convention=convention,
        twist=number("twist", twist),
        rise=number("rise", rise),
        order=integer("order", order),
        operators_file=operators_file,
        origin=point_or_corner("origin", origin),
        operators=numbers("operators", operators),
        modulo=modulo,
        axis=point("axis", axis),
        center=point("center", center),
        center_px=point("center_px", center_px),
        box_px=integer("box_px", box_px),
        unique=is_on(unique),
        defocus=defocus,
        table=table,
        pose=pose,
        pose_format=pose_format,
        shift=shift,
        psize=number("psize", psize),
        carry=tuple(carry.split(",")) if carry else (),
        chunk_rows=integer("chunk_rows", chunk_rows),
        threads=integer("threads", threads),
        assign_halves=integer("assign_halves", assign_halves),
        again=is_on(again),
        overwrite=is_on(overwrite),
        dry_run=is_on(dry_run),
    )
    cluster = Cluster.asked_for(dask, integer("workers", workers), is_on(mixed_cpus))
    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        probe(source)
        with ProgressBar(silent) as bar:
            return asdict(run(job, cluster, bar.show))

    return Request(act, summary_text, is_on(json), silent)
