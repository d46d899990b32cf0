"""Optimisation sets of RELION 4 and 5, their motion files, and origins baked into coordinates."""

import os
import shutil
import subprocess
import tracemalloc

import h5py
import naive
import numpy as np
import pytest
from inside import motion as motion_module
from star_files import ANGLES, floats, loop, particles, read_star, star_text
from test_subtomograms import (
    CENTERED,
    GENERAL,
    HELIX,
    OPTICS,
    ORDER,
    ORIGINS,
    RISE_A,
    SUB_ANGLES,
    TWIST,
    UNBINNED,
    UNBINNED_A,
    matrices,
    placed,
    same_points,
    subtomograms,
    tomo_text,
)

import numba_symexp

VERSION = "\n# version 50001\n\n"
SET = {
    "rlnTomoParticlesFile": "p.star",
    "rlnTomoTomogramsFile": "Tomograms/job001/tomograms.star",
    "rlnTomoTrajectoriesFile": "motion.star",
    "rlnTomoReferenceFscFile": "PostProcess/job9/postprocess.star",
}
SET_NAME = "optimisation_set.star"
SOURCES = {"p.star", "motion.star", SET_NAME}


def set_text(names):
    """A set as RELION writes it: pairs, in a block without a name."""
    lines = "".join(f"_{label:<30} {word}\n" for label, word in names.items())
    return f"{VERSION}data_\n\n{lines} \n"


def motion_text(shifts, number=None):
    """A motion file as RELION writes it, of rows of words by name."""
    number = len(shifts) if number is None else number
    text = f"{VERSION}data_general\n\n_rlnParticleNumber                    {number}\n \n"
    labels = "".join(f"_{label} #{k} \n" for k, label in enumerate(ORIGINS, start=1))
    for name, rows in shifts.items():
        lines = "".join("  ".join(row) + " \n" for row in rows)
        text += f"{VERSION}data_{name}\n\nloop_ \n{labels}{lines} \n"
    return text


def read_motion(text):
    """How many particles a motion file states, and rows of words by name, in its order."""
    number, found, name = None, {}, None
    for line in text.splitlines():
        words = line.split()
        if line.startswith("data_"):
            name = line.strip()[5:]
            assert name not in found
            found[name] = []
        elif words and words[0] == "_rlnParticleNumber":
            number = int(words[1])
        elif words and words[0][0] not in "#_" and words != ["loop_"]:
            found[name].append(words)
    assert found.pop("general") == []
    return number, found


def read_set(text):
    """Words of a set by label."""
    lines = [line.split() for line in text.splitlines() if line.startswith("_")]
    return {label[1:]: word for label, word in lines}


@pytest.fixture
def project(rng, tmp_path):
    """Write particles, their motion in another order, and the set; gives columns and shifts."""

    def write(n=6, frames=4, names=SET, **options):
        columns = subtomograms(rng, n, **options)
        (tmp_path / "p.star").write_text(tomo_text(columns))
        shifts = {
            name: [[f"{x:.6f}" for x in rng.normal(0, 3, 3)] for _ in range(frames)]
            for name in rng.permutation(columns["rlnTomoParticleName"]).tolist()
        }
        (tmp_path / "motion.star").write_text(motion_text(shifts))
        (tmp_path / "optimisation_set.star").write_text(set_text(names))
        return columns, shifts

    return write


def assert_outputs(folder, columns, shifts, order, stem="e"):
    """The three files belong together, and every copy has the trajectory of its particle."""
    found = read_star((folder / f"{stem}.star").read_text())
    number, blocks = read_motion((folder / f"{stem}_motion.star").read_text())
    names = found["rlnTomoParticleName"]
    assert list(blocks) == names
    assert number == len(names) == order * len(columns["rlnTomoName"])
    parents = [name for name in columns["rlnTomoParticleName"] for _ in range(order)]
    assert [blocks[name] for name in names] == [shifts[parent] for parent in parents]
    named = read_set((folder / f"{stem}_optimisation_set.star").read_text())
    assert named == SET | {
        "rlnTomoParticlesFile": f"{stem}.star",
        "rlnTomoTrajectoriesFile": f"{stem}_motion.star",
    }
    return found


def test_a_set_is_expanded_as_a_whole(project, go, tmp_path):
    columns, shifts = project()
    shown = go("expand", "optimisation_set.star", "e.star", "--symmetry=C6")
    assert "wrote e.star and e_optimisation_set.star and e_motion.star: 6 particles" in shown
    found = assert_outputs(tmp_path, columns, shifts, 6)
    assert found["rlnTomoParticleName"][:2] == ["TS_01/1", "TS_01/1_g01"]
    assert (tmp_path / "e.star").read_text().startswith(GENERAL + OPTICS)
    go("expand", "p.star", "alone.star", "--symmetry=C6")
    assert (tmp_path / "alone.star").read_bytes() == (tmp_path / "e.star").read_bytes()
    size = sum((tmp_path / name).stat().st_size for name in os.listdir(tmp_path) if name[0] == "e")
    done = numba_symexp.expand(SET_NAME, "e.star", symmetry="C6", overwrite=True)
    assert done.bytes == size


def test_the_set_may_stand_beside_its_particles(project, go, command, tmp_path):
    columns, shifts = project()
    go("expand", "optimisation_set.star", "e.star", *HELIX)
    one = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path) if name[0] == "e"}
    flag = f"--optimisation_set={SET_NAME}"
    done = command("expand", "p.star", "e.star", flag, *HELIX, "--overwrite")
    assert (done.returncode, "other particles" in done.stderr) == (0, False)
    assert_outputs(tmp_path, columns, shifts, ORDER)
    assert len(one) == 3
    for name, data in one.items():
        assert (tmp_path / name).read_bytes() == data


def test_what_comes_out_goes_in_again(project, go, tmp_path):
    columns, shifts = project()
    go("expand", "optimisation_set.star", "e.star", "--symmetry=C3")
    assert "18" in go("inspect", "e_optimisation_set.star")
    go("expand", "e_optimisation_set.star", "f.star", "--symmetry=C2", "--again")
    found = read_star((tmp_path / "f.star").read_text())
    number, blocks = read_motion((tmp_path / "f_motion.star").read_text())
    assert (number, len(blocks)) == (36, 36)
    assert found["rlnTomoParticleName"] == list(blocks)
    parents = [name for name in columns["rlnTomoParticleName"] for _ in range(6)]
    assert list(blocks.values()) == [shifts[parent] for parent in parents]


def test_one_operator_leaves_the_names(project, go, tmp_path):
    columns, shifts = project()
    go("expand", "optimisation_set.star", "e.star", "--symmetry=C7", "--operators=3")
    found = assert_outputs(tmp_path, columns, shifts, 1)
    assert found["rlnTomoParticleName"] == columns["rlnTomoParticleName"]


def test_without_trajectories_there_is_no_motion_file(project, go, tmp_path):
    project(names={k: v for k, v in SET.items() if k != "rlnTomoTrajectoriesFile"})
    shown = go("expand", "optimisation_set.star", "e.star", "--symmetry=C2")
    assert "wrote e.star and e_optimisation_set.star: " in shown
    assert not (tmp_path / "e_motion.star").exists()


def test_a_dry_run_writes_nothing(project, go, tmp_path):
    project()
    shown = go("expand", "optimisation_set.star", "e.star", "--symmetry=C2", "--dry_run")
    assert "would write e.star and e_optimisation_set.star and e_motion.star" in shown
    assert set(os.listdir(tmp_path)) == SOURCES
    before, after = (
        numba_symexp.expand(SET_NAME, "e.star", symmetry="C2", dry_run=dry) for dry in (True, False)
    )
    assert abs(before.bytes - after.bytes) < 0.1 * after.bytes


def test_all_that_opens_a_table_opens_that_of_a_set(project, go, tmp_path):
    project()
    assert go("inspect", "optimisation_set.star") == go("inspect", "p.star").replace(
        "p.star", "optimisation_set.star", 1
    )
    go("import", "optimisation_set.star", "i.h5")
    go("import", "p.star", "j.h5")
    with h5py.File(tmp_path / "i.h5") as one, h5py.File(tmp_path / "j.h5") as other:
        assert list(one["particles"]) == list(other["particles"])
        pose = "particles/alignments3D/pose"
        assert np.array_equal(one[pose][()], other[pose][()])


@pytest.mark.parametrize("form", ["loop", "quotes", "CRLF", "beside", "absolute"])
def test_forms_of_sets(form, project, go, tmp_path):
    columns, shifts = project()
    where, output = tmp_path / "optimisation_set.star", "e.star"
    text = set_text(SET)
    if form == "loop":
        text = loop("", {label: [word] for label, word in SET.items()})
    elif form == "quotes":
        (tmp_path / "motion.star").rename(tmp_path / "my motion.star")
        text = text.replace("motion.star", '"my motion.star"')
    elif form == "CRLF":
        text = text.replace("\n", "\r\n")
        moved = (tmp_path / "motion.star").read_text().replace("\n", "\r\n")
        (tmp_path / "motion.star").write_bytes(moved.encode())
    elif form == "beside":
        (tmp_path / "job").mkdir()
        for name in ("p.star", "motion.star"):
            (tmp_path / name).rename(tmp_path / "job" / name)
        where = tmp_path / "job" / "set.star"
    else:
        text = text.replace("motion.star", str(tmp_path / "motion.star"))
        output = tmp_path / "e.star"
    where.write_bytes(text.encode())
    go("expand", where, output, "--symmetry=C2")
    assert all(b"\r" not in path.read_bytes() for path in tmp_path.glob("e*.star"))
    if form == "loop":
        text = (tmp_path / "e_optimisation_set.star").read_text()
        words = {label: words[0] for label, words in read_star(text, "").items()}
        (tmp_path / "e_optimisation_set.star").write_text(set_text(words))
    assert_outputs(tmp_path, columns, shifts, 2)


def test_the_current_folder_comes_before_that_of_the_set(project, go, tmp_path):
    columns, shifts = project()
    (tmp_path / "job").mkdir()
    (tmp_path / "optimisation_set.star").rename(tmp_path / "job" / "set.star")
    (tmp_path / "job" / "motion.star").write_text(motion_text({"TS_01/1": []}))
    go("expand", "job/set.star", "e.star", "--symmetry=C2")
    assert_outputs(tmp_path, columns, shifts, 2)


def test_other_words_and_lines_of_a_set_stay(project, go, tmp_path):
    project()
    text = "# of mine\n" + set_text(SET) + "\ndata_more\n\n_rlnX   p.star # p.star\n"
    (tmp_path / "optimisation_set.star").write_text(text)
    go("expand", "optimisation_set.star", "e.star", "--symmetry=C2")
    wanted = text.replace("  p.star\n", "  e.star\n", 1).replace("motion.star", "e_motion.star")
    assert (tmp_path / "e_optimisation_set.star").read_text() == wanted


def test_another_particle_file_than_the_sets_is_warned_of(project, go, command, tmp_path):
    columns, shifts = project()
    (tmp_path / "part.star").write_bytes((tmp_path / "p.star").read_bytes())
    done = command(
        "expand", "part.star", "e.star", "--symmetry=C2", "--optimisation_set=optimisation_set.star"
    )
    assert done.returncode == 0
    assert done.stderr.count("names other particles than part.star") == 1
    assert_outputs(tmp_path, columns, shifts, 2)


def test_a_part_of_the_particles_gets_a_part_of_the_motion(project, go, tmp_path):
    columns, shifts = project(n=8)
    some = {label: words[2:5] for label, words in columns.items()}
    (tmp_path / "p.star").write_text(tomo_text(some))
    go("expand", "optimisation_set.star", "e.star", "--symmetry=C3")
    assert_outputs(tmp_path, some, shifts, 3)


@pytest.mark.parametrize("piece", [1, 7, 64, 300])
def test_blocks_may_begin_anywhere_in_a_piece(piece, project, go, monkeypatch, tmp_path):
    columns, shifts = project(n=9, frames=2)
    monkeypatch.setattr(motion_module, "_PIECE_BYTES", piece)
    go("expand", "optimisation_set.star", "e.star", "--symmetry=C2")
    assert_outputs(tmp_path, columns, shifts, 2)


def test_a_motion_file_without_comments_or_last_newline(project, go, tmp_path):
    columns, shifts = project()
    text = motion_text(shifts).replace(VERSION, "\n").rstrip()
    (tmp_path / "motion.star").write_text(text)
    go("expand", "optimisation_set.star", "e.star", "--symmetry=C2")
    assert_outputs(tmp_path, columns, shifts, 2)


@pytest.mark.slow
def test_a_long_motion_file_is_never_held(project, go, tmp_path):
    project(n=300, frames=2000)
    size = (tmp_path / "motion.star").stat().st_size
    most = []
    for source in ("p.star", "p.star", SET_NAME):  # the first run loads and compiles
        tracemalloc.start()
        go("expand", source, "e.star", "--symmetry=C2", "--overwrite")
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert size > 15e6
    assert most[2] - most[1] < 4e6, most


PRINT_TABLE = "relion_star_printtable"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(PRINT_TABLE) is None, reason=f"{PRINT_TABLE} is not installed")
def test_relion_finds_the_trajectory_of_every_copy(project, go, tmp_path):
    columns, shifts = project(n=3)
    go("expand", SET_NAME, "e.star", "--symmetry=C3")
    names = read_star((tmp_path / "e.star").read_text())["rlnTomoParticleName"]
    parents = [name for name in columns["rlnTomoParticleName"] for _ in range(3)]
    for name, parent in zip(names, parents, strict=True):
        done = subprocess.run(
            [PRINT_TABLE, "e_motion.star", f"data_{name}", *ORIGINS],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        told = np.array([line.split() for line in done.stdout.splitlines()], float)
        assert np.abs(told - np.array(shifts[parent], float)).max() < 1e-5


def baked(go, folder, *flags):
    """Columns of particles whose origins were baked in; says what was noted too."""
    shown = go("expand", "p.star", "e.star", "--recenter=coordinates", *flags, "--overwrite")
    assert "note: coordinates are new: extract the particles again" in shown
    found = read_star((folder / "e.star").read_text())
    assert (floats(found, *ORIGINS) == 0).all()
    return found


def assert_mates(columns, found, motions, center_A, point_A):
    """Row (i, g) has at the point what the particle has at g(point + center)."""
    order = len(motions)
    wanted = placed(columns, [R @ (point_A + center_A) + t for R, t in motions])
    after = placed(found, [point_A])[:, 0].reshape(len(wanted), order, 3)
    for some, others in zip(after, wanted, strict=True):
        assert same_points(some, others, 5e-6)


MOVES = {
    "group": (["--symmetry=D3"], [(R, np.zeros(3)) for R in naive.group("D3", "relion")]),
    "helix": (
        [*HELIX, "--symmetry=D2"],
        naive.helix(TWIST, RISE_A, ORDER, naive.group("D2", "relion")),
    ),
    "none": (["--symmetry=C1"], [(np.eye(3), np.zeros(3))]),
}


@pytest.mark.parametrize(
    "coordinates", [CENTERED, UNBINNED, (*UNBINNED, *CENTERED)], ids=["centered", "px", "both"]
)
@pytest.mark.parametrize(
    "angles", [(*SUB_ANGLES, *ANGLES), ANGLES, SUB_ANGLES], ids=["both", "own", "cut"]
)
@pytest.mark.parametrize("moves", MOVES)
def test_baked_origins_leave_every_point_where_it_is(
    moves, angles, coordinates, project, rng, go, tmp_path
):
    flags, motions = MOVES[moves]
    columns, _ = project(angles=angles, coordinates=coordinates)
    point_A = rng.uniform(-20, 20, 3)
    for center_A in np.zeros(3), np.array([11.5, -20.25, 30.0]):
        center = ["--center={},{},{}".format(*center_A)] if center_A.any() else []
        found = baked(go, tmp_path, *flags, *center)
        assert_mates(columns, found, motions, center_A, point_A)
        if len(coordinates) == 6:
            some, others = (
                {label: words for label, words in each.items() if label not in CENTERED}
                for each in (columns, found)
            )
            assert_mates(some, others, motions, center_A, point_A)


def test_each_optics_group_has_its_own_pixel(project, go, tmp_path):
    columns, _ = project(coordinates=UNBINNED)
    columns["rlnOpticsGroup"] = ["2", "1"] * 3
    sizes_A = np.array([2.2, UNBINNED_A] * 3)
    optics = loop(
        "optics",
        {
            "rlnOpticsGroup": ["1", "2"],
            "rlnTomoTiltSeriesPixelSize": [str(UNBINNED_A), "2.2"],
            "rlnImagePixelSize": ["2.7", "4.4"],
        },
    )
    (tmp_path / "p.star").write_text(optics + loop("particles", columns) + "\n")
    found = baked(go, tmp_path, "--symmetry=C1")
    for k, turn in enumerate(matrices(columns, SUB_ANGLES, 6)):
        place_A = floats(columns, *UNBINNED)[k] * sizes_A[k]
        (wanted,) = naive.in_tomogram(
            place_A, turn.T, np.eye(3), floats(columns, *ORIGINS)[k], [np.zeros(3)]
        )
        assert np.abs(floats(found, *UNBINNED)[k] * sizes_A[k] - wanted).max() < 3e-6


def test_origins_in_pixels_are_baked_too(project, go, tmp_path):
    columns, _ = project()
    origins_A = floats(columns, *ORIGINS)
    in_px = {k: v for k, v in columns.items() if k not in ORIGINS}
    for k, axis in enumerate("XYZ"):
        in_px[f"rlnOrigin{axis}"] = [repr(float(x)) for x in origins_A[:, k] / 2.7]
    (tmp_path / "p.star").write_text(tomo_text(in_px))
    go("expand", "p.star", "e.star", "--recenter=coordinates", "--symmetry=C1")
    found = read_star((tmp_path / "e.star").read_text())
    assert (floats(found, "rlnOriginX", "rlnOriginY", "rlnOriginZ") == 0).all()
    zero = np.zeros((1, 3))
    assert np.abs(placed(found, zero) - placed(columns, zero)).max() < 3e-6


def test_a_row_without_an_origin_keeps_its_words(project, go, tmp_path):
    columns, _ = project()
    for label in ORIGINS:
        columns[label][2] = "0"
    columns[CENTERED[0]][2] = "12.50"
    (tmp_path / "p.star").write_text(tomo_text(columns))
    found = baked(go, tmp_path, "--symmetry=C2")
    for label in (*CENTERED, *ORIGINS):
        assert found[label][4] == found[label][5] == columns[label][2]
    assert found[CENTERED[0]][0] != columns[CENTERED[0]][0]


def test_priors_of_origins_count_from_the_new_place(project, rng, go, tmp_path):
    columns, _ = project()
    priors = tuple(f"rlnOrigin{axis}PriorAngst" for axis in "XYZ")
    for label in priors:
        columns[label] = [f"{x:.6f}" for x in rng.normal(0, 5, 6)]
    (tmp_path / "p.star").write_text(tomo_text(columns))
    found = baked(go, tmp_path, "--symmetry=C1")

    def expected(table):
        as_origins = {label: table[each] for label, each in zip(ORIGINS, priors, strict=True)}
        return placed(table | as_origins, np.zeros((1, 3)))

    assert np.abs(expected(found) - expected(columns)).max() < 5e-6


def test_a_set_and_baked_coordinates_go_together(project, tmp_path, go):
    columns, shifts = project()
    go("inspect", "p.star")
    done = numba_symexp.expand(
        tmp_path / "p.star",
        tmp_path / "e.star",
        symmetry="C2",
        optimisation_set=tmp_path / "optimisation_set.star",
        recenter="coordinates",
    )
    assert [os.path.basename(each) for each in done.files] == [
        *("e.star", "e_optimisation_set.star", "e_motion.star")
    ]
    assert done.notes == ("coordinates are new: extract the particles again",)
    found = assert_outputs(tmp_path, columns, shifts, 2)
    assert (floats(found, *ORIGINS) == 0).all()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--symmetry=C6"], False),
        (["--symmetry=C6", "--center=0,0,5"], True),
        (HELIX, True),
    ],
)
def test_premultiplied_images_are_named_where_copies_move(flags, says, project, go, tmp_path):
    project()
    assert ("premultiplied" in go("expand", "p.star", "e.star", *flags)) == says
    text = (tmp_path / "p.star").read_text()
    other = OPTICS.replace("opticsGroup1 1.35 1 ", "opticsGroup1 1.35 0 ")
    assert other != OPTICS
    (tmp_path / "q.star").write_text(text.replace(OPTICS, other))
    assert "premultiplied" not in go("expand", "q.star", "f.star", *flags)


def refused(command, folder, code, told, *words):
    """One line of error, and no file more or less."""
    before = sorted(os.listdir(folder))
    done = command(*words)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning")]
    assert (done.returncode, len(lines)) == (code, 1), done.stderr
    assert lines[0].startswith("error: ")
    assert told in lines[0]
    assert "unexpected" not in lines[0]
    assert sorted(os.listdir(folder)) == before


def change(name, old, new):
    """Replace some text of a file once."""

    def damage(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return damage


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


BLOCK = motion_text({"TS_01/1": [["0", "0", "0"]]}).partition(" \n")[2]
BAD_SETS = {
    "particles missing": (change(SET_NAME, "p.star", "q.star"), "neither in the current folder"),
    "motion missing": (change(SET_NAME, "motion.star", "m.star"), "trajectories file, 'm.star'"),
    "device": (change(SET_NAME, "motion.star", "/dev/zero"), "is no regular file"),
    "folder": (change(SET_NAME, "motion.star", "/tmp"), "is no regular file"),
    "kernel": (change(SET_NAME, "motion.star", "/proc/self/status"), "is no regular file"),
    "no particles": (change(SET_NAME, "_rlnTomoParticlesFile", "_rlnX"), "names no particle file"),
    "two words": (change(SET_NAME, " p.star", " p.star q.star"), "must have one word"),
    "twice": (change(SET_NAME, "TomogramsFile", "ParticlesFile"), "under one label"),
    "two rows": (
        write(SET_NAME, loop("", {label: [word] * 2 for label, word in SET.items()})),
        "has one row",
    ),
    "a set of a set": (change(SET_NAME, "p.star", SET_NAME), "no loop of particles"),
    "no block": (change("motion.star", "data_TS_01/2\n", "data_X\n"), "no trajectory of TS_01/2"),
    "two blocks": (
        lambda folder: (folder / "motion.star").open("a").write(BLOCK),
        "two trajectories of TS_01/1",
    ),
    "no general": (change("motion.star", "data_general", "data_special"), "is no motion file"),
    "no number": (change("motion.star", "_rlnParticleNumber", "_rlnX"), "is no motion file"),
    "no names": (write("motion.star", motion_text({"0": [["0"] * 3]})), "have no names"),
    "no loop": (change("motion.star", "loop_", ""), "is no loop of numbers"),
    "other label": (change("motion.star", "OriginZAngst", "OriginZ"), "is no loop of numbers"),
    "a word": (change("motion.star", "  -", "  x"), "is no loop of numbers"),
    "text": (write("motion.star", "root:x:0:0\n"), "is no motion file"),
    "empty": (write("motion.star", ""), "is no motion file"),
}


@pytest.mark.parametrize("bad", BAD_SETS)
def test_bad_sets_and_motion_files_are_named(bad, project, command, tmp_path):
    damage, told = BAD_SETS[bad]
    project()
    damage(tmp_path)
    refused(command, tmp_path, 1, told, "expand", SET_NAME, "e.star", "--symmetry=C2")


def test_a_motion_file_that_was_cut_short(project, command, tmp_path):
    project()
    text = (tmp_path / "motion.star").read_text().rstrip()
    (tmp_path / "motion.star").write_text(text[: text.rindex(" ")])
    told = "is no loop of numbers"
    refused(command, tmp_path, 1, told, "expand", SET_NAME, "e.star", "--symmetry=C2")


def test_particles_without_names_have_no_trajectories(project, command, tmp_path):
    columns, _ = project()
    del columns["rlnTomoParticleName"]
    (tmp_path / "p.star").write_text(tomo_text(columns))
    told = "has no _rlnTomoParticleName"
    refused(command, tmp_path, 1, told, "expand", SET_NAME, "e.star", "--symmetry=C2")


def test_images_have_no_optimisation_set(project, rng, command, tmp_path):
    project()
    (tmp_path / "p.star").write_text(star_text(particles(rng, 5)))
    told = "its particles are images"
    refused(command, tmp_path, 1, told, "expand", SET_NAME, "e.star", "--symmetry=C2")


REFUSED = {
    "h5": (2, "--optimisation_set goes with", "p.star", "e.h5", [f"--optimisation_set={SET_NAME}"]),
    "cs": (2, "--optimisation_set goes with", "p.star", "e.cs", [f"--optimisation_set={SET_NAME}"]),
    "set to h5": (2, "ends in no .star", SET_NAME, "e.h5", []),
    "set to cs": (2, "ends in no .star", SET_NAME, "e.cs", []),
    "two sets": (
        2,
        "leave out --optimisation_set",
        SET_NAME,
        "e.star",
        [f"--optimisation_set={SET_NAME}"],
    ),
    "no set": (1, "is no optimisation set", "p.star", "e.star", ["--optimisation_set=p.star"]),
    "gone": (1, "no such file", "p.star", "e.star", ["--optimisation_set=gone.star"]),
    "bake h5": (2, "--recenter goes with", "p.star", "e.h5", ["--recenter=coordinates"]),
    "bake cs": (2, "--recenter goes with", "p.star", "e.cs", ["--recenter=coordinates"]),
    "program": (2, "--program=m goes with", SET_NAME, "e.star", ["--program=m"]),
    "tbl": (2, "ends in no .star", SET_NAME, "e.tbl", []),
    "bake tbl": (2, "--recenter goes with", "p.star", "e.tbl", ["--recenter=coordinates"]),
    "bake what": (2, "is not coordinates", "p.star", "e.star", ["--recenter=shift"]),
    "micrographs": (
        2,
        "--micrograph_psize is for images",
        "p.star",
        "e.star",
        ["--recenter=coordinates", "--micrograph_psize=1"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_goes_with_a_particle_file_only(case, project, command, tmp_path):
    code, told, source, output, flags = REFUSED[case]
    project()
    refused(command, tmp_path, code, told, "expand", source, output, "--symmetry=C2", *flags)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda c: [c.pop(label) for label in UNBINNED], "has no coordinates"),
        (lambda c: c.pop("rlnCoordinateZ"), "has no _rlnCoordinateZ"),
        (lambda c: c["rlnCoordinateY"].__setitem__(3, "x"), "_rlnCoordinateY is 'x' in row 3"),
    ],
)
def test_coordinates_that_cannot_take_origins(damage, told, rng, command, tmp_path):
    columns = subtomograms(rng, 6, coordinates=UNBINNED)
    damage(columns)
    (tmp_path / "p.star").write_text(tomo_text(columns))
    flags = ("--symmetry=C2", "--recenter=coordinates")
    refused(command, tmp_path, 1, told, "expand", "p.star", "e.star", *flags)


@pytest.mark.parametrize("size", [None, "0", "nan"])
def test_pixels_of_the_tilt_series_must_be_known(size, rng, command, tmp_path):
    text = tomo_text(subtomograms(rng, 6, coordinates=UNBINNED))
    label = "rlnTomoTiltSeriesPixelSize"
    if size is None:
        text = text.replace(label, "rlnSomething")
    else:
        text = text.replace(f" {UNBINNED_A} ", f" {size} ")
    (tmp_path / "p.star").write_text(text)
    flags = ("--symmetry=C2", "--recenter=coordinates")
    refused(command, tmp_path, 1, label, "expand", "p.star", "e.star", *flags)


@pytest.mark.parametrize("name", ["e.star", "e_optimisation_set.star", "e_motion.star"])
def test_nothing_is_replaced_without_being_asked(name, project, command, go, tmp_path):
    columns, shifts = project()
    (tmp_path / name).write_text("data_old\n")
    words = ("expand", SET_NAME, "e.star", "--symmetry=C2")
    refused(command, tmp_path, 1, f"{name}: exists", *words)
    assert (tmp_path / name).read_text() == "data_old\n"
    go(*words, "--overwrite")
    assert_outputs(tmp_path, columns, shifts, 2)


@pytest.mark.parametrize("dry", [[], ["--dry_run"]], ids=["wet", "dry"])
@pytest.mark.parametrize("given", ["source", "flag"])
@pytest.mark.parametrize("name", [SET_NAME, "motion.star"])
def test_an_input_is_never_an_output(name, given, dry, project, command, tmp_path):
    project()
    named = {"p.star": "q.star", SET_NAME: SET_NAME, "motion.star": "motion.star"}
    named[name] = f"p_{name}"  # which is what lies beside p.star
    for old, new in named.items():
        (tmp_path / old).rename(tmp_path / new)
    change(named[SET_NAME], " p.star", " q.star")(tmp_path)
    change(named[SET_NAME], " motion.star", f" {named['motion.star']}")(tmp_path)
    before = (tmp_path / named[name]).read_bytes()
    words = [named[SET_NAME]]
    if given == "flag":
        words = ["q.star", f"--optimisation_set={words[0]}"]
    words = ("expand", words[0], "p.star", *words[1:], "--symmetry=C2", "--overwrite", *dry)
    refused(command, tmp_path, 1, "is the source itself", *words)
    assert (tmp_path / named[name]).read_bytes() == before


def test_options_of_a_particle_file_are_no_part_of_a_provenance(project, go, tmp_path):
    project()
    go("expand", "p.star", "e.h5", "--symmetry=C2")
    with h5py.File(tmp_path / "e.h5") as file:
        text = file.attrs["provenance"]
    assert "recenter" not in text
    assert "optimisation_set" not in text
