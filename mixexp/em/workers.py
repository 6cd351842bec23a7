"""Where independent fits run: this process, processes of this machine, or a cluster.

joblib starts the processes. A backend for other machines that the caller has chosen, as in ``with
joblib.parallel_config("dask"):``, is left as it is, and its workers are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from joblib import Parallel, effective_n_jobs, parallel_config
from joblib.parallel import BACKENDS, get_active_backend

LOCAL = ("loky", "multiprocessing", "threading", "sequential")


def as_they_come(
    tasks: Iterator[Any], n_jobs: int | None, n_tasks: int, here: bool = False
) -> Iterator[Any]:
    """Results of `joblib.delayed` tasks, in whatever order they end.

    With ``here`` in this process, one after the other: fits to data that all workers hold.
    """
    if here:
        return (function(*arguments, **keywords) for function, arguments, keywords in tasks)
    return _run(tasks, n_jobs, n_tasks, "generator_unordered")


def in_order(tasks: Iterator[Any], n_jobs: int | None, n_tasks: int) -> list[Any]:
    """Results of `joblib.delayed` tasks, in the order of the tasks."""
    return list(_run(tasks, n_jobs, n_tasks, "list"))


def _run(tasks, n_jobs, n_tasks, return_as) -> Iterator[Any]:
    elsewhere = _is_elsewhere()
    jobs = min(effective_n_jobs(n_jobs), n_tasks)
    if jobs <= 1 and not elsewhere:
        for function, arguments, keywords in tasks:
            yield function(*arguments, **keywords)
        return
    with nullcontext() if elsewhere else _processes(jobs):
        yield from Parallel(return_as=return_as)(tasks)


def _processes(jobs):
    return parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1)


def _is_elsewhere() -> bool:
    """Whether the caller's backend of joblib is none of this machine's."""
    backend, _ = get_active_backend()
    return not isinstance(backend, tuple(BACKENDS[name] for name in LOCAL if name in BACKENDS))
