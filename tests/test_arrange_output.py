"""What arrange writes: each particle once, turned so that those of one arrangement coincide."""

import itertools
import json
import shutil

import h5py
import naive
import naive_arrangements as twin
import numpy as np
import pytest
import worlds_of_labels as worlds
from conftest import write_table
from particle_files import needs, run
from relion_peer import PROGRAM, make_particles
from relion_peer import star_text as relion_text
from star_files import floats, particles, read_star, star_text
from test_cs import save, structured
from test_operator_files import as_rows
from test_subtomograms import ANGLES, ORIGINS, subtomograms, tomo_text

TIGHT = 1e-6
"""Of a matrix; and float32 leaves 1e-6 of a shift of some pixels."""

TIGHT_A = 2e-5


def turned_as_it_should(world, row, off=TIGHT, off_A=TIGHT_A):
    """Whether a row has the pose and shift of its particle, turned by the element it names."""
    pose, shift_A = world.turned(row.particle, row.turned)
    np.testing.assert_allclose(row.pose, pose, atol=off)
    np.testing.assert_allclose(row.shift_A, shift_A, atol=off_A)


def coincides(world, row, off=TIGHT, off_A=TIGHT_A):
    """Whether a row stands at its true pose, but for one motion of each true labeling.

    The motion is the one that leads from the true labels to the pattern; the pattern's own
    symmetry may follow.
    """
    true, (pose, shift_A) = world.truth[row.particle], world.true_pose(row.particle)
    found = []
    for u in world.sites.turners(true):
        rotation, moved = world.sites.group.motions[u]
        found.append(
            max(
                np.abs(row.pose - pose @ rotation).max() / off,
                np.abs(row.shift_A - (shift_A - (pose @ moved)[:2])).max() / off_A,
            )
        )
    assert min(found) < 1, found


def assert_output(path, world, names=worlds.NAMES, kept=None, **off):
    """Every particle with labels, or those of some ids, in the source's order, turned."""
    rows = worlds.output_rows(path, world.table)
    ids = world.ids()
    names = names[: 1 + max(c for labels in world.labels for c in labels if c is not None)]
    wanted = [
        k
        for k, labels in enumerate(world.labels)
        if set(labels) != {None} and (kept is None or ids[world.sites.pattern(labels)] in kept)
    ]
    assert [row.particle for row in rows] == wanted
    for row in rows:
        pattern = world.sites.pattern(world.labels[row.particle])
        assert row.id == ids[pattern]
        assert row.labels == worlds.in_text(pattern, names)
        assert row.turned == min(world.sites.turners(world.labels[row.particle]))
        turned_as_it_should(world, row, **off)
        if twin.is_complete(pattern):
            coincides(world, row, **off)
    return rows


PATTERNS = {
    "C4": [(0, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (1, 1, 1, 1), (0, 1, 2, 2)],
    "D3": [(0, 0, 0, 0, 0, 1), (0, 1, 0, 2, 1, 1), (0, 0, 1, 1, 2, 2), (2, 2, 2, 2, 2, 2)],
    "T": [(0,) * 11 + (1,), (0, 1) * 6, (0, 1, 2) * 4],
}


@pytest.mark.parametrize(
    ("symbol", "suffix"),
    [
        ("C4", "h5"),
        ("C4", "cs"),
        ("D3", "star"),
        pytest.param("D3", "cs", marks=pytest.mark.slow),
        pytest.param("D3", "h5", marks=pytest.mark.slow),
        ("T", "h5"),
        pytest.param("T", "star", marks=pytest.mark.slow),
    ],
)
def test_true_arrangements_come_back_and_coincide(symbol, suffix, go, rng, tmp_path):
    truth = worlds.from_patterns(rng, PATTERNS[symbol], 40)
    world = worlds.expanded_world(tmp_path, go, rng, truth, symbol)
    words = worlds.as_hdf5(tmp_path, world, go)
    report = json.loads(go("arrange", *words, f"--output=o.{suffix}", "--json"))
    patterns = {world.sites.pattern(each) for each in PATTERNS[symbol]}
    found = [tuple(worlds.NAMES.index(c) for c in r["pattern"]) for r in report["arrangements"]]
    assert set(found) == patterns
    for row, pattern in zip(report["arrangements"], found, strict=True):
        true = sum(world.sites.pattern(each) == pattern for each in truth)
        assert row["particles"] == true
    assert_output(tmp_path / f"o.{suffix}", world)


@pytest.mark.parametrize(
    ("symbol", "part", "flags"),
    [
        ("O", (4, (0, 0, 1)), ("--modulo=C4",)),
        ("I3", (5, (0, 0, 1)), ("--modulo=C5",)),
        ("D3", (2, (0, 1, 0)), ("--modulo=C2", "--axis=0,1,0")),
        ("T", (3, (0, 0, 1)), ("--modulo=C3",)),
    ],
)
def test_cosets_coincide_too(symbol, part, flags, go, rng, tmp_path):
    sites = len(naive.group(symbol)) // part[0]
    patterns = worlds.random_truth(rng, 5, sites, 2)
    truth = worlds.from_patterns(rng, patterns, 40)
    world = worlds.expanded_world(tmp_path, go, rng, truth, symbol, *flags, part=part)
    go("arrange", *worlds.as_hdf5(tmp_path, world, go), "--output=o.h5")
    rows = assert_output(tmp_path / "o.h5", world)
    if sites > 3:
        assert any(row.turned not in world.sites.members for row in rows)


def test_a_subset_is_turned_by_what_keeps_it(go, rng, tmp_path):
    group = worlds.numbered_group("C6")
    turns = [(naive.turn(naive.Z, 60 * k), np.zeros(3)) for k in (0, 1, 3, 4)]
    chosen = sorted(group.number(motion) for motion in turns)
    truth = worlds.random_truth(rng, 40, 4, 2)
    flag = "--operators=" + ",".join(map(str, chosen))
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C6", flag)
    assert len(world.sites.acting) == 2
    go("arrange", *worlds.as_hdf5(tmp_path, world, go), "--output=o.h5")
    rows = assert_output(tmp_path / "o.h5", world)
    assert {row.turned for row in rows} == {h for h, _ in world.sites.acting}


@pytest.mark.parametrize(
    ("writer", "suffix"),
    [
        (worlds.as_star, "star"),
        (worlds.as_bare_star, "h5"),
        (worlds.as_cs, "cs"),
        pytest.param(worlds.as_star, "cs", marks=pytest.mark.slow),
        pytest.param(worlds.as_bare_star, "star", marks=pytest.mark.slow),
        pytest.param(worlds.as_cs, "star", marks=pytest.mark.slow),
    ],
)
def test_shuffled_rows_with_gaps(writer, suffix, go, rng, tmp_path):
    truth = worlds.from_patterns(rng, PATTERNS["D3"], 40)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D3", missing=0.1)
    world.labels[5] = [None] * 6
    words = writer(tmp_path, world, go, rng)
    go("arrange", *words, "--label=A,B,C", f"--output=o.{suffix}")
    rows = assert_output(tmp_path / f"o.{suffix}", world, worlds.NAMES_ABC)
    assert any("-" in row.labels for row in rows)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_else_stays(dtype, go, rng, tmp_path):
    """Ids, half-sets and all other columns of the source; what did not turn keeps its bits."""
    truth = worlds.from_patterns(rng, PATTERNS["C4"], 40)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4", dtype=dtype)
    go("arrange", *worlds.as_hdf5(tmp_path, world, go), "--output=o.h5")
    found = worlds.columns_of(tmp_path / "o.h5")
    for name, column in world.table.items():
        assert found[name].dtype == column.dtype
        if name not in (worlds.POSE, worlds.SHIFT):
            assert found[name].tobytes() == column.tobytes()
    still = found["operator_index"] == world.sites.group.one
    assert 0 < still.sum() < 40
    for name in (worlds.POSE, worlds.SHIFT):
        assert found[name][still].tobytes() == world.table[name][still].tobytes()
    assert found["arrangement"].dtype == np.uint32
    assert found["operator_index"].dtype == np.uint16
    assert_output(tmp_path / "o.h5", world)


def own_world(folder, go, rng, group, truth, *flags):
    """A world of operators from a file."""
    (folder / "own.txt").write_text(as_rows(group.motions, decimals=12))
    table = worlds.source_columns(rng, len(truth))
    write_table(folder / "p.h5", table)
    go("expand", "p.h5", "e.h5", "--operators_file=own.txt", *flags)
    sites = worlds.sites_in(folder / "e.h5", group)
    return worlds.refined(rng, sites, truth, table)


@pytest.mark.parametrize("suffix", ["h5", "star"])
def test_shifts_follow_operators_that_move(suffix, go, rng, tmp_path):
    """The symmetry is about another point than the box center."""
    group = twin.point_group("D3", center_A=(12.5, -31.0, 7.25))
    truth = worlds.from_patterns(rng, PATTERNS["D3"], 30)
    world = own_world(tmp_path, go, rng, group, truth)
    words = worlds.as_hdf5(tmp_path, world, go)
    report = json.loads(go("arrange", *words, f"--output=o.{suffix}", "--json"))
    assert report["group_order"] == 6
    rows = assert_output(tmp_path / f"o.{suffix}", world, off_A=1e-4)
    before = world.origins()
    assert max(np.abs(row.shift_A - before[row.particle]).max() for row in rows) > 10


def test_a_set_about_a_center_leaves_the_particle_where_it_is(go, rng, tmp_path):
    """Copies were moved to their subunits; the turned particle is the source's whole one."""
    truth = worlds.from_patterns(rng, PATTERNS["C4"], 30)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4", "--center=40,5,-12")
    go("arrange", *worlds.as_hdf5(tmp_path, world, go), "--output=o.h5")
    assert_output(tmp_path / "o.h5", world)
    found = worlds.columns_of(tmp_path / "o.h5")
    np.testing.assert_allclose(found[worlds.SHIFT], world.table[worlds.SHIFT], atol=1e-9)


def star_world(folder, go, rng, symbol, truth, missing=0.0, **further):
    """Particles of a .star, and their expansion."""
    columns = {
        name: [w.strip() for w in words] for name, words in particles(rng, len(truth)).items()
    }
    columns["rlnImageName"] = [f"{k + 1:06d}@stack.mrcs" for k in range(len(truth))]
    columns |= further
    (folder / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", f"--symmetry={symbol}")
    sizes_A = np.array([1.5, 1.25] * len(truth))[: len(truth)]
    names = [f"rlnAngle{each}" for each in ("Rot", "Tilt", "Psi")]
    poses = [naive.euler_zyz(*row) for row in floats(columns, *names)]
    table = {
        worlds.POSE: np.array([log(pose) for pose in poses]),
        worlds.SHIFT: floats(columns, "rlnOriginXAngst", "rlnOriginYAngst") / sizes_A[:, None],
        worlds.PSIZE: sizes_A,
    }
    sites = worlds.sites_in(folder / "e.h5", worlds.numbered_group(symbol, "relion"))
    return columns, worlds.refined(rng, sites, truth, table, missing)


def log(matrix):
    """Rotation vector of a matrix that is no half turn."""
    angle = np.arccos((np.trace(matrix) - 1) / 2)
    axis = np.array(
        [matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]
    )
    return axis / np.linalg.norm(axis) * angle


def test_a_star_comes_back_as_a_star(go, rng, tmp_path):
    truth = worlds.from_patterns(rng, PATTERNS["D3"], 30)
    columns, world = star_world(tmp_path, go, rng, "D3", truth, missing=0.05)
    words = worlds.as_star(tmp_path, world, go, rng)
    go("arrange", *words, "--output=o.star", "--label=A,B,C")
    assert_output(tmp_path / "o.star", world, worlds.NAMES_ABC)
    found = read_star((tmp_path / "o.star").read_text())
    moved = {f"rlnAngle{each}" for each in ("Rot", "Tilt", "Psi")}
    moved |= {"rlnOriginXAngst", "rlnOriginYAngst"}
    for name in set(columns) - moved:
        assert found[name] == columns[name]
    assert set(found) - set(columns) == {"symexpArrangement", "symexpTurnedBy", "symexpLabels"}
    for k, h in enumerate(found["symexpTurnedBy"]):
        if int(h) == world.sites.group.one:
            assert all(found[name][k] == columns[name][k] for name in columns)
    assert "data_optics" in (tmp_path / "o.star").read_text()


PRIORS = ("rlnAngleRotPrior", "rlnAngleTiltPrior", "rlnAnglePsiPrior")


def test_priors_turn_with_the_particle(go, rng, tmp_path):
    truth = worlds.from_patterns(rng, PATTERNS["D3"], 20)
    angles = rng.uniform((-180, 5, -180), (180, 175, 180), (20, 3)).round(6)
    priors = {name: [f"{x:.6f}" for x in angles[:, k]] for k, name in enumerate(PRIORS)}
    _, world = star_world(tmp_path, go, rng, "D3", truth, **priors)
    go("arrange", *worlds.as_star(tmp_path, world, go), "--output=o.star")
    rows = assert_output(tmp_path / "o.star", world)
    found = floats(read_star((tmp_path / "o.star").read_text()), *PRIORS)
    assert len({row.turned for row in rows}) > 2
    for row, prior in zip(rows, found, strict=True):
        before = naive.euler_zyz(*angles[row.particle]).T
        rotation, _ = world.sites.group.motions[row.turned]
        assert np.abs(naive.euler_zyz(*prior).T - before @ rotation).max() < TIGHT


@pytest.mark.parametrize("suffix", ["star", "h5"])
def test_subtomograms_move_along_z_too(suffix, go, rng, tmp_path):
    truth = worlds.from_patterns(rng, PATTERNS["D3"], 20)
    columns = subtomograms(rng, 20)
    (tmp_path / "p.star").write_text(tomo_text(columns))
    group = twin.point_group("D3", center_A=(12.5, -31.0, 7.25))
    (tmp_path / "own.txt").write_text(as_rows(group.motions, decimals=12))
    go("expand", "p.star", "e.h5", "--operators_file=own.txt")
    sites = worlds.sites_in(tmp_path / "e.h5", group)
    world = worlds.refined(rng, sites, truth, {})
    go("arrange", *worlds.as_hdf5(tmp_path, world, go), f"--output=o.{suffix}")
    if suffix == "h5":
        go("export", "o.h5", "o.star")
    found = read_star((tmp_path / "o.star").read_text())
    before, after = (floats(each, *ANGLES, *ORIGINS) for each in (columns, found))
    assert found["rlnTomoParticleName"] == columns["rlnTomoParticleName"]
    for k, labels in enumerate(world.labels):
        rotation, moved = group.motions[min(sites.turners(labels))]
        pose = naive.euler_zyz(*before[k, :3]).T
        assert np.abs(naive.euler_zyz(*after[k, :3]).T - pose @ rotation).max() < TIGHT
        np.testing.assert_allclose(after[k, 3:], before[k, 3:] - pose @ moved, atol=1e-4)


def test_further_poses_of_a_row_turn_or_go(go, rng, tmp_path):
    truth = worlds.from_patterns(rng, PATTERNS["C4"], 20)
    table = worlds.source_columns(rng, 20, np.float32)
    table["alignments3D_multi/pose"] = rng.normal(size=(20, 3, 3)).astype(np.float32)
    table["alignments3D_multi/shift"] = rng.normal(size=(20, 3, 2)).astype(np.float32)
    table["alignments3D_multi/psize_A"] = np.full(20, 1.5, np.float32)
    save(tmp_path / "p.cs", structured(table))
    go("expand", "p.cs", "e.h5", "--symmetry=C4")
    sites = worlds.sites_in(tmp_path / "e.h5", worlds.numbered_group("C4"))
    world = worlds.refined(rng, sites, truth, table)
    go("arrange", *worlds.as_cs(tmp_path, world, go), "--output=o.cs")
    rows = assert_output(tmp_path / "o.cs", world)
    found = worlds.columns_of(tmp_path / "o.cs")
    if "alignments3D_multi/pose" in found:
        for row, several in zip(rows, found["alignments3D_multi/pose"], strict=True):
            rotation, _ = world.sites.group.motions[row.turned]
            for v, old in zip(several, table["alignments3D_multi/pose"][row.particle], strict=True):
                assert np.abs(naive.exp(v).T - naive.exp(old).T @ rotation).max() < TIGHT


def test_a_group_of_results_stands_beside_a_cs(go, rng, tmp_path):
    truth = worlds.from_patterns(rng, PATTERNS["C4"], 10)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    go("arrange", *worlds.as_hdf5(tmp_path, world, go), "--output=o.cs")
    assert (tmp_path / "o.csg").exists()
    rows = np.load(tmp_path / "o.cs")
    assert rows["uid"].tolist() == world.table["uid"].tolist()
    assert rows["alignments3D/split"].tolist() == world.table["alignments3D/split"].tolist()


def test_kept_arrangements_by_pattern_and_id(go, rng, tmp_path):
    truth = worlds.from_patterns(rng, PATTERNS["C4"][:4], 60)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4", missing=0.05)
    words = (*worlds.as_hdf5(tmp_path, world, go), "--label=A,B", "--output=o.h5", "--overwrite")
    names, ids = ("A", "B"), world.ids()
    one, opposite = ids[0, 0, 0, 1], ids[world.sites.pattern((0, 1, 0, 1))]
    some = next(each for each in ids if None in each)
    orbit = sorted("".join("AB"[c] for c in each) for each in world.sites.orbit((0, 0, 0, 1)))
    for spelled in orbit:
        go("arrange", *words, f"--keep={spelled}")
        assert_output(tmp_path / "o.h5", world, names, kept={one})
    go("arrange", *words, f"--keep={opposite}")
    assert_output(tmp_path / "o.h5", world, names, kept={opposite})
    go("arrange", *words, f"--keep={orbit[2]},{opposite}")
    assert_output(tmp_path / "o.h5", world, names, kept={one, opposite})
    go("arrange", *words, f"--keep={worlds.in_text(some, names)}")
    assert_output(tmp_path / "o.h5", world, names, kept={ids[some]})
    go("arrange", *words, f"--keep={ids[some]}")
    assert_output(tmp_path / "o.h5", world, names, kept={ids[some]})


def test_kept_patterns_of_long_names(go, rng, tmp_path):
    truth = worlds.from_patterns(rng, PATTERNS["C4"], 30)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    words = (*worlds.as_hdf5(tmp_path, world, go), "--output=o.h5")
    go("arrange", *words, "--keep=9:2:2:2")
    assert_output(tmp_path / "o.h5", world, kept={world.ids()[0, 0, 0, 1]})


def test_ties_go_to_the_site_with_the_best_score(go, rng, tmp_path):
    truth = worlds.from_patterns(rng, [(1, 1, 1, 1), (0, 1, 0, 1), (0, 0, 0, 1)], 40)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    score = rng.permutation(160).astype(np.float32)
    words = worlds.as_hdf5(tmp_path, world, go, quality=score)
    go("arrange", *words, "--output=o.h5", "--score=quality")
    score = score.reshape(40, 4)
    for row in worlds.output_rows(tmp_path / "o.h5", world.table):
        ties = world.sites.turners(world.labels[row.particle])
        assert row.turned == max(ties, key=lambda h, row=row: score[row.particle][h])
        turned_as_it_should(world, row)
        coincides(world, row)


def test_ties_on_cosets_go_to_the_best_site(go, rng, tmp_path):
    """The site of h is h H; what stands at it shows the best copy."""
    world = worlds.expanded_world(
        tmp_path, go, rng, [(1,) * 6, (0, 1) * 3] * 10, "O", "--modulo=C4", part=(4, (0, 0, 1))
    )
    score = rng.permutation(120).astype(np.float32)
    words = worlds.as_hdf5(tmp_path, world, go, quality=score)
    go("arrange", *words, "--output=o.h5", "--score=quality")
    score = score.reshape(20, 6)
    for row in worlds.output_rows(tmp_path / "o.h5", world.table):
        moved = dict(world.sites.acting)
        first = world.sites.members.index(world.sites.group.one)
        of = {h: score[row.particle][moved[h][first]]
              for h in world.sites.turners(world.labels[row.particle])}  # fmt: skip
        assert row.turned == min(h for h in of if of[h] == max(of.values()))
        coincides(world, row)


def test_equal_scores_leave_the_lowest_operator(go, rng, tmp_path):
    truth = worlds.from_patterns(rng, [(1, 1, 1, 1), (0, 1, 0, 1)], 20)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    words = worlds.as_hdf5(tmp_path, world, go, quality=np.ones(80, np.float32))
    go("arrange", *words, "--output=o.h5", "--score=quality")
    assert_output(tmp_path / "o.h5", world)


@needs(PROGRAM)
def test_particles_that_relion_expanded(go, rng, tmp_path):
    """The operators are recovered; the source is named, and its particles are turned."""
    rows = make_particles(20)
    (tmp_path / "p.star").write_text(relion_text(rows))
    run(tmp_path, PROGRAM, "--i", "p.star", "--o", "theirs.star", "--sym", "D3")
    head, columns = worlds.star_rows((tmp_path / "theirs.star").read_text())
    group = worlds.numbered_group("D3", "relion")
    poses = [naive.euler_zyz(*row[:3]).T for row in rows]
    truth = worlds.from_patterns(rng, PATTERNS["D3"], 20)
    world = worlds.refined(rng, twin.Sites(group), truth, {})
    numbers = []
    for image, *angles in zip(
        columns["rlnImageName"],
        *(columns[f"rlnAngle{name}"] for name in ("Rot", "Tilt", "Psi")),
        strict=True,
    ):
        particle = int(image.partition("@")[0]) - 1
        mate = naive.euler_zyz(*map(float, angles)).T
        site = group.number((poses[particle].T @ mate, np.zeros(3)))
        numbers.append(worlds.NUMBERS[world.labels[particle][site]])
    worlds.write_star(
        tmp_path / "l.star", head, columns, range(len(numbers)), rlnClassNumber=numbers
    )
    go("arrange", "l.star", "--source=p.star", "--output=o.star")
    found = worlds.output_rows(tmp_path / "o.star", {})
    ids = world.ids()
    assert [row.particle for row in found] == list(range(20))
    for row in found:
        labels = world.labels[row.particle]
        assert row.id == ids[world.sites.pattern(labels)]
        assert row.turned == min(world.sites.turners(labels))
        wanted = poses[row.particle] @ group.motions[row.turned][0]
        assert np.abs(row.pose - wanted).max() < TIGHT
        np.testing.assert_allclose(row.shift_A, rows[row.particle][3:], atol=TIGHT_A)


def test_particles_that_cryosparc_expanded(go, rng, tmp_path):
    truth = worlds.from_patterns(rng, PATTERNS["D3"], 25)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D3")
    worlds.as_cs(tmp_path, world, go)
    save(tmp_path / "other.cs", worlds.scrambled(np.load(tmp_path / "l.cs"), rng))
    go("arrange", "other.cs", "--source=p.h5", "--output=o.h5")
    assert_output(tmp_path / "o.h5", world)


def test_particles_of_another_program_without_their_source(go, rng, tmp_path):
    """Each is the copy that the identity made, with its own id and all of its columns."""
    truth = worlds.from_patterns(rng, PATTERNS["D3"], 25)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D3")
    worlds.as_cs(tmp_path, world, go)
    save(tmp_path / "other.cs", worlds.scrambled(np.load(tmp_path / "l.cs"), rng))
    go("arrange", "other.cs", "--output=o.cs")
    rows = worlds.output_rows(tmp_path / "o.cs", world.table)
    ids = world.ids()
    assert sorted(row.particle for row in rows) == list(range(25))
    for row in rows:
        labels = world.labels[row.particle]
        assert row.id == ids[world.sites.pattern(labels)]
        assert row.turned == min(world.sites.turners(labels))
        turned_as_it_should(world, row)
        coincides(world, row)
    go("expand", "o.cs", "again.h5", "--symmetry=D3")


ODD = [("empty", "half full"), ("a;b", "c$d"), ("#1", "_2"), ("data_x", "loop_")]


@pytest.mark.parametrize(
    ("words", "suffix"),
    [
        *((words, "star") for words in ODD),
        *(pytest.param(words, "cs", marks=pytest.mark.slow) for words in ODD),
        *(pytest.param(words, "h5", marks=pytest.mark.slow) for words in ODD),
    ],
)
def test_labels_in_odd_words_are_kept_or_refused(words, suffix, go, command, rng, tmp_path):
    """Whatever the words of a column: what is written can be read, or nothing is."""
    truth = worlds.from_patterns(rng, PATTERNS["C4"][:4], 20)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    rows, labels = worlds.rows_of_expanded(world)
    names = sorted(words)
    state = np.array([name.encode() for name in names])[labels]
    worlds.write_some(tmp_path / "e.h5", tmp_path / "l.h5", rows, state=state)
    done = command("arrange", "l.h5", "--by=state", f"--output=o.{suffix}")
    if done.returncode:
        assert (done.returncode, done.stderr.count("\n")) in ((1, 1), (2, 1))
        assert not (tmp_path / f"o.{suffix}").exists()
    else:
        go("inspect", f"o.{suffix}")
        assert_output(tmp_path / f"o.{suffix}", world, names)


def test_the_picture_is_drawn(go, rng, tmp_path):
    truth = worlds.random_truth(rng, 40, 6, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D3")
    go("arrange", *worlds.as_hdf5(tmp_path, world, go), "--picture=a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_the_output_can_be_expanded_again(go, rng, tmp_path):
    """One row a particle, and nothing of the expansion left: an ordinary table of particles."""
    truth = worlds.from_patterns(rng, PATTERNS["C4"], 20)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    go("arrange", *worlds.as_hdf5(tmp_path, world, go), "--output=o.h5")
    go("expand", "o.h5", "again.h5", "--symmetry=C4")
    go("verify", "again.h5")


@pytest.fixture
def labeled(go, rng, tmp_path):
    """Copies of C4 with labels: l.h5, l.cs and l.star, of e.h5."""
    truth = worlds.random_truth(rng, 10, 4, 2)
    world = worlds.expanded_world(tmp_path, go, rng, truth, "C4")
    for write in (worlds.as_hdf5, worlds.as_cs, worlds.as_star):
        write(tmp_path, world, go)
    shutil.copy(tmp_path / "p.h5", tmp_path / "there.h5")
    rows = np.load(tmp_path / "l.cs")
    twice = np.concatenate([rows, rows[9:10]])
    twice["alignments3D/class"][-1] = 11 - twice["alignments3D/class"][9]
    save(tmp_path / "twice.cs", twice)
    strangers = rows.copy()
    for name in ("uid", "sym_expand/src_uid"):
        strangers[name] += np.uint64(5)
    save(tmp_path / "strangers.cs", strangers)
    text = (tmp_path / "l.star").read_text()
    head, columns = worlds.star_rows(text)
    worlds.write_star(tmp_path / "twice.star", head, {
        **columns, "rlnClassNumber": ["2" if c == "9" else "9" for c in columns["rlnClassNumber"]],
    }, [3])  # fmt: skip
    return world


BAD = {
    "unknown column": (("l.h5", "--by=none"), "none"),
    "no column of labels": (("e.h5",), ""),
    "an unknown score": (("l.h5", "--by=class", "--score=none"), "none"),
    "a vector as label": (("l.h5", f"--by={worlds.POSE}"), worlds.POSE),
    "two labels of one copy": (("twice.cs", "--expanded=e.h5"), "twice.cs"),
    "two labels in two files": (
        ("l.star", "twice.star", "--expanded=e.h5", "--by=rlnClassNumber"),
        "l.star: row 3 ",
    ),
    "too few names": (("l.h5", "--by=class", "--label=A"), ""),
    "too many names": (("l.h5", "--by=class", "--label=A,B,C"), ""),
    "an unknown pattern": (("l.h5", "--by=class", "--label=A,B", "--keep=ABC"), "ABC"),
    "an unknown id": (("l.h5", "--by=class", "--keep=9999"), "9999"),
    "a pattern of another length": (("l.h5", "--by=class", "--label=A,B", "--keep=ABABA"), "ABABA"),
    "no center": (("l.h5", "--by=class", "--min_projected_A=20"), "center"),
    "a negative distance": (("l.h5", "--by=class", "--min_projected_A=-1"), ""),
    "no number of rows": (("l.h5", "--by=class", "--most=-1"), ""),
    "other particles": (("strangers.cs", "--expanded=e.h5"), ""),
    "no file": (("nowhere.h5", "--by=class"), "nowhere.h5"),
    "no labeled file": ((), ""),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(case, labeled, command, tmp_path):
    words, say = BAD[case]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = command("arrange", *words, "--output=o.h5")
    assert done.returncode in (1, 2), done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error:")
    assert say in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("output", "say"),
    [("there.h5", "overwrite"), ("p.h5", "p.h5"), ("l.cs", "l.cs"), ("e.h5", "e.h5"),
     ("o.tbl", ".tbl"), ("nowhere/o.h5", "nowhere")],
)  # fmt: skip
def test_outputs_that_are_refused(output, say, labeled, command, tmp_path):
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    flags = [] if output == "there.h5" else ["--overwrite"]
    done = command("arrange", "l.cs", "--expanded=e.h5", f"--output={output}", *flags)
    assert done.returncode in (1, 2), done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    assert say in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_output_is_replaced_when_asked(labeled, go, tmp_path):
    go("arrange", "l.h5", "--by=class", "--output=there.h5", "--overwrite")
    assert_output(tmp_path / "there.h5", labeled)


def test_a_row_with_another_label_is_named(labeled, command):
    done = command("arrange", "twice.cs", "--expanded=e.h5")
    assert done.returncode == 1
    assert "twice.cs: row 9 " in done.stderr or "twice.cs: row 40 " in done.stderr
    assert done.stdout == ""


def test_nothing_is_written_without_an_output(labeled, go, tmp_path):
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    go("arrange", "l.h5", "--by=class")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_source_that_changed_is_refused(labeled, command, tmp_path):
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        file["particles"][worlds.POSE][0] += 0.1
    done = command("arrange", "l.h5", "--by=class", "--output=o.h5")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert not (tmp_path / "o.h5").exists()


def test_a_helix_has_no_arrangements_to_turn_to(go, command, rng, tmp_path):
    n = 12
    columns = {name: [w.strip() for w in words] for name, words in particles(rng, n).items()}
    columns["rlnImageName"] = [f"{k + 1:06d}@stack.mrcs" for k in range(n)]
    columns["rlnMicrographName"] = ["m.mrc"] * n
    columns["rlnHelicalTubeID"] = ["1"] * n
    columns["rlnHelicalTrackLengthAngst"] = [f"{10.0 * k:.3f}" for k in range(n)]
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", "--twist=30", "--rise=10", "--order=3")
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        units = np.repeat(np.arange(n), 3) + np.tile([0, 1, -1], n)
        file["particles/class"] = units % 2
    go("arrange", "e.h5", "--by=class")
    done = command("arrange", "e.h5", "--by=class", "--output=o.h5")
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "o.h5").exists()


def test_all_particles_of_one_arrangement_show_the_odd_subunit_at_one_place(go, rng, tmp_path):
    """In the map's frame the odd subunit stands at the last site, whatever the pose refined."""
    point = np.array([40.0, 3.0, 12.0])
    truth = [tuple(int(k == site) for k in range(6)) for site in rng.integers(0, 6, 30)]
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D3")
    go("arrange", *worlds.as_hdf5(tmp_path, world, go), "--output=o.h5")
    odd = world.sites.pattern(truth[0]).index(1)
    for row in worlds.output_rows(tmp_path / "o.h5", world.table):
        pose, shift_A = world.true_pose(row.particle)
        real = (pose @ world.sites.place(truth[row.particle].index(1), point))[:2] - shift_A
        seen = (row.pose @ world.sites.place(odd, point))[:2] - row.shift_A
        np.testing.assert_allclose(seen, real, atol=1e-4)


def test_patterns_of_all_turned_particles_are_the_smallest(go, rng, tmp_path):
    truth = list(itertools.product(range(2), repeat=6))
    world = worlds.expanded_world(tmp_path, go, rng, truth, "D3")
    go("arrange", *worlds.as_hdf5(tmp_path, world, go), "--output=o.h5")
    rows = assert_output(tmp_path / "o.h5", world)
    assert len({row.labels for row in rows}) == 16
