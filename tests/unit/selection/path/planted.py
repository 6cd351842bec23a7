"""Data with a planted support, and the optimality conditions of a Lasso mixture in plain numpy."""

from __future__ import annotations

import numpy as np

from mixexp import MoEPath, MoERegressor, MultiStart

FEW = MultiStart(n_starts=0.1, max_rounds=1)


def planted(n, p, seed=0):
    """Two experts split by x0; slopes on x1 of opposite sign, on x2 in the second alone."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    second = rng.random(n) < 1 / (1 + np.exp(-4 * X[:, 0]))
    mean = np.where(second, -2 - 2 * X[:, 1] + 1.5 * X[:, 2], 2 + 2 * X[:, 1])
    return X, mean + 0.5 * rng.standard_normal(n)


def small_path(**settings):
    """A path that is quick to fit."""
    settings = {"penalties_expert": 5, "searches": 1, "random_state": 0} | settings
    return MoEPath(MoERegressor(2, start=FEW), **settings)


def slope_gradients(model, X, y, weight=None, offset=0.0):
    """(K, p) gradients of the mean log-likelihood by slopes of gate and experts, in plain numpy.

    On standardised columns, and by slopes over the expert's standard deviation. Only fitted
    attributes on the user's scale are used.
    """
    weight = np.ones(len(y)) if weight is None else weight
    share = weight / weight.sum()
    centre, scale = share @ X, np.sqrt(share @ (X - share @ X) ** 2)
    Z = (X - centre) / scale
    logits = model.gate_intercept_ + X @ model.gate_coef_.T
    gate = np.exp(logits - logits.max(axis=1, keepdims=True))
    gate /= gate.sum(axis=1, keepdims=True)
    residual = (y - offset)[:, None] - model.intercept_ - X @ model.coef_.T
    sigma = model.dispersion_
    joint = gate * np.exp(-0.5 * (residual / sigma) ** 2) / sigma
    resp = joint / joint.sum(axis=1, keepdims=True)
    # by b_k / sigma_k: the target's unit drops out
    by_expert = ((share[:, None] * resp * residual / sigma).T) @ Z
    by_gate = (share[:, None] * (resp - gate)).T @ Z
    return by_gate, by_expert


def violation(model, X, y, alpha_gate, alpha_expert, weight=None, offset=0.0):
    """Largest violation of the conditions of an optimum over the slopes of all columns.

    The penalties are L1 on the gate, and L1 on slopes over standard deviations on the experts.
    """
    by_gate, by_expert = slope_gradients(model, X, y, weight, offset)
    slopes = model.coef_
    stuck = np.maximum(np.abs(by_expert) - alpha_expert, 0)
    free = np.abs(by_expert - alpha_expert * np.sign(slopes))
    worst_expert = np.where(slopes == 0, stuck, free).max()
    slopes = model.gate_coef_
    low = np.where(slopes == 0, by_gate - alpha_gate, by_gate - alpha_gate * np.sign(slopes))
    high = np.where(slopes == 0, by_gate + alpha_gate, low)
    # slopes sum to zero over the classes: one multiplier a column lies in all the intervals
    worst_gate = 0.5 * np.maximum(low.max(axis=0) - high.min(axis=0), 0).max()
    return max(worst_expert, worst_gate)
