"""README and guides: they show what the program prints, their Python runs, their flags exist."""

import re
import subprocess
import sys

import pytest
from conftest import HERE

import numba_symexp

PACKAGE = HERE.parent / "numba_symexp"
README = HERE.parent / "README.md"
GUIDES = (
    README,
    *(PACKAGE / name for name in ("README.md", "GUIDE.md", "FORMAT.md")),
    HERE / "README.md",
    HERE.parent / "bench" / "README.md",
)
ERROR = r"largest error \S+ deg"
CHANGING = (r"\d+\.\d\d s \([\d,]+ rows/s\)", r"\d{4}-\d\d-\d\dT[\d:]+Z", ERROR)
"""Times differ from run to run, and the last digits with the processor."""

ELSEWHERE = "# on a cluster with SLURM"
"""A block that begins so needs what no test machine has."""


def without_times(text):
    for pattern in CHANGING:
        text = re.sub(pattern, "...", text)
    return text


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def transcript():
    """(command, output) of the console block."""
    for entry in re.split(r"^\$ ", blocks(README, "console")[0], flags=re.MULTILINE)[1:]:
        command, _, output = entry.partition("\n")
        yield command.split()[1:], output.strip("\n")


def test_the_console_block_is_real_output(program):
    for words, output in transcript():
        result = program(*words)
        assert result.stderr == ""
        assert without_times(result.stdout.strip("\n")) == without_times(output)


@pytest.mark.parametrize("path", [README, PACKAGE / "GUIDE.md"], ids=lambda path: path.name)
def test_python_blocks_run_as_they_stand(path, program, tmp_path):
    assert program("example", "particles.h5").returncode == 0
    wanted = [block for block in blocks(path, "python") if not block.startswith(ELSEWHERE)]
    assert wanted
    for block in wanted:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_public_names_exist():
    for name in numba_symexp.__all__:
        assert getattr(numba_symexp, name)
        assert name in dir(numba_symexp)
    with pytest.raises(AttributeError, match="nothing"):
        _ = numba_symexp.nothing


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: "/".join(path.parts[-2:]))
def test_every_flag_of_a_guide_exists(path):
    from inside import COMMANDS

    known = {name for call in COMMANDS.values() for name in call.__annotations__}
    text = path.read_text()
    flags = set(re.findall(r"--([a-z]\w*)", text))
    elsewhere = {"help", "version", "full", "only", "completion", "cov", "dist"}
    elsewhere |= {"o", "in_parts", "sym", "j"}  # of numba-symexp-relion
    elsewhere |= {"sources", "expanded", "seed", "keep", "worlds", "tomograms"}  # of tests/fuzz.py
    elsewhere |= {"returned", "beside"}  # of it too
    elsewhere |= {"breaks", "skip", "compiled", "tests"}  # of tests/break_the_code.py
    assert flags - known - elsewhere == set()


def test_commands_of_the_goals_are_understood():
    """Each command of the guide's table of goals: its verb, its words and its flags."""
    from inside import COMMANDS, canonical

    table = (PACKAGE / "GUIDE.md").read_text().partition("| goal |")[2].partition("\n\n")[0]
    words = [each.split() for each in re.findall(r"`([^`]*)`", table)]
    commands = [each for each in words if len(each) > 1 and each[0] in COMMANDS]
    assert len(commands) >= 12
    for each in commands:
        assert canonical(each, COMMANDS)[0] == each[0]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: "/".join(path.parts[-2:]))
def test_links_of_a_guide_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", path.read_text()):
        assert (path.parent / link).exists(), link


def test_the_readme_stays_short():
    text = README.read_text()
    assert len(text.splitlines()) <= 190
    assert len(text.split()) <= 1800
