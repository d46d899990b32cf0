"""How functions are compiled, and by whom they are run: by Numba, or without importing it."""

import contextlib
import functools
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from numba_symexp.kernels.plain_numba import is_compiled
from numba_symexp.kernels.stored import LoadedKernel, Signature, Store, is_tried, signature_of
from numba_symexp.kernels.threads import share_of_threads

Function = TypeVar("Function", bound=Callable[..., Any])

_LARGE = 256 << 20
"""Bytes of arrays for which threads are worth an import of Numba at once."""

prange: Any = range
"""A loop whose turns threads may share; where a kernel is compiled, Numba's own takes its place."""


class Algebra:
    """Scalar algebra that kernels inline, compiled when a kernel is."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.py_func = function
        self.__doc__ = function.__doc__

    @cached_property
    def compiled(self) -> Any:
        """The function as Numba's compiler knows it."""
        from numba_symexp.kernels.compiling import inlined

        return inlined(self.py_func)

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks of a value that it meets in a kernel."""
        return self.compiled._numba_type_

    def __call__(self, *arguments: Any) -> Any:
        """Run it."""
        return self.compiled(*arguments)


class Kernel:
    """A function that is loaded from the cache, or compiled, when it is first called.

    At first its stored twin runs, which has one thread and needs no import of Numba. Numba takes
    over where arrays are large, and when kernels have run for long, so that threads and its faster
    calls are worth that import. All give the same bits.

    A parallel kernel has a serial twin for processes that cannot have threads: GNU OpenMP ends a
    process that was forked from one in which it runs, as soon as it starts threads there.
    """

    in_fork = False
    """Whether this process was forked from one whose threads had been started."""

    seconds_left = 0.3
    """How long stored kernels go on in this process: about as long as Numba takes to import."""

    _loading = threading.Lock()

    def __init__(self, function: Callable[..., Any], has_threads: bool) -> None:
        self.py_func = function
        self.__doc__ = function.__doc__
        self._has_threads = has_threads
        # Now: before the first call, a newer version may take the place of the sources.
        self._sources = source_digest(function.__code__.co_filename)
        self._store = Store(function, self._sources)
        self._stored: dict[Signature, LoadedKernel | None] = {}

    @cached_property
    def parallel(self) -> Callable[..., Any]:
        """The function of many threads."""
        from numba_symexp.kernels import compiling

        return compiling.parallel(self.py_func, self._sources)

    @cached_property
    def serial(self) -> Callable[..., Any]:
        """The function of one thread."""
        from numba_symexp.kernels import compiling

        return compiling.serial(self.py_func, self._sources)

    def __call__(self, *arguments: Any) -> Any:
        """Run it."""
        if Kernel.seconds_left > 0:
            stored = self._stored_for(arguments)
            if stored is not None:
                started = time.perf_counter()
                try:
                    return stored(arguments)
                finally:
                    Kernel.seconds_left -= time.perf_counter() - started
        if not self._has_threads or Kernel.in_fork:
            return self.serial(*arguments)
        with share_of_threads():
            return self.parallel(*arguments)

    def _stored_for(self, arguments: tuple[Any, ...]) -> LoadedKernel | None:
        """Give the stored twin for such arguments, which is compiled if need be."""
        signature = signature_of(arguments)
        if signature is None or (self._has_threads and _size(arguments) > _LARGE):
            return None
        if signature not in self._stored:
            with Kernel._loading:
                if signature not in self._stored:
                    self._stored[signature] = self._loaded(signature, arguments)
        return self._stored[signature]

    def _loaded(self, signature: Signature, arguments: tuple[Any, ...]) -> LoadedKernel | None:
        """Load the stored twin, or compile and store it; None where Numba has to do it."""
        if not is_tried():
            return None
        try:
            code = self._store.load(signature)
            if code is None:
                from numba_symexp.kernels.compiling import object_code

                code = object_code(self.py_func, signature, arguments)
                if code is None:
                    return None
                with contextlib.suppress(OSError):
                    self._store.save(signature, code)
            return LoadedKernel(code, signature)
        except Exception:  # whatever it is, Numba says it, or does without
            return None


def _size(arguments: tuple[Any, ...]) -> int:
    """Bytes of all arrays."""
    return sum(argument.nbytes for argument in arguments if type(argument) is np.ndarray)


def use_numba() -> None:
    """Leave stored kernels out from now on: for work that needs an import of Numba in any case."""
    Kernel.seconds_left = 0.0


def _after_fork() -> None:
    """Use serial kernels in a child of a process whose threads had been started."""
    Kernel._loading = threading.Lock()  # another thread of the parent may have held the old one
    if "numba" in sys.modules:
        pool = sys.modules.get("numba.np.ufunc.parallel")
        Kernel.in_fork |= bool(getattr(pool, "_is_initialized", True))


os.register_at_fork(after_in_child=_after_fork)


def algebra(function: Function) -> Function:
    """Compile scalar algebra that kernels inline."""
    return Algebra(function) if is_compiled() else function  # type: ignore[return-value]


def kernel(function: Function) -> Function:
    """Compile a parallel kernel, cached on disk."""
    return Kernel(function, has_threads=True) if is_compiled() else function  # type: ignore[return-value]


def serial_kernel(function: Function) -> Function:
    """Compile a kernel of one thread, cached on disk."""
    return Kernel(function, has_threads=False) if is_compiled() else function  # type: ignore[return-value]


@functools.cache
def source_digest(*further: str) -> str:
    """Digest of every source beside this one, all of which may be in a kernel, and of others."""
    digest = hashlib.sha256()
    for path in (*sorted(Path(__file__).parent.glob("*.py")), *map(Path, further)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
