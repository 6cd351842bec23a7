"""Peak resident memory of a whole fit, less what stood after imports and data.

`python -m benchmarks.memory [n p]`; bar: 0.25 x the bytes of X + 200 MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .timing import Line

ROOT = Path(__file__).resolve().parents[1]
CODE = """
import sys, threading, time
import numpy as np
from mixexp import EM, MoERegressor
from mixexp.em.threads import single_threaded_blas
from benchmarks.problems import disturbed, simulate

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

n, p, start = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
X, y, labels = simulate(n, p, 3)
labels = disturbed(labels, 3)
MoERegressor(2, start=labels[:500] % 2).fit(X[:500], y[:500])
before, peak, stop = resident(), 0, False

def watch():
    global peak
    while not stop:
        peak = max(peak, resident())
        time.sleep(0.002)

thread = threading.Thread(target=watch)
thread.start()
given = labels if start == "labels" else "default"
MoERegressor(3, start=given, solver=EM(max_passes=30), n_jobs=2, random_state=0).fit(X, y)
stop = True
thread.join()
print((peak - before) / 2**20, X.nbytes / 2**20)
"""


def memory(quick=False, sizes=None):
    n = 10**5 if quick else 10**6
    for size, p, start in sizes or [(n, 10, "labels"), (n, 50, "labels"), (n, 10, "default")]:
        out = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CODE, str(size), str(p), start],
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        used, data = map(float, out.stdout.split()[-2:])
        yield Line(
            "memory",
            "peak of a fit above imports and data, MB",
            f"n = {size:,}, p = {p}, start: {start}",
            used,
            f"<= {0.25 * data + 200:.0f}",
            f"X holds {data:.0f} MB",
        )


if __name__ == "__main__":
    given = [(int(sys.argv[1]), int(sys.argv[2]), "labels")] if len(sys.argv) > 2 else None
    for line in memory(sizes=given):
        print(f"{line.case:36s} {line.value:8.1f} MB, bar {line.bar} ({line.note})")
