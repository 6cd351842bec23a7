"""Regression under a check loss: exact, whatever the ties, and never above its start."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import linprog

from mixexp.kernels.check_loss import minimise


def programme(X, y, w, above, below):
    """The least loss, as a linear programme in coefficients and both parts of the residuals."""
    n, q = X.shape
    costs = np.r_[np.zeros(q), above * w, below * w]
    bounds = [(None, None)] * q + [(0, None)] * (2 * n)
    return linprog(costs, A_eq=np.hstack([X, np.eye(n), -np.eye(n)]), b_eq=y, bounds=bounds).fun


def loss(X, y, w, above, below, coef):
    r = y - X @ coef
    return w @ np.maximum(above * r, -below * r)


def sample(kind, seed):
    rng = np.random.default_rng(seed)
    n, q = int(rng.integers(3, 60)), int(rng.integers(1, 6))
    X = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    y = X.sum(axis=1) + rng.standard_t(2, n)
    w = rng.random(n) ** 3
    if kind == "lattice":
        X, y = np.round(X), np.round(y)
    elif kind == "tied targets":
        y = np.round(y)
    elif kind == "copies":
        X[:, -1], w = X[:, 0], rng.integers(0, 3, n).astype(float)
    return X, y, w, float(rng.choice([0.1, 0.5, 0.8]))


KINDS = ("general", "lattice", "tied targets", "copies")


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_the_linear_programme(kind):
    for seed in range(25):
        X, y, w, level = sample(kind, seed)
        coef, value, settled, _ = minimise(X, y, w, level, 1 - level, np.zeros(X.shape[1]))
        assert settled
        assert_allclose(value, loss(X, y, w, level, 1 - level, coef), rtol=1e-12, atol=1e-13)
        assert_allclose(value, programme(X, y, w, level, 1 - level), atol=1e-9 * (1 + w.sum()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_minimum_is_left_where_it_is_and_no_start_is_made_worse(kind):
    for seed in range(25):
        X, y, w, level = sample(kind, seed)
        start = np.random.default_rng(seed).normal(size=X.shape[1])
        coef, value, _, _ = minimise(X, y, w, level, 1 - level, start)
        assert value <= loss(X, y, w, level, 1 - level, start)
        again, _, settled, exchanges = minimise(X, y, w, level, 1 - level, coef)
        # where more rows than columns lie on the plane, another basis may be that of the optimum
        assert settled and (exchanges == 0 or kind != "general")
        assert_allclose(again, coef, atol=1e-8)


def test_the_subgradient_condition_holds_at_the_minimum():
    """Rows off the plane pull as hard as the q rows on it may pull back."""
    X, y, w, level = sample("general", 3)
    coef = minimise(X, y, w, level, 1 - level, np.zeros(X.shape[1]))[0]
    r = y - X @ coef
    on = np.abs(r) < 1e-9
    assert on.sum() == X.shape[1]
    pull = X[~on].T @ (w[~on] * np.where(r[~on] > 0, level, level - 1))
    back = np.linalg.solve((X[on] * w[on, None]).T, -pull)
    assert np.all((back <= level + 1e-9) & (back >= level - 1 - 1e-9))


def test_a_weight_of_zero_is_no_row_and_one_of_two_is_two():
    X, y, w, level = sample("copies", 5)
    index = np.repeat(np.arange(len(y)), w.astype(int))
    start = np.zeros(X.shape[1])
    weighted = minimise(X, y, w, level, 1 - level, start)[1]
    repeated = minimise(X[index], y[index], np.ones(len(index)), level, 1 - level, start)[1]
    assert_allclose(weighted, repeated, rtol=1e-12)


def test_many_rows_take_few_exchanges():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(20_000), rng.normal(size=(20_000, 4))])
    y = X.sum(axis=1) + rng.standard_t(2, 20_000)
    _, _, settled, exchanges = minimise(X, y, np.ones(20_000), 0.5, 0.5, np.zeros(5))
    assert settled and exchanges < 100
