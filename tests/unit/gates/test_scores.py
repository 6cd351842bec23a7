"""Gates with scores that are not linear: what they are, where found, and what they refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse, special

import mixexp
from mixexp import EM, L1, L2, HierarchicalGate, MoERegressor, SigmoidGate
from mixexp.datasets import load_faithful
from mixexp.gates import HierarchicalParams
from mixexp.gates.scores import climb
from mixexp.gates.trees import addresses

EXACT = EM(max_passes=3000, tol=1e-14, gradient_tol=1e-9)
GRID = np.linspace(-3, 3, 25)[:, None]


def planted(log_odds, n=3000, seed=0):
    """Rows of K lines whose experts are drawn by the softmax of functions of x: (X, y, labels)."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-3, 3, (n, 1))
    prob = special.softmax(log_odds(X[:, 0]), axis=1)
    labels = (rng.random(n)[:, None] > prob.cumsum(axis=1)).sum(axis=1)
    level, slope = np.array([-4.0, 4.0, 12.0])[labels], np.array([-1.0, 1.0, 0.0])[labels]
    return X, level + slope * X[:, 0] + 0.4 * rng.standard_normal(n), labels


def sigmoids(x, K=3):
    """Log odds of K classes that open at different places, up to a constant in each row."""
    predictors = np.column_stack([0.5 - 2 * x, 1 + 0.5 * x, -0.5 + 2 * x])
    return special.log_expit(predictors[:, :K])


@pytest.mark.parametrize("K", [2, 3])
def test_planted_sigmoids_are_found(K):
    X, y, labels = planted(lambda x: sigmoids(x, K), seed=1)
    model = MoERegressor(K, gate="sigmoid", start=labels).fit(X, y)
    truth = special.softmax(sigmoids(GRID[:, 0], K), axis=1)
    assert_allclose(model.gate_proba(GRID), truth, atol=0.05)
    softmax = MoERegressor(K, start=labels).fit(X, y)
    assert model.loglik_ > softmax.loglik_ + 5
    assert model.n_free_ == 5 * K  # a predictor, a line and a scale of every class
    found = model.inference(X, y)
    for k, (a, b) in enumerate([(0.5, -2.0), (1.0, 0.5), (-0.5, 2.0)][:K]):
        for name, value in (("(intercept)", a), ("x0", b)):
            label = f"gate {k}: {name}"
            assert abs(found.params[label] - value) < 4 * found.bse[label]


@pytest.mark.slow
def test_the_search_finds_planted_sigmoids():
    X, y, labels = planted(sigmoids, n=600)
    given = MoERegressor(3, gate="sigmoid", start=labels).fit(X, y)
    search = mixexp.MultiStart(n_starts=0.2, max_rounds=2)
    found = MoERegressor(3, gate="sigmoid", start=search).fit(X, y)
    assert found.loglik_ >= given.loglik_ - 1e-3


def test_of_two_experts_every_softmax_gate_is_a_sigmoid_gate():
    """s(t) + s(-t) = 1, so that no fit ends below that of the softmax gate."""
    X, y, labels = planted(lambda x: np.column_stack([0 * x, 1 + 1.5 * x]), n=500)
    softmax = MoERegressor(2, start=labels, solver=EXACT).fit(X, y)
    gate = SigmoidGate()
    log_odds = softmax.gate_intercept_[1] - softmax.gate_intercept_[0]
    slope = softmax.gate_coef_[1, 0] - softmax.gate_coef_[0, 0]
    params = gate.initial(2, 2)
    params.coef[:] = [[-log_odds, -slope], [log_odds, slope]]
    design = np.column_stack([np.ones(len(X)), X])
    assert_allclose(np.exp(gate.log_prob(params, design)), softmax.gate_proba(X), rtol=1e-9)
    model = MoERegressor(2, gate="sigmoid", start=labels, solver=EXACT).fit(X, y)
    assert model.loglik_ >= softmax.loglik_ - 1e-8


@pytest.mark.parametrize("gate", ["sigmoid", "activation", "laplace"])
def test_without_columns_there_are_shares_alone(gate):
    X, y, labels = planted(sigmoids, n=200)
    one, other = (
        MoERegressor(3, gate=kind, gate_features=[], start=labels).fit(X, y)
        for kind in (gate, "constant")
    )
    assert_allclose(one.loglik_, other.loglik_, rtol=1e-8)
    assert one.n_free_ == other.n_free_


def test_open_classes_share_rows_and_small_scores_are_a_softmax():
    gate, design = SigmoidGate(), np.column_stack([np.ones(3), [0.0, 1.0, 2.0]])
    params = gate.initial(3, 2)
    params.coef[:] = [[40.0, 1.0], [50.0, 2.0], [-40.0, -1.0]]
    assert_allclose(np.exp(gate.log_prob(params, design)), [[0.5, 0.5, 0]] * 3, atol=1e-12)
    params.coef[:] = [[-30.0, 1.0], [-31.0, 0.5], [-32.0, -1.0]]
    wanted = special.log_softmax(design @ params.coef.T, axis=1)
    assert_allclose(gate.log_prob(params, design), wanted, atol=1e-11)


def test_sigmoids_that_decide_in_turn_are_a_chain_of_splits():
    """What stands for an unnormalised sigmoid gate: pi_2 = (1 - s_1) s_2 and so on."""
    gate, path = HierarchicalGate(tree=(0, (1, 2))), addresses((0, (1, 2)))
    first, second = np.array([0.4, 1.5]), np.array([-0.3, -2.0])
    coef = np.zeros((3, 2, 2))
    coef[0, 0], coef[1:, 0] = first / 2, -first / 2
    coef[1, 1], coef[2, 1] = second / 2, -second / 2
    design = np.column_stack([np.ones(25), GRID])
    s, t = special.expit(design @ first), special.expit(design @ second)
    wanted = np.column_stack([s, (1 - s) * t, (1 - s) * (1 - t)])
    found = np.exp(gate.log_prob(HierarchicalParams(coef, path), design))
    assert_allclose(found, wanted, rtol=1e-12)


def test_planted_sigmoids_in_turn_are_found_by_the_chain():
    def in_turn(x):
        s, t = special.expit(0.4 - 2 * x), special.expit(-0.3 + 1.5 * x)
        return np.log(np.column_stack([s, (1 - s) * t, (1 - s) * (1 - t)]))

    X, y, labels = planted(in_turn, n=5000)
    gate = HierarchicalGate(tree=(0, (1, 2)))
    model = MoERegressor(3, gate=gate, start=labels).fit(X, y)
    assert_allclose(model.gate_proba(GRID), np.exp(in_turn(GRID[:, 0])), atol=0.05)


@pytest.mark.parametrize("gate", ["sigmoid"])
def test_units_and_storage_of_the_columns_change_nothing(gate):
    X, y, labels = planted(sigmoids, n=400)
    X = np.column_stack([X, np.random.default_rng(1).poisson(0.7, 400)])
    fits = [
        MoERegressor(3, gate=gate, start=labels, solver=EXACT).fit(design, y)
        for design in (X, X * [1e3, 0.1] + [50, -2], sparse.csr_array(X))
    ]
    for other in fits[1:]:
        assert_allclose(other.loglik_, fits[0].loglik_, rtol=1e-9)
    assert_allclose(fits[2].gate_proba(X), fits[0].gate_proba(X), atol=1e-5)


@pytest.mark.parametrize("gate", ["sigmoid"])
def test_files_summaries_and_inference_know_the_gate(gate, tmp_path):
    X, y = load_faithful(return_X_y=True)
    X = pd.DataFrame({"eruptions": X[:, 0]})
    model = MoERegressor(2, gate=gate, start=(y > 70).astype(int)).fit(X, y)
    model.save(tmp_path / "gate.mixexp")
    copy = mixexp.load(tmp_path / "gate.mixexp")
    assert np.array_equal(copy.gate_proba(X), model.gate_proba(X))
    assert copy.summary() == model.summary()
    text = model.summary()
    assert "eruptions" in text.split("Gate (")[1] and "nan" not in text


@pytest.mark.parametrize("gate", [SigmoidGate(penalty=L2(100.0))], ids=repr)
def test_a_strong_ridge_leaves_no_dependence_on_the_columns(gate):
    X, y, labels = planted(sigmoids, n=400)
    model = MoERegressor(3, gate=gate, start=labels).fit(X, y)
    prob = model.gate_proba(GRID)
    assert np.abs(prob - prob[0]).max() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["evidential", "conditional"])
def test_partly_known_experts_enter_a_sigmoid_gate(likelihood):
    X, y, labels = planted(sigmoids, n=300)
    prior = np.full((300, 3), 1 / 3)
    prior[:100] = np.eye(3)[labels[:100]]
    search = mixexp.MultiStart(n_starts=0.2, max_rounds=1)
    model = MoERegressor(3, gate="sigmoid", start=search).fit(
        X, y, expert_prior=prior, prior_likelihood=likelihood
    )
    assert np.mean(model.responsibilities(X, y).argmax(axis=1) == labels) > 0.95
    assert model.certificate_ < 1e-6


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        (SigmoidGate(normalized=False), "not a density of y given x.*HierarchicalGate"),
        (SigmoidGate(penalty=L1(0.1)), "SigmoidGate takes L2 penalties alone"),
    ],
)
def test_what_a_gate_refuses_it_names(gate, says):
    X, y, labels = planted(sigmoids, n=60)
    with pytest.raises(ValueError, match=says):
        MoERegressor(3, gate=gate, start=labels).fit(X, y)


def test_a_step_is_a_number_and_goes_uphill_where_a_gate_is_saturated():
    score = np.array([21.5, -17.0, 3.0])
    for curvature in (1.0, 1e-100, 1e-300, 1e-318):
        gram = curvature * np.diag([1.0, 2.0, 0.0])
        step = climb(gram[None], score[None])[0]
        assert np.isfinite(step @ step) and step @ score > 0
        assert step[2] == 0
