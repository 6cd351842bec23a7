"""Expectations beyond a threshold under the predictive law, for risk and insurance."""

from __future__ import annotations

import numpy as np

from . import predictive
from .predictive import LARGEST, Components


def excess(parts: Components, expert, threshold):
    """(n, m) E[(Y - c)+] of each response; ``threshold`` (n, m)."""
    out = np.empty(threshold.shape)
    for j in range(threshold.shape[1]):
        each = expert.excess(threshold[:, [j]], *parts.law(j))
        # an expert without a say may have a mean beyond any number
        out[:, j] = (parts.prob * np.minimum(each, LARGEST)).sum(axis=1)
    return out


def limited(parts: Components, expert, threshold):
    """(n, m) E[min(Y, c)]."""
    return predictive.mean(parts) - excess(parts, expert, threshold)


def shortfall(parts: Components, expert, probability, tail):
    """(n, m) mean of Y in the tail beyond the quantile of that probability.

    The quantile's own atom counts with the share that the tail lacks (Rockafellar and Uryasev,
    2002): q + E[(Y - q)+] / (1 - p) above, q - E[(q - Y)+] / p below.
    """
    value = predictive.quantile(parts, expert, probability)
    above = excess(parts, expert, value)
    if tail == "upper":
        return value + above / (1 - probability)
    # at the lower end of the support nothing is missing, and a rounded difference may say less
    below = np.maximum(value - predictive.mean(parts) + above, 0.0)
    return value - below / probability
