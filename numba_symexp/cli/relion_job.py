"""`numba-symexp-relion`: the program of an External job, as RELION's graphical interface runs it.

RELION gives it the job's folder, the particles, a number of threads, and pairs of labels and values
(``--o External/job012/ --in_parts run_data.star --sym D7 --j 4``). A file in that folder says how
the job ended. The expansion is a process of its own, so that however it ends, RELION is told.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from numba_symexp.children import safe_environment
from numba_symexp.cli.terminal import (
    DONE,
    INTERRUPTED,
    MISUSED,
    REFUSED,
    TERMINATED,
    print_line,
    print_result,
)
from numba_symexp.errors import OutputError, UsageError

PROGRAM = "numba-symexp-relion"

OUTPUT = "particles.star"

SUCCESS, FAILURE, ABORTED = (
    f"RELION_JOB_EXIT_{ending}" for ending in ("SUCCESS", "FAILURE", "ABORTED")
)
ABORT_NOW = "RELION_JOB_ABORT_NOW"

_NODES = """\

# version 30001

data_output_nodes

loop_
_rlnPipeLineNodeName #1
_rlnPipeLineNodeType #2
_rlnPipeLineNodeTypeLabel #3
{name} 3 ParticleGroupMetadata.star.relion

"""
"""What the job made: RELION 3.1 reads the number of a node's type, RELION 4 and 5 its label."""

_HELP = f"""\
usage: {PROGRAM} --o JOBFOLDER/ --in_parts PARTICLES.star [--LABEL VALUE ...] [--j THREADS]

The program of an External job of RELION (3.1, 4, 5): symmetry expansion of particles, to
JOBFOLDER/{OUTPUT}. In RELION's External tab:

  External executable   {PROGRAM}
  Input particles       the particles of a refinement
  Input micrographs     say A per pixel where origins go into coordinates: recenter coordinates
  Params                pairs of label and value: sym D7; or twist -166.7, rise 27.3, order 12

Labels are the flags of `numba-symexp expand`, and sym; see numba-symexp expand --help."""

_OUR_NAMES = {"sym": "symmetry", "angpix": "psize", "in_mics": "micrographs"}

_ELSEWHERE = ("in_movs", "in_mov", "in_movies", "in_coords", "in_3dref", "in_mask")
"""Inputs of other kinds, which RELION gives to any External job that names them."""

_LOOK_S, _PATIENCE_S = 0.2, 30.0
"""How often it is looked whether the job is to stop; and how long it may take to do so."""


@dataclass(frozen=True)
class _Asked:
    """What RELION asks for.

    Attributes
    ----------
    folder : str
        Of the job, as RELION writes it.
    source : str
        The particles.
    flags : tuple of str
        Of `expand`.
    """

    folder: str
    source: str
    flags: tuple[str, ...]

    @property
    def output(self) -> str:
        """The particles that are written."""
        return os.path.join(self.folder, OUTPUT)


def main(words: Sequence[str] | None = None) -> int:
    """Run an External job, and leave a file that says how it ended.

    By default the words are those after the program's name. Returns an exit code (see
    `cli.terminal`); `TERMINATED` also where RELION aborted the job.
    """
    words = sys.argv[1:] if words is None else words
    if not words or {"--help", "-h"} & {*words}:
        print_result(_HELP)
        return DONE if words else MISUSED
    stops: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        stops.append(number)

    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    ending, code = FAILURE, REFUSED
    folder = _folder(words)
    try:
        _forget_endings(folder)
        ending, code = _run(_read(words), stops)
    except UsageError as error:
        code = MISUSED
        print_line(f"error: {error}")
    except (OSError, OutputError) as error:
        print_line(f"error: {error}")
    finally:  # whatever happened: RELION waits for it
        code = max(code, _end(folder, ending))
        for number, handler in before.items():
            signal.signal(number, handler)
    return code


def _folder(words: Sequence[str]) -> str | None:
    """Folder of the job, whatever else is wrong with the words."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        found = value if equals else following
        if name == "--o" and found and not found.startswith("--"):
            return found
    return None


def _read(words: Sequence[str]) -> _Asked:
    """Read the words that RELION writes: pairs of label and value, and what a user adds to them.

    Raises
    ------
    UsageError
        A word is not understood, comes twice, or is missing.
    """
    given: dict[str, str] = {}
    waiting = [word for word in words if word]
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("-"):
            raise UsageError(f"{word!r} follows no label: see {PROGRAM} --help")
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            value = "True"  # of a switch
            if waiting and not re.match(r"--?[A-Za-z]", waiting[0]):
                value = waiting.pop(0)
        name = _OUR_NAMES.get(name, name)
        if name in given:
            raise UsageError(f"{name} is given twice: give it once")
        given[name] = value
    last = next(reversed(given), "")
    folder, source = given.pop("o", None), given.pop("in_parts", None)
    if folder is None or source is None:
        raise UsageError("--o and --in_parts are needed: fill in the input particles of the job")
    for name in _ELSEWHERE:
        if name in given:
            raise UsageError(f"--{name} is not for particles: leave it empty in the job")
    given.pop("pipeline_control", None)
    if "j" not in given and last in ("center", "center_px"):
        raise UsageError(
            f"the command ends after --{last}, without the --j that RELION writes there: a "
            "semicolon ends a command, so put several centers in quotes, or into a marker file; "
            "without RELION's window add --j 1"
        )
    threads = given.pop("j", "")
    if threads.isdecimal() and 0 < int(threads) <= len(os.sched_getaffinity(0)):
        given.setdefault("threads", threads)
    for name in ("source", "output", "overwrite"):
        if name in given:
            raise UsageError(f"{name} is RELION's to say: leave it out")
    flags = tuple(f"--{name}={value}" for name, value in given.items())
    return _Asked(folder, source, (*flags, "--overwrite"))


def _run(asked: _Asked, stops: Sequence[int]) -> tuple[str, int]:
    """Expand in a process of its own; return the name of the ending, and the exit code."""
    words = ["expand", asked.source, asked.output, *asked.flags]
    print_result(f"numba-symexp {' '.join(words)}")
    command = [sys.executable, "-m", "numba_symexp", *words]
    child = subprocess.Popen(command, env={**os.environ, **safe_environment()})
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(_LOOK_S)
                break
            if stops or os.path.exists(os.path.join(asked.folder, ABORT_NOW)):
                code = _stop(child)
                break
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if code == DONE:
        _write_nodes(asked)
        return SUCCESS, DONE
    if not stops and os.path.exists(os.path.join(asked.folder, ABORT_NOW)):
        print_result("aborted, as RELION asked for")
        return ABORTED, TERMINATED
    if stops:
        return FAILURE, INTERRUPTED if stops[0] == signal.SIGINT else TERMINATED
    if code < 0:
        print_line(f"error: the expansion was ended by signal {-code}: see the log of the machine")
    return FAILURE, code if code > 0 else REFUSED


def _stop(child: "subprocess.Popen[bytes]") -> int:
    """Ask a process to stop, and see that it does; return its exit code."""
    child.terminate()
    try:
        return child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _write_nodes(asked: _Asked) -> None:
    """Tell RELION what the job made."""
    path = os.path.join(asked.folder, "RELION_OUTPUT_NODES.star")
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(_NODES.format(name=asked.output))


def _forget_endings(folder: str | None) -> None:
    """Remove what an earlier run of the job said of its end."""
    if folder is None:
        return
    for name in (SUCCESS, FAILURE, ABORTED):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, name))


def _end(folder: str | None, ending: str) -> int:
    """Leave the file that says how the job ended; return 1 where it cannot be written, else 0."""
    if folder is None:
        return DONE
    try:
        with open(os.path.join(folder, ending), "wb"):
            pass
        if ending == ABORTED:
            os.remove(os.path.join(folder, ABORT_NOW))
    except OSError as error:
        print_line(f"error: {folder}: {ending} cannot be written ({error.strerror})")
        return REFUSED
    return DONE


def program() -> NoReturn:
    """Run the External job that this process was started for."""
    sys.exit(main())
