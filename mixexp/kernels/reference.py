"""The one pass over the rows in plain numpy: to be read, and the oracle of the fused kernels.

Legend: n rows, q columns (intercept first), K experts, P = K (K - 1) / 2 pairs of classes,
r responsibilities, pi gate probabilities, w weights.

Every family gives, element by element and free of its dispersion (which factors out of the
score): the log density less a part that depends on the row alone, the score and the expected
information with respect to the linear predictor, and the sufficient statistic of the dispersion.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy import special

from .links import IMPOSSIBLE, LINKS

GAUSSIAN, POISSON, BINOMIAL, GAMMA = range(4)
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
# Largest log(y / mean) of the gamma family: exp of it times a shape and many rows stays finite.
LARGEST_LOG_RATIO = 600.0


class Unit(NamedTuple):
    """What one family says of every row: four arrays of one shape.

    log_density lacks the terms that depend on the row alone; score and information are
    derivatives with respect to the linear predictor, times the dispersion factor (sigma^2 for
    the Gaussian, 1 / shape for the gamma); extra is summed for the dispersion's update.
    """

    log_density: np.ndarray
    score: np.ndarray
    information: np.ndarray
    extra: np.ndarray


class PassArrays(NamedTuple):
    """Additive statistics of one block of rows, in absolute sums.

    loglik (); gate_score (K, qg); gate_pairs (P, qg, qg) = sum w pi_k pi_l x x' for k < l;
    gram (K, qe, qe) = sum w r_k information x x'; score (K, qe); mass (K,) = sum w r_k;
    extra (K,) = sum w r_k extra.
    """

    loglik: np.ndarray
    gate_score: np.ndarray
    gate_pairs: np.ndarray
    gram: np.ndarray
    score: np.ndarray
    mass: np.ndarray
    extra: np.ndarray


def _along_last(ufunc, values):
    """``ufunc.reduce`` along the last axis, kept; element by element where that axis is short.

    Reductions over a handful of neighbours cost NumPy several times the arithmetic.
    """
    if not 0 < values.shape[-1] <= 8:
        return ufunc.reduce(values, axis=-1, keepdims=True)
    return functools.reduce(ufunc, (values[..., j : j + 1] for j in range(values.shape[-1])))


def log_softmax(logits):
    """Log probabilities along the last axis."""
    shifted = logits - _along_last(np.maximum, logits)
    return shifted - np.log(_along_last(np.add, np.exp(shifted)))


def log_sum_exp(values):
    """Logarithm of the sum of exponentials along the last axis; the values are finite."""
    top = _along_last(np.maximum, values)
    return (top + np.log(_along_last(np.add, np.exp(values - top))))[..., 0]


@functools.cache
def class_pairs(K):
    """Indices (k, l), k < l, of the pairs of classes in the order of all statistics."""
    return np.triu_indices(K, 1)


# absurd predictors overflow on the way to `_possible`, which deals with them
_QUIET = np.errstate(over="ignore", invalid="ignore", divide="ignore")


@_QUIET
def gaussian_unit(eta, link, y, trials, sigma):
    """Gaussian with standard deviation sigma; extra is the squared residual."""
    residual = y - LINKS[link].mean(eta)
    slope = LINKS[link].derivative(eta)
    log_density = -HALF_LOG_2PI - np.log(sigma) - 0.5 * (residual / sigma) ** 2
    return _possible(Unit(log_density, residual * slope, slope * slope, residual * residual))


@_QUIET
def poisson_unit(eta, link, y, trials, dispersion):
    """Poisson counts; the row's part is -log y!."""
    mean = LINKS[link].mean(eta)
    log_mean = eta if link == "log" else np.log(np.where(mean > 0, mean, np.nan))
    slope = LINKS[link].derivative(eta)
    ratio = np.ones_like(eta) if link == "log" else slope / np.where(mean > 0, mean, np.nan)
    return _possible(
        Unit(y * log_mean - mean, (y - mean) * ratio, slope * ratio, np.zeros_like(eta))
    )


@_QUIET
def binomial_unit(eta, link, y, trials, dispersion):
    """y successes of `trials`; the row's part is log choose(trials, y)."""
    log_p, log_q, log_slope = _binomial_logs(eta, link)
    failures = trials - y
    log_density = y * log_p + failures * log_q
    score = y * np.exp(log_slope - log_p) - failures * np.exp(log_slope - log_q)
    information = trials * np.exp(2 * log_slope - log_p - log_q)
    return _possible(Unit(log_density, score, information, np.zeros_like(eta)))


def _binomial_logs(eta, link):
    """log p, log(1 - p) and log |dp / deta|, accurate in both tails."""
    if link == "logit":
        log_p, log_q = -np.logaddexp(0, -eta), -np.logaddexp(0, eta)
        return log_p, log_q, log_p + log_q
    if link == "probit":
        return special.log_ndtr(eta), special.log_ndtr(-eta), -0.5 * eta * eta - HALF_LOG_2PI
    if link == "cloglog":
        rate = np.exp(np.minimum(eta, 700.0))
        with np.errstate(divide="ignore"):
            log_p = np.where(rate > 1e-8, np.log(-np.expm1(-rate)), eta - 0.5 * rate)
        return log_p, -rate, eta - rate
    mean = LINKS[link].mean(eta)
    inside = (mean > 0) & (mean < 1)
    mean = np.where(inside, mean, np.nan)
    return np.log(mean), np.log1p(-mean), np.log(np.abs(LINKS[link].derivative(eta)))


@_QUIET
def gamma_unit(eta, link, y, trials, shape):
    """Gamma with mean mu and shape a (variance mu^2 / a); extra = log(y / mu) - y / mu + 1 <= 0."""
    mean = LINKS[link].mean(eta)
    mean = np.where(mean > 0, mean, np.nan)
    log_ratio = np.log(y) - (eta if link == "log" else np.log(mean))
    ratio = np.exp(np.minimum(log_ratio, LARGEST_LOG_RATIO))
    log_density = shape * (np.log(shape) + log_ratio - ratio) - special.gammaln(shape) - np.log(y)
    relative_slope = np.ones_like(eta) if link == "log" else LINKS[link].derivative(eta) / mean
    return _possible(
        Unit(
            log_density,
            (ratio - 1) * relative_slope,
            relative_slope * relative_slope,
            log_ratio - ratio + 1,
        )
    )


def _possible(unit):
    """Give rows outside the link's range no density and no say in the statistics."""
    bad = ~np.isfinite(unit.log_density)
    if not bad.any():
        return unit
    zero = np.where(bad, 0.0, 1.0)
    return Unit(
        np.where(bad, IMPOSSIBLE, unit.log_density),
        np.where(bad, 0.0, unit.score) * zero,
        np.where(bad, 0.0, unit.information) * zero,
        np.where(bad, 0.0, unit.extra) * zero,
    )


UNITS = {
    GAUSSIAN: gaussian_unit,
    POISSON: poisson_unit,
    BINOMIAL: binomial_unit,
    GAMMA: gamma_unit,
}


def weighted_grams(X_nq, V_nJ):
    """sum_i V_ij x_i x_i' for every column j of V: (J, q, q)."""
    return np.einsum("nj,na,nb->jab", V_nJ, X_nq, X_nq, optimize=True)


def softmax_glm_pass(X_gate, X_expert, y, weight, offset, trials, family, link, W, B, dispersion):
    """All statistics of a softmax gate over GLM experts at one parameter set.

    X_gate (n, qg) and X_expert (n, qe) with a leading column of ones; W (K, qg); B (K, qe);
    dispersion (K,). Returns `PassArrays` (the log-likelihood without the rows' own part).
    """
    log_gate = log_softmax(X_gate @ W.T)
    eta = X_expert @ B.T + offset[:, None]
    unit = UNITS[family](eta, link, y[:, None], trials[:, None], dispersion[None, :])
    joint = log_gate + np.maximum(unit.log_density, IMPOSSIBLE)
    log_p = log_sum_exp(joint)
    # not exp(joint - log_p): where every expert is impossible that would not sum to one
    resp = weight[:, None] * special.softmax(joint, axis=1)
    gate = np.exp(log_gate)
    k, l = class_pairs(len(W))
    return PassArrays(
        loglik=weight @ log_p,
        gate_score=(resp - weight[:, None] * gate).T @ X_gate,
        gate_pairs=weighted_grams(X_gate, weight[:, None] * gate[:, k] * gate[:, l]),
        gram=weighted_grams(X_expert, resp * unit.information),
        score=(resp * unit.score).T @ X_expert,
        mass=resp.sum(axis=0),
        extra=(resp * unit.extra).sum(axis=0),
    )


class MultinomialArrays(NamedTuple):
    """Additive statistics of one block of rows under multinomial experts of C classes.

    loglik, gate_score, gate_pairs and mass as in `PassArrays`; score (K, C, qe); pairs
    (K, D, qe, qe) = sum w r_k p_kc p_kd x x' for the D pairs of classes c < d.
    """

    loglik: np.ndarray
    gate_score: np.ndarray
    gate_pairs: np.ndarray
    score: np.ndarray
    pairs: np.ndarray
    mass: np.ndarray


def softmax_multinomial_pass(X_gate, X_expert, y, weight, W, B):
    """All statistics of a softmax gate over multinomial experts at one parameter set.

    y (n,) codes of classes; B (K, C, qe); the rest as in `softmax_glm_pass`.
    """
    n, (K, C, qe) = len(y), B.shape
    log_gate = log_softmax(X_gate @ W.T)
    log_class = log_softmax(np.einsum("nq,kcq->nkc", X_expert, B))
    joint = log_gate + log_class[np.arange(n), :, y]
    resp = weight[:, None] * np.exp(log_softmax(joint))
    gate, prob = np.exp(log_gate), np.exp(log_class)
    residual = resp[:, :, None] * (np.eye(C)[y][:, None, :] - prob)
    k, l = class_pairs(K)
    c, d = class_pairs(C)
    V = resp[:, :, None] * prob[:, :, c] * prob[:, :, d]
    return MultinomialArrays(
        loglik=weight @ log_sum_exp(joint),
        gate_score=(resp - weight[:, None] * gate).T @ X_gate,
        gate_pairs=weighted_grams(X_gate, weight[:, None] * gate[:, k] * gate[:, l]),
        score=np.einsum("nkc,nq->kcq", residual, X_expert),
        pairs=weighted_grams(X_expert, V.reshape(n, -1)).reshape(K, -1, qe, qe),
        mass=resp.sum(axis=0),
    )


def anderson(point, residual, gradient, steps, residuals, regularisation):
    """Anderson's mixture of the last images: (S, d) from histories (S, h, d)."""
    gram = residuals @ residuals.transpose(0, 2, 1)
    trace = np.einsum("shh->s", gram)[:, None, None]
    regular = gram + (regularisation * trace + 1e-300) * np.eye(gram.shape[-1])
    right = np.einsum("shd,sd->sh", residuals, residual)
    mixing = np.linalg.solve(regular, right[:, :, None])
    change = residual - ((steps + residuals).transpose(0, 2, 1) @ mixing)[:, :, 0]
    descends = (gradient * change).sum(axis=1) < 0
    reflected = descends & ((gradient * residual).sum(axis=1) > 0)
    return point + np.where(reflected[:, None], -change, change)
