"""File formats of particle tables, and the one place that knows all of them."""

import contextlib
import os
from collections.abc import Sequence

from numba_symexp.errors import SourceError, UsageError, warn
from numba_symexp.files import check_readable, first_bytes, reading
from numba_symexp.formats.cryosparc import CryosparcDataset, CryosparcResultGroup
from numba_symexp.formats.dynamo import DynamoTbl
from numba_symexp.formats.hdf5 import Hdf5
from numba_symexp.formats.interface import Format, describe_other, other_kind
from numba_symexp.formats.relion import RelionStar
from numba_symexp.kinds import CSG, HDF5, other_suffix
from numba_symexp.particles.table import ParticleTable

FORMATS: tuple[Format, ...] = (
    *(Hdf5(), CryosparcDataset(), RelionStar(), DynamoTbl(), CryosparcResultGroup()),
)
"""The first one that recognizes a file opens it."""


def format_of(path: str) -> Format:
    """Find the format of a file: by its first bytes, else by its suffix.

    Raises
    ------
    SourceError
        The file is missing, or of no known format.
    """
    check_readable(path, "the particle table")
    start = first_bytes(path)
    known = next((each for each in FORMATS if each.kind.is_this(start)), None)
    if known is None and other_kind(start) is None:
        known = format_of_suffix(path)
    if known is None:
        raise SourceError(f"{path}: not a particle table: {describe_other(path)}")
    return known


def format_of_suffix(path: str) -> Format | None:
    """Find the format that files with this suffix have, or None."""
    suffix = os.path.splitext(path)[1].lower()
    return next((each for each in FORMATS if suffix in each.kind.suffixes), None)


def format_of_output(output: str) -> Format:
    """Find the format that an output is written in: its suffix decides, and any other is HDF5.

    Raises
    ------
    UsageError
        The suffix is that of a kind of file in which no particles are written.
    """
    known = format_of_suffix(output)
    if known is not None and known.written:
        return known
    suffix = other_suffix(output, HDF5)
    if suffix in CSG.suffixes:
        raise UsageError(
            f"{output}: ends in {suffix}, which is written beside a dataset: name the output "
            f"{os.path.splitext(output)[0]}.cs"
        )
    if suffix is not None:
        raise UsageError(
            f"{output}: ends in {suffix}, which is not written here: name it .star (RELION), .cs "
            "(CryoSPARC) or .h5"
        )
    return Hdf5()


def source_files(path: str, passthrough: Sequence[str] = ()) -> tuple[str, ...]:
    """Files of a source: itself, or the newest particles of a job folder; and what goes with it.

    A warning says which files of a folder are taken.

    Parameters
    ----------
    path : str
        Particle table, or job folder of CryoSPARC.
    passthrough : sequence of str
        Further datasets of the same particles.

    Raises
    ------
    SourceError
        A folder has no particles, or several outputs of particles.
    """
    if not os.path.isdir(path):
        return (path, *passthrough)
    from numba_symexp.formats.cryosparc.job_folder import newest_particles  # rarely needed

    found = newest_particles(path)
    warn(f"{path}: its newest particles are taken: {' and '.join(found)}")
    return (*found, *passthrough)


def open_table(
    path: str, location: str | None = None, passthrough: Sequence[str] = ()
) -> ParticleTable:
    """Open a particle table, whichever format it has: the one way to every source.

    Parameters
    ----------
    path : str
        HDF5 file, CryoSPARC dataset, result group or job folder, or RELION particle file.
    location : str, optional
        The table inside an HDF5 file; by default ``/particles``, else the root.
    passthrough : sequence of str
        Further datasets of the same particles, whose columns are joined.

    Raises
    ------
    UsageError
        Files that cannot be joined.
    SourceError
        A file is missing, damaged, or of no known format.
    """
    files = source_files(path, passthrough)
    formats = [format_of(each) for each in files]
    if len(files) > 1:
        for name, each in zip(files, formats, strict=True):
            if not each.joins:
                raise UsageError(
                    f"{name}: {each.kind.name} cannot be joined with other files: leave out "
                    "passthrough="
                )
    with contextlib.ExitStack() as opened:
        tables = []
        for name, each in zip(files, formats, strict=True):
            with reading(name):
                tables.append(each.open(name, location))
            opened.callback(tables[-1].close)
        table = formats[0].join(tables) if len(tables) > 1 else tables[0]
        if location is not None and location.strip("/") != table.location.strip("/"):
            raise SourceError(f"{files[0]}: has one table, and no {location}: leave out table=")
        opened.pop_all()
        return table
