"""What the command line writes, row by row, against the oracle: every verb, format and choice."""

import json
import math
from collections import Counter
from statistics import NormalDist

import h5py
import mrcfile
import numpy as np
import oracle
import pytest
from naive import PHI, from_quaternion, turn
from oracle import (
    Poses,
    Tally,
    X,
    Z,
    helix,
    mates,
    read_dynamo,
    read_h5,
    read_m,
    read_priors,
    read_relion,
    read_star,
    read_tomo,
    slot_poses,
    smallest_turn,
    subparticles,
    symmetry,
    write_star,
)

slow = pytest.mark.slow
SINGLE, DOUBLE = {"angle": 1e-6, "shift_A": 5e-5}, {"angle": 1e-11, "shift_A": 1e-10}
TEXT = {"angle": 1e-7, "shift_A": 1e-5}  # six decimals, of degrees and of A or pixels
COUNTS = Counter()

CENTER = (31.0, -12.5, 20.0)
AT_CENTER = "--center=31,-12.5,20"
SCREW = "--twist=-166.7 --rise=27.3 --order=3"
CRYOSPARC = [
    ("--symmetry=D3", symmetry("D3")),
    ("--symmetry=T", symmetry("T")),
    ("--symmetry=I2", symmetry("I2")),
    (f"{SCREW} --symmetry=C2", helix(-166.7, 27.3, 3, "C2")),
]
RELION = [
    ("--symmetry=D3", symmetry("D3", "relion")),
    (SCREW, helix(-166.7, 27.3, 3)),
    ("--symmetry=O", symmetry("O")),
    (f"{SCREW} --symmetry=D3", helix(-166.7, 27.3, 3, "D3", "relion")),
]


def first_is_fast(cases):
    """Parameters of which all but the first are slow."""
    return [cases[0], *(pytest.param(case, marks=slow) for case in cases[1:])]


@pytest.fixture(scope="module", autouse=True)
def _print_counts():
    """Print how much was compared, under `pytest -s`."""
    yield
    for kind, count in [*sorted(COUNTS.items()), ("all", COUNTS.total())]:
        print(f"{count:8,d}  {kind}")


@pytest.fixture
def tally():
    """Counts comparisons."""
    tally = Tally()
    yield tally
    COUNTS.update(tally.counts)


@pytest.fixture
def run(go):
    """Run a command line in a folder of its own; gives what it printed."""
    return lambda line: go(*line.split())


@pytest.fixture
def listed(run):
    """Give operators of the oracle in the order of the verb `operators`."""

    def listed(operators, flags):
        said = json.loads(run(f"operators --json {flags}"))["operators"]
        found = [(np.array(one["matrix"]), np.array(one["translation_A"])) for one in said]
        assert len(found) == len(operators)
        return [operators[number] for number in oracle.which(found, operators)]

    return listed


# Particles


def random_poses(rng, count, pose_format="rotvec"):
    """Random poses as a table stores them, with the awkward ones among them."""
    q = rng.normal(size=(count, 4))
    q /= np.linalg.norm(q, axis=1)[:, None]
    if pose_format == "quaternion":
        return q
    if pose_format == "matrix":
        return np.array([from_quaternion(row) for row in q])
    if pose_format == "euler_zyz":
        angles = rng.uniform(-180, 180, (count, 3))
        angles[:, 1] = np.degrees(np.arccos(rng.uniform(-1, 1, count)))
        angles[1:3, 1] = 0, 180
        return angles
    vectors = q[:, 1:] / np.linalg.norm(q[:, 1:], axis=1)[:, None]
    lengths = rng.uniform(0.01, 3.9, (count, 1))
    lengths[1:3, 0] = 0, np.pi
    return vectors * lengths


def write_h5(rng, count=4, pose_format="rotvec", dtype="f4", components=2, psize=None):
    """Write p.h5, particles in HDF5."""
    psize = rng.uniform(0.7, 2, count) if psize is None else np.full(count, psize)
    columns = {
        "alignments3D/pose": random_poses(rng, count, pose_format).astype(dtype),
        "alignments3D/shift": rng.normal(0, 6, (count, components)).astype(dtype),
        "alignments3D/psize_A": psize.astype("f4"),
        "alignments3D/split": np.arange(count, dtype="u4") % 2,
        "uid": rng.integers(1, 2**63, count).astype("u8"),
        "ctf/df1_A": rng.uniform(9e3, 2e4, count).astype("f4"),
        "ctf/df2_A": rng.uniform(9e3, 2e4, count).astype("f4"),
    }
    with h5py.File("p.h5", "w") as file:
        for name, column in columns.items():
            file[f"particles/{name}"] = column
    return read_h5("p.h5", columns["alignments3D/psize_A"].astype(float), pose_format)


SLOTS = ("alignments3D", "alignments_class_1", "alignments3D_multi")
ONE_OF = [(SLOTS[0], None), (SLOTS[1], None), (SLOTS[2], 0), (SLOTS[2], 1)]


def write_cs(rng, count=4, path="p.cs", **given):
    """Write particles of CryoSPARC with poses in three slots; gives the rows."""
    values = {"uid": rng.integers(1, 2**63, count).astype("u8")}
    for slot in SLOTS:
        several = (2,) if slot.endswith("multi") else ()
        pose = random_poses(rng, count * math.prod(several)).astype("f4")
        values[f"{slot}/pose"] = pose.reshape(count, *several, 3)
        values[f"{slot}/shift"] = rng.normal(0, 5, (count, *several, 2)).astype("f4")
        values[f"{slot}/psize_A"] = rng.uniform(0.7, 2.5, count).astype("f4")
        values[f"{slot}/split"] = np.arange(count, dtype="u4") % 2
    values |= {
        "blob/path": np.full(count, b"J1/stack.mrc"),
        "blob/idx": np.arange(count, dtype="u4"),
        "blob/shape": np.full((count, 2), 128, "u4"),
        "location/micrograph_path": np.full(count, b"m/1.mrc"),
        "location/micrograph_shape": np.tile(np.array([3000, 4000], "u4"), (count, 1)),
    }
    for name, low, high in [
        ("blob/psize_A", 0.66, 0.66),
        ("ctf/df1_A", 9e3, 2e4),
        ("ctf/df2_A", 9e3, 2e4),
        ("ctf/df_angle_rad", 0, 1),
        ("ctf/accel_kv", 300, 300),
        ("ctf/cs_mm", 2.7, 2.7),
        ("ctf/amp_contrast", 0.1, 0.1),
        ("location/center_x_frac", 0.3, 0.7),
        ("location/center_y_frac", 0.3, 0.7),
        ("location/micrograph_psize_A", 0.66, 0.66),
    ]:
        values[name] = rng.uniform(low, high, count).astype("f4")
    return save_cs(path, values | given)


def save_cs(path, columns):
    """Write columns as a .cs; gives the rows."""
    fields = [(name, column.dtype, column.shape[1:]) for name, column in columns.items()]
    rows = np.zeros(len(columns["uid"]), fields)
    for name, column in columns.items():
        rows[name] = column
    with open(path, "wb") as file:
        np.save(file, rows)
    return rows


def with_column(path, output, name, column, rows=slice(None)):
    """Write some rows of a .cs with a column more."""
    table = np.load(path)
    columns = {name: table[name] for name in table.dtype.names} | {name: column}
    return save_cs(output, {name: column[rows] for name, column in columns.items()})


OPTICS = {
    "rlnOpticsGroup": [1, 2],
    "rlnOpticsGroupName": ["one", "two"],
    "rlnVoltage": [300.0, 200.0],
    "rlnSphericalAberration": [2.7, 2.7],
    "rlnAmplitudeContrast": [0.1, 0.1],
    "rlnImagePixelSize": [1.06, 2.12],
    "rlnMicrographPixelSize": [0.53, 1.06],
    "rlnImageSize": [256, 128],
    "rlnImageDimensionality": [2, 2],
}
TOMO_OPTICS = OPTICS | {
    "rlnImagePixelSize": [5.4, 3.4],
    "rlnTomoTiltSeriesPixelSize": [1.35, 1.7],
    "rlnTomoSubtomogramBinning": [4.0, 2.0],
    "rlnImageDimensionality": [3, 3],
}
del TOMO_OPTICS["rlnMicrographPixelSize"]


def angles_of(rng, label, count=4):
    """Columns of random angles of RELION."""
    angles = random_poses(rng, count, "euler_zyz").round(6)
    return {label.format(part): angles[:, k] for k, part in enumerate(oracle.ANGLES)}


def numbers_for(label, parts, numbers):
    """Columns of random numbers, one for each part of a label."""
    return {label.format(part): numbers().round(6) for part in parts}


def relion_columns(rng, count=4):
    """Columns of particles of RELION in two optics groups."""
    return {
        "rlnImageName": [f"{number:06d}@stack.mrcs" for number in range(1, count + 1)],
        "rlnMicrographName": ["micrographs/1.mrc"] * count,
        "rlnOpticsGroup": 1 + np.arange(count) % 2,
        "rlnRandomSubset": 1 + np.arange(count) // 2 % 2,
        "rlnClassNumber": np.ones(count, int),
        **numbers_for("rlnCoordinate{}", "XY", lambda: rng.uniform(800, 3200, count)),
        **numbers_for("rlnDefocus{}", "UV", lambda: rng.uniform(9e3, 2e4, count)),
        "rlnDefocusAngle": np.full(count, 20.0),
        **angles_of(rng, "rlnAngle{}", count),
        **numbers_for("rlnOrigin{}Angst", "XY", lambda: rng.normal(0, 8, count)),
    }


def write_relion(rng, count=4, path="p.star", **more):
    """Write particles of RELION; gives their poses."""
    write_star(path, optics=OPTICS, particles=relion_columns(rng, count) | more)
    return read_relion(path)


def priors_of(rng):
    """Columns of priors of RELION."""
    shifts = numbers_for("rlnOrigin{}PriorAngst", "XY", lambda: rng.normal(0, 8, 4))
    return angles_of(rng, "rlnAngle{}Prior") | shifts


def tomo_columns(rng, *without):
    """Columns of four subtomograms of RELION 5, but for those whose labels have a word."""
    columns = {
        "rlnTomoName": ["TS_01", "TS_01", "TS_02", "TS_02"],
        "rlnTomoParticleName": ["TS_01/1", "TS_01/2", "TS_02/1", "TS_02/2"],
        "rlnImageName": [f"{number}.mrcs" for number in range(4)],
        "rlnOpticsGroup": np.array([1, 2, 1, 2]),
        "rlnRandomSubset": [1, 2, 2, 1],
        **numbers_for("rlnCoordinate{}", "XYZ", lambda: rng.uniform(100, 900, 4)),
        **numbers_for("rlnCenteredCoordinate{}Angst", "XYZ", lambda: rng.normal(0, 400, 4)),
        **angles_of(rng, "rlnTomoSubtomogram{}"),
        **angles_of(rng, "rlnAngle{}"),
        **numbers_for("rlnOrigin{}Angst", "XYZ", lambda: rng.normal(0, 6, 4)),
    }
    return {
        label: column
        for label, column in columns.items()
        if not any(word in label for word in without)
    }


def write_tomo(rng, *without):
    """Write tomo.star; gives its columns."""
    columns = tomo_columns(rng, *without)
    write_star("tomo.star", optics=TOMO_OPTICS, particles=columns)
    return columns


def write_m(rng, angles=1, moments=1):
    """Write m.star, particles of M at several times."""
    columns = {"wrpSourceName": ["TS_01"] * 4, "wrpRandomSubset": [1, 2, 1, 2]}
    for time in range(1, moments + 1):
        label = f"wrpCoordinate{{}}{time}"
        columns |= numbers_for(label, "XYZ", lambda: rng.uniform(0, 5000, 4))
    for time in range(1, angles + 1):
        columns |= angles_of(rng, f"wrpAngle{{}}{time}")
    write_star("m.star", particles=columns)


KNOWN = {  # angles of Dynamo, and the same of RELION
    0: ((112.7, 8.4212, -65.676), (-155.676, 8.4212, -157.3)),
    3: ((-43.696, 15.245, -85.26), (-175.26, 15.245, 46.304)),
}
TAGS = (11, 4, 7, 2)


def write_dynamo(rng):
    """Write p.tbl, four rows of Dynamo."""
    table = np.zeros((4, 36))
    table[:, 0], table[:, 1:3], table[:, 19], table[:, 35] = TAGS, 1, (1, 1, 2, 2), 2.7
    table[:, 3:6] = rng.normal(0, 3, (4, 3))
    table[:, 6:9] = random_poses(rng, 4, "euler_zyz")
    for row, (angles, _) in KNOWN.items():
        table[row, 6:9] = angles
    table[:, 23:26] = rng.uniform(100, 900, (4, 3))
    np.savetxt("p.tbl", table, fmt="%.6f")


# Expanded tables in HDF5


def check_expanded(tally, kind, source, copies, full=None, pose_format="rotvec", **tolerance):
    """Compare e.h5 with the copies; where full is given, copies are some of so many."""
    found_operators, full_index = oracle.stored_operators("e.h5")
    order = len(copies)
    assert len(found_operators) == order
    assert full or full_index == list(range(order))
    psize = np.repeat(source.columns["alignments3D/psize_A"].astype(float), order)
    found = read_h5("e.h5", psize, pose_format)
    tally.poses(kind, found, subparticles(source, copies), **(tolerance or SINGLE))
    rows = np.arange(len(found))
    tally.numbers("source_index", found.columns["source_index"], rows // order)
    tally.numbers("operator_index", found.columns["operator_index"], rows % order)
    split = np.repeat(source.columns["alignments3D/split"], order)
    tally.numbers("half-sets", found.columns["alignments3D/split"], split)
    # Operator 0 keeps the particle's id; mates have first + i (F - 1) + f - 1.
    own, ids = (poses.columns["uid"].tolist() for poses in (source, found))
    assert len(set(ids)) == len(ids)
    first = set()
    for row, uid in enumerate(ids):
        i, f = row // order, full_index[row % order]
        if f == 0:
            tally.equal("uid", [uid], [own[i]])
        else:
            assert uid not in own
            first.add(uid - i * ((full or order) - 1) - f + 1)
            tally.equal("uid", [len(first)], [1])


def check_group(tally, kind, source, operators, center=oracle.NO_CENTER, **more):
    """Compare e.h5 with the mates about a center; gives the operators in the file's order."""
    found, _ = oracle.stored_operators("e.h5")
    order = oracle.which(found, operators, more.pop("typed", 1e-9))
    full = None if len(order) == len(operators) else len(operators)
    mine = [operators[number] for number in order]
    copies = oracle.copies_about(mine, [center])
    check_expanded(tally, kind, source, copies, full, **more)
    return mine


CYCLIC = [f"C{n}" for n in range(1, 14)] + [f"D{n}" for n in range(1, 8)]
GROUPS = {
    "cryosparc": CYCLIC + list(oracle.NAMES["cryosparc"]),
    "relion": CYCLIC + list(oracle.NAMES["relion"]),
    **{
        program: ["C5", "D2", "D3", "D7", *oracle.NAMES[program]]
        for program in ("chimerax", "eman2", "scipy", "cistem")
    },
}


@slow
@pytest.mark.parametrize("convention", GROUPS)
def test_point_groups(convention, rng, run, tally):
    for number, name in enumerate(GROUPS[convention]):
        dtype, tolerance = [("f4", SINGLE), ("f8", DOUBLE)][number % 2]
        source = write_h5(rng, dtype=dtype)
        run(f"expand p.h5 e.h5 --overwrite --symmetry={name} --convention={convention}")
        operators = symmetry(name, convention)
        check_group(tally, f"point groups of {convention}", source, operators, **tolerance)
        run("verify e.h5")


HELICES = [  # twist (degrees), rise (A), units, group, convention
    (-25.7, 3.2, 4, "D3", "cryosparc"),
    (-25.7, 3.2, 4, "D3", "relion"),
    (27.3, 5.1, 5, "C1", "cryosparc"),
    (-166.7, 27.3, 12, "C2", "cryosparc"),
    (-1.2, 21.8, 13, "C1", "relion"),
    (179.4, 4.75, 6, "D1", "relion"),
    (41.0, 11.5, 2, "C7", "cryosparc"),
    (0.7, 60.0, 3, "D2", "cryosparc"),
    (90.0, 2.0, 1, "D5", "cryosparc"),
]


@pytest.mark.parametrize("case", first_is_fast(HELICES))
def test_helices(case, rng, run, tally):
    twist, rise, order, name, convention = case
    operators = helix(*case)
    flags = f"--twist={twist} --rise={rise} --order={order} --convention={convention}"
    flags += f" --symmetry={name}" * (name != "C1")
    for dtype, tolerance in (("f4", SINGLE), ("f8", DOUBLE)):
        source = write_h5(rng, dtype=dtype)
        for center, flag in ((oracle.NO_CENTER, ""), (CENTER, AT_CENTER)):
            run(f"expand p.h5 e.h5 --overwrite {flags} {flag}")
            mine = check_group(tally, "helices", source, operators, center, **tolerance)
            units = [round(t[2] / rise) for _, t in mine]
            assert units == [round(t[2] / rise) for _, t in operators]
            tally.numbers("rise_index", oracle.columns_of("e.h5", "operators")["rise_index"], units)


@slow
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("pose_format", oracle.STORED)
def test_forms_of_poses(pose_format, dtype, rng, run, tally):
    tolerance = SINGLE if dtype == "f4" else DOUBLE
    for components in (2, 3):
        source = write_h5(rng, 6, pose_format, dtype, components)
        for flags, operators in CRYOSPARC:
            run(f"expand p.h5 e.h5 --overwrite --pose_format={pose_format} {AT_CENTER} {flags}")
            assert oracle.columns_of("e.h5")["alignments3D/pose"].dtype == dtype
            kind = f"{pose_format} in {dtype}, {components} components"
            check_group(
                tally, kind, source, operators, CENTER, pose_format=pose_format, **tolerance
            )


# Choices of operators, and centers


def check_choice(tally, run, flags):
    """Compare a choice of operators in e.h5 with those rows of the full expansion."""
    _, numbers = oracle.stored_operators("e.h5")
    run(f"expand p.h5 full.h5 --overwrite {flags}")
    order = len(oracle.stored_operators("full.h5")[1])
    some, full = read_h5("e.h5", 1), read_h5("full.h5", 1)
    rows = [i * order + f for i in range(len(some) // len(numbers)) for f in numbers]
    tally.poses("choices, against the full set", some, full.of(rows), 0, 0)
    tally.equal("uid", some.columns["uid"], full.columns["uid"][rows])


MODULO = [  # group, subgroup, --axis
    ("O", "C4", None),
    ("O", "C2", (1, 0, 1)),
    ("O", "C3", (1, 1, 1)),
    ("O", "C4", (1, 0, 0)),
    ("I", "C5", None),
    ("I1", "C3", (1, 1, 1)),
    ("I3", "C5", None),
    ("I2", "C2", (0, 1, 0)),
    ("D7", "C7", None),
    ("D7", "C2", (0, 1, 0)),
    ("D6", "C3", None),
    ("T", "C3", None),
    ("T", "C2", (0, math.sqrt(2), 1)),
]


@pytest.mark.parametrize("case", first_is_fast(MODULO))
def test_left_cosets(case, rng, run, tally):
    name, subgroup, axis = case
    source = write_h5(rng)
    about = f"--axis={','.join(map(str, axis))}" if axis else ""
    run(f"expand p.h5 e.h5 --symmetry={name} --modulo={subgroup} {about}")
    operators = symmetry(name)
    chosen = [R for R, _ in check_group(tally, "left cosets", source, operators)]
    rotations = [R for R, _ in operators]
    subgroups = oracle.cyclic_subgroups(rotations, int(subgroup[1:]), axis)
    assert any(len(chosen) * len(H) == len(rotations) for H in subgroups)
    assert any(oracle.are_left_cosets(chosen, H, rotations) for H in subgroups)
    check_choice(tally, run, f"--symmetry={name}")


@slow
@pytest.mark.parametrize("case", range(len(CRYOSPARC)))
def test_chosen_operators(case, rng, run, tally):
    flags, operators = CRYOSPARC[case]
    source = write_h5(rng)
    run(f"expand p.h5 e.h5 {flags} --operators=0,2,4-5")
    check_group(tally, "--operators", source, operators)
    assert oracle.stored_operators("e.h5")[1] == [0, 2, 4, 5]
    check_choice(tally, run, flags)


UNIQUE = [  # flags, operators, center (A), number of places
    ("--symmetry=O", symmetry("O"), (0, 40.0, 0), 6),
    ("--symmetry=O", symmetry("O"), (30.0, 30.0, 30.0), 8),
    ("--symmetry=I2", symmetry("I2"), (40.0, 0, 40 * PHI), 12),
    ("--symmetry=I1", symmetry("I1"), (40.0, 40.0, 40.0), 20),
    ("--symmetry=I", symmetry("I"), (0, 0, 80.0), 30),
    ("--symmetry=I3", symmetry("I3"), CENTER, 60),
    ("--symmetry=T", symmetry("T"), (0, 0, 30.0), 4),
    ("--symmetry=D3", symmetry("D3"), (0, 25.0, 0), 3),
    ("--symmetry=C7", symmetry("C7"), (0, 0, 10.0), 1),
    (f"{SCREW} --symmetry=D3", helix(-166.7, 27.3, 3, "D3"), (0, 0, 2.0), 6),
]


@pytest.mark.parametrize("case", first_is_fast(UNIQUE))
def test_unique_places(case, rng, run, tally):
    flags, operators, center, count = case
    source = write_h5(rng)
    run(f"expand p.h5 e.h5 {flags} --unique --center={','.join(map(str, center))}")
    chosen = check_group(tally, "--unique", source, operators, center)
    found, expected = (len(oracle.places(some, center)) for some in (chosen, operators))
    assert len(chosen) == found == expected == count


@pytest.mark.parametrize("case", first_is_fast(range(len(CRYOSPARC))))
def test_centers_and_defocus(case, rng, run, tally):
    flags, operators = CRYOSPARC[case]
    source = write_h5(rng, psize=1.25)
    for sign, word in ((-1, "minus"), (1, "plus")):
        run(f"expand p.h5 e.h5 --overwrite {flags} {AT_CENTER} --defocus={word}")
        mine = check_group(tally, "--center", source, operators, CENTER)
        depths = oracle.depths(source, oracle.copies_about(mine, [CENTER]))
        for name in ("ctf/df1_A", "ctf/df2_A"):
            expected = np.repeat(source.columns[name].astype(float), len(mine)) + sign * depths
            tally.numbers("--defocus", oracle.columns_of("e.h5")[name], expected, 2e-3)
    for box in (255, 256):
        px = f"{box // 2 + 10},{box // 2 - 20.5},{box // 2 + 3.25}"
        run(f"expand p.h5 e.h5 --overwrite {flags} --center_px={px} --box_px={box}")
        check_group(tally, "--center_px", source, operators, (12.5, -25.625, 4.0625))


def write_operators(form, operators):
    """Write matrices in a form; gives the file's name."""
    matrices = np.array([np.column_stack(operator) for operator in operators])
    if form == "npy":
        np.save("own.npy", matrices)
    elif form == "txt":
        np.savetxt("own.txt", matrices.reshape(-1, 4), fmt="%.15f")
    else:
        lines = ["REMARK 350 BIOMOLECULE: 1", "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A"]
        for number, matrix in enumerate(matrices, 1):
            for axis, (x, y, z, t) in enumerate(matrix, 1):
                row = f"{number:3d}{x:10.6f}{y:10.6f}{z:10.6f} {t:14.5f}"
                lines.append(f"REMARK 350   BIOMT{axis} {row}")
        with open("own.pdb", "w") as file:
            file.write("\n".join([*lines, "END", ""]))
    return f"own.{form}"


@slow
@pytest.mark.parametrize("form", ["npy", "txt", "pdb"])
@pytest.mark.parametrize("origin", ["0,0,0", "10,-7,33", "corner"])
def test_own_operators(origin, form, rng, run, tally):
    given = [(np.eye(3), np.zeros(3))]
    turns = random_poses(rng, 4, "quaternion")
    given += [(from_quaternion(q), rng.normal(0, 20, 3)) for q in turns]
    point = (-48.0, -48.0, -48.0) if origin == "corner" else json.loads(f"[{origin}]")
    flags = f"--operators_file={write_operators(form, given)} --origin={origin}"
    flags += " --box_px=65" * (origin == "corner")
    for dtype, tolerance in (("f4", SINGLE), ("f8", DOUBLE)):
        source = write_h5(rng, psize=1.5, dtype=dtype)
        more = {"typed": 1e-9, **tolerance}
        if form == "pdb":  # few decimals
            more = {"typed": 1e-4, "angle": 3e-6, "shift_A": 5e-4}
        for center, flag in ((oracle.NO_CENTER, ""), (CENTER, AT_CENTER)):
            run(f"expand p.h5 e.h5 --overwrite {flags} {flag}")
            check_group(tally, "own operators", source, oracle.about(given, point), center, **more)


def test_symmetry_file_of_relion(rng, run, tally):
    with open("d7.sym", "w") as file:
        file.write("rot_axis 7 0 0 1\nrot_axis 2 1 0 0\n")
    source = write_h5(rng)
    run(f"expand p.h5 e.h5 --operators_file=d7.sym --origin=5,-3,8 {AT_CENTER}")
    operators = oracle.about(symmetry("D7", "relion"), (5, -3, 8))
    check_group(tally, "own operators", source, operators, CENTER)


# Several centers

CENTERS = (CENTER, (0.0, 0.0, 45.0), (0.0, 0.0, -20.0))
AT_CENTERS = "--center=31,-12.5,20;0,0,45;0,0,-20"
TURNS = [  # flags, rotation of the map about a center
    ("--align", lambda c: smallest_turn(c, Z)),
    ("", None),
    ("--align_axis=1,-2,0.5", lambda c: smallest_turn((1, -2, 0.5), Z)),
    ("--align_axis=0,0,-1", lambda c: turn(X, 180)),
]
STORED_AS = [("rotvec", "f4", 2), ("rotvec", "f8", 3), ("euler_zyz", "f8", 2), ("matrix", "f4", 3)]


@pytest.mark.parametrize("flags", first_is_fast([flags for flags, _ in CRYOSPARC]))
@pytest.mark.parametrize("way", first_is_fast(TURNS))
def test_several_centers(flags, way, rng, run, tally, listed):
    operators = listed(dict(CRYOSPARC)[flags], flags)
    more, Q = way
    copies = oracle.copies_about(operators, CENTERS, Q)
    for number, (pose_format, dtype, components) in enumerate(STORED_AS):
        unique = number % 2
        source = write_h5(rng, 4, pose_format, dtype, components)
        stored = f"--pose_format={pose_format}" + " --unique" * unique
        run(f"expand p.h5 e.h5 --overwrite {stored} {AT_CENTERS} {more} {flags}")
        table = oracle.columns_of("e.h5", "operators")
        numbers = table["full_index"].tolist()
        mine = [copies[number] for number in numbers]
        rotations, _ = oracle.stored_operators("e.h5")
        for row, ((R, t), c, turned) in enumerate(mine):
            oracle.which([rotations[row]], [(R, t)])
            tally.numbers(
                "center_index", [table["center_index"][row]], [numbers[row] // len(operators)]
            )
            tally.numbers("center_A", table["center_A"][row], c, 1e-9)
            if more:
                found = from_quaternion(table["turn"][row])
                tally.numbers("turn", found.ravel(), turned.ravel(), 1e-9)
        for center in CENTERS if unique else ():
            chosen = [operator for operator, c, _ in mine if tuple(c) == center]
            found, expected = (len(oracle.places(some, center)) for some in (chosen, operators))
            assert len(chosen) == found == expected
        full = len(copies) if unique else None
        tolerance = SINGLE if dtype == "f4" else DOUBLE
        kind = f"several centers {more or 'as they are'}"
        check_expanded(tally, kind, source, mine, full, pose_format, **tolerance)
        run("verify e.h5")


@slow
def test_where_centers_come_from(rng, run, tally, listed):
    """Markers, masks and lengths."""
    points = np.array([(100.5, 90.0, 80.25), (120.0, 95.0, 60.0), (70.0, 91.5, 110.0)])
    marker = '<marker id="{}" x="{}" y="{}" z="{}" r="1" g="1" b="0" radius="5"/>'
    lines = [marker.format(number, *point) for number, point in enumerate(points, 1)]
    with open("m.cmm", "w") as file:
        file.write("\n".join(['<marker_set name="m">', *lines, "</marker_set>", ""]))
    mask = np.zeros((20, 22, 24), "f4")  # z, y, x
    mask[12:15, 3:9, 14:20] = rng.uniform(0.2, 1, (3, 6, 6))
    with mrcfile.new("mask.mrc", mask) as file:
        file.voxel_size = 1.5
    z, y, x = (axis - n // 2 for axis, n in zip(np.indices(mask.shape), mask.shape, strict=True))
    mass = np.array([(axis * mask).sum() for axis in (x, y, z)]) / mask.sum() * 1.5
    relative = points[1:] - points[0]
    unit = relative / np.linalg.norm(relative, axis=1)[:, None]
    operators = listed(symmetry("D3"), "--symmetry=D3")
    source = write_h5(rng, psize=1.25)
    for flags, centers in [
        ("--center=m.cmm", relative),
        ("--center=mask:mask.mrc", [mass]),
        ("--center=10,0,5;m.cmm;mask:mask.mrc", [(10, 0, 5), *relative, mass]),
        ("--center=m.cmm --origin=corner --box_px=128", points - 64 * 1.25),
        ("--center=m.cmm --origin=-80,-80,-80", points - 80),
        ("--center=m.cmm --length=60", unit * 60),
        ("--center=m.cmm --length=60,25", unit * np.array([[60], [25]])),
        ("--center=10,0,0 --length=33", [(33, 0, 0)]),
        ("--center_px=74,54,64;60,64,70 --box_px=128", [(12.5, -12.5, 0), (-5, 0, 7.5)]),
    ]:
        for more, Q in TURNS[:2]:
            run(f"expand p.h5 e.h5 --overwrite --symmetry=D3 {flags} {more}")
            copies = oracle.copies_about(operators, centers, Q)
            check_expanded(tally, "markers, masks, lengths", source, copies)


# Files of RELION and CryoSPARC


@pytest.mark.parametrize("case", first_is_fast(range(len(RELION))))
@pytest.mark.parametrize("way", first_is_fast(TURNS[:2]))
def test_particles_of_relion(case, way, rng, run, tally, listed):
    flags, operators = RELION[case]
    operators = listed(operators, f"--convention=relion {flags}")
    source = write_relion(rng, **priors_of(rng))
    for center, centers in (("", [oracle.NO_CENTER]), (AT_CENTER, [CENTER]), (AT_CENTERS, CENTERS)):
        more, Q = way if center else ("", None)
        copies = oracle.copies_about(operators, centers, Q)
        defocus = "--defocus=plus" if center else ""
        run(f"expand p.star e.star --overwrite {flags} {center} {more} {defocus}")
        found = read_relion("e.star")
        tally.poses(".star to .star", found, subparticles(source, copies), **TEXT)
        priors = subparticles(read_priors("p.star"), copies)
        tally.poses("priors of RELION", read_priors("e.star"), priors, **TEXT)
        numbers = np.tile(np.arange(len(copies)), 4).astype(str)
        tally.equal("symexpOperator", found.columns["symexpOperator"], numbers)
        for label in ("rlnRandomSubset", "rlnOpticsGroup", "rlnImageName", "rlnCoordinateX"):
            column = np.repeat(source.columns[label], len(copies))
            tally.equal("words that do not change", found.columns[label], column)
        depths = oracle.depths(source, copies) * bool(center)
        for label in ("rlnDefocusU", "rlnDefocusV"):
            expected = np.repeat(source.columns[label].astype(float), len(copies)) + depths
            tally.numbers("--defocus", found.columns[label].astype(float), expected, 1e-5)


@slow
def test_priors_of_tilt_and_psi_alone(rng, run, tally, listed):
    priors = angles_of(rng, "rlnAngle{}Prior")
    del priors["rlnAngleRotPrior"]
    source = write_relion(rng, **priors)
    tilt_psi = ("Tilt", "Psi")
    for flags, operators in RELION:
        operators = listed(operators, f"--convention=relion {flags}")
        run(f"expand p.star e.star --overwrite {flags}")
        before, after = (
            oracle.numbers_of(read_relion(path).columns, "rlnAngle{}Prior", tilt_psi)
            for path in ("p.star", "e.star")
        )
        for row, (tilt, psi) in enumerate(after):
            i, (R, _) = row // len(operators), operators[row % len(operators)]
            A = oracle.of_angles(float(source.columns["rlnAngleRot"][i]), *before[i])
            axis = oracle.of_angles(0, tilt, psi)[:, 2]  # where z of the map goes
            tally.numbers("priors of tilt and psi", axis, (A @ R)[:, 2], 1e-7)


def test_origins_in_pixels(rng, run, tally, listed):
    """RELION 3.0: no optics, origins in pixels of detector size / magnification."""
    columns = relion_columns(rng) | {"rlnDetectorPixelSize": [5.0] * 4}
    columns |= {"rlnMagnification": [40000.0] * 4}
    for axis in "XY":
        columns[f"rlnOrigin{axis}"] = columns.pop(f"rlnOrigin{axis}Angst")
    del columns["rlnOpticsGroup"]
    write_star("p.star", **{"": columns})
    for flags, operators in RELION:
        operators = listed(operators, f"--convention=relion {flags}")
        run(f"expand p.star e.star --overwrite {AT_CENTER} {flags}")
        before, after = (read_relion(path, shift="rlnOrigin{}") for path in ("p.star", "e.star"))
        for poses in (before, after):
            poses.shift *= 1.25
        tally.poses("origins in pixels", after, mates(before, operators, CENTER), **TEXT)


@pytest.mark.parametrize("case", first_is_fast(range(len(CRYOSPARC))))
@pytest.mark.parametrize("way", first_is_fast(TURNS[:2]))
def test_particles_of_cryosparc(case, way, rng, run, tally, listed):
    flags, operators = CRYOSPARC[case]
    operators = listed(operators, flags)
    rows = write_cs(rng)
    for center, centers in (("", [oracle.NO_CENTER]), (AT_CENTER, [CENTER]), (AT_CENTERS, CENTERS)):
        more, Q = way if center else ("", None)
        copies = oracle.copies_about(operators, centers, Q)
        run(f"expand p.cs e.cs --overwrite {flags} {center} {more}")
        found = np.load("e.cs")
        for slot, item in ONE_OF:
            kind = ".cs to .cs" if slot == SLOTS[0] else "further poses of a .cs"
            expected = subparticles(slot_poses(rows, slot, item), copies)
            tally.poses(kind, slot_poses(found, slot, item), expected, **SINGLE)
        helical = SCREW in flags
        for name, value in {
            "sym_expand/src_uid": np.repeat(rows["uid"], len(copies)),
            "sym_expand/idx": np.tile(np.arange(len(copies)), 4),
            "sym_expand/is_helix": np.full(len(found), helical),
            "sym_expand/helix_twist_rad": np.full(len(found), math.radians(-166.7) * helical),
            "sym_expand/helix_rise_A": np.full(len(found), 27.3 * helical),
            "sym_expand/helix_num_rises": np.full(len(found), 3 * helical),
        }.items():
            tally.numbers("sym_expand/", found[name], value, 1e-5 if name[-1] in "dA" else 0)
        for name in (*(f"{slot}/split" for slot in SLOTS), "ctf/df1_A", "blob/idx"):
            column = np.repeat(rows[name], len(copies))
            tally.numbers("fields that do not change", found[name], column)


@slow
@pytest.mark.parametrize("case", range(len(CRYOSPARC)))
def test_from_cryosparc_to_relion_and_back(case, rng, run, tally, listed):
    flags, operators = CRYOSPARC[case]
    operators = listed(operators, flags)
    rows = write_cs(rng)
    source = slot_poses(rows)
    every = mates(source, operators, CENTER)
    run(f"expand p.cs e.h5 {flags} {AT_CENTER}")
    run(f"expand p.cs e.star {flags} {AT_CENTER}")
    for line in (
        "export e.h5 of_h5.star",
        "export e.h5 of_h5.cs",
        "export e.star of_star.cs",
        "export p.cs p.star",
        "export p.star back.cs",
        "import p.cs p.h5",
        "import p.star star.h5",
        "export p.h5 of_p_h5.star",
        "export star.h5 of_star_h5.cs",
    ):
        run(line)
    for name in ("e.star", "of_h5.star"):
        found = read_relion(name)
        tally.poses("expanded .cs to .star", found, every, **SINGLE)
        subset = np.repeat(rows["alignments3D/split"], len(operators)) + 1
        tally.equal("half-sets", found.columns["rlnRandomSubset"], subset.astype(str))
        uid = np.repeat(rows["uid"], len(operators)).astype(str)
        tally.equal("symexpSource", found.columns["symexpSource"], uid)
    for name in ("of_h5.cs", "of_star.cs"):
        tally.poses("expanded, to .cs", slot_poses(np.load(name)), every, **SINGLE)
    for name in ("p.star", "of_p_h5.star"):
        tally.poses(".cs to .star", read_relion(name), source, **SINGLE)
    for name in ("back.cs", "of_star_h5.cs"):
        tally.poses(".star to .cs", slot_poses(np.load(name)), source, **SINGLE)
    for name in ("p.star", "back.cs", "star.h5"):  # a converted set keeps its convention
        run(f"expand {name} again.star --overwrite {flags} {AT_CENTER}")
        tally.poses("converted, then expanded", read_relion("again.star"), every, **SINGLE)


@slow
@pytest.mark.parametrize("case", range(len(RELION)))
def test_from_relion_to_cryosparc(case, rng, run, tally, listed):
    """Two optics groups with pixel sizes of their own, into HDF5 and .cs, and expanded there."""
    flags, operators = RELION[case]
    operators = listed(operators, f"--convention=relion {flags}")
    source = write_relion(rng)
    every = mates(source, operators, CENTER)
    psize = np.array([1.06, 2.12, 1.06, 2.12])
    run("import p.star p.h5")
    run("export p.star p.cs")
    tally.poses("optics groups into HDF5", read_h5("p.h5", psize), source, **DOUBLE)
    tally.poses("optics groups into .cs", slot_poses(np.load("p.cs")), source, **SINGLE)
    for name in ("p.star", "p.h5"):
        run(f"expand {name} e.h5 --overwrite {flags} {AT_CENTER}")
        found = read_h5("e.h5", np.repeat(psize, len(operators)))
        tally.poses("optics groups, expanded", found, every, **DOUBLE)
        run("export e.h5 e.star --overwrite")
        run("export e.h5 e.cs --overwrite")
        tally.poses("expanded, to .star", read_relion("e.star"), every, **TEXT)
        tally.poses("expanded, to .cs", slot_poses(np.load("e.cs")), every, **SINGLE)
    run(f"expand p.cs again.cs {flags} {AT_CENTER}")
    tally.poses("converted, then expanded", slot_poses(np.load("again.cs")), every, **SINGLE)


def test_images_of_the_particles(rng, run, tally, listed):
    """An expanded .cs, joined with full-size images of its particles: shifts in A stay."""
    small = write_cs(rng)
    full = {name: small[name][::-1] for name in small.dtype.names}
    save_cs("full.cs", full | {"blob/psize_A": np.full(4, 0.33, "f4")})
    run(f"expand p.cs e.cs --symmetry=D3 {AT_CENTER}")
    run("import e.cs full.cs joined.h5")
    psize = oracle.columns_of("joined.h5")["alignments3D/psize_A"].astype(float)
    expected = mates(slot_poses(small), listed(symmetry("D3"), "--symmetry=D3"), CENTER)
    tally.poses("joined with images", read_h5("joined.h5", psize), expected, **SINGLE)
    tally.numbers("psize_A of the images", psize, np.full(24, 0.33), 1e-7)


# Subtomograms


@pytest.mark.parametrize("case", first_is_fast(range(len(RELION))))
def test_subtomograms_of_relion(case, rng, run, tally, listed):
    flags, operators = RELION[case]
    operators = listed(operators, f"--convention=relion {flags}")
    for without in ((), ("TomoSubtomogram",), ("rlnAngle", "rlnOrigin")):
        columns = write_tomo(rng, *without)
        if "rlnAngle" in without:
            words = {label: np.array(column) for label, column in columns.items()}
            source = Poses(np.tile(np.eye(3), (4, 1, 1)), np.zeros((4, 3)), words)
        else:
            source = read_tomo("tomo.star")
        for more, Q in TURNS[:2]:
            copies = oracle.copies_about(operators, CENTERS, Q)
            every = subparticles(source, copies)
            words = f"{flags} {AT_CENTERS} {more}"
            run(f"expand tomo.star e.star --overwrite {words}")
            found = read_tomo("e.star")
            tally.poses("subtomograms of RELION", found, every, **TEXT)
            for label in ("rlnCoordinateX", "rlnCenteredCoordinateZAngst"):
                stay = np.repeat(columns[label], len(copies))
                tally.numbers("coordinates stay", found.columns[label].astype(float), stay)
            names = found.columns["rlnTomoParticleName"].tolist()
            assert len(set(names)) == len(names)
            tally.equal("names", names[:: len(copies)], columns["rlnTomoParticleName"])
            # Baked: every copy is at coordinate - A_sub o', and its origin is 0.
            run(f"expand tomo.star b.star --overwrite --recenter=coordinates {words}")
            baked = read_tomo("b.star")
            tally.numbers("origins, baked", baked.shift.ravel(), np.zeros(baked.shift.size))
            A_sub = np.repeat(oracle.cut_out(source), len(copies), axis=0)
            moved = np.array([B @ o for B, o in zip(A_sub, every.shift, strict=True)])
            px = np.array((1.35, 1.7))[columns["rlnOpticsGroup"] - 1]
            for label, unit in (
                ("rlnCoordinate{}", np.repeat(px, len(copies))[:, None]),
                ("rlnCenteredCoordinate{}Angst", 1.0),
            ):
                before = np.array([columns[label.format(axis)] for axis in "XYZ"]).T
                at = np.repeat(before, len(copies), axis=0) - moved / unit
                found = Poses(baked.A, oracle.numbers_of(baked.columns, label, "XYZ"))
                tally.poses("subtomograms, baked", found, Poses(every.A, at), **TEXT)


@slow
def test_subtomograms_with_origins_in_pixels(rng, run, tally, listed):
    columns = tomo_columns(rng)
    for axis in "XYZ":
        columns[f"rlnOrigin{axis}"] = columns.pop(f"rlnOrigin{axis}Angst")
    write_star("tomo.star", optics=TOMO_OPTICS, particles=columns)
    psize = np.array([[5.4], [3.4], [5.4], [3.4]])
    for flags, operators in RELION:
        operators = listed(operators, f"--convention=relion {flags}")
        run(f"expand tomo.star e.star --overwrite {AT_CENTER} {flags}")
        before, after = (
            read_relion(path, shift="rlnOrigin{}", axes="XYZ") for path in ("tomo.star", "e.star")
        )
        before.shift *= psize
        after.shift *= np.repeat(psize, len(operators), axis=0)
        tally.poses("subtomograms of RELION", after, mates(before, operators, CENTER), **TEXT)


@pytest.mark.parametrize("case", first_is_fast(range(len(RELION))))
def test_dynamo_and_m(case, rng, run, tally, listed):
    flags, operators = RELION[case]
    operators = listed(operators, f"--convention=relion {flags}")
    write_dynamo(rng)
    source = read_dynamo("p.tbl")
    for more, Q in TURNS[:2]:
        copies = oracle.copies_about(operators, CENTERS, Q)
        run(f"expand p.tbl e.tbl --overwrite {flags} {AT_CENTERS} {more}")
        run(f"expand p.tbl e.h5 --overwrite {flags} {AT_CENTERS} {more}")
        run("export e.h5 of_h5.tbl --overwrite")
        for name in ("e.tbl", "of_h5.tbl"):
            found = read_dynamo(name)
            tally.poses("tables of Dynamo", found, subparticles(source, copies), **TEXT)
            assert len(set(found.columns[1])) == len(found)
            tally.numbers("tags", found.columns[1][:: len(copies)], TAGS)
            tally.numbers("otag", found.columns[31], np.repeat(TAGS, len(copies)))
            for number in (20, 24, 25, 26):
                stay = np.repeat(source.columns[number], len(copies))
                tally.numbers("coordinates stay", found.columns[number], stay, 1e-5)
        for angles, moments in ((1, 1), (2, 2), (1, 3)):
            write_m(rng, angles, moments)
            run(f"expand m.star e.star --overwrite {flags} {AT_CENTERS} {more}")
            for time in range(1, moments + 1):
                of = min(time, angles)
                expected = subparticles(read_m("m.star", of, time), copies)
                tally.poses("particles of M", read_m("e.star", of, time), expected, **TEXT)


def test_between_programs_of_tomography(rng, run, tally, listed):
    """Poses and places in the tomogram stay what they are, converted and expanded."""
    rough = {"angle": 1e-6, "shift_A": 1e-4}
    write_tomo(rng, "Centered")
    write_dynamo(rng)
    tomo, dynamo = (oracle.in_tomogram(name) for name in ("tomo.star", "p.tbl"))
    for line in (
        "export tomo.star of_tomo.tbl",
        "export p.tbl of_dynamo.star",
        "export tomo.star m_of_tomo.star --program=m",
        "export p.tbl m_of_dynamo.star --program=m",
        "export m_of_dynamo.star back.tbl --psize=2.7",
    ):
        run(line)
    for name, read, expected in (
        ("of_tomo.tbl", oracle.in_tomogram, tomo),
        ("of_dynamo.star", oracle.in_tomogram, dynamo),
        ("m_of_tomo.star", read_m, tomo),
        ("m_of_dynamo.star", read_m, dynamo),
        ("back.tbl", oracle.in_tomogram, dynamo),
    ):
        tally.poses("subtomograms, converted", read(name), expected, **rough)
    found = read_tomo("of_dynamo.star")
    for row, (_, angles) in KNOWN.items():
        known = oracle.of_angles(*angles)
        tally.numbers("known angles of Dynamo", found.A[row].ravel(), known.ravel(), 1e-6)
    for flags, operators in RELION:
        operators = listed(operators, f"--convention=relion {flags}")
        for before, after, source in (
            ("tomo.star", "e.tbl", tomo),
            ("p.tbl", "e.star", dynamo),
        ):
            run(f"expand {before} {after} --overwrite {AT_CENTER} {flags}")
            every = mates(source, operators, CENTER)
            tally.poses("subtomograms, expanded", oracle.in_tomogram(after), every, **rough)


# Micrographs


def check_baked(tally, kind, before, after, px, fine, flipped=False):
    """Compare (places in pixels, poses): whole pixels moved, and the rest stays as the shift."""
    sign = np.array([1, -1 if flipped else 1])
    steps = after[0] - before[0]
    rest = after[1].shift / px[:, None]
    assert (abs(rest) <= 0.5 + fine).all()
    tally.numbers(f"{kind}, whole pixels", steps.ravel(), steps.round().ravel(), fine)
    off = sign * (rest - before[1].shift / px[:, None])
    tally.numbers(f"{kind}, places", steps.ravel(), off.ravel(), fine)
    moved = Poses(before[1].A, before[1].shift + sign * steps.round() * px[:, None])
    tally.poses(f"{kind}", after[1], moved, 1e-6, 1e-4)
    return sign * steps.round() * px[:, None]


@pytest.mark.parametrize("case", first_is_fast(range(len(RELION))))
def test_coordinates_of_relion(case, rng, run, tally, listed):
    flags, operators = RELION[case]
    copies = oracle.copies_about(listed(operators, f"--convention=relion {flags}"), CENTERS)
    source = write_relion(rng, **priors_of(rng))
    run(f"expand p.star b.star --recenter=coordinates {AT_CENTERS} {flags}")
    found = read_relion("b.star")
    before, after = (
        oracle.numbers_of(poses.columns, "rlnCoordinate{}", "XY") for poses in (source, found)
    )
    before = np.repeat(before, len(copies), axis=0), subparticles(source, copies)
    px = np.repeat([0.53, 1.06, 0.53, 1.06], len(copies))
    moved = check_baked(tally, "baked .star", before, (after, found), px, 1e-5)
    priors = subparticles(read_priors("p.star"), copies)
    priors.shift += moved
    tally.poses("baked .star, priors", read_priors("b.star"), priors, **TEXT)


def places_of_cs(rows, flip=False):
    """Where particles of CryoSPARC stand on their micrograph (px); y may count from below."""
    x, y = (rows[f"location/center_{axis}_frac"].astype(float) for axis in "xy")
    height, width = rows["location/micrograph_shape"].astype(float).T
    return np.array([x * width, (1 - y if flip else y) * height]).T


@pytest.mark.parametrize("case", first_is_fast(range(len(CRYOSPARC))))
def test_coordinates_of_cryosparc(case, rng, run, tally, listed):
    flags, operators = CRYOSPARC[case]
    copies = oracle.copies_about(listed(operators, flags), CENTERS)
    rows = write_cs(rng)
    every, px = subparticles(slot_poses(rows), copies), np.full(4 * len(copies), 0.66)
    line = f"--recenter=coordinates {AT_CENTERS} {flags}"
    run(f"expand p.cs b.cs {line}")
    found = np.load("b.cs")
    before = np.repeat(places_of_cs(rows), len(copies), axis=0), every
    after = places_of_cs(found), slot_poses(found)
    moved = check_baked(tally, "baked .cs", before, after, px, 2e-3)
    for slot, item in ONE_OF[1:]:
        expected = subparticles(slot_poses(rows, slot, item), copies)
        expected.shift += moved
        tally.poses("baked .cs, further poses", slot_poses(found, slot, item), expected, **SINGLE)
    for flip, word in ((True, "flipped"), (False, "same")):
        run(f"expand p.cs b.star --overwrite --coordinates_y={word} {line}")
        star = read_relion("b.star")
        before = np.repeat(places_of_cs(rows, flip), len(copies), axis=0), every
        after = oracle.numbers_of(star.columns, "rlnCoordinate{}", "XY"), star
        check_baked(tally, f".cs to baked .star, {word}", before, after, px, 1e-3, flip)


@pytest.mark.parametrize("case", first_is_fast(range(len(RELION))))
def test_coordinates_from_relion_to_cryosparc(case, rng, run, tally, listed):
    flags, operators = RELION[case]
    copies = oracle.copies_about(listed(operators, f"--convention=relion {flags}"), CENTERS)
    source = write_relion(rng)
    place = oracle.numbers_of(source.columns, "rlnCoordinate{}", "XY")
    every, px = subparticles(source, copies), np.repeat([0.53, 1.06, 0.53, 1.06], len(copies))
    for word in ("flipped", "same"):
        run(f"export p.star p.cs --overwrite --micrograph_px=4096,4000 --coordinates_y={word}")
        plain = np.load("p.cs")
        found = places_of_cs(plain, word == "flipped").ravel()
        tally.numbers(".star to .cs, places", found, place.ravel(), 1e-3)
    more = "--recenter=coordinates --micrograph_px=4096,4000 --coordinates_y=same"
    run(f"expand p.star b.cs {more} {AT_CENTERS} {flags}")
    found = np.load("b.cs")
    before = np.repeat(places_of_cs(plain), len(copies), axis=0), every
    after = places_of_cs(found), slot_poses(found)
    check_baked(tally, ".star to baked .cs", before, after, px, 2e-3)


# After a classification


@pytest.mark.parametrize("keep", first_is_fast(["max", "min"]))
def test_best_copies(keep, rng, run, tally, listed):
    """`collapse --by`: pose and shift of the best copy."""
    rows = write_cs(rng, 12)
    operators = listed(symmetry("D3"), "--symmetry=D3")
    every = mates(slot_poses(rows), operators, CENTER)
    run(f"expand p.cs e.h5 --symmetry=D3 {AT_CENTER}")
    run("export e.h5 e.cs")
    run("export e.h5 e.star")
    score = rng.uniform(size=72).astype("f4")
    stay = np.sort(rng.permutation(72)[:50])
    with_column("e.cs", "c.cs", "alignments3D/error", score, stay[::-1])
    star = read_star("e.star")
    particles = {label: column[stay] for label, column in star["particles"].items()}
    particles["rlnMaxValueProbDistribution"] = score[stay].astype(float)
    write_star("c.star", optics=star["optics"], particles=particles)
    best = {}
    for row in sorted(stay, key=lambda row: score[row], reverse=keep == "min"):
        best[int(row) // 6] = int(row)  # the last one is the best
    left = sorted(best)
    of_best = [best[i] for i in left]
    expected = every.of(of_best)
    psize = rows["alignments3D/psize_A"].astype(float)[left]
    for name, by in (("c.cs", "alignments3D/error"), ("c.star", "rlnMaxValueProbDistribution")):
        for suffix, read in (
            ("h5", lambda path: read_h5(path, psize)),
            ("star", read_relion),
            ("cs", lambda path: slot_poses(np.load(path))),
        ):
            line = f"--expanded=e.h5 --by={by} --keep={keep} --overwrite"
            run(f"collapse {name} best.{suffix} {line}")
            tally.poses("collapse --by", read(f"best.{suffix}"), expected, **SINGLE)
        for slot, item in ONE_OF[1:]:
            turned = mates(slot_poses(rows, slot, item), operators, CENTER).of(of_best)
            found = slot_poses(np.load("best.cs"), slot, item)
            tally.poses("collapse --by, further poses", found, turned, **SINGLE)
        columns = oracle.columns_of("best.h5")
        tally.numbers("best operators", columns["operator_index"], [best[i] % 6 for i in left])
        copies = Counter(int(row) // 6 for row in stay)
        tally.numbers("copies", columns["copies"], [copies[i] for i in left])


@slow
def test_copies_of_another_program(rng, run, tally, listed):
    """`match` names copies in any order, and `collapse --source` takes the best of them."""
    for flags, operators in RELION:
        operators = listed(operators, f"--convention=relion {flags}")
        order = len(operators)
        source = write_relion(rng, 12)
        permuted = [0, *(1 + rng.permutation(order - 1))]
        every = mates(source, [operators[number] for number in permuted])
        angles = [oracle.angles_of(A) for A in every.A]
        columns = {label: np.repeat(column, order) for label, column in source.columns.items()}
        for k, part in enumerate(oracle.ANGLES):
            columns[f"rlnAngle{part}"] = np.array([row[k] for row in angles])
        for k, axis in enumerate("XY"):
            columns[f"rlnOrigin{axis}Angst"] = every.shift[:, k].round(6)
        score = rng.uniform(size=12 * order)
        columns["rlnMaxValueProbDistribution"] = score
        write_star("foreign.star", optics=OPTICS, particles=columns)
        said = json.loads(run(f"match foreign.star --json --convention=relion {flags}"))
        tally.equal("match", [one["operator"] for one in said["copies"]], permuted)
        if SCREW not in flags:
            by = "--by=rlnMaxValueProbDistribution"
            run(f"collapse foreign.star best.star --overwrite --source=p.star {by}")
            best = [i * order + score[i * order : (i + 1) * order].argmax() for i in range(12)]
            tally.poses("collapse --source", read_relion("best.star"), every.of(best), **TEXT)


REORIENTED = [  # flags, Q
    ("--axis=0.3,0.1,0.95 --to=z", smallest_turn((0.3, 0.1, 0.95), Z)),
    ("--flip", turn(X, 180)),
    ("--axis=z --to=x", smallest_turn(Z, X)),
    ("--axis=-1,0.2,3 --to=1,1,-0.5", smallest_turn((-1, 0.2, 3), (1, 1, -0.5))),
    ("--axis=0,0,-1 --to=z", turn(X, 180)),
    ("--matrix=0,1,0,0,0,1,1,0,0", np.array([[0, 1.0, 0], [0, 0, 1], [1, 0, 0]])),
]
REGROUPED = [("I1", "I2"), ("I2", "I3"), ("I4", "I1"), ("cryosparc:D7", "relion:D7")]
REGROUPED += [("chimerax:T", "relion:T"), ("relion:T", "eman2:tet")]


@slow
def test_reoriented_particles(rng, run, tally):
    rows = write_cs(rng)
    write_relion(rng, **priors_of(rng), rlnHelicalTrackLengthAngst=[0.0, 27.3, 30.0, 40.0])
    write_tomo(rng)
    write_dynamo(rng)
    write_m(rng)
    write_h5(rng, 4, "euler_zyz", "f8", 3, psize=1.5)
    h5 = {"pose_format": "euler_zyz", "psize": 1.5}
    for flags, Q in REORIENTED:
        for name, read, more in (
            ("p.star", read_relion, ""),
            ("p.star", read_priors, ""),
            ("tomo.star", read_tomo, ""),
            ("p.tbl", read_dynamo, ""),
            ("m.star", read_m, ""),
            ("p.h5", lambda path: read_h5(path, **h5), "--pose_format=euler_zyz"),
        ):
            run(f"reorient {name} o_{name} --overwrite {AT_CENTER} {flags} {more}")
            expected = oracle.turned(read(name), Q, np.array(CENTER))
            tally.poses("reorient", read(f"o_{name}"), expected, 1e-7, 1e-5)
        run(f"reorient p.cs o.cs --overwrite {AT_CENTER} {flags}")
        for slot, item in ONE_OF:
            expected = oracle.turned(slot_poses(rows, slot, item), Q, np.array(CENTER))
            tally.poses("reorient", slot_poses(np.load("o.cs"), slot, item), expected, **SINGLE)
    run("reorient p.star o_p.star --overwrite --flip")
    track = read_star("o_p.star")["particles"]["rlnHelicalTrackLengthAngst"].astype(float)
    tally.numbers("track lengths", track, [0, -27.3, -30, -40])
    source = read_relion("p.star")
    for names in REGROUPED:
        run("reorient p.star o_p.star --overwrite --from_group={} --to_group={}".format(*names))
        found = read_relion("o_p.star")
        Q = found.A[0].T @ source.A[0]
        tally.poses("reorient, groups", found, oracle.turned(source, Q), **TEXT)
        words = [name.rpartition(":") for name in names]
        old, new = (symmetry(group, program or "cryosparc") for program, _, group in words)
        order = oracle.which([(Q @ R @ Q.T, t) for R, t in old], new, 1e-6)
        tally.numbers("reorient, groups", sorted(order), range(len(new)))


@pytest.mark.parametrize("moved", [False, True])
def test_transferred_poses(moved, rng, run, tally):
    """Shifts in A stay; where the boxes moved on the micrograph, they count from the new place."""
    full = write_cs(rng, 8, "full.cs")
    given = {"uid": full["uid"]}
    for name in ("location/center_x_frac", "location/center_y_frac"):
        given[name] = full[name] + rng.uniform(-0.002, 0.002, 8).astype("f4") * moved
    small = write_cs(rng, 8, "small.cs", **given)
    stay = rng.permutation(8)[:6]
    with_column("small.cs", "small.cs", "uid", small["uid"], stay)
    run("transfer small.cs full.cs out.cs")
    found, rows = np.load("out.cs"), np.sort(stay)
    expected = slot_poses(small).of(rows)
    expected.shift = expected.shift + (places_of_cs(full) - places_of_cs(small))[rows] * 0.66
    tally.poses("transfer", slot_poses(found), expected, 1e-6, 1e-3)
    for name in ("uid", "blob/idx", "ctf/df1_A", "alignments3D/psize_A"):
        tally.numbers("transfer, columns of the target", found[name], full[name][rows])


def test_transferred_poses_of_subtracted_images(rng, run, tally):
    """RELION's Subtract moved each image by ROUND(s - A c) px, of the old pose."""
    old = write_relion(rng, 9, "full.star")
    images = [f"{number:06d}@subtracted.mrcs" for number in range(1, 10)]
    same = {label: old.columns[label] for label in ("rlnCoordinateX", "rlnCoordinateY")}
    originals = {"rlnImageName": images, "rlnImageOriginalName": old.columns["rlnImageName"]}
    new = write_relion(rng, 9, "sub.star", **same, **originals)
    run("transfer sub.star full.star out.star --subtracted_center=40,0,-12.5")
    px = np.array([1.06, 2.12] * 5)[:9, None]
    steps = oracle.turned(old, np.eye(3), np.array((40, 0, -12.5))).shift / px
    found = read_relion("out.star")
    expected = Poses(new.A, new.shift + steps.round() * px)
    tally.poses("transfer, subtracted", found, expected, **TEXT)
    names = found.columns["rlnImageName"]
    tally.equal("transfer, columns of the target", names, old.columns["rlnImageName"])


# Choices of rows


def chosen_rows(path="s.h5"):
    """(particle, operator) of the rows of an expanded HDF5 table."""
    columns = oracle.columns_of(path)
    names = ("source_index", "operator_index")
    return list(zip(*(columns[name].tolist() for name in names), strict=True))


def first_come(order, near):
    """Rows that stay: a row goes when one that stays and comes before it is near."""
    stay = []
    for row in order:
        if not any(near(row, other) for other in stay):
            stay.append(row)
    return sorted(stay)


def degrees_between(A, B):
    """Angle between two poses."""
    return math.degrees(2 * math.asin(min(1.0, np.linalg.norm(A - B) / math.sqrt(8))))


@slow
@pytest.mark.parametrize("case", [0, 1, 3])
def test_selected_rows(case, rng, run, tally, listed):
    flags, operators = CRYOSPARC[case]
    centers = (CENTER, (0.0, 25.0, 5.0))
    copies = oracle.copies_about(listed(operators, flags), centers, TURNS[0][1])
    paths = np.array([b"m/1.mrc", b"m/2.mrc"] * 5)
    x = rng.uniform(0, 0.06, 10).astype("f4")
    rows = write_cs(rng, 10, **{"location/micrograph_path": paths, "location/center_x_frac": x})
    run(f"expand p.cs e.h5 --center=31,-12.5,20;0,25,5 --align --defocus=minus {flags}")
    every, order = subparticles(slot_poses(rows), copies), len(copies)
    everything = range(10 * order)
    particle = [row // order for row in everything]
    df1 = oracle.columns_of("e.h5")["ctf/df1_A"].astype(float)
    best = sorted(everything, key=lambda row: (-df1[row], row))
    place = np.repeat(places_of_cs(rows) * 0.66, order, axis=0) - every.shift
    view = oracle.views(slot_poses(rows), copies)

    def distance(points, row, other):
        return float(np.linalg.norm(points[row] - points[other]))

    def in_particle(row, other):
        return particle[row] == particle[other] and distance(every.shift, row, other) < 24.6

    def in_micrograph(row, other):
        alike = particle[row] % 2 == particle[other] % 2
        return alike and distance(place, row, other) < 60

    def alike(row, other):
        angle = degrees_between(every.A[row], every.A[other])
        return in_particle(row, other) and angle < 55

    def inside(row):
        return all(
            19.8 <= x <= high - 19.8 for x, high in zip(place[row], (2640, 1980), strict=True)
        )

    score = "--score=ctf/df1_A"
    for criteria, expected in [
        ("--operators=0,2,3", [r for r in everything if r % (order // 2) in (0, 2, 3)]),
        ("--centers=1", [row for row in everything if row % order >= order // 2]),
        ("--half=2", [row for row in everything if particle[row] % 2]),
        ("--view=0-40", [row for row in everything if view[row] <= 40]),
        ("--view=70-110", [row for row in everything if 70 <= view[row] <= 110]),
        ("--where=ctf/df1_A=12000..15000", [r for r in everything if 12e3 <= df1[r] <= 15e3]),
        ("--inside --edge_px=30", [row for row in everything if inside(row)]),
        ("--one_per_particle", [row for row in everything if row % order == 0]),
        (f"--one_per_particle {score}", first_come(best, lambda r, o: particle[r] == particle[o])),
        ("--min_distance_A=24.6", first_come(everything, in_particle)),
        (f"--min_distance_A=24.6 {score}", first_come(best, in_particle)),
        (f"--min_distance_A=60 --within=micrograph {score}", first_come(best, in_micrograph)),
        ("--same_pose=24.6,55", first_come(everything, alike)),
    ]:
        run(f"select e.h5 s.h5 --overwrite {criteria}")
        assert 0 < len(expected) < len(everything) or "same_pose" in criteria, criteria
        kind = f"select {criteria.partition('=')[0]}"
        tally.equal(kind, chosen_rows(), [(particle[row], row % order) for row in expected])
        psize = rows["alignments3D/psize_A"].astype(float)[[particle[row] for row in expected]]
        tally.poses("select", read_h5("s.h5", psize), every.of(expected))
        run("verify s.h5")
    run("select e.h5 s.h5 --overwrite --min_distance_A=24.6 --random=1")
    stay = [i * order + g for i, g in chosen_rows()]
    near = [any(in_particle(row, other) for other in stay if other != row) for row in everything]
    tally.equal("select --random", near, [row not in stay for row in everything])


def test_copies_that_converged(rng, run, tally):
    """`select --same_pose`: of copies of a particle that went to one place and view, one stays."""
    write_cs(rng, 10)
    run("expand p.cs e.cs --symmetry=D3")
    table = np.load("e.cs")
    for row in range(60):
        if row % 6 in (1, 2, 4):
            pose = table["alignments3D/pose"][row - 1] + rng.normal(0, 0.03, 3)
            table["alignments3D/pose"][row] = pose
            table["alignments3D/shift"][row] += rng.normal(0, 1, 2)
    with open("c.cs", "wb") as file:
        np.save(file, table)
    poses = slot_poses(table)

    def alike(row, other):
        near = np.linalg.norm(poses.shift[row] - poses.shift[other]) < 2
        angle = degrees_between(poses.A[row], poses.A[other])
        return row // 6 == other // 6 and near and angle < 4

    expected = first_come(range(60), alike)
    assert 30 < len(expected) < 60
    run("select c.cs s.cs --same_pose=2,4")
    tally.equal("select --same_pose", np.load("s.cs")["uid"], table["uid"][expected])


# Arrangements

LABELED = [  # group, labels, share of copies that are missing, center, unique
    ("D3", 3, 0.1, CENTER, False),
    ("C4", 3, 0.0, None, False),
    ("D2", 2, 0.0, None, False),
    ("D3", 2, 0.0, CENTER, False),
    ("D7", 2, 0.05, None, False),
    ("T", 2, 0.0, None, False),
    ("O", 2, 0.0, (0, 0, 20.0), True),
    ("O", 2, 0.1, (0, 0, 20.0), True),
    ("I1", 2, 0.0, (0, 10.0, 10 * PHI), True),
]


@pytest.mark.parametrize("case", first_is_fast(LABELED))
def test_arrangements(case, rng, run, tally, listed):
    name, kinds, missing, center, unique = case
    rows = write_cs(rng, 60)
    operators = listed(symmetry(name), f"--symmetry={name}")
    flags = f"--symmetry={name}" + " --unique" * unique
    flags += f" --center={','.join(map(str, center))}" if center else ""
    run(f"expand p.cs e.h5 {flags}")
    run(f"expand p.cs e.cs {flags}")
    _, sites = oracle.stored_operators("e.h5")
    count = len(sites)
    acts = oracle.action(operators, sites, np.array(center) if unique else None)
    labels = (rng.uniform(size=60 * count) ** 1.5 * kinds).astype("u4")
    stay = np.flatnonzero(rng.uniform(size=60 * count) >= missing)
    with_column("e.cs", "c.cs", "alignments3D/class", labels, stay)
    came = [{} for _ in range(60)]
    for row in stay.tolist():
        came[row // count][row % count] = int(labels[row])
    said = json.loads(run("arrange c.cs --expanded=e.h5 --json --output=turned.cs"))

    # Arrangements; a label that is missing comes last.
    orbits = [oracle.orbit([one.get(site, kinds) for site in range(count)], acts) for one in came]
    patterns = [min(labelings) for labelings in orbits]
    seen = Counter(patterns)
    complete = [pattern for pattern in patterns if kinds not in pattern]
    alike = Counter(tuple(sorted(pattern)) for pattern in complete)
    frequency = np.bincount(labels[stay]) / len(stay)
    told = said["arrangements"] + said["incomplete"]
    assert len(told) + said["further"][0] + said["further_incomplete"][0] == len(seen)
    possible = oracle.possible_arrangements(acts, kinds)
    tally.equal("arrange", (said["complete"], said["possible"]), (len(complete), possible))
    for one in told:
        pattern = tuple(kinds if word == "-" else int(word) for word in one["pattern"])
        tally.equal("arrange, particles of a pattern", [one["particles"]], [seen[pattern]])
        if kinds in pattern:
            continue
        size = len(set(oracle.orbit(pattern, acts)))
        independent = len(complete) * size * math.prod(frequency[label] for label in pattern)
        ways = math.factorial(count)
        for number in Counter(pattern).values():
            ways //= math.factorial(number)
        trials, q = alike[tuple(sorted(pattern))], size / ways
        tally.equal("arrange, orbits", [one["orbit"]], [size])
        tally.numbers("arrange, if independent", [one["expected"]], [independent], 1e-8)
        tally.numbers("arrange, given counts", [one["expected_given_counts"]], [trials * q], 1e-8)
        if q < 1:
            score = (seen[pattern] - trials * q) / math.sqrt(trials * q * (1 - q))
            tally.numbers("arrange, scores", [one["score"]], [score], 1e-6)
        check_own_symmetry(tally, one["symmetry"], pattern, acts, operators)

    # Pairs.
    tests, classes = 0, oracle.relations(acts)
    assert len(said["pairs"]) == len(classes) * math.comb(kinds + 1, 2)
    for one in said["pairs"]:
        edges = next(edges for edges in classes if tuple(sorted(one["sites"])) in edges)
        tally.equal("arrange, site pairs", [one["site_pairs"]], [len(edges)])
        tests += check_pair(tally, one, [(edges, found) for found in came])
        if center:
            u, v = (operators[sites[site]][0] @ center for site in one["sites"])
            tally.numbers("arrange, distances", [one["distance_A"]], [np.linalg.norm(u - v)], 1e-6)
    limit = NormalDist().inv_cdf(1 - 0.025 / tests)
    tally.numbers("arrange, limit", [said["limit"]], [limit], 1e-6)

    # The particles, turned by the first operator that gives their pattern.
    left = [i for i in range(60) if came[i]]
    turns = [operators[orbits[i].index(patterns[i])][0] for i in left]
    for slot, item in ONE_OF:
        source = slot_poses(rows, slot, item).of(left)
        A = np.array([pose @ R for pose, R in zip(source.A, turns, strict=True)])
        found = slot_poses(np.load("turned.cs"), slot, item)
        tally.poses("arrange --output", found, Poses(A, source.shift), **SINGLE)


def check_pair(tally, one, graphs):
    """Compare a row of pairs with the chance on graphs; tell whether it has a score."""
    pairs, mean, variance = oracle.chance_of_pairs(graphs, *map(int, one["labels"]))
    tally.numbers("arrange, pairs", (one["pairs"], one["expected"]), (pairs, mean), 1e-8)
    if variance < 1e-9:
        return False
    score = (pairs - mean) / math.sqrt(variance)
    tally.numbers("arrange, scores", [one["score"]], [score], 1e-6)
    return True


def check_own_symmetry(tally, said, pattern, acts, operators):
    """Compare the own symmetry of an arrangement: its order, and the axis of a cyclic one."""
    labelings = oracle.orbit(pattern, acts)
    group = [R for (R, _), one in zip(operators, labelings, strict=True) if one == pattern]
    name, _, axis = said.partition(" on ")
    order = {"T": 12, "O": 24, "I": 60}.get(name[0]) or int(name[1:]) * (1 + (name[0] == "D"))
    tally.equal("arrange, own symmetry", [order], [len(group)])
    if name[0] == "C" and axis:
        letters = dict(zip("xyz", np.eye(3), strict=True))
        line = letters[axis] if axis in letters else np.array(json.loads(f"[{axis[1:-1]}]"))
        for R in group:
            tally.numbers("arrange, own symmetry", R @ line, line, 2e-3)


def test_pairs_that_are_apart_in_the_image(rng, run, tally, listed):
    rows = write_cs(rng, 30)
    operators = listed(symmetry("D3"), "--symmetry=D3")
    run(f"expand p.cs e.h5 --symmetry=D3 {AT_CENTER}")
    run(f"expand p.cs e.cs --symmetry=D3 {AT_CENTER}")
    labels = rng.integers(0, 2, 180).astype("u4")
    with_column("e.cs", "c.cs", "alignments3D/class", labels)
    said = json.loads(run("arrange c.cs --expanded=e.h5 --json --min_projected_A=35"))
    classes = oracle.relations(oracle.action(operators, range(6)))
    spots = mates(slot_poses(rows), operators, CENTER).shift.reshape(30, 6, 2)
    for one in said["pairs"]:
        edges = next(edges for edges in classes if tuple(sorted(one["sites"])) in edges)
        graphs = []
        for at, found in zip(spots, labels.reshape(30, 6), strict=True):
            far = [(u, v) for u, v in edges if np.linalg.norm(at[u] - at[v]) >= 35]
            graphs.append((far, dict(enumerate(found.tolist()))))
        check_pair(tally, one, graphs)


def test_pairs_along_a_helix(rng, run, tally):
    """Pairs by j' - j, j = round(track length / rise) + k, permuted within the tube."""
    track = (np.arange(24) % 12 * 3 * 27.3 + rng.uniform(-9, 9, 24)).round(3)
    tube = np.repeat([1, 2], 12)
    write_relion(rng, 24, rlnHelicalTubeID=tube, rlnHelicalTrackLengthAngst=track)
    run(f"expand p.star e.h5 {SCREW}")
    run(f"expand p.star e.star {SCREW}")
    units = oracle.columns_of("e.h5", "operators")["rise_index"].tolist()
    labels, stay = rng.integers(1, 3, 72), np.flatnonzero(rng.uniform(size=72) > 0.1)
    star = read_star("e.star")
    particles = {label: column[stay] for label, column in star["particles"].items()}
    write_star("c.star", optics=OPTICS, particles=particles | {"rlnClassNumber": labels[stay]})
    said = json.loads(run("arrange c.star --expanded=e.h5 --json"))
    tubes = {1: {}, 2: {}}
    for row in stay.tolist():
        j = round(track[row // 3] / 27.3) + units[row % 3]
        tubes[int(tube[row // 3])][j] = int(labels[row])
    assert said["pairs"]
    for one in said["pairs"]:
        step = int(one["relation"].rpartition("=")[2])
        graphs = [([(j, j + step) for j in found], found) for found in tubes.values()]
        check_pair(tally, one, graphs)
