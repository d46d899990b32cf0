"""Look at an HDF5 file in a process that may crash, before this one opens it.

HDF5 reads some damaged files, above all the heap of their texts, until it crashes or for ever; no
exception tells. The structure of a file that is whole is read in a fraction of a second.
"""

import contextlib
import os
import select
import signal
import time
from typing import NoReturn

from numba_symexp import interrupts
from numba_symexp.errors import SourceError, SymexpError
from numba_symexp.files import first_bytes
from numba_symexp.kinds import HDF5

PATIENCE_S = 15.0
_WAIT_S = 0.05


def probe(*paths: str | None) -> None:
    """Refuse HDF5 files on whose structure HDF5 itself crashes, or never ends.

    Raises
    ------
    SourceError
        Names the file. Whatever else is wrong is left to those who read it.
    """
    for path in paths:
        if path is not None and os.path.isfile(path) and HDF5.is_this(first_bytes(path)):
            _probe(path)


def _probe(path: str) -> None:
    """Read a structure in a fork of this process, which has no threads yet."""
    # h5py is loaded once, for the child too.
    import numba_symexp.formats.hdf5.table  # noqa: F401

    end, childs_end = os.pipe()
    child = os.fork()
    if not child:
        _read_and_leave(path)
    os.close(childs_end)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while True:
            select.select([end], [], [], _WAIT_S)  # until the child is gone, and its end with it
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                child = 0
                break
            if time.monotonic() > deadline:
                raise SourceError(
                    f"{path}: HDF5 did not read its structure in {PATIENCE_S:g} s: it is damaged, "
                    "or its file system hangs; copy it again"
                )
            interrupts.check()
    finally:
        os.close(end)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise SourceError(f"{path}: HDF5 crashes when it reads it: it is damaged; copy it again")


def _read_and_leave(path: str) -> NoReturn:
    """Read the structure in the child; a crash is the one thing that it tells."""
    with contextlib.suppress(BaseException):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        read_structure(path)
    os._exit(0)


def read_structure(path: str) -> None:
    """Read what opening reads, and the attributes of every column."""
    from numba_symexp.formats.hdf5.table import Hdf5Table  # other formats do without h5py

    with contextlib.suppress(SymexpError), Hdf5Table(path) as table:
        for name in table.columns:
            table.column_attributes(name)
