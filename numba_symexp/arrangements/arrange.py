"""What the labeled copies say: which arrangements occur, and which labels stand beside which."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from numba_symexp.annotations import AnyPath, Array, Progress
from numba_symexp.arrangements.along_tubes import pairs_along_tubes
from numba_symexp.arrangements.labels import GAP, LabelColumn, Labels, odd_name, read_labels
from numba_symexp.arrangements.pairs import PairCounts, PairTally
from numba_symexp.arrangements.patterns import (
    MISSING,
    Chance,
    Patterns,
    chance,
    find_patterns,
    possible_arrangements,
)
from numba_symexp.arrangements.picture import ArrangementPicture
from numba_symexp.arrangements.report import (
    Arrangement,
    ArrangeReport,
    Incomplete,
    PairOfLabels,
)
from numba_symexp.arrangements.sites import Sites
from numba_symexp.arrangements.turned_particles import TurnedParticles
from numba_symexp.conversion.particle_output import ParticleOutput
from numba_symexp.copies.copies import Copies
from numba_symexp.copies.opening import open_labeled
from numba_symexp.errors import UsageError
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.files import path_list, path_or_none
from numba_symexp.kernels.codecs import convert
from numba_symexp.output import Draft
from numba_symexp.particles.scan import blocks
from numba_symexp.symmetry.descriptions import describe
from numba_symexp.symmetry.operators import Operators

_AT_ONCE = 1 << 23
"""Labels of so many copies are counted at a time."""


def arrange(
    files: AnyPath | Sequence[AnyPath],
    *,
    expanded: AnyPath | None = None,
    source: AnyPath | None = None,
    by: str | None = None,
    label: str | Sequence[str] = (),
    output: AnyPath | None = None,
    keep: str | Sequence[str] = (),
    score: str | None = None,
    most: int = 20,
    min_projected_A: float | None = None,
    picture: AnyPath | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ArrangeReport:
    """Say which subunits of the particles differ, in which arrangement, and more often than chance.

    Parameters
    ----------
    files : str or path, or several
        Labeled copies that came back of an expanded set: .star, .cs or HDF5. Of several files each
        is a class, where ``by`` is not given.
    expanded : str or path, optional
        The expanded table that they come from; of another program's expansion the operators are
        told by the poses.
    source : str or path, optional
        The table that was expanded, if the file has moved, or another program expanded it.
    by : str, optional
        Column of the labels; by default ``rlnClassNumber``, ``alignments3D/class``, or the largest
        of ``alignments3D_multi/class_posterior``.
    label : str or sequence of str
        Names of the labels in their order; labels of one name are one.
    output : str or path, optional
        Particle table to write, in the format that its suffix names: one row for each particle,
        turned so that all particles of an arrangement coincide.
    keep : str or sequence of str
        Patterns or ids of the arrangements whose particles are written; by default all.
    score : str, optional
        Column of the copies: of equivalent turns the one with the largest value at its first site
        is taken, else the one with the lowest number.
    most : int
        How many arrangements are listed.
    min_projected_A : float, optional
        Leave pairs of sites out whose centers are nearer in the image, A.
    picture : str or path, optional
        Picture to draw, .png, .svg or .pdf.
    overwrite : bool
        Replace existing files.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.

    Returns
    -------
    ArrangeReport

    Raises
    ------
    UsageError
        Options that cannot be, or do not go together.
    SymexpError
        What is wrong, where, and what to do. Nothing was written then.
    """
    paths = path_list(files)
    if not paths:
        raise UsageError("no files: give the labeled copies")
    if most < 1:
        raise UsageError(f"most={most} is not 1 or more")
    if min_projected_A is not None and not 0 < min_projected_A < np.inf:
        raise UsageError(f"min_projected_A={min_projected_A:g} is not a length above 0")
    names, kept = _words_of_option("label", label), _words_of_option("keep", keep)
    of, particles = map(path_or_none, (expanded, source))
    inputs = [*paths, of, particles]
    if output is None and (kept or score is not None):
        raise UsageError("keep= and score= say what is written: add output=")
    target = None if output is None else ParticleOutput(os.fspath(output), inputs, overwrite)
    drawn = None if picture is None else ArrangementPicture(picture, inputs, overwrite)
    with open_labeled(paths, of, particles) as copies:
        if target is not None:
            target.refuse_inputs([copies.source, copies.table])
        if drawn is not None:
            drawn.refuse_inputs([copies.source, copies.table])
        column = LabelColumn(copies.table, by, paths)
        if copies.expanded.operators.symmetry.is_helix:
            if target is not None or min_projected_A is not None or picture is not None:
                raise UsageError(
                    "of a helix pairs alone are counted: leave out output=, picture= and "
                    "min_projected_A="
                )
            labels = read_labels(copies, column, names, None, progress)
            return _helix(paths, copies, *_of_one_center(copies, labels))
        labels = read_labels(copies, column, names, score, progress)
        operators, labels = _of_one_center(copies, labels)
        job = _Job(copies, Sites.of(operators), min_projected_A)
        found = job.found(labels, most)
        report = ArrangeReport(files=tuple(paths), column=column.name, **found)
        drafts: contextlib.AbstractContextManager[Draft | None] = contextlib.nullcontext()
        if drawn is not None:  # before the particles are written, and named after them
            drafts = drawn.drawing(report, job.sites, [copies.table])
        with drafts as draft:
            if target is not None:
                report = job.write(target, report, kept, progress)
        if draft is not None:
            report = replace(
                report,
                outputs=(*report.outputs, draft.output.name),
                notes=(*report.notes, *draft.notes),
            )
        for table in (copies.table, copies.source) if target else (copies.table,):
            table.check_unchanged()
        return report


def _words_of_option(name: str, given: str | Sequence[str]) -> list[str]:
    """Words of an option, given as a text with commas or one by one."""
    words = given.split(",") if isinstance(given, str) else list(given)
    if any(not isinstance(word, str) or not word for word in words if given):
        raise UsageError(f"{name}= has an empty name: give names with commas between them")
    for word in words if given else ():
        if name == "label" and odd_name(word):
            raise UsageError(
                f"label={word!r}: a name has no blank, quote, colon or #, and {GAP} is a copy that "
                "did not come back: choose another"
            )
    return words if given else []


class _Job:
    """Labeled copies of a point group, and what is made of them."""

    def __init__(self, copies: Copies, sites: Sites, min_projected_A: float | None) -> None:
        self._copies, self.sites, self._least_A = copies, sites, min_projected_A
        if min_projected_A is not None and not copies.expanded.operators.center_A.any():
            raise UsageError(
                "min_projected_A= needs the centers of the sites, and the set has none: expand it "
                "about a center"
            )

    def found(self, labels: Labels, most: int) -> dict[str, Any]:
        """Everything that the report says of arrangements and pairs."""
        sites, self._names = self.sites, labels.names
        tally = PairTally(sites.relation, len(sites.relations), len(labels.names))
        if self._least_A is not None:
            self._add_projected(tally, labels.codes, self._least_A)
        self._absent = int((labels.codes == MISSING).all(axis=0).sum())
        patterns = self.patterns = find_patterns(labels.codes, sites, labels.score)
        if self._least_A is None:
            step = max(1, _AT_ONCE // len(sites))
            for start in range(0, patterns.told, step):
                part = slice(start, min(start + step, patterns.told))
                tally.add(patterns.labels(part), patterns.particles[part])
        counts = tally.counts()
        by_chance = chance(patterns, sites, labels.copies)
        shown, told = min(most, patterns.complete), patterns.told
        gaps = slice(patterns.complete, min(patterns.complete + most, told))
        return {
            "symmetry": describe(sites.operators),
            "particles": len(labels.codes),
            "labels": dict(zip(labels.names, labels.copies.tolist(), strict=True)),
            "sites": len(sites),
            "group_order": len(sites.turns),
            "complete": int(patterns.particles[: patterns.complete].sum()),
            "possible": possible_arrangements(sites, len(labels.names)),
            "arrangements": tuple(self._arrangement(k, by_chance) for k in range(shown)),
            "further": _not_listed(patterns, shown, patterns.complete),
            "incomplete": tuple(
                Incomplete(
                    k + 1,
                    self._pattern(patterns.labels(slice(k, k + 1))[0]),
                    int(patterns.particles[k]),
                )
                for k in range(gaps.start, gaps.stop)
            ),
            "further_incomplete": _not_listed(patterns, gaps.stop, told),
            "unlabeled": int(patterns.particles[told:].sum()),
            "pairs": tuple(_pairs(counts, sites, labels.names)),
            "limit": counts.limit,
            "notes": tuple(self._notes()),
        }

    def write(
        self,
        target: ParticleOutput,
        report: ArrangeReport,
        keep: Sequence[str],
        progress: Progress | None,
    ) -> ArrangeReport:
        """Write the particles, turned; give the report that says so."""
        made = TurnedParticles(self._copies, self.sites, self.patterns, self._names)
        written, notes = made.write(target, keep, progress)
        return replace(report, outputs=target.names, written=written, notes=(*report.notes, *notes))

    def _arrangement(self, number: int, by_chance: Chance) -> Arrangement:
        """One arrangement."""
        patterns, sites = self.patterns, self.sites
        labels = patterns.labels(slice(number, number + 1))[0]
        score = float(by_chance.score[number])
        same = np.flatnonzero((labels[sites.mates] == labels).all(axis=1))
        return Arrangement(
            id=number + 1,
            pattern=self._pattern(labels),
            particles=int(patterns.particles[number]),
            expected=float(by_chance.independent[number]),
            expected_given_counts=float(by_chance.given_counts[number]),
            score=None if np.isnan(score) else score,
            orbit=int(by_chance.orbit[number]),
            symmetry=sites.symmetry_of(same),
        )

    def _pattern(self, labels: Array) -> tuple[str, ...]:
        """Names of the labels of a pattern."""
        return tuple(GAP if code == MISSING else self._names[code - 1] for code in labels.tolist())

    def _add_projected(self, tally: PairTally, codes: Array, least_A: float) -> None:
        """Add all particles, without pairs whose centers are close in the image."""
        known = self._copies.expanded
        pose, _, form = known.pose_columns
        places_A = self.sites.operators.motion_A
        for start, stop in blocks(self._copies.source, [pose]):
            matrix = convert(self._copies.source.read([pose], start, stop)[pose], form, "matrix")
            # x_image = (A x)_xy with A = exp(v)^T
            seen_A = np.einsum("nij,si->nsj", matrix[:, :, :2], places_A)
            tally.add(codes[start:stop], np.ones(stop - start, np.int64), seen_A, least_A)

    def _notes(self) -> list[str]:
        """What a user should know of the sites."""
        notes, sites = list(self._copies.notes), self.sites
        if sites.by_subgroup:
            notes.append(
                f"each site stands for {len(sites.operators.subgroup)} operators of a subgroup, on "
                "which the labels must not depend"
            )
        if len(sites.turns) == 1:
            notes.append(
                "no turn but the identity takes these sites to each other: each labeling is an "
                "arrangement of its own"
            )
        if self._absent:
            notes.append(f"of {self._absent} of {len(sites)} operators no copy came back")
        is_told = isinstance(self._copies.expanded, ExpandedTable)
        if not is_told and (self._absent or len(sites.turns) == 1):
            notes.append(
                "if the set was made with unique=True or modulo=, its sites are known to its "
                "expanded table in HDF5 alone: expand the same particles with the same options "
                "into a .h5, and give it with expanded="
            )
        if self._least_A is not None:
            notes.append(
                f"pairs of sites that are nearer than {self._least_A:g} A in the image are left out"
            )
        return notes


def _of_one_center(copies: Copies, labels: Labels) -> tuple[Operators, Labels]:
    """Operators and labels of the one center that copies came back of.

    Raises
    ------
    UsageError
        They came back of several: places of different kinds, whose labels chance does not exchange.
    """
    operators = copies.expanded.operators
    parts = operators.of_each_center()
    if len(parts) == 1:
        return operators, labels
    labeled = (labels.codes != MISSING).any(axis=0)
    centers = np.unique(operators.center_index[labeled])
    if len(centers) > 1:
        raise UsageError(
            f"{copies.table.path}: has labels about {len(centers)} centers, and arrangements are "
            "of sites of one kind: select the rows of one of them (select, centers=0), then "
            "arrange those"
        )
    here = operators.center_index == centers[0]
    score = None if labels.score is None else np.ascontiguousarray(labels.score[:, here])
    codes = np.ascontiguousarray(labels.codes[:, here])
    return parts[int(centers[0])], replace(labels, codes=codes, score=score)


def _helix(
    paths: Sequence[str], copies: Copies, operators: Operators, labels: Labels
) -> ArrangeReport:
    """Report about a helix."""
    counts, notes = pairs_along_tubes(copies.source, operators, labels)
    pairs = []
    score = counts.score
    for apart in range(len(counts.seen)):
        for a, b in _label_pairs(labels.names):
            pairs.append(
                PairOfLabels(
                    relation=f"j' - j = {apart + 1}",
                    site_pairs=0,
                    labels=(labels.names[a], labels.names[b]),
                    pairs=int(counts.seen[apart, a, b]),
                    expected=float(counts.expected[apart, a, b]),
                    score=_or_none(score[apart, a, b]),
                )
            )
    told = (labels.codes != MISSING).sum(axis=1)
    return ArrangeReport(
        files=tuple(paths),
        column=labels.column,
        symmetry=describe(operators),
        particles=len(labels.codes),
        labels=dict(zip(labels.names, labels.copies.tolist(), strict=True)),
        sites=len(operators),
        group_order=1,
        complete=int((told == len(operators)).sum()),
        possible=0,
        arrangements=(),
        further=(0, 0),
        incomplete=(),
        further_incomplete=(0, 0),
        unlabeled=int((told == 0).sum()),
        pairs=tuple(pairs),
        limit=counts.limit,
        notes=(*copies.notes, *notes),
    )


def _not_listed(patterns: Patterns, first: int, last: int) -> tuple[int, int]:
    """How many patterns are not listed, and how many particles have them."""
    return last - first, int(patterns.particles[first:last].sum())


def _pairs(counts: PairCounts, sites: Sites, names: Sequence[str]) -> list[PairOfLabels]:
    """Pairs of labels, relation by relation."""
    score = counts.score
    return [
        PairOfLabels(
            relation=relation.name,
            site_pairs=relation.pairs,
            labels=(names[a], names[b]),
            pairs=int(counts.seen[number, a, b]),
            expected=float(counts.expected[number, a, b]),
            score=_or_none(score[number, a, b]),
            sites=relation.sites,
            angle_deg=relation.angle_deg,
            distance_A=relation.distance_A,
        )
        for number, relation in enumerate(sites.relations)
        for a, b in _label_pairs(names)
    ]


def _label_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Numbers of two labels, the lower one first."""
    return [(a, b) for a in range(len(names)) for b in range(a, len(names))]


def _or_none(score: float) -> float | None:
    """A score, or None for one that is not a number."""
    return None if np.isnan(score) else float(score)
