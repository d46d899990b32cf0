"""Compiled kernels: without a place for the cache, with a full one, and never from a stale one."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numba
import numpy as np
import pytest
from conftest import HERE, compiled_only, stored_only
from inside import (
    UsageError,
    default_threads,
    jit,
    kernel_threads,
    most_threads,
    share_of_threads,
)

from numba_symexp import expand_poses, point_group

PACKAGE = HERE.parent / "numba_symexp"


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/nowhere"])
def test_a_cache_that_cannot_be_written_does_not_matter(place, program, source):
    result = program("expand", source, "out.h5", "--symmetry=C3", NUMBA_CACHE_DIR=place)
    assert (result.returncode, result.stderr) == (0, "")


BY_NUMBA = {"NUMBA_WARNINGS": "0"}
"""A setting that changes nothing, but that only Numba can obey."""

WAYS = pytest.mark.parametrize(
    ("settings", "endings"),
    [
        pytest.param({}, (".nbk",), marks=stored_only, id="stored"),
        pytest.param(BY_NUMBA, (".nbi", ".nbc"), id="by Numba"),
    ],
)
"""How kernels are run, and the endings of what is in the cache then."""


def written_by(program, source, folder, cache, settings):
    """Expand with the package in a folder and a cache; gives the poses' bytes, and the cache."""
    result = program(
        *("expand", source, "o.h5", "--symmetry=C3", "--overwrite"),
        NUMBA_CACHE_DIR=cache,
        PYTHONPATH=folder,
        **settings,
    )
    assert (result.returncode, result.stderr) == (0, "")
    with h5py.File(folder / "o.h5") as file:
        poses = file["particles/alignments3D/pose"][:].tobytes()
    files = [Path(at) / name for at, _, names in os.walk(cache) for name in names]
    return poses, {path.name: path.stat().st_mtime_ns for path in files}


@compiled_only
@WAYS
def test_kernels_are_cached_until_a_source_changes(tmp_path, program, source, settings, endings):
    shutil.copytree(PACKAGE, tmp_path / "numba_symexp")
    work = program, source, tmp_path, tmp_path / "cache", settings
    poses, made = written_by(*work)
    assert sum(name.endswith(endings[-1]) for name in made) == 3
    assert len(made) == 3 * len(endings)
    assert written_by(*work) == (poses, made)
    algebra = tmp_path / "numba_symexp" / "kernels" / "polynomials.py"
    algebra.write_text(algebra.read_text() + "\nSINC = tuple(1.01 * part for part in SINC)\n")
    changed, remade = written_by(*work)
    assert changed != poses
    assert remade.keys() == made.keys()
    assert all(remade[name] != made[name] for name in made)


CHANGED_BEFORE_THE_FIRST_CALL = """
import sys
from pathlib import Path
import numpy as np
from numba_symexp import expand_poses, point_group
if len(sys.argv) > 1:
    import numba_symexp.expansion.expander
    algebra = Path("numba_symexp/kernels/polynomials.py")
    algebra.write_text(algebra.read_text() + "\\nSINC = tuple(1.01 * part for part in SINC)\\n")
ones = np.ones((2, 3))
print(expand_poses(ones, ones[:, :2], point_group("C3"))[0].tobytes().hex())
"""


@compiled_only
@pytest.mark.slow
def test_sources_that_change_after_they_were_loaded_are_compiled_anew(tmp_path):
    """As when a new version is installed while the old one runs."""
    shutil.copytree(PACKAGE, tmp_path / "numba_symexp")
    poses = [
        subprocess.run(
            [sys.executable, "-c", CHANGED_BEFORE_THE_FIRST_CALL, *words],
            cwd=tmp_path,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / cache), "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for words, cache in ((["change"], "one"), ([], "one"), ([], "two"))
    ]
    assert poses[0] != poses[1] == poses[2]


DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "noise": lambda data: np.random.default_rng(1).bytes(len(data)),
    "one byte": lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
    "zeros": lambda data: bytes(len(data)),
}


@compiled_only
@pytest.mark.slow
@WAYS
def test_a_damaged_cache_is_compiled_anew(tmp_path, program, source, settings, endings):
    """Index or code of each kernel, in each way; and pipes, which have no end and are not read."""
    shutil.copytree(PACKAGE, tmp_path / "numba_symexp")
    whole, cache = tmp_path / "whole", tmp_path / "cache"
    work = program, source, tmp_path
    poses, _ = written_by(*work, whole, settings)
    kernels = sorted(path.with_suffix("") for path in whole.rglob(f"*{endings[0]}"))
    ways = itertools.cycle(itertools.product(endings, DAMAGES.items()))
    for _ in range(-(-len(DAMAGES) * len(endings) // len(kernels))):
        shutil.copytree(whole, cache)
        done = []
        for kernel, (ending, (name, damage)) in zip(kernels, ways, strict=False):
            (path,) = cache.rglob(f"{kernel.name}*{ending}")
            path.write_bytes(damage(path.read_bytes()))
            done.append((path.name, name))
        damaged = written_by(*work, cache, settings)
        assert damaged[0] == poses, done
        assert written_by(*work, cache, settings) == damaged, done
        shutil.rmtree(cache)
    shutil.copytree(whole, cache)
    for path in cache.rglob("*.nb?"):
        path.unlink()
        os.mkfifo(path)
    assert written_by(*work, cache, settings)[0] == poses


IN_FORKS = """
import concurrent.futures, multiprocessing, sys
import numpy as np
from numba_symexp import expand_poses, point_group
from numba_symexp.kernels.jit import Kernel
Kernel.seconds_left = float(sys.argv[1])

def poses(seed):
    rng = np.random.default_rng(seed)
    found = expand_poses(rng.normal(size=(40, 3)), rng.normal(size=(40, 2)), point_group("D3"))
    return found[0].tobytes() + found[1].tobytes()

if __name__ == "__main__":
    here = [poses(seed) for seed in range(4)]
    fork = multiprocessing.get_context("fork")
    with fork.Pool(2) as pool:
        assert pool.map(poses, range(4)) == here
    with concurrent.futures.ProcessPoolExecutor(2, fork) as pool:
        assert list(pool.map(poses, range(4))) == here
    print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["1000", "0"])
def test_forked_children_work_after_an_expansion(tmp_path, seconds):
    """Of a parent without threads, and of one with them."""
    (tmp_path / "forks.py").write_text(IN_FORKS)
    done = subprocess.run(
        [sys.executable, "forks.py", seconds],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@compiled_only
@pytest.mark.slow
def test_a_cache_that_cannot_be_saved_does_not_matter(tmp_path):
    """A full disk under the cache: the kernel is compiled, used, and not kept."""
    code = (
        "import numba.core.caching as c\n"
        "def full(*a): raise OSError(28, 'No space left on device')\n"
        "c.IndexDataCacheFile.save = full\n"
        "import numpy as np\n"
        "from numba_symexp import expand_poses, point_group\n"
        "print(len(expand_poses(np.ones((2, 3)), np.ones((2, 2)), point_group('C3'))[0]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.returncode) == ("6\n", 0), result.stderr


def threads_of_kernels():
    """How many threads Numba has where it runs a kernel."""
    with share_of_threads():
        return numba.get_num_threads()


def test_threads_within_what_the_process_may_use(monkeypatch):
    before = numba.get_num_threads()
    for threads, expected in ((1, 1), (2, 1), (most_threads(), max(1, most_threads() - 1))):
        if threads <= most_threads():
            with kernel_threads(threads) as kernel_share:
                assert threads_of_kernels() == kernel_share == expected
    with kernel_threads(None) as kernel_share:
        assert kernel_share == max(1, min(4, most_threads() - 1))
    assert threads_of_kernels() == numba.get_num_threads() == before
    with pytest.raises(UsageError, match="more than the"), kernel_threads(most_threads() + 1):
        pass
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert default_threads() == 1
    for share in ("", "0", "many", "100000"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", share)
        assert default_threads() == most_threads()


def test_results_do_not_depend_on_threads(rng, monkeypatch):
    monkeypatch.setattr(jit.Kernel, "seconds_left", 0.0)
    pose, shift = rng.normal(size=(300, 3)), rng.normal(size=(300, 2))
    results = set()
    for threads in range(1, most_threads() + 1):
        numba.set_num_threads(threads)
        found = expand_poses(pose, shift, point_group("O"))
        results.add(found[0].tobytes() + found[1].tobytes())
    assert len(results) == 1
    assert np.isfinite(found[0]).all()
