"""Experts of different fits matched one to one (the Hungarian method)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from .divergence import mean_costs
from .large import LargeMixture

ROWS = 500  # of the support, on which experts are told apart


def aligned_labels(mixture: LargeMixture) -> np.ndarray:
    """(L,) number of the reference's expert that each local one is matched to.

    The reference is the largest partition (the first of equals). Matched one to one is what has
    the smallest sum of mean Kullback-Leibler divergences on the support, from the partition's
    expert to the reference's. Where a partition has more experts than the reference, those left
    over go to their nearest.
    """
    reference = mixture.of(int(np.argmax(mixture.share)))
    K = len(reference)
    cost = _costs_to(mixture, reference)
    labels = cost.argmin(axis=1)
    for m in range(len(mixture.fits)):
        own = mixture.of(m)
        rows, columns = linear_sum_assignment(cost[own])
        labels[own[rows]] = columns
    assert labels.max() < K
    return labels


def _costs_to(mixture, reference):
    """(L, K) mean divergences from all local experts to the reference's."""
    family = mixture.family
    experts = mixture.experts
    step = max(1, len(mixture.X) // ROWS)
    X = mixture.X[::step]
    own = type(experts)(*(leaf[reference] for leaf in experts))
    return mean_costs(family, family.values(experts, X), family.values(own, X), len(reference))
