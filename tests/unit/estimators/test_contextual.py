"""Contexts: they name the experts, mould the fit, and are compared with the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import (
    EM,
    ContextualMoERegressor,
    ElasticNet,
    GaussianExpert,
    MoEClassifier,
    MoERegressor,
    SoftmaxGate,
    load,
    possibility_from_labels,
    possibility_from_tags,
)
from mixexp.explain.leverage import leverage
from mixexp.explain.posterior import gate_calibration, row_uncertainty
from mixexp.explain.residuals import quantile_residuals, refitted_envelope


@pytest.fixture(scope="module")
def process():
    rng = np.random.default_rng(0)
    n = 240
    z = rng.integers(0, 2, n)
    x = np.column_stack([rng.standard_normal(n) + 2 * z, rng.standard_normal(n)])
    y = np.where(z == 1, 1 + 1.5 * x[:, 1], -1 - x[:, 1]) + 0.4 * rng.standard_normal(n)
    known = rng.random(n) < 0.3
    tags = {"night": 0.9 * known * (z == 0), "day": 0.9 * known * (z == 1)}
    return x, y, z, known, possibility_from_tags(tags)


@pytest.fixture(scope="module")
def model(process):
    x, y, _, _, possible = process
    return ContextualMoERegressor(["night", "day"]).fit(x, y, possibilities=possible)


def test_it_is_the_mixture_with_that_prior(process, model):
    x, y, _, _, possible = process
    inner = MoERegressor(2).fit(x, y, expert_prior=possible)
    assert_array_equal(model.coef_, inner.coef_)
    assert_array_equal(model.predict(x), inner.predict(x))
    assert_array_equal(
        model.responsibilities(x, y, possibilities=possible),
        inner.responsibilities(x, y, expert_prior=possible),
    )


def test_contexts_go_by_name(process, model):
    x, y, z, _, possible = process
    assert model.coef_[0, 1] < 0 < model.coef_[1, 1]  # night, day
    turned = possible[["day", "night"]]
    again = ContextualMoERegressor(["night", "day"]).fit(x, y, possibilities=turned)
    assert_array_equal(again.coef_, model.coef_)
    counted = ContextualMoERegressor(2).fit(x, y, possibilities=turned)
    assert counted.contexts_ == ["day", "night"]
    assert_allclose(counted.coef_[::-1], model.coef_, rtol=1e-6)
    text = model.summary()
    assert "night" in text and "day" in text and "expert 0" not in text
    assert "evidential one of rows whose experts are partly known" in text
    assert "partly known" not in ContextualMoERegressor(2).fit(x, y).summary()


def test_without_assertions_it_is_the_plain_mixture(process):
    x, y, _, _, _ = process
    plain = MoERegressor(2).fit(x, y)
    for possible in (None, np.full((len(y), 2), np.nan), np.ones((len(y), 2))):
        ours = ContextualMoERegressor(2).fit(x, y, possibilities=possible)
        assert_allclose(ours.loglik_, plain.loglik_, rtol=1e-12)
    assert ours.contexts_ == ["context 0", "context 1"]
    found = ours.context_agreement(x, y, possibilities=possible)
    assert not found.informative.any() and found.contexts["agreement"].isna().all()
    assert_allclose(found.conflict, 0, atol=1e-12)
    assert_allclose(found.agreement, 1)


def test_agreement_is_its_formula(process, model):
    x, y, _, _, possible = process
    omega = possible.to_numpy()
    free = model.responsibilities(x, y)
    tau = model.responsibilities(x, y, possibilities=possible)
    found = model.context_agreement(x, y, possibilities=possible)
    assert_allclose(found.agreement, (tau * omega).sum(axis=1))
    assert_allclose(found.conflict, -np.log((omega * free).sum(axis=1)), atol=1e-10)
    assert_allclose(tau, omega * free / (omega * free).sum(axis=1, keepdims=True), atol=1e-12)
    assert_allclose(found.contexts["rows"], tau.sum(axis=0))
    twice = model.context_agreement(x, y, possibilities=possible, sample_weight=np.full(len(y), 2))
    assert_allclose(twice.contexts["asserted"], 2 * found.contexts["asserted"])
    assert_allclose(twice.contexts["conflict"], found.contexts["conflict"])


def test_a_false_assertion_is_the_largest_conflict(process):
    x, y, z, known, possible = process
    free = MoERegressor(2).fit(x, y).responsibilities(x, y).max(axis=1)
    wrong = int(np.flatnonzero(known & (free > 0.999))[0])
    possible = possible.copy()
    possible.iloc[wrong] = possible.iloc[wrong].to_numpy()[::-1]
    model = ContextualMoERegressor(["night", "day"]).fit(x, y, possibilities=possible)
    found = model.context_agreement(x, y, possibilities=possible)
    assert found.worst(1)[0] == wrong and found.conflict[wrong] > 1.5


def test_conflict_stays_finite_where_probabilities_underflow(process, model):
    x, y, _, _, _ = process
    far = np.array([[0.0, 30.0]])
    target = model.predict_experts(far)[:, 0]
    found = model.context_agreement(far, target, possibilities=[[0.0, 1.0]])
    assert 745 < found.conflict[0] < np.inf


def test_elastic_nets_keep_the_contexts_and_the_objective_never_falls(process):
    x, y, _, _, possible = process
    noise = np.random.default_rng(3).standard_normal((len(y), 6))
    penalty = ElasticNet(0.3, 0.9)
    model = ContextualMoERegressor(
        ["night", "day"],
        gate=SoftmaxGate(penalty=penalty),
        expert=GaussianExpert(penalty=penalty),
        solver=EM(acceleration=0),
    ).fit(np.column_stack([x, noise]), y, possibilities=possible)
    assert np.all(np.diff(model.objective_path_) >= -1e-10)
    assert model.converged_ and model.certificate_ < 1e-5
    assert (model.coef_[:, 2:] == 0).mean() > 0.5
    assert model.coef_[0, 1] < 0 < model.coef_[1, 1]


def test_files_keep_the_names(process, model, tmp_path):
    x, y, _, _, possible = process
    model.save(tmp_path / "contexts")
    again = load(tmp_path / "contexts")
    assert again.contexts_ == ["night", "day"] and again.summary() == model.summary()
    assert_array_equal(again.predict(x), model.predict(x))


def test_classes_take_a_prior():
    rng = np.random.default_rng(1)
    n = 400
    z = rng.integers(0, 2, n)
    x = np.column_stack([rng.standard_normal(n) + 2 * z, rng.standard_normal(n)])
    up = rng.random(n) < 1 / (1 + np.exp(-np.where(z == 1, 3, -3) * x[:, 1]))
    labels = np.where(up, "up", "down")
    prior = np.eye(2)[z]
    model = MoEClassifier(2).fit(x, labels, expert_prior=prior)
    for k in range(2):
        alone = MoEClassifier(1).fit(x[z == k], labels[z == k])
        assert_allclose(model.coef_[k], alone.coef_[0], atol=1e-3)
    turned = MoEClassifier(2).fit(x, labels, expert_prior=prior[:, ::-1])
    assert_allclose(turned.coef_[::-1], model.coef_, atol=1e-3)
    some = np.where(rng.random(n) < 0.3, z, -1)
    partly = MoEClassifier(2).fit(x, labels, expert_prior=possibility_from_labels(some, 2))
    assert partly.coef_[0, 1, 1] < 0 < partly.coef_[1, 1, 1]
    with pytest.raises(ValueError, match="cannot be given together"):
        MoEClassifier(2).fit(x, labels, expert_prior=prior, groups=np.arange(n))


def test_diagnostics_use_the_assertions_or_refuse_them(process, model):
    x, y, _, _, possible = process
    with pytest.raises(ValueError, match="had an expert_prior="):
        leverage(model, x, y)
    found = leverage(model, x, y, possibilities=possible)
    r = model.responsibilities(x, y, possibilities=possible)
    X = np.column_stack([np.ones(len(y)), x])
    for k in range(2):
        hat = np.linalg.solve((X * r[:, [k]]).T @ X, X.T)
        assert_allclose(found.hat[:, k], r[:, k] * np.einsum("ij,ji->i", X, hat), rtol=1e-6)
    informed = row_uncertainty(model, x, y, possibilities=possible)
    assert informed.total_entropy < row_uncertainty(model, x, y).total_entropy
    for check in (gate_calibration, quantile_residuals, refitted_envelope):
        with pytest.raises(ValueError, match=r"takes no possibilities="):
            check(model, x, y, possibilities=possible)
    with pytest.raises(ValueError, match="draws new targets from x alone"):
        refitted_envelope(model, x, y)


def test_unusable_contexts_are_refused(process):
    x, y, _, _, possible = process
    wide = np.random.default_rng(0).standard_normal((len(y), 600))
    sparse = {"gate": SoftmaxGate(penalty=ElasticNet(0.1, 0.9))}
    sparse["expert"] = GaussianExpert(penalty=ElasticNet(0.1, 0.9))
    named = ["night", "day"]
    cases = [
        ({"contexts": "night"}, x, possible, "names or their number"),
        ({"contexts": None}, x, possible, "names or their number"),
        ({"contexts": 0}, x, possible, "positive number"),
        ({"contexts": ["a", "a"]}, x, possible, "distinct names"),
        ({"contexts": ["a", "b"]}, x, possible, "have the columns"),
        ({"contexts": 3}, x, possible, "each of 3 contexts; got 2"),
        ({"contexts": named}, x, 2 * possible, "between 0 and 1"),
        ({"contexts": named}, x, 0 * possible, "nothing remains possible in row 0"),
        ({"contexts": named}, x, possible[:9], "shape"),
        ({"contexts": named, "prior_likelihood": "x"}, x, possible, "prior_likelihood must be"),
        (
            {"contexts": named, "gate": "gaussian", "prior_likelihood": "conditional"},
            x,
            possible,
            "'conditional' is not for GaussianGate. Take 'evidential'",
        ),
        ({"contexts": named, **sparse}, wide, possible, "not available for sparse penalties"),
    ]
    for settings, X, given, message in cases:
        with pytest.raises(ValueError, match=message):
            ContextualMoERegressor(**settings).fit(X, y, possibilities=given)
    model = ContextualMoERegressor(named)
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.fit(x, y, possibilities={"night": pd.Series(y), "day": y})
    assert not hasattr(model, "partial_fit")
