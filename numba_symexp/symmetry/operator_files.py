"""Operators from files: matrices as other programs write them, or the axes of a group."""

import os
import re
import warnings
from collections.abc import Iterator

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError, SymmetryError, install
from numba_symexp.files import check_readable, read_small
from numba_symexp.symmetry.interface import MAX_OPERATORS
from numba_symexp.symmetry.operators import FARTHEST_A, Operators
from numba_symexp.symmetry.point_groups import closure
from numba_symexp.symmetry.quaternions import canonical
from numba_symexp.symmetry.spec import Own

_MOST_BYTES = 64 << 20
_MOST_OFF = 2e-3
"""Rounded to three decimals, the entries of R R^T are at most so far from those of I."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NPY_MAGIC = b"\x93NUMPY"

_OPERATOR_LIST = "_pdbx_struct_oper_list."
_ENTRIES = [
    entry
    for row in "123"
    for entry in (*(f"matrix[{row}][{column}]" for column in "123"), f"vector[{row}]")
]
"""Columns of an mmCIF's table of operators: three rows of R | t."""

_FRAME = re.compile(r"transform to .*frame", re.IGNORECASE)
"""Type of what turns the deposited model into another frame; P and X0 in capsids."""


def read_operators(path: str) -> Operators:
    """Operators of a file, in its order; none is added, and no identity is needed.

    Parameters
    ----------
    path : str
        NumPy's .npy with an array (G, 3, 3), (G, 3, 4) or (G, 4, 4); the BIOMT or MTRIX records of
        a PDB file or the operators of an mmCIF (needs gemmi), of the first assembly; RELION's
        symmetry file (``rot_axis fold x y z``), closed to its group; or any text with 3 or 4
        numbers a row, or 9, 12 or 16, such as ChimeraX's, in which words and what follows ``#``
        mean nothing.
        The fourth column is the translation, in A about the box center.

    Returns
    -------
    Operators
        Of kind ``own``; what rounding left is taken out of their rotations.

    Raises
    ------
    SourceError
        The file cannot be read, holds no matrices, or one that is no rotation.
    SymmetryError
        There are too many, or two are the same.
    """
    check_readable(path, "a file of operators")
    if os.path.getsize(path) > _MOST_BYTES:
        raise SourceError(f"{path}: is too large for a file of operators: check the path")
    data = read_small(path, "a file of operators", _MOST_BYTES)
    name = os.path.basename(path)
    if data.startswith(_NPY_MAGIC):
        return _operators(path, Own(name, typed=True), _of_npy(path))
    text = data.decode("utf-8", "replace")
    axes = _rotation_axes(path, text)
    if axes:
        quaternions = canonical(closure(axes))
        return _labeled(Own(name), quaternions, np.zeros((len(quaternions), 3)))
    matrices, assembly = _of_text(path, text)
    return _operators(path, Own(name, typed=True, assembly=assembly), matrices)


def _operators(path: str, symmetry: Own, matrices: Array) -> Operators:
    """Operators of matrices (G, 3, 4), after a check that each is a rigid motion."""
    if len(matrices) > MAX_OPERATORS:
        raise SymmetryError(f"{path}: has {len(matrices):,} operators; {MAX_OPERATORS:,} fit")
    rotation, translation_A = matrices[:, :, :3], matrices[:, :, 3]
    finite = np.isfinite(matrices).all(axis=(1, 2))
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(rotation @ rotation.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2))
    for number in np.flatnonzero(~(finite & (off <= _MOST_OFF)))[:1].tolist():
        raise SourceError(
            f"{path}: operator {number} is no rotation (R R^T is {off[number]:.3g} off the "
            "identity): check the file; 3 x 3 or 3 x 4 matrices, one row a line"
        )
    far = np.abs(translation_A).max(axis=1)
    for number in np.flatnonzero(~(far < FARTHEST_A))[:1].tolist():
        raise SourceError(
            f"{path}: operator {number} moves the map by {far[number]:g} A, and no map is that "
            "large: check its units"
        )
    for number in np.flatnonzero(np.linalg.det(rotation) < 0)[:1].tolist():
        raise SourceError(
            f"{path}: operator {number} is a mirror image (determinant -1), which no protein has: "
            "remove it"
        )
    return _labeled(symmetry, canonical(quaternions(rotation)), translation_A)


def _labeled(symmetry: Own, quaternions: Array, translation_A: Array) -> Operators:
    """Operators with labels, all different."""
    still = ~np.any(quaternions[:, 1:], axis=1) & ~np.any(translation_A, axis=1)
    labels = tuple("E" if same else f"g{number}" for number, same in enumerate(still))
    operators = Operators(quaternions, translation_A + 0.0, labels, symmetry, kind="own")
    _refuse_double(operators)
    return operators


def _refuse_double(operators: Operators) -> None:
    """Refuse a set in which two operators are equal, but for the last decimals."""
    flat = np.concatenate([operators.matrix.reshape(-1, 9), operators.translation_A], axis=1)
    order = np.lexsort(np.round(flat, 3).T)
    for one, other in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
        if np.abs(flat[one] - flat[other]).max() < 1e-3:
            first, second = sorted((one, other))
            raise SymmetryError(
                f"{operators.symmetry}: {first} and {second} are the same: remove one"
            )


def quaternions(rotation: Array) -> Array:
    """Quaternions (G, 4) of rotation matrices: of the four ways the one without cancellation."""
    xx, yy, zz = rotation[:, 0, 0], rotation[:, 1, 1], rotation[:, 2, 2]
    x = rotation[:, 2, 1] - rotation[:, 1, 2]
    y = rotation[:, 0, 2] - rotation[:, 2, 0]
    z = rotation[:, 1, 0] - rotation[:, 0, 1]
    xy = rotation[:, 0, 1] + rotation[:, 1, 0]
    xz = rotation[:, 0, 2] + rotation[:, 2, 0]
    yz = rotation[:, 1, 2] + rotation[:, 2, 1]
    ways = np.stack(
        [
            np.stack([1 + xx + yy + zz, x, y, z], axis=1),
            np.stack([x, 1 + xx - yy - zz, xy, xz], axis=1),
            np.stack([y, xy, 1 - xx + yy - zz, yz], axis=1),
            np.stack([z, xz, yz, 1 - xx - yy + zz], axis=1),
        ],
        axis=1,
    )
    best = np.argmax(np.linalg.norm(ways, axis=2), axis=1)
    return np.asarray(ways[np.arange(len(ways)), best])


def _of_npy(path: str) -> Array:
    """Matrices of a NumPy file."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of what a damaged header looks like
            array = np.load(path, allow_pickle=False)
        if array.dtype.kind not in "biufc" or np.any(np.imag(array)):
            raise ValueError(f"{array.dtype} holds other things than real numbers")
        values = np.asarray(array.real, np.float64)
    except Exception as error:  # whatever the header, a Python literal, makes of a damaged file
        raise SourceError(f"{path}: cannot be read ({str(error)[:100]}): save it again") from error
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.shape[1:] not in ((3, 3), (3, 4), (4, 4)) or not len(values):
        raise SourceError(f"{path}: has shape {array.shape}, not (G, 3, 3) or (G, 3, 4)")
    return _with_translation(values)


def _of_text(path: str, text: str) -> tuple[Array, str]:
    """Matrices of a text, and the assembly that they are of."""
    if re.search(r"^REMARK 350 +BIOMT1", text, re.MULTILINE):
        records, assembly = _first_assembly(text)
        return _distinct(_of_records(path, records, "REMARK 350 +BIOMT")), assembly
    if re.search(r"^MTRIX1", text, re.MULTILINE):
        return _of_records(path, text, "MTRIX"), ""
    if _OPERATOR_LIST in text:
        return _of_mmcif(path, text)
    return _of_rows(path, [_numbers(line) for line in _lines(text)]), ""


def _first_assembly(text: str) -> tuple[str, str]:
    """What a PDB file says of its first biological assembly, and which that is."""
    parts = re.split(r"^REMARK 350 +BIOMOLECULE:(.*)$", text, flags=re.MULTILINE)
    names, bodies = ["1", *parts[1::2]], parts[0::2]
    found = [(n.strip(), b) for n, b in zip(names, bodies, strict=True) if "BIOMT" in b]
    name, body = found[0]
    return body, _named_assembly(name, len(found))


def _named_assembly(name: str, count: int) -> str:
    """Words for the assembly that was taken, where there are several."""
    return f"assembly {name} of {count}" if count > 1 else ""


def _distinct(matrices: Array) -> Array:
    """Each matrix once: an assembly lists its operators again for each group of its chains."""
    first = np.unique(matrices.reshape(len(matrices), -1), axis=0, return_index=True)[1]
    return matrices[np.sort(first)]


def _of_records(path: str, text: str, record: str) -> Array:
    """Records with the row, the operator's number, three entries and the translation."""
    found = re.findall(rf"^{record}([123]) +\d+ +(.*)$", text, re.MULTILINE)
    if [row for row, _ in found] != list("123") * (len(found) // 3):
        raise SourceError(f"{path}: its matrices are not three rows each: check the file")
    entries = [[float(each) for each in re.findall(_NUMBER, numbers)[:4]] for _, numbers in found]
    return _of_rows(path, entries)


def _of_mmcif(path: str, text: str) -> tuple[Array, str]:
    """Operators of the first assembly of an mmCIF, and which assembly that is.

    An assembly lists the operators that make it in ``_pdbx_struct_assembly_gen``; others lead to
    the frame of the point group or of the crystal and are no symmetry of the map.
    """
    try:
        from gemmi import cif  # only mmCIF files need it
    except ImportError:
        raise SourceError(f"{path}: mmCIF needs gemmi: {install('structure')}") from None
    try:
        blocks = cif.read_string(text)
        block = next(each for each in blocks if each.get_mmcif_category(_OPERATOR_LIST))
        listed = block.get_mmcif_category(_OPERATOR_LIST)
        assemblies = block.get_mmcif_category("_pdbx_struct_assembly_gen.")
        matrices = {
            str(name): np.array([float(listed[entry][row]) for entry in _ENTRIES]).reshape(3, 4)
            for row, name in enumerate(listed["id"])
        }
        kinds = [str(kind) for kind in listed.get("type", [""] * len(matrices))]
        frames = {name for name, kind in zip(matrices, kinds, strict=True) if _FRAME.search(kind)}
        chosen = [] if assemblies else [matrices[name] for name in matrices if name not in frames]
        ids = [str(name) for name in assemblies["assembly_id"]] if assemblies else [""]
        for name, expression in zip(ids, assemblies.get("oper_expression", [""]), strict=True):
            if assemblies and name == ids[0]:
                chosen += _products(str(expression), matrices, frames)
    except Exception as error:  # whatever a damaged file makes of the parser, or of the tables
        said = " ".join(str(error).split())[:100]
        raise SourceError(f"{path}: is not a whole mmCIF ({said}): check the file") from error
    if not chosen:
        raise SourceError(f"{path}: its first assembly has no operators: check the file")
    return _distinct(np.array(chosen)), _named_assembly(ids[0], len(set(ids)))


def _products(expression: str, matrices: dict[str, Array], frames: set[str]) -> list[Array]:
    """Matrices of an expression such as ``1,3``, ``(1-60)`` or ``(1-5)(X0,7)``.

    Lists in brackets multiply, and the last one acts first. A list of frames alone is left out.
    """
    lists = re.findall(r"\(([^()]*)\)", expression) or [expression]
    found = [np.eye(3, 4)]
    for each in lists:
        names = [name for part in each.split(",") for name in _run(part.strip(), matrices)]
        kept = [matrices[name] for name in names if name not in frames]
        if not kept and len(lists) == 1:
            return []
        if len(found) * len(kept) > MAX_OPERATORS:
            raise ValueError(f"over {MAX_OPERATORS:,} operators in {expression[:40]}")
        if kept:
            found = [_product(left, right) for left in found for right in kept]
    return found


def _run(part: str, matrices: dict[str, Array]) -> list[str]:
    """Names of a part of a list: ``P`` or ``1-60``."""
    run = re.fullmatch(r"(\d{1,6})-(\d{1,6})", part)
    if run is None or part in matrices:
        return [part]
    return [str(number) for number in range(int(run[1]), int(run[2]) + 1)]


def _product(left: Array, right: Array) -> Array:
    """Motion (3, 4) of one after another: R = R1 R2, t = R1 t2 + t1."""
    product = left[:, :3] @ right
    product[:, 3] += left[:, 3]
    return product


def _of_rows(path: str, rows: list[list[float]]) -> Array:
    """Matrices of rows of 3 or 4 numbers, or of 9, 12 or 16."""
    rows = [row for row in rows if row]
    widths = {len(row) for row in rows}
    if not widths:
        raise SourceError(f"{path}: holds no matrices: give 3 x 3 or 3 x 4 numbers, a row a line")
    if len(widths) > 1 or not widths <= {3, 4, 9, 12, 16}:
        listed = ", ".join(map(str, sorted(widths)))
        raise SourceError(
            f"{path}: has {listed} numbers a row, and 3 x 3 or 3 x 4 matrices have 3 or 4: "
            "put one row on a line"
        )
    width = widths.pop()
    if width in (3, 4):
        rows = [row for row in rows if not _is_last(row)]
        if len(rows) % 3:
            raise SourceError(f"{path}: has {len(rows)} rows of matrices, not whole threes")
        return _with_translation(np.array(rows).reshape(-1, 3, width))
    shape = {9: (3, 3), 12: (3, 4), 16: (4, 4)}[width]
    return _with_translation(np.array(rows).reshape(-1, *shape))


def _is_last(row: list[float]) -> bool:
    """Whether a row is the fourth one of a 4 x 4 matrix."""
    return row == [0, 0, 0, 1]


def _with_translation(matrices: Array) -> Array:
    """Matrices as (G, 3, 4)."""
    if matrices.shape[2] == 3:
        return np.concatenate([matrices, np.zeros((len(matrices), 3, 1))], axis=2)
    return matrices[:, :3]


def _lines(text: str) -> Iterator[str]:
    """Lines without comments; ChimeraX gives all its matrices in one, behind their models' ids."""
    for line in text.splitlines():
        if re.match(r"\s*view\s+matrix\b", line):
            yield from re.split(r"#[\d.]+,", line)[1:]
        else:
            yield line.partition("#")[0]


def _numbers(line: str) -> list[float]:
    """Numbers of a line; none where it says something else."""
    words = re.split(r"[\s,;\[\]()]+", line.strip(" \t,;[]()"))
    if all(re.fullmatch(_NUMBER, word) for word in words):
        return [float(word) for word in words]
    return []


def _rotation_axes(path: str, text: str) -> list[tuple[int, tuple[float, float, float]]]:
    """Axes (fold, direction) of RELION's symmetry file; none where it is something else."""
    axes: list[tuple[int, tuple[float, float, float]]] = []
    for line in _lines(text):
        words = line.split()
        if not words:
            continue
        if words[0] in ("mirror_plane", "inversion"):
            raise SourceError(f"{path}: {words[0]} makes mirror images, which no protein has")
        if words[0] == "rot_axis":
            axes.append(_rotation_axis(path, words[1:]))
    return axes


def _rotation_axis(path: str, words: list[str]) -> tuple[int, tuple[float, float, float]]:
    """One axis of RELION's symmetry file."""
    try:
        fold, x, y, z = (float(word) for word in words)
        if fold == int(fold) >= 1 and np.isfinite((x, y, z)).all() and (x, y, z) != (0, 0, 0):
            return int(fold), (x, y, z)
    except (ValueError, OverflowError):
        pass
    raise SourceError(f"{path}: rot_axis {' '.join(words)[:60]}: needs a fold and an axis x y z")
