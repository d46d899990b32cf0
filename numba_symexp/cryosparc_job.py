"""Expansion inside CryoSPARC: particles of a job in, an External job with their copies out.

CryoSPARC's own client does the talking. A dataset is whole in memory there, so this is the one way
of expanding whose memory grows with the particles.
"""

import contextlib
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from numba_symexp.annotations import AnyPath, Progress
from numba_symexp.conversion.export_table import export_particles
from numba_symexp.cryosparc_server import BY_FILE, Job, Particles, Server, Wanted, connected
from numba_symexp.errors import ExpansionWarning, OutputError, SymexpError, warn
from numba_symexp.expansion.job import ExpandJob, next_steps
from numba_symexp.expansion.run import run
from numba_symexp.formats.cryosparc.write import slot_type
from numba_symexp.particles.schema import UID
from numba_symexp.pictures.plot import plot
from numba_symexp.symmetry.operators import Operators
from numba_symexp.verification.verify import verify
from numba_symexp.version import __version__

OUTPUT = "particles"
"""Of the External job."""

_COPIES = 2
"""How often the rows are in memory while they are sent."""


@dataclass(frozen=True)
class CryosparcReport:
    """What `expand_in_cryosparc` did, or would do.

    Attributes
    ----------
    particles : str
        The output that was expanded, such as ``P3/J42/particles``.
    job : str or None
        The External job, such as ``P3/J50``; None after a dry run.
    output : str
        Its output.
    symmetry, convention, description : str
        The symmetry, and one line about its axes.
    operators, sources, rows, bytes : int
        Counts, and the size of the dataset, about.
    seconds : float
        Wall time; 0 for a dry run.
    dry_run : bool
    notes, warnings : tuple of str
        What the user should know.
    next_steps : str
        What may be done with the copies, and what must not.
    """

    particles: str
    job: str | None
    output: str
    symmetry: str
    convention: str
    description: str
    operators: int
    sources: int
    rows: int
    bytes: int
    seconds: float = 0.0
    dry_run: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    next_steps: str = ""


def expand_in_cryosparc(
    particles: str,
    workspace: str,
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
    assign_halves: int | None = None,
    again: bool = False,
    title: str | None = None,
    cryosparc: Any = None,
    url: str | None = None,
    email: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> CryosparcReport:
    """Expand the particles of a job of CryoSPARC, and save them as an External job.

    All slots are read, passed through or not, and all are saved: the copies have ids that the
    source lacks. The rows are verified before anything is saved. The job's log says what was
    done, with the pictures of `plot` where matplotlib is there.

    Parameters
    ----------
    particles : str
        Project and job, such as ``P3/J42``; with several outputs also which, such as
        ``P3/J42/particles_class_0``.
    workspace : str
        Where the External job is created, such as ``W1``.
    symmetry, convention, twist, rise, order, operators_file, origin
        By which operators: see `expand`.
    operators, modulo, axis, unique, center, length, align, align_axis, center_px, box_px
        Which of them are used, and about which points: see there too.
    defocus, assign_halves, again
        See there too.
    title : str, optional
        Of the job; by default it names the symmetry.
    cryosparc : cryosparc.tools.CryoSPARC, optional
        A connection of cryosparc-tools 5 or newer; by default one is made.
    url : str, optional
        Where to: such as ``http://localhost:39000``; by default what CRYOSPARC_BASE_URL says, or
        CRYOSPARC_MASTER_HOSTNAME and CRYOSPARC_BASE_PORT.
    email : str, optional
        Of the user; by default what CRYOSPARC_EMAIL says. The password comes from
        CRYOSPARC_PASSWORD, or from an earlier ``python -m cryosparc.tools login``.
    dry_run : bool
        Read and check everything; save nothing.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Returns
    -------
    CryosparcReport
        Its warnings are issued as `ExpansionWarning` too.

    Raises
    ------
    ServerError
        CryoSPARC does not answer, or refuses something.
    SymexpError
        What is wrong, where, and what to do. Nothing was saved then; a job that was created is
        marked as failed, also after Ctrl-C and SIGTERM.
    """
    started = time.perf_counter()
    job = ExpandJob.of_options(
        source=particles,
        output=OUTPUT,
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
        assign_halves=assign_halves,
        again=again,
    )
    job.full()
    wanted = Wanted.read(particles, workspace)
    server = Server(cryosparc or connected(url, email))
    source = server.find(wanted)
    with _Files.temporary(source) as files:
        files.save(server.load(source))
        job = replace(job, source=files.source, output=files.expanded)
        with files.named():
            plan = run(replace(job, dry_run=True))
        report = CryosparcReport(
            particles=str(source),
            job=None,
            output=OUTPUT,
            symmetry=plan.symmetry,
            convention=plan.convention,
            description=plan.description,
            operators=plan.operators,
            sources=plan.particles,
            rows=plan.rows,
            bytes=os.path.getsize(files.source) * plan.operators,
            dry_run=dry_run,
            notes=plan.notes,
            warnings=tuple(map(files.without_folder, plan.warnings)),
            next_steps=next_steps(moved=job.has_center),
        )
        _check_memory(report.bytes)
        if dry_run:
            return report
        with files.named(told=True):
            notes = _make_rows(job, files.rows, progress)
        rows, slots = _dataset(files.rows, source)
        title = title or f"Symmetry expansion by {plan.symmetry}"
        with server.external_job(source, workspace, title) as saved:
            saved.log(f"numba_symexp {__version__}: {plan.description}")
            saved.log(f"{source}: {plan.particles:,} x {plan.operators:,} = {plan.rows:,} rows")
            for text in report.warnings:
                saved.log(text, "warning")
            saved.save(OUTPUT, rows, slots)
            notes += _show_picture(saved, files)
            for text in (*notes, report.next_steps):
                saved.log(text)
    took = time.perf_counter() - started
    return replace(report, job=saved.name, notes=tuple(notes), seconds=took)


def _make_rows(job: ExpandJob, dataset: str, progress: Progress | None) -> list[str]:
    """Expand, prove the rows, and write them as a dataset; returns what a user should know."""
    run(job, progress)
    proof = verify(job.output)
    for check in proof.checks:
        if not check.passed:
            raise OutputError(f"{job.output}: {check.name}: {check.detail}: report it")
    made = export_particles(job.output, dataset)
    worst_deg, worst_px = proof.largest_angle_deg or 0.0, proof.largest_shift_px or 0.0
    return [
        *made.notes,
        f"verified by another method: every pose to {worst_deg:.2g} degrees, every shift to "
        f"{worst_px:.2g} px",
    ]


def _dataset(path: str, source: Particles) -> tuple[Any, dict[str, str]]:
    """Rows as a Dataset of the client, and the types of their slots."""
    from cryosparc.dataset import Dataset

    rows = Dataset.load(path)
    marks = [name for name in rows.fields() if "/" not in name and name != UID]
    rows.drop_fields(marks)  # CryoSPARC keeps slots only
    slots = dict.fromkeys(name.partition("/")[0] for name in rows.fields() if name != UID)
    return rows, {slot: source.slots.get(slot, slot_type(slot)) for slot in slots}


def _show_picture(job: Job, files: "_Files") -> list[str]:
    """Draw particles and rows into the job's log; where that cannot be, return a note."""
    try:
        with files.named():
            plot(files.expanded, files.picture)
    except OutputError as error:
        return [f"no picture of the rows: {error}"]
    job.log_picture(files.picture, "Viewing directions and shifts of particles and rows")
    return []


class _Written:
    """A file that lets a library write bytes, and nothing else."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


@dataclass(frozen=True)
class _Files:
    """Files of one run, in a folder that is removed with it, and what messages call them.

    Attributes
    ----------
    folder : str
    source, expanded, rows, picture : str
        The particles as they came; the expanded table; the rows to be saved; a picture of them.
    """

    folder: str
    source: str
    expanded: str
    rows: str
    picture: str

    @classmethod
    @contextlib.contextmanager
    def temporary(cls, particles: Particles) -> Iterator["_Files"]:
        """Name them after the particles."""
        name = str(particles).replace("/", "_")
        try:
            temporary = tempfile.TemporaryDirectory(prefix="numba_symexp-")
        except OSError as error:
            raise OutputError(
                f"no folder for temporary files ({error.strerror}): set TMPDIR to one that can be "
                "written and has room"
            ) from error
        with temporary as folder:
            ends = (".cs", "_expanded.h5", "_expanded.cs", "_expanded.png")
            yield cls(folder, *(os.path.join(folder, name + end) for end in ends))

    def save(self, rows: Any) -> None:
        """Write the particles as the client has them.

        Raises
        ------
        OutputError
            There is no room. NumPy would not notice that in a file that it knows as one.
        """
        try:
            with open(self.source, "wb") as file:
                rows.save(_Written(file))
        except OSError as error:
            raise OutputError(
                f"{self.without_folder(self.source)}: cannot be written to the folder of temporary "
                f"files ({error.strerror}): set TMPDIR to one with room"
            ) from error

    @contextlib.contextmanager
    def named(self, told: bool = False) -> Iterator[None]:
        """Have errors and warnings within name files without the folder, which nobody knows.

        Parameters
        ----------
        told : bool
            The same warnings were issued before.
        """
        with warnings.catch_warnings(record=True) as issued:
            warnings.simplefilter("always", ExpansionWarning)
            try:
                yield
            except SymexpError as error:
                raise type(error)(self.without_folder(str(error))) from None
        if not told:
            warn(*(self.without_folder(str(each.message)) for each in issued))

    def without_folder(self, text: str) -> str:
        """Name files of the folder without it."""
        return text.replace(self.folder + os.sep, "")


def _check_memory(size: int) -> None:
    """Say how much memory the rows will take, and refuse more than there is."""
    needed = _COPIES * size
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as file:
        sizes = dict(line.split(":") for line in file)
        free = int(sizes["MemAvailable"].split()[0]) << 10
    if needed > free:
        raise OutputError(
            f"the rows would take {needed:,} bytes of memory, of which {free:,} are free: {BY_FILE}"
        )
    warn(
        f"the rows will take about {needed:,} bytes of memory: a dataset of CryoSPARC is whole in "
        "memory"
    )
