"""A small mixture with a known truth, dealt to partitions and fitted there."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from mixexp import MoEClassifier, MoERegressor
from mixexp.distributed import LocalFit

CENTRES = np.array([[2.0, 0, 0], [-2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0]])
SLOPES = np.array([[3.0, 1, 0], [-3.0, 0, 1], [0, 2.0, 2], [1, -2.0, 0]])
INTERCEPTS = np.array([0.0, 2.0, -2.0, 5.0])


def regression(n, seed, K=4, intercepts=INTERCEPTS):
    """X (n, 3), y and the rows' experts z; classes of x are normal, so that the gate is softmax."""
    rng = np.random.default_rng(seed)
    z = rng.integers(0, K, n)
    X = CENTRES[z] + rng.standard_normal((n, 3))
    y = intercepts[z] + (X * SLOPES[z]).sum(axis=1) + 0.5 * rng.standard_normal(n)
    return X, y, z


def classification(n, seed):
    """Three classes from two experts."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2))
    z = (rng.random(n) < 1 / (1 + np.exp(-3 * X[:, 0]))).astype(int)
    slopes = np.array([[[2.0, 2], [0, -2], [-2, 0]], [[-2.0, 1], [2, 2], [0, -3]]])
    logits = np.einsum("ncp,np->nc", slopes[z], X) + rng.gumbel(size=(n, 3))
    return X, logits.argmax(axis=1), z


def labels_in_another_order(z, K, seed):
    """Labels to start from, numbered differently for every seed."""
    return np.random.default_rng(seed).permutation(K)[z]


def local_regression(X, y, z, seed=0, K=4, moments=True):
    start = labels_in_another_order(z, K, seed)
    return LocalFit.of(MoERegressor(K, start=start).fit(X, y), X if moments else None)


def local_classification(X, y, z, seed=0):
    start = labels_in_another_order(z, 2, seed)
    return LocalFit.of(MoEClassifier(2, start=start).fit(X, y), X)


def dealt(n, M, seed=0, intercepts=INTERCEPTS):
    """Local fits of M equal partitions, with their experts in different orders."""
    X, y, z = regression(n, seed, intercepts=intercepts)
    parts = np.array_split(np.arange(n), M)
    return [local_regression(X[i], y[i], z[i], m) for m, i in enumerate(parts)]


def slopes_error(model, slopes=SLOPES):
    """Root mean squared error of the slopes, experts matched to the true ones."""
    squares = ((model.coef_[:, None] - slopes[None]) ** 2).sum(axis=2)
    return float(np.sqrt(squares[linear_sum_assignment(squares)].mean()))
