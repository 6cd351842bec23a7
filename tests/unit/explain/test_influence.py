"""Influence against refits, leverage, gate calibration, uncertainty and worms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import MoERegressor
from mixexp.explain import (
    gate_calibration,
    influence,
    leverage,
    quantile_residuals,
    row_uncertainty,
    worms,
)
from mixexp.plotting import plot_gate_calibration, plot_influence, plot_worm


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(250, 2))
    first = rng.random(250) < 1 / (1 + np.exp(-1.5 * X[:, 0]))
    y = np.where(first, 1 + 2 * X[:, 0], -1 - X[:, 0] + 0.5 * X[:, 1]) + 0.6 * rng.normal(size=250)
    y[17] += 2.5
    return MoERegressor(2).fit(X, y), X, y


def test_one_newton_step_is_nearly_a_refit(fitted):
    model, X, y = fitted
    found = influence(model, X, y)
    rows = [*found.largest(3), 40, 100]
    for row in rows:
        keep = np.arange(len(y)) != row
        refit = MoERegressor(2, start=model).fit(X[keep], y[keep])
        change = refit.coef_ - model.coef_
        names = [[f"expert {k}: x{j}" for j in range(2)] for k in range(2)]
        mine = np.array([[found.change[name].iloc[row] for name in line] for line in names])
        assert_allclose(mine, change, atol=0.25 * np.abs(change).max() + 1e-3)
        before = model.log_prob(X, y).sum()
        assert_allclose(
            found.displacement[row],
            2 * (before - refit.log_prob(X, y).sum()),
            rtol=0.3,
            atol=1e-4,
        )


def test_a_planted_outlier_has_influence(fitted):
    model, X, y = fitted
    assert 17 in influence(model, X, y).largest(5)


def test_a_constant_column_changes_no_influence(fitted):
    model, X, y = fitted
    beside = np.column_stack([X, np.full(len(y), 3.0)])
    found = influence(MoERegressor(2).fit(beside, y), beside, y)
    assert_allclose(found.cook, influence(model, X, y).cook, rtol=1e-4)
    assert (found.n_parameters, found.n_held) == (11, 0)
    assert (found.change.filter(like="x2") == 0).all(axis=None)


def test_hat_values_of_one_expert_are_those_of_least_squares():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 3))
    y = X @ [1.0, 0.0, -1.0] + rng.normal(size=60)
    found = leverage(MoERegressor(1).fit(X, y), X, y)
    design = np.column_stack([np.ones(60), X])
    hat = np.einsum("ia,ab,ib->i", design, np.linalg.inv(design.T @ design), design)
    assert_allclose(found.hat[:, 0], hat, rtol=1e-6)
    assert_allclose(found.n_coefficients, [4], rtol=1e-6)


def test_hat_values_add_up_to_the_coefficients(fitted):
    model, X, y = fitted
    assert_allclose(leverage(model, X, y).n_coefficients, [3, 3], rtol=1e-6)


def test_the_gate_of_the_true_law_is_calibrated(fitted):
    model, _, _ = fitted
    rng = np.random.default_rng(2)
    X = rng.normal(size=(4000, 2))
    y = model.sample(X, rng)
    found = gate_calibration(model, X, y, bins=8)
    z = np.concatenate(found.z)
    assert np.abs(z).max() < 4
    wrong = gate_calibration(model, -X, y, bins=8)
    assert np.abs(np.concatenate(wrong.z)).max() > 4


def test_uncertainty_and_entropy_are_those_of_the_responsibilities(fitted):
    model, X, y = fitted
    resp = model.responsibilities(X, y)
    found = row_uncertainty(model, X, y)
    assert_allclose(found.uncertainty, 1 - resp.max(axis=1))
    assert_allclose(found.total_entropy, model.fit_summary_.entropy, rtol=1e-6)
    assert 0 <= found.separation <= 1


def test_worms_of_a_right_model_are_flat_and_of_a_wrong_one_are_not():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(1500, 1))
    right = X[:, 0] + rng.normal(size=1500)
    wrong = X[:, 0] + rng.standard_exponential(1500)
    flat, bent = (
        worms(quantile_residuals(MoERegressor(1).fit(X, y), X, y))[0] for y in (right, wrong)
    )
    assert flat.outside < 0.1
    assert not flat.alarming[2]
    assert bent.outside > 0.5
    assert bent.alarming[2]
    assert bent.coefficients[2] > 0  # skewed to the right


def test_figures_are_drawn(fitted):
    import matplotlib.pyplot as plt

    model, X, y = fitted
    ax = plot_influence(influence(model, X, y), plt.figure().subplots())
    assert "17" in [text.get_text() for text in ax.texts]
    ax = plot_gate_calibration(gate_calibration(model, X, y), plt.figure().subplots())
    assert ax.get_legend().get_texts()[0].get_text() == "expert 0"
    ax = plot_worm(worms(quantile_residuals(model, X, y))[0], plt.figure().subplots())
    assert "Worm" in ax.get_title(loc="left")
    plt.close("all")
