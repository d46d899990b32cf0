"""An expansion whose rows are made by Dask's workers, into one file on a disk that all share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numba_symexp.annotations import Progress
    from numba_symexp.expansion.job import ExpandJob, Summary


def who_runs(
    dask: Any, workers: int | None, mixed_cpus: bool
) -> "Callable[[ExpandJob, Progress | None], Summary]":
    """Return what carries a job out: this process or, where somebody asks for it, a cluster.

    A run in this process does not wait for the modules that a cluster needs.

    Parameters
    ----------
    dask, workers, mixed_cpus
        See `numba_symexp.cluster.connection.Cluster`.

    Raises
    ------
    UsageError
        An option is out of its range, or goes with an address that is missing.
    """
    if dask is None and workers is None and not mixed_cpus:
        from numba_symexp.conversion.expand_table import run

        return run
    from numba_symexp.cluster.connection import Cluster
    from numba_symexp.cluster.driver import run as run_on

    cluster = Cluster.asked_for(dask, workers, mixed_cpus)
    return lambda job, progress: run_on(job, cluster, progress)
