"""What is known of the rows' experts: the objective, its gradient, its limits and its starts."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, special

from mixexp import EM, MoERegressor, load
from mixexp.em.engines import MemoryEngine
from mixexp.em.params import stack, take
from mixexp.em.starts.table import compact, hash_rows

KINDS = ["conditional", "evidential"]


def two_regimes(seed, n=200, tagged=0.2):
    """Rows of two regimes, the gate steep in x; a share of them tagged by a soft label."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, 2))
    z = (rng.random(n) < special.expit(3 * x[:, 0])).astype(int)
    y = np.where(z == 1, 1 + 1.5 * x[:, 1], -1 - x[:, 1]) + 0.4 * rng.standard_normal(n)
    prior = np.full((n, 2), np.nan)
    known = rng.random(n) < tagged
    prior[known] = 0.1
    prior[known, z[known]] = 1.0
    return x, y, z, prior


def prepared(kind, prior, seed=0, gate="softmax"):
    x, y, _, _ = two_regimes(seed, len(prior))
    model = MoERegressor(prior.shape[1], gate=gate)
    inner, rows = model._prepare(x, y, None, expert_prior=prior, prior_likelihood=kind)
    inner = inner._replace(prior_likelihood=kind)
    rng = np.random.default_rng(seed + 1)
    point = stack([inner.initial(rows)])
    vector = inner.pack(point)
    point = inner.unpack(vector + 0.3 * rng.standard_normal(vector.shape), point)
    return inner, rows, point


@pytest.mark.parametrize(
    ("kind", "gate"),
    [
        ("conditional", "softmax"),
        ("evidential", "softmax"),
        ("evidential", "gaussian"),
        ("evidential", "hierarchical"),
        ("evidential", "sigmoid"),
    ],
)
def test_gradient_is_the_derivative_of_the_objective(kind, gate):
    prior = np.random.default_rng(5).random((60, 3))
    prior[:10] = [1, 0, 0]
    inner, rows, point = prepared(kind, prior, gate=gate)
    engine = MemoryEngine(rows, inner)
    vector = inner.pack(point)[0]

    def objective(v):
        own = inner.unpack(v[None], point)
        return (engine.run(inner, own).loglik / rows.n - inner.penalty(own))[0]

    numeric = optimize.approx_fprime(vector, objective, 1e-6)
    exact = inner.gradient(point, engine.run(inner, point).statistics)[0]
    np.testing.assert_allclose(exact, numeric, atol=3e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_objective_is_its_formula(kind):
    prior = np.random.default_rng(5).random((60, 2)) + 0.05
    inner, rows, point = prepared(kind, prior)
    params = take(point, 0)
    omega = prior / prior.max(axis=1, keepdims=True)
    gate, joint = np.exp(inner.log_gate(params, rows.X)), np.exp(inner.log_joint(params, rows))
    wanted = np.log((omega * joint).sum(axis=1))
    if kind == "conditional":
        wanted -= np.log((omega * gate).sum(axis=1))
    np.testing.assert_allclose(inner.log_likelihood(params, rows), wanted, rtol=1e-10)
    total = MemoryEngine(rows, inner).run(inner, point).loglik[0]
    np.testing.assert_allclose(total, wanted.sum(), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prior_of_ones_is_no_prior(kind):
    inner, rows, point = prepared(kind, np.random.default_rng(5).random((60, 2)))
    with_ones = rows._replace(prior=np.ones((60, 2)))
    ours = MemoryEngine(with_ones, inner).run(inner, point)
    plain = MemoryEngine(rows._replace(prior=None), inner, fused=False).run(inner, point)
    np.testing.assert_allclose(ours.loglik, plain.loglik, rtol=1e-12)
    np.testing.assert_allclose(
        inner.gradient(point, ours.statistics), inner.gradient(point, plain.statistics), atol=1e-12
    )
    x, y, _, _ = two_regimes(0)
    fit = MoERegressor(2).fit(x, y)
    ones = MoERegressor(2).fit(x, y, expert_prior=np.full((200, 2), 3.0), prior_likelihood=kind)
    assert abs(fit.loglik_ - ones.loglik_) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gate", ["softmax", "constant"])
def test_the_objective_never_falls_and_the_fit_is_stationary(kind, gate):
    x, y, _, prior = two_regimes(3)
    model = MoERegressor(2, gate=gate, solver=EM(acceleration=0))
    model.fit(x, y, expert_prior=prior, prior_likelihood=kind)
    assert np.all(np.diff(model.objective_path_) >= -1e-10)
    assert model.converged_ and model.certificate_ < 1e-5


def test_named_experts_are_separate_fits():
    x, y, z, _ = two_regimes(1, 400)
    model = MoERegressor(2).fit(x, y, expert_prior=np.eye(2)[z], prior_likelihood="evidential")
    X = np.column_stack([np.ones(400), x])
    for k in range(2):
        own = np.linalg.lstsq(X[z == k], y[z == k], rcond=None)[0]
        np.testing.assert_allclose(np.r_[model.intercept_[k], model.coef_[k]], own, atol=1e-6)

    def minus(b):
        return -np.sum(z * (X @ b) - np.logaddexp(0, X @ b))

    logit = optimize.minimize(minus, np.zeros(3), tol=1e-12).x
    ours = np.r_[np.diff(model.gate_intercept_), np.diff(model.gate_coef_, axis=0)[0]]
    np.testing.assert_allclose(ours, logit, atol=2e-4)


def test_the_prior_numbers_the_experts():
    x, y, _, prior = two_regimes(2)
    for order in ([0, 1], [1, 0]):
        model = MoERegressor(2).fit(x, y, expert_prior=prior[:, order])
        # regime 1 has the positive slope on the second column
        assert model.coef_[order.index(1), 1] > 1 > 0 > model.coef_[order.index(0), 1]


def test_rows_with_different_priors_stay_apart():
    x, y, _, _ = two_regimes(0, 40)
    twice, prior = np.vstack([x, x]), np.ones((80, 2))
    prior[40:, 0] = 0.3
    model = MoERegressor(2)
    _, rows = model._prepare(twice, np.r_[y, y], None, expert_prior=prior)
    assert compact(rows).n == 80 and compact(rows._replace(prior=None)).n == 40
    assert not np.any(hash_rows(rows)[:40] == hash_rows(rows)[40:])
    np.testing.assert_array_equal(rows.take([3, 50]).prior, prior[[3, 50]])


def test_order_of_the_rows_changes_no_bit():
    x, y, _, prior = two_regimes(4)
    p = np.random.default_rng(0).permutation(len(y))
    one = MoERegressor(2).fit(x, y, expert_prior=prior)
    other = MoERegressor(2).fit(x[p], y[p], expert_prior=prior[p])
    np.testing.assert_array_equal(one.coef_, other.coef_)


def test_a_saved_fit_knows_that_it_had_a_prior(tmp_path):
    x, y, _, prior = two_regimes(4)
    model = MoERegressor(2).fit(x, y, expert_prior=prior)
    model.save(tmp_path / "fit")
    again = load(tmp_path / "fit")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    for fitted in (model, again):
        with pytest.raises(ValueError, match="fitted with expert_prior"):
            fitted.inference(x, y)
    with pytest.raises(ValueError, match="fitted without expert_prior.*none"):
        MoERegressor(2).fit(x, y).inference(x, y, expert_prior=prior)
    with pytest.raises(ValueError, match="draws new targets"):
        again.inference(x, y, expert_prior=prior, covariance="bootstrap", bootstrap="parametric")


def test_standard_errors_of_named_experts_are_those_of_separate_fits():
    x, y, z, _ = two_regimes(1, 400)
    prior = np.eye(2)[z]
    model = MoERegressor(2).fit(x, y, expert_prior=prior)
    result = model.inference(x, y, expert_prior=prior)
    X = sm.add_constant(x)
    errors = [np.sqrt(np.diag(np.linalg.inv(X.T @ X))) for X in (X[z == 0], X[z == 1])]
    wanted = np.r_[sm.Logit(z, X).fit(disp=0).bse, model.dispersion_[0] * errors[0]]
    found = result.bse.to_numpy()
    np.testing.assert_allclose(found[:6], wanted, rtol=1e-3)
    assert any("evidential" in note for note in result.notes)


@pytest.mark.parametrize("kind", KINDS)
def test_inference_with_a_prior_that_says_little_is_that_without_one(kind):
    x, y, _, _ = two_regimes(0)
    plain, ones = MoERegressor(2).fit(x, y), np.ones((200, 2))
    ones[0, 0] -= 1e-12  # a prior of ones alone is none
    informed = MoERegressor(2, start=plain)
    informed.fit(x, y, expert_prior=ones, prior_likelihood=kind)
    for covariance in ("observed", "sandwich"):
        ours = informed.inference(x, y, expert_prior=ones, covariance=covariance)
        wanted = plain.inference(x, y, covariance=covariance)
        np.testing.assert_allclose(ours.loglik, wanted.loglik, rtol=1e-8)
        np.testing.assert_allclose(ours.bse, wanted.bse, rtol=1e-4)


def test_bootstraps_keep_the_prior_of_every_row():
    x, y, _, prior = two_regimes(4)
    model = MoERegressor(2).fit(x, y, expert_prior=prior)
    given = {"expert_prior": prior, "n_boot": 40}
    spread = model.inference(x, y, covariance="bootstrap", **given).bse
    error = model.inference(x, y, covariance="sandwich", expert_prior=prior).bse
    assert 0.7 < np.median(spread / error) < 1.4


def test_unusable_priors_are_refused():
    x, y, z, prior = two_regimes(0)
    bad = np.ones((200, 2))
    bad[7] = 0
    partly = prior.copy()
    partly[3] = [np.nan, 1]
    cases = [
        ({"expert_prior": np.ones((200, 3))}, r"shape \(200, 2\)"),
        ({"expert_prior": -np.ones((200, 2))}, "not negative"),
        ({"expert_prior": bad}, "row 7 excludes every expert"),
        ({"expert_prior": partly}, "row 3 is NaN in part"),
        (
            {"expert_prior": np.eye(2)[z], "prior_likelihood": "conditional"},
            "prior_likelihood='evidential'",
        ),
        ({"expert_prior": prior, "prior_likelihood": "other"}, "prior_likelihood must be"),
    ]
    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            MoERegressor(2).fit(x, y, **given)
    with pytest.raises(ValueError, match="'conditional' is not for GaussianGate"):
        model = MoERegressor(2, gate="gaussian")
        model.fit(x, y, expert_prior=prior, prior_likelihood="conditional")


@pytest.mark.parametrize("gate", ["gaussian", "hierarchical", "sigmoid"])
def test_every_gate_takes_the_evidential_likelihood(gate):
    x, y, z, prior = two_regimes(6)
    for order in ([0, 1], [1, 0]):
        model = MoERegressor(2, gate=gate).fit(x, y, expert_prior=prior[:, order])
        assert model.converged_
        assert model.coef_[order.index(1), 1] > 1 > 0 > model.coef_[order.index(0), 1]
        found = model.gate_proba(x).argmax(axis=1)
        assert (np.array(order)[found] == z).mean() > 0.8
