"""Expanded files: their format, rows, ids, half-sets and layouts, read with plain h5py."""

import hashlib
import itertools
import json
import os
import shutil
from dataclasses import replace

import h5py
import inside
import naive
import numpy as np
import pytest
from conftest import random_columns, write_table
from inside import (
    BLOCK,
    Chunk,
    FileFormatError,
    IdColumn,
    OutputError,
    SourceError,
    UsageError,
    chunk_sources,
    first_new_id,
    run,
    source_index_dtype,
)

import numba_symexp
from numba_symexp import ExpandJob, ExpansionWarning, expand, helix, point_group

POSE, SHIFT, SPLIT = "alignments3D/pose", "alignments3D/shift", "alignments3D/split"


def rows_of(path):
    """Columns of an expanded file by name."""
    with h5py.File(path) as file:
        found = {}
        file["particles"].visititems(
            lambda name, node: (
                found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None
            )
        )
    return found


def hold_against_naive(columns, rows, operators, psize=None, tolerance_rad=2e-7):
    """Every row of an expanded file against the naive twin."""
    motions = list(zip(operators.matrix, operators.translation_A, strict=True))
    sizes = columns["alignments3D/psize_A"] if psize is None else [psize] * len(columns[POSE])
    row = 0
    for i, (v, s) in enumerate(zip(columns[POSE], columns[SHIFT], strict=True)):
        for g, (rotation, moved) in enumerate(
            naive.mates(naive.exp(v), s, motions, float(sizes[i]))
        ):
            assert rows["source_index"][row] == i
            assert rows["operator_index"][row] == g
            assert naive.angle_rad(naive.exp(rows[POSE][row]), rotation) <= tolerance_rad
            assert np.allclose(rows[SHIFT][row], moved, rtol=0, atol=1e-5)
            row += 1
    assert row == len(rows[POSE])


def test_file_has_the_format(source, columns, tmp_path):
    out = str(tmp_path / "out.h5")
    summary = expand(source, out, symmetry="D7")
    assert (summary.operators, summary.particles, summary.rows) == (14, 50, 700)
    assert summary.bytes == os.path.getsize(out)
    with h5py.File(out) as file:
        attributes = dict(file.attrs)
        assert attributes["format"] == "numba_symexp/expanded-particles"
        assert attributes["format_version"] == 1
        assert attributes["complete"] == 1
        assert attributes["symmetry"] == "D7"
        assert attributes["convention"] == "cryosparc"
        assert attributes["generated_by"] == f"numba_symexp {numba_symexp.__version__}"
        assert attributes["created"].endswith("Z")
        provenance = json.loads(attributes["provenance"])
        assert provenance["parameters"]["symmetry"] == "D7"
        assert provenance["software"]["name"] == "numba_symexp"
        assert provenance["resources"]["max_memory_B"] > 0
        types = {name: rows.dtype.str for name, rows in rows_of(out).items()}
        assert types == {
            "source_index": "<u4",
            "operator_index": "<u2",
            POSE: "<f4",
            SHIFT: "<f4",
            SPLIT: "<u4",
            "uid": "<u8",
        }
        for name in types:
            column = file["particles"][name]
            assert column.attrs["units"]
            assert column.attrs["description"]
            assert column.chunks is None
            assert column.compression is None
        operators = file["operators"]
        assert operators["quaternion"].shape == (14, 4)
        assert operators["quaternion"].dtype == "<f8"
        assert operators["translation_A"].shape == (14, 3)
        assert operators["label"][0] == b"E"
        assert operators["full_index"][:].tolist() == list(range(14))
        assert not operators["rise_index"][:].any()
        assert operators.attrs["kind"] == "group"
        assert operators.attrs["center_A"].tolist() == [0, 0, 0]
        record = dict(file["source"].attrs)
        assert record["path"] == source
        assert record["absolute_path"] == source
        assert record["relative_path"] == "source.h5"
        assert record["table"] == "/particles"
        assert record["n_rows"] == 50
        expected = hashlib.sha256(
            hashlib.sha256(columns[POSE].tobytes()).digest()
            + hashlib.sha256(columns[SHIFT].tobytes()).digest()
        )
        lines = [line.decode() for line in file["source/columns"][()]]
        assert lines == [
            f"{name}\t{columns[name].dtype.str}{list(columns[name].shape[1:]) or ''}\t"
            f"{hashlib.sha256(columns[name].tobytes()).hexdigest()}"
            for name in sorted(columns)
        ]
        text = "\n".join([f"sha256:{expected.hexdigest()}", *lines])
        whole = hashlib.sha256(text.encode()).hexdigest()
        assert record["fingerprint"] == f"sha256-2:{whole}"
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "operators"),
    [
        ({"symmetry": "C1"}, point_group("C1")),
        ({"symmetry": "d3"}, point_group("D3")),
        ({"symmetry": "D3", "convention": "relion"}, point_group("D3", "relion")),
        ({"symmetry": "T"}, point_group("T")),
        ({"symmetry": "I"}, point_group("I2")),
        ({"twist": 27.3, "rise": -4.75, "order": 5}, helix(27.3, -4.75, 5)),
        ({"twist": -1.2, "rise": 4.75, "order": 4, "symmetry": "D2"}, helix(-1.2, 4.75, 4, "D2")),
    ],
)
@pytest.mark.filterwarnings("ignore::numba_symexp.ExpansionWarning")
def test_every_row_is_the_naive_twins(options, operators, source, columns, tmp_path):
    out = str(tmp_path / "out.h5")
    expand(source, out, **options)
    hold_against_naive(columns, rows_of(out), operators)


def test_pixel_size_may_be_given(source, columns, tmp_path):
    out = str(tmp_path / "out.h5")
    expand(source, out, twist=20.0, rise=5.0, order=3, psize=2.5)
    hold_against_naive(columns, rows_of(out), helix(20.0, 5.0, 3), psize=2.5)


def test_float64_columns_stay_float64(rng, tmp_path):
    columns = random_columns(rng, 20, np.float64)
    source = write_table(tmp_path / "source.h5", columns)
    out = str(tmp_path / "out.h5")
    expand(source, out, symmetry="O")
    rows = rows_of(out)
    assert rows[POSE].dtype == rows[SHIFT].dtype == np.float64
    hold_against_naive(columns, rows, point_group("O"), tolerance_rad=1e-12)


def test_rows_of_the_identity_are_the_source_bit_for_bit(source, columns, tmp_path):
    out = str(tmp_path / "out.h5")
    expand(source, out, twist=20.0, rise=5.0, order=3, symmetry="D3")
    rows = rows_of(out)
    assert rows[POSE][::18].tobytes() == columns[POSE].tobytes()
    assert rows[SHIFT][::18].tobytes() == columns[SHIFT].tobytes()


@pytest.mark.parametrize(
    ("compound", "place", "named"),
    [
        (False, "/particles", None),
        (False, "/", None),
        (False, "/job/refined", "job/refined"),
        (True, "/particles", None),
        (True, "/job/refined", "/job/refined"),
    ],
)
def test_tables_are_found_or_named_in_both_layouts(compound, place, named, columns, tmp_path):
    source = write_table(tmp_path / "source.h5", columns, place, compound)
    out = str(tmp_path / "out.h5")
    expand(source, out, symmetry="C3", table=named)
    hold_against_naive(columns, rows_of(out), point_group("C3"))


def test_nested_compound_fields_are_columns(columns, tmp_path):
    inner = [("pose", "<f4", 3), ("shift", "<f4", 2), ("split", "<u4"), ("psize_A", "<f4")]
    rows = np.zeros(50, [("uid", "<u8"), ("alignments3D", inner)])
    rows["uid"] = columns["uid"]
    for name, *_ in inner:
        rows["alignments3D"][name] = columns[f"alignments3D/{name}"]
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["particles"] = rows
    out = str(tmp_path / "out.h5")
    expand(str(tmp_path / "source.h5"), out, symmetry="C3")
    hold_against_naive(columns, rows_of(out), point_group("C3"))


def test_chunked_compressed_and_big_endian_columns_are_read(columns, tmp_path):
    source = str(tmp_path / "source.h5")
    with h5py.File(source, "w") as file:
        for name, column in columns.items():
            kind = column.dtype if column.dtype.kind == "S" else column.dtype.newbyteorder(">")
            file.create_dataset(
                f"particles/{name}", data=column.astype(kind), chunks=True, compression="gzip"
            )
    out, plain = str(tmp_path / "out.h5"), str(tmp_path / "plain.h5")
    expand(source, out, symmetry="C3", carry=("ctf/*",))
    expand(write_table(tmp_path / "source2.h5", columns), plain, symmetry="C3", carry=("ctf/*",))
    for name, column in rows_of(plain).items():
        assert np.array_equal(rows_of(out)[name], column), name


@pytest.mark.parametrize("pose_format", ["quaternion", "matrix", "euler_zyz"])
def test_house_formats_come_back_in_the_same_format(pose_format, columns, tmp_path):
    from test_poses import READ, written

    matrices = np.array([naive.exp(v) for v in columns[POSE]])
    house = {
        "my/orientation": written(matrices, pose_format),
        "my/origin": columns[SHIFT].astype(np.float64),
        "uid": columns["uid"],
        SPLIT: columns[SPLIT],
    }
    source = write_table(tmp_path / "source.h5", house)
    out = str(tmp_path / "out.h5")
    expand(
        source,
        out,
        symmetry="D3",
        pose="my/orientation",
        shift="my/origin",
        pose_format=pose_format,
    )
    rows = rows_of(out)
    assert rows["my/orientation"].dtype == np.float64
    for i, matrix in enumerate(matrices):
        for g, rotation in enumerate(point_group("D3").matrix):
            found = READ[pose_format](rows["my/orientation"][i * 6 + g])
            assert naive.angle_rad(found, (matrix.T @ rotation).T) < 1e-12
    with h5py.File(out) as file:
        attributes = file["particles/my/orientation"].attrs
        assert attributes["pose_format"] == pose_format
        assert attributes["units"] == ("deg" if pose_format == "euler_zyz" else "1")


def test_convention_comes_from_the_table_unless_it_is_given(columns, tmp_path):
    source = write_table(tmp_path / "source.h5", columns, convention="relion")
    out = str(tmp_path / "out.h5")
    assert expand(source, out, symmetry="D3").convention == "relion"
    hold_against_naive(columns, rows_of(out), point_group("D3", "relion"))
    again = expand(source, out, symmetry="D3", convention="cryosparc", overwrite=True)
    assert again.convention == "cryosparc"
    unknown = write_table(tmp_path / "unknown.h5", columns, convention="eman")
    with pytest.raises(UsageError, match="'eman' is unknown"):
        expand(unknown, str(tmp_path / "none.h5"), symmetry="D3")


def test_half_sets_and_carried_columns_follow_the_particle(source, columns, tmp_path):
    out = str(tmp_path / "out.h5")
    expand(source, out, symmetry="T", carry=("ctf/*", "blob/path", "alignments3D/psize_A"))
    rows = rows_of(out)
    for name in (SPLIT, "ctf/df1_A", "blob/path", "alignments3D/psize_A"):
        assert rows[name].dtype == columns[name].dtype
        assert np.array_equal(rows[name], np.repeat(columns[name], 12)), name
    with h5py.File(out) as file:
        assert file["particles/ctf/df1_A"].attrs["units"] == "A"


def test_a_carried_column_may_have_any_name(columns, tmp_path):
    columns["psize"] = np.arange(50.0)
    out = str(tmp_path / "out.h5")
    source = write_table(tmp_path / "source.h5", columns)
    expand(source, out, twist=20.0, rise=5.0, order=3, carry=("psize",))
    assert np.array_equal(rows_of(out)["psize"], np.repeat(columns["psize"], 3))
    hold_against_naive(columns, rows_of(out), helix(20.0, 5.0, 3))


def test_carry_refuses_what_it_cannot_do(source, columns, tmp_path):
    out = str(tmp_path / "out.h5")
    with pytest.raises(SourceError, match=r"matches carry=nothing/\*"):
        expand(source, out, symmetry="C2", carry=("nothing/*",))
    with h5py.File(source, "a") as file:
        file["particles/note"] = ["of varying length"] * 50
    with pytest.raises(SourceError, match="note holds text of varying length"):
        expand(source, out, symmetry="C2", carry=("note",))
    assert not os.path.exists(out)


# Ids


def ids_of(path):
    return rows_of(path)["uid"]


def test_ids_are_distinct_and_the_first_copy_keeps_the_particles(source, columns, tmp_path):
    out = str(tmp_path / "out.h5")
    expand(source, out, symmetry="O")
    ids = ids_of(out).reshape(50, 24)
    assert np.array_equal(ids[:, 0], columns["uid"])
    assert len(np.unique(ids)) == ids.size
    mates = ids[:, 1:].ravel()
    assert np.array_equal(mates, mates[0] + np.arange(mates.size, dtype=np.uint64))


def test_ids_are_reproducible_and_belong_to_one_expansion(source, columns, tmp_path):
    names = [str(tmp_path / f"{k}.h5") for k in range(4)]
    expand(source, names[0], symmetry="D3")
    expand(source, names[1], symmetry="D3", chunk_rows=7)
    expand(source, names[2], symmetry="D3", convention="relion")
    columns[SHIFT][17, 0] += 1
    expand(write_table(tmp_path / "moved.h5", columns), names[3], symmetry="D3")
    starts = [int(ids_of(name)[1]) for name in names]
    assert starts[0] == starts[1]
    assert len(set(starts)) == 3


def test_ids_step_aside_for_a_particles_own(source, columns, tmp_path):
    out, again = str(tmp_path / "out.h5"), str(tmp_path / "again.h5")
    expand(source, out, symmetry="C4")
    taken = ids_of(out)[5]
    columns["uid"][30] = taken
    expand(write_table(tmp_path / "taken.h5", columns), again, symmetry="C4")
    ids = ids_of(again)
    assert len(np.unique(ids)) == ids.size
    assert ids[30 * 4] == taken
    assert ids[1] != ids_of(out)[1]


def test_tables_without_ids_give_rows_without_ids(columns, tmp_path):
    del columns["uid"]
    out = str(tmp_path / "out.h5")
    expand(write_table(tmp_path / "source.h5", columns), out, symmetry="C4")
    assert "uid" not in rows_of(out)


@pytest.mark.parametrize("kind", ["<u4", "<i8", ">u8"])
def test_ids_of_other_integer_types_become_uint64(kind, columns, tmp_path):
    columns["uid"] = np.arange(50, 100).astype(kind)
    out = str(tmp_path / "out.h5")
    expand(write_table(tmp_path / "source.h5", columns), out, symmetry="C2")
    assert ids_of(out).dtype == np.uint64
    assert np.array_equal(ids_of(out)[::2], np.arange(50, 100))


def test_ids_of_another_center_are_others(columns):
    uids = np.sort(columns["uid"])
    starts = {
        first_new_id("sha256:0", replace(point_group("C4"), center_A=np.array(center)), uids)
        for center in ((0.0, 0.0, 0.0), (0.0, 0.0, 50.0), (10.0, 0.0, 0.0))
    }
    assert len(starts) == 3


def test_a_subset_of_an_expansion_has_the_same_ids(columns):
    """Ids are numbered by the operators of the full set, whichever of them are written."""
    whole = point_group("C5")
    subset = whole.choose([0, 3], "subset", "operators 0,3")
    ids = {}
    for operators in (whole, subset):
        fill = IdColumn("uid", np.dtype("<u8"), (), "1", "").filler(operators, 1000, 50)
        rows = np.zeros(50 * len(operators), np.uint64)
        fill(Chunk("", 0, columns, np.ones(50), None), rows)
        ids[len(operators)] = rows.reshape(50, -1)
    assert np.array_equal(ids[2], ids[5][:, [0, 3]])
    assert np.array_equal(ids[5][:, 3], 1000 + 4 * np.arange(50) + 2)


# Half-sets


def halves_of(path):
    return rows_of(path)[SPLIT]


def test_halves_are_drawn_per_particle(columns, tmp_path):
    del columns[SPLIT]
    source = write_table(tmp_path / "source.h5", columns)
    names = [str(tmp_path / f"{k}.h5") for k in range(4)]
    with pytest.warns(ExpansionWarning, match=r"no half-sets \(alignments3D/split\)"):
        expand(source, names[0], symmetry="D3")
    assert SPLIT not in rows_of(names[0])
    expand(source, names[1], symmetry="D3", assign_halves=4)
    expand(source, names[2], symmetry="D3", assign_halves=4, chunk_rows=6 * 3)
    expand(source, names[3], symmetry="D3", assign_halves=5)
    halves = halves_of(names[1]).reshape(50, 6)
    assert np.all(halves == halves[:, :1]), "mates must share a half"
    assert np.sum(halves[:, 0]) == 25
    assert np.array_equal(halves_of(names[1]), halves_of(names[2]))
    assert not np.array_equal(halves_of(names[1]), halves_of(names[3]))


def test_halves_are_drawn_per_tube(columns, tmp_path, rng):
    del columns[SPLIT]
    tubes = rng.integers(0, 8, 50).astype(np.uint64) * 11 + 5
    source = write_table(tmp_path / "source.h5", {**columns, "filament/filament_uid": tubes})
    out = str(tmp_path / "out.h5")
    expand(source, out, twist=20.0, rise=5.0, order=3, assign_halves=1)
    halves = halves_of(out)[::3]
    drawn = {tube: set(halves[tubes == tube]) for tube in np.unique(tubes)}
    assert all(len(half) == 1 for half in drawn.values())
    assert sorted(half.pop() for half in drawn.values()) == [0, 0, 0, 0, 1, 1, 1, 1]


def test_one_tube_cannot_be_split(columns, tmp_path):
    del columns[SPLIT]
    columns["filament/filament_uid"] = np.full(50, 3, np.uint64)
    source = write_table(tmp_path / "source.h5", columns)
    with pytest.raises(SourceError, match="one tube"):
        expand(source, str(tmp_path / "out.h5"), symmetry="C2", assign_halves=1)


def test_halves_are_not_drawn_twice(source, tmp_path):
    with pytest.raises(UsageError, match="has half-sets already"):
        expand(source, str(tmp_path / "out.h5"), symmetry="C2", assign_halves=1)


# The run


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def test_bytes_depend_on_nothing_but_the_job(source, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    digests = set()
    for k, options in enumerate(
        [{}, {"chunk_rows": 1}, {"chunk_rows": 100}, {"threads": 1}, {"overwrite": True}]
    ):
        out = str(tmp_path / "out.h5")
        expand(source, out, symmetry="D7", **options)
        digests.add(digest(out))
        if k < 4:
            os.unlink(out)
    assert len(digests) == 1
    with h5py.File(out) as file:
        assert file.attrs["created"] == "2023-11-14T22:13:20Z"
        assert set(json.loads(file.attrs["provenance"])) == {
            "schema_version",
            "software",
            "source",
            "parameters",
        }


def test_blocks_of_a_long_table_meet(rng, tmp_path, monkeypatch):
    """A table that is read in several blocks gives what one block gives."""
    source = write_table(tmp_path / "source.h5", random_columns(rng, 333))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    whole, parts = str(tmp_path / "whole.h5"), str(tmp_path / "parts.h5")
    expand(source, whole, symmetry="C3")
    monkeypatch.setattr(inside.scan_module, "_BLOCK_BYTES", 1000)
    expand(source, parts, symmetry="C3", chunk_rows=12)
    assert digest(whole) == digest(parts)


def test_the_disk_is_asked_for_every_range_once(source, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(inside.writer, "WRITEBACK_BYTES", 5000)
    monkeypatch.setattr(
        inside.writer,
        "start_writeback",
        lambda descriptor, offset, size: asked.append((offset, offset + size)),
    )
    out = str(tmp_path / "out.h5")
    expand(source, out, symmetry="D3", chunk_rows=60)
    with h5py.File(out) as file:
        column = file[f"particles/{POSE}"].id
        begin, end = column.get_offset(), column.get_offset() + column.get_storage_size()
    ranges = sorted(pair for pair in asked if begin <= pair[0] < end)
    assert ranges[0][0] == begin
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges))
    assert 0.5 < (ranges[-1][1] - begin) / (end - begin) <= 1


@pytest.mark.parametrize("compound", [False, True])
def test_empty_tables_give_empty_tables(compound, columns, tmp_path):
    empty = {name: column[:0] for name, column in columns.items()}
    source = write_table(tmp_path / "source.h5", empty, compound=compound)
    out = str(tmp_path / "out.h5")
    summary = expand(source, out, symmetry="O", carry=("ctf/*",))
    assert summary.rows == 0
    rows = rows_of(out)
    assert rows[POSE].shape == (0, 3)
    assert rows["ctf/df1_A"].shape == (0,)
    with h5py.File(out) as file:
        assert file.attrs["complete"] == 1
    with numba_symexp.open_expanded(out) as table:
        assert len(table) == 0
        assert table["blob/path"][:].shape == (0,)


def test_progress_reaches_the_end(source, tmp_path):
    seen = []
    job = ExpandJob(source, str(tmp_path / "out.h5"), symmetry="C5", chunk_rows=100)
    run(job, lambda done, rows: seen.append((done, rows)))
    assert [done for done, _ in seen] == [100, 200, 250]
    assert {rows for _, rows in seen} == {250}


def test_dry_run_writes_nothing_and_tells_the_size(source, tmp_path):
    out = str(tmp_path / "out.h5")
    planned = expand(source, out, symmetry="D7", dry_run=True)
    assert sorted(os.listdir(tmp_path)) == ["source.h5"]
    done = expand(source, out, symmetry="D7")
    assert (planned.rows, planned.operators) == (done.rows, done.operators)
    assert done.bytes <= planned.bytes <= done.bytes + 20_000


def test_one_operator_copies_with_a_warning(source, columns, tmp_path):
    out = str(tmp_path / "out.h5")
    with pytest.warns(ExpansionWarning, match="copied, not expanded"):
        expand(source, out, symmetry="C1")
    rows = rows_of(out)
    for name in (POSE, SHIFT, SPLIT, "uid"):
        assert rows[name].tobytes() == columns[name].tobytes()
    with pytest.warns(ExpansionWarning, match="copied, not expanded"):
        expand(source, out, twist=20.0, rise=5.0, order=1, overwrite=True)
    assert rows_of(out)[POSE].tobytes() == columns[POSE].tobytes()


def test_odd_poses_are_counted(columns, tmp_path):
    columns[POSE][[3, 9, 30]] = 0
    columns[POSE][12] = [170.0, 3.0, 10.0]
    source = write_table(tmp_path / "source.h5", columns)
    summary = run(ExpandJob(source, str(tmp_path / "out.h5"), symmetry="C2"))
    zero, long = summary.warnings
    assert "never aligned: first in row 3, 3 row(s) in all" in zero
    assert "may mean degrees: first in row 12, 1 row(s) in all" in long


def test_expanded_tables_are_expanded_again_only_on_request(source, columns, tmp_path):
    out, again = str(tmp_path / "out.h5"), str(tmp_path / "again.h5")
    expand(source, out, symmetry="C2")
    with pytest.raises(SourceError, match="already expanded by numba_symexp"):
        expand(out, again, symmetry="C2")
    assert expand(out, again, symmetry="C3", again=True).rows == 300
    assert len(np.unique(ids_of(again))) == 300
    theirs = {**columns, "sym_expand/idx": np.zeros(50, np.uint32)}
    source = write_table(tmp_path / "theirs.h5", theirs)
    with pytest.raises(SourceError, match="already expanded by CryoSPARC"):
        expand(source, str(tmp_path / "none.h5"), symmetry="C2")
    with h5py.File(out, "a") as file:
        del file.attrs["complete"]
    with pytest.raises(FileFormatError, match="not finished"):
        expand(out, again, symmetry="C3", again=True, overwrite=True)


def test_a_source_that_changes_during_the_run_is_noticed(rng, tmp_path, monkeypatch):
    source = write_table(tmp_path / "source.h5", random_columns(rng, 20_000))
    with h5py.File(source) as file:
        place = file[f"particles/{POSE}"].id.get_offset() + 12 * 15_000

    def change_first(*arguments):
        with open(source, "r+b") as file:
            file.seek(place)
            file.write(np.float32(0.25).tobytes())
        return create(*arguments)

    from inside import create

    monkeypatch.setattr(inside.expansion_run, "create", change_first)
    with pytest.raises(SourceError, match="changed while it was read"):
        expand(source, str(tmp_path / "out.h5"), symmetry="C2")
    assert os.listdir(tmp_path) == ["source.h5"]


def test_a_name_that_is_taken_during_the_run_is_left_alone(source, tmp_path, monkeypatch):
    out = tmp_path / "out.h5"

    def take_name(*arguments):
        out.write_text("somebody else's")
        return finish(*arguments)

    from inside import finish

    monkeypatch.setattr(inside.expansion_run, "finish", take_name)
    with pytest.raises(OutputError, match="appeared while"):
        expand(source, str(out), symmetry="C2")
    assert out.read_text() == "somebody else's"
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("order", [1, 4, 14, 60, 1000, 9000, 65536])
def test_chunks_are_whole_blocks_of_bounded_size(order):
    sources = chunk_sources(order)
    assert sources * order <= 600_000
    assert sources % BLOCK == 0 or sources < BLOCK
    assert chunk_sources(order, 10) == max(1, 10 // order)


def test_source_rows_beyond_32_bits_get_a_wider_index():
    assert source_index_dtype(2**32) == np.uint32
    assert source_index_dtype(2**32 + 1) == np.uint64


def test_a_real_cryosparc_table(real_data, tmp_path):
    """5,908 refined particles, of which 1,711 have a rotation vector longer than pi."""
    particles = np.load(real_data / "cryopicls" / "cryosparc_P2_J744_005_particles.cs")
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["particles"] = particles
    out = str(tmp_path / "out.h5")
    summary = expand(str(tmp_path / "source.h5"), out, symmetry="D7")
    assert summary.rows == 5908 * 14
    rows = rows_of(out)
    assert rows[POSE][::14].tobytes() == particles[POSE].tobytes()
    operators = point_group("D7")
    for i in range(0, 5908, 37):
        for g in range(14):
            expected = (naive.exp(particles[POSE][i]).T @ operators.matrix[g]).T
            assert naive.angle_rad(naive.exp(rows[POSE][i * 14 + g]), expected) <= 2e-7
    ids = rows["uid"]
    assert len(np.unique(ids)) == len(ids)
    assert np.array_equal(rows[SPLIT], np.repeat(particles[SPLIT], 14))
    with numba_symexp.open_expanded(out) as table:
        defocus = table["ctf/df1_A"][140:168]
        assert np.array_equal(defocus, np.repeat(particles["ctf/df1_A"][10:12], 14))


def test_a_copy_of_the_output_is_readable_by_h5py_alone(source, tmp_path):
    out = str(tmp_path / "out.h5")
    expand(source, out, symmetry="C2")
    shutil.copy(out, tmp_path / "copy.h5")
    with h5py.File(tmp_path / "copy.h5") as file:
        assert file["particles/alignments3D/pose"][5:7].shape == (2, 3)
