"""How functions are compiled: cached where a folder can be written, never from a stale cache."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

_COMPILED_SOURCES = (
    "blocks.py",
    "jit.py",
    "poses.py",
    "polynomials.py",
    "quaternion.py",
    "text.py",
)

algebra = njit(error_model="numpy", forceinline=True)
"""Compile scalar algebra that kernels inline. No fastmath anywhere: IEEE rounding is the same on
every processor, which keeps equal inputs at equal bytes."""


def kernel(function: Function) -> Function:
    """Compile a parallel kernel, cached on disk."""
    return _cached(function, {"parallel": True, "nogil": True, "error_model": "numpy"})


def serial_kernel(function: Function) -> Function:
    """Compile a kernel of one thread, cached on disk."""
    return _cached(function, {"nogil": True, "error_model": "numpy"})


def _cached(function: Function, options: dict[str, Any]) -> Function:
    """Compile with a cache, when any cache folder is writable.

    Numba raises at import when none is; the kernel then compiles anew in each process.
    """
    try:
        compiled = njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)
    _harden_cache(compiled)
    return compiled


def source_digest(*further: str) -> str:
    """Digest of every source that ends up inside kernels, and of further files."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in (*(folder / name for name in _COMPILED_SOURCES), *map(Path, further)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _harden_cache(compiled: Any) -> None:
    """Tie a kernel's cache to all its sources, and survive a cache that cannot be saved.

    Numba looks only at the file that holds the kernel: after a change of the algebra, which lives
    in another file, it would go on running the old poses. A cache that fills up while it is
    written costs speed, not the run.
    """
    cache: Any = getattr(compiled, "_cache", None)
    if not hasattr(getattr(cache, "_cache_file", None), "_source_stamp"):
        return  # compilation is switched off, or Numba keeps its cache in another way
    cache._cache_file._source_stamp = source_digest(compiled.py_func.__code__.co_filename)
    save = cache.save_overload

    def save_if_possible(signature: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            save(signature, data)

    cache.save_overload = save_if_possible
