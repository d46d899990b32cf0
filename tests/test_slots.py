"""Slots of poses beside a refinement's own: their pixel size, half-set, and how they turn."""

import h5py
import naive
import numpy as np
import pytest
from star_files import floats, read_star

N = 7
FIELDS = [
    ("uid", "<u8"),
    ("blob/path", "S24"),
    ("blob/idx", "<u4"),
    ("blob/shape", "<u4", (2,)),
    ("blob/psize_A", "<f4"),
    ("ctf/accel_kv", "<f4"),
    ("ctf/cs_mm", "<f4"),
    ("ctf/amp_contrast", "<f4"),
]


def slot(name, poses=()):
    """Fields of a slot with one or more poses a row."""
    return [
        (f"{name}/pose", "<f4", (*poses, 3)),
        (f"{name}/shift", "<f4", (*poses, 2)),
        (f"{name}/psize_A", "<f4"),
        (f"{name}/split", "<u4"),
    ]


@pytest.fixture
def classes(rng, tmp_path):
    """A .cs of two classes, whose maps differ in pixel size and half-sets."""
    rows = np.zeros(N, [*FIELDS, *slot("alignments_class_0"), *slot("alignments_class_1")])
    rows["uid"], rows["blob/idx"] = np.arange(N) * 13 + 10**9, np.arange(N)
    rows["blob/path"], rows["blob/shape"], rows["blob/psize_A"] = b"J1/stack.mrcs", 64, 1.06
    rows["ctf/accel_kv"], rows["ctf/cs_mm"], rows["ctf/amp_contrast"] = 300, 2.7, 0.1
    for k, size in ((0, 1.06), (1, 2.12)):
        name = f"alignments_class_{k}"
        rows[f"{name}/pose"], rows[f"{name}/shift"] = (
            rng.normal(size=(N, 3)),
            rng.normal(size=(N, 2)),
        )
        rows[f"{name}/psize_A"], rows[f"{name}/split"] = size, (np.arange(N) + k) % 2
    np.save(tmp_path / "c.npy", rows)
    (tmp_path / "c.npy").rename(tmp_path / "c.cs")
    return rows


@pytest.fixture
def several(rng, tmp_path):
    """A .cs of a refinement with three further poses a row, of a pixel size of their own."""
    rows = np.zeros(N, [*FIELDS, *slot("alignments3D"), *slot("alignments3D_multi", (3,))])
    rows["uid"], rows["blob/psize_A"] = np.arange(N) * 13 + 10**9, 1.06
    for name, size in (("alignments3D", 1.06), ("alignments3D_multi", 1.5)):
        for part in ("pose", "shift"):
            rows[f"{name}/{part}"] = rng.normal(size=rows[f"{name}/{part}"].shape)
        rows[f"{name}/psize_A"] = size
    np.save(tmp_path / "m.npy", rows)
    (tmp_path / "m.npy").rename(tmp_path / "m.cs")
    return rows


NAMED = ("--pose=alignments_class_1/pose", "--shift=alignments_class_1/shift")


def motions_of(group):
    """A point group as (R, t), for `naive.mates`."""
    return [(matrix, np.zeros(3)) for matrix in naive.group(group)]


def test_a_named_slot_brings_its_pixel_size_and_half_sets(classes, go, tmp_path):
    go("expand", "c.cs", "e.h5", "--symmetry=C2", *NAMED)
    go("verify", "e.h5")
    go("export", "e.h5", "e.star")
    go("export", "e.h5", "e.cs")
    found = read_star((tmp_path / "e.star").read_text())
    origins = floats(found, "rlnOriginXAngst", "rlnOriginYAngst")
    wanted = np.repeat(
        classes["alignments_class_1/shift"].astype(np.float64) * np.float32(2.12), 2, 0
    )
    assert np.abs(origins - wanted).max() < 1e-5
    halves = np.repeat(classes["alignments_class_1/split"], 2)
    assert [int(word) - 1 for word in found["rlnRandomSubset"]] == halves.tolist()
    out = np.load(tmp_path / "e.cs")
    assert np.all(out["alignments3D/psize_A"] == np.float32(2.12))
    assert (out["alignments3D/split"] == halves).all()
    assert (out["alignments3D/shift"] == np.repeat(classes["alignments_class_1/shift"], 2, 0)).all()


def test_a_helix_of_a_named_slot_moves_in_its_own_pixels(classes, go, tmp_path):
    go("expand", "c.cs", "e.h5", "--twist=30", "--rise=8", "--order=2", *NAMED)
    go("verify", "e.h5")
    go("export", "e.h5", "e.cs")
    out = np.load(tmp_path / "e.cs")
    for k in range(N):
        axis = naive.exp(classes["alignments_class_1/pose"][k])[2]  # A e_z
        wanted = classes["alignments_class_1/shift"][k] - 8 * axis[:2] / 2.12
        assert np.abs(out["alignments3D/shift"][2 * k + 1] - wanted).max() < 1e-5


@pytest.mark.parametrize(
    ("flags", "motions"),
    [
        (("--symmetry=D3",), motions_of("D3")),
        (("--twist=50", "--rise=9", "--order=3"), naive.helix(50, 9, 3)),
    ],
)
def test_further_poses_turn_with_their_copies(flags, motions, several, go, tmp_path):
    go("expand", "m.cs", "e.h5", *flags)
    go("export", "e.h5", "e.cs")
    out, order = np.load(tmp_path / "e.cs"), len(motions)
    slots = [("alignments3D", ()), *(("alignments3D_multi", (k,)) for k in range(3))]
    for row in range(N * order):
        off = np.zeros((len(slots), order))
        for place, (name, at) in enumerate(slots):
            pose, shift = (
                several[f"{name}/{part}"][row // order][at] for part in ("pose", "shift")
            )
            size = float(several[f"{name}/psize_A"][row // order])
            now = naive.exp(out[f"{name}/pose"][row][at])
            moved = out[f"{name}/shift"][row][at]
            for g, (matrix, s_g) in enumerate(naive.mates(naive.exp(pose), shift, motions, size)):
                off[place, g] = np.abs(now - matrix).max() + np.abs(moved - s_g).max()
        assert off.max(axis=0).min() < 3e-5  # one operator made all poses of the row
    kept = out["alignments3D_multi/pose"][::order]
    assert (kept == several["alignments3D_multi/pose"]).all()


@pytest.mark.parametrize(
    ("carry", "named"), [("alignments3D_multi/*", "alignments3D_multi/pose"), ("blob/*", None)]
)
def test_carried_poses_that_stay_the_particles_are_named(carry, named, several, command, tmp_path):
    flags = ("m.cs", "--symmetry=D3", f"--carry={carry}")
    done = command("expand", flags[0], "e.h5", *flags[1:])
    assert done.returncode == 0
    assert ("do not turn with the copies" in done.stderr) == bool(named)
    assert named is None or named in done.stderr
    assert "do not turn" not in command("expand", flags[0], "e.cs", *flags[1:]).stderr
    with h5py.File(tmp_path / "e.h5") as file:
        for name in file[f"particles/{carry[:-2]}"]:
            column = file[f"particles/{carry[:-1]}{name}"][()]
            assert (column == np.repeat(several[carry[:-1] + name], 6, axis=0)).all()


def test_further_shifts_of_unknown_pixels_are_left_out_and_named(several, command, tmp_path):
    names = [name for name in several.dtype.names if name != "alignments3D_multi/psize_A"]
    with open(tmp_path / "n.cs", "wb") as file:
        np.save(file, several[names].copy())
    for flags, left in (("--symmetry=C3", False), ("--center=0,0,40", True)):
        extra = () if not left else ("--symmetry=C3",)
        assert command("expand", "n.cs", "e.h5", flags, *extra, "--overwrite").returncode == 0
        done = command("export", "e.h5", "e.cs", "--overwrite")
        assert done.returncode == 0, done.stderr
        fields = np.load(tmp_path / "e.cs").dtype.names
        assert ("alignments3D_multi/pose" not in fields) == left
        assert ("alignments3D_multi/shift" in done.stdout + done.stderr) == left


def test_a_slot_without_a_pixel_size_asks_for_one(classes, command, tmp_path):
    names = [name for name in classes.dtype.names if not name.endswith("psize_A")]
    with open(tmp_path / "n.cs", "wb") as file:
        np.save(file, classes[names].copy())
    done = command("expand", "n.cs", "e.h5", "--twist=30", "--rise=8", "--order=2", *NAMED)
    assert done.returncode == 1
    assert "alignments_class_1/psize_A" in done.stderr
    assert "psize=A_PER_PIXEL" in done.stderr
