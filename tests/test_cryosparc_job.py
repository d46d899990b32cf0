"""Expansion inside CryoSPARC: what its own client is made to ask of a server, and what it is told.

The server is `fake_cryosparc`: a real one was not at hand.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

import inside
import naive
import numpy as np
import pytest
from conftest import random_columns
from particle_files import structured
from test_cs import save

import numba_symexp

pytest.importorskip("cryosparc", minversion="5", reason="needs cryosparc-tools 5 or newer")
from cryosparc.dataset import Dataset
from fake_cryosparc import PASSWORD, FakeCryosparc, serving

pytestmark = [pytest.mark.slow, pytest.mark.plain]

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
EXPAND = ("cryosparc", "P3/J42", "W1", "--symmetry=D3")


@pytest.fixture
def rows(rng):
    """Particles with a slot that shares its type with another, and a passthrough one."""
    columns = random_columns(rng, 20)
    columns["alignments_class_0/pose"] = columns[POSE][::-1].copy()
    return columns


@pytest.fixture
def fake(rows, tmp_path):
    fake = FakeCryosparc()
    particles = Dataset.load(save(tmp_path / "p.cs", structured(rows)))
    fake.add("particles", particles, alignments_class_0="alignments3D")
    return fake


@pytest.fixture
def url(fake, monkeypatch):
    """Address of the server, which is also in the environment; a user has logged in."""
    for name in ("HOSTNAME", "PORT", "LICENSE_ID"):
        monkeypatch.delenv(f"CRYOSPARC_{name}", raising=False)
    monkeypatch.setenv("CRYOSPARC_EMAIL", "me@here")
    monkeypatch.setenv("CRYOSPARC_PASSWORD", PASSWORD)
    with serving(fake) as address:
        monkeypatch.setenv("CRYOSPARC_BASE_URL", address)
        yield address


def calls(fake):
    return [name for name, _ in fake.calls]


def one_line(done, code):
    """The error of a run that was refused, which tells no secret."""
    assert (done.returncode, done.stdout) == (code, "")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1, done.stderr
    assert PASSWORD not in done.stderr
    return lines[0]


def test_copies_are_saved_with_all_slots(fake, url, rows, command, tmp_path):
    done = command(*EXPAND, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["particles"], report["job"]) == ("P3/J42/particles", "P3/J50")
    assert (report["sources"], report["operators"], report["rows"]) == (20, 6, 120)
    saved = fake.saved["particles"]
    source = np.searchsorted(np.sort(rows["uid"]), saved["sym_expand/src_uid"])
    source = np.argsort(rows["uid"])[source]
    for k in range(20):
        wanted = [
            pose
            for pose, _ in naive.mates(
                naive.exp(rows[POSE][k]),
                rows[SHIFT][k],
                [(R, np.zeros(3)) for R in naive.group("D3")],
                rows[PSIZE][k],
            )
        ]
        found = [naive.exp(v) for v in saved[POSE][source == k]]
        for pose in wanted:
            assert min(naive.angle_rad(pose, each) for each in found) < 1e-5
    for name in ("ctf/df1_A", "blob/path", SHIFT, PSIZE):
        assert (np.asarray(saved[name]).astype(str) == rows[name][source].astype(str)).all(), name
    assert len(np.unique(saved["uid"])) == 120
    assert command("expand", "p.cs", "same.cs", "--symmetry=D3").returncode == 0
    assert Dataset.load(str(tmp_path / "same.cs")) == saved


def test_the_job_is_connected_and_its_slots_keep_their_types(fake, url, go):
    go(*EXPAND)
    wanted = {"source_output_name": "particles", "source_job_uid": "J42"}
    (given,) = [given for name, given in fake.calls if name == "jobs.connect"]
    assert wanted.items() <= given.items()
    slots = {each["name"]: each["dtype"] for each in fake.external["outputs"]["particles"]["slots"]}
    assert slots == {
        "alignments3D": "alignments3D",
        "alignments_class_0": "alignments3D",
        "blob": "blob",
        "ctf": "ctf",
        "sym_expand": "sym_expand",
    }
    assert fake.external["outputs"]["particles"].get("passthrough") is None
    assert fake.status == "completed"
    order = calls(fake)
    assert order.index("jobs.load_output") < order.index("jobs.create")
    assert order.index("jobs.mark_running") < order.index("jobs.save_output")
    assert order[-1] == "jobs.mark_completed"


def test_the_log_tells_and_shows_what_was_done(fake, url, go):
    assert "saved P3/J50/particles: 20 particles of P3/J42/particles x 6 = 120 rows" in go(*EXPAND)
    texts = [text for kind, text in fake.log if kind == "text"]
    assert any("3-fold on z, 2-fold on y" in text for text in texts)
    assert any("20 x 6 = 120 rows" in text for text in texts)
    assert any("verified by another method" in text for text in texts)
    assert "never a global refinement" in texts[-1]
    (picture,) = [body for kind, body in fake.log if kind == "picture"]
    assert picture.startswith(b"\x89PNG")
    assert ("image", "Viewing directions and shifts of particles and rows") in fake.log


def test_without_matplotlib_there_is_no_picture(fake, url, go, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "note: no picture of the rows: P3_J42_particles_expanded.png" in go(*EXPAND)
    assert fake.status == "completed"


def test_how_much_memory_it_takes_is_said_first(fake, url, command, monkeypatch):
    done = command(*EXPAND)
    assert "warning: the rows will take about" in done.stderr
    monkeypatch.setattr(inside.cryosparc_job, "_COPIES", 1 << 40)
    fake.calls.clear()
    assert "bytes of memory, of which" in one_line(command(*EXPAND), 1)
    assert "jobs.create" not in calls(fake)


def test_a_dry_run_saves_nothing(fake, url, go):
    shown = go(*EXPAND, "--dry_run")
    assert "would save 20 particles of P3/J42/particles x 6 = 120 rows" in shown
    assert "nothing was saved" in shown
    assert "jobs.create" not in calls(fake)


def test_options_are_those_of_expand(fake, url, go, tmp_path):
    flags = ("--twist=27.3", "--rise=4.75", "--order=5", "--symmetry=C2", "--center=3,4,5")
    go("cryosparc", "P3/J42/particles", "W1", *flags, "--title=Tubes", "--operators=0,3-5")
    go("expand", "p.cs", "same.cs", *flags, "--operators=0,3-5")
    assert Dataset.load(str(tmp_path / "same.cs")) == fake.saved["particles"]
    assert [given["title"] for name, given in fake.calls if name == "jobs.create"] == ["Tubes"]


def test_a_ready_connection_is_taken(fake, url, tmp_path):
    from cryosparc.tools import CryoSPARC

    ready = CryoSPARC(url, email="me@here", password=PASSWORD)
    with pytest.warns(numba_symexp.ExpansionWarning, match="memory"):
        report = numba_symexp.expand_in_cryosparc(
            "P3/J42", "W1", symmetry=numba_symexp.point_group("C4"), cryosparc=ready
        )
    assert (report.job, report.rows, len(fake.saved["particles"])) == ("P3/J50", 80, 80)
    assert calls(fake).count("login") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("P3/42", "W1", "--symmetry=C2"), "'P3/42' names no job"),
        (("P3/J42", "1", "--symmetry=C2"), "'1' names no workspace"),
        (("P3/J42", "W1", "--symmetry=X2"), "X2"),
        (("P3/J42", "W1"), "--symmetry"),
        (("P3/J42", "W1", "--symmetry=C2", "--center=1,2"), "--center"),
    ],
)
def test_a_wrong_request_asks_nothing_of_the_server(fake, url, command, words, told):
    assert told in one_line(command("cryosparc", *words), 2)
    assert fake.calls == []


def test_one_output_must_be_meant(fake, url, rows, command):
    fake.outputs["particles_excluded"] = fake.outputs["particles"]
    fake.outputs["unaligned"] = (fake.outputs["particles"][0], {"blob": "blob"})
    assert command(*EXPAND).returncode == 0
    fake.outputs["particles_class_1"] = fake.outputs["particles"]
    told = one_line(command(*EXPAND), 2)
    assert "name one of P3/J42/particles, " in told
    assert "P3/J42/particles_class_1" in told
    words = ("cryosparc", "P3/J42/particles_class_1", "W1", "--symmetry=D3")
    assert command(*words).returncode == 0
    told = one_line(command("cryosparc", "P3/J42/unaligned", "W1", "--symmetry=D3"), 1)
    assert told.startswith("error: P3/J42/unaligned has no particles with poses")


def test_many_outputs_and_odd_names_of_outputs(fake, url, command):
    particles = fake.outputs["particles"]
    fake.outputs.update({f"particles_{k}": particles for k in range(500)})
    told = one_line(command(*EXPAND), 2)
    assert told.endswith("P3/J42/particles_10, ...")
    fake.outputs = {"../../evil": particles}
    assert one_line(command(*EXPAND), 1).startswith("error: P3/J42 has no particles with poses")
    assert "jobs.load_output" not in calls(fake)


def test_a_job_that_is_none_is_told(fake, url, command, monkeypatch):
    monkeypatch.setattr(fake, "job", lambda name: None)
    told = one_line(command(*EXPAND), 1)
    assert told.startswith("error: CryoSPARC did not find P3/J42 (")


def test_particles_that_come_in_part_are_told(fake, url, command, monkeypatch):
    stream = b"".join(fake.outputs["particles"][0].stream())
    half = [stream[: len(stream) // 2]]
    monkeypatch.setattr(type(fake.outputs["particles"][0]), "stream", lambda *_, **__: half)
    told = one_line(command(*EXPAND), 1)
    assert told.startswith("error: CryoSPARC did not give P3/J42/particles (")
    assert "<" not in told


def test_a_full_or_missing_folder_of_temporary_files(fake, url, command, monkeypatch, tmp_path):
    here = tmp_path / "temporary"
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(here))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        done = command(*EXPAND)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "P3_J42_particles.cs: cannot be written to the folder of temp" in one_line(done, 1)
    assert not list(here.iterdir())
    here.rmdir()
    assert "no folder for temporary files (No such file" in one_line(command(*EXPAND), 1)
    assert "jobs.create" not in calls(fake)


def test_a_particle_that_is_wrong_is_named(fake, url, rows, command, tmp_path):
    rows[POSE][7, 1] = np.nan
    fake.add("particles", Dataset.load(save(tmp_path / "p.cs", structured(rows))))
    told = one_line(command(*EXPAND), 1)
    assert told.startswith("error: P3_J42_particles.cs: ")
    assert "row 7" in told
    assert "jobs.create" not in calls(fake)


@pytest.mark.parametrize(
    "call", ["jobs.add_external_output", "jobs.save_output", "jobs.connect", "jobs.add_event_log"]
)
def test_what_the_server_refuses_is_told_and_the_job_fails(fake, url, command, call):
    fake.refused[call] = (422, {"detail": [{"msg": "no such slot", "input": PASSWORD}]})
    told = one_line(command(*EXPAND), 1)
    assert "(code 422: no such slot)" in told
    assert ".csg" in told
    assert fake.status == "failed"
    assert "no such slot" in fake.error


@pytest.mark.parametrize("call", ["workspaces.find_one", "jobs.find_one", "jobs.load_output"])
def test_what_is_not_there_is_named(fake, url, command, call):
    fake.refused[call] = (404, {"detail": "not found"})
    assert "(code 404: not found)" in one_line(command(*EXPAND), 1)
    assert "jobs.create" not in calls(fake)


def test_a_login_that_fails_tells_no_secret(fake, url, command):
    from hashlib import sha256

    secret = sha256(PASSWORD.encode()).hexdigest()
    for detail in (f"{PASSWORD} is wrong", [{"msg": "wrong", "input": {"password": secret}}]):
        fake.refused["login"] = (401, {"detail": detail})
        told = one_line(command(*EXPAND), 1)
        assert told.startswith("error: CryoSPARC cannot be reached (code 401: ")
        assert secret not in told


def test_a_server_that_is_none_or_old(fake, url, command, monkeypatch):
    with serving(FakeCryosparc()) as gone:
        pass
    told = one_line(command(*EXPAND, f"--url={gone.replace('//', '//me:hidden@')}"), 1)
    assert "cannot be reached" in told
    assert "--url" in told
    assert "hidden" not in told
    monkeypatch.setattr(FakeCryosparc, "respond", lambda *_: (404, "text/html", b"<html>"))
    assert "version 5 or newer" in one_line(command(*EXPAND), 1)


def test_a_login_is_needed(fake, url, command, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("CRYOSPARC_PASSWORD")
    assert "nobody is logged in" in one_line(command(*EXPAND), 1)
    monkeypatch.delenv("CRYOSPARC_BASE_URL")
    assert "which CryoSPARC?" in one_line(command(*EXPAND), 1)


def test_the_client_warns_in_a_line(fake, url, command):
    fake.version = "v6.1.0"
    done = command(*EXPAND, f"--url={url.replace('//', '//me:hidden@')}")
    assert done.returncode == 0
    version, memory = done.stderr.splitlines()
    assert version.startswith(f"warning: CryoSPARC at {url} with version v6.1.0 ")
    assert "memory" in memory


def test_a_client_that_is_old_or_missing(fake, url, command, monkeypatch):
    monkeypatch.setattr("cryosparc.__version__", "4.7.1")
    assert "needs cryosparc-tools 5 or newer, and 4.7.1 is here" in one_line(command(*EXPAND), 1)
    monkeypatch.setitem(sys.modules, "cryosparc.tools", None)
    assert "-m pip install 'numba_symexp[cryosparc]'" in one_line(command(*EXPAND), 1)


@pytest.mark.parametrize("call", ["jobs.load_output", "jobs.create", "jobs.save_output"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_job_that_is_interrupted_fails(fake, url, tmp_path, call, number, code):
    fake.waits[call] = threading.Event()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    run = subprocess.Popen(
        [sys.executable, "-m", "numba_symexp", *EXPAND],
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 100
    while call not in calls(fake):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(number)
    if call == "jobs.create":  # it is created nevertheless, when nobody waits for it any more
        threading.Timer(1, fake.waits[call].set).start()
    _, told = run.communicate(timeout=100)
    assert run.returncode == code
    assert "Traceback" not in told
    assert fake.status == ("none" if call == "jobs.load_output" else "failed")
    assert os.listdir(temporary) == []
