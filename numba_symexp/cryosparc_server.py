"""CryoSPARC's server, by its own client: every call may block, fail, or tell secrets in its error.

Signals are noticed meanwhile, a failure becomes one line, and warnings of the client are told once.
"""

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from numba_symexp.errors import ServerError, SymexpError, UsageError, install, warn
from numba_symexp.formats.cryosparc.job_folder import LEFT_OVER, POSES
from numba_symexp.interrupts import call_and_forget, waited

BY_FILE = "expand the .csg of the job into a .cs, and use CryoSPARC's Import Result Group"
"""The way that needs no server."""

_OLDEST_CLIENT = 5
"""Earlier versions of cryosparc-tools talk to CryoSPARC in another way."""

_LOG_IN = "log in with python -m cryosparc.tools login, or set CRYOSPARC_EMAIL and _PASSWORD"

_PARTICLES = re.compile(r"(P\d+)/(J\d+)(?:/([A-Za-z]\w*))?", re.ASCII)

_OUTPUT = re.compile(r"[A-Za-z]\w*", re.ASCII)
"""Name of an output, which is part of addresses."""

_WORKSPACE = re.compile(r"W\d+", re.ASCII)

_GIVE_UP_S = 30.0
"""How long to try to tell CryoSPARC that a job has failed."""

_INTERRUPTED = "the expansion was interrupted"

_LONGEST_REASON = 200

_MOST_LISTED = 12
"""Outputs of a job that a message names."""

_FROM_STREAM = re.compile(r" from file <[^>]*>")

_USER_IN_URL = re.compile(r"//[^/\s@]*@")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Wanted:
    """Names of what is to be expanded, and of where to.

    Attributes
    ----------
    project, job : str
    output : str or None
        None for the one that there is.
    workspace : str
    """

    project: str
    job: str
    output: str | None
    workspace: str

    @classmethod
    def read(cls, particles: str, workspace: str) -> "Wanted":
        """Read names such as ``P3/J42`` or ``P3/J42/particles``, and ``W1``.

        Raises
        ------
        UsageError
            They are none.
        """
        found = _PARTICLES.fullmatch(particles)
        if found is None:
            raise UsageError(f"{particles!r} names no job: give PROJECT/JOB, such as P3/J42")
        if _WORKSPACE.fullmatch(workspace) is None:
            raise UsageError(f"{workspace!r} names no workspace: give one such as W1")
        return cls(found[1], found[2], found[3], workspace)


@dataclass(frozen=True)
class Particles:
    """An output of particles.

    Attributes
    ----------
    project, job, output : str
        Such as P3, J42 and particles.
    slots : dict of str to str
        Types of its slots by name.
    controller : JobController
        Of the client, for the job.
    """

    project: str
    job: str
    output: str
    slots: dict[str, str]
    controller: Any

    def __str__(self) -> str:
        return f"{self.project}/{self.job}/{self.output}"


def connected(url: str | None = None, email: str | None = None) -> Any:
    """Connect to CryoSPARC's server; what is not given, the environment says.

    Returns
    -------
    cryosparc.tools.CryoSPARC

    Raises
    ------
    ServerError
        The client is missing or too old, nobody is logged in, or the server does not answer.
    """
    client, environment = _client(), os.environ
    # The client looks there too, but when it is imported.
    given: dict[str, Any] = {
        "base_url": url or environment.get("CRYOSPARC_BASE_URL"),
        "host": None if url else environment.get("CRYOSPARC_MASTER_HOSTNAME"),
        "base_port": None if url else environment.get("CRYOSPARC_BASE_PORT"),
        "email": email or environment.get("CRYOSPARC_EMAIL"),
        "password": environment.get("CRYOSPARC_PASSWORD"),
    }
    try:
        with _warnings_in_lines():
            return waited(lambda: client(**given))
    except TypeError:
        raise ServerError(
            "which CryoSPARC? give url=http://HOST:PORT, or set CRYOSPARC_BASE_URL (without "
            "CRYOSPARC_MASTER_HOSTNAME and CRYOSPARC_BASE_PORT)"
        ) from None
    except ValueError:
        raise ServerError(f"nobody is logged in to CryoSPARC: {_LOG_IN}") from None
    except Exception as error:  # of the client, which wraps those of its libraries
        raise ServerError(
            f"CryoSPARC cannot be reached ({_reason(error.__cause__ or error)}): check url= and "
            f"that it is version {_OLDEST_CLIENT} or newer; {_LOG_IN}; or {BY_FILE}"
        ) from None


def _client() -> Any:
    """Class of the client.

    Raises
    ------
    ServerError
        It is not installed, or too old.
    """
    needed = f"cryosparc needs cryosparc-tools {_OLDEST_CLIENT} or newer"
    try:
        from cryosparc import __version__ as version
        from cryosparc.tools import CryoSPARC
    except ImportError:
        raise ServerError(f"{needed}: {install('cryosparc')}") from None
    if int(version.partition(".")[0]) < _OLDEST_CLIENT:
        raise ServerError(f"{needed}, and {version} is here: upgrade it, or {BY_FILE}")
    return CryoSPARC


class Server:
    """What an expansion asks of CryoSPARC.

    Parameters
    ----------
    cryosparc : cryosparc.tools.CryoSPARC
    """

    def __init__(self, cryosparc: Any) -> None:
        self._cryosparc = cryosparc

    def find(self, wanted: Wanted) -> Particles:
        """Find particles; the workspace must be there too.

        Raises
        ------
        UsageError
            The job has several outputs of particles, and none was named.
        ServerError
            Something is not there, or CryoSPARC does not answer.
        """
        job = f"{wanted.project}/{wanted.job}"
        place = f"{wanted.project}/{wanted.workspace}"
        self._call(
            f"find {place}",
            lambda: self._cryosparc.find_workspace(wanted.project, wanted.workspace),
        )
        found, outputs = self._call(
            f"find {job}",
            lambda: _with_outputs(self._cryosparc.find_job(wanted.project, wanted.job)),
        )
        kept = [name for name in outputs if name == wanted.output]
        if wanted.output is None:
            kept = [name for name in outputs if not LEFT_OVER.search(name)]
        listed = ", ".join(f"{job}/{name}" for name in list(outputs)[:_MOST_LISTED])
        listed += ", ..." * (len(outputs) > _MOST_LISTED)
        if not kept:
            there = f": name one of {listed}" if outputs else ": name a job with refined particles"
            what = job if wanted.output is None else f"{job}/{wanted.output}"
            raise ServerError(f"{what} has no particles with poses{there}")
        if len(kept) > 1:
            raise UsageError(f"{job} has several outputs of particles: name one of {listed}")
        return Particles(wanted.project, wanted.job, kept[0], outputs[kept[0]], found)

    def load(self, particles: Particles) -> Any:
        """Load all slots of particles, as a Dataset of the client."""
        return self._call(
            f"give {particles}",
            lambda: particles.controller.load_output(particles.output, slots="all"),
        )

    @contextlib.contextmanager
    def external_job(self, particles: Particles, workspace: str, title: str) -> Iterator["Job"]:
        """Create an External job that is connected to particles; it is stopped afterwards.

        Whatever is raised within, also by Ctrl-C and SIGTERM, marks it as failed.
        """

        def stop(job: Any, reason: str = _INTERRUPTED) -> None:
            call_and_forget(lambda: job.stop(error=reason), _GIVE_UP_S)

        job = self._call(
            "create an External job",
            lambda: self._cryosparc.create_external_job(particles.project, workspace, title=title),
            undo=stop,
        )
        made = Job(job, self._call)
        try:
            made.connect(particles)
            yield made
            self._call("complete the job", job.stop)
        except BaseException as error:
            stop(job, str(error) or _INTERRUPTED)
            raise

    @staticmethod
    def _call(
        what: str, call: Callable[[], Result], undo: Callable[[Result], object] | None = None
    ) -> Result:
        """Make a call of the client; where a signal comes first, its result is undone.

        Raises
        ------
        ServerError
            It failed, for whatever reason.
        """
        try:
            with _warnings_in_lines():
                return waited(call, undo)
        except SymexpError:
            raise
        except Exception as error:  # of the client or its libraries
            raise ServerError(
                f"CryoSPARC did not {what} ({_reason(error)}): mend that, or {BY_FILE}"
            ) from None


def _with_outputs(job: Any) -> tuple[Any, dict[str, dict[str, str]]]:
    """A job, and its particles with poses: types of slots by name, by name of the output."""
    outputs = {
        name: {each.name: each.dtype for each in output.results}
        for name, output in job.outputs.items()
        if output.type == "particle" and _OUTPUT.fullmatch(name)
    }
    return job, {name: slots for name, slots in outputs.items() if POSES in slots}


class Job:
    """An External job that is being filled.

    Parameters
    ----------
    job : ExternalJobController
        Of the client.
    call : callable
        Makes a call of the client: what it does in words, and the call.
    """

    def __init__(self, job: Any, call: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._job, self._call = job, call

    @property
    def name(self) -> str:
        """Project and job, such as ``P3/J50``."""
        return f"{self._job.project_uid}/{self._job.uid}"

    def connect(self, particles: Particles) -> None:
        """Connect the particles that are expanded, for the lineage, and start the job."""
        name = particles.output

        def connect() -> None:
            self._job.add_input("particle", name, min=1, slots=[POSES], title="Particles")
            self._job.connect(name, particles.job, particles.output)
            self._job.start("running")

        self._call(f"connect {particles}", connect)

    def save(self, output: str, rows: Any, slots: dict[str, str]) -> None:
        """Save a Dataset as an output with slots of these types."""
        wanted = [{"name": name, "dtype": dtype} for name, dtype in slots.items()]

        def save() -> None:
            self._job.add_output("particle", output, slots=wanted, title="Expanded particles")
            self._job.save_output(output, rows)

        self._call(f"take the output {output} with {', '.join(slots)}", save)

    def log(self, text: str, level: str = "text") -> None:
        """Write a line into the job's log."""
        self._call("log a line", lambda: self._job.log(text, level=level))

    def log_picture(self, path: str, text: str) -> None:
        """Show a picture (.png) in the job's log."""
        self._call("log a picture", lambda: self._job.log_plot(path, text, formats=["png"]))


@contextlib.contextmanager
def _warnings_in_lines() -> Iterator[None]:
    """Tell warnings of the client as ours: their first lines, without secrets."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            meant = [each.message for each in told if issubclass(each.category, UserWarning)]
    warn(*dict.fromkeys(_first_line(str(message)) for message in meant))


def _reason(error: BaseException) -> str:
    """Why something failed, in a line without secrets.

    What the server says may repeat what it was sent, the password too: of that, only messages.
    """
    data = getattr(error, "data", None)
    code = getattr(error, "code", None)
    if code is None:
        return _first_line(f"{error}") or type(error).__name__
    detail = data.get("detail", data.get("message", "")) if isinstance(data, dict) else ""
    if isinstance(detail, list):
        detail = "; ".join(str(each["msg"]) for each in detail if "msg" in each)
    return _first_line(f"code {code}{': ' if detail else ''}{detail}")


def _first_line(text: str) -> str:
    """First line of a text, not too long, without what stands before the @ of a URL."""
    line = _USER_IN_URL.sub("//", text.strip().partition("\n")[0])
    line = _FROM_STREAM.sub("", line)
    password = os.environ.get("CRYOSPARC_PASSWORD")
    return (line.replace(password, "...") if password else line)[:_LONGEST_REASON]
