"""Subtomograms: shifts of three components, both angle sets of RELION, names of copies.

The proof is geometric: a set of points that has the symmetry is placed in a tomogram, and each
copy, read by a slow reader and placed by the twin, must put it on the same points.
"""

import json
import re
import subprocess

import h5py
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from particle_files import needs
from star_files import ANGLES, floats, loop, read_star

import numba_symexp

PSIZE_A, UNBINNED_A = 2.7, 1.35
SUB_ANGLES = tuple(f"rlnTomoSubtomogram{name}" for name in ("Rot", "Tilt", "Psi"))
ORIGINS = tuple(f"rlnOrigin{axis}Angst" for axis in "XYZ")
CENTERED = tuple(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ")
UNBINNED = tuple(f"rlnCoordinate{axis}" for axis in "XYZ")

GENERAL = (
    "\n# version 50001\n\ndata_general\n\n_rlnTomoSubTomosAre2DStacks                       1\n \n"
)
OPTICS = loop(
    "optics",
    {
        "rlnOpticsGroup": ["1"],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnTomoTiltSeriesPixelSize": [str(UNBINNED_A)],
        "rlnCtfDataAreCtfPremultiplied": ["1"],
        "rlnTomoSubtomogramBinning": ["2.0"],
        "rlnImagePixelSize": [str(PSIZE_A)],
        "rlnImageSize": ["96"],
    },
    comment="# version 50001\n\n",
)

GROUPS = ["C1", "C7", "D3", "T", "O", "I2"]
HELICES = {"helix": ([], "C1"), "helix x D2": (["--symmetry=D2"], "D2")}
TWIST, RISE_A, ORDER = 27.3, 14.5, 5
HELIX = [f"--twist={TWIST}", f"--rise={RISE_A}", f"--order={ORDER}"]


def subtomograms(rng, n, angles=(*SUB_ANGLES, *ANGLES), coordinates=CENTERED):
    """Columns of subtomograms as text."""
    columns = {"rlnTomoName": [f"TS_{1 + k % 2:02d}" for k in range(n)]}
    for label in angles:
        low = 0 if label.endswith("Tilt") else -180
        columns[label] = [f"{x:.6f}" for x in rng.uniform(low, 180, n)]
    columns["rlnTomoParticleName"] = [f"TS_{1 + k % 2:02d}/{k // 2 + 1}" for k in range(n)]
    columns["rlnOpticsGroup"] = ["1"] * n
    columns["rlnImageName"] = [
        f"Extract/job5/{name}_stack2d.mrcs" for name in columns["rlnTomoParticleName"]
    ]
    for label in ORIGINS:
        columns[label] = [f"{x:.6f}" for x in rng.normal(0, 6, n)]
    for label in coordinates:
        columns[label] = [f"{x:.6f}" for x in rng.uniform(-900, 900, n)]
    columns["rlnTomoVisibleFrames"] = ["[1,1,0,1]"] * n
    columns["rlnRandomSubset"] = [str(1 + k % 2) for k in range(n)]
    return columns


def tomo_text(columns):
    return GENERAL + OPTICS + loop("particles", columns, comment="# version 50001\n\n") + "\n"


@pytest.fixture
def tomo(rng, tmp_path):
    """Write subtomograms; gives their columns."""

    def write(n=6, name="p.star", **options):
        columns = subtomograms(rng, n, **options)
        (tmp_path / name).write_text(tomo_text(columns))
        return columns

    return write


def matrices(columns, labels, rows):
    """exp(v) of angles, the identity where there are none."""
    if labels[0] not in columns:
        return [np.eye(3)] * rows
    return [naive.euler_zyz(*angles) for angles in floats(columns, *labels)]


def placed(columns, points_A, unbinned_A=UNBINNED_A):
    """Where each row puts the points, in A: (rows, points, 3)."""
    rows = len(columns["rlnTomoName"])
    centered = CENTERED[0] in columns
    places_A = floats(columns, *(CENTERED if centered else UNBINNED))
    places_A = places_A if centered else places_A * unbinned_A
    origins_A = floats(columns, *ORIGINS) if ORIGINS[0] in columns else np.zeros((rows, 3))
    sub, own = (matrices(columns, labels, rows) for labels in (SUB_ANGLES, ANGLES))
    return np.array(
        [
            naive.in_tomogram(places_A[k], sub[k].T, own[k], origins_A[k], points_A)
            for k in range(rows)
        ]
    )


def same_points(some, others, tolerance_A=3e-6):
    """Whether two sets of points are one set."""
    apart = np.linalg.norm(some[:, None] - others[None], axis=2)
    return apart.min(axis=0).max() < tolerance_A and apart.min(axis=1).max() < tolerance_A


def point_set(rng, matrices):
    """Two orbits of a group, within 40 A."""
    return np.array([R @ p for p in rng.uniform(-20, 20, (2, 3)) for R in matrices])


def assert_same_sets(columns, found, points_A):
    """Every copy of a particle puts the points where the particle has them."""
    order = len(found["rlnTomoName"]) // len(columns["rlnTomoName"])
    before, after = placed(columns, points_A), placed(found, points_A)
    for row, points in enumerate(after):
        assert same_points(points, before[row // order])
    # and they are not all the particle's own pose again
    turned = np.abs(after.reshape(len(before), order, *before.shape[1:]) - before[:, None])
    assert order == 1 or turned[:, 1:].max(axis=(2, 3)).min() > 0.1


def expand(go, tmp_path, *flags):
    go("expand", "p.star", "e.star", *flags, "--overwrite")
    return read_star((tmp_path / "e.star").read_text())


@pytest.mark.parametrize(
    "angles", [(*SUB_ANGLES, *ANGLES), ANGLES, SUB_ANGLES], ids=["both", "own", "cut"]
)
@pytest.mark.parametrize("group", GROUPS)
def test_mates_of_a_point_group_are_in_the_same_places(group, angles, tomo, rng, go, tmp_path):
    columns = tomo(angles=angles)
    found = expand(go, tmp_path, f"--symmetry={group}")
    assert_same_sets(columns, found, point_set(rng, naive.group(group, "relion")))
    for label in (*SUB_ANGLES, *CENTERED, "rlnTomoVisibleFrames", "rlnImageName"):
        if label in columns:
            order = len(found[label]) // len(columns[label])
            assert found[label] == [word for word in columns[label] for _ in range(order)]


@pytest.mark.parametrize("coordinates", [CENTERED, UNBINNED], ids=["centered", "unbinned"])
@pytest.mark.parametrize("helix", HELICES)
def test_units_of_a_helix_move_in_all_three_directions(helix, coordinates, tomo, rng, go, tmp_path):
    flags, group = HELICES[helix]
    columns = tomo(coordinates=coordinates)
    found = expand(go, tmp_path, *HELIX, *flags)
    motions = naive.helix(TWIST, RISE_A, ORDER, naive.group(group, "relion"))
    order = len(motions)
    own = matrices(columns, ANGLES, 6)
    new_own = matrices(found, ANGLES, 6 * order)
    point_A = rng.uniform(-20, 20, (1, 3))
    after = placed(found, point_A)[:, 0]
    for k in range(6):
        # row (i, g) shows at a point what the particle has at g(point)
        wanted = placed(
            {label: [words[k]] for label, words in columns.items()},
            [R @ point_A[0] + t for R, t in motions],
        )[0]
        assert same_points(after[k * order : (k + 1) * order], wanted)
        turned = [own[k].T @ R for R, _ in motions]
        for each in new_own[k * order : (k + 1) * order]:
            assert min(naive.angle_rad(each.T, A) for A in turned) < 1e-7
    assert found["rlnTomoParticleName"][::order] == columns["rlnTomoParticleName"]
    moved = floats(found, *ORIGINS).reshape(6, order, 3)
    assert np.abs(moved[:, 1:] - moved[:, :1]).max(axis=(0, 1)).min() > 1


@pytest.mark.parametrize("angles", [(*SUB_ANGLES, *ANGLES), SUB_ANGLES], ids=["both", "cut"])
def test_a_center_comes_to_the_middle_of_the_box(angles, tomo, go, tmp_path):
    columns = tomo(angles=angles)
    center_A = np.array([11.5, -20.25, 30.0])
    found = expand(go, tmp_path, "--symmetry=D3", "--center=11.5,-20.25,30")
    group = naive.group("D3", "relion")
    middles = placed(found, [np.zeros(3)])[:, 0].reshape(6, 6, 3)
    wanted = placed(columns, [R @ center_A for R in group])
    for some, others in zip(middles, wanted, strict=True):
        assert same_points(some, others)


def test_own_operators_move_in_all_three_directions(tomo, go, tmp_path):
    columns = tomo()
    R, t = naive.turn((1, 2, 3), 50), np.array([3.0, -4.0, 17.0])
    own = [np.eye(3, 4), np.column_stack([R, t])]
    (tmp_path / "own.txt").write_text(
        "\n".join(
            "\n".join(" ".join(map(repr, map(float, row))) for row in each) + "\n" for each in own
        )
    )
    found = expand(go, tmp_path, "--operators_file=own.txt")
    point_A = np.array([8.0, 1.0, -5.0])
    after = placed(found, [point_A])[:, 0]
    before = placed(columns, [point_A, R @ point_A + t])
    assert np.abs(after[0::2] - before[:, 0]).max() < 3e-6
    assert np.abs(after[1::2] - before[:, 1]).max() < 3e-6


def test_particles_over_each_other_have_ids_of_their_own(rng, go, tmp_path):
    """Without names, an id is made of the tomogram and the place in it, with its depth.

    So it does not depend on the order of the rows.
    """
    columns = subtomograms(rng, 6)
    for label in ("rlnTomoParticleName", "rlnImageName"):
        del columns[label]
    columns["rlnTomoName"] = ["TS_01"] * 6
    for label in CENTERED[:2]:
        columns[label] = ["10.0"] * 6
    ids = []
    for name, step in (("p", 1), ("q", -1)):
        rows = {label: words[::step] for label, words in columns.items()}
        (tmp_path / f"{name}.star").write_text(tomo_text(rows))
        go("import", f"{name}.star", f"{name}.h5")
        with h5py.File(tmp_path / f"{name}.h5") as file:
            ids.append(file["particles/uid"][:][::step].tolist())
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 6


def test_copies_have_names_of_their_own(tomo, go, tmp_path):
    columns = tomo()
    found = expand(go, tmp_path, "--symmetry=C12")
    names = found["rlnTomoParticleName"]
    assert len(set(names)) == len(names) == 72
    assert names[::12] == columns["rlnTomoParticleName"]
    assert names[:4] == ["TS_01/1", "TS_01/1_g01", "TS_01/1_g02", "TS_01/1_g03"]
    go("expand", "e.star", "again.star", "--symmetry=C2", "--again")
    twice = read_star((tmp_path / "again.star").read_text())["rlnTomoParticleName"]
    assert len(set(twice)) == len(twice) == 144
    part = expand(go, tmp_path, "--symmetry=C12", "--operators=3,11")["rlnTomoParticleName"]
    assert part[:2] == ["TS_01/1_g03", "TS_01/1_g11"]
    many = expand(go, tmp_path, "--symmetry=C128")["rlnTomoParticleName"]
    assert many[127] == "TS_01/1_g127"


def test_other_blocks_stay_word_for_word(tomo, go, tmp_path):
    tomo()
    expand(go, tmp_path, *HELIX)
    text = (tmp_path / "e.star").read_text()
    assert text.startswith(GENERAL + OPTICS)


def test_through_hdf5_the_bytes_are_the_same(tomo, go, tmp_path):
    tomo()
    flags = (*HELIX, "--symmetry=D2", "--center=1,2,3")
    expand(go, tmp_path, *flags)
    go("import", "p.star", "p.h5")
    for source in ("p.star", "p.h5"):
        go("expand", source, "e.h5", *flags, "--overwrite")
        go("verify", "e.h5")
        go("export", "e.h5", "other.star", "--overwrite")
        assert (tmp_path / "other.star").read_bytes() == (tmp_path / "e.star").read_bytes()
    with h5py.File(tmp_path / "e.h5") as file:
        assert file.attrs["format_version"] == 2
        assert file["particles/alignments3D/shift"].shape == (120, 3)


def test_verify_finds_a_z_that_is_off(tomo, go, command, tmp_path):
    tomo()
    go("expand", "p.star", "e.h5", *HELIX)
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file["particles/alignments3D/shift"][17, 2] += 1e-3
    done = command("verify", "e.h5")
    assert done.returncode == 1
    assert "row 17 is 0.001 px off" in done.stdout
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file["particles/alignments3D/shift"][17, 2] -= 1e-3
        file.attrs["format_version"] = 1
    assert "columns are those of format version 2" in command("verify", "e.h5").stdout


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_arrays_with_three_components(kind, rng):
    pose, shift = rng.normal(size=(9, 3)).astype(kind), rng.normal(0, 5, (9, 3)).astype(kind)
    psize_A = rng.uniform(1, 3, 9)
    moved = numba_symexp.helix(TWIST, RISE_A, 5, numba_symexp.point_group("D2", "relion"))
    poses, shifts = numba_symexp.expand_poses(pose, shift, moved, psize_A)
    motions = naive.helix(TWIST, RISE_A, 5, naive.group("D2", "relion"))
    assert shifts.dtype == kind
    for k in range(9):
        A = naive.exp(pose[k]).T
        wanted = [(A @ R, shift[k] - A @ t / psize_A[k]) for R, t in motions]
        for v, s in zip(poses[20 * k : 20 * k + 20], shifts[20 * k : 20 * k + 20], strict=True):
            off = [naive.angle_rad(naive.exp(v).T, a) + np.abs(s - b).max() for a, b in wanted]
            assert min(off) < (1e-4 if kind == np.float32 else 1e-9)
    _, still = numba_symexp.expand_poses(pose, shift, "C3")
    assert np.array_equal(still, np.repeat(shift, 3, axis=0))


def test_an_hdf5_table_of_subtomograms(rng, tmp_path, go, command):
    columns = random_columns(rng, 30, np.float64)
    columns["alignments3D/shift"] = rng.normal(0, 3, (30, 3))
    write_table(tmp_path / "p.h5", columns)
    go("expand", "p.h5", "e.h5", *HELIX)
    go("verify", "e.h5")
    assert re.search(r"its 5 copies are .*helix", go("match", "e.h5"))
    go("collapse", "e.h5", "c.h5")
    with h5py.File(tmp_path / "c.h5") as file:
        assert np.array_equal(
            file["particles/alignments3D/shift"][()], columns["alignments3D/shift"]
        )
    go("plot", "e.h5", "e.png")
    refused = command("export", "e.h5", "e.cs")
    assert (refused.returncode, "has no place" in refused.stderr) == (1, True)
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())
    with h5py.File(tmp_path / "e.h5") as file:
        shift = file["particles/alignments3D/shift"][()]
    psize_A = np.repeat(columns["alignments3D/psize_A"], 5)
    assert np.abs(floats(found, *ORIGINS) - shift * psize_A[:, None]).max() < 1e-6


def test_operators_are_told_by_the_copies(tomo, go, tmp_path):
    tomo(n=40)
    expand(go, tmp_path, *HELIX, "--symmetry=D2", "--convention=relion")
    shown = go("match", "e.star")
    assert "its 20 copies are" in shown
    assert "helix" in shown


def test_the_motion_between_copies_is_recovered_in_three_directions(tomo, command, tmp_path):
    tomo(n=60)
    R, t = naive.turn((1, 2, 3), 50), np.array([3.0, -4.0, 17.0])
    own = np.vstack([np.eye(3, 4), np.column_stack([R, t])])
    np.savetxt(tmp_path / "own.txt", own, fmt="%.17g")
    assert command("expand", "p.star", "e.star", "--operators_file=own.txt").returncode == 0
    found = json.loads(command("match", "e.star", "--json").stdout)["copies"][1]
    assert np.abs(np.array(found["translation_A"]) - t).max() < 1e-4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda c: c.pop("rlnTomoSubtomogramTilt"),
            "has _rlnTomoSubtomogramRot and no _rlnTomoSubtomogramTilt",
        ),
        (lambda c: c.pop("rlnAnglePsi"), "has _rlnAngleRot and no _rlnAnglePsi"),
        (
            lambda c: c["rlnTomoParticleName"].__setitem__(4, "TS_01/1"),
            "TS_01/1 stands in row 4 again",
        ),
        (lambda c: c["rlnTomoParticleName"].__setitem__(2, "'TS 1/1'"), "of row 2 has a quote"),
        (
            lambda c: c["rlnOriginZAngst"].__setitem__(3, "nan"),
            "_rlnOriginZAngst is 'nan' in row 3",
        ),
    ],
)
def test_bad_subtomograms_are_named(change, told, rng, command, tmp_path):
    columns = subtomograms(rng, 6)
    change(columns)
    (tmp_path / "p.star").write_text(tomo_text(columns))
    done = command("expand", "p.star", "e.star", *HELIX)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning")]
    assert (done.returncode, len(lines)) == (1, 1)
    assert lines[0].startswith("error: p.star: ")
    assert told in lines[0]
    assert not (tmp_path / "e.star").exists()


def test_a_defocus_does_not_move(tomo, command):
    tomo()
    done = command(
        "expand", "p.star", "e.star", "--symmetry=C2", "--center=0,0,5", "--defocus=minus"
    )
    assert (done.returncode, "--defocus is for images" in done.stderr) == (2, True)


@pytest.mark.slow
@needs("relion_star_handler")
def test_relion_centers_subtomograms_at_the_same_origins(rng, go, tmp_path):
    columns = subtomograms(rng, 20, angles=ANGLES)
    known = {label: words for label, words in columns.items() if "Tomo" not in label}
    optics = {
        **{"rlnOpticsGroup": ["1"], "rlnOpticsGroupName": ["opticsGroup1"]},
        **{"rlnVoltage": ["300"], "rlnSphericalAberration": ["2.7"]},
        **{"rlnAmplitudeContrast": ["0.1"], "rlnImagePixelSize": [str(PSIZE_A)]},
        **{"rlnImageSize": ["96"], "rlnImageDimensionality": ["3"]},
    }
    known = {label: words for label, words in known.items() if "Centered" not in label}
    (tmp_path / "p.star").write_text(
        loop("optics", optics) + "\n" + loop("particles", known) + "\n"
    )
    center_px = np.array([4, -7, 11])
    options = [f"--center_{axis}={x}" for axis, x in zip("XYZ", center_px, strict=True)]
    words = [word for option in options for word in option.split("=")]
    command = ["relion_star_handler", "--i", "p.star", "--o", "r.star", "--center", *words]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = floats(read_star((tmp_path / "r.star").read_text()), *ORIGINS)
    center_A = ",".join(repr(float(x)) for x in center_px * PSIZE_A)
    go("expand", "p.star", "e.star", "--symmetry=C1", f"--center={center_A}")
    ours = floats(read_star((tmp_path / "e.star").read_text()), *ORIGINS)
    assert np.abs(ours - theirs).max() < 2e-5
    assert np.abs(ours - floats(known, *ORIGINS)).max(axis=0).min() > 10


def thinned(text, step, together=1):
    """A particle file with some of its rows, so many together at every step."""
    count, kept = 0, []
    for line in text.splitlines():
        is_row = line.strip().startswith("TS_")
        if not is_row or count // together % step == 0:
            kept.append(line)
        count += is_row
    return "\n".join(kept) + "\n"


@pytest.mark.slow
def test_real_subtomograms_move_to_the_same_places(real_data, go, tmp_path):
    path = real_data / "cryocat" / "R5_tutorial_run_data.star"
    go("expand", path, "e.star", "--symmetry=C6", "--center=30,0,12")
    lines = (tmp_path / "e.star").read_text().splitlines()
    names = {line.split()[10] for line in lines if line.startswith("TS_")}
    assert len(names) == 6 * 9053
    few = read_star(thinned(path.read_text(), 97))
    copies = read_star(thinned("\n".join(lines), 97, 6))
    group = naive.group("C6")
    before = placed(few, [R @ np.array([30.0, 0, 12]) for R in group])
    after = placed(copies, [np.zeros(3)])[:, 0].reshape(len(before), 6, 3)
    for one, other in zip(before, after, strict=True):
        assert same_points(one, other)
