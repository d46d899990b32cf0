"""Numba's own way to compile kernels, cached where a folder can be written; imports Numba."""

import contextlib
import hashlib
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import njit, version_info
from numba.core import compiler
from numba.core.caching import IndexDataCacheFile
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]
from numba.core.registry import cpu_target

from numba_symexp.kernels import stored
from numba_symexp.kernels.stored import ObjectCode, Signature

types: Any = numba.types
_typeof: Any = numba.typeof

_FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_DIGEST_BYTES = 32


def inlined(function: Callable[..., Any]) -> Any:
    """Compile scalar algebra that kernels inline.

    No fastmath anywhere: IEEE rounding is the same on every processor, which keeps equal inputs at
    equal bytes.
    """
    return njit(error_model="numpy", forceinline=True)(function)


def parallel(function: Callable[..., Any], sources: str) -> Any:
    """Compile for many threads."""
    return _cached(function, sources, {**_FLAGS, "parallel": True})


def serial(function: Callable[..., Any], sources: str) -> Any:
    """Compile for one thread."""
    return _cached(function, sources, _FLAGS, twin="serial")


def _cached(
    function: Callable[..., Any], sources: str, options: dict[str, Any], twin: str = ""
) -> Any:
    """Compile with a cache, when any cache folder is writable.

    Numba raises at import when none is; the kernel then compiles anew in each process.
    """
    _make_ranges_parallel(function)
    try:
        compiled = njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)
    _harden_cache(compiled, sources, twin)
    return compiled


def _make_ranges_parallel(function: Callable[..., Any]) -> None:
    """Let ``prange`` be Numba's where a function is defined."""
    if "prange" in function.__globals__:
        function.__globals__["prange"] = numba.prange


class _NativeCompiler(_FunctionCompiler):  # type: ignore[misc]
    """Compiles a function without the wrappers by which Python and C call it."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = True
        flags.no_cfunc_wrapper = True
        return flags


def object_code(
    function: Callable[..., Any], signature: Signature, arguments: tuple[Any, ...]
) -> ObjectCode | None:
    """Compile for one thread, to object code that runs without Numba; None where it cannot."""
    kinds = tuple(_typeof(argument) for argument in arguments)
    if kinds != tuple(_type_of(kind) for kind in signature):
        return None
    _make_ranges_parallel(function)
    options = {"nopython": True, **_FLAGS}
    native = _NativeCompiler(function, cpu_target, options, {}, compiler.Compiler)
    with global_compiler_lock:
        result = native.compile(kinds, None)
        data: bytes = result.library._get_compiled_object()
    returned = _returned(result.signature.return_type)
    needed = undefined_symbols(data)
    if returned == 0 or not needed <= stored.RUNTIME_SYMBOLS | stored.C_SYMBOLS:
        return None
    needs_runtime = not needed.isdisjoint(stored.RUNTIME_SYMBOLS)
    return ObjectCode(result.fndesc.llvm_func_name, returned, needs_runtime, data)


def _type_of(kind: Any) -> Any:
    """Type that Numba has for one part of a signature."""
    if kind == "int":
        return types.int64
    if kind == "float":
        return types.float64
    if isinstance(kind, int):
        return types.UniTuple(types.float64, kind)
    dtype, dimensions, flags = kind
    layout = "C" if flags & stored.C_ORDER else "F" if flags & stored.F_ORDER else "A"
    return types.Array(
        numba.from_dtype(np.dtype(dtype)),
        dimensions,
        layout,
        readonly=not flags & stored.WRITEABLE,
    )


def _returned(kind: Any) -> int | None:
    """Entries of a tuple of int64; None for None, and 0 for what stored kernels cannot return."""
    if kind == types.none:
        return None
    is_tuple = isinstance(kind, types.UniTuple) and kind.dtype == types.int64
    return len(kind) if is_tuple else 0


_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_ELF_SECTION = struct.Struct("<IIQQQQIIQQ")
_ELF_SYMBOL = struct.Struct("<IBBHQQ")
_SYMBOL_TABLE = 2


def undefined_symbols(data: bytes) -> set[str]:
    """Names that an object file (ELF, 64 bits, little endian) needs from elsewhere."""
    header = _ELF_HEADER.unpack_from(data)
    if header[0][:6] != b"\x7fELF\x02\x01":
        raise ValueError("not an object file of this platform")
    sections = [
        _ELF_SECTION.unpack_from(data, header[6] + number * header[11])
        for number in range(header[12])
    ]
    return {
        name
        for section in sections
        if section[1] == _SYMBOL_TABLE
        for name in _undefined(data, section, sections[section[6]])
    }


def _undefined(data: bytes, table: tuple[Any, ...], names: tuple[Any, ...]) -> Iterator[str]:
    """Names of a symbol table that belong to no section; the first entry has no name."""
    for at in range(table[4] + _ELF_SYMBOL.size, table[4] + table[5], _ELF_SYMBOL.size):
        name, _, _, section, _, _ = _ELF_SYMBOL.unpack_from(data, at)
        if section == 0:
            start = names[4] + name
            yield data[start : data.index(b"\0", start)].decode()


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
    """Give the function that loads kernels from a cache.

    Before it loads anything, Numba registers all that it can compile, which takes a quarter of a
    second. Machine code that calls nothing but arithmetic has no use for it, and whatever must be
    compiled after all is registered by the compiler.
    """
    if version_info.short > stored.NEWEST_KNOWN:
        return cache.load_overload
    from numba.core.runtime.nrt import rtsys

    def load(signature: Any, context: Any) -> Any:
        rtsys.initialize(context)
        return cache._load_overload(signature, context)

    return load
