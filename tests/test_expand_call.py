"""`expand` as a call: every form of an option, and one clear error for each wrong type."""

import inspect
from pathlib import Path

import h5py
import numpy as np
import pytest

import numba_symexp
from numba_symexp import ExpansionWarning, SymexpError, expand, helix, open_expanded, point_group


def bytes_of(path):
    return Path(path).read_bytes()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"operators": "0,2-4"}, {"operators": (0, 2, 3, 4)}),
        ({"operators": "0,2-4"}, {"operators": np.array([0, 2, 3, 4])}),
        ({"carry": "ctf/*, blob/*"}, {"carry": ["ctf/*", "blob/*"]}),
        ({"carry": "ctf/*"}, {"carry": ("ctf/*",)}),
        ({"center": "1,2.5,3"}, {"center": np.array([1, 2.5, 3])}),
        ({"center": [1, 2.5, 3]}, {"center": (1.0, 2.5, 3.0)}),
        ({"symmetry": "D3"}, {"symmetry": point_group("D3")}),
        ({"psize": 2}, {"psize": np.float32(2)}),
        ({"symmetry": "D3", "convention": "relion"}, {"symmetry": point_group("D3", "relion")}),
    ],
)
def test_forms_of_an_option_are_one_job(one, other, source, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    written = []
    for k, options in enumerate((one, other)):
        options = {"symmetry": "D3", **options}
        expand(Path(source), tmp_path / f"{k}.h5", **options)
        written.append(bytes_of(tmp_path / f"{k}.h5"))
    if "convention" in one:  # the provenance says who named the convention
        with h5py.File(tmp_path / "0.h5") as first, h5py.File(tmp_path / "1.h5") as second:
            for name in ("alignments3D/pose", "uid"):
                assert np.array_equal(first[f"particles/{name}"], second[f"particles/{name}"])
    else:
        assert written[0] == written[1]


def test_operators_of_a_helix(source, tmp_path):
    expand(source, tmp_path / "a.h5", symmetry=helix(twist=27.3, rise=4.75, order=3))
    expand(source, tmp_path / "b.h5", twist=27.3, rise=4.75, order=3)
    with h5py.File(tmp_path / "a.h5") as one, h5py.File(tmp_path / "b.h5") as other:
        for name in ("particles/alignments3D/pose", "particles/uid", "operators/label"):
            assert np.array_equal(one[name][()], other[name][()])
    assert numba_symexp.verify(str(tmp_path / "a.h5")).passed


@pytest.mark.parametrize(
    ("options", "say"),
    [
        ({"symmetry": 7}, "symmetry=7 is a int"),
        ({"symmetry": "C2", "carry": 3}, "carry=3"),
        ({"symmetry": "C2", "carry": [3]}, "carry="),
        ({"symmetry": "C2", "operators": 1.5}, "operators=1.5"),
        ({"symmetry": "C2", "operators": "0;2"}, "operators=0;2 is not understood"),
        ({"symmetry": "C2", "center": (1, 2)}, "three numbers"),
        ({"symmetry": "C2", "center": "1,2,x"}, "three numbers"),
        ({"symmetry": "C2", "psize": "1.1"}, "psize=1.1 is a str"),
        ({"symmetry": "C2", "threads": 1.5}, "threads=1.5"),
        ({"symmetry": "C2", "again": "no"}, "again=no is a str"),
        ({"symmetry": "C2", "dask": 7}, "dask is a int"),
        ({"symmetry": "C2", "progress": 7}, "progress=7"),
        ({"symmetry": point_group("C3"), "twist": 3.0}, "give no other symmetry"),
    ],
)
def test_a_wrong_type_is_one_clear_error(options, say, source, tmp_path):
    with pytest.raises(SymexpError, match=say) as caught:
        expand(source, tmp_path / "o.h5", **options)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "o.h5").exists()


def test_every_option_is_spelled_out():
    parameters = inspect.signature(expand).parameters.values()
    assert all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in parameters)
    assert all(f"{each.name}" in expand.__doc__ for each in parameters)
    with pytest.raises(TypeError, match="symetry"):
        expand("a", "b", symetry="D7")


def test_progress_and_warnings_of_a_call(source, tmp_path):
    seen = []
    with pytest.warns(ExpansionWarning, match="one operator"):
        expand(source, tmp_path / "o.h5", symmetry="C1", progress=lambda *each: seen.append(each))
    assert seen[-1] == (50, 50)


def test_an_expanded_table_is_a_mapping(source, tmp_path):
    expand(source, tmp_path / "o.h5", symmetry="C3")
    with open_expanded(tmp_path / "o.h5") as table, h5py.File(source) as file:
        assert "ctf/df1_A" in table
        assert "nothing" not in table
        assert 7 not in table
        names = list(table)
        assert len(names) == len(set(names)) == len(table.keys())
        assert {"source_index", "uid", "blob/path"} <= set(names)
        assert table.n_rows == 150
        pose, defocus = table["alignments3D/pose"], table["ctf/df1_A"]
        assert (pose.shape, pose.dtype, pose.ndim) == ((150, 3), np.float32, 2)
        assert defocus.shape == (150,)
        whole = np.repeat(file["particles/ctf/df1_A"][()], 3)
        mask = np.zeros(150, bool)
        mask[[3, 77]] = True
        for key in (slice(None), slice(10, 2, -3), slice(1, 140, 7), [5, 2, 2, -1], mask, 4, -1):
            assert np.array_equal(defocus[key], whole[key]), key
            assert np.array_equal(pose[key], pose[:][key]), key
        assert np.array_equal(pose[3:9, 1], pose[:][3:9, 1])
        assert np.array_equal(pose[[4, 2], ::2], pose[:][[4, 2], ::2])
        assert np.array_equal(pose[..., 0], pose[:][..., 0])
        assert np.array_equal(np.asarray(defocus), whole)
        for wrong in (150, -151, [150], "x", 1.5):
            with pytest.raises(IndexError):
                defocus[wrong]
        with pytest.raises(KeyError, match="no column nothing"):
            table["nothing"]
        assert "150 rows" in repr(table)
        assert "(150, 3)" in repr(pose)
    with pytest.raises(ValueError, match="closed"):
        defocus[0]
    assert "closed" in repr(table)


def test_pandas_gets_a_column_for_each_component(source, tmp_path):
    pytest.importorskip("pandas")
    expand(source, tmp_path / "o.h5", symmetry="C2")
    with open_expanded(tmp_path / "o.h5") as table:
        frame = table.to_pandas()
        assert len(frame) == 100
        assert np.array_equal(frame["alignments3D/pose_1"], table["alignments3D/pose"][:, 1])
        assert list(table.to_pandas(["uid"]).columns) == ["uid"]
