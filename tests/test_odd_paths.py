"""Paths on a command line that are no files: pipes, devices, folders, and what the system makes up.

Whatever a verb reads, it never waits for a pipe, and says in one line what is wrong.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import main
from star_files import particles, star_text

pytestmark = pytest.mark.slow

READING = (
    ("inspect", "X"),
    ("inspect", "p.cs", "--passthrough=X"),
    ("inspect", "e.h5", "--source=X"),
    ("expand", "X", "o.h5", "--symmetry=C2"),
    ("expand", "p.cs", "o.h5", "--symmetry=C2", "--passthrough=X"),
    ("expand", "p.h5", "o.h5", "--operators_file=X"),
    ("expand", "p.h5", "o.h5", "--symmetry=C2", "--center=mask:X"),
    ("expand", "p.star", "o.star", "--symmetry=C2", "--recenter=coordinates", "--micrographs=X"),
    ("expand", "p.star", "o.star", "--symmetry=C2", "--optimisation_set=X"),
    ("operators", "--operators_file=X"),
    ("mapcheck", "X", "--symmetry=C2"),
    ("match", "X"),
    ("verify", "X"),
    ("verify", "e.h5", "--source=X"),
    ("collapse", "X", "o.h5"),
    ("collapse", "e.cs", "o.h5", "--expanded=X"),
    ("collapse", "e.cs", "o.h5", "--source=X"),
    ("arrange", "X"),
    ("arrange", "e.cs", "X", "--expanded=e.h5"),
    ("arrange", "e.cs", "--expanded=X"),
    ("arrange", "e.cs", "--source=X"),
    ("select", "X", "o.h5", "--half=1"),
    ("select", "e.h5", "o.star", "--half=1", "--source=X"),
    ("select", "r.h5", "o.h5", "--inside", "--micrographs=X", "--micrograph_px=9,9"),
    ("reorient", "X", "o.h5", "--flip"),
    ("reorient", "p.h5", "o.h5", "--matrix=X"),
    ("reorient", "p.cs", "o.cs", "--flip", "--passthrough=X"),
    ("transfer", "X", "p.h5", "o.h5"),
    ("transfer", "p.h5", "X", "o.h5"),
    ("transfer", "p.cs", "p.cs", "o.cs", "--passthrough=X"),
    ("transfer", "p.cs", "p.cs", "o.cs", "--source_passthrough=X"),
    ("import", "X", "o.h5"),
    ("import", "p.cs", "X", "o.h5"),
    ("export", "X", "o.star"),
    ("export", "e.h5", "o.star", "--source=X"),
    ("export", "p.star", "o.star", "--recenter=coordinates", "--micrographs=X"),
    ("plot", "X", "o.png"),
    ("plot", "e.h5", "o.png", "--source=X"),
)
"""All places of a path that is read, marked by X."""

ODD = ("pipe", "pipe.h5", "/proc/kmsg", "/dev/zero", "folder")

LONGEST_S = 30

ONE_BY_ONE = """
import contextlib, importlib, json, os, signal, sys
sys.path[:0] = sys.argv[1:2]
from inside import main
import numba_symexp
[getattr(numba_symexp, name) for name in numba_symexp.__all__]
for name in ("fire", "tqdm", "matplotlib", "mrcfile"):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
for words in json.load(sys.stdin):
    child = os.fork()
    if not child:
        signal.alarm(int(sys.argv[2]))
        for number in (1, 2):
            os.dup2(os.open(f"shown{number}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY), number)
        os._exit(main(words))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    told = [open(f"shown{number}").read() for number in (1, 2)]
    print(json.dumps([code, *told, os.listdir()]), flush=True)
"""
"""Run command lines from standard input, each in a fork that has loaded everything."""


def go(*words):
    assert main([*words, "--quiet"]) == 0, words


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """How every run ended: exit code, what it showed, and the files that there were then."""
    folder = tmp_path_factory.mktemp("odd")
    rng = np.random.default_rng(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_table(folder / "p.h5", random_columns(rng, 6))
        words = particles(rng, 6)
        words |= {f"rlnCoordinate{axis}": [f"{k}.5" for k in range(6)] for axis in "XY"}
        (folder / "p.star").write_text(star_text(words))
        go("export", "p.h5", "p.cs")
        go("expand", "p.h5", "e.h5", "--symmetry=D2")
        go("expand", "p.star", "r.h5", "--symmetry=D2")
        go("export", "e.h5", "e.cs")
    for name in ODD:
        if name.startswith("pipe"):
            os.mkfifo(folder / name)
    (folder / "folder").mkdir()
    files = {*os.listdir(folder), "shown1", "shown2"}
    runs = [[word.replace("X", odd) for word in form] for form in READING for odd in ODD]
    done = subprocess.run(
        [sys.executable, "-c", ONE_BY_ONE, Path(__file__).parent, str(LONGEST_S)],
        cwd=folder,
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        check=True,
    )
    told = map(json.loads, done.stdout.splitlines())
    return {
        tuple(words): (code, shown, error, set(there) == files)
        for words, (code, shown, error, there) in zip(runs, told, strict=True)
    }


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("form", READING, ids=" ".join)
def test_what_is_no_file_is_one_line(form, odd, ends):
    code, shown, error, nothing_new = ends[tuple(word.replace("X", odd) for word in form)]
    assert code in (1, 2), error
    if form[:2] == ("verify", "e.h5"):
        assert "does not pass every check" in shown
        return
    lines = [line for line in error.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1, error
    assert lines[0].startswith("error: ")
    assert "unexpected" not in error
    assert shown == ""
    assert nothing_new
