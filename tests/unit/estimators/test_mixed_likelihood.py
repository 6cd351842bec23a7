"""The marginal likelihood of rows at the estimates, predictions of crossed factors, and reports."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from mixexp import MixedEffectsMoERegressor, load


@pytest.fixture(scope="module")
def mixed():
    """Two overlapping experts whose odds and intercepts differ between 40 groups: Laplace's
    approximation has poles there, and the fit ends at one."""
    rng = np.random.default_rng(0)
    who, x = np.repeat(np.arange(40), 8), rng.normal(size=(320, 1))
    first = rng.random(320) < 1 / (1 + np.exp(-(0.3 * x[:, 0] + rng.normal(size=40)[who])))
    y = np.where(first, 1.5 + x[:, 0], -1.5 - x[:, 0]) + rng.normal(size=320)
    y += 0.7 * rng.normal(size=40)[who]
    with pytest.warns(ConvergenceWarning, match=r"'quadrature' \(one factor\) or 'variational'"):
        model = MixedEffectsMoERegressor(2).fit(x, y, groups=who)
    return model, x, y, who


@pytest.fixture(scope="module")
def crossed():
    """One Gaussian expert, 12 raters and 8 items, with gaps."""
    rng = np.random.default_rng(1)
    groups = {"rater": rng.integers(0, 12, 90), "item": rng.integers(0, 8, 90)}
    x = rng.normal(size=(90, 1))
    y = x[:, 0] + rng.normal(size=12)[groups["rater"]] + rng.normal(size=8)[groups["item"]]
    y += rng.normal(size=90)
    return MixedEffectsMoERegressor(1).fit(x, y, groups=groups), x, y, groups


@pytest.mark.parametrize("approximation", ["laplace", "variational", "quadrature"])
def test_on_the_rows_of_the_fit_it_is_the_log_likelihood_of_the_fit(approximation):
    rng = np.random.default_rng(3)
    who, x = np.repeat(np.arange(20), 6), rng.normal(size=(120, 1))
    y = rng.poisson(np.exp(0.5 + 0.3 * x[:, 0] + 0.5 * rng.normal(size=20)[who]))
    model = MixedEffectsMoERegressor(1, family="poisson", approximation=approximation)
    model.fit(x, y, groups=who)
    assert_allclose(model.marginal_log_likelihood(x, y, who), model.loglik_, atol=1e-5)
    sampled = model.monte_carlo_log_likelihood(x, y, who, n_draws=400)
    assert sampled.std_err < 0.1
    assert abs(sampled.value - model.loglik_) < 4 * sampled.std_err + 0.2


def test_groups_add_and_labels_do_not_matter(mixed):
    model, x, y, who = mixed
    first = who < 15
    whole = model.marginal_log_likelihood(x, y, who, approximation="quadrature")
    parts = [
        model.marginal_log_likelihood(x[own], y[own], who[own] + 100, approximation="quadrature")
        for own in (first, ~first)
    ]
    assert_allclose(sum(parts), whole, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(y))
    moved = model.marginal_log_likelihood(x[order], y[order], who[order], approximation="laplace")
    here = model.marginal_log_likelihood(x, y, who)
    assert_allclose(moved, here, atol=1e-6)


def test_single_rows_have_the_density_of_unknown_groups(mixed):
    model, x, y, _ = mixed
    alone = model.marginal_log_likelihood(x[:50], y[:50], np.arange(50), approximation="quadrature")
    assert_allclose(alone, model.log_prob(x[:50], y[:50]).sum(), atol=1e-2)


def test_bound_and_sampling_at_the_estimates(mixed):
    model, x, y, who = mixed
    bound, exact = (
        model.marginal_log_likelihood(x, y, who, approximation=kind)
        for kind in ("variational", "quadrature")
    )
    sampled = model.monte_carlo_log_likelihood(x, y, who, n_draws=600)
    assert bound < exact
    assert sampled.std_err < 0.2
    assert abs(exact - sampled.value) < 4 * sampled.std_err
    again = model.monte_carlo_log_likelihood(x, y, who, n_draws=600, random_state=0)
    assert again == sampled


def test_one_gaussian_expert_with_crossed_factors_is_exact(crossed):
    model, x, y, groups = crossed
    sampled = model.monte_carlo_log_likelihood(x, y, groups, n_draws=100)
    assert_allclose(sampled.value, model.loglik_, atol=1e-6)
    assert sampled.std_err < 1e-4


def test_predictions_of_crossed_factors_have_the_covariances_of_their_effects(crossed, tmp_path):
    model, x, y, groups = crossed
    deviations = model.variance_components_["estimate"].to_numpy()
    Z = [np.eye(n)[groups[name]] * sd for (name, n), sd in zip(
        model.n_groups_.items(), deviations, strict=True)]  # fmt: skip
    Z = np.hstack(Z)
    precision = Z.T @ Z / model.dispersion_[0] ** 2 + np.eye(Z.shape[1])
    wanted = np.einsum("na,ab,nb->n", Z, np.linalg.inv(precision), Z) + model.dispersion_[0] ** 2
    assert_allclose(model.predict_std(x, groups), np.sqrt(wanted), rtol=1e-6)
    # a rater that is known and an item that is not
    partly = model.predict_std(x, {"rater": groups["rater"]})
    assert np.all(partly > model.predict_std(x, groups))
    model.save(tmp_path / "crossed.mixexp")
    again = load(tmp_path / "crossed.mixexp")
    assert_allclose(again.predict_std(x, groups), np.sqrt(wanted), rtol=1e-6)


def test_covariances_that_predictions_leave_out_are_said(crossed, monkeypatch):
    model, x, y, groups = crossed
    assert "covariances between factors" not in model.summary()
    monkeypatch.setattr("mixexp.em.mixed.determinant.DENSE", 10)
    monkeypatch.setattr("mixexp.em.mixed.precision.JOINT", 10)  # here are 20 effects
    less = MixedEffectsMoERegressor(1).fit(x, y, groups=groups)
    assert_allclose(less.loglik_, model.loglik_, rtol=1e-9)
    assert np.all(less.predict_std(x, groups) > model.predict_std(x, groups))
    assert "leave out the posterior covariances between factors" in less.summary()


@pytest.mark.parametrize("approximation", ["laplace", "variational"])
def test_covariances_of_crossed_factors_of_counts(approximation):
    """The sum of two effects is known better than its parts: predictions must show it."""
    rng = np.random.default_rng(2)
    groups = {"a": rng.integers(0, 6, 60), "b": rng.integers(0, 4, 60)}
    eta = 1 + 0.6 * rng.normal(size=6)[groups["a"]] + 0.6 * rng.normal(size=4)[groups["b"]]
    y, x = rng.poisson(np.exp(eta)), np.zeros((60, 1))
    model = MixedEffectsMoERegressor(
        1, family="poisson", expert_features=[], approximation=approximation
    ).fit(x, y, groups=groups)
    spread = model.predict_std(x, groups)
    apart = model._fitted._replace(joint=None)
    model._fitted = apart
    assert np.all(spread < model.predict_std(x, groups))


def test_a_pole_is_said(mixed):
    """The warning of the fit has named the other approximations."""
    model, x, y, who = mixed
    assert model.n_bounded_ > 0
    assert f"bounded in {model.n_bounded_} directions" in model.summary()
    assert model.coefficients_["std err"].isna().all()
    assert "No standard errors" in model.summary()
    other = MixedEffectsMoERegressor(1).fit(x, y, groups=who)
    assert other.n_bounded_ == 0 and "bounded" not in other.summary()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": None}, "groups= is needed"),
        ({"groups": {"rater": 0}}, "lacks the factor 'item'"),
        ({"groups": "gap"}, "no label in 1 row"),
        ({"n_draws": 50}, "n_draws must be an integer >= 100"),
        ({"n_draws": 1e3}, "n_draws must be an integer"),
        ({"approximation": "exact"}, "approximation must be one of"),
        ({"approximation": "quadrature"}, "takes one factor"),
    ],
)
def test_bad_input_is_refused(crossed, change, message):
    model, x, y, groups = crossed
    given = change.pop("groups", groups)
    if given == "gap":
        frame = pd.DataFrame(groups).astype(object)
        frame.loc[3, "item"] = None
        given = frame
    elif given is not None and given is not groups:
        given = {"rater": groups["rater"]}
    draw = "n_draws" in change
    method = model.monte_carlo_log_likelihood if draw else model.marginal_log_likelihood
    with pytest.raises(ValueError, match=message):
        method(x, y, given, **change)
