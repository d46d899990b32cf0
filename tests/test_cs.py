"""CryoSPARC's datasets, read as particle tables and joined."""

import importlib.util

import h5py
import inside
import naive
import numpy as np
import pytest
from conftest import random_columns
from inside import CsTable, open_table
from particle_files import structured
from star_files import ANGLES, ORIGINS_A, floats, read_star

POSE, SHIFT, SPLIT = "alignments3D/pose", "alignments3D/shift", "alignments3D/split"

needs_cryosparc_tools = pytest.mark.skipif(
    not importlib.util.find_spec("cryosparc"), reason="cryosparc-tools is not installed"
)


def some(rows, *names):
    """Rows with some of their fields."""
    return structured({name: rows[name] for name in names})


def save(path, rows):
    """Write rows as NumPy does, under any name; return the path as text."""
    with open(path, "wb") as file:
        np.save(file, rows)
    return str(path)


@pytest.fixture
def rows(rng):
    columns = random_columns(rng, 40)
    columns["extra/flag"] = rng.integers(0, 2, 40).astype(bool)
    columns["extra/deep"] = rng.normal(size=(40, 2, 3))
    columns["extra/signed"] = rng.integers(-5, 5, 40).astype(np.int16)
    return structured(columns)


def read_h5(path, names):
    with h5py.File(path) as file:
        return {name: file["particles"][name][()] for name in names}


def assert_same(found, rows):
    for name in rows.dtype.names:
        assert found[name].dtype.kind == rows[name].dtype.kind, name
        if found[name].dtype.kind != "S":  # a stream holds text of any length
            assert found[name].dtype == rows[name].dtype, name
        assert (found[name] == rows[name]).all(), name


@pytest.mark.parametrize(
    "words",
    [("export", "o.star"), ("expand", "o.cs", "--symmetry=C2"), ("reorient", "o.cs", "--flip"),
     ("import", "o.h5"), ("plot", "o.svg")],
)  # fmt: skip
def test_a_dataset_without_poses_asks_for_the_one_that_has_them(words, command, tmp_path):
    rows = np.zeros(3, [("uid", "<u8"), ("alignments3D/psize_A", "<f4"), ("ctf/df1_A", "<f4")])
    rows["uid"] = [1, 2, 3]
    save(tmp_path / "p.cs", rows)
    verb, *further = words
    done = command(verb, "p.cs", *further)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "p.cs: no pose column alignments3D/pose (columns: " in done.stderr
    assert "passthrough" in done.stderr
    assert "--table" not in done.stderr


def test_fields_are_read_where_they_lie(rows, tmp_path, monkeypatch):
    path = save(tmp_path / "p.cs", rows)
    monkeypatch.setattr(inside.cryosparc_table, "_READ_BYTES", 1000)
    with open_table(path) as table:
        assert isinstance(table, CsTable)
        assert list(table.columns) == list(rows.dtype.names)
        for start, stop in ((0, 40), (3, 4), (7, 33), (5, 5)):
            assert_same(table.read(list(table.columns), start, stop), rows[start:stop])


def test_import_keeps_every_field_and_its_order(rows, tmp_path, command):
    save(tmp_path / "p.cs", rows)
    assert command("import", "p.cs", "p.h5").returncode == 0
    assert_same(read_h5(tmp_path / "p.h5", rows.dtype.names), rows)
    with open_table(str(tmp_path / "p.h5")) as table:
        assert list(table.columns) == list(rows.dtype.names)
        assert table.attributes["convention"] == "cryosparc"


def test_passthrough_is_joined_on_uid(rows, tmp_path, command, rng):
    save(tmp_path / "p.cs", some(rows, "uid", POSE, SHIFT))
    shuffled = rows[rng.permutation(40)]
    save(tmp_path / "pass.cs", some(shuffled, "uid", "ctf/df1_A", "blob/path", SPLIT))
    done = command("import", "p.cs", "pass.cs", "p.h5")
    assert done.returncode == 0, done.stderr
    names = ["uid", POSE, SHIFT, "ctf/df1_A", "blob/path", SPLIT]
    found = read_h5(tmp_path / "p.h5", names)
    assert all((found[name] == rows[name]).all() for name in names)


def test_passthrough_may_hold_more_particles(rows, tmp_path, command):
    save(tmp_path / "p.cs", rows[10:])
    save(tmp_path / "pass.cs", structured({"uid": rows["uid"], "x/y": np.arange(40)}))
    done = command("import", "p.cs", "pass.cs", "p.h5")
    assert "10 row(s) left out" in done.stdout
    assert read_h5(tmp_path / "p.h5", ["x/y"])["x/y"].tolist() == list(range(10, 40))


@pytest.mark.parametrize(
    ("change", "say"),
    [
        (lambda u: u[1:], "of .*p.cs, row 0, is missing (1 id(s) in all)"),
        (lambda u: u + np.uint64(1), "is missing (40 id(s) in all)"),
        (lambda u: np.append(u, u[7]), "stands twice, again in row 40"),
    ],
)
def test_ids_that_do_not_match_are_refused(change, say, rows, tmp_path, command):
    save(tmp_path / "p.cs", rows)
    save(tmp_path / "pass.cs", structured({"uid": change(rows["uid"])}))
    done = command("import", "p.cs", "pass.cs", "p.h5")
    assert done.returncode == 1
    assert all(part in done.stderr for part in say.split(".*"))
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "p.h5").exists()


def damaged(rows):
    """Bytes of files that are no whole dataset, and what is said of them."""
    import io

    memory = io.BytesIO()
    np.save(memory, rows)
    whole = memory.getvalue()
    objects = io.BytesIO()
    np.save(objects, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    flat = io.BytesIO()
    np.save(flat, np.zeros((3, 2)))
    empty = io.BytesIO()
    np.save(empty, rows[:0])
    two_d = io.BytesIO()
    np.save(two_d, structured({"uid": rows["uid"], "alignments2D/pose": rows["uid"] * 1.0}))
    twice = io.BytesIO()
    np.save(twice, np.concatenate([rows, rows[3:4]]))
    nan = rows.copy()
    nan[POSE][4, 1] = np.nan
    with_nan = io.BytesIO()
    np.save(with_nan, nan)
    return {
        "cut": (whole[:-50], "it is cut short"),
        "longer": (whole + b"xx", "it is damaged"),
        "header": (whole[:100], "its header cannot be read"),
        "magic": (whole[:6], "its header cannot be read"),
        "nothing": (b"", "neither kind of CryoSPARC dataset"),
        "text": (b"hello", "neither kind of CryoSPARC dataset"),
        "version": (b"\x93NUMPY\x09\x00" + whole[8:], "its header cannot be read"),
        "wild": (whole.replace(b"'descr'", b"print(1)", 1), "its header cannot be read"),
        "objects": (objects.getvalue(), "not rows of fields"),
        "flat": (flat.getvalue(), "its header cannot be read"),
        "empty": (empty.getvalue(), "has no particles"),
        "two_d": (two_d.getvalue(), "2D alignments only"),
        "twice": (twice.getvalue(), "stands in rows 3, 40"),
        "nan": (with_nan.getvalue(), "alignments3D/pose is NaN or Inf: first in row 4"),
        "csdat": (b"\x95CSDAT\x10\x00\x00\x00{}", "p.cs"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(damaged(np.zeros(5, [("uid", "<u8"), (POSE, "<f4", 3)]))))
@pytest.mark.parametrize("words", [("import", "p.cs", "o.h5"), ("expand", "p.cs", "o.h5", "-C2")])
def test_damaged_files_are_refused(kind, words, rows, tmp_path, command):
    content, say = damaged(rows)[kind]
    (tmp_path / "p.cs").write_bytes(content)
    done = command(*[word.replace("-C2", "--symmetry=C2") for word in words])
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert say in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["p.cs"]


def test_python_objects_are_not_loaded(tmp_path, command):
    rows = np.zeros(3, [("uid", "<u8"), (POSE, "O")])
    with open(tmp_path / "p.cs", "wb") as file:
        np.save(file, rows, allow_pickle=True)
    done = command("import", "p.cs", "p.h5")
    assert done.returncode == 1
    assert "alignments3D/pose is object, not numbers" in done.stderr


@needs_cryosparc_tools
def test_both_variants_hold_the_same(rows, tmp_path, command):
    from cryosparc.dataset import CSDAT_FORMAT, Dataset

    plain = some(rows, *(n for n in rows.dtype.names if n not in ("extra/flag", "extra/deep")))
    save(tmp_path / "p.cs", plain)
    Dataset.load(tmp_path / "p.cs").save(tmp_path / "c.cs", format=CSDAT_FORMAT)
    assert (tmp_path / "c.cs").read_bytes()[:6] == b"\x95CSDAT"
    for name in ("p", "c"):
        assert command("import", f"{name}.cs", f"{name}.h5").returncode == 0
        assert_same(read_h5(tmp_path / f"{name}.h5", plain.dtype.names), plain)
    assert command("expand", "c.cs", "out.h5", "--symmetry=D3").returncode == 0


@needs_cryosparc_tools
def test_a_damaged_stream_is_refused(rows, tmp_path, command):
    from cryosparc.dataset import CSDAT_FORMAT, Dataset

    save(tmp_path / "p.cs", some(rows, "uid", POSE, SHIFT))
    Dataset.load(tmp_path / "p.cs").save(tmp_path / "c.cs", format=CSDAT_FORMAT)
    whole = (tmp_path / "c.cs").read_bytes()
    (tmp_path / "c.cs").write_bytes(whole[: len(whole) // 2])
    done = command("import", "c.cs", "c.h5")
    assert done.returncode == 1
    assert "it is cut short or damaged" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_cryosparc_tools_csdat_says_what_to_install(tmp_path, monkeypatch, capsys):
    from inside import main

    (tmp_path / "c.cs").write_bytes(b"\x95CSDAT" + b"\0" * 100)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["import", str(tmp_path / "c.cs"), str(tmp_path / "c.h5")]) == 1
    assert "-m pip install 'numba_symexp[cryosparc]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "say"),
    [
        (("import",), 2, "import needs"),
        (("import", "p.cs"), 2, "import needs"),
        (("import", "p.cs", "p.h5", "--carry=x"), 2, "no flag --carry"),
        (("import", "p.cs", "p.cs"), 2, "the OUTPUT, which is missing: p.cs"),
        (("import", "p.cs", "--output=p.h5"), 0, ""),
        (("import", "--output=p.h5"), 2, "import needs"),
        (("import", "p.cs", "new.cs"), 2, "name it .h5"),
        (("import", "p.cs", "p.cs", "p.h5"), 0, ""),
        (("import", "h.h5", "p.h5"), 2, "is HDF5 already"),
        (("import", "none.cs", "p.h5"), 1, "no such file"),
        (("import", "p.cs", "no/p.h5"), 1, "does not exist"),
    ],
)
def test_import_by_the_words(words, code, say, rows, tmp_path, command):
    save(tmp_path / "p.cs", rows)
    with h5py.File(tmp_path / "h.h5", "w") as file:
        file["particles"] = rows
    done = command(*words)
    assert done.returncode == code, done.stderr
    assert say in done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Stored array in format 2.0")
def test_a_dataset_of_very_many_fields(tmp_path, command, rng):
    columns = random_columns(rng, 5)
    columns |= {f"alignments_class_{k}/shift_ess_of_class": rng.normal(size=5) for k in range(1500)}
    save(tmp_path / "p.cs", structured(columns))
    assert command("import", "p.cs", "p.h5").returncode == 0
    assert command("expand", "p.cs", "e.h5", "--symmetry=C2").returncode == 0
    assert command("export", "e.h5", "e.cs").returncode == 0
    with open_table(str(tmp_path / "e.cs")) as table:
        assert len(table.columns) == len(columns) + 7


def test_real_job_as_both_programs_have_it(real_data, tmp_path, command):
    folder = real_data / "cryopicls"
    particles = folder / "cryosparc_P2_J744_005_particles.cs"
    passed = folder / "P2_J744_passthrough_particles.cs"
    assert command("import", particles, passed, "cs.h5").returncode == 0
    star = folder / "cryosparc_P2_J744_005_particles_pyem.star"
    assert command("import", star, "star.h5").returncode == 0
    names = [POSE, SHIFT, "alignments3D/psize_A", "alignments3D/split", "blob/idx"]
    cs = read_h5(tmp_path / "cs.h5", [*names, "alignments2D/shift"])
    assert cs["alignments2D/shift"].shape == (5908, 2)
    star = read_h5(tmp_path / "star.h5", [*names[:-1], "rlnImageName"])
    assert [int(word[:6]) - 1 for word in star["rlnImageName"]] == cs["blob/idx"].tolist()
    assert (star["alignments3D/split"] == cs["alignments3D/split"]).all()
    assert np.abs(star[SHIFT] - cs[SHIFT]).max() < 1e-4
    for one, other in zip(cs[POSE][::7], star[POSE][::7], strict=True):
        assert np.degrees(naive.angle_rad(naive.exp(one), naive.exp(other))) < 1e-4


@pytest.mark.slow
def test_real_job_exported_as_star_is_what_another_converter_made(real_data, tmp_path, command):
    folder = real_data / "cryopicls"
    particles = folder / "cryosparc_P2_J744_005_particles.cs"
    assert command("export", particles, "out.star").returncode == 0
    ours = read_star((tmp_path / "out.star").read_text())
    peer = read_star((folder / "cryosparc_P2_J744_005_particles_pyem.star").read_text())
    assert ours["rlnImageName"] == peer["rlnImageName"]
    for label in ("rlnRandomSubset", "rlnClassNumber", "rlnOpticsGroup"):
        assert ours[label] == peer[label]
    for label in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift", *ORIGINS_A):
        np.testing.assert_allclose(floats(ours, label), floats(peer, label), atol=1e-4)
    for one, other in list(zip(floats(ours, *ANGLES), floats(peer, *ANGLES), strict=True))[::7]:
        assert np.degrees(naive.angle_rad(naive.euler_zyz(*one), naive.euler_zyz(*other))) < 1e-4


def test_an_empty_dataset_of_real_fields(real_data, command):
    done = command("import", real_data / "cryosparc-tools" / "4k_dataset.cs", "p.h5")
    assert done.returncode == 1
    assert "has no particles" in done.stderr
