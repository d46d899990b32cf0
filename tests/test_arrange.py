"""arrange counts what the copies of particles say, and tells what chance would make of it."""

import itertools
import json
import math

import naive
import naive_arrangements as twin
import numpy as np
import pytest
import worlds_of_labels as worlds
from conftest import random_columns, write_table
from particle_files import needs, run
from relion_peer import PROGRAM, make_particles
from relion_peer import star_text as relion_text
from star_files import star_text
from test_cs import save

from numba_symexp import arrange

NAMES = worlds.NAMES


def asked(go, *words):
    """What `arrange --json` says."""
    return json.loads(go("arrange", *words, "--json"))


def numbers_of(patterns, names):
    """Patterns in words -> as the twin has them."""
    known = {name: number for number, name in enumerate(names)} | {"-": None}
    return [tuple(known[word] for word in pattern) for pattern in patterns]


def assert_arrangements(report, world, names=NAMES):
    """Orbits, counts, expectations and symmetries are the twin's."""
    sites, said = world.sites, world.labels
    wanted, some = twin.arrangements(sites, said), twin.incomplete(sites, said)
    assert report["particles"] == len(said)
    assert report["sites"] == len(sites)
    assert report["complete"] == sum(map(twin.is_complete, said))
    assert report["unlabeled"] == sum(set(each) == {None} for each in said)
    assert report["group_order"] == len(sites.acting)
    copies = [c for each in said for c in each if c is not None]
    found = {name: number for name, number in report["labels"].items() if number}
    assert found == {names[c]: copies.count(c) for c in sorted(set(copies))}
    assert list(report["labels"]) == [name for name in names if name in report["labels"]]
    assert report["possible"] == sites.possible(len(report["labels"]))
    rows = report["arrangements"]
    assert numbers_of([row["pattern"] for row in rows], names) == list(wanted)
    assert [row["id"] for row in rows] == list(range(1, len(wanted) + 1))
    for row, each in zip(rows, wanted.values(), strict=True):
        assert (row["particles"], row["orbit"]) == (each["particles"], each["orbit"])
        assert row["expected"] == pytest.approx(each["expected"], rel=1e-6)
        assert (row["score"] is None) == (each["score"] is None)
        if each["score"] is not None:
            assert row["expected_given_counts"] == pytest.approx(each["given_counts"], rel=1e-6)
            assert row["score"] == pytest.approx(each["score"], rel=1e-6, abs=1e-6)
        assert_symmetry(row["symmetry"], each["symmetry"])
        assert_axis(row["symmetry"], sites, tuple(numbers_of([row["pattern"]], names)[0]))
    rows = report["incomplete"]
    assert numbers_of([row["pattern"] for row in rows], names) == list(some)
    assert [row["particles"] for row in rows] == list(some.values())
    assert [row["id"] for row in rows] == [len(wanted) + k for k in range(1, len(some) + 1)]


def assert_symmetry(text, name):
    """The symmetry's name is a word of the text; without any, no other one is."""
    groups = ["C2", "C3", "C4", "C5", "C6", "D2", "D3", "D4", "D5", "D6", "D7", "T", "O", "I"]
    words = text.replace(",", " ").replace("(", " ").split()
    assert [word for word in groups if word in words] == ([] if name == "C1" else [name]), text


def assert_axis(text, sites, pattern):
    """Where the symmetry is said to be on an axis, turns about it leave the pattern as it is."""
    name, _, said = text.partition(" on ")
    if not said or name[0] not in "CD":
        return
    known = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1)}
    axis = known.get(said) or [float(word) for word in said.strip("()").split(",")]
    turn = naive.turn(axis, 360 / int(name[1:]))
    group = sites.group
    off = [np.abs(group.motions[k][0] - turn).max() for k in sites.stabilizer(pattern)]
    assert min(off) < 0.01, text


def assert_pairs(report, world, names=NAMES, edges_of=None, chance=twin.by_formula):
    """Pairs, expectations, scores and the limit are the twin's."""
    sites = world.sites
    every = sites.relations()
    edges_of = edges_of or (lambda _: every)
    wanted = twin.pair_rows(edges_of, world.labels, len(report["labels"]), chance)
    found = {}
    for row in report["pairs"]:
        i, j = row["sites"]
        relation = sites.relation(i, j)
        a, b = sorted(names.index(name) for name in row["labels"])
        assert (relation, a, b) not in found
        found[relation, a, b] = row
        assert row["site_pairs"] == len(every[relation])
        assert math.isclose(row["angle_deg"], sites.angle_deg(i, j), abs_tol=1e-3)
        seen, expected, variance = wanted[relation, a, b]
        assert row["pairs"] == seen
        assert row["expected"] == pytest.approx(expected, rel=1e-6, abs=1e-6)
        if variance > 1e-9:
            score = twin.score(wanted[relation, a, b])
            assert row["score"] == pytest.approx(score, rel=1e-6, abs=1e-6)
        else:
            assert row["score"] is None
    assert {key for key, row in wanted.items() if row[2] > 1e-9} <= set(found)
    assert len({row["relation"] for row in report["pairs"]}) == len({key[0] for key in found})
    scored = [wanted[key] for key in found]
    if any(twin.score(row) is not None for row in scored):
        assert report["limit"] == pytest.approx(twin.limit(scored), abs=1e-3)
    return found


def every_labeling(sites, labels):
    return list(itertools.product(range(labels), repeat=sites))


@pytest.mark.parametrize(
    ("symbol", "labels", "number"),
    [
        ("C4", 2, 6),
        ("C6", 2, 14),
        ("D2", 2, 7),
        ("D3", 2, 16),
        ("D2", 3, 27),
        pytest.param("C4", 3, 24, marks=pytest.mark.slow),
        pytest.param("D3", 3, 138, marks=pytest.mark.slow),
    ],
)
def test_every_labeling_falls_into_its_orbit(symbol, labels, number, go, rng, tmp_path):
    truth = every_labeling(len(naive.group(symbol)), labels)
    world = worlds.expanded_world(tmp_path, go, rng, truth, symbol)
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go), "--most=1000")
    assert len(report["arrangements"]) == report["possible"] == number
    assert_arrangements(report, world)
    assert_pairs(report, world)
    assert all(row["particles"] == row["orbit"] for row in report["arrangements"])
    for row in report["pairs"]:
        assert row["score"] is None or abs(row["score"]) < 1e-6


@pytest.mark.slow
def test_all_labelings_of_d6(go, rng, tmp_path):
    world = worlds.expanded_world(tmp_path, go, rng, every_labeling(12, 2), "D6")
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go), "--most=1000")
    assert len(report["arrangements"]) == report["possible"] == 382
    assert sum(row["orbit"] for row in report["arrangements"]) == 2**12
    assert all(row["particles"] == row["orbit"] for row in report["arrangements"])
    symmetries = [
        world.sites.group.name(world.sites.stabilizer(pattern))
        for pattern in numbers_of([r["pattern"] for r in report["arrangements"]], NAMES)
    ]
    for row, symmetry in zip(report["arrangements"], symmetries, strict=True):
        assert_symmetry(row["symmetry"], symmetry)


VERTICES = {
    "O": ("O", (4, (0, 0, 1)), ("--modulo=C4",), 10),
    "I": ("I3", (5, (0, 0, 1)), ("--modulo=C5",), 96),
    "I1": ("I1", (5, (0, 1, naive.PHI)), ("--modulo=C5", f"--axis=0,1,{naive.PHI}"), 96),
    "D3 by its dyads": ("D3", (2, (0, 1, 0)), ("--modulo=C2", "--axis=0,1,0"), 4),
    "T by its 3-folds": ("T", (3, (0, 0, 1)), ("--modulo=C3",), 5),
}
"""Symmetry, subgroup, flags, number of arrangements of two labels (T: A4 on 4 corners: 5)."""


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case == "I1")) for case in VERTICES]
)
def test_cosets(case, go, rng, tmp_path):
    symbol, part, flags, number = VERTICES[case]
    sites = len(naive.group(symbol)) // part[0]
    truth = every_labeling(sites, 2)
    if len(truth) > 100:
        some = rng.choice(len(truth), 60, replace=False)
        truth = [truth[k] for k in some for _ in range(2)]
    world = worlds.expanded_world(tmp_path, go, rng, truth, symbol, *flags, part=part)
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go), "--most=1000")
    assert report["possible"] == number
    assert_arrangements(report, world)
    assert_pairs(report, world)
    if case not in ("I", "I1"):
        assert len(report["arrangements"]) == number
    said = go("arrange", *worlds.as_hdf5(tmp_path, world, go))
    assert "must not depend" in said


@pytest.mark.parametrize(
    ("symbol", "number"), [("C4", 6), ("D2", 7), ("D6", 382), ("D7", 1236), ("O", 700688)]
)
def test_possible_arrangements_by_burnside(symbol, number, go, rng, tmp_path):
    truth = worlds.random_truth(rng, 6, len(naive.group(symbol)), 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, symbol)
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go))
    assert report["possible"] == number == world.sites.possible(2)
    assert_arrangements(report, world)


@pytest.mark.parametrize(
    ("symbol", "number"), [("D7", 10), pytest.param("I2", 37, marks=pytest.mark.slow)]
)
def test_relations_between_sites(symbol, number, go, rng, tmp_path):
    truth = worlds.random_truth(rng, 4, len(naive.group(symbol)), 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, symbol)
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go))
    found = assert_pairs(report, world)
    assert len({relation for relation, *_ in found}) == number
    if symbol == "D7":
        sizes = {row["relation"]: row["site_pairs"] for row in report["pairs"]}
        assert sorted(sizes.values()) == [7] * 7 + [14] * 3


PARTS = {
    "two turns of C6": ("C6", (0, 3), 2),
    "half of C6": ("C6", (0, 2, 4), 3),
    "two pairs of C6": ("C6", (0, 1, 3, 4), 2),
    "three of C6": ("C6", (0, 1, 2), 1),
    "without the identity": ("C6", (1, 4), 2),
    "half of D3": ("D3", None, 3),
}


@pytest.mark.parametrize("case", PARTS)
def test_chosen_operators_are_moved_by_what_keeps_them(case, go, rng, tmp_path):
    symbol, turns, acting = PARTS[case]
    group = worlds.numbered_group(symbol)
    if turns is None:  # three dyads: a coset of C3
        chosen = [g for g in range(6) if group.fold(g) == 2]
    else:
        chosen = [group.number((naive.turn(naive.Z, 60 * k), np.zeros(3))) for k in turns]
    flag = "--operators=" + ",".join(map(str, sorted(chosen)))
    truth = worlds.random_truth(rng, 60, len(chosen), 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, symbol, flag, missing=0.1)
    assert len(world.sites.acting) == acting
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go))
    assert_arrangements(report, world)
    assert_pairs(report, world)
    said = go("arrange", *worlds.as_hdf5(tmp_path, world, go))
    assert ("no turn but the identity" in said) == (acting == 1)


WRITERS = {
    "hdf5": worlds.as_hdf5,
    "star": worlds.as_star,
    "star without our columns": worlds.as_bare_star,
    "cs": worlds.as_cs,
    "posterior": worlds.as_posterior,
    "cs a class": worlds.as_files,
    "star a class": worlds.as_star_files,
}
OWN_NAMES = {"posterior": None, "cs a class": ("a", "b", "c"), "star a class": ("a", "b", "c")}


@pytest.mark.parametrize("writer", WRITERS)
def test_labels_come_from_any_file(writer, go, rng, tmp_path):
    """In any order, with some copies, and some particles, missing."""
    truth = worlds.random_truth(rng, 30, 6, 3)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D3", missing=0.15)
    world.labels[3] = [None] * 6
    world.labels[29] = [None] * 6
    words = WRITERS[writer](tmp_path, world, go, rng)
    names = OWN_NAMES.get(writer, NAMES)
    if names is not None:
        assert_arrangements(asked(go, *words), world, names)
    report = asked(go, *words, "--label=A,B,C")
    assert_arrangements(report, world, worlds.NAMES_ABC)
    assert_pairs(report, world, worlds.NAMES_ABC)


def test_a_label_of_several_letters_is_one_letter_of_a_pattern(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 40, 4, 3)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4", missing=0.1)
    words = worlds.as_cs(tmp_path, world, go, rng)
    said, report = go("arrange", *words, "--label=empty,bound,odd"), asked(go, *words)
    copies = [f"{n:,}" for n in report["labels"].values()]
    told = zip(("A = empty", "B = bound", "C = odd"), copies, strict=True)
    assert ", ".join(map(" ".join, told)) in said
    short = dict(zip([*worlds.NAMES, "-"], "ABC-", strict=True))
    for row in (*report["arrangements"], *report["incomplete"]):
        line = f"{row['id']}  {''.join(short[name] for name in row['pattern'])} "
        assert any(each.lstrip().startswith(line) for each in said.splitlines()), line
    chosen = report["arrangements"][1]["pattern"]
    for keep in (":".join(chosen), "".join(short[name] for name in chosen), "2"):
        shown = go("arrange", *words, f"--keep={keep}", "--output=o.h5", "--overwrite")
        assert f"{report['arrangements'][1]['particles']} particles" in shown
        assert "next: refinement in C1, or in the arrangement's own symmetry" in shown


def test_few_particles_have_no_score(go, rng, tmp_path):
    """Of 10 different arrangements with one particle each, none is more than chance."""
    many = [(0, 0, 0, 0, 0, 1)] * 20 + [(0, 0, 0, 0, 1, 1)] * 6
    alone = [(0, 0, 1, 0, 1, 1), (0, 1, 0, 1, 0, 1), (0, 1, 1, 0, 1, 1)]
    world = worlds.expanded_world(tmp_path, go, rng, [*many, *alone], "C6")
    words = worlds.as_cs(tmp_path, world, go)
    report = asked(go, *words)
    head, *lines = go("arrange", *words).partition("possible arrangements\n")[2].splitlines()
    place = head.split().index("score") + 1  # of the share, its % is a word
    for row, line in zip(report["arrangements"], lines, strict=False):
        expected = row["expected_given_counts"]
        told = line.split()[place - 2]
        if row["score"] is None:
            assert told == "-"
        else:
            assert (told == "few") == (row["particles"] < 5 and expected < 5), line


def test_sites_that_the_poses_do_not_tell_are_told_by_the_table(go, rng, tmp_path):
    write_table(tmp_path / "p.h5", random_columns(rng, 12))
    for output in ("e.h5", "e.cs"):
        go("expand", "p.h5", output, "--symmetry=O", "--modulo=C4")
    rows = np.load(tmp_path / "e.cs")
    labels = rng.integers(0, 2, len(rows)).astype(np.uint32)
    save(tmp_path / "l.cs", worlds.with_fields(rows, alignments3D__class=labels))
    advice = "if the set was made with --unique or --modulo"
    for flags in ((), ("--source=p.h5",)):
        notes = asked(go, "l.cs", *flags)["notes"]
        assert any(each.startswith(advice) for each in notes)
        assert ("of 18 of 24 operators no copy came back" in notes) == bool(flags)
    known = asked(go, "l.cs", "--expanded=e.h5")
    assert known["possible"] == 10  # of Burnside's lemma
    assert not any(each.startswith(advice) for each in known["notes"])


def test_pairs_that_never_came_back_are_not_listed(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 30, 4, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    for labels in world.labels:
        labels[1] = labels[3] = None
    words = worlds.as_cs(tmp_path, world, go)
    report = asked(go, *words)
    none = [row for row in report["pairs"] if not row["pairs"]]
    assert {row["relation"] for row in none} == {"1/4 turn about z"}
    said = go("arrange", *words)
    assert "1/4 turn about z" not in said
    assert "3 more have sites that never came back together" in said


def test_files_of_equal_names_are_classes_by_number(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 20, 4, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    words = worlds.as_files(tmp_path, world, go)
    for folder, name in (("J1", "a.cs"), ("J2", "b.cs")):
        (tmp_path / folder).mkdir()
        (tmp_path / name).rename(tmp_path / folder / "particles.cs")
    report = asked(go, "J1/particles.cs", "J2/particles.cs", words[-1])
    assert_arrangements(report, world, ("1", "2"))
    report = asked(go, "J1/particles.cs", "J2/particles.cs", words[-1], "--label=free,bound")
    assert_arrangements(report, world, ("free", "bound"))


def test_rows_of_several_files_with_a_column(go, rng, tmp_path):
    """With --by, files are parts of one set, not classes."""
    truth = worlds.random_truth(rng, 20, 6, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C6")
    words = worlds.as_cs(tmp_path, world, go, rng)
    rows = np.load(tmp_path / "l.cs")
    save(tmp_path / "first.cs", rows[:47])
    save(tmp_path / "second.cs", rows[47:])
    report = asked(go, "first.cs", "second.cs", words[-1], "--by=alignments3D/class")
    assert_arrangements(report, world)


def test_two_labels_of_one_name_are_one_label(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 40, 6, 3)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D3")
    words = worlds.as_hdf5(tmp_path, world, go)
    report = asked(go, *words, "--label=free,bound,bound")
    world.labels = [[min(c, 1) for c in labels] for labels in world.labels]
    assert_arrangements(report, world, ("free", "bound"))
    assert_pairs(report, world, ("free", "bound"))


def test_names_of_a_column_are_labels_too(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 20, 4, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    rows, labels = worlds.rows_of_expanded(world, rng)
    state = np.array([b"empty", b"full"])[labels]
    worlds.write_some(tmp_path / "e.h5", tmp_path / "l.h5", rows, state=state)
    assert_arrangements(asked(go, "l.h5", "--by=state"), world, ("empty", "full"))


def test_big_numbers_are_different_labels(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 20, 4, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    rows, labels = worlds.rows_of_expanded(world)
    big = np.uint64(2**63) + labels.astype(np.uint64)
    worlds.write_some(tmp_path / "e.h5", tmp_path / "l.h5", rows, big=big)
    names = (str(2**63), str(2**63 + 1))
    assert_arrangements(asked(go, "l.h5", "--by=big"), world, names)


def test_one_operator_makes_arrangements_of_one_site(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 20, 1, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C1")
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go))
    assert_arrangements(report, world)
    assert report["pairs"] == []


def test_copies_that_came_back_twice_count_once(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 20, 4, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    words = worlds.as_cs(tmp_path, world, go)
    rows = np.load(tmp_path / "l.cs")
    save(tmp_path / "l.cs", np.concatenate([rows, rows[7:12]]))
    assert_arrangements(asked(go, *words), world)


def test_the_rest_of_many_arrangements_is_summed_up(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 200, 6, 3)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D3")
    words = worlds.as_hdf5(tmp_path, world, go)
    whole, some = asked(go, *words, "--most=1000"), asked(go, *words, "--most=5")
    assert_arrangements(whole, world)
    many = len(whole["arrangements"])
    rest = sum(row["particles"] for row in whole["arrangements"][5:])
    assert some.pop("arrangements") == whole.pop("arrangements")[:5]
    assert (some.pop("further"), whole.pop("further")) == ([many - 5, rest], [0, 0])
    assert some == whole
    said = go("arrange", *words, "--most=5")
    assert any(
        str(many - 5) in line and str(rest) in line for line in said.replace(",", "").splitlines()
    )


def test_python_gives_what_the_command_line_prints(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 30, 6, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D3", missing=0.1)
    words = worlds.as_hdf5(tmp_path, world, go)
    report = arrange("l.h5", by="class", label=("A", "B")).as_dict()
    printed = asked(go, *words, "--label=A,B")
    assert json.loads(json.dumps(report)) == {key: printed[key] for key in report}
    assert_arrangements(printed, world, ("A", "B"))


def test_the_table_says_what_json_says(go, rng, tmp_path):
    patterns = [(0, 0, 0, 1), (0, 1, 0, 1), (1, 1, 1, 1)]
    world = worlds.expanded_world(
        tmp_path, go, rng, worlds.from_patterns(rng, patterns, 60), "C4", missing=0.02
    )
    words = (*worlds.as_hdf5(tmp_path, world, go), "--label=A,B")
    report, lines = asked(go, *words), go("arrange", *words).splitlines()
    assert {row["pattern"].count("B") for row in report["arrangements"]} == {1, 2, 4}
    for row in [*report["arrangements"], *report["incomplete"]]:
        assert any(
            {str(row["id"]), "".join(row["pattern"]), str(row["particles"])} <= set(line.split())
            for line in lines
        ), row


def test_of_many_pairs_the_weakest_are_counted_only(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 20, 60, 3)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "I2")
    words = worlds.as_hdf5(tmp_path, world, go)
    scores = [abs(row["score"] or 0) for row in asked(go, *words)["pairs"]]
    assert len(scores) == 37 * 6
    table = go("arrange", *words).partition("pairs of labels, against")[2].splitlines()[2:]
    listed = [abs(float(line.split()[-1])) for line in table[:30]]
    assert table[30] == "192 more have smaller scores"
    np.testing.assert_allclose(sorted(listed), sorted(scores)[-30:], atol=0.051)


@pytest.mark.parametrize("symbol", ["C4", "D3"])
def test_an_expansion_of_cryosparc(symbol, go, rng, tmp_path):
    order = len(naive.group(symbol))
    truth = worlds.random_truth(rng, 25, order, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, symbol)
    worlds.as_cs(tmp_path, world, go)
    save(tmp_path / "other.cs", worlds.scrambled(np.load(tmp_path / "l.cs"), rng))
    assert_arrangements(asked(go, "other.cs"), world)
    report = asked(go, "other.cs", "--source=p.h5")
    assert_arrangements(report, world)
    assert_pairs(report, world)
    assert_arrangements(asked(go, "other.cs", "--expanded=e.h5"), world)


@needs(PROGRAM)
@pytest.mark.parametrize("symbol", ["C4", "D3"])
def test_an_expansion_of_relion(symbol, go, rng, tmp_path):
    (tmp_path / "p.star").write_text(relion_text(make_particles(20)))
    run(tmp_path, PROGRAM, "--i", "p.star", "--o", "theirs.star", "--sym", symbol)
    head, columns = worlds.star_rows((tmp_path / "theirs.star").read_text())
    group = worlds.numbered_group(symbol, "relion")
    sites = twin.Sites(group)
    truth = worlds.random_truth(rng, 20, len(sites), 2)
    world = worlds.refined(rng, sites, truth, {})
    labels = []
    first = {}
    for row in range(len(columns["rlnImageName"])):
        angles = [float(columns[f"rlnAngle{name}"][row]) for name in ("Rot", "Tilt", "Psi")]
        pose = naive.euler_zyz(*angles).T
        number = int(columns["rlnImageName"][row].partition("@")[0]) - 1
        first.setdefault(number, pose)
        site = group.number((first[number].T @ pose, np.zeros(3)))
        labels.append(worlds.NUMBERS[world.labels[number][site]])
    worlds.write_star(tmp_path / "l.star", head, columns, range(len(labels)), rlnClassNumber=labels)
    report = asked(go, "l.star")
    assert_arrangements(report, world)
    go("expand", "p.star", "e.h5", f"--symmetry={symbol}")
    assert asked(go, "l.star", "--expanded=e.h5")["arrangements"] == report["arrangements"]


SPHERE_A = 40.0


@pytest.mark.parametrize("symbol", ["C4", "D3"])
def test_pairs_that_overlap_in_the_image_are_left_out(symbol, go, rng, tmp_path):
    center = (SPHERE_A, 5.0, 12.0)
    truth = worlds.random_truth(rng, 40, len(naive.group(symbol)), 2)
    flags = ("--center=" + ",".join(map(str, center)),)
    world = worlds.expanded_world(tmp_path, go, rng, truth, symbol, *flags, missing=0.1)
    words = worlds.as_hdf5(tmp_path, world, go)
    poses = world.poses()
    report = asked(go, *words)
    assert_pairs(report, world)
    for row in report["pairs"]:
        one, other = (world.sites.place(site, center) for site in row["sites"])
        assert row["distance_A"] == pytest.approx(np.linalg.norm(one - other), abs=1e-3)
    for smallest_A in (25.0, 60.0):

        def apart(particle, smallest_A=smallest_A):
            return twin.apart_in_image(world.sites, poses[particle], center, smallest_A)

        report = asked(go, *words, f"--min_projected_A={smallest_A}")
        assert_pairs(report, world, edges_of=apart)
        assert_arrangements(report, world)


def test_every_permutation_confirms_the_expected_pairs(go, rng, tmp_path):
    """No formula at all: the labels of each particle in every order."""
    truth = worlds.random_truth(rng, 40, 4, 3)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D2", missing=0.2)
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go))
    assert_pairs(report, world, chance=twin.by_permutations)


def test_one_label_says_nothing(go, rng, tmp_path):
    world = worlds.expanded_world(tmp_path, go, rng, [(0,) * 4] * 10, "C4", missing=0.1)
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go))
    assert_arrangements(report, world)
    assert {row["score"] for row in report["pairs"]} <= {None}
    assert go("arrange", "l.h5", "--by=class")


def test_without_a_center_there_is_no_distance(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 10, 4, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go))
    assert {row["distance_A"] for row in report["pairs"]} == {None}


def planted(rng, sites, relation, particles, favored):
    """Labels of particles in which pairs of label 1 stand in one relation more, or less, often.

    With two labels only, the three scores of a relation would be equal but for their sign.
    """
    pairs = sites.relations()[relation]
    truth = []
    for _ in range(particles):
        labels = [int(c) for c in rng.choice((0, 2), len(sites), p=(0.7, 0.3))]
        drawn = list(itertools.combinations(range(len(sites)), 2))
        if rng.uniform() < 0.6:
            drawn = [p for p in drawn if (p in pairs) == favored]
        for site in drawn[rng.integers(len(drawn))]:
            labels[site] = 1
        truth.append(tuple(labels))
    return truth


@pytest.mark.parametrize("favored", [True, False], ids=["more", "less"])
@pytest.mark.parametrize("symbol", ["C6", "D3"])
def test_a_planted_relation_is_named_with_its_sign(symbol, favored, go, rng, tmp_path):
    sites = twin.Sites(worlds.numbered_group(symbol))
    relation = max(sites.relations(), key=lambda each: (len(sites.relations()[each]), max(each)))
    truth = planted(rng, sites, relation, 300, favored)
    world = worlds.expanded_world(tmp_path, go, rng, truth, symbol)
    words = (*worlds.as_hdf5(tmp_path, world, go), "--label=free,bound,odd")
    report = asked(go, *words)
    found = assert_pairs(report, world, ("free", "bound", "odd"))
    strongest = max(found, key=lambda key: abs(found[key]["score"] or 0))
    assert strongest[0] == relation
    best = found[relation, 1, 1]
    assert abs(best["score"]) > report["limit"]
    assert (best["score"] > 0) == favored
    said = go("arrange", *words)
    words_of = [line for line in said.splitlines() if best["relation"] in line and "." in line]
    sentences = [line for line in words_of if "strongest" in line.lower() or "often" in line]
    assert sentences, said
    signs = ("more often", "+") if favored else ("less often", "rarer", "-")
    assert any(sign in line for line in sentences for sign in signs), sentences


TWIST, RISE = 27.3, 4.75


def helix_world(rng, tubes=12, boxes=9, order=3, missing=0.15):
    """Boxes on tubes, every second unit; label of each (tube, j), or None; columns of a .star."""
    micrograph = [f"m{tube // 3}.mrc" for tube in range(tubes) for _ in range(boxes)]
    number = [str(1 + tube % 3) for tube in range(tubes) for _ in range(boxes)]
    unit = [int(2 * k + tube) for tube in range(tubes) for k in range(boxes)]
    n = len(unit)
    angles = rng.uniform((-180, 70, -180), (180, 110, 180), (n, 3)).round(6)
    origins = rng.normal(0, 3, (n, 2)).round(6)
    columns = {"rlnImageName": [f"{k + 1:06d}@stack.mrcs" for k in range(n)]}
    for k, name in enumerate(("Rot", "Tilt", "Psi")):
        columns[f"rlnAngle{name}"] = [f"{x:.6f}" for x in angles[:, k]]
    for k, name in enumerate("XY"):
        columns[f"rlnOrigin{name}Angst"] = [f"{x:.6f}" for x in origins[:, k]]
    columns["rlnOpticsGroup"] = ["1"] * n
    columns["rlnMicrographName"], columns["rlnHelicalTubeID"] = micrograph, number
    off = rng.uniform(-0.3, 0.3, n)
    track = [RISE * (j + d) for j, d in zip(unit, off, strict=True)]
    columns["rlnHelicalTrackLengthAngst"] = [f"{length:.6f}" for length in track]
    units = naive.helix_units(order)
    labels = {}
    for tube in range(tubes):
        inside = {unit[tube * boxes + k] + u for k in range(boxes) for u in units}
        for j in sorted(inside):
            lost = rng.uniform() < missing
            labels[tube, j] = None if lost else int(rng.integers(0, 2))
    copies = [labels[row // boxes, unit[row] + u] for row in range(n) for u in units]
    return columns, labels, copies


def tubes_of(labels):
    """Labels of each tube and the numbers of its sites."""
    found = {}
    for (tube, j), label in labels.items():
        found.setdefault(tube, []).append((j, label))
    return [tuple(zip(*sorted(places), strict=True)) for places in found.values()]


@pytest.mark.parametrize("kind", ["hdf5", "star"])
def test_pairs_of_a_helix_by_the_difference_along_it(kind, go, rng, tmp_path):
    columns, labels, copies = helix_world(rng)
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", f"--twist={TWIST}", f"--rise={RISE}", "--order=3")
    rows = [row for row, label in enumerate(copies) if label is not None]
    numbers = [worlds.NUMBERS[copies[row]] for row in rows]
    if kind == "hdf5":
        worlds.write_some(
            tmp_path / "e.h5", tmp_path / "l.h5", np.array(rows), **{"class": np.array(numbers)}
        )
        words = ("l.h5", "--by=class")
    else:
        go("export", "e.h5", "e.star")
        head, exported = worlds.star_rows((tmp_path / "e.star").read_text())
        worlds.write_star(tmp_path / "l.star", head, exported, rows, rlnClassNumber=numbers)
        words = ("l.star", "--expanded=e.h5")
    report = asked(go, *words)
    assert report["arrangements"] == []
    tubes = tubes_of(labels)
    said = [tube[1] for tube in tubes]
    wanted = twin.pair_rows(lambda k: twin.tube_edges(tubes[k][0]), said, 2)
    found = {}
    for row in report["pairs"]:
        words_of = row["relation"].split()
        assert words_of[:4] == ["j'", "-", "j", "="]
        a, b = sorted(NAMES.index(name) for name in row["labels"])
        found[int(words_of[4]), a, b] = row
    assert {1, 2, 3} <= {d for d, *_ in found}
    for key, row in found.items():
        seen, expected, variance = wanted[key]
        assert row["pairs"] == seen
        assert row["expected"] == pytest.approx(expected, rel=1e-6, abs=1e-6)
        assert row["score"] == pytest.approx((seen - expected) / variance**0.5, rel=1e-5)
    scored = [wanted[key] for key in found]
    assert report["limit"] == pytest.approx(twin.limit(scored), abs=1e-3)


def test_a_subunit_that_several_boxes_show_counts_once(go, rng, tmp_path):
    """With the label of most of its copies; here one box of three errs."""
    n, order = 20, 5
    columns, _, _ = helix_world(rng, tubes=1, boxes=n, order=1)
    columns["rlnHelicalTrackLengthAngst"] = [f"{RISE * k:.6f}" for k in range(n)]
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", f"--twist={TWIST}", f"--rise={RISE}", f"--order={order}")
    true = {j: int(rng.integers(0, 2)) for j in range(-2, n + 2)}
    units = [box + u for box in range(n) for u in naive.helix_units(order)]
    said = [true[j] for j in units]
    for j in range(2, n - 2, 3):  # seen five times: one error leaves four
        row = units.index(j)
        said[row] = 1 - said[row]
    worlds.write_some(
        tmp_path / "e.h5", tmp_path / "l.h5", np.arange(len(units)), **{"class": np.array(said)}
    )
    report = asked(go, "l.h5", "--by=class")
    places = sorted(true)
    labels = [true[j] for j in places]
    wanted = twin.pair_rows(lambda _: twin.tube_edges(places), [labels], 2)
    for row in report["pairs"]:
        key = (int(row["relation"].split()[4]), *sorted(map(int, row["labels"])))
        seen, expected, _ = wanted[key]
        assert row["pairs"] == seen
        assert row["expected"] == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("missing", ["rlnMicrographName", "rlnHelicalTubeID"])
def test_boxes_without_their_tube_are_refused(missing, go, command, rng, tmp_path):
    """Tubes are numbered in each micrograph anew: without its name, different ones would be one."""
    columns, _, copies = helix_world(rng)
    del columns[missing]
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", f"--twist={TWIST}", f"--rise={RISE}", "--order=3")
    labels = np.array([label or 0 for label in copies])
    worlds.write_some(
        tmp_path / "e.h5", tmp_path / "l.h5", np.arange(len(labels)), **{"class": labels}
    )
    done = command("arrange", "l.h5", "--by=class")
    assert done.returncode in (1, 2)
    assert missing in done.stderr
    assert done.stderr.count("\n") == 1


# --- chance


def labeled_again(folder, world, name="l.h5"):
    """Write the labels of a world beside the poses of e.h5, quickly."""
    rows, labels = worlds.rows_of_expanded(world)
    worlds.write_some(folder / "e.h5", folder / name, rows, **{"class": labels})


def assert_like_chance(scores):
    """Standard scores have a mean of 0 and a spread of 1: together, and, less sharply, by row."""
    everything = [score for row in scores for score in row]
    assert abs(np.mean(everything)) < 0.25
    assert 0.85 < np.std(everything) < 1.15
    for row in scores:
        assert abs(np.mean(row)) < 0.3
        assert 0.8 < np.std(row, ddof=1) < 1.2


@pytest.mark.slow
@pytest.mark.parametrize(("symbol", "particles"), [("C4", 600), ("D3", 1000)])
def test_scores_of_independent_labels(symbol, particles, go, rng, tmp_path):
    """Occupancies vary between particles, and a fifth of the copies is missing."""
    sites, sets = len(naive.group(symbol)), 100
    truth = worlds.random_truth(rng, particles, sites, 2, (3, 7))
    first = worlds.expanded_world(tmp_path, go, rng, truth, symbol)
    pairs, expected, arrangements, likely = {}, {}, {}, {}
    for number in range(sets):
        truth = worlds.random_truth(rng, particles, sites, 2, (3, 7))
        world = worlds.relabeled(first, truth, rng, missing=0.2)
        labeled_again(tmp_path, world)
        report = arrange(str(tmp_path / "l.h5"), by="class", most=10**6).as_dict()
        if number % 50 == 0:
            names = list(report["labels"])
            assert_arrangements(json.loads(json.dumps(report)), world, names)
            assert_pairs(json.loads(json.dumps(report)), world, names)
        for row in report["pairs"]:
            key = (row["relation"], *row["labels"])
            pairs.setdefault(key, []).append(row["score"])
            expected.setdefault(key, []).append(row["expected"])
        for row in report["arrangements"]:
            if row["score"] is not None:
                key = tuple(row["pattern"])
                arrangements.setdefault(key, []).append(row["score"])
                likely.setdefault(key, []).append(row["expected_given_counts"])
    for scores, means in [(pairs, expected), (arrangements, likely)]:
        tested = [values for key, values in scores.items() if np.mean(means[key]) >= 10]
        assert len(tested) >= 2
        assert {len(values) for values in tested} == {sets}
        assert_like_chance(tested)


def test_occupancy_that_varies_is_not_taken_for_cooperation(go, rng, tmp_path):
    """Under independence, varying occupancy looks cooperative; given the counts it does not."""
    truth = worlds.random_truth(rng, 1500, 6, 2, (1, 2))
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C6")
    report = asked(go, *worlds.as_hdf5(tmp_path, world, go))
    naive_scores = [(row["particles"] - row["expected"]) / row["expected"] ** 0.5
                    for row in report["arrangements"]]  # fmt: skip
    assert max(map(abs, naive_scores)) > 8
    assert max(abs(row["score"]) for row in report["arrangements"] if row["score"] is not None) < 4
    assert max(abs(row["score"]) for row in report["pairs"]) < 4
