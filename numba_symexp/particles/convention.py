"""Whose Dn a table means: what it says itself, what its paths tell, and when to ask.

CryoSPARC's Dn has its first 2-fold on y and RELION's on x, which for odd n are two groups. Poses
keep the frame that they were refined in when a file is converted, so a converted file must say
which. It says so with a mark that only this package writes, and that goes when another program
writes the file again: what that program made of the poses is not known here.
"""

import re
from collections.abc import Mapping
from typing import Any

from numba_symexp.errors import UsageError
from numba_symexp.particles.schema import CONVENTION, CONVENTION_DOUBT
from numba_symexp.particles.table import CRYOSPARC, RELION, ParticleTable
from numba_symexp.symmetry.operators import Operators
from numba_symexp.symmetry.point_groups import HOUSE
from numba_symexp.symmetry.spec import choose_convention, point_group

_PATHS = ("blob/path", "location/micrograph_path", "rlnImageName", "rlnMicrographName")

_ROWS_LOOKED_AT = 64

_SIGNS = {
    # jobs are J12/, and micrographs are called by an id of 64 bits
    CRYOSPARC: re.compile(rb"(?:^|[@/>])(J[0-9]+/[^/@]*|[0-9]{15,21}_[^/@]{0,20})"),
    RELION: re.compile(rb"(?:^|[@/>])([A-Z][A-Za-z0-9]+/job[0-9]+)/"),
}
"""What paths have in them that a program made."""

_PROGRAMS = {CRYOSPARC: "CryoSPARC", RELION: "RELION"}
_SHOWN = 40


def other_programs_paths(table: ParticleTable, program: str) -> str | None:
    """Part of a path that the other program made, of the first rows; None where there is none.

    Parameters
    ----------
    table : ParticleTable
    program : {"cryosparc", "relion"}
        Whose paths are looked for.
    """
    there = [
        each for each in _PATHS if each in table.columns and table.columns[each].dtype.kind == "S"
    ]
    rows = table.read(there, 0, min(table.n_rows, _ROWS_LOOKED_AT)) if there else {}
    for values in rows.values():
        for word in values.reshape(-1).tolist():
            found = _SIGNS[program].search(word)
            if found:
                return found[1].decode(errors="replace")[:_SHOWN]
    return None


def doubt_of(program: str, path: str) -> str:
    """Words for a path of one program in the other's kind of file."""
    return f"its paths are {_PROGRAMS[program]}'s ({path})"


def is_clear(table: ParticleTable) -> bool:
    """Whether nothing contradicts the convention that a table gets."""
    return not _doubt(table)


def convention_and_reason(table: ParticleTable) -> tuple[str, str]:
    """Convention that a table gets where none is given, and why."""
    convention = choose_convention(None, table.attributes.get(CONVENTION))
    if not is_clear(table):
        return convention, f"assumed for {table.layout}, but {_doubt(table)}"
    if CONVENTION not in table.attributes:
        return convention, "the default"
    if table.says(CONVENTION, RELION) and table.vocabulary == RELION:
        return convention, "a .star without a mark is RELION's"
    return convention, "the table says so"


def doubtful(table: ParticleTable, given: str | None, operators: Operators | None = None) -> str:
    """Sentence about a convention that must be settled; empty where none must.

    Parameters
    ----------
    table : ParticleTable
    given : str or None
        Convention that was asked for: it settles everything.
    operators : Operators, optional
        What the table is to be expanded by; by default its use is not known yet.
    """
    if given is not None or is_clear(table):
        return ""
    assumed = choose_convention(None, table.attributes.get(CONVENTION))
    other = next(each for each in HOUSE if each != assumed)
    what = "D3, D5, D7 and other odd Dn are"
    if operators is not None:
        if not _differs(operators):
            return ""
        what = f"{operators.symmetry} is"
    return (
        f"{table.path}: {what} taken as {_PROGRAMS.get(assumed, assumed)}'s, but {_doubt(table)}, "
        f"whose 2-folds lie elsewhere: give convention={other}, or convention={assumed} if they "
        f"were refined in {_PROGRAMS.get(assumed, assumed)}"
    )


def kept_convention(attributes: Mapping[str, Any], used: str) -> dict[str, Any]:
    """Attributes that particles keep which were expanded and come back.

    Parameters
    ----------
    attributes : mapping
        Of the particles.
    used : str
        Convention of the operators.
    """
    if used in HOUSE and used != choose_convention(None, attributes.get(CONVENTION)):
        return {CONVENTION: used}
    return {name: attributes[name] for name in (CONVENTION, CONVENTION_DOUBT) if name in attributes}


def check_convention(convention: str | None) -> None:
    """Refuse a convention that no particles are refined in.

    Raises
    ------
    UsageError
        Names those that there are.
    """
    if convention is not None and convention not in HOUSE:
        raise UsageError(f"convention {convention!r} is neither {' nor '.join(HOUSE)}")


def settle(attributes: dict[str, Any], convention: str) -> None:
    """Make a table's convention the one that somebody gave."""
    attributes[CONVENTION] = convention
    attributes.pop(CONVENTION_DOUBT, None)


def _doubt(table: ParticleTable) -> str:
    """Why the convention is in doubt; empty where it is not."""
    doubt = table.attributes.get(CONVENTION_DOUBT, "")
    return doubt.decode(errors="replace") if isinstance(doubt, bytes) else str(doubt)


def _differs(operators: Operators) -> bool:
    """Whether a set of operators is another one by the other program's convention."""
    group = operators.symmetry.group
    symbol = str(group or "")
    if operators.symmetry.from_file or not re.fullmatch(r"D\d+", symbol):
        return False
    one, other = (point_group(symbol, each).quaternion for each in HOUSE)
    nearest = abs(one @ other.T).max(axis=1)
    return bool((nearest < 1 - _ROUNDING).any())


_ROUNDING = 1e-9
