"""Types that annotations share."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

AnyPath = str | os.PathLike[str]
"""A path as callers may give it; inside the package paths are text."""

Progress = Callable[[int, int], None]
"""Called as ``progress(rows_done, rows)`` now and then."""
