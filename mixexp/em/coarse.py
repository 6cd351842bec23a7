"""Starts where targets are known as intervals: searched at one value in every interval.

A pass over intervals costs many passes over values, so the search runs on values, without
truncation, and its optima run on with the intervals. The values are draws from a fit of one expert
within the intervals: middles and ends would pile up where mixtures put spurious experts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .driver import EM
from .engines import MemoryEngine
from .model import MoEModel
from .params import MoEParams, stack, take
from .rows import Rows
from .start import MultiStart, StartResult, continued
from .starts.table import canonical_table, hash_rows, keyed_uniform

PASSES = 50  # of the fit of one expert
KEPT = 5  # optima of the search that run on


def coarse_start(
    model: MoEModel, rows: Rows, start: MultiStart, seed: int, given: Sequence[MoEParams] = ()
) -> StartResult:
    """The best regular optimum of the likelihood of the intervals, among those that were met.

    Parameters
    ----------
    rows : Rows
        With a target of intervals.
    given : sequence of MoEParams
        Further parameters: with K experts tried as they are, with fewer given to the search.
    """
    values, possible = imputed(model, rows, seed)
    simple = model._replace(expert=model.expert.family)
    found = start.search(simple, values.take(possible), seed=seed, given=given)
    table = canonical_table(rows, start.table_size, seed)
    own = [params for params in given if len(params.gate[0]) == model.K]
    kept = found.pool[:KEPT]
    kinds = [("imputed",)] * len(kept) + [("given",)] * len(own)
    return continued(model, table, [*kept, *own], kinds)


def imputed(model: MoEModel, rows: Rows, seed: int) -> tuple[Rows, np.ndarray]:
    """The rows with one value for every interval, and which of them the family can take."""
    one = model._replace(K=1)
    rows = rows._replace(y=model.expert.without_truncation(rows.y))
    engine = MemoryEngine(rows, one)
    params = EM(max_passes=PASSES).run(one, stack([one.initial(rows)]), engine).params
    u = keyed_uniform(hash_rows(rows), seed)
    y, possible = model.expert.imputed(
        take(params, 0).expert,
        model.expert_design(rows.X),
        model.scaling.target(rows.y),
        model.scaled_offset(rows),
        rows.trials,
        u,
    )
    return rows._replace(y=y * model.scaling.y_scale + model.scaling.y_centre), possible
