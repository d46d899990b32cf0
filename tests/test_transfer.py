"""Poses from one set to another: shifts in A stay, and points fall where the images show them."""

import json
import math

import h5py
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from particle_files import structured
from star_files import ANGLES, ORIGINS_A, floats, loop, particles, read_star, star_text

import numba_symexp

POSE, SHIFT, PSIZE, SPLIT = (
    f"alignments3D/{name}" for name in ("pose", "shift", "psize_A", "split")
)
F4 = np.float32


def save(path, columns):
    """Write columns as a .cs file; return the path."""
    with open(path, "wb") as file:
        np.save(file, structured(columns))
    return path


def read_h5(path):
    """All columns of an HDF5 table."""
    found = {}
    with h5py.File(path) as file:
        file["particles"].visititems(
            lambda name, each: found.update({name: each[:]}) if hasattr(each, "dtype") else None
        )
    return found


def cs_rows(rng, n, psize_A, stack):
    """Columns of a .cs: pixels of shifts that are not those of the images."""
    columns = random_columns(rng, n)
    columns[PSIZE] = np.full(n, psize_A, F4)
    columns["blob/path"] = np.array([f">J1/{stack}_{k % 3}.mrc" for k in range(n)], "S24")
    columns["blob/idx"] = np.arange(n, dtype=np.uint32) // 3
    columns["blob/shape"] = np.full((n, 2), 128, np.uint32)
    columns["blob/psize_A"] = np.full(n, 0.5 * psize_A, F4)
    return columns


def shuffled(rng, columns, n):
    """Some rows in another order."""
    order = rng.permutation(len(columns["uid"]))[:n]
    return {name: values[order] for name, values in columns.items()}


@pytest.fixture
def pair(rng, tmp_path):
    """A down-sampled set that was refined, 2.5 times as coarse, and the full-size images."""
    full = cs_rows(rng, 30, 1.06, "full")
    small = cs_rows(rng, 30, 2.65, "small")
    small["uid"] = full["uid"]
    small = shuffled(rng, small, 24)
    save(tmp_path / "small.cs", small)
    save(tmp_path / "full.cs", full)
    return small, full


def partner(small, value, name="uid"):
    """The row of a set that has an id; None where none has."""
    for k, other in enumerate(small[name]):
        if other == value:
            return k
    return None


def assert_transferred(small, full, made):
    """Rows of ``full`` in their order, with pose, half-set and the shift in A of ``small``."""
    kept = [k for k in range(len(full["uid"])) if partner(small, full["uid"][k]) is not None]
    assert made["uid"].tolist() == [full["uid"][k] for k in kept]
    for row, k in enumerate(kept):
        j = partner(small, full["uid"][k])
        assert (made[POSE][row] == small[POSE][j]).all()
        assert made[SPLIT][row] == small[SPLIT][j]
        assert made[PSIZE][row] == full[PSIZE][k]
        shift_A = small[SHIFT][j].astype(float) * float(small[PSIZE][j])
        assert np.abs(made[SHIFT][row] * float(full[PSIZE][k]) - shift_A).max() < 1e-5
        for name in full.keys() - {POSE, SHIFT, SPLIT}:
            assert np.array_equal(made[name][row], full[name][k]), name
    return kept


def test_a_down_sampled_set_goes_back_to_its_full_size_images(go, pair, tmp_path):
    told = json.loads(go("transfer", "small.cs", "full.cs", "out.cs", "--json"))
    made = np.load(tmp_path / "out.cs")
    kept = assert_transferred(*pair, made)
    assert (told["rows"], told["of"], told["unused"]) == (len(kept), 30, 0)
    assert len(kept) == 24
    assert told["joined_on"] == "uid"
    assert told["recentered"] == 0
    assert (tmp_path / "out.csg").exists()
    go("transfer", "small.cs", "full.cs", "out.h5")
    assert_transferred(*pair, read_h5(tmp_path / "out.h5"))
    shown = go("transfer", "small.cs", "full.cs", "again.cs")
    assert "left out: 6 rows of full.cs, which have no partner\n" in shown


def test_the_same_set_as_a_star(go, pair, tmp_path):
    small, full = pair
    go("transfer", "small.cs", "full.cs", "out.star")
    made = read_star((tmp_path / "out.star").read_text())
    kept = [k for k in range(30) if partner(small, full["uid"][k]) is not None]
    origins, angles = floats(made, *ORIGINS_A), floats(made, *ANGLES)
    assert len(origins) == len(kept)
    for row, k in enumerate(kept):
        j = partner(small, full["uid"][k])
        assert np.abs(origins[row] - small[SHIFT][j] * float(small[PSIZE][j])).max() < 2e-6
        turned = naive.euler_zyz(*angles[row])
        assert naive.angle_rad(turned, naive.exp(small[POSE][j])) < 1e-6
        assert int(made["rlnRandomSubset"][row]) == small[SPLIT][j] + 1
        stack = f"{full['blob/idx'][k] + 1:06d}@J1/full_{k % 3}.mrcs"
        assert made["rlnImageName"][row] == stack


def test_points_fall_where_the_refined_images_show_them(go, pair, rng, tmp_path):
    small, _ = pair
    go("transfer", "small.cs", "full.cs", "out.h5")
    made, points = read_h5(tmp_path / "out.h5"), rng.normal(0, 50, (4, 3))
    for row, uid in enumerate(made["uid"]):
        j = partner(small, uid)
        fine = naive.project(naive.exp(made[POSE][row]), made[SHIFT][row], points, 1.06)
        coarse = naive.project(naive.exp(small[POSE][j]), small[SHIFT][j], points, 2.65)
        assert np.abs(fine - 2.5 * coarse).max() < 1e-4


def test_the_pixel_size_of_images_counts_only_where_it_is_the_only_one(go, pair, tmp_path):
    small, full = pair
    del full[PSIZE]
    save(tmp_path / "lone.cs", full)
    go("transfer", "small.cs", "lone.cs", "out.cs")
    made = np.load(tmp_path / "out.cs")
    for row in made:
        j = partner(small, row["uid"])
        shift_A = small[SHIFT][j] * float(small[PSIZE][j])
        assert np.abs(row[SHIFT] * 0.53 - shift_A).max() < 1e-4


def test_images_that_never_had_a_pose_get_the_whole_slot(go, pair, tmp_path):
    small, full = pair
    small["alignments3D/class_posterior"] = np.linspace(0, 1, 24, dtype=F4)
    save(tmp_path / "small.cs", small)
    bare = {n: each for n, each in full.items() if not n.startswith("alignments3D")}
    save(tmp_path / "bare.cs", bare)
    go("transfer", "small.cs", "bare.cs", "out.cs")
    made = np.load(tmp_path / "out.cs")
    assert len(made) == 24
    for row in made:
        j = partner(small, row["uid"])
        assert row[PSIZE] == row["blob/psize_A"] == F4(0.53)
        assert np.abs(row[SHIFT] * 0.53 - small[SHIFT][j] * 2.65).max() < 1e-4
        assert (row[POSE] == small[POSE][j]).all()
        assert row["alignments3D/class_posterior"] == small["alignments3D/class_posterior"][j]


def expanded_pair(rng):
    """Copies of 10 particles by 4, whose ids another program drew anew."""
    full, small = cs_rows(rng, 40, 1.0, "full"), cs_rows(rng, 40, 3.0, "small")
    for columns in (full, small):
        columns["sym_expand/src_uid"] = np.arange(40, dtype=np.uint64) // 4 * 2**60 + 11
        columns["sym_expand/idx"] = np.arange(40, dtype=np.uint32) % 4
        columns["uid"] = rng.integers(1, 2**63, 40).astype(np.uint64)
    return shuffled(rng, small, 33), shuffled(rng, full, 37)


def test_copies_are_joined_on_particle_and_number_whatever_their_ids(go, rng, tmp_path):
    small, full = expanded_pair(rng)
    small["uid"][:5] = full["uid"][5:10]  # ids by chance the same
    save(tmp_path / "small.cs", small)
    save(tmp_path / "full.cs", full)
    told = json.loads(go("transfer", "small.cs", "full.cs", "out.cs", "--json"))
    made, row = np.load(tmp_path / "out.cs"), 0
    for k in range(37):
        for j in range(33):
            names = ("sym_expand/src_uid", "sym_expand/idx")
            if all(full[name][k] == small[name][j] for name in names):
                assert made["uid"][row] == full["uid"][k]
                assert (made[POSE][row] == small[POSE][j]).all()
                assert np.abs(made[SHIFT][row] - 3 * small[SHIFT][j]).max() < 1e-5
                row += 1
    assert row == len(made) == told["rows"]
    assert told["unused"] == 33 - row > 0
    assert f"{told['unused']} row(s) of small.cs have no partner in full.cs" in told["notes"][0]


def subtracted_columns(rng, full):
    """Particles of other images of the same boxes, in another order, refined a little further."""
    n = len(full["rlnImageName"])
    order = rng.permutation(n)
    columns = particles(rng, n)
    columns["rlnImageOriginalName"] = [full["rlnImageName"][k] for k in order]
    columns["rlnImageName"] = [f"{k + 1:06d}@Subtract/job007/s.mrcs" for k in range(n)]
    return columns, order


def test_star_files_are_joined_on_the_original_image_and_origins_stay_in_angstrom(
    go, rng, tmp_path
):
    full = particles(rng, 14)
    small, order = subtracted_columns(rng, full)
    (tmp_path / "full.star").write_text(star_text(full))
    optics = OPTICS_OF.format(size=2.5, box=64, name="g")
    small["rlnOpticsGroup"] = ["1"] * 14
    (tmp_path / "small.star").write_text(star_text(small, optics))
    told = json.loads(
        go("transfer", "small.star", "full.star", "o.star", "--same_center", "--json")
    )
    assert told["joined_on"] == "rlnImageOriginalName = rlnImageName"
    made = read_star((tmp_path / "o.star").read_text())
    for row, k in enumerate(order):
        for label in (*ORIGINS_A, *ANGLES):
            assert abs(float(made[label][k]) - float(small[label][row])) < 2e-6, label
        assert made["rlnRandomSubset"][k] == small["rlnRandomSubset"][row]
    for label in ("rlnImageName", "rlnOpticsGroup", "rlnDefocusU", "rlnDefocusV"):
        assert made[label] == full[label]
    assert list(made) == list(full)


OPTICS_OF = (
    "\n# version 30001\n\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n"
    "_rlnVoltage #3\n_rlnSphericalAberration #4\n_rlnImageSize #5\n_rlnOpticsGroupName #6\n"
    "1 {size:.6f} 300 2.7 {box} {name}\n2 {size:.6f} 300 2.7 {box} {name}2\n\n\n"
)


def test_origins_in_pixels_are_pixels_of_each_file(go, rng, tmp_path):
    full = particles(rng, 9)
    small, order = subtracted_columns(rng, full)
    for columns, size in ((full, 1.25), (small, 5.0)):
        for new, old in zip(("rlnOriginX", "rlnOriginY"), ORIGINS_A, strict=True):
            columns[new] = columns.pop(old)
        del columns["rlnOpticsGroup"]
        columns["rlnDetectorPixelSize"] = [f"{size:.6f}"] * 9
        columns["rlnMagnification"] = ["10000.000000"] * 9
    for name, columns in (("full", full), ("small", small)):
        (tmp_path / f"{name}.star").write_text(loop("", columns, ""))
    go("transfer", "small.star", "full.star", "o.star", "--same_center")
    made = read_star((tmp_path / "o.star").read_text(), "")
    for row, k in enumerate(order):
        for label in ("rlnOriginX", "rlnOriginY"):
            assert abs(float(made[label][k]) - 4 * float(small[label][row])) < 2e-6


@pytest.mark.parametrize("suffix", ["star", "cs", "h5"])
def test_our_own_labels_join_copies_with_new_images(go, rng, tmp_path, suffix):
    (tmp_path / "p.star").write_text(star_text(particles(rng, 6)))
    go("expand", "p.star", "e.star", "--symmetry=C3")
    text = (tmp_path / "e.star").read_text()
    full = read_star(text)
    small = {label: list(words) for label, words in full.items()}
    small["rlnImageName"] = [f"{k + 1:06d}@Extract/job9/s.mrcs" for k in range(18)]
    for label in ORIGINS_A:
        small[label] = [f"{float(word) + 1.25:.6f}" for word in full[label]]
    (tmp_path / "small.star").write_text(star_text({n: w[::-1] for n, w in small.items()}))
    told = json.loads(go("transfer", "small.star", "e.star", f"o.{suffix}", "--json"))
    assert told["joined_on"] == "symexpSource and symexpOperator"
    assert told["rows"] == 18
    if suffix == "star":
        made = read_star((tmp_path / "o.star").read_text())
        assert np.abs(floats(made, *ORIGINS_A) - floats(small, *ORIGINS_A)).max() < 2e-6
        assert made["rlnImageName"] == full["rlnImageName"]
        assert made["symexpOperator"] == full["symexpOperator"]
        return
    made = np.load(tmp_path / "o.cs") if suffix == "cs" else read_h5(tmp_path / "o.h5")
    shift_A = made[SHIFT] * made[PSIZE].astype(float)[:, None]
    assert np.abs(shift_A - floats(small, *ORIGINS_A)).max() < 1e-5


def test_copies_in_hdf5_are_joined_on_source_and_operator(go, rng, tmp_path):
    columns = random_columns(rng, 5)
    write_table(tmp_path / "p.h5", columns)
    go("expand", "p.h5", "e.h5", "--symmetry=C4")
    copies = read_h5(tmp_path / "e.h5")
    refined = {
        "source_index": copies["source_index"][::-1],
        "operator_index": copies["operator_index"][::-1],
        POSE: rng.normal(size=(20, 3)),
        SHIFT: rng.normal(size=(20, 2)),
        PSIZE: np.full(20, 2.0),
        "uid": np.arange(1, 21, dtype=np.uint64),
    }
    first = refined["operator_index"] == 0  # the first copies have their particles' ids
    refined["uid"][first] = columns["uid"][refined["source_index"][first]]
    write_table(tmp_path / "r.h5", refined)
    told = json.loads(go("transfer", "r.h5", "e.h5", "o.h5", "--json"))
    assert told["joined_on"] == "source_index and operator_index"
    assert "in the same order" in told["notes"][0]
    made = read_h5(tmp_path / "o.h5")
    for row in range(20):
        source = int(made["source_index"][row])
        assert np.abs(made[POSE][row] - refined[POSE][19 - row]).max() < 1e-6
        size = float(columns[PSIZE][source])
        assert np.abs(made[SHIFT][row] * size - 2 * refined[SHIFT][19 - row]).max() < 1e-5
        for name in ("ctf/df1_A", "blob/path"):
            assert made[name][row] == columns[name][source]
    assert made["operator_index"].tolist() == copies["operator_index"].tolist()
    with h5py.File(tmp_path / "o.h5") as file:
        assert "format" not in file.attrs


@pytest.mark.parametrize("way", ["cs to star", "star to cs"])
def test_from_one_program_to_the_other(go, rng, tmp_path, way):
    columns = cs_rows(rng, 12, 1.5, "s")
    save(tmp_path / "p.cs", columns)
    go("export", "p.cs", "p.star")
    star = read_star((tmp_path / "p.star").read_text())
    if way == "cs to star":
        columns[POSE], columns[SHIFT] = -columns[POSE], columns[SHIFT] + F4(2)
        save(tmp_path / "r.cs", columns)
        told = json.loads(go("transfer", "r.cs", "p.star", "o.star", "--json"))
        made = read_star((tmp_path / "o.star").read_text())
        assert np.abs(floats(made, *ORIGINS_A) - columns[SHIFT] * 1.5).max() < 2e-6
        for k, angles in enumerate(floats(made, *ANGLES)):
            assert naive.angle_rad(naive.euler_zyz(*angles), naive.exp(columns[POSE][k])) < 1e-6
    else:
        star["rlnOriginXAngst"] = ["6.000000"] * 12
        (tmp_path / "r.star").write_text(
            star_text(star, OPTICS_OF.format(size=1.5, box=128, name="g"))
        )
        warned = go("transfer", "r.star", "p.cs", "o.cs", "--json", "--convention=cryosparc")
        told, made = json.loads(warned), np.load(tmp_path / "o.cs")
        assert np.abs(made[SHIFT][:, 0] - 4).max() < 1e-6
        assert np.abs(made[SHIFT][:, 1] - columns[SHIFT][:, 1]).max() < 1e-5
    assert told["rows"] == 12


def test_copies_go_from_one_program_to_the_other(go, rng, tmp_path):
    save(tmp_path / "p.cs", cs_rows(rng, 5, 1.5, "s"))
    go("expand", "p.cs", "e.h5", "--symmetry=C3")
    go("export", "e.h5", "e.cs")
    go("export", "e.h5", "e.star")
    refined = np.load(tmp_path / "e.cs")
    refined[SHIFT] += 1
    with open(tmp_path / "r.cs", "wb") as file:
        np.save(file, refined[::-1])
    go("transfer", "r.cs", "e.star", "o.star")
    made = read_star((tmp_path / "o.star").read_text())
    assert np.abs(floats(made, *ORIGINS_A) - refined[SHIFT] * 1.5).max() < 1e-5


def test_copies_of_two_expansions_are_not_joined_on_the_ids_of_particles(go, pair, tmp_path):
    small, full = pair
    for name, columns in (("small", small), ("full", full)):
        write_table(tmp_path / f"{name}.h5", columns)
        go("expand", f"{name}.h5", f"{name}_c3.h5", "--symmetry=C3")
    told = json.loads(go("transfer", "small_c3.h5", "full_c3.h5", "o.h5", "--json"))
    assert told["joined_on"] == "source_index and operator_index"
    assert not any("in the same order" in note for note in told["notes"])
    made, copies = read_h5(tmp_path / "o.h5"), read_h5(tmp_path / "small_c3.h5")
    assert told["rows"] == 72
    for row in range(72):
        k = int(made["source_index"][row])
        j = 3 * partner(small, full["uid"][k]) + int(made["operator_index"][row])
        assert (made[POSE][row] == copies[POSE][j]).all()
        assert np.abs(made[SHIFT][row] - 2.5 * copies[SHIFT][j]).max() < 1e-5
        assert made["blob/path"][row] == full["blob/path"][k]


@pytest.mark.parametrize("form", ["cs", "star"])
def test_copies_come_back_to_the_expanded_table_itself(go, rng, tmp_path, form):
    (tmp_path / "p.star").write_text(star_text(particles(rng, 6)))
    go("expand", "p.star", "e.h5", "--symmetry=C3")
    go("export", "e.h5", f"e.{form}")
    flags = ("--convention=relion", "--json")
    told = json.loads(go("transfer", f"e.{form}", "e.h5", "o.h5", *flags))
    assert told["joined_on"].endswith(" = source_index and operator_index")
    assert (told["rows"], told["notes"]) == (18, [])
    made, copies = read_h5(tmp_path / "o.h5"), read_h5(tmp_path / "e.h5")
    for row in range(18):
        one, other = naive.exp(made[POSE][row]), naive.exp(copies[POSE][row])
        assert naive.angle_rad(one, other) < 1e-6
    assert np.abs(made[SHIFT] - copies[SHIFT]).max() < 1e-5
    assert made["rlnImageName"].tolist() == [
        word.encode()
        for word in read_star((tmp_path / "p.star").read_text())["rlnImageName"]
        for _ in range(3)
    ]


def test_copies_of_other_operators_are_refused(go, command, pair):
    go("import", "full.cs", "full.h5")
    go("expand", "full.h5", "c3.h5", "--symmetry=C3")
    go("expand", "full.h5", "d3.h5", "--symmetry=D3")
    done = command("transfer", "c3.h5", "d3.h5", "o.h5")
    assert done.returncode == 1
    assert "is not expanded by the operators of c3.h5" in done.stderr
    done = command("transfer", "c3.h5", "c3.h5", "o.cs")
    assert done.returncode == 2
    assert "export it first" in done.stderr


def test_ids_made_of_a_star_lead_back_to_it(go, rng, tmp_path):
    (tmp_path / "p.star").write_text(star_text(particles(rng, 7)))
    go("export", "p.star", "p.cs")
    refined = np.load(tmp_path / "p.cs")
    refined["blob/path"] = b"J9/other.mrc"  # down-sampled, so that only the id is left
    refined[PSIZE] *= 2
    with open(tmp_path / "r.cs", "wb") as file:
        np.save(file, refined[::-1])
    told = json.loads(go("transfer", "r.cs", "p.star", "o.star", "--convention=relion", "--json"))
    assert (told["joined_on"], told["rows"]) == ("uid", 7)
    made, before = (read_star((tmp_path / name).read_text()) for name in ("o.star", "p.star"))
    assert np.abs(floats(made, *ORIGINS_A) - 2 * floats(before, *ORIGINS_A)).max() < 1e-5


CENTER = (31.0, -52.5, 18.25)


def subtract(rng, n, center, size_A=1.3, spread_A=4.0):
    """What RELION's Subtract does to points: images moved by whole pixels, and then refined.

    Gives the full set, the subtracted one, its rows of the full one, and, for each of these, where
    points of the map about the center fall in the full image, A.
    """
    full = particles(rng, n)
    full["rlnOpticsGroup"] = ["1"] * n
    small, order = subtracted_columns(rng, full)
    small["rlnOpticsGroup"] = ["1"] * n
    points, shown = rng.normal(0, 30, (4, 3)), []
    for row, k in enumerate(order):
        old = naive.euler_zyz(*floats(full, *ANGLES)[k]).T
        s_old = floats(full, *ORIGINS_A)[k]
        # The full image shows x at A x - s. The center goes to the middle, by whole pixels.
        at = (old @ center)[:2] - s_old
        moved = [-math.copysign(math.floor(abs(each) / size_A + 0.5), each) for each in at]
        # The particle's true pose is a little off the old one, as a local refinement finds it.
        angles = floats(full, *ANGLES)[k] + rng.normal(0, 2, 3)
        a = naive.euler_zyz(*angles).T
        s_true = s_old + rng.normal(0, spread_A, 2)
        in_full = [(a @ (x + center))[:2] - s_true for x in points]
        in_small = [each + np.array(moved) * size_A for each in in_full]
        # The new map is about the center: A x - s = what the small image shows.
        s_new = (a @ points[0])[:2] - in_small[0]
        for label, value in zip((*ANGLES, *ORIGINS_A), (*angles, *s_new), strict=True):
            small[label][row] = f"{value:.6f}"
        shown.append(in_full)
    return full, small, order, (points, shown)


def write_subtracted(tmp_path, full, small, box=90):
    (tmp_path / "full.star").write_text(
        star_text(full, OPTICS_OF.format(size=1.3, box=300, name="g"))
    )
    (tmp_path / "small.star").write_text(
        star_text(small, OPTICS_OF.format(size=1.3, box=box, name="g"))
    )


@pytest.mark.parametrize("center", [CENTER, (0.0, 0.0, 0.0), (-1.0, 2.0, 90.0)])
def test_the_rounded_move_of_subtract_comes_back(go, rng, tmp_path, center):
    full, small, order, (points, shown) = subtract(rng, 25, np.array(center))
    write_subtracted(tmp_path, full, small)
    named = ",".join(map(str, center))
    told = go("transfer", "small.star", "full.star", "o.star", f"--subtracted_center={named}")
    assert "reconstruct the map about that point" in told
    made = read_star((tmp_path / "o.star").read_text())
    for row, k in enumerate(order):
        a = naive.euler_zyz(*floats(made, *ANGLES)[k]).T
        s = floats(made, *ORIGINS_A)[k]
        for x, place in zip(points, shown[row], strict=True):
            assert np.abs((a @ x)[:2] - s - place).max() < 1e-4


def test_the_move_is_found_for_the_images_of_a_dataset_too(go, rng, tmp_path):
    full, small, order, (points, shown) = subtract(rng, 12, np.array(CENTER))
    write_subtracted(tmp_path, full, small)
    go("export", "full.star", "full.cs")
    rows = np.load(tmp_path / "full.cs")
    rows[PSIZE] *= 2  # shifts in pixels of smaller images; the move is in pixels of these images
    rows[SHIFT] /= 2
    with open(tmp_path / "full.cs", "wb") as file:
        np.save(file, rows)
    flags = (f"--subtracted_center={','.join(map(str, CENTER))}", "--convention=relion")
    go("transfer", "small.star", "full.cs", "o.cs", *flags)
    made = np.load(tmp_path / "o.cs")
    for row, k in enumerate(order):
        for x, place in zip(points, shown[row], strict=True):
            fallen = naive.project(naive.exp(made[POSE][k]), made[SHIFT][k], [x], 2.6)[0] * 2.6
            assert np.abs(fallen - place).max() < 1e-3


def test_subtract_without_a_new_center_changes_nothing(go, command, rng, tmp_path):
    full = particles(rng, 20)
    full["rlnOpticsGroup"] = ["1"] * 20
    small, order = subtracted_columns(rng, full)
    small["rlnOpticsGroup"] = ["1"] * 20
    for label in (*ANGLES, *ORIGINS_A):
        small[label] = [full[label][k] for k in order]
    write_subtracted(tmp_path, full, small, box=300)
    done = command("transfer", "small.star", "full.star", "o.star")
    assert (done.returncode, done.stderr) == (0, "")
    assert read_star((tmp_path / "o.star").read_text()) | {"rlnRandomSubset": []} == {
        label: [word.strip() for word in words] for label, words in full.items()
    } | {"rlnRandomSubset": []}


def test_moved_images_are_refused_without_the_center(command, rng, tmp_path):
    full, small, _, _ = subtract(rng, 25, np.array(CENTER))
    write_subtracted(tmp_path, full, small, box=90)
    done = command("transfer", "small.star", "full.star", "o.star")
    assert done.returncode == 1
    assert "its images have 117 A instead of 390 A" in done.stderr
    assert "--subtracted_center=X,Y,Z" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "o.star").exists()
    write_subtracted(tmp_path, full, small, box=300)
    done = command("transfer", "small.star", "full.star", "o.star")
    assert done.returncode == 0
    assert done.stderr.count("cannot be told") == done.stderr.count("\n") == 1
    done = command("transfer", "small.star", "full.star", "p.star", "--same_center")
    assert done.stderr == ""
    for label in ORIGINS_A:
        small[label] = [f"{value:.6f}" for value in rng.uniform(-0.65, 0.65, 25)]
    write_subtracted(tmp_path, full, small, box=300)
    done = command("transfer", "small.star", "full.star", "q.star")
    assert done.returncode == 1
    assert "all its origins are below half a pixel" in done.stderr


def test_the_move_is_not_guessed_for_other_pixels_or_without_poses(command, rng, tmp_path):
    full, small, _, _ = subtract(rng, 8, np.array(CENTER))
    write_subtracted(tmp_path, full, small)
    (tmp_path / "coarse.star").write_text(
        star_text(small, OPTICS_OF.format(size=2.6, box=45, name="g"))
    )
    done = command("transfer", "coarse.star", "full.star", "o.star", "--subtracted_center=1,2,3")
    assert done.returncode == 1
    assert "in which pixels the images were moved is not known" in done.stderr
    bare = {label: words for label, words in full.items() if label not in (*ANGLES, *ORIGINS_A)}
    (tmp_path / "bare.star").write_text(
        star_text(bare, OPTICS_OF.format(size=1.3, box=300, name="g"))
    )
    done = command("transfer", "small.star", "bare.star", "o.star", "--subtracted_center=1,2,3")
    assert done.returncode == 1
    assert "has no poses" in done.stderr
    flags = ("--subtracted_center=1,2,3", "--same_center")
    done = command("transfer", "small.star", "full.star", "o.star", *flags)
    assert done.returncode == 2
    assert "contradict" in done.stderr


def test_a_star_without_poses_gets_them(go, rng, tmp_path):
    full = particles(rng, 8)
    small = {label: list(words) for label, words in full.items()}
    bare = {label: full[label] for label in ("rlnImageName", "rlnOpticsGroup", "rlnDefocusU")}
    (tmp_path / "bare.star").write_text(star_text(bare))
    (tmp_path / "small.star").write_text(star_text(small))
    go("transfer", "small.star", "bare.star", "o.star")
    made = read_star((tmp_path / "o.star").read_text())
    assert np.abs(floats(made, *ORIGINS_A) - floats(small, *ORIGINS_A)).max() < 2e-6
    assert made["rlnRandomSubset"] == small["rlnRandomSubset"]
    assert made["rlnDefocusU"] == bare["rlnDefocusU"]


def test_boxes_that_were_moved_on_the_micrograph_move_the_shift(go, pair, rng, tmp_path):
    small, full = pair
    shape = np.array([4000, 6000], np.uint32)
    moved = rng.integers(-9, 10, (30, 2))
    for columns in (small, full):
        n = len(columns["uid"])
        columns["location/micrograph_shape"] = np.tile(shape, (n, 1))
        columns["location/micrograph_psize_A"] = np.full(n, 0.53, F4)
    places = rng.uniform(500, 3500, (30, 2))
    for columns, further in ((small, 0), (full, 1)):
        rows = [partner(full, uid) for uid in columns["uid"]]
        for axis, name in enumerate("xy"):
            px = (places + further * moved)[rows, axis]
            columns[f"location/center_{name}_frac"] = (px / shape[1 - axis]).astype(F4)
    for columns in (small, full):
        for part, width in (("pose", (3,)), ("shift", (2,)), ("psize_A", ())):
            name = f"alignments_class_0/{part}"
            columns[name] = np.ones((len(columns["uid"]), *width), F4)
    save(tmp_path / "small.cs", small)
    save(tmp_path / "full.cs", full)
    told = json.loads(go("transfer", "small.cs", "full.cs", "out.cs", "--json"))
    made = np.load(tmp_path / "out.cs")
    assert sorted(told["dropped"]) == [
        f"alignments_class_0/{part}" for part in ("pose", "psize_A", "shift")
    ]
    for row in made:
        j, k = partner(small, row["uid"]), partner(full, row["uid"])
        # The particle is at place - shift on the micrograph, in both.
        before = places[k] * 0.53 - small[SHIFT][j] * 2.65
        after = (places + moved)[k] * 0.53 - row[SHIFT] * 1.06
        assert np.abs(before - after).max() < 1e-3
    assert told["recentered"] == sum(
        moved[partner(full, uid)].any() for uid in made["uid"].tolist()
    )


def test_moved_boxes_of_a_star_need_the_pixel_size_of_the_micrograph(command, rng, tmp_path):
    full = particles(rng, 6)
    full["rlnMicrographName"] = ["m.mrc"] * 6
    full |= {f"rlnCoordinate{axis}": [f"{100 * k:.6f}" for k in range(6)] for axis in "XY"}
    small = {label: list(words) for label, words in full.items()}
    small["rlnCoordinateX"] = [f"{100 * k + 3:.6f}" for k in range(6)]
    (tmp_path / "full.star").write_text(star_text(full))
    (tmp_path / "small.star").write_text(star_text(small))
    done = command("transfer", "small.star", "full.star", "o.star")
    assert done.returncode == 1
    assert "nothing says how many A a pixel of the micrograph has" in done.stderr
    full["rlnMicrographPixelSize"] = ["0.500000"] * 6
    (tmp_path / "full.star").write_text(star_text(full))
    assert command("transfer", "small.star", "full.star", "o.star").returncode == 0
    made = read_star((tmp_path / "o.star").read_text())
    wanted = floats(small, *ORIGINS_A) - (1.5, 0)
    assert np.abs(floats(made, *ORIGINS_A) - wanted).max() < 2e-6


def test_micrograph_and_place_join_only_where_each_is_alone(command, rng, tmp_path):
    full = particles(rng, 6)
    full["rlnMicrographName"] = ["m.mrc"] * 6
    full |= {f"rlnCoordinate{axis}": [f"{100 * k:.6f}" for k in range(6)] for axis in "XY"}
    small = {label: words[::-1] for label, words in full.items()}
    small["rlnImageName"] = [f"{k + 1:06d}@new.mrcs" for k in range(6)]
    small["rlnCoordinateX"] = [f"{float(word):.2f}" for word in small["rlnCoordinateX"]]
    (tmp_path / "full.star").write_text(star_text(full))
    (tmp_path / "small.star").write_text(star_text(small))
    assert command("transfer", "small.star", "full.star", "o.star").returncode == 0
    made = read_star((tmp_path / "o.star").read_text())
    assert np.abs(floats(made, *ORIGINS_A)[::-1] - floats(small, *ORIGINS_A)).max() < 2e-6
    for axis in "XY":
        full[f"rlnCoordinate{axis}"][4] = full[f"rlnCoordinate{axis}"][3]
    (tmp_path / "full.star").write_text(star_text(full))
    done = command("transfer", "small.star", "full.star", "p.star")
    assert done.returncode == 1
    assert "several rows are at one place" in done.stderr


@pytest.mark.parametrize("twice", ["small", "full"])
def test_keys_that_stand_twice_are_refused_with_their_rows(command, rng, tmp_path, twice):
    small, full = expanded_pair(rng)
    columns = {"small": small, "full": full}[twice]
    other = full if columns is small else small
    keys = list(zip(*(other[f"sym_expand/{name}"] for name in ("src_uid", "idx")), strict=True))
    own = list(zip(*(columns[f"sym_expand/{name}"] for name in ("src_uid", "idx")), strict=True))
    shared = [k for k, key in enumerate(own) if key in keys]
    one, two = shared[2], shared[7]
    for name in ("src_uid", "idx"):
        columns[f"sym_expand/{name}"][two] = columns[f"sym_expand/{name}"][one]
    save(tmp_path / "small.cs", small)
    save(tmp_path / "full.cs", full)
    done = command("transfer", "small.cs", "full.cs", "o.cs")
    assert done.returncode == 1
    assert f"{twice}.cs: rows {one}, {two} have the same sym_expand/src_uid" in done.stderr
    assert not (tmp_path / "o.cs").exists()


def test_copies_of_another_program_share_their_images(command, rng, tmp_path):
    full = particles(rng, 6)
    full["rlnImageName"][4] = full["rlnImageName"][1]
    small, _ = subtracted_columns(rng, full)
    (tmp_path / "full.star").write_text(star_text(full))
    (tmp_path / "small.star").write_text(star_text(small))
    done = command("transfer", "small.star", "full.star", "o.star", "--same_center")
    assert done.returncode == 1
    assert "have the same rlnImageOriginalName" in done.stderr


def test_sets_with_nothing_in_common_are_refused(command, pair, rng, tmp_path):
    small, _ = pair
    small["uid"] = small["uid"] + np.uint64(1)
    save(tmp_path / "small.cs", small)
    done = command("transfer", "small.cs", "full.cs", "o.cs")
    assert done.returncode == 1
    assert "full.cs: no row of it is one of small.cs" in done.stderr
    (tmp_path / "p.star").write_text(star_text(particles(rng, 4)))
    done = command("transfer", "small.cs", "p.star", "o.star")
    assert done.returncode == 1
    assert "convert one of them first" in done.stderr
    assert done.stderr.count("\n") == 1


def test_copies_do_not_go_onto_particles(go, command, rng, tmp_path):
    save(tmp_path / "p.cs", cs_rows(rng, 5, 1.5, "s"))
    go("expand", "p.cs", "e.cs", "--symmetry=C3")
    done = command("transfer", "e.cs", "p.cs", "o.cs")
    assert done.returncode == 1
    assert "e.cs: is expanded, and p.cs is not" in done.stderr


def test_poses_of_other_classes_follow_or_go(go, pair, rng, tmp_path):
    small, full = pair
    for slot in ("alignments_class_0", "alignments_class_1", "alignments3D_multi"):
        many = (3,) if slot.endswith("multi") else ()
        for columns in (small, full):
            n = len(columns["uid"])
            columns[f"{slot}/pose"] = rng.normal(size=(n, *many, 3)).astype(F4)
            columns[f"{slot}/shift"] = rng.normal(size=(n, *many, 2)).astype(F4)
            columns[f"{slot}/psize_A"] = np.full(n, 1.06 if columns is full else 2.65, F4)
    for columns in (small, full):  # nobody says in which pixels the source's shifts are
        for part, width in (("pose", 3), ("shift", 2)):
            name = f"alignments_class_2/{part}"
            columns[name] = np.ones((len(columns["uid"]), width), F4)
    full["alignments2D/pose"] = rng.normal(size=30).astype(F4)
    for name in [
        name for name in small if name.startswith(("alignments_class_1", "alignments3D_m"))
    ]:
        del small[name]
    save(tmp_path / "small.cs", small)
    save(tmp_path / "full.cs", full)
    told = json.loads(go("transfer", "small.cs", "full.cs", "o.cs", "--json"))
    made = np.load(tmp_path / "o.cs")
    for row in made:
        j = partner(small, row["uid"])
        for part in ("pose", "shift", "psize_A"):
            name = f"alignments_class_0/{part}"
            assert (row[name] == small[name][j]).all()
    slots = ("alignments_class_1", "alignments_class_2", "alignments3D_multi")
    gone = {name for name in full if name.startswith(slots)}
    assert set(told["dropped"]) == gone
    assert not gone & {*made.dtype.names}
    assert "alignments2D/pose" in made.dtype.names


def test_priors_follow_or_go(go, rng, tmp_path):
    full = particles(rng, 6)
    full |= {
        "rlnAngleTiltPrior": ["90.000000"] * 6,
        "rlnAnglePsiPrior": ["45.000000"] * 6,
        "rlnHelicalTrackLengthAngst": [f"{50.5 * k:.6f}" for k in range(6)],
    }
    small = {label: list(words) for label, words in full.items()}
    small["rlnAnglePsiPrior"] = ["-135.000000"] * 6
    small["rlnHelicalTrackLengthAngst"] = [f"{-50.5 * k:.6f}" for k in range(6)]
    del small["rlnAngleTiltPrior"]
    (tmp_path / "full.star").write_text(star_text(full))
    (tmp_path / "small.star").write_text(star_text(small))
    told = json.loads(go("transfer", "small.star", "full.star", "o.star", "--json"))
    made = read_star((tmp_path / "o.star").read_text())
    assert told["dropped"] == ["rlnAngleTiltPrior"]
    assert "rlnAngleTiltPrior" not in made
    for label in ("rlnAnglePsiPrior", "rlnHelicalTrackLengthAngst"):
        assert made[label] == small[label]


def test_the_convention_is_that_of_the_poses(command, go, rng, tmp_path):
    columns = cs_rows(rng, 6, 1.5, "s")
    save(tmp_path / "p.cs", columns)
    go("export", "p.cs", "p.star")
    go("transfer", "p.cs", "p.star", "same.star")
    assert "convention cryosparc" in (tmp_path / "same.star").read_text()
    plain = (tmp_path / "p.star").read_text().replace("# numba_symexp convention cryosparc\n", "")
    (tmp_path / "plain.star").write_text(plain)
    done = command("transfer", "p.cs", "plain.star", "o.star")
    assert done.returncode == 0
    assert "the output is marked cryosparc" in done.stderr
    assert "# numba_symexp convention cryosparc\n" in (tmp_path / "o.star").read_text()


def test_half_sets_of_the_target_stay_where_the_source_has_none(go, pair, tmp_path):
    small, full = pair
    del small[SPLIT]
    save(tmp_path / "small.cs", small)
    go("transfer", "small.cs", "full.cs", "o.cs")
    for row in np.load(tmp_path / "o.cs"):
        assert row[SPLIT] == full[SPLIT][partner(full, row["uid"])]


def test_columns_that_cannot_be_names_are_not_taken_for_them(command, pair, tmp_path):
    small, full = pair
    small["sym_expand/src_uid"], small["sym_expand/idx"] = small["uid"], np.full(24, b"x")
    full["sym_expand/src_uid"], full["sym_expand/idx"] = full["uid"], np.full(30, np.nan)
    save(tmp_path / "small.cs", small)
    save(tmp_path / "full.cs", full)
    done = command("transfer", "small.cs", "full.cs", "o.cs")
    assert (done.returncode, done.stderr) == (0, "")
    assert "joined on uid" in done.stdout
    full[PSIZE] = np.full(30, b"1.06")
    save(tmp_path / "full.cs", full)
    done = command("transfer", "small.cs", "full.cs", "p.cs")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert PSIZE in done.stderr
    del full[POSE]
    save(tmp_path / "full.cs", full)
    done = command("transfer", "small.cs", "full.cs", "p.h5")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{PSIZE} is (N,)" in done.stderr


@pytest.mark.parametrize("name", ["small.cs", "full.cs"])
def test_inputs_are_never_written_over(command, pair, tmp_path, name):
    before = (tmp_path / name).read_bytes()
    done = command("transfer", "small.cs", "full.cs", name, "--overwrite")
    assert done.returncode == 1
    assert (tmp_path / name).read_bytes() == before


def test_pixel_sizes_that_nobody_says_are_asked_for(command, rng, tmp_path):
    columns = random_columns(rng, 5)
    write_table(tmp_path / "full.h5", columns)
    bare = {name: each for name, each in columns.items() if name != PSIZE}
    write_table(tmp_path / "bare.h5", bare)
    done = command("transfer", "bare.h5", "full.h5", "o.h5")
    assert "give --source_psize=A_PER_PIXEL" in done.stderr
    done = command("transfer", "full.h5", "bare.h5", "o.h5")
    assert "give --target_psize=A_PER_PIXEL" in done.stderr
    done = command("transfer", "full.h5", "bare.h5", "o.h5", "--source_psize=2")
    assert "leave it out" in done.stderr
    assert command("transfer", "bare.h5", "full.h5", "o.h5", "--source_psize=2").returncode == 0
    made = read_h5(tmp_path / "o.h5")
    shift_A = made[SHIFT] * columns[PSIZE].astype(float)[:, None]
    assert np.abs(shift_A - 2 * columns[SHIFT]).max() < 1e-5


def test_what_has_no_poses_or_is_no_image_is_refused(command, pair, rng, tmp_path):
    small, _ = pair
    bare = {n: each for n, each in small.items() if not n.startswith("alignments3D")}
    save(tmp_path / "bare.cs", bare)
    done = command("transfer", "bare.cs", "full.cs", "o.cs")
    assert "has no 3D poses" in done.stderr
    columns = particles(rng, 4) | {"rlnTomoName": ["t"] * 4, "rlnOriginZAngst": ["0"] * 4}
    (tmp_path / "t.star").write_text(star_text(columns))
    done = command("transfer", "t.star", "full.cs", "o.cs")
    assert "has subtomograms" in done.stderr
    small[SHIFT][3, 1] = np.nan
    save(tmp_path / "small.cs", small)
    done = command("transfer", "small.cs", "full.cs", "o.cs")
    assert "alignments3D/shift is NaN or Inf: first in row 3" in done.stderr


def test_the_function_says_what_it_did(pair, tmp_path):
    made = numba_symexp.transfer(
        tmp_path / "small.cs", tmp_path / "full.cs", tmp_path / "out.h5", target_psize=None
    )
    assert isinstance(made, numba_symexp.TransferReport)
    assert (made.rows, made.of, made.files) == (24, 30, (str(tmp_path / "out.h5"),))
