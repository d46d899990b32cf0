"""Symmetry expansion of cryo-EM particle poses.

The public names are loaded when they are first used: ``--help`` and bad input need no compiler.
"""

import importlib
from typing import TYPE_CHECKING, Any

from numba_symexp.version import __version__

if TYPE_CHECKING:
    from numba_symexp.collapsing.collapse import collapse
    from numba_symexp.errors import SymexpError
    from numba_symexp.expansion.expander import expand_poses
    from numba_symexp.expansion.job import ExpandJob, Summary
    from numba_symexp.expansion.run import expand
    from numba_symexp.reader import ExpandedTable, open_expanded
    from numba_symexp.symmetry.helices import helix
    from numba_symexp.symmetry.operators import Operators
    from numba_symexp.symmetry.point_groups import point_group
    from numba_symexp.verification.report import VerificationReport
    from numba_symexp.verification.verify import verify

_HOME = {
    "ExpandJob": "expansion.job",
    "ExpandedTable": "reader",
    "Operators": "symmetry.operators",
    "Summary": "expansion.job",
    "SymexpError": "errors",
    "VerificationReport": "verification.report",
    "collapse": "collapsing.collapse",
    "expand": "expansion.run",
    "expand_poses": "expansion.expander",
    "helix": "symmetry.helices",
    "open_expanded": "reader",
    "point_group": "symmetry.point_groups",
    "verify": "verification.verify",
}

__all__ = [
    "ExpandJob",
    "ExpandedTable",
    "Operators",
    "Summary",
    "SymexpError",
    "VerificationReport",
    "__version__",
    "collapse",
    "expand",
    "expand_poses",
    "helix",
    "open_expanded",
    "point_group",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
