"""Identities on which EM and its standard errors rest, against plain programs of them.

Louis (1982, J. R. Stat. Soc. B 44): score and observed information of a mixture. Böhning (1992,
Ann. Inst. Statist. Math. 44): a monotone algorithm for logits. Fisher: the score of a law is the
mean of that of the complete data; for skew-t experts (Chamroukhi, 2017, Neurocomputing 266) that
mean is over two latent variables.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats

from mixexp import MoERegressor, SkewTExpert
from mixexp.datasets import load_tone

# --- Louis: score and information ----------------------------------------------------------------


def tone_loglik(theta, x, y):
    """Two Gaussian experts: gate of 1 against 0, lines of 0 and 1, logs of their deviations."""
    score = theta[0] + theta[1] * x
    log_gate = [-np.logaddexp(0, score), -np.logaddexp(0, -score)]
    density = [
        stats.norm.logpdf(y, theta[2 + 2 * k] + theta[3 + 2 * k] * x, np.exp(theta[6 + k]))
        for k in range(2)
    ]
    return np.logaddexp(log_gate[0] + density[0], log_gate[1] + density[1]).sum()


def differences(function, point, step=1e-2):
    """Central differences of fourth order, one line for each coordinate."""
    lines = []
    for unit in np.eye(len(point)):
        at = [function(point + k * step * unit) for k in (-2, -1, 1, 2)]
        lines.append((at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step))
    return np.array(lines)


def test_standard_errors_are_those_of_the_likelihoods_second_differences():
    X, y = load_tone(return_X_y=True)
    model = MoERegressor(2).fit(X, y)
    result = model.inference(X, y, reference=0)
    lines = [f"expert {k}: {term}" for k in (0, 1) for term in ("(intercept)", "x0")]
    scales = [f"expert {k}: log(std. deviation)" for k in (0, 1)]
    names = ["gate 1 vs 0: (intercept)", "gate 1 vs 0: x0", *lines, *scales]
    assert sorted(names) == sorted(result.params.index)
    found, unit = result.params[names].to_numpy(), result.bse[names].to_numpy()

    def loglik(away):  # in standard errors away from the maximum
        return tone_loglik(found + unit * away, X[:, 0], y)

    zero = np.zeros(len(names))
    assert_allclose(loglik(zero), model.loglik_, atol=1e-8)
    assert_allclose(differences(loglik, zero), 0, atol=1e-5)
    observed = -differences(lambda at: differences(loglik, at), zero)
    covariance = result.cov_params().loc[names, names].to_numpy()
    assert_allclose(np.linalg.inv(observed), covariance / np.outer(unit, unit), atol=1e-5)


# --- Böhning: the gate's maximum -----------------------------------------------------------------


def bounded_steps(X, labels, n_steps):
    """Böhning's steps for logits of K classes against the last; coefficients and the path."""
    Z = np.column_stack([np.ones(len(X)), X])
    target = np.eye(labels.max() + 1)[labels]
    K = target.shape[1]
    inverse = 2 * np.linalg.inv(Z.T @ Z)
    coef, path = np.zeros((Z.shape[1], K - 1)), []
    for _ in range(n_steps):
        logits = np.column_stack([Z @ coef, np.zeros(len(Z))])
        log_prob = logits - special.logsumexp(logits, axis=1, keepdims=True)
        path.append((target * log_prob).sum())
        rest = Z.T @ (target - np.exp(log_prob))[:, : K - 1]
        coef = coef + inverse @ rest @ (np.eye(K - 1) + 1)
    return coef, np.array(path)


def test_the_gates_maximum_is_the_limit_of_bohnings_monotone_steps():
    """With every row's expert named the gate is a multinomial logit."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((400, 2)) @ np.array([[1.0, 0.0], [0.6, 0.8]])
    logits = X @ np.array([[1.0, -0.5, 0.0], [0.3, 1.2, 0.0]]) + [0.4, -0.2, 0.0]
    labels = np.argmax(logits + rng.gumbel(size=(400, 3)), axis=1)
    y = np.array([-8.0, 0.0, 8.0])[labels] + X[:, 0] + rng.standard_normal(400)
    coef, path = bounded_steps(X, labels, 400)
    assert np.all(np.diff(path) >= -1e-10)
    named = MoERegressor(3).fit(X, y, expert_prior=np.eye(3)[labels])
    slopes = named.gate_coef_[:2] - named.gate_coef_[2]
    intercepts = named.gate_intercept_[:2] - named.gate_intercept_[2]
    assert_allclose(coef.T, np.column_stack([intercepts, slopes]), atol=1e-6)


# --- Fisher: the E-step of skew-t experts --------------------------------------------------------


def latent_means(r, sigma, slant, df):
    """E[W], E[W U], E[W U^2] and E[log W] given y, by quadrature over both latent variables.

    Y = mu + delta U + sqrt(1 - delta^2) s e / sqrt(W), U = s |e'| / sqrt(W), W gamma with shape
    and rate df / 2, e and e' standard normal; r = y - mu, s = sigma.
    """
    delta = slant / np.sqrt(1 + slant**2)
    s = np.linspace(np.log(1e-12), np.log(400.0), 800)[:, None]  # of log W
    node, weight = np.polynomial.legendre.leggauss(120)
    v, weight = 6.0 * (node + 1), 6.0 * weight  # U = sigma v / sqrt(W)
    w = np.exp(s)
    spread = sigma * np.sqrt((1 - delta**2) / w)
    log_joint = (
        stats.norm.logpdf(r, delta * sigma * v / np.sqrt(w), spread)
        + np.log(2)
        + stats.norm.logpdf(v)
        + stats.gamma.logpdf(w, df / 2, scale=2 / df)
        + s
    )
    mass = np.exp(log_joint - log_joint.max()) * weight
    U = sigma * v / np.sqrt(w)
    return [np.sum(mass * part) / mass.sum() for part in (w, w * U, w * U**2, s)]


def random_points(count=20):
    rng = np.random.default_rng(11)
    for _ in range(count):
        sigma, slant, df = rng.uniform(0.3, 2), rng.uniform(-4, 4), rng.uniform(1.5, 12)
        yield float(sigma * rng.standard_t(3)), float(sigma), float(slant), float(df)


@pytest.mark.parametrize("point", list(random_points()), ids=lambda p: f"{p[0]:.2f}")
def test_the_skew_t_score_is_the_mean_of_the_complete_datas(point):
    r, sigma, slant, df = point
    W, WU, WUU, log_W = latent_means(*point)
    delta = slant / np.sqrt(1 + slant**2)
    free, rest = 1 - delta**2, (1 - delta**2) * sigma**2
    square = W * r**2 - 2 * delta * r * WU + delta**2 * WUU
    by_delta = delta / free + (r * WU - delta * WUU - delta / free * square) / rest
    wanted = [
        (W * r - delta * WU) / rest,
        square / rest + WUU / sigma**2 - 2,
        by_delta * (1 + slant**2) ** -1.5,
        df / 2 * (np.log(df / 2) + 1 - special.digamma(df / 2) + log_W - W),
    ]
    eta = [np.full((1, 1), value) for value in (0.0, np.log(sigma), slant, np.log(df))]
    score = SkewTExpert().score_unit(eta, np.full((1, 1), r), None)
    assert_allclose(np.ravel(score), wanted, rtol=1e-6, atol=1e-6)
