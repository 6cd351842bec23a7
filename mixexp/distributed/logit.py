"""Multinomial logit of soft targets: the reduced gate, and the reduced multinomial experts."""

from __future__ import annotations

import numpy as np

from ..kernels.designs import weighted_grams, weighted_sums
from ..kernels.reference import class_pairs, log_softmax
from ..solvers import centred, softmax_newton_step

GAIN = 1e-12  # of the objective per unit of target, that is worth another step
HALVINGS = 30


def soft_logit(X, targets, coef, ridge, max_steps=100):
    """Maximiser of sum_ic t_ic log softmax_c(x_i) by guarded Newton steps.

    Parameters
    ----------
    X : (S, q) array
        First column of ones.
    targets : (S, C) array
        Not negative; a row's sum is its weight.
    coef : (C, q) array
        Where to begin.
    ridge : float
        Strength, per unit of target, of a ridge on all coefficients: finite slopes where the
        targets are separated.

    Returns
    -------
    (C, q) coefficients, centred over the classes.
    """
    total = targets.sum()
    coef = centred(coef)
    if len(coef) == 1 or total <= 0:
        return coef
    weight = targets.sum(axis=1)
    k, l = class_pairs(len(coef))
    value = _objective(X, targets, coef, ridge * total)
    for _ in range(max_steps):
        prob = np.exp(log_softmax(X @ coef.T))
        score = weighted_sums(X, targets - weight[:, None] * prob) - ridge * total * coef
        pairs = weighted_grams(X, weight[:, None] * prob[:, k] * prob[:, l])
        strength = np.full(X.shape[1], ridge * total)
        step = softmax_newton_step(pairs, score, strength)
        moved = _uphill(X, targets, coef, step, value, ridge * total)
        if moved is None:
            return coef
        coef, new = moved
        if new - value <= GAIN * total:
            return coef
        value = new
    return coef


def _uphill(X, targets, coef, step, value, strength):
    """The coefficients after the longest halving that does not lower the objective, and that."""
    share = 1.0
    for _ in range(HALVINGS):
        new = centred(coef + share * step)
        reached = _objective(X, targets, new, strength)
        if reached >= value:
            return new, reached
        share *= 0.5
    return None


def _objective(X, targets, coef, strength):
    fitted = float((targets * log_softmax(X @ coef.T)).sum())
    return fitted - 0.5 * strength * float((coef**2).sum())
