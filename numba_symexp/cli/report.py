"""Results in words, for a terminal."""

from typing import Any

from numba_symexp.cli.histogram import histogram_text

NEXT_STEPS = (
    "next: local refinement, 3D classification or variability, in C1; "
    "never a global refinement (copies of a particle spoil the FSC)"
)


_NOT_GIVEN: tuple[Any, ...] = (None, False, [], ())


def summary_text(summary: dict[str, Any]) -> str:
    """Lines about an expansion that was done, or would be: the `Summary`, as a dict."""
    dry = summary["dry_run"]
    rate = summary["rows"] / summary["seconds"] if summary["seconds"] else 0
    ending = (
        "; nothing was written" if dry else f", {summary['seconds']:.2f} s ({rate:,.0f} rows/s)"
    )
    return "\n".join(
        [
            summary["description"],
            f"{'would write' if dry else 'wrote'} {summary['output']}: {summary['particles']:,} "
            f"particles x {summary['operators']:,} = {summary['rows']:,} rows, "
            f"{_size(summary['bytes'])}{ending}",
            NEXT_STEPS,
        ]
    )


def inspection_text(report: dict[str, Any]) -> str:
    """Lines about a table."""
    lines = [
        f"{report['file']}: {report['table']}, {report['layout']}, {report['particles']:,} rows",
        *(f"  {name}  {column}" for name, column in report["columns"].items()),
    ]
    if "expansion" in report:
        made = report["expansion"]
        lines.append(f"expanded: {made['symmetry']}")
        lines.append(
            f"  from {made['particles']:,} particles of {made['source']}, {made['created']}, "
            f"{made['generated_by']}"
        )
        lines.append(f"  {_provenance(made['provenance'])}")
    if "views" in report:
        lines += histogram_text(report["views"])
    lines += [f"note: {note}" for note in report["notes"]]
    lines.append(
        "can be expanded" if report["expandable"] else f"not to be expanded: {report['reason']}"
    )
    return "\n".join(lines)


def verification_text(report: dict[str, Any]) -> str:
    """Lines about a verification: the `VerificationReport`, as a dict."""
    lines = [
        f"{check['number']:>2} {'ok  ' if check['passed'] else 'FAIL'} {check['name']}: "
        f"{check['detail']}"
        for check in report["checks"]
    ]
    verdict = "verified" if report["passed"] else "not what it should be"
    return "\n".join([*lines, f"{report['file']}: {verdict}"])


def collapse_text(made: dict[str, Any]) -> str:
    """Line about particles that were collapsed."""
    best = f", the copy with the {made['keep']} {made['by']} of each" if made["by"] else ""
    notes = "".join(f"note: {note}\n" for note in made["notes"])
    return (
        f"{notes}wrote {made['output']}: {made['particles']:,} of {made['of']:,} particles, of "
        f"{made['rows']:,} copies{best}"
    )


def counts_text(made: dict[str, Any]) -> str:
    """Table of how many particles have how many copies."""
    rows = "".join(f"{copies:>6}  {count:>9,}\n" for copies, count in made["counts"].items())
    return f"copies  particles\n{rows}"


def import_text(made: dict[str, Any]) -> str:
    """Lines about particles that were imported."""
    return "\n".join(
        [
            *(f"note: {note}" for note in made["notes"]),
            f"wrote {made['output']}: {made['particles']:,} particles, {made['columns']} columns "
            f"({made['convention']})",
        ]
    )


def export_text(made: dict[str, Any]) -> str:
    """Lines about rows that were exported."""
    return "\n".join(
        [
            *(f"note: {note}" for note in made["notes"]),
            f"wrote {' and '.join(made['files'])}: {made['rows']:,} rows",
            *([NEXT_STEPS] if made["expanded"] else []),
        ]
    )


def example_text(made: dict[str, Any]) -> str:
    """Line about an example that was written."""
    notes = "".join(f"note: {note}\n" for note in made["notes"])
    return f"{notes}wrote {made['output']}: {made['particles']:,} particles"


def _provenance(record: dict[str, Any]) -> str:
    """How a table was made, in a line: the parameters that were given, and the resources."""
    given = [
        f"{name}={value}" for name, value in record["parameters"].items() if value not in _NOT_GIVEN
    ]
    spent = record.get("resources")
    ending = ""
    if isinstance(spent, dict) and {"elapsed_s", "max_memory_B"} <= spent.keys():
        ending = f"; {float(spent['elapsed_s']):.2f} s, {_size(float(spent['max_memory_B']))}"
    return f"with {', '.join(given)}{ending}"


def _size(count: float) -> str:
    """Bytes in the unit that a person reads."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} GB"
