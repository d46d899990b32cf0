"""The verbs of the command line. A verb takes text and returns a request; it runs nothing.

Their signatures are the flags, and their docstrings the help: `argv` and `helptext` read both.
Annotated ``bool``, a flag is a switch; without default, an argument must be given.
"""

from collections.abc import Callable

from numba_symexp.cli.expand_command import expand
from numba_symexp.cli.file_commands import collapse, export_particles, import_particles, verify
from numba_symexp.cli.mapcheck_command import mapcheck
from numba_symexp.cli.match_command import match
from numba_symexp.cli.operators_command import operators
from numba_symexp.cli.plot_command import plot
from numba_symexp.cli.request import Request
from numba_symexp.cli.table_commands import example, inspect

COMMANDS: dict[str, Callable[..., Request]] = {
    "expand": expand,
    "operators": operators,
    "mapcheck": mapcheck,
    "match": match,
    "inspect": inspect,
    "plot": plot,
    "verify": verify,
    "collapse": collapse,
    "import": import_particles,
    "export": export_particles,
    "example": example,
}
