"""One penalised expert is the ordinary penalised model of scikit-learn, statsmodels and skglm."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import optimize
from sklearn.linear_model import ElasticNet as TheirNet
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.utils.fixes import parse_version

from mixexp import EM, L1, MCP, ElasticNet, MoEClassifier, MoERegressor
from mixexp.experts import (
    BinomialExpert,
    GammaExpert,
    GaussianExpert,
    MultinomialExpert,
    PoissonExpert,
)

pytestmark = pytest.mark.reference
SOLVER = EM(tol=1e-15, gradient_tol=1e-9)


@pytest.fixture
def X():
    X = np.random.default_rng(0).standard_normal((150, 8)) * np.geomspace(0.3, 5, 8) + 1
    X[:, 4] = X[:, 3] + 0.5 * X[:, 4]
    return X


@pytest.fixture
def Z(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def fitted(X, y, expert, **inputs):
    return MoERegressor(1, expert=expert, solver=SOLVER).fit(X, y, **inputs)


def gaussian_target(Z):
    return Z[:, 0] - 0.8 * Z[:, 5] + 0.7 * np.random.default_rng(1).standard_normal(len(Z))


def their_slopes(model, X, y):
    return model.coef_[0] * X.std(axis=0) / y.std()


@pytest.mark.parametrize("ratio", [1.0, 0.4])
def test_gaussian_equals_the_lasso_and_the_elastic_net(X, Z, ratio):
    y = gaussian_target(Z)
    penalty = L1(0.2) if ratio == 1 else ElasticNet(0.2, ratio)
    model = fitted(X, y, GaussianExpert(penalty=penalty))
    alpha = 0.2 * (model.dispersion_[0] / y.std()) ** 2
    settings = dict(tol=1e-14, max_iter=100000)
    theirs = Lasso(alpha, **settings) if ratio == 1 else TheirNet(alpha, l1_ratio=ratio, **settings)
    theirs.fit(Z, (y - y.mean()) / y.std())
    assert_allclose(their_slopes(model, X, y), theirs.coef_, atol=1e-6)
    assert np.any(theirs.coef_ == 0) and np.any(theirs.coef_ != 0)


def test_weighted_gaussian_equals_the_weighted_lasso(X):
    weight = np.random.default_rng(2).uniform(0, 3, len(X))
    centre = np.average(X, axis=0, weights=weight)
    scale = np.sqrt(np.average((X - centre) ** 2, axis=0, weights=weight))
    Z = (X - centre) / scale
    y = gaussian_target(Z)
    model = fitted(X, y, GaussianExpert(penalty=L1(0.2)), sample_weight=weight)
    middle = np.average(y, weights=weight)
    unit = np.sqrt(np.average((y - middle) ** 2, weights=weight))
    alpha = 0.2 * (model.dispersion_[0] / unit) ** 2
    theirs = Lasso(alpha, tol=1e-14, max_iter=100000)
    theirs.fit(Z, (y - middle) / unit, sample_weight=weight)
    assert_allclose(model.coef_[0] * scale / unit, theirs.coef_, atol=1e-6)


def binary(Z):
    noise = np.random.default_rng(3).logistic(size=len(Z))
    return (Z[:, 0] - Z[:, 2] + noise > 0).astype(float)


def logistic(Z, y, strength):
    # saga leaves the intercept free, which liblinear would penalise
    new = parse_version(sklearn.__version__) >= parse_version("1.8")
    lasso = {"l1_ratio": 1.0} if new else {"penalty": "l1"}
    model = LogisticRegression(
        C=1 / (len(y) * strength), **lasso, solver="saga", tol=1e-12, max_iter=100000
    )
    return model.fit(Z, y)


def test_binomial_equals_logistic_regression(X, Z):
    y = binary(Z)
    model = fitted(X, y, BinomialExpert(penalty=L1(0.05)), trials=np.ones(len(y)))
    theirs = logistic(Z, y, 0.05)
    assert_allclose(model.coef_[0] * X.std(axis=0), theirs.coef_[0], atol=1e-6)
    assert np.any(theirs.coef_ == 0)


def test_multinomial_of_two_classes_equals_logistic_regression(X, Z):
    """(b, -b) costs 2 alpha |b|, alpha times the log odds ratio 2 b: the same strength."""
    y = binary(Z)
    expert = MultinomialExpert(penalty=L1(0.05), ridge=0.0)
    model = MoEClassifier(1, expert=expert, solver=SOLVER).fit(X, y)
    theirs = logistic(Z, y, 0.05)
    slopes = (model.coef_[0, 1] - model.coef_[0, 0]) * X.std(axis=0)
    assert_allclose(slopes, theirs.coef_[0], atol=1e-6)


def log_mean(Z):
    return np.exp(0.5 + 0.5 * Z[:, 0] - 0.4 * Z[:, 6])


def test_gamma_equals_statsmodels(X, Z):
    """Its log-likelihood has scale one; ours is the shape times that."""
    y = np.random.default_rng(4).gamma(4.0, log_mean(Z) / 4)
    model = fitted(X, y, GammaExpert(penalty=L1(0.1)))
    strengths = np.r_[0, np.full(Z.shape[1], 0.1 / model.dispersion_[0])]
    family = sm.families.Gamma(sm.families.links.Log())
    theirs = sm.GLM(y, sm.add_constant(Z), family=family).fit_regularized(
        alpha=strengths, L1_wt=1.0, maxiter=5000, cnvrg_tol=1e-13, zero_tol=1e-10
    )
    assert_allclose(model.coef_[0] * X.std(axis=0), theirs.params[1:], atol=1e-6)
    assert np.any(theirs.params == 0)


def test_poisson_equals_a_general_optimiser(X, Z):
    """Split slopes b = u - v make the objective smooth (statsmodels' descent stops 1e-2 away)."""
    y, alpha, p = np.random.default_rng(4).poisson(log_mean(Z)).astype(float), 0.1, Z.shape[1]
    model = fitted(X, y, PoissonExpert(penalty=L1(alpha)))

    def loss(v):
        eta = v[0] + Z @ (v[1 : p + 1] - v[p + 1 :])
        left = (np.exp(eta) - y) / len(y)
        value = np.mean(np.exp(eta) - y * eta) + alpha * v[1:].sum()
        return value, np.r_[left.sum(), Z.T @ left + alpha, -Z.T @ left + alpha]

    best = optimize.minimize(
        loss,
        np.r_[0, np.full(2 * p, 0.01)],
        jac=True,
        bounds=[(None, None)] + [(0, None)] * (2 * p),
        options={"ftol": 1e-16, "gtol": 1e-11, "maxiter": 10000},
    )
    slopes = model.coef_[0] * X.std(axis=0)
    assert_allclose(slopes, best.x[1 : p + 1] - best.x[p + 1 :], atol=1e-6)
    assert np.any(slopes == 0)


def test_weighted_mcp_equals_skglm(X, Z):
    skglm = pytest.importorskip("skglm")
    y, weights = gaussian_target(Z), np.array([1, 1, 2, 0.5, 1, 1, 3, 1.0])
    model = fitted(X, y, GaussianExpert(penalty=MCP(0.3, 3.0, weights)))
    # our penalty times the variance: alpha sigma^2 |b| - b^2 sigma^2 / (2 gamma)
    variance = (model.dispersion_[0] / y.std()) ** 2
    penalty = skglm.penalties.WeightedMCPenalty(0.3 * variance, 3.0 / variance, weights)
    solver = skglm.solvers.AndersonCD(tol=1e-12, fit_intercept=False)
    theirs = skglm.GeneralizedLinearEstimator(skglm.datafits.Quadratic(), penalty, solver)
    theirs.fit(Z, (y - y.mean()) / y.std())
    assert_allclose(their_slopes(model, X, y), np.ravel(theirs.coef_), atol=1e-6)
