"""Operators: the laws of a group, the sets of the naive twin, the axes of the conventions."""

import naive
import numpy as np
import pytest
from inside import MAX_OPERATORS, SymmetryError, SymmetryRequest, UsageError, axes, describe

from numba_symexp import helix, point_group

GROUPS = ["C1", "C2", "C7", "D1", "D2", "D3", "D7", "D12", "T", "O", "I1", "I2", "I3", "I4"]
ORDERS = {"T": 12, "O": 24, "I1": 60, "I2": 60, "I3": 60, "I4": 60}


def order_of(symbol):
    return ORDERS.get(symbol) or int(symbol[1:]) * (2 if symbol[0] == "D" else 1)


def contains(matrices, wanted, tolerance=1e-9):
    return np.min(np.linalg.norm(np.array(matrices) - wanted, axis=(1, 2))) < tolerance


def has_axis(operators, fold, axis):
    """Whether one fold-th of a turn about an axis is among the operators."""
    return contains(operators.matrix, naive.turn(axis, 360 / fold))


@pytest.mark.parametrize("symbol", GROUPS)
def test_group_laws(symbol):
    operators = point_group(symbol)
    matrices = operators.matrix
    assert len(operators) == order_of(symbol)
    assert np.array_equal(matrices[0], np.eye(3))
    assert not operators.translation_A.any()
    for a in matrices:
        assert contains(matrices, a.T, 1e-13), "the inverse is missing"
        assert np.linalg.norm(a @ a.T - np.eye(3)) < 2e-15
        assert np.linalg.det(a) == pytest.approx(1, abs=1e-14)
        for b in matrices[:: max(1, len(matrices) // 12)]:
            assert contains(matrices, a @ b, 1e-13), "a product is missing"
    for i, a in enumerate(matrices):
        others = np.delete(matrices, i, axis=0)
        assert not len(others) or not contains(others, a, 1e-3), "an operator comes twice"


@pytest.mark.slow
@pytest.mark.parametrize("convention", ["cryosparc", "relion"])
@pytest.mark.parametrize("symbol", GROUPS)
def test_group_is_the_naive_closure(symbol, convention):
    matrices = point_group(symbol, convention).matrix
    expected = naive.group(symbol, convention)
    assert len(matrices) == len(expected)
    assert all(contains(matrices, wanted, 1e-13) for wanted in expected)


@pytest.mark.parametrize("symbol", ["I1", "I2", "T", "O", "C7", "D5"])
def test_operators_are_exact_to_float64(symbol):
    """Quaternion components against 40 digits: a few units in the last place at most."""
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 40
    phi = (1 + mpmath.sqrt(5)) / 2
    parts = {
        "I1": [0, phi / 2, 1 / mpmath.mpf(2), 1 / (2 * phi), 1],
        "T": [mpmath.sqrt(mpmath.mpf(n) / 12) for n in (0, 1, 2, 3, 4, 6, 8, 9, 12)],
        "O": [0, 1, mpmath.mpf(1) / 2, mpmath.sqrt(2) / 2],
        "C7": [f(mpmath.pi * k / 7) for k in range(7) for f in (mpmath.cos, mpmath.sin)],
        "D5": [f(mpmath.pi * k / 10) for k in range(10) for f in (mpmath.cos, mpmath.sin)],
    }
    exact = np.array([float(abs(part)) for part in parts["I1" if symbol == "I2" else symbol]])
    for component in np.abs(point_group(symbol).quaternion).ravel():
        assert np.min(np.abs(exact - component)) <= 1.2e-16


def test_axes_of_the_conventions():
    assert has_axis(point_group("D7", "cryosparc"), 2, (0, 1, 0))
    assert not has_axis(point_group("D7", "cryosparc"), 2, (1, 0, 0))
    assert has_axis(point_group("D7", "relion"), 2, (1, 0, 0))
    assert not has_axis(point_group("D7", "relion"), 2, (0, 1, 0))
    tetrahedron = point_group("T")
    assert has_axis(tetrahedron, 3, (0, 0, 1))
    assert has_axis(tetrahedron, 2, (0, np.sqrt(2), 1))
    for axis in np.eye(3):
        assert has_axis(point_group("O"), 4, axis)
        assert has_axis(point_group("I1"), 2, axis)
        assert has_axis(point_group("I2"), 2, axis)
    for sign in (-1, 1):
        assert has_axis(point_group("I1"), 5, (0, sign, naive.PHI))
        assert has_axis(point_group("I2"), 5, (sign, 0, naive.PHI))
    for symbol, x in (("I3", -2), ("I4", 2)):
        assert has_axis(point_group(symbol), 5, (0, 0, 1))
        assert has_axis(point_group(symbol), 2, (0, 1, 0))
        assert has_axis(point_group(symbol), 5, (x, 0, 1))
        assert not has_axis(point_group(symbol), 5, (-x, 0, 1))


@pytest.mark.parametrize("n", [2, 4, 6])
def test_dyads_of_even_groups_are_the_same_in_both_conventions(n):
    ours, theirs = (point_group(f"D{n}", c).matrix for c in ("cryosparc", "relion"))
    assert all(contains(ours, matrix) for matrix in theirs)


@pytest.mark.parametrize(
    ("a", "b", "q"),
    [
        ("I1", "I2", naive.turn((0, 0, 1), 90)),
        ("I2", "I3", naive.turn((0, 1, 0), -31.7174744)),
        ("I2", "I4", naive.turn((0, 1, 0), 31.7174744)),
        ("I3", "I4", naive.turn((1, 0, 0), 180)),
    ],
)
def test_icosahedral_settings_are_turned_into_each_other(a, b, q):
    target = point_group(b).matrix
    assert all(contains(target, q @ g @ q.T, 1e-7) for g in point_group(a).matrix)
    assert not all(contains(target, g, 1e-7) for g in point_group(a).matrix)


def test_symbols_ignore_case_and_i_means_i2():
    for symbol, name in (("d7", "D7"), ("i", "I2"), ("I", "I2"), ("o", "O"), (" c4 ", "C4")):
        operators = point_group(symbol)
        assert str(operators.symmetry) == name
        assert np.array_equal(operators.quaternion, point_group(name).quaternion)


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "C0",
        "D0",
        "D-1",
        "C2.5",
        "C",
        "D",
        "Ih",
        "Cs",
        "S4",
        "Td",
        "I5",
        "X",
        "C٣",
        "C1e1",
        "D07",
    ],
)
def test_unknown_symbols_are_refused_with_the_list(symbol):
    with pytest.raises(SymmetryError, match=r"C1, Cn, Dn .* I1, I2, I3, I4"):
        point_group(symbol)


def test_conventions_ignore_case():
    assert point_group("D7", "RELION").convention == "relion"
    assert np.array_equal(
        point_group("D7", "RELION").quaternion, point_group("d7", "relion").quaternion
    )


def test_unknown_convention_is_refused():
    with pytest.raises(SymmetryError, match="cryosparc, relion"):
        point_group("D7", "eman")


def test_order_is_bounded_by_the_operator_index():
    assert len(point_group("D32768")) == MAX_OPERATORS
    for refused in ("C65537", "D32769", "C99999999999999"):
        with pytest.raises(SymmetryError, match="65,536"):
            point_group(refused)
    with pytest.raises(SymmetryError, match="65,536"):
        helix(1.5, 2.0, 9363, "C7")
    assert len(helix(1.5, 2.0, 9362, "C7")) == 65534


@pytest.mark.parametrize("group", ["C1", "C3", "D1", "D3"])
@pytest.mark.parametrize(
    ("twist", "rise", "order"), [(27.3, 4.75, 5), (-166.7, 27.3, 4), (-1.2, -4.75, 13), (0, 9, 2)]
)
def test_helix_is_the_naive_product_in_order(twist, rise, order, group):
    operators = helix(twist, rise, order, group)
    elements = point_group(group).matrix
    expected = naive.helix(twist, rise, order, elements)
    assert len(operators) == len(expected) == order * len(elements)
    for index, (rotation, translation) in enumerate(expected):
        assert naive.angle_rad(operators.matrix[index], rotation) < 1e-12
        assert np.allclose(operators.translation_A[index], translation, atol=1e-12)
        rank = index // len(elements)
        assert operators.rise_index[index] == naive.helix_units(order)[rank]
        assert operators.full_index[index] == index
    assert operators.kind == "helix"
    assert np.array_equal(operators.matrix[0], np.eye(3))


def test_helix_times_dihedral_is_not_the_product_the_other_way_round():
    operators = helix(27.3, 4.75, 3, "D3")
    dyad = point_group("D3").matrix[3]
    swapped = dyad @ np.array([0, 0, 4.75])
    row = 1 * 6 + 3
    assert not np.allclose(operators.translation_A[row], swapped)


@pytest.mark.parametrize(
    ("twist", "rise", "order", "group"),
    [
        (60, 0, 12, "C1"),
        (0, 0, 2, "C1"),
        (360, 0, 2, "C1"),
        (-90, 0, 5, "C1"),
        (120, 0, 2, "C3"),
        (40, 0, 4, "D3"),
        (180, 1e-9, 3, "C1"),
    ],
)
def test_helices_whose_operators_coincide_are_refused(twist, rise, order, group):
    with pytest.raises(SymmetryError, match="coincide"):
        helix(twist, rise, order, group)


@pytest.mark.parametrize(
    ("twist", "rise", "order", "group"),
    [(60, 0, 6, "C1"), (0, 1.0, 5, "C1"), (40, 0, 3, "D3"), (0, 0, 1, "C1"), (60, 1, 12, "C1")],
)
def test_helices_whose_operators_do_not_coincide_are_made(twist, rise, order, group):
    operators = helix(twist, rise, order, group)
    motions = np.concatenate([operators.matrix.reshape(-1, 9), operators.translation_A], axis=1)
    for i, motion in enumerate(motions):
        others = np.delete(motions, i, axis=0)
        assert not len(others) or np.min(np.linalg.norm(others - motion, axis=1)) > 1e-3


@pytest.mark.parametrize("group", ["T", "O", "I", "I3"])
def test_helix_times_a_cubic_group_is_refused(group):
    with pytest.raises(SymmetryError, match="only Cn and Dn"):
        helix(30, 5, 4, group)


def test_helix_of_a_helix_is_refused():
    with pytest.raises(SymmetryError, match="only Cn and Dn"):
        helix(30, 5, 4, helix(10, 2, 2))


@pytest.mark.parametrize(("twist", "rise", "order"), [(30, 5, 0), (30, 5, -2)])
def test_helical_order_is_one_or_more(twist, rise, order):
    with pytest.raises(SymmetryError, match="1 or more"):
        helix(twist, rise, order)


@pytest.mark.parametrize(
    ("twist", "rise"), [(np.nan, 1), (np.inf, 1), (1, np.nan), (1, -np.inf), (1, 1e308)]
)
def test_helices_are_finite(twist, rise):
    with pytest.raises(SymmetryError, match="must be numbers"):
        helix(twist, rise, 4)


def full(**given):
    return SymmetryRequest(**given).full()


def test_a_request_wants_a_symmetry_and_all_of_a_helix():
    with pytest.raises(UsageError, match="no symmetry"):
        full()
    with pytest.raises(UsageError, match="add order="):
        full(symmetry="C2", twist=20.0, rise=3.0)
    with pytest.raises(UsageError, match="add twist= and rise="):
        full(order=3)
    assert len(full(twist=20.0, rise=3.0, order=4)) == 4
    assert len(full(symmetry="D2", twist=20.0, rise=3.0, order=4)) == 16


@pytest.mark.parametrize("symbol", GROUPS)
def test_labels_tell_operators_apart_and_tell_the_truth(symbol):
    operators = point_group(symbol)
    assert len(set(operators.label)) == len(operators)
    assert operators.label[0] == "E"
    for label, angle in zip(operators.label[1:], operators.angle_deg[1:], strict=True):
        if label.startswith("C"):
            fold, power = label[1:].split("^")
            turned = 360 / int(fold.split(".")[0]) * int(power) % 360
            assert angle == pytest.approx(min(turned, 360 - turned), abs=1e-9)
        else:
            assert angle == pytest.approx(180, abs=1e-9)


@pytest.mark.parametrize("symbol", ["C7", "D3", "O", "I2"])
def test_angle_and_axis_rebuild_the_operator(symbol):
    operators = point_group(symbol)
    for matrix, axis, angle in zip(
        operators.matrix, operators.axis, operators.angle_deg, strict=True
    ):
        assert naive.angle_rad(naive.turn(axis, angle), matrix) < 1e-12


def test_descriptions_name_the_axes_that_tell_settings_apart():
    assert describe(point_group("D7")).endswith("7-fold on z, 2-fold on y")
    assert describe(point_group("D7", "relion")).endswith("7-fold on z, 2-fold on x")
    assert "5-fold on (0.000, 0.526, 0.851)" in describe(point_group("I1"))
    assert "5-fold on (0.526, 0.000, 0.851)" in describe(point_group("I"))
    assert "5-fold on z and (-0.894, 0.000, 0.447)" in describe(point_group("I3"))
    assert "5-fold on z and (0.894, 0.000, 0.447)" in describe(point_group("I4"))
    assert describe(point_group("C1")) == "C1 (cryosparc), 1 operator(s)"
    assert "3-fold on z" in describe(helix(20.0, 3.0, 4, "C3"))


def test_axes_are_counted_by_fold():
    folds = [fold for fold, _ in axes(point_group("I1"))]
    assert [folds.count(fold) for fold in (5, 3, 2)] == [6, 10, 15]
    folds = [fold for fold, _ in axes(point_group("O"))]
    assert [folds.count(fold) for fold in (4, 3, 2)] == [3, 4, 6]
    assert [fold for fold, _ in axes(point_group("D7"))] == [7] + [2] * 7
