"""The ridge of a separated gate: small at any number of rows, and a function of the sample."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import MoERegressor, SoftmaxGate
from mixexp.penalties import MANY_ROWS, vanishing_ridge


def divided(n):
    """Two lines on the two sides of a threshold."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, n)
    side = (x > 0.2).astype(int)
    return x[:, None], np.where(side, 3 + x, -3 - x) + 0.5 * rng.standard_normal(n), side


@pytest.mark.parametrize("n", [60, 2000, 20_000])
def test_a_threshold_costs_next_to_nothing(n):
    X, y, side = divided(n)
    default, free = (
        MoERegressor(2, gate=gate, start=side).fit(X, y)
        for gate in (SoftmaxGate(), SoftmaxGate(ridge=1e-18))
    )
    assert default.status_.name == free.status_.name == "SEPARATED"
    assert 0 <= free.loglik_ - default.loglik_ < 0.05


def test_repetition_and_the_scale_of_weights_leave_the_slopes_alone():
    X, y, side = divided(60)
    once = MoERegressor(2, start=side).fit(X, y)
    thrice = MoERegressor(2, start=np.repeat(side, 3)).fit(np.repeat(X, 3, 0), np.repeat(y, 3))
    heavy = MoERegressor(2, start=side).fit(X, y, sample_weight=np.full(60, 5.0))
    assert_allclose(thrice.gate_coef_, once.gate_coef_, rtol=1e-3)
    assert_allclose(heavy.gate_coef_, once.gate_coef_, rtol=1e-3)


def test_the_smallest_ridge_is_reached_at_many_rows():
    assert vanishing_ridge(MANY_ROWS) == vanishing_ridge(10 * MANY_ROWS)
    assert vanishing_ridge(MANY_ROWS - 1) > vanishing_ridge(MANY_ROWS)
