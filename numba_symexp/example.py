"""A small particle table to try things on."""

from dataclasses import dataclass

import numpy as np

from numba_symexp.annotations import AnyPath, Progress
from numba_symexp.formats.hdf5.write import new_group, writing
from numba_symexp.kinds import HDF5
from numba_symexp.output import OutputFile
from numba_symexp.particles.schema import POSE, PSIZE, SHIFT, SPLIT, TABLE, UID

N_PARTICLES = 1000
_SEED = 7
_SIZE = 128 << 10
"""A little more than the table takes on disk."""


@dataclass(frozen=True)
class ExampleReport:
    """What `write_example` wrote.

    Attributes
    ----------
    output : str
    particles : int
    notes : tuple of str
        What the user should know.
    """

    output: str
    particles: int
    notes: tuple[str, ...]


def write_example(
    output: AnyPath, overwrite: bool = False, progress: Progress | None = None
) -> ExampleReport:
    """Write a table of random particles, the same every time.

    Poses are uniform over all rotations, shifts normal with 2 pixels, and there are ids,
    half-sets and defoci: what CryoSPARC would have.

    Parameters
    ----------
    output : str or path
        HDF5 file to write.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` when the rows are written.

    Returns
    -------
    ExampleReport

    Raises
    ------
    OutputError
        The file exists, or cannot be written.
    """
    target = OutputFile(output, HDF5, [], overwrite)
    columns = _columns(np.random.default_rng(_SEED))
    with target.writing([], _SIZE) as draft, writing(draft.path, "w") as file:
        new_group(file, TABLE).attrs["convention"] = "cryosparc"
        for name, values in columns.items():
            file[f"{TABLE}/{name}"] = values
        if progress is not None:
            progress(N_PARTICLES, N_PARTICLES)
    return ExampleReport(target.name, N_PARTICLES, tuple(draft.notes))


def _columns(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns of the example by name."""
    n = N_PARTICLES
    quaternion = random.normal(size=(n, 4))
    quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    half_angle = np.arccos(quaternion[:, :1])
    pose = 2 * half_angle / np.sin(half_angle) * quaternion[:, 1:]
    defocus = random.normal(15_000, 3_000, n)
    return {
        UID: random.integers(1, 2**63, n, dtype=np.uint64),
        POSE: pose.astype(np.float32),
        SHIFT: random.normal(0, 2, (n, 2)).astype(np.float32),
        PSIZE: np.full(n, 1.06, np.float32),
        SPLIT: (np.arange(n) % 2).astype(np.uint32),
        "ctf/df1_A": (defocus + 150).astype(np.float32),
        "ctf/df2_A": (defocus - 150).astype(np.float32),
        "blob/path": np.array([f"images/{i // 100:03d}.mrc" for i in range(n)], dtype="S14"),
        "blob/idx": (np.arange(n) % 100).astype(np.uint32),
    }
