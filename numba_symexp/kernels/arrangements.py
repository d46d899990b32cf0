"""Labelings of sites: the smallest of those that a turn makes one; pairs of labels."""

from numba_symexp.annotations import Array
from numba_symexp.kernels.jit import kernel, prange


@kernel
def turn_to_smallest(
    labels: Array, mates: Array, score: Array, pattern: Array, turn: Array, fixed: Array
) -> None:
    """Turn each particle so that its labels, f(h g) over all sites g, are the smallest.

    Parameters
    ----------
    labels : (N, S) uint8
        f(g) of each particle and site.
    mates : (K, S) int32
        Site h g of each turn h and each site g.
    score : (N, S) float32, or (N, 0)
        Of turns that give the same labels, the one with the largest score at the site of its
        first mate is taken; without scores, and of equals, the first.
    pattern : (N, S) uint8
        Filled: the smallest labels.
    turn : (N,) uint16
        Filled: place of h among the turns.
    fixed : (N,) uint16
        Filled: how many turns give the same labels.
    """
    sites, has_score = labels.shape[1], score.shape[1] > 0
    for particle in prange(len(labels)):
        best, same = 0, 1
        for k in range(1, len(mates)):
            order = 0
            for site in range(sites):
                here = labels[particle, mates[k, site]]
                there = labels[particle, mates[best, site]]
                if here != there:
                    order = -1 if here < there else 1
                    break
            if order < 0:
                best, same = k, 1
            elif order == 0:
                same += 1
                if has_score and score[particle, mates[k, 0]] > score[particle, mates[best, 0]]:
                    best = k
        turn[particle], fixed[particle] = best, same
        for site in range(sites):
            pattern[particle, site] = labels[particle, mates[best, site]]


@kernel
def count_pairs(labels: Array, weight: Array, relation: Array, counts: Array) -> None:
    """Count the pairs of labels in each relation, of particles that have all labels.

    Parameters
    ----------
    labels : (P, S) uint8
        Label of each site, below L.
    weight : (P,) int64
        How many particles have these labels.
    relation : (S, S) int32
        Relation of two sites, below R.
    counts : (T, R, L, L) int64
        Added to, by T threads.
    """
    rows, sites, parts = len(labels), labels.shape[1], len(counts)
    for part in prange(parts):
        for row in range(rows * part // parts, rows * (part + 1) // parts):
            for one in range(sites):
                a = labels[row, one]
                for other in range(one + 1, sites):
                    counts[part, relation[one, other], a, labels[row, other]] += weight[row]


@kernel
def count_pairs_with_gaps(
    labels: Array,
    weight: Array,
    relation: Array,
    place_A: Array,
    least_A: float,
    missing: int,
    degree: Array,
    counts: Array,
    edges: Array,
    stars: Array,
) -> None:
    """Count pairs likewise, and the pairs of sites that have labels and may be compared.

    Parameters
    ----------
    labels : (P, S) uint8
        Label of each site, below L, or ``missing``.
    weight, relation
        As above.
    place_A : (P, S, 2) float64, or (0, S, 2)
        Places in the image; pairs that are nearer than ``least_A`` are left out.
    least_A : float
    missing : int
    degree : (T, S, R) int32
        For T threads to work with.
    counts : (T, R, L, L) int64
        Added to.
    edges, stars : (P, R) int64
        Filled: how many pairs of sites have labels, and how many pairs of these share a site,
        S = sum_v C(d_v, 2) with the degrees d_v.
    """
    rows, sites, parts = len(labels), labels.shape[1], len(counts)
    projected = len(place_A) > 0
    for part in prange(parts):
        for row in range(rows * part // parts, rows * (part + 1) // parts):
            degree[part] = 0
            edges[row] = 0
            stars[row] = 0
            for one in range(sites):
                a = labels[row, one]
                if a == missing:
                    continue
                for other in range(one + 1, sites):
                    b, which = labels[row, other], relation[one, other]
                    if b == missing:
                        continue
                    if projected:
                        x = place_A[row, one, 0] - place_A[row, other, 0]
                        y = place_A[row, one, 1] - place_A[row, other, 1]
                        if x * x + y * y < least_A * least_A:
                            continue
                    counts[part, which, a, b] += weight[row]
                    edges[row, which] += 1
                    # an edge makes a pair with each that its sites had before
                    stars[row, which] += degree[part, one, which] + degree[part, other, which]
                    degree[part, one, which] += 1
                    degree[part, other, which] += 1
