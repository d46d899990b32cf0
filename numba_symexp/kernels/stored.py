"""Kernels of one thread that were compiled before, run without Numba.

Importing Numba takes more time than a small run has work. What it compiled is stored as an object
file, beside Numba's own cache, and linked and called by LLVM alone. Nothing is believed that is not
proven: a file counts only when its digest is right, and when it was made from the same sources by
the same versions for the same processor and the same kinds of arguments. In all other cases the
kernel is compiled anew, or Numba runs it.
"""

import ctypes
import functools
import hashlib
import importlib.util
import json
import os
import re
import sys
import uuid
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numba_symexp.kernels.plain_numba import is_configured_plainly

Signature = tuple[Any, ...]
"""What arguments are: of an array dtype, dimensions and flags; of a number "int" or "float"; of a
tuple of floats its length."""

OLDEST_KNOWN, NEWEST_KNOWN = (0, 60), (0, 68)
"""Versions of Numba in which stored kernels were tried. In others Numba does all in its own way,
until somebody has run the tests, from a warm cache too, and changes these numbers."""

RUNTIME_SYMBOLS = {"NRT_MemInfo_alloc_aligned", "NRT_MemInfo_call_dtor"}
"""What a stored kernel may need of Numba's run-time system: memory."""
C_SYMBOLS = {"memcpy", "memmove", "memset"}
"""What it may need of the C library."""

DTYPES = {"|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8"}
C_ORDER, F_ORDER, ALIGNED, WRITEABLE = 0x1, 0x2, 0x100, 0x400
"""Flags of arrays, as NumPy numbers them."""
_MEANT = {
    ALIGNED | order | writeable: (C_ORDER if order & C_ORDER else order) | writeable
    for order in (0, C_ORDER, F_ORDER, C_ORDER | F_ORDER)
    for writeable in (0, WRITEABLE)
}
"""Flags of aligned arrays as Numba takes them: what is in both orders is in C order."""
_FLAGS = ALIGNED | C_ORDER | F_ORDER | WRITEABLE
_MOST_DIMENSIONS = 3
_INT64 = range(-(2**63), 2**63)

_OK, _OK_NONE = 0, -2
"""What a function that Numba compiled returns unless it raises."""
_DIGEST_BYTES = 32
_SUFFIX = ".nbk"


class ObjectCode(NamedTuple):
    """A compiled kernel.

    Attributes
    ----------
    symbol : str
        Its name in the object file.
    returned : int or None
        How many int64 the tuple has that it returns; None: it returns None.
    needs_runtime : bool
        Whether it needs `RUNTIME_SYMBOLS`.
    data : bytes
        The object file.
    """

    symbol: str
    returned: int | None
    needs_runtime: bool
    data: bytes


def signature_of(arguments: tuple[Any, ...]) -> Signature | None:
    """What arguments are, or None where stored kernels do not know it."""
    found: list[Any] = []
    for argument in arguments:
        kind = type(argument)
        if kind is np.ndarray:
            dtype, dimensions = argument.dtype.str, argument.ndim
            flags = _MEANT.get(argument.flags.num & _FLAGS)
            if flags is None or dtype not in DTYPES or not 1 <= dimensions <= _MOST_DIMENSIONS:
                return None
            found.append((dtype, dimensions, flags))
        elif kind is int and argument in _INT64:
            found.append("int")
        elif kind is float:
            found.append("float")
        elif kind is tuple and argument and all(type(part) is float for part in argument):
            found.append(len(argument))
        else:
            return None
    return tuple(found)


class LoadedKernel:
    """A kernel whose object code is linked, for arguments of one signature."""

    def __init__(self, code: ObjectCode, signature: Signature) -> None:
        import llvmlite.binding as llvm

        _start_llvm()
        if code.needs_runtime:
            _provide_runtime()
        # An engine for each kernel: object files may have helpers of the same name.
        machine = llvm.Target.from_default_triple().create_target_machine(
            codemodel="jitdefault", jit=True
        )
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code.data))
        self._engine.finalize_object()
        address = self._engine.get_function_address(code.symbol)
        if not address:
            raise RuntimeError(f"{code.symbol} is not in its object file")
        pointers = (ctypes.c_void_p, ctypes.c_void_p)
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *pointers, *_c_types(signature))
        self._function = prototype(address)
        self._returned = code.returned
        self._buffer = ctypes.c_int64 * (code.returned or 1)

    def __call__(self, arguments: tuple[Any, ...]) -> Any:
        """Run it, without Python's lock, on arguments of its signature.

        Raises
        ------
        MemoryError
            Memory cannot be had; nothing else is raised in a kernel.
        """
        words: list[Any] = []
        for argument in arguments:
            if type(argument) is np.ndarray:
                # no owner in Numba's run-time system, nor in Python
                words += (0, 0, argument.size, argument.itemsize, argument.ctypes.data)
                words += argument.shape
                words += argument.strides
            elif type(argument) is tuple:
                words += argument
            else:
                words.append(argument)
        returned, error = self._buffer(), ctypes.c_void_p()
        status = self._function(ctypes.byref(returned), ctypes.byref(error), *words)
        if status not in (_OK, _OK_NONE):
            raise MemoryError("a kernel cannot have the memory that it needs")
        return None if self._returned is None else tuple(returned)


def _c_types(signature: Signature) -> list[Any]:
    """Types of what a compiled function takes for arguments."""
    types: list[Any] = []
    for kind in signature:
        if kind == "int":
            types.append(ctypes.c_int64)
        elif kind == "float":
            types.append(ctypes.c_double)
        elif isinstance(kind, int):
            types += [ctypes.c_double] * kind
        else:
            types += [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
            types += [ctypes.c_void_p] + [ctypes.c_int64] * (2 * kind[1])
    return types


@functools.cache
def _start_llvm() -> None:
    """Prepare LLVM for the processor of this machine."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def _provide_runtime() -> None:
    """Make the memory of Numba's run-time system known to LLVM: the same as Numba itself does."""
    import llvmlite.binding as llvm

    name = "numba.core.runtime._nrt_python"
    module = sys.modules.get(name)
    if module is None:
        (path,) = (_numba_folder() / "core" / "runtime").glob("_nrt_python.*.so")
        loader = ExtensionFileLoader(name, str(path))
        spec = importlib.util.spec_from_loader(name, loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    helpers: dict[str, int] = module.c_helpers
    for symbol in RUNTIME_SYMBOLS:
        llvm.add_symbol(symbol, helpers[symbol.removeprefix("NRT_")])


def _numba_folder() -> Path:
    """Where Numba is installed; it is not imported for that."""
    spec = importlib.util.find_spec("numba")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@functools.cache
def numba_version() -> str:
    """Version of the compiler."""
    if "numba" not in sys.modules:
        text = (_numba_folder() / "_version.py").read_text(encoding="utf-8")
        if found := re.search(r'^ "version": "([^"+]+)"$', text, re.MULTILINE):
            return found[1]
    import numba

    return str(numba.__version__)


@functools.cache
def _machine() -> tuple[str, ...] | None:
    """What object code depends on beside its sources; None where stored kernels were not tried."""
    is_tried = sys.platform == "linux" and os.uname().machine == "x86_64"
    if not is_tried or sys.implementation.name != "cpython" or not is_configured_plainly():
        return None
    version = numba_version()
    if not OLDEST_KNOWN <= tuple(map(int, version.split(".")[:2])) <= NEWEST_KNOWN:
        return None
    import llvmlite
    import llvmlite.binding as llvm

    return (
        f"Python {sys.version}",
        f"numpy {np.__version__}",
        f"numba {version}",
        f"llvmlite {llvmlite.__version__}",
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )


def is_tried() -> bool:
    """Whether stored kernels were tried with such a machine and such versions."""
    try:
        return _machine() is not None
    except Exception:  # whatever it is, Numba knows what to do
        return False


class Store:
    """Where the object code of one kernel is kept.

    Parameters
    ----------
    function : function
        The kernel, as Python.
    sources : str
        Digest of all that it is compiled from.
    """

    def __init__(self, function: Callable[..., Any], sources: str) -> None:
        self._source = os.path.abspath(function.__code__.co_filename)
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._sources = sources

    def load(self, signature: Signature) -> ObjectCode | None:
        """Read object code, if it was stored, and by nothing else than this."""
        path = self._path(signature)
        try:
            if path is None or not os.path.isfile(path):  # nor a pipe, which has no end
                return None
            data = Path(path).read_bytes()
            digest, data = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
            if hashlib.sha256(data).digest() != digest:
                return None
            first, _, code = data.partition(b"\n")
            header = json.loads(first)
            if header.pop("key") != self._key(signature):
                return None
            return ObjectCode(**header, data=code)
        except Exception:  # the file may be anything: whatever is wrong means that it is absent
            return None

    def save(self, signature: Signature, code: ObjectCode) -> None:
        """Store object code.

        Raises
        ------
        OSError
            It cannot be written.
        """
        path = self._path(signature)
        if path is None:
            return
        header = code._asdict()
        del header["data"]
        header["key"] = self._key(signature)
        data = json.dumps(header).encode() + b"\n" + code.data
        draft = f"{path}.tmp.{uuid.uuid4().hex[:16]}"
        try:
            with open(draft, "xb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            os.replace(draft, path)
        finally:
            if os.path.exists(draft):
                os.unlink(draft)

    def _key(self, signature: Signature) -> list[str]:
        """All that object code depends on."""
        return [self._name, repr(signature), self._sources, *(_machine() or ())]

    def _path(self, signature: Signature) -> str | None:
        """Name of the file: another version takes the place of an older one."""
        folder = cache_folder(self._source)
        if folder is None:
            return None
        what = (repr(signature), sys.implementation.cache_tag, *(_machine() or ())[-2:])
        digest = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
        return os.path.join(folder, f"{self._name}-{digest}{_SUFFIX}")


@functools.cache
def cache_folder(source: str) -> str | None:
    """Folder for what is compiled from a source file: the one that Numba uses, if any."""
    above = os.path.dirname(source)
    name = f"{os.path.basename(above)}_{hashlib.sha1(above.encode()).hexdigest()}"
    users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    own = os.environ.get("NUMBA_CACHE_DIR")
    places = [os.path.join(own, name)] if own else []
    places += [os.path.join(above, "__pycache__"), os.path.join(users, "numba", name)]
    for place in places:
        try:
            os.makedirs(place, exist_ok=True)
        except OSError:
            continue
        if os.access(place, os.W_OK | os.X_OK):
            return place
    return None
