"""RELION's reconstructions from our .star: C1 on the expanded set is the symmetric map.

The views are so few that the set gives a poor map before it is expanded.
"""

import numba
import numpy as np
import pytest
from naive import group, helix
from particle_files import expand_to_star, needs, run, with_columns, write_cs
from phantom import (
    BOX,
    blob_centers,
    density,
    images,
    random_views,
    read_mrc,
    similarity,
    write_mrc,
)
from relion_peer import PSIZE_A, star_text

PROGRAM = "relion_reconstruct"

pytestmark = [
    pytest.mark.slow,
    needs(PROGRAM),
    pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="compilation is switched off"),
]

VIEWS = {"D7": 12, "T": 12, "O": 10, "I2": 6}
BLOBS = {"D7": 3, "T": 4, "O": 3, "I2": 2}
RADII_A = (14, 25)
SPHERE_A = 32

SAME, OTHER = 0.99, 0.95
"""Correlation coefficients of maps: equal ones have more than the first, others less than the last.

Measured are 0.995 and more, 0.94 and less.
"""


def blobs_and_views(symbol, convention="relion"):
    """Centers of the blobs of a point group, and views of them."""
    motions = [(rotation, np.zeros(3)) for rotation in group(symbol, convention)]
    centers = blob_centers(np.random.default_rng(5), motions, BLOBS[symbol], RADII_A)
    return centers, random_views(np.random.default_rng(6), VIEWS[symbol])


def write_particles(folder, centers, views):
    """A stack, and its particles in a .star."""
    write_mrc(folder / "particles.mrcs", images(centers, views, PSIZE_A), PSIZE_A)
    optics = {"rlnImageSize": [BOX], "rlnImageDimensionality": [2]}
    (folder / "particles.star").write_text(with_columns(star_text(views), "optics", optics))


def reconstruct(folder, star, *flags):
    """RELION's map of a set of particles."""
    run(folder, PROGRAM, "--i", star, "--o", "map.mrc", *flags)
    return read_mrc(folder / "map.mrc")


def alike(one, other):
    """Correlation coefficient in the sphere that the blobs fill."""
    return similarity(one, other, PSIZE_A, SPHERE_A)


@pytest.mark.parametrize("symbol", VIEWS)
def test_expanded_set_gives_the_symmetric_map(symbol, program, tmp_path):
    centers, views = blobs_and_views(symbol)
    write_particles(tmp_path, centers, views)
    expand_to_star(program, "particles.star", "ours.star", f"--symmetry={symbol}")
    ours = reconstruct(tmp_path, "ours.star")
    assert alike(ours, reconstruct(tmp_path, "particles.star", "--sym", symbol)) > SAME
    assert alike(ours, reconstruct(tmp_path, "particles.star")) < OTHER
    assert alike(ours, density(centers, PSIZE_A)) > SAME


@pytest.mark.parametrize(
    ("symbol", "flags"),
    [
        ("D7", ["--symmetry=D7", "--convention=cryosparc"]),
        ("I2", ["--symmetry=I1"]),
    ],
)
def test_another_symmetry_gives_another_map(symbol, flags, program, tmp_path):
    centers, views = blobs_and_views(symbol)
    write_particles(tmp_path, centers, views)
    expand_to_star(program, "particles.star", "ours.star", *flags)
    ours = reconstruct(tmp_path, "ours.star")
    assert alike(ours, reconstruct(tmp_path, "particles.star", "--sym", symbol)) < OTHER
    assert alike(ours, density(centers, PSIZE_A)) < OTHER


@pytest.mark.parametrize(
    ("rise", "order", "same"), [(4.75, 5, True), (-4.75, 5, False), (4.75, 1, False)]
)
def test_expanded_side_views_of_a_helix(rise, order, same, program, tmp_path):
    rng = np.random.default_rng(6)
    longer_than_the_box = helix(27.3, 4.75, 41)
    centers = blob_centers(rng, longer_than_the_box, 1, RADII_A)
    write_particles(tmp_path, centers, random_views(rng, 15, lowest_tilt_deg=75))
    flags = ("--twist=27.3", f"--rise={rise}", f"--order={order}")
    expand_to_star(program, "particles.star", "ours.star", *flags)
    found = alike(reconstruct(tmp_path, "ours.star"), density(centers, PSIZE_A))
    assert found > SAME if same else found < OTHER


def write_cryosparc_particles(folder, centers, views):
    """A stack with the images in the opposite order, and its particles in a .cs."""
    (folder / "J1").mkdir()
    write_mrc(folder / "J1/stack.mrcs", images(centers, views, PSIZE_A)[::-1], PSIZE_A)
    numbers = np.arange(len(views))[::-1]
    write_cs(folder / "particles.cs", views, numbers, BOX, PSIZE_A, "J1/stack.mrc")


def test_file_of_cryosparc_gives_the_symmetric_map(program, tmp_path):
    centers, views = blobs_and_views("D7")
    write_particles(tmp_path, centers, views)
    write_cryosparc_particles(tmp_path, centers, views)
    flags = ("--symmetry=D7", "--convention=relion")
    expand_to_star(program, "particles.cs", "ours.star", *flags)
    ours = reconstruct(tmp_path, "ours.star")
    assert alike(ours, reconstruct(tmp_path, "particles.star", "--sym", "D7")) > SAME
    assert alike(ours, density(centers, PSIZE_A)) > SAME


def test_file_of_cryosparc_with_its_own_axes_gives_the_true_map(program, tmp_path):
    centers, views = blobs_and_views("D7", "cryosparc")
    write_cryosparc_particles(tmp_path, centers, views)
    expand_to_star(program, "particles.cs", "ours.star", "--symmetry=D7")
    assert alike(reconstruct(tmp_path, "ours.star"), density(centers, PSIZE_A)) > SAME
