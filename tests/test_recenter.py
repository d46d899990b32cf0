"""A point of the reference subunit at the image center in every row: shifts, defocus, files."""

import json
from dataclasses import replace

import h5py
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from particle_files import expand_to_star, needs, read_rows, run, with_columns
from relion_peer import COLUMNS, PSIZE_A, TEXT_A, TEXT_DEG, make_particles, star_text

from numba_symexp import expand_poses, helix, import_particles, point_group

CENTER_A = np.array([11.5, -20.25, 60.0])
CENTER = "--center=11.5,-20.25,60"
POSE, SHIFT, PSIZE = (f"alignments3D/{name}" for name in ("pose", "shift", "psize_A"))
DEFOCUS = ("ctf/df1_A", "ctf/df2_A")

SETS = [
    (("--symmetry=D7",), [(g, np.zeros(3)) for g in naive.group("D7")]),
    (("--symmetry=I2", "--operators=0,7,59"), None),
    (("--twist=27.3", "--rise=4.75", "--order=4"), naive.helix(27.3, 4.75, 4)),
    (
        ("--twist=-166.7", "--rise=27.3", "--order=3", "--symmetry=D3"),
        naive.helix(-166.7, 27.3, 3, naive.group("D3")),
    ),
]


@pytest.fixture
def columns(rng):
    made = random_columns(rng, 40)
    made["ctf/df2_A"] = rng.normal(14000, 2000, 40).astype(np.float32)
    return made


def read(path, *names):
    """Columns of an expanded file, and its operators (R, t)."""
    with h5py.File(path) as file:
        found = [file[f"particles/{name}"][()] for name in names]
        rotations = [naive.from_quaternion(q) for q in file["operators/quaternion"][()]]
        motions = list(zip(rotations, file["operators/translation_A"][()], strict=True))
        return found, motions, dict(file["operators"].attrs)


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "motions"), SETS)
def test_symmetric_points_coincide_about_the_new_center(flags, motions, columns, tmp_path, go):
    """What row (i, g) shows at x of the map about c, particle i shows at g(c + x)."""
    source = write_table(tmp_path / "source.h5", columns)
    go("expand", source, "out.h5", *flags, CENTER)
    (pose, shift, index), stored, attributes = read("out.h5", POSE, SHIFT, "source_index")
    assert np.array_equal(attributes["center_A"], CENTER_A)
    if motions is not None:  # stored operators are those of the symmetry, without the center
        assert len(stored) == len(motions)
        for rotation, t in motions:
            alike = [
                np.allclose(R, rotation, atol=1e-6) & np.allclose(moved, t, atol=1e-6)
                for R, moved in stored
            ]
            assert sum(alike) == 1, (rotation, t)
    points = np.array([(0, 0, 0), (5, 0, 0), (0, 7, -3), (1, 2, 30.0)])
    for row in range(len(pose)):
        i = int(index[row])
        rotation, moved = stored[row % len(stored)]
        size = float(columns[PSIZE][i])
        mine = naive.project(naive.exp(pose[row]), shift[row], points, size)
        there = [rotation @ (CENTER_A + x) + moved for x in points]
        theirs = naive.project(naive.exp(columns[POSE][i]), columns[SHIFT][i], there, size)
        assert np.allclose(mine, theirs, atol=2e-4), (row, mine - theirs)


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "motions"), SETS)
@pytest.mark.parametrize(("sign", "factor"), [("minus", -1), ("plus", 1)])
def test_defocus_moves_by_the_depth_of_the_center(
    sign, factor, flags, motions, columns, tmp_path, go
):
    source = write_table(tmp_path / "source.h5", columns)
    go("expand", source, "out.h5", *flags, CENTER, f"--defocus={sign}", "--carry=ctf/*")
    (index, *defocus), stored, _ = read("out.h5", "source_index", *DEFOCUS)
    for row in range(len(index)):
        rotation, moved_A = stored[row % len(stored)]
        of_particle = naive.exp(columns[POSE][index[row]].astype(float)).T
        depth_A = (of_particle @ (rotation @ CENTER_A + moved_A))[2]
        for name, moved in zip(DEFOCUS, defocus, strict=True):
            wanted = float(columns[name][index[row]]) + factor * depth_A
            assert abs(moved[row] - wanted) < 2e-3
    assert np.abs(defocus[0] - columns["ctf/df1_A"][index]).max() > 20
    report = json.loads(go("verify", "out.h5", "--json"))
    names = [check["name"] for check in report["checks"]]
    assert names[-2:] == ["defocus", "carried columns"]
    assert report["passed"]


@pytest.mark.parametrize("sign", ["minus", "plus"])
def test_the_depth_of_a_helix_is_that_of_the_point_at_the_image_center(
    sign, columns, tmp_path, go, command
):
    """Unit k lies k rises up the axis: k x 100 A x cos(tilt) deeper, for a center near 0."""
    source = write_table(tmp_path / "source.h5", columns)
    helix = ("--twist=27.3", "--rise=100", "--order=3", "--center=0,0,0.001")
    go("expand", source, "out.h5", *helix, f"--defocus={sign}")
    (index, *defocus), _, _ = read("out.h5", "source_index", *DEFOCUS)
    with h5py.File("out.h5") as file:
        unit = file["operators/rise_index"][()][file["particles/operator_index"][()]]
    cosine = np.array([naive.exp(v)[2, 2] for v in columns[POSE].astype(float)])[index]
    for name, moved in zip(DEFOCUS, defocus, strict=True):
        depth = unit * 100 * cosine * (-1 if sign == "minus" else 1)
        assert np.abs(moved - columns[name][index] - depth).max() < 0.01
    go("verify", "out.h5")
    with h5py.File("out.h5", "r+") as file:
        file["particles/ctf/df1_A"][5] = columns["ctf/df1_A"][index[5]]
    report = json.loads(command("verify", "out.h5", "--json").stdout)
    assert [c["name"] for c in report["checks"] if not c["passed"]] == ["defocus"]


def test_without_the_flag_the_defocus_stays(columns, tmp_path, go):
    source = write_table(tmp_path / "source.h5", columns)
    go("expand", source, "out.h5", "--symmetry=D7", CENTER)
    with h5py.File(tmp_path / "out.h5") as file:
        assert "ctf" not in file["particles"]
    go("expand", source, "carried.h5", "--symmetry=D7", CENTER, "--carry=ctf/*")
    (df1, index), _, _ = read("carried.h5", "ctf/df1_A", "source_index")
    assert np.array_equal(df1, columns["ctf/df1_A"][index])


def test_a_center_in_voxels_is_the_one_in_angstrom(columns, tmp_path, go):
    columns[PSIZE][:] = 1.25
    source = write_table(tmp_path / "source.h5", columns)
    go("expand", source, "a.h5", "--symmetry=D3", "--center=12.5,-25,60")
    for box, voxel in ((256, "138,108,176"), (255, "137,107,175")):
        flags = (f"--center_px={voxel}", f"--box_px={box}", "--overwrite")
        go("expand", source, "b.h5", "--symmetry=D3", *flags)
        (one,), _, _ = read("a.h5", SHIFT)
        (other,), _, attributes = read("b.h5", SHIFT)
        assert np.array_equal(attributes["center_A"], (12.5, -25, 60))
        assert np.array_equal(one, other)


def test_a_center_in_voxels_needs_one_pixel_size(source, command, tmp_path):
    flags = ("--symmetry=D3", "--center_px=1,2,3", "--box_px=64")
    done = command("expand", source, "o.h5", *flags)
    assert (done.returncode, "differs between particles" in done.stderr) == (1, True)
    assert command("expand", source, "o.h5", *flags, "--psize=1.1").returncode == 0
    assert "verified" in command("verify", "o.h5").stdout


def test_a_center_needs_a_pixel_size(columns, tmp_path, command):
    del columns[PSIZE]
    source = write_table(tmp_path / "source.h5", columns)
    done = command("expand", source, "o.h5", "--symmetry=D3", CENTER)
    assert (done.returncode, "psize=A_PER_PIXEL" in done.stderr) == (1, True)


def test_no_row_is_left_as_it_was(columns, tmp_path, go):
    """Operator 0 turns nothing, and yet its shift moves; a center of 0 is none."""
    source = write_table(tmp_path / "source.h5", columns)
    go("expand", source, "out.h5", "--symmetry=C3", CENTER)
    (pose, shift), _, _ = read("out.h5", POSE, SHIFT)
    assert np.abs(shift[::3] - columns[SHIFT]).max() > 1
    for row in range(40):
        assert naive.angle_rad(naive.exp(pose[3 * row]), naive.exp(columns[POSE][row])) < 1e-6
    go("expand", source, "same.h5", "--symmetry=C3", "--center=0,0,0")
    (pose, shift), _, _ = read("same.h5", POSE, SHIFT)
    assert np.array_equal(shift[::3], columns[SHIFT])
    assert np.array_equal(pose[::3], columns[POSE])


def test_ids_of_another_center_differ(columns, tmp_path, go):
    source = write_table(tmp_path / "source.h5", columns)
    ids = []
    for name, flags in (("a.h5", []), ("b.h5", [CENTER]), ("c.h5", ["--center=0,0,1"])):
        go("expand", source, name, "--symmetry=C3", *flags)
        ids.append(read(name, "uid")[0][0])
    assert np.array_equal(ids[0][::3], ids[1][::3])
    assert len({int(each[1]) for each in ids}) == 3


def test_subtomograms_are_not_recenterd(columns, tmp_path, command):
    columns["rlnOriginZAngst"] = np.zeros(40)
    source = write_table(tmp_path / "source.h5", columns)
    done = command("expand", source, "o.h5", "--symmetry=C3", CENTER)
    assert (done.returncode, "subtomograms" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("ctf/df2_A"), "no defocus columns ctf/df1_A and ctf/df2_A"),
        (lambda c: c.update({"ctf/df1_A": np.zeros((40, 2))}), "no defocus columns"),
        (lambda c: c.update({"ctf/df1_A": np.zeros(40, int)}), "no defocus columns"),
    ],
)
def test_a_defocus_that_is_none(change, said, columns, tmp_path, command):
    change(columns)
    source = write_table(tmp_path / "source.h5", columns)
    done = command("expand", source, "o.h5", "--symmetry=C3", CENTER, "--defocus=minus")
    assert (done.returncode, said in done.stderr) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["pose", "defocus", "sign", "center"])
def test_verify_finds_a_recenterd_row_that_is_off(damage, columns, tmp_path, go, command):
    source = write_table(tmp_path / "source.h5", columns)
    go("expand", source, "out.h5", "--symmetry=D3", CENTER, "--defocus=minus")
    failed = {"pose": "poses", "defocus": "defocus", "sign": "defocus", "center": "symmetry"}[
        damage
    ]
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        if damage == "pose":
            file[f"particles/{POSE}"][17] += 1e-3
        elif damage == "defocus":
            file["particles/ctf/df2_A"][17] += 0.5
        elif damage == "sign":
            file["particles/ctf/df1_A"].attrs["sign"] = "plus"
        else:
            file["operators"].attrs["center_A"] = CENTER_A + 0.1
    report = json.loads(command("verify", "out.h5", "--json").stdout)
    assert failed in [check["name"] for check in report["checks"] if not check["passed"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [
        lambda g, rows: g.attrs.update(center_A=np.full(3, np.nan)),
        lambda g, rows: g.attrs.update(center_A=np.zeros(2)),
        lambda g, rows: rows["ctf/df1_A"].attrs.update(sign="up"),
        lambda g, rows: rows[SHIFT].attrs.update(part="defocus", sign="minus"),
    ],
)
def test_damaged_centers_are_refused(spoil, columns, tmp_path, go, command):
    source = write_table(tmp_path / "source.h5", columns)
    go("expand", source, "out.h5", "--symmetry=D3", CENTER, "--defocus=minus")
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        spoil(file["operators"], file["particles"])
    assert command("verify", "out.h5").returncode == 1
    assert command("export", "out.h5", "out.cs").returncode == 1


def test_arrays_are_recenterd_too(rng):
    pose, shift = rng.normal(0, 1, (5, 3)), rng.normal(0, 3, (5, 2))
    operators = replace(helix(30, 5, 3), center_A=CENTER_A)
    _, moved = expand_poses(pose, shift, operators, psize=1.5)
    motions = [(r, t + r @ CENTER_A) for r, t in naive.helix(30, 5, 3)]
    wanted = [naive.mates(naive.exp(p), s, motions, 1.5) for p, s in zip(pose, shift, strict=True)]
    assert np.allclose(moved, [s for mates in wanted for _, s in mates], atol=1e-9)


# Files of the field


def star_with_defocus(path, count=12):
    """Particles of RELION with defocus; what is in the file."""
    particles = make_particles(count)
    numbers = range(count)
    columns = {
        "rlnDefocusU": [f"{15000 + 37.5 * n:.6f}" for n in numbers],
        "rlnDefocusV": [f"{14000 + 12.25 * n:.6f}" for n in numbers],
        "rlnDefocusAngle": [f"{n:.6f}" for n in numbers],
    }
    path.write_text(with_columns(star_text(particles), "particles", columns))
    return particles


def test_star_in_star_out(tmp_path, program):
    particles = star_with_defocus(tmp_path / "in.star")
    flags = ("--symmetry=D3", CENTER, "--defocus=plus")
    expand_to_star(program, "in.star", "out.star", *flags)
    rows = read_rows(tmp_path / "out.star")
    motions = [(g, g @ CENTER_A) for g in naive.group("D3", "relion")]
    assert len(rows) == 6 * len(particles)
    for k, row in enumerate(rows):
        exp_v = naive.euler_zyz(*particles[k // 6][:3])
        shift = particles[k // 6][3:] / PSIZE_A
        near = [
            s
            for a, s in naive.mates(exp_v, shift, motions, PSIZE_A)
            if naive.angle_rad(a, naive.euler_zyz(*(float(row[n]) for n in COLUMNS[:3]))) < 1e-4
        ]
        assert len(near) == 1
        assert np.allclose([float(row[n]) / PSIZE_A for n in COLUMNS[3:]], near[0], atol=1e-4)
        depth_A = (naive.euler_zyz(*(float(row[n]) for n in COLUMNS[:3])).T @ CENTER_A)[2]
        assert float(row["rlnDefocusU"]) == pytest.approx(
            15000 + 37.5 * (k // 6) + depth_A, abs=1e-3
        )
        assert float(row["rlnDefocusV"]) == pytest.approx(
            14000 + 12.25 * (k // 6) + depth_A, abs=1e-3
        )
        assert float(row["rlnDefocusAngle"]) == k // 6


def test_star_in_cs_out_and_cs_in_star_out(tmp_path, go):
    """The defocus finds its place under the other program's names."""
    star_with_defocus(tmp_path / "in.star")
    go("expand", "in.star", "e.h5", "--symmetry=C3", CENTER, "--defocus=minus")
    assert "verified" in go("verify", "e.h5")
    go("export", "e.h5", "e.cs")
    made = np.load(tmp_path / "e.cs", allow_pickle=False)
    (pose, df1, df2), _, _ = read("e.h5", POSE, "rlnDefocusU", "rlnDefocusV")
    assert df1.dtype == np.float64
    assert np.allclose(made["ctf/df1_A"], df1, atol=1e-3)
    assert np.allclose(made["ctf/df2_A"], df2, atol=1e-3)
    depth_A = [(naive.exp(v).T @ CENTER_A)[2] for v in pose]
    source = np.repeat(15000 + 37.5 * np.arange(12), 3)
    assert np.allclose(made["ctf/df1_A"], source - depth_A, atol=2e-3)
    go("export", "in.star", "in.cs")
    go("expand", "in.cs", "c.h5", "--symmetry=C3", CENTER, "--defocus=minus")
    go("export", "c.h5", "c.star")
    rows = read_rows(tmp_path / "c.star")
    assert np.allclose([float(row["rlnDefocusU"]) for row in rows], made["ctf/df1_A"], atol=5e-3)


def test_a_defocus_that_is_no_number(tmp_path, command):
    star_with_defocus(tmp_path / "in.star")
    text = (tmp_path / "in.star").read_text().replace("15037.500000", "none")
    (tmp_path / "in.star").write_text(text)
    done = command("expand", "in.star", "e.h5", "--symmetry=C3", CENTER, "--defocus=minus")
    assert (done.returncode, "rlnDefocusU is 'none' in row 1" in done.stderr) == (1, True)
    assert not (tmp_path / "e.h5").exists()


@needs("relion_particle_symmetry_expand", "relion_star_handler")
@pytest.mark.parametrize("symbol", ["D7", "O", "I2"])
def test_relion_recenters_to_the_same_origins(symbol, tmp_path, program):
    """RELION expands, then puts the same point of its reference at the center."""
    folder = tmp_path / "relion"
    folder.mkdir()
    star_with_defocus(folder / "particles.star", 8)
    star_with_defocus(tmp_path / "particles.star", 8)
    expand = ["relion_particle_symmetry_expand", "--i", "particles.star", "--o", "e.star"]
    run(folder, *expand, "--sym", symbol)
    point = [f"--center_{a}={x / PSIZE_A}" for a, x in zip("XYZ", CENTER_A, strict=True)]
    words = [word for each in point for word in each.split("=")]
    run(folder, "relion_star_handler", "--i", "e.star", "--o", "c.star", "--center", *words)
    expand_to_star(program, "particles.star", "ours.star", f"--symmetry={symbol}", CENTER)
    theirs = by_image(read_rows(folder / "c.star"))
    ours = by_image(read_rows(tmp_path / "ours.star"))
    assert theirs.keys() == ours.keys()
    tolerance_A = 4 * TEXT_A + np.deg2rad(TEXT_DEG) * np.linalg.norm(CENTER_A) * 2
    for image, mates in theirs.items():
        assert len(mates) == len(ours[image]) == len(naive.group(symbol, "relion"))
        for mate in mates:
            near = [
                other
                for other in ours[image]
                if naive.angle_rad(naive.euler_zyz(*mate[:3]), naive.euler_zyz(*other[:3])) < 1e-5
            ]
            assert len(near) == 1
            assert np.abs(near[0][3:] - mate[3:]).max() < tolerance_A


def by_image(rows):
    """Angles and origins of the rows of each image."""
    found = {}
    for row in rows:
        numbers = np.array([float(row[name]) for name in COLUMNS])
        found.setdefault(row["rlnImageName"], []).append(numbers)
    return found


# The way back


def test_copies_of_a_choice_collapse_to_their_particles(columns, tmp_path, go):
    source = write_table(tmp_path / "source.h5", columns)
    flags = ("--symmetry=O", "--modulo=C4", "--center=0,0,50")
    go("expand", source, "e.h5", *flags)
    go("export", "e.h5", "e.cs")
    rows = np.load(tmp_path / "e.cs", allow_pickle=False)
    kept = rows[7::5]
    np.save(tmp_path / "kept.npy", kept)
    (tmp_path / "kept.npy").rename(tmp_path / "kept.cs")
    go("collapse", "kept.cs", "back.h5", "--expanded=e.h5")
    wanted = np.unique(np.arange(len(rows))[7::5] // 6)
    with h5py.File(tmp_path / "back.h5") as file:
        assert np.array_equal(file["particles/uid"][()], columns["uid"][wanted])
    without = [name for name in kept.dtype.names if not name.startswith("sym_expand/")]
    np.save(tmp_path / "plain.npy", kept[without])
    (tmp_path / "plain.npy").rename(tmp_path / "plain.cs")
    go("collapse", "plain.cs", "again.h5", "--expanded=e.h5")
    with h5py.File(tmp_path / "again.h5") as file:
        assert np.array_equal(file["particles/uid"][()], columns["uid"][wanted])


def test_shifts_of_the_best_copies_are_about_their_center(columns, tmp_path, go):
    source = write_table(tmp_path / "source.h5", columns)
    go("expand", source, "e.h5", "--symmetry=C3", CENTER, "--carry=ctf/df1_A")
    assert "about the point (11.5, -20.25, 60) A" in go(
        "collapse", "e.h5", "b.h5", "--by=ctf/df1_A"
    )
    assert "about the point" not in go("collapse", "e.h5", "c.h5")
    with h5py.File(tmp_path / "c.h5") as file:
        assert np.array_equal(file[f"particles/{SHIFT}"][()], columns[SHIFT])


def test_ids_of_a_choice_without_the_identity_lead_back(columns, tmp_path, go):
    source = write_table(tmp_path / "source.h5", columns)
    go("expand", source, "e.h5", "--symmetry=D3", "--operators=2,4")
    go("export", "e.h5", "e.cs")
    rows = np.load(tmp_path / "e.cs", allow_pickle=False)
    without = [name for name in rows.dtype.names if not name.startswith("sym_expand/")]
    np.save(tmp_path / "plain.npy", rows[without][3:9])
    (tmp_path / "plain.npy").rename(tmp_path / "plain.cs")
    go("collapse", "plain.cs", "back.h5", "--expanded=e.h5")
    with h5py.File(tmp_path / "back.h5") as file:
        assert np.array_equal(file["particles/uid"][()], columns["uid"][1:5])
        assert file["particles/copies"][()].tolist() == [1, 2, 2, 1]


def test_ids_that_were_made_for_cryosparc_are_those_of_the_full_set(columns, tmp_path, go):
    """Rows of a table without ids get them when they are exported."""
    del columns["uid"]
    source = write_table(tmp_path / "source.h5", columns)
    for name, flags in (("full", []), ("part", ["--operators=1,4"])):
        go("expand", source, f"{name}.h5", "--symmetry=D3", *flags)
        go("export", f"{name}.h5", f"{name}.cs")
    full = np.load(tmp_path / "full.cs")["uid"].reshape(40, 6)
    assert np.array_equal(np.load(tmp_path / "part.cs")["uid"].reshape(40, 2), full[:, [1, 4]])
    assert len(np.unique(full)) == 240


def test_real_particles_are_recenterd(real_data, tmp_path, go):
    """Of 5,908 particles, a point on the axis stays where the symmetry leaves it."""
    import_particles(
        [str(real_data / "cryopicls/cryosparc_P2_J744_005_particles.cs")], str(tmp_path / "p.h5")
    )
    go("expand", "p.h5", "e.h5", "--symmetry=C4", "--center=0,0,40", "--psize=1.5")
    (shift,), _, _ = read("e.h5", SHIFT)
    assert np.abs(shift.reshape(-1, 4, 2) - shift.reshape(-1, 4, 2)[:, :1]).max() < 1e-4
    assert "verified" in go("verify", "e.h5")


def test_points_of_a_point_group_stay_points(rng):
    """The mean shift over a group about its own center is that of the particle."""
    pose, shift = rng.normal(0, 1, (4, 3)), rng.normal(0, 3, (4, 2))
    operators = replace(point_group("T"), center_A=CENTER_A)
    _, moved = expand_poses(pose, shift, operators, psize=1.0)
    assert np.allclose(moved.reshape(4, 12, 2).mean(axis=1), shift, atol=1e-9)
