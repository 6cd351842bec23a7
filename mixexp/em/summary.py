"""`FitSummary`: the few numbers of a fit that criteria read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class FitSummary(NamedTuple):
    """What criteria need to know of a fit.

    Attributes
    ----------
    loglik : float
        Weighted log-likelihood at the estimate, all constants included, without penalties.
    n_free : int
        Free parameters.
    n_units : float
        Sum of the weights (rows, where there are none).
    entropy : float
        -sum_i w_i sum_k r_ik log r_ik of the responsibilities.
    hard_entropy : float
        -sum_i w_i log max_k r_ik.
    """

    loglik: float
    n_free: int
    n_units: float
    entropy: float
    hard_entropy: float


def entropies(resp, weight):
    """Soft and hard entropy of a block of responsibilities (n, K) with weights (n,)."""
    logs = np.log(np.maximum(resp, 1e-300))
    soft = -float(weight @ (resp * logs).sum(axis=1))
    hard = -float(weight @ logs.max(axis=1))
    return np.array([soft, hard])
