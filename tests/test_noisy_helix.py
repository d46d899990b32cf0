"""Copies of a helix whose shifts are as uncertain as a refinement leaves them."""

import json

import naive
import numpy as np
import pytest
from inside import convert
from particle_files import structured
from test_cs import save

TWIST, RISE, PSIZE, N = 22.03, 1.408, 1.06, 150
UNITS = [0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5]


def jittered(rng, stated):
    """An expanded dataset, the shifts of each row jittered by a pixel."""
    poses, shifts = [], []
    for q in rng.normal(size=(N, 4)):
        exp_v = naive.from_quaternion(q / np.linalg.norm(q))
        motions = [(naive.turn((0, 0, 1), TWIST * k), np.array([0, 0, RISE * k])) for k in UNITS]
        for pose, shift in naive.mates(exp_v, rng.normal(0, 2, 2), motions, PSIZE):
            poses.append(pose)
            shifts.append(shift + rng.normal(0, 1, 2))
    rows = N * len(UNITS)
    columns = {
        "uid": np.arange(1, rows + 1, dtype="<u8"),
        "alignments3D/pose": convert(np.array(poses), "matrix", "rotvec").astype("<f4"),
        "alignments3D/shift": np.array(shifts, "<f4"),
        "alignments3D/psize_A": np.full(rows, PSIZE, "<f4"),
        "sym_expand/src_uid": np.repeat(np.arange(1, N + 1, dtype="<u8"), len(UNITS)),
        "sym_expand/idx": np.tile(np.arange(len(UNITS), dtype="<u4"), N),
    }
    if stated:
        columns |= {
            "sym_expand/symmetry": np.full(rows, b"C1"),
            "sym_expand/is_helix": np.ones(rows, "<u4"),
            "sym_expand/helix_twist_rad": np.full(rows, np.deg2rad(TWIST), "<f4"),
            "sym_expand/helix_rise_A": np.full(rows, RISE, "<f4"),
            "sym_expand/helix_num_rises": np.full(rows, len(UNITS), "<u4"),
        }
    return structured(columns)


@pytest.mark.parametrize("stated", [True, False])
def test_a_jittered_helix_is_found(stated, rng, go, tmp_path):
    save(tmp_path / "h.cs", jittered(rng, stated))
    report = json.loads(go("match", "h.cs", "--json"))
    assert report["verdict"] == "whole"
    twist, rise = (
        float(part.split("=")[1]) for part in report["symmetry"].strip("helix()").split(",")[:2]
    )
    assert abs(twist - TWIST) < 0.01
    assert abs(rise - RISE) < 0.1
    assert [each["label"] for each in report["copies"]][1:3] == ["h+1", "h-1"]
