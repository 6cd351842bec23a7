"""A known failure of existing software: truncation that a fit silently ignores."""

from __future__ import annotations

import numpy as np
import pytest

from mixexp import MoERegressor, intervals

pytestmark = pytest.mark.slow


def claims(seed, n=10_000):
    """The demonstration of LRMoE.jl: lognormal and inverse Gaussian claims, some cut off.

    Of the last rows a fifth are there only above 5 and a fifth are known only up to 100.
    """
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [rng.random(n) < 0.5, rng.uniform(20, 80, n), rng.uniform(0, 10, n), rng.random(n) < 0.5]
    ).astype(float)
    first = rng.random(n) < 1 / (1 + np.exp(0.5 - X @ [1, -0.05, 0.1, 1.25]))
    large = np.exp(4 + 0.3 * rng.standard_normal(n))
    y = np.where(first, large, rng.wald(20, 20, n))
    number = np.arange(n)
    low = np.where((number >= 6000) & (number < 8000), 5.0, -np.inf)
    censored = (number >= 8000) & (y > 100)
    seen = y > low
    lower, upper = np.where(censored, 100.0, y), np.where(censored, np.inf, y)
    return X[seen], intervals(lower[seen], upper[seen], truncated_below=low[seen]), lower[seen]


def test_the_law_of_truncated_claims_is_recovered():
    estimates, standard, naive = [], [], []
    for seed in range(4):
        X, target, plain = claims(seed)
        settings = {"expert": ["lognormal", "inverse_gaussian"], "expert_features": []}
        model = MoERegressor(2, **settings).fit(X, target)
        result = model.inference(X, target)
        names = ["expert 1: (intercept)", "expert 1: log(shape)"]
        estimates.append(result.params[names])
        standard.append(result.bse[names])
        naive.append(MoERegressor(2, **settings).fit(X, plain).shape_[1])
    away = np.abs(np.array(estimates) - np.log(20)) / np.array(standard)
    assert (away < 3).all() and (away < 2).mean() >= 0.75
    assert np.mean(naive) > 21  # the shape that the package prints: 21.76
