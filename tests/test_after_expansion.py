"""Work after an expansion: sets of other programs, joined, taken back and named."""

import naive
import numpy as np
import pytest
from conftest import random_columns
from inside import open_table
from particle_files import structured
from test_cs import save

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
SOURCE = "sym_expand/src_uid"


@pytest.fixture
def field(real_data):
    """Give a file of other people's, or skip with what is missing."""

    def path(name):
        found = real_data.parent / "field" / name
        if not found.exists():
            pytest.skip(f"no file {found}")
        return found

    return path


def with_images(columns, psize_A, box, stack):
    """Columns with the images of some stack."""
    n = len(columns["uid"])
    return columns | {
        "blob/path": np.full(n, stack),
        "blob/idx": np.arange(n, dtype=np.uint32),
        "blob/shape": np.full((n, 2), box, np.uint32),
        "blob/psize_A": np.full(n, psize_A, np.float32),
    }


def by_another_program(particles, rng, operators):
    """Copies of particles as another program writes them: new ids, in an order of its own."""
    n, order = len(particles["uid"]), len(operators)
    copies = {name: np.repeat(values, order, axis=0) for name, values in particles.items()}
    copies[SOURCE] = copies["uid"].copy()
    number = np.tile(np.arange(order), n)
    new = 5 * 10**17 + np.arange(n * order, dtype=np.uint64)
    copies["uid"] = np.where(number == 0, copies["uid"], new)
    copies["sym_expand/idx"] = number.astype(np.uint32)
    copies[POSE] = np.array(
        [rotvec(operators[g].T @ naive.exp(v)) for v in particles[POSE] for g in range(order)],
        np.float32,
    )
    shuffled = rng.permutation(n * order)
    return {name: values[shuffled] for name, values in copies.items()}


def rotvec(matrix):
    """Rotation vector of a matrix: the quaternion is an eigenvector (Bar-Itzhack, 2000)."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    symmetric = [
        [a - e - i, b + d, c + g, h - f],
        [b + d, e - a - i, f + h, c - g],
        [c + g, f + h, i - a - e, d - b],
        [h - f, c - g, d - b, a + e + i],
    ]
    *axis, w = np.linalg.eigh(np.array(symmetric))[1][:, -1]
    sine = np.linalg.norm(axis)
    return np.array(axis) / sine * 2 * np.arctan2(sine, w) if sine else np.zeros(3)


def turns(angles_deg):
    """Rotation matrices about z."""
    angle = np.deg2rad(angles_deg)
    zero, one = np.zeros_like(angle), np.ones_like(angle)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c, -s, zero, s, c, zero, zero, zero, one], axis=1).reshape(-1, 3, 3)


def imported(path):
    """All columns of a table."""
    with open_table(str(path)) as table:
        return table.read(list(table.columns), 0, table.n_rows)


@pytest.mark.parametrize("pixels", ["own", "images"])
def test_smaller_images_of_copies_are_replaced_by_the_particles(pixels, rng, go, tmp_path):
    small_A, full_A = 4.24, 1.06
    particles = random_columns(rng, 7)
    small_A, full_A = (each * np.array([1, 1, 2, 1, 1, 2, 1]) for each in (small_A, full_A))
    particles[PSIZE][:] = small_A
    if pixels == "images":
        del particles[PSIZE]
    small = with_images(particles, small_A, 64, b"small.mrc")
    copies = by_another_program(small, rng, turns([0, 120, 240]))
    save(tmp_path / "small.cs", structured(copies))
    full = with_images(particles, full_A, 256, b"full.mrc")
    order = rng.permutation(7)
    save(tmp_path / "full.cs", structured({k: v[order] for k, v in full.items()}))

    said = go("import", "small.cs", "full.cs", "o.h5")
    assert SOURCE in said
    assert "4.24" in said
    found = imported(tmp_path / "o.h5")
    row = [particles["uid"].tolist().index(each) for each in copies[SOURCE].tolist()]
    for name in ("blob/path", "blob/idx", "blob/shape", "blob/psize_A"):
        assert (found[name] == full[name][row]).all(), name
    size = found[PSIZE] if pixels == "own" else found["blob/psize_A"]
    full_A, small_A = (each[row][:, None] for each in (full_A, small_A))
    np.testing.assert_allclose(size, full_A[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found[SHIFT] * full_A, copies[SHIFT] * small_A, rtol=1e-6)
    assert (found[POSE] == copies[POSE]).all()
    assert (found["uid"] == copies["uid"]).all()


def test_shifts_in_the_images_pixels_stay_bit_for_bit(rng, go, tmp_path):
    particles = random_columns(rng, 5)
    particles[PSIZE][:] = 1.06
    copies = by_another_program(with_images(particles, 4.24, 64, b"s.mrc"), rng, turns([0, 180]))
    save(tmp_path / "small.cs", structured(copies))
    save(tmp_path / "full.cs", structured(with_images(particles, 1.06, 256, b"full.mrc")))
    said = go("import", "small.cs", "full.cs", "o.h5")
    assert "blob/*" in said
    assert "turned" not in said
    found = imported(tmp_path / "o.h5")
    assert found[SHIFT].tobytes() == copies[SHIFT].tobytes()
    assert found[PSIZE].tobytes() == copies[PSIZE].tobytes()


@pytest.mark.parametrize("file", ["small", "full"])
@pytest.mark.parametrize("size_A", [0, -1.06, np.nan, np.inf])
def test_pixel_sizes_that_are_none_are_refused_where_copies_are_joined(
    file, size_A, rng, command, tmp_path
):
    particles = random_columns(rng, 5)
    particles[PSIZE][:] = 4.24
    copies = by_another_program(with_images(particles, 4.24, 64, b"s.mrc"), rng, turns([0, 180]))
    full = with_images(particles, 1.06, 256, b"full.mrc")
    name, wrong = (PSIZE, copies) if file == "small" else ("blob/psize_A", full)
    wrong[name][2] = size_A
    save(tmp_path / "small.cs", structured(copies))
    save(tmp_path / "full.cs", structured(full))
    done = command("import", "small.cs", "full.cs", "o.h5")
    assert done.returncode == 1
    assert f"{file}.cs: {name}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "o.h5").exists()


def test_particles_that_are_not_the_copies_own_are_refused(rng, command, tmp_path):
    particles = random_columns(rng, 5)
    copies = by_another_program(particles, rng, turns([0, 180]))
    save(tmp_path / "e.cs", structured(copies))
    save(tmp_path / "p.cs", structured({k: v[:4] for k, v in particles.items()}))
    done = command("import", "e.cs", "p.cs", "o.h5")
    assert done.returncode == 1
    assert f"{SOURCE} {particles['uid'][4]}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_real_set_of_smaller_images_is_joined(field, go, tmp_path):
    small, full = np.load(field("pd_exp.cs")), np.load(field("p.cs"))
    go("import", field("pd_exp.cs"), field("p.cs"), "o.h5")
    found = imported(tmp_path / "o.h5")
    row = [full["uid"].tolist().index(each) for each in small[SOURCE].tolist()]
    assert (found["blob/path"] == full["blob/path"][row]).all()
    assert (found["blob/psize_A"] == full["blob/psize_A"][row]).all()
    assert (found[SHIFT] == small[SHIFT]).all()
