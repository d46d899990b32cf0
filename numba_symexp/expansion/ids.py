"""Ids of the expanded rows: distinct by construction, and the same in every run."""

import hashlib

import numpy as np

from numba_symexp.errors import SourceError
from numba_symexp.symmetry.operators import Operators
from numba_symexp.types import Array

_ID_SPACE = 2**64


def first_new_id(
    fingerprint: str,
    operators: Operators,
    uids: Array,
) -> int:
    """First of the consecutive ids that the mates of all particles get.

    The mate of particle i under operator f > 0 of the full set of F gets
    ``first + i * (F - 1) + f - 1``; operator 0 keeps the particle's id. The first id is a hash of
    the source, the operators and the centre, so that a later subset of the same expansion gets
    the same ids and another expansion others. Where a particle's own id falls into the range, the
    next hash is taken.

    Parameters
    ----------
    fingerprint : str
        Of the source.
    operators : Operators
        The full set, with its centre.
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
    for part in (operators.quaternion, operators.translation_A, operators.center_A):
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
