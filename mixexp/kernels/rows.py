"""What a family says of every row: derivatives of its log density by the row's predictors.

An expert's density depends on the columns through J linear predictors of each row: the mean's, and
those of a scale, a shape or the logits of classes. From the derivatives by these predictors and the
layout of the coefficients follow the scores of all rows and the sum of their second derivatives,
which standard errors need, and the M-steps of families with several predictors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .designs import weighted_grams, weighted_sums

STEP = 1e-5  # of central differences, relative to 1 + |predictor|


class RowUnit(NamedTuple):
    """Of n rows under K experts with J predictors each.

    log_density (n, K), all constants included; score (J, n, K) its first derivatives by the
    predictors; hessian (J, J, n, K) the second ones, as observed.
    """

    log_density: np.ndarray
    score: np.ndarray
    hessian: np.ndarray


def stacked(*derivatives):
    """Arrays of shapes that broadcast to one another, as one array with a new first axis."""
    return np.stack(np.broadcast_arrays(*derivatives))


def observed_hessian(score: Callable, eta) -> np.ndarray:
    """(J, J, n, K) second derivatives, as central differences of the score.

    Parameters
    ----------
    score : callable
        From predictors, J arrays (n, K), to first derivatives (J, n, K).
    eta : sequence of J arrays (n, K)
    """
    J = len(eta)
    out = np.empty((J, J, *np.shape(eta[0])))
    for j in range(J):
        h = STEP * (1 + np.abs(eta[j]))
        up = score([*eta[:j], eta[j] + h, *eta[j + 1 :]])
        down = score([*eta[:j], eta[j] - h, *eta[j + 1 :]])
        out[j] = (up - down) / (2 * h)
    return 0.5 * (out + np.swapaxes(out, 0, 1))


def weighted_hessian(X, hessian, resp):
    """sum_i r_ik H_ik (x) x_i x_i' of every expert: (K, J, J, q, q)."""
    J, K, q = len(hessian), resp.shape[1], X.shape[1]
    out = np.empty((K, J, J, q, q))
    for j in range(J):
        for l in range(j, J):
            out[:, j, l] = weighted_grams(X, resp * hessian[j, l])
            out[:, l, j] = out[:, j, l]  # the Gram matrices are symmetric
    return out


def weighted_score(X, score, resp):
    """sum_i r_ik s_ik (x) x_i of every expert: (K, J, q)."""
    return np.stack([weighted_sums(X, resp * one) for one in score], axis=1)
