"""Which files of a CryoSPARC job folder are its particles: by its job.json, its .csg, or names."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numba_symexp.errors import SourceError
from numba_symexp.files import is_data_file
from numba_symexp.kinds import CS, CSG, STAR
from numba_symexp.particles.table import ParticleTable

_JOB = "job.json"

_MOST_JOB_BYTES = 64 << 20

_NAME = re.compile(
    r"(?:cryosparc_)?(?:P\d+_)?(?:(?P<job>J\d+)_)?"  # whose
    r"(?P<passthrough>passthrough_)?(?:class_(?P<class>\d+)_)?(?:(?P<number>\d+|final)_)?"
    r"(?P<output>\w*particles(?:_\w+)?)\.(?P<kind>csg?)",
    re.ASCII,
)
"""Names that CryoSPARC gives to the files of particles in a job folder, of all versions.

Such as J42_006_particles.cs, cryosparc_P3_J42_006_particles.cs, J42_class_00_final_particles.cs,
particles_selected.cs, J42_passthrough_particles_selected.cs and J42_particles.csg.
"""

LEFT_OVER = re.compile(r"excluded|rejected|unused|uncategorized|remainder|incomplete")
"""Outputs that hold what a job took out."""

_NOT_THAT_RECORD = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What Python says of a job.json that has another structure."""

_FINAL = 1 << 62

POSES = "alignments3D"

_NAMED_AT_MOST = 6


def newest_particles(folder: str) -> tuple[str, ...]:
    """Find the newest particles of a job, and the passthrough files that belong to them.

    What job.json says stands above result groups (.csg), and these above the names of files. Of an
    output, the last iteration is taken.

    Parameters
    ----------
    folder : str

    Returns
    -------
    tuple of str
        A result group; or a dataset and its passthrough files.

    Raises
    ------
    SourceError
        There are none; or several outputs, of which one must be named.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise SourceError(
            f"{folder}: cannot be read ({error.strerror}): check its rights"
        ) from None
    for found in (_of_job(folder, names), _of_groups(names), _of_names(names)):
        if found:
            return tuple(os.path.join(folder, each) for each in _only(folder, found))
    suffixes = (*STAR.suffixes, *CS.suffixes, *CSG.suffixes)
    others = [name for name in names if name.isprintable() and name.lower().endswith(suffixes)]
    there = f", such as {' or '.join(others[:_NAMED_AT_MOST])}" if others else ""
    raise SourceError(
        f"{folder}: is a folder: name the particle table{there}; no particles of a CryoSPARC job "
        "were found in it"
    )


def left_aside(table: ParticleTable) -> str:
    """Sentence about a passthrough file beside a dataset that was given alone; empty without one.

    Their names say that they are of the same job and the same output.
    """
    folder, name = os.path.split(table.path)
    whose = _parts_of_name(name, passed_through=False)
    if whose is None or table.files != (table.path,):
        return ""
    with contextlib.suppress(OSError):
        for each in sorted(os.listdir(folder or ".")):
            if _parts_of_name(each, passed_through=True) == whose:
                return (
                    f"{table.path}: {each} may have further columns of these particles, which are "
                    f"left out: add passthrough={os.path.join(folder, each)}"
                )
    return ""


def _parts_of_name(name: str, passed_through: bool) -> tuple[str | None, ...] | None:
    """Job, class and output of a dataset by its name; None where it is another kind of file."""
    found = _NAME.fullmatch(name)
    if found is None or found["kind"] != "cs" or bool(found["passthrough"]) is not passed_through:
        return None
    return found["job"], found["class"], found["output"]


def _only(folder: str, outputs: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Files of the one output that can be meant; what a job took out never is."""
    kept = {name: files for name, files in outputs.items() if not LEFT_OVER.search(name)}
    if len(kept) == 1:
        return next(iter(kept.values()))
    choices = []
    for files in (kept or outputs).values():
        first, *further = (os.path.join(folder, each) for each in files)
        choices.append(
            " ".join([first, *([f"passthrough={','.join(further)}"] if further else [])])
        )
    listed = "; ".join(choices[:_NAMED_AT_MOST]) + " ..." * (len(choices) > _NAMED_AT_MOST)
    raise SourceError(f"{folder}: has {len(outputs)} outputs of particles: name one of {listed}")


def _of_job(folder: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Files of each output of particles, as job.json lists them; none where it does not."""
    path = os.path.join(folder, _JOB)
    outputs: dict[str, list[str]] = {}
    if not is_data_file(path):
        return outputs
    with contextlib.suppress(OSError, *_NOT_THAT_RECORD), open(path, "rb") as file:
        for output, results in _results(json.loads(file.read(_MOST_JOB_BYTES))):
            results.sort(key=lambda each: (bool(each["passthrough"]), each["name"] != POSES))
            # The last is the newest; a folder may have been copied: its own files are meant.
            last = [
                os.path.basename(each["metafiles"][-1]) for each in results if each["metafiles"]
            ]
            if last and {*last} <= {*names}:
                outputs[output] = list(dict.fromkeys(last))
    return outputs


def _results(record: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Outputs of particles with their results, of a job of CryoSPARC 5, or of an older one."""
    if "output_results" in record:
        grouped: dict[str, list[dict[str, Any]]] = {}
        for each in record["output_results"]:
            if str(each["type"]).startswith("particle"):
                grouped.setdefault(each["group_name"], []).append(each)
        yield from grouped.items()
        return
    for name, output in record["spec"]["outputs"].items():
        if output["type"] == "particle":
            yield name, output["results"]


def _of_groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Result groups of particles, by their output."""
    return {output: [name] for output, _, _, name in _parsed(names, CSG.suffixes)}


def _of_names(names: Sequence[str]) -> dict[str, list[str]]:
    """Newest dataset of each output, and its passthrough file, by the names of all files."""
    newest: dict[str, tuple[int, str]] = {}
    passing: dict[str, str] = {}
    for output, number, is_passthrough, name in _parsed(names, CS.suffixes):
        if is_passthrough:
            passing[output] = name
        else:
            newest[output] = max(newest.get(output, (-1, "")), (number, name))
    outputs = {}
    for output, (_, name) in newest.items():
        lone = list(passing.values()) if len(newest) == len(passing) == 1 else []
        outputs[output] = [name, *([passing[output]] if output in passing else lone)]
    return outputs


def _parsed(names: Sequence[str], suffixes: Sequence[str]) -> Iterator[tuple[str, int, bool, str]]:
    """Output, iteration, whether it is passed through, and name of files of particles."""
    for name in names:
        found = _NAME.fullmatch(name)
        if found is None or f".{found['kind']}" not in suffixes:
            continue
        output = found["output"]
        if found["class"] is not None:
            output = f"{output}_class_{int(found['class'])}"
        number = found["number"]
        order = -1 if number is None else _FINAL if number == "final" else int(number)
        yield output, order, found["passthrough"] is not None, name
