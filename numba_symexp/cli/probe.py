"""Look at an HDF5 file in a process that may crash, before this one opens it.

HDF5 reads some damaged files, above all the heap of their texts, until it crashes or for ever; no
exception tells. The structure of a file that is whole is read in a fraction of a second. The source
of an expanded table is a file that will be read as well.
"""

import contextlib
import os
import select
import signal
import time
from typing import NoReturn

from numba_symexp import interrupts
from numba_symexp.errors import SourceError, SymexpError
from numba_symexp.files import first_bytes, is_data_file
from numba_symexp.kinds import HDF5
from numba_symexp.particles.schema import FORMAT

PATIENCE_S = 15.0
_WAIT_S = 0.05
_MOST_TOLD_BYTES = 1 << 16
"""A pipe holds so much without waiting; a path has 4096 bytes at most."""


def probe(*paths: str | None, sources: bool = True) -> None:
    """Refuse HDF5 files on whose structure HDF5 itself crashes, or never ends.

    Parameters
    ----------
    *paths : str or None
        Files that will be read; None stands for one that was not given.
    sources : bool
        The sources of expanded tables will be read too.

    Raises
    ------
    SourceError
        Names the file. Whatever else is wrong is left to those who read it.
    """
    found: dict[str, None] = {}
    for path in paths:
        if path is not None and _is_hdf5(path):
            found |= dict.fromkeys(_probe(path, sources))
    for path in found:
        _probe(path, False)


def _is_hdf5(path: str) -> bool:
    """Whether a file may be read, and begins as HDF5 files do."""
    return os.path.isfile(path) and HDF5.is_this(first_bytes(path))


def _probe(path: str, sources: bool) -> list[str]:
    """Read a structure in a fork of this process, which has no threads yet.

    Returns
    -------
    list of str
        HDF5 files that may be the source of an expanded table, where they are asked for.
    """
    # h5py is loaded once, for the child too.
    import numba_symexp.formats.hdf5.table  # noqa: F401

    end, childs_end = os.pipe()
    try:
        child = os.fork()
    except OSError:  # no process may be had any more: HDF5 mostly gets on without
        os.close(end)
        os.close(childs_end)
        return []
    if not child:
        _read_and_leave(path, sources, childs_end)
    os.close(childs_end)
    deadline = time.monotonic() + PATIENCE_S
    told = b""
    try:
        while True:
            if select.select([end], [], [], _WAIT_S)[0]:  # until its end of the pipe is closed
                told += os.read(end, _MOST_TOLD_BYTES)
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
        told += os.read(end, _MOST_TOLD_BYTES)
    finally:
        os.close(end)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise SourceError(f"{path}: HDF5 crashes when it reads it: it is damaged; copy it again")
    return [os.fsdecode(each) for each in told.split(b"\0") if each]


def _read_and_leave(path: str, sources: bool, end: int) -> NoReturn:
    """Read the structure in the child; a crash is all that it tells, and the names of sources."""
    with contextlib.suppress(BaseException):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        read_structure(path)
        if sources:
            os.write(end, b"\0".join(map(os.fsencode, sources_of(path))))
    os._exit(0)


def read_structure(path: str) -> None:
    """Read what opening reads, and the attributes of every column."""
    from numba_symexp.formats.hdf5.table import Hdf5Table  # other formats do without h5py

    with contextlib.suppress(SymexpError), Hdf5Table(path) as table:
        for name in table.columns:
            table.column_attributes(name)


def sources_of(path: str) -> list[str]:
    """HDF5 files that may be the source of an expanded table; none of another table."""
    from numba_symexp.expanded.table import open_expanded
    from numba_symexp.formats.hdf5.table import Hdf5Table

    with Hdf5Table(path) as table:
        if not table.says("format", FORMAT):
            return []
    with open_expanded(path) as expanded:
        different = {os.path.realpath(each): each for each in expanded.files[1:]}
    return [each for each in different.values() if is_data_file(each) and _is_hdf5(each)]
