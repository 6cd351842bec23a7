"""Optima that a small table leaves open are compared on more rows."""

from __future__ import annotations

import numpy as np
import pytest

from mixexp import MoERegressor, MultiStart


def three_in_two(seed, n=2500):
    """Rows of three groups, which two experts can share in several ways of nearly equal height."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, n)
    mean = np.choose(rng.integers(0, 3, n), [x, -x, rng.normal(0, 0.6, n)])
    return x[:, None], mean + 0.3 * rng.standard_normal(n)


@pytest.mark.parametrize("seed", [1, 5, 9])
def test_the_order_of_optima_is_that_on_all_rows(seed):
    """On 200 rows another optimum is the highest, by less than sampling error."""
    X, y = three_in_two(seed)
    few = MoERegressor(2, gate="constant", start=MultiStart(table_size=200)).fit(X, y)
    all_rows = MoERegressor(2, gate="constant", start=MultiStart(table_size=2500)).fit(X, y)
    assert few.loglik_ > all_rows.loglik_ - 1e-4
    assert few.starts_["best"].tolist() == [True] + [False] * (len(few.starts_) - 1)
    assert few.starts_["loglik"].iloc[0] == pytest.approx(few.loglik_, abs=1e-3)


def test_a_clear_order_is_left_alone():
    """The second optimum is far below: log-likelihoods stay those of the small table."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-2, 2, 2500)
    group = rng.choice(3, 2500, p=[0.55, 0.33, 0.12])
    y = np.choose(group, [x, 3 - x, np.full(2500, -4.0)]) + 0.3 * rng.standard_normal(2500)
    model = MoERegressor(2, gate="constant", start=MultiStart(table_size=200)).fit(x[:, None], y)
    assert model.starts_["regular"].sum() == 2
    assert abs(model.starts_["loglik"].iloc[0] - model.loglik_) > 1
