"""One chain of a path: fits at falling strengths, each started from its neighbours.

The objective of a mixture has many optima, and the mixture without slopes is only one of its
stationary points. A chain therefore walks down from it, then up from fresh searches at several
of its places, and down again; of all optima met at a place it keeps the highest. Every fit is a
stationary point of its own penalised problem, tested on all columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from mixexp.em import wide, working_set
from mixexp.em.driver import EM
from mixexp.em.fitting import Fit, judge_run
from mixexp.em.model import MoEModel
from mixexp.em.params import MoEParams, tree_map
from mixexp.em.rows import Rows
from mixexp.em.start import MultiStart
from mixexp.em.working_set import Columns, Slopes, SparseRun

BETTER = 1e-7  # rise of the objective per unit weight that counts as another optimum


class Strengths(NamedTuple):
    """One place of a grid; None where the part's own penalty stays as it is."""

    gate: float | None
    expert: float | None


class Visit(NamedTuple):
    """The best run at one place, where its start came from, and whether it is regular."""

    run: SparseRun
    source: str
    regular: bool


class Walk(NamedTuple):
    """The fits of a chain and the sources of their starts."""

    fits: list[Fit]
    sources: list[str]


class Plan(NamedTuple):
    """How a chain is walked.

    start : search for the mixture without slopes; search : each of the fresh searches, of which
    there are ``searches`` at evenly spread places; max_free, max_columns : free parameters
    and columns let in by a penalty beyond which a chain ends; seed, start, solver as for a
    fit.
    """

    start: MultiStart
    search: MultiStart
    solver: EM
    searches: int
    max_free: float
    max_columns: float
    seed: int


def at_strengths(model: MoEModel, strengths: Strengths) -> MoEModel:
    """The model with other penalty strengths."""
    return model._replace(
        gate=with_strength(model.gate, strengths.gate),
        expert=with_strength(model.expert, strengths.expert),
    )


def with_strength(part, alpha):
    """The part with another strength of its penalty; None leaves it as it is."""
    if alpha is None:
        return part
    return type(part)(
        **(part.get_params(deep=False) | {"penalty": part.penalty.with_strength(alpha)})
    )


def zero_strengths(model: MoEModel, rows: Rows, null: MoEParams) -> Strengths:
    """The smallest strengths at which the mixture without slopes is a stationary point."""
    gradient: Slopes = working_set.all_gradients(model, rows, null)
    return Strengths(
        _zero_strength(model.gate, gradient.gate), _zero_strength(model.expert, gradient.expert)
    )


def noise_ratio(model: MoEModel, rows: Rows, null: MoEParams) -> float:
    """Sampling error of the gate's gradient over that of the experts', for coupled strengths.

    The error of an expert's gradient is read from its rows' scores in the mixture without slopes;
    that of the gate is the one of labels that are known, sqrt(pi (1 - pi)): without slopes the
    experts overlap, and the labels' posterior says less than it will.
    """
    scores = working_set.row_scores(model, rows, null)[1]
    each = scores.reshape(rows.n, *null.expert.coef.shape[:-1], 1)  # as slopes of one column
    expert = model.expert.penalty_gradient(null.expert, each).reshape(scores.shape)
    if rows.weight is not None:  # weights are repetitions: one of their factors counts rows
        expert = expert / np.sqrt(np.where(rows.weight > 0, rows.weight, 1.0))[:, None]
    share = 1 / model.K
    size = np.sqrt((expert**2).sum() / (rows.total_weight * expert.shape[1]))
    return float(np.sqrt(share * (1 - share)) / max(size, 1e-12))


def _zero_strength(part, gradient):
    if not part.sparse:
        return None
    return part.penalty.zero_strength(gradient, centred=part.centres_slopes)


def walk(
    model: MoEModel, rows: Rows, places: Sequence[Strengths], plan: Plan, null: MoEParams
) -> Walk:
    """The fits at the places, in their order, up to the last that a fit reaches unsaturated.

    Parameters
    ----------
    null : MoEParams
        Where the first walk down begins.

    Returns
    -------
    Walk
        Without fits where the strongest place is saturated already.
    """
    models = [at_strengths(model, place) for place in places]
    visits: list[Visit | None] = [None] * len(places)
    params = null
    for i, one in enumerate(models):
        visit = _visit(one, rows, params, plan, "down")
        if _saturated(one, visit.run, plan):
            break
        visits[i] = visit
        params = visit.run.params
    for place in _search_places(len(places), plan.searches):
        _search(models, rows, visits, place, plan)
    _spread(models, rows, visits, plan, range(1, len(places)), -1)
    _fill(models, rows, visits, plan)
    known = list(itertools.takewhile(lambda visit: visit is not None, visits))
    fits = [
        judge_run(one, rows, visit.run, [])
        for one, visit in zip(models, known, strict=False)
        if visit is not None
    ]
    sources = [visit.source for visit in known if visit is not None]
    return Walk(_aligned(models[: len(fits)], rows, fits), sources)


def _visit(model, rows, params, plan, source) -> Visit:
    run = working_set.run(model, rows, params, plan.solver, max_free=plan.max_free)
    return Visit(run, source, judge_run(model, rows, run, []).regular)


def _saturated(model, run: SparseRun, plan: Plan) -> bool:
    if model.n_free(run.params) > plan.max_free:
        return True
    return plan.max_columns < np.inf and len(used_columns(model, run.params)) > plan.max_columns


def used_columns(model: MoEModel, params: MoEParams):
    """Numbers of the columns of X that a penalty has let into the gate or an expert."""
    working, offered = working_set.support(model, params), candidates(model)
    return np.union1d(
        model.gate_columns[working.gate & offered.gate],
        model.expert_columns[working.expert & offered.expert],
    )


def candidates(model: MoEModel) -> Columns:
    """The columns about which a penalty decides: those that vary and may be in or out."""
    return Columns(
        _candidates(model.gate, model.scaling.x_scale[model.gate_columns]),
        _candidates(model.expert, model.scaling.x_scale[model.expert_columns]),
    )


def _candidates(part, scale):
    if not part.sparse:
        return np.zeros(len(scale), dtype=bool)
    settled = part.penalty.free_columns(len(scale)) | part.penalty.kept_out(len(scale))
    return np.isfinite(scale) & ~settled


def _search_places(n: int, searches: int) -> list[int]:
    """Evenly spread places, the last among them."""
    if n == 0 or searches == 0:
        return []
    return sorted({round(n * (i + 1) / searches) - 1 for i in range(searches)} - {-1})


def _search(models, rows, visits, place, plan):
    """A fresh search at one place; where it is better, the neighbours try it in turn."""
    model = models[place]
    found = (
        wide.screened_start(model, rows, plan.search, plan.seed + place)[0]
        if wide.is_wide(model)
        else plan.search.search(model, rows, seed=plan.seed + place).params
    )
    divided = wide.tree_start(model, rows, plan.seed + place) if model.K > 1 else None
    for params in (found, divided):
        if params is None:
            continue
        reached, visit = _unsaturated(models, rows, params, place, plan)
        if visit is not None and _improves(visit, visits[reached]):
            visits[reached] = visit
            _spread(models, rows, visits, plan, range(reached - 1, -1, -1), +1)
            _spread(models, rows, visits, plan, range(reached + 1, len(visits)), -1)


def _unsaturated(models, rows, params, place, plan):
    """The run from a start at a place, or at a stronger one where it is not saturated.

    The hops to stronger places double: neighbours fill the gaps. (-1, None) where there is none.
    """
    hop = 1
    while place >= 0:
        visit = _visit(models[place], rows, params, plan, "search")
        if not _saturated(models[place], visit.run, plan):
            return place, visit
        params = visit.run.params
        place, hop = place - hop, 2 * hop
    return -1, None


def _spread(models, rows, visits, plan, places, neighbour):
    """Each place tries the optimum of its neighbour, until one of them is not helped.

    Going down, places that the walk down has reached from that same neighbour are passed over.
    """
    for i in places:
        other = visits[i + neighbour]
        if other is None:
            return
        if visits[i] is not None and other.source == visits[i].source == "down":
            continue
        source = "up" if neighbour > 0 else "down again"
        visit = _visit(models[i], rows, other.run.params, plan, source)
        if _saturated(models[i], visit.run, plan) or not _improves(visit, visits[i]):
            if neighbour > 0:
                return
            continue
        visits[i] = visit


def _fill(models, rows, visits, plan):
    """Saturated fits where nothing else is known, but weaker places have been reached.

    Below such a gap the data show more than at it: a chain that ended there would miss that.
    """
    unlimited = plan._replace(max_free=np.inf)
    for i in range(len(visits) - 2, -1, -1):
        below = visits[i + 1]
        if visits[i] is None and below is not None:
            visits[i] = _visit(models[i], rows, below.run.params, unlimited, "up")


def _improves(visit: Visit, known: Visit | None) -> bool:
    """A regular optimum before any other; of two alike the higher."""
    if known is None:
        return True
    if visit.regular != known.regular:
        return visit.regular
    return visit.run.objective > known.run.objective + BETTER


def expert_order(model: MoEModel, rows: Rows, params: MoEParams, reference):
    """(K,) the experts in the order of those that have the (n, K) reference responsibilities."""
    return linear_sum_assignment(-reference.T @ responsibilities(model, rows, params))[1]


def _aligned(models, rows, fits: list[Fit]) -> list[Fit]:
    """The fits with their experts numbered as those of the weakest strength."""
    if not fits:
        return fits
    out = [fits[-1]]
    below = responsibilities(models[-1], rows, fits[-1].params)
    for model, fit in zip(models[-2::-1], fits[-2::-1], strict=True):
        own = responsibilities(model, rows, fit.params)
        _, order = linear_sum_assignment(-below.T @ own)
        params = tree_map(lambda leaf, order=order: leaf[order], fit.params)
        out.append(fit._replace(params=params, mass=fit.mass[order]))
        below = own[:, order]
    return out[::-1]


def responsibilities(model: MoEModel, rows: Rows, params: Any):
    """(n, K) responsibilities, from the columns that matter alone."""
    working = working_set.support(model, params)
    small = working_set.restricted(model, working)
    return small.responsibilities(working_set.restricted_params(params, working), rows)
