"""Expansions by Dask's workers: the bytes of one machine, or one line and nothing left.

The workers are threads of this process, processes of the program's own, or `dask worker`s that
share nothing with it but the files; all on the loopback.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from types import SimpleNamespace

import h5py
import inside
import numba
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import (
    MOST_ROWS,
    PAGE,
    PREFIX,
    Cluster,
    ClusterError,
    Hdf5Table,
    Machine,
    SourceError,
    StoredWork,
    UsageError,
    Work,
    check_pages,
    check_state,
    cluster,
    driver,
    find_columns,
    page_digests,
    path_of,
    ranges,
    scan,
    state_of,
    work,
    worker,
)

from numba_symexp import ExpandJob

pytestmark = [pytest.mark.slow, pytest.mark.plain]

distributed = pytest.importorskip("distributed")

INTERPRETED = bool(numba.config.DISABLE_JIT)
compiled_only = pytest.mark.skipif(INTERPRETED, reason="interpreted, the workers take too long")
SOURCES = 3 * PAGE + 300 if INTERPRETED else 8 * PAGE + 300
POSE, SHIFT = "alignments3D/pose", "alignments3D/shift"
LONGEST_S = 20
JOBS = {
    "group": ("--symmetry=D2",),
    "helix": ("--twist=-27.3", "--rise=4.75", "--order=3", "--psize=1.3"),
    "choice": (
        *("--symmetry=D3", "--modulo=C3", "--center=10,-20,30.5", "--defocus=minus"),
        *("--carry=blob/*,alignments3D/psize_A", "--chunk_rows=500"),
    ),
    "halves": ("--symmetry=C2", "--assign_halves=7"),
}
MARKED = """
import time
import WORKER as worker
from STREAM import stream as really
def stand_still(done):
    open({mark!r}, "x").close()
    time.sleep(60)
def stream(job, table, plan, target, seen, progress, *which):
    really(job, table, plan, target, seen, stand_still, *which)
worker.stream = stream
""".replace("WORKER", path_of("worker")).replace("STREAM", path_of("expansion_stream"))
"""A worker that stands still when it has begun to write."""


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def left(folder):
    return sorted(name for name in os.listdir(folder) if name.startswith(PREFIX))


def assert_refused(done, folder, say, code=1, output="out.h5"):
    """One line, below the warning that the table has no half-sets, and nothing left."""
    assert done.returncode == code, (done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    if lines[0].startswith("warning: ") and "no half-sets" in lines[0]:
        del lines[0]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: "), done.stderr
    assert "unexpected" not in lines[0]
    assert say in lines[0]
    assert left(folder) == []
    assert not (folder / output).exists()


def until(true):
    """Wait until something is so."""
    deadline = time.monotonic() + LONGEST_S
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def columns():
    columns = random_columns(np.random.default_rng(4), SOURCES)
    del columns["alignments3D/split"]
    columns["ctf/df2_A"] = columns["ctf/df1_A"] - 100
    return columns


@pytest.fixture
def folder(tmp_path, columns, monkeypatch):
    """A folder with a source, and runs that cut it into pages."""
    write_table(tmp_path / "in.h5", columns)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    monkeypatch.setattr(driver, "LEAST_ROWS", 1)
    return tmp_path


@pytest.fixture(scope="module")
def near():
    """A scheduler and two workers of two threads each, all in this process."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, protocol="tcp://",
        host="127.0.0.1", dashboard_address="127.0.0.1:0",
    ) as made:  # fmt: skip
        yield made.scheduler_address


class Far:
    """A scheduler and workers in processes of their own, which end where the tests are killed."""

    def __init__(self, folder):
        self._folder, self._processes = folder, []
        self._file = folder / "scheduler.json"

    def __enter__(self):
        self.scheduler = self._start(
            *("dask_scheduler", "--port=0", f"--scheduler-file={self._file}", "--host=127.0.0.1"),
            "--idle-timeout=300s",
        )
        try:
            until(lambda: self._file.exists() and self._file.read_text().endswith("}"))
        except BaseException:
            self.__exit__()
            raise
        self.address = json.loads(self._file.read_text())["address"]
        return self

    def _start(self, program, *flags, before=()):
        log = open(self._folder / f"log-{len(self._processes)}", "wb")  # noqa: SIM115
        command = [*before, sys.executable, "-m", f"distributed.cli.{program}", "--no-dashboard"]
        process = subprocess.Popen([*command, *flags], stdout=log, stderr=log, cwd=self._folder)
        log.close()
        self._processes.append(process)
        return process

    def add(self, preload="", before=()):
        """Start a worker, which runs some text first."""
        flags = ["--no-nanny", "--nthreads=1", "--memory-limit=0", "--host=127.0.0.1"]
        flags.append("--death-timeout=60")
        if preload:
            path = self._folder / f"preload{len(self._processes)}.py"
            path.write_text(preload)
            flags += ["--preload", str(path)]
        flags += ["--local-directory", str(self._folder / f"space{len(self._processes)}")]
        return self._start("dask_worker", self.address, *flags, before=before)

    def wait_for(self, workers):
        """Wait until so many workers have joined."""
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=LONGEST_S)

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def far(tmp_path_factory):
    """Four workers in processes of their own, for one test: they cost something when idle too."""
    with Far(tmp_path_factory.mktemp("far")) as made:
        for _ in range(4):
            made.add()
        made.wait_for(4)
        yield made


@pytest.fixture
def own_far(tmp_path_factory):
    """A scheduler of a test's own."""
    with Far(tmp_path_factory.mktemp("own")) as made:
        yield made


def ran_twice(command, folder, words, address, *flags):
    """Run on one machine and by workers; returns both digests."""
    digests = []
    for output, further in (("one.h5", ()), ("many.h5", (f"--dask={address}", *flags))):
        done = command("expand", "in.h5", output, *words, "--quiet", *further)
        assert done.returncode == 0, done.stderr
        digests.append(digest(folder / output))
    assert left(folder) == []
    return digests


# The same bytes


@pytest.mark.parametrize("name", JOBS)
def test_workers_write_the_bytes_of_one_machine(name, command, folder, near):
    one, many = ran_twice(command, folder, JOBS[name], near)
    assert one == many


@compiled_only
def test_four_processes_write_the_bytes_of_one_machine(command, folder, far):
    for name, words in JOBS.items():
        one, many = ran_twice(command, folder, words, far.address)
        assert one == many, name
        for output in ("one.h5", "many.h5"):
            (folder / output).unlink()


def test_a_star_file_is_read_by_workers(command, folder, near):
    source = folder / "in.star"
    assert command("export", "in.h5", source.name).returncode == 0
    for output, flags in (("one.h5", ()), ("many.h5", (f"--dask={near}",))):
        done = command("expand", source.name, output, "--symmetry=C2", "--again", *flags)
        assert done.returncode == 0, done.stderr
    assert digest(folder / "one.h5") == digest(folder / "many.h5")


@compiled_only
def test_a_worker_killed_in_the_middle(command, folder, own_far, tmp_path):
    """It has begun to write its range when it dies; another worker does all of it."""
    mark = tmp_path / "begun"
    victim = own_far.add(MARKED.format(mark=str(mark)))
    own_far.add()
    own_far.wait_for(2)

    def kill():
        until(mark.exists)
        victim.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    one, many = ran_twice(command, folder, ("--symmetry=D2",), own_far.address)
    killer.join()
    assert mark.exists()
    assert victim.wait() == -signal.SIGKILL
    assert one == many


@compiled_only
def test_local_workers_from_the_command_line(program, folder):
    words = ("expand", "in.h5", "--symmetry=D2", "--quiet", "--json")
    for flags in (("one.h5",), ("many.h5", "--dask=local", "--workers=2")):
        done = program(*words, *flags)
        assert (done.returncode, done.stderr) == (0, done.stderr), done.stderr
        assert "distributed" not in done.stderr
        assert json.loads(done.stdout)["rows"] == 4 * SOURCES
    assert digest(folder / "one.h5") == digest(folder / "many.h5")


class Seen(Exception):
    """Ends a run in which enough was seen."""


@pytest.mark.filterwarnings("ignore:.*no half-sets")
@pytest.mark.parametrize("given", [None, 3])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_local_workers_share_the_threads_of_the_machine(workers, given, folder, monkeypatch):
    """Unless the job says how many threads each has; workers elsewhere have their own."""

    def work(job, *_):
        raise Seen(job.threads)

    @contextlib.contextmanager
    def connected(_):
        yield None

    monkeypatch.setattr(driver, "Work", work)
    monkeypatch.setattr(driver, "connected", connected)
    monkeypatch.setattr(driver, "joined_workers", lambda *_: dict.fromkeys(range(workers), 2))
    monkeypatch.setattr("numba_symexp.kernels.threads.default_threads", lambda: 9)
    job = ExpandJob(str(folder / "in.h5"), str(folder / "out.h5"), symmetry="C2", threads=given)
    for address, own in (("local", {1: 9, 2: 4, 5: 1}[workers]), ("a:1", None)):
        with pytest.raises(Seen) as seen:
            driver.run(job, Cluster(address))
        assert seen.value.args == (own if given is None else given,)


def test_progress_and_an_empty_table(columns, folder, near):
    seen = []
    job = ExpandJob(str(folder / "in.h5"), str(folder / "out.h5"), symmetry="C2")
    driver.run(job, Cluster(near), lambda done, rows: seen.append((done, rows)))
    assert seen[-1] == (2 * SOURCES, 2 * SOURCES)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    write_table(folder / "empty.h5", {name: column[:0] for name, column in columns.items()})
    job = dataclasses.replace(job, source=str(folder / "empty.h5"), output=str(folder / "e.h5"))
    assert driver.run(job, Cluster(near)).rows == 0


# What a worker refuses


def other_machine(**change):
    """The driver, as if it ran on another machine."""
    return SimpleNamespace(this=lambda: dataclasses.replace(Machine.this(), **change))


def test_another_version_is_refused(command, folder, near, monkeypatch):
    monkeypatch.setattr(driver, "Machine", other_machine(program="numba_symexp 9.9"))
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={near}")
    assert_refused(done, folder, "and the driver numba_symexp 9.9: install the same versions")
    assert "worker tcp://127.0.0.1:" in done.stderr
    assert f" on {os.uname().nodename}: " in done.stderr


def test_another_processor_is_refused_unless_it_is_allowed(command, folder, near, monkeypatch):
    name = Machine.this().processor.split()[0]
    monkeypatch.setattr(driver, "Machine", other_machine(processor=f"{name} +other"))
    words = ("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={near}", "--quiet")
    done = command(*words)
    assert_refused(done, folder, "has another processor (")
    assert "mixed_cpus" in done.stderr
    assert command(*words, "--mixed_cpus").returncode == 0


def test_how_processors_differ():
    driver_there = Machine("p", "znver3 +avx,-avx512")
    with pytest.raises(ClusterError, match="skylake, the driver's is znver3"):
        Machine("p", "skylake +avx").check(driver_there, False)
    with pytest.raises(ClusterError, match=r"\(\+avx512\)"):
        Machine("p", "znver3 +avx,+avx512").check(driver_there, False)
    with pytest.raises(ClusterError, match="other features"):
        Machine("p", "znver3 ").check(Machine("p", "znver3 ,"), False)
    Machine("p", "znver3 +avx,-avx512").check(driver_there, False)


def test_this_machine_names_what_it_compiles_for():
    this = Machine.this()
    assert this.program.startswith("numba_symexp ")
    assert numba.__version__ in this.program
    assert this == Machine.this()


def test_another_file_under_the_sources_name(command, folder, near, columns, monkeypatch):
    """Size and time are alike; one pose differs."""
    columns[POSE][SOURCES - 1, 0] += 1e-3
    try:
        other = write_table(folder / "other.h5", columns)
    finally:
        columns[POSE][SOURCES - 1, 0] -= 1e-3
    really = worker.open_table
    monkeypatch.setattr(worker, "open_table", lambda path, *rest: really(other, *rest))
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={near}")
    assert_refused(done, folder, "are not those that the driver has read")
    assert f"rows {SOURCES // PAGE * PAGE:,} to {SOURCES - 1:,}" in done.stderr


def test_a_source_of_another_time(command, folder, near, monkeypatch):
    really = driver.state_of
    monkeypatch.setattr(driver, "state_of", lambda path: (really(path)[0], 5))
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={near}")
    assert_refused(done, folder, "another file than the driver's (its time)")


@pytest.mark.parametrize(
    ("hidden", "say"), [("in", "cannot be seen there"), ("out", "cannot be opened there")]
)
@compiled_only
def test_a_worker_without_the_shared_folder(hidden, say, command, folder, own_far):
    """The worker's own mounts hide a folder from it."""
    for name in ("in", "out"):
        (folder / name).mkdir()
    (folder / "in.h5").rename(folder / "in" / "in.h5")
    try:
        subprocess.run(["unshare", "-m", "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"mounts cannot be hidden here ({error}): run the tests as root")
    script = f'mount -t tmpfs tmpfs {folder / hidden} && exec "$@"'
    own_far.add(before=("unshare", "-m", "sh", "-c", script, "sh"))
    own_far.wait_for(1)
    done = command("expand", "in/in.h5", "out/out.h5", "--symmetry=C2", f"--dask={own_far.address}")
    assert_refused(done, folder / "out", say)
    assert "all workers share under one path" in done.stderr


def test_states_and_pages(tmp_path, columns):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    check_state(str(path), state_of(str(path)))
    with pytest.raises(SourceError, match="5 bytes, not 7"):
        check_state(str(path), (7, 0))
    with pytest.raises(SourceError, match="cannot be seen there"):
        state_of(str(tmp_path / "nowhere"))
    pose, shift = columns[POSE], columns[SHIFT]
    pages = page_digests(pose, shift)
    assert len(pages) == 32 * -(-SOURCES // PAGE)
    check_pages("x", pages, PAGE, pose[PAGE:], shift[PAGE:])
    with pytest.raises(SourceError, match=f"rows {PAGE:,} to"):
        check_pages("x", pages, PAGE, pose[:PAGE], shift[:PAGE])


def test_pages_of_the_scan_do_not_depend_on_its_blocks(tmp_path, columns, monkeypatch):
    with Hdf5Table(write_table(tmp_path / "in.h5", columns)) as table:
        names = find_columns(table)
        whole = scan(table, names, paged=True)
        monkeypatch.setattr(inside.scan_module, "_BLOCK_BYTES", 100_000)
        parts = scan(table, names, paged=True)
        assert whole.pages == parts.pages == page_digests(columns[POSE], columns[SHIFT])
        assert scan(table, names).pages == b""
        assert whole.fingerprint == parts.fingerprint


def test_stored_work_is_known_by_its_bytes(tmp_path):
    paths = [str(tmp_path / name) for name in ("a", "b")]
    stored = Work("job", "plan", "source", (1, 2), {})
    opened = [os.open(path, os.O_RDWR | os.O_CREAT) for path in paths]
    try:
        os.write(opened[0], b"rows")
        first, other = (StoredWork.write(descriptor, stored) for descriptor in opened)
        assert first.offset == 1 << 20
        first.check(opened[0], "a")
        assert first.read(opened[0], "a") == stored
        for descriptor in (opened[1], os.open(os.devnull, os.O_RDONLY)):
            with pytest.raises(ClusterError, match="another file than the driver's"):
                first.check(descriptor, "a")
            with pytest.raises(ClusterError, match="another file than the driver's"):
                first.read(descriptor, "a")
        assert other.token != first.token
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_work_that_comes_in_pieces_is_read(tmp_path, monkeypatch):
    """File systems over a network may give fewer bytes than were asked for."""
    stored, whole = Work("job", "plan", "source", (1, 2), {}), os.pread
    with open(tmp_path / "a", "w+b") as file:
        found = StoredWork.write(file.fileno(), stored)
        monkeypatch.setattr(os, "pread", lambda number, size, at: whole(number, min(size, 7), at))
        assert found.read(file.fileno(), "a") == stored


def test_each_task_looks_for_the_token(tmp_path):
    """Also where the worker knows the work from the task before."""
    path = str(tmp_path / "a")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    known = StoredWork.write(descriptor, Work("job", "plan", "source", (1, 2), {}))
    task = worker.Task(path, known, Machine.this(), False, 0, 1)
    worker._kept[known.digest] = ("work", "table")
    try:
        assert worker._opened(task) == ("work", "table")
        os.pwrite(descriptor, b"another file", known.offset)
        with pytest.raises(ClusterError, match="another file than the driver's"):
            worker._opened(task)
    finally:
        worker._kept.clear()
        os.close(descriptor)


def test_workers_bring_their_rows_to_disk(command, folder, near, monkeypatch):
    """They alone have the file open for writing only."""
    flags, really = [], os.fsync

    def fsync(descriptor):
        flags.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={near}").returncode == 0
    assert flags.count(os.O_WRONLY) == -(-SOURCES // PAGE)


def test_a_range_that_nobody_did_is_missed(command, folder, near, monkeypatch):
    monkeypatch.setattr(driver, "ranges", lambda sources, order, workers: iter([(0, PAGE)]))
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={near}")
    assert_refused(done, folder, f"{PAGE:,} of {SOURCES:,} sources were reported done")


# Ranges


@pytest.mark.parametrize("sources", [0, 1, PAGE, PAGE + 1, 10_000, 3_000_000, 10**9])
@pytest.mark.parametrize("order", [1, 60, 65_536])
@pytest.mark.parametrize("workers", [1, 4, 200])
def test_ranges_cover_all_sources_in_whole_pages(sources, order, workers):
    end, made = 0, 0
    for start, stop in ranges(sources, order, workers):
        assert start == end < stop
        assert start % PAGE == 0
        assert (stop - start) * order <= max(MOST_ROWS, PAGE * order)
        end, made = stop, made + 1
        if made > 5000:
            return
    assert end == sources


def test_a_large_job_gives_each_worker_a_few():
    assert 4 * 20 <= len(list(ranges(3_000_000, 60, 20))) <= 5 * 20
    assert len(list(ranges(1000, 60, 20))) == 1


# Clusters that are not there


@pytest.mark.parametrize(
    ("flags", "say"),
    [
        (("--dask=nonsense",), "is no address"),
        (("--dask=http://host:80",), "is no address"),
        (("--dask=tcp://127.0.0.1:8786", "--workers=2"), "--workers goes with --dask=local"),
        (("--workers=2",), "--workers goes with --dask=local"),
        (("--dask=local", "--workers=0"), "workers 0 must be 1 or more"),
        (("--mixed_cpus",), "--mixed_cpus goes with --dask"),
    ],
)
def test_flags_that_cannot_be(flags, say, command, folder):
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", *flags)
    assert_refused(done, folder, say, code=2)


@pytest.mark.parametrize("address", ["local", "tcp://10.0.0.1:1", "node7:8786", "tls://[::1]:99"])
def test_addresses(address):
    assert str(Cluster(address)) == address
    with pytest.raises(UsageError):
        Cluster(f"{address}/x y")


def test_an_unreachable_scheduler(command, folder, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    words = ("expand", "in.h5", "out.h5", "--symmetry=C2", "--dask=tcp://127.0.0.1:1")
    assert_refused(
        command(*words), folder, "no scheduler answers at --dask=tcp://127.0.0.1:1 in 0.5 s"
    )
    assert command(*words, "--dry_run").returncode == 0


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Variables that give Dask keys and certificates for tls://."""
    pytest.importorskip("cryptography")
    from distributed.security import Security

    made, place = Security.temporary(), tmp_path_factory.mktemp("keys")
    variables = {}
    for name in ("ca_file", "client_cert", "client_key"):
        (place / name).write_text(getattr(made, f"tls_{name}"))
        variable = name.upper().replace("CLIENT_", "CLIENT__")
        variables[f"DASK_DISTRIBUTED__COMM__TLS__{variable}"] = str(place / name)
    return variables


@compiled_only
def test_a_port_that_says_nothing(folder, keys):
    """It takes the call, as any server may whose name was mistaken for a scheduler's."""
    words = ("expand", "in.h5", "out.h5", "--symmetry=C2")
    schemes = ("tcp://", "tls://", "ws://", "ucx://", "")
    with contextlib.ExitStack() as ports:
        runs = [SilentPort(ports, scheme, words, folder, keys) for scheme in schemes]
        for run in runs:
            done, took = run.finish()
            assert_refused(done, folder, f"no scheduler answers at --dask={run.address} in 10 s")
            assert (took is None) == (run.scheme == "ucx://")  # whose library is seldom there
            assert took is None or took < 25


class SilentPort:
    """A port that takes calls and says nothing, and a run that takes it for a scheduler's."""

    def __init__(self, ports, scheme, words, folder, keys):
        self.scheme, self.called = scheme, None
        self.port = ports.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.address = f"{scheme}127.0.0.1:{self.port.getsockname()[1]}"
        self.calls = []
        threading.Thread(target=self.take_calls, daemon=True).start()
        self.run = subprocess.Popen(
            [sys.executable, "-m", "numba_symexp", *words, f"--dask={self.address}"],
            cwd=folder,
            env={**os.environ, **keys},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        ports.callback(self.run.kill)

    def take_calls(self):
        """Take every call, and answer none."""
        with contextlib.suppress(OSError):
            while True:
                self.calls.append(self.port.accept()[0])
                self.called = self.called or time.monotonic()

    def finish(self):
        """What the run said, and how long it took after its first call, if it made one."""
        out, err = self.run.communicate(timeout=90)
        ended = time.monotonic()
        self.port.shutdown(socket.SHUT_RDWR)
        for call in self.calls:
            call.close()
        done = SimpleNamespace(returncode=self.run.returncode, stdout=out, stderr=err)
        return done, self.called and ended - self.called


@compiled_only
def test_a_scheduler_that_stands_still(command, folder, own_far, monkeypatch):
    """It has taken the call, and says nothing about its workers."""
    monkeypatch.setattr(cluster, "JOIN_S", 0.5)
    monkeypatch.setattr(cluster, "_CLOSE_S", 0.5)
    really = driver.joined_workers

    def stopped(client, address):
        own_far.scheduler.send_signal(signal.SIGSTOP)
        return really(client, address)

    monkeypatch.setattr(driver, "joined_workers", stopped)
    begun = time.monotonic()
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={own_far.address}")
    assert_refused(done, folder, "has said nothing more in 0.5 s")
    assert time.monotonic() - begun < 30


def test_dask_is_not_installed(command, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", "--dask=local")
    assert_refused(done, folder, "-m pip install 'numba_symexp[dask]'")


def test_local_workers_that_cannot_start(command, folder, monkeypatch):
    def fail(workers, security):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(cluster, "_started_cluster", fail)
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", "--dask=local")
    assert_refused(
        done, folder, "no workers can be started for --dask=local (Nanny failed to start.)"
    )


def test_a_scheduler_without_workers(command, folder, monkeypatch):
    monkeypatch.setattr(cluster, "JOIN_S", 0.3)
    with distributed.LocalCluster(
        n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", protocol="tcp://"
    ) as empty:
        words = ("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={empty.scheduler_address}")
        assert_refused(command(*words), folder, "none has joined in 0.3 s: start some")


@compiled_only
@pytest.mark.parametrize("lost", ["scheduler", "workers"])
def test_a_cluster_that_is_lost_in_the_middle(lost, command, folder, own_far, monkeypatch):
    monkeypatch.setattr(driver, "JOIN_S", 1.0)
    mark = folder / "begun"
    victim = own_far.add(MARKED.format(mark=str(mark)))
    own_far.wait_for(1)

    def kill():
        until(mark.exists)
        (own_far.scheduler if lost == "scheduler" else victim).kill()

    killer = threading.Thread(target=kill)
    killer.start()
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={own_far.address}")
    killer.join()
    say = {"scheduler": "scheduler was lost", "workers": "all workers have gone"}[lost]
    assert_refused(done, folder, say)


def test_a_task_that_fails_unforeseen(command, folder, near, monkeypatch):
    calls = Counter()

    def fail(*words):
        calls["stream"] += 1
        raise ZeroDivisionError("of a kind\nthat nobody foresaw")

    monkeypatch.setattr(worker, "stream", fail)
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={near}")
    assert_refused(done, folder, "Dask failed (ZeroDivisionError: of a kind)")
    assert calls["stream"] >= 3


def test_workers_that_die_of_a_task():
    class KilledWorker(Exception):
        pass

    task = SimpleNamespace(start=0, stop=10)
    client = SimpleNamespace(status="running")
    with pytest.raises(ClusterError, match="sources 0 to 9: several workers died"):
        driver._report(client, task, KilledWorker("x"))
    client.status = "closed"
    with pytest.raises(ClusterError, match="scheduler was lost"):
        driver._report(client, task, KilledWorker("x"))


def test_an_output_that_cannot_be_written_there(command, folder, near, monkeypatch):
    def full(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "stream", full)
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={near}")
    assert_refused(done, folder, "No space left on device")


# Signals


@compiled_only
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing(number, code, folder, own_far):
    mark = folder / "begun"
    own_far.add(MARKED.format(mark=str(mark)))
    own_far.wait_for(1)
    words = ["expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={own_far.address}"]
    with started(folder, words) as run:
        until(mark.exists)
        os.kill(run.pid, number)
        out, err = run.communicate(timeout=LONGEST_S)
    assert_refused(
        SimpleNamespace(returncode=run.returncode, stderr=err, stdout=out), folder, "", code
    )


@compiled_only
def test_ctrl_c_for_a_run_and_all_its_workers(folder):
    """As a terminal sends it: to the whole group of processes."""
    with started(folder, ["expand", "in.h5", "out.h5", "--symmetry=O", "--dask=local"]) as run:
        until(lambda: left(folder) or run.poll() is not None)
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=LONGEST_S)
    if run.returncode:
        done = SimpleNamespace(returncode=run.returncode, stderr=err, stdout=out)
        assert_refused(done, folder, "interrupted", 130)
    with contextlib.suppress(ProcessLookupError):
        until(lambda: os.killpg(run.pid, 0))


@contextlib.contextmanager
def started(folder, words):
    """Start the program in a group of processes of its own, which ends with the test."""
    run = subprocess.Popen(
        [sys.executable, "-m", "numba_symexp", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield run
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        raise


def test_a_worker_stops_when_the_run_was_stopped(tmp_path, folder, near, monkeypatch, command):
    """The hidden file is gone: nothing more is written to it."""
    really = worker.stream

    def late(job, table, plan, target, *further):
        os.unlink(target.path)
        really(job, table, plan, target, *further)

    monkeypatch.setattr(worker, "stream", late)
    done = command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={near}")
    assert_refused(done, folder, "tcp://127.0.0.1")
    assert "is gone: the run was stopped" in done.stderr or "cannot be opened" in done.stderr


def test_nothing_is_left_behind_the_end(command, folder, near):
    assert command("expand", "in.h5", "out.h5", "--symmetry=C2", f"--dask={near}").returncode == 0
    with h5py.File(folder / "out.h5") as file:
        assert file.attrs["complete"] == 1
        columns = [file[f"particles/{name}"].id for name in (POSE, SHIFT, "uid", "source_index")]
        end = max(each.get_offset() + each.get_storage_size() for each in columns)
    assert os.path.getsize(folder / "out.h5") - end < work._ALIGNMENT
    assert worker._kept == {}
    assert work.PAGE == PAGE
