"""The bench still runs: at a tiny scale, where its numbers mean nothing."""

import json
import subprocess
import sys

import numba
import pytest
from conftest import HERE

pytestmark = pytest.mark.slow


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="compilation is switched off")
def test_the_bench_runs(tmp_path):
    written = tmp_path / "bench.json"
    command = [sys.executable, str(HERE.parent / "bench" / "run.py"), "--scale=0.0005"]
    result = subprocess.run(
        [*command, "--only=pipeline", f"--json={written}", f"--folder={tmp_path}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "| met |" in result.stdout
    record = json.loads(written.read_text())
    assert [len(row["samples"]) for row in record["tables"]["pipeline"]] == [5, 5, 5]
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
