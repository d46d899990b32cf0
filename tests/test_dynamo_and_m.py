"""Dynamo's tables and M's particles: mates stand where the particle's points are.

Positions and poses are those of the conventions, written out here: Dynamo's particle is at
(x + dx, y + dy, z + dz) pixels with A = Rz(-tdrot) Rx(-tilt) Rz(-narot); M's is at its coordinate.
"""

import h5py
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from star_files import ANGLES, floats, loop, read_star
from test_subtomograms import (
    HELIX,
    OPTICS,
    ORDER,
    ORIGINS,
    PSIZE_A,
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


@pytest.mark.parametrize(
    "group",
    [
        "C6",
        "D3",
        "T",
        pytest.param("O", marks=pytest.mark.slow),
        pytest.param("I2", marks=pytest.mark.slow),
    ],
)
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
        (lambda rows: [row.extend(["0"] * 220) for row in rows], "has 257 numbers"),
        (
            lambda rows: rows[2].__setitem__(TAG, str(2**53 - 20)),
            "column 1 (tag) goes to 9007199254740972, and new tags would be over",
        ),
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
    assert "dropped, because the output has no place for them: " in shown
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


def one_error(done, code, told):
    """One line of error, and nothing else went wrong."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning")]
    assert (done.returncode, len(lines)) == (code, 1)
    assert told in lines[0]


def test_empty_lines_before_the_first_row_are_passed_over(tbl, go, tmp_path):
    go("expand", "p.tbl", "e.tbl", "--symmetry=C3")
    text = (tmp_path / "p.tbl").read_text()
    (tmp_path / "p.tbl").write_text("\n  \n" + text)
    go("expand", "p.tbl", "x.tbl", "--symmetry=C3")
    assert (tmp_path / "x.tbl").read_bytes() == (tmp_path / "e.tbl").read_bytes()


@pytest.mark.parametrize("target", ["relion", "m"])
def test_a_pixel_size_that_is_given_places_rows_of_dynamo(target, tbl, go, command, tmp_path):
    go("export", "p.tbl", "wanted.star", f"--program={target}")
    write_tbl(tmp_path / "p.tbl", [[*row[:PIXEL], "0", *row[PIXEL + 1 :]] for row in tbl])
    words = ("p.tbl", "x.star", f"--program={target}")
    one_error(command("export", *words), 1, "give --psize=A_PER_PIXEL")
    one_error(command("expand", *words, "--symmetry=C1"), 1, "give --psize=A_PER_PIXEL")
    go("expand", *words, "--symmetry=C1", f"--psize={APIX}")
    go("export", *words, f"--psize={APIX}", "--overwrite")
    wanted = (tmp_path / "wanted.star").read_text()
    assert (tmp_path / "x.star").read_text() == wanted


def test_a_pixel_size_that_is_given_places_rows_of_relion(rng, go, command, tmp_path):
    columns = subtomograms(rng, 6, coordinates=UNBINNED)
    points_A = [np.zeros(3), np.array([10.0, -20, 5])]
    before = of_relion(columns, points_A)
    own = f"_rlnImagePixelSize #6\n_rlnImageSize #7\n1 opticsGroup1 1.35 1 2.0 {PSIZE_A} 96"
    assert own in OPTICS
    bare = OPTICS.replace(own, "_rlnImageSize #6\n1 opticsGroup1 1.35 1 2.0 96")
    for in_px in (False, True):
        text = tomo_text(columns).replace(OPTICS, bare)
        if in_px:
            moved = dict(columns)
            for label in ORIGINS:
                words = [f"{float(x) / PSIZE_A:.9f}" for x in moved.pop(label)]
                moved[label.removesuffix("Angst")] = words
            text = tomo_text(moved).replace(OPTICS, bare)
        (tmp_path / "p.star").write_text(text)
        one_error(command("export", "p.star", "x.tbl"), 1, "give --psize=A_PER_PIXEL")
        go("export", "p.star", "p.tbl", f"--psize={APIX}", "--overwrite")
        rows = read_tbl(tmp_path / "p.tbl")
        assert {row[PIXEL] for row in rows} == {f"{APIX:.6f}"}
        assert np.abs(np.array([placed(row, points_A) for row in rows]) - before).max() < 2e-5
    (tmp_path / "p.star").write_text(tomo_text(columns))
    done = command("export", "p.star", "p.tbl", "--psize=5", "--overwrite")
    assert "--psize=5 is left aside: p.star says A per pixel itself" in done.stderr


@pytest.mark.parametrize("psize", [True, False])
@pytest.mark.parametrize("words", [["x.tbl"], ["x.star", "--program=m"]])
def test_a_plain_table_has_no_places_for_another_program(words, psize, rng, command, tmp_path):
    columns = random_columns(rng, 9)
    columns["alignments3D/shift"] = rng.normal(0, 3, (9, 3))
    if not psize:
        del columns["alignments3D/psize_A"]
    write_table(tmp_path / "p.h5", columns)
    told = "p.h5: did not come from a .star"
    for verb in (["export"], ["expand", "--symmetry=C2"], ["expand", "--symmetry=C2", "--psize=2"]):
        one_error(command(verb[0], "p.h5", *words, *verb[1:]), 1, told)
    assert [path.name for path in tmp_path.iterdir()] == ["p.h5"]


@pytest.mark.parametrize("name", ["'TS 1'", '"TS 1"', "a'b", '""'])
def test_names_of_which_no_files_can_be_made_are_refused(name, rng, go, command, tmp_path):
    columns = m_columns(rng, 5)
    columns["wrpSourceName"][3] = name
    (tmp_path / "p.star").write_text(loop("", columns, comment=""))
    for verb in (["export"], ["expand", "--symmetry=C2"]):
        done = command(verb[0], "p.star", "x.star", "--program=relion", "--psize=2", *verb[1:])
        one_error(done, 1, "wrpSourceName of row 3 is empty or has a blank, a quote or a #")
    assert not (tmp_path / "x.star").exists()
    columns["wrpSourceName"][3] = "'TS_1'"
    (tmp_path / "p.star").write_text(loop("", columns, comment=""))
    go("export", "p.star", "x.star", "--program=relion", "--psize=2")
    found = read_star((tmp_path / "x.star").read_text())
    assert (found["rlnTomoName"][3], found["rlnTomoParticleName"][3]) == ("TS_1", "TS_1/4")


def test_a_class_that_is_no_number_is_refused(rng, command, tmp_path):
    columns = subtomograms(rng, 6, coordinates=UNBINNED)
    columns["rlnClassNumber"] = ["1", "'2'", "x", "1", "1", "1"]
    (tmp_path / "p.star").write_text(tomo_text(columns))
    one_error(command("export", "p.star", "x.tbl"), 1, "rlnClassNumber is 'x' in row 2")
    columns["rlnClassNumber"][2] = "3"
    (tmp_path / "p.star").write_text(tomo_text(columns))
    assert command("export", "p.star", "x.tbl").returncode == 0
    assert [row[21] for row in read_tbl(tmp_path / "x.tbl")] == ["1", "2", "3", "1", "1", "1"]


def test_messages_about_particles_of_m_name_labels_of_m(rng, go, command, tmp_path):
    columns = m_columns(rng, 5)
    (tmp_path / "p.star").write_text(loop("", columns, comment=""))
    assert "rln" not in command("expand", "p.star", "x.star", "--symmetry=C2").stderr
    columns["wrpRandomSubset"][3] = "0"
    (tmp_path / "p.star").write_text(loop("", columns, comment=""))
    one_error(command("expand", "p.star", "y.star", "--symmetry=C2"), 1, "_wrpRandomSubset is 0 in")


CC = 9


def came_back(rng, rows):
    """Half of the copies, in another order, with new tags and with scores."""
    some = [list(rows[k]) for k in rng.permutation(len(rows))[: len(rows) // 2]]
    for tag, row in enumerate(some, start=1):
        row[TAG], row[CC] = str(tag), f"{rng.uniform():.6f}"
    return some


@pytest.mark.parametrize("known", ["--expanded=e.h5", "--source=p.tbl"])
def test_copies_that_dynamo_gives_back_are_collapsed(known, tbl, rng, go, command, tmp_path):
    flags = [*HELIX, "--symmetry=D2"]
    go("expand", "p.tbl", "e.tbl", *flags)
    go("expand", "p.tbl", "e.h5", *flags)
    back = came_back(rng, read_tbl(tmp_path / "e.tbl"))
    write_tbl(tmp_path / "back.tbl", back)
    go("collapse", "back.tbl", "c.tbl", known)
    assert read_tbl(tmp_path / "c.tbl") == tbl
    go("collapse", "back.tbl", "best.tbl", known, "--by=dynamo/cc")
    for own, row in zip(tbl, read_tbl(tmp_path / "best.tbl"), strict=True):
        best = max((each for each in back if each[OTAG] == own[TAG]), key=lambda x: float(x[CC]))
        assert np.abs(np.array(row[DX:CC], float) - np.array(best[DX:CC], float)).max() < 2e-6
        assert row[X : X + 3] == own[X : X + 3]
    assert "x D2" in go("match", "back.tbl")
    back[4][OTAG] = "999"
    write_tbl(tmp_path / "back.tbl", back)
    one_error(command("collapse", "back.tbl", "x.tbl", known), 1, "row 4 is no copy of a particle")


@pytest.mark.parametrize("in_text", [True, False])
def test_the_best_copy_of_m_has_its_poses_and_places_at_all_times(in_text, rng, go, tmp_path):
    columns = m_columns(rng, 5, 3, 2)
    (tmp_path / "p.star").write_text(loop("", columns, comment=""))
    go("expand", "p.star", "e.star", *HELIX)
    go("expand", "p.star", "e.h5", *HELIX)
    copies = read_star((tmp_path / "e.star").read_text(), "")
    score = rng.permutation(25)
    words = ["back.star", "--expanded=e.h5", "--by=wrpScore"]
    if in_text:
        some = {label: list(column) for label, column in copies.items()}
        some["wrpScore"] = [str(x) for x in score]
        (tmp_path / "back.star").write_text(loop("", some, comment=""))
    else:
        with h5py.File(tmp_path / "e.h5", "r+") as file:
            file["particles/score"] = score
        words = ["e.h5", "--by=score"]
    go("collapse", words[0], "best.star", *words[1:])
    found = read_star((tmp_path / "best.star").read_text(), "")
    for k in range(5):
        best = 5 * k + int(np.argmax(score[5 * k : 5 * k + 5]))
        for label in (name for name in columns if name.startswith(("wrpAngle", "wrpCoord"))):
            assert abs(float(found[label][k]) - float(copies[label][best])) < 2e-6, label


def test_poses_of_another_program_are_not_taken_for_the_best(rng, go, command, tmp_path):
    (tmp_path / "p.star").write_text(tomo_text(subtomograms(rng, 6, coordinates=UNBINNED)))
    go("expand", "p.star", "e.h5", "--symmetry=D3")
    go("expand", "p.star", "m.star", "--symmetry=D3", "--program=m")
    go("expand", "p.star", "e.tbl", "--symmetry=D3")
    go("collapse", "m.star", "c.star", "--expanded=e.h5")
    assert (tmp_path / "c.star").read_bytes() == (tmp_path / "p.star").read_bytes()
    done = command("collapse", "m.star", "x.star", "--expanded=e.h5", "--by=wrpCoordinateX1")
    one_error(done, 1, "its poses are of another kind than those of")
    done = command("collapse", "e.tbl", "x.star", "--expanded=e.h5")
    one_error(done, 1, "is no table of Dynamo, and e.tbl is one")


@pytest.mark.parametrize("output", [["x.star"], ["x.star", "--program=m"]])
def test_a_table_that_came_from_dynamo_and_has_no_rows(output, tbl, go, command, tmp_path):
    go("import", "p.tbl", "p.h5")
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        columns = {}
        file["particles"].visititems(lambda name, node: columns.update({name: node}))
        for name, node in columns.items():
            if isinstance(node, h5py.Dataset):
                shape, dtype = node.shape[1:], node.dtype
                del file["particles"][name]
                file["particles"].create_dataset(name, (0, *shape), dtype)
    for verb in (["export"], ["expand", "--symmetry=C2"]):
        one_error(command(verb[0], "p.h5", *output, *verb[1:]), 1, "p.h5: has no rows")


@pytest.mark.parametrize("psize", ["0", "-1", "nan", "inf"])
def test_a_pixel_size_that_is_no_length_is_refused(psize, rng, command, tmp_path):
    (tmp_path / "p.star").write_text(loop("", m_columns(rng, 5), comment=""))
    one_error(command("export", "p.star", "x.tbl", f"--psize={psize}"), 2, "psize")
    assert not (tmp_path / "x.tbl").exists()


def test_poses_of_two_programs_in_one_file_are_refused(rng, command, tmp_path):
    columns = m_columns(rng, 6) | subtomograms(rng, 6, coordinates=UNBINNED)
    (tmp_path / "p.star").write_text(tomo_text(columns))
    for verb in (["expand", "--symmetry=C2"], ["export"]):
        done = command(verb[0], "p.star", "x.star", *verb[1:])
        one_error(done, 1, "has poses of two programs (_wrpAngleRot1 and _rlnAngleRot)")
