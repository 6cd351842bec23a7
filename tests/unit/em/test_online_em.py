"""`OnlineEM`: near the maximum after two epochs, whatever the order of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mixexp
from mixexp import ActivationGate, MoEClassifier, MoEPath, MoERegressor, OnlineEM, Status
from mixexp.em.engines import MemoryEngine
from mixexp.em.params import stack
from mixexp.em.rows import Rows


def sample(kind, n=5000, seed=0):
    """Two experts in five columns behind a gate of moderate slope."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    first = rng.random(n) < 1 / (1 + np.exp(-2 * X[:, 0]))
    eta = np.where(first, 1 + X[:, 1] - 0.5 * X[:, 2], -1 - X[:, 1] + 0.3 * X[:, 3])
    draw = {
        "gaussian": lambda: eta + 0.6 * rng.normal(size=n),
        "poisson": lambda: rng.poisson(np.exp(0.5 * eta + 0.5)).astype(float),
        "gamma": lambda: rng.gamma(3, np.exp(0.5 * eta) / 3),
        "multinomial": lambda: (rng.random(n) < 1 / (1 + np.exp(-2 * eta))).astype(int),
    }
    return X, draw[kind]()


def estimator(kind, **settings):
    if kind == "multinomial":
        return MoEClassifier(2, random_state=0, **settings)
    return MoERegressor(2, expert=kind, random_state=0, **settings)


slowly = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("poisson", "gamma")]


@pytest.mark.parametrize("kind", ["gaussian", "multinomial", *slowly])
def test_two_epochs_come_within_a_percent_of_the_maximum(kind):
    X, y = sample(kind)
    batch = estimator(kind).fit(X, y)
    online = estimator(kind, solver=OnlineEM(batch_size=500)).fit(X, y)
    assert online.status_ is Status.EPOCHS and not online.converged_
    assert 0 <= batch.loglik_ - online.loglik_ < 0.01 * abs(batch.loglik_)
    assert_allclose(online.loglik_, online.log_prob(X, y).sum(), rtol=1e-9)
    assert len(online.objective_path_) == 3 and online.n_iter_ == 3
    onward = estimator(kind, start=online).fit(X, y)
    assert_allclose(onward.loglik_, batch.loglik_, rtol=1e-7)


def test_the_order_of_the_rows_does_not_matter():
    X, y = sample("gaussian", 4000)
    y = y + 0.5 * (np.arange(4000) > 2000)  # a drift that an order by rows would follow
    order = np.argsort(y)
    weight = 1.0 + (np.arange(4000) % 3)
    one = estimator("gaussian", solver=OnlineEM()).fit(X, y, weight)
    other = estimator("gaussian", solver=OnlineEM()).fit(X[order], y[order], weight[order])
    assert_allclose(other.coef_, one.coef_, rtol=1e-8)
    assert_allclose(other.loglik_, one.loglik_, rtol=1e-10)


def test_rows_without_weight_are_in_no_batch():
    X, y = sample("gaussian", 4200)  # so many that a fit does not merge them, and drop these
    weight = np.where(np.arange(4200) % 2, 0.0, 1.0)
    solver = OnlineEM(batch_size=100)
    start = np.where(X[:, 0] > 0, 0, 1)
    weighted = estimator("gaussian", solver=solver, start=start).fit(X, y, weight)
    alone = estimator("gaussian", solver=solver, start=start[::2]).fit(X[::2], y[::2])
    assert_allclose(weighted.coef_, alone.coef_, rtol=1e-8)


def test_one_epoch_is_averaged_over_its_last_half():
    X, y = sample("gaussian", 2000)

    def coef(average):
        solver = OnlineEM(n_epochs=1, batch_size=200, average=average)
        return estimator("gaussian", solver=solver).fit(X, y).coef_

    assert not np.allclose(coef(True), coef(False), atol=1e-6)


def test_a_callback_stops_after_an_epoch():
    model = estimator("gaussian").fit(*sample("gaussian", 500))
    inner, params = model._model_, stack([model._params_])
    rows = Rows(*(np.asarray(part).reshape(500, -1) for part in sample("gaussian", 500)))
    seen = []

    def watch(state):
        seen.append(state.n_pass)
        return state.n_pass == 2

    solver = OnlineEM(n_epochs=5, batch_size=100)
    result = solver.run(inner, params, MemoryEngine(rows, inner), callback=watch)
    assert seen == [1, 2] and result.n_pass == 3
    assert result.status == [Status.INTERRUPTED]


@pytest.mark.slow
def test_a_mean_over_batches_is_more_precise_than_their_last():
    X, y = sample("gaussian")
    best = estimator("gaussian").fit(X, y)

    def error(average):
        solver = OnlineEM(batch_size=200, average=average)
        return np.abs(estimator("gaussian", solver=solver).fit(X, y).coef_ - best.coef_).max()

    assert error(True) < 0.5 * error(False)


def test_a_file_knows_the_solver(tmp_path):
    X, y = sample("gaussian", 3000)
    model = estimator("gaussian", solver=OnlineEM(n_epochs=1, decay=0.7)).fit(X, y)
    model.save(tmp_path / "model.moe")
    again = mixexp.load(tmp_path / "model.moe")
    assert again.solver.get_params() == model.solver.get_params()
    assert again.status_ is Status.EPOCHS
    assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"solver": OnlineEM(n_epochs=0)}, ValueError, "n_epochs=.*whole number >= 1; got 0"),
        ({"solver": OnlineEM(batch_size=0.5)}, ValueError, "batch_size=.*got 0.5"),
        ({"solver": OnlineEM(decay=0.5)}, ValueError, r"in \(0.5, 1\]; got 0.5"),
        ({"solver": OnlineEM(), "expert": "laplace"}, ValueError, "not available for Laplace"),
        ({"solver": OnlineEM(), "gate": "top_k", "n_experts": 3}, ValueError, "jumps"),
        (
            {"solver": OnlineEM(), "gate": ActivationGate(temperature="estimate")},
            ValueError,
            "stages",
        ),
        ({"solver": "online"}, TypeError, r"None, EM\(...\) or OnlineEM\(...\); got 'online'"),
    ],
)
def test_what_it_cannot_do_is_said(settings, error, says):
    X, y = sample("gaussian", 200)
    with pytest.raises(error, match=says):
        MoERegressor(**{"n_experts": 2} | settings).fit(X, y)


def test_a_path_needs_convergence():
    X, y = sample("gaussian", 200)
    with pytest.raises(TypeError, match="path of penalties needs solver=EM"):
        MoEPath(MoERegressor(2, solver=OnlineEM())).fit(X, y)
