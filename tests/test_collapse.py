"""collapse takes an expansion back: whole, in part, and through other programs' files."""

import json

import h5py
import inside
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inside import CsTable
from star_files import particles, read_star, star_text
from test_cs import save, structured

from numba_symexp import collapse, expand, verify

POSE, SHIFT = "alignments3D/pose", "alignments3D/shift"


def columns_of(path):
    """All columns of a table, and its attributes."""
    found = {}
    with h5py.File(path) as file:
        file["particles"].visititems(
            lambda name, node: found.update({name: node[()]}) if hasattr(node, "shape") else None
        )
        return found, dict(file["particles"].attrs)


def assert_bit_equal(found, wanted):
    assert found.dtype == wanted.dtype
    assert found.tobytes() == wanted.tobytes()


def subset(path, new, rows):
    """Write some rows of an expanded table, as a user's script would."""
    with h5py.File(path) as old, h5py.File(new, "w") as file:
        file.attrs.update(old.attrs)
        for group in ("operators", "source"):
            old.copy(group, file)

        def copy(name, node):
            if hasattr(node, "shape"):
                file[f"particles/{name}"] = node[()][rows]
                file[f"particles/{name}"].attrs.update(node.attrs)

        old["particles"].visititems(copy)


@pytest.fixture
def expanded(tmp_path, columns, go):
    """D3 of 50 particles, 300 rows."""
    write_table(tmp_path / "p.h5", columns, convention="relion")
    go("expand", "p.h5", "e.h5", "--symmetry=D3")
    return tmp_path / "e.h5"


def test_expand_then_collapse_is_the_identity(expanded, columns, go, tmp_path):
    go("collapse", "e.h5", "c.h5")
    found, attributes = columns_of(tmp_path / "c.h5")
    assert attributes == {"convention": "relion"}
    assert found.pop("copies").tolist() == [6] * 50
    assert set(found) == set(columns)
    for name, wanted in columns.items():
        assert_bit_equal(found[name], wanted)


def test_some_copies_give_some_particles(expanded, columns, go, tmp_path, rng):
    rows = np.sort(rng.choice(300, 60, replace=False))
    subset(expanded, tmp_path / "some.h5", rows)
    said = go("collapse", "some.h5", "c.h5", "--count")
    found, _ = columns_of(tmp_path / "c.h5")
    count = np.bincount(rows // 6, minlength=50)
    assert found["copies"].tolist() == count[count > 0].tolist()
    for name, wanted in columns.items():
        assert_bit_equal(found[name], wanted[count > 0])
    table = [line.split() for line in said.splitlines()[1:-2]]
    assert {int(a): int(b) for a, b in table} == {
        k: int((count == k).sum()) for k in np.unique(count)
    }


@pytest.mark.parametrize("keep", ["max", "min"])
def test_the_best_copy_keeps_its_pose(keep, expanded, go, tmp_path, rng, monkeypatch):
    monkeypatch.setattr(inside.scan_module, "_BLOCK_BYTES", 150)
    rows = rng.permutation(300)[:200]
    subset(expanded, tmp_path / "some.h5", rows)
    score = rng.integers(0, 5, 200).astype(np.float32)
    score[::7] = np.nan
    with h5py.File(tmp_path / "some.h5", "r+") as file:
        file["particles/score"] = score
    go("collapse", "some.h5", "c.h5", "--by=score", f"--keep={keep}")
    found, _ = columns_of(tmp_path / "c.h5")
    with h5py.File(expanded) as file:
        pose, shift = file["particles"][POSE][()], file["particles"][SHIFT][()]
        labels = file["operators/label"][()]
    sources = np.unique(rows // 6)
    worst = -np.inf if keep == "max" else np.inf
    for k, source in enumerate(sources):
        mine = [j for j in range(200) if rows[j] // 6 == source]
        values = [worst if np.isnan(score[j]) else score[j] for j in mine]
        best = mine[values.index(max(values) if keep == "max" else min(values))]
        assert found["operator_index"][k] == rows[best] % 6
        assert found["operator_label"][k] == labels[rows[best] % 6]
        assert_bit_equal(found[POSE][k], pose[rows[best]])
        assert_bit_equal(found[SHIFT][k], shift[rows[best]])
        assert found["copies"][k] == len(mine)


def test_a_collapsed_star_is_a_star_again(tmp_path, go, rng):
    text = star_text({k: [w.strip() for w in v] for k, v in particles(rng, 9).items()})
    (tmp_path / "p.star").write_text(text)
    go("expand", "p.star", "e.h5", "--symmetry=C3")
    go("collapse", "e.h5", "c.h5")
    go("export", "c.h5", "c.star")
    assert (tmp_path / "c.star").read_text() == text


def returned_cs(tmp_path, rng, drop=()):
    """A .cs of some rows of e.cs in some order, with a score."""
    rows = np.load(tmp_path / "e.cs")
    kept = rng.permutation(len(rows))[: len(rows) // 3]
    columns = {name: rows[name][kept] for name in rows.dtype.names if name not in drop}
    columns["score"] = rng.normal(size=len(kept)).astype(np.float32)
    save(tmp_path / "back.cs", structured(columns))
    return kept, columns


@pytest.mark.parametrize("drop", [(), ("sym_expand/src_uid",)], ids=["src_uid", "uid"])
def test_rows_come_back_as_cs(drop, expanded, columns, go, tmp_path, rng):
    go("export", "e.h5", "e.cs")
    kept, back = returned_cs(tmp_path, rng, drop)
    go("collapse", "back.cs", "c.h5", "--expanded=e.h5", "--by=score")
    found, _ = columns_of(tmp_path / "c.h5")
    sources = np.unique(kept // 6)
    assert found["copies"].tolist() == np.bincount(kept // 6)[sources].tolist()
    assert_bit_equal(found["ctf/df1_A"], columns["ctf/df1_A"][sources])
    for k, source in enumerate(sources):
        mine = np.flatnonzero(kept // 6 == source)
        best = mine[np.argmax(back["score"][mine])]
        assert found["operator_index"][k] == kept[best] % 6
        angle = naive.angle_rad(naive.exp(found[POSE][k]), naive.exp(back[POSE][best]))
        assert np.degrees(angle) < 2e-5
        np.testing.assert_allclose(found[SHIFT][k], back[SHIFT][best], rtol=1e-5)


def test_shifts_of_smaller_images_come_back_in_the_sources_pixels(expanded, go, tmp_path, rng):
    go("export", "e.h5", "e.cs")
    rows = np.load(tmp_path / "e.cs")
    rows["alignments3D/psize_A"] *= 2
    save(tmp_path / "back.cs", rows)
    go("collapse", "back.cs", "c.h5", "--expanded=e.h5", "--by=sym_expand/idx", "--keep=min")
    found, _ = columns_of(tmp_path / "c.h5")
    np.testing.assert_allclose(found[SHIFT], 2 * rows[SHIFT][::6], rtol=1e-5)


def test_shifts_keep_the_pixels_that_were_given_for_the_expansion(columns, go, tmp_path):
    """The .cs has them too, so that nothing is converted."""
    write_table(tmp_path / "p.h5", columns)
    go("expand", "p.h5", "e.h5", "--symmetry=D3", "--psize=1.9")
    go("export", "e.h5", "e.cs")
    go("collapse", "e.cs", "c.h5", "--expanded=e.h5", "--by=sym_expand/idx", "--keep=min")
    found, _ = columns_of(tmp_path / "c.h5")
    np.testing.assert_allclose(found[SHIFT], columns[SHIFT], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("born", ["star", "cs"])
def test_rows_come_back_as_star(born, tmp_path, go, rng):
    if born == "star":
        (tmp_path / "p.star").write_text(star_text(particles(rng, 20)))
        go("import", "p.star", "p.h5")
    else:
        columns = random_columns(rng, 20)
        columns["blob/idx"] = np.arange(20, dtype=np.uint32)
        write_table(tmp_path / "p.h5", columns)
    go("expand", "p.h5", "e.h5", "--symmetry=D3")
    go("export", "e.h5", "e.star")
    lines = (tmp_path / "e.star").read_text().splitlines(keepends=True)
    first = next(k for k, line in enumerate(lines) if "@" in line)
    kept = np.sort(rng.choice(120, 50, replace=False))
    back = lines[:first] + [lines[first + k] for k in kept]
    (tmp_path / "back.star").write_text("".join(back))
    go("collapse", "back.star", "c.h5", "--expanded=e.h5")
    found, _ = columns_of(tmp_path / "c.h5")
    count = np.bincount(kept // 6, minlength=20)
    assert found["copies"].tolist() == count[count > 0].tolist()
    wanted, _ = columns_of(tmp_path / "p.h5")
    assert_bit_equal(found[POSE], wanted[POSE][count > 0])
    go("collapse", "back.star", "best.h5", "--expanded=e.h5", "--by=rlnDefocusU", "--keep=min")
    best, _ = columns_of(tmp_path / "best.h5")
    with h5py.File(tmp_path / "e.h5") as file:
        poses = file["particles"][POSE][()]
    first = [int(kept[kept // 6 == source][0]) for source in np.unique(kept // 6)]
    assert best["operator_index"].tolist() == [row % 6 for row in first]
    for k, row in enumerate(first):
        assert naive.angle_rad(naive.exp(best[POSE][k]), naive.exp(poses[row])) < 1e-6


def test_poses_far_from_any_operator_are_not_named(tmp_path, go, command, rng):
    columns = particles(rng, 5)
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", "--symmetry=C3")
    columns["rlnAngleRot"][2] = str(float(columns["rlnAngleRot"][2]) + 50)
    (tmp_path / "back.star").write_text(star_text(columns))
    go("collapse", "back.star", "c.h5", "--expanded=e.h5")
    done = command("collapse", "back.star", "b.h5", "--expanded=e.h5", "--by=rlnDefocusU")
    assert done.returncode == 1
    assert "row 2: which operator made it cannot be told" in done.stderr


class Counted(CsTable):
    """A dataset that remembers which ranges were read."""

    def _rows(self, start, stop):
        self.ranges.append((start, stop))
        return super()._rows(start, stop)


def test_rows_by_number_are_read_in_ranges_that_pay(tmp_path):
    rows = np.zeros(100_000, [("uid", "<u8"), ("x", "<u1", 1016)])
    rows["uid"] = np.arange(100_000)
    with Counted(save(tmp_path / "p.cs", rows)) as table:
        for index in ([5, 5, 3], [0, 99_999], range(0, 90_000, 7)):
            table.ranges = []
            found = table.read_at(["uid"], np.array(index))["uid"]
            assert found.tolist() == list(index)
            assert max(stop - start for start, stop in table.ranges) <= (16 << 20) // 1024
            if len(index) < 4:
                assert sum(stop - start for start, stop in table.ranges) <= 4
            else:
                assert len(table.ranges) < 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "say"),
    [
        (("collapse", "e.h5", "c.h5", "--keep=best"), 2, "neither max nor min"),
        (("collapse", "e.h5", "c.h5", "--by=none"), 1, "no column none"),
        (("collapse", "e.h5", "c.h5", f"--by={POSE}"), 1, "not one number per row"),
        (("collapse", "p.h5", "c.h5"), 2, "--expanded"),
        (("collapse", "e.h5", "c.h5", "--expanded=e.h5"), 2, "leave out --expanded"),
        (("collapse", "e.h5", "e.h5", "--overwrite"), 1, "is the source itself"),
        (("collapse", "e.h5", "p.h5", "--overwrite"), 1, "is the source itself"),
        (("collapse", "other.cs", "c.h5", "--expanded=e.h5"), 1, "is no copy of a particle"),
    ],
)
def test_collapse_by_the_words(words, code, say, expanded, command, tmp_path, rng):
    save(tmp_path / "other.cs", structured(random_columns(np.random.default_rng(5), 4) | {
        "uid": np.arange(4, dtype=np.uint64)}))  # fmt: skip
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = command(*words)
    assert done.returncode == code, done.stderr
    assert say in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_indices_beyond_the_source_are_refused(expanded, command, tmp_path):
    with h5py.File(expanded, "r+") as file:
        file["particles/source_index"][7] = 50
    done = command("collapse", "e.h5", "c.h5")
    assert done.returncode == 1
    assert "source_index of row 7 points beyond the source" in done.stderr


def test_what_a_run_elsewhere_left_is_named(expanded, go, tmp_path):
    left = tmp_path / ".numba_symexp-elsewhere-abcd1234-77-12-345-0123abcd.tmp"
    left.write_text("")
    assert "a run on elsewhere (process 12)" in go("collapse", "e.h5", "c.h5")
    assert left.exists()


def test_json_has_the_counts(expanded, go):
    made = json.loads(go("collapse", "e.h5", "c.h5", "--json"))
    assert (made["particles"], made["of"], made["rows"]) == (50, 50, 300)
    assert made["counts"] == {"6": 50}


GROUPS = st.one_of(
    st.integers(1, 9).map(lambda n: {"symmetry": f"C{n}"}),
    st.integers(2, 7).map(lambda n: {"symmetry": f"D{n}"}),
    st.sampled_from(["T", "O", "I1", "I2", "I3", "I4"]).map(lambda s: {"symmetry": s}),
    st.tuples(st.floats(-179, 179), st.floats(0.5, 60), st.integers(1, 7)).map(
        lambda t: dict(zip(("twist", "rise", "order"), t, strict=True))
    ),
)


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    group=GROUPS,
    rows=st.integers(1, 90),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from([np.float32, np.float64]),
    compound=st.booleans(),
    spread=st.sampled_from([0.0, 1e-6, 1.5, 30.0]),
)
@pytest.mark.filterwarnings("ignore::numba_symexp.ExpansionWarning")
def test_expand_verify_collapse(group, rows, seed, dtype, compound, spread, tmp_path):
    """Whatever the table and the group: the expansion proves itself, and goes back bit for bit."""
    columns = random_columns(np.random.default_rng(seed), rows, dtype)
    columns[POSE] = (columns[POSE] * dtype(spread)).astype(dtype)
    source = write_table(tmp_path / "p.h5", columns, compound=compound)
    expanded, back = str(tmp_path / "e.h5"), str(tmp_path / "c.h5")
    expand(source, expanded, overwrite=True, **group)
    report = verify(expanded)
    assert report.passed, [check for check in report.checks if not check.passed]
    made = collapse(expanded, back, overwrite=True)
    assert made.particles == rows
    found, _ = columns_of(back)
    for name, wanted in columns.items():
        assert_bit_equal(found[name], wanted)


def foreign(rows, rng):
    """The same rows as another program would write them: other ids, another order of copies."""
    rows = rows.copy()
    mates = rows["sym_expand/idx"] > 0
    rows["uid"][mates] = rng.integers(2**40, 2**62, np.count_nonzero(mates))
    rows["sym_expand/idx"] = 3 * (len(set(rows["sym_expand/idx"])) - rows["sym_expand/idx"])
    return rows[rng.permutation(len(rows))]


def save_rows(path, rows):
    """A .cs file."""
    with open(path, "wb") as file:
        np.save(file, rows)


@pytest.fixture
def exported(rng, go, tmp_path):
    """Rows of an expanded set as a .cs, with a score of each."""
    write_table(tmp_path / "p.h5", random_columns(rng, 20))
    go("expand", "p.h5", "e.h5", "--symmetry=D3")
    go("export", "e.h5", "e.cs")
    rows = np.load(tmp_path / "e.cs")
    score = rng.uniform(size=len(rows)).astype(np.float32)
    fields = [*rows.dtype.descr, ("score", "<f4")]
    scored = np.zeros(len(rows), fields)
    for name in rows.dtype.names:
        scored[name] = rows[name]
    scored["score"] = score
    save_rows(tmp_path / "scored.cs", scored)
    return scored


def test_operators_of_another_program_are_told_by_the_pose(exported, rng, go, tmp_path):
    go("collapse", "scored.cs", "own.h5", "--expanded=e.h5", "--by=score")
    save_rows(tmp_path / "other.cs", foreign(exported, rng))
    go("collapse", "other.cs", "other.h5", "--expanded=e.h5", "--by=score")
    with h5py.File(tmp_path / "own.h5") as own, h5py.File(tmp_path / "other.h5") as other:
        for name in ("operator_index", "operator_label", "alignments3D/pose", "copies"):
            assert (own["particles"][name][()] == other["particles"][name][()]).all()
        best = exported["score"].reshape(20, 6).argmax(axis=1)
        assert (own["particles/operator_index"][()] == best).all()


def test_a_pose_that_no_operator_makes_is_refused(exported, rng, command, tmp_path):
    rows = foreign(exported, rng)
    worst = int(rows["score"].argmax())
    rows["uid"][worst] = 2**63 + 1
    angles = naive.turn((1, 2, 3), 25)
    turned = naive.exp(rows["alignments3D/pose"][worst]) @ angles
    axis = np.array([turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0],
                     turned[1, 0] - turned[0, 1]])  # fmt: skip
    angle = np.arccos((np.trace(turned) - 1) / 2)
    rows["alignments3D/pose"][worst] = axis / np.linalg.norm(axis) * angle
    save_rows(tmp_path / "other.cs", rows)
    done = command("collapse", "other.cs", "o.h5", "--expanded=e.h5", "--by=score")
    assert (done.returncode, f"row {worst}:" in done.stderr) == (1, True)


def test_a_row_that_stands_twice_counts_once(exported, go, tmp_path):
    save_rows(tmp_path / "twice.cs", np.concatenate([exported, exported[5:9]]))
    assert "4 row(s) stand twice" in go("collapse", "twice.cs", "c.h5", "--expanded=e.h5")
    with h5py.File(tmp_path / "c.h5") as file:
        assert (file["particles/copies"][()] == 6).all()


def test_a_best_row_that_did_not_move_is_the_particle_itself(exported, go, tmp_path):
    rows = exported.copy()
    rows["score"] = rows["sym_expand/idx"] == 0
    save_rows(tmp_path / "scored.cs", rows)
    go("collapse", "scored.cs", "c.h5", "--expanded=e.h5", "--by=score")
    with h5py.File(tmp_path / "c.h5") as file, h5py.File(tmp_path / "p.h5") as source:
        for name in ("alignments3D/pose", "alignments3D/shift"):
            assert (file["particles"][name][()] == source["particles"][name][()]).all()


@pytest.mark.parametrize("linked", ["original", "place", "near"])
def test_new_images_are_joined_by_what_links_them(linked, rng, go, tmp_path):
    columns = particles(rng, 12)
    columns["rlnMicrographName"] = [f"m{k // 6}.mrc" for k in range(12)]
    columns["rlnCoordinateX"] = [f"{100.25 + 40 * (k % 6):.2f}" for k in range(12)]
    columns["rlnCoordinateY"] = [f"{200.5 + 30 * (k % 6):.2f}" for k in range(12)]
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", "--symmetry=C3")
    go("export", "e.h5", "e.star")
    back = read_star((tmp_path / "e.star").read_text())
    if linked == "original":
        back["rlnImageOriginalName"] = back["rlnImageName"]
    back["rlnImageName"] = [f"{k + 1:06d}@Subtract/job1/s.mrcs" for k in range(36)]
    if linked == "near":
        back["rlnCoordinateX"] = [str(float(word) + 0.4) for word in back["rlnCoordinateX"]]
    (tmp_path / "b.star").write_text(star_text({k: v[:30] for k, v in back.items()}))
    assert "10 of 12 particles, of 30 copies" in go("collapse", "b.star", "c.h5", "--expanded=e.h5")
    with h5py.File(tmp_path / "c.h5") as file:
        kept = [word.decode() for word in file["particles/rlnImageName"][()]]
    assert kept == columns["rlnImageName"][:10]


def test_priors_are_those_of_the_best_copy_or_are_named(rng, go, tmp_path):
    columns = particles(rng, 6)
    columns |= {"rlnAngleTiltPrior": ["90.0"] * 6, "rlnAnglePsiPrior": ["10.0"] * 6}
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.star", "--symmetry=D3")
    go("expand", "p.star", "e.h5", "--symmetry=D3")
    copies = read_star((tmp_path / "e.star").read_text())
    score = rng.permutation(36)
    back = {**copies, "rlnScore": [str(x) for x in score]}
    (tmp_path / "back.star").write_text(star_text(back))
    shown = go("collapse", "back.star", "best.star", "--expanded=e.h5", "--by=rlnScore")
    assert "not of the best copies" not in shown
    found = read_star((tmp_path / "best.star").read_text())
    best = [6 * k + int(np.argmax(score[6 * k : 6 * k + 6])) for k in range(6)]
    for label in ("rlnAngleTiltPrior", "rlnAnglePsiPrior"):
        assert found[label] == [copies[label][row] for row in best]
    assert len(set(found["rlnAnglePsiPrior"])) == 2
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file["particles/score"] = score
    shown = go("collapse", "e.h5", "named.star", "--by=score")
    assert "not of the best copies, but of their particles: rlnAngleTiltPrior" in shown
    assert "not of the best copies" not in go("collapse", "e.h5", "own.star")
