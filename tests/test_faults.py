"""Runs that are stopped, starved or disturbed: the output's name holds the old file or the new one.

Real processes, forked from one that has loaded everything, so that each takes a moment. Where a
run is to be hit, a function is wrapped in that process: it is hit before or after its n-th call.
"""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import inside
import numba
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import PREFIX, SUFFIX, RunMark, hidden_name, hold, path_of, sweep
from particle_files import write_cs
from star_files import particles, star_text

pytestmark = pytest.mark.slow

OLD = b"\x89HDF\r\n\x1a\ndata_old"
"""What stood there before: to be replaced by HDF5, and by a .star as well."""
RUN, OUTPUT = path_of("expansion_run"), path_of("output")
FILES, STREAM = path_of("files"), path_of("expansion_stream")
IMPORTING, EXPORTING = (
    path_of("import_table"),
    path_of("export_table"),
)
TABLE_FILE = path_of("hdf5_write")
EXPAND = ("expand", "in.h5", "out.h5", "--symmetry=D3", "--chunk_rows=60")
IMPORT = ("import", "in.star", "imported.h5")
EXPORT = ("export", "in.star", "out.star")
DIRECT = ("expand", "in.star", "out.star", "--symmetry=D3", "--chunk_rows=60")
WRITING = pytest.mark.parametrize(
    "words", [EXPAND, IMPORT, EXPORT, DIRECT], ids=["expand", "import", "export", "direct"]
)
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
LONGEST_S = 60
MANY = 1_200 if numba.config.DISABLE_JIT else 12_000
"""Particles of a table that is read in several blocks; interpreted, cutting text is slow."""

NURSERY = """
import gc, importlib, json, os, resource, shutil, signal, sys, time
os.environ["NUMBA_NUM_THREADS"] = "1"
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"  # the layer that survives a fork
from MAIN import main

def hit(module, name, act, call=1, after=False):
    home = importlib.import_module(module)
    really, calls = getattr(home, name), []
    def wrapped(*words, **named):
        calls.append(1)
        if len(calls) == call and not after:
            act()
        result = really(*words, **named)
        if len(calls) == call and after:
            act()
        return result
    setattr(home, name, wrapped)

def send(number):
    return lambda: os.kill(os.getpid(), number)

def wait_for(path):
    def wait():
        open(path + ".reached", "x").close()
        while not os.path.exists(path):
            time.sleep(0.002)
    return wait

def fill_disk(folder, left=0):
    def fill():
        with open(os.path.join(folder, "filling"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
            file.truncate(max(0, file.seek(0, 2) - left))
    return fill

def child(request):
    signal.alarm(request["longest_s"])
    for number, path in enumerate(request["shown"], start=1):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
    os.chdir(request["folder"])
    exec(request["setup"], globals())
    return main(request["words"])

for words in json.loads(sys.argv[1]):
    assert main(words) == 0, words
gc.freeze()  # a child that looks through all of it copies all of it
print("ready", flush=True)
children = set()
try:
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            status = os.waitpid(request["wait"], 0)[1]
            children.discard(request["wait"])
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(child(request))
            except BaseException as error:
                import traceback
                traceback.print_exception(error)
            os._exit(99)
        children.add(pid)
        print(pid, flush=True)
finally:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
""".replace("MAIN", path_of("main"))


class Nursery:
    """A process that has loaded everything, and from which runs are forked."""

    def __init__(self, folder):
        write_all_sources(folder)
        self._shown = folder / "shown"
        self._started = 0
        warm = [["expand", "in.h5", "w.h5", "--symmetry=D3"], ["import", "in.star", "w2.h5"]]
        warm += [["export", "in.star", "w.star"], ["export", "in.cs", "w.cs"]]
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, json.dumps([[*words, "--quiet"] for words in warm])],
            cwd=folder,
            env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running = set()
        assert self._process.stdout.readline() == "ready\n"

    def _ask(self, **request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, folder, *words, setup=""):
        """Fork a run; returns it under way."""
        self._started += 1
        shown = [f"{self._shown}.{self._started}.{number}" for number in (1, 2)]
        pid = self._ask(
            folder=str(folder), words=words, setup=setup, shown=shown, longest_s=LONGEST_S
        )
        self.running.add(pid)
        return SimpleNamespace(pid=pid, shown=shown)

    def finish(self, run):
        """Wait for a run; returns its exit code (or minus a signal) and what it showed."""
        code = self._ask(wait=run.pid)
        self.running.discard(run.pid)
        out, err = (Path(path).read_text() for path in run.shown)
        return SimpleNamespace(pid=run.pid, returncode=code, stdout=out, stderr=err)

    def kill_all(self):
        """Kill what a test left running."""
        for pid in list(self.running):
            os.kill(pid, signal.SIGKILL)
            self._ask(wait=pid)
        self.running.clear()

    def close(self):
        """End the process, and with it all runs."""
        self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()


def write_all_sources(folder, rows=40):
    """Sources of every kind, of as many particles."""
    rng = np.random.default_rng(3)
    write_table(folder / "in.h5", random_columns(rng, rows))
    write_cs(folder / "in.cs", rng.uniform(-170, 170, (rows, 5)), np.arange(rows), 64, 1.1, "s.mrc")
    (folder / "in.star").write_text(star_text(particles(rng, rows)))


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    made = Nursery(tmp_path_factory.mktemp("nursery"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def folder(tmp_path):
    write_all_sources(tmp_path)
    return tmp_path


@pytest.fixture
def start(nursery, folder):
    """Start a run in the folder; whatever still runs at the end is killed."""
    try:
        yield lambda *words, setup="": nursery.start(folder, *words, setup=setup)
    finally:
        nursery.kill_all()


@pytest.fixture
def run(nursery, start):
    """Run in the folder, with what is to happen meanwhile."""
    return lambda *words, setup="": nursery.finish(start(*words, setup=setup))


def hit(module, name, act, call=1, after=False):
    """Text for a run's setup: do something before (or after) the n-th call of a function."""
    return f"hit({module!r}, {name!r}, {act}, {call}, {after})\n"


def names(folder):
    return sorted(os.listdir(folder))


def hidden(folder):
    return [name for name in names(folder) if name.startswith(PREFIX)]


def output_of(words):
    return words[2]


def reference(run, folder, words):
    """Bytes of the whole output, from a run that nobody disturbs; the folder is as before."""
    done = run(*words)
    assert done.returncode == 0, done.stderr
    data = (folder / output_of(words)).read_bytes()
    (folder / output_of(words)).unlink()
    return data


def assert_one_line(done, code=1, say=""):
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr
    assert say in done.stderr
    assert done.stdout == ""


# Signals

EXPAND_MOMENTS = [
    # (what is called, which call, before or after it, whether a signal then still stops the run)
    (RUN, "open_table", 1, False, True),
    (RUN, "make_plan", 1, True, True),
    (OUTPUT, "sweep", 1, True, True),
    (RUN, "create", 1, False, True),
    (RUN, "create", 1, True, True),
    (RUN, "reserve", 1, True, True),
    ("os", "pwrite", 1, False, True),
    ("os", "pwrite", 5, True, True),
    (RUN, "finish", 1, False, True),
    (path_of("expanded_format"), "sync_file", 1, False, True),
    (RUN, "finish", 1, True, True),
    (OUTPUT, "sync", 1, False, True),
    (OUTPUT, "_publish", 1, False, False),
    (OUTPUT, "sync_folder", 1, False, False),
    (OUTPUT, "_publish", 1, True, False),
]
NAMING = {False: ("os", "link"), True: ("os", "replace")}
"""How a file gets its name, without and with --overwrite."""


@pytest.fixture(params=[False, True], ids=["new", "overwrite"])
def overwrite(request):
    return request.param


def disturbed(run, folder, words, setup, overwrite):
    """Run with or without an old output; returns how it ended, and what the name held before."""
    flags = ("--overwrite",) if overwrite else ()
    if overwrite:
        (folder / output_of(words)).write_bytes(OLD)
    return run(*words, *flags, setup=setup), OLD if overwrite else None


def held(path):
    return path.read_bytes() if path.exists() else None


def assert_stopped_or_done(run, folder, words, moments, number, overwrite):
    """Hit a run at each moment: it is stopped and nothing has changed, or it is done."""
    whole = reference(run, folder, words)
    others = names(folder)
    target = folder / output_of(words)
    for module, name, call, after, stops in moments:
        target.unlink(missing_ok=True)
        setup = hit(module, name, f"send({int(number)})", call, after)
        done, before = disturbed(run, folder, words, setup, overwrite)
        moment = f"{name} {call} {'after' if after else 'before'}"
        if number == signal.SIGKILL:
            assert done.returncode == -signal.SIGKILL, moment
            assert held(target) in (before, whole), moment
            assert len(hidden(folder)) <= 1, moment
        elif stops:
            assert_one_line(done, CODES[number])
            assert held(target) == before, moment
            assert names(folder) == sorted([*others, target.name] if overwrite else others), moment
        else:
            assert done.returncode == 0, (moment, done.stderr)
            assert held(target) == whole, moment
            assert names(folder) == sorted([*others, target.name]), moment
    assert run(*words, "--overwrite").returncode == 0
    assert held(target) == whole
    assert names(folder) == sorted([*others, target.name])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_at_any_moment_of_an_expansion(number, overwrite, run, folder):
    naming = [(*NAMING[overwrite], 1, after, False) for after in (False, True)]
    moments = [*EXPAND_MOMENTS, *naming]
    assert_stopped_or_done(run, folder, EXPAND, moments, number, overwrite)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(
    ("words", "middle"),
    [
        (IMPORT, (IMPORTING, "write_table", 1, True, True)),
        (EXPORT, ("os", "fsync", 1, False, True)),
        (DIRECT, (path_of("made_rows"), "read_sources", 4, True, True)),
        (DIRECT, (EXPORTING, "_write_rows", 1, True, True)),
    ],
    ids=["import", "export", "direct, rows", "direct, end"],
)
def test_a_signal_at_a_moment_of_an_import_or_export(words, middle, number, overwrite, run, folder):
    moments = [
        (OUTPUT, "sweep", 1, False, True),
        middle,
        (OUTPUT, "_publish", 1, False, False),
        (*NAMING[overwrite], 1, False, False),
        (*NAMING[overwrite], 1, True, False),
    ]
    assert_stopped_or_done(run, folder, words, moments, number, overwrite)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_particles_go_back(number, overwrite, run, folder):
    assert run("expand", "in.star", "e.h5", "--symmetry=C2").returncode == 0
    moments = [
        (OUTPUT, "sweep", 1, False, True),
        (EXPORTING, "_write_rows", 1, False, True),
        (EXPORTING, "_write_rows", 1, True, True),
        (OUTPUT, "_publish", 1, False, False),
        (*NAMING[overwrite], 1, True, False),
    ]
    assert_stopped_or_done(
        run, folder, ("collapse", "e.h5", "out.star"), moments, number, overwrite
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_between_the_two_files_of_a_dataset(number, run, folder):
    """A .cs and its result group are two files: only a kill leaves one of them."""
    others = names(folder)
    setup = hit("os", "link", f"send({int(number)})", 2)
    done = run("export", "in.cs", "out.cs", setup=setup)
    if number == signal.SIGKILL:
        assert done.returncode == -number
        assert len(np.load(folder / "out.cs")) == 40
        assert not (folder / "out.csg").exists()
    else:
        assert done.returncode == 0
    assert run("export", "in.cs", "out.cs", "--overwrite").returncode == 0
    assert names(folder) == sorted([*others, "out.cs", "out.csg"])


def test_an_impatient_user(run, folder):
    others = names(folder)
    setup = hit("os", "pwrite", f"lambda: [send({int(signal.SIGTERM)})() for _ in 'ab']")
    assert_one_line(run(*EXPAND, setup=setup), 143)
    assert names(folder) == others


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_from_outside_while_rows_are_written(number, start, nursery, folder):
    """Nothing is wrapped here but for the wait that makes sure of the moment."""
    (folder / "out.h5").write_bytes(OLD)
    setup = hit("os", "pwrite", "wait_for('go')", 3)
    under_way = start(*EXPAND, "--overwrite", setup=setup)
    wait_until(folder / "go.reached")
    os.kill(under_way.pid, number)
    (folder / "go").touch()
    done = nursery.finish(under_way)
    assert done.returncode == CODES.get(number, -number)
    assert (folder / "out.h5").read_bytes() == OLD


def wait_until(path):
    """Wait until a run has come so far."""
    deadline = time.monotonic() + LONGEST_S
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.002)


# What is left over


def test_the_next_run_removes_what_a_killed_one_left(run, folder):
    for words in (EXPAND, IMPORT, EXPORT):
        killed = run(*EXPAND, setup=hit(RUN, "finish", "send(9)"))
        assert killed.returncode == -9
        assert len(hidden(folder)) == 1
        assert f"-{killed.pid}-" in hidden(folder)[0]
        assert run(*words, "--quiet").returncode == 0
        assert hidden(folder) == []
        (folder / output_of(words)).unlink()


def test_a_dry_run_removes_nothing(run, folder):
    run(*EXPAND, setup=hit(RUN, "finish", "send(9)"))
    left = hidden(folder)
    assert run(*EXPAND, "--dry_run").returncode == 0
    assert hidden(folder) == left != []


def test_what_a_living_run_writes_is_left_alone(start, run, nursery, folder):
    under_way = start(*EXPAND, setup=hit("os", "pwrite", "wait_for('go')", 2))
    wait_until(folder / "go.reached")
    living = hidden(folder)
    assert len(living) == 1
    other = run("expand", "in.h5", "other.h5", "--symmetry=C2")
    assert (other.returncode, other.stderr) == (0, "")
    assert hidden(folder) == living
    (folder / "go").touch()
    assert nursery.finish(under_way).returncode == 0
    assert hidden(folder) == []
    assert h5py.is_hdf5(folder / "out.h5")


@WRITING
def test_what_another_host_left_is_named_and_kept(words, run, folder):
    foreign = f"{PREFIX}elsewhere-abcd1234-4026531836-17-99-0123abcd{SUFFIX}"
    (folder / foreign).write_bytes(b"whose?")
    done = run(*words)
    assert done.returncode == 0
    told = done.stderr + done.stdout
    assert foreign in told
    assert "a run on elsewhere (process 17)" in told
    assert (folder / foreign).read_bytes() == b"whose?"


def test_other_hidden_files_are_not_ours(run, folder):
    kept = [".hidden", f"{PREFIX}x{SUFFIX}", f"{PREFIX}notes.txt", hidden_name() + ".bak"]
    for name in kept:
        (folder / name).touch()
    assert run(*EXPAND).returncode == 0
    assert {*kept} <= {*names(folder)}


def test_a_writer_is_dead_only_when_that_is_sure():
    this = RunMark.of_this_process()
    assert not this.is_dead(True)
    for change, dead in (
        ({"started": str(int(this.started) - 1)}, True),
        ({"pid": str(2**22 + 1)}, True),
        ({"boot": "feedbeef"}, True),
        ({"boot": "feedbeef", "namespaces": "1"}, True),
        ({"namespaces": "1", "started": "1"}, False),
        ({"host": "elsewhere", "started": "1"}, False),
        ({"host": "elsewhere", "boot": "feedbeef"}, False),
        ({"boot": "0", "started": "1"}, False),
        ({"namespaces": "0", "started": "1"}, False),
        ({"started": "0"}, False),
    ):
        assert dataclasses.replace(this, **change).is_dead(True) == dead, change


def test_a_mark_names_the_namespaces_of_numbers_and_of_times():
    """Times since the boot differ between namespaces of time, as numbers of processes do."""
    numbers = []
    for name in ("pid", "time"):
        path = f"/proc/self/ns/{name}"
        numbers.append(str(os.stat(path).st_ino) if os.path.exists(path) else "0")
    assert RunMark.of_this_process().namespaces == "_".join(numbers)


def test_sweep_keeps_the_files_of_this_process_and_takes_no_folder_amiss(tmp_path):
    own = hidden_name()
    (tmp_path / own).touch()
    gone = dataclasses.replace(RunMark.of_this_process(), started="1")
    dead = PREFIX + "-".join(vars(gone).values())
    (tmp_path / f"{dead}-00000000{SUFFIX}").mkdir()
    assert sweep(str(tmp_path)) == []
    assert len(names(tmp_path)) == 2
    assert sweep(str(tmp_path / "nowhere")) == []


def test_a_lock_that_cannot_be_asked_for_keeps_the_file(tmp_path, monkeypatch):
    """Nor is a file removed that cannot be opened: the process has no descriptor left."""
    gone = dataclasses.replace(RunMark.of_this_process(), started="1")
    path = tmp_path / f"{PREFIX}{'-'.join(vars(gone).values())}-00000000{SUFFIX}"
    path.touch()

    def none_left(*words, **named):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(inside.leftovers.fcntl, "fcntl", none_left)
        assert len(sweep(str(tmp_path))) == 1
        patch.undo()
        patch.setattr(inside.leftovers.os, "open", none_left)
        assert len(sweep(str(tmp_path))) == 1
    assert path.exists()
    assert sweep(str(tmp_path)) == []
    assert not path.exists()


# A full disk, and limits


@pytest.fixture
def small_disk(folder):
    """A file system of one MB, mounted in the folder."""
    place = folder / "disk"
    place.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place],
            check=True,
            capture_output=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no file system can be mounted here ({error}): run the tests as root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True, timeout=20)


def on_disk(words):
    """The same command line with its output on the small disk."""
    return [word if k != 2 else f"disk/{word}" for k, word in enumerate(words)]


def assert_no_space(done, place, kept=()):
    assert_one_line(done, 1)
    assert "free some space or choose another place" in done.stderr, done.stderr
    assert sorted(set(names(place)) - {"filling"}) == sorted(kept)


@WRITING
def test_no_room_from_the_start(words, run, folder, small_disk):
    write_all_sources(folder, 15_000)
    words = [word.replace("D3", "D30") for word in words]
    (small_disk / output_of(words)).write_bytes(OLD)
    done = run(*on_disk(words), "--overwrite")
    assert_no_space(done, small_disk, [output_of(words)])
    assert (small_disk / output_of(words)).read_bytes() == OLD


@pytest.mark.parametrize("left", [0, 4096, 8192])
@pytest.mark.parametrize(
    ("words", "module", "name", "call", "after"),
    [
        (EXPAND, RUN, "create", 1, False),
        (EXPAND, RUN, "reserve", 1, False),
        (EXPAND, RUN, "_stream", 1, False),
        (EXPAND, RUN, "finish", 1, False),
        (IMPORT, IMPORTING, "write_table", 1, False),
        (IMPORT, TABLE_FILE, "blocks", 1, False),
        (EXPORT, OUTPUT, "_draft", 1, False),
        (DIRECT, EXPORTING, "_write_rows", 1, False),
        (DIRECT, EXPORTING, "_write_rows", 1, True),
    ],
)
def test_the_disk_fills_up_during_a_run(
    words, module, name, call, after, left, run, folder, small_disk
):
    whole = reference(run, folder, words)
    (small_disk / output_of(words)).write_bytes(OLD)
    setup = hit(module, name, f"fill_disk('disk', {left})", call, after)
    done = run(*on_disk(words), "--overwrite", setup=setup)
    if done.returncode == 0:  # what was left was enough
        assert len((small_disk / output_of(words)).read_bytes()) == len(whole)
        return
    assert_no_space(done, small_disk, [output_of(words)])
    assert (small_disk / output_of(words)).read_bytes() == OLD


def test_a_disk_that_cannot_reserve_fills_up_under_the_rows(run, folder, small_disk):
    write_all_sources(folder, 2000)
    setup = f"import {FILES} as files\nfiles._library = lambda: object()\n"
    setup += hit("os", "pwrite", "fill_disk('disk')", 4)
    assert_no_space(run(*on_disk(EXPAND), setup=setup), small_disk)


@pytest.mark.parametrize("limit", [1000, 3000, 10_000])
@WRITING
def test_a_limit_on_file_sizes(words, limit, run, folder):
    write_all_sources(folder, 400)
    others = names(folder)
    setup = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    assert_one_line(run(*words, setup=setup), 1, "a limit on file sizes is in the way (ulimit -f)")
    assert names(folder) == others


def test_an_output_folder_that_vanishes(run, folder):
    for words, module, name in (
        (EXPAND, RUN, "create"),
        (EXPAND, RUN, "reserve"),
        (EXPAND, RUN, "finish"),
        (EXPAND, OUTPUT, "_publish"),
        (EXPAND, OUTPUT, "sync_folder"),
        (IMPORT, IMPORTING, "write_table"),
        (IMPORT, OUTPUT, "sync"),
        (IMPORT, OUTPUT, "_publish"),
        (EXPORT, OUTPUT, "_draft"),
        (EXPORT, OUTPUT, "_publish"),
        (DIRECT, EXPORTING, "_write_rows"),
        (DIRECT, OUTPUT, "_publish"),
    ):
        (folder / "disk").mkdir()
        done = run(*on_disk(words), setup=hit(module, name, "lambda: shutil.rmtree('disk')"))
        assert_one_line(done, 1, "No such file or directory")
        assert not (folder / "disk").exists()


# Inputs that change


def changes(source):
    """What may happen to a source, as text for a run's setup."""
    keep_half = f"lambda: os.truncate({source!r}, os.path.getsize({source!r}) // 2)"
    nothing = f"lambda: os.truncate({source!r}, 0)"
    other = f"lambda: open({source!r}, 'r+b').write(open('other', 'rb').read())"
    return {"half": keep_half, "empty": nothing, "rewritten": other}


def write_changed(folder, source):
    """The same source with other poses, of equal length, as the file ``other``."""
    data = (folder / source).read_bytes()
    if source == "in.star":
        digits = bytes.maketrans(b"123456", b"654321")
        head, mark, rows = data.rpartition(b" #9\n")
        lines = [line.split(b" ", 1) for line in rows.splitlines()]
        rows = b"\n".join(
            b" ".join([w[0], w[1].translate(digits)]) if w[1:] else b"" for w in lines
        )
        data = head + mark + rows + b"\n"
    elif source == "in.cs":
        rows = np.load(folder / source)
        rows["alignments3D/pose"] *= 0.5
        data = data[: -rows.nbytes] + rows.tobytes()
    else:
        (folder / "other").write_bytes(data)
        with h5py.File(folder / "other", "r+") as file:
            file["particles/alignments3D/pose"][:] *= 0.5
        return
    (folder / "other").write_bytes(data)


@pytest.mark.parametrize("what", ["half", "empty", "rewritten"])
@pytest.mark.parametrize("source", ["in.h5", "in.cs", "in.star"])
def test_a_source_that_changes_while_it_is_expanded(source, what, run, folder):
    write_all_sources(folder, MANY)
    write_changed(folder, source)
    words = ("expand", source, "out.h5", "--symmetry=C2")
    whole = reference(run, folder, words)
    small_blocks = f"import {path_of('scan_module')} as scan\nscan._BLOCK_BYTES = 50_000\n"
    setups = [
        hit(OUTPUT, "sweep", changes(source)[what]),
        small_blocks + hit(STREAM, "read_sources", changes(source)[what], 3),
    ]
    data, others = (folder / source).read_bytes(), names(folder)
    for setup in setups:
        done = run(*words, setup=setup)
        if done.returncode == 0:  # all that was read had been read before
            assert held(folder / "out.h5") == whole
            (folder / "out.h5").unlink()
        else:
            assert_one_line(done, 1, source)
        assert names(folder) == others
        (folder / source).write_bytes(data)


def test_a_source_that_loses_only_what_is_carried(run, folder):
    """HDF5 gives zeros for rows that are beyond the end of the file."""
    rows = 20_000
    columns = random_columns(np.random.default_rng(5), rows)
    write_table(folder / "in.h5", {**columns, "ctf/last": np.full((rows, 4), 7.0)})
    others = names(folder)
    shorter = f"lambda: os.truncate('in.h5', os.path.getsize('in.h5') - {16 * rows})"
    words = (*EXPAND[:3], "--symmetry=C2", "--carry=ctf/last")
    done = run(*words, setup=hit(OUTPUT, "sweep", shorter))
    assert_one_line(done, 1, "in.h5")
    assert names(folder) == others


@pytest.mark.parametrize("what", ["half", "empty", "rewritten"])
@pytest.mark.parametrize(
    ("verb", "source", "output"),
    [
        ("import", "in.cs", "out.h5"),
        ("import", "in.star", "out.h5"),
        ("export", "in.h5", "out.cs"),
        ("export", "in.cs", "out.star"),
        ("export", "in.star", "out.star"),
    ],
)
def test_a_source_that_changes_while_it_is_imported_or_exported(
    verb, source, output, what, run, folder
):
    write_all_sources(folder, MANY)
    write_changed(folder, source)
    whole = reference(run, folder, (verb, source, output))
    (folder / "out.csg").unlink(missing_ok=True)
    others = names(folder)
    done = run(verb, source, output, setup=hit(OUTPUT, "sweep", changes(source)[what]))
    if done.returncode == 0:
        assert held(folder / output) == whole
    else:
        assert_one_line(done, 1, source)
        assert names(folder) == others


@pytest.mark.parametrize("mode", ["w", "r+", "swmr"])
def test_a_source_that_another_program_writes(mode, run, folder):
    """Its lock is in the way, or the file is read as it is; it is never waited for."""
    writer = "import h5py, sys\nmode = sys.argv[1]\n"
    writer += "file = h5py.File('in.h5', 'w' if mode == 'swmr' else mode, libver='latest')\n"
    writer += "if mode == 'swmr': file.swmr_mode = True\n"
    writer += "print(1, flush=True)\nsys.stdin.read()\n"
    writing = subprocess.Popen(
        [sys.executable, "-c", writer, mode],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writing.stdout.readline() == "1\n"
        others = names(folder)
        assert_one_line(run(*EXPAND), 1, "being written")
        assert_one_line(run("inspect", "in.h5"), 1, "being written")
        assert names(folder) == others
    finally:
        writing.kill()
        writing.wait()
        writing.stdin.close()
        writing.stdout.close()


def test_an_output_that_another_program_reads(run, folder):
    """A reader of the old output keeps reading the old one."""
    assert run(*EXPAND).returncode == 0
    with h5py.File(folder / "out.h5") as file:
        assert run(*EXPAND, "--overwrite", "--symmetry=C2").returncode == 2
        done = run("expand", "in.h5", "out.h5", "--symmetry=C2", "--overwrite")
        assert done.returncode == 0, done.stderr
        assert len(file["particles/uid"]) == 240
    with h5py.File(folder / "out.h5") as file:
        assert len(file["particles/uid"]) == 80


# Two at once


@WRITING
def test_two_runs_to_one_output(words, overwrite, start, run, nursery, folder):
    whole = reference(run, folder, words)
    others = names(folder)
    flags = ("--overwrite",) if overwrite else ()
    under_way = []
    for name in ("a", "b"):
        ready = hit(OUTPUT, "_publish", f"wait_for({name!r})")
        under_way.append(start(*words, *flags, setup=ready))
        wait_until(folder / f"{name}.reached")
    for name in ("a", "b"):
        (folder / name).touch()
    done = [nursery.finish(each) for each in under_way]
    marks = ["a", "b", "a.reached", "b.reached"]
    assert names(folder) == sorted([*others, *marks, output_of(words)])
    assert held(folder / output_of(words)) == whole
    if overwrite:
        assert [each.returncode for each in done] == [0, 0]
        return
    assert sorted(each.returncode for each in done) == [0, 1]
    loser = next(each for each in done if each.returncode)
    assert_one_line(loser, 1, "appeared while this run was writing")


# What file systems answer


def failing(name, number, call=1):
    """Text for a run's setup: from the n-th call on, a function of os fails with an error."""
    error = f"OSError({int(number)}, os.strerror({int(number)}))"
    return f"""
really_{name}, calls_{name} = os.{name}, []
def fail_{name}(*words, **named):
    calls_{name}.append(1)
    if len(calls_{name}) >= {call}:
        raise {error}
    return really_{name}(*words, **named)
os.{name} = fail_{name}
"""


def folder_sync_fails(number):
    return hit(OUTPUT, "sync_folder", f"lambda: exec({failing('fsync', number)!r}, globals())")


@WRITING
def test_a_folder_that_cannot_be_brought_to_disk(words, run, folder):
    """The output is whole by then: it is told, and where the file system never can, it is not."""
    whole = reference(run, folder, words)
    for number in (errno.EIO, errno.EINVAL, errno.EOPNOTSUPP):
        done = run(*words, setup=folder_sync_fails(number))
        assert done.returncode == 0, done.stderr
        told = "could not be brought to disk" in done.stderr + done.stdout
        assert told == (number == errno.EIO)
        assert held(folder / output_of(words)) == whole
        (folder / output_of(words)).unlink()


@pytest.mark.parametrize(
    "number", [errno.EINVAL, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP]
)
def test_a_file_system_without_hard_links(number, run, folder):
    whole = reference(run, folder, EXPAND)
    assert run(*EXPAND, setup=failing("link", number)).returncode == 0
    assert held(folder / "out.h5") == whole
    assert_one_line(run(*EXPAND, setup=failing("link", number)), 1, "exists")
    assert hidden(folder) == []


def test_a_name_that_is_taken_meanwhile_where_there_are_no_hard_links(run, folder):
    setup = f"""
def link(*words, **named):
    with open("out.h5", "xb") as file:
        file.write({OLD!r})
    raise OSError({errno.EPERM}, "Operation not permitted")
os.link = link
"""
    assert_one_line(run(*EXPAND, setup=setup), 1, "appeared while this run was writing")
    assert (folder / "out.h5").read_bytes() == OLD
    assert hidden(folder) == []


@pytest.mark.parametrize(
    "answers", [[errno.EINTR] * 3, [errno.EOPNOTSUPP], [errno.ENOSYS], [errno.EINTR, errno.ENOSYS]]
)
def test_reserving_goes_on_after_a_signal_and_without_the_call(answers, run, folder):
    whole = reference(run, folder, EXPAND)
    setup = f"import {FILES} as files\nreally, answers = files._system_call, {answers[::-1]}\n"
    setup += "files._system_call = lambda *words: answers.pop() if answers else really(*words)\n"
    assert run(*EXPAND, setup=setup).returncode == 0
    assert held(folder / "out.h5") == whole


READING_FAILS = """
import builtins, io
class Failing(io.FileIO):
    reads = 0
    def readinto(self, buffer):
        Failing.reads += 1
        if Failing.reads >= {read}:
            raise OSError({number}, os.strerror({number}))
        return super().readinto(buffer)
    def readall(self):
        raise OSError({number}, os.strerror({number}))
really_open = builtins.open
def open_failing(path, mode="r", *words, **named):
    if path == {name!r} and mode == "rb":
        return io.BufferedReader(Failing(path))
    return really_open(path, mode, *words, **named)
builtins.open = open_failing
"""


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("read", [1, 3])
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (IMPORT, "in.star"),
        (DIRECT, "in.star"),
        (("inspect", "in.star"), "in.star"),
        (("inspect", "in.cs"), "in.cs"),
        (("export", "in.cs", "out.star"), "in.cs"),
        (("inspect", "in.csg"), "in.csg"),
        ((*EXPAND[:3], "--operators_file=ops.txt"), "ops.txt"),
        ((*DIRECT, "--recenter=coordinates", "--micrographs=m.star"), "m.star"),
        (("reorient", "in.h5", "out.h5", "--matrix=ops.txt"), "ops.txt"),
        ((*DIRECT, "--optimisation_set=set.star"), "set.star"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else words,
)
def test_an_input_on_a_disk_that_fails(words, named, read, number, run, folder):
    """Also a file system over a network that is gone: the message names the file."""
    (folder / "ops.txt").write_text("1 0 0 0 1 0 0 0 1\n")
    (folder / "in.csg").write_text("results:\n  x:\n    metafile: '>in.cs'\n    num_items: 40\n")
    columns = particles(np.random.default_rng(3), 40)
    columns |= {f"rlnCoordinate{axis}": ["5"] * 40 for axis in "XY"}
    (folder / "in.star").write_text(star_text(columns))
    (folder / "m.star").write_text(star_text(columns))
    (folder / "set.star").write_text("data_\n\n_rlnTomoParticlesFile in.star\n")
    others = names(folder)
    done = run(*words, setup=READING_FAILS.format(name=named, read=read, number=int(number)))
    if done.returncode == 0:
        assert read > 1  # all had been read before
        return
    failed = read == 1 or "cannot be read" in done.stderr  # else another refusal came first
    assert_one_line(done, done.returncode, named if failed else "")
    if read == 1:
        assert f"cannot be read ({os.strerror(number)})" in done.stderr or named == "in.cs"
    assert names(folder) == others


@pytest.mark.parametrize(
    "words",
    [DIRECT, IMPORT, EXPORT, ("export", "in.cs", "out.star")],
    ids=["direct", "import", "export", "cs"],
)
def test_reads_that_give_less_than_was_asked_for(words, run, folder):
    """As a file system over a network may, when a signal comes."""
    whole = reference(run, folder, words)
    setup = "really = os.pread\n"
    setup += "os.pread = lambda f, size, at: really(f, (size + 1) // 2, at)\n"
    done = run(*words, setup=setup)
    assert done.returncode == 0, done.stderr
    assert held(folder / output_of(words)) == whole


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.ENOSYS])
@pytest.mark.parametrize("words", [EXPAND, ("verify", "e.h5"), ("export", "in.h5", "out.star")])
def test_where_no_process_may_be_had(words, number, run, folder):
    """A limit on processes: HDF5 files are read without a look in a process of its own first."""
    assert run("expand", "in.h5", "e.h5", "--symmetry=C2").returncode == 0
    done = run(*words, setup=failing("fork", number))
    assert (done.returncode, done.stderr) == (0, "")


CLOSING_FAILS = """
really_close, closes = os.close, []
def close(descriptor):
    try:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        path = ""
    really_close(descriptor)
    if ".numba_symexp-" in path:
        closes.append(path)
        if len(closes) == CALL:
            raise OSError(NUMBER, os.strerror(NUMBER))
os.close = close
"""


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@WRITING
def test_a_disk_that_tells_at_a_close_that_it_is_full(words, number, overwrite, run, folder):
    """As file systems over a network do. When the output has its name, nothing is said of it."""
    whole = reference(run, folder, words)
    others, target = names(folder), output_of(words)
    codes = []
    for call in range(1, 6):
        (folder / target).unlink(missing_ok=True)
        setup = CLOSING_FAILS.replace("CALL", str(call)).replace("NUMBER", str(int(number)))
        done, before = disturbed(run, folder, words, setup, overwrite)
        codes.append(done.returncode)
        if done.returncode:
            assert_one_line(done, 1, f"{target}: cannot be written ({os.strerror(number)})")
            assert held(folder / target) == before
            assert names(folder) == sorted({*others, *([target] if overwrite else [])})
        else:
            assert done.stderr == ""
            assert held(folder / target) == whole
            assert names(folder) == sorted({*others, target})
    assert codes[0] == 1
    assert codes == sorted(codes, reverse=True)


def test_a_disk_that_fails_when_hdf5_closes_the_new_file(run, folder):
    others = names(folder)
    setup = """
import h5py
really = h5py.File.__exit__
def fail(file, *error):
    really(file, *error)
    if file_mode(file) == "r" and ".numba_symexp-" in file_name(file):
        raise RuntimeError("Can't decrement id ref count (unable to close file, errno = 5)")
h5py.File.__exit__ = fail
opened = {}
made = h5py.File.__init__
def init(file, name, mode="r", *words, **named):
    opened[id(file)] = name, mode
    made(file, name, mode, *words, **named)
h5py.File.__init__ = init
file_mode = lambda file: opened[id(file)][1]
file_name = lambda file: str(opened[id(file)][0])
"""
    assert_one_line(run(*EXPAND, setup=setup), 1, "out.h5: cannot be written (Input/output error)")
    assert names(folder) == others


@pytest.mark.parametrize("epoch", ["99999999999999", "9" * 400, "9" * 5000])
@WRITING
def test_a_time_that_is_none(words, epoch, run, folder):
    others = names(folder)
    setup = f"os.environ['SOURCE_DATE_EPOCH'] = {epoch!r}"
    assert_one_line(run(*words, setup=setup), 2, "SOURCE_DATE_EPOCH=99999")
    assert names(folder) == others


@WRITING
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_overwriting_keeps_the_mode(words, mode, run, folder):
    target = folder / output_of(words)
    target.write_bytes(OLD)
    target.chmod(mode)
    assert run(*words, "--overwrite").returncode == 0
    assert target.stat().st_mode & 0o7777 == mode
    assert target.read_bytes() != OLD


def test_while_a_private_file_is_replaced_nobody_can_read_it(start, nursery, folder):
    (folder / "out.h5").write_bytes(OLD)
    (folder / "out.h5").chmod(0o600)
    under_way = start(*EXPAND, "--overwrite", setup=hit("os", "pwrite", "wait_for('go')", 2))
    wait_until(folder / "go.reached")
    (temporary,) = hidden(folder)
    assert (folder / temporary).stat().st_mode & 0o77 == 0
    (folder / "go").touch()
    assert nursery.finish(under_way).returncode == 0


@pytest.mark.parametrize("source", ["in.h5"])
def test_a_source_whose_file_system_has_no_locks(source, run, folder):
    setup = """
import h5py
really = h5py.File
def unlockable(path, *words, locking=None, **named):
    if isinstance(path, str) and locking is not False:
        raise OSError("Unable to synchronously open file (unable to lock file, errno = 37, "
                      "error message = 'No locks available')")
    return really(path, *words, **named)
h5py.File = unlockable
"""
    whole = reference(run, folder, EXPAND)
    done = run(*EXPAND, setup=setup)
    assert done.returncode == 0, done.stderr
    assert held(folder / "out.h5") == whole


# Who still writes


BLIND = {
    "no /proc": f"import {path_of('leftovers')} as left\nleft._start_time = lambda pid: None\n"
    "left._boot_id = lambda: '0'\nleft._namespaces = lambda: '0'\n",
    "hidden processes": f"import {path_of('leftovers')} as left\nreal = left._start_time\n"
    "left._start_time = lambda pid: real(pid) if pid == os.getpid() else None\n",
    "another time namespace": f"import {path_of('leftovers')} as left\nreal = left._start_time\n"
    "left._start_time = lambda pid: str(int(real(pid) or 0) + 7)\n"
    "left._namespaces = lambda: '4026531836_1'\n",
    "another host of this name": f"import {path_of('leftovers')} as left\n"
    "left._boot_id = lambda: 'feedbeef'\nleft.file_system = lambda folder: 0x6969\n",
    "no descriptors": f"import {path_of('leftovers')} as left\n"
    "def none(*words, **named): raise OSError(24, 'Too many open files')\nleft.open = none\n"
    "left._is_held = lambda path: None\n",
}


@pytest.mark.parametrize("locked", [True, False], ids=["locked", "lock lost"])
@pytest.mark.parametrize("blind", list(BLIND))
def test_a_living_run_that_cannot_be_seen_keeps_it(blind, locked, start, run, nursery, folder):
    setup = hit("os", "pwrite", "wait_for('go')", 2)
    if not locked:
        setup += f"import {OUTPUT} as output\noutput.hold = lambda descriptor: None\n"
    under_way = start(*EXPAND, setup=setup)
    wait_until(folder / "go.reached")
    living = hidden(folder)
    other = run("expand", "in.h5", "other.h5", "--symmetry=C2", setup=BLIND[blind])
    assert other.returncode == 0
    assert hidden(folder) == living
    (folder / "go").touch()
    assert nursery.finish(under_way).returncode == 0
    assert h5py.is_hdf5(folder / "out.h5")


def test_a_lock_that_is_held_keeps_the_file_of_a_dead_run(folder):
    gone = dataclasses.replace(RunMark.of_this_process(), started="1")
    path = folder / f"{PREFIX}{'-'.join(vars(gone).values())}-00000000{SUFFIX}"
    path.touch()
    descriptor = os.open(path, os.O_RDWR)
    try:
        hold(descriptor)
        assert sweep(str(folder)) == []
        assert path.exists()
    finally:
        os.close(descriptor)
    assert sweep(str(folder)) == []
    assert not path.exists()
