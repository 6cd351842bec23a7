"""Starts where the gate is known: the experts are searched without it, then put to its classes.

A known gate names the experts, as a prior of the rows' experts does (`em.informed`). Its own
probabilities are one start. Others are the optima of a search with a free gate in its place, with
their experts in the order that suits the known gate best.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import factorial

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..kernels.reference import log_softmax
from .engines import MemoryEngine
from .informed import ALL_ORDERS, KEPT
from .model import MoEModel
from .params import MoEParams, stack, take, tree_map
from .rows import Rows
from .start import MultiStart, StartResult, continued
from .starts.table import canonical_table, count_distinct

CERTAIN = 1e-6  # probability below which an expert is none of a row
EXCLUDED = -1e29  # logarithm of a probability of zero


def known_gate_start(
    model: MoEModel,
    rows: Rows,
    start: MultiStart,
    seed: int,
    given: Sequence[MoEParams],
    search: Callable,
) -> StartResult:
    """The best regular optimum of the experts under a known gate, among those that were met.

    Parameters
    ----------
    given : sequence of MoEParams
        With K experts, tried as they are numbered.
    search : callable
        ``search(model, rows)``: a `StartResult` of the model with a free gate.
    """
    table = canonical_table(rows, start.table_size, seed)
    neutral = model.initial(table.rows)
    prob = np.exp(log_softmax(_log_known(model, neutral, table.rows)))
    candidates = [take(model.from_responsibilities(table.rows, prob[None]), 0)]
    kinds: list[tuple[str, ...]] = [("gate",)]
    if np.any((prob > CERTAIN) & (prob < 1 - CERTAIN)):  # else every row's expert is known
        gate = model.gate.for_starts().for_rows(count_distinct(rows, rows.n))
        free = model._replace(gate=gate, prior_likelihood=None)
        engine = MemoryEngine(table.rows, model)
        for params in search(free, rows._replace(prior=None)).pool[:KEPT]:
            candidates.append(_numbered(model, free, engine, prob, neutral, params))
            kinds.append(("numbered",))
    own = [params._replace(gate=neutral.gate) for params in given]
    own = [params for params in own if len(_first_leaf(params.expert)) == model.K]
    return continued(model, table, candidates + own, kinds + [("given",)] * len(own))


def check_possible(model: MoEModel, rows: Rows):
    """Refuse rows whose prior excludes every expert that the known gate admits."""
    if rows.prior is None:
        return
    lost = _log_known(model, model.initial(rows), rows).max(axis=1) < EXCLUDED
    if lost.any():
        raise ValueError(
            f"expert_prior excludes every expert that {type(model.gate).__name__} admits in "
            f"{int(lost.sum())} of {rows.n} distinct rows, such as {rows.prior[lost][0].tolist()}. "
            "Both number the experts: the order of the prior's columns must be that of the gate."
        )


def _log_known(model, neutral, rows):
    """(U, K) logarithms of what is known of the units' experts before y is seen."""
    known = model.log_gate(neutral, rows.unit_X)
    if rows.prior is None:
        return known
    with np.errstate(divide="ignore"):
        return known + np.maximum(np.log(rows.prior), 2 * EXCLUDED)


def _first_leaf(tree):
    while isinstance(tree, tuple):
        tree = tree[0]
    return tree


def _numbered(model, free, engine, prob, neutral, params) -> MoEParams:
    """The experts of a fit with a free gate, in the order of the known gate's classes."""
    if hasattr(model.expert, "members"):  # named by their families already
        orders = [tuple(range(model.K))]
    elif factorial(model.K) <= ALL_ORDERS:
        orders = list(itertools.permutations(range(model.K)))
    else:
        rows = engine.rows._replace(prior=None)
        resp = free.responsibilities(params, rows)[rows.first]
        gain = (rows.unit_weight[:, None] * prob).T @ resp
        orders = [tuple(linear_sum_assignment(-gain)[1])]
    batch = [
        MoEParams(neutral.gate, tree_map(lambda leaf, o=list(order): leaf[o], params.expert))
        for order in orders
    ]
    if len(batch) == 1:
        return batch[0]
    return batch[int(np.argmax(engine.run(model, stack(batch)).loglik))]
