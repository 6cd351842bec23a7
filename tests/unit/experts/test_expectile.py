"""Expectile experts: asymmetric least squares, and the two-piece normal law."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, special, stats

from mixexp import ExpectileExpert, MoERegressor, Status
from mixexp.kernels.rows import observed_hessian

LEVELS = (0.1, 0.5, 0.85)
levels = pytest.mark.parametrize("level", LEVELS)


def at(location, scale):
    return None, None, np.array([location, scale])[None, None]


@levels
def test_the_law_is_that_of_the_integrated_density(level):
    expert, law = ExpectileExpert(level), at(0.4, 1.7)

    def density(y):
        return float(expert.density(y, *law)[0, 0])

    assert_allclose(integrate.quad(density, -np.inf, np.inf, points=None)[0], 1, rtol=1e-8)
    for p in (1e-6, 0.05, 0.4, 0.9, 1 - 1e-6):
        y = float(expert.quantile(p, *law)[0, 0])
        assert_allclose(expert.cdf(y, *law)[0, 0], p, rtol=1e-9)
        below = integrate.quad(density, -40, min(y, 0.4))[0]
        below += integrate.quad(density, 0.4, y)[0] if y > 0.4 else 0.0
        assert_allclose(below, p, rtol=1e-6, atol=1e-9)
        theta = (0.4, 1.7)
        assert_allclose(expert.survival_of(y, theta, None), 1 - p, rtol=1e-9)
    mean = expert.mean_of((0.4, 1.7), None)
    moments = [
        sum(
            integrate.quad(lambda y, m=m: (y - mean) ** m * density(y), *ends)[0] for ends in PIECES
        )
        for m in (1, 2)
    ]
    assert_allclose(moments, [0, expert.variance(*law)[0, 0]], rtol=1e-8, atol=1e-8)


PIECES = ((-40, 0.4), (0.4, 40))


@levels
def test_the_location_is_the_expectile_of_the_law(level):
    expert, law = ExpectileExpert(level), at(0.4, 1.7)
    below, above = (
        integrate.quad(lambda y: abs(y - 0.4) * float(expert.density(y, *law)[0, 0]), *ends)[0]
        for ends in PIECES
    )
    assert_allclose(level * above, (1 - level) * below, rtol=1e-9)


@levels
def test_derivatives_are_those_of_the_log_density(level):
    expert = ExpectileExpert(level)
    rng = np.random.default_rng(0)
    eta = [rng.normal(size=(40, 1)), rng.normal(size=(40, 1))]
    y = rng.normal(size=(40, 1))
    step = 1e-6
    score = expert.score_unit(eta, y, None)
    for j in range(2):
        moved = [[e + s * step * (i == j) for i, e in enumerate(eta)] for s in (1, -1)]
        up, down = (expert.log_density_unit(one, y, None) for one in moved)
        assert_allclose(score[j], (up - down) / (2 * step), rtol=1e-5, atol=1e-6)
    wanted = observed_hessian(lambda e: expert.score_unit(e, y, None), eta)
    assert_allclose(expert.hessian_unit(eta, y, None), wanted, rtol=1e-5, atol=1e-5)


def test_tails_are_finite_far_out():
    eta = [np.zeros((2, 1)), np.full((2, 1), np.log(1e-3))]
    assert np.isfinite(ExpectileExpert(0.2).log_density_unit(eta, [[-1e8], [1e8]], None)).all()


@levels
def test_one_expert_without_slopes_is_scipys_expectile(level):
    y = np.random.default_rng(0).gamma(2.0, 1.0, 200)
    model = MoERegressor(1, expert=ExpectileExpert(level), expert_features=[])
    model.fit(np.zeros((200, 1)), y)
    assert_allclose(model.intercept_, stats.expectile(y, level), rtol=1e-6)


@levels
def test_one_expert_is_asymmetric_least_squares(level):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 2))
    y = 1 + X @ [1.0, -0.5] + rng.gamma(2.0, 1.0, 300)
    design, coef = np.column_stack([np.ones(300), X]), np.zeros(3)
    for _ in range(50):
        weight = np.where(y > design @ coef, level, 1 - level)
        coef = np.linalg.solve(design.T @ (weight[:, None] * design), design.T @ (weight * y))
    model = MoERegressor(1, expert=ExpectileExpert(level)).fit(X, y)
    assert_allclose(np.r_[model.intercept_, model.coef_[0]], coef, atol=1e-6)
    r = y - design @ coef
    weight = 2 * np.where(r > 0, level, 1 - level)
    assert_allclose(model.scale_**2, (weight * r**2).mean(), rtol=1e-6)
    assert_allclose(design.T @ (weight * r), 0, atol=1e-9)


def two_lines(n=800, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    upper = rng.random(n) < special.expit(4 * x)
    return x[:, None], np.where(upper, 1 + 2 * x, -1 - x) + 0.3 * rng.normal(size=n)


def test_the_level_one_half_is_the_gaussian_expert():
    X, y = two_lines()
    ours = MoERegressor(2, expert="expectile").fit(X, y)
    theirs = MoERegressor(2).fit(X, y)
    order, other = np.argsort(ours.intercept_), np.argsort(theirs.intercept_)
    assert_allclose(ours.loglik_, theirs.loglik_, rtol=1e-9)
    assert_allclose(ours.coef_[order], theirs.coef_[other], atol=1e-4)
    assert_allclose(ours.scale_[order], theirs.dispersion_[other], atol=1e-4)
    names = [f"expert {k}: x0" for k in order]
    wanted = theirs.inference(X, y).bse[[f"expert {k}: x0" for k in other]]
    assert_allclose(ours.inference(X, y).bse[names], wanted, rtol=1e-3)


def test_two_lines_and_their_expectiles_are_recovered():
    X, _ = two_lines(4000)
    rng = np.random.default_rng(5)
    upper = rng.random(4000) < special.expit(4 * X[:, 0])
    location = np.where(upper, 2 + 2 * X[:, 0], -2 - X[:, 0])
    one = np.full(4000, 0.3)
    y = ExpectileExpert(0.8).draw_of((location, one), None, rng)
    model = MoERegressor(2, expert=ExpectileExpert(0.8)).fit(X, y)
    assert model.status_ is Status.CONVERGED
    order = np.argsort(model.intercept_)
    found = model.inference(X, y, covariance="sandwich")
    truth = {"(intercept)": [-2, 2], "x0": [-1, 2]}
    for name, values in truth.items():
        for k, value in zip(order, values, strict=True):
            label = f"expert {k}: {name}"
            assert abs(found.params[label] - value) < 3.5 * found.bse[label]
    assert_allclose(model.scale_, 0.3, atol=0.02)


def test_observed_and_robust_errors_agree_where_the_law_holds():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(4000, 1))
    y = ExpectileExpert(0.8).draw_of((1 + X[:, 0], np.ones(4000)), None, rng)
    model = MoERegressor(1, expert=ExpectileExpert(0.8)).fit(X, y)
    observed, robust = (
        model.inference(X, y, covariance=kind).bse for kind in ("observed", "sandwich")
    )
    assert_allclose(robust, observed, rtol=0.1)


def test_a_level_outside_is_refused():
    X, y = two_lines(50)
    with pytest.raises(ValueError, match="between 0 and 1; got 0"):
        MoERegressor(2, expert=ExpectileExpert(0)).fit(X, y)
