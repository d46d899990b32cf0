"""The slow, obvious twin of `arrange`: matrices, tuples and loops, from the conventions alone.

A labeling f gives each site a label. Had a particle been refined to the equivalent pose A h, its
copy g would be today's copy hg: f(g) -> f(hg). An arrangement is an orbit under that. A site is a
left coset m H; of a full set H is the identity alone, and of a chosen part S of the operators the
h with h S = S act. Labels are numbers from 0, and None is a copy that did not come back, which
sorts behind all labels. Nothing of the package is used here.
"""

import itertools
import math
from collections import Counter
from statistics import NormalDist

import naive
import numpy as np

NEAR = 1e-5
"""Two motions whose numbers differ by less are the same one."""


class Group:
    """Motions (R, t) that are closed under products, and their tables, by number."""

    def __init__(self, motions):
        self.motions = [(np.array(r, float), np.array(t, float)) for r, t in motions]
        self._rows = np.array([np.append(r, t) for r, t in self.motions])
        self.product = [[self.number(self._after(a, b)) for b in motions] for a in motions]
        everything = range(len(motions))
        self.one = self.number((np.eye(3), np.zeros(3)))
        self.inverse = [row.index(self.one) for row in self.product]
        assert all(sorted(row) == list(everything) for row in self.product)

    @staticmethod
    def _after(a, b):
        """Motion that does b first, then a."""
        return a[0] @ b[0], a[0] @ b[1] + a[1]

    def number(self, motion):
        """Number of a motion."""
        off = np.abs(self._rows - np.append(*motion)).max(axis=1)
        assert off.min() < NEAR, "no motion of the group"
        return int(off.argmin())

    def fold(self, number):
        """How often an element has to be repeated until nothing is moved."""
        times, power = 1, number
        while power != self.one:
            times, power = times + 1, self.product[power][number]
        return times

    def name(self, numbers):
        """Name of a subgroup: its order, and the largest fold in it, tell."""
        order, fold = len(numbers), max(self.fold(number) for number in numbers)
        if order == fold:
            return f"C{order}"
        if order == 2 * fold:
            return f"D{fold}"
        return {(12, 3): "T", (24, 4): "O", (60, 5): "I"}[order, fold]


def point_group(symbol, convention="cryosparc", center_A=(0, 0, 0)):
    """Group of a name; about another point c than the box center, x -> R (x - c) + c."""
    c = np.array(center_A, float)
    return Group([(r, c - r @ c) for r in naive.group(symbol, convention)])


def in_order(group, motions):
    """The same group, numbered as the motions of another list."""
    numbers = [group.number(motion) for motion in motions]
    assert sorted(numbers) == list(range(len(group.motions)))
    return Group([group.motions[number] for number in numbers])


def about_axis(group, fold, axis):
    """Numbers of the turns about an axis by parts of a full turn."""
    zero = np.zeros(3)
    return [group.number((naive.turn(axis, 360 * k / fold), zero)) for k in range(fold)]


class Sites:
    """Elements that stand for left cosets m H, and what the group does to them."""

    def __init__(self, group, members=None, part=None):
        self.group = group
        self.part = [group.one] if part is None else list(part)
        self.members = list(range(len(group.motions))) if members is None else list(members)
        self.cosets = [{group.product[m][k] for k in self.part} for m in self.members]
        self.acting = []
        for h in range(len(group.motions)):
            moved = [self._site(group.product[h][m]) for m in self.members]
            if None not in moved:
                self.acting.append((h, moved))

    def __len__(self):
        return len(self.members)

    def _site(self, element):
        """Site to which an element leads, or None."""
        for number, coset in enumerate(self.cosets):
            if element in coset:
                return number
        return None

    def orbit(self, labels):
        """All labelings that a change to an equivalent pose makes of one."""
        return {tuple(labels[site] for site in moved) for _, moved in self.acting}

    def pattern(self, labels):
        """The smallest labeling of the orbit; missing copies sort last."""
        return min(self.orbit(labels), key=lambda f: [(c is None, c) for c in f])

    def turners(self, labels):
        """Numbers of all h that make f(h .) the smallest."""
        wanted = self.pattern(labels)
        return [h for h, moved in self.acting if tuple(labels[site] for site in moved) == wanted]

    def stabilizer(self, labels):
        """Numbers of the k with f(k .) = f."""
        return [
            h
            for h, moved in self.acting
            if all(labels[site] == labels[j] for j, site in enumerate(moved))
        ]

    def possible(self, labels):
        """How many arrangements of complete particles there are, by Burnside's lemma."""
        total = 0
        for _, moved in self.acting:
            seen, cycles = set(), 0
            for start in range(len(moved)):
                cycles += start not in seen
                while start not in seen:
                    seen.add(start)
                    start = moved[start]
            total += labels**cycles
        assert total % len(self.acting) == 0
        return total // len(self.acting)

    def relation(self, i, j):
        """What two sites are to each other: H d H and that of the inverse, as a set of numbers."""
        product, inverse = self.group.product, self.group.inverse
        d = product[inverse[self.members[i]]][self.members[j]]
        both = {product[product[a][e]][b] for a in self.part for b in self.part
                for e in (d, inverse[d])}  # fmt: skip
        return frozenset(both)

    def relations(self):
        """Relation -> its pairs of sites, each once."""
        found = {}
        for i, j in itertools.combinations(range(len(self)), 2):
            found.setdefault(self.relation(i, j), []).append((i, j))
        return found

    def angle_deg(self, i, j):
        """Angle between two sites: of their rotations; of cosets, of the axes they stand on."""
        one, other = (self.group.motions[self.members[k]][0] for k in (i, j))
        if len(self.part) == 1:
            return math.degrees(naive.angle_rad(one, other))
        onto_axis = sum(self.group.motions[k][0] for k in self.part) / len(self.part)
        axis = max(onto_axis.T, key=np.linalg.norm)
        axis = axis / np.linalg.norm(axis)
        return math.degrees(math.acos(np.clip((one @ axis) @ (other @ axis), -1, 1)))

    def place(self, site, center_A):
        """Where a point of the map stands in a site."""
        rotation, moved = self.group.motions[self.members[site]]
        return rotation @ np.array(center_A, float) + moved


def is_complete(labels):
    """Whether every copy came back."""
    return None not in labels


def frequencies(labelings):
    """Label -> its share of all labeled copies."""
    count = Counter(c for labels in labelings for c in labels if c is not None)
    return {label: number / sum(count.values()) for label, number in count.items()}


def arrangements(sites, labelings):
    """Pattern -> what is seen and expected of it, of complete particles, most frequent first.

    ``expected`` is under independence with the frequencies of the labeled copies;
    ``given_counts``, with its score, among the particles with the same number of each label.
    """
    complete = [labels for labels in labelings if is_complete(labels)]
    seen = Counter(sites.pattern(labels) for labels in complete)
    same_counts = Counter(tuple(sorted(labels)) for labels in complete)
    share = frequencies(labelings)
    found = {}
    for pattern, particles in sorted(seen.items(), key=lambda each: (-each[1], each[0])):
        orbit, counts = len(sites.orbit(pattern)), Counter(pattern)
        assert orbit * len(sites.stabilizer(pattern)) == len(sites.acting)
        among = same_counts[tuple(sorted(pattern))]
        ways = math.factorial(len(sites))
        for number in counts.values():
            ways //= math.factorial(number)
        q = orbit / ways
        variance = among * q * (1 - q)
        found[pattern] = {
            "particles": particles,
            "orbit": orbit,
            "symmetry": sites.group.name(sites.stabilizer(pattern)),
            "expected": len(complete) * orbit * math.prod(share[c] ** n for c, n in counts.items()),
            "given_counts": among * q,
            "score": (particles - among * q) / math.sqrt(variance) if orbit < ways else None,
        }
    return found


def incomplete(sites, labelings):
    """Pattern -> particles, of those with some labels and some missing; most frequent first."""
    some = [f for f in labelings if not is_complete(f) and set(f) != {None}]
    seen = Counter(sites.pattern(labels) for labels in some)
    order = sorted(seen.items(), key=lambda each: (-each[1], [(c is None, c) for c in each[0]]))
    return dict(order)


def numbered(sites, labelings):
    """Pattern -> id: from 1 by number of particles, those with missing copies behind."""
    patterns = [*arrangements(sites, labelings), *incomplete(sites, labelings)]
    return {pattern: number for number, pattern in enumerate(patterns, start=1)}


def together(edges, labels, a, b):
    """How many edges join a site with label a to one with label b."""
    return sum({labels[i], labels[j]} == {a, b} for i, j in edges)


def falling(n, k):
    """Product of k factors: n (n - 1) ..."""
    return math.prod(n - each for each in range(k))


def by_formula(edges, labels, a, b):
    """Mean and variance of `together` when the labels are permuted over the labeled sites."""
    inside = [(i, j) for i, j in edges if labels[i] is not None and labels[j] is not None]
    count = Counter(c for c in labels if c is not None)
    m, n_a, n_b, pairs = sum(count.values()), count[a], count[b], len(inside)
    if m < 2 or not pairs:
        return 0.0, 0.0
    degree = Counter(site for edge in inside for site in edge)
    meeting = sum(d * (d - 1) // 2 for d in degree.values())
    apart = pairs * (pairs - 1) // 2 - meeting

    def share(number, k):
        return number / falling(m, k) if falling(m, k) else 0.0

    if a == b:
        mean = pairs * share(falling(n_a, 2), 2)
        square = mean + 2 * (
            meeting * share(falling(n_a, 3), 3) + apart * share(falling(n_a, 4), 4)
        )
    else:
        mean = 2 * pairs * share(n_a * n_b, 2)
        square = mean + 2 * (
            meeting * share(n_a * falling(n_b, 2) + n_b * falling(n_a, 2), 3)
            + 4 * apart * share(falling(n_a, 2) * falling(n_b, 2), 4)
        )
    return mean, square - mean**2


def by_permutations(edges, labels, a, b):
    """The same, by permuting."""
    places = [site for site, label in enumerate(labels) if label is not None]
    values = []
    for order in itertools.permutations([labels[site] for site in places]):
        shuffled = list(labels)
        for site, label in zip(places, order, strict=True):
            shuffled[site] = label
        values.append(together(edges, shuffled, a, b))
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / len(values)


def pair_rows(edges_of, labelings, labels, chance=by_formula):
    """(relation, a, b) -> pairs seen, expected and variance, summed over the particles.

    ``edges_of`` gives relation -> edges of each particle (or tube), by its number.
    """
    found = {}
    for particle, labeling in enumerate(labelings):
        for relation, edges in edges_of(particle).items():
            for a, b in itertools.combinations_with_replacement(range(labels), 2):
                row = found.setdefault((relation, a, b), [0, 0.0, 0.0])
                mean, variance = chance(edges, labeling, a, b)
                row[0] += together(edges, labeling, a, b)
                row[1] += mean
                row[2] += variance
    return found


def score(row):
    """Standard score of a row of pairs, or None where nothing can vary."""
    seen, expected, variance = row
    return (seen - expected) / math.sqrt(variance) if variance > 1e-9 else None


def limit(rows):
    """Two-sided limit of 5 % for all rows with a score, by Bonferroni."""
    count = sum(score(row) is not None for row in rows)
    return NormalDist().inv_cdf(1 - 0.05 / (2 * count))


def apart_in_image(sites, pose, center_A, smallest_A):
    """Relation -> pairs of sites whose points stand that far apart in the image of a pose A."""
    places = [(pose @ sites.place(site, center_A))[:2] for site in range(len(sites))]
    return {
        relation: [(i, j) for i, j in pairs if np.hypot(*(places[i] - places[j])) >= smallest_A]
        for relation, pairs in sites.relations().items()
    }


def tube_edges(places):
    """Difference -> edges, of the sites of a tube that have these numbers along it."""
    found = {}
    for i, j in itertools.combinations(range(len(places)), 2):
        found.setdefault(abs(places[j] - places[i]), []).append((i, j))
    return found
