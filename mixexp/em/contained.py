"""Starts of a family that contains others: their optima, and its own neighbours of them.

The lattice of families is climbed from below: no family ends below one that it contains, and the
search among its own many parameters is short.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sklearn.base import clone

from .model import MoEModel
from .params import MoEParams
from .rows import Rows
from .start import StartResult, continued
from .starts.table import canonical_table

KEPT = 4  # optima of each contained family's search that are tried


class Inside(NamedTuple):
    """What contained families found, as parameters of the family itself.

    ends : the regular ends of their fits; pool : optima that their searches met, and the ends.
    """

    ends: list[MoEParams]
    pool: list[MoEParams]


def contained_optima(model: MoEModel, given: Sequence[MoEParams], solver, search, fit) -> Inside:
    """Search and fit every family that the model's one contains.

    Parameters
    ----------
    search : callable
        ``search(model, given)``: a `StartResult`.
    fit : callable
        ``fit(model, solver, params)``: a `Fit` that begins at these parameters.
    """
    ends, pool = [], []
    for family, places in model.expert.contained():
        smaller = model._replace(expert=family)
        begin = [MoEParams(one.gate, places.shrink(one.expert)) for one in given]
        found = search(smaller, begin)
        end = fit(
            smaller,
            solver if solver.checkpoint is None else clone(solver).set_params(checkpoint=None),
            found.params,
        )
        grown = [
            MoEParams(one.gate, places.grow(one.expert))
            for one in (end.params, *found.pool[1:KEPT])
        ]
        ends += grown[:1] if end.regular else []
        pool += grown if end.regular else grown[1:]
    return Inside(ends, pool)


def contained_start(
    model: MoEModel, rows: Rows, start, seed: int, candidates: Sequence[MoEParams]
) -> StartResult:
    """The best regular optimum that is reached from the candidates, and from their alternatives."""
    table = canonical_table(rows, start.table_size, seed)
    others = [
        MoEParams(one.gate, expert)
        for one in candidates
        for expert in model.expert.alternatives(one.expert)
    ]
    kinds = [("contained",)] * len(candidates) + [("alternative",)] * len(others)
    return continued(model, table, [*candidates, *others], kinds)
