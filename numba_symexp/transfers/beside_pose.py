"""Columns that belong to a pose: they go with it from one set to the other, or are dropped."""

from collections.abc import Sequence
from dataclasses import dataclass

from numba_symexp.formats.cryosparc.slots import SLOT
from numba_symexp.formats.relion.labels import TRACKS
from numba_symexp.particles.schema import POSE, PSIZE, SHIFT, SPLIT
from numba_symexp.particles.table import Column, ParticleTable
from numba_symexp.transfers.sets import PoseSet

_OWN_SLOT, _FLAT_SLOT = POSE.partition("/")[0], "alignments2D"

_ANGLE_PRIORS = ("rlnAngleRotPrior", "rlnAngleTiltPrior", "rlnAnglePsiPrior")
_FLIPS = ("rlnAnglePsiFlipRatio", "rlnAngleRotFlipRatio", "rlnAnglePsiFlip")
_ORIGIN_PRIORS_A = ("rlnOriginXPriorAngst", "rlnOriginYPriorAngst")
_ORIGIN_PRIORS_PX = ("rlnOriginXPrior", "rlnOriginYPrior")


@dataclass(frozen=True)
class ColumnsBesidePose:
    """What becomes of the columns that belong to a pose.

    Attributes
    ----------
    columns : dict of str to Column
        Columns that the output has of the source.
    dropped : tuple of str
        Columns of the target that would belong to its old poses.
    """

    columns: dict[str, Column]
    dropped: tuple[str, ...]

    @classmethod
    def of(cls, source: PoseSet, target: PoseSet, moved: bool) -> "ColumnsBesidePose":
        """Columns of two sets.

        Parameters
        ----------
        source, target : PoseSet
        moved : bool
            Whether shifts change, in A.
        """
        if target.is_text:
            columns, dropped = _labels(source.table, target.table, moved)
        else:
            columns, dropped = _slots(source.table, target.table, moved)
        used = {*target.pose_columns()[:2], SPLIT}
        columns = {name: each for name, each in columns.items() if name not in used}
        return cls(columns, tuple(name for name in dropped if name not in used))


def _labels(
    source: ParticleTable, target: ParticleTable, moved: bool
) -> tuple[dict[str, Column], list[str]]:
    """Priors, and places on tracks, whose sign is that of the pose."""
    columns, dropped = {}, []
    movable = () if moved else _ORIGIN_PRIORS_A
    for label in (*_ANGLE_PRIORS, *_FLIPS, *_ORIGIN_PRIORS_A, *_ORIGIN_PRIORS_PX):
        if label not in target.columns:
            continue
        here = source.header is not None and label in source.columns
        if here and label in (*_ANGLE_PRIORS, *_FLIPS, *movable):
            columns[label] = source.columns[label]
        else:
            dropped.append(label)
    track = TRACKS[0]
    if source.header is not None and track in source.columns and track in target.columns:
        columns[track] = source.columns[track]
    return columns, dropped


def _slots(
    source: ParticleTable, target: ParticleTable, moved: bool
) -> tuple[dict[str, Column], list[str]]:
    """Slots of further poses, as a whole; and the slot of the pose where the target has none."""
    columns: dict[str, Column] = {}
    dropped: list[str] = []
    for slot in dict.fromkeys(name.partition("/")[0] for name in target.columns):
        if not slot.startswith(SLOT) or slot in (_OWN_SLOT, _FLAT_SLOT):
            continue
        own = _inside(slot, target)
        if not {f"{slot}/pose", f"{slot}/shift"} & {*own}:
            continue
        new = _inside(slot, source)
        whole = {f"{slot}/{part}" for part in ("pose", "shift", "psize_A")} <= {*new}
        if whole and not moved:
            columns.update({name: source.columns[name] for name in new})
            dropped += [name for name in own if name not in new]
        else:
            dropped += own
    if not _inside(_OWN_SLOT, target) and source.header is None:
        new = _inside(_OWN_SLOT, source)
        columns.update({name: source.columns[name] for name in new if name != PSIZE})
        columns.pop(SHIFT, None)
    return columns, dropped


def _inside(slot: str, table: ParticleTable) -> Sequence[str]:
    """Columns of a slot."""
    return [
        name
        for name, column in table.columns.items()
        if name.startswith(f"{slot}/") and not column.dtype.hasobject
    ]
