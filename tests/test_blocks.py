"""Tables that are read and written in many small blocks give what one block gives, at any time."""

import importlib
import json

import h5py
import inside
import numpy as np
import pytest
from conftest import random_columns, write_table
from particle_files import write_cs
from star_files import particles, star_text
from test_dynamo_and_m import dynamo_rows, write_tbl
from test_subtomograms import UNBINNED, subtomograms, tomo_text

ROWS = 23
MOVED = ("--symmetry=C3", "--center=30,-8,21")


def make_sources(folder):
    """Tables of all formats, with micrographs and tubes where a format has them."""
    rng = np.random.default_rng(4)
    columns = random_columns(rng, ROWS, np.float64)
    columns["location/micrograph_path"] = np.array([f"m{k % 3}.mrc" for k in range(ROWS)], "S8")
    columns["location/micrograph_shape"] = np.full((ROWS, 2), 400, np.uint32)
    columns["location/micrograph_psize_A"] = np.full(ROWS, 1.7, np.float32)
    for axis in "xy":
        columns[f"location/center_{axis}_frac"] = rng.uniform(0, 1, ROWS).astype(np.float32)
    columns["note"] = np.array([f"row {k % 5}" for k in range(ROWS)], "S8")
    columns["class"] = rng.integers(0, 2, ROWS)
    write_table(folder / "p.h5", columns)
    write_cs(folder / "p.cs", rng.uniform(-170, 170, (ROWS, 5)), np.arange(ROWS), 64, 1.1, "s")
    star = particles(rng, ROWS)
    star["rlnMicrographName"] = [f"m{k % 3}.mrc" for k in range(ROWS)]
    star["rlnHelicalTubeID"] = [str(1 + k % 2) for k in range(ROWS)]
    (folder / "p.star").write_text(star_text(star))
    (folder / "t.star").write_text(tomo_text(subtomograms(rng, ROWS, coordinates=UNBINNED)))
    write_tbl(folder / "p.tbl", dynamo_rows(rng, ROWS))


def times(path):
    """Objects of an HDF5 file that keep the second in which they were made."""
    names = ["/"]
    with h5py.File(path) as file:
        file.visit(names.append)
        return [name for name in names if h5py.h5g.get_objinfo(file.id, name.encode()).mtime]


CHAINS = {
    "h5": [
        ["expand", "p.h5", "e.h5", *MOVED, "--carry=*"],
        ["expand", "p.h5", "e.cs", *MOVED],
        ["verify", "e.h5", "--json"],
        ["arrange", "e.h5", "--by=class", "--output=a.h5", "--json"],
        ["select", "e.h5", "s.h5", "--operators=0,2", "--min_distance_A=15", "--json"],
        ["verify", "s.h5", "--json"],
        ["collapse", "e.h5", "c.h5"],
        ["collapse", "s.h5", "c.cs"],
        ["reorient", "p.h5", "r.h5", "--flip"],
        ["transfer", "r.h5", "p.h5", "w.h5", "--json"],
        ["inspect", "p.h5", "--json"],
        ["plot", "e.h5", "p.svg"],
    ],
    "cs": [
        ["expand", "p.cs", "e.h5", *MOVED],
        ["export", "e.h5", "e.star"],
        ["expand", "p.cs", "e.cs", *MOVED],
        ["match", "e.cs", "--json"],
        ["collapse", "e.cs", "c.cs", "--source=p.cs"],
        ["import", "p.cs", "i.h5"],
    ],
    "star": [
        ["expand", "p.star", "e.star", *MOVED],
        ["expand", "p.star", "e.h5", *MOVED],
        ["export", "e.h5", "x.cs"],
        ["match", "e.star", "--json"],
        ["collapse", "e.star", "c.star", "--source=p.star"],
        ["reorient", "p.star", "r.star", "--flip"],
        ["transfer", "r.star", "p.star", "w.star", "--json"],
        ["import", "p.star", "i.h5"],
    ],
    "tomograms": [
        ["expand", "t.star", "e.star", *MOVED],
        ["expand", "t.star", "m.star", *MOVED, "--program=m"],
        ["expand", "p.tbl", "e.tbl", *MOVED],
        ["match", "e.tbl", "--json"],
        ["collapse", "e.tbl", "c.tbl", "--source=p.tbl"],
    ],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_small_blocks_make_no_difference(chain, go, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    make_sources(tmp_path)

    def run_all():
        told = []
        for words in CHAINS[chain]:
            makes = words[0] not in ("verify", "match", "inspect")
            shown = go(*words, *["--overwrite"] * makes)
            if "--json" in words:
                found = json.loads(shown, parse_float=lambda text: round(float(text), 4))
                told.append({name: value for name, value in found.items() if name != "seconds"})
        return told, {path.name: path.read_bytes() for path in sorted(tmp_path.iterdir())}

    whole = run_all()
    for place, size in inside.AT_ONCE.items():
        module, name = place.split(":")
        module = importlib.import_module(f"numba_symexp.{module}")
        assert getattr(module, name) > size
        monkeypatch.setattr(module, name, size)
    in_blocks = run_all()
    assert in_blocks[0] == whole[0]
    assert [name for name in whole[1] if in_blocks[1][name] != whole[1][name]] == []
    assert [path.name for path in tmp_path.glob("*.h5") if times(path)] == []
