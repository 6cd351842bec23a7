"""Order and degree: the bound and the joint choice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import (
    GLoMERegressor,
    MoEClassifier,
    MoERegressor,
    MultiStart,
    PoissonExpert,
    optimal_order,
    select_order_and_degree,
)

QUICK = MultiStart(n_starts=0.05, max_rounds=0)


# --- the bound -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [50, 1000, 10**6])
@pytest.mark.parametrize(("s", "smoothness", "degree"), [(1, 2.0, 0), (1, 3.5, 3), (3, 1.0, 1)])
def test_the_order_minimises_the_bound(n, s, smoothness, degree):
    def bound(m):
        rate = m ** (-2 * min(smoothness, degree + 1) / s)
        return rate + (m * math.comb(s + degree, degree) + (m - 1) * (s + 1)) * math.log(n) / n

    found = optimal_order(n, s, smoothness, degree)
    values = [bound(m) for m in range(1, 2000)]
    assert found.n_experts == 1 + np.argmin(values) and found.degree == degree
    assert_allclose(found.bound, min(values))


def test_the_order_grows_with_the_theoretical_rate():
    """m ~ (n / log n)^(s / (2 a + s)) where the degree uses all the smoothness."""
    sizes = np.array([10**6, 10**8, 10**10])
    orders = [optimal_order(int(n), 1, 2.0, 1).n_experts for n in sizes]
    slope = np.polyfit(np.log(sizes / np.log(sizes)), np.log(orders), 1)[0]
    assert_allclose(slope, 1 / 5, atol=0.01)


def test_the_best_degree_uses_the_smoothness():
    best = optimal_order(10**6, 1, 4.0)
    each = [optimal_order(10**6, 1, 4.0, k) for k in range(6)]
    assert best.bound == min(one.bound for one in each) and best.degree <= 3
    assert [one.n_experts for one in each] == sorted((one.n_experts for one in each), reverse=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1, 2.0), "n must"),
        ((100, 0, 2.0), "n_features must"),
        ((100, 1, 0.0), "smoothness must"),
        ((100, 1, 2.0, -1), "degree must"),
        ((100, 1, 2.0, 1.5), "degree must"),
    ],
)
def test_numbers_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimal_order(*arguments)


# --- the choice ----------------------------------------------------------------------------------


def steps(n=300):
    """Three levels: experts that ignore X."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(n, 1))
    return X, np.floor(1.5 * (X[:, 0] + 1)) + 0.1 * rng.standard_normal(n)


@pytest.mark.slow
def test_steps_need_constant_experts():
    found = select_order_and_degree(*steps(), n_experts=[1, 2, 3, 4], degrees=[0, 1])
    assert (found.n_experts, found.degree) == (3, 0)
    assert found.best_estimator.coef_.shape == (3, 0)


def test_scores_are_those_of_the_fits():
    X, y = steps(150)
    found = select_order_and_degree(
        X, y, n_experts=(1, 2), degrees=(2, 0, 1), estimator=MoERegressor(start=QUICK)
    )
    assert found.scores.index.tolist() == [0, 1, 2]
    assert found.scores.columns.tolist() == [1, 2]
    best = np.unravel_index(np.nanargmin(found.scores), found.scores.shape)
    assert (found.degree, found.n_experts) == (best[0], 1 + best[1])
    assert_allclose(found.scores.loc[2, 1], -2 * quadratic_fit(X, y) + 4 * np.log(150))


def quadratic_fit(X, y):
    """Maximal log-likelihood of a parabola."""
    residual = y - np.polyval(np.polyfit(X[:, 0], y, 2), X[:, 0])
    return -0.5 * len(y) * (np.log(2 * np.pi * np.mean(residual**2)) + 1)


def test_localised_experts_have_a_degree_as_well():
    X, y = steps(200)
    found = select_order_and_degree(
        X, y**2, n_experts=[1, 2], degrees=[1, 2], estimator=GLoMERegressor(start=QUICK)
    )
    assert found.degree == found.best_estimator.degree
    with pytest.raises(ValueError, match="degrees of 1 or more"):
        select_order_and_degree(X, y, estimator=GLoMERegressor())


def test_what_has_no_degree_is_refused():
    X, y = steps(60)
    poisson = MoERegressor(expert=PoissonExpert())
    with pytest.raises(ValueError, match="PoissonExpert has no degree"):
        select_order_and_degree(X, y, estimator=poisson)
    counts = np.random.default_rng(0).poisson(2, 60)
    found = select_order_and_degree(X, counts, n_experts=[1], degrees=[0, 1], estimator=poisson)
    assert found.degree == 0
    with pytest.raises(ValueError, match="at least one number"):
        select_order_and_degree(X, y, degrees=[])
    with pytest.raises(ValueError, match="MoERegressor or a GLoMERegressor"):
        select_order_and_degree(X, y, estimator=MoEClassifier())
