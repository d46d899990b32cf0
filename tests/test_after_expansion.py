"""Work after an expansion: sets of other programs, joined, taken back and named."""

import json
import shutil
import subprocess

import naive
import numpy as np
import pytest
import relion_peer
from conftest import random_columns, write_table
from inside import open_table
from particle_files import structured
from star_files import floats, loop, read_star
from star_files import particles as star_particles
from test_cs import save

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
SOURCE = "sym_expand/src_uid"


@pytest.fixture
def field(real_data):
    """Give a file of other people's, or skip with what is missing."""

    def path(name):
        found = real_data.parent / "field" / name
        if not found.exists():
            pytest.skip(f"no file {found}")
        return found

    return path


def with_images(columns, psize_A, box, stack):
    """Columns with the images of some stack."""
    n = len(columns["uid"])
    return columns | {
        "blob/path": np.full(n, stack),
        "blob/idx": np.arange(n, dtype=np.uint32),
        "blob/shape": np.full((n, 2), box, np.uint32),
        "blob/psize_A": np.full(n, psize_A, np.float32),
    }


def by_another_program(particles, rng, operators):
    """Copies of particles as another program writes them: new ids, in an order of its own."""
    n, order = len(particles["uid"]), len(operators)
    copies = {name: np.repeat(values, order, axis=0) for name, values in particles.items()}
    copies[SOURCE] = copies["uid"].copy()
    number = np.tile(np.arange(order), n)
    new = 5 * 10**17 + np.arange(n * order, dtype=np.uint64)
    copies["uid"] = np.where(number == 0, copies["uid"], new)
    copies["sym_expand/idx"] = number.astype(np.uint32)
    copies[POSE] = np.array(
        [rotvec(operators[g].T @ naive.exp(v)) for v in particles[POSE] for g in range(order)],
        np.float32,
    )
    shuffled = rng.permutation(n * order)
    return {name: values[shuffled] for name, values in copies.items()}


def rotvec(matrix):
    """Rotation vector of a matrix: the quaternion is an eigenvector (Bar-Itzhack, 2000)."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    symmetric = [
        [a - e - i, b + d, c + g, h - f],
        [b + d, e - a - i, f + h, c - g],
        [c + g, f + h, i - a - e, d - b],
        [h - f, c - g, d - b, a + e + i],
    ]
    *axis, w = np.linalg.eigh(np.array(symmetric))[1][:, -1]
    sine = np.linalg.norm(axis)
    return np.array(axis) / sine * 2 * np.arctan2(sine, w) if sine else np.zeros(3)


def turns(angles_deg):
    """Rotation matrices about z."""
    angle = np.deg2rad(angles_deg)
    zero, one = np.zeros_like(angle), np.ones_like(angle)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c, -s, zero, s, c, zero, zero, zero, one], axis=1).reshape(-1, 3, 3)


def imported(path):
    """All columns of a table."""
    with open_table(str(path)) as table:
        return table.read(list(table.columns), 0, table.n_rows)


@pytest.mark.parametrize("pixels", ["own", "images"])
def test_smaller_images_of_copies_are_replaced_by_the_particles(pixels, rng, go, tmp_path):
    small_A, full_A = 4.24, 1.06
    particles = random_columns(rng, 7)
    small_A, full_A = (each * np.array([1, 1, 2, 1, 1, 2, 1]) for each in (small_A, full_A))
    particles[PSIZE][:] = small_A
    if pixels == "images":
        del particles[PSIZE]
    small = with_images(particles, small_A, 64, b"small.mrc")
    copies = by_another_program(small, rng, turns([0, 120, 240]))
    save(tmp_path / "small.cs", structured(copies))
    full = with_images(particles, full_A, 256, b"full.mrc")
    order = rng.permutation(7)
    save(tmp_path / "full.cs", structured({k: v[order] for k, v in full.items()}))

    said = go("import", "small.cs", "full.cs", "o.h5")
    assert SOURCE in said
    assert "4.24" in said
    found = imported(tmp_path / "o.h5")
    row = [particles["uid"].tolist().index(each) for each in copies[SOURCE].tolist()]
    for name in ("blob/path", "blob/idx", "blob/shape", "blob/psize_A"):
        assert (found[name] == full[name][row]).all(), name
    size = found[PSIZE] if pixels == "own" else found["blob/psize_A"]
    full_A, small_A = (each[row][:, None] for each in (full_A, small_A))
    np.testing.assert_allclose(size, full_A[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found[SHIFT] * full_A, copies[SHIFT] * small_A, rtol=1e-6)
    assert (found[POSE] == copies[POSE]).all()
    assert (found["uid"] == copies["uid"]).all()


def test_shifts_in_the_images_pixels_stay_bit_for_bit(rng, go, tmp_path):
    particles = random_columns(rng, 5)
    particles[PSIZE][:] = 1.06
    copies = by_another_program(with_images(particles, 4.24, 64, b"s.mrc"), rng, turns([0, 180]))
    save(tmp_path / "small.cs", structured(copies))
    save(tmp_path / "full.cs", structured(with_images(particles, 1.06, 256, b"full.mrc")))
    said = go("import", "small.cs", "full.cs", "o.h5")
    assert "blob/*" in said
    assert "turned" not in said
    found = imported(tmp_path / "o.h5")
    assert found[SHIFT].tobytes() == copies[SHIFT].tobytes()
    assert found[PSIZE].tobytes() == copies[PSIZE].tobytes()


@pytest.mark.parametrize("file", ["small", "full"])
@pytest.mark.parametrize("size_A", [0, -1.06, np.nan, np.inf])
def test_pixel_sizes_that_are_none_are_refused_where_copies_are_joined(
    file, size_A, rng, command, tmp_path
):
    particles = random_columns(rng, 5)
    particles[PSIZE][:] = 4.24
    copies = by_another_program(with_images(particles, 4.24, 64, b"s.mrc"), rng, turns([0, 180]))
    full = with_images(particles, 1.06, 256, b"full.mrc")
    name, wrong = (PSIZE, copies) if file == "small" else ("blob/psize_A", full)
    wrong[name][2] = size_A
    save(tmp_path / "small.cs", structured(copies))
    save(tmp_path / "full.cs", structured(full))
    done = command("import", "small.cs", "full.cs", "o.h5")
    assert done.returncode == 1
    assert f"{file}.cs: {name}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "o.h5").exists()


def test_particles_that_are_not_the_copies_own_are_refused(rng, command, tmp_path):
    particles = random_columns(rng, 5)
    copies = by_another_program(particles, rng, turns([0, 180]))
    save(tmp_path / "e.cs", structured(copies))
    save(tmp_path / "p.cs", structured({k: v[:4] for k, v in particles.items()}))
    done = command("import", "e.cs", "p.cs", "o.h5")
    assert done.returncode == 1
    assert f"{SOURCE} {particles['uid'][4]}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_real_set_of_smaller_images_is_joined(field, go, tmp_path):
    small, full = np.load(field("pd_exp.cs")), np.load(field("p.cs"))
    go("import", field("pd_exp.cs"), field("p.cs"), "o.h5")
    found = imported(tmp_path / "o.h5")
    row = [full["uid"].tolist().index(each) for each in small[SOURCE].tolist()]
    assert (found["blob/path"] == full["blob/path"][row]).all()
    assert (found["blob/psize_A"] == full["blob/psize_A"][row]).all()
    assert (found[SHIFT] == small[SHIFT]).all()


# Taken back to particles, without a table of ours


def scored(path, copies, rng, kept):
    """Save some rows of a set with a score of each; return them."""
    rows = {name: values[kept] for name, values in copies.items()}
    rows["score"] = rng.permutation(len(kept)).astype(np.float32)
    save(path, structured(rows))
    return rows


def assert_best_rows(found, particles, rows, motions):
    """See that particles have pose and shift of their best rows, and the operators of these."""
    for k, uid in enumerate(found["uid"].tolist()):
        mine = np.flatnonzero(rows[SOURCE] == uid)
        assert found["copies"][k] == len(mine)
        best = mine[rows["score"][mine].argmax()]
        row = particles["uid"].tolist().index(uid)
        pose = naive.exp(found[POSE][k])
        assert naive.angle_rad(pose, naive.exp(rows[POSE][best])) < 1e-6
        np.testing.assert_allclose(found[SHIFT][k], rows[SHIFT][best], atol=1e-5)
        turned = naive.exp(particles[POSE][row]) @ pose.T
        fold = motions[found["operator_index"][k]]
        assert naive.angle_rad(turned, fold) < 0.35, "another operator"
        assert (found["ctf/df1_A"][k] == particles["ctf/df1_A"][row]).all()


def operators_of(go, *flags):
    """Rotations in the order of their numbers, by the program's own list."""
    report = json.loads(go("operators", *flags, "--json"))
    return [np.array(each["matrix"]) for each in report["operators"]]


@pytest.mark.parametrize("convention", ["cryosparc", "relion"])
@pytest.mark.parametrize("stated", [b"D3", b"", None])
@pytest.mark.parametrize("order", ["with copy 0", "without copy 0", "numbers of nothing"])
def test_a_set_of_cryosparc_is_taken_back(order, stated, convention, rng, go, tmp_path):
    particles = random_columns(rng, 30)
    group = np.array(naive.group("D3", convention))
    copies = by_another_program(particles, rng, group)
    if stated is not None:
        copies["sym_expand/symmetry"] = np.full(len(copies["uid"]), stated, "S4")
    kept = rng.permutation(len(copies["uid"]))[:120]
    if order == "without copy 0":
        kept = kept[copies["sym_expand/idx"][kept] > 0]
    if order == "numbers of nothing":
        copies["sym_expand/idx"] = rng.integers(20, 26, len(copies["uid"])).astype(np.uint32)
    rows = scored(tmp_path / "back.cs", copies, rng, kept)
    save(tmp_path / "p.cs", structured(particles))
    said = go("collapse", "back.cs", "c.h5", "--source=p.cs", "--by=score")
    assert "D3" in said
    found = imported(tmp_path / "c.h5")
    assert set(found["uid"].tolist()) == set(rows[SOURCE].tolist())
    motions = operators_of(go, "--symmetry=D3", f"--convention={convention}")
    assert_best_rows(found, particles, rows, motions)


def test_copies_that_were_refined_are_told_by_their_nearest_operator(rng, go, tmp_path):
    particles = random_columns(rng, 40)
    group = np.array(naive.group("D2"))
    copies = by_another_program(particles, rng, group)
    turned = [
        rotvec(naive.turn(rng.normal(size=3), rng.uniform(0, 8)) @ naive.exp(v))
        for v in copies[POSE]
    ]
    copies[POSE] = np.array(turned, np.float32)
    copies[SHIFT] += rng.normal(0, 1, copies[SHIFT].shape).astype(np.float32)
    rows = scored(tmp_path / "back.cs", copies, rng, rng.permutation(len(turned))[:100])
    save(tmp_path / "p.cs", structured(particles))
    go("collapse", "back.cs", "c.h5", "--source=p.cs", "--by=score")
    motions = operators_of(go, "--symmetry=D2")
    assert_best_rows(imported(tmp_path / "c.h5"), particles, rows, motions)


def test_part_of_a_stated_group_has_the_operators_of_that_group(rng, go, tmp_path):
    particles = random_columns(rng, 20)
    copies = by_another_program(particles, rng, np.array(naive.group("D3")))
    copies["sym_expand/symmetry"] = np.full(len(copies["uid"]), b"D3")
    turned = [
        naive.exp(particles[POSE][particles["uid"].tolist().index(uid)]) @ naive.exp(v).T
        for uid, v in zip(copies[SOURCE].tolist(), copies[POSE], strict=True)
    ]
    dyad = naive.turn((0, 1, 0), 180)
    kept = [
        k
        for k, each in enumerate(turned)
        if min(naive.angle_rad(each, np.eye(3)), naive.angle_rad(each, dyad)) < 0.01
    ]
    assert len(kept) == 40
    rows = scored(tmp_path / "back.cs", copies, rng, np.array(kept))
    save(tmp_path / "p.cs", structured(particles))
    assert "D3" in go("collapse", "back.cs", "c.h5", "--source=p.cs", "--by=score")
    motions = operators_of(go, "--symmetry=D3")
    assert_best_rows(imported(tmp_path / "c.h5"), particles, rows, motions)


def test_refined_copies_of_a_stated_helix_need_no_original(rng, go, tmp_path):
    particles = random_columns(rng, 20)
    particles[PSIZE][:] = 1.2
    motions = naive.helix(40, 5, 5)
    copies = by_another_program(particles, rng, np.array([each[0] for each in motions]))
    n = len(copies["uid"])
    for row, (uid, number) in enumerate(
        zip(copies[SOURCE].tolist(), copies["sym_expand/idx"].tolist(), strict=True)
    ):
        pose = naive.exp(particles[POSE][particles["uid"].tolist().index(uid)])
        moved = (pose.T @ motions[number][1])[:2] / 1.2
        copies[SHIFT][row] -= moved
        noise = naive.turn(rng.normal(size=3), rng.uniform(0, 8))
        copies[POSE][row] = rotvec(noise @ naive.exp(copies[POSE][row]))
    copies["sym_expand/symmetry"] = np.full(n, b"C1")
    copies["sym_expand/is_helix"] = np.ones(n, np.uint32)
    copies["sym_expand/helix_twist_rad"] = np.full(n, np.deg2rad(40), np.float32)
    copies["sym_expand/helix_rise_A"] = np.full(n, 5, np.float32)
    copies["sym_expand/helix_num_rises"] = np.full(n, 5, np.uint32)
    kept = np.flatnonzero(copies["sym_expand/idx"] > 0)
    rows = scored(tmp_path / "back.cs", copies, rng, kept)
    save(tmp_path / "p.cs", structured(particles))
    said = go("collapse", "back.cs", "c.h5", "--source=p.cs", "--by=score")
    assert "helix" in said
    assert_best_rows(
        imported(tmp_path / "c.h5"), particles, rows, [rotation for rotation, _ in motions]
    )


@pytest.mark.parametrize("best", [True, False])
def test_a_row_that_no_operator_made_is_refused(best, rng, command, tmp_path):
    particles = random_columns(rng, 10)
    copies = by_another_program(particles, rng, np.array(naive.group("C4")))
    rows = scored(tmp_path / "back.cs", copies, rng, np.arange(40))
    save(tmp_path / "p.cs", structured(particles))
    row = int(rows["score"].argmax() if best else rows["score"].argmin())
    rows[POSE][row] = rotvec(naive.turn((1, 0.2, 0), 70) @ naive.exp(rows[POSE][row]))
    save(tmp_path / "back.cs", structured(rows))
    done = command("collapse", "back.cs", "c.h5", "--source=p.cs", "--by=score")
    assert done.returncode == 1
    assert f"back.cs: row {row}: which operator made it cannot be told" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "c.h5").exists()
    assert command("collapse", "back.cs", "c.h5", "--source=p.cs").returncode == 0


def test_poses_of_no_symmetry_are_refused(rng, command, tmp_path):
    particles = random_columns(rng, 50)
    copies = by_another_program(particles, rng, np.array(naive.group("C4")))
    copies[POSE] = rng.normal(0, 1.5, copies[POSE].shape).astype(np.float32)
    copies["sym_expand/symmetry"] = np.full(len(copies["uid"]), b"C4")
    scored(tmp_path / "back.cs", copies, rng, np.arange(200))
    save(tmp_path / "p.cs", structured(particles))
    done = command("collapse", "back.cs", "c.h5", "--source=p.cs", "--by=score")
    assert (done.returncode, "no known symmetry" in done.stderr) == (1, True)
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "c.h5").exists()


@pytest.mark.parametrize("by", [(), ("--by=score",)])
def test_copies_of_other_particles_are_refused_with_their_row(by, rng, command, tmp_path):
    particles = random_columns(rng, 10)
    copies = by_another_program(particles, rng, turns([0, 180]))
    rows = scored(tmp_path / "back.cs", copies, rng, np.arange(20))
    missing = int(np.flatnonzero(rows[SOURCE] == particles["uid"][9])[0])
    save(tmp_path / "p.cs", structured({k: v[:9] for k, v in particles.items()}))
    done = command("collapse", "back.cs", "c.h5", "--source=p.cs", *by)
    assert done.returncode == 1
    assert f"row {missing} is no copy of a particle of p.cs" in done.stderr
    assert not (tmp_path / "c.h5").exists()


def test_particles_that_are_copies_themselves_are_refused(rng, command, tmp_path):
    copies = by_another_program(random_columns(rng, 10), rng, turns([0, 180]))
    save(tmp_path / "e.cs", structured(copies))
    save(tmp_path / "again.cs", structured(copies))
    done = command("collapse", "e.cs", "c.h5", "--source=again.cs")
    assert (done.returncode, "again.cs: is expanded itself" in done.stderr) == (1, True)
    done = command("collapse", "e.cs", "c.h5", "--source=e.cs")
    assert (done.returncode, "names the same file" in done.stderr) == (2, True)
    done = command("collapse", "e.cs", "c.h5")
    assert done.returncode == 2
    assert "--expanded" in done.stderr
    assert "--source" in done.stderr


def relion_needed():
    """Skip where RELION's program is not installed."""
    if shutil.which(relion_peer.PROGRAM) is None:
        pytest.skip(f"no {relion_peer.PROGRAM}")


@pytest.mark.parametrize("kept", ["all", "some", "one of each"])
@pytest.mark.parametrize(
    "case",
    [
        relion_peer.Case("C3"),
        relion_peer.Case("D3"),
        relion_peer.Case("O", particles=8),
        relion_peer.Case(twist=27.3, rise=4.75, order=5),
        relion_peer.Case(twist=-166.7, rise=1.4, order=4),
    ],
    ids=str,
)
def test_a_set_of_relion_is_taken_back(case, kept, rng, go, tmp_path):
    relion_needed()
    columns = star_particles(rng, 12)
    columns = {name: [word.strip() for word in words] for name, words in columns.items()}
    optics = loop("optics", {k: [str(v)] for k, v in relion_peer.OPTICS.items()}) + "\n"
    columns["rlnOpticsGroup"] = ["1"] * 12
    (tmp_path / "p.star").write_text(optics + loop("particles", columns) + "\n")
    files = ["--i", "p.star", "--o", "e.star"]
    command = [relion_peer.PROGRAM, *files, *case.arguments]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    copies = read_star((tmp_path / "e.star").read_text())
    order = len(copies["rlnImageName"]) // 12
    rows = rng.permutation(12 * order)
    if kept == "some":
        rows = rows[: 6 * order]
    elif kept == "one of each":
        rows = np.arange(12) * order + rng.integers(0, order, 12)
    copies = {name: [words[row] for row in rows] for name, words in copies.items()}
    copies["score"] = [str(each) for each in rng.permutation(len(rows))]
    (tmp_path / "back.star").write_text(optics + loop("particles", copies) + "\n")

    said = go("collapse", "back.star", "c.h5", "--source=p.star", "--by=score")
    go("export", "c.h5", "c.star")
    found, counts = read_star((tmp_path / "c.star").read_text()), imported(tmp_path / "c.h5")
    score = floats(copies, "score")[:, 0]
    angles, origins = relion_peer.COLUMNS[:3], relion_peer.COLUMNS[3:]
    motions = None
    if case.symmetry:
        assert f"{case.symmetry} (relion)" in said
        motions = operators_of(go, f"--symmetry={case.symmetry}", "--convention=relion")
    for k, name in enumerate(found["rlnImageName"]):
        row = columns["rlnImageName"].index(name)
        here = [row for row, image in enumerate(copies["rlnImageName"]) if image == name]
        best = max(here, key=lambda row: score[row])
        assert found["rlnDefocusU"][k] == columns["rlnDefocusU"][row]
        assert counts["copies"][k] == len(here)
        pose = naive.euler_zyz(*floats(found, *angles)[k])
        off = naive.angle_rad(pose, naive.euler_zyz(*floats(copies, *angles)[best]))
        assert np.degrees(off) < 1e-5
        np.testing.assert_allclose(
            floats(found, *origins)[k], floats(copies, *origins)[best], atol=1e-5
        )
        if motions:
            turned = naive.euler_zyz(*floats(columns, *angles)[row]) @ pose.T
            assert naive.angle_rad(turned, motions[counts["operator_index"][k]]) < 1e-5
    assert len(found["rlnImageName"]) == len(set(copies["rlnImageName"]))


def test_a_star_finds_its_particles_in_a_dataset_by_their_places(rng, go, tmp_path):
    particles = random_columns(rng, 8)
    particles[PSIZE][:] = 1.5
    n, shape = 8, np.full((8, 2), (3000, 4000), np.uint32)
    particles |= {
        "blob/idx": np.arange(n, dtype=np.uint32),
        "location/micrograph_path": np.array([b"m1.mrc", b"m22.mrc"] * 4),
        "location/micrograph_shape": shape,
        "location/center_x_frac": np.array([k / 8 for k in range(n)], np.float32),
        "location/center_y_frac": np.array([k / 16 for k in range(n)], np.float32),
    }
    save(tmp_path / "p.cs", structured(particles))
    go("expand", "p.cs", "e.star", "--symmetry=C2")
    text = (tmp_path / "e.star").read_text()
    (tmp_path / "back.star").write_text(text.replace("@", "@again_"))
    go("collapse", "back.star", "c.h5", "--source=p.cs")
    found = imported(tmp_path / "c.h5")
    assert (found["uid"] == particles["uid"]).all()
    assert found["copies"].tolist() == [2] * n


# Labels that say whose copies the rows of a .star are

LABELS = ("symexpSource", "symexpOperator")


def text_of(columns):
    """A particle file of one optics group; words have no blanks around them."""
    optics = loop("optics", {k: [str(v)] for k, v in relion_peer.OPTICS.items()}) + "\n"
    columns = {name: [str(word).strip() for word in words] for name, words in columns.items()}
    columns["rlnOpticsGroup"] = ["1"] * len(columns["rlnAngleRot"])
    return optics + loop("particles", columns) + "\n"


def without(columns, *labels):
    """Columns without some of them."""
    return {name: words for name, words in columns.items() if name not in labels}


def turned(columns, rng, most_deg):
    """Columns whose poses are turned, as a local refinement does it, by that at most."""
    angles = floats(columns, *relion_peer.COLUMNS[:3])
    found = []
    for row in angles:
        axis, angle = rng.normal(size=3), rng.uniform(most_deg / 2, most_deg)
        pose = naive.turn(axis, angle) @ naive.euler_zyz(*row)
        tilt = np.degrees(np.arccos(pose[2, 2]))
        rot, psi = np.arctan2(pose[1, 2], pose[0, 2]), np.arctan2(pose[2, 1], -pose[2, 0])
        found.append([f"{x:.6f}" for x in (np.degrees(rot), tilt, np.degrees(psi))])
    return columns | dict(zip(relion_peer.COLUMNS[:3], zip(*found, strict=True), strict=True))


def test_rows_of_an_expanded_star_say_particle_and_operator(rng, go, tmp_path):
    (tmp_path / "p.star").write_text(text_of(star_particles(rng, 9)))
    go("expand", "p.star", "e.h5", "--symmetry=D2")
    go("expand", "p.star", "e.star", "--symmetry=D2")
    found = read_star((tmp_path / "e.star").read_text())
    uids = imported(tmp_path / "p.star")["uid"].tolist()
    assert found["symexpSource"] == [str(uid) for uid in uids for _ in range(4)]
    assert found["symexpOperator"] == ["0", "1", "2", "3"] * 9
    go("export", "e.h5", "two.star")
    assert (tmp_path / "two.star").read_bytes() == (tmp_path / "e.star").read_bytes()
    go("expand", "p.star", "one.star", "--symmetry=C1")
    assert not set(LABELS) & set(read_star((tmp_path / "one.star").read_text()))


def test_particles_without_ids_are_told_by_their_rows(rng, go, tmp_path):
    columns = random_columns(rng, 7)
    del columns["uid"]
    write_table(tmp_path / "p.h5", columns, convention="relion")
    go("expand", "p.h5", "e.star", "--symmetry=C3")
    found = read_star((tmp_path / "e.star").read_text())
    assert found["symexpSource"] == [str(k) for k in range(7) for _ in range(3)]
    rows = rng.permutation(21)[:9]
    back = {name: [words[row] for row in rows] for name, words in found.items()}
    (tmp_path / "back.star").write_text(text_of(without(back, "rlnImageName")))
    go("collapse", "back.star", "c.h5", "--source=p.h5")
    kept = np.unique(rows // 3)
    assert (imported(tmp_path / "c.h5")[POSE] == columns[POSE][kept]).all()


def test_relion_keeps_the_labels(rng, go, tmp_path):
    if shutil.which("relion_star_handler") is None:
        pytest.skip("no relion_star_handler")
    (tmp_path / "p.star").write_text(text_of(star_particles(rng, 9)))
    go("expand", "p.star", "e.star", "--symmetry=C3")
    choice = ["--select", "rlnRandomSubset", "--minval", "1", "--maxval", "1"]
    files = ["relion_star_handler", "--i", "e.star", "--o", "some.star"]
    subprocess.run([*files, *choice], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    ours, theirs = (read_star((tmp_path / name).read_text()) for name in ("e.star", "some.star"))
    kept = [row for row, half in enumerate(ours["rlnRandomSubset"]) if half == "1"]
    assert 0 < len(kept) < 27
    for label in LABELS:
        assert theirs[label] == [ours[label][row] for row in kept]


def test_refined_rows_come_back_by_their_labels_alone(rng, go, tmp_path):
    """No image or micrograph is as it was, and poses moved by more than operators are apart."""
    (tmp_path / "p.star").write_text(text_of(star_particles(rng, 9)))
    helix = ("--twist=6", "--rise=5", "--order=5")
    go("expand", "p.star", "e.h5", *helix)
    go("export", "e.h5", "e.star")
    copies = turned(read_star((tmp_path / "e.star").read_text()), rng, 15)
    rows = rng.permutation(45)[:20]
    back = {name: [words[row] for row in rows] for name, words in copies.items()}
    back["rlnImageName"] = [f"{k + 1:06d}@new.mrcs" for k in range(20)]
    back["score"] = [str(k) for k in range(20)]
    (tmp_path / "back.star").write_text(text_of(back))
    go("collapse", "back.star", "c.h5", "--expanded=e.h5", "--by=score")
    found = imported(tmp_path / "c.h5")
    particles = np.unique(rows // 5)
    assert (found["uid"] == imported(tmp_path / "p.star")["uid"][particles]).all()
    for k, particle in enumerate(particles):
        best = np.flatnonzero(rows // 5 == particle).max()
        assert found["operator_index"][k] == rows[best] % 5


def test_an_operator_that_the_pose_contradicts_is_told_by_the_pose(rng, go, tmp_path):
    """As where RELION expands an expanded set, and copies the labels."""
    (tmp_path / "p.star").write_text(text_of(star_particles(rng, 9)))
    go("expand", "p.star", "e.h5", "--symmetry=D3")
    go("export", "e.h5", "e.star")
    back = read_star((tmp_path / "e.star").read_text())
    wrong = ["0", "7", "none", "1", "99999999999999999999", "2"] * 9
    back["symexpOperator"] = wrong
    back["score"] = [str(each) for each in rng.permutation(54)]
    (tmp_path / "back.star").write_text(text_of(back))
    go("collapse", "back.star", "c.h5", "--expanded=e.h5", "--by=score")
    best = np.array(back["score"], int).reshape(9, 6).argmax(axis=1)
    assert imported(tmp_path / "c.h5")["operator_index"].tolist() == best.tolist()


def test_labels_guard_what_has_no_names(rng, go, command, tmp_path):
    (tmp_path / "p.star").write_text(text_of(without(star_particles(rng, 9), "rlnImageName")))
    go("expand", "p.star", "e.star", "--symmetry=C3")
    done = command("expand", "e.star", "ee.star", "--symmetry=C3")
    assert (done.returncode, "already expanded" in done.stderr) == (1, True)
    assert "C3" in go("match", "e.star")
    back = read_star((tmp_path / "e.star").read_text())
    back["rlnRandomSubset"] = [str(1 + k % 2) for k in range(27)]
    (tmp_path / "torn.star").write_text(text_of(back))
    done = command("match", "torn.star")
    assert "copies of 9 of 9 particles lie in both half-sets" in done.stderr
    one = {name: words[1::3] for name, words in back.items()}
    (tmp_path / "one.star").write_text(text_of(one))
    go("expand", "one.star", "again.star", "--symmetry=C3")


@pytest.mark.parametrize("column", [POSE, SHIFT])
@pytest.mark.parametrize("output", ["o.h5", "o.cs", "o.star"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_best_copies_whose_poses_are_none_are_refused_by_row(
    output, column, value, command, go, rng, tmp_path
):
    columns = with_images(random_columns(rng, 8), 1.1, 64, b"a.mrc")
    save(tmp_path / "p.cs", structured(columns))
    for name in ("e.h5", "e.cs"):
        go("expand", "p.cs", name, "--symmetry=D3")
    rows = np.load(tmp_path / "e.cs")[5:40:2]
    score = rng.normal(size=len(rows)).astype(np.float32)
    score[7] = 100  # the best of its particle
    back = {name: rows[name].copy() for name in rows.dtype.names} | {"mine/score": score}
    back[column][7, 1] = value
    save(tmp_path / "back.cs", structured(back))
    before = sorted(each.name for each in tmp_path.iterdir())
    for known in ("--expanded=e.h5", "--source=p.cs"):
        done = command("collapse", "back.cs", output, known, "--by=mine/score")
        assert done.returncode == 1
        assert done.stderr == (
            f"error: back.cs: row 7: {column} is NaN or Inf: remove the row or repair it\n"
        )
    if column == POSE:
        done = command("arrange", "back.cs", "--source=p.cs", "--by=mine/score")
        assert "error: back.cs: row 7: alignments3D/pose is NaN or Inf" in done.stderr
    done = command("select", "back.cs", output, "--one_per_particle", "--score=mine/score")
    assert done.returncode == 1
    assert f"back.cs: {column} is NaN or Inf: first in row 7, 1 row(s)" in done.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == before


@pytest.mark.parametrize("verb", ["collapse", "select", "transfer"])
def test_what_is_wrong_in_some_rows_is_told_by_their_numbers_in_the_file(
    verb, command, go, rng, tmp_path
):
    columns = with_images(random_columns(rng, 8), 1.1, 64, b"a.mrc")
    columns["blob/psize_A"][5] = 0
    save(tmp_path / "p.cs", structured(columns))
    go("expand", "p.cs", "e.h5", "--symmetry=C2")
    particles = {name: values[4:] for name, values in columns.items()}
    save(tmp_path / "some.cs", structured(particles))
    with_copies = {name: np.repeat(values, 2, axis=0) for name, values in columns.items()}
    with_copies[SOURCE] = with_copies["uid"].copy()
    with_copies["uid"] = np.arange(1, 17, dtype=np.uint64)
    with_copies["sym_expand/idx"] = np.tile(np.arange(2, dtype=np.uint32), 8)
    save(tmp_path / "copies.cs", structured(with_copies))
    words, row = {
        "collapse": (["some.cs", "o.star", "--expanded=e.h5"], 5),
        "select": (["copies.cs", "o.star", "--one_per_particle"], 10),
        "transfer": (["some.cs", "p.cs", "o.star"], 5),
    }[verb]
    done = command(verb, *words)
    assert done.returncode == 1
    assert f"blob/psize_A is not above 0 in row {row} (" in done.stderr
    assert done.stderr.count("\n") == 1
