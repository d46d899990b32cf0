"""Symmetry expansion of cryo-EM particle poses.

The public names are loaded when they are first used: ``--help`` and bad input need no compiler.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from numba_symexp.errors import SymexpError
    from numba_symexp.expander import expand_poses
    from numba_symexp.expansion import expand
    from numba_symexp.helices import helix
    from numba_symexp.job import ExpandJob, Summary
    from numba_symexp.operators import Operators
    from numba_symexp.point_groups import point_group
    from numba_symexp.reader import ExpandedTable, open_expanded

_HOME = {
    "ExpandJob": "job",
    "ExpandedTable": "reader",
    "Operators": "operators",
    "Summary": "job",
    "SymexpError": "errors",
    "expand": "expansion",
    "expand_poses": "expander",
    "helix": "helices",
    "open_expanded": "reader",
    "point_group": "point_groups",
}

__all__ = [
    "ExpandJob",
    "ExpandedTable",
    "Operators",
    "Summary",
    "SymexpError",
    "__version__",
    "expand",
    "expand_poses",
    "helix",
    "open_expanded",
    "point_group",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
