"""Derivatives of likelihoods to which Louis' identity does not apply as it stands.

Those of truncated rows, and those where rows have a prior of their experts: both may have a
normaliser that couples gate and experts. Scores of rows are central differences of their
log-likelihoods, second derivatives those of the exact gradient.
"""

from __future__ import annotations

import numpy as np

from ..em.model import MoEModel
from ..em.params import MoEParams, stack, take
from ..em.rows import Rows

STEP = 1e-4


def row_scores(model: MoEModel, params: MoEParams, rows: Rows):
    """(n, d) derivatives of the rows' log-likelihoods, without their weights."""

    def value(moved):
        return model.log_likelihood(moved, rows)

    return np.stack(_differences(model, params, value), axis=1)


def hessian(model: MoEModel, params: MoEParams, rows: Rows):
    """(d, d) second derivative of the weighted log-likelihood."""
    total = rows.total_weight

    def gradient(moved):
        statistics = model.statistics(moved, rows).statistics
        return total * model.gradient(stack([moved]), stack([statistics]))[0]

    found = np.stack(_differences(model, params, gradient), axis=1)
    return 0.5 * (found + found.T)


def _differences(model, params, function):
    """Derivatives of a function by every packed parameter, of fourth order."""
    template = stack([params])
    vector = model.pack(template)[0]
    out = []
    for j, value in enumerate(vector):
        h = STEP * (1 + abs(value))
        ends = []
        for share in (1, -1, 2, -2):
            moved = vector.copy()
            moved[j] += share * h
            ends.append(function(take(model.unpack(moved[None], template), 0)))
        out.append((8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h))
    return out
