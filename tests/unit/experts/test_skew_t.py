"""Skew-t experts: against quadrature, in the tails, and never below the laws that they contain."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, special, stats

from mixexp import MoERegressor, SkewNormalExpert, SkewTExpert, StudentExpert
from mixexp.kernels import student_t
from mixexp.kernels.rows import observed_hessian

SHAPES = [(-20.0, 0.8), (-0.4, 3.0), (0.0, 2.5), (1.5, 40.0), (5.0, 4e3), (3.0, 1e7)]
shapes = pytest.mark.parametrize(("slant", "df"), SHAPES)


def density(z, slant, df):
    """Azzalini and Capitanio (2003), equation 14, in plain scipy."""
    argument = slant * z * np.sqrt((df + 1) / (df + z * z))
    return 2 * stats.t.pdf(z, df) * special.stdtr(df + 1, argument)


def law(slant, df):
    return None, None, np.array([0.0, 1.0, slant, df])[None, None]


def predictors(slant, df, y):
    return [np.full(y.shape, value) for value in (0.2, -0.3, float(slant), np.log(df))]


@shapes
def test_the_law_is_that_of_the_integrated_density(slant, df):
    expert = SkewTExpert()
    for p in (1e-6, 0.02, 0.4, 0.7, 0.999):
        y = float(expert.quantile(p, *law(slant, df))[0, 0])
        assert_allclose(expert.density(y, *law(slant, df))[0, 0], density(y, slant, df), rtol=1e-9)
        low = float(expert.quantile(0.1 * p, *law(slant, df))[0, 0])
        between = integrate.quad(lambda z: density(z, slant, df), low, y, limit=300)[0]
        assert_allclose(between, 0.9 * p, rtol=1e-7)
        assert_allclose(expert.cdf(y, *law(slant, df))[0, 0], p, rtol=1e-10)


def test_moments_and_excess_are_integrals():
    expert, at = SkewTExpert(), law(2.0, 5.0)
    theta = tuple(np.moveaxis(at[2], -1, 0))
    mean = integrate.quad(lambda z: z * density(z, 2.0, 5.0), -np.inf, np.inf)[0]
    square = integrate.quad(lambda z: z * z * density(z, 2.0, 5.0), -np.inf, np.inf)[0]
    assert_allclose(expert.mean_of(theta, None), mean, rtol=1e-8)
    assert_allclose(expert.variance(*at), square - mean**2, rtol=1e-7)
    for c in (-3.0, 0.0, 0.4, 6.0):
        over = integrate.quad(lambda z, c=c: (z - c) * density(z, 2.0, 5.0), c, np.inf)[0]
        assert_allclose(expert.excess(c, *at), over, rtol=1e-7)
    assert np.isinf(expert.variance(*law(2.0, 2.0))).all()
    assert np.isinf(expert.excess(0.0, *law(2.0, 1.0))).all()


def test_limits_are_the_normal_the_skew_normal_and_the_t_law():
    z = np.array([-30.0, -2.0, 0.3, 4.0])[:, None]
    expert = SkewTExpert()
    for slant in (-3.0, 0.0, 2.0):
        eta = [np.zeros_like(z), np.zeros_like(z), np.full_like(z, slant)]
        normal = SkewNormalExpert().log_density_unit(eta, z, None)
        found = expert.log_density_unit([*eta, np.full_like(z, np.log(1e12))], z, None)
        assert_allclose(found, normal, rtol=1e-6)
    eta = [np.zeros_like(z), np.zeros_like(z)]
    found = expert.log_density_unit([*eta, np.zeros_like(z), np.full_like(z, 1.0)], z, None)
    plain = StudentExpert().log_density_unit([*eta, np.full_like(z, 1.0)], z, None)
    assert_allclose(found, plain, rtol=1e-12)


@shapes
def test_scores_and_curvatures_are_derivatives(slant, df):
    expert, rng = SkewTExpert(), np.random.default_rng(0)
    y = np.concatenate([rng.standard_t(3, 30), [-25.0, 25.0]])[:, None]
    eta = predictors(slant, df, y)
    score = expert.score_unit(eta, y, None)
    h = 1e-5
    for j in range(4):
        up, down = ([*eta[:j], eta[j] + s * h, *eta[j + 1 :]] for s in (1, -1))
        numeric = expert.log_density_unit(up, y, None) - expert.log_density_unit(down, y, None)
        assert_allclose(score[j], numeric / (2 * h), rtol=1e-6, atol=1e-7 * np.abs(score[j]).max())
    hessian = expert.hessian_unit(eta, y, None)
    numeric = observed_hessian(lambda moved: expert.score_unit(moved, y, None), eta)
    size = 1 + np.abs(numeric).max(axis=(2, 3), keepdims=True)
    assert_allclose(hessian / size, numeric / size, atol=1e-6)


@shapes
def test_log_densities_and_scores_are_finite_far_out(slant, df):
    y = np.array([-1e8, -1e3, 0.0, 1e3, 1e8])[:, None]
    eta = predictors(slant, df, y)
    assert np.isfinite(SkewTExpert().log_density_unit(eta, y, None)).all()
    assert np.isfinite(SkewTExpert().score_unit(eta, y, None)).all()


@pytest.mark.parametrize("m", [1.5, 40.0, 1e3, 1e6, 1e12])
def test_the_tail_series_meets_the_librarys_function(m):
    x = np.array([20.0, 30.0, 36.0])
    series = student_t._log_tail(np.full(3, m), x)
    assert_allclose(series, np.log(special.stdtr(m, -x)), rtol=1e-12)


def test_one_expert_is_the_maximum_of_the_likelihood():
    """No search of scipy's from the truth finds a higher likelihood, and the maxima agree."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 1))
    z = SkewTExpert().draw_of(tuple(np.full(400, v) for v in (0.0, 1.0, 3.0, 4.0)), None, rng)
    y = 1 + 2 * X[:, 0] + 0.5 * z

    def loss(v):
        d = (y - v[0] - v[1] * X[:, 0]) / np.exp(v[2])
        return -np.log(density(d, v[3], np.exp(v[4]))).sum() + 400 * v[2]

    theirs = minimize(loss, [1, 2, np.log(0.5), 3, np.log(4)], method="BFGS")
    start = np.zeros(400, dtype=int)
    model = MoERegressor(1, expert="skew_t", start=start).fit(X, y)
    assert_allclose(model.loglik_, -theirs.fun, atol=1e-5)
    found = [model.coef_[0, 0], np.log(model.scale_[0]), model.slant_[0], np.log(model.df_[0])]
    assert_allclose(found, theirs.x[1:], atol=2e-3)
    result = model.inference(X, y)
    assert (np.abs(result.params - [1, 2, np.log(0.5), 3, np.log(4)]) < 4 * result.bse).all()


def two_lines(n, seed, df):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 1))
    labels = (rng.random(n) < 1 / (1 + np.exp(-8 * X[:, 0]))).astype(int)
    theta = (np.where(labels, 2.5, -2.5) * X[:, 0], np.full(n, 0.5), np.where(labels, 5.0, 3.0))
    return X, SkewTExpert().draw_of((*theta, np.full(n, df)), None, rng), labels


def test_never_below_the_families_that_it_contains_from_a_given_start():
    X, y, labels = two_lines(150, 2, 30.0)
    fits = [
        MoERegressor(2, expert=name, start=labels).fit(X, y).loglik_
        for name in ("student", "skew_normal", "skew_t")
    ]
    assert fits[2] >= max(fits[:2]) - 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_never_below_the_families_that_it_contains(seed):
    X, y, _ = two_lines(120, seed, [1.5, 6.0, 1e3][seed])
    fits = [MoERegressor(2, expert=e).fit(X, y) for e in ("student", "skew_normal", "skew_t")]
    assert fits[2].loglik_ >= max(fit.loglik_ for fit in fits[:2]) - 1e-6
