"""Compiled kernels: without a place for the cache, with a full one, and never from a stale one."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from inside import UsageError, default_threads, jit, kernel_threads, most_threads, poses

from numba_symexp import expand_poses, point_group

compiled_only = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="compilation is switched off"
)


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/nowhere"])
def test_a_cache_that_cannot_be_written_does_not_matter(place, program, source):
    result = program("expand", source, "out.h5", "--symmetry=C3", NUMBA_CACHE_DIR=place)
    assert (result.returncode, result.stderr) == (0, "")


@compiled_only
def test_kernels_are_cached(tmp_path, program, source):
    cache = tmp_path / "cache"
    for _ in range(2):
        result = program(
            "expand", source, "o.h5", "--symmetry=C3", "--overwrite", NUMBA_CACHE_DIR=cache
        )
        assert result.returncode == 0
        names = [name for _, _, files in os.walk(cache) for name in files]
        assert sum(name.endswith(".nbc") for name in names) == 3
        assert len(names) == 6


@compiled_only
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


@compiled_only
def test_the_cache_belongs_to_all_compiled_sources(monkeypatch):
    """Numba alone would not notice a change of the algebra, which lives in another file."""
    stamp = poses.expand_rotvec._cache._cache_file._source_stamp
    assert stamp == jit.source_digest(poses.__file__)
    assert {"poses.py", "quaternion.py", "polynomials.py"} <= set(jit._COMPILED_SOURCES)
    monkeypatch.setattr(jit, "_COMPILED_SOURCES", jit._COMPILED_SOURCES[:-1])
    assert stamp != jit.source_digest(poses.__file__)


def test_threads_within_what_the_process_may_use(monkeypatch):
    before = numba.get_num_threads()
    for threads, expected in ((1, 1), (2, 1), (most_threads(), max(1, most_threads() - 1))):
        if threads <= most_threads():
            with kernel_threads(threads) as kernel_share:
                assert numba.get_num_threads() == kernel_share == expected
    with kernel_threads(None) as kernel_share:
        assert kernel_share == max(1, min(4, most_threads() - 1))
    assert numba.get_num_threads() == before
    with pytest.raises(UsageError, match="more than the"), kernel_threads(most_threads() + 1):
        pass
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert default_threads() == 1
    for share in ("", "0", "many", "100000"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", share)
        assert default_threads() == most_threads()


def test_results_do_not_depend_on_threads(rng):
    pose, shift = rng.normal(size=(300, 3)), rng.normal(size=(300, 2))
    results = set()
    for threads in range(1, most_threads() + 1):
        numba.set_num_threads(threads)
        found = expand_poses(pose, shift, point_group("O"))
        results.add(found[0].tobytes() + found[1].tobytes())
    assert len(results) == 1
    assert np.isfinite(found[0]).all()
