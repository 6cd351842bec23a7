"""Laplace experts: exact quantile regressions, robust, and honest about what they lack."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats

from mixexp import (
    AsymmetricLaplaceExpert,
    LaplaceExpert,
    MoERegressor,
    NotRegularError,
    Status,
    intervals,
)
from mixexp.datasets import load_tone
from mixexp.explain import influence, leverage

LEVELS = (0.1, 0.5, 0.85)
levels = pytest.mark.parametrize("level", LEVELS)


def two_lines(n=600, seed=0):
    """1 + 2 x where x is large, -1 - x where it is small, with Laplace noise of scale 0.2."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    upper = rng.random(n) < 1 / (1 + np.exp(-4 * x))
    y = np.where(upper, 1 + 2 * x, -1 - x) + rng.laplace(0, 0.2, n)
    return x[:, None], y, upper


def law(expert, location, scale):
    theta = np.array([location, scale])[None, None]
    return np.full((1, 1), location), None, theta


def reference(expert, location, scale):
    """The law in scipy: kappa^2 is the ratio of the slopes below the level and above."""
    if isinstance(expert, LaplaceExpert):
        return stats.laplace(location, scale)
    t = expert.level
    kappa = np.sqrt(t / (1 - t))
    return stats.laplace_asymmetric(kappa, location, scale / np.sqrt(t * (1 - t)))


experts = pytest.mark.parametrize(
    "expert", [LaplaceExpert(), *map(AsymmetricLaplaceExpert, LEVELS)], ids=repr
)


@experts
def test_the_law_is_scipys(expert):
    at, theirs = law(expert, 0.4, 1.7), reference(expert, 0.4, 1.7)
    y = np.array([-9.0, -0.2, 0.4, 0.6, 12.0])[:, None]
    assert_allclose(expert.density(y, *at), theirs.pdf(y), rtol=1e-12)
    assert_allclose(expert.cdf(y, *at), theirs.cdf(y), rtol=1e-12)
    assert_allclose(expert.survival_of(y, (0.4, 1.7), None), theirs.sf(y), rtol=1e-12)
    p = np.array([1e-9, 0.05, 0.5, 0.7, 1 - 1e-9])[:, None]
    assert_allclose(expert.quantile(p, *at), theirs.ppf(p), rtol=1e-9)
    assert_allclose(expert.mean_of((0.4, 1.7), None), theirs.mean(), rtol=1e-12)
    assert_allclose(expert.variance(*at), theirs.var(), rtol=1e-12)


@experts
def test_tails_are_finite_far_out(expert):
    eta = [np.zeros((2, 1)), np.full((2, 1), np.log(1e-3))]
    far = expert.log_density_unit(eta, np.array([[-1e8], [1e8]]), None)
    assert np.isfinite(far).all() and (far < -1e9).all()


@levels
def test_one_expert_is_quantile_regression(level):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 2))
    y = 1 + X @ [1.0, -0.5] + rng.standard_t(3, 300)
    model = MoERegressor(1, expert=AsymmetricLaplaceExpert(level)).fit(X, y)
    design = sm.add_constant(X)
    theirs = sm.QuantReg(y, design).fit(q=level, max_iter=5000, p_tol=1e-10)
    ours = np.r_[model.intercept_, model.coef_[0]]
    assert_allclose(ours, theirs.params, atol=2e-5)

    def loss(coef):
        r = y - design @ coef
        return np.maximum(level * r, (level - 1) * r).sum()

    assert loss(ours) <= loss(theirs.params) + 1e-9
    assert (np.abs(y - design @ ours) < 1e-9).sum() == 3
    share = (y < design @ ours - 1e-9).mean()
    assert abs(share - level) <= 3 / 300
    assert_allclose(model.scale_, loss(ours) / 300, rtol=1e-9)


@pytest.mark.slow
def test_the_laplace_expert_is_the_level_one_half_of_half_the_scale():
    X, y, _ = two_lines()
    one = MoERegressor(2, expert="laplace").fit(X, y)
    other = MoERegressor(2, expert="asymmetric_laplace").fit(X, y)
    assert_allclose(one.loglik_, other.loglik_, rtol=1e-12)
    assert_allclose(one.coef_, other.coef_, atol=1e-9)
    assert_allclose(one.scale_, 2 * other.scale_, rtol=1e-7)


def test_two_lines_are_recovered():
    X, y, upper = two_lines()
    model = MoERegressor(2, expert="laplace").fit(X, y)
    assert model.status_ is Status.CONVERGED
    order = np.argsort(model.intercept_)
    assert_allclose(model.intercept_[order], [-1, 1], atol=0.1)
    assert_allclose(model.coef_[order, 0], [-1, 2], atol=0.1)
    assert_allclose(model.scale_, 0.2, atol=0.04)
    found = model.responsibilities(X, y)[:, order[1]] > 0.5
    assert (found == upper).mean() > 0.95
    # every expert goes through as many rows as it has coefficients
    residual = np.abs(y[:, None] - model.predict_experts(X))
    assert ((residual < 1e-9).sum(axis=0) >= 2).all()


@pytest.mark.slow
def test_the_level_is_the_share_of_rows_below_in_every_expert():
    X, y, _ = two_lines()
    model = MoERegressor(2, expert=AsymmetricLaplaceExpert(0.8)).fit(X, y)
    resp = model.responsibilities(X, y)
    plane = model.intercept_ + X * model.coef_[:, 0]
    shares = (resp * (y[:, None] < plane - 1e-9)).sum(axis=0) / resp.sum(axis=0)
    assert_allclose(shares, 0.8, atol=0.02)


def test_an_offset_is_part_of_the_location():
    X, y, _ = two_lines(200)
    shift = np.random.default_rng(3).normal(size=200)
    plain = MoERegressor(1, expert="laplace").fit(X, y)
    moved = MoERegressor(1, expert="laplace").fit(X, y + shift, offset=shift)
    assert_allclose(moved.coef_, plain.coef_, atol=1e-9)
    assert_allclose(moved.predict(X, offset=shift), plain.predict(X) + shift, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("outliers", [0, 5, 10])
def test_equal_rows_far_away_do_not_take_an_expert(outliers):
    """Tone data, whose lines are y = x and y = 2: McLachlan and Peel's check of robustness."""
    X, y = load_tone(return_X_y=True)
    X, y = np.vstack([X, np.zeros((outliers, 1))]), np.append(y, np.full(outliers, 4.0))
    model = MoERegressor(2, expert="laplace", gate="constant").fit(X, y)
    assert_allclose(np.sort(model.coef_[:, 0]), [0, 1], atol=0.07)


@pytest.mark.slow
def test_levels_that_differ_between_experts_are_a_list():
    X, y, _ = two_lines()
    pair = [AsymmetricLaplaceExpert(0.1), AsymmetricLaplaceExpert(0.9)]
    model = MoERegressor(2, expert=pair).fit(X, y)
    resp = model.responsibilities(X, y)
    plane = model.intercept_ + X * model.coef_[:, 0]
    shares = (resp * (y[:, None] < plane - 1e-9)).sum(axis=0) / resp.sum(axis=0)
    assert_allclose(shares, [0.1, 0.9], atol=0.03)


@levels
def test_density_errors_of_one_expert_are_those_of_quantile_regression(level):
    """Where one density serves all rows, as there; both are kernel estimates, of other kernels."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(12_000, 2))
    y = 1 + X @ [1.0, -0.5] + rng.normal(size=12_000)
    model = MoERegressor(1, expert=AsymmetricLaplaceExpert(level)).fit(X, y)
    found = model.inference(X, y, covariance="density")
    theirs = sm.QuantReg(y, sm.add_constant(X)).fit(q=level, max_iter=5000, vcov="robust")
    ours = found.bse[[name for name in found.names if "scale" not in name]]
    assert_allclose(ours, theirs.bse, rtol=0.2)
    assert_allclose(found.params[ours.index], theirs.params, atol=1e-4)


def test_density_errors_are_the_spread_of_fits_where_the_scale_varies():
    """The law of y is not the family's: wider where |x| is large, and normal."""
    estimates, errors = [], []
    for seed in range(40):
        X, y, upper = two_lines(400, seed)
        noise = np.random.default_rng(1000 + seed).normal(size=400)
        y = np.where(upper, 1 + 2 * X[:, 0], -1 - X[:, 0]) + (0.1 + 0.4 * X[:, 0] ** 2) * noise
        model = MoERegressor(2, expert="laplace", start=upper.astype(int)).fit(X, y)
        found = model.inference(X, y, covariance="density")
        estimates.append(found.params)
        errors.append(found.bse)
    spread = np.std(estimates, axis=0)
    assert_allclose(np.mean(errors, axis=0), spread, rtol=0.45)


def test_a_density_covariance_is_for_kinks_and_for_the_rows_of_the_fit():
    X, y, _ = two_lines(200)
    with pytest.raises(ValueError, match="'density' is for .* GaussianExpert has second"):
        MoERegressor(2).fit(X, y).inference(X, y, covariance="density")
    model = MoERegressor(2, expert="laplace").fit(X, y)
    with pytest.raises(NotRegularError, match="not those of the fit"):
        model.inference(X, y + 0.3 * X[:, 0], covariance="density")
    pair = MoERegressor(2, expert=["laplace", "laplace"]).fit(X, y)
    with pytest.raises(NotRegularError, match="Use covariance='bootstrap'"):
        pair.inference(X, y, covariance="density")


def test_information_is_refused_by_name_and_the_bootstrap_remains():
    X, y, _ = two_lines(150)
    model = MoERegressor(2, expert="laplace").fit(X, y)
    with pytest.raises(NotRegularError, match="LaplaceExpert is not twice.*'density' or 'boot"):
        model.inference(X, y)
    result = model.inference(X, y, covariance="bootstrap", n_boot=20)
    assert (result.bse > 0).all()
    assert result.wald_test({result.names[-2]: 5.0}).pvalue < 1e-3
    with pytest.raises(NotRegularError, match="Wald tests"):
        result.lr_test({result.names[0]: 0.0})
    with pytest.raises(NotRegularError, match="LaplaceExpert"):
        result.profile(result.names[0])
    with pytest.raises(ValueError, match="LaplaceExpert is not twice.*start=model"):
        influence(model, X, y)


def test_what_these_families_do_not_take_is_said():
    X, y, _ = two_lines(50)
    with pytest.raises(ValueError, match="between 0 and 1; got 1.5"):
        MoERegressor(2, expert=AsymmetricLaplaceExpert(1.5)).fit(X, y)
    with pytest.raises(ValueError, match="LaplaceExpert does not take intervals"):
        MoERegressor(2, expert="laplace").fit(X, intervals(y - 1, y + 1))
    with pytest.raises(ValueError, match="leverage is for .*; LaplaceExpert is"):
        leverage(MoERegressor(2, expert="laplace").fit(X, y), X, y)
    with pytest.raises(ValueError, match="partial_fit is not available for LaplaceExpert"):
        MoERegressor(2, expert="laplace").partial_fit(X, y)


def test_a_file_holds_the_fit(tmp_path):
    import mixexp

    X, y, _ = two_lines(100)
    model = MoERegressor(2, expert=AsymmetricLaplaceExpert(0.3)).fit(X, y)
    model.save(tmp_path / "model.moe")
    again = mixexp.load(tmp_path / "model.moe")
    assert np.array_equal(again.log_prob(X, y), model.log_prob(X, y))
