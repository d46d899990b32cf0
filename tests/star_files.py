"""Particle files of RELION to read, and a slow, obvious reader of what was written."""

import shlex

import numpy as np

OPTICS = (
    "\n# version 30001\n\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n"
    "_rlnVoltage #3\n_rlnSphericalAberration #4\n1 1.500000 300 2.7\n2 1.250000 200 0.01\n\n\n"
)
"""Two groups with pixel sizes of their own."""

VERSION = "# version 30001\n\n"

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS_A = ("rlnOriginXAngst", "rlnOriginYAngst")


def particles(rng, n):
    """Columns of particles as text, in the words that RELION writes."""
    angles = rng.uniform((-180, 0, -180), 180, (n, 3))
    origins = rng.normal(0, 10, (n, 2))
    columns = {"rlnImageName": [f"{k % 7 + 1:06d}@Extract/s{k // 7}.mrcs" for k in range(n)]}
    columns |= {name: [f"{x:12.6f}" for x in angles[:, k]] for k, name in enumerate(ANGLES)}
    columns |= {name: [f"{x:12.6f}" for x in origins[:, k]] for k, name in enumerate(ORIGINS_A)}
    columns["rlnOpticsGroup"] = [str(1 + k % 2) for k in range(n)]
    columns["rlnRandomSubset"] = [str(1 + k % 3 % 2) for k in range(n)]
    columns["rlnDefocusU"] = [f"{x:.2f}" for x in rng.normal(15000, 1000, n)]
    columns["rlnDefocusV"] = [f"{float(x) - 120:.2f}" for x in columns["rlnDefocusU"]]
    return columns


def loop(name, columns, comment=VERSION):
    """Text of a block with one loop."""
    labels = "".join(f"_{label} #{k}\n" for k, label in enumerate(columns, start=1))
    rows = "".join(" ".join(row) + "\n" for row in zip(*columns.values(), strict=True))
    return f"\n{comment}data_{name}\n\nloop_\n{labels}{rows}"


def star_text(columns, optics=OPTICS):
    """Text of a particle file of RELION 3.1."""
    return optics + loop("particles", columns) + "\n"


def read_star(text, block="particles"):
    """Columns of a block: label -> words."""
    inside = text.partition(f"data_{block}\n")[2].partition("\ndata_")[0]
    labels, rows = [], []
    for line in inside.splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0].startswith("_"):
            labels.append(words[0][1:])
        elif words and words[0] != "loop_":
            assert len(words) == len(labels), line
            rows.append(words)
    return {label: [row[k] for row in rows] for k, label in enumerate(labels)}


def floats(columns, *labels):
    """Some columns as numbers, (n, columns)."""
    return np.array([[float(word) for word in columns[label]] for label in labels]).T
