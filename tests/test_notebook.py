"""What a notebook shows, and what people type into it."""

import numpy as np
import pytest
from inside import UsageError

from numba_symexp import expand, expand_poses, helix, point_group


def test_operators_say_what_they_are():
    assert repr(point_group("D3")) == "<Operators D3 (cryosparc), 6 operator(s), group>"
    text = repr(helix(twist=27.4, rise=4.75, order=500))
    assert "500 operator(s), helix, moving the box center by up to 1188 A" in text
    assert len(text) < 200
    some = point_group("I").choose([0, 5], "subset", "operator(s) 0,5")
    assert "2 of 60 operator(s), subset, operator(s) 0,5" in repr(some)


def test_a_summary_says_what_was_written(source, tmp_path):
    made = expand(source, tmp_path / "e.h5", symmetry="C3")
    assert repr(made).startswith(f"<Summary {tmp_path / 'e.h5'}: 150 rows = 50 particles x 3 ")
    assert "operators of C3 (cryosparc)" in repr(made)
    dry = expand(source, tmp_path / "f.h5", symmetry="C3", dry_run=True)
    assert "f.h5 (not written)" in repr(dry)


POSE, SHIFT = [[0, 0, 1], [0.5, 0, 0]], [[1, 2], [3, 4]]


def test_truth_values_of_numpy_are_taken(source, tmp_path):
    output = str(tmp_path / "out.h5")
    for overwrite in (np.False_, np.True_):
        expand(source, output, symmetry="C2", overwrite=overwrite)
    with pytest.raises(UsageError, match="overwrite=1 is a int: give True or False"):
        expand(source, output, symmetry="C2", overwrite=1)


def test_errors_are_no_longer_than_is_read():
    assert str(UsageError("x" * 5000)) == "x" * 1000


def test_symbols_and_lists_are_taken():
    arrays = (np.array(POSE, np.float64), np.array(SHIFT, np.float64))
    for convention in ("cryosparc", "relion"):
        wanted = expand_poses(*arrays, point_group("D3", convention))
        found = expand_poses(POSE, SHIFT, "D3", convention=convention)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == np.float64
    spec = point_group("D3").symmetry
    np.testing.assert_array_equal(
        expand_poses(POSE, SHIFT, spec)[0], expand_poses(POSE, SHIFT, "d3")[0]
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"operators": 7}, "operators=7 is a int: give a symbol"),
        ({"operators": "Q7"}, "Q7"),
        (
            {"operators": point_group("C2"), "convention": "relion"},
            "convention= goes with",
        ),
        ({"operators": "C2", "psize": [1.0, 2.0, 3.0]}, "neither a number nor 2 numbers"),
        ({"operators": "C2", "psize": "wide"}, "neither a number nor 2 numbers"),
        ({"operators": "C2", "pose": [[1, 2, 3], [1, 2]]}, "pose has rows of different lengths"),
        ({"operators": "C2", "shift": [["a", "b"], ["c", "d"]]}, "shift is not made of numbers"),
        ({"operators": "C2", "shift": None}, "shift is not made of numbers"),
        ({"operators": helix(twist=1, rise=2, order=3)}, "psize is missing"),
        ({"operators": "C2", "pose_format": "euler"}, "is unknown"),
    ],
)
def test_mistakes_are_told_as_such(given, said):
    with pytest.raises(UsageError) as caught:
        expand_poses(**{"pose": POSE, "shift": SHIFT, **given})
    assert said in str(caught.value)
