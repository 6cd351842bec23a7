"""Top-k gates: exact zeros beyond the k highest scores, and fits that never fall on the way."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats

import mixexp
from mixexp import EM, L1, CallableGate, MoEPath, MoERegressor, MultiStart, Status, TopKGate
from mixexp.em.rows import Rows
from mixexp.gates import SoftmaxGate, SoftmaxParams
from mixexp.gates.top_k import SteepGate
from mixexp.inference.bootstrap import bootstrap
from tests.contracts.test_statistics import central_gradient

QUICK = MultiStart(0.1, max_rounds=0)
GATE = {3: [[2.0, 0.0], [-1.0, 2.0], [-1.0, -2.0]], 4: [[2, 2], [-2, 2], [-2, -2], [2, -2]]}
LINES = np.array([[2.0, 1.0, 0.0], [-1.0, 0.0, 2.0], [0.0, -2.0, -1.0], [-3.0, 1.0, -2.0]])
SIGMA = 0.15


def shares(X, K, k=2):
    """Probabilities of the truth, by sorting."""
    scores = X @ np.array(GATE[K], dtype=float).T
    order = np.argsort(-scores, axis=1)
    rank = np.argsort(order, axis=1)
    return special.softmax(np.where(rank < k, scores, -np.inf), axis=1)


def data(n=200, K=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2))
    P = shares(X, K)
    part = (rng.uniform(size=(n, 1)) > P.cumsum(axis=1)).sum(axis=1).clip(max=K - 1)
    mean = (np.column_stack([np.ones(n), X]) * LINES[part]).sum(axis=1)
    return X, mean + SIGMA * rng.standard_normal(n), P


def true_loglik(X, y, P):
    mean = np.column_stack([np.ones(len(X)), X]) @ LINES[: P.shape[1]].T
    return np.log((P * stats.norm.pdf(y[:, None], mean, SIGMA)).sum(axis=1)).sum()


def some_scores(K=4, n=60, seed=1):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.standard_normal((n, 2))])
    coef = rng.standard_normal((K, 3))
    return X, SoftmaxParams(coef - coef.mean(axis=0))


# --- the gate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_probabilities_are_the_softmax_of_the_highest_scores(k):
    X, params = some_scores()
    prob = np.exp(TopKGate(k).log_prob(params, X))
    for row, scores in zip(prob, X @ params.coef.T, strict=True):
        chosen = np.argsort(-scores)[:k]
        assert np.count_nonzero(row) == k
        assert_allclose(row[chosen], special.softmax(scores[chosen]), rtol=1e-12)
    assert np.array_equal(prob > 0, TopKGate(k).active(params, X))


@pytest.mark.parametrize("steepness", [0.5, 8.0])
def test_statistics_of_steep_gates_are_derivatives(steepness):
    X, params = some_scores()
    gate = SteepGate(2, steepness, ridge=0.0)
    rng = np.random.default_rng(2)
    weight = rng.uniform(0.5, 2, len(X))
    resp = rng.dirichlet(np.ones(4), len(X)) * weight[:, None]

    def at(vector):
        return SoftmaxParams(vector.reshape(4, 3))

    def surrogate(vector):
        return (resp * gate.log_prob(at(vector), X)).sum()

    def score(vector):
        return gate.statistics(at(vector), X, resp, weight).score.ravel()

    vector = params.coef.ravel()
    found = gate.statistics(params, X, resp, weight)
    assert_allclose(score(vector), central_gradient(surrogate, vector), rtol=1e-6, atol=1e-6)
    step = 1e-5 * rng.standard_normal((4, 3))
    moved = gate.shift(found, SoftmaxParams(step)).score - found.score
    # M-steps take the information at responsibilities equal to the probabilities
    ideal = np.exp(gate.log_prob(params, X)) * weight[:, None]
    by_score = [
        gate.statistics(SoftmaxParams(params.coef + s * step), X, ideal, weight).score
        for s in (1, -1)
    ]
    assert_allclose(moved, (by_score[0] - by_score[1]) / 2, rtol=1e-4, atol=1e-9)


def test_steep_gates_lead_from_softmax_to_top_k():
    X, params = some_scores()
    flat, steep = SteepGate(2, 0.0), SteepGate(2, 1e6)
    assert_allclose(flat.log_prob(params, X), SoftmaxGate().log_prob(params, X), atol=1e-12)
    ends = np.exp(steep.log_prob(params, X)), np.exp(TopKGate(2).log_prob(params, X))
    assert_allclose(*ends, atol=1e-9)


# --- fits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [3, 5])
def test_with_at_most_k_experts_it_is_the_softmax_gate(k):
    X, y, _ = data()
    one = MoERegressor(3, gate=TopKGate(k), start=QUICK).fit(X, y)
    other = MoERegressor(3, start=QUICK).fit(X, y)
    assert_allclose(one.loglik_, other.loglik_, rtol=1e-12)
    assert_allclose(one.gate_proba(X), other.gate_proba(X), atol=1e-8)
    assert one.converged_ and len(one.inference(X, y).names) == 18
    assert_allclose(
        MoERegressor(1, gate="top_k").fit(X, y).loglik_, MoERegressor(1).fit(X, y).loglik_
    )


def test_recovery_of_four_experts_two_a_row():
    X, y, P = data(600, 4)
    model = MoERegressor(4, gate=TopKGate(2), start=QUICK, random_state=0).fit(X, y)
    assert model.loglik_ > true_loglik(X, y, P)
    order = [int(np.abs(model.intercept_ - line[0]).argmin()) for line in LINES]
    assert_allclose(np.column_stack([model.intercept_, model.coef_])[order], LINES, atol=0.12)
    prob = model.gate_proba(X)[:, order]
    assert np.all((prob > 0).sum(axis=1) == 2)
    assert ((prob > 0) == (P > 0)).mean() > 0.97
    assert np.abs(prob - P).mean() < 0.03
    assert model.n_free_ == 3 * 3 + 4 * 4


@pytest.fixture(scope="module")
def fitted():
    X, y, P = data()
    return MoERegressor(3, gate=TopKGate(2), start=QUICK).fit(X, y), X, y, P


def test_the_objective_never_falls(fitted):
    model, X, y, P = fitted
    path = model.objective_path_
    assert np.all(np.diff(path) >= -1e-10 * (1 + np.abs(path[:-1])))
    assert_allclose(path[-1], model.loglik_ / len(y), atol=1e-7)
    plain = MoERegressor(3, gate=TopKGate(2), start=P, solver=EM(acceleration=0)).fit(X, y)
    assert np.all(np.diff(plain.objective_path_) >= -1e-10)
    assert plain.loglik_ > true_loglik(X, y, P)


def test_a_fit_ends_at_a_jump_where_the_experts_are_stationary(fitted):
    model, X, y, _ = fitted
    assert model.status_ is Status.JUMP and not model.converged_
    assert "At a jump" in model.summary()
    given = MoERegressor(3, gate=CallableGate(model.gate_proba), start=model.responsibilities(X, y))
    given.fit(X, y)
    assert given.converged_
    assert_allclose(given.loglik_, model.loglik_, rtol=1e-9)
    assert_allclose(given.coef_, model.coef_, atol=1e-4)


def test_predictions_leave_inactive_experts_out(fitted):
    model, X, y, _ = fitted
    prob = model.gate_proba(X)
    mean = model.intercept_ + X @ model.coef_.T
    density = prob * stats.norm.pdf(y[:, None], mean, model.dispersion_)
    assert_allclose(model.log_prob(X, y), np.log(density.sum(axis=1)), rtol=1e-9)
    assert np.all(model.responsibilities(X, y)[prob == 0] == 0)
    assert_allclose(model.predict(X), (prob * mean).sum(axis=1), rtol=1e-9)
    far = np.array([[1e6, -1e6], [0.0, 1e9]])
    assert np.isfinite(model.predict(far)).all() and np.isfinite(model.log_prob(far, [0, 0])).any()


def test_starts_from_fits_labels_and_priors(fitted):
    model, X, y, P = fitted
    again = MoERegressor(3, gate=TopKGate(2), start=model).fit(X, y)
    assert again.loglik_ >= model.loglik_ - 1e-8
    prior = np.full((len(y), 3), np.nan)
    prior[:40] = P[:40] > 0.5 * P[:40].max(axis=1, keepdims=True)
    known = MoERegressor(3, gate=TopKGate(2), start=QUICK).fit(X, y, expert_prior=prior)
    assert_allclose(known.intercept_, LINES[:3, 0], atol=0.3)  # the prior numbers the experts


def test_files_and_pickles(fitted, tmp_path):
    model, X, _, _ = fitted
    model.save(tmp_path / "model.npz")
    for again in (mixexp.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(again.gate_proba(X), model.gate_proba(X))
        assert again.status_ is Status.JUMP


def test_information_is_refused_and_bootstraps_are_offered(fitted):
    model, X, y, _ = fitted
    for kind in ("observed", "sandwich"):
        with pytest.raises(ValueError, match=r"TopKGate .*covariance='bootstrap'"):
            model.inference(X, y, covariance=kind)
    result = model.inference(X, y, covariance="bootstrap", n_boot=4)
    assert len(result.replicates) == 4
    experts = [name for name in result.names if name.startswith("expert")]
    away = (result.replicates[experts].mean() - result.params[experts]).abs()
    assert away.max() < 0.5


@pytest.mark.slow
def test_replicates_that_ended_at_the_limit_of_passes_are_counted(fitted):
    model, X, y, _ = fitted
    rows, columns = Rows(X, y[:, None]), (["x0", "x1"], ["x0", "x1"])
    given = model._model_, model._params_, rows, columns
    for passes, wanted in ((2, 3), (500, 0)):
        solver = EM(max_passes=passes, tol=1e-9, gradient_tol=1e-4)
        replicates, failed, unfinished = bootstrap(*given, n_boot=3, solver=solver)
        assert (len(replicates), failed, unfinished) == (3, 0, wanted)


def test_inference_notes_replicates_at_the_limit_of_passes(fitted, monkeypatch):
    model, X, y, _ = fitted
    few = functools.partial(bootstrap, solver=EM(max_passes=2))
    monkeypatch.setattr("mixexp.inference.assemble.bootstrap", few)
    found = model.inference(X, y, covariance="bootstrap", n_boot=3)
    assert any(note.startswith("3 of the refits ended at the limit") for note in found.notes)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 0, -2, 2.0, "two", None, True])
def test_k_is_checked(k):
    X, y, _ = data(40)
    with pytest.raises(ValueError, match="TopKGate needs k >= 2 experts of a row; got k="):
        MoERegressor(3, gate=TopKGate(k)).fit(X, y)


def test_batches_are_refused_where_rows_hear_some_of_the_experts():
    X, y, _ = data(40)
    with pytest.raises(ValueError, match="TopKGate with k=2 of 3 experts: its likelihood jumps"):
        MoERegressor(3, gate=TopKGate(2)).partial_fit(X, y)
    MoERegressor(2, gate="top_k", start=QUICK).partial_fit(X, y)


def test_sparse_penalties_and_paths_are_refused():
    X, y, _ = data(40)
    with pytest.raises(ValueError, match="TopKGate takes L2 penalties alone"):
        MoERegressor(3, gate=TopKGate(2, penalty=L1(0.1))).fit(X, y)
    with pytest.raises(ValueError, match="standardised columns; TopKGate is not"):
        MoEPath(MoERegressor(3, gate=TopKGate(2))).fit(X, y)
