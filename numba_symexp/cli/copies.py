"""The verbs about the copies of a particle: `match` and `collapse`.

They are written as the verbs of `expansion` are.
"""

from dataclasses import asdict
from typing import Any

from numba_symexp.cli.argv import Request
from numba_symexp.cli.flag_values import integer, is_on, number
from numba_symexp.cli.terminal import ProgressBar
from numba_symexp.errors import UsageError

_LEAST_A = 2e-3
"""Where no copy is moved along z by more, heights are not shown."""


def match(
    file: str,
    *,
    symmetry: str | None = None,
    convention: str | None = None,
    twist: str | None = None,
    rise: str | None = None,
    order: str | None = None,
    psize: str | None = None,
    source: str | None = None,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Find the operators of an expansion that any program wrote, and name them as we number them.

    Example: numba-symexp match J42_particles_expanded.cs

    The exit code is 0 when the copies are a known symmetry or part of one, and 1 when they are not,
    or are not the one that was given.

    Parameters
    ----------
    file
        Expanded .cs, .star, .tbl or HDF5 table.
    symmetry
        Symmetry that the copies should have: C1, Cn, Dn, T, O, I (= I2), I1, I2, I3 or I4; else all
        are tried.
    convention
        Of --symmetry: cryosparc (2-fold of Dn on y, the default), relion (on x), chimerax, eman2,
        scipy or cistem.
    twist
        Helix that the copies should have: degrees per unit; goes with --rise and --order.
    rise
        Helix: A per unit.
    order
        Helix: number of units.
    psize
        A per pixel of the shifts; else the column alignments3D/psize_A.
    source
        The table that an expanded one was expanded from, if the file has moved.
    json
        Print one JSON object, with quaternions and matrices.
    quiet
        No progress bar, no report.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.copies.match import match as recover_and_name
    from numba_symexp.symmetry.request import SymmetryRequest

    silent = is_on(quiet)
    given = None
    if any(each is not None for each in (symmetry, twist, rise, order)):
        given = SymmetryRequest(
            symmetry=symmetry,
            convention=convention,
            twist=number("twist", twist),
            rise=number("rise", rise),
            order=integer("order", order),
        ).full()
    elif convention is not None:
        raise UsageError("--convention says whose --symmetry is meant: give --symmetry too")
    psize_A = number("psize", psize)

    def act() -> dict[str, Any]:
        probe(file, source)
        with ProgressBar(silent) as bar:
            return recover_and_name(file, given, psize_A, bar.show, source).as_dict()

    return Request(
        act, match_text, is_on(json), silent, lambda report: 0 if report["matched"] else 1
    )


def match_text(report: dict[str, Any]) -> str:
    """Lines about a match: the `MatchReport`, as a dict."""
    return "\n".join(
        [
            f"{report['file']}: {_verdict(report)}",
            *([f"--operators={report['operators_flag']}"] if report["is_part"] else []),
            *(f"note: {note}" for note in report["notes"]),
            *_table(report["copies"]),
        ]
    )


def _verdict(report: dict[str, Any]) -> str:
    """First line: what the copies are."""
    count = f"its {len(report['copies']):,} copies"
    found = report["description"]
    if report["verdict"] == "no group":
        return f"{count} are not known operators, and not a group: {found}"
    if report["verdict"] == "unnamed group":
        return f"{count} are a group in an orientation without a name: {found}"
    if report["verdict"] == "other":
        count += f" are not {report['given']}; they"
    if report["is_part"]:
        return (
            f"{count} are {len(report['copies']):,} of the {report['order']:,} operators of {found}"
        )
    return f"{count} are {found}"


def _table(copies: list[dict[str, Any]]) -> list[str]:
    """Table of the copies."""
    moved = any(
        abs(each["translation_A"][2]) > _LEAST_A for each in copies if each["translation_A"]
    )
    labels = [each["label"] or "-" for each in copies]
    width = max(5, *map(len, labels))
    head = f"{'copy':>5}  {'operator':>8}  {'label':<{width}}  {'angle_deg':>9}  {'axis':<24}"
    head += f"  {'z_A':>9}" if moved else ""
    lines = [f"{head}  {'particles':>10}  {'spread_deg':>10}"]
    for each, label in zip(copies, labels, strict=True):
        number = "-" if each["operator"] is None else each["operator"]
        axis = "  ".join(f"{round(part, 4) + 0.0:7.4f}" for part in each["axis"])
        line = f"{each['copy']:>5}  {number:>8}  {label:<{width}}  {each['angle_deg']:9.4f}  {axis}"
        line += f"  {round(each['translation_A'][2], 3) + 0.0:9.3f}" if moved else ""
        lines.append(f"{line}  {each['particles']:>10,}  {each['spread_deg']:10.4f}")
    return lines


def collapse(
    file: str,
    output: str,
    *,
    by: str | None = None,
    keep: str = "max",
    count: bool = False,
    expanded: str | None = None,
    source: str | None = None,
    overwrite: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Write one row for each particle that still has copies in the table.

    Example: numba-symexp collapse expanded_class3.h5 particles_class3.h5

    Parameters
    ----------
    file
        Expanded table with all of its rows or some; or a .cs or .star that was made from it, or by
        another program.
    output
        Particle table to write: .star for RELION, .cs (and a .csg beside it) for CryoSPARC, else
        HDF5. It has the source's columns, and the number of copies where the format has a place.
    by
        Column that tells the best copy of each particle, whose pose is then written.
    keep
        max or min: whether the largest or smallest value of that column is best.
    count
        Print how many particles have how many copies.
    expanded
        The expanded table that a .cs or .star was made from.
    source
        The table that the expanded one was expanded from, if the file has moved; without
        --expanded, the particles that another program expanded.
    overwrite
        Replace an existing file.
    json
        Print one JSON object.
    quiet
        No progress bar, no summary.
    """
    from numba_symexp.cli.probe import probe
    from numba_symexp.copies.collapse import collapse as undo

    silent, with_counts = is_on(quiet), is_on(count)

    def act() -> dict[str, Any]:
        probe(file, expanded, source)
        with ProgressBar(silent) as bar:
            made = undo(file, output, by, keep, expanded, is_on(overwrite), bar.show, source)
        return asdict(made)

    def text(result: dict[str, Any]) -> str:
        return (counts_text(result) if with_counts else "") + collapse_text(result)

    return Request(act, text, is_on(json), silent)


def collapse_text(made: dict[str, Any]) -> str:
    """Line about particles that were collapsed."""
    most = "smallest" if made["keep"] == "min" else "largest"
    best = f", the copy with the {most} {made['by']} of each" if made["by"] else ""
    notes = "".join(f"note: {note}\n" for note in made["notes"])
    files = " and ".join(made["files"])
    group = next((f"Import Result Group with {each}, then " for each in made["files"][1:]), "")
    return (
        f"{notes}wrote {files}: {made['particles']:,} of {made['of']:,} particles, of "
        f"{made['rows']:,} copies{best}\n"
        f"next: {group}any refinement, also a global one: each particle has one row"
    )


def counts_text(made: dict[str, Any]) -> str:
    """Table of how many particles have how many copies."""
    rows = "".join(f"{copies:>6}  {count:>9,}\n" for copies, count in made["counts"].items())
    return f"copies  particles\n{rows}"
