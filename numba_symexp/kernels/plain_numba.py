"""What Numba's settings are, as far as it can be known without importing it."""

import os
import sys

_KNOWN_SETTINGS = {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"}
"""Those that are obeyed without Numba too."""

_OUR_OWN = "NUMBA_SYMEXP_"
"""How variables of this package begin, of which Numba knows nothing."""


def is_configured_plainly() -> bool:
    """Whether Numba compiles as it does without any settings, but for places and threads."""
    given = {
        name for name in os.environ if name.startswith("NUMBA_") and not name.startswith(_OUR_OWN)
    }
    return given <= _KNOWN_SETTINGS and not os.path.exists(".numba_config.yaml")


def is_compiled() -> bool:
    """Whether functions are to be compiled."""
    if "numba" not in sys.modules and is_configured_plainly():
        return True
    from numba import config

    return not getattr(config, "DISABLE_JIT", 0)


def numba_threads() -> int:
    """As many threads as Numba has, or will start with."""
    if "numba" not in sys.modules and is_configured_plainly():
        given = os.environ.get("NUMBA_NUM_THREADS")
        if given is None and hasattr(os, "sched_getaffinity"):
            return max(1, len(os.sched_getaffinity(0)))
        if given is not None and given.isdecimal() and int(given):
            return int(given)
    from numba import config

    return int(getattr(config, "NUMBA_NUM_THREADS", 1))
