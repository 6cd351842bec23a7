"""Several correlated responses: structures, derivatives, equivalences and blocks of one's own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats

from mixexp import EM, MoERegressor, MultivariateGaussianExpert, load
from mixexp.em.params import take
from mixexp.em.rows import Rows
from tests.contracts.cases import Problem, batch, model_of, some_params

SETTINGS = {
    "full": {},
    "diagonal": {"covariance": "diagonal"},
    "spherical": {"covariance": "spherical"},
    "blocks": {"covariance": "block_diagonal", "blocks": [[0, 2], [1]]},
}
EACH = {"full": 6, "diagonal": 3, "spherical": 1, "blocks": 4}
structures = pytest.mark.parametrize("structure", SETTINGS)
tied_or_own = pytest.mark.parametrize("tied", [False, True], ids=["own", "tied"])
EXACT = EM(max_passes=3000, tol=1e-15, gradient_tol=1e-9)


def data(n=200, seed=0):
    """Two regimes with different slopes and residual covariances."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2))
    first = rng.random(n) < special.expit(2 * X[:, 0])
    B = rng.standard_normal((2, 3, 2))
    noise = rng.standard_normal((n, 3)) @ np.array([[0.4, 0.2, 0.0], [0, 0.3, 0.1], [0, 0, 0.2]])
    Y = np.where(first[:, None], 1 + X @ B[0].T, X @ B[1].T - 1) + noise
    return X, Y, first.astype(int)


def case_of(structure, tied=False, n=200):
    X, Y, _ = data(n)
    from mixexp import SoftmaxGate

    expert = MultivariateGaussianExpert(**SETTINGS[structure], tied_covariance=tied)
    return Problem(SoftmaxGate(), expert, Rows(X, Y))


@structures
@tied_or_own
def test_the_gradient_is_that_of_the_log_likelihood(structure, tied):
    case = case_of(structure, tied, n=60)
    model = model_of(case)
    params = some_params(model, case.rows, spread=0.2)
    params = take(model.unpack(model.pack(batch(params)), batch(params)), 0)
    gradient = model.gradient(batch(params), batch(model.statistics(params, case.rows).statistics))[
        0
    ]

    def objective(vector):
        return model.log_prob(model.unpack(vector, params), case.rows).mean() - float(
            model.penalty(batch(model.unpack(vector, params)))[0]
        )

    vector, rng = model.pack(params), np.random.default_rng(0)
    for _ in range(6):
        direction = rng.standard_normal(vector.shape)
        moved = [model.pack(model.unpack(vector + s * 1e-6 * direction, params)) for s in (1, -1)]
        numeric = (objective(moved[0]) - objective(moved[1])) / 2e-6
        assert_allclose(gradient @ (moved[0] - moved[1]) / 2e-6, numeric, rtol=1e-5, atol=1e-7)


@structures
@tied_or_own
def test_a_fit_is_stationary_and_has_its_structure(structure, tied):
    X, Y, labels = data()
    expert = MultivariateGaussianExpert(**SETTINGS[structure], tied_covariance=tied)
    model = MoERegressor(2, expert=expert, start=labels).fit(X, Y)
    assert model.certificate_ <= 1e-6
    assert np.diff(model.objective_path_).min(initial=0) >= -1e-11
    assert model.n_free_ == 3 + 2 * 9 + EACH[structure] * (1 if tied else 2)
    covariances = model.covariances_
    zeros = {"full": [], "blocks": [(0, 1), (1, 2)]}.get(structure, [(0, 1), (0, 2), (1, 2)])
    for i, j in zeros:
        assert_allclose(covariances[:, i, j], 0, atol=1e-15)
    if structure == "spherical":  # in the user's units
        assert_allclose(covariances[:, 0, 0], covariances[:, 1, 1], rtol=1e-10)
    assert np.allclose(covariances[0], covariances[1], rtol=1e-12, atol=0) == tied
    assert_allclose(model.dispersion_**2, np.einsum("kaa->ka", covariances), rtol=1e-10)


def test_a_diagonal_covariance_is_that_of_independent_responses():
    X, Y, labels = data()
    diagonal = MultivariateGaussianExpert("diagonal")
    one = MoERegressor(2, expert=diagonal, start=labels, solver=EXACT).fit(X, Y)
    other = MoERegressor(2, start=labels, solver=EXACT).fit(X, Y)
    assert_allclose(one.loglik_, other.loglik_, rtol=1e-10)
    assert one.n_free_ == other.n_free_
    assert_allclose(one.predict(X), other.predict(X), atol=1e-6)


def test_one_expert_is_multivariate_regression():
    X, Y, _ = data()
    model = MoERegressor(1, expert="multivariate_gaussian").fit(X, Y)
    design = np.column_stack([np.ones(len(X)), X])
    coef = np.linalg.lstsq(design, Y, rcond=None)[0]
    residual = Y - design @ coef
    covariance = residual.T @ residual / len(X)
    assert_allclose(model.covariances_[0], covariance, rtol=1e-9)
    law = stats.multivariate_normal(np.zeros(3), covariance)
    assert_allclose(model.loglik_, law.logpdf(residual).sum(), rtol=1e-11)


@pytest.mark.parametrize("structure", ["full", "diagonal"])
def test_experts_in_turn_and_at_once_are_one(structure, monkeypatch):
    case = case_of(structure)
    model = model_of(case, K=3)
    params = some_params(model, case.rows, spread=0.3)
    at_once = model.statistics(params, case.rows)
    monkeypatch.setattr("mixexp.experts.multivariate.AT_ONCE", 1)
    in_turn = model.statistics(params, case.rows)
    assert_allclose(in_turn.loglik, at_once.loglik, rtol=1e-12)
    for a, b in zip(in_turn.statistics.expert, at_once.statistics.expert, strict=True):
        assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_every_expert_may_have_blocks_of_its_own():
    X, Y, labels = data()
    blocks = [[[0, 1], [2]], [[0], [1, 2]]]
    expert = MultivariateGaussianExpert("block_diagonal", blocks=blocks)
    model = MoERegressor(2, expert=expert, start=labels).fit(X, Y)
    covariances = model.covariances_
    assert model.n_free_ == 3 + 2 * 9 + 4 + 4
    assert np.all(covariances[0][[0, 1], 2] == 0) and np.all(covariances[1][0, 1:] == 0)
    assert covariances[0][0, 1] != 0 and covariances[1][1, 2] != 0


def test_many_responses_of_few_rows_are_regular():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 60)
    slopes = rng.standard_normal((2, 120))
    labels = (x > 0).astype(int)
    Y = 2 * labels[:, None] + x[:, None] * slopes[labels] + 0.3 * rng.standard_normal((60, 120))
    expert = MultivariateGaussianExpert("diagonal")
    model = MoERegressor(2, expert=expert, start=labels).fit(x[:, None], Y)
    assert model.regular_


def test_a_saved_fit_comes_back(tmp_path):
    X, Y, labels = data()
    model = MoERegressor(2, expert="multivariate_gaussian", start=labels).fit(X, Y)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert np.array_equal(again.log_prob(X, Y), model.log_prob(X, Y))
    assert np.array_equal(again.covariances_, model.covariances_)


def test_draws_have_the_residual_covariance():
    X, Y, _ = data()
    model = MoERegressor(1, expert="multivariate_gaussian").fit(X, Y)
    draws = model.sample(np.repeat(X[:1], 20000, axis=0), rng=0)
    assert_allclose(np.cov(draws.T), model.covariances_[0], rtol=0.08, atol=0.004)


def test_tied_covariances_need_one_partition():
    X, Y, labels = data()
    blocks = [[[0, 1], [2]], [[0], [1, 2]]]
    expert = MultivariateGaussianExpert("block_diagonal", blocks=blocks, tied_covariance=True)
    with pytest.raises(ValueError, match="one partition"):
        MoERegressor(2, expert=expert, start=labels).fit(X, Y)
