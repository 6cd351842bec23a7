"""Laws of one family: its density, distribution function, quantiles, draws and moments agree."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats

from tests.contracts.cases import families, model_of, problem, some_params
from tests.contracts.test_statistics import MoE, target_grid

K = 2
# what the part of the law beyond the grid, 1e-12 on either side, adds to a variance
HEAVY_TAILS = {"student": 1e-4, "skew_t": 1e-5}


@pytest.fixture
def setting(family, link):
    """(expert, parameters, design, trials, model, rows) of a small problem in the user's units."""
    case = problem("constant", family, link, n=5)
    model = model_of(case, standardise=False)
    params = some_params(model, case.rows).expert
    return model, params, case.rows


def one(model, params, row, k):
    """Mean, dispersion and trials of expert k at one row, shaped (1, 1)."""
    design, units = model.expert_design(row.X), model.scaling
    mean, phi = model.expert.law(params, design, None, row.trials, units)
    trials = None if row.trials is None else row.trials[:, None]
    return mean[:, k], trials, phi[:, [k]] if phi.ndim == 3 else phi[k]


def log_density(model, params, row, y, k):
    """Log density of expert k at one row for many targets y."""
    X = np.repeat(model.expert_design(row.X), len(y), axis=0)
    trials = None if row.trials is None else np.repeat(row.trials, len(y))
    return model.expert.log_density(params, X, np.asarray(y)[:, None], None, trials)[:, k]


def integral(model, params, row, k, low, high, peak):
    """Integral of the density of expert k at one row."""

    def density(y):
        return float(np.exp(log_density(model, params, row, [y], k))[0])

    return integrate.quad(density, low, high, epsabs=1e-10, limit=200, points=[peak])[0]


@families
def test_density_integrates_to_one(setting):
    model, params, rows = setting
    for i in range(rows.n):
        row = rows.take(slice(i, i + 1))
        if model.expert.discrete:
            y, _ = target_grid(model, MoE(params), row, i % K)
            total = np.exp(log_density(model, params, row, y, i % K)).sum()
        else:
            mean, trials, phi = one(model, params, row, i % K)
            low, high = model.expert.quantile(np.array([[1e-13], [1 - 1e-13]]), mean, trials, phi)
            total = integral(model, params, row, i % K, low[0], high[0], float(mean[0, 0]))
        assert_allclose(total, 1, atol=1e-9)


@families
def test_distribution_function_accumulates_the_density(setting):
    model, params, rows = setting
    if model.expert.classifies:
        return
    row = rows.take(slice(0, 1))
    mean, trials, phi = one(model, params, row, 0)
    low, middle = model.expert.quantile(np.array([[1e-12], [0.7]]), mean, trials, phi)[:, 0]
    value = model.expert.cdf(np.array([[middle]]), mean, trials, phi)[0, 0]
    if model.expert.discrete:
        total = np.exp(log_density(model, params, row, np.arange(middle + 1), 0)).sum()
    else:
        total = integral(model, params, row, 0, low, middle, 0.5 * (low + middle))
    assert_allclose(value, total, atol=1e-8)


@families
def test_quantile_is_the_smallest_target_with_that_probability(setting):
    model, params, rows = setting
    if model.expert.classifies:
        return
    row = rows.take(slice(1, 2))
    mean, trials, phi = one(model, params, row, 1)
    probability = np.linspace(0.02, 0.98, 25)[:, None]
    y = model.expert.quantile(probability, mean, trials, phi)
    at = model.expert.cdf(y, mean, trials, phi)
    if model.expert.discrete:
        below = model.expert.cdf(y - 1, mean, trials, phi)
        assert np.all((at >= probability - 1e-12) & (below < probability))
    else:
        assert_allclose(at, probability, rtol=1e-10)


@families
def test_draws_follow_the_distribution(setting):
    model, params, rows = setting
    row = rows.take(np.zeros(4000, dtype=int))
    labels = np.zeros(row.n, dtype=int)
    rng = np.random.default_rng(0)
    X = model.expert_design(row.X)
    draws = model.expert.sample(params, X, labels, None, row.trials, rng)[:, 0]
    if model.expert.discrete:
        values = np.unique(draws)
        expected = np.exp(log_density(model, params, rows.take(slice(0, 1)), values, 0))
        observed = np.array([(draws == value).mean() for value in values])
        error = np.sqrt(expected * (1 - expected) / row.n)
        assert np.all(np.abs(observed - expected) < 4.5 * error + 1e-3)
    else:
        mean, trials, phi = one(model, params, rows.take(slice(0, 1)), 0)
        law = model.expert.cdf(draws[:, None], mean, trials, phi)[:, 0]
        assert stats.kstest(law, "uniform").pvalue > 1e-3


@families
def test_mean_and_variance_are_the_moments_of_the_density(setting):
    model, params, rows = setting
    for i in range(rows.n):
        row, k = rows.take(slice(i, i + 1)), i % K
        y, mass = target_grid(model, MoE(params), row, k)
        if model.expert.classifies:
            assert_allclose(mass.sum(), 1, rtol=1e-12)
            continue
        mean, trials, phi = one(model, params, row, k)
        assert_allclose(mass @ y, mean[0, 0], rtol=1e-8)
        variance = model.expert.variance(mean, trials, phi)[0, 0]
        tolerance = HEAVY_TAILS.get(model.expert.name, 1e-7)
        assert_allclose(mass @ (y - mean[0, 0]) ** 2, variance, rtol=tolerance)
