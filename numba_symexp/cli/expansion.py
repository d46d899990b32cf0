"""The verb `expand`, and how all verbs are written.

A verb takes text and returns a request; it runs nothing. Its signature is its flags, and its
docstring is its help. Annotated ``bool``, a flag is a switch; without default, an argument must be
given. Each verb has its report in words beside it.
"""

from dataclasses import asdict
from typing import Any

from numba_symexp.cli.argv import Request
from numba_symexp.cli.flag_values import (
    integer,
    is_on,
    lengths,
    number,
    numbers,
    pair,
    point,
    point_or_corner,
    points,
    points_or_files,
)
from numba_symexp.cli.terminal import ProgressBar, readable_size


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
    length: str | None = None,
    align: bool = False,
    align_axis: str | None = None,
    center_px: str | None = None,
    box_px: str | None = None,
    unique: bool = False,
    defocus: str | None = None,
    passthrough: str | None = None,
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
    keep_track_length: bool = False,
    program: str | None = None,
    recenter: str | None = None,
    coordinates_y: str | None = None,
    micrographs: str | None = None,
    micrograph_psize: str | None = None,
    micrograph_px: str | None = None,
    edge_px: str | None = None,
    optimisation_set: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    dask: str | None = None,
    workers: str | None = None,
    mixed_cpus: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Write one row for each particle and symmetry operator.

    Example: numba-symexp expand particles.star expanded.star --symmetry=D7

    Parameters
    ----------
    source
        Particle table: HDF5; .star of RELION or M, or an optimisation set; CryoSPARC .cs, .csg or
        job folder; Dynamo .tbl.
    output
        Table to write: .star for RELION or M, .cs (and a .csg beside it) for CryoSPARC, .tbl for
        Dynamo, else HDF5.
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
        Helix: number of units; they are counted 0, +1, -1, +2, ...
    operators_file
        Your own operators: 3 x 3 or 3 x 4 matrices (text, .npy, PDB, mmCIF) or RELION's
        symmetry file; translations in A about the box center.
    origin
        Point x,y,z (A from the box center) from which the translations of that file count, and
        markers; or corner, that of the map, as in ChimeraX and in PDB files: goes with --box_px.
    operators
        Use these operators only, such as 0,2,5-7.
    modulo
        Use one operator of each left coset of this subgroup, such as C5.
    axis
        Axis x,y,z of that subgroup; else the one nearest to +z.
    center
        Move this point x,y,z of the map (A from the box center) to the image center; a marker file
        (.cmm), whose first marker is the particle's center; or mask:FILE.mrc, its center of mass.
        Several with semicolons: each gets operators of its own.
    length
        Move each center along its direction to this distance from the box center (A); one for all,
        or one for each with commas.
    align
        Turn the map about each center so that the direction to it lies on +z.
    align_axis
        Turn this axis x,y,z to +z instead.
    center_px
        The same point in voxels, counted from 0; goes with --box_px.
    box_px
        Side of the map in voxels; voxel box_px // 2 is the box center.
    unique
        Use one of the operators that put the center at the same place.
    defocus
        minus or plus: subtract or add the depth of the center from or to the defocus; else the
        defocus stays.
    passthrough
        Passthrough file of a .cs, or several with commas.
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
        Number of rows made at a time; the result does not depend on it.
    threads
        Number of threads, one of which writes; the result does not depend on it.
    assign_halves
        Seed of a random number generator: assign particles (or tubes) to half-sets where the source
        has none.
    again
        Expand a table that is already expanded.
    keep_track_length
        In a .star, leave rlnHelicalTrackLengthAngst of all copies as it is.
    program
        relion or m: whose .star is written of subtomograms; else the source's.
    recenter
        coordinates: move the coordinates of a .star or .cs by the shifts, for a new extraction: on
        micrographs by whole pixels, in tomograms wholly.
    coordinates_y
        flipped or same: y of a .star is (1 - center_y_frac) or center_y_frac times the height; else
        flipped where a .cs becomes a .star, same for particles of a .star.
    micrographs
        RELION's .star of the micrographs, whose optics say A per pixel; goes with --recenter, or
        with --micrograph_px.
    micrograph_psize
        A per pixel of all micrographs, instead of --micrographs.
    micrograph_px
        Width and height W,H of micrographs, by which coordinates of a .star go into a .cs; rows of
        a .star that are off them are named.
    edge_px
        Rows that are nearer to the edge of their micrograph are named too.
    optimisation_set
        Optimisation set that names the particles of SOURCE; a new one and a motion file are written
        beside a .star.
    overwrite
        Replace an existing output.
    dry_run
        Check everything, write nothing.
    dask
        Address of a Dask scheduler whose workers share the files, such as tcp://10.0.0.1:8786;
        or local: workers on this machine. The result does not depend on it.
    workers
        Number of workers of --dask=local; else one for each pair of processors.
    mixed_cpus
        Use workers with different kinds of processors; the bytes may then differ.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.cluster import who_runs
    from numba_symexp.expansion.job import ExpandJob
    from numba_symexp.files import path_list

    job = ExpandJob(
        source=source,
        output=output,
        passthrough=tuple(path_list(passthrough)),
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
        center=points_or_files("center", center),
        length=lengths("length", length),
        align=is_on(align),
        align_axis=point("align_axis", align_axis),
        center_px=points("center_px", center_px),
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
        keep_track_length=is_on(keep_track_length),
        program=program,
        recenter=recenter,
        coordinates_y=coordinates_y,
        micrographs=micrographs,
        micrograph_psize=number("micrograph_psize", micrograph_psize),
        micrograph_px=pair("micrograph_px", micrograph_px),
        edge_px=number("edge_px", edge_px),
        optimisation_set=optimisation_set,
        overwrite=is_on(overwrite),
        dry_run=is_on(dry_run),
    )
    run = who_runs(dask, integer("workers", workers), is_on(mixed_cpus))
    silent = is_on(quiet)

    def act() -> dict[str, Any]:
        probe(source, sources=False)
        with ProgressBar(silent) as bar:
            return asdict(run(job, bar.show))

    return Request(act, expand_text, is_on(json), silent)


def expand_text(summary: dict[str, Any]) -> str:
    """Lines about an expansion that was done, or would be: the `Summary`, as a dict."""
    dry = summary["dry_run"]
    rate = summary["rows"] / summary["seconds"] if summary["seconds"] else 0
    ending = (
        "; nothing was written" if dry else f", {summary['seconds']:.2f} s ({rate:,.0f} rows/s)"
    )
    return "\n".join(
        [
            *(f"note: {note}" for note in summary["notes"]),
            summary["description"],
            f"{'would write' if dry else 'wrote'} {' and '.join(summary['files'])}: "
            f"{summary['particles']:,} particles x {summary['operators']:,} = "
            f"{summary['rows']:,} rows, {readable_size(summary['bytes'])}{ending}",
            summary["next_steps"],
        ]
    )
