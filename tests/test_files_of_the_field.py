"""Particle files as other programs write them, and as nobody should."""

import gzip
import os
import shutil

import h5py
import numpy as np
import pytest
from conftest import random_columns
from inside import open_table
from particle_files import structured
from star_files import particles, read_star, star_text

POSE, SHIFT, PSIZE = "alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"


@pytest.fixture
def columns(rng):
    return {label: [word.strip() for word in words] for label, words in particles(rng, 6).items()}


@pytest.mark.parametrize("more", ["", " 1 2"])
def test_an_optics_row_of_another_length_is_refused_by_its_line(more, columns, command, tmp_path):
    lines = star_text(columns).splitlines()
    place = next(k for k, line in enumerate(lines) if line.startswith("1 1.5"))
    lines[place] = lines[place] + more if more else lines[place].rpartition(" ")[0]
    (tmp_path / "p.star").write_text("\n".join(lines) + "\n")
    done = command("inspect", "p.star")
    assert done.returncode == 1, done.stderr
    assert f"line {place + 1} " in done.stderr, done.stderr


def test_lines_end_in_lf_whatever_they_ended_in(columns, go, tmp_path):
    (tmp_path / "unix.star").write_text(star_text(columns))
    (tmp_path / "dos.star").write_bytes(star_text(columns).replace("\n", "\r\n").encode())
    for name in ("unix", "dos"):
        go("expand", f"{name}.star", f"{name}.h5", "--symmetry=C2")
        go("export", f"{name}.h5", f"{name}_out.star")
    assert (tmp_path / "dos_out.star").read_bytes() == (tmp_path / "unix_out.star").read_bytes()


def test_a_last_row_without_newline_is_read(columns, go, tmp_path):
    (tmp_path / "a.star").write_text(star_text(columns))
    (tmp_path / "b.star").write_text(star_text(columns).rstrip())
    with open_table(str(tmp_path / "a.star")) as a, open_table(str(tmp_path / "b.star")) as b:
        assert a.n_rows == b.n_rows == 6
        for name, values in a.read(list(a.columns), 0, 6).items():
            assert (b.read([name], 0, 6)[name] == values).all()


def test_a_star_without_origins_stays_as_it_is(columns, go, tmp_path):
    few = {label: words for label, words in columns.items() if "Origin" not in label}
    (tmp_path / "p.star").write_text(star_text(few))
    go("import", "p.star", "p.h5")
    go("export", "p.h5", "out.star")
    assert (tmp_path / "out.star").read_text() == (tmp_path / "p.star").read_text()


def test_optics_labels_without_a_field_are_named(columns, command, tmp_path):
    text = star_text(columns).replace("_rlnSphericalAberration", "_rlnBeamTiltX")
    (tmp_path / "p.star").write_text(text)
    assert "rlnBeamTiltX" in command("export", "p.star", "p.cs").stderr


@pytest.mark.parametrize(
    ("labels", "words", "size"),
    [
        (["rlnPixelSize"], ["1.25"], 1.25),
        (["rlnMagnification", "rlnDetectorPixelSize"], ["40000", "5"], 1.25),
        (["rlnImagePixelSize", "rlnPixelSize"], ["1.5", "1.25"], 1.5),
    ],
)
def test_a_pixel_size_is_found_wherever_it_stands(labels, words, size, columns, go, tmp_path):
    old = {label.replace("Angst", ""): each for label, each in columns.items()}
    old |= {label: [word] * 6 for label, word in zip(labels, words, strict=True)}
    text = star_text(old)
    text = text[text.index("data_particles") :]
    (tmp_path / "p.star").write_text(text)
    go("export", "p.star", "p.cs")
    found = np.load(tmp_path / "p.cs")
    assert found[PSIZE] == pytest.approx(size)
    assert found["blob/psize_A"] == pytest.approx(size)
    go("export", "p.cs", "back.star")


def test_tubes_travel_both_ways(columns, go, tmp_path):
    tubes = columns | {"rlnMicrographName": ["a", "a", "a", "b", "b", "b"]}
    tubes |= {"rlnHelicalTubeID": list("112112"), "rlnCtfScalefactor": ["0.5"] * 6}
    (tmp_path / "p.star").write_text(star_text(tubes))
    go("export", "p.star", "p.cs")
    found = np.load(tmp_path / "p.cs")
    uids = found["filament/filament_uid"]
    assert len(set(uids.tolist())) == 4
    assert uids[0] == uids[1]
    assert uids[3] == uids[4]
    assert (found["ctf/scale"] == 0.5).all()
    go("export", "p.cs", "back.star")
    back = read_star((tmp_path / "back.star").read_text())
    assert back["rlnHelicalTubeID"] == ["1", "1", "2", "3", "3", "4"]
    assert [float(word) for word in back["rlnCtfScalefactor"]] == [0.5] * 6


@pytest.mark.parametrize("name", ["", "/", ".", "uid/x", "a//b", "\ud800"])
def test_names_that_are_no_columns_are_refused(name, rng, command, tmp_path):
    rows = structured(random_columns(rng, 4))
    kind = np.dtype([*((n, rows.dtype[n]) for n in rows.dtype.names), ("odd", "<f4")])
    odd = np.zeros(4, kind)
    np.save(tmp_path / "p.npy", odd)
    data = (tmp_path / "p.npy").read_bytes()
    header, _, rest = data.partition(b"}")
    text = header[10:].decode("latin-1").replace("'odd'", ascii(name)) + "}"
    text = text.ljust(len(header) + 512) + "\n"
    start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin-1")
    (tmp_path / "p.cs").write_bytes(start + rest[rest.index(b"\n") + 1 :])
    done = command("import", "p.cs", "p.h5")
    assert done.returncode == 1, done.stderr
    assert "rename" in done.stderr, done.stderr


def test_a_result_group_is_read(rng, go, command, tmp_path):
    np.save(tmp_path / "p.npy", structured(random_columns(rng, 5)))
    shutil.move(tmp_path / "p.npy", tmp_path / "p.cs")
    text = "group:\n  name: particles\nresults:\n  blob:\n    metafile: '>p.cs'\n    num_items: 5\n"
    (tmp_path / "p.csg").write_text(text)
    go("expand", "p.csg", "e.h5", "--symmetry=C2")
    go("verify", "e.h5")
    (tmp_path / "p.csg").write_text(text.replace("5", "6"))
    assert "not of one export" in command("inspect", "p.csg").stderr


def test_what_does_not_belong_here_is_named(columns, command, tmp_path):
    (tmp_path / "p.star.gz").write_bytes(gzip.compress(star_text(columns).encode()))
    assert "unpack" in command("inspect", "p.star.gz").stderr
    (tmp_path / "m.mrc").write_bytes(bytes(208) + b"MAP " + bytes(900))
    assert "map" in command("inspect", "m.mrc").stderr


def test_bytes_of_a_header_are_never_taken_from_another_file(columns, go, command, tmp_path):
    (tmp_path / "p.star").write_text(star_text(columns))
    (tmp_path / "secret").write_bytes(b"secret" * 100)
    go("import", "p.star", "p.h5")
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        del file["star/head"]
        external = [(str(tmp_path / "secret"), 0, 600)]
        file["star"].create_dataset("head", (600,), "u1", external=external)
    done = command("export", "p.h5", "out.star")
    assert done.returncode == 1
    assert "other files" in done.stderr
    assert not os.path.exists(tmp_path / "out.star")


def test_byte_order_is_no_difference(rng, go, tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        for name, values in random_columns(rng, 5).items():
            file[f"particles/{name}"] = values.astype(values.dtype.newbyteorder(">"))
    go("expand", "p.h5", "e.h5", "--symmetry=D3", "--carry=*")
    go("verify", "e.h5")
    go("export", "e.h5", "e.cs")


def test_ids_follow_the_particle_and_are_never_0(rng, go, tmp_path):
    rows = random_columns(rng, 5)
    del rows["uid"]
    for name, order in (("a", np.arange(5)), ("b", np.arange(5)[::-1])):
        np.save(tmp_path / "p.npy", structured({key: each[order] for key, each in rows.items()}))
        shutil.move(tmp_path / "p.npy", tmp_path / f"{name}.cs")
        go("export", f"{name}.cs", f"{name}_out.cs")
    a, b = (np.load(tmp_path / f"{name}_out.cs")["uid"] for name in "ab")
    assert (a == b[::-1]).all()
    assert a.all()
    assert len(set(a.tolist())) == 5
