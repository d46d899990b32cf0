"""Who made an output, when, from what and how: the attributes of its root."""

import json
import os
import platform
import resource
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from numba_symexp.errors import FileFormatError
from numba_symexp.expanded.format import SourceRecord
from numba_symexp.kernels.stored import numba_version
from numba_symexp.output import timestamp
from numba_symexp.particles.schema import SELECTION
from numba_symexp.particles.table import ParticleTable
from numba_symexp.symmetry.operators import Operators
from numba_symexp.version import __version__

SCHEMA_VERSION = "1.0"

_NO_RECORD = (KeyError, TypeError, ValueError, RecursionError)
"""What Python says of an attribute that is missing, is no JSON, or has another structure."""

_MOST_ROWS = 2**63
"""No table has more."""


def first_attributes(operators: Operators) -> dict[str, Any]:
    """Attributes that are known before the first row."""
    return {
        "created": timestamp(),
        "generated_by": f"numba_symexp {__version__}",
        "symmetry": str(operators.symmetry),
        "convention": operators.convention,
    }


def last_attributes(
    parameters: Mapping[str, Any], source: SourceRecord, seconds: float
) -> dict[str, Any]:
    """Attributes that are known after the last row: the provenance, as one JSON text.

    Under SOURCE_DATE_EPOCH it says nothing that differs between two runs.
    """
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "software": {"name": "numba_symexp", "version": __version__},
        "parameters": dict(parameters),
        "source": {"n_rows": source.n_rows, "fingerprint": source.fingerprint},
    }
    if "SOURCE_DATE_EPOCH" not in os.environ:
        record["environment"] = _environment()
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        record["resources"] = {"elapsed_s": round(seconds, 3), "max_memory_B": peak_kib * 1024}
    return {"provenance": json.dumps(record)}


def read_provenance(table: ParticleTable) -> dict[str, Any]:
    """How a table was made.

    Raises
    ------
    FileFormatError
        The record is missing or damaged.
    """
    try:
        record = json.loads(str(table.attributes["provenance"]))
        if isinstance(record["parameters"], dict):
            return dict(record)
    except _NO_RECORD:
        pass
    raise FileFormatError(f"{table.path}: its provenance is damaged: expand again")


def read_selection(table: ParticleTable) -> list[dict[str, Any]]:
    """What each `select` left of the rows, the first one first; none of a table with all of them.

    Returns
    -------
    list of dict
        ``dropped``, a dict of str to int: why how many rows were left out; ``rows``, what was left.

    Raises
    ------
    FileFormatError
        The record is damaged.
    """
    try:
        steps = json.loads(str(table.attributes.get(SELECTION, "[]")))
        if isinstance(steps, list):
            counts = [
                count for step in steps for count in (step["rows"], *step["dropped"].values())
            ]
            if all(type(count) is int and 0 <= count <= _MOST_ROWS for count in counts):
                return steps
    except (*_NO_RECORD, AttributeError):
        pass
    raise FileFormatError(
        f"{table.path}: the record of its selection is damaged: select again from the whole table"
    )


def _environment() -> dict[str, str]:
    """Versions of what the run used."""
    return {
        "os": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba_version(),
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
    }
