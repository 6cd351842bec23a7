"""Local fits to a surface that is no mixture of experts, from a common start and combined.

`python -m benchmarks --only common-start`: Friedman's surface in eight columns, 32,000 rows in
eight partitions, four experts. A pilot fit of 3,000 rows is the start of all local fits.
Log-likelihoods are those of 10,000 further rows.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import make_friedman1

from mixexp import LocalFit, MoERegressor, aggregate
from mixexp.distributed import local_statistics, refine

from .timing import Line

N, TEST, M, K = 32_000, 10_000, 8, 4
PILOT, SUPPORT, ROUNDS = 3000, 2000, 3


def common_start(quick: bool):
    """Log-likelihood of a test row, by the way of fitting."""
    n = N // 4 if quick else N
    X, y = make_friedman1(n + TEST, n_features=8, noise=1.0, random_state=0)
    test, X, y = (X[n:], y[n:]), X[:n], y[:n]

    def line(what, model):
        height = float(model.log_prob(*test).mean())
        return Line("common-start", f"log-likelihood: {what}", f"({n:,}, 8, {K})", height)

    yield line("all rows, its own search", MoERegressor(K).fit(X, y))
    pilot = MoERegressor(K).fit(X[:PILOT], y[:PILOT])
    parts = np.array_split(np.arange(n), M)
    fits = [LocalFit.of(MoERegressor(K, start=pilot).fit(X[i], y[i])) for i in parts]
    yield line("aligned average", aggregate(fits, K, support=X[:SUPPORT], method="aligned"))
    model = aggregate(fits, K, support=X[:SUPPORT], plan="whole")
    yield line("plans of whole experts", model)
    for _ in range(ROUNDS):
        sums = [local_statistics(model, X[i], y[i], information=False) for i in parts]
        model = refine(model, sums, "em")
    yield line(f"the same after {ROUNDS} steps of EM", model)
