"""An External job of RELION: what it makes, and how RELION hears of its end."""

import os
import signal
import subprocess
import sys
import time

import pytest
from inside import path_of
from particle_files import needs
from star_files import particles, read_star, star_text

JOB = "External/job001"
START = f"from {path_of('relion_job')} import program; program()"
ENDINGS = {f"RELION_JOB_EXIT_{ending}" for ending in ("SUCCESS", "FAILURE", "ABORTED")}
ABORT_NOW = "RELION_JOB_ABORT_NOW"

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path, rng):
    """A project with particles, and with the folder of a job."""
    (tmp_path / JOB).mkdir(parents=True)
    (tmp_path / "p.star").write_text(star_text(particles(rng, 40)))
    return tmp_path


def start(project, *words):
    """Start the job's program as RELION does, in the folder of the project."""
    return subprocess.Popen(
        [sys.executable, "-c", START, *words],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(job):
    """Exit code, log and errors of a job."""
    out, err = job.communicate(timeout=120)
    return job.returncode, out, err


def run(project, *words):
    return finish(start(project, *words))


def left(project):
    """Names in the job's folder."""
    return set(os.listdir(project / JOB))


def test_a_job_writes_particles_nodes_and_its_end(project, program):
    words = ("--o", f"{JOB}/", "--in_parts", "p.star", "--sym", "D3", "--j", "1")
    code, out, err = run(project, *words)
    assert (code, err) == (0, "")
    assert out.startswith(f"numba-symexp expand p.star {JOB}/particles.star --symmetry=D3")
    assert "wrote External/job001/particles.star: 40 particles x 6 = 240 rows" in out
    assert left(project) == {
        "particles.star",
        "RELION_OUTPUT_NODES.star",
        "RELION_JOB_EXIT_SUCCESS",
    }
    nodes = read_star((project / JOB / "RELION_OUTPUT_NODES.star").read_text(), "output_nodes")
    assert nodes == {
        "rlnPipeLineNodeName": [f"{JOB}/particles.star"],
        "rlnPipeLineNodeType": ["3"],
        "rlnPipeLineNodeTypeLabel": ["ParticleGroupMetadata.star.relion"],
    }
    done = program("expand", "p.star", "wanted.star", "--symmetry=D3", cwd=project)
    assert done.returncode == 0
    wanted = (project / "wanted.star").read_bytes()
    assert (project / JOB / "particles.star").read_bytes() == wanted


def test_labels_are_the_flags_of_expand(project, program):
    words = ("--o", f"{JOB}/", "--in_parts", "p.star", "--j", "4000", "--pipeline_control", JOB)
    given = ("--twist", "-27.3", "--rise", "4.75", "--order", "3", "--symmetry", "D1")
    given += ("--center=1,-2,3", "--convention", "cryosparc", "--unique", "Yes")
    code, _, err = run(project, *words, *given)
    assert code == 0, err
    flags = ("--twist=-27.3", "--rise=4.75", "--order=3", "--symmetry=D1", "--center=1,-2,3")
    flags += ("--convention=cryosparc", "--unique")
    done = program("expand", "p.star", "wanted.star", *flags, cwd=project)
    assert done.returncode == 0, done.stderr
    wanted = (project / "wanted.star").read_bytes()
    assert (project / JOB / "particles.star").read_bytes() == wanted


@pytest.mark.parametrize(
    ("words", "code", "say"),
    [
        (("--in_parts", "p.star", "--sym", "D99x"), 2, "'D99x' is not a point group"),
        (("--in_parts", "p.star", "--simmetry", "D3"), 2, "no flag --simmetry (did you mean"),
        (("--in_parts", "p.star", "D3"), 2, "'D3' follows no label"),
        (("--in_parts", "p.star", "--sym", "D3", "--symmetry", "D3"), 2, "is given twice"),
        (("--in_parts", "p.star", "--sym", "D3", "--overwrite"), 2, "overwrite is RELION's"),
        (("--in_parts", "p.star", "--in_mask", "m.mrc", "--sym", "D3"), 2, "--in_mask is not for"),
        (("--sym", "D3"), 2, "--o and --in_parts are needed"),
        (("--in_parts", "gone.star", "--sym", "D3"), 1, "gone.star: no such file"),
        (("--in_parts", f"{JOB}/particles.star", "--sym", "D3"), 1, "is the source itself"),
    ],
)
def test_a_job_that_fails_says_why_in_a_line(words, code, say, project):
    old = b"data_particles\n\nloop_\n_rlnImageName #1\nold\n"
    (project / JOB / "particles.star").write_bytes(old)
    (project / JOB / "RELION_JOB_EXIT_SUCCESS").touch()  # of an earlier run of the same job
    found, _, err = run(project, "--o", f"{JOB}/", *words, "--j", "1")
    assert found == code
    assert len(err.splitlines()) == 1
    assert say in err
    assert left(project) == {"particles.star", "RELION_JOB_EXIT_FAILURE"}
    assert (project / JOB / "particles.star").read_bytes() == old


@pytest.mark.parametrize(("quote", "copies"), [("", 0), ("'", 12)])
def test_a_semicolon_of_several_centers_ends_the_command_of_a_shell(quote, copies, project):
    """RELION's window hands its command to a shell, with the number of threads at its end."""
    words = f"--o {JOB}/ --in_parts p.star --sym D3 --center {quote}1,2,30;40,5,6{quote} --j 1"
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{START}" {words}'],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert left(project) & ENDINGS == {f"RELION_JOB_EXIT_{'SUCCESS' if copies else 'FAILURE'}"}
    if copies:
        found = read_star((project / JOB / "particles.star").read_text())
        assert len(found["rlnImageName"]) == 40 * copies
    else:
        assert "put several centers in quotes, or into a marker file" in done.stderr
        assert not (project / JOB / "particles.star").exists()


def test_help_and_words_without_a_folder(project):
    code, out, _ = run(project, "--help")
    assert code == 0
    assert "usage: numba-symexp-relion --o JOBFOLDER/" in out
    assert run(project)[0] == 2
    assert run(project, "--in_parts", "p.star")[0] == 2
    assert left(project) == set()


def test_a_folder_that_is_gone(project):
    code, _, err = run(project, "--o", "External/job002/", "--in_parts", "p.star", "--sym", "C2")
    assert code != 0
    assert "External/job002/" in err
    assert not (project / "External/job002").exists()


@pytest.fixture
def long_job(project, rng):
    """Start a job that takes a while; it is there when its log says what it does."""
    (project / "p.star").write_text(star_text(particles(rng, 20_000)))
    words = ("--in_parts", "p.star", "--sym", "I2", "--chunk_rows", "100", "--j", "1")
    job = start(project, "--o", f"{JOB}/", *words)
    try:
        assert job.stdout.readline().startswith("numba-symexp expand")
        yield job
    finally:
        job.kill()
        job.communicate()


def child_of(job):
    """Process that expands."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with open(f"/proc/{job.pid}/task/{job.pid}/children") as file:
            found = file.read().split()
        if found:
            return int(found[0])
        time.sleep(0.01)
    raise AssertionError("no child")


@pytest.mark.parametrize("wait_s", [0, 1.5])
def test_relion_aborts_a_job(wait_s, long_job, project):
    time.sleep(wait_s)
    (project / JOB / ABORT_NOW).touch()
    code, out, _ = finish(long_job)
    assert code == 143
    assert "aborted, as RELION asked for" in out
    assert left(project) == {"RELION_JOB_EXIT_ABORTED"}


@pytest.mark.parametrize("wait_s", [0, 1.5])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 143)]
)
def test_a_job_that_is_stopped_is_marked_as_failed(number, code, wait_s, long_job, project):
    child = child_of(long_job)
    time.sleep(wait_s)
    long_job.send_signal(number)
    found, _, _ = finish(long_job)
    assert found == code
    assert left(project) == {"RELION_JOB_EXIT_FAILURE"}
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_job_whose_expansion_is_killed_is_marked_as_failed(long_job, project):
    os.kill(child_of(long_job), signal.SIGKILL)
    code, _, err = finish(long_job)
    assert code == 1
    assert "was ended by signal 9" in err
    assert "RELION_JOB_EXIT_FAILURE" in left(project)
    assert not left(project) & (ENDINGS - {"RELION_JOB_EXIT_FAILURE"})
    assert "particles.star" not in left(project)


PIPELINE = "\n# version 30001\n\ndata_pipeline_general\n\n_rlnPipeLineJobCounter  1\n\n"
JOB_STAR = """
data_job

_rlnJobType         99
_rlnJobIsContinue    0

data_joboptions_values

loop_
_rlnJobOptionVariable #1
_rlnJobOptionValue #2
fn_exe {exe}
in_part {particles}
param1_label sym
param1_value {sym}
param2_label convention
param2_value cryosparc
nr_threads 2
do_queue No
other_args ""
"""
FINISHED, FAILED = "2", "3"


@needs("relion_pipeliner")
def test_relion_runs_the_job(project):
    """RELION's own pipeline, without its windows: one job that ends well, and one that fails."""
    exe = project / "numba-symexp-relion"
    exe.write_text(f"#!{sys.executable}\n{START}\n")
    exe.chmod(0o755)
    (project / "default_pipeline.star").write_text(PIPELINE)

    def relion(*words):
        done = subprocess.run(
            ["relion_pipeliner", *words], cwd=project, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr

    for number, (source, sym) in enumerate(
        [("p.star", "D3"), (f"{JOB}/particles.star", "D3"), ("p.star", "D3x")], start=1
    ):
        text = JOB_STAR.format(exe=exe, particles=source, sym=sym)
        (project / "job.star").write_text(text)
        relion("--addJobFromStar", "job.star")
        relion("--RunJobs", f"External/job{number:03d}/")
    pipeline = (project / "default_pipeline.star").read_text()
    ends = read_star(pipeline, "pipeline_processes")
    assert ends["rlnPipeLineProcessName"] == [f"External/job00{number}/" for number in (1, 2, 3)]
    assert ends["rlnPipeLineProcessStatus"] == [FINISHED, FAILED, FAILED]
    made = read_star(pipeline, "pipeline_output_edges")
    assert made["rlnPipeLineEdgeProcess"] == [f"{JOB}/"]
    assert made["rlnPipeLineEdgeToNode"] == [f"{JOB}/particles.star"]
    nodes = read_star(pipeline, "pipeline_nodes")
    types = dict(zip(nodes["rlnPipeLineNodeName"], nodes["rlnPipeLineNodeType"], strict=True))
    assert types[f"{JOB}/particles.star"] == "3"
    rows = read_star((project / JOB / "particles.star").read_text())
    assert len(rows["rlnImageName"]) == 240
    logs = {n: (project / f"External/job00{n}/run.err").read_text() for n in (2, 3)}
    assert "already expanded" in logs[2]
    assert "is not a point group" in logs[3]
