"""Some operators of a set: by number, one of each left coset, one for each place of a point."""

import json
import re
from dataclasses import replace

import h5py
import naive
import numpy as np
import pytest
from inside import (
    Motions,
    Own,
    SymmetryError,
    UsageError,
    choose,
    generators,
    left_cosets,
    nearly_on_axis,
    stabilizer,
    subgroup,
)

from numba_symexp import expand, helix, point_group

PARTS = [
    ("O", "C4", 6), ("O", "C3", 8), ("O", "C2", 12), ("O", "D4", 3), ("O", "D3", 4),
    ("O", "D2", 6), ("O", "T", 2), ("I2", "C5", 12), ("I1", "C3", 20), ("I4", "C2", 30),
    ("I2", "D5", 6), ("I3", "D3", 10), ("I2", "D2", 15), ("I2", "T", 5), ("D7", "C7", 2),
    ("D7", "C2", 7), ("D7", "D7", 1), ("D6", "D3", 2), ("D6", "D2", 3), ("C6", "C3", 2),
    ("C6", "C2", 3), ("T", "C3", 4), ("T", "D2", 3), ("C7", "C1", 7), ("D4", "D1", 4),
]  # fmt: skip


def same_rotations(ours, theirs):
    """Whether two lists of matrices are the same set, each once."""
    ours, theirs = np.reshape(ours, (-1, 9)), np.reshape(theirs, (-1, 9))
    near = np.linalg.norm(ours[:, None] - theirs[None], axis=2) < 1e-4
    return len(ours) == len(theirs) and (near.sum(axis=0) == 1).all()


def poses_by_source(path):
    """Matrices A of the rows of each source of an expanded file."""
    with h5py.File(path) as file:
        source = file["particles/source_index"][()]
        poses = file["particles/alignments3D/pose"][()]
    matrices = np.array([naive.exp(v).T for v in poses])
    return [matrices[source == i] for i in np.unique(source)]


@pytest.mark.slow
@pytest.mark.parametrize(("symbol", "part", "cosets"), PARTS)
def test_one_of_each_left_coset_and_the_subgroup_give_the_full_set(symbol, part, cosets):
    """A m h over all representatives m and all h in H: every A g once, for any pose A."""
    full = point_group(symbol)
    chosen = choose(full, modulo=part)
    assert (len(chosen), chosen.kind, chosen.full_order) == (cosets, "transversal", len(full))
    inside = [full.matrix[h] for h in chosen.subgroup]
    a = naive.exp((0.3, -1.2, 2.0)).T
    reached = [a @ m @ h for m in chosen.matrix for h in inside]
    assert same_rotations(reached, [a @ g for g in naive.group(symbol)])
    assert chosen.full_index[0] == 0
    assert np.array_equal(chosen.matrix, full.matrix[chosen.full_index])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "part"), [(("--symmetry=O",), "C4"), (("--symmetry=D7",), "C7"),
                        (("--twist=27.3", "--rise=4.75", "--order=5", "--symmetry=C2"), "C2")]
)  # fmt: skip
def test_expanding_what_was_chosen_by_the_subgroup_gives_all_poses(
    flags, part, source, tmp_path, go
):
    """Through the command line: expand by the cosets, then the result again by the subgroup."""
    go("expand", source, "full.h5", *flags)
    go("expand", source, "part.h5", *flags, f"--modulo={part}")
    go("expand", "part.h5", "both.h5", f"--symmetry={part}", "--again")
    whole = poses_by_source(tmp_path / "full.h5")
    parts = poses_by_source(tmp_path / "part.h5")
    both = np.concatenate(poses_by_source(tmp_path / "both.h5"))
    assert len(parts[0]) * int(part[1:]) == len(whole[0])
    for i, (wanted, few) in enumerate(zip(whole, parts, strict=True)):
        fold = len(wanted) // len(few)
        mine = both[i * len(wanted) : (i + 1) * len(wanted)]
        assert fold == int(part[1:])
        assert same_rotations(mine, wanted)


@pytest.mark.parametrize(
    ("symbol", "part", "axis"),
    [
        ("O", "C4", (0, 0, 1)), ("O", "C3", (1, 1, 1)), ("I1", "C5", (0, 1, naive.PHI)),
        ("I2", "C5", (1, 0, naive.PHI)), ("I3", "C5", (0, 0, 1)), ("I2", "C2", (0, 0, 1)),
        ("D7", "C2", (0, 1, 0)), ("T", "C3", (0, 0, 1)), ("D6", "D3", (0, 0, 1)),
    ],
)  # fmt: skip
def test_a_subgroup_is_taken_nearest_to_z(symbol, part, axis):
    full = point_group(symbol)
    inside = full.matrix[subgroup(full, part)]
    turn = naive.turn(axis, 360 / int(part[1:]))
    assert np.linalg.norm(inside - turn, axis=(1, 2)).min() < 1e-9
    assert same_rotations(inside, naive_subgroup(part, inside))


def naive_subgroup(part, inside):
    """As many different rotations as the symbol has, closed under products."""
    assert len(inside) == int(part[1:]) * (2 if part[0] == "D" else 1)
    return [a @ inside[1] for a in inside]


@pytest.mark.parametrize(
    ("symbol", "part", "axis", "wanted"),
    [
        ("O", "C4", (1, 0, 0), (1, 0, 0)), ("O", "C4", (0, -2, 0), (0, 1, 0)),
        ("O", "C3", (1, -1, -1), (1, -1, -1)), ("I2", "C5", (-1, 0, 1.618), (-1, 0, naive.PHI)),
        ("D7", "C2", (0.434, -0.901, 0), naive.turn((0, 0, 1), 360 / 14 * 1) @ (0, -1, 0)),
    ],
)  # fmt: skip
def test_a_subgroup_about_an_axis_that_is_given(symbol, part, axis, wanted):
    full = point_group(symbol)
    inside = full.matrix[subgroup(full, part, axis)]
    turn = naive.turn(wanted, 360 / int(part[1:]))
    assert np.linalg.norm(inside - turn, axis=(1, 2)).min() < 1e-3


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_the_length_of_the_axis_says_nothing(size):
    full = point_group("O")
    found = subgroup(full, "C4", (size, 0.0, 0.0))
    assert np.array_equal(found, subgroup(full, "C4", (1.0, 0.0, 0.0)))


def test_of_several_subgroups_on_one_axis_the_lowest_operator_counts():
    """O has two D2 with a 2-fold on z: the one on x and y begins with a lower operator."""
    full = point_group("O")
    inside = subgroup(full, "D2")
    found = {tuple(np.round(axis, 3)) for axis in np.abs(full.axis[inside[1:]])}
    firsts = [full.label.index(label) for label in ("C4.2^2", "C2.1^1")]
    assert firsts[0] < firsts[1]
    assert found == {(0, 0, 1), (1, 0, 0), (0, 1, 0)}


@pytest.mark.parametrize(
    ("symbol", "part", "axis", "said"),
    [
        ("O", "C5", None, "O has no subgroup C5: its rotations are 2-fold, 3-fold, 4-fold"),
        ("O", "I", None, "no subgroup I"), ("C6", "D3", None, "no subgroup D3"),
        ("D7", "D2", None, "no subgroup D2"),
        ("I2", "C5", (0, 0, 1), r"no subgroup C5 about \(0, 0, 1\)"),
        ("C1", "C2", None, "its rotations are none"), ("O", "X", None, "'X' is unknown"),
        ("O", "C0", None, "unknown"), ("O", "Ih", None, "unknown"), ("O", "", None, "unknown"),
    ],
)  # fmt: skip
def test_subgroups_that_there_are_not(symbol, part, axis, said):
    with pytest.raises(SymmetryError, match=said):
        subgroup(point_group(symbol), part, axis)


def test_a_helix_is_no_group_and_yet_made_of_cosets():
    full = helix(27.3, 4.75, 5, "D3")
    for part, count in (("C3", 10), ("D3", 5), ("C2", 15)):
        assert len(choose(full, modulo=part)) == count
    assert [full.label[k] for k in generators(full)] == ["C3^1", "U1", "h+1"]
    assert not Motions(full).is_group()


def test_cosets_that_leave_the_set_are_refused():
    full = point_group("C6").choose([0, 2, 3, 4, 5], "subset", "")
    with pytest.raises(SymmetryError, match="not made of whole cosets"):
        left_cosets(full, np.array([0, 2]))


@pytest.mark.parametrize("symbol", ["C1", "C7", "D7", "T", "O", "I2"])
def test_generators_make_the_group(symbol):
    full = point_group(symbol)
    assert len(naive.closure(full.matrix[generators(full)])) == len(full)
    assert len(generators(full)) <= 2


def test_products_are_found_by_their_motion():
    for full in (point_group("I3"), helix(-166.7, 27.3, 4, "D2")):
        motions = Motions(full)
        table = motions.times(np.arange(len(full))[:, None], np.arange(len(full))[None])
        for i, j in ((0, 5), (3, 7), (len(full) - 1, 2)):
            rotation = full.matrix[i] @ full.matrix[j]
            moved = full.matrix[i] @ full.translation_A[j] + full.translation_A[i]
            off = np.abs(full.matrix - rotation).max(axis=(1, 2))
            off += np.abs(full.translation_A - moved).max(axis=1)
            wanted = int(np.argmin(off)) if off.min() < 1e-6 else -1
            assert table[i, j] == wanted
        assert np.array_equal(table[0], np.arange(len(full)))


def test_of_motions_that_lie_close_the_nearest_is_found():
    """Typed operators may be off by more than those of C5000 lie apart."""
    full = replace(point_group("C5000"), symmetry=Own("c5000.txt", typed=True))
    numbers = np.array([3, 4999, 2500])
    products = Motions(full).times(numbers[:, None], numbers[None])
    assert np.array_equal(products, (numbers[:, None] + numbers[None]) % 5000)


# A subgroup by its name


def is_among(matrix, matrices):
    return min(np.abs(matrix - each).max() for each in matrices) < 1e-6


@pytest.mark.parametrize("convention", ["cryosparc", "relion"])
@pytest.mark.parametrize(
    ("symbol", "part"),
    [("D2", "D1"), ("D4", "D1"), ("D6", "D3"), ("D6", "D2"), ("D3", "D1"), ("O", "D2"),
     ("O", "D4"), ("I2", "D1"), ("I1", "D2"), ("D6", "C2")],
)  # fmt: skip
def test_a_subgroup_by_name_is_the_group_that_the_convention_calls_so(symbol, part, convention):
    full = point_group(symbol, convention)
    numbers = subgroup(full, part)
    expected = naive.group(part, convention)
    assert len(numbers) == len(expected)
    assert all(is_among(full.matrix[number], expected) for number in numbers)


def test_one_of_each_coset_expands_to_the_full_group_with_the_named_group(go):
    """No two operators that are kept differ by an operator of the named D1, E and C2 on y."""
    for symbol in ("D2", "D4"):
        made = json.loads(go("operators", f"--symmetry={symbol}", "--modulo=D1", "--json"))
        kept = [np.array(each["matrix"]) for each in made["operators"]]
        products = [m @ h for m in kept for h in naive.group("D1")]
        full = naive.group(symbol)
        assert len(products) == len(full)
        assert all(is_among(each, products) for each in full)


def test_a_subgroup_that_the_name_does_not_tell_is_named_or_refused(go, command, tmp_path):
    shown = go("operators", "--symmetry=O", "--modulo=D2", "--axis=1,1,0")
    assert "D2 on z, 2-fold on (0.707, 0.707, 0.000)" in shown
    np.save(tmp_path / "d2.npy", np.array(naive.group("D2")))
    done = command("operators", "--operators_file=d2.npy", "--modulo=D1")
    assert (done.returncode, "as RELION does: give" in done.stderr) == (2, True)
    assert "D1 on x" in go("operators", "--operators_file=d2.npy", "--modulo=D1", "--axis=1,0,0")


# By number


def test_operators_by_number_are_rows_of_the_full_expansion(source, tmp_path, go):
    go("expand", source, "full.h5", "--symmetry=O")
    go("expand", source, "part.h5", "--symmetry=O", "--operators=7,0,2,5-6")
    numbers = [0, 2, 5, 6, 7]
    with h5py.File(tmp_path / "full.h5") as full, h5py.File(tmp_path / "part.h5") as part:
        assert part["operators/full_index"][()].tolist() == numbers
        assert part["operators"].attrs["kind"] == "subset"
        assert part["operators"].attrs["full_order"] == 24
        assert part.attrs["symmetry"] == "O"
        for name in ("alignments3D/pose", "alignments3D/shift", "uid", "source_index"):
            wanted = full[f"particles/{name}"][()]
            kept = wanted.reshape(50, 24, *wanted.shape[1:])[:, numbers]
            assert np.array_equal(part[f"particles/{name}"][()].reshape(kept.shape), kept), name
        assert part["particles/operator_index"][:5].tolist() == [0, 1, 2, 3, 4]
    assert "verified" in go("verify", "part.h5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0,24", "O has operators 0 to 23"), ("0,0", "0 is given twice"),
        ("3-1", "not understood"), ("a", "not understood"), ("1,,2", "not understood"),
        ("-1", "not understood"), ("1-2-3", "not understood"), ("0-999999999", "not understood"),
    ],
)  # fmt: skip
def test_numbers_that_are_none(text, said, source, command):
    done = command("expand", source, "o.h5", "--symmetry=O", f"--operators={text}")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--operators=0", "--modulo=C4"], "operators and modulo choose operators each"),
        (["--modulo=C4", "--unique", "--center=0,0,9"], "modulo and unique choose"),
        (["--axis=0,0,1"], "axis goes with modulo"),
        (["--modulo=C4", "--axis=0,0,0"], "no direction"),
        (["--modulo=C4", "--axis=0,1"], "three numbers"),
        (["--modulo=C4", "--axis=0,1,x"], "not a number"),
        (["--modulo=C4", "--axis=0,1,nan"], "not a point"),
        (["--unique"], "goes with center"),
        (["--defocus=minus"], "defocus goes with center"),
        (["--center=1,2,3", "--defocus=down"], "neither minus nor plus"),
        (["--center_px=1,2,3"], "center_px goes with box_px"),
        (["--box_px=64"], "box_px goes with center_px"),
        (["--center=1,2,3", "--center_px=1,2,3", "--box_px=64"], "the same point"),
        (["--center_px=1,2,3", "--box_px=0"], "box_px 0 must be 1 or more"),
        (["--center=1,2"], "three numbers"),
        (["--center=1e9,0,0"], "no map is that large"),
        (["--center=1e200,0,0"], "no map is that large"),
    ],
)
def test_flags_that_do_not_go_together(flags, said, source, command, tmp_path):
    done = command("expand", source, "o.h5", "--symmetry=O", *flags)
    said_plainly = re.sub(r"--|=(?= )|=(?=,)", "", done.stderr)
    assert (done.returncode, said in said_plainly) == (2, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "o.h5").exists()


# One for each place


def centered(symbol, center_A):
    return replace(point_group(symbol), center_A=np.array(center_A, float))


@pytest.mark.parametrize(
    ("symbol", "center_A", "part"),
    [
        ("I2", (52.573111, 0, 85.065081), "C5"), ("I1", (0, 0, 90), "C2"), ("O", (0, 0, 50), "C4"),
        ("O", (30, 30, 30), "C3"), ("D7", (0, 0, 20), "C7"), ("D7", (0, 33, 0), "C2"),
    ],
)  # fmt: skip
def test_a_center_on_an_axis_chooses_as_its_stabilizer_does(symbol, center_A, part):
    full = centered(symbol, center_A)
    unique, modulo = choose(full, unique=True), choose(full, modulo=part)
    assert np.array_equal(unique.full_index, modulo.full_index)
    assert np.array_equal(unique.subgroup, modulo.subgroup)
    places = np.array([g @ center_A for g in naive.group(symbol)])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) < 0.5
    assert len(unique) == len(np.unique(np.argmax(apart, axis=1)))


def test_a_center_off_all_axes_keeps_all_operators():
    full = centered("I2", (10, 20, 80))
    assert choose(full, unique=True) is full
    assert stabilizer(full).tolist() == [0]
    assert nearly_on_axis(full) is None


def test_a_center_at_the_box_center_is_one_place():
    full = centered("O", (0, 0, 0))
    assert len(choose(full, unique=True)) == 1


def test_a_center_near_an_axis_is_named_with_the_point_on_it(source, command):
    done = command("expand", source, "o.h5", "--symmetry=O", "--center=1,0,50")
    assert done.returncode == 0
    assert "by only 1.41 A" in done.stderr
    assert "--center=0.000,0.000,50.000 and --unique" in done.stderr
    done = command("expand", source, "p.h5", "--symmetry=O", "--center=0,0,50")
    assert "4 operators (0-3) put the center at one place" in done.stderr
    flags = ("--center=0,0,50", "--operators=5,8,22")
    done = command("expand", source, "r.h5", "--symmetry=O", *flags)
    assert "3 operators (5,8,22) put the center at one place" in done.stderr
    done = command("expand", source, "q.h5", "--symmetry=O", "--center=0,0,50", "--unique")
    assert done.stderr == ""


def test_turns_that_move_a_point_little_are_no_stabilizer():
    """About 100 turns of C400 move this point by less than 0.1 A, and half a turn by 6 A."""
    full = centered("C400", (3, 0, 50))
    assert stabilizer(full).tolist() == [0]


# The operators command


def test_operators_say_what_they_are(go):
    rows = json.loads(go("operators", "--symmetry=O", "--json"))["operators"]
    folds = [row["fold"] for row in rows]
    assert [folds.count(n) for n in (1, 2, 3, 4)] == [1, 9, 8, 6]
    for row in rows:
        matrix = np.array(row["matrix"])
        closed = np.linalg.matrix_power(matrix, row["fold"])
        assert np.allclose(closed, np.eye(3), atol=1e-12)
        assert not any(
            np.allclose(np.linalg.matrix_power(matrix, k), np.eye(3)) for k in range(1, row["fold"])
        )
    assert [rows[k]["place"] for k in (0, 1, 3)] == [
        "stays", "1/4 turn about z", "3/4 turn about z"
    ]  # fmt: skip


def test_places_of_a_center_are_where_its_copies_are(go):
    center = np.array([10.0, 20.0, 80.0])
    made = json.loads(go("operators", "--symmetry=D3", "--center=10,20,80", "--json"))
    for row in made["operators"]:
        assert np.allclose(np.array(row["matrix"]) @ center, row["center_A"], atol=1e-9)
        far = np.linalg.norm(np.array(row["matrix"]) @ center - center)
        assert row["place"].endswith(f"{far:.2f} A away")


def test_tables_of_products_and_cosets(go):
    made = json.loads(go("operators", "--symmetry=T", "--modulo=C3", "--tables", "--json"))
    matrices = [np.array(row["matrix"]) for row in made["operators"]]
    assert (len(matrices), len(made["left_cosets"]), len(made["subgroup"])) == (4, 4, 3)
    full = point_group("T").matrix
    for i, row in enumerate(made["products"]):
        for j, k in enumerate(row):
            assert np.allclose(full[i] @ full[j], full[k], atol=1e-9)
    for first, *others in made["left_cosets"]:
        for other in others:
            step = full[first].T @ full[other]
            assert any(np.allclose(step, full[h], atol=1e-9) for h in made["subgroup"])
    text = go("operators", "--symmetry=T", "--modulo=C3", "--tables")
    assert "one of each left coset of C3 on z" in text
    assert "left cosets of {0 1 2}, the first is used:" in text
    assert "index   full  label" in text


def test_without_tables_there_is_none(go):
    words = ("operators", "--symmetry=T", "--modulo=C3")
    made = json.loads(go(*words, "--json"))
    assert not {"products", "left_cosets", "subgroup"} & made.keys()
    assert "left cosets of {" not in go(*words)


def test_a_table_of_too_many_products_is_refused(command):
    done = command("operators", "--symmetry=C1001", "--tables")
    assert (done.returncode, "1,000 at most" in done.stderr) == (2, True)


def test_helical_units_never_close(go):
    made = json.loads(go("operators", "--twist=90", "--rise=5", "--order=3", "--json"))
    assert [row["fold"] for row in made["operators"]] == [1, 0, 0]
    assert [row["place"] for row in made["operators"]] == [
        "stays", "90.000 deg about z, 5.000 A up", "270.000 deg about z, 5.000 A down"
    ]  # fmt: skip


def test_api_chooses_too(source, tmp_path):
    summary = expand(source, str(tmp_path / "o.h5"), symmetry="O", modulo="C4")
    assert (summary.operators, summary.rows) == (6, 300)
    assert "6 used: one of each left coset of C4 on z" in summary.description
    with pytest.raises(UsageError, match="choose operators each"):
        expand(source, str(tmp_path / "p.h5"), symmetry="O", modulo="C4", operators=(0,))
