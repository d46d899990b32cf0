"""Particle files of RELION and CryoSPARC, and their way through the programs."""

import shutil
import subprocess

import numpy as np
import pytest

FIELDS = [
    ("uid", "<u8"),
    ("blob/path", "S24"),
    ("blob/idx", "<u4"),
    ("blob/shape", "<u4", (2,)),
    ("blob/psize_A", "<f4"),
    ("blob/sign", "<f4"),
    ("ctf/type", "S8"),
    ("ctf/exp_group_id", "<u4"),
    ("ctf/accel_kv", "<f4"),
    ("ctf/cs_mm", "<f4"),
    ("ctf/amp_contrast", "<f4"),
    ("ctf/df1_A", "<f4"),
    ("ctf/df2_A", "<f4"),
    ("ctf/df_angle_rad", "<f4"),
    ("ctf/phase_shift_rad", "<f4"),
    ("alignments3D/split", "<u4"),
    ("alignments3D/shift", "<f4", (2,)),
    ("alignments3D/pose", "<f4", (3,)),
    ("alignments3D/psize_A", "<f4"),
    ("alignments3D/class", "<u4"),
]
"""Fields of a refinement's particles, as CryoSPARC names and types them."""


def needs(*programs):
    """Skip a test where a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(folder, *words):
    """Run one of RELION's programs, to success."""
    command = [str(word) for word in words]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def expand_to_star(program, source, output, *flags):
    """Our own way: import, expand, export; RELION's track lengths stay as they are."""
    steps = (
        ["import", source, "particles.h5", "--overwrite"],
        ["expand", "particles.h5", "expanded.h5", "--overwrite", *flags],
        ["export", "expanded.h5", output, "--keep_track_length"],
    )
    for step in steps:
        done = program(*step)
        assert done.returncode == 0, done.stderr


def with_columns(text, block, columns):
    """A .star file whose block has further columns: label -> one word for each row."""
    before, head, after = text.partition(f"data_{block}\n\nloop_\n")
    lines, gap, rest = after.partition("\n\n")
    labels = [line for line in lines.splitlines() if line.startswith("_")]
    rows = [line for line in lines.splitlines() if not line.startswith("_")]
    for label, words in columns.items():
        labels.append(f"_{label} #{len(labels) + 1}")
        rows = [f"{row} {word}" for row, word in zip(rows, words, strict=True)]
    return before + head + "\n".join([*labels, *rows, ""]) + gap[1:] + rest


def read_rows(path):
    """Rows of the particles of a .star file: label -> word."""
    block = path.read_text().partition("\ndata_particles\n")[2].partition("loop_")[2]
    lines = [line.split() for line in block.splitlines() if line.strip()]
    labels = [words[0][1:] for words in lines if words[0].startswith("_")]
    return [dict(zip(labels, words, strict=True)) for words in lines[len(labels) :]]


def rotation_vector(rot_deg, tilt_deg, psi_deg):
    """Rotation vector v with exp(v) = Rz(rot) Ry(tilt) Rz(psi); up to 2 pi long, as real ones."""
    rot, tilt, psi = np.deg2rad([rot_deg, tilt_deg, psi_deg]) / 2
    axis = np.array(
        [
            -np.sin(tilt) * np.sin(rot - psi),
            np.sin(tilt) * np.cos(rot - psi),
            np.cos(tilt) * np.sin(rot + psi),
        ]
    )
    sine = np.linalg.norm(axis)
    return axis / sine * 2 * np.arctan2(sine, np.cos(tilt) * np.cos(rot + psi))


def write_cs(path, particles, images, box, psize_A, stack):
    """Write rows (rot, tilt, psi, x, y) in degrees and A as CryoSPARC would.

    Each row's image is named by its number in the stack, from 0. Shifts are in pixels that are not
    those of the images, as after a change of box.
    """
    number = np.arange(len(particles))
    rows = np.zeros(len(particles), FIELDS)
    rows["uid"] = number * 7919 + 10**12
    rows["blob/path"], rows["blob/idx"] = f">{stack}".encode(), images
    rows["blob/shape"], rows["blob/psize_A"], rows["blob/sign"] = box, psize_A, -1
    rows["ctf/type"], rows["ctf/exp_group_id"] = b"spline", 1 + number % 2
    rows["ctf/accel_kv"], rows["ctf/cs_mm"] = 300, 2.7
    rows["ctf/amp_contrast"] = 0.07 + 0.03 * (number % 2)
    rows["ctf/df1_A"], rows["ctf/df2_A"] = 15000 + 10.5 * number, 14000
    rows["ctf/df_angle_rad"] = 0.1 * number - 1.5
    rows["alignments3D/split"], rows["alignments3D/psize_A"] = number % 2, 0.8 * psize_A
    rows["alignments3D/pose"] = [rotation_vector(*row[:3]) for row in particles]
    rows["alignments3D/shift"] = particles[:, 3:] / (0.8 * psize_A)
    with open(path, "wb") as file:
        np.save(file, rows)


def structured(columns):
    """Columns as the rows of a .cs file."""
    rows = np.zeros(
        len(next(iter(columns.values()))), [(n, c.dtype, c.shape[1:]) for n, c in columns.items()]
    )
    for name, column in columns.items():
        rows[name] = column
    return rows
