"""The same expansion by Dask's workers on this machine, against one process."""

import importlib.util
import os

from interop_bench import Conversion
from pipeline_bench import million
from rows import Row
from sources import table
from timing import interleaved

_WORKERS = 2


def dask_rows(folder: str, particles: int, runs: int) -> list[Row]:
    """Whole processes, fsync included; the start of scheduler and workers counts."""
    what = f"{million(particles)}, whole process, --dask=local --workers={_WORKERS}"
    against = "the same without --dask"
    if importlib.util.find_spec("distributed") is None:
        return [Row(what, against=against, note="distributed is not installed")]
    source = table(folder, particles)
    plain = Conversion("expand", source, os.path.join(folder, "plain.h5"), "--symmetry=I")
    flags = ("--symmetry=I", "--dask=local", f"--workers={_WORKERS}")
    by_dask = Conversion("expand", source, os.path.join(folder, "dask.h5"), *flags)
    taken = interleaved({"dask": by_dask.seconds, "plain": plain.seconds}, runs, watch=False)
    plain.remove()
    by_dask.remove()
    return [Row(what, taken["dask"], against=against, peers=taken["plain"])]
