"""The program as people and pipelines call it: help, output, exit codes, lines that run nothing."""

import hashlib
import inspect
import json
import os
import pickle
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from dataclasses import FrozenInstanceError
from pathlib import Path

import h5py
import inside
import numba
import numpy as np
import pytest
from conftest import HERE, random_columns, write_table
from inside import COMMANDS, UsageError, canonical, main, path_of

import numba_symexp

WORDS = ["expand", "in.h5", "out.h5", "--symmetry=C2"]


def refused(result, code, *words):
    """One line of error, nothing on standard output."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


# Help and version


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_the_program(program, flag):
    result = program(flag)
    assert result.returncode == 0
    assert result.stderr == ""
    for name in COMMANDS:
        assert f"\n  {name}" in result.stdout
    assert "never for a global refinement" in result.stdout
    assert Path(re.search(r"^Guide: (.*)$", result.stdout, re.MULTILINE)[1]).is_file()


def test_help_of_the_program_says_what_each_command_does(capsys):
    assert main(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, call in COMMANDS.items():
        assert f" {name} {call.__doc__.partition(chr(10))[0]} " in shown


def explained(text, name):
    """The explanations that stand in a command's help, by the form of the argument or flag."""
    listed = text.partition(f"usage: numba-symexp {name} ")[2].partition("\n\n")[2]
    entries = re.findall(r"^  (\S+)((?:  .*)?(?:\n {4,}\S.*)*)", listed, re.MULTILINE)
    return {form: " ".join(words.split()) for form, words in entries}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_tells_every_flag(name, capsys):
    assert main([name, "--help"]) == 0
    told = explained(capsys.readouterr().out, name)
    wanted = set()
    for word, parameter in inspect.signature(COMMANDS[name]).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            wanted.add(f"{word.upper()}...")
        elif parameter.default is parameter.empty:
            wanted.add(word.upper())
        else:
            is_switch = isinstance(parameter.default, bool)
            wanted.add(f"--{word}" if is_switch else f"--{word}=")
    assert {form.partition("=")[0] + "=" * ("=" in form) for form in told} == wanted
    for form, words in told.items():
        assert len(words) > 10, form
        assert words.endswith("."), form


@pytest.mark.parametrize("columns", [60, 80, 132])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_the_terminal_and_breaks_no_word(name, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "10000")
    assert main([*name.split(), "--help"]) == 0
    whole = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    for line in shown.splitlines():
        assert len(line) <= columns or line.startswith(("Example: ", "usage: ", "Guide: ")), line
    assert shown.split() == whole.split()
    lines = [
        [len(each) for each in text.splitlines() if "Guide: " not in each]
        for text in (whole, shown)
    ]
    assert max(lines[1]) > min(columns, max(lines[0])) - 12


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_of_a_command_with_many_are_listed_by_what_they_are_about(name, capsys):
    assert main([name, "--help"]) == 0
    _, *parts = capsys.readouterr().out.partition("usage: ")[2].split("\n\n")
    headings = [part.splitlines()[0] for part in parts if not part.startswith("  ")]
    many = sum(part.count("\n  --") for part in parts) > 24
    assert bool(headings) == many == (name in ("expand", "cryosparc"))
    assert "Others:" not in headings
    for part in parts[1:] if many else ():
        assert part.splitlines()[1].startswith("  --"), part


def test_help_has_80_columns_where_no_terminal_is(program):
    environment = {name: text for name, text in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "numba_symexp", "expand", "--help"]
    piped = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in piped.stdout.splitlines() if not line.startswith("Example")]
    assert 72 < max(map(len, lines)) <= 80


def test_help_survives_the_loss_of_docstrings(program):
    for words in (["--help"], ["expand", "--help"], ["mapcheck", "--help"], ["--completion=zsh"]):
        plain, bare = (program(*words, PYTHONOPTIMIZE=level) for level in ("", "2"))
        assert (bare.returncode, bare.stderr) == (0, "")
        assert bare.stdout == plain.stdout


# Completion


def completed(script, *words):
    """What bash offers for the last of the words after the program's name."""
    line = " ".join(f"'{word}'" for word in ("numba-symexp", *words))
    code = (
        f"source {script}; compopt() {{ :; }}; COMP_WORDS=({line}); COMP_CWORD={len(words)};"
        ' _numba_symexp; printf "%s\\n" "${COMPREPLY[@]}"; complete -p numba-symexp'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    *offered, rule = done.stdout.split("\n")[:-1]
    assert rule == "complete -o default -F _numba_symexp numba-symexp"
    return [word for word in offered if word]


def test_bash_completes_commands_and_flags(program, tmp_path):
    script = tmp_path / "completion.bash"
    script.write_text(program("--completion=bash").stdout)
    subprocess.run(["bash", "-n", script], check=True)
    assert completed(script, "ex") == ["expand", "export", "example"]
    assert completed(script, "expand", "a.h5", "--dr") == ["--dry_run"]
    assert completed(script, "expand", "--symm") == ["--symmetry="]
    assert completed(script, "verify", "--symm") == []
    assert completed(script, "verify", "a") == []  # then bash offers files
    for name, call in COMMANDS.items():
        offered = {word.strip("-=") for word in completed(script, name, "--")}
        known = inspect.signature(call).parameters.values()
        assert offered - {"help"} == {
            each.name
            for each in known
            if each.default is not each.empty and each.kind is not each.VAR_POSITIONAL
        }


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_every_flag(shell, command):
    script = command("--completion", shell).stdout
    for name, call in COMMANDS.items():
        part = [line for line in script.splitlines() if re.search(rf"\b{name}\b['):]", line)]
        for each in inspect.signature(call).parameters.values():
            if each.default is not each.empty:
                flag = f"--{each.name}" if shell == "zsh" else f"-l {each.name} "
                assert any(flag in line for line in part), (name, flag)
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("words", [["--completion"], ["--completion="], ["--completion=tcsh"]])
def test_completion_needs_a_shell(words, command):
    refused(command(*words), 2, "bash", "zsh")


# The environment


@pytest.mark.parametrize(
    ("environment", "say"),
    [
        ({"NUMBA_NUM_THREADS": "0"}, "NUMBA_NUM_THREADS=0 is not a number of threads"),
        ({"NUMBA_NUM_THREADS": "many"}, "NUMBA_NUM_THREADS=many is not a number of threads"),
        ({"NUMBA_NUM_THREADS": "99999"}, "set 1 to 4,096, or unset it"),
        ({"NUMBA_THREADING_LAYER": "abc"}, "NUMBA_THREADING_LAYER=abc is unknown"),
    ],
)
def test_a_wrong_environment_is_one_line(environment, say, program, source, tmp_path):
    refused(program("expand", source, "out.h5", "--symmetry=C2", **environment), 2, say)
    assert sorted(os.listdir(tmp_path)) == ["source.h5"]
    assert program("--help", **environment).returncode == 0


@pytest.mark.parametrize("text", ["cache_dir: planted\n", "{", "- a\n", ""])
@pytest.mark.parametrize("verb", ["inspect", "verify", "plot"])
def test_settings_of_numba_in_the_folder_of_the_data_are_not_obeyed(
    verb, text, command, source, go, tmp_path
):
    """They may name a folder of compiled code, as pickles: who gave the data would run it."""
    go("expand", "source.h5", "e.h5", "--symmetry=C2")
    (tmp_path / ".numba_config.yaml").write_text(text)
    words = [verb, "e.h5", *(["e.png"] if verb == "plot" else [])]
    refused(command(*words), 2, ".numba_config.yaml: in this folder", "remove it")
    assert sorted(os.listdir(tmp_path)) == [".numba_config.yaml", "e.h5", "source.h5"]


@pytest.mark.slow
def test_code_beside_the_data_does_not_run(program, source, tmp_path):
    """A cache of kernels is a file of pickles; here each says that it was loaded."""
    planted = tmp_path / "planted"
    variables = {"NUMBA_CACHE_DIR": str(planted), "NUMBA_DEBUGINFO": "0"}
    assert program("expand", "source.h5", "e.h5", "--symmetry=C2").returncode == 0
    assert program("verify", "e.h5", **variables).returncode == 0
    call = pickle.dumps(Called(str(tmp_path / "it_ran")))
    for index in planted.rglob("*.nbi"):
        index.write_bytes(hashlib.sha256(call).digest() + call)
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: planted\n")
    refused(program("verify", "e.h5"), 2, ".numba_config.yaml")
    assert not (tmp_path / "it_ran").exists()


class Called:
    """What makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "code"), [(b"nonsense: 3\ntext.usetex: maybe\nfont.size: 30\n", 0), (b"\xff\xfe", 2)]
)
def test_settings_of_matplotlib_in_the_folder_of_the_data(text, code, program, source, tmp_path):
    pytest.importorskip("matplotlib")
    if not code:
        assert program("plot", "source.h5", "plain.png").returncode == 0
    (tmp_path / "matplotlibrc").write_bytes(text)
    done = program("plot", "source.h5", "p.png")
    if code:
        refused(done, 2, "matplotlib cannot read its settings", "matplotlibrc")
        assert not (tmp_path / "p.png").exists()
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "p.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


@pytest.mark.parametrize("name", ["NUMBA_OPT", "NUMBA_DEBUG", "NUMBA_BOUNDSCHECK"])
def test_what_numba_does_not_understand_is_not_told_in_its_words(name, program, source, tmp_path):
    done = program("expand", source, "out.h5", "--symmetry=C2", **{name: "abc"})
    assert (done.returncode, done.stderr) == (0, "")
    done = program("verify", "out.h5", **{name: "abc"})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["verify", "out.h5"], ["export", "out.h5", "out.cs"]])
def test_where_the_ends_of_children_are_ignored(words, go, source, tmp_path):
    """As under some batch systems: a child is then gone before anybody asks how it ended."""
    go("expand", source, "out.h5", "--symmetry=C2")
    done = subprocess.run(
        [sys.executable, "-m", "numba_symexp", *words],
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("words", ["inspect source.h5", "operators --symmetry=C2", "--help"])
def test_a_report_that_nobody_can_read_is_one_line(words, source, tmp_path):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m numba_symexp {words} >&-"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1)
    assert done.stderr.count("\n") == done.returncode
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        ImportError("x.so: failed to map segment from shared object"),
        OSError("Could not find/load shared object file 'libllvmlite.so'"),
    ],
)
def test_a_library_that_cannot_be_loaded_is_one_line(error, command, monkeypatch):
    def broken(*words):
        raise error

    monkeypatch.setattr(inside.main_module, "canonical", broken)
    done = command("operators", "--symmetry=C2")
    refused(done, 1, "a library cannot be loaded", "free memory")
    assert "unexpected" not in done.stderr


def test_a_threading_layer_that_is_not_installed_is_one_line(program, source, tmp_path):
    code = "from numba.np.ufunc import tbbpool"
    if not subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False
    ).returncode:
        pytest.skip("TBB is installed")
    words = ["expand", source, "out.h5", "--symmetry=C2"]
    refused(program(*words, NUMBA_THREADING_LAYER="tbb"), 1, "NUMBA_THREADING_LAYER=tbb cannot")
    assert sorted(os.listdir(tmp_path)) == ["source.h5"]


def test_an_unknown_backend_of_matplotlib_is_one_line(program, source, tmp_path):
    pytest.importorskip("matplotlib")
    refused(program("plot", source, "out.png", MPLBACKEND="abc"), 2, "MPLBACKEND=abc is unknown")
    assert sorted(os.listdir(tmp_path)) == ["source.h5"]


def test_a_folder_that_was_deleted_is_one_line(program, source, tmp_path):
    (tmp_path / "gone").mkdir()
    code = f"cd gone; rmdir ../gone; {sys.executable} -m numba_symexp"
    for words, status in (
        (f"expand {source} {tmp_path}/out.h5 --symmetry=C2", 1),
        (f"inspect {source}", 1),
        ("--help", 0),
    ):
        (tmp_path / "gone").mkdir(exist_ok=True)
        done = subprocess.run(
            ["bash", "-c", f"{code} {words}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        if status:
            refused(done, status, "current folder was deleted")
    assert sorted(os.listdir(tmp_path)) == ["source.h5"]


def test_help_needs_no_compiler_no_reader_and_no_pager(program):
    code = (
        f"import sys; from {path_of('main')} import main; main(['expand', '--help']);"
        "print(*sorted({'numba', 'h5py', 'numpy', 'fire'} & sys.modules.keys()), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, env={**os.environ, "PAGER": "false"}, capture_output=True, text=True, check=True
    )
    assert result.stderr.strip() == ""
    assert "--symmetry" in result.stdout


def test_version(program):
    result = program("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"numba-symexp {numba_symexp.__version__}\n"


# Lines that run nothing


@pytest.mark.parametrize(
    ("words", "say"),
    [
        (
            [],
            [
                "no command",
                "expand, cryosparc, operators, mapcheck, match, inspect, plot, verify, collapse",
            ],
        ),
        (["expnd"], ["unknown command 'expnd'", "did you mean expand"]),
        (["expand"], ["needs SOURCE and OUTPUT"]),
        (["expand", "in.h5", "--symmetry=C2"], ["needs OUTPUT"]),
        ([*WORDS, "--symetry=C2"], ["no flag --symetry", "did you mean --symmetry"]),
        ([*WORDS, "--overwrit"], ["no flag --overwrit"]),
        ([*WORDS, "--conv=relion"], ["no flag --conv (did you mean --convention?)"]),
        (["arr"], ["did you mean arrange"]),
        ([*WORDS, "--nooverwrite"], ["no flag"]),
        ([*WORDS, "-o"], ["no flag -o"]),
        ([*WORDS, "--symmetry=C3"], ["--symmetry is given twice"]),
        ([*WORDS, "--dry_run", "--dry-run"], ["--dry_run is given twice"]),
        ([*WORDS, "more"], ["does not take 'more':"]),
        ([*WORDS, "--center=1", "0", "2"], ["all values of --center as one word, with commas"]),
        ([*WORDS, "--overwrite", "0"], ["does not take '0':"]),
        (["expand", "in.h5", "out.h5", "D7"], ["write --symmetry=D7"]),
        (["match", "in.h5", "I2"], ["write --symmetry=I2"]),
        ([*WORDS, "--source=other.h5"], ["--source is given twice"]),
        ([*WORDS, "--table"], ["--table needs a value"]),
        ([*WORDS, "--table", "--overwrite"], ["--table needs a value"]),
        ([*WORDS, "--table="], ["--table needs a value"]),
        ([*WORDS, "--overwrite=maybe"], ["--overwrite=maybe is not understood"]),
        ([*WORDS, "--overwrite="], ["--overwrite= is not understood"]),
        ([*WORDS, "--"], ["a lone --"]),
        ([*WORDS, "--", "--trace"], ["a lone --"]),
        ([*WORDS, "-"], ["a lone -"]),
        (["expand", "in.h5", "out.h5"], ["no symmetry"]),
        (["expand", "in.h5", "out.h5", "--symmetry="], ["--symmetry needs a value"]),
        (["expand", "in.h5", "out.h5", "--symmetry=Ih"], ["'Ih'", "I1, I2, I3, I4"]),
        (["expand", "in.h5", "out.h5", "--symmetry", "C0"], ["'C0'"]),
        (["expand", "in.h5", "out.h5", "--symmetry=None"], ["'None'"]),
        (["expand", "in.h5", "out.h5", "--symmetry=D70000"], ["65,536"]),
        ([*WORDS, "--convention=eman"], ["'eman' is unknown"]),
        ([*WORDS, "--twist=20"], ["a helix needs"]),
        ([*WORDS, "--twist=abc"], ["--twist=abc is not a number"]),
        ([*WORDS, "--twist=nan", "--rise=2", "--order=3"], ["must be numbers"]),
        ([*WORDS, "--order=2.5"], ["--order=2.5 is not a whole number"]),
        ([*WORDS, "--order=0", "--twist=20", "--rise=3"], ["1 or more"]),
        ([*WORDS, "--twist=60", "--rise=0", "--order=12"], ["coincide"]),
        ([*WORDS[:3], "--symmetry=O", "--twist=6", "--rise=2", "--order=2"], ["only Cn and Dn"]),
        ([*WORDS, "--psize=0"], ["psize 0.0 must be above 0"]),
        ([*WORDS, "--psize=inf"], ["psize inf must be above 0"]),
        ([*WORDS, "--chunk_rows=0"], ["chunk_rows 0 must be 1 or more"]),
        ([*WORDS, "--threads=0"], ["threads 0 must be 1 or more"]),
        ([*WORDS, "--assign_halves=-1"], ["assign_halves -1 must be 0 or more"]),
        ([*WORDS, "--pose_format=euler"], ["'euler' is unknown"]),
        ([*WORDS, "--threads=100000"], ["threads 100000"]),
        (["operators"], ["no symmetry"]),
        (["operators", "C2"], ["does not take 'C2'"]),
        (["inspect"], ["needs FILE"]),
        (["example"], ["needs OUTPUT"]),
    ],
)
def test_wrong_lines_run_nothing(words, say, tmp_path, columns, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_table("in.h5", columns)
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    for word in say:
        assert word in shown.err
    assert os.listdir(tmp_path) == ["in.h5"]


def test_a_wrong_line_as_a_process(program, tmp_path, columns):
    write_table(tmp_path / "in.h5", columns)
    refused(program(*WORDS, "--symetry=C2"), 2, "did you mean --symmetry")
    refused(program("expand", "in.h5", "out.h5"), 2, "no symmetry")
    assert os.listdir(tmp_path) == ["in.h5"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["expand", "a", "b"], ["expand", "--source=a", "--output=b"]),
        (["expand", "--output", "b", "a"], ["expand", "--output=b", "--source=a"]),
        (
            ["expand", "--overwrite", "a", "b", "--twist", "-27.3", "--dry-run=no"],
            [
                "expand",
                "--overwrite=True",
                "--source=a",
                "--output=b",
                "--twist=-27.3",
                "--dry_run=False",
            ],
        ),
        (["operators", "--symmetry=a=b"], ["operators", "--symmetry=a=b"]),
    ],
)
def test_lines_become_unmistakable(words, expected):
    assert canonical(words, COMMANDS) == expected


def test_flags_are_not_abbreviated():
    with pytest.raises(UsageError, match="no flag --sym"):
        canonical(["expand", "a", "b", "--sym=C2"], COMMANDS)


# Lines that run


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["1e5", "None", "4", "a#b.h5", "a b.h5", "-1", "True", "[1,2]", "é"]
)
def test_paths_stay_text(name, tmp_path, columns, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table("in.h5", columns)
    assert main(["expand", "in.h5", name, "--symmetry=C2", "--quiet"]) == 0
    assert sorted(os.listdir(tmp_path)) == sorted(["in.h5", name])
    assert main(["inspect", name]) == 0


def test_expand_says_what_it_did_and_what_may_follow(program, source):
    result = program("expand", source, "out.h5", "--symmetry=D7")
    assert (result.returncode, result.stderr) == (0, "")
    assert "D7 (cryosparc), 14 operator(s): 7-fold on z, 2-fold on y" in result.stdout
    assert "50 particles x 14 = 700 rows" in result.stdout
    assert "never a global refinement" in result.stdout


def test_expand_in_json(program, source, tmp_path):
    result = program("expand", source, "out.h5", "--symmetry=i2", "--json")
    record = json.loads(result.stdout)
    assert result.stderr == ""
    assert record["symmetry"] == "I2"
    assert (record["operators"], record["particles"], record["rows"]) == (60, 50, 3000)
    assert record["bytes"] == (tmp_path / "out.h5").stat().st_size
    assert record["dry_run"] is False


def test_quiet_prints_nothing_but_warnings(program, source):
    result = program("expand", source, "out.h5", "--symmetry=C1", "--quiet")
    assert result.stdout == ""
    assert result.stderr.startswith("warning: C1 has one operator")


@pytest.mark.slow
@pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="interpreted, so many rows take too long"
)
def test_warnings_come_before_the_work(tmp_path, rng):
    """The line is there while no row of a big table is written yet; the JSON has it too."""
    columns = random_columns(rng, 20_000)
    del columns["alignments3D/split"]
    source = write_table(tmp_path / "in.h5", columns)
    words = [sys.executable, "-m", "numba_symexp", "expand", source, "out.h5", "--symmetry=C300"]
    process = subprocess.Popen(
        [*words, "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        first = process.stderr.readline()
        there = set(os.listdir(tmp_path))
        stdout, more = process.communicate(timeout=300)
    finally:
        process.kill()  # does nothing to a process that has ended
    assert first.startswith("warning: ")
    assert "no half-sets" in first
    assert "out.h5" not in there
    assert (process.returncode, more) == (0, "")
    assert json.loads(stdout)["warnings"] == [first.removeprefix("warning: ").strip()]


def test_dry_run_writes_nothing(program, source, tmp_path):
    result = program("expand", source, "out.h5", "--symmetry=O", "--dry_run", "--json")
    assert json.loads(result.stdout)["rows"] == 1200
    assert (
        "nothing was written"
        in program("expand", source, "out.h5", "--symmetry=O", "--dry-run").stdout
    )
    assert sorted(os.listdir(tmp_path)) == ["source.h5"]


def test_carry_and_house_flags_reach_the_job(program, tmp_path, rng):
    columns = random_columns(rng, 10, np.float64)
    house = {
        "angles": np.degrees(columns["alignments3D/shift"][:, [0, 1, 0]]),
        "origin": columns["alignments3D/shift"],
        "ctf/df1_A": columns["ctf/df1_A"],
    }
    write_table(tmp_path / "in.h5", house, "/mine")
    result = program(
        *("expand", "in.h5", "out.h5", "--table=/mine", "--pose=angles", "--shift=origin"),
        *("--pose_format=euler_zyz", "--twist=-20.5", "--rise", "-3", "--order=3", "--psize=1.5"),
        *("--carry=ctf/*", "--assign_halves=3", "--chunk_rows=9", "--threads=1", "--json"),
    )
    assert result.returncode == 0, result.stderr
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["particles/angles"].shape == (30, 3)
        assert file["particles/ctf/df1_A"].shape == (30,)
        assert file["particles/alignments3D/split"].shape == (30,)
        assert file["operators/rise_index"][:].tolist() == [0, 1, -1]


def test_operators_for_people_and_programs(program):
    shown = program("operators", "--symmetry=D3", "--twist=27.3", "--rise=4.75", "--order=2")
    assert shown.returncode == 0
    assert "h+1 U2" in shown.stdout
    record = json.loads(program("operators", "--symmetry=I1", "--json").stdout)
    assert record["symmetry"] == "I1"
    assert len(record["operators"]) == 60
    assert record["operators"][0]["matrix"] == np.eye(3).tolist()


def test_operators_in_the_other_convention(capsys):
    assert main(["operators", "--symmetry=D7", "--convention=relion"]) == 0
    assert "2-fold on x" in capsys.readouterr().out


def test_inspect_a_source_and_its_expansion(program, source):
    shown = program("inspect", source).stdout
    assert "50 rows" in shown
    assert "can be expanded" in shown
    program("expand", source, "out.h5", "--symmetry=C3")
    record = json.loads(program("inspect", "out.h5", "--json").stdout)
    assert record["expandable"] is False
    assert record["expansion"]["particles"] == 50
    assert record["expansion"]["rows"] == 150
    assert "expanded: C3" in program("inspect", "out.h5").stdout


def test_reports_of_the_library_are_frozen_and_say_what_the_command_line_says(source, tmp_path, go):
    numba_symexp.expand(source, tmp_path / "out.h5", symmetry="C3")
    for path in (Path(source), tmp_path / "out.h5"):
        found = numba_symexp.inspect(path)
        shown = json.loads(go("inspect", path, "--json"))
        assert shown.pop("warnings") == []
        text = json.dumps(found.as_dict())
        in_flags = text.replace("need psize=", "need --psize").replace("again=True", "--again")
        assert json.loads(in_flags) == shown
        with pytest.raises(FrozenInstanceError):
            found.particles = 1
    assert found.expansion.rows == 150
    listed = numba_symexp.list_operators("D2", center=(1, 2, 3), modulo="C2", tables=True)
    words = ["--symmetry=D2", "--center=1,2,3", "--modulo=C2", "--tables", "--json"]
    shown = json.loads(go("operators", *words))
    assert shown.pop("warnings") == []
    assert json.loads(json.dumps(listed.as_dict())) == shown
    for each in shown["operators"]:
        assert np.allclose(np.array(each["matrix"]) @ (1, 2, 3), each["center_A"])
    assert [each.full_index for each in listed.operators] == listed.left_cosets[:, 0].tolist()
    assert numba_symexp.list_operators("C2").operators[1].center_A is None
    seen = []
    numba_symexp.write_example(Path(tmp_path / "e.h5"), progress=lambda *rows: seen.append(rows))
    assert seen == [(1000, 1000)]


def test_inspect_says_why_a_table_cannot_be_expanded(tmp_path, columns, capsys):
    columns["alignments3D/pose"][4] = np.nan
    assert main(["inspect", write_table(tmp_path / "bad.h5", columns)]) == 0
    assert "cannot be expanded: " in capsys.readouterr().out
    bare = {name: columns[name] for name in ("alignments3D/shift",)}
    assert main(["inspect", write_table(tmp_path / "bare.h5", bare), "--json"]) == 0
    assert "no pose column" in json.loads(capsys.readouterr().out)["reason"]


def test_inspect_says_which_convention_a_table_gets(tmp_path, columns, go):
    for convention in ("cryosparc", "relion"):
        attributes = {"convention": "relion"} if convention == "relion" else {}
        path = write_table(tmp_path / f"{convention}.h5", columns, **attributes)
        assert json.loads(go("inspect", path, "--json"))["convention"] == convention
        assert f"convention: {convention} (" in go("inspect", path)
        expanded = json.loads(go("expand", path, tmp_path / "x.h5", "--symmetry=D2", "--json"))
        assert f"({convention})" in expanded["description"]
        (tmp_path / "x.h5").unlink()


def test_inspect_notes_what_is_missing(tmp_path, columns, capsys):
    for name in ("uid", "alignments3D/split", "alignments3D/psize_A"):
        del columns[name]
    assert main(["inspect", write_table(tmp_path / "few.h5", columns)]) == 0
    assert capsys.readouterr().out.count("note: no ") == 3


def test_example_can_be_expanded(program, tmp_path):
    assert program("example", "example.h5").stdout == "wrote example.h5: 1,000 particles\n"
    first = (tmp_path / "example.h5").read_bytes()
    refused(program("example", "example.h5"), 1, "exists")
    assert program("example", "example.h5", "--overwrite", "--json").returncode == 0
    assert (tmp_path / "example.h5").read_bytes() == first
    result = program("expand", "example.h5", "out.h5", "--twist=30", "--rise=5", "--order=3")
    assert (result.returncode, result.stderr) == (0, "")


# How it ends


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m numba_symexp operators --symmetry=D5000 | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout.startswith("D5000")


def test_a_full_standard_output_is_one_line(program):
    code = f"import sys; from {path_of('main')} import main; sys.exit(main(['--version']))"
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.stderr.startswith("error: standard output cannot be written (No space left")


def test_a_bug_is_one_line_and_a_traceback_on_request(monkeypatch, capsys):
    def broken(words, commands):
        raise ZeroDivisionError("the unforeseen")

    monkeypatch.setattr(inside.main_module, "canonical", broken)
    assert main(["operators", "--symmetry=C2"]) == 1
    assert capsys.readouterr().err.startswith(
        "error: unexpected ZeroDivisionError (the unforeseen)"
    )
    monkeypatch.setenv("NUMBA_SYMEXP_DEBUG", "1")
    assert main(["operators", "--symmetry=C2"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("existing", [False, True])
def test_a_stopped_run_leaves_nothing(number, code, existing, tmp_path, rng):
    """Stopped while rows are written: the old file or none, no leftovers, one line."""
    columns = random_columns(rng, 20_000)
    write_table(tmp_path / "in.h5", columns)
    out = tmp_path / "out.h5"
    if existing:
        out.write_bytes(b"\x89HDF\r\n\x1a\nthe old file")
    command = [sys.executable, "-m", "numba_symexp", "expand", "in.h5", "out.h5"]
    command += ["--symmetry=C1000", "--chunk_rows=1000", "--overwrite"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    before = {"in.h5", "out.h5"} if existing else {"in.h5"}
    deadline = time.monotonic() + 60
    try:
        while process.poll() is None and set(os.listdir(tmp_path)) == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(number)
        _, shown = process.communicate(timeout=60)
    finally:
        process.kill()  # does nothing to a process that has ended
    assert process.returncode == code
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert set(os.listdir(tmp_path)) == before
    assert not existing or out.read_bytes() == b"\x89HDF\r\n\x1a\nthe old file"


@pytest.mark.slow
def test_a_terminal_sees_a_progress_bar_with_rows_per_second(source, tmp_path):
    terminal, stderr = pty.openpty()
    termios.tcsetwinsize(stderr, (24, 100))
    command = [sys.executable, "-m", "numba_symexp", "expand", source, str(tmp_path / "out.h5")]
    subprocess.run([*command, "--symmetry=C3"], stderr=stderr, check=True, capture_output=False)
    os.close(stderr)
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        pass
    os.close(terminal)
    assert b"150/150" in shown
    assert b"row/s" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    "streams", ["2>&-", ">&-", ">&- 2>&-", ">/dev/full", "2>/dev/full", "| true"]
)
def test_streams_do_not_decide_about_what_was_written(streams, source, tmp_path):
    words = "-m numba_symexp expand source.h5 out.h5 --symmetry=C2"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} {words} {streams}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "out.h5") as file:
        assert len(file["particles/uid"]) == 100


def test_control_characters_of_names_are_escaped(command):
    done = command("inspect", "a\x1b[31mb.h5")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert "a\\x1b[31mb.h5" in done.stderr


def test_help_as_a_word(command):
    assert command("help").stdout == command("--help").stdout
    assert command("help", "expand").stdout == command("expand", "--help").stdout


def test_flags_of_other_commands_are_named_as_flags(command, columns):
    del columns["alignments3D/psize_A"], columns["alignments3D/split"]
    write_table("in.h5", columns)
    shown = command("inspect", "in.h5").stdout
    assert "centers need --psize\n" in shown
    assert "consider --assign_halves=SEED\n" in shown
    assert command(*WORDS, "--quiet").returncode == 0
    assert "(see --again)" in command("inspect", WORDS[2]).stdout


@pytest.mark.parametrize(
    ("flag", "say"),
    [
        ("--sym=C2", "did you mean --symmetry?"),
        ("--angpix=1", "did you mean --psize?"),
        ("-i", "write SOURCE without a flag"),
        ("--o=x.h5", "write OUTPUT without a flag"),
    ],
)
def test_flags_of_other_programs_are_hinted(flag, say, command):
    done = command("expand", flag)
    assert done.returncode == 2
    assert f"({say})" in done.stderr
