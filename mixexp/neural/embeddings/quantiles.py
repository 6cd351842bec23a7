"""Edges of bins at quantiles of a weighted column."""

from __future__ import annotations

import numpy as np


def quantile_edges(column, weight, n_bins: int) -> np.ndarray:
    """Distinct quantiles of orders 0, 1/n_bins, ..., 1: at most n_bins + 1 ascending edges.

    The quantile of order q is the least value whose cumulative weight reaches q of the total, so
    that a weight of 2 is the row twice and a weight of 0 is no row.

    Parameters
    ----------
    column : ndarray of shape (n,)
    weight : ndarray of shape (n,)
        Not negative.
    n_bins : int
    """
    counted = weight > 0
    column, weight = column[counted], weight[counted]
    order = np.argsort(column, kind="stable")
    reached = np.cumsum(weight[order])
    # a sum of n weights is known up to n roundings; an order that is reached exactly must count
    slack = 1 - len(column) * np.finfo(float).eps
    wanted = np.arange(n_bins + 1) / n_bins * reached[-1] * slack
    place = np.searchsorted(reached, wanted)
    return np.unique(column[order][place])
