"""Sources of several files: result groups, passthrough files, and job folders of CryoSPARC."""

import json
import os

import numpy as np
import pytest
from conftest import random_columns
from test_cs import save, structured

import numba_symexp

PASSED = ("ctf/df1_A",)
"""Columns that are in the passthrough file."""

GROUP = """\
created: 2024-01-01 00:00:00.0
group:
  name: {output}
  type: particle
results:
  alignments2D:
    metafile: '>{further}'
    num_items: {rows}
    type: particle.alignments2D
  alignments3D:
    metafile: '>{main}'
    num_items: {rows}
    type: particle.alignments3D
version: v4.4
"""


@pytest.fixture(autouse=True)
def _same_time(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")


def particles(seed, n=20):
    """Columns of some particles; the ids are always the same."""
    columns = random_columns(np.random.default_rng(seed), n)
    columns["uid"] = np.arange(n, dtype=np.uint64) * 7919 + 10**12
    return columns


def write(folder, main, further, seed):
    """One output of a job: a dataset, and its passthrough file with rows in another order."""
    columns = particles(seed)
    folder.mkdir(exist_ok=True)
    own = {name: each for name, each in columns.items() if name not in PASSED}
    save(folder / main, structured(own))
    if further is not None:
        order = np.random.default_rng(1).permutation(len(columns["uid"]))
        save(folder / further, structured({n: columns[n][order] for n in ("uid", *PASSED)}))


def record(version, outputs):
    """What job.json says of outputs: name -> (type, own files, passthrough files)."""
    results = [
        {
            "group_name": output,
            "type": f"{kind}.{slot}",
            "name": slot,
            "metafiles": [f"J42/{each}" for each in files],
            "passthrough": slot == "ctf",
        }
        for output, (kind, own, passed) in outputs.items()
        for slot, files in (("ctf", passed), ("blob", own), ("alignments3D", own))
    ]
    if version == 4:
        return json.dumps({"uid": "J42", "output_results": results})
    grouped = {
        output: {
            "type": kind,
            "results": [each for each in results if each["group_name"] == output],
        }
        for output, (kind, *_) in outputs.items()
    }
    return json.dumps({"uid": "J42", "spec": {"outputs": grouped}})


def imported(go, path, *words):
    """Bytes of an imported source, without the name that it came from."""
    import h5py

    go("import", *words, path, "--overwrite")
    with h5py.File(path, "r+") as file:
        del file.attrs["imported_from"]
        found = {}
        file["particles"].visititems(
            lambda name, node: found.update({name: node[()]}) if hasattr(node, "shape") else None
        )
    return {name: (each.dtype, each.tobytes()) for name, each in found.items()}


def test_a_source_of_two_files_is_named_in_four_ways(go, tmp_path):
    write(tmp_path / "J42", "J42_006_particles.cs", "J42_passthrough_particles.cs", 5)
    main, further = "J42/J42_006_particles.cs", "J42/J42_passthrough_particles.cs"
    go("import", main, further, "joined.h5")
    columns = particles(5)
    group = {"output": "particles", "rows": 20}
    group |= {"main": os.path.basename(main), "further": os.path.basename(further)}
    ways = [("joined.h5",), (main, f"--passthrough={further}"), ("J42",)]
    for kept in ("J42/J42_particles.csg", None):
        if kept:
            (tmp_path / kept).write_text(GROUP.format(**group))
        for suffix in ("h5", "cs", "star"):
            made = []
            for way in [*ways, *([(kept,)] if kept else [])]:
                go("expand", *way, f"x.{suffix}", "--symmetry=C3", "--overwrite")
                if suffix == "h5":
                    with numba_symexp.open_expanded(tmp_path / "x.h5") as table:
                        found = table["ctf/df1_A"][::3], table["alignments3D/pose"][::3]
                    assert (found[0] == columns["ctf/df1_A"]).all()
                    assert (found[1] == columns["alignments3D/pose"]).all()
                    assert "verified" in go("verify", "x.h5")
                    continue
                made.append((tmp_path / f"x.{suffix}").read_bytes())
            assert len(set(made)) < 2, suffix
        if kept:
            (tmp_path / kept).unlink()
    wanted = imported(go, "a.h5", main, further)
    assert imported(go, "b.h5", "J42") == wanted
    assert imported(go, "b.h5", main, f"--passthrough={further}") == wanted


@pytest.mark.parametrize(
    ("main", "further"),
    [
        ("J42_012_particles.cs", "J42_passthrough_particles.cs"),
        ("cryosparc_P3_J42_012_particles.cs", "P3_J42_passthrough_particles.cs"),
        ("J42_00012_particles.cs", "J42_passthrough_particles_all_classes.cs"),
        ("J42_final_particles.cs", "J42_passthrough_particles.cs"),
        ("class_00_final_particles.cs", "passthrough_particles_class_0.cs"),
        ("J42_class_02_00012_particles.cs", "J42_passthrough_particles_class_2.cs"),
        ("particles_selected.cs", "J42_passthrough_particles_selected.cs"),
        ("extracted_particles.cs", "J42_passthrough_particles.cs"),
        ("imported_particles.cs", None),
        ("particles.cs", None),
    ],
)
def test_the_newest_particles_are_found_by_their_names(main, further, command, tmp_path):
    folder = tmp_path / "J42"
    for older in ("012", "00012", "final"):
        if older in main:
            write(folder, main.replace(older, "002"), None, 8)
            write(folder, main.replace(older, "011"), None, 9)
    write(folder, main, further, 5)
    write(folder, "J42_012_volume.cs", None, 6)
    if "selected" in main:
        excluded = (each.replace("selected", "excluded") for each in (main, further))
        write(folder, *excluded, 7)
    done = command("expand", "J42", "x.cs", "--symmetry=C2", "--json")
    assert done.returncode == 0, done.stderr
    names = [f"J42/{each}" for each in (main, further) if each]
    assert done.stderr.splitlines()[0] == (
        f"warning: J42: its newest particles are taken: {' and '.join(names)}"
    )
    assert len(json.loads(done.stdout)["warnings"]) == len(done.stderr.splitlines())
    rows = np.load(tmp_path / "x.cs")
    assert (rows["alignments3D/pose"][::2] == particles(5)["alignments3D/pose"]).all()
    assert ("ctf/df1_A" in rows.dtype.names) == (further is not None)


@pytest.mark.parametrize("version", [4, 5])
def test_a_job_says_which_files_are_its_particles(version, go, tmp_path):
    folder = tmp_path / "copy of J42"
    for number, seed in ((1, 5), (2, 6), (3, 7)):
        write(folder, f"J42_{number}_particles.cs", "J42_passthrough_particles.cs", seed)
    files = [f"J42_{number}_particles.cs" for number in (1, 3, 2)]
    outputs = {
        "particles": ("particle", files, ["J42_passthrough_particles.cs"]),
        "particles_excluded": ("particle", files[:1], []),
        "unfinished": ("particle", [], []),
        "volume": ("volume", ["J42_2_volume.cs"], []),
    }
    (folder / "job.json").write_text(record(version, outputs))
    go("expand", "copy of J42", "x.cs", "--symmetry=C2")
    rows = np.load(tmp_path / "x.cs")
    assert (rows["alignments3D/pose"][::2] == particles(6)["alignments3D/pose"]).all()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "[]",
            "{}",
            '{"output_results": 3}',
            '{"output_results": [7]}',
            "[" * 100_000,
            "\udcff",
        ),
        '{"spec": {"outputs": []}}',
        '{"output_results": [{"type": "particle.blob", "group_name": [], "metafiles": ["a"]}]}',
        record(4, {"particles": ("particle", ["../../J1/gone.cs"], [])}),
        record(5, {"particles": ("particle", [7], [])}),
    ],
)
def test_a_job_that_says_nothing_of_use_leaves_the_names(text, go, tmp_path):
    write(tmp_path / "J42", "J42_2_particles.cs", "J42_passthrough_particles.cs", 5)
    (tmp_path / "J42" / "job.json").write_text(text, errors="surrogateescape")
    go("expand", "J42", "x.cs", "--symmetry=C2")
    assert "ctf/df1_A" in np.load(tmp_path / "x.cs").dtype.names


def test_a_job_leads_to_no_other_folder(go, tmp_path):
    write(tmp_path / "J42", "J42_2_particles.cs", None, 5)
    write(tmp_path / "J1", "J42_2_particles.cs", None, 6)
    outputs = {"particles": ("particle", ["../J1/J42_2_particles.cs"], [])}
    (tmp_path / "J42" / "job.json").write_text(record(4, outputs))
    go("expand", "J42", "x.cs", "--symmetry=C2")
    rows = np.load(tmp_path / "x.cs")
    assert (rows["alignments3D/pose"][::2] == particles(5)["alignments3D/pose"]).all()


@pytest.mark.parametrize("known_by", ["names", "job.json", "result groups"])
def test_one_of_several_outputs_must_be_named(known_by, command, go, tmp_path):
    files = {}
    for number in (0, 1):
        main = f"J42_class_0{number}_final_particles.cs"
        further = f"J42_passthrough_particles_class_{number}.cs"
        write(tmp_path / "J42", main, further, number)
        files[f"particles_class_{number}"] = ("particle", [main], [further])
        if known_by == "result groups":
            group = {"output": f"particles_class_{number}", "main": main, "further": further}
            name = f"J42_particles_class_{number}.csg"
            (tmp_path / "J42" / name).write_text(GROUP.format(rows=20, **group))
    if known_by == "job.json":
        (tmp_path / "J42" / "job.json").write_text(record(4, files))
    done = command("expand", "J42", "x.cs", "--symmetry=C2")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "J42: has 2 outputs of particles: name one of " in done.stderr
    words = done.stderr.split("name one of ")[1].split(";")[1].split()
    go("expand", *words[:1], "x.cs", *words[1:], "--symmetry=C2")
    rows = np.load(tmp_path / "x.cs")
    assert (rows["ctf/df1_A"][::2] == particles(1)["ctf/df1_A"]).all()


def test_a_folder_without_particles(command, tmp_path):
    (tmp_path / "J42").mkdir()
    (tmp_path / "J42" / "run_data.star").write_text("data_\n")
    for verb in (("expand", "J42", "x.cs", "--symmetry=C2"), ("import", "J42", "x.h5")):
        done = command(*verb)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "J42: is a folder: name the particle table, such as run_data.star" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "J42"),
        ("export", "J42", "x.star"),
        ("plot", "J42", "x.png"),
        ("import", "J42", "x.h5"),
        ("expand", "J42", "x.h5", "--symmetry=C2", "--dry_run"),
    ],
)
def test_every_verb_that_reads_particles_takes_a_job(words, command, tmp_path):
    if words[0] == "plot":
        pytest.importorskip("matplotlib")
    write(tmp_path / "J42", "J42_006_particles.cs", "J42_passthrough_particles.cs", 5)
    taken = "taken: J42/J42_006_particles.cs and J42/J42_passthrough_particles.cs"
    done = command(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert taken in done.stderr
    assert any(taken in each for each in json.loads(done.stdout)["warnings"])
    main, further = "J42/J42_006_particles.cs", "J42/J42_passthrough_particles.cs"
    flag = f"--passthrough={further}"
    other = command(
        words[0], main, *words[2:], flag, "--json", *(["--overwrite"] * (len(words) == 3))
    )
    assert other.returncode == 0, other.stderr
    if words[0] == "inspect":
        assert json.loads(other.stdout)["columns"] == json.loads(done.stdout)["columns"]


def test_every_file_of_a_source_is_an_input(command, tmp_path):
    write(tmp_path / "J42", "J42_006_particles.cs", "J42_passthrough_particles.cs", 5)
    main, further = "J42/J42_006_particles.cs", "J42/J42_passthrough_particles.cs"
    group = {"output": "particles", "rows": 20}
    group |= {"main": os.path.basename(main), "further": os.path.basename(further)}
    (tmp_path / "J42" / "J42_particles.csg").write_text(GROUP.format(**group))
    before = {name: (tmp_path / name).read_bytes() for name in (main, further)}
    for source in ((main, f"--passthrough={further}"), ("J42",), ("J42/J42_particles.csg",)):
        for output in (main, further):
            done = command("expand", *source, output, "--symmetry=C2", "--overwrite")
            assert done.returncode == 1, (source, output)
            assert "is the source itself: choose another output" in done.stderr
    assert {name: (tmp_path / name).read_bytes() for name in (main, further)} == before


def test_passthrough_files_move_with_their_source(command, go, tmp_path):
    write(tmp_path / "J42", "J42_006_particles.cs", "J42_passthrough_particles.cs", 5)
    go("expand", "J42", "e.h5", "--symmetry=C2")
    go("export", "e.h5", "wanted.star")
    (tmp_path / "J42").rename(tmp_path / "J43")
    done = command("export", "e.h5", "x.star")
    assert done.returncode == 1
    assert "is gone: name it with --source" in done.stderr
    for given in ("J43", "J43/J42_006_particles.cs"):
        go("export", "e.h5", "x.star", f"--source={given}", "--overwrite")
        assert (tmp_path / "x.star").read_bytes() == (tmp_path / "wanted.star").read_bytes()
    write(tmp_path / "J43", "J42_006_particles.cs", "J42_passthrough_particles.cs", 6)
    done = command("export", "e.h5", "y.star", "--source=J43")
    assert done.returncode == 1
    assert "is not what it was when it was expanded" in done.stderr


def test_passthrough_goes_with_datasets_only(command, go, tmp_path):
    write(tmp_path / "J42", "a_particles.cs", "b_particles.cs", 5)
    go("import", "J42/a_particles.cs", "a.h5")
    for source in ("a.h5", "J42/a_particles.cs"):
        done = command("expand", source, "x.cs", "--symmetry=C2", "--passthrough=a.h5")
        assert done.returncode == 2
        assert "cannot be joined with other files: leave out --passthrough" in done.stderr


def test_from_python(tmp_path):
    write(tmp_path / "J42", "J42_006_particles.cs", "J42_passthrough_particles.cs", 5)
    folder = tmp_path / "J42"
    main, further = folder / "J42_006_particles.cs", folder / "J42_passthrough_particles.cs"
    for given in (further, str(further), [further]):
        report = numba_symexp.inspect(main, passthrough=given)
        assert "ctf/df1_A" in report.columns
        made = numba_symexp.expand(
            main, tmp_path / "x.h5", symmetry="C2", passthrough=given, overwrite=True
        )
        with numba_symexp.open_expanded(made.output) as table:
            assert "ctf/df1_A" in table
    with pytest.warns(numba_symexp.ExpansionWarning, match="its newest particles are taken"):
        numba_symexp.inspect(folder)
    with pytest.raises(ValueError, match="passthrough=3 is a int"):
        numba_symexp.expand(main, tmp_path / "x.h5", symmetry="C2", passthrough=3)


def test_the_real_job(go, tmp_path, real_data):
    job = real_data / "cryopicls"
    main, further = (
        job / "cryosparc_P2_J744_005_particles.cs",
        job / "P2_J744_passthrough_particles.cs",
    )
    if not main.exists():
        pytest.skip(f"no {main}")
    made = []
    for words in ((main, f"--passthrough={further}"), (job / "P2_J744_particles.csg",)):
        go("expand", *words, "x.cs", "--symmetry=C3", "--overwrite")
        made.append((tmp_path / "x.cs").read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("main", "further", "told"),
    [
        ("J42_006_particles.cs", "J42_passthrough_particles.cs", True),
        ("cryosparc_P3_J42_006_particles.cs", "P3_J42_passthrough_particles.cs", True),
        ("J42_006_particles.cs", "J43_passthrough_particles.cs", False),
        ("J42_particles_selected.cs", "J42_passthrough_particles_excluded.cs", False),
        ("mine.cs", "J42_passthrough_particles.cs", False),
    ],
)
def test_a_passthrough_file_that_is_left_aside_is_named(main, further, told, command, tmp_path):
    write(tmp_path / "J42", main, further, 5)
    path, beside = f"J42/{main}", f"J42/{further}"
    words = [
        ("expand", path, "x.cs", "--symmetry=C2"),
        ("expand", path, "x.h5", "--symmetry=C2", "--json"),
        ("import", path, "y.h5"),
        ("export", path, "y.star"),
    ]
    for each in words:
        done = command(*each, "--overwrite")
        assert done.returncode == 0, done.stderr
        assert (f"add --passthrough={beside}" in done.stderr) == told, done.stderr
        again = command(*each[:2], beside, *each[2:]) if each[0] == "import" else None
        again = again or command(*each, f"--passthrough={beside}", "--overwrite")
        assert "left out: add" not in again.stderr
    summary = numba_symexp.expand(
        tmp_path / path, tmp_path / "z.h5", symmetry="C2", passthrough=[tmp_path / beside]
    )
    assert summary.warnings == ()


def test_a_passthrough_file_as_the_source_is_known(command, tmp_path):
    write(tmp_path / "J42", "J42_006_particles.cs", "J42_passthrough_particles.cs", 5)
    done = command("expand", "J42/J42_passthrough_particles.cs", "x.cs", "--symmetry=C2")
    assert done.returncode == 1
    assert "is a passthrough file: give the particles of its job" in done.stderr
    assert done.stderr.endswith("and this one with --passthrough\n")


def test_a_group_without_its_dataset_is_told(command, tmp_path):
    group = {"output": "particles", "rows": 20, "main": "gone.cs", "further": "gone.cs"}
    (tmp_path / "J42_particles.csg").write_text(GROUP.format(**group))
    done = command("inspect", "J42_particles.csg")
    assert done.returncode == 1
    assert done.stderr.startswith("error: J42_particles.csg: names gone.cs, which is not beside it")


def test_a_group_is_no_output(command, tmp_path):
    write(tmp_path / "J42", "J42_006_particles.cs", None, 5)
    done = command("expand", "J42", "x.csg", "--symmetry=C2")
    assert done.returncode == 2
    assert "name the output x.cs\n" in done.stderr
