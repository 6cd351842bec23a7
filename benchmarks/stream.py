"""Fits to a Parquet file larger than memory: throughput of a pass, and peak memory of a fit.

`python -m benchmarks.stream [--full]` measures 2 million rows of 20 columns, or 10 million. Bars:
a pass takes at most 1 / 0.6 of the time of the slower of reading the file alone and the pass over
the same rows in memory, each in one thread; a fit stays within 300 MB above the interpreter and
its libraries.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from mixexp import FileDataset, MoERegressor
from mixexp.em.engines import BlockEngine, MemoryEngine
from mixexp.em.params import stack
from mixexp.em.rows import Rows

from .timing import Line, cpu, interleaved, wall

ROOT = Path(__file__).resolve().parents[1]
GROUP = 131_072  # rows of a row group
P, K = 20, 3
IN_TURN = 1_000_000  # rows that the throughput is measured on, at most: memory holds them as well
CODE = """
import sys, threading, time
import numpy as np
import pyarrow.parquet
from mixexp import FileDataset, MoERegressor

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

rng = np.random.default_rng(0)
X = rng.normal(size=(3000, 3))
MoERegressor(2).fit(X, np.abs(X[:, 0]) + 0.1 * rng.normal(size=3000))  # what is loaded on first use
before, peak, done = resident(), 0.0, threading.Event()

def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, resident())

thread = threading.Thread(target=watch)
thread.start()
began = time.perf_counter()
model = MoERegressor(int(sys.argv[2])).fit(FileDataset(sys.argv[1], target="y"))
seconds = time.perf_counter() - began
done.set()
thread.join()
print(peak - before, seconds, model.n_iter_)
"""


def write(path, n):
    """n rows of P columns from K experts, in row groups of `GROUP` rows."""
    rng = np.random.default_rng(0)
    gate, experts = rng.normal(size=(2, K, P)) / 3
    names = [f"x{j}" for j in range(P)]
    schema = pa.schema([(name, pa.float64()) for name in [*names, "y"]])
    with pq.ParquetWriter(path, schema) as out:
        for start in range(0, n, GROUP):
            X = rng.normal(size=(min(GROUP, n - start), P))
            labels = (X @ gate.T + rng.gumbel(size=(len(X), K))).argmax(axis=1)
            y = 2.0 * labels + (X * experts[labels]).sum(axis=1) + 0.5 * rng.normal(size=len(X))
            columns = dict(zip(names, np.ascontiguousarray(X.T), strict=True))
            out.write_table(pa.table({**columns, "y": y}), row_group_size=GROUP)


def read(path):
    """The file's columns as pyarrow has them, one row group after the other, in one thread."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            file.read_row_group(group, use_threads=False)


def stream(quick=False, full=False):
    n = 10_000_000 if full else 500_000 if quick else 2_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write(path, min(n, IN_TURN))
        yield from throughput(path, 3 if quick else 7)
        if n > IN_TURN:
            write(path, n)
        yield peak_memory(path, n)


def throughput(path, repeats):
    dataset = FileDataset(path, target="y")
    model, rows = MoERegressor(K)._prepare(dataset, None, None)
    blocks = list(dataset.blocks())
    held = Rows(
        np.concatenate([block.X for block in blocks]),
        np.concatenate([block.y for block in blocks])[:, None],
    )
    del blocks
    params = stack([model.initial(rows.example)])
    params.gate.coef[:] = 0.3 * np.random.default_rng(0).normal(size=params.gate.coef.shape)
    passes, in_memory = BlockEngine(rows, model), MemoryEngine(held, model)
    functions = {
        "file": lambda: passes.run(model, params),
        "read": lambda: read(path),
        "memory": lambda: in_memory.run(model, params),
    }
    case = f"({rows.n:,}, {P}, {K})"
    with threadpool_limits(1):
        interleaved(functions, 1)
        for clock, what, bar in ((wall, "wall", ">= 0.6"), (cpu, "CPU, all threads", "")):
            times = interleaved(functions, repeats, clock)
            slower = max(times["read"], times["memory"])
            yield Line(
                "stream",
                f"slower of reading and pass / pass over the file ({what})",
                case,
                slower / times["file"],
                bar,
                ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in times.items()),
            )
        own, reader = np.median([threads(functions["file"]) for _ in range(repeats)], axis=0)
    yield Line(
        "stream",
        "slower of reading and pass / busier thread of the pass (CPU)",
        case,
        slower / max(own, reader),
        ">= 0.6",
        f"what two idle cores give: pass {1e3 * own:.0f} ms, reader {1e3 * reader:.0f} ms",
    )


def threads(function):
    """CPU seconds of this thread, and of the others."""
    whole, own = time.process_time(), time.thread_time()
    function()
    own = time.thread_time() - own
    return own, time.process_time() - whole - own


def peak_memory(path, n) -> Line:
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, str(path), str(K)],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    peak, seconds, passes = map(float, out.stdout.split()[-3:])
    return Line(
        "stream",
        "peak of a fit to a file above imports, MB",
        f"n = {n:,}, p = {P}",
        peak,
        "<= 300",
        f"the rows hold {n * (P + 1) * 8 / 1e6:.0f} MB; {seconds:.0f} s, {passes:.0f} passes",
    )


if __name__ == "__main__":
    for line in stream(full="--full" in sys.argv):
        print(f"{line.what:66s} {line.case:24s} {line.value:8.2f}, bar {line.bar} ({line.note})")
