"""What cannot be right is refused; what may be meant gets one warning before the work."""

import naive
import numpy as np
import pytest
from conftest import random_columns, write_table


@pytest.fixture
def expand(tmp_path, command):
    """Expand a table of 20 particles with some columns changed; gives what was printed."""

    def run(changed, *words):
        made = {**random_columns(np.random.default_rng(3), 20), PSIZE: np.full(20, 1.25, "f4")}
        made = {name: each for name, each in (made | changed).items() if each is not None}
        write_table(tmp_path / "p.h5", made, **run.attributes)
        return command("expand", "p.h5", "e.h5", "--quiet", *words)

    run.attributes = {}
    return run


BOX = {"blob/shape": np.full((20, 2), 100, "u4"), "blob/psize_A": np.full(20, 1.25, "f4")}
SPLIT, POSE, PSIZE = "alignments3D/split", "alignments3D/pose", "alignments3D/psize_A"
PLACES = {
    "location/micrograph_shape": np.full((20, 2), 4000, "u4"),
    "location/center_x_frac": np.linspace(-0.1, 0.9, 20).astype("f4"),
    "location/center_y_frac": np.linspace(0.1, 0.9, 20).astype("f4"),
}
IN_PLANE = np.array([[0, 0, angle] for angle in np.linspace(-3, 3, 20)], "f4")


@pytest.mark.parametrize(
    ("changed", "words", "said"),
    [
        ({SPLIT: np.arange(20, dtype="u4") % 3}, (), "half-sets are two"),
        ({SPLIT: -(np.arange(20) % 2).astype("i4")}, (), "half-sets are two"),
        ({}, ("--center_px=10,10,130", "--box_px=128"), "outside of a map with voxels 0 to 127"),
        ({}, ("--center_px=10,-1,10", "--box_px=128"), "outside of a map"),
    ],
)
def test_what_cannot_be_right_is_refused(changed, words, said, expand, tmp_path):
    done = expand(changed, "--symmetry=D2", *words)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert not (tmp_path / "e.h5").exists()


@pytest.mark.parametrize(
    "words",
    [("export", "o.star"), ("export", "o.cs"), ("reorient", "o.star", "--flip"),
     ("expand", "o.star", "--symmetry=C2")],
)  # fmt: skip
def test_a_third_half_set_is_written_into_no_file_of_particles(words, command, rng, tmp_path):
    columns = random_columns(rng, 20)
    columns[SPLIT][5] = 7
    write_table(tmp_path / "p.h5", columns)
    verb, output, *flags = words
    done = command(verb, "p.h5", output, *flags)
    assert done.returncode == 1
    assert "p.h5: alignments3D/split has the values 0, 1, 7, and half-sets are two" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / output).exists()


HELIX = ("--twist=30", "--order=3")


@pytest.mark.parametrize(
    ("changed", "words", "said"),
    [
        ({SPLIT: np.full(20, 7, "u4")}, ("--symmetry=D2",), "has the value(s) 7"),
        ({}, ("--symmetry=D2", "--psize=1.3"), "--psize=1.3 is used, though alignments3D/psize_A"),
        (BOX, ("--symmetry=D2", "--center=0,70,0", "--unique"), "is 70 A from the box center"),
        (BOX, ("--symmetry=D2", "--center=40,50,0"), "--center is 64.03 A from the box center"),
        (BOX, (*HELIX, "--rise=126"), "--rise=126 A is longer than the box of 125 A"),
        (PLACES, ("--symmetry=D2",), "put 2 particle(s) off the micrograph"),
        ({POSE: IN_PLANE}, ("--symmetry=D2",), "2D classification"),
    ],
)
def test_what_may_be_meant_gets_one_warning(changed, words, said, expand):
    done = expand(changed, *words)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert sum(said in line and line.startswith("warning: ") for line in lines) == 1, lines
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ("--symmetry=D2", "--psize=1.255")),
        ({}, ("--symmetry=D2", "--center_px=10,0,127", "--box_px=128")),
        (  # the same but for the rounding of float32
            {PSIZE: np.array([8, 8.000004] * 10, "f4")},
            ("--symmetry=D2", "--center_px=10,0,127", "--box_px=128"),
        ),
        (  # words where numbers should be
            {
                **PLACES,
                "location/center_x_frac": np.full(20, 0.5, "f4"),
                "location/micrograph_shape": np.full((20, 2), b"?"),
                "location/micrograph_psize_A": np.full(20, 0.5, "f4"),
            },
            ("--symmetry=D2", "--center=5,62,0"),
        ),
        ({**BOX, SPLIT: np.arange(20, dtype="u4") % 2 + 1}, ("--symmetry=D2", "--center=5,62,0")),
        (BOX, (*HELIX, "--rise=124")),
    ],
)
def test_what_is_usual_gets_none(changed, words, expand):
    done = expand(changed, *words)
    assert (done.returncode, done.stderr) == (0, "")


def off_micrograph(columns, motions):
    """Copies whose centers are off a micrograph of 4000 px of 0.5 A, by matrices and loops."""
    off = []
    for row in range(20):
        size_A = np.array([3000, 4000]) * 0.5
        place_A = size_A * [columns[name][row] for name in list(PLACES)[1:]]
        A = naive.exp(columns[POSE][row].astype(float)).T
        for m in motions:
            shift_A = columns["alignments3D/shift"][row] * 1.25 - (A @ m)[:2]
            at = place_A - shift_A
            off.append(not ((at >= 0) & (at <= size_A)).all())
    return off


@pytest.mark.parametrize("pose_format", ["rotvec", "matrix"])
@pytest.mark.parametrize("kind", ["helix", "center"])
@pytest.mark.parametrize("psize", [(), ("--psize=1.25",)])
def test_copies_off_the_micrograph_are_told(psize, kind, pose_format, expand):
    """Those of particles near an edge, whose own centers are on it."""
    rng = np.random.default_rng(5)
    columns = {
        **random_columns(np.random.default_rng(3), 20),
        "location/micrograph_shape": np.tile(np.array([4000, 3000], "u4"), (20, 1)),
        "location/center_x_frac": np.append(rng.uniform(0.005, 0.02, 10), [0.5] * 10).astype("f4"),
        "location/center_y_frac": np.append(rng.uniform(0.97, 0.995, 10), [0.5] * 10).astype("f4"),
        "location/micrograph_psize_A": np.full(20, 0.5, "f4"),
    }
    if kind == "helix":
        words = ("--twist=30", "--rise=40", "--order=5")
        motions = [np.array([0, 0, 40.0 * k]) for k in (0, -1, 1, -2, 2)]
    else:
        words = ("--symmetry=C4", "--center=0,50,10")
        turns = [naive.exp(np.array([0, 0, k * np.pi / 2])) for k in range(4)]
        motions = [turn @ [0, 50.0, 10] for turn in turns]
    off = np.array(off_micrograph(columns, motions)).reshape(20, -1)
    assert 0 < np.count_nonzero(off) < off.size // 2
    if pose_format == "matrix":
        columns[POSE] = np.array([naive.exp(v.astype(float)) for v in columns[POSE]], "f4")
    columns[PSIZE] = None if psize else np.full(20, 1.25, "f4")
    done = expand(columns, *words, *psize, f"--pose_format={pose_format}")
    assert done.returncode == 0
    assert done.stderr == (
        f"warning: p.h5: the centers of {np.count_nonzero(off)} copies, of "
        f"{np.count_nonzero(off.any(axis=1))} particle(s), are off their micrographs\n"
    )
    still = expand(columns, "--symmetry=C4", *psize, f"--pose_format={pose_format}", "--overwrite")
    assert (still.returncode, still.stderr) == (0, "")


@pytest.mark.parametrize("value", [0.0, -1.1, np.nan, np.inf])
@pytest.mark.parametrize("name", ["blob/psize_A", "alignments_class_1/psize_A"])
@pytest.mark.parametrize("out", ["o.cs", "o.star"])
def test_every_pixel_size_that_is_written_is_a_length(out, name, value, expand, command, tmp_path):
    sizes = np.full(20, 1.25, "f4")
    sizes[7] = value
    further = {
        "alignments_class_1/pose": np.ones((20, 3), "f4"),
        "alignments_class_1/shift": np.ones((20, 2), "f4"),
        name: sizes,
    }
    assert expand(further, "--twist=30", "--rise=4", "--order=3", "--psize=1.25").returncode == 0
    for source in ("p.h5", "e.h5"):
        done = command("export", source, out)
        if out == "o.star" and name != "blob/psize_A":  # a .star has no place for it
            assert done.returncode == 0
            (tmp_path / out).unlink()
            continue
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert f"{name} is not above 0 in row 7" in done.stderr
        assert not (tmp_path / out).exists()


def test_a_convention_against_the_table_is_told(expand):
    expand.attributes = {"convention": "relion"}
    done = expand({}, "--symmetry=D3", "--convention=cryosparc")
    assert "--convention=cryosparc is used, though p.h5 says relion" in done.stderr
    assert expand({}, "--symmetry=C3", "--convention=cryosparc", "--overwrite").stderr == ""
    assert expand({}, "--symmetry=D3", "--convention=relion", "--overwrite").stderr == ""


STAR = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnImageSize\n1 1.25 100\n\n"


@pytest.mark.parametrize(
    ("left_out", "said"),
    [("rlnAnglePsi", "has no _rlnAnglePsi"), ("rlnOriginXAngst", "has no _rlnOriginXAngst")],
)
def test_a_column_that_a_star_lacks_is_told(left_out, said, tmp_path, command):
    labels = [
        "rlnImageName", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst",
        "rlnOriginYAngst", "rlnRandomSubset", "rlnOpticsGroup",
    ]  # fmt: skip
    rows = [[f"{i + 1}@s.mrcs", i * 7, 20 + i, 3 * i, 1, 2, 1 + i % 2, 1] for i in range(8)]
    for name in (None, left_out):
        kept = [k for k, label in enumerate(labels) if label != name]
        head = "".join(f"_{labels[k]}\n" for k in kept)
        text = "".join(" ".join(str(row[k]) for k in kept) + "\n" for row in rows)
        (tmp_path / "p.star").write_text(f"{STAR}data_particles\n\nloop_\n{head}{text}\n")
        words = ("expand", "p.star", "e.h5", "--symmetry=D2", "--quiet", "--overwrite")
        done = command(*words)
        assert done.returncode == 0
        assert (said in done.stderr) == (name is not None)
        assert len(done.stderr.splitlines()) == (name is not None)
    done = command(*words, "--center=0,63,0")
    assert "--center is 63 A from the box center" in done.stderr


@pytest.mark.parametrize(
    ("flags", "warned"),
    [
        (("--symmetry=I",), True),
        (("--symmetry=i",), True),
        (("--symmetry=I", "--convention=cryosparc"), True),
        (("--symmetry=I", "--convention=relion"), False),
        (("--symmetry=I", "--convention=scipy"), False),
        (("--symmetry=I1",), False),
        (("--symmetry=I2",), False),
    ],
)
def test_which_icosahedron_cryosparc_means_is_asked(flags, warned, source, command):
    done = command("expand", source, "o.h5", *flags, "--dry_run")
    assert done.returncode == 0
    assert ("--symmetry=I1 or --symmetry=I2 says it" in done.stderr) == warned
