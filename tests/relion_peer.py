"""RELION's own symmetry expansion as a peer: the cases, its input, its run and its output."""

import subprocess
from dataclasses import dataclass

import numpy as np

PROGRAM = "relion_particle_symmetry_expand"
PSIZE_A = 1.5
COLUMNS = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst")

TEXT_DEG = 2e-5
"""Angles have 5 decimals when negative, and rot and psi add up; a twist is read as float32."""

TYPED_DEG = 4e-5
"""What RELION's axes of T, typed with 6 decimals, add."""

TEXT_A = 1e-5
"""Origins have 5 decimals when negative; a rise is read as float32."""

OPTICS = {
    "rlnOpticsGroup": 1,
    "rlnImagePixelSize": PSIZE_A,
    "rlnVoltage": 300,
    "rlnSphericalAberration": 2.7,
}
"""Without one of the last three, RELION 3.1.3 expands no particle and does not complain."""

SPECIAL = (
    (100.0, 0.0, 50.0, -120.5, 33.25),
    (-60.25, 180.0, 45.5, 210.75, -180.125),
    (33.0, 90.0, -71.0, 12.5, -8.25),
    (-150.0, 90.0, 90.0, 0.0, 0.0),
    (75.5, -85.0, 12.0, -3.75, 400.5),
)
"""Rows (rot, tilt, psi, x, y): views along the axis and across it, tilt < 0, far origins."""


@dataclass(frozen=True)
class Case:
    """One symmetry, how many particles to expand by it, and how exact RELION's answer is."""

    symmetry: str | None = None
    twist: float | None = None
    rise: float | None = None
    order: int | None = None
    convention: str = "relion"
    particles: int = 20
    tolerance_deg: float = TEXT_DEG

    def __str__(self):
        return self.symmetry or f"helix{self.twist:+g}"

    @property
    def arguments(self):
        """Command line arguments of RELION's program."""
        if self.symmetry:
            return ["--sym", self.symmetry]
        numbers = {"--twist": self.twist, "--rise": self.rise, "--asu": self.order}
        return ["--helix", *(str(word) for pair in numbers.items() for word in pair)]


CASES = (
    Case("C4"),
    Case("D7"),
    Case("T", tolerance_deg=TEXT_DEG + TYPED_DEG),
    Case("O"),
    Case("I1", particles=8),
    Case("I2", particles=8),
    Case(twist=27.3, rise=4.75, order=5),
    Case(twist=-166.7, rise=1.4, order=4),
)


def make_particles(count):
    """Rows (rot, tilt, psi, x, y) in degrees and A: the special ones, then random ones."""
    rng = np.random.default_rng(20)
    angles = rng.uniform((-180, 0, -180), 180, (20, 3))
    rows = np.concatenate([SPECIAL, np.hstack([angles, rng.normal(0, 10, (20, 2))])])
    return np.round(rows[:count], 6)


def expand_with_relion(case, particles, folder):
    """RELION's mates of each particle, as lists of (rot, tilt, psi, x, y).

    The folder is empty: RELION reads a file that is named like the point group.
    """
    (folder / "particles.star").write_text(star_text(particles))
    files = ["--i", "particles.star", "--o", "expanded.star"]
    subprocess.run(
        [PROGRAM, *files, *case.arguments], cwd=folder, check=True, capture_output=True, timeout=60
    )
    mates = read_mates((folder / "expanded.star").read_text())
    if len(mates) != len(particles):
        raise ValueError(f"{PROGRAM} wrote {len(mates)} of {len(particles)} particles")
    return mates


def relion_version():
    """As ``RELION version: 3.1.3``."""
    asked = subprocess.run([PROGRAM, "--version"], check=True, capture_output=True, text=True)
    return asked.stdout.splitlines()[0].strip()


def star_text(particles):
    """A particle file of RELION 3.1; the number of an image, from 1, is the particle's."""
    rows = [
        [*(f"{value:.6f}" for value in row), f"{number:06d}@particles.mrcs", 1]
        for number, row in enumerate(particles, start=1)
    ]
    labels = [*COLUMNS, "rlnImageName", "rlnOpticsGroup"]
    return _loop("optics", OPTICS, [OPTICS.values()]) + _loop("particles", labels, rows)


def _loop(name, labels, rows):
    """One table of a .star file."""
    heads = [f"_{label} #{number}" for number, label in enumerate(labels, start=1)]
    lines = [" ".join(map(str, row)) for row in rows]
    return "\n".join(["", "# version 30001", "", f"data_{name}", "", "loop_", *heads, *lines, ""])


def read_mates(text):
    """Mates (rot, tilt, psi, x, y) of each particle, found by the number of its image."""
    table = text.partition("\ndata_particles\n")[2].partition("\ndata_")[0]
    lines = [line.split() for line in table.splitlines()]
    labels = [words[0][1:] for words in lines if words and words[0].startswith("_")]
    mates = {}
    for words in lines:
        if words and len(words) == len(labels):
            row = dict(zip(labels, words, strict=True))
            number = int(row["rlnImageName"].partition("@")[0])
            mates.setdefault(number, []).append([float(row[label]) for label in COLUMNS])
    return [mates[number] for number in sorted(mates)]
