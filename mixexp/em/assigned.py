"""Starts where every expert has a family of its own: which family for which rows.

The rows are divided by mixtures of one family at a time, and every division is tried with the
families dealt out to its parts in all orders, or in the best one where orders are many.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import factorial

import numpy as np
from scipy.optimize import linear_sum_assignment

from .coarse import coarse_start
from .model import MoEModel
from .params import MoEParams, take
from .rows import Rows
from .start import MultiStart, StartResult, continued
from .starts.table import canonical_table

KEPT = 2  # divisions that each family gives
ALL_ORDERS = 2  # orders of the families up to which all are tried


def assigned_start(
    model: MoEModel, rows: Rows, start: MultiStart, seed: int, given: Sequence[MoEParams] = ()
) -> StartResult:
    """The best regular optimum among those that were met."""
    table = canonical_table(rows, start.table_size, seed)
    candidates, kinds = [], []
    for family in _distinct(model.expert.families):
        alike = model._replace(expert=family)
        plain = family.points(rows.y) is rows.y
        found = (start.search if plain else _coarse(start))(alike, rows, seed=seed)
        for params in found.pool[:KEPT]:
            resp = alike.responsibilities(params, table.rows)[table.rows.first]
            for order in _orders(model, table.rows, resp):
                made = model.from_responsibilities(table.rows, resp[:, order][None])
                candidates.append(take(made, 0))
                kinds.append((f"as {family.title}",))
    own = [params for params in given if len(params.gate[0]) == model.K]
    return continued(model, table, [*candidates, *own], kinds + [("given",)] * len(own))


def _coarse(start):
    return lambda model, rows, seed: coarse_start(model, rows, start, seed)


def _distinct(families):
    found = {repr(family): family for family in families}
    return list(found.values())


def _orders(model, rows, resp):
    """Orders in which the parts of a division go to the families."""
    if factorial(model.K) <= ALL_ORDERS:
        return [list(order) for order in itertools.permutations(range(model.K))]
    gain = np.empty((model.K, model.K))  # of family j on part k
    for j, family in enumerate(model.expert.families):
        alike = model._replace(expert=family)
        params = take(alike.from_responsibilities(rows, resp[None]), 0)
        density = alike.log_joint(params, rows) - alike.log_gate(params, rows.unit_X)
        gain[j] = ((rows.unit_weight[:, None] * resp) * density).sum(axis=0)
    return [linear_sum_assignment(-gain)[1].tolist()]
