"""From a fitted model to an `InferenceResult`, or to an error that says why there is none."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..em.blocked import BlockRows
from ..em.model import MoEModel
from ..em.params import MoEParams
from ..em.rows import Rows
from ..em.status import Status
from ..penalties import is_active
from ..solvers.indefinite import newton_step
from .bootstrap import bootstrap
from .coordinates import called, coordinates
from .covariances import KINDS, NotRegularError, covariance
from .problem import Problem
from .results import InferenceResult
from .separated import separated_coefficients

WEIGHTS = ("frequency", "sampling", "precision")
STATIONARY = 1e-3  # gain of log-likelihood that a Newton step may still promise
KINKED = 0.25  # the same where rows that fit exactly hold the estimate
MORE_PASSES = "Raise EM(max_passes=...) and fit again."
ADVICE = {  # of fits that more passes do not bring to a maximum
    Status.AGGREGATED: (
        "Take pooled_inference(refine(model, statistics)) with local_statistics of every "
        "partition; or, where all rows are at hand, fit again with start=model."
    ),
    Status.EPOCHS: "Fit again with start=model, solver=EM().",
    Status.ONLINE: "Fit again with start=model, solver=EM().",
}


class FittedModel(NamedTuple):
    """What inference needs of a fitted estimator.

    columns: (gate names, expert names), or also the experts' own names; status: how the fit ended;
    effects: see `margins`.
    """

    model: MoEModel
    params: MoEParams
    rows: Rows
    columns: tuple
    status: Status
    effects: Any = None


def infer(
    fitted: FittedModel,
    covariance_type: str = "observed",
    *,
    groups=None,
    weights: str = "frequency",
    reference: int = 0,
    hold=(),
    n_boot: int = 200,
    bootstrap_kind: str = "nonparametric",
    seed: int = 0,
    n_jobs=None,
) -> InferenceResult:
    """Standard errors of a fit; see `BaseMoE.inference` for the parameters."""
    _check_settings(fitted, covariance_type, bootstrap_kind, groups, weights, reference)
    rows, n_obs = declared(fitted.rows, weights)
    model = fitted.model
    problem = Problem(
        model, fitted.params, rows, coordinates(model, fitted.params, fitted.columns, reference)
    )
    held = _held(hold, problem.coordinates.names)
    notes = _notes(fitted, weights, covariance_type, held, problem.coordinates.constant)
    replicates = None
    if covariance_type == "bootstrap":
        replicates, failed, unfinished = bootstrap(
            model,
            fitted.params,
            rows,
            fitted.columns,
            kind=bootstrap_kind,
            n_boot=n_boot,
            groups=groups,
            reference=reference,
            seed=seed,
            n_jobs=n_jobs,
        )
        if len(replicates) < 2:
            raise NotRegularError(f"{failed} of {n_boot} bootstrap refits did not converge.")
        matrix = np.cov(replicates.to_numpy(), rowvar=False).reshape((replicates.shape[1],) * 2)
        notes.append(f"{bootstrap_kind} bootstrap, {len(replicates)} refits, {failed} left out")
        if unfinished:
            notes.append(
                f"{unfinished} of the refits ended at the limit of passes, which a gate that jumps "
                "may keep from a standstill; they count as replicates"
            )
        loglik = problem.loglik(problem.coordinates.value)
    else:
        _check_regular(fitted, covariance_type)
        _check_determined(fitted, held)
        columns = fitted.columns
        matrix, loglik = _from_information(problem, covariance_type, groups, held, columns)
    return InferenceResult(
        problem, matrix, covariance_type, loglik, n_obs, notes, held, replicates, fitted.effects
    )


def declared(rows: Rows, weights: str) -> tuple[Rows, float]:
    """Rows whose weights sum to the number of units that they declare, and that number.

    Frequency weights are counts: their sum. Sampling and precision weights say nothing about how
    much was observed: they are brought to a mean of one over the units that have any.
    """
    if weights == "frequency":
        return rows, rows.total_weight
    n = float(np.count_nonzero(rows.unit_weight))
    if rows.weight is None:
        return rows, n
    return rows._replace(weight=rows.weight * (n / rows.total_weight)), n


def _check_settings(fitted, kind, bootstrap_kind, groups, weights, reference):
    if kind not in KINDS:
        raise ValueError(f"covariance must be one of {list(KINDS)}; got {kind!r}.")
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {list(WEIGHTS)}; got {weights!r}.")
    if kind == "cluster" and groups is None:
        raise ValueError("covariance='cluster' needs groups=, one label per row.")
    if groups is not None and kind not in ("cluster", "bootstrap"):
        raise ValueError(f"groups= is for covariance='cluster' or 'bootstrap'; got {kind!r}.")
    if groups is not None and len(groups) != fitted.rows.n_units:
        raise ValueError(
            f"groups needs one label per row: got {len(groups)} for {fitted.rows.n} rows."
        )
    if weights == "sampling" and kind in ("observed", "opg"):
        raise ValueError(
            f"Sampling weights need covariance='sandwich', 'cluster' or 'bootstrap': the "
            f"{kind!r} one would take a weight for a number of observations."
        )
    if kind == "bootstrap" and bootstrap_kind == "parametric" and fitted.rows.prior is not None:
        raise ValueError(
            "A parametric bootstrap draws new targets, of which expert_prior= knows nothing. Use "
            "bootstrap='nonparametric' or 'weighted'."
        )
    if not isinstance(reference, int | np.integer) or not 0 <= reference < fitted.model.K:
        raise ValueError(
            f"reference must be the number of an expert, 0 to {fitted.model.K - 1}; got "
            f"{reference!r}."
        )


def _check_regular(fitted, kind):
    """Refuse, by name, fits whose information says nothing of sampling error."""
    model = fitted.model
    _check_smooth(model, fitted.params, kind)
    carriers = (model.gate, "gate carries", "its"), (model.expert, "experts carry", "their")
    for part, what, whose in carriers:
        if is_active(getattr(part, "penalty", None)):
            raise NotRegularError(
                f"The {what} the penalty {part.penalty!r}: {whose} estimates are biased "
                "towards zero, and standard errors from the information do not account for it. "
                "Refit without it on the chosen columns and other rows (sample splitting: "
                "mixexp.selection.split_inference), or use covariance='bootstrap', which shows the "
                "spread of the penalised estimates, not their bias."
            )
    if fitted.status is Status.SEPARATED:
        raise NotRegularError(
            "The gate separates: some of its slopes grow without bound, and their standard errors "
            "do not exist. Use covariance='bootstrap' for the experts, whose estimates stay valid; "
            f"gate={type(model.gate).__name__}(penalty=L2(1e-3)) keeps the slopes finite, but has "
            "no standard errors."
        )
    if fitted.status is Status.DEGENERATE:
        raise NotRegularError(
            "The fit is degenerate: an expert leans on a bound or holds too few rows, where no "
            "normal law holds. Use fewer experts; covariance='bootstrap' shows the spread."
        )
    if not fitted.status.converged:
        raise NotRegularError(
            f"The fit is not at a maximum ({fitted.status.name}), and {kind!r} standard errors "
            f"hold only there. {ADVICE.get(fitted.status, MORE_PASSES)}"
        )


def _check_determined(fitted, held):
    """Refuse parameters that run away while the others, and all probabilities, stay valid."""
    model, rows = fitted.model, fitted.rows
    if model.expert.runs_away is None:  # a pass over the rows for nothing
        return
    if isinstance(rows, BlockRows):
        raise ValueError(
            f"Inference on {model.expert.title} needs rows in memory: whether their parameters are "
            "determined is asked of every row. Give X and y as arrays."
        )
    resp = model.responsibilities(fitted.params, rows) * rows.spread(rows.unit_weight)[:, None]
    names = fitted.columns[1]
    lost = called(
        model.expert.undetermined(fitted.params.expert, rows.y, resp, names), fitted.columns
    )
    lost = [name for name in lost if name not in held]
    if not lost:
        return
    raise NotRegularError(
        f"The rows do not determine {', '.join(lost)}: {model.expert.runs_away}. Standard errors "
        "there do not exist. "
        f"Probabilities stay valid, and so do the other parameters: use hold={[*held, *lost]!r}, "
        "or covariance='bootstrap' for the spread of the others."
    )


def _check_smooth(model, params, kind):
    """Refuse parts without second derivatives, but for those that "density" is for."""
    if model.kinked is None:
        if kind == "density":
            raise ValueError(
                "covariance='density' is for experts whose density has a kink, such as Laplace "
                f"ones; {model.expert.title} has second derivatives. Use covariance='sandwich'."
            )
        return
    smoothable = model.gate.smooth and model.expert.smoothed(params.expert, np.ones(model.K))
    if kind == "density" and smoothable:
        return
    others = "covariance='density' or 'bootstrap'" if smoothable else "covariance='bootstrap'"
    raise NotRegularError(
        f"{model.kinked.title} is not twice differentiable in its parameters: there is no "
        f"information matrix, and no {kind!r} covariance. Use {others}."
    )


def _smoothed(problem):
    """The problem with the second derivatives of the expected likelihood."""
    model, params, rows = problem.model, problem.params, problem.rows
    mass = rows.spread(rows.unit_weight) @ model.responsibilities(params, rows)
    return problem._replace(model=model._replace(expert=model.expert.smoothed(params.expert, mass)))


def _held(hold, names):
    hold = [hold] if isinstance(hold, str) else list(hold)
    unknown = [name for name in hold if name not in names]
    if unknown:
        raise ValueError(f"hold: no parameter is named {unknown!r}; they are {names!r}.")
    return hold


def _from_information(problem, kind, groups, held, columns):
    """(f, f) covariance, zero for what is held, and the log-likelihood.

    It is inverted along orthonormal directions of the standardised parameters: an intercept far
    from the data and its slope are nearly one direction in the user's units.
    """
    own = problem.coordinates
    free = np.array([i for i, name in enumerate(own.names) if name not in held])
    basis, change = np.linalg.qr(own.basis[:, free])
    straight = own._replace(names=[own.names[i] for i in free], value=own.value[free], basis=basis)
    inner = (_smoothed(problem) if kind == "density" else problem)._replace(coordinates=straight)
    local = inner.at(straight.value)
    # at a kink the scores of the rows that fit exactly are not counted: they make up the rest
    _check_stationary(local, KINKED if kind == "density" else STATIONARY)
    _check_separated(inner, local.observed, basis, columns)
    back = np.linalg.inv(change)
    inside = covariance(inner, local, kind, groups, back)
    matrix = np.zeros((len(own.names),) * 2)
    matrix[np.ix_(free, free)] = back @ inside @ back.T
    return matrix, local.loglik


def _check_separated(problem, observed, basis, columns):
    lost = separated_coefficients(problem, observed, basis, columns)
    if lost:
        raise NotRegularError(
            f"An expert separates its rows: {', '.join(lost)} grow without bound and have no "
            "standard errors. Probabilities stay valid, and so do the other parameters: "
            f"use hold={lost!r}, or a penalty of the expert, penalty=L2(1e-3), for finite ones "
            "(and covariance='bootstrap' for their spread)."
        )


def _check_stationary(local, most):
    gain = 0.5 * float(local.score @ newton_step(local.observed, local.score))
    if gain > most * max(1.0, len(local.score)):
        raise NotRegularError(
            f"These rows are not those of the fit, or it had not converged: a step would raise "
            f"their log-likelihood by about {gain:.3g}. Give the X, y and weights of the fit."
        )


def _notes(fitted, weights, kind, held, constant):
    notes = []
    if constant:
        notes.append(f"Not reported, since the columns do not vary: {', '.join(constant)}.")
    if fitted.rows.weighted:
        notes.append(f"Weights are read as {weights} weights.")
    if kind in ("sandwich", "cluster", "density"):
        notes.append("Standard errors are robust to a mis-specified law of y given x.")
    if fitted.model.grouped:
        notes.append(f"Units are the {fitted.rows.n_units} groups of {fitted.rows.n} rows.")
    if kind == "cluster":
        notes.append("The covariance has the factor G / (G - 1) of G groups.")
    if fitted.rows.prior is not None:
        notes.append(
            f"The likelihood is the {fitted.model.prior_likelihood} one: standard errors take the "
            "weights of expert_prior= for right."
        )
    if fitted.model.gate.joint:
        notes.append("The likelihood is that of (x, y): the gate models x.")
    if fitted.model.gate.known:
        notes.append(
            f"The gate is known ({fitted.model.gate.title}) and has no parameters: standard errors "
            "of the experts are those given its probabilities."
        )
    if held:
        notes.append(f"Held at their estimates: {', '.join(held)}.")
    return notes
