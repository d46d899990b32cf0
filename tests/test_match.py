"""match names the copies that another program made; they are made here by naive matrices."""

import json

import inside
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import MotionSet, SourceError, UsageError, match_command, parse
from particle_files import needs, run
from relion_peer import CASES, PROGRAM, make_particles, star_text
from star_files import particles, read_star
from star_files import star_text as star_text_of
from test_cs import save, structured

from numba_symexp import expand, export_particles, helix, match, point_group

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
SOURCE_UID, COPY = "sym_expand/src_uid", "sym_expand/idx"

FLOAT32_DEG, FLOAT32_A = 3e-4, 3e-4
"""What float32 leaves of a turn, and of a shift of some hundred A."""

NO_SHIFT = np.zeros(3)


def motions_of(elements):
    """Rotations as motions (R, t)."""
    return [(element, NO_SHIFT) for element in elements]


def about(point_A, elements):
    """Rotations about a point of the map."""
    return [(element, point_A - element @ point_A) for element in elements]


def left_cosets(group, part):
    """One element m of each left coset m H."""
    chosen = []
    for element in group:
        if not any(
            np.allclose(known @ turn, element, atol=1e-6) for known in chosen for turn in part
        ):
            chosen.append(element)
    return chosen


def rotation_vector(matrix, long=False):
    """Rotation vector of a matrix, of length up to pi; the long way round it is longer."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = np.ravel(matrix)
    bar_itzhack = np.array([
        [xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, yy - xx - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, zz - xx - yy],
    ])  # fmt: skip
    w, *vector = np.linalg.eigh(bar_itzhack)[1][:, -1]
    sine = np.linalg.norm(vector)
    angle = 2 * np.arctan2(sine, w)  # 0 to 2 pi: of q and -q one is the long way
    if (angle > np.pi) != long:
        vector, angle = -np.array(vector), 2 * np.pi - angle
    return np.array(vector) / (sine or 1) * angle


def small_turn(rng, angle_deg):
    """Matrix of a turn by about an angle, about any axis."""
    return naive.turn(rng.normal(size=3), rng.normal(0, angle_deg)) if angle_deg else np.eye(3)


def copies_of(motions, rng, particles=12, noise_deg=0.0, noise_A=0.0, dtype=np.float32):
    """Columns of an expanded .cs, and the number of the motion that made each copy.

    The identity is copy 0; the others, and the rows, come in any order.
    """
    order = np.append(0, rng.permutation(np.arange(1, len(motions))))
    rows = {name: [] for name in (SOURCE_UID, COPY, POSE, SHIFT, PSIZE)}
    for number in range(particles):
        angles = rng.uniform((-180, 0, -180), 180)
        pose, shift, psize_A = naive.euler_zyz(*angles), rng.normal(0, 3, 2), rng.uniform(0.8, 1.4)
        mates = naive.mates(pose, shift, [motions[k] for k in order], psize_A)
        for copy, (exp_v, moved) in enumerate(mates):
            noisy = exp_v @ small_turn(rng, noise_deg)
            rows[SOURCE_UID].append(10**12 + 7919 * number)
            rows[COPY].append(copy)
            rows[POSE].append(rotation_vector(noisy, long=(number + copy) % 3 == 0))
            rows[SHIFT].append(moved + rng.normal(0, 1, 2) * noise_A / psize_A)
            rows[PSIZE].append(psize_A)
    types = {SOURCE_UID: np.uint64, COPY: np.uint32}
    shuffled = rng.permutation(particles * len(motions))
    columns = {n: np.array(c, types.get(n, dtype))[shuffled] for n, c in rows.items()}
    columns["uid"] = rng.permutation(np.arange(len(shuffled), dtype=np.uint64))
    return columns, order


def write(path, columns, *without):
    """Write a .cs."""
    return save(path, structured({n: c for n, c in columns.items() if n not in without}))


def assert_recovered(report, motions, order, tolerance_deg=FLOAT32_DEG, tolerance_A=FLOAT32_A):
    """The mean motions are the ones that made the copies."""
    assert [each.copy for each in report.copies] == list(range(len(order)))
    for each, number in zip(report.copies, order, strict=True):
        rotation, translation = motions[number]
        assert np.rad2deg(naive.angle_rad(np.array(each.matrix), rotation)) < tolerance_deg
        by_quaternion = naive.from_quaternion(each.quaternion)
        assert np.rad2deg(naive.angle_rad(by_quaternion, rotation)) < tolerance_deg
        assert np.linalg.norm(each.translation_A - translation) < tolerance_A


def parts(report):
    """Twist, rise, order and group of the helix that was found."""
    helix = parse(report.symmetry, report.convention)
    return helix.twist_deg, helix.rise_A, helix.order, str(helix.group)


def assert_named(report, operators, motions, order):
    """The operators of our table, by the numbers that are reported, are those of the copies."""
    assert (report.symmetry, report.convention) == (str(operators.symmetry), operators.convention)
    assert_numbers(report, operators, motions, order)
    assert all(each.off_deg < 0.05 for each in report.copies)


def nearest(copy, motions):
    """Number of the motion that a copy is nearest to, and how far it is (deg, A)."""
    off_deg = [np.rad2deg(naive.angle_rad(np.array(copy.matrix), r)) for r, _ in motions]
    moved_A = np.zeros(3) if copy.translation_A is None else np.array(copy.translation_A)
    off_A = [np.linalg.norm(moved_A - t) for _, t in motions]
    number = int(np.argmin(np.add(off_deg, off_A)))
    return number, off_deg[number], off_A[number]


def assert_numbers(report, operators, motions, order):
    """The numbers are those of the copies' operators."""
    assert len({each.operator for each in report.copies}) == len(order)
    for each, number in zip(report.copies, order, strict=True):
        rotation, translation = motions[number]
        named = operators.matrix[each.operator]
        assert np.rad2deg(naive.angle_rad(named, rotation)) < 0.01
        assert np.linalg.norm(operators.translation_A[each.operator] - translation) < 0.01
        assert each.label == operators.label[each.operator]


D3_RELION = naive.group("D3", "relion")

KNOWN = {
    "C2": (motions_of(naive.group("C2")), lambda: point_group("C2")),
    "C4": (motions_of(naive.group("C4")), lambda: point_group("C4")),
    "D7": (motions_of(naive.group("D7")), lambda: point_group("D7")),
    "D7 of relion": (
        motions_of(naive.group("D7", "relion")),
        lambda: point_group("D7", "relion"),
    ),
    "T": (motions_of(naive.group("T")), lambda: point_group("T")),
    "T with 2-folds on x, y, z": (
        motions_of(naive.closure([naive.turn(naive.Z, 180), naive.turn((1, 1, 1), 120)])),
        lambda: point_group("T,222", "chimerax"),
    ),
    "O": (motions_of(naive.group("O")), lambda: point_group("O")),
    "I1": (motions_of(naive.group("I1")), lambda: point_group("I1")),
    "I2": (motions_of(naive.group("I2")), lambda: point_group("I2")),
    "I3": (motions_of(naive.group("I3")), lambda: point_group("I3")),
    "helix": (naive.helix(27.3, 4.75, 5), lambda: helix(27.3, 4.75, 5)),
    "left helix": (naive.helix(-166.7, 1.4, 8), lambda: helix(-166.7, 1.4, 8)),
    "helix x D3": (
        naive.helix(-25.7, 31.0, 5, naive.group("D3")),
        lambda: helix(-25.7, 31, 5, "D3"),
    ),
    "helix x D3 of relion": (
        naive.helix(-25.7, 31.0, 4, D3_RELION),
        lambda: helix(-25.7, 31, 4, point_group("D3", "relion")),
    ),
    "helix x C2": (naive.helix(50.0, 12.0, 6, naive.group("C2")), lambda: helix(50, 12, 6, "C2")),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", KNOWN)
def test_copies_are_recovered_and_named(case, rng, tmp_path):
    motions, table = KNOWN[case]
    columns, order = copies_of(motions, rng)
    report = match(write(tmp_path / "p.cs", columns))
    assert_recovered(report, motions, order)
    assert_named(report, table(), motions, order)
    assert (report.verdict, report.matched, report.operators_flag) == ("whole", True, None)
    assert report.is_group == ("helix" not in case)
    assert (report.rows, report.particles, report.order) == (12 * len(order), 12, len(order))
    assert all(each.particles == 12 for each in report.copies)
    assert max(each.largest_deg for each in report.copies) < FLOAT32_DEG


def test_many_copies_of_one_turn_in_float64(rng, tmp_path):
    motions = motions_of(naive.group("C30"))
    columns, order = copies_of(motions, rng, particles=3, dtype=np.float64)
    report = match(write(tmp_path / "p.cs", columns))
    assert_recovered(report, motions, order)
    assert_named(report, point_group("C30"), motions, order)


@pytest.mark.parametrize("case", ["T", "helix x D3"])
def test_noise_averages_out_and_is_reported(case, rng, tmp_path):
    motions, table = KNOWN[case]
    columns, order = copies_of(motions, rng, 30, noise_deg=0.01, noise_A=0.3)
    report = match(write(tmp_path / "p.cs", columns))
    assert_recovered(report, motions, order, 0.01, 0.4)
    assert report.verdict == "whole"
    assert_numbers(report, table(), motions, order)
    if "helix" in case:
        twist_deg, rise_A, *rest = parts(report)
        assert (twist_deg, rise_A) == (pytest.approx(-25.7, abs=0.01), pytest.approx(31, abs=0.1))
        assert rest == [5, "D3"]
    moved = report.copies[1:]  # copy 0 is compared to itself
    spread = [each.spread_deg for each in moved]
    assert 0.008 < np.mean(spread) < 0.02
    assert 0.3 < np.mean([each.spread_A for each in moved]) < 0.8
    for each in moved:
        assert each.spread_deg < each.largest_deg < 6 * each.spread_deg
        assert each.spread_A < each.largest_A < 6 * each.spread_A
        assert each.outliers == 0


def test_twist_and_rise_are_fitted_to_the_whole_helix(rng, tmp_path):
    motions = naive.helix(27.3, 1.4, 61)
    columns, order = copies_of(motions, rng, 6, noise_deg=0.02, noise_A=0.02)
    report = match(write(tmp_path / "p.cs", columns))
    assert report.verdict == "whole"
    twist_deg, rise_A, *rest = parts(report)
    assert twist_deg == pytest.approx(27.3, abs=5e-4)
    assert rise_A == pytest.approx(1.4, abs=1e-3)
    assert rest == [61, "C1"]
    assert [helix(27.3, 1.4, 61).label[k] for k in order] == [each.label for each in report.copies]


def test_refined_copies_are_still_named(rng, tmp_path):
    motions = motions_of(naive.group("O"))
    columns, order = copies_of(motions, rng, 40, noise_deg=4, noise_A=5)
    report = match(write(tmp_path / "p.cs", columns))
    assert report.verdict == "whole"
    assert_numbers(report, point_group("O"), motions, order)
    assert report.tolerance_deg > 1
    assert report.tolerance_A > 1


def test_rows_that_are_far_off_do_not_count(rng, tmp_path):
    motions = naive.helix(-25.7, 31.0, 5)
    columns, order = copies_of(motions, rng, 60, noise_deg=0.01, noise_A=0.05)
    bad = rng.choice(np.flatnonzero(columns[COPY] > 0), 24, replace=False)
    columns[POSE][bad[:16]] = rng.normal(0, 1.5, (16, 3))
    columns[SHIFT][bad[12:]] += 50
    report = match(write(tmp_path / "p.cs", columns))
    assert_recovered(report, motions, order, 0.01, 0.1)
    assert_numbers(report, helix(-25.7, 31, 5), motions, order)
    assert parts(report)[:2] == pytest.approx((-25.7, 31), abs=0.02)
    assert all(each.off_deg < 0.02 for each in report.copies)
    wrong = np.bincount(columns[COPY][bad], minlength=5)
    assert [each.outliers for each in report.copies] == wrong.tolist()
    assert all(each.particles == 60 for each in report.copies)
    assert all(each.spread_deg < 0.03 for each in report.copies)
    assert max(each.largest_deg for each in report.copies) > 10
    assert "24 row(s) are far from the mean motion" in " ".join(report.notes)


def test_a_part_of_a_group_is_named_with_its_numbers(rng, tmp_path):
    motions = motions_of(left_cosets(naive.group("O"), naive.group("C4")))
    columns, order = copies_of(motions, rng)
    columns["sym_expand/symmetry"] = np.full(len(columns[COPY]), b"O")
    report = match(write(tmp_path / "p.cs", columns))
    assert (report.verdict, report.matched, report.is_group) == ("part", True, False)
    assert report.convention == "cryosparc"
    assert (len(report.copies), report.order) == (6, 24)
    assert_named(report, point_group("O"), motions, order)
    numbers = sorted(each.operator for each in report.copies)
    assert report.operators_flag == ",".join(map(str, numbers))


@pytest.mark.parametrize(
    ("elements", "symbol"),
    [
        (left_cosets(naive.group("I2"), naive.closure([naive.turn((1, 0, naive.PHI), 72)])), "I2"),
        ([naive.turn(naive.Z, angle) for angle in (0, 60, 180)], "C6"),
        ([np.eye(3), naive.turn((1, 1, 0), 180), naive.turn((1, 0, 0), 180)], "D4"),
    ],
)
def test_the_smallest_group_with_all_copies_is_found(elements, symbol, rng, tmp_path):
    motions = motions_of(elements)
    columns, order = copies_of(motions, rng)
    report = match(write(tmp_path / "p.cs", columns))
    assert report.verdict == "part"
    assert_named(report, point_group(symbol), motions, order)


def test_other_ranges_of_helical_units_are_part_of_a_longer_helix(rng, tmp_path):
    motions = [(naive.turn(naive.Z, 27.3 * k), np.array([0, 0, 4.75 * k])) for k in range(5)]
    columns, order = copies_of(motions, rng)
    report = match(write(tmp_path / "p.cs", columns))
    assert (report.verdict, report.operators_flag) == ("part", "0-1,3,5,7")
    assert_named(report, helix(27.3, 4.75, 8), motions, order)
    given = match(str(tmp_path / "p.cs"), helix(27.3, 4.75, 5))
    assert given.verdict == "part"
    assert_named(given, helix(27.3, 4.75, 10), motions, order)


def test_the_table_itself_is_the_first_guess(rng, tmp_path):
    """Of a helix times C3, every twist by a further third of a turn makes the same operators."""
    motions = naive.helix(100.0, 12.0, 3, naive.group("C3"))
    columns, order = copies_of(motions, rng)
    report = match(write(tmp_path / "p.cs", columns))
    assert_named(report, helix(-20, 12, 3, "C3"), motions, order)
    stated = {
        "symmetry": b"C3",
        "is_helix": np.uint32(1),
        "helix_twist_rad": np.float32(np.deg2rad(100)),
        "helix_rise_A": np.float32(12),
        "helix_num_rises": np.uint32(3),
    }
    for name, value in stated.items():
        columns[f"sym_expand/{name}"] = np.full(len(columns[COPY]), value)
    report = match(write(tmp_path / "p.cs", columns))
    assert_named(report, helix(100, 12, 3, "C3"), motions, order)


@pytest.mark.parametrize("wrong", [b"D9", b"nonsense", b""])
def test_a_wrong_guess_does_no_harm(wrong, rng, tmp_path):
    motions = motions_of(naive.group("T"))
    columns, order = copies_of(motions, rng)
    columns["sym_expand/symmetry"] = np.full(len(columns[COPY]), wrong, "S8")
    assert_named(match(write(tmp_path / "p.cs", columns)), point_group("T"), motions, order)


TURNED = naive.turn((1, 2, 5), 33)


def turned(elements):
    """A group in another orientation."""
    return [TURNED @ element @ TURNED.T for element in elements]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("symbol", "fold", "axis"),
    [("O", 4, naive.Z), ("C5", 5, naive.Z), ("D7", 7, naive.Z), ("D2", 2, None), ("I1", 5, None)],
)
def test_a_group_without_name_is_described(symbol, fold, axis, rng, tmp_path):
    motions = motions_of(turned(naive.group(symbol)))
    columns, order = copies_of(motions, rng, 8, noise_deg=0.01)
    report = match(write(tmp_path / "p.cs", columns))
    assert (report.verdict, report.matched, report.is_group) == ("unnamed group", False, True)
    assert_recovered(report, motions, order, 0.03)
    assert report.description.startswith(f"{symbol.rstrip('1')}, {len(order)} operator(s): {fold}-")
    assert all(each.operator is None and each.label is None for each in report.copies)
    if axis and fold != 4:
        said = report.description.partition("(s): ")[2].partition("(")[2].partition(")")[0]
        found = np.array([float(word) for word in said.split(",")])
        assert np.allclose(found, TURNED @ axis, atol=2e-3)


@pytest.mark.parametrize("symbol", ["C4", "I2"])
def test_a_group_about_another_point_is_named(symbol, rng, tmp_path):
    point_A = np.array([12.5, -31.0, 0.0 if symbol == "C4" else 77.25])
    motions = about(point_A, naive.group(symbol))
    columns, order = copies_of(motions, rng, 8)
    report = match(write(tmp_path / "p.cs", columns))
    assert_recovered(report, motions, order)
    table = point_group(symbol)
    assert report.verdict == "whole"
    for each, number in zip(report.copies, order, strict=True):
        assert np.allclose(table.matrix[each.operator], motions[number][0])
    assert np.allclose(report.center_A, point_A, atol=1e-3)
    assert "about the point (12.50, -31.00, " in report.description


NO_GROUPS = {
    "unrelated turns": [np.eye(3), naive.turn((1, 2, 5), 77), naive.turn((4, -1, 2), 41)],
    "one turn": [np.eye(3), naive.turn(naive.Z, 27.3)],
    "O but one": turned(naive.group("O")[:-1]),
    "the same twice": [np.eye(3), naive.turn(naive.Z, 90), naive.turn(naive.Z, 90)],
}


@pytest.mark.parametrize("case", NO_GROUPS)
def test_what_is_no_group_is_said_to_be_none(case, rng, tmp_path):
    motions = motions_of(NO_GROUPS[case])
    columns, order = copies_of(motions, rng)
    report = match(write(tmp_path / "p.cs", columns))
    assert (report.verdict, report.matched, report.is_group) == ("no group", False, False)
    assert_recovered(report, motions, order)
    if case == "the same twice":
        assert report.description == "copies 1 and 2 are the same motion"
        return
    words = report.description.split()
    one, other = int(words[1]), int(words[6])
    product = motions[order[one]][0] @ motions[order[other]][0]
    assert not any(np.allclose(product, element, atol=1e-3) for element, _ in motions)


def test_a_longer_helix_than_the_table_states(rng, tmp_path):
    """CryoSPARC's range of units is not documented; the twist that it states is kept."""
    motions = [(naive.turn(naive.Z, 200.0 * k), np.array([0, 0, 4.75 * k])) for k in range(4)]
    columns, order = copies_of(motions, rng)
    stated = {"symmetry": b"C1", "is_helix": 1, "helix_num_rises": 4, "helix_rise_A": 4.75}
    for name, value in (stated | {"helix_twist_rad": np.deg2rad(200)}).items():
        columns[f"sym_expand/{name}"] = np.full(len(columns[COPY]), value)
    report = match(write(tmp_path / "p.cs", columns))
    assert_named(report, helix(200, 4.75, 8), motions, order)
    assert report.operators_flag == "0-1,3,5"


def test_a_given_symmetry_must_be_the_one(rng, tmp_path):
    motions = motions_of(naive.group("D7", "relion"))
    columns, order = copies_of(motions, rng)
    path = write(tmp_path / "p.cs", columns)
    assert match(path, point_group("D7", "relion")).verdict == "whole"
    report = match(path, point_group("D7"))
    assert (report.verdict, report.matched, report.is_group) == ("other", False, True)
    assert_named(report, point_group("D7", "relion"), motions, order)
    assert report.given.startswith("D7 (cryosparc)")
    part = match(path, point_group("D14"))
    assert (part.verdict, part.symmetry, part.order) == ("part", "D14", 28)


def test_particles_without_the_first_copy_are_left_out(rng, tmp_path):
    motions = motions_of(naive.group("C4"))
    columns, order = copies_of(motions, rng)
    ids = np.unique(columns[SOURCE_UID])[:2]
    kept = ~(np.isin(columns[SOURCE_UID], ids) & (columns[COPY] == 0))
    kept &= ~((columns[SOURCE_UID] == 10**12 + 7919 * 5) & (columns[COPY] == 2))
    columns = {name: column[kept] for name, column in columns.items()}
    report = match(write(tmp_path / "p.cs", columns))
    assert_named(report, point_group("C4"), motions, order)
    assert [each.particles for each in report.copies] == [10, 10, 9, 10]
    assert report.particles == 10
    assert f"2 particle(s) without copy 0 were left out ({SOURCE_UID} {ids[0]}, {ids[1]})" in (
        report.notes
    )


def test_copies_that_never_stand_beside_the_first_are_not_made_up(rng, tmp_path):
    motions = motions_of(naive.group("D3"))
    columns, order = copies_of(motions, rng)
    late = np.isin(columns[SOURCE_UID], np.unique(columns[SOURCE_UID])[:4])
    kept = np.where(late, columns[COPY] != 0, ~np.isin(columns[COPY], (2, 4)))
    columns = {name: column[kept] for name, column in columns.items()}
    for given in (None, point_group("D3")):
        report = match(write(tmp_path / "p.cs", columns), given)
        assert [each.copy for each in report.copies] == [0, 1, 3, 5]
        assert (report.verdict, report.symmetry) == ("part", "D3")
        for each in report.copies:
            number, off_deg, _ = nearest(each, motions)
            assert number == order[each.copy]
            assert off_deg < FLOAT32_DEG
        assert "no particle has both copy 0 and copy 2,4: what moves these is not known" in (
            report.notes
        )


def test_one_copy_is_no_expansion(rng, tmp_path):
    columns, _ = copies_of(motions_of([np.eye(3)]), rng)
    report = match(write(tmp_path / "p.cs", columns))
    assert (report.symmetry, report.matched) == ("C1", True)
    assert "nothing is expanded" in report.notes[0]


def test_what_a_copy_is_off_is_told(rng, tmp_path):
    columns, _ = copies_of(motions_of([np.eye(3), naive.turn(naive.Z, 180.03)]), rng)
    columns[SHIFT][columns[COPY] == 1] -= 0.02 / columns[PSIZE][columns[COPY] == 1][:, None]
    report = match(write(tmp_path / "p.cs", columns))
    assert report.symmetry == "C2"
    assert report.copies[1].off_deg == pytest.approx(0.03, abs=FLOAT32_DEG)
    assert report.copies[1].spread_A == pytest.approx(0.02 * np.sqrt(2), rel=0.5)
    assert report.copies[1].off_A < 0.05


def test_views_along_one_direction_leave_a_translation_unknown(rng, tmp_path):
    columns, _ = copies_of(naive.helix(27.3, 4.75, 3), rng, particles=1)
    report = match(write(tmp_path / "p.cs", columns))
    assert "seen from one direction" in " ".join(report.notes)


def refused(columns, path, *without, **options):
    """What match says of a table that it refuses."""
    with pytest.raises(SourceError) as error:
        match(write(path / "p.cs", columns, *without), **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_tables_that_cannot_be_matched_are_refused(rng, tmp_path):
    columns, _ = copies_of(motions_of(naive.group("C3")), rng)
    for missing in (SOURCE_UID, COPY):
        assert "whose copies its rows are" in refused(columns, tmp_path, missing)
    assert POSE in refused(columns, tmp_path, POSE)
    assert "no row has sym_expand/idx 0" in refused(
        columns | {COPY: columns[COPY] + np.uint32(1)}, tmp_path
    )
    double = columns | {SOURCE_UID: np.full(36, 7, np.uint64)}
    assert "sym_expand/src_uid 7 has two rows with sym_expand/idx 0" in refused(double, tmp_path)
    broken = columns | {POSE: columns[POSE].copy()}
    broken[POSE][17] = np.nan
    assert "alignments3D/pose is NaN or Inf: first in row 17" in refused(broken, tmp_path)
    assert "is not above 0" in refused(columns | {PSIZE: columns[PSIZE] * 0}, tmp_path)
    many = {n: np.concatenate([c] * 1900) for n, c in columns.items()}
    many[COPY] = np.arange(len(many[COPY]), dtype=np.uint32)
    assert "over 65,536 values" in refused(many, tmp_path)


def test_a_table_without_rows_is_refused(tmp_path, rng):
    columns, _ = copies_of(motions_of(naive.group("C3")), rng)
    empty = {name: column[:0] for name, column in columns.items()}
    with pytest.raises(SourceError, match="has no rows"):
        match(write_table(tmp_path / "p.h5", empty))


def test_pixel_sizes_are_needed_where_shifts_differ(rng, tmp_path):
    columns, order = copies_of(motions_of(naive.group("C3")), rng)
    report = match(write(tmp_path / "p.cs", columns, PSIZE))
    assert report.symmetry == "C3"
    assert report.copies[1].translation_A is None
    assert report.copies[1].spread_A is None
    motions = naive.helix(27.3, 4.75, 4)
    columns, order = copies_of(motions, rng)
    columns[SHIFT] *= (columns[PSIZE] / 1.5)[:, None]
    assert "psize=A_PER_PIXEL" in refused(columns, tmp_path, PSIZE)
    for without in ((), (PSIZE,)):
        report = match(write(tmp_path / "p.cs", columns, *without), psize_A=1.5)
        assert_named(report, helix(27.3, 4.75, 4), motions, order)
    for psize_A in (0.0, -1.0, np.nan):
        with pytest.raises(UsageError, match="not a length"):
            match(str(tmp_path / "p.cs"), psize_A=psize_A)


@pytest.mark.parametrize("pose_format", ["rotvec", "quaternion"])
@pytest.mark.parametrize(
    ("flags", "motions"),
    [
        ({"symmetry": "D3", "convention": "relion"}, motions_of(D3_RELION)),
        ({"twist": 27.3, "rise": 4.75, "order": 5}, naive.helix(27.3, 4.75, 5)),
    ],
)
def test_our_own_tables(pose_format, flags, motions, tmp_path, rng):
    columns = random_columns(rng, 9)
    if pose_format == "quaternion":
        flags = {**flags, "pose": "own/pose", "pose_format": pose_format}
        columns["own/pose"] = rng.normal(size=(9, 4))
        columns["own/pose"] /= np.linalg.norm(columns["own/pose"], axis=1, keepdims=True)
    source = write_table(tmp_path / "p.h5", columns)
    expand(source, str(tmp_path / "e.h5"), **flags)
    export_particles(str(tmp_path / "e.h5"), str(tmp_path / "e.cs"))
    for name in ("e.h5", "e.cs"):
        report = match(str(tmp_path / name))
        assert report.verdict == "whole"
        for each in report.copies:
            assert each.operator == each.copy
            off = nearest(each, motions)[1:]
            assert max(off) < FLOAT32_DEG


def test_a_pixel_size_given_to_expand_is_known_again(tmp_path, rng):
    source = write_table(tmp_path / "p.h5", random_columns(rng, 9))
    expand(source, str(tmp_path / "e.h5"), twist=27.3, rise=4.75, order=3, psize=2.0)
    report = match(str(tmp_path / "e.h5"))
    assert report.copies[1].translation_A == pytest.approx((0, 0, 4.75), abs=FLOAT32_A)


@needs(PROGRAM)
@pytest.mark.parametrize("case", [c for c in CASES if str(c) not in ("I1", "O")], ids=str)
def test_what_relion_writes(case, tmp_path):
    (tmp_path / "particles.star").write_text(star_text(make_particles(7)))
    run(tmp_path, PROGRAM, "--i", "particles.star", "--o", "theirs.star", *case.arguments)
    report = match(str(tmp_path / "theirs.star"))
    if case.symmetry:
        motions = motions_of(naive.group(case.symmetry, "relion"))
        table = point_group(case.symmetry, "relion")
    else:
        motions = naive.helix(case.twist, case.rise, case.order)
        table = helix(case.twist, case.rise, case.order)
    assert (report.symmetry, report.verdict) == (str(table.symmetry), "whole")
    reached = set()
    for each in report.copies:
        number, off_deg, off_A = nearest(each, motions)
        assert off_deg < 1e-4
        assert off_A < 1e-4
        assert np.allclose(table.matrix[each.operator], motions[number][0], atol=1e-5)
        assert np.allclose(table.translation_A[each.operator], motions[number][1], atol=1e-5)
        reached.add(number)
    assert reached == set(range(len(motions)))


def write_star(path, particles):
    """Write a .star in which all particles come first, then all their mates; and one alone."""
    lines = star_text(particles).splitlines()
    first = next(k for k, line in enumerate(lines) if "@particles" in line)
    text = []
    for k in (0, 2, 1):
        for number, (rot, *others) in enumerate(particles, start=1):
            values = [f"{value:.6f}" for value in (rot - 120 * k, *others)]  # R^T exp(v)
            text.append(" ".join([*values, f"{number:06d}@particles.mrcs", "1"]))
    text.append(text[0].replace("000001@", "000099@"))
    path.write_text("\n".join([*lines[:first], *text, ""]))


def test_rows_of_an_image_are_its_copies_in_file_order(rng, tmp_path):
    motions = motions_of(naive.group("C3"))
    write_star(tmp_path / "p.star", make_particles(5))
    report = match(str(tmp_path / "p.star"))
    assert_named(report, point_group("C3", "relion"), motions, [0, 2, 1])
    assert report.notes == ("1 image(s) were left out: they have not 3 rows, as most",)


def in_small_blocks(table, names, multiple=1):
    """Row ranges of seven rows."""
    return ((start, min(start + 7, table.n_rows)) for start in range(0, table.n_rows, 7))


@pytest.mark.parametrize("suffix", ["cs", "star"])
def test_blocks_make_no_difference(suffix, rng, tmp_path, monkeypatch):
    path = str(tmp_path / f"p.{suffix}")
    motions, order = motions_of(naive.group("C3")), [0, 2, 1]
    if suffix == "cs":
        columns, order = copies_of(motions, rng)
        write(path, columns)
    else:
        write_star(tmp_path / "p.star", make_particles(12))
    whole = match(path)
    monkeypatch.setattr(inside.pose_reader, "blocks", in_small_blocks)
    monkeypatch.setattr(inside.copy_references, "_MERGED_AT_ONCE", 5)
    steps = []
    report = match(path, progress=lambda done, rows: steps.append((done, rows)))
    assert_named(report, point_group("C3", whole.convention), motions, order)
    assert report.notes == whole.notes
    assert [each.particles for each in report.copies] == [12, 12, 12]
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


def requested(path, **flags):
    """Result, text and exit code of a command line."""
    request = match_command(str(path), quiet=True, **flags)
    report = request.act()
    json.dumps(report, allow_nan=False)
    return report, request.text(report), request.exit_code(report)


def test_the_command_prints_the_table(rng, tmp_path):
    motions = naive.helix(27.3, 4.75, 3)
    columns, order = copies_of(motions, rng)
    report, text, code = requested(write(tmp_path / "p.cs", columns))
    assert code == 0
    assert report["is_part"] is False
    first, head, *lines = text.splitlines()
    assert first.startswith(f"{tmp_path / 'p.cs'}: its 3 copies are helix(twist_deg=27.3,rise_A=")
    assert head.split() == [
        *("copy", "operator", "label", "angle_deg", "axis", "z_A", "particles", "spread_deg")
    ]
    for copy, (line, number) in enumerate(zip(lines, order, strict=True)):
        words = line.split()
        assert words[:3] == [str(copy), str(number), ["E", "h+1", "h-1"][number]]
        assert float(words[3]) == pytest.approx([0, 27.3, 27.3][number], abs=1e-3)
        assert float(words[7]) == pytest.approx([0, 4.75, -4.75][number], abs=2e-3)
        assert words[8] == "12"


def test_the_command_says_what_is_not_so(rng, tmp_path):
    def made(elements):
        return write(tmp_path / "p.cs", copies_of(motions_of(elements), rng)[0])

    path = made(naive.group("D7"))
    assert requested(path, symmetry="D7")[2] == 0
    _, text, code = requested(path, symmetry="D7", convention="relion")
    assert code == 1
    assert "its 14 copies are not D7 (relion)" in text
    assert "they are D7 (cryosparc)" in text
    _, text, code = requested(made(left_cosets(naive.group("O"), naive.group("C4"))))
    assert code == 0
    assert "are 6 of the 24 operators of O (cryosparc)" in text
    assert "--operators=0," in text.splitlines()[1]
    _, text, code = requested(made(turned(naive.group("C5"))))
    assert code == 1
    assert "a group in an orientation without a name: C5" in text
    _, text, code = requested(made(NO_GROUPS["unrelated turns"]))
    assert code == 1
    assert "not known operators, and not a group: copy" in text


@pytest.mark.parametrize(
    ("flags", "say"),
    [
        ({"convention": "relion"}, "--symmetry"),
        ({"twist": "3"}, "rise= and order="),
        ({"psize": "wide"}, "not a number"),
        ({"symmetry": "C0"}, "not a point group"),
    ],
)
def test_flags_that_cannot_be_are_refused(flags, say):
    with pytest.raises(UsageError, match=say):
        match_command("p.cs", **flags)


def test_the_program_matches_too(source, go, command):
    go("expand", source, "e.h5", "--symmetry=D3", "--convention=relion")
    assert "are D3 (relion), 6 operator(s): 3-fold on z, 2-fold on x" in go("match", "e.h5")
    done = command("match", "e.h5", "--symmetry=D3")
    assert done.returncode == 1
    assert "are not D3 (cryosparc)" in done.stdout
    assert command("match", source).returncode == 1


@pytest.mark.parametrize("symmetry", ["C3", "D2"])
def test_half_of_the_copies_tells_the_symmetry(symmetry, rng, go, tmp_path):
    (tmp_path / "p.star").write_text(star_text_of(particles(rng, 60)))
    go("expand", "p.star", "e.h5", f"--symmetry={symmetry}")
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())
    kept = np.flatnonzero(rng.uniform(size=len(found["rlnImageName"])) < 0.5)
    half = {label: [words[k] for k in kept] for label, words in found.items()}
    (tmp_path / "h.star").write_text(star_text_of(half))
    report = match(str(tmp_path / "h.star"))
    assert (report.verdict, report.symmetry) == ("whole", symmetry)
    rows = np.unique(half["rlnImageName"], return_counts=True)[1]
    for number, images in zip(*np.unique(rows, return_counts=True), strict=True):
        assert f"{images} with {number}" in report.notes[0]


def test_axes_are_told_by_large_turns(rng):
    """Of turns by 12 deg and more, each off by up to 0.1 deg, small ones tell their axis badly."""
    axis = np.array([2, -1, 2]) / 3
    half = np.pi * np.arange(30) / 30
    off = rng.uniform(-1, 1, (30, 3)) * np.deg2rad(0.05) / np.sqrt(3)
    vectors = np.sin(half)[:, None] * axis + off * (half > 0)[:, None]
    quaternion = np.column_stack([np.sqrt(1 - (vectors**2).sum(axis=1)), vectors])
    quaternion[:, 0] *= np.sign(np.cos(half) + 1e-9)
    tolerance = np.full(30, 0.1)
    ((fold, found),) = MotionSet(quaternion, np.zeros((30, 3)), tolerance, tolerance).axes()
    assert fold == 30
    assert np.rad2deg(np.arccos(found @ axis)) < 0.06
