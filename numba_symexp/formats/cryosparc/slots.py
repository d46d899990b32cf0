"""Slots of CryoSPARC with further 3D poses of a particle, which turn with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from numba_symexp.annotations import Array
from numba_symexp.particles.columns import native
from numba_symexp.particles.schema import POSE
from numba_symexp.particles.table import CRYOSPARC, Column, ParticleTable, in_short
from numba_symexp.symmetry.mates import mates
from numba_symexp.symmetry.operators import Operators

SLOT, _OWN_SLOT, _FLAT = "alignments", "alignments3D", "alignments2D"
"""How slots of poses begin; the one that the rows fill; and the one that belongs to the image."""


@dataclass(frozen=True)
class Slot:
    """A slot with further 3D poses of each particle: names of its columns, and their shape."""

    pose: str
    shift: str | None
    psize: str | None
    is_sound: bool

    @classmethod
    def of(cls, slot: str, columns: Mapping[str, Column]) -> "Slot":
        """Columns of a slot; poses may be one or several a particle."""
        pose, shift, psize = (f"{slot}/{name}" for name in ("pose", "shift", "psize_A"))
        poses, shifts, sizes = (columns.get(name) for name in (pose, shift, psize))
        sound = poses is not None and poses.dtype.kind == "f" and poses.shape[-1:] == (3,)
        if poses is not None and shifts is not None:
            sound = sound and shifts.dtype.kind == "f"
            sound = sound and shifts.shape == (*poses.shape[:-1], 2)
        if sizes is not None and (sizes.shape or sizes.dtype.kind != "f"):
            psize = ""
        return cls(
            pose if poses else "", shift if shifts else None, psize if sizes else None, sound
        )

    @property
    def columns(self) -> list[str]:
        """Columns that turn and move."""
        return [name for name in (self.pose, self.shift) if name]

    @property
    def needed(self) -> list[str]:
        """Columns that are read."""
        return [name for name in (self.pose, self.shift, self.psize) if name]

    def turns(self, operators: Operators) -> bool:
        """Whether it is known how the slot turns and moves with the copies."""
        stays = not operators.moves or not self.shift
        return stays if not self.pose else self.is_sound and bool(stays or self.psize)

    def turned(
        self, rows: Mapping[str, Array], operators: Operators, operator: Array
    ) -> dict[str, Array]:
        """Poses and shifts of rows, each turned and moved by its operator."""
        made = mates(
            rows[self.pose],
            "rotvec",
            operators,
            operator,
            rows[self.shift] if self.shift else None,
            rows[self.psize] if self.psize else None,
        )
        return dict(zip(self.columns, made, strict=False))


def slots_in_place(columns: Mapping[str, Column]) -> tuple[dict[str, str], list[str]]:
    """Which further shifts move with a box that is cut anew, and which cannot.

    Returns
    -------
    moving : dict of str to str
        Column of shifts -> column of the A per pixel that they are in.
    gone : list of str
        Columns of slots whose shifts nothing says the pixel of, or that belong to the old image.
    """
    moving: dict[str, str] = {}
    gone: list[str] = []
    for slot in dict.fromkeys(name.partition("/")[0] for name in columns):
        if slot == _OWN_SLOT or not slot.startswith(SLOT):
            continue
        found = Slot.of(slot, columns)
        if slot == _FLAT:
            gone += [name for name in columns if name.startswith(f"{slot}/")]
        elif found.shift and not (found.psize and found.is_sound):
            gone += found.columns
        elif found.shift and found.psize:
            moving[found.shift] = found.psize
    return moving, gone


def why_left_out(gone: Sequence[str], columns: Iterable[str]) -> list[str]:
    """Say why columns that `further_slots` gives as those that cannot turn are left out.

    Parameters
    ----------
    gone : sequence of str
    columns : iterable of str
        All columns, before.
    """
    columns = list(columns)
    flat = [name for name in gone if name.startswith(f"{_FLAT}/")]
    others = [name for name in gone if name not in flat]
    notes = []
    if flat:
        notes.append(f"left out, since the images move: {in_short(flat, columns)}")
    if others:
        told = in_short(others, columns)
        notes.append(f"left out, since nothing says how these poses turn with the copies: {told}")
    return notes


def further_slots(
    columns: Mapping[str, Column], operators: Operators
) -> tuple[list[Slot], list[str]]:
    """Slots with further 3D poses, which turn with particles; and columns of those that cannot."""
    slots: list[Slot] = []
    gone: list[str] = []
    for slot in dict.fromkeys(name.partition("/")[0] for name in columns):
        if slot == _FLAT and operators.center_A.any():
            gone += [name for name in columns if name.startswith(f"{slot}/")]
        if slot in (_FLAT, _OWN_SLOT) or not slot.startswith(SLOT):
            continue
        found = Slot.of(slot, columns)
        if not found.turns(operators):
            gone += found.columns
        elif found.pose:
            slots.append(found)
    return slots, gone


def slots_beside(
    pose_columns: tuple[str, str, str], table: ParticleTable, operators: Operators
) -> tuple[list[Slot], list[str]]:
    """`further_slots` of a table, whose own pose may be that of any slot; none of RELION's."""
    if table.vocabulary != CRYOSPARC:
        return [], []
    own = pose_columns[:2]
    others = {name: column for name, column in table.columns.items() if name not in own}
    slots, gone = further_slots(others, operators)
    if pose_columns[0] != POSE and POSE in others:
        slots.append(Slot.of(_OWN_SLOT, others))
    return slots, gone


def turned_slots(
    slots: Sequence[Slot],
    names: Iterable[str],
    table: ParticleTable,
    rows: Array,
    operators: Operators,
    operator: Array,
) -> dict[str, Array]:
    """Poses and shifts of further slots, of some rows of a table, each turned by its operator.

    Parameters
    ----------
    slots : sequence of Slot
    names : iterable of str
        Columns that are wanted.
    table : ParticleTable
    rows : (n,) int64
        Rows of the table.
    operators : Operators
    operator : (n,) int
        By which of them each row is turned.
    """
    names, found = {*names}, {}
    for slot in slots:
        if names & {*slot.columns}:
            read = {name: native(each) for name, each in table.read_at(slot.needed, rows).items()}
            for name, each in slot.turned(read, operators, operator).items():
                found[name] = each.astype(read[name].dtype)
    return {name: each for name, each in found.items() if name in names}
