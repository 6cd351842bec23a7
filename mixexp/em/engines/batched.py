"""One composed pass for all parameter sets of a batch at once, where rows are few.

S sets of K experts are laid out as S * K experts, so that a pass costs a handful of numpy calls
and not a handful for every set. It needs a gate whose classes are separate laws (a joint gate).
"""

from __future__ import annotations

import numpy as np

from ...kernels.reference import log_softmax, log_sum_exp
from ..params import PassResult, Statistics, size, tree_map
from ..rows import BLOCK, Rows

ENTRIES = 4_000_000  # of the largest temporary array, (rows, S, K, columns)


def runs_batched(model, rows: Rows, params) -> bool:
    """Whether one block holds all that the batch needs."""
    q = 1 + max(len(model.gate_columns), len(model.expert_columns), rows.y.shape[1])
    entries = rows.n * size(params) * model.K * q
    return model.gate.joint and rows.n <= BLOCK and entries <= ENTRIES


def batched_pass(model, rows: Rows, params) -> PassResult:
    """As a pass of each set on its own, to rounding."""
    S, K = size(params), model.K
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    X_gate, X_expert = model.gate_design(rows.X), model.expert_design(rows.X)
    y, offset = model.scaling.target(rows.y), model.scaled_offset(rows)
    gate, expert = (_flat(part) for part in params)
    joint = model.gate.log_classes(gate, X_gate) + model.expert.log_density(
        expert, X_expert, y, offset, rows.trials
    )
    joint = joint.reshape(rows.n, S, K) + log_softmax(params.gate.logit)
    loglik = weight @ log_sum_exp(joint)
    resp = np.exp(log_softmax(joint)) * weight[:, None, None]
    resp = resp.reshape(rows.n, S * K)
    statistics = Statistics(
        model.gate.statistics(gate, X_gate, resp, weight),
        model.expert.statistics(expert, X_expert, y, resp, weight, offset, rows.trials),
    )
    return PassResult(
        loglik - weight.sum() * model.log_units,
        tree_map(lambda leaf: _by_set(leaf, S, K), statistics),
    )


def _flat(tree):
    """Leaves (S, K, ...) as (S * K, ...)."""
    return tree_map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


def _by_set(leaf, S, K):
    """Leaves (S * K, ...) as (S, K, ...); the total weight is every set's."""
    return np.full(S, leaf) if np.ndim(leaf) == 0 else leaf.reshape(S, K, *leaf.shape[1:])
