"""`expand` straight into .star and .cs: the bytes of the export of the expanded table."""

import json
import os

import numpy as np
import pytest
from conftest import compiled_only, random_columns, write_table
from star_files import particles, star_text
from test_cs import save, structured

import numba_symexp

CASES = {
    "group": ["--symmetry=D7"],
    "relion's axes": ["--symmetry=D3", "--convention=relion"],
    "helix": ["--twist=27.3", "--rise=4.75123456789", "--order=5", "--symmetry=C2"],
    "center": ["--symmetry=I1", "--center=3,4.5,60", "--operators=0,3,7-20"],
    "center in voxels": ["--symmetry=C4", "--center_px=40,33,30", "--box_px=64", "--psize=1.5"],
    "cosets": ["--symmetry=O", "--modulo=C4"],
    "own operators": ["--operators_file=own.txt"],
    "defocus": ["--symmetry=C3", "--center=10,0,70", "--defocus=minus"],
    "one operator": ["--symmetry=C1"],
    "small chunks": ["--symmetry=C5", "--chunk_rows=7", "--threads=1"],
}
OWN = "1 0 0 0\n0 1 0 0\n0 0 1 0\n\n0 -1 0 5.25\n1 0 0 -3\n0 0 1 17.125\n"
TRACKS = {"rlnHelicalTubeID": "1", "rlnAnglePsiPrior": "12.5", "rlnAngleTiltPrior": "90.0"}


@pytest.fixture(autouse=True)
def _same_time(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")


def cs(rng, path, n):
    """A .cs with the defocus, a further slot of poses, and one pixel size."""
    columns = random_columns(rng, n)
    columns["alignments3D/psize_A"][:] = 1.5
    columns["ctf/df2_A"] = columns["ctf/df1_A"] - 100
    columns["alignments_class_0/pose"] = columns["alignments3D/pose"][::-1].copy()
    save(path, structured(columns))


def make_sources(rng, folder):
    """One source of every kind."""
    (folder / "own.txt").write_text(OWN)
    one_group = particles(rng, 30)
    one_group["rlnOpticsGroup"] = ["1"] * 30
    (folder / "s.star").write_text(star_text(one_group))
    cs(rng, folder / "s.cs", 30)
    columns = random_columns(rng, 30, np.float64)
    columns["alignments3D/psize_A"][:] = 1.5
    columns["ctf/df2_A"] = columns["ctf/df1_A"] - 100
    write_table(folder / "s.h5", columns)
    write_table(folder / "s.hdf5", {k: v for k, v in columns.items() if k[-4:] not in ("plit",)})


def in_two_steps(go, folder, source, output, *flags, export=()):
    """Bytes of the files that the export of an expanded table makes."""
    name, suffix = os.path.splitext(output)
    kept = folder / "two"
    kept.mkdir(exist_ok=True)
    go("expand", source, "e.h5", "--overwrite", *flags)
    go("export", "e.h5", f"two/{output}", "--overwrite", *export)
    names = [output, *([f"{name}.csg"] if suffix.lower() == ".cs" else [])]
    return {each: (kept / each).read_bytes() for each in names}


def assert_same(go, folder, source, output, *flags, export=()):
    """One command makes the bytes that two make, and no other file."""
    wanted = in_two_steps(go, folder, source, output, *flags, export=export)
    before = set(os.listdir(folder))
    go("expand", source, output, *flags, *export)
    assert set(os.listdir(folder)) - before == set(wanted)
    for name, data in wanted.items():
        assert (folder / name).read_bytes() == data, name
        (folder / name).unlink()


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize("flags", CASES.values(), ids=CASES)
@pytest.mark.parametrize("source", ["s.star", "s.cs", "s.h5"])
def test_one_command_makes_the_bytes_of_two(source, flags, go, rng, tmp_path):
    make_sources(rng, tmp_path)
    for output in ("x.star", "x.CS"):
        assert_same(go, tmp_path, source, output, *flags)


def test_half_sets_that_are_drawn_are_the_same(go, rng, tmp_path):
    make_sources(rng, tmp_path)
    for output in ("x.star", "x.cs"):
        flags = ("--symmetry=C3", "--assign_halves=7")
        assert_same(go, tmp_path, "s.hdf5", output, *flags)


def test_groups_with_pixels_of_their_own(go, rng, tmp_path):
    (tmp_path / "s.star").write_text(star_text(particles(rng, 30)))
    assert_same(go, tmp_path, "s.star", "x.star", "--twist=27.3", "--rise=4.75", "--order=3")


@pytest.mark.parametrize("export", [(), ("--keep_track_length",)])
def test_places_on_tracks_and_priors(export, go, rng, tmp_path):
    columns = particles(rng, 20)
    columns |= {label: [word] * 20 for label, word in TRACKS.items()}
    columns["rlnHelicalTrackLengthAngst"] = [f"{40.0 * k:.6f}" for k in range(20)]
    (tmp_path / "s.star").write_text(star_text(columns))
    flags = ("--twist=27.3", "--rise=4.75", "--order=3", "--symmetry=D2")
    assert_same(go, tmp_path, "s.star", "x.star", *flags, export=export)


@compiled_only
def test_more_rows_than_one_block_and_one_chunk(go, rng, tmp_path):
    (tmp_path / "s.star").write_text(star_text(particles(rng, 1500)))
    assert_same(go, tmp_path, "s.star", "x.star", "--symmetry=I2")
    assert_same(go, tmp_path, "s.star", "x.cs", "--symmetry=I2")


def test_a_result_group_is_a_source(go, rng, tmp_path):
    make_sources(rng, tmp_path)
    go("expand", "s.cs", "copy.cs", "--symmetry=C1")
    assert_same(go, tmp_path, "copy.csg", "x.star", "--symmetry=D2")


OTHERS = ("csg", "mrc", "mrcs", "tbl", "txt", "json", "csv", "npy", "npz", "pdb", "cif", "gz")
WRITING = {
    "expand": (("expand", "s.star"), ("--symmetry=C2",)),
    "collapse": (("collapse", "e.h5"), ()),
    "import": (("import", "s.star"), ()),
    "export": (("export", "s.star"), ()),
    "example": (("example",), ()),
}


@pytest.mark.parametrize(("words", "flags"), WRITING.values(), ids=WRITING)
def test_a_suffix_of_another_kind_is_refused(words, flags, command, go, rng, tmp_path):
    make_sources(rng, tmp_path)
    go("expand", "s.star", "e.h5", "--symmetry=C2")
    for suffix in [*OTHERS, *map(str.upper, OTHERS), "star.gz", "h5.mrc"]:
        done = command(*words, f"x.{suffix}", *flags)
        assert done.returncode == 2, suffix
        assert len(done.stderr.splitlines()) == 1
        assert "ends in " in done.stderr
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize("name", ["x", "x.table", "x.h5", "x.HDF5"])
def test_particles_go_back_to_hdf5_under_any_other_suffix(name, go, rng, tmp_path):
    make_sources(rng, tmp_path)
    go("expand", "s.star", "e.h5", "--symmetry=C2")
    go("collapse", "e.h5", name)
    assert (tmp_path / name).read_bytes().startswith(b"\x89HDF")


BACK = {
    "expanded .star": ("s.star", ["e.h5"]),
    "expanded .cs": ("s.cs", ["e.h5"]),
    "expanded HDF5": ("s.h5", ["e.h5"]),
    "best of a .star": ("s.star", ["e.h5", "--by=uid"]),
    "best of an HDF5": ("s.h5", ["e.h5", "--by=uid", "--keep=min"]),
    "returned .star": ("s.star", ["part.star", "--expanded=e.h5"]),
    "best returned .cs": ("s.cs", ["back.cs", "--expanded=e.h5", "--by=ctf/df1_A"]),
    "returned of the other program": ("s.cs", ["back.star", "--expanded=e.h5"]),
}


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize(("source", "words"), BACK.values(), ids=BACK)
@pytest.mark.parametrize("suffix", ["star", "CS"])
def test_particles_go_back_into_the_bytes_of_two_commands(source, words, suffix, go, rng, tmp_path):
    make_sources(rng, tmp_path)
    go("expand", source, "e.h5", "--symmetry=D3", "--convention=relion")
    go("export", "e.h5", "back.star")
    go("export", "e.h5", "back.cs")
    lines = (tmp_path / "back.star").read_text().splitlines()
    (tmp_path / "part.star").write_text("\n".join(lines[:-50]) + "\n")
    go("collapse", *words[:1], "p.h5", *words[1:])
    (tmp_path / "two").mkdir()
    go("export", "p.h5", f"two/x.{suffix}")
    before = set(os.listdir(tmp_path))
    made = json.loads(go("collapse", *words[:1], f"x.{suffix}", *words[1:], "--json"))
    wanted = os.listdir(tmp_path / "two")
    assert set(os.listdir(tmp_path)) - before == set(wanted) == set(made["files"])
    for name in wanted:
        assert (tmp_path / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_particles_that_go_back_are_no_input(command, go, rng, tmp_path):
    make_sources(rng, tmp_path)
    go("expand", "s.star", "e.h5", "--symmetry=C2")
    go("export", "e.h5", "back.star")
    before = (tmp_path / "s.star").read_bytes()
    for output in ("s.star", "back.star"):
        done = command("collapse", "back.star", output, "--expanded=e.h5", "--overwrite")
        assert done.returncode == 1
        assert "is the source itself" in done.stderr
    assert (tmp_path / "s.star").read_bytes() == before


@pytest.mark.parametrize("name", ["x", "x.table", "x.h5", "x.HDF5"])
def test_any_other_suffix_is_hdf5(name, go, rng, tmp_path):
    make_sources(rng, tmp_path)
    go("expand", "s.star", name, "--symmetry=C2")
    assert (tmp_path / name).read_bytes().startswith(b"\x89HDF")


def test_an_output_is_no_input(command, rng, tmp_path):
    make_sources(rng, tmp_path)
    before = (tmp_path / "s.cs").read_bytes()
    (tmp_path / "link.cs").symlink_to("s.cs")
    for output in ("s.cs", "link.cs", "./s.cs"):
        done = command("expand", "s.cs", output, "--symmetry=C2", "--overwrite")
        assert done.returncode == 1
        assert "is the source itself" in done.stderr
    go_on = command("expand", "s.star", "own.star", "--operators_file=own.star", "--overwrite")
    assert go_on.returncode == 1
    assert (tmp_path / "s.cs").read_bytes() == before


def test_a_result_group_that_is_in_the_way_is_left_alone(command, rng, tmp_path):
    make_sources(rng, tmp_path)
    (tmp_path / "x.csg").write_text("group:\n  name: mine\n")
    done = command("expand", "s.cs", "x.cs", "--symmetry=C2")
    assert done.returncode == 1
    assert "x.csg: exists" in done.stderr
    assert not (tmp_path / "x.cs").exists()


def test_a_pixel_size_that_is_not_the_text_s_own_is_refused(command, rng, tmp_path):
    make_sources(rng, tmp_path)
    done = command("expand", "s.star", "x.star", "--symmetry=C2", "--psize=1.1")
    assert done.returncode == 1
    assert "has another pixel size" in done.stderr
    assert not (tmp_path / "x.star").exists()


def test_a_dry_run_writes_nothing_and_says_what_would_be(go, rng, tmp_path):
    make_sources(rng, tmp_path)
    before = set(os.listdir(tmp_path))
    for output in ("x.star", "x.cs"):
        planned = json.loads(go("expand", "s.cs", output, "--symmetry=D2", "--dry_run", "--json"))
        assert set(os.listdir(tmp_path)) == before
        assert planned["rows"] == 120
        assert planned["dry_run"]
    for output in ("x.star", "x.cs"):
        planned = json.loads(go("expand", "s.cs", output, "--symmetry=D2", "--dry_run", "--json"))
        made = json.loads(go("expand", "s.cs", output, "--symmetry=D2", "--json"))
        assert made["files"] == planned["files"]
        assert made["notes"] == planned["notes"]
        assert abs(made["bytes"] - planned["bytes"]) < 2000


def test_the_summary_names_files_notes_and_warnings(rng, tmp_path):
    make_sources(rng, tmp_path)
    with pytest.warns(numba_symexp.ExpansionWarning, match="half-set"):
        made = numba_symexp.expand(tmp_path / "s.hdf5", tmp_path / "x.cs", symmetry="C2")
    assert made.files == (str(tmp_path / "x.cs"), str(tmp_path / "x.csg"))
    assert made.bytes == sum(os.path.getsize(each) for each in made.files)
    made = numba_symexp.expand(tmp_path / "s.cs", tmp_path / "x.star", symmetry="C2")
    assert any("rlnVoltage" in note for note in made.notes)


def test_keep_track_length_goes_with_a_star(command, rng, tmp_path):
    make_sources(rng, tmp_path)
    for output in ("x.h5", "x.cs"):
        done = command("expand", "s.star", output, "--symmetry=C2", "--keep_track_length")
        assert done.returncode == 2, output
        assert "--keep_track_length" in done.stderr


@pytest.mark.parametrize(
    ("words", "say"),
    [
        (("expand", "--i", "s.star", "--o", "x.star", "--sym", "D7"), "--i (write SOURCE without"),
        (("expand", "s.star", "--o", "x.star"), "no flag --o (write OUTPUT without a flag)"),
        (("expand", "s.star", "x.star", "--sym", "D7"), "no flag --sym (did you mean --symmetry?)"),
        (("expand", "s.star", "x.star", "--angpix=1.2"), "--angpix (did you mean --psize?)"),
        (("import", "--i", "s.star", "--o", "x.h5"), "no flag --i (write FILES without a flag)"),
        (("collapse", "--i", "e.h5"), "no flag --i (write FILE without a flag)"),
        (("operators", "--sym=D7"), "no flag --sym (did you mean --symmetry?)"),
    ],
)
def test_flags_of_relion_are_answered_with_ours(words, say, command):
    done = command(*words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert say in done.stderr


@compiled_only
def test_the_real_files_of_the_field(go, tmp_path, real_data):
    found = sorted(real_data.glob("*/*.star")) + sorted(real_data.glob("*/*.cs"))
    tried = 0
    for path in found:
        if path.stat().st_size > 3_000_000 or tried > 5:
            continue
        try:
            go("expand", path, "e.h5", "--symmetry=C3", "--overwrite")
            go("export", "e.h5", "try.star", "--overwrite")
        except AssertionError:
            continue  # no particles with poses
        tried += 1
        for output in ("x.star", "x.cs"):
            assert_same(go, tmp_path, path, output, "--symmetry=C3")
    if not tried:
        pytest.skip(f"no small particle files in {real_data}")
