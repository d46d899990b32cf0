"""Operators from files, and orientations by the names of other programs."""

import json
import os
import sys

import h5py
import inside
import naive
import numpy as np
import pytest
from conftest import write_table
from inside import Helix, Own, PointGroup, SourceError, SymmetryError, SymmetryRequest, parse

from numba_symexp import SymexpError, point_group, read_operators

C3 = [naive.turn((0, 0, 1), 120 * k) for k in range(3)]
MOVED = [
    (naive.turn((1, 2, 3), 40), np.array([1.5, -2.25, 30.0])),
    (naive.turn((0, 1, 0), -75), np.array([0.0, 0.0, -12.5])),
]
"""Pseudo-symmetry: two motions that make no group, without the identity."""


def as_rows(motions, sep=" ", decimals=9):
    """Three lines of four numbers for each (R, t)."""
    return "\n".join(
        sep.join(f"{x:.{decimals}f}" for x in (*row, t))
        for rotation, moved in motions
        for row, t in zip(rotation, moved, strict=True)
    )


def biomt(motions, record="REMARK 350   BIOMT"):
    """Records of a PDB file."""
    return "".join(
        f"{record}{row + 1}{number:4d}{r[0]:10.6f}{r[1]:10.6f}{r[2]:10.6f}{moved[row]:15.5f}\n"
        for number, (rotation, moved) in enumerate(motions, start=1)
        for row, r in enumerate(rotation)
    )


ONE = (np.eye(3), np.zeros(3))


def mmcif(motions, loop=True, ids=None, types=None, assemblies=()):
    """Operators of an mmCIF file, with the words of a real one between."""
    ids = ids or [str(number) for number in range(1, len(motions) + 1)]
    types = types or ["point symmetry operation"] * len(motions)
    names = ["id", "type", "name"]
    names += [f"matrix[{i}][{j}]" for i in "123" for j in "123"]
    names += [f"vector[{i}]" for i in "123"]
    rows = [
        [name, f"'{kind}'", "?", *(f"{x:.8f}" for x in r.ravel()), *(f"{x:.8f}" for x in t)]
        for name, kind, (r, t) in zip(ids, types, motions, strict=True)
    ]  # fmt: skip
    item = "_pdbx_struct_oper_list."
    if not loop:
        return "data_1ABC\n#\n" + "".join(
            f"{item}{name}   {word}\n" for name, word in zip(names, rows[0], strict=True)
        )
    head = "\n".join(item + name for name in names)
    body = "\n".join(" ".join(row[:8]) + "\n" + " ".join(row[8:]) for row in rows)
    made = "".join(f"{name} '{expression}' A\n" for name, expression in assemblies)
    if made:
        item = "_pdbx_struct_assembly_gen."
        columns = ("assembly_id", "oper_expression", "asym_id_list")
        made = "loop_\n" + "".join(f"{item}{column}\n" for column in columns) + made
    return f"data_1ABC\n#\n{made}loop_\n{head}\n{body}\n#\nloop_\n_other.id\n1\n"


def view_matrix(motions):
    """What ChimeraX prints of its models."""
    parts = [
        f"#1.{k},{','.join(f'{x:.6g}' for x in np.column_stack([r, t]).ravel())}"
        for k, (r, t) in enumerate(motions, start=1)
    ]
    return f"view matrix models {','.join(parts)}\n"


TEXTS = {
    "3x4": as_rows(MOVED),
    "commas and comments": "# two\n" + as_rows(MOVED, ", ") + "\n\n",
    "chimera": "Model 0.0\n" + as_rows(MOVED[:1]) + "\nModel 0.1\n" + as_rows(MOVED[1:]),
    "4x4": "\n".join(as_rows([m]) + "\n0 0 0 1" for m in MOVED),
    "12 a row": "\n".join(
        " ".join(f"{x:.9f}" for x in np.column_stack(motion).ravel()) for motion in MOVED
    ),
    "brackets": str([np.column_stack(m).round(9).tolist() for m in MOVED]).replace("], [", "],\n["),
    "pdb": "HEADER\nREMARK 350 BIOMOLECULE: 1\n" + biomt(MOVED) + "REMARK 350 BIOMOLECULE: 2\n"
    + biomt([(np.eye(3), np.zeros(3))]) + "ATOM      1  N   MET A   1\n",
    "mtrix": "HEADER\n" + biomt(MOVED, "MTRIX").replace("\n", "    1\n"),
    "mmcif": mmcif(MOVED),
    "chimerax": view_matrix(MOVED),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
def test_matrices_as_programs_write_them(kind, tmp_path):
    (tmp_path / "ops.txt").write_text(TEXTS[kind])
    operators = read_operators(str(tmp_path / "ops.txt"))
    assert len(operators) == len(MOVED)
    for k, (rotation, moved) in enumerate(MOVED):
        assert naive.angle_rad(operators.matrix[k], rotation) < 2e-6
        assert np.allclose(operators.translation_A[k], moved, atol=1e-4)
    assert (operators.kind, operators.label) == ("own", ("g0", "g1"))


def test_one_operator_of_an_mmcif(tmp_path):
    (tmp_path / "one.cif").write_text(mmcif(MOVED[:1], loop=False))
    operators = read_operators(str(tmp_path / "one.cif"))
    assert naive.angle_rad(operators.matrix[0], MOVED[0][0]) < 1e-6
    assert np.allclose(operators.translation_A[0], MOVED[0][1])


CAPSID = [(rotation, np.zeros(3)) for rotation in naive.group("I1")]
FRAME = (naive.turn((1, 2, 3), 20), np.array([5.0, -6.0, 7.0]))


@pytest.mark.parametrize(
    ("assemblies", "expected"),
    [
        ([("1", "(1-60)"), ("2", "1"), ("PAU", "P"), ("XAU", "(X0)(1-60)")], CAPSID),
        ([("1", "1-60"), ("1", "(1-60)")], CAPSID),
        ([("XAU", "(X0)(1-60)"), ("1", "1")], CAPSID),
        ([("1", "3,1,7-9,P")], [CAPSID[k] for k in (2, 0, 6, 7, 8)]),
        ([("1", "(2,5)(3)")], [(CAPSID[k][0] @ CAPSID[2][0], np.zeros(3)) for k in (1, 4)]),
        ([], CAPSID),
    ],
)
def test_an_mmcif_gives_the_operators_of_its_first_assembly(assemblies, expected, tmp_path):
    """P and X0 lead to the frames of the point group and of the crystal."""
    pytest.importorskip("gemmi")
    ids = ["P", "X0", *map(str, range(1, 61))]
    types = ["transform to point frame", "transform to crystal frame"]
    text = mmcif(
        [FRAME, FRAME, *CAPSID],
        ids=ids,
        types=types + ["point symmetry operation"] * 60,
        assemblies=assemblies,
    )
    (tmp_path / "capsid.cif").write_text(text)
    operators = read_operators(str(tmp_path / "capsid.cif"))
    assert len(operators) == len(expected)
    for k, (rotation, moved_A) in enumerate(expected):
        assert naive.angle_rad(operators.matrix[k], rotation) < 1e-6
        assert np.allclose(operators.translation_A[k], moved_A, atol=1e-6)


def test_products_of_an_assembly_act_from_the_right(tmp_path):
    pytest.importorskip("gemmi")
    text = mmcif([*MOVED, ONE], assemblies=[("1", "(1)(2)")])
    (tmp_path / "p.cif").write_text(text)
    operators = read_operators(str(tmp_path / "p.cif"))
    (first, first_A), (second, second_A) = MOVED
    assert naive.angle_rad(operators.matrix[0], first @ second) < 1e-6
    assert np.allclose(operators.translation_A[0], first @ second_A + first_A, atol=1e-6)


def test_the_assembly_that_was_taken_is_named(source, tmp_path, go):
    pytest.importorskip("gemmi")
    three = [(rotation, np.zeros(3)) for rotation in C3]
    (tmp_path / "c3.cif").write_text(mmcif(three, assemblies=[("7", "1-3"), ("8", "1")]))
    assert "assembly 7 of 2" in go("operators", "--operators_file=c3.cif")
    assert "assembly 7 of 2" in go("expand", source, "e.h5", "--operators_file=c3.cif")
    text = (
        "REMARK 350 BIOMOLECULE: 1\n" + biomt(three) + "REMARK 350 BIOMOLECULE: 2\n" + biomt([ONE])
    )
    (tmp_path / "c3.pdb").write_text(text)
    assert "assembly 1 of 2" in go("operators", "--operators_file=c3.pdb")


def test_an_assembly_may_list_its_operators_for_each_of_its_chains(tmp_path):
    three = [(rotation, np.zeros(3)) for rotation in C3]
    (tmp_path / "c3.pdb").write_text("REMARK 350 BIOMOLECULE: 1\n" + biomt(three) + biomt(three))
    assert len(read_operators(str(tmp_path / "c3.pdb"))) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("matrix[2][2]", "matrix[2][4]"), "is not a whole mmCIF"),
        (lambda text: text.replace("matrix[2][2]", "matrix[2][1]"), "is not a whole mmCIF"),
        (lambda text: text[: text.index("2 'point")] + "2 'cut", "is not a whole mmCIF"),
        (lambda text: text.replace("'1-2'", "'1-9'"), "is not a whole mmCIF"),
        (lambda text: text.replace("'1-2'", "?"), "is not a whole mmCIF"),
        (lambda text: text.replace("data_1ABC", ""), "is not a whole mmCIF"),
    ],
)
def test_damaged_mmcif_files_end_in_one_line(change, said, source, tmp_path, command):
    pytest.importorskip("gemmi")
    (tmp_path / "bad.cif").write_text(change(mmcif(MOVED, assemblies=[("1", "1-2")])))
    done = command("expand", source, "o.h5", "--operators_file=bad.cif")
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_mmcif_names_the_extra_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gemmi", None)
    (tmp_path / "a.cif").write_text(mmcif(MOVED))
    with pytest.raises(SourceError, match=r"mmCIF needs gemmi: .* 'numba_symexp\[structure\]'"):
        read_operators(str(tmp_path / "a.cif"))


def test_operators_with_few_decimals_are_one_group_in_every_verb(source, tmp_path, go):
    """What three decimals lose is not held against the products."""
    rows = as_rows([(rotation, np.zeros(3)) for rotation in naive.group("T")], decimals=3)
    (tmp_path / "t.txt").write_text(rows)
    axes = "12 operator(s): 3-fold on z and (0.000, -0.943, 0.333), 2-fold on (0.000, 0.816, 0.578)"
    assert axes in go("expand", source, "t.h5", "--operators_file=t.txt")
    for verb in ("verify", "inspect"):
        assert axes in go(verb, "t.h5"), verb
    with h5py.File(tmp_path / "t.h5") as file:
        assert file["operators"].attrs["typed"] == 1
    go("expand", source, "d2.h5", "--symmetry=D2")
    with h5py.File(tmp_path / "d2.h5") as file:
        assert "typed" not in file["operators"].attrs


def test_operators_with_an_imaginary_part_are_refused(tmp_path):
    path = str(tmp_path / "o.npy")
    np.save(path, np.eye(3)[None] + 0.3j)
    with pytest.raises(SourceError, match="complex128 holds other things than real numbers"):
        read_operators(path)
    np.save(path, np.eye(3)[None] + 0j)
    assert np.array_equal(read_operators(path).matrix, np.eye(3)[None])


@pytest.mark.parametrize("shape", ["3x3", "3x4", "4x4", "one"])
def test_matrices_of_numpy(shape, tmp_path):
    array = np.array([np.column_stack(motion) for motion in MOVED])
    if shape == "4x4":
        array = np.concatenate([array, np.tile([[[0, 0, 0, 1]]], (2, 1, 1))], axis=1)
    if shape == "3x3":
        array = array[:, :, :3]
    np.save(tmp_path / "ops.npy", array[0] if shape == "one" else array)
    operators = read_operators(str(tmp_path / "ops.npy"))
    for k in range(len(operators)):
        assert naive.angle_rad(operators.matrix[k], MOVED[k][0]) < 1e-12
        moved = np.zeros(3) if shape == "3x3" else MOVED[k][1]
        assert np.array_equal(operators.translation_A[k], moved)


@pytest.mark.parametrize(
    ("text", "symbol", "convention"),
    [
        ("rot_axis 7 0 0 1\nrot_axis 2 1 0 0\n", "D7", "relion"),
        ("rot_axis 7 0 0 1 \n rot_axis 2 0 1 0\n", "D7", "cryosparc"),
        ("rot_axis 4 0 0 1\nrot_axis 3 0.577350 0.577350 0.577350\n", "O", "relion"),
    ],
)
def test_symmetry_files_of_relion_close_to_their_group(text, symbol, convention, tmp_path):
    (tmp_path / "mine.sym").write_text(text)
    operators = read_operators(str(tmp_path / "mine.sym"))
    expected = naive.group(symbol, convention)
    assert len(operators) == len(expected)
    for wanted in expected:
        assert np.linalg.norm(operators.matrix - wanted, axis=(1, 2)).min() < 1e-6


def test_own_operators_expand_as_the_naive_twin_does(columns, tmp_path, go):
    source = write_table(tmp_path / "source.h5", columns)
    (tmp_path / "ops.txt").write_text(as_rows(MOVED))
    assert "no group" in go("expand", source, "own.h5", "--operators_file=ops.txt")
    with h5py.File(tmp_path / "own.h5") as file:
        assert file["operators"].attrs["kind"] == "own"
        pose = file["particles/alignments3D/pose"][()].reshape(50, 2, 3)
        shift = file["particles/alignments3D/shift"][()].reshape(50, 2, 2)
    for i in range(50):
        a = naive.exp(columns["alignments3D/pose"][i])
        psize_A = float(columns["alignments3D/psize_A"][i])
        mates = naive.mates(a, columns["alignments3D/shift"][i], MOVED, psize_A)
        for g, (rotation, moved) in enumerate(mates):
            assert naive.angle_rad(naive.exp(pose[i, g]), rotation) < 2e-6
            assert np.allclose(shift[i, g], moved, atol=1e-4)
    assert "verified" in go("verify", "own.h5")


def test_own_group_is_the_group(source, tmp_path, go):
    """C3 with three decimals: as a group it has axes and subgroups, and is made exact enough."""
    (tmp_path / "c3.txt").write_text(as_rows([(r, np.zeros(3)) for r in C3], decimals=3))
    assert "3-fold on z" in go("expand", source, "own.h5", "--operators_file=c3.txt")
    go("expand", source, "c3.h5", "--symmetry=C3")
    with h5py.File(tmp_path / "own.h5") as own, h5py.File(tmp_path / "c3.h5") as known:
        for one, other in zip(
            own["particles/alignments3D/pose"], known["particles/alignments3D/pose"], strict=True
        ):
            assert naive.angle_rad(naive.exp(one), naive.exp(other)) < 1e-3
    made = json.loads(go("operators", "--operators_file=c3.txt", "--modulo=C3", "--json"))
    assert len(made["operators"]) == 1
    assert [row["fold"] for row in made["operators"]] == [1]


MIRROR = np.diag([1.0, 1.0, -1.0])


def test_own_operators_go_with_a_center(columns, tmp_path, go, command):
    """Without the identity, or not a group: no two put a point at one place."""
    source = write_table(tmp_path / "source.h5", columns)
    (tmp_path / "ops.txt").write_text(as_rows(MOVED))
    half = [(naive.turn((0, 0, 1), angle), np.zeros(3)) for angle in (0, 180, 40)]
    (tmp_path / "half.txt").write_text(as_rows(half))
    flags = ("--center=0,0,30", "--overwrite")
    for name, said in (("ops.txt", ""), ("half.txt", "3 operators (0-2) put the center at one")):
        done = command("expand", source, "e.h5", f"--operators_file={name}", *flags)
        assert (done.returncode, said in done.stderr, bool(said)) == (0, True, bool(done.stderr))
        assert "verified" in go("verify", "e.h5")
    done = command("expand", source, "e.h5", "--operators_file=half.txt", *flags, "--unique")
    assert (done.returncode, "and are not a subgroup" in done.stderr) == (2, True)
    go("expand", source, "e.h5", "--operators_file=ops.txt", *flags, "--unique")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no matrices"),
        ("hello\nworld\n", "holds no matrices"),
        ("1 0 0 1e10\n0 1 0 0\n0 0 1 0\n", "no map is that large"),
        ("1 0\n0 1\n", "has 2 numbers a row"),
        ("1 0 0\n0 1 0\n", "2 rows of matrices, not whole threes"),
        ("1 0 0\n0 1 0 0\n0 0 1 0\n", "has 3, 4 numbers a row"),
        ("1 0 0\n0 1 0\n0 0 1.1\n", "operator 0 is no rotation"),
        ("1 0 0\n0 1 0\n0 0 nan\n", "2 rows of matrices"),
        ("1 0 0\n0 1 0\n0 0 1e999\n", "operator 0 is no rotation"),
        (as_rows([(MIRROR, np.zeros(3))]), "operator 0 is a mirror image"),
        (as_rows([(np.eye(3), np.zeros(3))] * 2), "0 and 1 are the same"),
        ("rot_axis 7 0 0\n", "needs a fold and an axis"),
        ("rot_axis 2.5 0 0 1\n", "needs a fold and an axis"),
        ("rot_axis 2 0 0 0\n", "needs a fold and an axis"),
        ("rot_axis 2 0 0 x\n", "needs a fold and an axis"),
        ("rot_axis 1e999 0 0 1\n", "needs a fold and an axis"),
        ("rot_axis 7 0 0 1\nmirror_plane 1 0 0\n", "mirror_plane makes mirror images"),
        ("inversion\n", "inversion makes mirror images"),
        ("rot_axis 7 0 0 1\nrot_axis 5 1 0 0.3\n", "make no group"),
        ("REMARK 350   BIOMT1   1  1.0 0.0 0.0 0.0\n", "not three rows each"),
        ("_pdbx_struct_oper_list.matrix[1][1] 1.0\n", "is not a whole mmCIF"),
    ],
)
def test_files_that_hold_no_operators(text, said, tmp_path, source, command):
    (tmp_path / "bad.txt").write_text(text)
    done = command("expand", source, "o.h5", "--operators_file=bad.txt")
    assert (done.returncode in (1, 2), said in done.stderr) == (True, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "o.h5").exists()


def test_arrays_that_hold_no_operators(tmp_path):
    for number, array in enumerate(
        (np.zeros((2, 2)), np.zeros((0, 3, 3)), np.array([object()]), np.array(["a"]))
    ):
        path = tmp_path / f"{number}.npy"
        np.save(path, array, allow_pickle=True)
        with pytest.raises(SourceError, match=r"has shape|cannot be read"):
            read_operators(str(path))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(SourceError, match="cannot be read"):
        read_operators(str(path))


class Trap:
    """Would make a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_no_pickle_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("trap.npy", np.array([Trap()]), allow_pickle=True)
    with pytest.raises(SourceError, match="cannot be read"):
        read_operators("trap.npy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("angle", [180, 179.99, 120.5])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 2, -3), (-2, 0.1, 0.1)])
def test_large_turns_are_read_well(axis, angle, tmp_path):
    """Half turns have no trace to go by."""
    rotation = naive.turn(axis, angle)
    np.save(tmp_path / "ops.npy", rotation)
    assert naive.angle_rad(read_operators(str(tmp_path / "ops.npy")).matrix[0], rotation) < 1e-12


def test_files_that_are_none(tmp_path, monkeypatch):
    with pytest.raises(SourceError, match="no such file"):
        read_operators(str(tmp_path / "none"))
    with pytest.raises(SourceError, match="is a folder"):
        read_operators(str(tmp_path))
    monkeypatch.setattr(inside.operator_files, "_MOST_BYTES", 10)
    (tmp_path / "long.txt").write_text(TEXTS["3x4"])
    with pytest.raises(SourceError, match="too large"):
        read_operators(str(tmp_path / "long.txt"))
    monkeypatch.undo()
    monkeypatch.setattr(inside.operator_files, "MAX_OPERATORS", 1)
    with pytest.raises(SymmetryError, match="2 operators; 1 fit"):
        read_operators(str(tmp_path / "long.txt"))


ODD = (
    b"nan",
    b"1e999",
    b"-",
    b"'",
    b"loop_",
    b"#",
    b"0",
    b"\0",
    b"\xff",
    b"rot_axis",
    b"BIOMT",
    b"\n",
)


def damaged(data, rng):
    """Bytes with a few things cut out, put in or changed."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(data) + 1))
        if rng.random() < 0.3:
            del data[at : at + int(rng.integers(30))]
        else:
            data[at : at + int(rng.integers(4))] = ODD[rng.integers(len(ODD))]
    return bytes(data)


@pytest.mark.filterwarnings("error")
def test_damaged_files_end_in_operators_or_one_line(tmp_path, rng):
    np.save(tmp_path / "ops.npy", np.array([np.column_stack(motion) for motion in MOVED]))
    whole = [text.encode() for text in TEXTS.values()] + [b"rot_axis 7 0 0 1\nrot_axis 2 1 0 0\n"]
    whole += [(tmp_path / "ops.npy").read_bytes()] * 4
    read, refused = 0, []
    for number in range(600):
        (tmp_path / "bad").write_bytes(damaged(whole[number % len(whole)], rng))
        try:
            assert np.isfinite(read_operators(str(tmp_path / "bad")).quaternion).all()
            read += 1
        except SymexpError as error:
            refused.append(str(error))
    assert min(read, len(refused)) > 20
    assert "\n" not in "".join(refused)


def test_an_output_never_replaces_the_operators(source, tmp_path, command):
    (tmp_path / "ops.mat").write_text(TEXTS["3x4"])
    done = command("expand", source, "ops.mat", "--operators_file=ops.mat", "--overwrite")
    assert (done.returncode, "is the source itself" in done.stderr) == (1, True)
    assert (tmp_path / "ops.mat").read_text() == TEXTS["3x4"]


def test_own_operators_need_no_other_symmetry(source, tmp_path, command):
    (tmp_path / "ops.txt").write_text(TEXTS["3x4"])
    done = command("expand", source, "o.h5", "--operators_file=ops.txt", "--symmetry=C2")
    assert (done.returncode, "brings its own symmetry" in done.stderr) == (2, True)


# Operators about another point


def about_corner(motions, center_A):
    """The same motions in coordinates that count from the map's corner; the center lies there."""
    return [(r, t + center_A - r @ center_A) for r, t in motions]


BOX_PX, STAR_PSIZE_A = 256, 1.06
TWO_FOLD = naive.turn((0, 0, 1), 180)
STAR = f"""
data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
_rlnImageSize #3
1 {STAR_PSIZE_A} {BOX_PX}

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnAngleRot #3
_rlnAngleTilt #4
_rlnAnglePsi #5
_rlnOriginXAngst #6
_rlnOriginYAngst #7
000001@a.mrcs 1 45.03 171.67 -88.24 -7.60 -5.15
000002@a.mrcs 1 142.99 50.02 -19.77 -7.36 -0.94
"""


@pytest.mark.parametrize("flags", [("corner", "--box_px=256"), ("-135.68,-135.68,-135.68",)])
@pytest.mark.parametrize("kind", ["chimerax", "pdb"])
def test_operators_about_the_corner_leave_the_box_center_in_place(kind, flags, tmp_path, go):
    """A 2-fold through the box center moves no origin."""
    motions = about_corner([ONE, (TWO_FOLD, np.zeros(3))], np.full(3, BOX_PX // 2 * STAR_PSIZE_A))
    text = view_matrix(motions) if kind == "chimerax" else biomt(motions)
    (tmp_path / "c2.txt").write_text(text)
    (tmp_path / "p.star").write_text(STAR)
    shown = go(
        "expand", "p.star", "o.h5", "--operators_file=c2.txt", f"--origin={flags[0]}", *flags[1:]
    )
    assert "the box center moves by up to 0 A" in shown
    with h5py.File(tmp_path / "o.h5") as file:
        shift = file["particles/alignments3D/shift"][()].reshape(-1, 2, 2)
        assert not file["operators/translation_A"][()].any()
    assert np.array_equal(shift[:, 0], shift[:, 1])
    assert "verified" in go("verify", "o.h5")


def test_operators_about_a_point_are_those_about_the_box_center(rng, tmp_path):
    """A point of the map goes to the same place, whichever point its coordinates count from."""
    origin_A = rng.normal(0, 50, 3)
    (tmp_path / "ops.txt").write_text(as_rows(MOVED))
    request = SymmetryRequest(
        operators_file=str(tmp_path / "ops.txt"), origin=tuple(origin_A.tolist())
    )
    operators = request.full()
    point_A = rng.normal(0, 80, 3)
    for k, (rotation, moved_A) in enumerate(MOVED):
        expected = rotation @ (point_A - origin_A) + moved_A + origin_A
        found = operators.matrix[k] @ point_A + operators.translation_A[k]
        assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["star", "h5"])
def test_operators_that_move_the_box_center_far_are_told(kind, columns, tmp_path, command):
    turn = naive.turn((0, 0, 1), 180)
    (tmp_path / "far.txt").write_text(as_rows([ONE, (turn, np.array([272.0, 0, 0]))]))
    (tmp_path / "near.txt").write_text(as_rows([ONE, (turn, np.array([20.0, 0, 0]))]))
    (tmp_path / "p.star").write_text(STAR)
    shape = np.full((len(columns["uid"]), 2), BOX_PX, np.uint32)
    write_table(tmp_path / "p.h5", {**columns, "blob/shape": shape})
    for name, said in (("far", True), ("near", False)):
        done = command("expand", f"p.{kind}", f"{name}.h5", f"--operators_file={name}.txt")
        assert done.returncode == 0
        assert ("moves the box center by 272 A" in done.stderr) == said, done.stderr
        assert f"the box center moves by up to {272 if said else 20} A" in done.stdout
    assert (
        "origin=corner"
        in command("expand", f"p.{kind}", "j.h5", "--operators_file=far.txt", "--json").stdout
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--symmetry=C2", "--origin=corner", "--box_px=64"], "origin= goes with operators_file="),
        (["--operators_file=ops.txt", "--origin=corner"], "origin= goes with box_px="),
        (["--operators_file=ops.txt", "--origin=1,2"], "three numbers"),
        (["--operators_file=ops.txt", "--origin=edge"], "not a number"),
        (["--operators_file=ops.txt", "--origin=1,2,3", "--box_px=64"], "box_px= goes with"),
    ],
)
def test_origins_that_are_none(flags, said, source, tmp_path, command):
    (tmp_path / "ops.txt").write_text(TEXTS["3x4"])
    done = command("expand", source, "o.h5", *flags)
    plain = done.stderr.replace("--", "").replace("=", "")
    assert (done.returncode, said.replace("=", "") in plain) == (2, True), done.stderr
    assert not (tmp_path / "o.h5").exists()


def test_the_corner_is_known_to_operators_and_to_a_map(tmp_path, go, rng):
    mrcfile = pytest.importorskip("mrcfile")
    box, psize_A = 24, 1.5
    motions = about_corner([ONE, (TWO_FOLD, np.zeros(3))], np.full(3, (box // 2) * psize_A))
    (tmp_path / "c2.txt").write_text(as_rows(motions))
    flags = ("--operators_file=c2.txt", "--origin=corner")
    made = json.loads(go("operators", *flags, f"--box_px={box}", f"--psize={psize_A}", "--json"))
    assert [each["translation_A"] for each in made["operators"]] == [[0, 0, 0]] * 2
    x, y, z = np.meshgrid(*[np.arange(box) - box // 2] * 3, indexing="ij")
    density = np.zeros((box, box, box), np.float32)
    for cx, cy, cz in rng.uniform(-7, 7, (6, 3)):
        for sign in (1, -1):
            far = (x - sign * cx) ** 2 + (y - sign * cy) ** 2 + (z - cz) ** 2
            density += np.exp(-far / 4).astype(np.float32)
    with mrcfile.new(tmp_path / "m.mrc") as file:
        file.set_data(np.ascontiguousarray(density.transpose(2, 1, 0)))
        file.voxel_size = psize_A
    assert "m.mrc" in go("mapcheck", "m.mrc", *flags)


# Orientations

ABOUT_X = naive.turn((1, 0, 0), 31.7174744114610)
"""From the 5-fold on z of ChimeraX's 2n5 to one of its 222, in the plane across x."""


def turned(symbol, q):
    """Operators Q g Q^T of a map that was turned by Q."""
    return [q @ g @ q.T for g in naive.group(symbol)]


EQUAL = [
    ("chimerax", "I", turned("I1", np.eye(3))),
    ("chimerax", "I,222", turned("I1", np.eye(3))),
    ("chimerax", "i,222R", turned("I1", naive.turn((0, 0, 1), 90))),
    ("chimerax", "I,222r", turned("I2", np.eye(3))),
    ("chimerax", "I,n25", turned("I3", np.eye(3))),
    ("chimerax", "I,n25r", turned("I3", naive.turn((1, 0, 0), 180))),
    ("chimerax", "I,n25r", turned("I4", np.eye(3))),
    ("chimerax", "I,2n5", turned("I1", ABOUT_X.T)),
    ("chimerax", "I,2n5r", turned("I1", naive.turn((0, 1, 0), 180) @ ABOUT_X.T)),
    ("chimerax", "O", turned("O", np.eye(3))),
    ("chimerax", "T,z3", turned("T", naive.turn((0, 0, 1), 180))),
    ("eman2", "tet", turned("T", naive.turn((0, 0, 1), 180))),
    ("eman2", "oct", turned("O", np.eye(3))),
    ("eman2", "icos", turned("I4", np.eye(3))),
    ("eman2", "ICOS2", turned("I1", np.eye(3))),
    ("scipy", "I", turned("I1", np.eye(3))),
    ("scipy", "O", turned("O", np.eye(3))),
    ("cistem", "I", turned("I1", np.eye(3))),
    ("cistem", "I2", turned("I2", np.eye(3))),
    ("cistem", "T2", turned("T", np.eye(3))),
    ("cistem", "D7", naive.group("D7", "relion")),
    ("chimerax", "D3", naive.group("D3", "relion")),
    ("eman2", "c5", naive.group("C5")),
    ("scipy", "D5", naive.group("D5", "relion")),
]


@pytest.mark.parametrize(("convention", "symbol", "expected"), EQUAL)
def test_orientations_of_other_programs(convention, symbol, expected):
    operators = point_group(symbol, convention)
    assert len(operators) == len(expected)
    for wanted in expected:
        assert np.linalg.norm(operators.matrix - wanted, axis=(1, 2)).min() < 1e-6


@pytest.mark.parametrize("convention", ["chimerax", "scipy"])
def test_tetrahedron_with_its_dyads_on_the_axes(convention):
    """2-folds on x, y, z, and 3-folds on the diagonals."""
    operators = point_group("T", convention)
    for axis, fold in (((1, 0, 0), 2), ((0, 1, 0), 2), ((0, 0, 1), 2), ((1, 1, 1), 3)):
        wanted = naive.turn(axis, 360 / fold)
        assert np.linalg.norm(operators.matrix - wanted, axis=(1, 2)).min() < 1e-9


@pytest.mark.parametrize("r", [False, True])
def test_icosahedron_with_a_3_fold_on_z(r):
    """2-fold on x, 3-fold on z, a 5-fold 37.38 degrees from z towards +y (of 2n3r towards -y)."""
    operators = point_group("I,2n3r" if r else "I,2n3", "chimerax")
    tilt = np.deg2rad(-37.377368 if r else 37.377368)
    axes = (((1, 0, 0), 2), ((0, 0, 1), 3), ((0, np.sin(tilt), np.cos(tilt)), 5))
    for axis, fold in axes:
        wanted = naive.turn(axis, 360 / fold)
        assert np.linalg.norm(operators.matrix - wanted, axis=(1, 2)).min() < 1e-6
    others = point_group("I,2n3" if r else "I,2n3r", "chimerax").matrix
    assert np.linalg.norm(operators.matrix[:, None] - others[None], axis=(2, 3)).max() > 0.1


def test_a_name_of_another_program_is_told():
    with pytest.raises(SymmetryError, match="convention=eman2, which has it"):
        point_group("icos")
    with pytest.raises(SymmetryError, match=r"use C1; Cn; Dn .* tet; oct; icos; icos2"):
        point_group("I", "eman2")


@pytest.mark.parametrize(
    ("symbol", "convention", "count"),
    [("C5", "relion", 1), ("D4", "relion", 1), ("D7", "relion", 2), ("T", "scipy", 3),
     ("O", "eman2", 1), ("I", "relion", 8), ("icos", "eman2", 8)],
)  # fmt: skip
def test_variants_are_different_sets(symbol, convention, count):
    symbol = "oct" if (symbol, convention) == ("O", "eman2") else symbol
    first = PointGroup(symbol, convention)
    found = [each.operators() for each in first.variants()]
    assert len(found) == count
    assert found[0].symmetry == first
    for k, one in enumerate(found):
        for other in found[:k]:
            apart = np.linalg.norm(one.matrix[:, None] - other.matrix[None], axis=(2, 3))
            assert apart.min(axis=1).max() > 0.01


def test_helices_have_two_hands():
    variants = Helix(-166.7, 27.3, 3, PointGroup("D3", "relion")).variants()
    wanted = [(t, c) for t in (-166.7, 166.7) for c in ("relion", "cryosparc")]
    assert len(variants) == len(wanted)
    for variant, (twist_deg, convention) in zip(variants, wanted, strict=True):
        motions = naive.helix(twist_deg, 27.3, 3, naive.group("D3", convention))
        found = variant.operators()
        assert len(found) == len(motions)
        for rotation, moved in zip(found.matrix, found.translation_A, strict=True):
            apart = [np.abs(rotation - R).max() + np.abs(moved - t).max() for R, t in motions]
            assert min(apart) < 1e-9
    assert len(Helix(180, 27.3, 3).variants()) == 1


NAMES = [
    ("D7", "relion", PointGroup("d7", "RELION")),
    ("I2", "cryosparc", PointGroup("I")),
    ("I,222r", "chimerax", PointGroup("i,222R", "chimerax")),
    ("helix(twist_deg=-166.7,rise_A=27.3,order=3)", "cryosparc", Helix(-166.7, 27.3, 3)),
    (
        "helix(twist_deg=27.0,rise_A=1e-07,order=3) x D3",
        "relion",
        Helix(27, 1e-7, 3, PointGroup("D3", "relion")),
    ),
    ("operators of a file.txt", "own", Own("a file.txt")),
]


@pytest.mark.parametrize(("name", "convention", "value"), NAMES)
def test_the_name_of_a_symmetry_gives_it_back(name, convention, value):
    """A file stores the name and the convention."""
    assert (str(value), value.convention) == (name, convention)
    assert parse(name, convention) == value


@pytest.mark.parametrize(
    "name",
    ["Q8", "", "D0", "helix(twist_deg=a.1,rise_A=27.3,order=3)",
     "helix(twist_deg=nan,rise_A=1.0,order=3)", "helix(twist_deg=1.0,rise_A=1.0,order=0)",
     "helix(twist_deg=1.0,rise_A=1.0,order=3) x O",
     f"helix(twist_deg=1.0,rise_A=1.0,order={'9' * 5000})"],
)  # fmt: skip
def test_names_that_mean_no_symmetry(name):
    with pytest.raises(SymmetryError):
        parse(name, "cryosparc")
