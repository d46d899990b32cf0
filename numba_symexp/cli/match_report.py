"""What the copies of a table are, in words, for a terminal."""

from typing import Any

_LEAST_A = 2e-3
"""Where no copy is moved along z by more, heights are not shown."""


def match_text(report: dict[str, Any]) -> str:
    """Lines about a match: the `MatchReport`, as a dict."""
    return "\n".join(
        [
            f"{report['file']}: {_verdict(report)}",
            *([f"--operators={report['operators_flag']}"] if report["is_part"] else []),
            *(f"note: {note}" for note in report["notes"]),
            *_reference(report["reference"]),
            *_table(report["copies"]),
        ]
    )


def _verdict(report: dict[str, Any]) -> str:
    """First line: what the copies are."""
    count = f"its {len(report['copies']):,} copies"
    said = report["description"]
    if report["verdict"] == "no group":
        return f"{count} are no known operators, and no group: {said}"
    if report["verdict"] == "unnamed group":
        return f"{count} are a group in an orientation that has no name: {said}"
    if report["verdict"] == "other":
        count += f" are not {report['given']}; they"
    if report["is_part"]:
        return (
            f"{count} are {len(report['copies']):,} of the {report['order']:,} operators of {said}"
        )
    return f"{count} are {said}"


def _reference(copy: int) -> list[str]:
    """Line about a reference that is not copy 0."""
    if not copy:
        return []
    return [
        f"note: motions are counted from copy {copy}, the middle of the helix, which RELION makes "
        "the original"
    ]


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
