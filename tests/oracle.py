"""Whole tables from the formulas: what every row must be, and slow, obvious readers of the files.

A pose is the matrix A, which turns the map into the image, and the shift s in A: x_image =
(A x_map)_xy - s, in all three components for subtomograms. An operator is a pair (R, t): it moves
the map, x -> R x + t, without changing it. A copy is (operator, center, Q). Nothing of the package
is used here.
"""

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field

import h5py
import numpy as np
from naive import PHI, closure, exp, from_quaternion, helix_units, turn

X, Y, Z = np.eye(3)
NO_CENTER = (0, 0, 0)

# Symmetries: folds and axes that generate each group, and what each program calls it.

ICOSAHEDRAL = {
    "I1": ((2, Z), (5, (0, 1, PHI))),
    "I2": ((2, Z), (5, (1, 0, PHI))),
    "I3": ((5, Z), (5, (-2, 0, 1))),
    "I4": ((5, Z), (5, (2, 0, 1))),
    "2n5": ((5, Z), (5, (0, 2, 1))),
    "2n5r": ((5, Z), (5, (0, -2, 1))),
    "2n3": ((3, Z), (5, (0, 3 - math.sqrt(5), 1))),
    "2n3r": ((3, Z), (5, (0, math.sqrt(5) - 3, 1))),
}
T_RELION = ((3, Z), (2, (0, math.sqrt(2), 1)))
T_TURNED = ((3, Z), (2, (0, -math.sqrt(2), 1)))
T_222 = ((2, Z), (3, (1, 1, 1)))
OCTAHEDRAL = ((4, Z), (3, (1, 1, 1)))
I1, I2, I3, I4 = (ICOSAHEDRAL[name] for name in ("I1", "I2", "I3", "I4"))
OURS = {"T": T_RELION, "O": OCTAHEDRAL, "I": I2, "I1": I1, "I2": I2, "I3": I3, "I4": I4}
NAMES = {
    "cryosparc": OURS,
    "relion": OURS,
    "chimerax": {
        **{f"I,{name}": ICOSAHEDRAL[name] for name in ("2n5", "2n5r", "2n3", "2n3r")},
        **{"I": I1, "I,222": I1, "I,222r": I2, "I,n25": I3, "I,n25r": I4},
        **{"T": T_222, "T,222": T_222, "T,z3": T_TURNED, "O": OCTAHEDRAL},
    },
    "eman2": {"icos": I4, "icos2": I1, "oct": OCTAHEDRAL, "tet": T_TURNED},
    "scipy": {"I": I1, "T": T_222, "O": OCTAHEDRAL},
    "cistem": {"I": I1, "I2": I2, "O": OCTAHEDRAL, "T2": T_RELION},
}


def point_group(name, convention="cryosparc"):
    """Rotations of a point group, the identity first."""
    letter, order = name[0], name[1:]
    if letter in "CD" and order.isdigit():
        folds = [(int(order), Z)]
        if letter == "D":
            folds.append((2, Y if convention == "cryosparc" else X))
    else:
        folds = NAMES[convention][name]
    return closure([turn(axis, 360 / fold) for fold, axis in folds])


def symmetry(name, convention="cryosparc"):
    """Operators of a point group."""
    return [(R, np.zeros(3)) for R in point_group(name, convention)]


def helix(twist, rise, order, name="C1", convention="cryosparc"):
    """Operators h_k g of a helix, k = 0, 1, -1, 2, -2, ... cut after its order."""
    return [
        (turn(Z, k * twist) @ R, np.array([0, 0, k * rise]))
        for k in helix_units(order)
        for R in point_group(name, convention)
    ]


def about(operators, origin):
    """Operators about the box center that were given about another point: t + o - R o."""
    o = np.array(origin, float)
    return [(R, t + o - R @ o) for R, t in operators]


def smallest_turn(start, end):
    """Smallest rotation from one direction to another; of opposite ones half a turn about x."""
    a, b = (np.array(each, float) / np.linalg.norm(each) for each in (start, end))
    axis = np.cross(a, b)
    if np.linalg.norm(axis) < 1e-12:
        return np.eye(3) if a @ b > 0 else turn(X, 180)
    return turn(axis, math.degrees(math.atan2(np.linalg.norm(axis), a @ b)))


def places(operators, point):
    """Different points where operators put a point."""
    found = []
    for R, t in operators:
        place = R @ point + t
        if all(np.abs(place - other).max() > 1e-3 for other in found):
            found.append(place)
    return found


def which(found, expected, tolerance=1e-9):
    """Which of the expected operators each operator is; no two are the same one."""
    order = []
    for R, t in found:
        off = [max(np.abs(R - S).max(), np.abs(t - u).max()) for S, u in expected]
        order.append(int(np.argmin(off)))
        assert min(off) < tolerance, f"no such operator:\n{R}\n{t}"
    assert len(set(order)) == len(order)
    return order


def cyclic_subgroups(rotations, fold, axis):
    """Cyclic subgroups of a fold about an axis, or, of none, about those that are nearest to +z."""
    axes = []
    for R in rotations:
        if abs(np.trace(R) - 1 - 2 * math.cos(2 * math.pi / fold)) < 1e-6:
            line = np.linalg.svd(R - np.eye(3))[2][2]
            axes += [line, -line]
    if axis is None:
        top = max(line[2] for line in axes)
        axes = [line for line in axes if line[2] > top - 1e-6]
    else:
        axes = [max(axes, key=lambda line: line @ np.array(axis))]
    return [[turn(line, 360 * k / fold) for k in range(fold)] for line in axes]


def are_left_cosets(chosen, subgroup, rotations):
    """Whether the products m h of chosen rotations and a subgroup are all rotations, each once."""
    products = [(m @ h, np.zeros(3)) for m in chosen for h in subgroup]
    everything = [(R, np.zeros(3)) for R in rotations]
    return sorted(which(products, everything, 1e-6)) == list(range(len(rotations)))


# Poses and their mates


@dataclass
class Poses:
    """Rows of a table: matrices A, shifts in A, and all columns by name."""

    A: np.ndarray
    shift: np.ndarray
    columns: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.A)

    def of(self, rows):
        """Some of the rows."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Poses(self.A[rows], self.shift[rows], columns)


def of_angles(rot, tilt, psi):
    """A = Rz(-psi) Ry(-tilt) Rz(-rot) of RELION's angles (degrees)."""
    return turn(Z, -psi) @ turn(Y, -tilt) @ turn(Z, -rot)


def angles_of(A):
    """RELION's angles of a pose (degrees)."""
    sine = math.hypot(A[2, 0], A[2, 1])
    tilt = math.degrees(math.atan2(sine, A[2, 2]))
    if sine < 1e-9:  # rot and psi turn about one axis
        return 0.0, tilt, math.degrees(math.atan2(A[0, 1], A[1, 1]))
    rot, psi = math.atan2(A[2, 1], A[2, 0]), math.atan2(A[1, 2], -A[0, 2])
    return math.degrees(rot), tilt, math.degrees(psi)


def of_dynamo(tdrot, tilt, narot):
    """A = Rz(-tdrot) Rx(-tilt) Rz(-narot) of Dynamo's angles (degrees)."""
    return turn(Z, -tdrot) @ turn(X, -tilt) @ turn(Z, -narot)


STORED = {  # A of a pose as a table has it: the rotation from image to map
    "rotvec": lambda stored: exp(stored).T,
    "quaternion": lambda stored: from_quaternion(stored).T,
    "matrix": lambda stored: stored.T,
    "euler_zyz": lambda stored: of_angles(*stored),
}


def copies_about(operators, centers, Q=None):
    """Copies of a particle, center after center; Q gives the turn of the map about a center."""
    return [
        (operator, np.array(c, float), np.eye(3) if Q is None else Q(np.array(c, float)))
        for c in centers
        for operator in operators
    ]


def subparticles(poses, copies):
    """Copies of each particle: A R Q^T, s - A (t + R c)."""
    A, shift = [], []
    for pose, s in zip(poses.A, poses.shift, strict=True):
        for (R, t), c, Q in copies:
            A.append(pose @ R @ Q.T)
            shift.append(s - (pose @ (t + R @ c))[: len(s)])
    return Poses(np.array(A), np.array(shift))


def mates(poses, operators, center=NO_CENTER):
    """Mates of each particle: A R, s - A (t + R c)."""
    return subparticles(poses, copies_about(operators, [center]))


def depths(poses, copies):
    """How far along z each copy's center lies (A): (A (R c + t))_z."""
    return np.array([(A @ (R @ c + t))[2] for A in poses.A for (R, t), c, _ in copies])


def views(poses, copies):
    """At which angle from z each copy's center is seen (degrees): acos((A_g c)_z / |c|)."""
    cosines = [(A @ R @ c)[2] / np.linalg.norm(c) for A in poses.A for (R, _), c, _ in copies]
    return np.degrees(np.arccos(cosines))


def turned(poses, Q, center=NO_CENTER):
    """Poses in another frame of the map, x' = Q (x - c)."""
    moved = [s - (A @ center)[: len(s)] for A, s in zip(poses.A, poses.shift, strict=True)]
    return Poses(poses.A @ Q.T, np.array(moved))


# Files


def columns_of(path, table="particles"):
    """Columns of a table in HDF5."""
    columns = {}
    with h5py.File(path) as file:
        file[table].visititems(
            lambda name, item: columns.update({name: item[()]} if hasattr(item, "shape") else {})
        )
    return columns


def read_h5(path, psize, pose_format="rotvec"):
    """Poses of a table in HDF5, whose shifts are in pixels of so many A."""
    columns = columns_of(path)
    A = [STORED[pose_format](row) for row in columns["alignments3D/pose"].astype(float)]
    px = columns["alignments3D/shift"].astype(float)
    return Poses(np.array(A), px * np.broadcast_to(psize, len(px))[:, None], columns)


def stored_operators(path):
    """Operators of an expanded table, and their numbers in the full set."""
    columns = columns_of(path, "operators")
    rotations = [from_quaternion(row) for row in columns["quaternion"]]
    operators = list(zip(rotations, columns["translation_A"], strict=True))
    return operators, columns["full_index"].tolist()


def slot_poses(rows, slot="alignments3D", item=None):
    """Poses of a slot of CryoSPARC, in A of its own psize_A; item is one of several."""
    pose, shift = rows[f"{slot}/pose"].astype(float), rows[f"{slot}/shift"].astype(float)
    if item is not None:
        pose, shift = pose[:, item], shift[:, item]
    psize = rows[f"{slot}/psize_A"].astype(float)[:, None]
    columns = {name: rows[name] for name in rows.dtype.names}
    return Poses(np.array([exp(row).T for row in pose]), shift * psize, columns)


def read_star(path):
    """Blocks of a .star as columns of words; pairs are a loop of one row."""
    blocks, name, in_loop, labels, rows = {}, "", False, [], []
    with open(path) as file:
        lines = [line.split("#")[0].split() for line in [*file, "data_"]]
    for words in filter(None, lines):
        if words[0].startswith("data_"):
            if labels:
                columns = np.array(rows, object).reshape(len(rows), len(labels)).T
                blocks[name] = dict(zip(labels, columns, strict=True))
            name, in_loop, labels, rows = words[0][5:], False, [], []
        elif words[0] == "loop_":
            in_loop = True
        elif words[0].startswith("_"):
            labels.append(words[0][1:])
            if not in_loop:
                rows = [[*(rows[0] if rows else []), words[1]]]
        else:
            rows.append(words)
    return blocks


def write_star(path, **blocks):
    """Write loops of a .star."""
    lines = []
    for name, columns in blocks.items():
        lines += ["", f"data_{name}", "", "loop_", *(f"_{label}" for label in columns)]
        lines += [" ".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def numbers_of(columns, label, parts):
    """Columns of numbers whose labels differ in a part, (rows, parts)."""
    return np.array([columns[label.format(part)].astype(float) for part in parts]).T


ANGLES = ("Rot", "Tilt", "Psi")


def read_relion(path, angles="rlnAngle{}", shift="rlnOrigin{}Angst", axes="XY"):
    """Poses of the last loop of a .star; origins are in A."""
    *_, columns = read_star(path).values()
    A = np.array([of_angles(*row) for row in numbers_of(columns, angles, ANGLES)])
    return Poses(A, numbers_of(columns, shift, axes), columns)


def read_priors(path):
    """Priors of RELION, as poses."""
    return read_relion(path, "rlnAngle{}Prior", "rlnOrigin{}PriorAngst")


def read_tomo(path):
    """Subtomograms of RELION, in the frame that they were cut out in."""
    return read_relion(path, axes="XYZ")


def read_m(path, angles=1, place=1):
    """Particles of M at one time: s is the place, with the other sign (A)."""
    poses = read_relion(path, f"wrpAngle{{}}{angles}", f"wrpCoordinate{{}}{place}", "XYZ")
    return Poses(poses.A, -poses.shift, poses.columns)


def read_dynamo(path):
    """Rows of Dynamo: s = -(dx, dy, dz), in A of column 36."""
    table = np.loadtxt(path, ndmin=2)
    columns = dict(enumerate(table.T, 1))
    A = np.array([of_dynamo(*row) for row in table[:, 6:9]])
    return Poses(A, -table[:, 3:6] * table[:, 35:36], columns)


def in_tomogram(path):
    """Subtomograms as poses in the tomogram, A_sub A, and minus their place (A).

    The place is coordinate - A_sub o in RELION, and coordinate + d in Dynamo.
    """
    if path.endswith(".tbl"):
        poses = read_dynamo(path)
        px = np.array([poses.columns[number] for number in (24, 25, 26)]).T
        return Poses(poses.A, poses.shift - px * poses.columns[36][:, None])
    poses, optics = read_tomo(path), read_star(path)["optics"]
    psize = dict(zip(optics["rlnOpticsGroup"], optics["rlnTomoTiltSeriesPixelSize"], strict=True))
    unit = [float(psize[group]) for group in poses.columns["rlnOpticsGroup"]]
    at = numbers_of(poses.columns, "rlnCoordinate{}", "XYZ") * np.array(unit)[:, None]
    A_sub = cut_out(poses)
    moved = np.array([B @ o for B, o in zip(A_sub, poses.shift, strict=True)])
    return Poses(A_sub @ poses.A, moved - at)


def cut_out(poses):
    """A_sub of subtomograms of RELION: how each was turned when it was cut out."""
    if "rlnTomoSubtomogramRot" not in poses.columns:
        return np.tile(np.eye(3), (len(poses), 1, 1))
    angles = numbers_of(poses.columns, "rlnTomoSubtomogram{}", ANGLES)
    return np.array([of_angles(*row) for row in angles])


# Labels on the sites of a particle


def action(operators, sites, point=None):
    """Which site h g is, for every h and every site g, (operators, sites).

    Sites are numbers of operators; with a point, a site is where an operator puts it.
    """
    spots = [R if point is None else R @ point for R in (operators[site][0] for site in sites)]
    table = []
    for h, _ in operators:
        off = [[np.abs(h @ spot - other).max() for other in spots] for spot in spots]
        assert np.min(off, axis=1).max() < 1e-3
        table.append(np.argmin(off, axis=1))
    return np.array(table)


def orbit(labels, acts):
    """Labelings f(h .) for every h, in the order of the operators."""
    return [tuple(labels[site] for site in row) for row in acts]


def possible_arrangements(acts, labels):
    """Number of orbits of all labelings (Burnside)."""
    fixed = 0
    for row in acts:
        left, cycles = set(row.tolist()), 0
        while left:
            cycles += 1
            site = min(left)
            while site in left:
                left.remove(site)
                site = int(row[site])
        fixed += labels**cycles
    return fixed // len(acts)


def relations(acts):
    """Sets of pairs of sites that operators take to each other."""
    left, found = set(itertools.combinations(range(acts.shape[1]), 2)), []
    while left:
        g, other = min(left)
        found.append({tuple(sorted((int(row[g]), int(row[other])))) for row in acts})
        left -= found[-1]
    return found


def chance_of_pairs(graphs, a, b):
    """Pairs of labels a, b on graphs: their number, and its mean and variance by chance.

    A graph is (edges, labels of the sites that came back); labels are permuted within it.
    """
    total = np.zeros(3)
    for edges, labels in graphs:
        edges = [edge for edge in edges if edge[0] in labels and edge[1] in labels]
        m, n, P = len(labels), Counter(labels.values()), len(edges)
        S = sum(math.comb(d, 2) for d in Counter(itertools.chain(*edges)).values())
        D = math.comb(P, 2) - S
        if a == b:
            two, three, four = (math.perm(n[a], k) for k in (2, 3, 4))
            mean = P * share(two, m, 2)
        else:
            two, four = n[a] * n[b], 4 * math.perm(n[a], 2) * math.perm(n[b], 2)
            three = n[a] * math.perm(n[b], 2) + n[b] * math.perm(n[a], 2)
            mean = 2 * P * share(two, m, 2)
        square = mean + 2 * (S * share(three, m, 3) + D * share(four, m, 4))
        seen = sum({labels[u], labels[v]} == {a, b} for u, v in edges)
        total += seen, mean, square - mean**2
    return total


def share(ways, m, k):
    """Ways over the falling factorial (m)_k."""
    return ways / math.perm(m, k) if ways else 0.0


# Comparisons


class Tally:
    """Compares, counts what was compared under its kind, and fails at the first disagreement."""

    def __init__(self):
        self.counts = Counter()

    def poses(self, kind, found, expected, angle=2e-6, shift_A=1e-4):
        """Compare rows: entries of the matrices, and shifts in A."""
        assert len(found) == len(expected) > 0, f"{kind}: {len(found)} rows, not {len(expected)}"
        off = np.abs(found.A - expected.A).max(axis=(1, 2))
        moved = np.abs(found.shift - expected.shift).max(axis=1)
        for row in range(len(expected)):
            assert off[row] <= angle, f"{kind}: row {row}: the pose is off by {off[row]:.3g}"
            assert moved[row] <= shift_A, f"{kind}: row {row}: the shift is off by {moved[row]} A"
        self.counts[f"poses: {kind}"] += len(expected)

    def numbers(self, kind, found, expected, tolerance=0):
        """Compare numbers."""
        for row, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert abs(float(one) - float(other)) <= tolerance, f"{kind}: row {row}: {one}, {other}"
            self.counts[f"numbers: {kind}"] += 1

    def equal(self, kind, found, expected):
        """Compare ids and words."""
        for row, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert one == other, f"{kind}: row {row}: {one!r}, not {other!r}"
            self.counts[f"ids and words: {kind}"] += 1
