"""mapcheck tells the symmetry, orientation and center of maps of blobs that nothing rotated."""

import bz2
import gzip
import json
import math
import re
import sys

import naive
import numba
import numpy as np
import phantom
import pytest
from conftest import compiled_only
from inside import (
    CYLINDERS,
    PAIRS,
    RINGS,
    SPHERES,
    Own,
    SourceError,
    UsageError,
    correlation,
    find_center,
    jit,
    map_report,
    other_axes,
    parameters_of,
    read_map,
    refine_center,
    without_means,
)

from numba_symexp import Operators, helix, mapcheck, point_group

mrcfile = pytest.importorskip("mrcfile")

BOX, PSIZE_A, WIDTH_A = 40, 3.0, 4.0
SMALL = 18
RADII_A = (20, 45)


@pytest.fixture
def check(command):
    """Run the verb; gives the finished process."""
    return lambda *words: command("mapcheck", *words)


@pytest.fixture
def small(tmp_path):
    """A small map of D3 in CryoSPARC's orientation; gives its path."""
    centers = blobs("D3", radii_A=(8, 18))
    return write(tmp_path / "small.mrc", density(centers, SMALL))


def density(centers, box=BOX, psize_A=PSIZE_A, width_A=WIDTH_A):
    """Gaussian blobs, (z, y, x), about voxel N // 2; ``box`` is one number, or x, y and z."""
    sides = (box,) * 3 if isinstance(box, int) else box
    profiles = []
    for axis, side in enumerate(sides):
        place = (np.arange(side) - side // 2) * psize_A
        profiles.append(np.exp(-(((place - centers[:, axis, None]) / width_A) ** 2) / 2))
    return np.einsum("bz,by,bx->zyx", *profiles[::-1], optimize=True)


def motions_of(symbol, convention="cryosparc"):
    return [(rotation, np.zeros(3)) for rotation in naive.group(symbol, convention)]


def blobs(symbol, convention="cryosparc", count=3, radii_A=RADII_A, seed=1):
    """Centers of blobs with a point group."""
    rng = np.random.default_rng(seed)
    return phantom.blob_centers(rng, motions_of(symbol, convention), count, radii_A)


def moved(symbol, radii_A, shift_A):
    """Centers of blobs with a point group about another point than the box center."""
    return np.add(blobs(symbol, radii_A=radii_A), shift_A)


def filament(twist_deg, rise_A, elements=naive.NO_GROUP, seed=4):
    """Centers of blobs along a helix that leaves the box."""
    rng = np.random.default_rng(seed)
    subunit = np.stack(
        [rng.uniform(10, 35, 3), rng.uniform(-9, 9, 3), rng.uniform(0, rise_A, 3)], axis=1
    )
    order = 2 * math.ceil(BOX * PSIZE_A / rise_A)
    motions = naive.helix(twist_deg, rise_A, order, elements)
    return np.concatenate([subunit @ rotation.T + t for rotation, t in motions])


def write(path, sections, psize_A=PSIZE_A):
    phantom.write_mrc(path, sections, psize_A)
    return str(path)


def noisy(sections, ratio, seed=7):
    """Noise on a map; its variance in the largest sphere is that of the density, over ratio."""
    spread = sections[inside(sections.shape)].std() / math.sqrt(ratio)
    return sections + np.random.default_rng(seed).normal(0, spread, sections.shape)


def inside(shape, radius=None):
    """The largest sphere in a cubic box, or one of another radius in voxels."""
    place = np.arange(shape[0]) - shape[0] // 2
    squared = place[:, None, None] ** 2 + place[:, None] ** 2 + place**2
    return squared <= (shape[0] / 2 - 1 if radius is None else radius) ** 2


GROUPS = [
    ("C2", "cryosparc"), ("C3", "cryosparc"), ("C7", "relion"), ("D1", "relion"),
    ("D3", "cryosparc"), ("D4", "cryosparc"), ("D7", "cryosparc"), ("D7", "relion"),
    ("T", "relion"), ("O", "cryosparc"),
    *(
        pytest.param(f"I{setting}", convention, marks=pytest.mark.slow)
        for setting, convention in enumerate(("cryosparc", "cryosparc", "relion", "cryosparc"), 1)
    ),
]  # fmt: skip


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize(("symbol", "convention"), GROUPS)
def test_the_orientation_of_a_group_is_told(symbol, convention, tmp_path):
    path = write(tmp_path / "m.mrc", density(blobs(symbol, convention)))
    right = mapcheck(path, point_group(symbol, convention))
    assert right.fits
    assert right.notes == ()
    assert right.named.worst > 0.98
    assert len(right.named.operators) == len(naive.group(symbol, convention)) - 1
    assert all(other.share < 0.5 for other in right.others)
    others = {"C": 0, "T": 2, "O": 0, "I": 7}
    odd = symbol[0] == "D" and int(symbol[1:]) % 2
    assert len(right.others) == others.get(symbol[0], odd)
    wrong = {"I1": "I2", "I2": "I1", "I3": "I4", "I4": "I3"}.get(symbol)
    if wrong is not None:
        named = point_group(wrong, convention)
        flags = f"symmetry={symbol}"
    elif odd:
        named = point_group(symbol, {"relion": "cryosparc", "cryosparc": "relion"}[convention])
        flags = f"convention={convention}"
    elif symbol == "T":
        named, flags = point_group("T", "chimerax"), "convention=cryosparc"
    else:
        return
    found = mapcheck(path, named)
    assert not found.fits
    assert found.verdict.endswith(f": use {flags}")


@compiled_only
def test_an_orientation_of_other_programs_is_told(tmp_path):
    turn = naive.turn((0, 0, 1), 90)  # I3 with its 2-fold on x
    path = write(tmp_path / "m.mrc", density(blobs("I3") @ turn.T))
    found = mapcheck(path, point_group("I3"))
    assert not found.fits
    assert "I,2n5" in found.verdict
    assert found.verdict.endswith("convention=chimerax")


def test_the_dyad_of_a_small_map_is_told(small, check):
    done = check("small.mrc", "--symmetry=D3", "--convention=relion")
    assert (done.returncode, done.stderr) == (1, "")
    verdict = "does not have D3 (relion), but has D3 (cryosparc): use --convention=cryosparc"
    last = done.stdout.splitlines()[-1]
    assert last == f"small.mrc: {verdict}"


@pytest.mark.parametrize(
    ("other", "named", "flags"),
    [
        (point_group("I1"), point_group("I2"), "symmetry=I1"),
        (point_group("D3", "relion"), point_group("D3"), "convention=relion"),
        (
            point_group("I,2n5", "chimerax"),
            point_group("I4"),
            "symmetry=I,2n5 convention=chimerax",
        ),
        (helix(-27.3, 5, 3), helix(27.3, 5, 3), "twist=-27.3"),
        (
            helix(-27.3, 5, 3, point_group("D3", "relion")),
            helix(27.3, 5, 3, "D3"),
            "twist=-27.3 convention=relion",
        ),
    ],
)
def test_flags_name_what_differs(other, named, flags):
    assert parameters_of(other, named) == flags


@pytest.mark.slow
@pytest.mark.parametrize(("symbol", "called"), [("C3", "D3"), ("C1", "C3")])
def test_a_map_without_the_symmetry_fails(symbol, called, tmp_path, check):
    write(tmp_path / "m.mrc", density(blobs(symbol, radii_A=(8, 18), count=4), SMALL))
    done = check("m.mrc", f"--symmetry={called}")
    assert (done.returncode, done.stderr) == (1, "")
    verdict = done.stdout.splitlines()[-1]
    assert f"does not have {called} (cryosparc) in any known orientation, nor about" in verdict
    assert verdict.endswith("80 % counts as a match")


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize(("symbol", "called"), [("C7", "D7"), ("T", "O"), ("C1", "O"), ("O", "I2")])
def test_a_group_with_less_symmetry_fails(symbol, called, tmp_path):
    centers = blobs(symbol, count=60 if symbol == "C1" else 6)
    found = mapcheck(write(tmp_path / "m.mrc", density(centers)), point_group(called))
    assert not found.fits
    assert found.center_A is None


@pytest.mark.slow
@compiled_only
def test_a_dense_particle_does_not_fit_by_its_envelope(tmp_path):
    rng = np.random.default_rng(2)
    motions = motions_of("C7")
    ring = phantom.blob_centers(rng, motions, 60, (15, 45))
    path = write(tmp_path / "m.mrc", density(ring))
    low = mapcheck(path, point_group("D7"))
    assert low.named.worst < 0.5
    assert np.corrcoef(*envelope_pair(ring))[0, 1] > 0.7  # all that is dense, upside down


def envelope_pair(centers):
    """A map and its copy by a dyad on y, in the sphere, with all of their density."""
    sections = density(centers)
    copy = density(centers @ naive.turn((0, 1, 0), 180).T)
    within = inside(sections.shape)
    return sections[within], copy[within]


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize("twist_deg", [27.3, -40.0])
@pytest.mark.parametrize("symbol", ["C1", "C2", "D3"])
def test_the_hand_of_a_helix_is_told(twist_deg, symbol, tmp_path, check):
    centers = filament(twist_deg, 11.0, naive.group(symbol))
    path = write(tmp_path / "m.mrc", density(centers))
    found = mapcheck(path, helix(twist_deg, 11.0, 7, symbol))
    assert found.fits
    assert found.notes == ()
    assert found.named.worst > 0.98
    assert found.noise < 0.05  # the filament leaves the sphere, but not the cylinder
    words = (f"--symmetry={symbol}", f"--twist={-twist_deg}", "--rise=11", "--order=7")
    done = check("m.mrc", *words)
    assert done.returncode == 1
    assert done.stdout.rstrip().endswith(f"twist={twist_deg:g}")


@compiled_only
def test_units_of_a_helix_that_leave_the_box_do_not_count(tmp_path, check):
    path = write(tmp_path / "m.mrc", density(filament(27.3, 11.0)))
    done = check("m.mrc", "--twist=27.3", "--rise=11", "--order=22")
    assert done.returncode == 0
    assert done.stdout.count("outside the box") == 5
    fits = mapcheck(path, helix(27.3, 11.0, 22)).named.operators
    assert [each.correlation is None for each in fits] == [each.overlap < 0.1 for each in fits]
    done = check("m.mrc", "--twist=27.3", "--rise=111", "--order=3")
    assert done.returncode == 1
    assert "worst not compared" in done.stdout
    assert "too little of the mask stays inside the box" in done.stdout


@pytest.mark.parametrize("rise", [45, 1000])
def test_a_rise_that_leaves_the_box_is_not_compared(rise, small, check):
    done = check("small.mrc", "--twist=30", f"--rise={rise}", "--order=2", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert "cannot be compared" in report["verdict"]
    assert report["ceiling"] is report["named"]["worst"] is report["named"]["share"] is None
    assert report["named"]["operators"][0]["overlap"] < 0.1


@compiled_only
def test_both_dihedral_orientations_of_a_helix_are_tried(tmp_path):
    centers = filament(27.3, 11.0, naive.group("D3", "relion"))
    found = mapcheck(write(tmp_path / "m.mrc", density(centers)), helix(-27.3, 11.0, 5, "D3"))
    assert len(found.others) == 3
    assert found.verdict.endswith("use twist=27.3 convention=relion")


@pytest.mark.parametrize("operators", [helix(90, 11, 3, "C2"), helix(30, 11, 1, "C3")])
def test_hands_that_are_one_set_are_no_other_orientation(operators, tmp_path):
    path = write(tmp_path / "m.mrc", density(blobs("C3", radii_A=(8, 18)), SMALL))
    assert mapcheck(path, operators, radius_A=15).others == ()


@pytest.mark.parametrize("convention", ["cryosparc", "relion"])
def test_a_map_that_was_averaged_over_both_dyads_is_doubted(convention, tmp_path, check):
    both = np.concatenate([blobs("D3", each, radii_A=(8, 18)) for each in ("cryosparc", "relion")])
    both = np.concatenate([both, both @ naive.turn((0, 1, 0), 180).T])
    both = np.concatenate([both, both @ naive.turn((1, 0, 0), 180).T])
    write(tmp_path / "m.mrc", density(both, SMALL))
    done = check("m.mrc", "--symmetry=D3", f"--convention={convention}")
    assert done.returncode == 0
    assert "fits too: the map has" in done.stdout
    assert "more symmetry than it should" in done.stdout


def test_a_better_orientation_goes_before_one_that_fits(tmp_path):
    right = density(blobs("D3", radii_A=(8, 18)), SMALL)
    both = right + density(blobs("D3", radii_A=(8, 18)) @ naive.turn((0, 0, 1), 60).T, SMALL)
    found = mapcheck(write(tmp_path / "m.mrc", both + 0.15 * right), point_group("D3", "relion"))
    assert 0.8 < found.named.share < found.others[0].share - 0.02
    assert not found.fits
    assert found.notes == ()
    assert found.verdict.endswith("use convention=cryosparc")


def ring(fold=7, count=3, seed=3):
    """Centers of blobs of one ring above the center, with Cn."""
    subunit = np.random.default_rng(seed).uniform([15, -6, 5], [40, 6, 30], (count, 3))
    turns = [naive.turn((0, 0, 1), 360 / fold * k) for k in range(fold)]
    return np.concatenate([subunit @ turn.T for turn in turns])


def two_rings(second):
    """Density of a ring, and of the ring that a 2-fold on y makes of it, times a number."""
    flipped = ring() @ naive.turn((0, 1, 0), 180).T
    return density(ring()) + second * density(flipped)


def neighbors(count):
    """Density of blobs outside of the largest sphere in the box."""
    places = np.random.default_rng(8).uniform(-58, 58, (4000, 3))
    return 2 * density(places[np.linalg.norm(places, axis=1) > 66][:count])


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize("count", [0, 20])
def test_density_outside_of_the_sphere_excuses_nothing(count, tmp_path, check):
    path = write(tmp_path / "m.mrc", two_rings(0.5) + neighbors(count))
    found = mapcheck(path, point_group("D7"))
    assert not found.fits
    best = max(each.correlation for each in found.named.operators)
    assert found.ceiling >= best > 0.99
    assert found.noise < 0.02
    assert mapcheck(path, point_group("C7")).fits


@compiled_only
@pytest.mark.parametrize("count", [0, 20])
def test_an_operator_clearly_below_the_others_is_named(count, tmp_path, check):
    write(tmp_path / "m.mrc", two_rings(0.75) + neighbors(count))
    done = check("m.mrc", "--symmetry=D7", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert re.match(r"U\d fits clearly less than the others", report["notes"][0])


@pytest.mark.slow
@compiled_only
def test_an_operator_far_below_the_others_is_refused(tmp_path):
    """All reach the threshold, and yet the 2-folds are no symmetry of the map."""
    path = write(tmp_path / "m.mrc", two_rings(0.75))
    found = mapcheck(path, point_group("D7"), threshold=0.88, radius_A=40)
    assert found.named.share >= 0.88
    assert not found.fits
    assert "the map has less symmetry, without U" in found.verdict


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize(
    ("twist_deg", "rise_A", "order"),
    [(30.3, 5.5, 5), (27.3, 6.0, 5), (24.0, 5.2, 3), (-30.3, 5.5, 7)],
)
def test_the_better_helix_is_named(twist_deg, rise_A, order, tmp_path, check):
    path = write(tmp_path / "m.mrc", density(filament(27.3, 5.5)))
    found = mapcheck(path, helix(twist_deg, rise_A, order))
    assert not found.fits
    assert found.twist_deg == pytest.approx(27.3, abs=0.1)
    assert found.rise_A == pytest.approx(5.5, abs=0.05)
    assert found.verdict.endswith(f"use twist={found.twist_deg:g} rise={found.rise_A:g}")
    right = mapcheck(path, helix(27.3, 5.5, order))
    assert right.fits
    assert right.twist_deg is None


@compiled_only
@pytest.mark.parametrize("ratio", [1.0, 0.4])
def test_noise_makes_no_better_helix(ratio, tmp_path):
    path = write(tmp_path / "m.mrc", noisy(density(filament(27.3, 11.0)), ratio))
    assert mapcheck(path, helix(27.3, 11.0, 5)).fits


ELSEWHERE = [("C8", (1, 0, 0), 90), ("C3", (1, 2, 3), 77), ("D7", (1, 2, 3), 77),
             ("D2", (3, 1, 2), 77), ("D1", (1, 1, 0.3), 77), ("C2", (0, 1, 0), 90)]  # fmt: skip


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize(("symbol", "axis", "angle"), ELSEWHERE)
def test_axes_in_other_directions_are_found(symbol, axis, angle, tmp_path):
    shift_A = (8.0, -5.0, 6.0)
    centers = blobs(symbol) @ naive.turn(axis, angle).T + shift_A
    found = mapcheck(write(tmp_path / "m.mrc", density(centers)), point_group(symbol))
    assert not found.fits
    rotation = np.array(found.rotation)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0
    about = np.zeros(3) if found.center_A is None else found.center_A
    path = write(tmp_path / "n.mrc", density((centers - about) @ rotation.T))
    assert mapcheck(path, point_group(symbol)).fits


@compiled_only
def test_axes_of_dark_particles_are_found_as_those_of_bright_ones(tmp_path):
    """In the negative of a map without noise nothing may be above the mean by much."""
    centers = blobs("C8") @ naive.turn((1, 0, 0), 90).T + (8.0, -5.0, 6.0)
    bright = density(centers)
    found = [
        mapcheck(write(tmp_path / f"{sign}.mrc", sign * bright), point_group("C8"))
        for sign in (1, -1)
    ]
    assert found[0].rotation is not None
    np.testing.assert_allclose(*(each.rotation for each in found), atol=1e-3)
    np.testing.assert_allclose(*(each.center_A for each in found), atol=0.2)


def test_a_map_of_two_values_is_one_line(tmp_path, check):
    """Nothing stands out of it: half of it is as far above the mean as the rest is below."""
    box = np.ones((SMALL, SMALL, SMALL))
    box[: SMALL // 2] = -1
    for sign in (1, -1):
        write(tmp_path / "m.mrc", sign * box.transpose(2, 1, 0))
        done = check("m.mrc", "--symmetry=C3")
        assert done.returncode == 1
        assert done.stderr == ""
        assert done.stdout.startswith("m.mrc: ")


@pytest.mark.parametrize("target", [(0, 0, 1), (0, 1, 0), (0.36, 0.48, 0.8)])
@pytest.mark.parametrize("axis", [(0.6, 0, -0.8), (-1, 0, 0), (0, 0, -1), (0, 0.28, 0.96)])
def test_an_axis_or_its_opposite_is_brought_to_another_by_the_smaller_turn(axis, target):
    rotation, back = (
        other_axes._to(np.array(a, float), np.array(target, float))
        for a in (axis, np.negative(axis))
    )
    assert np.isclose(abs(rotation @ axis @ target), 1)
    assert np.trace(rotation) > 1 - 1e-9  # by 90 degrees at most
    np.testing.assert_allclose(rotation, back, atol=1e-12)


@pytest.mark.slow
def test_the_rotation_to_z_is_told(tmp_path, check):
    centers = ring(4, seed=5) * 0.4 @ naive.turn((0, 1, 0), 90).T  # z to x
    write(tmp_path / "m.mrc", density(centers, SMALL))
    done = check("m.mrc", "--symmetry=C4", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    rotation = np.array(report["rotation"])
    np.testing.assert_allclose(np.abs(rotation[2]), (1, 0, 0), atol=0.02)
    words = report["verdict"].split("view matrix models #1,")[1].split(";")[0].split(",")
    matrix = np.array(words, float).reshape(3, 4)
    np.testing.assert_allclose(matrix[:, :3], rotation, atol=1e-6)
    np.testing.assert_array_equal(matrix[:, 3], 0)
    assert "originIndex 9,9,9;" in report["verdict"]
    last = check("m.mrc", "--symmetry=C4").stdout.splitlines()[-1]
    before, _, flag = last.partition("--matrix=")
    assert before.endswith("numba-symexp reorient PARTICLES OUTPUT ")
    told = np.array(flag.split(","), float).reshape(3, 3)
    np.testing.assert_allclose(told, rotation, atol=1e-8)


@compiled_only
@pytest.mark.parametrize("off_A", [1.2, 2.0])
def test_an_axis_a_part_of_a_voxel_off_in_a_box_with_short_sides_is_told(off_A, tmp_path):
    path = write(tmp_path / "m.mrc", density(np.add(ring(), (off_A, off_A / 2, -15)), (40, 42, 30)))
    found = mapcheck(path, point_group("C7"))
    assert not found.fits
    np.testing.assert_allclose(found.center_A, (off_A, off_A / 2, 0), atol=0.3)


def test_a_fold_that_no_map_can_show_is_refused(small, check):
    done = check("small.mrc", "--symmetry=C65536")
    assert (done.returncode, done.stdout) == (2, "")
    assert "can show folds up to 226" in done.stderr


SHIFTS = [((3.1, 0.0, -6.0), 40), ((-8.0, 5.0, 3.0), 41), ((0.0, 14.0, 0.0), 40)]


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize(("shift_A", "box"), SHIFTS)
@pytest.mark.parametrize("symbol", ["C2", "C7", "D3", "D4", "T", "O", "I1"])
def test_the_center_of_a_shifted_map_is_told(symbol, shift_A, box, tmp_path):
    centers = blobs(symbol, radii_A=(15, 35))
    path = write(tmp_path / "m.mrc", density(centers + shift_A, box))
    found = mapcheck(path, point_group(symbol))
    assert not found.fits
    free = (1, 1, 0) if symbol[0] == "C" else (1, 1, 1)
    np.testing.assert_allclose(found.center_A, np.multiply(shift_A, free), atol=0.25 * PSIZE_A)
    assert f"has {symbol} (cryosparc), but about (" in found.verdict
    moved = mapcheck(write(tmp_path / "n.mrc", density(centers - found.center_A + shift_A)),
                     point_group(symbol))  # fmt: skip
    assert moved.fits


@pytest.mark.slow
@compiled_only
def test_the_center_is_told_of_the_orientation_that_fits(tmp_path):
    centers = noisy(density(moved("I1", (15, 35), (6.0, -4.0, 2.0))), 2.0)
    found = mapcheck(write(tmp_path / "m.mrc", centers), point_group("I2"), radius_A=45)
    assert "has I1 (cryosparc), but about" in found.verdict
    np.testing.assert_allclose(found.center_A, (6.0, -4.0, 2.0), atol=0.25 * PSIZE_A)


@compiled_only
def test_a_helix_beside_the_axis_is_told(tmp_path):
    centers = np.add(filament(27.3, 11.0), (7.0, -4.0, 30.0))
    found = mapcheck(write(tmp_path / "m.mrc", density(centers)), helix(27.3, 11.0, 5))
    assert not found.fits
    np.testing.assert_allclose(found.center_A, (7.0, -4.0, 0.0), atol=0.25 * PSIZE_A)


def test_the_axis_of_a_small_map_is_told(tmp_path, check):
    centers = moved("C3", (6, 13), (4.0, -5.0, 2.0))
    write(tmp_path / "m.mrc", density(centers, 16))
    done = check("m.mrc", "--symmetry=C3", "--radius=15", "--json")
    assert done.returncode == 1
    center_A = json.loads(done.stdout)["center_A"]
    np.testing.assert_allclose(center_A, (4.0, -5.0, 0.0), atol=0.25 * PSIZE_A)


@pytest.mark.parametrize("symbol", ["C3", "D2"])
def test_a_center_is_found_to_a_part_of_a_voxel(symbol, tmp_path):
    center_A = np.array([4.1, -4.6, 2.0])
    grid = read_map(write(tmp_path / "m.mrc", density(moved(symbol, (6, 13), center_A), 16)))
    found_A = find_center(grid, point_group(symbol), [1, -1])
    wanted_A = center_A * (1, 1, symbol == "D2")
    np.testing.assert_allclose(found_A, wanted_A, atol=0.03 * PSIZE_A)


@pytest.mark.parametrize("symbol", ["C3", "D3"])
def test_a_center_is_refined(symbol, tmp_path):
    shift_A = np.array([4.0, -5.0, 2.0])
    grid = read_map(write(tmp_path / "m.mrc", density(moved(symbol, (6, 13), shift_A), 16)))
    start_A = np.add(shift_A, (-1.5, 1.2, 1.0))
    found_A = refine_center(grid, point_group(symbol), [1, -1], start_A)
    wanted_A = (4.0, -5.0, 2.0 if symbol == "D3" else 3.0)
    np.testing.assert_allclose(found_A, wanted_A, atol=0.08 * PSIZE_A)


def test_a_center_that_is_hardly_another_is_not_told(tmp_path):
    centers = moved("C3", (6, 13), (0.6, 0.0, 0.0))
    path = write(tmp_path / "m.mrc", density(centers, 16))
    share = mapcheck(path, point_group("C3")).named.share
    found = mapcheck(path, point_group("C3"), threshold=share + 0.001)
    assert not found.fits
    assert found.center_A is None


def test_an_axis_far_from_the_box_center_is_none(tmp_path):
    centers = moved("C3", (4, 9), (22.0, 0.0, 0.0))
    found = mapcheck(write(tmp_path / "m.mrc", density(centers, 24)), point_group("C3"))
    assert not found.fits
    assert found.center_A is None


def test_a_shift_along_a_cyclic_axis_is_none(tmp_path):
    centers = moved("C3", (6, 13), (0.0, 0.0, 5.0))
    assert mapcheck(write(tmp_path / "m.mrc", density(centers, 16)), point_group("C3")).fits


@pytest.mark.slow
@compiled_only
@pytest.mark.parametrize(
    ("symbol", "ratio"), [("C3", 1.0), ("D7", 0.4), ("O", 1.0), ("I2", 1.0), ("I2", 0.4)]
)
def test_noise_is_allowed_for(symbol, ratio, tmp_path):
    path = write(tmp_path / "m.mrc", noisy(density(blobs(symbol, count=6), 64, 2.2), ratio), 2.2)
    found = mapcheck(path, point_group(symbol))
    assert found.fits, found.verdict
    assert found.named.worst < 0.8
    assert found.noise > 0.4
    for each in found.named.operators:  # those that meet voxels on voxels reach less than others
        assert each.correlation == pytest.approx(each.ceiling, abs=0.04)
    wrong = {"C3": "C4", "O": "I1"}.get(symbol)
    wrong = point_group(wrong or symbol, "relion" if symbol == "D7" else "cryosparc")
    if symbol == "I2":
        wrong = point_group("I1")
    assert not mapcheck(path, wrong).fits


def test_noise_that_hides_the_answer_is_told(tmp_path, check):
    write(tmp_path / "m.mrc", noisy(density(blobs("C3", radii_A=(8, 18)), SMALL), 0.02))
    done = check("m.mrc", "--symmetry=C3")
    assert done.returncode == 1
    assert "noise hides the answer" in done.stdout
    assert "low-passed" in done.stdout


@compiled_only
def test_a_correlation_that_noise_leaves_next_to_nothing_of_is_no_fit(tmp_path):
    path = write(tmp_path / "m.mrc", noisy(density(blobs("C3", count=6)), 0.1))
    found = mapcheck(path, point_group("C3"))
    assert 0.03 < found.ceiling < 0.1
    assert found.named.worst > 0.8 * found.ceiling
    assert not found.fits
    assert "noise hides" in found.verdict


def test_noise_that_has_the_symmetry_hides_nothing(tmp_path):
    sections = np.random.default_rng(3).normal(size=(SMALL + 1,) * 3)
    sections = sum(np.rot90(sections, k, (1, 2)) for k in range(4))
    found = mapcheck(write(tmp_path / "m.mrc", sections), point_group("C4"))
    assert found.ceiling >= max(each.correlation for each in found.named.operators)
    assert found.noise < 0.02  # what all copies share is not noise to them
    assert found.named.worst > 0.98
    assert found.fits


def test_correlations_are_those_of_the_densities(small):
    """Copies are evaluated, not interpolated; means over pairs of rings over many angles."""
    operators = point_group("D3", "relion")
    found = mapcheck(small, operators)
    centers = blobs("D3", radii_A=(8, 18))
    within = inside((SMALL,) * 3)
    place = np.argwhere(within)[:, ::-1] - SMALL // 2.0
    for rotation, label, fit in zip(
        operators.matrix[1:], operators.label[1:], found.named.operators, strict=True
    ):
        moved = place @ rotation.T
        kept = np.all((moved >= 1 - SMALL // 2) & (moved < SMALL - 2 - SMALL // 2), axis=1)
        a, b = (at(centers, each[kept] * PSIZE_A) for each in (place, moved))
        mean = sum(
            at(centers @ naive.turn((1, 0, 0), flip).T @ naive.turn((0, 0, 1), angle).T,
               place[kept] * PSIZE_A)
            for flip in (0, 180) for angle in np.arange(0, 120, 7.5)
        ) / 32  # fmt: skip
        wanted = np.corrcoef(a - mean, b - mean)[0, 1]
        assert fit.label == label
        assert fit.overlap == pytest.approx(kept.mean(), abs=0.03)
        assert fit.correlation == pytest.approx(wanted, abs=0.02)


def at(centers, places_A):
    """Density of blobs at places."""
    squared = ((places_A[:, None] - centers) ** 2).sum(axis=2)
    return np.exp(-squared / (2 * WIDTH_A**2)).sum(axis=1)


@pytest.mark.parametrize("box", [(16, 17, 18), (17, 16, 15)])
def test_the_kernel_does_what_loops_do(box, rng):
    nx, ny, nz = box
    sections = rng.normal(size=(nz, ny, nx)).astype(np.float32)
    mask = rng.random(sections.shape) < 0.2
    matrix, offset = naive.exp(rng.normal(size=3)), rng.normal(8, 1, 3)
    offset -= matrix @ np.full(3, 8.0)
    values = []
    for z, y, x in np.argwhere(mask):
        place = matrix @ (x, y, z) + offset
        low = np.floor(place).astype(int)
        if np.any(low < 1) or np.any(low + 2 > np.array(box) - 1):
            continue
        weights = [[catmull_rom(step - part) for step in range(-1, 3)] for part in place - low]
        i, j, k = low - 1
        cube = sections[k : k + 4, j : j + 4, i : i + 4].astype(float)
        copy = np.einsum("zyx,x,y,z->", cube, *weights)
        values.append((sections[z, y, x], copy))
    count, of_map, of_copy, covariance = correlation.moments(sections, mask, matrix, offset)
    assert count == len(values) > 100
    wanted = np.cov(np.array(values, float).T, bias=True)
    np.testing.assert_allclose(
        [[of_map, covariance], [covariance, of_copy]], wanted, rtol=1e-5, atol=1e-6
    )


def catmull_rom(distance):
    """The cubic kernel of Keys with a = -1/2."""
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


@compiled_only
def test_threads_change_nothing(rng, monkeypatch):
    monkeypatch.setattr(jit.Kernel, "seconds_left", 0.0)
    sections = rng.normal(size=(20, 20, 20)).astype(np.float32)
    given = sections, inside(sections.shape), naive.turn((1, 2, 3), 50), np.array([3.0, -1.0, 2.0])
    found = []
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        numba.set_num_threads(threads)
        found.append(correlation.moments(*given))
        assert numba.get_num_threads() == threads
    assert len(set(found)) == 1


@pytest.mark.parametrize("over", [SPHERES, RINGS, PAIRS, CYLINDERS])
def test_what_no_orientation_changes_is_taken_out(over, rng):
    center = np.array([9.5, 9.5, 9.0])
    z, y, x = (np.arange(20)[:, None, None], np.arange(20)[:, None], np.arange(20))
    x, y, z = x - center[0], y - center[1], z - center[2]
    across = np.hypot(y, x)
    ball = np.exp(-(across**2 + z**2) / 50)
    rod = np.exp(-(across**2) / 40) + 0 * z
    drum = np.exp(-(across**2) / 60 - z**4 / 5e3)
    cone = np.exp(-((across - 0.3 * z) ** 2) / 40)
    patch = np.exp(-((x - 4) ** 2 + (y - 3) ** 2 + (z - 4) ** 2) / 6)
    gone = {SPHERES: [ball], RINGS: [ball, rod, drum, cone], PAIRS: [ball, rod, drum],
            CYLINDERS: [rod]}[over]  # fmt: skip
    for part in (ball, rod, drum, cone, patch):
        left = without_means(part.astype(np.float32), center, over)
        within = inside((20,) * 3, 8)
        ratio = left[within].std() / part[within].std()
        assert (ratio < 0.1) == any(part is each for each in gone), ratio


@compiled_only
@pytest.mark.parametrize("box", [48, 49, 50, 51])
def test_blocks_of_voxels_keep_the_center(box, tmp_path):
    path = write(tmp_path / "m.mrc", density(blobs("D7", radii_A=(15, 40)), box, 2.0, 5.0), 2.0)
    found = [mapcheck(path, point_group("D7"), bin_factor=each) for each in (1, 2, 3)]
    assert [each.compared_A for each in found] == [2.0, 4.0, 6.0]
    assert all(each.fits and each.psize_A == 2.0 for each in found)
    assert found[1].named.worst == pytest.approx(found[0].named.worst, abs=0.02)
    assert found[2].named.worst > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("side", "psize_A", "factor"), [(260, 1.0, 2), (260, 2.0, 1), (128, 0.5, 1), (400, 1.0, 3)]
)
def test_blocks_are_as_large_as_they_may_be(side, psize_A, factor, tmp_path):
    sections = np.zeros((side, 8, 8), np.float32)
    sections[3, 3, 3] = 1
    cube = tmp_path / "m.mrc"
    phantom.write_mrc(cube, sections, psize_A)
    assert read_map(str(cube)).factor == 1  # the shortest side counts
    with mrcfile.new_mmap(tmp_path / "c.mrc", (side,) * 3, 0, fill=0) as file:
        file.data[5, 6, 7] = 1
    grid = read_map(str(tmp_path / "c.mrc"), psize_A=psize_A)
    assert (grid.factor, grid.voxel_A, grid.box) == (factor, factor * psize_A, (side,) * 3)
    assert grid.density.shape == (side // factor,) * 3
    z, y, x = np.unravel_index(np.argmax(grid.density), grid.density.shape)
    assert (x, y, z) == (7 // factor, 6 // factor, 5 // factor)
    np.testing.assert_allclose(grid.center, (side // 2 - (factor - 1) / 2) / factor)


@pytest.mark.slow
def test_a_mask_tells_where_to_compare(tmp_path, check):
    centers = blobs("C3", radii_A=(8, 18))
    sections = density(centers, SMALL)
    mask = inside(sections.shape, 6.5)
    junk = ~inside(sections.shape, 7.5)
    sections[junk] = np.random.default_rng(1).normal(0, 1, sections.shape)[junk]
    sections[~inside(sections.shape)] = 0  # as corners that a program masked
    write(tmp_path / "m.mrc", sections)
    write(tmp_path / "k.mrc", mask * 0.9)
    assert check("m.mrc", "--symmetry=C3").returncode == 1
    reports = []
    for words in (["--mask=k.mrc"], ["--radius=19.5"], ["--mask=k.mrc", "--radius=12"]):
        done = check("m.mrc", "--symmetry=C3", *words, "--json")
        reports.append(json.loads(done.stdout))
        assert reports[-1]["named"]["worst"] > 0.9
    counts = [each["mask_voxels"] for each in reports]
    assert counts == [mask.sum(), mask.sum(), inside(sections.shape, 4).sum()]


def test_a_mask_is_averaged_as_the_map_is(small, tmp_path):
    mask = np.zeros((SMALL,) * 3)
    mask[4:14, 4:14, 4:14] = 1
    path = write(tmp_path / "k.mrc", mask)
    found = mapcheck(small, point_group("C3"), mask=path, bin_factor=2)
    assert found.mask_voxels == 5**3


def test_the_report_says_everything(small, check):
    done = check("small.mrc", "--symmetry=D3")
    assert (done.returncode, done.stderr) == (0, "")
    first, second, *lines = done.stdout.splitlines()
    assert first.startswith("small.mrc: 18 x 18 x 18 voxels of 3 A, compared at 3 A per voxel, ")
    assert "the means over rings about z, those above and below the center together," in second
    assert [line.split()[0] for line in lines[:5]] == list(point_group("D3").label[1:])
    assert lines[5].startswith("D3 (cryosparc), 6 operator(s): 3-fold on z, 2-fold on y: worst 0.9")
    assert lines[6].startswith("D3 (relion), 6 operator(s): 3-fold on z, 2-fold on x: worst ")
    assert lines[7].startswith(
        "noise is 0 % of the variance: the best correlation that can be expected is 1.00"
    )
    assert lines[8:] == ["small.mrc: has D3 (cryosparc)"]
    assert check("small.mrc", "--symmetry=D3", "--quiet").stdout == ""
    record = json.loads(check("small.mrc", "--symmetry=D3", "--json").stdout)
    found = mapcheck("small.mrc", point_group("D3")).as_dict()
    assert record.pop("warnings") == []
    assert {**record, "seconds": 0} == {**json.loads(json.dumps(found)), "seconds": 0}
    assert record["fits"] is True
    assert record["center_A"] is None


def test_progress_is_told(small):
    calls = []
    mapcheck(small, point_group("D3"), progress=lambda done, count: calls.append((done, count)))
    assert calls == [(done, 7) for done in range(1, 8)]


def test_operators_from_elsewhere_are_compared_as_they_are(tmp_path):
    """About an axis that is not z, and beside the box center: no other orientation is known."""
    turn = naive.turn((1, 1, 0), 180)
    beside_A = np.array([2.0, -3.0, 4.0])
    centers = phantom.blob_centers(
        np.random.default_rng(5), [(np.eye(3), 0), (turn, beside_A - turn @ beside_A)], 8, (5, 14)
    )
    path = write(tmp_path / "m.mrc", density(centers, SMALL))
    root = math.sqrt(0.5)
    quaternion = np.array([[0, root, root, 0], [1, 0, 0, 0]])
    translation_A = np.array([beside_A - turn @ beside_A, np.zeros(3)])
    own = Operators(quaternion, translation_A, ("a", "b"), Own("own.txt"), kind="own")
    found = mapcheck(path, own)
    assert found.fits
    assert [each.label for each in found.named.operators] == ["a"]
    assert found.others == ()
    still = Operators(quaternion, np.zeros((2, 3)), ("a", "b"), Own("own.txt"), kind="own")
    found = mapcheck(path, still)
    assert not found.fits
    across = (np.eye(3) - turn) @ beside_A / 2
    np.testing.assert_allclose(found.center_A, across, atol=0.25 * PSIZE_A)


def rewritten(source, path, dtype=np.float32, order=(2, 1, 0), **header):
    """A file of the same map in another way, by mrcfile; order says which axis is where."""
    with mrcfile.open(source) as given, mrcfile.new(path, overwrite=True) as file:
        names = {2: 3, 1: 2, 0: 1}
        file.set_data(
            np.ascontiguousarray(given.data.transpose([2 - axis for axis in order])).astype(dtype)
        )
        file.voxel_size = PSIZE_A
        file.header.maps, file.header.mapr, file.header.mapc = (names[axis] for axis in order)
        for name, value in header.items():
            file.header[name] = value
    return str(path)


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 1, 2), (1, 0, 2), (0, 2, 1)])
def test_axes_may_lie_in_any_order(order, tmp_path, rng):
    given = write(tmp_path / "m.mrc", rng.normal(size=(9, 10, 12)))
    path = rewritten(given, tmp_path / "p.mrc", order=order)
    grid, wanted = read_map(path), read_map(given)
    np.testing.assert_allclose(grid.density, wanted.density, atol=1e-6)
    assert grid.box == wanted.box == (12, 10, 9)
    assert grid.density.flags.c_contiguous
    np.testing.assert_array_equal(grid.center, (6, 5, 4))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.float16, ">f4"])
def test_numbers_may_be_of_any_kind(dtype, tmp_path):
    whole = np.arange(12**3).reshape(12, 12, 12) % 101
    write(tmp_path / "m.mrc", whole)
    path = rewritten(tmp_path / "m.mrc", tmp_path / "n.mrc", dtype)
    np.testing.assert_allclose(
        read_map(path).density, read_map(str(tmp_path / "m.mrc")).density, atol=1e-6
    )


@pytest.mark.parametrize("scale", [1e-36, 1e36])
def test_numbers_may_be_of_any_size(scale, small, tmp_path):
    with mrcfile.open(small) as file:
        path = write(tmp_path / "n.mrc", file.data.astype(float) * scale + scale)
    assert mapcheck(path, point_group("C3")).fits


def test_harmless_headers_are_taken(small, tmp_path):
    odd = {"map": b"", "mapc": 0, "mapr": 0, "maps": 0, "nxstart": -9, "origin": (77, 0, 0)}
    path = rewritten(small, tmp_path / "n.mrc", **odd)
    with open(path, "ab") as file:
        file.write(b"further bytes")
    np.testing.assert_array_equal(read_map(path).density, read_map(small).density)


def test_a_voxel_size_may_be_given(small, tmp_path):
    path = rewritten(small, tmp_path / "n.mrc", mx=0)
    with mrcfile.open(path, "r+") as file:
        file.header.cella.x = 0
    with pytest.raises(
        SourceError, match="tells no voxel size: write it into the header, or add psize=A"
    ):
        read_map(path)
    assert read_map(path, psize_A=1.25).voxel_A == 1.25
    assert read_map(small, psize_A=1.25).voxel_A == 1.25
    with mrcfile.open(path, "r+") as file:
        file.header.mx, file.header.cella.x = SMALL, 4 * SMALL
    with pytest.raises(SourceError, match="voxels of 4 x 3 x 3 A are no cubes"):
        read_map(path)
    assert read_map(path, psize_A=1.25).voxel_A == 1.25


@pytest.mark.parametrize(("name", "pack"), [("m.map.gz", gzip), ("m.mrc.bz2", bz2)])
def test_a_map_may_be_packed(name, pack, small, tmp_path, check):
    plain = (tmp_path / "small.mrc").read_bytes()
    (tmp_path / name).write_bytes(pack.compress(plain))
    for factor in (1, 2):
        grid, wanted = read_map(str(tmp_path / name), factor=factor), read_map(small, factor=factor)
        np.testing.assert_array_equal(grid.density, wanted.density)
        assert (grid.voxel_A, grid.box) == (wanted.voxel_A, wanted.box)
    assert check(name, "--symmetry=D3", f"--mask={name}").returncode == 0
    for damaged in (pack.compress(plain)[:-3000], pack.compress(plain[:-4]), pack.compress(b"")):
        (tmp_path / name).write_bytes(damaged)
        done = check(name, "--symmetry=D3")
        assert done.returncode == 1
        assert done.stderr == f"error: {name}: is cut short, or no MRC file: copy it again\n"


OTHERS = [
    ("p.cs", b"\x93NUMPY\x01", "a CryoSPARC table (.cs)"), ("p.h5", b"\x89HDF\r\n", "an HDF5 file"),
    ("p.star", b"\n# made by hand\n\ndata_particles\n", "a .star file"),
    ("p.csg", b"created: now\n", "a CryoSPARC results group (.csg)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "start", "what"), OTHERS)
def test_what_is_given_in_place_of_a_map_is_named(name, start, what, tmp_path, check):
    (tmp_path / name).write_bytes(start + bytes(2000))
    done = check(name, "--symmetry=D3")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {name}: is {what}, not a map: give the map of its particles (.mrc)\n"
    )


def nothing_at(path):
    return path


def a_folder(path):
    path.mkdir()


def cut_short(path):
    path.write_bytes(path.with_name("small.mrc").read_bytes()[:-100])


def only_a_header(path):
    path.write_bytes(path.with_name("small.mrc").read_bytes()[:1024])


def a_few_bytes(path):
    path.write_bytes(b"MAP ")


def a_text(path):
    path.write_bytes(b"a text is no map " * 1000)


def images(path):
    with mrcfile.new(path) as file:
        file.set_data(np.ones((20, 12, 12), np.float32))
        file.set_image_stack()


def one_image(path):
    with mrcfile.new(path) as file:
        file.set_data(np.ones((12, 12), np.float32))


def several_maps(path):
    with mrcfile.new(path) as file:
        file.set_data(np.ones((2, 12, 12, 12), np.float32))


def complex_numbers(path):
    with mrcfile.new(path) as file:
        file.set_data(np.ones((12, 12, 12), np.complex64))
        file.set_volume()


def a_tiny_box(path):
    phantom.write_mrc(path, np.arange(7.0 * 64).reshape(7, 8, 8), 1.0)


def a_constant(path):
    phantom.write_mrc(path, np.full((12, 12, 12), 2.5), 1.0)


def no_number(path):
    sections = np.random.default_rng(0).random((12, 12, 12))
    sections[5, 3, 3] = np.nan
    sections[7, 3, 3] = np.inf
    phantom.write_mrc(path, sections, 1.0)


BAD = [
    (nothing_at, "no such file"), (a_folder, "is a folder: name a map"),
    (cut_short, "is cut short"), (only_a_header, "is cut short"),
    (a_few_bytes, "not an MRC file"), (a_text, "no MRC file"), (images, "holds images"),
    (one_image, "holds images"), (several_maps, "several maps"),
    (complex_numbers, "complex64 numbers"), (a_tiny_box, "8 x 8 x 7 voxels: a map has at least 8"),
    (a_constant, "no density that varies: all voxels are 2.5"),
    (no_number, "section 5 has values that are not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "say"), BAD)
def test_what_is_no_map_is_refused(make, say, small, tmp_path, check):
    make(tmp_path / "bad.mrc")
    done = check("bad.mrc", "--symmetry=D3")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: bad.mrc: ")
    assert say in done.stderr
    assert done.stderr.count("\n") == 1


def test_particles_are_no_map(small, tmp_path):
    (tmp_path / "p.mrcs").write_bytes((tmp_path / "small.mrc").read_bytes())
    with pytest.raises(SourceError, match="holds images"):
        read_map(str(tmp_path / "p.mrcs"))


@pytest.mark.parametrize(
    ("sections", "say"),
    [
        (np.ones((SMALL, SMALL, 20)), "k.mrc: has 20 x 18 x 18 voxels, the map 18 x 18 x 18"),
        (np.full((SMALL,) * 3, 0.5), "k.mrc: has no voxel above 0.5"),
    ],
)
def test_a_wrong_mask_is_refused(sections, say, small, tmp_path, check):
    write(tmp_path / "k.mrc", sections)
    done = check("small.mrc", "--symmetry=D3", "--mask=k.mrc")
    assert done.returncode == 1
    assert say in done.stderr


def test_a_mask_on_nothing_is_refused(tmp_path, small):
    sections = density(blobs("C3", radii_A=(6, 10)), SMALL, width_A=2.0)
    sections[sections < 1e-3] = 0
    mask = np.zeros((SMALL,) * 3)
    mask[:4, :4, :4] = 1
    turn = Operators(
        np.array([[0.0, 0, 0, 1]]), np.array([[0.0, 0, 1]]), ("a",), Own("own"), kind="own"
    )
    sections -= sections[0, 0, 0]
    with pytest.raises(SourceError, match="no density that varies in the mask"):
        mapcheck(write(tmp_path / "m.mrc", sections), turn, mask=write(tmp_path / "k.mrc", mask))


def test_a_copy_that_does_not_vary_correlates_with_nothing(tmp_path):
    sections = np.zeros((SMALL,) * 3)
    sections[9:, 4:9, 4:9] = np.random.default_rng(0).random((9, 5, 5))
    mask = np.zeros((SMALL,) * 3)
    mask[9:13, 4:9, 4:9] = 1
    flip = Operators(
        np.array([[0.0, 1, 0, 0]]), np.array([[0.0, 0, -9]]), ("a",), Own("own"), kind="own"
    )
    found = mapcheck(
        write(tmp_path / "m.mrc", sections), flip, mask=write(tmp_path / "k.mrc", mask)
    )
    assert found.named.operators[0].correlation == 0
    assert not found.fits


@pytest.mark.parametrize(
    ("words", "say"),
    [
        (["--symmetry=C1"], "C1 moves nothing"),
        ([], "no symmetry"),
        (["--symmetry=D3", "--bin=0"], "bin 0 must be 1 to 2 for a box of 18 voxels"),
        (["--symmetry=D3", "--bin=3"], "bin 3 must be 1 to 2"),
        (["--symmetry=D3", "--bin=x"], "--bin=x is not a whole number"),
        (["--symmetry=D3", "--psize=0"], "psize 0 must be"),
        (["--symmetry=D3", "--psize=inf"], "psize inf must be"),
        (["--symmetry=D3", "--radius=-1"], "radius -1 must be"),
        (["--symmetry=D3", "--radius=nan"], "radius nan must be"),
        (["--symmetry=D3", "--radius=4"], "use a larger mask, or a larger "),
        (["--symmetry=D3", "--threshold=0"], "threshold 0 must be"),
        (["--symmetry=D3", "--threshold=1.1"], "threshold 1.1 must be"),
        (["--symmetry=D3", "--threshold=nan"], "threshold nan must be"),
    ],
)
def test_what_cannot_be_is_refused(words, say, small, check):
    done = check("small.mrc", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert say in done.stderr
    assert done.stderr.count("\n") == 1


def test_numbers_are_checked_in_python_too(small):
    with pytest.raises(UsageError, match="threshold"):
        mapcheck(small, point_group("C3"), threshold=2.0)


@pytest.mark.parametrize(
    ("operators", "gap", "apart"),
    [
        # share of the ceiling and uncertainty of each operator; the worst and the best
        ([(0.95, 0.02), (0.80, 0.10), (0.84, 0.01)], 0.05, (2, 0)),
        ([(0.84, 0.01), (0.80, 0.10), (0.95, 0.02)], 0.07, (0, 2)),
        ([(0.84, 0.01), (0.80, 0.10), (0.95, 0.02)], 0.09, None),
        ([(0.95, 0.02), (0.80, 0.20)], 0.0, None),
        ([(0.95, 0.02), (0.80, 0.08)], 0.0, (1, 0)),
        ([(0.95, 0.02), (0.10, None)], 0.0, None),
        ([(0.10, None)], 0.0, None),
    ],
)
def test_an_operator_is_set_apart_beyond_its_uncertainty(operators, gap, apart):
    made = tuple(
        map_report.OperatorFit(str(number), share * 0.8, 0.8, 1.0, uncertainty)
        for number, (share, uncertainty) in enumerate(operators)
    )
    fit = map_report.OrientationFit("D3", "", "", made, None, None, None)
    assert map_report.outlier(fit, gap) == (apart and tuple(made[number] for number in apart))


def test_the_library_for_maps_may_be_missing(small, check, monkeypatch):
    monkeypatch.setitem(sys.modules, "mrcfile", None)
    done = check("small.mrc", "--symmetry=D3")
    assert done.returncode == 1
    told = f"install it with {sys.executable} -m pip install 'numba_symexp[map]'"
    assert done.stderr == f"error: small.mrc: maps need mrcfile: {told}\n"


@pytest.mark.parametrize(
    ("shape", "most", "coarse"),
    [
        ((140, 18, 18), 64, (70, 9, 9)),  # by 2, where 140 / 64 asks for 3
        ((18, 140, 18), 64, (9, 70, 9)),
        ((140, 30, 24), 64, (46, 10, 8)),  # by 3, as asked
        ((140, 15, 90), 64, (140, 15, 90)),  # not at all
        ((40, 40, 40), 8, (8, 8, 8)),
    ],
)
def test_short_sides_stay_long_enough_to_search(shape, most, coarse, rng, tmp_path):
    """No side falls below 8 voxels, however long the others are."""
    fine = read_map(write(tmp_path / "m.mrc", rng.normal(size=shape).astype(np.float32)))
    grid = fine.coarser(most)
    assert grid.density.shape == coarse
    factor = shape[0] // coarse[0]
    last = tuple(slice((side - 1) * factor, side * factor) for side in coarse)
    np.testing.assert_allclose(grid.density[-1, -1, -1], fine.density[last].mean(), atol=1e-6)


def test_operators_of_a_file_are_checked(small, check, tmp_path):
    rows = "\n".join(" ".join(map(str, row)) for g in naive.group("C3") for row in g)
    (tmp_path / "c3.txt").write_text(rows)
    done = check(small, "--operators_file=c3.txt")
    assert done.returncode == 0, done.stdout
    assert "has operators of c3.txt (own)" in done.stdout
    rows = "\n".join(" ".join(map(str, row)) for g in naive.group("C5") for row in g)
    (tmp_path / "c5.txt").write_text(rows)
    assert check(small, "--operators_file=c5.txt").returncode == 1
