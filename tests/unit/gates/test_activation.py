"""`ActivationGate`: a temperature that the likelihood knows, where linear scores do not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special

from mixexp import EM, L1, L2, ActivationGate, MoERegressor, MultiStart, SoftmaxGate
from mixexp.gates.activation import ACTIVATIONS
from tests.unit.gates.test_scores import GRID, planted

EXACT = EM(max_passes=3000, tol=1e-14, gradient_tol=1e-9)
TEMPERATURES = [0.25, 0.4, 0.7, 1.0, 1.5]
TAU = 0.4


def activated(x, K=3, tau=TAU):
    """Log odds of K classes through tanh, up to a constant in each row."""
    predictors = np.column_stack([0.5 + 1.2 * x, -0.5 - 0.8 * x, 1.5 * x - 1])
    return ((np.tanh(predictors) + [0.0, 0.2, -0.3]) / tau)[:, :K]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_come_with_their_derivatives(name):
    t, h = np.linspace(-4, 4, 41), 1e-5
    function = ACTIVATIONS[name]
    value, slope, bend = function(t)
    assert_allclose(slope, (function(t + h)[0] - function(t - h)[0]) / (2 * h), atol=1e-9)
    assert_allclose(bend, (function(t + h)[1] - function(t - h)[1]) / (2 * h), atol=1e-9)
    by_hand = {"tanh": np.tanh(t), "sigmoid": special.expit(t), "gelu": t * special.ndtr(t)}
    assert_allclose(value, by_hand[name], rtol=1e-14)


@pytest.mark.parametrize("K", [2, 3])
def test_a_planted_gate_is_found(K):
    X, y, labels = planted(lambda x: activated(x, K), seed=3)
    model = MoERegressor(K, gate=ActivationGate(temperature=TAU), start=labels).fit(X, y)
    truth = special.softmax(activated(GRID[:, 0], K), axis=1)
    assert_allclose(model.gate_proba(GRID), truth, atol=0.05)
    assert model.loglik_ > MoERegressor(K, start=labels).fit(X, y).loglik_ + 10
    assert model.n_free_ == 2 * K + (K - 1) + 3 * K
    found = model.inference(X, y)
    names = [f"gate {k}: {term}" for k in range(K) for term in ("(intercept)", "x0")]
    assert set(names) < set(found.params.index)
    assert np.all(np.isfinite(found.bse)) and np.all(found.bse > 0)


def test_an_estimated_temperature_is_the_top_of_its_profile_and_covers_the_truth():
    X, y, labels = planted(lambda x: activated(x, 2), seed=3)

    def fit(temperature):
        gate = ActivationGate(temperature=temperature)
        return MoERegressor(2, gate=gate, start=labels, solver=EXACT).fit(X, y)

    free = fit("estimate")
    tau = free.gate_temperature_
    near = [fit(tau * factor).loglik_ for factor in (0.9, 1.0, 1.1)]
    assert_allclose(near[1], free.loglik_, atol=1e-7)
    assert max(near[0], near[2]) < near[1] - 1e-3
    assert free.n_free_ == fit(1.0).n_free_ + 1
    found = free.inference(X, y)
    name = "gate: log(temperature)"
    assert_allclose(found.params[name], np.log(tau), rtol=1e-9)
    assert abs(found.params[name] - np.log(TAU)) < 4 * found.bse[name]


def test_the_profile_over_the_temperature_is_flat_for_linear_scores_alone():
    """Linear scores absorb a temperature, those inside tanh do not."""
    X, y, labels = planted(lambda x: activated(x, 2), n=1000, seed=3)

    def profile(gate):
        fits = [
            MoERegressor(2, gate=gate(temperature=tau), start=labels, solver=EXACT).fit(X, y)
            for tau in TEMPERATURES
        ]
        return np.ptp([model.loglik_ for model in fits])

    assert profile(SoftmaxGate) < 1e-6
    assert profile(ActivationGate) > 1.0


def test_the_derivative_by_the_temperature_is_no_combination_of_the_others():
    """Of u = exp((b x + c) / tau): du/dtau = -(b du/db + c du/dc) / tau; with tanh it is free."""
    X = np.column_stack([np.ones(40), np.linspace(-2, 2, 40)])
    gate = ActivationGate(temperature="estimate")
    params = gate.params_class(np.array([[0.3, 1.5], [-0.2, -0.7]]), np.array([[0.1, 0.5]] * 2))
    first = gate.derivatives(params, X).first[:, 0]  # by intercept, slope, offset, log(1 / tau)
    assert np.linalg.svd(first / np.linalg.norm(first, axis=0))[1].min() > 1e-2
    # the same scores with the identity for tanh: the last column follows from the others
    b, c, sharp = params.coef[0], params.extra[0, 0], np.exp(0.5)
    linear = np.column_stack([sharp * X, sharp * np.ones(40), sharp * (X @ b + c)])
    assert_allclose(linear[:, 3], linear[:, :2] @ b + c * linear[:, 2], rtol=1e-6)


@pytest.mark.parametrize("seed", [1, 3])
def test_an_estimated_temperature_is_never_worse_than_one(seed):
    X, y, labels = planted(activated, n=300, seed=seed)
    fixed, free = (
        MoERegressor(3, gate=ActivationGate(temperature=tau), start=labels).fit(X, y)
        for tau in (1.0, "estimate")
    )
    assert free.loglik_ >= fixed.loglik_ - 1e-7


def test_bounded_activations_bound_the_odds():
    X, y, labels = planted(lambda x: activated(x, 2), n=500, seed=3)
    model = MoERegressor(2, gate=ActivationGate(temperature=TAU), start=labels).fit(X, y)
    far = np.log(model.gate_proba(np.array([[-1e4], [1e4]])))
    most = (2 + np.abs(np.diff(model.gate_offset_))[0]) / TAU
    assert np.abs(far[:, 1] - far[:, 0]).max() <= most + 1e-9
    assert MoERegressor(2, start=labels).fit(X, y).gate_proba([[1e4]]).min() < 1e-12


def test_the_mirror_of_a_tanh_is_no_trap():
    """Of two classes each may be the other's mirror, a saddle from which Newton does not move."""
    X, y, labels = planted(lambda x: activated(x, 2), n=1000, seed=3)
    model = MoERegressor(2, gate="activation", start=labels, solver=EXACT).fit(X, y)
    assert np.abs(model.gate_coef_.sum()) > 0.05
    model.inference(X, y)  # the information is positive definite


def test_a_copy_of_a_column_changes_nothing():
    X, y, labels = planted(lambda x: activated(x, 2), n=1000, seed=3)
    gate = ActivationGate(temperature=TAU)
    one, two = (
        MoERegressor(2, gate=gate, start=labels, solver=EXACT, expert_features=[0]).fit(design, y)
        for design in (X, np.hstack([X, 3 * X - 1]))
    )
    assert_allclose(two.loglik_, one.loglik_, atol=1e-5)
    assert two.n_free_ == one.n_free_


@pytest.mark.parametrize("seed", [1, 2])
def test_annealing_never_ends_lower_and_sometimes_higher(seed):
    X, y, labels = planted(activated, n=600, seed=seed)
    plain, cooled = (
        MoERegressor(3, gate=ActivationGate(temperature=TAU, anneal=anneal), start=labels).fit(X, y)
        for anneal in (None, [1.0, 0.6])
    )
    assert cooled.loglik_ >= plain.loglik_ - 1e-7
    assert seed == 1 or cooled.loglik_ > plain.loglik_ + 0.5
    assert cooled.gate_temperature_ == TAU
    assert cooled.certificate_ < 1e-6


def test_under_a_penalty_annealing_a_linear_gate_is_a_path_of_strengths():
    """Why the softmax gate has no annealing: its temperature is a strength, or nothing."""
    X, y, labels = planted(lambda x: activated(x, 2), n=300)
    for tau in (2.0, 0.5):
        cold = SoftmaxGate(penalty=L2(0.02), temperature=tau)
        plain = SoftmaxGate(penalty=L2(0.02 * tau**2))
        one, two = (
            MoERegressor(2, gate=gate, start=labels, solver=EXACT).fit(X, y)
            for gate in (cold, plain)
        )
        assert_allclose(one.loglik_, two.loglik_, rtol=1e-9)


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        (ActivationGate("relu"), "activation in .*'tanh'.*'relu'"),
        (ActivationGate(temperature=0.0), "temperature > 0.*temperature='estimate'"),
        (ActivationGate(temperature="free"), "temperature > 0.*'free'"),
        (ActivationGate(penalty=L1(0.1)), "ActivationGate takes L2 penalties alone"),
        (ActivationGate(anneal=[2.0], temperature="estimate"), "fixed temperature in which they"),
        (ActivationGate(anneal=[2.0, 3.0]), "from dense to sparse"),
        (ActivationGate(anneal=[0.5]), "ends above temperature=1.0"),
        (ActivationGate(anneal=["hot"]), "positive numbers in anneal="),
    ],
)
def test_what_the_gate_refuses_it_names(gate, says):
    X, y, labels = planted(activated, n=60)
    with pytest.raises(ValueError, match=says):
        MoERegressor(3, gate=gate, start=labels).fit(X, y)


def test_a_temperature_that_runs_away_is_called_separated():
    rng = np.random.default_rng(1)
    x = rng.uniform(-2, 2, (150, 2))
    y = np.where(x[:, 0] <= 0, 2 + x[:, 1], -2 * x[:, 1]) + 0.3 * rng.normal(size=150)
    gate = ActivationGate(temperature="estimate")
    model = MoERegressor(2, gate=gate, start=MultiStart(0.3, max_rounds=1)).fit(x, y)
    assert model.status_.name == "SEPARATED" and model.gate_temperature_ >= 1e-6 * (1 - 1e-12)
