"""One expert is the ordinary model: scikit-learn's and statsmodels' fits, to 1e-6."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from mixexp import L2, MoEClassifier, MoERegressor
from mixexp.experts import (
    BinomialExpert,
    GammaExpert,
    GaussianExpert,
    MultinomialExpert,
    PoissonExpert,
)

pytestmark = [
    pytest.mark.reference,
    # statsmodels' advice on links whose range exceeds the family's
    pytest.mark.filterwarnings("ignore:The .* link function does not respect the domain"),
]
LINKS = sm.families.links


@pytest.fixture
def X():
    return np.random.default_rng(0).uniform(-1, 1, (150, 2)) * [1, 3] + [0, 2]


def mean(X):
    return 1 + 0.3 * X[:, 0] + 0.2 * X[:, 1]


@pytest.fixture
def targets(X):
    """(y, trials) by family, with means inside the range of every link."""
    rng = np.random.default_rng(1)
    trials = rng.integers(2, 15, len(X)).astype(float)
    return {
        "gaussian": mean(X) + 0.3 * rng.standard_normal(len(X)),
        "poisson": rng.poisson(3 * mean(X)).astype(float),
        "gamma": rng.gamma(5.0, mean(X) / 5),
        "binomial": rng.binomial(trials.astype(int), np.clip(mean(X) / 3, 0, 1)).astype(float),
        "trials": trials,
    }


def test_gaussian_equals_least_squares(X, targets):
    y = targets["gaussian"]
    model = MoERegressor(1).fit(X, y)
    ours = np.r_[model.intercept_, model.coef_[0]]
    theirs = sm.OLS(y, sm.add_constant(X)).fit()
    assert_allclose(ours, theirs.params, rtol=1e-8)
    assert_allclose(model.loglik_, theirs.llf, rtol=1e-10)
    assert_allclose(model.dispersion_**2, theirs.ssr / len(y), rtol=1e-8)


def test_gaussian_predictions_equal_scikit_learns(X, targets):
    y, weight = targets["gaussian"], np.random.default_rng(2).uniform(0, 2, len(X))
    ours = MoERegressor(1).fit(X, y, sample_weight=weight).predict(X)
    assert_allclose(ours, LinearRegression().fit(X, y, weight).predict(X), rtol=1e-8)


def test_the_penalised_gaussian_equals_ridge_regression(X, targets):
    """Our penalised mean log-likelihood, times -2 sigma^2 n, is Ridge with alpha n sigma^2.

    Both columns and target are standardised, and sigma is our own maximiser.
    """
    y, alpha = targets["gaussian"], 0.3
    model = MoERegressor(1, expert=GaussianExpert(penalty=L2(alpha))).fit(X, y)
    Z, t = (X - X.mean(0)) / X.std(0), (y - y.mean()) / y.std()
    sigma = model.dispersion_[0] / y.std()
    ridge = Ridge(alpha * len(y) * sigma**2).fit(Z, t)
    assert_allclose(model.coef_[0] * X.std(0) / y.std(), ridge.coef_, rtol=1e-6)


GLMS = [
    ("poisson", "log", PoissonExpert, sm.families.Poisson, LINKS.Log),
    ("poisson", "identity", PoissonExpert, sm.families.Poisson, LINKS.Identity),
    ("gamma", "log", GammaExpert, sm.families.Gamma, LINKS.Log),
    ("gamma", "inverse", GammaExpert, sm.families.Gamma, LINKS.InversePower),
    ("gamma", "identity", GammaExpert, sm.families.Gamma, LINKS.Identity),
    ("gaussian", "log", GaussianExpert, sm.families.Gaussian, LINKS.Log),
    ("gaussian", "inverse", GaussianExpert, sm.families.Gaussian, LINKS.InversePower),
    ("binomial", "logit", BinomialExpert, sm.families.Binomial, LINKS.Logit),
    ("binomial", "probit", BinomialExpert, sm.families.Binomial, LINKS.Probit),
    ("binomial", "cloglog", BinomialExpert, sm.families.Binomial, LINKS.CLogLog),
]


@pytest.fixture
def glm(request, X, targets):
    """(our fit, statsmodels' fit) of one family and link."""
    name, link, expert, family, their_link = request.param
    y, trials = targets[name], targets["trials"]
    counts = name == "binomial"
    inputs = {"trials": trials} if counts else {}
    ours = MoERegressor(1, expert=expert(link=link)).fit(X, y, **inputs)
    endog = np.column_stack([y, trials - y]) if counts else y
    theirs = sm.GLM(endog, sm.add_constant(X), family=family(their_link())).fit(tol=1e-13)
    return ours, theirs


each_glm = pytest.mark.parametrize("glm", GLMS, indirect=True, ids=[f"{g[0]}-{g[1]}" for g in GLMS])


@each_glm
def test_glm_coefficients_equal_statsmodels(glm):
    ours, theirs = glm
    assert_allclose(np.r_[ours.intercept_, ours.coef_[0]], theirs.params, rtol=1e-6, atol=1e-7)


@each_glm
def test_glm_log_likelihood_equals_statsmodels(glm):
    ours, theirs = glm
    if ours.dispersion_ is None:
        expected = theirs.llf
    elif type(ours._model_.expert) is GammaExpert:
        expected = theirs.family.loglike(
            theirs.model.endog, theirs.mu, scale=1 / float(ours.dispersion_[0])
        )
    else:
        expected = theirs.family.loglike(
            theirs.model.endog, theirs.mu, scale=float(ours.dispersion_[0]) ** 2
        )
    assert_allclose(ours.loglik_, expected, rtol=1e-8)


def test_the_gamma_shape_maximises_the_likelihood(X, targets):
    from scipy import optimize, stats

    y = targets["gamma"]
    model = MoERegressor(1, expert="gamma").fit(X, y)
    mu = model.predict(X)

    def loss(log_shape):
        shape = np.exp(log_shape)
        return -stats.gamma.logpdf(y, shape, scale=mu / shape).sum()

    best = optimize.minimize_scalar(loss, bracket=(0, 1, 3), tol=1e-9)
    assert_allclose(model.dispersion_[0], np.exp(best.x), rtol=1e-6)


def labels(X, classes=3):
    noise = np.random.default_rng(3).gumbel(size=(len(X), classes))
    return (X @ np.array([[0, 1, -1], [0, 0.5, 1]])[:, :classes] + noise).argmax(axis=1)


def test_multinomial_equals_maximum_likelihood(X):
    y = labels(X)
    model = MoEClassifier(1).fit(X, y)
    theirs = sm.MNLogit(y, sm.add_constant(X)).fit(disp=0, method="newton", tol=1e-12)
    coef = np.column_stack([model.intercept_[0], model.coef_[0]])
    assert_allclose((coef - coef[0])[1:], theirs.params.T, rtol=1e-5, atol=1e-6)
    assert_allclose(model.loglik_, theirs.llf, rtol=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_penalised_multinomial_equals_logistic_regression(X, classes):
    """alpha per unit weight on standardised centred slopes is C = 1 / (n alpha).

    Two classes: scikit-learn has one coefficient, the difference b of ours b / 2 and -b / 2, so
    that its penalty is twice ours at the same strength.
    """
    y, alpha = labels(X, classes), 0.02
    model = MoEClassifier(1, expert=MultinomialExpert(penalty=L2(alpha), ridge=0.0)).fit(X, y)
    Z = (X - X.mean(0)) / X.std(0)
    strength = len(y) * alpha * (0.5 if classes == 2 else 1.0)
    theirs = LogisticRegression(C=1 / strength, tol=1e-12, max_iter=10000).fit(Z, y)
    assert_allclose(model.predict_proba(X), theirs.predict_proba(Z), atol=1e-6)
