"""Laws of a whole fit: weights, row-wise inputs, storage, and the scale of columns and target."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse, special, stats
from sklearn.base import clone

from mixexp import EM, L2, MoEClassifier, MoERegressor, MultiStart
from tests.contracts.cases import interior_problem, pairs, parts, problem

SOLVER = EM(max_passes=3000, tol=1e-15, gradient_tol=1e-9)
# Where two fits agree in every bit, they do so from the first pass on, and end at one optimum also
# where rounding could choose among several.
SHORT = {"max_passes": 20}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fit(case, X=None, y=None, start=None, K=2, solver=None, **inputs):
    """A fit from the two halves of the first column, run to rounding."""
    cls = MoEClassifier if case.expert.classifies else MoERegressor
    start = case.labels() if start is None else start
    if K == 1:  # no gate to speak of
        start = np.zeros(len(start), dtype=int)
    solver = clone(SOLVER).set_params(**(solver or {}))
    model = cls(K, gate=case.gate, expert=case.expert, start=start, solver=solver)
    inputs = inputs if case.expert.classifies else case.inputs | inputs
    return model.fit(case.rows.X if X is None else X, case.y if y is None else y, **inputs)


def one_optimum(case):
    """Experts with which rounding does not choose the optimum.

    The likelihood of several experts with several parameters each has optima so close to one
    another that the last bits of a path may lead to either; so has a gate of bounded scores on
    few rows, where every threshold is one.
    """
    return 1 if case.expert.batches or case.gate.name == "activation" else 2


def steady(family):
    """Settings of a solver with which rounding does not choose the optimum of a family.

    Accelerated, t experts have nearly singular histories on their way from equal experts.
    """
    return {"acceleration": 0} if family == "student" else {}


def conditional(model):
    """Log-likelihood of y given x, which does not depend on the units of X."""
    summary = model.fit_summary_
    return summary.conditional_loglik if summary.joint else summary.loglik


def log_prob(model, case, X=None, y=None, **inputs):
    X = case.rows.X if X is None else X
    given = {} if case.expert.classifies else {**case.inputs, **inputs}
    return model.log_prob(X, case.y if y is None else y, **given)


@pairs
def test_weight_two_equals_the_row_twice(gate, family, link):
    case = problem(gate, family, link)
    weight = np.random.default_rng(1).integers(1, 3, case.rows.n)
    index = np.repeat(np.arange(case.rows.n), weight)
    twice = case._replace(rows=case.rows.take(index))
    weighted = fit(case, solver=SHORT, sample_weight=weight.astype(float))
    repeated = fit(twice, solver=SHORT, start=case.labels()[index])
    assert weighted.loglik_ == repeated.loglik_
    assert np.array_equal(log_prob(weighted, case), log_prob(repeated, case))


@parts
def test_weight_zero_equals_no_row(gate, family):
    case = problem(gate, family)
    keep = np.random.default_rng(1).random(case.rows.n) < 0.8
    case.rows.X[~keep, 0] *= 50  # rows that no one must look at
    fewer = case._replace(rows=case.rows.take(keep))
    weighted = fit(case, solver=SHORT, sample_weight=keep.astype(float))
    without = fit(fewer, solver=SHORT, start=case.labels()[keep])
    assert weighted.loglik_ == without.loglik_
    assert np.array_equal(weighted.coef_, without.coef_)


@parts
def test_the_scale_of_the_weights_does_not_move_the_fit(gate, family):
    case = problem(gate, family)
    weight = np.random.default_rng(1).uniform(0.5, 2, case.rows.n)
    one, other = (fit(case, sample_weight=factor * weight) for factor in (1.0, 1024.0))
    assert_allclose(one.coef_, other.coef_, rtol=1e-7, atol=1e-8)


@parts
def test_a_constant_offset_is_a_shift_of_the_intercepts(gate, family):
    case = problem(gate, family)
    if "offset" not in getattr(case.expert, "takes", ()):
        with pytest.raises((TypeError, ValueError), match="offset"):
            fit(case, offset=0.1)
        return
    shifted = fit(case, K=one_optimum(case), offset=np.full(case.rows.n, 0.1))
    plain = fit(case, K=one_optimum(case))
    assert_allclose(shifted.loglik_, plain.loglik_, rtol=1e-9)
    assert_allclose(shifted.intercept_ + 0.1, plain.intercept_, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["poisson", "gamma"])
def test_an_exposure_is_an_offset_of_its_logarithm(family):
    case = problem("softmax", family)
    exposure = np.random.default_rng(2).uniform(0.5, 2, case.rows.n)
    by_exposure = fit(case, exposure=exposure)
    by_offset = fit(case, offset=np.log(exposure))
    assert np.array_equal(by_exposure.coef_, by_offset.coef_)


def test_a_row_of_k_trials_has_the_likelihood_of_k_single_rows():
    case = problem("softmax", "binomial")
    model = fit(case)
    rows = case.rows
    X = rows.X[:1]
    for k in range(1, 5):
        for successes in range(k + 1):
            probability = model.responsibilities(X, [0.0], trials=[0.0])[0]
            p = model.predict_experts(X, trials=[1.0])[0]
            single = np.log(probability @ (p**successes * (1 - p) ** (k - successes)))
            constant = np.log(special.comb(k, successes))
            together = model.log_prob(X, [successes], trials=[k])[0]
            assert_allclose(together, single + constant, rtol=1e-10)


@parts
def test_one_expert_on_trials_equals_one_on_single_rows(gate, family):
    if family != "binomial":
        return
    case = problem(gate, family)
    trials, y = case.rows.trials.astype(int), case.y.astype(int)
    index = np.repeat(np.arange(case.rows.n), trials)
    single = np.concatenate([np.arange(k) < s for k, s in zip(trials, y, strict=True)])
    whole = fit(case, K=1)
    rows = case.rows.take(index)._replace(y=single[:, None].astype(float), trials=None)
    alone = fit(case._replace(rows=rows), start=np.zeros(len(index)), K=1)
    constant = np.log(special.comb(trials, y)).sum()
    assert_allclose(conditional(whole), conditional(alone) + constant, rtol=1e-10)


@pytest.mark.parametrize("small", [True, False], ids=["small blocks", "large blocks"])
@pairs
def test_sparse_rows_have_the_optimum_of_dense_ones(gate, family, link, small, monkeypatch):
    if not small:
        monkeypatch.setattr("mixexp.scaling.SMALL", 0)
    # at a maximum on the edge of a link rounding decides which rows are possible
    case = interior_problem(gate, family, link)
    X = np.where(np.abs(case.rows.X) < 0.3, 0, case.rows.X)
    if hasattr(case.expert, "ridge"):
        # Sparse columns are not centred, so that a family's own ridge on its intercepts means
        # another one there; it only matters where an expert separates its classes.
        case.expert.set_params(penalty=L2(0.01))
    dense = fit(case, X=X)
    thin = fit(case, X=sparse.csr_array(X), start=dense)
    assert_allclose(thin.loglik_, dense.loglik_, rtol=1e-7)
    assert_allclose(log_prob(thin, case, sparse.csr_array(X)), log_prob(dense, case, X), atol=2e-6)


@pytest.mark.parametrize("kind", [sparse.csc_array, sparse.coo_array, sparse.csr_matrix])
def test_any_sparse_format_is_taken(kind):
    case = problem("softmax", "gaussian")
    X = np.where(np.abs(case.rows.X) < 0.3, 0, case.rows.X)
    assert_allclose(fit(case, X=kind(X)).coef_, fit(case, X=sparse.csr_array(X)).coef_, rtol=1e-12)


@parts
def test_float32_columns_first_and_read_only_give_the_fit_of_plain_arrays(gate, family):
    case = problem(gate, family)
    X = case.rows.X.astype(np.float32)
    plain = fit(case, X=X.astype(np.float64))
    fixed = X.astype(np.float64)
    fixed.setflags(write=False)
    for other in (X, np.asfortranarray(X), fixed):
        assert_allclose(fit(case, X=other).coef_, plain.coef_, rtol=1e-7, atol=1e-9)


@pairs
def test_the_input_is_not_written_to(gate, family, link):
    case = problem(gate, family, link, n=60)
    X, y = case.rows.X.copy(), case.y.copy()
    fit(case)
    assert np.array_equal(case.rows.X, X)
    assert np.array_equal(case.y, y)


def _predictors(model, X):
    return model.gate_intercept_ + X @ model.gate_coef_.T


# (n, K) scores of gates whose scores are not their predictors, by hand from the public attributes
SCORES = {
    "sigmoid": lambda model, X: special.log_expit(_predictors(model, X)),
    "activation": lambda model, X: (
        (np.tanh(_predictors(model, X)) + model.gate_offset_) / model.gate_temperature_
    ),
    "laplace": lambda model, X: model.gate_intercept_ - _distances(model, X) / model.gate_scale_,
}


def _distances(model, X):
    apart = (X[:, None, :] - model.gate_centres_) / model.gate_column_scales_
    return np.sqrt((apart**2).sum(axis=2) + 0.1**2)


def gate_logits(model, X):
    """(n, K) logits by hand from the public attributes."""
    name = type(model._model_.gate).name
    if name in SCORES:
        return SCORES[name](model, X)
    if hasattr(model, "gate_nodes_"):
        logits = np.zeros((len(X), model.n_experts_))
        for node in model.gate_nodes_:
            split = special.log_softmax(node.intercept + X @ node.coef.T, axis=1)
            for b, branch in enumerate(node.branches):
                logits[:, list(branch)] += split[:, [b]]
        return logits
    if hasattr(model, "gate_centers_"):
        away = ((X[:, None] - model.gate_centers_) / X.std(axis=0)) ** 2
        nearest = away.sum(axis=2).argmin(axis=1)
        return np.where(np.arange(model.n_experts_) == nearest[:, None], 0.0, -np.inf)
    if not model.fit_summary_.joint:
        return _predictors(model, X)
    laws = zip(model.gate_means_, model.gate_covariances_, strict=True)
    densities = [stats.multivariate_normal(*law).logpdf(X) for law in laws]
    return np.log(model.gate_weights_) + np.column_stack(densities)


@pairs
def test_coefficients_on_the_users_scale_reproduce_the_predictions(gate, family, link):
    from mixexp.kernels.links import LINKS

    case = problem(gate, family, link)
    model, X = fit(case), case.rows.X
    logits = gate_logits(model, X[:, model._gate_columns])
    share = special.softmax(logits, axis=1)
    assert_allclose(model.gate_proba(X), share, rtol=1e-9, atol=1e-12)
    if case.expert.classifies:
        if case.expert.ordered:
            law = LINKS[case.expert.link_name]
            below = law.mean(model.thresholds_ - (X @ model.coef_.T)[:, :, None])
            inside = np.diff(below, axis=2, prepend=0, append=1)
        else:
            eta = model.intercept_ + np.einsum("np,kcp->nkc", X, model.coef_)
            inside = special.softmax(eta, axis=2)
        by_hand = np.einsum("nk,nkc->nc", share, inside)
        assert_allclose(model.predict_proba(X), by_hand, rtol=1e-8, atol=1e-12)
        return
    if not case.expert.linked_mean:
        return
    eta = model.intercept_ + X @ model.coef_.T
    mean = LINKS[case.expert.link_name].mean(eta)
    if case.rows.trials is not None:
        mean = mean * case.rows.trials[:, None]
    if case.expert.positive:
        mean = np.where(mean > 0, mean, np.nan)
    clear = np.ones(len(X), dtype=bool)  # of the edge of the means' range
    if family == "binomial" and link in ("identity", "log"):
        trials = case.rows.trials[:, None]
        clear = (np.abs(mean - trials) > 1e-9 * trials).all(axis=1)
        mean = np.where((mean > 0) & (mean < trials), mean, np.nan)
    # an expert without a mean at a row leaves its share to the others, if there are any
    with np.errstate(invalid="ignore"):
        share = special.softmax(np.where(np.isfinite(mean), logits, -np.inf), axis=1)
    by_hand = (share * np.nan_to_num(mean)).sum(axis=1)
    assert_allclose(model.predict(X, **case.inputs)[clear], by_hand[clear], rtol=1e-7)


@parts
def test_an_affine_change_of_the_columns_keeps_the_fitted_density(gate, family):
    case = problem(gate, family)
    moved = case.rows.X * np.array([-3.0, 0.01]) + np.array([100.0, -5.0])
    start = case.labels()
    one, other = (fit(case, X=X, start=start, solver=steady(family)) for X in (None, moved))
    assert_allclose(conditional(other), conditional(one), rtol=1e-9)
    unit = np.log(0.03) if one.fit_summary_.joint else 0.0  # a density of x has a unit
    assert_allclose(other.loglik_, one.loglik_ - len(moved) * unit, rtol=1e-9)
    assert_allclose(log_prob(other, case, moved), log_prob(one, case), atol=1e-6)


@pytest.mark.parametrize(("shift", "scale"), [(10.0, 1.0), (0.0, -1e-8), (-1e3, 1e8)])
def test_an_affine_change_of_the_target_moves_the_gaussian_fit_with_it(shift, scale):
    case = problem("softmax", "gaussian")
    one = fit(case)
    other = fit(case, y=shift + scale * case.y)
    assert_allclose(other.coef_, scale * one.coef_, rtol=1e-5, atol=1e-7 * abs(scale))
    assert_allclose(other.intercept_, shift + scale * one.intercept_, rtol=1e-5)
    assert_allclose(other.dispersion_, abs(scale) * one.dispersion_, rtol=1e-6)


@pytest.mark.parametrize("family", ["gamma"])
def test_a_change_of_the_targets_unit_shifts_the_log_mean(family):
    case = problem("softmax", family)
    one, other = fit(case), fit(case, y=1000 * case.y)
    assert_allclose(other.intercept_, one.intercept_ + np.log(1000), rtol=1e-6)
    assert_allclose(other.dispersion_, one.dispersion_, rtol=1e-5)


@parts
def test_columns_of_wild_scale_give_the_same_fitted_density(gate, family):
    case = problem(gate, family)
    wild = case.rows.X * np.array([1e-8, 1e8])
    start = case.labels()
    one, other = (fit(case, X=X, start=start, solver=steady(family)) for X in (None, wild))
    assert_allclose(conditional(other), conditional(one), rtol=1e-9)
    assert_allclose(log_prob(other, case, wild), log_prob(one, case), atol=1e-6)


EXTRA = {
    "constant": lambda X: np.full(len(X), 7.0),
    "zero": lambda X: np.zeros(len(X)),
    "huge constant": lambda X: np.full(len(X), 1e12),
    "copy": lambda X: X[:, 0],
    "collinear": lambda X: 2 * X[:, 0] - X[:, 1] + 1,
    "nearly collinear": lambda X: X[:, 0] * (1 + 1e-12),
}


@pytest.mark.parametrize("extra", EXTRA)
@parts
def test_a_column_without_news_keeps_the_fitted_density(gate, family, extra):
    case = problem(gate, family)
    more = np.column_stack([case.rows.X, EXTRA[extra](case.rows.X)])
    K = one_optimum(case)
    one, other = fit(case, K=K), fit(case, X=more, start=case.labels(), K=K)
    # A ridge of its own, on centred coefficients, may cost a family 1e-4 of log-likelihood.
    ridged = hasattr(case.expert, "ridge")
    assert_allclose(other.loglik_, one.loglik_, rtol=1e-8, atol=1e-4 if ridged else 0)
    assert_allclose(log_prob(other, case, more), log_prob(one, case), atol=1e-5 * (1 + 99 * ridged))


@parts
def test_free_parameters_are_counted(gate, family):
    case = problem(gate, family)
    model = fit(case)
    by_hand = {
        "softmax": 3,
        "constant": 1,
        "gaussian": 11,
        "hierarchical": 3,
        "kmeans": 0,
        "top_k": 3,
    }
    experts = {
        "gaussian": 8,
        "poisson": 6,
        "binomial": 6,
        "gamma": 8,
        "multinomial": 12,
        "multivariate_gaussian": 8,
    }
    if gate in by_hand and family in experts:
        assert model.n_free_ == by_hand[gate] + experts[family]
    assert model.n_free_ == model.fit_summary_.n_free


@parts
def test_the_labels_of_a_start_only_name_the_experts(gate, family):
    case = problem(gate, family)
    # where rounding may choose the optimum, before it has
    few = {} if one_optimum(case) == 2 else {"max_passes": 3}
    starts = case.labels(), 1 - case.labels()
    one, other = (fit(case, start=start, solver=few) for start in starts)
    named = one.coef_ if case.gate.known else one.coef_[::-1]
    assert_allclose(other.coef_, named, rtol=1e-6, atol=1e-7)
    if few:
        ends = [fit(case, start=start, solver=steady(family)) for start in starts]
        assert_allclose(ends[1].loglik_, ends[0].loglik_, rtol=0, atol=1e-5)


def test_several_responses_are_independent_inside_an_expert():
    case = problem("softmax", "gaussian")
    X = case.rows.X
    Y = np.column_stack([case.y, 1 - 2 * X[:, 1] + np.cos(5 * X[:, 0])])
    model = MoERegressor(2, start=case.labels(), solver=SOLVER).fit(X, Y)
    mean = model.predict_experts(X)
    logs = -0.5 * ((Y[:, None] - mean) / model.dispersion_) ** 2
    logs = logs - np.log(model.dispersion_) - 0.5 * np.log(2 * np.pi)
    joint = np.log(model.gate_proba(X)) + logs.sum(axis=2)
    assert_allclose(model.log_prob(X, Y), special.logsumexp(joint, axis=1), rtol=1e-9)
    assert_allclose(model.loglik_, special.logsumexp(joint, axis=1).sum(), rtol=1e-9)


@parts
def test_order_and_repetition_change_no_bit_of_a_small_fit(gate, family):
    case = problem(gate, family)
    X, n = case.rows.X, case.rows.n
    weight = np.random.default_rng(3).integers(0, 4, n)
    index = np.random.default_rng(4).permutation(np.repeat(np.arange(n), weight))
    start = MultiStart(0.1, max_rounds=0)
    weighted = fit(case, start=start, sample_weight=weight.astype(float))
    inputs = {name: value[index] for name, value in case.inputs.items()}
    repeated = fit(case, X[index], case.y[index], start=start, **inputs)
    assert np.array_equal(weighted.coef_, repeated.coef_)
    assert weighted.loglik_ == repeated.loglik_


@parts
def test_columns_that_say_nothing_new_are_not_counted(gate, family):
    case = problem(gate, family)
    X = case.rows.X
    more = np.column_stack([X, np.full(len(X), 3.0), X[:, 0] - 2 * X[:, 1] + 1, X[:, 0]])
    K = one_optimum(case)
    plain, wide = fit(case, K=K), fit(case, X=more, K=K)
    assert wide.n_free_ == plain.n_free_
    assert wide.fit_summary_.n_candidates == plain.fit_summary_.n_candidates
    assert_allclose(conditional(wide), conditional(plain), atol=1e-4)
