"""Weights of single slopes, and weights of inf: what is kept out stays at zero."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import (
    L1,
    L2,
    MCP,
    SCAD,
    AdaptiveL1,
    ElasticNet,
    GaussianExpert,
    MoERegressor,
    SoftmaxGate,
)
from tests.contracts.test_penalised_fits import FAMILIES, Data, both, fit, part, scores_by_hand

KEPT_OUT = np.array([[0.0, np.inf, 0.0], [0.0, 0.0, np.inf]])
sparse_ones = pytest.mark.parametrize("cls", [L1, ElasticNet, AdaptiveL1, MCP, SCAD])


@sparse_ones
def test_slopes_that_are_kept_out_stay_at_zero_and_cost_nothing(cls):
    penalty, slopes = cls(0.1, weights=KEPT_OUT), np.array([[1.0, 0.0, 2.0], [-1.0, 3.0, 0.0]])
    assert penalty.value(slopes) == 0
    pulled = slopes + 5 * (KEPT_OUT > 0)
    assert_allclose(penalty.prox(pulled, 2.0), slopes)
    assert not penalty.subgradient(slopes, 1e6 * (KEPT_OUT > 0)).any()
    assert penalty.subgradient(slopes, np.ones((2, 3)))[KEPT_OUT == 0].min() == 1
    assert penalty.zero_strength(1e6 * (KEPT_OUT > 0)) <= 1e-90
    assert penalty.free_columns(3).all() and not penalty.kept_out(3).any()
    assert cls(0.1, weights=[np.inf, 1.0, 0.0]).kept_out(3).tolist() == [True, False, False]
    assert_allclose(penalty.take([2, 0]).weights, KEPT_OUT[:, [2, 0]])


def test_two_members_of_a_softmax_that_pull_apart_begin_a_path_by_both_weights():
    penalty = L1(weights=[[1.0], [3.0], [1.0]])
    gradient = np.array([[2.0], [-2.0], [0.0]])
    assert_allclose(penalty.zero_strength(gradient, centred=True), 4 / (1 + 3))
    held = penalty.with_strength(1.0001).subgradient(np.zeros((3, 1)), gradient, centred=True)
    loose = penalty.with_strength(0.999).subgradient(np.zeros((3, 1)), gradient, centred=True)
    assert not held.any() and loose.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_column_that_is_kept_out_of_all_is_dropped(family):
    data = Data(family)
    weights = [1, np.inf, 1, np.inf, 1]
    held = both(data, lambda: L1(0.02, weights=weights))
    assert not held.coef_[..., [1, 3]].any() and not held.gate_coef_[:, [1, 3]].any()
    dropped = both(data, lambda: L1(0.02), X=data.X[:, [0, 2, 4]])
    assert_allclose(held.loglik_, dropped.loglik_, rtol=1e-8)
    assert_allclose(held.coef_[..., [0, 2, 4]], dropped.coef_, atol=1e-4)


def test_a_search_may_add_an_expert_to_slopes_without_a_penalty():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3))
    y = np.where(X[:, 0] > 0, 2 + 2 * X[:, 1], -2 - 2 * X[:, 1]) + 0.3 * rng.standard_normal(100)
    expert = GaussianExpert(penalty=L1(0.4, weights=[1, 0, 1]))
    model = MoERegressor(2, expert=expert).fit(X, y)
    assert np.sort(model.coef_[:, 1]).round() == pytest.approx([-2, 2])
    assert model.converged_ and model.certificate_ <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_slopes_outside_a_support_are_zero_and_the_others_are_stationary(family):
    data = Data(family)
    free = np.array([[1, 1, 0, 0, 1], [1, 0, 1, 0, 1]], dtype=bool)
    gate_free = np.array([1, 0, 1, 0, 0], dtype=bool)
    if family == "multinomial":  # its members are the classes: all of a column or none
        free = np.broadcast_to(free[:, None, :], (2, int(data.y.max()) + 1, 5))
    weights = np.where(free, 0, np.inf)
    gate = SoftmaxGate(penalty=L1(1.0, weights=np.where(gate_free, 0, np.inf)))
    model = fit(data, gate, part(family, L1(1.0, weights=weights)))
    assert np.array_equal(model.coef_ != 0, free)
    assert np.array_equal(model.gate_coef_ != 0, np.stack([gate_free] * 2))
    by_gate, by_expert = scores_by_hand(model, data)
    by_expert = by_expert if family == "multinomial" else by_expert[:, 0]
    assert np.abs(by_gate[:, 1:][:, gate_free]).max() <= 1e-6
    assert np.abs(by_expert[..., 1:][free]).max() <= 1e-6
    assert np.abs(by_expert[..., 1:][~free]).max() > 1e-3  # what is kept out would like to enter


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (L2(0.1, weights=np.ones((2, 3))), "sets no slope to zero"),
        (ElasticNet(0.1, 0.0, weights=[1, 1, np.inf]), "sets no slope to zero"),
        (L1(0.0, weights=[1, 1, np.inf]), "weights of inf need alpha > 0"),
        (L1(0.1, weights=[[1, 1, -1.0]]), "weights must be 3 numbers >= 0"),
    ],
    ids=["ridge", "elastic", "zero", "negative"],
)
def test_weights_that_mean_nothing(penalty, message):
    with pytest.raises(ValueError, match=message):
        penalty.check(3)


def test_weights_of_another_number_of_members():
    with pytest.raises(ValueError, match="do not fit slopes of 3 members"):
        L1(0.1, weights=np.ones((2, 4))).value(np.zeros((3, 4)))
