"""Fits under sparse penalties over many columns: EM on a working set of them.

With p columns in the thousands no Gram matrix of all of them may be formed. EM therefore runs on
a model of few columns, those with non-zero slopes and those that are likely to join. Its fixed
point is then tested on all columns: one more pass gives the gradient of every slope that is held
at zero, and columns whose gradient the penalty does not hold enter. The test is the optimality
condition itself, so the result is a stationary point of the whole problem, whatever the guesses
were (Tibshirani et al., 2012, J. R. Stat. Soc. B 74, 245-266).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import clone

from ..kernels.reference import log_softmax
from ..penalties import with_penalty_of
from .driver import EM
from .engines import MemoryEngine
from .model import MoEModel
from .params import MoEParams, stack, take
from .rows import Rows, blocks, design
from .status import Status

MAX_ROUNDS = 60
ENTRIES = 1 << 22  # of a standardised block of all columns
FEWEST = 10  # columns that enter at once, at least
BRIEF = 20  # passes of a run while columns still enter


class Columns(NamedTuple):
    """Masks of the working set among the gate's and the experts' columns."""

    gate: np.ndarray
    expert: np.ndarray

    def union(self, other: Columns) -> Columns:
        return Columns(self.gate | other.gate, self.expert | other.expert)


class SparseRun(NamedTuple):
    """A stationary point over all columns.

    params : MoEParams of all columns; objective: penalised, per unit weight; path: objectives of
    all passes; certificate: largest element of the smallest subgradient; gradient: `Slopes` of
    the mean log-likelihood, all columns; working: the last working set.
    """

    params: MoEParams
    objective: float
    path: list
    status: Status
    certificate: float
    n_pass: int
    gradient: Slopes
    working: Columns


class Slopes(NamedTuple):
    """Derivatives of the mean log-likelihood by the slopes as the penalties see them."""

    gate: np.ndarray
    expert: np.ndarray


def run(
    model: MoEModel,
    rows: Rows,
    params: MoEParams,
    solver: EM,
    *,
    n_jobs: int = 1,
    likely: Columns | None = None,
    max_free: float = np.inf,
    callback=None,
) -> SparseRun:
    """A stationary point of the penalised objective from one parameter set of all columns.

    Parameters
    ----------
    likely : Columns or None
        Columns to begin with besides those of non-zero slopes.
    max_free : float
        A run with more free parameters than this is given up, with `Status.INTERRUPTED`.
    """
    working = support(model, params)
    if likely is not None:
        working = working.union(likely)
    path: list[float] = []
    n_pass = 0
    brief = clone(solver).set_params(max_passes=min(BRIEF, solver.max_passes))
    settled = False  # no column wants to enter: only then a run to convergence is worth its passes
    for _ in range(MAX_ROUNDS):
        small = restricted(model, working)
        engine = MemoryEngine(rows, small, n_jobs)
        start = stack([restricted_params(params, working)])
        result = (solver if settled else brief).run(small, start, engine, callback=callback)
        params = expanded_params(take(result.params, 0), working)
        path += [float(value[0]) for value in result.path]
        n_pass += result.n_pass + 1
        gradient = all_gradients(model, rows, params)
        excess = violations(model, params, gradient, working)
        worst = max(np.max(excess.gate, initial=0.0), np.max(excess.expert, initial=0.0))
        status = result.status[0]
        held = worst <= solver.gradient_tol
        if model.n_free(params) > max_free:
            status = Status.INTERRUPTED
        if status is Status.INTERRUPTED or (held and (settled or status is Status.CONVERGED)):
            break
        settled = held
        working = working.union(_entering(model, excess, working, solver.gradient_tol))
    else:
        status = Status.MAX_PASSES
    certificate = max(float(result.certificate[0]), float(worst))
    objective = float(result.objective[0])
    return SparseRun(params, objective, path, status, certificate, n_pass, gradient, working)


def support(model: MoEModel, params: MoEParams) -> Columns:
    """Columns with a non-zero or unpenalised slope, closed under the penalties' groups."""
    return closure(model, Columns(_nonzero(params.gate), _nonzero(params.expert)))


def closure(model: MoEModel, chosen: Columns) -> Columns:
    """The chosen columns, those that belong to them, and all that are not penalised."""
    return Columns(_closed(model.gate, chosen.gate), _closed(model.expert, chosen.expert))


def restricted(model: MoEModel, working: Columns) -> MoEModel:
    """The model of the working set alone."""
    return _with_columns(model, working)._replace(
        gate=with_penalty_of(model.gate, np.flatnonzero(working.gate)),
        expert=with_penalty_of(model.expert, np.flatnonzero(working.expert)),
    )


def _with_columns(model, working):
    return model._replace(
        gate_columns=model.gate_columns[working.gate],
        expert_columns=model.expert_columns[working.expert],
    )


def restricted_params(params: MoEParams, working: Columns) -> MoEParams:
    """The parameters of the working set; leading axes as they are."""
    return MoEParams(
        *(
            part._replace(coef=np.ascontiguousarray(part.coef[..., np.concatenate([[True], mask])]))
            for part, mask in zip(params, working, strict=True)
        )
    )


def expanded_params(params: MoEParams, working: Columns) -> MoEParams:
    """The inverse of `restricted_params`: other slopes are zero."""
    parts = []
    for part, mask in zip(params, working, strict=True):
        coef = np.zeros((*part.coef.shape[:-1], 1 + len(mask)))
        coef[..., np.concatenate([[True], mask])] = part.coef
        parts.append(part._replace(coef=coef))
    return MoEParams(*parts)


def all_gradients(model: MoEModel, rows: Rows, params: MoEParams) -> Slopes:
    """Gradients of the mean log-likelihood by the slopes of all columns, in one pass."""
    working = Columns(_nonzero(params.gate), _nonzero(params.expert))
    small, inner = _with_columns(model, working), restricted_params(params, working)
    gate_sums: Any = 0.0
    expert_sums: Any = 0.0
    same = np.array_equal(model.gate_columns, model.expert_columns)
    size = max(16, ENTRIES // max(1, len(model.expert_columns), len(model.gate_columns)))
    for block in blocks(rows.n, size):
        part = rows.take(block)
        gate_scores, expert_scores = _row_scores(small, inner, part)
        X = design(part.X, model.expert_columns, model.scaling)
        expert_sums = expert_sums + _products(X, expert_scores)
        X = X if same else design(part.X, model.gate_columns, model.scaling)
        gate_sums = gate_sums + _products(X, gate_scores)
    total = rows.total_weight
    shape = params.expert.coef.shape
    expert = (expert_sums / total).reshape(shape)[..., 1:]
    return Slopes(gate_sums[:, 1:] / total, model.expert.penalty_gradient(params.expert, expert))


def row_scores(model: MoEModel, rows: Rows, params: MoEParams):
    """Derivatives of the log-likelihood by the linear predictors of gate and experts, (n, .)."""
    working = Columns(_nonzero(params.gate), _nonzero(params.expert))
    small, inner = _with_columns(model, working), restricted_params(params, working)
    parts = [_row_scores(small, inner, rows.take(block)) for block in blocks(rows.n)]
    gate, expert = zip(*parts, strict=True)
    return np.concatenate(gate), np.concatenate(expert)


def _row_scores(model, params, rows):
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    X_gate, X_expert = model.gate_design(rows.X), model.expert_design(rows.X)
    y, offset = model.scaling.target(rows.y), model.scaled_offset(rows)
    joint = model.gate.log_prob(params.gate, X_gate) + model.expert.log_density(
        params.expert, X_expert, y, offset, rows.trials
    )
    resp = weight[:, None] * np.exp(log_softmax(joint))
    return (
        model.gate.row_scores(params.gate, X_gate, resp, weight),
        model.expert.row_scores(params.expert, X_expert, y, resp, offset, rows.trials),
    )


def _products(X, scores):
    """(J, q) sums over the rows of scores (rows, J) times the design."""
    return np.asarray((X.T @ scores).T) if sparse.issparse(X) else scores.T @ X


def violations(model, params, gradient: Slopes, working: Columns) -> Columns:
    """Size of the subgradient of every column outside the working set, as (p,) arrays."""
    gate = _violation(model.gate, params.gate.coef[..., 1:], gradient.gate)
    slopes = model.expert.penalised_slopes(params.expert)
    expert = _violation(model.expert, slopes, gradient.expert)
    return Columns(np.where(working.gate, 0.0, gate), np.where(working.expert, 0.0, expert))


def _violation(part, slopes, gradient):
    if not part.sparse or slopes.shape[-1] == 0:
        return np.zeros(slopes.shape[-1])
    size = np.abs(part.penalty.subgradient(slopes, gradient, centred=part.centres_slopes))
    return size.reshape(-1, slopes.shape[-1]).max(axis=0)


def _entering(model, excess: Columns, working: Columns, tol) -> Columns:
    """The worst violators: as many as the working set holds, at least `FEWEST`."""
    masks = []
    for part, size, inside in zip((model.gate, model.expert), excess, working, strict=True):
        count = max(FEWEST, int(inside.sum()))
        order = np.argsort(-size, kind="stable")[:count]
        chosen = np.zeros(len(size), dtype=bool)
        chosen[order[size[order] > tol]] = True
        masks.append(_closed(part, chosen, free=False))
    return Columns(*masks)


def _nonzero(part_params):
    coef = part_params.coef[..., 1:]
    return (coef != 0).any(axis=tuple(range(coef.ndim - 1)))


def _closed(part, chosen, free=True):
    """The chosen columns with those that belong to them; all where the part is not sparse."""
    p = len(chosen)
    if not part.sparse:
        return np.ones(p, dtype=bool)
    return part.penalty.together(chosen | part.penalty.free_columns(p) if free else chosen)
