"""Hellinger distance between a fitted conditional law and the true one."""

from __future__ import annotations

from typing import Any

import numpy as np


def hellinger(model: Any, truth: Any, X: Any, y: Any) -> float:
    """The root of E_x h^2(p(. | x), p*(. | x)), with h^2 = 1/2 int (sqrt(p) - sqrt(p*))^2 dy.

    Parameters
    ----------
    model : fitted estimator
    truth : MoETruth or LocalisedTruth
    X : ndarray of shape (n, p)
        Rows over which the mean is taken.
    y : ndarray of shape (n,) or (n, m)
        Draws of the truth at these rows: the integral is the mean of 1/2 (sqrt(p/p*) - 1)^2 over
        them. Classes are summed exactly, and then the draws are not used.

    Returns
    -------
    float
        Between 0 and 1.

    Notes
    -----
    The mean over draws of the truth does not see mass of the model where the truth has none.
    """
    if getattr(truth, "expert", None) == "multinomial":
        overlap = np.sqrt(truth.mean(X)[:, model.classes_.astype(int)] * model.predict_proba(X))
        return float(np.sqrt(max(0.0, 1.0 - overlap.sum(axis=1).mean())))
    log_ratio = model.log_prob(X, y) - truth.log_prob(X, y)
    return float(np.sqrt(0.5 * np.mean(np.expm1(0.5 * log_ratio) ** 2)))
