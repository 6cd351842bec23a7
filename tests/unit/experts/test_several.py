"""A different family in every expert."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import mixexp
from mixexp import GammaExpert, LognormalExpert, MoERegressor, MultiStart, StudentExpert, intervals
from mixexp.em.params import stack, take
from tests.unit.experts.test_interval import numeric_gradient


def claims(n=800, seed=0):
    """Lognormal claims on the right, gamma ones on the left."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    first = rng.random(n) < 1 / (1 + np.exp(-3 * x))
    large = np.exp(2 + 0.5 * x + 0.3 * rng.standard_normal(n))
    return x[:, None], np.where(first, large, rng.gamma(3, (1 - 0.3 * x) / 3))


def test_both_families_are_recovered_wherever_they_stand_in_the_list():
    X, y = claims(3000)
    one = MoERegressor(2, expert=["lognormal", "gamma"]).fit(X, y)
    other = MoERegressor(2, expert=[GammaExpert(), LognormalExpert()]).fit(X, y)
    assert_allclose(one.loglik_, other.loglik_, rtol=1e-9)
    assert_allclose(one.coef_, other.coef_[::-1], atol=1e-4)
    assert_allclose(one.intercept_, [2, 0], atol=0.1)
    assert_allclose(one.coef_[:, 0], [0.5, -0.3], atol=0.12)
    assert_allclose(one.scale_, [0.3, np.nan], atol=0.03)
    assert_allclose(one.shape_, [np.nan, 3], atol=0.4)
    assert one.n_free_ == 8
    for single in ("lognormal", "gamma"):
        assert MoERegressor(2, expert=single).fit(X, y).loglik_ < one.loglik_


def test_two_members_of_one_family_are_that_family():
    X, y = claims()
    start = (y < np.median(y)).astype(int)
    alike = MoERegressor(2, expert=["student", "student"], start=start).fit(X, y)
    plain = MoERegressor(2, expert="student", start=start).fit(X, y)
    assert_allclose(alike.loglik_, plain.loglik_, rtol=1e-7)


@pytest.mark.parametrize("as_intervals", [False, True])
def test_the_statistics_hold_the_gradient_of_the_likelihood(as_intervals):
    X, y = claims(200)
    target = y
    if as_intervals:
        keep = y > 0.3
        X, y = X[keep], y[keep]
        target = intervals(np.minimum(y, 8), np.where(y > 8, np.inf, y), truncated_below=0.3)
    estimator = MoERegressor(3, expert=["lognormal", "gamma", "weibull"])
    gate, expert, rows = estimator._checked(X, target, None)
    model = estimator._model(gate, expert, rows)
    template = model.initial(rows)
    vector = model.pack(template)
    vector = vector + 0.1 * np.random.default_rng(1).standard_normal(vector.shape)
    params = model.unpack(vector, template)
    result = model.statistics(params, rows)
    gradient = rows.n * model.gradient(stack([params]), stack([result.statistics]))[0]
    assert_allclose(gradient, numeric_gradient(model, params, rows), atol=1e-4)
    own = expert.pack(params.expert)
    assert_allclose(expert.pack(expert.unpack(own, params.expert)), own)


def test_predictions_are_those_of_the_mixture_of_both_laws():
    X, y = claims(400)
    model = MoERegressor(2, expert=["lognormal", "gamma"], start=(y < 4).astype(int)).fit(X, y)
    eta = model.intercept_ + X * model.coef_[:, 0]
    first = stats.lognorm(model.scale_[0], scale=np.exp(eta[:, 0]))
    second = stats.gamma(model.shape_[1], scale=np.exp(eta[:, 1]) / model.shape_[1])
    pi = model.gate_proba(X)
    assert_allclose(
        model.log_prob(X, y), np.log(pi[:, 0] * first.pdf(y) + pi[:, 1] * second.pdf(y)), rtol=1e-10
    )
    assert_allclose(model.cdf(X, y), pi[:, 0] * first.cdf(y) + pi[:, 1] * second.cdf(y), rtol=1e-9)
    assert_allclose(model.predict(X), pi[:, 0] * first.mean() + pi[:, 1] * second.mean(), rtol=1e-9)
    median = model.predict_quantile(X, 0.5)
    assert_allclose(model.cdf(X, median), 0.5, atol=1e-9)
    draws = model.sample(np.repeat(X[:1], 4000, axis=0), 0)
    assert stats.kstest(model.cdf(np.repeat(X[:1], 4000, axis=0), draws), "uniform").pvalue > 1e-3


def test_standard_errors_agree_with_differences_of_the_likelihood():
    X, y = claims(600)
    model = MoERegressor(2, expert=["lognormal", "gamma"], start=(y < 4).astype(int)).fit(X, y)
    result = model.inference(X, y)
    names = [
        "expert 0: (intercept)",
        "expert 0: x0",
        "expert 0: log(scale)",
        "expert 1: (intercept)",
        "expert 1: x0",
        "expert 1: log(shape)",
    ]
    assert list(result.params.index[2:]) == names
    inner, template = model._model_, stack([model._params_])
    rows, vector = model._rows(X, y), inner.pack(template)[0]

    def gradient(moved):
        params = take(inner.unpack(moved[None], template), 0)
        return numeric_gradient(inner, params, rows)

    steps = 1e-4 * np.eye(len(vector))
    H = np.stack([(gradient(vector + s) - gradient(vector - s)) / 2e-4 for s in steps])
    spread = np.sqrt(np.diag(np.linalg.pinv(-0.5 * (H + H.T), rcond=1e-6)))
    assert_allclose(
        result.bse[["expert 0: log(scale)", "expert 1: log(shape)"]], spread[[6, 9]], rtol=1e-3
    )


def test_files_and_copies_keep_the_list(tmp_path):
    from sklearn.base import clone

    X, y = claims(300)
    model = MoERegressor(
        2, expert=["lognormal", StudentExpert(scale_features=[0])], start=(y < 4).astype(int)
    )
    model = clone(model).fit(X, y)
    model.save(tmp_path / "list.mixexp")
    loaded = mixexp.load(tmp_path / "list.mixexp")
    assert_allclose(loaded.log_prob(X, y), model.log_prob(X, y))
    assert_allclose(loaded.predict_interval(X), model.predict_interval(X))
    assert "LognormalExpert, StudentExpert" in model.summary()


@pytest.mark.parametrize(
    ("experts", "K", "message"),
    [
        (["lognormal", "gamma"], 3, "lists 2 families for n_experts=3"),
        (["lognormal", "poisson"], 2, "no common density"),
        (["lognormal", "nonsense"], 2, "Unknown expert"),
        (["lognormal", "multinomial"], 2, "distribution function"),
        (["lognormal", GammaExpert(tied_shape=True)], 2, "tied_shape"),
    ],
)
def test_lists_that_make_no_model_are_refused(experts, K, message, monkeypatch):
    X, y = claims(60)
    monkeypatch.setattr(MultiStart, "search", None)  # all are refused before any search
    with pytest.raises(ValueError, match=message):
        MoERegressor(K, expert=experts).fit(X, np.ceil(y))


@pytest.mark.parametrize(
    ("gate", "inputs"),
    [("gaussian", {}), ("hierarchical", {}), ("constant", {"groups": np.repeat(np.arange(50), 3)})],
)
def test_other_gates_and_groups_take_lists(gate, inputs):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (150, 1))
    y = np.exp(np.where(x[:, 0] > 0, 2 + x[:, 0], -1.0) + 0.3 * rng.normal(size=150))
    model = MoERegressor(2, gate=gate, expert=["lognormal", "gamma"]).fit(x, y, **inputs)
    if not inputs:
        assert_allclose(model.loglik_, model.log_prob(x, y).sum() + _of_x(model, x), rtol=1e-8)
    assert model.n_experts_ == 2 and np.isfinite(model.loglik_)


def _of_x(model, x):
    """Log density of the columns under a gate that models them."""
    if not model._model_.gate.joint:
        return 0.0
    inner = model._model_
    terms = inner.gate.log_joint(model._params_.gate, inner.gate_design(x))
    return np.logaddexp.reduce(terms, axis=1).sum() - len(x) * inner._log_x_unit
