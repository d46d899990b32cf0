"""Expanded tables, and tables as they are, written as .cs and .star."""

import dataclasses
import hashlib
import os
import re

import h5py
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from star_files import ANGLES, ORIGINS_A, floats, loop, particles, read_star, star_text
from test_cs import save, structured

import numba_symexp

POSE, SHIFT = "alignments3D/pose", "alignments3D/shift"
PSIZE_A = np.array([1.5, 1.25] * 10)
TRACK = "rlnHelicalTrackLengthAngst"


@pytest.fixture
def columns(rng):
    return particles(rng, 12)


@pytest.fixture
def star(tmp_path, columns):
    """A .star of 12 particles in the folder where the program runs."""
    path = tmp_path / "p.star"
    path.write_text(star_text(columns))
    return path


def rotations(columns):
    return [naive.euler_zyz(*angles) for angles in floats(columns, *ANGLES)]


def assert_mates(found, columns, motions):
    """Rows are, in any order of mates, what the matrices say; each mate is found once."""
    order = len(motions)
    turned, moved = rotations(found), floats(found, *ORIGINS_A)
    for k, (exp_v, origin_A) in enumerate(
        zip(rotations(columns), floats(columns, *ORIGINS_A), strict=True)
    ):
        expected = naive.mates(exp_v, origin_A, motions, 1.0)
        rows = list(range(k * order, (k + 1) * order))
        for want, shift in expected:
            best = min(rows, key=lambda row: naive.angle_rad(turned[row], want))
            assert np.degrees(naive.angle_rad(turned[best], want)) < 2e-6
            np.testing.assert_allclose(moved[best], shift, atol=2e-6)
            rows.remove(best)


def point(elements):
    return [(element, np.zeros(3)) for element in elements]


@pytest.mark.parametrize("direct", [False, True], ids=["imported", "direct"])
def test_a_star_is_expanded_to_a_star(direct, star, columns, go, tmp_path):
    source = "p.star"
    if not direct:
        go("import", "p.star", "p.h5")
        source = "p.h5"
    assert "D3 (relion)" in go("expand", source, "e.h5", "--symmetry=D3")
    go("export", "e.h5", "e.star")
    text = (tmp_path / "e.star").read_text()
    found = read_star(text)
    assert_mates(found, columns, point(naive.group("D3", "relion")))
    for label in set(columns) - {*ANGLES, *ORIGINS_A}:
        assert found[label] == [word for word in columns[label] for _ in range(6)], label
    assert text.startswith(star_text(columns).partition("data_particles")[0])


def test_a_helix_moves_the_origins_in_each_groups_pixels(star, columns, go, tmp_path):
    go("import", "p.star", "p.h5")
    go("expand", "p.h5", "e.h5", "--twist=27.3", "--rise=4.75", "--order=4", "--symmetry=C2")
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())
    assert_mates(found, columns, naive.helix(27.3, 4.75, 4, naive.group("C2")))


def test_rows_that_stay_keep_their_words(star, columns, go, tmp_path):
    star.write_text(star_text(columns | {"rlnAngleRot": ["1e-3", "007.5", "-0"] * 4}))
    go("expand", "p.star", "e.h5", "--symmetry=C2")
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())
    assert found["rlnAngleRot"][::2] == ["1e-3", "007.5", "-0"] * 4
    assert not {"1e-3", "007.5"} & {*found["rlnAngleRot"][1::2]}


def test_a_changed_pose_is_written_and_not_the_old_words(star, columns, go, tmp_path):
    go("import", "p.star", "p.h5")
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        file["particles"][POSE][3] = [0.1, 0.2, 0.3]
        file["particles"][SHIFT][4] = [7, -8]
    go("export", "p.h5", "out.star")
    found = read_star((tmp_path / "out.star").read_text())
    assert naive.angle_rad(rotations(found)[3], naive.exp([0.1, 0.2, 0.3])) < 1e-7
    np.testing.assert_allclose(floats(found, *ORIGINS_A)[4], [7 * 1.5, -8 * 1.5], atol=1e-6)
    assert found["rlnAngleRot"][5] == columns["rlnAngleRot"][5].strip()


def test_a_changed_half_set_is_written_and_not_the_old_word(star, columns, go, tmp_path):
    go("import", "p.star", "p.h5")
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        file["particles/alignments3D/split"][:4] = [1, 1, 0, 0]
    go("expand", "p.h5", "e.h5", "--symmetry=C2")
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())["rlnRandomSubset"]
    assert found == [s for s in ["2", "2", "1", "1", *columns["rlnRandomSubset"][4:]] for _ in "ab"]


ODD = {
    "rlnOdd": ["001", "a#b", "'two words'", '"x"', "#", "''"] * 2,
    "rlnTiny": ["0.0000001", "1e-30", "nan", "<NA>", "None", "-"] * 2,
}


def test_unexpanded_files_come_back_byte_for_byte(columns, go, tmp_path):
    columns |= {k: [w if w != "#" else "'#'" for w in words] for k, words in ODD.items()}
    columns = {label: [word.strip() for word in words] for label, words in columns.items()}
    text = star_text(columns).replace("data_particles", "# mine\ndata_particles")
    text = text.rstrip() + "  \n\n\n# version 30001\n\ndata_more\n\n_rlnX 5 # five\n\n"
    tidy = text.replace("  \n\n", "\n\n")
    (tmp_path / "p.star").write_text(text)
    go("import", "p.star", "p.h5")
    for source in ("p.h5", "p.star"):
        go("export", source, "out.star", "--overwrite")
        assert (tmp_path / "out.star").read_text() == tidy


def test_comments_follow_their_rows(columns, go, tmp_path):
    lines = star_text(columns).splitlines()
    row = next(k for k, line in enumerate(lines) if line.startswith("000002@"))
    lines[row] += " # look again"
    (tmp_path / "p.star").write_text("\n".join(lines) + "\n")
    go("expand", "p.star", "e.h5", "--symmetry=C2")
    go("export", "e.h5", "e.star")
    commented = [line for line in (tmp_path / "e.star").read_text().splitlines() if "look" in line]
    assert len(commented) == 2
    assert all(line.startswith("000002@") for line in commented)
    assert all(line.endswith(" # look again") for line in commented)


def test_optics_come_before_the_particles(columns, go, tmp_path):
    optics, _, rest = star_text(columns).partition("\n# version 30001\n\ndata_particles")
    (tmp_path / "p.star").write_text("\ndata_particles" + rest + optics)
    go("import", "p.star", "p.h5")
    go("expand", "p.h5", "e.h5", "--symmetry=C2")
    go("export", "e.h5", "e.star")
    text = (tmp_path / "e.star").read_text()
    assert re.findall(r"data_\w+", text) == ["data_optics", "data_particles"]
    assert read_star(text, "optics")["rlnVoltage"] == ["300", "200"]


def test_relion_3_0_stays_in_pixels(columns, go, tmp_path):
    old = {label: words for label, words in columns.items() if "Optics" not in label}
    for label, new in zip(ORIGINS_A, ("rlnOriginX", "rlnOriginY"), strict=True):
        old[new] = old.pop(label)
    old |= {"rlnDetectorPixelSize": ["14"] * 12, "rlnMagnification": ["100000"] * 12}
    (tmp_path / "p.star").write_text(loop("", old, comment=""))
    go("expand", "p.star", "e.h5", "--twist=30", "--rise=7", "--order=3")
    go("export", "e.h5", "e.star")
    text = (tmp_path / "e.star").read_text()
    assert "optics" not in text
    found = read_star(text, "")
    for new, label in zip(("rlnOriginX", "rlnOriginY"), ORIGINS_A, strict=True):
        found[label] = [str(1.4 * float(word)) for word in found.pop(new)]
        old[label] = [str(1.4 * float(word)) for word in old[new]]
    assert_mates(found, old, naive.helix(30, 7, 3))


def test_labels_that_were_missing_are_added(columns, go, tmp_path):
    few = {k: v for k, v in columns.items() if "Origin" not in k and "Subset" not in k}
    (tmp_path / "p.star").write_text(star_text(few))
    helix = ("--twist=30", "--rise=7", "--order=3")
    go("expand", "p.star", "e.h5", *helix, "--assign_halves=3")
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())
    zeros = few | {label: ["0"] * 12 for label in ORIGINS_A}
    assert_mates(found, zeros, naive.helix(30, 7, 3))
    subsets = np.array(found["rlnRandomSubset"]).reshape(12, 3)
    assert (subsets == subsets[:, :1]).all()
    assert {*subsets[:, 0]} == {"1", "2"}


def test_origins_that_a_file_has_twice_agree(columns, go, tmp_path):
    columns |= {"rlnOriginX": ["99"] * 12, "rlnOriginY": ["99"] * 12}
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", "--twist=30", "--rise=7", "--order=3")
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())
    in_px = floats(found, "rlnOriginX", "rlnOriginY") * np.repeat(PSIZE_A[:12], 3)[:, None]
    moved = [k for k in range(36) if k % 3]  # rows that stay keep all their words
    np.testing.assert_allclose(in_px[moved], floats(found, *ORIGINS_A)[moved], atol=1e-5)


PRIORS = ("rlnAngleRotPrior", "rlnAngleTiltPrior", "rlnAnglePsiPrior")
ORIGIN_PRIORS = ("rlnOriginXPriorAngst", "rlnOriginYPriorAngst")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "motions"),
    [
        (("--symmetry=C3",), [(m, np.zeros(3)) for m in naive.group("C3", "relion")]),
        (("--symmetry=D3",), [(m, np.zeros(3)) for m in naive.group("D3", "relion")]),
        (("--symmetry=T",), [(m, np.zeros(3)) for m in naive.group("T", "relion")]),
        (("--twist=20", "--rise=5", "--order=3"), naive.helix(20, 5, 3)),
    ],
)
def test_priors_follow_their_copies(flags, motions, columns, rng, go, tmp_path):
    angles, origins = rng.uniform((-180, 0, -180), 180, (12, 3)), rng.normal(0, 9, (12, 2))
    columns |= {name: [f"{x:.3f}" for x in angles[:, k]] for k, name in enumerate(PRIORS)}
    columns |= {name: [f"{x:.3f}" for x in origins[:, k]] for k, name in enumerate(ORIGIN_PRIORS)}
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", *flags)
    assert "prior" not in go("export", "e.h5", "e.star").lower()
    found = read_star((tmp_path / "e.star").read_text())
    priors, moved, order = floats(found, *PRIORS), floats(found, *ORIGIN_PRIORS), len(motions)
    poses, shifts = floats(found, *ANGLES), floats(found, *ORIGINS_A)
    for row in range(12 * order):
        k = row // order
        own = naive.mates(  # of the row's own pose, which tells its operator
            naive.euler_zyz(*(float(columns[each][k]) for each in ANGLES)),
            [float(columns[each][k]) for each in ORIGINS_A],
            motions,
            1.0,
        )
        off = [np.abs(naive.euler_zyz(*poses[row]) - m).max() + np.abs(shifts[row] - s).max()
               for m, s in own]  # fmt: skip
        prior = naive.mates(naive.euler_zyz(*angles[k].round(3)), origins[k].round(3), motions, 1.0)
        matrix, shift = prior[int(np.argmin(off))]
        assert np.abs(naive.euler_zyz(*priors[row]) - matrix).max() < 1e-6
        assert np.abs(moved[row] - shift).max() < 1e-5
    assert found[PRIORS[1]][::order] == columns[PRIORS[1]]  # word for word


def test_priors_of_a_dyad_without_a_rot_prior(columns, go, tmp_path):
    columns |= {PRIORS[1]: ["90.0"] * 12, PRIORS[2]: ["45.0"] * 12}
    (tmp_path / "p.star").write_text(star_text(columns))
    go("expand", "p.star", "e.h5", "--twist=27.3", "--rise=4.7", "--order=2", "--symmetry=D1")
    go("export", "e.h5", "e.star", "--keep_track_length")
    found = floats(read_star((tmp_path / "e.star").read_text()), *PRIORS[1:])
    assert np.allclose(np.sort(found[:4], axis=0), [[90, -135], [90, -135], [90, 45], [90, 45]])


def tracks(columns, places):
    """The same particles as segments of tubes."""
    return columns | {
        "rlnMicrographName": ["m.mrc"] * 12,
        "rlnHelicalTubeID": ["1"] * 6 + ["2"] * 6,
        TRACK: places,
    }


def test_places_on_a_track_are_told_apart(columns, go, tmp_path):
    places = [f"{28.5 * k:.6f}" for k in range(6)] * 2
    (tmp_path / "p.star").write_text(star_text(tracks(columns, places)))
    go("expand", "p.star", "e.h5", "--twist=30", "--rise=7", "--order=3")
    go("export", "e.h5", "e.star")
    found = floats(read_star((tmp_path / "e.star").read_text()), TRACK)[:, 0].reshape(12, 3)
    np.testing.assert_allclose(found, [[float(p) + 0.001 * g for g in range(3)] for p in places])
    for tube in (found[:6], found[6:]):
        assert np.diff(np.sort(tube.ravel())).min() > 1e-5
    go("export", "e.h5", "kept.star", "--keep_track_length")
    kept = read_star((tmp_path / "kept.star").read_text())[TRACK]
    assert kept == [place for place in places for _ in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "places",
    [
        ["5"] * 12,
        [f"{0.002 * k:.6f}" for k in range(6)] * 2,
        ["0.0", "0.0019999"] * 6,
        ["0", "28", "57", "0.001", "86", "114"] * 2,
    ],
)
def test_places_that_cannot_be_told_apart_are_refused(places, columns, command, go, tmp_path):
    (tmp_path / "p.star").write_text(star_text(tracks(columns, places)))
    go("expand", "p.star", "e.h5", "--symmetry=C3")
    done = command("export", "e.h5", "e.star")
    assert done.returncode == 1
    assert re.search(r"rows \d+ and \d+ of one tube .*--keep_track_length", done.stderr)
    assert not (tmp_path / "e.star").exists()
    go("export", "e.h5", "e.star", "--keep_track_length")


def test_tubes_of_two_micrographs_do_not_mix(columns, go, tmp_path):
    both = tracks(columns, [f"{28.5 * (k // 2):.6f}" for k in range(12)])
    both["rlnHelicalTubeID"] = ["1"] * 12
    both["rlnMicrographName"] = ["a.mrc", "b.mrc"] * 6
    (tmp_path / "p.star").write_text(star_text(both))
    go("expand", "p.star", "e.h5", "--symmetry=C3")
    go("export", "e.h5", "e.star")


@pytest.fixture
def cs_rows(rng):
    columns = random_columns(rng, 20)
    columns["blob/idx"] = np.arange(20, dtype=np.uint32)
    columns["blob/path"] = np.array([f">J{k % 3}/s.mrc".encode() for k in range(20)])
    columns["blob/psize_A"] = np.full(20, 0.75, np.float32)
    columns["blob/shape"] = np.full((20, 2), 64, np.uint32)
    columns["ctf/accel_kv"] = np.where(np.arange(20) < 5, 200, 300).astype(np.float32)
    columns["ctf/cs_mm"] = np.full(20, 2.7, np.float32)
    columns["ctf/df_angle_rad"] = rng.uniform(-3, 3, 20).astype(np.float32)
    columns["ctf/tilt_A"] = np.ones((20, 2), np.float32)
    columns["location/micrograph_path"] = np.array([b">J1/m.mrc"] * 20)
    columns["location/micrograph_shape"] = np.full((20, 2), (3000, 4000), np.uint32)
    columns["location/center_x_frac"] = np.linspace(0, 1, 20, dtype=np.float32)
    columns["location/center_y_frac"] = np.linspace(0.25, 0.75, 20, dtype=np.float32)
    return structured(columns)


def expanded_cs(tmp_path, go, rows, *flags):
    """Import, expand and export a dataset; gives the rows of the new one."""
    save(tmp_path / "p.cs", rows)
    go("import", "p.cs", "p.h5")
    go("expand", "p.h5", "e.h5", *flags)
    go("export", "e.h5", "e.cs")
    return np.load(tmp_path / "e.cs")


def test_a_dataset_is_expanded_to_a_dataset(cs_rows, go, tmp_path):
    found = expanded_cs(tmp_path, go, cs_rows, "--symmetry=D3")
    motions = point(naive.group("D3", "cryosparc"))
    assert len(found) == 120
    for name in set(cs_rows.dtype.names) - {"uid", POSE, SHIFT}:
        assert found.dtype[name] == cs_rows.dtype[name]
        assert (found[name] == np.repeat(cs_rows[name], 6, axis=0)).all(), name
    assert len(np.unique(found["uid"])) == 120
    assert (found["uid"][::6] == cs_rows["uid"]).all()
    assert (found["sym_expand/src_uid"] == np.repeat(cs_rows["uid"], 6)).all()
    assert (found["sym_expand/idx"] == np.tile(np.arange(6), 20)).all()
    assert {*found["sym_expand/symmetry"]} == {b"D3"}
    for name in ("is_helix", "helix_twist_rad", "helix_rise_A", "helix_num_rises"):
        assert not found[f"sym_expand/{name}"].any()
    for k in range(20):
        wanted = naive.mates(naive.exp(cs_rows[POSE][k]), cs_rows[SHIFT][k], motions, 1.0)
        left = [naive.exp(v) for v in found[POSE][6 * k : 6 * k + 6]]
        for want, _ in wanted:
            nearest = min(range(len(left)), key=lambda i: naive.angle_rad(left[i], want))
            assert naive.angle_rad(left.pop(nearest), want) < 1e-6
    assert (found[SHIFT] == np.repeat(cs_rows[SHIFT], 6, axis=0)).all()


@pytest.mark.filterwarnings("ignore:Stored array in format")
@pytest.mark.parametrize(
    "names",
    [["own/µ"], ["own/٣"], [f"own/{k}" * 100 for k in range(200)], ["own/" + "粒" * 5000] * 5],
    ids=["version 1", "version 3", "version 2", "version 3, long"],
)
def test_names_of_fields_may_be_of_any_letters(names, cs_rows, go, tmp_path):
    """NumPy has a version of its header for letters beyond Latin 1, another beyond 64 KiB."""
    names = [name + "x" * k for k, name in enumerate(names)]
    columns = {name: cs_rows[name] for name in cs_rows.dtype.names}
    save(tmp_path / "p.cs", structured(columns | dict.fromkeys(names, np.arange(20))))
    go("expand", "p.cs", "e.h5", "--symmetry=C2")
    for words in (
        ("export", "e.h5", "o.cs"),
        ("expand", "p.cs", "o.cs", "--symmetry=C2"),
        ("export", "p.cs", "o.cs"),
        ("collapse", "e.h5", "o.cs"),
    ):
        go(*words)
        found = np.load(tmp_path / "o.cs", max_header_size=1 << 20)
        for name in names:
            assert (found[name] == np.repeat(np.arange(20), len(found) // 20)).all()
        go("inspect", "o.cs")
        for suffix in ("cs", "csg"):
            (tmp_path / f"o.{suffix}").unlink()


def test_a_helix_is_told_in_its_own_fields(cs_rows, go, tmp_path):
    flags = ("--twist=-166.7", "--rise=27.3", "--order=5", "--symmetry=C2")
    found = expanded_cs(tmp_path, go, cs_rows, *flags)
    assert {*found["sym_expand/symmetry"]} == {b"C2"}
    assert {*found["sym_expand/is_helix"]} == {1}
    assert {*found["sym_expand/helix_num_rises"]} == {5}
    np.testing.assert_allclose(found["sym_expand/helix_twist_rad"], np.radians(-166.7), rtol=1e-6)
    np.testing.assert_allclose(found["sym_expand/helix_rise_A"], 27.3, rtol=1e-6)


def test_a_result_group_stands_beside_a_dataset(cs_rows, go, tmp_path):
    expanded_cs(tmp_path, go, cs_rows, "--symmetry=C2")
    text = (tmp_path / "e.csg").read_text()
    slots = re.findall(
        r"^  (\w+):\n    metafile: '>e\.cs'\n    num_items: 40\n    type: particle\.(\w+)$",
        text,
        re.MULTILINE,
    )
    names = ["alignments3D", "blob", "ctf", "location", "sym_expand"]
    assert slots == [(name, name) for name in names]
    assert re.match(r"created: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\ngroup:\n", text)


def test_the_group_is_built_as_real_ones_are(real_data, go, tmp_path):
    folder = real_data / "cryopicls"
    cs = folder / "cryosparc_P2_J744_005_particles.cs"
    passed = folder / "P2_J744_passthrough_particles.cs"
    go("import", cs, passed, "p.h5")
    go("export", "p.h5", "out.cs")
    real = (folder / "P2_J744_particles.csg").read_text()
    digest = hashlib.sha256((tmp_path / "out.cs").read_bytes()).hexdigest()
    ours, _, comment = (tmp_path / "out.csg").read_text().partition("# ")
    assert comment == f"belongs to the dataset with SHA-256 {digest}, 5908 rows\n"
    varying = r"(?m)^created: .*|metafile: .*|^  description: .*"
    assert re.sub(varying, "", ours) == re.sub(varying, "", real)
    out = np.load(tmp_path / "out.cs")
    rows, others = np.load(cs), np.load(passed)
    others = others[np.argsort(others["uid"])]
    others = others[np.searchsorted(others["uid"], rows["uid"])]
    for part in (rows, others):
        for name in part.dtype.names:
            assert out.dtype[name] == part.dtype[name]
            assert (out[name] == part[name]).all(), name


def test_a_dataset_becomes_a_star(cs_rows, go, command, tmp_path):
    save(tmp_path / "p.cs", cs_rows)
    go("expand", "p.cs", "e.h5", "--symmetry=C2")
    done = command("export", "e.h5", "e.star")
    said = done.stdout
    assert re.search(r"left out, .*: .*ctf/tilt_A", done.stderr)
    assert "link or rename J0/s.mrc and the like" in said
    text = (tmp_path / "e.star").read_text()
    found, optics = read_star(text), read_star(text, "optics")
    assert optics["rlnOpticsGroup"] == ["1", "2"]
    np.testing.assert_allclose(floats(optics, "rlnVoltage")[:, 0], [200, 300])
    assert [float(word) for word in optics["rlnImagePixelSize"]] == [0.75, 0.75]
    assert found["rlnOpticsGroup"] == ["1"] * 10 + ["2"] * 30
    assert found["rlnImageName"][:4] == ["000001@J0/s.mrcs"] * 2 + ["000002@J1/s.mrcs"] * 2
    assert {*found["rlnMicrographName"]} == {"J1/m.mrc"}
    place = floats(found, "rlnCoordinateX", "rlnCoordinateY")[::2]
    np.testing.assert_allclose(place[:, 0], 4000 * cs_rows["location/center_x_frac"], rtol=1e-6)
    np.testing.assert_allclose(
        place[:, 1], 3000 * (1 - cs_rows["location/center_y_frac"]), rtol=1e-6
    )
    angle = floats(found, "rlnDefocusAngle")[::2, 0]
    np.testing.assert_allclose(angle, np.degrees(cs_rows["ctf/df_angle_rad"]), atol=1e-5)
    assert [int(word) - 1 for word in found["rlnRandomSubset"][::2]] == cs_rows[
        "alignments3D/split"
    ].tolist()
    shift_A = cs_rows[SHIFT] * cs_rows["alignments3D/psize_A"][:, None]
    np.testing.assert_allclose(floats(found, *ORIGINS_A)[::2], shift_A, atol=2e-6)
    for k, matrix in enumerate(rotations(found)[::2]):
        assert np.degrees(naive.angle_rad(matrix, naive.exp(cs_rows[POSE][k]))) < 2e-5


def test_a_star_becomes_a_dataset(star, columns, go, tmp_path):
    go("expand", "p.star", "e.h5", "--symmetry=C2")
    said = go("export", "e.h5", "e.cs")
    assert "dropped" not in said
    found = np.load(tmp_path / "e.cs")
    number, path = zip(*(name.split("@") for name in columns["rlnImageName"]), strict=True)
    assert found["blob/idx"][::2].tolist() == [int(word) - 1 for word in number]
    assert [word.decode() for word in found["blob/path"][::2]] == list(path)
    psize = PSIZE_A[:12]
    np.testing.assert_allclose(found["alignments3D/psize_A"][::2], psize)
    np.testing.assert_allclose(found["blob/psize_A"][::2], psize)
    np.testing.assert_allclose(
        found[SHIFT][::2] * psize[:, None], floats(columns, *ORIGINS_A), atol=1e-5
    )
    assert found["ctf/accel_kv"][:4].tolist() == [300, 300, 200, 200]
    assert found["ctf/cs_mm"][:4].tolist() == np.float32([2.7, 2.7, 0.01, 0.01]).tolist()
    assert found["alignments3D/split"][::2].tolist() == [
        int(word) - 1 for word in columns["rlnRandomSubset"]
    ]
    assert (found["uid"][::2] == found["sym_expand/src_uid"][::2]).all()
    assert len(np.unique(found["uid"])) == 24
    assert not np.isin(found["uid"][1::2], found["sym_expand/src_uid"]).any()
    for vector, matrix in zip(found[POSE][::2], rotations(columns), strict=True):
        assert np.degrees(naive.angle_rad(naive.exp(vector), matrix)) < 2e-5


def test_labels_without_a_field_are_named(columns, go, tmp_path):
    (tmp_path / "p.star").write_text(star_text(tracks(columns, ["5"] * 12)))
    said = go("export", "p.star", "out.cs")
    assert f"dropped, because the output has no place for them: rlnMicrographName, {TRACK}" in said


@pytest.mark.slow
@pytest.mark.parametrize("names", [("p", "s"), (POSE, SHIFT)])
@pytest.mark.parametrize("pose_format", ["quaternion", "matrix", "euler_zyz"])
def test_poses_of_other_forms_are_exported(pose_format, names, go, tmp_path, rng, columns):
    angles = floats(columns, *ANGLES)
    matrices = [naive.euler_zyz(*each) for each in angles]
    poses = {"euler_zyz": angles, "matrix": np.array(matrices)}
    halves = np.radians(angles) / 2
    c, s = np.cos(halves).T, np.sin(halves).T
    plus, minus = halves[:, 0] + halves[:, 2], halves[:, 0] - halves[:, 2]
    poses["quaternion"] = np.stack(
        [c[1] * np.cos(plus), -s[1] * np.sin(minus), s[1] * np.cos(minus), c[1] * np.sin(plus)], 1
    )
    pose, shift = names
    table = {pose: poses[pose_format], shift: np.zeros((12, 2))}
    write_table(tmp_path / "p.h5", {**table, "alignments3D/psize_A": np.ones(12)})
    go("expand", "p.h5", "e.h5", "--symmetry=C3", f"--pose={pose}", f"--shift={shift}",
       f"--pose_format={pose_format}")  # fmt: skip
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())
    for one, other in zip(rotations(found)[::3], matrices, strict=True):
        assert np.degrees(naive.angle_rad(one, other)) < 2e-6
    go("export", "e.h5", "e.cs")
    rows = np.load(tmp_path / "e.cs")
    assert "p" not in rows.dtype.names
    assert len(np.unique(rows["uid"])) == 36
    assert (rows["uid"][::3] == rows["sym_expand/src_uid"][::3]).all()
    for vector, other in zip(rows[POSE][::3], matrices, strict=True):
        assert np.degrees(naive.angle_rad(naive.exp(vector), other)) < 2e-5


def test_numbers_that_a_field_cannot_hold_are_refused(star, columns, go, command, tmp_path):
    """A .star may say 1e300, and CryoSPARC's fields are float32."""
    columns["rlnDefocusU"][3] = "1e300"
    (tmp_path / "p.star").write_text(star_text(columns))
    done = command("export", "p.star", "p.cs")
    assert done.returncode == 1
    assert "a number of ctf/df1_A is NaN, or too large for float32" in done.stderr
    assert not (tmp_path / "p.cs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "say"),
    [
        (("export", "e.h5"), 2, "needs OUTPUT"),
        (("export", "e.h5", "out.txt"), 2, "ends in neither .cs nor .star"),
        (("export", "e.h5", "p.star"), 1, "exists"),
        (("export", "e.h5", "p.star", "--overwrite"), 1, "is the source itself"),
        (("export", "p.star", "p.star", "--overwrite"), 1, "is the source itself"),
        (("export", "e.h5", "old.star"), 1, "exists"),
        (("export", "e.h5", "old.star", "--overwrite"), 0, ""),
        (("export", "e.h5", "old.cs"), 1, "old.csg: exists"),
        (("export", "none.h5", "out.star"), 1, "no such file"),
        (("export", "e.h5", "no/out.star"), 1, "does not exist"),
    ],
)
def test_export_by_the_words(words, code, say, star, go, command, tmp_path):
    go("expand", "p.star", "e.h5", "--symmetry=C2")
    (tmp_path / "old.star").write_text("data_old")
    (tmp_path / "old.csg").write_text("created: then")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = command(*words)
    assert done.returncode == code, done.stderr
    assert say in done.stderr
    if code:
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_export_needs_the_source(star, go, command, tmp_path):
    go("expand", "p.star", "e.h5", "--symmetry=C2")
    star.write_text(star.read_text().replace("000001@", "000009@"))
    done = command("export", "e.h5", "same_poses.star")
    assert done.returncode == 1
    assert "rlnImageName has other values" in done.stderr
    star.write_text(star_text(particles(np.random.default_rng(1), 12)))
    done = command("export", "e.h5", "out.star")
    assert done.returncode == 1
    assert "is not what it was" in done.stderr
    star.unlink()
    done = command("export", "e.h5", "out.star")
    assert done.returncode == 1
    assert "is gone" in done.stderr


def test_a_pixel_size_that_contradicts_the_file_is_refused(star, go, command):
    go("expand", "p.star", "e.h5", "--twist=30", "--rise=5", "--order=3", "--psize=2")
    done = command("export", "e.h5", "e.star")
    assert done.returncode == 1
    assert "expand again without" in done.stderr


def test_relion_needs_what_a_bare_table_lacks(go, tmp_path, rng):
    columns = random_columns(rng, 5)
    del columns["blob/path"]
    write_table(tmp_path / "p.h5", columns)
    said = go("export", "p.h5", "p.star")
    assert "nothing to make rlnImageName, rlnVoltage, rlnSphericalAberration" in said
    assert "rlnImageSize of, which RELION needs" in said


def test_a_full_disk_leaves_nothing(star, go, tmp_path, monkeypatch, capsys):
    from inside import main

    go("expand", "p.star", "e.h5", "--symmetry=C2")
    before = sorted(os.listdir(tmp_path))

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    for name in ("out.star", "out.cs"):
        assert main(["export", str(tmp_path / "e.h5"), str(tmp_path / name)]) == 1
        assert "free some space" in capsys.readouterr().err
    assert main(["import", str(star), str(tmp_path / "out.h5")]) == 1
    assert "free some space" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == before


def test_the_python_side(star, tmp_path):
    made = numba_symexp.import_particles([str(star)], str(tmp_path / "p.h5"))
    assert (made.particles, made.convention) == (12, "relion")
    seen = []
    made = numba_symexp.export_particles(
        str(tmp_path / "p.h5"), str(tmp_path / "o.cs"), progress=lambda *rows: seen.append(rows)
    )
    assert [os.path.basename(path) for path in made.files] == ["o.cs", "o.csg"]
    assert seen[-1] == (12, 12)


def test_verbs_take_paths_and_give_dataclasses(star, tmp_path):
    made = numba_symexp.write_example(tmp_path / "x.h5")
    assert made == numba_symexp.ExampleReport(str(tmp_path / "x.h5"), 1000, ())
    made = numba_symexp.import_particles([star], tmp_path / "p.h5")
    assert made.source == (str(star),)
    made = numba_symexp.export_particles(tmp_path / "p.h5", tmp_path / "o.star")
    assert made.files == (str(tmp_path / "o.star"),)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.rows = 0
