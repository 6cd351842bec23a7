"""`FitSummary`: the few numbers of a fit that criteria read."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .params import stack


class FitSummary(NamedTuple):
    """What criteria need to know of a fit.

    Attributes
    ----------
    loglik : float
        Weighted log-likelihood at the estimate, all constants included, without penalties.
    n_free : int
        Free parameters; of slopes that a penalty may set to zero, those that are not zero.
    n_units : float
        Sum of the units' weights: the number of units (rows, or groups of rows) without weights.
    entropy : float
        -sum_i w_i sum_k r_ik log r_ik of the responsibilities.
    hard_entropy : float
        -sum_i w_i log max_k r_ik.
    n_experts : int or None
        Number of experts; None where it was not recorded.
    n_slopes : int or None
        The slopes among the free parameters, of gate and experts together. None where they were
        not counted (files of earlier versions).
    n_candidates : int or None
        The same if no slope were set to zero: equal to ``n_slopes`` without a sparse penalty.
    joint : bool
        Whether ``loglik`` is that of (x, y), which a gate that models x maximises, and not of
        y given x. The two are never compared; ``n_free`` counts what each of them needs.
    conditional_loglik : float or None
        Of a joint fit, the log-likelihood of y given x; None where it is ``loglik`` itself.
    n_rows : float or None
        Of a fit to groups, the sum of the rows' weights; None where units are rows.
    """

    loglik: float
    n_free: int
    n_units: float
    entropy: float
    hard_entropy: float
    n_experts: int | None = None
    n_slopes: int | None = None
    n_candidates: int | None = None
    joint: bool = False
    conditional_loglik: float | None = None
    n_rows: float | None = None


def check_comparable(fits) -> None:
    """Refuse a collection that mixes joint and conditional log-likelihoods.

    Raises
    ------
    ValueError
        If some fits model (x, y) and others y given x.
    """
    if len({bool(fit.joint) for fit in fits}) > 1:
        raise ValueError(
            "The fits mix log-likelihoods of (x, y), from a gate that models x, with those of y "
            "given x: criteria cannot compare them. Compare fits of one kind, or use the "
            "cross-validated log-likelihood of y given x, or fit_summary_.conditional_loglik."
        )


def entropies(resp, weight):
    """Soft and hard entropy of a block of responsibilities (n, K) with weights (n,)."""
    logs = np.log(np.maximum(resp, 1e-300))
    soft = -float(weight @ (resp * logs).sum(axis=1))
    hard = -float(weight @ logs.max(axis=1))
    return np.array([soft, hard])


@functools.singledispatch
def certainty(engine, model, params):
    """(2 + K,) soft and hard entropy of the responsibilities, and the weights of the experts."""
    return engine.rows.summed(functools.partial(block_certainty, model, params))


@functools.singledispatch
def last_pass(engine, model, params):
    """The pass at one set of parameters, and `certainty` there: what a fit is judged by."""
    return engine.run(model, stack([params])), certainty(engine, model, params)


def block_certainty(model, params, rows):
    """`certainty` of a block."""
    resp = model.responsibilities(params, rows)[rows.first]
    return np.concatenate([entropies(resp, rows.unit_weight), rows.unit_weight @ resp])


def counts(model, params) -> dict[str, Any]:
    """``n_experts``, ``n_slopes`` and ``n_candidates`` of a `FitSummary`, of one parameter set."""
    gate, expert = model.gate.slopes(params.gate), model.expert.slopes(params.expert)
    return {
        "n_experts": model.K,
        "n_slopes": gate[0] + expert[0],
        "n_candidates": gate[1] + expert[1],
    }
