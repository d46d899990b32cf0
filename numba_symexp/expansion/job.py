"""What is asked of an expansion, and what came of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from numba_symexp.errors import FileFormatError, SymexpError, UsageError
from numba_symexp.kinds import CS, CSG, STAR
from numba_symexp.option_forms import (
    Form,
    boolean,
    integer,
    names,
    number,
    optional_path,
    pair,
    path,
    paths,
    text,
    values_of,
)
from numba_symexp.particles.coordinate_choice import FOR_MICROGRAPHS, CoordinateChoice
from numba_symexp.particles.schema import DEFOCUS_SIGNS
from numba_symexp.symmetry.centers import CORNER, Point, check_points, several_points
from numba_symexp.symmetry.forms import SYMMETRY_FORMS, points
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.request import SymmetryRequest

_STEPS = (
    "local refinement, 3D classification or variability, in C1; "
    "never a global refinement (copies of a particle spoil the FSC)"
)

MOST_SEED = 2**63 - 1

ONLY_HOW = {
    *("source", "passthrough", "output", "overwrite", "dry_run", "keep_track_length"),
    *("chunk_rows", "threads", "program", "recenter", "optimisation_set"),
    *("coordinates_y", *FOR_MICROGRAPHS),
}
"""Options that the rows of an expanded table do not depend on."""

LATER = ("origin", "length", "align", "align_axis")
"""Options that came later: the provenance says them only where they were given."""


def next_steps(files: Sequence[str] = (), moved: bool = False) -> str:
    """Say what may be done with copies, and what must not.

    Parameters
    ----------
    files : sequence of str
        Files that were written.
    moved : bool
        Whether the copies are centered on a point of the map, so that their images are elsewhere.
    """
    first = [f"Import Result Group with {each}" for each in files if each.endswith(CSG.suffixes)]
    if moved:
        first.append("extract the particles again at their new centers (with recentering)")
    return f"next: {', '.join(first)}, then {_STEPS}" if first else f"next: {_STEPS}"


@dataclass(frozen=True)
class ExpandJob(SymmetryRequest):
    """One expansion of a particle table, as asked for; nothing has happened yet.

    Attributes
    ----------
    source, output : str
        Particle table to read (HDF5, .cs, .csg, .star, or a job folder of CryoSPARC), expanded
        table to write.
    passthrough : tuple of str
        Further .cs files of the same particles, joined on their ids.
    symmetry, convention, twist, rise, order, operators_file
        By which operators: see `SymmetryRequest`.
    operators, modulo, axis, center, length, align, align_axis, unique
        Which of them are used, and about which points: see there too.
    center_px : tuple of float, or tuple of points, optional
        The center as voxel numbers, counted from 0, in a map of ``box_px`` voxels a side.
    box_px : int, optional
        Side of that map; also where ``origin`` is its corner.
    defocus : {"minus", "plus"}, optional
        Move the defocus by the depth of the center: defocus - depth, or defocus + depth.
    table : str, optional
        Place of the table in the file; by default ``/particles``, else the root.
    pose, shift : str, optional
        Columns, where they are not ``alignments3D/pose`` and ``alignments3D/shift``.
    pose_format : {"rotvec", "quaternion", "matrix", "euler_zyz"}
        What the pose column holds, and what is written.
    psize : float, optional
        A per pixel of the shifts, instead of the column ``alignments3D/psize_A``.
    carry : tuple of str
        Further columns to copy to every row; names or patterns such as ``ctf/*``.
    chunk_rows : int, optional
        About how many rows are made at a time; the result does not depend on it.
    threads : int, optional
        Threads of the job, one of which writes; the result does not depend on it. By default
        those of the machine (NUMBA_NUM_THREADS, SLURM_CPUS_PER_TASK), as far as they are of use.
    assign_halves : int, optional
        Seed of half-sets to be drawn, for a source that has none.
    again : bool
        Expand a table that is already expanded.
    keep_track_length : bool
        In a .star, leave ``rlnHelicalTrackLengthAngst`` of all copies as it is.
    program : {"relion", "m"}, optional
        Whose .star is written of subtomograms; by default the source's.
    recenter : {"coordinates"}, optional
        In a .star or .cs, bake shifts into coordinates.
    coordinates_y, micrographs, micrograph_psize, micrograph_px, edge_px
        What is known of micrographs: see `CoordinateChoice`.
    optimisation_set : str, optional
        Optimisation set that names the source, of which a new one is made beside a .star.
    overwrite : bool
        Replace an existing output.
    dry_run : bool
        Check everything and write nothing.

    Raises
    ------
    UsageError
        An option is out of its range, or does not go with another.
    """

    source: str
    output: str
    passthrough: tuple[str, ...] = ()
    center_px: Point | tuple[Point, ...] | None = None
    box_px: int | None = None
    defocus: str | None = None
    table: str | None = None
    pose: str | None = None
    pose_format: str = "rotvec"
    shift: str | None = None
    psize: float | None = None
    carry: tuple[str, ...] = ()
    chunk_rows: int | None = None
    threads: int | None = None
    assign_halves: int | None = None
    again: bool = False
    keep_track_length: bool = False
    program: str | None = None
    recenter: str | None = None
    coordinates_y: str | None = None
    micrographs: str | None = None
    micrograph_psize: float | None = None
    micrograph_px: tuple[int, ...] | None = None
    edge_px: float | None = None
    optimisation_set: str | None = None
    overwrite: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.psize is not None and not (math.isfinite(self.psize) and self.psize > 0):
            raise UsageError(f"psize {self.psize} must be above 0 A per pixel")
        least_of = {"chunk_rows": 1, "threads": 1, "assign_halves": 0, "box_px": 1}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= MOST_SEED:
                raise UsageError(f"{name} {value} must be {least} or more")
        check_points("center_px", self.center_px)
        if self.defocus is not None and self.defocus not in DEFOCUS_SIGNS:
            raise UsageError(f"defocus {self.defocus!r} is neither {' nor '.join(DEFOCUS_SIGNS)}")
        _ = self.coordinates  # which refuses what cannot be asked
        if self.defocus is not None and not self.has_center:
            raise UsageError("defocus= goes with center=, which is missing: add it")
        self.needs("center_px", "box_px")
        if self.origin == CORNER:
            self.needs("origin", "box_px")
        else:
            self.needs("box_px", "center_px")
        if self.center is not None and self.center_px is not None:
            raise UsageError("center= and center_px= are the same point: give one of them")

    @classmethod
    def of_options(cls, **options: Any) -> Self:
        """Job of options in any form in which people write them; those of `expand`, by name.

        Raises
        ------
        UsageError
            An option is of a wrong type, out of its range, or does not go with another.
        """
        return cls(**values_of(options, JOB_FORMS))

    @property
    def has_center(self) -> bool:
        """Whether a point is to be put at the image center."""
        return self.center is not None or self.center_px is not None

    def centers_of_px(self, psize_A: float) -> tuple[Point, ...]:
        """Centers that are given as voxel numbers, in A from the box center.

        Parameters
        ----------
        psize_A : float
            A per voxel.
        """
        middle = (self.box_px or 0) // 2
        return several_points((np.array(several_points(self.center_px)) - middle) * psize_A)

    @property
    def coordinates(self) -> CoordinateChoice:
        """What is asked of coordinates."""
        names = [each.name for each in fields(CoordinateChoice)]
        return CoordinateChoice(**{name: getattr(self, name) for name in names})

    def refuse_for_output(self) -> None:
        """Refuse options that go with another output than the one that is named.

        Raises
        ------
        UsageError
            Names the first.
        """
        later = "export the expanded table with it"
        for name, kinds, what in (
            ("keep_track_length", STAR.suffixes, "a .star output: leave it out"),
            ("program", STAR.suffixes, "a .star output: leave it out"),
            ("recenter", STAR.suffixes + CS.suffixes, f"a .star or .cs output: {later}"),
            ("coordinates_y", STAR.suffixes + CS.suffixes, f"a .star or .cs output: {later}"),
            ("micrograph_px", STAR.suffixes + CS.suffixes, f"a .star or .cs output: {later}"),
            ("optimisation_set", STAR.suffixes, "a .star output of subtomograms: leave it out"),
        ):
            if getattr(self, name) and not self.output.lower().endswith(kinds):
                raise UsageError(f"{name}= goes with {what}")

    def recorded(self, operators: Operators) -> dict[str, Any]:
        """What the provenance says of the job: all that decides which rows are written."""
        record = {name: value for name, value in vars(self).items() if name not in ONLY_HOW}
        for name in LATER:
            if not record[name]:  # files without it keep their bytes
                del record[name]
        if self.center_files:  # the points, which need neither the files nor an origin
            record["center"] = operators.center_A.tolist()
            if not self.operators_file:
                record.pop("origin", None)
                record["box_px"] = None
        if isinstance(self.symmetry, Operators):
            record["symmetry"] = str(operators.symmetry)
        return {**record, "convention": operators.convention}

    @classmethod
    def of_record(cls, record: Mapping[str, Any], source: str = "", output: str = "") -> Self:
        """Job of a provenance, as `recorded` wrote it.

        Raises
        ------
        FileFormatError
            The record is damaged.
        """
        known = {each.name for each in fields(cls)} - ONLY_HOW
        switches = {each.name for each in fields(cls) if isinstance(each.default, bool)}
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in record.items()
            if name in known
        }
        try:
            if isinstance(options.get("center"), str):  # it would lead to other files
                raise ValueError("its center is a text")
            for name in switches & options.keys():
                if not isinstance(options[name], bool):
                    raise ValueError(f"{name} is {options[name]!s:.40}")
            return cls(source, output, **options)
        except (SymexpError, TypeError, ValueError) as error:
            raise FileFormatError(f"its provenance is damaged ({error}): expand again") from error


def _pose_format(name: str, value: Any) -> str:
    """Name of a form of poses; an empty one is the default."""
    return text(name, value) or ExpandJob.pose_format


JOB_FORMS: dict[str, Form] = {
    **SYMMETRY_FORMS,
    "source": path,
    "output": path,
    "passthrough": paths,
    "center_px": points,
    "box_px": integer,
    "defocus": text,
    "table": text,
    "pose": text,
    "pose_format": _pose_format,
    "shift": text,
    "psize": number,
    "carry": names,
    "chunk_rows": integer,
    "threads": integer,
    "assign_halves": integer,
    "again": boolean,
    "keep_track_length": boolean,
    "program": text,
    "recenter": text,
    "coordinates_y": text,
    "micrographs": optional_path,
    "micrograph_psize": number,
    "micrograph_px": pair,
    "edge_px": number,
    "optimisation_set": optional_path,
    "overwrite": boolean,
    "dry_run": boolean,
}
"""Forms of the options of `ExpandJob`, by name."""


@dataclass(frozen=True)
class Summary:
    """What an expansion did, or would do.

    Attributes
    ----------
    source, output : str
    symmetry, convention, description : str
        The symmetry, and one line about its axes.
    operators, particles, rows, bytes : int
        Counts, and the size of the output.
    warnings : tuple of str
    seconds : float
        Wall time; 0 for a dry run.
    dry_run : bool
    files : tuple of str
        All files that were or would be written.
    notes : tuple of str
        What the user should know of a .star or .cs.
    next_steps : str
        What may be done with the copies, and what must not.
    """

    source: str
    output: str
    symmetry: str
    convention: str
    description: str
    operators: int
    particles: int
    rows: int
    bytes: int
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    dry_run: bool = False
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    next_steps: str = ""

    def __repr__(self) -> str:
        text = (
            f"{self.rows:,} rows = {self.particles:,} particles x {self.operators:,} operators of "
            f"{self.symmetry} ({self.convention}), {self.bytes:,} bytes"
        )
        text += f", {len(self.warnings)} warning(s)" if self.warnings else ""
        return f"<Summary {self.output}{' (not written)' if self.dry_run else ''}: {text}>"
