"""The comparison of a map with its copies, in words, for a terminal."""

from typing import Any


def map_text(report: dict[str, Any]) -> str:
    """Lines about a map: the `MapReport`, as a dict."""
    named = report["named"]
    width = max(len(each["label"]) for each in named["operators"])
    x, y, z = report["box"]
    lines = [
        f"{report['file']}: {x} x {y} x {z} voxels of {report['psize_A']:.4g} A, compared at "
        f"{report['compared_A']:.4g} A per voxel, {report['mask_voxels']:,} voxels in the mask",
        *_without(report["without"]),
        *(f"  {each['label']:<{width}}  {_operator(each)}" for each in named["operators"]),
        f"{named['description']}: worst {_number(named['worst'])}, mean {_number(named['mean'])}",
        *(f"{each['description']}: {_number(each['worst'])}" for each in report["others"]),
    ]
    if report["ceiling"] is not None:
        lines.append(
            f"noise is {100 * report['noise']:.0f} % of the variance: the best correlation that "
            f"can be expected is {report['ceiling']:.2f}, and {100 * report['threshold']:g} % of "
            "it counts as a match"
        )
    lines += [f"warning: {note}" for note in report["notes"]]
    return "\n".join([*lines, f"{report['file']}: {report['verdict']}"])


def _without(over: str) -> list[str]:
    """Line about what was taken out of the density."""
    if over not in _WHERE:
        return []
    return [
        f"correlations are of what is left without the means over {_WHERE[over]}, which every "
        "orientation keeps"
    ]


_WHERE = {
    "spheres": "spheres about the centre",
    "rings": "rings about z",
    "pairs": "rings about z, those above and below the centre together",
    "cylinders": "cylinders about z",
}


def _operator(fit: dict[str, Any]) -> str:
    """Correlation of one operator."""
    return "outside the box" if fit["correlation"] is None else f"{fit['correlation']:6.3f}"


def _number(value: float | None) -> str:
    """Correlation of an orientation."""
    return "not compared" if value is None else f"{value:.3f}"
