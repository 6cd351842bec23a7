"""One composed pass for all parameter sets of a batch at once, where rows are few.

S sets of K experts are laid out as S * K experts, so that a pass costs a handful of numpy calls
and not a handful for every set. The experts are separate laws, and so
are the classes of a joint gate; of the other gates some take all sets at once.
"""

from __future__ import annotations

import numpy as np

from ...kernels.reference import log_softmax, log_sum_exp
from ..params import PassResult, Statistics, size, stack, take, tree_map
from ..rows import BLOCK, Rows

ENTRIES = 4_000_000  # of the largest temporary array, (rows, S, K, columns)


def runs_batched(model, rows: Rows, params) -> bool:
    """Whether one block holds all that the batch needs."""
    if rows.prior is not None or model.expert.truncates(rows.y):
        return False
    if hasattr(model.expert, "members"):  # experts of several families are no S * K alike
        return False
    q = 1 + max(len(model.gate_columns), len(model.expert_columns), rows.y.shape[1])
    entries = rows.n * size(params) * model.K * q
    each = model.gate.joint or model.gate.batches or model.expert.batches
    separate = each or rows.group is not None
    return separate and rows.n <= BLOCK and entries <= ENTRIES


def batched_pass(model, rows: Rows, params) -> PassResult:
    """As a pass of each set on its own, to rounding."""
    S, K = size(params), model.K
    weight, U = rows.unit_weight, rows.n_units
    X_gate, X_expert = model.gate_design(rows.unit_X), model.expert_design(rows.X)
    y, offset = model.scaling.target(rows.y), model.scaled_offset(rows)
    expert = _flat(params.expert)
    densities = model.expert.log_density(expert, X_expert, y, offset, rows.trials)
    joint = rows.unit_sums(densities).reshape(U, S, K)
    joint = joint + _gate_terms(model.gate, params.gate, X_gate)
    loglik = weight @ log_sum_exp(joint)
    resp = np.exp(log_softmax(joint)) * weight[:, None, None]
    own = rows.spread(resp.reshape(U, S * K)), rows.once(weight)
    statistics = model.expert.statistics(expert, X_expert, y, *own, offset, rows.trials)
    return PassResult(
        loglik - model.log_units(rows),
        Statistics(
            _gate_statistics(model.gate, params.gate, X_gate, resp, weight),
            tree_map(lambda leaf: _by_set(leaf, S, K), statistics),
        ),
    )


def _gate_terms(gate, params, X):
    """(n, S, K) the gate's terms of the objective."""
    if gate.batches:
        return gate.log_prob_sets(params, X)
    if not gate.joint:
        return np.stack([gate.log_prob(take(params, s), X) for s in range(size(params))], axis=1)
    S, K = params.logit.shape
    classes = gate.log_classes(_flat(params), X).reshape(X.shape[0], S, K)
    return classes + log_softmax(params.logit)


def _gate_statistics(gate, params, X, resp, weight):
    n, S, K = resp.shape
    if gate.batches:
        return gate.statistics_sets(params, X, resp, weight)
    if not gate.joint:
        each = (gate.statistics(take(params, s), X, resp[:, s], weight) for s in range(S))
        return stack(list(each))
    statistics = gate.statistics(_flat(params), X, resp.reshape(n, S * K), weight)
    return tree_map(lambda leaf: _by_set(leaf, S, K), statistics)


def _flat(tree):
    """Leaves (S, K, ...) as (S * K, ...)."""
    return tree_map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


def _by_set(leaf, S, K):
    """Leaves (S * K, ...) as (S, K, ...); the total weight is every set's."""
    return np.full(S, leaf) if np.ndim(leaf) == 0 else leaf.reshape(S, K, *leaf.shape[1:])
