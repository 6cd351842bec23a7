"""The refit on a support: exactly that support, stationary on it, never below the fit before."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import L1, L2, MCP, GaussianExpert, GroupLasso, MoERegressor, SoftmaxGate, load
from mixexp.selection import relax
from tests.contracts.test_penalised_fits import FAMILIES, Data, both, fit, part, scores_by_hand
from tests.unit.selection.path.planted import planted, slope_gradients, small_path


@pytest.fixture(scope="module")
def data():
    return planted(100, 40)


@pytest.fixture(scope="module")
def result(data):
    return small_path(ratio=0.1).fit(*data).result_


def same_support(one, other):
    assert_array_equal(one.coef_ != 0, other.coef_ != 0)
    assert_array_equal(one.gate_coef_ != 0, other.gate_coef_ != 0)


def test_the_support_is_kept_slope_by_slope_and_is_stationary(result, data):
    for line in range(len(result.table)):
        before, after = result.model(line), result.relaxed(*data, line)
        same_support(after, before)
        by_gate, by_expert = slope_gradients(after, *data)
        assert np.abs(by_gate[after.gate_coef_ != 0]).max(initial=0) <= 2e-6
        assert np.abs(by_expert[after.coef_ != 0]).max(initial=0) <= 2e-6
        assert after.loglik_ >= before.loglik_ - 1e-8
    # the support of the last line is not the same in both experts, and others are kept out
    assert (after.coef_[0] != 0).tolist() != (after.coef_[1] != 0).tolist()
    assert np.abs(by_expert[after.coef_ == 0]).max() > 1e-3
    assert after.loglik_ > before.loglik_ + 1
    assert after.n_free_ == before.n_free_


def test_a_share_of_the_penalty_lies_between(result, data):
    line = result.best("bic")
    before = result.model(line)
    fits = [result.relaxed(*data, line, shrinkage=share) for share in (1.0, 0.5, 0.1, 0.0)]
    assert_allclose(fits[0].coef_, before.coef_, atol=1e-3)
    assert_allclose(fits[0].objective_path_[-1], result.table["objective"][line], atol=1e-6)
    assert np.all(np.diff([one.loglik_ for one in fits]) > 0)
    for one in fits:
        same_support(one, before)


def test_one_gaussian_expert_is_least_squares_on_the_support(data):
    X, y = data
    lasso = MoERegressor(1, expert=GaussianExpert(penalty=L1(0.3), scale_free=True)).fit(X, y)
    chosen = np.flatnonzero(lasso.coef_[0])
    assert 0 < len(chosen) < 40
    free = relax(lasso, X, y)
    A = np.column_stack([np.ones(len(y)), X[:, chosen]])
    wanted = np.linalg.lstsq(A, y, rcond=None)[0]
    assert_allclose(free.coef_[0, chosen], wanted[1:], atol=1e-6)
    assert_allclose(free.intercept_[0], wanted[0], atol=1e-6)
    assert_allclose(free.dispersion_[0], np.sqrt(np.mean((y - A @ wanted) ** 2)), rtol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family):
    data = Data(family)
    before = both(data, lambda: L1(0.03))
    after = relax(before, data.X, data.y, **data.inputs)
    same_support(after, before)
    assert (before.coef_ == 0).any() and (before.coef_ != 0).any()
    by_gate, by_expert = scores_by_hand(after, data)
    by_expert = by_expert if family == "multinomial" else by_expert[:, 0]
    assert np.abs(by_gate[:, 1:][after.gate_coef_ != 0]).max(initial=0) <= 2e-6
    # in a multinomial expert slopes are centred over the classes of the support
    held = by_expert[..., 1:] * (after.coef_ != 0)
    if family == "multinomial":
        count = np.maximum((after.coef_ != 0).sum(axis=1, keepdims=True), 1)
        held = (held - held.sum(axis=1, keepdims=True) / count) * (after.coef_ != 0)
    assert np.abs(held).max() <= 2e-6
    assert after.loglik_ > before.loglik_


@pytest.mark.parametrize("penalty", [MCP(0.1), GroupLasso(0.03)], ids=["mcp", "group"])
def test_other_penalties(penalty):
    data = Data("gaussian")
    before = fit(data, SoftmaxGate(penalty=penalty), part("gaussian", penalty))
    after = relax(before, data.X, data.y)
    same_support(after, before)
    assert after.loglik_ >= before.loglik_ - 1e-8
    assert relax(before, data.X, data.y, shrinkage=0.5).loglik_ if penalty.separable else True


def test_a_part_without_a_sparse_penalty_keeps_its_own():
    data = Data("gaussian")
    before = fit(data, SoftmaxGate(penalty=L2(0.1)), part("gaussian", L1(0.05)))
    after = relax(before, data.X, data.y)
    assert isinstance(after.gate.penalty, L2) and after.gate.penalty.alpha == 0.1
    assert after.gate_coef_.all()


def test_weights_are_repetitions(result, data):
    X, y = data
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    again = np.repeat(np.arange(len(y)), weight)
    line = result.best("bic")
    weighted = result.relaxed(X, y, line, sample_weight=weight)
    repeated = result.relaxed(X[again], y[again], line)
    assert_array_equal(weighted.coef_, repeated.coef_)


def test_the_refit_can_be_saved(result, data, tmp_path):
    model = result.relaxed(*data)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert_array_equal(again.predict(data[0]), model.predict(data[0]))
    assert_array_equal(again.expert.penalty.weights, model.expert.penalty.weights)


def test_what_cannot_be_relaxed(data):
    X, y = data[0][:, :3], data[1]
    with pytest.raises(ValueError, match="needs a penalty that sets slopes to zero"):
        relax(MoERegressor(1).fit(X, y), X, y)
    grouped = MoERegressor(1, expert=GaussianExpert(penalty=GroupLasso(0.1))).fit(X, y)
    with pytest.raises(ValueError, match="GroupLasso is not: take shrinkage=0"):
        relax(grouped, X, y, shrinkage=0.5)
    with pytest.raises(ValueError, match=r"shrinkage must lie in \[0, 1\]; got -1"):
        relax(grouped, X, y, shrinkage=-1)
