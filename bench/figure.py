"""The figure of the README: a D7 particle with one odd subunit, expanded, classified and arranged.

``python bench/figure.py OUT.png`` draws it (.png, .svg or .pdf) and prints its caption. Needs
matplotlib. The particle is made of Gaussian blobs; its images are noisy projections. All poses are
refined as D7, so that they lie in one asymmetric unit of the sphere, whichever subunit is odd. What
follows is what a user does: `expand`, a classification of the copies, `arrange`. It knows neither
the true poses nor which subunit is odd.
"""

import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from numba import njit

from numba_symexp import ArrangeReport, arrange, expand, expand_poses, point_group

BOX, PSIZE_A, WIDTH_A = 72, 2.0, 2.8
PARTICLES, NOISE, PAD = 300, 0.5, 2 * BOX
"""Images; standard deviation of the noise, in that of the density; side of the padded grids."""

SEED, BLOBS = 3, 24
"""Blobs of a subunit."""

ODD_A = np.array([54.0, 0.0, 20.0])
"""The blob that one subunit has and the other 13 lack."""

MASK_A, ROUNDS = 66.0, 100
LEVELS = (0.5, 0.143)

Array = np.ndarray


def main(output: str) -> None:
    """Draw the figure, and print its caption."""
    started = time.perf_counter()
    random, group = np.random.default_rng(SEED), point_group("D7")
    ring = subunit(random) @ group.matrix.transpose(0, 2, 1)
    odd = np.concatenate([ring.reshape(-1, 3), ODD_A[None]])
    truth, shift = rotations(random, PARTICLES), random.normal(0, 2, (PARTICLES, 2))
    images = noisy(random, projections(odd, truth, shift))
    refined = in_asymmetric_unit(expand_poses(truth, shift, group, pose_format="matrix")[0])
    pose, shifts = expand_poses(refined, shift, group, pose_format="matrix")
    several = np.repeat(images, len(group), axis=0)
    is_odd = classified(images, ring.reshape(-1, 3), refined, shift, pose)
    report, kept, turned, turned_shift = arranged(refined, shift, is_odd)
    maps = {
        "phantom": density(odd),
        "before expansion": reconstruct(images, refined, shift),
        "expanded by D7": reconstruct(several, pose, shifts),
        "arranged": reconstruct(images[kept], turned, turned_shift),
    }
    even = np.mean([density(odd @ rotation.T) for rotation in group.matrix], axis=0)
    curves = {name: shell_correlation(each, even) for name, each in maps.items()}
    contrast = {name: odd_contrast(each, group.matrix) for name, each in maps.items()}
    draw(maps, curves, output)
    truly = np.einsum("ngij,nij->ng", pose.reshape(PARTICLES, -1, 3, 3), truth) > 3 - 1e-6
    print(caption(curves, contrast, report, float(np.mean(is_odd == truly))))
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)


def subunit(random: np.random.Generator) -> Array:
    """Blobs of one subunit of a barrel of two rings, (n, 3) in A."""
    turn = random.uniform(0, 2 * np.pi / 7, BLOBS)
    radius, height = random.uniform(20, 44, BLOBS), random.uniform(5, 38, BLOBS)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)


def rotations(random: np.random.Generator, count: int) -> Array:
    """Matrices exp(v), image to map, even over all rotations, (count, 3, 3)."""
    matrix, upper = np.linalg.qr(random.normal(size=(count, 3, 3)))
    matrix *= np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None]
    return matrix * np.linalg.det(matrix)[:, None, None]


def in_asymmetric_unit(copies: Array) -> Array:
    """Of the 14 copies of each pose the one that is seen from one asymmetric unit of D7."""
    copies = copies.reshape(PARTICLES, -1, 3, 3)
    x, y, z = np.moveaxis(copies[..., 2], -1, 0)
    here = (z > 0) & (np.arctan2(y, x) % (2 * np.pi) < 2 * np.pi / 7)
    return copies[np.arange(PARTICLES), np.argmax(here, axis=1)]


def projections(centers_A: Array, pose: Array, shift_px: Array) -> Array:
    """Images (n, BOX, BOX) of blobs: x_image = (A x)_xy - s."""
    placed = np.einsum("nji,bj->nbi", pose, centers_A)[..., :2] - shift_px[:, None] * PSIZE_A
    profile = profiles(placed) * np.sqrt(np.sqrt(2 * np.pi) * WIDTH_A / PSIZE_A)
    return np.einsum("nby,nbx->nyx", profile[:, :, 1], profile[:, :, 0])


def density(centers_A: Array) -> Array:
    """Map (z, y, x) of blobs, each 1 at its center."""
    profile = profiles(centers_A)
    return np.einsum("bz,by,bx->zyx", *(profile[:, axis] for axis in (2, 1, 0)), optimize=True)


def profiles(places_A: Array) -> Array:
    """Blobs along one axis, which becomes the last."""
    voxels_A = (np.arange(BOX) - BOX // 2) * PSIZE_A
    return np.exp(-(((voxels_A - places_A[..., None]) / WIDTH_A) ** 2) / 2)


def noisy(random: np.random.Generator, images: Array) -> Array:
    """Images with white noise."""
    return images + random.normal(0, NOISE * images.std(), images.shape)


def classified(images: Array, ring_A: Array, refined: Array, shift_px: Array, pose: Array) -> Array:
    """Whether each copy is odd, (PARTICLES, 14) bool: two classes, with and without the blob.

    What the model of 14 equal subunits leaves of an image is compared with the blob of each copy;
    how often a copy is odd is estimated too (expectation maximization).
    """
    rest = images - projections(ring_A, refined, shift_px)
    gain = np.empty((PARTICLES, len(pose) // PARTICLES))
    for k, of_particle in enumerate(pose.reshape(PARTICLES, -1, 3, 3)):
        blob = projections(
            ODD_A[None], of_particle, np.repeat(shift_px[k : k + 1], gain.shape[1], 0)
        )
        gain[k] = (
            np.einsum("yx,gyx->g", rest[k], blob) - (blob**2).sum(axis=(1, 2)) / 2
        ) / rest.var()
    frequency = 0.5
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-gain) * (1 - frequency) / frequency)
        frequency = chance.mean()
    return chance > 0.5


def arranged(
    refined: Array, shift_px: Array, is_odd: Array
) -> tuple[ArrangeReport, Array, Array, Array]:
    """Expand a table, label its rows, and turn the particles of the most frequent arrangement.

    Returns
    -------
    ArrangeReport
    kept : (n,) int64
        Their images.
    pose : (n, 3, 3) float64
    shift : (n, 2) float64
    """
    pose, shift = "alignments3D/pose", "alignments3D/shift"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with h5py.File(folder / "particles.h5", "w") as file:
            image = np.arange(PARTICLES)
            half = (image % 2).astype(np.uint32)
            columns = {pose: refined, shift: shift_px, "alignments3D/split": half, "image": image}
            for column, values in columns.items():
                file[f"particles/{column}"] = values
        expanded = folder / "expanded.h5"
        expand(folder / "particles.h5", expanded, symmetry="D7", pose_format="matrix")
        with h5py.File(expanded) as file, h5py.File(folder / "classes.h5", "w") as classes:
            for column in ("source_index", "operator_index"):
                classes[f"particles/{column}"] = file[f"particles/{column}"][:]
            classes["particles/class"] = np.where(is_odd, 1, 2).reshape(-1)
        report = arrange(
            folder / "classes.h5",
            expanded=expanded,
            by="class",
            label=("odd", "even"),
            output=folder / "turned.h5",
            keep="1",
        )
        with h5py.File(folder / "turned.h5") as file:
            found = [file[f"particles/{column}"][:] for column in ("image", pose, shift)]
    return report, *found


def reconstruct(images: Array, pose: Array, shift_px: Array) -> Array:
    """Map of images by direct Fourier inversion, without any symmetry."""
    margin, line = (PAD - BOX) // 2, np.arange(PAD) - PAD // 2
    total, weight = np.zeros((PAD,) * 3, complex), np.zeros((PAD,) * 3)
    for image, rotation, (x, y) in zip(images, pose, shift_px, strict=True):
        padded = np.fft.ifftshift(np.pad(image, margin))
        plane = np.fft.fftshift(np.fft.fft2(padded))
        plane *= np.exp(-2j * np.pi / PAD * (x * line + y * line[:, None]))
        insert(plane, np.ascontiguousarray(rotation), total, weight)
    total[weight > 0] /= weight[weight > 0]
    padded = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(total)).real)
    inside = slice(margin, margin + BOX)
    spread = np.sinc(line[inside] / PAD) ** 2
    return padded[inside, inside, inside] / np.einsum("i,j,k->ijk", spread, spread, spread)


@njit
def insert(plane: Array, pose: Array, total: Array, weight: Array) -> None:
    """Add the transform of an image to that of a map, each number to its 8 neighbors."""
    middle = plane.shape[0] // 2
    for row in range(2 * middle):
        for column in range(2 * middle):
            fy, fx = row - middle, column - middle
            if fx * fx + fy * fy > (middle - 2) ** 2:
                continue
            x = fx * pose[0, 0] + fy * pose[0, 1] + middle
            y = fx * pose[1, 0] + fy * pose[1, 1] + middle
            z = fx * pose[2, 0] + fy * pose[2, 1] + middle
            i, j, k = int(x), int(y), int(z)
            for corner in range(8):
                a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
                share = abs(1 - a - x + i) * abs(1 - b - y + j) * abs(1 - c - z + k)
                total[k + c, j + b, i + a] += share * plane[row, column]
                weight[k + c, j + b, i + a] += share


def shell_correlation(one: Array, other: Array) -> Array:
    """Fourier shell correlation of two maps in a soft sphere, (BOX // 2,)."""
    place = (np.arange(BOX) - BOX // 2) * PSIZE_A
    radius = np.sqrt(place[:, None, None] ** 2 + place[:, None] ** 2 + place**2)
    mask = 1 / (1 + np.exp((radius - MASK_A) / PSIZE_A))
    f, g = (np.fft.fftshift(np.fft.fftn(each * mask)) for each in (one, other))
    shell = np.rint(radius / PSIZE_A).astype(int).ravel()
    cross, ff, gg = (
        np.bincount(shell, values.real.ravel())[: BOX // 2]
        for values in (f * g.conj(), abs(f) ** 2, abs(g) ** 2)
    )
    return cross / np.sqrt(ff * gg)


def odd_contrast(density_map: Array, matrices: Array) -> float:
    """Density at the odd blob, above the mean of the 13 other places where it might be."""
    places = np.rint(matrices @ ODD_A / PSIZE_A).astype(int) + BOX // 2
    values = density_map[places[:, 2], places[:, 1], places[:, 0]]
    return float(values[0] - values[1:].mean())


def crossing(curve: Array, level: float) -> float:
    """Resolution in A at which a curve first falls below a level; NaN where it never does."""
    below = np.flatnonzero(curve < level)
    if not len(below) or not below[0]:
        return float("nan")
    last = below[0] - 1
    shell = last + (curve[last] - level) / (curve[last] - curve[last + 1])
    return float(BOX * PSIZE_A / shell)


def draw(maps: dict[str, Array], curves: dict[str, Array], output: str) -> None:
    """Central sections and shell correlations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, 6, width_ratios=(1, 1, 1, 1, 0.12, 1.75))
    top, height = maps["phantom"].max(), BOX // 2 + round(ODD_A[2] / PSIZE_A)
    for column, (name, each) in enumerate(maps.items()):
        for row, section in enumerate((each[height], each[:, BOX // 2])):
            panel = figure.add_subplot(grid[row, column])
            panel.imshow(section, "gray_r", vmin=0, vmax=0.7 * top, origin="lower")
            across = BOX // 2 + ODD_A / PSIZE_A
            panel.plot(across[0], across[1 + row], "o", ms=17, mfc="none", mec="C3", mew=1.2)
            panel.set(xticks=[], yticks=[])
            if not row:
                panel.set_title(name)
            if not column:
                panel.set_ylabel((f"x, y at z = {ODD_A[2]:g} A", "x, z at y = 0")[row])
                panel.plot([5, 5 + 40 / PSIZE_A], [5, 5], color="black", lw=2.5)
                panel.text(5 + 20 / PSIZE_A, 7, "40 A", ha="center")
    panel = figure.add_subplot(grid[:, 5])
    frequency = np.arange(BOX // 2) / (BOX * PSIZE_A)
    styles = dict(zip(maps, ("C7:", "C1-", "C0-", "C3-"), strict=True))
    for name, curve in curves.items():
        panel.plot(frequency, curve, styles[name], label=name)
    for level in LEVELS:
        panel.axhline(level, color="0.6", lw=0.8)
        panel.text(0.002, level + 0.01, f"{level:g}", color="0.4")
    panel.set(xlim=(0, frequency[-1]), ylim=(0, 1.02))
    panel.set(xlabel="resolution (1/A)", ylabel="FSC with the phantom averaged over D7")
    panel.legend(loc="lower left", bbox_to_anchor=(0.01, 0.18))
    figure.savefig(output, dpi=110)


def caption(
    curves: dict[str, Array], contrast: dict[str, float], report: ArrangeReport, right: float
) -> str:
    """Text under the figure; every number is measured here."""
    order, first = report.sites, report.arrangements[0]
    reached = {name: [crossing(curve, level) for level in LEVELS] for name, curve in curves.items()}
    told = "; ".join(
        f"{name} {reached[name][0]:.1f} and {reached[name][1]:.1f} A" for name in list(curves)[1:]
    )
    stands = ", ".join(f"{name} {value:.2f}" for name, value in contrast.items())
    return (
        f"A D7 particle of {order} subunits, of which one has a blob more (ringed), from "
        f"{PARTICLES} images with {NOISE:g} times as much noise as signal (standard deviations). "
        "Refined as D7, every pose lies in one asymmetric unit (before expansion). Expanded by D7, "
        f"{PARTICLES} x {order} = {PARTICLES * order:,} rows give the average of all subunits. "
        "Each row is classified by its image, with the blob or without it "
        f"({100 * right:.1f} % of the labels are right). The most frequent arrangement is "
        f"{first.pattern.count('odd')} odd subunit among {order}, in {first.particles} particles, "
        f"where independent labels would make {first.expected:.0f}; these particles, turned so "
        "that their odd subunits coincide (arranged), show what breaks the symmetry. "
        f"All maps are reconstructed without symmetry. FSC with the averaged phantom falls below "
        f"{LEVELS[0]:g} and {LEVELS[1]:g} at: {told}. Density of the blob above the mean of the "
        f"{order - 1} other places: {stands}."
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python bench/figure.py OUT.png")
    main(sys.argv[1])
