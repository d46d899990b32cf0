"""Copy 0 of each particle, and the motion from it to every other copy."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from numba_symexp.annotations import Array, Progress
from numba_symexp.errors import SourceError
from numba_symexp.kernels.motions import relative_rotations
from numba_symexp.pose_block import Block
from numba_symexp.poses import INDEX, KEY, PSIZE_A, Poses
from numba_symexp.symmetry.interface import MAX_OPERATORS
from numba_symexp.symmetry.quaternions import multiply

_CONJUGATE = np.array([1.0, -1.0, -1.0, -1.0])

_SAME_PX = 1e-3
"""What text and float32 leave of a difference between equal shifts; a rise is far more."""

_MOSTLY = 0.75
"""Share of images with the same number of rows, below which copies are told by their motions."""

_SAME_MOTION = float(np.cos(np.deg2rad(1.5)))
"""Cosine of half of 3 degrees."""

_MERGED_AT_ONCE = 1 << 20


class Pairs(NamedTuple):
    """Copies, each with copy 0 of its particle.

    Attributes
    ----------
    copy : (n,) int64
        Place of each among `References.copies`.
    quaternion : (n, 4) float64
        Rotation R = exp(v_0) exp(v)^T of the map.
    reference : (n, 4) float64
        exp(v_0).
    moved_A : (n, 2) or (n, 3) float64
        s_0 - s.
    """

    copy: Array
    quaternion: Array
    reference: Array
    moved_A: Array


class References:
    """Copy 0 of each particle of a table.

    Parameters
    ----------
    rows : Poses
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` now and then.
    by_motion : bool
        Where only the order of the rows tells copies: have their motions tell them.

    Attributes
    ----------
    copies : (K,) int64
        Numbers of the copies that there are, ascending.
    particles : int
        Number of particles with a copy 0.
    orphans : (m,) uint64
        Keys of particles without, as far as `pairs` has come.
    uneven : int
        Images left out, since the number of their rows is not that of most.

    motions : (K, 4) float64 or None
        Motions by which copies are told, where only part of them is left.
    rows_of_images : dict of int to int
        How many images have how many rows, where only the order of the rows tells copies.

    Raises
    ------
    SourceError
        No copy 0 at all, or two of one particle; or more copies than operators can be.
    """

    def __init__(
        self, rows: Poses, progress: Progress | None = None, by_motion: bool = False
    ) -> None:
        self._rows, self._by_motion = rows, by_motion
        self.orphans = np.zeros(0, np.uint64)
        self.uneven = 0
        self.motions: Array | None = None
        self.rows_of_images: dict[int, int] = {}
        path, (key_column, name) = rows.table.path, rows.keys
        self.copies = np.zeros(0, np.int64)
        first = first_copy(rows)
        known = Known(rows.components, first)
        for block in rows.blocks((KEY, PSIZE_A)):
            if block.copy is not None:
                self.copies = np.union1d(self.copies, block.copy)
                if len(self.copies) > MAX_OPERATORS:
                    raise SourceError(
                        f"{path}: {name} has over {MAX_OPERATORS:,} values: these are no copies"
                    )
            known.add(block)
            if progress:
                progress(block.stop, 2 * rows.table.n_rows)
        known.merge()
        if not len(known.key):
            raise SourceError(
                f"{path}: no row has {name} {first}, to which the others could be compared: give a "
                "table with the original particles"
            )
        if name is None:
            self._keep_equal_numbers(known)
        elif known.rows.max() > 1:
            key = known.key[np.argmax(known.rows > 1)]
            raise SourceError(
                f"{path}: {key_column} {key} has two rows with {name} 0: remove the duplicates"
            )
        self.particles = len(known.key)
        self._known = known

    @property
    def by_order(self) -> bool:
        """Whether copies are told by the order of the rows of a particle."""
        return self._rows.keys[1] is None and self.motions is None

    def pairs(self) -> Iterator[tuple[int, Pairs]]:
        """All copies of particles that have a copy 0, with the number of rows up to there.

        Raises
        ------
        SourceError
            Shifts differ, and there is no pixel size.
        """
        seen = np.zeros(self.particles, np.uint32)
        for block in self._rows.blocks((KEY, PSIZE_A)):
            place = np.minimum(np.searchsorted(self._known.key, block.key), self.particles - 1)
            known = self._known.key[place] == block.key
            if block.copy is None:
                copy = np.zeros(len(place), np.int64)
                copy[known] = ranks(place[known], seen)
            else:
                copy = np.searchsorted(self.copies, block.copy)
                self.orphans = np.union1d(self.orphans, block.key[~known])
            place, copy = place[known], copy[known]
            if self.motions is not None:
                yield block.stop, self._told_by_motion(block, known, place)
                continue
            yield block.stop, self._with_references(block, known, place, copy)

    def _refuse_px(self, moved_A: Array) -> None:
        """Refuse shifts that differ where nothing says how large a pixel is."""
        if not self._rows.has_psize and np.abs(moved_A).max(initial=0) > _SAME_PX:
            raise SourceError(
                f"{self._rows.table.path}: shifts of copies differ by up to "
                f"{np.abs(moved_A).max():.4g} pixels, and no column says how large a pixel "
                "is: give psize=A_PER_PIXEL"
            )

    def _with_references(self, block: Block, known: Array, place: Array, copy: Array) -> Pairs:
        """Rows of a block, each with the first row of its particle."""
        moved_A = self._known.shift_A[place] - block.shift_A[known]
        self._refuse_px(moved_A)
        reference, turned = np.empty((2, len(place), 4))
        quaternion = np.ascontiguousarray(block.quaternion[known])
        relative_rotations(self._known.quaternion, place, quaternion, reference, turned)
        return Pairs(copy, turned, reference, moved_A)

    def _from_first(self, block: Block, known: Array, place: Array) -> Pairs:
        """Rows of a block, each with the first row of its particle; copies are not told."""
        return self._with_references(block, known, place, np.zeros(len(place), np.int64))

    def _told_by_motion(self, block: Block, known: Array, place: Array) -> Pairs:
        """Rows of a block with the copy that each is by its motion, there and back again.

        Which rows of a particle were kept is not written, but the motion between two of them is
        one of the symmetry, g^-1 h, and so is its inverse.
        """
        there = self._from_first(block, known, place)
        back = Pairs(
            there.copy,
            there.quaternion * _CONJUGATE,
            multiply(there.quaternion * _CONJUGATE, there.reference),
            -there.moved_A,
        )
        forward, backward = (self._nearest(each.quaternion) for each in (there, back))
        other = forward != backward
        both = [np.concatenate([one, two[other]]) for one, two in zip(there, back, strict=True)]
        return Pairs(np.concatenate([forward, backward[other]]), *both[1:])

    def _nearest(self, quaternion: Array) -> Array:
        """Nearest of the motions."""
        return np.abs(quaternion @ np.asarray(self.motions).T).argmax(axis=1)

    def _find_motions(self) -> Array:
        """Motions between rows of a particle, (K, 4): the identity, and one of each kind."""
        found = np.array([[1.0, 0.0, 0.0, 0.0]])
        for block in self._rows.blocks((KEY, PSIZE_A)):
            place = np.minimum(np.searchsorted(self._known.key, block.key), self.particles - 1)
            known = self._known.key[place] == block.key
            turned = self._from_first(block, known, place[known]).quaternion
            turned = np.concatenate([turned, turned * _CONJUGATE])
            for motion in found:
                turned = turned[np.abs(turned @ motion) < _SAME_MOTION]
            while len(turned) and len(found) < MAX_OPERATORS:
                found = np.concatenate([found, turned[:1]])
                turned = turned[np.abs(turned @ found[-1]) < _SAME_MOTION]
        return found

    def _keep_equal_numbers(self, images: "Known") -> None:
        """Keep images with as many rows as most have: in others the rank of a row tells no copy.

        Where many images have other numbers of rows, part of the copies is gone: then those with
        several rows are kept, and copies are told by their motions.
        """
        rows, count = np.unique(images.rows, return_counts=True)
        self.rows_of_images = dict(zip(rows.tolist(), count.tolist(), strict=True))
        most = rows[count.argmax()]
        torn = count.max() < _MOSTLY * len(images.key) or (most == 1 and len(rows) > 1)
        if torn or self._by_motion:
            images.keep(images.rows > 1)
            self._known, self.particles = images, len(images.key)
            self.motions = self._find_motions()
            self.copies = np.arange(len(self.motions))
            return
        self.copies = np.arange(most)
        self.uneven = len(images.key) - int(count.max())
        if self.uneven:
            images.keep(images.rows == most)


def first_copy(rows: Poses) -> int:
    """Number of the copy that others are compared to: 0, or the first one about its own center.

    Raises
    ------
    SourceError
        There are copies about several centers, between which motions are no operators.
    """
    operators = rows.operators
    if operators is None or len(operators.centers_A) == 1:
        return 0
    found = np.zeros(len(operators), np.bool_)
    for block in rows.blocks((INDEX,), pose=False):
        found[block.operator] = True
    centers = np.unique(operators.center_index[found])
    if len(centers) > 1:
        raise SourceError(
            f"{rows.table.path}: has copies about {len(centers)} centers, and motions are told "
            f"about one: select the rows of one of them (select, centers={centers[0]})"
        )
    return int(np.argmax(found))


class Known:
    """The first row that was added of each particle: 36 bytes of it.

    Parameters
    ----------
    components : int
        Of a shift.
    first : int
        Number of the copy that the others are compared to.

    Attributes
    ----------
    key : (P,) uint64
        Ascending.
    rows : (P,) uint32
        How many rows were added.
    quaternion, shift_A : (P, 4) and (P, 2 or 3) float32
        Of the first one, to more digits than a pose in float32 has.
    """

    def __init__(self, components: int, first: int) -> None:
        self._first = first
        self.key, self.rows = np.zeros(0, np.uint64), np.zeros(0, np.uint32)
        self.quaternion = np.zeros((0, 4), np.float32)
        self.shift_A = np.zeros((0, components), np.float32)
        self._waiting: list[list[Array]] = [[], [], [], []]
        self._rows_waiting = 0

    def add(self, block: Block) -> None:
        """Add the rows that are that copy, or all of them where only their order tells."""
        wanted = slice(None) if block.copy is None else block.copy == self._first
        key, first, rows = np.unique(block.key[wanted], return_index=True, return_counts=True)
        columns = (
            key,
            rows.astype(np.uint32),
            block.quaternion[wanted][first].astype(np.float32),
            block.shift_A[wanted][first].astype(np.float32),
        )
        for parts, column in zip(self._waiting, columns, strict=True):
            parts.append(column)
        self._rows_waiting += len(key)
        if self._rows_waiting > max(len(self.key), _MERGED_AT_ONCE):
            self.merge()

    def merge(self) -> None:
        """Put what was added in order."""
        keys, rows, quaternions, shifts = self._waiting
        key = np.concatenate([self.key, *keys])
        keys.clear()
        self.key, first, place = np.unique(key, return_index=True, return_inverse=True)
        every = np.concatenate([self.rows, *rows])
        self.rows = np.bincount(place, weights=every, minlength=len(first)).astype(np.uint32)
        del key, place, every
        self.quaternion = np.concatenate([self.quaternion, *quaternions])
        quaternions.clear()
        self.quaternion = self.quaternion[first]
        self.shift_A = np.concatenate([self.shift_A, *shifts])[first]
        self._waiting, self._rows_waiting = [[], [], [], []], 0

    def keep(self, which: Array) -> None:
        """Keep some particles, by a mask."""
        self.key, self.rows = self.key[which], self.rows[which]
        self.quaternion, self.shift_A = self.quaternion[which], self.shift_A[which]


def ranks(place: Array, seen: Array) -> Array:
    """Rank of each row among all rows of the same place so far, (n,) int64; counts in ``seen``."""
    order = np.argsort(place, kind="stable")
    unique, first, count = np.unique(place[order], return_index=True, return_counts=True)
    rank = np.empty(len(place), np.int64)
    rank[order] = np.arange(len(place)) - np.repeat(first - seen[unique].astype(np.int64), count)
    seen[unique] += count.astype(seen.dtype)
    return rank
