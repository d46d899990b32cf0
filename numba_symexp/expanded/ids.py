"""Values that no source has: ids of the mates, and half-sets drawn per particle."""

import hashlib

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.particles.columns import PoseColumns
from numba_symexp.particles.scan import blocks
from numba_symexp.particles.schema import HALF_SET_DTYPE
from numba_symexp.particles.table import ParticleTable
from numba_symexp.symmetry.operators import Operators

_ID_SPACE = 2**64


def first_new_id(fingerprint: str, operators: Operators, uids: Array) -> int:
    """First of the consecutive ids that the mates of all particles get.

    The mate of particle i under operator f > 0 of the full set of F gets
    ``first + i * (F - 1) + f - 1``; operator 0 keeps the particle's id. The first id is a hash of
    the source, the operators and the centers, so that a later subset of the same expansion gets
    the same ids and another expansion others. Where a particle's own id falls into the range, the
    next hash is taken.

    Parameters
    ----------
    fingerprint : str
        Of the poses and shifts of the source.
    operators : Operators
        The full set, with its centers.
    uids : (N,) uint64
        Ids of the particles, sorted.

    Raises
    ------
    SourceError
        There are more rows than ids.
    """
    count = len(uids) * (len(operators) - 1)
    if count + len(uids) > _ID_SPACE // 2:
        raise SourceError(f"{count:,} new ids do not fit 64 bits: expand fewer particles")
    digest = hashlib.sha256(fingerprint.encode())
    motions = operators.quaternion, operators.translation_A
    for part in (*motions, operators.center_A, operators.turn):  # without a turn no bytes
        digest.update((np.round(part, 9) + 0.0).astype("<f8").tobytes())
    attempt = 0
    while True:
        turn = digest.copy()
        turn.update(attempt.to_bytes(8, "little"))
        first = int.from_bytes(turn.digest()[:8], "little") % (_ID_SPACE - count)
        next_uid = int(np.searchsorted(uids, np.uint64(first)))
        if next_uid == len(uids) or int(uids[next_uid]) >= first + count:
            return first
        attempt += 1


class HalfSets:
    """A split into halves 0 and 1 that depends on the seed and the particle alone.

    Particles are taken in pairs of neighbors, and one of each pair is drawn for half 0, so the
    halves are equal. Segments of one tube overlap, so a whole tube goes to one half; the tubes,
    in an order drawn by the seed, alternate.

    Parameters
    ----------
    seed : int
        Any non-negative number.
    table, columns
        The source; its column of tubes decides, when it has one.

    Raises
    ------
    SourceError
        All segments belong to one tube, which cannot be split.
    """

    def __init__(self, seed: int, table: ParticleTable, columns: PoseColumns) -> None:
        self.seed = seed
        self._key = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:16], "little")
        self._tubes: Array | None = None
        if columns.tube is None:
            return
        tubes = np.empty(0, table.columns[columns.tube].dtype)
        for start, stop in blocks(table, [columns.tube]):
            tubes = np.union1d(tubes, table.read([columns.tube], start, stop)[columns.tube])
        if len(tubes) == 1:
            raise SourceError(
                f"{table.path}: all particles belong to one tube ({columns.tube} {tubes[0]}), "
                "which cannot be split into half-sets: expand without assign_halves="
            )
        self._tubes = tubes
        self._half_of_tube = np.empty(len(tubes), HALF_SET_DTYPE)
        drawn = np.argsort(self._bits(0, len(tubes)), kind="stable")
        self._half_of_tube[drawn] = np.arange(len(tubes)) % 2

    def of(self, start: int, stop: int, tube: Array | None) -> Array:
        """Half-sets of rows ``start`` to ``stop``, whose tubes are given when there are any."""
        if self._tubes is not None and tube is not None:
            return self._half_of_tube[np.searchsorted(self._tubes, tube)]
        row = np.arange(start, stop, dtype=np.uint64)
        first_pair, end_pair = start // 2, (stop + 1) // 2
        drawn = self._bits(first_pair, end_pair)[row // 2 - first_pair] & np.uint64(1)
        return ((row + drawn) % 2).astype(HALF_SET_DTYPE)

    def _bits(self, start: int, stop: int) -> Array:
        """Random 64-bit words ``start`` to ``stop`` of the seed's stream."""
        generator = np.random.Philox(key=self._key)
        words_per_step = 4
        generator.advance(start // words_per_step)
        skip = start % words_per_step
        return generator.random_raw(skip + stop - start)[skip:]
