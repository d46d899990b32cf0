"""What each verb says may be done next with what it wrote."""

import json

import numpy as np
import pytest
from conftest import random_columns, write_table

THEN = (
    "local refinement, 3D classification or variability, in C1; "
    "never a global refinement (copies of a particle spoil the FSC)"
)
AGAIN = "extract the particles again at their new centers (with recentering), then "
CENTER = "--center=30,4,20"


@pytest.fixture
def last(go, rng):
    """Run a command line; gives the last line that it printed."""
    write_table("p.h5", random_columns(rng, 20) | {"alignments3D/psize_A": np.full(20, 1.2)})

    def run(*words):
        return go(*words).rstrip().splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ("output", "flags", "before"),
    [
        ("e.h5", (), ""),
        ("e.star", (), ""),
        ("e.cs", (), "Import Result Group with e.csg, then "),
        ("e.h5", (CENTER,), AGAIN),
        ("e.star", (CENTER,), AGAIN),
        ("e.cs", (CENTER,), f"Import Result Group with e.csg, {AGAIN}"),
        ("e.cs", ("--center_px=100,90,80", "--box_px=128"), f"e.csg, {AGAIN}"),
    ],
)
def test_after_an_expansion(last, output, flags, before):
    told = last("expand", "p.h5", output, "--symmetry=D3", *flags)
    assert told.startswith("next: ")
    assert told.endswith(before + THEN)
    assert before or told == f"next: {THEN}"


def test_after_the_export_and_the_choice_of_copies(last):
    for flags, before in (((), ""), ((CENTER,), AGAIN)):
        last("expand", "p.h5", "e.h5", "--symmetry=D3", "--overwrite", *flags)
        assert last("export", "e.h5", "e.star", "--overwrite") == f"next: {before}{THEN}"
        chosen = last("select", "e.h5", "s.cs", "--operators=0,2", "--overwrite")
        group = "Import Result Group with s.csg, "
        assert chosen == f"next: {group}{before or 'then '}{THEN}"
        for further in ((), ("--operators=0,2",)):
            words = ("--one_per_particle", "--overwrite", *further)
            assert "wrote" in last("select", "e.h5", "o.h5", *words)
    assert "wrote" in last("export", "p.h5", "p.star")


def test_after_the_way_back(last):
    last("expand", "p.h5", "e.h5", "--symmetry=D3")
    free = "any refinement, also a global one: each particle has one row"
    assert last("collapse", "e.h5", "c.star") == f"next: {free}"
    assert last("collapse", "e.h5", "c.cs") == f"next: Import Result Group with c.csg, then {free}"


def test_programs_get_it_too(last):
    words = ("expand", "p.h5", "e.cs", "--symmetry=C2", "--json")
    assert json.loads(last(*words))["next_steps"] == (
        f"next: Import Result Group with e.csg, then {THEN}"
    )
