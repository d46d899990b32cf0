"""Whether the facts that a file states agree with each other and with the job in its provenance.

Facts that files of older versions do not state are not missed.
"""

import datetime
import hashlib
import os
from dataclasses import fields
from typing import Any

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import FileFormatError, SymexpError
from numba_symexp.expanded.provenance import read_selection
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.expansion.job import LATER, ONLY_HOW, ExpandJob
from numba_symexp.formats.hdf5.objects import object_at
from numba_symexp.particles.columns import pixel_size_column
from numba_symexp.particles.fingerprint import RULE_2
from numba_symexp.particles.schema import OPERATORS
from numba_symexp.particles.table import ParticleTable
from numba_symexp.symmetry.centers import CORNER, corner_of
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.spec import parse
from numba_symexp.verification.matrices import rotation_matrices

_SAME = 1e-7
_OPERATOR_UNITS = {
    "quaternion": "1",
    "translation_A": "A",
    "label": "1",
    "rise_index": "1",
    "full_index": "1",
    "center_A": "A",
    "center_index": "1",
    "turn": "1",
    "subgroup": "1",
}


def records_disagree(expanded: ExpandedTable) -> str | None:
    """Say which record is missing or wrong of who made the file, when and of what, or None."""
    attributes, provenance = expanded.attributes, expanded.provenance
    for name in ("created", "generated_by"):
        if not isinstance(attributes.get(name), str):
            return f"the attribute {name} is missing"
    try:
        datetime.datetime.fromisoformat(attributes["created"])
    except ValueError:
        return f"created is {attributes['created'][:40]!r}, which is no time"
    software = provenance.get("software")
    if isinstance(software, dict):
        made_by = f"{software.get('name')} {software.get('version')}"
        if made_by != attributes["generated_by"]:
            return (
                f"generated_by is {attributes['generated_by'][:40]!r}, and the provenance says "
                f"{made_by[:40]!r}"
            )
    source = provenance.get("source", {})
    stated = {"n_rows": expanded.n_sources, "fingerprint": expanded.source_record.fingerprint}
    for name, value in stated.items():
        if not isinstance(source, dict) or source.get(name, value) != value:
            return f"the source's {name} is not the one of the provenance"
    return None


def selection_disagrees(expanded: ExpandedTable) -> str | None:
    """Say how the record of the rows that were left out is wrong, or None.

    The steps go from all rows to those that are there: each tells how many it dropped and left.
    """
    left = expanded.n_sources * len(expanded.operators)
    try:
        for step in read_selection(expanded.table):
            left -= sum(step["dropped"].values())
            if left != step["rows"]:
                return f"its selection says that {step['rows']:,} rows were left, not {left:,}"
    except FileFormatError:
        return "the record of its selection is damaged"
    if left != len(expanded):
        return f"its selection says that {left:,} rows were left, and it has {len(expanded):,}"
    return None


def not_stated(expanded: ExpandedTable) -> list[str]:
    """Name what files of older versions do not say: parameters and parts of the provenance."""
    provenance = expanded.provenance
    parts = [name for name in ("software", "source") if name not in provenance]
    known = {each.name for each in fields(ExpandJob)} - ONLY_HOW - {*LATER}
    return parts + sorted(known - provenance["parameters"].keys())


def job_of(expanded: ExpandedTable) -> ExpandJob:
    """Job in the provenance of a file.

    Raises
    ------
    FileFormatError
        The record is damaged.
    """
    return ExpandJob.of_record(expanded.provenance["parameters"])


def not_of_its_job(expanded: ExpandedTable) -> str | None:
    """Say how operators, with their names and numbers, are not those of the job, or None.

    Operators from a file are compared where that file is still there and still has them.
    """
    try:
        recorded = expanded.provenance["parameters"]
    except SymexpError:
        return None  # another check says so
    try:
        job = job_of(expanded)
    except SymexpError as error:
        return str(error)
    found = expanded.operators
    stated = found.convention
    said_there = recorded.get("convention", stated)
    for said, where in ((expanded.attributes["convention"], "root"), (said_there, "provenance")):
        if said != stated:
            return f"the convention of {found.symmetry} is {stated}, not {said!s:.40} ({where})"
    if job.operators_file is not None and not found.symmetry.from_file:
        return f"the operators are of {found.symmetry}, and of a file in the provenance"
    table = expanded.source_record.table
    if job.table is not None and job.table.strip("/") != table.strip("/"):
        return f"the table was {table[:60]}, and {job.table[:60]} in the provenance"
    off_z = _not_turned_to_z(found, job)
    if off_z is not None:
        return f"the turn about center {off_z} does not take its direction to z"
    file = expanded.table.file
    with expanded.table.reading("what it says of its operators"):
        for name, units in _OPERATOR_UNITS.items():
            values = object_at(file, f"{OPERATORS}/{name}")
            if values is not None and values.attrs.get("units", units) != units:
                return f"{OPERATORS}/{name} has the units {str(values.attrs['units'])[:20]}"
        attributes = object_at(file, OPERATORS).attrs
        if {"n_centers", "center_A"} <= attributes.keys():
            return f"{OPERATORS} has an attribute center_A beside the centers of its operators"
        typed = attributes.get("typed", 0)
    if typed and not found.symmetry.from_file:
        return f"operators of {found.symmetry} are exact, and not typed"
    chosen = "subset" if job.operators else "transversal"
    if found.symmetry.from_file and found.kind != (chosen if found.chosen else "own"):
        return f"the kind is {found.kind[:40]}"
    try:
        full = _full_set(job, stated)
    except SymexpError as error:
        gone = job.operators_file is not None
        return None if gone else f"the job of the provenance has no operators ({error})"
    if full is None:
        same = job.operators_file is not None or job.symmetry == str(found.symmetry)
        return None if same else "the symmetry is not the one of the provenance"
    if str(full.symmetry) != str(found.symmetry):
        return f"the symmetry is {found.symmetry}, and {full.symmetry} in the provenance"
    psize_A = _pixel_size(expanded, job) if job.center_px or job.origin == CORNER else None
    if job.box_px is not None and psize_A is not None:
        if job.origin == CORNER:
            full = full.counted_from(corner_of(job.box_px, psize_A))
        if job.center_px is not None:
            full = job.about(full, job.centers_of_px(psize_A))
    elif job.center_px is not None or job.origin == CORNER:
        return None  # the source is gone: another check says so
    if full.symmetry.from_file and not _has_motions(full, found):
        return None  # the file of operators was changed since
    try:
        return _differ(found, job.chosen(full))
    except SymexpError as error:
        return f"the job of the provenance has no operators ({error})"


def _not_turned_to_z(found: Operators, job: ExpandJob) -> int | None:
    """Number of the first center whose turn is not the one that was asked for, or None."""
    if not (job.align or job.align_axis is not None) or not len(found.turn):
        return None  # another check says so
    wanted = found.centers_A if job.align_axis is None else np.array([job.align_axis])
    wanted = wanted / np.abs(wanted).max(axis=1, keepdims=True)
    wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    seen = rotation_matrices(found.turn, "quaternion") @ wanted[:, :, None]
    off = ~(np.abs(seen[:, :, 0] - (0.0, 0.0, 1.0)).max(axis=1) < _SAME)
    return int(np.argmax(off)) if off.any() else None


def source_disagrees(expanded: ExpandedTable) -> str | None:
    """Say which record of the source, which is there and unchanged, is wrong, or None."""
    record, source = expanded.source_record, expanded.source
    if record.table.strip("/") != source.location.strip("/"):
        return f"the table is {record.table[:60]}, and {source.location} in {source.path}"
    if os.path.basename(record.path) != os.path.basename(record.absolute_path):
        return "its path and its absolute path name two files"
    names = [line.partition("\t")[0] for line in record.columns]
    if record.fingerprint.startswith(RULE_2) and names != sorted(source.columns):
        return "its list of columns is not that of the source"
    return None


def drawn_halves(seed: int, source: ParticleTable, tube: str | None) -> Array:
    """Half-sets that a seed draws, (N,) uint8, from the definition.

    The words of Philox, keyed by the first 16 bytes of SHA-256 of the seed's digits, draw. Of
    particles 2 k and 2 k + 1 the first goes to half 0 where word k is even, else the second. Tubes,
    in the order of their words, go to halves 0, 1, 0, ...
    """
    key = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:16], "little")
    stream, count = np.random.Philox(key=key), source.n_rows
    if tube is None:
        odd = (stream.random_raw((count + 1) // 2) % 2).astype(np.uint8)
        return np.stack([odd, 1 - odd], axis=1).reshape(-1)[:count]
    tubes, index = np.unique(source.read([tube], 0, count)[tube], return_inverse=True)
    halves = np.empty(len(tubes), np.uint8)
    for place, each in enumerate(np.argsort(stream.random_raw(len(tubes)), kind="stable")):
        halves[each] = place % 2
    return halves[index]


def _full_set(job: ExpandJob, convention: str) -> Operators | None:
    """All operators of a job; None where only a name is left of them."""
    name = job.symmetry
    if isinstance(name, str) and job.operators_file is None and job.twist is None:
        symmetry = parse(name, convention)
        if symmetry.is_helix or symmetry.from_file:  # they were given as objects
            if symmetry.from_file:
                return None
            whole = symmetry.operators()
            return whole if job.center is None else job.about(whole, job.read_centers())
    return job.full()


def _pixel_size(expanded: ExpandedTable, job: ExpandJob) -> float | None:
    """A per pixel that voxel numbers were turned into A with; None where the source is gone."""
    if job.psize is not None:
        return job.psize
    try:
        source = expanded.source
        name = pixel_size_column(source.columns, expanded.pose_columns[1])
        return None if name is None else float(source.read([name], 0, source.n_rows)[name].min())
    except (SymexpError, ValueError):
        return None


def _has_motions(full: Operators, found: Operators) -> bool:
    """Whether a full set has the motions that some of its operators are said to be."""
    index = found.full_index.astype(np.int64)
    if len(full) != found.full_order or index.max(initial=0) >= len(full):
        return False
    off = np.abs(full.matrix[index] - found.matrix).max(initial=0.0)
    moved = np.abs(full.translation_A[index] - found.translation_A).max(initial=0.0)
    return bool(max(off, moved) < _SAME)


def _differ(found: Operators, wanted: Operators) -> str | None:
    """Say in which fact two sets of operators differ, or None."""
    if len(found) != len(wanted):
        return f"{len(found)} operators, and the job of the provenance has {len(wanted)}"
    for name in ("kind", "chosen", "full_order", "label", "rise_index", "full_index", "subgroup"):
        here, there = getattr(found, name), getattr(wanted, name)
        if not np.array_equal(np.asarray(here), np.asarray(there)):
            where = _first_difference(here, there)
            return f"the {name} is not that of the job in the provenance{where}"
    if found.symmetry.typed != wanted.symmetry.typed:
        return "typed is not as in the file of operators"
    for name in ("quaternion", "translation_A", "center_A", "turn"):
        here, there = getattr(found, name), getattr(wanted, name)
        if here.shape != there.shape:
            return f"the {name} is not that of the job in the provenance"
        if np.abs(here - there).max(initial=0.0) > _SAME:
            return f"the {name} is not that of the job in the provenance"
    return None


def _first_difference(here: Any, there: Any) -> str:
    """The first entry in which two facts differ."""
    if isinstance(here, str | int) or len(here) != len(there):
        return ""
    first = next(k for k in range(len(here)) if here[k] != there[k])
    return f" (operator {first}: {str(here[first])[:20]}, not {str(there[first])[:20]})"
