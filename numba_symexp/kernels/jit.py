"""How functions are compiled: cached where a folder can be written, never from a stale cache."""

import contextlib
import functools
import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from numba import config, njit, version_info
from numba.core.caching import IndexDataCacheFile

Function = TypeVar("Function", bound=Callable[..., Any])

_FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_DIGEST_BYTES = 32
_NEWEST_KNOWN = (0, 68)
"""Newest version of Numba in which stored kernels are known to need its run-time system alone.

Before it loads anything, Numba registers all that it can compile, which takes a quarter of a small
run. Machine code that calls nothing but arithmetic has no use for it, and whatever must be compiled
after all is registered by the compiler. In newer versions kernels are loaded in Numba's own way,
until somebody has run the tests, from a warm cache, and raises this number.
"""

algebra = njit(error_model="numpy", forceinline=True)
"""Compile scalar algebra that kernels inline. No fastmath anywhere: IEEE rounding is the same on
every processor, which keeps equal inputs at equal bytes."""


class Kernel:
    """A function that is loaded from the cache, or compiled, when it is first called.

    A parallel kernel has a serial twin for processes that cannot have threads: GNU OpenMP ends a
    process that was forked from one in which it runs, as soon as it starts threads there. The
    twin gives the same bits.
    """

    in_fork = False
    """Whether this process was forked from one whose threads had been started."""

    def __init__(self, function: Callable[..., Any], has_threads: bool) -> None:
        self.py_func = function
        self.__doc__ = function.__doc__
        self._has_threads = has_threads
        # Now: before the first call, a newer version may take the place of the sources.
        self._sources = source_digest(function.__code__.co_filename)

    @cached_property
    def parallel(self) -> Callable[..., Any]:
        """The function of many threads."""
        return _cached(self.py_func, self._sources, {**_FLAGS, "parallel": True})

    @cached_property
    def serial(self) -> Callable[..., Any]:
        """The function of one thread."""
        return _cached(self.py_func, self._sources, _FLAGS, twin="serial")

    def __call__(self, *arguments: Any) -> Any:
        """Run it."""
        has_threads = self._has_threads and not Kernel.in_fork
        return (self.parallel if has_threads else self.serial)(*arguments)


def _after_fork() -> None:
    """Use serial kernels in a child of a process whose threads had been started."""
    pool = sys.modules.get("numba.np.ufunc.parallel")
    Kernel.in_fork |= bool(getattr(pool, "_is_initialized", True))


os.register_at_fork(after_in_child=_after_fork)


def kernel(function: Function) -> Function:
    """Compile a parallel kernel, cached on disk."""
    return _compiled(function, has_threads=True)


def serial_kernel(function: Function) -> Function:
    """Compile a kernel of one thread, cached on disk."""
    return _compiled(function, has_threads=False)


def _compiled(function: Function, has_threads: bool) -> Function:
    """Make a kernel, but where compilation is switched off."""
    if getattr(config, "DISABLE_JIT", 0):
        return function
    return Kernel(function, has_threads)  # type: ignore[return-value]


def _cached(function: Function, sources: str, options: dict[str, Any], twin: str = "") -> Function:
    """Compile with a cache, when any cache folder is writable.

    Numba raises at import when none is; the kernel then compiles anew in each process.
    """
    try:
        compiled = njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)
    _harden_cache(compiled, sources, twin)
    return compiled


@functools.cache
def source_digest(*further: str) -> str:
    """Digest of every source beside this one, all of which may be in a kernel, and of others."""
    digest = hashlib.sha256()
    for path in (*sorted(Path(__file__).parent.glob("*.py")), *map(Path, further)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _CheckedFile(IndexDataCacheFile):
    """Numba's cache of one kernel, of which nothing is believed that its digest does not prove.

    A file that a power cut left empty, cut or full of noise counts as absent: the kernel is
    compiled, and the file is written again.
    """

    def _dump(self, obj: Any) -> bytes:
        data: bytes = super()._dump(obj)  # type: ignore[no-untyped-call]
        return hashlib.sha256(data).digest() + data

    def _read(self, path: str) -> Any:
        """Give what `_dump` made bytes of, or None."""
        try:
            if not os.path.isfile(path):  # nor a pipe or a device, which has no end
                return None
            data = Path(path).read_bytes()
            if hashlib.sha256(data[_DIGEST_BYTES:]).digest() != data[:_DIGEST_BYTES]:
                return None
            return pickle.loads(data[_DIGEST_BYTES:])
        except Exception:  # the cache may be anything: whatever is wrong means that it is absent
            return None

    def _load_index(self) -> dict[Any, str]:
        found = self._read(self._index_path)
        return found[2] if found and found[:2] == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        with self._open_for_write(self._index_path) as file:
            file.write(self._dump((self._version, self._source_stamp, overloads)))

    def _load_data(self, name: str) -> Any:
        return self._read(self._data_path(name))  # type: ignore[no-untyped-call]


def _harden_cache(compiled: Any, sources: str, twin: str) -> None:
    """Tie a kernel's cache to all its sources, and survive one that is damaged or cannot be saved.

    Numba looks only at the file that holds the kernel: after a change of the algebra, which lives
    in another file, it would go on running the old poses. A cache that fills up while it is
    written costs speed, not the run.
    """
    cache: Any = getattr(compiled, "_cache", None)
    if not hasattr(cache, "_cache_file"):
        return  # compilation is switched off, or Numba keeps its cache in another way
    cache._cache_file = _CheckedFile(  # type: ignore[no-untyped-call]
        cache_path=cache._cache_path,
        filename_base=cache._impl.filename_base + twin,
        source_stamp=sources,
    )
    load, save = _loading(cache), cache.save_overload

    def load_if_possible(signature: Any, context: Any) -> Any:
        try:
            return load(signature, context)
        except Exception:  # as above
            return None

    def save_if_possible(signature: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            save(signature, data)

    cache.load_overload = load_if_possible
    cache.save_overload = save_if_possible


def _loading(cache: Any) -> Callable[[Any, Any], Any]:
    """Give the function that loads kernels from a cache."""
    if version_info.short > _NEWEST_KNOWN:
        return cache.load_overload
    from numba.core.runtime.nrt import rtsys

    def load(signature: Any, context: Any) -> Any:
        rtsys.initialize(context)
        return cache._load_overload(signature, context)

    return load
