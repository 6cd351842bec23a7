"""Regression read backwards: K normal laws of u with linear Gaussian laws of v given u.

If u ~ N(c, Gamma) and v | u ~ N(A u + b, Sigma) in class k, then in the same class

    v ~ N(c*, Gamma*),  c* = A c + b,  Gamma* = Sigma + A Gamma A',
    u | v ~ N(A* v + b*, Sigma*),  Sigma* = (Gamma^-1 + A' Sigma^-1 A)^-1,
    A* = Sigma* A' Sigma^-1 = Gamma A' Gamma*^-1,  b* = c - A* c*,

and the joint density of (u, v) is the same number (Deleforge, Forbes and Horaud, 2015, "High-
dimensional regression with Gaussian mixtures and partially-latent response variables", Statistics
and Computing 25, section 2). Of the two forms of A* that with the smaller matrix is used.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LinearGaussian(NamedTuple):
    """K classes: weights of softmax(logit), u ~ N(mean, covariance), v | u ~ N(A u + b, residual).

    logit (K,); mean (K, d); covariance (K, d, d); coef A (K, e, d); intercept b (K, e);
    residual (K, e, e), or its diagonal (K, e).
    """

    logit: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    residual: np.ndarray


class Reversed(NamedTuple):
    """The same classes with the roles of u and v exchanged.

    logit (K,); mean (K, e) of v; coef (K, d, e), intercept (K, d) and residual (K, d, d) of u given
    v. The covariance of v is ``residual of v + loading loading'``, loading (K, e, d).
    """

    logit: np.ndarray
    mean: np.ndarray
    loading: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    residual: np.ndarray


def reverse(law: LinearGaussian) -> Reversed:
    """The exact law of v, and of u given v."""
    e, d = law.coef.shape[-2:]
    mean = np.einsum("ked,kd->ke", law.coef, law.mean) + law.intercept
    loading = law.coef @ np.linalg.cholesky(law.covariance)
    coef, residual = _by_precision(law) if d <= e else _by_gain(law)
    intercept = law.mean - np.einsum("kde,ke->kd", coef, mean)
    return Reversed(law.logit, mean, loading, coef, intercept, _symmetric(residual))


def _by_precision(law):
    """Sigma* and A* by matrices of the size of u."""
    weighted = _divided(law.residual, law.coef)  # Sigma^-1 A
    precision = np.linalg.inv(law.covariance) + np.swapaxes(law.coef, -1, -2) @ weighted
    residual = np.linalg.inv(_symmetric(precision))
    return residual @ np.swapaxes(weighted, -1, -2), residual


def _by_gain(law):
    """The same by matrices of the size of v; Joseph's form of the residual stays positive."""
    cross = law.covariance @ np.swapaxes(law.coef, -1, -2)
    sigma = law.residual if law.residual.ndim == 3 else _diagonal(law.residual)
    coef = np.swapaxes(
        np.linalg.solve(sigma + law.coef @ cross, np.swapaxes(cross, -1, -2)), -1, -2
    )
    kept = np.eye(law.coef.shape[-1]) - coef @ law.coef
    residual = kept @ law.covariance @ np.swapaxes(kept, -1, -2)
    return coef, residual + coef @ sigma @ np.swapaxes(coef, -1, -2)


def _divided(residual, A):
    """residual^-1 A."""
    return A / residual[..., None] if residual.ndim == 2 else np.linalg.solve(residual, A)


def _diagonal(values):
    return values[..., None] * np.eye(values.shape[-1])


def _symmetric(matrices):
    return 0.5 * (matrices + np.swapaxes(matrices, -1, -2))
