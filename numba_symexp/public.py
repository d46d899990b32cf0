"""`expand` as a function: every option spelled out, in any form in which people write it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numba_symexp.annotations import AnyPath, Progress
from numba_symexp.cluster import who_runs
from numba_symexp.expansion.job import ExpandJob, Summary
from numba_symexp.option_forms import boolean, integer, wrong
from numba_symexp.symmetry.operators import Operators

if TYPE_CHECKING:
    from distributed import Client


def expand(
    source: AnyPath,
    output: AnyPath,
    *,
    symmetry: str | Operators | None = None,
    convention: str | None = None,
    twist: float | None = None,
    rise: float | None = None,
    order: int | None = None,
    operators_file: AnyPath | None = None,
    origin: str | Sequence[float] | None = None,
    operators: str | Sequence[int] = (),
    modulo: str | None = None,
    axis: str | Sequence[float] | None = None,
    center: AnyPath | Sequence[float] | Sequence[Sequence[float]] | None = None,
    length: float | str | Sequence[float] = (),
    align: bool = False,
    align_axis: str | Sequence[float] | None = None,
    center_px: str | Sequence[float] | Sequence[Sequence[float]] | None = None,
    box_px: int | None = None,
    unique: bool = False,
    defocus: str | None = None,
    table: str | None = None,
    pose: str | None = None,
    pose_format: str = "rotvec",
    shift: str | None = None,
    psize: float | None = None,
    carry: str | Sequence[str] = (),
    chunk_rows: int | None = None,
    threads: int | None = None,
    assign_halves: int | None = None,
    again: bool = False,
    keep_track_length: bool = False,
    program: str | None = None,
    recenter: str | None = None,
    coordinates_y: str | None = None,
    micrographs: AnyPath | None = None,
    micrograph_psize: float | None = None,
    micrograph_px: str | Sequence[int] | None = None,
    edge_px: float | None = None,
    optimisation_set: AnyPath | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    passthrough: AnyPath | Sequence[AnyPath] = (),
    dask: "str | Client | None" = None,
    workers: int | None = None,
    mixed_cpus: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Expand a particle table (HDF5, .cs, .csg, .star, or a job of CryoSPARC) by a symmetry.

    Parameters
    ----------
    source, output : str or path
        Table to read, and to write: the suffix .star makes a particle file of RELION or M, .cs a
        dataset and a result group of CryoSPARC, .tbl a table of Dynamo, any other an expanded table
        in HDF5. The source may also be an optimisation set that names particles.
    symmetry : str or Operators, optional
        Point group: C1, Cn, Dn, T, O, I (= I2), I1, I2, I3, I4, or a name of the convention's own;
        or operators from `point_group`, `helix` or `read_operators`.
    convention : str, optional
        Whose axes and names: cryosparc, relion, chimerax, eman2, scipy or cistem; by default what
        the table says, else cryosparc.
    twist, rise, order : float, float, int, optional
        Helix: degrees and A per unit, number of units. All three or none.
    operators_file : str or path, optional
        File of operators, instead of a symmetry; see `read_operators`.
    origin : sequence of float or str, optional
        Point ``x,y,z`` of the map, in A from the box center, about which the file states its
        operators, or marker files their markers; or ``corner``, the first voxel of a map of
        ``box_px`` voxels a side.
    operators : sequence of int or str
        Numbers of the operators to be used, such as ``(0, 2, 3, 4)`` or ``"0,2-4"``; by default
        all.
    modulo : str, optional
        Subgroup (Cn, Dn, T, O, I): one operator of each of its left cosets is used.
    axis : sequence of float or str, optional
        Axis ``x,y,z`` of that subgroup; by default the one nearest to +z.
    center : sequence of float, several of them, or str, optional
        Point ``x,y,z`` of the map, in A from the box center, to be put at the image center; several
        get operators of their own each. A text may name marker files (``.cmm``, of which the first
        marker is the particle's center) and masks (``mask:FILE.mrc``, their center of mass), with
        semicolons between.
    length : float, sequence of float or str, optional
        Distance from the box center, A, at which the centers are put along their directions: one
        for all, or one for each.
    align : bool
        Turn the map about each center so that the direction to it lies on +z.
    align_axis : sequence of float or str, optional
        Axis ``x,y,z`` that is turned to +z instead.
    center_px : sequence of float, several of them, or str, optional
        The same points as voxel numbers, counted from 0, in a map of ``box_px`` voxels a side.
    box_px : int, optional
        Side of that map.
    unique : bool
        Of operators that put the center at the same place, use one.
    defocus : {"minus", "plus"}, optional
        Move the defocus by the depth of the center: defocus - depth, or defocus + depth.
    table : str, optional
        Place of the table in the file; by default ``/particles``, else the root.
    pose, shift : str, optional
        Columns, where they are not ``alignments3D/pose`` and ``alignments3D/shift``.
    pose_format : {"rotvec", "quaternion", "matrix", "euler_zyz"}
        What the pose column holds, and what is written.
    psize : float, optional
        A per pixel of the shifts, instead of what the table says.
    carry : sequence of str or str
        Further columns to copy to every row: names or patterns, such as ``"ctf/*,blob/*"``.
    chunk_rows : int, optional
        About how many rows are made at a time; the result does not depend on it.
    threads : int, optional
        Threads of the job, one of which writes; the result does not depend on it.
    assign_halves : int, optional
        Seed of half-sets to be drawn, for a source that has none.
    again : bool
        Expand a table that is already expanded.
    keep_track_length : bool
        In a .star, leave ``rlnHelicalTrackLengthAngst`` of all copies as it is.
    program : {"relion", "m"}, optional
        Whose .star is written of subtomograms; by default the source's, and RELION's of a .tbl.
    recenter : {"coordinates"}, optional
        In a .star or .cs, bake shifts into coordinates: the particles are to be extracted again.
        Of images whole pixels of the micrograph move, and the rest stays as the shift; origins of
        subtomograms become 0.
    coordinates_y : {"flipped", "same"}, optional
        Whether y of a .star counts from the other edge than the y of the images; by default it
        does where particles of CryoSPARC become a .star.
    micrographs : str or path, optional
        RELION's .star of the micrographs, whose optics groups say A per pixel, by name, where the
        particles do not. It goes with ``recenter``, or with ``micrograph_px``.
    micrograph_psize : float, optional
        A per pixel of all micrographs, instead.
    micrograph_px : sequence of int or str, optional
        Width and height ``W,H`` of all micrographs, which a .star does not say: by them its
        coordinates go into a .cs, and rows that are off them are named.
    edge_px : float, optional
        Rows that are nearer to the edge are named too.
    optimisation_set : str or path, optional
        RELION's optimisation set that names the source. Beside a .star ``x.star`` come
        ``x_optimisation_set.star`` and, where the set names trajectories, ``x_motion.star``; so
        they do where the source is a set.
    overwrite : bool
        Replace an existing output.
    dry_run : bool
        Check everything and write nothing.
    passthrough : sequence of str or path
        Further .cs files of the same particles, joined on their ids.
    dask : str or distributed.Client, optional
        Who makes the rows: the workers of the Dask scheduler at this address or of this client, or
        ``local``, for workers on this machine that end with the run. The result does not depend
        on it.
    workers : int, optional
        Number of local workers; by default one for every two processors.
    mixed_cpus : bool
        Take workers whose processors are of other kinds too, which may round in another way.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Returns
    -------
    Summary
        Its warnings are issued as `ExpansionWarning` too.

    Raises
    ------
    SymexpError
        What is wrong, where, and what to do. Nothing was written then. An option of a wrong type
        or out of its range is a `UsageError`, which is a ValueError too.

    Notes
    -----
    The result is for local refinement, 3D classification and variability in C1. Never refine it
    globally: copies of one particle in both half-sets spoil the FSC.

    Examples
    --------
    >>> expand("particles.h5", "expanded.h5", symmetry="D7")  # doctest: +SKIP
    """
    run = who_runs(dask, integer("workers", workers), boolean("mixed_cpus", mixed_cpus))
    job = ExpandJob.of_options(
        source=source,
        output=output,
        passthrough=passthrough,
        symmetry=symmetry,
        convention=convention,
        twist=twist,
        rise=rise,
        order=order,
        operators_file=operators_file,
        origin=origin,
        operators=operators,
        modulo=modulo,
        axis=axis,
        center=center,
        length=length,
        align=align,
        align_axis=align_axis,
        center_px=center_px,
        box_px=box_px,
        unique=unique,
        defocus=defocus,
        table=table,
        pose=pose,
        pose_format=pose_format,
        shift=shift,
        psize=psize,
        carry=carry,
        chunk_rows=chunk_rows,
        threads=threads,
        assign_halves=assign_halves,
        again=again,
        keep_track_length=keep_track_length,
        program=program,
        recenter=recenter,
        coordinates_y=coordinates_y,
        micrographs=micrographs,
        micrograph_psize=micrograph_psize,
        micrograph_px=micrograph_px,
        edge_px=edge_px,
        optimisation_set=optimisation_set,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    if progress is not None and not callable(progress):
        raise wrong("progress", progress, "a callable")
    return run(job, progress)
