"""Known gates: the experts are those of the mixture with these probabilities, in their order."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse, special, stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

import mixexp.selection
from mixexp import L1, CallableGate, FixedGate, MoEClassifier, MoEPath, MoERegressor, MultiStart
from mixexp.formula import FormulaMoE

QUICK = MultiStart(0.1, max_rounds=0)
SLOPES = np.array([[1.0, 2.0, 0.0], [-1.0, 0.0, 1.0], [0.0, -2.0, -1.0]])


def waves(X):
    """Smooth probabilities of three classes that no softmax of linear scores has."""
    return special.softmax(3 * np.sin(np.outer(X[:, 0], [1.0, 2.0, 3.0])), axis=1)


def segments(X):
    """One class for every row."""
    return np.eye(3)[np.digitize(X[:, 0], [-0.3, 0.4])]


def data(gate=waves, n=300, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 2))
    P = gate(X)
    label = (rng.uniform(size=(n, 1)) > P.cumsum(axis=1)).sum(axis=1).clip(max=2)
    mean = (np.column_stack([np.ones(n), X]) * SLOPES[label]).sum(axis=1)
    return X, mean + 0.25 * rng.standard_normal(n), P, label


def known(function=waves, K=3, **settings):
    return MoERegressor(K, gate=CallableGate(function), **{"start": QUICK, **settings})


def fixed(X, P, y, **settings):
    """A fit whose probabilities are columns behind those of X."""
    p, K = X.shape[1], P.shape[1]
    own = {"gate_features": list(range(p, p + K)), "expert_features": list(range(p))}
    settings = {"start": QUICK, **settings}
    return MoERegressor(K, gate=FixedGate(), **own, **settings).fit(np.hstack([X, P]), y)


def test_the_likelihood_is_the_mixture_with_these_probabilities():
    X, y, P, _ = data()
    model = known().fit(X, y)
    mean = model.intercept_ + X @ model.coef_.T
    density = P * stats.norm.pdf(y[:, None], mean, model.dispersion_)
    assert_allclose(model.log_prob(X, y), np.log(density.sum(axis=1)), rtol=1e-10)
    assert_allclose(model.loglik_, np.log(density.sum(axis=1)).sum(), rtol=1e-10)
    assert_allclose(model.predict(X), (P * mean).sum(axis=1), rtol=1e-10)
    assert_allclose(model.gate_proba(X), P, atol=1e-12)
    resp = density / density.sum(axis=1, keepdims=True)
    assert_allclose(model.responsibilities(X, y), resp, atol=1e-10)


def test_segments_give_separate_least_squares():
    X, y, P, label = data(segments)
    model = known(segments).fit(X, y)
    design, total = np.column_stack([np.ones(len(X)), X]), 0.0
    for k in range(3):
        own = label == k
        coef, left, *_ = np.linalg.lstsq(design[own], y[own], rcond=None)
        sigma = np.sqrt(left[0] / own.sum())
        assert_allclose([model.intercept_[k], *model.coef_[k]], coef, rtol=1e-6)
        assert_allclose(model.dispersion_[k], sigma, rtol=1e-6)
        total += stats.norm.logpdf(y[own], design[own] @ coef, sigma).sum()
    assert_allclose(model.loglik_, total, rtol=1e-10)
    assert model.converged_ and np.isfinite(model.log_prob(X, y)).all()
    assert_allclose(model.expert_sizes_, P.sum(axis=0))


def test_columns_and_function_give_the_same_fit():
    X, y, P, _ = data()
    one, other = known().fit(X, y), fixed(X, P, y)
    assert_allclose(other.coef_, one.coef_, atol=1e-5)
    assert_allclose(other.loglik_, one.loglik_, rtol=1e-10)


@pytest.mark.parametrize("order", [[1, 2, 0], [2, 1, 0]])
def test_the_order_of_the_probabilities_is_that_of_the_experts(order):
    X, y, P, _ = data()
    one, other = fixed(X, P, y), fixed(X, P[:, order], y)
    assert_allclose(other.coef_, one.coef_[order], atol=1e-5)
    assert_allclose(one.intercept_, SLOPES[:, 0], atol=0.2)


def test_many_experts_are_numbered_by_an_assignment():
    rng = np.random.default_rng(3)
    X = rng.uniform(-1, 1, (500, 1))
    P = rng.dirichlet(np.full(5, 0.3), 500)
    label = (rng.uniform(size=(500, 1)) > P.cumsum(axis=1)).sum(axis=1).clip(max=4)
    y = 3.0 * label - (label + 1) * X[:, 0] + 0.2 * rng.standard_normal(500)
    model = fixed(X, P, y)
    assert_allclose(model.intercept_, 3.0 * np.arange(5), atol=0.2)
    assert_allclose(model.coef_[:, 0], -np.arange(1.0, 6), atol=0.3)


def test_what_a_flat_gate_and_a_prior_know_is_what_the_gate_alone_knows():
    X, y, P, _ = data()

    def flat(X):
        return np.full((len(X), 3), 1 / 3)

    one = fixed(X, P, y)
    prior = known(flat).fit(X, y, expert_prior=P)
    assert_allclose(prior.coef_, one.coef_, atol=1e-5)
    # the estimator scales a prior to a maximum of one in every row
    apart = np.log(P.max(axis=1)).sum() + len(y) * np.log(3)
    assert_allclose(prior.loglik_, one.loglik_ - apart, rtol=1e-8)
    with pytest.raises(ValueError, match="expert_prior excludes every expert .* in 300 of 300"):
        known(segments).fit(X, y, expert_prior=1 - segments(X))


def test_recovery_within_standard_errors():
    X, y, _, _ = data(n=3000, seed=4)
    model = known().fit(X, y)
    result = model.inference(X, y)
    found = np.column_stack([model.intercept_, model.coef_])
    errors = result.bse.to_numpy()[:9].reshape(3, 3)
    assert np.all(np.abs(found - SLOPES) < 4 * errors)
    assert np.all(errors < 0.05)


def test_inference_reports_the_experts_given_the_gate():
    X, y, P, _ = data()
    model = known().fit(X, y)
    assert model.n_free_ == 12
    result = model.inference(X, y)
    assert len(result.names) == 12 and not any("gate" in name for name in result.names)
    assert any("The gate is known (CallableGate)" in note for note in result.notes)

    def loglik(vector):
        own, sigma = vector[:9].reshape(3, 3), np.exp(vector[9:])
        mean = own[:, 0] + X @ own[:, 1:].T
        return np.log((P * stats.norm.pdf(y[:, None], mean, sigma)).sum(axis=1)).sum()

    at, h = result.params.to_numpy(), 1e-4
    moves = h * np.eye(12)
    hessian = [
        [
            loglik(at + a + b) - loglik(at + a - b) - loglik(at - a + b) + loglik(at - a - b)
            for a in moves
        ]
        for b in moves
    ]
    errors = np.sqrt(np.diag(np.linalg.inv(-np.array(hessian) / (4 * h**2))))
    assert_allclose(result.bse, errors, rtol=1e-4)


def test_bootstrap_keeps_the_classes():
    X, y, _, _ = data(n=200)
    model = known().fit(X, y)
    result = model.inference(X, y, covariance="bootstrap", n_boot=20)
    away = (result.replicates.mean() - result.params).abs()
    assert np.all(away < 4 * result.bse)


# --- classifiers ----------------------------------------------------------------------------------


def test_a_classifier_gives_its_probabilities_and_names_the_experts():
    X, y, _, label = data(segments)
    names = np.array(["low", "middle", "top"])
    frame = pd.DataFrame(X, columns=["a", "b"])
    classifier = LogisticRegression().fit(frame, names[label])
    model = known(classifier).fit(frame, y)
    assert model.gate_classes_.tolist() == ["low", "middle", "top"]
    assert_allclose(model.gate_proba(frame), classifier.predict_proba(frame), atol=1e-12)
    with pytest.raises(ValueError, match=r"fitted to the columns \['a', 'b'\], and the gate sees"):
        known(classifier).fit(frame[["b", "a"]], y)
    chosen = known(classifier, gate_features=["a", "b"])
    assert_allclose(chosen.fit(frame[["b", "a"]], y).loglik_, model.loglik_, rtol=1e-9)


def test_clones_and_cross_validation_keep_the_fitted_classifier():
    X, y, _, label = data(segments)
    classifier = LogisticRegression().fit(X, label)
    model = known(classifier)
    assert clone(model).gate.function is classifier
    assert clone(clone(model).gate).function is classifier
    assert cross_val_score(model, X, y, cv=3).min() > 0.5
    assert model.set_params(n_experts=3).get_params()["gate__function"] is classifier


def test_a_function_is_asked_once_for_every_block_of_rows():
    X, y, _, _ = data()
    asked = []

    def counting(X):
        asked.append(len(X))
        return waves(X)

    gate = CallableGate(counting)
    model = MoERegressor(3, gate=gate, start=QUICK).fit(X, y)
    assert sum(asked) <= 5 * len(X)
    for own in (gate, model._model_.gate):
        assert set(vars(own)) == {"function"}


# --- other parts of a fit -------------------------------------------------------------------------


def test_one_expert_is_the_regression_without_a_gate():
    X, y, _, _ = data()
    one = known(lambda X: np.ones((len(X), 1)), 1).fit(X, y)
    assert_allclose(one.loglik_, MoERegressor(1).fit(X, y).loglik_, rtol=1e-12)
    assert one.n_free_ == 4 and one.converged_


def test_weights_sparse_rows_and_groups():
    X, y, P, _ = data()
    weight = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    index = np.repeat(np.arange(len(y)), weight.astype(int))
    weighted = known().fit(X, y, sample_weight=weight)
    repeated = known().fit(X[index], y[index])
    assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-7, atol=1e-8)
    thin = known().fit(sparse.csr_array(X), y)
    assert_allclose(thin.loglik_, known().fit(X, y).loglik_, rtol=1e-9)
    groups = np.repeat(np.arange(len(y) // 2), 2)
    P = P[::2][groups]
    together = MoERegressor(
        3, gate=FixedGate(), gate_features=[2, 3, 4], expert_features=[0, 1], start=groups % 3
    )
    together.fit(np.hstack([X, P]), y, groups=groups)
    mean = together.intercept_ + X @ together.coef_.T
    density = stats.norm.logpdf(y[:, None], mean, together.dispersion_).reshape(-1, 2, 3).sum(1)
    assert_allclose(together.loglik_, special.logsumexp(density, axis=1, b=P[::2]).sum(), rtol=1e-9)


@pytest.mark.slow
def test_lists_of_families_and_intervals():
    X, y, P, _ = data()
    families = ["gaussian", "student", "gaussian"]
    model = fixed(X, P, y, expert=families)
    assert_allclose(model.intercept_, SLOPES[:, 0], atol=0.2)
    own = mixexp.intervals(np.floor(y), np.floor(y) + 1)
    coarse = known().fit(X, own)
    assert_allclose(coarse.intercept_, SLOPES[:, 0], atol=0.6)


def test_classes_as_targets():
    X, y, P, _ = data()
    target = np.where(y > 0, "up", "down")
    model = MoEClassifier(3, gate=CallableGate(waves), start=QUICK).fit(X, target)
    eta = model.intercept_ + np.einsum("np,kcp->nkc", X, model.coef_)
    by_hand = np.einsum("nk,nkc->nc", P, special.softmax(eta, axis=2))
    assert_allclose(model.predict_proba(X), by_hand, atol=1e-10)


def test_batches_leave_the_gate_alone():
    X, y, P, _ = data(n=600)
    model = known()
    for rows in np.split(np.arange(600), 3):
        model.partial_fit(X[rows], y[rows])
    assert_allclose(model.gate_proba(X), P, atol=1e-12)
    assert_allclose(model.intercept_, SLOPES[:, 0], atol=0.2)


def test_files_and_pickles(tmp_path):
    X, y, P, label = data()
    model = fixed(X, P, y)
    model.save(tmp_path / "model.npz")
    again = mixexp.load(tmp_path / "model.npz")
    both = np.hstack([X, P])
    assert np.array_equal(again.predict(both), model.predict(both))
    assert again.summary() == model.summary()
    for function in (waves, LogisticRegression().fit(X, label)):
        model = known(function).fit(X, y)
        with pytest.raises(ValueError, match=r"CallableGate\.function is a"):
            model.save(tmp_path / "other.npz")
        again = pickle.loads(pickle.dumps(model))
        assert np.array_equal(again.predict(X), model.predict(X))


def test_a_formula_keeps_the_columns_of_probabilities():
    X, y, P, _ = data()
    frame = pd.DataFrame(np.hstack([X, P]), columns=["a", "b", "p", "q", "r"]).assign(y=y)
    model = FormulaMoE("y ~ a + b | p + q + r", MoERegressor(3, gate=FixedGate(), start=QUICK)).fit(
        frame
    )
    assert_allclose(model.coef_[["a", "b"]], fixed(X, P, y).coef_, atol=1e-5)
    assert model.aliased_["gate"] == []
    assert "column of p, q, r" in str(model.summary())


# --- refusals -------------------------------------------------------------------------------------

REFUSED = {
    "shape": (lambda X: X[:, 0], r"probabilities of shape \(1, K\); it gave shape \(1,\)"),
    "count": (lambda X: np.full((len(X), 2), 0.5), "gives 2 probabilities a row for 3 experts"),
    "sum": (lambda X: np.full((len(X), 3), 0.5), "sum of one in every row"),
    "sign": (lambda X: np.tile([1.5, -0.5, 0.0], (len(X), 1)), "sum of one in every row"),
    "missing": (lambda X: np.full((len(X), 3), np.nan), "sum of one in every row"),
    "rows": (lambda X: waves(X - X.mean(axis=0)), "must treat rows one by one"),
    "kind": ("softmax", "needs a function from columns"),
    "unfitted": (LogisticRegression(), "not fitted"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_gives_no_probabilities_is_refused(case):
    function, message = REFUSED[case]
    X, y, _, _ = data(n=60)
    with pytest.raises(ValueError, match=message):
        known(function).fit(X, y)


def test_columns_that_are_no_probabilities_are_refused():
    X, y, P, _ = data(n=60)
    with pytest.raises(ValueError, match=r"columns \(gate_features=\) are 5 probabilities a row"):
        MoERegressor(3, gate=FixedGate()).fit(np.hstack([X, P]), y)
    with pytest.raises(ValueError, match="60 of 60 rows are not"):
        fixed(X, 2 * P, y)
    model = fixed(X, P, y)
    with pytest.raises(ValueError, match="1 of 60 rows are not, such as"):
        P[7] = 0
        model.predict(np.hstack([X, P]))


def test_a_test_of_one_expert_more_is_refused():
    X, y, _, _ = data(n=60)
    with pytest.raises(ValueError, match="no CallableGate: with known classes"):
        mixexp.selection.bootstrap_lrt(known(), X, y)


def test_an_offset_of_the_scores_is_a_conditional_prior():
    X, y, P, _ = data()
    model = MoERegressor(3, start=QUICK).fit(X, y, expert_prior=P, prior_likelihood="conditional")
    scores = np.log(P) + model.gate_intercept_ + X @ model.gate_coef_.T
    mean = model.intercept_ + X @ model.coef_.T
    density = stats.norm.logpdf(y[:, None], mean, model.dispersion_)
    joint = special.log_softmax(scores, axis=1) + density
    assert_allclose(model.loglik_, special.logsumexp(joint, axis=1).sum(), rtol=1e-9)


def test_paths_and_wide_sparse_fits_are_refused():
    X, y, _, _ = data(n=60)
    with pytest.raises(ValueError, match="standardised columns; CallableGate is not"):
        MoEPath(known()).fit(X, y)
    wide = np.hstack([X, np.random.default_rng(0).standard_normal((60, 40))])
    expert = mixexp.GaussianExpert(penalty=L1(0.1))
    with pytest.raises(ValueError, match="working sets.*CallableGate"):
        known(expert=expert).fit(wide, y)
