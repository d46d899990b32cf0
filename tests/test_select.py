"""Some rows of an expanded set: which ones, by loops; and what other verbs make of them."""

import itertools
import json
import os
import re

import h5py
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from star_files import particles, read_star, star_text

import numba_symexp

CENTER = (30.0, -8.0, 21.0)
ORDER = 6
PLACES = ("rlnCoordinateX", "rlnCoordinateY")
MICROGRAPH = (400, 300)
"""Height and width, px."""


def read(path, *names):
    """Columns of an HDF5 table."""
    with h5py.File(path) as file:
        return [file[f"particles/{name}"][:] for name in names]


def pairs(path):
    """(source, operator) of each row."""
    return list(
        zip(*(each.tolist() for each in read(path, "source_index", "operator_index")), strict=True)
    )


def attributes(path):
    with h5py.File(path) as file:
        return dict(file.attrs)


@pytest.fixture
def expanded(go, rng, tmp_path):
    """40 particles by D3, about a point, on two micrographs; with a score."""
    columns = random_columns(rng, 40, np.float64)
    columns["location/micrograph_path"] = np.array([b"a.mrc", b"b.mrc"] * 20)
    columns["location/micrograph_shape"] = np.tile(np.uint32(MICROGRAPH), (40, 1))
    columns["location/micrograph_psize_A"] = np.full(40, 1.7, np.float32)
    for axis in "xy":
        columns[f"location/center_{axis}_frac"] = rng.uniform(0, 1, 40).astype(np.float32)
    write_table(tmp_path / "p.h5", columns)
    center = ",".join(map(str, CENTER))
    go("expand", "p.h5", "e.h5", "--symmetry=D3", f"--center={center}", "--carry=ctf/df1_A")
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file["particles/score"] = rng.permutation(40 * ORDER).astype(np.float64)
    return columns


def matched(rotation):
    """Number in the file of a naive operator, by its matrix."""
    operators = numba_symexp.point_group("D3").matrix
    return int(np.argmin([np.abs(each - rotation).max() for each in operators]))


def test_operators_and_half_sets(go, expanded, tmp_path):
    go("select", "e.h5", "s.h5", "--operators=1,4-5", "--half=2")
    wanted = [
        (i, g) for i in range(40) for g in (1, 4, 5) if expanded["alignments3D/split"][i] == 1
    ]
    assert pairs("s.h5") == wanted
    assert attributes("s.h5")["format_version"] == 2


def test_what_was_left_out_is_counted(go, expanded):
    *shown, then = go("select", "e.h5", "s.h5", "--operators=1,4-5", "--half=2").splitlines()
    assert then.startswith("next: ")
    kept = len(pairs("s.h5"))
    assert shown == [
        "left out: 120 of other operators than 1,4-5",
        f"left out: {120 - kept} of the other half-set than 2",
        f"wrote s.h5: {kept} of 240 rows",
    ]


def test_views(go, command, expanded):
    go("select", "e.h5", "s.h5", "--view=20-75.5")
    wanted, seen_deg = set(), []
    for i, v in enumerate(expanded["alignments3D/pose"]):
        for element in naive.group("D3"):
            a_g = naive.exp(v).T @ element
            angle = np.degrees(np.arccos((a_g @ CENTER)[2] / np.linalg.norm(CENTER)))
            seen_deg.append(angle)
            if 20 <= angle <= 75.5:
                wanted.add((i, matched(element)))
    assert set(pairs("s.h5")) == wanted
    said = command("select", "e.h5", "n.h5", "--view=0-0.000001").stderr
    least, most = re.search(r"\(they have ([\d.]+) to ([\d.]+) deg\)", said).groups()
    np.testing.assert_allclose([float(least), float(most)], [min(seen_deg), max(seen_deg)], 1e-5)


def places(columns, i, element):
    """Where the point of a mate stands on its micrograph, A."""
    height, width = MICROGRAPH
    a_g = naive.exp(columns["alignments3D/pose"][i]).T @ element
    fractions = [float(columns[f"location/center_{axis}_frac"][i]) for axis in "xy"]
    own_A = np.float32(1.7) * np.array(fractions) * (width, height)
    shift_A = columns["alignments3D/shift"][i] * columns["alignments3D/psize_A"][i]
    return own_A - (shift_A - (a_g @ CENTER)[:2])


def test_inside_the_micrograph(go, expanded):
    go("select", "e.h5", "s.h5", "--inside", "--edge_px=15")
    height, width = MICROGRAPH
    least = np.float32(1.7) * 15
    most = np.float32(1.7) * np.array([width, height]) - least
    wanted = set()
    for i in range(40):
        for element in naive.group("D3"):
            place = places(expanded, i, element)
            if (place >= least).all() and (place <= most).all():
                wanted.add((i, matched(element)))
    assert set(pairs("s.h5")) == wanted
    assert 0 < len(wanted) < 40 * ORDER


def test_inside_the_micrograph_of_a_star_with_either_y(go, expanded, tmp_path):
    """A .star that was made of CryoSPARC's particles chooses the rows that they choose."""
    go("select", "e.h5", "s.h5", "--inside", "--edge_px=15")
    height, width = MICROGRAPH
    size = (f"--micrograph_px={width},{height}", "--micrograph_psize=1.7")
    chosen = {}
    for made, read_as in itertools.product(("flipped", "same"), repeat=2):
        go("export", "e.h5", "e.star", f"--coordinates_y={made}", "--overwrite")
        words = ("--inside", "--edge_px=15", f"--coordinates_y={read_as}", "--overwrite")
        go("select", "e.star", "s.star", *words, *size)
        rows = read_star((tmp_path / "s.star").read_text())
        particle = {str(uid): i for i, uid in enumerate(expanded["uid"].tolist())}
        of = [particle[each] for each in rows["symexpSource"]]
        chosen[made, read_as] = sorted(zip(of, map(int, rows["symexpOperator"]), strict=True))
    wanted = sorted(pairs("s.h5"))
    assert chosen["flipped", "flipped"] == chosen["same", "same"] == wanted
    assert chosen["flipped", "same"] != wanted


@pytest.mark.parametrize("within", ["particle", "micrograph"])
@pytest.mark.parametrize("by_score", [True, False])
def test_rows_that_stay_are_apart(go, expanded, within, by_score):
    far = 41.0
    flags = ["--score=score"] if by_score else []
    go("select", "e.h5", "s.h5", f"--min_distance_A={far}", f"--within={within}", *flags)
    score = read("e.h5", "score")[0]
    rows = [
        (i, matched(element), places(expanded, i, element))
        for i in range(40)
        for element in naive.group("D3")
    ]
    rows.sort(key=lambda row: row[:2])
    order = range(len(rows))
    if by_score:
        order = sorted(order, key=lambda k: -score[rows[k][0] * ORDER + rows[k][1]])
    kept = []
    for k in order:
        i, g, place = rows[k]

        def same(j, i=i):
            if within == "particle":
                return j == i
            return (
                expanded["location/micrograph_path"][j] == expanded["location/micrograph_path"][i]
            )

        if all(np.linalg.norm(place - other) >= far for j, _, other in kept if same(j)):
            kept.append((i, g, place))
    assert pairs("s.h5") == sorted((i, g) for i, g, _ in kept)


def test_of_a_chain_the_middle_goes_or_both_ends(go, rng, tmp_path):
    columns = random_columns(rng, 1, np.float64)
    columns["alignments3D/pose"][:] = 0
    columns["alignments3D/shift"][:] = 0
    columns["alignments3D/psize_A"][:] = 1
    write_table(tmp_path / "p.h5", columns)
    (tmp_path / "ops.txt").write_text(
        "".join(f"1 0 0 {x}\n0 1 0 0\n0 0 1 0\n\n" for x in (0, 10, 20))
    )
    go("expand", "p.h5", "e.h5", "--operators_file=ops.txt")
    for scores, wanted in (((1, 3, 2), [1]), ((3, 1, 2), [0, 2]), ((1, 2, 3), [0, 2])):
        with h5py.File(tmp_path / "e.h5", "r+") as file:
            if "score" in file["particles"]:
                del file["particles/score"]
            file["particles/score"] = np.array(scores, float)
        go("select", "e.h5", "s.h5", "--min_distance_A=15", "--score=score", "--overwrite")
        assert read("s.h5", "operator_index")[0].tolist() == wanted
    go("select", "e.h5", "s.h5", "--min_distance_A=10", "--overwrite")
    assert read("s.h5", "operator_index")[0].tolist() == [0, 1, 2]  # none is nearer than 10 A


def test_one_copy_of_each_particle(go, expanded):
    go("select", "e.h5", "s.h5", "--one_per_particle", "--score=score")
    score = read("e.h5", "score")[0].reshape(40, ORDER)
    assert pairs("s.h5") == list(enumerate(score.argmax(axis=1).tolist()))
    words = ("--one_per_particle", "--score=score", "--lowest", "--overwrite")
    assert "the one with the smallest score stays" in go("select", "e.h5", "s.h5", *words)
    assert pairs("s.h5") == list(enumerate(score.argmin(axis=1).tolist()))
    with h5py.File("e.h5", "r+") as file:
        file["particles/whole"] = score.ravel().astype(np.int32)
        file["particles/score"][5 * ORDER] = np.nan
    go("select", "e.h5", "s.h5", "--one_per_particle", "--score=whole", "--lowest", "--overwrite")
    assert pairs("s.h5") == list(enumerate(score.argmin(axis=1).tolist()))
    go("select", "e.h5", "s.h5", *words)
    score[5, 0] = np.inf
    assert pairs("s.h5") == list(enumerate(score.argmin(axis=1).tolist()))
    go("select", "e.h5", "a.h5", "--one_per_particle", "--random=5")
    go("select", "e.h5", "b.h5", "--one_per_particle", "--random=5")
    go("select", "e.h5", "c.h5", "--one_per_particle", "--random=6")
    assert pairs("a.h5") == pairs("b.h5") != pairs("c.h5")
    assert [source for source, _ in pairs("a.h5")] == list(range(40))
    assert len({operator for _, operator in pairs("a.h5")}) > 1


def test_columns_by_value_and_range(go, expanded):
    defocus = expanded["ctf/df1_A"]
    low, high = np.sort(defocus)[[10, 30]].astype(float)
    go("select", "e.h5", "s.h5", f"--where=ctf/df1_A={low:.17g}..{high:.17g}")
    wanted = [i for i in range(40) if low <= defocus[i] <= high]
    assert sorted({source for source, _ in pairs("s.h5")}) == wanted
    go("select", "e.h5", "t.h5", "--where=blob/path=stack_3.mrc,score=..100")
    score = read("e.h5", "score")[0]
    assert pairs("t.h5") == [
        (i, g)
        for i in range(40)
        for g in range(ORDER)
        if i % 7 == 3 and score[i * ORDER + g] <= 100
    ]


def test_copies_that_converged_to_one_pose_are_one(go, rng, tmp_path):
    columns = random_columns(rng, 12, np.float64)
    write_table(tmp_path / "p.h5", columns)
    go("expand", "p.h5", "e.cs", "--symmetry=C2")
    rows = np.load(tmp_path / "e.cs")
    turned = rows["alignments3D/pose"].astype(float)
    for k in range(0, 24, 4):  # of every second particle both copies end up beside each other
        small = naive.turn((1, 2, 3), 0.5)
        merged = naive.exp(turned[k]) @ small
        turned[k + 1] = _rotvec(merged)
    moved = rows["alignments3D/shift"].astype(float)
    moved[1::4] = moved[0::4] + 0.4 / rows["alignments3D/psize_A"][0::4, None]
    rows["alignments3D/pose"], rows["alignments3D/shift"] = turned, moved
    with open(tmp_path / "r.cs", "wb") as file:
        np.save(file, rows)
    kept = {
        "1,1": 18,  # within 0.57 A and 0.5 deg
        "0.5,1": 24,
        "1,0.4": 24,
    }
    for flag, count in kept.items():
        go("select", "r.cs", "s.cs", f"--same_pose={flag}", "--overwrite")
        found = np.load(tmp_path / "s.cs")
        assert len(found) == count
    assert set(found.dtype.names) >= {"sym_expand/src_uid", "sym_expand/idx"}


def _rotvec(matrix):
    """Rotation vector of a matrix, whose angle is neither 0 nor pi."""
    angle = np.arccos((np.trace(matrix) - 1) / 2)
    skew = np.array(
        [matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]
    )
    return angle * skew / (2 * np.sin(angle))


@pytest.fixture
def selected(go, expanded):
    go("select", "e.h5", "s.h5", "--view=0-70", "--min_distance_A=20")
    return pairs("s.h5")


def test_a_selection_verifies_and_a_damaged_one_does_not(go, command, selected, tmp_path):
    assert "selected of 240 rows" in go("verify", "s.h5")
    whole = (tmp_path / "s.h5").read_bytes()

    def damage(change):
        (tmp_path / "d.h5").write_bytes(whole)
        with h5py.File(tmp_path / "d.h5", "r+") as file:
            change(file)
        done = command("verify", "d.h5")
        assert done.returncode == 1
        return done.stdout

    def swap(file):
        first = file["particles/operator_index"][0]
        file["particles/operator_index"][0] = (first + 1) % ORDER

    def repeat(file):
        for each in ("source_index", "operator_index"):
            file[f"particles/{each}"][1] = file[f"particles/{each}"][0]

    def move(file):
        file["particles/alignments3D/shift"][3, 0] += 0.01

    def forget(file):
        del file.attrs["selection"]

    def lie(file):
        steps = json.loads(file.attrs["selection"])
        steps[0]["rows"] += 1
        file.attrs["selection"] = json.dumps(steps)

    def other_id(file):
        file["particles/uid"][2] += 1

    for change in (swap, repeat, move, forget, lie, other_id):
        damage(change)


@pytest.mark.parametrize("column", ["pose", "shift"])
@pytest.mark.parametrize("output", ["s.h5", "s.star", "s.cs"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_none_are_refused_in_every_format(
    output, column, value, command, expanded, tmp_path
):
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file[f"particles/alignments3D/{column}"][8, 1] = value
    before = set(os.listdir(tmp_path))
    done = command("select", "e.h5", output, "--operators=2,3")
    assert done.returncode == 1
    assert f"e.h5: alignments3D/{column} is NaN or Inf: first in row 8, 1 row" in done.stderr
    assert done.stderr.count("\n") == 1
    assert set(os.listdir(tmp_path)) == before
    if column == "pose":
        assert command("select", "e.h5", output, "--operators=3,4").returncode == 0


@pytest.mark.parametrize(
    ("label", "flags"),
    [
        ("rlnDefocusU", ()), ("rlnOpticsGroup", ()), ("rlnImageName", ()),
        ("rlnCoordinateX", ("--inside", "--micrograph_px=400,300", "--micrograph_psize=1")),
        ("rlnDefocusV", ("--one_per_particle", "--score=rlnDefocusV")),
    ],
)  # fmt: skip
def test_words_that_are_no_numbers_have_their_row_in_the_file(
    label, flags, command, go, rng, tmp_path
):
    columns = particles(rng, 6)
    columns |= {name: [f"{x:.3f}" for x in rng.uniform(0, 300, 6)] for name in PLACES}
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.star", "--symmetry=C3")
    rows = read_star((tmp_path / "e.star").read_text())
    rows[label][10] = "x@s.mrcs" if label == "rlnImageName" else "x"
    (tmp_path / "e.star").write_text(star_text(rows))
    done = command("select", "e.star", "s.cs", "--where=symexpOperator=1", *flags)
    assert done.returncode == 1
    assert f"{label} is 'x' in row 10, not a number" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("select", "e.h5", "o.h5", "--one_per_particle", "--score=score"),
        ("select", "e.h5", "o.h5", "--min_distance_A=20", "--score=score", "--lowest"),
        ("collapse", "e.h5", "o.h5", "--by=score"),
        ("arrange", "e.h5", "--by=state", "--output=o.h5", "--score=score"),
    ],
)
def test_scores_that_are_none_are_told(words, command, expanded, rng, tmp_path):
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file["particles/state"] = rng.integers(0, 2, 40 * ORDER)
    assert "NaN" not in command(*words).stderr
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file["particles/score"][:7] = np.nan
    done = command(*words, "--overwrite")
    assert done.returncode == 0
    said = "warning: e.h5: score is NaN in 7 of 240 rows: these copies come last\n"
    assert done.stderr.count(said) == 1


NO_RECORDS = ("{", "5", "null", '{"a": 1}', '"abc"', "[" * 30_000, "", b"\xff\xfe", np.arange(3),
              1.5, h5py.Empty("f8"), "[NaN]", "[1]", '[{"rows": 1e400, "dropped": {}}]', "9" * 5000,
              '[{"rows": 1, "dropped": {"a": -1}}]', f'[{{"rows": {10**400}, "dropped": {{}}}}]',
              '[{"rows": true, "dropped": {}}]', '[{"rows": 5, "dropped": [1]}]')  # fmt: skip


@pytest.mark.parametrize("record", NO_RECORDS, ids=lambda record: str(record)[:20])
def test_a_damaged_record_of_a_selection_is_one_line(record, go, command, selected, tmp_path):
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file.attrs["selection"] = record
    done = command("select", "s.h5", "again.h5", "--operators=0")
    assert done.returncode == 1
    assert "the record of its selection is damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "again.h5").exists()
    done = command("verify", "s.h5")
    assert done.returncode == 1
    assert "the record of its selection is damaged" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("record", ["[" * 30_000, '{"parameters": ' + "[" * 30_000, "9" * 5000])
@pytest.mark.parametrize(
    "words",
    [
        ("verify", "e.h5"),
        ("inspect", "e.h5"),
        ("export", "e.h5", "o.star"),
        ("collapse", "e.h5", "o.h5"),
        ("select", "e.h5", "o.h5", "--operators=0"),
        ("transfer", "e.h5", "e.h5", "o.h5"),
    ],
    ids=" ".join,
)
def test_a_provenance_that_is_none_is_one_line(words, record, command, expanded, tmp_path):
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file.attrs["provenance"] = record
    done = command(*words)
    assert "unexpected" not in done.stderr
    assert done.returncode == 1
    assert "provenance is damaged" in done.stdout + done.stderr


def test_later_verbs_take_a_selection(go, selected, tmp_path):
    go("export", "s.h5", "s.star")
    rows = read_star((tmp_path / "s.star").read_text())
    assert [int(word) for word in rows["symexpOperator"]] == [g for _, g in selected]
    go("export", "s.h5", "s.cs")
    assert np.load(tmp_path / "s.cs")["sym_expand/idx"].tolist() == [g for _, g in selected]
    for suffix in ("h5", "cs", "star"):
        expanded = [] if suffix == "h5" else ["--expanded=s.h5"]
        told = go("collapse", f"s.{suffix}", f"c_{suffix}.h5", *expanded, "--json")
        assert json.loads(told)["particles"] == len({i for i, _ in selected})
    go("select", "s.h5", "again.h5", "--one_per_particle")
    assert "verified" in go("verify", "again.h5")
    assert len(json.loads(attributes("again.h5")["selection"])) == 2
    told = json.loads(go("arrange", "s.h5", "--by=operator_index", "--json"))
    assert sum(told["labels"].values()) == len(selected)


@pytest.mark.parametrize("suffix", ["star", "cs"])
def test_into_a_format_at_once_is_the_export_of_the_selection(go, selected, tmp_path, suffix):
    go("export", "s.h5", f"a.{suffix}")
    go("select", "e.h5", f"b.{suffix}", "--view=0-70", "--min_distance_A=20")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_rows_of_a_star_keep_their_words(go, rng, tmp_path):
    (tmp_path / "p.star").write_text(star_text(particles(rng, 9)))
    go("expand", "p.star", "e.star", "--symmetry=C3")
    before = read_star((tmp_path / "e.star").read_text())
    told = json.loads(go("select", "e.star", "s.star", "--one_per_particle", "--json"))
    assert told["rows"] == 9
    assert list(told["dropped"].values()) == [18]
    after = read_star((tmp_path / "s.star").read_text())
    assert after == {label: words[::3] for label, words in before.items()}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "nothing to select by"),
        (["--operators=9"], "has operators 0-5 of the full set"),
        (["--one_per_particle", "--random=-1"], "is below 0"),
        (["--half=1", "--score=score"], "--score goes with"),
        (["--half=1", "--micrograph_psize=1"], "--micrograph_psize goes with"),
        (["--half=1", "--edge_px=3"], "--edge_px goes with --inside"),
        (["--inside", "--micrograph_psize=-1"], "must be above 0"),
        (["--where=score=7..3"], "ends before it begins"),
        (["--half=3"], "neither 1 nor 2"),
        (["--view=10"], "two numbers"),
        (["--view=50-10"], "a range of degrees"),
        (["--where=nope=3"], "no column nope"),
        (["--where=uid"], "COLUMN=VALUE"),
        (["--where=score=a..b"], "is no number"),
        (["--one_per_particle", "--score=a", "--random=1"], "give one of them"),
        (["--one_per_particle", "--lowest"], "--lowest goes with --score"),
        (["--min_distance_A=0"], "not a length"),
        (["--min_distance_A=5", "--within=map"], "neither particle nor micrograph"),
        (["--same_pose=1"], "two numbers"),
        (["--where=score=-5"], "score is not -5 (they have 0 to 239): choose by"),
        (["--where=score=239.5.."], "score is not 239.5.. (they have 0 to 239): choose by"),
        (["--operators=1", "--where=operator_index=0"], "not 0 (they have 1 to 1): choose by"),
        (["--where=location/micrograph_path=c.mrc"], "not c.mrc (they have a.mrc, b.mrc): "),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(command, expanded, tmp_path, flags, told):
    done = command("select", "e.h5", "s.h5", *flags)
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s.h5").exists()


def test_particles_that_are_not_expanded_are_refused(command, expanded):
    done = command("select", "p.h5", "s.h5", "--one_per_particle")
    assert done.returncode == 1
    assert "is not expanded" in done.stderr


def test_a_set_without_a_center_has_no_views(go, command, rng, tmp_path):
    write_table(tmp_path / "p.h5", random_columns(rng, 4))
    go("expand", "p.h5", "e.h5", "--symmetry=C2")
    done = command("select", "e.h5", "s.h5", "--view=0-30")
    assert done.returncode == 2
    assert "direction to the center" in done.stderr


@pytest.mark.parametrize("by_link", [False, True])
def test_the_particles_behind_a_set_are_never_overwritten(command, expanded, tmp_path, by_link):
    before = (tmp_path / "p.h5").read_bytes()
    output = "p.h5"
    if by_link:
        (tmp_path / "link.h5").symlink_to("p.h5")
        output = "link.h5"
    done = command("select", "e.h5", output, "--half=1", "--overwrite")
    assert done.returncode == 1
    assert "is the source itself" in done.stderr
    assert (tmp_path / "p.h5").read_bytes() == before


def test_numbers_of_operators_are_those_of_the_full_set(go, command, expanded):
    go("expand", "p.h5", "c.h5", "--symmetry=D3", "--operators=0,2,5", "--again")
    go("select", "c.h5", "s.h5", "--operators=5")
    assert {operator for _, operator in pairs("s.h5")} == {2}
    done = command("select", "c.h5", "t.h5", "--operators=1")
    assert "has operators 0,2,5 of the full set" in done.stderr


def test_ids_are_compared_to_the_last_figure(go, expanded, tmp_path):
    uid = read("e.h5", "uid")[0]
    assert uid[1] > 2**53  # so that float64 takes it for its neighbors
    go("select", "e.h5", "s.h5", f"--where=uid={uid[1]}")
    assert pairs("s.h5") == [(0, 1)]
    go("select", "e.h5", "t.h5", f"--where=uid={uid[1]}..{uid[2]}")
    assert pairs("t.h5") == [(0, 1), (0, 2)]
    go("export", "e.h5", "e.star")
    particle = expanded["uid"][3]
    go("select", "e.star", "u.star", f"--where=symexpSource={particle}")
    assert set(read_star((tmp_path / "u.star").read_text())["symexpOperator"]) == set("012345")


def test_texts_of_any_length_can_be_chosen_by(go, expanded, tmp_path):
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        kinds = [("alpha", "b")[k % 2] for k in range(40 * ORDER)]
        file["particles"].create_dataset("kind", data=kinds, dtype=h5py.string_dtype())
    go("select", "e.h5", "s.h5", "--where=kind=alpha")
    assert len(pairs("s.h5")) == 20 * ORDER


def test_copies_of_cryosparc_keep_what_says_whose_they_are(go, rng, tmp_path):
    write_table(tmp_path / "p.h5", random_columns(rng, 6))
    go("expand", "p.h5", "e.cs", "--symmetry=C3")
    before = np.load(tmp_path / "e.cs")
    fields = [name for name in before.dtype.names if name.startswith("sym_expand/")]
    go("select", "e.cs", "s.cs", "--one_per_particle")
    after = np.load(tmp_path / "s.cs")
    for name in fields:
        assert np.array_equal(after[name], before[name][::3])
    go("select", "s.cs", "t.cs", "--where=alignments3D/psize_A=0..9")  # copies still, though alone
    assert np.array_equal(
        np.load(tmp_path / "t.cs")["sym_expand/src_uid"], after["sym_expand/src_uid"]
    )
    go("export", "e.cs", "x.cs")
    for name in fields:
        assert np.array_equal(np.load(tmp_path / "x.cs")[name], before[name])


def test_distances_of_subtomograms_have_a_depth(go, rng, tmp_path):
    columns = random_columns(rng, 15, np.float64)
    columns["alignments3D/shift"] = rng.normal(0, 3, (15, 3))
    write_table(tmp_path / "p.h5", columns)
    go("expand", "p.h5", "e.h5", "--symmetry=D3", "--center=30,-8,21")
    far = 45.0
    go("select", "e.h5", "s.h5", f"--min_distance_A={far}")
    wanted = []
    for i in range(15):
        kept = []
        places = {
            matched(element): naive.exp(columns["alignments3D/pose"][i]).T @ element @ CENTER
            for element in naive.group("D3")
        }
        for g in range(ORDER):
            if all(np.linalg.norm(places[g] - places[other]) >= far for other in kept):
                kept.append(g)
        wanted += [(i, g) for g in kept]
    assert pairs("s.h5") == wanted
