"""What `fuzz` damages beside particle tables: sets that came back, and files that go with a table.

A returned set is some rows of an expanded table with labels, or a plain set of particles: it is
selected, arranged, reoriented, collapsed and transferred. A file beside is a map, a file of
operators, micrographs, an optimisation set and its motion, a result group, a job folder or a
passthrough file: the table is whole, and that file is damaged.

What succeeds is looked at by slow readers of NumPy and text: `wrong_rows` says what is not as the
conventions have it.
"""

import contextlib
import json
import os
import shutil
import warnings
from pathlib import Path

import h5py
import naive
import numpy as np
from conftest import random_columns, write_table
from grammars import pick
from star_files import ANGLES, ORIGINS_A, loop, particles, read_star
from test_mapcheck import blobs, density
from test_operator_files import MOVED, ONE, as_rows, biomt, mmcif, view_matrix
from test_optimisation_sets import SET, motion_text, set_text
from test_subtomograms import UNBINNED, subtomograms, tomo_text
from worlds_of_labels import star_rows, with_fields, write_some, write_star

POSE, SHIFT, PSIZE, UID = (
    *(f"alignments3D/{name}" for name in ("pose", "shift", "psize_A")),
    "uid",
)
PARTICLES = 8
ORDER = 6
"""Operators of D3."""

OPTICS = loop(
    "optics",
    {
        "rlnOpticsGroup": ["1", "2"],
        "rlnOpticsGroupName": ["one", "two"],
        "rlnImagePixelSize": ["1.500000", "1.250000"],
        "rlnVoltage": ["300", "300"],
        "rlnSphericalAberration": ["2.7", "2.7"],
        "rlnImageSize": ["64", "64"],
    },
)
TURN = ("--axis=1,2,3", "--to=z")


# Returned sets

RETURNED = ("l.star", "l.star", "b.star", "l.cs", "l.cs", "foreign.cs", "l.h5", "l.h5", "s.h5",
            "m.h5", "p.star", "p.star", "p.cs", "p.cs", "p.h5")  # fmt: skip
"""Labeled copies, of another program too, rows that were selected, several centers, plain sets."""


def make_returned(folder, finished):
    """Sources of three formats, their expansions by D3, and rows that came back with labels."""
    rng = np.random.default_rng(11)
    columns = random_columns(rng, PARTICLES)
    columns[PSIZE][:] = 1.2
    columns["ctf/df2_A"] = columns["ctf/df1_A"] - 50
    columns["blob/path"] = np.array([f"J1/s{k % 2}.mrc".encode() for k in range(PARTICLES)])
    columns["blob/idx"] = np.arange(PARTICLES, dtype=np.uint32)
    columns["location/micrograph_path"] = np.array([b"J1/a.mrc", b"J1/b.mrc"] * (PARTICLES // 2))
    columns["location/micrograph_shape"] = np.tile(np.uint32((400, 300)), (PARTICLES, 1))
    columns["location/micrograph_psize_A"] = np.full(PARTICLES, 1.1, np.float32)
    for axis in "xy":
        columns[f"location/center_{axis}_frac"] = rng.uniform(0, 1, PARTICLES).astype(np.float32)
    write_table(folder / "p.h5", columns)
    finished("export", folder / "p.h5", folder / "p.cs")
    words = particles(rng, PARTICLES)
    words["rlnMicrographName"] = [f"m{k % 2}.mrc" for k in range(PARTICLES)]
    for axis in "XY":
        words[f"rlnCoordinate{axis}"] = [f"{x:.3f}" for x in rng.uniform(9, 380, PARTICLES)]
    (folder / "p.star").write_text(OPTICS + loop("particles", words) + "\n")
    for source, name in (("p.h5", "e.h5"), ("p.star", "r.h5")):
        finished("expand", folder / source, folder / name, "--symmetry=D3", "--center=9,8,7")
    finished("export", folder / "e.h5", folder / "e.cs")
    finished("export", folder / "r.h5", folder / "e.star")
    whole = np.load(folder / "e.cs")
    labels = rng.integers(1, 4, len(whole))
    rows = rng.permutation(len(whole))[: len(whole) - 5]
    named = with_fields(
        whole[rows],
        alignments3D__class=labels[rows].astype("u4"),
        alignments3D__error=rng.uniform(0, 1, len(rows)).astype("f4"),
    )
    save(folder / "l.cs", named)
    other = named.copy()
    other["uid"][other["sym_expand/idx"] > 0] += 12345
    other["sym_expand/idx"] = (other["sym_expand/idx"] * 5) % ORDER
    save(folder / "foreign.cs", other)
    head, told = star_rows((folder / "e.star").read_text())
    classes = {"rlnClassNumber": labels[rows], "rlnMaxValueProbDistribution": labels[rows] / 7}
    write_star(folder / "l.star", head, told, rows, **classes)
    bare = {name: column for name, column in told.items() if "symexp" not in name}
    write_star(folder / "b.star", head, bare, rows, **classes)
    score = rng.uniform(0, 1, len(rows)).astype("f4")
    write_some(folder / "e.h5", folder / "l.h5", rows, **{"class": labels[rows], "score": score})
    finished("select", folder / "e.h5", folder / "s.h5", "--operators=0,2,5")
    centers = ("--symmetry=C2", "--center=9,8,7;-3,2,20", "--align")
    finished("expand", folder / "p.h5", folder / "several.h5", *centers)
    several = rng.permutation(4 * PARTICLES)[:-3]
    further = {"class": labels[several], "score": rng.uniform(0, 1, len(several)).astype("f4")}
    write_some(folder / "several.h5", folder / "m.h5", several, **further)
    for verb in ("select", "arrange", "collapse", "reorient", "transfer", "match"):
        for name in dict.fromkeys(RETURNED):
            warm_up(verb, folder, name, finished)
    for name in ("e.cs", "e.csg", "e.star"):
        (folder / name).unlink()


def warm_up(verb, folder, name, finished):
    """Load the kernels that a verb needs, for the forked processes."""
    known = folder / ("r.h5" if name.endswith(".star") else "e.h5")
    of = [] if name.endswith(".h5") else [f"--expanded={known}"]
    file, out = folder / name, folder / f"warm{os.path.splitext(name)[1]}"
    is_plain = name.startswith("p.")
    if verb == "reorient" and is_plain:
        finished(verb, file, out, "--flip", "--overwrite")
    elif verb == "transfer" and is_plain:
        finished(verb, file, file_for(folder, name), out, "--overwrite", "--same_center")
    elif is_plain:
        return
    elif verb == "select":
        finished(verb, file, out, "--one_per_particle", "--overwrite")
    elif verb == "collapse":
        finished(verb, file, out, *of, "--overwrite")
    elif verb == "arrange" and name not in ("s.h5", "m.h5"):
        by = ["--by=class"] if name == "l.h5" else []
        finished(verb, file, f"--output={out}", *of, *by, "--overwrite")
    elif verb == "match" and name != "m.h5":
        finished(verb, file)
    for suffix in (".h5", ".star", ".cs", ".csg"):
        (folder / f"warm{suffix}").unlink(missing_ok=True)


def file_for(folder, name):
    """A whole set of the same kind, for a transfer."""
    return folder / ("p" + os.path.splitext(name)[1])


SELECTIONS = (
    ("--operators=0,2-3",),
    ("--half=1", "--one_per_particle"),
    ("--view=0-120",),
    ("--inside", "--edge_px=3", "--micrograph_psize=1.1", "--micrograph_px=400,300"),
    ("--inside",),
    ("--min_distance_A=8",),
    ("--min_distance_A=8", "--within=micrograph", "--random=3"),
    ("--same_pose=5,20", "--score=SCORE"),
    ("--one_per_particle", "--score=SCORE", "--lowest"),
    ("--centers=1",),
    ("--where=SCORE=0.1..0.8",),
    ("--where=uid=5..", "--half=2"),
    ("--one_per_particle", "--psize=1.3"),
)
SCORES = {".h5": "score", ".cs": "alignments3D/error", ".star": "rlnMaxValueProbDistribution"}


def selection(file, flags):
    """The criteria of a case, with the score that a kind of file has."""
    return [flag.replace("SCORE", SCORES[os.path.splitext(file)[1]]) for flag in flags]


def by_class(file):
    """The column of the labels where it is not named as the program knows it."""
    return ["--by=class"] if file.endswith(".h5") else []


def of_expanded(file):
    """The expanded table, which rows of an HDF5 file bring themselves."""
    return [] if file.endswith(".h5") else ["--expanded=e.h5"]


RETURNED_VERBS = {
    "inspect": lambda file, flags: ["inspect", file],
    "match": lambda file, flags: ["match", file],
    "plot": lambda file, flags: ["plot", file, "plot.png"],
    "select": lambda file, flags: ["select", file, "some.h5", *selection(file, flags)],
    "select_star": lambda file, flags: ["select", file, "some.star", *selection(file, flags)],
    "select_cs": lambda file, flags: ["select", file, "some.cs", *selection(file, flags)],
    "arrange": lambda file, flags: [
        *("arrange", file, "--json", *of_expanded(file), *by_class(file)),
    ],
    "arrange_alone": lambda file, flags: ["arrange", file, *by_class(file)],
    "arrange_star": lambda file, flags: [
        *("arrange", file, "--output=turned.star", "--min_projected_A=3"),
        *of_expanded(file), *by_class(file),
    ],
    "arrange_h5": lambda file, flags: [
        *("arrange", file, "--output=turned.h5", "--picture=pattern.svg"),
        *of_expanded(file), *by_class(file),
    ],
    "arrange_files": lambda file, flags: ["arrange", file, whole(file), *of_expanded(file)],
    "reorient": lambda file, flags: ["reorient", file, "turned.h5", *TURN],
    "reorient_star": lambda file, flags: ["reorient", file, "turned.star", *TURN],
    "reorient_cs": lambda file, flags: ["reorient", file, "turned.cs", *TURN],
    "collapse": lambda file, flags: ["collapse", file, "collapsed.h5", *of_expanded(file)],
    "collapse_star": lambda file, flags: [
        *("collapse", file, "collapsed.star", *of_expanded(file)),
        f"--by={SCORES[os.path.splitext(file)[1]]}",
    ],
    "collapse_cs": lambda file, flags: ["collapse", file, "collapsed.cs", f"--source={own(file)}"],
    "transfer": lambda file, flags: ["transfer", file, own(file), "moved.h5", "--same_center"],
    "transfer_star": lambda file, flags: [
        "transfer", file, own(file), "moved.star", "--same_center"
    ],
    "transfer_cs": lambda file, flags: ["transfer", own(file), file, "moved.cs", "--same_center"],
    "transfer_subtracted": lambda file, flags: [
        *("transfer", file, own(file), "moved.h5", "--subtracted_center=9,8,7"),
    ],
    "expand_again": lambda file, flags: ["expand", file, "out.h5", "--symmetry=C2"],
}  # fmt: skip
"""What is run on a set that came back."""


def whole(file):
    """The same file without its damage."""
    return "whole" + os.path.splitext(file)[1]


def own(file):
    """The whole source of the same kind, beside a damaged file."""
    return "p" + os.path.splitext(file)[1]


def prepare_returned(rng, base, folder):
    """Files of a case; returns the one to damage, the flags, other victims, and what it is."""
    name = pick(rng, RETURNED)
    suffix = os.path.splitext(name)[1]
    for source in ("p.h5", "p.cs", "p.star"):
        shutil.copy(base / source, folder / source)
    shutil.copy(base / ("r.h5" if suffix == ".star" else "e.h5"), folder / "e.h5")
    shutil.copy(base / name, folder / f"whole{suffix}")
    shutil.copy(base / name, folder / f"in{suffix}")
    others = [folder / "e.h5", folder / own(name)]
    return folder / f"in{suffix}", pick(rng, SELECTIONS), others, name


# Files beside a table

BESIDE = {
    "map.mrc": ("mapcheck", "mask", "expand_mask"),
    "points.cmm": ("expand_markers", "operators_markers"),
    "ops.txt": ("operators", "expand_operators", "mapcheck_operators", "matrix"),
    "ops.npy": ("operators", "expand_operators", "matrix"),
    "ops.pdb": ("operators", "expand_operators"),
    "ops.cif": ("operators", "expand_operators"),
    "ops.sym": ("operators", "expand_operators", "mapcheck_operators"),
    "view.txt": ("operators", "expand_operators"),
    "matrix.txt": ("matrix", "operators"),
    "micrographs.star": (
        "expand_micrographs", "export_micrographs", "select_micrographs", "inspect",
    ),
    "set.star": ("inspect", "expand_set", "expand_with_set", "expand_tbl", "import", "plot"),
    "motion.star": ("expand_good_set",),
    "group.csg": (
        "inspect", "expand", "import", "export_star", "reorient_cs", "transfer_cs", "plot",
    ),
    "job.json": ("inspect_job", "expand_job", "import_job", "transfer_job"),
    "further.cs": (
        "expand_passthrough", "import_passthrough", "export_passthrough", "transfer_passthrough",
        "inspect_passthrough", "plot_passthrough", "reorient_passthrough",
    ),
}  # fmt: skip
"""Damaged file -> the runs that read it."""

RECENTER = ("--recenter=coordinates", "--micrograph_px=400,300", "--edge_px=5")
PASSTHROUGH = ("own.cs", "--passthrough=in.cs")

BESIDE_VERBS = {
    "inspect": lambda file, flags: ["inspect", file],
    "plot": lambda file, flags: ["plot", file, "plot.png"],
    "mapcheck": lambda file, flags: ["mapcheck", file, "--symmetry=C2"],
    "mask": lambda file, flags: ["mapcheck", "whole.mrc", "--symmetry=C2", f"--mask={file}"],
    "operators": lambda file, flags: ["operators", f"--operators_file={file}", "--json"],
    "expand_operators": lambda file, flags: [
        *("expand", "p.cs", "out.h5", f"--operators_file={file}", "--box_px=64"),
        "--origin=corner",
    ],
    "mapcheck_operators": lambda file, flags: [
        *("mapcheck", "whole.mrc", f"--operators_file={file}"),
    ],
    "matrix": lambda file, flags: ["reorient", "p.cs", "turned.cs", f"--matrix={file}"],
    "expand_mask": lambda file, flags: [
        *("expand", "p.cs", "out.h5", "--symmetry=C2", f"--center=mask:{file};1,2,3", "--align"),
    ],
    "expand_markers": lambda file, flags: [
        *("expand", "p.cs", "out.h5", "--symmetry=C2", f"--center={file}", "--length=30"),
    ],
    "operators_markers": lambda file, flags: ["operators", "--symmetry=C2", f"--center={file}"],
    "expand_micrographs": lambda file, flags: [
        *("expand", "p.star", "expanded.star", "--symmetry=C2", *RECENTER),
        f"--micrographs={file}",
    ],
    "export_micrographs": lambda file, flags: [
        *("export", "p.star", "out.star", *RECENTER, f"--micrographs={file}"),
    ],
    "select_micrographs": lambda file, flags: [
        *("select", "e.h5", "some.star", "--inside", "--micrograph_px=400,300"),
        f"--micrographs={file}",
    ],
    "expand_set": lambda file, flags: ["expand", file, "copies.star", "--symmetry=C3"],
    "expand_with_set": lambda file, flags: [
        *("expand", "tomo.star", "copies.star", "--symmetry=C3", f"--optimisation_set={file}"),
    ],
    "expand_tbl": lambda file, flags: ["expand", file, "expanded.tbl", "--symmetry=C3"],
    "expand_good_set": lambda file, flags: ["expand", "set.star", "copies.star", "--symmetry=C3"],
    "import": lambda file, flags: ["import", file, "imported.h5"],
    "expand": lambda file, flags: ["expand", file, "out.h5", "--symmetry=C3"],
    "export_star": lambda file, flags: ["export", file, "out.star"],
    "reorient_cs": lambda file, flags: ["reorient", file, "turned.cs", "--flip"],
    "transfer_cs": lambda file, flags: ["transfer", file, "p.cs", "moved.cs"],
    "inspect_job": lambda file, flags: ["inspect", "J7"],
    "expand_job": lambda file, flags: ["expand", "J7", "out.h5", "--symmetry=C3"],
    "import_job": lambda file, flags: ["import", "J7", "imported.h5"],
    "transfer_job": lambda file, flags: ["transfer", "J7", "p.cs", "moved.cs"],
    "expand_passthrough": lambda file, flags: [
        *("expand", *PASSTHROUGH[:1], "out.h5", "--symmetry=C3", "--carry=*", PASSTHROUGH[1]),
    ],
    "import_passthrough": lambda file, flags: ["import", "own.cs", file, "imported.h5"],
    "export_passthrough": lambda file, flags: ["export", *PASSTHROUGH, "out.star"],
    "inspect_passthrough": lambda file, flags: ["inspect", *PASSTHROUGH],
    "plot_passthrough": lambda file, flags: ["plot", PASSTHROUGH[0], "plot.png", PASSTHROUGH[1]],
    "reorient_passthrough": lambda file, flags: [
        *("reorient", PASSTHROUGH[0], "turned.cs", "--flip", PASSTHROUGH[1]),
    ],
    "transfer_passthrough": lambda file, flags: [
        *("transfer", "p.cs", "own.cs", "moved.cs", PASSTHROUGH[1]),
    ],
}  # fmt: skip

MORE_OUTPUTS = {
    "select": {"some.h5"},
    "select_star": {"some.star"},
    "select_cs": {"some.cs", "some.csg"},
    "select_micrographs": {"some.star"},
    "arrange_star": {"turned.star"},
    "arrange_h5": {"turned.h5", "pattern.svg"},
    "reorient": {"turned.h5"},
    "reorient_star": {"turned.star"},
    "reorient_cs": {"turned.cs", "turned.csg"},
    "reorient_passthrough": {"turned.cs", "turned.csg"},
    "matrix": {"turned.cs", "turned.csg"},
    "transfer": {"moved.h5"},
    "transfer_star": {"moved.star"},
    "transfer_cs": {"moved.cs", "moved.csg"},
    "transfer_job": {"moved.cs", "moved.csg"},
    "transfer_passthrough": {"moved.cs", "moved.csg"},
    "transfer_subtracted": {"moved.h5"},
    "expand_again": {"out.h5"},
    "expand_operators": {"out.h5"},
    "expand_job": {"out.h5"},
    "expand_mask": {"out.h5"},
    "expand_markers": {"out.h5"},
    "expand_passthrough": {"out.h5"},
    "expand_micrographs": {"expanded.star"},
    "export_micrographs": {"out.star"},
    "export_passthrough": {"out.star"},
    "import_job": {"imported.h5"},
    "import_passthrough": {"imported.h5"},
    "plot_passthrough": {"plot.png"},
    "expand_set": {"copies.star", "copies_optimisation_set.star", "copies_motion.star"},
    "expand_with_set": {"copies.star", "copies_optimisation_set.star", "copies_motion.star"},
    "expand_good_set": {"copies.star", "copies_optimisation_set.star", "copies_motion.star"},
}
"""Files that a verb leaves when it is done."""

MAY_BE_LEFT_OUT = {"copies_motion.star"}
"""A set that names no trajectories any more has no motion file beside its copies."""

SYMMETRY_FILE = "# axes\nrot_axis 3 0 0 1\nrot_axis 2 0 1 0\n"
MARKERS = """<?xml version="1.0" encoding="utf-8"?>
<marker_set name="points">
<marker id="1" x="100" y="100" z="100" r="1" g="1" b="0" radius="5"/>
<marker id="2" x="205.2" y="100" z="270.1" r="1" g="1" b="0" radius="5"/>
<marker id="3" x="90" y="101.5" z="99.5" r="1" g="1" b="0" radius="5"/>
</marker_set>
"""
ROTATION = "0 -1 0\n1 0 0\n0 0 1\n"


def make_beside(folder, finished):
    """Whole files of every kind that goes with a table."""
    import mrcfile

    made = density(blobs("C2", radii_A=(8, 18)), 14)
    with mrcfile.new(folder / "map.mrc") as file:
        file.set_data((made > 0.3 * made.max()).astype(np.float32) + made.astype(np.float32))
        file.voxel_size = 3.0
    motions = [ONE, *MOVED]
    (folder / "ops.txt").write_text(as_rows(motions))
    np.save(folder / "ops.npy", np.array([np.column_stack([r, t]) for r, t in motions]))
    (folder / "ops.pdb").write_text("REMARK 350 BIOMOLECULE: 1\n" + biomt(motions))
    (folder / "ops.cif").write_text(mmcif(motions, assemblies=[("1", "1-3"), ("2", "(1,2)(3)")]))
    (folder / "ops.sym").write_text(SYMMETRY_FILE)
    (folder / "view.txt").write_text(view_matrix(motions))
    (folder / "matrix.txt").write_text(ROTATION)
    (folder / "points.cmm").write_text(MARKERS)
    optics = {
        "rlnOpticsGroupName": ["one", "two", "three"],
        "rlnOpticsGroup": ["1", "2", "3"],
        "rlnMicrographPixelSize": ["0.750000", "0.500000", "1.000000"],
    }
    rows = {"rlnMicrographName": ["m0.mrc", "m1.mrc"], "rlnOpticsGroup": ["1", "2"]}
    text = loop("optics", optics) + loop("micrographs", rows)
    (folder / "micrographs.star").write_text(text)
    rng = np.random.default_rng(12)
    columns = subtomograms(rng, PARTICLES, coordinates=UNBINNED)
    (folder / "tomo_set.star").write_text(tomo_text(columns))
    shifts = {
        name: [[f"{x:.6f}" for x in rng.normal(0, 3, 3)] for _ in range(3)]
        for name in columns["rlnTomoParticleName"]
    }
    (folder / "motion.star").write_text(motion_text(shifts))
    (folder / "set.star").write_text(set_text(SET | {"rlnTomoParticlesFile": "tomo.star"}))
    make_job(folder)
    with contextlib.chdir(folder):
        warm_operators(finished)
    finished("mapcheck", folder / "map.mrc", "--symmetry=C2", "--threshold=0.01")


def warm_operators(finished):
    """Load what the runs on files beside a table need."""
    finished("expand", "p.cs", "w.h5", "--operators_file=ops.cif", "--overwrite")
    finished("operators", "--operators_file=ops.sym")
    micrographs = "--micrographs=micrographs.star"
    for words in (
        ("expand", "p.star", "w.star", "--symmetry=C2", *RECENTER, micrographs),
        ("select", "r.h5", "w2.star", "--inside", "--micrograph_px=400,300", micrographs),
        ("expand", "own.cs", "w2.h5", "--symmetry=C3", "--passthrough=further.cs"),
    ):
        finished(*words)
    for name in ("w.h5", "w2.h5", "w.star", "w2.star"):
        os.unlink(name)


def make_job(folder):
    """Two files of one dataset, their result group, and what job.json says of them."""
    rows = np.load(folder / "p.cs")
    own_names = [n for n in rows.dtype.names if n.startswith(("uid", "alignments3D", "blob"))]
    further = ["uid", *(n for n in rows.dtype.names if n not in own_names)]
    save(folder / "own.cs", rows[own_names])
    save(folder / "further.cs", rows[further][np.random.default_rng(1).permutation(len(rows))])
    group = "created: 2024-01-01 00:00:00.0\ngroup:\n  name: particles\n  type: particle\n"
    group += "results:\n"
    for result, name in (("alignments3D", "own.cs"), ("ctf", "further.cs")):
        group += f"  {result}:\n    metafile: '>{name}'\n    num_items: {len(rows)}\n"
        group += f"    type: particle.{result}\n"
    (folder / "group.csg").write_text(group + "version: v4.4\n")
    results = [
        {
            "group_name": "particles", "name": kind, "type": f"particle.{kind}",
            "metafiles": [f"J7/{name}"], "num_items": [len(rows)], "versions": [0],
            "passthrough": name == "further.cs",
        }
        for kind, name in (("alignments3D", "own.cs"), ("blob", "own.cs"), ("ctf", "further.cs"))
    ]  # fmt: skip
    (folder / "job.json").write_text(json.dumps({"uid": "J7", "output_results": results}))


def prepare_beside(rng, base, folder):
    """Files of a case; returns the one to damage, the flags, other victims, and what it is."""
    name = pick(rng, tuple(BESIDE))
    suffix = os.path.splitext(name)[1]
    for whole in ("p.cs", "p.star", "own.cs", "further.cs"):
        shutil.copy(base / whole, folder / whole)
    shutil.copy(base / "r.h5", folder / "e.h5")
    shutil.copy(base / "map.mrc", folder / "whole.mrc")
    shutil.copy(base / "tomo_set.star", folder / "tomo.star")
    for whole in ("motion.star", "set.star"):
        shutil.copy(base / whole, folder / whole)
    file = folder / ("motion.star" if name == "motion.star" else f"in{suffix}")
    if name == "job.json":
        (folder / "J7").mkdir()
        for whole in ("own.cs", "further.cs"):
            shutil.copy(base / whole, folder / "J7" / whole)
        file = folder / "J7" / "job.json"
    shutil.copy(base / name, file)
    return file, BESIDE[name], [], name


def damage_map(path, rng):
    """Numbers of the header of a map, or voxels, or another mode."""
    data = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        odd = (0, 1, -1, 2**31 - 1, -(2**31), 14, 15, 7, 10**6, 0x7FC00000, 0x7F800000, 2, 12, 4)
        value = int(odd[int(rng.integers(len(odd)))]) & 0xFFFFFFFF
        place = 4 * int(rng.integers(0, 57))
        if rng.integers(4) == 0:
            place = 1024 + 4 * int(rng.integers(0, (len(data) - 1024) // 4))
        data[place : place + 4] = value.to_bytes(4, "little")
    path.write_bytes(data)


def damage_words(path, rng):
    """Numbers, marks and lines of a text that is no .star."""
    odd = (b"nan", b"inf", b"1e400", b"-", b"", b"9" * 400, b"1_0", b"x", b"0x1", b"'", b'"',
           b"{", b"[", b"#", b"1e308", b"-1", b"0", b"\xff", b"\0", b"(1-999999)", b"1-60,P",
           b"../../etc/passwd", b"/dev/zero", b"/proc/kmsg", b"outside.h5", b"null", b"true",
           b"!!python/object/apply:os.system ['touch pwned']", b"&a [*a]",
           b"1-3)(1-3)(1-3")  # fmt: skip
    data = path.read_bytes()
    for _ in range(int(rng.integers(1, 4))):
        words = data.split(b" ")
        kind = int(rng.integers(4))
        place = int(rng.integers(len(words)))
        if kind == 0:
            words[place] = odd[int(rng.integers(len(odd)))]
        elif kind == 1:
            del words[place]
        elif kind == 2:
            words.insert(place, words[int(rng.integers(len(words)))])
        else:
            words[place] += odd[int(rng.integers(len(odd)))]
        data = b" ".join(words)
    path.write_bytes(data)


def odd_json(path, rng):
    """Other values somewhere in a record."""
    record = json.loads(path.read_text())
    odd = (None, 1, -1, 1e400, "", "x" * 10_000, [], {}, [[]], True, "../p.cs", "/etc/passwd",
           "J7/own.cs", ["/dev/zero"], ["J7/nothing.cs"], {"a": 1}, "J7/further.cs", "\0",
           "\ud800")  # fmt: skip
    for _ in range(int(rng.integers(1, 4))):
        node, parent, key = record, None, None
        while isinstance(node, (dict, list)) and node and (parent is None or rng.integers(4)):
            parent = node
            key = pick(rng, list(node)) if isinstance(node, dict) else int(rng.integers(len(node)))
            node = node[key]
        if parent is not None:
            parent[key] = pick(rng, odd)
    path.write_text(json.dumps(record))


# Mild damage: what programs and people do to a table


def mildly(path, rng):
    """Change a table so that most of it stays legal; returns what was done."""
    done = []
    for _ in range(int(rng.integers(1, 4))):
        change = pick(rng, (other_rows, other_rows, drop_some, odd_one, odd_one, other_type, alike))
        with contextlib.suppress(*_UNREADABLE), np.errstate(all="ignore"):
            rows, write = read_columns(path)
            write(change(rows, rng))
            done.append(change.__name__)
    return done


def read_columns(path):
    """Columns of a table, and what writes changed ones in their place."""
    if path.suffix == ".star":
        text = path.read_text()
        head = text.partition("data_particles")[0]
        columns = {name: np.array(words) for name, words in read_star(text).items()}

        def write(changed):
            words = {name: [str(word) for word in column] for name, column in changed.items()}
            path.write_text(head + loop("particles", words, comment="").lstrip() + "\n")

    elif path.suffix == ".cs":
        table = np.load(path)
        columns = {name: table[name] for name in table.dtype.names}

        def write(changed):
            fields = [(name, each.dtype, each.shape[1:]) for name, each in changed.items()]
            made = np.zeros(len(next(iter(changed.values()))), fields)
            for name, column in changed.items():
                made[name] = column
            save(path, made)

    else:
        columns = {}
        with h5py.File(path) as file:
            file["particles"].visititems(
                lambda name, node: (
                    columns.update({name: node[()]}) if hasattr(node, "shape") else None
                )
            )

        def write(changed):
            with h5py.File(path, "r+") as file:
                for name in columns:
                    kept = dict(file[f"particles/{name}"].attrs)
                    del file[f"particles/{name}"]
                    if name in changed:
                        file[f"particles/{name}"] = changed[name]
                        file[f"particles/{name}"].attrs.update(kept)

    return columns, write


def other_rows(columns, rng):
    """Rows in another order, fewer of them, or some of them twice."""
    count = len(next(iter(columns.values())))
    ways = (rng.permutation(count), np.arange(count)[: int(rng.integers(0, 4))],
            rng.integers(0, count, count), np.arange(count // 2))  # fmt: skip
    chosen = pick(rng, ways)
    return {name: column[chosen] for name, column in columns.items()}


def drop_some(columns, rng):
    """Without a column or two."""
    gone = [pick(rng, tuple(columns)) for _ in range(int(rng.integers(1, 3)))]
    return {name: column for name, column in columns.items() if name not in gone}


def odd_one(columns, rng):
    """One value that is odd, or all values of a column."""
    name = pick(rng, tuple(columns))
    column = columns[name].copy()
    odd = {
        "f": (np.nan, np.inf, -np.inf, 0, -1, 1e38, 1e-42, 1e300, 400, 0.5),
        "u": (0, 1, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1),
        "i": (0, -1, 2**31 - 1, -(2**63), 2**63 - 1),
        "U": ("nan", "inf", "1e400", "-", "0", "-1", "3.7", "x", "''", "'a b'", "9" * 30, "1e9",
              "0x10", "1@", "1@a@b", "@", "000001@s.mrcs", "٣", "-nan", "+5", "1_0", "1e-320"),
        "S": (b"", b"\xff", b"a b", b">", b"'", b"\n", b"-", b"a\0b", b"x" * 24),
    }.get(column.dtype.kind, (0, 1))  # fmt: skip
    value = pick(rng, odd)
    place = slice(None) if not rng.integers(4) else int(rng.integers(len(column)))
    if column.dtype.kind in "fiu":
        column.reshape(len(column), -1)[place] = np.array([value]).astype(column.dtype)
    else:
        column = column.astype("U40") if column.dtype.kind == "U" else column
        column[place] = value
    return {**columns, name: column}


def other_type(columns, rng):
    """A column in another type, or in another order of bytes."""
    name = pick(rng, tuple(columns))
    column = columns[name]
    kinds = {"f": ("f8", "f2", ">f4", ">f8", "i4", "S8"), "u": ("u8", "u2", ">u4", "i8", "f4", "?"),
             "i": ("i8", ">i4", "u4", "f8"), "S": ("S90", "S1")}  # fmt: skip
    kind = pick(rng, kinds.get(column.dtype.kind, (column.dtype,)))
    return {**columns, name: column.astype(kind)}


def alike(columns, rng):
    """All values of a column as the first, or as those of another column."""
    name, other = pick(rng, tuple(columns)), pick(rng, tuple(columns))
    column = columns[name].copy()
    column[...] = column[0]
    same = columns[other].dtype == column.dtype and columns[other].shape == column.shape
    return {**columns, name: columns[other] if same and rng.integers(2) else column}


# Rows that are wrong


def wrong_rows(verb, words):
    """What is wrong with what a verb wrote and told, as texts; nothing where nobody can say."""
    check = CHECKS.get(verb.partition("_")[0])
    if check is None or words is None or not isinstance(words, list):
        return []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return check(words)
        except _UNREADABLE:
            return []


_UNREADABLE = (KeyError, ValueError, TypeError, OSError, AssertionError, IndexError,
               UnicodeDecodeError, EOFError, RuntimeError, AttributeError,
               OverflowError)  # fmt: skip
"""A slow reader gives up on files that the program may well read: damage that changes nothing."""


class Rows:
    """Rows of a file: (name, matrix exp(v), shift in A or None) by slow readers."""

    def __init__(self, path):
        self.suffix = os.path.splitext(path)[1]
        if self.suffix == ".star":
            columns = read_star(Path(path).read_text())
            self.names = columns["rlnImageName"]
            angles = np.array([columns[label] for label in ANGLES], float).T
            self.exps = [naive.euler_zyz(*row) for row in angles]
            self.shifts_A = np.array([columns[label] for label in ORIGINS_A], float).T
            return
        if self.suffix == ".cs":
            columns = np.load(path, allow_pickle=False)
        else:
            with h5py.File(path) as file:
                columns = {}
                for name in (UID, POSE, SHIFT, PSIZE):
                    if f"particles/{name}" in file:
                        columns[name] = file[f"particles/{name}"][()]
        self.names = columns[UID].tolist()
        self.exps = [naive.exp(v) for v in columns[POSE]]
        self.shifts_px = np.array(columns[SHIFT], float)
        self.shifts_A = None
        with contextlib.suppress(KeyError, ValueError):
            self.shifts_A = self.shifts_px * np.array(columns[PSIZE], float)[:, None]

    def by_name(self):
        """Rows by their names; refuses names that stand twice."""
        assert len(set(self.names)) == len(self.names)
        return {name: k for k, name in enumerate(self.names)}


def differ(one, other):
    """Whether two rotations are not the same, with the rounding of six decimals of degrees."""
    return not naive.angle_rad(one, other) < 2e-5


def check_transfer(words):
    """Poses are the source's, and rows are the target's in their order."""
    source, target, made = (Rows(path) for path in words[1:4])
    if source.suffix != target.suffix or made.suffix not in (".h5", source.suffix):
        return []
    known = source.by_name()
    if made.suffix == ".h5" and source.suffix == ".star":
        return []
    kept = [name for name in target.names if name in known]
    faults = [] if made.names == kept else [f"rows {made.names[:3]} are not {kept[:3]}"]
    if any(differ(e, source.exps[known[n]]) for n, e in zip(made.names, made.exps, strict=True)):
        faults.append("poses are not the source's")
    return faults


def check_reorient(words):
    """Each pose is A Q^T, with the smallest rotation Q that turns the axis to z."""
    if words[3:] != list(TURN):
        return []
    source, made = Rows(words[1]), Rows(words[2])
    if source.suffix != made.suffix and made.suffix != ".h5":
        return []
    axis = np.array([1, 2, 3]) / np.sqrt(14)
    turn = np.cross(axis, (0, 0, 1))
    q = naive.turn(turn, np.degrees(np.arccos(axis[2])))
    assert np.allclose(q @ axis, (0, 0, 1))
    if len(made.exps) != len(source.exps):
        return ["rows are missing"]
    pairs = zip(source.exps, made.exps, strict=True)
    return ["poses are not turned"] if any(differ(q @ a, b) for a, b in pairs) else []


def check_select(words):
    """What stays is some rows of the file, in their order and as they were."""
    source, made = Rows(words[1]), Rows(words[2])
    if source.suffix != made.suffix:
        return []
    place = -1
    for name, rotation in zip(made.names, made.exps, strict=True):
        rest = range(place + 1, len(source.names))
        place = next(
            (k for k in rest if source.names[k] == name and not differ(source.exps[k], rotation)),
            None,
        )
        if place is None:
            return [f"row {name} is none of the file's"]
    return []


def check_collapse(words):
    """One row a particle of the source; poses are the source's, or those of a copy."""
    suffix = os.path.splitext(words[1])[1]
    if os.path.splitext(words[2])[1] not in (suffix, ".h5") or any("--by" in w for w in words):
        return []
    given = [word.partition("=")[2] for word in words if word.startswith("--source=")]
    particles_of = given[0] if given else "p.star" if suffix == ".star" else "p.h5"
    source, made = Rows(particles_of), Rows(words[2])
    if source.suffix != made.suffix and source.suffix == ".star":
        return []
    known = source.by_name()
    if len(set(made.names)) != len(made.names):
        return ["a particle stands twice"]
    wrong = [n for n in made.names if n not in known]
    faults = [f"{wrong[0]} is no particle"] if wrong else []
    pairs = zip(made.names, made.exps, strict=True)
    if not wrong and any(differ(source.exps[known[n]], e) for n, e in pairs):
        faults.append("poses are not the particles'")
    return faults


D3 = {"cryosparc": naive.group("D3"), "relion": naive.group("D3", "relion")}


def check_expand(words):
    """Every mate is one of the group's, of the row's particle, and none is missing."""
    if words[3:] != ["--symmetry=D3"]:
        return []
    source, made = Rows(words[1]), Rows(words[2])
    if made.suffix != source.suffix and (made.suffix == ".star" or source.suffix == ".star"):
        return []
    if len(made.exps) != ORDER * len(source.exps):
        return [f"{len(made.exps)} rows of {len(source.exps)} particles"]
    for k, rotation in enumerate(source.exps):
        mine = made.exps[ORDER * k : ORDER * (k + 1)]
        wanted = [[(rotation.T @ g).T for g in group] for group in D3.values()]
        if not any(is_same_set(mine, mates) for mates in wanted):
            return [f"mates of row {k} are wrong"]
        if source.shifts_A is not None and made.shifts_A is not None:
            found, own_A = made.shifts_A[ORDER * k : ORDER * (k + 1)], source.shifts_A[k]
            if np.abs(found - own_A).max() > 1e-4 * (1 + np.abs(own_A).max()):
                return [f"shifts of row {k} are wrong"]
    return []


def is_same_set(found, wanted):
    """Whether each of some rotations is there once."""
    places = [[k for k, each in enumerate(wanted) if not differ(each, one)] for one in found]
    return sorted(place for near in places for place in near) == list(range(len(wanted)))


CHECKS = {
    "transfer": check_transfer,
    "reorient": check_reorient,
    "select": check_select,
    "collapse": check_collapse,
    "expand": check_expand,
}


def save(path, rows):
    """Save rows under a name that NumPy would add a suffix to."""
    with open(path, "wb") as file:
        np.save(file, rows)
