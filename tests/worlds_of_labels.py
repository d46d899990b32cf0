"""Particles with known labels on known sites, refined to random equivalent poses, as files.

Each particle has a true pose, and on each site a true label. It was refined to one of the
equivalent poses, by a motion of the group drawn at random. The real command line expands it; some
copies come back from a classification, in any order, and say their label.
"""

import shutil
from dataclasses import dataclass
from types import SimpleNamespace

import h5py
import naive
import naive_arrangements as twin
import numpy as np
from conftest import random_columns, write_table
from star_files import loop, read_star
from test_cs import save

from numba_symexp import point_group

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"

NUMBERS = (2, 9, 10)
"""Numbers of the classes: as text, the last would be the first."""

NAMES = tuple(map(str, NUMBERS))

NAMES_ABC = ("A", "B", "C")


@dataclass
class World:
    """The truth about some particles, and what their copies say."""

    sites: twin.Sites
    truth: list
    """True labels of the sites of each particle."""
    refined_by: list
    """Number of the motion that leads from the true pose to the refined one."""
    labels: list
    """What each copy says; None where it did not come back."""
    table: dict
    """Columns of the source."""

    def poses(self):
        """A of each particle, as refined."""
        return [naive.exp(v).T for v in self.table[POSE]]

    def origins(self):
        """Shift of each particle in A, as refined."""
        return np.array(self.table[SHIFT], float) * np.array(self.table[PSIZE], float)[:, None]

    def turned(self, particle, h):
        """Pose A and shift in A of a particle that is turned by an element."""
        rotation, moved = self.sites.group.motions[h]
        pose = self.poses()[particle]
        return pose @ rotation, self.origins()[particle] - (pose @ moved)[:2]

    def true_pose(self, particle):
        """Pose and shift of a particle before it was refined to an equivalent one."""
        return self.turned(particle, self.sites.group.inverse[self.refined_by[particle]])

    def ids(self):
        """Pattern -> id."""
        return twin.numbered(self.sites, self.labels)

    def rows(self):
        """(particle, site, label) of the copies that came back."""
        return [
            (particle, site, label)
            for particle, labels in enumerate(self.labels)
            for site, label in enumerate(labels)
            if label is not None
        ]


def source_columns(rng, n, dtype=np.float64):
    """Columns of a source whose images can be told apart."""
    columns = random_columns(rng, n, dtype)
    columns["blob/path"] = np.full(n, b"stack.mrcs")
    columns["blob/idx"] = np.arange(n, dtype=np.uint32)
    return columns


def numbered_group(symbol, convention="cryosparc"):
    """The twin's group, numbered as the program lists its operators."""
    listed = point_group(symbol, convention).matrix
    return twin.in_order(
        twin.point_group(symbol, convention), [(matrix, np.zeros(3)) for matrix in listed]
    )


def operators_in(path):
    """Motions of the operators of an expanded table, in its order."""
    with h5py.File(path) as file:
        quaternions = file["operators/quaternion"][()]
        moved = file["operators/translation_A"][()]
    return [(naive.from_quaternion(q), t) for q, t in zip(quaternions, moved, strict=True)]


def sites_in(path, group, part=None):
    """Sites of an expanded table."""
    return twin.Sites(group, [group.number(motion) for motion in operators_in(path)], part)


def refined(rng, sites, truth, table, missing=0.0):
    """A world: each particle is refined to a random equivalent pose, and loses copies."""
    refined_by, labels = [], []
    for true in truth:
        h, moved = sites.acting[rng.integers(len(sites.acting))]
        refined_by.append(h)
        lost = (rng.random(len(moved)) < missing).tolist()
        labels.append(
            [None if gone else true[site] for site, gone in zip(moved, lost, strict=True)]
        )
    return World(sites, [tuple(true) for true in truth], refined_by, labels, table)


def expanded_world(folder, go, rng, truth, symbol, *flags, part=None, missing=0.0, **options):
    """Write p.h5 and expand it to e.h5 by a point group; ``truth`` as labels of each particle.

    ``part`` is (fold, axis) of the subgroup of which left cosets are taken.
    """
    convention = options.pop("convention", "cryosparc")
    table = source_columns(rng, len(truth), **options)
    write_table(folder / "p.h5", table)
    go("expand", "p.h5", "e.h5", f"--symmetry={symbol}", f"--convention={convention}", *flags)
    group = numbered_group(symbol, convention)
    inside = None if part is None else twin.about_axis(group, *part)
    return refined(rng, sites_in(folder / "e.h5", group, inside), truth, table, missing)


def rows_of_expanded(world, rng=None):
    """Numbers of the rows of an expanded table that came back, and their labels; in any order."""
    rows = [(particle * len(world.sites) + site, c) for particle, site, c in world.rows()]
    if rng is not None:
        rows = [rows[k] for k in rng.permutation(len(rows))]
    return np.array([row for row, _ in rows], int), np.array([c for _, c in rows], int)


def write_some(path, new, rows, **columns):
    """Write some rows of an expanded table, in any order, and further columns."""
    with h5py.File(path) as old, h5py.File(new, "w") as file:
        file.attrs.update(old.attrs)
        for group in ("operators", "source"):
            old.copy(group, file)

        def copy(name, node):
            if hasattr(node, "shape"):
                file[f"particles/{name}"] = node[()][rows]
                file[f"particles/{name}"].attrs.update(node.attrs)

        old["particles"].visititems(copy)
        for name, column in columns.items():
            file[f"particles/{name}"] = column


def as_hdf5(folder, world, go, rng=None, **columns):
    """The copies that came back in l.h5, with a column `class`; gives words of the command line."""
    rows, labels = rows_of_expanded(world, rng)
    numbers = np.array(NUMBERS, np.int32)[labels]
    if len(rows) == len(world.sites) * len(world.labels) and rng is None:
        shutil.copy(folder / "e.h5", folder / "l.h5")
        with h5py.File(folder / "l.h5", "r+") as file:
            file["particles/class"] = numbers
            for name, column in columns.items():
                file[f"particles/{name}"] = column
    else:
        write_some(folder / "e.h5", folder / "l.h5", rows, **{"class": numbers}, **columns)
    return "l.h5", "--by=class"


def star_rows(text):
    """Text before the particles of a .star file, and its columns."""
    return text.partition("\n# version 30001\n\ndata_particles\n")[0], read_star(text)


def write_star(path, head, columns, rows, **further):
    """Some rows of a .star file, with further columns."""
    some = {label: [words[row] for row in rows] for label, words in columns.items()}
    more = {label: [str(word) for word in words] for label, words in further.items()}
    path.write_text(head + loop("particles", some | more) + "\n")


def as_star(folder, world, go, rng=None, bare=False):
    """The same as l.star with rlnClassNumber; bare: without the columns that name the operator."""
    go("export", "e.h5", "e.star", "--overwrite")
    head, columns = star_rows((folder / "e.star").read_text())
    if bare:
        columns = {name: words for name, words in columns.items() if "symexp" not in name}
    rows, labels = rows_of_expanded(world, rng)
    numbers = np.array(NUMBERS)[labels]
    write_star(folder / "l.star", head, columns, rows, rlnClassNumber=numbers)
    return "l.star", "--expanded=e.h5"


def as_bare_star(folder, world, go, rng=None):
    """A .star as a program leaves it that keeps only its own columns."""
    return as_star(folder, world, go, rng, bare=True)


def with_fields(rows, **fields):
    """Rows of a .cs with further fields; a double underscore is a slash."""
    fields = {name.replace("__", "/"): np.asarray(column) for name, column in fields.items()}
    kept = [each for each in rows.dtype.descr if each[0] not in fields]
    new = [(name, column.dtype.str, column.shape[1:]) for name, column in fields.items()]
    made = np.zeros(len(rows), [*kept, *new])
    for name, *_ in kept:
        made[name] = rows[name]
    for name, column in fields.items():
        made[name] = column
    return made


def exported_cs(folder, go):
    """Rows of the expanded table as a .cs."""
    go("export", "e.h5", "e.cs", "--overwrite")
    return np.load(folder / "e.cs")


def as_cs(folder, world, go, rng=None):
    """The same as l.cs with alignments3D/class."""
    rows, labels = rows_of_expanded(world, rng)
    numbers = np.array(NUMBERS, np.uint32)[labels]
    made = with_fields(exported_cs(folder, go)[rows], alignments3D__class=numbers)
    save(folder / "l.cs", made)
    return "l.cs", "--expanded=e.h5"


def as_posterior(folder, world, go, rng=None):
    """The same as a .cs with the probability of each class; the likeliest is the label."""
    rows, labels = rows_of_expanded(world, rng)
    draw = np.random.default_rng(5)
    likely = draw.uniform(0, 0.3, (len(rows), max(labels) + 1)).astype(np.float32)
    likely[np.arange(len(rows)), labels] += 0.4
    made = with_fields(exported_cs(folder, go)[rows], alignments3D_multi__class_posterior=likely)
    save(folder / "l.cs", made)
    return "l.cs", "--expanded=e.h5"


def as_files(folder, world, go, rng=None):
    """One .cs a class: a.cs, b.cs, ..."""
    rows, labels = rows_of_expanded(world, rng)
    whole = exported_cs(folder, go)
    names = []
    for label in sorted(set(labels.tolist())):
        names.append(f"{'abc'[label]}.cs")
        save(folder / names[-1], whole[rows[labels == label]])
    return *names, "--expanded=e.h5"


def as_star_files(folder, world, go, rng=None):
    """One .star a class: a.star, b.star, ..."""
    go("export", "e.h5", "e.star", "--overwrite")
    head, columns = star_rows((folder / "e.star").read_text())
    rows, labels = rows_of_expanded(world, rng)
    names = []
    for label in sorted(set(labels.tolist())):
        names.append(f"{'abc'[label]}.star")
        write_star(folder / names[-1], head, columns, rows[labels == label])
    return *names, "--expanded=e.h5"


def scrambled(rows, rng):
    """Rows of a .cs as CryoSPARC might have made them: other ids, operators in another order."""
    rows = rows.copy()
    count = int(rows["sym_expand/idx"].max()) + 1
    order = np.append(0, 1 + rng.permutation(count - 1)).astype(np.uint32)
    rows["sym_expand/idx"] = order[rows["sym_expand/idx"]]
    mates = rows["sym_expand/idx"] > 0
    rows["uid"][mates] = rng.integers(2**40, 2**62, np.count_nonzero(mates))
    return rows[rng.permutation(len(rows))]


def random_truth(rng, particles, sites, labels, occupancy=None):
    """Labels of sites: independent, with occupancies of the particle's own where given (Beta)."""
    truth = []
    for _ in range(particles):
        if occupancy is None:
            below = np.arange(1, labels) / labels
        else:
            below = np.array([1 - rng.beta(*occupancy)])
        truth.append(tuple(np.searchsorted(below, rng.random(sites), "right").tolist()))
    return truth


def from_patterns(rng, patterns, particles):
    """True labels, one of some patterns for each particle."""
    return [tuple(patterns[k]) for k in rng.integers(0, len(patterns), particles)]


def relabeled(world, truth, rng, missing=0.0):
    """The same particles with other labels."""
    return refined(rng, world.sites, truth, world.table, missing)


def named(pattern, names=NAMES):
    """A pattern in the words of the program."""
    return ["-" if label is None else names[label] for label in pattern]


def in_text(pattern, names=NAMES):
    """A pattern as one word."""
    words = named(pattern, names)
    return ("" if all(len(name) == 1 for name in names) else ":").join(words)


def columns_of(path):
    """Columns of a table that was written, by suffix: of HDF5, .cs or .star."""
    if path.suffix == ".star":
        return read_star(path.read_text())
    if path.suffix == ".cs":
        rows = np.load(path)
        return {name: rows[name] for name in rows.dtype.names}
    found = {}
    with h5py.File(path) as file:
        file["particles"].visititems(
            lambda name, node: found.update({name: node[()]}) if hasattr(node, "shape") else None
        )
    return found


STAR_NAMES = {
    "arrangement": "_symexpArrangement",
    "operator_index": "_symexpTurnedBy",
    "labels": "_symexpLabels",
}


def output_rows(path, table):
    """Rows of an output, in the source's order: pose, shift in A, id, h and labels of each."""
    columns = columns_of(path)
    if path.suffix == ".star":
        angles = np.array([columns[f"rlnAngle{name}"] for name in ("Rot", "Tilt", "Psi")], float).T
        poses = [naive.euler_zyz(*row).T for row in angles]
        shifts = np.array([columns[f"rlnOrigin{axis}Angst"] for axis in "XY"], float).T
        particle = [int(word.partition("@")[0]) - 1 for word in columns["rlnImageName"]]
        ids, turned, labels = (columns[name[1:]] for name in STAR_NAMES.values())
    else:
        poses = [naive.exp(v).T for v in columns[POSE]]
        shifts = columns[SHIFT] * columns[PSIZE].astype(float)[:, None]
        number = {int(uid): k for k, uid in enumerate(table["uid"])}
        particle = [number[int(uid)] for uid in columns["uid"]]
        ids, turned = columns["arrangement"], columns["operator_index"]
        labels = [
            word.decode() if isinstance(word, bytes) else str(word) for word in columns["labels"]
        ]
    return [
        SimpleNamespace(particle=p, pose=a, shift_A=s, id=int(i), turned=int(h), labels=c)
        for p, a, s, i, h, c in zip(particle, poses, shifts, ids, turned, labels, strict=True)
    ]
