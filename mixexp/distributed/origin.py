"""Which partition speaks at x: the weights of local fits in the large mixture.

The law of y given x in all rows together is sum_m P(m | x) p_m(y | x), where P(m | x) is the
probability that a row at x is of partition m. It is N_m / N everywhere only where the partitions'
covariates have one law, which is what the paper's large mixture takes for granted.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from ..kernels.reference import log_softmax
from .support import check_moments

RIDGE = 1e-6  # share of a column's variance, added where columns are collinear

WEIGHTINGS = ("sizes", "covariates")


def origins(fits, support, weighting: str) -> np.ndarray:
    """(S, M) weights of the partitions at the rows of the support; rows sum to one.

    "sizes": N_m / N. "covariates": in proportion to N_m times the normal density of x with the
    partition's mean and covariance, which its `LocalFit` must hold.
    """
    rows = np.array([fit.n_rows for fit in fits])
    if weighting == "sizes":
        return np.broadcast_to(rows / rows.sum(), (len(support), len(fits)))
    check_moments(fits, "weighting='covariates' needs")
    logs = [_log_normal(support, fit.moments) for fit in fits]
    return np.exp(log_softmax(np.stack(logs, axis=1) + np.log(rows)))


def _log_normal(X, moments):
    """(S,) log density up to a constant that all partitions share."""
    variance = np.diag(moments.covariance)
    floor = RIDGE * np.maximum(variance, variance.max(initial=0.0) * 1e-6) + 1e-300
    root = np.linalg.cholesky(moments.covariance + np.diag(floor))
    standard = solve_triangular(root, (X - moments.mean).T, lower=True)
    return -0.5 * (standard**2).sum(axis=0) - np.log(np.diag(root)).sum()
