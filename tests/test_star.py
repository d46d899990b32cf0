"""RELION's particle files, read as particle tables."""

import re

import h5py
import inside
import naive
import numpy as np
import pytest
from inside import StackedTable, StarTable, open_table
from star_files import ANGLES, OPTICS, ORIGINS_A, floats, loop, particles, read_star, star_text

from numba_symexp import SymexpError, import_particles

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"
SPLIT, TUBE = "alignments3D/split", "filament/filament_uid"


@pytest.fixture
def star(tmp_path):
    """Write a .star file; gives its path."""

    def write(text, name="particles.star"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def read(path, *names):
    """Columns of a whole table."""
    with open_table(path) as table:
        found = table.read(names or list(table.columns), 0, table.n_rows)
    return found[names[0]] if len(names) == 1 else found


def assert_poses(path, columns):
    """Poses are the rotations of the angles, by another road."""
    for vector, angles in zip(read(path, POSE), floats(columns, *ANGLES), strict=True):
        assert naive.angle_rad(naive.exp(vector), naive.euler_zyz(*angles)) < 1e-12


def test_angles_become_rotation_vectors(star, rng):
    columns = particles(rng, 20)
    columns["rlnAngleTilt"][:3] = ["0.000000", "180.000000", "-85.5"]
    assert_poses(star(star_text(columns)), columns)


def test_origins_become_pixels_of_their_optics_group(star, rng):
    columns = particles(rng, 9)
    found = read(star(star_text(columns)), SHIFT, PSIZE)
    psize = np.array([1.5, 1.25] * 5)[:9]
    assert found[PSIZE].tolist() == psize.tolist()
    np.testing.assert_allclose(found[SHIFT] * psize[:, None], floats(columns, *ORIGINS_A))


def test_subsets_become_half_sets(star, rng):
    columns = particles(rng, 9)
    assert read(star(star_text(columns)), SPLIT).tolist() == [0, 1, 0] * 3


def test_every_label_is_kept_as_text(star, rng):
    columns = particles(rng, 5)
    columns["rlnOdd"] = ["001", "0.000001", "a#b", "'two words'", '"x"']
    found = read(star(star_text(columns)))
    for label, words in columns.items():
        assert [word.decode() for word in found[label]] == [word.strip() for word in words]


def test_blocks_in_any_order(star, rng):
    columns = particles(rng, 4)
    last = loop("particles", columns) + "\n\n" + OPTICS
    both = read(star(star_text(columns), "a.star")), read(star(last, "b.star"))
    assert all((both[0][name] == both[1][name]).all() for name in both[0])
    with StarTable(str(star(last))) as table:
        assert table.header.head.index(b"data_optics") < table.header.head.index(b"data_particles")
        assert table.header.tail.strip() == b""


def test_blocks_of_many_lines_before_the_particles(star, rng):
    """The head is read piece by piece, and a piece may end anywhere in the labels."""
    columns = particles(rng, 9)
    whole = star_text(columns)
    begin = whole.index("\nloop_", whole.index("data_particles"))
    for left in range(0, len(whole) - begin, 7):
        filling = (1 << 16) - begin - left
        path = star("#" + "x" * (filling - 2) + "\n" + whole)
        assert read(path, "rlnRandomSubset").tolist() == [
            word.encode() for word in columns["rlnRandomSubset"]
        ]


def test_relion_3_0_has_one_block_and_pixels(star, rng):
    columns = particles(rng, 6)
    for old, new in zip(ORIGINS_A, ("rlnOriginX", "rlnOriginY"), strict=True):
        columns[new] = columns.pop(old)
    del columns["rlnOpticsGroup"]
    columns |= {"rlnDetectorPixelSize": ["14.0"] * 6, "rlnMagnification": ["100000.0"] * 6}
    path = star(loop("", columns, comment=""))
    found = read(path, SHIFT, PSIZE)
    assert (found[SHIFT] == floats(columns, "rlnOriginX", "rlnOriginY")).all()
    np.testing.assert_allclose(found[PSIZE], 1.4)
    assert_poses(path, columns)


def test_relion_3_0_without_a_pixel_size(star, rng, command):
    columns = {label: words for label, words in particles(rng, 3).items() if "Orig" not in label}
    columns |= {"rlnOriginX": ["1.5", "2", "-3"], "rlnOriginY": ["0", "0", "1e1"]}
    path = star(loop("images", columns))
    assert read(path, SHIFT).tolist() == [[1.5, 0], [2, 0], [-3, 10]]
    assert command("expand", path, "c.h5", "--symmetry=C3").returncode == 0
    helix = ("--twist=30", "--rise=5", "--order=3")
    assert "psize=A_PER_PIXEL" in command("expand", path, "h.h5", *helix).stderr
    assert command("expand", path, "h.h5", *helix, "--psize=1.2").returncode == 0


@pytest.mark.parametrize("block", ["", "images", "particles"])
def test_a_block_keeps_its_name(block, star, rng, go, tmp_path):
    """Of a file with one block, as RELION 3.0 and other programs write, under any name."""
    columns = {label: words for label, words in particles(rng, 6).items() if "Orig" not in label}
    del columns["rlnOpticsGroup"]
    columns["rlnRandomSubset"] = ["1", "'2'"] * 3
    star(loop(block, columns))
    go("import", "particles.star", "p.h5")
    go("expand", "p.h5", "e.h5", "--symmetry=C3")
    for times, words in (
        (1, ("export", "p.h5", "o.star")),
        (1, ("export", "particles.star", "o.star")),
        (3, ("export", "e.h5", "o.star")),
        (3, ("expand", "particles.star", "o.star", "--symmetry=C3")),
        (1, ("collapse", "e.h5", "o.star")),
    ):
        go(*words)
        found = read_star((tmp_path / "o.star").read_text(), block)
        assert found["rlnRandomSubset"] == np.repeat(["1", "2"] * 3, times).tolist()
        (tmp_path / "o.star").unlink()


def test_origins_may_be_missing(star, rng):
    columns = {k: v for k, v in particles(rng, 3).items() if "Origin" not in k}
    assert not read(star(star_text(columns)), SHIFT).any()


def test_numbers_and_images_may_be_quoted(rng, star, go, tmp_path):
    columns = particles(rng, 9)
    quoted = {
        label: ["'\""[k % 2] + word.strip() + "'\""[k % 2] for k, word in enumerate(words)]
        for label, words in columns.items()
    }
    plain, other = star(star_text(columns)), star(star_text(quoted), "quoted.star")
    for name in (POSE, SHIFT, PSIZE, SPLIT):
        assert np.array_equal(read(other, name), read(plain, name))
    for path, out in ((plain, "plain.cs"), (other, "other.cs")):
        go("export", path, out)
    rows, found = np.load(tmp_path / "plain.cs"), np.load(tmp_path / "other.cs")
    assert rows["blob/path"].tolist() == found["blob/path"].tolist()
    assert rows["blob/idx"].tolist() == found["blob/idx"].tolist() == [k % 7 for k in range(9)]


@pytest.mark.parametrize("word", ["'1.5", '1.5"', "'1.5\"", "''", "'x'"])
def test_quotes_that_make_no_number(word, rng, star, command):
    columns = particles(rng, 3)
    columns["rlnOriginXAngst"][1] = word
    done = command("import", star(star_text(columns)), "p.h5")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "line" in done.stderr or "not a number" in done.stderr


@pytest.mark.parametrize("gone", [*ANGLES[2:], *ORIGINS_A])
def test_a_label_that_is_missing_stays_away(gone, rng, star, go, tmp_path):
    """Without an expansion every word comes back, and no label is added."""
    columns = particles(rng, 5)
    del columns[gone]
    path = star(star_text(columns))
    go("export", path, "again.star")
    assert read_star((tmp_path / "again.star").read_text()) == {
        label: [word.strip() for word in words] for label, words in columns.items()
    }


def test_optics_without_rows_are_refused(rng, star, command):
    text = star_text(particles(rng, 5), OPTICS.partition("1 1.5")[0] + "\n")
    for words in (("import", "p.h5"), ("expand", "--symmetry=C2", "o.h5"), ("export", "o.cs")):
        verb, *rest = words
        done = command(verb, star(text), *rest)
        assert done.returncode == 1
        assert "data_optics has no rows" in done.stderr
        assert done.stderr.count("\n") == 1


def test_origins_without_a_pixel_size_are_pixels_of_one_angstrom(star, rng):
    columns = particles(rng, 3)
    found = read(star(star_text(columns, OPTICS.replace("_rlnImagePixelSize", "_rlnOther"))))
    assert found[PSIZE].tolist() == [1, 1, 1]
    np.testing.assert_allclose(found[SHIFT], floats(columns, *ORIGINS_A))


def test_one_optics_group_as_a_list(star, rng):
    columns = particles(rng, 3)
    columns["rlnOpticsGroup"] = ["1"] * 3
    optics = "\ndata_optics\n\n_rlnOpticsGroup 1\n_rlnImagePixelSize 0.825000 # A\n\n"
    assert read(star(star_text(columns, optics)), PSIZE).tolist() == [0.825] * 3
    del columns["rlnOpticsGroup"]
    assert read(star(star_text(columns, optics)), PSIZE).tolist() == [0.825] * 3


def test_ids_follow_the_image_and_not_the_row(star, rng):
    columns = particles(rng, 30)
    turned = {label: words[::-1] for label, words in columns.items()}
    ids = read(star(star_text(columns), "a.star"), "uid")
    assert len(set(ids.tolist())) == 30
    assert (read(star(star_text(turned), "b.star"), "uid") == ids[::-1]).all()
    columns["rlnMicrographName"] = ["m.mrc"] * 30
    for axis in "XY":
        columns[f"rlnCoordinate{axis}"] = ["7"] * 30
    assert (read(star(star_text(columns), "c.star"), "uid") == ids).all()


def test_tubes_are_told_by_micrograph_and_number(star, rng, command):
    columns = particles(rng, 6)
    del columns["rlnRandomSubset"]
    columns["rlnMicrographName"] = ["a.mrc", "a.mrc", "a.mrc", "b.mrc", "b.mrc", "b.mrc"]
    columns["rlnHelicalTubeID"] = ["1", "1", "2", "1", "2", "2"]
    path = star(star_text(columns))
    tube = read(path, TUBE).tolist()
    assert tube[0] == tube[1]
    assert tube[4] == tube[5]
    assert len(set(tube)) == 4
    done = command("expand", path, "out.h5", "--symmetry=C2", "--assign_halves=1")
    assert done.returncode == 0, done.stderr
    with h5py.File(path.replace("particles.star", "out.h5")) as file:
        split = file["particles"][SPLIT][::2]
    assert split[0] == split[1]
    assert split[4] == split[5]


def test_rows_in_ranges_and_stripes(star, rng, monkeypatch):
    columns = particles(rng, 100)
    path = star(star_text(columns))
    whole = read(path)
    monkeypatch.setattr(inside.words_table, "_STRIPE_ROWS", 7)
    monkeypatch.setattr(inside.words_table, "_PIECE_BYTES", 999)
    with StarTable(path) as table:
        assert table.n_rows == 100
        for start, stop in ((0, 100), (0, 1), (6, 8), (7, 14), (13, 99), (50, 50)):
            some = table.read(list(table.columns), start, stop)
            assert all((some[name] == whole[name][start:stop]).all() for name in whole)


def test_comments_of_rows_are_kept(star, rng):
    columns = particles(rng, 3)
    text = star_text(columns).splitlines()
    text[-3] += "  # not so sure"
    text.insert(len(text) - 1, "# a line of its own")
    path = star("\n".join(text) + "\n")
    assert read(path, "comment").tolist() == [b"", b"# not so sure", b""]
    made = import_particles([path], path + ".h5")
    assert any("1 line(s) of comment among the rows left out" in note for note in made.notes)


def test_windows_line_ends(star, rng):
    columns = particles(rng, 3)
    path = star(star_text(columns).replace("\n", "\r\n"))
    assert_poses(path, columns)
    assert read(path, "rlnDefocusU").tolist() == [w.encode() for w in columns["rlnDefocusU"]]


@pytest.mark.parametrize(
    ("change", "say"),
    [
        (lambda t: t[:-40], "cut short"),
        (lambda t: t[: t.rindex("@")] + "\n", "words for"),
        (lambda t: t[: t.index("_rlnAngleRot")], "has no particles"),
        (lambda t: t[: t.index("000001@")], "has no particles"),
        (lambda t: t[: t.index("data_particles")], "no loop of particles"),
        (lambda t: t.replace("rlnAngleTilt", "rlnOther"), "no pose column .*2D alignments only"),
        (lambda t: t.replace("_rlnAngleTilt", "_rlnAngleRot"), "two columns are called"),
        (lambda t: t.replace("000003@", "x 000003@"), "row 2 .* has 11 words for 10 columns"),
        (lambda t: t.replace("000003@", "'000003@"), "quote that is not closed"),
        (lambda t: t.replace("1 1.500000", "3 1.500000"), "row 0 is of optics group 1"),
        (lambda t: t.replace("1 1.500000", "1 0.000000"), "pixel size 0 A"),
        (lambda t: t.replace("1 1.500000", "1 none"), "data_optics: _rlnImagePixelSize is 'none'"),
        (lambda t: t.replace("000002@", "\n000002@"), "an empty line stands among the particles"),
        (lambda t: t + t[t.index("data_particles") :], "2 blocks are called 'data_particles'"),
        (lambda t: t + t[: t.index("data_particles")], "2 blocks are called 'data_optics'"),
    ],
)
def test_damaged_files_are_refused(change, say, star, rng, command):
    path = star(change(star_text(particles(rng, 5))))
    for words in (("import", path, "out.h5"), ("expand", path, "out.h5", "--symmetry=C2")):
        done = command(*words)
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert re.search(say, done.stderr), done.stderr
        assert done.stderr.count("\n") == 1
        assert "particles.star" in done.stderr


@pytest.mark.parametrize("word", ["nan", "<NA>", "1,5"])
@pytest.mark.parametrize("label", ["rlnAnglePsi", "rlnOriginXAngst", "rlnRandomSubset"])
def test_words_that_are_no_numbers_are_refused(word, label, star, rng, command):
    columns = particles(rng, 5)
    columns[label][3] = word
    done = command("import", star(star_text(columns)), "out.h5")
    assert done.returncode == 1
    assert f"_{label} is {word!r} in row 3, not a number" in done.stderr


def test_a_table_without_3d_poses_is_refused(star, rng, command):
    columns = {k: v for k, v in particles(rng, 3).items() if k not in ANGLES[:2]}
    done = command("import", star(star_text(columns)), "out.h5")
    assert done.returncode == 1
    assert "2D alignments only" in done.stderr


def test_a_set_that_shows_images_twice_is_expanded_already(star, rng, command, tmp_path):
    columns = particles(rng, 4)
    twice = {label: words * 2 for label, words in columns.items()}
    path = star(star_text(twice))
    done = command("import", path, "in.h5")
    assert done.returncode == 0
    assert "4 row(s) show an image again" in done.stdout
    for source in (path, "in.h5"):
        refused = command("expand", source, "out.h5", "--symmetry=C2", "--overwrite")
        assert refused.returncode == 1
        assert "already expanded" in refused.stderr
        done = command("expand", source, "out.h5", "--symmetry=C2", "--again", "--overwrite")
        assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "out.h5") as file:
        assert len(np.unique(file["particles/uid"])) == 16


def test_a_star_is_known_by_its_text_too(star, rng, command):
    path = star(star_text(particles(rng, 3)), "no_suffix")
    assert command("inspect", path).returncode == 0


def test_a_file_that_changes_is_noticed(star, rng):
    path = star(star_text(particles(rng, 5)))
    with StarTable(path) as table:
        star(star_text(particles(rng, 2)) + " " * 900)
        with pytest.raises(SymexpError, match="changed while it was read"):
            table.read([POSE], 0, 5)


def test_table_names_no_place_in_a_star(star, rng, command):
    path = star(star_text(particles(rng, 3)))
    refused = command("inspect", path, "--table=/elsewhere")
    assert refused.returncode == 1
    assert "leave out --table" in refused.stderr


@pytest.mark.slow
def test_real_subtomograms_are_flat_in_rot_after_c6(real_data, tmp_path, command):
    path = real_data / "cryocat" / "R5_tutorial_run_data.star"
    assert command("expand", path, "out.h5", "--symmetry=C6").returncode == 0
    assert command("export", "out.h5", "out.star").returncode == 0
    text = (tmp_path / "out.star").read_text()
    head, _, body = text.partition("data_particles\n")
    assert "_rlnTomoSubTomosAre2DStacks" in head
    labels = re.findall(r"^_(\w+)", body, re.MULTILINE)
    rows = [line.split() for line in body.splitlines() if len(line.split()) == len(labels)]
    assert len(rows) == 6 * 9053
    rot = np.array([float(row[labels.index("rlnAngleRot")]) for row in rows])
    before, after = (np.histogram(some, 36, (-180, 180))[0] for some in (rot[::6], rot))
    assert before.max() > 3 * before.mean()
    assert after.max() < 1.3 * after.mean()
    assert after.min() > 0.7 * after.mean()
    z = labels.index("rlnOriginZAngst")
    assert all(rows[k][z] == rows[k - k % 6][z] for k in range(600))


def test_copies_with_new_images_are_an_expansion(rng, star, go, command, tmp_path):
    columns = particles(rng, 6)
    columns["rlnMicrographName"] = ["m.mrc"] * 6
    columns["rlnCoordinateX"] = [str(100 + 40 * k) for k in range(6)]
    columns["rlnCoordinateY"] = ["70"] * 6
    go("expand", star(star_text(columns)), "e.h5", "--symmetry=C2")
    go("export", "e.h5", "e.star")
    found = read_star((tmp_path / "e.star").read_text())
    found = {label: words for label, words in found.items() if not label.startswith("symexp")}
    named = found | {"rlnImageName": [f"{k + 1:06d}@s.mrcs" for k in range(12)]}
    nameless = {label: words for label, words in found.items() if label != "rlnImageName"}
    for each in (named, nameless, named | {"rlnImageOriginalName": found["rlnImageName"]}):
        (tmp_path / "b.star").write_text(star_text(each))
        done = command("expand", "b.star", "x.h5", "--symmetry=C2", "--overwrite")
        assert (done.returncode, "already expanded by some program" in done.stderr) == (1, True)
    one = {label: words[::2] for label, words in nameless.items()}
    (tmp_path / "b.star").write_text(star_text(one))
    go("expand", "b.star", "x.h5", "--symmetry=C2", "--overwrite")


def test_one_row_a_particle_is_no_expansion(rng, star, go, tmp_path):
    np.savetxt(tmp_path / "turn.txt", np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]]))
    go("expand", star(star_text(particles(rng, 6))), "e.h5", "--operators_file=turn.txt")
    go("export", "e.h5", "e.cs")
    assert not [name for name in np.load(tmp_path / "e.cs").dtype.names if "sym_expand" in name]
    go("expand", "e.cs", "x.h5", "--symmetry=C2")


def test_tables_one_after_the_other_read_as_one(star, rng):
    files = [star(star_text(particles(rng, n)), f"{n}.star") for n in (3, 5, 4)]
    names = [POSE, "uid"]
    parts = [read(path, *names) for path in files]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in names}
    table = StackedTable([open_table(path) for path in files])
    for start, stop in ((0, 12), (2, 3), (2, 9), (3, 8), (11, 12), (0, 0), (5, 5)):
        found = table.read(names, start, stop)
        for name in names:
            assert np.array_equal(found[name], whole[name][start:stop])
    table.close()
