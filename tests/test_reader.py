"""open_expanded: lazy joins, the source found again, and files that are refused."""

import os

import h5py
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import (
    FileFormatError,
    SourceChangedError,
    SourceError,
    VersionTooNewError,
    VersionTooOldError,
)

from numba_symexp import expand, open_expanded

DEFOCUS = "ctf/df1_A"


@pytest.fixture
def expanded(source, tmp_path):
    out = str(tmp_path / "out.h5")
    expand(source, out, symmetry="D3")
    return out


def test_columns_of_the_source_are_joined(expanded, columns):
    with open_expanded(expanded) as table:
        assert len(table) == 300
        assert table.n_sources == 50
        assert len(table[DEFOCUS]) == 300
        for name in (DEFOCUS, "blob/path", "alignments3D/psize_A"):
            whole = np.repeat(columns[name], 6)
            for rows in (
                slice(None),
                slice(5, 20),
                slice(290, None),
                slice(7, 7),
                slice(200, 3, -9),
            ):
                assert np.array_equal(table[name][rows], whole[rows]), (name, rows)
            for row in (0, 17, 299, -1):
                assert table[name][row] == whole[row]
            with pytest.raises(IndexError):
                table[name][300]


def test_expanded_columns_come_before_the_sources(expanded, columns):
    with open_expanded(expanded) as table, h5py.File(expanded) as file:
        for name in ("alignments3D/pose", "uid"):
            assert np.array_equal(table[name][10:40], file["particles"][name][10:40])
        assert table.columns == sorted(
            ["source_index", "operator_index", "uid"]
            + [f"alignments3D/{name}" for name in ("pose", "shift", "split")]
        )


def test_operators_and_attributes_are_there(expanded):
    with open_expanded(expanded) as table:
        assert len(table.operators) == 6
        assert table.operators.label[1] == "C3^1"
        assert str(table.operators.symmetry) == table.attributes["symmetry"] == "D3"
        assert np.allclose(table.operators.matrix[0], np.eye(3))


def test_far_apart_rows_are_joined_too(rng, tmp_path):
    """A subset of rows, as a classification leaves it, is joined without reading all between."""
    columns = random_columns(rng, 500)
    out = str(tmp_path / "out.h5")
    expand(write_table(tmp_path / "source.h5", columns), out, symmetry="C2")
    with open_expanded(out) as table:
        found = table[DEFOCUS][::250]
    assert np.array_equal(found, columns[DEFOCUS][[0, 125, 250, 375]])


def test_unknown_columns_are_named_with_what_there_is(expanded):
    with open_expanded(expanded) as table, pytest.raises(SourceError, match="blob/path, ctf/df1_A"):
        table["ctf/nothing"][:]


def test_source_is_found_where_the_folder_moved(expanded, columns, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("source.h5", "out.h5"):
        os.rename(tmp_path / name, moved / name)
    with open_expanded(str(moved / "out.h5")) as table:
        assert table[DEFOCUS][6] == columns[DEFOCUS][1]


def test_source_is_found_where_it_was_or_as_named(expanded, source, columns, tmp_path):
    far = tmp_path / "far"
    far.mkdir()
    os.rename(expanded, far / "out.h5")
    with open_expanded(str(far / "out.h5")) as table:
        assert table[DEFOCUS][6] == columns[DEFOCUS][1]
    os.rename(source, tmp_path / "renamed.h5")
    with (
        open_expanded(str(far / "out.h5")) as table,
        pytest.raises(SourceChangedError, match=r"source\.h5 is gone: name it with source="),
    ):
        table[DEFOCUS][6]
    with open_expanded(str(far / "out.h5"), source=str(tmp_path / "renamed.h5")) as table:
        assert table[DEFOCUS][6] == columns[DEFOCUS][1]


@pytest.mark.parametrize("change", ["value", "rows", "column"])
def test_changed_sources_are_refused(change, expanded, source, columns):
    if change == "value":
        columns["alignments3D/shift"][20, 1] += 1e-3
    elif change == "rows":
        columns = {name: column[:-1] for name, column in columns.items()}
    else:
        columns["other/pose"] = columns.pop("alignments3D/pose")
    os.unlink(source)
    write_table(source, columns)
    with open_expanded(expanded) as table:
        assert table["alignments3D/pose"][0].shape == (3,)
        with pytest.raises(SourceChangedError, match="not what it was"):
            table[DEFOCUS][0]


def test_a_decoy_beside_the_file_does_not_hide_the_source(expanded, source, columns, tmp_path):
    far = tmp_path / "far"
    far.mkdir()
    os.rename(expanded, far / "out.h5")
    write_table(far / "source.h5", {name: column[::-1] for name, column in columns.items()})
    with open_expanded(str(far / "out.h5")) as table:
        assert table[DEFOCUS][6] == columns[DEFOCUS][1]


@pytest.mark.parametrize(
    ("attribute", "value", "kind", "words"),
    [
        ("format", "something else", FileFormatError, "not an expanded table"),
        ("format", None, FileFormatError, "not an expanded table"),
        ("format_version", 3, VersionTooNewError, "install a newer one"),
        ("format_version", 0, VersionTooOldError, "expand again"),
        ("format_version", None, FileFormatError, "no format version"),
        ("complete", None, FileFormatError, "not finished"),
    ],
)
def test_other_files_are_refused(attribute, value, kind, words, expanded):
    with h5py.File(expanded, "a") as file:
        del file.attrs[attribute]
        if value is not None:
            file.attrs[attribute] = value
    with pytest.raises(kind, match=words):
        open_expanded(expanded)


def test_damaged_files_are_refused(expanded):
    with h5py.File(expanded, "a") as file:
        del file["operators/quaternion"]
    with pytest.raises(SourceError, match="cannot read its operators and source"):
        open_expanded(expanded)


def test_files_without_a_pose_are_refused(expanded):
    with h5py.File(expanded, "a") as file:
        del file["particles/alignments3D/pose"]
    with pytest.raises(FileFormatError, match="pose is missing"):
        open_expanded(expanded)
