"""The picture of arrangements: what is in it, what is refused, and the same bytes every time."""

import os
import re
import sys
from collections import Counter

import h5py
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import OutputError, Sites, UsageError, axes_of, places_of_sites

from numba_symexp import arrange, expand, open_expanded, point_group, read_operators

pytest.importorskip("matplotlib")

PNG_MINE = b"\x89PNG\r\n\x1a\nmine"


@pytest.fixture
def labeled(tmp_path, rng):
    """Expand by C4 with given labels: 30 x AAAA, 20 x AAAB, 15 x AABB, 5 x ABAB, 2 with a gap."""
    patterns = ["AAAA"] * 30 + ["AAAB"] * 20 + ["AABB"] * 15 + ["ABAB"] * 5 + ["AB-A"] * 2
    source = write_table(tmp_path / "source.h5", random_columns(rng, len(patterns)))
    expanded = str(tmp_path / "expanded.h5")
    expand(source, expanded, symmetry="C4")
    with h5py.File(expanded) as file:
        names = ("source_index", "operator_index")
        rows = {name: file[f"particles/{name}"][:] for name in names}
    letters = np.array([list(each) for each in patterns], "S1")
    state = letters[rows["source_index"], rows["operator_index"]]
    came = state != b"-"
    columns = {**{name: each[came] for name, each in rows.items()}, "state": state[came]}
    return write_table(tmp_path / "labeled.h5", columns), expanded


def drawn(labeled, picture, **given):
    """Draw the picture of these labels; give the report."""
    path, expanded = labeled
    return arrange(path, expanded=expanded, by="state", picture=str(picture), **given)


def texts(picture):
    """All texts of an .svg."""
    return re.findall(r"<!-- (.*) -->", picture.read_text())


def test_the_picture_says_what_the_report_says(labeled, tmp_path):
    report = drawn(labeled, tmp_path / "a.svg")
    assert report.outputs == (str(tmp_path / "a.svg"),)
    shown = texts(tmp_path / "a.svg")
    for words in (
        *("labeled.h5", "1: 30 particles", "2: 20 particles", "3: 15 particles"),
        *("4: 5 particles", "5: 2 particles", "some copies did not come back"),
        "72 particles of 4 sites; 70 with all labels: 4 of 6 possible arrangements; 2 with gaps",
        *("A (224)", "B (62)", "did not come back", "the only one with these counts"),
        "pairs of B and B, against labels permuted in each particle",
        *("symmetry C4 on z", "symmetry C2 on z", "1/4 turn about z", "across the dyad on z"),
    ):  # fmt: skip
        assert words in shown
    # of 20 particles with two B, two thirds are neighbors by chance: (15 - 13.33) / sqrt(40 / 9)
    assert "expected 13.3, score +0.8" in shown
    assert "expected 6.7, score -0.8" in shown
    # six pairs are tested: the normal deviate of 0.05 / 12
    assert "score (dashed: limit 2.64)" in shown


def test_dots_have_the_colors_of_their_labels(labeled, tmp_path):
    drawn(labeled, tmp_path / "a.svg")
    fills = re.findall(r'<use [^>]*style="fill: (#\w+);', (tmp_path / "a.svg").read_text())
    patterns = ["AAAA", "AAAB", "AABB", "ABAB", "AB-A"]
    legend = "AB-"
    wanted = Counter("".join([*patterns, legend]))
    assert sorted(Counter(fills).values()) == sorted(wanted.values())
    assert Counter(fills)["#ffffff"] == wanted["-"]


@pytest.mark.parametrize(
    ("angles", "move", "count"), [((0, 120, 240), 0, 1), ((0, 120, 240), 5, 0), ((0, 120), 0, 0)]
)
def test_axes_are_drawn_of_groups_about_the_middle(angles, move, count, tmp_path):
    lines = []
    for angle in angles:
        rotation = naive.turn((0, 0, 1), angle)
        moved = move * (np.eye(3) - rotation) @ (1, 0, 0)
        lines += [" ".join(map(str, (*row, t))) for row, t in zip(rotation, moved, strict=True)]
    (tmp_path / "o.txt").write_text("\n".join(lines))
    assert len(axes_of(read_operators(str(tmp_path / "o.txt")))) == count


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_input_gives_the_same_bytes(suffix, labeled, tmp_path):
    for name in "ab":
        drawn(labeled, tmp_path / f"{name}{suffix}")
    one, other = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert one == other
    assert one.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])


@pytest.mark.parametrize("name", ["a.jpg", "picture"])
def test_other_suffixes_are_refused_before_anything_is_read(name, tmp_path):
    with pytest.raises(
        UsageError, match=r"is no picture: give picture= a name .*\.png, \.svg or \.pdf$"
    ):
        arrange("none.h5", picture=str(tmp_path / name))


def test_missing_matplotlib_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OutputError, match=r"-m pip install 'numba_symexp\[plot\]'"):
        arrange("none.h5", picture=str(tmp_path / "a.png"))


def labeled_vertices(folder, rng, particles, labels):
    """Give the vertices of I of some particles, with labels by chance."""
    source = write_table(folder / "source.h5", random_columns(rng, particles))
    expanded = str(folder / "expanded.h5")
    expand(source, expanded, symmetry="I2", center=(105.15, 0.0, 170.13), unique=True)
    with h5py.File(expanded, "r+") as file:
        file["particles/state"] = rng.integers(0, labels, 12 * particles)
    return expanded


def test_names_of_pairs_on_axes_are_whole(tmp_path, rng):
    """The angle between axes says which pair it is, and leaves room for the names of labels."""
    expanded = labeled_vertices(tmp_path, rng, 40, 3)
    names = ("apo-state", "ATP-bound", "portal-vertex")
    picture = tmp_path / "a.svg"
    report = arrange(expanded, by="state", label=names, picture=str(picture))
    shown = texts(picture)
    assert len({pair.relation for pair in report.pairs}) == 3
    for apart, length in (("63.4", 210), ("116.6", 340), ("180.0", 400)):
        assert f"apo-state portal-vertex, axes {apart} deg apart, {length} A" in shown
    assert not any("..." in words for words in shown)


def test_of_many_pairs_the_30_largest_scores_are_shown(tmp_path, rng):
    expanded = labeled_vertices(tmp_path, rng, 60, 5)
    picture = tmp_path / "a.svg"
    report = arrange(expanded, by="state", label=tuple("ABCDE"), picture=str(picture))
    largest = sorted(report.pairs, key=lambda pair: -abs(pair.score))[:30]
    assert len(report.pairs) > 40
    shown = [words for words in texts(picture) if re.fullmatch(r"[A-E] [A-E], .* A", words)]
    assert Counter(words[:3] for words in shown) == Counter(map(" ".join, (
        pair.labels for pair in largest
    )))  # fmt: skip


def test_an_existing_picture_is_kept_unless_said(labeled, tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(PNG_MINE)
    with pytest.raises(OutputError, match="exists: choose another output, or add overwrite=True"):
        drawn(labeled, picture)
    assert picture.read_bytes() == PNG_MINE
    drawn(labeled, picture, overwrite=True)
    assert picture.stat().st_size > 10_000


def test_no_input_is_replaced(labeled, tmp_path):
    path, expanded = labeled
    before = (tmp_path / "source.h5").read_bytes()
    (tmp_path / "link.png").symlink_to("source.h5")
    for picture in (path, expanded, tmp_path / "link.png"):
        with pytest.raises((UsageError, OutputError)):
            drawn(labeled, picture, overwrite=True)
    assert (tmp_path / "source.h5").read_bytes() == before


def test_the_source_itself_is_no_picture(labeled, tmp_path):
    path, expanded = labeled
    moved = tmp_path / "source.png"
    (tmp_path / "source.h5").rename(moved)
    with pytest.raises(OutputError, match=r"is the source itself|is not a PNG"):
        arrange(
            path, expanded=expanded, source=str(moved), by="state", picture=moved, overwrite=True
        )
    assert h5py.is_hdf5(moved)


def test_particles_and_picture_are_written_together(labeled, tmp_path):
    turned = tmp_path / "turned.h5"
    report = drawn(labeled, tmp_path / "a.png", output=str(turned))
    assert report.outputs == (str(turned), str(tmp_path / "a.png"))
    assert report.written == 72
    turned.unlink()
    with pytest.raises(UsageError, match="keep=9"):
        drawn(labeled, tmp_path / "b.png", output=str(turned), keep="9")
    assert not (tmp_path / "b.png").exists()


def test_names_that_cannot_be_drawn_do_no_harm(labeled, tmp_path):
    path, expanded = labeled
    with h5py.File(path, "r+") as file:
        state = file["particles/state"][:]
        names = np.where(state == b"A", b"$x_{" * 30, b"<&").astype("S120")
        del file["particles/state"]
        file["particles/state"] = names
    odd = str(tmp_path / "odd\x01.h5")
    os.rename(path, odd)
    drawn((odd, expanded), tmp_path / "a.svg")
    shown = texts(tmp_path / "a.svg")
    assert "odd?.h5" in shown
    assert any(words.startswith("$x_{$x_{") and "..." in words for words in shown)
    assert all(len(words) < 120 for words in shown)
    assert "\x01" not in (tmp_path / "a.svg").read_text()


def turned_apart(places):
    """Smallest angle between two directions, degrees, by loops."""
    return min(
        np.rad2deg(np.arccos(np.clip(one @ other, -1, 1)))
        for k, one in enumerate(places)
        for other in places[:k]
    )


def test_a_ring_is_a_ring():
    places, _ = places_of_sites(Sites.of(point_group("C5")))
    turn = np.rad2deg(np.unwrap(np.arctan2(places[:, 1], places[:, 0])))
    assert np.allclose(np.diff(turn), 72)
    assert np.allclose(places[:, 2], places[0, 2])
    assert 0.2 < places[0, 2] < 0.9


@pytest.mark.parametrize(("symbol", "least"), [("D2", 105), ("D7", 36), ("O", 41), ("I", 25)])
def test_sites_without_a_center_lie_well_apart(symbol, least):
    """Near the best: a tetrahedron has 109.5 deg, the snub cube 43.7, 60 points of I about 26.8."""
    group = point_group(symbol)
    places, words = places_of_sites(Sites.of(group))
    assert turned_apart(places) > least
    assert np.allclose(places, group.matrix @ places[0])
    assert words.startswith("where the operators turn the direction (")


def test_sites_of_a_subgroup_are_on_its_axes(tmp_path, rng):
    source = write_table(tmp_path / "source.h5", random_columns(rng, 40))
    expanded = str(tmp_path / "expanded.h5")
    expand(source, expanded, symmetry="O", modulo="C4")
    with h5py.File(expanded, "r+") as file:
        file["particles/state"] = rng.integers(0, 2, 240).astype("S1")
    with open_expanded(expanded) as table:
        places, _ = places_of_sites(Sites.of(table.operators))
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    assert np.allclose(np.sort(places @ corners.T, axis=1)[:, -1], 1)
    assert np.allclose(places.sum(axis=0), 0)
    arrange(expanded, by="state", picture=str(tmp_path / "a.svg"))
    shown = " ".join(texts(tmp_path / "a.svg"))
    assert "sites are drawn on the axes that they stand for; left z" in shown
    assert "axes 90.0 deg apart" in shown
    assert "axes 180.0 deg apart" in shown


def test_with_a_center_sites_are_where_it_is(tmp_path, rng):
    source = write_table(tmp_path / "source.h5", random_columns(rng, 40))
    expanded = str(tmp_path / "expanded.h5")
    expand(source, expanded, symmetry="C4", center=(30, 0, -40))
    with h5py.File(expanded, "r+") as file:
        file["particles/state"] = rng.integers(0, 2, 160).astype("S1")
    arrange(expanded, by="state", picture=str(tmp_path / "a.svg"))
    shown = " ".join(texts(tmp_path / "a.svg"))
    assert "sites are drawn in the direction of their centers from the box center" in shown
    assert "left z" not in shown
    assert "1/4 turn about z, 42 A" in shown
