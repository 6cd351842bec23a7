"""Fits to datasets of blocks are the fits of the same rows in memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import BlockDataset, MoEClassifier, MoERegressor

CUTS = [0, 1100, 1101, 1800, 3000]


def two_regimes(n=3000, seed=0):
    """X, the means of the rows' regimes, and weights of which some are zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    first = rng.uniform(size=n) < 1 / (1 + np.exp(-2 * X[:, 0]))
    mean = np.where(first, 1 + X @ [0.8, 0.5, 0], -1 - X @ [0, 0.3, 0.6])
    return X, mean, rng.uniform(0.5, 2, n) * (rng.uniform(size=n) < 0.9)


def ragged(**parts):
    """The rows in blocks of unequal sizes."""
    blocks = itertools.pairwise(CUTS)
    return BlockDataset([{name: a[i:j] for name, a in parts.items()} for i, j in blocks])


def assert_same_fit(memory, blocked, rtol=1e-9):
    assert (memory.engine_, blocked.engine_) == ("memory", "stream")
    assert memory.starts_.equals(blocked.starts_)
    for name in ("coef_", "intercept_", "gate_coef_", "gate_intercept_", "expert_sizes_"):
        ours, theirs = getattr(blocked, name), getattr(memory, name)
        assert_allclose(ours, theirs, rtol=rtol, atol=rtol, err_msg=name)
    assert_allclose(blocked.loglik_, memory.loglik_, rtol=1e-12)
    assert (blocked.n_free_, blocked.status_) == (memory.n_free_, memory.status_)


def test_gaussian_experts_with_weights():
    X, mean, weight = two_regimes()
    y = mean + 0.3 * np.random.default_rng(1).normal(size=len(mean))
    memory = MoERegressor(2).fit(X, y, weight)
    assert_same_fit(memory, MoERegressor(2).fit(ragged(X=X, y=y, weight=weight)))


def test_classes_with_names():
    X, mean, _ = two_regimes()
    noise = np.random.default_rng(1).logistic(size=len(mean))
    y = np.array(["high", "low"])[(3 * mean + noise < 0).astype(int)]
    one = MoEClassifier(1).fit(X, y)
    blocked = MoEClassifier(1).fit(ragged(X=X, y=y))
    assert_array_equal(blocked.classes_, one.classes_)
    assert_allclose(blocked.coef_, one.coef_, rtol=1e-9)


def test_iterators_are_refused():
    X, mean, _ = two_regimes()
    with pytest.raises(ValueError, match="iterated again; got generator"):
        BlockDataset((X, mean) for _ in range(3))
