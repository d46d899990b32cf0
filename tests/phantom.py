"""A density of Gaussian blobs with exact symmetry, its images, and maps of it.

Blob centers are in A from the box center, which is voxel and pixel number BOX // 2. A blob at x
falls in the image at (A x)_xy - s. Nothing of the package is used here.
"""

import numpy as np
from naive import euler_zyz

BOX = 48
WIDTH_A = 2.5
"""Standard deviation of a blob."""

_HEADER_WORDS = 256


def blob_centers(rng, motions, count, radii_A):
    """Blobs at random places of one subunit, and in all others (R, t)."""
    centers = rng.normal(size=(count, 3))
    centers *= (rng.uniform(*radii_A, count) / np.linalg.norm(centers, axis=1))[:, None]
    return np.concatenate([centers @ rotation.T + t for rotation, t in motions])


def random_views(rng, count, lowest_tilt_deg=0.0):
    """Rows (rot, tilt, psi, x, y) in degrees and A, even on the sphere but for its caps."""
    highest = np.cos(np.deg2rad(lowest_tilt_deg))
    rot, psi = rng.uniform(-180, 180, (2, count))
    tilt = np.rad2deg(np.arccos(rng.uniform(-highest, highest, count)))
    return np.round(np.stack([rot, tilt, psi, *rng.normal(0, 3, (2, count))], axis=1), 6)


def images(centers, views, psize_A):
    """Projections (n, BOX, BOX) of the blobs."""
    rotations = np.array([euler_zyz(*view[:3]).T for view in views])
    placed = np.einsum("nij,bj->nbi", rotations, centers)[:, :, :2] - views[:, None, 3:]
    profile = _profiles(placed, psize_A)
    return np.einsum("nby,nbx->nyx", profile[:, :, 1], profile[:, :, 0])


def density(centers, psize_A):
    """The blobs themselves, (z, y, x)."""
    profile = _profiles(centers, psize_A)
    return np.einsum("bz,by,bx->zyx", profile[:, 2], profile[:, 1], profile[:, 0])


def similarity(one, other, psize_A, radius_A):
    """Correlation coefficient of two maps in a sphere about the box center."""
    squared = _grid(psize_A) ** 2
    inside = squared[:, None, None] + squared[:, None] + squared <= radius_A**2
    return np.corrcoef(one[inside], other[inside])[0, 1]


def write_mrc(path, sections, psize_A):
    """Write (z, y, x) as float32, mode 2, of the MRC2014 format; images are sections of a stack."""
    words = np.zeros(_HEADER_WORDS, "<i4")
    nz, ny, nx = sections.shape
    words[:4] = nx, ny, nz, 2
    words[7:10] = nx, ny, nz
    words[16:19] = 1, 2, 3
    numbers = words.view("<f4")
    numbers[10:13] = np.array([nx, ny, nz]) * psize_A
    numbers[13:16] = 90
    numbers[19:22] = sections.min(), sections.max(), sections.mean()
    words[52:54] = np.frombuffer(b"MAP \x44\x44\0\0", "<i4")
    path.write_bytes(words.tobytes() + sections.astype("<f4").tobytes())


def read_mrc(path):
    """Density (z, y, x) of a map in float32."""
    data = path.read_bytes()
    words = np.frombuffer(data, "<i4", _HEADER_WORDS)
    assert words[3] == 2
    first = 4 * _HEADER_WORDS + words[23]
    return np.frombuffer(data, "<f4", offset=first).reshape(words[2::-1])


def _grid(psize_A):
    """Places of pixels along one axis, in A."""
    return (np.arange(BOX) - BOX // 2) * psize_A


def _profiles(places, psize_A):
    """Blobs along one axis, the last of the result."""
    return np.exp(-(((_grid(psize_A) - places[..., None]) / WIDTH_A) ** 2) / 2)
