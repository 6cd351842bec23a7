"""Densities, regions and tails of fitted estimators on bundled data."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats

from mixexp import GLoMERegressor, MoERegressor
from mixexp.datasets import load_ethanol, load_seizure
from mixexp.em import predictive, regions, tails
from mixexp.em.predictive import Components
from mixexp.experts import GammaExpert, GaussianExpert, NegativeBinomialExpert, PoissonExpert


@pytest.fixture(scope="module")
def ethanol():
    X, y = load_ethanol(return_X_y=True)
    return MoERegressor(3).fit(X, y), X, y


@pytest.fixture(scope="module")
def seizures():
    data = load_seizure()
    model = MoERegressor(2, expert="poisson", gate="constant")
    return model.fit(data.data, data.target, exposure=data.exposure), data


def test_tail_expectations_are_integrals_of_the_density(ethanol):
    model, X, _ = ethanol
    limit, q = 1.5, 0.9
    premium, kept = model.stop_loss(X[:4], limit), model.limited_expectation(X[:4], limit)
    shortfall, value = model.expected_shortfall(X[:4], q), model.predict_quantile(X[:4], q)
    for i in range(4):

        def density(y, row=X[i : i + 1]):
            return model.predict_density(row, [y])[0, 0]

        def integral(function, low, high, between=(value[i], limit)):
            points = list(between)
            return integrate.quad(function, low, high, points=points, limit=400, epsabs=1e-10)[0]

        assert_allclose(premium[i], integral(lambda y: (y - limit) * density(y), limit, 20),
                        atol=1e-7)  # fmt: skip
        assert_allclose(kept[i], integral(lambda y: min(y, limit) * density(y), -20, 20), atol=1e-6)
        tail = integral(lambda y: y * density(y), value[i], 20) / (1 - q)
        assert_allclose(shortfall[i], tail, rtol=1e-6)


def test_a_threshold_may_differ_by_row(ethanol):
    model, X, y = ethanol
    each = model.stop_loss(X, y)
    assert_allclose(each[5], model.stop_loss(X, y[5])[5], rtol=1e-12)
    assert_allclose(model.limited_expectation(X, y) + each, model.predict(X), rtol=1e-10)


def test_density_on_a_grid_is_that_of_the_rows(ethanol):
    model, X, y = ethanol
    density = model.predict_density(X, y)
    assert density.shape == (88, 88)
    assert_allclose(np.diag(density), np.exp(model.log_prob(X, y)), rtol=1e-10)


def test_regions_of_counts_with_an_exposure(seizures):
    model, data = seizures
    first = slice(0, 20)
    inputs = {"exposure": data.exposure[first]}
    found = model.predict_hdr(data.data[first], 0.8, **inputs)
    assert {len(region) for region in found} == {1, 2}  # of long days: good ones and bad ones
    grid = np.arange(400.0)
    mass = model.predict_density(data.data[first], grid, **inputs)
    assert_allclose(mass.sum(axis=1), 1, rtol=1e-10)
    for region, own in zip(found, mass, strict=True):
        inside = np.zeros(len(grid), dtype=bool)
        for low, high in region.astype(int):
            inside[low : high + 1] = True
        assert own[inside].min() > own[~inside].max()
        assert own[inside].sum() >= 0.8 > own[inside].sum() - own[inside].min()


def test_several_responses_have_regions_and_tails_of_their_own(ethanol):
    _, X, y = ethanol
    model = GLoMERegressor(2).fit(X, np.column_stack([y, y**2]))
    found = model.predict_hdr(X[:3], 0.9)
    assert [len(own) for own in found] == [2, 2, 2] and found[0][0].shape[1] == 2
    assert model.predict_density(X[:3], [1.0, 2.0, 3.0, 4.0]).shape == (3, 2, 4)
    assert model.expected_shortfall(X[:3]).shape == (3, 2)
    sum_of_both = model.stop_loss(X[:3], 1.0) + model.limited_expectation(X[:3], 1.0)
    assert_allclose(sum_of_both, model.predict(X[:3]), rtol=1e-10)


def test_one_expert_is_its_family():
    parts = Components(np.ones((2, 1)), np.array([[[3.0]], [[0.5]]]), np.array([[2.0]]), None)
    region = regions.highest_density(parts, GaussianExpert(), 0.95)
    assert_allclose(region[0], [[3 - 2 * 1.959963985, 3 + 2 * 1.959963985]], rtol=1e-8)
    exponential = parts._replace(dispersion=np.array([[1.0]]))
    region = regions.highest_density(exponential, GammaExpert(), 0.9)
    assert_allclose(region[1], [[0, -0.5 * np.log(0.1)]], atol=1e-9)
    region = regions.highest_density(parts, PoissonExpert(), 0.9)
    mass = stats.poisson(3).pmf(np.arange(30))
    low, high = region[0][0].astype(int)
    assert mass[low : high + 1].sum() >= 0.9 and len(region[0]) == 1


def test_the_tip_of_a_second_mode_is_a_region_of_its_own():
    """The height lies just under a peak that no node hits."""
    parts = Components(
        np.array([[0.7, 0.3]]), np.array([[[0.0], [9.0]]]), np.array([[1.0], [1.0]]), None
    )
    peak = predictive.density(parts, GaussianExpert(), np.array([[9.0]]))[0, 0]
    z = np.sqrt(-2 * np.log(peak * 0.9999 * np.sqrt(2 * np.pi) / 0.7))
    level = 0.7 * (2 * stats.norm.cdf(z) - 1) + 1e-3
    region = regions.highest_density(parts, GaussianExpert(), level)[0]
    assert len(region) == 2 and region[1, 1] - region[1, 0] < 0.1
    held = np.diff(predictive.cdf(parts.take([0, 0, 0, 0]), GaussianExpert(), region.reshape(-1, 1))
                   .reshape(-1, 2), axis=1).sum()  # fmt: skip
    assert_allclose(held, level, atol=1e-10)


def test_large_counts_have_regions_too():
    parts = Components(np.ones((1, 1)), np.full((1, 1, 1), 1e11), np.ones((1, 1)), None)
    region = regions.highest_density(parts, PoissonExpert(), 0.9)[0]
    half = 1.6448536 * np.sqrt(1e11)
    assert_allclose(region[0], [1e11 - half, 1e11 + half], atol=1e-3 * half)
    grid = 1e11 + np.array([0.0])
    assert_allclose(regions.content(parts, PoissonExpert(), grid), 0, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X: m.predict_hdr(X, 1.0), "level must lie strictly between 0 and 1"),
        (lambda m, X: m.expected_shortfall(X, 95), "q must lie strictly between 0 and 1"),
        (lambda m, X: m.expected_shortfall(X, tail="left"), "tail must be 'upper' or 'lower'"),
        (lambda m, X: m.stop_loss(X, [1.0, 2.0]), "retention has shape"),
        (lambda m, X: m.limited_expectation(X, np.inf), "limit must be finite"),
        (lambda m, X: m.predict_density(X, [np.nan]), "grid"),
    ],
)
def test_errors_say_what_is_needed(ethanol, call, message):
    model, X, _ = ethanol
    with pytest.raises(ValueError, match=message):
        call(model, X)


def test_the_lower_tail_never_lies_above_its_quantile():
    """Where the quantile is the lower end of the support, the tail's mean is the quantile."""
    rate = np.linspace(0.3, 300, 60)
    mean = np.stack([rate, np.full(60, 1e-3)], axis=1)
    theta = np.stack([mean, np.full((60, 2), 3.0)], axis=2)
    parts = Components(np.full((60, 2), 0.5), mean[:, :, None], theta, None)
    expert = NegativeBinomialExpert()
    for probability in (1e-6, 0.02, 0.4):
        value = predictive.quantile(parts, expert, probability)
        lower = tails.shortfall(parts, expert, probability, "lower")
        assert np.all(value == 0)
        assert np.all(lower <= value)
        assert np.all(np.abs(lower[:, 0]) <= 1e-13 * rate / probability)
