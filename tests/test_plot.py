"""plot counts what naive loops count, marks axes where they are, and draws the same every time."""

import itertools
import json
import math
import sys

import h5py
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import (
    PLACES,
    SIDE,
    FileFormatError,
    LengthCounts,
    OutputError,
    Poses,
    SourceError,
    UsageError,
    corners,
    find_columns,
    histogram_text,
    merged,
    on_disc,
    open_subject,
    open_table,
    reach,
    relative_density,
    tally,
    view_statistics,
)
from particle_files import write_cs
from star_files import particles, star_text

from numba_symexp import expand, plot

pytest.importorskip("matplotlib")

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
PNG_MINE = b"\x89PNG\r\n\x1a\nmine"


def written_as(matrix, pose_format):
    """A rotation exp(v) in a pose format, by hand."""
    if pose_format == "matrix":
        return matrix
    if pose_format == "euler_zyz":
        rot, psi = (
            math.atan2(matrix[1, 2], matrix[0, 2]),
            math.atan2(matrix[2, 1], -matrix[2, 0]),
        )
        return np.rad2deg([rot, math.acos(matrix[2, 2]), psi])
    skew = matrix - matrix.T
    axis = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    axis /= np.linalg.norm(axis)
    angle = math.acos((np.trace(matrix) - 1) / 2)
    if pose_format == "rotvec":
        return angle * axis
    return [math.cos(angle / 2), *(math.sin(angle / 2) * axis)]


def naive_cell(direction):
    """Half, row and column of a direction; the disc by its angles, its square by eighths."""
    tilt = math.acos(max(-1, min(1, direction[2])))
    half = int(direction[2] < 0)
    folded = math.pi - tilt if half else tilt
    radius, turn = math.sqrt(2) * math.sin(folded / 2), math.atan2(direction[1], direction[0])
    quarter = round(turn / (math.pi / 2))  # 0 right, 1 up, 2 left, -1 down
    across = (turn - quarter * math.pi / 2) / (math.pi / 4) * radius
    a, b = {0: (radius, across), 1: (-across, radius), -1: (across, -radius)}.get(
        quarter, (-radius, -across)
    )
    column, row = (min(SIDE - 1, math.floor((part + 1) / 2 * SIDE)) for part in (a, b))
    return half, row, column


def naive_tally(matrices, shifts, limit):
    """Cells and places by loops."""
    cells, places = np.zeros((2, SIDE, SIDE), int), np.zeros((PLACES, PLACES), int)
    outside = 0
    for matrix, shift in zip(matrices, shifts, strict=True):
        cells[naive_cell(matrix[:, 2])] += 1
        x, y = (math.floor((part + limit) / (2 * limit) * PLACES) for part in shift)
        if 0 <= x < PLACES and 0 <= y < PLACES:
            places[y, x] += 1
        else:
            outside += 1
    return cells, places, outside


def counted(path, **columns):
    """Tallies of a file, as `plot` makes them."""
    given = {"table": None, "pose": None, "pose_format": "rotvec", "shift": None}
    given |= {"passthrough": (), **columns}
    with open_subject(path, **given) as subject:
        return tally(subject.sets, subject.particles), subject


def even_directions(rng, n):
    """Rotation vectors of even rotations."""
    quaternion = rng.normal(size=(n, 4))
    quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    return 2 * np.arccos(quaternion[:, :1]) * unit(quaternion[:, 1:])


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("pose_format", ["rotvec", "quaternion", "matrix", "euler_zyz"])
def test_counts_are_those_of_loops(pose_format, rng, tmp_path):
    columns = random_columns(rng, 300, np.float64)
    matrices = [naive.exp(v) for v in columns[POSE]]
    columns[POSE] = np.array([written_as(matrix, pose_format) for matrix in matrices])
    columns[SHIFT][:3] = [[50, 0], [0, -50], [1e30, 0]]
    path = write_table(tmp_path / "a.h5", columns)
    (found,), subject = counted(path, pose_format=pose_format)
    shifts = columns[SHIFT] * columns[PSIZE][:, None]
    cells, places, outside = naive_tally(matrices, shifts, found.limit)
    assert np.array_equal(found.cells, cells)
    assert np.array_equal(found.shifts, places)
    assert found.outside == outside >= 1
    assert (found.rows, found.copies, subject.sets[0].unit) == (300, None, "A")


@pytest.mark.parametrize(
    "asked",
    [
        {"symmetry": "D3"},
        {"symmetry": "O", "modulo": "C4"},
        {"twist": 27.3, "rise": 4.75, "order": 4, "symmetry": "C2"},
    ],
)
def test_expanded_rows_are_counted_as_naive_mates(asked, rng, tmp_path):
    columns = random_columns(rng, 40, np.float64)
    path, out = write_table(tmp_path / "a.h5", columns), str(tmp_path / "b.h5")
    expand(path, out, **asked)
    (before, after), subject = counted(out)
    if "rise" in asked:
        motions = naive.helix(27.3, 4.75, 4, naive.group("C2"))
    else:
        with h5py.File(out) as file:
            quaternions = file["operators/quaternion"][:]
        motions = [(naive.from_quaternion(q), np.zeros(3)) for q in quaternions]
    rows = [
        (pose, shift * psize)
        for v, s, psize in zip(*(columns[name] for name in (POSE, SHIFT, PSIZE)), strict=True)
        for pose, shift in naive.mates(naive.exp(v), s, motions, psize)
    ]
    cells, places, outside = naive_tally(*zip(*rows, strict=True), after.limit)
    assert np.array_equal(after.cells, cells)
    assert np.array_equal(after.shifts, places)
    assert after.outside == outside
    assert before.rows == subject.particles == 40
    assert after.copies.tolist() == [len(motions)] * 40


@pytest.mark.parametrize(
    ("rot", "tilt", "direction"),
    [(0, 0, (0, 0, 1)), (0, 90, (1, 0, 0)), (90, 90, (0, 1, 0)), (35, 180, (0, 0, -1))],
)
def test_known_views_stand_in_the_right_cell(rot, tilt, direction, tmp_path):
    columns = {
        POSE: np.array([[rot + 1e-4, abs(tilt - 1e-4), psi] for psi in (0.0, 77.0)]),
        SHIFT: np.zeros((2, 2)),
    }
    (found,), _ = counted(write_table(tmp_path / "a.h5", columns), pose_format="euler_zyz")
    half, row, column = (int(part[0]) for part in np.nonzero(found.cells))
    assert found.cells[half, row, column] == 2
    assert half == (direction[2] < 0)
    x, y = corners(SIDE)
    middle = np.array(
        [x[row : row + 2, column : column + 2], y[row : row + 2, column : column + 2]]
    )
    assert np.allclose(middle.mean(axis=(1, 2)), on_disc(np.array([direction]))[0], atol=0.04)


def test_cells_have_equal_areas(rng, tmp_path):
    x, y = corners(8 * SIDE)
    ring = [
        (x[rows, columns], y[rows, columns])
        for rows, columns in itertools.product((slice(-1), slice(1, None)), repeat=2)
    ]
    ring = [ring[k] for k in (0, 1, 3, 2, 0)]
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in itertools.pairwise(ring)) / 2
    assert np.allclose(merged(area, SIDE), math.pi / SIDE**2, rtol=1e-2)
    columns = {POSE: even_directions(rng, 20_000), SHIFT: np.zeros((20_000, 2))}
    path = write_table(tmp_path / "a.h5", columns)
    (found,), _ = counted(path)
    coarse = merged(found.cells, 8)
    expected = 20_000 / coarse.size
    chi = ((coarse - expected) ** 2 / expected).sum()
    assert abs(chi - coarse.size) < 4 * math.sqrt(2 * coarse.size)
    assert math.isclose(relative_density(found.cells).mean(), 1)


def test_density_is_relative_to_an_even_one():
    cells = np.zeros((2, SIDE, SIDE), int)
    cells[0, :24] = 1
    density = relative_density(cells)
    assert density.shape == (2, 8, 8)
    assert np.array_equal(density[0, :4], np.full((4, 8), 4.0))
    assert density.sum() == 4 * 4 * 8
    assert relative_density(10 * cells).shape == (2, 24, 24)


@pytest.mark.parametrize(
    ("asked", "fold", "generators"),
    [
        ({"symmetry": "D7"}, 7, "D7"),
        ({"symmetry": "I1", "modulo": "C5"}, 5, "I1"),
        ({"symmetry": "O", "operators": (0, 3)}, 4, "O"),
    ],
)
def test_axes_are_those_of_the_naive_group(asked, fold, generators, source, tmp_path):
    expand(source, str(tmp_path / "b.h5"), **asked)
    _, subject = counted(str(tmp_path / "b.h5"))
    with open_subject(source, generators, **_columns()) as plain:
        assert [f for f, _ in plain.axes] == [f for f, _ in subject.axes]
    elements = naive.group(generators)
    for each, axis in subject.axes:
        kept = sum(np.allclose(element @ axis, axis, atol=1e-9) for element in elements)
        assert kept == each
    turned = sum(each - 1 for each, _ in subject.axes)
    assert turned == len(elements) - 1
    assert subject.axes[0][0] == fold


def _columns():
    columns = {"table": None, "pose": None, "pose_format": "rotvec", "shift": None}
    return {**columns, "passthrough": ()}


def test_own_operators_have_axes_only_as_a_group(source, tmp_path):
    for name, elements in (("group", naive.group("D3")), ("some", naive.group("D3")[:2])):
        np.save(tmp_path / f"{name}.npy", np.array(elements))
        expand(source, str(tmp_path / f"{name}.h5"), operators_file=str(tmp_path / f"{name}.npy"))
    assert len(counted(str(tmp_path / "group.h5"))[1].axes) == 4
    assert counted(str(tmp_path / "some.h5"))[1].axes == []


@pytest.mark.parametrize("convention", ["cryosparc", "relion"])
def test_the_convention_of_a_table_places_the_dyads(convention, columns, tmp_path):
    path = write_table(tmp_path / "a.h5", columns, convention=convention)
    with open_subject(path, "D7", **_columns()) as subject:
        dyads = [np.abs(axis) for fold, axis in subject.axes if fold == 2]
    wanted = (0, 1, 0) if convention == "cryosparc" else (1, 0, 0)
    assert any(np.allclose(axis, wanted) for axis in dyads)
    assert subject.symmetry.startswith(f"D7 ({convention})")


def test_marks_stand_at_both_ends_of_an_axis():
    from inside import marks_on

    axes = [(7, np.array([0.0, 0, 1])), (2, np.array([0, 1.0, 0])), (3, np.array([0.6, 0, 0.8]))]
    for half in (0, 1):
        marks = marks_on(axes, half)
        assert np.allclose(marks[7], [[0, 0]])
        radius = math.sqrt(2) * math.sin(math.acos(0.8) / 2)  # Lambert's, with the rim at 1
        assert np.allclose(marks[3], [[(-radius if half else radius), 0]])
        assert np.allclose(sorted(marks[2].tolist()), [[0, -1], [0, 1]])


def subset_of(expanded, path, keep):
    """Some rows of an expanded table, in the same form."""
    with h5py.File(expanded) as file, h5py.File(path, "w") as out:
        out.attrs.update(file.attrs)
        for name in ("operators", "source"):
            file.copy(name, out)
        out.create_group("particles").attrs.update(file["particles"].attrs)

        def copy(name, column):
            if isinstance(column, h5py.Dataset):
                out["particles"][name] = column[()][keep]
                out["particles"][name].attrs.update(column.attrs)

        file["particles"].visititems(copy)
    return str(path)


@pytest.mark.slow
def test_copies_are_shown_where_they_differ(source, tmp_path, monkeypatch):
    out = str(tmp_path / "b.h5")
    expand(source, out, symmetry="C3")
    assert plot(out, str(tmp_path / "whole.png")).copies is None
    keep = np.setdiff1d(np.arange(150), [0, 3, 4, 5, 30])
    some = subset_of(out, tmp_path / "some.h5", keep)
    assert plot(some, str(tmp_path / "some.png")).copies == {0: 1, 2: 2, 3: 47}
    panels = {name: _panels(tmp_path / f"{name}.png", monkeypatch, path) for name, path in
              (("whole", out), ("some", some))}  # fmt: skip
    assert panels["some"] == panels["whole"] + 1


def _panels(output, monkeypatch, path):
    """Number of axes of a figure."""
    from inside import drawing

    drawn = []
    draw = drawing.draw
    monkeypatch.setattr(drawing, "draw", lambda each: drawn.append(draw(each)) or drawn[-1])
    plot(path, str(output), overwrite=True)
    monkeypatch.undo()
    return len(drawn[0].axes)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".PNG"])
def test_pictures_are_of_their_suffix_and_the_same_twice(suffix, source, tmp_path):
    out = str(tmp_path / "b.h5")
    expand(source, out, symmetry="D3")
    pictures = [tmp_path / f"{k}{suffix}" for k in (1, 2)]
    for picture in pictures:
        plot(out, str(picture))
    one, other = (picture.read_bytes() for picture in pictures)
    assert one == other
    magic = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix.lower()]
    assert one.startswith(magic)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["source.h5", "b.h5", f"1{suffix}", f"2{suffix}"]
    )


@pytest.mark.parametrize("suffix", ["cs", "star"])
def test_copies_in_any_file_are_rows_and_no_particles(suffix, columns, go, tmp_path):
    columns["blob/idx"] = np.arange(50, dtype=np.uint32)
    source = write_table(tmp_path / "source.h5", columns)
    go("expand", source, f"e.{suffix}", "--symmetry=D3")
    assert "300 rows of an expanded set: " in go("plot", f"e.{suffix}", "e.svg")
    assert "<!-- 300 rows of an expanded set -->" in (tmp_path / "e.svg").read_text()
    go("export", source, f"p.{suffix}")
    assert "50 particles: " in go("plot", f"p.{suffix}", "p.svg")


def test_text_says_what_is_shown(source, tmp_path):
    out = str(tmp_path / "b $no{math$.h5")
    expand(source, out, symmetry="D3")
    made = plot(out, str(tmp_path / "b.svg"))
    assert made.rows == 300
    assert [each.heading for each in made.sets] == [
        "source: 50 particles",
        "expanded: 300 rows",
    ]
    text = (tmp_path / "b.svg").read_text()
    for words in (
        "b $no{math$.h5",
        "D3 (cryosparc), 6 operator(s): 3-fold on z, 2-fold on y",
        "source: 50 particles",
        "expanded: 300 rows",
        "3-fold axis",
        "2-fold axis",
        "shift in x (A)",
        "views per solid angle (1 = even)",
    ):
        assert f"<!-- {words} -->" in text


def test_shifts_are_in_pixels_where_no_size_is_known(columns, command, tmp_path):
    del columns[PSIZE]
    write_table(tmp_path / "a.h5", columns)
    done = command("plot", "a.h5", "a.svg", "--symmetry=C7", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    made = json.loads(done.stdout)
    assert (made["unit"], made["particles"], made["rows"]) == ("px", 50, 50)
    assert len(made["sets"]) == 1
    assert "shift in y (px)" in (tmp_path / "a.svg").read_text()


def test_a_pixel_size_that_was_given_counts(columns, tmp_path):
    path, out = write_table(tmp_path / "a.h5", columns), str(tmp_path / "b.h5")
    expand(path, out, symmetry="C2", psize=2.0)
    tallies, subject = counted(out)
    assert subject.sets[1].unit == "A"
    limit = 2.0 * np.abs(columns[SHIFT]).max()
    assert all(limit <= each.limit <= 1.07 * limit for each in tallies)


@pytest.mark.slow
def test_star_and_cs_are_drawn(rng, go, tmp_path):
    (tmp_path / "a.star").write_text(star_text(particles(rng, 30)))
    views = np.column_stack([rng.uniform(1, 170, (20, 3)), rng.normal(0, 3, (20, 2))])
    write_cs(tmp_path / "a.cs", views, np.arange(20), 48, 1.5, "stack.mrc")
    for name, count in (("a.star", 30), ("a.cs", 20)):
        made = json.loads(go("plot", name, f"{name}.png", "--symmetry=D2", "--json"))
        assert (made["particles"], made["unit"]) == (count, "A")
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    (found,), _ = counted(str(tmp_path / "a.cs"))
    wanted, _, _ = naive_tally([naive.euler_zyz(*row[:3]) for row in views], views[:, 3:], 99)
    assert np.array_equal(merged(found.cells, 6), merged(wanted, 6))


def test_the_summary_and_quiet(source, go):
    shown = go("plot", "source.h5", "a.png")
    assert shown.splitlines()[0].startswith("50 particles: densest views ")
    assert shown.splitlines()[-1] == "wrote a.png"
    assert go("plot", "source.h5", "a.png", "--overwrite", "--quiet") == ""
    assert "Example: numba-symexp plot" in go("plot", "--help")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["source.h5", "a.jpg"], 2, "ends in .png, .svg or .pdf"),
        (["source.h5", "picture"], 2, "ends in .png, .svg or .pdf"),
        (["source.h5", "there.png"], 1, "exists: choose another output, or add --overwrite"),
        (["source.h5", "no/a.png"], 1, "does not exist: make it first"),
        (["none.h5", "a.png"], 1, "no such file"),
        (["empty.h5", "a.png"], 1, "has no rows"),
        (["nan.h5", "a.png"], 1, "alignments3D/pose is NaN or Inf: first in row 7"),
        (["size.h5", "a.png"], 1, "psize_A is not above 0: first in row 9"),
        (["source.h5", "a.png", "--pose=x"], 1, "no pose column x"),
        (["source.h5", "a.png", "--symmetry=D"], 2, "D"),
        (["source.h5", "a.png", "--convention=relion"], 2, "give --symmetry too"),
        (["source.h5", "a.png", "--source=source.h5"], 2, "leave out --source"),
        (["out.h5", "a.png", "--symmetry=C3"], 2, "leave out --symmetry"),
        (["out.h5", "a.png", "--pose=x"], 2, "leave out --pose"),
        (["out.h5", "a.png", "--pose_format=matrix"], 2, "leave out --pose_format"),
    ],
)
def test_bad_input_ends_in_one_line(words, code, message, columns, command, tmp_path):
    source = write_table(tmp_path / "source.h5", columns)
    expand(source, str(tmp_path / "out.h5"), symmetry="C3")
    write_table(tmp_path / "empty.h5", {name: each[:0] for name, each in columns.items()})
    for name, column, row in (("nan", POSE, 7), ("size", PSIZE, 9)):
        wrong = {**columns, column: columns[column].copy()}
        wrong[column][row] = np.nan if name == "nan" else 0
        write_table(tmp_path / f"{name}.h5", wrong)
    (tmp_path / "there.png").write_bytes(PNG_MINE)
    before = sorted(tmp_path.iterdir())
    done = command("plot", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.png").read_bytes() == PNG_MINE


def test_a_missing_source_can_be_named(source, tmp_path):
    out = str(tmp_path / "b.h5")
    expand(source, out, symmetry="C3")
    (tmp_path / "source.h5").rename(tmp_path / "moved.h5")
    with pytest.raises(SourceError, match="is gone"):
        plot(out, str(tmp_path / "b.png"))
    assert plot(out, str(tmp_path / "b.png"), source=str(tmp_path / "moved.h5")).rows == 150


def test_a_file_that_names_no_symmetry_is_refused(source, tmp_path):
    out = str(tmp_path / "b.h5")
    expand(source, out, symmetry="C3")
    with h5py.File(out, "r+") as file:
        file.attrs["symmetry"] = "Q3"
    with pytest.raises(FileFormatError, match=r"'Q3' \(cryosparc\) is no symmetry: verify it"):
        plot(out, str(tmp_path / "b.png"))


def test_neither_table_is_replaced(columns, tmp_path):
    source = write_table(tmp_path / "source.png", columns)
    out = str(tmp_path / "out.png")
    expand(source, str(tmp_path / "out.h5"), symmetry="C3")
    (tmp_path / "out.h5").rename(out)
    for file, output in ((source, source), (out, source), (out, out)):
        with pytest.raises(OutputError, match=r"is the source itself|is not a PNG picture"):
            plot(file, output, overwrite=True)


def test_missing_matplotlib_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OutputError, match=r"-m pip install 'numba_symexp\[plot\]'"):
        plot(source, str(tmp_path / "a.png"))


def test_settings_of_the_user_change_nothing(source, tmp_path):
    import matplotlib

    plot(source, str(tmp_path / "a.png"))
    with matplotlib.rc_context({"font.size": 30, "font.family": "serif"}):
        plot(source, str(tmp_path / "b.png"))
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
def test_progress_ends_with_all_rows(source, tmp_path):
    out, calls = str(tmp_path / "b.h5"), []
    expand(source, out, symmetry="C3")
    plot(out, str(tmp_path / "b.png"), progress=lambda *numbers: calls.append(numbers))
    assert calls[-1] == (200, 200)


def test_unmoved_particles_have_a_map(columns, tmp_path):
    columns[SHIFT][:] = 0
    path = write_table(tmp_path / "a.h5", columns)
    (found,), _ = counted(path)
    assert (found.limit, found.outside, found.shifts.max()) == (1.0, 0, 50)
    assert found.shifts[PLACES // 2, PLACES // 2] == 50


def test_lengths_are_counted_exactly(rng):
    length = np.concatenate([rng.exponential(3.0, 5000), [0, 1, 2, 4, 8, 1e9]])
    lengths = LengthCounts()
    for part in np.array_split(length, 7):
        lengths.add(part)
    edges, counts = lengths.histogram(8, 0.99)
    assert edges.tolist() == [2.0 * k for k in range(9)]
    wanted = [np.sum((length >= low) & (length < low + 2)) for low in edges[:-1]]
    assert counts.tolist() == [*wanted, np.sum(length >= 16)]
    exact = np.quantile(length, 0.99)
    assert exact <= lengths.quantile(0.99) <= 17 / 16 * exact


@pytest.fixture
def statistics(columns, tmp_path):
    path = write_table(tmp_path / "a.h5", columns)
    with open_table(path) as table:
        return view_statistics(table, find_columns(table))


def test_statistics_are_those_of_loops(statistics, columns):
    tilts = [math.degrees(math.acos(naive.exp(v)[2, 2])) for v in columns[POSE]]
    edges, counts = statistics["tilt"]["edges_deg"], statistics["tilt"]["counts"]
    assert counts == [
        sum(low <= tilt < high for tilt in tilts) for low, high in itertools.pairwise(edges)
    ]
    even = 50 * (math.cos(math.radians(20)) - math.cos(math.radians(40))) / 2
    assert math.isclose(statistics["tilt"]["density"][1], counts[1] / even)
    lengths = [math.hypot(*shift) for shift in columns[SHIFT].tolist()]
    edges = statistics["shift"]["edges"]
    assert statistics["shift"]["counts"] == [
        sum(low <= length < high for length in lengths) for low, high in itertools.pairwise(edges)
    ]
    assert statistics["shift"]["unit"] == "px"
    assert sum(statistics["shift"]["counts"]) + statistics["shift"]["beyond"] == 50
    json.dumps(statistics)


def test_histograms_fit_a_terminal(statistics):
    lines = histogram_text(statistics)
    assert all(line.isascii() and len(line) <= 80 for line in lines)
    tilt, shift = lines[:10], lines[10:]
    assert tilt[0].startswith("tilt, deg")
    assert shift[0] == "length of shift, px: rows"
    assert len(shift) <= 12
    fullest = max(statistics["shift"]["counts"])
    assert max(line.count("#") for line in shift) == 40
    assert [int(line.split()[-1]) for line in shift[1:]][: len(statistics["shift"]["counts"])] == (
        statistics["shift"]["counts"]
    )
    assert any(line.count("#") == 40 and line.endswith(f" {fullest}") for line in shift)


def test_reach_leaves_out_a_few_far_shifts(rng, tmp_path):
    columns = random_columns(rng, 5000)
    columns[SHIFT] = rng.uniform(-4, 4, (5000, 2)).astype("f4")
    columns[SHIFT][17] = 1e20
    with open_table(write_table(tmp_path / "a.h5", columns)) as table:
        assert 3.9 < reach(Poses(table, find_columns(table), 1.0)) < 4.3


def test_unknown_suffixes_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="is no picture"):
        plot("none.h5", str(tmp_path / "a.txt"))


def test_inspect_shows_histograms_on_a_terminal(source, go, monkeypatch):
    assert "tilt, deg" not in go("inspect", source)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = go("inspect", source)
    assert "tilt, deg: rows per solid angle" in shown
    assert "length of shift, px: rows" in shown
    assert "tilt, deg" not in go("inspect", source, "--json")


def test_shifts_beyond_the_edges_have_a_line_of_their_own(statistics):
    shift = {**statistics["shift"], "beyond": 1_000_000_000}
    last = histogram_text({**statistics, "shift": shift})[-1]
    assert last.split()[:2] == [f"{shift['edges'][-1]:g}", "-"]
    assert last.endswith("#  1,000,000,000")
    assert len(last) <= 80
