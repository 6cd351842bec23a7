"""Newton steps under a bound on the ratio of scales: the maximum, against a general optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from mixexp.solvers.indefinite import bounded_newton
from mixexp.solvers.ratio import ratio_bounded_newton

K, D, GAP = 3, 4, 1.0
PLACE, COLUMN = np.array([1, 3]), 0  # the coordinates with bounds; the coupled one is the first


def problem(seed):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((K, D, D + 2))
    value = rng.uniform(-GAP / 2, GAP / 2, K)  # inside the bound
    score = 4 * rng.standard_normal((K, D))
    score[rng.integers(K), PLACE[COLUMN]] -= 8  # one falls far below the others
    return root @ root.swapaxes(1, 2), score, value


def gain(step, gram, score):
    return np.sum(score * step) - 0.5 * np.einsum("ka,kab,kb->", step, gram, step)


@pytest.mark.parametrize("seed", range(8))
def test_the_step_maximises_the_quadratic_under_the_bound(seed):
    gram, score, value = problem(seed)
    free = np.full((K, 2), 50.0)
    step = ratio_bounded_newton(gram, score, PLACE, -free, free, value, COLUMN, GAP)
    new = value + step[:, PLACE[COLUMN]]
    assert new.max() - new.min() <= GAP + 1e-9

    def pairs(v):
        moved = value + v.reshape(K, D)[:, PLACE[COLUMN]]
        return (GAP - (moved[:, None] - moved[None])).ravel()

    best = minimize(
        lambda v: -gain(v.reshape(K, D), gram, score),
        np.zeros(K * D),
        jac=lambda v: (np.einsum("kab,kb->ka", gram, v.reshape(K, D)) - score).ravel(),
        constraints={"type": "ineq", "fun": pairs},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert_allclose(gain(step, gram, score), -best.fun, rtol=1e-6)


def test_problems_in_a_batch_are_those_alone():
    cases = [problem(seed) for seed in range(4)]
    gram, score, value = (np.stack(part) for part in zip(*cases, strict=True))
    free = np.full((4, K, 2), 50.0)
    whole = ratio_bounded_newton(gram, score, PLACE, -free, free, value, COLUMN, GAP)
    for i, case in enumerate(cases):
        alone = ratio_bounded_newton(*case[:2], PLACE, -free[i], free[i], case[2], COLUMN, GAP)
        assert_allclose(whole[i], alone, rtol=1e-12)


def test_where_the_gap_is_wide_it_is_the_bounded_step():
    gram, score, value = problem(0)
    low = np.full((K, 2), -0.3)
    wide = ratio_bounded_newton(gram, score, PLACE, low, -low, value, COLUMN, 1e3)
    assert_allclose(wide, bounded_newton(gram, score, PLACE, low, -low))
