"""Dynamo's tables and M's particles: mates stand where the particle's points are.

Positions and poses are those of the conventions, written out here: Dynamo's particle is at
(x + dx, y + dy, z + dz) pixels with A = Rz(-tdrot) Rx(-tilt) Rz(-narot); M's is at its coordinate.
"""

import h5py
import naive
import numpy as np
import pytest
from star_files import ANGLES, floats, loop, read_star
from test_subtomograms import (
    HELIX,
    ORDER,
    RISE_A,
    SUB_ANGLES,
    TWIST,
    UNBINNED,
    point_set,
    same_points,
    subtomograms,
    tomo_text,
)
from test_subtomograms import placed as of_relion

APIX = 2.7
COLUMNS = 37
TAG, DX, TDROT, TOMO_COLUMN, X, OTAG, PIXEL = 0, 3, 6, 19, 23, 30, 35


def dynamo_rows(rng, n, apix=APIX):
    """Rows of a table, as words."""
    rows = [["0"] * COLUMNS for _ in range(n)]
    for k, row in enumerate(rows):
        row[TAG] = str(5 + 3 * k)
        row[1] = "1"
        row[DX : DX + 3] = [f"{x:.5g}" for x in rng.normal(0, 4, 3)]
        row[TDROT : TDROT + 3] = [f"{x:.4f}" for x in rng.uniform((-180, 0, -180), 180)]
        row[9] = "0.2314"
        row[TOMO_COLUMN] = str(1 + k % 2)
        row[X : X + 3] = [f"{x:.3f}" for x in rng.uniform(20, 900, 3)]
        row[OTAG] = "0"
        row[PIXEL] = f"{apix:g}"
    return rows


def write_tbl(path, rows):
    path.write_text("".join(" ".join(row) + "\n" for row in rows))


def read_tbl(path):
    return [line.split() for line in path.read_text().splitlines()]


def pose_of(row):
    """A of a row."""
    tdrot, tilt, narot = (float(word) for word in row[TDROT : TDROT + 3])
    return (
        naive.turn((0, 0, 1), -tdrot) @ naive.turn((1, 0, 0), -tilt) @ naive.turn((0, 0, 1), -narot)
    )


def placed(row, points_A):
    """Where a row puts points of the map, in A."""
    place = np.array(row[X : X + 3], float) + np.array(row[DX : DX + 3], float)
    return np.array([place * APIX + pose_of(row) @ point for point in points_A])


@pytest.fixture
def tbl(rng, tmp_path):
    rows = dynamo_rows(rng, 6)
    write_tbl(tmp_path / "p.tbl", rows)
    return rows


@pytest.mark.parametrize(
    ("tdrot", "tilt", "narot", "relion"),
    [
        (112.7, 8.4212, -65.676, (-155.676, 8.4212, -157.3)),
        (-43.696, 15.245, -85.26, (-175.26, 15.245, 46.304)),
    ],
)
def test_known_angles(tdrot, tilt, narot, relion, rng, go, tmp_path):
    (row,) = dynamo_rows(rng, 1)
    row[TDROT : TDROT + 3] = [str(tdrot), str(tilt), str(narot)]
    write_tbl(tmp_path / "p.tbl", [row])
    assert naive.angle_rad(pose_of(row).T, naive.euler_zyz(*relion)) < 1e-9
    go("import", "p.tbl", "p.h5")
    with h5py.File(tmp_path / "p.h5") as file:
        pose = file["particles/alignments3D/pose"][0]
        shift = file["particles/alignments3D/shift"][0]
    assert naive.angle_rad(naive.exp(pose), naive.euler_zyz(*relion)) < 1e-9
    assert np.array_equal(shift, -np.array(row[DX : DX + 3], float))


@pytest.mark.parametrize("group", ["C6", "D3", "T", "O", "I2"])
def test_mates_of_a_point_group_in_a_table_of_dynamo(group, tbl, rng, go, tmp_path):
    go("expand", "p.tbl", "e.tbl", f"--symmetry={group}")
    found = read_tbl(tmp_path / "e.tbl")
    elements = naive.group(group, "relion")
    order, points_A = len(elements), point_set(rng, elements)
    assert len(found) == 6 * order
    for k, row in enumerate(found):
        assert same_points(placed(row, points_A), placed(tbl[k // order], points_A))
    for k in range(0, len(found), order):
        assert (
            found[k][:OTAG] + found[k][OTAG + 1 :]
            == tbl[k // order][:OTAG] + tbl[k // order][OTAG + 1 :]
        )


@pytest.mark.parametrize("center", [[], ["--center=11.5,-20.25,30"]], ids=["box", "center"])
def test_a_helix_in_a_table_of_dynamo(center, tbl, go, tmp_path):
    go("expand", "p.tbl", "e.tbl", *HELIX, "--symmetry=D2", *center)
    found = read_tbl(tmp_path / "e.tbl")
    motions = naive.helix(TWIST, RISE_A, ORDER, naive.group("D2", "relion"))
    point_A = np.array([11.5, -20.25, 30.0]) if center else np.zeros(3)
    for k, row in enumerate(tbl):
        middles = np.array([placed(each, [np.zeros(3)])[0] for each in found[20 * k : 20 * k + 20]])
        assert same_points(middles, placed(row, [R @ point_A + t for R, t in motions]))
        turned = [pose_of(row) @ R for R, _ in motions]
        for each in found[20 * k : 20 * k + 20]:
            assert min(naive.angle_rad(pose_of(each), A) for A in turned) < 1e-7


def test_tags_are_new_and_name_their_parents(tbl, go, tmp_path):
    shown = go("expand", "p.tbl", "e.tbl", "--symmetry=C3")
    assert "crop them anew" in shown
    found = read_tbl(tmp_path / "e.tbl")
    tags = [int(row[TAG]) for row in found]
    assert len(set(tags)) == 18
    assert tags[::3] == [int(row[TAG]) for row in tbl]
    assert [row[OTAG] for row in found] == [row[TAG] for row in tbl for _ in range(3)]
    assert min(set(tags) - set(tags[::3])) > 20


def test_its_own_pixel_size_goes_before_one_that_is_given(tbl, go, command, rng, tmp_path):
    go("expand", "p.tbl", "e.tbl", *HELIX)
    done = command("expand", "p.tbl", "other.tbl", *HELIX, "--psize=1.35")
    assert done.returncode == 0
    assert "--psize=1.35 is left aside" in done.stderr
    assert (tmp_path / "e.tbl").read_bytes() == (tmp_path / "other.tbl").read_bytes()
    write_tbl(tmp_path / "p.tbl", [[*row[:PIXEL], "0", *row[PIXEL + 1 :]] for row in tbl])
    refused = command("expand", "p.tbl", "x.tbl", *HELIX)
    assert (refused.returncode, "--psize=A_PER_PIXEL" in refused.stderr) == (1, True)
    go("expand", "p.tbl", "x.tbl", *HELIX, f"--psize={APIX}")
    same = [
        [word for k, word in enumerate(row) if k != PIXEL] for row in read_tbl(tmp_path / "x.tbl")
    ]
    assert same == [
        [word for k, word in enumerate(row) if k != PIXEL] for row in read_tbl(tmp_path / "e.tbl")
    ]


def test_a_table_of_dynamo_through_hdf5(tbl, go, tmp_path):
    go("expand", "p.tbl", "e.tbl", *HELIX)
    go("import", "p.tbl", "p.h5")
    for source in ("p.tbl", "p.h5"):
        go("expand", source, "e.h5", *HELIX, "--overwrite")
        go("verify", "e.h5")
        go("export", "e.h5", "same.tbl", "--overwrite")
        assert (tmp_path / "same.tbl").read_bytes() == (tmp_path / "e.tbl").read_bytes()
    go("export", "p.h5", "back.tbl")
    assert read_tbl(tmp_path / "back.tbl") == tbl


def test_a_table_of_dynamo_comes_back(tbl, go, command, tmp_path):
    go("expand", "p.tbl", "e.tbl", "--symmetry=C3")
    assert "already expanded" in command("expand", "e.tbl", "x.tbl", "--symmetry=C2").stderr
    assert "37 rows" not in go("inspect", "p.tbl")
    assert "6 rows" in go("inspect", "p.tbl")


def test_copies_of_dynamo_go_back_to_particles(tbl, go, command, tmp_path):
    go("expand", "p.tbl", "e.h5", "--symmetry=C3")
    go("export", "e.h5", "e.tbl")
    rows = read_tbl(tmp_path / "e.tbl")
    kept = [rows[k] for k in (16, 3, 4, 5, 0, 9, 2, 12, 13)]
    write_tbl(tmp_path / "part.tbl", kept)
    own = [tbl[k] for k in (0, 1, 3, 4, 5)]
    for flag in ("--expanded=e.h5", "--source=p.tbl"):
        go("collapse", "part.tbl", "back.tbl", flag, "--overwrite")
        assert read_tbl(tmp_path / "back.tbl") == own
    for k, row in enumerate(kept):
        row[9] = str(k)  # cc
    write_tbl(tmp_path / "part.tbl", kept)
    go("collapse", "part.tbl", "best.tbl", "--source=p.tbl", "--by=dynamo/cc")
    best = read_tbl(tmp_path / "best.tbl")
    for row, copy in zip(best, (rows[2], rows[5], rows[9], rows[13], rows[16]), strict=True):
        assert naive.angle_rad(pose_of(row), pose_of(copy)) < 1e-7
    assert "its 3 copies are C3" in go("match", "e.tbl")
    torn = [row for k, row in enumerate(rows) if k % 3 != k // 3 % 3]  # two of three, in turn
    write_tbl(tmp_path / "torn.tbl", torn)
    shown = go("match", "torn.tbl")
    assert "its 3 copies are C3" in shown
    assert "copies are missing, or in no order" in shown
    refused = command("match", "p.tbl")
    assert (refused.returncode, "nothing tells whose copies" in refused.stderr) == (1, True)
    refused = command("collapse", "p.tbl", "x.tbl", "--expanded=e.h5")
    assert (refused.returncode, "row 0 is no copy" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows[3].pop(), "line 4, row 3"),
        (
            lambda rows: rows[2].__setitem__(TDROT, "x"),
            "dynamo/tdrot is 'x' in row 2, not a number",
        ),
        (lambda rows: rows[2].__setitem__(TAG, "5"), "uid 5 stands in rows 0, 2"),
        (lambda rows: rows[2].__setitem__(TAG, "1.5"), "column 1 (tag) is 1.5 in row 2"),
        (lambda rows: rows[2].__setitem__(PIXEL, "-1"), "psize_A is not above 0: first in row 2"),
        (lambda rows: rows.insert(3, [""]), "more stands behind an empty line"),
        (lambda rows: rows.clear(), "has 0 numbers"),
        (lambda rows: [row.__delitem__(slice(20, None)) for row in rows], "has 20 numbers"),
    ],
)
def test_a_bad_table_of_dynamo_is_named(change, told, rng, command, tmp_path):
    rows = dynamo_rows(rng, 6)
    change(rows)
    write_tbl(tmp_path / "p.tbl", rows)
    done = command("expand", "p.tbl", "e.tbl", *HELIX)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning")]
    assert (done.returncode, len(lines)) == (1, 1)
    assert told in lines[0]
    assert not (tmp_path / "e.tbl").exists()


def m_columns(rng, n, poses=1, places=1):
    """Particles of M, as words."""
    columns = {}
    for time in range(1, places + 1):
        for axis in "XYZ":
            columns[f"wrpCoordinate{axis}{time}"] = [f"{x:.5f}" for x in rng.uniform(0, 3000, n)]
    for time in range(1, poses + 1):
        for name in ("Rot", "Tilt", "Psi"):
            low = 0 if name == "Tilt" else -180
            columns[f"wrpAngle{name}{time}"] = [f"{x:.5f}" for x in rng.uniform(low, 180, n)]
    columns["wrpRandomSubset"] = [str(1 + k % 2) for k in range(n)]
    columns["wrpSourceName"] = [f"TS_{k % 3}.tomostar" for k in range(n)]
    columns["wrpSourceHash"] = [f"abc{k % 3}" for k in range(n)]
    return columns


def m_poses(columns, time):
    return [
        naive.euler_zyz(*row).T
        for row in floats(columns, *(f"wrpAngle{n}{time}" for n in ("Rot", "Tilt", "Psi")))
    ]


def m_places(columns, time):
    return floats(columns, *(f"wrpCoordinate{axis}{time}" for axis in "XYZ"))


@pytest.mark.parametrize("center", [[], ["--center=11.5,-20.25,30"]], ids=["box", "center"])
@pytest.mark.parametrize("times", [(1, 1), (3, 3), (3, 2), (1, 2), (3, 1)])
def test_all_poses_and_places_of_m_move(times, center, rng, go, tmp_path):
    poses, places = times
    columns = m_columns(rng, 5, poses, places)
    (tmp_path / "p.star").write_text(loop("", columns, comment=""))
    go("expand", "p.star", "e.star", *HELIX, "--symmetry=D2", *center)
    found = read_star((tmp_path / "e.star").read_text(), "")
    motions = naive.helix(TWIST, RISE_A, ORDER, naive.group("D2", "relion"))
    point_A = np.array([11.5, -20.25, 30.0]) if center else np.zeros(3)
    # which operator a row has is told by its first pose
    first = m_poses(columns, 1)
    own = [
        int(np.argmin([naive.angle_rad(A, first[k // 20] @ R) for R, _ in motions]))
        for k, A in enumerate(m_poses(found, 1))
    ]
    # units of a helix with the same turn are told apart by their place
    for time in range(1, poses + 1):
        before = m_poses(columns, time)
        for k, A in enumerate(m_poses(found, time)):
            assert naive.angle_rad(A, before[k // 20] @ motions[own[k]][0]) < 1e-7
    for time in range(1, places + 1):
        share = 0 if places == 1 else (time - 1) / (places - 1) * (poses - 1)
        assert share == int(share)
        before, angles = m_places(columns, time), m_poses(columns, 1 + int(share))
        for k, place in enumerate(m_places(found, time)):
            R, t = motions[own[k]]
            wanted = before[k // 20] + angles[k // 20] @ (t + R @ point_A)
            assert np.abs(place - wanted).max() < 3e-6
    for label in ("wrpRandomSubset", "wrpSourceName", "wrpSourceHash"):
        assert found[label] == [word for word in columns[label] for _ in range(20)]


def test_a_place_between_two_poses_moves_with_what_lies_between(rng, go, tmp_path):
    columns = m_columns(rng, 4, 2, 3)
    (tmp_path / "p.star").write_text(loop("", columns, comment=""))
    go("expand", "p.star", "e.star", "--twist=10", "--rise=50", "--order=2")
    found = read_star((tmp_path / "e.star").read_text(), "")
    for k in range(4):
        one, other = m_poses(columns, 1)[k], m_poses(columns, 2)[k]
        half = naive.exp(0.5 * vector_of(other @ one.T)) @ one
        wanted = m_places(columns, 2)[k] + half @ np.array([0, 0, 50.0])
        assert np.abs(m_places(found, 2)[2 * k + 1] - wanted).max() < 1e-4


def vector_of(R):
    """Rotation vector of a matrix, below half a turn."""
    angle = np.arccos(np.clip((np.trace(R) - 1) / 2, -1, 1))
    axis = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    return angle * axis / np.linalg.norm(axis)


def test_particles_of_m_through_hdf5(rng, go, tmp_path):
    (tmp_path / "p.star").write_text(loop("", m_columns(rng, 5, 3, 2), comment=""))
    go("expand", "p.star", "e.star", *HELIX)
    go("import", "p.star", "p.h5")
    for source in ("p.star", "p.h5"):
        go("expand", source, "e.h5", *HELIX, "--overwrite")
        go("verify", "e.h5")
        go("export", "e.h5", "same.star", "--overwrite")
        assert (tmp_path / "same.star").read_bytes() == (tmp_path / "e.star").read_bytes()


@pytest.mark.parametrize(
    "label", ["wrpCoordinateZ1", "wrpAnglePsi1", "wrpAngleTilt2", "wrpCoordinateY2"]
)
def test_a_label_of_m_that_is_missing_is_named(label, rng, command, tmp_path):
    columns = m_columns(rng, 5, 2, 2)
    del columns[label]
    (tmp_path / "p.star").write_text(loop("", columns, comment=""))
    done = command("expand", "p.star", "e.star", "--symmetry=C2")
    assert (done.returncode, f"has no _{label}" in done.stderr) == (1, True)


def points_of_star(columns, points_A):
    """Where each row of a .star of RELION or M puts points, in A, and in which tomogram."""
    if "wrpCoordinateX1" in columns:
        places, poses = m_places(columns, 1), m_poses(columns, 1)
        found = [[place + A @ p for p in points_A] for place, A in zip(places, poses, strict=True)]
        return np.array(found), columns["wrpSourceName"]
    return of_relion(columns, points_A), columns["rlnTomoName"]


@pytest.mark.parametrize("angles", ["both", "own", "cut"])
def test_subtomograms_of_relion_become_those_of_dynamo_and_m(angles, rng, go, tmp_path):
    sets = {"both": (*SUB_ANGLES, *ANGLES), "own": ANGLES, "cut": SUB_ANGLES}
    columns = subtomograms(rng, 6, angles=sets[angles], coordinates=UNBINNED)
    (tmp_path / "p.star").write_text(tomo_text(columns))
    points_A = [np.zeros(3), np.array([10.0, -20, 5]), np.array([0, 3.0, 25])]
    before = of_relion(columns, points_A)
    go("export", "p.star", "p.tbl")
    rows = read_tbl(tmp_path / "p.tbl")
    assert np.abs(np.array([placed(row, points_A) for row in rows]) - before).max() < 2e-5
    assert [row[TOMO_COLUMN] for row in rows] == ["1", "2"] * 3
    go("export", "p.star", "m.star", "--program=m")
    found, tomograms = points_of_star(read_star((tmp_path / "m.star").read_text(), ""), points_A)
    assert np.abs(found - before).max() < 2e-5
    assert tomograms == columns["rlnTomoName"]
    for name in ("p.tbl", "m.star"):
        size = [] if name == "p.tbl" else [f"--psize={APIX}"]
        go("export", name, "back.star", "--program=relion", "--overwrite", *size)
        back = read_star((tmp_path / "back.star").read_text())
        text = (tmp_path / "back.star").read_text()
        assert "_rlnTomoTiltSeriesPixelSize" in text
        assert np.abs(of_relion(back, points_A, APIX) - before).max() < 4e-5
        assert len(set(back["rlnTomoParticleName"])) == 6


@pytest.mark.parametrize("helix", [False, True])
@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("p.star", "e.tbl"),
        ("p.star", "m.star"),
        ("p.tbl", "e.star"),
        ("p.tbl", "m.star"),
        ("m.star", "e.tbl"),
    ],
)
def test_copies_in_another_program_s_format(source, output, helix, rng, go, tmp_path):
    columns = subtomograms(rng, 6, coordinates=UNBINNED)
    (tmp_path / "p.star").write_text(tomo_text(columns))
    if source == "p.tbl":
        go("export", "p.star", "p.tbl")
    elif source == "m.star":
        go("export", "p.star", "m.star", "--program=m")
    flags = [*HELIX, "--symmetry=D2"] if helix else ["--symmetry=D3"]
    flags += ["--program=m"] if output == "m.star" else []
    flags += [f"--psize={APIX}"] if source == "m.star" else []
    go("expand", source, f"out_{output}", *flags, "--center=3,4,30")
    motions = [(R, np.zeros(3)) for R in naive.group("D3", "relion")]
    if helix:
        motions = naive.helix(TWIST, RISE_A, ORDER, naive.group("D2", "relion"))
    center_A = np.array([3.0, 4, 30])
    before = of_relion(columns, [R @ center_A + t for R, t in motions])
    if output.endswith(".tbl"):
        rows = read_tbl(tmp_path / f"out_{output}")
        middles = np.array([placed(row, [np.zeros(3)])[0] for row in rows])
    else:
        block = "" if output == "m.star" else "particles"
        found = read_star((tmp_path / f"out_{output}").read_text(), block)
        if output == "m.star":
            middles = points_of_star(found, [np.zeros(3)])[0][:, 0]
        else:
            middles = of_relion(found, [np.zeros(3)], APIX)[:, 0]
    order = len(motions)
    assert len(middles) == 6 * order
    for k in range(6):
        assert same_points(middles[k * order : (k + 1) * order], before[k], 4e-5)


def test_what_has_no_place_in_another_format_is_named(rng, go, command, tmp_path):
    columns = subtomograms(rng, 6)
    (tmp_path / "p.star").write_text(tomo_text(columns))
    done = command("export", "p.star", "p.tbl")
    assert (done.returncode, "has no _rlnCoordinateX" in done.stderr) == (1, True)
    (tmp_path / "p.star").write_text(tomo_text(subtomograms(rng, 6, coordinates=UNBINNED)))
    shown = go("export", "p.star", "p.tbl")
    assert "dropped, for want of a place in the output: " in shown
    assert "rlnTomoVisibleFrames" in shown
    assert "tomograms have numbers: 1 for TS_01, 2 for TS_02" in shown
    go("export", "p.star", "m.star", "--program=m")
    refused = command("export", "m.star", "x.tbl")
    assert (refused.returncode, "--psize=A_PER_PIXEL" in refused.stderr) == (1, True)
    go("expand", "p.star", "e.h5", "--symmetry=C2")
    refused = command("export", "e.h5", "e.tbl")
    assert (refused.returncode, "straight into it" in refused.stderr) == (1, True)
    refused = command("export", "p.star", "x.h5")
    assert refused.returncode == 2
    refused = command("expand", "p.star", "x.tbl", "--symmetry=C2", "--program=m")
    assert (refused.returncode, "--program goes with a .star output" in refused.stderr) == (2, True)
