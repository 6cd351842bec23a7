"""Starts from divisions of the rows: quantile slices, Voronoi cells, a joint Gaussian mixture."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ..model import MoEModel
from .table import Table

MOST = 30  # columns of the regressions by which groups are told apart
SOFT = 0.1  # how much of every row a hard partition leaves to the other experts


def joint_coordinates(model: MoEModel, table: Table):
    """(m, d) standardised coordinates of (x, y) in which rows, or groups, are near or far."""
    if table.rows.group is not None:
        return _group_coordinates(model, table)
    columns = np.union1d(model.gate_columns, model.expert_columns).astype(int)
    X = _dense(table.rows.X[:, columns])
    parts = [_standard(X, table.weight)] if X.shape[1] else []
    return np.hstack([*parts, _standard(_target(model, table), table.weight)])


def _group_coordinates(model, table):
    """Columns of the gate, and what sets a group's regression apart from that of all rows.

    The coefficients of a small ridge regression of every group's deviations, and the logarithm of
    what it leaves.
    """
    rows = table.rows
    X = _standard(_dense(rows.X[:, model.expert_columns[:MOST]]), rows.weight)
    X = np.column_stack([X, np.ones(rows.n)])
    y = _standard(_target(model, table), rows.weight)
    ridge, weighted = np.eye(X.shape[1]), rows.weight[:, None] * X
    y = y - X @ np.linalg.solve(weighted.T @ X + ridge, weighted.T @ y)
    gram = rows.unit_sums(X[:, :, None] * X[:, None, :])
    coef = np.linalg.solve(gram + ridge, rows.unit_sums(X[:, :, None] * y[:, None, :]))
    left = y - np.einsum("nq,nqm->nm", X, rows.spread(coef))
    sizes = rows.unit_sums(np.ones(rows.n))[:, None]
    spread = np.log((rows.unit_sums(left**2) + y.var(axis=0)) / (sizes + 1))
    gate = _dense(rows.unit_X[:, model.gate_columns])
    Z = np.hstack([gate, spread, coef.reshape(len(coef), -1)])
    return _standard(Z, table.weight)


def _dense(X: Any):
    return X.toarray() if sparse.issparse(X) else np.asarray(X, dtype=float)


def _target(model, table):
    rows = table.rows
    if model.expert.classifies:
        return np.eye(int(rows.y.max()) + 1)[rows.y[:, 0].astype(int)]
    y = model.expert.points(rows.y)
    if model.expert.scales_target:
        return y
    total = np.ones(rows.n) if rows.trials is None else np.maximum(rows.trials, 1e-300)
    if rows.offset is not None:
        total = total * np.exp(np.clip(rows.offset, -300, 300))
    return np.arcsinh(y / total[:, None])


def _standard(A, weight):
    share = weight / weight.sum()
    centred = A - share @ A
    spread = np.sqrt(share @ centred**2)
    return centred / np.where(spread > 1e-12 * (1 + np.abs(share @ A)), spread, np.inf)


def principal_scores(Z, weight, n_components):
    """(m, c) scores along the weighted principal components, signs fixed by the largest loading."""
    covariance = (Z * (weight / weight.sum())[:, None]).T @ Z
    _, vectors = np.linalg.eigh(covariance)
    vectors = vectors[:, ::-1][:, :n_components]
    largest = np.abs(vectors).argmax(axis=0)
    return Z @ (vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])]))


def slices(score, weight, K):
    """(m,) labels: K slices of equal weight along a score; ties stay together."""
    order = np.lexsort((weight, score))
    cumulative = np.cumsum(weight[order]) - 0.5 * weight[order]
    label = np.minimum((cumulative / weight.sum() * K).astype(int), K - 1)
    ordered = score[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    run = np.repeat(first, np.diff(np.append(first, len(ordered))))
    out = np.empty(len(score), dtype=int)
    out[order] = label[run]
    return out


def soften(labels, K, soft=SOFT):
    """(m, K) responsibilities of a partition."""
    return np.eye(K)[labels] * (1 - soft) + soft / K


def voronoi(Z, weight, K, rng, spread=True):
    """(m,) labels: the nearest of K rows, drawn by weight (and away from one another)."""
    scale = rng.gamma(1.0, size=Z.shape[1]) + 1e-3 if spread else np.ones(Z.shape[1])
    A = Z * scale
    probability = weight / weight.sum()
    nearest = np.full(len(A), np.inf)
    labels = np.zeros(len(A), dtype=int)
    for k in range(K):
        centre = A[rng.choice(len(A), p=probability)]
        distance = ((A - centre) ** 2).sum(axis=1)
        labels = np.where(distance < nearest, k, labels)
        nearest = np.minimum(nearest, distance)
        mass = weight * nearest
        probability = mass / mass.sum() if mass.sum() > 0 else weight / weight.sum()
    return labels


def near_uniform(m, K, rng):
    """(m, K) responsibilities that differ little from 1 / K."""
    raw = 1 + 0.3 * rng.standard_normal((m, K)).clip(-2.5, 2.5)
    return raw / raw.sum(axis=1, keepdims=True)


def gaussian_mixture(Z, weight, resp, n_steps=12, ridge=1e-2):
    """(m, K) responsibilities of a joint Gaussian mixture of (x, y) after a few EM steps."""
    share = weight / weight.sum()
    d = Z.shape[1]
    for _ in range(n_steps):
        mass = share @ resp
        log_density = np.empty_like(resp)
        for k in range(resp.shape[1]):
            r = share * resp[:, k]
            total = max(mass[k], 1e-12)
            centred = Z - (r @ Z) / total
            covariance = (centred * r[:, None]).T @ centred / total + ridge * np.eye(d)
            factor = np.linalg.cholesky(covariance)
            white = np.linalg.solve(factor, centred.T)
            log_density[:, k] = (
                np.log(total) - np.log(np.diag(factor)).sum() - 0.5 * (white**2).sum(axis=0)
            )
        log_density -= log_density.max(axis=1, keepdims=True)
        resp = np.exp(log_density)
        resp /= resp.sum(axis=1, keepdims=True)
    return resp
