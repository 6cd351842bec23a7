"""Starts where the rows' experts are partly known: the prior names the experts.

Without a prior the experts' numbers are arbitrary. With one they are not, so every optimum of the
search without the prior is numbered as suits the prior best, and runs again with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import factorial

import numpy as np
from scipy.optimize import linear_sum_assignment

from .engines import MemoryEngine
from .model import MoEModel
from .params import MoEParams, stack, take, tree_map
from .rows import Rows
from .start import MultiStart, StartResult, continued
from .starts.table import canonical_table

KEPT = 8  # optima of the search without the prior that are tried
ALL_ORDERS = 24  # orders of the experts up to which all are compared


def informed_start(
    model: MoEModel, rows: Rows, start: MultiStart, seed: int, given: Sequence[MoEParams] = ()
) -> StartResult:
    """The best regular optimum of the objective with the prior, among those that were met.

    Parameters
    ----------
    rows : Rows
        With a prior. Rows that exclude experts are what numbers them.
    given : sequence of MoEParams
        With K experts, tried as they are numbered.
    """
    found = start.search(model, rows._replace(prior=None), seed=seed, given=given)
    table = canonical_table(rows, start.table_size, seed)
    engine = MemoryEngine(table.rows, model)
    candidates = [ordered(model, engine, params) for params in found.pool[:KEPT]]
    candidates = [in_own_tree(model, table.rows, params) for params in candidates]
    kinds = [("numbered",)] * len(candidates)
    posterior = model.responsibilities(candidates[0], table.rows)
    assert table.rows.prior is not None
    shares = table.rows.prior / table.rows.prior.sum(axis=1, keepdims=True)
    resp = [shares, posterior]
    made = model.from_responsibilities(table.rows, np.stack(resp))
    candidates += [take(made, i) for i in range(len(resp))]
    kinds += [("prior",), ("prior and fit",)]
    own = [params for params in given if len(params.gate[0]) == model.K]
    candidates, kinds = candidates + own, kinds + [("given",)] * len(own)
    return continued(model, table, candidates, kinds)


def ordered(model: MoEModel, engine: MemoryEngine, params: MoEParams) -> MoEParams:
    """The parameters with their experts numbered so that the objective with the prior is highest.

    All orders are compared where they are few; else the one of the assignment that makes the
    prior's expectation under the posterior without it largest.
    """
    if factorial(model.K) <= ALL_ORDERS:
        orders = list(itertools.permutations(range(model.K)))
    else:
        orders = [_assigned(model, engine.rows, params)]
    batch = [tree_map(lambda leaf, o=list(o): leaf[o], params) for o in orders]
    if len(batch) == 1:
        return batch[0]
    return batch[int(np.argmax(engine.run(model, stack(batch)).loglik))]


def in_own_tree(model: MoEModel, rows: Rows, params: MoEParams) -> MoEParams:
    """The parameters; from a search that arranged experts below a tree, with the gate's own one.

    Where experts have names the tree of the settings says which of them are together.
    """
    if model.gate.numbering(params.gate) is None:
        return params
    resp = model.responsibilities(params, rows)[rows.first]
    made = take(model.from_responsibilities(rows, resp[None]), 0)
    return made._replace(expert=params.expert)


def _assigned(model, rows, params):
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    free = model.responsibilities(params, rows._replace(prior=None))
    # row k, column j: what is gained where expert j of the fit is called k
    gain = (weight[:, None] * rows.prior).T @ free
    return linear_sum_assignment(-gain)[1]
