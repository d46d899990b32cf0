"""CryoSPARC's result groups: the .csg file that stands beside a .cs."""

import hashlib
import os
import re
from collections.abc import Sequence

from numba_symexp.output import timestamp

_VERSION = "v2.15.0"
"""Oldest version of CryoSPARC whose result groups look like this."""

_END_BYTES = 400

_BELONGS_TO = "# belongs to the dataset with SHA-256 "
"""Begins the last line, a comment to CryoSPARC: two files are never renamed in one step."""


def result_group(name: str, cs_path: str, fields: Sequence[str], rows: int) -> str:
    """Text of a result group of particles, for CryoSPARC's Import Result Group.

    Parameters
    ----------
    name : str
        Path of the dataset; only its last part is written, since both files stand in one folder.
    cs_path : str
        Where the dataset is now, whole.
    fields : sequence of str
        Of the dataset.
    rows : int
        Of the dataset.
    """
    created = timestamp().rstrip("Z").replace("T", " ")
    lines = [
        f"created: {created}.000000",
        "group:",
        "  description: All particles that were expanded, including alignments",
        "  name: particles",
        "  title: All particles",
        "  type: particle",
        "results:",
    ]
    metafile = ">" + os.path.basename(name)
    for slot in sorted({field.partition("/")[0] for field in fields if "/" in field}):
        lines += [
            f"  {_quoted(slot)}:",
            f"    metafile: {_quoted(metafile)}",
            f"    num_items: {rows}",
            f"    type: particle.{_type_of(slot)}",
        ]
    lines += [f"version: {_VERSION}", f"{_BELONGS_TO}{_digest(cs_path)}, {rows} rows", ""]
    return "\n".join(lines)


def is_mixed_pair(cs_path: str, group_path: str) -> bool:
    """Whether a result group says that it belongs to another dataset than the one beside it.

    One that does not say, as CryoSPARC's own, belongs to any.

    Parameters
    ----------
    cs_path, group_path : str
        The .cs and the .csg.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    with open(group_path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _END_BYTES))
        end = file.read(_END_BYTES).decode(errors="replace")
    _, found, stated = end.rpartition(_BELONGS_TO)
    return bool(found) and stated.partition(",")[0] != _digest(cs_path)


def _digest(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _type_of(slot: str) -> str:
    """Type of a slot: slots of several classes share one."""
    return re.sub(r"^alignments_class_\d+$", "alignments3D", slot)


def _quoted(text: str) -> str:
    """Text in YAML: plain where it is a name, else in single quotes."""
    return text if re.fullmatch(r"[A-Za-z_]\w*", text) else "'" + text.replace("'", "''") + "'"
