"""CryoSPARC's result groups: the .csg file that stands beside a .cs."""

import os
import re
from collections.abc import Sequence

from numba_symexp.clock import timestamp

_VERSION = "v2.15.0"
"""Oldest version of CryoSPARC whose result groups look like this."""


def result_group(cs_path: str, fields: Sequence[str], rows: int) -> str:
    """Text of a result group of particles, for CryoSPARC's Import Result Group.

    Parameters
    ----------
    cs_path : str
        The dataset; only its name is written, since both files stand in one folder.
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
    metafile = ">" + os.path.basename(cs_path)
    for slot in sorted({field.partition("/")[0] for field in fields if "/" in field}):
        lines += [
            f"  {_quoted(slot)}:",
            f"    metafile: {_quoted(metafile)}",
            f"    num_items: {rows}",
            f"    type: particle.{_type_of(slot)}",
        ]
    return "\n".join([*lines, f"version: {_VERSION}", ""])


def _type_of(slot: str) -> str:
    """Type of a slot: slots of several classes share one."""
    return re.sub(r"^alignments_class_\d+$", "alignments3D", slot)


def _quoted(text: str) -> str:
    """Text in YAML: plain where it is a name, else in single quotes."""
    return text if re.fullmatch(r"[A-Za-z_]\w*", text) else "'" + text.replace("'", "''") + "'"
