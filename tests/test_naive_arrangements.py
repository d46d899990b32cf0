"""The twin of `arrange` is itself held against what is known: counts, and every permutation."""

import itertools
import math

import naive_arrangements as twin
import numpy as np
import pytest


def cosets(symbol, fold, axis=(0, 0, 1)):
    """Sites of a group modulo the turns about one axis."""
    group = twin.point_group(symbol)
    part = twin.about_axis(group, fold, axis)
    members, seen = [], set()
    for number in range(len(group.motions)):
        if number not in seen:
            members.append(number)
            seen |= {group.product[number][k] for k in part}
    return twin.Sites(group, members, part)


@pytest.mark.parametrize(
    ("symbol", "number"), [("C4", 6), ("D2", 7), ("D6", 382), ("D7", 1236), ("O", 700688)]
)
def test_numbers_of_arrangements_of_two_labels(symbol, number):
    assert twin.Sites(twin.point_group(symbol)).possible(2) == number


def test_numbers_of_arrangements_on_vertices():
    assert cosets("O", 4).possible(2) == 10
    assert cosets("I3", 5).possible(2) == 96


@pytest.mark.parametrize(("symbol", "labels"), [("C4", 2), ("C6", 2), ("D2", 3), ("D3", 2)])
def test_burnside_counts_the_orbits(symbol, labels):
    sites = twin.Sites(twin.point_group(symbol))
    every = list(itertools.product(range(labels), repeat=len(sites)))
    patterns = {sites.pattern(labeling) for labeling in every}
    assert len(patterns) == sites.possible(labels)
    assert sum(len(sites.orbit(pattern)) for pattern in patterns) == len(every)
    for pattern in patterns:
        turned = [sites.pattern(each) for each in sites.orbit(pattern)]
        assert set(turned) == {pattern}


def test_relations_of_known_sets():
    sizes = sorted(map(len, twin.Sites(twin.point_group("D7")).relations().values()))
    assert sizes == [7] * 7 + [14] * 3
    assert len(twin.Sites(twin.point_group("I2")).relations()) == 37
    assert sorted(map(len, cosets("O", 4).relations().values())) == [3, 12]
    assert sorted(map(len, cosets("I3", 5).relations().values())) == [6, 30, 30]


def test_a_missing_copy_sorts_last():
    sites = twin.Sites(twin.point_group("C4"))
    assert sites.pattern((None, 1, 0, 1)) == (0, 1, None, 1)
    assert sites.pattern((None, None, None, 1)) == (1, None, None, None)


def test_parts_of_a_group_are_moved_by_what_keeps_them():
    group = twin.point_group("C6")
    turns = [group.number(motion) for motion in twin.point_group("C6").motions]
    opposite = twin.Sites(group, [turns[k] for k in (0, 1, 3, 4)])
    assert len(opposite.acting) == 2
    assert len(twin.Sites(group, turns[:2]).acting) == 1
    assert len(twin.Sites(group, turns[::2]).acting) == 3


@pytest.mark.parametrize("symbol", ["C4", "C6", "D2", "D3"])
def test_permuting_confirms_the_closed_forms(symbol):
    sites = twin.Sites(twin.point_group(symbol))
    rng = np.random.default_rng(7)
    cases = [[0, 0, 1, 1, 2, 0][: len(sites)], [None, 0, 1, 1, 0, 1][: len(sites)]]
    cases += [[None if c == 3 else int(c) for c in rng.integers(0, 4, len(sites))]]
    cases += [[0, None, 0, None, None, 1][: len(sites)], [None] * len(sites)]
    for labels in cases:
        for edges in sites.relations().values():
            for a, b in itertools.combinations_with_replacement(range(3), 2):
                found = twin.by_formula(edges, labels, a, b)
                assert found == pytest.approx(twin.by_permutations(edges, labels, a, b), abs=1e-9)


def test_permuting_confirms_what_the_counts_allow():
    """(a): of the labelings with the same counts, so many belong to an arrangement."""
    sites = twin.Sites(twin.point_group("D3"))
    every = sorted(set(itertools.permutations((0, 0, 0, 1, 1, 1))))
    found = twin.arrangements(sites, every)
    assert sum(each["orbit"] for each in found.values()) == len(every) == math.comb(6, 3)
    for each in found.values():
        assert each["given_counts"] == pytest.approx(each["particles"])
        assert each["score"] == pytest.approx(0)


def test_names_of_symmetries():
    group = twin.point_group("O")
    sites = twin.Sites(group)
    assert group.name(range(24)) == "O"
    assert group.name([group.one]) == "C1"
    assert sites.group.name(twin.about_axis(group, 4, (0, 0, 1))) == "C4"
    moved = twin.point_group("D3", center_A=(10, -20, 30))
    assert moved.name(range(6)) == "D3"
    assert twin.Sites(moved).possible(2) == twin.Sites(twin.point_group("D3")).possible(2)


def test_the_limit_of_one_row_is_the_usual_one():
    assert twin.limit([[1, 0.5, 1.0], [0, 0.0, 0.0]]) == pytest.approx(1.959964, abs=1e-6)
