"""One fit, from rows to a chosen optimum: starts, the polishing run, and what it amounts to."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from . import wide, working_set
from .annealing import annealed
from .approached import settled
from .checkpoint import START, Checkpoint, fingerprint, named_settings
from .contained import Inside, contained_optima
from .driver import EM
from .engines import engine_for
from .model import MoEModel
from .params import MoEParams, stack, take
from .regular import is_regular
from .rows import MANY_COLUMNS, Rows, columns_with_density
from .search import search
from .separation import separates
from .start import Optimum, StartResult
from .status import Status
from .summary import FitSummary, counts, last_pass
from .threads import single_threaded_blas

RISE = 1e-10  # of the objective per unit weight, that is more than rounding


class Fit(NamedTuple):
    """A finished fit.

    params : MoEParams on the model's standardised scale; objective_path: penalised objective per
    unit weight after every pass; mass (K,): effective units of the experts; optima: what the
    starts met.
    """

    params: MoEParams
    summary: FitSummary
    objective_path: np.ndarray
    status: Status
    certificate: float
    n_pass: int
    mass: np.ndarray
    regular: bool
    optima: list[Optimum]


def fit_rows(
    model: MoEModel,
    rows: Rows,
    *,
    start,
    solver: EM,
    seed: int,
    n_jobs: int = 1,
    given=(),
    callback=None,
    on_search=None,
) -> Fit:
    """Search for a start (or take the one given), polish it on all rows, and judge the result.

    Parameters
    ----------
    start : MultiStart or None
        None: polish ``given[0]`` alone.
    given : sequence of MoEParams
        Parameters to try besides the start's own candidates.
    callback : callable or None
        ``callback(state) -> stop`` after every pass of the polishing run.
    on_search : callable or None
        Called with the `StartResult` before the polishing run.
    """
    with single_threaded_blas(), model.gate.remembering():
        return _fit(model, rows, start, solver, seed, n_jobs, given, callback, on_search)


def _fit(model, rows, start, solver, seed, n_jobs, given, callback, on_search) -> Fit:
    if wide.is_wide(model):
        return _fit_wide(model, rows, start, solver, seed, n_jobs, given, callback, on_search)
    checkpoint = _checkpoint(model, rows, solver, start, seed, given)
    stored = checkpoint.load() if checkpoint is not None and solver.resume else None
    inside = _inside(model, rows, start, solver, seed, n_jobs, given)
    if stored is None:
        found = search(model, rows, start, seed, given, inside.pool)
        state = None
    else:
        found, state = _found_again(stored["extra"], model, rows), stored["state"]
    if on_search is not None:
        on_search(found)
    engine = engine_for(rows, model, n_jobs)
    watch = _watch(checkpoint, found, model, callback)
    result = solver.run(model, stack([found.params]), engine, callback=watch, state=state)
    if result.status[0] is Status.INTERRUPTED:
        return _judge(model, engine, result, found.optima)
    result = _higher(model, engine, solver, result, _above(model, engine, result, inside.ends))
    others = model.expert.alternatives(take(result.params, 0).expert)
    cooled = annealed(model, rows, solver, n_jobs, found.params)
    result = _higher(model, engine, solver, result, cooled)
    gate = take(result.params, 0).gate
    result = _higher(model, engine, solver, result, [MoEParams(gate, other) for other in others])
    if model.gate.jumps:
        result = settled(model, engine, solver, result)
    return _judge(model, engine, result, found.optima)


def _above(model, engine, result, others):
    """Those of the parameters whose objective is higher than the run's."""
    if not others:
        return []
    batch = stack(others)
    weight = engine.total_weight
    height = engine.run(model, batch).loglik / weight - model.penalty(batch)
    return [one for one, h in zip(others, height, strict=True) if h > result.objective[0] + RISE]


def _higher(model, engine, solver, result, others):
    """The run, or a higher one that begins at one of the other parameters."""
    if not others:
        return result
    tried = solver.run(model, stack(others), engine)
    best = int(np.argmax(tried.objective))
    if not tried.objective[best] > result.objective[0] + RISE:
        return result
    return tried._replace(
        params=take(tried.params, slice(best, best + 1)),
        objective=tried.objective[best : best + 1],
        path=[*result.path, tried.objective[best : best + 1]],
        status=[tried.status[best]],
        certificate=tried.certificate[best : best + 1],
        n_pass=result.n_pass + tried.n_pass,
    )


def _fit_wide(model, rows, start, solver, seed, n_jobs, given, callback, on_search) -> Fit:
    if model.gate.own_design or not model.gate.smooth:
        raise ValueError(
            f"Sparse penalties on more than {wide.WIDE} columns are fitted on working sets, which "
            f"need a gate that is linear in the standardised columns; {type(model.gate).__name__} "
            "is not, or has a transform. Use gate='softmax' or 'constant', fewer columns, or an L2 "
            "penalty."
        )
    if not isinstance(solver, EM):
        raise ValueError(
            f"{type(solver).__name__} is not available for sparse penalties on more than "
            f"{wide.WIDE} columns: they are fitted on working sets. Use solver=EM(...)."
        )
    if rows.prior is not None:
        raise ValueError(
            f"expert_prior= is not available for sparse penalties on more than {wide.WIDE} "
            "columns: they are fitted on working sets. Choose fewer columns or an L2 penalty."
        )
    if rows.group is not None:
        raise ValueError(
            f"groups= is not available for sparse penalties on more than {wide.WIDE} columns: "
            "they are fitted on working sets. Choose fewer columns or an L2 penalty."
        )
    if solver.checkpoint is not None:
        raise ValueError(
            f"EM(checkpoint=...) is not available for sparse penalties on more than {wide.WIDE} "
            "columns: they are fitted on working sets, which keep no state of a single run. Leave "
            "the checkpoint out."
        )
    run, optima = wide.best_run(
        model,
        rows,
        start=start,
        solver=solver,
        seed=seed,
        n_jobs=n_jobs,
        given=given,
        callback=callback,
    )
    if on_search is not None:
        on_search(StartResult(run.params, optima))
    return judge_run(model, rows, run, optima, n_jobs)


def judge_run(model: MoEModel, rows: Rows, run: working_set.SparseRun, optima, n_jobs=1) -> Fit:
    """The `Fit` of a run on working sets, whose parameters are those of all columns."""
    working = working_set.support(model, run.params)
    small = working_set.restricted(model, working)
    engine = engine_for(rows, small, n_jobs)
    fit = _judge(small, engine, wide.as_result(run, working), optima)
    summary = fit.summary._replace(**counts(model, run.params))
    return fit._replace(params=run.params, summary=summary)


def _inside(model, rows, start, solver, seed, n_jobs, given) -> Inside:
    """What the families that this one contains find, from the same start."""

    def search_again(smaller, begin):
        return search(smaller, rows, start, seed, begin)

    def fit(smaller, solver, params):
        return _fit(smaller, rows, None, solver, seed, n_jobs, [params], None, None)

    return contained_optima(model, given, solver, search_again, fit)


def _checkpoint(model, rows, solver, start, seed, given):
    if solver.checkpoint is None:
        return None
    settings = {
        name: value
        for name, value in solver.get_params().items()
        if name not in ("checkpoint", "checkpoint_every", "resume", "max_passes")
    }
    parts = model._asdict()
    del parts["scaling"]  # which the rows determine
    parts["n_experts"], parts["random_state"] = parts.pop("K"), seed
    parts["start"] = start
    for number, params in enumerate(given):
        parts[f"{START} {number}"] = model.pack(stack([params]))
    # first, since other rows are the usual cause
    named = {"the rows": [fingerprint(rows, ""), "values"]}
    named |= named_settings({**parts, **{f"solver.{name}": v for name, v in settings.items()}})
    return Checkpoint(solver.checkpoint, solver.checkpoint_every, named)


def _watch(checkpoint, found, model, callback):
    """The driver's callback: the user's, and the checkpoint every so many passes and at the end."""
    if checkpoint is None:
        return callback
    extra = {
        "start": model.pack(stack([found.params]))[0],
        "optima": [dict(optimum._asdict()) for optimum in found.optima],
    }

    def watch(state):
        stop = callback(state) if callback is not None else False
        if state.n_pass % checkpoint.every == 0 or state.code.all() or stop:
            checkpoint.save(state, extra)
        return stop

    return watch


def _found_again(extra, model, rows) -> StartResult:
    template = stack([model.initial(rows.example)])
    params = take(model.unpack(extra["start"][None, :], template), 0)
    return StartResult(params, [Optimum(**fields) for fields in extra["optima"]])


def _judge(model, engine, result, optima) -> Fit:
    params = take(result.params, 0)
    final, (soft, hard, *sizes) = last_pass(engine, model, params)
    rows = engine.rows
    row_mass, units = final.statistics.expert.mass[0], rows.counted_units
    regular = bool(is_regular(model, params, row_mass, rows.counted_rows))
    status = result.status[0]
    if status is Status.CONVERGED:
        if not regular:
            status = Status.DEGENERATE
        elif separates(model, engine, params.gate, take(final.statistics.gate, 0), units):
            status = Status.SEPARATED

    mass = row_mass if rows.group is None else np.array(sizes)
    counted = _identified(model, rows, params)
    summary = FitSummary(
        float(final.loglik[0]),
        int(model.n_free(counted)),
        engine.total_weight,
        soft,
        hard,
        **counts(model, counted),
        joint=model.gate.joint,
        conditional_loglik=_conditional(model, rows, params) if model.gate.joint else None,
        n_rows=None if rows.group is None else _row_weight(rows),
    )
    path = np.array(result.path)[:, 0]
    return Fit(
        params,
        summary,
        path,
        status,
        float(result.certificate[0]),
        result.n_pass,
        mass,
        regular,
        optima,
    )


def _identified(model, rows, params: MoEParams) -> MoEParams:
    """The parameters without those of columns that say nothing new, for counting.

    A column that is constant, or a linear combination of the columns before it, adds no parameter:
    criteria then agree with those of the table without it. Slopes of a sparse penalty are counted
    by their zeros, shared ones by their positions: both stay as they are.
    """
    gate_columns, expert_columns = model.gate_columns, model.expert_columns
    if max(len(gate_columns), len(expert_columns)) > MANY_COLUMNS:
        return params
    if model.gate.known:
        kept = _kept(rows, expert_columns)
        return params._replace(expert=_of_columns(model.expert, params.expert, kept))
    own = model.gate.own_design
    gate_kept = _kept_in_design(model, rows) if own else _kept(rows, gate_columns)
    same = not own and np.array_equal(gate_columns, expert_columns)
    expert_kept = gate_kept if same else _kept(rows, expert_columns)
    return MoEParams(
        _of_columns(model.gate, params.gate, gate_kept),
        _of_columns(model.expert, params.expert, expert_kept),
    )


def _kept(rows, columns):
    """(len(columns),) bool: the columns that are no linear combination of those before them."""
    return np.isin(columns, columns_with_density(rows, columns, True))


def _kept_in_design(model, rows):
    """The same of a gate whose methods see other columns than the standardised ones."""
    seen = rows.mapped(functools.partial(_with_gate_design, model))
    return _kept(seen, np.arange(len(model.gate_columns)))


def _with_gate_design(model, rows):
    return rows._replace(X=model.gate_design(rows.X)[:, 1:])


def _of_columns(part, own, kept):
    """A part's parameters of the kept columns alone, where its slopes are counted by columns."""
    settings = getattr(part, "column_settings", ())
    listed = any(not isinstance(getattr(part, name, None), str | None) for name in settings)
    if part.sparse or listed or not hasattr(own, "coef"):
        return own
    return own._replace(coef=own.coef[..., np.concatenate([[True], kept])])


def _conditional(model, rows, params) -> float:
    """Weighted log-likelihood of y given x under a joint fit."""
    return float(rows.summed(functools.partial(_weighted_log_prob, model, params)))


def _weighted_log_prob(model, params, rows):
    return rows.unit_weight @ model.log_prob(params, rows)


def _row_weight(rows) -> float:
    return float(rows.n if rows.weight is None else rows.weight.sum())
