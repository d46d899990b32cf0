"""Files that are damaged, or not what their names say: one line each, whoever reads them."""

import h5py
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import FileFormatError
from star_files import particles, star_text
from test_cs import save, structured

import numba_symexp
from numba_symexp import SymexpError, open_expanded


@pytest.fixture
def refused(command, tmp_path):
    """Run a command, which must refuse in one line and leave nothing."""

    def run(*words, say):
        before = sorted(path.name for path in tmp_path.iterdir())
        done = command(*words)
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert say in done.stderr
        assert "unexpected" not in done.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == before

    return run


def cs_columns(rng, **changes):
    """Columns of a dataset of 8 particles, some changed."""
    columns = random_columns(rng, 8)
    columns["blob/idx"] = np.arange(8, dtype=np.uint32)
    columns["blob/shape"] = np.full((8, 2), 64, np.uint32)
    columns["ctf/accel_kv"] = np.full(8, 300, np.float32)
    columns["location/center_x_frac"] = columns["location/center_y_frac"] = np.full(8, 0.5)
    columns["location/micrograph_shape"] = np.full((8, 2), 4000, np.uint32)
    return columns | {name.replace("__", "/"): values for name, values in changes.items()}


@pytest.mark.parametrize(
    ("name", "values", "say"),
    [
        ("ctf/df1_A", np.full(8, np.nan, np.float32), "ctf/df1_A is not a number everywhere"),
        ("ctf/df1_A", np.full(8, 1e20, np.float32), "over 1e+09"),
        ("ctf/accel_kv", np.full(8, np.inf, np.float32), "is NaN or Inf"),
        ("ctf/accel_kv", np.array([b"300"] * 8), "not what CryoSPARC has"),
        ("blob/path", np.arange(8), "blob/path is (N,) int64, which is not what CryoSPARC has"),
        ("blob/path", np.array([b"a b.mrc"] * 8), "has a blank"),
        ("blob/idx", np.array([b"1"] * 8), "blob/idx is (N,)"),
        ("blob/shape", np.full(8, 64), "blob/shape is (N,)"),
        ("location/center_x_frac", np.full(8, np.nan), "center_x_frac is not a number"),
        ("ctf/df1_A", np.full(8, 1 + 2j), "not what CryoSPARC has"),
    ],
)
def test_fields_that_make_no_star(name, values, say, rng, tmp_path, refused):
    columns = cs_columns(rng)
    columns[name] = values
    write_table(tmp_path / "p.h5", columns)
    refused("export", "p.h5", "p.star", say=say)


@pytest.mark.parametrize("shift", [8e8, 1e200])
def test_shifts_that_no_star_and_no_dataset_hold(shift, rng, tmp_path, refused):
    columns = cs_columns(rng)
    columns["alignments3D/shift"] = np.full((8, 2), shift)
    columns["alignments3D/psize_A"] = np.full(8, 1.25)
    del columns["alignments3D/split"]
    table = {k: v for k, v in columns.items() if k != "alignments3D/pose"}
    write_table(tmp_path / "p.h5", {**table, "alignments3D/pose": np.ones((8, 3))})
    refused("export", "p.h5", "p.star", say="an origin is over 1e+09")


def test_an_expanded_shift_too_large_for_a_dataset(tmp_path, command, refused):
    write_table(tmp_path / "p.h5", {"p": np.ones((8, 3)), "s": np.full((8, 2), 1e200)})
    columns = ("--pose=p", "--shift=s")
    assert command("expand", "p.h5", "e.h5", "--symmetry=C2", *columns).returncode == 0
    refused(
        "export",
        "e.h5",
        "e.cs",
        say="a number of alignments3D/shift is NaN, or too large for float32",
    )


def test_no_rows_to_export(rng, tmp_path, refused):
    write_table(tmp_path / "p.h5", {name: c[:0] for name, c in cs_columns(rng).items()})
    refused("export", "p.h5", "p.star", say="has no rows: give a table with particles")


def test_one_of_two_origins(rng, tmp_path, command):
    columns = particles(rng, 5)
    del columns["rlnOriginYAngst"]
    columns["rlnOriginX"] = ["9"] * 5
    (tmp_path / "p.star").write_text(star_text(columns))
    assert command("expand", "p.star", "e.h5", "--symmetry=C2").returncode == 0
    assert command("export", "e.h5", "e.star").returncode == 0


@pytest.mark.parametrize("label", ["a/b", ".", "..", "/", "a//b"])
def test_labels_that_are_none(label, rng, tmp_path, refused):
    text = star_text(particles(rng, 3)).replace("_rlnDefocusU", f"_{label}")
    (tmp_path / "p.star").write_text(text)
    refused("import", "p.star", "p.h5", say="is no label")


@pytest.mark.parametrize(
    ("label", "word"),
    [("rlnOpticsGroup", "1.5"), ("rlnClassNumber", "1e20"), ("rlnImageName", "x@s")],
)
def test_words_that_make_no_dataset(label, word, rng, tmp_path, refused):
    columns = particles(rng, 3) | {"rlnClassNumber": ["1"] * 3}
    columns[label] = [word] * 3
    text = star_text(columns)
    if label == "rlnOpticsGroup":
        text = text.replace("1 1.500000", "1.5 1.500000")
    (tmp_path / "p.star").write_text(text)
    refused("export", "p.star", "p.cs", say=f"_{label}")


@pytest.mark.parametrize(
    ("name", "say"),
    [("alignments3D/psize_A", "import the particles again"), ("rlnImageName", "import it again")],
)
def test_an_imported_table_that_lost_a_column(name, say, rng, tmp_path, command, refused):
    (tmp_path / "p.star").write_text(star_text(particles(rng, 3)))
    assert command("import", "p.star", "p.h5").returncode == 0
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        del file["particles"][name]
    refused("export", "p.h5", "out.star", say=say)


def test_a_field_without_elements(rng, tmp_path, refused):
    columns = cs_columns(rng) | {"extra/none": np.zeros((8, 0), np.float32)}
    save(tmp_path / "p.cs", structured(columns))
    refused("import", "p.cs", "p.h5", say="extra/none is")


def test_names_with_a_colon(rng, tmp_path, command):
    write_table(tmp_path / "p.h5", cs_columns(rng) | {"own:score": np.arange(8.0)})
    assert command("export", "p.h5", "p.cs").returncode == 0
    assert np.load(tmp_path / "p.cs")["own:score"].tolist() == list(range(8))


@pytest.fixture
def expanded(rng, tmp_path, command):
    write_table(tmp_path / "p.h5", cs_columns(rng))
    assert command("expand", "p.h5", "e.h5", "--symmetry=D2").returncode == 0
    return tmp_path / "e.h5"


def put(group, name, value):
    """Put something else in the place of an attribute or a dataset."""

    def apply(file):
        node = file[group]
        if isinstance(node, h5py.Group) and name in node:
            del node[name]
            node[name] = value
        elif value is None:
            del node.attrs[name]
        else:
            node.attrs[name] = value

    return apply


def in_half_precision(name):
    """Write poses or shifts anew as float16, of which nothing else is wrong."""

    def apply(file):
        old = file[f"particles/alignments3D/{name}"]
        values, known = old[:].astype(np.float16), dict(old.attrs)
        del file[old.name]
        file[f"particles/alignments3D/{name}"] = values
        file[f"particles/alignments3D/{name}"].attrs.update(known)

    return apply


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        put("source", "path", None),
        put("source", "path", 5),
        put("source", "n_rows", "many"),
        put("source", "n_rows", -1),
        put("source", "table", np.zeros(3)),
        put("source", "fingerprint", None),
        put("operators", "label", [b"E"]),
        put("operators", "label", np.zeros((4, 2))),
        put("operators", "quaternion", np.zeros((4, 3))),
        put("operators", "quaternion", np.full((4, 4), 1e300)),
        put("operators", "translation_A", np.full((4, 3), np.nan)),
        put("operators", "kind", None),
        put("/", "symmetry", None),
        put("/", "provenance", "[1]"),
        put("/", "provenance", '{"parameters": {"psize": "x"}}'),
        put("particles", "source_index", np.full(32, 99, np.uint32)),
        put("particles", "operator_index", np.zeros(32, np.float32)),
        put("particles/alignments3D/pose", "pose_format", "relion"),
        put("particles/alignments3D", "pose", np.zeros(32, np.float32)),
        put("particles/alignments3D", "shift", np.zeros((32, 3), np.float32)),
        in_half_precision("pose"),
        in_half_precision("shift"),
    ],
)
def test_expanded_tables_that_are_damaged(damage, expanded, command, tmp_path):
    with h5py.File(expanded, "r+") as file:
        damage(file)
    for words in (
        ("inspect", "e.h5"),
        ("verify", "e.h5"),
        ("export", "e.h5", "o.star"),
        ("export", "e.h5", "o.cs"),
        ("collapse", "e.h5", "c.h5"),
        ("plot", "e.h5", "p.svg"),
    ):
        done = command(*words, *(() if len(words) == 2 else ("--overwrite",)))
        assert done.returncode in (0, 1)
        assert "unexpected" not in done.stderr
        assert done.stderr.count("\n") <= 1
    done = command("verify", "e.h5")
    assert done.returncode == 1


@pytest.mark.parametrize(
    "words",
    [("inspect",), ("expand", "o.h5", "--symmetry=C2", "--again"),
     ("select", "o.h5", "--operators=1"), ("select", "o.h5", "--min_distance_A=5")],
)  # fmt: skip
def test_an_expanded_table_without_rows(words, rng, tmp_path, command):
    none = {name: each[:0] for name, each in cs_columns(rng).items()}
    write_table(tmp_path / "p.h5", none | {"alignments3D/split": np.zeros(0, np.uint32)})
    assert command("expand", "p.h5", "e.h5", "--symmetry=D2").returncode == 0
    verb, *further = words
    done = command(verb, "e.h5", *further)
    assert done.returncode in (0, 1)
    assert "unexpected" not in done.stderr
    assert done.returncode == 0 or done.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["", "5", "[1]", "{}", '{"parameters": [1]}'])
def test_a_damaged_provenance_is_named(text, expanded):
    with h5py.File(expanded, "r+") as file:
        file.attrs["provenance"] = text
    told = "its provenance is damaged: expand again"
    with open_expanded(str(expanded)) as table, pytest.raises(FileFormatError, match=told):
        _ = table.provenance


def test_the_reader_names_rows_beyond_the_source(expanded):
    with h5py.File(expanded, "r+") as file:
        file["particles/source_index"][9] = 8
    with open_expanded(str(expanded)) as table:
        with pytest.raises(FileFormatError, match="source_index of row 9 points beyond"):
            _ = table["ctf/df1_A"][:]
        assert len(table["ctf/df1_A"][:9]) == 9


def test_python_raises_what_the_program_prints(rng, tmp_path):
    path = write_table(tmp_path / "p.h5", cs_columns(rng, ctf__df1_A=np.full(8, np.nan)))
    with pytest.raises(SymexpError, match="ctf/df1_A is not a number everywhere"):
        numba_symexp.export_particles(path, str(tmp_path / "p.star"))
    assert not (tmp_path / "p.star").exists()
