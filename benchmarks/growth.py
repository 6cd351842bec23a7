"""(c) Growth: CPU time of a fit from a given start at 4 n rows over the time at n."""

from __future__ import annotations

from mixexp.em.driver import EM
from mixexp.em.engines import MemoryEngine

from .problems import build, disturbed, simulate, start_from
from .timing import Line, interleaved


def growth(quick=False):
    n, p, K = (20_000 if quick else 100_000), 10, 4
    functions = {}
    for size in (n, 4 * n):
        X, y, labels = simulate(size, p, K)
        model, rows = build(X, y, K)
        start = start_from(model, rows, disturbed(labels, K))
        functions[size] = _fit(model, rows, start)
    times = interleaved(functions, 3)
    yield Line(
        "growth",
        "20 passes, 4 n over n (CPU)",
        f"n = {n:,}, ({p}, {K})",
        times[4 * n] / times[n],
        "<= 4.3",
        f"{times[n]:.2f} s and {times[4 * n]:.2f} s",
    )


def _fit(model, rows, start):
    def fit():
        EM(max_passes=20, tol=-1).run(model, start, MemoryEngine(rows, model))

    fit()
    return fit
