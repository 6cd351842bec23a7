"""Parameters from fixed weights: guarded M-steps that turn partitions and subsets into starts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..model import MoEModel
from ..params import MoEParams, stack, take, tree_map
from ..rows import Rows
from .table import Table

HALVINGS = 8


class Designs(NamedTuple):
    """The table's designs, made once: standardised columns, target and the row-wise inputs.

    The gate's design and the weight (m,) are those of the table's m units, the others those of its
    rows; ``neutral`` is one expert, the intercept-only fit.
    """

    rows: Rows
    gate: Any
    expert: Any
    y: np.ndarray
    weight: np.ndarray
    offset: np.ndarray | None
    trials: np.ndarray | None
    neutral: Any


def designs(model: MoEModel, table: Table) -> Designs:
    rows = table.rows
    return Designs(
        rows,
        model.gate_design(rows.unit_X),
        model.expert_design(rows.X),
        model.scaling.target(rows.y),
        table.weight,
        model.scaled_offset(rows),
        rows.trials,
        model._replace(K=1).initial(rows).expert,
    )


def expert_log_density(model, d: Designs, experts):
    """(m, J) log densities of the units under J experts stacked on the first axis."""
    return d.rows.unit_sums(model.expert.log_density(experts, d.expert, d.y, d.offset, d.trials))


def fit_experts(model: MoEModel, d: Designs, weights, steps: int, experts=None):
    """J experts, each fitted to its own weights, independently of one another.

    Parameters
    ----------
    weights : (m, J) array
        The table's weights included.
    steps : int
        Newton steps at most; each is halved where it lowers an expert's weighted likelihood.
    experts : parameters of J experts, optional
        Where to begin; default is the intercept-only fit.
    """
    J = weights.shape[1]
    family = model.expert
    if experts is None:
        experts = tree_map(lambda leaf: np.repeat(leaf, J, axis=0), d.neutral)
    value = (weights * expert_log_density(model, d, experts)).sum(axis=0)
    own = d.rows.spread(weights), d.rows.once(d.weight)
    for _ in range(steps):
        stats = family.statistics(experts, d.expert, d.y, *own, d.offset, d.trials)
        new = _unstack(family.m_step(_own(experts), _own_statistics(stats, J)))
        new, new_value = _guard(model, d, weights, experts, value, new)
        gain = new_value - value
        experts, value = new, new_value
        if np.all(gain <= 1e-3 * weights.sum(axis=0)):
            break
    return experts


def _own(tree):
    """K stacked experts as K models of one expert: (K, ...) -> (K, 1, ...)."""
    return tree_map(lambda leaf: leaf[:, None], tree)


def _unstack(tree):
    return tree_map(lambda leaf: leaf[:, 0], tree)


def _own_statistics(stats, J):
    return tree_map(lambda leaf: np.full(J, leaf) if np.ndim(leaf) == 0 else leaf[:, None], stats)


def _guard(model, d, weights, old, value, new):
    """``new``, or a point between where it is worse; and the weighted log-likelihoods there."""
    family = model.expert
    start, vector = family.pack(_own(old)), family.pack(_own(new))
    template = _own(old)
    for _ in range(HALVINGS):
        experts = _unstack(family.unpack(vector, template))
        new_value = (weights * expert_log_density(model, d, experts)).sum(axis=0)
        worse = ~(new_value >= value - 1e-9 * np.abs(value))
        if not worse.any():
            return experts, new_value
        vector = np.where(worse[:, None], 0.5 * (start + vector), vector)
    keep = worse[:, None]
    experts = _unstack(family.unpack(np.where(keep, start, vector), template))
    return experts, np.where(worse, value, new_value)


def fit_gates(model: MoEModel, d: Designs, resp, steps: int, gates=None):
    """Batch of gates, each fitted to responsibilities (S, m, K) by guarded Newton steps.

    ``gates``: where to begin, a batch; default is equal probabilities.
    """
    S = len(resp)
    if gates is None:
        gates = stack([model.gate.initial_for(d.gate, one, d.weight) for one in resp])
    if model.gate.joint:  # its M-step is exact and needs no guard
        return stack([_exact_gate(model, d, resp[s], take(gates, s)) for s in range(S)])
    return stack([_fit_gate(model, d, resp[s], steps, take(gates, s)) for s in range(S)])


def _exact_gate(model, d, resp, params):
    stats = model.gate.statistics(params, d.gate, resp * d.weight[:, None], d.weight)
    return model.gate.m_step(params, stats)


def _fit_gate(model, d, resp, steps, params):
    gate = model.gate
    weighted = resp * d.weight[:, None]
    value = (weighted * gate.log_prob(params, d.gate)).sum()
    for _ in range(steps):
        stats = gate.statistics(params, d.gate, weighted, d.weight)
        new = take(gate.m_step(stack([params]), stack([stats])), 0)
        for _ in range(HALVINGS):
            new_value = (weighted * gate.log_prob(new, d.gate)).sum()
            if new_value >= value:
                break
            new = tree_map(lambda a, b: 0.5 * (a + b), params, new)
        else:
            return params
        params, value = new, new_value
    return params


def from_partitions(model: MoEModel, d: Designs, resp, steps: int = 4, begin=None) -> MoEParams:
    """Batch of parameters from responsibilities (S, m, K): experts and gate fitted to them.

    ``begin``: a batch of parameters to begin from; default is neutral.
    """
    S, m, K = resp.shape
    weights = np.moveaxis(resp, 0, 1).reshape(m, S * K) * d.weight[:, None]
    experts = None
    if begin is not None:
        experts = tree_map(lambda leaf: leaf.reshape(S * K, *leaf.shape[2:]), begin.expert)
    experts = fit_experts(model, d, weights, steps, experts)
    batch = tree_map(lambda leaf: leaf.reshape(S, K, *leaf.shape[1:]), experts)
    gates = fit_gates(model, d, resp, min(steps, 2), None if begin is None else begin.gate)
    return MoEParams(gates, batch)
