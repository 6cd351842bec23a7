"""The memory of a fit to blocks does not grow with their number."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixexp import BlockDataset, MoERegressor, MultiStart
from mixexp.em import survey

P = 8
CODE = """
import sys, threading, time
from mixexp import FileDataset, MoERegressor, MultiStart

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

def fit(path):
    start = MultiStart(n_starts=0.1, max_rounds=1)
    MoERegressor(2, start=start).fit(FileDataset(path, target="y", block_rows=10_000))

fit(sys.argv[1])
before, peak = resident(), 0.0
watched = threading.Event()

def watch():
    global peak
    while not watched.wait(0.002):
        peak = max(peak, resident())

thread = threading.Thread(target=watch)
thread.start()
fit(sys.argv[2])
watched.set()
thread.join()
print(peak - before)
"""


def write(path, n, seed):
    rng = np.random.default_rng(seed)
    names = [f"x{j}" for j in range(P)]
    with pq.ParquetWriter(path, pa.schema([(name, pa.float64()) for name in [*names, "y"]])) as out:
        for _ in range(n // 10_000):
            X = rng.normal(size=(10_000, P))
            y = np.where(X[:, 0] > 0, 1 + X[:, 1], -1 - X[:, 1]) + 0.3 * rng.normal(size=10_000)
            out.write_table(pa.table({**dict(zip(names, X.T, strict=True)), "y": y}))


def blocks_of(count):
    """The function that makes so many blocks of 10,000 rows."""

    def blocks():
        for seed in range(count):
            rng = np.random.default_rng(seed)
            X = rng.normal(size=(10_000, P))
            y = np.where(X[:, 0] > 0, 1 + X[:, 1], -1 - X[:, 1]) + 0.3 * rng.normal(size=10_000)
            yield X, y

    return blocks


def traced_peak(count):
    """Most bytes that arrays and other objects of a fit to so many blocks held at once."""
    start = MultiStart(n_starts=0.1, max_rounds=0, table_size=500)
    tracemalloc.start()
    MoERegressor(2, start=start).fit(BlockDataset(blocks_of(count)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_blocks(monkeypatch):
    monkeypatch.setattr(survey.merged_keys, "__defaults__", (10_000,))
    few, many = traced_peak(3), traced_peak(12)
    assert many < few + 0.1 * 9 * 10_000 * (P + 1) * 8


@pytest.mark.slow
def test_resident_memory_does_not_grow_with_the_rows(tmp_path):
    if not os.path.exists("/proc/self/statm"):
        return
    write(tmp_path / "few.parquet", 50_000, 0)
    write(tmp_path / "many.parquet", 1_600_000, 1)
    files = [str(tmp_path / name) for name in ("few.parquet", "many.parquet")]
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, *files],
        capture_output=True,
        text=True,
        check=True,
    )
    whole = 1_600_000 * (P + 1) * 8 / 1e6
    assert float(out.stdout) < 0.5 * whole  # of which the hashes of distinct rows are a third
