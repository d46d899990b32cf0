"""What changes images and is not converted is named, by every verb and both ways."""

import json

import numpy as np
import pytest
from conftest import random_columns
from particle_files import structured
from star_files import loop, particles, star_text
from test_cs import save

LABELS = {
    "rlnBeamTiltX": ("0.000000", "-0.25"),
    "rlnBeamTiltY": ("0", "1e-3"),
    "rlnOddZernike": ("[0,0,0,0,0,0]", "[0,0,-5.8,0,0,2.6]"),
    "rlnEvenZernike": ("[0,0,0,0,0,0,0,0,0]", "[1,0,0,0,0,0,0,0,0]"),
    "rlnMagMat00": ("1.000000", "1.011"),
    "rlnMagMat01": ("0.000000", "0.004"),
    "rlnMagMat10": ("0", "-0.004"),
    "rlnMagMat11": ("1", "0.99"),
    "rlnCtfDataAreCtfPremultiplied": ("0", "1"),
}
"""Label -> word of an image without aberrations, and one of an image with them."""

FIELDS = {
    "ctf/tilt_A": 2,
    "ctf/trefoil_A": 2,
    "ctf/tetra_A": 4,
    "ctf/anisomag": 4,
    "ctf/shift_A": 2,
}
"""Field -> how many numbers."""


def star(path, rng, words, place="optics"):
    """Write 6 particles of two optics groups, with further labels of the optics or particles."""
    columns = particles(rng, 6)
    if place == "particles":
        columns |= {label: [word] * 5 + [words[1][label]] for label, word in words[0].items()}
        path.write_text(star_text(columns))
        return
    rows = {
        "rlnOpticsGroup": ["1", "2"],
        "rlnImagePixelSize": ["1.5", "1.25"],
        "rlnVoltage": ["300", "200"],
        "rlnSphericalAberration": ["2.7", "2.6"],
    }
    rows |= {label: [words[0][label], words[1][label]] for label in words[0]}
    path.write_text(loop("optics", rows) + "\n" + loop("particles", columns) + "\n")


def cs(path, rng, fields=()):
    """Write 6 particles with all fields of aberrations, some of which are not 0 in one row."""
    columns = random_columns(rng, 6)
    columns["blob/idx"] = np.arange(6, dtype=np.uint32)
    for name, size in FIELDS.items():
        columns[name] = np.zeros((6, size), np.float32)
        if name in fields:
            columns[name][4, size - 1] = -0.5
    save(path, structured(columns))


def ways(name, output):
    """Commands that lead from a file to one of the other program, each with what goes before."""
    return (
        ((), ("export", name, output)),
        ((), ("expand", name, output, "--symmetry=C2")),
        ((("import", name, "i.h5"),), ("export", "i.h5", output)),
        ((("expand", name, "e.h5", "--symmetry=C2"),), ("export", "e.h5", output)),
        ((("expand", name, "e.h5", "--symmetry=C2"),), ("collapse", "e.h5", output)),
    )


def said_by(command, before, words):
    """Warnings of a command, which must do its work."""
    for each in before:
        done = command(*each, "--overwrite")
        assert (done.returncode, done.stderr) == (0, ""), each
    done = command(*words, "--overwrite")
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


@pytest.mark.parametrize("place", ["optics", "particles"])
@pytest.mark.parametrize("label", LABELS)
def test_a_label_that_is_not_converted_is_named(label, place, rng, command, tmp_path):
    neutral = {each: words[0] for each, words in LABELS.items()}
    star(tmp_path / "p.star", rng, (neutral, neutral | {label: LABELS[label][1]}), place)
    (said,) = said_by(command, (), ("export", "p.star", "o.cs"))
    assert said.startswith("warning: p.star: left out")
    assert [each for each in LABELS if each in said] == [label]


@pytest.mark.parametrize("way", range(5))
def test_all_labels_are_named_by_every_verb(way, rng, command, tmp_path):
    first, second = ({each: words[k] for each, words in LABELS.items()} for k in (0, 1))
    star(tmp_path / "p.star", rng, (first, second))
    (said,) = said_by(command, *ways("p.star", "o.cs")[way])
    assert [each for each in LABELS if each in said] == list(LABELS)
    assert not np.load(tmp_path / "o.cs")["ctf/tilt_A"].any()


@pytest.mark.parametrize("way", range(5))
def test_all_fields_are_named_by_every_verb(way, rng, command, tmp_path):
    cs(tmp_path / "p.cs", rng, FIELDS)
    (said,) = said_by(command, *ways("p.cs", "o.star")[way])
    assert [each for each in FIELDS if each in said] == list(FIELDS)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_not_converted_is_named(field, rng, command, tmp_path):
    cs(tmp_path / "p.cs", rng, [field])
    done = command("export", "p.cs", "o.star", "--json")
    (said,) = json.loads(done.stdout)["warnings"]
    assert [each for each in FIELDS if each in said] == [field]


def test_images_without_aberrations_raise_no_warning(rng, command, tmp_path):
    neutral = {each: words[0] for each, words in LABELS.items()}
    star(tmp_path / "p.star", rng, (neutral, neutral))
    cs(tmp_path / "p.cs", rng)
    for name, output in (("p.star", "o.cs"), ("p.cs", "o.star")):
        for way in ways(name, output):
            assert said_by(command, *way) == []


def test_what_stays_in_its_program_is_not_warned_of(rng, command, tmp_path):
    first, second = ({each: words[k] for each, words in LABELS.items()} for k in (0, 1))
    star(tmp_path / "p.star", rng, (first, second))
    cs(tmp_path / "p.cs", rng, FIELDS)
    for name, output in (("p.star", "o.star"), ("p.cs", "o.cs")):
        for way in ways(name, output):
            assert said_by(command, *way) == []
    assert "[0,0,-5.8,0,0,2.6]" in (tmp_path / "o.star").read_text()
    assert np.load(tmp_path / "o.cs")["ctf/tilt_A"][4].any()
