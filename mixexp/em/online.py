"""Online EM: statistics blended batch by batch with a decaying step.

The statistics of a part are a local quadratic model of its share of the surrogate. Before two of
them are blended they are expressed at the same parameters (`MoEModel.shift`), so that old batches
keep speaking of the point they are asked about (Cappe and Moulines, 2009, "On-line
expectation-maximization algorithm for latent data models", JRSS B 71, 593-613).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .engines import MemoryEngine
from .model import MoEModel
from .params import MoEParams, Statistics, stack, take, tree_map
from .rows import Rows
from .summary import entropies

DECAY = 0.6  # step_t = (t + 1)^-0.6: slower than 1 / t, so that the first batches are forgotten


class OnlineState(NamedTuple):
    """Where an online fit stands.

    params and statistics belong together: the statistics are means per unit weight, blended over
    the batches and expressed at these parameters. loglik and entropy (soft, hard) are blended
    likewise; weight is the total weight seen; n_batch counts the batches.
    """

    params: MoEParams
    statistics: Statistics
    loglik: float
    entropy: np.ndarray
    weight: float
    n_batch: int


def first_state(model: MoEModel, params: MoEParams, rows: Rows) -> OnlineState:
    """State after a first batch that was fitted on its own."""
    loglik, statistics = mean_statistics(model, params, rows)
    return OnlineState(
        params, statistics, loglik, _mean_entropy(model, params, rows), rows.total_weight, 1
    )


def step_size(n_batch: int, decay: float = DECAY) -> float:
    """Step of the batch that follows ``n_batch`` others: (n_batch + 1)^-decay."""
    return (n_batch + 1) ** -decay


def blended(old, new, step: float):
    """Statistics at the same parameters, mixed."""
    return tree_map(lambda a, b: (1 - step) * a + step * b, old, new)


def stepped(model: MoEModel, params: MoEParams, statistics: Statistics):
    """The M-step from mean statistics at ``params``: new parameters, and the statistics there."""
    new = take(model.m_step(stack([params]), stack([statistics])), 0)
    return new, model.shift(statistics, params, new)


def online_step(model: MoEModel, state: OnlineState, rows: Rows) -> OnlineState:
    """Blend one batch into the statistics and move the parameters by one M-step.

    A batch counts by the number of batches before it, not by its size: keep batches of similar
    size.
    """
    step = step_size(state.n_batch)
    loglik, batch = mean_statistics(model, state.params, rows)
    params, statistics = stepped(model, state.params, blended(state.statistics, batch, step))
    return OnlineState(
        params,
        statistics,
        (1 - step) * state.loglik + step * loglik,
        (1 - step) * state.entropy + step * _mean_entropy(model, state.params, rows),
        state.weight + rows.total_weight,
        state.n_batch + 1,
    )


def mean_statistics(model, params, rows):
    """Log-likelihood and statistics of a batch, per unit weight."""
    total = rows.total_weight
    result = MemoryEngine(rows, model).run(model, stack([params]))
    statistics = tree_map(lambda leaf: np.asarray(leaf[0] / total), result.statistics)
    return float(result.loglik[0]) / total, statistics


def _mean_entropy(model, params, rows):
    """Soft and hard entropy of a batch's responsibilities, per unit weight."""
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    return entropies(model.responsibilities(params, rows), weight) / weight.sum()
