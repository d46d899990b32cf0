"""The verb about labeled copies: `arrange`. It is written as the verbs of `expansion` are."""

from collections.abc import Sequence
from typing import Any

from numba_symexp.arrangements.report import are_few, in_short, letters, signed
from numba_symexp.cli.argv import Request
from numba_symexp.cli.flag_values import integer, is_on, number
from numba_symexp.cli.terminal import ProgressBar

_MOST_PAIRS = 30
"""Pairs of labels that are listed."""


def arrange(
    *files: str,
    expanded: str | None = None,
    source: str | None = None,
    by: str | None = None,
    label: str | None = None,
    output: str | None = None,
    keep: str | None = None,
    score: str | None = None,
    most: str = "20",
    min_projected_A: str | None = None,
    picture: str | None = None,
    overwrite: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> Request:
    """Say which subunits differ, in which arrangement, and whether more often than chance.

    Example: numba-symexp arrange classes.star --expanded=expanded.h5 --output=turned.star

    Parameters
    ----------
    files
        Labeled copies that came back of an expanded set: .star, .cs or HDF5; or one file for each
        class.
    expanded
        The expanded table that they come from; else the operators are told by the poses.
    source
        The table that was expanded, if the file has moved, or another program expanded it.
    by
        Column of the labels; else that of the class (rlnClassNumber, alignments3D/class, or the
        largest class_posterior of alignments3D_multi).
    label
        Names of the labels in their order, with commas; labels of one name are one.
    output
        Particle table to write (.star, .cs, else HDF5): one row for each particle, turned so that
        all particles of an arrangement coincide.
    keep
        Write these arrangements only: patterns or ids, with commas.
    score
        Column that settles which of equivalent turns is taken: the largest value wins.
    most
        How many arrangements are listed; 20 where this is not given.
    min_projected_A
        Leave out pairs of sites whose centers are nearer in the image (A).
    picture
        Draw the frequent arrangements and the pairs: .png, .svg or .pdf.
    overwrite
        Replace existing files.
    json
        Print one JSON object.
    quiet
        No progress bar, no report.
    """
    from numba_symexp.arrangements.arrange import arrange as find_arrangements
    from numba_symexp.cli.probe import probe

    silent = is_on(quiet)
    listed, least_A = integer("most", most), number("min_projected_A", min_projected_A)

    def act() -> dict[str, Any]:
        probe(*files, expanded, source)
        with ProgressBar(silent) as bar:
            return find_arrangements(
                files,
                expanded=expanded,
                source=source,
                by=by,
                label=label or (),
                output=output,
                keep=keep or (),
                score=score,
                most=20 if listed is None else listed,
                min_projected_A=least_A,
                picture=picture,
                overwrite=is_on(overwrite),
                progress=bar.show,
            ).as_dict()

    return Request(act, arrangements_text, is_on(json), silent)


def arrangements_text(report: dict[str, Any]) -> str:
    """Lines about arrangements: the `ArrangeReport`, as a dict."""
    short = letters([*report["labels"]])
    labels = ", ".join(
        f"{'' if letter == name else letter + ' = '}{name} {copies:,}"
        for letter, (name, copies) in zip(short, report["labels"].items(), strict=True)
    )
    lines = [
        f"{report['files'][0]}: {report['particles']:,} particles with {report['sites']:,} sites, "
        f"{report['symmetry']}",
        f"labels by {report['column']}: {labels}",
        *(f"note: {note}" for note in report["notes"]),
    ]
    if report["arrangements"]:
        lines += ["", *_arrangements(report)]
    if report["incomplete"]:
        lines += ["", *_incomplete(report)]
    if report["unlabeled"]:
        lines.append(f"{report['unlabeled']:,} particle(s) without any labeled copy")
    lines += ["", *_pairs(report)]
    if report["outputs"]:
        of = f": {report['written']:,} particles" if report["written"] else ""
        lines += ["", f"wrote {' and '.join(report['outputs'])}{of}"]
    if report["written"]:
        lines.append(
            "next: refinement in C1, or in the arrangement's own symmetry (each particle has one "
            "row)"
        )
    return "\n".join(lines)


def _arrangements(report: dict[str, Any]) -> list[str]:
    """Table of arrangements without gaps."""
    found, complete = report["arrangements"], report["complete"]
    rows = [
        (
            str(each["id"]),
            _pattern(each["pattern"], report["labels"]),
            f"{each['particles']:,}",
            f"{100 * each['particles'] / complete:.2f} %",
            f"{each['expected']:,.1f}",
            f"{each['expected_given_counts']:,.1f}",
            _score(each),
            f"{each['orbit']:,}",
            each["symmetry"],
        )
        for each in found
    ]
    head = (
        *("id", "pattern", "particles", "share", "if independent", "given counts", "score"),
        *("orbit", "symmetry"),
    )
    count = len(found) + report["further"][0]
    lines = [
        f"{complete:,} particles with all {report['sites']:,} labels: {count:,} of "
        f"{in_short(report['possible'])} possible arrangements",
        *_table(head, rows, left=(1, 8)),
    ]
    if report["further"][0]:
        lines.append(_further(report["further"]))
    return lines


def _score(each: dict[str, Any]) -> str:
    """Score of an arrangement, where it says something."""
    if each["score"] is None:
        return "-"
    if are_few(each["particles"], each["expected_given_counts"]):
        return "few"
    return signed(each["score"])


def _incomplete(report: dict[str, Any]) -> list[str]:
    """Table of labelings with gaps."""
    count = sum(each["particles"] for each in report["incomplete"])
    count += report["further_incomplete"][1]
    rows = [
        (str(each["id"]), _pattern(each["pattern"], report["labels"]), f"{each['particles']:,}")
        for each in report["incomplete"]
    ]
    lines = [
        f"{count:,} particles of which some copies did not come back (-):",
        *_table(("id", "pattern", "particles"), rows, left=(1,)),
    ]
    if report["further_incomplete"][0]:
        lines.append(_further(report["further_incomplete"]))
    return lines


def _further(rest: tuple[int, int]) -> str:
    """Line about what is not listed."""
    return f"{rest[0]:,} more: {rest[1]:,} particles"


def _pairs(report: dict[str, Any]) -> list[str]:
    """Table of pairs of labels, and a sentence about the strongest."""
    with_A = any(each["distance_A"] is not None for each in report["pairs"])
    shown = [each for each in report["pairs"] if each["pairs"] or each["expected"]]
    none = len(report["pairs"]) - len(shown)
    if len(shown) > _MOST_PAIRS:
        least = sorted(abs(each["score"] or 0.0) for each in shown)[-_MOST_PAIRS]
        shown = [each for each in shown if abs(each["score"] or 0.0) >= least][:_MOST_PAIRS]
    further = len(report["pairs"]) - len(shown) - none
    rows = [
        (
            each["relation"],
            f"{each['site_pairs']}" if each["site_pairs"] else "-",
            *([f"{each['distance_A']:.1f}" if each["distance_A"] is not None else "-"] * with_A),
            " ".join(each["labels"]),
            f"{each['pairs']:,}",
            f"{each['expected']:,.1f}",
            "-" if each["score"] is None else signed(each["score"]),
        )
        for each in shown
    ]
    distance = ["distance_A"] * with_A
    head = ("relation", "site pairs", *distance, "labels", "pairs", "expected", "score")
    left = (0, 3) if with_A else (0, 2)
    return [
        "pairs of labels, against labels permuted within each particle:",
        *_table(head, rows, left=left),
        *([f"{further:,} more have smaller scores"] if further else []),
        *([f"{none:,} more have sites that never came back together"] if none else []),
        _strongest(report),
    ]


def _strongest(report: dict[str, Any]) -> str:
    """Sentence about the pair with the largest score."""
    best = report["strongest"]
    if best is None:
        return "no pair can be tested: a permutation changes nothing"
    what = f"{best['labels'][0]} and {best['labels'][1]}, {best['relation']}"
    seen = (
        f"{best['pairs']:,} pairs, {best['expected']:,.1f} expected, score {signed(best['score'])}"
    )
    limit = f"{report['limit']:.1f}, which some pair passes by chance in one of 20 data sets"
    if abs(best["score"]) <= report["limit"]:
        return f"no score passes the limit of {limit}: the largest is {what} ({seen})"
    often = "more often" if best["score"] > 0 else "less often"
    return (
        f"strongest: {what}, {often} than by chance ({seen}; the limit is {limit}). The labels of "
        "a particle are counted as they are, so that other pairs must fall where one is preferred, "
        "and rise where one is avoided"
    )


def _pattern(pattern: tuple[str, ...], labels: dict[str, int]) -> str:
    """Text of a pattern, one character for each site."""
    short = dict(zip(labels, letters([*labels]), strict=True))
    return "".join(short.get(name, name) for name in pattern)


def _table(
    head: tuple[str, ...], rows: Sequence[tuple[str, ...]], left: tuple[int, ...]
) -> list[str]:
    """Lines of a table; columns are right-aligned, but for some."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
