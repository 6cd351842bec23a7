"""Mixing measures of models, and losses between them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import log_softmax, logsumexp

from mixexp import (
    GLoMERegressor,
    MixingMeasure,
    MoEClassifier,
    MoERegressor,
    MultiStart,
    PoissonExpert,
    moe,
    voronoi_loss,
)
from mixexp.datasets import (
    LocalisedTruth,
    MoETruth,
    make_localised_regression,
    make_moe_classification,
    make_moe_regression,
)
from mixexp.inference import voronoi_cells

QUICK = MultiStart(n_starts=0.05, max_rounds=0)


def softmax(intercept, gate, b, a, variance):
    atoms = {"gate_slope": gate, "intercept": b, "slope": a, "variance": variance}
    return MixingMeasure("softmax_gaussian", np.exp(intercept), atoms)


TRUTH = softmax([-1.0, 0.0], [[2.0], [0.0]], [1.0, -1.0], [[-2.0], [2.0]], [0.1, 0.2])


def reordered(measure, order, shift=0.0, step=0.0):
    """The same mixture: other order, gate translated."""
    atoms = {name: values[order] for name, values in measure.atoms.items()}
    if "gate_slope" in atoms:
        atoms["gate_slope"] = atoms["gate_slope"] + step
    return MixingMeasure(measure.kind, measure.weights[order] * np.exp(shift), atoms)


def localised(centres=(-0.5, 0.5), weights=(0.4, 0.6)):
    return MixingMeasure(
        "gaussian_gate",
        weights,
        {
            "gate_mean": np.reshape(centres, (2, 1)),
            "gate_covariance": np.reshape([0.1, 0.2], (2, 1, 1)),
            "intercept": [[0.0], [1.0]],
            "slope": [[[1.0]], [[-1.0]]],
            "variance": np.reshape([0.3, 0.1], (2, 1, 1)),
        },
    )


# --- the measure of a model is the model ---------------------------------------------------------


def log_density(measure, X, y):
    """(n,) log p(y | x) from the atoms alone."""
    atoms, log_weight = measure.atoms, np.log(measure.weights)
    K = measure.n_experts
    if measure.kind == "gaussian_gate":
        gate = np.stack(
            [
                stats.multivariate_normal(mean, cov).logpdf(X).reshape(len(X))
                for mean, cov in zip(atoms["gate_mean"], atoms["gate_covariance"])
            ],
            axis=1,
        )
        means = np.einsum("kmp,np->nkm", atoms["slope"], X) + atoms["intercept"]
        own = np.stack(
            [
                stats.multivariate_normal(np.zeros(len(cov)), cov)
                .logpdf(np.reshape(y, (len(X), -1)) - means[:, k])
                .reshape(len(X))
                for k, cov in enumerate(atoms["variance"])
            ],
            axis=1,
        )
        return logsumexp(log_softmax(log_weight + gate, axis=1) + own, axis=1)
    gate = log_softmax(log_weight + X @ atoms["gate_slope"].T, axis=1)
    if measure.kind == "multinomial":
        logits = np.einsum("kcp,np->nkc", atoms["slope"], X) + atoms["intercept"]
        logits = np.concatenate([logits, np.zeros((len(X), K, 1))], axis=2)
        own = log_softmax(logits, axis=2)[np.arange(len(X)), :, y.astype(int)]
    else:
        means = X @ atoms["slope"].T + atoms["intercept"]
        own = stats.norm.logpdf(y[:, None], means, np.sqrt(atoms["variance"]))
    return logsumexp(gate + own, axis=1)


def fitted(kind):
    """A model, the truth, and rows."""
    if kind == "softmax_gaussian":
        X, y, truth = make_moe_regression(200, random_state=0, return_truth=True)
        return MoERegressor(3, start=truth.z).fit(X, y), truth, X, y
    if kind == "multinomial":
        X, y, truth = make_moe_classification(300, 2, 2, random_state=0, return_truth=True)
        return MoEClassifier(2, start=truth.z).fit(X, y), truth, X, y
    X, y, truth = make_localised_regression(200, random_state=0, return_truth=True)
    return GLoMERegressor(2, start=truth.z).fit(X, y), truth, X, y


@pytest.mark.parametrize("kind", ["softmax_gaussian", "multinomial", "gaussian_gate"])
def test_a_measure_holds_the_whole_model(kind):
    model, truth, X, y = fitted(kind)
    for one in (model, truth):
        measure = MixingMeasure.of(one)
        assert measure.kind == kind
        assert_allclose(log_density(measure, X, y), one.log_prob(X, y), rtol=1e-9)


def test_a_measure_of_an_inverse_regression(rng):
    X = rng.standard_normal((200, 3))
    y = np.where(X[:, 0] > 0, 3 + X[:, 1], -3 * X[:, 2]) + 0.3 * rng.standard_normal(200)
    model = GLoMERegressor(2, parametrisation="inverse", start=(X[:, 0] > 0) * 1).fit(X, y)
    assert_allclose(log_density(MixingMeasure.of(model), X, y), model.log_prob(X, y), rtol=1e-7)


def test_measures_of_other_designs():
    X, y = make_moe_regression(200, n_experts=2, random_state=0)
    constant = MixingMeasure.of(MoERegressor(2, gate="constant", start=QUICK).fit(X, y))
    assert constant.atoms["gate_slope"].shape == (2, 0)
    gaussian = MoERegressor(2, gate="gaussian", start=QUICK).fit(X, y)
    measure = MixingMeasure.of(gaussian)
    assert_allclose(log_density(measure, X, y), gaussian.log_prob(X, y), rtol=1e-9)
    data = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": y})
    formula = MixingMeasure.of(moe("y ~ a + b", data, n_experts=2, start=QUICK))
    assert_allclose(log_density(formula, X, y).sum(), MoERegressor(2).fit(X, y).loglik_)


# --- laws of the loss ----------------------------------------------------------------------------


@given(shift=st.floats(-5, 5), step=st.floats(-20, 20), kind=st.sampled_from(["auto", "exact"]))
def test_order_and_translation_of_the_gate_do_not_matter(shift, step, kind):
    same = reordered(TRUTH, [1, 0], shift, step)
    assert voronoi_loss(same, TRUTH, kind) < 1e-9
    other = softmax([-0.5, 0.1], [[2.5], [0.3]], [1.1, -1], [[-2], [2.3]], [0.1, 0.3])
    assert_allclose(
        voronoi_loss(reordered(other, [1, 0], shift, step), TRUTH, kind),
        voronoi_loss(other, TRUTH, kind),
        rtol=1e-6,
    )
    assert np.array_equal(voronoi_cells(same, TRUTH), [1, 0])


def test_the_loss_is_the_infimum_over_translations(rng):
    """Against a fine grid of translations of slopes and intercepts."""
    for K in (2, 3):
        fit = softmax(
            rng.normal(0, 0.2, K),
            np.vstack([[2.0], [0.0], [0.3]])[:K] + 0.2 * rng.standard_normal((K, 1)),
            np.array([1.0, -1.0, -0.8])[:K] + 0.1 * rng.standard_normal(K),
            np.array([[-2.0], [2.0], [1.8]])[:K],
            [0.1, 0.2, 0.25][:K],
        )
        found = voronoi_loss(fit, TRUTH)
        values = [
            plain_loss(reordered(fit, np.arange(K), shift, step), TRUTH)
            for shift in np.linspace(-1.5, 1.5, 61)
            for step in np.linspace(-0.6, 0.6, 41)
        ]
        assert found <= min(values) + 1e-9
        assert_allclose(found, min(values), rtol=0.03)


def plain_loss(fit, truth):
    """The formula, atom by atom, without any translation."""
    r_bar, names = {1: 1, 2: 4, 3: 6}, list(truth.atoms)
    norms = {
        name: [
            [np.linalg.norm(np.subtract(a, b)) for b in truth.atoms[name]] for a in fit.atoms[name]
        ]
        for name in names
    }
    cells = np.sum([norms[name] for name in names], axis=0).argmin(axis=1)
    total = 0.0
    for j in range(truth.n_experts):
        inside = np.flatnonzero(cells == j)
        total += abs(fit.weights[inside].sum() - truth.weights[j])
        r = r_bar.get(len(inside), 1)
        for i in inside:
            for name in names:
                power = r if name in ("gate_slope", "intercept") else max(r / 2, 1)
                total += fit.weights[i] * norms[name][i][j] ** power
    return total


def test_translations_in_several_columns(rng):
    """No translation of the slopes tried at random is better."""
    gate = rng.standard_normal((2, 3))
    two = gate[[0, 1, 1]] + 0.2 * rng.standard_normal((3, 3)) + 1.0
    b, a, v = [0.0, 1.0], np.eye(2, 3), [0.1, 0.2]
    truth = softmax([0.0, 0.3], gate, b, a, v)
    fit = softmax([0.0, -0.2, 0.1], two, [0.1, 0.9, 1.1], np.eye(2, 3)[[0, 1, 1]], [0.1, 0.2, 0.3])
    found = voronoi_loss(fit, truth)
    for scale in (0.01, 0.1, 1.0):
        for _ in range(300):
            step, shift = scale * rng.standard_normal(3), 0.3 * rng.standard_normal()
            moved = reordered(fit, np.arange(3), shift, step)
            assert found <= plain_loss(moved, truth) + 1e-9


@pytest.mark.parametrize("size", [0.1, 0.01])
def test_powers_of_a_cell_with_two_atoms(size):
    """Moments of first order cancel: what is left are the powers 4 and 2."""
    eps = np.array([size, -size])
    fit = softmax(
        [-1 - np.log(2)] * 2 + [0.0],
        [[2.0 + eps[0]], [2.0 + eps[1]], [0.0]],
        [*(1 + eps), -1.0],
        [[-2.0 + eps[0]], [-2.0 + eps[1]], [2.0]],
        [*(0.1 + 0.5 * eps), 0.2],
    )
    expected = np.exp(-1) * (2 * size**4 + size**2 + (0.5 * size) ** 2)
    assert_allclose(voronoi_loss(fit, TRUTH), expected, rtol=1e-3)
    assert_allclose(voronoi_loss(fit, TRUTH, "exact"), np.exp(-1) * 3.5 * size, rtol=1e-6)


@pytest.mark.parametrize(("centre", "power"), [(-0.5, 2), (0.0, 3)])
def test_slopes_behind_a_gaussian_gate(centre, power):
    """Three atoms in a cell: slopes have the power 2, or 3 where the class is centred at zero."""
    truth = localised((centre, 5.0))
    atoms = {name: values[[0, 0, 0, 1]].copy() for name, values in truth.atoms.items()}
    atoms["slope"][0] += 0.1
    fit = MixingMeasure("gaussian_gate", [0.1, 0.1, 0.2, 0.6], atoms)
    assert_allclose(voronoi_loss(fit, truth), 0.1 * 0.1**power)
    atoms["gate_mean"][1] += 0.2
    atoms["gate_covariance"][2] += 0.05
    moved = MixingMeasure("gaussian_gate", [0.1, 0.1, 0.2, 0.6], atoms)
    expected = 0.1 * 0.1**power + 0.1 * 0.2**6 + 0.2 * 0.05**3
    assert_allclose(voronoi_loss(moved, truth), expected)


def test_multinomial_cells_have_squares():
    truth = MoETruth(
        "multinomial", [[4.0], [0.0]], [0.0, 0.0], [[[1.0], [0.0]], [[-1.0], [0.0]]],
        [[2.0, 0.0], [-2.0, 0.0]],
    )  # fmt: skip
    measure = MixingMeasure.of(truth)
    atoms = {name: values[[0, 0, 1]].copy() for name, values in measure.atoms.items()}
    atoms["intercept"][0] += 0.1
    atoms["slope"][2] += 0.01
    fit = MixingMeasure("multinomial", [0.5, 0.5, 1.0], atoms)
    assert_allclose(voronoi_loss(fit, truth), 0.5 * 0.01 + 0.01)


def test_a_missing_expert_costs_its_weight():
    truth = localised()
    atoms = {name: values[[0, 0]] for name, values in truth.atoms.items()}
    assert_allclose(voronoi_loss(MixingMeasure("gaussian_gate", [0.5, 0.5], atoms), truth), 1.2)


def test_steep_gates_have_a_finite_loss():
    fit = softmax([-900.0, 0.0, -8.0], [[900.0], [0.0], [1.0]], [1, -1, 0], np.eye(3, 1), [1, 1, 1])
    assert 0 < voronoi_loss(fit, TRUTH) < 10


# --- refusals ------------------------------------------------------------------------------------


def test_what_is_no_measure_is_refused():
    with pytest.raises(ValueError, match="kind must be one of"):
        MixingMeasure("sigmoid", [1.0], {})
    with pytest.raises(ValueError, match="needs the coordinates"):
        MixingMeasure("multinomial", [1.0], {"slope": [[1.0]]})
    with pytest.raises(ValueError, match="at least 0"):
        MixingMeasure("softmax_gaussian", [-1.0, 1.0], TRUTH.atoms)
    with pytest.raises(ValueError, match="slope must have one entry for each of 2 experts"):
        MixingMeasure("softmax_gaussian", [1.0, 1.0], dict(TRUTH.atoms) | {"slope": [[1.0]]})
    with pytest.raises(ValueError, match="must be finite"):
        MixingMeasure(
            "softmax_gaussian", [1.0, 1.0], dict(TRUTH.atoms) | {"intercept": [np.nan, 1.0]}
        )
    with pytest.raises(ValueError, match="got ndarray"):
        MixingMeasure.of(np.eye(2))


def test_models_without_a_measure_are_refused(rng):
    X = rng.standard_normal((60, 1))
    counts = rng.poisson(3, 60)
    with pytest.raises(ValueError, match="identity link"):
        MixingMeasure.of(MoERegressor(1, expert=PoissonExpert()).fit(X, counts))
    _, _, truth = make_moe_regression(20, expert="poisson", random_state=0, return_truth=True)
    with pytest.raises(ValueError, match="'poisson'"):
        MixingMeasure.of(truth)
    curved = LocalisedTruth(
        np.array([1.0]), np.zeros((1, 1)), np.ones((1, 1, 1)), [lambda X: X[:, 0] ** 2],
        np.array([1.0]),
    )  # fmt: skip
    with pytest.raises(ValueError, match="affine means"):
        MixingMeasure.of(curved)


def test_measures_that_cannot_be_compared():
    with pytest.raises(ValueError, match="of kind 'softmax_gaussian', the truth"):
        voronoi_loss(TRUTH, localised())
    wide = softmax([0.0], [[1.0, 2.0]], [1.0], [[1.0, 2.0]], [1.0])
    with pytest.raises(ValueError, match="gate_slope of the fit has shape"):
        voronoi_loss(wide, TRUTH)
    with pytest.raises(ValueError, match="kind must be one of"):
        voronoi_loss(TRUTH, TRUTH, "best")
