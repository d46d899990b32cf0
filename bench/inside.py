"""The library's private names that benchmarks use: those of tests/inside.py."""

import runpy
from pathlib import Path
from typing import Any

_TABLE = runpy.run_path(str(Path(__file__).parent.parent / "tests" / "inside.py"))


def __getattr__(name: str) -> Any:
    return _TABLE["__getattr__"](name)
