"""How tilts and lengths of shifts are distributed, in a few numbers."""

from typing import Any

import numpy as np

from numba_symexp.particles.columns import PoseColumns
from numba_symexp.particles.table import ParticleTable
from numba_symexp.pictures.lengths import LengthCounts
from numba_symexp.poses import Poses

_TILT_DEG = np.arange(0, 181, 20)
_LENGTHS, _SHOWN = 8, 0.99


def view_statistics(table: ParticleTable, columns: PoseColumns) -> dict[str, Any]:
    """Count the tilts and the lengths of the shifts of a table, in one pass.

    Parameters
    ----------
    table : ParticleTable
        An open table.
    columns : PoseColumns
        As `find_columns` finds them.

    Returns
    -------
    dict
        ``tilt``: ``edges_deg``, ``counts``, and ``density``, that per solid angle relative to an
        even distribution. ``shift``: ``unit`` (px), ``edges``, ``counts``, and ``beyond``, how
        many are longer than the last edge.

    Raises
    ------
    SourceError
        The table has no rows, or a pose or shift is none.

    Notes
    -----
    The tilt of a pose is the angle of its viewing direction with z; see `plot`.
    """
    poses = Poses(table, columns)
    heights = np.cos(np.deg2rad(_TILT_DEG))
    lengths, below = LengthCounts(), np.zeros(len(heights), np.int64)
    for block in poses.blocks():
        _, x, y, _ = block.planes[:, : len(block)]
        z = 1 - 2 * (x * x + y * y)
        below += [np.count_nonzero(z > height) for height in heights]
        lengths.add(np.hypot(*block.shift.astype(np.float64).T))
    below[0], below[-1] = 0, table.n_rows
    counts = np.diff(below)
    edges, shifts = lengths.histogram(_LENGTHS, _SHOWN)
    return {
        "tilt": {
            "edges_deg": _TILT_DEG.tolist(),
            "counts": counts.tolist(),
            "density": (counts / table.n_rows / (-np.diff(heights) / 2)).tolist(),
        },
        "shift": {
            "unit": "px",
            "edges": edges.tolist(),
            "counts": shifts[:-1].tolist(),
            "beyond": int(shifts[-1]),
        },
    }
