"""Stored kernels, which run without Numba: the same bits, and nothing that is not proven."""

import functools
import os
import subprocess
import sys
from types import SimpleNamespace

import h5py
import numba
import numpy as np
import pytest
from conftest import HERE, compiled_only, random_columns, stored_only
from inside import (
    CODECS,
    coefficients,
    compiling,
    jit,
    kernels,
    plain_numba,
    stored,
    text,
    threads,
)

pytestmark = [compiled_only, stored_only]

EXPAND = """
import json, sys
from numba_symexp import expand
from numba_symexp.kernels import jit, plain_numba, stored
source, output, seconds, *names = sys.argv[1:]
jit.Kernel.seconds_left = float(seconds)
expand(source, output, symmetry="D3", overwrite=True)
print("numba" in sys.modules)
if "threads" in names:
    alone = plain_numba.numba_threads(), stored.numba_version()
    import numba
    assert alone == (numba.config.NUMBA_NUM_THREADS, numba.__version__), alone
if "then Numba's way" in names:
    jit.Kernel.seconds_left = 0.0
    expand(source, output, symmetry="D3", overwrite=True)
    print("numba" in sys.modules)
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """Tables of three formats; in the cache of kernels is all that an expansion of them needs."""
    folder = tmp_path_factory.mktemp("warm")
    columns = random_columns(np.random.default_rng(5), 200)
    columns["blob/idx"] = np.arange(200, dtype=np.uint32)
    with h5py.File(folder / "a.h5", "w") as file:
        for name, column in columns.items():
            file[f"particles/{name}"] = column
    run = functools.partial(expand_in, folder)
    for made in ("a.star", "a.cs"):
        subprocess.run(
            [sys.executable, "-m", "numba_symexp", "expand", "a.h5", made, "--symmetry=C1"],
            cwd=folder,
            env=environment(),
            check=True,
        )
    for suffix in ("h5", "star", "cs"):
        run(f"a.{suffix}", f"first.{suffix}")
    run("a.h5", "by_numba.h5", seconds=0)  # else a test with settings would compile for all others
    return SimpleNamespace(folder=folder, run=run)


def environment(**further):
    """No settings of Numba; kernels are in the cache that all tests share, once compiled."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    cache = {name: os.environ[name] for name in ["NUMBA_CACHE_DIR"] if name in os.environ}
    return {**plain, **cache, "PYTHONPATH": str(HERE.parent), **further}


def expand_in(folder, source, output, *names, seconds=1000, **settings):
    """Expand in a process of its own; says whether that has imported Numba, at each step."""
    command = [sys.executable, "-c", EXPAND, source, output, str(seconds), *names]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def contents(path):
    """What a table says, without when it was made."""
    if path.suffix != ".h5":
        return path.read_bytes()
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()].tobytes()}) if hasattr(item, "dtype") else None
            )
        )
    assert len(found) > 5
    return found


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["h5", "star", "cs"])
def test_a_small_run_does_not_import_numba_and_gives_the_same_bytes(warm, suffix):
    source = f"a.{suffix}"
    assert warm.run(source, f"without.{suffix}") == ["False"]
    assert warm.run(source, f"with.{suffix}", seconds=0) == ["True"]
    assert warm.run(source, f"both.{suffix}", "then Numba's way") == ["False", "True"]
    first, *others = (
        contents(warm.folder / f"{name}.{suffix}") for name in ("first", "without", "with", "both")
    )
    assert others == [first] * 3


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_DISABLE_JIT"])
def test_settings_of_numba_are_obeyed(warm, setting):
    assert warm.run("a.h5", "set.h5", **{setting: "1"}) == ["True"]
    assert contents(warm.folder / "set.h5") == contents(warm.folder / "first.h5")


@pytest.mark.slow
def test_a_file_of_settings_is_obeyed(warm, tmp_path):
    (tmp_path / ".numba_config.yaml").write_text("opt: 1\n")
    assert expand_in(tmp_path, warm.folder / "a.h5", "o.h5") == ["True"]


@pytest.mark.slow
@pytest.mark.parametrize("given", [None, "1", "3", "many"])
def test_threads_and_version_are_known_without_numba(warm, given):
    settings = {} if given is None else {"NUMBA_NUM_THREADS": given}
    imported = warm.run("a.h5", "threads.h5", "threads", **settings)
    assert imported == [str(given == "many")]


@pytest.mark.slow
def test_a_small_run_imports_numba_where_versions_are_not_known(warm):
    code = f"import numba_symexp.kernels.stored as s; s.NEWEST_KNOWN = (0, 0)\n{EXPAND}"
    done = subprocess.run(
        [sys.executable, "-c", code, "a.h5", "unknown.h5", "1000"],
        cwd=warm.folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


COUNT, ORDER = 333, 7


def calls(rng, dtype):
    """Arguments of every kernel of poses, by its name; the last is filled."""
    planes = rng.normal(size=(4, 384))
    planes /= np.linalg.norm(planes, axis=0)
    operators = np.ascontiguousarray(planes[:, :ORDER])
    points, psize = rng.normal(size=(3, ORDER)), rng.uniform(1, 2, COUNT).astype(dtype)
    made = {}
    for name, codec in CODECS.items():
        width = int(np.prod(codec.shape))
        pose, out = rng.normal(size=COUNT * width).astype(dtype), rows(width, dtype)
        made[f"decode_{name}"] = pose, COUNT, np.zeros_like(planes)
        made[f"expand_{name}"] = planes, operators, coefficients(out.dtype), COUNT, out
    for width, ending in ((2, ""), (3, "_xyz")):
        shift = rng.normal(size=COUNT * width).astype(dtype)
        out = rows(width, dtype)
        made[f"expand_shift{ending}"] = planes, points, shift, psize, COUNT, out
        made[f"repeat_shift{ending}"] = shift, ORDER, COUNT, out
    made["expand_depth"] = planes, points, COUNT, rows(1, dtype)
    return made


def rows(width, dtype):
    """Room for what all copies get."""
    return np.zeros(COUNT * ORDER * width, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stored_kernels_and_numbas_give_the_same_bits(rng, monkeypatch, dtype):
    monkeypatch.setattr(jit.Kernel, "seconds_left", 1000.0)
    made = calls(rng, dtype)
    assert made.keys() == {name for name, it in vars(kernels).items() if type(it) is jit.Kernel}
    for name, (*arguments, out) in made.items():
        kernel = getattr(kernels, name)
        found = []
        for run in (kernel, kernel.serial, kernel.parallel):
            run(*arguments, out)
            found.append(out.tobytes())
            assert out.any(), name
            out[:] = 0
        assert found[0] == found[1] == found[2], name
        signature = stored.signature_of((*arguments, out))
        assert isinstance(kernel._stored[signature], stored.LoadedKernel), name


LINES = np.frombuffer(b"1 -2.5e3 x\n4 5 'a b' # six\n\n", np.uint8)


def cut(run):
    """Words of a few lines by one way of running a kernel."""
    starts, lengths = np.zeros((2, 5, 4), np.int64)
    return run(LINES, 0, 3, starts, lengths), starts.tobytes(), lengths.tobytes()


def test_what_a_stored_kernel_returns(monkeypatch):
    monkeypatch.setattr(jit.Kernel, "seconds_left", 1000.0)
    by_store, by_numba = cut(text.cut_lines), cut(text.cut_lines.serial)
    assert by_store == by_numba
    assert by_store[0][0] == 2
    assert [type(part) for part in by_store[0]] == [int] * 4
    (run,) = text.cut_lines._stored.values()
    assert isinstance(run, stored.LoadedKernel)


def arrays():
    """Arrays that differ in what a signature has to say."""
    plain = np.zeros((4, 3))
    fixed = plain.copy()
    fixed.flags.writeable = False
    found = [plain, fixed, plain.T, plain[:, 1:], plain[0], plain[:, :1], plain[:0]]
    found += [np.zeros(3, dtype) for dtype in sorted(stored.DTYPES)]
    return [*found, np.zeros((2, 2, 2)), np.zeros((3, 1)), np.zeros((0, 3)).T]


@pytest.mark.parametrize(
    "argument", [*arrays(), 0, -(2**63), 2**63 - 1, 0.5, float("nan"), (1.0, 2.0), (1.0,)]
)
def test_signatures_say_what_numba_says(argument):
    (kind,) = stored.signature_of((argument,))
    assert compiling._type_of(kind) == numba.typeof(argument)


def test_signatures_differ_where_numbas_types_differ():
    for one in arrays():
        for other in arrays():
            same = stored.signature_of((one,)) == stored.signature_of((other,))
            assert same == (numba.typeof(one) == numba.typeof(other))


@pytest.mark.parametrize(
    "argument",
    [
        *(True, None, "word", 2**63, -(2**63) - 1, np.int64(1), np.float64(1), np.bool_(True)),
        *((), (1, 2), (1.0, 2), [1.0], np.array(1.0), np.zeros((1, 1, 1, 1))),
        *(np.zeros(2, ">f8"), np.zeros(2, "S3"), np.zeros(2, "f4,f8"), np.zeros(2, "M8[s]")),
        *(np.zeros(2, np.float16), np.zeros(2, complex), np.zeros(2, object)),
        *(
            np.zeros(17, np.uint8)[1:].view(np.float64),
            np.ma.zeros(2),
            np.zeros(2).view(np.recarray),
        ),
    ],
)
def test_other_arguments_are_left_to_numba(argument):
    assert stored.signature_of((np.zeros(2), argument)) is None


@pytest.fixture
def store(monkeypatch, tmp_path):
    """A store with one kernel in it: the kernel's, the signature and the code."""
    monkeypatch.setattr(stored, "cache_folder", lambda source: str(tmp_path))
    arguments = np.zeros((3, 8), np.uint8), np.zeros(3, np.uint64)
    signature = stored.signature_of(arguments)
    function = text.hash_words.py_func
    code = compiling.object_code(function, signature, arguments)
    one = jit.Store(function, "digest")
    one.save(signature, code)
    (path,) = tmp_path.iterdir()
    return SimpleNamespace(
        store=one, signature=signature, code=code, path=path, function=function, folder=tmp_path
    )


def test_what_is_stored_is_found_again_and_runs(store, rng):
    code = store.store.load(store.signature)
    assert code == store.code
    words = rng.integers(0, 255, (3, 8), np.uint8)
    by_store, by_numba = np.zeros((2, 3), np.uint64)
    assert stored.LoadedKernel(code, store.signature)((words, by_store)) is None
    text.hash_words.serial(words, by_numba)
    assert by_store.tolist() == by_numba.tolist() != [0, 0, 0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
        lambda data: bytes(len(data)),
        lambda data: data + b"\0",
    ],
)
def test_a_damaged_file_is_not_believed(store, damage):
    store.path.write_bytes(damage(store.path.read_bytes()))
    assert store.store.load(store.signature) is None
    store.store.save(store.signature, store.code)
    assert store.store.load(store.signature) == store.code
    assert list(store.folder.iterdir()) == [store.path]


def test_a_pipe_and_a_folder_are_not_read(store):
    store.path.unlink()
    os.mkfifo(store.path)
    assert store.store.load(store.signature) is None
    store.path.unlink()
    store.path.mkdir()
    assert store.store.load(store.signature) is None


@pytest.mark.parametrize("part", range(7))
def test_code_of_another_machine_or_version_is_not_used(store, monkeypatch, part):
    """Also where a file has the right name."""
    here = stored._machine()
    assert len(here) == 7
    other = [*here]
    other[part] += " or another"
    monkeypatch.setattr(stored, "_machine", lambda: tuple(other))
    path = store.store._path(store.signature)
    store.path.rename(path)
    assert store.store.load(store.signature) is None


def test_code_of_other_sources_or_arguments_is_not_used(store):
    assert jit.Store(store.function, "another").load(store.signature) is None
    arguments = np.zeros((3, 8), np.uint8).T, np.zeros(3, np.uint64)
    signature = stored.signature_of(arguments)
    store.path.rename(store.store._path(signature))
    assert store.store.load(signature) is None


def test_what_needs_more_than_memory_is_left_to_numba():
    """A sine is the C library's: it is not linked without Numba."""

    def sine(values):
        for k in range(len(values)):
            values[k] = np.sin(values[k])

    def second(values):
        return values[1]

    def nothing(values):
        values[0] = 1.0

    arguments = (np.ones(3),)
    signature = stored.signature_of(arguments)
    made = [compiling.object_code(each, signature, arguments) for each in (sine, second, nothing)]
    assert made[:2] == [None, None]
    assert made[2].returned is None
    assert not made[2].needs_runtime


def test_memory_that_cannot_be_had_is_an_error(store):
    run = stored.LoadedKernel(store.code, store.signature)
    run._function = lambda *words: 1
    with pytest.raises(MemoryError):
        run((np.zeros((3, 8), np.uint8), np.zeros(3, np.uint64)))


@pytest.fixture
def counted(monkeypatch):
    """A kernel that says who ran it, and how many threads Numba may use."""

    def nothing(values):
        values[0] += 1.0

    def kernel(has_threads):
        made = jit.Kernel(nothing, has_threads)
        vars(made).update(
            parallel=lambda values: f"{numba.get_num_threads()} threads",
            serial=lambda values: "serial",
        )
        monkeypatch.setattr(made._store, "save", lambda *words: None)
        return made

    monkeypatch.setattr(jit.Kernel, "seconds_left", 1000.0)
    return kernel


@pytest.mark.parametrize("has_threads", [False, True])
def test_numba_takes_over_when_stored_kernels_have_run_for_long(counted, monkeypatch, has_threads):
    kernel, values = counted(has_threads), np.zeros(1)
    assert kernel(values) is None
    assert values[0] == 1.0
    assert 0.0 < jit.Kernel.seconds_left < 1000.0
    monkeypatch.setattr(jit.Kernel, "seconds_left", 0.0)
    most = numba.get_num_threads()
    assert kernel(values) == (f"{most} threads" if has_threads else "serial")
    with threads.limited_threads(1):
        assert kernel(values) == ("1 threads" if has_threads else "serial")
    assert numba.get_num_threads() == most
    monkeypatch.setattr(jit.Kernel, "in_fork", True)
    assert kernel(values) == "serial"


def test_threads_take_large_arrays_at_once(counted, monkeypatch):
    monkeypatch.setattr(jit, "_LARGE", 800)
    for size, by_numba in ((100, False), (101, True)):
        assert (counted(True)(np.zeros(size)) is not None) == by_numba
        assert counted(False)(np.zeros(size)) is None


def test_no_setting_is_overlooked(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("NUMBA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "here")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    monkeypatch.setenv("NUMBA_SYMEXP_REAL_DATA", "somewhere")
    assert plain_numba.is_configured_plainly()
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert not plain_numba.is_configured_plainly()


def test_the_cache_is_numbas_folder(monkeypatch, tmp_path):
    """Its own choice, when no folder can be written, and when the user names one."""
    place = stored.cache_folder.__wrapped__
    source = tmp_path / "package" / "a.py"
    source.parent.mkdir()
    source.write_text("def f(x):\n    return x\n")
    spaces = {}
    exec(compile(source.read_text(), source, "exec"), spaces)
    for settings in ({}, {"NUMBA_CACHE_DIR": str(tmp_path / "named")}):
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
            numba.core.config.reload_config()
        compiled = numba.njit(cache=True)(spaces["f"])
        assert place(str(source)) == compiled._cache._cache_path
    monkeypatch.setattr(os, "makedirs", lambda *words, **settings: os.stat("/nowhere/at all"))
    assert place(str(source)) is None
