"""Families in several parameters: against scipy and statsmodels, in the tails, and recovered."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.exceptions import ConvergenceWarning

import mixexp
from mixexp import (
    BetaExpert,
    GaussianExpert,
    HeteroscedasticGaussianExpert,
    LognormalExpert,
    MoERegressor,
    NegativeBinomialExpert,
    NotRegularError,
    SkewNormalExpert,
    StudentExpert,
    WeibullExpert,
)
from mixexp._component import EXPERTS
from mixexp.em.status import Status
from mixexp.experts import DistributionalExpert
from mixexp.kernels.links import LINKS

FAMILIES = [
    name
    for name, cls in EXPERTS.items()
    if issubclass(cls, DistributionalExpert) and not cls.classifies
]
# scipy's law from the parameters themselves
SCIPY = {
    "student": lambda m, s, df: stats.t(df, m, s),
    "heteroscedastic_gaussian": lambda m, s: stats.norm(m, s),
    "skew_normal": lambda m, s, a: stats.skewnorm(a, m, s),
    "lognormal": lambda m, s: stats.lognorm(s, scale=np.exp(m)),
    "inverse_gaussian": lambda m, shape: stats.invgauss(m / shape, scale=shape),
    "weibull": lambda scale, shape: stats.weibull_min(shape, scale=scale),
    "beta": lambda m, f: stats.beta(m * f, (1 - m) * f),
    "negative_binomial": lambda m, r: stats.nbinom(r, r / (r + m)),
}
VALUES = {
    "student": (1.0, 0.5, 3.0),
    "heteroscedastic_gaussian": (1.0, 0.5),
    "skew_normal": (1.0, 0.5, 2.5),
    "lognormal": (0.3, 0.8),
    "inverse_gaussian": (1.5, 2.0),
    "weibull": (2.0, 1.4),
    "beta": (0.3, 6.0),
    "negative_binomial": (3.0, 1.7),
}


def law(family):
    expert, values = EXPERTS[family](), VALUES[family]
    theta = np.array(values)[None, None, :]
    return expert, SCIPY[family](*values), (None, None, theta)


@pytest.mark.parametrize("family", list(SCIPY))
def test_the_law_is_that_of_scipy(family):
    expert, theirs, arguments = law(family)
    p = np.array([1e-10, 1e-4, 0.1, 0.5, 0.9, 1 - 1e-6])[:, None]
    y = theirs.ppf(p)
    assert_allclose(expert.quantile(p, *arguments), y, rtol=1e-6, atol=1e-9)
    assert_allclose(expert.cdf(y, *arguments), theirs.cdf(y), rtol=1e-6)
    density = theirs.pmf if expert.discrete else theirs.pdf
    assert_allclose(expert.density(y, *arguments), density(y), rtol=1e-9)
    assert_allclose(expert.variance(*arguments)[0, 0], theirs.var(), rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_log_densities_are_finite_far_out(family):
    expert = EXPERTS[family]()
    y = np.array([[1e-8], [0.5], [1 - 1e-8]]) if family == "beta" else np.array([[1.0], [1e8]])
    if family in ("student", "heteroscedastic_gaussian", "skew_normal"):
        y = np.array([[-1e8], [0.0], [1e8]])
    values = expert.initial_parameters(np.array([0.2, 0.4, 0.6]), np.ones(3), None, None)
    eta = [
        np.full((1, 1), LINKS[parameter.link].predictor(np.float64(value)))
        for parameter, value in zip(expert.parameters, values, strict=True)
    ]
    assert np.isfinite(expert.log_density_unit(eta, y, None)).all()


def columns(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2))


def test_one_negative_binomial_expert_is_statsmodels():
    X, rng = columns(300), np.random.default_rng(1)
    hours = rng.uniform(0.5, 2, 300)
    mean = np.exp(0.5 + 0.4 * X[:, 0]) * hours
    y = rng.poisson(mean * rng.gamma(2.0, 0.5, 300)).astype(float)
    model = MoERegressor(1, expert="negative_binomial").fit(X, y, exposure=hours)
    theirs = sm.NegativeBinomial(y, sm.add_constant(X), exposure=hours).fit(
        disp=0, gtol=1e-10, maxiter=500
    )
    assert_allclose(model.loglik_, theirs.llf, rtol=1e-8)
    assert_allclose(1 / model.size_[0], theirs.params[-1], rtol=1e-3)
    result = model.inference(X, y, exposure=hours)
    assert_allclose(result.params.iloc[:3], theirs.params[:3], rtol=1e-3, atol=1e-5)
    assert_allclose(result.bse.iloc[:3], theirs.bse[:3], rtol=1e-3)


def test_one_inflated_expert_is_statsmodels():
    from statsmodels.discrete.count_model import ZeroInflatedPoisson

    X, rng = columns(400), np.random.default_rng(2)
    y = rng.poisson(np.exp(1 + 0.4 * X[:, 0])).astype(float)
    y[rng.random(400) < 0.3] = 0
    model = MoERegressor(1, expert="zero_inflated_poisson").fit(X, y)
    theirs = ZeroInflatedPoisson(y, sm.add_constant(X)).fit(disp=0, maxiter=500, gtol=1e-9)
    assert_allclose(model.loglik_, theirs.llf, rtol=1e-7)
    result = model.inference(X, y)
    assert_allclose(result.params.iloc[:3], theirs.params[1:], rtol=1e-3)
    # statsmodels' own standard errors are not those of its likelihood's second derivatives
    from statsmodels.tools.numdiff import approx_hess

    hessian = approx_hess(theirs.params, theirs.model.loglike)
    wanted = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    assert_allclose(result.bse, wanted[[1, 2, 3, 0]], rtol=1e-4)
    assert_allclose(result.params.iloc[3], theirs.params[0], rtol=1e-3)


def test_one_beta_expert_is_statsmodels():
    from statsmodels.othermod.betareg import BetaModel

    X, rng = columns(300), np.random.default_rng(3)
    mean = 1 / (1 + np.exp(-(0.3 + 0.5 * X[:, 0])))
    y = rng.beta(8 * mean, 8 * (1 - mean))
    model = MoERegressor(1, expert="beta").fit(X, y)
    theirs = BetaModel(y, sm.add_constant(X)).fit(disp=0)
    result = model.inference(X, y)
    assert_allclose(model.loglik_, theirs.llf, rtol=1e-7)
    assert_allclose(result.params, theirs.params, rtol=1e-3, atol=1e-4)
    assert_allclose(result.bse, theirs.bse, rtol=2e-2)


def test_one_lognormal_expert_is_least_squares_of_logs():
    X = columns(100)
    logs = 1 + X[:, 0] + 0.5 * np.random.default_rng(4).normal(size=100)
    model = MoERegressor(1, expert="lognormal").fit(X, np.exp(logs))
    ols = sm.OLS(logs, sm.add_constant(X)).fit()
    assert_allclose(model.coef_[0], ols.params[1:], rtol=1e-6)
    assert_allclose(model.loglik_, ols.llf - logs.sum(), rtol=1e-9)
    assert_allclose(model.predict(X), np.exp(ols.fittedvalues + model.scale_[0] ** 2 / 2))


def test_scales_that_do_not_depend_on_columns_are_the_gaussian_expert():
    X = columns(200)
    y = X[:, 0] + np.random.default_rng(5).normal(size=200)
    plain = MoERegressor(1).fit(X, y)
    other = MoERegressor(1, expert=HeteroscedasticGaussianExpert(scale_features=None)).fit(X, y)
    assert_allclose(other.loglik_, plain.loglik_, rtol=1e-9)
    assert_allclose(other.coef_, plain.coef_, rtol=1e-5, atol=1e-7)
    assert_allclose(other.scale_, plain.dispersion_, rtol=1e-5)


def test_a_modelled_scale_is_recovered():
    X, rng = columns(3000), np.random.default_rng(6)
    y = 1 + X[:, 0] + np.exp(-0.5 + 0.4 * X[:, 1]) * rng.normal(size=3000)
    model = MoERegressor(1, expert="heteroscedastic_gaussian").fit(X, y)
    assert_allclose(model.scale_coef_[0], [0, 0.4], atol=0.06)
    assert_allclose(model.scale_intercept_[0], -0.5, atol=0.06)
    by_position = HeteroscedasticGaussianExpert(scale_features=[1])
    assert MoERegressor(1, expert=by_position).fit(X, y).n_free_ == model.n_free_ - 1


@pytest.mark.parametrize("family", FAMILIES)
def test_two_planted_experts_are_recovered(family):
    rng = np.random.default_rng(7)
    X = rng.uniform(-1, 1, (1500, 1))
    labels = (rng.random(1500) < 1 / (1 + np.exp(-4 * X[:, 0]))).astype(int)
    planted = np.array([[0.0, 0.6], [1.6, -0.6]])
    if family in ("lognormal", "weibull", "beta"):
        planted = np.array([[-1.0, 0.6], [1.2, -0.6]])
    expert = EXPERTS[family]()
    rest = {"scale": 0.3, "df": 6.0, "slant": 1.5, "shape": 6.0, "precision": 60.0, "size": 8.0}
    rest |= {"inflation": 0.15, "zero": 0.2}
    count = expert.discrete
    first = planted[labels, 0] + planted[labels, 1] * X[:, 0] + (1.0 if count else 0.0)
    theta = [LINKS[expert.parameters[0].link].mean(first)]
    theta += [np.full(1500, rest[parameter.name]) for parameter in expert.parameters[1:]]
    y = np.asarray(expert.draw_of(tuple(theta), None, rng), dtype=float)
    if family == "heteroscedastic_gaussian":
        expert = HeteroscedasticGaussianExpert(scale_features=None)
    model = MoERegressor(2, expert=expert, start=labels).fit(X, y)
    order = np.argsort(model.intercept_)
    found = model.coef_[order, 0]
    assert model.converged_
    assert_allclose(found, planted[:, 1], atol=0.25)
    result = model.inference(X, y, covariance="observed" if expert.smooth else "density")
    z = [
        (result.params[f"expert {k}: x0"] - planted[i, 1]) / result.bse[f"expert {k}: x0"]
        for i, k in enumerate(order)
    ]
    assert np.abs(z).max() < 4


@pytest.mark.slow
@pytest.mark.parametrize("expert", [StudentExpert(), SkewNormalExpert()], ids=["t", "skew"])
def test_a_family_never_ends_below_the_gaussian_one(expert):
    rng = np.random.default_rng(8)
    X = rng.normal(size=(250, 1))
    y = np.where(rng.random(250) < 0.5, 2 * X[:, 0], -1 - X[:, 0]) + 0.5 * rng.normal(size=250)
    gaussian = MoERegressor(2, expert=GaussianExpert()).fit(X, y)
    assert MoERegressor(2, expert=expert).fit(X, y).loglik_ >= gaussian.loglik_ - 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("family", ["student", "skew_normal"])
def test_scales_at_the_bound_on_their_ratio_end_at_a_maximum(family):
    """An expert of tied rows pulls its scale down, and the other one's with it."""
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, 300)
    first = rng.random(300) < 1 / (1 + np.exp(-8 * x))
    y = np.where(first, -2.5, 2.5) * x + rng.standard_normal(300)
    y[:20] = -5
    with pytest.warns(ConvergenceWarning, match="leans on the lower bound"):
        model = MoERegressor(2, expert=family, start=(y == -5).astype(int)).fit(x[:, None], y)
    assert_allclose(model.scale_.min() / model.scale_.max(), 1e-2, rtol=1e-9)
    assert model.n_iter_ < 100 and model.certificate_ < 1e-6


def test_what_lies_outside_the_support_is_named():
    X = columns(20)
    for expert, y, says in [
        (LognormalExpert(), np.linspace(-1, 1, 20), "positive"),
        (WeibullExpert(), np.linspace(0, 1, 20), "positive"),
        (BetaExpert(), np.linspace(0, 1, 20), "between 0 and 1"),
        (NegativeBinomialExpert(), np.linspace(0, 1, 20), "whole numbers"),
    ]:
        with pytest.raises(ValueError, match=says):
            MoERegressor(1, expert=expert).fit(X, y)


def test_sparse_penalties_are_refused_by_name():
    X = columns(30)
    with pytest.raises(ValueError, match="L2 or none"):
        MoERegressor(1, expert=StudentExpert(penalty=mixexp.L1(0.1))).fit(X, X[:, 0])


def test_settings_that_list_columns_are_checked():
    X = columns(30)
    with pytest.raises(ValueError, match="scale_features"):
        MoERegressor(1, expert=StudentExpert(scale_features=[7])).fit(X, X[:, 0] ** 2)
    with pytest.raises(ValueError, match="scale_features"):
        MoERegressor(1, expert=StudentExpert(scale_features="none")).fit(X, X[:, 0] ** 2)


def test_inference_names_a_size_that_runs_to_infinity():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 400)
    X = np.column_stack([x, rng.standard_normal(400)])
    y = rng.poisson(np.exp(1.5 + x))  # not more dispersed than a Poisson law
    model = MoERegressor(1, expert="negative_binomial").fit(X, y)
    assert model.status_ is Status.CONVERGED
    name = "expert 0: log(size)"
    with pytest.raises(NotRegularError, match="simpler family") as said:
        model.inference(X, y)
    assert f"hold=[{name!r}]" in str(said.value)
    found = model.inference(X, y, hold=[name])
    poisson = MoERegressor(1, expert="poisson").fit(X, y)
    assert_allclose(model.loglik_, poisson.loglik_, atol=1e-4)
    own = [f"expert 0: {term}" for term in ("(intercept)", "x0", "x1")]
    assert_allclose(found.bse[own], poisson.inference(X, y).bse[own], rtol=1e-4)
