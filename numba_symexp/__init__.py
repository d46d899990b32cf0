"""Symmetry expansion of cryo-EM particle poses.

The public names are loaded when they are first used: help and bad input need no compiler.
"""

import importlib
from typing import TYPE_CHECKING, Any

from numba_symexp.version import __version__

if TYPE_CHECKING:
    from numba_symexp.arrangements.arrange import arrange
    from numba_symexp.arrangements.report import ArrangeReport
    from numba_symexp.conversion.export_table import ExportReport, export_particles
    from numba_symexp.conversion.import_table import ImportReport, import_particles
    from numba_symexp.conversion.reorient import ReorientReport, reorient
    from numba_symexp.copies.collapse import CollapseReport, collapse
    from numba_symexp.copies.match import match
    from numba_symexp.copies.match_report import CopyReport, MatchReport
    from numba_symexp.cryosparc_job import CryosparcReport, expand_in_cryosparc
    from numba_symexp.errors import ExpansionWarning, SymexpError
    from numba_symexp.example import ExampleReport, write_example
    from numba_symexp.expanded.table import ExpandedTable, open_expanded
    from numba_symexp.expansion.expander import expand_poses
    from numba_symexp.expansion.job import ExpandJob, Summary
    from numba_symexp.inspection import ExpansionOrigin, InspectionReport, inspect
    from numba_symexp.maps.check import mapcheck
    from numba_symexp.maps.report import MapReport
    from numba_symexp.pictures.plot import PlotReport, PlottedSet, plot
    from numba_symexp.public import expand
    from numba_symexp.selection.select import SelectReport, select
    from numba_symexp.symmetry.listing import ListedOperator, OperatorList, list_operators
    from numba_symexp.symmetry.operator_files import read_operators
    from numba_symexp.symmetry.operators import Operators
    from numba_symexp.symmetry.spec import helix, point_group
    from numba_symexp.transfers.transfer import TransferReport, transfer
    from numba_symexp.verification.report import VerificationReport
    from numba_symexp.verification.verify import verify

_HOME = {
    "ArrangeReport": "arrangements.report",
    "CollapseReport": "copies.collapse",
    "CopyReport": "copies.match_report",
    "CryosparcReport": "cryosparc_job",
    "ExampleReport": "example",
    "ExpandJob": "expansion.job",
    "ExpandedTable": "expanded.table",
    "ExpansionOrigin": "inspection",
    "ExpansionWarning": "errors",
    "ExportReport": "conversion.export_table",
    "ImportReport": "conversion.import_table",
    "InspectionReport": "inspection",
    "ListedOperator": "symmetry.listing",
    "MapReport": "maps.report",
    "MatchReport": "copies.match_report",
    "OperatorList": "symmetry.listing",
    "Operators": "symmetry.operators",
    "PlotReport": "pictures.plot",
    "PlottedSet": "pictures.plot",
    "ReorientReport": "conversion.reorient",
    "SelectReport": "selection.select",
    "Summary": "expansion.job",
    "SymexpError": "errors",
    "TransferReport": "transfers.transfer",
    "VerificationReport": "verification.report",
    "arrange": "arrangements.arrange",
    "collapse": "copies.collapse",
    "expand": "public",
    "expand_in_cryosparc": "cryosparc_job",
    "expand_poses": "expansion.expander",
    "export_particles": "conversion.export_table",
    "helix": "symmetry.spec",
    "import_particles": "conversion.import_table",
    "inspect": "inspection",
    "list_operators": "symmetry.listing",
    "mapcheck": "maps.check",
    "match": "copies.match",
    "open_expanded": "expanded.table",
    "plot": "pictures.plot",
    "point_group": "symmetry.spec",
    "read_operators": "symmetry.operator_files",
    "reorient": "conversion.reorient",
    "select": "selection.select",
    "transfer": "transfers.transfer",
    "verify": "verification.verify",
    "write_example": "example",
}

__all__ = [
    "ArrangeReport",
    "CollapseReport",
    "CopyReport",
    "CryosparcReport",
    "ExampleReport",
    "ExpandJob",
    "ExpandedTable",
    "ExpansionOrigin",
    "ExpansionWarning",
    "ExportReport",
    "ImportReport",
    "InspectionReport",
    "ListedOperator",
    "MapReport",
    "MatchReport",
    "OperatorList",
    "Operators",
    "PlotReport",
    "PlottedSet",
    "ReorientReport",
    "SelectReport",
    "Summary",
    "SymexpError",
    "TransferReport",
    "VerificationReport",
    "__version__",
    "arrange",
    "collapse",
    "expand",
    "expand_in_cryosparc",
    "expand_poses",
    "export_particles",
    "helix",
    "import_particles",
    "inspect",
    "list_operators",
    "mapcheck",
    "match",
    "open_expanded",
    "plot",
    "point_group",
    "read_operators",
    "reorient",
    "select",
    "transfer",
    "verify",
    "write_example",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
