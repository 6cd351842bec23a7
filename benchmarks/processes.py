"""(d) Small problems, the first fit of a process, and the import."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from mixexp.em.driver import EM
from mixexp.em.engines import MemoryEngine

from .problems import build, simulate
from .timing import Line, interleaved

ROOT = Path(__file__).resolve().parents[1]

FIRST_FIT = """
import time, numpy as np
began = time.process_time()
from mixexp import MoERegressor
rng = np.random.default_rng(0)
X = rng.normal(size=(300, 3))
y = np.where(X[:, 0] > 0, 1.0, -1.0) * X[:, 1] + 0.1 * rng.normal(size=300)
MoERegressor(2, start=(X[:, 0] > 0).astype(int)).fit(X, y)
print(time.process_time() - began)
"""
IMPORT = """
import time
began = time.process_time()
{}
print(time.process_time() - began)
"""


def _seconds(code, **environment):
    """CPU seconds that a fresh process prints."""
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(out.stdout.split()[-1])


def small_problems(quick=False):
    n, p, K = 300, 3, 2
    X, y, _ = simulate(n, p, K)
    model, rows = build(X, y, K)
    rng = np.random.default_rng(0)
    engine, em = MemoryEngine(rows, model), EM(max_passes=30, tol=-1)
    for S, bar in ((1, "<= 5"), (16, ""), (256, "")):
        start = model.from_responsibilities(rows, rng.dirichlet(np.ones(K), size=(S, n)))
        em.run(model, start, engine)
        seconds = interleaved({"run": lambda start=start: em.run(model, start, engine)}, 15)["run"]
        yield Line(
            "small",
            "30 passes of the driver, ms (CPU)",
            f"({n}, {p}, {K}), {S} start{'s' * (S > 1)}",
            1e3 * seconds,
            bar,
            f"{1e6 * seconds / 30 / S:.1f} us a start and pass",
        )


def processes(quick=False):
    repeats = 3 if quick else 5
    peers = IMPORT.format("import sklearn.linear_model, numba")
    ours = IMPORT.format("import mixexp; mixexp.MoERegressor")
    pairs = [(_seconds(ours), _seconds(peers)) for _ in range(repeats + 1)][1:]
    mine, theirs = median(a for a, _ in pairs), median(b for _, b in pairs)
    yield Line(
        "process",
        "import mixexp / import sklearn.linear_model, numba (CPU)",
        "estimators included",
        mine / theirs,
        "<= 1.5",
        f"{mine:.2f} s and {theirs:.2f} s",
    )
    with tempfile.TemporaryDirectory() as folder:
        cold = _seconds(FIRST_FIT, NUMBA_CACHE_DIR=folder)
        warm = median(_seconds(FIRST_FIT, NUMBA_CACHE_DIR=folder) for _ in range(repeats))
    case = "(300, 3, 2), import included"
    yield Line("process", "first fit, nothing compiled yet, s (CPU)", case, cold)
    yield Line("process", "first fit, compiled before, s (CPU)", case, warm)
