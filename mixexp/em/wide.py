"""Fits over many columns: where to start when no Gram matrix of all columns may be formed.

The search of `MultiStart` runs on a few screened columns; its best optimum, the mixture without
any slope, and what is given start runs over all columns (`working_set`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import clone

from ..kernels.reference import log_sum_exp
from . import working_set
from .driver import EM, EMResult
from .engines import MemoryEngine
from .model import MoEModel
from .params import MoEParams, stack, take
from .rows import Rows
from .start import MultiStart, Optimum
from .starts.trees import products, tree_starts
from .working_set import Columns, SparseRun

WIDE = 30  # columns of a part beyond which a sparse model is fitted on working sets
SCREENED = 8  # columns that each of the two screens chooses
EFFORT = 0.25  # of a search on few columns: a search here is one candidate among several
ROUNDS = 2
TREE_PASSES = 40  # of each run from a tree


def is_wide(model: MoEModel) -> bool:
    """Whether a sparse model has so many columns that it is fitted on working sets."""
    return model.sparse and max(len(model.gate_columns), len(model.expert_columns)) > WIDE


def best_run(
    model: MoEModel,
    rows: Rows,
    *,
    start: MultiStart | None,
    solver: EM,
    seed: int,
    n_jobs: int = 1,
    given: Sequence[MoEParams] = (),
    callback=None,
) -> tuple[SparseRun, list[Optimum]]:
    """The highest stationary point reached from the candidates, and what the search met."""
    own = [params for params in given if params.gate.coef.shape[0] == model.K]
    candidates, optima = list(own), []
    if start is not None:
        found, optima = screened_start(model, rows, start, seed)
        candidates += [null_start(model, rows, start, seed), found]
        divided = tree_start(model, rows, seed) if model.K > 1 else None
        candidates += [] if divided is None else [divided]
    options = {"n_jobs": n_jobs, "callback": callback}
    runs = [working_set.run(model, rows, params, solver, **options) for params in candidates]
    return max(runs, key=lambda run: run.objective), optima


def null_start(model: MoEModel, rows: Rows, start: MultiStart, seed: int) -> MoEParams:
    """The best mixture without slopes, on all columns: every column is still to enter."""
    nothing = Columns(
        np.zeros(len(model.gate_columns), dtype=bool),
        np.zeros(len(model.expert_columns), dtype=bool),
    )
    return _searched(model, rows, start, seed, nothing)[0]


def screened_start(model: MoEModel, rows: Rows, start: MultiStart, seed: int):
    """The best optimum on screened columns, as parameters of all columns; and the optima met."""
    return _searched(model, rows, start, seed, screened(model, rows))


def tree_start(model: MoEModel, rows: Rows, seed: int) -> MoEParams | None:
    """The best of short runs from divisions of the rows by trees; None where there are none."""
    target = model.scaling.target(rows.y)
    if model.expert.classifies:
        target = np.eye(max(model.n_classes, int(rows.y.max()) + 1))[rows.y[:, 0].astype(int)]
    best, height = None, -np.inf
    for start in tree_starts(model, rows, target, seed):
        working = working_set.closure(model, Columns(start.gate, start.expert))
        small = working_set.restricted(model, working)
        params = small.from_responsibilities(rows, start.responsibilities[None])
        result = EM(TREE_PASSES).run(small, params, MemoryEngine(rows, small))
        if result.objective[0] > height:
            height = float(result.objective[0])
            best = working_set.expanded_params(take(result.params, 0), working)
    return best


def _searched(model, rows, start, seed, working: Columns):
    working = working_set.closure(model, working)
    rounds = min(ROUNDS, start.max_rounds)
    start = clone(start).set_params(n_starts=EFFORT * start.n_starts, max_rounds=rounds)
    found = start.search(working_set.restricted(model, working), rows, seed=seed)
    return working_set.expanded_params(found.params, working), found.optima


def screened(model: MoEModel, rows: Rows) -> Columns:
    """Columns that explain the target, or the size of what one expert leaves unexplained.

    The first screen takes the columns with the largest scores at the fit of one expert without
    slopes (Fan and Lv, 2008, J. R. Stat. Soc. B 70, 849-911), then, at the fit of one expert on
    those, the columns that go along with the deviance of the rows: where several experts with
    different slopes are averaged, the average fits some regions better than others.
    """
    one = model._replace(K=1)
    params = one.initial(rows)
    score = working_set.all_gradients(one, rows, params).expert
    size = np.abs(score).reshape(-1, score.shape[-1]).max(axis=0)
    first = _largest(size, SCREENED)
    working = Columns(np.zeros(len(model.gate_columns), dtype=bool), first)
    working = working_set.closure(one, working)
    small = working_set.restricted(one, working)
    engine = MemoryEngine(rows, small)
    result = EM(200, gradient_tol=1e-4).run(
        small, stack([working_set.restricted_params(params, working)]), engine
    )
    misfit = -np.concatenate(engine.rows_map(lambda part: _log_prob(small, result, part)))
    expert = first | _largest(_correlations(model, rows, model.expert_columns, misfit), SCREENED)
    gate_misfit = _correlations(model, rows, model.gate_columns, misfit)
    gate = _largest(gate_misfit, SCREENED)
    if np.array_equal(model.gate_columns, model.expert_columns):
        gate = gate | first
    return Columns(gate, expert)


def _log_prob(model, result, rows):
    return log_sum_exp(model.log_joint(take(result.params, 0), rows))


def _largest(size, count):
    """(p,) mask of the ``count`` largest entries."""
    mask = np.zeros(len(size), dtype=bool)
    mask[np.argsort(-size, kind="stable")[:count]] = True
    return mask & (size > 0)


def _correlations(model, rows, columns, values):
    """(p,) absolute covariances of standardised columns with a row-wise value."""
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    centred = weight * (values - weight @ values / weight.sum())
    return np.abs(products(rows, columns, model.scaling, centred[:, None])[:, 0])


def as_result(run: SparseRun, working: Columns) -> EMResult:
    """The run as the driver would return it, on the columns of a working set."""
    return EMResult(
        stack([working_set.restricted_params(run.params, working)]),
        np.array([run.objective]),
        [np.array([value]) for value in run.path],
        [run.status],
        np.array([run.certificate]),
        run.n_pass,
    )
