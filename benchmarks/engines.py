"""Whole fits by size and engine: what to use when.

`python -m benchmarks --only engines` fits a model (softmax gate, Gaussian experts) to 10^3 to 10^6
rows in memory, and to 10^6 from a Parquet file, by mini-batches, over Dask partitions, and by
combining 16 local fits. Each line is the elapsed time and, where ways compete, how far the
log-likelihood per row stays below that in memory.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from mixexp import AggregatedMoERegressor, FileDataset, MoERegressor, OnlineEM

from .timing import Line

P, K = 10, 3
SIZES = (1_000, 10_000, 100_000, 1_000_000)
GROUP = 65_536
SECTION = "engines"


def sample(n: int):
    """n rows of P columns from K experts."""
    rng = np.random.default_rng(0)
    gate, experts = rng.normal(size=(2, K, P)) / 2
    X = rng.normal(size=(n, P))
    labels = (X @ gate.T + rng.gumbel(size=(n, K))).argmax(axis=1)
    return X, 2.0 * labels + (X * experts[labels]).sum(axis=1) + 0.5 * rng.normal(size=n)


def engines(quick: bool):
    """Lines of the table."""
    MoERegressor(K).fit(*sample(500))  # kernels are compiled or read once
    for n in SIZES[:-1] if quick else SIZES:
        X, y = sample(n)
        model, seconds = timed(lambda X=X, y=y: MoERegressor(K).fit(X, y))
        note = f"{model.n_iter_} passes"
        yield Line(SECTION, "fit in memory", case(n), seconds, note=note)
    best = model.loglik_ / n
    for what, (model, seconds) in elsewhere(X, y):
        names = getattr(model, "feature_names_in_", None)  # a file has them, arrays have none
        rows = X if names is None else pd.DataFrame(X, columns=names)
        gap = best - model.log_prob(rows, y).mean()
        note = f"log-likelihood per row lower by {gap:.1e}"
        yield Line(SECTION, what, case(n), seconds, note=note)


def case(n: int) -> str:
    return f"({n:,}, {P}, {K})"


def elsewhere(X, y):
    """The other ways to the same model, each with its model and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write(path, X, y)
        rows = FileDataset(path, target="y")
        yield "fit from a Parquet file", timed(lambda: MoERegressor(K).fit(rows))
        mini = MoERegressor(K, solver=OnlineEM())
        yield "OnlineEM from a Parquet file", timed(lambda: mini.fit(rows))
    yield "fit to Dask partitions, two processes", over_dask(X, y)
    local = AggregatedMoERegressor(MoERegressor(K), n_partitions=16, refine_rounds=1)
    yield "16 local fits combined and refined", timed(lambda: local.fit(X, y))


def timed(task):
    """What it returns, and elapsed seconds with one thread of BLAS."""
    with threadpool_limits(1, "blas"):
        began = time.perf_counter()
        found = task()
        return found, time.perf_counter() - began


def write(path, X, y):
    names = [f"x{j}" for j in range(P)]
    table = pa.table({**dict(zip(names, X.T.copy(), strict=True)), "y": y})
    pq.write_table(table, path, row_group_size=GROUP)


def over_dask(X, y):
    """A fit to arrays that two worker processes hold; to start and to load them is not counted."""
    import dask.array as da
    from distributed import Client, LocalCluster, wait

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        rows = da.from_array(X, chunks=(GROUP, -1)).persist()
        target = da.from_array(y, chunks=GROUP).persist()
        wait([rows, target])
        return timed(lambda: MoERegressor(K).fit(rows, target))
