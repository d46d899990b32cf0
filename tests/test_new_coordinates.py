"""Shifts of images baked into coordinates on micrographs, for a new extraction.

What is expected comes from the conventions, by loops: a particle's center stands at
coordinate - origin / (A per pixel of the micrograph), and a point x of the map at
center + (A x)_xy / (A per pixel of the micrograph).
"""

import sys

import naive
import numpy as np
import pytest
from inside import path_of
from particle_files import needs, run, structured
from star_files import ANGLES, ORIGINS_A, floats, loop, read_star

import numba_symexp

CENTER_A = np.array([31.5, -52.25, 40.0])
BAKE = ("--center=31.5,-52.25,40", "--recenter=coordinates")
POINTS = np.array([(0, 0, 0), (5, 0, 0), (0, 7, -3), (1, 2, 30.0)])
COORDINATES = ("rlnCoordinateX", "rlnCoordinateY")
MICROGRAPH_PSIZE = "rlnMicrographPixelSize"
SIZES_A = {"fine": "0.530000", "middle": "1.060000", "coarse": "2.120000"}
NAMES = tuple(SIZES_A)
FRACTIONS = ("location/center_x_frac", "location/center_y_frac")
SHAPE, PLACE_PSIZE = "location/micrograph_shape", "location/micrograph_psize_A"
SHIFT, POSE, PSIZE = (f"alignments3D/{name}" for name in ("shift", "pose", "psize_A"))
D2 = naive.group("D2", "relion")


def optics(**further):
    """Three optics groups of particles, whose other pixel sizes are not the micrographs'."""
    columns = {
        "rlnOpticsGroup": ["1", "2", "3"],
        "rlnOpticsGroupName": list(NAMES),
        "rlnImagePixelSize": ["3.000000", "2.500000", "4.240000"],
        "rlnMicrographOriginalPixelSize": ["0.500000"] * 3,
        "rlnVoltage": ["300"] * 3,
        "rlnSphericalAberration": ["2.7"] * 3,
        "rlnImageSize": ["128"] * 3,
    }
    return loop("optics", columns | further)


def relion_columns(rng, n=12):
    """Particles with coordinates that have fractions."""
    angles = rng.uniform((-180, 0, -180), 180, (n, 3))
    origins, places = rng.normal(0, 8, (n, 2)), rng.uniform(300, 3000, (n, 2))
    columns = {
        "rlnImageName": [f"{k + 1:06d}@Extract/s.mrcs" for k in range(n)],
        "rlnMicrographName": [f"m{k % 3}.mrc" for k in range(n)],
        "rlnOpticsGroup": [str(1 + k % 3) for k in range(n)],
    }
    for labels, values in ((COORDINATES, places), (ANGLES, angles), (ORIGINS_A, origins)):
        columns |= {label: [f"{x:.6f}" for x in values[:, k]] for k, label in enumerate(labels)}
    return columns


def micrographs_text(**changed):
    """RELION's file of micrographs: the same groups under other numbers."""
    columns = {
        "rlnOpticsGroupName": ["coarse", "other", "fine", "middle"],
        "rlnOpticsGroup": ["1", "2", "3", "4"],
        MICROGRAPH_PSIZE: [SIZES_A["coarse"], "9.9", SIZES_A["fine"], SIZES_A["middle"]],
    }
    rows = {"rlnMicrographName": ["m0.mrc", "m1.mrc"], "rlnOpticsGroup": ["1", "3"]}
    return loop("optics", columns | changed) + loop("micrographs", rows)


def write_star(path, columns, **further):
    path.write_text(optics(**further) + loop("particles", columns) + "\n")


def copies_of(exp_v, candidates, group):
    """Which operators of the group turn a particle's pose into each of these; each once."""
    found = []
    for other in candidates:
        near = [k for k, g in enumerate(group) if naive.angle_rad((exp_v.T @ g).T, other) < 1e-4]
        assert len(near) == 1
        found.append(near[0])
    assert sorted(found) == list(range(len(group)))
    return found


def assert_same_points(old, new, group, center_A, sizes_A, flip=1):
    """Each row shows at x about the center what its particle shows at g(center + x).

    Rows are (exp(v), coordinate px, shift A); sizes are the A per pixel of the micrographs. Where
    y is flipped, flip is -1: places in such a file count from the other edge.
    """
    signs = np.array([1, flip])
    order = len(group)
    assert len(new) == order * len(old)
    for i, (exp_v, place, shift_A) in enumerate(old):
        mine, size_A = new[order * i : order * (i + 1)], sizes_A[i]
        for (turned, moved, rest_A), k in zip(
            mine, copies_of(exp_v, [row[0] for row in mine], group), strict=True
        ):
            for x in POINTS:
                was = (exp_v.T @ group[k] @ (center_A + x))[:2] - shift_A
                now = (turned.T @ x)[:2] - rest_A
                was, now = place + signs * was / size_A, moved + signs * now / size_A
                assert np.abs(was - now).max() < 1e-3, (i, k, was, now)
            whole = moved - place
            assert np.abs(whole - np.round(whole)).max() < 1e-3, (i, k, whole)
            assert np.abs(rest_A / size_A).max() <= 0.5 + 1e-5, (i, k, rest_A)


def star_rows(columns):
    """Rows of a .star for `assert_same_points`."""
    angles, places = floats(columns, *ANGLES), floats(columns, *COORDINATES)
    origins = floats(columns, *ORIGINS_A)
    return [(naive.euler_zyz(*a), p, o) for a, p, o in zip(angles, places, origins, strict=True)]


def sizes_of(columns):
    """A per pixel of the micrographs, by the names of groups."""
    return [float(SIZES_A[NAMES[int(group) - 1]]) for group in columns["rlnOpticsGroup"]]


@pytest.mark.parametrize("where", ["micrographs", "optics", "particles"])
def test_points_stay_where_they_are_on_the_micrograph(where, rng, tmp_path, go):
    columns, further, flags = relion_columns(rng), {}, ()
    sizes_A = sizes_of(columns)
    if where == "micrographs":
        (tmp_path / "mics.star").write_text(micrographs_text())
        flags = ("--micrographs=mics.star",)
    elif where == "optics":
        further = {MICROGRAPH_PSIZE: [SIZES_A[name] for name in NAMES]}
    else:
        columns[MICROGRAPH_PSIZE] = [f"{size:.6f}" for size in sizes_A]
        further = {MICROGRAPH_PSIZE: ["9.0"] * 3}  # those of the rows come first
    write_star(tmp_path / "p.star", columns, **further)
    shown = go("expand", "p.star", "e.star", "--symmetry=D2", *BAKE, *flags)
    assert "extract the particles again" in shown
    found = read_star((tmp_path / "e.star").read_text())
    assert_same_points(star_rows(columns), star_rows(found), D2, CENTER_A, sizes_A)
    moved = floats(found, *COORDINATES) - np.repeat(floats(columns, *COORDINATES), 4, axis=0)
    assert np.abs(moved).max() > 50
    go("import", "p.star", "p.h5")
    go("expand", "p.h5", "e.h5", "--symmetry=D2", BAKE[0])
    go("export", "e.h5", "x.star", BAKE[1], *flags)
    assert (tmp_path / "x.star").read_bytes() == (tmp_path / "e.star").read_bytes()


def test_one_size_for_all_micrographs(rng, tmp_path, go):
    columns = relion_columns(rng)
    write_star(tmp_path / "p.star", columns)
    go("expand", "p.star", "e.star", "--symmetry=D2", *BAKE, "--micrograph_psize=0.83")
    found = read_star((tmp_path / "e.star").read_text())
    assert_same_points(star_rows(columns), star_rows(found), D2, CENTER_A, [0.83] * 12)


def test_particles_as_they_are_and_again(rng, tmp_path, go):
    """Without an expansion; and what is baked once has nothing more to be baked."""
    columns = relion_columns(rng)
    write_star(tmp_path / "p.star", columns)
    flags = (BAKE[1], "--micrograph_psize=0.83")
    go("export", "p.star", "q.star", *flags)
    found = read_star((tmp_path / "q.star").read_text())
    alone = [np.eye(3)]
    assert_same_points(star_rows(columns), star_rows(found), alone, np.zeros(3), [0.83] * 12)
    go("export", "q.star", "r.star", *flags)
    assert (tmp_path / "r.star").read_bytes() == (tmp_path / "q.star").read_bytes()


@pytest.mark.parametrize("verb", ["export", "expand"])
def test_priors_of_origins_stay_at_their_places(verb, rng, tmp_path, go):
    columns = relion_columns(rng)
    priors = tuple(f"rlnOrigin{axis}PriorAngst" for axis in "XY")
    for label in priors:
        columns[label] = [f"{x:.6f}" for x in rng.normal(0, 5, 12)]
    write_star(tmp_path / "p.star", columns)
    flags = (BAKE[1], "--micrograph_psize=0.83", *(["--symmetry=C1"] if verb == "expand" else []))
    go(verb, "p.star", "q.star", *flags)
    found = read_star((tmp_path / "q.star").read_text())
    was, now = (
        floats(each, *COORDINATES) - floats(each, *priors) / 0.83 for each in (columns, found)
    )
    assert np.abs(was - now).max() < 1e-5
    assert np.abs(floats(found, *priors) - floats(columns, *priors)).max() > 1


def test_origins_in_pixels(rng, tmp_path, go):
    """RELION 3.0: no optics, origins in pixels of the images."""
    columns = relion_columns(rng)
    del columns["rlnOpticsGroup"]
    shifts_px = rng.normal(0, 6, (12, 2))
    for k, label in enumerate(ORIGINS_A):
        del columns[label]
        columns[label.removesuffix("Angst")] = [f"{x:.6f}" for x in shifts_px[:, k]]
    columns |= {"rlnDetectorPixelSize": ["5.0"] * 12, "rlnMagnification": ["20000"] * 12}  # 2.5 A
    (tmp_path / "p.star").write_text(loop("", columns) + "\n")
    go("expand", "p.star", "e.star", "--symmetry=D2", *BAKE, "--micrograph_psize=0.83")
    found = read_star((tmp_path / "e.star").read_text(), "")
    for each in (columns, found):
        for label in ORIGINS_A:
            words = each[label.removesuffix("Angst")]
            each[label] = [str(2.5 * float(word)) for word in words]
    assert_same_points(star_rows(columns), star_rows(found), D2, CENTER_A, [0.83] * 12)


# CryoSPARC's


def cryosparc_rows(rng, n=12):
    """Rows whose pixels of shifts, of images and of micrographs differ; ny is not nx."""
    columns = {
        "uid": rng.permutation(np.arange(n, dtype="u8") * 7919 + 10**12),
        "blob/path": np.array([b"J1/s.mrc"] * n),
        "blob/idx": np.arange(n, dtype="u4"),
        "blob/shape": np.full((n, 2), 128, "u4"),
        "blob/psize_A": np.full(n, 2.12, "f4"),
        "ctf/accel_kv": np.full(n, 300, "f4"),
        "ctf/cs_mm": np.full(n, 2.7, "f4"),
        POSE: rng.normal(0, 1.5, (n, 3)).astype("f4"),
        SHIFT: rng.normal(0, 6, (n, 2)).astype("f4"),
        PSIZE: np.full(n, 1.7, "f4"),
        "alignments3D/split": (np.arange(n) % 2).astype("u4"),
        "location/micrograph_path": np.array([b"J1/m.mrc"] * n),
        SHAPE: np.tile(np.array([2800, 4100], "u4"), (n, 1)),
        PLACE_PSIZE: np.where(np.arange(n) % 2, 0.53, 1.06).astype("f4"),
    }
    columns |= {name: rng.uniform(0.2, 0.8, n).astype("f4") for name in FRACTIONS}
    return columns


def write_cs(path, columns):
    with open(path, "wb") as file:
        np.save(file, structured(columns))


def field_rows(rows):
    """Rows of a .cs for `assert_same_points`: fractions are of (ny, nx)."""
    found = []
    for row in rows:
        place = [float(row[FRACTIONS[0]]) * row[SHAPE][1], float(row[FRACTIONS[1]]) * row[SHAPE][0]]
        shift_A = row[SHIFT].astype(float) * float(row[PSIZE])
        found.append((naive.exp(row[POSE]), np.array(place), shift_A))
    return found


def test_points_stay_on_the_micrographs_of_cryosparc(rng, tmp_path, go):
    columns = cryosparc_rows(rng)
    write_cs(tmp_path / "p.cs", columns)
    shown = go("expand", "p.cs", "e.cs", "--symmetry=D2", *BAKE)
    assert "extract the particles again" in shown
    old, new = structured(columns), np.load(tmp_path / "e.cs")
    assert_same_points(
        field_rows(old), field_rows(new), naive.group("D2"), CENTER_A, columns[PLACE_PSIZE]
    )
    assert np.array_equal(new[SHAPE], np.repeat(old[SHAPE], 4, axis=0))
    go("import", "p.cs", "p.h5")
    go("expand", "p.h5", "e.h5", "--symmetry=D2", BAKE[0])
    go("export", "e.h5", "x.cs", BAKE[1])
    made = np.load(tmp_path / "x.cs")
    for name in (*FRACTIONS, SHIFT, POSE):
        assert np.array_equal(made[name], new[name]), name


def test_a_size_is_given_where_the_fields_have_none(rng, tmp_path, go, command):
    columns = cryosparc_rows(rng)
    del columns[PLACE_PSIZE]
    write_cs(tmp_path / "p.cs", columns)
    refused(command, tmp_path, 1, f"has no {PLACE_PSIZE}", "expand", "p.cs", "e.cs", *C2, BAKE[1])
    go("expand", "p.cs", "e.cs", "--symmetry=D2", *BAKE, "--micrograph_psize=0.83")
    new = np.load(tmp_path / "e.cs")
    assert_same_points(
        field_rows(structured(columns)), field_rows(new), naive.group("D2"), CENTER_A, [0.83] * 12
    )


def test_shifts_of_further_classes_count_from_the_new_box(rng, tmp_path, go):
    columns = cryosparc_rows(rng)
    multi = "alignments3D_multi"
    columns |= {
        f"{multi}/pose": rng.normal(0, 1, (12, 3, 3)).astype("f4"),
        f"{multi}/shift": rng.normal(0, 9, (12, 3, 2)).astype("f4"),
        f"{multi}/psize_A": np.full(12, 2.0, "f4"),
        "alignments2D/shift": rng.normal(0, 3, (12, 2)).astype("f4"),
        "alignments2D/psize_A": np.full(12, 2.0, "f4"),
    }
    write_cs(tmp_path / "p.cs", columns)
    assert "the boxes move: alignments2D/*\n" in go("export", "p.cs", "q.cs", BAKE[1])
    old, new = structured(columns), np.load(tmp_path / "q.cs")
    assert not any(name.startswith("alignments2D") for name in new.dtype.names)
    ends = [[], []]
    for rows, found in zip((old, new), ends, strict=True):
        for row, (_, place, _) in zip(rows, field_rows(rows), strict=True):
            for shift in row[f"{multi}/shift"]:
                found.append(place - shift * 2.0 / row[PLACE_PSIZE])
    assert np.abs(np.subtract(*ends)).max() < 1e-3
    assert np.abs(new[f"{multi}/shift"] - old[f"{multi}/shift"]).max() > 1
    assert np.array_equal(new[f"{multi}/pose"], old[f"{multi}/pose"])


def test_shifts_in_pixels_of_unknown_size_are_left_out(rng, tmp_path, go):
    columns = cryosparc_rows(rng)
    columns |= {
        "alignments_class_0/pose": rng.normal(0, 1, (12, 3)).astype("f4"),
        "alignments_class_0/shift": rng.normal(0, 9, (12, 2)).astype("f4"),
    }
    write_cs(tmp_path / "p.cs", columns)
    shown = go("export", "p.cs", "q.cs", BAKE[1])
    assert "left out, since the boxes move: alignments_class_0/*\n" in shown
    assert not any("class_0" in name for name in np.load(tmp_path / "q.cs").dtype.names)


@pytest.mark.parametrize("flag", ["--micrograph_psize=7", "--micrographs=mics.star"])
def test_what_particles_say_comes_before_what_is_given(flag, rng, tmp_path, command):
    (tmp_path / "mics.star").write_text(micrographs_text(**{MICROGRAPH_PSIZE: ["7"] * 4}))
    write_star(tmp_path / "p.star", relion_columns(rng), **{MICROGRAPH_PSIZE: ["0.83"] * 3})
    write_cs(tmp_path / "p.cs", cryosparc_rows(rng))
    for end in (".star", ".cs"):
        if end == ".cs" and "micrographs" in flag:
            continue
        for name, flags in (("q", ()), ("r", (flag,))):
            done = command("export", f"p{end}", f"{name}{end}", BAKE[1], *flags)
            assert done.returncode == 0
        assert f"{flag.partition('=')[0]} is left aside: p{end} says" in done.stderr
        assert (tmp_path / f"q{end}").read_bytes() == (tmp_path / f"r{end}").read_bytes()


@pytest.mark.parametrize(("y", "flip"), [("flipped", -1), ("same", 1), (None, -1)])
def test_baking_and_converting_commute(y, flip, rng, tmp_path, go):
    columns = cryosparc_rows(rng)
    columns[PLACE_PSIZE][:] = 0.53
    write_cs(tmp_path / "p.cs", columns)
    flag = () if y is None else (f"--coordinates_y={y}",)
    named = f"coordinates_y={y or 'flipped'}"
    expand = ("--symmetry=D2", "--convention=cryosparc")
    assert named in go("expand", "p.cs", "at_once.star", *expand, *BAKE, *flag)
    go("expand", "p.cs", "e.cs", *expand, *BAKE)
    assert named in go("export", "e.cs", "baked_first.star", *flag)
    assert named in go("export", "p.cs", "p.star", *flag)
    told = (f"--coordinates_y={y or 'flipped'}", "--micrograph_psize=0.53")
    go("expand", "p.star", "baked_last.star", *expand, *BAKE, *told)
    assert named in go("expand", "p.cs", "unbaked.star", *expand, BAKE[0], *flag)
    go("export", "unbaked.star", "baked_at_last.star", BAKE[1], *told)

    old = []
    for exp_v, place, shift_A in field_rows(structured(columns)):
        x, y_px = place
        old.append((exp_v, np.array([x, 2800 - y_px if flip < 0 else y_px]), shift_A))
    group, texts = naive.group("D2"), {}
    for name in ("at_once", "baked_first", "baked_last", "baked_at_last"):
        found = read_star((tmp_path / f"{name}.star").read_text())
        assert_same_points(old, star_rows(found), group, CENTER_A, [0.53] * 12, flip)
        texts[name] = floats(found, *COORDINATES), floats(found, *ORIGINS_A)
    for name, (places, origins) in texts.items():
        assert np.abs(places - texts["at_once"][0]).max() < 1e-3, name
        assert np.abs(origins - texts["at_once"][1]).max() < 1e-3, name


def test_the_way_of_y_is_named_where_nothing_is_baked(rng, tmp_path, go):
    columns = cryosparc_rows(rng)
    write_cs(tmp_path / "p.cs", columns)
    for y, told in (("flipped", "(1 - center_y_frac) x height"), ("same", "center_y_frac x")):
        shown = go("export", "p.cs", f"{y}.star", f"--coordinates_y={y}")
        assert f"{told}" in shown
        assert f"coordinates_y={y}" in shown
        found = floats(read_star((tmp_path / f"{y}.star").read_text()), *COORDINATES)
        for row, (_, place, _) in zip(found, field_rows(structured(columns)), strict=True):
            wanted = (place[0], 2800 - place[1] if y == "flipped" else place[1])
            assert np.abs(row - wanted).max() < 1e-3
    without = {n: c for n, c in columns.items() if not n.startswith("location/")}
    write_cs(tmp_path / "q.cs", without)
    assert "coordinates_y" not in go("export", "q.cs", "q.star")


# RELION's particles that become a .cs

SIDES_PX = (4100, 3300)
PX = "--micrograph_px=4100,3300"
PATH = "location/micrograph_path"
WAYS = [("flipped", "--coordinates_y=flipped"), ("same", "--coordinates_y=same"), ("same", None)]


def in_fields(columns, y, psizes_A):
    """Rows of a .star as CryoSPARC places them, by a loop: (exp(v), place px, shift A)."""
    height = SIDES_PX[1]
    return [
        (exp_v, np.array([place[0], height - place[1] if y == "flipped" else place[1]]), origin_A)
        for (exp_v, place, origin_A), _ in zip(star_rows(columns), psizes_A, strict=True)
    ]


def given(*flags):
    return [flag for flag in flags if flag]


@pytest.mark.parametrize("where", ["nowhere", "given", "micrographs", "optics", "particles"])
@pytest.mark.parametrize(("y", "flag"), WAYS)
def test_coordinates_become_fractions_of_the_micrograph(y, flag, where, rng, tmp_path, go):
    columns, further, flags = relion_columns(rng), {}, given(PX, flag)
    names = [f"Motion/m{k}.mrc" for k in range(12)]
    columns["rlnMicrographName"] = [names[0], *(f"'{name}'" for name in names[1:])]
    sizes_A = sizes_of(columns)
    if where == "given":
        flags.append("--micrograph_psize=0.83")
        sizes_A = [0.83] * 12
    elif where == "micrographs":
        (tmp_path / "mics.star").write_text(micrographs_text())
        flags.append("--micrographs=mics.star")
    elif where == "optics":
        further = {MICROGRAPH_PSIZE: [SIZES_A[name] for name in NAMES]}
    elif where == "particles":
        columns[MICROGRAPH_PSIZE] = [f"{size:.6f}" for size in sizes_A]
    write_star(tmp_path / "p.star", columns, **further)
    plain = go("export", "p.star", "plain.star")
    shown = go("expand", "p.star", "e.cs", "--symmetry=D2", *flags)
    assert f"--coordinates_y={y}" in shown
    dropped = [line for line in shown.splitlines() if "dropped" in line]
    assert not any(each in line for line in dropped for each in (*COORDINATES, "rlnMicrographName"))
    assert MICROGRAPH_PSIZE not in shown.replace("rlnMicrographOriginalPixelSize", "")
    assert "coordinates_y" not in plain
    found = np.load(tmp_path / "e.cs")
    assert len(found) == 48
    for k, row in enumerate(found):
        i = k // 4
        x, y_px = (float(columns[label][i]) for label in COORDINATES)
        assert abs(row[FRACTIONS[0]] - x / 4100) < 1e-7
        assert abs(row[FRACTIONS[1]] - (1 - y_px / 3300 if y == "flipped" else y_px / 3300)) < 1e-7
        assert row[SHAPE].tolist() == [3300, 4100]
        assert row[PATH].decode() == names[i]
        if where != "nowhere":
            assert abs(row[PLACE_PSIZE] - sizes_A[i]) < 1e-6
    assert (PLACE_PSIZE in found.dtype.names) == (where != "nowhere")
    kinds = {SHAPE: "<u4", PLACE_PSIZE: "<f4"} | dict.fromkeys(FRACTIONS, "<f4")
    for name in kinds.keys() & {*found.dtype.names}:
        assert found.dtype[name].base.str == kinds[name]
    assert "type: particle.location" in (tmp_path / "e.csg").read_text()
    go("import", "p.star", "p.h5")
    go("expand", "p.h5", "e.h5", "--symmetry=D2")
    go("export", "e.h5", "x.cs", *flags)
    assert (tmp_path / "x.cs").read_bytes() == (tmp_path / "e.cs").read_bytes()


@pytest.mark.parametrize(("y", "flag"), WAYS[:2])
def test_fractions_come_back_from_a_star(y, flag, rng, tmp_path, go):
    columns = cryosparc_rows(rng)
    write_cs(tmp_path / "p.cs", columns)
    go("export", "p.cs", "p.star", *given(flag))
    assert f"--coordinates_y={y}" in go(
        "export", "p.star", "q.cs", "--micrograph_px=4100,2800", *given(flag)
    )
    found = np.load(tmp_path / "q.cs")
    for name in FRACTIONS:
        assert np.abs(found[name] - columns[name]).max() < 1e-7, name
    assert np.array_equal(found[SHAPE], columns[SHAPE])
    assert np.array_equal(found[PATH], columns[PATH])
    other = "same" if y == "flipped" else "flipped"
    go("export", "p.star", "r.cs", "--micrograph_px=4100,2800", f"--coordinates_y={other}")
    found = np.load(tmp_path / "r.cs")
    assert np.abs(found[FRACTIONS[1]] - (1 - columns[FRACTIONS[1]])).max() < 1e-6


@pytest.mark.parametrize(("y", "flag"), WAYS)
def test_points_stay_where_a_star_becomes_a_baked_dataset(y, flag, rng, tmp_path, go):
    columns = relion_columns(rng)
    (tmp_path / "mics.star").write_text(micrographs_text())
    write_star(tmp_path / "p.star", columns)
    flags = given(PX, flag, "--micrographs=mics.star")
    shown = go("expand", "p.star", "e.cs", "--symmetry=D2", *BAKE, *flags)
    assert f"--coordinates_y={y}" in shown
    assert "extract the particles again" in shown
    sizes_A = sizes_of(columns)
    old, new = in_fields(columns, y, sizes_A), field_rows(np.load(tmp_path / "e.cs"))
    assert_same_points(old, new, D2, CENTER_A, sizes_A)
    places = np.array([row[1] for row in new]) - np.repeat([row[1] for row in old], 4, axis=0)
    assert np.abs(places).max() > 50
    go("import", "p.star", "p.h5")
    go("expand", "p.h5", "e.h5", "--symmetry=D2", BAKE[0])
    go("export", "e.h5", "x.cs", BAKE[1], *flags)
    assert (tmp_path / "x.cs").read_bytes() == (tmp_path / "e.cs").read_bytes()


@pytest.mark.parametrize(("y", "flag"), WAYS)
def test_baking_and_converting_a_star_commute(y, flag, rng, tmp_path, go):
    columns, size = relion_columns(rng), "--micrograph_psize=0.83"
    write_star(tmp_path / "p.star", columns)
    expand, way = ("--symmetry=D2", BAKE[0]), given(flag)
    go("expand", "p.star", "a.star", *expand, BAKE[1], *way, size)
    go("export", "a.star", "baked_first.cs", PX, *way)
    go("expand", "p.star", "at_once.cs", *expand, BAKE[1], *way, size, PX)
    go("expand", "p.star", "unbaked.cs", *expand, *way, size, PX)
    go("export", "unbaked.cs", "baked_last.cs", BAKE[1])
    old, ends = in_fields(columns, y, [0.83] * 12), []
    for name in ("baked_first", "at_once", "baked_last"):
        rows = field_rows(np.load(tmp_path / f"{name}.cs"))
        assert_same_points(old, rows, D2, CENTER_A, [0.83] * 12)
        ends.append(rows)
    for rows in ends[:2]:
        for (_, place, shift_A), (_, wanted, wanted_A) in zip(rows, ends[2], strict=True):
            assert np.abs(place - wanted).max() < 1e-3
            assert np.abs(shift_A - wanted_A).max() < 1e-3


@pytest.mark.parametrize("y", ["flipped", "same"])
def test_a_dataset_is_baked_by_way_of_a_star(y, rng, tmp_path, go):
    """The fields of CryoSPARC's own rows are the witness."""
    columns = cryosparc_rows(rng)
    columns[PLACE_PSIZE][:] = 0.53
    write_cs(tmp_path / "p.cs", columns)
    way, further = f"--coordinates_y={y}", ("--micrograph_psize=0.53", "--micrograph_px=4100,2800")
    go("export", "p.cs", "direct.cs", BAKE[1])
    go("export", "p.cs", "p.star", way)
    go("export", "p.star", "round.cs", BAKE[1], way, *further)
    direct, back = (field_rows(np.load(tmp_path / f"{name}.cs")) for name in ("direct", "round"))
    for (_, place, shift_A), (_, wanted, wanted_A) in zip(back, direct, strict=True):
        assert np.abs(place - wanted).max() < 1e-3
        assert np.abs(shift_A - wanted_A).max() < 1e-3
    assert_same_points(field_rows(structured(columns)), back, [np.eye(3)], np.zeros(3), [0.53] * 12)


def test_coordinates_that_go_are_named_with_what_keeps_them(rng, tmp_path, go):
    columns = relion_columns(rng)
    write_star(tmp_path / "p.star", columns, **{MICROGRAPH_PSIZE: ["0.83"] * 3})
    named = f"rlnMicrographName, {', '.join(COORDINATES)}, {MICROGRAPH_PSIZE}; "
    for words in (("export", "p.star", "q.cs"), ("expand", "p.star", "r.cs", *C2)):
        shown = go(*words)
        assert f"how large micrographs are: {named}" in shown
        assert "by --micrograph_px=W,H" in shown
        assert shown.count(COORDINATES[0]) == 1
    go("expand", "p.star", "e.h5", *C2)
    shown = go("collapse", "e.h5", "back.cs")
    assert named in shown
    assert "export and expand keep them by --micrograph_px=W,H" in shown
    names = np.load(tmp_path / "back.cs").dtype.names
    assert not any(name.startswith("location/") for name in names)
    del columns[COORDINATES[1]]
    write_star(tmp_path / "half.star", columns)
    shown = go("export", "half.star", "half.cs")
    assert "micrograph_px" not in shown
    assert f"has no place for them: rlnMicrographName, {COORDINATES[0]}" in shown


def test_a_micrograph_need_not_be_named(rng, tmp_path, go):
    columns = relion_columns(rng)
    del columns["rlnMicrographName"]
    write_star(tmp_path / "p.star", columns)
    go("export", "p.star", "q.cs", PX)
    names = np.load(tmp_path / "q.cs").dtype.names
    assert PATH not in names
    assert {*FRACTIONS, SHAPE} <= {*names}


# Rows that are off their micrographs


def test_coordinates_off_a_micrograph_of_the_size_that_is_given(rng, tmp_path, command):
    columns = relion_columns(rng, 30)
    write_star(tmp_path / "p.star", columns)
    off = [k for k, (x, y) in enumerate(floats(columns, *COORDINATES)) if x > 2000 or y > 2900]
    assert 3 < len(off) < 27
    done = command("export", "p.star", "q.cs", "--micrograph_px=2000,2900")
    assert done.returncode == 0
    assert f"the coordinates of {len(off)} of 30 rows are off their micrographs" in done.stderr
    assert f"the first in row {off[0]}:" in done.stderr
    assert "off their" not in command("export", "p.star", "r.cs", PX).stderr


@pytest.mark.parametrize("flag", [flag for _, flag in WAYS])
def test_centers_of_a_star_that_are_off_in_a_dataset(flag, rng, tmp_path, command):
    write_star(tmp_path / "p.star", relion_columns(rng, 30))
    flags = ("--micrograph_psize=0.4", "--micrograph_px=2900,2500")
    expand = given("--symmetry=D2", BAKE[0], *flags, flag)
    assert "the centers" not in command("expand", "p.star", "unbaked.cs", *expand).stderr
    done = command("expand", "p.star", "e.cs", *expand, BAKE[1], "--edge_px=150")
    rows = field_rows(np.load(tmp_path / "unbaked.cs"))
    off = off_rows(rows, [0.4] * 120, (2900, 2500), 150)
    mirrored = [(v, place, shift_A * (1, -1)) for v, place, shift_A in rows]
    assert off != off_rows(mirrored, [0.4] * 120, (2900, 2500), 150)
    assert 3 < len(off) < 110
    assert f"the centers of {len(off)} of 120 rows are less than 150 px from" in done.stderr
    assert f"the first in row {off[0]}:" in done.stderr


def off_rows(rows, sizes_A, size_px, edge_px=0):
    """Numbers of rows whose centers are off, or too near to an edge."""
    found = []
    for k, ((_, place, shift_A), size_A) in enumerate(zip(rows, sizes_A, strict=True)):
        x, y = place - shift_A / size_A
        if not (edge_px <= x <= size_px[0] - edge_px and edge_px <= y <= size_px[1] - edge_px):
            found.append(k)
    return found


@pytest.mark.parametrize("edge", [None, 120])
@pytest.mark.parametrize("verb", ["expand", "export"])
def test_rows_off_their_micrographs_are_named(verb, edge, rng, tmp_path, go, command):
    columns = cryosparc_rows(rng, 40)
    columns[FRACTIONS[0]] = rng.uniform(0, 1, 40).astype("f4")
    columns[FRACTIONS[1]][:20] = rng.uniform(0.97, 1, 20).astype("f4")
    write_cs(tmp_path / "p.cs", columns)
    flags = () if edge is None else (f"--edge_px={edge}",)
    if verb == "expand":
        done = command("expand", "p.cs", "e.cs", "--symmetry=D2", *BAKE, *flags)
    else:
        go("import", "p.cs", "p.h5")
        go("expand", "p.h5", "e.h5", "--symmetry=D2", BAKE[0])
        done = command("export", "e.h5", "e.cs", BAKE[1], *flags)
    assert done.returncode == 0
    rows = np.load(tmp_path / "e.cs")
    assert len(rows) == 160
    off = off_rows(field_rows(rows), rows[PLACE_PSIZE], (4100, 2800), edge or 0)
    assert 3 < len(off) < 120
    lines = [line for line in done.stderr.splitlines() if "off their micrographs" in line]
    assert len(lines) == 1
    assert f"the centers of {len(off)} of 160 rows" in lines[0]
    assert f"the first in row {off[0]}:" in lines[0]


def test_rows_of_a_flipped_star_are_looked_at_by_its_own_y(rng, tmp_path, go, command):
    columns = cryosparc_rows(rng, 40)
    columns[FRACTIONS[1]] = rng.uniform(0.95, 1, 40).astype("f4")
    write_cs(tmp_path / "p.cs", columns)
    columns[PLACE_PSIZE][:] = 0.53
    go("export", "p.cs", "p.star")
    flags = (BAKE[1], "--micrograph_psize=0.53", "--micrograph_px=4100,2800", "--edge_px=20")
    done = command("export", "p.star", "q.star", *flags, "--coordinates_y=flipped")
    old = field_rows(structured(columns))
    off = off_rows(old, columns[PLACE_PSIZE], (4100, 2800), 20)
    mirrored = [(v, place, shift_A * (1, -1)) for v, place, shift_A in old]
    assert off != off_rows(mirrored, columns[PLACE_PSIZE], (4100, 2800), 20)
    assert f"the centers of {len(off)} of 40 rows are less than 20 px from" in done.stderr
    assert f"the first in row {off[0]}:" in done.stderr


def test_rows_of_a_star_that_are_off(rng, tmp_path, command, recwarn):
    columns = relion_columns(rng, 30)
    write_star(tmp_path / "p.star", columns)
    flags = ("--symmetry=D2", *BAKE, "--micrograph_psize=0.83")
    done = command("expand", "p.star", "silent.star", *flags)
    assert "off their" not in done.stderr
    done = command("expand", "p.star", "e.star", *flags, "--micrograph_px=2900,2000")
    rows = star_rows(read_star((tmp_path / "e.star").read_text()))
    off = off_rows(rows, [0.83] * len(rows), (2900, 2000))
    assert 3 < len(off) < 110
    assert f"the centers of {len(off)} of 120 rows are off their micrographs" in done.stderr
    assert f"the first in row {off[0]}:" in done.stderr
    assert (tmp_path / "e.star").read_bytes() == (tmp_path / "silent.star").read_bytes()
    made = numba_symexp.expand(
        tmp_path / "p.star",
        tmp_path / "f.star",
        symmetry="D2",
        center=CENTER_A,
        recenter="coordinates",
        micrograph_psize=0.83,
        micrograph_px=(2900, 2000),
        dry_run=True,
    )
    assert [f"of {len(off)} of 120" in text for text in made.warnings].count(True) == 1


# What cannot be

C2 = ("--symmetry=C2",)


def refused(command, folder, code, told, *words):
    """One line of error, and nothing written."""
    before = sorted(path.name for path in folder.iterdir())
    done = command(*words)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning")]
    assert (done.returncode, len(lines)) == (code, 1), done.stderr
    assert told in lines[0]
    assert sorted(path.name for path in folder.iterdir()) == before


def without(text):
    return text.replace(MICROGRAPH_PSIZE, "rlnMicrographOriginalPixelSize")


FILES = {
    "no size": without(micrographs_text()),
    "no names": micrographs_text().replace("rlnOpticsGroupName", "rlnX"),
    "twice": micrographs_text(rlnOpticsGroupName=["coarse", "fine", "fine", "middle"]),
    "missing": micrographs_text(rlnOpticsGroupName=["coarse", "other", "fine", "another"]),
    "zero": micrographs_text().replace("1.060000", "0"),
    "a word": micrographs_text().replace("1.060000", "none"),
    "no star": "\x89PNG\n",
    "empty": "",
}
SAYS = {
    "no size": "has no _rlnMicrographPixelSize",
    "no names": "has no _rlnOpticsGroupName",
    "twice": "two optics groups are called 'fine'",
    "missing": "row 1 is of optics group 2",
    "zero": "_rlnMicrographPixelSize is not above 0 in row 1",
    "a word": "is 'none'",
    "no star": "has no _rlnOpticsGroupName",
    "empty": "has no _rlnOpticsGroupName",
}


@pytest.mark.parametrize("bad", FILES)
def test_bad_files_of_micrographs(bad, rng, tmp_path, command):
    write_star(tmp_path / "p.star", relion_columns(rng))
    (tmp_path / "mics.star").write_text(FILES[bad])
    flags = ("--recenter=coordinates", "--micrographs=mics.star")
    refused(command, tmp_path, 1, SAYS[bad], "expand", "p.star", "e.star", *C2, *flags)


GIVEN, SAME = "--micrograph_psize=1", "--coordinates_y=same"
REFUSED = {
    "nothing says": (1, "give --micrographs=FILE.star or --micrograph_psize", "p.star", "e.star"),
    "h5": (2, "--recenter goes with a .star or .cs output", "p.star", "e.h5", GIVEN),
    "h5 of cs": (2, "--recenter goes with a .star or .cs output", "p.cs", "e.h5"),
    "star to cs": (2, "give --micrograph_px=W,H", "p.star", "e.cs", GIVEN),
    "no size in cs": (1, "has no _rlnMicrographPixelSize", "p.star", "e.cs", PX),
    "no edge in cs": (2, "give --micrograph_px=W,H", "p.star", "e.cs", GIVEN, "--edge_px=3"),
    "no places": (1, "leave out --recenter and --micrograph_px", "bare.star", "e.cs", GIVEN, PX),
    "way to cs": (2, "--coordinates_y goes with particles", "p.cs", "e.cs", SAME),
    "which way": (2, "neither flipped nor same", "p.cs", "e.star", "--coordinates_y=up"),
    "file of cs": (2, "--micrographs is for", "p.cs", "e.cs", "--micrographs=p.star"),
    "px of cs": (2, "--micrograph_px is for", "p.cs", "e.cs", "--micrograph_px=9,9"),
    "both": (2, "give one of them", "p.star", "e.star", GIVEN, "--micrographs=p.star"),
    "no edge": (2, "--edge_px goes with", "p.star", "e.star", GIVEN, "--edge_px=3"),
    "edge": (2, "must be 0 or more", "p.star", "e.star", GIVEN, "--edge_px=-3"),
    "psize": (2, "above 0 A", "p.star", "e.star", "--micrograph_psize=0"),
    "px": (2, "W,H above 0", "p.star", "e.star", GIVEN, "--micrograph_px=0,5"),
    "far": (2, "below 4,294,967,296", "p.star", "e.cs", GIVEN, "--micrograph_px=4294967296,5"),
    "one px": (2, "is not W,H", "p.star", "e.star", GIVEN, "--micrograph_px=5"),
    "gone": (1, "no such file", "p.star", "e.star", "--micrographs=gone.star"),
    "itself": (1, "is the source itself", "p.star", "m.star", "--micrographs=m.star"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_asked(case, rng, tmp_path, command):
    code, told, source, output, *flags = REFUSED[case]
    columns = relion_columns(rng)
    write_star(tmp_path / "p.star", columns)
    write_star(tmp_path / "bare.star", {n: c for n, c in columns.items() if n not in COORDINATES})
    (tmp_path / "m.star").write_text(micrographs_text())
    write_cs(tmp_path / "p.cs", cryosparc_rows(rng))
    words = ("expand", source, output, *C2, "--overwrite", "--recenter=coordinates", *flags)
    refused(command, tmp_path, code, told, *words)


@pytest.mark.parametrize(
    "flag", [GIVEN, "--micrographs=m.star", "--micrograph_px=9,9", "--edge_px=3"]
)
def test_micrographs_matter_only_where_something_is_baked(flag, rng, tmp_path, command):
    write_star(tmp_path / "p.star", relion_columns(rng))
    told = "goes with --recenter=coordinates"
    refused(command, tmp_path, 2, told, "expand", "p.star", "e.star", *C2, flag)
    refused(command, tmp_path, 2, told, "export", "p.star", "e.star", flag)
    refused(command, tmp_path, 2, "goes with", "expand", "p.star", "e.h5", *C2, flag)
    if "micrograph_px" not in flag:
        refused(command, tmp_path, 2, told, "export", "p.star", "e.cs", flag)
    told = "--coordinates_y goes with"
    refused(command, tmp_path, 2, told, "expand", "p.star", "e.star", *C2, SAME)
    refused(command, tmp_path, 2, told, "expand", "p.star", "e.cs", *C2, SAME)
    refused(command, tmp_path, 2, told, "expand", "p.star", "e.h5", *C2, SAME)
    write_cs(tmp_path / "p.cs", cryosparc_rows(rng))
    refused(command, tmp_path, 2, "--micrograph_px goes", "export", "p.cs", "q.cs", PX)
    refused(command, tmp_path, 2, "--micrograph_px goes", "export", "p.cs", "q.star", PX)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda c: c.pop(FRACTIONS[1]), f"has no {FRACTIONS[1]}"),
        (lambda c: c.pop(SHAPE), f"has no {SHAPE}"),
        (lambda c: c[PLACE_PSIZE].__setitem__(3, 0), f"{PLACE_PSIZE} is not above 0 in row 3"),
        (lambda c: c[SHAPE].__setitem__(3, 0), f"{SHAPE} is not above 0 in row 3"),
        (lambda c: c[FRACTIONS[0]].__setitem__(3, np.nan), "is not a number in row 3"),
        (lambda c: c.update({SHAPE: np.full(12, 9, "u4")}), f"{SHAPE} is (N,)"),
    ],
)
def test_fields_that_cannot_take_shifts(damage, told, rng, tmp_path, command):
    columns = cryosparc_rows(rng)
    damage(columns)
    write_cs(tmp_path / "p.cs", columns)
    refused(command, tmp_path, 1, told, "expand", "p.cs", "e.cs", *C2, "--recenter=coordinates")


# RELION itself


@pytest.mark.slow
def test_an_external_job_of_relion_takes_the_micrographs(rng, tmp_path, go):
    columns = relion_columns(rng)
    write_star(tmp_path / "p.star", columns)
    (tmp_path / "mics.star").write_text(micrographs_text())
    go("expand", "p.star", "e.star", "--symmetry=D2", *BAKE, "--micrographs=mics.star")
    (tmp_path / "External").mkdir()
    pairs = ("--sym", "D2", "--center", "31.5,-52.25,40", "--recenter", "coordinates")
    inputs = ("--o", "External/", "--in_parts", "p.star", "--in_mics", "mics.star")
    start = f"from {path_of('relion_job')} import program; program()"
    run(tmp_path, sys.executable, "-c", start, *inputs, *pairs, "--j", "1")
    made = tmp_path / "External" / "particles.star"
    assert made.read_bytes() == (tmp_path / "e.star").read_bytes()


@pytest.mark.slow
@needs("relion_preprocess")
@pytest.mark.parametrize("where", ["subparticle", "corner"])
def test_relion_cuts_the_subparticle_into_the_middle(where, rng, tmp_path, go):
    """A blob where a point of each particle stands; RELION's boxes have it in their middle."""
    mrcfile = pytest.importorskip("mrcfile")
    size_A, side, box, n = 1.06, (900, 700), 48, 4
    columns = relion_columns(rng, n)
    columns["rlnMicrographName"] = ["mic.mrc"] * n
    columns["rlnOpticsGroup"] = ["2"] * n
    places = [(222.4, 210.9), (640.2, 190.5), (250.8, 480.3), (655.6, 488.7)]
    for k, label in enumerate(COORDINATES):
        columns[label] = [f"{place[k]:.6f}" for place in places]
    center_A = CENTER_A if where == "subparticle" else np.zeros(3)
    picture = np.zeros(side[::-1], np.float32)
    y, x = np.mgrid[: side[1], : side[0]]
    for exp_v, place, origin_A in star_rows(columns):
        for g in D2 if where == "subparticle" else [np.eye(3)]:
            spot = np.trunc(place) + ((exp_v.T @ g @ center_A)[:2] - origin_A) / size_A
            picture += np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * 2.5**2))
    with mrcfile.new(tmp_path / "mic.mrc") as file:
        file.set_data(-picture)
        file.voxel_size = size_A
    write_star(tmp_path / "p.star", columns)
    further = {name: ["300"] * 4 for name in ("rlnVoltage",)} | {
        "rlnSphericalAberration": ["2.7"] * 4,
        "rlnAmplitudeContrast": ["0.1"] * 4,
        "rlnMicrographOriginalPixelSize": ["0.5"] * 4,
    }
    head = micrographs_text(**further).partition("\n# version 30001\n\ndata_micrographs")[0]
    rows = {"rlnMicrographName": ["mic.mrc"], "rlnOpticsGroup": ["4"]}
    (tmp_path / "mics.star").write_text(head + loop("micrographs", rows))
    symmetry = "D2" if where == "subparticle" else "C1"
    flags = [BAKE[1], "--micrographs=mics.star", f"--symmetry={symmetry}"]
    go("expand", "p.star", "e.star", *flags, *([BAKE[0]] if where == "subparticle" else []))
    run(
        tmp_path,
        *("relion_preprocess", "--i", "mics.star", "--reextract_data_star", "e.star"),
        *("--part_star", "cut.star", "--part_dir", "Cut/", "--extract", "--extract_size", box),
        *("--invert_contrast",),
    )
    cut = read_star((tmp_path / "cut.star").read_text())
    baked = read_star((tmp_path / "e.star").read_text())
    assert (
        len(cut["rlnImageName"]) == len(baked["rlnImageName"]) == n * (4 if center_A.any() else 1)
    )
    origins = floats(cut, *ORIGINS_A) / size_A
    assert np.abs(origins).max() <= 0.5 + 1e-5
    images = [word.split("@") for word in cut["rlnImageName"]]
    middle = np.arange(box) - box // 2
    for (number, stack), rest in zip(images, origins, strict=True):
        with mrcfile.open(tmp_path / stack) as file:
            image = np.atleast_3d(file.data.astype(float).T).T[int(number) - 1]
        near = np.where(np.add.outer(middle**2, middle**2) < 10**2, image - image.min(), 0)
        found = [(near.sum(axis=axis) @ middle) / near.sum() for axis in (0, 1)]
        assert np.abs(np.array(found) + rest).max() < 0.02, (number, found, rest)
