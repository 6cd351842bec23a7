"""Starts of a tree of splits: a search with one softmax gate, whose experts are then arranged.

Experts and divisions of the rows that a softmax gate finds are nearly those of a tree, and
its compiled passes cost a fraction. Which expert belongs to which leaf is asked of the tree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .model import MoEModel
from .params import MoEParams, stack, take
from .rows import Rows
from .start import MultiStart, StartResult, continued
from .starts import fixed
from .starts.moves import duplicate
from .starts.table import Table, canonical_table

DIVISIONS = 4  # optima of the flat search that are arranged
TREES = 6  # arrangements of the best of them that are run, and half as many of the others
STEPS = 3  # Newton steps of the gates that arrangements are compared by
GAIN = 1e-3  # of log-likelihood per round


def arranged_start(
    model: MoEModel, rows: Rows, start: MultiStart, seed: int, given: Sequence[MoEParams] = ()
) -> StartResult:
    """The best regular optimum that arrangements of a flat search's experts lead to."""
    flat = model._replace(gate=model.gate.flat())
    table = canonical_table(rows, start.table_size, seed)
    d = fixed.designs(model, table)
    begin = [_flattened(model, flat, table, d, params) for params in given]
    found = start.search(flat, rows, seed=seed, given=begin)
    candidates = []
    for i, params in enumerate(found.pool[:DIVISIONS]):
        resp = _responsibilities(flat, table, params)
        candidates += _arrangements(model, d, params.expert, resp, TREES if i == 0 else TREES // 2)
    kinds = [("arranged",)] * len(candidates)
    for params in given:
        own = _of_size(model, params)
        candidates += own
        kinds += [("given",)] * len(own)
    best = continued(model, table, candidates, kinds)
    while True:
        params = best.params
        resp = _responsibilities(model, table, params)
        again = [params, *_arrangements(model, d, params.expert, resp, TREES)]
        better = continued(model, table, again, [("arranged",)] * len(again))
        if not better.optima[0].loglik > best.optima[0].loglik + GAIN:
            return best
        best = better


def _responsibilities(model, table: Table, params):
    """(m, K) of the units of the table."""
    return model.responsibilities(params, table.rows)[table.rows.first]


def _of_size(model, params) -> list[MoEParams]:
    """Given parameters with as many experts as the model; of one expert less all its splits."""
    K = len(params.gate[0])
    if K == model.K:
        return [params]
    if K < model.K - 1:
        return []
    return [duplicate(model, params, k, 0.5) for k in range(K)]


def _flattened(model, flat, table, d, params) -> MoEParams:
    """A tree's experts below one softmax gate."""
    K = len(params.gate[0])
    resp = _responsibilities(model._replace(K=K), table, params)
    gate = take(fixed.fit_gates(flat._replace(K=K), d, resp[None], STEPS), 0)
    return MoEParams(gate, params.expert)


def _arrangements(model, d, experts, resp, count: int) -> list[MoEParams]:
    """The likeliest arrangements of the experts below a tree, given their responsibilities.

    Beginning with neighbours below common nodes, pairs of leaves change places as long as that
    helps.
    """
    tried: dict[tuple, tuple[float, object]] = {}

    def value(gate):
        key = model.gate.grouping(gate)
        if key not in tried:
            fitted = take(fixed.fit_gates(model, d, resp[None], STEPS, stack([gate])), 0)
            weighted = resp * d.weight[:, None]
            height = float((weighted * model.gate.log_prob(fitted, d.gate)).sum())
            tried[key] = height, fitted
        return tried[key][0]

    gate = model.gate.initial_for(d.gate, resp, d.weight)
    height = value(gate)
    while True:
        swapped = model.gate.swapped(gate)
        heights = [value(one) for one in swapped]
        if not heights or max(heights) <= height + GAIN:
            break
        height, gate = max(heights), swapped[int(np.argmax(heights))]
    order = sorted(tried.values(), key=lambda found: -found[0])
    return [MoEParams(fitted, experts) for _, fitted in order[:count]]
