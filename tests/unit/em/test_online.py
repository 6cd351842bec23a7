"""Laws of online EM: blended statistics speak of the current parameters."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import MoERegressor
from mixexp.datasets import make_moe_regression
from mixexp.em.online import first_state, online_step, step_size
from mixexp.em.params import stack, tree_map
from mixexp.em.rows import Rows


@pytest.mark.parametrize("expert", ["gaussian", "poisson", "gamma"])
def test_two_epochs_come_near_the_batch_fit(expert):
    X, y, _ = make_moe_regression(6000, 2, 2, expert=expert, random_state=3, return_truth=True)
    batch = MoERegressor(2, expert=expert).fit(X, y)
    online = MoERegressor(2, expert=expert)
    for first in [*range(0, 6000, 500)] * 2:
        online.partial_fit(X[first : first + 500], y[first : first + 500])
    reached, best = online.log_prob(X, y).mean(), batch.log_prob(X, y).mean()
    assert best - reached < 0.01 * abs(best)
    assert online.status_.name == "ONLINE"
    assert online.n_units_ == 12000
    assert online.regular_


def test_steps_decay_as_documented():
    assert_allclose([step_size(t) for t in (1, 9)], [2**-0.6, 10**-0.6])


def test_gaussian_statistics_move_exactly_to_other_parameters():
    """The quadratic model of a Gaussian expert is exact: shifted = taken at the new point."""
    X, y, _ = make_moe_regression(300, 2, 2, random_state=1, return_truth=True)
    model = MoERegressor(2, gate="constant").fit(X, y)
    inner, params = model._model_, model._params_
    rows = Rows(X, y[:, None])
    resp = inner.responsibilities(params, rows)
    moved = params._replace(expert=params.expert._replace(coef=params.expert.coef + 0.1))
    here = inner.statistics(params, rows, resp).statistics
    there = inner.statistics(moved, rows, resp).statistics
    shifted = inner.shift(here, params, moved)
    tree_map(lambda a, b: assert_allclose(a, b, rtol=1e-9, atol=1e-9), shifted.expert, there.expert)


def test_a_batch_repeated_for_ever_is_a_fixed_point():
    """At the maximum of its own batch, the same batch again moves nothing."""
    X, y, _ = make_moe_regression(400, 2, 2, random_state=2, return_truth=True)
    model = MoERegressor(2).fit(X, y)
    rows = Rows(X, y[:, None])
    state = first_state(model._model_, model._params_, rows)
    after = online_step(model._model_, state, rows)
    vector = model._model_.pack(stack([state.params]))
    assert_allclose(model._model_.pack(stack([after.params])), vector, atol=1e-4)
    assert np.isclose(after.loglik, state.loglik)
