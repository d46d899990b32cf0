"""The program: words become a request, which runs when Fire has read all of them."""

import contextlib
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from typing import Any, NoReturn

from numba_symexp import interrupts
from numba_symexp.cli.argv import Request, canonical, help_asked_for, in_flags
from numba_symexp.cli.arrangements import arrange
from numba_symexp.cli.copies import collapse, match
from numba_symexp.cli.cryosparc import cryosparc
from numba_symexp.cli.expansion import expand
from numba_symexp.cli.frames import reorient
from numba_symexp.cli.help import command_help, completion, program_help
from numba_symexp.cli.maps_and_pictures import mapcheck, plot
from numba_symexp.cli.operators import operators
from numba_symexp.cli.selection import select
from numba_symexp.cli.tables import example, export_particles, import_particles, inspect, verify
from numba_symexp.cli.terminal import (
    DONE,
    INTERRUPTED,
    REFUSED,
    TERMINATED,
    print_line,
    print_result,
)
from numba_symexp.cli.transfer import transfer
from numba_symexp.errors import ExpansionWarning, OutputError, SymexpError, Terminated, UsageError
from numba_symexp.version import __version__

PROGRAM = "numba-symexp"
DEBUG = "NUMBA_SYMEXP_DEBUG"
ABOUT = """\
Symmetry expansion of cryo-EM particles and subtomograms: a table goes in (HDF5, .cs, .star, .tbl),
and one with a row for each particle and symmetry operator comes out, of the kind that the output's
suffix names. No image is read or written. The result is for local refinement, 3D classification and
variability in C1, never for a global refinement."""

COMMANDS: dict[str, Callable[..., Request]] = {
    "expand": expand,
    "cryosparc": cryosparc,
    "operators": operators,
    "mapcheck": mapcheck,
    "match": match,
    "inspect": inspect,
    "plot": plot,
    "verify": verify,
    "collapse": collapse,
    "arrange": arrange,
    "select": select,
    "reorient": reorient,
    "transfer": transfer,
    "import": import_particles,
    "export": export_particles,
    "example": example,
}
"""The verbs by name, in the order of the help."""

_TELLING = ("detail", "flags", "notes", "reason", "verdict", "warnings")
"""Parts of results in which the library tells what to do."""

_THREADING_LAYERS = ("default", "safe", "threadsafe", "forksafe", "omp", "tbb", "workqueue")
"""What Numba takes."""

_NUMBA_FILE = ".numba_config.yaml"
"""Numba reads its settings from a file of this name in the current folder."""

_MOST_THREADS = 4096
"""With tens of thousands, the system's libraries crash."""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line.

    By default the words are those after the program's name. Returns an exit code (see
    `cli.terminal`).
    """
    given = list(sys.argv[1:] if words is None else words)
    try:
        with interrupts.deferred():
            return _answer(given)
    except SymexpError as error:
        return _fail(error, _in_flags(str(error), given), error.exit_code)
    except KeyboardInterrupt as error:
        return _fail(error, "interrupted", INTERRUPTED)
    except Terminated as error:
        return _fail(error, "terminated", TERMINATED)
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except MemoryError as error:
        text = "not enough memory: use a machine with more, or fewer particles at a time"
        return _fail(error, text, REFUSED)
    except ImportError as error:
        text = f"a library cannot be loaded ({error}): free memory, or install it again"
        return _fail(error, text, REFUSED)
    except Exception as error:
        text = f"unexpected {type(error).__name__} ({error}): report it, with {DEBUG}=1"
        if isinstance(error, ValueError) and "threading layer" in str(error):
            layer = os.environ.get("NUMBA_THREADING_LAYER", "default")
            text = f"NUMBA_THREADING_LAYER={layer} cannot be loaded by Numba here: unset it"
        elif isinstance(error, OSError) and "shared object" in str(error):  # of llvmlite
            text = f"a library cannot be loaded ({error}): free memory, or install it again"
        return _fail(error, text, REFUSED)


def program() -> NoReturn:
    """Run the command line that this process was started with, and leave.

    At once: taking the compiler's modules down one by one would cost 0.3 s of every run. All
    files are closed and all output is flushed when `main` returns.
    """
    # Half a million objects of the compiler come and stay. With the usual thresholds, Python
    # searches them again and again for garbage, which takes a tenth of a small run.
    gc.set_threshold(100_000, 50, 100)
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # else children end unseen
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in range(3):  # else an output would take the place of a closed standard stream
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    try:
        code = main()
    except KeyboardInterrupt:  # the second one, while the first was told
        code = INTERRUPTED
    os._exit(code)


def _answer(words: list[str]) -> int:
    """Print help or the version, or run the one request that the words make."""
    if words == ["--version"]:
        print_result(f"{PROGRAM} {__version__}")
        return DONE
    asked = help_asked_for(words)
    if asked is not None:
        print_result(_help(asked))
        return DONE
    if words and words[0].partition("=")[0] == "--completion":
        print_result(completion(_shell(words), PROGRAM, COMMANDS))
        return DONE
    checked = canonical(words, COMMANDS)
    _check_environment()
    _tame_threads()
    with _warnings_told(words) as told:
        request = _request(checked)
        result = _told_in_flags(request.act(), words)
        for text in result.get("warnings", ()):
            told(text)
    result["warnings"] = told.texts
    published = ("output" in result or "files" in result) and not result.get("dry_run")
    try:
        if request.json:
            import json  # help does without

            print_result(json.dumps(result))
        elif not request.quiet:
            print_result(request.text(result))
    except (BrokenPipeError, OutputError):
        if not published:
            raise  # what is written stays, whoever reads of it
    return request.exit_code(result)


class _Told:
    """Warnings that were told on standard error, each once, in a line."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> None:
        line = " ".join(text.split())
        if line not in self.texts:
            self.texts.append(line)
            print_line(f"warning: {line}")


@contextlib.contextmanager
def _warnings_told(words: list[str]) -> Iterator[_Told]:
    """Tell the library's warnings when they come, before the work; hide those of other packages."""
    told = _Told()

    def show(message: Warning | str, *place: Any, **more: Any) -> None:
        told(_in_flags(str(message), words))

    with warnings.catch_warnings():
        warnings.simplefilter("default" if os.environ.get(DEBUG) == "1" else "ignore")
        warnings.simplefilter("always", ExpansionWarning)
        warnings.showwarning = show
        yield told


def _in_flags(text: str, words: list[str]) -> str:
    """Name flags where the library names parameters: of the command that runs, else of others.

    What `inspect` says of an expansion, for example, is about flags of `expand`.
    """
    command = COMMANDS.get(words[0]) if words else None
    if command is None:
        return text
    others = {
        name: parameter
        for call in COMMANDS.values()
        for name, parameter in signature(call).parameters.items()
        if parameter.default is not parameter.empty
    }
    return in_flags(text, {**others, **signature(command).parameters})


def _told_in_flags(result: Any, words: list[str], key: str = "") -> Any:
    """Do so in all texts of a result that tell what to do."""
    if isinstance(result, dict):
        return {name: _told_in_flags(each, words, name) for name, each in result.items()}
    if isinstance(result, list | tuple) and (key in _TELLING or key == "checks"):
        return [_told_in_flags(each, words, key) for each in result]
    return _in_flags(result, words) if key in _TELLING and isinstance(result, str) else result


def _help(first_word: str) -> str:
    """Help on a command, or on the program."""
    if first_word in COMMANDS:
        return command_help(PROGRAM, first_word, COMMANDS[first_word])
    return program_help(PROGRAM, ABOUT, COMMANDS)


def _shell(words: list[str]) -> str:
    """Shell whose completion is asked for."""
    given = [part for part in "=".join(words).split("=")[1:] if part]
    if len(given) != 1:
        raise UsageError("--completion needs one shell: --completion=bash, zsh or fish")
    return given[0]


def _check_environment() -> None:
    """Refuse what Numba and the system would refuse later, in words that nobody understands."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise OutputError("the current folder was deleted: change to another folder") from None
    if os.path.lexists(_NUMBA_FILE):  # it may name a folder of compiled code, which would run
        raise UsageError(
            f"{_NUMBA_FILE}: in this folder, where Numba would obey it: run in another folder, or "
            "remove it and set variables in its place, such as NUMBA_OPT=1"
        )
    threads = os.environ.get("NUMBA_NUM_THREADS", "1").strip()
    try:
        is_wrong = not 1 <= int(threads) <= _MOST_THREADS
    except ValueError:
        is_wrong = True
    if is_wrong:
        raise UsageError(
            f"NUMBA_NUM_THREADS={threads} is not a number of threads: set 1 to {_MOST_THREADS:,}, "
            "or unset it"
        )
    layer = os.environ.get("NUMBA_THREADING_LAYER", "default")
    if layer not in _THREADING_LAYERS:
        raise UsageError(
            f"NUMBA_THREADING_LAYER={layer} is unknown to Numba: set one of "
            f"{', '.join(_THREADING_LAYERS)}, or unset it"
        )


def _tame_threads() -> None:
    """Set what libraries read when they are loaded; what the user set stays."""
    # Idle OpenMP threads spin by default: on a busy machine a run then takes 20 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # NumPy's BLAS starts its threads when it is loaded; here it multiplies small matrices only.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _request(words: list[str]) -> Request:
    """Let Fire turn checked words into a request; every value stays text."""
    import fire  # help and mistakes do not wait for it

    commands = {name: fire.decorators.SetParseFn(str)(call) for name, call in COMMANDS.items()}
    request = fire.Fire(commands, command=words, name=PROGRAM, serialize=lambda _: None)
    if not isinstance(request, Request):
        raise UsageError(f"{' '.join(words)} is not understood: see {PROGRAM} --help")
    return request


def _fail(error: BaseException, text: str, exit_code: int) -> int:
    """Print one line, or the traceback when it is asked for."""
    if os.environ.get(DEBUG) == "1":
        import traceback  # as rarely as this

        traceback.print_exception(error)
    line = " ".join(text.split())
    print_line(f"error: {line}")
    return exit_code
