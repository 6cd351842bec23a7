"""The log density of a row as a function of its predictors: value and derivatives up to the third.

Legend: n rows, K experts; a row's predictors are its K logits and its K experts' predictors, in
this order, J = 2 K of them. With s_k = logit_k + log f_k the row's log density is
lse(s) - lse(logits), so everything follows from the cumulants of two softmax laws: r
(responsibilities) and pi (gate).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...kernels.reference import log_softmax, log_sum_exp
from .families import Family, RowDensity


class RowTerms(NamedTuple):
    """value (n,); score (n, J); information (n, J, J): minus the second derivatives; complete
    (n, J, J): those of the complete data, never indefinite; by_log_dispersion (n, K); mixed
    (n, J, K): second derivatives by predictors and log dispersions."""

    value: np.ndarray
    score: np.ndarray
    information: np.ndarray
    complete: np.ndarray
    by_log_dispersion: np.ndarray
    mixed: np.ndarray


class Parts(NamedTuple):
    """What value and derivatives share: the families' derivatives, r, pi and the value."""

    unit: RowDensity
    resp: np.ndarray
    gate: np.ndarray
    value: np.ndarray


def parts(family: Family, eta, log_dispersion, y, trials) -> Parts:
    """The families' derivatives (n, K) and both softmax laws; eta (n, 2 K)."""
    K = eta.shape[1] // 2
    logits, e = eta[:, :K], eta[:, K:]
    with np.errstate(over="ignore", invalid="ignore"):
        unit = family.density(e, y[:, None], trials[:, None], log_dispersion[None, :])
    joint = log_softmax(logits) + unit.value
    return Parts(unit, np.exp(log_softmax(joint)), np.exp(log_softmax(logits)), log_sum_exp(joint))


def row_values(family, eta, log_dispersion, y, trials):
    """(n,) log densities, less the rows' own part; -inf where they overflow."""
    value = parts(family, eta, log_dispersion, y, trials).value
    return np.where(np.isfinite(value), value, -np.inf)


def row_scores(family, eta, log_dispersion, y, trials):
    """First derivatives of all rows: by the predictors (n, J), by the log dispersions (n, K)."""
    unit, r, pi, _ = parts(family, eta, log_dispersion, y, trials)
    return np.concatenate([r - pi, r * unit.e], axis=1), r * unit.p


def covariance_of_classes(prob):
    """(n, K, K) covariance of a one-hot draw."""
    out = -prob[:, :, None] * prob[:, None, :]
    k = np.arange(prob.shape[1])
    out[:, k, k] += prob
    return out


def row_terms(family, eta, log_dispersion, y, trials) -> RowTerms:
    """Value and derivatives of all rows."""
    unit, r, pi, value = parts(family, eta, log_dispersion, y, trials)
    n, K = r.shape
    k = np.arange(K)
    spread, prior = covariance_of_classes(r), covariance_of_classes(pi)
    score = np.concatenate([r - pi, r * unit.e], axis=1)
    hessian = np.empty((n, 2 * K, 2 * K))
    hessian[:, :K, :K] = spread - prior
    hessian[:, :K, K:] = spread * unit.e[:, None, :]
    hessian[:, K:, :K] = np.swapaxes(hessian[:, :K, K:], 1, 2)
    hessian[:, K:, K:] = hessian[:, :K, K:] * unit.e[:, :, None]
    hessian[:, K + k, K + k] += r * unit.ee
    complete = np.zeros_like(hessian)
    complete[:, :K, :K] = prior
    complete[:, K + k, K + k] = -r * unit.ee
    mixed = np.empty((n, 2 * K, K))
    mixed[:, :K] = spread * unit.p[:, None, :]
    mixed[:, K:] = mixed[:, :K] * unit.e[:, :, None]
    mixed[:, K + k, k] += r * unit.ep
    return RowTerms(value, score, -hessian, complete, r * unit.p, mixed)


def third_order(family, eta, log_dispersion, y, trials, V):
    """Derivatives of trace(V d2 log p) at fixed V (n, J, J): by predictors (n, J), by log
    dispersions (n, K)."""
    unit, r, pi, _ = parts(family, eta, log_dispersion, y, trials)
    K = r.shape[1]
    jacobian_e = unit.e  # of s_k by its own predictor; by its own logit it is one
    moved = V[:, :K] + jacobian_e[:, :, None] * V[:, K:]  # (n, K, J): S V
    V_s = moved[:, :, :K] + moved[:, :, K:] * jacobian_e[:, None, :]
    V_ee = np.einsum("nkk->nk", V[:, K:, K:])
    spread = covariance_of_classes(r)
    cross = 2 * np.einsum("nkm,nmk->nk", spread, moved[:, :, K:])
    by_s = _third_cumulant(r, V_s) + np.einsum("nkm,nk->nm", spread, V_ee * unit.ee)
    logits = by_s - _third_cumulant(pi, V[:, :K, :K])
    own = r * V_ee
    by_e = by_s * unit.e + cross * unit.ee + own * unit.eee
    by_p = by_s * unit.p + cross * unit.ep + own * unit.eep
    return np.concatenate([logits, by_e], axis=1), by_p


def third_order_complete(family, eta, log_dispersion, y, trials, V):
    """Derivatives of trace(V W) for the complete data's information W, as `third_order`."""
    unit, r, pi, _ = parts(family, eta, log_dispersion, y, trials)
    K = r.shape[1]
    V_ee = np.einsum("nkk->nk", V[:, K:, K:])
    by_s = -np.einsum("nkm,nk->nm", covariance_of_classes(r), V_ee * unit.ee)
    logits = by_s + _third_cumulant(pi, V[:, :K, :K])
    own = r * V_ee
    by_e = by_s * unit.e - own * unit.eee
    by_p = by_s * unit.p - own * unit.eep
    return np.concatenate([logits, by_e], axis=1), by_p


def _third_cumulant(prob, V):
    """sum_ab kappa_abc V_ab of the third cumulants of a one-hot draw; (n, K) from (n, K, K)."""
    diagonal = np.einsum("nkk->nk", V)
    moved = np.einsum("nkm,nm->nk", V, prob)
    mean = (prob * diagonal).sum(axis=1, keepdims=True)
    quadratic = (prob * moved).sum(axis=1, keepdims=True)
    return prob * (diagonal - mean - 2 * moved + 2 * quadratic)
