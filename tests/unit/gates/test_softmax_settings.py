"""Temperature and transform of the softmax gate: the laws of every gate, and what they mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse, special

import mixexp
from mixexp import EM, L1, L2, MoEPath, MoERegressor, SoftmaxGate
from mixexp._component import GATES
from mixexp._persistence import PersistenceError
from tests.contracts import test_information, test_maximisation, test_statistics


class Data(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    start: np.ndarray


EXACT = EM(max_passes=3000, tol=1e-15, gradient_tol=1e-9)
VARIANTS = {
    "cold": lambda: SoftmaxGate(temperature=0.4),
    "tanh": lambda: SoftmaxGate(transform="tanh"),
    "both": lambda: SoftmaxGate(penalty=L2(0.01), temperature=2.5, transform="sigmoid"),
    "sparse": lambda: SoftmaxGate(penalty=L1(0.02), temperature=0.5),
    "function": lambda: SoftmaxGate(transform=np.arctan),
}


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    """The name under which the contract tests find a gate with these settings."""
    monkeypatch.setitem(GATES, "variant", VARIANTS[request.param])
    return request.param


def test_the_laws_of_passes_hold(variant):
    test_statistics.test_statistics_of_blocks_add_to_those_of_the_whole(
        "variant", "gaussian", None, [1, 7, 119]
    )
    test_statistics.test_gradient_is_the_derivative_of_the_mean_log_likelihood(
        "variant", "gaussian", None
    )
    test_statistics.test_gate_probabilities_log_sum_to_zero("variant")
    test_statistics.test_pack_and_unpack_are_inverse("variant", "gaussian", None)
    if variant != "sparse":
        test_statistics.test_gate_information_is_the_curvature_of_its_surrogate("variant")


def test_the_laws_of_inference_hold(variant):
    test_information.test_scores_are_derivatives_of_the_rows_log_likelihoods(
        "variant", "gaussian", None
    )
    test_information.test_information_is_minus_the_second_derivative("variant", "gaussian", None)


@pytest.mark.parametrize("acceleration", [0, 8])
def test_the_objective_never_falls(variant, acceleration):
    test_maximisation.test_the_objective_never_falls("variant", "gaussian", None, acceleration)


def fit(gate):
    """A fit of two lines that cross, behind a gate that is soft."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 2)) * [1.0, 3.0] + [0.0, 5.0]
    upper = rng.random(300) < special.expit(0.4 + 1.2 * X[:, 0] - 0.3 * (X[:, 1] - 5))
    y = np.where(upper, 1 + X[:, 0], -1 - X[:, 1]) + 0.4 * rng.standard_normal(300)
    start = upper.astype(int)
    return MoERegressor(2, gate=gate, start=start, solver=EXACT).fit(X, y), Data(X, y, start)


@pytest.mark.parametrize("transform", [None, "tanh"])
def test_the_profile_of_a_temperature_is_flat(transform):
    """Whatever stands before linear scores: the coefficients grow with the temperature."""
    one, case = fit(SoftmaxGate(transform=transform))
    for tau in (0.1, 0.5, 3.0, 20.0):
        other, _ = fit(SoftmaxGate(temperature=tau, transform=transform))
        assert abs(other.loglik_ - one.loglik_) < 1e-6
        assert_allclose(other.gate_coef_, tau * one.gate_coef_, rtol=1e-3)
        assert_allclose(other.predict(case.X), one.predict(case.X), rtol=1e-4)


def test_under_a_penalty_a_temperature_is_a_strength():
    """alpha b^2 / 2 of slopes over tau is alpha tau^2 of slopes over one."""
    cold, _ = fit(SoftmaxGate(penalty=L2(0.02), temperature=0.5))
    plain, _ = fit(SoftmaxGate(penalty=L2(0.005)))
    assert_allclose(cold.gate_coef_ / 0.5, plain.gate_coef_, rtol=1e-5)
    assert_allclose(cold.loglik_, plain.loglik_, rtol=1e-10)


def test_inference_reports_log_odds_whatever_the_temperature():
    one, case = fit(SoftmaxGate())
    other, _ = fit(SoftmaxGate(temperature=0.25))
    found = [model.inference(case.X, case.y) for model in (one, other)]
    assert_allclose(found[1].params, found[0].params, rtol=1e-4)
    assert_allclose(found[1].bse, found[0].bse, rtol=1e-4)


@pytest.mark.parametrize("temperature", ["estimate", None, 0.0, -1.0, np.inf, True])
def test_a_temperature_is_no_estimand(temperature):
    with pytest.raises(ValueError, match="fixed temperature > 0.*same gate"):
        fit(SoftmaxGate(temperature=temperature))


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_probabilities_follow_from_the_attributes(name):
    function = {"tanh": np.tanh, "sigmoid": special.expit}[name]
    model, case = fit(SoftmaxGate(temperature=0.5, transform=name))
    z = (case.X - model.gate_centre_) / model.gate_scale_
    logits = (model.gate_intercept_ + function(z) @ model.gate_coef_.T) / 0.5
    assert_allclose(model.gate_proba(case.X), special.softmax(logits, axis=1), rtol=1e-10)
    assert f"{name}(x0)" in model.summary() and "temperature 0.5" in model.summary()


def test_a_transformed_gate_is_recovered():
    """A gate that saturates: a linear one must be wrong in the middle or far out."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal(4000) * 2
    z = (x - x.mean()) / x.std()
    pi = special.expit(0.3 + 1.5 * np.tanh(z))
    upper = rng.random(4000) < pi
    y = np.where(upper, 2 + x, -2 - x) + 0.5 * rng.standard_normal(4000)
    start = upper.astype(int)
    model = MoERegressor(2, gate=SoftmaxGate(transform="tanh"), start=start).fit(x[:, None], y)
    odds = np.diff(model.gate_coef_, axis=0)[0, 0], np.diff(model.gate_intercept_)[0]
    found = model.inference(x[:, None], y, reference=0)
    errors = found.bse
    assert abs(odds[0] - 1.5) < 4 * errors["gate 1 vs 0: x0"] < 1
    assert abs(odds[1] - 0.3) < 4 * errors["gate 1 vs 0: (intercept)"] < 1
    linear = MoERegressor(2, start=start).fit(x[:, None], y)
    assert model.loglik_ > linear.loglik_ + 2


def test_units_and_storage_do_not_change_a_transformed_gate():
    one, case = fit(SoftmaxGate(transform="tanh"))
    X = case.X
    for moved in (X * [2.0, 1e-6] + [5.0, 1.0], sparse.csr_array(X)):
        model = MoERegressor(2, gate=SoftmaxGate(transform="tanh"), start=case.start, solver=EXACT)
        model.fit(moved, case.y)
        assert_allclose(model.loglik_, one.loglik_, rtol=1e-9)
        assert_allclose(model.gate_proba(moved), one.gate_proba(X), rtol=1e-5)


def test_a_linear_combination_of_columns_is_a_new_column_once_it_is_bent():
    _, case = fit(SoftmaxGate())
    X = np.column_stack([case.X, case.X.sum(axis=1), case.X[:, 0]])
    models = [
        MoERegressor(2, gate=SoftmaxGate(transform=name), start=case.start).fit(X, case.y)
        for name in (None, "tanh")
    ]
    assert models[1].n_free_ == models[0].n_free_ + 1  # the sum; the copy is still a copy


def test_a_search_finds_what_a_given_start_finds():
    given, case = fit(SoftmaxGate(temperature=0.5, transform="tanh"))
    model = MoERegressor(2, gate=SoftmaxGate(temperature=0.5, transform="tanh"))
    assert model.fit(case.X, case.y).loglik_ > given.loglik_ - 1e-6


def test_files_hold_named_transforms_and_refuse_functions_by_name(tmp_path):
    model, case = fit(SoftmaxGate(temperature=0.5, transform="tanh"))
    model.save(tmp_path / "m.mixexp")
    copy = mixexp.load(tmp_path / "m.mixexp")
    assert np.array_equal(copy.predict(case.X), model.predict(case.X))
    assert copy.gate.transform == "tanh" and copy.gate.temperature == 0.5
    model, _ = fit(SoftmaxGate(transform=np.arctan))
    with pytest.raises(PersistenceError, match=r"SoftmaxGate\.transform is a ufunc"):
        model.save(tmp_path / "n.mixexp")


@pytest.mark.parametrize(
    ("transform", "says"),
    [
        ("relu", "transform=None, 'tanh', 'sigmoid' or a function"),
        (lambda z: z[:, 0], "same shape"),
        (lambda z: np.full(z.shape, np.nan), "not finite"),
    ],
)
def test_bad_transforms_are_named(transform, says):
    with pytest.raises(ValueError, match=says):
        fit(SoftmaxGate(transform=transform))


def test_where_a_transform_is_not_available_it_is_refused():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 40)), rng.standard_normal(80)
    gate = SoftmaxGate(penalty=L1(0.1), transform="tanh")
    with pytest.raises(ValueError, match="more than 30 columns are fitted on working sets"):
        MoERegressor(2, gate=gate).fit(X, y)
    with pytest.raises(ValueError, match="linear in the standardised columns; SoftmaxGate is not"):
        MoEPath(MoERegressor(2, gate=gate)).fit(X[:, :3], y)
