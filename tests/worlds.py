"""Runs of the program in odd surroundings: variables, streams, caches of kernels, folders."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py

LONGEST_S = 180
HERE = Path(__file__).parent
COMMANDS = (
    (("expand", "group.h5", "out.h5", "--symmetry=D3"), ("out.h5",)),
    (("expand", "rows.star", "out.h5", "--twist=20", "--rise=5", "--order=3"), ("out.h5",)),
    (("import", "rows.star", "out.h5"), ("out.h5",)),
    (("export", "of_rows.cs.h5", "out.cs"), ("out.cs", "out.csg")),
    (("export", "of_rows.star.h5", "out.star"), ("out.star",)),
    (("collapse", "of_rows.cs.h5", "out.h5"), ("out.h5",)),
    (("verify", "of_rows.cs.h5"), ()),
    (("inspect", "of_rows.star.h5", "--json"), ()),
    (("match", "of_rows.cs.h5"), ()),
    (("operators", "--symmetry=O"), ()),
    (("--help",), ()),
    (("expand", "--help"), ()),
)
"""What is run, and the files that it writes."""
INPUTS = ("group.h5", "rows.star", "rows.cs", "of_rows.cs.h5", "of_rows.star.h5")

VARIABLES = {
    "NUMBA_NUM_THREADS": ("0", "-1", "abc", "1", "99999", "", "1e9"),
    "NUMBA_THREADING_LAYER": ("abc", "", "workqueue", "omp", "tbb", "forksafe", "threadsafe"),
    "NUMBA_CACHE_DIR": ("/dev/null/x", "/proc/none", "", "group.h5", "x" * 300, "new/folder"),
    "NUMBA_OPT": ("abc", "0", "-1"),
    "NUMBA_CPU_NAME": ("", "generic"),
    "NUMBA_DEBUG_CACHE": ("0",),
    "NUMBA_BOUNDSCHECK": ("1", "abc"),
    "SOURCE_DATE_EPOCH": ("9" * 20, "-1", "abc", "", "1e9", "9" * 6000, "0.5", " 5"),
    "MPLBACKEND": ("abc", "TkAgg"),
    "MPLCONFIGDIR": ("/dev/null/x",),
    "PYTHONOPTIMIZE": ("1", "2"),
    "PYTHONUTF8": ("0", "1"),
    "PYTHONIOENCODING": ("ascii", "utf-16", "ascii:strict", "latin-1"),
    "PYTHONWARNINGS": ("error", "always", "default"),
    "PYTHONUNBUFFERED": ("1",),
    "PYTHONDONTWRITEBYTECODE": ("1",),
    "PYTHONHASHSEED": ("7",),
    "PYTHONSAFEPATH": ("", "1"),
    "PYTHONDEVMODE": ("1",),
    "PYTHONMALLOC": ("malloc", "debug"),
    "LC_ALL": ("C", "POSIX", "xx_YY", "tr_TR.UTF-8", "C.UTF-8"),
    "COLUMNS": ("0", "-1", "abc", "1", "5", "1000000000", "9" * 30),
    "LINES": ("0", "abc"),
    "TERM": ("", "dumb", "xterm"),
    "NO_COLOR": ("1",),
    "FORCE_COLOR": ("1",),
    "PAGER": ("/nowhere", "false"),
    "HOME": ("/nowhere", "", "group.h5"),
    "TMPDIR": ("/nowhere", "", "group.h5"),
    "OMP_NUM_THREADS": ("0", "abc", "1", "-3"),
    "OMP_STACKSIZE": ("1", "abc"),
    "SLURM_CPUS_PER_TASK": ("0", "abc", "-1", "1", "9" * 30),
    "HDF5_USE_FILE_LOCKING": ("abc", "TRUE", "FALSE", "BEST_EFFORT"),
    "HDF5_PLUGIN_PATH": ("/nowhere",),
    "HDF5_DISABLE_VERSION_CHECK": ("1",),
    "PATH": ("", "/nowhere"),
    "USER": ("", "a b"),
    "NUMEXPR_MAX_THREADS": ("abc",),
    "TQDM_DISABLE": ("1", "abc"),
    "TQDM_MININTERVAL": ("abc", "-1"),
    "TQDM_NCOLS": ("abc",),
}
"""Odd values of what the program and its libraries look at."""


def make_world_base(base):
    """Run every command undisturbed; their outputs, and the cache of kernels, stay in a folder."""
    (base / "world" / "cache").mkdir(parents=True)  # as plain Python, no kernel comes to be there
    for number, (words, outputs) in enumerate(COMMANDS):
        folder = base / "world" / str(number)
        folder.mkdir()
        put_inputs(base, folder)
        done = start(words, folder, environment(base / "world" / "cache"))
        assert done.returncode == 0, (words, done.stderr)
        for name in INPUTS:
            (folder / name).unlink()
        (folder / "shown").write_bytes(done.stdout)
        assert set(os.listdir(folder)) == {*outputs, "shown"}, words


def put_inputs(base, folder):
    for name in INPUTS:
        shutil.copy2(base / name, folder / name)


def environment(cache):
    """Variables of an undisturbed run."""
    kept = ("PATH", "PYTHONPATH", "HOME", "NUMBA_DISABLE_JIT")
    made = {name: os.environ[name] for name in kept if name in os.environ}
    paths = [str(HERE.parent), made.get("PYTHONPATH", "")]
    made |= {"PYTHONPATH": ":".join(filter(None, paths)), "LANG": "C.UTF-8"}
    return {**made, "SOURCE_DATE_EPOCH": "0", "NUMBA_CACHE_DIR": str(cache)}


def start(words, folder, variables, shell="", setup=None):
    """Run the program, perhaps behind some words of a shell."""
    run = [sys.executable, "-m", "numba_symexp", *words]
    if shell:
        run = ["/bin/bash", "-c", f'"$@" {shell}', "bash", *run]
    return subprocess.run(
        run,
        cwd=folder,
        env=variables,
        preexec_fn=setup,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LONGEST_S,
        check=False,
    )


STREAMS = (
    ">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full",
    ">/dev/full 2>/dev/full", "| true", "2> >(true)", ">group.h5.log 2>&1",
)  # fmt: skip


def damage_cache(rng, cache):
    """Cut, empty, fill or remove files of a cache of kernels, or forbid the folder."""
    files = sorted(path for path in cache.rglob("*") if path.is_file())
    for path in files:
        what, data = int(rng.integers(7)), path.read_bytes()
        if what == 0:
            path.unlink()
        elif what == 1:
            path.write_bytes(data[: int(rng.integers(len(data)))])
        elif what == 2:
            path.write_bytes(rng.bytes(len(data)))
        elif what == 3:
            path.write_bytes(b"")
        elif what == 4:
            path.unlink()
            path.mkdir()
        elif what == 5:  # which has no end
            path.unlink()
            path.symlink_to("/dev/zero")


LIMITS = (
    (resource.RLIMIT_NOFILE, 20), (resource.RLIMIT_NOFILE, 8), (resource.RLIMIT_FSIZE, 4096),
    (resource.RLIMIT_AS, 300 << 20), (resource.RLIMIT_STACK, 1 << 20), (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NPROC, 1),
)  # fmt: skip


def limited(limit):
    """Set a limit of the process that is to become the program."""
    which, value = limit

    def setup():
        resource.setrlimit(which, (value, value))

    return setup


def run_world(rng, base, keep=None):
    """Run one command in odd surroundings; gives verb, what was odd, outcome, text, faults."""
    number = int(rng.integers(len(COMMANDS)))
    words, outputs = COMMANDS[number]
    folder = Path(tempfile.mkdtemp(prefix="world-", dir=base) if keep is None else keep)
    folder.mkdir(exist_ok=True)
    (folder / "in").mkdir()
    put_inputs(base, folder / "in")
    cache, shell, setup, done = base / "world" / "cache", "", None, []
    what = int(rng.integers(8))
    if what == 0:
        shutil.copytree(cache, folder / "cache")
        cache = folder / "cache"
        damage_cache(rng, cache)
        done.append("cache")
    variables = environment(cache)
    if what in (1, 2, 3, 4):
        for _ in range(int(rng.integers(1, 4))):
            name = list(VARIABLES)[int(rng.integers(len(VARIABLES)))]
            variables[name] = VARIABLES[name][int(rng.integers(len(VARIABLES[name])))]
            done.append(f"{name}={variables[name][:30]}")
    if what in (4, 5, 6):
        shell = STREAMS[int(rng.integers(len(STREAMS)))]
        done.append(shell)
    if what == 7:
        which = int(rng.integers(len(LIMITS) + 3))
        if which < len(LIMITS):
            setup = limited(LIMITS[which])
            done.append(f"limit {LIMITS[which]}")
        elif which == len(LIMITS):
            setup = lambda: (os.mkdir("gone"), os.chdir("gone"), os.rmdir("../gone"))  # noqa: E731
            done.append("current folder is gone")
        else:
            ignored = (signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGXFSZ)
            setup = lambda: [signal.signal(each, signal.SIG_IGN) for each in ignored]  # noqa: E731
            done.append("signals are ignored")
    try:
        ended = start(words, folder / "in", variables, shell, setup)
        faults = faults_of(base / "world" / str(number), ended, folder / "in", outputs, shell, done)
        shown = ended.stderr.decode(errors="replace")
        return " ".join(words[:2]), " ".join(done), f"exit {ended.returncode}", shown, faults
    except subprocess.TimeoutExpired:
        return " ".join(words[:2]), " ".join(done), "hang", "", ["hang"]
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def content(path):
    """What a file says; HDF5 files also keep where their source was, which is another folder."""
    if path.suffix != ".h5":
        return path.read_bytes()
    found = {}

    def take(name, node):
        if isinstance(node, h5py.Dataset):
            found[name] = node[()].tobytes()

    with h5py.File(path) as file:
        file["particles"].visititems(take)
    return found


def faults_of(reference, ended, folder, outputs, shell, done):
    """Promises that a run broke: the bytes of an undisturbed run, or one line and no file."""
    faults = []
    out, err = ended.stdout, ended.stderr.decode(errors="replace")
    lines = [line for line in err.splitlines() if line and not line.startswith("libgomp: ")]
    new = {name for name in os.listdir(folder) if name not in INPUTS and not name.endswith(".log")}
    new -= {"new", "gone"}  # a folder for the cache that a variable names
    heard = not shell
    if ended.returncode:
        lines = [line for line in lines if not line.startswith("warning: ")]
    if "Traceback" in err or "error: unexpected " in err:
        faults.append("traceback")
    if ended.returncode not in (0, 1, 2):
        faults.append(f"exit code {ended.returncode}")
    if ended.returncode == 0 and heard and [x for x in lines if not x.startswith("warning: ")]:
        faults.append("odd lines on standard error")
    if ended.returncode and heard and (len(lines) != 1 or not lines[0].startswith("error: ")):
        faults.append("not one line of error")
    if new != (set(outputs) if ended.returncode == 0 else set()):
        faults.append(f"files {sorted(new)}")
    if ended.returncode == 0 and new == set(outputs) and "SOURCE_DATE_EPOCH" not in " ".join(done):
        faults += [
            f"other bytes: {name}"
            for name in outputs
            if content(folder / name) != content(reference / name)
        ]
    is_of_streams = not any("=" in odd for odd in done)
    if shell and outputs and ended.returncode and is_of_streams:
        faults.append("a stream decided the exit code")
    if ended.returncode == 0 and heard and not outputs and not out:
        faults.append("says nothing")
    return faults
