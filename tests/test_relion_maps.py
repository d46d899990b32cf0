"""RELION's reconstructions from our .star: C1 on the expanded set is the symmetric map."""

import numba
import numpy as np
import pytest
from naive import group, helix
from particle_files import expand_to_star, needs, run, with_columns, write_cs
from phantom import (
    BOX,
    blob_centres,
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
    needs(PROGRAM),
    pytest.mark.skipif(
        bool(numba.config.DISABLE_JIT), reason="slow, and the same text as with compiled kernels"
    ),
]

VIEWS = {"D3": 100, "D7": 100, "T": 60, "O": 60, "I2": 40}
BLOBS = {"D3": 4, "D7": 3, "T": 4, "O": 3, "I2": 2}
RADII_A = (14, 25)
SPHERE_A = 32
SAME, OTHER = 0.995, 0.9
"""Correlation coefficients: ours are above 0.997, those of a wrong symmetry below 0.85."""


def symmetric_blobs(symbol, convention="relion"):
    """Blobs with a point group."""
    motions = [(rotation, np.zeros(3)) for rotation in group(symbol, convention)]
    return blob_centres(np.random.default_rng(5), motions, BLOBS[symbol], RADII_A)


def write_particles(folder, centres, views):
    """A stack, and its particles in a .star."""
    write_mrc(folder / "particles.mrcs", images(centres, views, PSIZE_A), PSIZE_A)
    optics = {"rlnImageSize": [BOX], "rlnImageDimensionality": [2]}
    (folder / "particles.star").write_text(with_columns(star_text(views), "optics", optics))


def reconstruct(folder, star, *flags):
    """RELION's map of a set of particles."""
    run(folder, PROGRAM, "--i", star, "--o", "map.mrc", *flags)
    return read_mrc(folder / "map.mrc")


def alike(one, other, radius_A=SPHERE_A):
    """Correlation coefficient in the sphere that the blobs fill."""
    r= similarity(one, other, PSIZE_A, radius_A)
    print("CC", round(float(r),5))
    return r


@pytest.mark.parametrize("symbol", VIEWS)
def test_expanded_set_gives_the_symmetric_map(symbol, program, tmp_path):
    centres = symmetric_blobs(symbol)
    write_particles(tmp_path, centres, random_views(np.random.default_rng(6), VIEWS[symbol]))
    symmetrised = reconstruct(tmp_path, "particles.star", "--sym", symbol)
    expand_to_star(program, "particles.star", "ours.star", f"--symmetry={symbol}")
    ours = reconstruct(tmp_path, "ours.star")
    assert alike(ours, symmetrised) > SAME
    assert alike(ours, density(centres, PSIZE_A)) > SAME


@pytest.mark.parametrize(
    ("symbol", "flags"),
    [
        ("D3", ["--symmetry=D3", "--convention=cryosparc"]),
        ("D7", ["--symmetry=D7", "--convention=cryosparc"]),
        ("I2", ["--symmetry=I1"]),
    ],
)
def test_another_symmetry_gives_another_map(symbol, flags, program, tmp_path):
    centres = symmetric_blobs(symbol)
    write_particles(tmp_path, centres, random_views(np.random.default_rng(6), VIEWS[symbol]))
    symmetrised = reconstruct(tmp_path, "particles.star", "--sym", symbol)
    expand_to_star(program, "particles.star", "ours.star", *flags)
    ours = reconstruct(tmp_path, "ours.star")
    assert alike(ours, symmetrised) < OTHER
    assert alike(ours, density(centres, PSIZE_A)) < OTHER


def helix_map(program, folder, twist, rise):
    """Map from an expanded set of side views, by some helix; and the true one, longer than the box.

    The blobs are those of twist 27.3 and rise 4.75.
    """
    rng = np.random.default_rng(6)
    centres = blob_centres(rng, helix(27.3, 4.75, 41), 1, RADII_A)
    write_particles(folder, centres, random_views(rng, 100, lowest_tilt_deg=75))
    flags = (f"--twist={twist}", f"--rise={rise}", "--order=5")
    expand_to_star(program, "particles.star", "ours.star", *flags)
    return reconstruct(folder, "ours.star"), density(centres, PSIZE_A)


def test_expanded_helix_gives_its_map(program, tmp_path):
    assert alike(*helix_map(program, tmp_path, 27.3, 4.75)) > SAME


@pytest.mark.parametrize(("twist", "rise"), [(-27.3, 4.75), (27.3, 0.01)])
def test_another_helix_gives_another_map(twist, rise, program, tmp_path):
    assert alike(*helix_map(program, tmp_path, twist, rise)) < OTHER


def cryosparc_map(program, folder, centres, *flags):
    """Map from a .cs, whose stack has the images in the opposite order, expanded by D7."""
    views = random_views(np.random.default_rng(6), VIEWS["D7"])
    write_particles(folder, centres, views)
    (folder / "J1").mkdir()
    write_mrc(folder / "J1/stack.mrcs", images(centres, views, PSIZE_A)[::-1], PSIZE_A)
    numbers = np.arange(len(views))[::-1]
    write_cs(folder / "particles.cs", views, numbers, BOX, PSIZE_A, "J1/stack.mrc")
    expand_to_star(program, "particles.cs", "ours.star", "--symmetry=D7", *flags)
    return reconstruct(folder, "ours.star")


def test_file_of_cryosparc_gives_the_symmetric_map(program, tmp_path):
    centres = symmetric_blobs("D7")
    ours = cryosparc_map(program, tmp_path, centres, "--convention=relion")
    symmetrised = reconstruct(tmp_path, "particles.star", "--sym", "D7")
    assert alike(ours, symmetrised) > SAME
    assert alike(ours, density(centres, PSIZE_A)) > SAME


def test_file_of_cryosparc_with_its_own_axes_gives_the_true_map(program, tmp_path):
    centres = symmetric_blobs("D7", "cryosparc")
    ours = cryosparc_map(program, tmp_path, centres)
    assert alike(ours, density(centres, PSIZE_A)) > SAME
